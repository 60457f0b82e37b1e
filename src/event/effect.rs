//! What a node wants carried to the others.

use crate::event::PeerMessage;

/// What is to be carried to the others.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Tell all nodes of the network, this one included
    Tell(Box<PeerMessage>),
    /// A client's message
    Send {
        /// Where
        topic: Vec<String>,
        /// What
        payload: Vec<u8>,
    },
    /// Messages on these topics are wanted.
    Subscribe(Vec<String>),
    /// They are not wanted any more.
    Unsubscribe(Vec<String>),
}
