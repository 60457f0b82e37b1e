//! The protocol between the nodes of a network: what goes over the broker.
//!
//! [`encode`] writes a message as the original writes it, key for key;
//! [`decode`] takes whatever the original takes and refuses the rest with a
//! reason, because one bad message must not end a node. A value passes
//! through as bytes. Long messages travel in parts: see [`Splitter`] and
//! [`Assembler`].
//!
//! Which keys there are, and where reading is stricter or laxer than the
//! original's: `docs/formats.md`, "Messages between nodes".

mod chain;
mod decode;
pub(in crate::wire) mod encode;
mod fields;
mod join;
mod malformed;
mod split;

pub use decode::decode;
pub use encode::{encode, update_size};
pub use join::{Assembler, AssemblerLimits, PartError};
pub use malformed::Malformed;
pub use split::{DEFAULT_LIMIT, Parts, Splitter};

use crate::event::PeerMessage;

/// Longest name of a node that is read, in bytes.
pub const MAX_NAME: usize = 1024;
/// Most links of a chain that are read.
pub const MAX_LINKS: usize = 4096;
/// Most links of a chain that are written; the rest is cut off. The original
/// reads chains by recursion, which ends it a little below a thousand.
pub const MAX_LINKS_WRITTEN: usize = 500;
/// Most names in a list of names that is read.
pub const MAX_NAMES: usize = 1024;
/// Most nodes in a map of nodes that is read.
pub const MAX_NODES: usize = 65_536;
/// Most intervals in all the tick sets of one message that is read.
pub const MAX_INTERVALS: usize = 1 << 20;

/// One of the topics below a network's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Changes of entries
    Update,
    /// What nodes know of ticks
    Info,
    /// The talk of the nodes that keep in touch
    Ping,
    /// The talk of the nodes that agree on deletions
    Del,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Update, Self::Info, Self::Ping, Self::Del];

    /// The topic's last level.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Info => "info",
            Self::Ping => "ping",
            Self::Del => "del",
        }
    }

    /// The topic whose last level is `word`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.word() == word)
    }

    /// The topic that a message belongs on.
    #[must_use]
    pub const fn of(message: &PeerMessage) -> Self {
        match message {
            PeerMessage::Update(_) => Self::Update,
            PeerMessage::Info(_) => Self::Info,
            PeerMessage::Ping(_) => Self::Ping,
            PeerMessage::Del(_) => Self::Del,
        }
    }

    /// Whether long messages of this topic travel in parts; the original
    /// neither sends nor reads parts on the others.
    #[must_use]
    pub const fn has_parts(self) -> bool {
        matches!(self, Self::Update | Self::Info)
    }
}
