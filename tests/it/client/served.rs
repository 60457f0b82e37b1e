//! The client with a real server of ours, over a line that breaks.

use std::net::SocketAddr;

use moat::client::{Client, Resuming, WatchEvent};
use moat::path::Path;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::support::moat::Server;

/// A line to the server that can be cut.
struct Line {
    address: SocketAddr,
    cut: mpsc::Sender<()>,
    _task: JoinSet<()>,
}

impl Line {
    async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, mut is_cut) = mpsc::channel(1);
        let port = server.port;
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = is_cut.recv() => {}
                }
            }
        });
        Self {
            address,
            cut,
            _task: task,
        }
    }
}

/// The next changes, up to the one of that name; everything else is counted.
async fn changes(watch: &mut Resuming, last: &str) -> (Vec<String>, usize, usize) {
    let (mut seen, mut lost, mut resumed) = (Vec::new(), 0, 0);
    while seen.last().is_none_or(|name| name != last) {
        match watch.next().await.unwrap().unwrap() {
            WatchEvent::Changed(entry) => seen.push(entry.path.to_string()),
            WatchEvent::Lost(_) => lost += 1,
            WatchEvent::UpToDate(state) if state.resumed == Some(true) => resumed += 1,
            other => panic!("{other:?}"),
        }
    }
    (seen, lost, resumed)
}

#[tokio::test]
async fn a_resumed_watch_misses_nothing_and_repeats_nothing() {
    const WRITES: usize = 300;
    let server = Server::start();
    let line = Line::to(&server).await;
    let writer = Client::connect(("127.0.0.1", server.port)).await.unwrap();
    let watcher = Client::connect(line.address).await.unwrap();
    let base: Path = "watched".parse().unwrap();
    let mut watch = watcher.watch(&base).fetch().resuming();
    drop(watcher);
    let begun = watch.next().await.unwrap().unwrap();
    assert!(matches!(begun, WatchEvent::UpToDate(_)), "{begun:?}");

    let names: Vec<String> = (0..WRITES).map(|n| format!("n{n}")).collect();
    let write = async {
        for (n, name) in names.iter().enumerate() {
            let path = base.join(&name.parse().unwrap());
            writer.set_as(&path, &n).unwrap().await.unwrap();
            if n % 50 == 25 {
                line.cut.send(()).await.unwrap();
            }
        }
    };
    let last = names.last().unwrap();
    let ((seen, lost, resumed), ()) = tokio::join!(changes(&mut watch, last), write);
    assert_eq!(seen, names);
    assert!((1..=lost).contains(&resumed), "{lost} {resumed}");
    assert!(watch.at().is_some());
}

#[tokio::test]
async fn many_tasks_share_one_connection() {
    let server = Server::start();
    let client = Client::connect(("127.0.0.1", server.port)).await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..500_u32 {
        let client = client.clone();
        tasks.spawn(async move {
            let path = format!("shared.n{n}").parse().unwrap();
            client.set_as(&path, &n).unwrap().await.unwrap();
            assert_eq!(client.get_as(&path).await.unwrap(), Some(n));
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let base = "shared".parse().unwrap();
    assert_eq!(client.list(&base).await.unwrap().len(), 500);
    let values = client.list(&base).values().await.unwrap();
    assert_eq!(values.len(), 500);
    assert_eq!(client.delete_tree(&base).await.unwrap(), 500);
    let mut tree = client.tree(&base).await.unwrap();
    assert!(tree.next().await.is_none());
}
