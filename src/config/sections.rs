//! The sections: every key there is, with its meaning and its default.
//!
//! A default stands beside its key. To add a key, add a line here; files,
//! options, completion of misspelt keys and `moat util cfg` follow.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::{Deserializer, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::types::{
    Auth, BrokerUri, ConfigPath, Level, LogSync, MqttVersion, Place, Seconds, Size, Ssl,
};

/// Declares a section; each field's default follows its type.
macro_rules! section {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$field_meta:meta])* $field:ident: $type:ty = $default:expr,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Deserialize, Serialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

section! {
    /// The whole configuration.
    Config {
        /// The key-value store
        kv: Kv = Kv::default(),
        /// The environment of the program
        env: Env = Env::default(),
        /// What is logged
        logging: Logging = Logging::default(),
    }
}

section! {
    /// `kv`: the key-value store.
    Kv {
        /// How a client reaches a server
        conn: Conn = Conn::default(),
        /// Where servers keep configuration for clients
        config: Prefix = Prefix::new(":.moat.kv.config"),
        /// Where errors are recorded
        errors: Prefix = Prefix::new(":.moat.kv.error"),
        /// Where scripts are stored
        codes: Prefix = Prefix::new(":.moat.kv.code.proc"),
        /// Where modules are stored
        modules: Prefix = Prefix::new(":.moat.kv.code.module"),
        /// The job runner
        runner: Runner = Runner::default(),
        /// The server
        server: Server = Server::default(),
        /// Whether the types of updates from peers are checked
        paranoia: bool = false,
        /// The domain of nodes that `hostmap` doesn't name
        domain: Option<String> = None,
        /// Where nodes are reached: name → (host, port)
        hostmap: BTreeMap<String, Place> = BTreeMap::new(),
    }
}

section! {
    /// `kv.conn`: how a client reaches a server.
    Conn {
        /// Host name or address
        host: String = "localhost".to_owned(),
        /// TCP port
        port: u16 = super::DEFAULT_PORT,
        /// TLS
        ssl: Ssl = Ssl::Off,
        /// Limit for connecting and the server's greeting
        init_timeout: Seconds = Seconds::whole(5),
        /// How to log in
        auth: Option<Auth> = None,
        /// Name of this client; random if absent
        name: Option<String> = None,
        /// Longest frame that is read from a server
        frame: Size = Size::mib(100),
    }
}

/// A section that consists of a path.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Prefix {
    /// The path
    pub prefix: ConfigPath,
}

impl Prefix {
    fn new(path: &str) -> Self {
        Self {
            prefix: ConfigPath::known(path),
        }
    }
}

section! {
    /// `kv.runner`: the job runner.
    Runner {
        /// Where jobs are stored
        prefix: ConfigPath = ConfigPath::known(":.moat.kv.run"),
        /// Where their states are stored
        state: ConfigPath = ConfigPath::known(":.moat.kv.state"),
        /// Topic by which runners coordinate
        name: String = "run".to_owned(),
        /// Time between the starts of two jobs
        start_delay: Seconds = Seconds::whole(1),
        /// Seconds between "alive" messages; negative: sent as broadcast
        ping: i32 = -15,
        /// Timing of the runners' coordination
        #[serde(deserialize_with = "runner_actor")]
        actor: Actor = Actor::RUNNER,
        /// Names of the subtrees by kind of runner
        sub: RunnerSub = RunnerSub::default(),
    }
}

section! {
    /// `kv.runner.sub`: names of the subtrees by kind of runner.
    RunnerSub {
        /// Jobs that any node of a group runs
        group: String = "any".to_owned(),
        /// Jobs of one node
        single: String = "at".to_owned(),
        /// Jobs that all nodes run
        all: String = "all".to_owned(),
    }
}

section! {
    /// `kv.server`: the server.
    Server {
        /// Replies queued for one stream of a client that doesn't announce more
        buffer: u32 = 10,
        /// What connects the servers of a network
        backend: Backend = Backend::Mqtt,
        /// The MQTT broker
        mqtt: Mqtt = Mqtt::default(),
        /// The Serf agent
        serf: Serf = Serf::default(),
        /// Prefix of topics; separates networks
        root: ConfigPath = ConfigPath::known("moat.kv"),
        /// Whether the types of updates from peers are checked
        paranoia: bool = false,
        /// Where clients connect; see [`Server::listeners`]
        bind: Vec<Bind> = vec![Bind::default()],
        /// What elements of `bind` don't say
        bind_default: Bind = Bind::default(),
        /// Chains
        change: Change = Change::default(),
        /// Timing of the synchronisation of peers
        #[serde(deserialize_with = "ping_actor")]
        ping: Actor = Actor::PING,
        /// Timing of the agreement on deletions
        #[serde(deserialize_with = "delete_actor")]
        delete: Actor = Actor::DELETE,
        /// Watches
        watch: Watch = Watch::default(),
        /// Longest frame that is read from a client
        frame: Size = Size::mib(16),
        /// Largest value that a client may store
        value: Size = Size::mib(8),
        /// State files written while running
        log: Log = Log::default(),
        /// Directories of rotated state files
        keep: Keep = Keep::default(),
    }
}

