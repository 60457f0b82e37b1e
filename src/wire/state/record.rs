//! One record: what its fields must be, and what they say.

use crate::event::{ChainEnd, Event, MAX_COUNTER, NodeInfo, NodeName, Refused, Tock};
use crate::msgpack::{self, EXT_MARKED, EXT_PATH, Fault, Head};
use crate::path::{PathRef, RawPath};
use crate::wire::client::{self, fields};
use crate::wire::fetch::reply;

/// What is wrong with bytes that should be a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// The encoding is broken.
    #[error(transparent)]
    Encoding(#[from] Fault),
    /// It is no map.
    #[error("not a map")]
    NotAMap,
    /// A key of a record is a text.
    #[error("a key is no text")]
    Key,
    /// A field is of another type, or out of range.
    #[error("`{0}` is not what it must be")]
    Wrong(&'static str),
    /// It tells of an entry, and does not say of which.
    #[error("`path` is missing")]
    NoPath,
    /// It has more than [`MAX_RECORD`](super::MAX_RECORD) bytes.
    #[error("longer than any record")]
    TooLong,
    /// It is not all there.
    #[error("cut off")]
    CutOff,
    /// Its path, chain or value cannot be one.
    #[error("{0}")]
    Event(String),
    /// Its bookkeeping cannot be understood.
    #[error("{0}")]
    Books(String),
    /// Its path goes on from that of a record that could not be read.
    #[error("its path goes on from one that is lost")]
    Unplaced,
}

impl From<reply::Flaw> for Flaw {
    fn from(why: reply::Flaw) -> Self {
        match why {
            reply::Flaw::Encoding(fault) => Self::Encoding(fault),
            why => Self::Event(why.to_string()),
        }
    }
}

impl From<Refused> for Flaw {
    fn from(why: Refused) -> Self {
        Self::Books(client::text(&why))
    }
}

/// The bookkeeping that a record holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Books {
    /// Ticks of all nodes
    pub info: NodeInfo,
    /// The highest tock so far
    pub tock: Option<Tock>,
    /// Whose file it is
    pub node: Option<NodeName>,
    /// When it was written, in seconds since 1970; only this program says so
    pub time: Option<f64>,
}

/// What kind of record it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An entry or a change
    Event,
    /// Bookkeeping
    Books,
    /// Nothing that is known here
    Strange,
}

