//! What is said in one place until it is heard in another: writes at one
//! node until a watch at another tells of them, beside a broker's own
//! publisher and subscriber, and beside Redis' master and replica.
//!
//! One thread holds both ends. Every message carries a number, so that each
//! is recognised when it arrives: what comes twice counts once. A write that
//! was written over before it could be told of is passed over when the later
//! one is heard; what is neither is lost. At full speed the writer is at most so many messages ahead
//! of the listener; paced, it sends at even intervals and each delay counts.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::lane::{Lane, Poll};
use crate::load::{KEYS, Random};
use crate::mqtt;
use crate::stats::Histogram;
use crate::wire::{self, Op, Peer, Requests, TOP, VALUE};

/// How long to wait for what has not come when nothing more is sent: a lost
/// message is asked for again after some seconds.
const TAIL: Duration = Duration::from_secs(30);
/// Share of a run at full speed that is not counted.
const WARM: f64 = 0.2;
const WRITER: usize = 0;
const LISTENER: usize = 1;

/// How fast is written.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// As fast as it gets through, with so many unanswered by the writer's
    /// server, and so many not heard yet
    Full { unanswered: u32, ahead: u32 },
    /// One message each time
    Every(Duration),
}

/// What a run showed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// Messages a second
    pub(crate) rate: f64,
    /// In seconds
    pub(crate) p50: f64,
    /// In seconds
    pub(crate) p99: f64,
    pub(crate) sent: u32,
    /// Written over before they were told of
    pub(crate) passed: u32,
    pub(crate) lost: u32,
}

/// Both ends.
pub(crate) struct Flow {
    peer: Peer,
    lanes: [Lane; 2],
    poll: Poll,
    source: Source,
    /// Number of the first message: no other run's is the same
    first: u32,
    sent: Vec<Sent>,
    /// The last message about each entry, counted from the run's first
    latest: Vec<Option<u32>>,
    count: u32,
    passed: u32,
    last: Instant,
    answered: u32,
    /// Where the number stood last
    at: usize,
    out: Vec<u8>,
    delays: Histogram,
}

/// A message that was sent.
struct Sent {
    at: Instant,
    /// The one before about the same entry
    before: Option<u32>,
    /// It has come, or was passed over.
    done: bool,
}

/// What is sent.
enum Source {
    Entries(Requests, Random),
    /// A packet, and where its number stands
    Packet(Vec<u8>, usize),
}

impl Flow {
    /// Sets of entries at one node, heard by a watch at another.
    pub(crate) fn nodes(from: SocketAddr, to: SocketAddr) -> Result<Self> {
        let mut listener = Lane::connect(Peer::Moat, to)?;
        let answer = listener.ask(&wire::moat_path_request("watch", &[TOP], 1))?;
        ensure!(
            wire::field(&answer, "state")? == Some(b"\xa5start"),
            "watching is answered with {answer:?}"
        );
        let writer = Lane::connect(Peer::Moat, from)?;
        let requests = Requests::new(Peer::Moat, Op::Set, KEYS);
        let source = Source::Entries(requests, Random::new(1));
        Self::new(Peer::Moat, writer, listener, source)
    }

    /// Publications of a payload, heard by a subscriber.
    pub(crate) fn broker(at: SocketAddr, topic: &str, payload: &[u8]) -> Result<Self> {
        let listener = mqtt::listen(at, topic)?;
        let writer = Lane::connect(Peer::Mqtt, at)?;
        let packet = mqtt::publish(topic, payload);
        let stamp = wire::find(&packet, VALUE.as_bytes()).context("a payload without number")?;
        let source = Source::Packet(packet, stamp + VALUE.len());
        Self::new(Peer::Mqtt, writer, listener, source)
    }

    /// Redis' publications at a master, heard by a subscriber at its replica.
    pub(crate) fn redis(master: SocketAddr, replica: SocketAddr) -> Result<Self> {
        let mut listener = Lane::connect(Peer::Redis, replica)?;
        let mut request = Vec::new();
        wire::resp(&mut request, &["SUBSCRIBE", TOP]);
        listener.ask(&request)?;
        let writer = Lane::connect(Peer::Redis, master)?;
        let requests = Requests::new(Peer::Redis, Op::Tell, KEYS);
        let source = Source::Entries(requests, Random::new(1));
        Self::new(Peer::Redis, writer, listener, source)
    }

    fn new(peer: Peer, writer: Lane, listener: Lane, source: Source) -> Result<Self> {
        let lanes = [writer, listener];
        Ok(Self {
            peer,
            poll: Poll::new(&lanes)?,
            lanes,
            source,
            first: 0,
            sent: Vec::new(),
            latest: vec![None; KEYS as usize],
            count: 0,
            passed: 0,
            last: Instant::now(),
            answered: 0,
            at: 0,
            out: Vec::new(),
            delays: Histogram::new(),
        })
    }

