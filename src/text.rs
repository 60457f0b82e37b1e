//! The outer forms of values: what the command line reads and prints.

pub mod eval;
pub mod repr;
