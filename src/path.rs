//! Paths: where an entry is.
//!
//! [`Path`] is the owned, decoded form that programs and the command line
//! use; [`PathRef`] and [`RawPath`] are the encoded form, elements one after
//! the other, that the server passes around without decoding. Equality of
//! elements is Python's (`1`, `1.0` and `True` are one child), because that
//! is what decides which entry a path names.

mod raw;

pub use raw::{Elem, ElemError, PathRef, RawPath, hash_elem, normalise, same_elem};

use compact_str::CompactString;
use num_bigint::BigUint;

/// One element of a path.
///
/// Two elements are equal if they name the same child: numbers by value,
/// lists and paths by their elements.
#[derive(Debug, Clone)]
pub enum PathElem {
    /// `:n`; allowed as first element only, where internal data begin.
    Nil,
    /// `:t`, `:f`
    Bool(bool),
    /// An integer below 2^63
    Int(i64),
    /// An integer from 2^63 on
    Uint(u64),
    /// An integer from 2^64 on
    Big(BigUint),
    /// A float; never NaN
    Float(f64),
    /// Text
    Str(CompactString),
    /// Bytes
    Bytes(Box<[u8]>),
    /// A tuple
    Tuple(Vec<PathElem>),
    /// A path within a path, which equals the tuple of its elements
    Path(Path),
    /// An extension that has no text form: its code and content
    Ext(i8, Box<[u8]>),
}

/// A path: the elements from the root to an entry.
#[derive(Debug, Clone, Default)]
pub struct Path(Vec<PathElem>);

impl Path {
    /// The elements, from the root on.
    #[must_use]
    pub fn elements(&self) -> &[PathElem] {
        &self.0
    }
}

impl From<Vec<PathElem>> for Path {
    fn from(elements: Vec<PathElem>) -> Self {
        Self(elements)
    }
}
