//! From messages to bytes: what waits to be sent to one client.
//!
//! A message is encoded once, straight into the connection's buffer. Streams
//! with flow control number their messages; those beyond the window wait,
//! encoded, until the client acknowledges earlier ones.

use std::collections::{BTreeMap, VecDeque};

use crate::event::{
    Books, Chain, ChainEnd, Handle, Link, Message, NodeName, Payload, Sink, State, To, Tock,
};
use crate::msgpack::{EXT_PATH, write};
use crate::path::PathRef;
use crate::wire::client::{VERSION, errors, files, members};
use crate::wire::fetch::MARKERS;

/// Bytes that may wait before streams that can wait do.
const ENOUGH: usize = 128 << 10;
/// Capacity that an empty buffer keeps.
const KEEP: usize = 16 << 10;
/// The smallest window that works: acknowledgements come when more than a
/// third of it is used, and the first message is never acknowledged alone.
const LEAST_WINDOW: u32 = 4;

/// What this server can do beyond the original.
const FEATURES: [&str; 4] = ["resume", MARKERS, "members", "log"];

/// How a server handles flow control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// What the greeting announces, and the most that a client may ask for
    pub most: u32,
}

/// What waits for one client.
#[derive(Debug)]
pub struct Outbox {
    out: Vec<u8>,
    /// Bytes of `out` that have left
    left: usize,
    windows: Windows,
    /// What the client's hello asked for
    window: Option<u32>,
    flows: BTreeMap<Handle, Flow>,
    held: usize,
}

/// One stream under flow control.
#[derive(Debug)]
struct Flow {
    window: u64,
    sent: u64,
    acked: u64,
    held: VecDeque<Box<[u8]>>,
    closing: bool,
}

impl Flow {
    const fn is_open(&self) -> bool {
        self.sent + 1 < self.acked + self.window
    }
}

impl Outbox {
    /// Nothing waits yet.
    #[must_use]
    pub const fn new(windows: Windows) -> Self {
        Self {
            out: Vec::new(),
            left: 0,
            windows,
            window: None,
            flows: BTreeMap::new(),
            held: 0,
        }
    }

    /// The client's hello: 0 means no flow control.
    pub fn hello(&mut self, window: u32) {
        self.window = self.windows.limit(window);
    }

    /// What can be sent now.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.out.get(self.left..).unwrap_or(&[])
    }

    /// The first `n` bytes have been sent.
    #[inline]
    pub fn consume(&mut self, n: usize) {
        self.left += n;
        if self.left >= self.out.len() {
            self.left = 0;
            self.out.clear();
            if self.out.capacity() > KEEP {
                self.out.shrink_to(KEEP);
            }
        } else if self.left > ENOUGH && self.left > self.out.len() / 2 {
            self.out.drain(..self.left);
            self.left = 0;
        }
    }

    /// The client has taken this stream's messages up to `n`. Returns
    /// whether the stream may have become able to send.
    pub fn ack(&mut self, stream: &Handle, n: u64) -> bool {
        let Some(flow) = self.flows.get_mut(stream) else {
            return false;
        };
        flow.acked = flow.acked.max(n.min(flow.sent));
        while flow.sent + 1 < flow.acked + flow.window + flow.held.len() as u64 {
            let Some(message) = flow.held.pop_front() else {
                break;
            };
            self.held -= message.len();
            self.out.extend_from_slice(&message);
        }
        if flow.closing && flow.held.is_empty() {
            self.flows.remove(stream);
        }
        true
    }
}

impl Outbox {
    /// Sends a message of a stream that may have flow control.
    #[inline(never)]
    fn send_in_turn(&mut self, handle: &Handle, message: &Message<'_>, tock: Tock) {
        let Some(flow) = self.flows.get_mut(handle).filter(|flow| !flow.closing) else {
            encode(&mut self.out, handle, None, message, tock, self.windows);
            return;
        };
        let open = flow.held.is_empty() && flow.is_open();
        flow.sent += 1;
        let number = Some(flow.sent);
        if open {
            encode(&mut self.out, handle, number, message, tock, self.windows);
        } else {
            let mut bytes = Vec::new();
            encode(&mut bytes, handle, number, message, tock, self.windows);
            self.held += bytes.len();
            flow.held.push_back(bytes.into());
        }
    }
}

