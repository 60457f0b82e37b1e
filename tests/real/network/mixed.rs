//! Servers of ours and of the original in one network.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::conn::Conn;
use crate::support::network::{Held, Network, Node, answers};
use crate::support::original::{Broker, Original, SLOWLY};
use crate::support::{eventually, free_port};
use crate::{Needs, Tests};

pub(crate) fn add(tests: &mut Tests) {
    tests.add(
        "network::ours_and_the_originals_are_one_network",
        Needs::Original,
        ours_and_the_originals_are_one_network,
    );
    tests.add(
        "network::the_original_joins_whatever_the_order_of_the_rules",
        Needs::Original,
        the_original_joins_whatever_the_order_of_the_rules,
    );
    tests.add(
        "network::the_original_has_its_name_and_its_network",
        Needs::Original,
        the_original_has_its_name_and_its_network,
    );
    tests.add(
        "network::a_login_is_what_the_network_asks_for",
        Needs::Original,
        a_login_is_what_the_network_asks_for,
    );
}

/// Servers log in at a peer that asks for it, as any client would.
fn a_login_is_what_the_network_asks_for() {
    let broker_port = free_port();
    let _broker = Broker::start_at(broker_port, "").unwrap_or_else(|e| panic!("{e}"));
    let port = free_port();
    let mut network = Network::at(broker_port);
    network.host("orig", port);
    let original = network.original("orig", port, &["-I", "Testing"]);
    let original = original.unwrap_or_else(|e| panic!("{e}"));
    // it goes on although the login is switched on later
    let mut conn = Conn::open(original.port);
    let mut done = |request: Value| {
        let reply = conn.request(request);
        assert!(reply.get("error").is_none(), "{reply}");
    };
    done(json!({"action": "set_value", "path": ["secret"], "value": "it is"}));
    done(json!({
        "action": "auth_set", "typ": "root", "kind": "user", "ident": "*", "chain": null, "data": {}
    }));
    // SHA-256 of "test123", as the original keeps it
    let digest = "ecd71870d1963316a97e3ac3408c9835ad8cf0f3c1bc703527c30265534f75ae";
    for (method, record) in [
        ("_test", json!({})),
        ("password", json!({"password": {"$bin": digest}})),
    ] {
        done(json!({
            "action": "set_internal", "path": ["auth", method, "user", "joe"], "value": record
        }));
    }
    let hostmap = format!("hostmap.orig=127.0.0.1:{port}");
    for (method, spec) in [
        ("root", "root"),
        ("_test", "_test name=joe"),
        ("password", "password name=joe password=test123"),
    ] {
        done(json!({"action": "set_auth_typ", "typ": method}));
        let login = network.clone().with(&hostmap);
        let ours = login.clone().with(&format!("connect.auth={spec}"));
        let ours = ours.join(&format!("with-{}", method.trim_matches('_')));
        assert_eq!(ours.kv(&["data", "secret", "get", "-R"]), "it is");
        ours.end();

        let mut nobody = login.begin("nobody", &[]);
        let told = eventually("it says what it needs", SLOWLY, || {
            let told = nobody.process.stderr();
            told.contains("requires login").then_some(told)
        });
        let told = told.unwrap_or_else(|e| panic!("{e}"));
        assert!(told.contains(&format!("`{method}`")), "{told}");
        assert!(nobody.process.runs());
    }
    let wrong = network.with(&hostmap);
    let wrong = wrong.with("connect.auth=password name=joe password=wrong");
    let wrong = wrong.begin("wrong", &[]);
    eventually("it says that it is refused", SLOWLY, || {
        let told = wrong.process.stderr();
        told.contains("it refuses the login").then_some(())
    })
    .unwrap_or_else(|e| panic!("{e}"));
}

