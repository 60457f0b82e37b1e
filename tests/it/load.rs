//! `server -l FILE`: whatever can be read is a file, and what is wrong with
//! one is said in a line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::support::moat::{Options, Server, bare, program};
use crate::support::process::{Output, Process, run};
use crate::support::{PATIENCE, free_port};

fn recorded(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join(format!("tests/vectors/state/{name}.msgpack"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a text")
}

/// A server that must end by itself, or only looks what it is told.
fn server(args: &[&str], stdin: Option<&[u8]>) -> Output {
    let mut command = bare(None);
    command
        .args(["kv", "-C", "server.backend=none"])
        .args(["-C", &format!("server.bind_default.port={}", free_port())])
        .arg("server")
        .args(args);
    run("the server", &mut command, stdin, PATIENCE).unwrap()
}

fn json(server: &Server, args: &[&str]) -> Json {
    let output = server.kv(args, None).unwrap().ok().unwrap();
    serde_json::from_str(&output).unwrap_or_else(|e| panic!("{e}: {output}"))
}

fn value(server: &Server, path: &str) -> Json {
    json(server, &["data", path, "get", "--json"])
}

#[test]
fn a_file_of_the_original_is_served() {
    let file = recorded("dest");
    let server = Server::with(&Options::begun("ann", &["-l", text(&file)]));
    assert_eq!(value(&server, ":"), json!("Root"));
    assert_eq!(value(&server, "a.b"), json!("two"));
    // this run goes on far behind what the last one may have written
    let set = server.kv(&["data", "new", "set", "-v", ":", "x"], None);
    set.unwrap().ok().unwrap();
    let state = json(&server, &["internal", "state", "-n", "--json"]);
    let tick = state["nodes"]["ann"].as_u64().unwrap();
    assert!(tick > 27 + (1 << 20), "{state}");
    assert_eq!(state["nodes"]["bob"], 5);
}

/// `-l <(cat …)`, and standard input: nothing can be sought in.
#[test]
fn a_pipe_of_several_files_is_served() {
    let port = free_port();
    let line = format!(
        "exec {} kv -C server.backend=none -C server.bind_default.port={port} \
         server -l <(cat {} {}) ann",
        text(&program()),
        text(&recorded("full")),
        text(&recorded("dest-incremental")),
    );
    let mut command = Command::new("bash");
    command.args(["-c", &line]).env("HOME", "/nonexistent");
    let mut process = Process::start("the server", &mut command, None);
    process.wait_for_line("Running.", PATIENCE).unwrap();
    let server = Server::of(process, port);
    assert_eq!(value(&server, "l.one"), json!("recreated by bob"));
}

#[test]
fn several_files_are_read_in_their_order() {
    let (full, more) = (recorded("full"), recorded("dest-incremental"));
    let args = ["-l", text(&full), "-l", text(&more)];
    let server = Server::with(&Options::begun("ann", &args));
    assert_eq!(value(&server, "l.one"), json!("recreated by bob"));
}

#[test]
fn a_torn_end_is_told_and_dropped() {
    let file = recorded("truncated");
    let server = Server::with(&Options::begun("ann", &["-l", text(&file)]));
    assert_eq!(value(&server, "a.b"), json!("two"));
    let size = fs::metadata(&file).unwrap().len();
    let told = server.process.stderr();
    let line = told.lines().find(|line| line.contains("truncated.msgpack"));
    let line = line.unwrap_or_else(|| panic!("{told}"));
    assert!(line.contains("in the middle of a record"), "{line}");
    assert!(line.contains(&format!("byte {}", size - 68)), "{line}");
}

#[test]
fn damage_in_the_middle_needs_force() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("damaged.state");
    let mut bytes = fs::read(recorded("full")).unwrap();
    let at = bytes.windows(9).position(|w| w == b"ann again").unwrap();
    // the head of the entry's value becomes one that there is not
    bytes[at - 1] = 0xc1;
    fs::write(&file, &bytes).unwrap();
    let refused = server(&["-l", text(&file), "ann"], None);
    assert_eq!((refused.code(), refused.stdout.as_str()), (1, ""));
    let lines: Vec<&str> = refused.stderr.lines().collect();
    let told = lines.last().unwrap();
    assert!(told.starts_with("cannot load "), "{told}");
    assert!(told.contains("damaged from byte"), "{told}");
    assert!(told.contains("--force"), "{told}");
    let server = Server::with(&Options::begun("ann", &["-f", "-l", text(&file)]));
    assert_eq!(value(&server, "v.path"), json!({"$path": "x:1"}));
    assert!(server.process.stderr().contains("left out"));
}

#[test]
fn what_is_no_state_is_named() {
    let directory = TempDir::new().unwrap();
    let empty = directory.path().join("empty");
    fs::write(&empty, "").unwrap();
    let script = directory.path().join("script");
    fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    let absent = directory.path().join("absent");
    for (file, why) in [
        (empty.as_path(), "it is empty: nothing to load"),
        (&script, "it is no state file"),
        (&absent, "No such file or directory (os error 2)"),
        (directory.path(), "is a directory"),
    ] {
        let refused = server(&["-l", text(file), "ann"], None);
        assert_eq!(refused.code(), 1, "{file:?}");
        let told = refused.stderr.lines().last().unwrap_or_default().to_owned();
        assert_eq!(told, format!("cannot load {}: {why}", text(file)));
    }
    let refused = server(&["-l", "-", "ann"], Some(b""));
    assert_eq!(
        refused.stderr,
        "cannot load -: it is empty: nothing to load\n"
    );
}

#[test]
fn anothers_file_is_taken_if_it_is_said_to_be_all() {
    let file = recorded("full");
    let refused = server(&["-l", text(&file), "carl"], None);
    assert_eq!(refused.code(), 1);
    assert!(
        refused.stderr.contains("not of 'carl' but of 'ann'"),
        "{}",
        refused.stderr
    );
    let server = Server::with(&Options::begun("carl", &["-a", "-l", text(&file)]));
    assert_eq!(value(&server, "a.b"), json!("two"));
    let state = json(&server, &["internal", "state", "-m", "--json"]);
    assert_eq!(state["missing"], json!({}), "{state}");
}

/// A file without internal entries has holes, which `-a` closes.
#[test]
fn holes_are_shown_unless_the_file_is_all() {
    let file = recorded("notfull");
    for (more, holes) in [(&[][..], true), (&["-a"], false)] {
        let mut args = vec!["-l", text(&file)];
        args.extend(more);
        let server = Server::with(&Options::begun("ann", &args));
        let state = json(&server, &["internal", "state", "-m", "--json"]);
        assert_eq!(state["missing"] != json!({}), holes, "{state}");
    }
}

#[test]
fn what_excludes_each_other_is_a_usage_error() {
    let file = recorded("full");
    for args in [
        &["-l", text(&file), "-i", "x", "ann"][..],
        &["-l", text(&file), "-a", "-f", "ann"],
        &["-l", text(&file), "ann", "bob"],
        &["-a", "ann"],
    ] {
        assert_eq!(server(args, None).code(), 2, "{args:?}");
    }
}
