//! Clients that are broken, slow or malicious, beside one that is not.
//!
//! One bad client harms nobody: it gets an error under its request's number
//! or loses its own connection, the server goes on, the good client's answers
//! stay right and quick, and neither memory nor open files grow by more than
//! what was really sent.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use moat::msgpack::write;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::support::conn::{Conn, Got};
use crate::support::good::{Good, assert_not_slower, beside};
use crate::support::json::encode;
use crate::support::moat::{Options, Server};
use crate::support::process::{open_files, status_field};
use crate::support::replay::session;
use crate::support::{PATIENCE, eventually};

const MIB: u64 = 1024;

/// Tests that compare times or count connections run one after the other.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request whose field `key` has these encoded bytes.
fn request_with(action: &str, fields: &Value, key: &str, bytes: &[u8]) -> Vec<u8> {
    let fields = fields.as_object().expect("fields are a map");
    let mut out = Vec::new();
    write::map(&mut out, fields.len() + 3);
    write::str(&mut out, "action");
    write::str(&mut out, action);
    write::str(&mut out, "seq");
    write::uint(&mut out, 7777);
    for (name, value) in fields {
        write::str(&mut out, name);
        out.extend_from_slice(&encode(value));
    }
    write::str(&mut out, key);
    out.extend_from_slice(bytes);
    out
}

/// The request must be refused under its number, and the connection work on.
fn assert_refused(conn: &mut Conn, seq: &Value, what: &str) {
    loop {
        let message = conn.message(what);
        assert_eq!(message["seq"], *seq, "{what}: {message}");
        if message["state"] == "start" {
            continue;
        }
        assert!(message["error"].is_string(), "{what}: {message}");
        break;
    }
    // behind a stream's error comes its end, which this leaves out
    let tock = conn.request(json!({"action": "get_tock"}));
    assert!(tock.get("error").is_none(), "{what}: then {tock}");
}

