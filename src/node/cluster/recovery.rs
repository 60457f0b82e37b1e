//! After a split: the original's three steps, and this program's own check
//! that nothing differs which no tick shows.
//!
//! When two histories of turns do not fit, both sides tell their ticks, then
//! what they lack, then send what the other lacks; members with a lower
//! place in their side's history go first, the others only if those are
//! silent. Beyond that, nodes of this program compare the sum over what they
//! hold whenever one has its turn. If it differs for two turns although
//! nobody writes and nothing is missing, one fetches the other's state,
//! merges it, and sends again whatever the other has an older event for.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::event::{Event, NodeInfo, NodeName, Say, Tick, TickSet};
use crate::node::habits::Habit;
use crate::node::merge::Replica;
use crate::node::time::Timestamp;
use crate::node::tree::Ix;

use super::actor::half_to;
use super::repair::is_ahead;
use super::{Act, Cluster, Report};

/// What is being done about a split.
#[derive(Debug)]
pub(super) struct Recovery {
    place: u32,
    local: Vec<NodeName>,
    remote: Vec<NodeName>,
    step: Step,
    at: Timestamp,
    /// Somebody of this side has done this step
    done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Ticks,
    Missing,
    Resend,
}

impl Recovery {
    pub(super) const fn next_timeout(&self) -> Timestamp {
        self.at
    }

    fn heard_ticks(&mut self, from: &NodeName) {
        self.done |= self.step == Step::Ticks && self.local.contains(from);
    }

    pub(super) fn heard_missing(&mut self, from: &NodeName) {
        self.done |= self.step == Step::Missing && self.local.contains(from);
    }
}

/// Entries that are sent again after a comparison at most.
const SENT_AGAIN: usize = 100_000;

/// Whether another node's sum differs, and what is being done about it.
#[derive(Debug, Default)]
pub(super) struct Diverged {
    /// Who differs, with both sums, and how often that was seen
    with: Option<(NodeName, u64, u64, u32)>,
    /// When to ask all for their sums, or to fetch
    at: Option<Timestamp>,
    /// The comparison under way
    fetch: Option<Comparison>,
    /// Entries to send again
    again: Vec<Ix>,
    /// No comparison before
    not_before: Timestamp,
    /// How long to wait after one that has not helped
    pause: Duration,
}

/// Another node's state being compared with this one's.
#[derive(Debug, Default)]
struct Comparison {
    /// Names its fetch
    id: u64,
    /// Entries that both have with the same last change
    same: BTreeSet<Ix>,
    /// What the other one has no more interest in
    known: Vec<(NodeName, TickSet)>,
}

impl Diverged {
    pub(super) const fn next_timeout(&self) -> Option<Timestamp> {
        self.at
    }

    pub(super) fn is_fetching(&self, id: u64) -> bool {
        self.fetch.as_ref().is_some_and(|c| c.id == id)
    }

    pub(super) fn failed(&mut self, now: Timestamp) {
        self.fetch = None;
        self.not_before = now.after(self.pause);
    }
}

impl Cluster {
    /// Two sides of a split have met.
    pub(super) fn found_split(&mut self, place: u32, local: Vec<NodeName>, remote: Vec<NodeName>) {
        if let Some(recovery) = &self.recovery
            && remote.iter().all(|name| recovery.remote.contains(name))
        {
            return;
        }
        // one that was late with its turn was never away
        if !remote.is_empty() {
            self.report(Report::Split(remote.clone()));
        }
        let wait = self.cycle().mul_f64(1.0 - half_to(place));
        self.recovery = Some(Recovery {
            place,
            local,
            remote,
            step: Step::Ticks,
            at: self.now.after(wait),
            done: false,
        });
    }

