//! What this node says to the others: what it is and knows, and its changes.

use crate::event::{
    ChainEnd, Event, Hail, Info, Link, Mark, NodeInfo, NodeName, PeerMessage, Say, StateWanted,
    Tick, TickSet, Update,
};
use crate::node::habits::Habit;
use crate::node::merge::Replica;
use crate::node::time::Timestamp;
use crate::node::tree::Ix;

use super::{Act, Cluster, Way};

/// Cycles after which all ticks are told again.
const TELL_TICKS: u32 = 3;

impl Cluster {
    pub(super) fn push(&mut self, message: PeerMessage) {
        self.acts.push_back(Act::Tell(Box::new(message)));
    }

    /// Says something about ticks, with this node's own tick and tock.
    pub fn tell(&mut self, replica: &Replica, info: NodeInfo) {
        self.say(replica, info, None);
    }

    pub(super) fn say(&mut self, replica: &Replica, info: NodeInfo, hail: Option<Say>) {
        if !self.is_up() {
            return;
        }
        let ready = self.is_ready();
        let message = Info {
            node: self.me.clone(),
            tick: replica.tick().filter(|_| ready),
            tock: replica.tock(),
            info,
            hail: hail.map(|say| Hail {
                say,
                boot: self.options.boot,
                addr: self.options.addr.clone(),
                sum: ready.then(|| replica.sum()),
            }),
        };
        self.said = self.now;
        self.push(PeerMessage::Info(message));
    }

    /// Says that this node is here, or asks who is.
    pub(super) fn hail(&mut self, replica: &Replica, say: Say) {
        if self.is_original() {
            return;
        }
        let info = if self.is_ready() {
            self.ticks(replica)
        } else {
            NodeInfo::default()
        };
        self.say(replica, info, Some(say));
    }

    /// The last tick of every node, to be told.
    pub(super) fn ticks(&mut self, replica: &Replica) -> NodeInfo {
        self.ticks_told = self.now;
        let wanted = StateWanted {
            nodes: true,
            ..StateWanted::default()
        };
        let mut info = replica.state(wanted);
        let dropped = replica.nodes().dropped();
        if !dropped.is_empty() {
            info.node_drop = Some(dropped.to_vec());
        }
        info
    }

    /// All ticks are told every few cycles by one of those that take turns:
    /// of a node that does not come back, nobody else does, and sums do not
    /// show that others have not heard of the last ones.
    pub(super) fn tell_ticks_sometimes(&mut self, replica: &Replica) {
        let often = self.cycle() * TELL_TICKS;
        if self.is_ready() && self.now.since(self.ticks_told) >= often {
            let ticks = self.ticks(replica);
            self.tell(replica, ticks);
        }
    }

    pub(super) fn mark(&self, replica: &Replica) -> Mark {
        Mark {
            boot: self.options.boot,
            sum: self.is_ready().then(|| replica.sum()),
        }
    }

    // ---- changes of this node ----

    /// A client of this node has changed an entry.
    #[inline]
    pub fn wrote(&mut self, now: Timestamp, replica: &Replica, ix: Ix) {
        self.now = now;
        let Some(Tick(tick)) = replica.tick() else {
            return;
        };
        self.own_tick = Tick(tick);
        if self.may_publish() && self.outbox.has_room() {
            self.publish(replica, ix, tick);
        } else if !self.habits.has(Habit::NoOutbox) {
            self.outbox.keep(tick);
        }
    }

    /// An entry has been deleted, by whomever.
    pub fn deleted(&mut self, ix: Ix, head: Link) {
        self.deleter.deleted(self.now, ix, head);
    }

    /// These nodes agree on deletions from now on.
    pub fn set_deleters(&mut self, group: Vec<NodeName>) {
        let up = self.is_up();
        self.deleter.set_group(self.now, group, up);
    }

    /// Events that exist already are to be told, because the node was the
    /// first of its network before there was a way to the others.
    pub fn keep(&mut self, tick: Tick) {
        self.outbox.keep(tick.0);
    }

    pub(super) fn may_publish(&self) -> bool {
        self.way == Way::Up && self.is_ready()
    }

    pub(super) fn publish(&mut self, replica: &Replica, ix: Ix, tick: u64) {
        let event = self.event(replica, ix);
        let bytes = event.path.as_ref().bytes().len() + event.value.as_ref().map_or(0, |v| v.len());
        if !self.habits.has(Habit::NoOutbox) {
            self.outbox.sent(tick, self.now, bytes);
        }
        let update = Update { event, again: None };
        self.push(PeerMessage::Update(update));
    }

    /// An entry's event with as many links as a message carries.
    pub(super) fn event(&self, replica: &Replica, ix: Ix) -> Event {
        let mut event = replica.event(ix);
        if event.chain.len() > self.options.links.max(2) {
            event.chain.truncate(self.options.links.max(2));
            event.end = ChainEnd::Cut;
        }
        event
    }

    /// Publishes what waits, as far as there is room.
    pub(super) fn pump(&mut self, replica: &Replica) {
        if !self.may_publish() {
            return;
        }
        let me = replica.me();
        let mut known = TickSet::new();
        // what is not there any more costs a look each
        let mut looks = 1024;
        while looks > 0
            && self.outbox.has_room_for_kept()
            && let Some(tick) = self.outbox.next_kept()
        {
            looks -= 1;
            let entry = replica.nodes().get(me).and_then(|k| k.entry(Tick(tick)));
            match entry {
                None => known.insert(tick),
                Some(ix) if replica.tree().get(ix).head() == Some(Link::new(me, Tick(tick))) => {
                    self.publish(replica, ix, tick);
                }
                // somebody built on it: their event has it in its chain
                Some(ix) => self.send_again(replica, ix),
            }
        }
        if !known.is_empty() {
            let info = NodeInfo {
                known: Some(vec![(self.me.clone(), known)]),
                ..NodeInfo::default()
            };
            self.tell(replica, info);
        }
        self.outbox.pumped(self.now, looks == 0);
    }

    /// Sends an entry's present event for whoever lacks it.
    pub(super) fn send_again(&mut self, replica: &Replica, ix: Ix) {
        let mut event = replica.event(ix);
        self.cut_to_two(&mut event);
        let update = Update {
            event,
            again: Some((self.me.clone(), replica.tick())),
        };
        self.push(PeerMessage::Update(update));
    }
}
