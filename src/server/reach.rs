//! From where this server can be reached.
//!
//! A listener without a host of its own follows the network: as long as that
//! lives on this machine alone, only this machine is served; when other hosts
//! may belong to it, they must be able to fetch, and all are.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use crate::config::{self, Embedded, Scheme};
use crate::server::Host;
use crate::server::listen::owner;

/// How long a broker on this machine may take to accept.
const ACCEPT: Duration = Duration::from_millis(500);

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

impl Meeting {
    /// Where clients and other servers connect, if the configuration does not
    /// say.
    #[must_use]
    pub const fn host(self) -> Host {
        match self {
            Self::Nowhere | Self::Embedded { local: true } => Host::Loopback,
            Self::Embedded { local: false } | Self::Broker => Host::Any,
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_network_of_one_machine_is_served_on_loopback() {
        for (meeting, host) in [
            (Meeting::Nowhere, Host::Loopback),
            (Meeting::Embedded { local: true }, Host::Loopback),
            (Meeting::Embedded { local: false }, Host::Any),
            (Meeting::Broker, Host::Any),
        ] {
            assert_eq!(meeting.host(), host, "{meeting:?}");
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
}
