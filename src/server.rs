//! The server: sockets around one [`Machine`](crate::node::Machine).
//!
//! Everything runs on one thread. A connection's task reads what has come,
//! hands all whole requests to the machine in one go and writes what there
//! is to write, once; there is no channel between a socket and the tree. The
//! machine is lent for the length of a closure, so that nothing of it is
//! held while a task waits. No rule of the protocol's actions lives here.

mod connection;
mod disk;
pub mod fetch;
mod files;
mod listen;
mod node;
mod notify;
mod reach;
mod rotate;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinSet, LocalSet};

use crate::backend::Backend;
use crate::config;
use crate::event::{NodeName, Refused, Settings};
use crate::node::cluster::Fault;
use crate::server::node::Node;
use crate::store::keep::KeepError;

pub use crate::node::Limits;
pub use crate::store::log;
pub use crate::store::{Load, StoreError};
pub use disk::probe as place;
pub use files::Files;
pub use listen::{Host, Listen};
pub use reach::Meeting;
pub use rotate::Rotation;

/// How long clients may take to receive their last messages.
const FAREWELL: Duration = Duration::from_secs(3);

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// This node's name
    pub name: NodeName,
    /// Where its data come from
    pub begin: Begin,
    /// Begin although a network exists
    pub force: bool,
    /// Accept clients only when nothing is missing, but after this time at
    /// the latest, if there is one
    pub wait_sync: Option<Option<Duration>>,
    /// End if there are no data after this time
    pub give_up: Option<Duration>,
    /// The files that are written
    pub files: Files,
    /// Where clients connect
    pub listen: Vec<Listen>,
    /// The levels that the network's topics begin with
    pub root_topic: Vec<String>,
    /// The other nodes, if there may be any
    pub network: Option<Network>,
    /// How their client ports are reached
    pub ways: fetch::Ways,
    /// Messages of one stream that may be unacknowledged
    pub buffer: u32,
    /// Greatest message of a client, in bytes
    pub frame: usize,
    /// What one client may take
    pub limits: Limits,
}

/// Where a server's data come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// It is the first of a network, whose root has this encoded value.
    First(Vec<u8>),
    /// It joins a network, and fetches from these nodes if they can be
    /// reached.
    Join(Vec<NodeName>),
    /// It has them in files.
    Load(Load),
}

/// What connects a server with others.
#[derive(Debug, Clone)]
pub struct Network {
    /// The broker
    pub mqtt: config::Mqtt,
    /// Timing of the nodes that keep in touch
    pub ping: Settings,
    /// Timing of the agreement on deletions
    pub delete: Settings,
    /// Most links that an update carries
    pub links: usize,
    /// Tells this run of the node from others: greater for a later one
    pub boot: u64,
}

/// A number that is greater for a later run.
#[must_use]
pub fn boot() -> u64 {
    #[allow(clippy::disallowed_methods)] // the shell's clock
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |t| u64::try_from(t.as_micros()).unwrap_or(0))
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
    /// What is to be loaded cannot be.
    #[error("cannot load {0}")]
    Load(#[from] StoreError),
    /// There is no other node, and the files are none's of this name.
    #[error(
        "the files are not of '{me}' but of {theirs}: start under that name, or with -a to take them as they are"
    )]
    NotMine {
        /// This node
        me: NodeName,
        /// Whose they are
        theirs: String,
    },
    /// The root's value cannot be stored.
    #[error("the root's value cannot be stored: {0}")]
    Root(String),
    /// The network does not want this node.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The directory of its files cannot be used.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// It is alone, and there are no data.
    #[error("nothing to serve: start with -i VALUE or -l FILE")]
    Nothing,
    /// Nobody has data.
    #[error("no node with data answered within {0:?}")]
    GaveUp(Duration),
    /// The build has no way to other nodes.
    #[error("this build has no MQTT: start with '-C server.backend=none'")]
    NoBackend,
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
/// called once clients are accepted, `reload` when a service manager asks for
/// it by SIGHUP.
///
/// # Errors
/// If it cannot start.
pub fn run(
    options: Options,
    ready: impl FnOnce(),
    reload: impl FnMut() -> Result<(), String> + 'static,
) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(system("start the runtime"))?;
    let result = LocalSet::new().block_on(&runtime, async {
        begin(options, &mut Hooks::new(ready, reload)?).await
    });
    if let Err(why) = &result {
        notify::failed(why);
    }
    // a look-up of a name may still be under way
    runtime.shutdown_background();
    result
}

/// What reaches a server from outside, and whom it calls.
struct Hooks<Ready, Reload> {
    interrupt: Signal,
    terminate: Signal,
    hangups: Option<Signal>,
    ready: Option<Ready>,
    reload: Option<Reload>,
}

impl<Ready, Reload> Hooks<Ready, Reload> {
    fn new(ready: Ready, reload: Reload) -> Result<Self, ServeError> {
        let on = |kind| signal(kind).map_err(system("handle signals"));
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hangups: notify::hangups().map_err(system("handle signals"))?,
            ready: Some(ready),
            reload: Some(reload),
        })
    }
}

/// Asks the others for data. If nobody has any, those are served that the
/// server keeps.
async fn begin<Ready, Reload>(
    mut options: Options,
    hooks: &mut Hooks<Ready, Reload>,
) -> Result<(), ServeError>
where
    Ready: FnOnce(),
    Reload: FnMut() -> Result<(), String> + 'static,
{
    if options.files.keep.is_none() || !matches!(options.begin, Begin::Join(_)) {
        return serve(&options, hooks).await;
    }
    let give_up = options.give_up.take();
    if options.network.is_some() {
        options.give_up = give_up.or(Some(rotate::ASK));
        match serve(&options, hooks).await {
            Err(ServeError::GaveUp(_)) => options.give_up = None,
            ended => return ended,
        }
    }
    match (rotate::take_newest(&mut options)?, give_up) {
        (true, _) => {}
        (false, _) if options.network.is_none() => return Err(ServeError::Nothing),
        (false, Some(time)) => return Err(ServeError::GaveUp(time)),
        (false, None) => tracing::warn!("there are no data on the disk: waiting for others"),
    }
    serve(&options, hooks).await
}

