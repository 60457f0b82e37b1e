//! `moat kv log …` and `server -s`: state files that a server writes while
//! it runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use moat::event::{NodeName, Tick};
use moat::wire::state::{Found, Reader};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::support::conn::Conn;
use crate::support::moat::{Options, Server};
use crate::support::network::Held;
use crate::support::{PATIENCE, eventually};

fn dir() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a text")
}

fn ok(server: &Server, args: &[&str]) -> String {
    server.kv(args, None).unwrap().ok().unwrap()
}

fn failed(server: &Server, args: &[&str]) -> String {
    let output = server.kv(args, None).unwrap();
    assert_eq!(output.code(), 1, "{output:?}");
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    output.stderr
}

fn json(server: &Server, args: &[&str]) -> Json {
    let output = ok(server, args);
    serde_json::from_str(&output).unwrap_or_else(|e| panic!("{e}: {output}"))
}

/// The log as the server sees it.
fn log(server: &Server) -> Json {
    json(server, &["log", "list", "--json"])
}

/// A server that has loaded these files.
fn loaded(files: &[&Path]) -> Server {
    let args: Vec<&str> = files.iter().flat_map(|file| ["-l", text(file)]).collect();
    Server::with(&Options::begun("rec", &args))
}

/// What a server that loads these files holds.
fn held(files: &[&Path]) -> Held {
    Held::of(loaded(files).port)
}

/// The server goes on far behind its last tick that a file tells of, so all
/// but the ticks must be the same.
fn assert_same(before: &Held, after: &Held) {
    assert_eq!(before.entries, after.entries);
    assert!(after.is_complete(), "{after:?}");
}

/// Each tick of `rec` that the changes of a file have, in their order.
fn ticks(file: &Path) -> Vec<u64> {
    let bytes = fs::read(file).expect("a file");
    let mut reader = Reader::new();
    reader.feed(&bytes);
    reader.end();
    let mut ticks = Vec::new();
    while let Some(found) = reader.poll() {
        match found {
            Found::Event(event) => {
                let link = event.chain.first().expect("a link");
                assert_eq!(link.node, NodeName::new("rec"));
                let Tick(tick) = link.tick;
                ticks.push(tick);
            }
            Found::Books(_) => {}
            other => panic!("{}: {other:?}", file.display()),
        }
    }
    ticks
}

/// Writes until it is told to stop; returns how much.
fn hammer(port: u16, name: &str, stop: &AtomicBool) -> u64 {
    let mut conn = Conn::open(port);
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        conn.set(&["h", name, &(n % 50).to_string()], json!(n));
    }
    n
}

/// What a server writes is what it holds, whatever is written meanwhile.
#[test]
fn a_log_is_the_state_and_all_changes() {
    let dir = dir();
    let files: Vec<PathBuf> = (0..6)
        .map(|n| dir.path().join(format!("{n}.state")))
        .collect();
    let server = Server::start();
    let mut conn = Conn::open(server.port);
    for n in 0..300 {
        conn.set(&["deep", &(n % 7).to_string(), &n.to_string()], json!(n));
    }
    let deleted = conn.request(json!({
        "action": "delete_value", "path": ["deep", "3", "3"]
    }));
    assert!(deleted.get("error").is_none(), "{deleted}");
    let stop = AtomicBool::new(false);
    let (held, saved) = std::thread::scope(|scope| {
        let hammers = ["a", "b"].map(|name| {
            let (stop, port) = (&stop, server.port);
            scope.spawn(move || hammer(port, name, stop))
        });
        ok(&server, &["log", "dest", text(&files[0])]);
        for file in &files[1..4] {
            ok(&server, &["log", "dest", "-i", text(file)]);
        }
        ok(&server, &["log", "dest", text(&files[4])]);
        let saved = dir.path().join("saved");
        ok(&server, &["log", "save", "-f", text(&saved)]);
        stop.store(true, Ordering::Relaxed);
        for hammer in hammers {
            assert!(hammer.join().expect("no failure") > 100);
        }
        ok(&server, &["log", "dest", "-i", text(&files[5])]);
        (Held::over(&mut conn), saved)
    });
    assert_eq!(log(&server)["path"], text(&files[5]));
    ok(&server, &["log", "stop"]);
    assert_eq!(log(&server), json!({}));

    // all of it, one after the other, and the last full one with what follows
    let all: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    for files in [&all[..], &all[4..]] {
        assert_same(&held, &self::held(files));
    }
    // incremental files hand over at one change
    let changes: Vec<u64> = files[1..4].iter().flat_map(|file| ticks(file)).collect();
    let first = changes.first().copied().expect("a change");
    let expected: Vec<u64> = (first..first + changes.len() as u64).collect();
    assert_eq!(changes, expected, "each tick once, none left out");
    // what was saved is what there was, at some moment while it was written
    assert!(self::held(&[&saved]).is_complete());
    let beginning = ["log", "save", text(&files[0])];
    assert!(ok(&server, &beginning).is_empty());
}

