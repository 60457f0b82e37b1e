//! Agreeing that a deletion may be forgotten (topic `del`).
//!
//! A deleted entry stays as a mark, so that an older value that comes late
//! does not bring it back. The nodes that `:null actor del` names, the
//! deleters, take turns among themselves; when all of them have had turns
//! enough since a deletion, every node purges its mark. Without deleters,
//! or while one of them is away, all marks stay.
//!
//! The counting is the original's (cluster protocol, 10). What differs: a
//! node that still lacks events, or whose own have not reached the others,
//! does not count its turn; only marks are purged, never entries that were
//! written again, nor their neighbours; and a node that was away while marks
//! were purged compares itself with a peer, instead of asking for deletions
//! to be declared.

use std::collections::VecDeque;
use std::time::Duration;

use crate::event::{Link, NodeName, Settings, Tock, Turn, TurnValue};
use crate::node::rng::Rng;
use crate::node::time::Timestamp;
use crate::node::tree::Ix;

use super::actor::{Acted, Actor, Heard};

/// How often deletions get their stamp.
const STAMP: Duration = Duration::from_secs(10);
/// Marks that are purged in one turn.
const PURGED_AT_ONCE: usize = 256;
/// Stamps that a deleter remembers of its own turns.
const TAGS: usize = 4;
/// Turns that a deleter has before it counts.
const OWN_TURNS: u32 = 2;

/// A deletion that may be forgotten one day.
#[derive(Debug, Clone, Copy)]
struct Mark {
    stamp: Tock,
    ix: Ix,
    head: Link,
}

/// This node's part in the agreement.
#[derive(Debug)]
pub struct Deleter {
    me: NodeName,
    settings: Settings,
    group: Vec<NodeName>,
    actor: Actor,
    fresh: VecDeque<(Ix, Link)>,
    stamped: VecDeque<Mark>,
    stamp_at: Option<Timestamp>,
    /// Marks stamped no later than this are being purged.
    limit: Tock,
    tags: VecDeque<u64>,
    own_turns: u32,
    others_turns: u32,
    /// The newest tag heard from others
    newest: u64,
    /// The last turn of a burst, which counts then
    burst: Option<(Timestamp, Option<TurnValue>, usize)>,
    /// Marks were purged elsewhere that this node may not know of.
    behind: bool,
    /// It is to take turns as the original does.
    original: bool,
}

impl Deleter {
    pub(super) fn new(me: NodeName, settings: Settings) -> Self {
        Self {
            actor: Actor::new(me.clone(), settings.clone()),
            me,
            settings,
            group: Vec::new(),
            fresh: VecDeque::new(),
            stamped: VecDeque::new(),
            stamp_at: None,
            limit: Tock(0),
            tags: VecDeque::new(),
            own_turns: 0,
            others_turns: 0,
            newest: 0,
            burst: None,
            behind: false,
            original: false,
        }
    }

    pub(super) const fn set_original(&mut self, original: bool) {
        self.original = original;
        self.actor.set_original(original);
    }

    /// How many deletions wait to be forgotten.
    #[must_use]
    pub fn marks(&self) -> usize {
        self.fresh.len() + self.stamped.len()
    }

    /// When the oldest of them got its stamp, in the network's logical time.
    #[must_use]
    pub fn oldest(&self) -> Option<Tock> {
        self.stamped.front().map(|mark| mark.stamp)
    }

    /// Whether marks may have been purged elsewhere while this node was away.
    #[must_use]
    pub const fn is_behind(&self) -> bool {
        self.behind
    }

    pub(super) const fn caught_up(&mut self) {
        self.behind = false;
    }

    /// Other nodes are the deleters now.
    pub(super) fn set_group(&mut self, now: Timestamp, group: Vec<NodeName>, up: bool) {
        if group == self.group {
            return;
        }
        let active = group.contains(&self.me);
        let n = u32::try_from(group.len()).unwrap_or(u32::MAX);
        let mut settings = self.settings.clone();
        // all of them take turns, and are named by who has one
        settings.nodes = settings.nodes.max(n);
        settings.splits = settings.splits.max(n);
        self.group = group;
        // the original's nodes do not know whom they wait for
        let known = if self.original {
            Vec::new()
        } else {
            self.group.clone()
        };
        self.actor.restart(now, active && up, settings, known);
        self.tags.clear();
        self.own_turns = 0;
        self.others_turns = 0;
        self.burst = None;
    }

    pub(super) fn start(&mut self, now: Timestamp, rng: &mut Rng) {
        let active = self.group.contains(&self.me);
        self.actor.start(now, active, rng);
    }

    pub(super) fn stop(&mut self) {
        self.actor.stop();
        self.burst = None;
        self.own_turns = 0;
        self.others_turns = 0;
    }

