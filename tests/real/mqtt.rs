//! Nodes' ways to each other through real brokers: Mosquitto, the broker
//! inside the server, and another maker's.

#![allow(
    clippy::disallowed_methods,
    reason = "tests measure and limit the real time that programs take"
)]

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use moat::backend::mqtt::{Closing, MqttBackend, Options};
use moat::backend::{Backend as _, Input};
use moat::config::{self, Environment, Setting, Sources};
use moat::event::{
    ChainEnd, Effect, Event, Hail, Info, NamedLink, NodeName, PeerMessage, Say, Tick, Tock, Turn,
    Update,
};
use moat::path::Path;
use moat::wire::cluster;

use crate::support::original::Broker;
use crate::support::process::{Process, command, run};
use crate::support::{PATIENCE, free_port};
use crate::{Needs, Tests};

pub(crate) fn add(tests: &mut Tests, broker_port: u16) {
    let versions = ["3.1.1", "5"];
    for version in versions {
        tests.add(
            &format!("mqtt::nodes_hear_each_other_{version}"),
            Needs::Mosquitto,
            move || nodes_hear_each_other(broker_port, version),
        );
        tests.add(
            &format!("mqtt::a_burst_arrives_{version}"),
            Needs::Mosquitto,
            move || a_burst_arrives(broker_port, version),
        );
        tests.add(
            &format!("mqtt::long_messages_arrive_{version}"),
            Needs::Mosquitto,
            move || long_messages_arrive(broker_port, version),
        );
        tests.add(
            &format!("mqtt::clients_hear_what_they_want_{version}"),
            Needs::Mosquitto,
            move || clients_hear_what_they_want(broker_port, version),
        );
        tests.add(
            &format!("mqtt::the_broker_tells_of_a_crash_{version}"),
            Needs::Mosquitto,
            move || the_broker_tells_of_a_crash(broker_port, version),
        );
        tests.add(
            &format!("mqtt::who_closes_says_so_{version}"),
            Needs::Mosquitto,
            move || who_closes_says_so(broker_port, version),
        );
        tests.add(
            &format!("mqtt::a_broker_may_go_and_come_{version}"),
            Needs::Mosquitto,
            move || a_broker_may_go_and_come(version),
        );
    }
    tests.add(
        "mqtt::what_is_no_message_of_ours_harms_nobody",
        Needs::Mosquitto,
        move || what_is_no_message_of_ours_harms_nobody(broker_port),
    );
    for scheme in ["mqtts", "wss"] {
        for version in versions {
            tests.add(
                &format!("mqtt::{scheme}_proves_who_is_who_{version}"),
                Needs::Certificates,
                move || tls_proves_who_is_who(scheme, version),
            );
        }
    }
    for version in versions {
        tests.add(
            &format!("mqtt::a_login_may_be_wanted_{version}"),
            Needs::Mosquitto,
            move || a_login_may_be_wanted(version),
        );
    }
    // with the old version, which is all that it knows
    for version in ["3.1.1", "auto"] {
        tests.add(
            &format!("mqtt::nats_is_a_broker_{version}"),
            Needs::Nats,
            move || nats_is_a_broker(version),
        );
    }
    for version in versions {
        tests.add(
            &format!("mqtt::a_server_is_the_broker_{version}"),
            Needs::Nothing,
            move || a_server_is_the_broker(version),
        );
    }
    tests.add(
        "mqtt::another_server_follows_the_broker",
        Needs::Nothing,
        another_server_follows_the_broker,
    );
    for version in versions {
        tests.add(
            &format!("mqtt::a_burst_arrives_through_the_server_{version}"),
            Needs::Nothing,
            move || a_burst_arrives_through_the_server(version),
        );
        tests.add(
            &format!("mqtt::a_silent_broker_is_given_up_{version}"),
            Needs::Mosquitto,
            move || a_silent_broker_is_given_up(version),
        );
        tests.add(
            &format!("mqtt::clients_hear_the_network_once_{version}"),
            Needs::Mosquitto,
            move || clients_hear_the_network_once(at(broker_port, version), version),
        );
        tests.add(
            &format!("mqtt::clients_hear_the_network_once_through_the_server_{version}"),
            Needs::Nothing,
            move || clients_hear_the_network_once(alone(free_port(), version), version),
        );
    }
}

