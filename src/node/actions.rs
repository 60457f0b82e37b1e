//! What each client request does: one file a family, each action a method
//! of the machine that is given the session and the request.
//!
//! Actions see the store only through the session's
//! [`View`](crate::node::view::View).

pub(super) mod files;
mod members;
mod messages;
mod state;
mod tree;
mod values;
mod watch;