    /// An entry has been deleted.
    pub(super) fn deleted(&mut self, now: Timestamp, ix: Ix, head: Link) {
        self.fresh.push_back((ix, head));
        self.stamp_at.get_or_insert_with(|| now.after(STAMP));
    }

    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        let stamp = self.stamp_at.filter(|_| !self.fresh.is_empty());
        let burst = self.burst.as_ref().map(|(at, ..)| *at);
        let purge = self.has_purgeable().then_some(Timestamp(0));
        [self.actor.next_timeout(), stamp, burst, purge]
            .into_iter()
            .flatten()
            .min()
    }

    fn has_purgeable(&self) -> bool {
        self.stamped.front().is_some_and(|m| m.stamp <= self.limit)
    }

    /// A deleter says something.
    pub(super) fn hear(&mut self, now: Timestamp, turn: &Turn, rng: &mut Rng) {
        let (value, history, is_hist) = match turn {
            Turn::Init(_) | Turn::Vers(..) => return,
            Turn::Ping { value, history, .. } => (*value, history, false),
            Turn::Hist { value, history } => (*value, history, true),
        };
        let heard = Heard {
            value,
            history,
            is_hist,
        };
        self.actor.hear(now, heard, false, rng);
    }

    /// Time has passed. `complete` says whether this node has all events and
    /// the others have all of its own. Returns what it says.
    pub(super) fn handle_timeout(
        &mut self,
        now: Timestamp,
        tock: Tock,
        complete: bool,
        rng: &mut Rng,
    ) -> Vec<Turn> {
        if self.stamp_at.is_some_and(|at| at <= now) {
            self.stamp_at = None;
            let stamp = tock;
            let fresh = self.fresh.drain(..);
            self.stamped
                .extend(fresh.map(|(ix, head)| Mark { stamp, ix, head }));
        }
        if let Some((at, value, names)) = self.burst
            && at <= now
        {
            self.burst = None;
            self.count_turn(value, names);
        }
        self.actor.handle_timeout(now);
        let mut said = Vec::new();
        while let Some(acted) = self.actor.poll() {
            match acted {
                Acted::Due => {
                    let value = self.value();
                    said.push(self.actor.ping(now, value, None, rng));
                }
                Acted::Say(turn) => said.push(turn),
                Acted::Tagged => self.tagged(tock, complete),
                Acted::Accepted { value, names, .. } => {
                    if !self.actor.is_tagged() && !self.group.is_empty() {
                        let at = self.burst.as_ref().map(|(at, ..)| *at);
                        let at = at.unwrap_or_else(|| now.after(self.settings.gap * 2));
                        self.burst = Some((at, value, names));
                    }
                }
                Acted::Split { .. } | Acted::Met => {}
            }
        }
        said
    }

    fn value(&self) -> Option<TurnValue> {
        Some((*self.tags.front()?, *self.tags.back()?))
    }

    /// This node's turn has come.
    fn tagged(&mut self, tock: Tock, complete: bool) {
        if self.actor.history().len() != self.group.len() || !complete {
            self.own_turns = 0;
            self.others_turns = 0;
            return;
        }
        self.own_turns = self.own_turns.saturating_add(1);
        if self.own_turns > OWN_TURNS
            && let Some(oldest) = self.tags.front()
        {
            self.limit = self.limit.max(Tock(*oldest));
        }
        if self.tags.len() >= TAGS {
            self.tags.pop_front();
        }
        self.tags.push_back(tock.0);
    }

    /// Another deleter has had its turn.
    fn count_turn(&mut self, value: Option<TurnValue>, names: usize) {
        let Some((oldest, newest)) = value.filter(|_| names >= self.group.len()) else {
            self.own_turns = 0;
            self.others_turns = 0;
            return;
        };
        self.others_turns = self.others_turns.saturating_add(1);
        if self.others_turns as usize > self.group.len() {
            if self.newest > 0 && oldest > self.newest {
                // nothing was heard for so long that marks may be gone
                self.behind = true;
            } else if !self.behind {
                self.limit = self.limit.max(Tock(oldest));
            }
        }
        self.newest = self.newest.max(newest);
    }

    /// The next marks to purge.
    pub(super) fn purge(&mut self) -> Vec<(Ix, Link)> {
        let mut list = Vec::new();
        while list.len() < PURGED_AT_ONCE && self.has_purgeable() {
            if let Some(mark) = self.stamped.pop_front() {
                list.push((mark.ix, mark.head));
            }
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{NodeIx, Tick};

    const LINK: Link = Link::new(NodeIx(0), Tick(1));

    fn group() -> Vec<NodeName> {
        vec![NodeName::new("a"), NodeName::new("b")]
    }

    /// Deleters that hear each other after a while, each with a clock of its
    /// own pace, driven for some turns.
    struct Group {
        nodes: Vec<Deleter>,
        purged: Vec<usize>,
        /// What each says of itself
        complete: Vec<bool>,
        /// How fast each one's clock is, in parts of a thousand
        paces: Vec<u64>,
        under_way: VecDeque<(Timestamp, usize, Turn)>,
        rng: Rng,
        now: Timestamp,
        tock: u64,
        turns: usize,
    }

    impl Group {
        fn new(size: usize, seed: u64) -> Self {
            let mut rng = Rng::new(seed);
            let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
            let group: Vec<NodeName> = names[..size].iter().map(|n| NodeName::new(n)).collect();
            let mut nodes = Vec::new();
            for name in &group {
                let mut node = Deleter::new(name.clone(), Settings::DELETE);
                node.start(Timestamp(0), &mut rng);
                node.set_group(Timestamp(0), group.clone(), true);
                nodes.push(node);
            }
            Self {
                nodes,
                purged: vec![0; size],
                complete: vec![true; size],
                paces: (0..size).map(|_| 950 + rng.below(101)).collect(),
                under_way: VecDeque::new(),
                rng,
                now: Timestamp(0),
                tock: 100,
                turns: 0,
            }
        }

        /// One node's time-out, or one message.
        fn step(&mut self) {
            let due = |(n, d): (usize, &Deleter)| {
                let shown = d.next_timeout().unwrap().0;
                (Timestamp((shown * 1000).div_ceil(self.paces[n])), n)
            };
            let (at, who) = (0..).zip(&self.nodes).map(due).min().unwrap();
            let who = match self.under_way.front() {
                Some((arrives, to, turn)) if *arrives <= at => {
                    self.now = self.now.max(*arrives);
                    let (to, turn) = (*to, turn.clone());
                    let local = self.local(to);
                    self.nodes[to].hear(local, &turn, &mut self.rng);
                    self.under_way.pop_front();
                    to
                }
                _ => {
                    self.now = self.now.max(at);
                    who
                }
            };
            self.tock += 1;
            let (tock, complete) = (Tock(self.tock), self.complete[who]);
            let local = self.local(who);
            let said = self.nodes[who].handle_timeout(local, tock, complete, &mut self.rng);
            for turn in said {
                self.turns += 1;
                let arrives = self.now.after(Duration::from_millis(50));
                let others = (0..self.nodes.len()).filter(|n| *n != who);
                self.under_way
                    .extend(others.map(|n| (arrives, n, turn.clone())));
            }
            self.purged[who] += self.nodes[who].purge().len();
        }

        fn run(&mut self, turns: usize) {
            let end = self.turns + turns;
            while self.turns < end {
                self.step();
            }
        }

        fn local(&self, n: usize) -> Timestamp {
            Timestamp(self.now.0 * self.paces[n] / 1000)
        }

        fn delete(&mut self) {
            for n in 0..self.nodes.len() {
                let local = self.local(n);
                self.nodes[n].deleted(local, Ix::from_number(7), LINK);
            }
        }

        /// Turns until all have purged their mark
        fn turns_to_purge(&mut self) -> usize {
            let begin = self.turns;
            while self.purged.contains(&0) {
                self.step();
                assert!(self.turns - begin < 1000, "it takes for ever");
            }
            self.turns - begin
        }
    }

    #[test]
    fn a_mark_is_purged_when_all_have_had_turns_enough() {
        for seed in 0..50 {
            for size in 1..=9 {
                let mut group = Group::new(size, seed);
                group.run(2);
                group.delete();
                let turns = group.turns_to_purge();
                let bounds = 2 * size..=7 * size + 5;
                assert!(bounds.contains(&turns), "{turns} turns of {size}");
                assert!(group.nodes.iter().all(|n| n.marks() == 0));
            }
        }
    }

    #[test]
    fn marks_stay_while_one_lacks_events() {
        for size in 2..=9 {
            let mut group = Group::new(size, 1);
            group.delete();
            group.complete[1] = false;
            group.run(40 * size);
            assert!(group.purged.iter().all(|n| *n == 0));
            assert!(group.nodes.iter().all(|n| n.marks() == 1));
            group.complete[1] = true;
            let turns = group.turns_to_purge();
            assert!(turns <= 7 * size + 5, "{turns} turns of {size}");
        }
    }

    #[test]
    fn marks_stay_without_deleters_and_without_all_of_them() {
        let mut alone = Deleter::new(NodeName::new("a"), Settings::DELETE);
        let mut rng = Rng::new(1);
        alone.start(Timestamp(0), &mut rng);
        alone.set_group(Timestamp(0), group(), true);
        alone.deleted(Timestamp(0), Ix::from_number(7), LINK);
        for n in 1..60 {
            let now = alone.next_timeout().unwrap();
            alone.handle_timeout(now, Tock(n), true, &mut rng);
            assert!(alone.purge().is_empty());
        }
        alone.set_group(Timestamp(1 << 40), Vec::new(), true);
        assert!(alone.next_timeout().is_none(), "nothing to say any more");
        assert_eq!(alone.marks(), 1);
    }
}
