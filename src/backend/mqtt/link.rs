//! What passes between the node and who talks to the broker, be it a task or
//! a thread: two queues, each bounded by number and bytes.
//!
//! Neither side waits for the other. A batch is handed over under one lock,
//! and its receiver is woken once. What does not fit is dropped and marked:
//! the node learns of a gap and fetches what it has missed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::backend::Input;
use crate::event::{Effect, PeerMessage};

use super::topics;

/// Messages that may wait, either way.
pub(super) const MESSAGES: usize = 1 << 16;
/// Bytes of messages that may wait for the broker.
pub(super) const OUT_BYTES: usize = 16 << 20;
/// Bytes of messages that may wait for the node.
const IN_BYTES: usize = 32 << 20;
/// What a message weighs beside its payload.
pub(super) const FRAME: usize = 128;
/// Queues that have grown beyond this are not kept when they are empty.
const KEPT: usize = 1 << 10;

/// Both queues.
#[derive(Debug, Default)]
pub(super) struct Link {
    outgoing: Mutex<Outgoing>,
    incoming: Mutex<Incoming>,
}

#[derive(Debug, Default)]
struct Outgoing {
    queue: VecDeque<Effect>,
    bytes: usize,
    /// Whether the network's topics are subscribed: what is told before is
    /// not heard by all.
    up: bool,
    end: Option<End>,
    /// What clients want to hear, and how many of them
    filters: BTreeMap<String, usize>,
    talker: Option<Waker>,
}

#[derive(Debug, Default)]
struct Incoming {
    queue: VecDeque<Input>,
    bytes: usize,
    node: Option<Waker>,
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Say what waits, say goodbye.
    Close,
    /// Leave at once, as a crash does.
    Drop,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // nothing is half done where somebody may panic
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a node's message weighs, its frame aside.
pub(super) fn size(message: &PeerMessage) -> usize {
    match message {
        PeerMessage::Update(update) => {
            let value = update.event.value.as_ref();
            value.map_or(0, |value| value.len())
        }
        _ => 0,
    }
}

fn weight(effect: &Effect) -> usize {
    FRAME.saturating_add(match effect {
        Effect::Tell(message) => size(message),
        Effect::Send { payload, .. } => payload.len(),
        Effect::Subscribe(_) | Effect::Unsubscribe(_) => 0,
    })
}

/// The node's side.
impl Link {
    /// Takes what is to be carried.
    pub(super) fn take(&self, effect: Effect) {
        let mut outgoing = lock(&self.outgoing);
        match &effect {
            // whoever is told of the next `Up` says it again
            Effect::Tell(_) if !outgoing.up => return,
            Effect::Tell(_) => {}
            Effect::Send { topic, .. } => {
                if !topics::is_name(topic) {
                    tracing::debug!("no message can be sent to {topic:?}");
                    return;
                }
            }
            Effect::Subscribe(filter) => {
                if !topics::is_filter(filter) {
                    tracing::debug!("no messages can be had of {filter:?}");
                    return;
                }
                let count = outgoing.filters.entry(filter.join("/")).or_default();
                *count += 1;
                if *count > 1 {
                    return;
                }
            }
            Effect::Unsubscribe(filter) => {
                let filter = filter.join("/");
                match outgoing.filters.get_mut(&filter) {
                    Some(1) => outgoing.filters.remove(&filter),
                    Some(count) => {
                        *count -= 1;
                        return;
                    }
                    None => return,
                };
            }
        }
        let weight = weight(&effect);
        let is_message = matches!(effect, Effect::Tell(_) | Effect::Send { .. });
        let bytes = outgoing.bytes.saturating_add(weight);
        if is_message && (outgoing.queue.len() >= MESSAGES || bytes > OUT_BYTES) {
            let up = outgoing.up;
            drop(outgoing);
            if up {
                self.deliver(&mut vec![(Input::Gap, 0)]);
            }
            return;
        }
        outgoing.bytes = bytes;
        outgoing.queue.push_back(effect);
        if let Some(talker) = outgoing.talker.take() {
            drop(outgoing);
            talker.wake();
        }
    }

