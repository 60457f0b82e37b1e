//! What the targets do with any bytes.
//!
//! None may panic; beyond that each asserts what is said with it. `seeds`
//! are recordings, which the tests here pass through the targets.

pub mod seeds;

use std::time::Duration;

use moat::event::{MAX_COUNTER, NodeName, PeerMessage};
use moat::node::journal::Change;
use moat::node::time::Timestamp;
use moat::path::{Path, PathElem, PathRef};
use moat::text::eval::eval;
use moat::value::Value;
use moat::wire::client::{Inbox, Incoming};
use moat::wire::cluster::{
    Assembler, AssemblerLimits, MAX_LINKS_WRITTEN, Topic, decode, encode, update_size,
};
use moat::wire::fetch::Joiner;
use moat::wire::state::{Found, Reader, Writer};

/// Bytes of a message that are read here.
const FRAME: usize = 1 << 16;

/// Reads on in `bytes` as they come in pieces of that size, until `next` has
/// no more. It gets what has come and was not used, and returns how much it
/// used now; nothing if more must come first.
fn in_pieces(bytes: &[u8], piece: usize, mut next: impl FnMut(&[u8]) -> Option<usize>) {
    let (mut held, mut used) = (0, 0);
    while held < bytes.len() {
        held = (held + piece).min(bytes.len());
        while let Some(n) = next(&bytes[used..held]) {
            used += n;
            assert!(used <= held, "no more is used than has come");
            if n == 0 {
                break;
            }
        }
    }
}

/// What a client sends: the first byte says in pieces of which size it comes
/// the second time. Both times it is the same requests, and the same ones are
/// refused; one that is read the quick way is as long as if it were not.
pub fn client_messages(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else {
        return;
    };
    let read = |piece: usize| {
        let mut inbox = Inbox::new(FRAME);
        let (mut found, mut over) = (Vec::new(), false);
        in_pieces(bytes, piece, |rest| {
            if over || rest.is_empty() {
                return None;
            }
            let usual = inbox.usual(rest).map(|usual| usual.size());
            match inbox.next(rest) {
                Ok(Some((len, incoming))) => {
                    assert!(len > 0, "a message has bytes");
                    assert!(usual.is_none_or(|size| size == len));
                    // of several faults any may be named, and where it was
                    // seen depends on how the message was read
                    let seen = match incoming {
                        Incoming::Refused { handle, .. } => format!("refused: {handle:?}"),
                        Incoming::Nonsense(_) => "nonsense".to_owned(),
                        other => format!("{other:?}"),
                    };
                    found.push(seen);
                    Some(len)
                }
                Ok(None) => {
                    assert_eq!(usual, None, "what is usual is whole");
                    None
                }
                Err(why) => {
                    over = true;
                    found.push(format!("{:?}", std::mem::discriminant(&why)));
                    None
                }
            }
        });
        found
    };
    let at_once = read(bytes.len().max(1));
    assert_eq!(at_once, read(usize::from(*piece) + 1));
}

/// Puts a message on a topic (its number) into the form that
/// [`cluster_messages`] reads; nothing if it is too long for it.
#[must_use]
pub fn pack(topic: usize, payload: &[u8]) -> Option<Vec<u8>> {
    let len = u16::try_from(payload.len()).ok()?.to_be_bytes();
    let head = [u8::try_from(topic).ok()?, len[0], len[1]];
    Some([&head, payload].concat())
}

/// Messages between nodes, one after the other: a byte with the topic, two
/// with the length. What is understood means the same when it is written
/// again, and takes no more room than was foretold.
pub fn cluster_messages(bytes: &[u8]) {
    let limits = AssemblerLimits::default();
    let mut assembler = Assembler::new(limits);
    let mut now = Timestamp(0);
    let mut rest = bytes;
    while let [topic, a, b, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*a, *b])).min(after.len());
        let (payload, behind) = after.split_at(len);
        rest = behind;
        now = now.after(Duration::from_secs(u64::from(*topic >> 2)));
        let topic = Topic::ALL[usize::from(*topic & 3)];
        let Ok(Some(whole)) = assembler.take(topic, payload, now) else {
            continue;
        };
        let Ok(message) = decode(topic, &whole) else {
            continue;
        };
        let mut written = Vec::new();
        encode(&message, &mut written);
        if let PeerMessage::Update(update) = &message {
            assert!(update_size(update) >= written.len(), "{update:?}");
            if update.event.chain.len() > MAX_LINKS_WRITTEN {
                continue;
            }
        }
        let again = decode(topic, &written);
        assert_eq!(again.as_ref(), Ok(&message), "{written:x?}");
    }
}

/// A path's text, or its encoding: what is a path is the same one after it
/// was printed and read, or encoded and decoded.
pub fn paths(bytes: &[u8]) {
    let holds = |path: &Path| {
        let encoded = path.encode();
        let decoded = Path::decode(encoded.as_ref());
        assert_eq!(decoded.as_ref(), Ok(path), "by its encoding");
        let text = path.to_string();
        if path.iter().all(has_text) {
            assert_eq!(text.parse().as_ref(), Ok(path), "{text:?}");
        }
    };
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(path) = text.parse::<Path>()
    {
        holds(&path);
    }
    if let Ok(path) = Path::decode(PathRef::new(bytes)) {
        holds(&path);
    }
}

