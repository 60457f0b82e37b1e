//! Chance, as the node is handed it: one seed at the start, then a sequence
//! that depends on nothing else. It spreads waits; no secret depends on it.

use std::time::Duration;

/// A sequence of numbers (SplitMix64).
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.0)
    }

    /// Below `n`; 0 if `n` is.
    pub const fn below(&mut self, n: u64) -> u64 {
        match self.next().checked_rem(n) {
            Some(rest) => rest,
            None => 0,
        }
    }

    /// Between 0 and 1.
    #[allow(clippy::cast_precision_loss)] // 53 bits are exact
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Between nothing and all of a time.
    pub fn part(&mut self, of: Duration) -> Duration {
        of.mul_f64(self.fraction())
    }
}

/// Spreads a number over all its bits.
#[must_use]
pub const fn scramble(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_and_repeat_with_their_seed() {
        let take = |seed| {
            let mut rng = Rng::new(seed);
            (0..1000).map(|_| rng.below(10)).collect::<Vec<_>>()
        };
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
        for digit in 0..10 {
            let n = take(3).iter().filter(|d| **d == digit).count();
            assert!((50..150).contains(&n), "{digit}: {n}");
        }
        let mut rng = Rng::new(4);
        assert_eq!(rng.below(0), 0);
        assert!((0..1000).all(|_| (0.0..1.0).contains(&rng.fraction())));
    }
}
