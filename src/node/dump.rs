//! Everything a node has, told for a file, in slices between which the node
//! goes on.
//!
//! First the bookkeeping, then each entry in its present state when the walk
//! comes to it, then the bookkeeping once more. Changes that happen meanwhile
//! are not told again: who writes the file writes them as well, in between.
//! All of it together is the node's state at the end, whatever order events
//! are taken in.

use crate::event::{Books, Chain, Sink, StateWanted, Tock};
use crate::node::Machine;
use crate::node::merge::Replica;
use crate::node::survey::Survey;
use crate::node::tree::{Ix, Tree};
use crate::path::{PathRef, RawPath};

/// What a dump is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Only the bookkeeping, once
    Books,
    /// Everything
    All,
    /// Everything but the internal data
    User,
}

/// One thing that is told.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    /// Each node's last tick, and the ticks of no further interest
    Books(&'a Books),
    /// An entry that has a value, or had one whose deletion is remembered
    Entry {
        /// Where it is
        path: PathRef<'a>,
        /// Its chain
        chain: Chain<'a>,
        /// Its tock
        tock: Tock,
        /// Its encoded value, if it was not deleted
        value: Option<&'a [u8]>,
    },
}

/// How many bytes of values take the time of one entry more.
const BYTES: usize = 4096;

/// A dump under way.
#[derive(Debug)]
pub struct Dump {
    scope: Scope,
    phase: Phase,
    way: Way,
}

#[derive(Debug)]
enum Phase {
    /// The bookkeeping, before the entries or behind them
    Books(Box<Survey>, Order),
    /// Entries, this one next
    Entries(Ix),
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    First,
    Last,
}

impl Dump {
    /// A dump that has not begun.
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        let order = match scope {
            Scope::Books => Order::Last,
            Scope::All | Scope::User => Order::First,
        };
        Self {
            scope,
            phase: Phase::Books(survey(), order),
            way: Way::default(),
        }
    }

    /// Goes on for about as long as a walk of `budget` entries takes. Returns
    /// whether there is more.
    pub fn go_on(
        &mut self,
        replica: &Replica,
        budget: usize,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> bool {
        let mut left = budget;
        while left > 0 {
            match &mut self.phase {
                Phase::Over => return false,
                Phase::Books(survey, order) => {
                    let (used, more) = survey.go_on(replica, left);
                    left = left.saturating_sub(used.max(1));
                    if more {
                        continue;
                    }
                    tell(Told::Books(survey.books()));
                    self.phase = match order {
                        Order::First => Phase::Entries(Ix::ROOT),
                        Order::Last => Phase::Over,
                    };
                }
                Phase::Entries(ix) => {
                    let ix = *ix;
                    let hidden = self.scope == Scope::User && ix == replica.internal();
                    if !hidden {
                        let bytes = self.tell_entry(replica, ix, tell);
                        left = left.saturating_sub(bytes / BYTES);
                    }
                    left = left.saturating_sub(1);
                    self.phase = match replica.tree().following(Ix::ROOT, ix, !hidden) {
                        Some(next) => Phase::Entries(next),
                        None => Phase::Books(survey(), Order::Last),
                    };
                }
            }
        }
        !matches!(self.phase, Phase::Over)
    }

    /// Tells of an entry, if there is something to tell. Returns how many
    /// bytes its value has.
    fn tell_entry(&mut self, replica: &Replica, ix: Ix, tell: &mut dyn FnMut(Told<'_>)) -> usize {
        let tree = replica.tree();
        let path = self.way.go_to(tree, ix);
        let (links, end) = tree.chain(ix);
        if links.is_empty() {
            return 0;
        }
        let entry = tree.get(ix);
        tell(Told::Entry {
            path,
            chain: Chain {
                links,
                end,
                names: replica.nodes().names(),
            },
            tock: entry.tock(),
            value: entry.value(),
        });
        entry.value().map_or(0, <[u8]>::len)
    }

    /// An entry, which has no children, is about to be removed.
    pub fn before_removal(&mut self, tree: &Tree, ix: Ix) {
        self.way.forget(ix);
        if let Phase::Entries(next) = &mut self.phase
            && *next == ix
        {
            self.phase = match tree.following(Ix::ROOT, ix, true) {
                Some(next) => Phase::Entries(next),
                None => Phase::Books(survey(), Order::Last),
            };
        }
    }
}

impl<K: Sink> Machine<K> {
    /// Begins to tell everything for a file; ends what was told before.
    pub fn begin_dump(&mut self, scope: Scope) {
        self.dump = Some(Box::new(Dump::new(scope)));
    }

    /// Tells on, for about as long as a walk of `budget` entries takes.
    /// Returns whether there is more.
    pub fn dump(&mut self, budget: usize, tell: &mut dyn FnMut(Told<'_>)) -> bool {
        let more = match &mut self.dump {
            Some(dump) => dump.go_on(&self.replica, budget, tell),
            None => false,
        };
        if !more {
            self.dump = None;
        }
        more
    }
}

fn survey() -> Box<Survey> {
    Box::new(Survey::new(StateWanted {
        nodes: true,
        known: true,
        ..StateWanted::default()
    }))
}

/// The way to the entry a walk is at, with its path.
#[derive(Debug, Default)]
struct Way {
    /// Entries from below the root on, and where their elements end
    steps: Vec<(Ix, usize)>,
    path: RawPath,
    /// Room for a way that is not known
    found: Vec<Ix>,
}

impl Way {
    fn go_to(&mut self, tree: &Tree, ix: Ix) -> PathRef<'_> {
        let parent = tree.get(ix).parent();
        while self.steps.last().is_some_and(|(at, _)| Some(*at) != parent) {
            self.steps.pop();
        }
        self.path
            .truncate(self.steps.last().map_or(0, |(_, end)| *end));
        if self.steps.is_empty() {
            self.found.clear();
            tree.way(Ix::ROOT, ix, &mut self.found);
            for at in &self.found {
                self.path.push(tree.get(*at).key());
                self.steps.push((*at, self.path.as_ref().bytes().len()));
            }
        } else {
            self.path.push(tree.get(ix).key());
            self.steps.push((ix, self.path.as_ref().bytes().len()));
        }
        self.path.as_ref()
    }

    /// The place of this entry may become another's.
    fn forget(&mut self, ix: Ix) {
        if let Some(at) = self.steps.iter().position(|(i, _)| *i == ix) {
            self.steps.truncate(at);
        }
    }
}
