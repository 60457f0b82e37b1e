//! Tests that need nothing but Rust.