    /// Sends for some seconds, and waits until all of it has come.
    pub(crate) fn run(mut self, pace: Pace, seconds: f64) -> Result<Heard> {
        static NEXT: AtomicU32 = AtomicU32::new(100_000);
        self.first = NEXT.load(Ordering::Relaxed);
        let mut begin = Instant::now();
        // messages that came before what is counted began
        let (mut warm, mut before) = (None, 0);
        if matches!(pace, Pace::Full { .. }) {
            warm = Some(begin + Duration::from_secs_f64(seconds * WARM));
        }
        let mut end = begin + Duration::from_secs_f64(seconds);
        let mut due = begin;
        loop {
            let now = Instant::now();
            if warm.is_some_and(|warm| now >= warm) {
                warm = None;
                end += now - begin;
                (begin, before) = (now, self.count);
            }
            if now >= end {
                break;
            }
            let limit = match pace {
                Pace::Full { unanswered, ahead } => {
                    self.write(self.may_write(unanswered, ahead))?;
                    TAIL
                }
                Pace::Every(gap) => {
                    if now >= due {
                        self.write(1)?;
                        due += gap;
                    }
                    due.saturating_duration_since(Instant::now())
                }
            };
            self.receive(limit)?;
        }
        let stopped = Instant::now();
        while self.open() > 0 && stopped.elapsed() < TAIL {
            self.receive(Duration::from_millis(100))?;
        }
        // answers that are still on their way must not count in the next run
        while self.peer != Peer::Mqtt && self.answered < self.written() {
            ensure!(stopped.elapsed() < 2 * TAIL, "writes are not answered");
            self.receive(Duration::from_millis(100))?;
        }
        NEXT.store(self.first + self.written(), Ordering::Relaxed);
        let quantile = |q| Duration::from_nanos(self.delays.quantile(q)).as_secs_f64();
        Ok(Heard {
            rate: f64::from(self.count - before) / (self.last - begin).as_secs_f64(),
            p50: quantile(0.5),
            p99: quantile(0.99),
            sent: self.written(),
            passed: self.passed,
            lost: self.open(),
        })
    }

    fn written(&self) -> u32 {
        u32::try_from(self.sent.len()).expect("messages of some seconds")
    }

    /// Messages that are on their way.
    fn open(&self) -> u32 {
        self.written() - self.count - self.passed
    }

    /// Messages that may be sent at full speed now.
    fn may_write(&self, unanswered: u32, ahead: u32) -> u32 {
        let ahead = ahead.saturating_sub(self.open());
        match self.source {
            Source::Packet(..) => ahead,
            Source::Entries(..) => {
                ahead.min(unanswered.saturating_sub(self.written() - self.answered))
            }
        }
    }

    fn write(&mut self, n: u32) -> Result<()> {
        if n == 0 {
            return Ok(());
        }
        self.out.clear();
        for _ in 0..n {
            let nth = self.written();
            let number = self.first + nth;
            let mut before = None;
            match &mut self.source {
                Source::Entries(requests, random) => {
                    let key = random.below(KEYS);
                    before = self.latest[key as usize].replace(nth);
                    requests.append(&mut self.out, key, number);
                }
                Source::Packet(packet, at) => {
                    wire::put_stamp(&mut packet[*at..*at + 8], number);
                    self.out.extend_from_slice(packet);
                }
            }
            self.sent.push(Sent {
                at: Instant::now(),
                before,
                done: false,
            });
        }
        self.lanes[WRITER].send(&self.out)
    }

    fn receive(&mut self, limit: Duration) -> Result<()> {
        for i in self.poll.wait(limit)? {
            let lane = &mut self.lanes[i];
            lane.receive()?;
            let now = Instant::now();
            while let Some(message) = lane.next()? {
                if i == WRITER {
                    if self.answered.is_multiple_of(64) {
                        wire::verify(self.peer, Op::Tell, message)?;
                    }
                    self.answered += 1;
                    continue;
                }
                debug_assert_eq!(i, LISTENER);
                let Some(number) = number(message, &mut self.at) else {
                    bail!("no message of ours: {:?}", String::from_utf8_lossy(message));
                };
                // an earlier run's, if it was lost there and made up for
                let Some(nth) = number.checked_sub(self.first) else {
                    continue;
                };
                let sent = self.sent.get_mut(nth as usize);
                let sent = sent.context("a message that nobody sent")?;
                if std::mem::replace(&mut sent.done, true) {
                    continue;
                }
                self.count += 1;
                self.last = now;
                let nanos = u64::try_from((now - sent.at).as_nanos()).unwrap_or(u64::MAX);
                self.delays.record(nanos, 1);
                let mut before = sent.before;
                while let Some(nth) = before
                    && let Some(sent) = self.sent.get_mut(nth as usize)
                    && !std::mem::replace(&mut sent.done, true)
                {
                    self.passed += 1;
                    before = sent.before;
                }
            }
        }
        Ok(())
    }
}

/// The number that a message carries, which is looked for at `at` first.
fn number(message: &[u8], at: &mut usize) -> Option<u32> {
    let value = VALUE.as_bytes();
    if message.get(*at..*at + value.len()) != Some(value) {
        *at = wire::find(message, value)?;
    }
    let from = *at + value.len();
    let digits = std::str::from_utf8(message.get(from..from + 8)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}
