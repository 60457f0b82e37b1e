//! A10: watchers, beside Redis' publish and subscribe.
//!
//! One process, one thread, holds the writer and all watchers. At full speed
//! the writer keeps 32 writes unanswered, and is never more than 1,024 ahead
//! of the slowest watcher, so that nobody's buffer overflows. Paced, it
//! sends 100 a second and each delivery's delay counts.
//!
//! Deliveries are counted; of one in 64 the stamp shows that it is the right
//! one. Redis' messages carry the same key and value.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::lane::{Lane, Poll, fill};
use crate::load::{KEYS, Random, Seen};
use crate::report::{Report, Target, progress};
use crate::server::{Server, Tools, cpu_ticks};
use crate::stats::{Histogram, Spread};
use crate::wire::{self, Op, Peer, Requests, TOP};
use crate::{Plan, describe};

const UNDER_WAY: u32 = 32;
const AHEAD: u32 = 1024;
const FIRST: u32 = 100_000;
/// How long to wait for what has not been delivered.
const TAIL: Duration = Duration::from_secs(5);

/// Measures A10.
pub(crate) fn run(tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
    if !plan.wants("A10") {
        return Ok(());
    }
    let (Some(ours), Some(redis)) = (
        plan.start(tools, Peer::Moat, report),
        plan.start(tools, Peer::Redis, report),
    ) else {
        return Ok(());
    };
    fill(Peer::Moat, ours.addr, KEYS)?;
    let mut lost = 0;
    for watchers in [1, 10, 100] {
        for pace in [Pace::Full, Pace::Slow] {
            let what = format!("{watchers} watchers, {}", pace.name());
            progress(&what);
            let mut seen = [Vec::new(), Vec::new()];
            for round in 0..plan.rounds {
                for i in 0..2 {
                    let i = (i + round) % 2;
                    let server = [&ours, &redis][i];
                    let run = Run {
                        watchers,
                        pace,
                        // slow writes need time to be many
                        seconds: plan.seconds * if pace == Pace::Slow { 2.0 } else { 1.0 },
                    };
                    seen[i].push(run.start(tools, server)?);
                }
            }
            let [a, b] = &seen;
            lost += a.iter().map(|s| s.lost).sum::<u64>();
            report.raw(describe("moat", "deliver", &what, a));
            report.raw(describe("redis", "deliver", &what, b));
            for (name, target, quantity) in pace.figures() {
                let [ours, theirs] = [a, b].map(|all| all.iter().map(quantity).collect::<Vec<_>>());
                report.ratio(
                    "A10",
                    format!("{what}: {name} / redis"),
                    *target,
                    Spread::of_ratios(&ours, &theirs),
                );
            }
        }
    }
    #[allow(clippy::cast_precision_loss)] // a small number
    let lost = lost as f64;
    report.ratio(
        "A10",
        "messages lost".to_owned(),
        Target::AtMost(0.0),
        Spread::of([lost]),
    );
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// As fast as the watchers take it
    Full,
    /// 100 writes a second
    Slow,
}

type Figure = (&'static str, Target, fn(&Seen) -> f64);

impl Pace {
    fn name(self) -> &'static str {
        match self {
            Self::Full => "full speed",
            Self::Slow => "100 writes/s",
        }
    }

    fn figures(self) -> &'static [Figure] {
        match self {
            Self::Full => &[
                ("deliveries", Target::AtLeast(1.3), Seen::rate),
                ("CPU per delivery", Target::AtMost(0.72), Seen::cost),
            ],
            Self::Slow => &[("p99", Target::AtMost(1.0), |seen| seen.p99)],
        }
    }

    fn gap(self) -> Option<Duration> {
        (self == Self::Slow).then_some(Duration::from_millis(10))
    }
}

struct Run {
    watchers: usize,
    pace: Pace,
    seconds: f64,
}

impl Run {
    /// Has the run done by a process of its own.
    fn start(&self, tools: &Tools, server: &Server) -> Result<Seen> {
        let words = [
            server.peer.name().to_owned(),
            server.addr.to_string(),
            server.pid().to_string(),
            self.watchers.to_string(),
            self.seconds.to_string(),
            self.pace.name().to_owned(),
        ];
        tools.watch(server, &words)
    }
}

/// Does a run, as the process that [`Run::start`] began.
pub(crate) fn role(words: &[String]) -> Result<Seen> {
    let [peer, addr, pid, watchers, seconds, pace] = words else {
        bail!("six words, not {}", words.len());
    };
    let run = Run {
        watchers: watchers.parse()?,
        seconds: seconds.parse()?,
        pace: match pace.as_str() {
            "full speed" => Pace::Full,
            "100 writes/s" => Pace::Slow,
            _ => bail!("no such pace: {pace}"),
        },
    };
    let peer = Peer::named(peer).context("no such server")?;
    Party::gather(peer, addr.parse()?, &run)?.measure(&run, pid.parse()?)
}

/// The writer and its watchers.
struct Party {
    peer: Peer,
    /// The writer is the last one.
    lanes: Vec<Lane>,
    poll: Poll,
    /// Messages each lane has received.
    got: Vec<u32>,
    /// When each write was sent.
    sent: Vec<Instant>,
    requests: Requests,
    random: Random,
    out: Vec<u8>,
    delays: Histogram,
}

