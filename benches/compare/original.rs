//! A13: rate, CPU time and memory beside the original, over Mosquitto.
//!
//! The original is slow: with 1,600 sets under way one takes seconds, so
//! its spans are longer than the others.

use anyhow::Result;

use crate::load::{Load, Seen, Shape};
use crate::memory::grown;
use crate::report::{Report, Target, number, progress};
use crate::server::{Server, Tools};
use crate::shapes::{BOTH, DEEP};
use crate::stats::Spread;
use crate::wire::{Op, Peer};
use crate::{Plan, describe};
use Target::{AtLeast, AtMost};

const WANTED: [(Op, Shape, f64); 4] = [
    (Op::Get, DEEP, 30.0),
    (Op::Get, BOTH, 150.0),
    (Op::Set, DEEP, 190.0),
    (Op::Set, BOTH, 1000.0),
];

/// Measures A13.
pub(crate) fn run(tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
    if !plan.wants("A13") {
        return Ok(());
    }
    let Some(ours) = plan.start(tools, Peer::Moat, report) else {
        return Ok(());
    };
    let started = tools
        .start_mosquitto()
        .and_then(|broker| Ok((tools.start_original(&broker)?, broker)));
    let (original, _broker) = match started {
        Ok(servers) => servers,
        Err(why) => {
            report.leave_out(format!("A13: {why:#}"));
            return Ok(());
        }
    };
    let entries = if plan.quick { 10_000 } else { 100_000 };
    progress(&format!("{entries} entries beside the original"));
    let [a, b] = [grown(&ours, entries)?, grown(&original, entries)?];
    report.raw(format!(
        "{entries} entries: moat {}, original {} bytes each",
        number(a),
        number(b)
    ));
    report.ratio(
        "A13",
        format!("{entries} entries, bytes each / original"),
        AtMost(1.0 / 7.0),
        Spread::of([a / b]),
    );
    let long = plan.seconds.max(if plan.quick { 2.0 } else { 5.0 });
    for (op, shape, target) in WANTED {
        progress(&format!("{} {shape} beside the original", op.name()));
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..if plan.quick { 1 } else { plan.rounds } {
            a.push(load(tools, &ours, op, shape, plan.seconds)?);
            b.push(load(tools, &original, op, shape, long)?);
        }
        let ratios = |quantity: fn(&Seen) -> f64| {
            let [a, b] = [&a, &b].map(|all| all.iter().map(quantity).collect::<Vec<_>>());
            Spread::of_ratios(&a, &b)
        };
        let what = format!("{} {shape}", op.name());
        report.ratio(
            "A13",
            format!("{what}, rate / original"),
            AtLeast(target),
            ratios(Seen::rate),
        );
        if (op, shape) == (Op::Set, DEEP) {
            report.ratio(
                "A13",
                format!("{what}, server CPU per op / original"),
                AtMost(1.0 / 380.0),
                ratios(Seen::cost),
            );
        }
        let shape = shape.to_string();
        report.raw(describe("moat", op.name(), &shape, &a));
        report.raw(describe("original", op.name(), &shape, &b));
    }
    Ok(())
}

fn load(tools: &Tools, server: &Server, op: Op, shape: Shape, seconds: f64) -> Result<Seen> {
    server.settle()?;
    let load = Load {
        peer: Peer::Moat,
        addr: server.addr,
        op,
        shape,
        seconds,
        pid: server.pid(),
    };
    tools.load(server, &load)
}
