//! The fields of a request, found but not yet looked into, and the ways to
//! read one. What the original's errors say of a wrong field is kept where
//! programs may look at it: the class and the field's name.

use crate::event::MAX_COUNTER;
use crate::event::{Depths, Expect, Links, NodeName, Refused, Tick, TickSet, Topic};
use crate::msgpack::{self, EXT_MARKED, EXT_PATH, Fault, Head, Reader};
use crate::path::{self, ElemError, Path, PathElem, PathError, PathRef};

/// A request's fields: those that most requests have, and where to look for
/// the others.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fields<'a> {
    pub(super) seq: Option<&'a [u8]>,
    pub(super) action: Option<&'a [u8]>,
    pub(super) state: Option<&'a [u8]>,
    pub(super) path: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) chain: Option<&'a [u8]>,
    pub(super) prev: Option<&'a [u8]>,
    pub(super) nchain: Option<&'a [u8]>,
    pub(super) idem: Option<&'a [u8]>,
    pub(super) qlen: Option<&'a [u8]>,
    pairs: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Finds the fields of a map; `None` if it is none.
    #[inline]
    pub(super) fn find(frame: &'a [u8]) -> Result<Option<Self>, Fault> {
        let mut reader = Reader::new(frame);
        let Head::Map(n) = reader.head()? else {
            return Ok(None);
        };
        let mut fields = Self {
            pairs: reader.rest(),
            ..Self::default()
        };
        for _ in 0..n {
            match reader.key()? {
                Some(key) => {
                    fields.set(key, reader.object()?);
                }
                None => {
                    reader.object()?;
                }
            }
        }
        Ok(Some(fields))
    }

    /// Finds and checks, in one pass, the fields of the message that `bytes`
    /// begin with, and its length. `None` if there is anything unusual about
    /// it: it may be incomplete, faulty, or no map of texts.
    #[inline]
    pub(super) fn scan(&mut self, bytes: &'a [u8]) -> Option<usize> {
        let n = match bytes.first()? {
            marker @ 0x80..=0x8f => marker & 0xf,
            _ => return None,
        };
        let mut at = 1;
        for _ in 0..n {
            // the name, a short text
            let marker = *bytes.get(at)?;
            if !matches!(marker, 0xa0..=0xbf) {
                return None;
            }
            let item = at + 1 + usize::from(marker & 0x1f);
            let key = bytes.get(at + 1..item)?;
            let rest = bytes.get(item..)?;
            let len = match rest {
                // what is in a path is checked when it is taken for one
                [0xc7, len, 3, ..] if key == b"path" => usize::from(*len) + 3,
                _ => msgpack::check_first(rest).ok()?,
            };
            if !self.set(key, rest.get(..len)?) && !key.is_ascii() {
                return None;
            }
            at = item + len;
        }
        self.pairs = bytes.get(1..at)?;
        Some(at)
    }

    /// Whether this is a field that most requests have.
    #[inline]
    fn set(&mut self, key: &[u8], item: &'a [u8]) -> bool {
        let field = match key {
            b"seq" => &mut self.seq,
            b"action" => &mut self.action,
            b"path" => &mut self.path,
            b"value" => &mut self.value,
            b"nchain" => &mut self.nchain,
            b"state" => &mut self.state,
            b"chain" => &mut self.chain,
            b"prev" => &mut self.prev,
            b"idem" => &mut self.idem,
            b"qlen" => &mut self.qlen,
            _ => return false,
        };
        *field = Some(item);
        true
    }

    /// Any field, by name.
    pub(super) fn get(&self, name: &str) -> Option<&'a [u8]> {
        msgpack::field(self.pairs, name)
    }

    /// A field that must be there.
    pub(super) fn need(&self, name: &'static str) -> Result<&'a [u8], Refused> {
        self.get(name).ok_or(Refused::Missing(name))
    }

    /// Whether a field is there and true, as Python counts truth.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(truth)
    }

    pub(super) fn path(&self) -> Result<PathRef<'a>, Refused> {
        path_of(self.path.ok_or(Refused::Missing("path"))?)
    }

    pub(super) fn links(&self, default: Links) -> Result<Links, Refused> {
        match self.nchain {
            None => Ok(default),
            Some(raw) => Ok(match int(raw)? {
                0 => Links::None,
                n if n < 0 => Links::All,
                n => Links::Newest(u32::try_from(n).unwrap_or(u32::MAX)),
            }),
        }
    }

    pub(super) fn depths(&self) -> Result<Depths, Refused> {
        let depth = |name, default: u32| match self.get(name) {
            None | Some([0xc0]) => Ok(default),
            // a negative maximum means none, a negative minimum is none
            Some(raw) => int(raw).map(|n| match n {
                n if n < 0 => default,
                n => u32::try_from(n).unwrap_or(u32::MAX),
            }),
        };
        Ok(Depths {
            min: depth("min_depth", 0)?,
            max: depth("max_depth", u32::MAX)?,
        })
    }

    pub(super) fn window(&self) -> Result<Option<u32>, Refused> {
        match self.qlen {
            None | Some([0xc0]) => Ok(None),
            Some(raw) => Ok(Some(u32::try_from(int(raw)?.max(0)).unwrap_or(u32::MAX))),
        }
    }

    pub(super) fn expect(&self) -> Result<Option<Expect<'a>>, Refused> {
        let Some(raw) = self.chain else {
            return Ok(None);
        };
        if raw == [0xc0] {
            return Ok(Some(Expect::New));
        }
        let Some(link) = Fields::find(raw).map_err(Refused::Value)? else {
            return Err(wrong(raw, "is not a chain"));
        };
        let node = text(link.need("node")?)?;
        let tick = tick(link.need("tick")?)?;
        Ok(Some(Expect::Link(node, tick)))
    }

    pub(super) fn topic(&self) -> Result<Topic, Refused> {
        topic(self.need("topic")?)
    }
}