#[test]
fn a_saved_file_has_internal_data_only_if_they_are_wanted() {
    let dir = dir();
    let server = Server::start();
    let mut conn = Conn::open(server.port);
    conn.set(&["a"], json!(1));
    let rule = conn.request(json!({
        "action": "set_internal", "path": ["actor", "del"], "value": {"nodes": ["rec"]}
    }));
    assert!(rule.get("error").is_none(), "{rule}");
    let [full, user] = ["full", "user"].map(|name| dir.path().join(name));
    ok(&server, &["log", "save", "-f", text(&full)]);
    ok(&server, &["log", "save", text(&user)]);
    let [full, user] = [full, user].map(|file| held(&[&file]).entries.len());
    assert_eq!((full, user), (3, 2));
    let once = dir.path().join("once");
    ok(&server, &["log", "dest", "--once", text(&once)]);
    assert_eq!(held(&[&once]).entries.len(), 3);
    assert_eq!(log(&server), json!({}));
}

/// From the first change on, and into the same file again.
#[test]
fn a_server_writes_from_its_start() {
    let dir = dir();
    let file = dir.path().join("log");
    let begun = |args: &[&str]| Server::with(&Options::begun("rec", args));
    let mut server = begun(&["-i", "Root", "-s", text(&file)]);
    Conn::open(server.port).set(&["a"], json!(1));
    server.process.signal(Signal::TERM);
    server.process.wait(PATIENCE).unwrap();
    // only changes: what was loaded is not written again
    let changes = dir.path().join("changes");
    let more = ["-l", text(&file), "-s", text(&changes), "--incremental"];
    let server = begun(&more);
    Conn::open(server.port).set(&["b"], json!(2));
    assert_eq!(log(&server)["full"], false);
    drop(server);
    assert_eq!(ticks(&changes).len(), 1);
    let held = held(&[&file, &changes]);
    let values: BTreeMap<_, _> = held.values();
    assert_eq!(values.len(), 3, "{values:?}");
}

/// Only a file that its server closed when it ended says that nothing was
/// written behind it, and only to one start.
#[test]
fn a_clean_end_lets_the_next_run_go_on_at_once() {
    let dir = dir();
    let file = dir.path().join("log");
    let args = ["-l", text(&file), "-s", text(&file)];
    let tick = |server: &Server| {
        let mut conn = Conn::open(server.port);
        conn.set(&["a"], json!(1));
        let state = conn.request(json!({"action": "get_state", "nodes": true}));
        state["nodes"]["rec"].as_u64().unwrap()
    };
    let end = |mut server: Server| {
        server.process.signal(Signal::TERM);
        server.process.wait(PATIENCE).unwrap();
    };
    let first = Server::with(&Options::begun("rec", &["-i", "Root", "-s", text(&file)]));
    assert_eq!(tick(&first), 2);
    end(first);
    let again = Server::with(&Options::begun("rec", &args));
    assert_eq!(tick(&again), 3);
    drop(again);
    let killed = Server::with(&Options::begun("rec", &args));
    let far = tick(&killed);
    assert!(far > 1 << 20, "{far}");
    // one that the server has left for another is no last one
    let other = dir.path().join("other");
    ok(&killed, &["log", "dest", text(&other)]);
    end(killed);
    let from_old = Server::with(&Options::begun("rec", &["-l", text(&file)]));
    assert!(tick(&from_old) > far + (1 << 20));
    // what has been used once, by whoever saves nothing, is not used again
    let once = Server::with(&Options::begun("rec", &["-l", text(&other)]));
    assert_eq!(tick(&once), far + 1);
    drop(once);
    let twice = Server::with(&Options::begun("rec", &["-l", text(&other)]));
    assert!(tick(&twice) > far + (1 << 20));
}

