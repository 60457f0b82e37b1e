//! `kill -9` at any moment under load: what was acknowledged is in the file,
//! nothing else is, and no tick is used twice.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::support::PATIENCE;
use crate::support::conn::{Conn, Got};
use crate::support::moat::{Options, Server};

const KILLS: u64 = 100;
const WRITERS: u64 = 3;
/// Entries of each writer
const KEYS: u64 = 20;
/// Requests that a writer does not wait for
const AHEAD: usize = 8;

/// What a writer remembers.
#[derive(Default)]
struct Account {
    /// Values that were sent, and the last one that was acknowledged, by key
    keys: BTreeMap<u64, (Vec<u64>, Option<u64>)>,
    /// Ticks of acknowledged changes
    ticks: Vec<u64>,
    /// The last value
    last: u64,
}

/// Writes until the server is gone.
fn write(port: u16, writer: u64, account: &mut Account, acknowledged: &AtomicU64) {
    let Some(mut conn) = Conn::try_open(port) else {
        return;
    };
    let mut flying = VecDeque::new();
    loop {
        while flying.len() < AHEAD {
            account.last += 1;
            let n = account.last;
            let key = n % KEYS;
            let path = json!(["w", writer, key]);
            let seq = conn.ask(json!({
                "action": "set_value", "path": path, "value": n, "nchain": 1
            }));
            account.keys.entry(key).or_default().0.push(n);
            flying.push_back((seq, key, n));
        }
        let Some(Got::Message(reply)) = conn.next(PATIENCE) else {
            return;
        };
        let (seq, key, n) = flying.pop_front().expect("one was asked");
        assert_eq!(reply["seq"], seq, "{reply}");
        account.keys.entry(key).or_default().1 = Some(n);
        let tick = reply["chain"]["tick"].as_u64().expect("a tick");
        account.ticks.push(tick);
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

fn check(server: &Server, accounts: &[Account], round: u64) {
    let mut conn = Conn::open(server.port);
    for (writer, account) in (0u64..).zip(accounts) {
        for (key, (sent, acknowledged)) in &account.keys {
            let reply = conn.request(json!({
                "action": "get_value", "path": ["w", writer, key]
            }));
            let found = reply.get("value").and_then(Json::as_u64);
            let fits = match (found, acknowledged) {
                (None, None) => true,
                (None, Some(_)) => false,
                (Some(found), least) => sent.contains(&found) && least.is_none_or(|n| found >= n),
            };
            let last = sent.last();
            assert!(
                fits,
                "round {round}: {writer}.{key} is {found:?}: acknowledged {acknowledged:?}, \
                 last sent {last:?}\n{}",
                server.process.said()
            );
        }
    }
}

fn start(file: &Path, first: bool) -> Server {
    let file = file.to_str().expect("a text");
    let begin = if first {
        ["-i", "Root", "-s", file]
    } else {
        ["-l", file, "-s", file]
    };
    Server::with(&Options::begun("one", &begin))
}

#[test]
fn nothing_acknowledged_is_lost_nothing_is_invented() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("log.state");
    let mut accounts: Vec<Account> = (0..WRITERS).map(|_| Account::default()).collect();
    // any numbers do; these are the same each time
    let mut chance = 1u64;
    let mut random = move |below: u64| {
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % below
    };
    let mut server = start(&file, true);
    for round in 0..KILLS {
        let acknowledged = AtomicU64::new(0);
        let enough = 1 + random(400);
        std::thread::scope(|scope| {
            for (writer, account) in (0..).zip(&mut accounts) {
                let acknowledged = &acknowledged;
                let port = server.port;
                scope.spawn(move || write(port, writer, account, acknowledged));
            }
            while acknowledged.load(Ordering::Relaxed) < enough {
                std::thread::yield_now();
            }
            server.process.signal(Signal::KILL);
        });
        server = start(&file, false);
        check(&server, &accounts, round);
    }
    let mut ticks: Vec<u64> = accounts.iter().flat_map(|a| &a.ticks).copied().collect();
    let count = ticks.len();
    ticks.sort_unstable();
    ticks.dedup();
    assert_eq!(ticks.len(), count, "a tick was used twice");
    assert!(count as u64 >= KILLS, "something was written in each round");
}
