//! What the command line shows of a real network, and how it listens to one.

use moat::event::NodeName;
use moat::value::Value;
use moat::wire::cluster::Splitter;
use rustix::process::Signal;
use serde_json::Value as Json;

use crate::support::moat::{bare, kv};
use crate::support::process::{Output, Process, run};
use crate::support::{PATIENCE, eventually, free_port};
use crate::{Needs, Tests};

/// A network on a broker, apart from those of other tests.
struct Network {
    broker: u16,
    root: String,
}

/// A server of ours in it.
struct Member {
    process: Process,
    port: u16,
}

impl Network {
    fn new(broker: u16, root: &str) -> Self {
        let root = format!("test.{root}.{}", std::process::id());
        Self { broker, root }
    }

    /// `-C` options for whoever takes part.
    fn config(&self) -> [String; 4] {
        [
            "-C".to_owned(),
            format!("server.mqtt.uri=mqtt://127.0.0.1:{}", self.broker),
            "-C".to_owned(),
            format!("server.root={}", self.root),
        ]
    }

    fn server(&self, args: &[&str]) -> (Process, u16) {
        let port = free_port();
        let mut command = bare(None);
        command
            .arg("kv")
            .args(self.config())
            .args(["-C", &format!("server.bind_default.port={port}")])
            .args(["-C", "server.bind_default.host=127.0.0.1"])
            .arg("server")
            .args(args);
        (Process::start("a server", &mut command, None), port)
    }

    /// Starts a server, and waits until it serves.
    fn member(&self, args: &[&str]) -> Member {
        let (mut process, port) = self.server(args);
        process.wait_for_line("Running.", PATIENCE).unwrap();
        Member { process, port }
    }

    fn dump(&self, args: &[&str]) -> std::process::Command {
        let mut command = bare(None);
        command.args(["-v", "kv"]).args(self.config());
        command.arg("dump").args(args);
        command
    }

    fn post(&self, topic: &str, text: &str) -> Output {
        let mut command = self.dump(&["post", topic]);
        run("dump post", &mut command, Some(text.as_bytes()), PATIENCE).unwrap()
    }
}

impl Member {
    fn nodes(&self) -> Json {
        let told = kv(self.port, &["internal", "nodes", "--json"], None).unwrap();
        serde_json::from_str(&told.ok().unwrap()).unwrap()
    }

    /// Waits until this server says that of that node.
    fn sees(&self, name: &str, what: impl Fn(&Json) -> bool) {
        let mut last = Json::Null;
        let seen = eventually("a node is seen", PATIENCE, || {
            last = self.nodes();
            let nodes = last["nodes"].as_array()?;
            nodes
                .iter()
                .find(|n| n["name"] == name)
                .filter(|n| what(n))?;
            Some(())
        });
        seen.unwrap_or_else(|e| panic!("{name}: {e}\n{last:#}"));
    }
}

