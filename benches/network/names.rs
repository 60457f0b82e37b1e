//! B7: memory for each node that was heard of, by 10,000 invented names
//! without a hole among their ticks.

use anyhow::{Result, ensure};
use moat::msgpack::write;

use crate::Plan;
use crate::lane::Lane;
use crate::mqtt;
use crate::net::Net;
use crate::report::{Report, Target, progress};
use crate::server::Tools;
use crate::stats::Spread;
use crate::wire::{self, Peer};

const NAMES: u32 = 10_000;
/// Names in one message: it need not be long.
const AT_ONCE: u32 = 100;
const TICKS: u64 = 1000;

/// Measures B7.
pub(crate) fn run(tools: &Tools, _: &Plan, report: &mut Report) -> Result<()> {
    progress("B7: names");
    let broker = tools.start_mosquitto()?;
    let net = Net::at(broker.addr.port());
    let node = net.first(tools, "a")?;
    let mut lane = Lane::connect(Peer::Mqtt, broker.addr)?;
    let topic = net.topic("info");
    // the first hundred grow what is there for the first one, too
    tell(&mut lane, &topic, 0..AT_ONCE)?;
    knows(&node, AT_ONCE)?;
    node.server.settle()?;
    let before = node.server.resident()?;
    let last = AT_ONCE + NAMES;
    for from in (AT_ONCE..last).step_by(AT_ONCE as usize) {
        tell(&mut lane, &topic, from..from + AT_ONCE)?;
    }
    knows(&node, last)?;
    node.server.settle()?;
    let grown = (node.server.resident()? - before) / f64::from(NAMES);
    report.ratio(
        "B7",
        format!("bytes for each of {NAMES} known nodes"),
        Target::AtMost(512.0),
        Spread::of([grown]),
    );
    Ok(())
}

/// Says of these nodes that all their ticks are of no interest any more.
fn tell(lane: &mut Lane, topic: &str, names: std::ops::Range<u32>) -> Result<()> {
    let mut info = Vec::new();
    write::map(&mut info, 4);
    for key in ["ticks", "known"] {
        write::str(&mut info, key);
        write::map(&mut info, names.len());
        for n in names.clone() {
            write::str(&mut info, &name(n));
            if key == "ticks" {
                write::uint(&mut info, TICKS);
            } else {
                write::array(&mut info, 1);
                write::array(&mut info, 2);
                write::uint(&mut info, 1);
                write::uint(&mut info, TICKS + 1);
            }
        }
    }
    write::str(&mut info, "tock");
    write::uint(&mut info, 1);
    write::str(&mut info, "node");
    write::str(&mut info, "");
    lane.send(&mqtt::publish(topic, &info))
}

fn name(n: u32) -> String {
    format!("node-{n:06}")
}

/// Waits until the node knows so many names, and lacks none of their ticks.
fn knows(node: &crate::net::Node, names: u32) -> Result<()> {
    let mut lane = Lane::connect(Peer::Moat, node.server.addr)?;
    let mut request = Vec::new();
    write::map(&mut request, 4);
    for key in ["nodes", "missing"] {
        write::str(&mut request, key);
        write::bool(&mut request, true);
    }
    write::str(&mut request, "action");
    write::str(&mut request, "get_state");
    write::str(&mut request, "seq");
    write::uint(&mut request, 1);
    let begin = std::time::Instant::now();
    let last = name(names - 1);
    loop {
        let state = lane.ask(&request)?;
        let nodes = wire::field(&state, "nodes")?;
        if nodes.is_some_and(|nodes| wire::find(nodes, last.as_bytes()).is_some()) {
            let missing = wire::field(&state, "missing")?;
            ensure!(missing == Some(b"\x80"), "ticks are missing: {missing:?}");
            return Ok(());
        }
        ensure!(
            begin.elapsed().as_secs() < 30,
            "the node does not learn the names"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