async fn serve<Ready, Reload>(
    options: &Options,
    hooks: &mut Hooks<Ready, Reload>,
) -> Result<(), ServeError>
where
    Ready: FnOnce(),
    Reload: FnMut() -> Result<(), String> + 'static,
{
    let files = listen::raise_file_limit();
    // a port that is taken is noticed at once; clients are refused until
    // there is something to serve
    let sockets = listen::bind(&options.listen)?;
    // a file that may not grow any more is a write that fails, and no end
    let too_large = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    let _too_large = signal(too_large).map_err(system("handle signals"))?;
    let (interrupt, terminate) = (&mut hooks.interrupt, &mut hooks.terminate);
    let mut told = async || {
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("interrupted"),
            _ = terminate.recv() => tracing::info!("told to end"),
        }
    };

    let way = way(options)?;
    let (backend, closing) = way.map_or((None, None), |(b, c)| (Some(b), Some(c)));
    let addr = listen::announced(&sockets);
    let node = Node::start(options, backend, addr);
    let node = Rc::new(node?);
    let (mut tasks, mut driver) = (JoinSet::new(), JoinSet::new());
    driver.spawn_local(node::drive(Rc::clone(&node)));
    tasks.spawn_local(notify::keep_saying(Rc::clone(&node)));

    let result = tokio::select! {
        () = told() => Ok(None),
        far = come_so_far(&node, options) => far.map(Some),
    };
    let result = match result {
        Ok(None) => Ok(()),
        Err(why) => Err(why),
        Ok(Some(begun)) => {
            for listener in listen::open(sockets)? {
                tasks.spawn_local(listen::accept(listener, Rc::clone(&node), files));
            }
            if let Some((rotation, begun)) = options.files.keep.clone().zip(begun) {
                tasks.spawn_local(rotate::keep_on(Rc::clone(&node), rotation, begun));
            }
            if let (Some(hangups), Some(reload)) = (hooks.hangups.take(), hooks.reload.take()) {
                tasks.spawn_local(notify::reload(hangups, Rc::clone(&node), reload));
            }
            notify::ready(&node);
            if let Some(ready) = hooks.ready.take() {
                ready();
            }
            tokio::select! {
                () = told() => Ok(()),
                fault = node.until(|_| false) => fault.map_err(ServeError::Fault),
            }
        }
    };
    // who has given up may begin in another way
    if !matches!(result, Err(ServeError::GaveUp(_))) {
        notify::stopping();
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
    // until here: replies may have waited for the disk
    driver.shutdown().await;
    node.end_files().await;
    if let Some(closing) = closing {
        closing.await;
    }
    result
}

/// Waits until clients can be served. Says what came of the first file that is
/// kept, if one is to be.
async fn come_so_far(node: &Node, options: &Options) -> Result<Option<rotate::Begun>, ServeError> {
    match options.give_up {
        None => node.until(|progress| progress.serving).await?,
        Some(time) => {
            let mut fetched = node.entries();
            loop {
                let serving = node.until(|progress| progress.serving);
                if let Ok(result) = tokio::time::timeout(time, serving).await {
                    break result?;
                }
                // somebody has data, and they come
                let entries = node.entries();
                if entries <= fetched {
                    return Err(ServeError::GaveUp(time));
                }
                fetched = entries;
            }
        }
    }
    // what is acknowledged is to be in the file
    node.until(|progress| progress.logged).await?;
    let begun = match &options.files.keep {
        None => None,
        Some(rotation) => Some(rotate::begin(node, &rotation.keep).await),
    };
    let synced = node.until(|progress| progress.synced);
    match options.wait_sync {
        None => {}
        Some(None) => synced.await?,
        Some(Some(time)) => match tokio::time::timeout(time, synced).await {
            Ok(result) => result?,
            Err(_) => tracing::warn!("serving although changes are missing"),
        },
    }
    Ok(begun)
}

/// A way to the others, and how to end it in order.
type Way = (Box<dyn Backend>, Pin<Box<dyn Future<Output = ()>>>);

#[cfg(feature = "mqtt")]
fn way(options: &Options) -> Result<Option<Way>, ServeError> {
    use crate::backend::mqtt::{self, MqttBackend};
    use crate::event::{Hail, Info, PeerMessage, Say};
    let Some(network) = &options.network else {
        return Ok(None);
    };
    let will = PeerMessage::Info(Info {
        node: options.name.clone(),
        hail: Some(Hail {
            say: Say::Gone,
            boot: network.boot,
            addr: Vec::new(),
            sum: None,
        }),
        ..Info::default()
    });
    let mut bytes = Vec::new();
    crate::wire::cluster::encode(&will, &mut bytes);
    let (backend, closing) = MqttBackend::start_local(mqtt::Options {
        mqtt: network.mqtt.clone(),
        root: options.root_topic.clone(),
        node: options.name.clone(),
        will: bytes,
    });
    Ok(Some((Box::new(backend), Box::pin(closing.close()))))
}

#[cfg(not(feature = "mqtt"))]
fn way(options: &Options) -> Result<Option<Way>, ServeError> {
    match &options.network {
        None => Ok(None),
        Some(_) => Err(ServeError::NoBackend),
    }
}

fn refused(why: &Refused) -> String {
    crate::wire::client::text(why)
}