fn members_see_each_other(broker: u16) {
    let network = Network::new(broker, "nodes");
    let one = network.member(&["-i", "Testing", "one"]);
    let mut two = network.member(&["two"]);
    assert_eq!(
        kv(two.port, &["data", ":"], None).unwrap().ok().unwrap(),
        "\"Testing\"\n"
    );
    for (own, other, name) in [(&one, &two, "two"), (&two, &one, "one")] {
        own.sees(name, |node| {
            let port = node["addr"][0][1].as_u64();
            node["kind"] == "moat"
                && node["here"] == true
                && node["ready"] == true
                && port == Some(u64::from(other.port))
        });
        assert_eq!(own.nodes()["up"], true);
    }
    let set = kv(two.port, &["data", "a", "set", "-v", ":", "x"], None);
    set.unwrap().ok().unwrap();
    one.sees("two", |node| {
        !node["tick"].is_null() && node["missing"] == 0
    });

    let auto = kv(one.port, &["internal", "deleter", "--auto"], None).unwrap();
    assert_eq!(auto.stderr, "");
    assert!(
        auto.stdout.contains("  - one\n  - two\n"),
        "{}",
        auto.stdout
    );

    // a name, and a network, is had once
    let (second, _) = network.server(&["two"]);
    let ended = second.output(PATIENCE).unwrap();
    assert_eq!(ended.code(), 1, "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.contains("has the name 'two'"), "{last}");
    let (third, _) = network.server(&["-i", "Other", "three"]);
    let ended = third.output(PATIENCE).unwrap();
    assert_eq!(ended.code(), 1, "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.starts_with("network exists ('"), "{last}");

    two.process.signal(Signal::TERM);
    one.sees("two", |node| node["gone"] == true && node["here"] == false);
    let named = kv(one.port, &["internal", "deleter"], None).unwrap();
    assert!(
        named.stderr.starts_with("Deleters that are away: two"),
        "{}",
        named.stderr
    );
}

fn bookkeeping_is_everybodys(broker: u16) {
    let network = Network::new(broker, "books");
    let one = network.member(&["-i", "Testing", "one"]);
    let two = network.member(&["two"]);
    let run = |member: &Member, args: &[&str]| {
        let mut all = vec!["internal"];
        all.extend(args);
        kv(member.port, &all, None).unwrap().ok().unwrap()
    };
    let set = kv(two.port, &["data", "a", "set", "-v", ":", "x"], None);
    set.unwrap().ok().unwrap();
    let ticks = eventually("the change has come", PATIENCE, || {
        let ticks = kv(one.port, &["internal", "enum", "two"], None).unwrap();
        Some(ticks.stdout).filter(|ticks| !ticks.is_empty())
    });
    let ticks = ticks.unwrap();
    assert_eq!(run(&one, &["get", "two", ticks.trim()]), "\"x\"\n");

    let marked = run(&one, &["mark", "-b", "ghost", "1", "2"]);
    assert!(marked.contains("ghost"), "{marked}");
    let known = || run(&two, &["state", "-s"]).contains("ghost");
    eventually("both know", PATIENCE, || known().then_some(())).unwrap();
    run(&one, &["kill", "ghost"]);
    eventually("both forget", PATIENCE, || (!known()).then_some(())).unwrap();
    let refused = kv(one.port, &["internal", "kill", "two"], None).unwrap();
    assert_eq!(refused.code(), 1, "it is in use");
}

fn messages_are_shown_and_sent(broker: u16) {
    let network = Network::new(broker, "dump");
    let mut command = network.dump(&["msg", "+"]);
    let mut listener = Process::start("dump msg", &mut command, None);
    let shows = |what: &str| {
        let shown = eventually(what, PATIENCE, || {
            listener.stdout().contains(what).then_some(())
        });
        shown.unwrap_or_else(|e| panic!("{e}\n{}", listener.said()));
    };
    eventually("it listens", PATIENCE, || {
        listener.stderr().contains("watching test/").then_some(())
    })
    .unwrap();

    let posted = network.post("+info", "one: 1\n---\ntwo: !P a.b\n_topic: +other\n");
    assert_eq!(posted.code(), 0, "{}", posted.stderr);
    shows(&format!("_topic: !P {}.info\n", network.root));
    shows(&format!("_topic: !P {}.other\n", network.root));
    shows("two: !P a.b\n");

    // a message in parts is one message
    let long = Value::Map(vec![("long".into(), "0123456789".repeat(50).into())]);
    let mut splitter = Splitter::new(NodeName::new("other"), 100, 1);
    let bytes = long.to_bytes();
    let mut texts = Vec::new();
    for part in splitter.split(&bytes) {
        texts.push(moat::text::json::line(&Value::decode(&part).unwrap()));
    }
    assert!(texts.len() > 4);
    let mut command = bare(None);
    command.args(["--json", "kv"]).args(network.config());
    command.args(["dump", "post", ":"]);
    let text = texts.join("\n");
    let posted = run("dump post", &mut command, Some(text.as_bytes()), PATIENCE).unwrap();
    assert_eq!(posted.code(), 0, "{}", posted.stderr);
    shows(&format!("_topic: !P {}.update\n", network.root));
    shows("long: ");
    assert!(!listener.stdout().contains("_p0"), "{}", listener.stdout());

    // what a server says is shown as well, and what this command says is not
    let _one = network.member(&["-i", "Testing", "one"]);
    shows("node: one\n");
    assert!(
        !listener.stdout().contains("dump-"),
        "{}",
        listener.stdout()
    );
    listener.signal(Signal::INT);
    assert_eq!(listener.output(PATIENCE).unwrap().code(), 130);
}

pub(super) fn add(tests: &mut Tests, broker_port: u16) {
    tests.add(
        "network::members_see_each_other",
        Needs::Mosquitto,
        move || members_see_each_other(broker_port),
    );
    tests.add(
        "network::bookkeeping_is_everybodys",
        Needs::Mosquitto,
        move || bookkeeping_is_everybodys(broker_port),
    );
    tests.add(
        "network::messages_are_shown_and_sent",
        Needs::Mosquitto,
        move || messages_are_shown_and_sent(broker_port),
    );
}
