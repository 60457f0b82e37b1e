//! Planted bugs: how we know that the simulator sees.
//!
//! A bug is planted around a machine, not in it: what the machine hears,
//! says or is started with is altered so that the node behaves as if it had
//! the bug. Where a machine would have to decide otherwise between two
//! events, the one that should lose is given a later tock on its way in.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::event::{
    Event, Hail, Info, Mark, NamedLink, NodeInfo, NodeName, PeerMessage, Say, Tick, TickSet, Turn,
    Update,
};
use crate::node::time::Timestamp;
use crate::sim::host::Host;
use crate::sim::ledger::{Ledger, LifeIx, rank};

/// A bug that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Plant {
    /// Of two events of one tock, the one that comes later wins.
    WrongTie,
    /// A deletion wins over whatever it meets.
    DeletionWins,
    /// A write wins over a deletion, however much later that is.
    WriteRevives,
    /// What is fetched replaces what is there.
    FetchReplaces,
    /// An event is told with the tock of the time when it is sent.
    LateTock,
    /// Some ticks are booked as known, and their events never taken in.
    DroppedTick,
    /// Some events of the node itself never leave it.
    LostOutbox,
    /// An event is sent once, whether it comes back or not.
    NotSentAgain,
    /// An entry whose last change somebody has no interest in goes.
    KnownForgets,
    /// A process that starts again begins at its first tick.
    ReusedTick,
    /// A process that starts from a file goes on at its last tick there.
    LoadedTick,
    /// A file's last record is not read.
    LastRecord,
    /// Deletions are forgotten at a deleter's first word.
    EarlyPurge,
    /// A watch does not hear of changes behind its walk.
    WatchGap,
    /// A watch hears of two changes in the wrong order.
    WatchOrder,
    /// A watch is resumed behind a change that it has not seen.
    WatchResume,
    /// A node of the original is taken for one of this program, so that ties
    /// are not settled with it.
    TakenForOurs,
    /// A tick that is called deleted takes what was built on it as well.
    DeletedReaches,
}

impl Plant {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 18] = [
        (Self::WrongTie, "wrong-tie"),
        (Self::DeletionWins, "deletion-wins"),
        (Self::WriteRevives, "write-revives"),
        (Self::FetchReplaces, "fetch-replaces"),
        (Self::LateTock, "late-tock"),
        (Self::DroppedTick, "dropped-tick"),
        (Self::LostOutbox, "lost-outbox"),
        (Self::NotSentAgain, "not-sent-again"),
        (Self::KnownForgets, "known-forgets"),
        (Self::ReusedTick, "reused-tick"),
        (Self::LoadedTick, "loaded-tick"),
        (Self::LastRecord, "last-record"),
        (Self::EarlyPurge, "early-purge"),
        (Self::WatchGap, "watch-gap"),
        (Self::WatchOrder, "watch-order"),
        (Self::WatchResume, "watch-resume"),
        (Self::TakenForOurs, "taken-for-ours"),
        (Self::DeletedReaches, "deleted-reaches"),
    ];

    /// Whether only networks show it in which nodes of the original take part.
    #[must_use]
    pub const fn needs_originals(self) -> bool {
        matches!(self, Self::TakenForOurs | Self::DeletedReaches)
    }
}

/// One of so many events falls victim to a plant that takes some.
const SOME: u64 = 16;

/// The bug that is planted in a process, and what it remembers.
#[derive(Debug)]
pub(super) struct Plants {
    plant: Option<Plant>,
    sent: BTreeSet<Tick>,
}

impl Plants {
    pub(super) const fn new(plant: Option<Plant>) -> Self {
        Self {
            plant,
            sent: BTreeSet::new(),
        }
    }

    /// The machine says something; what the others get to hear.
    pub(super) fn tells(
        &mut self,
        host: &mut Host,
        now: Timestamp,
        mut message: Box<PeerMessage>,
    ) -> Option<Box<PeerMessage>> {
        let PeerMessage::Update(Update { event, again }) = &mut *message else {
            return Some(message);
        };
        let head = event.chain.first()?;
        let mine = head.node == *host.replica().name();
        match self.plant {
            Some(Plant::LateTock) if again.is_some() => event.tock = host.replica().tock(),
            Some(Plant::LostOutbox) if mine && head.tick.0.is_multiple_of(SOME) => {
                // as if it had come back
                host.handle_peer(now, &message);
                return None;
            }
            Some(Plant::NotSentAgain) if again.is_none() && !self.sent.insert(head.tick) => {
                return None;
            }
            _ => {}
        }
        Some(message)
    }

