//! `moat kv sim`: simulated networks, from seeds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::node::habits::{Habit, Habits};
use crate::sim::plan::NODES;
use crate::sim::plant::Plant;
use crate::sim::{self, EVENTS, Outcome, Settings};

use super::context::{Context, Verbosity};
use super::exit::{CliError, Exit};

/// Simulate networks with faults, and check what comes of them
///
/// Each seed is one history: nodes, brokers, faults and clients, and then the
/// check that all nodes agree and nothing is lost. Killed processes start again
/// with nothing, with all of their file, or with an old part of it; seldom all
/// are killed at once. The same seed always gives the same history.
#[derive(Args)]
#[command(
    override_usage = "moat kv sim [OPTIONS]",
    after_help = "Examples:\n  \
        moat kv sim --count 10000\n  \
        moat kv sim --seed 4711 --trace\n  \
        moat kv sim --count 1000 --mixed\n  \
        moat kv sim --count 1000 --plant watch-gap"
)]
pub(super) struct SimArgs {
    /// The seed, or the first of them
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// How many histories
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1)]
    count: u64,

    /// Nodes of each network, instead of a random number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=i64::from(NODES)))]
    nodes: Option<u8>,

    /// Events of each history before everything is mended
    #[arg(long, value_name = "N", default_value_t = EVENTS)]
    events: u32,

    /// Threads [default: one a processor]
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,

    /// Start second servers of a node's name as well
    #[arg(long)]
    twins: bool,

    /// Have nodes of the original take part: machines with its habits
    #[arg(long, conflicts_with = "twins")]
    mixed: bool,

    /// The habits of these nodes, separated by commas, instead of random ones
    #[arg(long, value_name = "HABITS", value_delimiter = ',', requires = "mixed", value_parser = PossibleValuesParser::new(Habit::ALL.map(|(_, name)| name)))]
    habits: Vec<String>,

    /// Print everything that happens
    #[arg(long)]
    trace: bool,

    /// Plant a bug, to see it found
    #[arg(long, value_name = "BUG", value_parser = PossibleValuesParser::new(Plant::ALL.map(|(_, name)| name)))]
    plant: Option<String>,
}

impl SimArgs {
    fn settings(&self, seed: u64) -> Settings {
        let named = |plant: &str| Plant::ALL.into_iter().find(|(_, name)| *name == plant);
        Settings {
            nodes: self.nodes,
            events: self.events,
            twins: self.twins,
            mixed: self.mixed,
            habits: self.habits(),
            plant: self
                .plant
                .as_deref()
                .and_then(named)
                .map(|(plant, _)| plant),
            trace: self.trace,
            ..Settings::new(seed)
        }
    }

    /// The habits that were asked for.
    fn habits(&self) -> Option<Habits> {
        let asked = |name: &str| self.habits.iter().any(|habit| habit == name);
        let habits = Habit::ALL.into_iter().filter(|(_, name)| asked(name));
        (!self.habits.is_empty()).then(|| habits.map(|(habit, _)| habit).collect())
    }

    /// The command that shows one history again.
    fn replay(&self, seed: u64) -> String {
        let mut command = format!("moat kv sim --seed {seed}");
        if self.twins {
            command += " --twins";
        }
        if self.mixed {
            command += " --mixed";
        }
        if !self.habits.is_empty() {
            command += &format!(" --habits {}", self.habits.join(","));
        }
        if let Some(nodes) = self.nodes {
            command += &format!(" --nodes {nodes}");
        }
        if self.events != EVENTS {
            command += &format!(" --events {}", self.events);
        }
        if let Some(plant) = &self.plant {
            command += &format!(" --plant {plant}");
        }
        command + " --trace"
    }
}

