//! What a machine does that stands for a node of the original, as far as it
//! is not what this program does as well
//! ([`node::habits`](crate::node::habits); cluster protocol, 6–11).

use std::time::Duration;

use crate::event::{ChainEnd, Event, NodeInfo, NodeName, PeerMessage, TickSet, Turn, Update};
use crate::node::habits::{Habit, Habits};
use crate::node::merge::Replica;
use crate::node::time::Timestamp;
use crate::node::tree::Ix;

use super::actor::half_to;
use super::{Act, Cluster};

/// It has fetched a state that is not complete, and asks for the rest.
#[derive(Debug)]
pub(super) struct Wait {
    at: Timestamp,
    /// Between two requests; it grows
    pause: Duration,
}

impl Wait {
    pub(super) const fn next_timeout(&self) -> Timestamp {
        self.at
    }
}

impl Cluster {
    /// Gives this node habits; it has heard and said nothing yet.
    pub(in crate::node) const fn set_habits(&mut self, habits: Habits) {
        self.habits = habits;
        self.deleter.set_original(habits.is_original());
        self.ping.set_original(habits.is_original());
    }

    pub(in crate::node) const fn habits(&self) -> Habits {
        self.habits
    }

    #[inline]
    pub(super) const fn is_original(&self) -> bool {
        self.habits.is_original()
    }

    /// The first word of a process.
    pub(super) fn introduce(&mut self) {
        if self.is_original() && self.phase.is_new() {
            let (ping, delete) = (self.options.ping.clone(), self.options.delete.clone());
            self.push(PeerMessage::Del(Turn::Init(self.me.clone())));
            self.push(PeerMessage::Del(Turn::Vers(self.me.clone(), delete)));
            self.push(PeerMessage::Ping(Turn::Init(self.me.clone())));
            self.push(PeerMessage::Ping(Turn::Vers(self.me.clone(), ping)));
        }
    }

    /// It is the node's turn.
    pub(super) fn take_originals_turn(&mut self, replica: &Replica) {
        if self.habits.has(Habit::AskOnce) {
            self.ask_once(replica, false);
        } else {
            self.ask_now(replica);
        }
    }

    /// Asks for what nobody has asked for since the last split was mended.
    pub(super) fn ask_once(&mut self, replica: &Replica, even_if_nothing: bool) {
        let mut missing = Vec::new();
        for (name, holes) in replica.holes() {
            let mut set = holes.clone();
            let asked = self.asking.by_others.entry(name.clone());
            let (asked, _) = asked.or_insert_with(|| (TickSet::new(), self.now));
            set.remove_all(asked);
            asked.insert_all(&set);
            if !set.is_empty() {
                missing.push((name.clone(), set));
            }
        }
        if even_if_nothing || !missing.is_empty() {
            let info = NodeInfo {
                missing: Some(missing),
                ..NodeInfo::default()
            };
            self.tell(replica, info);
        }
    }

    /// The last step after a split.
    pub(super) fn end_originals_recovery(&mut self, place: u32) {
        let part = 1.0 - half_to(place) / 2.0 - self.rng.fraction() / 5.0;
        let at = self.now.after(self.cycle().mul_f64(part));
        self.resending.at.get_or_insert(at);
        self.asking.by_others.clear();
    }

    /// Somebody lacks something.
    pub(super) fn answer_at_originals_pace(&mut self) {
        let wait = self.cycle().mul_f64(1.0 + self.rng.fraction() / 3.0);
        let at = self.now.after(wait);
        self.resending.at.get_or_insert(at);
    }

    /// A state has been fetched. Returns whether that is not enough to serve.
    pub(super) fn has_to_wait(&mut self, replica: &Replica) -> bool {
        let waits = self.habits.has(Habit::Waits) && replica.holes().next().is_some();
        if waits {
            self.waits = Some(Wait {
                at: self.now,
                pause: self.gap(),
            });
        }
        waits
    }

    /// Asks for what is missing before this node serves, ever more slowly.
    pub(super) fn wait_for_all(&mut self, replica: &mut Replica) {
        let Some(wait) = self.waits.as_mut().filter(|w| w.at <= self.now) else {
            return;
        };
        if replica.holes().next().is_none() {
            self.waits = None;
            self.become_ready(replica);
            return;
        }
        wait.pause = wait.pause.mul_f64(1.0 + self.rng.fraction() / 2.0);
        wait.at = self.now.after(wait.pause);
        // what others ask for at present is left to them
        self.ask_once(replica, false);
        self.asking.by_others.clear();
    }

    /// Cuts a chain that is sent again.
    pub(super) fn cut_to_two(&self, event: &mut Event) {
        if self.habits.has(Habit::TwoLinks) && event.chain.len() > 2 {
            event.chain.truncate(2);
            event.end = ChainEnd::Cut;
        }
    }

    /// What is called deleted of what is of no interest any more.
    pub(super) fn deleted_among(
        &self,
        replica: &Replica,
        known: &[(NodeName, TickSet)],
    ) -> Option<Vec<(NodeName, TickSet)>> {
        self.habits
            .has(Habit::DeletedKills)
            .then(|| replica.called_deleted_among(known))
            .filter(|sets| !sets.is_empty())
    }

    /// An event of this node has been taken in that came from outside.
    pub(in crate::node) fn tell_own_again(&mut self, replica: &Replica, ix: Ix) {
        if self.habits.has(Habit::Echo) && self.may_publish() {
            let event = self.event(replica, ix);
            let mine = event.chain.first().is_some_and(|head| head.node == self.me);
            if mine {
                let update = Update { event, again: None };
                let message = PeerMessage::Update(update);
                self.acts.push_back(Act::Tell(Box::new(message)));
            }
        }
    }
}
