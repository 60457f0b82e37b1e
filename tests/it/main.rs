//! Tests that need nothing but Rust.

#[path = "../support/mod.rs"]
mod support;

mod hostile;
mod layers;
mod lifecycle;
mod replay;
mod vectors;