impl Party {
    fn gather(peer: Peer, addr: SocketAddr, run: &Run) -> Result<Self> {
        let mut lanes = Vec::new();
        for _ in 0..run.watchers {
            let mut lane = Lane::connect(peer, addr)?;
            let answer = match peer {
                Peer::Redis => {
                    let mut request = Vec::new();
                    wire::resp(&mut request, &["SUBSCRIBE", TOP]);
                    lane.ask(&request)?
                }
                _ => lane.ask(&wire::moat_path_request("watch", &[TOP], 1))?,
            };
            let good = match peer {
                Peer::Redis => wire::resp_texts(&answer)?.first() == Some(&&b"subscribe"[..]),
                _ => wire::field(&answer, "state")? == Some(b"\xa5start"),
            };
            ensure!(good, "watching is answered with {answer:?}");
            lanes.push(lane);
        }
        lanes.push(Lane::connect(peer, addr)?);
        Ok(Self {
            peer,
            poll: Poll::new(&lanes)?,
            got: vec![0; lanes.len()],
            lanes,
            sent: Vec::new(),
            requests: Requests::new(peer, Op::Tell, KEYS),
            random: Random::new(1),
            out: Vec::new(),
            delays: Histogram::new(),
        })
    }

    fn measure(mut self, run: &Run, pid: u32) -> Result<Seen> {
        let cpu = cpu_ticks(pid)?;
        let begin = Instant::now();
        let end = begin + Duration::from_secs_f64(run.seconds);
        let mut due = begin;
        loop {
            let now = Instant::now();
            if now >= end {
                break;
            }
            match run.pace.gap() {
                None => self.write(self.may_write())?,
                Some(gap) if now >= due => {
                    self.write(1)?;
                    due += gap;
                }
                Some(_) => {}
            }
            let limit = match run.pace.gap() {
                None => TAIL,
                Some(_) => due.saturating_duration_since(Instant::now()),
            };
            self.receive(limit)?;
        }
        let stopped = Instant::now();
        while self.slowest() < self.written() && stopped.elapsed() < TAIL {
            self.receive(Duration::from_millis(100))?;
        }
        let seconds = begin.elapsed().as_secs_f64();
        let (_, watched) = self.got.split_last().context("a writer")?;
        let ops = watched.iter().map(|n| u64::from(*n)).sum();
        let wanted = u64::from(self.written()) * run.watchers as u64;
        Ok(Seen {
            ops,
            seconds,
            p50: Duration::from_nanos(self.delays.quantile(0.5)).as_secs_f64(),
            p99: Duration::from_nanos(self.delays.quantile(0.99)).as_secs_f64(),
            slowest: Duration::from_nanos(self.delays.quantile(1.0)).as_secs_f64(),
            cpu: (cpu_ticks(pid)? - cpu).as_secs_f64(),
            lost: wanted.saturating_sub(ops),
        })
    }

    fn written(&self) -> u32 {
        u32::try_from(self.sent.len()).expect("writes of some seconds")
    }

    fn slowest(&self) -> u32 {
        self.got.iter().copied().min().unwrap_or(0)
    }

    /// Writes that are allowed at full speed now.
    fn may_write(&self) -> u32 {
        let answered = self.got.last().copied().unwrap_or(0);
        let unanswered = self.written() - answered;
        let ahead = self.written() - self.slowest();
        (UNDER_WAY - unanswered).min(AHEAD.saturating_sub(ahead))
    }

    fn write(&mut self, n: u32) -> Result<()> {
        if n == 0 {
            return Ok(());
        }
        self.out.clear();
        for _ in 0..n {
            let number = FIRST + self.written();
            let key = self.random.below(KEYS);
            self.requests.append(&mut self.out, key, number);
            self.sent.push(Instant::now());
        }
        let writer = self.lanes.last_mut().context("a writer")?;
        writer.send(&self.out)
    }

    fn receive(&mut self, limit: Duration) -> Result<()> {
        let writer = self.lanes.len() - 1;
        for i in self.poll.wait(limit)? {
            let lane = &mut self.lanes[i];
            lane.receive()?;
            let now = Instant::now();
            while let Some(message) = lane.next()? {
                let nth = self.got[i];
                self.got[i] += 1;
                if i == writer {
                    if nth.is_multiple_of(64) {
                        wire::verify(self.peer, Op::Tell, message)?;
                    }
                    continue;
                }
                let sent = self.sent.get(nth as usize);
                let sent = sent.context("more deliveries than writes")?;
                let nanos = u64::try_from((now - *sent).as_nanos()).unwrap_or(u64::MAX);
                self.delays.record(nanos, 1);
                if nth.is_multiple_of(64) {
                    let stamp = wire::value_text(FIRST + nth);
                    ensure!(
                        wire::find(message, stamp.as_bytes()).is_some(),
                        "delivery {nth} is {:?}",
                        String::from_utf8_lossy(message)
                    );
                }
            }
        }
        Ok(())
    }
}
