//! What goes wrong, and how it is mended.

use std::time::Duration;

use crate::sim::check::Broken;
use crate::sim::host::Host;
use crate::sim::net::Queued;
use crate::sim::plan::{Trouble, Weather};
use crate::sim::world::{Clock, Happening, Node, Phase, World};

/// What is as it should be again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mend {
    /// A broker
    Broker(usize),
    /// One direction of the bridge
    Bridge(usize),
    /// What a node hears, and is heard of it
    Link(usize),
    /// A stopped process
    Process(usize),
}

/// Time after which a broker gives up a client that it does not hear.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How often, of a thousand times, a whole site is without power when it could
/// be.
const SELDOM: u32 = 100;

/// Second servers of some name in a history at most.
const TWINS: usize = 2;

impl World {
    /// Something goes wrong now, and something else later.
    pub(super) fn trouble(&mut self) -> Result<(), Broken> {
        if self.phase != Phase::Storm {
            return Ok(());
        }
        let mean = self.plan.fault_every;
        let next = self
            .rng
            .millis(1, 2 * mean.as_millis().try_into().unwrap_or(60_000));
        self.after(next, Happening::Trouble);
        let Some(trouble) = self.rng.pick(&self.plan.faults).copied() else {
            return Ok(());
        };
        let n = self.rng.place(self.nodes.len());
        let lasts = self
            .plan
            .fault_lasts
            .as_millis()
            .try_into()
            .unwrap_or(60_000);
        let lasts = self.rng.millis(100, lasts);
        self.counts.troubles += 1;
        self.trace.line(self.now, |out| {
            let name = &self.nodes[n].name;
            out.push_str(&format!("trouble: {trouble:?} {name} {lasts:?}"));
        });
        match trouble {
            Trouble::LinkBreaks => self.break_link(n),
            Trouble::BrokerEnds => {
                let broker = self.nodes[n].broker;
                if !std::mem::replace(&mut self.brokers[broker].up, false) {
                    return Ok(());
                }
                self.after(lasts, Happening::Mend(Mend::Broker(broker)));
                for n in 0..self.nodes.len() {
                    if self.nodes[n].broker == broker {
                        self.break_link(n)?;
                    }
                }
                Ok(())
            }
            Trouble::BridgeCut => {
                let both = self.rng.chance(700);
                let one = self.rng.place(2);
                for way in 0..2 {
                    if both || way == one {
                        self.bridge[way] = false;
                        self.after(lasts, Happening::Mend(Mend::Bridge(way)));
                    }
                }
                Ok(())
            }
            Trouble::Deaf | Trouble::Mute => {
                let link = &mut self.nodes[n].link;
                match trouble {
                    Trouble::Deaf => link.deaf = true,
                    _ => link.mute = true,
                }
                let lasts = lasts.min(KEEP_ALIVE);
                self.after(lasts, Happening::Mend(Mend::Link(n)));
                Ok(())
            }
            Trouble::Stopped => {
                let node = &mut self.nodes[n];
                if node.running.is_some() && !std::mem::replace(&mut node.stopped, true) {
                    self.after(lasts, Happening::Mend(Mend::Process(n)));
                }
                Ok(())
            }
            Trouble::Killed => {
                self.kill(n, lasts);
                Ok(())
            }
            Trouble::Crashed => {
                self.crash(n, lasts);
                Ok(())
            }
            Trouble::PowerCut => {
                if self.rng.chance(SELDOM) {
                    self.cut_power(lasts);
                }
                Ok(())
            }
            Trouble::Overflow => {
                self.nodes[n].link.overflow += u32::try_from(self.rng.between(1, 30)).unwrap_or(1);
                Ok(())
            }
            Trouble::Twin => {
                self.start_twin(n);
                Ok(())
            }
            Trouble::ClockJumps => {
                let now = self.now;
                self.nodes[n].clock.jump(now, lasts);
                if self.nodes[n].stopped {
                    return Ok(());
                }
                self.wake_now(n)
            }
        }
    }

    /// Kills a process, unless nobody else has data.
    fn kill(&mut self, n: usize, lasts: Duration) {
        if !self.outlives(n) || self.nodes[n].running.is_none() {
            return;
        }
        self.end(n, "killed");
        self.after(lasts, Happening::Start(n));
    }

