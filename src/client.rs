//! The client: what programs use to work with a server.
//!
//! [`Client::connect`] gives a handle that many tasks can share; their
//! requests travel on one connection, pipelined. It works on any tokio
//! runtime and needs only its I/O and time drivers.
//!
//! ```no_run
//! use moat::client::Client;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(("localhost", 27586)).await?;
//! let path = "house.kitchen.lamp".parse()?;
//! client.set_as(&path, "on")?.await?;
//! assert_eq!(client.get_as::<String>(&path).await?.as_deref(), Some("on"));
//!
//! let mut tree = client.tree(&"house".parse()?).await?;
//! while let Some(entry) = tree.next().await {
//!     let entry = entry?;
//!     println!("{}: {:?}", entry.path, entry.value()?);
//! }
//! # Ok(()) }
//! ```
//!
//! Three layers: [`proto`] is the protocol without socket or runtime, the
//! connection moves its bytes, and this module's types give the requests
//! their form. It speaks to servers of the original as well.

#![allow(clippy::disallowed_methods)] // a shell: it owns its tasks

mod chain;
mod connection;
mod entry;
mod error;
mod files;
mod members;
mod messages;
mod options;
pub mod proto;
mod request;
mod resuming;
mod state;
mod tree;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub use chain::Chain;
pub use entry::{Deleted, Entry, Written};
pub use error::{At, Error, Refusal};
pub use messages::{Heard, Monitor, Payload};
pub use options::{DEFAULT_PORT, Options};
pub use proto::{Fields, Greeting, Message};
pub use request::{Get, List, Pending, Sent, Write};
pub use resuming::Resuming;
pub use state::NodeState;
pub use tree::{DeleteTree, DeletedTree, GetTree, Messages, Tree};
pub use watch::{UpToDate, Watch, WatchEvent, WatchTree};

use crate::event::{Members, NamedLink, StateWanted, Tock};
use crate::path::Path;
use crate::value::{Raw, Value};
use connection::{Connection, Ticket};
use proto::Expect;

/// A connection to a server. Clones share it; it is closed when the last of
/// them, and of the streams they have opened, is dropped.
#[derive(Debug, Clone)]
pub struct Client {
    connection: Arc<Connection>,
    /// To connect again; `None` if the caller has made the transport
    options: Option<Arc<Options>>,
}

impl Client {
    /// Connects to a server.
    ///
    /// # Errors
    /// [`Error::Connect`] if there is no server or it does not answer in
    /// time, [`Error::AuthRequired`] if it demands a login.
    pub async fn connect(options: impl Into<Options>) -> Result<Self, Error> {
        let options = options.into();
        let limit = options.connect_timeout;
        let start = Instant::now();
        let transport = tokio::time::timeout(limit, connect(&options))
            .await
            .map_err(|_| options.silent())??;
        let rest = limit.saturating_sub(start.elapsed());
        let mut client = Self::start(transport, &options, rest).await?;
        client.options = Some(Arc::new(options));
        Ok(client)
    }

