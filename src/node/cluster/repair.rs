//! Holes: asking for events that were never heard, and sending again what
//! others ask for.
//!
//! A hole is asked for after about two gaps and then again and again, ever
//! more slowly, until somebody sends the event or says that it is of no
//! interest any more. What nobody has after some cycles is given up, as
//! `known`, so that nothing waits for it for ever. (The original asks once,
//! and waits for ever.)

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::{Link, NodeInfo, NodeName, Tick, TickSet};
use crate::node::habits::Habit;
use crate::node::merge::Replica;
use crate::node::ticks::Look;
use crate::node::time::Timestamp;
use crate::node::tree::Ix;

use super::{Act, Cluster, Counts, Report};

/// Cycles after which an event is given up that its own node does not have,
/// counted from the last time that anything was answered.
const GIVE_UP: u32 = 3;
/// The same for events of nodes that are away: they may have them.
const GIVE_UP_AWAY: u32 = 6;
/// Intervals that one request names at most.
const ASKED: usize = 1000;
/// Events that are sent again in one turn.
const SENT_AT_ONCE: usize = 128;
/// How often a node of the original asks in vain for the same before it is
/// told that it need not wait.
const INSISTS: u32 = 4;
/// Such nodes that are remembered.
const INSISTING: usize = 64;
/// Time between two such turns.
const PAUSE: Duration = Duration::from_millis(20);

/// What this node lacks, and when it asks.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// The next request, while there are holes
    at: Option<Timestamp>,
    /// The wait after that
    wait: Duration,
    /// How many events were missing at the last look
    missing: u64,
    /// When that number was last seen to fall
    progress: Timestamp,
    /// What others asked for, and when: the answers are for all
    pub(super) by_others: BTreeMap<NodeName, (TickSet, Timestamp)>,
}

impl Asking {
    pub(super) const fn next_timeout(&self) -> Option<Timestamp> {
        self.at
    }
}

/// What others lack, and when this node answers.
#[derive(Debug, Default)]
pub(super) struct Resending {
    pub(super) at: Option<Timestamp>,
    /// Links of chains that were sent: an original does not look for them
    /// behind the first two
    deeper: BTreeMap<NodeName, TickSet>,
    /// Entries whose last change somebody has given up
    objections: BTreeSet<Ix>,
    /// Originals that wait for what was sent to them: what, and how often
    insisting: BTreeMap<NodeName, (Vec<(NodeName, TickSet)>, u32)>,
    /// What they are to know besides
    settled: Vec<(NodeName, TickSet)>,
}

impl Resending {
    pub(super) const fn next_timeout(&self) -> Option<Timestamp> {
        self.at
    }
}

impl Cluster {
    /// Looks whether anything is missing, now and then.
    pub(super) fn look_for_holes(&mut self, replica: &Replica) {
        if self.habits.has(Habit::AskOnce) {
            return;
        }
        let missing: u64 = replica.holes().map(|(_, set)| set.count()).sum();
        let before = std::mem::replace(&mut self.asking.missing, missing);
        if missing == 0 {
            self.asking.at = None;
            if self.is_ready() && self.is_up() && !self.synced {
                self.synced = true;
                self.acts.push_back(Act::Synced);
            }
            if before > 0 {
                self.report(Report::Complete);
            }
            return;
        }
        if before == 0 || missing < before {
            self.asking.progress = self.now;
        }
        if before == 0 {
            self.report(Report::Missing(Counts::of(replica.holes())));
        }
        if self.asking.at.is_none() {
            self.asking.wait = self.gap();
            let spread = self.rng.part(self.gap() / 2);
            self.asking.at = Some(self.now.after(self.gap() + spread));
        }
    }

    /// It is this node's turn: whatever is missing is asked for.
    pub(super) fn ask_now(&mut self, replica: &Replica) {
        if replica.holes().next().is_some() {
            // it may be the first look
            self.look_for_holes(replica);
            self.asking.at = Some(self.now);
            self.ask(replica);
        }
    }

