//! What is said on the wire: the same keys and values in our client
//! protocol and in that of Redis.
//!
//! Entry `n` is `building` / `rGGGG` / `NNNNNN`, a hundred to a group, and
//! holds a text of 20 bytes whose last eight are a stamp. All numbers have a
//! fixed width, so all requests of a kind are equally long, and are made by
//! copying a template and writing stamp and sequence number over it.
//!
//! A get asks with `nchain` 0 and a set without it, as the original's
//! client does: a set's reply carries the old value and the chain.

use anyhow::{Result, bail, ensure};
use moat::msgpack::{self, Fault, Head, Reader, write};

/// Who is asked. The original speaks as [`Peer::Moat`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// Returns our requests as they are
    Echo,
    /// A server of this protocol
    Moat,
    /// Redis
    Redis,
    /// A broker, in packets of MQTT 3.1.1
    Mqtt,
}

impl Peer {
    /// Those that the load generator knows
    pub(crate) const ALL: [Self; 3] = [Self::Echo, Self::Moat, Self::Redis];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Moat => "moat",
            Self::Redis => "redis",
            Self::Mqtt => "mqtt",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Get,
    Set,
    /// A message to all who watch: for Redis a publication, else a set
    Tell,
}

impl Op {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Tell => "tell",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Get, Self::Set, Self::Tell]
            .into_iter()
            .find(|o| o.name() == name)
    }
}

/// First element of every path, and the channel of Redis' messages.
pub(crate) const TOP: &str = "building";
pub(crate) const VALUE: &str = "temperature=";
/// Entries that can be named.
pub(crate) const MOST_KEYS: u32 = 1_000_000;

pub(crate) fn elements(key: u32) -> [String; 3] {
    [
        TOP.to_owned(),
        format!("r{:04}", key / 100),
        format!("{key:06}"),
    ]
}

/// Entry `key` as our command line and Redis call it.
pub(crate) fn key_text(key: u32) -> String {
    elements(key).join(".")
}

/// The value that carries `stamp`.
pub(crate) fn value_text(stamp: u32) -> String {
    format!("{VALUE}{stamp:08x}")
}

/// The requests for entries `0..keys`.
pub(crate) struct Requests {
    bytes: Vec<u8>,
    stride: usize,
    /// Where the value's stamp stands.
    stamp: Option<usize>,
    /// Whether the last four bytes are a sequence number.
    numbered: bool,
}

impl Requests {
    pub(crate) fn new(peer: Peer, op: Op, keys: u32) -> Self {
        Self::of(peer, op, 0..keys)
    }

    fn of(peer: Peer, op: Op, keys: std::ops::Range<u32>) -> Self {
        let mut bytes = Vec::new();
        let mut stride = 0;
        for key in keys {
            match peer {
                Peer::Redis => resp_request(&mut bytes, op, key),
                Peer::Moat | Peer::Echo => moat_request(&mut bytes, op, key),
                Peer::Mqtt => {}
            }
            if stride == 0 {
                stride = bytes.len();
            }
        }
        let first = bytes.get(..stride).unwrap_or(&[]);
        let stamp = find(first, VALUE.as_bytes()).map(|at| at + VALUE.len());
        Self {
            stride,
            stamp,
            numbered: peer != Peer::Redis,
            bytes,
        }
    }

    /// Appends the request for entry `key`; `number` is its sequence number
    /// and its value's stamp.
    #[inline]
    pub(crate) fn append(&self, out: &mut Vec<u8>, key: u32, number: u32) {
        let from = key as usize * self.stride;
        let start = out.len();
        out.extend_from_slice(&self.bytes[from..from + self.stride]);
        let request = &mut out[start..];
        if let Some(at) = self.stamp {
            put_stamp(&mut request[at..at + 8], number);
        }
        if self.numbered {
            request[self.stride - 4..].copy_from_slice(&number.to_be_bytes());
        }
    }
}

/// Writes a stamp over eight bytes.
#[inline]
pub(crate) fn put_stamp(digits: &mut [u8], number: u32) {
    for (i, digit) in digits.iter_mut().enumerate() {
        let nibble = number >> (28 - 4 * i) & 15;
        *digit = b"0123456789abcdef"[nibble as usize];
    }
}

/// Appends one request that is not kept.
pub(crate) fn append_once(out: &mut Vec<u8>, peer: Peer, op: Op, key: u32, number: u32) {
    Requests::of(peer, op, key..key + 1).append(out, 0, number);
}

fn moat_request(out: &mut Vec<u8>, op: Op, key: u32) {
    let mut path = Vec::new();
    for element in elements(key) {
        write::str(&mut path, &element);
    }
    write::map(out, 4);
    write::str(out, "path");
    write::ext(out, msgpack::EXT_PATH, path.len());
    out.extend_from_slice(&path);
    match op {
        Op::Get => {
            write::str(out, "nchain");
            write::uint(out, 0);
            write::str(out, "action");
            write::str(out, "get_value");
        }
        Op::Set | Op::Tell => {
            write::str(out, "value");
            write::str(out, &value_text(0));
            write::str(out, "action");
            write::str(out, "set_value");
        }
    }
    write::str(out, "seq");
    // five bytes, whatever the number
    write::uint(out, u64::from(u32::MAX));
}

fn resp_request(out: &mut Vec<u8>, op: Op, key: u32) {
    let (name, value) = (key_text(key), value_text(0));
    match op {
        Op::Get => resp(out, &["GET", &name]),
        Op::Set => resp(out, &["SET", &name, &value]),
        Op::Tell => resp(out, &["PUBLISH", TOP, &format!("{name}{value}")]),
    }
}

