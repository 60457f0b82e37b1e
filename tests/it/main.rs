//! Tests that need nothing but Rust.

mod eval;
mod paths;
mod values;
