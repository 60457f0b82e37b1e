//! The records that fill a file: an entry, or a change, with texts as its
//! path and the common fields in the common order.
//!
//! They are framed, checked and typed in one pass over their bytes, and what
//! has been found is kept as places, because a record is told of only after
//! the next one has been looked at. Whatever is unusual about a record, be it
//! incomplete, faulty or only rare, is no matter of this file: then the answer
//! is `None`, and the general way decides. What both accept, they understand
//! alike; a test compares them.

use crate::event::{ChainEnd, Event, MAX_COUNTER, NamedLink, NodeName, Tick, Tock};
use crate::msgpack;
use crate::path::{self, MAX_ELEMENTS, PathRef, RawPath};
use crate::wire::fetch::reply;
use crate::wire::state::MAX_RECORD;
use crate::wire::state::record::Flaw;

/// A usual record: places in its bytes. Small, because it is kept while the
/// next one is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usual {
    len: u32,
    value: Option<Place>,
    path: Place,
    /// Elements of `path`
    count: u16,
    depth: u16,
    tock: Tock,
    links: Links,
}

/// Where something is in a record.
#[derive(Debug, Clone, Copy)]
struct Place {
    from: u32,
    to: u32,
}

impl Place {
    #[inline]
    fn of(self, record: &[u8]) -> &[u8] {
        let range = self.from as usize..self.to as usize;
        record.get(range).unwrap_or(&[])
    }
}

/// Its chain.
#[derive(Debug, Clone, Copy)]
enum Links {
    /// One link, and what that stands for
    One(Place, Tick, ChainEnd),
    /// Several, which the general way reads
    Many(Place),
}

impl Usual {
    /// Its length in bytes.
    pub(super) const fn size(&self) -> usize {
        self.len as usize
    }

    /// Whether its path goes on from the last record's.
    pub(super) const fn goes_on(&self) -> bool {
        self.depth != 0
    }

    /// What the record says, which these are the bytes of. `base` is the last
    /// record's path, and becomes this one's.
    #[inline]
    pub(super) fn event(
        &self,
        record: &[u8],
        base: &mut RawPath,
        event: &mut Event,
    ) -> Result<(), Flaw> {
        let part = PathRef::new(self.path.of(record));
        event.path.clear();
        let (count, depth) = (usize::from(self.count), u64::from(self.depth));
        reply::place_checked(part, count, Some(depth), base, &mut event.path)?;
        event.tock = self.tock;
        match self.links {
            Links::One(name, tick, end) => {
                let name = name.of(record);
                event.chain.truncate(1);
                match event.chain.first_mut() {
                    Some(link) if link.node.as_str().as_bytes() == name => link.tick = tick,
                    _ => {
                        let node = std::str::from_utf8(name).unwrap_or_default();
                        let node = NodeName::new(node);
                        event.chain.clear();
                        event.chain.push(NamedLink { node, tick });
                    }
                }
                event.end = end;
            }
            Links::Many(chain) => event.end = reply::links(chain.of(record), &mut event.chain)?,
        }
        let value = self.value.map(|value| value.of(record));
        match (&mut event.value, value) {
            (Some(old), Some(new)) if old.len() == new.len() => old.copy_from_slice(new),
            (old, new) => *old = new.map(Into::into),
        }
        Ok(())
    }
}

