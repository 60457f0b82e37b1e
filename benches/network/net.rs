//! Networks under test: nodes of ours and of the original's at a broker, and
//! when they are ready.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::server::{Server, Tools, free_port};
use crate::wire::Peer;

/// The original takes long with much to fetch.
const START: Duration = Duration::from_secs(300);

/// What the nodes of one network have in common.
pub(crate) struct Net {
    /// First part of its topics, with dots
    root: String,
    broker: u16,
    settings: Vec<String>,
    /// Where nodes are that say nothing of it
    hosts: Vec<(String, u16)>,
}

impl Net {
    /// A network of its own at the broker on that port.
    pub(crate) fn at(broker: u16) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Self {
            root: format!("bench.n{}", COUNT.fetch_add(1, Ordering::Relaxed)),
            broker,
            settings: Vec::new(),
            hosts: Vec::new(),
        }
    }

    /// With one more `-C KEY=VALUE` for our nodes that start from now on.
    pub(crate) fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    /// The full name of a topic.
    pub(crate) fn topic(&self, word: &str) -> String {
        format!("{}/{word}", self.root.replace('.', "/"))
    }

    /// Starts the first node and waits until it serves.
    pub(crate) fn first(&self, tools: &Tools, name: &str) -> Result<Node> {
        self.launch(tools, name, &["-i", "x"])?.ready()
    }

    /// Starts a node that joins, and waits until it serves.
    pub(crate) fn join(&self, tools: &Tools, name: &str) -> Result<Node> {
        self.launch(tools, name, &[])?.ready()
    }

    fn launch(&self, tools: &Tools, name: &str, args: &[&str]) -> Result<Node> {
        let port = free_port()?;
        let mut command = tools.held_moat();
        command.args(["kv", "-C", "server.backend=mqtt"]);
        let mut set = |setting: &str| {
            command.args(["-C", setting]);
        };
        set(&format!("server.bind_default.port={port}"));
        set("server.bind_default.host=127.0.0.1");
        set(&format!("server.root={}", self.root));
        set(&format!("server.mqtt.uri=mqtt://127.0.0.1:{}", self.broker));
        for setting in &self.settings {
            set(setting);
        }
        for (name, port) in &self.hosts {
            set(&format!("hostmap.{name}=127.0.0.1:{port}"));
        }
        command.arg("server").args(args).arg(name);
        Node::spawn(tools, command, port)
    }

    /// Starts a node of the original's and waits until it serves; others
    /// that start later will know where it is.
    pub(crate) fn original(&mut self, tools: &Tools, name: &str, args: &[&str]) -> Result<Node> {
        let port = free_port()?;
        let python = tools.python()?;
        self.hosts.push((name.to_owned(), port));
        let config = tools.file(&format!("{port}.cfg"));
        let mut text = format!(
            "kv:\n  conn: {{host: 127.0.0.1, port: {port}}}\n  server:\n    \
             bind_default: {{port: {port}}}\n    root: !P {}\n    \
             mqtt: {{uri: \"mqtt://127.0.0.1:{}\"}}\n  hostmap:\n",
            self.root, self.broker
        );
        for (name, port) in &self.hosts {
            let _ = writeln!(text, "    {name}: [127.0.0.1, {port}]");
        }
        fs::write(&config, text)?;
        let mut command = tools.held(&python);
        command
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args(["-m", "moat", "-c"])
            .arg(config)
            .args(["kv", "server"])
            .args(args)
            .arg(name);
        Node::spawn(tools, command, port)?.ready()
    }

    /// Tells nodes of the original's that start from now on where a node is.
    pub(crate) fn host(&mut self, name: &str, node: &Node) {
        self.hosts.push((name.to_owned(), node.server.addr.port()));
    }
}

/// A node; it ends with this value.
pub(crate) struct Node {
    pub(crate) server: Server,
    began: Instant,
    lines: mpsc::Receiver<(Instant, String)>,
    /// From the start of its process until it served
    pub(crate) took: Duration,
}

impl Node {
    fn spawn(tools: &Tools, mut command: Command, port: u16) -> Result<Self> {
        let log = tools.file(&format!("{port}.log"));
        let began = Instant::now();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        let stdout = child.stdout.take().context("the node's output")?;
        let (seen, lines) = mpsc::channel();
        // ends with the process
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // whoever wanted it may have gone: the pipe is emptied still
                let _ = seen.send((Instant::now(), line));
            }
        });
        Ok(Self {
            server: Server::of(child, Peer::Moat, port, Some(log)),
            began,
            lines,
            took: Duration::ZERO,
        })
    }

    /// Waits until it says that it serves.
    fn ready(mut self) -> Result<Self> {
        let end = self.began + START;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok((at, line)) if line == "Running." => {
                    self.took = at - self.began;
                    return Ok(self);
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the node does not serve{}", self.server.last_words())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the node has ended{}", self.server.last_words())
                }
            }
        }
    }
}
