//! Changes that are to be logged, in the order in which they happened.

use crate::event::{ChainEnd, Event, NamedLink, Tock};
use crate::node::merge::Replica;
use crate::node::tree::Ix;
use crate::path::{PathRef, RawPath};

/// Changes that have not been logged. Its room is used again: many changes a
/// second pass through it.
#[derive(Debug, Default)]
pub struct Journal {
    changes: Vec<Entry>,
    /// Their paths and values, in turn
    bytes: Vec<u8>,
    links: Vec<NamedLink>,
    /// Room for an entry's place
    way: Vec<Ix>,
}

/// Where in the journal the parts of a change end; they begin where those of
/// the one before do.
#[derive(Debug, Clone, Copy)]
struct Entry {
    path: usize,
    value: usize,
    links: usize,
    has_value: bool,
    end: ChainEnd,
    tock: Tock,
}

/// One change: the state of an entry behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// Where
    pub path: PathRef<'a>,
    /// Who made it, and who those before it that it follows
    pub chain: &'a [NamedLink],
    /// Whether older links were left out
    pub end: ChainEnd,
    /// Its tock
    pub tock: Tock,
    /// The encoded value, if it is no deletion
    pub value: Option<&'a [u8]>,
}

impl<'a> Change<'a> {
    /// A change as an event.
    #[must_use]
    pub fn of(event: &'a Event) -> Self {
        Self {
            path: event.path.as_ref(),
            chain: &event.chain,
            end: event.end,
            tock: event.tock,
            value: event.value.as_deref(),
        }
    }

    /// The same on its own.
    #[must_use]
    pub fn to_event(&self) -> Event {
        let mut path = RawPath::new();
        path.push(self.path.bytes());
        Event {
            path,
            chain: self.chain.to_vec(),
            end: self.end,
            tock: self.tock,
            value: self.value.map(Into::into),
        }
    }
}

impl Journal {
    /// Whether nothing waits to be logged.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// An entry has changed.
    pub(super) fn push(&mut self, replica: &Replica, ix: Ix) {
        let tree = replica.tree();
        self.way.clear();
        tree.way(Ix::ROOT, ix, &mut self.way);
        for at in &self.way {
            self.bytes.extend_from_slice(tree.get(*at).key());
        }
        let path = self.bytes.len();
        let entry = tree.get(ix);
        if let Some(value) = entry.value() {
            self.bytes.extend_from_slice(value);
        }
        let (links, end) = tree.chain(ix);
        self.links.extend(replica.name_links(links));
        self.changes.push(Entry {
            path,
            value: self.bytes.len(),
            links: self.links.len(),
            has_value: entry.value().is_some(),
            end,
            tock: entry.tock(),
        });
    }

    /// The changes, oldest first.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        let (mut at, mut link) = (0, 0);
        self.changes.iter().map(move |entry| {
            let part = |from, to| self.bytes.get(from..to).unwrap_or(&[]);
            let change = Change {
                path: PathRef::new(part(at, entry.path)),
                chain: self.links.get(link..entry.links).unwrap_or(&[]),
                end: entry.end,
                tock: entry.tock,
                value: entry.has_value.then(|| part(entry.path, entry.value)),
            };
            (at, link) = (entry.value, entry.links);
            change
        })
    }

    /// All of them have been logged.
    pub fn clear(&mut self) {
        self.changes.clear();
        self.bytes.clear();
        self.links.clear();
        // one great turn is no reason to keep its room
        self.changes.shrink_to(KEPT);
        self.bytes.shrink_to(KEPT * 64);
        self.links.shrink_to(KEPT);
    }
}

/// Changes that there is always room for.
const KEPT: usize = 4096;
