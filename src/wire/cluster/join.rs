//! Parts, joined to messages again: in any order, each as often as it comes.
//!
//! What a sender can make a node keep is bounded: bytes and messages of one
//! sender and of all, and the time that a message waits for its next part.
//! When there is no room, what has waited longest goes. A part that
//! contradicts what is kept under its number begins that message anew: after
//! a restart a sender may use old numbers again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::NodeName;
use crate::msgpack::{Fault, Head, Reader};
use crate::node::time::Timestamp;
use crate::wire::cluster::split::{Top, top, unescape};
use crate::wire::cluster::{MAX_NAME, Topic};

/// Most parts of a message.
const MAX_PARTS: u32 = 1 << 20;
/// What a part costs beside its bytes.
const AROUND: usize = 64;

/// How much an [`Assembler`] keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssemblerLimits {
    /// Bytes of one sender
    pub sender_bytes: usize,
    /// Bytes of all senders
    pub total_bytes: usize,
    /// Incomplete messages of one sender
    pub sender_messages: usize,
    /// Incomplete messages of all senders
    pub total_messages: usize,
    /// How long a message waits for its next part
    pub patience: Duration,
}

impl Default for AssemblerLimits {
    fn default() -> Self {
        Self {
            sender_bytes: 100 << 20,
            total_bytes: 400 << 20,
            sender_messages: 64,
            total_messages: 1024,
            patience: Duration::from_secs(60),
        }
    }
}

/// Why a part is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// The message is no sound msgpack.
    #[error(transparent)]
    Encoding(#[from] Fault),
    /// What `_p0` holds is neither empty nor name, message, number and bytes.
    #[error("not the form of a part")]
    Form,
    /// The message is longer than what is kept of one sender.
    #[error("the message is longer than what is kept of one sender")]
    TooLong,
}

/// Which message a part belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    sender: NodeName,
    topic: Topic,
    seq: i128,
}

/// A message of which parts are there.
#[derive(Debug, Default)]
struct Open {
    parts: BTreeMap<u32, Box<[u8]>>,
    /// The number of the last part, if it is there
    last: Option<u32>,
    cost: usize,
    /// When its newest part came
    touched: Timestamp,
}

impl Open {
    /// Whether a part can belong to what is there.
    fn agrees(&self, part: &Part<'_>) -> bool {
        let end = match (self.last, part.last) {
            (Some(last), true) => last == part.number,
            (Some(last), false) => part.number < last,
            (None, true) => self.parts.keys().all(|number| *number < part.number),
            (None, false) => true,
        };
        let same = self.parts.get(&part.number);
        end && same.is_none_or(|bytes| **bytes == *part.bytes)
    }

    fn is_complete(&self) -> bool {
        // numbers are unique, at least 1 and at most the last
        self.last.and_then(|last| usize::try_from(last).ok()) == Some(self.parts.len())
    }

    fn join(self) -> Vec<u8> {
        let parts: Vec<Box<[u8]>> = self.parts.into_values().collect();
        parts.concat()
    }
}

/// One part, as it came.
struct Part<'a> {
    sender: &'a str,
    seq: i128,
    number: u32,
    last: bool,
    bytes: &'a [u8],
}

impl<'a> Part<'a> {
    fn read(object: &'a [u8]) -> Result<Self, PartError> {
        let mut reader = Reader::new(object);
        if reader.head()? != Head::Array(4) {
            return Err(PartError::Form);
        }
        let sender = reader.text()?.filter(|name| name.len() <= MAX_NAME);
        let integer = |reader: &mut Reader<'_>| match reader.head()? {
            Head::Uint(n) => Ok(i128::from(n)),
            Head::Neg(n) => Ok(i128::from(n)),
            _ => Err(PartError::Form),
        };
        let seq = integer(&mut reader)?;
        let signed = integer(&mut reader)?;
        let number = u32::try_from(signed.unsigned_abs()).ok();
        let bytes = match reader.head()? {
            Head::Bin(n) => reader.take(n)?,
            _ => return Err(PartError::Form),
        };
        let number = number.filter(|n| (1..=MAX_PARTS).contains(n));
        match (sender, number) {
            (Some(sender), Some(number)) if !bytes.is_empty() => Ok(Self {
                sender,
                seq,
                number,
                last: signed < 0,
                bytes,
            }),
            _ => Err(PartError::Form),
        }
    }
}

/// Joins the parts of messages.
#[derive(Debug, Default)]
pub struct Assembler {
    limits: AssemblerLimits,
    open: BTreeMap<Key, Open>,
    cost: usize,
    /// Nothing is too old before this.
    look_at: Timestamp,
    given_up: u64,
}

