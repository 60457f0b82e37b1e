//! Simulated networks: many `node::Machine`s in one thread, in simulated
//! time, with everything that can happen to messages, connections and
//! processes; all of it from one seed.
//!
//! A seed becomes a [`Plan`](plan::Plan), the plan a history: first a storm,
//! in which clients write, chain, delete and watch while faults strike, far
//! likelier than in life; then everything is mended, and the nodes must
//! agree within some ping cycles. What "agree" means is in [`check`], what
//! may be lost in `ledger`. A history that fails is repeated by its seed.
//!
//! The machines are the real ones. Only `host` knows how they are spoken to.

pub mod check;
mod client;
mod disk;
mod download;
mod ear;
mod faults;
mod host;
mod ledger;
mod net;
pub mod plan;
pub mod plant;
pub mod rng;
mod trace;
mod world;

use std::time::Duration;

use crate::node::habits::Habits;

use check::Failure;
use plant::Plant;
use world::World;

/// Which history, and how to look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Everything follows from it.
    pub seed: u64,
    /// Nodes, if not as the seed says
    pub nodes: Option<u8>,
    /// Inputs to nodes and acts of clients, before everything is mended
    pub events: u32,
    /// Whether second servers of one name are among the faults
    pub twins: bool,
    /// Whether some nodes stand for the original's
    pub mixed: bool,
    /// What these do otherwise, if not as the seed says
    pub habits: Option<Habits>,
    /// A bug to plant
    pub plant: Option<Plant>,
    /// Keep a line of everything that happens
    pub trace: bool,
    /// Key of the machines' hash tables: nothing may depend on it
    pub hash: u64,
}

/// Inputs and acts of a history, unless something else is wanted.
pub const EVENTS: u32 = 1000;

impl Settings {
    /// The history of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            nodes: None,
            events: EVENTS,
            twins: false,
            mixed: false,
            habits: None,
            plant: None,
            trace: false,
            hash: 1,
        }
    }
}

/// What happened, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Inputs to machines
    pub inputs: u64,
    /// Times that a client did something
    pub acts: u64,
    /// Writes that were acknowledged
    pub writes: u64,
    /// Events that were made
    pub events: usize,
    /// Faults
    pub troubles: u64,
    /// Processes started
    pub starts: u64,
    /// Processes that ended by their own decision
    pub faults: u64,
    /// Downloads begun
    pub downloads: u64,
    /// Watches that did not keep up
    pub overflows: u64,
    /// How long the nodes took to agree
    pub healed_after: Option<Duration>,
    /// Entries that nodes of the original hold otherwise than ours in the end
    pub astray: u64,
    deleters_named: bool,
    originals_delete: bool,
    originals_loaded: bool,
}

/// How a history went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// In numbers
    pub counts: Counts,
    /// What went wrong, if something did
    pub failure: Option<Failure>,
    /// A line of everything that happened, if wanted
    pub trace: Option<String>,
}

/// Lets a history happen.
#[must_use]
pub fn run(settings: &Settings) -> Outcome {
    let mut world = World::new(settings);
    let result = world.run();
    let at = world.now;
    world.counts.events = world.ledger.count();
    Outcome {
        counts: world.counts,
        failure: result.err().map(|what| Failure { at, what }),
        trace: world.trace.into_text(),
    }
}