/// A record's fields, of the right types, not yet looked into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    whole: &'a [u8],
    value: Option<&'a [u8]>,
    chain: Option<&'a [u8]>,
    tock: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    depth: Option<&'a [u8]>,
    node: Option<&'a [u8]>,
    tick: Option<&'a [u8]>,
    nodes: Option<&'a [u8]>,
    known: Option<&'a [u8]>,
    deleted: Option<&'a [u8]>,
    reported: Option<&'a [u8]>,
    dropped: Option<&'a [u8]>,
    info: Option<&'a [u8]>,
    time: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// The fields of a record that is `whole`.
    pub(super) fn find(whole: &'a [u8]) -> Result<Self, Flaw> {
        let mut fields = Self {
            whole,
            value: None,
            chain: None,
            tock: None,
            path: None,
            depth: None,
            node: None,
            tick: None,
            nodes: None,
            known: None,
            deleted: None,
            reported: None,
            dropped: None,
            info: None,
            time: None,
        };
        let mut reader = msgpack::Reader::new(whole);
        let Head::Map(n) = reader.head()? else {
            return Err(Flaw::NotAMap);
        };
        for _ in 0..n {
            let key = reader.key()?.ok_or(Flaw::Key)?;
            let item = reader.object()?;
            fields.set(key, item)?;
        }
        fields.check()?;
        Ok(fields)
    }

    /// Whether these fields may stand together. What begins as one record
    /// and goes on as another one, where a file is torn, has both kinds.
    fn check(&self) -> Result<(), Flaw> {
        let is_change = self.value.is_some()
            || self.chain.is_some()
            || self.depth.is_some()
            || self.tick.is_some();
        let is_books = self.nodes.is_some()
            || self.known.is_some()
            || self.deleted.is_some()
            || self.info.is_some();
        match self.path {
            Some(_) if is_books => Err(Flaw::Wrong("path")),
            None if is_change => Err(Flaw::NoPath),
            _ => Ok(()),
        }
    }

    fn set(&mut self, key: &[u8], item: &'a [u8]) -> Result<(), Flaw> {
        let head = msgpack::Reader::new(item).head()?;
        let is_counter =
            matches!(head, Head::Nil) || matches!(head, Head::Uint(n) if n <= MAX_COUNTER);
        let is_map = matches!(head, Head::Map(_));
        let (name, field, fits) = match key {
            b"value" => {
                msgpack::check(item)?;
                ("value", &mut self.value, true)
            }
            b"chain" => {
                msgpack::check(item)?;
                ("chain", &mut self.chain, is_map)
            }
            b"tock" => ("tock", &mut self.tock, is_counter),
            b"path" => {
                let fits = matches!(head, Head::Ext(EXT_PATH | EXT_MARKED, _) | Head::Array(_));
                ("path", &mut self.path, fits)
            }
            b"depth" => ("depth", &mut self.depth, matches!(head, Head::Uint(_))),
            b"node" => ("node", &mut self.node, matches!(head, Head::Str(_))),
            b"tick" => ("tick", &mut self.tick, is_counter),
            // read with the chain
            b"prev" if is_map || head == Head::Nil => return Ok(msgpack::check(item)?),
            b"prev" => return Err(Flaw::Wrong("prev")),
            b"nodes" => ("nodes", &mut self.nodes, is_map),
            b"known" => ("known", &mut self.known, is_map),
            b"deleted" => ("deleted", &mut self.deleted, is_map),
            b"remote_missing" => ("remote_missing", &mut self.reported, is_map),
            b"node_drop" => {
                let fits = matches!(head, Head::Array(_));
                ("node_drop", &mut self.dropped, fits)
            }
            b"info" => ("info", &mut self.info, is_map),
            b"time" => {
                let fits = matches!(head, Head::Uint(_) | Head::Float(_));
                ("time", &mut self.time, fits)
            }
            key if std::str::from_utf8(key).is_err() => return Err(Flaw::Key),
            _ => return Ok(()),
        };
        if !fits || field.is_some() {
            return Err(Flaw::Wrong(name));
        }
        *field = Some(item);
        Ok(())
    }

    pub(super) const fn kind(&self) -> Kind {
        if self.path.is_some() && (self.chain.is_some() || self.node.is_some()) {
            Kind::Event
        } else if self.info.is_some()
            || self.nodes.is_some()
            || self.known.is_some()
            || self.deleted.is_some()
            || (self.tock.is_some() && self.path.is_none())
        {
            Kind::Books
        } else {
            Kind::Strange
        }
    }

    /// Whether a file begins like this, as every writer begins one.
    pub(super) const fn begins_a_file(&self) -> bool {
        self.nodes.is_some() && self.path.is_none()
    }

    /// Whether the path goes on from the last record's.
    pub(super) fn goes_on(&self) -> bool {
        self.depth
            .is_some_and(|depth| reply::uint(Some(depth)) != Some(0))
    }

    /// What an entry's record, or a change's, says; a missing tock becomes 0.
    /// `base` is the last record's path, and becomes this one's.
    pub(super) fn event(&self, base: &mut RawPath, event: &mut Event) -> Result<(), Flaw> {
        let path = self.path.ok_or(Flaw::Wrong("path"))?;
        reply::place(path, self.depth, PathRef::default(), base, &mut event.path)?;
        event.tock = Tock(reply::uint(self.tock).unwrap_or(0));
        // a change is its chain's newest link itself
        let chain = self.chain.unwrap_or(self.whole);
        event.end = reply::links(chain, &mut event.chain)?;
        let value = self.value.filter(|value| !reply::is_not_given(value));
        event.value = value.map(Into::into);
        Ok(())
    }

    /// What a record of bookkeeping says.
    pub(super) fn books(&self) -> Result<Books, Flaw> {
        let inner;
        let fields = match self.info {
            Some(info) => {
                inner = Self::find(info)?;
                &inner
            }
            None => self,
        };
        let sets = |raw: Option<&[u8]>| raw.map(fields::tick_sets).transpose();
        let info = NodeInfo {
            ticks: fields.nodes.map(fields::node_ticks).transpose()?,
            known: sets(fields.known)?,
            deleted: sets(fields.deleted)?,
            remote_missing: sets(fields.reported)?,
            node_drop: fields.dropped.map(fields::names).transpose()?,
            ..NodeInfo::default()
        };
        let node = fields.node.map(fields::text).transpose()?;
        let time = self.time.map(|raw| msgpack::Reader::new(raw).head());
        Ok(Books {
            info,
            tock: reply::uint(fields.tock).map(Tock),
            node: node.map(NodeName::new),
            time: match time {
                Some(Ok(Head::Float(time))) => Some(time),
                #[allow(clippy::cast_precision_loss)] // a time to the second is exact
                Some(Ok(Head::Uint(time))) => Some(time as f64),
                _ => None,
            },
        })
    }
}

/// An event to read into.
pub(super) fn blank() -> Event {
    Event {
        path: RawPath::new(),
        chain: Vec::new(),
        end: ChainEnd::Start,
        tock: Tock(0),
        value: None,
    }
}
