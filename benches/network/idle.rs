//! B6: what seven nodes do when nobody wants anything of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::Plan;
use crate::lane::{Lane, Poll};
use crate::mqtt;
use crate::net::{Net, Node};
use crate::report::{Report, Target, progress};
use crate::server::{Tools, cpu_exact};
use crate::stats::Spread;

const NODES: usize = 7;
/// They have settled when for that long nothing was said but whose turn it
/// is: a cycle and a gap.
const CALM: Duration = Duration::from_secs(13);
const LIMIT: Duration = Duration::from_secs(180);

/// Measures B6.
pub(crate) fn run(tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
    let broker = tools.start_mosquitto()?;
    let net = Net::at(broker.addr.port());
    let mut ear = Ear::open(&net, broker.addr)?;
    let mut nodes = vec![net.first(tools, "n0")?];
    for i in 1..NODES {
        nodes.push(net.join(tools, &format!("n{i}"))?);
    }
    progress("B6: they settle");
    let begin = Instant::now();
    let mut last = begin;
    while last.elapsed() < CALM {
        ensure!(begin.elapsed() < LIMIT, "the nodes do not come to rest");
        let heard = ear.listen(Duration::from_millis(500))?;
        if heard.other > 0 {
            last = Instant::now();
        }
    }
    progress(&format!("B6: {} seconds", plan.idle));
    let before = cpu(&nodes)?;
    let begin = Instant::now();
    let mut heard = Count::default();
    let span = Duration::from_secs_f64(plan.idle);
    while begin.elapsed() < span {
        let more = ear.listen(span - begin.elapsed())?;
        heard.turns += more.turns;
        heard.other += more.other;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let after = cpu(&nodes)?;
    let shares = before
        .iter()
        .zip(&after)
        .map(|(a, b)| (*b - *a).as_secs_f64() / seconds * 100.0);
    let resident: Result<Vec<f64>> = nodes.iter().map(|n| n.server.resident()).collect();
    let messages = f64::from(heard.turns + heard.other) * 60.0 / seconds;
    report.raw(format!(
        "B6 in {seconds:.0} s: {} turns, {} other messages",
        heard.turns, heard.other
    ));
    report.ratio(
        "B6",
        "seven idle nodes, messages a minute".to_owned(),
        Target::AtMost(17.0),
        Spread::of([messages]),
    );
    report.ratio(
        "B6",
        "CPU of each, percent".to_owned(),
        Target::AtMost(0.01),
        Spread::of(shares),
    );
    report.ratio(
        "B6",
        "resident memory of each, MB".to_owned(),
        Target::AtMost(8.0),
        Spread::of(resident?.into_iter().map(|bytes| bytes / 1e6)),
    );
    Ok(())
}

fn cpu(nodes: &[Node]) -> Result<Vec<Duration>> {
    nodes.iter().map(|n| cpu_exact(n.server.pid())).collect()
}

/// Who hears all that the nodes say.
struct Ear {
    lane: Lane,
    poll: Poll,
    ping: String,
}

#[derive(Default)]
struct Count {
    turns: u32,
    other: u32,
}

impl Ear {
    fn open(net: &Net, broker: std::net::SocketAddr) -> Result<Self> {
        let lane = mqtt::listen(broker, &net.topic("#"))?;
        Ok(Self {
            poll: Poll::new([&lane])?,
            lane,
            ping: net.topic("ping"),
        })
    }

    /// What is said within `limit`, or a part of it.
    fn listen(&mut self, limit: Duration) -> Result<Count> {
        let mut count = Count::default();
        if self.poll.wait(limit)?.next().is_some() {
            self.lane.receive()?;
        }
        while let Some(packet) = self.lane.next()? {
            let (topic, _) = mqtt::message(packet).context("what the broker sends")?;
            if topic == self.ping {
                count.turns += 1;
            } else {
                count.other += 1;
            }
        }
        Ok(count)
    }
}
