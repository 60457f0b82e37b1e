//! Measures what files cost, beside other servers on the same machine, in
//! one run, and says which targets are met.
//!
//! ```text
//! cargo bench --bench disk -- [C1 C2 … | all] [--rounds N] [--seconds S] [--quick]
//! cargo bench --bench disk -- file PATH ENTRIES
//! ```
//!
//! What each figure means and how it is taken: `docs/performance.md`. A
//! figure whose peer is missing, or that cannot be measured, is named, and
//! the program fails; the others are measured all the same. The second form
//! writes the file that is loaded, to look at it or at who reads it.
//!
//! `MOAT_BIN` names another server program than the one just built,
//! `MOAT_TEST_PYTHON` the Python that has the original.
#![allow(clippy::disallowed_methods)] // a benchmark reads the clock

mod files;
mod loading;
mod saving;
mod writing;

#[allow(dead_code)] // shared with the other benchmarks, of which each uses a part
#[path = "../common/lane.rs"]
mod lane;
#[allow(dead_code)]
#[path = "../common/load.rs"]
mod load;
#[path = "../common/report.rs"]
mod report;
#[allow(dead_code)]
#[path = "../common/server.rs"]
mod server;
#[allow(dead_code)]
#[path = "../common/stats.rs"]
mod stats;
#[allow(dead_code)]
#[path = "../common/wire.rs"]
mod wire;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use load::{Load, Seen};
use report::{Report, progress};
use server::{Tools, program};

/// Measure what files cost.
#[derive(Parser)]
#[command(name = "disk")]
struct Args {
    /// Figures to measure, C1 to C5
    #[arg(default_value = "all")]
    figures: Vec<String>,
    /// Rounds of each measurement [default: 7; quick: 3]
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of one measurement in seconds [default: 2; quick: 0.5]
    #[arg(long)]
    seconds: Option<f64>,
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

const FIGURES: [Figure; 5] = [
    Figure {
        name: "C1",
        needs: &["redis-server"],
        run: writing::before_the_reply,
    },
    Figure {
        name: "C2",
        needs: &["redis-server"],
        run: writing::synced,
    },
    Figure {
        name: "C3",
        needs: &["redis-server", "mosquitto", ORIGINAL],
        run: loading::run,
    },
    Figure {
        name: "C4",
        needs: &["redis-server"],
        run: saving::run,
    },
    Figure {
        name: "C5",
        needs: &["mosquitto", ORIGINAL],
        run: files::size,
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
                "no figure {name}: C1 to C5, or all"
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

/// Tells the process that asked for a run.
fn say(seen: &Seen) -> Result<()> {
    use std::io::Write as _;
    Ok(writeln!(std::io::stdout(), "{}", seen.line())?)
}

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first() {
        Some((role, rest)) if role == "load" => {
            let load = Load::parse(rest).context("not the words of a load")?;
            say(&load.run()?)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some((role, [path, entries])) if role == "file" => {
            files::write(Path::new(path), entries.parse()?)?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let args = Args::parse();
    let figures = Figure::wanted(&args.figures)?;
    let plan = Plan {
        rounds: args.rounds.unwrap_or(if args.quick { 3 } else { 7 }),
        seconds: args.seconds.unwrap_or(if args.quick { 0.5 } else { 2.0 }),
        quick: args.quick,
    };
    ensure!(plan.rounds > 0, "no rounds: give 1 or more");
    ensure!(
        (0.1..=600.0).contains(&plan.seconds),
        "a measurement lasts 0.1 to 600 seconds"
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
