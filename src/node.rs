//! One server's whole state and rules, without clock, socket, task or random
//! source: time and requests come in, messages and effects go out.
//!
//! [`Machine`] is the interface: `handle_*` methods take what happened,
//! [`Machine::poll_output`] tells what is to be done about it, in order, and
//! [`Machine::poll_timeout`] when to come back without being asked. Messages
//! to clients go straight into their session's [`Sink`](crate::event::Sink).
//! Inputs cannot fail: whatever a client or a peer sends is answered or
//! logged.

mod actions;
pub mod cluster;
pub mod dump;
pub mod habits;
pub mod journal;
pub mod machine;
pub mod merge;
mod network;
mod original;
pub mod rng;
pub mod survey;
pub mod suspend;
pub mod ticks;
pub mod time;
pub mod tree;
pub mod view;
pub mod watch;

#[cfg(test)]
mod found;
#[cfg(test)]
mod tests;

pub use actions::files::FileToken;
pub use machine::{Effects, Machine, Output};

/// What one client may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an encoded value
    pub value: usize,
    /// Entries that one session's watches may make
    pub made_by_watching: usize,
    /// Running requests of one session
    pub streams: usize,
    /// Bytes that may wait for one session before its watches end
    pub watch_buffer: usize,
    /// Levels of a topic, and bytes of a message
    pub message: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            value: 8 << 20,
            made_by_watching: 10_000,
            streams: 16_384,
            watch_buffer: 4 << 20,
            message: 8 << 20,
        }
    }
}