/// Whether an element has a text form: unknown extensions have none.
fn has_text(elem: &PathElem) -> bool {
    match elem {
        PathElem::Ext(..) => false,
        PathElem::Tuple(items) => items.iter().all(has_text),
        _ => true,
    }
}

/// An expression: its value is encoded and decoded as it is.
pub fn expressions(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(value) = eval(text) else { return };
    let encoded = value.to_bytes();
    assert_eq!(moat::msgpack::check(&encoded), Ok(()), "{value:?}");
    let decoded = Value::decode(&encoded).map(|value| value.to_bytes());
    assert_eq!(decoded.as_ref(), Ok(&encoded), "{value:?}");
}

/// What a peer answers to a joiner: the first byte says in pieces of which
/// size it comes the second time. Both times it is the same, but for the
/// words about what cannot be read: where that is seen depends on the pieces.
pub fn fetches(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else {
        return;
    };
    let read = |piece: usize| {
        let (me, peer) = (NodeName::new("joiner"), NodeName::new("peer"));
        let mut joiner = Joiner::new(&me, &peer, FRAME);
        let (mut found, mut said, mut over) = (Vec::new(), Vec::new(), false);
        in_pieces(bytes, piece, |rest| {
            if over {
                return None;
            }
            let used = match joiner.next(rest) {
                Ok((used, Some(item))) => {
                    if let moat::event::Fetched::Entry(event) = &item {
                        assert!(event.tock.0 <= MAX_COUNTER);
                        assert!(moat::path::check(event.path.as_ref()).is_ok());
                    }
                    found.push(format!("{item:?}"));
                    // it may end without using a byte
                    over = used == 0;
                    Some(used)
                }
                Ok((used, None)) => (used > 0).then_some(used),
                Err(why) => {
                    over = true;
                    found.push(format!("{:?}", std::mem::discriminant(&why)));
                    None
                }
            };
            said.extend_from_slice(joiner.output());
            joiner.sent();
            used
        });
        (found, said)
    };
    assert_eq!(read(bytes.len().max(1)), read(usize::from(*piece) + 1));
}

/// A state file, or several: the first byte says in pieces of which size they
/// are read the second time. Both times the same is found, at the same
/// places; and what is found to be a record is one in another file, too.
pub fn state_files(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else {
        return;
    };
    let read = |piece: usize| {
        let mut reader = Reader::new();
        let (mut found, mut events) = (Vec::new(), Vec::new());
        let mut pieces = bytes.chunks(piece);
        loop {
            let more = pieces.next();
            match more {
                Some(piece) => reader.feed(piece),
                None => reader.end(),
            }
            while let Some(item) = reader.poll() {
                found.push(match item {
                    // why it is none depends on where the piece ended
                    Found::Damaged(span, _) => format!("damaged: {span:?}"),
                    Found::Event(event) => {
                        events.push(event.clone());
                        format!("{event:?}")
                    }
                    other => format!("{other:?}"),
                });
            }
            if more.is_none() {
                return (found, events);
            }
        }
    };
    let (at_once, events) = read(bytes.len().max(1));
    let (in_pieces, _) = read(usize::from(*piece) + 1);
    assert_eq!(at_once, in_pieces, "it does not matter how it comes");
    let (mut writer, mut out) = (Writer::new(), Vec::new());
    for event in events.iter().filter(|event| !event.chain.is_empty()) {
        writer.change(&mut out, &Change::of(event));
    }
    let mut again = Reader::new();
    again.feed(&out);
    again.end();
    for event in events.iter().filter(|event| !event.chain.is_empty()) {
        assert_eq!(again.poll(), Some(Found::Event(event)));
    }
    assert_eq!(again.poll(), None);
}

#[cfg(test)]
mod tests {
    type Target = (&'static str, fn(&[u8]), usize);

    #[test]
    fn what_was_found_passes() {
        // an unknown extension in a tuple has no text form either
        crate::paths(b"\xa0\x61\x99*\x01\x02\xc7\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00");
    }

    #[test]
    fn seeds_pass_their_targets() {
        let targets: [Target; 6] = [
            ("client_messages", crate::client_messages, 15),
            ("cluster_messages", crate::cluster_messages, 200),
            ("paths", crate::paths, 100),
            ("expressions", crate::expressions, 50),
            ("fetches", crate::fetches, 3),
            ("state_files", crate::state_files, 16),
        ];
        let seeds = crate::seeds::all().expect("the recordings are there");
        assert_eq!(seeds.len(), targets.len());
        for ((name, seeds), (target, run, least)) in seeds.iter().zip(targets) {
            assert_eq!(*name, target);
            assert!(seeds.len() >= least, "{name}: {} seeds", seeds.len());
            seeds.iter().for_each(|seed| run(seed));
        }
    }
}
