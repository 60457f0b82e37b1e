//! Tests that need nothing but Rust.

mod client;
mod values;