impl Assembler {
    /// An assembler without any part.
    #[must_use]
    pub fn new(limits: AssemblerLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes a payload that came on a topic. Returns the message to decode:
    /// the payload itself if it is no part, or the joined message if it is
    /// the last one of its parts to come; `None` if more must come. Parts
    /// whose time is over are forgotten first.
    ///
    /// # Errors
    /// If the payload is a faulty part, or no msgpack at all.
    pub fn take<'a>(
        &mut self,
        topic: Topic,
        payload: &'a [u8],
        now: Timestamp,
    ) -> Result<Option<Cow<'a, [u8]>>, PartError> {
        if !topic.has_parts() {
            return Ok(Some(Cow::Borrowed(payload)));
        }
        let object = match top(payload)? {
            Top::Plain => return Ok(Some(Cow::Borrowed(payload))),
            // an empty text: the message has a `_p0` of its own
            Top::Marked([0xa0]) => {
                return Ok(Some(
                    unescape(payload).map_or(Cow::Borrowed(payload), Cow::Owned),
                ));
            }
            Top::Marked(object) => object,
        };
        let part = Part::read(object)?;
        self.expire(now);
        let Some(whole) = self.add(topic, &part, now)? else {
            return Ok(None);
        };
        let whole = match top(&whole) {
            Ok(Top::Marked([0xa0])) => unescape(&whole).unwrap_or(whole),
            _ => whole,
        };
        Ok(Some(Cow::Owned(whole)))
    }

    /// Forgets messages whose next part has not come in time.
    pub fn expire(&mut self, now: Timestamp) {
        if now < self.look_at || self.open.is_empty() {
            return;
        }
        let patience = self.limits.patience;
        let old: Vec<Key> = self
            .open
            .iter()
            .filter(|(_, open)| now >= open.touched.after(patience))
            .map(|(key, _)| key.clone())
            .collect();
        for key in old {
            self.give_up(&key);
        }
        let oldest = self.open.values().map(|open| open.touched).min();
        self.look_at = oldest.map_or(now, |oldest| oldest.after(patience));
    }

    /// How many messages were given up, for want of parts or of room.
    #[must_use]
    pub const fn given_up(&self) -> u64 {
        self.given_up
    }

    /// How many messages wait for parts.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.open.len()
    }

    /// How many bytes are kept, with what is around them.
    #[must_use]
    pub const fn kept(&self) -> usize {
        self.cost
    }

    fn add(
        &mut self,
        topic: Topic,
        part: &Part<'_>,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, PartError> {
        let key = Key {
            sender: NodeName::new(part.sender),
            topic,
            seq: part.seq,
        };
        match self.open.get(&key) {
            Some(open) if !open.agrees(part) => self.give_up(&key),
            Some(open) if open.parts.contains_key(&part.number) => return Ok(None),
            _ => {}
        }
        let cost = part.bytes.len().saturating_add(AROUND);
        if !self.make_room(&key, cost) {
            self.give_up(&key);
            return Err(PartError::TooLong);
        }
        if self.open.is_empty() {
            self.look_at = now.after(self.limits.patience);
        }
        self.cost = self.cost.saturating_add(cost);
        let open = self.open.entry(key.clone()).or_default();
        open.parts.insert(part.number, part.bytes.into());
        open.cost = open.cost.saturating_add(cost);
        open.touched = now;
        if part.last {
            open.last = Some(part.number);
        }
        if !open.is_complete() {
            return Ok(None);
        }
        Ok(self.remove(&key).map(Open::join))
    }

    /// Makes room for a part of a message, at the cost of others: those of
    /// its sender first. `false` if the message alone is too long.
    fn make_room(&mut self, key: &Key, cost: usize) -> bool {
        let own = self.open.get(key).map_or(0, |open| open.cost);
        let limits = self.limits;
        if own.saturating_add(cost) > limits.sender_bytes.min(limits.total_bytes) {
            return false;
        }
        let new = usize::from(!self.open.contains_key(key));
        loop {
            let (mut bytes, mut messages) = (0_usize, new);
            let (mut oldest, mut oldest_own) = (None, None);
            for (other, open) in &self.open {
                let at = (open.touched, other);
                let mine = other.sender == key.sender;
                if mine {
                    bytes = bytes.saturating_add(open.cost);
                    messages += 1;
                }
                if other != key {
                    oldest = oldest.filter(|oldest| *oldest < at).or(Some(at));
                    if mine {
                        oldest_own = oldest_own.filter(|oldest| *oldest < at).or(Some(at));
                    }
                }
            }
            let own_full = bytes.saturating_add(cost) > limits.sender_bytes
                || messages > limits.sender_messages;
            let full = self.cost.saturating_add(cost) > limits.total_bytes
                || self.open.len() + new > limits.total_messages;
            let victim = if own_full {
                oldest_own
            } else if full {
                oldest
            } else {
                return true;
            };
            let Some((_, victim)) = victim else {
                // nothing is kept but this message, and not even that may be
                return false;
            };
            let victim = victim.clone();
            self.give_up(&victim);
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Open> {
        let open = self.open.remove(key)?;
        self.cost = self.cost.saturating_sub(open.cost);
        Some(open)
    }

    fn give_up(&mut self, key: &Key) {
        if self.remove(key).is_some() {
            self.given_up = self.given_up.saturating_add(1);
        }
    }
}
