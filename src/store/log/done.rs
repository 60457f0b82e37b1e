//! What becomes of operations: a new log takes over, an old one ends, and
//! what to do when the disk does not let us.

use std::path::PathBuf;

use crate::event::FileDone;
use crate::node::time::Timestamp;
use crate::store::log::words::{Op, Outcome, Report, Trouble};
use crate::store::log::{
    Building, Failure, FileId, Log, Phase, RETRY, Stamp, Telling, What, append, shown,
};

impl Log {
    /// What became of an operation.
    pub fn handle_done(
        &mut self,
        now: Timestamp,
        op: &Op,
        result: Result<(), Trouble>,
        stamp: Stamp<'_>,
    ) {
        let file = op.file();
        if self.next.as_ref().is_some_and(|n| n.open.id == file) {
            self.done_next(now, op, result);
        } else if self.current.as_ref().is_some_and(|open| open.id == file) {
            self.done_current(now, op, result);
        } else if let Some(at) = self.closing.iter().position(|open| open.id == file) {
            self.done_closing(now, at, op, result);
        }
        self.begin(now, stamp);
    }

    fn done_next(&mut self, now: Timestamp, op: &Op, result: Result<(), Trouble>) {
        let Some(next) = &mut self.next else { return };
        if let Err(why) = result {
            if let Some(failure) = &mut self.failure
                && next.job.token.is_none()
            {
                failure.patience = (failure.patience * 2).min(RETRY.1);
                failure.retry = now.after(failure.patience);
                failure.why.clone_from(&why.words);
            } else if next.job.token.is_none() {
                // the server's own: it is tried again
                let path = next.job.path.clone();
                self.lose(now, path, &why);
            }
            return self.drop_next(&why);
        }
        match op {
            Op::Append { .. } => next.open.appended(),
            Op::Finish { .. } => {
                next.phase = Phase::Finished;
                next.open.synced = next.open.syncing.take().unwrap_or_default();
            }
            _ => {}
        }
        if next.phase == Phase::Finished && next.open.is_appended() {
            self.hand_over(now);
        }
    }

    /// The new file is complete.
    fn hand_over(&mut self, now: Timestamp) {
        let Some(Building { job, mut open, .. }) = self.next.take() else {
            return;
        };
        let path = job.path.to_string_lossy().into_owned();
        self.answer(job.token, FileDone::Done(Some(path)));
        if matches!(job.what, What::Save { .. }) {
            let (file, mark) = (open.id, open.close(false));
            return self.ops.push_back(Op::Close { file, mark });
        }
        if self.telling == Some(Telling::Current) {
            // it was for the file that ends here
            self.telling = None;
        }
        self.end_current();
        // all changes so far are in it, or in the one before
        open.reaches(self.number);
        let report = if self.failure.take().is_some() {
            if self.options.refuse {
                self.outcomes.push_back(Outcome::Fault(None));
            }
            Report::Whole(open.path.clone())
        } else {
            Report::Begun(open.path.clone())
        };
        self.outcomes.push_back(Outcome::Report(report));
        self.sync_due = None;
        self.books_due = None;
        self.current = Some(open);
        self.turn(now);
    }

    /// The log ends.
    pub(super) fn end_current(&mut self) {
        let Some(mut open) = self.current.take() else {
            return;
        };
        append(&mut open, &mut self.ops);
        // only the server's last file says that nothing comes behind it
        let (file, mark) = (open.id, open.close(self.stopping == Some(None)));
        self.ops.push_back(Op::Close { file, mark });
        self.sync_due = None;
        self.books_due = None;
        if let Some(token) = self.stopping.take() {
            let report = Report::Ended(open.path.clone());
            self.outcomes.push_back(Outcome::Report(report));
            self.stopped.push((open.id, token));
        }
        self.closing.push(open);
    }

