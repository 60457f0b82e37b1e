//! Nodes that talk through an MQTT broker.
//!
//! All traffic with the broker is one task's, on the node's own thread: a
//! message passes from one to the other without a system call. A flood of
//! messages delays nobody, because a turn of the task is one read; what may
//! take long (names, certificates) is done elsewhere. The rule on both sides
//! is that nobody waits: what does not fit into a bounded queue is dropped,
//! and the node is told of a gap.
//!
//! A node hears what it says itself, as from any broker: this is how it knows
//! that the broker has it. With MQTT 5 the broker is spared that, and `echo`
//! stands in for it.
//!
//! The connection is ours, from the socket on; of rumqttc only its packets
//! are used. Its event loop loses what waits when a connection breaks, writes
//! each message by itself and does not read while it writes.

mod dice;
mod echo;
#[cfg(feature = "broker")]
mod host;
mod link;
mod packet;
#[cfg(test)]
mod scripted;
mod session;
mod talk;
mod topics;
mod transport;
mod words;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::backend::{Backend, Input};
use crate::config;
use crate::event::{Effect, NodeName};
use crate::wire::cluster::Topic;

use dice::Dice;
use link::{End, Link};
use packet::LARGEST;

/// Smallest packet limit that works, in bytes.
const SMALLEST: usize = 4096;
/// Longest client id, in bytes.
const CLIENT_ID: usize = 100;

/// What the backend needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// The broker
    pub mqtt: config::Mqtt,
    /// The levels that the network's topics begin with
    pub root: Vec<String>,
    /// This node's name
    pub node: NodeName,
    /// What the broker tells the others on topic `info` when this node has
    /// gone, and what it says itself when it goes: an encoded message
    pub will: Vec<u8>,
}

/// The way to the other nodes over an MQTT broker. Dropping it breaks the
/// connection, as a crash does; see [`Closing`] for the other way.
#[derive(Debug)]
pub struct MqttBackend {
    link: Arc<Link>,
    /// What has come and is the node's already
    batch: VecDeque<Input>,
    /// Who talks to the broker, unless it is a thread
    task: JoinSet<()>,
}

/// Ends a backend in order.
#[derive(Debug)]
pub struct Closing {
    link: Arc<Link>,
    done: oneshot::Receiver<()>,
}

impl MqttBackend {
    /// Starts to connect to the broker, and goes on for ever, as a task of
    /// this thread.
    ///
    /// # Panics
    /// Outside of a [`LocalSet`](tokio::task::LocalSet).
    #[must_use]
    pub fn start_local(options: Options) -> (Self, Closing) {
        let (talker, mut backend, closing) = Self::new(options);
        backend.task.spawn_local(talker.talk());
        (backend, closing)
    }

    /// The same on a thread of its own, for those who have no runtime.
    ///
    /// # Errors
    /// If the system has no thread.
    pub fn start(options: Options) -> io::Result<(Self, Closing)> {
        let (talker, backend, closing) = Self::new(options);
        std::thread::Builder::new()
            .name("mqtt".to_owned())
            .spawn(move || talk::run(talker.talk()))?;
        Ok((backend, closing))
    }

    fn new(options: Options) -> (Talker, Self, Closing) {
        let link = Arc::new(Link::default());
        let (end, done) = oneshot::channel();
        let talker = Talker {
            setup: Arc::new(Setup::new(options)),
            link: Arc::clone(&link),
            end,
        };
        let closing = Closing {
            link: Arc::clone(&link),
            done,
        };
        let backend = Self {
            link,
            batch: VecDeque::new(),
            task: JoinSet::new(),
        };
        (talker, backend, closing)
    }
}

/// Who talks to the broker.
#[derive(Debug)]
struct Talker {
    setup: Arc<Setup>,
    link: Arc<Link>,
    end: oneshot::Sender<()>,
}

impl Talker {
    async fn talk(self) {
        talk::keep_talking(&self.setup, &self.link).await;
        // nobody may wait for it
        let _ = self.end.send(());
    }
}

impl Backend for MqttBackend {
    fn take(&mut self, effect: Effect) {
        self.link.take(effect);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        loop {
            if let Some(input) = self.batch.pop_front() {
                return Poll::Ready(input);
            }
            ready!(self.link.poll_incoming(cx, &mut self.batch));
        }
    }
}

impl Drop for MqttBackend {
    fn drop(&mut self) {
        self.link.end(End::Drop);
    }
}

impl Closing {
    /// Sends what waits, says that this node has gone and disconnects; takes
    /// a few seconds at most. The backend must live until then.
    pub async fn close(self) {
        self.link.end(End::Close);
        // an error: it is gone already
        let _ = self.done.await;
    }
}

