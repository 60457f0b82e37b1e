//! One message from the server.

use std::time::Duration;

use crate::client::error::Error;
use crate::event::NodeName;
use crate::msgpack::{EXT_MARKED, EXT_PATH, Head, Reader};
use crate::path::{PathRef, RawPath};

/// What a message is within its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The first one
    Start,
    /// The state that the stream begins with is complete.
    UpToDate,
    /// The last one
    End,
    /// An acknowledgement of what the client sent
    Ack,
}

/// A reply or a stream's message: a map whose fields are read where they are
/// needed.
#[derive(Debug, Clone)]
pub struct Message {
    frame: Box<[u8]>,
    seq: Option<u64>,
    wseq: Option<u64>,
    state: Option<State>,
    path: Option<RawPath>,
}

impl Message {
    /// A message from its bytes, which are one complete object.
    pub(in crate::client) fn decode(frame: &[u8]) -> Result<Self, Error> {
        if !matches!(Reader::new(frame).head()?, Head::Map(_)) {
            return Err(Error::Protocol("a message that is no map".to_owned()));
        }
        let mut message = Self {
            frame: frame.into(),
            seq: None,
            wseq: None,
            state: None,
            path: None,
        };
        message.seq = message.uint("seq");
        message.wseq = message.uint("wseq");
        message.state = message.text("state").and_then(|state| match state {
            "start" => Some(State::Start),
            "uptodate" => Some(State::UpToDate),
            "end" => Some(State::End),
            "ack" => Some(State::Ack),
            _ => None,
        });
        Ok(message)
    }

    /// The whole message, encoded.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.frame
    }

    /// The encoded content of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        let mut reader = Reader::new(&self.frame);
        let Ok(Head::Map(pairs)) = reader.head() else {
            return None;
        };
        let mut found = None;
        for _ in 0..pairs {
            let is_it = match reader.text() {
                Ok(Some(key)) => key == name,
                Ok(None) => {
                    reader.object().ok()?;
                    false
                }
                Err(_) => return None,
            };
            let content = reader.object().ok()?;
            if is_it {
                found = Some(content); // the last one of a name counts
            }
        }
        found
    }

    /// A field that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        Reader::new(self.field(name)?).text().ok().flatten()
    }

    /// A field that is a number of zero or more.
    #[must_use]
    pub fn uint(&self, name: &str) -> Option<u64> {
        match Reader::new(self.field(name)?).head() {
            Ok(Head::Uint(n)) => Some(n),
            _ => None,
        }
    }

    /// A field that is a time span in seconds.
    #[must_use]
    pub fn seconds(&self, name: &str) -> Option<Duration> {
        match Reader::new(self.field(name)?).head().ok()? {
            Head::Float(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            Head::Uint(seconds) => Some(Duration::from_secs(seconds)),
            _ => None,
        }
    }

    /// A field that is a truth value.
    #[must_use]
    pub fn bool(&self, name: &str) -> Option<bool> {
        match Reader::new(self.field(name)?).head() {
            Ok(Head::Bool(truth)) => Some(truth),
            _ => None,
        }
    }

    /// The path this message is about; within a stream of entries it is
    /// complete, and relative to the path asked for.
    #[must_use]
    pub fn path(&self) -> Option<PathRef<'_>> {
        match &self.path {
            Some(path) => Some(path.as_ref()),
            None => elements(self.field("path")?).ok().flatten(),
        }
    }

    /// What this message is within its stream.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        self.state
    }

    /// The error it reports.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.text("error")
    }

    pub(super) fn seq(&self) -> Option<u64> {
        self.seq
    }

    /// Its number within its stream, if there is flow control.
    #[must_use]
    pub fn wseq(&self) -> Option<u64> {
        self.wseq
    }

    pub(super) fn set_path(&mut self, path: RawPath) {
        self.path = Some(path);
    }
}

/// The elements of a path, which may be sent as one or as a list.
pub(super) fn elements(object: &[u8]) -> Result<Option<PathRef<'_>>, Error> {
    let mut reader = Reader::new(object);
    Ok(match reader.head()? {
        Head::Ext(EXT_PATH, n) => Some(PathRef::new(reader.take(n)?)),
        Head::Ext(EXT_MARKED, n) => {
            let mut inner = Reader::new(reader.take(n)?);
            inner.object()?;
            Some(PathRef::new(inner.rest()))
        }
        Head::Array(_) => Some(PathRef::new(reader.rest())),
        _ => None,
    })
}

/// How the server introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Greeting {
    /// The server's name
    pub node: NodeName,
    /// Its last event, if it has made one
    pub tick: Option<u64>,
    /// Messages of a stream that it sends unacknowledged at most, if asked
    /// for flow control
    pub qlen: u64,
    /// The method that a login is demanded by; `None` if none is needed
    pub login: Option<String>,
    /// Other methods that users exist for
    pub methods: Vec<String>,
    /// What it can do beyond the original; empty for the original
    pub features: Vec<String>,
    /// Whether it is one of ours, not the original
    pub is_moat: bool,
}

impl Greeting {
    /// Whether the server can do something that the original cannot.
    #[must_use]
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|known| known == feature)
    }

    pub(super) fn decode(message: &Message) -> Result<Self, Error> {
        let node = message.text("node").ok_or_else(|| {
            let said = message.error().map(|why| format!(": {why}"));
            Error::Protocol(format!(
                "no greeting of a server{}",
                said.unwrap_or_default()
            ))
        })?;
        let mut auth = texts(message.field("auth")).into_iter();
        let login = auth.next().flatten();
        let moat = message.field("moat");
        Ok(Self {
            node: NodeName::new(node),
            tick: message.uint("tick"),
            qlen: message.uint("qlen").unwrap_or(0),
            login,
            methods: auth.flatten().collect(),
            features: moat
                .and_then(|moat| Message::decode(moat).ok())
                .map(|moat| {
                    texts(moat.field("features"))
                        .into_iter()
                        .flatten()
                        .collect()
                })
                .unwrap_or_default(),
            is_moat: moat.is_some(),
        })
    }
}

/// The elements of a list, of which texts are kept.
fn texts(list: Option<&[u8]>) -> Vec<Option<String>> {
    let mut reader = Reader::new(list.unwrap_or(&[]));
    let Ok(Head::Array(_)) = reader.head() else {
        return Vec::new();
    };
    PathRef::new(reader.rest())
        .elements()
        .map_while(Result::ok)
        .map(|e| Reader::new(e).text().ok().flatten().map(str::to_owned))
        .collect()
}
