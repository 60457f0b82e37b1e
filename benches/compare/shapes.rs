//! A1–A7: rate, delay and CPU time of get and set at four shapes of load,
//! beside echo and Redis.
//!
//! In each round the servers take turns, in another order each time, and a
//! ratio is one of two neighbours in a round.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::lane::fill;
use crate::load::{KEYS, Load, Seen, Shape};
use crate::report::{Report, Target, progress};
use crate::server::{Server, Tools};
use crate::stats::Spread;
use crate::wire::{Op, Peer};
use crate::{Plan, describe};
use Op::{Get, Set};
use Peer::{Echo, Redis};
use Quantity::{Cost, P99, Rate};
use Target::{AtLeast, AtMost};

const ONE: Shape = Shape {
    connections: 1,
    depth: 1,
};
/// One connection, many requests.
pub(crate) const DEEP: Shape = Shape {
    connections: 1,
    depth: 32,
};
const WIDE: Shape = Shape {
    connections: 50,
    depth: 1,
};
/// Many connections with many requests each.
pub(crate) const BOTH: Shape = Shape {
    connections: 50,
    depth: 32,
};

#[derive(Clone, Copy)]
enum Quantity {
    Rate,
    P99,
    Cost,
}

impl Quantity {
    fn of(self, seen: &Seen) -> f64 {
        match self {
            Rate => seen.rate(),
            P99 => seen.p99,
            Cost => seen.cost(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Rate => "rate",
            P99 => "p99",
            Cost => "server CPU per op",
        }
    }
}

/// Figure, request, shape, what of it, compared to whom, target.
type Wanted = (&'static str, Op, Shape, Quantity, Peer, Target);

const WANTED: &[Wanted] = &[
    ("A1", Get, ONE, Rate, Echo, AtLeast(0.95)),
    ("A1", Get, ONE, Rate, Redis, AtLeast(1.0)),
    ("A1", Set, ONE, Rate, Echo, AtLeast(0.95)),
    ("A1", Set, ONE, Rate, Redis, AtLeast(1.0)),
    ("A2", Get, DEEP, Rate, Echo, AtLeast(0.88)),
    ("A2", Get, DEEP, Rate, Redis, AtLeast(1.2)),
    ("A3", Set, DEEP, Rate, Echo, AtLeast(0.82)),
    ("A3", Set, DEEP, Rate, Redis, AtLeast(1.15)),
    ("A4", Get, WIDE, Rate, Echo, AtLeast(0.98)),
    ("A4", Get, WIDE, Rate, Redis, AtLeast(1.0)),
    ("A4", Set, WIDE, Rate, Echo, AtLeast(0.98)),
    ("A4", Set, WIDE, Rate, Redis, AtLeast(1.0)),
    ("A5", Get, BOTH, Rate, Echo, AtLeast(1.0)),
    ("A5", Get, BOTH, Rate, Redis, AtLeast(1.2)),
    ("A5", Set, BOTH, Rate, Echo, AtLeast(1.0)),
    ("A5", Set, BOTH, Rate, Redis, AtLeast(1.3)),
    ("A6", Get, ONE, P99, Echo, AtMost(1.15)),
    ("A6", Set, ONE, P99, Echo, AtMost(1.15)),
    ("A6", Get, WIDE, P99, Echo, AtMost(1.0)),
    ("A6", Get, WIDE, P99, Redis, AtMost(0.8)),
    ("A6", Set, WIDE, P99, Echo, AtMost(1.0)),
    ("A6", Set, WIDE, P99, Redis, AtMost(0.8)),
    ("A7", Get, DEEP, Cost, Echo, AtMost(1.5)),
    ("A7", Get, DEEP, Cost, Redis, AtMost(0.75)),
    ("A7", Set, DEEP, Cost, Echo, AtMost(1.65)),
    ("A7", Set, DEEP, Cost, Redis, AtMost(0.75)),
    ("A7", Get, WIDE, Cost, Redis, AtMost(1.0)),
    ("A7", Set, WIDE, Cost, Redis, AtMost(1.0)),
];

/// Measures what the wanted figures need.
pub(crate) fn run(tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
    let wanted: Vec<&Wanted> = WANTED.iter().filter(|w| plan.wants(w.0)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let mut servers = Vec::new();
    for peer in Peer::ALL {
        if let Some(server) = plan.start(tools, peer, report) {
            if peer != Echo {
                fill(peer, server.addr, KEYS)?;
            }
            servers.push(server);
        }
    }
    let mut loads: Vec<(Op, Shape)> = wanted.iter().map(|w| (w.1, w.2)).collect();
    loads.sort_unstable();
    loads.dedup();

    for (op, shape) in loads {
        progress(&format!("{} {shape}", op.name()));
        let seen = rounds(tools, plan, &servers, op, shape)?;
        for (peer, all) in &seen {
            report.raw(describe(peer.name(), op.name(), &shape.to_string(), all));
        }
        let ours = seen.get(&Peer::Moat);
        for &&(figure, _, _, quantity, other, target) in
            wanted.iter().filter(|w| (w.1, w.2) == (op, shape))
        {
            let (Some(ours), Some(theirs)) = (ours, seen.get(&other)) else {
                continue;
            };
            let [ours, theirs] =
                [ours, theirs].map(|all| all.iter().map(|s| quantity.of(s)).collect::<Vec<_>>());
            report.ratio(
                figure,
                format!(
                    "{} {shape}, {} / {}",
                    op.name(),
                    quantity.name(),
                    other.name()
                ),
                target,
                Spread::of_ratios(&ours, &theirs),
            );
        }
    }
    Ok(())
}

fn rounds(
    tools: &Tools,
    plan: &Plan,
    servers: &[Server],
    op: Op,
    shape: Shape,
) -> Result<BTreeMap<Peer, Vec<Seen>>> {
    let mut seen: BTreeMap<Peer, Vec<Seen>> = BTreeMap::new();
    for round in 0..plan.rounds {
        for i in 0..servers.len() {
            let server = &servers[(i + round) % servers.len()];
            let load = Load {
                peer: server.peer,
                addr: server.addr,
                op,
                shape,
                seconds: plan.seconds,
                pid: server.pid(),
            };
            let got = tools.load(server, &load)?;
            seen.entry(server.peer).or_default().push(got);
        }
    }
    Ok(seen)
}