#[test]
fn requests_that_make_no_sense_are_refused_and_the_connection_goes_on() {
    let mut server = Server::start();
    let mut conn = Conn::open(server.port);
    conn.set(&["a", "b"], json!(1));
    let path = json!({"$path": ["a", "b"]});
    let requests = [
        json!({"action": "frobnicate"}),
        json!({"action": 5}),
        json!({"action": null}),
        json!({"action": ["get_value"]}),
        json!({}),
        json!({"action": "get_tock", "state": "start"}),
        json!({"action": "set_value", "path": path, "value": 1, "state": "start"}),
        json!({"action": "get_value"}),
        json!({"action": "get_value", "path": 5}),
        json!({"action": "get_value", "path": "ab"}),
        json!({"action": "get_value", "path": null}),
        json!({"action": "get_value", "path": {"a": 1}}),
        json!({"action": "get_value", "path": ["a", null]}),
        json!({"action": "get_value", "path": ["a", {"x": 1}]}),
        json!({"action": "get_value", "path": ["a", {"$float": "nan"}]}),
        json!({"action": "get_value", "path": path, "nchain": "many"}),
        json!({"action": "get_value", "path": path, "nchain": {}}),
        json!({"action": "get_value", "node": 5, "tick": 1}),
        json!({"action": "get_value", "node": "rec", "tick": "first"}),
        json!({"action": "get_value", "node": "rec"}),
        json!({"action": "set_value", "path": path}),
        json!({"action": "set_value", "value": 1}),
        json!({"action": "set_value", "path": path, "value": 1, "chain": 5}),
        json!({"action": "set_value", "path": path, "value": 1, "chain": {}}),
        json!({"action": "set_value", "path": path, "value": 1, "chain": {"node": 5, "tick": 1}}),
        json!({"action": "set_value", "path": path, "value": 1, "chain": {"node": "rec", "tick": -1}}),
        json!({"action": "set_value", "path": path, "value": 1, "chain": ["rec", 1]}),
        json!({"action": "set_value", "path": ["a", null, "b"], "value": 1}),
        json!({"action": "set_value", "path": path, "value": 2, "prev": 99}),
        json!({"action": "delete_value"}),
        json!({"action": "delete_value", "path": path, "value": 1}),
        json!({"action": "delete_tree"}),
        json!({"action": "delete_tree", "path": []}),
        json!({"action": "delete_tree", "path": {"$path": []}}),
        json!({"action": "enum", "path": ["not", "there"]}),
        json!({"action": "enum", "path": 1.5}),
        json!({"action": "get_tree"}),
        json!({"action": "get_tree", "path": ["not", "there"]}),
        json!({"action": "get_tree", "path": path, "max_depth": "deep"}),
        json!({"action": "get_tree", "path": path, "min_depth": []}),
        json!({"action": "watch"}),
        json!({"action": "watch", "path": 5}),
        json!({"action": "watch", "path": path, "nchain": "x"}),
        json!({"action": "stop"}),
        json!({"action": "enum_node"}),
        json!({"action": "enum_node", "node": "nope"}),
        json!({"action": "enum_node", "node": "rec", "max": "all"}),
        json!({"action": "kill_node", "node": "rec"}),
        json!({"action": "kill_node"}),
        json!({"action": "check_deleted", "nodes": 5}),
        json!({"action": "check_deleted", "nodes": {"rec": "all"}}),
        json!({"action": "fake_info", "ticks": 5, "node": "x"}),
        json!({"action": "update"}),
        json!({"action": "update", "path": path, "node": "x", "tick": 1, "value": 1}),
        json!({"action": "update", "path": path, "node": "x", "tick": "y", "value": 1, "tock": 9}),
        json!({"action": "update", "path": path, "node": "x", "tick": 1, "value": 1,
               "tock": 9_223_372_036_854_775_807_u64}),
        json!({"action": "msg_send"}),
        json!({"action": "msg_send", "topic": [], "data": 1}),
        json!({"action": "msg_send", "topic": ["a"]}),
        json!({"action": "msg_send", "topic": ["a"], "data": 1, "raw": {"$bin": "00"}}),
        json!({"action": "msg_send", "topic": ["a"], "raw": 5}),
        json!({"action": "msg_monitor"}),
        json!({"action": "msg_monitor", "topic": 5}),
        json!({"action": "set_internal", "path": ["type"], "value": 1}),
        json!({"action": "set_internal", "path": ["acl", "x"], "value": 1}),
    ];
    for request in requests {
        let seq = conn.ask(request.clone());
        assert_refused(&mut conn, &json!(seq), &request.to_string());
    }
    assert_eq!(conn.get(&["a", "b"]), Some(json!(1)), "nothing was changed");
    server.assert_alive();
}

#[test]
fn values_that_nobody_may_store_are_refused_and_the_connection_goes_on() {
    let mut server = Server::start();
    let mut conn = Conn::open(server.port);
    let mut deep = vec![0x91; 1_023];
    deep.push(0xc0);
    let mut big_integer = vec![0xc8, 0x02, 0x01, 0x02];
    big_integer.extend([0xff; 513]);
    let values: [(&str, Vec<u8>); 8] = [
        ("invalid UTF-8", b"\xa2\xff\xfe".to_vec()),
        ("invalid UTF-8 in a map", b"\x81\xa1\xff\x01".to_vec()),
        ("a map as key", b"\x81\x81\x01\x02\x03".to_vec()),
        ("a map within a key", b"\x81\x91\x80\x03".to_vec()),
        ("an object of a class", b"\xd5\x05\xa1x".to_vec()),
        ("an unknown proxy", b"\xd6\x04abcd".to_vec()),
        ("an integer of 4,104 bits", big_integer),
        (
            "a path that ends within an element",
            b"\xd5\x03\xa5a".to_vec(),
        ),
    ];
    let fields = json!({"path": ["v"]});
    for (what, value) in &values {
        conn.send_bytes(&request_with("set_value", &fields, "value", value));
        assert_refused(&mut conn, &json!(7777), what);
    }
    // one byte over the limit for values, well within that for frames
    let mut large = Vec::new();
    write::bin(&mut large, &vec![0; 8 * 1024 * 1024]);
    conn.send_bytes(&request_with("set_value", &fields, "value", &large));
    assert_refused(&mut conn, &json!(7777), "a value over the limit");
    assert_eq!(conn.get(&["v"]), None, "nothing was stored");
    // the deepest nesting that a message can carry
    conn.send_bytes(&request_with("set_value", &fields, "value", &deep));
    let reply = conn.reply(7777);
    assert!(reply.get("error").is_none(), "deep value: {reply}");
    server.assert_alive();
}

