//! Writing records, byte for byte as the original does.

use crate::event::{self, Chain, ChainEnd, Event, NodeName, Tick, Tock};
use crate::msgpack::{EXT_PATH, write};
use crate::node::dump::Told;
use crate::node::journal::Change;
use crate::path::{PathRef, RawPath};
use crate::wire::cluster::encode::{put_chain, put_links, put_sets, put_tick_map};
use crate::wire::state::Books;

/// The value of a deletion: "not given".
const DELETED: &[u8] = b"\xd4\x04_";

/// Appends records of one file to buffers. Paths are shortened by what they
/// share with the last one, so the order of the calls is that of the file.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    base: RawPath,
}

impl Writer {
    /// A writer at the beginning of a file.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            base: RawPath::new(),
        }
    }

    /// Bookkeeping: of its [`NodeInfo`](crate::event::NodeInfo) what the
    /// original writes, and the time, which the original skips.
    pub fn books(&mut self, out: &mut Vec<u8>, books: &Books) {
        let none = Vec::new();
        let info = &books.info;
        let more = [
            books.node.is_some(),
            books.tock.is_some(),
            books.time.is_some(),
        ];
        write::map(out, 3 + more.into_iter().filter(|is| *is).count());
        write::str(out, "nodes");
        put_tick_map(out, info.ticks.as_deref().unwrap_or_default());
        write::str(out, "known");
        put_sets(out, info.known.as_ref().unwrap_or(&none));
        write::str(out, "deleted");
        put_sets(out, info.deleted.as_ref().unwrap_or(&none));
        if let Some(node) = &books.node {
            write::str(out, "node");
            write::str(out, node.as_str());
        }
        if let Some(tock) = books.tock {
            write::str(out, "tock");
            write::uint(out, tock.0);
        }
        if let Some(time) = books.time {
            write::str(out, "time");
            write::float(out, time);
        }
    }

    /// Bookkeeping of node `node` as a file begins with: its last tick only.
    /// The next record's path is complete: reading may begin here.
    pub fn beginning(
        &mut self,
        out: &mut Vec<u8>,
        (node, tick): (&NodeName, Option<Tick>),
        tock: Tock,
        time: f64,
    ) {
        self.base.clear();
        write::map(out, 6);
        write::str(out, "nodes");
        put_tick_map(out, &[(node.clone(), tick)]);
        write::str(out, "known");
        write::map(out, 0);
        write::str(out, "deleted");
        write::map(out, 0);
        put_writer(out, node, tock, time);
    }

    /// What a dump of node `node` tells: a record of bookkeeping, or an entry
    /// as a full file has it. A deletion is written as a change, see
    /// [`change`](Self::change).
    pub fn told(
        &mut self,
        out: &mut Vec<u8>,
        told: &Told<'_>,
        node: &NodeName,
        tock: Tock,
        time: f64,
    ) {
        match *told {
            Told::Books(books) => self.survey(out, books, node, tock, time),
            Told::Entry {
                path,
                chain,
                tock,
                value: Some(value),
            } => {
                write::map(out, 5);
                write::str(out, "value");
                out.extend_from_slice(value);
                write::str(out, "chain");
                write::map(out, link_items(chain, 0));
                put_chain_links(out, chain);
                write::str(out, "tock");
                write::uint(out, tock.0);
                let depth = self.put_path(out, path);
                write::str(out, "depth");
                write::uint(out, depth);
            }
            Told::Entry {
                path,
                chain,
                tock,
                value: None,
            } => {
                write::map(out, 4 + link_items(chain, 0));
                put_chain_links(out, chain);
                let depth = self.put_path(out, path);
                write::str(out, "value");
                out.extend_from_slice(DELETED);
                write::str(out, "tock");
                write::uint(out, tock.0);
                write::str(out, "depth");
                write::uint(out, depth);
            }
        }
    }

    /// Deletions are left out of `deleted`: they stand in records of their
    /// own.
    fn survey(
        &mut self,
        out: &mut Vec<u8>,
        books: &event::Books,
        node: &NodeName,
        tock: Tock,
        time: f64,
    ) {
        self.base.clear();
        write::map(out, 6);
        for (name, section) in [("nodes", &books.nodes), ("known", &books.known)] {
            write::str(out, name);
            match section {
                Some(section) => {
                    write::map(out, section.count);
                    out.extend_from_slice(&section.pairs);
                }
                None => write::map(out, 0),
            }
        }
        write::str(out, "deleted");
        write::map(out, 0);
        put_writer(out, node, tock, time);
    }

    /// An entry, as a full file has it.
    pub fn entry(&mut self, out: &mut Vec<u8>, event: &Event) {
        write::map(out, 4 + usize::from(event.value.is_some()));
        if let Some(value) = &event.value {
            write::str(out, "value");
            out.extend_from_slice(value);
        }
        write::str(out, "chain");
        put_chain(out, &event.chain, event.end);
        write::str(out, "tock");
        write::uint(out, event.tock.0);
        let depth = self.put_path(out, event.path.as_ref());
        write::str(out, "depth");
        write::uint(out, depth);
    }

    /// A change. One that deletes has the value "not given", which the
    /// original takes for none: of a record without a value it makes
    /// bookkeeping, and loses the deletion.
    pub fn change(&mut self, out: &mut Vec<u8>, event: &Change<'_>) {
        let is_alone = event.chain.len() == 1 && event.end == ChainEnd::Cut;
        write::map(out, 7 - usize::from(is_alone));
        put_links(out, event.chain, event.end);
        let depth = self.put_path(out, event.path);
        write::str(out, "value");
        match event.value {
            Some(value) => out.extend_from_slice(value),
            None => out.extend_from_slice(DELETED),
        }
        write::str(out, "tock");
        write::uint(out, event.tock.0);
        write::str(out, "depth");
        write::uint(out, depth);
    }

    /// The path, less what it shares with the last one; returns how many
    /// elements that are.
    fn put_path(&mut self, out: &mut Vec<u8>, path: PathRef<'_>) -> u64 {
        let (mut shared, mut depth, mut left) = (0, 0, 0);
        let base = self.base.as_ref().bytes();
        for element in path.elements() {
            // no element's encoding begins another one's
            let element = element.unwrap_or_default();
            let end = shared + element.len();
            if left == 0 && base.get(shared..end) == Some(element) {
                shared = end;
                depth += 1;
            } else {
                left += 1;
            }
        }
        let rest = path.bytes().get(shared..).unwrap_or_default();
        write::str(out, "path");
        if depth == 0 {
            write::ext(out, EXT_PATH, rest.len());
        } else {
            write::array(out, left);
        }
        out.extend_from_slice(rest);
        self.base.clear();
        self.base.push(path.bytes());
        depth
    }
}

/// Whose bookkeeping it is, and of when.
fn put_writer(out: &mut Vec<u8>, node: &NodeName, tock: Tock, time: f64) {
    write::str(out, "node");
    write::str(out, node.as_str());
    write::str(out, "tock");
    write::uint(out, tock.0);
    write::str(out, "time");
    write::float(out, time);
}

/// How many items a chain's link has, the older ones being one.
fn link_items(chain: Chain<'_>, at: usize) -> usize {
    let is_last = at + 1 == chain.links.len();
    3 - usize::from(is_last && chain.end == ChainEnd::Cut)
}

/// The items of a chain's newest link, with all older ones in `prev`.
fn put_chain_links(out: &mut Vec<u8>, chain: Chain<'_>) {
    for (at, link) in chain.links.iter().enumerate() {
        if at > 0 {
            write::str(out, "prev");
            write::map(out, link_items(chain, at));
        }
        let name = chain.names.get(link.node().0 as usize);
        write::str(out, "node");
        write::str(out, name.map_or("", NodeName::as_str));
        write::str(out, "tick");
        write::uint(out, link.tick().0);
    }
    if chain.end == ChainEnd::Start {
        write::str(out, "prev");
        write::nil(out);
    }
}
