//! The protocol between clients and servers, from the server's side:
//! requests in, messages out, and each stream's flow control.
//!
//! Rules and names come from the original; what it does with faulty
//! requests is not imitated (`docs/formats.md` has the list).

mod decode;
mod errors;
mod fields;
mod outbox;

pub use decode::{Inbox, Incoming};
pub use errors::{kind, text};
pub use outbox::{Outbox, Windows};

/// The protocol's version number, as the greeting shows it.
pub const VERSION: [u64; 3] = [0, 70, 20];