#[test]
fn bytes_that_are_no_messages_end_that_connection_alone() {
    let mut server = Server::start();
    let mut good = Good::connect(server.port);
    let nested = |byte: u8| vec![byte; 100_000];
    let cases: [(&str, Vec<u8>); 6] = [
        ("the byte that nothing uses", vec![0xc1]),
        ("the same within a map", b"\x82\xa6action\xc1".to_vec()),
        ("lists in lists", nested(0x91)),
        ("maps in maps", [0x81, 0x01].repeat(100_000)),
        ("maps in keys", nested(0x81)),
        (
            "long lists in long lists",
            [0xdd, 0x7f, 0xff, 0xff, 0xff].repeat(20_000),
        ),
    ];
    for (what, bytes) in cases {
        let mut conn = Conn::open(server.port);
        conn.send_bytes(&bytes);
        let said = conn.until_closed(what);
        let [last] = said.as_slice() else {
            panic!("{what}: {said:?}");
        };
        assert!(last["error"].is_string(), "{what}: {last}");
        assert!(last.get("seq").is_none(), "{what}: {last}");
        good.round();
    }
    server.assert_alive();
}

#[test]
fn a_frame_over_the_limit_ends_its_connection_and_costs_no_memory() {
    let _alone = alone();
    let mut server = Server::start();
    let pid = server.process.pid();
    let before = status_field(pid, "VmRSS");
    beside(server.port, || {
        let mut conn = Conn::open(server.port);
        // 1 GiB is announced; at most the limit of 16 MiB may be taken
        conn.send_bytes(&[0x81, 0xa1, b'x', 0xc6, 0x40, 0, 0, 0]);
        let piece = vec![0; 64 * 1024];
        let mut sent = 0_u64;
        let said = loop {
            match conn.next(Duration::ZERO) {
                Some(Got::Message(message)) => break message,
                Some(Got::End) => panic!("closed without a word"),
                None => {}
            }
            assert!(sent < 64 * MIB * 1024, "the limit is not kept");
            sent += conn.offer(&piece, Duration::from_millis(100)).unwrap_or(0) as u64;
        };
        assert!(said["error"].is_string(), "{said}");
        conn.until_closed("a frame over the limit");
    });
    let peak = status_field(pid, "VmHWM");
    assert!(
        peak < before + 48 * MIB,
        "memory grew from {before} to {peak} KiB for a limit of 16 MiB"
    );
    server.assert_alive();
}

#[test]
fn bytes_cut_anywhere_and_every_recorded_oddity_disturb_nobody() {
    let mut server = Server::start();
    let mut good = Good::connect(server.port);
    let odd = session("09-bad-requests");
    let odd = odd.messages.iter().filter_map(|m| m.request());
    let usual = [session("02-set"), session("06-watch"), session("11-state")];
    let cut = usual
        .iter()
        .flat_map(|s| {
            s.messages
                .iter()
                .filter_map(|m| m.request())
                .skip(1)
                .step_by(9)
        })
        .flat_map(|bytes| (1..bytes.len()).map(move |n| bytes[..n].to_vec()));
    for (n, bytes) in odd.chain(cut).enumerate() {
        let mut conn = Conn::open(server.port);
        conn.send_bytes(&bytes);
        conn.finish();
        conn.until_closed("a message cut short");
        if n % 16 == 0 {
            good.round();
        }
    }
    server.assert_alive();
}

