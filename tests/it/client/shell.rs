//! What the client does with a connection: who waits for what, and what a
//! slow consumer, a lost connection and a silent server cost.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use moat::client::{At, Client, Error, Options, Watch, WatchEvent};
use moat::event::Links;
use moat::path::Path;
use moat::value::Value;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::{LocalSet, yield_now};

use super::fake::{Fake, pair};

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

/// Long enough for everything in memory to have come to rest.
async fn settle() {
    for _ in 0..10_000 {
        yield_now().await;
    }
}

#[tokio::test]
async fn replies_are_told_apart_whatever_their_order() {
    let (client, mut fake) = pair(&Options::default()).await;
    let (a, b) = (path("a"), path("b"));
    let server = async {
        let (first, _) = fake.expect("get_value").await;
        let (second, _) = fake.expect("get_value").await;
        fake.send(json!({"seq": second, "value": "two", "tock": 9}))
            .await;
        fake.send(json!({"seq": 77, "value": "nobody's"})).await;
        fake.send(json!({"seq": first, "value": "one", "tock": 8}))
            .await;
    };
    let (one, two, ()) = tokio::join!(client.get(&a), client.get(&b), server);
    assert_eq!(one.unwrap().value().unwrap(), Some("one".into()));
    let two = two.unwrap();
    assert_eq!(two.value().unwrap(), Some("two".into()));
    assert_eq!(two.tock.0, 9);
}