    /// Starts a second server under a node's name, somewhere.
    fn start_twin(&mut self, n: usize) {
        if self.nodes.len() >= usize::from(self.plan.nodes) + TWINS {
            return;
        }
        let broker = self.rng.place(self.brokers.len());
        let clock = Clock {
            since: self.now.0,
            shows: self.rng.below(3_600_000_000),
            pace: 1000,
        };
        let twin = Node::new(self.nodes[n].name.clone(), broker, clock);
        self.nodes.push(twin);
        let wait = self.rng.millis(1, 100);
        self.after(wait, Happening::Start(self.nodes.len() - 1));
    }

    /// Something is as it should be again.
    pub(super) fn mend(&mut self, mend: Mend) -> Result<(), Broken> {
        match mend {
            Mend::Broker(broker) => self.brokers[broker].up = true,
            Mend::Bridge(way) => self.bridge[way] = true,
            Mend::Link(n) => {
                let link = &mut self.nodes[n].link;
                let was = link.deaf || link.mute;
                link.deaf = false;
                link.mute = false;
                // by then one of both sides may have noticed
                if was && self.rng.chance(300) {
                    return self.break_link(n);
                }
            }
            Mend::Process(n) => return self.wake_up(n),
        }
        Ok(())
    }

    /// A stopped process goes on: with what its system kept for it.
    fn wake_up(&mut self, n: usize) -> Result<(), Broken> {
        let node = &mut self.nodes[n];
        if !std::mem::replace(&mut node.stopped, false) {
            return Ok(());
        }
        self.trace.line(self.now, |out| {
            out.push_str(&format!("{} goes on", node.name));
        });
        let backlog = std::mem::take(&mut node.backlog);
        // timers may come first or last
        let first = self.rng.chance(500);
        if first {
            self.wake_now(n)?;
        }
        for queued in backlog {
            match queued {
                Queued::Message(message) => self.hear(n, &message)?,
                Queued::Down => {
                    self.feed(n, Host::handle_down)?;
                }
            }
        }
        if !first {
            self.wake_now(n)?;
        }
        if !self.nodes[n].link.up {
            self.reconnect(n);
        }
        let clients = self.clients.len();
        (0..clients).for_each(|client| self.schedule_read(client));
        Ok(())
    }

    /// Mends everything, for good: what remains is the nodes' work.
    pub(super) fn heal(&mut self) -> Result<(), Broken> {
        self.phase = Phase::Calm(self.last_arrival.max(self.now));
        self.weather = Weather::CALM;
        self.trace
            .line(self.now, |out| out.push_str("all is mended"));
        self.brokers.iter_mut().for_each(|b| b.up = true);
        self.bridge = [true; 2];
        for n in 0..self.nodes.len() {
            self.restart_if_cut_off(n);
            let link = &mut self.nodes[n].link;
            link.deaf = false;
            link.mute = false;
            let lost = std::mem::take(&mut link.overflow) > 0;
            self.wake_up(n)?;
            if lost {
                self.feed(n, Host::handle_gap)?;
            }
            if self.nodes[n].running.is_none() && !self.nodes[n].gone {
                self.nodes[n].gone = self.is_dispensable(n) && self.rng.chance(250);
                self.after(Duration::from_millis(100), Happening::Start(n));
            }
        }
        if self.plan.is_mixed() {
            let wait = Duration::from_secs(self.rng.between(1, 60));
            self.after(wait, Happening::Race);
            let race = self.now.after(wait);
            self.phase = Phase::Calm(self.last_arrival.max(race));
        }
        self.after(Duration::from_secs(1), Happening::Look);
        Ok(())
    }

    /// Whether the others can do without a node.
    fn is_dispensable(&self, n: usize) -> bool {
        let mut others = self.nodes.iter().enumerate();
        let ours = others.any(|(other, node)| {
            other != n && !node.habits.is_original() && node.running.is_some()
        });
        self.outlives(n) && (ours || !self.plan.is_mixed())
    }

    /// An operator starts a process again that does not connect any more.
    fn restart_if_cut_off(&mut self, n: usize) {
        if !self.is_cut_off(n) {
            return;
        }
        let kept = self.nodes[n].file.as_ref().map(|file| file.changes.len());
        if kept.is_none() && !self.outlives(n) {
            // nobody else has data: that would be the end of them
            let running = self.nodes[n].running.as_mut();
            running.into_iter().for_each(|r| r.met = false);
            self.reconnect(n);
            return;
        }
        self.end(n, "cut off for good");
        self.nodes[n].kept = kept;
    }
}
