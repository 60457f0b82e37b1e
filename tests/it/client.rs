//! The client library: its protocol against recorded sessions, its shell
//! against servers that are played by the test.

mod fake;
mod recorded;
mod shell;