/// What all connections have in common.
#[derive(Debug)]
struct Setup {
    config: config::Mqtt,
    node: NodeName,
    client: String,
    /// In seconds
    keep_alive: u16,
    /// Greatest packet, both ways
    packet: usize,
    /// Greatest part of a message
    part: usize,
    /// What the network's topics begin with
    prefix: String,
    /// The network's topics, as in [`Topic::ALL`]
    topics: [String; 4],
    will: Vec<u8>,
}

impl Setup {
    fn new(options: Options) -> Self {
        let Options {
            mqtt: config,
            root,
            node,
            will,
        } = options;
        let prefix: String = root
            .iter()
            .flat_map(|level| [level.as_str(), "/"])
            .collect();
        let packet = config.packet.get().clamp(SMALLEST, LARGEST);
        Self {
            client: client_id(&root, &node, &mut Dice::random()),
            keep_alive: u16::try_from(config.keep_alive.get().as_secs())
                .unwrap_or(u16::MAX)
                .max(1),
            packet,
            part: config.part.get(),
            topics: Topic::ALL.map(|topic| format!("{prefix}{}", topic.word())),
            prefix,
            will,
            node,
            config,
        }
    }

    /// The full name of one of the network's topics.
    fn topic(&self, topic: Topic) -> &str {
        let [update, info, ping, del] = &self.topics;
        match topic {
            Topic::Update => update,
            Topic::Info => info,
            Topic::Ping => ping,
            Topic::Del => del,
        }
    }

    /// Which of the network's topics this is, if any.
    fn own_topic(&self, name: &str) -> Option<Topic> {
        Topic::from_word(name.strip_prefix(self.prefix.as_str())?)
    }

    /// The broker's place, for people.
    fn place(&self) -> String {
        let uri = &self.config.uri;
        match uri.host().contains(':') {
            true => format!("[{}]:{}", uri.host(), uri.port()),
            false => format!("{}:{}", uri.host(), uri.port()),
        }
    }
}

/// A name that no other client of the broker has, not even an earlier run of
/// this node: of two with the same, the broker throws one out.
fn client_id(root: &[String], node: &NodeName, dice: &mut Dice) -> String {
    let network = root.join(".");
    let name: String = format!("moat-{network}-{node}")
        .chars()
        .map(|c| match c {
            '-' | '.' | '_' => c,
            c if c.is_ascii_alphanumeric() => c,
            _ => '_',
        })
        .take(CLIENT_ID)
        .collect();
    format!("{name}-{:016x}", dice.next())
}

#[allow(clippy::disallowed_methods)] // the shell's clock
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(root: &str) -> Setup {
        Setup::new(Options {
            mqtt: config::Mqtt::default(),
            root: root.split('/').map(str::to_owned).collect(),
            node: NodeName::new("test"),
            will: Vec::new(),
        })
    }

    #[test]
    fn a_network_has_four_topics() {
        let setup = setup("moat/kv");
        assert_eq!(setup.topic(Topic::Update), "moat/kv/update");
        assert_eq!(setup.topic(Topic::Del), "moat/kv/del");
        for topic in Topic::ALL {
            assert_eq!(setup.own_topic(setup.topic(topic)), Some(topic));
        }
        for other in [
            "update",
            "moat/kv",
            "moat/kv/updates",
            "moat/kv/a/update",
            "x/moat/kv/info",
        ] {
            assert_eq!(setup.own_topic(other), None, "{other}");
        }
    }

    #[test]
    fn a_client_id_is_unique_short_and_plain() {
        let root = ["moat".to_owned(), "küche".to_owned()];
        let node = NodeName::new(&"name/".repeat(100));
        let (a, b) = (
            client_id(&root, &node, &mut Dice::random()),
            client_id(&root, &node, &mut Dice::random()),
        );
        assert_ne!(a, b);
        assert!(a.starts_with("moat-moat.k_che-name_name_"), "{a}");
        assert!(a.len() <= CLIENT_ID + 17);
    }

    #[test]
    fn limits_that_cannot_work_are_not_taken() {
        let mut mqtt = config::Mqtt::default();
        assert_eq!(setup("a").keep_alive, 10);
        mqtt.packet = serde_json::from_str("0").unwrap();
        mqtt.keep_alive = serde_json::from_str("0.5").unwrap();
        let setup = Setup::new(Options {
            mqtt,
            root: vec!["a".to_owned()],
            node: NodeName::new("a"),
            will: Vec::new(),
        });
        assert_eq!((setup.packet, setup.keep_alive), (SMALLEST, 1));
    }
}
