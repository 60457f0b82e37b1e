//! The changes of a subtree, as they happen.

use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::client::Client;
use crate::client::entry::Entry;
use crate::client::error::{At, Error};
use crate::client::proto::{Fields, Message, State};
use crate::client::request::{Pending, add_links};
use crate::client::resuming::Resuming;
use crate::client::tree::{Messages, add_depths};
use crate::event::{Depths, Links};
use crate::msgpack::write;
use crate::path::Path;

/// Watches a subtree.
///
/// ```no_run
/// # async fn example(client: &moat::client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use moat::client::WatchEvent;
///
/// let mut watch = client.watch(&"house".parse()?).fetch().await?;
/// while let Some(event) = watch.next().await {
///     match event? {
///         WatchEvent::State(entry) => println!("{} is {:?}", entry.path, entry.value()?),
///         WatchEvent::UpToDate(_) => println!("that was all"),
///         WatchEvent::Changed(entry) => println!("{} became {:?}", entry.path, entry.value()?),
///         _ => {}
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a request is sent when it is awaited"]
pub struct WatchTree<'a> {
    client: &'a Client,
    pub(super) request: WatchRequest,
}

/// What is watched.
#[derive(Debug, Clone)]
pub(super) struct WatchRequest {
    path: Path,
    links: Links,
    depths: Depths,
    empty: bool,
    window: Option<u32>,
    pub(super) fetch: bool,
    pub(super) numbered: bool,
    pub(super) resume: Option<At>,
}

impl WatchRequest {
    pub(super) async fn open(&self, client: &Client) -> Result<Watch, Error> {
        let mut fields = Fields::new();
        fields.path("path", self.path.encode().as_ref());
        add_links(&mut fields, self.links);
        add_depths(&mut fields, self.depths);
        fields.bool("fetch", self.fetch);
        if self.empty {
            fields.bool("empty", true);
        }
        if self.numbered {
            fields.bool("numbered", true);
        }
        if let Some(At { boot, change }) = self.resume {
            let mut at = Vec::new();
            write::array(&mut at, 2);
            write::uint(&mut at, boot);
            write::uint(&mut at, change);
            fields.encoded("resume", &at);
        }
        if let Some(window) = self.window {
            fields.qlen(window);
        }
        let messages = client.stream("watch", &fields).await?;
        let fetching = self.fetch || self.resume.is_some();
        if !fetching {
            messages.wait_for_events();
        }
        let at = messages.started().and_then(At::of);
        Ok(Watch {
            messages,
            fetching,
            at,
        })
    }
}

impl<'a> WatchTree<'a> {
    pub(super) fn new(client: &'a Client, path: &Path) -> Self {
        Self {
            client,
            request: WatchRequest {
                path: path.clone(),
                links: Links::None,
                depths: Depths::ALL,
                empty: false,
                window: None,
                fetch: false,
                numbered: false,
                resume: None,
            },
        }
    }

    /// The present state first: [`WatchEvent::State`] for each entry, then
    /// [`WatchEvent::UpToDate`].
    pub fn fetch(mut self) -> Self {
        self.request.fetch = true;
        self
    }

    /// Also shows the entries' chains.
    pub fn links(mut self, links: Links) -> Self {
        self.request.links = links;
        self
    }

    /// Only some levels below the path.
    pub fn depths(mut self, depths: Depths) -> Self {
        self.request.depths = depths;
        self
    }

    /// Also entries without a value, in the present state.
    pub fn empty(mut self) -> Self {
        self.request.empty = true;
        self
    }

    /// Asks the server to number each change, so that [`Watch::at`] is always
    /// exact. Servers of the original do not.
    pub fn numbered(mut self) -> Self {
        self.request.numbered = true;
        self
    }

    /// Goes on behind a change seen earlier, if the server still can: what
    /// was missed comes as [`WatchEvent::Changed`], then
    /// [`WatchEvent::UpToDate`] with `resumed: Some(true)`. Otherwise the
    /// whole state comes, as with [`WatchTree::fetch`].
    pub fn resume(mut self, at: At) -> Self {
        self.request.resume = Some(at);
        self
    }

    /// At most that many messages under way unacknowledged (at least 4).
    pub fn window(mut self, messages: u32) -> Self {
        self.request.window = Some(messages.max(4));
        self
    }

    /// A watch that survives the connection: it connects again and goes on
    /// where it was.
    pub fn resuming(self) -> Resuming {
        Resuming::new(self.client.clone(), self.request)
    }
}

impl<'a> IntoFuture for WatchTree<'a> {
    type Output = Result<Watch, Error>;
    type IntoFuture = Pending<'a, Watch>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.request.open(self.client).await })
    }
}

/// What a watch tells. Paths are relative to the one that is watched.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum WatchEvent {
    /// An entry as it is when the watch begins. It may also be one that has
    /// changed since then, with its new state.
    State(Entry),
    /// The state is complete; changes follow.
    UpToDate(UpToDate),
    /// An entry as it is after a change; without value it has been deleted.
    Changed(Entry),
    /// From a [`Resuming`] watch: the connection is lost, a new one is being
    /// made.
    Lost(Error),
    /// From a [`Resuming`] watch: changes may have been missed. The whole
    /// state follows, up to [`WatchEvent::UpToDate`]; what is not in it is
    /// gone.
    Restarted,
}

/// That a watch has caught up.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct UpToDate {
    /// What the server said
    pub message: Message,
    /// The state is that at this change; `None` from a server of the original
    pub at: Option<At>,
    /// Whether the wish to resume was fulfilled, if there was one
    pub resumed: Option<bool>,
}

/// The changes of a subtree. Dropped, it is stopped.
#[derive(Debug)]
pub struct Watch {
    messages: Messages,
    fetching: bool,
    at: Option<At>,
}

impl Watch {
    /// The next event; `None` after the last one.
    ///
    /// A server ends a watch that is not read fast enough: with an error that
    /// says from where to resume.
    pub async fn next(&mut self) -> Option<Result<WatchEvent, Error>> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The last change that has been seen, from where another watch can
    /// [resume](WatchTree::resume).
    #[must_use]
    pub fn at(&self) -> Option<At> {
        self.at
    }

    pub(super) fn poll_event(
        &mut self,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<WatchEvent, Error>>> {
        let next = self.messages.poll(cx);
        next.map(|next| next.map(|message| self.event(message?)))
    }

    fn event(&mut self, message: Message) -> Result<WatchEvent, Error> {
        let at = At::of(&message);
        self.at = at.or(self.at);
        if message.state() == Some(State::UpToDate) {
            self.fetching = false;
            self.messages.wait_for_events();
            return Ok(WatchEvent::UpToDate(UpToDate {
                at,
                resumed: message.bool("resumed"),
                message,
            }));
        }
        let entry = Entry::in_stream(&message)?;
        // only changes are numbered
        Ok(if self.fetching && at.is_none() {
            WatchEvent::State(entry)
        } else {
            WatchEvent::Changed(entry)
        })
    }
}

impl Stream for Watch {
    type Item = Result<WatchEvent, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(cx)
    }
}
