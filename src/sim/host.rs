//! What the simulator knows of `node::Machine`: everything it says to one
//! and hears from one passes here.

use crate::event::{
    Effect, Event, Fetch, Fetched, Handle, NodeInfo, NodeName, PeerMessage, Request, SessionId,
    StateWanted, Tock,
};
use crate::node::machine::Seed;
use crate::node::merge::Replica;
use crate::node::time::Timestamp;
use crate::node::tree::Ix;
use crate::node::{Effects, Limits, Machine, Output};
use crate::sim::ear::Ear;

/// What a process starts with.
#[derive(Debug, Clone)]
pub(super) struct Birth {
    pub(super) name: NodeName,
    /// Key of its hash tables: changes nothing that can be seen
    pub(super) hash: u64,
    /// Random, tells this process from others
    pub(super) run: u64,
    /// Found a network with this value; else join one
    pub(super) found: Option<Vec<u8>>,
    pub(super) watch_buffer: usize,
}

/// What a machine wants.
#[derive(Debug)]
pub(super) enum Want {
    Tell(Box<PeerMessage>),
    #[allow(dead_code)] // TEMPORARY
    Fetch(Fetch),
    /// Clients may be accepted.
    #[allow(dead_code)] // TEMPORARY
    Serve,
    /// The process must end: why
    #[allow(dead_code)] // TEMPORARY
    Fault(String),
    /// An entry has changed.
    Persist(Event),
    /// A session has something to do.
    Ready(SessionId),
}

/// One node's machine.
#[derive(Debug)]
pub(super) struct Host {
    machine: Machine<Ear>,
    serve: bool,
}

impl Host {
    pub(super) fn new(_now: Timestamp, birth: &Birth) -> Self {
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
        machine.set_effects(Effects {
            persist: true,
            publish: true,
        });
        if let Some(value) = &birth.found {
            let _ = machine.found(value);
        }
        Self {
            machine,
            serve: true,
        }
    }

    pub(super) fn want(&mut self) -> Option<Want> {
        if std::mem::take(&mut self.serve) {
            return Some(Want::Serve);
        }
        while let Some(output) = self.machine.poll_output() {
            return Some(match output {
                Output::Carry(Effect::Tell(message)) => Want::Tell(message),
                Output::Persist(event) => Want::Persist(event),
                Output::Ready(session) => Want::Ready(session),
                _ => continue,
            });
        }
        None
    }

    pub(super) fn timeout(&self) -> Option<Timestamp> {
        self.machine.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp) {
        self.machine.handle_timeout(now);
    }

    pub(super) fn handle_peer(&mut self, _now: Timestamp, message: &PeerMessage) {
        self.machine.handle_peer(message);
    }

    pub(super) fn handle_up(&mut self, _now: Timestamp) {}

    pub(super) fn handle_down(&mut self, _now: Timestamp) {}

    pub(super) fn handle_gap(&mut self, _now: Timestamp) {}

    pub(super) fn handle_fetched(&mut self, _now: Timestamp, _id: u64, _piece: &Fetched<'_>) {}

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
    #[allow(clippy::unused_self)] // TEMPORARY
    pub(super) fn will(&self) -> Option<PeerMessage> {
        None
    }

    /// Whether all own events have been confirmed.
    #[allow(clippy::unused_self)] // TEMPORARY
    pub(super) fn is_outbox_empty(&self) -> bool {
        true
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
