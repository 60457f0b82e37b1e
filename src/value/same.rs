//! Equality of encoded values, without decoding them.
//!
//! Values that are stored are usually compared with what they were read as:
//! equal bytes are equal values unless NaN is among them. Otherwise both are
//! walked side by side. The time is linear in the size (maps are sorted),
//! whatever the nesting, so that comparing cannot stall a server.

use std::collections::BTreeMap;

use crate::msgpack::{EXT_BIG, EXT_MARKED, EXT_PATH, Fault, Head, MAX_DEPTH, Reader, skip};
use crate::path::same_elem;

use super::key::key_bytes;

/// Whether two encoded values are equal, by Python's rules: `3 == 3.0`, maps
/// regardless of their order, a path like the list of its elements, and NaN
/// equal to nothing. Broken encodings equal nothing but the same bytes.
#[must_use]
pub fn same_value(a: &[u8], b: &[u8]) -> bool {
    if let (Some(0xa0..=0xbf), Some(0xa0..=0xbf)) = (a.first(), b.first()) {
        // short texts are equal if their bytes are
        return a == b;
    }
    if a == b && !a.iter().any(|byte| matches!(byte, 0xca | 0xcb)) {
        // no float, thus no NaN
        return true;
    }
    if is_scalar(a) && is_scalar(b) {
        return same_elem(a, b);
    }
    walk(a, b).unwrap_or(false)
}

/// Whether these are one encoded value, neither a container nor an extension.
fn is_scalar(bytes: &[u8]) -> bool {
    skip(bytes) == Ok(bytes.len())
        && !matches!(bytes.first(), None | Some(0x80..=0x9f | 0xc7..=0xc9 | 0xd4..=0xd8 | 0xdc..=0xdf))
}

/// Whether two encoded values are of one type and equal: `3` is not `3.0`.
/// Nested values may differ in type, as in the original.
#[must_use]
pub fn same_type_and_value(a: &[u8], b: &[u8]) -> bool {
    matches!((kind(a), kind(b)), (Ok(a), Ok(b)) if a == b) && same_value(a, b)
}

#[derive(PartialEq, Eq)]
enum Kind {
    Nil,
    Bool,
    Int,
    Float,
    Str,
    Bytes,
    List,
    Map,
    Path,
    Ext(i8),
}

fn kind(bytes: &[u8]) -> Result<Kind, Fault> {
    Ok(match Reader::new(bytes).head()? {
        Head::Nil => Kind::Nil,
        Head::Bool(_) => Kind::Bool,
        Head::Uint(_) | Head::Neg(_) | Head::Ext(EXT_BIG, _) => Kind::Int,
        Head::Float(_) => Kind::Float,
        Head::Str(_) => Kind::Str,
        Head::Bin(_) => Kind::Bytes,
        Head::Array(_) => Kind::List,
        Head::Map(_) => Kind::Map,
        Head::Ext(EXT_PATH | EXT_MARKED, _) => Kind::Path,
        Head::Ext(code, _) => Kind::Ext(code),
    })
}

/// An encoded value, and where its containers end: found once, so that no
/// object is skipped once a level.
struct Indexed<'a> {
    bytes: &'a [u8],
    /// Start and end of each list and map that is not empty, by start.
    ends: Vec<(usize, usize)>,
}

/// What is still to come of a container.
#[derive(Clone, Copy)]
enum Left {
    Objects(usize),
    /// A path's content, up to this offset
    Until(usize),
}