impl Windows {
    fn limit(self, wanted: u32) -> Option<u32> {
        match wanted.min(self.most) {
            0 => None,
            n => Some(n.max(LEAST_WINDOW)),
        }
    }
}

impl Sink for Outbox {
    // where a message is made, its kind is known: nothing is left of it then
    // but the bytes that it becomes
    #[inline(always)]
    fn send(&mut self, to: To<'_>, message: &Message<'_>, tock: Tock) {
        match to {
            To::Stream(handle) if !self.flows.is_empty() => {
                self.send_in_turn(handle, message, tock);
            }
            To::Request(handle) | To::Stream(handle) => {
                encode(&mut self.out, handle, None, message, tock, self.windows);
            }
        }
    }

    fn open(&mut self, stream: &Handle, window: Option<u32>) {
        let window = match window {
            Some(window) => self.windows.limit(window),
            None => self.window,
        };
        // a number that is used again: what the last stream held is moot
        if let Some(flow) = self.flows.remove(stream) {
            self.held -= flow.held.iter().map(|m| m.len()).sum::<usize>();
        }
        if let Some(window) = window {
            let window = u64::from(window);
            let flow = Flow {
                window,
                sent: 0,
                acked: 0,
                held: VecDeque::new(),
                closing: false,
            };
            self.flows.insert(stream.clone(), flow);
        }
    }

    fn close(&mut self, stream: &Handle) {
        if let Some(flow) = self.flows.get_mut(stream) {
            flow.closing = true;
            if flow.held.is_empty() {
                self.flows.remove(stream);
            }
        }
    }

    #[inline]
    fn room(&self, stream: &Handle) -> bool {
        self.out.len() - self.left < ENOUGH
            && self
                .flows
                .get(stream)
                .is_none_or(|flow| flow.held.is_empty() && flow.is_open())
    }

    #[inline]
    fn waiting(&self) -> usize {
        self.out.len() - self.left + self.held
    }
}

/// Writes a message's map. `number` is its place in a stream with flow
/// control.
#[inline(always)] // as `send`
fn encode(
    out: &mut Vec<u8>,
    handle: &Handle,
    number: Option<u64>,
    message: &Message<'_>,
    tock: Tock,
    windows: Windows,
) {
    let mut map = Map {
        out,
        handle,
        number,
    };
    match *message {
        Message::Entry {
            value,
            chain,
            tock: own,
            path,
            as_list,
        } => {
            let n = usize::from(value.is_some())
                + usize::from(chain.is_some())
                + usize::from(path.is_some())
                + 1;
            map.begin(n);
            map.value(b"\xa5value", value);
            match chain {
                None => {}
                Some(None) => {
                    map.key(b"\xa5chain");
                    write::nil(map.out);
                }
                Some(Some(chain)) => map.chain(Some(chain)),
            }
            map.tock(own.unwrap_or(tock));
            if let Some(path) = path {
                map.path(path, if as_list { Some(path.len()) } else { None });
            }
        }
        Message::Changed {
            changed,
            prev,
            chain,
            tock,
        } => {
            let n = 2 + usize::from(prev.is_some()) + usize::from(chain.is_some());
            map.begin(n);
            map.key(b"\xa7changed");
            write::bool(map.out, changed);
            map.value(b"\xa4prev", prev);
            map.chain(chain);
            map.tock(tock);
        }
        Message::Node {
            value,
            chain,
            tock,
            depth,
            path,
            count,
            top,
            at,
            shared,
        } => {
            let n = 3
                + usize::from(value.is_some())
                + usize::from(chain.is_some())
                + usize::from(at.is_some());
            map.begin(n);
            if shared.is_some_and(|shared| shared.append_to(map.out)) {
                return;
            }
            let start = map.out.len();
            map.value(b"\xa5value", value);
            map.chain(chain);
            map.tock(tock);
            map.path(
                path,
                if top && depth == 0 {
                    None
                } else {
                    Some(count as usize)
                },
            );
            map.key(b"\xa5depth");
            write::uint(map.out, u64::from(depth));
            map.at(at);
            if let (Some(shared), Some(encoding)) = (shared, map.out.get(start..)) {
                shared.keep(encoding);
            }
        }
        _ => encode_rare(&mut map, message, tock, windows),
    }
}