    /// Moves what has come to `queue`, which is empty.
    pub(super) fn poll_incoming(
        &self,
        cx: &mut Context<'_>,
        queue: &mut VecDeque<Input>,
    ) -> Poll<()> {
        let mut incoming = lock(&self.incoming);
        if incoming.queue.is_empty() {
            match &mut incoming.node {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        if queue.capacity() > KEPT {
            *queue = VecDeque::new();
        }
        std::mem::swap(queue, &mut incoming.queue);
        incoming.bytes = 0;
        Poll::Ready(())
    }

    /// Ends it.
    pub(super) fn end(&self, end: End) {
        let mut outgoing = lock(&self.outgoing);
        // whoever closes has said more than whoever drops it afterwards
        outgoing.end.get_or_insert(end);
        if let Some(talker) = outgoing.talker.take() {
            drop(outgoing);
            talker.wake();
        }
    }
}

/// The broker's side.
impl Link {
    /// Moves what is to be carried to `queue`, if it is empty. Returns
    /// whether and how it ends; wakes the task if there is more.
    pub(super) fn poll_outgoing(
        &self,
        cx: &Context<'_>,
        queue: &mut VecDeque<Effect>,
    ) -> Option<End> {
        let mut outgoing = lock(&self.outgoing);
        if queue.is_empty() && !outgoing.queue.is_empty() {
            if queue.capacity() > KEPT {
                *queue = VecDeque::new();
            }
            std::mem::swap(queue, &mut outgoing.queue);
            outgoing.bytes = 0;
        }
        match &mut outgoing.talker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        outgoing.end
    }

    /// Begins a connection: what clients want to hear. Their messages that
    /// wait are kept.
    pub(super) fn connected(&self) -> Vec<String> {
        let mut outgoing = lock(&self.outgoing);
        outgoing.keep_messages();
        outgoing.filters.keys().cloned().collect()
    }

    /// What is told from now on is carried.
    pub(super) fn up(&self) {
        lock(&self.outgoing).up = true;
        self.deliver(&mut vec![(Input::Up, 0)]);
    }

    /// What is told from now on is not carried, nor what waits.
    pub(super) fn down(&self) {
        let mut outgoing = lock(&self.outgoing);
        let was_up = std::mem::take(&mut outgoing.up);
        outgoing.keep_messages();
        drop(outgoing);
        if was_up {
            self.deliver(&mut vec![(Input::Down, 0)]);
        }
    }

    /// Waits until it ends.
    pub(super) async fn ended(&self) -> End {
        std::future::poll_fn(|cx| {
            let mut outgoing = lock(&self.outgoing);
            match &mut outgoing.talker {
                Some(waker) => waker.clone_from(cx.waker()),
                empty => *empty = Some(cx.waker().clone()),
            }
            match outgoing.end {
                Some(end) => Poll::Ready(end),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Hands over a batch of inputs with what they weigh, and empties it.
    pub(super) fn deliver(&self, batch: &mut Vec<(Input, usize)>) {
        if batch.is_empty() {
            return;
        }
        let mut incoming = lock(&self.incoming);
        for (input, weight) in batch.drain(..) {
            let is_message = matches!(input, Input::Peer(_) | Input::Message { .. });
            let bytes = incoming.bytes.saturating_add(weight).saturating_add(FRAME);
            if !is_message {
                // of these there are few, and nothing makes up for them
                if incoming.queue.back() != Some(&input) {
                    incoming.queue.push_back(input);
                }
            } else if incoming.queue.len() < MESSAGES && bytes <= IN_BYTES {
                incoming.bytes = bytes;
                incoming.queue.push_back(input);
            } else if incoming.queue.back() != Some(&Input::Gap) {
                incoming.queue.push_back(Input::Gap);
            }
        }
        if let Some(node) = incoming.node.take() {
            drop(incoming);
            node.wake();
        }
    }
}

impl Outgoing {
    /// Forgets all but clients' messages.
    fn keep_messages(&mut self) {
        self.queue.retain(|e| matches!(e, Effect::Send { .. }));
        self.bytes = self.queue.iter().map(weight).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{NodeName, Turn};

    fn levels(topic: &str) -> Vec<String> {
        topic.split('/').map(str::to_owned).collect()
    }

    fn send(size: usize) -> Effect {
        Effect::Send {
            topic: levels("a/b"),
            payload: vec![0; size],
        }
    }

    fn tell() -> Effect {
        let message = PeerMessage::Ping(Turn::Init(NodeName::new("a")));
        Effect::Tell(Box::new(message))
    }

    fn message(size: usize) -> (Input, usize) {
        let input = Input::Message {
            topic: levels("a/b"),
            payload: vec![0; size],
        };
        (input, size)
    }

    fn outgoing(link: &Link) -> VecDeque<Effect> {
        let mut queue = VecDeque::new();
        let cx = Context::from_waker(Waker::noop());
        assert_eq!(link.poll_outgoing(&cx, &mut queue), None);
        queue
    }

    fn incoming(link: &Link) -> VecDeque<Input> {
        let mut queue = VecDeque::new();
        let mut cx = Context::from_waker(Waker::noop());
        let _ = link.poll_incoming(&mut cx, &mut queue);
        queue
    }

    #[test]
    fn what_is_told_waits_for_nobody_who_is_away() {
        let link = Link::default();
        link.take(tell());
        link.take(send(1));
        assert_eq!(outgoing(&link), [send(1)]);
        link.up();
        link.take(tell());
        link.take(send(2));
        link.down();
        assert_eq!(outgoing(&link), [send(2)], "messages wait");
        assert_eq!(incoming(&link), [Input::Up, Input::Down]);
        link.down();
        assert!(incoming(&link).is_empty(), "it was down already");
    }

    #[test]
    fn a_filter_is_subscribed_once() {
        let link = Link::default();
        let (a, b) = (levels("a/+"), levels("b/#"));
        link.take(Effect::Subscribe(a.clone()));
        link.take(Effect::Subscribe(b.clone()));
        link.take(Effect::Subscribe(a.clone()));
        link.take(Effect::Unsubscribe(a.clone()));
        let subscribed = [Effect::Subscribe(a.clone()), Effect::Subscribe(b.clone())];
        assert_eq!(outgoing(&link), subscribed);
        assert_eq!(link.connected(), ["a/+", "b/#"]);
        link.take(Effect::Unsubscribe(a.clone()));
        link.take(Effect::Unsubscribe(a.clone()));
        assert_eq!(outgoing(&link), [Effect::Unsubscribe(a)]);
        assert_eq!(link.connected(), ["b/#"]);
    }

    #[test]
    fn what_does_not_fit_is_a_gap() {
        let link = Link::default();
        link.up();
        link.take(send(OUT_BYTES - 2 * FRAME));
        link.take(send(FRAME));
        link.take(send(FRAME));
        assert_eq!(outgoing(&link).len(), 1);
        assert_eq!(incoming(&link), [Input::Up, Input::Gap]);

        link.deliver(&mut vec![message(1), message(IN_BYTES), message(2)]);
        let kept = [message(1).0, Input::Gap, message(2).0];
        assert_eq!(incoming(&link), kept);

        let mut flood = (0..MESSAGES + 10).map(|_| message(0)).collect();
        link.deliver(&mut flood);
        let got = incoming(&link);
        assert_eq!(got.len(), MESSAGES + 1);
        assert_eq!(got.back(), Some(&Input::Gap));
        link.deliver(&mut vec![message(0)]);
        assert_eq!(incoming(&link), [message(0).0], "there is room again");
    }

    #[test]
    fn an_end_stays_what_it_was() {
        let link = Link::default();
        link.end(End::Close);
        link.end(End::Drop);
        let cx = Context::from_waker(Waker::noop());
        let end = link.poll_outgoing(&cx, &mut VecDeque::new());
        assert_eq!(end, Some(End::Close));
    }
}
