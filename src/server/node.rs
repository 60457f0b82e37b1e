//! The node as its tasks share it: the machine, the way to the others, and
//! whom to wake.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use crate::backend::{Backend, Input, NoBackend};
use crate::event::{Refused, SessionId};
use crate::node::machine::Seed;
use crate::node::suspend::Verdict;
use crate::node::time::Timestamp;
use crate::node::{Effects, Machine, Output};
use crate::server::{Begin, Options};
use crate::wire::client::{Outbox, Windows};

/// Bytes that may wait for all clients together; beyond it the one with the
/// most is let go.
const ALL_WAITING: usize = 256 << 20;
/// Bytes that one read takes at most.
const READ: usize = 64 << 10;

/// What all tasks share. Lent by [`Node::with`] only.
#[derive(Debug)]
pub(super) struct Node {
    inner: RefCell<Inner>,
    /// Where reads go first: most messages come whole, and are never copied
    pub(super) scratch: RefCell<Box<[u8]>>,
    started: Instant,
    pub(super) frame: usize,
}

/// What [`Node::with`] lends.
pub(super) struct Inner {
    pub(super) machine: Machine<Outbox>,
    backend: Box<dyn Backend>,
    clients: Vec<Option<Client>>,
    /// How many there are
    count: usize,
    waiting: usize,
    ending: bool,
    /// Wakes the task that drives the backend and the timer.
    driver: Waker,
    /// Wakes who waits for the last client to go.
    last: Waker,
    pub(super) windows: Windows,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("clients", &self.count)
            .finish_non_exhaustive()
    }
}

/// What is known of a client's connection.
#[derive(Debug)]
struct Client {
    waker: Waker,
    waiting: usize,
    /// It holds too much and must go.
    condemned: bool,
}

impl Node {
    /// The first node of a network.
    pub(super) fn start(options: &Options) -> Result<Self, Refused> {
        // the key of this process's hash maps is the system's random number
        let random = || {
            use std::hash::{BuildHasher, Hasher};
            std::hash::RandomState::new().build_hasher().finish()
        };
        let seed = Seed {
            hash: random(),
            run: random() >> 2,
        };
        let backend = Box::new(NoBackend::default());
        let root = options.root_topic.clone();
        let mut machine = Machine::new(&options.name, root, options.limits.clone(), seed);
        machine.set_effects(Effects { persist: false });
        if let Begin::First(root) = &options.begin {
            machine.found(root)?;
        }
        let mut inner = Inner {
            machine,
            backend,
            clients: Vec::new(),
            count: 0,
            waiting: 0,
            ending: false,
            driver: Waker::noop().clone(),
            last: Waker::noop().clone(),
            windows: Windows {
                most: options.buffer,
            },
        };
        inner.settle(Timestamp(0));
        #[allow(clippy::disallowed_methods)] // the shell's clock
        let started = Instant::now();
        Ok(Self {
            inner: RefCell::new(inner),
            scratch: RefCell::new(vec![0; READ].into()),
            started,
            frame: options.frame,
        })
    }

    /// Lends the machine for one input or batch of inputs, and sees to what
    /// follows from it.
    pub(super) fn with<R>(&self, f: impl FnOnce(Timestamp, &mut Inner) -> R) -> R {
        let now = self.now();
        let mut inner = self.inner.borrow_mut();
        let result = f(now, &mut inner);
        inner.settle(now);
        result
    }

    /// Lends what is not an input.
    pub(super) fn peek<R>(&self, f: impl FnOnce(&mut Inner) -> R) -> R {
        f(&mut self.inner.borrow_mut())
    }

    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Number of clients.
    pub(super) fn count(&self) -> usize {
        self.peek(|inner| inner.count)
    }

    /// Tells all connections that the server ends.
    pub(super) fn end(&self) {
        self.peek(|inner| {
            inner.ending = true;
            for client in inner.clients.iter().flatten() {
                client.waker.wake_by_ref();
            }
        });
    }

    /// Waits for the last client to go.
    pub(super) async fn all_gone(&self) {
        poll_fn(|cx| {
            self.peek(|inner| {
                if inner.count == 0 {
                    return Poll::Ready(());
                }
                inner.last.clone_from(cx.waker());
                Poll::Pending
            })
        })
        .await;
    }
}

