//! What the simulator knows of `node::Machine`: everything it says to one
//! and hears from one passes here.

use std::collections::VecDeque;

use crate::event::{
    Effect, Event, Fetch, Fetched, Hail, Handle, Info, NodeInfo, NodeName, PeerMessage, Request,
    Say, SessionId, Settings, StateWanted, Tock,
};
use crate::node::cluster::{Begin, Fault, Options};
use crate::node::habits::{Habit, Habits};
use crate::node::journal::Journal;
use crate::node::machine::Seed;
use crate::node::merge::Replica;
use crate::node::time::Timestamp;
use crate::node::tree::Ix;
use crate::node::{Effects, Limits, Machine, Output};
use crate::sim::disk::File;
use crate::sim::ear::Ear;
use crate::sim::plant::Plant;

/// What a process starts with.
#[derive(Debug)]
pub(super) struct Birth {
    pub(super) name: NodeName,
    /// Key of its hash tables: changes nothing that can be seen
    pub(super) hash: u64,
    /// Random, tells this process from others
    pub(super) run: u64,
    /// Greater than that of earlier processes
    pub(super) boot: u64,
    /// Found a network with this value; else join one
    pub(super) found: Option<Vec<u8>>,
    /// Begin with what this holds
    pub(super) file: Option<File>,
    /// Found one whether or not there is one already
    pub(super) force: bool,
    pub(super) watch_buffer: usize,
    /// A bug of the beginning
    pub(super) plant: Option<Plant>,
    /// How deleters take turns
    pub(super) delete: Settings,
    /// What it does otherwise than this program
    pub(super) habits: Habits,
}

/// What a machine wants.
#[derive(Debug)]
pub(super) enum Want {
    Tell(Box<PeerMessage>),
    Fetch(Fetch),
    /// Clients may be accepted.
    Serve,
    /// The process must end: why
    Fault(Fault),
    /// An entry has changed.
    Persist(Event),
    /// A session has something to do.
    Ready(SessionId),
    /// For an operator
    Note(String),
}

/// One node's machine.
#[derive(Debug)]
pub(super) struct Host {
    journal: Journal,
    /// What is to be logged before anything else is done
    logged: VecDeque<Event>,
    machine: Machine<Ear>,
    boot: u64,
}

impl Host {
    /// A process starts; it is not connected yet.
    pub(super) fn new(now: Timestamp, birth: &Birth) -> Self {
        let seed = Seed {
            hash: birth.hash,
            run: birth.run,
        };
        let limits = Limits {
            watch_buffer: birth.watch_buffer,
            ..Limits::default()
        };
        let root = vec!["moat".to_owned(), "kv".to_owned()];
        let mut machine = Machine::new(&birth.name, root, limits, seed);
        machine.set_effects(Effects { persist: true });
        machine.set_habits(birth.habits);
        let begin = match (&birth.file, &birth.found) {
            (Some(file), _) => {
                load(&mut machine, file, birth);
                match birth.plant {
                    // that one does not leave out ticks
                    Some(Plant::LoadedTick) => Begin::First,
                    _ => Begin::Again,
                }
            }
            (None, Some(value)) => {
                let founded = machine.found(value);
                founded.expect("invariant: a sound value on an empty store");
                Begin::First
            }
            (None, None) => Begin::Join(Vec::new()),
        };
        let options = Options {
            ping: Settings::PING,
            delete: birth.delete.clone(),
            links: 5,
            addr: vec![(birth.name.as_str().to_owned(), 27586)],
            boot: birth.boot,
            seed: birth.run,
            force: birth.force || (birth.file.is_some() && begin == Begin::First),
        };
        machine.set_network(now, options, begin);
        Self {
            machine,
            journal: Journal::default(),
            logged: VecDeque::new(),
            boot: birth.boot,
        }
    }

    pub(super) fn want(&mut self) -> Option<Want> {
        if self.logged.is_empty() {
            self.machine.swap_journal(&mut self.journal);
            let changes = self.journal.changes();
            self.logged.extend(changes.map(|change| change.to_event()));
            self.journal.clear();
        }
        if let Some(event) = self.logged.pop_front() {
            return Some(Want::Persist(event));
        }
        loop {
            return Some(match self.machine.poll_output()? {
                Output::Carry(Effect::Tell(message)) => Want::Tell(message),
                Output::Ready(session) => Want::Ready(session),
                Output::Fetch(fetch) => Want::Fetch(fetch),
                Output::Serve => Want::Serve,
                Output::Fault(fault) => Want::Fault(fault),
                Output::Report(report) => Want::Note(report.to_string()),
                _ => continue,
            });
        }
    }

    pub(super) fn timeout(&self) -> Option<Timestamp> {
        self.machine.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp) {
        self.machine.handle_timeout(now);
    }

