//! B1: from a write at one node until a watch at another tells of it, beside
//! the same bytes from a publisher to a subscriber at the same broker.
//! Redis' publications through a replica are shown for comparison.

use std::time::Duration;

use anyhow::Result;

use crate::Plan;
use crate::flow::{Flow, Pace};
use crate::join::replica;
use crate::pair::{DELAYS, Pair, Runs};
use crate::report::{Report, Target, progress};
use crate::server::Tools;
use crate::wire::Peer;

/// 50 a second
pub(crate) const SLOW: Pace = Pace::Every(Duration::from_millis(20));
/// Slow messages need time to be many.
pub(crate) const LONGER: f64 = 2.0;

/// Measures B1.
pub(crate) fn run(tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
    let pair = Pair::at_mosquitto(tools)?;
    let master = tools.start(Peer::Redis)?;
    let replica = replica(tools, &master, 0)?;
    let through_redis = || Flow::redis(master.addr, replica.server.addr);
    let (flow, direct) = (|| pair.flow(), || pair.direct());
    let mut flows: [(&dyn Fn() -> Result<Flow>, Runs); 3] = [
        (&flow, Runs::of("B1 moat, A to B")),
        (&direct, Runs::of("B1 mosquitto's own")),
        (&through_redis, Runs::of("B1 redis, master to replica")),
    ];
    for round in 0..plan.rounds {
        progress(&format!("B1: round {}", round + 1));
        for i in 0..flows.len() {
            let at = (i + round) % flows.len();
            let (flow, runs) = &mut flows[at];
            runs.push(flow()?.run(SLOW, plan.seconds * LONGER)?)?;
        }
    }
    let [(_, ours), (_, own), (_, redis)] = &flows;
    for (name, quantity) in DELAYS {
        report.ratio(
            "B1",
            format!("delay A to B, {name} / Mosquitto's own"),
            Target::AtMost(2.2),
            ours.ratio(own, quantity),
        );
    }
    report.raw(format!("B1 to B3: a change is {} bytes", pair.bytes()));
    for runs in [ours, own, redis] {
        runs.tell(report)?;
    }
    Ok(())
}
