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

    /// The intervals in ascending order, both ends included.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u64>> + '_ {
        self.0.iter().cloned()
    }

    /// The ticks of `within` that are not in the set, as intervals.
    #[must_use]
    pub fn gaps(&self, within: RangeInclusive<u64>) -> Self {
        self.0.gaps(&within).collect()
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
        for range in ranges {
            set.insert_range(range);
        }
        set
    }
}
