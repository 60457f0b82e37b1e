//! The files that a server writes: the log's rules, the thread that does the
//! slow part, and what waits for both.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::event::{Effect, FileDone, FileJob, LogInfo, PeerMessage, SessionId};
use crate::node::journal::Journal;
use crate::node::time::Timestamp;
use crate::node::{Effects, FileToken, Machine};
use crate::server::disk::{self, Disk};
use crate::server::rotate::Rotation;
use crate::store::log::{self, Log, Outcome, Report, Stamp};
use crate::wire::client::Outbox;

/// What a server does with files by itself.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// When what was written is made durable, and what happens if it cannot be
    pub log: log::Options,
    /// Directories that clients may name files in; absent: any
    pub dirs: Option<Vec<PathBuf>>,
    /// The file that takes changes from the start, and whether everything
    /// comes first
    pub save: Option<(PathBuf, bool)>,
    /// Where files are rotated while clients are served
    pub keep: Option<Rotation>,
    /// Whether what is there is complete, if it is loaded
    pub authoritative: bool,
}

/// Entries of a file that is begun which are told in one turn: some 20 µs.
const SLICE: usize = 256;
/// Words for the group of deleters that wait for the disk.
const HELD: usize = 16;

/// Stretches of a client's bytes that wait for different changes.
const MANY: usize = 64;

/// Clients that do not wait for each other: the changes of more are written
/// together, when all who are ready have had their turn.
const FEW: usize = 4;

/// The files of a running server.
#[derive(Debug)]
pub(super) struct Writing {
    log: Log,
    disk: Disk,
    dirs: Option<Vec<PathBuf>>,
    /// What confirms deletions, until the log that has them is durable
    held: VecDeque<(u64, Effect)>,
    /// Sessions whose bytes wait for the disk
    waiting: Vec<SessionId>,
    /// Wakes who waits for a file to be begun
    opener: Waker,
    /// What was written in several turns is not written together.
    few: bool,
    /// It is to be written now.
    flushing: bool,
    /// What is to be logged, and room for it
    journal: Journal,
    /// A change was logged in this turn.
    pub(super) changed: bool,
    /// The time of day, once it has been asked for in this turn
    wall: Option<f64>,
}

/// Bytes of a client that wait for the disk.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// How many may leave
    free: usize,
    /// How many may leave when this change is safe, in order
    held: VecDeque<(usize, u64)>,
    /// Bytes that are not accounted for yet wait for this change
    need: u64,
}

impl Writing {
    pub(super) fn new(files: &Files) -> Self {
        Self {
            log: Log::new(files.log),
            disk: Disk::new(),
            dirs: files.dirs.clone(),
            held: VecDeque::new(),
            waiting: Vec::new(),
            opener: Waker::noop().clone(),
            few: true,
            flushing: false,
            journal: Journal::default(),
            changed: false,
            wall: None,
        }
    }

    /// Opens the log that is written from the start.
    pub(super) fn begin(&mut self, machine: &mut Machine<Outbox>, files: &Files) {
        if let Some((path, full)) = &files.save {
            let stamp = stamp(machine, &mut self.wall);
            self.log
                .open(Timestamp(0), None, path.clone(), *full, stamp);
            machine.set_effects(Effects { persist: true });
        }
    }

    /// Has changes written to this file from now on.
    pub(super) fn open(
        &mut self,
        now: Timestamp,
        machine: &mut Machine<Outbox>,
        path: PathBuf,
        full: bool,
    ) {
        let info = self.log.info(now);
        // the first one is tried until it can be written; the others leave
        // the log where it is
        let token = info.path.is_some().then(|| machine.file_token());
        let stamp = stamp(machine, &mut self.wall);
        self.log.open(now, token, path, full, stamp);
    }

    /// Whether changes go to this file, once that is known.
    pub(super) fn poll_open(
        &mut self,
        now: Timestamp,
        path: &Path,
        cx: &Context<'_>,
    ) -> Poll<bool> {
        let info = self.log.info(now);
        let is_it = |other: &Option<String>| other.as_deref().map(Path::new) == Some(path);
        if info.waiting > 0 || is_it(&info.next) {
            self.opener.clone_from(cx.waker());
            return Poll::Pending;
        }
        Poll::Ready(is_it(&info.path) && info.failed.is_none())
    }

    /// What is written.
    pub(super) fn info(&self, now: Timestamp) -> LogInfo {
        self.log.info(now)
    }

    /// Whether changes go to the file that takes them from the start, or
    /// cannot, or there is none.
    pub(super) const fn is_begun(&self) -> bool {
        self.log.is_begun()
    }

