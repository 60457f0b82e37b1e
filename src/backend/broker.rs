//! An MQTT broker inside this process, for machines that have none.
//!
//! It runs on a thread of its own, keeps everything in memory and ends with
//! the process. Whoever holds the addresses is the broker: they are bound all
//! or none, so that of servers that start together exactly one becomes it.

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use mqtt5::broker::MqttBroker;
use mqtt5::broker::config::{AuthConfig, BrokerConfig, StorageBackend, StorageConfig};
use tokio::sync::oneshot;

/// Messages that may wait for one client; beyond it they are dropped.
const CLIENT_QUEUE: usize = 1 << 15;
/// Bytes that may wait for one client that has gone for a while.
const CLIENT_BYTES: usize = 16 << 20;
/// Retained messages, and the longest of them.
const RETAINED: usize = 10_000;
const RETAINED_SIZE: usize = 1 << 20;
/// Filters of one client.
const FILTERS: usize = 10_000;
/// How long a client that has gone is remembered, if it wants that.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// How long clients may take to hear the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why there is no broker here.
#[derive(Debug, thiserror::Error)]
pub(super) enum BrokerError {
    /// An address is somebody else's.
    #[error("cannot listen on {address}: {why}")]
    Taken {
        address: SocketAddr,
        why: std::io::Error,
    },
    #[error("{0}")]
    Failed(String),
}

/// A broker. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct LocalBroker {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LocalBroker {
    /// Starts one that listens on all of these addresses and takes packets
    /// up to `packet` bytes from everybody who reaches it.
    pub(super) async fn start(
        addresses: Vec<SocketAddr>,
        packet: usize,
    ) -> Result<Self, BrokerError> {
        let (started, start) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("broker".to_owned())
            .spawn(move || serve(&addresses, packet, started, stopped))
            .map_err(|why| BrokerError::Failed(why.to_string()))?;
        let broker = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        match start.await {
            Ok(started) => started.map(|()| broker),
            Err(_) => Err(BrokerError::Failed("it has ended at once".to_owned())),
        }
    }

    /// Whether it still runs.
    pub(super) fn is_alive(&self) -> bool {
        let thread = self.thread.as_ref();
        thread.is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for LocalBroker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // when this returns, its addresses are free
            let _ = thread.join();
        }
    }
}

/// The broker's thread.
fn serve(
    addresses: &[SocketAddr],
    packet: usize,
    started: oneshot::Sender<Result<(), BrokerError>>,
    stopped: oneshot::Receiver<()>,
) {
    // Its log is for those who look for its faults; the rest is said by us.
    let _silent = (!tracing::enabled!(target: "mqtt5", tracing::Level::DEBUG))
        .then(|| tracing::dispatcher::set_default(&tracing::Dispatch::none()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(why) => {
            let _ = started.send(Err(BrokerError::Failed(why.to_string())));
            return;
        }
    };
    runtime.block_on(async {
        let mut broker = match bind(addresses, packet).await {
            Ok(broker) => broker,
            Err(why) => {
                let _ = started.send(Err(why));
                return;
            }
        };
        let _ = started.send(Ok(()));
        let stop = broker.shutdown_handle();
        let stopping = async {
            let _ = stopped.await;
            stop.shutdown();
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            _ = broker.run() => {}
            () = stopping => {}
        }
    });
    runtime.shutdown_background();
}

/// Takes all of the addresses, or none.
async fn bind(addresses: &[SocketAddr], packet: usize) -> Result<MqttBroker, BrokerError> {
    // The broker is content with some of them. So we look first, and look
    // again whether none was lost in between.
    let free = |address: &SocketAddr| TcpListener::bind(address).map(drop);
    for address in addresses {
        free(address).map_err(|why| BrokerError::Taken {
            address: *address,
            why,
        })?;
    }
    let broker = MqttBroker::with_config(config(addresses, packet))
        .await
        .map_err(|why| BrokerError::Failed(why.to_string()))?;
    let is_first = broker.local_addr() == addresses.first().copied();
    match addresses.iter().find(|address| free(address).is_ok()) {
        None if is_first => Ok(broker),
        lost => Err(BrokerError::Failed(format!(
            "somebody else was faster on {}",
            lost.or_else(|| addresses.first())
                .map_or_else(String::new, SocketAddr::to_string)
        ))),
    }
}

fn config(addresses: &[SocketAddr], packet: usize) -> BrokerConfig {
    let mut storage = StorageConfig::new()
        .with_backend(StorageBackend::Memory)
        .with_cleanup_interval(REMEMBERED);
    storage.max_queued_messages_per_client = CLIENT_QUEUE;
    storage.max_queued_bytes_per_client = CLIENT_BYTES;
    BrokerConfig::new()
        .with_bind_addresses(addresses.to_vec())
        .with_storage(storage)
        .with_max_packet_size(packet)
        .with_client_channel_capacity(CLIENT_QUEUE)
        .with_max_retained_messages(RETAINED)
        .with_max_retained_message_size(RETAINED_SIZE)
        .with_max_subscriptions_per_client(FILTERS)
        .with_session_expiry(REMEMBERED)
        .with_auth(AuthConfig::new().with_allow_anonymous(true))
        .with_sys_topics_enabled(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.build().unwrap()
    }

    fn free_addresses() -> Vec<SocketAddr> {
        // held together, so that they differ
        let held: Vec<_> = (0..2)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        held.iter().map(|l| l.local_addr().unwrap()).collect()
    }

    #[test]
    fn all_addresses_are_taken_or_none() {
        runtime().block_on(async {
            let addresses = free_addresses();
            let held = TcpListener::bind(addresses[1]).unwrap();
            let error = LocalBroker::start(addresses.clone(), 1 << 20)
                .await
                .unwrap_err();
            let at = |error: &BrokerError| match error {
                BrokerError::Taken { address, .. } => Some(*address),
                BrokerError::Failed(_) => None,
            };
            assert_eq!(at(&error), Some(addresses[1]), "{error}");
            drop(TcpListener::bind(addresses[0]).expect("was not taken"));
            drop(held);

            let broker = LocalBroker::start(addresses.clone(), 1 << 20)
                .await
                .unwrap();
            assert!(broker.is_alive());
            let error = LocalBroker::start(addresses.clone(), 1 << 20)
                .await
                .unwrap_err();
            assert_eq!(at(&error), Some(addresses[0]), "{error}");
            drop(broker);
            for address in addresses {
                TcpListener::bind(address).expect("is free again");
            }
        });
    }
}