/// The configuration with `server.mqtt` set so.
fn configured(settings: &[String]) -> config::Mqtt {
    let sources = Sources {
        files: Vec::new(),
        settings: settings
            .iter()
            .map(|setting| Setting::Conf(format!("server.mqtt.{setting}")))
            .collect(),
    };
    let nothing = |_: &str| None;
    let loaded = config::load(&sources, &Environment::new(&nothing)).unwrap();
    loaded.config.kv.server.mqtt
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A node, as far as its backend is concerned.
struct Peer {
    name: NodeName,
    backend: MqttBackend,
    closing: Closing,
    waker: Waker,
}

impl Peer {
    fn start(name: &str, root: &str, mqtt: config::Mqtt) -> Self {
        let name = NodeName::new(name);
        let mut will = Vec::new();
        cluster::encode(&gone(&name), &mut will);
        let (backend, closing) = MqttBackend::start(Options {
            mqtt,
            root: root.split('/').map(str::to_owned).collect(),
            node: name.clone(),
            will,
        })
        .unwrap();
        Self {
            name,
            backend,
            closing,
            waker: Waker::from(Arc::new(Unpark(std::thread::current()))),
        }
    }

    /// Starts one and waits until it is up.
    fn up(name: &str, root: &str, mqtt: config::Mqtt) -> Self {
        let mut peer = Self::start(name, root, mqtt);
        peer.wait_for("up", |input| *input == Input::Up);
        peer
    }

    /// The next input, if there is one in time.
    fn next(&mut self, until: Instant) -> Option<Input> {
        loop {
            let mut cx = Context::from_waker(&self.waker);
            if let Poll::Ready(input) = self.backend.poll(&mut cx) {
                return Some(input);
            }
            let left = until.checked_duration_since(Instant::now())?;
            std::thread::park_timeout(left);
        }
    }

    /// Waits for an input, and forgets those before it.
    fn wait_for(&mut self, what: &str, mut is_it: impl FnMut(&Input) -> bool) -> Input {
        let until = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        while let Some(input) = self.next(until) {
            if is_it(&input) {
                return input;
            }
            others.push(input);
        }
        others.truncate(20);
        panic!("{}: not {what}, but {others:?}", self.name);
    }

    fn hears(&mut self, message: &PeerMessage) {
        self.wait_for(
            "the message",
            |input| matches!(input, Input::Peer(heard) if **heard == *message),
        );
    }

    /// Everything that comes until this node hears itself say `last`.
    fn until(&mut self, last: u64) -> Vec<Input> {
        let mark = turn(&format!("mark{last}"));
        self.tell(mark.clone());
        let until = Instant::now() + PATIENCE;
        let mut inputs = Vec::new();
        while let Some(input) = self.next(until) {
            if matches!(&input, Input::Peer(heard) if **heard == mark) {
                return inputs;
            }
            inputs.push(input);
        }
        panic!("{}: no mark after {} inputs", self.name, inputs.len());
    }

    fn tell(&mut self, message: PeerMessage) {
        self.backend.take(Effect::Tell(Box::new(message)));
    }

    fn send(&mut self, topic: &str, payload: &[u8]) {
        self.backend.take(Effect::Send {
            topic: levels(topic),
            payload: payload.to_vec(),
        });
    }

    fn close(self) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().unwrap();
        runtime.block_on(self.closing.close());
        drop(self.backend);
    }
}

fn levels(topic: &str) -> Vec<String> {
    topic.split('/').map(str::to_owned).collect()
}

fn gone(name: &NodeName) -> PeerMessage {
    PeerMessage::Info(Info {
        node: name.clone(),
        hail: Some(Hail {
            say: Say::Gone,
            boot: 7,
            addr: Vec::new(),
            sum: None,
        }),
        ..Info::default()
    })
}

