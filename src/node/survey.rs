//! The bookkeeping, told in slices: a node with a million entries has as
//! many ticks to look at.
//!
//! What was written between two slices is seen or not, as if the answer had
//! been given at the one moment or the other. But each tick of a node, up to
//! the last one it had when the survey came to it, is found to be one thing:
//! whatever is asked of a stretch of ticks is answered at once.

use crate::event::{Books, Intervals, NodeIx, NodeName, Section, StateWanted, Tick};
use crate::msgpack::write;
use crate::node::merge::Replica;
use crate::node::ticks::{Known, Look};

/// Ticks that are looked at in the time that one entry of a walk takes.
const TICKS: usize = 4;

/// An answer to `get_state` in the making.
#[derive(Debug)]
pub struct Survey {
    wanted: StateWanted,
    /// Place of the node that is looked at next
    at: u32,
    begun: Option<Begun>,
    books: Books,
}

/// A node of which a part has been looked at.
#[derive(Debug)]
struct Begun {
    name: NodeName,
    /// Its last tick when this began
    tick: Option<Tick>,
    /// The first tick that was not looked at
    from: u64,
    known: Intervals,
    present: Intervals,
    deleted: Intervals,
    missing: Intervals,
    remote_missing: Intervals,
}

impl Survey {
    /// A survey that has not begun.
    #[must_use]
    pub fn new(wanted: StateWanted) -> Self {
        let section = |wanted: bool| wanted.then(Section::default);
        let books = Books {
            nodes: section(wanted.nodes),
            known: section(wanted.known),
            present: section(wanted.present),
            deleted: section(wanted.deleted),
            missing: section(wanted.missing),
            remote_missing: section(wanted.remote_missing),
            node_drop: None,
            debug: wanted.debug,
        };
        Self {
            wanted,
            at: 0,
            begun: None,
            books,
        }
    }

    #[cfg(test)]
    pub(super) const fn is_begun(&self) -> bool {
        self.at > 0 || self.begun.is_some()
    }

    /// The answer, when the survey has come to its end.
    #[must_use]
    pub const fn books(&self) -> &Books {
        &self.books
    }

    /// Goes on for about as long as a walk of `budget` entries takes. Returns
    /// how much of that was used, and whether there is more.
    pub fn go_on(&mut self, replica: &Replica, budget: usize) -> (usize, bool) {
        let nodes = replica.nodes();
        let mut used = 0;
        while used < budget {
            let node = NodeIx(self.at);
            let Some(name) = nodes.names().get(self.at as usize) else {
                let dropped = || nodes.dropped().to_vec();
                self.books.node_drop = self.wanted.node_drop.then(dropped);
                return (used, false);
            };
            used += 1;
            let Some(known) = nodes.get(node) else {
                // it may have been forgotten when a part of it was told
                self.begun = None;
                self.at += 1;
                continue;
            };
            let begun = self.begun.take().filter(|begun| begun.name == *name);
            let mut begun = begun.unwrap_or_else(|| Begun::new(name, known));
            let ticks = budget.saturating_sub(used).saturating_mul(TICKS);
            used += self.look(replica, known, &mut begun, ticks.max(TICKS)) / TICKS;
            if begun.is_complete() || !self.wants_ticks() {
                self.tell(known, begun);
                self.at += 1;
            } else {
                self.begun = Some(begun);
            }
        }
        (used, true)
    }

    /// Whether anything is asked about single ticks.
    const fn wants_ticks(&self) -> bool {
        let wanted = &self.wanted;
        self.wants_entries() || wanted.missing || wanted.remote_missing
    }

    /// Whether entries' ticks must be looked at.
    const fn wants_entries(&self) -> bool {
        let wanted = &self.wanted;
        wanted.known || wanted.present || wanted.deleted
    }

    /// Looks at a stretch of a node's ticks. Returns how much there was.
    fn look(&self, replica: &Replica, known: &Known, begun: &mut Begun, most: usize) -> usize {
        if begun.is_complete() || !self.wants_ticks() {
            return 0;
        }
        let look = if self.wants_entries() {
            Look::All
        } else {
            Look::Missing
        };
        let part = known.part(begun.from..=begun.top(), most, look);
        let mut seen = part.present.len() + part.missing.len();
        for (tick, ix) in part.present {
            begun.present.push(tick..=tick);
            if self.wanted.deleted && replica.tree().get(ix).value().is_none() {
                begun.deleted.push(tick..=tick);
            }
        }
        for range in part.missing {
            begun.missing.push(range);
        }
        if look == Look::All {
            for range in part.superseded {
                begun.known.push(range);
            }
        }
        if self.wanted.remote_missing {
            for range in known.reported().within(begun.from..=part.upto) {
                begun.remote_missing.push(range);
                seen += 1;
            }
        }
        begun.from = part.upto.saturating_add(1);
        seen
    }

