//! Clients: what they ask for, and whether the answers are right.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{
    Depths, Expect, Handle, Links, NodeName, Refused, Request, SessionId, Space, Target, Tick,
    Tock, Write,
};
use crate::msgpack::write as encode;
use crate::path::{PathRef, RawPath};
use crate::sim::check::Broken;
use crate::sim::ear::{Ear, Note, Reply};
use crate::sim::ledger::{Key, LifeIx};
use crate::sim::plan::deleters_path;
use crate::sim::plant::Plant;
use crate::sim::trace;
use crate::sim::world::{Happening, Node, Phase, World};

/// A session: which node, which of its lives, which session there.
pub(super) type Session = (usize, LifeIx, SessionId);

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) session: Option<Session>,
    /// Reads its streams only now and then
    slow: bool,
    next: u32,
    /// An entry's last change, as this client saw it some time
    remembered: Option<(Key, NodeName, Tick)>,
    pub(super) watch: Option<Watch>,
    reading: bool,
}

/// A watch, over as many sessions as it takes.
#[derive(Debug)]
pub(super) struct Watch {
    top: RawPath,
    /// Its number, while it runs
    handle: Option<Handle>,
    /// What is known of the subtree
    pub(super) copy: BTreeMap<RawPath, Seen>,
    /// What came since the stream began
    fresh: BTreeMap<RawPath, Seen>,
    /// Whether the state is complete
    pub(super) complete: bool,
    /// From where to resume
    at: Option<(u64, u64)>,
}

/// An entry as a watch showed it: value and tock.
pub(super) type Seen = (Option<Box<[u8]>>, Tock);

impl Watch {
    /// The entries below the top, by their full paths.
    pub(super) fn covers(&self, path: &RawPath) -> bool {
        let internal = |path: &RawPath| path.as_ref().bytes().first() == Some(&0xc0);
        path.as_ref().bytes().starts_with(self.top.as_ref().bytes())
            && internal(path) == internal(&self.top)
    }
}

impl Client {
    pub(super) const fn new(slow: bool) -> Self {
        Self {
            session: None,
            slow,
            next: 0x1_0000,
            remembered: None,
            watch: None,
            reading: false,
        }
    }

    pub(super) fn is_at(&self, n: usize, life: Option<LifeIx>, session: SessionId) -> bool {
        self.session
            .is_some_and(|(m, l, s)| m == n && Some(l) == life && s == session)
    }

    fn handle(&mut self) -> Handle {
        self.next += 1;
        let mut bytes = Vec::with_capacity(5);
        encode::uint(&mut bytes, u64::from(self.next));
        Handle::new(&bytes)
    }
}

/// How often, of a thousand times, clients of a mixed network write one entry
/// at once: it is there that the original decides otherwise.
const RACES: u32 = 40;

/// What a write demands.
#[derive(Debug, Clone)]
enum Demand {
    Nothing,
    New,
    Link(NodeName, Tick),
}

impl World {
    /// A client does something, and something else later.
    pub(super) fn act(&mut self, c: usize) -> Result<(), Broken> {
        if self.phase != Phase::Storm {
            return Ok(());
        }
        self.counts.acts += 1;
        let pace = self.plan.pace.as_millis().try_into().unwrap_or(1000);
        let wait = Duration::from_micros(self.rng.between(1, 2000 * pace));
        self.after(wait, Happening::Act(c));
        if !self.attach(c) {
            return Ok(());
        }
        let session = self.clients[c].session;
        if session.is_some_and(|(n, _, _)| self.nodes[n].stopped) {
            return Ok(());
        }
        if self.plan.deleters && !self.counts.deleters_named {
            self.counts.deleters_named = true;
            return self.name_deleters(c);
        }
        let keys = self.plan.keys.len();
        // some entries are used more often than others
        let place = self.rng.place(keys);
        let key = Key(if self.rng.chance(400) {
            place % 4
        } else {
            place
        });
        if self.plan.is_mixed() && self.rng.chance(RACES) {
            return self.race(key);
        }
        match self.rng.below(100) {
            0..40 => {
                let value = self.value();
                self.write(c, key, Some(&value), Demand::Nothing, false)
            }
            40..52 => self.chain_set(c, key),
            52..57 => {
                let value = self.value();
                self.write(c, key, Some(&value), Demand::New, false)
            }
            57..64 => {
                let value = [u8::from(self.rng.chance(500))];
                self.write(c, key, Some(&value), Demand::Nothing, true)
            }
            64..78 => self.write(c, key, None, Demand::Nothing, false),
            78..81 => self.delete_tree(c, key),
            81..90 => self.get(c, key),
            90..97 => self.toggle_watch(c, key),
            _ => {
                self.detach(c);
                Ok(())
            }
        }
    }

