//! What the port is tested beside: Mosquitto, and the original server,
//! command line and client library in a Python environment.
//!
//! The environment is the one that `tests/run` makes below the target
//! directory; `MOAT_TEST_PYTHON` names another one's interpreter.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::process::{Output, Process, command, find, run};
use super::{PATIENCE, eventually, free_port, tests_path};

/// How long the original may take: it is slow to start, and on a busy
/// machine slower.
pub(crate) const SLOWLY: Duration = Duration::from_secs(90);

/// The broker's program.
///
/// # Errors
/// Why it cannot be used.
pub(crate) fn mosquitto() -> Result<PathBuf, String> {
    installed("mosquitto")
}

/// A program that may be installed.
///
/// # Errors
/// If it is not.
pub(crate) fn installed(program: &str) -> Result<PathBuf, String> {
    find(program).ok_or_else(|| format!("{program} is not installed"))
}

/// The interpreter with the original in it.
///
/// # Errors
/// Why it cannot be used.
pub(crate) fn python() -> Result<PathBuf, String> {
    if let Some(python) = std::env::var_os("MOAT_TEST_PYTHON") {
        let python = PathBuf::from(python);
        return match python.is_file() {
            true => Ok(python),
            false => Err(format!("MOAT_TEST_PYTHON: no file {}", python.display())),
        };
    }
    let python = target().join("reference-venv/bin/python");
    match python.is_file() {
        true => Ok(python),
        false => Err("the original is not installed (tests/run does it)".to_owned()),
    }
}

/// An interpreter in which that module can be found.
///
/// # Errors
/// Why there is none.
pub(crate) fn python_with(module: &str) -> Result<PathBuf, String> {
    let python = python()?;
    let code =
        format!("import importlib.util as u, sys; sys.exit(u.find_spec('{module}') is None)");
    let found = run(
        "python",
        Command::new(&python).args(["-c", &code]),
        None,
        SLOWLY,
    )?;
    match found.status.success() {
        true => Ok(python),
        false => Err(format!("the Python package {module} is not installed")),
    }
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("..")
}

/// A running Mosquitto.
pub(crate) struct Broker {
    pub(crate) process: Process,
    pub(crate) port: u16,
    _dir: tempfile::TempDir,
}

impl Broker {
    /// Starts one on a port of its own and waits until it listens.
    ///
    /// # Errors
    /// If it does not come up.
    pub(crate) fn start() -> Result<Self, String> {
        let mut last = String::new();
        for _ in 0..5 {
            match Self::start_at(free_port(), "") {
                Ok(broker) => return Ok(broker),
                Err(said) => last = said,
            }
        }
        Err(last)
    }

    /// Starts one on that port; `more` are lines of its configuration about
    /// this port and what follows.
    ///
    /// # Errors
    /// If it does not come up.
    pub(crate) fn start_at(port: u16, more: &str) -> Result<Self, String> {
        let program = mosquitto()?;
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let config = dir.path().join("mosquitto.conf");
        let anonymous = !more.contains("password_file");
        let text = format!(
            "user root\npersistence false\nmax_queued_messages 100000\nallow_anonymous {anonymous}\n\
             listener {port} 127.0.0.1\n{more}\n"
        );
        std::fs::write(&config, text).map_err(|e| e.to_string())?;
        let mut process =
            Process::start("mosquitto", command(&program).arg("-c").arg(&config), None);
        let up = eventually("mosquitto listens", PATIENCE, || {
            let alive = process.runs();
            match std::net::TcpStream::connect(("127.0.0.1", port)) {
                Ok(_) if alive => Some(true),
                _ if !alive => Some(false),
                _ => None,
            }
        })?;
        match up {
            true => Ok(Self {
                process,
                port,
                _dir: dir,
            }),
            false => Err(process.said()),
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&mut self, signal: rustix::process::Signal) {
        self.process.signal(signal);
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.runs()
    }
}

/// A server of the original.
pub(crate) struct Original {
    pub(crate) process: Process,
    pub(crate) port: u16,
    _dir: tempfile::TempDir,
}

impl Original {
    /// Starts a server of that name in a network of its own, with root value
    /// `Testing`.
    ///
    /// # Errors
    /// If it does not come up.
    pub(crate) fn start(broker_port: u16, name: &str) -> Result<Self, String> {
        static NETWORK: AtomicU32 = AtomicU32::new(0);
        let python = python()?;
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut last = String::new();
        for _ in 0..3 {
            let port = free_port();
            let network = NETWORK.fetch_add(1, Ordering::Relaxed);
            let config = config_file(dir.path(), port, |text| {
                let _ = write!(
                    text,
                    "  server:\n    bind_default: {{port: {port}}}\n    \
                     root: !P test.n{network}.p{port}\n    \
                     mqtt: {{uri: \"mqtt://127.0.0.1:{broker_port}\"}}\n  \
                     hostmap: {{{name}: [127.0.0.1, {port}]}}\n"
                );
            })?;
            let args = ["-I", "Testing", name];
            let mut process = server(&python, dir.path(), &config, &args);
            match process.wait_for_line("Running.", SLOWLY) {
                Ok(()) => {
                    return Ok(Self {
                        process,
                        port,
                        _dir: dir,
                    });
                }
                Err(e) => {
                    let _ = process.quiet();
                    last = e;
                }
            }
        }
        Err(last)
    }