    /// The next step after a split, if it is time for it.
    pub(super) fn recover(&mut self, replica: &Replica) {
        let Some(recovery) = &mut self.recovery else {
            return;
        };
        if recovery.at > self.now {
            return;
        }
        let (step, done, place) = (recovery.step, recovery.done, recovery.place);
        let cycle = self.options.ping.cycle;
        recovery.done = false;
        match step {
            Step::Ticks => {
                recovery.step = Step::Missing;
                recovery.at = self.now.after(cycle.mul_f64((2.0 - half_to(place)) / 2.0));
                if !done {
                    let ticks = self.ticks(replica);
                    self.tell(replica, ticks);
                }
            }
            Step::Missing => {
                recovery.step = Step::Resend;
                recovery.at = self.now.after(cycle.mul_f64(1.0 - half_to(place)));
                if self.habits.has(Habit::AskOnce) {
                    if !done {
                        self.ask_once(replica, true);
                    }
                } else if !done {
                    let missing = replica.holes();
                    let missing = missing.map(|(name, set)| (name.clone(), set.clone()));
                    let info = NodeInfo {
                        missing: Some(missing.take(1000).collect()),
                        ..NodeInfo::default()
                    };
                    self.tell(replica, info);
                }
            }
            Step::Resend => {
                self.recovery = None;
                if self.is_original() {
                    self.end_originals_recovery(place);
                } else {
                    self.resend_within(self.gap());
                }
            }
        }
    }

    /// Somebody tells all ticks that he knows.
    pub(super) fn hear_ticks(
        &mut self,
        replica: &Replica,
        from: &NodeName,
        ticks: &[(NodeName, Option<Tick>)],
    ) {
        if let Some(recovery) = &mut self.recovery {
            recovery.heard_ticks(from);
        }
        if !self.is_ready() || self.is_original() {
            return;
        }
        if is_ahead(replica, ticks) {
            let wait = self.rng.part(self.gap() / 2);
            let at = self.now.after(wait);
            self.ticks_at.get_or_insert(at);
        } else {
            // what this node would say has been said
            self.ticks_at = None;
            self.ticks_told = self.now;
        }
    }

    /// Another node of this program tells its sum.
    pub(super) fn compare(&mut self, replica: &Replica, node: &NodeName, sum: Option<u64>) {
        let Some(theirs) = sum.filter(|_| self.is_ready()) else {
            return;
        };
        let mine = replica.sum();
        let member = self.members.heard(self.now, node);
        member.same = theirs == mine;
        let before = member.sum.replace(theirs);
        let diverged = &mut self.diverged;
        if theirs == mine {
            // whoever held something else holds the same now
            if diverged.with.as_ref().is_some_and(|(n, ..)| n == node) {
                diverged.with = None;
                diverged.at = None;
                diverged.pause = Duration::ZERO;
            }
            return;
        }
        let seen = match &diverged.with {
            // that several others differ is no reason to begin anew
            Some((_, m, _, seen)) if *m == mine && before == Some(theirs) => *seen + 1,
            // another pair of sums: somebody writes, or it is mended already
            _ => 1,
        };
        diverged.with = Some((node.clone(), mine, theirs, seen));
        if diverged.at.is_none() && diverged.fetch.is_none() {
            let wait = self.gap() + self.rng.part(self.gap());
            self.diverged.at = Some(self.now.after(wait));
        }
    }

    /// Does something about sums that differ, if it is time to.
    pub(super) fn settle_differences(&mut self, replica: &Replica) {
        if self.diverged.at.is_none_or(|at| at > self.now) {
            return;
        }
        self.diverged.at = None;
        let Some((node, mine, _, seen)) = self.diverged.with.clone() else {
            self.send_some_again(replica);
            return;
        };
        if !self.diverged.again.is_empty() {
            self.send_some_again(replica);
            return;
        }
        if mine != replica.sum() || !self.is_up() {
            // it has changed since: the next turn shows whether it helped
            return;
        }
        if seen < 2 {
            // all say what they hold, and which ticks there are
            if self.now.since(self.said) >= self.gap() / 2 {
                self.hail(replica, Say::Hello);
            }
            return;
        }
        if self.diverged.not_before > self.now || replica.holes().next().is_some() {
            return;
        }
        self.report(Report::Differs(node.clone()));
        self.begin_comparison(replica, node);
    }