    /// After the storm, when nobody is going to write any more.
    pub(super) fn last_race(&mut self) -> Result<(), Broken> {
        for _ in 0..3 {
            let key = Key(self.rng.place(self.plan.keys.len()));
            self.race(key)?;
        }
        Ok(())
    }

    /// All clients write one entry before any of their nodes hears of another.
    fn race(&mut self, key: Key) -> Result<(), Broken> {
        for c in 0..self.clients.len() {
            let node = self.clients[c].session.map(|(n, ..)| n);
            if node.is_some_and(|n| self.nodes[n].answers()) && self.attach(c) {
                let value = self.value();
                self.write(c, key, Some(&value), Demand::Nothing, false)?;
            }
        }
        Ok(())
    }

    /// Connects a client to some node, unless it is connected.
    fn attach(&mut self, c: usize) -> bool {
        if let Some((n, life, _)) = self.clients[c].session {
            if self.nodes[n].life() == Some(life) {
                return true;
            }
            self.lose(c);
        }
        let nodes = self.nodes.iter().enumerate();
        let open: Vec<usize> = nodes.filter(|(_, n)| n.answers()).map(|(n, _)| n).collect();
        let Some(n) = self.rng.pick(&open).copied() else {
            return false;
        };
        let ear = Ear::new(self.settings.plant);
        let Some(running) = &mut self.nodes[n].running else {
            return false;
        };
        let session = running.host.connect(ear);
        self.clients[c].session = Some((n, running.life, session));
        true
    }

    fn detach(&mut self, c: usize) {
        if let Some((n, life, session)) = self.clients[c].session
            && self.nodes[n].life() == Some(life)
            && let Some(running) = &mut self.nodes[n].running
        {
            running.host.disconnect(session);
        }
        self.lose(c);
    }

    /// A client's session is gone. Its watch is begun anew: it may not be
    /// resumed, because the client does not know how far it got.
    fn lose(&mut self, c: usize) {
        let client = &mut self.clients[c];
        client.session = None;
        if let Some(watch) = &mut client.watch {
            watch.handle = None;
            watch.complete = false;
            watch.at = None;
            self.schedule_read(c);
        }
    }

    /// A value that no other write has.
    fn value(&mut self) -> Vec<u8> {
        self.next_value += 1;
        let mut value = Vec::new();
        encode::uint(&mut value, self.next_value + 100);
        value
    }

    fn path(&self, key: Key) -> RawPath {
        self.plan.keys.get(key.0).cloned().unwrap_or_default()
    }

    /// Sends a request; returns its number and the answer, if there is one
    /// already.
    fn ask(&mut self, c: usize, request: Request<'_>) -> Result<(Handle, Option<Reply>), Broken> {
        let handle = self.clients[c].handle();
        let Some((n, _, session)) = self.clients[c].session else {
            return Ok((handle, None));
        };
        self.feed(n, |host, now| {
            host.handle_client(now, session, &handle, request)
        })?;
        let reply = self.ear(c).and_then(|ear| ear.reply(&handle));
        Ok((handle, reply))
    }

    fn ear(&mut self, c: usize) -> Option<&mut Ear> {
        let (n, life, session) = self.clients[c].session?;
        let running = self.nodes[n].running.as_mut()?;
        (running.life == life).then(|| running.host.ear(session))?
    }

    fn life(&self, c: usize) -> Option<(NodeName, LifeIx)> {
        let (n, life, _) = self.clients[c].session?;
        Some((self.nodes[n].name.clone(), life))
    }

    fn name_deleters(&mut self, c: usize) -> Result<(), Broken> {
        let mut value = Vec::new();
        encode::map(&mut value, 1);
        encode::str(&mut value, "nodes");
        let ours = self.plan.is_mixed() && self.rng.chance(500);
        let named = |node: &&Node| !ours || !node.habits.is_original();
        encode::array(&mut value, self.nodes.iter().filter(named).count());
        for node in self.nodes.iter().filter(named) {
            encode::str(&mut value, node.name.as_str());
        }
        self.counts.originals_delete = self.plan.is_mixed() && !ours;
        let path = deleters_path();
        let write = write(path.as_ref(), Some(&value));
        self.ask(c, Request::Write(write))?;
        Ok(())
    }

