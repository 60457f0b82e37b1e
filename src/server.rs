//! The server: sockets around one [`Machine`](crate::node::Machine).
//!
//! Everything runs on one thread. A connection's task reads what has come,
//! hands all whole requests to the machine in one go and writes what there
//! is to write, once; there is no channel between a socket and the tree. The
//! machine is lent for the length of a closure, so that nothing of it is
//! held while a task waits. No rule of the protocol's actions lives here.

mod connection;
pub mod fetch;
mod listen;
mod node;

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinSet, LocalSet};

use crate::event::{NodeName, Refused};
use crate::server::node::Node;

pub use crate::node::Limits;
pub use listen::Listen;

/// How long clients may take to receive their last messages.
const FAREWELL: Duration = Duration::from_secs(3);

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// This node's name
    pub name: NodeName,
    /// The root's encoded value, for the first node of a network
    pub root: Vec<u8>,
    /// Where clients connect
    pub listen: Vec<Listen>,
    /// The levels that the network's topics begin with
    pub root_topic: Vec<String>,
    /// Messages of one stream that may be unacknowledged
    pub buffer: u32,
    /// Greatest message of a client, in bytes
    pub frame: usize,
    /// What one client may take
    pub limits: Limits,
}

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// The address, as it was given
        address: String,
        /// The cause, and the way out where one is known
        why: String,
    },
    /// The root's value cannot be stored.
    #[error("the root's value cannot be stored: {0}")]
    Root(String),
    /// The operating system refuses something the server cannot do without.
    #[error("cannot {what}")]
    System {
        /// What it was for
        what: &'static str,
        /// The cause
        #[source]
        why: io::Error,
    },
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> ServeError {
    move |why| ServeError::System { what, why }
}

/// Runs a server until it is told to end by SIGTERM or SIGINT. `ready` is
/// called once clients are accepted.
///
/// # Errors
/// If it cannot start.
pub fn run(options: Options, ready: impl FnOnce()) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(system("start the runtime"))?;
    LocalSet::new().block_on(&runtime, serve(options, ready))
}

async fn serve(options: Options, ready: impl FnOnce()) -> Result<(), ServeError> {
    let files = listen::raise_file_limit();
    let listeners = listen::bind(&options.listen)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("handle signals"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system("handle signals"))?;

    let node = Node::start(&options).map_err(|why| ServeError::Root(refused(&why)))?;
    let node = Rc::new(node);
    let mut tasks = JoinSet::new();
    tasks.spawn_local(node::drive(Rc::clone(&node)));
    for listener in listeners {
        tasks.spawn_local(listen::accept(listener, Rc::clone(&node), files));
    }
    ready();

    tokio::select! {
        _ = interrupt.recv() => tracing::info!("interrupted"),
        _ = terminate.recv() => tracing::info!("told to end"),
    }
    // no new clients; those that are here get what is theirs
    tasks.shutdown().await;
    node.end();
    if tokio::time::timeout(FAREWELL, node.all_gone())
        .await
        .is_err()
    {
        tracing::warn!("some clients did not take their last messages");
    }
    Ok(())
}

fn refused(why: &Refused) -> String {
    crate::wire::client::text(why)
}
