//! Fetching the state of a server of the original.

use serde_json::{Value, json};

use crate::support::conn::Conn;
use crate::support::join::{Download, books, download, path};
use crate::support::json::{decode, encode};
use crate::support::original::Original;
use crate::{Needs, Tests};

/// Sends writes as fast as the original takes them, and waits for the last.
fn fill(conn: &mut Conn, entries: u64) {
    const FIRST: u64 = 100_000;
    let bytes: Vec<u8> = (0..entries)
        .flat_map(|n| {
            encode(&json!({
                "action": "set_value", "seq": FIRST + n, "nchain": 0,
                "path": ["many", n / 50, n % 50], "value": {"n": n, "text": "x".repeat(20)}
            }))
        })
        .collect();
    conn.send_bytes(&bytes);
    for n in 0..entries {
        let reply = conn.reply(FIRST + n);
        assert!(reply.get("error").is_none(), "{reply}");
    }
}

/// The value that came for a path; `None` for a deletion.
fn value(got: &Download, name: &str) -> Option<Value> {
    let event = got.events.iter().find(|event| path(event) == name);
    let event = event.unwrap_or_else(|| panic!("no {name} in {:?}", got.paths()));
    let bytes = event.value.as_deref()?;
    Some(decode(bytes).expect("msgpack").0)
}

fn everything_it_has(broker_port: u16) {
    const MANY: u64 = 3000;
    let mut original = Original::start(broker_port, "orig").unwrap_or_else(|e| panic!("{e}"));
    let mut conn = Conn::open(original.port);
    let mut done = |request: Value| {
        let reply = conn.request(request);
        assert!(reply.get("error").is_none(), "{reply}");
    };
    let keys = [
        json!([1, true]),
        json!([1.5, ""]),
        json!([{"$bin": "00ff"}, -7]),
        json!([{"$path": ["x", 1]}]),
        json!(["a.b", ":c", "ü\u{1f600}"]),
        json!(["a.b", ":c", "ü"]),
    ];
    for (n, key) in keys.iter().enumerate() {
        done(json!({"action": "set_value", "path": key, "value": {"n": n}}));
    }
    for path in ["gone", "back"] {
        done(json!({"action": "set_value", "path": [path], "value": 1}));
        done(json!({"action": "delete_value", "path": [path]}));
    }
    done(json!({"action": "set_value", "path": ["back"], "value": null}));
    done(json!({"action": "set_internal", "path": ["hostmap", "p"], "value": ["h", 1]}));
    fill(&mut conn, MANY);

    let got = download(original.port, "orig").unwrap_or_else(|e| panic!("{e}"));
    for (name, want) in [
        (":", json!("Testing")),
        (":1:t", json!({"n": 0})),
        ("back", Value::Null),
        (":n.hostmap.p", json!(["h", 1])),
        ("many:59:49", json!({"n": MANY - 1, "text": "x".repeat(20)})),
    ] {
        assert_eq!(value(&got, name), Some(want), "{name}");
    }
    assert_eq!(got.events.len() as u64, MANY + 9, "{:?}", got.paths());
    // it tells of deletions in its bookkeeping only
    let (info, _) = got.state.as_ref().expect("its state");
    let deleted: Vec<_> = info.deleted.iter().flatten().collect();
    assert!(
        deleted.iter().any(|(node, _)| node.as_str() == "orig"),
        "{deleted:?}"
    );
    // nothing is missing once all of it has been taken
    assert_eq!(books(&got.replica()).missing, Some(vec![]));
    assert!(original.runs());
}

/// A node of another name at the same port is not taken for the one.
fn only_the_node_that_is_meant(broker_port: u16) {
    let original = Original::start(broker_port, "orig").unwrap_or_else(|e| panic!("{e}"));
    let why = download(original.port, "other").expect_err("another node");
    assert!(why.contains("node `orig` answers there"), "{why}");
}

pub(crate) fn add(tests: &mut Tests, broker_port: u16) {
    tests.add(
        "fetch::everything_the_original_has",
        Needs::Original,
        move || everything_it_has(broker_port),
    );
    tests.add(
        "fetch::only_the_node_that_is_meant",
        Needs::Original,
        move || only_the_node_that_is_meant(broker_port),
    );
}
