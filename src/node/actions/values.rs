//! Reading, writing and listing entries.

use crate::event::{Handle, Links, Message, Refused, SessionId, Sink, Space, Target, To, Write};
use crate::msgpack::write as encode;
use crate::node::Machine;
use crate::node::machine::{Origin, Output, Parts};
use crate::node::suspend::{
    ATTEMPTS, Check, OwnedWrite, PATIENCE, PER_SESSION, Question, Token, Verdict, Waiting,
};
use crate::node::time::Timestamp;
use crate::node::view::{Admitted, Letter, Nulls};
use crate::node::watch::{Kind, Listing, StreamIx};
use crate::path::{PathRef, RawPath};

impl<K: Sink> Machine<K> {
    /// `get_value`, `get_internal`.
    #[inline]
    pub(in crate::node) fn get(
        &mut self,
        id: SessionId,
        handle: &Handle,
        space: Space,
        target: Target<'_>,
        links: Links,
    ) -> Result<(), Refused> {
        let Some(Parts { mut view, sink }) = self.parts(id) else {
            return Ok(());
        };
        let to = To::Request(handle);
        let (found, path) = match target {
            Target::Path(path) => (view.find(space, path, Nulls::First)?, None),
            Target::Event(node, tick) => {
                let ix = view.find_event(node, tick)?;
                (Some(ix), view.relative(ix))
            }
        };
        let Some(ix) = found else {
            let chain = (links != Links::None).then_some(None);
            let tock = view.next_tock();
            let missing = Message::Entry {
                value: None,
                chain,
                tock: None,
                path: None,
                as_list: false,
            };
            sink.send(to, &missing, tock);
            return Ok(());
        };
        view.may(Letter::Read, ix)?;
        let shown = view.show(ix, links);
        let message = Message::Entry {
            value: shown.value.as_deref(),
            chain: shown.chain.map(Some),
            tock: Some(shown.tock),
            path: path.as_ref().map(RawPath::as_ref),
            as_list: view.is_below(),
        };
        sink.send(to, &message, shown.tock);
        Ok(())
    }

    /// `root`
    pub(in crate::node) fn set_root(
        &mut self,
        id: SessionId,
        handle: &Handle,
        path: PathRef<'_>,
    ) -> Result<(), Refused> {
        let Some(Parts { mut view, sink }) = self.parts(id) else {
            return Ok(());
        };
        let ix = view.descend(path)?;
        view.may(Letter::Read, ix)?;
        let shown = view.show(ix, Links::Newest(2));
        let message = Message::Entry {
            value: shown.value.as_deref(),
            chain: shown.chain.map(Some),
            tock: Some(shown.tock),
            path: Some(PathRef::default()),
            as_list: true,
        };
        sink.send(To::Request(handle), &message, shown.tock);
        Ok(())
    }

    /// `set_value`, `delete_value` and their internal forms.
    pub(in crate::node) fn write(
        &mut self,
        now: Timestamp,
        id: SessionId,
        handle: &Handle,
        write: &Write<'_>,
    ) -> Result<(), Refused> {
        self.may_log()?;
        if !self.suspended.is_empty() && self.suspended.blocks(id, write) {
            return self.wait(id, handle, write, None);
        }
        if self.guard.is_none() {
            return self.perform(id, handle, write);
        }
        match self.question(id, write)? {
            None => self.perform(id, handle, write),
            Some(question) => {
                let check = self.begin_check(now, id, write, question, 0)?;
                self.wait(id, handle, write, Some(check))
            }
        }
    }

    /// The check that a write needs before it may be done.
    fn question(&mut self, id: SessionId, write: &Write<'_>) -> Result<Option<Question>, Refused> {
        if self.guard.is_none() || write.value.is_none() || write.space == Space::Internal {
            return Ok(None);
        }
        let Some(Parts { view, .. }) = self.parts(id) else {
            return Ok(None);
        };
        let Admitted { value, .. } = view.admit(write)?;
        let path = view.full_path(write.space, write.path);
        let value = value.unwrap_or_default().into_owned();
        Ok(self
            .guard
            .as_ref()
            .and_then(|guard| guard.question(path.as_ref(), &value)))
    }

