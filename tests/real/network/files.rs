//! Servers that begin with what a state file holds, beside others that know
//! more, less, or the same.

#![allow(clippy::print_stderr)] // tests say what they saw

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::load::{Account, Writer, check};
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
    for mode in [Mode::Hybrid, Mode::Master] {
        let name = match mode {
            Mode::Hybrid => "network::a_site_without_power_comes_back",
            Mode::Master => "network::a_site_without_power_comes_back_from_files_alone",
        };
        tests.add(name, Needs::Mosquitto, move || {
            a_site_without_power_comes_back(mode);
        });
    }
    tests.add(
        "network::a_running_log_goes_to_the_original",
        Needs::Original,
        a_running_log_goes_to_the_original,
    );
    tests.add(
        "network::files_go_to_the_original_and_back",
        Needs::Original,
        files_go_to_the_original_and_back,
    );
}

/// How nodes start that have files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// They ask the others first; if nobody answers, they begin with theirs.
    Hybrid,
    /// They begin with theirs at once, and take them for complete.
    Master,
}

/// Three nodes and their broker lose their power at once, while clients write
/// to all of them. One node keeps nothing. Nothing that was acknowledged by
/// those that do is lost, nor what they had heard of.
fn a_site_without_power_comes_back(mode: Mode) {
    let folder = tempfile::tempdir().expect("a directory");
    let file = |name: &str| place(&folder, name);
    let broker_port = free_port();
    let start_broker = || Broker::start_at(broker_port, "").unwrap_or_else(|e| panic!("{e}"));
    let broker = start_broker();
    let network = Network::at(broker_port);
    let [a_file, b_file] = ["a", "b"].map(file);
    let a = network.begin("a", &["-i", "Testing", "-s", &a_file]);
    let a = a.serving();
    let b = network.begin("b", &["-s", &b_file]).serving();
    let c = network.join("c");
    let start = |node: &Node| Writer::start(&node.name, node.port);
    let writers = [start(&a), start(&b), start(&c)];
    writers.iter().for_each(|writer| writer.go_on(200));
    let mut nodes = [a, b, c];
    for node in &mut nodes {
        node.process.signal(Signal::KILL);
    }
    drop(broker);
    for node in &mut nodes {
        node.kill();
    }
    let accounts: Vec<Account> = writers.into_iter().map(Writer::stop).collect();
    drop(nodes);

    let _broker = start_broker();
    let kept = [("a", &a_file), ("b", &b_file)];
    if mode == Mode::Hybrid {
        // nobody has data: a service manager would start them anew
        let asking = kept.map(|(name, _)| network.begin(name, &["--give-up", "3"]));
        for node in asking {
            let ended = node.process.output(AGREEMENT);
            let ended = ended.unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(ended.code(), 75, "{ended:?}");
        }
    }
    let [a, b] = kept.map(|(name, file)| {
        let args: &[&str] = match mode {
            Mode::Hybrid => &["-l", file, "-s", file],
            Mode::Master => &["-a", "-l", file, "-s", file],
        };
        network.begin(name, args)
    });
    let (a, b) = (a.serving(), b.serving());
    let c = network.join("c");
    let held = agree(&[&a, &b, &c]);
    // what only the node without a file had, and what one had not told yet
    // that has been superseded by it since
    let lost = check(&held, &accounts, |write| write.head.1 == "c");
    eprintln!("{lost} lost with the node that has no file");
    for node in [&a, &b, &c] {
        Conn::open(node.port).set(&["after", &node.name], json!(1));
    }
    agree(&[&a, &b, &c]);
    for node in [a, b, c] {
        node.end();
    }
}

/// What a server of ours writes while it runs is what one of the original
/// begins with, whatever had happened: the same values, ticks and chains.
fn a_running_log_goes_to_the_original() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = |name: &str| place(&folder, name);
    let broker_port = free_port();
    let _broker = Broker::start_at(broker_port, "").unwrap_or_else(|e| panic!("{e}"));
    let network = Network::at(broker_port);
    let [first, second, third] = ["first", "second", "third"].map(file);
    let ann = network.begin("ann", &["-i", "Testing", "-s", &first]);
    let ann = ann.serving();
    let bob = network.join("bob");
    let done = |node: &Node, request: Value| {
        let reply = Conn::open(node.port).request(request);
        assert!(reply.get("error").is_none(), "{reply}");
    };
    let set = |node: &Node, path: Value, value: Value| {
        done(
            node,
            json!({"action": "set_value", "path": path, "value": value}),
        );
    };
    let delete = |node: &Node, path: Value| {
        done(node, json!({"action": "delete_value", "path": path}));
    };
    for n in 0..50 {
        set(&ann, json!(["n", n % 7, n]), json!({"by": "ann", "n": n}));
        set(&bob, json!(["n", n % 5, n]), json!(n));
    }
    set(&ann, json!([{"$bin": "00ff"}, "ü", 1.5]), json!(null));
    delete(&ann, json!(["n", 1, 1]));
    delete(&bob, json!(["n", 2, 2]));
    set(&bob, json!(["n", 2, 2]), json!("back"));
    agree(&[&ann, &bob]);
    // files that go on where the last one ended
    done(&ann, json!({"action": "log", "path": second}));
    delete(&bob, json!(["n", 3, 3]));
    set(&ann, json!(["n", 1, 1]), json!("back, too"));
    delete(&ann, json!(["n", 4, 4]));
    agree(&[&ann, &bob]);
    done(&ann, json!({"action": "log", "path": third, "fetch": true}));
    set(&bob, json!(["last"]), json!("words"));
    let wanted = agree(&[&ann, &bob]);
    bob.end();
    ann.end();

    let read = |name: &str| std::fs::read(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let chain = file("chain");
    let parts = [&first, &second, &third].map(|name| read(name));
    std::fs::write(&chain, parts.concat()).unwrap_or_else(|e| panic!("{e}"));
    for source in [&chain, &third] {
        let network = Network::at(broker_port);
        let theirs = network.original("ann", free_port(), &["-l", source]);
        let theirs = theirs.unwrap_or_else(|e| panic!("{e}"));
        let held = Held::of(theirs.port);
        assert_eq!(held.values(), wanted.values(), "{source}");
        assert!(held.is_complete(), "{source}: {}", held.missing);
        assert_eq!(held.ticks, wanted.ticks, "{source}");
        assert_eq!(held.entries, wanted.entries, "{source}");
    }
}

/// A server of the original saves, ours loads; ours writes the file anew, the
/// original loads that. Odd keys, deletions and rules are in it.
fn files_go_to_the_original_and_back() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = |name: &str| place(&folder, name);
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

/// A file there, as an argument.
fn place(folder: &tempfile::TempDir, name: &str) -> String {
    let path = folder.path().join(name);
    path.to_str().expect("a text").to_owned()
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
