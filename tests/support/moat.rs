//! The program under test: its server and its command line.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::{Output, Process, command, run};
use super::{PATIENCE, free_port};

/// How long the server may take to say `Running.`
const START: Duration = Duration::from_secs(20);

/// A server of ours.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) port: u16,
    /// Where it runs, and writes what it is told to write
    dir: tempfile::TempDir,
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    name: String,
    begin: Vec<String>,
    config: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "rec".to_owned(),
            begin: vec!["-i".to_owned(), "Testing".to_owned()],
            config: Vec::new(),
        }
    }
}

impl Options {
    /// With one more `-C KEY=VALUE`.
    pub(crate) fn with(mut self, setting: &str) -> Self {
        self.config.push(setting.to_owned());
        self
    }

    /// Under another name, begun in another way than `-i Testing`.
    pub(crate) fn begun(name: &str, args: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            begin: args.iter().map(|&arg| arg.to_owned()).collect(),
            ..Self::default()
        }
    }
}

/// The binary under test.
pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_moat"))
}

/// The program with none of the user's own settings.
pub(crate) fn bare(cwd: Option<&Path>) -> Command {
    let mut command = command(program());
    without_settings(&mut command);
    if let Some(cwd) = cwd {
        command.current_dir(cwd);
    }
    command
}

/// Takes the user's own settings from a command.
pub(crate) fn without_settings(command: &mut Command) {
    for name in ["MOAT_CONFIG", "MOAT_HOST", "MOAT_PORT", "MOAT_AUTH"] {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent");
    command.env_remove("XDG_CONFIG_HOME");
}

impl Server {
    /// A server that somebody else has started.
    pub(crate) fn of(process: Process, port: u16) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { process, port, dir }
    }

    /// Starts a server `rec` with root value `Testing` and no network.
    pub(crate) fn start() -> Self {
        Self::with(&Options::default())
    }

    /// Starts a server and waits until it serves.
    pub(crate) fn with(options: &Options) -> Self {
        let mut last = String::new();
        let dir = tempfile::tempdir().expect("a directory");
        for _ in 0..5 {
            let port = free_port();
            let mut command = bare(Some(dir.path()));
            command
                .args(["kv", "-C", "server.backend=none"])
                .args(["-C", &format!("server.bind_default.port={port}")]);
            for setting in &options.config {
                command.args(["-C", setting]);
            }
            command
                .arg("server")
                .args(&options.begin)
                .arg(&options.name);
            let mut process = Process::start("the server", &mut command, None);
            match process.wait_for_line("Running.", START) {
                Ok(()) => return Self { process, port, dir },
                // somebody else took the port meanwhile
                Err(e) if e.contains("in use") => last = e,
                Err(e) => {
                    let _ = process.quiet();
                    panic!("{e}");
                }
            }
        }
        panic!("no port could be used: {last}");
    }

    /// Runs `moat kv ARGS` against this server.
    ///
    /// # Errors
    /// If it takes too long.
    pub(crate) fn kv(&self, args: &[&str], stdin: Option<&[u8]>) -> Result<Output, String> {
        kv(self.port, args, stdin)
    }

    /// The directory it runs in.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Asserts that the process is alive.
    pub(crate) fn assert_alive(&mut self) {
        assert!(self.process.runs(), "the server has ended");
    }
}

/// Runs `moat kv ARGS` against the server on that port.
///
/// # Errors
/// If it takes too long.
pub(crate) fn kv(port: u16, args: &[&str], stdin: Option<&[u8]>) -> Result<Output, String> {
    let mut command = kv_command(port);
    command.args(args);
    run(
        &format!("moat kv {}", args.join(" ")),
        &mut command,
        stdin,
        PATIENCE,
    )
}

/// `moat kv -h 127.0.0.1 -p PORT`
pub(crate) fn kv_command(port: u16) -> Command {
    let mut command = bare(None);
    command.args(["kv", "-h", "127.0.0.1", "-p", &port.to_string()]);
    command
}
