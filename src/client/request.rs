//! Requests that one reply answers: each is built by its methods and sent
//! when it is awaited.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use crate::client::Client;
use crate::client::chain::{Chain, write_link};
use crate::client::connection::Ticket;
use crate::client::entry::{Entry, Written};
use crate::client::error::Error;
use crate::client::proto::{Expect, Fields, Message};
use crate::event::{Links, NamedLink};
use crate::msgpack::{Head, Reader};
use crate::path::{Path, PathElem, PathRef};
use crate::value::Value;

/// The future of a request.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Adds the field that says how many links of chains to show.
pub(super) fn add_links(fields: &mut Fields, links: Links) {
    match links {
        Links::None => fields.uint("nchain", 0),
        Links::Newest(n) => fields.uint("nchain", u64::from(n)),
        Links::All => fields.int("nchain", -1),
    };
}

/// Reads an entry.
///
/// ```no_run
/// # async fn example(client: &moat::client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use moat::event::Links;
///
/// let entry = client.get(&"house.kitchen.lamp".parse()?).links(Links::All).await?;
/// if let Some(value) = entry.value()? {
///     println!("{value:?}, set by {}", entry.chain.unwrap().head().node);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a request is sent when it is awaited"]
pub struct Get<'a> {
    client: &'a Client,
    path: Option<Path>,
    fields: Fields,
    links: Links,
    internal: bool,
}

impl<'a> Get<'a> {
    pub(super) fn new(client: &'a Client, path: &Path) -> Self {
        let mut fields = Fields::new();
        fields.path("path", path.encode().as_ref());
        Self {
            client,
            path: Some(path.clone()),
            fields,
            links: Links::None,
            internal: false,
        }
    }

    pub(super) fn by_event(client: &'a Client, link: &NamedLink) -> Self {
        let mut fields = Fields::new();
        fields.str("node", link.node.as_str());
        fields.uint("tick", link.tick.0);
        Self {
            client,
            path: None,
            fields,
            links: Links::None,
            internal: false,
        }
    }

    /// Also shows the entry's chain.
    pub fn links(mut self, links: Links) -> Self {
        self.links = links;
        self
    }

    /// Reads from the internal tree instead: users, rules, types.
    pub fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// Sends the request and returns the whole reply as it came.
    ///
    /// # Errors
    /// As any request.
    pub async fn reply(mut self) -> Result<Message, Error> {
        let action = choose(self.internal, "get_internal", "get_value");
        add_links(&mut self.fields, self.links);
        self.client.request(action, &self.fields).await
    }
}

impl<'a> IntoFuture for Get<'a> {
    type Output = Result<Entry, Error>;
    type IntoFuture = Pending<'a, Entry>;

    fn into_future(mut self) -> Self::IntoFuture {
        let path = self.path.take();
        Box::pin(async move {
            let message = self.reply().await?;
            match path {
                Some(path) => Entry::of(&message, path),
                None => Entry::in_stream(&message),
            }
        })
    }
}

fn choose(internal: bool, yes: &'static str, no: &'static str) -> &'static str {
    if internal { yes } else { no }
}

/// Changes or deletes an entry, on conditions if wanted.
///
/// ```no_run
/// # async fn example(client: &moat::client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use moat::event::Links;
///
/// let path = "counter".parse()?;
/// let before = client.get(&path).links(Links::Newest(1)).await?;
/// let count: u64 = before.value_as()?.unwrap_or(0);
/// // fails if somebody else was faster
/// client.set_as(&path, &(count + 1))?.if_chain(before.chain.as_ref()).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a request is sent when it is awaited"]
pub struct Write<'a> {
    client: &'a Client,
    fields: Fields,
    links: Links,
    delete: bool,
    internal: bool,
}

impl<'a> Write<'a> {
    pub(super) fn set(client: &'a Client, path: &Path, encoded: &[u8]) -> Self {
        let mut write = Self::delete(client, path);
        write.delete = false;
        write.fields.encoded("value", encoded);
        write
    }

    pub(super) fn delete(client: &'a Client, path: &Path) -> Self {
        let mut fields = Fields::new();
        fields.path("path", path.encode().as_ref());
        Self {
            client,
            fields,
            links: Links::None,
            delete: true,
            internal: false,
        }
    }

    /// Also shows the entry's new chain.
    pub fn links(mut self, links: Links) -> Self {
        self.links = links;
        self
    }

    /// Writes to the internal tree instead: users, rules, types.
    pub fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// Only if the entry's last change is the newest of `chain`; without one,
    /// only if the entry has no value.
    pub fn if_chain(self, chain: Option<&Chain>) -> Self {
        match chain {
            Some(chain) => self.if_link(chain.head()),
            None => self.if_new(),
        }
    }

