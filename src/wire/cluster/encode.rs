//! From a message to bytes: the original's keys in the original's order,
//! each object in its shortest form.

use std::time::Duration;

use crate::event::{
    ChainEnd, Hail, Info, Mark, NamedLink, NodeInfo, NodeName, PeerMessage, Say, Settings, Tick,
    TickSet, Turn, TurnValue, Update,
};
use crate::msgpack::{EXT_PATH, write};
use crate::path::PathRef;
use crate::wire::cluster::{MAX_LINKS_WRITTEN, Topic};

/// Appends a message and says on which topic it goes.
///
/// An update without any link says nothing; it is written as an empty map,
/// which every node ignores. A chain beyond [`MAX_LINKS_WRITTEN`] is cut. Of
/// an [`Info`], `present`, `remote_missing` and `debug` are for clients and
/// not written.
pub fn encode(message: &PeerMessage, out: &mut Vec<u8>) -> Topic {
    match message {
        PeerMessage::Update(update) => {
            out.reserve(update_size(update));
            encode_update(update, out);
        }
        PeerMessage::Info(info) => encode_info(info, out),
        PeerMessage::Ping(turn) | PeerMessage::Del(turn) => encode_turn(turn, out),
    }
    Topic::of(message)
}

/// About how many bytes an update takes: never too few, and too many by at
/// most 24 and by 12 a link.
#[must_use]
pub fn update_size(update: &Update) -> usize {
    // names of keys, heads of what follows, numbers at their longest
    const EVENT: usize = 26;
    const AGAIN: usize = 21;
    const TICK: usize = 8;
    const LINK: usize = 28;
    const VALUE: usize = 6;
    let event = &update.event;
    let links = event.chain.iter().take(MAX_LINKS_WRITTEN);
    let links: usize = links.map(|link| LINK + link.node.as_str().len()).sum();
    let value = event.value.as_ref().map_or(0, |value| VALUE + value.len());
    let sender = update.again.as_ref();
    let sender = sender.map_or(0, |(name, tick)| {
        AGAIN + name.as_str().len() + tick.map_or(0, |_| TICK)
    });
    EVENT + event.path.as_ref().bytes().len() + links + value + sender
}

fn encode_update(update: &Update, out: &mut Vec<u8>) {
    let event = &update.event;
    let shown = event.chain.get(..MAX_LINKS_WRITTEN);
    let (chain, end) = shown.map_or((event.chain.as_slice(), event.end), |chain| {
        (chain, ChainEnd::Cut)
    });
    if chain.is_empty() {
        write::map(out, 0);
        return;
    }
    let value = event.value.as_deref();
    let path = event.path.as_ref();
    let given = usize::from(value.is_some());
    match &update.again {
        None => {
            let last = chain.len() == 1 && end == ChainEnd::Cut;
            write::map(out, 5 - usize::from(last) + given);
            put_links(out, chain, end);
            put_path(out, path);
            put_value(out, value);
            put_uint(out, "tock", event.tock.0);
        }
        Some((sender, tick)) => {
            write::map(out, 5 + given);
            put_value(out, value);
            write::str(out, "chain");
            put_chain(out, chain, end);
            put_uint(out, "tock", event.tock.0);
            put_path(out, path);
            put_node(out, sender);
            put_tick(out, *tick);
        }
    }
}

/// A chain as a map.
pub(in crate::wire) fn put_chain(out: &mut Vec<u8>, chain: &[NamedLink], end: ChainEnd) {
    let last = chain.len() == 1 && end == ChainEnd::Cut;
    write::map(out, 3 - usize::from(last));
    put_links(out, chain, end);
}

/// The pairs of a chain's map: the newest link's, `prev` holds the others.
pub(in crate::wire) fn put_links(out: &mut Vec<u8>, chain: &[NamedLink], end: ChainEnd) {
    let mut rest = chain;
    while let [link, older @ ..] = rest {
        put_node(out, &link.node);
        put_tick(out, Some(link.tick));
        if older.is_empty() {
            if end == ChainEnd::Start {
                write::str(out, "prev");
                write::nil(out);
            }
        } else {
            let last = older.len() == 1 && end == ChainEnd::Cut;
            write::str(out, "prev");
            write::map(out, 3 - usize::from(last));
        }
        rest = older;
    }
}

fn put_path(out: &mut Vec<u8>, path: PathRef<'_>) {
    write::str(out, "path");
    write::ext(out, EXT_PATH, path.bytes().len());
    out.extend_from_slice(path.bytes());
}

fn put_value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    if let Some(value) = value {
        write::str(out, "value");
        out.extend_from_slice(value);
    }
}

fn put_node(out: &mut Vec<u8>, node: &NodeName) {
    write::str(out, "node");
    write::str(out, node.as_str());
}

fn put_tick(out: &mut Vec<u8>, tick: Option<Tick>) {
    write::str(out, "tick");
    tick_or_nil(out, tick);
}

fn tick_or_nil(out: &mut Vec<u8>, tick: Option<Tick>) {
    match tick {
        Some(Tick(tick)) => write::uint(out, tick),
        None => write::nil(out),
    }
}

fn put_uint(out: &mut Vec<u8>, key: &str, n: u64) {
    write::str(out, key);
    write::uint(out, n);
}

