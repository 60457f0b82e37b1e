//! Tests beside real programs: Mosquitto, the original and its client
//! library.
//!
//! A test whose tool is missing is listed as ignored, with the reason in
//! brackets. Under `tests/run`, which installs the tools, it fails. What
//! lacks a privilege, as to make network namespaces, is left out there too.

#[path = "../support/mod.rs"]
mod support;

mod cli;
mod client;
mod data;
mod fetch;
mod mqtt;
mod network;
mod replay;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use support::hosts;
use support::original::{Broker, installed, mosquitto, python, python_with};

/// What a test needs that may not be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Our own programs only
    Nothing,
    /// Mosquitto
    Mosquitto,
    /// Mosquitto, and OpenSSL's command to make certificates
    Certificates,
    /// The NATS server, which speaks MQTT as well
    Nats,
    /// The original's Python environment
    Python,
    /// The same with the package that has the ISO tables
    Tables,
    /// The original's server, so also a broker
    Original,
    /// Hosts of their own, one with Mosquitto
    Hosts,
}

/// Why a test cannot run.
enum Missing {
    /// A program that can be installed
    Tool(String),
    /// A privilege, of which no program can provide itself
    Privilege(String),
}

impl Needs {
    fn met(self) -> Result<(), Missing> {
        self.tools().map_err(Missing::Tool)?;
        match self {
            Self::Hosts => hosts::permitted().map_err(Missing::Privilege),
            _ => Ok(()),
        }
    }

    fn tools(self) -> Result<(), String> {
        match self {
            Self::Nothing => Ok(()),
            Self::Mosquitto => mosquitto().map(drop),
            Self::Certificates => mosquitto().and_then(|_| installed("openssl")).map(drop),
            Self::Nats => installed("nats-server").map(drop),
            Self::Python => python().map(drop),
            Self::Tables => python_with("pycountry").map(drop),
            Self::Original => python().and_then(|_| mosquitto()).map(drop),
            Self::Hosts => mosquitto().and_then(|_| installed("ip")).map(drop),
        }
    }
}

/// The tests, collected by the modules.
struct Tests {
    trials: Vec<Trial>,
    /// Missing tools are failures.
    required: bool,
}

impl Tests {
    fn add(&mut self, name: &str, needs: Needs, test: impl FnOnce() + Send + 'static) {
        let missing = needs.met().err();
        let trial = match missing {
            None => Trial::test(name, move || {
                test();
                Ok(())
            }),
            Some(Missing::Tool(why)) if self.required => {
                Trial::test(name, move || Err(Failed::from(why)))
            }
            Some(Missing::Tool(why) | Missing::Privilege(why)) => Trial::test(name, || Ok(()))
                .with_kind(why)
                .with_ignored_flag(true),
        };
        self.trials.push(trial);
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Lives on the main thread: it must not end with the first test.
    let broker = match (arguments.list, mosquitto()) {
        (false, Ok(_)) => Some(Broker::start().unwrap_or_else(|e| panic!("{e}"))),
        _ => None,
    };
    let broker_port = broker.as_ref().map_or(0, |b| b.port);
    let mut tests = Tests {
        trials: Vec::new(),
        required: std::env::var_os("MOAT_TEST_REQUIRE").is_some_and(|v| v == "1"),
    };
    cli::add(&mut tests, broker_port);
    client::add(&mut tests, broker_port);
    data::add(&mut tests);
    network::add(&mut tests, broker_port);
    mqtt::add(&mut tests, broker_port);
    fetch::add(&mut tests, broker_port);
    replay::add(&mut tests, broker_port);
    let conclusion = libtest_mimic::run(&arguments, tests.trials);
    drop(broker);
    conclusion.exit_code()
}
