//! The client library: its protocol against recorded sessions, its shell
//! against servers that are played by the test, and both with a real one.

mod fake;
mod recorded;
mod served;
mod shell;
