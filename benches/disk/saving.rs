//! C4: saving a million entries, with nobody there and under load.
//!
//! The rate is that of the whole command: told, written, made durable, with
//! its name. Under load one file after the other is saved for as long as the
//! load lasts. Redis' is a fork (BGSAVE).

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use moat::msgpack::write as msgpack;

use crate::Plan;
use crate::lane::{Lane, fill};
use crate::load::{Load, Seen, Shape};
use crate::report::{Report, Target, progress};
use crate::server::{Server, Tools};
use crate::stats::Spread;
use crate::wire::{self, Op, Peer};
use crate::writing::{ONE, WIDE};

const ENTRIES: u32 = 1_000_000;
const MIB: f64 = 1024.0 * 1024.0;

/// Measures C4.
pub(crate) fn run(tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
    let entries = if plan.quick { ENTRIES / 10 } else { ENTRIES };
    progress(&format!("C4: {entries} entries"));
    let ours = tools.start(Peer::Moat)?;
    fill(Peer::Moat, ours.addr, entries)?;
    let redis = tools.start(Peer::Redis)?;
    fill(Peer::Redis, redis.addr, entries)?;
    let file = tools.file("save.state");
    let (mut rates, mut grown) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        ours.settle()?;
        let before = ours.resident()?;
        forget_peak(&ours)?;
        rates.push(f64::from(entries) / save(&ours, &file)?.as_secs_f64());
        grown.push((peak(&ours)? - before).max(0.0) / MIB);
    }
    report.ratio(
        "C4",
        format!("save of {entries} entries, million a second"),
        Target::AtLeast(5.0),
        Spread::of(rates.iter().map(|rate| rate / 1e6)),
    );
    report.ratio(
        "C4",
        "memory while saving, MiB more".to_owned(),
        Target::AtMost(16.0),
        Spread::of(grown),
    );
    for shape in [ONE, WIDE] {
        let (mut p99, mut slowest) = (Vec::new(), Vec::new());
        for round in 0..plan.rounds {
            progress(&format!("C4: {shape}, round {}", round + 1));
            let quiet = load(tools, plan, &ours, shape, |_| Ok(()))?;
            let saving = load(tools, plan, &ours, shape, |server| {
                save(server, &file).map(drop)
            })?;
            let forked = load(tools, plan, &redis, shape, background_save)?;
            p99.push(saving.p99 / quiet.p99);
            slowest.push(saving.slowest / forked.slowest);
            report.raw(format!(
                "C4 set {shape}: p99 {:.0} µs, saving {:.0} µs; slowest {:.1} ms, saving {:.1} ms, \
                 redis {:.1} ms",
                quiet.p99 * 1e6,
                saving.p99 * 1e6,
                quiet.slowest * 1e3,
                saving.slowest * 1e3,
                forked.slowest * 1e3,
            ));
        }
        report.ratio(
            "C4",
            format!("set {shape} while saving, p99 / before"),
            Target::AtMost(1.5),
            Spread::of(p99),
        );
        report.ratio(
            "C4",
            format!("set {shape} while saving, slowest / redis BGSAVE"),
            Target::AtMost(1.0),
            Spread::of(slowest),
        );
    }
    Ok(())
}

/// Loads a server, and does something to it again and again meanwhile.
fn load(
    tools: &Tools,
    plan: &Plan,
    server: &Server,
    shape: Shape,
    mut meanwhile: impl FnMut(&Server) -> Result<()>,
) -> Result<Seen> {
    server.settle()?;
    let load = Load {
        peer: server.peer,
        addr: server.addr,
        op: Op::Set,
        shape,
        seconds: plan.seconds,
        pid: server.pid(),
    };
    thread::scope(|scope| {
        let loading = scope.spawn(|| tools.load(server, &load));
        while !loading.is_finished() {
            meanwhile(server)?;
            thread::sleep(Duration::from_millis(20));
        }
        loading.join().expect("it does not panic")
    })
}

/// How long it takes until everything is saved.
fn save(server: &Server, file: &Path) -> Result<Duration> {
    let mut lane = Lane::connect(server.peer, server.addr)?;
    let begin = Instant::now();
    let path = file.to_str().context("a directory of ours")?;
    let saved = lane.ask(&save_request(path, 1))?;
    let took = begin.elapsed();
    ensure!(
        wire::field(&saved, "error")?.is_none(),
        "nothing is saved: {:?}",
        String::from_utf8_lossy(&saved)
    );
    Ok(took)
}

fn background_save(server: &Server) -> Result<()> {
    let mut request = Vec::new();
    wire::resp(&mut request, &["BGSAVE"]);
    // it refuses while one is under way
    Lane::connect(server.peer, server.addr)?
        .ask(&request)
        .map(drop)
}

/// Has the greatest resident memory counted from now on.
fn forget_peak(server: &Server) -> Result<()> {
    Ok(fs::write(
        format!("/proc/{}/clear_refs", server.pid()),
        "5",
    )?)
}

/// The greatest resident memory, in bytes.
fn peak(server: &Server) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid()))?;
    let kib = status.lines().find_map(|line| {
        let rest = line.strip_prefix("VmHWM:")?;
        rest.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()
    });
    Ok(kib.context("no VmHWM")? * 1024.0)
}

/// A request to save everything.
pub(crate) fn save_request(file: &str, number: u32) -> Vec<u8> {
    let mut out = Vec::new();
    msgpack::map(&mut out, 4);
    for (name, text) in [("action", "save"), ("path", file)] {
        msgpack::str(&mut out, name);
        msgpack::str(&mut out, text);
    }
    msgpack::str(&mut out, "full");
    out.push(0xc3);
    msgpack::str(&mut out, "seq");
    msgpack::uint(&mut out, u64::from(number));
    out
}