pub(super) fn run(ctx: &Context, args: &SimArgs) -> Result<Exit, CliError> {
    let begin = now();
    let mut sums = Sums::default();
    let jobs = args
        .jobs
        .or_else(|| std::thread::available_parallelism().ok().map(Into::into));
    let jobs = if args.trace {
        1
    } else {
        jobs.unwrap_or(1).max(1)
    };
    let shared = Shared {
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        done: Mutex::new(Vec::new()),
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| shared.work(args));
        }
        let mut shown = begin;
        while sums.histories < args.count && sums.failures < FAILURES {
            std::thread::park_timeout(Duration::from_millis(20));
            for (seed, outcome) in shared.take() {
                sums.add(&outcome);
                show(ctx, args, seed, &outcome)?;
            }
            if ctx.out.notes_to_terminal() && shown.elapsed() > Duration::from_secs(1) {
                shown = now();
                ctx.out
                    .note(&format!("{} of {}", sums.histories, args.count));
            }
        }
        shared.stop.store(true, Ordering::Relaxed);
        Ok::<_, CliError>(())
    })?;
    if ctx.verbosity > Verbosity::Quiet {
        ctx.out.line(&sums.line(begin.elapsed()))?;
        if args.mixed {
            ctx.out.line(&sums.mixed_line())?;
        }
    }
    Ok(if sums.failures == 0 {
        Exit::Success
    } else {
        Exit::Failure
    })
}

/// Failures after which it is enough.
const FAILURES: u64 = 10;

fn show(ctx: &Context, args: &SimArgs, seed: u64, outcome: &Outcome) -> Result<(), CliError> {
    if let Some(trace) = &outcome.trace {
        ctx.out.text(trace)?;
    }
    if let Some(failure) = &outcome.failure {
        ctx.out.line(&format!("seed {seed}: {failure}"))?;
        ctx.out.line(&format!("  {}", args.replay(seed)))?;
    }
    Ok(())
}

/// What the threads share.
struct Shared {
    next: AtomicU64,
    stop: AtomicBool,
    done: Mutex<Vec<(u64, Outcome)>>,
}

impl Shared {
    fn work(&self, args: &SimArgs) {
        while !self.stop.load(Ordering::Relaxed) {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            if n >= args.count {
                return;
            }
            let seed = args.seed.wrapping_add(n);
            let outcome = sim::run(&args.settings(seed));
            if let Ok(mut done) = self.done.lock() {
                done.push((seed, outcome));
            }
        }
    }

    fn take(&self) -> Vec<(u64, Outcome)> {
        self.done
            .lock()
            .map(|mut done| std::mem::take(&mut *done))
            .unwrap_or_default()
    }
}

/// Numbers over all histories.
#[derive(Default)]
struct Sums {
    histories: u64,
    failures: u64,
    inputs: u64,
    writes: u64,
    healed: Vec<Duration>,
    astray: u64,
    astrays: u64,
}

impl Sums {
    fn add(&mut self, outcome: &Outcome) {
        self.histories += 1;
        self.failures += u64::from(outcome.failure.is_some());
        self.inputs += outcome.counts.inputs;
        self.writes += outcome.counts.writes;
        self.astray += outcome.counts.astray;
        self.astrays += u64::from(outcome.counts.astray > 0);
        self.healed.extend(outcome.counts.healed_after);
    }

    fn mixed_line(&self) -> String {
        let (entries, histories) = (self.astray, self.astrays);
        format!("nodes of the original hold {entries} entries otherwise, in {histories} histories")
    }

    fn line(&mut self, took: Duration) -> String {
        self.healed.sort_unstable();
        let at = |percent: usize| {
            let last = self.healed.len().saturating_sub(1);
            let healed = self.healed.get(last * percent / 100);
            healed.map_or(0.0, Duration::as_secs_f64)
        };
        format!(
            "{} histories, {} failed; {} inputs, {} writes in {:.1} s; \
             agreed after {:.1} s (half), {:.1} s (90 %), {:.1} s (99 %), {:.1} s (all)",
            self.histories,
            self.failures,
            self.inputs,
            self.writes,
            took.as_secs_f64(),
            at(50),
            at(90),
            at(99),
            at(100),
        )
    }
}

#[allow(clippy::disallowed_methods)] // how long it took is shown, and nothing else
fn now() -> Instant {
    Instant::now()
}
