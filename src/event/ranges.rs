//! Sets of ticks, as intervals.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A set of ticks that takes memory by its gaps, not by its size.
///
/// Intervals neither touch nor overlap; each is found by its last tick, so
/// that taking ticks away from its beginning, as they turn up in order, moves
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TickSet(BTreeMap<u64, u64>);

impl TickSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `tick` is in it.
    #[must_use]
    pub fn contains(&self, tick: u64) -> bool {
        let next = self.0.range(tick..).next();
        next.is_some_and(|(_, first)| *first <= tick)
    }

    /// Adds one tick.
    pub fn insert(&mut self, tick: u64) {
        self.insert_range(tick..=tick);
    }

    /// Adds all ticks of a range; nothing if its end is before its start.
    pub fn insert_range(&mut self, range: RangeInclusive<u64>) {
        let (mut first, mut last) = range.into_inner();
        if first > last {
            return;
        }
        // what it overlaps or touches becomes part of it
        let from = first.saturating_sub(1);
        while let Some((end, start)) = self.0.range_mut(from..).next()
            && *start <= last.saturating_add(1)
        {
            let end = *end;
            if end >= last {
                *start = first.min(*start);
                return;
            }
            first = first.min(*start);
            last = last.max(end);
            self.0.remove(&end);
        }
        self.0.insert(last, first);
    }

    /// Removes one tick.
    pub fn remove(&mut self, tick: u64) {
        self.remove_range(tick..=tick);
    }

    /// Removes all ticks of a range.
    pub fn remove_range(&mut self, range: RangeInclusive<u64>) {
        let (from, to) = range.into_inner();
        if from > to || self.0.is_empty() {
            return;
        }
        while let Some((end, start)) = self.0.range_mut(from..).next()
            && *start <= to
        {
            let (first, last) = (*start, *end);
            if last > to {
                *start = to + 1;
            } else {
                self.0.remove(&last);
            }
            if first < from {
                self.0.insert(from - 1, first);
            }
            if last >= to {
                return;
            }
        }
    }

    /// Gives back what an empty set may still hold from when it was not.
    pub fn shrink(&mut self) {
        if self.0.is_empty() {
            self.0 = BTreeMap::new();
        }
    }

    /// Adds all ticks of another set.
    pub fn insert_all(&mut self, other: &Self) {
        other.ranges().for_each(|range| self.insert_range(range));
    }

    /// Removes all ticks of another set.
    pub fn remove_all(&mut self, other: &Self) {
        other.ranges().for_each(|range| self.remove_range(range));
    }

    /// The intervals in ascending order, both ends included.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u64>> + '_ {
        self.0.iter().map(|(last, first)| *first..=*last)
    }

    /// The ticks of `within` that are in the set, as intervals in ascending
    /// order.
    pub fn within(&self, within: RangeInclusive<u64>) -> impl Iterator<Item = RangeInclusive<u64>> {
        let (from, to) = within.into_inner();
        let found = self.0.range(from..).map(|(last, first)| (*first, *last));
        found
            .take_while(move |(first, _)| from <= to && *first <= to)
            .map(move |(first, last)| from.max(first)..=to.min(last))
    }

    /// The ticks of `within` that are not in the set, as intervals.
    #[must_use]
    pub fn gaps(&self, within: RangeInclusive<u64>) -> Self {
        let mut gaps = Self::new();
        gaps.insert_range(within.clone());
        for range in self.within(within) {
            gaps.remove_range(range);
        }
        gaps
    }

    /// Number of ticks.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, (last, first)| {
            let more = last.saturating_sub(*first);
            sum.saturating_add(more).saturating_add(1)
        })
    }

    /// Number of intervals: what the set costs.
    #[must_use]
    pub fn intervals(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<RangeInclusive<u64>> for TickSet {
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        // neighbours usually come one after the other: they go in as one
        let mut run: Option<RangeInclusive<u64>> = None;
        for range in ranges.into_iter().filter(|r| !r.is_empty()) {
            run = match run {
                Some(run) if run.end().checked_add(1) == Some(*range.start()) => {
                    Some(*run.start()..=*range.end())
                }
                other => {
                    if let Some(run) = other {
                        set.insert_range(run);
                    }
                    Some(range)
                }
            };
        }
        if let Some(run) = run {
            set.insert_range(run);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The set of single ticks does the same, at other costs.
        #[test]
        fn it_is_a_set(
            ops in prop::collection::vec((any::<bool>(), 0u64..40, 0u64..8), 0..40),
            high in any::<bool>(),
        ) {
            // the highest numbers that there are, too
            let shift = if high { u64::MAX - 46 } else { 0 };
            let (mut set, mut model) = (TickSet::new(), BTreeSet::new());
            for (adds, from, more) in ops {
                let range = shift + from..=shift + from + more;
                if adds {
                    set.insert_range(range.clone());
                    model.extend(range);
                } else {
                    set.remove_range(range.clone());
                    model.retain(|tick| !range.contains(tick));
                }
                let ticks: Vec<u64> = set.ranges().flatten().collect();
                prop_assert!(ticks.iter().eq(&model), "{:?}", set);
                let apart = set.ranges().zip(set.ranges().skip(1));
                for (one, next) in apart {
                    prop_assert!(*one.end() + 1 < *next.start(), "{:?}", set);
                }
                prop_assert_eq!(set.count(), model.len() as u64);
                for tick in shift..=shift + 46 {
                    prop_assert_eq!(set.contains(tick), model.contains(&tick));
                }
                let all = shift + 3..=shift + 30;
                let inside: Vec<u64> = set.within(all.clone()).flatten().collect();
                let outside: Vec<u64> = set.gaps(all.clone()).ranges().flatten().collect();
                let (is, is_not): (Vec<u64>, Vec<u64>) = all.partition(|tick| model.contains(tick));
                prop_assert_eq!(inside, is);
                prop_assert_eq!(outside, is_not);
            }
        }
    }

    #[test]
    fn a_part_is_cut_at_its_ends() {
        let set = TickSet::from_iter([2..=5, 8..=8, 10..=20]);
        let within = |range| set.within(range).collect::<Vec<_>>();
        assert_eq!(within(1..=30), [2..=5, 8..=8, 10..=20]);
        assert_eq!(within(5..=10), [5..=5, 8..=8, 10..=10]);
        assert_eq!(within(6..=7), []);
        assert_eq!(within(12..=12), [12..=12]);
        assert_eq!(within(RangeInclusive::new(12, 11)), []);
    }

    #[test]
    fn neighbours_become_one_interval_in_whatever_order_they_come() {
        let of = |ticks: &[u64]| ticks.iter().map(|t| *t..=*t).collect::<TickSet>();
        let shown = |set: TickSet| {
            set.ranges()
                .map(|r| (*r.start(), *r.end()))
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(of(&[1, 2, 3, 7, 8])), [(1, 3), (7, 8)]);
        assert_eq!(shown(of(&[8, 2, 7, 1, 3, 2])), [(1, 3), (7, 8)]);
        assert_eq!(shown(of(&[u64::MAX, 1])), [(1, 1), (u64::MAX, u64::MAX)]);
        assert_eq!(shown(of(&[])), []);
        // an interval that ends before it begins is empty, also behind one
        // that it would continue
        let gone = [RangeInclusive::new(1, 3), RangeInclusive::new(4, 2)];
        assert_eq!(shown(gone.into_iter().collect()), [(1, 3)]);
        let empty = std::iter::once(RangeInclusive::new(5, 4));
        assert_eq!(
            shown(empty.chain(std::iter::once(5..=6)).collect()),
            [(5, 6)]
        );
    }
}
