//! When the server becomes the broker itself.
//!
//! If nobody listens where the broker should be, and the configuration lets
//! us, we listen there. Whoever was faster is the broker; the others are its
//! clients, and try again when it has gone.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::broker::LocalBroker;
use crate::config::{self, Embedded, Scheme};

use super::Setup;

/// How long a broker that is installed may take to start.
const INSTALLED: Duration = Duration::from_secs(3);
/// Greatest delay of those who want to follow a broker that has gone.
pub(super) const STAGGER: Duration = Duration::from_millis(500);
/// Addresses that are listened on at most.
const MOST: usize = 16;

/// A server that may be the broker.
#[derive(Debug)]
pub(super) struct Host {
    addresses: Vec<SocketAddr>,
    packet: usize,
    /// Somebody else's turn until then
    not_before: Instant,
    broker: Option<LocalBroker>,
}

impl Host {
    /// The server in that role, if the configuration allows it. Looks for
    /// names and programs, which may take long.
    pub(super) async fn find(setup: &Setup) -> Option<Self> {
        let (mqtt, place, packet) = (setup.config.clone(), setup.place(), setup.packet);
        let found =
            tokio::task::spawn_blocking(move || Self::new(&mqtt, &place, packet, super::now()));
        found
            .await
            .unwrap_or_else(|why| std::panic::resume_unwind(why.into_panic()))
    }

    fn new(mqtt: &config::Mqtt, place: &str, packet: usize, now: Instant) -> Option<Self> {
        let may = match mqtt.embedded {
            Embedded::Never => false,
            Embedded::Auto => mqtt.uri.is_default(),
            Embedded::Always => true,
        };
        if !may {
            return None;
        }
        let Some(addresses) = addresses(mqtt) else {
            tracing::warn!("server.mqtt.embedded is ignored: {place} is not this machine");
            return None;
        };
        let is_installed = mqtt.embedded == Embedded::Auto && is_installed("mosquitto");
        Some(Self {
            addresses,
            packet,
            not_before: if is_installed { now + INSTALLED } else { now },
            broker: None,
        })
    }

    /// Becomes the broker if nobody else is. Returns whether it is one now.
    pub(super) async fn step_in(&mut self, now: Instant) -> bool {
        if now < self.not_before || self.broker.as_ref().is_some_and(LocalBroker::is_alive) {
            return false;
        }
        self.broker = None;
        match LocalBroker::start(self.addresses.clone(), self.packet).await {
            Ok(broker) => {
                let places: Vec<_> = self.addresses.iter().map(SocketAddr::to_string).collect();
                tracing::info!(
                    "no broker is there: this server is it now, on {}",
                    places.join(", ")
                );
                self.broker = Some(broker);
                true
            }
            Err(why) => {
                tracing::debug!("this server is not the broker: {why}");
                false
            }
        }
    }
}

/// Where to listen for `server.mqtt`; `None` if its URI is not on this
/// machine, or not for plain MQTT.
fn addresses(mqtt: &config::Mqtt) -> Option<Vec<SocketAddr>> {
    let (host, port) = (mqtt.uri.host(), mqtt.uri.port());
    if mqtt.uri.scheme() != Scheme::Tcp {
        return None;
    }
    let mut addresses = Vec::new();
    if host.eq_ignore_ascii_case("localhost") {
        addresses.push((Ipv4Addr::LOCALHOST, port).into());
        // a machine without IPv6 has no such address
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            addresses.push((Ipv6Addr::LOCALHOST, port).into());
        }
    } else {
        let ip: std::net::IpAddr = host.parse().ok()?;
        if !ip.is_loopback() {
            return None;
        }
        addresses.push((ip, port).into());
    }
    for place in &mqtt.embedded_bind {
        match resolve(place, port) {
            Ok(found) => addresses.extend(found),
            Err(why) => tracing::warn!("server.mqtt.embedded_bind: {place}: {why}"),
        }
    }
    Some(reduced(addresses))
}

/// `HOST`, `HOST:PORT` or `[HOST]:PORT`.
fn resolve(place: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = place.parse::<std::net::IpAddr>() {
        return Ok(vec![(ip, port).into()]);
    }
    let has_port = place.contains(':');
    let found = match has_port {
        true => place.to_socket_addrs()?.collect(),
        false => (place, port).to_socket_addrs()?.collect(),
    };
    Ok(found)
}