    /// Asks for what is missing, if it is time to.
    pub(super) fn ask(&mut self, replica: &Replica) {
        if self.asking.at.is_none_or(|at| at > self.now) {
            return;
        }
        self.asking.at = None;
        // who fetches all does not have it sent as well
        if !self.is_up() || !self.is_ready() {
            return;
        }
        let lately = self.gap() * 2;
        let now = self.now;
        self.asking
            .by_others
            .retain(|_, (_, at)| now.since(*at) < lately);
        let mut intervals = 0;
        let mut missing = Vec::new();
        for (name, holes) in replica.holes() {
            let mut set = holes.clone();
            if let Some((asked, _)) = self.asking.by_others.get(name) {
                set.remove_all(asked);
            }
            let room = ASKED.saturating_sub(intervals);
            let set: TickSet = set.ranges().take(room).collect();
            intervals += set.intervals();
            if !set.is_empty() {
                missing.push((name.clone(), set));
            }
        }
        if !missing.is_empty() {
            let info = NodeInfo {
                missing: Some(missing),
                ..NodeInfo::default()
            };
            self.tell(replica, info);
        }
        if replica.holes().next().is_none() {
            return;
        }
        let spread = self.rng.part(self.asking.wait / 2);
        self.asking.at = Some(now.after(self.asking.wait + spread));
        self.asking.wait = (self.asking.wait * 2).min(self.cycle());
        self.give_up(replica);
    }

    /// Gives up what nobody has.
    fn give_up(&mut self, replica: &Replica) {
        let waited = self.now.since(self.asking.progress);
        if waited < self.cycle() * GIVE_UP || !self.is_ready() || self.is_original() {
            return;
        }
        let all = waited >= self.cycle() * GIVE_UP_AWAY;
        let here = |name: &NodeName| {
            *name == self.me || self.members.is_here(name, self.now, self.patience())
        };
        let lost: Vec<(NodeName, TickSet)> = replica
            .holes()
            .filter(|(name, _)| all || here(name))
            .map(|(name, set)| (name.clone(), set.clone()))
            .collect();
        if lost.is_empty() {
            return;
        }
        let counts = Counts::of(lost.iter().map(|(name, set)| (name, set)));
        self.report(Report::GivenUp(counts));
        let info = NodeInfo {
            known: Some(lost),
            ..NodeInfo::default()
        };
        self.given_up = Some(info.clone());
        self.tell(replica, info);
    }

    /// Somebody lacks events.
    pub(super) fn hear_missing(&mut self, from: &NodeName, missing: &[(NodeName, TickSet)]) {
        for (name, ticks) in missing {
            let now = self.now;
            let once = self.habits.has(Habit::AskOnce);
            let (set, at) = self
                .asking
                .by_others
                .entry(name.clone())
                .or_insert_with(|| (TickSet::new(), now));
            if now.since(*at) > self.options.ping.gap * 2 && !once {
                *set = TickSet::new();
            }
            *at = now;
            if set.intervals() < ASKED {
                set.insert_all(ticks);
            }
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.heard_missing(from);
        }
        if missing.iter().any(|(_, ticks)| !ticks.is_empty()) {
            if self.is_original() {
                return self.answer_at_originals_pace();
            }
            // the node that made an event answers first
            let mine = missing.iter().any(|(name, _)| *name == self.me);
            let most = if mine { self.gap() / 8 } else { self.gap() };
            let at = self.now.after(self.rng.part(most));
            self.resending.at = Some(self.resending.at.map_or(at, |before| before.min(at)));
        }
    }

    /// A node of the original that does not serve yet lacks these. If it has
    /// something later there, which nobody else knows, it does not heed what
    /// is sent to it, and waits for ever: then it is told that it need not.
    pub(super) fn hear_waiting(&mut self, from: &NodeName, missing: &[(NodeName, TickSet)]) {
        let insisting = &mut self.resending.insisting;
        if insisting.len() >= INSISTING && !insisting.contains_key(from) {
            insisting.clear();
        }
        let (before, times) = insisting.entry(from.clone()).or_default();
        if before == missing {
            *times = times.saturating_add(1);
        } else {
            (*before, *times) = (missing.to_vec(), 0);
        }
        if *times >= INSISTS {
            self.resending.settled.extend_from_slice(missing);
            *times = 0;
        }
    }

    /// Somebody says that nobody needs these any more. Who holds one as an
    /// entry's last change knows better, and sends it again: the other may
    /// have given up what it could not hear of.
    pub(super) fn hear_known(&mut self, replica: &Replica, known: &[(NodeName, TickSet)]) {
        if self.is_original() {
            return;
        }
        for (name, ticks) in known {
            let Some(node) = replica.nodes().find(name.as_str()) else {
                continue;
            };
            let Some(held) = replica.nodes().get(node) else {
                continue;
            };
            for (tick, ix) in held.present_among(ticks) {
                let head = replica.tree().get(ix).head() == Some(Link::new(node, Tick(tick)));
                if head && self.resending.objections.len() < SENT_AT_ONCE {
                    self.resending.objections.insert(ix);
                }
            }
        }
        if !self.resending.objections.is_empty() {
            self.resend_within(self.gap());
        }
    }

