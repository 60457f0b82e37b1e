//! B3: the broker inside a node beside Mosquitto: first as a broker of a
//! publisher and a subscriber that are no nodes, then for the writes of the
//! node that it is in.

use anyhow::Result;

use crate::Plan;
use crate::delay::{LONGER, SLOW};
use crate::flow::{Flow, Pace};
use crate::pair::{DELAYS, Pair, Runs};
use crate::report::{Report, Target, progress};
use crate::server::Tools;
use crate::stats::Spread;
use crate::stream::FULL;

/// Measures B3.
pub(crate) fn run(tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
    let inside = Pair::embedded(tools)?;
    let beside = Pair::at_mosquitto(tools)?;
    let paces: [(Pace, &str, f64); 2] = [(FULL, "full speed", 1.0), (SLOW, "50/s", LONGER)];
    for (pace, speed, longer) in paces {
        let runs = |what: &str| Runs::of(&format!("B3 {what}, {speed}"));
        let mut flows: [(&dyn Fn() -> Result<Flow>, Runs); 5] = [
            (&|| inside.direct(), runs("embedded broker's own")),
            (&|| beside.direct(), runs("mosquitto's own")),
            (&|| inside.flow(), runs("embedded, its node to another")),
            (&|| inside.back(), runs("embedded, another to its node")),
            (&|| beside.flow(), runs("mosquitto, node to node")),
        ];
        for round in 0..plan.rounds {
            progress(&format!("B3: {speed}, round {}", round + 1));
            for i in 0..flows.len() {
                let at = (i + round) % flows.len();
                let (flow, runs) = &mut flows[at];
                runs.push(flow()?.run(pace, plan.seconds * longer)?)?;
            }
        }
        let [
            (_, broker),
            (_, mosquitto),
            (_, owner),
            (_, back),
            (_, nodes),
        ] = &flows;
        match pace {
            Pace::Full { .. } => {
                let mut rate = |what: &str, target, of: &Runs, to: &Runs| {
                    let ratio = of.ratio(to, |h| h.rate);
                    report.ratio("B3", what.to_owned(), Target::AtLeast(target), ratio);
                };
                rate("broker's rate / Mosquitto", 1.1, broker, mosquitto);
                rate(
                    "writes at the broker's node, rate / Mosquitto's own",
                    2.0,
                    owner,
                    mosquitto,
                );
                report.ratio(
                    "B3",
                    "writes lost".to_owned(),
                    Target::AtMost(0.0),
                    Spread::of([owner.lost() + back.lost() + nodes.lost()]),
                );
            }
            Pace::Every(_) => {
                for (name, quantity) in DELAYS {
                    report.ratio(
                        "B3",
                        format!("broker's delay, {name} / Mosquitto"),
                        Target::AtMost(1.2),
                        broker.ratio(mosquitto, quantity),
                    );
                }
                for (name, quantity) in DELAYS {
                    report.ratio(
                        "B3",
                        format!("delay from the broker's node, {name} / over Mosquitto"),
                        Target::AtMost(1.2),
                        owner.ratio(nodes, quantity),
                    );
                }
            }
        }
        for (_, runs) in &flows {
            runs.tell(report)?;
        }
    }
    Ok(())
}
