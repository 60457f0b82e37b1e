//! Replays recorded sessions against a server and compares what it says.
//!
//! The recordings show the original (`tests/vectors/client/README.md`). They
//! are played message by message: a message of the client is sent when
//! everything recorded before it has come. Afterwards what came is compared
//! per connection and request number, in order.
//!
//! Where this server answers otherwise by decision, `overrides.json` has the
//! line, the rule's name and the expected messages instead. An override that
//! equals the recording is an error, and so is one that names no line.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::conn::{Conn, Got};
use super::json::unhex;
use super::tests_path;

/// How long the server may take for what has been recorded.
const WAIT: Duration = Duration::from_secs(10);

/// One recorded session.
#[derive(Debug, Deserialize)]
pub(crate) struct Session {
    #[serde(rename = "session")]
    pub(crate) name: String,
    pub(crate) messages: Vec<Recorded>,
}

/// One recorded message, or the end of a direction.
#[derive(Debug, Deserialize)]
pub(crate) struct Recorded {
    dir: Dir,
    #[serde(default = "first")]
    conn: u32,
    hex: Option<String>,
    decoded: Option<Value>,
    #[serde(default)]
    eof: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Dir {
    #[serde(rename = "c>s")]
    ToServer,
    #[serde(rename = "s>c")]
    ToClient,
}

fn first() -> u32 {
    1
}

impl Recorded {
    /// The bytes that a client sent, if this is such a message.
    pub(crate) fn request(&self) -> Option<Vec<u8>> {
        self.hex
            .as_deref()
            .filter(|_| self.dir == Dir::ToServer)
            .map(unhex)
    }

    /// The bytes and what they mean.
    pub(crate) fn pair(&self) -> Option<(Vec<u8>, &Value)> {
        Some((self.hex.as_deref().map(unhex)?, self.decoded.as_ref()?))
    }
}

/// Reads a recorded session.
pub(crate) fn session(name: &str) -> Session {
    let file = tests_path("vectors/client").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&file).expect("recorded session");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// The part of `overrides.json` that concerns the client protocol.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Overrides {
    /// What the section is, for the reader
    #[serde(default)]
    about: String,
    /// Keys of messages that are not compared
    #[serde(default)]
    ignored_keys: Vec<IgnoredKey>,
    #[serde(default)]
    sessions: BTreeMap<String, Vec<Override>>,
}

/// A key that this server's messages have in addition, or with a value of
/// its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IgnoredKey {
    key: String,
    rule: String,
    why: String,
}

/// What is expected instead of one recorded line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Override {
    /// Which line of `messages`, counted from 0
    line: usize,
    conn: u32,
    /// The request number, for the reader
    #[serde(default)]
    seq: Value,
    rule: String,
    why: String,
    /// The messages instead of the recorded one, if that is not expected
    instead: Option<Vec<Value>>,
    /// Messages after it
    #[serde(default)]
    more: Vec<Value>,
    /// From here on ticks differ, because fewer or more writes were done.
    #[serde(default)]
    shifts_ticks: bool,
}

impl Overrides {
    /// What is compared when the original itself is asked: all but tocks.
    pub(crate) fn none() -> Self {
        let tock = IgnoredKey {
            key: "tock".to_owned(),
            rule: "42".to_owned(),
            why: "varies from run to run".to_owned(),
        };
        Self {
            about: String::new(),
            ignored_keys: vec![tock],
            sessions: BTreeMap::new(),
        }
    }

    /// Those of the port, checked against the recordings.
    pub(crate) fn of_the_port() -> Self {
        #[derive(Deserialize)]
        struct File {
            client: Overrides,
        }
        let file = tests_path("vectors/overrides.json");
        let text = std::fs::read_to_string(&file).expect("overrides");
        let file: File = serde_json::from_str(&text).expect("form of the overrides");
        let overrides = file.client;
        for ignored in &overrides.ignored_keys {
            assert!(
                !ignored.rule.is_empty() && !ignored.why.is_empty(),
                "{}: an ignored key needs rule and reason",
                ignored.key
            );
        }
        for (name, list) in &overrides.sessions {
            let session = session(name);
            for o in list {
                overrides.check(&session, o);
            }
        }
        overrides
    }

