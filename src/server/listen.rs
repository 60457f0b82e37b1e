//! Where clients connect.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::msgpack::write;
use crate::server::node::Node;
use crate::server::{ServeError, connection};

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Which addresses
    pub host: Host,
    /// The port; 0: any free one
    pub port: u16,
}

/// Which addresses of this machine are listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A host name or address
    Named(String),
    /// Those that only this machine reaches
    Loopback,
    /// All
    Any,
}

/// A socket that has its address, and refuses clients.
#[derive(Debug)]
pub(super) struct Bound {
    socket: OwnedFd,
    address: SocketAddr,
    /// The name that was given for it
    name: Option<String>,
}

/// Addresses that other nodes are told at most.
const ANNOUNCED: usize = 8;

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

/// Takes all addresses, or none.
pub(super) fn bind(listen: &[Listen]) -> Result<Vec<Bound>, ServeError> {
    let mut sockets: Vec<Bound> = Vec::new();
    for wanted in listen {
        let shown = shown(wanted);
        let refused = |why: &io::Error| ServeError::Listen {
            address: shown.clone(),
            why: explain(why, wanted.port),
        };
        let addresses = addresses(wanted).map_err(|why| refused(&why))?;
        let (mut port, mut any, mut last) = (wanted.port, false, None);
        for mut address in addresses {
            address.set_port(port);
            match take(address) {
                Ok((socket, address)) => {
                    // a free port is the same one for both families
                    port = address.port();
                    let name = match &wanted.host {
                        Host::Named(name) => Some(name.clone()),
                        Host::Loopback | Host::Any => None,
                    };
                    sockets.push(Bound {
                        socket,
                        address,
                        name,
                    });
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
    Ok(sockets)
}

/// Begins to accept clients.
pub(super) fn open(sockets: Vec<Bound>) -> Result<Vec<TcpListener>, ServeError> {
    let mut listeners = Vec::new();
    let mut open_to_all: Vec<String> = Vec::new();
    for Bound {
        socket, address, ..
    } in sockets
    {
        let opened = rustix::net::listen(&socket, BACKLOG)
            .map_err(io::Error::from)
            .and_then(|()| TcpListener::from_std(socket.into()));
        listeners.push(opened.map_err(|why| ServeError::Listen {
            address: address.to_string(),
            why: explain(&why, address.port()),
        })?);
        tracing::info!("listening on {address}");
        if !address.ip().is_loopback() {
            open_to_all.push(address.to_string());
        }
    }
    if !open_to_all.is_empty() {
        let all = open_to_all.join(" and ");
        tracing::warn!("clients from other hosts need no password: listening on {all}");
    }
    Ok(listeners)
}

/// Where other nodes reach this one, as far as it can say.
pub(super) fn announced(sockets: &[Bound]) -> Vec<(String, u16)> {
    let mut list: Vec<(String, u16)> = Vec::new();
    for Bound { address, name, .. } in sockets {
        let port = address.port();
        let hosts = match name {
            Some(name) if !address.ip().is_unspecified() => vec![name.clone()],
            _ if address.ip().is_unspecified() => here(address.is_ipv4()),
            _ => vec![address.ip().to_string()],
        };
        for host in hosts {
            if list.len() < ANNOUNCED && !list.contains(&(host.clone(), port)) {
                list.push((host, port));
            }
        }
    }
    list
}

/// The addresses of this machine that others may reach, and last the one
/// that only itself does: whoever comes there asks who answers.
fn here(ipv4: bool) -> Vec<String> {
    let mut list: Vec<IpAddr> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .map(|interface| interface.ip())
        .filter(|ip| ip.is_ipv4() == ipv4 && !is_link_local(*ip))
        .collect();
    list.sort_by_key(IpAddr::is_loopback);
    list.iter().map(IpAddr::to_string).collect()
}

/// Whether an address means nothing without its interface.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn shown(listen: &Listen) -> String {
    let host = match &listen.host {
        Host::Named(name) => name.as_str(),
        Host::Loopback => "localhost",
        Host::Any => "*",
    };
    if host.contains(':') {
        format!("[{host}]:{}", listen.port)
    } else {
        format!("{host}:{}", listen.port)
    }
}

fn addresses(listen: &Listen) -> io::Result<Vec<SocketAddr>> {
    let both = |v4: Ipv4Addr, v6: Ipv6Addr| {
        let ips = [IpAddr::from(v4), IpAddr::from(v6)];
        Ok(ips.map(|ip| SocketAddr::new(ip, listen.port)).to_vec())
    };
    let host = match &listen.host {
        Host::Loopback => return both(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
        Host::Any => return both(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
        Host::Named(host) => host,
    };
    let mut all: Vec<SocketAddr> = (host.as_str(), listen.port).to_socket_addrs()?.collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// A socket with this address, and the address with its port.
fn take(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
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
    let taken = rustix::net::getsockname(&socket)?;
    let taken = SocketAddr::try_from(taken).unwrap_or(address);
    Ok((socket, taken))
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
