//! What a seed stands for: how many nodes, what weather, which faults, which
//! clients. A plan is data; nothing of it changes while it is carried out.

use std::time::Duration;

use crate::event::Settings;
use crate::node::habits::{Habit, Habits};
use crate::path::RawPath;
use crate::sim::rng::Rng;

/// Most nodes of a history.
pub const NODES: u8 = 7;

/// What messages may suffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weather {
    /// Shortest and longest time between a node and its broker
    pub delay: (Duration, Duration),
    /// Messages of a thousand that take much longer
    pub late: u32,
    /// … up to this
    pub latest: Duration,
    /// Messages of a thousand that get lost
    pub loss: u32,
    /// Messages of a thousand that come twice
    pub twice: u32,
    /// Whether the messages of one way keep their order
    pub ordered: bool,
}

impl Weather {
    /// What prevails once everything is mended.
    pub const CALM: Self = Self {
        delay: (Duration::from_millis(1), Duration::from_millis(20)),
        late: 0,
        latest: Duration::ZERO,
        loss: 0,
        twice: 0,
        ordered: true,
    };

    fn of(rng: &mut Rng) -> Self {
        let fast = rng.millis(1, 16);
        let (late, loss, twice) = match rng.below(4) {
            0 => (0, 0, 0),
            1 => (0, rng.between(1, 30), 10),
            2 => (20, rng.between(1, 100), rng.between(0, 100)),
            _ => (
                rng.between(0, 100),
                rng.between(0, 300),
                rng.between(0, 300),
            ),
        };
        let small = |n: u64| u32::try_from(n).unwrap_or(1000);
        Self {
            delay: (fast, fast + rng.millis(1, 512)),
            late: small(late),
            latest: rng.millis(1000, 60_000),
            loss: small(loss),
            twice: small(twice),
            ordered: rng.chance(500),
        }
    }
}

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// A node's connection to its broker breaks.
    LinkBreaks,
    /// A broker ends, and starts again.
    BrokerEnds,
    /// Brokers do not hear each other, in one direction or both.
    BridgeCut,
    /// A node hears nothing, and does not know.
    Deaf,
    /// A node is not heard, and does not know.
    Mute,
    /// A process is stopped for a while.
    Stopped,
    /// A process is killed; it starts again with nothing.
    Killed,
    /// A process is killed; it starts again with what its file holds, or with
    /// what had reached the disk of that.
    Crashed,
    /// All processes are killed at once; they start again with files of
    /// different age, some with nothing. Seldom.
    PowerCut,
    /// A node's shell could not keep what it heard.
    Overflow,
    /// A node's clock jumps ahead.
    ClockJumps,
    /// A second server is started under a node's name.
    Twin,
}

const TROUBLES: [Trouble; 11] = [
    Trouble::LinkBreaks,
    Trouble::BrokerEnds,
    Trouble::BridgeCut,
    Trouble::Deaf,
    Trouble::Mute,
    Trouble::Stopped,
    Trouble::Killed,
    Trouble::Crashed,
    Trouble::PowerCut,
    Trouble::Overflow,
    Trouble::ClockJumps,
];

/// What a history consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Nodes by number; the first founds the network
    pub nodes: u8,
    /// Nodes that are there from the beginning
    pub early: u8,
    /// Brokers: with two, a bridge joins them
    pub brokers: u8,
    /// Clients
    pub clients: u8,
    /// Inputs to nodes and acts of clients before everything is mended
    pub events: u32,
    /// Entries that clients use
    pub keys: Vec<RawPath>,
    /// Mean time between two acts of a client
    pub pace: Duration,
    /// What messages suffer until everything is mended
    pub weather: Weather,
    /// Mean time between two faults
    pub fault_every: Duration,
    /// How long a fault lasts at most
    pub fault_lasts: Duration,
    /// Which faults there are
    pub faults: Vec<Trouble>,
    /// How much faster or slower a node's clock may go, per mille
    pub skew: u64,
    /// Bytes that may wait for a watch
    pub watch_buffer: usize,
    /// Messages that are kept for a stopped process
    pub backlog: usize,
    /// Whether all nodes are named as deleters
    pub deleters: bool,
    /// How deleters take turns
    pub delete: Settings,
    /// Whether time is given for deletions to be forgotten
    pub purge: bool,
    /// Which nodes stand for the original's: one bit each, the first node's
    /// the lowest
    pub originals: u8,
    /// What these do otherwise
    pub habits: Habits,
}

