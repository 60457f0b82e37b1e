//! Which files changes are written to, and when what of them is safe: a state
//! machine without a file.
//!
//! Changes go to one file, the log. A new one is written under a temporary
//! name, takes the changes that happen meanwhile as well, and becomes the log
//! when it is complete and has its name; the old one ends there. What is
//! to be done to files comes out as [`Op`]s, in order, and what became of
//! them goes in by [`Log::handle_done`]. The log's own changes are written
//! by whoever runs the node, before replies leave: [`Log::to_write`].
//!
//! If changes cannot be written, the log is given up, and tried again as a
//! new file with everything in it.

mod done;
mod open;
mod words;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::event::{FileDone, LogInfo};
use crate::node::FileToken;
use crate::node::dump::{Scope, Told};
use crate::node::journal::Change;
use crate::node::time::Timestamp;

use open::Open;
pub use open::{FileId, Stamp};
pub use words::{Op, Options, Outcome, Report, Sync, Trouble};

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Job {
    token: Option<FileToken>,
    path: PathBuf,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// A new log
    Log { full: bool },
    /// A file that ends when it is complete
    Save { internal: bool },
}

/// A file that is not complete yet.
#[derive(Debug)]
struct Building {
    job: Job,
    open: Open,
    phase: Phase,
    /// Whether changes go into it
    takes_changes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Everything is being told.
    Telling,
    /// It is being made durable, and gets its name.
    Finishing,
    /// It has its name.
    Finished,
}

/// Why changes are not written.
#[derive(Debug)]
struct Failure {
    path: PathBuf,
    why: String,
    since: Timestamp,
    unsaved: u64,
    retry: Timestamp,
    patience: Duration,
}

/// Where what is told goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telling {
    Next,
    Current,
}

/// Bytes that may wait to be written to a file being built.
const QUEUED: u64 = 8 << 20;
/// Bytes that are handed over together.
const PIECE: usize = 256 << 10;
/// Files that may wait to be written.
const JOBS: usize = 64;
/// Time between two records of all bookkeeping.
const BOOKS: Duration = Duration::from_secs(60);
/// A write that takes longer is not done beside the node's work again soon.
const SLOW: Duration = Duration::from_millis(50);
/// For how long.
const AWAY: Duration = Duration::from_secs(10);
/// When a new file is tried after a failure: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The files that a node writes.
#[derive(Debug)]
pub struct Log {
    options: Options,
    current: Option<Open>,
    next: Option<Building>,
    waiting: VecDeque<Job>,
    /// Files whose last bytes are being made durable
    closing: Vec<Open>,
    /// Who waits for the end of the log; `Some(None)`: the server
    stopping: Option<Option<FileToken>>,
    /// Who waits for these files' end
    stopped: Vec<(FileId, Option<FileToken>)>,
    failure: Option<Failure>,
    telling: Option<Telling>,
    /// How many changes there have been
    number: u64,
    last_id: u32,
    ops: VecDeque<Op>,
    outcomes: VecDeque<Outcome>,
    sync_due: Option<Timestamp>,
    books_due: Option<Timestamp>,
    /// They are to be told.
    books_wanted: bool,
    /// Until when writes are not done beside the node's work
    away: Option<Timestamp>,
}

impl Log {
    /// No file.
    #[must_use]
    pub const fn new(options: Options) -> Self {
        Self {
            options,
            current: None,
            next: None,
            waiting: VecDeque::new(),
            closing: Vec::new(),
            stopping: None,
            stopped: Vec::new(),
            failure: None,
            telling: None,
            number: 0,
            last_id: 0,
            ops: VecDeque::new(),
            outcomes: VecDeque::new(),
            sync_due: None,
            books_due: None,
            books_wanted: false,
            away: None,
        }
    }

    // ---- what is wanted ----

    /// Changes are to be written to this file; everything there is comes
    /// first if it is to be full. Without it nothing is missing or double
    /// between the end of the last file and its beginning.
    pub fn open(
        &mut self,
        now: Timestamp,
        token: Option<FileToken>,
        path: PathBuf,
        full: bool,
        stamp: Stamp<'_>,
    ) {
        self.add(
            now,
            Job {
                token,
                path,
                what: What::Log { full },
            },
            stamp,
        );
    }

