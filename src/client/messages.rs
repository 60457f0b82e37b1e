//! Messages of the broker that the servers are joined by.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::client::entry::decode;
use crate::client::error::Error;
use crate::client::proto::Message;
use crate::client::tree::Messages;
use crate::msgpack::{Head, Reader};
use crate::path::PathRef;
use crate::value::Value;

/// What a message carries.
#[derive(Debug, Clone)]
pub enum Payload {
    /// A value
    Value(Value),
    /// Bytes, as they were sent
    Bytes(Vec<u8>),
    /// Bytes that are no value, though one was asked for
    Broken(Vec<u8>),
}

/// A message that was heard.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Heard {
    /// The levels of its topic
    pub topic: Vec<String>,
    /// What it carries
    pub payload: Payload,
}

impl Heard {
    fn of(message: &Message) -> Result<Self, Error> {
        let broken = || Error::Protocol("a malformed message".to_owned());
        let topic = levels(message.field("topic").ok_or_else(broken)?)?;
        let payload = match (message.field("raw"), message.field("data")) {
            (Some(raw), _) => {
                let mut reader = Reader::new(raw);
                let Head::Bin(n) = reader.head()? else {
                    return Err(broken());
                };
                let bytes = reader.take(n)?.to_vec();
                match message.error() {
                    Some(_) => Payload::Broken(bytes),
                    None => Payload::Bytes(bytes),
                }
            }
            (None, Some(data)) => Payload::Value(decode(data)?),
            (None, None) => return Err(broken()),
        };
        Ok(Self { topic, payload })
    }
}

/// The levels of a topic.
fn levels(topic: &[u8]) -> Result<Vec<String>, Error> {
    let mut reader = Reader::new(topic);
    let Head::Array(_) = reader.head()? else {
        return Err(Error::Protocol("a topic that is no list".to_owned()));
    };
    PathRef::new(reader.rest())
        .elements()
        .map(|level| {
            Reader::new(level?)
                .text()?
                .map(str::to_owned)
                .ok_or_else(|| Error::Protocol("a topic's level that is no text".to_owned()))
        })
        .collect()
}

/// The messages of some topics. Dropped, it is stopped.
#[derive(Debug)]
pub struct Monitor(Messages);

impl Monitor {
    pub(super) fn new(messages: Messages) -> Self {
        messages.wait_for_events();
        Self(messages)
    }

    /// The next message; `None` after the last one.
    pub async fn next(&mut self) -> Option<Result<Heard, Error>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Heard, Error>>> {
        let next = self.0.poll(cx);
        next.map(|next| next.map(|message| Heard::of(&message?)))
    }
}

impl Stream for Monitor {
    type Item = Result<Heard, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(cx)
    }
}
