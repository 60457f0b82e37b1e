//! The original's rule, for machines that stand for its nodes
//! ([`node::habits`](crate::node::habits)): what decides between two events,
//! and what becomes of ticks that are called deleted.

use std::collections::BTreeMap;

use crate::event::{Event, Link, NodeIx, NodeName, TickSet};
use crate::node::habits::{Habit, Habits};
use crate::node::tree::Ix;

use super::{Applied, Replica, absent, newer};

/// What a node with the original's habits remembers beyond the others.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub(super) habits: Habits,
    /// Ticks of deletions, and of what these were built on
    deleted: BTreeMap<NodeIx, TickSet>,
    /// Ticks whose entries are to be cut off
    cuts: Vec<Link>,
}

impl Replica {
    /// The node's habits.
    #[must_use]
    pub const fn habits(&self) -> Habits {
        self.past.habits
    }

    /// Gives the node habits. It has no data yet.
    pub const fn set_habits(&mut self, habits: Habits) {
        self.past.habits = habits;
    }

    /// Takes an event in as the original does.
    pub(super) fn decide_as_original(&mut self, ix: Ix, event: &Event, links: &[Link]) -> Applied {
        let Some(new) = links.first().copied() else {
            return Applied::Ignored;
        };
        let entry = self.tree.get(ix);
        let chain = self.tree.chain(ix).0.to_vec();
        if chain.first() == Some(&new) || newer(&chain, new) {
            return Applied::Ignored;
        }
        let follows = chain.first().is_none_or(|old| newer(links, *old));
        if entry.value().is_some() && !follows && event.tock < entry.tock() {
            self.supersede(&absent(links, &chain));
            return Applied::Lost(ix);
        }
        self.take(ix, event, links, &chain);
        Applied::Changed(ix)
    }

    /// An entry has changed: if that was a deletion, its ticks are remembered.
    #[inline]
    pub(super) fn note_deletion(&mut self, ix: Ix) {
        if self.past.habits.has(Habit::DeletedKills) && self.tree.get(ix).value().is_none() {
            for link in self.tree.chain(ix).0 {
                let ticks = self.past.deleted.entry(link.node()).or_default();
                ticks.insert(link.tick().0);
            }
        }
    }

    /// Somebody calls these ticks deleted.
    pub(super) fn hear_deleted(&mut self, node: NodeIx, ticks: &TickSet) {
        if let Some(known) = self.nodes.get_mut(node) {
            let present = known.present_among(ticks);
            let cuts = present.into_iter().map(|(tick, _)| tick);
            let cuts = cuts.map(|tick| Link::new(node, crate::event::Tick(tick)));
            self.past.cuts.extend(cuts);
            known.supersede_all(ticks);
        }
        self.past.deleted.entry(node).or_default().insert_all(ticks);
    }

    /// The next tick whose entry is to be cut off, if it has one still.
    pub fn next_cut(&mut self) -> Option<Ix> {
        loop {
            let link = self.past.cuts.pop()?;
            if let Some(ix) = self.holder(link) {
                return Some(ix);
            }
        }
    }

    /// The entry whose chain has this link.
    #[must_use]
    pub fn holder(&self, link: Link) -> Option<Ix> {
        self.nodes.get(link.node())?.entry(link.tick())
    }

    /// These links are forgotten.
    pub(super) fn forget_deleted(&mut self, links: &[Link]) {
        for link in links {
            if let Some(ticks) = self.past.deleted.get_mut(&link.node()) {
                ticks.remove(link.tick().0);
            }
        }
    }

    /// Ticks of a node that this one calls deleted.
    fn called_deleted(&self, node: NodeIx) -> TickSet {
        self.past.deleted.get(&node).cloned().unwrap_or_default()
    }

    /// All ticks that this node calls deleted.
    pub(super) fn all_called_deleted(&self) -> Vec<(NodeName, TickSet)> {
        let nodes = self.nodes.iter();
        let sets = nodes.map(|(ix, name, _)| (name.clone(), self.called_deleted(ix)));
        sets.filter(|(_, set)| !set.is_empty()).collect()
    }

    /// What the original says besides `known`: those of these ticks that were
    /// part of deletions.
    #[must_use]
    pub fn called_deleted_among(&self, known: &[(NodeName, TickSet)]) -> Vec<(NodeName, TickSet)> {
        let mut deleted = Vec::new();
        for (name, ticks) in known {
            let Some(node) = self.nodes.find(name.as_str()) else {
                continue;
            };
            let called = self.called_deleted(node);
            let both: TickSet = ticks.ranges().flat_map(|r| called.within(r)).collect();
            if !both.is_empty() {
                deleted.push((name.clone(), both));
            }
        }
        deleted
    }
}
