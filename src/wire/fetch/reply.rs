//! One message of the peer, its fields found in one pass; and the decoding
//! of what a record holds into an [`Event`] whose memory is used again.

use crate::event::{ChainEnd, Event, MAX_COUNTER, NamedLink, NodeName, Tick, Tock};
use crate::msgpack::{self, Fault, Head, Reader};
use crate::path::{self, MAX_BYTES, MAX_ELEMENTS, PathError, PathRef, RawPath};

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::wire) enum Flaw {
    /// The encoding is broken.
    #[error(transparent)]
    Encoding(#[from] Fault),
    /// The path cannot be one.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A field that must be there is not.
    #[error("it has no `{0}`")]
    Missing(&'static str),
    /// A field is of another type, or out of range.
    #[error("its `{0}` is not what it must be")]
    Wrong(&'static str),
    /// The path begins with more elements of the last one than that had.
    #[error("its path goes on from a longer one than the last")]
    Depth,
    /// A node occurs twice in the chain.
    #[error("its chain names a node twice")]
    Twice,
    /// `null` is not the path's first element.
    #[error("`null` within its path")]
    Null,
}

/// A message's fields, encoded, as far as they are known here.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reply<'a> {
    pub(super) seq: Option<&'a [u8]>,
    pub(super) wseq: Option<&'a [u8]>,
    pub(super) state: Option<&'a [u8]>,
    pub(super) error: Option<&'a [u8]>,
    pub(super) tock: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    depth: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    chain: Option<&'a [u8]>,
    /// All pairs of the map
    pairs: &'a [u8],
}

impl<'a> Reply<'a> {
    /// The message that `bytes` begin with, and its length; `None` if what
    /// they begin with is no map.
    ///
    /// # Errors
    /// [`Fault::Incomplete`] if there must be more bytes, and what no message
    /// can be.
    #[inline]
    pub(super) fn read(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, Fault> {
        let mut reader = Reader::new(bytes);
        let Head::Map(n) = reader.head()? else {
            return Ok(None);
        };
        let mut reply = Self {
            pairs: reader.rest(),
            ..Self::default()
        };
        for _ in 0..n {
            let key = reader.object()?;
            let item = reader.object()?;
            // names come in their shortest form, as all that is written
            let field = match key {
                b"\xa3seq" => &mut reply.seq,
                b"\xa4wseq" => &mut reply.wseq,
                b"\xa5state" => &mut reply.state,
                b"\xa5error" => &mut reply.error,
                b"\xa4tock" => &mut reply.tock,
                b"\xa4path" => &mut reply.path,
                b"\xa5depth" => &mut reply.depth,
                b"\xa5value" => &mut reply.value,
                b"\xa5chain" => &mut reply.chain,
                _ => continue,
            };
            *field = Some(item);
        }
        let len = reader.position();
        let head = bytes.len() - reply.pairs.len();
        reply.pairs = bytes.get(head..len).unwrap_or(&[]);
        Ok(Some((reply, len)))
    }

    /// Any field, by name.
    pub(super) fn get(&self, name: &str) -> Option<&'a [u8]> {
        msgpack::field(self.pairs, name)
    }

    /// Whether this is a record: it tells of an entry.
    pub(super) const fn is_record(&self) -> bool {
        self.path.is_some()
    }

    /// Turns a record into an event. Paths are shortened by what they share
    /// with the last one, `base`, which becomes this one; the event's is the
    /// same below `top`. Returns false for an entry that nothing happened to:
    /// it has neither value nor chain.
    #[inline]
    pub(super) fn event(
        &self,
        top: PathRef<'_>,
        base: &mut RawPath,
        event: &mut Event,
    ) -> Result<bool, Flaw> {
        let path = self.path.ok_or(Flaw::Missing("path"))?;
        place(path, self.depth, top, base, &mut event.path)?;
        event.tock = match uint(self.tock) {
            Some(n) if n <= MAX_COUNTER => Tock(n),
            None if self.tock.is_none() => return Err(Flaw::Missing("tock")),
            _ => return Err(Flaw::Wrong("tock")),
        };
        // "not given" as a value is none
        let value = self.value.filter(|value| !is_not_given(value));
        match self.chain {
            Some(chain) if chain != [0xc0] => event.end = links(chain, &mut event.chain)?,
            _ if value.is_none() => return Ok(false),
            _ => return Err(Flaw::Missing("chain")),
        }
        match (&mut event.value, value) {
            (Some(old), Some(new)) if old.len() == new.len() => old.copy_from_slice(new),
            (old, new) => *old = new.map(Into::into),
        }
        Ok(true)
    }
}

/// Completes a record's path, of which `depth` elements are those of the last
/// one, `base`, which becomes this one. The result is below `top`.
#[inline]
pub(in crate::wire) fn place(
    raw: &[u8],
    depth: Option<&[u8]>,
    top: PathRef<'_>,
    base: &mut RawPath,
    out: &mut RawPath,
) -> Result<(), Flaw> {
    let part = PathRef::of(raw)?.ok_or(Flaw::Wrong("path"))?;
    let count = path::check(part)?;
    let depth = match depth {
        None => None,
        Some(depth) => Some(uint(Some(depth)).ok_or(Flaw::Wrong("depth"))?),
    };
    out.clear();
    out.push(top.bytes());
    place_checked(part, count, depth, base, out)?;
    if path::has_inner_null(out.as_ref()) {
        return Err(Flaw::Null);
    }
    Ok(())
}

/// The same for a path that has been checked and has `count` elements;
/// appends to `out`. Where `null` stands is the caller's matter.
#[inline]
pub(in crate::wire) fn place_checked(
    part: PathRef<'_>,
    count: usize,
    depth: Option<u64>,
    base: &mut RawPath,
    out: &mut RawPath,
) -> Result<(), Flaw> {
    let part = part.bytes();
    match depth {
        // the whole path; the next one does not go on from it
        None => out.push(part),
        Some(depth) => {
            let depth = usize::try_from(depth).map_err(|_| Flaw::Wrong("depth"))?;
            let shared = shared(base.as_ref(), depth).ok_or(Flaw::Depth)?;
            if depth + count > MAX_ELEMENTS {
                return Err(PathError::TooMany.into());
            }
            if shared + part.len() > MAX_BYTES {
                return Err(PathError::TooLong.into());
            }
            base.truncate(shared);
            base.push(part);
            out.push(base.as_ref().bytes());
        }
    }
    Ok(())
}

/// Whether a value says that there is none.
pub(in crate::wire) fn is_not_given(value: &[u8]) -> bool {
    value == [0xd4, 0x04, b'_']
}

/// Bytes of a path's first `depth` elements, if it has so many.
#[inline]
fn shared(path: PathRef<'_>, depth: usize) -> Option<usize> {
    let mut elements = path.elements();
    let mut bytes = 0;
    for _ in 0..depth {
        bytes += elements.next()?.ok()?.len();
    }
    Some(bytes)
}

/// A number of zero or more.
#[inline]
pub(in crate::wire) fn uint(raw: Option<&[u8]>) -> Option<u64> {
    match Reader::new(raw?).head() {
        Ok(Head::Uint(n)) => Some(n),
        _ => None,
    }
}

/// A chain: `{node, tick, prev}`, each older link within the newer one, so
/// that there are no more than levels of nesting. What is in `out` is
/// overwritten: names seldom differ from the last ones.
#[inline]
pub(in crate::wire) fn links(mut link: &[u8], out: &mut Vec<NamedLink>) -> Result<ChainEnd, Flaw> {
    let mut count = 0;
    let end = loop {
        let mut reader = Reader::new(link);
        let Ok(Head::Map(n)) = reader.head() else {
            return Err(Flaw::Wrong("chain"));
        };
        let (mut node, mut tick, mut prev) = (None, None, None);
        for _ in 0..n {
            let key = reader.object()?;
            let item = reader.object()?;
            match key {
                b"\xa4node" => node = Reader::new(item).text()?,
                b"\xa4tick" => tick = uint(Some(item)),
                b"\xa4prev" => prev = Some(item),
                _ => {}
            }
        }
        let (Some(node), Some(tick @ 1..=MAX_COUNTER)) = (node, tick) else {
            return Err(Flaw::Wrong("chain"));
        };
        if out.iter().take(count).any(|l| l.node.as_str() == node) {
            return Err(Flaw::Twice);
        }
        let tick = Tick(tick);
        match out.get_mut(count) {
            Some(link) if link.node.as_str() == node => link.tick = tick,
            slot => {
                let node = NodeName::new(node);
                match slot {
                    Some(slot) => *slot = NamedLink { node, tick },
                    None => out.push(NamedLink { node, tick }),
                }
            }
        }
        count += 1;
        match prev {
            None => break ChainEnd::Cut,
            Some([0xc0]) => break ChainEnd::Start,
            Some(older) => link = older,
        }
    };
    out.truncate(count);
    Ok(end)
}
