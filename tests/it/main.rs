//! Tests that need nothing but Rust.

#[path = "../support/mod.rs"]
mod support;

mod client;
mod documents;
mod eval;
mod hostile;
mod layers;
mod lifecycle;
mod merge;
mod paths;
mod replay;
mod values;
mod vectors;
