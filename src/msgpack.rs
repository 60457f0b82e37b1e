//! Reading and writing the msgpack encoding, without building values.
//!
//! The server keeps and forwards encoded bytes; what it needs of them is
//! where an object ends ([`skip`], [`Walker`]), whether it is sound
//! ([`check`]) and its outermost head ([`Reader::head`]). All reading is
//! iterative and bounded: a declared length never allocates, nesting never
//! recurses. Writing uses the shortest form, as the original's packer does.
//!
//! Source: the msgpack specification; which objects are refused where:
//! `docs/formats.md`, "Checked values".

mod small;
pub mod write;

pub use small::{Small, Words};

use rmp::Marker;

/// Deepest nesting that is read, as in the original.
pub const MAX_DEPTH: usize = 1024;

/// Extension code of big unsigned integers (2^64 and more), big-endian.
pub const EXT_BIG: i8 = 2;
/// Extension code of paths: the elements one after the other.
pub const EXT_PATH: i8 = 3;
/// Extension code of named objects; only `_` ("not given") and `_p` are used.
pub const EXT_PROXY: i8 = 4;
/// Extension code of objects of a named class, which nothing sends.
pub const EXT_OBJECT: i8 = 5;
/// Extension code of marked paths: one mark, then the elements.
pub const EXT_MARKED: i8 = 6;

/// Why bytes are no acceptable msgpack object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes end inside the object.
    #[error("the object is incomplete")]
    Incomplete,
    /// The byte 0xc1, which no encoder writes.
    #[error("invalid byte 0xc1 at offset {0}")]
    Reserved(usize),
    /// Text that is not UTF-8.
    #[error("invalid UTF-8 in a text at offset {0}")]
    Utf8(usize),
    /// Containers within containers beyond [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    Depth,
    /// A map, or something that holds one, as the key of a map.
    #[error("a map as key of a map at offset {0}")]
    MapInKey(usize),
    /// An extension type that is not accepted from clients.
    #[error("extension type {0} is not accepted")]
    Ext(i8),
    /// A big integer of more than 4,096 bits.
    #[error("an integer of more than 4096 bits")]
    BigInt,
    /// Bytes after the end of the object.
    #[error("{0} bytes follow the object")]
    Trailing(usize),
}

/// The outermost layer of an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Head {
    /// `null`
    Nil,
    /// A boolean
    Bool(bool),
    /// An integer of zero or more
    Uint(u64),
    /// An integer below zero
    Neg(i64),
    /// A float of either size
    Float(f64),
    /// Text of that many bytes, which follow
    Str(usize),
    /// Bytes, that many, which follow
    Bin(usize),
    /// A list of that many objects, which follow
    Array(usize),
    /// A map of that many pairs, which follow
    Map(usize),
    /// An extension: its code and the number of bytes that follow
    Ext(i8, usize),
}