/// `kv.server.backend`: what connects the servers of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Nothing: one server alone
    None,
    /// An MQTT broker
    Mqtt,
    /// Serf
    Serf,
}

section! {
    /// `kv.server.mqtt`: the MQTT broker.
    Mqtt {
        /// Where the broker is, and who logs in there
        uri: BrokerUri = BrokerUri::local(),
        /// The protocol
        version: MqttVersion = MqttVersion::Auto,
        /// Greatest silence after which the connection is probed
        keep_alive: Seconds = Seconds::whole(10),
        /// File with the certificates of those who may vouch for the broker;
        /// if none is given, those that the system trusts
        cafile: Option<PathBuf> = None,
        /// Directory of such files
        capath: Option<PathBuf> = None,
        /// Such certificates as text (PEM)
        cadata: Option<String> = None,
        /// File with our certificate chain
        certfile: Option<PathBuf> = None,
        /// File with its private key
        keyfile: Option<PathBuf> = None,
        /// Headers of a websocket's request
        extra_headers: BTreeMap<String, String> = BTreeMap::new(),
        /// No memory of earlier connections is kept, whatever stands here:
        /// files of the original have this key
        cleansession: bool = true,
        /// Greatest packet, both ways
        packet: Size = Size::mib(16),
        /// Changes and news of nodes that are longer go out in parts of this
        /// size
        part: Size = Size::kib(64),
        /// Whether the server may be the broker itself
        embedded: Embedded = Embedded::Auto,
        /// Where other hosts reach a broker that is in the server: `HOST` or
        /// `HOST:PORT`
        embedded_bind: Vec<String> = Vec::new(),
    }
}

/// `kv.server.mqtt.embedded`: whether the server may be the broker itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Embedded {
    /// If no URI is configured and nobody listens at the default one
    Auto,
    /// If nobody listens at the URI, and it is on this machine
    Always,
    /// Never
    Never,
}

section! {
    /// `kv.server.serf`: the Serf agent.
    Serf {
        /// Host name or address
        host: String = "localhost".to_owned(),
        /// TCP port
        port: u16 = 7373,
    }
}

/// One place where clients connect; what is absent comes from
/// `kv.server.bind_default`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Bind {
    /// Host name or address
    pub host: Option<String>,
    /// TCP port
    pub port: Option<u16>,
    /// TLS
    pub ssl: Option<Ssl>,
}

/// One place where clients connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Host name or address; absent: the server decides by what its network is
    pub host: Option<String>,
    /// TCP port
    pub port: u16,
    /// TLS
    pub ssl: Ssl,
}

impl Server {
    /// The elements of `bind`, each over `bind_default`.
    pub fn listeners(&self) -> impl Iterator<Item = Listener> + '_ {
        let default = &self.bind_default;
        self.bind.iter().map(move |bind| Listener {
            host: bind.host.as_ref().or(default.host.as_ref()).cloned(),
            port: bind.port.or(default.port).unwrap_or(super::DEFAULT_PORT),
            ssl: bind
                .ssl
                .as_ref()
                .or(default.ssl.as_ref())
                .cloned()
                .unwrap_or_default(),
        })
    }
}

section! {
    /// `kv.server.change`: chains.
    Change {
        /// Longest chain that is kept
        length: u32 = 5,
    }
}

section! {
    /// `kv.server.watch`: watches.
    Watch {
        /// Most bytes a watch may have unsent before it is ended
        buffer: Size = Size::mib(4),
    }
}

section! {
    /// `kv.server.log`: state files written while running.
    Log {
        /// Directories in which clients may open them; absent: any
        dirs: Option<Vec<PathBuf>> = None,
        /// What to do with writes that can't be logged
        on_error: OnLogError = OnLogError::Continue,
        /// When what was written is made to outlive a power cut: `never` by
        /// the server, `always` before it is acknowledged, or so many seconds
        /// later at the latest
        sync: LogSync = LogSync::Within(Seconds::whole(1)),
    }
}

