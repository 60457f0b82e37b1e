//! What the operator is told.

use std::fmt;

use crate::event::{NodeName, Tick};

use super::Counts;
use super::counts::NAMED;

/// Why a node must stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Another server has its name.
    #[error("another server of this network has the name '{0}': choose another name, or stop it")]
    NameTaken(NodeName),
    /// It was to be the first of a network that exists.
    #[error("network exists ('{0}' has data): start without -i to join it, or with --force")]
    NetworkExists(NodeName),
}

/// What an operator may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// Nobody has data.
    Waiting,
    /// A peer's state is being fetched.
    Fetching(NodeName),
    /// A peer's state could not be had: why
    FetchFailed(NodeName, String),
    /// This node has its data, and goes on after this tick.
    Ready(Tick),
    /// The network was split; who was away
    Split(Vec<NodeName>),
    /// Events that nobody has are given up: of which nodes, how many
    GivenUp(Counts),
    /// Events are missing: of which nodes, how many
    Missing(Counts),
    /// Nothing is missing any more.
    Complete,
    /// Another server with this node's name is about.
    Clash,
    /// A node holds something else although nothing is missing.
    Differs(NodeName),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting for a node that has data"),
            Self::Fetching(peer) => write!(f, "fetching the data of '{peer}'"),
            Self::FetchFailed(peer, why) => write!(f, "cannot fetch the data of '{peer}': {why}"),
            Self::Ready(tick) => write!(f, "ready, at tick {}", tick.0),
            Self::Split(away) => {
                f.write_str("the network was split; back again:")?;
                let mut named = away.iter().take(NAMED);
                named.try_for_each(|n| write!(f, " '{n}'"))?;
                match away.len().saturating_sub(NAMED) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::GivenUp(lost) => write!(
                f,
                "{lost} are lost: nobody has them, and they are marked as known"
            ),
            Self::Missing(missing) => write!(f, "{missing} are missing"),
            Self::Complete => f.write_str("nothing is missing any more"),
            Self::Clash => f.write_str("another server with this node's name is in the network"),
            Self::Differs(node) => write!(f, "'{node}' holds other data: comparing"),
        }
    }
}
