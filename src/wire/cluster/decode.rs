//! From bytes to a message.

use crate::event::{
    Event, Hail, Info, Mark, NodeInfo, NodeName, PeerMessage, Say, Settings, Tick, Tock, Turn,
    TurnValue, Update,
};
use crate::msgpack::{Fault, Head, Reader};
use crate::wire::cluster::chain::{self, Older, Slot};
use crate::wire::cluster::fields::{
    Map, ROOM, counter, integer, name, names, node_ticks, path, seconds, sender, tick_sets, tock,
};
use crate::wire::cluster::{Malformed, Topic};

/// The value that stands for none.
const NOT_GIVEN: &[u8] = b"\xd4\x04_";
/// Most addresses of a node that are read.
const MAX_ADDRESSES: usize = 16;
/// Longest host name that is read.
const MAX_HOST: usize = 255;

/// The message that came on a topic. Parts must have been joined before:
/// see [`Assembler`](super::Assembler).
///
/// Values are taken as they are, as long as they are sound msgpack. Keys
/// that are not known are ignored, and so is our own key `moat` if its form
/// is not what this program writes: a later version may know better.
///
/// # Errors
/// What is wrong, if the bytes are no such message. Memory is never taken
/// for more than is there.
pub fn decode(topic: Topic, bytes: &[u8]) -> Result<PeerMessage, Malformed> {
    match topic {
        Topic::Update => update(bytes).map(PeerMessage::Update),
        Topic::Info => info(bytes).map(PeerMessage::Info),
        Topic::Ping => turn(bytes, &Settings::PING).map(PeerMessage::Ping),
        Topic::Del => turn(bytes, &Settings::DELETE).map(PeerMessage::Del),
    }
}

/// In one pass: this is what nodes hear most.
fn update(bytes: &[u8]) -> Result<Update, Malformed> {
    let mut reader = Reader::new(bytes);
    let Head::Map(pairs) = reader.head()? else {
        return Err(Malformed::NotAMap("the message"));
    };
    let (mut place, mut value, mut new_value, mut when) = (None, None, None, None);
    // the message itself as newest link, unless there is a `chain`
    let (mut own, mut older) = (Slot::default(), Vec::new());
    let mut again = None;
    for _ in 0..pairs {
        match reader.key()? {
            Some(b"path") => place = Some(reader.object()?),
            Some(b"value") => value = Some(reader.object()?),
            Some(b"new_value") => new_value = Some(reader.object()?),
            Some(b"tock") => when = Some(tock(&mut reader)?),
            Some(b"prev") => own.older = chain::read(&mut reader, &mut older)?,
            Some(b"chain") => {
                let mut links = Vec::new();
                match chain::read(&mut reader, &mut links)? {
                    Older::Link => again = Some(links),
                    _ => return Err(Malformed::NotAMap("chain")),
                }
            }
            other => {
                if !own.field(other, &mut reader)? {
                    reader.object()?;
                }
            }
        }
    }
    match reader.rest().len() {
        0 => {}
        n => return Err(Fault::Trailing(n).into()),
    }
    let (chain, end) = match again.as_deref() {
        None => chain::links(own, &older)?,
        Some([newest, older @ ..]) => chain::links(*newest, older)?,
        Some([]) => return Err(Malformed::NoEvent),
    };
    let event = Event {
        path: path(place.ok_or(Malformed::Missing("path"))?)?.to_owned(),
        chain,
        end,
        tock: when.ok_or(Malformed::Missing("tock"))?,
        value: value
            .or(new_value)
            .filter(|value| *value != NOT_GIVEN)
            .map(Into::into),
    };
    let again = again.map(|_| {
        let sender = NodeName::new(own.node.unwrap_or_default());
        (sender, own.tick.map(Tick))
    });
    Ok(Update { event, again })
}

fn info(bytes: &[u8]) -> Result<Info, Malformed> {
    let map = Map::whole(bytes)?;
    let mut room = ROOM;
    let mut sets = |name| match map.given(name) {
        Some(raw) => tick_sets(raw, name, &mut room).map(Some),
        None => Ok(None),
    };
    // `superseded` goes before its other name
    let known = match sets("superseded")? {
        Some(sets) => Some(sets),
        None => sets("known")?,
    };
    let info = NodeInfo {
        known,
        missing: sets("missing")?,
        deleted: sets("deleted")?,
        ticks: match map.given("ticks") {
            Some(raw) => Some(node_ticks(raw, "ticks")?),
            None => None,
        },
        node_drop: match map.given("node_drop") {
            Some(raw) => Some(names(raw, "node_drop")?),
            None => None,
        },
        ..NodeInfo::default()
    };
    let number = |name| match map.given(name) {
        Some(raw) => counter(&mut Reader::new(raw), name),
        None => Ok(None),
    };
    Ok(Info {
        node: NodeName::new(sender(&mut Reader::new(map.need("node")?))?),
        tick: number("tick")?.map(Tick),
        tock: Tock(number("tock")?.unwrap_or_default()),
        info,
        hail: map.get("moat").and_then(hail),
    })
}

