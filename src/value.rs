//! Values: anything that msgpack carries.
//!
//! [`Value`] is the decoded form that programs, the command line and scripts
//! look into; [`Raw`] is what the tree keeps and the wire carries: checked,
//! encoded bytes, given back as they came.
//!
//! Equality is Python's, because that is what `prev` and `idem` compare by:
//! `1`, `1.0` and `True` are equal, maps regardless of their order, a path
//! and the list of its elements, NaN and nothing. [`same_value`] compares
//! encoded values without decoding them; that two *decoded* values are equal
//! is defined by it, so that there is one rule.
//!
//! Nesting is at most [`MAX_DEPTH`](crate::msgpack::MAX_DEPTH) in everything
//! that is decoded; what recurses over a decoded value relies on that.

mod at;
mod codec;
mod key;
mod raw;
mod same;
mod typed;

pub use at::NoSuchItem;
pub use key::key_bytes;
pub use raw::{Raw, RawError};
pub use same::{same_type_and_value, same_value};
pub use typed::ConvertError;

use num_bigint::{BigInt, BigUint, Sign};
use num_traits::ToPrimitive;

use crate::path::Path;

/// Most bits of an integer that is read from outside.
pub const MAX_INT_BITS: u64 = 4096;

/// A decoded value.
#[derive(Debug, Clone)]
pub enum Value {
    /// `null`
    Nil,
    /// A boolean
    Bool(bool),
    /// An integer below 2^63
    Int(i64),
    /// An integer from 2^63 on
    Uint(u64),
    /// An integer from 2^64 on
    Big(BigUint),
    /// A float
    Float(f64),
    /// Text
    Str(String),
    /// Bytes
    Bytes(Vec<u8>),
    /// A list or tuple: one type on the wire
    List(Vec<Self>),
    /// A map, in its order
    Map(Vec<(Self, Self)>),
    /// A path
    Path(Path),
    /// "Not given": as value of a write it deletes
    NotGiven,
    /// Any other extension: its code and content
    Ext(i8, Vec<u8>),
}

impl Value {
    /// The value below the key `key` of a map. The last one, should the map
    /// have been built with equal keys.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        let is_it = |k: &Self| matches!(k, Self::Str(k) if k == key);
        pairs
            .iter()
            .rev()
            .find(|(k, _)| is_it(k))
            .map(|(_, value)| value)
    }

    /// The text, if this is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if this is one that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Uint(n) => i64::try_from(*n).ok(),
            _ => None,
        }
    }

    /// The integer, if this is one of zero or more that fits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int(n) => u64::try_from(*n).ok(),
            Self::Uint(n) => Some(*n),
            _ => None,
        }
    }

    /// The pairs, if this is a map.
    #[must_use]
    pub fn as_map(&self) -> Option<&[(Self, Self)]> {
        match self {
            Self::Map(pairs) => Some(pairs),
            _ => None,
        }
    }
}

/// As [`same_value`].
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nil, Self::Nil) | (Self::NotGiven, Self::NotGiven) => true,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (a, b) => same_value(&a.to_bytes(), &b.to_bytes()),
        }
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

impl From<i32> for Value {
    fn from(n: i32) -> Self {
        Self::Int(n.into())
    }
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        i64::try_from(n).map_or(Self::Uint(n), Self::Int)
    }
}

impl From<BigUint> for Value {
    fn from(n: BigUint) -> Self {
        match n.to_u64() {
            Some(n) => n.into(),
            None => Self::Big(n),
        }
    }
}

/// An integer that no value can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the integer is below -2^63 or has more than {MAX_INT_BITS} bits")]
pub struct OutOfRange;

impl TryFrom<BigInt> for Value {
    type Error = OutOfRange;

    fn try_from(n: BigInt) -> Result<Self, OutOfRange> {
        if let Some(n) = n.to_i64() {
            return Ok(Self::Int(n));
        }
        let (sign, magnitude) = n.into_parts();
        if sign == Sign::Minus || magnitude.bits() > MAX_INT_BITS {
            return Err(OutOfRange);
        }
        Ok(magnitude.into())
    }
}

impl From<f64> for Value {
    fn from(x: f64) -> Self {
        Self::Float(x)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(text)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Path> for Value {
    fn from(path: Path) -> Self {
        Self::Path(path)
    }
}

impl From<Vec<Self>> for Value {
    fn from(items: Vec<Self>) -> Self {
        Self::List(items)
    }
}

impl From<Vec<(Self, Self)>> for Value {
    fn from(pairs: Vec<(Self, Self)>) -> Self {
        Self::Map(pairs)
    }
}
