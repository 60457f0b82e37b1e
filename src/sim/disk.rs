//! What a node's disk holds: a state file, as a log is that begins with
//! everything there was at some moment; and what a process starts with.

use std::time::Duration;

use crate::event::{Event, NodeInfo, Tock};
use crate::sim::ledger::{LifeIx, Made};
use crate::sim::world::{Happening, Phase, World};

/// A state file.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// The first record: ticks, known and deleted ones, at the time
    pub(super) books: (NodeInfo, Tock),
    /// All entries at that time
    pub(super) entries: Vec<Event>,
    /// What had been held of each entry by then
    seen: Vec<Option<Made>>,
    /// All changes since
    pub(super) changes: Vec<Event>,
    /// So many of them are on the disk for sure.
    safe: usize,
}

/// Time between two files that begin with everything, at most, in
/// milliseconds.
const DUMPS: u64 = 60_000;

impl World {
    /// A process has its data: it writes them all to a new file before long,
    /// and again now and then.
    pub(super) fn dump_later(&mut self, n: usize, life: LifeIx) {
        let wait = Duration::from_millis(self.rng.between(1, DUMPS));
        self.after(wait, Happening::Dump(n, life));
    }

    /// A process begins a new file.
    pub(super) fn dump(&mut self, n: usize, life: LifeIx) {
        let node = &mut self.nodes[n];
        let Some(running) = node.running.as_ref().filter(|r| r.life == life) else {
            return;
        };
        if self.phase != Phase::Storm {
            return;
        }
        if !node.stopped {
            node.file = Some(File {
                books: running.host.state(),
                entries: running.host.events(),
                seen: self.ledger.seen(life),
                changes: Vec::new(),
                safe: 0,
            });
            self.trace.line(self.now, |out| {
                out.push_str(&format!("{} begins a file", node.name));
            });
        }
        self.dump_later(n, life);
    }

    /// A process takes its turn as a deleter. It may only do so when what it
    /// has is on the disk: others forget for good what it has confirmed.
    pub(super) fn sync(&mut self, n: usize) {
        if let Some(file) = &mut self.nodes[n].file {
            file.safe = file.changes.len();
        }
    }

    /// How many changes of its file a process has when it starts again: all,
    /// or those that had reached the disk. `None` if there is no file.
    fn reached(&mut self, n: usize) -> Option<usize> {
        let file = self.nodes[n].file.as_ref()?;
        let (safe, all) = (file.safe, file.changes.len());
        Some(if self.rng.chance(500) {
            all
        } else {
            safe + self.rng.place(all - safe + 1)
        })
    }

    /// A process is about to start with so much of its file, or without:
    /// what it begins with. That is not lost.
    pub(super) fn open_file(&mut self, n: usize, life: LifeIx) -> Option<File> {
        let node = &mut self.nodes[n];
        let Some(kept) = node.kept.take() else {
            node.file = None;
            return None;
        };
        let file = node.file.as_mut()?;
        file.changes.truncate(kept);
        file.safe = kept;
        self.ledger.begins_with(life, &file.seen, &file.changes);
        Some(file.clone())
    }

    /// Whether data outlive the end of a node's process: somebody else serves
    /// them, or is going to start from a file.
    pub(super) fn outlives(&self, n: usize) -> bool {
        let name = &self.nodes[n].name;
        let originals = self.nodes.iter().take(self.plan.nodes.into());
        // of two servers of one name, one is going to end
        let mut others = originals.filter(|other| other.name != *name && !other.gone);
        others.any(|other| match &other.running {
            Some(running) => running.serving || (running.loaded && !self.settings.twins),
            None => other.kept.is_some() && !self.settings.twins,
        })
    }

    /// Kills a process. It starts again with what its file holds.
    pub(super) fn crash(&mut self, n: usize, lasts: Duration) {
        let is_twin = n >= self.plan.nodes.into();
        // which of two servers of a name ends is nobody's choice
        let alone = self.settings.twins && !self.outlives(n);
        if self.nodes[n].running.is_none() || is_twin || alone {
            return;
        }
        let Some(kept) = self.reached(n) else {
            return;
        };
        self.end(n, "killed");
        self.nodes[n].kept = Some(kept);
        self.after(lasts, Happening::Start(n));
    }

    /// Kills all processes at once. Those that have files start from them;
    /// what is in none is lost.
    pub(super) fn cut_power(&mut self, lasts: Duration) {
        let has_file = self.nodes.iter().any(|node| {
            !node.gone && node.file.is_some() && (node.running.is_some() || node.kept.is_some())
        });
        if self.settings.twins || !has_file {
            return;
        }
        let mut saved = false;
        for n in 0..self.nodes.len() {
            if self.nodes[n].running.is_none() {
                saved |= self.nodes[n].kept.is_some();
                continue;
            }
            self.end(n, "without power");
            let kept = self.reached(n);
            // a disk may be gone as well
            let gone = saved && self.rng.chance(150);
            self.nodes[n].kept = kept.filter(|_| !gone);
            saved |= self.nodes[n].kept.is_some();
            let wait = self
                .rng
                .millis(100, 100 + lasts.as_millis().try_into().unwrap_or(60_000));
            self.after(wait, Happening::Start(n));
        }
    }
}