    fn begin_check(
        &mut self,
        now: Timestamp,
        id: SessionId,
        write: &Write<'_>,
        question: Question,
        attempt: u8,
    ) -> Result<Check, Refused> {
        let version = self.guard.as_ref().map_or(0, |guard| guard.version());
        let Some(Parts { view, .. }) = self.parts(id) else {
            return Err(Refused::Ending);
        };
        let Admitted { found, value } = view.admit(write)?;
        let head = view.head(found);
        let path = view.full_path(write.space, write.path);
        let value = value.unwrap_or_default().into_owned();
        let token = Token(self.next_token);
        self.next_token += 1;
        self.push_output(Output::Check {
            token,
            question,
            path,
            value,
        });
        Ok(Check {
            token,
            head,
            version,
            attempt,
            until: now.after(PATIENCE),
        })
    }

    fn wait(
        &mut self,
        id: SessionId,
        handle: &Handle,
        write: &Write<'_>,
        check: Option<Check>,
    ) -> Result<(), Refused> {
        if self.suspended.of(id) >= PER_SESSION {
            return Err(Refused::TooMany("writes that wait for a check"));
        }
        let (handle, write) = (handle.clone(), OwnedWrite::from(write));
        self.suspended.push(Waiting {
            session: id,
            handle,
            write,
            check,
        });
        Ok(())
    }

    #[inline]
    fn perform(
        &mut self,
        id: SessionId,
        handle: &Handle,
        write: &Write<'_>,
    ) -> Result<(), Refused> {
        let Some(Parts { mut view, sink }) = self.parts(id) else {
            return Ok(());
        };
        let written = view.write(write)?;
        let shown = view.show(written.ix, write.links);
        // the writer knows the old value if he named it or its change
        let prev = (written.event && written.had_value)
            .then(|| view.old_value(written.ix))
            .filter(|_| write.prev.is_none() && write.expect.is_none());
        let message = Message::Changed {
            changed: written.changed,
            prev: prev.as_deref(),
            chain: shown.chain,
            tock: shown.tock,
        };
        // the shell has the log's part before the reply leaves: both are
        // outputs of this turn
        sink.send(To::Request(handle), &message, shown.tock);
        if written.event {
            self.changed(written.ix, Origin::Here);
        }
        Ok(())
    }

    /// The answer to a check.
    pub fn handle_verdict(&mut self, now: Timestamp, token: Token, verdict: Verdict) {
        let Some(waiting) = self.suspended.take(token) else {
            return;
        };
        let (id, handle) = (waiting.session, waiting.handle);
        let write = waiting.write.as_write();
        let check = waiting.check;
        let result = match verdict {
            Verdict::Fail(words) => Err(Refused::Check(words)),
            Verdict::Pass => match check.filter(|c| !self.still(id, &write, c)) {
                None => self.perform(id, &handle, &write),
                Some(check) => match self.again(now, id, &handle, &write, check.attempt + 1) {
                    Ok(()) => return,
                    Err(why) => Err(why),
                },
            },
        };
        self.finish(now, id, &handle, &write, result);
    }

    /// Whether what was checked is what would be written.
    fn still(&mut self, id: SessionId, write: &Write<'_>, check: &Check) -> bool {
        let version = self.guard.as_ref().map_or(0, |guard| guard.version());
        let Some(Parts { view, .. }) = self.parts(id) else {
            return false;
        };
        let same = |admitted: Admitted<'_>| view.head(admitted.found) == check.head;
        version == check.version && view.admit(write).is_ok_and(same)
    }