/// A position in encoded bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset of the next unread byte.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether everything has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`Fault::Incomplete`] if there are fewer.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(n).ok_or(Fault::Incomplete)?;
        let got = self.bytes.get(self.at..end).ok_or(Fault::Incomplete)?;
        self.at = end;
        Ok(got)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let end = self.at.checked_add(N).ok_or(Fault::Incomplete)?;
        let got = self.bytes.get(self.at..end).ok_or(Fault::Incomplete)?;
        self.at = end;
        // the slice has N bytes: it was cut so
        got.try_into().map_err(|_| Fault::Incomplete)
    }

    #[inline]
    fn len8(&mut self) -> Result<usize, Fault> {
        Ok(usize::from(u8::from_be_bytes(self.array()?)))
    }

    #[inline]
    fn len16(&mut self) -> Result<usize, Fault> {
        Ok(usize::from(u16::from_be_bytes(self.array()?)))
    }

    #[inline]
    fn len32(&mut self) -> Result<usize, Fault> {
        Ok(u32::from_be_bytes(self.array()?) as usize)
    }

    #[inline]
    fn code(&mut self) -> Result<i8, Fault> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    /// Reads one head; the contents of texts, bytes, extensions, lists and
    /// maps follow.
    ///
    /// # Errors
    /// [`Fault::Incomplete`] and [`Fault::Reserved`].
    #[inline]
    pub fn head(&mut self) -> Result<Head, Fault> {
        let start = self.at;
        let byte = *self.bytes.get(start).ok_or(Fault::Incomplete)?;
        self.at = start + 1;
        let head = match Marker::from_u8(byte) {
            Marker::FixPos(n) => Head::Uint(u64::from(n)),
            Marker::FixNeg(n) => Head::Neg(i64::from(n)),
            Marker::FixStr(n) => Head::Str(usize::from(n)),
            Marker::FixArray(n) => Head::Array(usize::from(n)),
            Marker::FixMap(n) => Head::Map(usize::from(n)),
            Marker::Null => Head::Nil,
            Marker::True => Head::Bool(true),
            Marker::False => Head::Bool(false),
            Marker::U8 => Head::Uint(u64::from(u8::from_be_bytes(self.array()?))),
            Marker::U16 => Head::Uint(u64::from(u16::from_be_bytes(self.array()?))),
            Marker::U32 => Head::Uint(u64::from(u32::from_be_bytes(self.array()?))),
            Marker::U64 => Head::Uint(u64::from_be_bytes(self.array()?)),
            Marker::I8 => signed(i64::from(i8::from_be_bytes(self.array()?))),
            Marker::I16 => signed(i64::from(i16::from_be_bytes(self.array()?))),
            Marker::I32 => signed(i64::from(i32::from_be_bytes(self.array()?))),
            Marker::I64 => signed(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Head::Float(f64::from(f32::from_be_bytes(self.array()?))),
            Marker::F64 => Head::Float(f64::from_be_bytes(self.array()?)),
            Marker::Str8 => Head::Str(self.len8()?),
            Marker::Str16 => Head::Str(self.len16()?),
            Marker::Str32 => Head::Str(self.len32()?),
            Marker::Bin8 => Head::Bin(self.len8()?),
            Marker::Bin16 => Head::Bin(self.len16()?),
            Marker::Bin32 => Head::Bin(self.len32()?),
            Marker::Array16 => Head::Array(self.len16()?),
            Marker::Array32 => Head::Array(self.len32()?),
            Marker::Map16 => Head::Map(self.len16()?),
            Marker::Map32 => Head::Map(self.len32()?),
            Marker::FixExt1 => Head::Ext(self.code()?, 1),
            Marker::FixExt2 => Head::Ext(self.code()?, 2),
            Marker::FixExt4 => Head::Ext(self.code()?, 4),
            Marker::FixExt8 => Head::Ext(self.code()?, 8),
            Marker::FixExt16 => Head::Ext(self.code()?, 16),
            Marker::Ext8 => {
                let n = self.len8()?;
                Head::Ext(self.code()?, n)
            }
            Marker::Ext16 => {
                let n = self.len16()?;
                Head::Ext(self.code()?, n)
            }
            Marker::Ext32 => {
                let n = self.len32()?;
                Head::Ext(self.code()?, n)
            }
            Marker::Reserved => return Err(Fault::Reserved(start)),
        };
        Ok(head)
    }

    /// Reads one whole object and returns its bytes.
    ///
    /// # Errors
    /// As [`skip`].
    #[inline]
    pub fn object(&mut self) -> Result<&'a [u8], Fault> {
        let start = self.at;
        let len = skip(self.rest())?;
        self.at = start + len;
        self.bytes.get(start..self.at).ok_or(Fault::Incomplete)
    }

    /// Reads a text; `None` if the next object is something else, which is
    /// then left unread.
    ///
    /// # Errors
    /// As [`Reader::head`], and [`Fault::Utf8`].
    #[inline]
    pub fn text(&mut self) -> Result<Option<&'a str>, Fault> {
        let before = *self;
        if let Head::Str(n) = self.head()? {
            let at = self.at;
            let bytes = self.take(n)?;
            let text = core::str::from_utf8(bytes).map_err(|_| Fault::Utf8(at))?;
            return Ok(Some(text));
        }
        *self = before;
        Ok(None)
    }

    /// Reads a map's next key; `None` if it is no text. The bytes of a text
    /// are not checked.
    ///
    /// # Errors
    /// As [`skip`].
    #[inline]
    pub fn key(&mut self) -> Result<Option<&'a [u8]>, Fault> {
        let before = *self;
        if let Head::Str(n) = self.head()? {
            return self.take(n).map(Some);
        }
        *self = before;
        self.object()?;
        Ok(None)
    }
}

