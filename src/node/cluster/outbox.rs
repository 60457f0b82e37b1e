//! What this node wrote and the others may not have: its own ticks until
//! each has come back from the broker.
//!
//! Only ticks are kept, as intervals; what they stand for is looked up when
//! it is sent. So the outbox takes no memory to speak of however long the
//! broker is away, and a value that was written over meanwhile is not sent
//! any more. A message's way back, or what the backend makes of the broker's
//! word that it has it, shows that the broker had it; the nodes notice by the
//! ticks what the broker then lost.

use std::collections::VecDeque;
use std::time::Duration;

use crate::event::TickSet;
use crate::node::time::Timestamp;

/// Messages that may be under way.
const WINDOW: usize = 1024;
/// Bytes that may be under way.
const WINDOW_BYTES: usize = 4 << 20;
/// How long a message's way back may take at first.
const PATIENCE: Duration = Duration::from_secs(3);

/// This node's events that are not known to have reached the broker.
#[derive(Debug)]
pub struct Outbox {
    /// Still to be sent
    kept: TickSet,
    /// Sent, in this order, and not come back
    flying: VecDeque<Flight>,
    /// Bytes of these
    bytes: usize,
    /// How long to wait for one
    patience: Duration,
    /// There is more to look at than one turn should.
    again_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    tick: u64,
    since: Timestamp,
    bytes: usize,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            kept: TickSet::new(),
            flying: VecDeque::new(),
            bytes: 0,
            patience: PATIENCE,
            again_at: None,
        }
    }
}

impl Outbox {
    /// Whether everything has come back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.flying.is_empty()
    }

    /// How many events have not come back.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.kept.count() + self.flying.len() as u64
    }

    /// Whether an event may be sent before it is kept: nothing waits.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.kept.is_empty() && self.has_room_for_kept()
    }

    pub(super) fn has_room_for_kept(&self) -> bool {
        self.flying.is_empty() || (self.flying.len() < WINDOW && self.bytes < WINDOW_BYTES)
    }

    pub(super) fn has_kept(&self) -> bool {
        !self.kept.is_empty()
    }

    /// This event is to be sent later.
    pub(super) fn keep(&mut self, tick: u64) {
        self.kept.insert(tick);
    }

    /// The next event to send; it is not kept any more.
    pub(super) fn next_kept(&mut self) -> Option<u64> {
        let tick = *self.kept.ranges().next()?.start();
        self.kept.remove(tick);
        Some(tick)
    }

    /// This event has been sent.
    #[inline]
    pub(super) fn sent(&mut self, tick: u64, now: Timestamp, bytes: usize) {
        self.bytes += bytes;
        self.flying.push_back(Flight {
            tick,
            since: now,
            bytes,
        });
    }

    /// This event has come back.
    #[inline]
    pub(super) fn came_back(&mut self, tick: u64) {
        // nearly always it is the first
        let at = self.flying.iter().position(|f| f.tick == tick);
        if let Some(flight) = at.and_then(|at| self.flying.remove(at)) {
            self.bytes -= flight.bytes;
            self.patience = PATIENCE;
        }
    }

    /// Nothing that was sent will come back.
    pub(super) fn lost(&mut self) {
        for flight in self.flying.drain(..) {
            self.kept.insert(flight.tick);
        }
        self.bytes = 0;
        self.again_at = None;
        self.patience = PATIENCE;
    }

    /// What should have come back is to be sent again; patience grows up to
    /// `most`.
    pub(super) fn expire(&mut self, now: Timestamp, most: Duration) {
        self.again_at = None;
        let patience = self.patience;
        let mut expired = false;
        while let Some(first) = self.flying.front().copied()
            && now.since(first.since) >= patience
        {
            expired = true;
            self.flying.pop_front();
            self.bytes -= first.bytes;
            self.kept.insert(first.tick);
        }
        if expired {
            self.patience = (patience * 2).min(most.max(PATIENCE));
        }
    }

    /// What could be sent has been; `more` if one turn was not enough.
    pub(super) fn pumped(&mut self, now: Timestamp, more: bool) {
        self.again_at = (more && !self.kept.is_empty()).then_some(now);
    }

    /// When to look after what has not come back.
    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        let first = self.flying.front().map(|f| f.since.after(self.patience));
        [first, self.again_at].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(outbox: &mut Outbox) -> Vec<u64> {
        std::iter::from_fn(|| outbox.next_kept()).collect()
    }

    #[test]
    fn an_event_stays_until_it_has_come_back() {
        let mut outbox = Outbox::default();
        for tick in 1..=4 {
            outbox.sent(tick, Timestamp(tick), 10);
        }
        outbox.keep(5);
        outbox.came_back(1);
        outbox.came_back(3);
        assert_eq!(outbox.len(), 3);
        assert_eq!(outbox.bytes, 20);
        outbox.lost();
        assert_eq!(kept(&mut outbox), [2, 4, 5], "in order");
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_does_not_come_back_is_sent_again_ever_more_slowly() {
        let mut outbox = Outbox::default();
        let mut now = Timestamp(0);
        let mut waits = Vec::new();
        for _ in 0..5 {
            outbox.sent(1, now, 1);
            let due = outbox.next_timeout().unwrap();
            waits.push(due.since(now).as_secs());
            now = due;
            outbox.expire(now, Duration::from_secs(10));
            assert_eq!(kept(&mut outbox), [1]);
        }
        assert_eq!(waits, [3, 6, 10, 10, 10]);
        outbox.sent(2, now, 1);
        outbox.came_back(2);
        outbox.sent(3, now, 1);
        assert_eq!(outbox.next_timeout(), Some(now.after(PATIENCE)));
    }

    #[test]
    fn only_so_much_is_under_way() {
        let mut outbox = Outbox::default();
        assert!(outbox.has_room());
        outbox.sent(1, Timestamp(0), WINDOW_BYTES);
        assert!(!outbox.has_room(), "bytes");
        outbox.came_back(1);
        for tick in 2..2 + WINDOW as u64 {
            assert!(outbox.has_room());
            outbox.sent(tick, Timestamp(0), 1);
        }
        assert!(!outbox.has_room(), "messages");
        outbox.came_back(2);
        outbox.keep(9999);
        assert!(!outbox.has_room(), "what waits comes first");
        assert!(outbox.has_room_for_kept());
    }
}