#[inline(never)]
fn encode_rare(map: &mut Map<'_>, message: &Message<'_>, tock: Tock, windows: Windows) {
    match *message {
        Message::Entry { .. } | Message::Changed { .. } | Message::Node { .. } => {}
        Message::Greeting { node, tick } => {
            map.begin(6);
            map.key(b"\xa7version");
            write::array(map.out, VERSION.len());
            for n in VERSION {
                write::uint(map.out, n);
            }
            map.key(b"\xa4node");
            write::str(map.out, node.as_str());
            map.key(b"\xa4tick");
            match tick {
                None => write::nil(map.out),
                Some(tick) => write::uint(map.out, tick.0),
            }
            map.key(b"\xa4qlen");
            write::uint(map.out, u64::from(windows.most.max(LEAST_WINDOW)));
            // how this server is recognised: others do not send it
            map.key(b"\xa4moat");
            write::map(map.out, 2);
            write::str(map.out, "version");
            write::str(map.out, env!("CARGO_PKG_VERSION"));
            write::str(map.out, "features");
            write::array(map.out, FEATURES.len());
            for feature in FEATURES {
                write::str(map.out, feature);
            }
            map.tock(tock);
        }
        Message::Complaint(words) => {
            write::map(map.out, 2);
            map.key(b"\xa5error");
            write::str(map.out, words);
            map.tock(tock);
        }
        Message::Done => {
            map.begin(1);
            map.tock(tock);
        }
        Message::Truth(truth) => {
            map.begin(2);
            map.key(b"\xa6result");
            write::bool(map.out, truth);
            map.tock(tock);
        }
        Message::Count(n) => {
            map.begin(2);
            map.key(b"\xa7changed");
            write::uint(map.out, n);
            map.tock(tock);
        }
        Message::Deleted {
            chain,
            prev,
            tock,
            depth,
            path,
            count,
        } => {
            map.begin(5 + usize::from(prev.is_some()) + usize::from(has_prev(&chain)));
            // the chain's newest link is the message itself
            map.link(chain);
            map.path(path, Some(count as usize));
            map.value(b"\xa9old_value", prev);
            map.key(b"\xa5depth");
            write::uint(map.out, u64::from(depth));
            map.tock(tock);
        }
        Message::Names { count, elements } => {
            map.begin(2);
            map.key(b"\xa6result");
            write::array(map.out, count);
            map.out.extend_from_slice(elements);
            map.tock(tock);
        }
        Message::Children { count, pairs } => {
            map.begin(2);
            map.key(b"\xa6result");
            write::map(map.out, count);
            map.out.extend_from_slice(pairs);
            map.tock(tock);
        }
        Message::Ticks { count, ticks } => {
            map.begin(2);
            map.key(b"\xa6result");
            write::array(map.out, count);
            map.out.extend_from_slice(ticks);
            map.tock(tock);
        }
        Message::Info { node, books } => map.books(node, books, tock),
        Message::Members(view) => {
            map.begin(members::ITEMS + 1);
            members::write_items(map.out, view);
            map.tock(tock);
        }
        Message::Filed { path } => {
            map.begin(2 + usize::from(path.is_some()));
            map.key(b"\xa6result");
            write::bool(map.out, true);
            if let Some(path) = path {
                map.key(b"\xa4file");
                write::str(map.out, path);
            }
            map.tock(tock);
        }
        Message::Log(info) => {
            map.begin(files::ITEMS + 1);
            files::write_items(map.out, info);
            map.tock(tock);
        }
        Message::Heard {
            topic,
            payload,
            form,
        } => {
            map.begin(if form == Payload::Broken { 4 } else { 3 });
            map.key(b"\xa5topic");
            write::array(map.out, topic.len());
            for level in topic {
                write::str(map.out, level);
            }
            if form == Payload::Object {
                map.key(b"\xa4data");
                map.out.extend_from_slice(payload);
            } else {
                map.key(b"\xa3raw");
                write::bin(map.out, payload);
            }
            if form == Payload::Broken {
                map.key(b"\xa5error");
                write::str(map.out, "FormatError()");
            }
            map.tock(tock);
        }
        Message::State(state) => {
            let (word, at, resumed) = match state {
                State::Start { at } => ("start", at, None),
                State::End => ("end", None, None),
                State::UpToDate { at, resumed } => ("uptodate", Some(at), resumed),
            };
            map.begin(2 + usize::from(at.is_some()) + usize::from(resumed.is_some()));
            map.key(b"\xa5state");
            write::str(map.out, word);
            map.at(at);
            if let Some(resumed) = resumed {
                map.key(b"\xa7resumed");
                write::bool(map.out, resumed);
            }
            map.tock(tock);
        }
        Message::Error { why, at } => {
            let (kind, info) = (errors::kind(why), errors::info(why));
            map.begin(3 + usize::from(at.is_some()) + usize::from(info.is_some()));
            map.key(b"\xa5error");
            write::str(map.out, &errors::text(why));
            map.key(b"\xa5etype");
            write::str(map.out, kind);
            if let Some(info) = info {
                map.key(b"\xa4info");
                map.out.extend_from_slice(&info);
            }
            map.at(at);
            map.tock(tock);
        }
    }
}

