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
mod reach;

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinSet, LocalSet};

use crate::config;
use crate::event::{NodeName, Refused, Settings};
use crate::node::cluster::{Fault, Report};
use crate::server::node::Node;

pub use crate::node::Limits;
pub use listen::Listen;
pub use reach::{Meeting, Reach, address_towards, announced};

/// How long clients may take to receive their last messages.
const FAREWELL: Duration = Duration::from_secs(3);

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// This node's name
    pub name: NodeName,
    /// How it begins
    pub begin: Begin,
    /// How it is one of a network; `None`: it is alone
    pub network: Option<Network>,
    /// Where clients connect
    pub listen: Vec<Listen>,
    /// Who may connect where no host is named
    pub reach: Reach,
    /// Whether clients wait until nothing is missing
    pub wait_sync: WaitSync,
    /// Who is told what happens
    pub tell: Tell,
    /// The levels that the network's topics begin with
    pub root_topic: Vec<String>,
    /// Messages of one stream that may be unacknowledged
    pub buffer: u32,
    /// Greatest message of a client, in bytes
    pub frame: usize,
    /// What one client may take
    pub limits: Limits,
}

/// How a server begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// As the first of a network, with this encoded value as its root
    First(Vec<u8>),
    /// Without data: it fetches them, from these nodes if they can be reached
    Join(Vec<NodeName>),
}

/// What a server needs to know to be one of a network.
#[derive(Debug, Clone)]
pub struct Network {
    /// The broker
    pub mqtt: config::Mqtt,
    /// Topic `ping`
    pub ping: Settings,
    /// Topic `del`
    pub delete: Settings,
    /// Most links that an update carries
    pub links: usize,
    /// Whether to go on beside a network that exists already
    pub force: bool,
    /// How long to wait for a node that has data; `None`: for ever
    pub give_up: Option<Duration>,
    /// How peers are reached
    pub ways: fetch::Ways,
    /// Where the others are told to look for this server
    pub addr: Vec<(String, u16)>,
}

/// Whether clients wait until nothing is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitSync {
    /// They are served as soon as there are data.
    No,
    /// They wait.
    Yes,
    /// They wait, but not longer than this.
    AtMost(Duration),
}

/// What whoever has started a server may want to tell its user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// What happens in the network
    Report(Report),
    /// How far fetching from a node has come
    Fetched {
        /// From whom
        peer: NodeName,
        /// Entries so far
        entries: u64,
    },
}

/// Is told what happens while a server runs.
#[derive(Clone)]
pub struct Tell(Rc<dyn Fn(&Notice)>);

impl Tell {
    /// Calls this for everything that is told, on the server's thread.
    pub fn new(call: impl Fn(&Notice) + 'static) -> Self {
        Self(Rc::new(call))
    }

    /// Tells it.
    pub fn notice(&self, notice: &Notice) {
        (self.0)(notice);
    }
}

impl fmt::Debug for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tell")
    }
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
    /// It cannot be a part of its network.
    #[error(transparent)]
    Network(#[from] Fault),
    /// Nobody who has data was there in time.
    #[error("no node with data answered within {} s", .0.as_secs_f64())]
    GivenUp(Duration),
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
    let listeners = listen::bind(&options.listen, options.reach)?;
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
