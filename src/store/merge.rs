//! Files as one tree, without a server: to write them anew, as one, or as
//! they were, or to compare them.

use std::path::Path;

use crate::event::{Event, NodeInfo, NodeName, StateWanted, Tock};
use crate::node::journal::Change;
use crate::node::merge::Replica;
use crate::node::tree::Ix;
use crate::path::{PathRef, RawPath};
use crate::store::{Problem, Record, StoreError, records};
use crate::wire::state::{Books, Writer};

/// What of the files is taken.
#[derive(Debug, Clone, Default)]
pub struct Cut {
    /// Only entries at and below this path
    pub below: RawPath,
    /// Only what had happened at this tock
    pub tock: Option<Tock>,
    /// Only what had happened at this time, in seconds since 1970. Only this
    /// program's logs tell the time.
    pub time: Option<f64>,
    /// Whether what can be read is taken although something cannot
    pub force: bool,
}

/// What files hold together.
#[derive(Debug)]
pub struct Merged {
    replica: Replica,
    /// Whose files they were, the last one last
    pub writers: Vec<NodeName>,
    /// Records that were read
    pub records: u64,
    /// What was left out because it cannot be read
    pub problems: Vec<Problem>,
    /// Whether a file told the time
    pub has_times: bool,
}

impl Merged {
    /// Reads files, in this order.
    ///
    /// # Errors
    /// If one of them cannot be read, or is no state file, or is damaged
    /// while force is not allowed.
    pub fn read<P: AsRef<Path>>(files: &[P], cut: &Cut) -> Result<Self, StoreError> {
        let mut merged = Self {
            // nobody's: no file names a node without a name
            replica: Replica::new(&NodeName::new(""), 0, 0),
            writers: Vec::new(),
            records: 0,
            problems: Vec::new(),
            has_times: false,
        };
        for path in files {
            merged.add(path.as_ref(), cut)?;
        }
        Ok(merged)
    }

    fn add(&mut self, path: &Path, cut: &Cut) -> Result<(), StoreError> {
        let mut is_over = false;
        let mut problems = std::mem::take(&mut self.problems);
        let tell = |problem| problems.push(problem);
        let read = records(path, cut.force, tell, |_, record| {
            match record {
                Record::Event(event) => {
                    let is_late = cut.tock.is_some_and(|tock| event.tock > tock) || is_over;
                    if !is_late && event.path.as_ref().is_at_or_below(cut.below.as_ref()) {
                        self.apply(event);
                    }
                }
                Record::Books(books) => {
                    if let (Some(time), Some(limit)) = (books.time, cut.time) {
                        self.has_times = true;
                        is_over = time > limit;
                    }
                    let is_late = books.tock.zip(cut.tock).is_some_and(|(a, b)| a > b);
                    self.inform(books, is_late || is_over);
                }
            }
            Ok::<_, StoreError>(())
        });
        self.problems = problems;
        self.records += read?;
        Ok(())
    }

    fn apply(&mut self, event: &Event) {
        // a path that cannot be one is told of by whoever read it
        let _ = if event.tock == Tock(0) {
            let tock = self.replica.next_tock();
            let event = event.clone();
            self.replica.apply(&Event { tock, ..event })
        } else {
            self.replica.apply(event)
        };
    }

    fn inform(&mut self, books: &Books, is_late: bool) {
        if let Some(node) = &books.node {
            self.writers.retain(|name| name != node);
            self.writers.push(node.clone());
        }
        if !is_late {
            self.replica.saw_tock(books.tock.unwrap_or_default());
            self.replica.inform(&books.info);
        }
    }

    /// How many ticks are missing, of all nodes.
    #[must_use]
    pub fn holes(&self) -> u64 {
        self.replica.holes().map(|(_, set)| set.count()).sum()
    }

    /// The entries that have a value, or had one, in the order in which a
    /// file has them.
    pub fn entries(&self) -> impl Iterator<Item = Event> + '_ {
        let tree = self.replica.tree();
        let child = |text: &str| {
            let mut element = Vec::new();
            crate::msgpack::write::str(&mut element, text);
            tree.child(self.replica.internal(), &element)
        };
        // the original checks rules against these as it reads
        let first: Vec<Ix> = ["type", "codec"].into_iter().filter_map(child).collect();
        let skipped = first.clone();
        let others = std::iter::successors(Some(Ix::ROOT), {
            let skipped = first.clone();
            move |ix| tree.following(Ix::ROOT, *ix, !skipped.contains(ix))
        });
        let below = move |top: Ix| {
            std::iter::successors(Some(top), move |ix| tree.following(top, *ix, true))
        };
        let all = first.into_iter().flat_map(below);
        all.chain(others.filter(move |ix| !skipped.contains(ix)))
            .filter(|ix| tree.get(*ix).head().is_some())
            .map(|ix| self.replica.event(ix))
    }

    /// What one path holds: nothing if it never had anything.
    #[must_use]
    pub fn entry(&self, path: PathRef<'_>) -> Option<Event> {
        let ix = self.replica.tree().resolve(Ix::ROOT, path).ok()??;
        let event = self.replica.event(ix);
        (!event.chain.is_empty()).then_some(event)
    }

    /// Writes all of it as one file of a node's, piece by piece.
    ///
    /// # Errors
    /// Those of `put`.
    pub fn write<E>(
        &self,
        node: &NodeName,
        mut put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        const PIECE: usize = 256 << 10;
        let wanted = StateWanted {
            nodes: true,
            known: true,
            deleted: true,
            ..StateWanted::default()
        };
        let mut info: NodeInfo = self.replica.state(wanted);
        if let Some(ticks) = &mut info.ticks {
            ticks.retain(|(name, _)| !name.as_str().is_empty());
        }
        let (mut writer, mut out, mut written) = (Writer::new(), Vec::new(), 0);
        let books = Books {
            info,
            tock: Some(self.replica.tock()),
            node: Some(node.clone()),
            time: None,
        };
        writer.books(&mut out, &books);
        for event in self.entries() {
            written += 1;
            if event.value.is_some() {
                writer.entry(&mut out, &event);
            } else {
                // so that an older value which comes later stays deleted
                writer.change(&mut out, &Change::of(&event));
            }
            if out.len() >= PIECE {
                put(&out)?;
                out.clear();
            }
        }
        put(&out)?;
        Ok(written)
    }
}
