//! Elements: equality, order, hash, and what becomes one.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use compact_str::CompactString;
use num_bigint::{BigInt, BigUint};

use super::{Path, PathElem};
use crate::literal::Number;

impl PathElem {
    /// The element as a level of a topic: its text, without what marks its
    /// type in a path.
    #[must_use]
    pub fn level(&self) -> String {
        match self {
            Self::Str(text) => text.to_string(),
            other => {
                let text = Path::from_iter([other.clone()]).to_string();
                text.strip_prefix(':')
                    .map_or_else(|| text.clone(), str::to_owned)
            }
        }
    }

    /// The text, if this is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The elements, if this is a tuple or a path.
    #[must_use]
    pub fn elements(&self) -> Option<&[Self]> {
        match self {
            Self::Tuple(items) => Some(items),
            Self::Path(path) => Some(path.elements()),
            _ => None,
        }
    }

    /// The value, if this is a number; `True` and `False` are.
    fn number(&self) -> Option<Number> {
        match self {
            Self::Bool(b) => Some(Number::Int(i128::from(*b))),
            Self::Int(n) => Some(Number::Int(i128::from(*n))),
            Self::Uint(n) => Some(Number::Int(i128::from(*n))),
            Self::Big(n) => Some(Number::from(BigInt::from(n.clone()))),
            Self::Float(x) => Some(Number::from(*x)),
            _ => None,
        }
    }

    /// The place of its kind in the order of all elements.
    const fn rank(&self) -> u8 {
        match self {
            Self::Nil => 0,
            Self::Bool(_) | Self::Int(_) | Self::Uint(_) | Self::Big(_) | Self::Float(_) => 1,
            Self::Str(_) => 2,
            Self::Bytes(_) => 3,
            Self::Tuple(_) | Self::Path(_) => 4,
            Self::Ext(..) => 5,
        }
    }
}

impl PartialEq for PathElem {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            // nearly always
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            _ => self.cmp(other).is_eq(),
        }
    }
}

impl Eq for PathElem {}

impl PartialOrd for PathElem {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PathElem {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Str(a), Self::Str(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Ext(a, x), Self::Ext(b, y)) => (a, x).cmp(&(b, y)),
            _ => {
                if let (Some(a), Some(b)) = (self.elements(), other.elements()) {
                    a.cmp(b)
                } else if let (Some(a), Some(b)) = (self.number(), other.number()) {
                    a.cmp(&b)
                } else {
                    self.rank().cmp(&other.rank())
                }
            }
        }
    }
}

impl Hash for PathElem {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.rank());
        match self {
            Self::Nil => {}
            Self::Str(text) => text.hash(state),
            Self::Bytes(bytes) => bytes.hash(state),
            Self::Ext(code, content) => (code, content).hash(state),
            Self::Tuple(_) | Self::Path(_) => self.elements().hash(state),
            Self::Bool(_) | Self::Int(_) | Self::Uint(_) | Self::Big(_) | Self::Float(_) => {
                self.number().hash(state);
            }
        }
    }
}

impl From<&str> for PathElem {
    fn from(text: &str) -> Self {
        Self::Str(text.into())
    }
}

impl From<String> for PathElem {
    fn from(text: String) -> Self {
        Self::Str(text.into())
    }
}

impl From<&String> for PathElem {
    fn from(text: &String) -> Self {
        Self::Str(text.into())
    }
}

impl From<CompactString> for PathElem {
    fn from(text: CompactString) -> Self {
        Self::Str(text)
    }
}

impl From<bool> for PathElem {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<i32> for PathElem {
    fn from(n: i32) -> Self {
        Self::Int(n.into())
    }
}

impl From<i64> for PathElem {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

impl From<u64> for PathElem {
    fn from(n: u64) -> Self {
        i64::try_from(n).map_or(Self::Uint(n), Self::Int)
    }
}

impl From<BigUint> for PathElem {
    fn from(n: BigUint) -> Self {
        match u64::try_from(&n) {
            Ok(n) => n.into(),
            Err(_) => Self::Big(n),
        }
    }
}

impl From<&[u8]> for PathElem {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Box<[u8]>> for PathElem {
    fn from(bytes: Box<[u8]>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<Self>> for PathElem {
    fn from(items: Vec<Self>) -> Self {
        Self::Tuple(items)
    }
}

impl From<Path> for PathElem {
    fn from(path: Path) -> Self {
        Self::Path(path)
    }
}

impl From<&Self> for PathElem {
    fn from(elem: &Self) -> Self {
        elem.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(elem: &PathElem) -> u64 {
        use std::hash::BuildHasher;
        foldhash::fast::FixedState::with_seed(7).hash_one(elem)
    }

    #[test]
    fn elements_are_equal_as_in_python() {
        let same = [
            vec![
                1.into(),
                true.into(),
                PathElem::Float(1.0),
                PathElem::Uint(1),
            ],
            vec![0.into(), false.into(), PathElem::Float(-0.0)],
            vec![
                PathElem::Big(BigUint::from(1u8) << 64),
                PathElem::Float(2f64.powi(64)),
            ],
            vec![
                vec![PathElem::Int(1), "a".into()].into(),
                (Path::new() / true / "a").into(),
                vec![PathElem::Float(1.0), "a".into()].into(),
            ],
            vec![PathElem::Nil],
            vec!["1".into()],
            vec![PathElem::from(&b"1"[..])],
            vec![vec![PathElem::from("1")].into()],
            vec![PathElem::Ext(7, Box::from(&b"1"[..]))],
            vec![PathElem::Ext(8, Box::from(&b"1"[..]))],
        ];
        for (i, group) in same.iter().enumerate() {
            for (j, others) in same.iter().enumerate() {
                for (a, b) in group.iter().zip(others.iter().cycle()) {
                    assert_eq!(a == b, i == j, "{a:?} {b:?}");
                    assert_eq!(a.cmp(b).is_eq(), i == j, "{a:?} {b:?}");
                    assert_eq!(a.cmp(b), b.cmp(a).reverse(), "{a:?} {b:?}");
                    if i == j {
                        assert_eq!(hash(a), hash(b), "{a:?} {b:?}");
                    }
                }
            }
        }
    }
}
