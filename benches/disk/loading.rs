//! C3: loading 100,000 entries, beside Redis with the same keys and values in
//! its append-only file, and the original with the same file.
//!
//! Ours and Redis say themselves how long it took, from the first byte to the
//! last; of both, another server is started for each round. The original does
//! not: it is the time until it answers, less that of one with a file of one
//! entry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::Plan;
use crate::files::{self, ENTRIES, NODE};
use crate::lane::{Lane, fill};
use crate::report::{Report, Target, progress};
use crate::server::{Server, Tools, answers, free_port, local, program};
use crate::stats::Spread;
use crate::wire::{self, Op, Peer};

/// Measures C3.
pub(crate) fn run(tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
    let file = tools.file("load.state");
    files::write(&file, ENTRIES)?;
    let log = append_only(tools)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        progress(&format!("C3: round {}", round + 1));
        for i in 0..2 {
            if (i + round) % 2 == 0 {
                ours.push(moat(tools, &file)?);
            } else {
                theirs.push(redis(tools, &log)?);
            }
        }
    }
    report.ratio(
        "C3",
        format!("load of {ENTRIES} entries, rate / redis AOF"),
        Target::AtLeast(2.0),
        Spread::of_ratios(&ours, &theirs),
    );
    report.ratio(
        "C3",
        "million entries a second".to_owned(),
        Target::AtLeast(1.5),
        Spread::of(ours.iter().map(|rate| rate / 1e6)),
    );
    for (name, rates) in [("moat", &ours), ("redis", &theirs)] {
        let rates = Spread::of(rates.iter().copied()).context("no rounds")?;
        report.raw(format!("C3 {name}: {:.2} M entries/s", rates.median / 1e6));
    }

    progress("C3: the original");
    let broker = tools.start_mosquitto()?;
    let one = tools.file("one.state");
    files::write(&one, 1)?;
    let (mut full, mut empty) = (Vec::new(), Vec::new());
    for _ in 0..if plan.quick { 1 } else { 3 } {
        full.push(original(tools, &broker, &file)?.1.as_secs_f64());
        empty.push(original(tools, &broker, &one)?.1.as_secs_f64());
    }
    let [full, empty] = [full, empty].map(Spread::of);
    let took = full.context("no rounds")?.median - empty.context("no rounds")?.median;
    let rate = f64::from(ENTRIES) / took;
    report.raw(format!("C3 original: {rate:.0} entries/s, {took:.2} s"));
    report.ratio(
        "C3",
        format!("load of {ENTRIES} entries, rate / original"),
        Target::AtLeast(80.0),
        Spread::of(ours.iter().map(|ours| ours / rate)),
    );
    Ok(())
}

/// Entries a second, as our server says.
fn moat(tools: &Tools, file: &Path) -> Result<f64> {
    let port = free_port()?;
    let mut command = tools.moat();
    command
        .args(["kv", "-v", "-C", "server.backend=none", "-C"])
        .arg(format!("server.bind_default.port={port}"))
        .args(["server", "-l"])
        .arg(file)
        .arg(NODE);
    let mut server = tools.spawn(&mut command, Peer::Moat, port)?;
    server.wait_until(|| answers(Peer::Moat, port))?;
    ensure_whole(&server)?;
    // "FILE: N records read in T s"
    said(&server, "records read in ", " s")
}

/// A directory with Redis' append-only file of the same data.
fn append_only(tools: &Tools) -> Result<PathBuf> {
    progress("C3: the file of redis");
    let directory = tools.file("redis");
    fs::create_dir(&directory)?;
    let port = free_port()?;
    let mut server = tools.spawn(
        &mut with_log(tools, &directory, "everysec", port)?,
        Peer::Redis,
        port,
    )?;
    server.wait_until(|| answers(Peer::Redis, port))?;
    fill(Peer::Redis, server.addr, ENTRIES)?;
    let mut request = Vec::new();
    wire::resp(&mut request, &["SHUTDOWN", "NOSAVE"]);
    let mut lane = Lane::connect(Peer::Redis, server.addr)?;
    // it closes the connection when all is written
    ensure!(lane.ask(&request).is_err(), "redis does not end");
    Ok(directory)
}

/// Redis with its append-only file.
pub(crate) fn with_log(tools: &Tools, directory: &Path, sync: &str, port: u16) -> Result<Command> {
    let mut redis = tools.held(&program("redis-server")?);
    redis
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
        .args(["--appendfsync", sync, "--dir"])
        .arg(directory)
        .args(["--port", &port.to_string()]);
    Ok(redis)
}

/// Entries a second, as Redis says.
fn redis(tools: &Tools, directory: &Path) -> Result<f64> {
    let port = free_port()?;
    let mut server = tools.spawn(
        &mut with_log(tools, directory, "everysec", port)?,
        Peer::Redis,
        port,
    )?;
    server.wait_until(|| {
        let ask = || -> Result<Vec<u8>> {
            let mut lane = Lane::connect(Peer::Redis, local(port))?;
            let mut request = Vec::new();
            wire::append_once(&mut request, Peer::Redis, Op::Get, ENTRIES - 1, 1);
            lane.ask(&request)
        };
        // while it loads it answers with an error
        ask().is_ok_and(|reply| reply.starts_with(b"$20"))
    })?;
    said(&server, "DB loaded from append only file: ", " seconds")
}

/// Entries a second, of the time that a server has told between two texts.
fn said(server: &Server, before: &str, after: &str) -> Result<f64> {
    let words = server.words()?;
    let seconds = words
        .split_once(before)
        .and_then(|(_, rest)| rest.split_once(after))
        .and_then(|(time, _)| time.parse::<f64>().ok());
    let seconds = seconds.with_context(|| format!("how long it took is not among {words:?}"))?;
    Ok(f64::from(ENTRIES) / seconds)
}

/// The original with a file, and how long it took until it answered.
pub(crate) fn original(tools: &Tools, broker: &Server, file: &Path) -> Result<(Server, Duration)> {
    let port = free_port()?;
    let mut command = tools.original(port, broker.addr.port())?;
    command.args(["server", "-l"]).arg(file).arg(NODE);
    let begin = Instant::now();
    let mut server = tools.spawn(&mut command, Peer::Moat, port)?;
    server.wait_until(|| answers(Peer::Moat, port))?;
    Ok((server, begin.elapsed()))
}

/// Fails unless the last entry is there.
fn ensure_whole(server: &Server) -> Result<()> {
    let mut lane = Lane::connect(server.peer, server.addr)?;
    let mut request = Vec::new();
    wire::append_once(&mut request, server.peer, Op::Get, ENTRIES - 1, 1);
    wire::verify(server.peer, Op::Get, &lane.ask(&request)?)
}
