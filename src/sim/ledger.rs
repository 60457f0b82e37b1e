//! Which events there are, which node has held which, and what must be there
//! in the end.
//!
//! A node's life (a process, from start to end) tells each change it applies
//! by `Output::Persist`. From that alone follows what may be lost: an event
//! is gone only if every life that ever held it has ended. What a file holds
//! is held by the life that begins with it, whether its machine says so or
//! not. So for each entry the final event is known exactly: the greatest by
//! (tock, name, tick) of all that a living node has held; unless that is a
//! deletion, which may have been forgotten by then.
//!
//! Where nodes of the original take part, only what ours have held counts. What
//! an original tells by one of its faults is noted, and with it what may come
//! of that: nothing else is excused.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Event, NodeInfo, NodeName, Tick, TickSet, Tock};
use crate::node::habits::{Habit, Habits};
use crate::path::RawPath;
use crate::sim::check::Broken;
use crate::sim::trace;

/// An entry, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) usize);

/// A node's life, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LifeIx(usize);

/// An event, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Made(usize);

/// What decides between events of one entry.
pub(super) type Rank = (Tock, NodeName, Tick);

#[derive(Debug)]
struct Known {
    key: Key,
    event: Event,
}

#[derive(Debug)]
struct Life {
    alive: bool,
    /// What its node does otherwise than this program
    habits: Habits,
    entries: Vec<Held>,
}

/// What a life holds of an entry.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// The present event
    head: Option<Made>,
    /// The head's value was taken away, by somebody's word that it is deleted
    emptied: bool,
    /// The greatest event that was ever held
    greatest: Option<Made>,
}

/// All events of a history, and who held them.
#[derive(Debug)]
pub(super) struct Ledger {
    keys: BTreeMap<RawPath, Key>,
    paths: Vec<RawPath>,
    made: Vec<Known>,
    /// By node and tick: of ours there is one each
    ids: BTreeMap<(NodeName, Tick), Vec<Made>>,
    /// What nodes of the original have called deleted
    called: BTreeMap<NodeName, TickSet>,
    /// Events that they told although these had been deleted
    retold: BTreeSet<usize>,
    deletions: Vec<Vec<Made>>,
    lives: Vec<Life>,
}

impl Ledger {
    pub(super) fn new(paths: Vec<RawPath>) -> Self {
        let keys = paths.iter().cloned().zip((0..).map(Key)).collect();
        Self {
            keys,
            deletions: vec![Vec::new(); paths.len()],
            paths,
            made: Vec::new(),
            ids: BTreeMap::new(),
            called: BTreeMap::new(),
            retold: BTreeSet::new(),
            lives: Vec::new(),
        }
    }

    /// A node has started.
    pub(super) fn born(&mut self, habits: Habits) -> LifeIx {
        self.lives.push(Life {
            alive: true,
            habits,
            entries: vec![Held::default(); self.paths.len()],
        });
        LifeIx(self.lives.len() - 1)
    }

    /// What a life has held of each entry: the greatest event.
    pub(super) fn seen(&self, life: LifeIx) -> Vec<Option<Made>> {
        let entries = self.lives.get(life.0).map(|life| life.entries.iter());
        entries
            .into_iter()
            .flatten()
            .map(|held| held.greatest)
            .collect()
    }

    /// A life begins with what an earlier one had seen, and with changes: all
    /// of that counts as held.
    pub(super) fn begins_with(&mut self, life: LifeIx, seen: &[Option<Made>], changes: &[Event]) {
        let mut greatest = seen.to_vec();
        for event in changes {
            let made = self.find(event);
            if let (Some(made), Some(key)) = (made, self.key(&event.path))
                && let Some(slot) = greatest.get_mut(key.0)
                && slot.is_none_or(|old| self.rank(old) < self.rank(made))
            {
                *slot = Some(made);
            }
        }
        let entries = self
            .lives
            .get_mut(life.0)
            .map(|life| life.entries.iter_mut());
        for (held, greatest) in entries.into_iter().flatten().zip(greatest) {
            held.greatest = greatest;
        }
    }

    /// A node has ended, and what only it held is gone.
    pub(super) fn died(&mut self, life: LifeIx) {
        if let Some(life) = self.lives.get_mut(life.0) {
            life.alive = false;
        }
    }

    pub(super) fn key(&self, path: &RawPath) -> Option<Key> {
        self.keys.get(path).copied()
    }

    /// All entries, by number.
    pub(super) fn keys(&self) -> impl Iterator<Item = (Key, &RawPath)> {
        (0..).map(Key).zip(&self.paths)
    }

