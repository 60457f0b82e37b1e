//! Brokers, the connections to them, and what messages suffer on their way.

use std::rc::Rc;
use std::time::Duration;

use crate::event::{PeerMessage, Update};
use crate::node::habits::Habit;
use crate::node::time::Timestamp;
use crate::sim::check::Broken;
use crate::sim::host::Host;
use crate::sim::ledger::LifeIx;
use crate::sim::trace;
use crate::sim::world::{Happening, World};

/// A message broker.
#[derive(Debug, Clone)]
pub(super) struct Broker {
    pub(super) up: bool,
}

impl Default for Broker {
    fn default() -> Self {
        Self { up: true }
    }
}

/// A node's connection to its broker.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) up: bool,
    /// Counts connections: what was sent on an older one gets lost
    pub(super) epoch: u32,
    /// Nothing gets through to the node, unnoticed
    pub(super) deaf: bool,
    /// Nothing gets through from the node, unnoticed
    pub(super) mute: bool,
    /// Messages to the node that its shell will not keep
    pub(super) overflow: u32,
    last_up: Timestamp,
    last_down: Timestamp,
}

impl Link {
    /// Breaks the connection; returns whether there was one.
    pub(super) const fn drop(&mut self) -> bool {
        let was = std::mem::replace(&mut self.up, false);
        if was {
            self.epoch += 1;
            self.deaf = false;
            self.mute = false;
            self.overflow = 0;
        }
        was
    }
}

/// What waits for a process that is stopped.
#[derive(Debug)]
pub(super) enum Queued {
    Message(Rc<PeerMessage>),
    /// The connection is gone.
    Down,
}

impl World {
    /// How long a message takes; `None` if it gets lost.
    fn way(&mut self) -> Option<Duration> {
        let weather = &self.weather;
        if self.rng.chance(weather.loss) {
            return None;
        }
        let (low, high) = weather.delay;
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        let (low, high) = if self.rng.chance(weather.late) {
            (micros(high), micros(weather.latest))
        } else {
            (micros(low), micros(high))
        };
        Some(Duration::from_micros(self.rng.between(low, high)))
    }

    /// A node sends a message to its broker.
    pub(super) fn publish(&mut self, n: usize, message: Box<PeerMessage>) {
        let link = &self.nodes[n].link;
        if !link.up || link.mute {
            return;
        }
        let Some(way) = self.way() else { return };
        let mut at = self.now.after(way);
        let ordered = self.weather.ordered;
        let node = &mut self.nodes[n];
        if ordered {
            at = at.max(Timestamp(node.link.last_up.0 + 1));
            node.link.last_up = at;
        }
        let (broker, epoch) = (node.broker, node.link.epoch);
        self.last_arrival = self.last_arrival.max(at);
        self.at(at, Happening::Arrive(broker, n, epoch, message.into()));
    }

    /// A node says something: at once, unless it has the habit to be late.
    pub(super) fn say(&mut self, n: usize, message: Box<PeerMessage>) {
        let late = self.nodes[n].habits.has(Habit::LateTock);
        let fresh = matches!(&*message, PeerMessage::Update(Update { again: None, .. }));
        if late && fresh {
            return self.say_late(n, message.into());
        }
        self.note_original(n, &message);
        self.publish(n, message);
    }

    fn say_late(&mut self, n: usize, message: Rc<PeerMessage>) {
        let Some(life) = self.nodes[n].life() else {
            return;
        };
        let wait = Duration::from_micros(self.rng.spread(64, 65_536));
        self.after(wait, Happening::Late(n, life, message));
    }

    /// A node says what it should have said before, with the tock that the
    /// entry has by now.
    pub(super) fn said_late(&mut self, n: usize, life: LifeIx, message: &Rc<PeerMessage>) {
        if self.nodes[n].stopped {
            return self.say_late(n, Rc::clone(message));
        }
        let node = &self.nodes[n];
        let Some(running) = node.running.as_ref().filter(|r| r.life == life) else {
            return;
        };
        let mut message = PeerMessage::clone(message);
        if let PeerMessage::Update(Update { event, .. }) = &mut message {
            event.tock = event.tock.max(running.host.tock_of(event));
        }
        self.trace.line(self.now, |out| {
            out.push_str(&format!("{} => {}", node.name, trace::message(&message)));
        });
        self.note_original(n, &message);
        self.publish(n, Box::new(message));
    }

    /// What a node of the original says may be its fault.
    fn note_original(&mut self, n: usize, message: &PeerMessage) {
        if !self.nodes[n].habits.is_original() {
            return;
        }
        match message {
            PeerMessage::Update(update) => self.ledger.told(&update.event),
            PeerMessage::Info(info) => self.ledger.called_deleted(&info.info),
            PeerMessage::Ping(_) | PeerMessage::Del(_) => {}
        }
    }