/// Whether the newest link's message says what was before it.
const fn has_prev(chain: &Chain<'_>) -> bool {
    chain.links.len() > 1 || matches!(chain.end, ChainEnd::Start)
}

fn name_of(chain: Chain<'_>, link: Link) -> &str {
    let name = chain.names.get(link.node().0 as usize);
    name.map_or("", NodeName::as_str)
}

/// A message being written.
struct Map<'o> {
    out: &'o mut Vec<u8>,
    handle: &'o Handle,
    number: Option<u64>,
}

impl Map<'_> {
    /// Begins with what every message has; `n` more items follow.
    #[inline(always)] // mostly constants
    fn begin(&mut self, n: usize) {
        let n = n + 1 + usize::from(self.number.is_some());
        match u8::try_from(n) {
            Ok(n @ 0..=15) => self.key(&[0x80 | n, 0xa3, b's', b'e', b'q']),
            _ => {
                write::map(self.out, n);
                self.key(b"\xa3seq");
            }
        }
        self.handle.append_to(self.out);
        if let Some(number) = self.number {
            self.key(b"\xa4wseq");
            write::uint(self.out, number);
        }
    }

    #[inline(always)] // the length is known where it is called
    fn key(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    #[inline]
    fn value(&mut self, key: &[u8], value: Option<&[u8]>) {
        if let Some(value) = value {
            self.key(key);
            self.out.extend_from_slice(value);
        }
    }

    #[inline]
    fn tock(&mut self, tock: Tock) {
        self.key(b"\xa4tock");
        write::uint(self.out, tock.0);
    }

    fn at(&mut self, at: Option<(u64, u64)>) {
        if let Some((run, number)) = at {
            self.key(b"\xa2at");
            write::array(self.out, 2);
            write::uint(self.out, run);
            write::uint(self.out, number);
        }
    }

    /// A path: with a count as a list, else as what it is.
    #[inline]
    fn path(&mut self, path: PathRef<'_>, as_list: Option<usize>) {
        self.key(b"\xa4path");
        match as_list {
            Some(count) => write::array(self.out, count),
            None => write::ext(self.out, EXT_PATH, path.bytes().len()),
        }
        self.out.extend_from_slice(path.bytes());
    }

    #[inline]
    fn chain(&mut self, chain: Option<Chain<'_>>) {
        let Some(chain) = chain else { return };
        if let ([link], ChainEnd::Start) = (chain.links, chain.end) {
            // one link with nothing before it: nearly every chain
            self.key(b"\xa5chain\x83\xa4node");
            write::str(self.out, name_of(chain, *link));
            self.key(b"\xa4tick");
            write::uint(self.out, link.tick().0);
            self.key(b"\xa4prev\xc0");
        } else {
            self.key(b"\xa5chain");
            write::map(self.out, 2 + usize::from(has_prev(&chain)));
            self.link(chain);
        }
    }

    /// The items of a chain's newest link, with all older ones in `prev`.
    #[inline]
    fn link(&mut self, chain: Chain<'_>) {
        let last = chain.links.len().saturating_sub(1);
        for (n, link) in chain.links.iter().enumerate() {
            self.key(b"\xa4node");
            write::str(self.out, name_of(chain, *link));
            self.key(b"\xa4tick");
            write::uint(self.out, link.tick().0);
            if n < last {
                self.key(b"\xa4prev");
                // the next link has a `prev` of its own, unless it is the
                // last one and the chain was cut there
                let more = n + 1 < last || chain.end == ChainEnd::Start;
                write::map(self.out, 2 + usize::from(more));
            } else if chain.end == ChainEnd::Start {
                self.key(b"\xa4prev");
                write::nil(self.out);
            }
        }
    }

    fn books(&mut self, node: &NodeName, books: &Books, tock: Tock) {
        let sections = [
            ("nodes", &books.nodes),
            ("known", &books.known),
            ("present", &books.present),
            ("deleted", &books.deleted),
            ("missing", &books.missing),
            ("remote_missing", &books.remote_missing),
        ];
        let n = sections.iter().filter(|(_, s)| s.is_some()).count()
            + usize::from(books.node_drop.is_some())
            + usize::from(books.debug);
        self.begin(n + 2);
        for (name, section) in sections {
            if let Some(section) = section {
                write::str(self.out, name);
                write::map(self.out, section.count);
                self.out.extend_from_slice(&section.pairs);
            }
        }
        if let Some(names) = &books.node_drop {
            write::str(self.out, "node_drop");
            write::array(self.out, names.len());
            for name in names {
                write::str(self.out, name.as_str());
            }
        }
        if books.debug {
            write::str(self.out, "debug");
            write::map(self.out, 0);
        }
        self.key(b"\xa4node");
        write::str(self.out, node.as_str());
        self.tock(tock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Depths, Links, Request, Space, Write};
    use crate::node::machine::Seed;
    use crate::node::time::Timestamp;
    use crate::node::{Limits, Machine};
    use crate::path::RawPath;

    struct Client {
        links: Links,
        numbered: bool,
        window: Option<u32>,
        /// Writes that it does not hear
        late: usize,
    }

    const CLIENTS: [Client; 6] = [
        client(Links::None, false, None, 0),
        client(Links::None, false, None, 0),
        client(Links::Newest(1), false, None, 0),
        client(Links::None, true, None, 0),
        client(Links::None, false, Some(4), 0),
        client(Links::None, false, None, 2),
    ];

    const fn client(links: Links, numbered: bool, window: Option<u32>, late: usize) -> Client {
        Client {
            links,
            numbered,
            window,
            late,
        }
    }

    fn path(elements: &[&str]) -> RawPath {
        let mut path = RawPath::new();
        elements.iter().for_each(|e| path.push_str(e));
        path
    }

    /// What each client is told of some writes. Only `present` ones watch
    /// where these happen, the others elsewhere.
    fn told(present: impl Fn(usize) -> bool) -> Vec<Vec<u8>> {
        let seed = Seed { hash: 1, run: 2 };
        let mut machine = Machine::new(&NodeName::new("n"), Vec::new(), Limits::default(), seed);
        let outbox = || Outbox::new(Windows { most: 100 });
        let writer = machine.handle_connected(outbox());
        let clients = CLIENTS.map(|client| (client, machine.handle_connected(outbox())));
        let writes: [(&[&str], &[u8]); 5] = [
            (&["a", "b", "c"], b"\x01"),
            (&["a", "b", "d"], b"\x02"),
            (&["a", "b", "d"], b"\x03"),
            (&["a"], b"\xa1x"),
            (&["a", "e"], b"\xc0"),
        ];
        for (n, (to, value)) in writes.into_iter().enumerate() {
            for (i, (client, id)) in clients.iter().enumerate() {
                let watched = path(&[if present(i) { "a" } else { "z" }]);
                let request = Request::Watch {
                    path: watched.as_ref(),
                    links: client.links,
                    depths: Depths::ALL,
                    fetch: false,
                    empty: false,
                    resume: None,
                    numbered: client.numbered,
                    window: client.window,
                };
                if client.late == n {
                    machine.handle_client(Timestamp(0), *id, &Handle::new(&[1]), request);
                }
            }
            let to = path(to);
            let write = Request::Write(Write {
                space: Space::User,
                path: to.as_ref(),
                value: Some(value),
                links: Links::None,
                expect: None,
                prev: None,
                idem: false,
            });
            machine.handle_client(Timestamp(0), writer, &Handle::new(&[1]), write);
        }
        clients
            .map(|(_, id)| {
                let sink = machine.sink(id).unwrap();
                sink.ack(&Handle::new(&[1]), 100);
                sink.bytes().to_vec()
            })
            .to_vec()
    }

    #[test]
    fn watchers_are_told_the_same_whether_others_watch_or_not() {
        let together = told(|_| true);
        for (i, bytes) in together.iter().enumerate() {
            assert_eq!(told(|n| n == i)[i], *bytes, "client {i}");
            assert_ne!(told(|_| false)[i], *bytes, "client {i}");
        }
    }
}