    fn begin_comparison(&mut self, replica: &Replica, node: NodeName) {
        self.next_fetch += 1;
        let id = self.next_fetch;
        self.diverged.fetch = Some(Comparison {
            id,
            ..Comparison::default()
        });
        self.diverged.pause = (self.diverged.pause * 2)
            .max(self.cycle())
            .min(self.cycle() * 30);
        self.fetch(replica, id, node);
    }

    /// Deletions have been forgotten while this node was away: it compares
    /// itself with a node that has data.
    pub(super) fn compare_with_anybody(&mut self, replica: &Replica) {
        if self.is_original() {
            self.deleter.caught_up();
            return;
        }
        if self.diverged.fetch.is_some() || self.diverged.not_before > self.now || !self.is_ready()
        {
            return;
        }
        let peer = self
            .members
            .iter()
            .filter(|(_, m)| m.data && !m.gone)
            .max_by_key(|(_, m)| m.heard)
            .map(|(name, _)| name.clone());
        if let Some(peer) = peer {
            self.begin_comparison(replica, peer);
        }
    }

    /// A comparison has brought an entry, and it has been applied.
    pub(super) fn note_fetched(&mut self, replica: &Replica, event: &Event) {
        let Some(comparison) = &mut self.diverged.fetch else {
            return;
        };
        let Ok(Some(ix)) = replica.tree().resolve(Ix::ROOT, event.path.as_ref()) else {
            return;
        };
        let head = replica.tree().get(ix).head();
        let same = match (head, event.chain.first()) {
            (Some(head), Some(theirs)) => {
                *replica.nodes().name(head.node()) == theirs.node && head.tick() == theirs.tick
            }
            _ => false,
        };
        // what this node has newer is left out here, and so sent again
        if same {
            comparison.same.insert(ix);
        }
    }

    /// A comparison has brought the other node's bookkeeping.
    pub(super) fn note_known(&mut self, info: &NodeInfo) {
        if let Some(comparison) = &mut self.diverged.fetch {
            comparison.known = info.known.clone().unwrap_or_default();
        }
    }

    /// A comparison has come to its end.
    pub(super) fn compared(&mut self, replica: &Replica) {
        let Some(comparison) = self.diverged.fetch.take() else {
            return;
        };
        self.diverged.with = None;
        self.diverged.not_before = self.now.after(self.diverged.pause);
        let behind = self.deleter.is_behind();
        self.deleter.caught_up();
        let mut at = Some(Ix::ROOT);
        while let Some(ix) = at {
            at = replica.tree().following(Ix::ROOT, ix, true);
            let Some(head) = replica.tree().get(ix).head() else {
                continue;
            };
            if comparison.same.contains(&ix) {
                continue;
            }
            let name = replica.nodes().name(head.node());
            let of_no_interest = comparison
                .known
                .iter()
                .any(|(n, set)| n == name && set.contains(head.tick().0));
            if behind && of_no_interest {
                // deleted, agreed upon and forgotten, all without this node
                self.acts.push_back(Act::Drop(ix));
            } else if self.diverged.again.len() < SENT_AGAIN {
                self.diverged.again.push(ix);
            }
        }
        self.send_some_again(replica);
    }

    fn send_some_again(&mut self, replica: &Replica) {
        const AT_ONCE: usize = 128;
        let rest = self.diverged.again.len().saturating_sub(AT_ONCE);
        let some = self.diverged.again.split_off(rest);
        if self.is_up() {
            for ix in some {
                // it may have been purged meanwhile
                if replica.tree().get(ix).head().is_some() {
                    self.send_again(replica, ix);
                }
            }
        }
        if !self.diverged.again.is_empty() {
            self.diverged.at = Some(self.now.after(Duration::from_millis(20)));
        }
    }
}
