//! A11 and A12: one command from start to finish, and a server from start to
//! its first answer.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::Plan;
use crate::lane::fill;
use crate::report::{Report, Target, progress};
use crate::server::{Server, Tools, answers, free_port, program};
use crate::stats::Spread;
use crate::wire::{Peer, key_text, value_text};

/// The entry that is read.
const KEY: u32 = 7;
/// Commands are short: many a round.
const TIMES: usize = 20;

/// Measures A11.
pub(crate) fn run(tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
    if !plan.wants("A11") {
        return Ok(());
    }
    let Some(ours) = plan.start(tools, Peer::Moat, report) else {
        return Ok(());
    };
    progress("one command");
    fill(Peer::Moat, ours.addr, 10)?;
    let mut moat = tools.moat();
    moat.args(["kv", "-p", &ours.addr.port().to_string()]);
    moat.args(["data", &key_text(KEY)]);
    shows_value(&mut moat)?;

    if let Some(redis) = plan.start(tools, Peer::Redis, report) {
        fill(Peer::Redis, redis.addr, 10)?;
        match program("redis-cli") {
            Ok(cli) => {
                let mut cli = Command::new(cli);
                cli.args(["-p", &redis.addr.port().to_string()]);
                cli.args(["GET", &key_text(KEY)]);
                shows_value(&mut cli)?;
                let many = plan.rounds * TIMES;
                beside(report, &mut moat, &mut cli, "redis-cli", 0.4, many)?;
            }
            Err(why) => report.leave_out(format!("A11 beside redis-cli: {why}")),
        }
    }
    let broker = match tools.start_mosquitto() {
        Ok(broker) => broker,
        Err(why) => {
            report.leave_out(format!(
                "A11 beside mosquitto_pub and the original: {why:#}"
            ));
            return Ok(());
        }
    };
    match program("mosquitto_pub") {
        Ok(publish) => {
            let mut publish = Command::new(publish);
            publish.args(["-p", &broker.addr.port().to_string()]);
            publish.args(["-t", &key_text(KEY), "-m", &value_text(0)]);
            let many = plan.rounds * TIMES;
            beside(report, &mut moat, &mut publish, "mosquitto_pub", 0.8, many)?;
        }
        Err(why) => report.leave_out(format!("A11 beside mosquitto_pub: {why}")),
    }
    if let Err(why) = original(tools, plan, report, &mut moat, &broker) {
        report.leave_out(format!("A11 beside the original: {why:#}"));
    }
    Ok(())
}

fn original(
    tools: &Tools,
    plan: &Plan,
    report: &mut Report,
    moat: &mut Command,
    broker: &Server,
) -> Result<()> {
    let server = tools.start_original(broker)?;
    fill(Peer::Moat, server.addr, 10)?;
    let mut theirs = tools.original(server.addr.port(), broker.addr.port())?;
    theirs.args(["data", &key_text(KEY)]);
    shows_value(&mut theirs)?;
    beside(
        report,
        moat,
        &mut theirs,
        "the original",
        1.0 / 130.0,
        plan.rounds,
    )
}

fn shows_value(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        text.contains(&value_text(KEY + 1)),
        "{} printed {text:?} and {:?}",
        command.get_program().display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn beside(
    report: &mut Report,
    ours: &mut Command,
    theirs: &mut Command,
    name: &str,
    target: f64,
    times: usize,
) -> Result<()> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..times {
        a.push(duration(ours)?);
        b.push(duration(theirs)?);
    }
    let ratio = Spread::of_ratios(&a, &b);
    report.ratio(
        "A11",
        format!("one command, time / {name}"),
        Target::AtMost(target),
        ratio,
    );
    report.raw(milliseconds("one command", &a, name, &b)?);
    Ok(())
}

fn duration(command: &mut Command) -> Result<f64> {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let begin = Instant::now();
    let status = command.spawn()?.wait()?;
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(status.success(), "a command failed");
    Ok(seconds)
}

fn milliseconds(what: &str, ours: &[f64], name: &str, theirs: &[f64]) -> Result<String> {
    let median = |all: &[f64]| Spread::of(all.iter().copied()).context("no rounds");
    Ok(format!(
        "{what}: moat {:.2} ms, {name} {:.2} ms",
        median(ours)?.median * 1e3,
        median(theirs)?.median * 1e3
    ))
}

/// Measures A12.
pub(crate) fn start(tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
    if !plan.wants("A12") {
        return Ok(());
    }
    if [Peer::Moat, Peer::Redis]
        .into_iter()
        .any(|peer| plan.start(tools, peer, report).is_none())
    {
        return Ok(());
    }
    progress("start to first answer");
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds * 4 {
        a.push(ready(tools, Peer::Moat)?);
        b.push(ready(tools, Peer::Redis)?);
    }
    report.ratio(
        "A12",
        "start to first answer, time / redis".to_owned(),
        Target::AtMost(1.0),
        Spread::of_ratios(&a, &b),
    );
    report.raw(milliseconds("start to first answer", &a, "redis", &b)?);
    Ok(())
}

fn ready(tools: &Tools, peer: Peer) -> Result<f64> {
    let port = free_port()?;
    let begin = Instant::now();
    let mut server = tools.launch(peer, port)?;
    server.wait_until(|| answers(peer, port))?;
    Ok(begin.elapsed().as_secs_f64())
}
