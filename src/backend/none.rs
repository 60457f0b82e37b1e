//! A node alone: no broker, no peers. Its clients' messages reach its own
//! clients.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use crate::backend::{Backend, Input};
use crate::event::Effect;

/// No way to anybody.
#[derive(Debug, Default)]
pub struct NoBackend {
    /// Messages on their way back
    looped: VecDeque<Input>,
}

impl Backend for NoBackend {
    fn take(&mut self, effect: Effect) {
        // whoever sends messages drains them in the same turn, so that this
        // never holds more than one turn's
        if let Effect::Send { topic, payload } = effect {
            self.looped.push_back(Input::Message { topic, payload });
        }
    }

    fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<Input> {
        // nothing comes from outside: there is nobody to wake for
        self.looped.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn messages_come_back_in_order() {
        let mut backend = NoBackend::default();
        let mut cx = Context::from_waker(Waker::noop());
        for n in 0..3 {
            backend.take(Effect::Send {
                topic: vec!["a".into()],
                payload: vec![n],
            });
        }
        for n in 0..3 {
            let message = Input::Message {
                topic: vec!["a".into()],
                payload: vec![n],
            };
            assert_eq!(backend.poll(&mut cx), Poll::Ready(message));
        }
        assert_eq!(backend.poll(&mut cx), Poll::Pending);
    }
}
