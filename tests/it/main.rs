//! Tests that need nothing but Rust.

mod cli_frame;
mod config;
mod eval;
mod paths;
mod values;
