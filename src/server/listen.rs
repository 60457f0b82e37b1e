//! Where clients connect.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::msgpack::write;
use crate::server::node::Node;
use crate::server::{Reach, ServeError, connection};

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// A host name or address; `None`: what the [`Reach`] says, both families
    pub host: Option<String>,
    /// The port; 0: any free one
    pub port: u16,
}

/// Connections to the loopback addresses that are accepted when others are
/// not any more: an administrator must be able to look.
const RESERVED: usize = 16;
/// How long to wait when the system has no file left for a connection.
const NO_FILES: Duration = Duration::from_millis(100);
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Raises the limit of open files as far as it goes, and returns it.
pub(super) fn raise_file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(why) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%why, "the limit of open files stays as it is");
    }
    let now = getrlimit(Resource::Nofile).current;
    now.and_then(|n| usize::try_from(n).ok())
        .unwrap_or(usize::MAX)
}

/// Opens all listeners, or none.
pub(super) fn bind(listen: &[Listen], reach: Reach) -> Result<Vec<TcpListener>, ServeError> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut open_to_all: Vec<String> = Vec::new();
    for wanted in listen {
        let shown = shown(wanted, reach);
        let refused = |why: &io::Error| ServeError::Listen {
            address: shown.clone(),
            why: explain(why, wanted.port),
        };
        let addresses = addresses(wanted, reach).map_err(|why| refused(&why))?;
        let (mut port, mut any, mut last) = (wanted.port, false, None);
        for mut address in addresses {
            address.set_port(port);
            match open(address) {
                Ok(listener) => {
                    // a free port is the same one for both families
                    port = listener.local_addr().map_or(port, |a| a.port());
                    tracing::info!("listening on {}", SocketAddr::new(address.ip(), port));
                    if !address.ip().is_loopback() {
                        open_to_all.push(SocketAddr::new(address.ip(), port).to_string());
                    }
                    listeners.push(listener);
                    any = true;
                }
                // a machine without IPv6, or without the other family
                Err(why) if matches!(why.kind(), io::ErrorKind::AddrNotAvailable) => {
                    last = Some(why);
                }
                Err(why) if why.raw_os_error() == Some(97) => last = Some(why),
                Err(why) => return Err(refused(&why)),
            }
        }
        if !any {
            let why = last.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
            return Err(refused(&why));
        }
    }
    if !open_to_all.is_empty() {
        let all = open_to_all.join(" and ");
        tracing::warn!("clients from other hosts need no password: listening on {all}");
    }
    Ok(listeners)
}

fn shown(listen: &Listen, reach: Reach) -> String {
    let host = listen.host.as_deref().unwrap_or(match reach {
        Reach::Loopback => "localhost",
        Reach::Everywhere => "*",
    });
    if host.contains(':') {
        format!("[{host}]:{}", listen.port)
    } else {
        format!("{host}:{}", listen.port)
    }
}

fn addresses(listen: &Listen, reach: Reach) -> io::Result<Vec<SocketAddr>> {
    let Some(host) = &listen.host else {
        let both: [IpAddr; 2] = match reach {
            Reach::Loopback => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            Reach::Everywhere => [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        };
        return Ok(both.map(|ip| SocketAddr::new(ip, listen.port)).to_vec());
    };
    let mut all: Vec<SocketAddr> = (host.as_str(), listen.port).to_socket_addrs()?.collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // IPv4 has a listener of its own
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn explain(why: &io::Error, port: u16) -> String {
    match why.kind() {
        io::ErrorKind::AddrInUse => match owner(port) {
            Some(Owner { pid, name }) => {
                format!("the port is in use by process {pid} ({name})")
            }
            None => "the port is in use; another server may be running".to_owned(),
        },
        io::ErrorKind::PermissionDenied => {
            format!("{why}; ports below 1024 need special rights")
        }
        _ => why.to_string(),
    }
}

/// A process.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) pid: u32,
    pub(super) name: String,
}

/// Which process listens on a port, if the system tells.
pub(super) fn owner(port: u16) -> Option<Owner> {
    let mut inodes = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(table)
            .unwrap_or_default()
            .lines()
            .skip(1)
        {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            // local address, state (0A: listening) and inode
            if let [_, local, _, "0A", _, _, _, _, _, inode, ..] = fields.as_slice()
                && local
                    .rsplit(':')
                    .next()
                    .and_then(|p| u16::from_str_radix(p, 16).ok())
                    == Some(port)
            {
                inodes.push(format!("socket:[{inode}]"));
            }
        }
    }
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        for file in files.flatten() {
            let target = std::fs::read_link(file.path()).unwrap_or_default();
            if inodes
                .iter()
                .any(|inode| target.as_os_str() == inode.as_str())
            {
                let name = std::fs::read_to_string(process.path().join("comm")).ok()?;
                let name = name.trim().to_owned();
                return Some(Owner { pid, name });
            }
        }
    }
    None
}

/// Accepts clients for ever, or until the task is ended; their own tasks go
/// on then.
pub(super) async fn accept(listener: TcpListener, node: Rc<Node>, files: usize) {
    let most = files / 10 * 9;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(why) if is_lack(&why) => {
                tracing::warn!(%why, "no connection can be accepted now");
                tokio::time::sleep(NO_FILES).await;
                continue;
            }
            // that client is gone already
            Err(why) => {
                tracing::debug!(%why, "a connection was not accepted");
                continue;
            }
        };
        let count = node.count();
        let reserved = if peer.ip().is_loopback() { RESERVED } else { 0 };
        if count >= most.saturating_add(reserved) {
            tracing::warn!(%peer, count, "too many connections");
            refuse(stream).await;
            continue;
        }
        let ready = stream.set_nodelay(true);
        // a client whose host died without a word is noticed some day
        let alive = rustix::net::sockopt::set_socket_keepalive(&stream, true);
        if ready.is_err() || alive.is_err() {
            continue;
        }
        // a connection ends by its own means, when its client or the server
        // does; the node counts them
        tokio::task::spawn_local(connection::serve(stream, peer, Rc::clone(&node)));
    }
}

fn is_lack(why: &io::Error) -> bool {
    // EMFILE, ENFILE, ENOBUFS, ENOMEM
    matches!(why.raw_os_error(), Some(24 | 23 | 105 | 12))
}

/// Says why, as far as that goes into the socket at once.
async fn refuse(mut stream: TcpStream) {
    let mut words = Vec::new();
    write::map(&mut words, 1);
    write::str(&mut words, "error");
    write::str(&mut words, "RuntimeError('too many connections')");
    let _ = tokio::time::timeout(NO_FILES, stream.write_all(&words)).await;
}