/// Each address once, and none that another one includes.
fn reduced(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    // `[::]` is IPv4's, too
    let includes = |wide: &SocketAddr, other: &SocketAddr| {
        wide != other
            && wide.port() == other.port()
            && wide.ip().is_unspecified()
            && (wide.is_ipv6() || other.is_ipv4())
    };
    let mut kept: Vec<SocketAddr> = Vec::new();
    for address in &addresses {
        let is_needed =
            !kept.contains(address) && !addresses.iter().any(|wide| includes(wide, address));
        if is_needed && kept.len() < MOST {
            kept.push(*address);
        }
    }
    kept
}

/// Whether a program is installed. Those of daemons need not be in the path.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_in = |directory: &Path| directory.join(program).is_file();
    std::env::split_paths(&path).any(|directory| is_in(&directory))
        || ["/usr/sbin", "/usr/local/sbin"]
            .map(OsStr::new)
            .iter()
            .any(|directory| is_in(Path::new(directory)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerUri;

    fn at(uri: &str, bind: &[&str]) -> Option<Vec<String>> {
        let mqtt = config::Mqtt {
            uri: BrokerUri::parse(uri).unwrap(),
            embedded_bind: bind.iter().map(|&place| place.to_owned()).collect(),
            ..config::Mqtt::default()
        };
        let addresses = addresses(&mqtt)?;
        Some(addresses.iter().map(SocketAddr::to_string).collect())
    }

    fn some(addresses: &[&str]) -> Option<Vec<String>> {
        Some(addresses.iter().map(|&a| a.to_owned()).collect())
    }

    #[test]
    fn only_this_machine_is_listened_on() {
        let local = at("mqtt://localhost:7", &[]).unwrap();
        assert_eq!(local.first().map(String::as_str), Some("127.0.0.1:7"));
        assert!(local.iter().skip(1).all(|a| a == "[::1]:7"), "{local:?}");
        assert_eq!(at("mqtt://127.0.0.2:7", &[]), some(&["127.0.0.2:7"]));
        assert_eq!(at("mqtt://[::1]:7", &[]), some(&["[::1]:7"]));
        for other in [
            "mqtt://h",
            "mqtt://10.0.0.1",
            "mqtts://localhost",
            "ws://127.0.0.1",
        ] {
            assert_eq!(at(other, &[]), None, "{other}");
        }
    }

    #[test]
    fn other_hosts_are_let_in_where_it_is_said() {
        let uri = "mqtt://127.0.0.1:7";
        assert_eq!(
            at(
                uri,
                &[
                    "10.0.0.1",
                    "10.0.0.1:8",
                    "fd00::1",
                    "[fd00::1]:8",
                    "10.0.0.1"
                ]
            ),
            some(&[
                "127.0.0.1:7",
                "10.0.0.1:7",
                "10.0.0.1:8",
                "[fd00::1]:7",
                "[fd00::1]:8"
            ])
        );
        assert_eq!(at(uri, &["0.0.0.0"]), some(&["0.0.0.0:7"]));
        assert_eq!(at(uri, &["0.0.0.0:8"]), some(&["127.0.0.1:7", "0.0.0.0:8"]));
        assert_eq!(at(uri, &["::", "0.0.0.0"]), some(&["[::]:7"]));
        assert_eq!(at(uri, &["no such host:x"]), some(&["127.0.0.1:7"]));
    }

    fn host(embedded: Embedded, uri: Option<&str>) -> Option<Host> {
        let mut mqtt = config::Mqtt {
            embedded,
            ..config::Mqtt::default()
        };
        if let Some(uri) = uri {
            mqtt.uri = BrokerUri::parse(uri).unwrap();
        }
        Host::new(&mqtt, "there", 1 << 20, super::super::now())
    }

    #[test]
    fn a_uri_that_was_configured_is_not_replaced() {
        let same = Some("mqtt://localhost:1883");
        assert!(host(Embedded::Auto, None).is_some());
        assert!(host(Embedded::Auto, same).is_none());
        assert!(host(Embedded::Always, same).is_some());
        assert!(host(Embedded::Always, Some("mqtt://h")).is_none());
        assert!(host(Embedded::Never, None).is_none());
    }
}