impl<'a> Indexed<'a> {
    /// Finds all ends; `None` for broken encodings.
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut ends: Vec<(usize, usize)> = Vec::new();
        // what is open: its index in `ends`, if it has one
        let mut open: Vec<(Option<usize>, Left)> = Vec::new();
        let mut reader = Reader::new(bytes);
        loop {
            if let Some((_, Left::Objects(n))) = open.last_mut() {
                *n = n.checked_sub(1)?;
            }
            let start = reader.position();
            match reader.head().ok()? {
                Head::Str(n) | Head::Bin(n) => {
                    reader.take(n).ok()?;
                }
                head @ (Head::Array(n) | Head::Map(n)) if n > 0 => {
                    let each = if matches!(head, Head::Map(_)) { 2 } else { 1 };
                    open.push((Some(ends.len()), Left::Objects(n.checked_mul(each)?)));
                    ends.push((start, start));
                }
                Head::Ext(EXT_PATH | EXT_MARKED, n) => {
                    let end = reader.position().checked_add(n)?;
                    open.push((None, Left::Until(end)));
                }
                Head::Ext(_, n) => {
                    reader.take(n).ok()?;
                }
                _ => {}
            }
            if open.len() > MAX_DEPTH {
                return None;
            }
            let at = reader.position();
            while let Some((slot, left)) = open.last() {
                match left {
                    Left::Objects(0) => {}
                    Left::Until(end) if at == *end => {}
                    Left::Until(end) if at > *end => return None,
                    _ => break,
                }
                if let Some((_, end)) = slot.and_then(|i| ends.get_mut(i)) {
                    *end = at;
                }
                open.pop();
            }
            if open.is_empty() {
                return (at == bytes.len()).then_some(Self { bytes, ends });
            }
        }
    }

    /// The head of the object at `at`, and where its contents begin.
    fn head(&self, at: usize) -> Option<(Head, usize)> {
        let mut reader = Reader::new(self.bytes.get(at..)?);
        let head = reader.head().ok()?;
        Some((head, at.checked_add(reader.position())?))
    }

    /// Where the object at `at` ends.
    fn end(&self, at: usize) -> Option<usize> {
        match self.head(at)? {
            (Head::Str(n) | Head::Bin(n) | Head::Ext(_, n), inner) => inner.checked_add(n),
            (Head::Array(n) | Head::Map(n), _) if n > 0 => {
                let i = self.ends.binary_search_by_key(&at, |(start, _)| *start);
                Some(self.ends.get(i.ok()?)?.1)
            }
            (_, inner) => Some(inner),
        }
    }

    fn object(&self, at: usize) -> Option<&'a [u8]> {
        self.bytes.get(at..self.end(at)?)
    }

    /// The objects of a list or path; `None` if the object is neither.
    fn objects(&self, head: Head, inner: usize) -> Option<Objects> {
        let (at, left) = match head {
            Head::Array(n) => (inner, Left::Objects(n)),
            Head::Ext(EXT_PATH, n) => (inner, Left::Until(inner.checked_add(n)?)),
            Head::Ext(EXT_MARKED, n) => (self.end(inner)?, Left::Until(inner.checked_add(n)?)),
            _ => return None,
        };
        Some(Objects { at, left })
    }

    /// Where the values of a map are, by key. `None` if a key is NaN: then
    /// the map equals nothing.
    fn values(&self, inner: usize, n: usize) -> Option<BTreeMap<Vec<u8>, usize>> {
        let mut values = BTreeMap::new();
        let mut at = inner;
        for _ in 0..n {
            let value = self.end(at)?;
            values.insert(key_bytes(self.object(at)?).ok()?, value);
            at = self.end(value)?;
        }
        Some(values)
    }
}

/// The objects of a list or path that are still to come.
struct Objects {
    at: usize,
    left: Left,
}

impl Objects {
    fn is_empty(&self) -> bool {
        match self.left {
            Left::Objects(n) => n == 0,
            Left::Until(end) => self.at >= end,
        }
    }

    fn next(&mut self, of: &Indexed<'_>) -> Option<usize> {
        let at = self.at;
        self.at = of.end(at)?;
        if let Left::Objects(n) = &mut self.left {
            *n = n.checked_sub(1)?;
        }
        Some(at)
    }
}

/// Pairs of objects that must be equal.
enum Pairs {
    Lists(Objects, Objects),
    Values(std::vec::IntoIter<(usize, usize)>),
}

