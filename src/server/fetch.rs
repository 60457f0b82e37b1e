//! Fetching another node's state: the connection to its client port.
//!
//! Ways to the peer are tried one after the other until one works. What
//! comes is handed over in [`Batch`]es that take the node well below a
//! millisecond; between two of them everybody else has their turn. Dropping
//! the future ends it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::auth::{Credentials, PRIVATE};
use crate::event::{Fetch, Fetched, NodeName};
use crate::wire::fetch::{FetchError, Joiner, Login};

/// Entries that the node takes in one turn.
const BATCH: usize = 256;
/// Bytes of entries that it takes in one turn, but for a single larger one.
const BATCH_BYTES: usize = 256 << 10;
/// Bytes that are read at once.
const READ: usize = 128 << 10;
/// How long nothing may come.
const SILENCE: Duration = Duration::from_secs(30);
/// How often the log says how far it is.
const PROGRESS: Duration = Duration::from_secs(1);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 8;

/// What is configured about reaching peers.
#[derive(Debug, Clone)]
pub struct Ways {
    /// Where nodes are reached: name → (host, port)
    pub hostmap: BTreeMap<String, (String, u16)>,
    /// Appended to hosts without a dot
    pub domain: Option<String>,
    /// The port of nodes that nothing else is known of
    pub port: u16,
    /// Limit for connecting and the greeting
    pub init_timeout: Duration,
    /// Longest message that is read, in bytes
    pub frame: usize,
    /// How to log in where that is asked for
    pub auth: Option<Credentials>,
}

impl Ways {
    /// Hosts and ports at which the peer may be reached, best first.
    fn to(&self, fetch: &Fetch) -> Vec<(String, u16)> {
        let name = fetch.peer.as_str();
        let mapped = self.hostmap.get(name);
        let by_name = (name.to_owned(), self.port);
        let mut ways = Vec::new();
        for (host, port) in fetch.addr.iter().chain(mapped).chain([&by_name]) {
            let way = (self.in_domain(host), *port);
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        ways
    }

    fn in_domain(&self, host: &str) -> String {
        match &self.domain {
            Some(domain)
                if !host.contains('.')
                    && host != "localhost"
                    && host.parse::<IpAddr>().is_err() =>
            {
                format!("{host}.{domain}")
            }
            _ => host.to_owned(),
        }
    }
}

/// Some of what has come, to be taken in one turn.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    from: Option<(&'a mut Joiner, &'a [u8])>,
    /// How many of the bytes have been used
    used: usize,
    /// How many items have been taken
    taken: usize,
    /// What is left is no whole message.
    starved: bool,
    /// All has come, or what has is wrong.
    end: Option<Result<(), FetchError>>,
    /// Why there is nothing
    failed: Option<&'a str>,
}

impl Batch<'_> {
    /// The next item. The last one of all is [`Fetched::Done`] or
    /// [`Fetched::Failed`].
    pub fn take(&mut self) -> Option<Fetched<'_>> {
        if let Some(why) = self.failed.take() {
            return Some(Fetched::Failed(why));
        }
        let (joiner, bytes) = self.from.as_mut()?;
        if self.taken == BATCH || self.used >= BATCH_BYTES || self.end.is_some() {
            return None;
        }
        self.taken += 1;
        match joiner.next(bytes.get(self.used..).unwrap_or(&[])) {
            Ok((n, item)) => {
                self.used += n;
                self.starved = item.is_none();
                if matches!(item, Some(Fetched::Done)) {
                    self.end = Some(Ok(()));
                }
                item
            }
            Err(why) => {
                self.end = Some(Err(why));
                None
            }
        }
    }
}