    /// Speaks to a server over a transport that the caller has made. Of the
    /// options, host and port only appear in errors.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn over<S>(transport: S, options: &Options) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self::start(transport, options, options.connect_timeout).await
    }

    async fn start<S>(transport: S, options: &Options, limit: Duration) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let connection = Connection::start(transport, options, limit);
        if let Some(window) = options.window {
            let greeting = connection.greeting().await?;
            connection.hello(window, &greeting);
        } else if !options.eager {
            connection.greeting().await?;
        }
        Ok(Self {
            connection: Arc::new(connection),
            options: None,
        })
    }

    /// A new connection to the same server.
    async fn again(&self) -> Result<Self, Error> {
        match &self.options {
            Some(options) => Self::connect(Options::clone(options)).await,
            None => Err(self.connection.closed().await),
        }
    }

    fn can_connect(&self) -> bool {
        self.options.is_some()
    }

    /// How the server introduces itself.
    ///
    /// # Errors
    /// Those of the connection, if it is lost before that.
    pub async fn server(&self) -> Result<Arc<Greeting>, Error> {
        self.connection.greeting().await
    }

    /// Whether the connection is lost. All requests fail from then on.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// Waits until the connection is lost, and tells why.
    pub async fn closed(&self) -> Error {
        self.connection.closed().await
    }

    /// Reads an entry.
    pub fn get(&self, path: &Path) -> Get<'_> {
        Get::new(self, path)
    }

    /// Reads the entry that a change belongs to. Its path is part of the
    /// reply.
    pub fn get_by_event(&self, link: &NamedLink) -> Get<'_> {
        Get::by_event(self, link)
    }

    /// Reads a value as a Rust type; `None` if there is none.
    ///
    /// # Errors
    /// As any request, and [`Error::Value`] if it does not fit.
    pub async fn get_as<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, Error> {
        self.get(path).await?.value_as()
    }

    /// Writes a value.
    pub fn set(&self, path: &Path, value: &Value) -> Write<'_> {
        Write::set(self, path, &value.to_bytes())
    }

    /// Writes a value that is encoded already.
    pub fn set_raw(&self, path: &Path, value: &Raw) -> Write<'_> {
        Write::set(self, path, value.bytes())
    }

    /// Writes a Rust value; structs become maps by their fields' names.
    ///
    /// # Errors
    /// [`Error::Value`] if it cannot be encoded.
    pub fn set_as<T: Serialize + ?Sized>(
        &self,
        path: &Path,
        value: &T,
    ) -> Result<Write<'_>, Error> {
        Ok(Write::set(self, path, &entry::encode_typed(value)?))
    }

    /// Deletes an entry. What is below it stays.
    pub fn delete(&self, path: &Path) -> Write<'_> {
        Write::delete(self, path)
    }

    /// Lists the children of an entry.
    pub fn list(&self, path: &Path) -> List<'_> {
        List::new(self, path)
    }

    /// Reads a subtree.
    pub fn tree(&self, path: &Path) -> GetTree<'_> {
        GetTree::new(self, path)
    }

    /// Deletes a subtree.
    pub fn delete_tree(&self, path: &Path) -> DeleteTree<'_> {
        DeleteTree::new(self, path)
    }

    /// Watches a subtree.
    pub fn watch(&self, path: &Path) -> WatchTree<'_> {
        WatchTree::new(self, path)
    }

    /// Publishes a value as a message of the broker that joins the servers.
    ///
    /// # Errors
    /// As any request.
    pub async fn send_message<S: AsRef<str>>(
        &self,
        topic: &[S],
        value: &Value,
    ) -> Result<(), Error> {
        let mut fields = Fields::new();
        fields.texts("topic", topic);
        fields.encoded("data", &value.to_bytes());
        self.request("msg_send", &fields).await.map(drop)
    }

    /// Publishes bytes as a message.
    ///
    /// # Errors
    /// As any request.
    pub async fn send_bytes<S: AsRef<str>>(&self, topic: &[S], bytes: &[u8]) -> Result<(), Error> {
        let mut fields = Fields::new();
        fields.texts("topic", topic);
        fields.bin("raw", bytes);
        self.request("msg_send", &fields).await.map(drop)
    }

    /// Hears messages of a topic, whose levels may be `+` and, last, `#`.
    /// Their values are decoded unless `raw` is wanted.
    ///
    /// # Errors
    /// As any request.
    pub async fn monitor_messages<S: AsRef<str>>(
        &self,
        topic: &[S],
        raw: bool,
    ) -> Result<Monitor, Error> {
        let mut fields = Fields::new();
        fields.texts("topic", topic);
        fields.bool("raw", raw);
        let messages = self.stream("msg_monitor", &fields).await?;
        Ok(Monitor::new(messages))
    }

    /// The server's bookkeeping.
    ///
    /// # Errors
    /// As any request.
    pub async fn state(&self, wanted: StateWanted) -> Result<NodeState, Error> {
        let message = self.request("get_state", &state::fields(wanted)).await?;
        NodeState::of(&message)
    }

    /// The network as the server sees it; `None` if it has no such list, as
    /// servers of the original.
    ///
    /// # Errors
    /// As any request.
    pub async fn members(&self) -> Result<Option<Members>, Error> {
        // the original ends the connection if it is asked
        if !self.server().await?.has("members") {
            return Ok(None);
        }
        let message = self.request("get_members", &Fields::new()).await?;
        members::decode(&message).map(Some)
    }

    /// A fresh logical time of the server.
    ///
    /// # Errors
    /// As any request.
    pub async fn tock(&self) -> Result<Tock, Error> {
        let message = self.request("get_tock", &Fields::new()).await?;
        let tock = message.uint("tock");
        tock.map(Tock)
            .ok_or_else(|| request::unexpected("get_tock"))
    }

    /// Any request that one message answers.
    ///
    /// # Errors
    /// [`Error::Server`] if the server refuses; the connection's errors.
    pub async fn request(&self, action: &str, fields: &Fields) -> Result<Message, Error> {
        self.send(action, fields, Expect::Reply)
            .await?
            .reply()
            .await
    }

    /// Any request that a stream answers. Returns when the server has
    /// accepted it; its refusal may come as the stream's first item.
    ///
    /// # Errors
    /// The connection's errors.
    pub async fn stream(&self, action: &str, fields: &Fields) -> Result<Messages, Error> {
        Messages::open(self, action, fields).await
    }

    async fn send(&self, action: &str, fields: &Fields, expect: Expect) -> Result<Ticket, Error> {
        self.connection.send(action, fields, expect).await
    }
}

/// Opens a TCP connection; tries all addresses of a name in turn.
async fn connect(options: &Options) -> Result<TcpStream, Error> {
    let failed = |error| Error::connect(options.address(), error);
    let addresses = match options.known_addresses() {
        Some(addresses) => addresses,
        None => tokio::net::lookup_host((options.host.as_str(), options.port))
            .await
            .map_err(failed)?
            .collect(),
    };
    let mut last = std::io::Error::other("the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are small and waited for; a dead peer must be
                // noticed even by a watch that only listens.
                stream.set_nodelay(true).map_err(failed)?;
                rustix::net::sockopt::set_socket_keepalive(&stream, true)
                    .map_err(|e| failed(e.into()))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}