fn hail(raw: &[u8]) -> Option<Hail> {
    let map = Map::of(raw)?;
    let is = |word| map.get(word) == Some(&[0xc3]);
    let say = if is("hello") {
        Say::Hello
    } else if is("here") {
        Say::Here
    } else if is("gone") {
        Say::Gone
    } else {
        return None;
    };
    let Mark { boot, sum } = mark(raw)?;
    Some(Hail {
        say,
        boot,
        addr: map.get("addr").map_or_else(Vec::new, addresses),
        sum,
    })
}

fn mark(raw: &[u8]) -> Option<Mark> {
    let map = Map::of(raw)?;
    Some(Mark {
        boot: integer(map.get("boot")?, "boot").ok()?,
        sum: map.get("sum").and_then(|raw| integer(raw, "sum").ok()),
    })
}

/// `[[host, port], …]`; what is no address is left out.
fn addresses(raw: &[u8]) -> Vec<(String, u16)> {
    let mut reader = Reader::new(raw);
    let Ok(Head::Array(n)) = reader.head() else {
        return Vec::new();
    };
    (0..n)
        .map_while(|_| reader.object().ok())
        .filter_map(address)
        .take(MAX_ADDRESSES)
        .collect()
}

fn address(raw: &[u8]) -> Option<(String, u16)> {
    let mut reader = Reader::new(raw);
    if reader.head() != Ok(Head::Array(2)) {
        return None;
    }
    let host = reader.text().ok()??;
    let port = integer(reader.rest(), "addr").ok()?;
    let usable = (1..=MAX_HOST).contains(&host.len()) && port != 0;
    usable.then(|| (host.to_owned(), port))
}

/// `defaults` are for the settings that `vers` may leave out.
fn turn(bytes: &[u8], defaults: &Settings) -> Result<Turn, Malformed> {
    let map = Map::whole(bytes)?;
    let kind = Reader::new(map.need("t")?).text()?;
    let node = || name(&mut Reader::new(map.need("node")?));
    let history = || {
        map.get("history")
            .map_or(Ok(Vec::new()), |raw| names(raw, "history"))
    };
    match kind {
        Some("init") => Ok(Turn::Init(node()?)),
        Some("vers") => Ok(Turn::Vers(node()?, settings(map, defaults)?)),
        Some("ping") => Ok(Turn::Ping {
            node: node()?,
            value: turn_value(map)?,
            history: history()?,
            mark: map.get("moat").and_then(mark),
        }),
        Some("hist") => {
            let (value, history) = (turn_value(map)?, history()?);
            if history.is_empty() {
                return Err(Malformed::Missing("history"));
            }
            Ok(Turn::Hist { value, history })
        }
        Some(_) => Err(Malformed::Kind),
        None => Err(Malformed::Type("t")),
    }
}

/// `null` or a pair of numbers.
fn turn_value(map: Map<'_>) -> Result<Option<TurnValue>, Malformed> {
    let Some(raw) = map.given("value") else {
        return Ok(None);
    };
    let mut reader = Reader::new(raw);
    if reader.head()? != Head::Array(2) {
        return Err(Malformed::Type("value"));
    }
    let mut number = || counter(&mut reader, "value")?.ok_or(Malformed::Type("value"));
    Ok(Some((number()?, number()?)))
}

fn settings(map: Map<'_>, defaults: &Settings) -> Result<Settings, Malformed> {
    let number = |name, default| {
        map.given(name)
            .map_or(Ok(default), |raw| integer(raw, name))
    };
    let settings = Settings {
        cycle: seconds(map.need("cycle")?, "cycle")?,
        gap: seconds(map.need("gap")?, "gap")?,
        nodes: number("nodes", defaults.nodes)?,
        splits: number("splits", defaults.splits)?,
        n_hosts: number("n_hosts", defaults.n_hosts)?,
        version: match map.given("version") {
            Some(raw) => integer(raw, "version")?,
            None => 0,
        },
        force_in: number("force_in", defaults.force_in)?,
    };
    let three_gaps = settings.gap.checked_mul(3);
    if settings.cycle.as_secs() < 1 || three_gaps.is_none_or(|least| settings.cycle < least) {
        return Err(Malformed::Timing);
    }
    Ok(settings)
}
