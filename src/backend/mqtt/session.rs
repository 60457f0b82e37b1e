//! One connection to a broker, from the first packet to the last.
//!
//! A single task reads, decodes, hands over and writes. It never waits for
//! the node: what comes is handed over at once or dropped and marked, and
//! while the socket takes no more, reading goes on. What a connection knows
//! ends with it; nothing old can come up in the next one.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep};

use crate::backend::Input;
use crate::event::Effect;
use crate::wire::cluster::Topic;

use super::dice::Dice;
use super::echo::Echo;
use super::link::{self, End, Link};
use super::packet::{Hello, NoPacket, Own, Packet, Reader, Version};
use super::topics::Wanted;
use super::transport::{Stream, TransportError};
use super::words::Words;
use super::{Setup, now, transport};

/// Bytes that one turn takes, and the least for which there is room.
const READ: usize = 64 << 10;
/// Bytes to write beyond which nothing more is encoded.
const ENOUGH: usize = 256 << 10;
/// How long a broker may take to accept us, from the first name look-up on.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// The number of the subscription of the network's own topics.
const OWN: u16 = 1;

/// Why there is no connection any more, or none at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("no answer")]
    NoAnswer,
    #[error("the broker refuses us: {0}")]
    Refused(String),
    #[error("the broker does not speak {0}")]
    Unknown(Version),
    #[error("the broker does not let us hear {0}")]
    Unheard(String),
    #[error("{0}")]
    Bye(String),
    #[error("the broker has closed the connection")]
    Closed,
    #[error("nothing was heard for {0:?}")]
    Silence(Duration),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    NoPacket(#[from] NoPacket),
}

impl SessionError {
    /// Whether the broker may speak another version, if this is what came
    /// of an attempt to connect. Some say so, some close the connection.
    pub(super) fn may_be_version(&self) -> bool {
        match self {
            Self::Unknown(_) | Self::Closed | Self::Io(_) | Self::NoPacket(_) => true,
            Self::Transport(_)
            | Self::NoAnswer
            | Self::Refused(_)
            | Self::Unheard(_)
            | Self::Bye(_)
            | Self::Silence(_) => false,
        }
    }

    /// Whether nobody listens there.
    #[cfg(feature = "broker")]
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::Transport(why) if why.is_refused())
    }
}

/// A connection that the broker has accepted.
pub(super) struct Session<'a> {
    setup: &'a Setup,
    link: &'a Link,
    words: &'a mut Words,
    version: Version,
    stream: Box<dyn Stream + Unpin>,
    reader: Reader,
    out: BytesMut,
    /// Whether there may be something that is written but not on its way
    unflushed: bool,
    queue: VecDeque<Effect>,
    /// What was read and is not handed over yet
    batch: Vec<(Input, usize)>,
    /// What clients want to hear
    wanted: Wanted,
    /// The last message that both a client and the node hear: the broker may
    /// send it once for each
    last: Option<(Topic, Bytes)>,
    /// What was said and does not come back, unless it all does
    echo: Option<Echo>,
    /// Subscriptions that are not answered, by number
    asked: BTreeMap<u16, Vec<String>>,
    /// The last of those without which we are not up; 0 when we are
    awaited: u16,
    last_id: u16,
    /// Greatest packet that we send
    limit: usize,
    keep_alive: Duration,
    began: Instant,
    /// When the broker was heard last
    heard: Instant,
    ping: Pin<Box<Sleep>>,
    /// The last words have been written.
    closing: bool,
}

