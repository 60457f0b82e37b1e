//! Servers on two hosts: the tutorial's first steps as they stand there, and
//! a cable that is cut.
//!
//! Neither server is told where the other one is: each finds the broker, and
//! by it the other.

#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout)] // tests keep their own time, and say what they saw

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::conn::Conn;
use crate::support::hosts::{Host, Pair};
use crate::support::network::{AGREEMENT, Held, agree_over};
use crate::support::process::Process;
use crate::support::{PATIENCE, eventually};
use crate::{Needs, Tests};

/// Where servers listen if nobody says anything else.
const USUAL: u16 = 27_586;

pub(crate) fn add(tests: &mut Tests) {
    tests.add(
        "network::the_tutorial_works_on_two_hosts",
        Needs::Hosts,
        the_tutorial_works_on_two_hosts,
    );
    tests.add(
        "network::two_hosts_agree_after_the_cable_was_cut",
        Needs::Hosts,
        two_hosts_agree_after_the_cable_was_cut,
    );
}

/// `-C` for a host that has no broker of its own.
fn broker_of(host: &Host) -> String {
    format!("server.mqtt.uri=mqtt://{}:1883", host.address)
}

/// Waits until a server serves.
fn serving(mut process: Process) -> Process {
    let seen = process.wait_for_line("Running.", AGREEMENT);
    seen.unwrap_or_else(|e| panic!("{e}"));
    process
}

/// Connects to the server at that port of the host.
fn open(host: &Host, port: u16) -> Conn {
    host.inside(|| Conn::open(port))
}

/// Waits until the servers at that port of both hosts hold the same.
fn agree(hosts: &[Host; 2], port: u16) -> Held {
    agree_over(&["one", "two"], |n| open(&hosts[n], port))
}

/// Waits until `data ARGS` prints that there.
fn prints(host: &Host, args: &[&str], wanted: &str) {
    let args: Vec<&str> = ["data"].iter().chain(args).copied().collect();
    let mut last = String::new();
    let found = eventually(wanted, AGREEMENT, || {
        last = host.kv(&args);
        (last == wanted).then_some(())
    });
    found.unwrap_or_else(|e| panic!("{args:?}: {e}; it printed {last:?}"));
}

/// With the names, ports, turns and topics that users get.
fn the_tutorial_works_on_two_hosts() {
    let pair = Pair::new();
    let [one, two] = &pair.hosts;
    let _broker = one.broker();
    let mut first = serving(one.start(&["server", "-i", "Testing", "one"]));
    assert_eq!(one.kv(&["data", ":"]), "\"Testing\"\n");

    let at_one = broker_of(one);
    let second = serving(two.start(&["-C", &at_one, "server", "two"]));
    assert_eq!(two.kv(&["data", ":"]), "\"Testing\"\n");
    one.kv(&["data", "from.one", "set", "-e", ":", "1"]);
    two.kv(&["data", "from.two", "set", "-e", ":", "2"]);
    prints(one, &["from.two"], "2\n");
    prints(two, &["from.one"], "1\n");

    // all that there is comes back from the other host
    first.signal(Signal::KILL);
    first.wait(PATIENCE).unwrap_or_else(|e| panic!("{e}"));
    two.kv(&["data", "meanwhile", "set", "-e", ":", "12"]);
    let first = serving(one.start(&["server", "one"]));
    assert_eq!(one.kv(&["data", ":"]), "\"Testing\"\n");
    assert_eq!(one.kv(&["data", "meanwhile"]), "12\n");
    one.kv(&["data", "one.two", "set", "-e", ":", "123"]);
    prints(two, &["one.two"], "123\n");
    let held = agree(&pair.hosts, USUAL);
    assert_eq!(held.values().len(), 5, "{:?}", held.values());

    // another network at the same broker, with the same names
    let another = |host: &Host, args: &[&str]| {
        let settings = [
            "server.root=another",
            "server.bind_default.port=27587",
            &at_one,
        ];
        let args: Vec<&str> = settings
            .iter()
            .flat_map(|setting| ["-C", setting])
            .chain(["server"])
            .chain(args.iter().copied())
            .collect();
        serving(host.start(&args))
    };
    let third = another(two, &["-i", "Other", "two"]);
    let fourth = another(one, &["one"]);
    two.kv(&["-p", "27587", "data", "here", "set", "-e", ":", "3"]);
    let other = agree(&pair.hosts, 27_587);
    let expected = [("[\"here\"]", json!(3)), ("[]", json!("Other"))];
    let expected = expected.iter().map(|(path, value)| (*path, value));
    assert_eq!(other.values(), expected.collect());
    assert_eq!(agree(&pair.hosts, USUAL), held);

    for mut server in [first, second, third, fourth] {
        server.signal(Signal::TERM);
        let output = server.output(PATIENCE).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(output.code(), 0, "{}", output.stderr);
    }
}

