//! Writing records, byte for byte as the original does.

use crate::event::{ChainEnd, Event};
use crate::msgpack::{EXT_PATH, write};
use crate::path::{PathRef, RawPath};
use crate::wire::cluster::encode::{put_chain, put_links, put_sets, put_tick_map};
use crate::wire::state::Books;

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
        let depth = self.put_path(out, event);
        write::str(out, "depth");
        write::uint(out, depth);
    }

    /// A change. One that deletes has the value "not given", which the
    /// original takes for none: of a record without a value it makes
    /// bookkeeping, and loses the deletion.
    pub fn change(&mut self, out: &mut Vec<u8>, event: &Event) {
        let is_alone = event.chain.len() == 1 && event.end == ChainEnd::Cut;
        write::map(out, 7 - usize::from(is_alone));
        put_links(out, &event.chain, event.end);
        let depth = self.put_path(out, event);
        write::str(out, "value");
        match &event.value {
            Some(value) => out.extend_from_slice(value),
            None => out.extend_from_slice(b"\xd4\x04_"),
        }
        write::str(out, "tock");
        write::uint(out, event.tock.0);
        write::str(out, "depth");
        write::uint(out, depth);
    }

    /// The path, less what it shares with the last one; returns how many
    /// elements that are.
    fn put_path(&mut self, out: &mut Vec<u8>, event: &Event) -> u64 {
        let path = event.path.as_ref();
        let mut shared = 0;
        let mut depth = 0;
        let mut mine = path.elements();
        for other in self.base.as_ref().elements() {
            match (mine.next(), other) {
                (Some(Ok(a)), Ok(b)) if a == b => {
                    shared += a.len();
                    depth += 1;
                }
                _ => break,
            }
        }
        let rest = path.bytes().get(shared..).unwrap_or_default();
        write::str(out, "path");
        if depth == 0 {
            write::ext(out, EXT_PATH, rest.len());
        } else {
            let left = PathRef::new(rest).len();
            write::array(out, left);
        }
        out.extend_from_slice(rest);
        self.base.clear();
        self.base.push(path.bytes());
        depth
    }
}
