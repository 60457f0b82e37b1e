//! C1 and C2: sets while changes are written to a file, beside the same
//! without one, and Redis with its append-only file.
//!
//! In C1 nobody waits for the disk: ours has written a change when it is
//! acknowledged, Redis (`everysec`) a moment later. In C2 both have made it
//! durable.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::Plan;
use crate::lane::fill;
use crate::load::{KEYS, Load, Seen, Shape};
use crate::loading::with_log;
use crate::report::{Report, Target, progress};
use crate::server::{Server, Tools, answers, free_port};
use crate::stats::Spread;
use crate::wire::{Op, Peer};

pub(crate) const ONE: Shape = Shape {
    connections: 1,
    depth: 1,
};
const DEEP: Shape = Shape {
    connections: 1,
    depth: 32,
};
pub(crate) const WIDE: Shape = Shape {
    connections: 50,
    depth: 1,
};

/// Bytes of a set in our file, nearly.
const RECORD: usize = 100;

/// Our server, which writes changes to `file` if there is one.
fn ours(tools: &Tools, sync: &str, file: Option<&str>) -> Result<Server> {
    let port = free_port()?;
    let mut command = tools.moat();
    command
        .args(["kv", "-C", "server.backend=none", "-C"])
        .arg(format!("server.bind_default.port={port}"))
        .args([
            "-C",
            &format!("server.log.sync={sync}"),
            "server",
            "-i",
            "x",
        ]);
    if let Some(file) = file {
        command.arg("-s").arg(tools.file(file));
    }
    command.arg("bench");
    let mut server = tools.spawn(&mut command, Peer::Moat, port)?;
    server.wait_until(|| answers(Peer::Moat, port))?;
    fill(Peer::Moat, server.addr, KEYS)?;
    Ok(server)
}

fn redis(tools: &Tools, sync: &str) -> Result<Server> {
    let directory = tools.file(&format!("redis-{sync}"));
    std::fs::create_dir(&directory)?;
    let port = free_port()?;
    let mut command = with_log(tools, &directory, sync, port)?;
    let mut server = tools.spawn(&mut command, Peer::Redis, port)?;
    server.wait_until(|| answers(Peer::Redis, port))?;
    fill(Peer::Redis, server.addr, KEYS)?;
    Ok(server)
}

fn load(tools: &Tools, plan: &Plan, server: &Server, shape: Shape) -> Result<Seen> {
    server.settle()?;
    tools.load(
        server,
        &Load {
            peer: server.peer,
            addr: server.addr,
            op: Op::Set,
            shape,
            seconds: plan.seconds,
            pid: server.pid(),
        },
    )
}

/// Rates of each of some servers, round by round, in another order each time.
fn rates(tools: &Tools, plan: &Plan, servers: &[&Server], shape: Shape) -> Result<Vec<Vec<f64>>> {
    let mut seen = vec![Vec::new(); servers.len()];
    for round in 0..plan.rounds {
        for i in 0..servers.len() {
            let i = (i + round) % servers.len();
            seen[i].push(load(tools, plan, servers[i], shape)?.rate());
        }
    }
    Ok(seen)
}

fn describe(figure: &str, names: &[&str], shape: Shape, seen: &[Vec<f64>]) -> String {
    let rates = names.iter().zip(seen).map(|(name, rates)| {
        let median = Spread::of(rates.iter().copied()).map_or(f64::NAN, |s| s.median);
        format!("{name} {median:.0}")
    });
    let rates = rates.collect::<Vec<_>>().join(", ");
    format!("{figure} set {shape}: {rates} /s")
}

/// Measures C1.
pub(crate) fn before_the_reply(tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
    let logged = ours(tools, "1", Some("c1.state"))?;
    let plain = ours(tools, "1", None)?;
    let redis = redis(tools, "everysec")?;
    for (shape, to_plain, to_redis) in [(ONE, 0.9, 1.0), (DEEP, 0.8, 1.15), (WIDE, 0.9, 1.0)] {
        progress(&format!("C1: set {shape}"));
        let seen = rates(tools, plan, &[&logged, &plain, &redis], shape)?;
        report.ratio(
            "C1",
            format!("set {shape}, rate / without a log"),
            Target::AtLeast(to_plain),
            Spread::of_ratios(&seen[0], &seen[1]),
        );
        report.ratio(
            "C1",
            format!("set {shape}, rate / redis everysec"),
            Target::AtLeast(to_redis),
            Spread::of_ratios(&seen[0], &seen[2]),
        );
        let names = ["moat with a log", "without", "redis"];
        report.raw(describe("C1", &names, shape, &seen));
    }
    Ok(())
}

/// Measures C2.
pub(crate) fn synced(tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
    let ours = ours(tools, "always", Some("c2.state"))?;
    let redis = redis(tools, "always")?;
    for shape in [ONE, DEEP, WIDE] {
        progress(&format!("C2: set {shape}"));
        let seen = rates(tools, plan, &[&ours, &redis], shape)?;
        report.ratio(
            "C2",
            format!("set {shape}, rate / redis always"),
            Target::AtLeast(1.0),
            Spread::of_ratios(&seen[0], &seen[1]),
        );
        report.raw(describe("C2", &["moat", "redis"], shape, &seen));
    }
    progress("C2: a bare loop");
    let (mut bare, mut sets) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        bare.push(loop_of_writes(tools, plan)?);
        sets.push(load(tools, plan, &ours, ONE)?.rate());
    }
    report.ratio(
        "C2",
        format!("set {ONE}, rate / a loop of write and fdatasync"),
        Target::AtLeast(0.95),
        Spread::of_ratios(&sets, &bare),
    );
    let bare = Spread::of(bare).context("no rounds")?.median;
    report.raw(format!("C2 write and fdatasync: {bare:.0} /s"));
    Ok(())
}

/// How often a second some bytes can be appended and made durable.
fn loop_of_writes(tools: &Tools, plan: &Plan) -> Result<f64> {
    let mut file = File::create(tools.file("bare"))?;
    let bytes = [7; RECORD];
    let span = Duration::from_secs_f64(plan.seconds);
    let begin = Instant::now();
    let mut count = 0_u32;
    while begin.elapsed() < span {
        file.write_all(&bytes)?;
        file.sync_data()?;
        count += 1;
    }
    ensure!(count > 0, "no write came back");
    Ok(f64::from(count) / begin.elapsed().as_secs_f64())
}
