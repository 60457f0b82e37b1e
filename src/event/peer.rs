//! What nodes tell each other on their network's own topics.
//!
//! The words are the protocol's: `update` carries a change, `info` what a
//! node knows of ticks, `ping` and `del` are the talk of two groups whose
//! members take turns. Keys that only this program's nodes use are in
//! [`Hail`] and [`Mark`]; the original ignores them.

use std::time::Duration;

use crate::event::{Event, NodeInfo, NodeName, Tick, Tock};

/// A message on one of the network's topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerMessage {
    /// Topic `update`
    Update(Update),
    /// Topic `info`
    Info(Info),
    /// Topic `ping`: the nodes that keep in touch
    Ping(Turn),
    /// Topic `del`: the nodes that agree on deletions
    Del(Turn),
}

/// A change of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The change
    pub event: Event,
    /// Who sends it again, and their own last tick; `None` if the node that
    /// made the change sends it at once
    pub again: Option<(NodeName, Option<Tick>)>,
}

/// What a node says of ticks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Info {
    /// Who says it; empty when a tool does
    pub node: NodeName,
    /// The sender's last tick; `None` until it has its data
    pub tick: Option<Tick>,
    /// The sender's tock
    pub tock: Tock,
    /// What is said
    pub info: NodeInfo,
    /// What only this program's nodes say
    pub hail: Option<Hail>,
}

/// How one of this program's nodes announces itself (`info`, key `moat`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hail {
    /// What it is about
    pub say: Say,
    /// Tells this run of the node from others
    pub boot: u64,
    /// Where clients reach it: host and port
    pub addr: Vec<(String, u16)>,
    /// Sum over what it holds: see [`Mark::sum`]
    pub sum: Option<u64>,
}

/// What a [`Hail`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// I have come, or have been away: who is there?
    Hello,
    /// I am here.
    Here,
    /// I am gone: sent at a clean end, and by the broker after a crash.
    Gone,
}

/// What one of this program's nodes adds to a ping (key `moat`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Tells this run of the node from others
    pub boot: u64,
    /// Sum over the newest events of all entries that have a value. Nodes
    /// that hold the same have the same sum; `None` until the node has its
    /// data.
    pub sum: Option<u64>,
}

/// What members of a group that take turns say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// A node has started. For a name that is in use this ends the older
    /// node of the original.
    Init(NodeName),
    /// Settings
    Vers(NodeName, Settings),
    /// It is this node's turn.
    Ping {
        /// Who
        node: NodeName,
        /// What the group compares: see [`TurnValue`]
        value: Option<TurnValue>,
        /// Whose turn it was, newest first, beginning with the sender
        history: Vec<NodeName>,
        /// Added by this program's nodes
        mark: Option<Mark>,
    },
    /// Said on behalf of the part of the network whose last turn was the
    /// first node's.
    Hist {
        /// That node's value
        value: Option<TurnValue>,
        /// Whose turn it was, newest first
        history: Vec<NodeName>,
    },
}

/// What a member of a group says of itself. On `ping` its last tock and
/// tick; on `del` its oldest and newest tag.
pub type TurnValue = (u64, u64);

/// The settings of a group that takes turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Time in which there is one turn
    pub cycle: Duration,
    /// Time that messages may take
    pub gap: Duration,
    /// How many take turns
    pub nodes: u32,
    /// How many names a ping carries
    pub splits: u32,
    /// How many hosts there are about
    pub n_hosts: u32,
    /// The highest one counts
    pub version: u64,
    /// Rounds after which an outsider takes a turn; 0: by chance
    pub force_in: u32,
}

impl Settings {
    /// The settings of topic `ping`.
    pub const PING: Self = Self {
        cycle: Duration::from_secs(10),
        gap: Duration::from_secs(2),
        nodes: 5,
        splits: 4,
        n_hosts: 10,
        version: 0,
        force_in: 0,
    };
    /// The settings of topic `del`.
    pub const DELETE: Self = Self {
        cycle: Duration::from_secs(100),
        gap: Duration::from_secs(10),
        version: 1,
        ..Self::PING
    };
}