    fn check(&self, session: &Session, o: &Override) {
        let at = format!("override of {} line {}", session.name, o.line);
        assert!(
            !o.rule.is_empty() && !o.why.is_empty(),
            "{at}: rule and reason"
        );
        let recorded = session
            .messages
            .get(o.line)
            .unwrap_or_else(|| panic!("{at}: there is no such line"));
        assert_eq!(recorded.dir, Dir::ToClient, "{at}: the server's lines only");
        assert_eq!(recorded.conn, o.conn, "{at}: connection");
        let message = recorded.decoded.as_ref();
        let shown = message.into_iter().chain(o.instead.iter().flatten());
        let mut numbers = shown.chain(&o.more).map(|m| &m["seq"]);
        assert!(
            o.seq.is_null() || numbers.any(|seq| *seq == o.seq),
            "{at}: no message has the number {}",
            o.seq
        );
        match &o.instead {
            Some(instead) => {
                let same = match (message, instead.as_slice()) {
                    (Some(message), [one]) => {
                        self.difference(message, one, &mut Ticks::exact()).is_none()
                    }
                    _ => false,
                };
                assert!(!same, "{at}: it equals the recording");
            }
            None => assert!(!o.more.is_empty(), "{at}: it says nothing"),
        }
    }

    fn of(&self, session: &str, line: usize) -> Option<&Override> {
        let list = self.sessions.get(session)?;
        list.iter().find(|o| o.line == line)
    }

    fn shift_ticks(&self, session: &str) -> bool {
        self.sessions
            .get(session)
            .is_some_and(|list| list.iter().any(|o| o.shifts_ticks))
    }

    /// Where the two differ, if they do.
    pub(crate) fn difference(
        &self,
        expected: &Value,
        came: &Value,
        ticks: &mut Ticks,
    ) -> Option<String> {
        let (Some(expected), Some(came)) = (expected.as_object(), came.as_object()) else {
            return (expected != came).then(|| "no map".to_owned());
        };
        let ignored = |key: &String| self.ignored_keys.iter().any(|i| i.key == *key);
        for (key, value) in expected.iter().filter(|(key, _)| !ignored(key)) {
            let Some(other) = came.get(key) else {
                return Some(format!("{key} is missing"));
            };
            let same = match (key.as_str(), value, other) {
                ("error", Value::String(a), Value::String(b)) => {
                    without_noise(a) == without_noise(b)
                }
                ("tick", _, _) => ticks.same(&expected["node"], value, other),
                ("chain", _, _) => same_chain(value, other, ticks),
                _ => value == other,
            };
            if !same {
                return Some(format!("{key} differs"));
            }
        }
        let mut extra = came.keys().filter(|key| !ignored(key));
        extra
            .find(|key| !expected.contains_key(*key))
            .map(|key| format!("{key} should not be there"))
    }
}

/// Chains are equal but for the ticks, which are mapped.
fn same_chain(expected: &Value, came: &Value, ticks: &mut Ticks) -> bool {
    let (Some(a), Some(b)) = (expected.as_object(), came.as_object()) else {
        return expected == came;
    };
    a.len() == b.len()
        && a.iter().all(|(key, value)| {
            let Some(other) = b.get(key) else {
                return false;
            };
            match key.as_str() {
                "tick" => ticks.same(&a["node"], value, other),
                "prev" => same_chain(value, other, ticks),
                _ => value == other,
            }
        })
}

/// An error text without what varies from run to run: memory addresses and
/// tocks.
fn without_noise(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = ["0x", "'tock': "]
        .iter()
        .filter_map(|m| Some(rest.find(m)? + m.len()))
        .min()
    {
        out.push_str(&rest[..at]);
        rest = rest[at..].trim_start_matches(|c: char| c.is_ascii_hexdigit());
    }
    out + rest
}

/// Which recorded tick is which of this run, per node.
pub(crate) struct Ticks {
    shifted: bool,
    pairs: BTreeMap<String, BTreeMap<u64, u64>>,
}

impl Ticks {
    pub(crate) fn exact() -> Self {
        Self::new(false)
    }

    pub(crate) fn new(shifted: bool) -> Self {
        Self {
            shifted,
            pairs: BTreeMap::new(),
        }
    }

    fn same(&mut self, node: &Value, expected: &Value, came: &Value) -> bool {
        if !self.shifted {
            return expected == came;
        }
        let (Some(a), Some(b)) = (expected.as_u64(), came.as_u64()) else {
            return expected == came;
        };
        let pairs = self.pairs.entry(node.to_string()).or_default();
        if let Some(known) = pairs.get(&a) {
            return *known == b;
        }
        let below = pairs.range(..a).next_back().is_none_or(|(_, x)| *x < b);
        let above = pairs.range(a..).next().is_none_or(|(_, x)| b < *x);
        pairs.insert(a, b);
        below && above
    }
}