/// The object below a key of a map whose encoded pairs these are; the last
/// one, as Python has it, if there are several.
#[must_use]
pub fn field<'a>(pairs: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut reader = Reader::new(pairs);
    let mut found = None;
    while !reader.is_empty() {
        let key = reader.key().ok()?;
        let item = reader.object().ok()?;
        if key == Some(name.as_bytes()) {
            found = Some(item);
        }
    }
    found
}

fn signed(n: i64) -> Head {
    u64::try_from(n).map_or(Head::Neg(n), Head::Uint)
}

/// Length of the object that `bytes` begin with. Looks at heads only: texts
/// are not checked.
///
/// # Errors
/// [`Fault::Incomplete`], [`Fault::Reserved`], [`Fault::Depth`].
#[inline]
pub fn skip(bytes: &[u8]) -> Result<usize, Fault> {
    match small(bytes) {
        Some(len) => Ok(len),
        None => skip_any(bytes),
    }
}

/// Length of an object of the kinds that dominate: numbers, booleans, null
/// and short texts.
#[inline]
fn small(bytes: &[u8]) -> Option<usize> {
    let len = match *bytes.first()? {
        0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => return Some(1),
        marker @ 0xa0..=0xbf => usize::from(marker & 0x1f) + 1,
        0xcc | 0xd0 => 2,
        0xcd | 0xd1 => 3,
        0xca | 0xce | 0xd2 => 5,
        0xcb | 0xcf | 0xd3 => 9,
        _ => return None,
    };
    (bytes.len() >= len).then_some(len)
}

/// As [`small`], for objects whose text, if they are one, is ASCII.
#[inline]
fn small_ascii(bytes: &[u8]) -> Option<usize> {
    if let Some(marker @ 0xa0..=0xbf) = bytes.first() {
        let len = usize::from(marker & 0x1f) + 1;
        return bytes.get(1..len).filter(|t| is_ascii(t)).map(|_| len);
    }
    small(bytes)
}

/// As the standard library's, but for a dozen bytes: it aims at long texts.
#[inline]
fn is_ascii(text: &[u8]) -> bool {
    if text.len() < 64 {
        beyond_ascii(text) == 0
    } else {
        text.is_ascii()
    }
}

/// How many bytes are beyond ASCII, quickly for some dozen of them.
#[inline]
#[must_use]
pub fn beyond_ascii(bytes: &[u8]) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    if bytes.len() > 31 * 8 {
        return bytes.iter().filter(|byte| !byte.is_ascii()).count();
    }
    // each byte of the sum counts one column of the words; the highest byte of
    // the product is the sum of the columns, which fits
    let high = |word: u64| (word >> 7) & EACH;
    let (words, rest) = bytes.as_chunks::<8>();
    let rest = Words::new(rest).map_or(0, |rest| high(rest.low));
    let columns = words.iter().map(|word| high(u64::from_le_bytes(*word)));
    let sum = columns.fold(rest, |sum, column| sum + column);
    (sum.wrapping_mul(EACH) >> 56) as usize
}

/// Length of a path or list that holds nothing but what [`small_ascii`]
/// knows.
#[inline]
fn flat(bytes: &[u8]) -> Option<usize> {
    let (mut at, end, mut open) = match *bytes {
        [0xd4, 3, ..] => (2, 3, usize::MAX),
        [0xd5, 3, ..] => (2, 4, usize::MAX),
        [0xd6, 3, ..] => (2, 6, usize::MAX),
        [0xd7, 3, ..] => (2, 10, usize::MAX),
        [0xd8, 3, ..] => (2, 18, usize::MAX),
        [0xc7, len, 3, ..] => (3, usize::from(len) + 3, usize::MAX),
        [marker @ 0x90..=0x9f, ..] => (1, bytes.len(), usize::from(marker & 0xf)),
        _ => return None,
    };
    let inner = bytes.get(..end)?;
    let list = open != usize::MAX;
    while if list { open > 0 } else { at < end } {
        at += small_ascii(inner.get(at..)?)?;
        open -= 1;
    }
    Some(at)
}

