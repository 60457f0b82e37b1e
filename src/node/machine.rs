//! One node as a state machine.

use std::collections::{BTreeMap, VecDeque};

use crate::event::{
    Effect, Event, Fetch, FileJob, Handle, Message, NodeInfo, NodeName, Payload, Refused, Request,
    SessionId, Shared, Sink, State, Tick, To, Tock, Topic,
};
use crate::msgpack;
use crate::node::Limits;
use crate::node::actions::files::FileToken;
use crate::node::cluster::{Cluster, Fault, Report, skipped};
use crate::node::dump::Dump;
use crate::node::journal::Journal;
use crate::node::merge::{Exhausted, Replica};
use crate::node::rng::Rng;
use crate::node::suspend::{Guard, Question, Suspended, Token};
use crate::node::time::Timestamp;
use crate::node::tree::Ix;
use crate::node::view::{View, ViewState};
use crate::node::watch::{Delivery, Kind, Shape, Stream, StreamIx, Streams, Subtree};
use crate::path::{self, RawPath};

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Carry this to the other nodes, or to their message broker.
    Carry(Effect),
    /// Messages wait in a session's sink, or it has work that can go on.
    Ready(SessionId),
    /// Check a value, and answer with [`Machine::handle_verdict`].
    Check {
        /// Names the check
        token: Token,
        /// Which rule
        question: Question,
        /// The entry
        path: RawPath,
        /// Its encoded value-to-be
        value: Vec<u8>,
    },
    /// See to the files that changes are written to, and answer with
    /// [`Machine::handle_filed`].
    File {
        /// Names the job
        token: FileToken,
        /// What is to be done
        job: FileJob,
    },
    /// Fetch a node's state, and hand it in by [`Machine::handle_fetched`].
    Fetch(Fetch),
    /// This node has its data: clients may be accepted.
    Serve,
    /// Nothing is missing.
    Synced,
    /// This node must stop.
    Fault(Fault),
    /// Tell the operator.
    Report(Report),
}

/// Which effects have somewhere to go; others are not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects {
    /// A log is open: [`Machine::swap_journal`]
    pub persist: bool,
}

/// Random numbers that the machine needs once.
#[derive(Debug, Clone, Copy)]
pub struct Seed {
    /// Key for hashing
    pub hash: u64,
    /// Tells this run from others
    pub run: u64,
}

#[derive(Debug)]
pub(super) struct Session<K> {
    pub(super) sink: K,
    pub(super) view: ViewState,
    pub(super) streams: BTreeMap<Handle, StreamIx>,
    /// Streams with something left to do without being told
    pub(super) running: VecDeque<StreamIx>,
    /// The one that collects its answer; others of its kind wait for it
    pub(super) survey: Option<StreamIx>,
    /// An [`Output::Ready`] is under way
    announced: bool,
}

/// One node: its store, its sessions and what they wait for.
#[derive(Debug)]
pub struct Machine<K> {
    pub(super) replica: Replica,
    pub(super) limits: Limits,
    pub(super) streams: Streams,
    pub(super) suspended: Suspended,
    pub(super) guard: Option<Box<dyn Guard>>,
    pub(super) next_token: u64,
    pub(super) cluster: Option<Box<Cluster>>,
    /// What is being told for a file
    pub(super) dump: Option<Box<Dump>>,
    /// Who waits for a file
    pub(super) files: BTreeMap<FileToken, (SessionId, Handle)>,
    /// Why writes are refused, if they are
    pub(super) log_fault: Option<String>,
    /// The time of the last input that told it
    pub(super) now: Timestamp,
    root_topic: Vec<String>,
    effects: Effects,
    sessions: Vec<Option<Session<K>>>,
    free: Vec<SessionId>,
    outputs: VecDeque<Output>,
    journal: Journal,
    // room that is used again
    way: Vec<Ix>,
    told: Vec<StreamIx>,
    /// What one piece of a fetch has changed
    pub(super) fetched: Vec<Ix>,
    delivery: Delivery,
}

