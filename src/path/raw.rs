//! Encoded paths: msgpack objects one after the other, without a head. The
//! content of an extension 3 has this form, and so has that of a list.

use std::hash::{Hash, Hasher};

use crate::msgpack::{self, EXT_BIG, EXT_MARKED, EXT_PATH, Fault, Head, Reader, Words, write};

/// Why bytes cannot be an element of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ElemError {
    /// The encoding is broken.
    #[error(transparent)]
    Encoding(#[from] Fault),
    /// A map, or something that holds one: it cannot be compared.
    #[error("a map cannot be part of a path")]
    Map,
    /// Not a number: it does not even equal itself.
    #[error("NaN cannot be part of a path")]
    Nan,
}

/// An encoded path, borrowed. Elements are checked where they are read.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PathRef<'a>(&'a [u8]);

impl<'a> PathRef<'a> {
    /// The path whose elements are encoded one after the other.
    #[must_use]
    pub const fn new(elements: &'a [u8]) -> Self {
        Self(elements)
    }

    /// The path that one whole object is: a path, marked or not, or,
    /// everywhere as good, a list; `None` if it is something else. The
    /// elements are not looked at.
    ///
    /// # Errors
    /// What is wrong with the object's beginning.
    #[inline]
    pub fn of(object: &'a [u8]) -> Result<Option<Self>, Fault> {
        let mut reader = Reader::new(object);
        match reader.head()? {
            Head::Ext(EXT_PATH, _) | Head::Array(_) => {}
            Head::Ext(EXT_MARKED, _) => {
                reader.object()?;
            }
            _ => return Ok(None),
        }
        Ok(Some(Self(reader.rest())))
    }

    /// The encoded elements.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether this is the root.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The encoded elements in order; ends after the first fault.
    #[inline]
    #[must_use]
    pub const fn elements(self) -> Elements<'a> {
        Elements(self.0)
    }

    /// Whether this is `top`, or lies below it: compares encodings, so both
    /// must have the same form.
    #[must_use]
    pub fn is_at_or_below(self, top: PathRef<'_>) -> bool {
        // no encoded element is the beginning of another one
        self.0.starts_with(top.0)
    }

    /// How many elements there are; counts up to the first fault.
    #[must_use]
    pub fn len(self) -> usize {
        self.elements().take_while(Result::is_ok).count()
    }

    /// An owned copy.
    #[must_use]
    pub fn to_owned(self) -> RawPath {
        RawPath(self.0.to_vec())
    }
}

impl std::fmt::Debug for PathRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PathRef({:02x?})", self.0)
    }
}

/// The encoded elements of a path.
#[derive(Debug, Clone)]
pub struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a [u8], Fault>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let len = match self.0.first() {
            // a short text: nearly every element
            Some(marker @ 0xa0..=0xbf) if self.0.len() > usize::from(marker & 0x1f) => {
                Ok(usize::from(marker & 0x1f) + 1)
            }
            _ => msgpack::skip(self.0),
        };
        match len.map(|len| self.0.split_at_checked(len)) {
            Ok(Some((element, rest))) => {
                self.0 = rest;
                Some(Ok(element))
            }
            Ok(None) => None,
            Err(fault) => {
                self.0 = &[];
                Some(Err(fault))
            }
        }
    }
}

/// An encoded path, owned.
#[derive(Debug, Clone, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub struct RawPath(pub(super) Vec<u8>);

impl RawPath {
    /// The root.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends an encoded element.
    pub fn push(&mut self, element: &[u8]) {
        self.0.extend_from_slice(element);
    }

    /// Appends a text.
    pub fn push_str(&mut self, element: &str) {
        write::str(&mut self.0, element);
    }

    /// Appends `null`, as first element: where internal data begin.
    pub fn push_nil(&mut self) {
        write::nil(&mut self.0);
    }

    /// Keeps the first `bytes` bytes, which must be whole elements.
    pub fn truncate(&mut self, bytes: usize) {
        self.0.truncate(bytes);
    }

    /// Makes this the root again, keeping the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// A borrowed view.
    #[must_use]
    pub fn as_ref(&self) -> PathRef<'_> {
        PathRef(&self.0)
    }
}

impl From<PathRef<'_>> for RawPath {
    fn from(path: PathRef<'_>) -> Self {
        path.to_owned()
    }
}

