//! Fetching a node's whole state: beside a recorded peer, beside our own
//! server, and over ways that do not work.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use moat::event::{Fetch, Fetched, NodeName, Tick, Tock};
use moat::server::fetch::{Ways, fetch};
use moat::wire::fetch::{FetchError, Joiner};
use serde_json::{Value, json};

use crate::support::conn::Conn;
use crate::support::join::{Download, books, download, path};
use crate::support::json::{decode, encode, unhex};
use crate::support::moat::Server;
use crate::support::{free_port, tests_path};

/// A recorded dialogue.
struct Dialogue {
    case: String,
    /// The messages of each side
    peer: Vec<Vec<u8>>,
    joiner: Vec<Vec<u8>>,
}

fn recorded() -> Vec<Dialogue> {
    let text = std::fs::read_to_string(tests_path("vectors/cluster/join.json"))
        .expect("the recording is there");
    let cases: Vec<Value> = serde_json::from_str(&text).expect("the recording is JSON");
    let said = |case: &Value, who: &str| {
        let log = case["log"].as_array().expect("a log").iter();
        // the original's client watches its configuration first, which is
        // no part of this
        log.filter(|entry| entry["from"] == who && entry["msg"]["seq"] != 1)
            .filter_map(|entry| entry["hex"].as_str().map(unhex))
            .collect()
    };
    cases
        .iter()
        .map(|case| Dialogue {
            case: case["case"].as_str().expect("a name").to_owned(),
            peer: said(case, "peer"),
            joiner: said(case, "joiner"),
        })
        .collect()
}

/// Plays the peer's part in pieces of that size; what the joiner takes of it
/// and what it says.
fn play(peer: &[Vec<u8>], piece: usize) -> (Result<Download, FetchError>, Vec<u8>) {
    let bytes = peer.concat();
    let mut joiner = Joiner::new(&NodeName::new("joiner"), &NodeName::new("peer"), 1 << 20);
    let (mut got, mut said, mut held) = (Download::default(), Vec::new(), Vec::new());
    for chunk in bytes.chunks(piece) {
        held.extend_from_slice(chunk);
        let mut used = 0;
        loop {
            match joiner.next(&held[used..]) {
                Ok((n, item)) => {
                    used += n;
                    let Some(item) = item else { break };
                    got.take(&item);
                }
                Err(why) => return (Err(why), said),
            }
        }
        held.drain(..used);
        said.extend_from_slice(joiner.output());
        joiner.sent();
    }
    assert!(held.is_empty(), "whole messages are not kept");
    (Ok(got), said)
}

#[test]
fn a_recorded_peer_is_understood_in_pieces_of_any_size() {
    let cases = recorded();
    assert_eq!(cases.len(), 3);
    for Dialogue {
        case: name,
        peer,
        joiner,
    } in &cases
    {
        for piece in [1, 2, 3, 7, 50, 1000, 100_000] {
            let (got, said) = play(peer, piece);
            if name.contains("password login") {
                assert_eq!(got.unwrap_err(), FetchError::Login("password".to_owned()));
                continue;
            }
            let got = got.expect(name);
            // no window is asked for; the rest is what the original says,
            // acknowledgements included, byte for byte
            let hello = encode(&json!({"seq": 0}));
            assert_eq!(said, [&[hello], &joiner[1..]].concat().concat(), "{name}");
            assert_eq!(
                got.paths(),
                [":", "a", "a.b", "a.c", "d.e.f", ":5:vk", ":n.hostmap.peer"],
                "{name}"
            );
            let ticks: Vec<_> = got.events.iter().map(|e| e.chain[0].tick.0).collect();
            assert_eq!(ticks, [1, 2, 6, 4, 5, 9, 10], "{name}");
            let value = |n: usize| decode(got.events[n].value.as_deref().expect("a value"));
            assert_eq!(value(2), Ok((json!("two again"), 10)), "{name}");
            assert_eq!(value(4), Ok((Value::Null, 1)), "{name}");
            let (info, tock) = got.state.as_ref().expect("the state");
            assert_eq!(*tock, Tock(50), "{name}");
            let peer = (NodeName::new("peer"), Some(Tick(10)));
            assert!(
                info.ticks.as_ref().is_some_and(|t| t.contains(&peer)),
                "{name}"
            );
            assert!(got.done, "{name}");

            let books = books(&got.replica());
            let missing = books.missing.unwrap_or_default();
            let ghost = name.contains("ghost");
            assert_eq!(missing.iter().any(|(n, _)| n.as_str() == "ghost"), ghost);
            assert!(missing.iter().all(|(n, _)| n.as_str() == "ghost"), "{name}");
        }
    }
}