    /// Starts a server of that name at that port in a network that others
    /// are in; `config` follows below `kv:`.
    ///
    /// # Errors
    /// If it does not come up.
    pub(crate) fn member(
        name: &str,
        port: u16,
        config: &str,
        args: &[&str],
    ) -> Result<Self, String> {
        let python = python()?;
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let config = config_file(dir.path(), port, |text| text.push_str(config))?;
        let args: Vec<&str> = args.iter().copied().chain([name]).collect();
        let mut process = server(&python, dir.path(), &config, &args);
        process.wait_for_line("Running.", SLOWLY)?;
        Ok(Self {
            process,
            port,
            _dir: dir,
        })
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.runs()
    }

    /// All that it has said.
    pub(crate) fn said(&self) -> String {
        format!("{}{}", self.process.stdout(), self.process.stderr())
    }
}

/// Starts the original's `moat kv server ARGS`.
fn server(python: &Path, dir: &Path, config: &Path, args: &[&str]) -> Process {
    let mut command = quiet_python(python);
    command
        .current_dir(dir)
        .args(["-m", "moat", "-c"])
        .arg(config)
        .args(["kv", "server"])
        .args(args);
    Process::start("the original's server", &mut command, None)
}

/// A configuration file for the original's client side, and what `more`
/// adds below `kv:`.
fn config_file(dir: &Path, port: u16, more: impl Fn(&mut String)) -> Result<PathBuf, String> {
    let mut text = format!("kv:\n  conn: {{host: 127.0.0.1, port: {port}}}\n");
    more(&mut text);
    let file = dir.join(format!("moat-{port}.cfg"));
    std::fs::write(&file, text).map_err(|e| e.to_string())?;
    Ok(file)
}

fn quiet_python(python: &Path) -> Command {
    let mut command = command(python);
    command
        .env("PYTHONWARNINGS", "ignore")
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HOME", "/nonexistent")
        .env("COLUMNS", "80");
    command
}

/// Runs the original's `moat kv ARGS` against the server on that port.
///
/// # Errors
/// If it cannot be run or takes too long.
pub(crate) fn kv(port: u16, args: &[&str]) -> Result<Output, String> {
    let python = python()?;
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let config = config_file(dir.path(), port, |_| ())?;
    let mut command = quiet_python(&python);
    command
        .args(["-m", "moat", "-c"])
        .arg(&config)
        .arg("kv")
        .args(args);
    let name = format!("the original's moat kv {}", args.join(" "));
    run(&name, &mut command, None, SLOWLY)
}

/// Runs a script below `tests/real/py` with these arguments.
///
/// # Errors
/// If it fails: everything it said.
pub(crate) fn script(name: &str, args: &[&str], stdin: Option<&[u8]>) -> Result<String, String> {
    let python = python()?;
    let mut command = quiet_python(&python);
    command.arg(tests_path("real/py").join(name)).args(args);
    run(name, &mut command, stdin, SLOWLY)?.ok()
}