#[test]
fn files_are_written_where_they_do_no_harm() {
    let dir = dir();
    let server = Server::start();
    let other = dir.path().join("letter.txt");
    fs::write(&other, "Dear Sir or Madam\n").unwrap();
    for command in ["dest", "save"] {
        let said = failed(&server, &["log", command, text(&other)]);
        assert!(said.contains("a file of another kind"), "{said}");
        let said = failed(&server, &["log", command, "/nonexistent/x"]);
        assert!(said.contains("FileNotFoundError(2, "), "{said}");
        assert!(said.contains("/nonexistent/x"), "{said}");
        let said = failed(&server, &["log", command, text(dir.path())]);
        assert!(said.contains("not a regular file"), "{said}");
        let said = failed(&server, &["log", command, "x.tmp"]);
        assert!(said.contains("another one"), "{said}");
    }
    assert_eq!(fs::read(&other).unwrap(), b"Dear Sir or Madam\n");
    // an empty file is as good as none
    let empty = dir.path().join("empty");
    fs::write(&empty, "").unwrap();
    ok(&server, &["log", "dest", text(&empty)]);
    // the running log is not replaced by something that has less
    let said = failed(&server, &["log", "dest", "-i", text(&empty)]);
    assert!(said.contains("changes are being written to it"), "{said}");
    let said = failed(&server, &["log", "save", text(&empty)]);
    assert!(said.contains("changes are being written to it"), "{said}");
    ok(&server, &["log", "dest", text(&empty)]);
    assert!(held(&[&empty]).is_complete());
    // a name that is relative is one to the server
    ok(&server, &["log", "save", "here"]);
    assert!(held(&[&server.dir().join("here")]).is_complete());
    // nothing of all that stays
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".sum"))
        .collect();
    names.sort();
    assert_eq!(names, ["empty", "letter.txt"]);
}

#[test]
fn an_allowed_directory_is_the_only_one() {
    let [dir, other] = [dir(), dir()];
    let setting = format!("server.log.dirs=({:?},)", text(dir.path()));
    let server = Server::with(&Options::default().with(&setting));
    ok(&server, &["log", "save", text(&dir.path().join("a"))]);
    let outside = other.path().join("a");
    let said = failed(&server, &["log", "save", text(&outside)]);
    assert!(said.contains("server.log.dirs"), "{said}");
    let around = dir.path().join("link");
    std::os::unix::fs::symlink(other.path(), &around).unwrap();
    let said = failed(&server, &["log", "save", text(&around.join("a"))]);
    assert!(said.contains("server.log.dirs"), "{said}");
    assert!(!outside.exists());
}

/// How large a file of the server may become, as if the disk were full then.
fn limit(server: &Server, bytes: Option<u64>) {
    let pid = i32::try_from(server.process.pid()).expect("a process id");
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    rustix::process::prlimit(Pid::from_raw(pid), Resource::Fsize, limit).expect("a child's limit");
}

#[test]
fn a_full_disk_stops_nobody_and_heals() {
    let dir = dir();
    let file = dir.path().join("log");
    let server = Server::with(&Options::begun("rec", &["-i", "Root", "-s", text(&file)]));
    let mut conn = Conn::open(server.port);
    conn.set(&["before"], json!(1));
    limit(&server, Some(fs::metadata(&file).unwrap().len() + 300));
    // replies come, whether or not they promise something
    for n in 0..100 {
        conn.set(&["while"], json!(n));
    }
    let state = log(&server);
    assert!(state["unsaved"].as_u64().unwrap() > 10, "{state}");
    let words = state["failed"].as_str().unwrap();
    assert!(words.contains("File too large"), "{state}");
    let shown = json(&server, &["internal", "state", "-n", "--json"]);
    assert_eq!(shown["log"]["failed"], *words, "{shown}");
    // what is there is whole
    assert!(ticks(&file).len() > 2);
    limit(&server, None);
    eventually("the log is written again", PATIENCE, || {
        log(&server).get("failed").is_none().then_some(())
    })
    .unwrap();
    conn.set(&["after"], json!(2));
    let now = Held::over(&mut conn);
    drop(server);
    assert_same(&now, &held(&[&file]));
}

