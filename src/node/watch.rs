//! Streams: requests that are answered by many messages, and who must be
//! told of which change.
//!
//! A subtree's stream walks it in slices, each entry in its present state
//! when it is reached. A change below the subtree during the walk is sent at
//! once and its entry marked, so that the walk skips it: when the walk ends,
//! the receiver's copy equals the tree, although writers never waited.
//! Marks are bounded; beyond the bound an entry may be sent twice.

use std::collections::{BTreeSet, VecDeque};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::event::{Depths, Handle, Links, SessionId, Shared, Tock, Topic};
use crate::node::survey::{Roll, Survey};
use crate::node::tree::{Ix, Tree};
use crate::path::RawPath;

/// A stream's place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamIx(u32);

/// A running request.
#[derive(Debug)]
pub struct Stream {
    /// Whose it is
    pub session: SessionId,
    /// Its number there
    pub handle: Handle,
    /// What it does
    pub kind: Kind,
}

impl Stream {
    /// Whether its messages have a stream's frame.
    #[must_use]
    pub fn is_framed(&self) -> bool {
        match &self.kind {
            Kind::Subtree(_) | Kind::Monitor { .. } => true,
            Kind::Delete(deletion) => deletion.links != Links::None,
            Kind::Enum(_) | Kind::State(_) | Kind::Ticks(_) => false,
        }
    }
}

/// What a running request does.
#[derive(Debug)]
pub enum Kind {
    /// Shows a subtree, and perhaps its changes
    Subtree(Subtree),
    /// Hears messages
    Monitor {
        /// Which topics
        topic: Topic,
        /// Leave payloads as they are
        raw: bool,
    },
    /// Deletes a subtree
    Delete(Deletion),
    /// Lists children
    Enum(Listing),
    /// Tells of the bookkeeping
    State(Box<Survey>),
    /// Lists a node's ticks
    Ticks(Box<Roll>),
}

impl Kind {
    /// Whether it collects much before it answers: a session has one of
    /// these at work.
    #[must_use]
    pub const fn is_survey(&self) -> bool {
        matches!(self, Self::State(_) | Self::Ticks(_))
    }
}

/// A subtree being shown.
#[derive(Debug)]
pub struct Subtree {
    /// Its top
    pub top: Ix,
    /// Whether the request's path was empty
    pub whole: bool,
    /// Links to show
    pub links: Links,
    /// Which levels
    pub depths: Depths,
    /// Also entries without value, in the state
    pub empty: bool,
    /// Also deleted ones
    pub markers: bool,
    /// Number each change
    pub numbered: bool,
    /// Whether changes go on after the state
    pub live: bool,
    /// Answer to a request to resume
    pub resumed: Option<bool>,
    /// What is left of the state; `None` once it is complete
    pub walk: Option<Walk>,
    /// The last path sent
    pub last: LastPath,
}

impl Subtree {
    /// The shape of a message with so many elements left out and shown.
    #[inline]
    #[must_use]
    pub const fn shape(&self, depth: u32, count: u32) -> Shape {
        Shape {
            links: self.links,
            numbered: self.numbered,
            whole: self.whole,
            depth,
            count,
        }
    }
}

/// Where a walk is.
#[derive(Debug)]
pub struct Walk {
    /// The entries still to come
    pub next: Next,
    /// Entries sent because they changed, before the walk reached them
    pub marked: BTreeSet<Ix>,
}

/// What a walk visits next.
#[derive(Debug)]
pub enum Next {
    /// An entry of the subtree: the way to it from below the top, which has
    /// none
    Entry(Vec<Ix>),
    /// Entries that changed since a watch was interrupted
    Changed(VecDeque<Ix>),
    /// Nothing more
    Nothing,
}

/// Entries that one walk remembers to have sent.
const MARKS: usize = 65_536;

impl Walk {
    /// A walk that begins so.
    #[must_use]
    pub const fn new(next: Next) -> Self {
        Self {
            next,
            marked: BTreeSet::new(),
        }
    }

    /// An entry of the subtree `top`, which has no children, is about to be
    /// removed.
    fn before_removal(&mut self, tree: &Tree, top: Ix, ix: Ix) {
        self.marked.remove(&ix);
        match &mut self.next {
            Next::Nothing => {}
            Next::Changed(list) => list.retain(|i| *i != ix),
            Next::Entry(way) if way.last() == Some(&ix) => match tree.following(top, ix, true) {
                None => self.next = Next::Nothing,
                Some(next) => {
                    way.clear();
                    tree.way(top, next, way);
                }
            },
            Next::Entry(_) => {}
        }
    }

