//! What strangers and broken programs publish on a network's topics.

#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout)] // tests keep their own time, and say what they saw

use serde_json::{Map, Value, json};

use crate::support::conn::Conn;
use crate::support::network::{Network, agree, message, publish};
use crate::support::process::status_field;
use crate::{Needs, Tests};

/// How much memory a server may take for all of it, in KiB.
const GROWTH: u64 = 100 << 10;
/// How many lines it may say about it.
const LINES: usize = 40;

pub(crate) fn add(tests: &mut Tests, broker_port: u16) {
    tests.add(
        "network::strangers_harm_nobody",
        Needs::Mosquitto,
        move || strangers_harm_nobody(broker_port),
    );
}

/// An `info` with these fields, from somebody.
fn info(fields: Value) -> Vec<u8> {
    let mut all = json!({"node": "evil", "tick": 1, "tock": 5});
    let more: Map<String, Value> = fields.as_object().cloned().unwrap_or_default();
    all.as_object_mut().expect("a map").extend(more);
    message(&all)
}

fn strangers_harm_nobody(broker_port: u16) {
    let network = Network::at(broker_port);
    let mut nodes = [network.first("a"), network.join("b")];
    Conn::open(nodes[0].port).set(&["before"], json!(1));
    agree(&[&nodes[0], &nodes[1]]);
    let before = nodes
        .each_ref()
        .map(|node| status_field(node.process.pid(), "VmRSS"));

    let topic = network.topic();
    let say =
        |word: &str, payload: &[u8]| publish(broker_port, &format!("{topic}/{word}"), payload);
    let update = |fields: Value| {
        let mut all =
            json!({"node": "evil", "tick": 1, "prev": null, "path": ["x"], "value": 1, "tock": 7});
        let more = fields.as_object().cloned().unwrap_or_default();
        all.as_object_mut().expect("a map").extend(more);
        message(&all)
    };
    for word in ["update", "info", "ping", "del"] {
        for junk in [
            &b""[..],
            b"\xc1",
            b"hello",
            b"\x81",
            b"\x80",
            b"\xc0",
            b"\xdd\xff\xff\xff\xff",
            b"\xdb\xff\xff\xff\xff",
            &[0x91; 5000],
            b"\x81\xa4node\x01",
            // a name of its own: who pings as a node that has just started ends it
            b"\x82\xa4node\xa1z\xa1t\xa4ping",
        ] {
            say(word, junk);
        }
        say(word, &vec![0x42; 9 << 20]);
        say(
            word,
            &message(&json!({"_p0": ["evil", 1, 1, {"$bin": "81"}]})),
        );
        say(
            word,
            &message(&json!({"_p0": ["evil", 1, -1_000_000, {"$bin": "81"}]})),
        );
        say(word, &message(&json!({"_p0": ["evil", 1]})));
    }
    // ticks and tocks that cannot be
    for huge in [u64::MAX, 1 << 63, (1 << 62) + 1] {
        say("update", &update(json!({"tick": huge})));
        say("update", &update(json!({"tock": huge})));
        say("info", &info(json!({"tock": huge})));
        say("info", &info(json!({"ticks": {"evil": huge, "a": huge}})));
        say("info", &info(json!({"known": {"evil": [[1, huge]]}})));
        say(
            "ping",
            &message(
                &json!({"t": "ping", "node": "evil", "value": [huge, huge], "history": ["evil"]}),
            ),
        );
    }
    // entries that would end the original's servers, and such as nobody has
    for path in [
        json!(["x", null]),
        json!([{"a": 1}]),
        json!("abc"),
        json!(7),
        json!([]),
    ] {
        say(
            "update",
            &update(json!({"path": path, "tick": 2, "tock": -1})),
        );
    }
    say(
        "update",
        &update(json!({"path": [null, "actor", "del"], "value": 5, "tick": 2, "tock": -1})),
    );
    say("update", &update(json!({"path": vec!["deep"; 100_000]})));
    // forged news of the nodes themselves: nothing that cannot be
    say(
        "info",
        &info(json!({"missing": {"a": [[1, 1_000_000]], "nobody": [[1, 1u64 << 61]]}})),
    );
    say(
        "ping",
        &message(&json!({"t": "vers", "node": "evil", "version": -5})),
    );
    say(
        "ping",
        &message(&json!({"t": "hist", "value": [1, 1], "history": vec!["x"; 10_000]})),
    );
    say("ping", &message(&json!({"t": "init", "node": "a"})));
    // fifty thousand names: as many as are remembered without an entry
    for chunk in 0..10 {
        let names: Map<String, Value> = (0..5000)
            .map(|n| (format!("bogus {chunk} {n}"), json!(3)))
            .collect();
        say(
            "info",
            &info(
                json!({"known": names.iter().map(|(k, _)| (k.clone(), json!([[1, 4]]))).collect::<Map<_, _>>(), "ticks": names}),
            ),
        );
    }
    // a network whose root begins alike
    publish(
        broker_port,
        &format!("{topic}/x/update"),
        &update(json!({"path": ["alien"]})),
    );
    publish(
        broker_port,
        &format!("{topic}x/update"),
        &update(json!({"path": ["alien"]})),
    );

    Conn::open(nodes[0].port).set(&["after", "a"], json!(1));
    Conn::open(nodes[1].port).set(&["after", "b"], json!(1));
    let held = {
        let [a, b] = &nodes;
        crate::support::network::answers(a.port, &json!(["after", "b"]), &json!(1))
            .unwrap_or_else(|e| panic!("{e}"));
        crate::support::network::answers(b.port, &json!(["after", "a"]), &json!(1))
            .unwrap_or_else(|e| panic!("{e}"));
        agree(&[a, b])
    };
    let values = held.values();
    for (path, value) in [("[]", json!("Testing")), (r#"["before"]"#, json!(1))] {
        assert_eq!(values[path], &value, "{path}");
    }
    assert!(!values.contains_key(r#"["alien"]"#), "{values:?}");
    for (node, before) in nodes.iter_mut().zip(before) {
        assert!(node.process.runs());
        let grown = status_field(node.process.pid(), "VmRSS").saturating_sub(before);
        println!("{}: {grown} KiB more", node.name);
        assert!(grown < GROWTH, "{}: {grown} KiB more", node.name);
        let said = node.process.stderr();
        assert!(said.lines().count() < LINES, "{said}");
        assert!(said.len() < 20_000, "{} bytes of log", said.len());
        assert!(!said.contains("panic"), "{said}");
    }
    // who comes now finds a network in order
    let c = network.join("c");
    let [a, b] = nodes;
    agree(&[&a, &b, &c]);
}