    /// Only if the entry's last change is this.
    pub fn if_link(mut self, link: &NamedLink) -> Self {
        let mut encoded = Vec::new();
        write_link(&mut encoded, link);
        self.fields.encoded("chain", &encoded);
        self
    }

    /// Only if the entry has no value.
    pub fn if_new(mut self) -> Self {
        self.fields.nil("chain");
        self
    }

    /// Only if the entry has this value.
    pub fn if_value(mut self, value: &Value) -> Self {
        self.fields.encoded("prev", &value.to_bytes());
        self
    }

    /// Changes nothing if the entry has this value already.
    pub fn idem(mut self) -> Self {
        self.fields.bool("idem", true);
        self
    }
}

impl Write<'_> {
    /// Sends the request without waiting for its reply: the way to make many
    /// writes fast. They are done in the order in which they are sent.
    ///
    /// # Errors
    /// Those of the connection; the server's refusal comes with
    /// [`Sent::reply`].
    pub async fn send(mut self) -> Result<Sent, Error> {
        let action = if self.delete {
            choose(self.internal, "delete_internal", "delete_value")
        } else {
            choose(self.internal, "set_internal", "set_value")
        };
        add_links(&mut self.fields, self.links);
        let ticket = self.client.send(action, &self.fields, Expect::Reply);
        Ok(Sent(ticket.await?))
    }
}

impl<'a> IntoFuture for Write<'a> {
    type Output = Result<Written, Error>;
    type IntoFuture = Pending<'a, Written>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Written::of(&self.send().await?.reply().await?) })
    }
}

/// A write under way.
#[derive(Debug)]
#[must_use = "whether the server has done it stands in the reply"]
pub struct Sent(Ticket);

impl Sent {
    /// The whole reply as it comes.
    ///
    /// # Errors
    /// As any request.
    pub async fn reply(self) -> Result<Message, Error> {
        self.0.reply().await
    }

    /// What the write has done.
    ///
    /// # Errors
    /// As any request.
    pub async fn written(self) -> Result<Written, Error> {
        Written::of(&self.reply().await?)
    }
}

/// Lists the children of an entry.
///
/// Awaited, it gives their names; [`List::values`] also gives their values.
#[derive(Debug, Clone)]
#[must_use = "a request is sent when it is awaited"]
pub struct List<'a> {
    client: &'a Client,
    fields: Fields,
    empty: bool,
    internal: bool,
}

impl<'a> List<'a> {
    pub(super) fn new(client: &'a Client, path: &Path) -> Self {
        let mut fields = Fields::new();
        fields.path("path", path.encode().as_ref());
        Self {
            client,
            fields,
            empty: false,
            internal: false,
        }
    }

    /// Also those without a value.
    pub fn empty(mut self) -> Self {
        self.empty = true;
        self
    }

    /// Lists from the internal tree instead.
    pub fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    async fn send(mut self, with_data: bool) -> Result<Message, Error> {
        let action = choose(self.internal, "enum_internal", "enum");
        self.fields.bool("with_data", with_data);
        self.fields.bool("empty", self.empty);
        self.client.request(action, &self.fields).await
    }

    /// The children's names and encoded values, in the server's order; those
    /// without value are shown as if it was `null`.
    ///
    /// # Errors
    /// As any request; the server refuses if there is no such entry.
    pub async fn values(self) -> Result<Vec<(PathElem, Box<[u8]>)>, Error> {
        let message = self.send(true).await?;
        let mut reader = Reader::new(message.field("result").unwrap_or(&[]));
        let Head::Map(_) = reader.head()? else {
            return Err(unexpected("enum"));
        };
        let mut children = Vec::new();
        while !reader.is_empty() {
            let name = reader.object()?;
            children.push((PathElem::decode(name)?, reader.object()?.into()));
        }
        Ok(children)
    }
}

impl<'a> IntoFuture for List<'a> {
    type Output = Result<Vec<PathElem>, Error>;
    type IntoFuture = Pending<'a, Vec<PathElem>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let message = self.send(false).await?;
            let mut reader = Reader::new(message.field("result").unwrap_or(&[]));
            let Head::Array(_) = reader.head()? else {
                return Err(unexpected("enum"));
            };
            let names = PathRef::new(reader.rest());
            names
                .elements()
                .map(|name| Ok(PathElem::decode(name?)?))
                .collect()
        })
    }
}

pub(super) fn unexpected(action: &str) -> Error {
    Error::Protocol(format!("an unexpected reply to {action}"))
}
