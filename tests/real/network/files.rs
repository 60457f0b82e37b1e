//! Servers that begin with what a state file holds, beside others that know
//! more, less, or the same.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::conn::Conn;
use crate::support::network::{AGREEMENT, Held, Network, Node, agree};
use crate::support::original::Broker;
use crate::support::process::{Output, run};
use crate::support::{PATIENCE, eventually, free_port};
use crate::{Needs, Tests};

pub(crate) fn add(tests: &mut Tests, broker_port: u16) {
    tests.add(
        "network::an_old_file_is_caught_up_with",
        Needs::Mosquitto,
        move || an_old_file_is_caught_up_with(broker_port),
    );
    tests.add(
        "network::two_files_of_one_network_become_one",
        Needs::Mosquitto,
        move || two_files_of_one_network_become_one(broker_port),
    );
    tests.add(
        "network::anothers_file_waits_for_a_node",
        Needs::Mosquitto,
        move || anothers_file_waits_for_a_node(broker_port),
    );
    tests.add(
        "network::files_go_to_the_original_and_back",
        Needs::Original,
        files_go_to_the_original_and_back,
    );
}

/// A server of the original saves, ours loads; ours writes the file anew, the
/// original loads that. Odd keys, deletions and rules are in it.
fn files_go_to_the_original_and_back() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = |name: &str| {
        let path = folder.path().join(name);
        path.to_str().expect("a text").to_owned()
    };
    let broker_port = free_port();
    let _broker = Broker::start_at(broker_port, "").unwrap_or_else(|e| panic!("{e}"));
    let original = |args: &[&str]| {
        let network = Network::at(broker_port);
        let original = network.original("ann", free_port(), args);
        original.unwrap_or_else(|e| panic!("{e}"))
    };
    let mut first = original(&["-I", "Testing"]);
    let mut conn = Conn::open(first.port);
    let mut done = |request: Value| {
        let reply = conn.request(request);
        assert!(reply.get("error").is_none(), "{reply}");
    };
    let log = file("log");
    done(json!({"action": "log", "path": log, "fetch": true}));
    let keys = [
        json!(["n", 1, true, -5]),
        json!(["n", 1.5, ""]),
        json!(["n", {"$bin": "00ff"}]),
        json!(["n", {"$path": ["x", 1]}]),
        json!(["a.b", ":c", "ü\u{1f600}"]),
        json!(["a.b", ":c"]),
        json!(["gone"]),
        json!(["back"]),
    ];
    for (n, key) in keys.iter().enumerate() {
        done(json!({"action": "set_value", "path": key, "value": {"n": n}}));
    }
    for path in [json!(["gone"]), json!(["back"]), json!(["n", 1.5, ""])] {
        done(json!({"action": "delete_value", "path": path}));
    }
    done(json!({"action": "set_value", "path": ["back"], "value": null}));
    let of_type = json!({"code": "if not isinstance(value,int): raise ValueError(value)",
        "good": [0, 1], "bad": ["x"]});
    done(json!({"action": "set_internal", "path": ["type", "int"], "value": of_type}));
    done(json!({"action": "set_internal", "path": ["match", "bb"], "value": {"type": ["int"]}}));
    let full = file("full");
    done(json!({"action": "save", "path": full, "full": true}));
    let wanted = Held::of(first.port);
    drop(conn);
    // its end writes out what it has gathered
    first.process.signal(Signal::TERM);
    first
        .process
        .wait(PATIENCE)
        .unwrap_or_else(|e| panic!("{e}"));

    let network = Network::at(broker_port);
    for source in [&full, &log] {
        let ours = network.begin("ann", &["-l", source]).serving();
        assert_eq!(ours.holds().values(), wanted.values(), "{source}");
        assert!(ours.holds().is_complete(), "{source}");
        ours.end();
        let new = file("new");
        let mut command = crate::support::moat::bare(None);
        command.args(["kv", "dump", "merge", source, &new]);
        let merged = run("moat kv dump merge", &mut command, None, PATIENCE);
        merged
            .and_then(Output::ok)
            .unwrap_or_else(|e| panic!("{e}"));
        let theirs = original(&["-l", &new]);
        let held = Held::of(theirs.port);
        assert_eq!(held.values(), wanted.values(), "{source}");
        assert!(held.is_complete(), "{}", held.missing);
        assert_eq!(held.ticks, wanted.ticks);
    }
}

