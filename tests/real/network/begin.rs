//! How servers begin and meet: the tutorial, clashes, a broker that is not
//! there, one that is in a server, and much to fetch.

#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout)] // tests keep their own time, and say what they saw

use std::time::Instant;

use rustix::process::Signal;
use serde_json::json;

use crate::support::conn::Conn;
use crate::support::network::{AGREEMENT, Held, Network, Node, agree, answers};
use crate::support::original::{Broker, SLOWLY};
use crate::support::process::run;
use crate::support::{eventually, free_port};
use crate::{Needs, Tests};

pub(crate) fn add(tests: &mut Tests, broker_port: u16) {
    tests.add(
        "network::the_tutorial_works_as_it_stands",
        Needs::Mosquitto,
        move || the_tutorial_works_as_it_stands(broker_port),
    );
    tests.add(
        "network::roots_separate_networks",
        Needs::Mosquitto,
        move || roots_separate_networks(broker_port),
    );
    tests.add(
        "network::a_name_is_given_once",
        Needs::Mosquitto,
        move || a_name_is_given_once(broker_port),
    );
    tests.add(
        "network::a_network_is_begun_once",
        Needs::Mosquitto,
        move || a_network_is_begun_once(broker_port),
    );
    tests.add(
        "network::the_first_needs_no_broker",
        Needs::Mosquitto,
        the_first_needs_no_broker,
    );
    tests.add(
        "network::who_joins_waits_for_the_broker",
        Needs::Nothing,
        who_joins_waits_for_the_broker,
    );
    tests.add(
        "network::another_server_becomes_the_broker",
        Needs::Nothing,
        another_server_becomes_the_broker,
    );
    tests.add(
        "network::who_joins_before_all_is_told_ends_equal",
        Needs::Mosquitto,
        who_joins_before_all_is_told_ends_equal,
    );
    tests.add(
        "network::a_hundred_thousand_entries_are_fetched",
        Needs::Mosquitto,
        move || a_hundred_thousand_entries_are_fetched(broker_port),
    );
}

/// With the timing that users get.
fn the_tutorial_works_as_it_stands(broker_port: u16) {
    let network = Network::at(broker_port).unhurried();
    let mut one = network.first("one");
    assert_eq!(one.kv(&["data", ":"]), "\"Testing\"\n");
    let two = network.join("two");
    assert_eq!(two.kv(&["data", ":"]), "\"Testing\"\n");
    one.kill();
    two.kv(&["data", "meanwhile", "set", "-e", ":", "12"]);
    let one = network.rejoin(one);
    assert_eq!(one.kv(&["data", ":"]), "\"Testing\"\n");
    assert_eq!(one.kv(&["data", "meanwhile"]), "12\n");
    one.kv(&["data", "one.two", "set", "-e", ":", "123"]);
    answers(two.port, &json!(["one", "two"]), &json!(123)).unwrap_or_else(|e| panic!("{e}"));
    agree(&[&one, &two]);
    // who is told to end does so, and says it
    one.end();
    two.end();
}

fn roots_separate_networks(broker_port: u16) {
    let networks = [Network::at(broker_port), Network::at(broker_port)];
    let mut nodes = Vec::new();
    for (n, network) in networks.iter().enumerate() {
        // the same names in both
        let (one, two) = (network.first("one"), network.join("two"));
        one.kv(&["data", "n", "set", "-e", ":", &n.to_string()]);
        nodes.push((one, two));
    }
    for (n, (one, two)) in nodes.iter().enumerate() {
        answers(two.port, &json!(["n"]), &json!(n)).unwrap_or_else(|e| panic!("{e}"));
        let held = agree(&[one, two]);
        assert_eq!(held.values().len(), 2, "{:?}", held.values());
    }
}

fn a_name_is_given_once(broker_port: u16) {
    let network = Network::at(broker_port);
    let mut first = network.first("one");
    let said = network.begin("one", &[]).failed();
    assert!(said.contains("'one'") && said.contains("name"), "{said}");
    // also if it would begin the network anew
    let said = network.begin("one", &["-i", "Other"]).failed();
    assert!(said.contains("one"), "{said}");
    // the first goes on
    first.kv(&["data", "a", "set", "-e", ":", "1"]);
    let second = network.join("two");
    let held = agree(&[&first, &second]);
    assert_eq!(held.values()["[]"], &json!("Testing"));
    assert_eq!(held.values()["[\"a\"]"], &json!(1));
    assert!(first.process.runs());
}

fn a_network_is_begun_once(broker_port: u16) {
    let network = Network::at(broker_port);
    let first = network.first("one");
    let said = network.begin("two", &["-i", "Other"]).failed();
    assert!(said.contains("network exists"), "{said}");
    let third = network.join("three");
    let held = agree(&[&first, &third]);
    assert_eq!(held.values().len(), 1, "{:?}", held.values());
    assert_eq!(held.values()["[]"], &json!("Testing"));
}

fn the_first_needs_no_broker() {
    const WRITES: u64 = 3000;
    let broker_port = free_port();
    let network = Network::at(broker_port);
    let first = network.first("one");
    let mut conn = Conn::open(first.port);
    for n in 0..WRITES {
        // each is written twice: the second must win everywhere
        conn.set(&["k", &(n % (WRITES / 2)).to_string()], json!(n));
    }
    let mut joining = network.begin("two", &[]);
    let _broker = Broker::start_at(broker_port, "").unwrap_or_else(|e| panic!("{e}"));
    joining.wait_until_serving();
    conn.set(&["last"], json!("one"));
    answers(joining.port, &json!(["last"]), &json!("one")).unwrap_or_else(|e| panic!("{e}"));
    let held = agree(&[&first, &joining]);
    for n in WRITES / 2..WRITES {
        let path = json!(["k", (n - WRITES / 2).to_string()]).to_string();
        assert_eq!(held.entries[&path].value, json!(n), "{path}");
    }
}