    /// The entry has just been sent.
    pub fn mark(&mut self, ix: Ix) {
        if self.marked.len() < MARKS {
            self.marked.insert(ix);
        }
    }
}

/// The path that a stream sent last: paths are sent as what differs.
#[derive(Debug, Default)]
pub struct LastPath(Vec<Ix>);

impl LastPath {
    /// An entry is about to be removed: its place may become another's. What
    /// the receiver shares with the next path ends above it.
    fn forget(&mut self, ix: Ix) {
        if let Some(at) = self.0.iter().position(|i| *i == ix) {
            self.0.truncate(at);
        }
    }

    /// Turns the way to an entry into `(elements shared, the others)`, which
    /// go to `out`.
    pub fn shorten(&mut self, tree: &Tree, way: &[Ix], out: &mut RawPath) -> (u32, u32) {
        let (shared, others) = self.advance(way);
        spell(tree, way, others, out);
        (shared, others)
    }

    /// Goes on to the entry that `way` leads to: how many elements it shares
    /// with the last one, and how many others there are.
    #[inline]
    pub fn advance(&mut self, way: &[Ix]) -> (u32, u32) {
        let shared = self.0.iter().zip(way).take_while(|(a, b)| a == b).count();
        let rest = way.get(shared..).unwrap_or(&[]);
        self.0.truncate(shared);
        self.0.extend_from_slice(rest);
        // paths are bounded far below 2^32 elements
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (count(shared), count(rest.len()))
    }
}

/// Writes a way's last `count` elements.
fn spell(tree: &Tree, way: &[Ix], count: u32, out: &mut RawPath) {
    out.clear();
    let start = way.len().saturating_sub(count as usize);
    for ix in way.get(start..).unwrap_or(&[]) {
        out.push(tree.get(*ix).key());
    }
}

/// A change that is being told to those who watch. Most get the same message:
/// it is encoded once for each shape.
#[derive(Debug, Default)]
pub struct Delivery {
    shape: Option<Shape>,
    path: RawPath,
    shared: Shared,
}

/// All that can differ between two messages about one change, but for the
/// request's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Links to show
    pub links: Links,
    /// Whether the change's number is shown
    pub numbered: bool,
    /// Whether the subtree is the session's whole tree
    pub whole: bool,
    /// How many elements of the path are left out
    pub depth: u32,
    /// How many are not
    pub count: u32,
}

impl Delivery {
    /// A change is to be told.
    pub fn begin(&mut self) {
        self.shape = None;
    }

    /// The next message has this shape; `way` leads to its entry. Returns the
    /// elements of the path and what the last message of this shape left.
    #[inline]
    pub fn next(&mut self, shape: Shape, tree: &Tree, way: &[Ix]) -> (&RawPath, &Shared) {
        if self.shape != Some(shape) {
            self.shape = Some(shape);
            self.shared.clear();
            spell(tree, way, shape.count, &mut self.path);
        }
        (&self.path, &self.shared)
    }
}

/// A subtree being deleted.
#[derive(Debug)]
pub struct Deletion {
    /// Its top
    pub top: Ix,
    /// The next entry to look at
    pub next: Option<Ix>,
    /// Only what was there at this time goes
    pub since: Tock,
    /// Links to show; none: only count
    pub links: Links,
    /// How many went
    pub count: u64,
    /// The last path sent
    pub last: LastPath,
}

/// Children being listed.
#[derive(Debug)]
pub struct Listing {
    /// The next child
    pub next: Option<Ix>,
    /// With their values
    pub with_data: bool,
    /// Also those without value
    pub empty: bool,
    /// How many there are so far
    pub count: usize,
    /// The encoded names, or names and values in turn
    pub found: Vec<u8>,
}

/// All streams, and an index of those that watch.
#[derive(Debug)]
pub struct Streams {
    slots: Vec<Option<Stream>>,
    free: Vec<StreamIx>,
    by_top: HashMap<Ix, Vec<StreamIx>, FixedState>,
    monitors: Vec<StreamIx>,
}