/// The record that `bytes` begin with, if its fields are in the order in
/// which all writers have them.
#[inline]
pub(super) fn read(bytes: &[u8]) -> Option<Usual> {
    let mut cursor = Cursor { bytes, at: 0 };
    let (mut value, path, tock, links);
    match cursor.next()? {
        marker @ (0x84 | 0x85) => {
            value = None;
            if marker == 0x85 {
                value = Some(cursor.strip(b"\xa5value")?.object()?);
            }
            links = cursor.strip(b"\xa5chain")?.chain()?;
            tock = cursor.strip(b"\xa4tock")?.number()?;
            path = cursor.strip(b"\xa4path")?.elements()?;
        }
        // a change is its chain's newest link itself
        marker @ (0x86 | 0x87) => {
            links = cursor.links(marker == 0x87)?;
            path = cursor.strip(b"\xa4path")?.elements()?;
            value = Some(cursor.strip(b"\xa5value")?.object()?);
            tock = cursor.strip(b"\xa4tock")?.number()?;
        }
        _ => return None,
    }
    let depth = cursor.strip(b"\xa5depth")?.number()?;
    let len = cursor.at;
    let links = match links {
        // of a chain within, its own place; of a change, all of it
        Links::Many(Place { from, to: 0 }) => Links::Many(Place {
            from,
            to: u32::try_from(len).ok()?,
        }),
        links => links,
    };
    // "not given" as a value is rare
    let is_rare = value.is_some_and(|value| value.of(bytes).first() == Some(&0xd4));
    let (path, count) = path;
    (!is_rare && tock <= MAX_COUNTER && len <= MAX_RECORD).then_some(Usual {
        len: u32::try_from(len).ok()?,
        value,
        path,
        count: u16::try_from(count).ok()?,
        depth: u16::try_from(depth).ok()?,
        tock: Tock(tock),
        links,
    })
}

