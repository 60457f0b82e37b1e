//! Measures networks of nodes beside brokers and other servers on the same
//! machine, in one run, and says which targets are met.
//!
//! ```text
//! cargo bench --bench network -- [B1 B2 … | all] [--rounds N] [--seconds S] [--idle S] [--quick]
//! ```
//!
//! What each figure means and how it is taken: `docs/performance.md`. A
//! figure whose peer is missing, or that cannot be measured, is named, and
//! the program fails; the others are measured all the same.
//!
//! `MOAT_BIN` names another server program than the one just built,
//! `MOAT_TEST_PYTHON` the Python that has the original.
#![allow(clippy::disallowed_methods)] // a benchmark reads the clock

mod delay;
mod embedded;
mod flow;
mod idle;
mod join;
mod mqtt;
mod names;
mod net;
mod pair;
mod stream;

#[allow(dead_code)] // shared with the other benchmark, of which each uses a part
#[path = "../common/lane.rs"]
mod lane;
#[allow(dead_code)]
#[path = "../common/load.rs"]
mod load;
#[allow(dead_code)]
#[path = "../common/report.rs"]
mod report;
#[allow(dead_code)]
#[path = "../common/server.rs"]
mod server;
#[path = "../common/stats.rs"]
mod stats;
#[allow(dead_code)]
#[path = "../common/wire.rs"]
mod wire;

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use report::{Report, progress};
use server::{Tools, program};

/// Measure networks of nodes beside others.
#[derive(Parser)]
#[command(name = "network")]
struct Args {
    /// Figures to measure, B1 to B7
    #[arg(default_value = "all")]
    figures: Vec<String>,
    /// Rounds of each measurement [default: 5; quick: 3]
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of one measurement in seconds [default: 3; quick: 1]
    #[arg(long)]
    seconds: Option<f64>,
    /// How long idle nodes are watched, in seconds [default: 60; quick: 20]
    #[arg(long)]
    idle: Option<f64>,
    /// Everything in less time, less exactly
    #[arg(long)]
    quick: bool,
    /// What cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// How thoroughly is measured.
struct Plan {
    rounds: usize,
    seconds: f64,
    idle: f64,
    quick: bool,
}

/// A figure: its name, the programs it needs, and how it is measured.
struct Figure {
    name: &'static str,
    needs: &'static [&'static str],
    run: fn(&Tools, &Plan, &mut Report) -> Result<()>,
}

/// Stands for the original among the programs.
const ORIGINAL: &str = "the original";

const FIGURES: [Figure; 7] = [
    Figure {
        name: "B1",
        needs: &["mosquitto", "redis-server"],
        run: delay::run,
    },
    Figure {
        name: "B2",
        needs: &["mosquitto", ORIGINAL],
        run: stream::run,
    },
    Figure {
        name: "B3",
        needs: &["mosquitto"],
        run: embedded::run,
    },
    Figure {
        name: "B4",
        needs: &["mosquitto", "redis-server", ORIGINAL],
        run: join::much,
    },
    Figure {
        name: "B5",
        needs: &["mosquitto", ORIGINAL],
        run: join::nothing,
    },
    Figure {
        name: "B6",
        needs: &["mosquitto"],
        run: idle::run,
    },
    Figure {
        name: "B7",
        needs: &["mosquitto"],
        run: names::run,
    },
];

impl Figure {
    fn wanted(names: &[String]) -> Result<Vec<&'static Self>> {
        if names.iter().any(|name| name == "all") {
            return Ok(FIGURES.iter().collect());
        }
        for name in names {
            ensure!(
                FIGURES.iter().any(|figure| figure.name == name),
                "no figure {name}: B1 to B7, or all"
            );
        }
        let is_wanted = |figure: &&Self| names.iter().any(|name| figure.name == name);
        Ok(FIGURES.iter().filter(is_wanted).collect())
    }

    fn measure(&self, tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
        for need in self.needs {
            match *need {
                ORIGINAL => tools.python()?,
                need => program(need)?,
            };
        }
        (self.run)(tools, plan, report)
    }
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let figures = Figure::wanted(&args.figures)?;
    let plan = Plan {
        rounds: args.rounds.unwrap_or(if args.quick { 3 } else { 5 }),
        seconds: args.seconds.unwrap_or(if args.quick { 1.0 } else { 3.0 }),
        idle: args.idle.unwrap_or(if args.quick { 20.0 } else { 60.0 }),
        quick: args.quick,
    };
    ensure!(plan.rounds > 0, "no rounds: give 1 or more");
    ensure!(
        (0.1..=600.0).contains(&plan.seconds) && (1.0..=3600.0).contains(&plan.idle),
        "a measurement lasts 0.1 to 600 seconds, idle nodes are watched 1 to 3600"
    );
    let tools = Tools::find().context("the program to be measured")?;
    let mut report = Report::default();
    let mut failed = false;
    for figure in figures {
        progress(&format!("{}: it begins", figure.name));
        // one broken figure must not cost the others
        if let Err(why) = figure.measure(&tools, &plan, &mut report) {
            failed = true;
            progress(&format!("{}: {why:#}", figure.name));
            report.leave_out(format!("{}, or a part: {why:#}", figure.name));
        }
    }
    report.print();
    Ok(match failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}
