//! B2: writes at one node, as fast as they get through, until a watch at
//! another tells of them, beside a publisher and a subscriber at the same
//! broker, and beside the original.

use std::time::Duration;

use anyhow::Result;

use crate::Plan;
use crate::flow::{Flow, Pace};
use crate::lane::fill;
use crate::net::Net;
use crate::pair::{Pair, Runs};
use crate::report::{Report, Target, progress};
use crate::server::{Server, Tools, cpu_exact};
use crate::wire::Peer;

/// As fast as it gets through.
pub(crate) const FULL: Pace = Pace::Full {
    unanswered: 256,
    ahead: 1024,
};
/// The original answers after seconds if much is under way.
const FULL_ORIGINAL: Pace = Pace::Full {
    unanswered: 64,
    ahead: 256,
};
/// It needs longer spans.
const LONG: f64 = 10.0;

/// Measures B2.
pub(crate) fn run(tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
    let mut ours = Runs::of("B2 moat, A to B");
    let mut own = Runs::of("B2 mosquitto's own");
    {
        let pair = Pair::at_mosquitto(tools)?;
        let mut costs = Costs::default();
        for round in 0..plan.rounds {
            progress(&format!("B2: round {}", round + 1));
            for i in 0..2 {
                if (i + round) % 2 == 0 {
                    let before = Costs::now(&pair)?;
                    let heard = pair.flow()?.run(FULL, plan.seconds)?;
                    costs.add(&before, &Costs::now(&pair)?, heard.sent);
                    ours.push(heard)?;
                } else {
                    own.push(pair.direct()?.run(FULL, plan.seconds)?)?;
                }
            }
        }
        costs.tell(report);
    }
    let lost = ours.lost();
    report.ratio(
        "B2",
        "writes A to B, rate / Mosquitto's own".to_owned(),
        Target::AtLeast(0.8),
        ours.ratio(&own, |h| h.rate),
    );
    report.ratio(
        "B2",
        "writes lost".to_owned(),
        Target::AtMost(0.0),
        crate::stats::Spread::of([lost]),
    );
    ours.tell(report)?;
    own.tell(report)?;

    progress("B2: the original");
    let broker = tools.start_mosquitto()?;
    let mut net = Net::at(broker.addr.port());
    let a = net.original(tools, "a", &["-I", "x"])?;
    let b = net.original(tools, "b", &[])?;
    fill(Peer::Moat, a.server.addr, 10)?;
    let mut theirs = Runs::of("B2 the original, A to B");
    let long = if plan.quick { 3.0 } else { LONG };
    for _ in 0..if plan.quick { 1 } else { plan.rounds } {
        let flow = Flow::nodes(a.server.addr, b.server.addr)?;
        theirs.push(flow.run(FULL_ORIGINAL, long)?)?;
    }
    report.ratio(
        "B2",
        "writes A to B, rate / original".to_owned(),
        Target::AtLeast(30.0),
        ours.ratio(&theirs, |h| h.rate),
    );
    theirs.tell(report)
}

/// CPU time of those through whom a write passes.
#[derive(Default)]
struct Costs {
    a: Duration,
    b: Duration,
    broker: Duration,
    writes: u32,
}

impl Costs {
    fn now(pair: &Pair) -> Result<Self> {
        let of = |server: &Server| cpu_exact(server.pid());
        Ok(Self {
            a: of(&pair.a.server)?,
            b: of(&pair.b.server)?,
            broker: pair.broker.as_ref().map_or(Ok(Duration::ZERO), of)?,
            writes: 0,
        })
    }

    fn add(&mut self, before: &Self, after: &Self, writes: u32) {
        self.a += after.a - before.a;
        self.b += after.b - before.b;
        self.broker += after.broker - before.broker;
        self.writes += writes;
    }

    fn tell(&self, report: &mut Report) {
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / f64::from(self.writes.max(1));
        report.raw(format!(
            "B2 CPU for each write: A {:.1}, broker {:.1}, B {:.1} µs",
            each(self.a),
            each(self.broker),
            each(self.b)
        ));
    }
}
