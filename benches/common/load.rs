//! The load generator: a process of its own that keeps a number of requests
//! under way on each of some connections (closed loop), on entries picked at
//! random, and tells what it saw in one line.
//!
//! The server's CPU time is read from `/proc` at both ends of the measured
//! span. Of the replies one in 64 is looked into; the others are only
//! counted, so that the generator costs the same for each server.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::lane::{Lane, Poll};
use crate::server::cpu_ticks;
use crate::stats::Histogram;
use crate::wire::{self, Op, Peer, Requests};

/// Entries that requests pick from.
pub(crate) const KEYS: u32 = 10_000;
/// Sequence numbers begin here.
const FIRST: u32 = 100_000;

/// Connections, and requests under way on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) depth: u32,
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}×{}", self.connections, self.depth)
    }
}

/// One run of the generator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) peer: Peer,
    pub(crate) addr: SocketAddr,
    pub(crate) op: Op,
    pub(crate) shape: Shape,
    pub(crate) seconds: f64,
    /// The server's process
    pub(crate) pid: u32,
}

/// What a run showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) ops: u64,
    pub(crate) seconds: f64,
    /// In seconds
    pub(crate) p50: f64,
    /// In seconds
    pub(crate) p99: f64,
    /// In seconds
    pub(crate) slowest: f64,
    /// The server's, in seconds
    pub(crate) cpu: f64,
    /// Messages that did not arrive; watchers only
    pub(crate) lost: u64,
}

impl Seen {
    /// Operations a second.
    pub(crate) fn rate(&self) -> f64 {
        self.count() / self.seconds
    }

    /// The server's CPU seconds for one operation.
    pub(crate) fn cost(&self) -> f64 {
        self.cpu / self.count()
    }

    #[allow(clippy::cast_precision_loss)] // far below 2^52
    fn count(&self) -> f64 {
        self.ops as f64
    }

    pub(crate) fn line(&self) -> String {
        let Self {
            ops,
            seconds,
            p50,
            p99,
            slowest,
            cpu,
            lost,
        } = self;
        format!("{ops} {seconds} {p50} {p99} {slowest} {cpu} {lost}")
    }

    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let seen = Self {
            ops: words.next()?.parse().ok()?,
            seconds: words.next()?.parse().ok()?,
            p50: words.next()?.parse().ok()?,
            p99: words.next()?.parse().ok()?,
            slowest: words.next()?.parse().ok()?,
            cpu: words.next()?.parse().ok()?,
            lost: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(seen)
    }
}

impl Load {
    /// The words after the role that make a process do this run.
    pub(crate) fn words(&self) -> Vec<String> {
        vec![
            self.peer.name().to_owned(),
            self.addr.to_string(),
            self.op.name().to_owned(),
            self.shape.connections.to_string(),
            self.shape.depth.to_string(),
            self.seconds.to_string(),
            self.pid.to_string(),
        ]
    }

    /// The inverse of [`Load::words`].
    pub(crate) fn parse(words: &[String]) -> Option<Self> {
        let [peer, addr, op, connections, depth, seconds, pid] = words else {
            return None;
        };
        Some(Self {
            peer: Peer::named(peer)?,
            addr: addr.parse().ok()?,
            op: Op::named(op)?,
            shape: Shape {
                connections: connections.parse().ok()?,
                depth: depth.parse().ok()?,
            },
            seconds: seconds.parse().ok()?,
            pid: pid.parse().ok()?,
        })
    }

    /// Does the run.
    pub(crate) fn run(&self) -> Result<Seen> {
        let requests = Requests::new(self.peer, self.op, KEYS);
        let mut flights = Vec::new();
        for i in 0..self.shape.connections {
            let lane = Lane::connect(self.peer, self.addr)
                .with_context(|| format!("connection {i} to {}", self.peer.name()))?;
            flights.push(Flight::new(lane, i as u64));
        }
        let mut poll = Poll::new(flights.iter().map(|f| &f.lane))?;

        let begin = Instant::now();
        for flight in &mut flights {
            flight.send(&requests, self.shape.depth, begin)?;
        }
        let span = Duration::from_secs_f64(self.seconds);
        let mut phase = Phase::Warming(begin + span.mul_f64(0.2).max(Duration::from_millis(100)));
        let mut seen = Histogram::new();
        loop {
            let mut now = begin;
            if let [flight] = flights.as_mut_slice() {
                now = flight.turn(self, &requests, &mut seen)?;
            } else {
                for i in poll.wait(Duration::from_secs(30))? {
                    now = flights[i].turn(self, &requests, &mut seen)?;
                }
            }
            match phase {
                Phase::Warming(end) if now >= end => {
                    seen.clear();
                    phase = Phase::Measuring(now, cpu_ticks(self.pid)?);
                }
                Phase::Measuring(from, cpu) if now >= from + span => {
                    return Ok(Seen {
                        ops: seen.total(),
                        seconds: (now - from).as_secs_f64(),
                        p50: Duration::from_nanos(seen.quantile(0.5)).as_secs_f64(),
                        p99: Duration::from_nanos(seen.quantile(0.99)).as_secs_f64(),
                        slowest: Duration::from_nanos(seen.quantile(1.0)).as_secs_f64(),
                        cpu: (cpu_ticks(self.pid)? - cpu).as_secs_f64(),
                        lost: 0,
                    });
                }
                Phase::Warming(_) | Phase::Measuring(..) => {}
            }
        }
    }
}

enum Phase {
    /// Until then nothing counts
    Warming(Instant),
    /// Since then, with this CPU time of the server
    Measuring(Instant, Duration),
}

/// A lane, its random numbers, and when its open requests were sent.
struct Flight {
    lane: Lane,
    random: Random,
    number: u32,
    out: Vec<u8>,
    sent: VecDeque<(Instant, u32)>,
}

impl Flight {
    fn new(lane: Lane, seed: u64) -> Self {
        Self {
            lane,
            random: Random::new(seed),
            number: FIRST,
            out: Vec::new(),
            sent: VecDeque::new(),
        }
    }

    fn send(&mut self, requests: &Requests, n: u32, now: Instant) -> Result<()> {
        self.out.clear();
        for _ in 0..n {
            self.number += 1;
            requests.append(&mut self.out, self.random.below(KEYS), self.number);
        }
        self.sent.push_back((now, n));
        self.lane.send(&self.out)
    }

    /// Reads once, counts the replies and sends as many requests. Returns
    /// when the replies were there.
    fn turn(&mut self, load: &Load, requests: &Requests, seen: &mut Histogram) -> Result<Instant> {
        self.lane.receive()?;
        let now = Instant::now();
        let mut replies = 0;
        while let Some(reply) = self.lane.next()? {
            if self.number.wrapping_add(replies) % 64 == 0 {
                wire::verify(load.peer, load.op, reply)?;
            }
            replies += 1;
        }
        // replies are taken to come in order: what one gains by being early
        // the other has lost
        let mut left = replies;
        while left > 0 {
            let (at, open) = self
                .sent
                .front_mut()
                .context("more replies than requests")?;
            let n = left.min(*open);
            let nanos = u64::try_from((now - *at).as_nanos()).unwrap_or(u64::MAX);
            seen.record(nanos, u64::from(n));
            left -= n;
            *open -= n;
            if *open == 0 {
                self.sent.pop_front();
            }
        }
        if replies > 0 {
            self.send(requests, replies, Instant::now())?;
        }
        Ok(now)
    }
}

/// Xorshift: quick, and the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d)
    }

    #[inline]
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let high = self.0 >> 32;
        u32::try_from((high * u64::from(n)) >> 32).expect("below n")
    }
}