impl Streams {
    /// No stream. `key` is for hashing; no order depends on it.
    #[must_use]
    pub fn new(key: u64) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_top: HashMap::with_hasher(FixedState::with_seed(key)),
            monitors: Vec::new(),
        }
    }

    /// A stream.
    #[must_use]
    pub fn get(&self, ix: StreamIx) -> Option<&Stream> {
        self.slots.get(ix.0 as usize).and_then(Option::as_ref)
    }

    /// A stream, to change it.
    pub fn get_mut(&mut self, ix: StreamIx) -> Option<&mut Stream> {
        self.slots.get_mut(ix.0 as usize).and_then(Option::as_mut)
    }

    /// Adds a stream; from now on it is told of changes or messages.
    pub fn insert(&mut self, stream: Stream) -> StreamIx {
        let ix = match self.free.pop() {
            Some(ix) => ix,
            None => {
                let n = u32::try_from(self.slots.len());
                self.slots.push(None);
                StreamIx(n.expect("invariant: streams are bounded by session"))
            }
        };
        match &stream.kind {
            Kind::Subtree(subtree) => self.by_top.entry(subtree.top).or_default().push(ix),
            Kind::Monitor { .. } => self.monitors.push(ix),
            Kind::Delete(_) | Kind::Enum(_) | Kind::State(_) | Kind::Ticks(_) => {}
        }
        if let Some(slot) = self.slots.get_mut(ix.0 as usize) {
            *slot = Some(stream);
        }
        ix
    }

    /// Removes a stream.
    pub fn remove(&mut self, ix: StreamIx) -> Option<Stream> {
        let stream = self.slots.get_mut(ix.0 as usize)?.take()?;
        match &stream.kind {
            Kind::Subtree(subtree) => {
                if let Some(list) = self.by_top.get_mut(&subtree.top) {
                    list.retain(|i| *i != ix);
                    if list.is_empty() {
                        self.by_top.remove(&subtree.top);
                    }
                }
            }
            Kind::Monitor { .. } => self.monitors.retain(|i| *i != ix),
            Kind::Delete(_) | Kind::Enum(_) | Kind::State(_) | Kind::Ticks(_) => {}
        }
        self.free.push(ix);
        Some(stream)
    }

    /// Whether nobody is to be told of changes.
    #[inline]
    #[must_use]
    pub fn nobody_watches(&self) -> bool {
        self.by_top.is_empty()
    }

    /// The streams that show the subtree at `top`.
    #[must_use]
    pub fn at(&self, top: Ix) -> &[StreamIx] {
        self.by_top.get(&top).map_or(&[], Vec::as_slice)
    }

    /// Whether a stream works on the subtree at `ix`.
    #[must_use]
    pub fn is_top(&self, ix: Ix) -> bool {
        self.by_top.contains_key(&ix)
            || self
                .slots
                .iter()
                .flatten()
                .any(|stream| matches!(&stream.kind, Kind::Delete(deletion) if deletion.top == ix))
    }

    /// An entry is about to be removed: whoever was to look at it next looks
    /// at the one behind it, and nobody remembers it.
    pub fn before_removal(&mut self, tree: &Tree, ix: Ix) {
        for stream in self.slots.iter_mut().flatten() {
            match &mut stream.kind {
                // no entry is kept from slice to slice
                Kind::Monitor { .. } | Kind::State(_) | Kind::Ticks(_) => {}
                Kind::Subtree(subtree) => {
                    subtree.last.forget(ix);
                    if let Some(walk) = &mut subtree.walk {
                        walk.before_removal(tree, subtree.top, ix);
                    }
                }
                Kind::Delete(deletion) => {
                    deletion.last.forget(ix);
                    if deletion.next == Some(ix) {
                        deletion.next = tree.following(deletion.top, ix, true);
                    }
                }
                Kind::Enum(list) => {
                    if list.next == Some(ix) {
                        list.next = tree.get(ix).next_sibling();
                    }
                }
            }
        }
    }

    /// How many answers about the bookkeeping are in the making.
    #[cfg(test)]
    pub(super) fn begun_surveys(&self) -> usize {
        let kinds = self.slots.iter().flatten().map(|stream| &stream.kind);
        let begun = kinds.filter(|kind| match kind {
            Kind::State(survey) => survey.is_begun(),
            Kind::Ticks(roll) => roll.is_begun(),
            _ => false,
        });
        begun.count()
    }

    /// The streams that hear messages.
    #[must_use]
    pub fn monitors(&self) -> &[StreamIx] {
        &self.monitors
    }
}
