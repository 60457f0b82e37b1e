//! Two nodes at a broker, and what passes between them.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};

use crate::flow::{Flow, Heard};
use crate::lane::{Lane, fill};
use crate::load::KEYS;
use crate::mqtt;
use crate::net::{Net, Node};
use crate::report::{Report, number, progress};
use crate::server::{Server, Tools, free_port, local};
use crate::stats::Spread;
use crate::wire::{self, Op, Peer};

/// Two nodes; A is the one that is written to.
pub(crate) struct Pair {
    pub(crate) a: Node,
    pub(crate) b: Node,
    /// Absent: it is within node A
    pub(crate) broker: Option<Server>,
    broker_at: SocketAddr,
    /// What tells a change from A to B
    payload: Vec<u8>,
    /// As long as the topic on which that is said
    topic: String,
}

impl Pair {
    /// At a Mosquitto of their own.
    pub(crate) fn at_mosquitto(tools: &Tools) -> Result<Self> {
        let broker = tools.start_mosquitto()?;
        let net = Net::at(broker.addr.port());
        let at = broker.addr;
        Self::start(tools, &net, at, Some(broker))
    }

    /// At a broker within node A.
    pub(crate) fn embedded(tools: &Tools) -> Result<Self> {
        let at = local(free_port()?);
        let mut net = Net::at(at.port());
        net.set("server.mqtt.embedded=always");
        Self::start(tools, &net, at, None)
    }

    fn start(
        tools: &Tools,
        net: &Net,
        broker_at: SocketAddr,
        broker: Option<Server>,
    ) -> Result<Self> {
        let mut a = net.first(tools, "a")?;
        if broker.is_none() {
            // the first node serves before it is the broker
            a.server
                .wait_until(|| std::net::TcpStream::connect(broker_at).is_ok())?;
        }
        let b = net.join(tools, "b")?;
        fill(Peer::Moat, a.server.addr, KEYS)?;
        let mut lane = mqtt::listen(broker_at, &net.topic("update"))?;
        let mut request = Vec::new();
        wire::append_once(&mut request, Peer::Moat, Op::Set, 0, 1);
        Lane::connect(Peer::Moat, a.server.addr)?.ask(&request)?;
        // what comes first may be of those that were written before
        let stamp = wire::value_text(1);
        let payload = loop {
            let packet = lane.message()?;
            let (_, payload) = mqtt::message(&packet)?;
            if wire::find(payload, stamp.as_bytes()).is_some() {
                break payload.to_vec();
            }
        };
        a.server.settle()?;
        b.server.settle()?;
        Ok(Self {
            a,
            b,
            broker,
            broker_at,
            payload,
            topic: net.topic("direct"),
        })
    }

    /// Writes at A until B's watchers hear of them.
    pub(crate) fn flow(&self) -> Result<Flow> {
        Flow::nodes(self.a.server.addr, self.b.server.addr)
    }

    /// The other way.
    pub(crate) fn back(&self) -> Result<Flow> {
        Flow::nodes(self.b.server.addr, self.a.server.addr)
    }

    /// The same bytes from a publisher to a subscriber at the broker.
    pub(crate) fn direct(&self) -> Result<Flow> {
        Flow::broker(self.broker_at, &self.topic, &self.payload)
    }

    /// Bytes in which a change is told.
    pub(crate) fn bytes(&self) -> usize {
        self.payload.len()
    }
}

/// Something that a run showed
pub(crate) type Quantity = fn(&Heard) -> f64;

/// Quantiles of delays, with their names
pub(crate) const DELAYS: [(&str, Quantity); 2] = [("p50", |h| h.p50), ("p99", |h| h.p99)];

/// What several runs of one kind showed.
pub(crate) struct Runs {
    name: String,
    seen: Vec<Heard>,
}

impl Runs {
    pub(crate) fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            seen: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, heard: Heard) -> Result<()> {
        ensure!(heard.sent > 0, "{}: nothing was sent", self.name);
        progress(&format!(
            "{}: {:.0} /s, p50 {:.0} µs, {} of {} passed over, {} lost",
            self.name,
            heard.rate,
            heard.p50 * 1e6,
            heard.passed,
            heard.sent,
            heard.lost
        ));
        self.seen.push(heard);
        Ok(())
    }

    fn all(&self, quantity: Quantity) -> Vec<f64> {
        self.seen.iter().map(quantity).collect()
    }

    /// Round by round, this to that.
    pub(crate) fn ratio(&self, other: &Self, quantity: Quantity) -> Option<Spread> {
        Spread::of_ratios(&self.all(quantity), &other.all(quantity))
    }

    pub(crate) fn lost(&self) -> f64 {
        self.seen.iter().map(|h| f64::from(h.lost)).sum()
    }

    /// Tells what was measured.
    pub(crate) fn tell(&self, report: &mut Report) -> Result<()> {
        let median = |quantity: Quantity| {
            let spread = Spread::of(self.all(quantity));
            spread.map(|s| s.median).context("no runs")
        };
        report.raw(format!(
            "{:<44} {:>8.0} /s   p50 {:>7.0} µs   p99 {:>7.0} µs   lost {}",
            self.name,
            median(|h| h.rate)?,
            median(|h| h.p50)? * 1e6,
            median(|h| h.p99)? * 1e6,
            number(self.lost()),
        ));
        Ok(())
    }
}
