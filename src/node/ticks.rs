//! Which nodes there are, and what is known of their ticks.
//!
//! Each tick of a node, up to the highest one seen, is exactly one of:
//! *present* (in the chain of an entry held here), *missing* (never seen),
//! or *superseded* (of no further interest). Present ticks are indexed,
//! missing ones are kept as intervals, and whatever is neither is
//! superseded: so a write costs no set operation, and a node with unbroken
//! ticks costs next to nothing. *Deleted* ticks are the present ones of
//! entries without value. Ticks declared superseded beyond the highest one
//! seen are kept apart until it gets there.

mod index;

use std::ops::RangeInclusive;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::event::{Link, NodeIx, NodeName, Tick, TickSet};
use crate::node::rng::scramble;
use crate::node::tree::Ix;

use index::Index;

/// What is known of one node.
#[derive(Debug)]
pub struct Known {
    /// The highest tick seen; `None` until the first.
    tick: Option<Tick>,
    missing: TickSet,
    /// Superseded ticks beyond `tick`
    beyond: TickSet,
    reported: TickSet,
    present: Index,
    /// Whether an entry's chain has ever named it
    owned: bool,
}

impl Known {
    fn new(key: FixedState) -> Self {
        Self {
            owned: false,
            tick: None,
            missing: TickSet::new(),
            beyond: TickSet::new(),
            reported: TickSet::new(),
            present: Index::new(key),
        }
    }

    /// The highest tick seen; `None` until the first.
    #[must_use]
    pub const fn tick(&self) -> Option<Tick> {
        self.tick
    }

    /// Ticks that were never seen although later ones were.
    #[must_use]
    pub const fn missing(&self) -> &TickSet {
        &self.missing
    }

    /// Ticks that somebody else lacks.
    #[must_use]
    pub const fn reported(&self) -> &TickSet {
        &self.reported
    }

    /// The entry whose chain holds this tick.
    #[inline]
    #[must_use]
    pub fn entry(&self, tick: Tick) -> Option<Ix> {
        self.present.get(tick.0)
    }

    /// Present ticks and their entries, ascending.
    #[must_use]
    pub fn present(&self) -> Vec<(u64, Ix)> {
        let mut list = Vec::new();
        self.each_present(|tick, ix| list.push((tick, ix)));
        list
    }

    /// Shows each present tick and its entry, ascending.
    pub fn each_present(&self, f: impl FnMut(u64, Ix)) {
        self.present.each(f);
    }

    /// What the ticks of an interval are: those of its beginning, if it has
    /// more than `most` (not 0) ticks or intervals of a kind.
    #[must_use]
    pub fn part(&self, within: RangeInclusive<u64>, most: usize, look: Look) -> Part {
        let (from, mut upto) = within.into_inner();
        let mut missing = Vec::new();
        if look != Look::Present {
            for range in self.missing.within(from..=upto) {
                if missing.len() == most {
                    upto = *range.start() - 1;
                    break;
                }
                missing.push(range);
            }
        }
        let mut present = Vec::new();
        if look != Look::Missing && from <= upto {
            self.present.each_from(from, |tick, ix| {
                if tick <= upto && present.len() == most {
                    upto = tick - 1;
                }
                let wanted = tick <= upto;
                if wanted {
                    present.push((tick, ix));
                }
                wanted
            });
        }
        // none reaches beyond the tick that was one too many: that is present
        missing.retain(|range| *range.start() <= upto);
        let superseded = match look {
            Look::All => between(from..=upto, &present, &missing),
            Look::Present | Look::Missing => Vec::new(),
        };
        Part {
            upto,
            present,
            missing,
            superseded,
        }
    }

    /// Those of some ticks that an entry's chain holds, with the entry.
    #[must_use]
    pub fn present_among(&self, ticks: &TickSet) -> Vec<(u64, Ix)> {
        // looking each one up is cheap as long as they are few
        const FEW_TICKS: u64 = 64;
        let top = self.tick.unwrap_or_default().0;
        let mut list = Vec::new();
        for range in ticks.within(0..=top) {
            let (from, to) = range.into_inner();
            if to - from < FEW_TICKS {
                let found = (from..=to).filter_map(|tick| Some((tick, self.present.get(tick)?)));
                list.extend(found);
            } else {
                self.present.each_from(from, |tick, ix| {
                    let wanted = tick <= to;
                    if wanted {
                        list.push((tick, ix));
                    }
                    wanted
                });
            }
        }
        list
    }

