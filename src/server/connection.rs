//! One client's connection: bytes in, requests to the machine, bytes out.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::event::SessionId;
use crate::node::Machine;
use crate::node::time::Timestamp;
use crate::server::node::{Inner, Node};
use crate::wire::client::{Inbox, Incoming, Outbox};

/// Bytes that may wait for a client before its requests are no longer read.
const UNSENT: usize = 1 << 20;
/// How long the rest of a message may take to begin to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Entries that a running request handles in one turn.
const SLICE: usize = 256;
/// Reads, or slices, before other clients have their turn.
const TURNS: usize = 4;

/// Serves one client until it goes.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, node: Rc<Node>) {
    let id = node.with(|_, inner| inner.connect(peer.ip().is_loopback()));
    tracing::debug!(%peer, session = id.0, "connected");
    let mut connection = Connection {
        stream,
        id,
        node: Rc::clone(&node),
        inbox: Inbox::new(node.frame),
        partial: Vec::new(),
        stalled: false,
        ended: false,
        closing: false,
        patience: None,
    };
    match poll_fn(|cx| connection.poll(cx)).await {
        Ok(()) => tracing::debug!(%peer, session = id.0, "disconnected"),
        Err(why) => tracing::debug!(%peer, session = id.0, %why, "connection lost"),
    }
    node.with(|_, inner| inner.disconnect(id));
}

/// How a connection is, after what could be sent has been.
struct Now {
    /// Bytes that wait for the socket
    unsent: usize,
    /// Whether running requests may have something to do
    more: bool,
}

