//! The parts that messages of nodes are made of: names, counters, times,
//! sets of ticks.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::event::{MAX_COUNTER, NodeName, Tick, TickSet, Tock};
use crate::msgpack::{self, Fault, Head, Reader};
use crate::path::{self, PathRef};
use crate::wire::cluster::{MAX_INTERVALS, MAX_NAME, MAX_NAMES, MAX_NODES, Malformed};

/// `null`, encoded.
pub(super) const NIL: &[u8] = &[0xc0];

/// A map whose encoding is sound: its pairs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Map<'a>(&'a [u8]);

impl<'a> Map<'a> {
    /// The map that `bytes` are, all of them.
    pub(super) fn whole(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let len = msgpack::skip(bytes)?;
        match bytes.len().saturating_sub(len) {
            0 => Self::of(bytes).ok_or(Malformed::NotAMap("the message")),
            n => Err(Fault::Trailing(n).into()),
        }
    }

    /// The map that a sound object is, if it is one.
    pub(super) fn of(object: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(object);
        match reader.head() {
            Ok(Head::Map(_)) => Some(Self(reader.rest())),
            _ => None,
        }
    }

    /// The object below a key, `null` included; the last one if there are
    /// several.
    pub(super) fn get(self, name: &str) -> Option<&'a [u8]> {
        msgpack::field(self.0, name)
    }

    /// The object below a key, if it is there and not `null`.
    pub(super) fn given(self, name: &str) -> Option<&'a [u8]> {
        self.get(name).filter(|item| *item != NIL)
    }

    /// The object below a key that must be there.
    pub(super) fn need(self, name: &'static str) -> Result<&'a [u8], Malformed> {
        self.get(name).ok_or(Malformed::Missing(name))
    }
}

/// The next object, as a text that may be a node's name, or empty.
#[inline]
pub(super) fn sender<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Malformed> {
    match reader.text()? {
        Some(text) if text.len() <= MAX_NAME => Ok(text),
        Some(_) => Err(Malformed::Name),
        None => Err(Malformed::Type("node")),
    }
}

/// The next object, as a node's name.
pub(super) fn name(reader: &mut Reader<'_>) -> Result<NodeName, Malformed> {
    match sender(reader)? {
        "" => Err(Malformed::Name),
        name => Ok(NodeName::new(name)),
    }
}

/// The next object, as a tick or tock; `None` for `null`.
#[inline]
pub(super) fn counter(
    reader: &mut Reader<'_>,
    what: &'static str,
) -> Result<Option<u64>, Malformed> {
    match reader.head()? {
        Head::Nil => Ok(None),
        Head::Uint(n) if n <= MAX_COUNTER => Ok(Some(n)),
        Head::Uint(_) | Head::Neg(_) => Err(Malformed::Counter(what)),
        _ => Err(Malformed::Type(what)),
    }
}

/// A tock that must be a number.
#[inline]
pub(super) fn tock(reader: &mut Reader<'_>) -> Result<Tock, Malformed> {
    counter(reader, "tock")?
        .map(Tock)
        .ok_or(Malformed::Type("tock"))
}

/// An integer of zero or more that fits.
pub(super) fn integer<N: TryFrom<u64>>(raw: &[u8], what: &'static str) -> Result<N, Malformed> {
    match Reader::new(raw).head()? {
        Head::Uint(n) => N::try_from(n).map_err(|_| Malformed::Range(what)),
        Head::Neg(_) => Err(Malformed::Range(what)),
        _ => Err(Malformed::Type(what)),
    }
}

/// A time in seconds, integer or float.
pub(super) fn seconds(raw: &[u8], what: &'static str) -> Result<Duration, Malformed> {
    match Reader::new(raw).head()? {
        Head::Uint(n) => Ok(Duration::from_secs(n)),
        Head::Float(x) => Duration::try_from_secs_f64(x).map_err(|_| Malformed::Range(what)),
        Head::Neg(_) => Err(Malformed::Range(what)),
        _ => Err(Malformed::Type(what)),
    }
}

/// A path, as an extension or a list: an entry's, checked.
#[inline]
pub(super) fn path(object: &[u8]) -> Result<PathRef<'_>, Malformed> {
    let path = PathRef::of(object)?.ok_or(Malformed::Type("path"))?;
    path::check(path)?;
    if path::has_inner_null(path) {
        return Err(Malformed::InnerNull);
    }
    Ok(path)
}

/// A list of names; `null` is an empty one.
pub(super) fn names(raw: &[u8], what: &'static str) -> Result<Vec<NodeName>, Malformed> {
    let mut reader = Reader::new(raw);
    match reader.head()? {
        Head::Nil => Ok(Vec::new()),
        Head::Array(n) if n <= MAX_NAMES => (0..n).map(|_| name(&mut reader)).collect(),
        Head::Array(_) => Err(Malformed::TooMany(what)),
        _ => Err(Malformed::Type(what)),
    }
}

/// `{NODE: item}`
fn by_node<'a, T>(
    raw: &'a [u8],
    what: &'static str,
    mut item: impl FnMut(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<(NodeName, T)>, Malformed> {
    let mut reader = Reader::new(raw);
    match reader.head()? {
        Head::Map(n) if n <= MAX_NODES => (0..n)
            .map(|_| Ok((name(&mut reader)?, item(&mut reader)?)))
            .collect(),
        Head::Map(_) => Err(Malformed::TooMany(what)),
        _ => Err(Malformed::NotAMap(what)),
    }
}

/// `{NODE: tick or null}`
pub(super) fn node_ticks(
    raw: &[u8],
    what: &'static str,
) -> Result<Vec<(NodeName, Option<Tick>)>, Malformed> {
    by_node(raw, what, |reader| Ok(counter(reader, what)?.map(Tick)))
}

/// `{NODE: ranges}`. `room` is how many more intervals are read.
pub(super) fn tick_sets(
    raw: &[u8],
    what: &'static str,
    room: &mut usize,
) -> Result<Vec<(NodeName, TickSet)>, Malformed> {
    by_node(raw, what, |reader| {
        let Head::Array(n) = reader.head()? else {
            return Err(Malformed::Type(what));
        };
        *room = room.checked_sub(n).ok_or(Malformed::TooMany(what))?;
        (0..n)
            .filter_map(|_| ticks(reader, what).transpose())
            .collect()
    })
}

/// Room for the tick sets of one message.
pub(super) const ROOM: usize = MAX_INTERVALS;

/// One item of a list of ticks: a tick, or a pair whose second is the first
/// tick that does not belong. `None` if no tick is in it.
fn ticks(
    reader: &mut Reader<'_>,
    what: &'static str,
) -> Result<Option<RangeInclusive<u64>>, Malformed> {
    let tick = |reader: &mut Reader<'_>, most| match reader.head()? {
        Head::Uint(n) if n <= most => Ok(n),
        Head::Uint(_) | Head::Neg(_) => Err(Malformed::Counter(what)),
        _ => Err(Malformed::Ticks),
    };
    let before = *reader;
    let (from, end) = match reader.head()? {
        Head::Array(2) => (tick(reader, MAX_COUNTER)?, tick(reader, MAX_COUNTER + 1)?),
        Head::Array(_) => return Err(Malformed::Ticks),
        _ => {
            *reader = before;
            let one = tick(reader, MAX_COUNTER)?;
            (one, one + 1)
        }
    };
    // ticks begin with 1
    let (from, last) = (from.max(1), end.saturating_sub(1));
    Ok((from <= last).then_some(from..=last))
}
