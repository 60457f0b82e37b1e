//! What the original's nodes do otherwise than this program's, each habit by
//! its name. A node of this program has none of them; the simulator gives
//! them to machines that stand for the original's nodes, so that what ours
//! promise can be tried beside them.
//!
//! Each habit but the first can be taken away from such a machine, which then
//! does in this respect what ours do. Without feature `sim` nobody has any,
//! and all that depends on them is left out.

/// A habit of the original's nodes. The numbers are those of the list of its
/// faults in the description of its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Habit {
    /// It says and hears nothing that only this program knows (greetings,
    /// runs, sums), and leaves out what only this program does: to tell ticks
    /// unasked, to object to what others give up, to settle ties, to compare
    /// itself. It takes part in splits and answers at the original's pace.
    Plain,
    /// What an event's chain says decides; then the later tock, then who comes
    /// later; a write wins over any deletion. An event that comes too late
    /// stays missing (4, 5, 7).
    Tie,
    /// A hole is asked for once until a split has been mended, and only in a
    /// turn or after a split; none is given up (8).
    AskOnce,
    /// What is sent again has two links, and the others are not told that the
    /// deeper ones are known (8).
    TwoLinks,
    /// A tick that somebody calls deleted takes with it whatever entry has it
    /// anywhere in its chain, all below it, and those above it that have no
    /// other child. A write keeps the chain of the deletion before it (9, 10).
    DeletedKills,
    /// Forgetting a deletion has the same effect, and so has the deletion on
    /// what was written since (10). As a deleter it confirms whether or not it
    /// lacks anything.
    PurgeKills,
    /// What was not heard by anybody is not sent again.
    NoOutbox,
    /// A connection that breaks is not made again (2).
    NoReconnect,
    /// Its own events are taken in when they come back, and told again if that
    /// changes anything (6).
    Echo,
    /// An event is told a little later than it is made, with the tock that its
    /// entry has by then (6).
    LateTock,
    /// Having started again, it goes on from the tick that it finds (12).
    ReusedTick,
    /// It does not serve before nothing is missing (14).
    Waits,
    /// Its file does not keep deletions (15).
    LostDeletions,
}

impl Habit {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 13] = [
        (Self::Plain, "plain"),
        (Self::Tie, "tie"),
        (Self::AskOnce, "ask-once"),
        (Self::TwoLinks, "two-links"),
        (Self::DeletedKills, "deleted-kills"),
        (Self::PurgeKills, "purge-kills"),
        (Self::NoOutbox, "no-outbox"),
        (Self::NoReconnect, "no-reconnect"),
        (Self::Echo, "echo"),
        (Self::LateTock, "late-tock"),
        (Self::ReusedTick, "reused-tick"),
        (Self::Waits, "waits"),
        (Self::LostDeletions, "lost-deletions"),
    ];
}

/// The habits of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Habits(u16);

impl Habits {
    /// A node of this program.
    pub const NONE: Self = Self(0);

    /// A node of the original.
    #[must_use]
    pub fn original() -> Self {
        Habit::ALL.iter().map(|(habit, _)| *habit).collect()
    }

    /// Whether the node has a habit.
    #[inline]
    #[must_use]
    pub const fn has(self, habit: Habit) -> bool {
        cfg!(feature = "sim") && self.0 & (1 << habit as u16) != 0
    }

    /// Whether it is to be taken for a node of the original.
    #[inline]
    #[must_use]
    pub const fn is_original(self) -> bool {
        self.has(Habit::Plain)
    }

    /// Whether nothing that such a node does keeps it from agreeing with ours
    /// in the end.
    #[must_use]
    pub fn can_agree(self) -> bool {
        use Habit::{Echo, Plain, Tie, TwoLinks, Waits};
        let harmless: Self = [Plain, Tie, TwoLinks, Echo, Waits].into_iter().collect();
        self.0 & !harmless.0 == 0
    }

    /// With one more.
    #[must_use]
    pub const fn with(self, habit: Habit) -> Self {
        Self(self.0 | 1 << habit as u16)
    }

    /// The habits' names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = Habit::ALL.into_iter();
        all.filter_map(move |(habit, name)| self.has(habit).then_some(name))
    }
}

impl FromIterator<Habit> for Habits {
    fn from_iter<I: IntoIterator<Item = Habit>>(habits: I) -> Self {
        habits.into_iter().fold(Self::NONE, Self::with)
    }
}