/// What an action works with: parts of the machine that can be borrowed
/// side by side.
pub(super) struct Parts<'m, K> {
    pub(super) view: View<'m>,
    pub(super) sink: &'m mut K,
}

impl<K: Sink> Machine<K> {
    /// A node without data. `root_topic` are the topic levels that the
    /// network's messages begin with.
    #[must_use]
    pub fn new(name: &NodeName, root_topic: Vec<String>, limits: Limits, seed: Seed) -> Self {
        Self {
            replica: Replica::new(name, seed.hash, seed.run),
            limits,
            streams: Streams::new(seed.hash),
            suspended: Suspended::default(),
            guard: None,
            next_token: 0,
            cluster: None,
            dump: None,
            files: BTreeMap::new(),
            log_fault: None,
            now: Timestamp::default(),
            root_topic,
            effects: Effects::default(),
            sessions: Vec::new(),
            free: Vec::new(),
            outputs: VecDeque::new(),
            journal: Journal::default(),
            way: Vec::new(),
            told: Vec::new(),
            fetched: Vec::new(),
            delivery: Delivery::default(),
        }
    }

    /// Says which effects have somewhere to go.
    pub const fn set_effects(&mut self, effects: Effects) {
        self.effects = effects;
    }

    /// Has writes checked from now on.
    pub fn set_guard(&mut self, guard: Box<dyn Guard>) {
        self.guard = Some(guard);
    }

    /// Makes this the first node of a new network: sets the root's value.
    ///
    /// # Errors
    /// If the value cannot be stored, or the counters are used up.
    pub fn found(&mut self, value: &[u8]) -> Result<(), Refused> {
        msgpack::check(value).map_err(Refused::Value)?;
        self.replica
            .write(Ix::ROOT, Some(value))
            .map_err(|Exhausted| Refused::Exhausted)?;
        self.changed(Ix::ROOT, Origin::Here);
        Ok(())
    }

    /// The store.
    #[must_use]
    pub const fn replica(&self) -> &Replica {
        &self.replica
    }

    /// What is to be done next. Ask until there is nothing more, after every
    /// input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes the changes that are to be logged, for an empty journal. They are
    /// to be in the log before any message leaves that was sent since the last
    /// time, and before any output is carried out.
    pub const fn swap_journal(&mut self, journal: &mut Journal) {
        std::mem::swap(&mut self.journal, journal);
    }

