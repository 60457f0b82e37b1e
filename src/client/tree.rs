//! Whole subtrees, entry by entry.

use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::client::Client;
use crate::client::connection::Ticket;
use crate::client::entry::{Deleted, Entry};
use crate::client::error::Error;
use crate::client::proto::{Expect, Fields, Message};
use crate::client::request::{Pending, add_links, unexpected};
use crate::event::{Depths, Links};
use crate::path::Path;

/// Adds the fields that say which levels are meant.
pub(super) fn add_depths(fields: &mut Fields, depths: Depths) {
    if depths.min > 0 {
        fields.uint("min_depth", u64::from(depths.min));
    }
    if depths.max < u32::MAX {
        fields.uint("max_depth", u64::from(depths.max));
    }
}

/// Reads a subtree.
#[derive(Debug, Clone)]
#[must_use = "a request is sent when it is awaited"]
pub struct GetTree<'a> {
    client: &'a Client,
    fields: Fields,
    links: Links,
    depths: Depths,
    empty: bool,
    internal: bool,
}

impl<'a> GetTree<'a> {
    pub(super) fn new(client: &'a Client, path: &Path) -> Self {
        let mut fields = Fields::new();
        fields.path("path", path.encode().as_ref());
        Self {
            client,
            fields,
            links: Links::None,
            depths: Depths::ALL,
            empty: false,
            internal: false,
        }
    }

    /// Also shows the entries' chains.
    pub fn links(mut self, links: Links) -> Self {
        self.links = links;
        self
    }

    /// Only some levels below the path.
    pub fn depths(mut self, depths: Depths) -> Self {
        self.depths = depths;
        self
    }

    /// Also entries without a value.
    pub fn empty(mut self) -> Self {
        self.empty = true;
        self
    }

    /// Reads from the internal tree instead.
    pub fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// At most that many messages under way unacknowledged (at least 4): for
    /// a consumer so slow that the connection's other users would notice.
    pub fn window(mut self, messages: u32) -> Self {
        self.fields.qlen(messages.max(4));
        self
    }
}

impl<'a> IntoFuture for GetTree<'a> {
    type Output = Result<Tree, Error>;
    type IntoFuture = Pending<'a, Tree>;

    fn into_future(mut self) -> Self::IntoFuture {
        let action = if self.internal {
            "get_tree_internal"
        } else {
            "get_tree"
        };
        add_links(&mut self.fields, self.links);
        add_depths(&mut self.fields, self.depths);
        if self.empty {
            self.fields.bool("empty", true);
        }
        Box::pin(async move { Ok(Tree(self.client.stream(action, &self.fields).await?)) })
    }
}

/// The messages of any stream; see [`Client::stream`].
///
/// Dropped before its end, it is stopped.
#[derive(Debug)]
pub struct Messages {
    ticket: Ticket,
    started: Option<Message>,
}

impl Messages {
    pub(super) async fn open(
        client: &Client,
        action: &str,
        fields: &Fields,
    ) -> Result<Self, Error> {
        let mut ticket = client.send(action, fields, Expect::Stream).await?;
        let started = ticket.begin().await?;
        Ok(Self { ticket, started })
    }

    /// The message by which the server has accepted the request, if it was
    /// one that a stream begins with.
    pub(super) fn started(&self) -> Option<&Message> {
        self.started.as_ref()
    }

    /// The next message; `None` after the last one. An error that the server
    /// reports is followed by the end.
    pub async fn next(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|cx| self.ticket.poll_next(cx)).await
    }

    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        self.ticket.poll_next(cx)
    }

    /// From now on, messages tell of events.
    pub(super) fn wait_for_events(&self) {
        self.ticket.wait_for_events();
    }
}

impl Stream for Messages {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(cx)
    }
}

/// A stream's messages, each read as something.
macro_rules! stream_of {
    ($(#[$doc:meta])* $name:ident, $item:ty, $read:path) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(Messages);

        impl $name {
            /// The next one; `None` after the last. An error that the server
            /// reports is followed by the end.
            pub async fn next(&mut self) -> Option<Result<$item, Error>> {
                let next = self.0.next().await?;
                Some(next.and_then(|message| $read(&message)))
            }
        }

        impl Stream for $name {
            type Item = Result<$item, Error>;

            fn poll_next(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<Option<Self::Item>> {
                let next = self.get_mut().0.poll(cx);
                next.map(|next| next.map(|m| m.and_then(|message| $read(&message))))
            }
        }
    };
}

stream_of! {
    /// The entries of a subtree: parents before their children, children in
    /// the server's order. Dropped before its end, it is stopped.
    Tree, Entry, Entry::in_stream
}

stream_of! {
    /// The entries that a recursive deletion has deleted.
    DeletedTree, Deleted, Deleted::of
}

/// Deletes an entry and everything below it.
///
/// Awaited, it gives the number of entries that had a value;
/// [`DeleteTree::entries`] gives each.
#[derive(Debug, Clone)]
#[must_use = "a request is sent when it is awaited"]
pub struct DeleteTree<'a> {
    client: &'a Client,
    fields: Fields,
}

impl<'a> DeleteTree<'a> {
    pub(super) fn new(client: &'a Client, path: &Path) -> Self {
        let mut fields = Fields::new();
        fields.path("path", path.encode().as_ref());
        Self { client, fields }
    }

    /// Each deleted entry, with that much of its chain (at least one link).
    ///
    /// # Errors
    /// As any request.
    pub async fn entries(mut self, links: Links) -> Result<DeletedTree, Error> {
        let links = match links {
            Links::None => Links::Newest(1),
            links => links,
        };
        add_links(&mut self.fields, links);
        let messages = self.client.stream("delete_tree", &self.fields).await?;
        Ok(DeletedTree(messages))
    }
}

impl<'a> IntoFuture for DeleteTree<'a> {
    type Output = Result<u64, Error>;
    type IntoFuture = Pending<'a, u64>;

    fn into_future(mut self) -> Self::IntoFuture {
        add_links(&mut self.fields, Links::None);
        Box::pin(async move {
            let message = self.client.request("delete_tree", &self.fields).await?;
            message
                .uint("changed")
                .ok_or_else(|| unexpected("delete_tree"))
        })
    }
}