    /// Nobody lacks these any more.
    pub fn answered(&mut self, ticks: &TickSet) {
        self.reported.remove_all(ticks);
    }

    /// Ticks of no further interest.
    #[must_use]
    pub fn superseded(&self) -> TickSet {
        let top = self.tick.unwrap_or_default().0;
        let seen = self.part(1..=top, usize::MAX, Look::All).superseded;
        seen.into_iter().chain(self.beyond.ranges()).collect()
    }

    /// Ticks of no further interest beyond the highest one seen.
    #[must_use]
    pub const fn beyond(&self) -> &TickSet {
        &self.beyond
    }

    /// A tick up to this one exists: those never seen are missing.
    #[inline]
    pub fn learn(&mut self, tick: Tick) {
        let seen = self.tick.unwrap_or_default().0;
        if tick.0 == seen + 1 && self.beyond.is_empty() {
            self.missing.insert(tick.0);
        } else if tick.0 > seen {
            self.missing.insert_range(seen + 1..=tick.0);
            if !self.beyond.is_empty() {
                let known: Vec<_> = self.beyond.ranges().collect();
                for range in known.into_iter().filter(|r| *r.start() <= tick.0) {
                    self.missing.remove_range(range.clone());
                    self.beyond
                        .remove_range(*range.start()..=tick.0.min(*range.end()));
                }
            }
        }
        self.tick = Some(self.tick.map_or(tick, |seen| seen.max(tick)));
    }

    /// The chain of the entry at `ix` holds this tick.
    #[inline]
    pub fn hold(&mut self, tick: Tick, ix: Ix) {
        let fresh = tick.0 == self.tick.unwrap_or_default().0 + 1 && self.beyond.is_empty();
        if fresh && self.reported.is_empty() {
            self.tick = Some(tick);
        } else {
            self.hold_any(tick);
        }
        self.owned = true;
        self.present.insert(tick.0, ix);
    }

    #[inline(never)] // a node's own ticks are fresh
    fn hold_any(&mut self, tick: Tick) {
        self.learn(tick);
        self.missing.remove(tick.0);
        self.reported.remove(tick.0);
    }

    /// The chain of the entry at `ix` does not hold this tick any more.
    #[inline]
    pub fn release(&mut self, tick: Tick, ix: Ix) {
        self.present.remove(tick.0, ix);
    }

    /// This tick is of no further interest, unless an entry holds it.
    pub fn supersede(&mut self, tick: Tick) {
        if tick.0 > self.tick.unwrap_or_default().0 {
            self.beyond.insert(tick.0);
        } else {
            self.missing.remove(tick.0);
        }
        self.reported.remove(tick.0);
    }

    /// As [`Known::supersede`], for intervals.
    pub fn supersede_all(&mut self, ticks: &TickSet) {
        let seen = self.tick.unwrap_or_default().0;
        for range in ticks.ranges() {
            self.missing.remove_range(range.clone());
            self.reported.remove_range(range.clone());
            self.beyond
                .insert_range((seen + 1).max(*range.start())..=*range.end());
        }
        // present ticks of these ranges stay present: they are no part of
        // what is kept as missing or beyond, but for those above `seen`
        for set in [&mut self.missing, &mut self.reported, &mut self.beyond] {
            set.shrink();
        }
    }

    /// Somebody else lacks these. Ticks that were never heard of are left
    /// out: nothing can be said of them here.
    pub fn report(&mut self, ticks: &TickSet) {
        let seen = self.tick.unwrap_or_default().0;
        for range in ticks.ranges() {
            self.reported
                .insert_range(*range.start()..=(*range.end()).min(seen));
        }
    }
}

/// Which ticks are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// All of them
    All,
    /// Those in an entry's chain
    Present,
    /// Those never seen
    Missing,
}

