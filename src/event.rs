//! What node, wire, client and files share: nodes and their ticks, chains,
//! events, requests and the messages that answer them.
//!
//! Requests and messages borrow: a request from the bytes it came in, a
//! message from the tree it shows. Their encoding belongs to `wire`.

mod books;
mod effect;
mod fetch;
mod log;
mod members;
mod message;
mod peer;
mod ranges;
mod refused;
mod request;

pub use books::{Books, Intervals, Section};
pub use effect::Effect;
pub use fetch::{Fetch, Fetched};
pub use log::{FileDone, FileFault, FileJob, LogInfo};
pub use members::{Deleters, MOST_MEMBERS, MemberInfo, MemberKind, Members};
pub use message::{Chain, Message, NodeInfo, Payload, Shared, Sink, State, To};
pub use peer::{Hail, Info, Mark, PeerMessage, Say, Settings, Turn, TurnValue, Update};
pub use ranges::TickSet;
pub use refused::Refused;
pub use request::{
    Depths, Expect, Handle, Links, Request, Space, StateWanted, Target, Topic, Write,
};

use compact_str::CompactString;

use crate::path::RawPath;

/// Greatest tick and tock that is accepted from others.
pub const MAX_COUNTER: u64 = 1 << 62;

/// A server's name, unique in its network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeName(CompactString);

impl NodeName {
    /// A name as it is.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for NodeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Number of an event of one node: 1, 2, 3 …; 0 before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(pub u64);

/// A network-wide logical time: greater than all that its maker had seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tock(pub u64);

/// A node's place in a table of names; means nothing elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIx(pub u32);

/// A client's connection, as the node knows it. May be reused once its
/// client has been disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

/// One link of a chain, in the memory's form: event `tick` of node `node`.
///
/// Twelve bytes, because every entry has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Link {
    node: NodeIx,
    tick: [u32; 2],
}

impl Link {
    /// Event `tick` of `node`.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // cut in two on purpose
    pub const fn new(node: NodeIx, tick: Tick) -> Self {
        Self {
            node,
            tick: [(tick.0 >> 32) as u32, tick.0 as u32],
        }
    }

    /// Whose event this is.
    #[must_use]
    pub const fn node(self) -> NodeIx {
        self.node
    }

    /// Its number.
    #[must_use]
    pub const fn tick(self) -> Tick {
        let [high, low] = self.tick;
        Tick(((high as u64) << 32) | low as u64)
    }
}

/// One link of a chain, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedLink {
    /// Whose event this is
    pub node: NodeName,
    /// Its number
    pub tick: Tick,
}

/// What the oldest link of a chain stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainEnd {
    /// Nothing was before it.
    Start,
    /// Older links were left out.
    Cut,
}

/// A change of one entry, as nodes tell each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The entry
    pub path: RawPath,
    /// The event and those it was built on, newest first; a node occurs once
    pub chain: Vec<NamedLink>,
    /// Whether the chain is whole
    pub end: ChainEnd,
    /// When, in the network's logical time
    pub tock: Tock,
    /// The encoded value; `None` deletes
    pub value: Option<Box<[u8]>>,
}
