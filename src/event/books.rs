//! A node's bookkeeping as a client is shown it.

use std::ops::RangeInclusive;

use crate::event::{NodeName, Tick};
use crate::msgpack::write;

/// Some of the bookkeeping, the parts of it that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)] // each is a part of the reply, named as there
pub struct Books {
    pub nodes: Option<Section>,
    pub known: Option<Section>,
    pub present: Option<Section>,
    pub deleted: Option<Section>,
    pub missing: Option<Section>,
    pub remote_missing: Option<Section>,
    pub node_drop: Option<Vec<NodeName>>,
    pub debug: bool,
}

/// Nodes and what belongs to them, as it is sent: it may be millions of
/// intervals, which are encoded while they are collected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    /// How many nodes
    pub count: usize,
    /// Names and what belongs to them, in turn
    pub pairs: Vec<u8>,
}

impl Section {
    /// Adds a node and its last tick.
    pub fn push_tick(&mut self, node: &NodeName, tick: Option<Tick>) {
        self.count += 1;
        write::str(&mut self.pairs, node.as_str());
        match tick {
            None => write::nil(&mut self.pairs),
            Some(tick) => write::uint(&mut self.pairs, tick.0),
        }
    }

    /// Adds a node and its ticks, if there are any.
    pub fn push(&mut self, node: &NodeName, ticks: Intervals) {
        let (count, items) = ticks.end();
        if count == 0 {
            return;
        }
        self.count += 1;
        write::str(&mut self.pairs, node.as_str());
        write::array(&mut self.pairs, count);
        self.pairs.extend_from_slice(&items);
    }
}

/// Intervals of ticks as they are sent: a single tick as a number, more as a
/// pair whose end is not part of it.
#[derive(Debug, Default)]
pub struct Intervals {
    count: usize,
    items: Vec<u8>,
    /// The last one, which may go on
    last: Option<RangeInclusive<u64>>,
}

impl Intervals {
    /// Adds one that is not empty and lies behind all others.
    pub fn push(&mut self, range: RangeInclusive<u64>) {
        self.last = match self.last.take() {
            Some(last) if last.end().checked_add(1) == Some(*range.start()) => {
                Some(*last.start()..=*range.end())
            }
            last => {
                self.write(last);
                Some(range)
            }
        };
    }

    fn write(&mut self, range: Option<RangeInclusive<u64>>) {
        let Some((from, to)) = range.map(RangeInclusive::into_inner) else {
            return;
        };
        self.count += 1;
        if from == to {
            write::uint(&mut self.items, from);
        } else {
            write::array(&mut self.items, 2);
            write::uint(&mut self.items, from);
            write::uint(&mut self.items, to.saturating_add(1));
        }
    }

    /// How many there are, and what is sent of them.
    fn end(mut self) -> (usize, Vec<u8>) {
        let last = self.last.take();
        self.write(last);
        (self.count, self.items)
    }
}