/// Writes of many kinds at one server: `name` keeps them apart from those of
/// others.
fn write(port: u16, name: &str, round: u64) {
    let mut conn = Conn::open(port);
    let keys = [
        json!([name, 1]),
        json!([name, true, -5]),
        json!([name, 1.5, ""]),
        json!([name, {"$bin": "00ff"}]),
        json!([name, {"$path": ["x", 1]}]),
        json!([name, "a.b", ":c", "ü\u{1f600}"]),
        json!([name, 1u64 << 40]),
    ];
    let values = [
        json!(round),
        Value::Null,
        json!([round, {"a": {"b": [true, 1.5, "x"]}}]),
        json!({"long": "x".repeat(500), "round": round}),
        json!({"longer": "y".repeat(70_000), "round": round}),
        json!({"$bin": "00ff10"}),
        json!({"$path": ["a", round]}),
    ];
    let mut done = |request: Value| {
        let reply = conn.request(request);
        assert!(reply.get("error").is_none(), "{reply}");
    };
    for (key, value) in keys.iter().zip(&values) {
        done(json!({"action": "set_value", "path": key, "value": value}));
    }
    for n in 0..30 {
        done(json!({"action": "set_value", "path": [name, "many", round, n], "value": n}));
    }
    for n in 0..10 {
        done(json!({"action": "delete_value", "path": [name, "many", round, n * 3]}));
    }
    for n in 0..10 {
        let value = json!([name, round, n]);
        done(json!({"action": "set_value", "path": ["shared", n], "value": value}));
    }
}

/// Waits until all hold the same values, and nothing is missing at ours.
fn agree(ports: &[(&str, u16)]) -> BTreeMap<String, Value> {
    let mut last = String::new();
    let found = eventually("all hold the same values", SLOWLY, || {
        let mut first: Option<Held> = None;
        for (name, port) in ports {
            let held = Held::of(*port);
            let other = first.get_or_insert_with(|| held.clone());
            let (ours, theirs) = (other.values(), held.values());
            let paths = ours.keys().chain(theirs.keys());
            for path in paths {
                if ours.get(path) != theirs.get(path) {
                    let show = |v: Option<&&Value>| {
                        let text = v.map_or_else(|| "nothing".to_owned(), |v| v.to_string());
                        text.chars().take(200).collect::<String>()
                    };
                    last = format!(
                        "{path}: '{}' has {}, '{name}' {}",
                        ports[0].0,
                        show(ours.get(path)),
                        show(theirs.get(path))
                    );
                    return None;
                }
            }
            if !held.is_complete() {
                last = format!("'{name}' misses {}", held.missing);
                return None;
            }
        }
        let entries = first?.entries.into_iter();
        Some(entries.map(|(path, e)| (path, e.value)).collect())
    });
    found.unwrap_or_else(|e| panic!("{e}: {last}"))
}

/// The original must have had no trouble with what it heard.
fn assert_well(original: &mut Original, name: &str) {
    let said = original.said();
    assert!(original.runs(), "'{name}' has ended: {said}");
    assert!(!said.contains("Traceback"), "'{name}': {said}");
}

fn ours_and_the_originals_are_one_network() {
    let broker = Broker::start().unwrap_or_else(|e| panic!("{e}"));
    let mut network = Network::at(broker.port);
    let [rob_port, sam_port] = [free_port(), free_port()];
    let original = |network: &Network, name: &str, port| {
        let started = network.original(name, port, &[]);
        started.unwrap_or_else(|e| panic!("{e}"))
    };

    // theirs from ours
    let ann = network.first("ann");
    network.host("ann", ann.port);
    network.host("rob", rob_port);
    network.host("sam", sam_port);
    write(ann.port, "ann", 0);
    let mut rob = original(&network, "rob", rob_port);
    agree(&[("ann", ann.port), ("rob", rob_port)]);
    write(rob_port, "rob", 0);

    // ours from theirs: nobody else is there
    agree(&[("ann", ann.port), ("rob", rob_port)]);
    let ann_port = ann.port;
    ann.end();
    let network = network
        .clone()
        .with(&format!("hostmap.rob=127.0.0.1:{rob_port}"));
    let network = network.with(&format!("hostmap.sam=127.0.0.1:{sam_port}"));
    let bea = network.join("bea");
    let mut network = network;
    network.host("bea", bea.port);
    agree(&[("bea", bea.port), ("rob", rob_port)]);
    let ann = network.join_at(ann_port, "ann");
    let mut sam = original(&network, "sam", sam_port);

    // all at once
    let ports = [
        ("ann", ann_port),
        ("rob", rob_port),
        ("bea", bea.port),
        ("sam", sam_port),
    ];
    for round in 1..4 {
        std::thread::scope(|threads| {
            for (name, port) in ports {
                threads.spawn(move || write(port, name, round));
            }
        });
    }
    agree(&ports);
    assert_well(&mut rob, "rob");
    assert_well(&mut sam, "sam");

    // one of each comes back without its data, while the others go on
    let mut bea = bea;
    bea.kill();
    drop(sam);
    write(ann_port, "ann", 5);
    let bea = network.rejoin(bea);
    write(rob_port, "rob", 5);
    let mut sam = original(&network, "sam", sam_port);
    for (name, port) in ports {
        write(port, name, 6);
    }
    let held = agree(&ports);
    for (name, _) in ports {
        assert_eq!(held[&json!([name, 1]).to_string()], json!(6), "{name}");
    }
    assert_well(&mut rob, "rob");
    assert_well(&mut sam, "sam");
    let _: [Node; 2] = [ann, bea];
}

