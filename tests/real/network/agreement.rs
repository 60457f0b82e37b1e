//! Three servers that are killed, stopped and left without a broker while
//! clients write at all of them.

#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout)] // tests keep their own time, and say what they saw

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::load::{Account, Writer, check};
use crate::support::conn::Conn;
use crate::support::network::{AGREEMENT, Held, Network, Node, agree};
use crate::support::original::Broker;
use crate::support::{eventually, free_port};
use crate::{Needs, Tests};

/// How long a server is stopped.
const STOPPED: Duration = Duration::from_secs(5);

pub(crate) fn add(tests: &mut Tests) {
    for (name, broker) in [
        ("long_queues", ""),
        // what Mosquitto does unless it is told otherwise
        ("its_default_queues", "max_queued_messages 1000"),
    ] {
        tests.add(
            &format!("network::three_nodes_agree_whatever_happens_{name}"),
            Needs::Mosquitto,
            move || three_nodes_agree_whatever_happens(broker),
        );
    }
}

fn three_nodes_agree_whatever_happens(config: &str) {
    let broker_port = free_port();
    let broker = Broker::start_at(broker_port, config).unwrap_or_else(|e| panic!("{e}"));
    let network = Network::at(broker_port);
    let a = network.first("a");
    let mut b = network.join("b");
    let mut c = network.join("c");
    let writers = [&a, &b, &c].map(|node| Writer::start(&node.name, node.port));
    let [_, at_b, at_c] = &writers;
    let all_go_on = |more| writers.iter().for_each(|writer| writer.go_on(more));

    all_go_on(300);
    // whatever of its writes another one has had cannot be lost any more
    let mut told = ticks_at(&[&a, &b], "c");
    assert!(!told.is_empty(), "nobody has heard of its 300 writes");
    at_c.go_on(20);
    c.kill();
    let killed = Instant::now();
    // its broker says so, behind all that it has had from it
    eventually("the others know that it is gone", AGREEMENT, || {
        [&a, &b].iter().all(|node| is_gone(node, "c")).then_some(())
    })
    .unwrap_or_else(|e| panic!("{e}"));
    told.extend(ticks_at(&[&a, &b], "c"));
    let c = network.rejoin(c);
    at_c.go_on(200);

    b.process.signal(Signal::STOP);
    let stopped = Instant::now();
    eventually("the time is up", STOPPED * 2, || {
        (stopped.elapsed() >= STOPPED).then_some(())
    })
    .unwrap_or_else(|e| panic!("{e}"));
    b.process.signal(Signal::CONT);
    at_b.go_on(200);

    drop(broker);
    all_go_on(200);
    let _broker = Broker::start_at(broker_port, config).unwrap_or_else(|e| panic!("{e}"));
    all_go_on(300);

    let accounts: Vec<Account> = writers.into_iter().map(Writer::stop).collect();
    let held = agree(&[&a, &b, &c]);
    let untold = |write: &super::load::Acked| {
        let (_, node, tick) = &write.head;
        let heard = told.iter().any(|(from, to)| (from..to).contains(&tick));
        node == "c" && write.at <= killed && !heard
    };
    let lost = check(&held, &accounts, untold);
    let writes: usize = accounts.iter().map(|account| account.acked.len()).sum();
    eprintln!("{writes} writes, {lost} lost with the node that was killed");
    for node in [a, b, c] {
        node.end();
    }
}

/// The ticks of a node that any of these others has heard of: intervals, their
/// ends not in them.
fn ticks_at(others: &[&Node], name: &str) -> Vec<(u64, u64)> {
    let books = others
        .iter()
        .map(|node| Held::books(&mut Conn::open(node.port)));
    books
        .filter_map(|mut books| books.seen.remove(name))
        .flatten()
        .collect()
}

/// Whether that node knows that the one of that name has gone.
fn is_gone(node: &Node, name: &str) -> bool {
    let members = Conn::open(node.port).request(json!({"action": "get_members"}));
    let mut nodes = members["nodes"].as_array().into_iter().flatten();
    nodes.any(|member| member["name"] == *name && member["gone"] == true)
}
