//! One connection: the tokio shell around [`Protocol`].
//!
//! A task, owned by the client's handles, moves bytes between the socket and
//! the protocol and puts what arrives into one queue a request; callers wait
//! on their queue. Requests are written into the protocol's output by the
//! caller; many callers share one connection and one write.
//!
//! Rules: a queue that is not read stops the reading of the socket once it
//! holds [`SOFT`] bytes, unless somebody waits for a reply that the server
//! owes (else a stream's consumer that makes requests would wait for itself);
//! beyond the option's limit the stream is given up. A request waits while
//! [`OUTPUT`] bytes are unsent or [`REQUESTS`] requests open. The loss of the
//! connection ends every queue with its reason, after what had arrived.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;
use tokio::time::Sleep;

use crate::client::error::Error;
use crate::client::options::Options;
use crate::client::proto::{Delivery, Expect, Fields, Greeting, Message, Protocol, Seq};

/// Bytes in one queue that stop reading.
const SOFT: usize = 1 << 20;
/// Unsent bytes that make new requests wait.
const OUTPUT: usize = 1 << 20;
/// Open requests that make new ones wait.
const REQUESTS: usize = 1 << 16;
/// What a message in a queue costs beside its bytes.
const OVERHEAD: usize = 128;
/// Bytes read at once.
const CHUNK: usize = 1 << 16;

/// What waits in a request's queue.
#[derive(Debug)]
enum Arrived {
    Message(Message),
    Failed(Error),
    End,
}

/// What a request waits for.
#[derive(Debug, Default)]
struct Queue {
    arrived: VecDeque<Arrived>,
    bytes: usize,
    waker: Option<Waker>,
    /// By this the server has accepted the request for a stream.
    started: Option<Message>,
    /// Messages tell of events: the server does not owe the next one.
    eventual: bool,
}

#[derive(Debug)]
struct Inner {
    protocol: Protocol,
    queues: BTreeMap<Seq, Queue>,
    /// Bytes in all queues
    waiting: usize,
    greeting: Option<Arc<Greeting>>,
    greeting_waker: Vec<Waker>,
    /// Callers that wait for room, or for the end
    blocked: Vec<Waker>,
    driver: Option<Waker>,
    /// Reading has stopped because of a queue.
    stalled: bool,
    lost: Option<Error>,
    buffer: usize,
}

impl Inner {
    /// Whether the task has something to do.
    fn busy(&mut self) -> bool {
        !self.protocol.output().is_empty() || (self.stalled && self.may_read())
    }

    /// Whether there is room for what the server may send.
    fn may_read(&self) -> bool {
        let full = |q: &Queue| q.bytes >= SOFT;
        let owed = |q: &Queue| q.arrived.is_empty() && !q.eventual && q.waker.is_some();
        self.waiting < SOFT || !self.queues.values().any(full) || self.queues.values().any(owed)
    }

    fn remove(&mut self, seq: Seq) {
        if let Some(queue) = self.queues.remove(&seq) {
            self.waiting = self.waiting.saturating_sub(queue.bytes);
        }
    }

    /// The next message of a queue, for its caller.
    fn take(&mut self, seq: Seq) -> Option<Result<Message, Error>> {
        let queue = self.queues.get_mut(&seq)?;
        match queue.arrived.pop_front() {
            Some(Arrived::Message(message)) => {
                queue.bytes = queue.bytes.saturating_sub(cost(&message));
                self.waiting = self.waiting.saturating_sub(cost(&message));
                if let Some(wseq) = message.wseq() {
                    self.protocol.taken(seq, wseq);
                }
                Some(Ok(message))
            }
            Some(Arrived::Failed(error)) => Some(Err(error)),
            Some(Arrived::End) => {
                self.remove(seq);
                None
            }
            None => {
                let lost = self.lost.clone();
                self.remove(seq);
                lost.map(Err)
            }
        }
    }

