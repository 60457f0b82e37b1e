//! MoaT-KV: a master-less distributed key-value store.
//!
//! The library holds everything that the `moat` program is made of; other
//! programs use its `client` module. `docs/architecture.md` in the
//! repository is the map: which module owns what, and who may import whom.

pub mod event;
pub mod literal;
pub mod msgpack;
pub mod path;
pub mod text;
pub mod value;

pub mod node;

pub mod wire;

pub mod auth;
pub mod backend;
pub mod client;
pub mod config;

pub mod server;
pub mod store;

#[cfg(feature = "sim")]
pub mod sim;

pub mod cli;