/// Appends a command in Redis' protocol.
pub(crate) fn resp(out: &mut Vec<u8>, words: &[&str]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
}

/// A request of our protocol with a path of texts as its only argument.
pub(crate) fn moat_path_request(action: &str, path: &[&str], number: u32) -> Vec<u8> {
    let mut out = Vec::new();
    write::map(&mut out, 3);
    write::str(&mut out, "path");
    write::array(&mut out, path.len());
    for element in path {
        write::str(&mut out, element);
    }
    write::str(&mut out, "action");
    write::str(&mut out, action);
    write::str(&mut out, "seq");
    write::uint(&mut out, u64::from(number));
    out
}

/// The first packet to a broker: a session without name or memory, and no
/// keep-alive.
pub(crate) const MQTT_HELLO: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";

/// The client's first message: no flow control.
pub(crate) fn hello() -> Vec<u8> {
    let mut out = Vec::new();
    write::map(&mut out, 2);
    write::str(&mut out, "seq");
    write::uint(&mut out, 0);
    write::str(&mut out, "qlen");
    write::uint(&mut out, 0);
    out
}

/// Length of the message that `bytes` begin with, if it is complete.
#[inline]
pub(crate) fn split(peer: Peer, bytes: &[u8]) -> Result<Option<usize>> {
    match peer {
        Peer::Redis => split_resp(bytes),
        Peer::Mqtt => split_mqtt(bytes),
        Peer::Moat | Peer::Echo => match msgpack::skip(bytes) {
            Ok(n) => Ok(Some(n)),
            Err(Fault::Incomplete) => Ok(None),
            Err(fault) => bail!("no msgpack: {fault}"),
        },
    }
}

fn split_mqtt(bytes: &[u8]) -> Result<Option<usize>> {
    let mut rest = 0;
    for (at, byte) in bytes.iter().skip(1).take(4).enumerate() {
        rest |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let length = 2 + at + rest;
            return Ok((length <= bytes.len()).then_some(length));
        }
    }
    ensure!(bytes.len() < 5, "no packet of MQTT is that long");
    Ok(None)
}

fn split_resp(bytes: &[u8]) -> Result<Option<usize>> {
    let mut at = 0;
    let mut open = 1_usize;
    while open > 0 {
        let Some((kind, line, next)) = resp_line(bytes, at) else {
            return Ok(None);
        };
        open -= 1;
        at = next;
        match kind {
            b'+' | b'-' | b':' => {}
            b'$' => {
                if line != b"-1" {
                    at += decimal(line)? + 2;
                    if at > bytes.len() {
                        return Ok(None);
                    }
                }
            }
            b'*' => open += decimal(line)?,
            other => bail!("no reply of Redis begins with byte {other}"),
        }
    }
    Ok(Some(at))
}

/// Kind, contents and end of the line at `at`.
fn resp_line(bytes: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let rest = bytes.get(at..)?;
    let kind = *rest.first()?;
    let end = rest.iter().position(|b| *b == b'\n')?;
    Some((kind, rest.get(1..end - 1)?, at + end + 1))
}

fn decimal(line: &[u8]) -> Result<usize> {
    line.iter().try_fold(0_usize, |n, digit| {
        ensure!(digit.is_ascii_digit(), "no number in Redis' reply");
        Ok(n * 10 + usize::from(digit - b'0'))
    })
}

/// The texts of a reply of Redis, in order, nested ones too.
pub(crate) fn resp_texts(reply: &[u8]) -> Result<Vec<&[u8]>> {
    let mut texts = Vec::new();
    let mut at = 0;
    while let Some((kind, line, next)) = resp_line(reply, at) {
        at = next;
        if kind == b'$' && line != b"-1" {
            let n = decimal(line)?;
            texts.extend(reply.get(at..at + n));
            at += n + 2;
        }
    }
    Ok(texts)
}

/// Fails unless `reply` says that the request was done.
pub(crate) fn verify(peer: Peer, op: Op, reply: &[u8]) -> Result<()> {
    let good = match (peer, op) {
        (Peer::Redis, Op::Get) => reply.starts_with(b"$20\r\n"),
        (Peer::Redis, Op::Set) => reply == b"+OK\r\n",
        (Peer::Redis, Op::Tell) => reply.starts_with(b":"),
        (Peer::Mqtt, _) => true,
        (Peer::Echo, _) => field(reply, "action")?.is_some(),
        (Peer::Moat, Op::Get) => field(reply, "value")?.is_some_and(|v| v.len() == 21),
        (Peer::Moat, Op::Set | Op::Tell) => field(reply, "changed")?.is_some(),
    };
    ensure!(
        good,
        "{} answered a {} with {:?}",
        peer.name(),
        op.name(),
        String::from_utf8_lossy(reply)
    );
    Ok(())
}

/// The encoded value of a message's field.
pub(crate) fn field<'a>(message: &'a [u8], name: &str) -> Result<Option<&'a [u8]>> {
    let mut reader = Reader::new(message);
    let Head::Map(n) = reader.head()? else {
        bail!("a message that is no map");
    };
    for _ in 0..n {
        let found = reader.text()? == Some(name);
        let object = reader.object()?;
        if found {
            return Ok(Some(object));
        }
    }
    Ok(None)
}

/// Where `needle` begins.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|w| w == needle)
}