fn turn(name: &str) -> PeerMessage {
    PeerMessage::Ping(Turn::Init(NodeName::new(name)))
}

/// A change with a value of that many bytes.
fn update(name: &str, tick: u64, size: u32) -> PeerMessage {
    let mut value = vec![0xc6];
    value.extend_from_slice(&size.to_be_bytes());
    value.resize(value.len() + size as usize, 7);
    PeerMessage::Update(Update {
        event: Event {
            path: (&"a.b".parse::<Path>().unwrap()).into(),
            chain: vec![NamedLink {
                node: NodeName::new(name),
                tick: Tick(tick),
            }],
            end: ChainEnd::Start,
            tock: Tock(tick),
            value: Some(value.into()),
        },
        again: None,
    })
}

fn message(topic: &str, payload: &[u8]) -> Input {
    Input::Message {
        topic: levels(topic),
        payload: payload.to_vec(),
    }
}

fn at(port: u16, version: &str) -> config::Mqtt {
    configured(&[
        format!("uri=mqtt://localhost:{port}"),
        format!("version={version}"),
        "embedded=never".to_owned(),
    ])
}

/// A root of one test alone: they share a broker.
fn root(test: &str, version: &str) -> String {
    format!("test/{test}-{version}")
}

fn nodes_hear_each_other(port: u16, version: &str) {
    let root = root("hear", version);
    let mut a = Peer::up("a", &root, at(port, version));
    let mut b = Peer::up("b", &root, at(port, version));
    let del = PeerMessage::Del(Turn::Init(NodeName::new("a")));
    for said in [update("a", 1, 10), gone(&a.name), turn("a"), del] {
        a.tell(said.clone());
        b.hears(&said);
        a.hears(&said);
    }
    b.tell(update("b", 1, 3));
    a.hears(&update("b", 1, 3));
}

fn a_burst_arrives(port: u16, version: &str) {
    let root = root("burst", version);
    let mut a = Peer::up("a", &root, at(port, version));
    let mut b = Peer::up("b", &root, at(port, version));
    burst(&mut a, &mut b);
}

/// What one says in a burst both hear, in order.
fn burst(a: &mut Peer, b: &mut Peer) {
    const COUNT: u64 = 20_000;
    let from = a.name.as_str().to_owned();
    for tick in 1..=COUNT {
        a.tell(update(&from, tick, 60));
    }
    for peer in [b, a] {
        let is_said =
            |input: &Input| matches!(input, Input::Peer(m) if matches!(**m, PeerMessage::Ping(_)));
        for tick in 1..=COUNT {
            let wanted = Input::Peer(Box::new(update(&from, tick, 60)));
            let until = Instant::now() + PATIENCE;
            let got = std::iter::from_fn(|| peer.next(until)).find(|input| !is_said(input));
            assert!(got.as_ref() == Some(&wanted), "{tick}: {got:?}");
        }
    }
}

fn long_messages_arrive(port: u16, version: &str) {
    let root = root("long", version);
    let mut mqtt = at(port, version);
    let limit: u32 = 100_000;
    mqtt.packet = configured(&[format!("packet={limit}")]).packet;
    let mut a = Peer::up("a", &root, mqtt.clone());
    let mut b = Peer::up("b", &root, mqtt);
    // in parts, far beyond what a packet holds
    let long = update("a", 1, 3_000_000);
    a.tell(long.clone());
    b.hears(&long);
    // whole, up to the limit
    b.backend.take(Effect::Subscribe(levels("test/long/#")));
    assert_eq!(b.until(1), []);
    let topic = format!("test/long/{version}");
    let fits = limit as usize - topic.len() - 8;
    a.send(&topic, &vec![1; fits]);
    b.wait_for("a message", |i| *i == message(&topic, &vec![1; fits]));
    // what is longer is not sent, and cuts nobody off
    a.send(&topic, &vec![2; limit as usize]);
    a.send(&topic, b"next");
    let next = b.next(Instant::now() + PATIENCE);
    assert_eq!(next, Some(message(&topic, b"next")));
    // what others send is passed over, and told
    let mut large = Peer::up("c", &root, at(port, version));
    large.send(&topic, &vec![3; limit as usize]);
    large.send(&topic, b"last");
    let next = b.next(Instant::now() + PATIENCE);
    if version == "5" {
        // such a broker does not even send it
        assert_eq!(next, Some(message(&topic, b"last")));
    } else {
        assert_eq!(next, Some(Input::Gap));
        let next = b.next(Instant::now() + PATIENCE);
        assert_eq!(next, Some(message(&topic, b"last")));
    }
}

