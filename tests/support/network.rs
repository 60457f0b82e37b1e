//! Networks of servers, ours and the original's, at one broker: starting
//! and ending them, and what they hold.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::conn::Conn;
use super::moat::{bare, kv_command};
use super::original::{Original, SLOWLY};
use super::process::{Output, Process, run};
use super::{PATIENCE, eventually, free_port, json as form};

/// A turn of the nodes with which a test need not wait long.
const QUICK: [&str; 2] = ["server.ping.cycle=2", "server.ping.gap=0.5"];
/// How long nodes may take to agree: some turns, and a busy machine.
pub(crate) const AGREEMENT: Duration = Duration::from_secs(60);

/// What the servers of a network have in common.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    root: String,
    settings: Vec<String>,
    /// Where the original's servers find others
    hosts: BTreeMap<String, u16>,
    uri: String,
    quick: bool,
}

impl Network {
    /// A network of its own at the broker on that port, with quick turns.
    pub(crate) fn at(broker_port: u16) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let network = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            root: format!("net.n{network}.p{}", std::process::id()),
            settings: Vec::new(),
            hosts: BTreeMap::new(),
            uri: format!("mqtt://127.0.0.1:{broker_port}"),
            quick: true,
        }
    }

    /// With one more `-C KEY=VALUE` for our servers.
    pub(crate) fn with(mut self, setting: &str) -> Self {
        self.settings.push(setting.to_owned());
        self
    }

    /// With the usual turns.
    pub(crate) fn unhurried(mut self) -> Self {
        self.quick = false;
        self
    }

    /// The first part of the network's topics.
    pub(crate) fn topic(&self) -> String {
        self.root.replace('.', "/")
    }

    /// The command that starts a server of ours with these arguments.
    pub(crate) fn command(&self, port: u16, args: &[&str]) -> Command {
        let mut command = bare(None);
        command.args(["kv", "-C", "server.backend=mqtt"]);
        let mut set = |setting: &str| {
            command.args(["-C", setting]);
        };
        set(&format!("server.bind_default.port={port}"));
        set("server.bind_default.host=127.0.0.1");
        set(&format!("server.root={}", self.root));
        set(&format!("server.mqtt.uri={}", self.uri));
        if self.quick {
            QUICK.iter().for_each(|setting| set(setting));
        }
        self.settings.iter().for_each(|setting| set(setting));
        command.arg("server").args(args);
        command
    }

    /// Starts a server of ours; it need not serve yet.
    pub(crate) fn begin(&self, name: &str, args: &[&str]) -> Node {
        self.begin_at(free_port(), name, args)
    }

    fn begin_at(&self, port: u16, name: &str, args: &[&str]) -> Node {
        let args: Vec<&str> = args.iter().copied().chain([name]).collect();
        let mut command = self.command(port, &args);
        let process = Process::start(&format!("server {name}"), &mut command, None);
        Node {
            name: name.to_owned(),
            port,
            process,
        }
    }

    /// Starts the first server, with root value `Testing`.
    pub(crate) fn first(&self, name: &str) -> Node {
        self.begin(name, &["-i", "Testing"]).serving()
    }

    /// Starts a server that fetches what the others have.
    pub(crate) fn join(&self, name: &str) -> Node {
        self.begin(name, &[]).serving()
    }

    /// The same at a port that others know already.
    pub(crate) fn join_at(&self, port: u16, name: &str) -> Node {
        self.begin_at(port, name, &[]).serving()
    }

    /// Starts a server once more, without what it had.
    pub(crate) fn rejoin(&self, old: Node) -> Node {
        let (name, port) = (old.name.clone(), old.port);
        drop(old);
        self.join_at(port, &name)
    }

    /// Tells the original's servers that start from now on where a node is.
    pub(crate) fn host(&mut self, name: &str, port: u16) {
        self.hosts.insert(name.to_owned(), port);
    }

    /// Starts a server of the original; `args` as `-I VALUE`.
    ///
    /// # Errors
    /// If it does not come up.
    pub(crate) fn original(
        &self,
        name: &str,
        port: u16,
        args: &[&str],
    ) -> Result<Original, String> {
        let mut text = format!(
            "  server:\n    bind_default: {{port: {port}}}\n    root: !P {}\n    mqtt: {{uri: \"{}\"}}\n",
            self.root, self.uri
        );
        if self.quick {
            text.push_str("    ping: {cycle: 2, gap: 0.5}\n");
        }
        text.push_str("  hostmap:\n");
        for (name, port) in &self.hosts {
            let _ = writeln!(text, "    {name}: [127.0.0.1, {port}]");
        }
        Original::member(name, port, &text, args)
    }
}

/// A server of ours in a network.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) process: Process,
}

impl Node {
    /// Waits until it serves.
    pub(crate) fn serving(mut self) -> Self {
        self.wait_until_serving();
        self
    }