fn recorded(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join(format!("tests/vectors/state/{name}.msgpack"))
}

fn set(node: &Node, path: &str, value: &str) -> (String, u64) {
    let mut conn = Conn::open(node.port);
    let reply = conn.request(json!({
        "action": "set_value", "path": [path], "value": value, "nchain": 1
    }));
    let chain = &reply["chain"];
    let tick = chain["tick"].as_u64().unwrap_or_else(|| panic!("{reply}"));
    (chain["node"].as_str().expect("a node").to_owned(), tick)
}

/// The whole site but one node lost its power, and that one's file is older
/// than what it had told the others.
fn an_old_file_is_caught_up_with(broker_port: u16) {
    let file = recorded("full");
    let args = ["-l", file.to_str().expect("a text")];
    let network = Network::at(broker_port);
    let ann = network.begin("ann", &args).serving();
    let bob = network.join("bob");
    let mut ticks = Vec::new();
    for n in 0..20 {
        ticks.push(set(&ann, &format!("more {n}"), "by ann"));
        set(&bob, &format!("more {}", n / 2), "by bob");
    }
    ann.kv(&["data", "a.b", "delete"]);
    agree(&[&ann, &bob]);
    let mut ann = ann;
    ann.kill();
    set(&bob, "while ann was away", "by bob");
    set(&bob, "a", "by bob, too");
    let ann = network.begin("ann", &args).serving();
    // at once, before it can have heard all
    let next = set(&ann, "after all", "by ann");
    assert!(!ticks.contains(&next), "{next:?} was used before");
    let held = agree(&[&ann, &bob]);
    let value = |path: &str| held.values().get(path).map(|v| (*v).clone());
    assert_eq!(value("[\"more 3\"]"), Some(json!("by bob")));
    assert_eq!(value("[\"more 19\"]"), Some(json!("by ann")));
    assert_eq!(value("[\"a\"]"), Some(json!("by bob, too")));
    assert_eq!(value("[\"a\",\"b\"]"), None, "it was deleted");
    assert_eq!(value("[\"after all\"]"), Some(json!("by ann")));
    ann.end();
    bob.end();
}

/// All servers were off, and each begins with the file that it has.
fn two_files_of_one_network_become_one(broker_port: u16) {
    let network = Network::at(broker_port);
    let (newer, older) = (recorded("dest"), recorded("full"));
    let ann = network.begin("ann", &["-l", newer.to_str().expect("a text")]);
    let bob = network.begin("bob", &["-l", older.to_str().expect("a text")]);
    let (ann, bob) = (ann.serving(), bob.serving());
    let held = agree(&[&ann, &bob]);
    let values = held.values();
    assert_eq!(
        values.get("[\"l\",\"one\"]"),
        Some(&&json!("recreated by bob"))
    );
    assert_eq!(values.get("[\"a\",\"b\",\"c\"]"), None, "it was deleted");
    ann.end();
    bob.end();
}

/// Without ticks of its own a node cannot know what it has written already.
fn anothers_file_waits_for_a_node(broker_port: u16) {
    let network = Network::at(broker_port);
    let file = recorded("full");
    let file = file.to_str().expect("a text");
    let mut carl = network.begin("carl", &["-l", file]);
    eventually("carl says what it waits for", AGREEMENT, || {
        let told = carl.process.stderr();
        told.contains("the files are of 'ann'").then_some(())
    })
    .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(carl.process.stdout(), "");
    let ann = network.begin("ann", &["-l", file]).serving();
    carl.wait_until_serving();
    agree(&[&ann, &carl]);
    ann.end();
    carl.end();
}
