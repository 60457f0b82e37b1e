//! Why a request was not done.

use crate::event::{FileFault, NamedLink, NodeName, Tick};
use crate::path::RawPath;

/// Why a request was not done. Nothing has been changed by it.
///
/// The text that a client sees is the original's, because programs look at
/// it; `wire` has the table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// A write without a value
    NoValue,
    /// A deletion with a value
    ValueGiven,
    /// The stored value, if any, is not the one that was expected.
    Prev {
        /// The encoded value that is stored
        have: Option<Box<[u8]>>,
        /// The encoded value that was expected
        want: Box<[u8]>,
        /// The entry
        path: RawPath,
    },
    /// There is a value although the writer expected none.
    Exists(RawPath),
    /// There is no value although the writer expected one.
    IsNew(RawPath),
    /// The last change is not the one that the writer expected.
    ChainDiffers {
        /// The entry's chain
        have: Vec<NamedLink>,
        /// The link that was expected
        want: NamedLink,
        /// The entry
        path: RawPath,
    },
    /// The root cannot be deleted recursively.
    DeleteRoot,
    /// No entry has this path.
    NoPath(RawPath),
    /// No node has this name.
    NoNode(NodeName),
    /// No entry's chain holds this tick of the node.
    NoTick(Tick),
    /// `null` may be the first element only, and not everywhere.
    NullElement,
    /// A path element that cannot be used: why
    Element(String),
    /// The path has too many elements, or is too long.
    PathTooLong,
    /// This internal entry holds no value.
    NoData,
    /// An access rule is a text.
    AclNotText,
    /// A rule's entry has not the form it must have: why
    Shape(String),
    /// Nothing can be below this internal entry: name, and the entry's path
    CannotAdd(String, String),
    /// The node still owns an entry.
    NodeInUse(NodeName, Tick),
    /// A required field is not there.
    Missing(&'static str),
    /// A field has the wrong type; the text is the original's.
    WrongType(String),
    /// A field has a value that is not possible: why
    BadValue(String),
    /// `msg_send` with both a value and bytes
    BothPayloads,
    /// The first topic level is missing.
    EmptyTopic,
    /// There is no such action.
    UnknownAction(String),
    /// The request's number is in use by a stream.
    Busy,
    /// A value that cannot be stored: why
    Value(crate::msgpack::Fault),
    /// A value above the limit, in bytes
    TooLarge(usize),
    /// More of something than the limit allows: what
    TooMany(&'static str),
    /// The receiver of a watch did not keep up.
    Overflow,
    /// A check said no: the script's own words
    Check(String),
    /// A check did not answer in time, or the entry changed too often
    /// meanwhile.
    CheckFailed(&'static str),
    /// The access rules forbid it: the letter, and which rule said so
    Access(char, String),
    /// Only a client on the node's own machine may have files written.
    NotLocal,
    /// A file cannot be written.
    File(FileFault),
    /// Changes cannot be written to the log, and are not accepted without:
    /// why
    Log(String),
    /// The counters of this node are used up.
    Exhausted,
    /// The server ends.
    Ending,
}