/// The original takes no rule whose type it does not know yet, and has no
/// data then: it never says that it runs.
fn the_original_joins_whatever_the_order_of_the_rules() {
    let broker = Broker::start().unwrap_or_else(|e| panic!("{e}"));
    let mut network = Network::at(broker.port);
    let ann = network.first("ann");
    network.host("ann", ann.port);
    let rob_port = free_port();
    network.host("rob", rob_port);
    let mut conn = Conn::open(ann.port);
    let internal = [
        (json!(["match", "num", "+"]), json!({"type": ["int"]})),
        (
            json!(["match", "part", "#"]),
            json!({"type": ["int", "percent"]}),
        ),
        (
            json!(["conv", "loud", "num", "#"]),
            json!({"codec": ["text"]}),
        ),
        (
            json!(["type", "int"]),
            json!({"code": "if not isinstance(value, int): raise ValueError('no')\n",
                "good": [0, 7], "bad": ["x"]}),
        ),
        (
            json!(["type", "int", "percent"]),
            json!({"schema": {"type": "integer", "maximum": 100},
                "good": [0, 100], "bad": [101]}),
        ),
        (
            json!(["codec", "text"]),
            json!({"in": [["1", 1]], "decode": "return int(value)",
                "out": [[2, "2"]], "encode": "return str(value)"}),
        ),
    ];
    for (path, value) in &internal {
        let request = json!({"action": "set_internal", "path": path, "value": value});
        let reply = conn.request(request);
        assert!(reply.get("error").is_none(), "{path}: {reply}");
    }
    conn.set(&["num", "a"], json!(5));
    conn.set(&["part", "b"], json!(50));

    let mut rob = network
        .original("rob", rob_port, &[])
        .unwrap_or_else(|e| panic!("{e}"));
    let held = agree(&[("ann", ann.port), ("rob", rob_port)]);
    assert_eq!(held.len(), internal.len() + 3, "{held:?}");
    let said = rob.said();
    assert!(!said.contains("exist"), "{said}");
    // and the rules hold there
    let mut conn = Conn::open(rob_port);
    for (path, value, well) in [
        (["num", "a"], json!(6), true),
        (["num", "a"], json!("six"), false),
        (["part", "b"], json!(99), true),
        (["part", "b"], json!(101), false),
    ] {
        let request = json!({"action": "set_value", "path": path, "value": value});
        let reply = conn.request(request);
        assert_eq!(
            reply.get("error").is_none(),
            well,
            "{path:?} {value}: {reply}"
        );
    }
    answers(ann.port, &json!(["part", "b"]), &json!(99)).unwrap_or_else(|e| panic!("{e}"));
    assert!(rob.runs(), "{}", rob.said());
}

fn the_original_has_its_name_and_its_network() {
    let broker = Broker::start().unwrap_or_else(|e| panic!("{e}"));
    let mut network = Network::at(broker.port);
    let port = free_port();
    network.host("rob", port);
    let mut rob = network
        .original("rob", port, &["-I", "Testing"])
        .unwrap_or_else(|e| panic!("{e}"));
    let network = network.with(&format!("hostmap.rob=127.0.0.1:{port}"));
    let said = network.begin("rob", &[]).failed();
    assert!(said.contains("'rob'") && said.contains("name"), "{said}");
    let said = network.begin("ann", &["-i", "Other"]).failed();
    assert!(said.contains("network exists"), "{said}");
    let ann = network.join("ann");
    let held = Held::of(ann.port);
    assert_eq!(held.values()["[]"], &json!("Testing"));
    answers(port, &json!([]), &json!("Testing")).unwrap_or_else(|e| panic!("{e}"));
    assert_well(&mut rob, "rob");
    let _ = (Duration::ZERO, Signal::TERM);
}