/// What decides whether two encoded elements are the same child.
#[derive(Debug, Clone, Copy)]
pub enum Elem<'a> {
    /// `null`
    Nil,
    /// An integer below 2^120 of either sign, whatever its type
    Int(i128),
    /// Any other float
    Float(f64),
    /// An integer from 2^120 on: big-endian, without leading zeros
    Big(&'a [u8]),
    /// Text
    Str(&'a [u8]),
    /// Bytes
    Bin(&'a [u8]),
    /// A list or path: the encoded elements
    Seq(&'a [u8]),
    /// An unknown extension
    Ext(i8, &'a [u8]),
}

impl<'a> Elem<'a> {
    /// Reads one encoded element. Nested elements are not looked at.
    ///
    /// # Errors
    /// Maps, NaN and broken encodings.
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Result<Self, ElemError> {
        let mut reader = Reader::new(bytes);
        Ok(match reader.head()? {
            Head::Nil => Self::Nil,
            Head::Bool(b) => Self::Int(i128::from(b)),
            Head::Uint(n) => Self::Int(i128::from(n)),
            Head::Neg(n) => Self::Int(i128::from(n)),
            Head::Float(x) => Self::float(x)?,
            Head::Str(n) => Self::Str(reader.take(n)?),
            Head::Bin(n) => Self::Bin(reader.take(n)?),
            Head::Array(_) => Self::Seq(reader.rest()),
            Head::Map(_) => return Err(ElemError::Map),
            Head::Ext(EXT_PATH, n) => Self::Seq(reader.take(n)?),
            Head::Ext(EXT_MARKED, n) => {
                // the mark does not count
                let mut inner = Reader::new(reader.take(n)?);
                inner.object()?;
                Self::Seq(inner.rest())
            }
            Head::Ext(EXT_BIG, n) => Self::big(reader.take(n)?),
            Head::Ext(code, n) => Self::Ext(code, reader.take(n)?),
        })
    }

    fn float(x: f64) -> Result<Self, ElemError> {
        // 2^120: what is less is `Int` as a big integer, too
        const BIG: f64 = 1_329_227_995_784_915_872_903_807_060_280_344_576.0;
        if x.is_nan() {
            Err(ElemError::Nan)
        } else if x.fract() == 0.0 && x.abs() < BIG {
            #[allow(clippy::cast_possible_truncation)] // within the range, and integral
            Ok(Self::Int(x as i128))
        } else {
            Ok(Self::Float(x))
        }
    }

    fn big(content: &'a [u8]) -> Self {
        let zeros = content.iter().take_while(|b| **b == 0).count();
        let digits = content.get(zeros..).unwrap_or(&[]);
        if digits.len() <= 15 {
            let n = digits
                .iter()
                .fold(0, |n: i128, b| (n << 8) | i128::from(*b));
            Self::Int(n)
        } else {
            Self::Big(digits)
        }
    }
}

/// A large float as a big integer, if it is one: big-endian.
fn big_float(x: f64) -> Option<Vec<u8>> {
    use num_traits::FromPrimitive;
    (x.is_finite() && x > 0.0 && x.fract() == 0.0)
        .then(|| num_bigint::BigUint::from_f64(x))
        .flatten()
        .map(|n| n.to_bytes_be())
}

/// Whether two encoded elements name the same child.
#[inline]
#[must_use]
pub fn same_elem(a: &[u8], b: &[u8]) -> bool {
    // nearly always both are short texts in their shortest form
    if a == b {
        return !matches!(a.first(), Some(0xcb | 0xca)) || Elem::read(a).is_ok();
    }
    if let (Some(0xa0..=0xbf), Some(0xa0..=0xbf)) = (a.first(), b.first()) {
        return false;
    }
    same_slow(a, b)
}

fn same_slow(a: &[u8], b: &[u8]) -> bool {
    // pairs still to compare: no recursion, whatever the nesting
    let mut todo = vec![(a, b)];
    while let Some((a, b)) = todo.pop() {
        let (Ok(a), Ok(b)) = (Elem::read(a), Elem::read(b)) else {
            return false;
        };
        let same = match (a, b) {
            (Elem::Nil, Elem::Nil) => true,
            (Elem::Int(a), Elem::Int(b)) => a == b,
            (Elem::Float(a), Elem::Float(b)) => a == b,
            (Elem::Big(a), Elem::Big(b))
            | (Elem::Str(a), Elem::Str(b))
            | (Elem::Bin(a), Elem::Bin(b)) => a == b,
            (Elem::Big(a), Elem::Float(x)) | (Elem::Float(x), Elem::Big(a)) => {
                big_float(x).is_some_and(|f| f == a)
            }
            (Elem::Float(x), Elem::Int(n)) | (Elem::Int(n), Elem::Float(x)) => {
                big_float(x).is_some_and(|f| f == trimmed(n))
            }
            (Elem::Ext(m, a), Elem::Ext(n, b)) => m == n && a == b,
            (Elem::Seq(a), Elem::Seq(b)) => {
                let (mut a, mut b) = (Reader::new(a), Reader::new(b));
                while !a.is_empty() && !b.is_empty() {
                    let (Ok(x), Ok(y)) = (a.object(), b.object()) else {
                        return false;
                    };
                    todo.push((x, y));
                }
                a.is_empty() && b.is_empty()
            }
            _ => false,
        };
        if !same {
            return false;
        }
    }
    true
}

fn trimmed(n: i128) -> Vec<u8> {
    n.to_be_bytes()
        .into_iter()
        .skip_while(|b| *b == 0)
        .collect()
}

/// A text of up to thirteen bytes, in its shortest form. Such elements name
/// the same child if and only if these words are equal; `None` for all others.
#[inline]
#[must_use]
pub fn short_text(element: &[u8]) -> Option<Words> {
    match element.first()? {
        0xa0..=0xbf => Words::new(element),
        0xd9..=0xdb => short_text_in_long_form(element),
        _ => None,
    }
}

#[cold]
fn short_text_in_long_form(element: &[u8]) -> Option<Words> {
    let text = Reader::new(element).text().ok()??;
    let mut shortest = Vec::new();
    write::str(&mut shortest, text);
    Words::new(&shortest)
}

/// Feeds what [`same_elem`] compares to a hasher.
#[inline]
pub fn hash_elem<H: Hasher>(bytes: &[u8], hasher: &mut H) {
    match bytes.first() {
        // a short text in its shortest form
        Some(marker @ 0xa0..=0xbf) => {
            let n = usize::from(marker & 0x1f);
            hash_text(bytes.get(1..=n).unwrap_or(&[]), hasher);
        }
        _ => hash_slow(bytes, hasher),
    }
}

#[inline]
fn hash_text<H: Hasher>(text: &[u8], hasher: &mut H) {
    // nothing else is hashed without a tag before it
    hasher.write(text);
}

fn hash_slow<H: Hasher>(bytes: &[u8], hasher: &mut H) {
    let mut todo = vec![bytes];
    while let Some(bytes) = todo.pop() {
        match Elem::read(bytes) {
            Ok(Elem::Nil) => hasher.write_u8(1),
            Ok(Elem::Int(n)) => {
                hasher.write_u8(2);
                trimmed(n).hash(hasher);
            }
            Ok(Elem::Big(digits)) => {
                hasher.write_u8(2);
                digits.hash(hasher);
            }
            Ok(Elem::Float(x)) => match big_float(x) {
                Some(digits) => {
                    hasher.write_u8(2);
                    digits.hash(hasher);
                }
                None => {
                    hasher.write_u8(3);
                    hasher.write_u64(x.to_bits());
                }
            },
            Ok(Elem::Str(text)) => hash_text(text, hasher),
            Ok(Elem::Bin(b)) => {
                hasher.write_u8(4);
                b.hash(hasher);
            }
            Ok(Elem::Ext(code, b)) => {
                hasher.write_i8(code);
                b.hash(hasher);
            }
            Ok(Elem::Seq(inner)) => {
                hasher.write_u8(5);
                todo.extend(PathRef::new(inner).elements().map_while(Result::ok));
            }
            // an element that cannot be read equals nothing
            Err(_) => hasher.write_u8(6),
        }
    }
}

/// Checks an element, in depth, and appends it in its shortest form: what a
/// new entry is called from then on. Lists stay lists and paths paths.
///
/// # Errors
/// Maps, NaN and broken encodings, at any depth.
pub fn normalise(element: &[u8], out: &mut Vec<u8>) -> Result<(), ElemError> {
    msgpack::check(element)?;
    normalise_checked(element, out)
}

// Nesting is at most `MAX_DEPTH`, which the check has ensured; each level
// takes little stack.
fn normalise_checked(element: &[u8], out: &mut Vec<u8>) -> Result<(), ElemError> {
    let mut reader = Reader::new(element);
    match reader.head()? {
        Head::Nil => write::nil(out),
        Head::Bool(b) => write::bool(out, b),
        Head::Uint(n) => write::uint(out, n),
        Head::Neg(n) => write::int(out, n),
        Head::Float(x) if x.is_nan() => return Err(ElemError::Nan),
        Head::Float(x) => write::float(out, x),
        Head::Str(n) => {
            let text = core::str::from_utf8(reader.take(n)?).map_err(|_| Fault::Utf8(0))?;
            write::str(out, text);
        }
        Head::Bin(n) => write::bin(out, reader.take(n)?),
        Head::Map(_) => return Err(ElemError::Map),
        Head::Array(n) => {
            write::array(out, n);
            while !reader.is_empty() {
                normalise_checked(reader.object()?, out)?;
            }
        }
        Head::Ext(code @ (EXT_PATH | EXT_MARKED), n) => {
            let mut inner = Vec::with_capacity(n);
            let mut elements = Reader::new(reader.take(n)?);
            if code == EXT_MARKED {
                elements.object()?;
            }
            while !elements.is_empty() {
                normalise_checked(elements.object()?, &mut inner)?;
            }
            write::ext(out, EXT_PATH, inner.len());
            out.extend_from_slice(&inner);
        }
        Head::Ext(code, n) => {
            let content = reader.take(n)?;
            write::ext(out, code, n);
            out.extend_from_slice(content);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(bytes: &[u8]) -> u64 {
        use std::hash::BuildHasher;
        let mut hasher = foldhash::fast::FixedState::with_seed(7).build_hasher();
        hash_elem(bytes, &mut hasher);
        hasher.finish()
    }

    #[track_caller]
    fn assert_same(a: &[u8], b: &[u8]) {
        assert!(same_elem(a, b) && same_elem(b, a), "{a:02x?} {b:02x?}");
        assert_eq!(hash(a), hash(b), "{a:02x?} {b:02x?}");
        assert_eq!(short_text(a), short_text(b), "{a:02x?} {b:02x?}");
    }

    #[track_caller]
    fn assert_other(a: &[u8], b: &[u8]) {
        assert!(!same_elem(a, b) && !same_elem(b, a), "{a:02x?} {b:02x?}");
    }

    #[test]
    fn numbers_are_equal_by_value() {
        let one = b"\x01";
        assert_same(one, b"\xc3");
        assert_same(one, b"\xd3\x00\x00\x00\x00\x00\x00\x00\x01");
        assert_same(one, b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00");
        assert_same(one, b"\xca\x3f\x80\x00\x00");
        assert_same(b"\x00", b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00");
        assert_other(one, b"\xa11");
        assert_other(one, b"\xc4\x011");
        // 2^64 as big integer and as float; 2^200 likewise
        assert_same(
            b"\xc7\x09\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00",
            b"\xcb\x43\xf0\x00\x00\x00\x00\x00\x00",
        );
        // and around the border between both kinds of integers
        for bits in [119i32, 120, 125, 126, 127, 200] {
            let digits = (num_bigint::BigUint::from(1u8) << bits).to_bytes_be();
            let mut big = Vec::new();
            write::ext(&mut big, EXT_BIG, digits.len());
            big.extend_from_slice(&digits);
            let mut float = Vec::new();
            write::float(&mut float, 2f64.powi(bits));
            assert_same(&big, &float);
        }
    }

    #[test]
    fn lists_and_paths_are_equal_by_element() {
        assert_same(b"\x92\x01\xa1a", b"\xc7\x03\x03\xc3\xa1a");
        assert_same(b"\x90", b"\xc7\x00\x03");
        assert_other(b"\x92\x01\xa1a", b"\x91\x01");
        assert_other(b"\xa1a", b"\x91\xa1a");
    }

    #[test]
    fn long_forms_of_a_text_are_the_same_text() {
        assert_same(b"\xa1a", b"\xd9\x01a");
        assert_other(b"\xa1a", b"\xd9\x01b");
        assert!(short_text(b"\xda\x00\x0dthirteen-byte").is_some());
        assert!(short_text(b"\xaefourteen-bytes").is_none());
        let mut out = Vec::new();
        normalise(b"\xd9\x01a", &mut out).unwrap();
        assert_eq!(out, b"\xa1a");
    }

    #[test]
    fn nan_and_maps_are_refused_in_depth() {
        let nan = b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00";
        assert!(!same_elem(nan, nan));
        let mut list = vec![0x91];
        list.extend_from_slice(nan);
        assert_eq!(normalise(&list, &mut Vec::new()), Err(ElemError::Nan));
        assert_eq!(normalise(b"\x91\x80", &mut Vec::new()), Err(ElemError::Map));
    }
}
