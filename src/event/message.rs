//! What a node tells a client.

use std::cell::RefCell;

use crate::event::{
    Books, ChainEnd, Handle, Link, LogInfo, Members, NodeName, Refused, Tick, TickSet, Tock,
};
use crate::path::PathRef;

/// A chain as a reply shows it: newest link first.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a> {
    /// The links to show
    pub links: &'a [Link],
    /// Whether older ones were left out
    pub end: ChainEnd,
    /// The names that the links' numbers stand for
    pub names: &'a [NodeName],
}

/// What nodes tell each other about their bookkeeping (`info`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeInfo {
    /// Each node's last tick, if known
    pub ticks: Option<Vec<(NodeName, Option<Tick>)>>,
    /// Ticks of no further interest
    pub known: Option<Vec<(NodeName, TickSet)>>,
    /// Ticks in chains of entries
    pub present: Option<Vec<(NodeName, TickSet)>>,
    /// Ticks in chains of deleted entries
    pub deleted: Option<Vec<(NodeName, TickSet)>>,
    /// Ticks that the sender lacks
    pub missing: Option<Vec<(NodeName, TickSet)>>,
    /// Ticks that others lack
    pub remote_missing: Option<Vec<(NodeName, TickSet)>>,
    /// Nodes that are to be forgotten
    pub node_drop: Option<Vec<NodeName>>,
    /// The empty map that the request asked for
    pub debug: bool,
}

/// Frames of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The first message; for a watch, with the node's run and the number of
    /// the last change before it
    Start {
        /// Run and number
        at: Option<(u64, u64)>,
    },
    /// The present state is complete.
    UpToDate {
        /// The node's run, and the number of the last change in the state
        at: (u64, u64),
        /// Whether a request to resume was honoured, if there was one
        resumed: Option<bool>,
    },
    /// The last message
    End,
}

/// How a message's payload is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// As the object it encodes
    Object,
    /// As bytes
    Raw,
    /// As bytes, with an error: it encodes no object
    Broken,
}

/// A message's encoding, for those who get the same one after the first: all
/// of it but the request's number and the place in the stream.
#[derive(Debug, Default)]
pub struct Shared(RefCell<Vec<u8>>);

impl Shared {
    /// The next message is another one.
    pub fn clear(&mut self) {
        let kept = self.0.get_mut();
        kept.clear();
        // one large value is no reason to keep its room
        kept.shrink_to(64 << 10);
    }

    /// Appends what is kept; false if nothing is.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) -> bool {
        let kept = self.0.borrow();
        out.extend_from_slice(&kept);
        !kept.is_empty()
    }

    /// Keeps an encoding, where none is kept.
    pub fn keep(&self, encoding: &[u8]) {
        self.0.borrow_mut().extend_from_slice(encoding);
    }
}

/// One message to a client.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Message<'a> {
    /// The first message of a connection
    Greeting {
        /// The node that answers
        node: &'a NodeName,
        /// Its last tick, if it has one
        tick: Option<Tick>,
    },
    /// What is wrong with bytes that are no request; belongs to no request
    Complaint(&'a str),
    /// The request is done.
    Done,
    /// An answer that is a truth value
    Truth(bool),
    /// How many entries changed
    Count(u64),
    /// An entry: answer to a `Get` and to `Root`
    Entry {
        /// Its encoded value, if it has one
        value: Option<&'a [u8]>,
        /// Its chain: `None` is not shown, `Some(None)` there is none
        chain: Option<Option<Chain<'a>>>,
        /// Its tock; `None` if there is no such entry
        tock: Option<Tock>,
        /// Its path, if the request did not name it
        path: Option<PathRef<'a>>,
        /// Whether that path is shown as a list, as the original does here
        as_list: bool,
    },
    /// Answer to a write
    Changed {
        /// Whether the value is another one now
        changed: bool,
        /// The value before, if it is shown
        prev: Option<&'a [u8]>,
        /// The new chain, if it is shown
        chain: Option<Chain<'a>>,
        /// The entry's tock
        tock: Tock,
    },
    /// One entry of a subtree, or its change
    Node {
        /// Its encoded value, if it has one
        value: Option<&'a [u8]>,
        /// Its chain, if it is shown and there is one
        chain: Option<Chain<'a>>,
        /// Its tock
        tock: Tock,
        /// How many elements it shares with the last path sent
        depth: u32,
        /// The other elements
        path: PathRef<'a>,
        /// How many these are
        count: u32,
        /// Whether the subtree is the session's whole tree
        top: bool,
        /// The change's run and number, if they are wanted
        at: Option<(u64, u64)>,
        /// Whether others get the same message
        shared: Option<&'a Shared>,
    },
    /// One entry that a recursive deletion has deleted
    Deleted {
        /// Its new chain
        chain: Chain<'a>,
        /// Its encoded value before
        prev: Option<&'a [u8]>,
        /// Its tock
        tock: Tock,
        /// How many elements it shares with the last path sent
        depth: u32,
        /// The other elements
        path: PathRef<'a>,
        /// How many these are
        count: u32,
    },
    /// Names of children: encoded elements one after the other
    Names {
        /// How many
        count: usize,
        /// The elements
        elements: &'a [u8],
    },
    /// Children and their values: encoded elements and values in turn
    Children {
        /// How many pairs
        count: usize,
        /// The pairs
        pairs: &'a [u8],
    },
    /// Ticks, ascending: encoded numbers one after the other
    Ticks {
        /// How many
        count: usize,
        /// The numbers
        ticks: &'a [u8],
    },
    /// A part of the node's bookkeeping
    Info {
        /// The node that answers
        node: &'a NodeName,
        /// What was asked for
        books: &'a Books,
    },
    /// The network as the node sees it
    Members(&'a Members),
    /// A file has been written, or need not be: where it is
    Filed {
        /// Its path from the root on
        path: Option<&'a str>,
    },
    /// The files that the node writes
    Log(&'a LogInfo),
    /// A message that was heard
    Heard {
        /// Where
        topic: &'a [String],
        /// The payload
        payload: &'a [u8],
        /// How to show it
        form: Payload,
    },
    /// A frame of a stream
    State(State),
    /// The request, or the stream, failed.
    Error {
        /// Why
        why: &'a Refused,
        /// For a watch that overflowed: from where to resume
        at: Option<(u64, u64)>,
    },
}

/// Whom a message goes to.
#[derive(Debug, Clone, Copy)]
pub enum To<'a> {
    /// The one reply to a request
    Request(&'a Handle),
    /// An open stream
    Stream(&'a Handle),
}

/// Where a session's messages go: the encoder of its connection, or a test's
/// list.
///
/// A sink also keeps each stream's flow control, which is the wire's
/// business; the node only asks whether there is [room](Self::room).
pub trait Sink {
    /// Takes a message. `tock` is for messages that show no entry.
    fn send(&mut self, to: To<'_>, message: &Message<'_>, tock: Tock);

    /// A stream begins; `window` is how many of its messages may be under
    /// way unacknowledged, if the request says so.
    fn open(&mut self, stream: &Handle, window: Option<u32>);

    /// The stream's last message has been sent.
    fn close(&mut self, stream: &Handle);

    /// Whether a stream that can wait should send now.
    fn room(&self, stream: &Handle) -> bool;

    /// Bytes that wait, for the connection or for acknowledgement.
    fn waiting(&self) -> usize;
}
