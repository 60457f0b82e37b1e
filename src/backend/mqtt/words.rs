//! What nodes tell each other, as payloads: parts are made and joined here,
//! and what is no message of a node goes no further.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::event::{NodeName, PeerMessage};
use crate::node::time::Timestamp;
use crate::wire::cluster::{Assembler, Splitter, Topic, decode, encode};

use super::dice::Dice;

/// How often it is told that something could not be read.
const TELL: Duration = Duration::from_secs(60);
/// What is around a payload in a packet, with the longest topic of a network.
const AROUND: usize = 1024;
/// A buffer that has grown beyond this is not kept.
const KEPT: usize = 1 << 20;

/// Payloads for messages and messages for payloads.
#[derive(Debug)]
pub(super) struct Words {
    node: NodeName,
    part: usize,
    splitter: Splitter,
    assembler: Assembler,
    buffer: Vec<u8>,
    started: Instant,
    /// How many payloads could not be read since that was told
    unread: u64,
    told: Option<Instant>,
}

impl Words {
    /// For the node of that name. Its messages are cut into parts of at most
    /// `part` bytes.
    pub(super) fn new(node: &NodeName, part: usize, dice: &mut Dice, now: Instant) -> Self {
        Self {
            splitter: Splitter::new(node.clone(), part, first(dice)),
            node: node.clone(),
            part,
            assembler: Assembler::default(),
            buffer: Vec::new(),
            started: now,
            unread: 0,
            told: None,
        }
    }

    /// Speaks through a broker that takes packets of that size.
    pub(super) fn begin(&mut self, packet: usize, dice: &mut Dice) {
        let part = self.part.min(packet.saturating_sub(AROUND));
        self.splitter = Splitter::new(self.node.clone(), part, first(dice));
    }

    /// Hands the payloads that say `message` to `send`, in order.
    pub(super) fn say(&mut self, message: &PeerMessage, mut send: impl FnMut(&[u8])) {
        self.buffer.clear();
        let topic = encode(message, &mut self.buffer);
        if topic.has_parts() {
            for part in self.splitter.split(&self.buffer) {
                send(&part);
            }
        } else {
            send(&self.buffer);
        }
        if self.buffer.capacity() > KEPT {
            self.buffer = Vec::new();
        }
    }

    /// The message that has come, if there is one: it may still want parts,
    /// or be none.
    pub(super) fn hear(
        &mut self,
        topic: Topic,
        payload: &[u8],
        now: Instant,
    ) -> Option<PeerMessage> {
        let decoded = if topic.has_parts() {
            let micros = now.duration_since(self.started).as_micros();
            let at = Timestamp(u64::try_from(micros).unwrap_or(u64::MAX));
            match self.assembler.take(topic, payload, at) {
                Ok(Some(whole)) => decode(topic, &whole),
                Ok(None) => return None,
                Err(why) => {
                    self.skip(topic.word(), &why, now);
                    return None;
                }
            }
        } else {
            decode(topic, payload)
        };
        decoded
            .map_err(|why| self.skip(topic.word(), &why, now))
            .ok()
    }

    /// Counts what is passed over, and tells it now and then.
    pub(super) fn skip(&mut self, what: &str, why: &dyn fmt::Display, now: Instant) {
        self.unread = self.unread.saturating_add(1);
        let is_recent = |told| now.duration_since(told) < TELL;
        if !self.told.is_some_and(is_recent) {
            let count = self.unread;
            tracing::warn!("messages passed over: {count}; the last, {what}: {why}");
            self.unread = 0;
            self.told = Some(now);
        }
    }
}

/// The first number of messages in parts: see [`Splitter::new`].
fn first(dice: &mut Dice) -> u32 {
    (1 << 16) + dice.below(1 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ChainEnd, Turn};
    use crate::event::{Event, Info, NamedLink, Tick, Tock, Update};
    use crate::path::Path;

    #[allow(clippy::disallowed_methods)] // a point in time for the others
    fn words(part: usize) -> (Words, Instant) {
        let now = Instant::now();
        let name = NodeName::new("test");
        (Words::new(&name, part, &mut Dice::new(1), now), now)
    }

    fn update(size: usize) -> PeerMessage {
        let node = NodeName::new("test");
        PeerMessage::Update(Update {
            event: Event {
                path: (&"a.b".parse::<Path>().unwrap()).into(),
                chain: vec![NamedLink {
                    node,
                    tick: Tick(3),
                }],
                end: ChainEnd::Start,
                tock: Tock(5),
                value: Some(
                    [&[0xc6, 0, 1, 0x86, 0xa0][..], &vec![7; size]]
                        .concat()
                        .into(),
                ),
            },
            again: None,
        })
    }

    fn said(words: &mut Words, message: &PeerMessage) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        words.say(message, |part| parts.push(part.to_vec()));
        parts
    }

    #[test]
    fn long_changes_travel_in_parts() {
        let (mut words, now) = words(1000);
        let message = update(100_000);
        let parts = said(&mut words, &message);
        assert!(parts.len() > 100 && parts.iter().all(|part| part.len() <= 1000));
        let (last, rest) = parts.split_first().unwrap();
        for part in rest.iter().rev() {
            assert_eq!(words.hear(Topic::Update, part, now), None);
        }
        assert_eq!(words.hear(Topic::Update, last, now), Some(message));
    }

    #[test]
    fn a_small_broker_gets_small_parts() {
        let (mut words, _) = words(64 << 10);
        words.begin(2048, &mut Dice::new(2));
        let parts = said(&mut words, &update(100_000));
        assert!(parts.iter().all(|part| part.len() <= 1024));
    }

    #[test]
    fn the_talk_of_nodes_is_whole() {
        let (mut words, now) = words(1000);
        let turn = PeerMessage::Ping(Turn::Init(NodeName::new("test")));
        let info = PeerMessage::Info(Info {
            node: NodeName::new("test"),
            ..Info::default()
        });
        for (topic, message) in [(Topic::Ping, turn), (Topic::Info, info)] {
            let parts = said(&mut words, &message);
            assert_eq!(parts.len(), 1);
            assert_eq!(words.hear(topic, &parts[0], now), Some(message));
        }
    }

    #[test]
    fn what_is_no_message_is_counted_and_skipped() {
        let (mut words, now) = words(1000);
        for payload in [&b""[..], b"\xc1", b"\x80", b"\x93\x01"] {
            for topic in Topic::ALL {
                words.hear(topic, payload, now);
            }
        }
        let after_a_minute = now + TELL;
        assert!(words.unread > 5, "told once, then counted");
        words.hear(Topic::Ping, b"\xc1", after_a_minute);
        assert_eq!(words.unread, 0, "and told again");
    }
}