fn clients_hear_what_they_want(port: u16, version: &str) {
    let root = root("clients", version);
    let topic = format!("{root}-elsewhere/x");
    let mut a = Peer::up("a", &root, at(port, version));
    let mut b = Peer::up("b", &root, at(port, version));
    a.send(&topic, b"0");
    // in order: who listens first hears what is sent then
    let below = levels(&format!("{root}-elsewhere/#"));
    a.backend.take(Effect::Subscribe(below.clone()));
    a.send(&topic, b"1");
    a.wait_for("its own message", |i| *i == message(&topic, b"1"));
    assert_eq!(a.until(1), []);
    b.send(&topic, b"2");
    a.wait_for("b's message", |i| *i == message(&topic, b"2"));
    // what is said between nodes, clients may hear too, once
    a.backend
        .take(Effect::Subscribe(levels(&format!("{root}/#"))));
    a.backend
        .take(Effect::Subscribe(levels(&format!("{root}/+"))));
    let said = update("a", 1, 3);
    a.tell(said.clone());
    let mut payload = Vec::new();
    cluster::encode(&said, &mut payload);
    let heard: Vec<Input> = a.until(2);
    let own = message(&format!("{root}/update"), &payload);
    let wanted = [Input::Peer(Box::new(said)), own];
    assert_eq!(heard, wanted);
    // however often it is wanted
    a.backend.take(Effect::Subscribe(levels(&topic)));
    a.send(&topic, b"1 of 1");
    let heard = a.until(6);
    let times = heard.iter().filter(|i| **i == message(&topic, b"1 of 1"));
    assert_eq!(times.count(), 1);
    a.backend.take(Effect::Unsubscribe(levels(&topic)));
    // not any more
    a.backend.take(Effect::Unsubscribe(below));
    a.until(3);
    b.send(&topic, b"3");
    b.until(4);
    let rest = a.until(5);
    assert!(!rest.contains(&message(&topic, b"3")), "{rest:?}");
}

/// What its own node says, and what another one does, by the topic's name
/// and by a wider filter.
fn clients_hear_the_network_once(mqtt: config::Mqtt, version: &str) {
    let root = root("network", version);
    let topic = format!("{root}/update");
    let mut a = Peer::up("a", &root, mqtt.clone());
    let mut b = Peer::up("b", &root, mqtt);
    let everything = levels("#");
    let name = levels(&topic);
    for (tick, subscribe, unsubscribe) in [
        (1, vec![&name], vec![]),
        (2, vec![&everything], vec![]),
        (3, vec![], vec![&name]),
        (4, vec![&name], vec![&everything]),
    ] {
        for filter in subscribe {
            a.backend.take(Effect::Subscribe(filter.clone()));
        }
        for filter in unsubscribe {
            a.backend.take(Effect::Unsubscribe(filter.clone()));
        }
        // the broker has done it
        a.until(2 * tick);
        for speaker in ["a", "b"] {
            let said = update(speaker, tick, 3);
            let mut payload = Vec::new();
            cluster::encode(&said, &mut payload);
            let wanted = [
                Input::Peer(Box::new(said.clone())),
                message(&topic, &payload),
            ];
            match speaker {
                "a" => a.tell(said),
                _ => b.tell(said),
            }
            let mut heard = Vec::new();
            while !wanted.iter().all(|input| heard.contains(input)) {
                heard.push(a.wait_for("a message", |_| true));
            }
            // what comes through the broker comes in order
            let mark = turn(&format!("{speaker}{tick}"));
            b.tell(mark.clone());
            let mark = Input::Peer(Box::new(mark));
            while heard.last() != Some(&mark) {
                heard.push(a.wait_for("a message", |_| true));
            }
            let [_, for_client] = &wanted;
            let times = heard.iter().filter(|input| *input == for_client);
            assert_eq!(times.count(), 1, "{speaker}{tick}: {heard:?}");
        }
    }
}

