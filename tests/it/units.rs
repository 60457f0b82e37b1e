//! What systemd runs: every script for real, with its files elsewhere, and the
//! units as far as they can be looked at without systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::moat::{Server, kv, program, without_settings};
use crate::support::process::{Output, Process, command, find, run};
use crate::support::{PATIENCE, free_port};

const SCRIPTS: [&str; 9] = [
    "init",
    "run",
    "success",
    "rotate",
    "recover",
    "current",
    "run-any",
    "run-all",
    "run-single",
];

fn systemd() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

/// A machine's files, below a directory of their own.
struct Machine {
    dir: TempDir,
    port: u16,
}

impl Machine {
    /// One whose programs are ours, and a systemctl that notes what it is told.
    fn new() -> Self {
        let machine = Self {
            dir: TempDir::new().expect("a directory"),
            port: free_port(),
        };
        fs::create_dir(machine.file("bin")).expect("make it");
        fs::create_dir(machine.file("etc")).expect("make it");
        machine.program(
            "systemctl",
            &format!("echo \"$*\" >>{}", machine.text("told")),
        );
        let moat = machine.file("bin/moat");
        std::os::unix::fs::symlink(program(), moat).expect("link it");
        machine
    }

    /// One that has been made ready by hand, as far as `init` would do it.
    fn with(mode: &str, backend: &str) -> Self {
        let machine = Self::new();
        machine.configure(&format!(
            "kv:\n  conn: {{host: 127.0.0.1, port: {port}}}\n  server:\n    {backend}\n    \
             bind_default: {{host: 127.0.0.1, port: {port}}}\n",
            port = machine.port
        ));
        machine.set(&format!("MODE={mode}\nNAME=rec\nDATE=%Y-%m-%d\n"));
        machine
    }

    fn alone(mode: &str) -> Self {
        Self::with(mode, "backend: none")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.file(name).to_str().expect("a text").to_owned()
    }

    fn configure(&self, text: &str) {
        fs::write(self.file("etc/moat.cfg"), text).expect("write it");
    }