    /// Sends again what others lack, if it is time to.
    pub(super) fn resend(&mut self, replica: &mut Replica) {
        if self.resending.at.is_none_or(|at| at > self.now) {
            return;
        }
        self.resending.at = None;
        if !self.is_up() {
            return;
        }
        let mut entries = std::mem::take(&mut self.resending.objections);
        // it may have been purged meanwhile
        entries.retain(|ix| replica.tree().get(*ix).head().is_some());
        let mut known = Vec::new();
        let mut answered = Vec::new();
        let mut more = false;
        for (_, name, node) in replica.nodes().iter() {
            if node.reported().is_empty() {
                continue;
            }
            let (mut done, mut superseded) = (TickSet::new(), TickSet::new());
            'all: for range in node.reported().ranges() {
                let (mut from, to) = range.into_inner();
                while from <= to {
                    // no more than can be sent now: there may be millions
                    let part = node.part(from..=to, SENT_AT_ONCE, Look::All);
                    for (tick, ix) in part.present {
                        if entries.len() >= SENT_AT_ONCE && !entries.contains(&ix) {
                            more = true;
                            break 'all;
                        }
                        entries.insert(ix);
                        done.insert(tick);
                    }
                    for range in part.superseded {
                        done.insert_range(range.clone());
                        superseded.insert_range(range);
                    }
                    from = part.upto + 1;
                }
            }
            if !superseded.is_empty() {
                known.push((name.clone(), superseded));
            }
            if !done.is_empty() {
                answered.push((name.clone(), done));
            }
        }
        for (name, done) in answered {
            replica.answered(name.as_str(), &done);
        }
        for ix in entries {
            self.send_again(replica, ix);
            if self.habits.has(Habit::TwoLinks) {
                continue;
            }
            for link in replica.tree().chain(ix).0.iter().skip(2) {
                let name = replica.nodes().name(link.node()).clone();
                let deeper = self.resending.deeper.entry(name).or_default();
                deeper.insert(link.tick().0);
            }
        }
        if more {
            self.resending.at = Some(self.now.after(PAUSE));
        } else {
            let settled = std::mem::take(&mut self.resending.settled);
            let settled = settled.into_iter().map(|(name, set)| {
                let node = replica.nodes().find(name.as_str());
                let held = node.and_then(|node| replica.nodes().get(node));
                // what is not held here may be another's to say
                let held = held.map_or_else(Vec::new, |known| known.present_among(&set));
                let held = held.into_iter().map(|(tick, _)| tick..=tick);
                (name, held.collect())
            });
            let deeper = std::mem::take(&mut self.resending.deeper);
            for (name, ticks) in deeper.into_iter().chain(settled) {
                if TickSet::is_empty(&ticks) {
                    continue;
                }
                match known.iter_mut().find(|(n, _)| *n == name) {
                    Some((_, set)) => set.insert_all(&ticks),
                    None => known.push((name, ticks)),
                }
            }
        }
        if !known.is_empty() {
            let info = NodeInfo {
                deleted: self.deleted_among(replica, &known),
                known: Some(known),
                ..NodeInfo::default()
            };
            self.tell(replica, info);
        }
    }

    /// Sends again soon whatever others are known to lack.
    pub(super) fn resend_within(&mut self, most: Duration) {
        let wait = self.rng.part(most);
        let at = self.now.after(wait);
        self.resending.at.get_or_insert(at);
    }

    /// What this node has given up, for its own bookkeeping.
    pub fn take_given_up(&mut self) -> Option<NodeInfo> {
        self.given_up.take()
    }
}

/// Whether this node knows of events that are later than those of a list.
pub(super) fn is_ahead(replica: &Replica, theirs: &[(NodeName, Option<Tick>)]) -> bool {
    let theirs: BTreeMap<&NodeName, Tick> = theirs
        .iter()
        .map(|(name, tick)| (name, tick.unwrap_or_default()))
        .collect();
    replica.nodes().iter().any(|(_, name, known)| {
        let mine = known.tick().unwrap_or_default();
        mine > theirs.get(name).copied().unwrap_or_default()
    })
}