    /// What is to be written is written in this turn, whoever else has one.
    pub(super) const fn flush(&mut self) {
        self.flushing = true;
    }

    /// Whether something waits to be written, until all who are ready have had
    /// their turn.
    pub(super) fn is_to_flush(&self) -> bool {
        self.log.to_write().is_some()
    }

    /// A turn begins; there are so many clients.
    pub(super) const fn begin_turn(&mut self, clients: usize) {
        self.few = clients <= FEW;
        self.changed = false;
        self.wall = None;
    }

    /// Logs what has changed.
    pub(super) fn take_changes(&mut self, machine: &mut Machine<Outbox>) {
        machine.swap_journal(&mut self.journal);
        if self.journal.is_empty() {
            return;
        }
        self.changed = true;
        let stamp = stamp(machine, &mut self.wall);
        for change in self.journal.changes() {
            self.log.change(&change, stamp);
        }
        self.journal.clear();
    }

    /// A client, or the server, wants something of the files.
    pub(super) fn job(
        &mut self,
        now: Timestamp,
        machine: &mut Machine<Outbox>,
        token: FileToken,
        job: FileJob,
    ) {
        let place = |path: &str, dirs: &Option<Vec<PathBuf>>| disk::place(path, dirs.as_deref());
        let failed = match job {
            FileJob::Tell => {
                let info = Box::new(self.log.info(now));
                return machine.handle_filed(token, &FileDone::Told(info));
            }
            FileJob::Stop => return self.log.stop(Some(token)),
            FileJob::Log { path, full } => match place(&path, &self.dirs) {
                Ok(path) => {
                    let stamp = stamp(machine, &mut self.wall);
                    return self.log.open(now, Some(token), path, full, stamp);
                }
                Err(why) => why,
            },
            FileJob::Save { path, internal } => match place(&path, &self.dirs) {
                Ok(path) => {
                    let stamp = stamp(machine, &mut self.wall);
                    return self.log.save(now, token, path, internal, stamp);
                }
                Err(why) => why,
            },
        };
        machine.handle_filed(token, &FileDone::Failed(failed));
    }

    /// What confirms deletions waits until what it confirms outlives a power
    /// cut: others forget these for good.
    pub(super) fn hold_back(&mut self, now: Timestamp, effect: Effect) -> Option<Effect> {
        let is_deleter =
            matches!(&effect, Effect::Tell(message) if matches!(**message, PeerMessage::Del(_)));
        if !is_deleter || (self.log.durable() >= self.log.number() && !self.log.is_failing()) {
            return Some(effect);
        }
        if self.held.len() == HELD {
            self.held.pop_front();
        }
        self.held.push_back((self.log.number(), effect));
        self.log.sync(now);
        None
    }

    /// What was held back and need not be any longer.
    pub(super) fn let_go(&mut self) -> Option<Effect> {
        let (number, _) = self.held.front()?;
        if *number <= self.log.durable() && !self.log.is_failing() {
            return self.held.pop_front().map(|(_, effect)| effect);
        }
        None
    }

    /// Writes what is to be written, has the rest done, and takes in what has
    /// been. Returns whether the machine has been told something.
    pub(super) fn settle(
        &mut self,
        now: Timestamp,
        machine: &mut Machine<Outbox>,
        cx: &mut Context<'_>,
    ) -> bool {
        let mut is_told = false;
        loop {
            if self.few || std::mem::take(&mut self.flushing) {
                self.write(now);
            }
            self.log.turn(now);
            while let Some(op) = self.log.poll_op() {
                self.disk.submit(op);
            }
            while let Some(outcome) = self.log.poll_outcome() {
                match outcome {
                    Outcome::Answer(token, done) => machine.handle_filed(token, &done),
                    Outcome::Fault(why) => machine.set_log_fault(why),
                    Outcome::Report(report) => tell(&report),
                }
                self.opener.wake_by_ref();
                is_told = true;
            }
            let Poll::Ready(done) = self.disk.poll(cx) else {
                break;
            };
            let stamp = stamp(machine, &mut self.wall);
            self.log.handle_done(now, &done.op, done.result, stamp);
        }
        machine.set_effects(Effects {
            persist: self.log.takes_changes(),
        });
        is_told
    }