    /// What there is now is to be written to this file.
    pub fn save(
        &mut self,
        now: Timestamp,
        token: FileToken,
        path: PathBuf,
        internal: bool,
        stamp: Stamp<'_>,
    ) {
        self.add(
            now,
            Job {
                token: Some(token),
                path,
                what: What::Save { internal },
            },
            stamp,
        );
    }

    /// Changes are not to be written any more. Without a token: the server
    /// ends.
    pub fn stop(&mut self, token: Option<FileToken>) {
        self.failure = None;
        if self.options.refuse {
            self.outcomes.push_back(Outcome::Fault(None));
        }
        // a log that is not complete yet will not be
        if let Some(job) = self.next.as_ref().map(|next| next.job.clone())
            && (token.is_none() || matches!(job.what, What::Log { .. }))
        {
            self.drop_next(&Trouble::new("the log was stopped"));
        }
        let jobs = std::mem::take(&mut self.waiting);
        for job in jobs {
            if token.is_none() || matches!(job.what, What::Log { .. }) {
                let why = Trouble::new("the log was stopped");
                self.answer(job.token, FileDone::Failed(why.about(&job.path)));
            } else {
                self.waiting.push_back(job);
            }
        }
        if self.current.is_none() || self.stopping.is_some() {
            self.answer(token, FileDone::Done(None));
            return;
        }
        self.stopping = Some(token);
    }

    /// The files that are written.
    #[must_use]
    pub fn info(&self, now: Timestamp) -> LogInfo {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut info = LogInfo {
            next: self.next.as_ref().map(|next| text(&next.job.path)),
            waiting: self.waiting.len() as u64,
            ..LogInfo::default()
        };
        if let Some(open) = &self.current {
            info.path = Some(text(&open.path));
            info.full = open.full;
            info.since = now.since(open.begun);
            info.changes = open.changes;
            info.bytes = open.given.len;
            info.synced = open.synced.len;
        }
        if let Some(failure) = &self.failure {
            info.path = Some(text(&failure.path));
            info.failed = Some((failure.why.clone(), now.since(failure.since)));
            info.unsaved = failure.unsaved;
        }
        info
    }

    fn add(&mut self, now: Timestamp, job: Job, stamp: Stamp<'_>) {
        let is_current = |open: &Open| open.path == job.path;
        if self.waiting.len() >= JOBS {
            let why = Trouble::new("too many files are to be written");
            return self.answer(job.token, FileDone::Failed(why.about(&job.path)));
        }
        if job.what != (What::Log { full: true }) && self.current.as_ref().is_some_and(is_current) {
            // it would be replaced by something that has less
            let why = Trouble::new("changes are being written to it");
            return self.answer(job.token, FileDone::Failed(why.about(&job.path)));
        }
        self.waiting.push_back(job);
        self.begin(now, stamp);
    }

    fn answer(&mut self, token: Option<FileToken>, done: FileDone) {
        if let Some(token) = token {
            self.outcomes.push_back(Outcome::Answer(token, done));
        }
    }

    /// Begins the next file, if one waits and none is being written.
    fn begin(&mut self, now: Timestamp, stamp: Stamp<'_>) {
        if self.next.is_some() || self.stopping.is_some() {
            return;
        }
        let Some(mut job) = self.waiting.pop_front() else {
            return;
        };
        if self.failure.is_some() && job.what == (What::Log { full: false }) {
            // what is in no file yet must be in this one
            job.what = What::Log { full: true };
        }
        self.last_id += 1;
        let file = FileId(self.last_id);
        self.ops.push_back(Op::Create {
            file,
            path: job.path.clone(),
        });
        let place = (file, job.path.clone());
        let full = job.what != What::Log { full: false };
        self.next = Some(Building {
            open: Open::new(place, full, now, self.number, stamp),
            phase: Phase::Telling,
            // until then the entries will show them, or the old log has them
            takes_changes: !full && self.current.is_none(),
            job,
        });
    }

    // ---- everything, for a new file ----