/// What has not been read of a record.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at + n)?;
        self.at += n;
        Some(taken)
    }

    /// What is between here and there.
    #[inline]
    fn since(&self, from: usize) -> Option<Place> {
        Some(Place {
            from: u32::try_from(from).ok()?,
            to: u32::try_from(self.at).ok()?,
        })
    }

    /// A number of zero or more, in any form but the signed ones.
    #[inline]
    fn number(&mut self) -> Option<u64> {
        Some(match self.next()? {
            n @ 0..=0x7f => u64::from(n),
            0xcc => u64::from(self.next()?),
            0xcd => u64::from(u16::from_be_bytes(self.take(2)?.try_into().ok()?)),
            0xce => u64::from(u32::from_be_bytes(self.take(4)?.try_into().ok()?)),
            0xcf => u64::from_be_bytes(self.take(8)?.try_into().ok()?),
            _ => return None,
        })
    }

    /// A short ASCII text.
    #[inline]
    fn text(&mut self) -> Option<Place> {
        let len = match self.next()? {
            marker @ 0xa0..=0xbf => usize::from(marker & 0x1f),
            _ => return None,
        };
        let from = self.at;
        let text = self.take(len)?;
        (msgpack::beyond_ascii(text) == 0).then_some(self.since(from)?)
    }

    /// Any object that is sound.
    #[inline]
    fn object(&mut self) -> Option<Place> {
        let from = self.at;
        self.at += msgpack::check_first(self.rest()).ok()?;
        self.since(from)
    }

    /// A path of short texts: where they are, and how many.
    #[inline]
    fn elements(&mut self) -> Option<(Place, usize)> {
        let marker = self.next()?;
        let from;
        match marker {
            0x90..=0x9f => {
                from = self.at;
                for _ in 0..marker & 0xf {
                    match self.next()? {
                        marker @ 0xa0..=0xbf => self.take(usize::from(marker & 0x1f))?,
                        _ => return None,
                    };
                }
            }
            _ => {
                let len = match marker {
                    0xc7 => usize::from(self.next()?),
                    0xd4 => 1,
                    0xd5 => 2,
                    0xd6 => 4,
                    0xd7 => 8,
                    0xd8 => 16,
                    _ => return None,
                };
                if self.next()? != 3 {
                    return None;
                }
                from = self.at;
                self.take(len)?;
            }
        }
        let place = self.since(from)?;
        let count = path::count_short_texts(place.of(self.bytes))?;
        (count <= MAX_ELEMENTS).then_some((place, count))
    }

    #[inline]
    fn chain(&mut self) -> Option<Links> {
        let from = self.at;
        let marker = self.next()?;
        if !matches!(marker, 0x82 | 0x83) {
            return None;
        }
        match self.links(marker == 0x83)? {
            Links::Many(_) => Some(Links::Many(self.since(from)?)),
            links => Some(links),
        }
    }

    /// The fields of a link. Where there are others before it, the place is
    /// not known: its end is 0.
    #[inline]
    fn links(&mut self, has_prev: bool) -> Option<Links> {
        let node = self.strip(b"\xa4node")?.text()?;
        let tick = self.strip(b"\xa4tick")?.number()?;
        let mut end = ChainEnd::Cut;
        if has_prev {
            end = ChainEnd::Start;
            match self.strip(b"\xa4prev")?.rest().first()? {
                0xc0 => self.at += 1,
                0x81..=0x8f => {
                    self.object()?;
                    return Some(Links::Many(Place { from: 0, to: 0 }));
                }
                _ => return None,
            }
        }
        let is_tick = (1..=MAX_COUNTER).contains(&tick);
        is_tick.then_some(Links::One(node, Tick(tick), end))
    }

    #[inline]
    fn strip<const N: usize>(&mut self, name: &[u8; N]) -> Option<&mut Self> {
        let found = self.rest().first_chunk::<N>()?;
        self.at += N;
        (found == name).then_some(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::state::record::{Fields, Kind, blank};

    #[test]
    fn what_is_usual_is_read() {
        let usual: [&[u8]; 5] = [
            b"\x85\xa5value\xa1x\xa5chain\x83\xa4node\xa1a\xa4tick\x01\xa4prev\xc0\xa4tock\x02\xa4path\xd5\x03\xa1a\xa5depth\x00",
            b"\x85\xa5value\x92\x01\x80\xa5chain\x82\xa4node\xa1a\xa4tick\x01\xa4tock\x02\xa4path\x92\xa1a\xa0\xa5depth\x01",
            b"\x84\xa5chain\x83\xa4node\xa1a\xa4tick\x01\xa4prev\x82\xa4node\xa1b\xa4tick\x05\xa4tock\x02\xa4path\xc7\x00\x03\xa5depth\x00",
            b"\x87\xa4node\xa1a\xa4tick\x01\xa4prev\xc0\xa4path\x91\xa1a\xa5value\xa1x\xa4tock\xcd\x01\x00\xa5depth\x02",
            b"\x86\xa4node\xa1a\xa4tick\x01\xa4path\x91\xa1a\xa5value\xa1x\xa4tock\xcd\x01\x00\xa5depth\x02",
        ];
        for record in usual {
            let len = read(record).map(|usual| usual.size());
            assert_eq!(len, Some(record.len()), "{}", record.escape_ascii());
        }
    }

    fn one_of(
        name: &'static [u8],
        items: &'static [&'static [u8]],
    ) -> impl Strategy<Value = Vec<u8>> {
        prop::sample::select(items).prop_map(move |item| [name, item].concat())
    }

    /// Fields in any order: nearly always those of one kind of record, each
    /// with what it usually is, or not.
    fn fields() -> impl Strategy<Value = Vec<Vec<u8>>> {
        const LINK: &[u8] = b"\x82\xa4node\xa1b\xa4tick\x01";
        let tock = one_of(
            b"\xa4tock",
            &[
                b"\x02",
                b"\xcc\x80",
                b"\xd3\x00\x00\x00\x00\x00\x00\x00\x09",
                b"\xcf\x40\x00\x00\x00\x00\x00\x00\x00",
                b"\xcf\x40\x00\x00\x00\x00\x00\x00\x01",
                b"\xc0",
            ],
        );
        let path = one_of(
            b"\xa4path",
            &[
                b"\x90",
                b"\x91\xa1a",
                b"\x92\xa1a\xa1b",
                b"\x92\xa1a\xc0",
                b"\x91\xa2\xc3\xa4",
                b"\x91\xa2\xc3\xc3",
                b"\xc7\x00\x03",
                b"\xd5\x03\xa1a",
                b"\xd6\x03\xa1a\xa1b",
                b"\xd6\x03\xa1a\xa2b",
                b"\xc7\x06\x06\xa1m\xa1a\xa1b",
                b"\xa1a",
            ],
        );
        let depth = one_of(
            b"\xa5depth",
            &[b"\x00", b"\x01", b"\x02", b"\xcd\x01\x00", b"\xff"],
        );
        let value = one_of(
            b"\xa5value",
            &[
                b"\xa1x",
                b"\xa2xy",
                b"\xa1\xff",
                b"\xd4\x04_",
                b"\x81\x80\x01",
                b"\xc4\x02ab",
            ],
        );
        let chain = one_of(
            b"\xa5chain",
            &[
                LINK,
                b"\x83\xa4node\xa1a\xa4tick\x01\xa4prev\xc0",
                b"\x83\xa4node\xa1a\xa4tick\x01\xa4prev\x82\xa4node\xa1b\xa4tick\x04",
                b"\x83\xa4node\xa1a\xa4tick\x01\xa4prev\x82\xa4node\xa1a\xa4tick\x04",
                b"\x83\xa4node\xa1a\xa4tick\x01\xa4prev\x82\xa4node\xa1b\xa4tick\x00",
                b"\x82\xa4tick\x01\xa4node\xa1a",
                b"\x82\xa4node\xa1a\xa4tick\x00",
                b"\xc0",
            ],
        );
        let node = one_of(b"\xa4node", &[b"\xa1a", b"\xa2\xc3\xa4", b"\xc0"]);
        let tick = one_of(b"\xa4tick", &[b"\x01", b"\x00", b"\xcd\x01\x00"]);
        let prev = one_of(
            b"\xa4prev",
            &[b"\xc0", LINK, b"\x82\xa4node\xa1a\xa4tick\x01", b"\x01"],
        );
        let links = prop_oneof![
            chain.prop_map(|chain| vec![chain]),
            (node, tick, prop::option::of(prev))
                .prop_map(|(node, tick, prev)| [node, tick].into_iter().chain(prev).collect()),
        ];
        let more = prop::sample::select(vec![
            &b""[..],
            b"",
            b"",
            b"",
            b"",
            b"",
            b"",
            b"",
            b"",
            b"\xa4time\x01",
            b"\xa5nodes\x80",
            b"\xa4tock\x02",
            b"\xa4node\xa1b",
        ]);
        let value = prop::option::weighted(0.9, value).boxed();
        let depth = prop::option::weighted(0.9, depth);
        (tock, path, links, value, depth, more, 0..10u8).prop_map(
            |(tock, path, links, value, depth, more, swap)| {
                let mut all: Vec<Vec<u8>> = match links.len() {
                    1 => value.into_iter().chain(links).chain([tock, path]).collect(),
                    _ => {
                        let all = links.into_iter().chain([path]).chain(value);
                        all.chain([tock]).collect()
                    }
                };
                all.extend(depth);
                all.extend((!more.is_empty()).then(|| more.to_vec()));
                if swap == 0 {
                    all.swap(0, 1);
                }
                all
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        /// What is read here is what the general way reads.
        #[test]
        fn the_general_way_agrees(
            fields in fields(),
            cut in prop::option::weighted(0.2, 0..90usize),
        ) {
            let count = u8::try_from(fields.len()).unwrap();
            let mut bytes = vec![0x80 | count];
            bytes.extend(fields.concat());
            bytes.truncate(cut.unwrap_or(bytes.len()));
            bytes.extend(b"\x80");
            let Some(usual) = read(&bytes) else {
                return Ok(());
            };
            prop_assert_eq!(msgpack::skip(&bytes), Ok(usual.size()));
            let record = &bytes[..usual.size()];
            let general = Fields::find(record);
            prop_assert!(general.is_ok(), "{:?}", general);
            let general = general.unwrap();
            prop_assert_eq!(general.kind(), Kind::Event);
            prop_assert_eq!(general.goes_on(), usual.goes_on());
            let mut before = RawPath::new();
            before.push(b"\xa1x\xa1y");
            // what is used again must not shine through
            let mut old = blank();
            old.value = Some(b"\xa1o"[..].into());
            let link = NamedLink { node: NodeName::new("a"), tick: Tick(9) };
            old.chain = vec![link.clone(), link];
            let (mut bases, mut events) = ([(); 2].map(|()| before.clone()), [(); 2].map(|()| old.clone()));
            let told = [
                usual.event(record, &mut bases[0], &mut events[0]),
                general.event(&mut bases[1], &mut events[1]),
            ];
            prop_assert_eq!(&told[0], &told[1]);
            prop_assert_eq!(&bases[0], &bases[1]);
            if told[0].is_ok() {
                prop_assert_eq!(&events[0], &events[1]);
            }
        }
    }
}