impl<'a> Session<'a> {
    /// Connects, and waits until the broker accepts us in that version.
    pub(super) async fn open(
        setup: &'a Setup,
        version: Version,
        link: &'a Link,
        words: &'a mut Words,
        dice: &mut Dice,
    ) -> Result<Self, SessionError> {
        let opening = async {
            let mut stream = transport::connect(&setup.config, setup.packet).await?;
            let mut reader = Reader::new(version, setup.packet);
            let mut out = BytesMut::new();
            version.connect(
                &Hello {
                    client: &setup.client,
                    keep_alive: setup.keep_alive,
                    login: setup.config.uri.login(),
                    will: (setup.topic(Topic::Info), &setup.will),
                    packet: setup.packet,
                },
                &mut out,
            );
            stream.write_all(&out).await?;
            stream.flush().await?;
            loop {
                match reader.next()? {
                    Some(Packet::Welcome(welcome)) => return Ok((stream, reader, welcome)),
                    Some(Packet::Refused(why)) => return Err(SessionError::Refused(why)),
                    Some(Packet::Unknown) => return Err(SessionError::Unknown(version)),
                    Some(Packet::Bye(why)) => return Err(SessionError::Bye(why)),
                    Some(_) => return Err(SessionError::NoAnswer),
                    None => {}
                }
                if stream.read_buf(&mut reader.bytes).await? == 0 {
                    return Err(SessionError::Closed);
                }
            }
        };
        let opened = tokio::time::timeout(PATIENCE, opening).await;
        let (stream, reader, welcome) = opened.map_err(|_| SessionError::NoAnswer)??;
        let limit = welcome.packet.unwrap_or(usize::MAX).min(setup.packet);
        words.begin(limit, dice);
        let keep_alive = welcome.keep_alive.unwrap_or(setup.keep_alive).max(1);
        let keep_alive = Duration::from_secs(keep_alive.into());
        let mut session = Self {
            setup,
            link,
            words,
            version,
            stream,
            reader,
            out: BytesMut::new(),
            unflushed: false,
            queue: VecDeque::new(),
            batch: Vec::new(),
            wanted: Wanted::default(),
            last: None,
            echo: version.has_no_local().then(Echo::default),
            asked: BTreeMap::new(),
            awaited: 0,
            last_id: 0,
            limit,
            keep_alive,
            began: now(),
            heard: now(),
            ping: Box::pin(tokio::time::sleep(keep_alive)),
            closing: false,
        };
        session.introduce();
        Ok(session)
    }

    /// Subscribes all that is to be heard.
    fn introduce(&mut self) {
        let own = Topic::ALL.map(|topic| self.setup.topic(topic).to_owned());
        self.subscribe(own.into(), Own::Unheard);
        for filter in self.link.connected() {
            self.wanted.add(filter);
        }
        self.settle();
        self.awaited = self.last_id;
    }

    /// Carries and brings until the connection breaks or the backend ends.
    pub(super) async fn run(mut self) -> Result<End, SessionError> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<End, SessionError>> {
        let read = self.poll_read(cx);
        self.link.deliver(&mut self.batch);
        match read {
            // the broker closes the connection when it has read all of it
            Poll::Ready(_) if self.closing => return Poll::Ready(Ok(End::Close)),
            Poll::Ready(read) => read?,
            Poll::Pending => {}
        }
        if self.poll_write(cx)? == Some(End::Drop) {
            return Poll::Ready(Ok(End::Drop));
        }
        self.poll_ping(cx)
    }

    /// Reads until there is nothing more, or somebody else's turn.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        let mut taken = 0;
        while taken < READ {
            self.reader.bytes.reserve(READ);
            let read = self.stream.read_buf(&mut self.reader.bytes);
            let n = ready!(pin!(read).poll(cx))?;
            if n == 0 {
                return Poll::Ready(Err(SessionError::Closed));
            }
            taken += n;
            self.heard = now();
            while let Some(packet) = self.reader.next()? {
                self.handle(packet)?;
            }
            self.link.deliver(&mut self.batch);
        }
        // there may be more, but others share this thread
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn handle(&mut self, packet: Packet) -> Result<(), SessionError> {
        match packet {
            Packet::Message {
                topic,
                payload,
                ack,
            } => {
                if let Some(id) = ack {
                    self.version.acknowledge(id, &mut self.out);
                }
                self.handle_message(&topic, payload);
            }
            Packet::Subscribed { id, held } => self.handle_subscribed(id, &held)?,
            Packet::TooLarge(bytes) => {
                let why = format!("{bytes} bytes");
                self.words.skip("too long", &why, self.heard);
                self.batch.push((Input::Gap, 0));
            }
            Packet::Bye(why) => return Err(SessionError::Bye(why)),
            Packet::Pong => {
                if let Some(echo) = &mut self.echo {
                    echo.answer(&mut self.batch);
                }
            }
            Packet::Welcome(_) | Packet::Refused(_) | Packet::Unknown | Packet::Other => {}
        }
        Ok(())
    }