#[tokio::test]
async fn an_entry_tells_null_from_nothing() {
    let (client, mut fake) = pair(&Options::default()).await;
    let server = async {
        let (seq, request) = fake.expect("get_value").await;
        assert_eq!(request.number("nchain"), Some(3));
        fake.send(
            json!({"seq": seq, "value": null, "chain": {"node": "A", "tick": 4, "prev": null}}),
        )
        .await;
        let (seq, request) = fake.expect("get_internal").await;
        assert_eq!(request.field("path"), Some(&Value::Path(path("acl"))));
        fake.send(json!({"seq": seq, "chain": null})).await;
    };
    let acl = path("acl");
    let requests = async {
        let null = client.get(&acl).links(Links::Newest(3)).await.unwrap();
        let nothing = client.get(&acl).links(Links::All).internal().await.unwrap();
        (null, nothing)
    };
    let ((null, nothing), ()) = tokio::join!(requests, server);
    assert!(null.has_value());
    assert_eq!(null.chain.unwrap().head().tick.0, 4);
    assert!(!nothing.has_value());
    assert_eq!(nothing.chain, None);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Lamp {
    on: bool,
    level: u8,
}

#[tokio::test]
async fn values_are_rust_types_where_wanted() {
    let (client, mut fake) = pair(&Options::default()).await;
    let lamp = Lamp { on: true, level: 7 };
    let server = async {
        let (seq, request) = fake.expect("set_value").await;
        let value = request.field("value").unwrap();
        assert_eq!(value.field("level"), Some(&Value::Int(7)));
        assert_eq!(request.field("chain"), Some(&Value::Nil));
        fake.send(json!({"seq": seq, "changed": true, "tock": 3}))
            .await;
        for _ in 0..2 {
            let (seq, _) = fake.expect("get_value").await;
            fake.send(json!({"seq": seq, "value": {"on": true, "level": 7}}))
                .await;
        }
    };
    let at = path("lamp");
    let requests = async {
        let written = client.set_as(&at, &lamp).unwrap().if_new().await.unwrap();
        assert!(written.changed);
        assert_eq!(client.get_as(&at).await.unwrap(), Some(lamp));
        assert!(matches!(
            client.get_as::<String>(&at).await,
            Err(Error::Value(_))
        ));
    };
    tokio::join!(requests, server);
}

#[tokio::test]
async fn the_servers_words_come_through() {
    let (client, mut fake) = pair(&Options::default()).await;
    let server = async {
        let (seq, _) = fake.expect("delete_value").await;
        fake.send(json!({"seq": seq, "error": "KeyError('x')", "etype": "key"}))
            .await;
    };
    let at = path("x");
    let (result, ()) = tokio::join!(client.delete(&at), server);
    let error = result.unwrap_err();
    assert_eq!(
        format!("{}: {error}", error.name()),
        "ServerError: KeyError('x')"
    );
    let Error::Server(refusal) = error else {
        panic!("{error:?}")
    };
    assert_eq!(refusal.etype.as_deref(), Some("key"));
}

#[tokio::test]
async fn a_lost_connection_ends_everything_with_its_reason() {
    let (client, mut fake) = pair(&Options::default()).await;
    let (a, b) = (path("a"), path("b"));
    let server = async {
        let (watch, _) = fake.expect("watch").await;
        fake.send(json!({"seq": watch, "state": "start"})).await;
        fake.expect("get_value").await;
        fake.send(json!({"seq": watch, "path": ["x"], "depth": 0, "value": 1}))
            .await;
        drop(fake);
    };
    let requests = async {
        let mut watch = client.watch(&a).await.unwrap();
        let lost = client.get(&b).await.unwrap_err();
        assert!(matches!(lost, Error::Closed(_)), "{lost:?}");
        // what had arrived is still there
        assert!(matches!(
            watch.next().await,
            Some(Ok(WatchEvent::Changed(_)))
        ));
        assert!(matches!(watch.next().await, Some(Err(Error::Closed(_)))));
        assert!(watch.next().await.is_none());
        assert!(matches!(client.closed().await, Error::Closed(_)));
        assert!(matches!(client.tock().await, Err(Error::Closed(_))));
    };
    tokio::join!(requests, server);
}

#[tokio::test]
async fn an_error_without_number_ends_the_connection() {
    let (client, mut fake) = pair(&Options::default()).await;
    let server = async {
        fake.expect("get_tock").await;
        fake.send(json!({"error": "cancelled due to unknown", "tock": 3}))
            .await;
    };
    let (result, ()) = tokio::join!(client.tock(), server);
    assert!(matches!(result, Err(Error::Closed(why)) if why == "cancelled due to unknown"));
}

#[tokio::test]
async fn bytes_that_are_no_messages_end_the_connection() {
    for garbage in [&b"\xc1"[..], b"\x93\x01\x02\x03", b"\x81\xa3seq\xc1"] {
        let (client, mut fake) = pair(&Options::default()).await;
        fake.send_bytes(garbage).await;
        assert!(
            matches!(client.closed().await, Error::Protocol(_)),
            "{garbage:02x?}"
        );
    }
    let (client, mut fake) = pair(&Options::default().max_frame(1000)).await;
    fake.send_bytes(b"\x81\xa1x\xc6\x7f\xff\xff\xff").await;
    fake.send_bytes(&[0; 2000]).await;
    assert!(matches!(client.closed().await, Error::Protocol(_)));
}

#[tokio::test]
async fn a_dropped_stream_is_stopped() {
    let (client, mut fake) = pair(&Options::default()).await;
    let at = path("a");
    let server = async {
        let (watch, _) = fake.expect("watch").await;
        fake.send(json!({"seq": watch, "state": "start"})).await;
        let (stop, request) = fake.expect("stop").await;
        assert_eq!(request.number("task"), Some(watch));
        // one more change was under way
        fake.send(json!({"seq": watch, "path": [], "depth": 0, "value": 1}))
            .await;
        fake.send(json!({"seq": stop, "result": true})).await;
        fake.send(json!({"seq": watch, "state": "end"})).await;
        let (seq, _) = fake.expect("get_tock").await;
        fake.send(json!({"seq": seq, "tock": 5})).await;
    };
    let requests = async {
        drop(client.watch(&at).await.unwrap());
        assert_eq!(client.tock().await.unwrap().0, 5);
    };
    tokio::join!(requests, server);
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_connection() {
    let (client, mut fake) = pair(&Options::default()).await;
    let clone = client.clone();
    drop(client);
    settle().await;
    assert!(!clone.is_closed());
    drop(clone);
    assert!(fake.receive().await.is_none());
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for() {
    let limit = Duration::from_millis(20);
    let (client, _fake) = pair(&Options::default().request_timeout(limit)).await;
    assert!(matches!(client.tock().await, Err(Error::Timeout(t)) if t == limit));
    let at = path("a");
    let watch = client.watch(&at).await;
    assert!(matches!(watch, Err(Error::Timeout(_))));
}

#[tokio::test]
async fn a_login_that_is_demanded_is_named() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let mut fake = Fake::new(theirs);
    fake.send(json!({"seq": 0, "node": "n", "qlen": 10, "auth": ["password", "root"]}))
        .await;
    let error = Client::over(ours, &Options::default()).await.unwrap_err();
    assert_eq!(
        format!("{}: {error}", error.name()),
        "ClientAuthRequiredError: You need to log in using: password"
    );
}

#[tokio::test]
async fn an_eager_client_asks_before_the_server_has_greeted() {
    let options = Options::default().eager();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let mut fake = Fake::new(theirs);
    let client = Client::over(ours, &options).await.unwrap();
    let server = async {
        let (seq, _) = fake.expect("get_tock").await;
        fake.greet().await;
        fake.send(json!({"seq": seq, "tock": 5})).await;
    };
    let (tock, ()) = tokio::join!(client.tock(), server);
    assert_eq!(tock.unwrap().0, 5);
    assert_eq!(client.server().await.unwrap().node.as_str(), "fake");

    // what connecting would have told comes with the first request
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let mut fake = Fake::new(theirs);
    let client = Client::over(ours, &options).await.unwrap();
    let server = async {
        fake.expect("get_tock").await;
        fake.send(json!({"seq": 0, "node": "n", "qlen": 10, "auth": ["password"]}))
            .await;
    };
    let (refused, ()) = tokio::join!(client.tock(), server);
    assert!(
        matches!(refused, Err(Error::AuthRequired { .. })),
        "{refused:?}"
    );

    let options = options.connect_timeout(Duration::from_millis(20));
    let (ours, _theirs) = tokio::io::duplex(1 << 16);
    let client = Client::over(ours, &options).await.unwrap();
    assert!(matches!(client.tock().await, Err(Error::Connect { .. })));
}

#[tokio::test]
async fn nobody_listening_is_one_line() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Client::connect(address).await.unwrap_err();
    assert_eq!(
        format!("{}: {error}", error.name()),
        format!("ConnectionError: cannot reach {address}: connection refused")
    );
}

#[tokio::test]
async fn nobody_greeting_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = Options::from(address).connect_timeout(Duration::from_millis(20));
    let error = Client::connect(options).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot reach {address}: no answer within 0.02 s")
    );
}