fn who_joins_waits_for_the_broker() {
    let network = Network::at(free_port());
    let mut joining = network.begin("two", &[]);
    eventually("it says that it waits", AGREEMENT, || {
        let said = joining.process.stderr();
        said.contains("waiting for a node that has data")
            .then_some(())
    })
    .unwrap_or_else(|e| panic!("{e}"));
    assert!(joining.process.runs());
    assert_eq!(joining.process.stdout(), "");
    assert!(std::net::TcpStream::connect(("127.0.0.1", joining.port)).is_err());
    joining.process.signal(Signal::TERM);
    let output = joining.process.output(AGREEMENT);
    let output = output.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(output.code(), 0, "{}", output.stderr);
}

fn another_server_becomes_the_broker() {
    let network = Network::at(free_port()).with("server.mqtt.embedded=always");
    let mut owner = network.first("a");
    let b = network.join("b");
    let c = network.join("c");
    Conn::open(owner.port).set(&["from", "a"], json!(1));
    agree(&[&owner, &b, &c]);
    owner.kill();
    // at once, while there is no broker
    for node in [&b, &c] {
        let mut conn = Conn::open(node.port);
        for n in 0..200 {
            conn.set(&["from", &node.name, &n.to_string()], json!(n));
        }
    }
    let held = agree(&[&b, &c]);
    assert_eq!(held.values().len(), 2 + 400, "{:?}", held.values());
    let d = network.join("d");
    let a = network.rejoin(owner);
    Conn::open(a.port).set(&["from", "a"], json!(2));
    Conn::open(d.port).set(&["from", "d"], json!(1));
    answers(a.port, &json!(["from", "d"]), &json!(1)).unwrap_or_else(|e| panic!("{e}"));
    answers(d.port, &json!(["from", "a"]), &json!(2)).unwrap_or_else(|e| panic!("{e}"));
    agree(&[&a, &b, &c, &d]);
}

/// Lines for `data update`.
fn lines(count: u32) -> String {
    (0..count)
        .map(|n| {
            let line = json!({
                "path": format!("many.k{}.k{}", n / 100, n % 100),
                "value": {"n": n, "text": "some text of no great length"}
            });
            format!("{line}\n")
        })
        .collect()
}

/// Has a server read so many entries.
fn fill(node: &Node, entries: u32) {
    let mut command = crate::support::moat::kv_command(node.port);
    command.args(["data", ":", "update", "-i", "-"]);
    let text = lines(entries);
    let filled = run("data update", &mut command, Some(text.as_bytes()), SLOWLY);
    if let Err(e) = filled.and_then(crate::support::process::Output::ok) {
        panic!("{e}");
    }
}

/// How many of its changes a server has not seen come back from the broker.
fn untold(node: &Node) -> u64 {
    let members = Conn::open(node.port).request(json!({"action": "get_members"}));
    members["outbox"].as_u64().expect("a number")
}

fn assert_filled(held: &Held, entries: u32) {
    assert_eq!(held.entries.len(), entries as usize + 1);
    for n in 0..entries {
        let path = format!(r#"["many","k{}","k{}"]"#, n / 100, n % 100);
        assert_eq!(held.entries[&path].value["n"], json!(n), "{path}");
    }
}

/// The first has written much while there was no broker: what it then tells,
/// what the joiner fetches and what is written meanwhile come at once.
fn who_joins_before_all_is_told_ends_equal() {
    const ENTRIES: u32 = 100_000;
    let broker_port = free_port();
    let network = Network::at(broker_port);
    let first = network.first("one");
    fill(&first, ENTRIES);
    assert_eq!(untold(&first), u64::from(ENTRIES) + 1);
    let joining = network.begin("two", &[]);
    // Mosquitto as it comes: what does not fit into its queues is lost
    let config = "max_queued_messages 1000";
    let _broker = Broker::start_at(broker_port, config).unwrap_or_else(|e| panic!("{e}"));
    let second = joining.serving();
    println!("{} untold when it serves", untold(&first));
    let third = network.join("three");
    println!("{} when the next one does", untold(&first));
    for (node, name) in [(&first, "one"), (&second, "two"), (&third, "three")] {
        let mut conn = Conn::open(node.port);
        for n in 0..100 {
            conn.set(&["many", &format!("k{n}"), name], json!({"n": name}));
        }
        conn.set(&["many", "k0", "k0"], json!({"n": 0, "by": name}));
    }
    let mut held = agree(&[&first, &second, &third]);
    assert_eq!(untold(&first), 0);
    for n in 0..100 {
        for name in ["one", "two", "three"] {
            let path = format!(r#"["many","k{n}","{name}"]"#);
            let entry = held.entries.remove(&path);
            assert_eq!(entry.map(|e| e.value), Some(json!({"n": name})), "{path}");
        }
    }
    assert_filled(&held, ENTRIES);
}

fn a_hundred_thousand_entries_are_fetched(broker_port: u16) {
    const ENTRIES: u32 = 100_000;
    let network = Network::at(broker_port);
    let first = network.first("one");
    fill(&first, ENTRIES);
    let began = Instant::now();
    let second = network.join("two");
    println!("ready after {:?}", began.elapsed());
    let held = agree(&[&first, &second]);
    assert_filled(&held, ENTRIES);
    // and it goes on from there
    Conn::open(second.port).set(&["many"], json!("two"));
    answers(first.port, &json!(["many"]), &json!("two")).unwrap_or_else(|e| panic!("{e}"));
    let _: [Node; 2] = [first, second];
}