    fn handle_message(&mut self, topic: &str, payload: Bytes) {
        let own = self.setup.own_topic(topic);
        let is_wanted = self.wanted.wants(topic);
        if let Some(own) = own {
            // subscribed by us and for a client: what is the same is the
            // same message, for a repetition would tell a node nothing
            if is_wanted {
                let this = (own, payload.clone());
                if self.last.as_ref() == Some(&this) {
                    return;
                }
                self.last = Some(this);
            }
            if let Some(message) = self.words.hear(own, &payload, self.heard) {
                if let Some(echo) = &mut self.echo {
                    echo.heard(&message);
                }
                let input = Input::Peer(Box::new(message));
                self.batch.push((input, payload.len()));
            }
        }
        if is_wanted {
            let size = payload.len();
            self.batch.push((heard(topic, payload.to_vec()), size));
        }
    }

    fn handle_subscribed(&mut self, id: u16, held: &[bool]) -> Result<(), SessionError> {
        let asked = self.asked.remove(&id).unwrap_or_default();
        for (filter, _) in asked.into_iter().zip(held).filter(|(_, held)| !**held) {
            if id == OWN {
                return Err(SessionError::Unheard(filter));
            }
            tracing::info!("the broker does not let clients hear {filter}");
            self.wanted.refuse(filter);
            self.settle();
        }
        if self.awaited != 0 && self.asked.range(..=self.awaited).next().is_none() {
            self.awaited = 0;
            self.link.deliver(&mut self.batch);
            self.link.up();
        }
        Ok(())
    }

