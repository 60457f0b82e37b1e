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
    #[inline]
    #[must_use]
    pub fn new(encoded: &[u8]) -> Self {
        let mut bytes = [0; NEAR];
        match (bytes.get_mut(..encoded.len()), u8::try_from(encoded.len())) {
            (Some(near), Ok(len)) => {
                near.copy_from_slice(encoded);
                Self(Repr::Near { len, bytes })
            }
            _ => Self(Repr::Far(Box::new(encoded.into()))),
        }
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

    /// Whether this is that object, byte for byte. Short ones are compared as
    /// words: this is what finding an entry does most.
    #[inline]
    #[must_use]
    pub fn is(&self, encoded: &[u8]) -> bool {
        let bytes = self.bytes();
        if bytes.len() != encoded.len() {
            return false;
        }
        let ends = |slice: &[u8]| {
            let first = slice.first_chunk::<8>().copied().map(u64::from_le_bytes);
            let last = slice.last_chunk::<8>().copied().map(u64::from_le_bytes);
            first.zip(last)
        };
        match (ends(bytes), ends(encoded)) {
            (Some(a), Some(b)) if bytes.len() <= 16 => a == b,
            _ => bytes == encoded,
        }
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
            assert!(small.is(&bytes));
            for at in 0..bytes.len() {
                let mut other = bytes.clone();
                other[at] ^= 0x80;
                assert!(!small.is(&other), "length {n}, byte {at}");
            }
            assert!(!small.is(&[&bytes[..], &[0]].concat()));
        }
    }
}
