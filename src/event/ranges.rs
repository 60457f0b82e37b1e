//! Sets of ticks, as intervals.

use std::ops::RangeInclusive;

use rangemap::RangeInclusiveSet;

/// A set of ticks that takes memory by its gaps, not by its size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TickSet(RangeInclusiveSet<u64>);

impl TickSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self(RangeInclusiveSet::new())
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `tick` is in it.
    #[must_use]
    pub fn contains(&self, tick: u64) -> bool {
        !self.0.is_empty() && self.0.contains(&tick)
    }

    /// Adds one tick.
    pub fn insert(&mut self, tick: u64) {
        self.0.insert(tick..=tick);
    }

    /// Adds all ticks of a range; nothing if its end is before its start.
    pub fn insert_range(&mut self, range: RangeInclusive<u64>) {
        if range.start() <= range.end() {
            self.0.insert(range);
        }
    }

    /// Removes one tick.
    pub fn remove(&mut self, tick: u64) {
        if !self.0.is_empty() {
            self.0.remove(tick..=tick);
        }
    }

    /// Removes all ticks of a range.
    pub fn remove_range(&mut self, range: RangeInclusive<u64>) {
        if range.start() <= range.end() && !self.0.is_empty() {
            self.0.remove(range);
        }
    }

    /// Gives back what an empty set may still hold from when it was not.
    pub fn shrink(&mut self) {
        if self.0.is_empty() {
            self.0 = RangeInclusiveSet::new();
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
        self.0.iter().cloned()
    }

    /// The ticks of `within` that are in the set, as intervals in ascending
    /// order.
    pub fn within(&self, within: RangeInclusive<u64>) -> impl Iterator<Item = RangeInclusive<u64>> {
        let (from, to) = within.clone().into_inner();
        // an interval that ends before it begins is none
        let found = (from <= to).then(|| self.0.overlapping(within));
        let found = found.into_iter().flatten();
        found.map(move |range| from.max(*range.start())..=to.min(*range.end()))
    }

    /// The ticks of `within` that are not in the set, as intervals.
    #[must_use]
    pub fn gaps(&self, within: RangeInclusive<u64>) -> Self {
        self.0.gaps(&within).collect()
    }

    /// Number of ticks.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, range| {
            let more = range.end().saturating_sub(*range.start());
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
    use super::*;

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