    /// All of a node has been looked at.
    fn tell(&mut self, known: &Known, mut begun: Begun) {
        // what is known ahead of the last tick is part of no stretch
        if self.wanted.known {
            let ahead = begun.top().saturating_add(1)..=u64::MAX;
            for range in known.beyond().within(ahead) {
                begun.known.push(range);
            }
        }
        let name = &begun.name;
        if let Some(nodes) = &mut self.books.nodes {
            nodes.push_tick(name, begun.tick);
        }
        for (section, ticks) in [
            (&mut self.books.known, begun.known),
            (&mut self.books.present, begun.present),
            (&mut self.books.deleted, begun.deleted),
            (&mut self.books.missing, begun.missing),
            (&mut self.books.remote_missing, begun.remote_missing),
        ] {
            if let Some(section) = section {
                section.push(name, ticks);
            }
        }
    }
}

impl Begun {
    fn new(name: &NodeName, known: &Known) -> Self {
        Self {
            name: name.clone(),
            tick: known.tick(),
            from: 1,
            known: Intervals::default(),
            present: Intervals::default(),
            deleted: Intervals::default(),
            missing: Intervals::default(),
            remote_missing: Intervals::default(),
        }
    }

    fn top(&self) -> u64 {
        self.tick.unwrap_or_default().0
    }

    fn is_complete(&self) -> bool {
        self.from > self.top()
    }
}

/// An answer to `enum_node` in the making: a node's ticks that are in chains
/// of entries, ascending.
#[derive(Debug)]
pub struct Roll {
    node: NodeName,
    /// Only such as are an entry's last change
    current: bool,
    /// How many more are wanted
    left: u64,
    /// The first tick that was not looked at
    from: u64,
    /// The last one that is looked at; `None` until this begins
    top: Option<u64>,
    /// How many were found
    count: usize,
    /// These, as they are sent
    found: Vec<u8>,
}

impl Roll {
    /// A roll that has not begun, of at most `max` ticks if that is not 0.
    #[must_use]
    pub fn new(node: &str, max: u64, current: bool) -> Self {
        Self {
            node: NodeName::new(node),
            current,
            left: if max == 0 { u64::MAX } else { max },
            from: 1,
            top: None,
            count: 0,
            found: Vec::new(),
        }
    }

    #[cfg(test)]
    pub(super) const fn is_begun(&self) -> bool {
        self.top.is_some()
    }

    /// Whose ticks these are.
    #[must_use]
    pub const fn node(&self) -> &NodeName {
        &self.node
    }

    /// The answer, when the roll has come to its end: how many ticks, and
    /// these, one after the other.
    #[must_use]
    pub fn found(&self) -> (usize, &[u8]) {
        (self.count, &self.found)
    }

    /// Goes on for about as long as a walk of `budget` entries takes. Returns
    /// how much of that was used, and whether there is more; nothing if there
    /// is no such node.
    pub fn go_on(&mut self, replica: &Replica, budget: usize) -> Option<(usize, bool)> {
        let ix = replica.nodes().find(self.node.as_str())?;
        let known = replica.nodes().get(ix)?;
        let top = *self
            .top
            .get_or_insert_with(|| known.tick().unwrap_or_default().0);
        let most = budget.saturating_mul(TICKS).max(TICKS);
        let part = known.part(self.from..=top, most, Look::Present);
        self.from = part.upto.saturating_add(1);
        let seen = part.present.len();
        for (tick, entry) in part.present {
            let head = || replica.tree().get(entry).head();
            let is_head = || head().is_some_and(|l| l.node() == ix && l.tick() == Tick(tick));
            if self.left > 0 && (!self.current || is_head()) {
                self.left -= 1;
                self.count += 1;
                write::uint(&mut self.found, tick);
            }
        }
        let used = seen / TICKS + 1;
        Some((used, self.left > 0 && self.from <= top))
    }
}