    /// A broker has got a message from a node of its own.
    pub(super) fn arrive(
        &mut self,
        broker: usize,
        from: usize,
        epoch: u32,
        message: &Rc<PeerMessage>,
    ) {
        // of a broken connection, the broker may have got something or not
        if self.nodes[from].link.epoch != epoch && self.rng.chance(500) {
            return;
        }
        self.spread(broker, message);
        if self.brokers.len() > 1 && self.bridge.get(broker) == Some(&true) {
            let Some(way) = self.way() else { return };
            let message = Rc::clone(message);
            let at = self.now.after(way);
            self.last_arrival = self.last_arrival.max(at);
            self.at(at, Happening::Cross(1 - broker, message));
        }
    }

    /// A broker sends a message to all its nodes.
    pub(super) fn spread(&mut self, broker: usize, message: &Rc<PeerMessage>) {
        if !self.brokers[broker].up {
            return;
        }
        for n in 0..self.nodes.len() {
            let node = &self.nodes[n];
            if node.broker != broker || !node.link.up {
                continue;
            }
            let copies = 1 + u32::from(self.rng.chance(self.weather.twice));
            for _ in 0..copies {
                let Some(way) = self.way() else { continue };
                let mut at = self.now.after(way);
                let ordered = self.weather.ordered;
                let link = &mut self.nodes[n].link;
                if ordered {
                    at = at.max(Timestamp(link.last_down.0 + 1));
                    link.last_down = at;
                }
                let epoch = link.epoch;
                self.last_arrival = self.last_arrival.max(at);
                self.at(at, Happening::Deliver(n, epoch, Rc::clone(message)));
            }
        }
    }

    /// A message has reached a node.
    pub(super) fn deliver(
        &mut self,
        n: usize,
        epoch: u32,
        message: Rc<PeerMessage>,
    ) -> Result<(), Broken> {
        let node = &mut self.nodes[n];
        let link = &mut node.link;
        if link.epoch != epoch || !link.up || link.deaf || node.running.is_none() {
            return Ok(());
        }
        if link.overflow > 0 {
            link.overflow -= 1;
            if link.overflow == 0 && !node.stopped {
                self.feed(n, Host::handle_gap)?;
            }
            return Ok(());
        }
        if node.stopped {
            if node.backlog.len() < self.plan.backlog {
                node.backlog.push_back(Queued::Message(message));
            } else {
                // the broker does not wait for it any longer
                self.break_link(n)?;
            }
            return Ok(());
        }
        self.hear(n, &message)
    }

    /// A process takes in a message.
    pub(super) fn hear(&mut self, n: usize, message: &PeerMessage) -> Result<(), Broken> {
        self.trace.line(self.now, |out| {
            let name = &self.nodes[n].name;
            out.push_str(&format!("{name} <- {}", trace::message(message)));
        });
        let Some(running) = &mut self.nodes[n].running else {
            return Ok(());
        };
        let (ledger, life) = (&self.ledger, running.life);
        let message = running
            .plants
            .hears(&mut running.host, message, ledger, life);
        self.feed(n, |host, now| host.handle_peer(now, &message))?;
        Ok(())
    }

    /// A node's connection ends; it comes back before long.
    pub(super) fn break_link(&mut self, n: usize) -> Result<(), Broken> {
        let node = &mut self.nodes[n];
        if !node.link.drop() {
            return Ok(());
        }
        self.trace.line(self.now, |out| {
            out.push_str(&format!("{} is cut off", node.name));
        });
        let broker = node.broker;
        if let Some(will) = node.running.as_ref().and_then(|r| r.host.will()) {
            self.spread(broker, &Rc::new(will));
        }
        if self.nodes[n].stopped {
            self.nodes[n].backlog.push_back(Queued::Down);
            return Ok(());
        }
        self.feed(n, Host::handle_down)?;
        self.reconnect(n);
        Ok(())
    }

    /// Has a node try to connect after a while.
    pub(super) fn reconnect(&mut self, n: usize) {
        if self.is_cut_off(n) {
            return;
        }
        let wait = self.rng.millis(100, 4000);
        let epoch = self.nodes[n].link.epoch;
        self.after(wait, Happening::Connect(n, epoch));
    }

    /// Whether a node's connection is gone for good, as long as its process
    /// runs.
    pub(super) fn is_cut_off(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        let met = node.running.as_ref().is_some_and(|r| r.met);
        met && !node.link.up && node.habits.has(Habit::NoReconnect)
    }

    /// A node tries to connect to its broker.
    pub(super) fn connect(&mut self, n: usize, epoch: u32) -> Result<(), Broken> {
        let cut_off = self.is_cut_off(n);
        let node = &mut self.nodes[n];
        let stale = node.link.epoch != epoch || node.link.up || node.stopped || cut_off;
        if stale || node.running.is_none() {
            return Ok(());
        }
        if !self.brokers[node.broker].up {
            self.reconnect(n);
            return Ok(());
        }
        node.link.up = true;
        if let Some(running) = &mut node.running {
            running.met = true;
        }
        node.link.last_up = self.now;
        node.link.last_down = self.now;
        self.trace.line(self.now, |out| {
            out.push_str(&format!("{} is connected", node.name));
        });
        self.feed(n, Host::handle_up)?;
        Ok(())
    }
}
