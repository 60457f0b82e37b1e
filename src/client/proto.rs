//! The client's half of the protocol, without socket, runtime or clock.
//!
//! Bytes from the server go in by [`Protocol::handle_bytes`] and come out as
//! [`Delivery`]s, one a call of [`Protocol::poll_delivery`]; requests go in by
//! [`Protocol::request`] and come out as bytes to send in
//! [`Protocol::output`]. In between it keeps what the protocol demands: the
//! numbers that tie replies to requests, the frames of streams, the paths
//! that were sent shortened, the acknowledgements.
//!
//! Rules it keeps: a number is never used twice, nothing is sent for a
//! request after its end, a message for an unknown number is ignored, an
//! error without number ends the connection.
//!
//! Source: the client protocol's sections 1 to 6; differs from the original's
//! client in that it sends no hello and no window unless asked, and leaves
//! the pace of a connection to TCP.

mod fields;
mod message;
mod paths;

use std::collections::BTreeMap;

pub use fields::Fields;
pub use message::{Greeting, Message, State};

use crate::client::error::{Error, Refusal};
use crate::msgpack::{Fault, Walker, write};
use crate::path::PathError;
use paths::Shortened;

/// The number of a request, which all its replies carry.
pub type Seq = u64;

/// Greatest message that is read, in bytes.
pub const MAX_FRAME: usize = 100 << 20;

/// What a request is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// One message
    Reply,
    /// Any number of messages between a start and an end
    Stream,
}

/// Something that arrived.
#[derive(Debug)]
pub enum Delivery {
    /// The server introduced itself; comes once, and first.
    Greeting(Greeting),
    /// The server has accepted a request for a stream.
    Started(Seq, Message),
    /// The answer to a request, or the next message of its stream
    Message(Seq, Message),
    /// The request, or the stream at this point, failed.
    Failed(Seq, Refusal),
    /// Nothing more comes for this request.
    End(Seq),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing has arrived yet.
    New,
    /// Within a stream
    Open,
    /// The caller is gone before anything arrived.
    Ignored,
    /// The caller is satisfied or gone: a stream is ignored up to its end.
    Draining,
}

/// A request that has not been answered to its end.
#[derive(Debug)]
struct Route {
    expect: Expect,
    phase: Phase,
    paths: Shortened,
    /// Messages that may be under way unacknowledged; 0: any number
    window: u64,
    acked: u64,
    /// For a `stop`: what it stops
    stops: Option<Seq>,
}

/// One connection's state.
#[derive(Debug)]
pub struct Protocol {
    input: Vec<u8>,
    /// Where the first unread message begins in `input`
    start: usize,
    walker: Walker,
    max_frame: usize,
    output: Vec<u8>,
    routes: BTreeMap<Seq, Route>,
    next: Seq,
    greeted: bool,
    window: u64,
    /// Of a message that yields two
    pending: Option<Delivery>,
}

impl Default for Protocol {
    fn default() -> Self {
        Self::new(MAX_FRAME)
    }
}

impl Protocol {
    /// A connection on which nothing has happened, that refuses messages of
    /// more than `max_frame` bytes.
    #[must_use]
    pub fn new(max_frame: usize) -> Self {
        Self {
            input: Vec::new(),
            start: 0,
            walker: Walker::new(),
            max_frame,
            output: Vec::new(),
            routes: BTreeMap::new(),
            next: 1,
            greeted: false,
            window: 0,
            pending: None,
        }
    }