fn encode_info(message: &Info, out: &mut Vec<u8>) {
    // all fields are named, so that a new one is not forgotten here
    let NodeInfo {
        ticks,
        known,
        deleted,
        missing,
        node_drop,
        present: _,
        remote_missing: _,
        debug: _,
    } = &message.info;
    let sets = [("missing", missing), ("known", known), ("deleted", deleted)];
    let said = sets.iter().filter(|(_, sets)| sets.is_some()).count()
        + usize::from(ticks.is_some())
        + usize::from(node_drop.is_some());
    write::map(out, 3 + said + usize::from(message.hail.is_some()));
    if let Some(ticks) = ticks {
        write::str(out, "ticks");
        put_tick_map(out, ticks);
    }
    for (key, sets) in sets {
        if let Some(sets) = sets {
            write::str(out, key);
            put_sets(out, sets);
        }
    }
    if let Some(names) = node_drop {
        write::str(out, "node_drop");
        put_names(out, names);
    }
    put_uint(out, "tock", message.tock.0);
    put_node(out, &message.node);
    put_tick(out, message.tick);
    if let Some(hail) = &message.hail {
        put_hail(out, hail);
    }
}

/// `{NODE: tick or null}`
pub(in crate::wire) fn put_tick_map(out: &mut Vec<u8>, ticks: &[(NodeName, Option<Tick>)]) {
    write::map(out, ticks.len());
    for (node, tick) in ticks {
        write::str(out, node.as_str());
        tick_or_nil(out, *tick);
    }
}

/// `{NODE: ranges}`
pub(in crate::wire) fn put_sets(out: &mut Vec<u8>, sets: &[(NodeName, TickSet)]) {
    write::map(out, sets.len());
    for (node, ticks) in sets {
        write::str(out, node.as_str());
        put_ticks(out, ticks);
    }
}

/// Ascending ticks and pairs `[from, end)`.
fn put_ticks(out: &mut Vec<u8>, ticks: &TickSet) {
    write::array(out, ticks.intervals());
    for range in ticks.ranges() {
        if range.start() < range.end() {
            write::array(out, 2);
            write::uint(out, *range.start());
            write::uint(out, range.end().saturating_add(1));
        } else {
            write::uint(out, *range.start());
        }
    }
}

fn put_names(out: &mut Vec<u8>, names: &[NodeName]) {
    write::array(out, names.len());
    for name in names {
        write::str(out, name.as_str());
    }
}

fn put_hail(out: &mut Vec<u8>, hail: &Hail) {
    let word = match hail.say {
        Say::Hello => "hello",
        Say::Here => "here",
        Say::Gone => "gone",
    };
    let more = usize::from(!hail.addr.is_empty()) + usize::from(hail.sum.is_some());
    write::str(out, "moat");
    write::map(out, 2 + more);
    write::str(out, word);
    write::bool(out, true);
    put_uint(out, "boot", hail.boot);
    if !hail.addr.is_empty() {
        write::str(out, "addr");
        write::array(out, hail.addr.len());
        for (host, port) in &hail.addr {
            write::array(out, 2);
            write::str(out, host);
            write::uint(out, u64::from(*port));
        }
    }
    if let Some(sum) = hail.sum {
        put_uint(out, "sum", sum);
    }
}

fn put_mark(out: &mut Vec<u8>, mark: &Mark) {
    write::str(out, "moat");
    write::map(out, 1 + usize::from(mark.sum.is_some()));
    put_uint(out, "boot", mark.boot);
    if let Some(sum) = mark.sum {
        put_uint(out, "sum", sum);
    }
}

fn encode_turn(turn: &Turn, out: &mut Vec<u8>) {
    let kind = |out: &mut Vec<u8>, n, word| {
        write::map(out, n);
        write::str(out, "t");
        write::str(out, word);
    };
    match turn {
        Turn::Init(node) => {
            kind(out, 2, "init");
            put_node(out, node);
        }
        Turn::Vers(node, settings) => {
            kind(out, 9, "vers");
            put_node(out, node);
            put_settings(out, settings);
        }
        Turn::Ping {
            node,
            value,
            history,
            mark,
        } => {
            kind(out, 4 + usize::from(mark.is_some()), "ping");
            put_node(out, node);
            put_turn(out, *value, history);
            if let Some(mark) = mark {
                put_mark(out, mark);
            }
        }
        // a `node` here would end every node of the original
        Turn::Hist { value, history } => {
            kind(out, 3, "hist");
            put_turn(out, *value, history);
        }
    }
}

fn put_turn(out: &mut Vec<u8>, value: Option<TurnValue>, history: &[NodeName]) {
    write::str(out, "value");
    match value {
        Some((first, second)) => {
            write::array(out, 2);
            write::uint(out, first);
            write::uint(out, second);
        }
        None => write::nil(out),
    }
    write::str(out, "history");
    put_names(out, history);
}

fn put_settings(out: &mut Vec<u8>, settings: &Settings) {
    let seconds = |out: &mut Vec<u8>, key, time: Duration| {
        write::str(out, key);
        if time.subsec_nanos() == 0 {
            write::uint(out, time.as_secs());
        } else {
            write::float(out, time.as_secs_f64());
        }
    };
    seconds(out, "cycle", settings.cycle);
    seconds(out, "gap", settings.gap);
    put_uint(out, "nodes", u64::from(settings.nodes));
    put_uint(out, "splits", u64::from(settings.splits));
    put_uint(out, "n_hosts", u64::from(settings.n_hosts));
    put_uint(out, "version", settings.version);
    put_uint(out, "force_in", u64::from(settings.force_in));
}
