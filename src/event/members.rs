//! What a node knows of its network, for an operator to look at.

use std::time::Duration;

use crate::event::{NodeName, Tick, Tock};

/// Most nodes that an answer lists; the rest is counted.
pub const MOST_MEMBERS: usize = 1000;

/// A node's view of its network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// Who says so
    pub node: NodeName,
    /// The nodes, this one first, then by name; at most [`MOST_MEMBERS`]
    pub nodes: Vec<MemberInfo>,
    /// Nodes that are not listed
    pub more: u64,
    /// Whether there is a way to the others
    pub up: bool,
    /// Changes of this node that have not reached the others
    pub outbox: u64,
    /// Whose turn it was, newest first
    pub history: Vec<NodeName>,
    /// Whether two parts of the network have met, and are being joined
    pub split: bool,
    /// Who agrees on deletions
    pub deleters: Deleters,
}

/// What is known of one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberInfo {
    /// Its name
    pub name: NodeName,
    /// What it runs
    pub kind: MemberKind,
    /// It is the one that answers.
    pub own: bool,
    /// Whether it has data, if it has said so
    pub ready: Option<bool>,
    /// Its last change that is known
    pub tick: Option<Tick>,
    /// Its changes that are missing here
    pub missing: u64,
    /// Its changes that others lack
    pub reported: u64,
    /// How long ago it was heard last; `None` if it never was
    pub heard: Option<Duration>,
    /// Whether it was heard lately enough to count as there
    pub here: bool,
    /// It, or its broker, has said that it goes.
    pub gone: bool,
    /// Where its clients connect
    pub addr: Vec<(String, u16)>,
    /// Whether it held the same when that could be compared last
    pub same: Option<bool>,
}

/// What kind of program a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemberKind {
    /// It has not said.
    #[default]
    Unknown,
    /// This one
    Ours,
    /// The original
    Original,
}

impl MemberKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Unknown, Self::Ours, Self::Original];

    /// Its name in messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ours => "moat",
            Self::Original => "original",
        }
    }
}

/// The nodes that agree on deletions, and what waits for them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deleters {
    /// Who they are; each with whether it is there
    pub group: Vec<(NodeName, bool)>,
    /// Deletions that are still remembered; `None` if nobody counts them
    pub marks: Option<u64>,
    /// When the oldest of them was noted, in the network's logical time
    pub oldest: Option<Tock>,
}