/// An object's truth, as Python counts it.
pub(super) fn truth(raw: &[u8]) -> bool {
    match Reader::new(raw).head() {
        Ok(Head::Bool(b)) => b,
        Ok(Head::Uint(n)) => n != 0,
        Ok(Head::Float(x)) => x != 0.0,
        Ok(Head::Str(n) | Head::Bin(n) | Head::Array(n) | Head::Map(n) | Head::Ext(_, n)) => n > 0,
        Ok(Head::Neg(_)) => true,
        Ok(Head::Nil) | Err(_) => false,
    }
}

/// The name of an object's type, as Python has it.
pub(super) fn type_name(raw: &[u8]) -> &'static str {
    match Reader::new(raw).head() {
        Ok(Head::Nil) | Err(_) => "NoneType",
        Ok(Head::Bool(_)) => "bool",
        Ok(Head::Uint(_) | Head::Neg(_) | Head::Ext(msgpack::EXT_BIG, _)) => "int",
        Ok(Head::Float(_)) => "float",
        Ok(Head::Str(_)) => "str",
        Ok(Head::Bin(_)) => "bytes",
        Ok(Head::Array(_)) => "tuple",
        Ok(Head::Map(_)) => "dict",
        Ok(Head::Ext(EXT_PATH | EXT_MARKED, _)) => "Path",
        Ok(Head::Ext(..)) => "ExtType",
    }
}

fn wrong(raw: &[u8], what: &str) -> Refused {
    Refused::WrongType(format!("'{}' object {what}", type_name(raw)))
}

pub(super) fn int(raw: &[u8]) -> Result<i64, Refused> {
    match Reader::new(raw).head() {
        Ok(Head::Uint(n)) => Ok(i64::try_from(n).unwrap_or(i64::MAX)),
        Ok(Head::Neg(n)) => Ok(n),
        Ok(Head::Bool(b)) => Ok(i64::from(b)),
        _ => Err(wrong(raw, "cannot be interpreted as an integer")),
    }
}

pub(super) fn tick(raw: &[u8]) -> Result<Tick, Refused> {
    match Reader::new(raw).head() {
        Ok(Head::Uint(n)) if n <= MAX_COUNTER => Ok(Tick(n)),
        Ok(Head::Uint(_) | Head::Neg(_)) => {
            Err(Refused::BadValue("a tick is between 0 and 2^62".to_owned()))
        }
        _ => Err(wrong(raw, "cannot be interpreted as an integer")),
    }
}

pub(in crate::wire) fn text(raw: &[u8]) -> Result<&str, Refused> {
    match Reader::new(raw).text() {
        Ok(Some(text)) => Ok(text),
        _ => Err(wrong(raw, "is not a text")),
    }
}

/// A path: an extension 3 or, everywhere as good, a list.
#[inline]
pub(super) fn path_of(raw: &[u8]) -> Result<PathRef<'_>, Refused> {
    let Some(path) = PathRef::of(raw).map_err(Refused::Value)? else {
        let what = match Reader::new(raw).head() {
            Ok(Head::Str(_)) => "is not a path",
            _ => "is not iterable",
        };
        return Err(wrong(raw, what));
    };
    match path::check(path) {
        Ok(_) => Ok(path),
        Err(PathError::Elem(ElemError::Encoding(fault))) => Err(Refused::Value(fault)),
        Err(why) => Err(Refused::Element(why.to_string())),
    }
}

