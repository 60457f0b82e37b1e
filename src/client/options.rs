//! How a client connects.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::client::error::Error;
use crate::client::proto::MAX_FRAME;

/// The port that servers listen on unless told otherwise.
pub const DEFAULT_PORT: u16 = 27586;

/// Where to connect to, and with what limits.
///
/// ```
/// use std::time::Duration;
/// use moat::client::Options;
///
/// let options = Options::new("kv.example", 27586)
///     .connect_timeout(Duration::from_secs(2))
///     .request_timeout(Duration::from_secs(10));
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Option<Duration>,
    pub(super) window: Option<u32>,
    pub(super) max_frame: usize,
    pub(super) buffer: usize,
    pub(super) eager: bool,
}

impl Default for Options {
    /// The server on this machine.
    fn default() -> Self {
        Self::new("localhost", DEFAULT_PORT)
    }
}

impl Options {
    /// A server by name or address.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            connect_timeout: Duration::from_secs(5),
            request_timeout: None,
            window: None,
            max_frame: MAX_FRAME,
            buffer: 64 << 20,
            eager: false,
        }
    }

    /// Time for the connection and the server's greeting; 5 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Time for the reply to a request, and for the beginning of a stream; no
    /// limit by default.
    #[must_use]
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = Some(limit);
        self
    }

    /// Asks for flow control on every stream, of that many messages (at least
    /// 4). Without it, the default, TCP governs the pace of the connection as
    /// a whole, which is faster.
    #[must_use]
    pub fn window(mut self, messages: u32) -> Self {
        self.window = Some(messages.max(4));
        self
    }

    /// Greatest message that is read, in bytes; 100 MiB by default.
    #[must_use]
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.max_frame = bytes;
        self
    }

    /// Bytes of one stream that may wait for its consumer, 64 MiB by default.
    ///
    /// A stream that is not read stops the connection much earlier, at
    /// 1 MiB, unless somebody waits for another reply on it; this limit ends
    /// the stream with [`Error::Overrun`](super::Error::Overrun) if that goes
    /// on for too long.
    #[must_use]
    pub fn buffer(mut self, bytes: usize) -> Self {
        self.buffer = bytes;
        self
    }

    /// Sends requests before the server has introduced itself, which saves a
    /// program that makes one request half of its waiting. That there is no
    /// server behind the port, or that it demands a login, then shows with
    /// the first request. Has no effect together with
    /// [`window`](Self::window).
    #[must_use]
    pub fn eager(mut self) -> Self {
        self.eager = true;
        self
    }

    /// That something listens but says nothing.
    pub(super) fn silent(&self) -> Error {
        Error::Connect {
            address: self.address(),
            reason: format!("no answer within {} s", self.connect_timeout.as_secs_f64()),
            source: None,
        }
    }

    /// Host and port as one text.
    #[must_use]
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The addresses that need no resolver: those written out, and this
    /// machine's.
    pub(super) fn known_addresses(&self) -> Option<Vec<SocketAddr>> {
        let ips: Vec<IpAddr> = if self.host == "localhost" {
            vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()]
        } else {
            vec![self.host.parse().ok()?]
        };
        Some(
            ips.into_iter()
                .map(|ip| SocketAddr::new(ip, self.port))
                .collect(),
        )
    }
}

impl From<SocketAddr> for Options {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip().to_string(), address.port())
    }
}

impl From<(&str, u16)> for Options {
    fn from((host, port): (&str, u16)) -> Self {
        Self::new(host, port)
    }
}