impl Plan {
    /// The plan of a seed; `nodes` and `events` where they are given. `twins`
    /// adds second servers of one name to the faults.
    #[must_use]
    pub fn new(rng: &mut Rng, nodes: Option<u8>, events: u32, twins: bool) -> Self {
        let drawn = u8::try_from(rng.between(2, u64::from(NODES))).unwrap_or(NODES);
        let nodes = nodes.unwrap_or(drawn).clamp(2, NODES);
        let small = |n: u64| u8::try_from(n).unwrap_or(u8::MAX);
        let early = small(rng.between(u64::from(nodes.min(2)), u64::from(nodes)));
        let deleters = rng.chance(600);
        let purge = deleters && rng.chance(250);
        // deletions take their time to be forgotten
        let pace = if purge {
            rng.millis(2000, 16_000)
        } else {
            rng.millis(16, 8000)
        };
        let fault_every = rng.millis(500, 30_000);
        let mut faults: Vec<Trouble> = TROUBLES.into_iter().filter(|_| rng.chance(600)).collect();
        if faults.is_empty() {
            faults.push(Trouble::LinkBreaks);
        }
        if twins {
            faults.push(Trouble::Twin);
        }
        Self {
            nodes,
            early,
            brokers: small(rng.between(1, 2)),
            clients: small(rng.between(2, 6)),
            events,
            keys: keys(rng),
            pace,
            weather: Weather::of(rng),
            fault_every,
            fault_lasts: rng.millis(500, 60_000),
            faults,
            skew: if rng.chance(500) {
                rng.between(0, 50)
            } else {
                0
            },
            watch_buffer: usize::try_from(rng.spread(64, 4096)).unwrap_or(4096),
            backlog: usize::try_from(rng.spread(8, 512)).unwrap_or(512),
            deleters,
            delete: Settings {
                cycle: Duration::from_secs(rng.between(6, 20)),
                gap: Duration::from_secs(2),
                ..Settings::DELETE
            },
            purge,
            originals: 0,
            habits: Habits::NONE,
        }
    }

    /// The plan of a seed for a network in which nodes of the original take
    /// part, all with the same habits: those that are given, or as the seed
    /// says.
    #[must_use]
    pub fn mixed(rng: &mut Rng, nodes: Option<u8>, events: u32, habits: Option<Habits>) -> Self {
        let small = |n: u64| u8::try_from(n).unwrap_or(u8::MAX);
        let (ours, others) = (small(rng.between(1, 4)), small(rng.between(1, 3)));
        let mut plan = Self::new(rng, Some(nodes.unwrap_or(ours + others)), events, false);
        let others = others.min(plan.nodes - 1);
        while plan.originals.count_ones() < others.into() {
            plan.originals |= 1 << rng.place(plan.nodes.into());
        }
        let drawn = draw_habits(rng);
        plan.habits = habits.unwrap_or(drawn).with(Habit::Plain);
        plan
    }

    /// What a node does otherwise.
    #[must_use]
    pub const fn habits_of(&self, n: usize) -> Habits {
        if n < 8 && self.originals & (1 << n) != 0 {
            self.habits
        } else {
            Habits::NONE
        }
    }

    /// Whether nodes of the original take part.
    #[must_use]
    pub const fn is_mixed(&self) -> bool {
        self.originals != 0
    }
}

/// All habits, none but the first, one more, some, or some of those that keep
/// nobody from agreeing.
fn draw_habits(rng: &mut Rng) -> Habits {
    let drawn = rng.below(5);
    let one = rng.place(Habit::ALL.len());
    let habits = Habit::ALL.into_iter().enumerate();
    habits
        .filter(|(n, (habit, _))| match drawn {
            0 => true,
            1 => false,
            2 => *n == one,
            3 => rng.chance(500),
            _ => rng.chance(500) && Habits::NONE.with(*habit).can_agree(),
        })
        .map(|(_, (habit, _))| habit)
        .collect()
}

/// Paths of one to three elements, many of them below others.
fn keys(rng: &mut Rng) -> Vec<RawPath> {
    let wanted = rng.place(31) + 10;
    let names = ["a", "b", "c", "d", "e", "f"];
    let names = names.get(..rng.place(4) + 3).unwrap_or(&names);
    let mut keys = vec![RawPath::new()];
    // a small alphabet may not have that many
    for _ in 0..wanted * 4 {
        if keys.len() == wanted {
            break;
        }
        let mut path = RawPath::new();
        for _ in 0..=rng.place(3) {
            path.push_str(rng.pick(names).unwrap_or(&"a"));
        }
        if !keys.contains(&path) {
            keys.push(path);
        }
    }
    keys
}

/// Where the names of the deleters stand.
#[must_use]
pub fn deleters_path() -> RawPath {
    let mut path = RawPath::new();
    path.push_nil();
    path.push_str("actor");
    path.push_str("del");
    path
}
