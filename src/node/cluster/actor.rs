//! Taking turns: the protocol by which the members of a group agree, without
//! a master, on who says something next (topics `ping` and `del`).
//!
//! About once a cycle one member says that it is its turn, and who had the
//! last ones. Members remember the last few; whoever hears a history that
//! does not fit its own knows that the network was split. The waits are the
//! original's (cluster protocol, 8.1), so that both take turns with each
//! other. Everything here belongs to the group; what a turn or a split is
//! good for is decided by who owns the [`Actor`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::event::{Mark, NodeName, Settings, Turn, TurnValue};
use crate::node::rng::Rng;
use crate::node::time::Timestamp;

/// Values of members that are remembered.
const VALUES: usize = 4096;

/// One member of a group that takes turns.
#[derive(Debug)]
pub struct Actor {
    me: NodeName,
    settings: Settings,
    /// All who are to take turns, if that is known
    group: Vec<NodeName>,
    /// Whose turn it was, newest first
    history: Vec<NodeName>,
    values: BTreeMap<NodeName, Option<TurnValue>>,
    phase: Phase,
    /// A `hist` that is to be said unless its first node speaks itself
    hist: Option<Hist>,
    active: bool,
    /// Whether this node had data when it heard or said something last
    ready: bool,
    /// Whether its waits are the original's in every respect
    original: bool,
    acted: VecDeque<Acted>,
}

/// What a member, or a part of the network, says.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// The value of the history's first node
    pub value: Option<TurnValue>,
    /// Whose turn it was, newest first
    pub history: &'a [NodeName],
    /// Whether another node says it (`hist`)
    pub is_hist: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not connected, or only listening
    Silent,
    /// The next own ping
    Waiting(Timestamp),
    /// The own ping is under way; tagged from this time on
    Sent(Timestamp),
    /// It is this node's turn, until then
    Tagged(Timestamp),
}

#[derive(Debug)]
struct Hist {
    at: Timestamp,
    history: Vec<NodeName>,
    value: Option<TurnValue>,
}

/// What an [`Actor`] wants or has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acted {
    /// Time to ping: the owner adds its value and [says it](Actor::ping).
    Due,
    /// To be said
    Say(Turn),
    /// It is this node's turn now.
    Tagged,
    /// Another member's turn has been accepted.
    Accepted {
        /// Whose
        node: NodeName,
        /// Its value
        value: Option<TurnValue>,
        /// How many the history names
        names: usize,
    },
    /// The network was split, and this node is among those that mend it.
    Split {
        /// This node's place among its side's, from 0
        place: u32,
        /// Who is on this side only
        local: Vec<NodeName>,
        /// Who is on the other side only
        remote: Vec<NodeName>,
    },
    /// Two histories met that have both one name: perhaps a split.
    Met,
}

impl Actor {
    /// A member that is not connected yet.
    #[must_use]
    pub const fn new(me: NodeName, settings: Settings) -> Self {
        Self {
            me,
            settings,
            group: Vec::new(),
            history: Vec::new(),
            values: BTreeMap::new(),
            phase: Phase::Silent,
            hist: None,
            active: true,
            ready: false,
            original: false,
            acted: VecDeque::new(),
        }
    }

    /// Has it wait as the original does, in every respect.
    pub(super) const fn set_original(&mut self, original: bool) {
        self.original = original;
    }

    /// The group's settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whose turn it was, newest first.
    #[must_use]
    pub fn history(&self) -> &[NodeName] {
        &self.history
    }

    /// What a member said of itself.
    #[must_use]
    pub fn value(&self, node: &NodeName) -> Option<TurnValue> {
        self.values.get(node).copied().flatten()
    }

    /// Whether it is this node's turn.
    #[must_use]
    pub const fn is_tagged(&self) -> bool {
        matches!(self.phase, Phase::Tagged(_))
    }

    /// Begins to listen and, if `active`, to take turns.
    pub fn start(&mut self, now: Timestamp, active: bool, rng: &mut Rng) {
        self.active = active;
        self.hist = None;
        let wait = self.in_gaps(1.0, 1.5 + rng.fraction() / 2.0);
        self.phase = if active {
            Phase::Waiting(now.after(wait))
        } else {
            Phase::Silent
        };
    }