/// What the ticks of an interval are: each is one of three, as far as they
/// were looked for.
#[derive(Debug)]
pub struct Part {
    /// The interval's last tick; what is behind it was not looked at
    pub upto: u64,
    /// Those in an entry's chain, and the entry
    pub present: Vec<(u64, Ix)>,
    /// Those never seen
    pub missing: Vec<RangeInclusive<u64>>,
    /// Those of no further interest
    pub superseded: Vec<RangeInclusive<u64>>,
}

/// What of an interval is in neither of two ascending lists, which have no
/// tick in common.
fn between(
    within: RangeInclusive<u64>,
    ticks: &[(u64, Ix)],
    ranges: &[RangeInclusive<u64>],
) -> Vec<RangeInclusive<u64>> {
    let mut ticks = ticks.iter().map(|(tick, _)| *tick..=*tick).peekable();
    let mut ranges = ranges.iter().cloned().peekable();
    let (mut next, last) = within.into_inner();
    let mut gaps = Vec::new();
    loop {
        let taken = match (ticks.peek(), ranges.peek()) {
            (Some(a), Some(b)) if a.start() > b.start() => ranges.next(),
            (Some(_), _) => ticks.next(),
            (None, _) => ranges.next(),
        };
        let Some(taken) = taken else { break };
        if *taken.start() > next {
            gaps.push(next..=*taken.start() - 1);
        }
        next = taken.end().saturating_add(1);
    }
    if next <= last {
        gaps.push(next..=last);
    }
    gaps
}

/// The table of nodes.
#[derive(Debug)]
pub struct Nodes {
    names: Vec<NodeName>,
    /// What stands for a name in [`Nodes::mark`]
    marks: Vec<u64>,
    known: Vec<Option<Known>>,
    by_name: HashMap<NodeName, NodeIx, FixedState>,
    free: Vec<NodeIx>,
    dropped: Vec<NodeName>,
    /// Where the search for a name to forget goes on
    hand: usize,
    /// The place that was asked for last
    last: NodeIx,
    key: FixedState,
}

/// Names without any entry that are remembered.
const IDLE_NAMES: usize = 65_536;
/// Names of forgotten nodes that are remembered.
const DROPPED_NAMES: usize = 1024;

impl Nodes {
    /// No node yet.
    #[must_use]
    pub fn new(key: u64) -> Self {
        let key = FixedState::with_seed(key);
        Self {
            names: Vec::new(),
            marks: Vec::new(),
            known: Vec::new(),
            by_name: HashMap::with_hasher(key.clone()),
            free: Vec::new(),
            dropped: Vec::new(),
            hand: 0,
            last: NodeIx(0),
            key,
        }
    }

    /// The place of a name, given to it if it has none.
    #[inline]
    pub fn ensure(&mut self, name: &str) -> NodeIx {
        // files and neighbours tell many events of one node in a row
        let n = self.last.0 as usize;
        if self.names.get(n).is_some_and(|n| n.as_str() == name)
            && self.known.get(n).is_some_and(Option::is_some)
        {
            return self.last;
        }
        self.last = self.ensure_any(name);
        self.last
    }

    fn ensure_any(&mut self, name: &str) -> NodeIx {
        let name = NodeName::new(name);
        if let Some(ix) = self.by_name.get(&name) {
            return *ix;
        }
        self.dropped.retain(|n| *n != name);
        if self.by_name.len() > IDLE_NAMES {
            self.forget_an_idle_one();
        }
        let known = Some(Known::new(self.key.clone()));
        let mark = mark_of(name.as_str());
        let ix = match self.free.pop() {
            Some(ix) => {
                let n = ix.0 as usize;
                if let (Some(slot), Some(k), Some(m)) = (
                    self.names.get_mut(n),
                    self.known.get_mut(n),
                    self.marks.get_mut(n),
                ) {
                    *slot = name.clone();
                    *k = known;
                    *m = mark;
                }
                ix
            }
            None => {
                let n = u32::try_from(self.names.len());
                let ix = NodeIx(n.expect("invariant: the number of nodes is bounded"));
                self.names.push(name.clone());
                self.marks.push(mark);
                self.known.push(known);
                ix
            }
        };
        self.by_name.insert(name, ix);
        ix
    }