    fn chain_set(&mut self, c: usize, key: Key) -> Result<(), Broken> {
        let old = self.clients[c].remembered.clone();
        let (key, node, tick) = match old {
            Some(old) if self.rng.chance(300) => old,
            _ => {
                self.get(c, key)?;
                match self.clients[c].remembered.clone() {
                    Some(new) if new.0 == key => new,
                    _ => return Ok(()),
                }
            }
        };
        let value = self.value();
        self.write(c, key, Some(&value), Demand::Link(node, tick), false)
    }

    fn write(
        &mut self,
        c: usize,
        key: Key,
        value: Option<&[u8]>,
        demand: Demand,
        idem: bool,
    ) -> Result<(), Broken> {
        let Some((name, life)) = self.life(c) else {
            return Ok(());
        };
        let path = self.path(key);
        self.trace.line(self.now, |out| {
            let (path, what) = (
                trace::path(path.as_ref()),
                value.map_or("delete", |_| "set"),
            );
            out.push_str(&format!("client {c} at {name}: {what} {path} {demand:?}"));
        });
        let before = self.ledger.value(life, key);
        let head = before.and_then(|event| event.chain.first()).cloned();
        let met = match &demand {
            Demand::Nothing => true,
            Demand::New => before.is_none(),
            Demand::Link(node, tick) => head
                .as_ref()
                .is_some_and(|l| l.node == *node && l.tick == *tick),
        };
        let expect = match &demand {
            Demand::Nothing => None,
            Demand::New => Some(Expect::New),
            Demand::Link(node, tick) => Some(Expect::Link(node.as_str(), *tick)),
        };
        let request = Write {
            expect,
            idem,
            ..write(path.as_ref(), value)
        };
        let (_, reply) = self.ask(c, Request::Write(request))?;
        let after = self
            .ledger
            .value(life, key)
            .and_then(|e| e.value.as_deref());
        match reply {
            Some(Reply::Changed(link)) if met => {
                self.counts.writes += 1;
                if after != value {
                    return Err(Broken::NotWritten(name, trace::path(path.as_ref())));
                }
                self.clients[c].remembered = link.map(|(node, tick)| (key, node, tick));
                Ok(())
            }
            Some(Reply::Changed(_)) => Err(Broken::Accepted(name, trace::path(path.as_ref()))),
            Some(Reply::Refused(
                Refused::ChainDiffers { .. } | Refused::IsNew(_) | Refused::Exists(_),
            )) if !met => Ok(()),
            other => {
                let path = trace::path(path.as_ref());
                Err(Broken::Refused(name, path, format!("{other:?}")))
            }
        }
    }

    fn get(&mut self, c: usize, key: Key) -> Result<(), Broken> {
        let Some((name, life)) = self.life(c) else {
            return Ok(());
        };
        let path = self.path(key);
        let request = Request::Get {
            space: Space::User,
            target: Target::Path(path.as_ref()),
            links: Links::Newest(1),
        };
        let (_, reply) = self.ask(c, request)?;
        let Some(Reply::Entry(value, head)) = reply else {
            let path = trace::path(path.as_ref());
            return Err(Broken::Refused(name, path, format!("{reply:?}")));
        };
        let held = self.ledger.value(life, key);
        if held.and_then(|e| e.value.as_deref()) != value.as_deref() {
            return Err(Broken::ReadWrong(name, trace::path(path.as_ref())));
        }
        self.clients[c].remembered = head.map(|(node, tick)| (key, node, tick));
        Ok(())
    }

    fn delete_tree(&mut self, c: usize, key: Key) -> Result<(), Broken> {
        let path = self.path(key);
        if path.as_ref().is_empty() {
            return Ok(());
        }
        let request = Request::DeleteTree {
            path: path.as_ref(),
            links: Links::None,
        };
        self.ask(c, request)?;
        Ok(())
    }

    fn toggle_watch(&mut self, c: usize, key: Key) -> Result<(), Broken> {
        match self.clients[c].watch.take() {
            Some(Watch {
                handle: Some(handle),
                ..
            }) => {
                self.ask(c, Request::Stop(handle))?;
                Ok(())
            }
            Some(_) => Ok(()),
            None => {
                let top = if self.rng.chance(500) {
                    RawPath::new()
                } else {
                    self.path(key)
                };
                self.clients[c].watch = Some(Watch {
                    top,
                    handle: None,
                    copy: BTreeMap::new(),
                    fresh: BTreeMap::new(),
                    complete: false,
                    at: None,
                });
                self.begin_watch(c)
            }
        }
    }

