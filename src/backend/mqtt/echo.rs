//! What this node said and would hear again from a broker that sends it back.
//!
//! MQTT 5 knows subscriptions without one's own messages, which saves the
//! broker half of its work where nodes are two. That it has taken what we
//! said it then shows by the answer to a ping: it handles a connection's
//! packets in order. So what was said waits here until the next ping's answer
//! and is handed to the node then, as if it had come back.
//!
//! Nothing here outlives its connection, and what does not fit is not handed
//! back: the node then says it again.

use std::collections::VecDeque;

use crate::backend::Input;
use crate::event::PeerMessage;

use super::link::{FRAME, MESSAGES, OUT_BYTES};

/// Pings that may be unanswered for more to be sent. One alone would let the
/// broker rest between its answer and our next ping.
const PINGS: usize = 2;

/// What was said, in order, and the pings behind it.
#[derive(Debug, Default)]
pub(super) struct Echo {
    said: VecDeque<(Input, usize)>,
    bytes: usize,
    /// How many were said and handed back since the connection began
    count: u64,
    back: u64,
    /// For each unanswered ping, how many were said before it
    pings: VecDeque<u64>,
}

impl Echo {
    /// This has been said; it weighs so much.
    pub(super) fn say(&mut self, input: Input, weight: usize) {
        let bytes = self.bytes.saturating_add(weight).saturating_add(FRAME);
        if self.said.len() < MESSAGES && bytes <= OUT_BYTES {
            self.bytes = bytes;
            self.said.push_back((input, weight));
            self.count += 1;
        }
    }

    /// Whether a ping would tell more than those under way.
    pub(super) fn wants_ping(&self) -> bool {
        let covered = self.pings.back().copied().unwrap_or(self.back);
        self.count > covered && self.pings.len() < PINGS
    }

    /// A ping has been written behind all that was said.
    pub(super) fn ping(&mut self) {
        self.pings.push_back(self.count);
    }

    /// A ping was answered: hands back what was said before it.
    pub(super) fn answer(&mut self, batch: &mut Vec<(Input, usize)>) {
        let Some(upto) = self.pings.pop_front() else {
            return;
        };
        while self.back < upto
            && let Some(first) = self.take()
        {
            batch.push(first);
        }
    }

    /// This has come in spite of all, because a client wants to hear what is
    /// said or because the broker knows no better: it is not handed back
    /// again. (Were it, that would do no harm.)
    pub(super) fn heard(&mut self, message: &PeerMessage) {
        if let Some((Input::Peer(first), _)) = self.said.front()
            && **first == *message
        {
            self.take();
        }
    }

    fn take(&mut self) -> Option<(Input, usize)> {
        let (input, weight) = self.said.pop_front()?;
        self.bytes = self.bytes.saturating_sub(weight.saturating_add(FRAME));
        self.back += 1;
        if self.said.is_empty() && self.said.capacity() > KEPT {
            self.said = VecDeque::new();
        }
        Some((input, weight))
    }
}

/// A queue that has grown beyond this is not kept when it is empty.
const KEPT: usize = 1 << 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{NodeName, Turn};

    fn message(number: u32) -> PeerMessage {
        PeerMessage::Ping(Turn::Init(NodeName::new(&number.to_string())))
    }

    fn input(number: u32) -> Input {
        Input::Peer(Box::new(message(number)))
    }

    fn answered(echo: &mut Echo) -> Vec<Input> {
        let mut batch = Vec::new();
        echo.answer(&mut batch);
        batch.into_iter().map(|(input, _)| input).collect()
    }

    #[test]
    fn an_answer_hands_back_what_was_said_before_its_ping() {
        let mut echo = Echo::default();
        assert!(!echo.wants_ping(), "nothing was said");
        assert!(answered(&mut echo).is_empty(), "nobody asked");
        echo.say(input(1), 1);
        echo.say(input(2), 1);
        assert!(echo.wants_ping());
        echo.ping();
        assert!(!echo.wants_ping(), "all is covered");
        echo.say(input(3), 1);
        assert_eq!(answered(&mut echo), [input(1), input(2)]);
        assert!(echo.wants_ping());
        echo.ping();
        assert_eq!(answered(&mut echo), [input(3)]);
        assert!(!echo.wants_ping());
        // a ping of a connection that is idle
        echo.ping();
        assert!(answered(&mut echo).is_empty());
    }

    #[test]
    fn few_pings_are_under_way() {
        let mut echo = Echo::default();
        let mut pings = 0;
        for number in 0..100 {
            echo.say(input(number), 1);
            if echo.wants_ping() {
                echo.ping();
                pings += 1;
            }
        }
        assert_eq!(pings, PINGS);
        assert_eq!(answered(&mut echo), [input(0)]);
        assert!(echo.wants_ping());
        echo.ping();
        assert_eq!(answered(&mut echo), [input(1)]);
        assert_eq!(answered(&mut echo).len(), 98);
    }

    #[test]
    fn what_comes_back_is_not_handed_back_again() {
        let mut echo = Echo::default();
        for number in 1..=3 {
            echo.say(input(number), 1);
        }
        echo.ping();
        echo.heard(&message(1));
        echo.heard(&message(9));
        assert_eq!(answered(&mut echo), [input(2), input(3)]);
        // the ping before counts for nothing that was said after it
        echo.say(input(4), 1);
        echo.ping();
        echo.heard(&message(4));
        echo.say(input(5), 1);
        assert!(answered(&mut echo).is_empty());
        assert!(echo.wants_ping());
    }

    #[test]
    fn what_does_not_fit_is_not_handed_back() {
        let mut echo = Echo::default();
        echo.say(input(1), OUT_BYTES - 2 * FRAME);
        echo.say(input(2), FRAME);
        echo.say(input(3), 0);
        echo.ping();
        assert_eq!(answered(&mut echo), [input(1), input(3)]);
        assert_eq!(echo.bytes, 0, "there is room again");
        for number in 0..=u32::try_from(MESSAGES).unwrap() {
            echo.say(input(number), 0);
        }
        echo.ping();
        assert_eq!(answered(&mut echo).len(), MESSAGES);
        assert!(echo.said.capacity() <= KEPT);
    }
}