/// A small generator of random numbers whose sequence is the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % n.max(1)
    }

    /// The bytes, changed in one to four places.
    fn mutate(&mut self, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        const TELLING: [u8; 16] = [
            0x00, 0x7f, 0x80, 0x8f, 0x90, 0xa0, 0xbf, 0xc0, 0xc1, 0xc7, 0xcb, 0xcf, 0xd9, 0xdd,
            0xdf, 0xff,
        ];
        let mut out = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(out.len());
            match self.below(7) {
                0 if !out.is_empty() => out[at] ^= 1 << self.below(8),
                1 if !out.is_empty() => out[at] = TELLING[self.below(TELLING.len())],
                2 => out.truncate(at),
                3 if !out.is_empty() => {
                    out.remove(at);
                }
                4 => out.insert(at, TELLING[self.below(TELLING.len())]),
                5 => {
                    let from = self.below(other.len());
                    let tail = other.get(from..).unwrap_or_default();
                    out.splice(at.., tail.iter().copied());
                }
                _ => {
                    let again = out.get(at..).unwrap_or_default().to_vec();
                    out.extend(again);
                }
            }
        }
        out
    }
}

#[test]
fn messages_changed_at_random_disturb_nobody() {
    const FRAMES: usize = 50;
    // 20,000 messages, or with `tests/run --long` 200,000
    let long = std::env::var_os("MOAT_TEST_LONG").is_some();
    let rounds = if long { 4_000 } else { 400 };
    let _alone = alone();
    let mut server = Server::start();
    let names = [
        "02-set",
        "03-delete",
        "04-tree",
        "05-enum",
        "06-watch",
        "08-delete-tree",
        "09-bad-requests",
        "10-msg",
        "11-state",
        "12-internal",
        "17-root",
    ];
    let frames: Vec<Vec<u8>> = names
        .iter()
        .flat_map(|name| {
            session(name)
                .messages
                .into_iter()
                .filter_map(|m| m.request())
        })
        .collect();
    let mut random = Random(0x6d6f_6174_2d6b_7631);
    let mut good = Good::connect(server.port);
    for _ in 0..rounds {
        let mut conn = Conn::open(server.port);
        for _ in 0..FRAMES {
            let one = random.below(frames.len());
            let other = random.below(frames.len());
            conn.send_bytes(&random.mutate(&frames[one], &frames[other]));
        }
        conn.finish();
        conn.until_closed("messages changed at random");
        good.round();
    }
    server.assert_alive();
}

/// How many connections a test may hold: what is asked for, if the system
/// allows that many here and in the server.
fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("raise the limit of open files");
    let most = limit
        .maximum
        .map_or(usize::MAX, |m| usize::try_from(m).unwrap_or(usize::MAX));
    // the server keeps a tenth for itself
    wanted.min(most / 2)
}

fn assert_files_return_to(pid: u32, before: usize) {
    let what = format!("open files return to {before}");
    if let Err(e) = eventually(&what, PATIENCE, || {
        (open_files(pid) <= before).then_some(())
    }) {
        panic!("{e}; now {}", open_files(pid));
    }
}