    pub(super) fn handle_peer(&mut self, now: Timestamp, message: &PeerMessage) {
        self.machine.handle_peer(now, message);
    }

    pub(super) fn handle_up(&mut self, now: Timestamp) {
        self.machine.handle_up(now);
    }

    pub(super) fn handle_down(&mut self, now: Timestamp) {
        self.machine.handle_down(now);
    }

    pub(super) fn handle_gap(&mut self, now: Timestamp) {
        self.machine.handle_gap(now);
    }

    pub(super) fn handle_fetched(&mut self, now: Timestamp, id: u64, piece: &Fetched<'_>) {
        self.machine.handle_fetched(now, id, piece);
    }

    pub(super) fn handle_client(
        &mut self,
        now: Timestamp,
        session: SessionId,
        handle: &Handle,
        request: Request<'_>,
    ) {
        self.machine.handle_client(now, session, handle, request);
    }

    pub(super) fn connect(&mut self, ear: Ear) -> SessionId {
        self.machine.handle_connected(ear)
    }

    pub(super) fn disconnect(&mut self, session: SessionId) {
        self.machine.handle_disconnected(session);
    }

    pub(super) fn ear(&mut self, session: SessionId) -> Option<&mut Ear> {
        self.machine.sink(session)
    }

    /// Looks after a session that has something to do. Returns whether there
    /// is more.
    pub(super) fn advance(&mut self, session: SessionId, budget: usize) -> bool {
        self.machine.attend(session) && self.machine.advance(session, budget)
    }

    pub(super) fn replica(&self) -> &Replica {
        self.machine.replica()
    }

    /// What the broker says for a node that is gone without having said so.
    pub(super) fn will(&self) -> Option<PeerMessage> {
        let (node, _) = self.machine.node();
        // the original has none
        let ours = !self.replica().habits().is_original();
        ours.then(|| {
            PeerMessage::Info(Info {
                node: node.clone(),
                hail: Some(Hail {
                    say: Say::Gone,
                    boot: self.boot,
                    addr: Vec::new(),
                    sum: None,
                }),
                ..Info::default()
            })
        })
    }

    /// The present tock of the entry of an event.
    pub(super) fn tock_of(&self, event: &Event) -> Tock {
        let tree = self.replica().tree();
        let found = tree.resolve(Ix::ROOT, event.path.as_ref());
        let entry = found.ok().flatten();
        entry.map_or(event.tock, |ix| tree.get(ix).tock())
    }

    /// Whether all own events have been confirmed.
    pub(super) fn is_outbox_empty(&self) -> bool {
        self.machine
            .cluster()
            .is_some_and(|c| c.outbox().is_empty())
    }

    /// Forgets all deletions at once.
    pub(super) fn purge_early(&mut self) {
        self.machine.purge_early();
    }

    /// The sum over what the node holds.
    pub(super) fn sum(&self) -> u64 {
        self.replica().sum()
    }

    /// All entries that have a value or a chain, parents first.
    pub(super) fn events(&self) -> Vec<Event> {
        let replica = self.replica();
        let tree = replica.tree();
        let mut events = Vec::new();
        let mut at = Some(Ix::ROOT);
        while let Some(ix) = at {
            let entry = tree.get(ix);
            if entry.value().is_some() || entry.head().is_some() {
                events.push(replica.event(ix));
            }
            at = tree.following(Ix::ROOT, ix, true);
        }
        events
    }

    /// What a joining node is told of the bookkeeping.
    pub(super) fn state(&self) -> (NodeInfo, Tock) {
        let wanted = StateWanted {
            nodes: true,
            known: true,
            deleted: true,
            ..StateWanted::default()
        };
        (self.replica().state(wanted), self.replica().tock())
    }

    /// All of the bookkeeping.
    pub(super) fn books(&self) -> NodeInfo {
        self.replica().state(StateWanted {
            nodes: true,
            known: true,
            present: true,
            deleted: true,
            missing: true,
            remote_missing: true,
            node_drop: true,
            debug: false,
        })
    }
}

/// Takes in a file, as a server does before it is connected to anybody.
fn load(machine: &mut Machine<Ear>, file: &File, birth: &Birth) {
    let (books, tock) = &file.books;
    machine.handle_info(books, *tock);
    let reads = |event: &&Event| event.value.is_some() || !birth.habits.has(Habit::LostDeletions);
    for event in file.entries.iter().filter(reads) {
        machine.handle_loaded(event);
    }
    let mut changes = file.changes.iter().filter(reads);
    if birth.plant == Some(Plant::LastRecord) {
        changes.next_back();
    }
    for event in changes {
        machine.handle_loaded(event);
    }
}
