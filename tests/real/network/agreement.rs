//! Three servers that are killed, stopped and left without a broker while
//! clients write at all of them.

#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout)] // tests keep their own time, and say what they saw

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::load::{Account, Writer, check};
use crate::support::network::{Network, agree};
use crate::support::original::Broker;
use crate::support::{eventually, free_port};
use crate::{Needs, Tests};

/// Acknowledged writes of a server that is killed may be lost if it had no
/// time to tell the others: far less than this, if the broker is there.
const UNTOLD: Duration = Duration::from_secs(1);
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
    c.kill();
    let killed = Instant::now();
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
        write.head.1 == "c" && write.at <= killed && write.at + UNTOLD >= killed
    };
    let lost = check(&held, &accounts, untold);
    let writes: usize = accounts.iter().map(|account| account.acked.len()).sum();
    eprintln!("{writes} writes, {lost} lost with the node that was killed");
    for node in [a, b, c] {
        node.end();
    }
}
