//! Tests that need nothing but Rust.

#[path = "../support/mod.rs"]
mod support;

mod replay;
mod vectors;