struct Connection {
    stream: TcpStream,
    id: SessionId,
    node: Rc<Node>,
    inbox: Inbox,
    /// The beginning of a message whose rest has not come
    partial: Vec<u8>,
    /// `partial` holds whole messages, which wait for room in the outbox
    stalled: bool,
    /// Nothing more comes from the client.
    ended: bool,
    /// What waits is sent, then the connection ends.
    closing: bool,
    patience: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut turns = 0;
        loop {
            let Now {
                mut unsent,
                mut more,
            } = self.flush(cx)?;
            if more {
                more = self.node.with(|_, inner| {
                    inner.asking = Some(self.id);
                    inner.machine.advance(self.id, SLICE)
                });
                unsent = self.flush(cx)?.unsent;
            }
            if self.closing {
                if unsent == 0 {
                    return self.shut_down(cx);
                }
                return self.rest(cx);
            }
            if self.ended && !more && !self.stalled && unsent == 0 {
                return Poll::Ready(Ok(()));
            }
            let read = if unsent >= UNSENT || (self.ended && !self.stalled) {
                Poll::Pending
            } else if self.stalled {
                self.take(&[]);
                Poll::Ready(true)
            } else {
                self.read(cx)?
            };
            match read {
                Poll::Ready(true) => {}
                // who has asked may still listen: what is under way is sent
                Poll::Ready(false) => self.ended = true,
                // all was flushed above, or the socket says when it can be
                Poll::Pending if !more => return self.rest(cx),
                Poll::Pending => {}
            }
            turns += 1;
            if turns >= TURNS {
                self.flush(cx)?;
                // there is more to do, after the others
                cx.waker().wake_by_ref();
                return self.rest(cx);
            }
        }
    }

    /// Sends what can be sent, and looks at how things are.
    fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<Now> {
        let ending = self.node.peek(|inner| inner.is_ending());
        if ending && !self.closing {
            self.closing = true;
            self.node
                .with(|_, inner| inner.machine.handle_ending(self.id));
        }
        self.node.peek(|inner| {
            let more = inner.machine.attend(self.id) && !self.closing;
            let mut now = Now { unsent: 0, more };
            let mut allowed = inner.allowed(self.id);
            let Some(sink) = inner.machine.sink(self.id) else {
                return Ok(now);
            };
            let mut sent = 0;
            while let Some(bytes) = sink.bytes().get(..allowed)
                && !bytes.is_empty()
            {
                match Pin::new(&mut self.stream).poll_write(cx, bytes) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(n)) => {
                        sink.consume(n);
                        allowed = allowed.saturating_sub(n);
                        sent += n;
                    }
                    Poll::Ready(Err(why)) => return Err(why),
                }
            }
            now.unsent = sink.bytes().len();
            inner.sent(self.id, sent);
            Ok(now)
        })
    }

    /// Reads once, and hands over what is whole; false at the end.
    fn read(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<bool>> {
        let node = Rc::clone(&self.node);
        let mut scratch = node.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Err(why)) => Err(why),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Ok(Poll::Ready(false)),
            Poll::Ready(Ok(())) => {
                self.take(buffer.filled());
                Ok(Poll::Ready(true))
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.patience = None;
        let node = Rc::clone(&self.node);
        node.with(|now, inner| {
            inner.asking = Some(self.id);
            if self.partial.is_empty() {
                let used = self.messages(now, inner, bytes);
                if let Some(rest) = bytes.get(used..) {
                    self.partial.extend_from_slice(rest);
                }
            } else {
                let mut held = std::mem::take(&mut self.partial);
                held.extend_from_slice(bytes);
                let used = self.messages(now, inner, &held);
                held.drain(..used);
                if held.is_empty() {
                    held = Vec::new();
                }
                self.partial = held;
            }
        });
    }

    /// Handles all whole messages; returns how many bytes they had.
    fn messages(&mut self, now: Timestamp, inner: &mut Inner, bytes: &[u8]) -> usize {
        let mut used = 0;
        self.stalled = false;
        while !self.closing {
            if unsent(&mut inner.machine, self.id) >= UNSENT {
                self.stalled = true;
                break;
            }
            let rest = bytes.get(used..).unwrap_or(&[]);
            if let Some(usual) = self.inbox.usual(rest) {
                let (handle, request) = (usual.handle(), usual.request());
                inner.machine.handle_client(now, self.id, &handle, request);
                used += usual.size();
                continue;
            }
            match self.inbox.next(rest) {
                Ok(None) => break,
                Ok(Some((len, message))) => {
                    handle(now, &mut inner.machine, self.id, message);
                    used += len;
                }
                Err(why) => {
                    inner.machine.handle_nonsense(self.id, &why.to_string());
                    self.closing = true;
                }
            }
        }
        if self.closing { bytes.len() } else { used }
    }

    /// Goes to sleep until something happens.
    fn rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let node = Rc::clone(&self.node);
        if node.peek(|inner| inner.rest(self.id, cx)) {
            let words = "too much waits for a client that does not read";
            return Poll::Ready(Err(io::Error::other(words)));
        }
        if self.partial.is_empty() || self.stalled || self.ended || self.closing {
            return Poll::Pending;
        }
        #[allow(clippy::disallowed_methods)] // the shell's clock
        let until = || Instant::now() + PATIENCE;
        let patience = self
            .patience
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until())));
        ready!(patience.as_mut().poll(cx));
        let words = format!("the rest of a message did not come within {PATIENCE:?}");
        node.with(|_, inner| inner.machine.handle_nonsense(self.id, &words));
        self.closing = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ends the connection after its last byte. What the client has sent
    /// meanwhile is read, or the system would throw away our last words.
    fn shut_down(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        let mut scratch = [0; 4096];
        for _ in 0..64 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Bytes that wait for the socket. What waits to be acknowledged does not
/// count: the acknowledgement must be read.
fn unsent(machine: &mut Machine<Outbox>, id: SessionId) -> usize {
    machine.sink(id).map_or(0, |sink| sink.bytes().len())
}

#[inline(never)] // what is usual has not come this way
fn handle(now: Timestamp, machine: &mut Machine<Outbox>, id: SessionId, message: Incoming<'_>) {
    match message {
        Incoming::Request(handle, request) => machine.handle_client(now, id, &handle, request),
        Incoming::Refused {
            handle,
            stream,
            why,
        } => {
            machine.handle_refused(id, &handle, stream, &why);
        }
        Incoming::Hello(window) => {
            if let Some(sink) = machine.sink(id) {
                sink.hello(window);
            }
        }
        Incoming::Ack(stream, n) => {
            if let Some(sink) = machine.sink(id) {
                sink.ack(&stream, n);
            }
        }
        Incoming::Ignored => {}
        Incoming::Nonsense(words) => machine.handle_nonsense(id, &words),
    }
}
