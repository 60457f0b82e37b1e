//! Medians, and a histogram of times.
//!
//! The histogram has 128 steps in each power of two, so a quantile is read
//! with an error below 1 %, at the same small cost for every sample.

/// Steps within a power of two, as a number of bits.
const STEP_BITS: u32 = 7;
const STEPS: u64 = 1 << STEP_BITS;

/// Counts of durations in nanoseconds.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        let slots = (u64::from(u64::BITS - STEP_BITS) + 1) << STEP_BITS;
        Self {
            counts: vec![0; usize::try_from(slots).expect("a few thousand")],
            total: 0,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// Counts `nanos` as often as `times` says.
    #[inline]
    pub(crate) fn record(&mut self, nanos: u64, times: u64) {
        self.counts[slot(nanos)] += times;
        self.total += times;
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The time that the share `q` of all samples does not exceed.
    pub(crate) fn quantile(&self, q: f64) -> u64 {
        #[allow(clippy::cast_precision_loss)] // counts are far below 2^52
        let wanted = (self.total as f64 * q).ceil();
        let mut seen = 0;
        for (i, n) in self.counts.iter().enumerate() {
            seen += n;
            #[allow(clippy::cast_precision_loss)]
            if *n > 0 && seen as f64 >= wanted {
                return middle(i as u64);
            }
        }
        0
    }
}

fn slot(nanos: u64) -> usize {
    let slot = if nanos < STEPS {
        nanos
    } else {
        let shift = nanos.ilog2() - STEP_BITS;
        (u64::from(shift) << STEP_BITS) + (nanos >> shift)
    };
    usize::try_from(slot).expect("below the number of slots")
}

fn middle(slot: u64) -> u64 {
    if slot < 2 * STEPS {
        return slot;
    }
    let shift = (slot >> STEP_BITS) - 1;
    let step = slot - (shift << STEP_BITS);
    (step << shift) + (1 << shift) / 2
}

/// Median, least and greatest of some measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl Spread {
    /// `None` if there is nothing, or something that is no number.
    pub(crate) fn of(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut all: Vec<f64> = samples.into_iter().collect();
        if all.iter().any(|x| !x.is_finite()) {
            return None;
        }
        all.sort_by(f64::total_cmp);
        let (least, greatest) = (*all.first()?, *all.last()?);
        let half = all.len() / 2;
        let median = if all.len() % 2 == 1 {
            all[half]
        } else {
            f64::midpoint(all[half - 1], all[half])
        };
        Some(Self {
            median,
            least,
            greatest,
        })
    }

    /// Of the ratios `ours / theirs`, round by round.
    pub(crate) fn of_ratios(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        Self::of(ours.iter().zip(theirs).map(|(a, b)| a / b))
    }
}
