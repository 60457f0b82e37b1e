//! Fetching a node's whole state through its client port.

use crate::event::{Event, NodeInfo, NodeName, Tock};

/// Somebody's state is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Names this fetch in what comes of it
    pub id: u64,
    /// Whose state
    pub peer: NodeName,
    /// Where the peer's clients connect, as far as it or the tree says, best
    /// first; the shell knows more ways (`hostmap`, `domain`)
    pub addr: Vec<(String, u16)>,
}

/// What comes of a [`Fetch`].
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched<'a> {
    /// An entry
    Entry(&'a Event),
    /// The peer's bookkeeping, after all entries
    State(&'a NodeInfo, Tock),
    /// That was all.
    Done,
    /// It cannot be had, or not all of it: why.
    Failed(&'a str),
}