    /// Something reaches the machine; what it gets to hear.
    pub(super) fn hears<'m>(
        &self,
        host: &mut Host,
        message: &'m PeerMessage,
        ledger: &Ledger,
        life: LifeIx,
    ) -> Cow<'m, PeerMessage> {
        if self.plant == Some(Plant::EarlyPurge) && matches!(message, PeerMessage::Del(_)) {
            host.purge_early();
        }
        let altered = match (self.plant, message) {
            (Some(_), PeerMessage::Update(update)) => self.update(host, update, ledger, life),
            (Some(Plant::KnownForgets), PeerMessage::Info(info)) => forgotten(info, ledger, life),
            (Some(Plant::TakenForOurs), PeerMessage::Ping(turn)) => marked(turn),
            (_, PeerMessage::Info(info)) => {
                let altered = self.books(host, &info.info, ledger, life);
                altered.map(|books| {
                    let mut info = info.clone();
                    info.info = books;
                    PeerMessage::Info(info)
                })
            }
            _ => None,
        };
        altered.map_or(Cow::Borrowed(message), Cow::Owned)
    }

    fn update(
        &self,
        host: &Host,
        update: &Update,
        ledger: &Ledger,
        life: LifeIx,
    ) -> Option<PeerMessage> {
        let head = update.event.chain.first()?;
        if self.drops(host, &update.event) {
            let ticks = TickSet::from_iter([head.tick.0..=head.tick.0]);
            let known = Some(vec![(head.node.clone(), ticks)]);
            return Some(PeerMessage::Info(Info {
                info: NodeInfo {
                    known,
                    ..NodeInfo::default()
                },
                tock: update.event.tock,
                ..Info::default()
            }));
        }
        let event = self.favoured(&update.event, false, ledger, life)?;
        let again = update.again.clone();
        Some(PeerMessage::Update(Update { event, again }))
    }

    /// An entry is fetched; what the machine gets. `None`: nothing.
    pub(super) fn fetches<'m>(
        &self,
        host: &Host,
        event: &'m Event,
        ledger: &Ledger,
        life: LifeIx,
    ) -> Option<Cow<'m, Event>> {
        if self.drops(host, event) {
            return None;
        }
        let altered = self.favoured(event, true, ledger, life);
        Some(altered.map_or(Cow::Borrowed(event), Cow::Owned))
    }

    /// Bookkeeping is told; what the machine gets, if it is something else.
    pub(super) fn books(
        &self,
        host: &Host,
        info: &NodeInfo,
        ledger: &Ledger,
        life: LifeIx,
    ) -> Option<NodeInfo> {
        (self.plant == Some(Plant::DeletedReaches)).then(|| reached(info, host, ledger, life))?
    }

    fn drops(&self, host: &Host, event: &Event) -> bool {
        self.plant == Some(Plant::DroppedTick)
            && event.chain.first().is_some_and(|head| {
                head.tick.0.is_multiple_of(SOME) && head.node != *host.replica().name()
            })
    }

    /// The event with a later tock, if it is to win although it should not.
    fn favoured(
        &self,
        event: &Event,
        fetched: bool,
        ledger: &Ledger,
        life: LifeIx,
    ) -> Option<Event> {
        let key = ledger.key(&event.path)?;
        let held = ledger.event(ledger.head(life, key)?);
        let loses = rank(event) < rank(held);
        let wins = match self.plant? {
            Plant::WrongTie => loses && event.tock == held.tock,
            Plant::DeletionWins => loses && event.value.is_none() && held.value.is_some(),
            Plant::WriteRevives => loses && event.value.is_some() && held.value.is_none(),
            Plant::FetchReplaces => loses && fetched,
            _ => false,
        };
        let mut event = event.clone();
        event.tock.0 = held.tock.0 + 1;
        wins.then_some(event)
    }
}

/// A turn as it would be if a node of this program had it.
fn marked(turn: &Turn) -> Option<PeerMessage> {
    let mut turn = turn.clone();
    match &mut turn {
        Turn::Ping { mark, .. } if mark.is_none() => {
            *mark = Some(Mark { boot: 1, sum: None });
            Some(PeerMessage::Ping(turn))
        }
        // its first word, as one of ours says it
        Turn::Init(node) => Some(PeerMessage::Info(Info {
            node: node.clone(),
            hail: Some(Hail {
                say: Say::Here,
                boot: 1,
                addr: Vec::new(),
                sum: None,
            }),
            ..Info::default()
        })),
        _ => None,
    }
}

/// "Deleted" as the original understands it: it concerns all entries whose
/// chains have such a tick somewhere.
fn reached(info: &NodeInfo, host: &Host, ledger: &Ledger, life: LifeIx) -> Option<NodeInfo> {
    let told = info.deleted.as_ref()?;
    let called = |link: &NamedLink| {
        let is =
            |(name, ticks): &(NodeName, TickSet)| *name == link.node && ticks.contains(link.tick.0);
        told.iter().any(is)
    };
    let events = host.events().into_iter();
    let heads = events.filter_map(|event| {
        let held = ledger.value(life, ledger.key(&event.path)?)?;
        let head = held.chain.first()?;
        let hit = event.chain.iter().any(called);
        hit.then(|| {
            (
                head.node.clone(),
                TickSet::from_iter([head.tick.0..=head.tick.0]),
            )
        })
    });
    let mut altered = info.clone();
    altered.deleted = Some(heads.chain(told.iter().cloned()).collect());
    Some(altered)
}

/// "Known" as it would be if it meant "deleted".
fn forgotten(info: &Info, ledger: &Ledger, life: LifeIx) -> Option<PeerMessage> {
    let known = info.info.known.as_ref()?;
    let heads = ledger.keys().filter_map(|(key, _)| {
        let head = ledger.value(life, key)?.chain.first()?;
        let listed =
            |(name, ticks): &(NodeName, TickSet)| *name == head.node && ticks.contains(head.tick.0);
        let ticks = TickSet::from_iter([head.tick.0..=head.tick.0]);
        known.iter().any(listed).then(|| (head.node.clone(), ticks))
    });
    let deleted: Vec<_> = heads.collect();
    if deleted.is_empty() {
        return None;
    }
    let mut altered = info.clone();
    altered.info.deleted = Some(deleted);
    Some(PeerMessage::Info(altered))
}
