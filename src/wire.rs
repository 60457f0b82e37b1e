//! Messages and their bytes: typed on one side, encoded on the other. No
//! socket is opened here; bytes come in pieces of any size and go out into
//! buffers.

pub mod client;
pub mod cluster;
pub mod fetch;
pub mod frame;
pub mod state;
