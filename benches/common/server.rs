//! Servers under test: finding, starting, pinning and stopping them, and
//! what the operating system says of their time and memory.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::lane::Lane;
use crate::load::{Load, Seen};
use crate::wire::{self, Op, Peer};

/// Linux reports process times to programs in this unit on all machines.
const USER_HZ: u64 = 100;
/// The original, as a first node, waits for others for some seconds.
const START: Duration = Duration::from_secs(30);

/// What this machine has.
pub(crate) struct Tools {
    moat: PathBuf,
    /// Servers' files and logs; also their home, so that no configuration
    /// of the user's is read.
    dir: tempfile::TempDir,
    cores: Option<Cores>,
    /// What makes programs die with this one
    setpriv: Option<PathBuf>,
}

/// Where processes may run, as `taskset` has it.
struct Cores {
    /// All that this process was given
    all: String,
    /// For a server with one connection
    server: String,
    /// For the generator then
    generator: String,
}

impl Tools {
    pub(crate) fn find() -> Result<Self> {
        let moat = std::env::var_os("MOAT_BIN")
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_moat")), PathBuf::from);
        // it is started from another directory
        let moat = moat
            .canonicalize()
            .with_context(|| format!("{}", moat.display()))?;
        let cores = match program("taskset") {
            Ok(_) => Cores::allowed()?,
            Err(_) => None,
        };
        Ok(Self {
            moat,
            dir: tempfile::tempdir()?,
            cores,
            setpriv: program("setpriv").ok(),
        })
    }