/// Why one way did not work.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{}", words(.0))]
    Io(#[from] io::Error),
    #[error("no answer within {0:?}")]
    Slow(Duration),
    #[error("nothing came for {SILENCE:?}")]
    Silent,
    #[error("it closed the connection")]
    Closed,
    #[error("the name has no address")]
    NoAddress,
    #[error(transparent)]
    Peer(#[from] FetchError),
}

/// What the system says of an error, without its number.
fn words(why: &io::Error) -> String {
    let text = why.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

/// Fetches a peer's state for node `me`. Everything that comes goes to
/// `sink`, which takes each batch to its end; if no way works, that is said
/// in one line.
pub async fn fetch(
    fetch: &Fetch,
    ways: &Ways,
    me: &NodeName,
    mut sink: impl FnMut(&mut Batch<'_>),
) {
    let mut faults = Vec::new();
    for (host, port) in ways.to(fetch) {
        let found = timeout(
            ways.init_timeout,
            tokio::net::lookup_host((host.as_str(), port)),
        );
        let addresses: Vec<SocketAddr> = match found.await {
            Ok(Ok(found)) => found.take(ADDRESSES).collect(),
            Ok(Err(why)) => {
                faults.push(format!("{host}: {}", words(&why)));
                continue;
            }
            Err(_) => {
                faults.push(format!("{host}: {}", Lost::Slow(ways.init_timeout)));
                continue;
            }
        };
        if addresses.is_empty() {
            faults.push(format!("{host}: {}", Lost::NoAddress));
        }
        for address in addresses {
            tracing::debug!(peer = %fetch.peer, %address, "fetching");
            match fetch_over(address, &fetch.peer, ways, me, &mut sink).await {
                Ok(entries) => {
                    tracing::info!(peer = %fetch.peer, %address, entries, "fetched");
                    return;
                }
                Err(why) if host == address.ip().to_string() => {
                    faults.push(format!("{address}: {why}"));
                }
                Err(why) => faults.push(format!("{host} ({address}): {why}")),
            }
        }
    }
    let why = format!("cannot fetch from `{}`: {}", fetch.peer, faults.join("; "));
    sink(&mut Batch {
        failed: Some(&why),
        ..Batch::default()
    });
}

/// Fetches over one address; how many entries came.
async fn fetch_over(
    address: SocketAddr,
    peer: &NodeName,
    ways: &Ways,
    me: &NodeName,
    sink: &mut impl FnMut(&mut Batch<'_>),
) -> Result<u64, Lost> {
    #[allow(clippy::disallowed_methods)] // the shell's clock
    let now = Instant::now;
    let start = now();
    let slow = |_| Lost::Slow(ways.init_timeout);
    let mut stream = timeout(ways.init_timeout, TcpStream::connect(address))
        .await
        .map_err(slow)??;
    stream.set_nodelay(true)?;
    let login = ways.auth.clone().map(login).transpose()?;
    let mut joiner = Joiner::new(me, peer, ways.frame).with_login(login);
    let mut progress = start + PROGRESS;
    // what has been read and not used begins at `used`
    let (mut bytes, mut used) = (Vec::with_capacity(READ), 0);
    loop {
        let mut batch = Batch {
            from: Some((&mut joiner, bytes.get(used..).unwrap_or(&[]))),
            ..Batch::default()
        };
        sink(&mut batch);
        used += batch.used;
        let starved = batch.starved;
        match batch.end {
            Some(Ok(())) => return Ok(joiner.entries()),
            Some(Err(why)) => return Err(why.into()),
            None => {}
        }
        if now() >= progress {
            progress = now() + PROGRESS;
            tracing::info!(%peer, entries = joiner.entries(), "fetching");
        }
        if !starved {
            tokio::task::yield_now().await;
            continue;
        }
        if !joiner.output().is_empty() {
            let sending = stream.write_all(joiner.output());
            timeout(SILENCE, sending)
                .await
                .map_err(|_| Lost::Silent)??;
            joiner.sent();
        }
        bytes.drain(..used);
        used = 0;
        bytes.reserve(READ);
        let reading = stream.read_buf(&mut bytes);
        let n = if joiner.is_greeted() {
            timeout(SILENCE, reading)
                .await
                .map_err(|_| Lost::Silent)??
        } else {
            let left = (start + ways.init_timeout).saturating_duration_since(now());
            timeout(left, reading).await.map_err(slow)??
        };
        if n == 0 {
            return Err(Lost::Closed);
        }
    }
}

/// A login with the random numbers that it takes.
fn login(credentials: Credentials) -> io::Result<Login> {
    let (mut private, mut nonce) = ([0; PRIVATE], [0; 24]);
    for bytes in [private.as_mut_slice(), &mut nonce] {
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
        }
    }
    Ok(Login::new(credentials, private, nonce))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_way_is_the_first() {
        let host = |host: &str, port| (host.to_owned(), port);
        let fetch = Fetch {
            id: 1,
            peer: NodeName::new("kitchen"),
            addr: vec![host("10.0.0.1", 1), host("::1", 2), host("attic", 3)],
        };
        let mut ways = Ways {
            hostmap: [("kitchen".to_owned(), host("localhost", 4))].into(),
            domain: None,
            port: 27586,
            init_timeout: Duration::from_secs(5),
            frame: 1 << 20,
            auth: None,
        };
        let known = [host("10.0.0.1", 1), host("::1", 2)];
        let rest = [
            host("attic", 3),
            host("localhost", 4),
            host("kitchen", 27586),
        ];
        assert_eq!(ways.to(&fetch), [&known[..], &rest].concat());
        ways.domain = Some("example.org".to_owned());
        ways.hostmap = [("kitchen".to_owned(), host("kitchen", 27586))].into();
        let rest = [
            host("attic.example.org", 3),
            host("kitchen.example.org", 27586),
        ];
        assert_eq!(ways.to(&fetch), [&known[..], &rest].concat());
    }
}
