//! The one source of chance of a simulated history: xoshiro256++, seeded by
//! splitmix64. Integers only, so that a seed means the same everywhere.

use std::time::Duration;

/// A stream of random numbers that its seed determines.
#[derive(Debug, Clone)]
pub struct Rng([u64; 4]);

impl Rng {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut at = seed;
        let mut next = || {
            at = at.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (at ^ (at >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Self([next(), next(), next(), next()])
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let (x, y) = (c ^ a, d ^ b);
        self.0 = [a ^ y, b ^ x, x ^ (b << 17), y.rotate_left(45)];
        a.wrapping_add(d).rotate_left(23).wrapping_add(a)
    }

    /// A number below `n`; 0 if that is 0.
    #[allow(clippy::cast_possible_truncation)] // the upper half is below n
    pub const fn below(&mut self, n: u64) -> u64 {
        ((self.next() as u128 * n as u128) >> 64) as u64
    }

    /// A place in a list of that length.
    #[allow(clippy::cast_possible_truncation)] // below a length
    pub const fn place(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// One of a list; `None` if it is empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.place(list.len()))
    }

    /// A number from `low` to `high`, both included.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in so many of a thousand cases.
    pub const fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < per_mille as u64
    }

    /// A number from `low` to about `high`, each doubling as likely as
    /// another.
    pub const fn spread(&mut self, low: u64, high: u64) -> u64 {
        let low = if low == 0 { 1 } else { low };
        let doublings = match (high / low).checked_ilog2() {
            Some(n) => n as u64,
            None => 0,
        };
        let base = low << self.below(doublings + 1);
        self.between(base, base * 2 - 1)
    }

    /// As [`Rng::spread`], in milliseconds.
    pub const fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.spread(low, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_everywhere() {
        let mut rng = Rng([1, 2, 3, 4]);
        let first: Vec<u64> = (0..4).map(|_| rng.next()).collect();
        // the first numbers of the generator's reference implementation
        assert_eq!(
            first,
            [41943041, 58720359, 3588806011781223, 3591011842654386]
        );
    }

    #[test]
    fn numbers_stay_in_their_bounds() {
        let mut rng = Rng::new(7);
        let mut seen = [false; 5];
        for _ in 0..1000 {
            let n = rng.between(3, 7);
            assert!((3..=7).contains(&n));
            seen[rng.place(5)] = true;
            let n = rng.spread(10, 1000);
            assert!((10..1280).contains(&n), "{n}");
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!((rng.below(0), rng.below(1)), (0, 0));
        assert!(!rng.chance(0) && rng.chance(1000));
    }
}