fn the_broker_tells_of_a_crash(port: u16, version: &str) {
    let root = root("crash", version);
    let a = Peer::up("a", &root, at(port, version));
    let mut b = Peer::up("b", &root, at(port, version));
    let gone = gone(&a.name);
    drop(a);
    b.hears(&gone);
}

fn who_closes_says_so(port: u16, version: &str) {
    let root = root("close", version);
    let mut a = Peer::up("a", &root, at(port, version));
    let mut b = Peer::up("b", &root, at(port, version));
    for tick in 1..=1000 {
        a.tell(update("a", tick, 100));
    }
    let gone = Input::Peer(Box::new(gone(&a.name)));
    a.close();
    let mut count = 0;
    b.wait_for("gone", |input| {
        count += 1;
        *input == gone
    });
    assert_eq!(count, 1001, "what waited was sent before");
    let rest = b.until(1);
    assert!(!rest.contains(&gone), "the broker has forgotten the will");
}

fn a_broker_may_go_and_come(version: &str) {
    let broker = Broker::start().unwrap();
    let port = broker.port;
    let root = root("come", version);
    let mut a = Peer::up("a", &root, at(port, version));
    let mut b = Peer::up("b", &root, at(port, version));
    a.backend.take(Effect::Subscribe(levels("x/y")));
    assert_eq!(a.until(1), []);
    drop(broker);
    for peer in [&mut a, &mut b] {
        peer.wait_for("down", |input| *input == Input::Down);
    }
    // lost, and known to be
    a.tell(update("a", 1, 1));
    // a client's message waits
    b.send("x/y", b"waited");
    let _broker = Broker::start_at(port, "").unwrap();
    b.wait_for("up", |input| *input == Input::Up);
    a.wait_for("up", |input| *input == Input::Up);
    b.send("x/y", b"sent");
    a.wait_for("the client's topic", |i| *i == message("x/y", b"sent"));
    b.tell(update("b", 1, 1));
    a.hears(&update("b", 1, 1));
    a.tell(update("a", 2, 1));
    let first = b.wait_for("a's change", |input| {
        matches!(input, Input::Peer(m) if matches!(&**m, PeerMessage::Update(u)
            if u.event.chain[0].node.as_str() == "a"))
    });
    assert_eq!(first, Input::Peer(Box::new(update("a", 2, 1))));
}

fn what_is_no_message_of_ours_harms_nobody(port: u16) {
    let mut a = Peer::up("a", "test/ours", at(port, "3.1.1"));
    let mut b = Peer::up("b", "test/other", at(port, "5"));
    for word in ["update", "info", "ping", "del"] {
        for payload in [
            &b""[..],
            b"\xc1",
            b"text",
            b"\x80",
            &[0xdd, 0xff, 0xff, 0xff, 0xff],
        ] {
            b.send(&format!("test/ours/{word}"), payload);
        }
    }
    // another network's talk
    b.tell(update("b", 1, 1));
    b.until(1);
    let said = a.until(2);
    let is_harmless = |input: &Input| match input {
        // an empty map says nothing
        Input::Peer(message) => {
            matches!(&**message, PeerMessage::Info(info) if info.tick.is_none())
        }
        _ => false,
    };
    assert!(said.iter().all(is_harmless), "{said:?}");
    // what would be taken for an attack
    for topic in ["", "#", "a/+", "a\0b"] {
        a.send(topic, b"x");
        a.backend.take(Effect::Subscribe(levels("a/#/b")));
    }
    assert_eq!(a.until(3), []);
}