/// A message that must come, and from where it is known.
struct Expected {
    line: usize,
    message: Value,
    /// From an override: its ticks are this server's.
    ours: bool,
}

/// Plays a session against a fresh server on that port.
///
/// Lines in `volatile` must come, with any content.
///
/// # Errors
/// All differences, for a person to read.
pub(crate) fn play(
    session: &Session,
    port: u16,
    overrides: &Overrides,
    volatile: &[usize],
) -> Result<(), String> {
    let mut player = Player {
        session,
        port,
        overrides,
        lines: BTreeMap::new(),
        faults: Vec::new(),
    };
    if let Err(e) = player.play() {
        player.faults.push(e);
    }
    player.compare(volatile);
    match player.faults.is_empty() {
        true => Ok(()),
        false => Err(format!("{}:\n{}", session.name, player.faults.join("\n"))),
    }
}

/// One connection of a session that is being played.
struct Line {
    conn: Conn,
    came: Vec<Value>,
    expected: Vec<Expected>,
    /// The server has closed it.
    ended: bool,
    /// Numbers of `stop` requests without recorded reply, and of what they
    /// stop: the client closed too early to see more, now it may.
    cut: Vec<Value>,
    /// Numbers of `stop` requests for streams that have been opened.
    stops: Vec<Value>,
    /// How many messages had come when the client closed.
    closed_at: Option<usize>,
}

struct Player<'a> {
    session: &'a Session,
    port: u16,
    overrides: &'a Overrides,
    lines: BTreeMap<u32, Line>,
    faults: Vec<String>,
}