#[tokio::test]
async fn flow_control_is_kept_where_it_was_asked_for() {
    let (client, mut fake) = pair(&Options::default().window(10)).await;
    let at = path("a");
    let hello = fake.receive().await.unwrap();
    assert_eq!(
        (hello.number("seq"), hello.number("qlen")),
        (Some(0), Some(10))
    );
    let server = async {
        let (seq, _) = fake.expect("get_tree").await;
        fake.send(json!({"seq": seq, "state": "start", "wseq": 1}))
            .await;
        for wseq in 2..=4 {
            fake.send(json!({"seq": seq, "wseq": wseq, "path": [wseq], "depth": 0, "value": 0}))
                .await;
        }
        let ack = fake.receive().await.unwrap();
        assert_eq!((ack.number("seq"), ack.number("ack")), (Some(seq), Some(4)));
        fake.send(json!({"seq": seq, "state": "end", "wseq": 5}))
            .await;
    };
    let requests = async {
        let mut tree = client.tree(&at).await.unwrap();
        let mut count = 0;
        while let Some(entry) = tree.next().await {
            entry.unwrap();
            count += 1;
        }
        assert_eq!(count, 3);
    };
    tokio::join!(requests, server);
}

/// Entries of a tree that make 8 MiB.
const BIG_TREE: usize = 128;

