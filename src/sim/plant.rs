//! Planted bugs: how we know that the simulator sees.
//!
//! A bug is planted around a machine, not in it: what the machine hears or
//! says is altered so that the node behaves as if it had the bug.

use std::borrow::Cow;

use crate::event::PeerMessage;
use crate::node::time::Timestamp;
use crate::sim::host::Host;
use crate::sim::ledger::{Ledger, LifeIx};

/// A bug that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Plant {
    /// Of two events of one tock, the one that comes later wins.
    WrongTie,
    /// A watch does not hear of changes behind its walk.
    WatchGap,
}

impl Plant {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 2] =
        [(Self::WrongTie, "wrong-tie"), (Self::WatchGap, "watch-gap")];
}

/// The bug that is planted in a process, and what it remembers.
#[derive(Debug)]
pub(super) struct Plants {
    plant: Option<Plant>,
}

impl Plants {
    pub(super) const fn new(plant: Option<Plant>) -> Self {
        Self { plant }
    }

    /// The machine says something; what the others get to hear.
    #[allow(clippy::unused_self)]
    pub(super) fn tells(
        &mut self,
        _host: &mut Host,
        _now: Timestamp,
        message: Box<PeerMessage>,
    ) -> Option<Box<PeerMessage>> {
        Some(message)
    }

    /// Something reaches the machine; what it gets to hear.
    pub(super) fn hears<'m>(
        &mut self,
        _host: &mut Host,
        _now: Timestamp,
        message: &'m PeerMessage,
        ledger: &Ledger,
        life: LifeIx,
    ) -> Option<Cow<'m, PeerMessage>> {
        if self.plant == Some(Plant::WrongTie)
            && let PeerMessage::Update(update) = message
            && let Some(key) = ledger.key(&update.event.path)
            && let Some(head) = ledger.head(life, key)
        {
            let held = ledger.event(head);
            if held.tock == update.event.tock && held.chain.first() != update.event.chain.first() {
                let mut altered = update.clone();
                altered.event.tock.0 += 1;
                return Some(Cow::Owned(PeerMessage::Update(altered)));
            }
        }
        Some(Cow::Borrowed(message))
    }
}
