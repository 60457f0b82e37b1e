//! One file that is being written.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use crate::event::{NodeName, Tick, Tock};
use crate::node::dump::Told;
use crate::node::journal::Change;
use crate::node::time::Timestamp;
use crate::store::Sums;
use crate::wire::state::Writer;

/// Names a file that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub(super) u32);

/// Whose log it is, and when it is.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// The node
    pub node: &'a NodeName,
    /// Its last tick, if it has one
    pub tick: Option<Tick>,
    /// Its tock
    pub tock: Tock,
    /// Seconds since 1970
    pub wall: f64,
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: FileId,
    pub(super) path: PathBuf,
    /// Whether it began with everything there was
    pub(super) full: bool,
    pub(super) begun: Timestamp,
    writer: Writer,
    sums: Sums,
    /// When its side file was told something last
    marked: Timestamp,
    /// Bytes that have not been handed to the system
    pub(super) buffer: Vec<u8>,
    /// How far it is when each of the pieces is written that have been handed
    /// over, and have not been
    pieces: VecDeque<Reach>,
    /// Bytes that have been written, or have been handed over to be
    handed: Reach,
    /// Bytes that have been written
    pub(super) written: Reach,
    /// How much is being made durable
    pub(super) syncing: Option<Reach>,
    /// How much is durable
    pub(super) synced: Reach,
    /// All that there is, written or not
    pub(super) given: Reach,
    /// The second of the last record that tells the time
    second: f64,
    /// Changes in it
    pub(super) changes: u64,
    /// Something was written since the bookkeeping was.
    pub(super) is_ahead: bool,
}

/// How far something has come in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Reach {
    /// The last change that is in it, of all there have been
    pub(super) number: u64,
    /// Bytes
    pub(super) len: u64,
}

impl Open {
    /// A file that begins now, behind change `number`.
    pub(super) fn new(
        (id, path): (FileId, PathBuf),
        full: bool,
        now: Timestamp,
        number: u64,
        stamp: Stamp<'_>,
    ) -> Self {
        let start = Reach { number, len: 0 };
        let mut open = Self {
            id,
            path,
            full,
            begun: now,
            writer: Writer::new(),
            sums: Sums::new(),
            marked: now,
            handed: start,
            buffer: Vec::new(),
            pieces: VecDeque::new(),
            written: start,
            syncing: None,
            synced: start,
            given: start,
            second: 0.0,
            changes: 0,
            is_ahead: false,
        };
        open.tell_time(stamp);
        open
    }

    /// A record of the time, where the next whole second has begun, or the
    /// clock has been set back.
    fn tell_time(&mut self, stamp: Stamp<'_>) {
        let second = stamp.wall.floor();
        if (self.second - second).abs() < 1.0 {
            return;
        }
        self.second = second;
        let Stamp {
            node,
            tick,
            tock,
            wall,
        } = stamp;
        let before = self.buffer.len();
        self.writer
            .beginning(&mut self.buffer, (node, tick), tock, wall);
        self.count(before);
    }

    fn count(&mut self, before: usize) {
        self.given.len += (self.buffer.len() - before) as u64;
    }

    /// Change `number` of all.
    pub(super) fn change(&mut self, event: &Change<'_>, number: u64, stamp: Stamp<'_>) {
        self.tell_time(stamp);
        let before = self.buffer.len();
        self.writer.change(&mut self.buffer, event);
        self.count(before);
        self.given.number = number;
        self.changes += 1;
        self.is_ahead = true;
    }

    /// Something of a dump.
    pub(super) fn told(&mut self, told: &Told<'_>, stamp: Stamp<'_>) {
        let before = self.buffer.len();
        let Stamp {
            node, tock, wall, ..
        } = stamp;
        self.writer.told(&mut self.buffer, told, node, tock, wall);
        if matches!(told, Told::Books(_)) {
            self.second = wall.floor();
            self.is_ahead = false;
        }
        self.count(before);
    }

    /// Whether something has been written since what is durable, or is being
    /// made so.
    pub(super) fn is_dirty(&self) -> bool {
        self.written > self.syncing.unwrap_or(self.synced)
    }

    /// What has been handed over is to be made durable, if that is not so
    /// already: what the side file is to say of it then.
    pub(super) fn begin_sync(&mut self, now: Timestamp) -> Option<Vec<u8>> {
        if self.handed <= self.synced || self.syncing.is_some() {
            return None;
        }
        self.syncing = Some(self.handed);
        // a second file that is written to makes each sync of the first slower
        if now.since(self.marked) < MARKS && self.synced.len > 0 {
            return Some(Vec::new());
        }
        self.marked = now;
        Some(self.sums.mark())
    }

    /// The same when it is written to its end; `last` if the server ends.
    pub(super) fn close(&mut self, last: bool) -> Vec<u8> {
        if last {
            std::mem::take(&mut self.sums).close()
        } else {
            self.sums.mark()
        }
    }

    /// Takes what is in the buffer, for somebody to append.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        if self.buffer.is_empty() {
            return None;
        }
        self.pieces.push_back(self.given);
        self.sums.update(&self.buffer);
        self.handed = self.given;
        Some(std::mem::take(&mut self.buffer))
    }

    /// What was taken first has been appended.
    pub(super) fn appended(&mut self) {
        if let Some(reach) = self.pieces.pop_front() {
            self.written = reach;
        }
    }

    /// Whether everything that was taken has been appended.
    pub(super) fn is_appended(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes that wait to be written.
    pub(super) const fn waiting(&self) -> u64 {
        self.given.len - self.written.len
    }

    /// All changes up to this one that are not in the file are in another.
    pub(super) fn reaches(&mut self, number: u64) {
        let is_synced = self.synced.len == self.given.len;
        self.given.number = number;
        if self.waiting() == 0 {
            self.written = self.given;
            self.handed = self.given;
        }
        if is_synced {
            self.synced = self.given;
        }
    }

    /// The buffer's bytes have been written.
    pub(super) fn wrote_buffer(&mut self) {
        self.written = self.given;
        self.handed = self.given;
        self.sums.update(&self.buffer);
        self.buffer.clear();
        // one long value is no reason to keep its room
        self.buffer.shrink_to(KEPT);
    }
}

/// Time between two words to the side file.
const MARKS: Duration = Duration::from_millis(900);

/// Room that a buffer keeps.
const KEPT: usize = 256 << 10;