    /// What is to be told next, if something is: the answer holds until it
    /// has been told to its end.
    pub fn wants(&mut self) -> Option<Scope> {
        if self.telling.is_some() {
            return None;
        }
        if self.stopping.is_some() && self.current.is_some() {
            self.telling = Some(Telling::Current);
            return Some(Scope::Books);
        }
        if std::mem::take(&mut self.books_wanted) && self.current.is_some() {
            self.telling = Some(Telling::Current);
            return Some(Scope::Books);
        }
        if let Some(next) = &self.next
            && next.phase == Phase::Telling
        {
            self.telling = Some(Telling::Next);
            return Some(match next.job.what {
                What::Log { full: true } | What::Save { internal: true } => Scope::All,
                What::Log { full: false } => Scope::Books,
                What::Save { internal: false } => Scope::User,
            });
        }
        None
    }

    /// Whether something is to be told now: begun, or gone on with.
    #[must_use]
    pub fn is_to_tell(&self) -> bool {
        match self.telling {
            Some(_) => self.may_tell(),
            None => {
                let is_next = |next: &Building| next.phase == Phase::Telling;
                let of_current = self.books_wanted || self.stopping.is_some();
                (of_current && self.current.is_some()) || self.next.as_ref().is_some_and(is_next)
            }
        }
    }

    /// Whether something is being told, and may go on.
    #[must_use]
    pub fn may_tell(&self) -> bool {
        match self.telling {
            None => false,
            Some(Telling::Current) => true,
            Some(Telling::Next) => self
                .next
                .as_ref()
                .is_some_and(|next| next.open.waiting() < QUEUED),
        }
    }

    /// Something that is told.
    pub fn tell(&mut self, told: &Told<'_>, stamp: Stamp<'_>) {
        match self.telling {
            None => {}
            Some(Telling::Current) => {
                if let Some(open) = &mut self.current {
                    open.told(told, stamp);
                }
            }
            Some(Telling::Next) => {
                if let Some(next) = &mut self.next {
                    next.open.told(told, stamp);
                    // what is told from here on may be older than a change
                    if next.open.full {
                        next.takes_changes = true;
                    }
                    if next.open.buffer.len() >= PIECE {
                        append(&mut next.open, &mut self.ops);
                    }
                }
            }
        }
    }

    /// All has been told.
    pub fn told(&mut self, now: Timestamp) {
        match self.telling.take() {
            None => {}
            Some(Telling::Current) => {
                self.books_due = None;
                if self.stopping.is_some() {
                    self.end_current();
                }
            }
            Some(Telling::Next) => {
                let Some(next) = &mut self.next else { return };
                append(&mut next.open, &mut self.ops);
                next.phase = Phase::Finishing;
                if matches!(next.job.what, What::Save { .. }) {
                    next.takes_changes = false;
                }
                let mark = next.open.begin_sync(now).unwrap_or_default();
                let file = next.open.id;
                self.ops.push_back(Op::Finish { file, mark });
            }
        }
    }

    // ---- changes ----

    /// Whether changes are to be handed in.
    #[must_use]
    pub const fn takes_changes(&self) -> bool {
        self.current.is_some() || self.next.is_some() || self.failure.is_some()
    }

    /// A change has happened.
    pub fn change(&mut self, event: &Change<'_>, stamp: Stamp<'_>) {
        self.number += 1;
        if let Some(failure) = &mut self.failure {
            failure.unsaved += 1;
        }
        if let Some(open) = &mut self.current {
            open.change(event, self.number, stamp);
        }
        if let Some(next) = &mut self.next
            && next.takes_changes
        {
            next.open.change(event, self.number, stamp);
            if next.open.buffer.len() >= PIECE {
                append(&mut next.open, &mut self.ops);
            }
        }
    }

    /// The number of the last change.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The last change whose writer may be told that it is done, as far as it
    /// is for the log to say.
    #[must_use]
    pub fn safe(&self) -> u64 {
        self.reached(self.options.sync == Sync::Always)
    }