    fn known(&self, made: Made) -> &Known {
        self.made
            .get(made.0)
            .expect("invariant: numbers of events come from here")
    }

    pub(super) fn event(&self, made: Made) -> &Event {
        &self.known(made).event
    }

    pub(super) fn rank(&self, made: Made) -> Rank {
        rank(self.event(made))
    }

    fn held(&self, life: LifeIx, key: Key) -> Held {
        let life = self.lives.get(life.0);
        life.and_then(|l| l.entries.get(key.0))
            .copied()
            .unwrap_or_default()
    }

    /// What a node holds of an entry: its event, if it has a value.
    pub(super) fn value(&self, life: LifeIx, key: Key) -> Option<&Event> {
        let held = self.held(life, key);
        let event = self.event(held.head?);
        (!held.emptied && event.value.is_some()).then_some(event)
    }

    /// The last change of an entry, as a node knows it.
    pub(super) fn head(&self, life: LifeIx, key: Key) -> Option<Made> {
        self.held(life, key).head
    }

    /// A node says that an entry's state is this event now.
    pub(super) fn applied(
        &mut self,
        life: LifeIx,
        me: &NodeName,
        event: &Event,
    ) -> Result<(), Broken> {
        let Some(link) = event.chain.first() else {
            return Err(Broken::NoChain(me.clone(), trace::event(event)));
        };
        let Some(key) = self.key(&event.path) else {
            return Err(Broken::NobodysPath(me.clone(), trace::event(event)));
        };
        let id = (link.node.clone(), link.tick);
        let habits = self.habits(life);
        let last = self.ids.get(&id).and_then(|list| list.last()).copied();
        let (made, emptied) = match (self.find(event), last) {
            (Some(made), _) => (made, false),
            (None, Some(made)) => match self.compare(made, key, me, event, habits) {
                // if one of ours believes it, all have to
                Ok(made) if self.is_called_deleted(made) && !habits.is_original() => {
                    (self.make(id, key, event), false)
                }
                Ok(made) => (made, true),
                // somebody who does not know what he wrote before
                Err(_) if link.node == *me && habits.has(Habit::ReusedTick) => {
                    (self.make(id, key, event), false)
                }
                Err(broken) => return Err(broken),
            },
            (None, None) if link.node == *me => (self.make(id, key, event), false),
            (None, None) => {
                return Err(Broken::NobodysEvent(me.clone(), trace::event(event)));
            }
        };
        let held = self.held(life, key);
        if let Some(old) = held.head
            && self.rank(made) < self.rank(old)
            // a deletion may have been forgotten meanwhile
            && self.event(old).value.is_some()
            && !held.emptied
            && !habits.is_original()
        {
            let old = trace::event(self.event(old));
            return Err(Broken::Backward(me.clone(), old, trace::event(event)));
        }
        let greatest = match held.greatest {
            Some(old) if self.rank(old) > self.rank(made) => old,
            _ => made,
        };
        let new = Held {
            head: Some(made),
            emptied,
            greatest: Some(greatest),
        };
        let life = self.lives.get_mut(life.0);
        if let Some(slot) = life.and_then(|l| l.entries.get_mut(key.0)) {
            *slot = new;
        }
        Ok(())
    }

    fn make(&mut self, id: (NodeName, Tick), key: Key, event: &Event) -> Made {
        let made = Made(self.made.len());
        self.made.push(Known {
            key,
            event: event.clone(),
        });
        self.ids.entry(id).or_default().push(made);
        if event.value.is_none()
            && let Some(list) = self.deletions.get_mut(key.0)
        {
            list.push(made);
        }
        made
    }

    /// An event that was made, by what it says.
    fn find(&self, event: &Event) -> Option<Made> {
        let link = event.chain.first()?;
        let list = self.ids.get(&(link.node.clone(), link.tick))?;
        let is = |made: &&Made| {
            let known = &self.known(**made).event;
            known.path == event.path && known.tock == event.tock && known.value == event.value
        };
        list.iter().rev().find(is).copied()
    }