    /// Appends to the variables, as people do.
    fn set(&self, lines: &str) {
        let path = self.file("etc/kv.env");
        let mut text = fs::read_to_string(&path).unwrap_or_else(|_| {
            format!(
                "DEST={}\nTEMP={}\nPATH={}:/usr/bin:/bin\n",
                self.text("state"),
                self.text("run/current.dkv"),
                self.text("bin"),
            )
        });
        text.push_str(lines);
        fs::write(path, text).expect("write it");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// A program of the machine.
    fn program(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.file("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("write it");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("allow it");
    }

    fn command(&self, script: &str, args: &[&str]) -> Command {
        let mut command = command(systemd().join("lib").join(script));
        without_settings(&mut command);
        command
            .args(args)
            .env("MOAT_KV_ETC", self.file("etc"))
            .env("MOAT_KV_USER", "");
        command
    }

    /// Runs a script to its end.
    fn run(&self, script: &str, args: &[&str]) -> Output {
        run(script, &mut self.command(script, args), None, PATIENCE).unwrap()
    }

    fn done(&self, script: &str, args: &[&str]) {
        let ended = self.run(script, args);
        assert_eq!(
            (ended.code(), ended.stdout.as_str()),
            (0, ""),
            "{script}: {}",
            ended.stderr
        );
    }

    /// Runs the server until it serves.
    fn serve(&self) -> Server {
        let mut process = Process::start("run", &mut self.command("run", &[]), None);
        process.wait_for_line("Running.", PATIENCE).unwrap();
        Server::of(process, self.port)
    }

    /// The state files, as DATE/N.dkv, sorted.
    fn states(&self) -> Vec<String> {
        let mut found = Vec::new();
        for set in fs::read_dir(self.file("state")).into_iter().flatten() {
            let set = set.expect("an entry").path();
            for file in fs::read_dir(set).expect("a set") {
                let path = file.expect("an entry").path();
                let name = path.strip_prefix(self.file("state")).expect("below");
                found.push(name.to_str().expect("a text").to_owned());
            }
        }
        found.retain(|name| name.ends_with(".dkv"));
        found.sort();
        found
    }

    /// The number of each state file.
    fn numbers(&self) -> Vec<String> {
        let name = |file: String| Path::new(&file).file_stem().map(|n| n.to_os_string());
        let names = self.states().into_iter().filter_map(name);
        names.map(|n| n.into_string().expect("a text")).collect()
    }
}

fn set(port: u16, path: &str, value: &str) {
    let done = kv(port, &["data", path, "set", "-v", ":", value], None);
    done.unwrap().ok().unwrap();
}

fn get(port: u16, path: &str) -> String {
    kv(port, &["data", path], None).unwrap().ok().unwrap()
}

#[test]
fn a_machine_is_made_one_that_runs_a_server() {
    let machine = Machine::new();
    // as the manual has it, but without an end of its last line
    machine.set("MODE=hybrid\nDATE=%Y-%m-%d\nNAME=rec");
    let made = machine.run("init", &[]);
    assert_eq!(made.code(), 0, "{}", made.stderr);
    let env = machine.read("etc/kv.env");
    assert!(env.ends_with("\nNAME=rec\nLOCAL=no\n"), "{env}");
    assert_eq!(env.matches("MODE=").count(), 1, "{env}");
    assert!(machine.read("etc/moat.cfg").contains("host: 127.0.0.1"));
    assert_eq!(machine.numbers(), ["0"]);
    let units = "moat-kv.service moat-kv-rotate.timer";
    let told = format!("enable {units}\nrestart {units}\n");
    assert_eq!(machine.read("told"), told);

    // what is there stays
    let states = machine.states();
    let first = fs::read(machine.file("state").join(&states[0])).unwrap();
    machine.configure("kv: {conn: {host: ::1}}\n");
    let again = machine.run("init", &[]);
    assert_eq!((again.code(), again.stderr.as_str()), (0, ""));
    assert_eq!(machine.read("etc/kv.env"), env);
    assert_eq!(machine.read("etc/moat.cfg"), "kv: {conn: {host: ::1}}\n");
    assert_eq!(machine.states(), states);
    assert_eq!(
        fs::read(machine.file("state").join(&states[0])).unwrap(),
        first
    );
}

#[test]
fn a_machine_that_keeps_nothing_gets_no_files() {
    let machine = Machine::new();
    machine.set("MODE=slave\n");
    let made = machine.run("init", &[]);
    assert_eq!(made.code(), 0, "{}", made.stderr);
    assert!(!machine.file("state").exists());
    assert!(machine.read("told").ends_with("restart moat-kv.service\n"));
    let name = machine.read("etc/kv.env");
    let name = name.lines().find_map(|line| line.strip_prefix("NAME="));
    let host = rustix::system::uname();
    assert_eq!(name, host.nodename().to_str().ok());
    machine.done("rotate", &[]);
    assert!(!machine.file("state").exists());
}

#[test]
fn a_machine_whose_clients_talk_to_another_one_runs_no_server() {
    let machine = Machine::new();
    machine.set("NAME=rec\n");
    machine.configure("kv: {conn: {host: other.example}}\n");
    for args in [&[][..], &["--check"]] {
        let ended = machine.run("run", args);
        assert_eq!(ended.code(), 42, "{}", ended.stderr);
        assert!(ended.stderr.contains("other.example"), "{}", ended.stderr);
    }
    let made = machine.run("init", &[]);
    assert_eq!(made.code(), 0, "{}", made.stderr);
    assert_eq!(machine.read("told"), "");
    machine.set("LOCAL=yes\n");
    machine.done("run", &["--check"]);
    // what cannot be read is no wish for no server
    machine.configure("kv: [\n");
    machine.set("LOCAL=no\n");
    assert_eq!(machine.run("run", &["--check"]).code(), 255);
}

/// The manual's way: a mode, `rotate` by hand, a restart.
#[test]
fn state_survives_whatever_ends_the_server() {
    for mode in ["master", "hybrid"] {
        let machine = Machine::alone("slave");
        machine.set("MODE=master\n");
        machine.done("init", &[]);
        let mut server = machine.serve();
        machine.done("success", &[]);
        assert_eq!(get(machine.port, ":"), "\"Initial data\"\n");
        set(machine.port, "a", "one");

        machine.set(&format!("MODE={mode}\n"));
        machine.done("rotate", &[]);
        set(machine.port, "b", "two");
        machine.done("rotate", &[]);
        set(machine.port, "c", "three");
        assert_eq!(machine.numbers(), ["0", "1", "2"], "{mode}");
        server.process.signal(Signal::KILL);
        server.process.wait(PATIENCE).unwrap();

        let mut server = machine.serve();
        machine.done("success", &[]);
        assert!(!machine.file("run/current.dkv").exists());
        for (path, value) in [("a", "one"), ("b", "two"), ("c", "three")] {
            assert_eq!(get(machine.port, path), format!("\"{value}\"\n"), "{mode}");
        }
        // the first file after a start has everything
        set(machine.port, "d", "four");
        machine.done("rotate", &[]);
        let kept = machine.states();
        assert_eq!(machine.numbers(), ["0", "1", "2", "3"], "{mode}");
        server.process.signal(Signal::TERM);
        server.process.wait(PATIENCE).unwrap();
        for file in &kept[..3] {
            fs::write(machine.file("state").join(file), "").unwrap();
        }
        fs::rename(
            machine.file("state").join(&kept[3]),
            machine.file("state").join(&kept[0]),
        )
        .unwrap();
        let server = machine.serve();
        for (path, value) in [("a", "one"), ("d", "four")] {
            assert_eq!(get(machine.port, path), format!("\"{value}\"\n"), "{mode}");
        }
        drop(server);
    }
}

#[test]
fn another_date_begins_anew_and_what_is_old_goes() {
    let machine = Machine::alone("master");
    machine.done("init", &[]);
    let _server = machine.serve();
    machine.done("rotate", &[]);
    let states = machine.states();
    let (today, _) = states[0].split_once('/').unwrap();
    let rename = |name: &str| {
        let state = machine.file("state");
        fs::rename(state.join(today), state.join(name)).unwrap();
    };
    rename("2021-03-04");
    machine.done("rotate", &[]);
    // it is too old, and there is a newer one
    assert_eq!(machine.states(), [format!("{today}/0.dkv")]);
    set(machine.port, "a", "one");
    let joined = machine.text("joined");
    machine.done("current", &[&joined]);
    let shown = run(
        "dump show",
        command(program()).args(["--json", "kv", "dump", "show", "-e", &joined]),
        None,
        PATIENCE,
    );
    let shown = shown.unwrap().ok().unwrap();
    assert!(
        shown.contains("\"one\"") && shown.contains("\"Initial data\""),
        "{shown}"
    );
}

#[test]
fn who_rotates_without_a_server_is_told() {
    let machine = Machine::alone("hybrid");
    machine.done("init", &[]);
    let ended = machine.run("rotate", &[]);
    assert_eq!(
        (ended.code(), ended.stderr.lines().count()),
        (1, 1),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("is a server running there?"),
        "{}",
        ended.stderr
    );
    assert_eq!(machine.numbers(), ["0"]);
}

#[cfg(feature = "mqtt")]
#[test]
fn a_node_that_nobody_answers_recovers_from_the_disk() {
    let uri = format!("mqtt: {{uri: \"mqtt://127.0.0.1:{}\"}}", free_port());
    let machine = Machine::with("hybrid", &uri);
    machine.set("GIVE_UP=0.3\n");
    machine.done("init", &[]);
    let recover = |code: i32, word: &str| {
        let ended = machine.run("recover", &[]);
        assert_eq!(ended.code(), code, "{}", ended.stderr);
        assert!(ended.stderr.contains(word), "{}", ended.stderr);
    };
    assert_eq!(machine.run("run", &[]).code(), 75);
    recover(0, "");
    let server = machine.serve();
    assert_eq!(get(machine.port, ":"), "\"Initial data\"\n");
    // as long as nobody has said that it was a success, it may be none
    recover(1, "has failed");
    machine.done("success", &[]);
    drop(server);
    // there is nothing to recover: it waits for others once more
    fs::remove_dir_all(machine.file("state")).unwrap();
    fs::create_dir(machine.file("state")).unwrap();
    recover(0, "waiting for other nodes again");
    assert!(!machine.file("run/current.dkv").exists());
    machine.set("MODE=master\n");
    recover(1, "not hybrid");
}

#[test]
fn variables_are_read_and_never_run() {
    let machine = Machine::new();
    let moat = "for arg; do printf '%s|' \"$arg\"; done; echo";
    fs::remove_file(machine.file("bin/moat")).unwrap();
    machine.program("moat", moat);
    let trap = machine.text("trap");
    machine.set("NAME=one\r\n# NAME=no\nNAME=\"two words\"  \nELSE=x\nnonsense\n");
    machine.set(&format!(
        "DEST='/a b'\nDATE=$(touch {trap})\n`touch {trap}`\nMODE=slave\n"
    ));
    machine.set("MODE=hybrid\n");
    let told = |script: &str, args: &[&str]| machine.run(script, args).ok().unwrap();
    assert_eq!(told("run-single", &[]), "kv|job|-n|two words|run|\n");
    assert_eq!(
        told("rotate", &[]),
        format!("kv|log|rotate|--date|$(touch {trap})|--dir|/a b|\n")
    );
    assert_eq!(told("run-any", &[]), "kv|job|run|\n");
    assert_eq!(told("run-any", &["a group"]), "kv|job|-g|a group|run|\n");
    assert_eq!(told("run-all", &["g"]), "kv|job|-n|-|-g|g|run|\n");
    assert_eq!(
        told("run-single", &["g"]),
        "kv|job|-n|two words|-g|g|run|\n"
    );
    assert!(!machine.file("trap").exists());
    machine.set("MODE=both\n");
    let ended = machine.run("rotate", &[]);
    assert_eq!(ended.code(), 1);
    assert!(
        ended.stderr.contains("hybrid, master or slave"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_server_needs_a_name() {
    let machine = Machine::alone("hybrid");
    machine.set("NAME=\n");
    for script in ["run", "run-single"] {
        let ended = machine.run(script, &[]);
        assert_eq!(ended.code(), 1, "{script}");
        assert!(ended.stderr.contains("NAME is not set"), "{}", ended.stderr);
    }
}

/// Says of a tool that is not there that it is not, or fails if it must be.
#[allow(clippy::print_stderr, reason = "what is left out is named")]
fn tool(name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        assert!(
            std::env::var_os("MOAT_TEST_REQUIRE").is_none(),
            "{name} is missing"
        );
        eprintln!("left out: {name} is missing");
    }
    found
}

#[test]
fn shellcheck_finds_nothing() {
    let Some(shellcheck) = tool("shellcheck") else {
        return;
    };
    let mut check = command(shellcheck);
    check.args(["-x", "-P", "SCRIPTDIR", "-s", "sh", "common"]);
    check.args(SCRIPTS).current_dir(systemd().join("lib"));
    let checked = run("shellcheck", &mut check, None, PATIENCE).unwrap();
    assert_eq!((checked.code(), checked.stdout.as_str()), (0, ""));
}

/// The units, without those for one group of jobs.
fn units() -> Vec<(String, String)> {
    let mut units = Vec::new();
    for file in fs::read_dir(systemd()).expect("the units") {
        let path = file.expect("an entry").path();
        let name = path.file_name().and_then(|n| n.to_str()).expect("a text");
        if name.ends_with(".service") || name.ends_with(".timer") {
            let text = fs::read_to_string(&path).expect("read it");
            units.push((name.to_owned(), text));
        }
    }
    units.sort();
    assert_eq!(units.len(), 10);
    units
}

#[test]
fn units_name_what_there_is() {
    let units = units();
    for (name, text) in &units {
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            for word in value.split_whitespace() {
                if let Some(script) = word
                    .trim_start_matches(['+', '-'])
                    .strip_prefix("/usr/lib/moat/kv/")
                {
                    assert!(SCRIPTS.contains(&script), "{name}: {line}");
                }
                if let Some(document) = word.strip_prefix("file:///usr/share/doc/moat/") {
                    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
                    assert!(docs.join(document).exists(), "{name}: {line}");
                }
                let is_unit = [
                    "After",
                    "Wants",
                    "Requisite",
                    "Conflicts",
                    "PartOf",
                    "OnFailure",
                ];
                if is_unit.contains(&key) && word.starts_with("moat-") {
                    assert!(units.iter().any(|(unit, _)| unit == word), "{name}: {line}");
                }
            }
        }
    }
}

#[test]
fn the_package_has_all_of_them() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("read it");
    let (_, package) = manifest
        .split_once("[package.metadata.deb]")
        .expect("the package");
    for file in fs::read_dir(systemd().join("lib")).expect("the scripts") {
        let name = file.expect("an entry").file_name();
        let name = name.to_str().expect("a text");
        let is_known = SCRIPTS.contains(&name) || ["env", "common"].contains(&name);
        assert!(is_known, "{name} is not tested");
        let mode = if SCRIPTS.contains(&name) {
            "755"
        } else {
            "644"
        };
        let short = if name.starts_with("run-") {
            "run-*"
        } else {
            name
        };
        let asset = format!("[\"systemd/lib/{short}\", \"usr/lib/moat/kv/\", \"{mode}\"]");
        assert!(package.contains(&asset), "{name} is not in the package");
    }
    for kind in [
        "*.service",
        "*.timer",
        "moat-kv.sysusers",
        "moat-kv.tmpfiles",
        "kv.env",
    ] {
        assert!(package.contains(&format!("\"systemd/{kind}\"")), "{kind}");
    }
}

/// As systemd rates it: 0 is safe, 10 is not.
#[test]
fn services_may_do_little() {
    let Some(analyze) = tool("systemd-analyze") else {
        return;
    };
    for (name, _) in units() {
        if !name.ends_with(".service") {
            continue;
        }
        let mut rate = command(&analyze);
        rate.args(["security", "--offline=true", "--no-pager"])
            .arg(systemd().join(&name));
        let rated = run("systemd-analyze", &mut rate, None, PATIENCE).unwrap();
        let shown = rated.clone().ok().unwrap_or_else(|e| panic!("{name}: {e}"));
        let level = shown
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(a, _)| a.contains("Overall")))
            .and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<f64>().ok());
        // what jobs may need is not known here
        let limit = if name.contains("-run-") { 2.5 } else { 2.0 };
        assert!(
            level.is_some_and(|level| level <= limit),
            "{name}: {level:?}"
        );
    }
}

