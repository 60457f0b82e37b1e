//! Decoding and encoding.
//!
//! Decoding is iterative: its stack of open containers is on the heap and at
//! most `MAX_DEPTH` high. It takes what the original's unpacker takes, which
//! is more than a client may store (see [`msgpack::check`](crate::msgpack)):
//! unknown names in extension 4, and paths whose last element is cut off.

use num_bigint::BigUint;

use crate::msgpack::{
    EXT_BIG, EXT_MARKED, EXT_OBJECT, EXT_PATH, EXT_PROXY, Fault, Head, MAX_DEPTH, Reader, write,
};
use crate::path::{ElemError, Path, PathElem, PathError, PathRef};

use super::{MAX_INT_BITS, Value, key};

impl Value {
    /// Decodes exactly one value.
    ///
    /// Of equal keys in a map the last one's value wins, at the place of the
    /// first. Marked paths lose their mark. A path beyond the limits of
    /// [`Path::decode`], or that holds a map or NaN, is kept unread, as
    /// [`Value::Ext`].
    ///
    /// # Errors
    /// Broken encodings, bytes that follow, and what cannot be decoded: maps
    /// in map keys, extension 5, integers of more than 4,096 bits, nesting
    /// beyond [`MAX_DEPTH`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let decoder = Decoder {
            bytes,
            reader: Reader::new(bytes),
            open: Vec::new(),
        };
        decoder.run()
    }

    /// Appends the encoded value, in its shortest form.
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
            Self::List(items) => {
                write::array(out, items.len());
                for item in items {
                    item.encode(out);
                }
            }
            Self::Map(pairs) => {
                write::map(out, pairs.len());
                for (key, value) in pairs {
                    key.encode(out);
                    value.encode(out);
                }
            }
            Self::Path(path) => ext(out, EXT_PATH, path.encode().as_ref().bytes()),
            Self::NotGiven => ext(out, EXT_PROXY, b"_"),
            Self::Ext(code, content) => ext(out, *code, content),
        }
    }

    /// The encoded value, in its shortest form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

fn ext(out: &mut Vec<u8>, code: i8, content: &[u8]) {
    write::ext(out, code, content.len());
    out.extend_from_slice(content);
}

/// What an open container will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    List,
    Map,
}

/// A container whose objects are being read.
struct Open {
    kind: Kind,
    /// Where its head is.
    start: usize,
    /// How many objects are still to come.
    left: usize,
    /// Whether it is, or is part of, a map's key.
    in_key: bool,
    items: Vec<Value>,
    /// Map: where the keys are.
    keys: Vec<(usize, usize)>,
}

impl Open {
    fn expects_key(&self) -> bool {
        self.kind == Kind::Map && self.left.is_multiple_of(2)
    }
}

struct Decoder<'a> {
    bytes: &'a [u8],
    reader: Reader<'a>,
    open: Vec<Open>,
}

impl<'a> Decoder<'a> {
    fn run(mut self) -> Result<Value, Fault> {
        loop {
            let start = self.reader.position();
            if let Some(mut value) = self.next()? {
                // hand it to its container, and that on if it is complete
                let mut start = start;
                loop {
                    let at = self.reader.position();
                    let Some(outer) = self.open.last_mut() else {
                        return match self.reader.rest().len() {
                            0 => Ok(value),
                            n => Err(Fault::Trailing(n)),
                        };
                    };
                    if outer.expects_key() {
                        outer.keys.push((start, at));
                    }
                    outer.items.push(value);
                    outer.left = outer.left.saturating_sub(1);
                    if outer.left > 0 {
                        break;
                    }
                    start = outer.start;
                    value = self.close()?;
                }
            }
        }
    }

    /// Reads a head. Returns a value, or nothing if it opened a container
    /// that is not complete yet.
    fn next(&mut self) -> Result<Option<Value>, Fault> {
        let start = self.reader.position();
        let value = match self.reader.head()? {
            Head::Nil => Value::Nil,
            Head::Bool(b) => Value::Bool(b),
            Head::Uint(n) => n.into(),
            Head::Neg(n) => Value::Int(n),
            Head::Float(x) => Value::Float(x),
            Head::Str(n) => {
                let text = core::str::from_utf8(self.reader.take(n)?);
                Value::Str(text.map_err(|_| Fault::Utf8(start))?.to_owned())
            }
            Head::Bin(n) => Value::Bytes(self.reader.take(n)?.to_vec()),
            Head::Array(n) => return self.container(start, Kind::List, n),
            Head::Map(n) => return self.container(start, Kind::Map, n.saturating_mul(2)),
            Head::Ext(code @ (EXT_PATH | EXT_MARKED), n) => {
                let content = self.reader.take(n)?;
                self.path(start, code, content)?
            }
            Head::Ext(code, n) => extension(code, self.reader.take(n)?)?,
        };
        Ok(Some(value))
    }