#[test]
fn thousands_of_connections_leave_nothing_behind() {
    let _alone = alone();
    let mut server = Server::start();
    let pid = server.process.pid();
    let _resting = Good::connect(server.port);
    let (port, files) = (server.port, open_files(pid));
    let storm = |count: usize| {
        for n in 0..count {
            let mut conn = Conn::connect(port);
            match n % 4 {
                0 => {}
                1 => conn.send_bytes(b"\x83\xa6action\xa9get_v"),
                2 => conn
                    .send(&json!({"action": "watch", "path": ["good"], "fetch": true, "seq": 1})),
                _ => {
                    conn.message("greeting");
                }
            }
        }
    };
    storm(500);
    assert_files_return_to(pid, files);
    let before = status_field(pid, "VmRSS");
    beside(port, || storm(3_000));
    assert_files_return_to(pid, files);
    let after = status_field(pid, "VmRSS");
    assert!(
        after < before + 8 * MIB,
        "memory grew from {before} to {after} KiB over 3,000 connections"
    );
    server.assert_alive();
}

#[test]
fn thousands_of_half_sent_frames_cost_little_and_nobody_waits() {
    let _alone = alone();
    let mut server = Server::start();
    let pid = server.process.pid();
    let (port, files) = (server.port, open_files(pid));
    let before = status_field(pid, "VmRSS");
    let count = connections(2_000);
    let mut good = Good::connect(port);
    let calm = good.calm();
    let mut held: Vec<Conn> = (0..count)
        .map(|n| {
            let mut conn = Conn::connect(port);
            // lists, maps, texts, bytes and extensions of 2^23 and more
            let head: &[u8] = match n % 5 {
                0 => &[0xdd, 0xff, 0xff, 0xff, 0xff],
                1 => &[0xdf, 0x7f, 0xff, 0xff, 0xff],
                2 => &[0x81, 0xdb, 0x00, 0xff, 0xff, 0xff],
                3 => &[0x81, 0xa1, b'x', 0xc6, 0, 0xff, 0xff, 0xff],
                _ => &[0x81, 0xa1, b'x', 0xc9, 0, 0xff, 0xff, 0xff, 3],
            };
            conn.send_bytes(head);
            conn
        })
        .collect();
    // one that comes later is served, so all of them were accepted
    Good::connect(port).round();
    // all of them go on, a few between two rounds of the good client
    let mut next = 0;
    let now = good.rounds(500, |_| {
        for _ in 0..20 {
            if let Some(conn) = held.get_mut(next) {
                conn.send_bytes(b"\x01");
            }
            next = (next + 1) % count;
        }
    });
    assert_not_slower(calm, now);
    drop(good);
    drop(held);
    let peak = status_field(pid, "VmHWM");
    let most = before + 32 * (count as u64) + 16 * MIB;
    assert!(
        peak < most,
        "memory grew from {before} to {peak} KiB for {count} connections"
    );
    assert_files_return_to(pid, files);
    server.assert_alive();
}

/// So many requests for that entry, encoded, numbered from 1.
fn gets(path: &str, count: u64) -> Vec<u8> {
    (1..=count)
        .flat_map(|n| encode(&json!({"action": "get_value", "path": [path], "seq": n})))
        .collect()
}

#[test]
fn few_requests_for_much_data_cost_no_memory() {
    const COUNT: u64 = 200;
    let _alone = alone();
    let mut server = Server::start();
    let pid = server.process.pid();
    let value = "v".repeat(1024 * 1024);
    Conn::open(server.port).set(&["big"], json!(value));
    let before = status_field(pid, "VmHWM");
    beside(server.port, || {
        let mut conn = Conn::open(server.port);
        // one piece of 10 KiB, which asks for 200 MiB
        conn.send_bytes(&gets("big", COUNT));
        // others are answered while these wait
        Good::connect(server.port).round();
        for n in 1..=COUNT {
            let reply = conn.reply(n);
            assert_eq!(reply["value"].as_str().map(str::len), Some(value.len()));
        }
    });
    let peak = status_field(pid, "VmHWM");
    assert!(
        peak < before + 12 * MIB,
        "memory grew from {before} to {peak} KiB for unread replies of 1 MiB"
    );
    server.assert_alive();
}