    /// Which event of a number it is whose value was taken away rightly, if
    /// it is not that event itself.
    fn compare(
        &self,
        last: Made,
        key: Key,
        me: &NodeName,
        event: &Event,
        habits: Habits,
    ) -> Result<Made, Broken> {
        let link = event.chain.first();
        let id = link.map(|l| (l.node.clone(), l.tick)).unwrap_or_default();
        let same = |made: &&Made| {
            let known = self.known(**made);
            known.key == key && known.event.tock == event.tock
        };
        let list = self.ids.get(&id);
        let made = list.and_then(|list| list.iter().rev().find(same)).copied();
        if let Some(made) = made.filter(|_| event.value.is_none())
            && (self.is_outranked(made)
                || self.is_called_deleted(made)
                || habits.has(Habit::DeletedKills)
                || habits.has(Habit::PurgeKills))
        {
            return Ok(made);
        }
        let first = trace::event(&self.known(last).event);
        Err(Broken::TwoContents(me.clone(), first, trace::event(event)))
    }

    /// Whether an entry was deleted by a greater event.
    fn is_outranked(&self, made: Made) -> bool {
        let deletions = self.deletions.get(self.known(made).key.0);
        let mut deletions = deletions.into_iter().flatten();
        deletions.any(|deletion| self.rank(*deletion) > self.rank(made))
    }

    /// Whether a node used the event's tick twice, for this entry: of the two,
    /// each node keeps the one it has.
    pub(super) fn is_twofold(&self, made: Made) -> bool {
        let link = self.event(made).chain.first();
        let list = link.and_then(|l| self.ids.get(&(l.node.clone(), l.tick)));
        let (key, value) = (self.known(made).key, &self.event(made).value);
        list.into_iter().flatten().any(|other| {
            let known = self.known(*other);
            known.key == key && known.event.value != *value && known.event.value.is_some()
        })
    }

    /// Whether a greater event of the same entry was ever made.
    pub(super) fn is_surpassed(&self, made: Made) -> bool {
        let key = self.known(made).key;
        let of_entry = self.made.iter().filter(|known| known.key == key);
        of_entry
            .into_iter()
            .any(|known| rank(&known.event) > self.rank(made))
    }

    /// A node of the original tells an event.
    pub(super) fn told(&mut self, event: &Event) {
        let (Some(key), Some(link)) = (self.key(&event.path), event.chain.first()) else {
            return;
        };
        let made = self.find(event).unwrap_or_else(|| {
            // with another tock than it was made with
            self.make((link.node.clone(), link.tick), key, event)
        });
        if event.value.is_some() && self.is_outranked(made) {
            self.retold.insert(made.0);
        }
    }

    /// A node of the original calls some ticks deleted.
    pub(super) fn called_deleted(&mut self, info: &NodeInfo) {
        for (name, ticks) in info.deleted.iter().flatten() {
            self.called
                .entry(name.clone())
                .or_default()
                .insert_all(ticks);
        }
    }

    /// Whether a node of the original has called an event deleted.
    pub(super) fn is_called_deleted(&self, made: Made) -> bool {
        let head = self.event(made).chain.first();
        let set = head.and_then(|l| Some((self.called.get(&l.node)?, l.tick)));
        set.is_some_and(|(set, tick)| set.contains(tick.0))
    }

    fn habits(&self, life: LifeIx) -> Habits {
        self.lives.get(life.0).map_or(Habits::NONE, |l| l.habits)
    }

    /// What every node must hold of an entry in the end: the greatest event
    /// that some living node of ours has held.
    pub(super) fn wanted(&self, key: Key) -> Option<Made> {
        let living = self.lives.iter();
        let living = living.filter(|life| life.alive && !life.habits.is_original());
        let greatest = living.filter_map(|life| life.entries.get(key.0)?.greatest);
        let of = |made: &Made| (self.rank(*made), self.event(*made).value.is_none());
        let greatest = greatest.max_by_key(of)?;
        if self.event(greatest).value.is_some() {
            return Some(greatest);
        }
        Some(self.revived(key).unwrap_or(greatest))
    }

    /// What came back although it had been deleted, because a node of the
    /// original told it after that.
    fn revived(&self, key: Key) -> Option<Made> {
        let living = self.lives.iter();
        let living = living.filter(|life| life.alive && !life.habits.is_original());
        let held = living.filter_map(|life| life.entries.get(key.0).filter(|h| !h.emptied)?.head);
        let held = held.filter(|made| self.retold.contains(&made.0));
        held.max_by_key(|made| self.rank(*made))
    }

    /// How many events were made.
    pub(super) fn count(&self) -> usize {
        self.made.len()
    }
}

pub(super) fn rank(event: &Event) -> Rank {
    let (node, tick) = event
        .chain
        .first()
        .map_or_else(Default::default, |l| (l.node.clone(), l.tick));
    (event.tock, node, tick)
}
