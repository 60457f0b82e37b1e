//! The answer to `get_members`.

use crate::event::{Deleters, MemberInfo, Members};
use crate::msgpack::write;

/// How many items [`write_items`] writes.
pub(super) const ITEMS: usize = 8;

/// Writes the items of the answer's map.
pub(super) fn write_items(out: &mut Vec<u8>, members: &Members) {
    let Members {
        node,
        nodes,
        more,
        up,
        outbox,
        history,
        split,
        deleters,
    } = members;
    write::str(out, "node");
    write::str(out, node.as_str());
    write::str(out, "nodes");
    write::array(out, nodes.len());
    for member in nodes {
        write_member(out, member);
    }
    write::str(out, "more");
    write::uint(out, *more);
    write::str(out, "up");
    write::bool(out, *up);
    write::str(out, "outbox");
    write::uint(out, *outbox);
    write::str(out, "history");
    write::array(out, history.len());
    for name in history {
        write::str(out, name.as_str());
    }
    write::str(out, "split");
    write::bool(out, *split);
    write::str(out, "deleters");
    write_deleters(out, deleters);
}

fn write_member(out: &mut Vec<u8>, member: &MemberInfo) {
    let MemberInfo {
        name,
        kind,
        own,
        ready,
        tick,
        missing,
        reported,
        heard,
        here,
        gone,
        addr,
        same,
    } = member;
    write::map(out, 12);
    write::str(out, "name");
    write::str(out, name.as_str());
    write::str(out, "kind");
    write::str(out, kind.word());
    write::str(out, "self");
    write::bool(out, *own);
    write::str(out, "ready");
    write_maybe(out, *ready, write::bool);
    write::str(out, "tick");
    write_maybe(out, tick.map(|tick| tick.0), write::uint);
    write::str(out, "missing");
    write::uint(out, *missing);
    write::str(out, "reported");
    write::uint(out, *reported);
    write::str(out, "heard");
    write_maybe(out, heard.map(|time| time.as_secs_f64()), write::float);
    write::str(out, "here");
    write::bool(out, *here);
    write::str(out, "gone");
    write::bool(out, *gone);
    write::str(out, "addr");
    write::array(out, addr.len());
    for (host, port) in addr {
        write::array(out, 2);
        write::str(out, host);
        write::uint(out, u64::from(*port));
    }
    write::str(out, "same");
    write_maybe(out, *same, write::bool);
}

fn write_deleters(out: &mut Vec<u8>, deleters: &Deleters) {
    let Deleters {
        group,
        marks,
        oldest,
    } = deleters;
    write::map(out, 3);
    write::str(out, "nodes");
    write::map(out, group.len());
    for (name, here) in group {
        write::str(out, name.as_str());
        write::bool(out, *here);
    }
    write::str(out, "marks");
    write_maybe(out, *marks, write::uint);
    write::str(out, "oldest");
    write_maybe(out, oldest.map(|tock| tock.0), write::uint);
}

fn write_maybe<T>(out: &mut Vec<u8>, item: Option<T>, some: fn(&mut Vec<u8>, T)) {
    match item {
        Some(item) => some(out, item),
        None => write::nil(out),
    }
}
