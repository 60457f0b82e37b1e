//! B4 and B5: from the start of a node's process until it serves, with
//! 100,000 entries to fetch and with none, beside a Redis replica and the
//! original.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::Plan;
use crate::lane::{Lane, fill};
use crate::net::{Net, Node};
use crate::report::{Report, Target, progress};
use crate::server::{Server, Tools, free_port, program};
use crate::stats::Spread;
use crate::wire::{self, Peer};

const ENTRIES: u32 = 100_000;

/// Measures B4.
pub(crate) fn much(tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
    progress("B4: entries");
    let broker = tools.start_mosquitto()?;
    let mut net = Net::at(broker.addr.port());
    let a = net.first(tools, "a")?;
    let master = tools.start(Peer::Redis)?;
    fill(Peer::Moat, a.server.addr, ENTRIES)?;
    fill(Peer::Redis, master.addr, ENTRIES)?;
    let (mut ours, mut theirs, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        progress(&format!("B4: round {}", round + 1));
        for i in 0..2 {
            a.server.settle()?;
            master.settle()?;
            if (i + round) % 2 == 0 {
                let node = net.join(tools, &format!("j{round}"))?;
                cpu.push(crate::server::cpu_exact(node.server.pid())?.as_secs_f64());
                ensure_whole(&node)?;
                ours.push(rate(node.took));
            } else {
                theirs.push(rate(replica(tools, &master, ENTRIES)?.took));
            }
        }
    }
    report.ratio(
        "B4",
        format!("{ENTRIES} entries, rate / redis replica"),
        Target::AtLeast(1.0),
        Spread::of_ratios(&ours, &theirs),
    );
    for (name, rates) in [("moat", &ours), ("redis", &theirs)] {
        let median = Spread::of(rates.iter().copied())
            .context("no rounds")?
            .median;
        report.raw(format!(
            "B4 {name}: {:.2} M entries/s, {:.0} ms from start to end",
            median / 1e6,
            f64::from(ENTRIES) / median * 1e3
        ));
    }
    let cpu = Spread::of(cpu).context("no rounds")?.median;
    report.raw(format!(
        "B4 moat: {:.0} ms of CPU time at the joiner",
        cpu * 1e3
    ));

    // It fetches from one of ours, which is kinder to it than one of its own.
    progress("B4: the original");
    net.host("a", &a);
    let node = net.original(tools, "o", &[])?;
    ensure_whole(&node)?;
    let original = rate(node.took);
    report.raw(format!(
        "B4 original: {original:.0} entries/s, {:.1} s from start to end",
        node.took.as_secs_f64()
    ));
    report.ratio(
        "B4",
        format!("{ENTRIES} entries, rate / original"),
        Target::AtLeast(150.0),
        Spread::of(ours.iter().map(|rate| rate / original)),
    );
    Ok(())
}

fn rate(took: Duration) -> f64 {
    f64::from(ENTRIES) / took.as_secs_f64()
}

/// Fails unless the node holds all.
fn ensure_whole(node: &Node) -> Result<()> {
    let mut lane = Lane::connect(Peer::Moat, node.server.addr)?;
    let path = [wire::TOP];
    let start = lane.ask(&wire::moat_path_request("get_tree", &path, 1))?;
    ensure!(
        wire::field(&start, "state")? == Some(b"\xa5start"),
        "get_tree is answered with {start:?}"
    );
    let mut values = 0;
    loop {
        let message = lane.message()?;
        if wire::field(&message, "value")?.is_some() {
            values += 1;
        } else if wire::field(&message, "state")? == Some(b"\xa3end") {
            break;
        }
    }
    ensure!(values == ENTRIES, "{values} of {ENTRIES} entries are there");
    Ok(())
}

/// A replica of Redis', and how long it took until it had all.
pub(crate) struct Replica {
    pub(crate) server: Server,
    pub(crate) took: Duration,
}

/// Starts a replica and waits until it has all `entries`. Neither side goes
/// through a file: that is Redis' fastest way.
pub(crate) fn replica(tools: &Tools, master: &Server, entries: u32) -> Result<Replica> {
    let mut set = Lane::connect(Peer::Redis, master.addr)?;
    for (key, value) in [
        ("repl-diskless-sync", "yes"),
        ("repl-diskless-sync-delay", "0"),
    ] {
        let mut request = Vec::new();
        wire::resp(&mut request, &["CONFIG", "SET", key, value]);
        let answer = set.ask(&request)?;
        ensure!(answer == b"+OK\r\n", "redis refuses {key}");
    }
    let port = free_port()?;
    let mut command = tools.held(&program("redis-server")?);
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args([
            "--port",
            &port.to_string(),
            "--repl-diskless-load",
            "on-empty-db",
        ])
        .args(["--replicaof", "127.0.0.1", &master.addr.port().to_string()]);
    let begin = Instant::now();
    let mut server = tools.spawn(&mut command, Peer::Redis, port)?;
    let mut lane = None;
    let mut request = Vec::new();
    wire::resp(&mut request, &["INFO", "replication"]);
    let addr = server.addr;
    server.wait_until(|| {
        if lane.is_none() {
            lane = Lane::connect(Peer::Redis, addr).ok();
        }
        let answer = lane.as_mut().and_then(|lane| lane.ask(&request).ok());
        answer.is_some_and(|answer| wire::find(&answer, b"master_link_status:up").is_some())
    })?;
    let took = begin.elapsed();
    let mut request = Vec::new();
    wire::resp(&mut request, &["DBSIZE"]);
    let size = lane.context("a connection")?.ask(&request)?;
    ensure!(
        size == format!(":{entries}\r\n").as_bytes(),
        "the replica has {} entries",
        String::from_utf8_lossy(&size)
    );
    Ok(Replica { server, took })
}

/// Measures B5.
pub(crate) fn nothing(tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
    let broker = tools.start_mosquitto()?;
    {
        let net = Net::at(broker.addr.port());
        let _first = net.first(tools, "a")?;
        let mut took = Vec::new();
        for round in 0..plan.rounds {
            progress(&format!("B5: round {}", round + 1));
            let node = net.join(tools, &format!("j{round}"))?;
            took.push(node.took.as_secs_f64());
        }
        report.ratio(
            "B5",
            "joining ours with nothing to fetch, seconds".to_owned(),
            Target::AtMost(1.0),
            Spread::of(took),
        );
    }
    let mut net = Net::at(broker.addr.port());
    let _first = net.original(tools, "a", &["-I", "x"])?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..if plan.quick { 1 } else { plan.rounds } {
        progress(&format!("B5: round {}, among the original's", round + 1));
        // one after the other: each joins the first alone
        theirs.push(
            net.original(tools, &format!("o{round}"), &[])?
                .took
                .as_secs_f64(),
        );
        ours.push(net.join(tools, &format!("j{round}"))?.took.as_secs_f64());
    }
    report.ratio(
        "B5",
        "joining the original's, time / the original's".to_owned(),
        Target::AtMost(1.0),
        Spread::of_ratios(&ours, &theirs),
    );
    for (name, took) in [("moat", ours), ("original", theirs)] {
        let spread = Spread::of(took).context("no rounds")?;
        report.raw(format!(
            "B5 {name} joins the original's: {:.2} s ({:.2} – {:.2})",
            spread.median, spread.least, spread.greatest
        ));
    }
    Ok(())
}