/// `None` is a quick "no".
fn walk(a: &[u8], b: &[u8]) -> Option<bool> {
    let (a, b) = (Indexed::new(a)?, Indexed::new(b)?);
    // at most `MAX_DEPTH` high, as the index has found
    let mut stack: Vec<Pairs> = Vec::new();
    let mut pair = (0, 0);
    loop {
        let (left, right) = pair;
        let ((head_a, inner_a), (head_b, inner_b)) = (a.head(left)?, b.head(right)?);
        if let (Head::Map(m), Head::Map(n)) = (head_a, head_b) {
            let (values_a, values_b) = (a.values(inner_a, m)?, b.values(inner_b, n)?);
            if !values_a.keys().eq(values_b.keys()) {
                return None;
            }
            let pairs: Vec<_> = values_a.into_values().zip(values_b.into_values()).collect();
            stack.push(Pairs::Values(pairs.into_iter()));
        } else {
            match (a.objects(head_a, inner_a), b.objects(head_b, inner_b)) {
                (Some(a), Some(b)) => stack.push(Pairs::Lists(a, b)),
                (None, None) if same_elem(a.object(left)?, b.object(right)?) => {}
                _ => return None,
            }
        }
        // the next pair
        pair = loop {
            match stack.last_mut() {
                None => return Some(true),
                Some(Pairs::Values(pairs)) => {
                    if let Some(pair) = pairs.next() {
                        break pair;
                    }
                }
                Some(Pairs::Lists(x, y)) => match (x.is_empty(), y.is_empty()) {
                    (true, true) => {}
                    (false, false) => break (x.next(&a)?, y.next(&b)?),
                    _ => return None,
                },
            }
            stack.pop();
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_same(a: &[u8], b: &[u8]) {
        assert!(same_value(a, b) && same_value(b, a), "{a:02x?} {b:02x?}");
    }

    #[track_caller]
    fn assert_other(a: &[u8], b: &[u8]) {
        assert!(!same_value(a, b) && !same_value(b, a), "{a:02x?} {b:02x?}");
    }

    const NAN: &[u8] = b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00";
    const THREE: &[u8] = b"\xcb\x40\x08\x00\x00\x00\x00\x00\x00";

    fn list(items: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![0x90 | u8::try_from(items.len()).unwrap()];
        out.extend(items.concat());
        out
    }

    fn map(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut out = vec![0x80 | u8::try_from(pairs.len()).unwrap()];
        for (key, value) in pairs {
            out.extend([*key, *value].concat());
        }
        out
    }

    #[test]
    fn numbers_are_equal_by_value_at_any_depth() {
        assert_same(b"\x03", THREE);
        assert_same(b"\x03", b"\xcd\x00\x03");
        assert_same(b"\x01", b"\xc3");
        assert_same(&list(&[b"\x03", b"\xa1a"]), &list(&[THREE, b"\xd9\x01a"]));
        assert_same(&map(&[(b"\x03", b"\x03")]), &map(&[(THREE, THREE)]));
        assert_other(b"\x03", b"\xa13");
        assert_other(b"\x90", b"\x80");
    }

    #[test]
    fn maps_are_equal_in_any_order() {
        let one = map(&[(b"\xa1a", b"\x01"), (b"\xa1b", b"\x80")]);
        let two = map(&[(b"\xa1b", b"\x80"), (b"\xa1a", b"\xc3")]);
        assert_same(&one, &two);
        assert_other(&one, &map(&[(b"\xa1a", b"\x01")]));
        assert_other(&one, &map(&[(b"\xa1a", b"\x01"), (b"\xa1c", b"\x80")]));
        // the last of two equal keys counts
        let twice = map(&[
            (b"\xa1a", b"\x05"),
            (b"\xa1b", b"\x80"),
            (b"\xa1a", b"\x01"),
        ]);
        assert_same(&one, &twice);
    }

    #[test]
    fn nan_equals_nothing_even_in_equal_bytes() {
        assert_other(NAN, NAN);
        assert_other(&list(&[NAN]), &list(&[NAN]));
        assert_other(&map(&[(NAN, b"\x01")]), &map(&[(NAN, b"\x01")]));
        assert_same(&list(&[THREE]), &list(&[THREE]));
    }

    #[test]
    fn paths_equal_the_list_of_their_elements() {
        let path = b"\xd6\x03\xa1a\xa1b";
        assert_same(path, b"\x92\xa1a\xa1b");
        assert_same(path, b"\xc7\x06\x06\xa1m\xa1a\xa1b"); // the mark does not count
        assert_other(path, b"\x93\xa1a\xa1b\xa1c");
        assert_other(path, b"\x91\xa1a");
        assert_same(b"\x92\x01\xc7\x00\x03", b"\x92\xc3\x90");
    }

    #[test]
    fn the_type_counts_at_the_top_only() {
        assert!(same_type_and_value(b"\x03", b"\xcc\x03"));
        assert!(!same_type_and_value(b"\x03", THREE));
        assert!(!same_type_and_value(b"\x01", b"\xc3"));
        assert!(!same_type_and_value(b"\xd4\x03\x01", b"\x91\x01"));
        assert!(same_type_and_value(&list(&[b"\x03"]), &list(&[THREE])));
        assert!(!same_type_and_value(NAN, NAN));
    }

    #[test]
    fn deep_nesting_is_compared_in_linear_time() {
        // lists and maps by turns around a wide list, in different key orders
        let wide = [&b"\xdd\x00\x01\x00\x00"[..], &THREE.repeat(65536)].concat();
        let (mut a, mut b) = (wide.clone(), wide);
        for _ in 0..MAX_DEPTH / 2 - 1 {
            a = [b"\x91\x82\x01\x02\xa1k", &a[..]].concat();
            b = [b"\x91\x82\xa1k", &b[..], b"\x01\x02"].concat();
        }
        assert_same(&a, &b);
    }

    #[test]
    fn broken_encodings_equal_nothing_else() {
        assert_other(b"\x91", b"\x92");
        assert_other(b"\xd5\x03\xa2a", b"\x91\xa1a");
        assert_other(b"\x01\x02", b"\x01");
        let deep = vec![0x91; 100_000];
        assert_other(&deep, &[&deep[..], &[0x91]].concat());
    }
}