fn a_silent_broker_is_given_up(version: &str) {
    use rustix::process::Signal;
    let mut broker = Broker::start().unwrap();
    let mut mqtt = at(broker.port, version);
    mqtt.keep_alive = configured(&["keep_alive=1".to_owned()]).keep_alive;
    let mut a = Peer::up("a", "test/silent", mqtt);
    let idle = Duration::from_millis(2500);
    assert_eq!(a.next(Instant::now() + idle), None, "it is there, if idle");
    broker.signal(Signal::STOP);
    a.wait_for("down", |input| *input == Input::Down);
    broker.signal(Signal::CONT);
    a.wait_for("up", |input| *input == Input::Up);
}

/// A server that is the broker if nobody else is.
fn alone(port: u16, version: &str) -> config::Mqtt {
    configured(&[
        format!("uri=mqtt://localhost:{port}"),
        format!("version={version}"),
        "embedded=always".to_owned(),
    ])
}

fn a_server_is_the_broker(version: &str) {
    let port = free_port();
    let root = root("alone", version);
    let mut a = Peer::up("a", &root, alone(port, version));
    let mut b = Peer::up("b", &root, alone(port, version));
    let mut c = Peer::up("c", &root, at(port, version));
    let long = update("b", 1, 3_000_000);
    b.tell(long.clone());
    for peer in [&mut a, &mut b, &mut c] {
        peer.hears(&long);
    }
    c.backend.take(Effect::Subscribe(levels("x/#")));
    c.until(1);
    a.send("x/y", b"to c");
    c.wait_for("a's message", |i| *i == message("x/y", b"to c"));
    let crash = gone(&b.name);
    drop(b);
    c.hears(&crash);
    // who is the broker tells all before it ends
    let gone = gone(&a.name);
    a.close();
    c.hears(&gone);
    c.wait_for("down", |input| *input == Input::Down);
}

fn another_server_follows_the_broker() {
    let port = free_port();
    let root = "test/follow";
    let owner = Peer::up("a", root, alone(port, "3.1.1"));
    let mut others: Vec<_> = ["b", "c", "d"]
        .map(|name| Peer::up(name, root, alone(port, "3.1.1")))
        .into();
    drop(owner);
    for peer in &mut others {
        peer.wait_for("down", |input| *input == Input::Down);
        peer.wait_for("up", |input| *input == Input::Up);
    }
    let said = update("c", 9, 9);
    others[1].tell(said.clone());
    for peer in &mut others {
        peer.hears(&said);
    }
}

fn a_burst_arrives_through_the_server(version: &str) {
    let port = free_port();
    let mut a = Peer::up("a", "test/within", alone(port, version));
    let mut b = Peer::up("b", "test/within", alone(port, version));
    burst(&mut a, &mut b);
    burst(&mut b, &mut a);
}

/// Certificates in a directory: `ca` vouches for `server` and `client`,
/// `other` for nobody.
fn certificates() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let openssl = |arguments: &str| {
        let mut command = command("openssl");
        command.args(arguments.split(' ')).current_dir(dir.path());
        let done = run("openssl", &mut command, None, PATIENCE).unwrap();
        assert!(done.status.success(), "{arguments}: {}", done.stderr);
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    for ca in ["ca", "other"] {
        openssl(&format!(
            "req -x509 {key} -keyout {ca}.key -out {ca}.pem -subj /CN={ca} \
             -addext basicConstraints=critical,CA:TRUE"
        ));
    }
    std::fs::write(
        dir.path().join("server.ext"),
        "subjectAltName=DNS:localhost",
    )
    .unwrap();
    std::fs::write(dir.path().join("client.ext"), "extendedKeyUsage=clientAuth").unwrap();
    for name in ["server", "client"] {
        openssl(&format!(
            "req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"
        ));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -out {name}.pem -extfile {name}.ext"
        ));
    }
    dir
}

