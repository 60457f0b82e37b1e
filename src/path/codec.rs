//! Between [`Path`] and its encoding, and the limits of what is accepted.

use num_bigint::BigUint;

use super::{ElemError, Path, PathElem, PathRef, RawPath};
use crate::literal::MAX_INT_BITS;
use crate::msgpack::{self, EXT_BIG, EXT_MARKED, EXT_PATH, Fault, Head, Reader, write};

/// Most elements of a path that is accepted.
pub const MAX_ELEMENTS: usize = 1024;
/// Longest encoding of a path that is accepted, in bytes.
pub const MAX_BYTES: usize = 64 << 10;
/// Deepest nesting of tuples within one element that is accepted.
pub const MAX_NESTING: usize = 32;

/// Why an encoded path is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// An element that none can be, or a broken encoding.
    #[error(transparent)]
    Elem(#[from] ElemError),
    /// More than [`MAX_ELEMENTS`].
    #[error("the path has more than {MAX_ELEMENTS} elements")]
    TooMany,
    /// More than [`MAX_BYTES`].
    #[error("the path is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Tuples within tuples beyond [`MAX_NESTING`].
    #[error("an element of the path is nested deeper than {MAX_NESTING} levels")]
    TooDeep,
    /// An integer of more than 1,024 bits.
    #[error("an integer of more than {MAX_INT_BITS} bits cannot be part of a path")]
    IntTooBig,
}

impl From<Fault> for PathError {
    fn from(fault: Fault) -> Self {
        Self::Elem(fault.into())
    }
}

/// Checks an encoded path that came from outside, in depth, and counts its
/// elements. `null` is accepted anywhere; see [`has_inner_null`].
///
/// # Errors
/// Broken encodings, elements that none can be, and everything beyond the
/// limits of this module.
#[inline(always)]
pub fn check(path: PathRef<'_>) -> Result<usize, PathError> {
    let bytes = path.bytes();
    if bytes.len() > MAX_BYTES {
        return Err(PathError::TooLong);
    }
    match count_short_texts(bytes) {
        Some(count) if count > MAX_ELEMENTS => Err(PathError::TooMany),
        Some(count) => Ok(count),
        None => check_any(bytes),
    }
}

/// The number of elements of a path that holds nothing but short ASCII texts,
/// as nearly every path does.
#[inline]
#[must_use]
pub fn count_short_texts(bytes: &[u8]) -> Option<usize> {
    let (mut rest, mut count) = (bytes, 0);
    while let Some((marker @ 0xa0..=0xbf, after)) = rest.split_first() {
        rest = after.get(usize::from(marker & 0x1f)..)?;
        count += 1;
    }
    // nothing but the elements' first bytes is beyond ASCII
    (rest.is_empty() && msgpack::beyond_ascii(bytes) == count).then_some(count)
}

#[inline(never)]
fn check_any(bytes: &[u8]) -> Result<usize, PathError> {
    let mut rest = bytes;
    let mut count = 0;
    while let Some((marker, after)) = rest.split_first() {
        count += 1;
        if count > MAX_ELEMENTS {
            return Err(PathError::TooMany);
        }
        rest = match marker {
            0xa0..=0xbf => {
                let len = usize::from(marker & 0x1f);
                let (text, after) = after.split_at_checked(len).ok_or(Fault::Incomplete)?;
                if core::str::from_utf8(text).is_err() {
                    return Err(Fault::Utf8(bytes.len() - rest.len()).into());
                }
                after
            }
            _ => {
                let mut reader = Reader::new(rest);
                check_elem(&mut reader, 0)?;
                reader.rest()
            }
        };
    }
    Ok(count)
}

// Recurses at most `MAX_NESTING` times.
fn check_elem(reader: &mut Reader<'_>, nesting: usize) -> Result<(), PathError> {
    let before = *reader;
    let inner = nesting + 1;
    let deeper = || {
        if inner > MAX_NESTING {
            Err(PathError::TooDeep)
        } else {
            Ok(())
        }
    };
    match reader.head()? {
        Head::Nil | Head::Bool(_) | Head::Uint(_) | Head::Neg(_) => {}
        Head::Float(x) if x.is_nan() => return Err(ElemError::Nan.into()),
        Head::Float(_) => {}
        Head::Str(n) => {
            let text = reader.take(n)?;
            if core::str::from_utf8(text).is_err() {
                return Err(Fault::Utf8(before.position()).into());
            }
        }
        Head::Bin(n) => {
            reader.take(n)?;
        }
        Head::Map(_) => return Err(ElemError::Map.into()),
        Head::Array(n) => {
            deeper()?;
            for _ in 0..n {
                check_elem(reader, inner)?;
            }
        }
        Head::Ext(code @ (EXT_PATH | EXT_MARKED), n) => {
            deeper()?;
            let mut elements = Reader::new(reader.take(n)?);
            if code == EXT_MARKED {
                check_elem(&mut elements, inner)?;
            }
            while !elements.is_empty() {
                check_elem(&mut elements, inner)?;
            }
        }
        Head::Ext(EXT_BIG, n) => {
            if BigUint::from_bytes_be(reader.take(n)?).bits() > MAX_INT_BITS {
                return Err(PathError::IntTooBig);
            }
        }
        Head::Ext(_, n) => {
            reader.take(n)?;
            let mut whole = before;
            msgpack::check(whole.object()?)?;
        }
    }
    Ok(())
}

