//! What a store holds, and the rule by which events change it.
//!
//! [`Replica`] is tree, ticks and tock together. [`Replica::write`] makes an
//! event of this node; [`Replica::apply`] takes in any node's event. Which of
//! two events wins depends on nothing but the two: the greater `(tock, node
//! name, tick)` of their newest links. So all nodes that have seen the same
//! events hold the same values, in whatever order they came.
//!
//! Differs from the original, which lets the later arrival win a tie, a write
//! win over any concurrent deletion, and the later tick of a node that started
//! again win over a greater tock (`docs/replication.md`).

mod original;

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::event::{
    ChainEnd, Event, Link, MAX_COUNTER, NamedLink, NodeInfo, NodeIx, NodeName, StateWanted, Tick,
    TickSet, Tock,
};
use crate::node::habits::Habit;
use crate::node::ticks::{Known, Nodes};
use crate::node::tree::{Ix, Tree};
use crate::path::{ElemError, PathRef, RawPath};

use original::Past;

/// Changes that a watch may have missed and still resume.
const REMEMBERED: usize = 65_536;

/// The counters of this node are used up: no write is possible any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted;

/// What became of an event from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The entry's state is the event's now.
    Changed(Ix),
    /// The entry had this event, or something newer.
    Ignored,
    /// The entry has a concurrent change that wins.
    Lost(Ix),
}

/// Tree, ticks and tock of one node.
#[derive(Debug)]
pub struct Replica {
    tree: Tree,
    nodes: Nodes,
    me: NodeIx,
    internal: Ix,
    tock: Tock,
    /// The value before the last change
    old: Vec<u8>,
    /// Memory for an event's chain
    links: Vec<Link>,
    changes: Changes,
    /// Sum of the marks of the newest events of all entries with a value
    sum: u64,
    /// The original may decide otherwise on the last event taken in
    contested: bool,
    /// Nodes of the original are in the network.
    mixed: bool,
    /// What a machine needs that stands for one of them
    past: Past,
}

/// The changes applied since this run began, by number.
#[derive(Debug)]
struct Changes {
    /// Tells this run from others.
    run: u64,
    /// Number of the last change.
    last: u64,
    /// The entries of the last changes, newest last.
    recent: VecDeque<Ix>,
}

impl Replica {
    /// An empty store of node `name`. `hash_key` and `run` are random
    /// numbers: against chosen names, and to tell this run from others.
    #[must_use]
    pub fn new(name: &NodeName, hash_key: u64, run: u64) -> Self {
        let mut tree = Tree::new(hash_key);
        let mut nodes = Nodes::new(hash_key);
        let me = nodes.ensure(name.as_str());
        let internal = tree
            .ensure_child(Ix::ROOT, b"\xc0")
            .expect("invariant: null is an element");
        let changes = Changes {
            run,
            last: 0,
            recent: VecDeque::new(),
        };
        Self {
            tree,
            nodes,
            me,
            internal,
            tock: Tock(0),
            old: Vec::new(),
            links: Vec::new(),
            changes,
            sum: 0,
            contested: false,
            mixed: false,
            past: Past::default(),
        }
    }

    /// About so many entries will come.
    pub fn expect(&mut self, entries: usize) {
        self.tree.reserve(entries);
    }

    /// The entries.
    #[inline]
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The nodes and their ticks.
    #[must_use]
    pub const fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// This node.
    #[must_use]
    pub const fn me(&self) -> NodeIx {
        self.me
    }

