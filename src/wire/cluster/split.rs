//! Long messages, cut into parts, and the escape for messages that look like
//! parts.
//!
//! A part is a map with one key, `_p0`: the sender's name, the message's
//! number with this sender, the part's number from 1 on, negative for the
//! last one, and the bytes. A message that has a key `_p0` of its own gets it
//! renamed, and those that continue it (`_p1` …), to the next number; an
//! empty `_p0` says so.

use std::borrow::Cow;

use crate::event::NodeName;
use crate::msgpack::{Fault, Head, Reader, write};

/// How long a message may be on MQTT before it is cut, in bytes.
pub const DEFAULT_LIMIT: usize = 64 << 10;

/// Where the numbers of messages begin again: high, so that few meet those
/// of a run before.
const LOW: u32 = 1 << 16;

/// Cuts one node's messages into parts.
#[derive(Debug)]
pub struct Splitter {
    name: NodeName,
    limit: usize,
    seq: u32,
}

impl Splitter {
    /// A splitter for the node of that name. No message or part is longer
    /// than `limit` bytes, which counts as the least with which that can be,
    /// if it is less. `seq` is the number of the first message that is cut:
    /// random, so that the parts of another run are told from these.
    #[must_use]
    pub fn new(name: NodeName, limit: usize, seq: u32) -> Self {
        let least = 2 * (name.as_str().len() + 32);
        Self {
            limit: limit.max(least),
            name,
            seq,
        }
    }

    /// What to send for an encoded message: itself if it is short enough, or
    /// its parts.
    pub fn split<'a>(&mut self, message: &'a [u8]) -> Parts<'a> {
        let message = escape(message).map_or(Cow::Borrowed(message), Cow::Owned);
        if message.len() <= self.limit {
            return Parts {
                message,
                name: NodeName::default(),
                seq: 0,
                size: 0,
                at: 0,
                number: 0,
            };
        }
        let seq = self.seq;
        self.seq = seq.checked_add(1).unwrap_or(LOW);
        Parts {
            size: self.part_size(message.len(), seq),
            message,
            name: self.name.clone(),
            seq,
            at: 0,
            number: 0,
        }
    }

    /// Bytes of a message in each of its parts.
    fn part_size(&self, len: usize, seq: u32) -> usize {
        let name = self.name.as_str().len();
        // what the original leaves for everything but the bytes
        let usual = 15 + name;
        // and what there is: parts are at least half of the limit, because
        // the limit is at least twice what is around them
        let most_parts = (2 * len).div_ceil(self.limit);
        let mut around = Vec::new();
        head(&mut around, &self.name, seq, -number(most_parts));
        write::bin(&mut around, &[]);
        // the head of so many bytes is longer than that of none
        let bytes_head = if self.limit > usize::from(u16::MAX) {
            3
        } else {
            1
        };
        self.limit - usual.max(around.len() + bytes_head)
    }
}

fn number(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The beginning of a part, up to the bytes.
fn head(out: &mut Vec<u8>, name: &NodeName, seq: u32, number: i64) {
    write::map(out, 1);
    write::str(out, "_p0");
    write::array(out, 4);
    write::str(out, name.as_str());
    write::uint(out, u64::from(seq));
    write::int(out, number);
}

/// A message in the form in which it is sent: itself, or its parts in order.
#[derive(Debug)]
pub struct Parts<'a> {
    message: Cow<'a, [u8]>,
    name: NodeName,
    seq: u32,
    /// Bytes a part; 0: the message is not cut
    size: usize,
    at: usize,
    number: usize,
}