    fn done_current(&mut self, now: Timestamp, op: &Op, result: Result<(), Trouble>) {
        if let Err(why) = result {
            return self.fail(now, &why);
        }
        let Some(open) = &mut self.current else {
            return;
        };
        match op {
            Op::Append { .. } => {
                open.appended();
                self.turn(now);
            }
            Op::Sync { .. } => {
                if let Some(reach) = open.syncing.take() {
                    open.synced = reach;
                }
                self.turn(now);
            }
            _ => {}
        }
    }

    fn done_closing(&mut self, now: Timestamp, at: usize, op: &Op, result: Result<(), Trouble>) {
        match (op, result) {
            (Op::Append { .. }, Ok(())) => {
                if let Some(open) = self.closing.get_mut(at) {
                    open.appended();
                }
            }
            (Op::Close { .. }, Ok(())) => {
                let open = self.closing.remove(at);
                self.tell_stopped(open.id, &FileDone::Done(Some(shown(&open.path))));
            }
            (_, Ok(())) => {}
            (_, Err(why)) => {
                let open = self.closing.remove(at);
                self.tell_stopped(open.id, &FileDone::Failed(why.about(&open.path)));
                // what was in it may not be: with a log, everything is
                // written anew
                if self.current.is_some() {
                    self.fail(now, &why);
                } else {
                    let report = Report::Failed(open.path, why.words);
                    self.outcomes.push_back(Outcome::Report(report));
                }
            }
        }
    }

    fn tell_stopped(&mut self, file: FileId, done: &FileDone) {
        let mut rest = Vec::new();
        for (id, token) in std::mem::take(&mut self.stopped) {
            if id == file {
                self.answer(token, done.clone());
            } else {
                rest.push((id, token));
            }
        }
        self.stopped = rest;
    }

    /// Changes cannot be written to the log.
    pub(super) fn fail(&mut self, now: Timestamp, why: &Trouble) {
        let Some(open) = self.current.take() else {
            return;
        };
        self.ops.push_back(Op::Abandon {
            file: open.id,
            len: open.written.len,
        });
        // what would only go on from the failed one begins anew
        if let Some(next) = self
            .next
            .take_if(|next| !next.open.full && !next.takes_changes)
        {
            if self.telling == Some(Telling::Next) {
                self.telling = None;
            }
            self.ops.push_back(Op::Remove { file: next.open.id });
            self.waiting.push_front(next.job);
        }
        if self.telling == Some(Telling::Current) {
            self.telling = None;
        }
        self.sync_due = None;
        self.books_due = None;
        if let Some(token) = self.stopping.take() {
            self.answer(token, FileDone::Failed(why.about(&open.path)));
            let report = Report::Failed(open.path, why.words.clone());
            return self.outcomes.push_back(Outcome::Report(report));
        }
        self.lose(now, open.path, why);
    }

    /// Changes are in no file from now on.
    fn lose(&mut self, now: Timestamp, path: PathBuf, why: &Trouble) {
        if self.options.refuse {
            let fault = format!("{}: {why}", path.display());
            self.outcomes.push_back(Outcome::Fault(Some(fault)));
        }
        let report = Report::Failed(path.clone(), why.words.clone());
        self.outcomes.push_back(Outcome::Report(report));
        self.failure = Some(Failure {
            path,
            why: why.words.clone(),
            since: now,
            unsaved: 0,
            retry: now.after(RETRY.0),
            patience: RETRY.0,
        });
    }

    /// The file that is being written will not be.
    pub(super) fn drop_next(&mut self, why: &Trouble) {
        let Some(next) = self.next.take() else { return };
        if self.telling == Some(Telling::Next) {
            self.telling = None;
        }
        self.ops.push_back(Op::Remove { file: next.open.id });
        if next.job.token.is_some() {
            let report = Report::NotBegun(next.job.path.clone(), why.words.clone());
            self.outcomes.push_back(Outcome::Report(report));
        }
        let failed = FileDone::Failed(why.about(&next.job.path));
        self.answer(next.job.token, failed);
    }
}