    /// Whether the object that is read now is, or is part of, a map's key.
    fn in_key(&self) -> bool {
        let outer = self.open.last();
        outer.is_some_and(|outer| outer.in_key || outer.expects_key())
    }

    fn container(&mut self, start: usize, kind: Kind, left: usize) -> Result<Option<Value>, Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::Depth);
        }
        let in_key = self.in_key();
        if in_key && kind == Kind::Map {
            return Err(Fault::MapInKey(start));
        }
        self.open.push(Open {
            kind,
            start,
            left,
            in_key,
            items: Vec::new(),
            keys: Vec::new(),
        });
        (left == 0).then(|| self.close()).transpose()
    }

    fn close(&mut self) -> Result<Value, Fault> {
        // nothing is closed that has not been opened
        let open = self.open.pop().ok_or(Fault::Incomplete)?;
        Ok(match open.kind {
            Kind::List => Value::List(open.items),
            Kind::Map => Value::Map(self.pairs(open.items, &open.keys)),
        })
    }

    fn path(&self, start: usize, code: i8, content: &[u8]) -> Result<Value, Fault> {
        let mut elements = content;
        if code == EXT_MARKED {
            // the mark does not count
            let mut reader = Reader::new(content);
            reader.object()?;
            elements = reader.rest();
        }
        let elements = elements
            .get(..whole_elements(elements)?)
            .unwrap_or_default();
        match Path::decode(PathRef::new(elements)) {
            Ok(path) => Ok(path.into()),
            Err(PathError::Elem(ElemError::Map)) if self.in_key() => Err(Fault::MapInKey(start)),
            Err(PathError::Elem(ElemError::Encoding(fault))) if fault != Fault::Incomplete => {
                Err(fault)
            }
            Err(_) => Ok(Value::Ext(code, content.to_vec())),
        }
    }

    /// Pairs keys and values; of equal keys the last value wins.
    fn pairs(&self, objects: Vec<Value>, keys: &[(usize, usize)]) -> Vec<(Value, Value)> {
        let key = |i: usize| {
            let (start, end) = *keys.get(i)?;
            self.bytes.get(start..end)
        };
        let again = key::repeated(keys.len(), |i| key(i).unwrap_or_default());
        let mut pairs: Vec<(Value, Value)> = Vec::with_capacity(keys.len());
        let mut objects = objects.into_iter();
        while let (Some(key), Some(value)) = (objects.next(), objects.next()) {
            pairs.push((key, value));
        }
        for &(first, last) in &again {
            if let Ok([first, last]) = pairs.get_disjoint_mut([first, last]) {
                core::mem::swap(&mut first.1, &mut last.1);
            }
        }
        if !again.is_empty() {
            let mut i = 0;
            pairs.retain(|_| {
                let drop = again.binary_search_by_key(&i, |(_, later)| *later).is_ok();
                i += 1;
                !drop
            });
        }
        pairs
    }
}

/// Where the last whole element of a path's content ends.
fn whole_elements(content: &[u8]) -> Result<usize, Fault> {
    let mut end = 0;
    for element in PathRef::new(content).elements() {
        match element {
            // cannot exceed the content's length
            Ok(element) => end += element.len(),
            Err(Fault::Incomplete) => break,
            Err(fault) => return Err(fault),
        }
    }
    Ok(end)
}

fn extension(code: i8, content: &[u8]) -> Result<Value, Fault> {
    match code {
        EXT_BIG => {
            let n = BigUint::from_bytes_be(content);
            if n.bits() > MAX_INT_BITS {
                return Err(Fault::BigInt);
            }
            Ok(n.into())
        }
        EXT_PROXY if content == b"_" => Ok(Value::NotGiven),
        EXT_OBJECT => Err(Fault::Ext(EXT_OBJECT)),
        _ => Ok(Value::Ext(code, content.to_vec())),
    }
}

impl From<&PathElem> for Value {
    fn from(elem: &PathElem) -> Self {
        match elem {
            PathElem::Nil => Self::Nil,
            PathElem::Bool(b) => Self::Bool(*b),
            PathElem::Int(n) => Self::Int(*n),
            PathElem::Uint(n) => Self::Uint(*n),
            PathElem::Big(n) => Self::Big(n.clone()),
            PathElem::Float(x) => Self::Float(*x),
            PathElem::Str(text) => Self::Str(text.to_string()),
            PathElem::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            PathElem::Tuple(items) => Self::List(items.iter().map(Self::from).collect()),
            PathElem::Path(path) => Self::Path(path.clone()),
            PathElem::Ext(EXT_PROXY, name) if **name == *b"_" => Self::NotGiven,
            PathElem::Ext(code, content) => Self::Ext(*code, content.to_vec()),
        }
    }
}