/// systemd's own reading of the units, in a tree where they are installed.
#[test]
fn systemd_understands_the_units() {
    let Some(analyze) = tool("systemd-analyze") else {
        return;
    };
    let root = TempDir::new().expect("a directory");
    let inside = |name: &str| root.path().join(name);
    let (to, lib) = (inside("usr/lib/systemd/system"), inside("usr/lib/moat/kv"));
    for dir in [&to, &lib, &inside("bin")] {
        fs::create_dir_all(dir).expect("make it");
    }
    for name in SCRIPTS {
        fs::copy(systemd().join("lib").join(name), lib.join(name)).expect("copy it");
    }
    fs::copy("/bin/true", inside("bin/kill")).expect("copy it");
    for target in [
        "sysinit",
        "basic",
        "shutdown",
        "network-online",
        "multi-user",
        "timers",
    ] {
        let text = format!("[Unit]\nDescription={target}\n");
        fs::write(to.join(format!("{target}.target")), text).expect("write it");
    }
    for (name, text) in units() {
        fs::write(to.join(name), text).expect("write it");
    }
    for (name, _) in units() {
        let mut verify = command(&analyze);
        verify
            .args(["verify", "--man=no", "--root"])
            .arg(root.path())
            .arg(name.replace('@', "@group"));
        let verified = run("systemd-analyze", &mut verify, None, PATIENCE).unwrap();
        let about = |line: &&str| line.contains("moat");
        let said: Vec<&str> = verified.stderr.lines().filter(about).collect();
        assert_eq!((verified.code(), said), (0, Vec::new()), "{name}");
    }
}