    /// The log's own bytes, before any reply leaves.
    fn write(&mut self, now: Timestamp) {
        while let Some((file, bytes)) = self.log.to_write() {
            #[allow(clippy::disallowed_methods)] // the shell's clock
            let begun = Instant::now();
            let result = self.disk.write(file, bytes);
            self.log.wrote(now, begun.elapsed(), result);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.log.next_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp, machine: &Machine<Outbox>) {
        if self.log.next_timeout().is_some_and(|at| at <= now) {
            let stamp = stamp(machine, &mut self.wall);
            self.log.handle_timeout(now, stamp);
        }
    }

    /// Whether there is something to tell a file now.
    pub(super) fn is_to_tell(&self) -> bool {
        self.log.is_to_tell()
    }

    /// Tells a file that is begun a part of what there is. Returns whether
    /// there may be more to tell.
    pub(super) fn tell_some(&mut self, now: Timestamp, machine: &mut Machine<Outbox>) -> bool {
        if let Some(scope) = self.log.wants() {
            machine.begin_dump(scope);
        }
        if !self.log.may_tell() {
            return false;
        }
        let (name, tick) = machine.node();
        let name = name.clone();
        let stamp = Stamp {
            node: &name,
            tick,
            tock: machine.replica().tock(),
            wall: *self.wall.get_or_insert_with(wall),
        };
        let log = &mut self.log;
        if machine.dump(SLICE, &mut |told| log.tell(&told, stamp)) {
            return true;
        }
        self.log.told(now);
        false
    }

    /// The server ends: the log does so in order.
    pub(super) fn end(&mut self) {
        self.log.stop(None);
    }

    /// Whether all that was to be written has been.
    pub(super) fn is_idle(&self) -> bool {
        self.log.is_idle()
    }

    // ---- what waits for it ----

    /// How many of a client's bytes may leave; `is_late` if some of those
    /// that have come since may tell of changes that are not safe.
    pub(super) fn allow(
        &mut self,
        id: SessionId,
        holds: &mut Holds,
        all: usize,
        is_late: bool,
    ) -> usize {
        let safe = self.log.safe();
        if holds.held.is_empty() && holds.need <= safe && !(is_late && safe < self.log.number()) {
            holds.free = all;
            return all;
        }
        let known: usize = holds.free + holds.held.iter().map(|(bytes, _)| bytes).sum::<usize>();
        let new = all.saturating_sub(known);
        if new > 0 {
            let need = if is_late {
                self.log.number()
            } else {
                holds.need
            };
            let many = holds.held.len() >= MANY;
            match holds.held.back_mut() {
                // many turns may pass until the disk has done its part
                Some((bytes, last)) if *last >= need || many => {
                    *bytes += new;
                    *last = need.max(*last);
                }
                _ => holds.held.push_back((new, need)),
            }
        }
        while let Some((bytes, _)) = holds.held.pop_front_if(|(_, need)| *need <= safe) {
            holds.free += bytes;
        }
        if !holds.held.is_empty() && !self.waiting.contains(&id) {
            self.waiting.push(id);
        }
        holds.free
    }

    /// A client's reply must wait for the last change.
    pub(super) const fn need(&self, holds: &mut Holds) {
        holds.need = self.log.number();
    }

    /// Whether replies wait for anything at present.
    pub(super) fn is_behind(&self) -> bool {
        self.log.safe() < self.log.number()
    }

    /// Who waited, if the disk has come further.
    pub(super) fn wake(&mut self, mut is_ready: impl FnMut(SessionId, u64) -> bool) {
        if self.waiting.is_empty() {
            return;
        }
        let safe = self.log.safe();
        self.waiting.retain(|id| !is_ready(*id, safe));
    }
}

impl Holds {
    /// Bytes have left.
    pub(super) const fn sent(&mut self, bytes: usize) {
        self.free = self.free.saturating_sub(bytes);
    }

    /// Whether some may leave that could not before.
    pub(super) fn is_due(&self, safe: u64) -> bool {
        self.held.front().is_none_or(|(_, need)| *need <= safe)
    }
}

fn stamp<'m>(machine: &'m Machine<Outbox>, time: &mut Option<f64>) -> Stamp<'m> {
    let (node, tick) = machine.node();
    Stamp {
        node,
        tick,
        tock: machine.replica().tock(),
        wall: *time.get_or_insert_with(wall),
    }
}

/// Seconds since 1970.
fn wall() -> f64 {
    #[allow(clippy::disallowed_methods)] // the shell's clock
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs_f64()
}

fn tell(report: &Report) {
    match report {
        Report::Begun(_) | Report::Ended(_) | Report::Whole(_) => tracing::info!("{report}"),
        Report::Failed(..) | Report::NotBegun(..) | Report::Slow(..) => tracing::warn!("{report}"),
    }
}