/// Whether `null` is an element other than the first, which no entry's path
/// has.
#[must_use]
pub fn has_inner_null(path: PathRef<'_>) -> bool {
    // no text has this byte: nearly always this decides
    path.bytes().contains(&0xc0) && path.elements().skip(1).any(|e| e == Ok(&[0xc0]))
}

impl Path {
    /// The encoded path, in its shortest form.
    #[must_use]
    pub fn encode(&self) -> RawPath {
        let mut out = Vec::new();
        for elem in self {
            elem.encode(&mut out);
        }
        RawPath(out)
    }

    /// Decodes a path, after [`check`].
    ///
    /// ```
    /// use moat::path::{Path, PathRef};
    ///
    /// let path = Path::decode(PathRef::new(b"\xa1a\x07"))?;
    /// assert_eq!(path.to_string(), "a:7");
    /// assert_eq!(path.encode().as_ref().bytes(), b"\xa1a\x07");
    /// # Ok::<(), moat::path::PathError>(())
    /// ```
    ///
    /// # Errors
    /// As [`check`].
    pub fn decode(path: PathRef<'_>) -> Result<Self, PathError> {
        let count = check(path)?;
        let mut elements = Vec::with_capacity(count);
        let mut reader = Reader::new(path.bytes());
        while !reader.is_empty() {
            elements.push(decode(&mut reader)?);
        }
        Ok(Self(elements))
    }
}

impl From<&Path> for RawPath {
    fn from(path: &Path) -> Self {
        path.encode()
    }
}

impl TryFrom<PathRef<'_>> for Path {
    type Error = PathError;

    fn try_from(path: PathRef<'_>) -> Result<Self, PathError> {
        Self::decode(path)
    }
}

impl PathElem {
    /// Decodes exactly one element.
    ///
    /// # Errors
    /// As [`check`], and bytes that follow.
    pub fn decode(element: &[u8]) -> Result<Self, PathError> {
        check(PathRef::new(element))?;
        let mut reader = Reader::new(element);
        let elem = decode(&mut reader)?;
        match reader.rest().len() {
            0 => Ok(elem),
            n => Err(Fault::Trailing(n).into()),
        }
    }

    /// Appends the encoded element, in its shortest form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nil => write::nil(out),
            Self::Bool(b) => write::bool(out, *b),
            Self::Int(n) => write::int(out, *n),
            Self::Uint(n) => write::uint(out, *n),
            Self::Big(n) => match u64::try_from(n) {
                Ok(n) => write::uint(out, n),
                Err(_) => ext(out, EXT_BIG, &n.to_bytes_be()),
            },
            Self::Float(x) => write::float(out, *x),
            Self::Str(text) => write::str(out, text),
            Self::Bytes(bytes) => write::bin(out, bytes),
            Self::Tuple(items) => {
                write::array(out, items.len());
                for item in items {
                    item.encode(out);
                }
            }
            Self::Path(path) => ext(out, EXT_PATH, path.encode().as_ref().bytes()),
            Self::Ext(code, content) => ext(out, *code, content),
        }
    }
}

fn ext(out: &mut Vec<u8>, code: i8, content: &[u8]) {
    write::ext(out, code, content.len());
    out.extend_from_slice(content);
}