fn skip_any(bytes: &[u8]) -> Result<usize, Fault> {
    let mut reader = Reader::new(bytes);
    match contents(&mut reader)? {
        0 => Ok(reader.position()),
        open => skip_nested(reader, open),
    }
}

/// Reads a head and everything but nested objects, whose number it returns.
#[inline]
fn contents(reader: &mut Reader<'_>) -> Result<usize, Fault> {
    match reader.head()? {
        Head::Str(n) | Head::Bin(n) | Head::Ext(_, n) => {
            reader.take(n)?;
            Ok(0)
        }
        Head::Array(n) => Ok(n),
        // cannot overflow: n comes from 32 bits
        Head::Map(n) => Ok(n.saturating_mul(2)),
        _ => Ok(0),
    }
}

fn skip_nested(mut reader: Reader<'_>, first: usize) -> Result<usize, Fault> {
    // The numbers of objects still to come, innermost last. The first levels
    // are on the stack: nearly all values need no allocation.
    let mut stack = Stack::new();
    let mut open = first;
    loop {
        while open == 0 {
            match stack.pop() {
                Some(outer) => open = outer,
                None => return Ok(reader.position()),
            }
        }
        open -= 1;
        let inner = contents(&mut reader)?;
        if inner > 0 {
            if stack.len() + 1 >= MAX_DEPTH {
                return Err(Fault::Depth);
            }
            stack.push(open);
            open = inner;
        }
    }
}

/// A stack whose first levels need no allocation.
struct Stack<T> {
    near: [T; 12],
    far: Vec<T>,
    len: usize,
}

impl<T: Copy + Default> Stack<T> {
    #[inline]
    fn new() -> Self {
        Self {
            near: [T::default(); 12],
            far: Vec::new(),
            len: 0,
        }
    }

    #[inline]
    const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn push(&mut self, level: T) {
        match self.near.get_mut(self.len) {
            Some(slot) => *slot = level,
            None => self.far.push(level),
        }
        self.len += 1;
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        match self.near.get(self.len) {
            Some(level) => Some(*level),
            None => self.far.pop(),
        }
    }

    #[inline]
    fn last_mut(&mut self) -> Option<&mut T> {
        let at = self.len.checked_sub(1)?;
        if at < self.near.len() {
            self.near.get_mut(at)
        } else {
            self.far.last_mut()
        }
    }
}

/// Checks that `bytes` are exactly one object that a client may store:
/// sound encoding, valid UTF-8, no map inside a map key, no extension 5,
/// extension 4 only as `_` and `_p`, big integers of at most 4,096 bits,
/// paths whose elements are sound.
///
/// # Errors
/// The first fault found.
pub fn check(bytes: &[u8]) -> Result<(), Fault> {
    let end = check_first(bytes)?;
    match bytes.len() - end {
        0 => Ok(()),
        n => Err(Fault::Trailing(n)),
    }
}

/// A container being read by [`check_first`].
#[derive(Clone, Copy, Default)]
struct Level {
    /// Objects still to come.
    open: u64,
    /// Whether this is a map, whose even objects are keys.
    map: bool,
    /// Whether it stands inside a map's key.
    key: bool,
    /// Where its bytes end, for paths inside extensions.
    end: Option<usize>,
}

/// As [`check`], for the first object of `bytes`, whose length it returns.
///
/// # Errors
/// The first fault found.
#[inline]
pub fn check_first(bytes: &[u8]) -> Result<usize, Fault> {
    match small_ascii(bytes).or_else(|| flat(bytes)) {
        Some(len) => Ok(len),
        None => check_any(bytes),
    }
}