/// `kv.server.log.on_error`: what to do with writes that can't be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLogError {
    /// Accept them
    Continue,
    /// Refuse them
    Refuse,
}

section! {
    /// `kv.server.keep`: directories of rotated state files.
    Keep {
        /// Time after which the next file is begun
        period: Seconds = Seconds::whole(900),
        /// Names of the directories that a full file and its successors share,
        /// by the time, as strftime has it
        date: String = "%Y-%m-%d-%H".to_owned(),
        /// Days for which all of them stay
        hourly: u32 = 10,
        /// Days for which the first of each day stays
        daily: u32 = 45,
        /// Days for which the first of each month stays
        monthly: u32 = 400,
    }
}

/// Timing of a group of nodes that take turns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Actor {
    /// Time in which each node has its turn once
    pub cycle: Seconds,
    /// Time between two turns
    pub gap: Seconds,
    /// Size of the group; negative: all that are there
    pub nodes: i32,
    /// How many splits of the network are expected
    pub splits: u32,
    /// How many hosts take part in choosing the next
    pub n_hosts: u32,
    /// Version of these settings; the highest one counts
    pub version: u32,
}

impl Actor {
    const BASE: Self = Self {
        cycle: Seconds::whole(10),
        gap: Seconds::millis(1500),
        nodes: 5,
        splits: 4,
        n_hosts: 10,
        version: 0,
    };
    const PING: Self = Self {
        gap: Seconds::whole(2),
        ..Self::BASE
    };
    const DELETE: Self = Self {
        cycle: Seconds::whole(100),
        gap: Seconds::whole(10),
        version: 1,
        ..Self::BASE
    };
    const RUNNER: Self = Self {
        cycle: Seconds::whole(20),
        nodes: -1,
        splits: 5,
        n_hosts: 3,
        version: 1,
        ..Self::BASE
    };

    /// Reads the keys that are given, the others stay.
    fn over<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Given {
            cycle: Option<Seconds>,
            gap: Option<Seconds>,
            nodes: Option<i32>,
            splits: Option<u32>,
            n_hosts: Option<u32>,
            version: Option<u32>,
        }
        let given = Given::deserialize(deserializer)?;
        Ok(Self {
            cycle: given.cycle.unwrap_or(self.cycle),
            gap: given.gap.unwrap_or(self.gap),
            nodes: given.nodes.unwrap_or(self.nodes),
            splits: given.splits.unwrap_or(self.splits),
            n_hosts: given.n_hosts.unwrap_or(self.n_hosts),
            version: given.version.unwrap_or(self.version),
        })
    }
}

fn ping_actor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Actor, D::Error> {
    Actor::PING.over(deserializer)
}

fn delete_actor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Actor, D::Error> {
    Actor::DELETE.over(deserializer)
}

fn runner_actor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Actor, D::Error> {
    Actor::RUNNER.over(deserializer)
}

section! {
    /// `env`: the environment of the program.
    Env {
        /// Time zone of the log's clock
        timezone: String = "UTC".to_owned(),
    }
}

section! {
    /// `logging`: what is logged. Of the original's keys those that say where
    /// and how are accepted and not used.
    Logging {
        /// The level of everything
        root: Logger = Logger::default(),
        /// Levels by name
        loggers: BTreeMap<String, Logger> = BTreeMap::new(),
        #[doc = "Not used"] #[serde(skip_serializing)]
        handlers: IgnoredAny = IgnoredAny,
        #[doc = "Not used"] #[serde(skip_serializing)]
        formatters: IgnoredAny = IgnoredAny,
        #[doc = "Not used"] #[serde(skip_serializing)]
        filters: IgnoredAny = IgnoredAny,
        #[doc = "Not used"] #[serde(skip_serializing)]
        version: IgnoredAny = IgnoredAny,
        #[doc = "Not used"] #[serde(skip_serializing)]
        incremental: IgnoredAny = IgnoredAny,
        #[doc = "Not used"] #[serde(skip_serializing)]
        disable_existing_loggers: IgnoredAny = IgnoredAny,
    }
}

section! {
    /// A logger's settings.
    Logger {
        /// From which level on it is shown
        level: Option<Level> = None,
        #[doc = "Not used"] #[serde(skip_serializing)]
        handlers: IgnoredAny = IgnoredAny,
        #[doc = "Not used"] #[serde(skip_serializing)]
        filters: IgnoredAny = IgnoredAny,
        #[doc = "Not used"] #[serde(skip_serializing)]
        propagate: IgnoredAny = IgnoredAny,
    }
}
