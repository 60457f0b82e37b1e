//! From where this server can be reached, and what the others are told of it.
//!
//! A listener without a host of its own follows the network: as long as that
//! lives on this machine alone, only this machine is served; when other hosts
//! may belong to it, they must be able to fetch, and all are.

use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::path::Path;
use std::time::Duration;

use crate::config::{self, Embedded, Scheme};
use crate::server::Listen;
use crate::server::listen::owner;

/// How long a broker on this machine may take to accept.
const ACCEPT: Duration = Duration::from_millis(500);

/// Who is served where no host is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This machine
    Loopback,
    /// All that can reach it
    Everywhere,
}

/// What the servers of a network meet at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meeting {
    /// Nothing: there is one server.
    Nowhere,
    /// The broker in one of them; `local` if other hosts do not get there
    Embedded {
        /// It listens on this machine's own addresses only.
        local: bool,
    },
    /// Another broker
    Broker,
}

impl Reach {
    /// Who must be served in such a network.
    #[must_use]
    pub const fn of(meeting: Meeting) -> Self {
        match meeting {
            Meeting::Nowhere | Meeting::Embedded { local: true } => Self::Loopback,
            Meeting::Embedded { local: false } | Meeting::Broker => Self::Everywhere,
        }
    }
}

impl Meeting {
    /// Where servers with this configuration meet: looks whether a broker
    /// listens on this machine, and which.
    #[must_use]
    pub fn look(mqtt: &config::Mqtt) -> Self {
        let may_embed = cfg!(feature = "broker")
            && mqtt.uri.scheme() == Scheme::Tcp
            && match mqtt.embedded {
                Embedded::Never => false,
                Embedded::Auto => mqtt.uri.is_default(),
                Embedded::Always => true,
            };
        if !may_embed {
            return Self::Broker;
        }
        let place = (mqtt.uri.host(), mqtt.uri.port());
        let Ok(addresses) = place.to_socket_addrs() else {
            return Self::Broker;
        };
        let addresses: Vec<SocketAddr> = addresses.collect();
        if !addresses.iter().all(|address| address.ip().is_loopback()) {
            return Self::Broker;
        }
        let is_there = addresses
            .iter()
            .any(|address| TcpStream::connect_timeout(address, ACCEPT).is_ok());
        // one that is installed but has not started yet is waited for
        let is_other = match is_there {
            true => owner(mqtt.uri.port()).is_none_or(|owner| owner.name != own_name()),
            false => mqtt.embedded == Embedded::Auto && is_installed("mosquitto"),
        };
        if is_other {
            return Self::Broker;
        }
        Self::Embedded {
            local: mqtt.embedded_bind.is_empty(),
        }
    }
}

/// This program's name, as the system lists it.
fn own_name() -> String {
    let name = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    name.trim().to_owned()
}

/// Whether a daemon is installed.
fn is_installed(program: &str) -> bool {
    ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"]
        .iter()
        .any(|directory| Path::new(directory).join(program).is_file())
}

/// Where the others are told to look for this server, best first.
///
/// `own` are this machine's address towards the broker and its name. An
/// address that means something else on another host is told only if there
/// are no other hosts.
#[must_use]
pub fn announced(listen: &[Listen], reach: Reach, own: &[String]) -> Vec<(String, u16)> {
    let mut all: Vec<(String, u16)> = Vec::new();
    for Listen { host, port } in listen {
        let ip = host.as_deref().and_then(|host| host.parse::<IpAddr>().ok());
        let is_local = match (host.as_deref(), ip) {
            (_, Some(ip)) => ip.is_loopback(),
            (Some(host), None) => host.eq_ignore_ascii_case("localhost"),
            (None, None) => reach == Reach::Loopback,
        };
        let is_any = ip.is_some_and(|ip| ip.is_unspecified()) || (host.is_none() && !is_local);
        let hosts: Vec<String> = match host {
            _ if is_any => own.to_vec(),
            _ if is_local && reach == Reach::Everywhere => Vec::new(),
            Some(host) => vec![host.clone()],
            None => vec!["localhost".to_owned()],
        };
        for host in hosts {
            let place = (host, *port);
            if !all.contains(&place) {
                all.push(place);
            }
        }
    }
    all
}

/// This machine's address towards a host, unless it is one that only this
/// machine knows. Nothing is sent.
#[must_use]
pub fn address_towards(host: &str, port: u16) -> Option<IpAddr> {
    let there = (host, port).to_socket_addrs().ok()?.next()?;
    let here: IpAddr = match there {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((here, 0)).ok()?;
    socket.connect(there).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(host: Option<&str>) -> Listen {
        Listen {
            host: host.map(str::to_owned),
            port: 7,
        }
    }

    #[test]
    fn only_a_network_of_one_machine_is_served_on_loopback() {
        for (meeting, reach) in [
            (Meeting::Nowhere, Reach::Loopback),
            (Meeting::Embedded { local: true }, Reach::Loopback),
            (Meeting::Embedded { local: false }, Reach::Everywhere),
            (Meeting::Broker, Reach::Everywhere),
        ] {
            assert_eq!(Reach::of(meeting), reach, "{meeting:?}");
        }
    }

    #[test]
    fn a_configured_broker_may_join_other_hosts() {
        let mut mqtt = config::Mqtt {
            embedded: Embedded::Never,
            ..config::Mqtt::default()
        };
        assert_eq!(Meeting::look(&mqtt), Meeting::Broker);
        mqtt.embedded = Embedded::Always;
        mqtt.uri = config::BrokerUri::parse("mqtts://localhost").unwrap();
        assert_eq!(Meeting::look(&mqtt), Meeting::Broker);
        mqtt.uri = config::BrokerUri::parse("mqtt://192.0.2.1").unwrap();
        assert_eq!(Meeting::look(&mqtt), Meeting::Broker);
    }

    #[test]
    fn others_are_told_what_they_can_use() {
        let own = ["192.0.2.7".to_owned(), "here".to_owned()];
        let told = |host, reach| -> Vec<String> {
            let told = announced(&[listen(host)], reach, &own);
            assert!(told.iter().all(|(_, port)| *port == 7));
            told.into_iter().map(|(host, _)| host).collect()
        };
        assert_eq!(told(None, Reach::Loopback), ["localhost"]);
        assert_eq!(told(None, Reach::Everywhere), own);
        assert_eq!(told(Some("0.0.0.0"), Reach::Loopback), own);
        assert_eq!(told(Some("::"), Reach::Everywhere), own);
        assert_eq!(told(Some("a.example"), Reach::Everywhere), ["a.example"]);
        for local in ["127.0.0.1", "::1", "localhost"] {
            assert_eq!(told(Some(local), Reach::Loopback), [local]);
            assert!(told(Some(local), Reach::Everywhere).is_empty());
        }
        let twice = [listen(None), listen(Some("0.0.0.0"))];
        assert_eq!(announced(&twice, Reach::Everywhere, &own).len(), 2);
    }

    #[test]
    fn loopback_is_no_address_for_others() {
        assert_eq!(address_towards("127.0.0.1", 9), None);
        assert_eq!(address_towards("::1", 9), None);
    }
}