/// A server whose entries have seen something.
fn server() -> Server {
    let server = Server::start();
    let mut conn = Conn::open(server.port);
    let mut done = |request: Value| {
        let reply = conn.request(request);
        assert!(reply.get("error").is_none(), "{reply}");
    };
    let keys = [
        json!([1, true]),
        json!([1.5, ""]),
        json!([{"$bin": "00ff"}, -7]),
        json!([["a", ["b", 2]], {"$path": ["x", 1]}]),
        json!([u64::MAX]),
        json!([{"$float": "inf"}]),
        json!(["a.b", ":c", "ü\u{1f600}"]),
        json!(["a.b", ":c", "ü"]),
    ];
    for (n, key) in keys.iter().enumerate() {
        done(json!({"action": "set_value", "path": key, "value": {"n": n}}));
    }
    // deleted; deleted and written again; never more than a way; without value
    for path in [["gone", "x"], ["back", "x"], ["way", "below"]] {
        done(json!({"action": "set_value", "path": path, "value": path}));
    }
    for path in [["gone", "x"], ["back", "x"]] {
        done(json!({"action": "delete_value", "path": path}));
    }
    done(json!({"action": "set_value", "path": ["back", "x"], "value": null}));
    done(json!({"action": "set_internal", "path": ["hostmap", "p"], "value": ["h", 1]}));
    done(json!({"action": "set_internal", "path": ["hostmap", "q"], "value": ["h", 1]}));
    done(json!({"action": "delete_internal", "path": ["hostmap", "q"]}));
    server
}

#[test]
fn a_copy_of_our_server_is_what_the_server_has() {
    let server = server();
    let got = download(server.port, "rec").expect("a download");
    let shown: Vec<(String, bool)> = got
        .events
        .iter()
        .map(|event| (path(event), event.value.is_some()))
        .collect();
    for (name, has_value) in [
        (":", true),
        (":1:t", true),
        ("gone.x", false),
        ("back.x", true),
        ("way.below", true),
        (":n.hostmap.p", true),
        (":n.hostmap.q", false),
    ] {
        let entry = (name.to_owned(), has_value);
        assert!(shown.contains(&entry), "{entry:?} in {shown:?}");
    }
    assert!(!shown.iter().any(|(name, _)| name == "way"), "{shown:?}");

    // the bookkeeping of the copy is the server's
    let replica = got.replica();
    let ours = books(&replica);
    assert_eq!(ours.missing, Some(vec![]));
    let mut conn = Conn::open(server.port);
    let theirs = conn.request(json!({
        "action": "get_state", "nodes": true, "known": true, "present": true, "deleted": true
    }));
    assert_eq!(theirs["nodes"]["rec"], json!(replica_tick(&ours)));
    for (name, sets) in [
        ("known", &ours.known),
        ("present", &ours.present),
        ("deleted", &ours.deleted),
    ] {
        let ranges: Vec<Value> = sets
            .iter()
            .flatten()
            .filter(|(node, _)| node.as_str() == "rec")
            .flat_map(|(_, set)| set.ranges())
            .map(|r| match (*r.start(), *r.end()) {
                (a, b) if a == b => json!(a),
                (a, b) => json!([a, b + 1]),
            })
            .collect();
        assert_eq!(theirs[name]["rec"], json!(ranges), "{name}");
    }
    // and so is every entry, as another look shows
    let again = download(server.port, "rec").expect("a download");
    assert_eq!(got.events, again.events);
}

fn replica_tick(info: &moat::event::NodeInfo) -> u64 {
    let ticks = info.ticks.as_ref().expect("asked for");
    let of = ticks.iter().find(|(node, _)| node.as_str() == "rec");
    of.and_then(|(_, tick)| *tick).expect("it has events").0
}

#[test]
fn markers_come_only_to_those_who_ask() {
    let server = server();
    let mut conn = Conn::open(server.port);
    let mut count = |request: Value| {
        let items = conn.stream(request);
        let deleted = items.iter().filter(|i| i.get("value").is_none()).count();
        assert!(
            items.iter().all(|item| item["chain"]["node"] == "rec"),
            "what has no chain is not sent: {items:?}"
        );
        deleted
    };
    for (action, markers) in [("get_tree", 1), ("get_tree_internal", 1)] {
        let plain = json!({"action": action, "path": [], "nchain": -1, "from_server": "x"});
        let mut asking = plain.clone();
        asking["markers"] = json!(true);
        assert_eq!((count(plain), count(asking)), (0, markers), "{action}");
    }
}

/// Writes entries `big.N.M` as fast as they are taken.
fn fill(port: u16, entries: u32) {
    let mut conn = Conn::open(port);
    for start in (0..entries).step_by(1000) {
        let mut bytes = Vec::new();
        for n in start..(start + 1000).min(entries) {
            bytes.extend(encode(&json!({
                "action": "set_value", "seq": n + 1, "nchain": 0,
                "path": ["big", n / 100, n % 100], "value": n
            })));
        }
        conn.send_bytes(&bytes);
        let last = (start + 1000).min(entries);
        assert!(conn.reply(u64::from(last)).get("error").is_none());
    }
}