    /// The last change that outlives a power cut, if that is ever waited for.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.reached(self.options.sync != Sync::Never)
    }

    fn reached(&self, synced: bool) -> u64 {
        let reach = |open: &Open| {
            if synced {
                open.synced.number
            } else {
                open.written.number
            }
        };
        let files = self.current.iter().chain(&self.closing);
        files.map(reach).min().unwrap_or(self.number)
    }

    /// Bytes that are to be written now, before anything else is done; what
    /// came of it goes to [`wrote`](Self::wrote).
    #[must_use]
    pub fn to_write(&self) -> Option<(FileId, &[u8])> {
        let open = self.current.as_ref()?;
        (!open.buffer.is_empty() && self.away.is_none() && open.is_appended())
            .then_some((open.id, open.buffer.as_slice()))
    }

    /// What came of writing, and how long it took.
    pub fn wrote(&mut self, now: Timestamp, took: Duration, result: Result<(), Trouble>) {
        let Some(open) = &mut self.current else {
            return;
        };
        if let Err(why) = result {
            return self.fail(now, &why);
        }
        open.wrote_buffer();
        if took > SLOW {
            let report = Report::Slow(open.path.clone(), took);
            self.outcomes.push_back(Outcome::Report(report));
            self.away = Some(now.after(AWAY));
        }
    }

    /// All that has come together has been handed in. What is
    /// [to be written](Self::to_write) may be written now, or later together
    /// with more.
    pub fn turn(&mut self, now: Timestamp) {
        let Some(open) = &mut self.current else {
            return;
        };
        if self.away.is_some() || !open.is_appended() {
            append(open, &mut self.ops);
        }
        if open.is_ahead && self.books_due.is_none() {
            self.books_due = Some(now.after(BOOKS));
        }
        match self.options.sync {
            Sync::Never => {}
            Sync::Always => self.sync(now),
            Sync::Within(time) => {
                if open.is_dirty() && self.sync_due.is_none() {
                    self.sync_due = Some(now.after(time));
                }
                if self.sync_due.is_some_and(|due| due <= now) {
                    self.sync(now);
                }
            }
        }
    }

    /// What has been written is made durable without delay.
    pub fn sync(&mut self, now: Timestamp) {
        if let Some(open) = &mut self.current
            && let Some(mark) = open.begin_sync(now)
        {
            self.sync_due = None;
            let file = open.id;
            self.ops.push_back(Op::Sync { file, mark });
        }
    }

    // ---- time ----

    /// When [`Log::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let retry = self.failure.as_ref().map(|failure| failure.retry);
        let retry = retry.filter(|_| self.next.is_none());
        // one sync after the other
        let is_syncing = self.current.as_ref().is_some_and(|o| o.syncing.is_some());
        let sync = self.sync_due.filter(|_| !is_syncing);
        let all = [sync, self.books_due, self.away, retry];
        all.into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp, stamp: Stamp<'_>) {
        let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        if is_due(self.away) {
            self.away = None;
        }
        if is_due(self.sync_due) {
            self.sync(now);
        }
        if let Some(failure) = &mut self.failure
            && failure.retry <= now
            && self.next.is_none()
        {
            failure.retry = now.after(failure.patience);
            let job = Job {
                token: None,
                path: failure.path.clone(),
                what: What::Log { full: true },
            };
            self.waiting.push_front(job);
            self.begin(now, stamp);
        }
        if is_due(self.books_due) {
            self.books_due = None;
            self.books_wanted = true;
        }
    }

    // ---- what became of it ----

    /// What is to be done to a file next.
    pub fn poll_op(&mut self) -> Option<Op> {
        self.ops.pop_front()
    }

    /// What else is to be done next.
    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    /// Whether no log is being begun, or there is another one until it is
    /// complete.
    #[must_use]
    pub const fn is_begun(&self) -> bool {
        self.next.is_none() || self.current.is_some() || self.failure.is_some()
    }

    /// Whether changes cannot be written.
    #[must_use]
    pub const fn is_failing(&self) -> bool {
        self.failure.is_some()
    }

    /// Whether nothing is left to be done to any file.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.next.is_none() && self.closing.is_empty()
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Hands over what a file's buffer holds.
fn append(open: &mut Open, ops: &mut VecDeque<Op>) {
    if let Some(bytes) = open.take() {
        let file = open.id;
        ops.push_back(Op::Append { file, bytes });
    }
}

#[cfg(test)]
mod tests;