// Recurses at most `MAX_NESTING` times: the check has seen to it.
fn decode(reader: &mut Reader<'_>) -> Result<PathElem, PathError> {
    Ok(match reader.head()? {
        Head::Nil => PathElem::Nil,
        Head::Bool(b) => PathElem::Bool(b),
        Head::Uint(n) => n.into(),
        Head::Neg(n) => PathElem::Int(n),
        Head::Float(x) => PathElem::Float(x),
        Head::Str(n) => {
            let at = reader.position();
            let text = core::str::from_utf8(reader.take(n)?).map_err(|_| Fault::Utf8(at))?;
            text.into()
        }
        Head::Bin(n) => reader.take(n)?.into(),
        Head::Map(_) => return Err(ElemError::Map.into()),
        Head::Array(n) => {
            // each item is at least one byte, however many are announced
            let mut items = Vec::with_capacity(n.min(reader.rest().len()));
            for _ in 0..n {
                items.push(decode(reader)?);
            }
            PathElem::Tuple(items)
        }
        Head::Ext(code @ (EXT_PATH | EXT_MARKED), n) => {
            let mut elements = Reader::new(reader.take(n)?);
            if code == EXT_MARKED {
                // the mark does not count
                elements.object()?;
            }
            let mut path = Path::new();
            while !elements.is_empty() {
                path.push(decode(&mut elements)?);
            }
            PathElem::Path(path)
        }
        Head::Ext(EXT_BIG, n) => BigUint::from_bytes_be(reader.take(n)?).into(),
        Head::Ext(code, n) => PathElem::Ext(code, reader.take(n)?.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(bytes: &[u8]) -> Result<usize, PathError> {
        let count = check(PathRef::new(bytes));
        assert_eq!(Path::decode(PathRef::new(bytes)).map(|p| p.len()), count);
        count
    }

    #[test]
    fn elements_are_counted() {
        assert_eq!(checked(b""), Ok(0));
        assert_eq!(checked(b"\xa1a\xa2bc\x01\xc0\xc3\x92\x01\xa1a"), Ok(6));
        assert_eq!(checked(b"\xd9\x01a\xa2\xc3\xa4"), Ok(2));
        assert_eq!(checked(&[0xa0; MAX_ELEMENTS]), Ok(MAX_ELEMENTS));
        assert_eq!(checked(&[0xa0; MAX_ELEMENTS + 1]), Err(PathError::TooMany));
        assert_eq!(checked(&[0x01; MAX_ELEMENTS + 1]), Err(PathError::TooMany));
    }

    #[test]
    fn what_cannot_be_a_path_is_refused() {
        let nan = b"\x91\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00";
        assert_eq!(checked(nan), Err(ElemError::Nan.into()));
        assert_eq!(checked(b"\xca\x7f\xc0\x00\x00"), Err(ElemError::Nan.into()));
        assert_eq!(checked(b"\xa1a\x80"), Err(ElemError::Map.into()));
        assert_eq!(checked(b"\xd4\x03\x80"), Err(ElemError::Map.into()));
        assert_eq!(checked(b"\xa2a"), Err(Fault::Incomplete.into()));
        assert_eq!(checked(b"\xd9\x02a"), Err(Fault::Incomplete.into()));
        assert_eq!(
            checked(b"\xdd\xff\xff\xff\xff\x01"),
            Err(Fault::Incomplete.into())
        );
        assert_eq!(checked(b"\xd5\x03\xa2a"), Err(Fault::Incomplete.into()));
        assert_eq!(checked(b"\xc7\x00\x06"), Err(Fault::Incomplete.into()));
        assert_eq!(checked(b"\xa1a\xa1\xff"), Err(Fault::Utf8(2).into()));
        assert_eq!(checked(b"\x91\xa1\xff"), Err(Fault::Utf8(1).into()));
        assert_eq!(checked(b"\xd4\x05a"), Err(Fault::Ext(5).into()));
        assert_eq!(checked(b"\xc1"), Err(Fault::Reserved(0).into()));
    }

    #[test]
    fn limits_hold() {
        let nested = |n: usize| [vec![0x91; n], vec![0x01]].concat();
        assert_eq!(checked(&nested(MAX_NESTING)), Ok(1));
        assert_eq!(checked(&nested(MAX_NESTING + 1)), Err(PathError::TooDeep));
        assert_eq!(checked(&nested(60_000)), Err(PathError::TooDeep));

        let mut text = Vec::new();
        write::str(&mut text, &"a".repeat(MAX_BYTES - 3));
        assert_eq!(checked(&text), Ok(1));
        text.push(0xc0);
        assert_eq!(checked(&text), Err(PathError::TooLong));

        let mut big = Vec::new();
        PathElem::Big((BigUint::from(1u8) << 1024) - 1u8).encode(&mut big);
        assert_eq!(checked(&big), Ok(1));
        big.clear();
        PathElem::Big(BigUint::from(1u8) << 1024).encode(&mut big);
        assert_eq!(checked(&big), Err(PathError::IntTooBig));
    }

    #[test]
    fn null_is_seen_where_it_must_not_be() {
        let inner_null = |bytes| has_inner_null(PathRef::new(bytes));
        assert!(!inner_null(b""));
        assert!(!inner_null(b"\xc0\xa1a"));
        assert!(!inner_null(b"\xa1a\x91\xc0\xc4\x01\xc0\xcc\xc0"));
        assert!(inner_null(b"\xc0\xc0"));
        assert!(inner_null(b"\xa1a\x92\x01\x02\xc0\xa1a"));
    }

    #[test]
    fn one_element_is_one_element() {
        assert_eq!(PathElem::decode(b"\xa1a"), Ok("a".into()));
        assert_eq!(
            PathElem::decode(b"\xa1a\x01"),
            Err(Fault::Trailing(1).into())
        );
        assert_eq!(PathElem::decode(b""), Err(Fault::Incomplete.into()));
    }

    #[test]
    fn marks_are_dropped() {
        let marked = PathElem::decode(b"\xc7\x03\x06\xa0\xa1a").unwrap();
        assert_eq!(marked, Path::from_iter(["a"]).into());
    }
}