#[test]
fn a_hundred_thousand_entries_come_over_the_shell() {
    const ENTRIES: u32 = 100_000;
    let server = Server::start();
    fill(server.port, ENTRIES);
    let (mut events, mut sum, mut batches, mut most, mut done) = (0u32, 0u64, 0, 0, false);
    run(&to("rec", &[server.port]), &ways(), |batch| {
        let mut n = 0;
        while let Some(item) = batch.take() {
            match item {
                Fetched::Entry(event) => {
                    events += 1;
                    let value = decode(event.value.as_deref().expect("a value"));
                    sum += value.expect("a value").0.as_u64().unwrap_or(0);
                }
                Fetched::State(info, _) => {
                    assert_eq!(replica_tick(info), u64::from(ENTRIES) + 1);
                }
                Fetched::Done => done = true,
                Fetched::Failed(why) => panic!("{why}"),
            }
            n += 1;
        }
        most = most.max(n);
        batches += 1;
    });
    assert!(done);
    assert_eq!(events, ENTRIES + 1, "and the root");
    assert_eq!(sum, u64::from(ENTRIES) * u64::from(ENTRIES - 1) / 2);
    assert!(
        most <= 256 && batches > 390,
        "{batches} batches, {most} at most"
    );
}

/// To be fetched from a node at these ports of this machine.
fn to(peer: &str, ports: &[u16]) -> Fetch {
    Fetch {
        id: 1,
        peer: NodeName::new(peer),
        addr: ports.iter().map(|p| ("127.0.0.1".to_owned(), *p)).collect(),
    }
}

/// Nothing but what is handed in leads to a peer.
fn ways() -> Ways {
    Ways {
        auth: None,
        hostmap: [("rec".to_owned(), ("127.0.0.1".to_owned(), 1))].into(),
        domain: None,
        port: 1,
        init_timeout: Duration::from_millis(500),
        frame: 100 << 20,
    }
}

fn run(what: &Fetch, ways: &Ways, sink: impl FnMut(&mut moat::server::fetch::Batch<'_>)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(fetch(what, ways, &NodeName::new("joiner"), sink));
}

/// What is said if it fails.
fn failure(what: &Fetch, ways: &Ways) -> String {
    let mut said = Vec::new();
    run(what, ways, |batch| {
        while let Some(item) = batch.take() {
            match item {
                Fetched::Failed(why) => said.push(why.to_owned()),
                other => panic!("not to be had: {other:?}"),
            }
        }
    });
    assert_eq!(said.len(), 1, "{said:?}");
    said.remove(0)
}

#[test]
fn ways_are_tried_in_order_until_one_works() {
    let server = Server::start();
    let dead = free_port();
    let mut got = Download::default();
    run(&to("rec", &[dead, server.port]), &ways(), |batch| {
        while let Some(item) = batch.take() {
            got.take(&item);
        }
    });
    assert!(got.done);
    assert_eq!(got.paths(), [":"]);
}

#[test]
fn what_does_not_work_is_told_in_one_line() {
    let server = Server::start();
    let dead = free_port();
    // takes the connection, and says nothing
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let silent_port = silent.local_addr().expect("an address").port();
    let mut ways = ways();
    ways.hostmap.clear();
    let text = failure(&to("localhost", &[dead, server.port, silent_port]), &ways);
    assert!(!text.contains('\n'));
    for part in [
        "cannot fetch from `localhost`: ",
        &format!("127.0.0.1:{dead}: connection refused"),
        &format!("127.0.0.1:{}: node `rec` answers there", server.port),
        &format!("127.0.0.1:{silent_port}: no answer within 500ms"),
        "localhost (127.0.0.1:1): connection refused",
    ] {
        assert!(text.contains(part), "{part:?} in {text:?}");
    }
}

/// A peer that says this and closes.
fn says(bytes: Vec<u8>) -> (u16, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    #[allow(clippy::disallowed_methods)] // a peer beside the one under test
    let peer = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _): (TcpStream, _) = listener.accept().expect("a connection");
        stream.write_all(&bytes).expect("sent");
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("still open");
        // until the other side goes
        let _ = stream.read_to_end(&mut Vec::new());
    });
    (port, peer)
}

#[test]
fn a_peer_that_ends_early_or_makes_no_sense_is_given_up() {
    let greeting = json!({"seq": 0, "node": "p", "tick": 1, "tock": 1, "qlen": 10});
    let broken = json!({"seq": 2, "path": ["a"], "depth": 0, "value": 1, "tock": 1});
    for (more, why) in [
        (vec![], "it closed the connection"),
        (
            encode(&broken),
            "record 1 (a) is malformed: it has no `chain`",
        ),
        (vec![0xc1], "invalid byte 0xc1 at offset 0"),
        (
            encode(&json!({"seq": 2, "error": "NoAuthError()", "tock": 1})),
            "it refuses: NoAuthError()",
        ),
    ] {
        let (port, peer) = says([encode(&greeting), more].concat());
        let mut ways = ways();
        ways.hostmap.clear();
        let text = failure(&to("p", &[port]), &ways);
        let part = format!("127.0.0.1:{port}: {why}");
        assert!(text.contains(&part), "{part:?} in {text:?}");
        peer.join().expect("the peer");
    }
}