fn check_any(bytes: &[u8]) -> Result<usize, Fault> {
    let mut reader = Reader::new(bytes);
    let mut levels = Stack::<Level>::new();
    loop {
        // is this object a key, or within one?
        let key = match levels.last_mut() {
            None => false,
            Some(level) => {
                let key = level.key || (level.map && level.open % 2 == 0);
                level.open = level.open.saturating_sub(1);
                key
            }
        };
        let start = reader.position();
        let pushed = match reader.head()? {
            Head::Str(n) => {
                let text = reader.take(n)?;
                // short names dominate, and are nearly always ASCII
                if !text.is_ascii() && core::str::from_utf8(text).is_err() {
                    return Err(Fault::Utf8(start));
                }
                None
            }
            Head::Bin(n) => {
                reader.take(n)?;
                None
            }
            Head::Array(n) => Some(Level {
                open: n as u64,
                map: false,
                key,
                end: None,
            }),
            Head::Map(_) if key => return Err(Fault::MapInKey(start)),
            Head::Map(n) => Some(Level {
                open: 2 * n as u64,
                map: true,
                key,
                end: None,
            }),
            Head::Ext(EXT_PATH | EXT_MARKED, n) => {
                let end = reader
                    .position()
                    .checked_add(n)
                    .filter(|end| *end <= bytes.len());
                Some(Level {
                    open: 0,
                    map: false,
                    key,
                    end: Some(end.ok_or(Fault::Incomplete)?),
                })
            }
            Head::Ext(code, n) => {
                ext(code, reader.take(n)?)?;
                None
            }
            _ => None,
        };
        if let Some(level) = pushed {
            if levels.len() >= MAX_DEPTH {
                return Err(Fault::Depth);
            }
            levels.push(level);
        }
        // close what is complete
        loop {
            let done = match levels.last_mut() {
                None => return Ok(reader.position()),
                Some(Level { end: Some(end), .. }) => {
                    // nothing inside a path may reach beyond its end
                    if reader.position() > *end {
                        return Err(Fault::Incomplete);
                    }
                    reader.position() == *end
                }
                Some(level) => level.open == 0,
            };
            if !done {
                break;
            }
            levels.pop();
        }
    }
}

fn ext(code: i8, content: &[u8]) -> Result<(), Fault> {
    match code {
        EXT_BIG if content.len() > 512 => Err(Fault::BigInt),
        EXT_PROXY if content != b"_" && content != b"_p" => Err(Fault::Ext(EXT_PROXY)),
        EXT_OBJECT => Err(Fault::Ext(EXT_OBJECT)),
        _ => Ok(()),
    }
}

/// Finds the end of an object in bytes that arrive in pieces, never looking
/// at a byte twice.
///
/// Give it everything from the object's first byte on, again and longer each
/// time it says that more is needed.
#[derive(Debug, Default)]
pub struct Walker {
    at: usize,
    /// Objects still to come, outermost first.
    open: Vec<usize>,
    started: bool,
}

