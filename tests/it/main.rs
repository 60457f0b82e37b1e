//! Tests that need nothing but Rust.

#[path = "../support/mod.rs"]
mod support;

mod cli_data;
mod cli_frame;
mod cli_network;
mod cli_transcripts;
mod client;
mod cluster_wire;
mod config;
mod crash;
mod documents;
mod dump;
mod eval;
mod fetch;
mod hostile;
mod json;
mod keep;
mod kill;
mod layers;
mod lifecycle;
mod load;
mod log;
mod merge;
mod notify;
mod paths;
mod replay;
#[cfg(feature = "sim")]
mod sim;
mod state;
mod sums;
mod units;
mod values;
mod vectors;
mod yaml;
