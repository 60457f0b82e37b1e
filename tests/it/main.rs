//! Tests that need nothing but Rust.

mod values;
