//! Programs that a test runs.
//!
//! Each gets a process group of its own, which is killed when its owner goes
//! out of scope; where `setpriv` exists, the program also dies when the test
//! process is killed itself. What it prints goes to files, so that nobody
//! has to read pipes and a failed test can show it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::eventually;

/// How much of a program's output a failed test shows.
const SHOWN: usize = 8_000;

/// A program that runs until it ends or its owner goes out of scope.
pub(crate) struct Process {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    files: tempfile::TempDir,
    quiet: bool,
}

/// What a program that has ended left behind.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// The exit code, or 128 and the signal as shells have it.
    pub(crate) fn code(&self) -> i32 {
        self.status
            .code()
            .or_else(|| self.status.signal().map(|s| 128 + s))
            .unwrap_or(-1)
    }

    /// What it printed, if it succeeded.
    ///
    /// # Errors
    /// Everything it said, if it did not.
    pub(crate) fn ok(self) -> Result<String, String> {
        if self.status.success() {
            Ok(self.stdout)
        } else {
            Err(format!(
                "exit {}\n--- stdout\n{}--- stderr\n{}",
                self.code(),
                self.stdout,
                self.stderr
            ))
        }
    }
}

/// Where a program is, if it is installed.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    let sbin = ["/usr/sbin", "/usr/local/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path)
        .chain(sbin)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// A command for `program`, which dies with the test process if that can be
/// arranged.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    static SETPRIV: OnceLock<bool> = OnceLock::new();
    let with_signal = *SETPRIV.get_or_init(|| {
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "true"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    });
    if with_signal {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

impl Process {
    /// Starts it. `stdin` is what it will read, if anything.
    pub(crate) fn start(name: &str, command: &mut Command, stdin: Option<&[u8]>) -> Self {
        let files = tempfile::tempdir().expect("temporary directory");
        let input = files.path().join("stdin");
        std::fs::write(&input, stdin.unwrap_or_default()).expect("write stdin");
        let create = |file: &str| File::create(files.path().join(file)).expect("create file");
        let child = command
            .process_group(0)
            .stdin(File::open(&input).expect("open stdin"))
            .stdout(create("stdout"))
            .stderr(create("stderr"))
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        Self {
            name: name.to_owned(),
            child,
            ended: None,
            files,
            quiet: false,
        }
    }

    /// Its process id. The `setpriv` before it has become the program.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn file(&self, name: &str) -> String {
        let bytes = std::fs::read(self.files.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it has printed so far.
    pub(crate) fn stdout(&self) -> String {
        self.file("stdout")
    }

    /// What it has said on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.file("stderr")
    }

    /// The last of what it has said, for a message.
    pub(crate) fn said(&self) -> String {
        let cut = |text: String| {
            let from = text.len().saturating_sub(SHOWN);
            let from = (from..=text.len())
                .find(|i| text.is_char_boundary(*i))
                .unwrap_or(0);
            text[from..].to_owned()
        };
        format!(
            "--- {} stdout\n{}\n--- {} stderr\n{}\n---",
            self.name,
            cut(self.stdout()),
            self.name,
            cut(self.stderr())
        )
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("wait for a child");
        }
        self.ended
    }

    /// Whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.ended().is_none()
    }

    /// Waits until it has printed that line.
    ///
    /// # Errors
    /// If it ends before or the time is up; the text says what it said.
    pub(crate) fn wait_for_line(&mut self, line: &str, limit: Duration) -> Result<(), String> {
        let what = format!("line {line:?} of {}", self.name);
        let seen = eventually(&what, limit, || {
            let ended = self.ended();
            if self.stdout().lines().any(|l| l == line) {
                Some(Ok(()))
            } else {
                ended.map(|status| Err(format!("{} ended ({status})", self.name)))
            }
        });
        seen.and_then(|found| found)
            .map_err(|e| format!("{e}\n{}", self.said()))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.runs() {
            // a child that has not been waited for keeps its id
            kill_process(self.id(), signal).expect("signal a child");
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If the time is up.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let what = format!("end of {}", self.name);
        eventually(&what, limit, || self.ended()).map_err(|e| format!("{e}\n{}", self.said()))
    }

    /// Waits for its end and takes what it left.
    ///
    /// # Errors
    /// If the time is up.
    pub(crate) fn output(mut self, limit: Duration) -> Result<Output, String> {
        let status = self.wait(limit)?;
        self.quiet = true;
        Ok(Output {
            status,
            stdout: self.stdout(),
            stderr: self.stderr(),
        })
    }

    /// Says nothing about it when a test fails.
    pub(crate) fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    fn id(&self) -> Pid {
        let id = i32::try_from(self.child.id()).expect("a process id fits");
        Pid::from_raw(id).expect("a process id is not 0")
    }
}

impl Drop for Process {
    #[allow(clippy::print_stderr, reason = "a failed test shows its processes")]
    fn drop(&mut self) {
        if std::thread::panicking() && !self.quiet {
            eprintln!("{}", self.said());
        }
        if self.runs() {
            let _ = kill_process_group(self.id(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Runs a program to its end.
///
/// # Errors
/// If it takes longer than `limit`.
pub(crate) fn run(
    name: &str,
    command: &mut Command,
    stdin: Option<&[u8]>,
    limit: Duration,
) -> Result<Output, String> {
    Process::start(name, command, stdin).output(limit)
}

/// A field of `/proc/PID/status`, in KiB where it has that unit.
pub(crate) fn status_field(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status of a child");
    text.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no {field} in the status of process {pid}"))
}

/// How many files a process has open.
pub(crate) fn open_files(pid: u32) -> usize {
    std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd"))
        .expect("files of a child")
        .count()
}
