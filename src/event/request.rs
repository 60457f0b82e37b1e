//! What a client can ask for, after its form has been checked.

use crate::event::{Event, FileJob, NodeInfo, NodeName, Tick, TickSet};
use crate::msgpack::Small;
use crate::path::PathRef;

/// The number a client gave its request, which all replies carry: any
/// object, encoded in its shortest form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(Small);

impl Handle {
    /// From the encoded object.
    #[inline]
    #[must_use]
    pub fn new(encoded: &[u8]) -> Self {
        Self(Small::new(encoded))
    }

    /// The encoded object.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// Appends the encoded object.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        self.0.append_to(out);
    }
}

/// Which tree a path is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// The session's root
    User,
    /// Below the store's first element `null`
    Internal,
}

/// How many links of a chain a reply shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// No chain at all
    None,
    /// The newest ones, at most that many
    Newest(u32),
    /// The whole chain
    All,
}

/// What an entry's last change must be, for a write to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect<'a> {
    /// There must be no value.
    New,
    /// The newest link must be this.
    Link(&'a str, Tick),
}

/// An entry, by place or by history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// By path
    Path(PathRef<'a>),
    /// The entry whose chain holds this event
    Event(&'a str, Tick),
}

/// A write or, without value, a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write<'a> {
    /// Which tree
    pub space: Space,
    /// The entry
    pub path: PathRef<'a>,
    /// The encoded value, checked; `None` deletes
    pub value: Option<&'a [u8]>,
    /// Links to show
    pub links: Links,
    /// What the last change must be
    pub expect: Option<Expect<'a>>,
    /// What the stored value must equal
    pub prev: Option<&'a [u8]>,
    /// Do nothing if type and value are the same
    pub idem: bool,
}

/// Which levels below a path are meant; both ends count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depths {
    /// Least distance from the path
    pub min: u32,
    /// Greatest distance
    pub max: u32,
}

impl Depths {
    /// All of them.
    pub const ALL: Self = Self {
        min: 0,
        max: u32::MAX,
    };

    /// Whether `depth` is among them.
    #[must_use]
    pub const fn contain(self, depth: u32) -> bool {
        self.min <= depth && depth <= self.max
    }
}

/// What `get_state` is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)] // each is a part of the reply, named as there
#[allow(clippy::struct_excessive_bools)] // independent switches of the request
pub struct StateWanted {
    pub nodes: bool,
    pub known: bool,
    pub present: bool,
    pub deleted: bool,
    pub missing: bool,
    pub remote_missing: bool,
    pub node_drop: bool,
    pub debug: bool,
}

/// A topic of the message broker: its levels, as texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic(pub Vec<String>);

/// One request, its fields checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Request<'a> {
    /// One entry
    Get {
        /// Which tree
        space: Space,
        /// Which entry
        target: Target<'a>,
        /// Links to show
        links: Links,
    },
    /// Change or delete one entry
    Write(Write<'a>),
    /// The children of an entry
    Enum {
        /// Which tree
        space: Space,
        /// Whose children
        path: PathRef<'a>,
        /// With their values
        with_data: bool,
        /// Also those without value
        empty: bool,
    },
    /// A subtree
    GetTree {
        /// Which tree
        space: Space,
        /// Its top
        path: PathRef<'a>,
        /// Links to show
        links: Links,
        /// Which levels
        depths: Depths,
        /// Also entries without value
        empty: bool,
        /// Also entries without value that have a chain: deleted ones
        markers: bool,
        /// Messages that may be under way unacknowledged
        window: Option<u32>,
    },
    /// The changes of a subtree
    Watch {
        /// Its top
        path: PathRef<'a>,
        /// Links to show
        links: Links,
        /// Which levels
        depths: Depths,
        /// Send the present state first
        fetch: bool,
        /// Also entries without value, in the state
        empty: bool,
        /// Go on behind this change: the node's run and the number
        resume: Option<(u64, u64)>,
        /// Number each change
        numbered: bool,
        /// Messages that may be under way unacknowledged
        window: Option<u32>,
    },
    /// Delete a subtree
    DeleteTree {
        /// Its top
        path: PathRef<'a>,
        /// Links to show; none: only count
        links: Links,
    },
    /// Make a node this session's root
    Root(PathRef<'a>),
    /// Only a tock
    GetTock,
    /// The node's bookkeeping
    GetState(StateWanted),
    /// The network as the node sees it
    Members,
    /// A node's ticks that are in use
    EnumNode {
        /// Which node
        node: &'a str,
        /// At most that many; 0: all
        max: u64,
        /// Only newest links
        current: bool,
    },
    /// Forget a node
    KillNode(&'a str),
    /// Which of these ticks are deleted here
    CheckDeleted(Vec<(NodeName, TickSet)>),
    /// Act as if a peer had said this; or say it to the peers
    FakeInfo {
        /// What is said
        info: Box<NodeInfo>,
        /// Say it instead
        send: bool,
    },
    /// Act as if a peer had sent this change
    Update(Box<Event>),
    /// Publish a message
    MsgSend {
        /// Where
        topic: Topic,
        /// The payload
        payload: Vec<u8>,
    },
    /// Hear messages
    MsgMonitor {
        /// Which topics; `+` and `#` as in MQTT
        topic: Topic,
        /// Leave payloads as they are
        raw: bool,
        /// Messages that may be under way unacknowledged
        window: Option<u32>,
    },
    /// See to the files that the node writes
    File(FileJob),
    /// End a running request
    Stop(Handle),
}

impl Request<'_> {
    /// Whether it is answered by a stream, which has a frame even if it
    /// fails at once.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        matches!(
            self,
            Self::GetTree { .. } | Self::Watch { .. } | Self::MsgMonitor { .. }
        )
    }
}