    fn again(
        &mut self,
        now: Timestamp,
        id: SessionId,
        handle: &Handle,
        write: &Write<'_>,
        attempt: u8,
    ) -> Result<(), Refused> {
        if attempt >= ATTEMPTS {
            return Err(Refused::CheckFailed(
                "the entry keeps changing while its value is checked",
            ));
        }
        match self.question(id, write)? {
            None => self.perform(id, handle, write),
            Some(question) => {
                let check = Some(self.begin_check(now, id, write, question, attempt)?);
                let (handle, write) = (handle.clone(), OwnedWrite::from(write));
                self.suspended.push_first(Waiting {
                    session: id,
                    handle,
                    write,
                    check,
                });
                Ok(())
            }
        }
    }

    /// A write that waited is done or refused: those behind it go on.
    fn finish(
        &mut self,
        now: Timestamp,
        id: SessionId,
        handle: &Handle,
        write: &Write<'_>,
        result: Result<(), Refused>,
    ) {
        if let Err(why) = result {
            self.refuse(id, handle, false, &why);
        }
        while let Some(next) = self.suspended.take_behind(id, write) {
            let write = next.write.as_write();
            if let Err(why) = self.again(now, id, &next.handle, &write, 0) {
                self.refuse(id, &next.handle, false, &why);
            }
        }
        self.announce(id);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.network_timeout(now);
        while let Some(waiting) = self.suspended.take_expired(now) {
            let why = Refused::CheckFailed("the check did not answer in time");
            let write = waiting.write.as_write();
            self.finish(now, waiting.session, &waiting.handle, &write, Err(why));
        }
    }

    /// `enum`, `enum_internal`
    pub(in crate::node) fn enumerate(
        &mut self,
        id: SessionId,
        handle: &Handle,
        space: Space,
        path: PathRef<'_>,
        with_data: bool,
        empty: bool,
    ) -> Result<(), Refused> {
        let Some(Parts { view, .. }) = self.parts(id) else {
            return Ok(());
        };
        let ix = view.must_find(space, path, Nulls::Never)?;
        view.may(Letter::Enumerate, ix)?;
        let next = view.first_child(ix);
        let listing = Listing {
            next,
            with_data,
            empty,
            count: 0,
            found: Vec::new(),
        };
        let stream = self.add_stream(id, handle, Kind::Enum(listing))?;
        // most lists are short: they are answered at once
        self.list_some(stream, 256);
        Ok(())
    }

    /// A slice of a list of children; the reply, if it is the last one.
    pub(in crate::node) fn list_some(&mut self, stream: StreamIx, budget: usize) -> (usize, bool) {
        let Some((running, Parts { mut view, sink })) = self.stream_parts(stream) else {
            return (0, false);
        };
        let Kind::Enum(list) = &mut running.kind else {
            return (0, false);
        };
        let mut used = 0;
        while let Some(ix) = list.next.filter(|_| used < budget) {
            used += 1;
            list.next = view.next_sibling(ix);
            let shown = view.show(ix, Links::None);
            if !(shown.value.is_some() || list.empty) {
                continue;
            }
            let letter = if list.with_data {
                Letter::Read
            } else {
                Letter::Enumerate
            };
            if view.may(letter, ix).is_err() {
                continue;
            }
            list.count += 1;
            list.found.extend_from_slice(view.key(ix));
            if list.with_data {
                match &shown.value {
                    Some(value) => list.found.extend_from_slice(value),
                    None => encode::nil(&mut list.found),
                }
            }
        }
        if list.next.is_some() {
            return (used, true);
        }
        let message = if list.with_data {
            Message::Children {
                count: list.count,
                pairs: &list.found,
            }
        } else {
            Message::Names {
                count: list.count,
                elements: &list.found,
            }
        };
        let tock = view.next_tock();
        sink.send(To::Request(&running.handle), &message, tock);
        self.forget_stream(stream);
        (used, false)
    }
}
