//! What happened, one short line each: `time node <- message`.
//!
//! Lines are made only when somebody wants them. Two runs of one seed make
//! the same lines, byte for byte; a test holds them side by side.

use std::fmt::Write as _;

use crate::event::{
    ChainEnd, Event, Fetched, Info, NodeInfo, NodeName, PeerMessage, TickSet, Turn, Update,
};
use crate::node::time::Timestamp;
use crate::path::{Path, PathRef};

/// The lines so far, if they are wanted.
#[derive(Debug, Default)]
pub(super) struct Trace(Option<String>);

impl Trace {
    pub(super) fn new(wanted: bool) -> Self {
        Self(wanted.then(String::new))
    }

    /// Adds a line; `what` writes it.
    pub(super) fn line(&mut self, now: Timestamp, what: impl FnOnce(&mut String)) {
        if let Some(out) = &mut self.0 {
            let (seconds, micros) = (now.0 / 1_000_000, now.0 % 1_000_000);
            // writing to a text cannot fail
            let _ = write!(out, "{seconds:5}.{micros:06} ");
            what(out);
            out.push('\n');
        }
    }

    pub(super) fn into_text(self) -> Option<String> {
        self.0
    }
}

/// A path as people write it.
pub(super) fn path(path: PathRef<'_>) -> String {
    match Path::decode(path) {
        Ok(path) => path.to_string(),
        Err(_) => format!("{path:?}"),
    }
}

/// An event: `a.b=07 tock 5 x:3<y:2`, with `~` for an end that was cut.
pub(super) fn event(event: &Event) -> String {
    let mut out = path(event.path.as_ref());
    match &event.value {
        Some(value) => {
            out.push('=');
            for byte in value.iter().take(16) {
                let _ = write!(out, "{byte:02x}");
            }
        }
        None => out.push_str(" deleted"),
    }
    let _ = write!(out, " tock {} ", event.tock.0);
    for (n, link) in event.chain.iter().enumerate() {
        let sign = if n == 0 { "" } else { "<" };
        let _ = write!(out, "{sign}{}:{}", link.node, link.tick.0);
    }
    if event.end == ChainEnd::Cut {
        out.push('~');
    }
    out
}

fn sets(out: &mut String, word: &str, sets: Option<&Vec<(NodeName, TickSet)>>) {
    let Some(sets) = sets else { return };
    let _ = write!(out, " {word}");
    for (name, set) in sets {
        let _ = write!(out, " {name}:");
        for range in set.ranges() {
            let _ = match (range.start(), range.end()) {
                (a, b) if a == b => write!(out, "{a},"),
                (a, b) => write!(out, "{a}-{b},"),
            };
        }
    }
}

/// Bookkeeping, as far as it is told.
pub(super) fn info(info: &NodeInfo) -> String {
    let mut out = String::new();
    if let Some(ticks) = &info.ticks {
        out.push_str(" ticks");
        for (name, tick) in ticks {
            let _ = match tick {
                Some(tick) => write!(out, " {name}:{}", tick.0),
                None => write!(out, " {name}:-"),
            };
        }
    }
    sets(&mut out, "known", info.known.as_ref());
    sets(&mut out, "deleted", info.deleted.as_ref());
    sets(&mut out, "missing", info.missing.as_ref());
    sets(&mut out, "reported", info.remote_missing.as_ref());
    if let Some(names) = &info.node_drop {
        let _ = write!(out, " drop {names:?}");
    }
    out
}

/// What one node told the others.
pub(super) fn message(message: &PeerMessage) -> String {
    match message {
        PeerMessage::Update(Update { event: e, again }) => match again {
            None => format!("update {}", event(e)),
            Some((by, _)) => format!("update again by {by} {}", event(e)),
        },
        PeerMessage::Info(Info {
            node,
            tick,
            tock,
            info: told,
            hail,
        }) => {
            let mut out = format!("info {node}");
            let _ = match tick {
                Some(tick) => write!(out, ":{}", tick.0),
                None => write!(out, ":-"),
            };
            let _ = write!(out, " tock {}{}", tock.0, info(told));
            if let Some(hail) = hail {
                let _ = write!(out, " {:?} boot {:x}", hail.say, hail.boot);
                if let Some(sum) = hail.sum {
                    let _ = write!(out, " sum {sum:x}");
                }
            }
            out
        }
        PeerMessage::Ping(said) => turn("ping", said),
        PeerMessage::Del(said) => turn("del", said),
    }
}

fn turn(topic: &str, said: &Turn) -> String {
    match said {
        Turn::Init(node) => format!("{topic} init {node}"),
        Turn::Vers(node, settings) => format!("{topic} vers {node} {settings:?}"),
        Turn::Ping {
            node,
            value,
            history,
            mark,
        } => {
            let mut out = format!("{topic} {node} {value:?} {}", names(history));
            if let Some(mark) = mark {
                let _ = write!(out, " boot {:x}", mark.boot);
                if let Some(sum) = mark.sum {
                    let _ = write!(out, " sum {sum:x}");
                }
            }
            out
        }
        Turn::Hist { value, history } => format!("{topic} hist {value:?} {}", names(history)),
    }
}

fn names(list: &[NodeName]) -> String {
    let names: Vec<&str> = list.iter().map(NodeName::as_str).collect();
    format!("[{}]", names.join(" "))
}

/// A piece of a download.
pub(super) fn fetched(piece: &Fetched<'_>) -> String {
    match piece {
        Fetched::Entry(e) => format!("fetched {}", event(e)),
        Fetched::State(state, tock) => format!("fetched state tock {}{}", tock.0, info(state)),
        Fetched::Done => "fetched all".to_owned(),
        Fetched::Failed(why) => format!("fetch failed: {why}"),
    }
}