    /// Waits until it serves.
    pub(crate) fn wait_until_serving(&mut self) {
        if let Err(e) = self.process.wait_for_line("Running.", AGREEMENT) {
            panic!("{e}");
        }
    }

    /// `kill -9`
    pub(crate) fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        let _ = self.process.wait(PATIENCE);
    }

    /// Ends it as an operator does, and requires that it ends well.
    pub(crate) fn end(mut self) -> Output {
        self.process.signal(Signal::TERM);
        let output = self.process.output(PATIENCE);
        let output = output.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(output.code(), 0, "{}", output.stderr);
        output
    }

    /// What the program has ended with: exit 1 and one line, which is
    /// returned.
    pub(crate) fn failed(self) -> String {
        let output = self.process.output(AGREEMENT);
        let output = output.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(output.code(), 1, "{output:?}");
        let errors = output.stderr.lines().filter(|l| !is_log(l));
        match errors.collect::<Vec<_>>().as_slice() {
            [line] => (*line).to_owned(),
            lines => panic!("one line of error, not {lines:?}"),
        }
    }

    /// Runs `moat kv ARGS` against it.
    pub(crate) fn kv(&self, args: &[&str]) -> String {
        let mut command = kv_command(self.port);
        command.args(args);
        let name = format!("moat kv {}", args.join(" "));
        let done = run(&name, &mut command, None, SLOWLY).and_then(Output::ok);
        done.unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// What it holds.
    pub(crate) fn holds(&self) -> Held {
        Held::of(self.port)
    }
}

/// Whether a line of stderr is one of the log.
fn is_log(line: &str) -> bool {
    [" WARNING:", " INFO:", " ERROR:", " DEBUG:"]
        .iter()
        .any(|level| line.contains(level))
}

/// An entry as a server shows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) value: Value,
    /// The event that it consists of: tock, node, tick, which is what
    /// concurrent ones are compared by
    pub(crate) head: (u64, String, u64),
    /// All the links that are known, newest first
    pub(crate) chain: Vec<(String, u64)>,
}

/// What a server holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Held {
    /// By path: the elements as JSON
    pub(crate) entries: BTreeMap<String, Entry>,
    /// Last ticks
    pub(crate) ticks: BTreeMap<String, u64>,
    /// Ticks that are present or superseded
    pub(crate) seen: BTreeMap<String, Vec<(u64, u64)>>,
    pub(crate) missing: Value,
}

impl Held {
    /// Asks the server on that port.
    pub(crate) fn of(port: u16) -> Self {
        Self::over(&mut Conn::open(port))
    }

    /// Asks the server at the other end.
    pub(crate) fn over(conn: &mut Conn) -> Self {
        let mut entries = BTreeMap::new();
        for (action, first) in [("get_tree", None), ("get_tree_internal", Some(Value::Null))] {
            let stream = conn.stream(json!({"action": action, "path": [], "nchain": -1}));
            // the elements as texts, the first one before all others
            let first: Vec<String> = first.iter().map(Value::to_string).collect();
            let mut base = first.clone();
            for record in stream {
                let depth = record["depth"].as_u64().unwrap_or(0);
                base.truncate(first.len() + usize::try_from(depth).expect("a depth"));
                base.extend(elements(&record["path"]).iter().map(Value::to_string));
                if let Some(entry) = entry(record) {
                    entries.insert(format!("[{}]", base.join(",")), entry);
                }
            }
        }
        Self {
            entries,
            ..Self::books(conn)
        }
    }

    /// What is known of events, without the entries.
    pub(crate) fn books(conn: &mut Conn) -> Self {
        let state = conn.request(json!({
            "action": "get_state",
            "nodes": true, "present": true, "superseded": true, "missing": true
        }));
        let ticks = state["nodes"].as_object().into_iter().flatten();
        let ticks = ticks.map(|(node, tick)| (node.clone(), tick.as_u64().unwrap_or(0)));
        let mut seen: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
        for kind in ["present", "known", "superseded"] {
            for (node, ranges) in state[kind].as_object().into_iter().flatten() {
                let ranges = ranges.as_array().into_iter().flatten().map(range);
                seen.entry(node.clone()).or_default().extend(ranges);
            }
        }
        seen.values_mut().for_each(join_ranges);
        seen.retain(|_, ranges| !ranges.is_empty());
        Self {
            entries: BTreeMap::new(),
            ticks: ticks.filter(|(_, tick)| *tick > 0).collect(),
            seen,
            missing: state["missing"].clone(),
        }
    }

