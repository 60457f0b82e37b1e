//! A watch that survives its connection.
//!
//! After a loss it connects again, asks the server to go on behind the last
//! change it has seen, and passes on what was missed: no gap, nothing twice.
//! If the server cannot (it was restarted, too much has happened, or it is
//! one of the original) it says so by [`WatchEvent::Restarted`] and the whole
//! state follows.
//!
//! Whether a server could resume is known at the latest with its `uptodate`;
//! until it is, what arrives is held back.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;

use crate::client::Client;
use crate::client::error::{At, Error};
use crate::client::watch::{Watch, WatchEvent, WatchRequest};

/// Events held back at most: as many changes as servers remember.
const HELD: usize = 1 << 16;
/// Waiting time before the second attempt to connect; doubles each time.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// Greatest waiting time between attempts.
const MAX_DELAY: Duration = Duration::from_secs(5);

type Opening = Pin<Box<dyn Future<Output = Result<(Client, Watch), Error>> + Send>>;

enum Phase {
    Opening(Opening),
    Open(Watch),
    Ended,
}

/// The changes of a subtree, beyond the life of a connection. Made by
/// [`WatchTree::resuming`](super::WatchTree::resuming); dropped, it is
/// stopped.
pub struct Resuming {
    client: Client,
    request: WatchRequest,
    phase: Phase,
    /// Events to give out before anything else
    ready: VecDeque<WatchEvent>,
    /// Events of a watch of which it is not known whether it resumes
    held: Option<Vec<WatchEvent>>,
    /// Whether all up to `at` has been given out
    complete: bool,
    at: Option<At>,
    delay: Duration,
}

impl std::fmt::Debug for Resuming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resuming")
            .field("request", &self.request)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Resuming {
    pub(super) fn new(client: Client, mut request: WatchRequest) -> Self {
        request.numbered = true;
        let complete = !request.fetch && request.resume.is_none();
        let mut new = Self {
            phase: Phase::Ended,
            client,
            ready: VecDeque::new(),
            held: request.resume.map(|_| Vec::new()),
            complete,
            at: request.resume,
            request,
            delay: Duration::ZERO,
        };
        new.open(false);
        new
    }

    /// The next event. The stream ends only after an error that connecting
    /// again cannot mend, which comes last.
    pub async fn next(&mut self) -> Option<Result<WatchEvent, Error>> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Waits until the server watches: changes from then on are told. Without
    /// it, the first call of [`next`](Self::next) does this.
    ///
    /// # Errors
    /// What ends the stream before it has begun.
    pub async fn begin(&mut self) -> Result<(), Error> {
        poll_fn(|cx| {
            let Phase::Opening(opening) = &mut self.phase else {
                return Poll::Ready(Ok(()));
            };
            match ready!(opening.as_mut().poll(cx)) {
                Ok(opened) => self.opened(opened),
                Err(error) => {
                    self.phase = Phase::Ended;
                    return Poll::Ready(Err(error));
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// The last change that has been given out; `None` while a state is
    /// incomplete, and with servers that do not number changes.
    #[must_use]
    pub fn at(&self) -> Option<At> {
        self.at
    }

    /// Begins to open a watch, on a new connection if need be.
    fn open(&mut self, connect: bool) {
        let client = self.client.clone();
        let request = self.request.clone();
        let delay = self.delay;
        self.phase = Phase::Opening(Box::pin(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let client = if connect {
                client.again().await?
            } else {
                client
            };
            let watch = request.open(&client).await?;
            Ok((client, watch))
        }));
    }

    fn opened(&mut self, (client, watch): (Client, Watch)) {
        self.client = client;
        if self.complete {
            self.at = watch.at();
        }
        self.phase = Phase::Open(watch);
    }

    /// Opens the watch anew after it has ended.
    fn reopen(&mut self, why: Option<&Error>) {
        let connect = self.client.is_closed() || why.is_none_or(Error::is_connection);
        self.at = self.at.filter(|_| self.complete);
        self.request.resume = self.at;
        self.request.fetch = true;
        self.complete = false;
        self.ready.clear();
        if self.at.is_some() {
            self.held = Some(Vec::new());
        } else {
            self.held = None;
            self.ready.push_back(WatchEvent::Restarted);
        }
        self.open(connect);
        self.delay = (self.delay * 2).clamp(FIRST_DELAY, MAX_DELAY);
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<WatchEvent, Error>>> {
        loop {
            if let Phase::Open(_) = self.phase
                && let Some(event) = self.ready.pop_front()
            {
                return Poll::Ready(Some(Ok(event)));
            }
            match &mut self.phase {
                Phase::Ended => return Poll::Ready(None),
                Phase::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(opened) => self.opened(opened),
                    Err(error) => {
                        if let Some(event) = self.failed(error) {
                            return Poll::Ready(Some(event));
                        }
                    }
                },
                Phase::Open(watch) => match ready!(watch.poll_event(cx)) {
                    Some(Ok(event)) => {
                        self.delay = Duration::ZERO;
                        let at = watch.at();
                        self.arrived(event, at);
                    }
                    Some(Err(error)) => {
                        if let Some(event) = self.failed(error) {
                            return Poll::Ready(Some(event));
                        }
                    }
                    None => {
                        let ended = Error::Closed("the watch has ended".to_owned());
                        if let Some(event) = self.failed(ended) {
                            return Poll::Ready(Some(event));
                        }
                    }
                },
            }
        }
    }

    /// The watch could not be opened, or has ended.
    fn failed(&mut self, error: Error) -> Option<Result<WatchEvent, Error>> {
        let overflow = match &error {
            // the server's queue for us was full, or ours
            Error::Server(refusal) => {
                let full =
                    refusal.etype.as_deref() == Some("overflow") || refusal.text.contains("Queue");
                if full && self.complete {
                    self.at = refusal.at.or(self.at);
                }
                full
            }
            Error::Overrun(_) => true,
            _ => false,
        };
        let mendable = overflow || (error.is_connection() && self.client.can_connect());
        if !mendable {
            self.phase = Phase::Ended;
            return Some(Err(error));
        }
        self.reopen(Some(&error));
        (!overflow).then_some(Ok(WatchEvent::Lost(error)))
    }

    /// An event of the open watch, which has seen changes up to `at`.
    fn arrived(&mut self, event: WatchEvent, at: Option<At>) {
        let Some(held) = &mut self.held else {
            self.complete |= matches!(event, WatchEvent::UpToDate(_));
            self.at = at.filter(|_| self.complete);
            self.ready.push_back(event);
            return;
        };
        let resumed = match &event {
            WatchEvent::UpToDate(state) => Some(state.resumed == Some(true)),
            WatchEvent::State(_) => Some(false),
            _ => None,
        };
        held.push(event);
        match resumed {
            Some(resumed) => {
                if !resumed {
                    self.ready.push_back(WatchEvent::Restarted);
                }
                let held = self.held.take().unwrap_or_default();
                self.complete = matches!(held.last(), Some(WatchEvent::UpToDate(_)));
                self.ready.extend(held);
                self.at = at.filter(|_| self.complete);
            }
            None if held.len() > HELD => {
                self.complete = false;
                self.reopen(Some(&Error::Overrun(HELD)));
            }
            None => {}
        }
    }
}

impl Stream for Resuming {
    type Item = Result<WatchEvent, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(cx)
    }
}