    /// Why one connection is not pinned, if so.
    pub(crate) fn unpinned(&self) -> Option<&'static str> {
        self.cores
            .is_none()
            .then_some("nothing is pinned: taskset or a second core is missing")
    }

    /// Our program.
    pub(crate) fn moat(&self) -> Command {
        self.command(&self.moat)
    }

    /// Our program as a server; see [`Tools::held`].
    pub(crate) fn held_moat(&self) -> Command {
        self.held(&self.moat)
    }

    /// A program that knows nothing of the user's configuration.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        self.isolate(&mut command);
        command
    }

    /// The same for one that dies with this process, if that can be
    /// arranged. It takes a millisecond more to start.
    pub(crate) fn held(&self, program: &Path) -> Command {
        let mut command = match &self.setpriv {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        self.isolate(&mut command);
        command
    }

    /// A file among the servers'.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The Python that has the original.
    pub(crate) fn python(&self) -> Result<PathBuf> {
        std::env::var_os("MOAT_TEST_PYTHON")
            .map(PathBuf::from)
            .filter(|python| python.is_file())
            .context("the original is missing: MOAT_TEST_PYTHON names no python that has it")
    }

    fn isolate(&self, command: &mut Command) {
        command
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .env("PYTHONWARNINGS", "ignore")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("MOAT_CONFIG")
            .env_remove("MOAT_HOST")
            .env_remove("MOAT_PORT")
            .env_remove("MOAT_AUTH")
            .stdin(Stdio::null());
    }

    /// The original's command line, with the port of its server, whether or
    /// not one runs there.
    pub(crate) fn original(&self, port: u16, broker: u16) -> Result<Command> {
        let python = self.python()?;
        let config = self.file(&format!("{port}.cfg"));
        fs::write(
            &config,
            format!(
                "kv:\n  conn: {{host: 127.0.0.1, port: {port}}}\n  server:\n    \
                 bind_default: {{port: {port}}}\n    \
                 mqtt: {{uri: \"mqtt://127.0.0.1:{broker}\"}}\n    \
                 root: !P bench.n{port}\n"
            ),
        )?;
        let mut command = self.command(&python);
        command.args(["-m", "moat", "-c"]).arg(config).arg("kv");
        Ok(command)
    }

    pub(crate) fn start_echo(&self) -> Result<Server> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("echo")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("the echo server's output")?;
        let mut guard = Server::of(child, Peer::Echo, 0, None);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        guard.addr.set_port(line.trim().parse()?);
        Ok(guard)
    }

    /// Our server as a first node, or Redis without persistence.
    pub(crate) fn start(&self, peer: Peer) -> Result<Server> {
        if peer == Peer::Echo {
            return self.start_echo();
        }
        let port = free_port()?;
        let mut server = self.launch(peer, port)?;
        server.wait_until(|| answers(peer, port))?;
        Ok(server)
    }

    /// Spawns without waiting.
    pub(crate) fn launch(&self, peer: Peer, port: u16) -> Result<Server> {
        let mut command = match peer {
            Peer::Moat => {
                let mut moat = self.moat();
                moat.args(["kv", "-C", "server.backend=none", "-C"])
                    .arg(format!("server.bind_default.port={port}"))
                    .args(["server", "-i", "x", "bench"]);
                moat
            }
            Peer::Redis => {
                let mut redis = self.command(&program("redis-server")?);
                redis
                    .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
                    .args(["--port", &port.to_string()]);
                redis
            }
            Peer::Echo => bail!("the echo server picks its own port"),
            Peer::Mqtt => bail!("a broker is started by itself"),
        };
        self.spawn(&mut command, peer, port)
    }

    pub(crate) fn start_mosquitto(&self) -> Result<Server> {
        let port = free_port()?;
        let mut command = self.held(&program("mosquitto")?);
        command.args(["-p", &port.to_string()]);
        let mut server = self.spawn(&mut command, Peer::Mqtt, port)?;
        server.wait_until(|| std::net::TcpStream::connect(local(port)).is_ok())?;
        Ok(server)
    }

    pub(crate) fn start_original(&self, broker: &Server) -> Result<Server> {
        let port = free_port()?;
        let mut command = self.original(port, broker.addr.port())?;
        command.args(["server", "-I", "x", "bench"]);
        let mut server = self.spawn(&mut command, Peer::Moat, port)?;
        server.wait_until(|| answers(Peer::Moat, port))?;
        Ok(server)
    }

    pub(crate) fn spawn(&self, command: &mut Command, peer: Peer, port: u16) -> Result<Server> {
        let log = self.file(&format!("{port}.log"));
        let file = File::create(&log)?;
        let child = command
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        Ok(Server::of(child, peer, port, Some(log)))
    }

    /// Runs this program again as `role`; on the generator's core, with the
    /// server on its own, if `alone`.
    fn role(&self, server: &Server, alone: bool, role: &str, words: &[String]) -> Result<Seen> {
        let exe = std::env::current_exe()?;
        let mut command = match &self.cores {
            Some(cores) => {
                let (server_on, generator_on) = match alone {
                    true => (&cores.server, &cores.generator),
                    false => (&cores.all, &cores.all),
                };
                server.pin(server_on)?;
                let mut taskset = Command::new("taskset");
                taskset.args(["-c", generator_on]).arg(exe);
                taskset
            }
            None => Command::new(exe),
        };
        let output = command
            .arg(role)
            .args(words)
            .stderr(Stdio::inherit())
            .output()?;
        let line = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "the load generator failed");
        Seen::parse(&line).with_context(|| format!("the load generator said {line:?}"))
    }

    /// Loads `server`, by a process of its own.
    pub(crate) fn load(&self, server: &Server, load: &Load) -> Result<Seen> {
        let alone = load.shape.connections == 1;
        self.role(server, alone, "load", &load.words())
    }

    /// Has watchers of `server`, in a process of their own.
    pub(crate) fn watch(&self, server: &Server, words: &[String]) -> Result<Seen> {
        self.role(server, false, "watch", words)
    }
}

/// A running server; it ends with this value.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) peer: Peer,
    log: Option<PathBuf>,
}