    /// Whether no event is missing.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing
            .as_object()
            .is_none_or(serde_json::Map::is_empty)
    }

    /// The values by path.
    pub(crate) fn values(&self) -> BTreeMap<&str, &Value> {
        let entries = self.entries.iter();
        entries.map(|(path, e)| (path.as_str(), &e.value)).collect()
    }

    /// Where two nodes differ, if they do: their entries, whatever lies
    /// behind them (chains may be cut: one begins with the other), and what
    /// they know of events.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let entries = || {
            let paths = self.entries.keys().chain(other.entries.keys());
            paths.into_iter().find_map(|path| {
                match (self.entries.get(path), other.entries.get(path)) {
                    (Some(a), Some(b)) if a.agrees(b) => None,
                    (a, b) => Some(format!("{path}: {a:?} and {b:?}")),
                }
            })
        };
        self.difference_in_books(other).or_else(entries)
    }

    /// Where two nodes differ in what they know of events, if they do.
    fn difference_in_books(&self, other: &Self) -> Option<String> {
        if !self.is_complete() || !other.is_complete() {
            return Some(format!("missing: {} and {}", self.missing, other.missing));
        }
        if self.ticks != other.ticks {
            return Some(format!("ticks: {:?} and {:?}", self.ticks, other.ticks));
        }
        (self.seen != other.seen).then(|| format!("seen: {:?} and {:?}", self.seen, other.seen))
    }
}

impl Entry {
    fn agrees(&self, other: &Self) -> bool {
        self.value == other.value
            && self.head == other.head
            && self.chain.iter().zip(&other.chain).all(|(a, b)| a == b)
    }
}

fn range(range: &Value) -> (u64, u64) {
    let number = |n: &Value| n.as_u64().expect("a tick");
    match range.as_array().map(Vec::as_slice) {
        // the end of a range is not in it
        Some([from, to]) => (number(from), number(to)),
        Some([one]) => (number(one), number(one) + 1),
        _ => (number(range), number(range) + 1),
    }
}

/// Sorts ranges and joins those that touch.
fn join_ranges(ranges: &mut Vec<(u64, u64)>) {
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for &(from, to) in ranges.iter() {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    *ranges = joined;
}

/// A path's elements, in whichever form it comes.
fn elements(path: &Value) -> &[Value] {
    let list = path.get("$path").unwrap_or(path);
    list.as_array().map_or(&[], Vec::as_slice)
}

fn entry(mut record: Value) -> Option<Entry> {
    let value = record.as_object_mut()?.remove("value")?;
    let mut chain = Vec::new();
    let mut link = &record["chain"];
    while let (Some(node), Some(tick)) = (link["node"].as_str(), link["tick"].as_u64()) {
        chain.push((node.to_owned(), tick));
        link = &link["prev"];
    }
    let (node, tick) = chain.first().cloned().unwrap_or_default();
    let tock = record["tock"].as_u64().unwrap_or(0);
    Some(Entry {
        value,
        head: (tock, node, tick),
        chain,
    })
}

/// Waits until these servers of ours hold the same, and nothing is missing.
pub(crate) fn agree(nodes: &[&Node]) -> Held {
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    agree_over(&names, |n| Conn::open(nodes[n].port))
}

/// The same of servers wherever they are: `open` connects to the one with
/// that place among `names`.
pub(crate) fn agree_over(names: &[&str], open: impl Fn(usize) -> Conn) -> Held {
    let mut last = String::new();
    let found = eventually("all nodes hold the same", AGREEMENT, || {
        let mut conns: Vec<Conn> = (0..names.len()).map(&open).collect();
        let mut same = |ask: fn(&mut Conn) -> Held, differ: fn(&Held, &Held) -> Option<String>| {
            let held: Vec<Held> = conns.iter_mut().map(ask).collect();
            let (first, others) = held.split_first()?;
            for (other, name) in others.iter().zip(&names[1..]) {
                if let Some(difference) = differ(first, other) {
                    last = format!("{} and {name}: {difference}", names[0]);
                    return None;
                }
            }
            held.into_iter().next()
        };
        // what takes long to read is read when it can be the same
        same(Held::books, Held::difference_in_books)?;
        same(Held::over, Held::difference)
    });
    found.unwrap_or_else(|e| panic!("{e}: {last}"))
}

/// Waits until a server of any make answers so.
pub(crate) fn answers(port: u16, path: &Value, value: &Value) -> Result<(), String> {
    let mut last = Value::Null;
    let what = format!("{path} is {value}");
    let found = eventually(&what, AGREEMENT, || {
        let request = json!({"action": "get_value", "path": path});
        last = Conn::open(port).request(request);
        (last.get("value") == Some(value)).then_some(())
    });
    found.map_err(|e| format!("{e}; it is {last}"))
}

/// Publishes a payload as somebody who is no node.
pub(crate) fn publish(broker_port: u16, topic: &str, payload: &[u8]) {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &broker_port.to_string()]);
    // with nothing at its standard input it would refuse
    let how = if payload.is_empty() { "-n" } else { "-s" };
    command.args(["-t", topic, how]);
    let done = run("mosquitto_pub", &mut command, Some(payload), PATIENCE);
    if let Err(e) = done.and_then(Output::ok) {
        panic!("{e}");
    }
}

/// A message as it is sent.
pub(crate) fn message(message: &Value) -> Vec<u8> {
    form::encode(message)
}