    /// The place of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<NodeIx> {
        self.by_name.get(&NodeName::new(name)).copied()
    }

    /// The name at a place.
    #[must_use]
    #[allow(clippy::indexing_slicing)] // places come from this table
    pub fn name(&self, ix: NodeIx) -> &NodeName {
        &self.names[ix.0 as usize]
    }

    /// All names, by place.
    #[must_use]
    pub fn names(&self) -> &[NodeName] {
        &self.names
    }

    /// What is known of a node.
    #[inline]
    #[must_use]
    pub fn get(&self, ix: NodeIx) -> Option<&Known> {
        self.known.get(ix.0 as usize).and_then(Option::as_ref)
    }

    /// What is known of a node, to change it.
    #[inline]
    pub fn get_mut(&mut self, ix: NodeIx) -> Option<&mut Known> {
        self.known.get_mut(ix.0 as usize).and_then(Option::as_mut)
    }

    /// The nodes and what is known of them, in the order in which they were
    /// met (but for places that were used again).
    pub fn iter(&self) -> impl Iterator<Item = (NodeIx, &NodeName, &Known)> {
        (0u32..)
            .zip(self.names.iter().zip(&self.known))
            .filter_map(|(n, (name, known))| known.as_ref().map(|known| (NodeIx(n), name, known)))
    }

    /// Makes room for one more name, if there is one that no entry's chain
    /// has ever named: the one met longest ago, or nearly.
    fn forget_an_idle_one(&mut self) {
        // the own name is the first, and stays
        const LOOKED_AT: usize = 256;
        for _ in 0..LOOKED_AT {
            self.hand = if self.hand + 1 < self.known.len() {
                self.hand + 1
            } else {
                1
            };
            if let Some(slot) = self.known.get_mut(self.hand)
                && slot.as_ref().is_some_and(|known| !known.owned)
            {
                *slot = None;
                if let (Some(name), Ok(n)) = (self.names.get(self.hand), u32::try_from(self.hand)) {
                    self.by_name.remove(name);
                    self.free.push(NodeIx(n));
                }
                return;
            }
        }
    }

    /// Forgets a node that no chain names any more.
    pub fn forget(&mut self, ix: NodeIx) {
        let n = ix.0 as usize;
        if let (Some(name), Some(known)) = (self.names.get(n), self.known.get_mut(n))
            && known.take().is_some()
        {
            self.by_name.remove(name);
            if !self.dropped.contains(name) {
                if self.dropped.len() >= DROPPED_NAMES {
                    self.dropped.remove(0);
                }
                self.dropped.push(name.clone());
            }
            self.free.push(ix);
        }
    }

    /// A number that stands for an event wherever it is known: the same on
    /// all nodes, different for different events.
    #[inline]
    #[must_use]
    pub fn mark(&self, link: Link) -> u64 {
        let name = self.marks.get(link.node().0 as usize);
        scramble(name.copied().unwrap_or_default() ^ link.tick().0)
    }

    /// Nodes that were forgotten and not heard of since.
    #[must_use]
    pub fn dropped(&self) -> &[NodeName] {
        &self.dropped
    }
}

