//! One server's whole state and rules, without clock, socket, task or random
//! source: time and requests come in, messages and effects go out.

pub mod merge;
pub mod ticks;
pub mod time;
pub mod tree;
