//! Why a message of another node is not taken.

use crate::event::MAX_COUNTER;
use crate::msgpack::Fault;
use crate::path::PathError;
use crate::wire::cluster::{MAX_LINKS, MAX_NAME};

/// Why bytes are no message of a node. Names what is wrong, never quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// No sound encoding of exactly one object.
    #[error(transparent)]
    Encoding(#[from] Fault),
    /// Something that must be a map is none.
    #[error("{0} is not a map")]
    NotAMap(&'static str),
    /// A key that must be there is not.
    #[error("no `{0}`")]
    Missing(&'static str),
    /// The object below this key is of the wrong type.
    #[error("`{0}` is of the wrong type")]
    Type(&'static str),
    /// The number below this key is not possible.
    #[error("`{0}` is out of range")]
    Range(&'static str),
    /// A tick or tock beyond [`MAX_COUNTER`].
    #[error("`{0}` is not between 0 and {MAX_COUNTER}")]
    Counter(&'static str),
    /// A node's name that is empty, or longer than [`MAX_NAME`] bytes.
    #[error("a node's name has 1 to {MAX_NAME} bytes")]
    Name,
    /// The path cannot be an entry's.
    #[error("the path is unusable: {0}")]
    Path(#[from] PathError),
    /// `null` as an element of the path other than the first.
    #[error("`null` inside the path")]
    InnerNull,
    /// An update that does not say which event it is: its newest link has no
    /// tick.
    #[error("the newest link has no tick")]
    NoEvent,
    /// A chain of more than [`MAX_LINKS`].
    #[error("a chain of more than {MAX_LINKS} links")]
    ChainTooLong,
    /// More of something than is read.
    #[error("`{0}` has too many items")]
    TooMany(&'static str),
    /// An item of a list of ticks is neither a tick nor a pair of ticks.
    #[error("an item of a list of ticks is neither a tick nor a pair")]
    Ticks,
    /// The kind of a group's message, `t`, is none of the four.
    #[error("unknown kind of message")]
    Kind,
    /// A cycle of less than a second, or of less than three gaps.
    #[error("the cycle is shorter than a second, or than three gaps")]
    Timing,
}