    /// Takes bytes from the server, cut anywhere.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.input.drain(..self.start);
            self.start = 0;
        }
        self.input.extend_from_slice(bytes);
    }

    /// The next thing that the bytes taken so far say; `None` if that needs
    /// more of them.
    ///
    /// # Errors
    /// [`Error::Protocol`] if the bytes are no messages, and [`Error::Closed`]
    /// if the server said that it gives up. The connection is of no use
    /// after either.
    pub fn poll_delivery(&mut self) -> Result<Option<Delivery>, Error> {
        if let Some(delivery) = self.pending.take() {
            return Ok(Some(delivery));
        }
        while let Some(message) = self.poll_message()? {
            if let Some(delivery) = self.route(message)? {
                return Ok(Some(delivery));
            }
        }
        Ok(None)
    }

    fn poll_message(&mut self) -> Result<Option<Message>, Error> {
        let unread = self.input.get(self.start..).unwrap_or(&[]);
        if unread.is_empty() {
            return Ok(None);
        }
        let end = self.walker.advance(unread)?;
        if end.unwrap_or(unread.len()) > self.max_frame {
            return Err(Error::Protocol(format!(
                "a message of more than {} bytes",
                self.max_frame
            )));
        }
        let Some(frame) = end.and_then(|end| unread.get(..end)) else {
            return Ok(None);
        };
        self.start += frame.len();
        let message = Message::decode(frame)?;
        if self.start == self.input.len() {
            self.input.clear();
            self.start = 0;
            self.input.shrink_to(1 << 16);
        }
        Ok(Some(message))
    }

    fn route(&mut self, message: Message) -> Result<Option<Delivery>, Error> {
        if !self.greeted {
            self.greeted = true;
            return Ok(Some(Delivery::Greeting(Greeting::decode(&message)?)));
        }
        let Some(seq) = message.seq() else {
            // without number, only an error means something: the server gives up
            return match message.error() {
                Some(why) => Err(Error::Closed(why.to_owned())),
                None => Ok(None),
            };
        };
        let Some(route) = self.routes.get_mut(&seq) else {
            return Ok(None);
        };
        if message.state() == Some(State::Ack) {
            return Ok(None);
        }
        if matches!(route.phase, Phase::Ignored | Phase::Draining) {
            self.ignore(seq, &message);
            return Ok(None);
        }
        self.deliver(seq, message)
    }

    /// A message that somebody waits for.
    fn deliver(&mut self, seq: Seq, mut message: Message) -> Result<Option<Delivery>, Error> {
        let Some(route) = self.routes.get_mut(&seq) else {
            return Ok(None);
        };
        // In a stream of messages from a broker, the payload may be in error
        // without the stream being.
        let failed = message.error().is_some() && message.field("topic").is_none();
        let open = route.phase == Phase::Open;
        let state = message.state();
        if !failed && state == Some(State::Start) {
            route.phase = Phase::Open;
            return Ok((!open).then_some(Delivery::Started(seq, message)));
        }
        if failed {
            let refusal = Refusal::of(&message);
            match route.expect {
                Expect::Stream if open => {}
                Expect::Reply if open => route.phase = Phase::Draining,
                Expect::Reply => {
                    self.routes.remove(&seq);
                }
                Expect::Stream => {
                    self.routes.remove(&seq);
                    self.pending = Some(Delivery::End(seq));
                }
            }
            return Ok(Some(Delivery::Failed(seq, refusal)));
        }
        if let Some(full) = route.paths.complete(&message)? {
            message.set_path(full);
        }
        if state == Some(State::End) {
            let expect = route.expect;
            self.routes.remove(&seq);
            return Ok(Some(match expect {
                Expect::Stream => Delivery::End(seq),
                Expect::Reply => Delivery::Message(seq, message),
            }));
        }
        match (route.expect, open) {
            (Expect::Stream, true) => {}
            (Expect::Stream, false) => {
                // a stream of one message, sent without frame
                self.routes.remove(&seq);
                self.pending = Some(Delivery::End(seq));
            }
            (Expect::Reply, true) => {
                route.phase = Phase::Draining;
                if let Some(wseq) = message.wseq() {
                    self.taken(seq, wseq);
                }
            }
            (Expect::Reply, false) => {
                self.routes.remove(&seq);
            }
        }
        Ok(Some(Delivery::Message(seq, message)))
    }

    /// A message that nobody waits for any more.
    fn ignore(&mut self, seq: Seq, message: &Message) {
        let Some(route) = self.routes.get_mut(&seq) else {
            return;
        };
        let stopped = route.stops;
        let first = route.phase == Phase::Ignored;
        match message.state() {
            Some(State::Start) if first => route.phase = Phase::Draining,
            Some(State::End) => {
                self.routes.remove(&seq);
            }
            _ if first => {
                self.routes.remove(&seq);
            }
            _ => {
                if let Some(wseq) = message.wseq() {
                    self.taken(seq, wseq);
                }
            }
        }
        // "false": the stream had ended when the request to stop it came
        let ended = message.field("result") == Some(&[0xc2]) || message.error().is_some();
        if let (Some(stopped), true) = (stopped, ended) {
            self.routes.remove(&stopped);
        }
    }

    /// Sends a request and returns its number.
    pub fn request(&mut self, action: &str, fields: &Fields, expect: Expect) -> Seq {
        let seq = self.next;
        // 2^64 requests take longer than any connection lives
        self.next = seq.wrapping_add(1);
        fields.write_request(&mut self.output, action, seq);
        let window = fields.window().unwrap_or(self.window);
        self.routes.insert(
            seq,
            Route {
                expect,
                phase: Phase::New,
                paths: Shortened::default(),
                window,
                acked: 0,
                stops: None,
            },
        );
        seq
    }

    /// Asks for flow control on every stream: at most `window` messages under
    /// way unacknowledged. Only valid before the first request; the original
    /// cannot work with 1 to 3.
    pub fn hello(&mut self, window: u32) {
        write::map(&mut self.output, 2);
        write::str(&mut self.output, "seq");
        write::uint(&mut self.output, 0);
        write::str(&mut self.output, "qlen");
        write::uint(&mut self.output, u64::from(window));
        self.window = u64::from(window);
    }

    /// The caller has taken message `wseq` of a stream; acknowledges if it is
    /// time to.
    pub fn taken(&mut self, seq: Seq, wseq: u64) {
        let Some(route) = self.routes.get_mut(&seq) else {
            return;
        };
        if route.window == 0 || wseq.saturating_sub(route.acked) <= route.window / 3 {
            return;
        }
        route.acked = wseq;
        write::map(&mut self.output, 3);
        write::str(&mut self.output, "seq");
        write::uint(&mut self.output, seq);
        write::str(&mut self.output, "state");
        write::str(&mut self.output, "ack");
        write::str(&mut self.output, "ack");
        write::uint(&mut self.output, wseq);
    }

    /// The caller is no longer interested: a stream is stopped, what still
    /// arrives is ignored.
    pub fn give_up(&mut self, seq: Seq) {
        let Some(route) = self.routes.get_mut(&seq) else {
            return;
        };
        route.phase = match route.phase {
            Phase::New => Phase::Ignored,
            Phase::Open => Phase::Draining,
            Phase::Ignored | Phase::Draining => return,
        };
        if route.expect == Expect::Stream {
            let mut fields = Fields::new();
            fields.uint("task", seq);
            let stop = self.request("stop", &fields, Expect::Reply);
            if let Some(route) = self.routes.get_mut(&stop) {
                route.phase = Phase::Ignored;
                route.stops = Some(seq);
            }
        }
    }

    /// Bytes to send. The caller takes them out.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Number of requests that have not been answered to their end.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.routes.len()
    }
}

impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Protocol(fault.to_string())
    }
}