    /// Puts what has arrived where it is waited for.
    fn dispatch(&mut self, wake: &mut Vec<Waker>) -> Result<(), Error> {
        while let Some(delivery) = self.protocol.poll_delivery()? {
            let (seq, arrived) = match delivery {
                Delivery::Greeting(greeting) => {
                    if let Some(method) = greeting.login {
                        return Err(Error::AuthRequired { method });
                    }
                    self.greeting = Some(Arc::new(greeting));
                    wake.append(&mut self.greeting_waker);
                    continue;
                }
                Delivery::Started(seq, message) => {
                    if let Some(queue) = self.queues.get_mut(&seq) {
                        queue.started = Some(message);
                        wake.extend(queue.waker.take());
                    }
                    continue;
                }
                Delivery::Message(seq, message) => (seq, Arrived::Message(message)),
                Delivery::Failed(seq, refusal) => (seq, Arrived::Failed(Error::Server(refusal))),
                Delivery::End(seq) => (seq, Arrived::End),
            };
            let Some(queue) = self.queues.get_mut(&seq) else {
                continue;
            };
            if let Arrived::Message(message) = &arrived {
                queue.bytes = queue.bytes.saturating_add(cost(message));
                self.waiting = self.waiting.saturating_add(cost(message));
            }
            queue.arrived.push_back(arrived);
            if queue.bytes > self.buffer {
                let failed = Error::Overrun(queue.bytes);
                queue.arrived.push_back(Arrived::Failed(failed));
                queue.arrived.push_back(Arrived::End);
                self.protocol.give_up(seq);
            }
            wake.extend(queue.waker.take());
        }
        if self.protocol.requests() < REQUESTS {
            wake.append(&mut self.blocked);
        }
        Ok(())
    }

    /// The connection is lost: everybody learns it.
    fn lose(&mut self, why: Error, wake: &mut Vec<Waker>) {
        self.lost.get_or_insert(why);
        wake.append(&mut self.greeting_waker);
        wake.append(&mut self.blocked);
        wake.extend(self.queues.values_mut().filter_map(|q| q.waker.take()));
    }
}

fn cost(message: &Message) -> usize {
    message.bytes().len().saturating_add(OVERHEAD)
}

/// What the task and the handles share.
#[derive(Debug)]
struct Shared(Mutex<Inner>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // no code panics while it holds this lock
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection, alive as long as this.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    request_timeout: Option<Duration>,
    /// Ends with this.
    _task: Mutex<JoinSet<()>>,
}

