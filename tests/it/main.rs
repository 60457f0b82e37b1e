//! Tests that need nothing but Rust.

mod eval;
mod json;
mod paths;
mod values;
mod yaml;
