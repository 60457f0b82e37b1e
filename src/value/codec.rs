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
use crate::path::{Path, PathElem, PathRef};

use super::{MAX_INT_BITS, Value, key};

impl Value {
    /// Decodes exactly one value.
    ///
    /// Of equal keys in a map the last one's value wins, at the place of the
    /// first. Marked paths lose their mark. A path that no [`Path`] can hold
    /// (a map or NaN is part of it) is kept as [`Value::Ext`].
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
            Self::Big(n) => big(out, n),
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
            Self::Path(path) => encode_path(out, path),
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

fn big(out: &mut Vec<u8>, n: &BigUint) {
    match u64::try_from(n) {
        Ok(n) => write::uint(out, n),
        Err(_) => ext(out, EXT_BIG, &n.to_bytes_be()),
    }
}

fn encode_path(out: &mut Vec<u8>, path: &Path) {
    let mut inner = Vec::new();
    for elem in path.elements() {
        encode_elem(&mut inner, elem);
    }
    ext(out, EXT_PATH, &inner);
}

fn encode_elem(out: &mut Vec<u8>, elem: &PathElem) {
    match elem {
        PathElem::Nil => write::nil(out),
        PathElem::Bool(b) => write::bool(out, *b),
        PathElem::Int(n) => write::int(out, *n),
        PathElem::Uint(n) => write::uint(out, *n),
        PathElem::Big(n) => big(out, n),
        PathElem::Float(x) => write::float(out, *x),
        PathElem::Str(text) => write::str(out, text),
        PathElem::Bytes(bytes) => write::bin(out, bytes),
        PathElem::Tuple(items) => {
            write::array(out, items.len());
            for item in items {
                encode_elem(out, item);
            }
        }
        PathElem::Path(path) => encode_path(out, path),
        PathElem::Ext(code, content) => ext(out, *code, content),
    }
}

/// What an open container will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    List,
    Map,
    /// A path, of this extension code, whose content is there and whose last
    /// whole element ends there.
    Path {
        code: i8,
        begin: usize,
        whole: usize,
        end: usize,
    },
}

/// A container whose objects are being read.
struct Open {
    kind: Kind,
    /// Where its head is.
    start: usize,
    /// List, map: how many objects are still to come.
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

    fn is_complete(&self, at: usize) -> bool {
        match self.kind {
            Kind::List | Kind::Map => self.left == 0,
            Kind::Path { whole, .. } => at >= whole,
        }
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
                    if !outer.is_complete(at) {
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
                let begin = self.reader.position();
                let content = self.reader.clone().take(n)?;
                let kind = Kind::Path {
                    code,
                    begin,
                    // neither sum exceeds the input's length
                    whole: begin + whole_elements(content)?,
                    end: begin + n,
                };
                return self.container(start, kind, 0);
            }
            Head::Ext(code, n) => extension(code, self.reader.take(n)?)?,
        };
        Ok(Some(value))
    }

    fn container(&mut self, start: usize, kind: Kind, left: usize) -> Result<Option<Value>, Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::Depth);
        }
        let in_key = self
            .open
            .last()
            .is_some_and(|outer| outer.in_key || outer.expects_key());
        if in_key && kind == Kind::Map {
            return Err(Fault::MapInKey(start));
        }
        let open = Open {
            kind,
            start,
            left,
            in_key,
            items: Vec::new(),
            keys: Vec::new(),
        };
        let complete = open.is_complete(self.reader.position());
        self.open.push(open);
        complete.then(|| self.close()).transpose()
    }

    fn close(&mut self) -> Result<Value, Fault> {
        let Some(open) = self.open.pop() else {
            return Err(Fault::Incomplete);
        };
        match open.kind {
            Kind::List => Ok(Value::List(open.items)),
            Kind::Map => Ok(Value::Map(self.pairs(open.items, &open.keys))),
            Kind::Path {
                code, begin, end, ..
            } => {
                // what is cut off
                self.reader
                    .take(end.saturating_sub(self.reader.position()))?;
                let marks = usize::from(code == EXT_MARKED);
                if open.items.len() < marks {
                    return Err(Fault::Incomplete);
                }
                let elements = open.items.into_iter().skip(marks);
                Ok(match elements.map(elem).collect::<Option<Vec<_>>>() {
                    Some(elements) => Value::Path(elements.into()),
                    None => {
                        let content = self.bytes.get(begin..end);
                        Value::Ext(code, content.unwrap_or_default().to_vec())
                    }
                })
            }
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

/// An element of a path as a value.
pub(super) fn from_elem(elem: &PathElem) -> Value {
    match elem {
        PathElem::Nil => Value::Nil,
        PathElem::Bool(b) => Value::Bool(*b),
        PathElem::Int(n) => Value::Int(*n),
        PathElem::Uint(n) => Value::Uint(*n),
        PathElem::Big(n) => Value::Big(n.clone()),
        PathElem::Float(x) => Value::Float(*x),
        PathElem::Str(text) => Value::Str(text.to_string()),
        PathElem::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
        PathElem::Tuple(items) => Value::List(items.iter().map(from_elem).collect()),
        PathElem::Path(path) => Value::Path(path.clone()),
        PathElem::Ext(EXT_PROXY, name) if **name == *b"_" => Value::NotGiven,
        PathElem::Ext(code, content) => Value::Ext(*code, content.to_vec()),
    }
}

/// The value as an element of a path, if it can be one.
fn elem(value: Value) -> Option<PathElem> {
    Some(match value {
        Value::Nil => PathElem::Nil,
        Value::Bool(b) => PathElem::Bool(b),
        Value::Int(n) => PathElem::Int(n),
        Value::Uint(n) => PathElem::Uint(n),
        Value::Big(n) => PathElem::Big(n),
        Value::Float(x) if x.is_nan() => return None,
        Value::Float(x) => PathElem::Float(x),
        Value::Str(text) => PathElem::Str(text.into()),
        Value::Bytes(bytes) => PathElem::Bytes(bytes.into()),
        Value::List(items) => PathElem::Tuple(items.into_iter().map(elem).collect::<Option<_>>()?),
        Value::Path(path) => PathElem::Path(path),
        Value::NotGiven => PathElem::Ext(EXT_PROXY, b"_".as_slice().into()),
        // a path that no `Path` can hold
        Value::Map(_) | Value::Ext(EXT_PATH | EXT_MARKED, _) => return None,
        Value::Ext(code, content) => PathElem::Ext(code, content.into()),
    })
}