    /// This node's name.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        self.nodes.name(self.me)
    }

    /// This node's last tick; `None` before its first event.
    #[must_use]
    pub fn tick(&self) -> Option<Tick> {
        self.nodes.get(self.me).and_then(Known::tick)
    }

    /// The entry below which internal data are.
    #[must_use]
    pub const fn internal(&self) -> Ix {
        self.internal
    }

    /// The present tock.
    #[must_use]
    pub const fn tock(&self) -> Tock {
        self.tock
    }

    /// A fresh tock: greater than all before.
    #[inline]
    pub const fn next_tock(&mut self) -> Tock {
        self.tock.0 = self.tock.0.saturating_add(1);
        self.tock
    }

    /// A tock that somebody else used.
    pub fn saw_tock(&mut self, tock: Tock) {
        self.tock = self.tock.max(tock);
    }

    /// The value that the last change replaced.
    #[must_use]
    pub fn old_value(&self) -> &[u8] {
        &self.old
    }

    /// A number that is the same on all nodes that hold the same entries
    /// with the same last changes, and hardly ever on others.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// Whether the original may decide otherwise on the last event taken in:
    /// its tock was that of the event it was measured with, or what the tocks
    /// say is not what the chains say.
    #[must_use]
    pub const fn was_contested(&self) -> bool {
        self.contested
    }

    /// Whether nodes of the original are in the network.
    #[must_use]
    pub const fn is_mixed(&self) -> bool {
        self.mixed
    }

    /// Says whether nodes of the original are in the network.
    pub const fn set_mixed(&mut self, mixed: bool) {
        self.mixed = mixed;
    }

    /// This node goes on after this tick. Ticks up to it that were never
    /// seen are of no interest to anybody.
    pub fn begin_after(&mut self, tick: Tick) {
        if let Some(known) = self.nodes.get_mut(self.me) {
            let seen = known.tick().unwrap_or_default();
            known.learn(tick);
            known.supersede_all(&std::iter::once(seen.0 + 1..=tick.0).collect());
        }
    }

    /// A name that exists, and perhaps its last tick.
    pub fn saw_node(&mut self, name: &str, tick: Option<Tick>) {
        let node = self.nodes.ensure(name);
        if let (Some(tick), Some(known)) = (tick, self.nodes.get_mut(node)) {
            known.learn(tick);
        }
    }

    /// Nodes of which ticks are missing, and which.
    pub fn holes(&self) -> impl Iterator<Item = (&NodeName, &TickSet)> {
        self.nodes
            .iter()
            .map(|(_, name, known)| (name, known.missing()))
            .filter(|(_, missing)| !missing.is_empty())
    }

    /// Somebody else lacks these; they are asked for again later.
    pub fn answered(&mut self, name: &str, ticks: &TickSet) {
        if let Some(known) = self.nodes.find(name).and_then(|ix| self.nodes.get_mut(ix)) {
            known.answered(ticks);
        }
    }

    /// Takes the mark of a deletion off an entry, whose chain dissolves.
    /// Returns whether it was there; an entry with a value is left alone.
    pub fn purge(&mut self, ix: Ix, head: Link) -> bool {
        let entry = self.tree.get(ix);
        if entry.value().is_some() || entry.head() != Some(head) {
            return false;
        }
        let chain = self.tree.chain(ix).0.to_vec();
        self.release(ix, &chain);
        self.supersede(&chain);
        if self.past.habits.has(Habit::DeletedKills) {
            self.forget_deleted(&chain);
        }
        self.tree.set_chain(ix, &[], ChainEnd::Start);
        true
    }

    /// Takes an entry's value away without an event. Returns whether it had
    /// one.
    pub fn empty(&mut self, ix: Ix) -> bool {
        if self.tree.get(ix).value().is_none() {
            return false;
        }
        self.uncount_mark(ix);
        self.tree.get_mut(ix).replace_value(None, &mut self.old);
        self.count(ix);
        true
    }

    /// Removes an entry that holds nothing; nobody may hold its place.
    pub fn remove(&mut self, ix: Ix) {
        if ix != self.internal {
            self.tree.remove(ix);
        }
    }

    /// This run, and the number of the last change.
    #[must_use]
    pub const fn at(&self) -> (u64, u64) {
        (self.changes.run, self.changes.last)
    }

    /// The entries changed after change `number` of run `run`, each once, in
    /// the order of their last change; `None` if that is not known any more.
    #[must_use]
    pub fn changed_since(&self, run: u64, number: u64) -> Option<Vec<Ix>> {
        let missed = self
            .changes
            .last
            .checked_sub(number)
            .filter(|_| run == self.changes.run)?;
        let missed = usize::try_from(missed).ok()?;
        let start = self.changes.recent.len().checked_sub(missed)?;
        let mut seen = std::collections::BTreeSet::new();
        let mut list: Vec<Ix> = self
            .changes
            .recent
            .range(start..)
            .rev()
            // a purged entry is no longer there to be shown
            .filter(|ix| **ix == Ix::ROOT || self.tree.get(**ix).parent().is_some())
            .filter(|ix| seen.insert(**ix))
            .copied()
            .collect();
        list.reverse();
        Some(list)
    }

    /// Makes the entries of a path, valueless, unless they exist. No event.
    ///
    /// # Errors
    /// If an element cannot name an entry.
    pub fn ensure(&mut self, from: Ix, path: PathRef<'_>) -> Result<Ix, ElemError> {
        let ix = self.tree.ensure(from, path)?;
        // `null` is one byte
        if from == self.internal || path.bytes().first() == Some(&0xc0) {
            self.order_rules();
        }
        Ok(ix)
    }

    /// Moves a section of the internal data that has just been made to before
    /// the one that refers to it: who loads them in their order, as the
    /// original does, must find what a rule names before the rule.
    fn order_rules(&mut self) {
        let Some(last) = self.tree.last_child(self.internal) else {
            return;
        };
        for (named, rules) in [("type", "match"), ("codec", "conv")] {
            let [named, rules] = [named, rules].map(|name| self.section(name));
            if let (Some(named), Some(rules)) = (named, rules)
                && named == last
            {
                self.tree.move_last_before(self.internal, rules);
            }
        }
    }

    fn section(&self, name: &str) -> Option<Ix> {
        let mut element = RawPath::new();
        element.push_str(name);
        self.tree.child(self.internal, element.as_ref().bytes())
    }

    /// An event of this node: sets or deletes a value. It is built on the
    /// present state; on a deleted or new entry it starts a new chain, which
    /// keeps the original's nodes from taking it for part of the deletion.
    ///
    /// # Errors
    /// If the counters are used up; nothing has changed then.
    pub fn write(&mut self, ix: Ix, value: Option<&[u8]>) -> Result<(), Exhausted> {
        let tick = Tick(self.tick().unwrap_or_default().0 + 1);
        if tick.0 > MAX_COUNTER || self.tock.0 > MAX_COUNTER {
            return Err(Exhausted);
        }
        let link = Link::new(self.me, tick);
        // one for the tick, one for the event
        self.next_tock();
        let tock = self.next_tock();

        self.uncount_mark(ix);
        let entry = self.tree.get_mut(ix);
        let had_value = entry.value().is_some();
        entry.replace_value(value, &mut self.old);
        entry.set_tock(tock);
        if value.is_some() {
            self.sum = self.sum.wrapping_add(self.nodes.mark(link));
        }
        let (chain, end) = self.tree.chain(ix);
        match chain {
            [] => self.tree.set_chain(ix, &[link], ChainEnd::Start),
            [old] if old.node() == self.me && end == ChainEnd::Start => {
                let old = old.tick();
                self.tree.set_chain(ix, &[link], ChainEnd::Start);
                if let Some(known) = self.nodes.get_mut(self.me) {
                    known.release(old, ix);
                }
            }
            _ => self.write_long(ix, link, had_value),
        }
        if let Some(known) = self.nodes.get_mut(self.me) {
            known.hold(tick, ix);
        }
        self.next_tock();
        self.note_deletion(ix);
        self.count(ix);
        Ok(())
    }

    fn write_long(&mut self, ix: Ix, link: Link, had_value: bool) {
        let had_value = had_value || self.past.habits.has(Habit::DeletedKills);
        let (chain, end) = self.tree.chain(ix);
        let (mut new, mut gone) = (vec![link], Vec::new());
        for old in chain {
            if !had_value || old.node() == link.node() {
                gone.push(*old);
            } else {
                new.push(*old);
            }
        }
        let end = if had_value { end } else { ChainEnd::Start };
        self.tree.set_chain(ix, &new, end);
        self.release(ix, &gone);
    }

    /// The entry's present state leaves the sum.
    #[inline]
    fn uncount_mark(&mut self, ix: Ix) {
        let entry = self.tree.get(ix);
        if let (Some(head), Some(_)) = (entry.head(), entry.value()) {
            self.sum = self.sum.wrapping_sub(self.nodes.mark(head));
        }
    }

    fn release(&mut self, ix: Ix, links: &[Link]) {
        for link in links {
            if let Some(known) = self.nodes.get_mut(link.node()) {
                known.release(link.tick(), ix);
            }
        }
    }

    fn supersede(&mut self, links: &[Link]) {
        for link in links {
            if let Some(known) = self.nodes.get_mut(link.node()) {
                known.supersede(link.tick());
            }
        }
    }

    fn count(&mut self, ix: Ix) {
        self.changes.last += 1;
        if self.changes.recent.len() == REMEMBERED {
            self.changes.recent.pop_front();
        }
        self.changes.recent.push_back(ix);
    }

    /// Takes in an event, whoever made it. Its path has been checked.
    ///
    /// # Errors
    /// If an element of the path cannot name an entry.
    pub fn apply(&mut self, event: &Event) -> Result<Applied, ElemError> {
        self.saw_tock(event.tock);
        self.contested = false;
        let mut links = std::mem::take(&mut self.links);
        links.clear();
        let applied = self.apply_by(event, &mut links);
        self.links = links;
        applied
    }

    fn apply_by(&mut self, event: &Event, links: &mut Vec<Link>) -> Result<Applied, ElemError> {
        for NamedLink { node, tick } in &event.chain {
            let node = self.nodes.ensure(node.as_str());
            // a node occurs once in a chain; later ones are somebody's fault
            if links.iter().all(|l: &Link| l.node() != node) {
                links.push(Link::new(node, *tick));
            } else {
                self.learn(&[Link::new(node, *tick)]);
            }
        }
        let ix = match self.ensure(Ix::ROOT, event.path.as_ref()) {
            Ok(ix) => ix,
            Err(why) => {
                self.learn(links);
                return Err(why);
            }
        };
        let Some(new) = links.first().copied() else {
            return Ok(Applied::Ignored);
        };
        if self.past.habits.has(Habit::Tie) {
            self.learn(links);
            return Ok(self.decide_as_original(ix, event, links));
        }
        let entry = self.tree.get(ix);
        let (chain, end) = self.tree.chain(ix);
        let chain = chain.to_vec();
        let Some(old) = chain.first().copied() else {
            self.take(ix, event, links, &chain);
            return Ok(Applied::Changed(ix));
        };
        if new == old {
            self.learn(links);
            if end == ChainEnd::Cut && links.len() > chain.len() && links.starts_with(&chain) {
                self.tree.set_chain(ix, links, event.end);
                self.hold(ix, links);
            }
            return Ok(Applied::Ignored);
        }
        let wins = self.rank(event.tock, new) > self.rank(entry.tock(), old);
        // what the chains say is nearly always the same, but for a node that
        // started again without the tocks of its earlier run
        let (stale, follows) = (newer(&chain, new), newer(links, old));
        let by_chain = if stale {
            Some(false)
        } else {
            follows.then_some(true)
        };
        self.contested = match by_chain {
            Some(taken) => taken != wins,
            None => event.tock == entry.tock(),
        };
        if wins {
            self.take(ix, event, links, &chain);
            return Ok(Applied::Changed(ix));
        }
        self.learn(links);
        self.supersede(&absent(links, &chain));
        if stale && !self.contested {
            return Ok(Applied::Ignored);
        }
        Ok(Applied::Lost(ix))
    }

    /// These ticks exist. Those that an entry holds need not be said.
    fn learn(&mut self, links: &[Link]) {
        for link in links {
            if let Some(known) = self.nodes.get_mut(link.node()) {
                known.learn(link.tick());
            }
        }
    }

    /// What decides between events of one entry.
    fn rank(&self, tock: Tock, head: Link) -> (Tock, &str, Tick) {
        (tock, self.nodes.name(head.node()).as_str(), head.tick())
    }

    fn take(&mut self, ix: Ix, event: &Event, links: &[Link], before: &[Link]) {
        let gone = absent(before, links);
        self.release(ix, &gone);
        self.uncount_mark(ix);
        if let (Some(head), Some(_)) = (links.first(), &event.value) {
            self.sum = self.sum.wrapping_add(self.nodes.mark(*head));
        }
        let entry = self.tree.get_mut(ix);
        entry.replace_value(event.value.as_deref(), &mut self.old);
        entry.set_tock(event.tock);
        self.tree.set_chain(ix, links, event.end);
        self.hold(ix, links);
        self.note_deletion(ix);
        self.count(ix);
    }

    fn hold(&mut self, ix: Ix, links: &[Link]) {
        for link in links {
            if let Some(known) = self.nodes.get_mut(link.node()) {
                known.hold(link.tick(), ix);
            }
        }
    }

    /// The event that the present state of an entry is.
    #[must_use]
    pub fn event(&self, ix: Ix) -> Event {
        let entry = self.tree.get(ix);
        let (chain, end) = self.tree.chain(ix);
        Event {
            path: self.tree.path(Ix::ROOT, ix),
            chain: self.named(chain),
            end,
            tock: entry.tock(),
            value: entry.value().map(Into::into),
        }
    }

    /// Links by name.
    #[must_use]
    pub fn named(&self, links: &[Link]) -> Vec<NamedLink> {
        self.name_links(links).collect()
    }

    pub(super) fn name_links(&self, links: &[Link]) -> impl Iterator<Item = NamedLink> {
        links.iter().map(|link| NamedLink {
            node: self.nodes.name(link.node()).clone(),
            tick: link.tick(),
        })
    }

    /// The full path of an entry.
    #[must_use]
    pub fn path(&self, ix: Ix) -> RawPath {
        self.tree.path(Ix::ROOT, ix)
    }

    /// Takes in what another node said of its bookkeeping. Returns the
    /// entries that lost their value by it.
    ///
    /// A tick in `deleted` counts only where it is an entry's last change:
    /// the original also deletes entries that were written again since.
    pub fn inform(&mut self, info: &NodeInfo) -> Vec<Ix> {
        self.hear(info, false)
    }

    /// Takes in all of another node's bookkeeping, to which its entries
    /// belong. Returns the entries that lost their value by it.
    ///
    /// What is `deleted` there and not `known` are marks of deletions, which
    /// the original does not tell with its entries: those that are not here
    /// stay missing, so that they are asked for. Without them, an older value
    /// that somebody else has would come back.
    pub fn inform_of_all(&mut self, info: &NodeInfo) -> Vec<Ix> {
        self.hear(info, !self.past.habits.is_original())
    }

    fn hear(&mut self, info: &NodeInfo, marks_missing: bool) -> Vec<Ix> {
        for (name, tick) in info.ticks.iter().flatten() {
            let node = self.nodes.ensure(name.as_str());
            if let (Some(tick), Some(known)) = (tick, self.nodes.get_mut(node)) {
                known.learn(*tick);
            }
        }
        for (name, ticks) in info.missing.iter().chain(&info.remote_missing).flatten() {
            let node = self.nodes.ensure(name.as_str());
            if let Some(known) = self.nodes.get_mut(node) {
                known.report(ticks);
            }
        }
        for (name, ticks) in info.known.iter().flatten() {
            let node = self.nodes.ensure(name.as_str());
            if let Some(known) = self.nodes.get_mut(node) {
                known.supersede_all(ticks);
            }
        }
        let mut emptied = Vec::new();
        for (name, ticks) in info.deleted.iter().flatten() {
            let node = self.nodes.ensure(name.as_str());
            if self.past.habits.has(Habit::DeletedKills) {
                self.hear_deleted(node, ticks);
                continue;
            }
            let Some(known) = self.nodes.get_mut(node) else {
                continue;
            };
            let present = known.present_among(ticks);
            if !marks_missing {
                known.supersede_all(ticks);
            }
            for (tick, ix) in present {
                let last = self.tree.get(ix).head() == Some(Link::new(node, Tick(tick)));
                if last && self.empty(ix) {
                    emptied.push(ix);
                }
            }
        }
        for name in info.node_drop.iter().flatten() {
            if let Some(node) = self.nodes.find(name.as_str()) {
                // somebody else's wish: refused while the node owns an entry
                let _ = self.drop_node(node);
            }
        }
        emptied
    }

    /// The bookkeeping, as far as it is wanted. Nodes without ticks of a kind
    /// are left out.
    #[must_use]
    pub fn state(&self, wanted: StateWanted) -> NodeInfo {
        let sets = |want: bool, of: &dyn Fn(&Known) -> TickSet| {
            want.then(|| {
                let sets = self
                    .nodes
                    .iter()
                    .map(|(_, name, known)| (name.clone(), of(known)));
                sets.filter(|(_, set)| !set.is_empty()).collect::<Vec<_>>()
            })
        };
        let ticks = self
            .nodes
            .iter()
            .map(|(_, name, known)| (name.clone(), known.tick()));
        let present = |known: &Known, only_deleted: bool| {
            // neighbours go in as one
            let mut runs: Vec<RangeInclusive<u64>> = Vec::new();
            known.each_present(|tick, ix| {
                if only_deleted && self.tree.get(ix).value().is_some() {
                    return;
                }
                match runs.last_mut() {
                    Some(run) if run.end().checked_add(1) == Some(tick) => {
                        *run = *run.start()..=tick;
                    }
                    _ => runs.push(tick..=tick),
                }
            });
            runs.into_iter().collect()
        };
        NodeInfo {
            ticks: wanted.nodes.then(|| ticks.collect()),
            known: sets(wanted.known, &Known::superseded),
            present: sets(wanted.present, &|k| present(k, false)),
            deleted: if wanted.deleted && self.past.habits.has(Habit::DeletedKills) {
                Some(self.all_called_deleted())
            } else {
                sets(wanted.deleted, &|k| present(k, true))
            },
            missing: sets(wanted.missing, &|k| k.missing().clone()),
            remote_missing: sets(wanted.remote_missing, &|k| k.reported().clone()),
            node_drop: wanted.node_drop.then(|| self.nodes.dropped().to_vec()),
            debug: wanted.debug,
        }
    }

    /// Forgets a node and takes its links out of all chains.
    ///
    /// # Errors
    /// The first tick that is some entry's last change: nothing has been
    /// done then. The own node cannot be forgotten.
    pub fn drop_node(&mut self, node: NodeIx) -> Result<(), Tick> {
        let Some(known) = self.nodes.get(node) else {
            return Ok(());
        };
        let present = known.present();
        for (tick, ix) in &present {
            if self.tree.get(*ix).head() == Some(Link::new(node, Tick(*tick))) {
                return Err(Tick(*tick));
            }
        }
        if node == self.me {
            return Err(self.tick().unwrap_or_default());
        }
        for (_, ix) in present {
            let (chain, end) = self.tree.chain(ix);
            let rest: Vec<Link> = chain.iter().filter(|l| l.node() != node).copied().collect();
            self.tree.set_chain(ix, &rest, end);
        }
        self.nodes.forget(node);
        Ok(())
    }

    /// Which of these ticks belong to deleted entries, or to nothing any
    /// more; never one that has not been seen.
    #[must_use]
    pub fn deleted_among(&self, asked: &[(NodeName, TickSet)]) -> Vec<(NodeName, TickSet)> {
        let mut found = Vec::new();
        for (name, ticks) in asked {
            let Some(known) = self
                .nodes
                .find(name.as_str())
                .and_then(|n| self.nodes.get(n))
            else {
                continue;
            };
            let Some(Tick(last @ 1..)) = known.tick() else {
                continue;
            };
            let mut gone = TickSet::new();
            for range in ticks.ranges() {
                gone.insert_range(*range.start().max(&1)..=*range.end().min(&last));
            }
            gone.remove_all(known.missing());
            for (tick, ix) in known.present() {
                if self.tree.get(ix).value().is_some() {
                    gone.remove(tick);
                }
            }
            if !gone.is_empty() {
                found.push((name.clone(), gone));
            }
        }
        found
    }
}

/// Whether `chain` has something of the link's node that is as new.
fn newer(chain: &[Link], link: Link) -> bool {
    chain
        .iter()
        .any(|l| l.node() == link.node() && l.tick() >= link.tick())
}

/// The links that are not in `chain`.
fn absent(links: &[Link], chain: &[Link]) -> Vec<Link> {
    links
        .iter()
        .filter(|l| !chain.contains(l))
        .copied()
        .collect()
}

#[cfg(test)]
mod tests;