impl Walker {
    /// A walker at the beginning of an object.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on with `bytes`, which begin where the object begins. Returns the
    /// object's length once it is complete, and is then ready for the next
    /// object; `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`Fault::Reserved`], [`Fault::Depth`].
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let mut reader = Reader { bytes, at: self.at };
        loop {
            if self.started {
                while self.open.last() == Some(&0) {
                    self.open.pop();
                }
                let Some(open) = self.open.last_mut() else {
                    *self = Self::default();
                    return Ok(Some(reader.position()));
                };
                match contents(&mut reader) {
                    Ok(inner) => {
                        *open -= 1;
                        if inner > 0 {
                            if self.open.len() >= MAX_DEPTH {
                                return Err(Fault::Depth);
                            }
                            self.open.push(inner);
                        }
                    }
                    Err(Fault::Incomplete) => return Ok(None),
                    Err(fault) => return Err(fault),
                }
            } else {
                match contents(&mut reader) {
                    Ok(inner) => {
                        self.started = true;
                        self.open.push(inner);
                    }
                    Err(Fault::Incomplete) => return Ok(None),
                    Err(fault) => return Err(fault),
                }
            }
            self.at = reader.position();
        }
    }

    /// Whether part of an object has been read.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.started
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walker_finds_the_end_byte_by_byte() {
        let object = b"\x83\xa1a\x93\x01\xa2xy\xc4\x01z\xa1b\x80\xa1c\xc7\x00\x03";
        let mut walker = Walker::new();
        for n in 0..object.len() {
            assert_eq!(walker.advance(&object[..n]), Ok(None), "at {n}");
        }
        let mut longer = object.to_vec();
        longer.extend_from_slice(b"\x01\x02");
        assert_eq!(walker.advance(&longer), Ok(Some(object.len())));
        assert_eq!(walker.advance(b"\x01"), Ok(Some(1)));
    }

    #[test]
    fn nesting_is_bounded_without_recursion() {
        let deep = vec![0x91; 100_000];
        assert_eq!(skip(&deep), Err(Fault::Depth));
        assert_eq!(Walker::new().advance(&deep), Err(Fault::Depth));
        assert_eq!(check(&deep), Err(Fault::Depth));
        let mut fits = vec![0x91; MAX_DEPTH];
        fits.push(0xc0);
        assert_eq!(check(&fits), Ok(()));
        assert_eq!(skip(&fits), Ok(fits.len()));
    }

    #[test]
    fn declared_lengths_do_not_allocate() {
        assert_eq!(skip(b"\xdd\xff\xff\xff\xff"), Err(Fault::Incomplete));
        assert_eq!(check(b"\xdf\xff\xff\xff\xff\x01"), Err(Fault::Incomplete));
        assert_eq!(Walker::new().advance(b"\xc6\xff\xff\xff\xff"), Ok(None));
    }

    #[test]
    fn what_a_client_may_not_store() {
        assert_eq!(check(b"\x81\x80\x01"), Err(Fault::MapInKey(1)));
        assert_eq!(check(b"\x81\x91\x80\x01"), Err(Fault::MapInKey(2)));
        assert_eq!(check(b"\x81\x01\x80"), Ok(()));
        assert_eq!(check(b"\xa1\xff"), Err(Fault::Utf8(0)));
        assert_eq!(check(b"\xd4\x05a"), Err(Fault::Ext(5)));
        assert_eq!(check(b"\xd4\x04_"), Ok(()));
        assert_eq!(check(b"\xd4\x04x"), Err(Fault::Ext(4)));
        assert_eq!(check(b"\xc1"), Err(Fault::Reserved(0)));
        assert_eq!(check(b"\x01\x02"), Err(Fault::Trailing(1)));
        // a path whose element is cut short, or reaches beyond its end
        assert_eq!(check(b"\xd5\x03\xa2a"), Err(Fault::Incomplete));
        assert_eq!(check(b"\x92\xd5\x03\xa2ab"), Err(Fault::Incomplete));
        assert_eq!(check(b"\xc7\x00\x03"), Ok(()));
        assert_eq!(check(b"\x92\xc7\x00\x03\xd6\x03\xa1a\xa1b"), Ok(()));
    }

    #[test]
    fn bytes_beyond_ascii_are_counted() {
        let bytes: Vec<u8> = (0..1000u32).map(|n| (n * 7) as u8).collect();
        for len in (0..40).chain([247, 248, 249, 1000]) {
            for from in [0, 18, 19] {
                let part = &bytes[from..bytes.len().min(from + len)];
                let count = part.iter().filter(|b| !b.is_ascii()).count();
                assert_eq!(beyond_ascii(part), count, "{from}, {len}");
            }
        }
        assert_eq!(beyond_ascii(&[0xff; 248]), 248);
    }

    proptest::proptest! {
        /// The ways for what is usual agree with the one for everything.
        #[test]
        fn short_cuts_lead_to_the_same(
            bytes in proptest::collection::vec(proptest::prop_oneof![
                proptest::prelude::any::<u8>(),
                proptest::sample::select(vec![0x91, 0x92, 0xa1, 0xa2, 0xc7, 0xd4, 0xd5, 0xd6, 3, 1, 2, b'a', 0xcd, 0xc3]),
            ], 0..24),
        ) {
            proptest::prop_assert_eq!(check_first(&bytes), check_any(&bytes));
            proptest::prop_assert_eq!(skip(&bytes), skip_any(&bytes));
        }
    }

    #[test]
    fn integers_take_the_shortest_form() {
        for (n, want) in [
            (0, &b"\x00"[..]),
            (127, b"\x7f"),
            (128, b"\xcc\x80"),
            (256, b"\xcd\x01\x00"),
            (-1, b"\xff"),
            (-32, b"\xe0"),
            (-33, b"\xd0\xdf"),
            (-129, b"\xd1\xff\x7f"),
        ] {
            let mut out = Vec::new();
            write::int(&mut out, n);
            assert_eq!(out, want, "{n}");
        }
    }
}