    /// When [`Machine::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let network = self.cluster.as_ref().and_then(|c| c.next_timeout());
        [self.suspended.next_timeout(), network]
            .into_iter()
            .flatten()
            .min()
    }

    // ---- sessions ----

    /// A client has connected; it is greeted.
    pub fn handle_connected(&mut self, sink: K) -> SessionId {
        let session = Session {
            sink,
            view: ViewState::new(),
            streams: BTreeMap::new(),
            running: VecDeque::new(),
            survey: None,
            announced: false,
        };
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                let n = u32::try_from(self.sessions.len());
                self.sessions.push(None);
                SessionId(n.expect("invariant: sessions are bounded by open files"))
            }
        };
        if let Some(slot) = self.sessions.get_mut(id.0 as usize) {
            let tock = self.replica.next_tock();
            let session = slot.insert(session);
            let (node, tick) = (self.replica.name(), self.replica.tick());
            let greeting = Message::Greeting { node, tick };
            session
                .sink
                .send(To::Request(&Handle::new(&[0])), &greeting, tock);
        }
        id
    }

    /// A client is gone; returns its sink.
    pub fn handle_disconnected(&mut self, id: SessionId) -> Option<K> {
        let session = self.sessions.get_mut(id.0 as usize)?.take()?;
        for ix in session.streams.into_values() {
            self.drop_stream(ix);
        }
        self.suspended.forget(id);
        self.files.retain(|_, (who, _)| *who != id);
        self.free.push(id);
        Some(session.sink)
    }

    /// The server ends: all streams of a client get their end.
    pub fn handle_ending(&mut self, id: SessionId) {
        let Some(session) = self.session(id) else {
            return;
        };
        let all: Vec<StreamIx> = session.streams.values().copied().collect();
        for ix in all {
            self.end_stream(ix);
        }
    }

    /// A session's sink.
    #[inline]
    pub fn sink(&mut self, id: SessionId) -> Option<&mut K> {
        self.session(id).map(|s| &mut s.sink)
    }

    /// The shell has seen [`Output::Ready`] for this session and looks after
    /// it now. Returns whether there is something to [advance](Self::advance).
    pub fn attend(&mut self, id: SessionId) -> bool {
        self.session(id).is_some_and(|session| {
            session.announced = false;
            !session.running.is_empty()
        })
    }

    /// Whether this session may be told of changes that others make.
    #[must_use]
    pub fn is_told(&mut self, id: SessionId) -> bool {
        let waits = self.suspended.of(id) > 0;
        self.session(id)
            .is_some_and(|session| waits || !session.streams.is_empty())
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = &Session<K>> {
        self.sessions.iter().flatten()
    }

    #[inline]
    pub(super) fn session(&mut self, id: SessionId) -> Option<&mut Session<K>> {
        self.sessions
            .get_mut(id.0 as usize)
            .and_then(Option::as_mut)
    }

    #[inline]
    pub(super) fn parts(&mut self, id: SessionId) -> Option<Parts<'_, K>> {
        let session = self.sessions.get_mut(id.0 as usize)?.as_mut()?;
        let view = View::new(&mut self.replica, &mut session.view, &self.limits);
        Some(Parts {
            view,
            sink: &mut session.sink,
        })
    }

    /// A stream of the session, together with the session's parts.
    pub(super) fn stream_parts(&mut self, ix: StreamIx) -> Option<(&mut Stream, Parts<'_, K>)> {
        let stream = self.streams.get_mut(ix)?;
        let session = self.sessions.get_mut(stream.session.0 as usize)?.as_mut()?;
        let view = View::new(&mut self.replica, &mut session.view, &self.limits);
        Some((
            stream,
            Parts {
                view,
                sink: &mut session.sink,
            },
        ))
    }

    // ---- requests ----

    /// A client asks for something.
    pub fn handle_client(
        &mut self,
        now: Timestamp,
        id: SessionId,
        handle: &Handle,
        request: Request<'_>,
    ) {
        self.now = now;
        let streams = request.is_stream();
        let result = match self.session(id) {
            None => return,
            Some(session) if session.streams.contains_key(handle) => Err(Refused::Busy),
            Some(_) => self.act(now, id, handle, request),
        };
        if let Err(why) = result {
            self.refuse(id, handle, streams, &why);
        }
    }

    /// A client asked for something that its own words made impossible.
    pub fn handle_refused(&mut self, id: SessionId, handle: &Handle, stream: bool, why: &Refused) {
        self.refuse(id, handle, stream, why);
    }

    /// A client sent something that is no request.
    pub fn handle_nonsense(&mut self, id: SessionId, words: &str) {
        self.send(
            id,
            To::Request(&Handle::new(&[])),
            &Message::Complaint(words),
        );
    }

    /// Answers that a request is refused; a stream has its frame all the
    /// same.
    pub(super) fn refuse(&mut self, id: SessionId, handle: &Handle, stream: bool, why: &Refused) {
        // a running stream has begun its frame, and keeps it
        let stream = stream && *why != Refused::Busy;
        if stream {
            self.open(id, handle, None, None);
        }
        let to = if stream {
            To::Stream(handle)
        } else {
            To::Request(handle)
        };
        self.send(id, to, &Message::Error { why, at: None });
        if stream {
            self.close(id, handle);
        }
    }

    /// Sends a message that shows no entry.
    pub(super) fn send(&mut self, id: SessionId, to: To<'_>, message: &Message<'_>) {
        if let Some(Parts { mut view, sink }) = self.parts(id) {
            let tock = view.next_tock();
            sink.send(to, message, tock);
        }
    }

    /// Begins a stream's frame; `at` is the last change before a watch.
    pub(super) fn open(
        &mut self,
        id: SessionId,
        handle: &Handle,
        window: Option<u32>,
        at: Option<(u64, u64)>,
    ) {
        if let Some(session) = self.session(id) {
            session.sink.open(handle, window);
        }
        self.send(id, To::Stream(handle), &Message::State(State::Start { at }));
    }

    /// Ends a stream's frame.
    pub(super) fn close(&mut self, id: SessionId, handle: &Handle) {
        self.send(id, To::Stream(handle), &Message::State(State::End));
        if let Some(session) = self.session(id) {
            session.sink.close(handle);
        }
    }

    #[inline(always)] // part of `handle_client`
    fn act(
        &mut self,
        now: Timestamp,
        id: SessionId,
        handle: &Handle,
        request: Request<'_>,
    ) -> Result<(), Refused> {
        match request {
            Request::Get {
                space,
                target,
                links,
            } => self.get(id, handle, space, target, links),
            Request::Write(write) => self.write(now, id, handle, &write),
            Request::Enum {
                space,
                path,
                with_data,
                empty,
            } => self.enumerate(id, handle, space, path, with_data, empty),
            Request::GetTree { .. } => self.get_tree(id, handle, &request),
            Request::Watch { .. } => self.watch(id, handle, &request),
            Request::DeleteTree { path, links } => self.delete_tree(id, handle, path, links),
            Request::Root(path) => self.set_root(id, handle, path),
            Request::GetTock => {
                self.send(id, To::Request(handle), &Message::Done);
                Ok(())
            }
            Request::GetState(wanted) => self.get_state(id, handle, wanted),
            Request::Members => self.members(id, handle),
            Request::EnumNode { node, max, current } => {
                self.enum_node(id, handle, node, max, current)
            }
            Request::KillNode(node) => self.kill_node(id, handle, node),
            Request::CheckDeleted(asked) => self.check_deleted(id, handle, &asked),
            Request::FakeInfo { info, send } => self.fake_info(id, handle, *info, send),
            Request::Update(event) => self.update(id, handle, &event),
            Request::MsgSend { topic, payload } => self.msg_send(id, handle, topic, payload),
            Request::MsgMonitor { topic, raw, window } => {
                self.msg_monitor(id, handle, topic, raw, window)
            }
            Request::File(job) => self.file(id, handle, job),
            Request::Stop(task) => self.stop(id, handle, &task),
        }
    }

    // ---- streams ----

    /// Registers a stream, before anything of it is sent.
    pub(super) fn add_stream(
        &mut self,
        id: SessionId,
        handle: &Handle,
        kind: Kind,
    ) -> Result<StreamIx, Refused> {
        let limit = self.limits.streams;
        match self.session(id) {
            Some(session) if session.streams.len() < limit => {}
            _ => return Err(Refused::TooMany("running requests")),
        }
        let runs = !matches!(kind, Kind::Monitor { .. })
            && !matches!(&kind, Kind::Subtree(s) if s.walk.is_none());
        let ix = self.streams.insert(Stream {
            session: id,
            handle: handle.clone(),
            kind,
        });
        if let Some(session) = self.session(id) {
            session.streams.insert(handle.clone(), ix);
            if runs {
                session.running.push_back(ix);
            }
        }
        if runs {
            self.announce(id);
        }
        Ok(ix)
    }

    /// Ends a stream towards its client, and forgets it.
    pub(super) fn end_stream(&mut self, ix: StreamIx) {
        if let Some(stream) = self.forget_stream(ix) {
            if stream.is_framed() {
                self.close(stream.session, &stream.handle);
            }
            self.announce(stream.session);
        }
    }

    /// Forgets a stream. Its client is told nothing.
    pub(super) fn forget_stream(&mut self, ix: StreamIx) -> Option<Stream> {
        let id = self.streams.get(ix)?.session;
        if let Some(session) = self.session(id) {
            session.running.retain(|i| *i != ix);
            session.survey = session.survey.filter(|i| *i != ix);
        }
        let stream = self.drop_stream(ix)?;
        if let Some(session) = self.session(id) {
            session.streams.remove(&stream.handle);
        }
        Some(stream)
    }

    fn drop_stream(&mut self, ix: StreamIx) -> Option<Stream> {
        let stream = self.streams.remove(ix)?;
        if let Kind::Monitor { topic, .. } = &stream.kind {
            let same = |i: &StreamIx| matches!(self.streams.get(*i), Some(Stream { kind: Kind::Monitor { topic: t, .. }, .. }) if t == topic);
            if !self.streams.monitors().iter().any(same) {
                self.outputs
                    .push_back(Output::Carry(Effect::Unsubscribe(topic.0.clone())));
            }
        }
        Some(stream)
    }

    /// Tells the shell, once, that a session has something to do.
    pub(super) fn announce(&mut self, id: SessionId) {
        if let Some(session) = self
            .sessions
            .get_mut(id.0 as usize)
            .and_then(Option::as_mut)
            && !session.announced
        {
            session.announced = true;
            self.outputs.push_back(Output::Ready(id));
        }
    }

    /// Lets a session's running requests go on for about `budget` entries.
    /// Returns whether something was done and there is more to do; if not, the
    /// session goes on after [`Output::Ready`] or when its sink has room.
    pub fn advance(&mut self, id: SessionId, budget: usize) -> bool {
        let mut left = budget;
        let Some(session) = self.session(id) else {
            return false;
        };
        let mut turns = session.running.len();
        while left > 0 && turns > 0 {
            turns -= 1;
            let slot = self.sessions.get_mut(id.0 as usize);
            let Some(session) = slot.and_then(Option::as_mut) else {
                return false;
            };
            let Some(ix) = session.running.pop_front() else {
                return false;
            };
            let Some(stream) = self.streams.get(ix) else {
                continue;
            };
            // listing sends nothing before its end
            let quiet = matches!(stream.kind, Kind::Enum(_));
            let room = quiet || session.sink.room(&stream.handle);
            let survey = stream.kind.is_survey();
            let waits = survey && session.survey.is_some_and(|other| other != ix);
            if !room || waits {
                session.running.push_back(ix);
                continue;
            }
            if survey {
                session.survey = Some(ix);
            }
            let (used, more) = self.slice(ix, left);
            left = left.saturating_sub(used.max(1));
            if more && let Some(session) = self.session(id) {
                session.running.push_back(ix);
                turns += 1;
            }
        }
        left < budget && self.session(id).is_some_and(|s| !s.running.is_empty())
    }

    /// One slice of one stream: how many entries it looked at, and whether
    /// it has more to do.
    fn slice(&mut self, ix: StreamIx, budget: usize) -> (usize, bool) {
        match self.streams.get(ix).map(|s| &s.kind) {
            Some(Kind::Subtree(_)) => self.walk(ix, budget),
            Some(Kind::Delete(_)) => self.delete_some(ix, budget),
            Some(Kind::Enum(_)) => self.list_some(ix, budget),
            Some(Kind::State(_)) => self.survey_some(ix, budget),
            Some(Kind::Ticks(_)) => self.roll_some(ix, budget),
            Some(Kind::Monitor { .. }) | None => (1, false),
        }
    }

    // ---- changes ----

    /// State files are about to be loaded, with about so many entries.
    pub fn expect_loaded(&mut self, entries: usize) {
        self.replica.expect(entries);
    }

    /// An entry or change that a state file holds. One without a tock, which
    /// is said by 0, has happened just now.
    pub fn handle_loaded(&mut self, event: &Event) {
        if event.tock == Tock(0) {
            let tock = self.replica.next_tock();
            self.handle_event(&Event {
                tock,
                ..event.clone()
            });
        } else {
            self.handle_event(event);
        }
    }

    /// This node, alone with what it has loaded, goes on far behind its last
    /// tick that is known: what was written after the last record that reached
    /// the disk has ticks that must not be used again. `seed` is random.
    pub fn begin_again(&mut self, seed: u64) {
        let Tick(tick) = self.replica.tick().unwrap_or_default();
        let behind = skipped(&mut Rng::new(seed));
        self.replica.begin_after(Tick(tick.saturating_add(behind)));
    }

    /// Something that a peer said about ticks.
    pub fn handle_info(&mut self, info: &NodeInfo, tock: Tock) {
        self.replica.saw_tock(tock);
        for ix in self.replica.inform(info) {
            self.changed(ix, Origin::Elsewhere);
        }
        self.cut_as_original();
    }

    /// An entry has changed: log it, tell the peers, tell who watches.
    pub(super) fn changed(&mut self, ix: Ix, origin: Origin) {
        if self.effects.persist {
            self.journal.push(&self.replica, ix);
        }
        if origin == Origin::Here {
            self.publish(ix);
        }
        self.note_change(ix);
        if !self.streams.nobody_watches() {
            self.tell(ix);
        }
    }

    fn tell(&mut self, ix: Ix) {
        let mut way = std::mem::take(&mut self.way);
        way.clear();
        self.replica.tree().way(Ix::ROOT, ix, &mut way);
        let mut told = std::mem::take(&mut self.told);
        let mut full = Vec::new();
        self.delivery.begin();
        // each entry on the way, the root first, may be a subtree's top
        for n in 0..=way.len() {
            let top = n
                .checked_sub(1)
                .and_then(|n| way.get(n))
                .copied()
                .unwrap_or(Ix::ROOT);
            // internal data are told only to those who ask for them
            if n == 0 && way.first() == Some(&self.replica.internal()) {
                continue;
            }
            told.clear();
            told.extend_from_slice(self.streams.at(top));
            full.extend(
                told.iter()
                    .filter(|stream| !self.tell_one(**stream, ix, &way, n, told.len() > 1)),
            );
        }
        self.told = told;
        self.way = way;
        for stream in full {
            self.overflow(stream);
        }
    }

    /// Tells one stream of a change. `way` leads from the root to the entry,
    /// the stream's own part begins at `from`; `several` if others are told
    /// the same. Returns whether it keeps up.
    fn tell_one(
        &mut self,
        ix: StreamIx,
        entry: Ix,
        way: &[Ix],
        from: usize,
        several: bool,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(ix) else {
            return true;
        };
        let Kind::Subtree(subtree) = &mut stream.kind else {
            return true;
        };
        let rest = way.get(from..).unwrap_or(&[]);
        let Ok(depth) = u32::try_from(rest.len()) else {
            return true;
        };
        if !subtree.depths.contain(depth) {
            return true;
        }
        let id = stream.session;
        let Some(Some(session)) = self.sessions.get_mut(id.0 as usize) else {
            return true;
        };
        if !session.view.may_hear(way) {
            return true;
        }
        let view = View::new(&mut self.replica, &mut session.view, &self.limits);
        let (depth, count) = subtree.last.advance(rest);
        let shape = subtree.shape(depth, count);
        let (path, shared) = view.deliver(&mut self.delivery, shape, rest);
        let shared = several.then_some(shared);
        send_node(
            &view,
            &mut session.sink,
            &stream.handle,
            entry,
            shape,
            path,
            shared,
        );
        if let Some(walk) = &mut subtree.walk {
            walk.mark(entry);
        }
        let fits = session.sink.waiting() <= self.limits.watch_buffer;
        self.announce(id);
        fits
    }

    /// Ends a stream whose client did not keep up, and says from where it
    /// may resume.
    fn overflow(&mut self, ix: StreamIx) {
        let at = self.replica.at();
        if let Some(stream) = self.forget_stream(ix) {
            let error = Message::Error {
                why: &Refused::Overflow,
                at: Some(at),
            };
            self.send(stream.session, To::Stream(&stream.handle), &error);
            self.close(stream.session, &stream.handle);
            self.announce(stream.session);
        }
    }

    // ---- messages ----

    /// A message has come from the broker, or from this node's own client
    /// where there is none.
    pub fn handle_message(&mut self, topic: &[String], payload: &[u8]) {
        let object = msgpack::check(payload).is_ok();
        let levels: Vec<&str> = topic.iter().map(String::as_str).collect();
        for at in 0..self.streams.monitors().len() {
            let Some(ix) = self.streams.monitors().get(at).copied() else {
                break;
            };
            let Some(stream) = self.streams.get(ix) else {
                continue;
            };
            let Kind::Monitor {
                topic: pattern,
                raw,
            } = &stream.kind
            else {
                continue;
            };
            let pattern: Vec<&str> = pattern.0.iter().map(String::as_str).collect();
            if !path::matches_topic(&pattern, &levels) {
                continue;
            }
            let form = match (raw, object) {
                (true, _) => Payload::Raw,
                (false, true) => Payload::Object,
                (false, false) => Payload::Broken,
            };
            let (id, handle) = (stream.session, stream.handle.clone());
            let message = Message::Heard {
                topic,
                payload,
                form,
            };
            self.send(id, To::Stream(&handle), &message);
            self.announce(id);
            let limit = self.limits.watch_buffer;
            if self.session(id).is_some_and(|s| s.sink.waiting() > limit) {
                self.overflow(ix);
            }
        }
    }

    pub(super) const fn replica_tock(&self) -> Tock {
        self.replica.tock()
    }

    pub(super) fn push_output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// The full topic of one that may begin with `:`, which stands for the
    /// network's root.
    pub(super) fn full_topic(&self, topic: Topic) -> Result<Topic, Refused> {
        let mut levels = topic.0;
        let Some(first) = levels.first_mut() else {
            return Err(Refused::EmptyTopic);
        };
        let Some(rest) = first.strip_prefix(':') else {
            return Ok(Topic(levels));
        };
        let mut full = self.root_topic.clone();
        if !rest.is_empty() {
            full.push(rest.to_owned());
        }
        full.extend(levels.into_iter().skip(1));
        Ok(Topic(full))
    }

    /// This node's name and last tick.
    #[must_use]
    pub fn node(&self) -> (&NodeName, Option<Tick>) {
        (self.replica.name(), self.replica.tick())
    }
}

/// Where a change came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client of this node made it.
    Here,
    /// Another node did.
    Elsewhere,
}

/// Sends an entry of a subtree, in its present state. `way` leads to it from
/// the subtree's top.
pub(super) fn send_entry<K: Sink>(
    view: &View<'_>,
    sink: &mut K,
    handle: &Handle,
    subtree: &mut Subtree,
    entry: Ix,
    way: &[Ix],
    path: &mut RawPath,
) {
    let (depth, count) = view.shorten(&mut subtree.last, way, path);
    let shape = subtree.shape(depth, count);
    send_node(view, sink, handle, entry, shape, path, None);
}

#[inline]
fn send_node<K: Sink>(
    view: &View<'_>,
    sink: &mut K,
    handle: &Handle,
    entry: Ix,
    shape: Shape,
    path: &RawPath,
    shared: Option<&Shared>,
) {
    let shown = view.show(entry, shape.links);
    let message = Message::Node {
        value: shown.value.as_deref(),
        chain: shown.chain,
        tock: shown.tock,
        depth: shape.depth,
        path: path.as_ref(),
        count: shape.count,
        top: shape.whole,
        at: shape.numbered.then(|| view.at()),
        shared,
    };
    sink.send(To::Stream(handle), &message, shown.tock);
}