/// Writes at one side while the other is away: some of its own, some that
/// both have, a deletion, and what was there before.
fn write_apart(host: &Host, name: &str) {
    let mut conn = open(host, USUAL);
    for n in 0..100_u32 {
        let n = n.to_string();
        conn.set(&["own", name, &n], json!(n));
        conn.set(&["shared", &n], json!([name, n]));
    }
    let path = json!(["before", format!("deleted by {name}")]);
    let reply = conn.request(json!({"action": "delete_value", "path": path}));
    assert!(reply.get("error").is_none(), "{reply}");
    conn.set(&["before", &format!("changed by {name}")], json!(name));
}

fn two_hosts_agree_after_the_cable_was_cut() {
    let pair = Pair::new();
    let hosts = &pair.hosts;
    let [one, two] = hosts;
    let _broker = one.broker();
    let at_one = broker_of(one);
    let start = |host: &Host, args: &[&str]| {
        let settings = [
            "server.ping.cycle=2",
            "server.ping.gap=0.5",
            // how soon the cut is seen
            "server.mqtt.keep_alive=1",
            &at_one,
        ];
        let all: Vec<&str> = settings
            .iter()
            .flat_map(|setting| ["-C", setting])
            .chain(["server"])
            .chain(args.iter().copied())
            .collect();
        serving(host.start(&all))
    };
    let mut first = start(one, &["-i", "Testing", "one"]);
    let mut second = start(two, &["two"]);
    let mut conn = open(one, USUAL);
    for name in ["one", "two"] {
        conn.set(&["before", &format!("deleted by {name}")], json!(0));
        conn.set(&["before", &format!("changed by {name}")], json!(0));
    }
    agree(hosts, USUAL);

    pair.cut();
    let lost = "no connection to the broker";
    eventually(lost, AGREEMENT, || {
        second.stderr().contains(lost).then_some(())
    })
    .unwrap_or_else(|e| panic!("{e}\n{}", second.said()));
    write_apart(one, "one");
    write_apart(two, "two");
    // neither knows of the other's
    for (host, other) in [(one, "two"), (two, "one")] {
        assert_eq!(open(host, USUAL).get(&["own", other, "0"]), None, "{other}");
    }

    pair.mend();
    let held = agree(hosts, USUAL);
    let values = held.values();
    for name in ["one", "two"] {
        for n in 0..100_u32 {
            let path = json!(["own", name, n.to_string()]).to_string();
            assert_eq!(values[path.as_str()], &json!(n.to_string()), "{path}");
        }
        let path = json!(["before", format!("changed by {name}")]).to_string();
        assert_eq!(values[path.as_str()], &json!(name));
        let path = json!(["before", format!("deleted by {name}")]).to_string();
        assert!(!values.contains_key(path.as_str()), "{path}");
    }
    for n in 0..100_u32 {
        let n = n.to_string();
        let path = json!(["shared", n]).to_string();
        let written: [Value; 2] = ["one", "two"].map(|name| json!([name, n]));
        assert!(written.contains(values[path.as_str()]), "{path}");
    }
    for server in [&mut first, &mut second] {
        assert!(server.runs());
    }
}