impl Player<'_> {
    fn play(&mut self) -> Result<(), String> {
        let session = self.session;
        for (n, recorded) in session.messages.iter().enumerate() {
            if !self.lines.contains_key(&recorded.conn) {
                self.settle(n)?;
                let line = Line {
                    conn: Conn::connect(self.port),
                    came: Vec::new(),
                    expected: Vec::new(),
                    ended: false,
                    cut: Vec::new(),
                    stops: Vec::new(),
                    closed_at: None,
                };
                self.lines.insert(recorded.conn, line);
            }
            match recorded.dir {
                Dir::ToClient => self.expect(n, recorded)?,
                Dir::ToServer => {
                    self.settle(n)?;
                    self.send(n, recorded)?;
                }
            }
        }
        self.settle(session.messages.len())
    }

    /// Notes what must come.
    fn expect(&mut self, n: usize, recorded: &Recorded) -> Result<(), String> {
        let o = self.overrides.of(&self.session.name, n);
        let line = self.line(recorded.conn);
        let mut expected = Vec::new();
        match (o.and_then(|o| o.instead.as_ref()), &recorded.decoded) {
            (Some(instead), _) => {
                expected.extend(instead.iter().map(|m| (m.clone(), true)));
            }
            (None, Some(message)) => expected.push((message.clone(), false)),
            (None, None) => {}
        }
        if let Some(o) = o {
            expected.extend(o.more.iter().map(|m| (m.clone(), true)));
        }
        line.expected
            .extend(expected.into_iter().map(|(message, ours)| Expected {
                line: n,
                message,
                ours,
            }));
        if recorded.eof && !line.ended {
            match o {
                None => self.await_end(n, recorded.conn)?,
                Some(_) => self.still_there(n, recorded.conn)?,
            }
        }
        Ok(())
    }

    /// The connection must have been closed by the server, or be now.
    fn await_end(&mut self, n: usize, conn: u32) -> Result<(), String> {
        let line = self.line(conn);
        let end = Instant::now() + WAIT;
        while !line.ended {
            match line.conn.next(Duration::from_millis(5)) {
                Some(Got::Message(message)) => line.came.push(message),
                Some(Got::End) => line.ended = true,
                None if Instant::now() < end => {}
                None => return Err(format!("line {n}: the server does not close")),
            }
        }
        Ok(())
    }

    /// The connection must work.
    fn still_there(&mut self, n: usize, conn: u32) -> Result<(), String> {
        const PROBE: &str = "still there?";
        self.settle(n)?;
        let line = self.line(conn);
        line.conn.send(&json!({"action": "get_tock", "seq": PROBE}));
        let end = Instant::now() + WAIT;
        while Instant::now() < end {
            match line.conn.next(Duration::from_millis(5)) {
                Some(Got::Message(message)) if message["seq"] == PROBE => return Ok(()),
                Some(Got::Message(message)) => line.came.push(message),
                Some(Got::End) => {
                    line.ended = true;
                    return Err(format!("line {n}: the server has closed the connection"));
                }
                None => {}
            }
        }
        Err(format!("line {n}: the connection is dead"))
    }

    fn send(&mut self, n: usize, recorded: &Recorded) -> Result<(), String> {
        let session = self.session;
        let line = self.line(recorded.conn);
        let Some(bytes) = recorded.request() else {
            line.closed_at = Some(line.came.len());
            line.conn.finish();
            return self.await_end(n, recorded.conn);
        };
        line.conn.send_bytes(&bytes);
        let Some(message) = recorded.decoded.as_ref() else {
            return Ok(());
        };
        if message["action"] != "stop" {
            return Ok(());
        }
        // Which is first, the reply to a stop or what other connections do
        // next, is not fixed; here the reply is.
        let seq = &message["seq"];
        if line.came.iter().any(|m| m["seq"] == message["task"]) {
            line.stops.push(seq.clone());
        }
        let answered = session.messages[n..].iter().any(|later| {
            later.dir == Dir::ToClient
                && later.conn == recorded.conn
                && later.decoded.as_ref().is_some_and(|m| m["seq"] == *seq)
        });
        if answered {
            let end = Instant::now() + WAIT;
            while !line.came.iter().any(|m| m["seq"] == *seq) {
                match line.conn.next(Duration::from_millis(5)) {
                    Some(Got::Message(message)) => line.came.push(message),
                    Some(Got::End) => line.ended = true,
                    None if Instant::now() < end => {}
                    None => return Err(format!("line {n}: no reply to stop")),
                }
            }
        } else {
            line.cut.extend([seq.clone(), message["task"].clone()]);
        }
        Ok(())
    }

    /// Waits until all connections have received what they must have by now.
    fn settle(&mut self, n: usize) -> Result<(), String> {
        let end = Instant::now() + WAIT;
        for (number, line) in &mut self.lines {
            while line.came.len() < line.expected.len() && !line.ended {
                match line.conn.next(Duration::from_millis(5)) {
                    Some(Got::Message(message)) => line.came.push(message),
                    Some(Got::End) => line.ended = true,
                    None if Instant::now() < end => {}
                    None => {
                        return Err(format!(
                            "line {n}: connection {number} got {} of {} messages",
                            line.came.len(),
                            line.expected.len()
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, conn: u32) -> &mut Line {
        self.lines
            .get_mut(&conn)
            .expect("invariant: connections are opened before they are used")
    }

    /// Compares everything per connection and number, in order.
    fn compare(&mut self, volatile: &[usize]) {
        let mut ticks = Ticks::new(self.overrides.shift_ticks(&self.session.name));
        for (number, line) in &self.lines {
            let mut came: BTreeMap<String, VecDeque<(usize, &Value)>> = BTreeMap::new();
            for (n, message) in line.came.iter().enumerate() {
                came.entry(message["seq"].to_string())
                    .or_default()
                    .push_back((n, message));
            }
            for expected in &line.expected {
                let at = format!("line {} (connection {number})", expected.line);
                let Expected { message, ours, .. } = expected;
                let queue = came.get_mut(&message["seq"].to_string());
                let Some((_, other)) = queue.and_then(VecDeque::pop_front) else {
                    self.faults.push(format!("{at}: did not come: {message}"));
                    continue;
                };
                if volatile.contains(&expected.line) || line.either_way(message, other) {
                    continue;
                }
                let difference = match ours {
                    true => self
                        .overrides
                        .difference(message, other, &mut Ticks::exact()),
                    false => self.overrides.difference(message, other, &mut ticks),
                };
                if let Some(why) = difference {
                    self.faults.push(format!(
                        "{at}: {why}\n  expected {message}\n  came     {other}"
                    ));
                }
            }
            for (n, extra) in came.into_values().flatten() {
                if !line.after_cut(n, extra) {
                    self.faults
                        .push(format!("connection {number}: not expected: {extra}"));
                }
            }
        }
    }
}

impl Line {
    /// Whether a `stop` finds its stream running depends on who is faster.
    fn either_way(&self, expected: &Value, came: &Value) -> bool {
        self.stops.contains(&expected["seq"])
            && expected["result"].is_boolean()
            && came["result"].is_boolean()
    }

    /// Whether the `n`th message, which was not recorded, is something that
    /// the recorded client did not wait for: the answer to its last `stop`,
    /// or the ends of its streams after it had closed.
    fn after_cut(&self, n: usize, message: &Value) -> bool {
        let cut = self.cut.contains(&message["seq"]);
        let closed = self.closed_at.is_some_and(|at| n >= at);
        (cut && message["result"].is_boolean()) || ((cut || closed) && message["state"] == "end")
    }
}