impl Connection {
    /// Takes over a transport. If the server has not greeted within `limit`,
    /// the connection is lost.
    pub(super) fn start<S>(transport: S, options: &Options, limit: Duration) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let shared = Arc::new(Shared(Mutex::new(Inner {
            protocol: Protocol::new(options.max_frame),
            queues: BTreeMap::new(),
            waiting: 0,
            greeting: None,
            greeting_waker: Vec::new(),
            blocked: Vec::new(),
            driver: None,
            stalled: false,
            lost: None,
            buffer: options.buffer,
        })));
        let mut task = JoinSet::new();
        task.spawn(Driver {
            shared: Arc::clone(&shared),
            transport,
            sending: Vec::new(),
            sent: 0,
            chunk: vec![0; CHUNK].into_boxed_slice(),
            silence: Some(Silence {
                end: Box::pin(tokio::time::sleep(limit)),
                error: options.silent(),
            }),
        });
        Self {
            shared,
            request_timeout: options.request_timeout,
            _task: Mutex::new(task),
        }
    }

    /// How the server introduces itself, once it has.
    pub(super) async fn greeting(&self) -> Result<Arc<Greeting>, Error> {
        poll_fn(|cx| {
            self.with(|inner| match (&inner.greeting, &inner.lost) {
                (Some(greeting), _) => Poll::Ready(Ok(Arc::clone(greeting))),
                (None, Some(lost)) => Poll::Ready(Err(lost.clone())),
                (None, None) => {
                    inner.greeting_waker.push(cx.waker().clone());
                    Poll::Pending
                }
            })
        })
        .await
    }

    /// Asks for flow control, as far as the server offers it. Only valid
    /// before the first request.
    pub(super) fn hello(&self, window: u32, greeting: &Greeting) {
        let window = u64::from(window).min(greeting.qlen);
        // what is not greater than a u32 fits into one
        let window = u32::try_from(window).unwrap_or(u32::MAX);
        self.with(|inner| inner.protocol.hello(window));
    }

    /// Runs with the state, then wakes the task if it has to do something.
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.shared.lock();
        let result = f(&mut inner);
        let driver = inner.busy().then(|| inner.driver.take()).flatten();
        drop(inner);
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }

    /// Sends a request once there is room for it.
    pub(super) async fn send(
        self: &Arc<Self>,
        action: &str,
        fields: &Fields,
        expect: Expect,
    ) -> Result<Ticket, Error> {
        let seq = poll_fn(|cx| {
            self.with(|inner| {
                if let Some(lost) = &inner.lost {
                    return Poll::Ready(Err(lost.clone()));
                }
                let full = inner.protocol.output().len() >= OUTPUT
                    || inner.protocol.requests() >= REQUESTS;
                if full {
                    inner.blocked.push(cx.waker().clone());
                    return Poll::Pending;
                }
                let seq = inner.protocol.request(action, fields, expect);
                inner.queues.insert(seq, Queue::default());
                Poll::Ready(Ok(seq))
            })
        })
        .await?;
        Ok(Ticket {
            connection: Arc::clone(self),
            seq,
        })
    }

    /// Resolves when the connection is lost.
    pub(super) async fn closed(&self) -> Error {
        let poll = |cx: &mut Context<'_>| {
            let mut inner = self.shared.lock();
            match &inner.lost {
                Some(lost) => Poll::Ready(lost.clone()),
                None => {
                    inner.blocked.push(cx.waker().clone());
                    Poll::Pending
                }
            }
        };
        poll_fn(poll).await
    }

    /// Whether the connection is lost.
    pub(super) fn is_closed(&self) -> bool {
        self.shared.lock().lost.is_some()
    }
}

/// A request under way. Dropped before its end, it is given up.
#[derive(Debug)]
pub(super) struct Ticket {
    connection: Arc<Connection>,
    seq: Seq,
}

impl Ticket {
    /// The reply to a request that has one.
    pub(super) async fn reply(mut self) -> Result<Message, Error> {
        let limit = self.connection.request_timeout;
        let first = within(limit, poll_fn(|cx| self.poll_next(cx))).await?;
        first.unwrap_or_else(|| Err(Error::Protocol("no reply".to_owned())))
    }