    /// Encodes and writes as much as the socket takes. Returns whether and
    /// how it ends.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Option<End>, SessionError> {
        loop {
            let end = self.link.poll_outgoing(cx, &mut self.queue);
            while self.out.len() < ENOUGH {
                match self.queue.pop_front() {
                    Some(effect) => self.carry(effect),
                    None => break,
                }
            }
            if end == Some(End::Close) && self.queue.is_empty() && !self.closing {
                self.say_goodbye();
            }
            self.probe();
            if self.out.is_empty() && !self.unflushed {
                return Ok(end);
            }
            while !self.out.is_empty() {
                match Pin::new(&mut self.stream).poll_write(cx, &self.out) {
                    Poll::Ready(Ok(0)) => return Err(SessionError::Closed),
                    Poll::Ready(Ok(n)) => self.out.advance(n),
                    Poll::Ready(Err(why)) => return Err(why.into()),
                    Poll::Pending => return Ok(end),
                }
                self.unflushed = true;
            }
            if self.out.capacity() > 2 * ENOUGH {
                self.out = BytesMut::new();
            }
            match Pin::new(&mut self.stream).poll_flush(cx)? {
                Poll::Ready(()) => self.unflushed = false,
                Poll::Pending => return Ok(end),
            }
        }
    }

    fn carry(&mut self, effect: Effect) {
        match effect {
            Effect::Tell(message) => {
                let Self {
                    setup,
                    words,
                    wanted,
                    echo,
                    version,
                    limit,
                    out,
                    ..
                } = self;
                let topic = setup.topic(Topic::of(&message));
                let mut echo = echo.as_mut();
                let clients = echo.is_some() && wanted.names(topic);
                let mut parts = Vec::new();
                words.say(&message, |part| {
                    if !version.message(topic, part, *limit, out) {
                        tracing::error!("the broker does not take what nodes tell each other");
                    }
                    if clients {
                        parts.push(part.to_vec());
                    }
                });
                if let Some(echo) = &mut echo {
                    let size = link::size(&message);
                    echo.say(Input::Peer(message), size);
                    for part in parts {
                        let size = part.len();
                        echo.say(heard(topic, part), size);
                    }
                }
            }
            Effect::Send { topic, payload } => {
                let topic = topic.join("/");
                let (limit, out) = (self.limit, &mut self.out);
                if !self.version.message(&topic, &payload, limit, out) {
                    let bytes = payload.len();
                    tracing::debug!("a client's message of {bytes} bytes is too long to be sent");
                } else if let Some(own) = self.setup.own_topic(&topic) {
                    self.say_as_a_node(own, &topic, payload);
                }
            }
            Effect::Subscribe(filter) => {
                self.wanted.add(filter.join("/"));
                self.settle();
            }
            Effect::Unsubscribe(filter) => {
                self.wanted.remove(&filter.join("/"));
                self.settle();
            }
        }
    }

    /// A client has said what nodes say: like theirs, it does not come back.
    fn say_as_a_node(&mut self, own: Topic, topic: &str, payload: Vec<u8>) {
        let Some(echo) = &mut self.echo else {
            return;
        };
        let size = payload.len();
        if let Some(message) = self.words.hear(own, &payload, self.heard) {
            echo.say(Input::Peer(Box::new(message)), size);
        }
        if self.wanted.names(topic) {
            echo.say(heard(topic, payload), size);
        }
    }

    /// Asks whether the broker has taken what was said, behind all of it.
    fn probe(&mut self) {
        let wants = self.echo.as_ref().is_some_and(Echo::wants_ping);
        if wants && !self.closing {
            self.send_ping();
        }
    }

    fn send_ping(&mut self) {
        self.version.ping(&mut self.out);
        if let Some(echo) = &mut self.echo {
            echo.ping();
        }
    }

    /// Tells the broker what clients want to hear, as far as it doesn't know.
    fn settle(&mut self) {
        let setup = self.setup;
        let changes = self
            .wanted
            .settle(|filter| setup.own_topic(filter).is_some());
        for filter in changes.subscribe {
            self.subscribe(vec![filter], Own::Heard);
        }
        for filter in changes.unsubscribe {
            let id = self.next_id();
            self.version.unsubscribe(id, filter, &mut self.out);
        }
    }

    fn subscribe(&mut self, filters: Vec<String>, own: Own) {
        let id = self.next_id();
        self.asked.insert(id, filters.clone());
        self.version.subscribe(id, filters, own, &mut self.out);
    }

    fn next_id(&mut self) -> u16 {
        // zero is none, and the first one is never used again
        self.last_id = self.last_id.checked_add(1).unwrap_or(OWN + 1);
        self.last_id
    }

    fn say_goodbye(&mut self) {
        let topic = self.setup.topic(Topic::Info);
        let (limit, out) = (self.limit, &mut self.out);
        self.version.message(topic, &self.setup.will, limit, out);
        self.version.disconnect(&mut self.out);
        self.closing = true;
        self.ping.as_mut().reset(now() + FAREWELL);
    }

    /// Probes a connection that is idle, and gives up one that is dead.
    fn poll_ping(&mut self, cx: &mut Context<'_>) -> Poll<Result<End, SessionError>> {
        while self.ping.as_mut().poll(cx).is_ready() {
            if self.closing {
                return Poll::Ready(Ok(End::Close));
            }
            let silence = now().duration_since(self.heard);
            if silence >= self.keep_alive * 2 {
                return Poll::Ready(Err(SessionError::Silence(silence)));
            }
            if self.awaited != 0 && now().duration_since(self.began) >= PATIENCE {
                return Poll::Ready(Err(SessionError::NoAnswer));
            }
            self.send_ping();
            self.ping.as_mut().reset(now() + self.keep_alive);
            // the next turn writes it
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// What a client hears.
fn heard(topic: &str, payload: Vec<u8>) -> Input {
    Input::Message {
        topic: topic.split('/').map(str::to_owned).collect(),
        payload,
    }
}
