//! What can go wrong for a client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::client::proto::Message;
use crate::msgpack::{Head, Reader};

/// Why a request, a stream or a connection failed.
///
/// Cheap to clone: one lost connection ends many requests.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no connection to begin with.
    #[error("cannot reach {address}: {reason}")]
    Connect {
        /// Host and port
        address: String,
        /// Why, in a few words
        reason: String,
        /// The system's error, unless time ran out
        #[source]
        source: Option<Arc<io::Error>>,
    },
    /// The server demands a login and no method is configured.
    #[error("You need to log in using: {method}")]
    AuthRequired {
        /// The method it demands
        method: String,
    },
    /// The server refused the request, or ended the stream.
    #[error("{0}")]
    Server(Refusal),
    /// The connection is gone, or was closed by [`Client`](super::Client)'s
    /// last handle.
    #[error("connection closed: {0}")]
    Closed(String),
    /// The server sent what no server sends.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// No reply within the time that the options allow.
    #[error("no reply within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The consumer of a stream was too slow: more than
    /// [`Options::buffer`](super::Options::buffer) bytes waited for it while
    /// others waited for the connection.
    #[error("the stream was not read: {0} bytes were waiting")]
    Overrun(usize),
    /// A value could not be turned into the type asked for, or from it.
    #[error("value does not fit: {0}")]
    Value(String),
}

impl Error {
    /// The error's name in the original's terms, which the command line
    /// prints before its text.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "ConnectionError",
            Self::AuthRequired { .. } => "ClientAuthRequiredError",
            Self::Server(_) => "ServerError",
            Self::Closed(_) => "ServerClosedError",
            Self::Protocol(_) => "ServerConnectionError",
            Self::Timeout(_) => "TimeoutError",
            Self::Overrun(_) => "CancelledError",
            Self::Value(_) => "ValueError",
        }
    }

    /// Whether a new connection may do better.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Closed(_) | Self::Protocol(_)
        )
    }

    pub(super) fn connect(address: String, source: io::Error) -> Self {
        let reason = match source.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            io::ErrorKind::TimedOut => "timed out".to_owned(),
            io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
            io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
            _ => source.to_string(),
        };
        Self::Connect {
            address,
            reason,
            source: Some(Arc::new(source)),
        }
    }
}

/// A server's refusal, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
#[non_exhaustive]
pub struct Refusal {
    /// What it said: the name of the error and its arguments
    pub text: String,
    /// The kind of error, which servers like ours tell
    pub etype: Option<String>,
    /// Details, encoded, which servers like ours tell
    pub info: Option<Box<[u8]>>,
    /// For a watch that has ended: from which change it can be resumed
    pub at: Option<At>,
}

impl Refusal {
    pub(super) fn of(message: &Message) -> Self {
        Self {
            text: message.error().unwrap_or_default().to_owned(),
            etype: message.text("etype").map(str::to_owned),
            info: message.field("info").map(Into::into),
            at: At::of(message),
        }
    }
}

/// A place in the order of a server's changes: where a watch can be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// The server's run
    pub boot: u64,
    /// The number of the last change that was seen
    pub change: u64,
}

impl At {
    pub(super) fn of(message: &Message) -> Option<Self> {
        let mut reader = Reader::new(message.field("at")?);
        match (reader.head(), reader.head(), reader.head()) {
            (Ok(Head::Array(2)), Ok(Head::Uint(boot)), Ok(Head::Uint(change))) => {
                Some(Self { boot, change })
            }
            _ => None,
        }
    }
}