#[test]
fn writes_can_be_refused_while_they_cannot_be_logged() {
    let dir = dir();
    let file = dir.path().join("log");
    let options = Options::begun("rec", &["-i", "Root", "-s", text(&file)]);
    let server = Server::with(&options.with("server.log.on_error=refuse"));
    let mut conn = Conn::open(server.port);
    conn.set(&["tree", "a"], json!(1));
    limit(&server, Some(fs::metadata(&file).unwrap().len()));
    let set = json!({"action": "set_value", "path": ["x"], "value": 5});
    // the one that finds out is done, without the promise
    conn.request(set.clone());
    let reply = conn.request(set.clone());
    let error = reply["error"].as_str().unwrap();
    assert!(error.starts_with("LogError("), "{reply}");
    assert_eq!(reply["etype"], "log");
    let tree = conn.request(json!({"action": "delete_tree", "path": ["tree"]}));
    assert!(tree["error"].as_str().unwrap().starts_with("LogError("));
    assert_eq!(conn.get(&["tree", "a"]), Some(json!(1)));
    let said = failed(&server, &["data", "y", "set", "-v", ":", "z"]);
    assert!(said.starts_with("ServerError: LogError("), "{said}");
    limit(&server, None);
    eventually("writes are taken again", PATIENCE, || {
        conn.request(set.clone())
            .get("error")
            .is_none()
            .then_some(())
    })
    .unwrap();
}

/// Whatever is acknowledged has been synced: the file has it, and says so.
#[test]
fn always_means_before_the_reply() {
    let dir = dir();
    let file = dir.path().join("log");
    let options = Options::begun("rec", &["-i", "Root", "-s", text(&file)]);
    let server = Server::with(&options.with("server.log.sync=always"));
    let mut conn = Conn::open(server.port);
    let mut watcher = Conn::open(server.port);
    let watch = watcher.ask(json!({"action": "watch", "path": []}));
    assert_eq!(watcher.reply(watch)["state"], "start");
    for n in 0..20 {
        conn.set(&["a"], json!(n));
        let state = conn.request(json!({"action": "get_log"}));
        assert_eq!(state["synced"], state["bytes"], "{state}");
        assert_eq!(watcher.reply(watch)["value"], n);
    }
    // several at once, and what follows them in order
    let asked: Vec<u64> = (0..200)
        .map(|n| conn.ask(json!({"action": "set_value", "path": ["a"], "value": n, "nchain": 0})))
        .collect();
    for seq in asked {
        let reply = conn.reply(seq);
        assert!(reply.get("error").is_none(), "{reply}");
    }
    assert_eq!(conn.get(&["a"]), Some(json!(199)));
    drop(server);
    assert_eq!(held(&[&file]).values().len(), 2);
}

/// Replies that wait for the disk when the server is told to end are sent, as
/// soon as they may.
#[test]
fn a_server_that_ends_sends_what_has_waited_for_the_disk() {
    for sync in ["always", "1"] {
        let dir = dir();
        let file = dir.path().join("log");
        let options = Options::begun("rec", &["-i", "Root", "-s", text(&file)]);
        let mut server = Server::with(&options.with(&format!("server.log.sync={sync}")));
        let mut clients: Vec<Conn> = (0..20).map(|_| Conn::open(server.port)).collect();
        let mut asked = Vec::new();
        for round in 0..50 {
            for (n, conn) in clients.iter_mut().enumerate() {
                let path = json!(["c", n, round]);
                let set = json!({"action": "set_value", "path": path, "value": 1, "nchain": 0});
                asked.push((n, path, conn.ask(set)));
            }
        }
        // each has one reply at least: all has been read
        for (n, conn) in clients.iter_mut().enumerate() {
            let (_, _, seq) = asked.iter().rfind(|(who, ..)| *who == n).expect("it asked");
            let reply = conn.reply(*seq);
            assert!(reply.get("error").is_none(), "{reply}");
            conn.ask(json!({"action": "set_value", "path": ["last", n], "value": 2}));
        }
        server.process.signal(Signal::TERM);
        // an answer, or the end: never an answer that is not in the file
        let answered: Vec<bool> = clients
            .iter_mut()
            .map(|conn| !conn.until_closed("the end").is_empty())
            .collect();
        server.process.wait(PATIENCE).unwrap();
        let said = server.process.stderr();
        assert!(!said.contains("did not take"), "{said}");
        let again = loaded(&[&file]);
        let mut conn = Conn::open(again.port);
        for (n, path, _) in asked {
            let reply = conn.request(json!({"action": "get_value", "path": path}));
            assert_eq!(reply["value"], 1, "{n} {path}");
        }
        for (n, answered) in answered.into_iter().enumerate() {
            let reply = conn.request(json!({"action": "get_value", "path": ["last", n]}));
            assert!(!answered || reply["value"] == 2, "{n} {reply}");
        }
    }
}
