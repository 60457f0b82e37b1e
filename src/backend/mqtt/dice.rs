//! Chance, for what must differ between nodes: names, numbers, delays.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// A generator of random numbers that nobody's safety depends on (SplitMix64).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One that nobody can foresee: the key of a hash map is the system's
    /// random number.
    pub(super) fn random() -> Self {
        Self::new(RandomState::new().build_hasher().finish())
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, or 0.
    #[allow(clippy::cast_possible_truncation)] // the upper half of a product
    pub(super) const fn below(&mut self, limit: u32) -> u32 {
        let upper = self.next() >> 32;
        ((upper * limit as u64) >> 32) as u32
    }

    /// A time up to `most`.
    pub(super) fn up_to(&mut self, most: Duration) -> Duration {
        let millis = u32::try_from(most.as_millis()).unwrap_or(u32::MAX);
        Duration::from_millis(self.below(millis.saturating_add(1)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_their_limit_and_reach_it() {
        let mut dice = Dice::new(1);
        let mut seen = [false; 6];
        for _ in 0..1000 {
            seen[dice.below(6) as usize] = true;
        }
        assert_eq!(seen, [true; 6]);
        assert_eq!(dice.below(0), 0);
        let most = Duration::from_millis(500);
        assert!((0..1000).all(|_| dice.up_to(most) <= most));
    }
}