fn mark_of(name: &str) -> u64 {
    // FNV-1a; what it must do is to be the same everywhere
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    scramble(name.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known() -> Known {
        Known::new(FixedState::with_seed(1))
    }

    fn ranges(set: &TickSet) -> Vec<(u64, u64)> {
        set.ranges().map(|r| (*r.start(), *r.end())).collect()
    }

    #[test]
    fn a_gap_is_missing_until_it_is_filled_or_declared_uninteresting() {
        let mut k = known();
        k.hold(Tick(5), Ix::ROOT);
        assert_eq!(ranges(k.missing()), [(1, 4)]);
        k.hold(Tick(2), Ix::ROOT);
        k.supersede(Tick(3));
        assert_eq!(ranges(k.missing()), [(1, 1), (4, 4)]);
        assert_eq!(ranges(&k.superseded()), [(3, 3)]);
        k.release(Tick(2), Ix::ROOT);
        assert_eq!(ranges(&k.superseded()), [(2, 3)]);
    }

    #[test]
    fn what_is_declared_ahead_counts_when_it_is_reached() {
        let mut k = known();
        k.learn(Tick(10));
        k.supersede_all(&TickSet::from_iter([1..=10, 12..=13, 99..=99]));
        assert_eq!(ranges(&k.superseded()), [(1, 10), (12, 13), (99, 99)]);
        k.learn(Tick(15));
        assert_eq!(ranges(k.missing()), [(11, 11), (14, 15)]);
        assert_eq!(ranges(&k.superseded()), [(1, 10), (12, 13), (99, 99)]);
    }

    #[test]
    fn another_entry_cannot_release_a_tick() {
        let mut k = known();
        let other = Ix::from_number(7);
        k.hold(Tick(1), other);
        k.release(Tick(1), Ix::ROOT);
        assert_eq!(k.entry(Tick(1)), Some(other));
    }

    #[test]
    fn a_forgotten_place_is_used_again() {
        let mut nodes = Nodes::new(1);
        let a = nodes.ensure("a");
        let b = nodes.ensure("b");
        nodes.forget(a);
        assert_eq!(nodes.find("a"), None);
        assert_eq!(nodes.dropped(), [NodeName::new("a")]);
        assert_eq!(nodes.ensure("c"), a);
        assert_eq!(nodes.ensure("a").0, 2);
        assert!(nodes.dropped().is_empty(), "heard of again");
        assert_eq!(nodes.find("b"), Some(b));
    }

    proptest! {
        #[test]
        fn every_tick_is_exactly_one_of_three(
            ops in prop::collection::vec((1u64..60, 0u8..4), 0..60),
            most in 1usize..5,
        ) {
            let mut k = known();
            for (tick, op) in ops {
                match op {
                    0 => k.hold(Tick(tick), Ix::ROOT),
                    1 => k.release(Tick(tick), Ix::ROOT),
                    2 => k.supersede(Tick(tick)),
                    _ => k.learn(Tick(tick)),
                }
                let superseded = k.superseded();
                // and looked at in parts they are the same
                let top = k.tick().unwrap_or_default().0;
                let (mut from, mut parts) = (1, [const { Vec::new() }; 3]);
                while from <= top {
                    let part = k.part(from..=top, most, Look::All);
                    prop_assert!(part.upto >= from && part.present.len() <= most);
                    let present = part.present.iter().map(|(tick, _)| *tick..=*tick);
                    parts[0].extend(present);
                    parts[1].extend(part.missing);
                    parts[2].extend(part.superseded);
                    from = part.upto + 1;
                }
                let [present, missing, gone] = parts.map(TickSet::from_iter);
                prop_assert_eq!(&missing, k.missing());
                let mut seen = superseded.clone();
                seen.remove_all(k.beyond());
                prop_assert_eq!(gone, seen);
                let held = (1..=top).filter(|t| k.entry(Tick(*t)).is_some()).map(|t| t..=t);
                prop_assert_eq!(present, held.collect());
                for t in 1..=k.tick().unwrap_or_default().0 {
                    let held = k.entry(Tick(t)).is_some();
                    let n = usize::from(held)
                        + usize::from(k.missing().contains(t))
                        + usize::from(superseded.contains(t));
                    prop_assert_eq!(n, 1, "tick {}", t);
                }
            }
        }
    }

    #[test]
    fn invented_names_push_each_other_out_and_no_others() {
        let mut nodes = Nodes::new(1);
        let me = nodes.ensure("me");
        let owner = nodes.ensure("owner");
        nodes
            .get_mut(owner)
            .unwrap()
            .hold(Tick(1), Ix::from_number(7));
        for n in 0..100_000 {
            nodes.ensure(&format!("bogus {n}"));
        }
        assert!(nodes.iter().count() <= IDLE_NAMES + 2);
        assert_eq!(
            (nodes.find("me"), nodes.find("owner")),
            (Some(me), Some(owner))
        );
        assert!(nodes.find("bogus 99999").is_some());
        assert!(nodes.find("bogus 0").is_none());
        assert!(nodes.dropped().is_empty(), "nobody is told of them");
    }
}