impl Server {
    /// A process that serves at that port; what it says is in `log`.
    pub(crate) fn of(child: Child, peer: Peer, port: u16, log: Option<PathBuf>) -> Self {
        Self {
            child,
            addr: local(port),
            peer,
            log,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks again and again, as fast as a fifth of a millisecond allows.
    pub(crate) fn wait_until(&mut self, mut ready: impl FnMut() -> bool) -> Result<()> {
        let begin = Instant::now();
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended ({status}){}", self.last_words());
            }
            if begin.elapsed() > START {
                bail!("the server does not answer{}", self.last_words());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// All that the server has said.
    pub(crate) fn words(&self) -> Result<String> {
        let log = self.log.as_ref().context("a server without a log")?;
        Ok(fs::read_to_string(log)?)
    }

    pub(crate) fn last_words(&self) -> String {
        let text = self
            .log
            .as_ref()
            .and_then(|log| fs::read_to_string(log).ok());
        match text
            .as_deref()
            .map(str::trim)
            .and_then(|t| t.lines().last())
        {
            Some(line) => format!(": {line}"),
            None => String::new(),
        }
    }

    /// Waits until the server has used no CPU time for a while, so that what
    /// one round left behind does not count in the next.
    pub(crate) fn settle(&self) -> Result<()> {
        let mut before = cpu_ticks(self.pid())?;
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(200));
            let now = cpu_ticks(self.pid())?;
            if now == before {
                break;
            }
            before = now;
        }
        Ok(())
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let kib: f64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix("kB"))
            .context("no VmRSS")?
            .trim()
            .parse()?;
        Ok(kib * 1024.0)
    }

    fn pin(&self, cores: &str) -> Result<()> {
        let status = Command::new("taskset")
            .args(["-a", "-c", "-p", cores, &self.pid().to_string()])
            .stdout(Stdio::null())
            .status()?;
        ensure!(status.success(), "taskset could not pin the server");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time that a process, with all its threads, has used so far.
pub(crate) fn cpu_ticks(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // the program's name, in parentheses, may hold anything
    let (_, rest) = stat
        .rsplit_once(')')
        .context("the form of /proc/PID/stat")?;
    let mut words = rest.split_whitespace().skip(11);
    let mut ticks = || -> Result<u64> { Ok(words.next().context("utime, stime")?.parse()?) };
    let ticks = ticks()? + ticks()?;
    Ok(Duration::from_millis(ticks * (1000 / USER_HZ)))
}

/// The same to the nanosecond, of the threads that are there.
pub(crate) fn cpu_exact(pid: u32) -> Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = fs::read_to_string(thread?.path().join("schedstat"))?;
        let ran = stat.split_whitespace().next().context("schedstat")?;
        nanos += ran.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Whether a request is answered.
pub(crate) fn answers(peer: Peer, port: u16) -> bool {
    let ask = || -> Result<Vec<u8>> {
        let mut lane = Lane::connect(peer, local(port))?;
        let mut request = Vec::new();
        wire::append_once(&mut request, peer, Op::Get, 0, 1);
        lane.ask(&request)
    };
    ask().is_ok()
}

pub(crate) fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(local(0))?.local_addr()?.port())
}

/// A program on the search path, or where Debian keeps daemons.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|dir| dir.join(name))
        .find(|file| Path::is_file(file))
        .with_context(|| format!("{name} is not installed"))
}

impl Cores {
    /// `None` if there is only one.
    fn allowed() -> Result<Option<Self>> {
        let status = fs::read_to_string("/proc/self/status")?;
        let all = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .context("no list of cores")?
            .trim();
        let mut cores = Vec::new();
        for range in all.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            cores.extend(first.parse::<u32>()?..=last.parse()?);
        }
        Ok(match cores.as_slice() {
            [server, generator, ..] => Some(Self {
                all: all.to_owned(),
                server: server.to_string(),
                generator: generator.to_string(),
            }),
            _ => None,
        })
    }
}
