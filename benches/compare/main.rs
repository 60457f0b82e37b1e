//! Measures this server beside others on the same machine, in one run, and
//! says which targets are met.
//!
//! ```text
//! cargo bench --bench compare -- [A1 A2 … | all] [--rounds N] [--seconds S] [--quick]
//! ```
//!
//! What each figure means and how it is taken: `docs/performance.md`. The
//! servers run in processes of their own, and so do the load generator and
//! the echo server, which are this program with another first word. What a
//! missing tool leaves unmeasured is named at the end.
//!
//! `MOAT_BIN` names another server program than the one just built,
//! `MOAT_TEST_PYTHON` the Python that has the original.
#![allow(clippy::disallowed_methods)] // a benchmark reads the clock

mod command;
mod echo;
#[path = "../common/lane.rs"]
mod lane;
#[path = "../common/load.rs"]
mod load;
mod memory;
mod original;
#[path = "../common/report.rs"]
mod report;
#[allow(dead_code)] // shared with the other benchmark, of which each uses a part
#[path = "../common/server.rs"]
mod server;
mod shapes;
#[path = "../common/stats.rs"]
mod stats;
mod watch;
#[path = "../common/wire.rs"]
mod wire;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use load::{Load, Seen};
use report::{Report, progress};
use server::{Server, Tools};
use stats::Spread;
use wire::Peer;

const FIGURES: std::ops::RangeInclusive<u32> = 1..=13;

/// Measure this server beside others.
#[derive(Parser)]
#[command(name = "compare")]
struct Args {
    /// Figures to measure, A1 to A13
    #[arg(default_value = "all")]
    figures: Vec<String>,
    /// Rounds of each measurement [default: 5; quick: 3]
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of one measurement in seconds [default: 2; quick: 0.3]
    #[arg(long)]
    seconds: Option<f64>,
    /// Everything in two minutes, less exactly
    #[arg(long)]
    quick: bool,
    /// What cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is to be measured, and how thoroughly.
struct Plan {
    figures: Vec<String>,
    rounds: usize,
    seconds: f64,
    quick: bool,
}

impl Plan {
    fn new(args: Args) -> Result<Self> {
        let known: Vec<String> = FIGURES.map(|n| format!("A{n}")).collect();
        let figures = if args.figures.iter().any(|f| f == "all") {
            known
        } else {
            for figure in &args.figures {
                ensure!(
                    known.contains(figure),
                    "no figure {figure}: A1 to A13, or all"
                );
            }
            args.figures
        };
        let plan = Self {
            figures,
            rounds: args.rounds.unwrap_or(if args.quick { 3 } else { 5 }),
            seconds: args.seconds.unwrap_or(if args.quick { 0.3 } else { 2.0 }),
            quick: args.quick,
        };
        ensure!(plan.rounds > 0, "no rounds: give 1 or more");
        ensure!(
            (0.1..=600.0).contains(&plan.seconds),
            "a measurement lasts 0.1 to 600 seconds"
        );
        Ok(plan)
    }

    fn wants(&self, figure: &str) -> bool {
        self.figures.iter().any(|f| f == figure)
    }

    /// Starts a server; if that fails, names what is left out for it.
    fn start(&self, tools: &Tools, peer: Peer, report: &mut Report) -> Option<Server> {
        match tools.start(peer) {
            Ok(server) => Some(server),
            Err(why) => {
                report.leave_out(format!("everything with {}: {why:#}", peer.name()));
                None
            }
        }
    }
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first() {
        Some((role, _)) if role == "echo" => echo::run(),
        Some((role, rest)) if role == "load" => {
            let load = Load::parse(rest).context("not the words of a load")?;
            say(&load.run()?)
        }
        Some((role, rest)) if role == "watch" => say(&watch::role(rest)?),
        _ => compare(&Plan::new(Args::parse())?),
    }
}

/// Tells the process that asked for a run.
fn say(seen: &Seen) -> Result<()> {
    use std::io::Write;
    Ok(writeln!(std::io::stdout(), "{}", seen.line())?)
}

fn compare(plan: &Plan) -> Result<()> {
    let tools = Tools::find()?;
    let mut report = Report::default();
    if let Some(why) = tools.unpinned() {
        report.leave_out(why.to_owned());
    }
    let parts: [(&str, Part); 6] = [
        ("A1 to A7", shapes::run),
        ("A8, A9", memory::run),
        ("A10", watch::run),
        ("A11", command::run),
        ("A12", command::start),
        ("A13", original::run),
    ];
    for (name, part) in parts {
        // one broken figure must not cost the others
        if let Err(why) = part(&tools, plan, &mut report) {
            progress(&format!("{name}: {why:#}"));
            report.leave_out(format!("{name}, or a part: {why:#}"));
        }
    }
    report.print();
    Ok(())
}

type Part = fn(&Tools, &Plan, &mut Report) -> Result<()>;

/// Medians of some rounds, for the reader.
fn describe(server: &str, op: &str, shape: &str, seen: &[Seen]) -> String {
    let median = |quantity: fn(&Seen) -> f64| {
        Spread::of(seen.iter().map(quantity)).map_or(f64::NAN, |s| s.median)
    };
    format!(
        "{op:>7} {shape:<26} {server:<8} {:>9.0} /s   p50 {:>8.1} µs   p99 {:>8.1} µs   CPU {:>7.2} µs each",
        median(Seen::rate),
        median(|s| s.p50) * 1e6,
        median(|s| s.p99) * 1e6,
        median(Seen::cost) * 1e6,
    )
}