#[test]
fn a_client_that_reads_no_replies_is_held_back() {
    let _alone = alone();
    let mut server = Server::start();
    let pid = server.process.pid();
    Conn::open(server.port).set(&["big"], json!("v".repeat(16 * 1024)));
    let before = status_field(pid, "VmHWM");
    beside(server.port, || {
        let mut conn = Conn::open(server.port);
        let requests = gets("big", 10_000);
        let mut sent = 0;
        // until the server and the system between take no more
        while let Some(n) = conn.offer(&requests[sent % requests.len()..], PATIENCE / 10) {
            sent += n;
            assert!(sent < 64 * 1024 * 1024, "requests are read without end");
        }
        // and it goes on when its replies are read
        for n in 1..100 {
            assert_eq!(conn.message("a reply")["seq"], n);
        }
    });
    let peak = status_field(pid, "VmHWM");
    assert!(
        peak < before + 12 * MIB,
        "memory grew from {before} to {peak} KiB for unread replies"
    );
    server.assert_alive();
}

#[test]
fn a_watch_that_is_not_read_ends_and_can_be_resumed_without_a_gap() {
    const WRITES: u64 = 1_500;
    let _alone = alone();
    let mut server = Server::with(&Options::default().with("server.watch.buffer=1048576"));
    let pid = server.process.pid();
    let mut watcher = Conn::open(server.port);
    let watch = json!({"action": "watch", "path": ["w"], "fetch": true});
    let first = watcher.ask(watch.clone());
    assert_eq!(watcher.reply(first)["state"], "start");
    assert_eq!(watcher.reply(first)["state"], "uptodate");
    let before = status_field(pid, "VmRSS");
    let filler = "x".repeat(16 * 1024);
    let port = server.port;
    beside(port, || {
        let mut writer = Conn::open(port);
        for n in 0..WRITES {
            let reply = writer.request(json!({
                "action": "set_value", "path": ["w", n], "value": filler, "nchain": 0
            }));
            assert!(reply.get("error").is_none(), "{reply}");
        }
    });
    let grown = status_field(pid, "VmRSS").saturating_sub(before);
    // what was written, twice, and the buffer
    assert!(
        grown < 2 * WRITES * 16 + 16 * MIB,
        "memory grew by {grown} KiB for {WRITES} values of 16 KiB"
    );
    let mut seen = Vec::new();
    let numbers = |message: &Value| message["path"][0].as_u64();
    let overflow = loop {
        let message = watcher.reply(first);
        if message.get("error").is_some() {
            break message;
        }
        seen.extend(numbers(&message));
    };
    assert_eq!(overflow["error"], "RuntimeError('Aborted. Queue filled?')");
    assert_eq!(overflow["etype"], "overflow", "{overflow}");
    assert_eq!(watcher.reply(first)["state"], "end");
    let so_far = seen.len();
    assert!(
        so_far < usize::try_from(WRITES).expect("small"),
        "nothing overflowed"
    );
    let mut again = watch;
    again["resume"] = overflow["at"].clone();
    let second = watcher.ask(again);
    assert_eq!(watcher.reply(second)["state"], "start");
    loop {
        let message = watcher.reply(second);
        if message["state"] == "uptodate" {
            assert_ne!(message["resumed"], json!(false), "{message}");
            break;
        }
        assert!(message.get("error").is_none(), "{message}");
        seen.extend(numbers(&message));
    }
    // each once, in order
    let all: Vec<u64> = (0..WRITES).collect();
    assert_eq!(seen, all, "{so_far} came before the overflow");
    server.assert_alive();
}

