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

use std::collections::BTreeMap;

use crate::event::{Event, NodeName, Tick, Tock};
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
    ids: BTreeMap<(NodeName, Tick), Made>,
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
            lives: Vec::new(),
        }
    }

    /// A node has started.
    pub(super) fn born(&mut self) -> LifeIx {
        self.lives.push(Life {
            alive: true,
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
            let head = event.chain.first();
            let made = head.and_then(|l| self.ids.get(&(l.node.clone(), l.tick)).copied());
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
        let (made, emptied) = match self.ids.get(&id) {
            Some(made) => (*made, self.compare(*made, key, me, event)?),
            None if link.node == *me => (self.make(id, key, event), false),
            None => return Err(Broken::NobodysEvent(me.clone(), trace::event(event))),
        };
        let held = self.held(life, key);
        if let Some(old) = held.head
            && self.rank(made) < self.rank(old)
            // a deletion may have been forgotten meanwhile
            && self.event(old).value.is_some()
            && !held.emptied
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
        self.ids.insert(id, made);
        if event.value.is_none()
            && let Some(list) = self.deletions.get_mut(key.0)
        {
            list.push(made);
        }
        made
    }

    /// Whether an event of a known number is that event; returns whether its
    /// value was taken away rightly.
    fn compare(&self, made: Made, key: Key, me: &NodeName, event: &Event) -> Result<bool, Broken> {
        let known = self.known(made);
        let same = known.key == key && known.event.tock == event.tock;
        if same && known.event.value == event.value {
            return Ok(false);
        }
        let deleted = event.value.is_none()
            && self.deletions.get(key.0).is_some_and(|list| {
                list.iter()
                    .any(|deletion| self.rank(*deletion) > self.rank(made))
            });
        if same && deleted {
            return Ok(true);
        }
        let first = trace::event(&known.event);
        Err(Broken::TwoContents(me.clone(), first, trace::event(event)))
    }

    /// What every node must hold of an entry in the end: the greatest event
    /// that some living node has held.
    pub(super) fn wanted(&self, key: Key) -> Option<Made> {
        let living = self.lives.iter().filter(|life| life.alive);
        let greatest = living.filter_map(|life| life.entries.get(key.0)?.greatest);
        greatest.max_by_key(|made| self.rank(*made))
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