/// A topic: a list or path whose elements are taken as texts, or a path's
/// text. A slash separates levels, as the broker has it.
fn topic(raw: &[u8]) -> Result<Topic, Refused> {
    let mut levels: Vec<String> = Vec::new();
    let mut add = |level: &str| levels.extend(level.split('/').map(str::to_owned));
    if let Ok(Some(text)) = Reader::new(raw).text() {
        let path: Path = text
            .parse()
            .map_err(|why: path::ParseError| Refused::BadValue(why.to_string()))?;
        path.iter().for_each(|element| add(&element.level()));
    } else {
        for (n, element) in path_of(raw)?.elements().enumerate() {
            let element = element.map_err(Refused::Value)?;
            match PathElem::decode(element) {
                Ok(PathElem::Str(text)) => add(&text),
                Ok(_) if n == 0 => return Err(wrong(element, "is not subscriptable")),
                Ok(element) => add(&element.level()),
                Err(why) => return Err(Refused::Element(why.to_string())),
            }
        }
    }
    if levels.is_empty() {
        return Err(Refused::EmptyTopic);
    }
    if levels.len() > 128 || levels.iter().map(|l| l.len() + 1).sum::<usize>() > 65_535 {
        return Err(Refused::TooMany("topic levels, or bytes of a topic"));
    }
    Ok(Topic(levels))
}

/// `{NODE: ranges}`
pub(in crate::wire) fn tick_sets(raw: &[u8]) -> Result<Vec<(NodeName, TickSet)>, Refused> {
    let mut reader = Reader::new(raw);
    let Ok(Head::Map(n)) = reader.head() else {
        return Err(wrong(raw, "is not a map"));
    };
    let mut sets = Vec::new();
    for _ in 0..n {
        let node = text(reader.object().map_err(Refused::Value)?)?;
        let ranges = reader.object().map_err(Refused::Value)?;
        sets.push((NodeName::new(node), tick_set(ranges)?));
    }
    Ok(sets)
}

/// A list of ticks and of pairs `[from, end)`.
fn tick_set(raw: &[u8]) -> Result<TickSet, Refused> {
    let mut reader = Reader::new(raw);
    let Ok(Head::Array(n)) = reader.head() else {
        return Err(wrong(raw, "is not a list"));
    };
    let mut set = TickSet::new();
    for _ in 0..n {
        let item = reader.object().map_err(Refused::Value)?;
        let mut pair = Reader::new(item);
        if pair.head() == Ok(Head::Array(2)) {
            let from = tick(pair.object().map_err(Refused::Value)?)?;
            // behind the last tick there may be one more
            let end = pair.object().map_err(Refused::Value)?;
            let last = match Reader::new(end).head() {
                Ok(Head::Uint(end)) if end == MAX_COUNTER + 1 => MAX_COUNTER,
                _ => tick(end)?.0.saturating_sub(1),
            };
            set.insert_range(from.0.max(1)..=last);
        } else {
            let Tick(tick) = tick(item)?;
            set.insert_range(tick.max(1)..=tick);
        }
    }
    Ok(set)
}

/// `{NODE: tick or null}`
pub(in crate::wire) fn node_ticks(raw: &[u8]) -> Result<Vec<(NodeName, Option<Tick>)>, Refused> {
    let mut reader = Reader::new(raw);
    let Ok(Head::Map(n)) = reader.head() else {
        return Err(wrong(raw, "is not a map"));
    };
    let mut ticks = Vec::new();
    for _ in 0..n {
        let node = text(reader.object().map_err(Refused::Value)?)?;
        let item = reader.object().map_err(Refused::Value)?;
        let tick = if item == [0xc0] {
            None
        } else {
            Some(tick(item)?)
        };
        ticks.push((NodeName::new(node), tick));
    }
    Ok(ticks)
}

/// A list of names.
pub(in crate::wire) fn names(raw: &[u8]) -> Result<Vec<NodeName>, Refused> {
    let mut reader = Reader::new(raw);
    let Ok(Head::Array(n)) = reader.head() else {
        return Err(wrong(raw, "is not a list"));
    };
    let mut names = Vec::new();
    for _ in 0..n {
        names.push(NodeName::new(text(
            reader.object().map_err(Refused::Value)?,
        )?));
    }
    Ok(names)
}

/// The two numbers of `resume`.
pub(super) fn resume(raw: &[u8]) -> Result<Option<(u64, u64)>, Refused> {
    if raw == [0xc0] {
        return Ok(None);
    }
    let mut reader = Reader::new(raw);
    match (reader.head(), reader.head(), reader.head()) {
        (Ok(Head::Array(2)), Ok(Head::Uint(run)), Ok(Head::Uint(n))) => Ok(Some((run, n))),
        _ => Err(wrong(raw, "is not a pair of numbers")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_may_end_with_the_last_tick() {
        let set = |end: u64| {
            let mut raw = vec![0x91, 0x92, 0x05, 0xcf];
            raw.extend_from_slice(&end.to_be_bytes());
            tick_set(&raw).map(|set| set.ranges().next().map(|r| *r.end()))
        };
        assert_eq!(set(7), Ok(Some(6)));
        assert_eq!(set(MAX_COUNTER + 1), Ok(Some(MAX_COUNTER)));
        assert!(set(MAX_COUNTER + 2).is_err());
    }
}