    /// Begins anew with other settings, at once. `group` are all who are to
    /// take turns: none of them is left out for long, if it is there.
    pub fn restart(
        &mut self,
        now: Timestamp,
        active: bool,
        settings: Settings,
        group: Vec<NodeName>,
    ) {
        self.settings = settings;
        self.group = group;
        self.active = active;
        self.history.clear();
        self.hist = None;
        self.phase = if active {
            Phase::Waiting(now)
        } else {
            Phase::Silent
        };
    }

    /// Nothing can be said or heard.
    pub fn stop(&mut self) {
        self.phase = Phase::Silent;
        self.hist = None;
    }

    /// What it wants or has found next; ask after every input.
    pub fn poll(&mut self) -> Option<Acted> {
        self.acted.pop_front()
    }

    /// When [`Actor::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let phase = match self.phase {
            Phase::Silent => None,
            Phase::Waiting(at) | Phase::Sent(at) | Phase::Tagged(at) => Some(at),
        };
        let hist = self.hist.as_ref().map(|h| h.at);
        [phase, hist].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.hist.as_ref().is_some_and(|h| h.at <= now)
            && let Some(Hist { history, value, .. }) = self.hist.take()
        {
            self.acted
                .push_back(Acted::Say(Turn::Hist { value, history }));
        }
        match self.phase {
            Phase::Waiting(at) if at <= now => self.acted.push_back(Acted::Due),
            Phase::Sent(at) if at <= now => {
                let turn = self
                    .settings
                    .cycle
                    .saturating_sub(self.settings.gap.mul_f64(0.5));
                self.phase = Phase::Tagged(now.after(turn));
                self.acted.push_back(Acted::Tagged);
            }
            Phase::Tagged(at) if at <= now => {
                let wait = self.settings.gap.mul_f64(1.5) + self.patience();
                self.phase = Phase::Waiting(now.after(wait));
            }
            _ => {}
        }
    }

    /// This node takes its turn: what it says.
    pub fn ping(
        &mut self,
        now: Timestamp,
        value: Option<TurnValue>,
        mark: Option<Mark>,
        rng: &mut Rng,
    ) -> Turn {
        self.ready = value.is_some();
        let alone = self.history.is_empty();
        self.values.insert(self.me.clone(), value);
        self.promote(self.me.clone());
        self.phase = if alone {
            Phase::Waiting(now.after(self.next_wait(rng)))
        } else {
            Phase::Sent(now.after(self.settings.gap))
        };
        let names = self.settings.splits.max(1) as usize;
        Turn::Ping {
            node: self.me.clone(),
            value,
            history: self.history.iter().take(names).cloned().collect(),
            mark,
        }
    }

    /// A member had its turn, or a part of the network says whose was the
    /// last one there (`hist`). `ready` says whether this node has data to
    /// mend a split with.
    pub fn hear(&mut self, now: Timestamp, heard: Heard<'_>, ready: bool, rng: &mut Rng) {
        let Heard {
            value,
            history,
            is_hist,
        } = heard;
        self.ready = ready;
        let Some(sender) = history.first() else {
            return;
        };
        if *sender == self.me {
            return;
        }
        self.remember(sender, value);
        if self.history.first() == Some(sender) {
            return;
        }
        // whoever speaks needs nobody to speak for it
        if !is_hist
            && let Some(hist) = &self.hist
            && hist.history.first() == Some(sender)
        {
            self.hist = None;
        }
        let last = self.history.first().cloned();
        let follows = last.is_none() || history.get(1) == last.as_ref();
        if follows {
            if last.is_some() && is_hist {
                return;
            }
            if last.is_none() {
                self.history = history.iter().skip(1).cloned().collect();
                self.cut();
            }
            self.promote(sender.clone());
            self.accept(now, heard, rng);
            return;
        }
        self.collide(now, heard, ready, rng);
    }

    /// A history that does not continue this node's.
    fn collide(&mut self, now: Timestamp, heard: Heard<'_>, ready: bool, rng: &mut Rng) {
        let Heard {
            value,
            history,
            is_hist,
        } = heard;
        let (Some(sender), Some(last)) = (history.first(), self.history.first().cloned()) else {
            return;
        };
        let mine = (self.value(&last), std::cmp::Reverse(last.clone()));
        let wins = (value, std::cmp::Reverse(sender.clone())) > mine;
        let before = self.history.clone();
        let both_alone = history.len() == 1 && before.len() == 1;
        let same_ping = history.get(1).is_some() && history.get(1) == before.get(1);
        let mended = self.hist.as_ref().map(|h| h.history.clone());
        if wins {
            self.history = history.to_vec();
            self.cut();
            // a tag that another's turn takes away
            self.phase = Phase::Silent;
            self.accept(now, heard, rng);
        }
        if both_alone {
            self.acted.push_back(Acted::Met);
        }
        let place = before.iter().position(|n| *n == self.me);
        let Some(place) = place.filter(|_| ready && !same_ping && !both_alone) else {
            return;
        };
        let only = |a: &[NodeName], b: &[NodeName]| -> Vec<NodeName> {
            a.iter().filter(|n| !b.contains(n)).cloned().collect()
        };
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        self.acted.push_back(Acted::Split {
            place,
            local: only(&before, history),
            remote: only(history, &before),
        });
        // answered once, for the side this node was on
        if !is_hist && mended.as_ref() != Some(&before) {
            let names = self.settings.splits.max(1) as usize;
            let wait = self.settings.gap.mul_f64(1.0 - half_to(place));
            self.hist = Some(Hist {
                at: now.after(wait),
                value: self.value(&last),
                history: before.into_iter().take(names).collect(),
            });
        }
    }

    /// The turn that this node's history now begins with is taken for one.
    fn accept(&mut self, now: Timestamp, heard: Heard<'_>, rng: &mut Rng) {
        if self.active {
            self.phase = Phase::Waiting(now.after(self.next_wait(rng)));
        }
        if let Some(node) = heard.history.first() {
            self.acted.push_back(Acted::Accepted {
                node: node.clone(),
                value: heard.value,
                names: heard.history.len(),
            });
        }
    }

    fn remember(&mut self, node: &NodeName, value: Option<TurnValue>) {
        if self.values.len() >= VALUES && !self.values.contains_key(node) {
            let here = &self.history;
            self.values.retain(|name, _| here.contains(name));
        }
        self.values.insert(node.clone(), value);
    }

    /// A name moves to the front of the history. Names that are not heard
    /// any more leave it little by little.
    fn promote(&mut self, name: NodeName) {
        let capacity = self.capacity();
        match self.history.iter().position(|n| *n == name) {
            Some(place) => {
                let last = place + 1 == self.history.len();
                self.history.remove(place);
                if !last {
                    self.history.pop();
                }
            }
            None if self.history.len() >= capacity => {
                self.history.pop();
            }
            None => {}
        }
        self.history.insert(0, name);
    }

    fn capacity(&self) -> usize {
        match self.settings.nodes {
            // all that are there, as far as memory should go
            0 => VALUES,
            n => n as usize,
        }
    }

    fn cut(&mut self) {
        let capacity = self.capacity();
        let mut kept: Vec<NodeName> = Vec::new();
        for name in std::mem::take(&mut self.history) {
            if kept.len() < capacity && !kept.contains(&name) {
                kept.push(name);
            }
        }
        self.history = kept;
    }

    /// How long after a turn this node would take the next one.
    fn next_wait(&self, rng: &mut Rng) -> Duration {
        let r = rng.fraction();
        let history = &self.history;
        if !self.group.is_empty() {
            return self.wait_in_group(r);
        }
        let capacity = u32::try_from(self.capacity()).unwrap_or(u32::MAX);
        let len = u32::try_from(history.len()).unwrap_or(u32::MAX);
        let (Some(first), length) = (history.first(), (len + 1).min(capacity.saturating_add(1)))
        else {
            return self.in_gaps(1.0, 1.9 - r / 5.0);
        };
        if *first == self.me {
            return self.in_gaps(1.0, 2.0);
        }
        let with_value = history.iter().position(|n| self.value(n).is_some());
        let place = |p: usize| u32::try_from(p + 1).unwrap_or(u32::MAX);
        if with_value.map_or(0, place) > length / 2 {
            return self.in_gaps(1.0, 2.0 + r / 3.0);
        }
        // nobody of these has data, and they wait for somebody who has: that
        // one goes first (the original gets its turn by chance, and rarely)
        if with_value.is_none() && !self.original {
            let wait = if self.ready { r * 0.8 } else { 2.0 + r / 3.0 };
            return self.in_gaps(1.0, wait);
        }
        if let Some(mine) = history.iter().position(|n| *n == self.me) {
            let behind = (length + 1).saturating_sub(place(mine));
            return self.in_gaps(1.0, 1.0 - half_to(behind) / 2.0);
        }
        let heard = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        let total = heard.max(self.settings.n_hosts).max(1);
        let room = match self.settings.nodes.saturating_sub(len) {
            0 => total,
            room => room,
        };
        if rng.below(u64::from(room) * u64::from(total)) == 0 {
            self.in_gaps(1.0, r / 3.0)
        } else {
            self.in_gaps(1.0, 1.5 + r / 2.0)
        }
    }

    /// How long after a turn this node would take the next one where all who
    /// are to take turns are known. Whoever is not on the list goes first,
    /// and the others leave it the time to, so that soon all are on it. Then
    /// the last of the list goes first, because a turn out of order costs the
    /// last its place.
    ///
    /// The original's nodes get on the list by chance, and the waits of those
    /// that are on it are closer to each other.
    fn wait_in_group(&self, r: f64) -> Duration {
        #[allow(clippy::cast_precision_loss)] // some hundred names at most
        let number = |n: usize| n as f64;
        let absent = self.group.iter().filter(|n| !self.history.contains(n));
        let absent: Vec<&NodeName> = absent.collect();
        if let Some(n) = absent.iter().position(|n| **n == self.me) {
            return self.in_gaps(1.0, (number(n) + r) / number(absent.len()) / 2.0);
        }
        let behind = self.history.iter().rev().position(|n| *n == self.me);
        match behind.unwrap_or_default() {
            0 if absent.is_empty() => self.in_gaps(1.0, 0.875),
            n => {
                let part = number(n) / number(self.history.len().max(1));
                self.in_gaps(1.0, 1.0 + part / 2.0) + self.patience()
            }
        }
    }

    /// How much longer this node waits for another's turn where all who are
    /// to take turns are known: the other's clock may be slow.
    fn patience(&self) -> Duration {
        match self.group.len() {
            0 | 1 => Duration::ZERO,
            _ => self.settings.cycle / 4,
        }
    }

    fn in_gaps(&self, cycles: f64, gaps: f64) -> Duration {
        self.settings.cycle.mul_f64(cycles) + self.settings.gap.mul_f64(gaps)
    }
}

