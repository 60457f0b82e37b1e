//! What a service manager is told, by a socket that plays one.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::moat::bare;
use crate::support::process::{Process, run};
use crate::support::{PATIENCE, eventually, free_port};

/// A service manager that listens.
struct Manager {
    dir: TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
        let short = Some(Duration::from_millis(100));
        socket.set_read_timeout(short).expect("a time-out");
        Self { dir, socket }
    }

    fn file(&self, name: &str) -> String {
        let path = self.dir.path().join(name);
        path.to_str().expect("a text").to_owned()
    }

    /// `moat` with a configuration that says what it logs.
    fn moat(&self, level: &str) -> Command {
        self.set_level(level);
        let mut command = bare(None);
        command
            .env("NOTIFY_SOCKET", self.file("notify"))
            .env("WATCHDOG_USEC", "200000")
            .args(["-c", &self.file("cfg"), "kv", "-C", "server.backend=none"])
            .args(["-C", &format!("server.bind_default.port={}", free_port())])
            .arg("server");
        command
    }

    fn set_level(&self, level: &str) {
        let text = format!("logging:\n  root:\n    level: {level}\n");
        fs::write(self.dir.path().join("cfg"), text).expect("write the configuration");
    }

    /// What one message says, if one comes soon.
    fn heard(&self) -> Option<Vec<String>> {
        let mut bytes = [0; 4096];
        let n = self.socket.recv(&mut bytes).ok()?;
        let text = str::from_utf8(&bytes[..n]).expect("a text");
        Some(text.lines().map(str::to_owned).collect())
    }

    /// Waits for a message that has this line, and returns the ones before
    /// it and itself.
    fn wait_for(&self, line: &str) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        let found = eventually(line, PATIENCE, || {
            let message = self.heard()?;
            let is_it = message.iter().any(|l| l == line);
            all.push(message);
            is_it.then_some(())
        });
        found.unwrap_or_else(|e| panic!("{e}: {all:?}"));
        all
    }
}

fn told(messages: &[Vec<String>], line: &str) -> bool {
    messages.iter().flatten().any(|l| l == line)
}

#[test]
fn a_service_manager_knows_how_the_server_is() {
    let manager = Manager::new();
    let mut command = manager.moat("WARNING");
    let log = manager.file("log");
    command.args(["-i", "Testing", "-s", &log, "rec"]);
    let mut server = Process::start("the server", &mut command, None);
    let start = manager.wait_for("READY=1");
    assert!(!told(&start, "STOPPING=1"), "{start:?}");
    let ready = start.last().expect("one");
    let status = ready
        .iter()
        .find(|line| line.starts_with("STATUS=serving "));
    assert!(
        status.is_some_and(|s| s.ends_with(&format!(", alone, log {log}"))),
        "{ready:?}"
    );
    server.wait_for_line("Running.", PATIENCE).unwrap();
    manager.wait_for("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1");

    // what is logged is read anew
    manager.set_level("INFO");
    server.signal(Signal::HUP);
    let reload = manager.wait_for("RELOADING=1");
    let reloading = reload.last().expect("one");
    assert!(
        reloading.iter().any(|l| l.starts_with("MONOTONIC_USEC=")),
        "{reloading:?}"
    );
    manager.wait_for("READY=1");
    let logged = |server: &Process, word: &str| {
        let found = eventually("the log", PATIENCE, || {
            server.stderr().contains(word).then_some(())
        });
        found.unwrap();
    };
    logged(&server, ":reloaded");
    // a configuration that cannot be read changes nothing
    manager.set_level("NONSENSE");
    server.signal(Signal::HUP);
    manager.wait_for("RELOADING=1");
    manager.wait_for("READY=1");
    logged(&server, ":not reloaded: ");

    server.signal(Signal::TERM);
    manager.wait_for("STOPPING=1");
    assert!(server.wait(PATIENCE).unwrap().success());
}

#[test]
fn a_server_that_stands_still_feeds_no_watchdog() {
    let manager = Manager::new();
    let mut command = manager.moat("WARNING");
    command.args(["-i", "Testing", "rec"]);
    let mut server = Process::start("the server", &mut command, None);
    manager.wait_for("WATCHDOG=1");
    server.signal(Signal::STOP);
    // what was said before is heard to its end
    let silent = eventually("silence", PATIENCE, || {
        let mut quiet = 0;
        while quiet < 5 {
            match manager.heard() {
                Some(_) => return None,
                None => quiet += 1,
            }
        }
        Some(())
    });
    silent.unwrap();
    server.signal(Signal::CONT);
    manager.wait_for("WATCHDOG=1");
}

#[test]
fn a_long_load_asks_for_more_time() {
    let manager = Manager::new();
    let first = manager.file("first");
    let mut command = bare(None);
    command.args(["kv", "dump", "init", "rec", &first]);
    run("dump init", &mut command, None, PATIENCE)
        .unwrap()
        .ok()
        .unwrap();
    let state = fs::read(&first).expect("read it").repeat(1024);
    let pipe = manager.file("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let mut command = manager.moat("WARNING");
    command.args(["-l", &pipe, "rec"]);
    let server = Process::start("the server", &mut command, None);
    // both ends, so that opening it does not wait for the server
    let open = OpenOptions::new().read(true).write(true).open(&pipe);
    let mut pipe = open.expect("open the pipe");
    let extended = eventually("more time", PATIENCE, || {
        pipe.write_all(&state).expect("write to the pipe");
        let heard = manager.heard()?;
        heard
            .iter()
            .any(|line| line.starts_with("EXTEND_TIMEOUT_USEC="))
            .then_some(heard)
    });
    let extended = extended.unwrap_or_else(|e| panic!("{e}: {}", server.said()));
    assert!(
        extended
            .iter()
            .any(|line| line.starts_with("STATUS=loading ")),
        "{extended:?}"
    );
    drop(pipe);
    manager.wait_for("READY=1");
}

#[test]
fn who_cannot_start_says_why() {
    let manager = Manager::new();
    let mut command = manager.moat("WARNING");
    command.args(["-l", "/nonexistent", "rec"]);
    let ended = run("the server", &mut command, None, PATIENCE).unwrap();
    assert_eq!(ended.code(), 1);
    assert!(!told(
        &manager.heard().into_iter().collect::<Vec<_>>(),
        "READY=1"
    ));
}
