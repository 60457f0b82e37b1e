//! Tests of a connection with a broker that does what the test says.

use std::future::{Future, poll_fn};
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{self, v5};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use super::*;
use crate::config::{BrokerUri, Embedded, MqttVersion};
use crate::event::{PeerMessage, Turn};
use crate::wire::cluster::encode;

const PATIENCE: Duration = Duration::from_secs(30);
/// The topic that a node's turns are on.
const PING: &str = "net/ping";
/// How brokers of version 3.1.1 accept and refuse.
const WELCOME_V311: [u8; 4] = [0x20, 2, 0, 0];
const UNKNOWN_V311: [u8; 4] = [0x20, 2, 0, 1];
const WELCOME_V5: [u8; 5] = [0x20, 3, 0, 0, 0];
const UNKNOWN_V5: [u8; 5] = [0x20, 3, 0, 0x84, 0];
const PONG: [u8; 2] = [0xd0, 0];

/// The broker and the node's backend.
struct Scene {
    listener: TcpListener,
    backend: MqttBackend,
    _closing: Closing,
}

impl Scene {
    async fn begin(version: MqttVersion) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (backend, closing) = MqttBackend::start_local(Options {
            mqtt: config::Mqtt {
                uri: BrokerUri::parse(&format!("mqtt://127.0.0.1:{port}")).unwrap(),
                version,
                embedded: Embedded::Never,
                ..config::Mqtt::default()
            },
            root: vec!["net".to_owned()],
            node: NodeName::new("test"),
            will: b"\x80".to_vec(),
        });
        Self {
            listener,
            backend,
            _closing: closing,
        }
    }

    /// The next connection, with the version that it wants.
    async fn connection(&self) -> (Connection, u8) {
        let (stream, _) = self.listener.accept().await.unwrap();
        let mut connection = Connection {
            stream,
            bytes: BytesMut::new(),
        };
        // the will's topic is far behind the version
        connection.reads(b"net/info").await;
        let name = connection.bytes.windows(4).position(|part| part == b"MQTT");
        let level = connection.bytes[name.unwrap() + 4];
        (connection, level)
    }

    /// One in version 5 that is accepted.
    async fn up(&mut self) -> Connection {
        let (mut broker, level) = self.connection().await;
        assert_eq!(level, 5);
        assert!(matches!(broker.next().await, v5::Packet::Connect(..)));
        broker.send(&WELCOME_V5).await;
        let (id, filters) = broker.subscription().await;
        let own = Topic::ALL.map(|topic| (format!("net/{}", topic.word()), true));
        assert_eq!(filters, own);
        broker.subscribed(id, 4).await;
        assert_eq!(self.input().await, Input::Up);
        broker
    }

    async fn input(&mut self) -> Input {
        poll_fn(|cx| self.backend.poll(cx)).await
    }

    fn tell(&mut self, number: u32) {
        self.backend.take(Effect::Tell(Box::new(said(number))));
    }

    fn subscribe(&mut self, filter: &str) {
        self.backend.take(Effect::Subscribe(levels(filter)));
    }
}

/// The broker's side of a connection.
struct Connection {
    stream: TcpStream,
    bytes: BytesMut,
}

impl Connection {
    async fn read(&mut self) {
        let n = self.stream.read_buf(&mut self.bytes).await.unwrap();
        assert_ne!(n, 0, "the connection is closed");
    }

    /// Waits for these bytes.
    async fn reads(&mut self, wanted: &[u8]) {
        while !self.bytes.windows(wanted.len()).any(|part| part == wanted) {
            self.read().await;
        }
    }

