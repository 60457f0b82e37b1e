//! Tests that need nothing but Rust.

mod client;
mod eval;
mod paths;
mod values;