#[test]
fn acknowledgements_are_read_however_much_waits_for_them() {
    const WRITES: u64 = 180;
    let mut server = Server::start();
    let mut watcher = Conn::open(server.port);
    watcher.send(&json!({"seq": 0, "qlen": 10}));
    let watch = watcher.ask(json!({"action": "watch", "path": ["w"]}));
    assert_eq!(watcher.reply(watch)["state"], "start");
    // 2.8 MiB, less than a watch may have waiting
    let filler = "x".repeat(16 * 1024);
    let mut writer = Conn::open(server.port);
    for n in 0..WRITES {
        writer.set(&["w", &n.to_string()], json!(filler));
    }
    for n in 0..WRITES {
        let message = watcher.reply(watch);
        assert_eq!(message["path"], json!([n.to_string()]), "change {n}");
        watcher.send(&json!({"seq": watch, "state": "ack", "ack": message["wseq"]}));
    }
    server.assert_alive();
}

#[test]
fn a_watch_that_is_never_acknowledged_ends_too() {
    const WRITES: u64 = 400;
    let mut server = Server::with(&Options::default().with("server.watch.buffer=1048576"));
    let pid = server.process.pid();
    let mut watcher = Conn::open(server.port);
    watcher.send(&json!({"seq": 0, "qlen": 10}));
    let watch = watcher.ask(json!({"action": "watch", "path": ["w"]}));
    assert_eq!(watcher.reply(watch)["state"], "start");
    let filler = "x".repeat(16 * 1024);
    let before = status_field(pid, "VmRSS");
    let mut writer = Conn::open(server.port);
    for _ in 0..WRITES {
        writer.set(&["w", "same"], json!(filler));
    }
    let grown = status_field(pid, "VmRSS").saturating_sub(before);
    assert!(grown < 8 * MIB, "memory grew by {grown} KiB");
    // what the window allows has come; acknowledging it lets the end through
    let mut changes = 0;
    let overflow = loop {
        let message = watcher.reply(watch);
        watcher.send(&json!({"seq": watch, "state": "ack", "ack": message["wseq"]}));
        if message.get("error").is_some() {
            break message;
        }
        changes += 1;
    };
    assert_eq!(overflow["etype"], "overflow", "{overflow}");
    assert!(changes < WRITES, "nothing overflowed");
    assert_eq!(watcher.reply(watch)["state"], "end");
    server.assert_alive();
}

#[test]
fn a_message_that_comes_in_crumbs_slows_down_nobody() {
    let _alone = alone();
    let mut server = Server::start();
    let port = server.port;
    beside(port, || {
        let mut conn = Conn::open(port);
        let mut value = Vec::new();
        write::bin(&mut value, &vec![7; 4 * 1024 * 1024]);
        let message = request_with("set_value", &json!({"path": ["crumbs"]}), "value", &value);
        for crumb in message.chunks(256) {
            conn.send_bytes(crumb);
        }
        let reply = conn.reply(7777);
        assert!(reply.get("error").is_none(), "{reply}");
    });
    server.assert_alive();
}

#[test]
fn a_thousand_watches_on_one_connection_slow_down_nobody() {
    const WATCHES: usize = 1_000;
    let _alone = alone();
    let mut server = Server::start();
    let port = server.port;
    beside(port, || {
        let mut watcher = Conn::open(port);
        for n in 0..WATCHES {
            watcher.send(&json!({
                "action": "watch", "path": ["many"], "fetch": true, "seq": n + 1
            }));
        }
        let mut ready = 0;
        while ready < WATCHES {
            let message = watcher.message("watches start");
            assert!(message.get("error").is_none(), "{message}");
            ready += usize::from(message["state"] == "uptodate");
        }
        Conn::open(port).set(&["many", "x"], json!(1));
        let mut heard = vec![0_u32; WATCHES];
        for _ in 0..WATCHES {
            let message = watcher.message("the change");
            assert_eq!(message["value"], 1, "{message}");
            let seq = message["seq"].as_u64().expect("a number");
            heard[usize::try_from(seq).expect("small") - 1] += 1;
        }
        assert!(heard.iter().all(|n| *n == 1), "each watch hears it once");
    });
    server.assert_alive();
}