    /// Starts, or resumes, a client's watch.
    fn begin_watch(&mut self, c: usize) -> Result<(), Broken> {
        let Some(watch) = &mut self.clients[c].watch else {
            return Ok(());
        };
        let (top, mut resume) = (watch.top.clone(), watch.at);
        if self.settings.plant == Some(Plant::WatchResume)
            && let Some((_, n)) = &mut resume
        {
            *n += 1;
        }
        watch.complete = false;
        watch.fresh.clear();
        let request = Request::Watch {
            path: top.as_ref(),
            links: Links::None,
            depths: Depths::ALL,
            fetch: true,
            empty: false,
            resume,
            numbered: false,
            window: None,
        };
        let (handle, _) = self.ask(c, request)?;
        if let Some(watch) = &mut self.clients[c].watch {
            watch.handle = Some(handle);
        }
        self.schedule_read(c);
        Ok(())
    }

    /// Has a client look at its streams soon.
    pub(super) fn schedule_read(&mut self, c: usize) {
        let client = &mut self.clients[c];
        if std::mem::replace(&mut client.reading, true) {
            return;
        }
        let wait = match (client.slow, self.phase) {
            (true, Phase::Storm) => self.rng.millis(1, 4000),
            _ => self.rng.millis(1, 20),
        };
        self.after(wait, Happening::Read(c));
    }

    /// A client reads some of what its streams brought.
    pub(super) fn read(&mut self, c: usize) -> Result<(), Broken> {
        self.clients[c].reading = false;
        if !self.attach(c) {
            if self.clients[c].watch.is_some() {
                self.schedule_read(c);
            }
            return Ok(());
        }
        let Some((n, _, session)) = self.clients[c].session else {
            return Ok(());
        };
        if self.nodes[n].stopped {
            // it goes on when the process does
            return Ok(());
        }
        if let Some(Watch { handle: None, .. }) = self.clients[c].watch {
            return self.begin_watch(c);
        }
        let budget = self.rng.place(20) + 1;
        let more = self.feed(n, |host, _| host.advance(session, budget))?;
        let notes = match (self.clients[c].slow, self.phase) {
            (true, Phase::Storm) => self.rng.place(8),
            _ => usize::MAX,
        };
        let mut read = 0;
        while read < notes
            && let Some((handle, note)) = self.ear(c).and_then(Ear::note)
        {
            read += 1;
            self.take_note(c, &handle, note)?;
        }
        let left = self.ear(c).is_some_and(|ear| {
            ear.clear_replies();
            ear.has_notes()
        });
        if more == Some(true) || read > 0 || left {
            self.schedule_read(c);
        }
        Ok(())
    }

    fn take_note(&mut self, c: usize, handle: &Handle, note: Note) -> Result<(), Broken> {
        let node = self.life(c).map(|(name, _)| name).unwrap_or_default();
        let Some(watch) = &mut self.clients[c].watch else {
            return Ok(());
        };
        // of a watch that was stopped
        if watch.handle.as_ref() != Some(handle) {
            return Ok(());
        }
        match note {
            Note::Start => watch.fresh.clear(),
            Note::Node(below, value, tock) => {
                let mut path = watch.top.clone();
                path.push(below.as_ref().bytes());
                let into = if watch.complete {
                    &mut watch.copy
                } else {
                    &mut watch.fresh
                };
                into.insert(path, (value, tock));
            }
            Note::UpToDate(at, resumed) => {
                if resumed != Some(true) {
                    watch.copy.clear();
                }
                let fresh = std::mem::take(&mut watch.fresh);
                watch.copy.extend(fresh);
                watch.complete = true;
                watch.at = Some(at);
            }
            Note::Failed(Refused::Overflow, at) => {
                self.counts.overflows += 1;
                // before the state is complete there is nothing to resume
                watch.at = at.filter(|_| watch.complete);
            }
            Note::Failed(why, _) => {
                return Err(Broken::Refused(
                    node,
                    "watch".to_owned(),
                    format!("{why:?}"),
                ));
            }
            Note::End => {
                watch.handle = None;
                return self.begin_watch(c);
            }
        }
        Ok(())
    }
}

fn write<'a>(path: PathRef<'a>, value: Option<&'a [u8]>) -> Write<'a> {
    Write {
        space: Space::User,
        path,
        value,
        links: Links::Newest(1),
        expect: None,
        prev: None,
        idem: false,
    }
}
