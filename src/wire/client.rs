//! The protocol between clients and servers, from the server's side:
//! requests in, messages out, and each stream's flow control.
//!
//! Rules and names come from the original; what it does with faulty
//! requests is not imitated (`docs/formats.md` has the list).

mod decode;
mod errors;
pub(in crate::wire) mod fields;
mod files;
mod members;
mod outbox;
mod usual;

pub use decode::{Inbox, Incoming};
pub use errors::{kind, text};
pub use outbox::{Outbox, Windows};
pub use usual::Usual;

/// This program's version, as the greeting shows it; nobody decides by it.
pub const VERSION: [u64; 3] = [
    number(env!("CARGO_PKG_VERSION_MAJOR")),
    number(env!("CARGO_PKG_VERSION_MINOR")),
    number(env!("CARGO_PKG_VERSION_PATCH")),
];

const fn number(text: &str) -> u64 {
    match u64::from_str_radix(text, 10) {
        Ok(n) => n,
        Err(_) => 0,
    }
}