fn tls_proves_who_is_who(scheme: &str, version: &str) {
    let dir = certificates();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let port = free_port();
    // beside a plain one, without which Mosquitto has no websockets, and for
    // websockets without an address
    let (address, protocol) = match scheme {
        "wss" => ("", "websockets"),
        _ => ("127.0.0.1", "mqtt"),
    };
    let more = format!(
        "listener {port} {address}\nprotocol {protocol}\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true",
        file("ca.pem"),
        file("server.pem"),
        file("server.key"),
    );
    let _broker = Broker::start_at(free_port(), &more).unwrap();
    let with = |ca: &str, own: &[&str]| {
        let mut settings = vec![
            format!("uri={scheme}://localhost:{port}"),
            format!("version={version}"),
            format!("cafile={}", file(ca)),
        ];
        for own in own {
            let key = if own.ends_with("key") {
                "keyfile"
            } else {
                "certfile"
            };
            settings.push(format!("{key}={}", file(own)));
        }
        configured(&settings)
    };
    let own = ["client.pem", "client.key"];
    // whoever is not known, or does not know the broker, never gets in
    let mut strangers = [
        Peer::start("x", "test/tls", with("ca.pem", &[])),
        Peer::start("y", "test/tls", with("other.pem", &own)),
    ];
    let mut a = Peer::up("a", "test/tls", with("ca.pem", &own));
    let mut b = Peer::up("b", "test/tls", with("ca.pem", &own));
    let said = update("a", 1, 200_000);
    a.tell(said.clone());
    b.hears(&said);
    for tick in 1..5000 {
        a.tell(update("a", tick, 50));
    }
    for tick in 1..5000 {
        let wanted = Input::Peer(Box::new(update("a", tick, 50)));
        assert_eq!(b.next(Instant::now() + PATIENCE), Some(wanted));
    }
    let gone = gone(&a.name);
    a.close();
    b.hears(&gone);
    for stranger in &mut strangers {
        assert_eq!(stranger.next(Instant::now()), None);
    }
}

fn a_login_may_be_wanted(version: &str) {
    let dir = tempfile::tempdir().unwrap();
    let passwords = dir.path().join("passwords");
    let file = passwords.display().to_string();
    let mut make = command("mosquitto_passwd");
    make.args(["-b", "-c", file.as_str(), "j@e", "p:w/%d"]);
    let made = run("mosquitto_passwd", &mut make, None, PATIENCE).unwrap();
    assert!(made.status.success(), "{}", made.stderr);
    let port = free_port();
    let _broker = Broker::start_at(port, &format!("password_file {file}")).unwrap();
    let with = |login: &str| {
        configured(&[
            format!("uri=mqtt://{login}localhost:{port}"),
            format!("version={version}"),
        ])
    };
    let mut strangers =
        ["", "j%40e@", "j%40e:wrong@"].map(|login| Peer::start("x", "test/login", with(login)));
    let mut a = Peer::up("a", "test/login", with("j%40e:p:w%2f%25d@"));
    a.tell(turn("a"));
    a.hears(&turn("a"));
    for stranger in &mut strangers {
        assert_eq!(stranger.next(Instant::now()), None);
    }
}

fn nats_is_a_broker(version: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (own, port) = (free_port(), free_port());
    let config = dir.path().join("nats.conf");
    let text = format!(
        "listen: 127.0.0.1:{own}\nserver_name: test\njetstream {{ store_dir: {:?} }}\n\
         mqtt {{ host: 127.0.0.1, port: {port} }}\n",
        dir.path().join("store").display().to_string()
    );
    std::fs::write(&config, text).unwrap();
    let mut nats = command("nats-server");
    nats.arg("-c").arg(&config);
    let _nats = Process::start("nats-server", &mut nats, None);
    let mut a = Peer::up("a", "test/nats", at(port, version));
    let mut b = Peer::up("b", "test/nats", at(port, version));
    let long = update("b", 1, 3_000_000);
    b.tell(long.clone());
    a.hears(&long);
    b.hears(&long);
    b.backend.take(Effect::Subscribe(levels("x/+/z")));
    b.until(1);
    a.send("x/y/z", b"to b");
    b.wait_for("a's message", |i| *i == message("x/y/z", b"to b"));
    burst(&mut a, &mut b);
    let crash = gone(&a.name);
    drop(a);
    b.hears(&crash);
}