impl<'a> Iterator for Parts<'a> {
    type Item = Cow<'a, [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.size == 0 {
            let first = self.number == 0;
            self.number = 1;
            return first.then(|| std::mem::take(&mut self.message));
        }
        let rest = self
            .message
            .get(self.at..)
            .filter(|rest| !rest.is_empty())?;
        let (bytes, after) = rest.split_at(self.size.min(rest.len()));
        self.at += bytes.len();
        self.number += 1;
        let this = number(self.number);
        let mut part = Vec::with_capacity(bytes.len() + self.name.as_str().len() + 28);
        let last = after.is_empty();
        head(
            &mut part,
            &self.name,
            self.seq,
            if last { -this } else { this },
        );
        write::bin(&mut part, bytes);
        Some(Cow::Owned(part))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match self.size {
            0 => 1_usize.saturating_sub(self.number),
            size => self.message.len().saturating_sub(self.at).div_ceil(size),
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Parts<'_> {}

/// What the top of a message says of parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Top<'a> {
    /// Nothing
    Plain,
    /// It has a key `_p0`, with this below it.
    Marked(&'a [u8]),
}

/// A pair of a message's map: the number in a key `_pN`, where the object
/// below the key is, and the whole pair.
struct Pair<'a> {
    number: Option<u32>,
    item: &'a [u8],
    whole: &'a [u8],
}

/// Goes through the pairs of a message; says how many there are. What is no
/// map has none.
fn pairs<'a>(message: &'a [u8], mut each: impl FnMut(Pair<'a>)) -> Result<usize, Fault> {
    let mut reader = Reader::new(message);
    let Head::Map(n) = reader.head()? else {
        return Ok(0);
    };
    for _ in 0..n {
        let mut pair = reader;
        let number = reader.key()?.and_then(part_number);
        let item = reader.object()?;
        let whole = pair.take(reader.position() - pair.position())?;
        each(Pair {
            number,
            item,
            whole,
        });
    }
    match reader.rest().len() {
        0 => Ok(n),
        more => Err(Fault::Trailing(more)),
    }
}

/// Looks for the mark of parts in a message.
pub(super) fn top(message: &[u8]) -> Result<Top<'_>, Fault> {
    let mut found = Top::Plain;
    pairs(message, |pair| {
        if pair.number == Some(0) {
            found = Top::Marked(pair.item);
        }
    })?;
    Ok(found)
}

/// The message with its keys `_p0`, `_p1` … renamed and an empty `_p0`, if it
/// has a `_p0`.
fn escape(message: &[u8]) -> Option<Vec<u8>> {
    match top(message) {
        Ok(Top::Marked(_)) => rename(message, |n| n.checked_add(1), true).ok(),
        _ => None,
    }
}

/// Undoes [`escape`]: the message without its empty `_p0`.
pub(super) fn unescape(message: &[u8]) -> Option<Vec<u8>> {
    rename(message, |n| n.checked_sub(1), false).ok()
}

/// Gives the keys `_p0`, `_p1` … as far as there is no gap other numbers, or
/// leaves them out, and adds an empty `_p0`, or not.
fn rename(message: &[u8], to: impl Fn(u32) -> Option<u32>, mark: bool) -> Result<Vec<u8>, Fault> {
    let mut numbers = Vec::new();
    let mut count = pairs(message, |pair| numbers.extend(pair.number))?;
    numbers.sort_unstable();
    numbers.dedup();
    let in_row = |(number, want): &(&u32, u32)| **number == *want;
    let end = numbers.iter().zip(0..).take_while(in_row).last();
    let end = end.map_or(0, |(number, _)| *number + 1);

    let mut body = Vec::with_capacity(message.len() + 16);
    pairs(message, |pair| {
        let Some(number) = pair.number.filter(|number| *number < end) else {
            body.extend_from_slice(pair.whole);
            return;
        };
        match to(number) {
            Some(number) => {
                write::str(&mut body, &format!("_p{number}"));
                body.extend_from_slice(pair.item);
            }
            None => count -= 1,
        }
    })?;
    if mark {
        write::str(&mut body, "_p0");
        write::str(&mut body, "");
        count += 1;
    }
    let mut out = Vec::with_capacity(body.len() + 5);
    write::map(&mut out, count);
    out.append(&mut body);
    Ok(out)
}

/// The number of a key `_pN`.
fn part_number(key: &[u8]) -> Option<u32> {
    let digits = key.strip_prefix(b"_p")?;
    let plain =
        digits.iter().all(u8::is_ascii_digit) && (digits == b"0" || !digits.starts_with(b"0"));
    let digits = core::str::from_utf8(digits).ok().filter(|_| plain)?;
    digits.parse().ok()
}
