//! Networks of real servers, ours alone and beside the original's, through
//! real brokers.
//!
//! What the simulator proves of the rules is here seen once more with all
//! that it leaves out: processes that are killed and stopped, sockets,
//! Mosquitto, the original itself.

mod agreement;
mod begin;
mod commands;
mod files;
mod hosts;
mod load;
mod mixed;
mod trouble;

use crate::Tests;

pub(crate) fn add(tests: &mut Tests, broker_port: u16) {
    begin::add(tests, broker_port);
    commands::add(tests, broker_port);
    hosts::add(tests);
    agreement::add(tests);
    files::add(tests, broker_port);
    mixed::add(tests);
    trouble::add(tests, broker_port);
}