/// Plays a server with a big tree that also answers `get_tock`.
async fn play_big_tree(mut fake: Fake, sent_all: Rc<Cell<bool>>) {
    let (tree, _) = fake.expect("get_tree").await;
    fake.send(json!({"seq": tree, "state": "start"})).await;
    let value = "x".repeat(64 << 10);
    for i in 0..BIG_TREE {
        fake.send(json!({"seq": tree, "path": [i], "depth": 0, "value": value}))
            .await;
    }
    fake.send(json!({"seq": tree, "state": "end"})).await;
    sent_all.set(true);
    while let Some(request) = fake.receive().await {
        if request.text("action") == Some("get_tock") {
            fake.send(json!({"seq": request.number("seq"), "tock": 5}))
                .await;
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_up_the_server_but_no_other_request() {
    let tasks = LocalSet::new();
    let test = async {
        let (client, fake) = pair(&Options::default()).await;
        let sent_all = Rc::new(Cell::new(false));
        tokio::task::spawn_local(play_big_tree(fake, Rc::clone(&sent_all)));
        let mut tree = client.tree(&Path::default()).await.unwrap();
        settle().await;
        assert!(!sent_all.get(), "8 MiB were taken though nobody read them");
        // whoever reads the tree may make requests
        assert!(tree.next().await.unwrap().is_ok());
        assert_eq!(client.tock().await.unwrap().0, 5);
        let mut count = 1;
        while let Some(entry) = tree.next().await {
            entry.unwrap();
            count += 1;
        }
        assert_eq!(count, BIG_TREE);
    };
    tasks.run_until(test).await;
}

#[tokio::test]
async fn a_stream_that_is_never_read_ends_with_an_error() {
    let tasks = LocalSet::new();
    let test = async {
        let (client, fake) = pair(&Options::default().buffer(2 << 20)).await;
        let sent_all = Rc::new(Cell::new(false));
        tokio::task::spawn_local(play_big_tree(fake, sent_all));
        let mut tree = client.tree(&Path::default()).await.unwrap();
        assert_eq!(client.tock().await.unwrap().0, 5);
        let mut count = 0;
        let error = loop {
            match tree.next().await.unwrap() {
                Ok(_) => count += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Overrun(_)), "{error:?}");
        assert_eq!(count, 32);
        assert!(tree.next().await.is_none());
        assert_eq!(client.tock().await.unwrap().0, 5);
    };
    tasks.run_until(test).await;
}

#[tokio::test]
async fn handles_can_be_shared_among_threads() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    fn sent<T: Send + 'static>(_: &T) {}
    let (client, _fake) = pair(&Options::default()).await;
    shared(&client);
    let at = path("a");
    sent(&client.watch(&at).resuming());
    let watch: Option<Watch> = None;
    sent(&watch);
}

/// What a watch told, in short.
fn told(event: Option<Result<WatchEvent, Error>>) -> String {
    let show = |entry: moat::client::Entry| {
        let value = entry.value().unwrap().and_then(|v| v.as_i64());
        format!(
            "{}={}",
            entry.path,
            value.map_or_else(|| "-".to_owned(), |v| v.to_string())
        )
    };
    match event {
        None => "end".into(),
        Some(Err(error)) => format!("error {error}"),
        Some(Ok(WatchEvent::State(entry))) => format!("state {}", show(entry)),
        Some(Ok(WatchEvent::Changed(entry))) => format!("changed {}", show(entry)),
        Some(Ok(WatchEvent::UpToDate(state))) => match state.resumed {
            Some(resumed) => format!("uptodate resumed={resumed}"),
            None => "uptodate".into(),
        },
        Some(Ok(WatchEvent::Lost(_))) => "lost".into(),
        Some(Ok(WatchEvent::Restarted)) => "restarted".into(),
        Some(Ok(other)) => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_watch_goes_on_behind_a_lost_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::connect(listener.local_addr().unwrap());
    let (client, mut fake) = tokio::join!(client, Fake::accept(&listener));
    let client = client.unwrap();
    let at = path("a");
    let mut watch = client.watch(&at).fetch().resuming();
    let server = async {
        let (seq, request) = fake.expect("watch").await;
        assert_eq!(request.field("numbered"), Some(&Value::Bool(true)));
        fake.send(json!({"seq": seq, "state": "start"})).await;
        fake.send(json!({"seq": seq, "path": ["x"], "depth": 0, "value": 1}))
            .await;
        fake.send(json!({"seq": seq, "state": "uptodate", "at": [70, 3]}))
            .await;
        fake.send(json!({"seq": seq, "path": ["x"], "depth": 0, "value": 2, "at": [70, 4]}))
            .await;
        drop(fake);

        // it resumes: only what was missed
        let mut fake = Fake::accept(&listener).await;
        let (seq, request) = fake.expect("watch").await;
        let resume = Value::List(vec![70.into(), 4.into()]);
        assert_eq!(request.field("resume"), Some(&resume));
        fake.send(json!({"seq": seq, "state": "start"})).await;
        fake.send(json!({"seq": seq, "path": ["y"], "depth": 0, "at": [70, 6]}))
            .await;
        fake.send(json!({"seq": seq, "state": "uptodate", "resumed": true, "at": [70, 6]}))
            .await;
        drop(fake);

        // another run of the server: everything anew, whatever comes first
        let mut fake = Fake::accept(&listener).await;
        let (seq, request) = fake.expect("watch").await;
        let resume = Value::List(vec![70.into(), 6.into()]);
        assert_eq!(request.field("resume"), Some(&resume));
        fake.send(json!({"seq": seq, "state": "start"})).await;
        fake.send(json!({"seq": seq, "path": ["n"], "depth": 0, "value": 3, "at": [99, 1]}))
            .await;
        fake.send(json!({"seq": seq, "path": ["x"], "depth": 0, "value": 2}))
            .await;
        fake.send(json!({"seq": seq, "state": "uptodate", "resumed": false, "at": [99, 1]}))
            .await;

        // its queue was full: it goes on from there, on the same connection
        fake.send(
            json!({"seq": seq, "error": "RuntimeError('Aborted. Queue filled?')",
                "etype": "overflow", "at": [99, 8]}),
        )
        .await;
        fake.send(json!({"seq": seq, "state": "end"})).await;
        let (seq, request) = loop {
            let request = fake.receive().await.unwrap();
            if request.text("action") == Some("watch") {
                break (request.number("seq").unwrap(), request);
            }
        };
        let resume = Value::List(vec![99.into(), 8.into()]);
        assert_eq!(request.field("resume"), Some(&resume));
        fake.send(json!({"seq": seq, "state": "start"})).await;
        fake.send(json!({"seq": seq, "state": "uptodate", "resumed": true, "at": [99, 8]}))
            .await;
        // not to be mended
        fake.send(json!({"seq": seq, "error": "ACLError('x')"}))
            .await;
        fake.send(json!({"seq": seq, "state": "end"})).await;
        fake
    };
    let events = async {
        let mut events = Vec::new();
        let mut places = Vec::new();
        loop {
            let event = told(watch.next().await);
            places.push(watch.at());
            events.push(event);
            if events.last().is_some_and(|e| e == "end") {
                return (events, places);
            }
        }
    };
    let ((events, places), _fake) = tokio::join!(events, server);
    let want = [
        "state x=1",
        "uptodate",
        "changed x=2",
        "lost",
        "changed y=-",
        "uptodate resumed=true",
        "lost",
        "restarted",
        "changed n=3",
        "state x=2",
        "uptodate resumed=false",
        "uptodate resumed=true",
        "error ACLError('x')",
        "end",
    ];
    assert_eq!(events, want);
    let at = |change| Some(At { boot: 70, change });
    assert_eq!(places[..3], [None, at(3), at(4)]);
}