    async fn next(&mut self) -> v5::Packet {
        loop {
            match v5::Packet::read(&mut self.bytes, None) {
                Ok(packet) => return packet,
                Err(mqttbytes::Error::InsufficientBytes(_)) => self.read().await,
                Err(why) => panic!("{why}"),
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn message(&mut self, topic: &str, payload: &[u8]) {
        let mut out = BytesMut::new();
        assert!(packet::Version::V5.message(topic, payload, LARGEST, &mut out));
        self.send(&out).await;
    }

    /// The next packet, a subscription: its number, and of each filter
    /// whether it is without one's own messages.
    async fn subscription(&mut self) -> (u16, Vec<(String, bool)>) {
        match self.next().await {
            v5::Packet::Subscribe(packet) => {
                let filters = packet.filters.into_iter();
                (packet.pkid, filters.map(|f| (f.path, f.nolocal)).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    async fn subscribed(&mut self, id: u16, count: u8) {
        let [high, low] = id.to_be_bytes();
        self.send(&[0x90, count + 3, high, low, 0]).await;
        self.send(&vec![0; count.into()]).await;
    }

    /// The next packets are these messages and a ping.
    async fn takes(&mut self, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            match self.next().await {
                v5::Packet::Publish(packet) => assert_eq!(packet.payload, payload(number)),
                other => panic!("{other:?}, not {number}"),
            }
        }
        let next = self.next().await;
        assert!(matches!(next, v5::Packet::PingReq(_)), "{next:?}");
    }
}

fn levels(topic: &str) -> Vec<String> {
    topic.split('/').map(str::to_owned).collect()
}

fn said(number: u32) -> PeerMessage {
    PeerMessage::Ping(Turn::Init(NodeName::new(&number.to_string())))
}

fn payload(number: u32) -> Vec<u8> {
    let mut payload = Vec::new();
    encode(&said(number), &mut payload);
    payload
}

fn peer(number: u32) -> Input {
    Input::Peer(Box::new(said(number)))
}

fn client(topic: &str, number: u32) -> Input {
    Input::Message {
        topic: levels(topic),
        payload: payload(number),
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let test = tokio::time::timeout(PATIENCE, test);
        test.await.expect("in time");
    });
}

#[test]
fn what_was_said_is_handed_back_when_the_broker_has_it() {
    run(async {
        let mut scene = Scene::begin(MqttVersion::Auto).await;
        let mut broker = scene.up().await;
        for number in 1..=3 {
            scene.tell(number);
        }
        broker.takes(1..=3).await;
        // nothing has come back when another's message comes
        broker.message(PING, &payload(100)).await;
        assert_eq!(scene.input().await, peer(100));
        broker.send(&PONG).await;
        for number in 1..=3 {
            assert_eq!(scene.input().await, peer(number));
        }
        // what is not answered is never handed back
        scene.tell(4);
        broker.takes([4]).await;
        drop(broker);
        assert_eq!(scene.input().await, Input::Down);
        let mut broker = scene.up().await;
        scene.tell(5);
        broker.takes([5]).await;
        broker.send(&PONG).await;
        assert_eq!(scene.input().await, peer(5));
    });
}

#[test]
fn a_client_hears_what_nodes_say_once() {
    run(async {
        let mut scene = Scene::begin(MqttVersion::V5).await;
        let mut broker = scene.up().await;
        // one of the network's topics: the broker knows it, and is not asked
        scene.subscribe(PING);
        scene.tell(1);
        broker.takes([1]).await;
        broker.send(&PONG).await;
        assert_eq!(scene.input().await, peer(1));
        assert_eq!(scene.input().await, client(PING, 1));
        // what a client says there is for the node, too
        scene.backend.take(Effect::Send {
            topic: levels(PING),
            payload: payload(2),
        });
        broker.takes([2]).await;
        broker.send(&PONG).await;
        assert_eq!(scene.input().await, peer(2));
        assert_eq!(scene.input().await, client(PING, 2));
        // more than that: then all comes back
        scene.subscribe("#");
        let (id, filters) = broker.subscription().await;
        assert_eq!(filters, [("#".to_owned(), false)]);
        broker.subscribed(id, 1).await;
        scene.tell(3);
        broker.takes([3]).await;
        broker.message(PING, &payload(3)).await;
        broker.send(&PONG).await;
        assert_eq!(scene.input().await, peer(3));
        assert_eq!(scene.input().await, client(PING, 3));
        broker.message("x", &payload(4)).await;
        assert_eq!(scene.input().await, client("x", 4), "and nothing else");
    });
}

#[test]
fn a_flood_is_answered_by_few_pings() {
    run(async {
        const COUNT: u32 = 10_000;
        let mut scene = Scene::begin(MqttVersion::V5).await;
        let mut broker = scene.up().await;
        for number in 0..COUNT {
            scene.tell(number);
        }
        let (mut taken, mut pings) = (0, 0);
        let mut next = 0;
        while next < COUNT {
            match broker.next().await {
                v5::Packet::Publish(_) => taken += 1,
                v5::Packet::PingReq(_) => {
                    pings += 1;
                    broker.send(&PONG).await;
                    while next < taken {
                        assert_eq!(scene.input().await, peer(next));
                        next += 1;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(pings < COUNT / 100, "{pings}");
    });
}

#[test]
fn a_broker_of_the_old_version_is_spoken_to_in_it() {
    run(async {
        for refusal in [&UNKNOWN_V311[..], &UNKNOWN_V5, b""] {
            let mut scene = Scene::begin(MqttVersion::Auto).await;
            let (mut broker, level) = scene.connection().await;
            assert_eq!(level, 5);
            broker.send(refusal).await;
            drop(broker);
            // and this is remembered
            for _ in 0..2 {
                let (mut broker, level) = scene.connection().await;
                assert_eq!(level, 4);
                broker.send(&WELCOME_V311).await;
                broker.reads(b"net/del").await;
                broker.send(&[0x90, 6, 0, 1, 0, 0, 0, 0]).await;
                assert_eq!(scene.input().await, Input::Up);
                drop(broker);
                assert_eq!(scene.input().await, Input::Down);
            }
        }
    });
}