    /// Waits until the server has accepted the request for a stream; returns
    /// the message by which it has.
    pub(super) async fn begin(&mut self) -> Result<Option<Message>, Error> {
        let limit = self.connection.request_timeout;
        let accepted = |cx: &mut Context<'_>| {
            self.poll_queue(cx, |queue| {
                queue.started.is_some() || !queue.arrived.is_empty()
            })
        };
        within(limit, poll_fn(accepted)).await?;
        let started = |inner: &mut Inner| inner.queues.get_mut(&self.seq)?.started.take();
        Ok(self.connection.with(started))
    }

    /// From now on the server owes nothing: its messages tell of events.
    pub(super) fn wait_for_events(&self) {
        self.connection.with(|inner| {
            if let Some(queue) = inner.queues.get_mut(&self.seq) {
                queue.eventual = true;
            }
        });
    }

    /// The next message; `None` after the last one.
    pub(super) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        let arrived = self.poll_queue(cx, |queue| !queue.arrived.is_empty());
        arrived.map(|()| self.connection.with(|inner| inner.take(self.seq)))
    }

    /// Ready once the queue is as wanted, or never will be.
    fn poll_queue(&self, cx: &Context<'_>, wanted: impl FnOnce(&Queue) -> bool) -> Poll<()> {
        self.connection.with(|inner| {
            let lost = inner.lost.is_some();
            match inner.queues.get_mut(&self.seq) {
                Some(queue) if !lost && !wanted(queue) => {
                    match &mut queue.waker {
                        Some(waker) => waker.clone_from(cx.waker()),
                        None => queue.waker = Some(cx.waker().clone()),
                    }
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.connection.with(|inner| {
            inner.remove(self.seq);
            inner.protocol.give_up(self.seq);
        });
    }
}

/// Waits at most that long.
async fn within<T>(limit: Option<Duration>, wait: impl Future<Output = T>) -> Result<T, Error> {
    match limit {
        None => Ok(wait.await),
        Some(limit) => tokio::time::timeout(limit, wait)
            .await
            .map_err(|_| Error::Timeout(limit)),
    }
}

/// The task: moves bytes until the connection is lost.
struct Driver<S> {
    shared: Arc<Shared>,
    transport: S,
    sending: Vec<u8>,
    sent: usize,
    chunk: Box<[u8]>,
    /// Until the server has greeted
    silence: Option<Silence>,
}

/// How long a server may be silent, and what it is if it is.
struct Silence {
    end: Pin<Box<Sleep>>,
    error: Error,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Sends what there is; ready only with an error.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        loop {
            if self.sent >= self.sending.len() {
                self.sending.clear();
                self.sending.shrink_to(OUTPUT);
                self.sent = 0;
                let mut inner = self.shared.lock();
                inner.driver = Some(cx.waker().clone());
                std::mem::swap(inner.protocol.output(), &mut self.sending);
                let blocked = std::mem::take(&mut inner.blocked);
                drop(inner);
                blocked.into_iter().for_each(Waker::wake);
                if self.sending.is_empty() {
                    return match Pin::new(&mut self.transport).poll_flush(cx) {
                        Poll::Ready(Err(error)) => Poll::Ready(lost(&error)),
                        _ => Poll::Pending,
                    };
                }
            }
            let unsent = self.sending.get(self.sent..).unwrap_or(&[]);
            match Pin::new(&mut self.transport).poll_write(cx, unsent) {
                Poll::Ready(Ok(0)) => return Poll::Ready(ended()),
                Poll::Ready(Ok(n)) => self.sent += n,
                Poll::Ready(Err(error)) => return Poll::Ready(lost(&error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Ready with an error if the server has not greeted in time.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let Some(silence) = &mut self.silence else {
            return Poll::Pending;
        };
        if self.shared.lock().greeting.is_some() {
            self.silence = None;
            return Poll::Pending;
        }
        silence
            .end
            .as_mut()
            .poll(cx)
            .map(|()| silence.error.clone())
    }

    /// Reads what there is; ready only with an error.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        loop {
            let mut inner = self.shared.lock();
            inner.stalled = !inner.may_read();
            if inner.stalled {
                return Poll::Pending;
            }
            drop(inner);
            let mut chunk = ReadBuf::new(&mut self.chunk);
            match Pin::new(&mut self.transport).poll_read(cx, &mut chunk) {
                Poll::Ready(Ok(())) if chunk.filled().is_empty() => return Poll::Ready(ended()),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(lost(&error)),
                Poll::Pending => return Poll::Pending,
            }
            let mut wake = Vec::new();
            let mut inner = self.shared.lock();
            inner.protocol.handle_bytes(chunk.filled());
            let result = inner.dispatch(&mut wake);
            drop(inner);
            wake.into_iter().for_each(Waker::wake);
            if let Err(error) = result {
                return Poll::Ready(error);
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Driver<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // first of all, so that nothing that happens meanwhile goes unnoticed
        this.shared.lock().driver = Some(cx.waker().clone());
        // Reading first: it may make something to send.
        let poll = match this.poll_receive(cx) {
            Poll::Pending => this.poll_send(cx),
            lost => lost,
        };
        let lost = match poll {
            Poll::Pending => ready!(this.poll_silence(cx)),
            Poll::Ready(lost) => lost,
        };
        let mut wake = Vec::new();
        this.shared.lock().lose(lost, &mut wake);
        wake.into_iter().for_each(Waker::wake);
        Poll::Ready(())
    }
}

fn lost(error: &std::io::Error) -> Error {
    Error::Closed(error.to_string())
}

fn ended() -> Error {
    Error::Closed("the server ended it".to_owned())
}
