//! The way to the other nodes and their message broker: one trait, and what
//! implements it.
//!
//! A backend carries what the machine wants carried and brings what the
//! others say. It knows no rule of the store.

#[cfg(feature = "broker")]
mod broker;
#[cfg(feature = "mqtt")]
pub mod mqtt;
mod none;

use std::task::{Context, Poll};

use crate::event::{Effect, PeerMessage};

pub use none::NoBackend;

/// What came from the others, or from the way to them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// A node of the network said this; it may be this node itself.
    Peer(Box<PeerMessage>),
    /// A message that clients may be waiting for
    Message {
        /// Where
        topic: Vec<String>,
        /// What
        payload: Vec<u8>,
    },
    /// All topics of the network are subscribed: what is said from now on is
    /// heard.
    Up,
    /// What is said is not heard, and what was carried may be lost.
    Down,
    /// Something that was said was not heard, or could not be kept until
    /// there was time for it.
    Gap,
}

/// A way to the other nodes.
pub trait Backend {
    /// Takes something to carry. Never waits and never fails: what cannot be
    /// carried now is kept, within the backend's own bounds, or recovered by
    /// the nodes' protocol.
    fn take(&mut self, effect: Effect);

    /// The next thing that came. Wakes the task when there is more.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Input>;
}
