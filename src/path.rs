//! Paths: where an entry is.
//!
//! [`Path`] is the owned, decoded form that programs and the command line
//! use; [`PathRef`] and [`RawPath`] are the encoded form, elements one after
//! the other, that the server passes around without decoding. Equality of
//! elements is Python's (`1`, `1.0` and `True` are one child), because that
//! is what decides which entry a path names.
//!
//! The text form ([`Display`](std::fmt::Display), [`FromStr`](std::str::FromStr))
//! is the tutorial's: dots between texts, a colon before everything else. What
//! is printed reads as the same path again; elements of unknown extensions,
//! which print as `:?`, are the one exception.
//!
//! What comes from outside is bounded by [`check`]; [`Path::decode`] and
//! parsing apply the same limits.

mod codec;
mod elem;
mod matching;
mod parse;
mod print;
mod raw;
mod typed;

use std::ops::{Add, Div};

pub use codec::{
    MAX_BYTES, MAX_ELEMENTS, MAX_NESTING, PathError, check, count_short_texts, has_inner_null,
};
pub use matching::{Level, Wildcard, matches, matches_encoded, matches_topic};
pub use parse::ParseError;
pub use raw::{
    Elem, ElemError, Elements, PathRef, RawPath, hash_elem, normalise, same_elem, short_text,
};

use compact_str::CompactString;
use num_bigint::BigUint;

/// One element of a path.
///
/// Two elements are equal if they name the same child: numbers by value,
/// lists and paths by their elements. Their order is total: `null`, numbers,
/// texts, bytes, tuples and paths, extensions.
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
    Tuple(Vec<Self>),
    /// A path within a path, which equals the tuple of its elements
    Path(Path),
    /// An extension that has no text form: its code and content
    Ext(i8, Box<[u8]>),
}

/// A path: the elements from the root to an entry.
///
/// ```
/// use moat::path::{Path, PathElem};
///
/// let path: Path = "room.lamp:1".parse()?;
/// assert_eq!(path, Path::from_iter(["room", "lamp"]) / 1);
/// assert_eq!(path.last(), Some(&PathElem::Float(1.0)));
/// assert_eq!((path / "on.off").to_string(), "room.lamp:1.on:.off");
/// # Ok::<(), moat::path::ParseError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<PathElem>);

impl Path {
    /// The root.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends an element.
    pub fn push(&mut self, elem: impl Into<PathElem>) {
        self.0.push(elem.into());
    }

    /// Removes the last element.
    pub fn pop(&mut self) -> Option<PathElem> {
        self.0.pop()
    }

    /// This path with another one below it.
    #[must_use]
    pub fn join(&self, below: &Self) -> Self {
        self.0.iter().chain(&below.0).cloned().collect()
    }

    /// The path of what this one is below; the root is below nothing.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, above) = self.0.split_last()?;
        Some(Self(above.to_vec()))
    }

    /// How many elements there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether this is the root.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The elements in order.
    pub fn iter(&self) -> std::slice::Iter<'_, PathElem> {
        self.0.iter()
    }

    /// The elements in order.
    #[must_use]
    pub const fn elements(&self) -> &[PathElem] {
        self.0.as_slice()
    }

    /// The element at a position.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&PathElem> {
        self.0.get(at)
    }

    /// The first element.
    #[must_use]
    pub fn first(&self) -> Option<&PathElem> {
        self.0.first()
    }

    /// The last element: what the entry is called.
    #[must_use]
    pub fn last(&self) -> Option<&PathElem> {
        self.0.last()
    }

    /// Whether this is `base` or below it.
    #[must_use]
    pub fn starts_with(&self, base: &Self) -> bool {
        self.0.starts_with(&base.0)
    }

    /// The path from `base` to this, if it is `base` or below it.
    ///
    /// ```
    /// # use moat::path::Path;
    /// let path: Path = "a.b:1".parse()?;
    /// assert_eq!(path.relative_to(&"a".parse()?), Some("b:1".parse()?));
    /// assert_eq!(path.relative_to(&"b".parse()?), None);
    /// # Ok::<(), moat::path::ParseError>(())
    /// ```
    #[must_use]
    pub fn relative_to(&self, base: &Self) -> Option<Self> {
        let rest = self.0.strip_prefix(base.0.as_slice())?;
        Some(Self(rest.to_vec()))
    }
}

impl<E: Into<PathElem>> FromIterator<E> for Path {
    fn from_iter<I: IntoIterator<Item = E>>(elements: I) -> Self {
        Self(elements.into_iter().map(Into::into).collect())
    }
}

impl<E: Into<PathElem>> Extend<E> for Path {
    fn extend<I: IntoIterator<Item = E>>(&mut self, elements: I) {
        self.0.extend(elements.into_iter().map(Into::into));
    }
}

impl From<Vec<PathElem>> for Path {
    fn from(elements: Vec<PathElem>) -> Self {
        Self(elements)
    }
}

impl From<Path> for Vec<PathElem> {
    fn from(path: Path) -> Self {
        path.0
    }
}

impl IntoIterator for Path {
    type Item = PathElem;
    type IntoIter = std::vec::IntoIter<PathElem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Path {
    type Item = &'a PathElem;
    type IntoIter = std::slice::Iter<'a, PathElem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// The child of that name.
impl<E: Into<PathElem>> Div<E> for Path {
    type Output = Self;

    fn div(mut self, elem: E) -> Self {
        self.push(elem);
        self
    }
}

/// The child of that name.
impl<E: Into<PathElem>> Div<E> for &Path {
    type Output = Path;

    fn div(self, elem: E) -> Path {
        self.clone() / elem
    }
}

/// As [`Path::join`].
impl Add<&Self> for Path {
    type Output = Self;

    fn add(mut self, below: &Self) -> Self {
        self.0.extend_from_slice(&below.0);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_and_put_together() {
        let path = Path::from_iter(["a", "b"]) / 1 / true;
        assert_eq!(path.len(), 4);
        assert_eq!(path.parent(), Some(Path::from_iter(["a", "b"]) / 1));
        assert_eq!(Path::new().parent(), None);
        assert_eq!(path.first(), Some(&"a".into()));
        assert_eq!(path.get(2), Some(&PathElem::Int(1)));
        assert_eq!(path.get(4), None);

        let base = Path::from_iter(["a"]);
        let rest = path.relative_to(&base).unwrap();
        assert_eq!(base.join(&rest), path);
        assert_eq!(base + &rest, path);
        assert!(path.starts_with(&path) && path.starts_with(&Path::new()));
        assert!(!Path::new().starts_with(&path));
        // as Python compares
        assert!(path.starts_with(&(Path::from_iter(["a", "b"]) / 1u64)));
    }
}