/// 2 to the power of −n.
pub(super) fn half_to(n: u32) -> f64 {
    0.5f64.powi(i32::try_from(n).unwrap_or(i32::MAX).min(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: &str) -> NodeName {
        NodeName::new(n)
    }

    fn names(list: &[&str]) -> Vec<NodeName> {
        list.iter().map(|n| name(n)).collect()
    }

    fn actor(me: &str) -> Actor {
        Actor::new(name(me), Settings::PING)
    }

    fn hear(actor: &mut Actor, now: u64, value: Option<TurnValue>, history: &[&str]) -> Vec<Acted> {
        let mut rng = Rng::new(1);
        let now = Timestamp(now * 1_000_000);
        let heard = Heard {
            value,
            history: &names(history),
            is_hist: false,
        };
        actor.hear(now, heard, true, &mut rng);
        std::iter::from_fn(|| actor.poll()).collect()
    }

    #[test]
    fn the_history_is_kept_as_the_original_keeps_it() {
        let mut a = actor("a");
        for n in ["b", "c", "d"] {
            a.promote(name(n));
        }
        assert_eq!(a.history(), names(&["d", "c", "b"]));
        a.promote(name("b"));
        assert_eq!(a.history(), names(&["b", "d", "c"]), "the last one moves");
        a.promote(name("d"));
        assert_eq!(a.history(), names(&["d", "b"]), "and others push one out");
        for n in ["e", "f", "g", "h"] {
            a.promote(name(n));
        }
        assert_eq!(a.history(), names(&["h", "g", "f", "e", "d"]));
    }

    /// Two nodes of the original that join alternate, and wait for a value in
    /// somebody's ping. Theirs come 0.875 gaps after a cycle.
    #[test]
    fn a_node_with_data_goes_before_those_that_wait_for_it() {
        for (ready, gaps) in [(true, 0.0..0.8), (false, 2.0..2.34)] {
            let mut rng = Rng::new(3);
            for _ in 0..50 {
                let mut a = actor("a");
                let history = names(&["b", "c"]);
                let heard = Heard {
                    value: None,
                    history: &history,
                    is_hist: false,
                };
                a.hear(Timestamp(0), heard, ready, &mut rng);
                let wait = a.next_timeout().unwrap().since(Timestamp(0));
                let bounds = a.in_gaps(1.0, gaps.start)..a.in_gaps(1.0, gaps.end);
                assert!(bounds.contains(&wait), "{ready} {wait:?}");
            }
        }
    }

    #[test]
    fn two_nodes_take_turns() {
        let mut rng = Rng::new(7);
        let mut nodes = [actor("a"), actor("b")];
        for node in &mut nodes {
            node.start(Timestamp(0), true, &mut rng);
        }
        let mut said = Vec::new();
        let mut tagged = Vec::new();
        let mut now = Timestamp(0);
        while now < Timestamp(120_000_000) {
            let due = |n: &Actor| n.next_timeout().unwrap();
            let who = usize::from(due(&nodes[1]) < due(&nodes[0]));
            now = due(&nodes[who]);
            nodes[who].handle_timeout(now);
            while let Some(acted) = nodes[who].poll() {
                match acted {
                    Acted::Due => {
                        let turn = nodes[who].ping(now, Some((5, 1)), None, &mut rng);
                        said.push((now.0, who));
                        let Turn::Ping { value, history, .. } = turn else {
                            panic!("{turn:?}")
                        };
                        let heard = Heard {
                            value,
                            history: &history,
                            is_hist: false,
                        };
                        let other = &mut nodes[1 - who];
                        other.hear(now, heard, true, &mut rng);
                        while let Some(acted) = other.poll() {
                            assert!(!matches!(acted, Acted::Split { .. }));
                        }
                    }
                    Acted::Tagged => tagged.push(who),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(said.len() >= 8, "{said:?}");
        for pair in said[1..].windows(2) {
            assert_ne!(pair[0].1, pair[1].1, "in turn: {said:?}");
            assert_eq!(pair[1].0 - pair[0].0, 11_750_000, "each C + 0.875 G");
        }
        assert!(tagged.len() + 2 >= said.len());
    }

    #[test]
    fn a_history_that_does_not_fit_is_a_split() {
        let mut a = actor("a");
        hear(&mut a, 1, Some((5, 1)), &["b"]);
        a.promote(name("a"));
        hear(&mut a, 3, Some((6, 1)), &["b", "a"]);
        let out = hear(&mut a, 5, Some((9, 1)), &["c", "d"]);
        let split = out.iter().find_map(|acted| match acted {
            Acted::Split {
                place,
                local,
                remote,
            } => Some((*place, local.clone(), remote.clone())),
            _ => None,
        });
        let want = (1, names(&["b", "a"]), names(&["c", "d"]));
        assert_eq!(split, Some(want));
        assert_eq!(a.history(), names(&["c", "d"]), "the greater value wins");
        // half a gap later it speaks for its side
        a.handle_timeout(Timestamp(6_000_000));
        let out: Vec<Acted> = std::iter::from_fn(|| a.poll()).collect();
        let hist = Turn::Hist {
            value: Some((6, 1)),
            history: names(&["b", "a"]),
        };
        assert_eq!(out, [Acted::Say(hist)]);
        // the lesser one is heard, and not followed
        let out = hear(&mut a, 7, Some((8, 1)), &["e", "f"]);
        assert!(out.is_empty(), "not on the list any more: {out:?}");
        assert_eq!(a.history(), names(&["c", "d"]));
    }

    #[test]
    fn whoever_speaks_needs_nobody_to_speak_for_it() {
        let mut a = actor("a");
        hear(&mut a, 1, Some((5, 1)), &["b"]);
        a.promote(name("a"));
        hear(&mut a, 3, Some((6, 1)), &["b", "a"]);
        hear(&mut a, 5, Some((9, 1)), &["c", "d"]);
        assert!(a.hist.is_some());
        hear(&mut a, 5, Some((6, 1)), &["b", "a"]);
        assert!(a.hist.is_none());
    }
}