impl Inner {
    /// A client has come.
    pub(super) fn connect(&mut self) -> SessionId {
        let id = self.machine.handle_connected(Outbox::new(self.windows));
        let at = id.0 as usize;
        if self.clients.len() <= at {
            self.clients.resize_with(at + 1, || None);
        }
        if let Some(slot) = self.clients.get_mut(at) {
            *slot = Some(Client {
                waker: Waker::noop().clone(),
                waiting: 0,
                condemned: false,
            });
        }
        self.count += 1;
        id
    }

    /// A client is gone.
    pub(super) fn disconnect(&mut self, id: SessionId) {
        self.machine.handle_disconnected(id);
        if let Some(client) = self.clients.get_mut(id.0 as usize).and_then(Option::take) {
            self.waiting = self.waiting.saturating_sub(client.waiting);
            self.count -= 1;
        }
        if self.count == 0 {
            self.last.wake_by_ref();
        }
    }

    /// Whether the server ends.
    pub(super) const fn is_ending(&self) -> bool {
        self.ending
    }

    /// A connection's task goes to sleep: whom to wake for it, and how much
    /// waits. Returns whether it must go instead.
    pub(super) fn rest(&mut self, id: SessionId, cx: &Context<'_>) -> bool {
        let waiting = self
            .machine
            .sink(id)
            .map_or(0, |sink| crate::event::Sink::waiting(sink));
        let Some(client) = self.clients.get_mut(id.0 as usize).and_then(Option::as_mut) else {
            return true;
        };
        if !client.waker.will_wake(cx.waker()) {
            client.waker = cx.waker().clone();
        }
        let condemned = client.condemned;
        self.waiting = self.waiting + waiting - client.waiting;
        client.waiting = waiting;
        if self.waiting > ALL_WAITING {
            let clients = self.clients.iter_mut().flatten().filter(|c| !c.condemned);
            if let Some(largest) = clients.max_by_key(|c| c.waiting) {
                largest.condemned = true;
                largest.waker.wake_by_ref();
            }
        }
        condemned
    }

    /// Does what the machine says is to be done, until nothing is left.
    fn settle(&mut self, now: Timestamp) {
        loop {
            while let Some(output) = self.machine.poll_output() {
                self.carry_out(now, output);
            }
            match self.backend.poll(&mut Context::from_waker(&self.driver)) {
                Poll::Pending => break,
                Poll::Ready(Input::Peer(message)) => self.machine.handle_peer(now, &message),
                Poll::Ready(Input::Message { topic, payload }) => {
                    self.machine.handle_message(&topic, &payload);
                }
                Poll::Ready(Input::Up) => self.machine.handle_up(now),
                Poll::Ready(Input::Down) => self.machine.handle_down(now),
                Poll::Ready(Input::Gap) => self.machine.handle_gap(now),
            }
        }
    }

    fn carry_out(&mut self, now: Timestamp, output: Output) {
        match output {
            Output::Ready(id) => {
                if let Some(client) = self.clients.get(id.0 as usize).and_then(Option::as_ref) {
                    client.waker.wake_by_ref();
                }
            }
            Output::Carry(effect) => self.backend.take(effect),
            Output::Check { token, .. } => {
                // nobody has set a guard, so this is the answer to nothing
                let no = Verdict::Fail("no script engine".to_owned());
                self.machine.handle_verdict(now, token, no);
            }
            // no log is open, so none is made
            Output::Persist(_) => {}
            Output::Fetch(_) | Output::Serve | Output::Synced => {}
            Output::Fault(_) | Output::Report(_) => {}
        }
        // a new deadline concerns whoever keeps the time
        if self.machine.poll_timeout().is_some() {
            self.driver.wake_by_ref();
        }
    }
}

/// Lets time pass for the machine, and brings what comes from the others.
pub(super) async fn drive(node: Rc<Node>) {
    let mut timer = None;
    poll_fn(|cx| {
        loop {
            // settling asks the backend, which wakes this task for more
            let due = node.with(|now, inner| {
                inner.driver.clone_from(cx.waker());
                inner.machine.handle_timeout(now);
                inner.machine.poll_timeout()
            });
            let Some(due) = due else { return Poll::Pending };
            let due = node.started + std::time::Duration::from_micros(due.0);
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            timer.as_mut().reset(due);
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::<()>::Pending;
            }
        }
    })
    .await;
}
