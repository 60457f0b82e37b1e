//! One encoded object, kept small.

/// An owned encoded object. Up to fourteen bytes, which nearly all path
/// elements and request numbers have, need no memory of their own.
#[derive(Clone)]
pub struct Small(Repr);

#[derive(Clone)]
enum Repr {
    Near {
        len: u8,
        bytes: [u8; NEAR],
    },
    // one pointer wide, so that the whole stays at sixteen bytes
    #[allow(clippy::box_collection)]
    Far(Box<Box<[u8]>>),
}

const NEAR: usize = 14;

impl Small {
    /// A copy of an encoded object.
    #[inline(always)] // short once it is
    #[must_use]
    pub fn new(encoded: &[u8]) -> Self {
        match (Words::new(encoded), u8::try_from(encoded.len())) {
            (Some(words), Ok(len)) => Self(Repr::Near {
                len,
                bytes: words.near(),
            }),
            _ => Self::far(encoded),
        }
    }

    #[cold]
    fn far(encoded: &[u8]) -> Self {
        Self(Repr::Far(Box::new(encoded.into())))
    }

    /// The encoded object.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Near { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or(&[]),
            Repr::Far(bytes) => bytes,
        }
    }

    /// Appends the encoded object.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Repr::Near { len, bytes } => {
                // one fixed length and a cut cost less than one that varies
                let end = out.len() + usize::from(*len);
                out.extend_from_slice(bytes);
                out.truncate(end);
            }
            Repr::Far(bytes) => out.extend_from_slice(bytes),
        }
    }

    /// The encoded object as words, if it needs no memory of its own.
    #[inline]
    #[must_use]
    pub fn words(&self) -> Option<Words> {
        match &self.0 {
            Repr::Near { bytes, .. } => Some(Words::of_near(*bytes)),
            Repr::Far(_) => None,
        }
    }
}

/// One encoded object of up to fourteen bytes as two words, zero behind its
/// end: the form in which names and numbers are compared, hashed and copied
/// most cheaply. As an object says itself where it ends, two are the same if
/// and only if their words are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// The first eight bytes
    pub low: u64,
    /// The others
    pub high: u64,
}

impl Words {
    /// These bytes; `None` if there are more than fourteen.
    #[inline]
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        // two loads that overlap, instead of a loop
        match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            (Some(first), Some(last)) => {
                let known = 16_usize.checked_sub(bytes.len()).filter(|n| *n >= 2)?;
                let last = u64::from_le_bytes(*last);
                Some(Self {
                    low: u64::from_le_bytes(*first),
                    // in two steps: of eight bytes, all are known
                    high: last >> (4 * known) >> (4 * known),
                })
            }
            _ => Some(Self {
                low: word(bytes),
                high: 0,
            }),
        }
    }

    #[inline]
    const fn of_near(bytes: [u8; NEAR]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = bytes;
        Self {
            low: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            high: u64::from_le_bytes([i, j, k, l, m, n, 0, 0]),
        }
    }

    #[inline]
    fn near(self) -> [u8; NEAR] {
        let mut bytes = [0; NEAR];
        bytes[..8].copy_from_slice(&self.low.to_le_bytes());
        bytes[8..].copy_from_slice(&self.high.to_le_bytes()[..NEAR - 8]);
        bytes
    }
}

/// Up to seven bytes as one word.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>(), bytes) {
        (Some(first), Some(last), _) => {
            let shift = 8 * (bytes.len() - 4);
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << shift
        }
        (_, _, &[a, b, c]) => u64::from_le_bytes([a, b, c, 0, 0, 0, 0, 0]),
        (_, _, &[a, b]) => u64::from_le_bytes([a, b, 0, 0, 0, 0, 0, 0]),
        (_, _, &[a]) => u64::from(a),
        _ => 0,
    }
}

impl PartialEq for Small {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            // what is behind the end is zero in both
            (Repr::Near { len: a, bytes: x }, Repr::Near { len: b, bytes: y }) => a == b && x == y,
            (Repr::Far(x), Repr::Far(y)) => x == y,
            _ => false,
        }
    }
}

impl Eq for Small {}

impl PartialOrd for Small {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Small {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl std::hash::Hash for Small {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

impl std::fmt::Debug for Small {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x?}", self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_sixteen_bytes() {
        assert_eq!(size_of::<Small>(), 16);
    }

    #[test]
    fn keeps_short_and_long_objects() {
        for n in 0..40 {
            let bytes: Vec<u8> = (0..n).collect();
            let small = Small::new(&bytes);
            assert_eq!(small.bytes(), bytes);
            assert_eq!(small.words(), Words::new(&bytes));
            let mut out = vec![7];
            small.append_to(&mut out);
            assert_eq!(out, [&[7], &bytes[..]].concat());
            assert_eq!(small.words().is_some(), n <= 14, "length {n}");
            for at in 0..bytes.len() {
                let mut other = bytes.clone();
                other[at] ^= 0x80;
                assert_ne!(small, Small::new(&other), "length {n}, byte {at}");
                if n <= 14 {
                    assert_ne!(Words::new(&bytes), Words::new(&other));
                }
            }
            assert_ne!(small, Small::new(&[&bytes[..], &[0]].concat()));
        }
    }

    #[test]
    fn words_hold_the_bytes_in_order() {
        for n in 0..=14 {
            let bytes: Vec<u8> = (1..=n).collect();
            let words = Words::new(&bytes).unwrap();
            let mut whole = [words.low.to_le_bytes(), words.high.to_le_bytes()].concat();
            assert_eq!(whole.split_off(bytes.len()), vec![0; 16 - bytes.len()]);
            assert_eq!(whole, bytes);
        }
    }
}
