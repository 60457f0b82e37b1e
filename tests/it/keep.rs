//! Rotated state files: `log rotate`, `dump newest`, `server --keep`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::support::moat::{Options, Server, bare};
use crate::support::process::{Output, run};
use crate::support::{PATIENCE, eventually, free_port};

/// A directory for rotated files.
struct Kept(TempDir);

impl Kept {
    fn new() -> Self {
        Self(TempDir::new().expect("a directory"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn text(&self) -> &str {
        self.path().to_str().expect("a text")
    }

    /// The state files, as DATE/N.dkv, sorted.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for set in fs::read_dir(self.path()).expect("read it") {
            let set = set.expect("an entry").path();
            for file in fs::read_dir(set).into_iter().flatten() {
                let path = file.expect("an entry").path();
                let name = path.strip_prefix(self.path()).expect("below");
                files.push(name.to_str().expect("a text").to_owned());
            }
        }
        files.retain(|name| !name.ends_with(".sum"));
        files.sort();
        files
    }

    /// The numbers of the files of the only set there is.
    fn numbers(&self) -> Vec<u32> {
        let files = self.files();
        let sets: BTreeSet<_> = files.iter().map(|f| f.split('/').next()).collect();
        assert!(sets.len() < 2, "{sets:?}");
        let number = |file: &String| {
            let (_, name) = file.split_once('/')?;
            name.strip_suffix(".dkv")?.parse().ok()
        };
        let mut numbers: Vec<u32> = files.iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Gives the newest set another date.
    fn becomes(&self, date: &str) {
        let last = self.files().pop().expect("a file");
        let (set, _) = last.split_once('/').expect("in a set");
        fs::rename(self.path().join(set), self.path().join(date)).expect("rename it");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

fn moat(args: &[&str]) -> Output {
    let mut command = bare(None);
    command.args(args);
    run("moat", &mut command, None, PATIENCE).unwrap()
}

fn set(server: &Server, path: &str, value: &str) {
    let done = server.kv(&["data", path, "set", "-v", ":", value], None);
    done.unwrap().ok().unwrap();
}

fn get(server: &Server, path: &str) -> Json {
    let got = server.kv(&["data", path, "get", "--json"], None);
    serde_json::from_str(&got.unwrap().ok().unwrap()).expect("a value")
}

/// `log rotate`, and what it says.
fn rotate(server: &Server, args: &[&str]) -> Json {
    let mut all = vec!["log", "rotate", "--json"];
    all.extend(args);
    let told = server.kv(&all, None).unwrap().ok().unwrap();
    serde_json::from_str(&told).expect("a line of JSON")
}

/// What `dump newest` joins, as paths and values.
fn newest(kept: &Kept) -> Vec<(Json, Json)> {
    let file = kept.file("joined");
    let file = file.to_str().expect("a text");
    let joined = moat(&["kv", "dump", "newest", kept.text(), file]);
    assert_eq!(joined.code(), 0, "{}", joined.stderr);
    let shown = moat(&["--json", "kv", "dump", "show", "-e", file]);
    let shown = shown.ok().unwrap();
    let lines = shown.lines().map(|line| {
        let record: Json = serde_json::from_str(line).expect("a line of JSON");
        (record["path"].clone(), record["value"].clone())
    });
    lines.collect()
}

/// Rotates so that all files are in one set, whatever the clock does.
const ONE: [&str; 2] = ["--date", "%Y-%m-%d"];

#[test]
fn files_follow_each_other_without_gap() {
    let kept = Kept::new();
    let server = Server::start();
    set(&server, "a", "one");
    let args = ["--dir", kept.text(), ONE[0], ONE[1]];
    let told = rotate(&server, &args);
    assert_eq!((&told["full"], &told["number"]), (&json!(true), &json!(0)));
    set(&server, "b", "two");
    let told = rotate(&server, &args);
    assert_eq!((&told["full"], &told["number"]), (&json!(false), &json!(1)));
    set(&server, "c", "three");
    // the directory is known from the server
    let told = rotate(&server, &ONE);
    assert_eq!((&told["full"], &told["number"]), (&json!(false), &json!(2)));
    set(&server, "d", "four");
    assert_eq!(kept.numbers(), [0, 1, 2]);

    // what was not logged is in the next file
    server.kv(&["log", "stop"], None).unwrap().ok().unwrap();
    set(&server, "e", "five");
    let told = rotate(&server, &args);
    assert_eq!((&told["full"], &told["number"]), (&json!(true), &json!(3)));
    set(&server, "f", "six");

    let mut server = server;
    server.process.signal(Signal::KILL);
    let dump = ["kv", "dump", "newest", "--date", "%Y-%m-%d", kept.text()];
    let file = kept.file("joined");
    let joined = moat(&[&dump[..], &[file.to_str().unwrap()]].concat());
    assert_eq!((joined.code(), joined.stderr.as_str()), (0, ""));
    let again = Server::with(&Options::begun("rec", &["-l", file.to_str().unwrap()]));
    for (path, value) in [
        ("a", "one"),
        ("b", "two"),
        ("d", "four"),
        ("e", "five"),
        ("f", "six"),
    ] {
        assert_eq!(get(&again, path), value);
    }
    // to standard output, without a file
    let mut command = bare(None);
    command.args(dump);
    let bytes = command.output().expect("run it").stdout;
    assert_eq!(bytes, fs::read(&file).unwrap());
}

#[test]
fn what_is_too_old_goes_after_a_full_file() {
    let kept = Kept::new();
    let server = Server::start();
    let rotate = |more: &[&str]| {
        let mut args = vec!["--dir", kept.text()];
        args.extend(more);
        rotate(&server, &args)
    };
    rotate(&[]);
    kept.becomes("2021-03-04-05");
    rotate(&["--keep-monthly", "100000"]);
    kept.becomes("2021-03-04-06");
    fs::write(kept.file("2021-03-04-06/mine"), "x").unwrap();
    let told = rotate(&[]);
    assert_eq!(told["removed"], json!(["2021-03-04-05"]));
    assert!(!kept.file("2021-03-04-05").exists());
    assert_eq!(fs::read(kept.file("2021-03-04-06/mine")).unwrap(), b"x");
    fs::remove_dir_all(kept.file("2021-03-04-06")).unwrap();

    kept.becomes("2021-03-04-05");
    let told = rotate(&["--keep-monthly", "100000"]);
    assert_eq!(told["removed"], json!([]), "it is the first of its month");
}

#[test]
fn who_cannot_rotate_says_why_in_a_line() {
    let port = free_port();
    let kept = Kept::new();
    let rotate = |port: u16, dir: &str| {
        let port = port.to_string();
        moat(&["kv", "-p", &port, "log", "rotate", "--dir", dir])
    };
    let ended = rotate(port, kept.text());
    assert_eq!(ended.code(), 1);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("is a server running there?"),
        "{}",
        ended.stderr
    );
    assert_eq!(kept.files(), Vec::<String>::new());

    let server = Server::start();
    let ended = rotate(server.port, "/nonexistent");
    assert_eq!(ended.code(), 1);
    assert!(
        ended.stderr.starts_with("/nonexistent: "),
        "{}",
        ended.stderr
    );
    let ended = server.kv(&["log", "rotate"], None).unwrap();
    assert_eq!(ended.code(), 1);
    assert!(
        ended.stderr.contains("choose a directory by --dir"),
        "{}",
        ended.stderr
    );
    let args = ["log", "rotate", "--dir", kept.text(), "--date", "%H"];
    let ended = server.kv(&args, None).unwrap();
    assert_eq!(ended.code(), 2);
    assert!(ended.stderr.contains("'--date'"), "{}", ended.stderr);
}

/// Nothing is lost by a rotation that fails.
#[test]
fn a_file_that_cannot_be_begun_leaves_the_log_where_it_is() {
    let kept = Kept::new();
    let server = Server::start();
    let args = ["--dir", kept.text(), ONE[0], ONE[1]];
    let first = rotate(&server, &args);
    let first = first["path"].as_str().expect("a path");
    let in_the_way = Path::new(first).with_file_name("1.dkv.tmp");
    fs::create_dir(&in_the_way).unwrap();
    let all = [&["log", "rotate"][..], &args].concat();
    let ended = server.kv(&all, None).unwrap();
    assert_eq!(ended.code(), 1);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    let list = server.kv(&["log", "list", "--json"], None).unwrap();
    let list: Json = serde_json::from_str(&list.ok().unwrap()).unwrap();
    assert_eq!((&list["path"], list.get("failed")), (&json!(first), None));
    set(&server, "a", "one");
    fs::remove_dir(in_the_way).unwrap();
    let told = rotate(&server, &args);
    assert_eq!((&told["full"], &told["number"]), (&json!(false), &json!(1)));
    drop(server);
    let dump = ["--json", "kv", "dump", "show", "-e", first];
    assert!(moat(&dump).ok().unwrap().contains("\"one\""));
}

#[test]
fn damage_costs_only_what_it_hit() {
    let kept = Kept::new();
    let server = Server::start();
    let dir = ["--dir", kept.text()];
    let long = "--keep-hourly 99999 --keep-daily 99999 --keep-monthly 99999";
    let long: Vec<&str> = long.split(' ').collect();
    for (n, name) in ["2021-03-04-05", "2021-03-04-06", "2021-03-04-07"]
        .iter()
        .enumerate()
    {
        set(&server, &format!("a{n}"), "x");
        let told = rotate(&server, &[&dir[..], &long[..]].concat());
        assert_eq!(told["full"], true);
        set(&server, &format!("b{n}"), "x");
        kept.becomes(name);
    }
    drop(server);
    let all = newest(&kept);
    assert_eq!(all.len(), 7, "{all:?}");

    fs::write(kept.file("2021-03-04-07/0.dkv"), b"no state at all").unwrap();
    let joined = moat(&[
        "kv",
        "dump",
        "newest",
        kept.text(),
        kept.file("j").to_str().unwrap(),
    ]);
    assert_eq!(joined.code(), 0, "{}", joined.stderr);
    assert!(
        joined.stderr.contains("2021-03-04-07/0.dkv"),
        "{}",
        joined.stderr
    );
    // "a2" was written before it was begun
    assert_eq!(newest(&kept).len(), 6);

    for name in ["2021-03-04-05", "2021-03-04-06"] {
        fs::write(kept.file(name).join("0.dkv"), b"").unwrap();
    }
    let out = kept.file("never");
    let joined = moat(&["kv", "dump", "newest", kept.text(), out.to_str().unwrap()]);
    assert_eq!(joined.code(), 1);
    assert!(
        joined.stderr.contains("no directory with a 0.dkv"),
        "{}",
        joined.stderr
    );
    assert!(!out.exists());
}

fn keeping(kept: &Kept, more: &[&str]) -> Options {
    let mut begin = vec!["--keep", kept.text()];
    begin.extend(more);
    Options::begun("rec", &begin)
        .with("server.keep.date=%Y-%m-%d")
        .with("server.keep.period=1")
}

#[test]
fn a_server_keeps_what_it_is_told() {
    let kept = Kept::new();
    let mut server = Server::with(&keeping(&kept, &["-i", "Testing"]));
    let count = |n: usize| {
        let found = eventually("files", PATIENCE, || {
            (kept.numbers().len() >= n).then(|| kept.numbers().len())
        });
        found.unwrap()
    };
    count(1);
    set(&server, "a", "one");
    count(2);
    set(&server, "b", "two");
    server.process.signal(Signal::KILL);
    server.process.wait(PATIENCE).unwrap();
    let before = kept.numbers().len();

    let mut server = Server::with(&keeping(&kept, &[]));
    assert_eq!(get(&server, ":"), "Testing");
    assert_eq!(
        (get(&server, "a"), get(&server, "b")),
        (json!("one"), json!("two"))
    );
    // goes on in a new file, which is complete
    count(before + 1);
    set(&server, "c", "three");
    server.process.signal(Signal::TERM);
    assert!(server.process.wait(PATIENCE).unwrap().success());
    let server = Server::with(&keeping(&kept, &[]));
    assert_eq!(
        (get(&server, "b"), get(&server, "c")),
        (json!("two"), json!("three"))
    );
}

#[test]
fn a_server_that_has_kept_nothing_says_so() {
    let kept = Kept::new();
    let port = format!("server.bind_default.port={}", free_port());
    let server = |args: &[&str]| {
        let config = ["kv", "-C", "server.backend=none", "-C", &port, "server"];
        moat(&[&config[..], args].concat())
    };
    let ended = server(&["--keep", kept.text(), "rec"]);
    assert_eq!(ended.code(), 1);
    assert_eq!(
        ended.stderr,
        "nothing to serve: start with -i VALUE or -l FILE\n"
    );
    let ended = server(&["--keep", "/nonexistent", "rec"]);
    assert_eq!(ended.code(), 1);
    assert!(
        ended.stderr.starts_with("/nonexistent: "),
        "{}",
        ended.stderr
    );
    let ended = server(&["-a", "rec"]);
    assert_eq!(ended.code(), 2);
}

#[cfg(feature = "mqtt")]
#[test]
fn others_are_asked_before_the_disk() {
    use crate::support::process::Process;

    let kept = Kept::new();
    let server = Server::with(&keeping(&kept, &["-i", "Testing"]));
    let found = eventually("a file", PATIENCE, || {
        (!kept.numbers().is_empty()).then_some(())
    });
    found.unwrap();
    set(&server, "a", "one");
    drop(server);
    // nobody answers: there is not even a broker
    let port = free_port();
    let mut command = bare(None);
    command.arg("kv");
    for setting in [
        format!("server.mqtt.uri=mqtt://127.0.0.1:{}", free_port()),
        format!("server.bind_default.port={port}"),
        "server.bind_default.host=127.0.0.1".to_owned(),
        "server.keep.date=%Y-%m-%d".to_owned(),
    ] {
        command.args(["-C", &setting]);
    }
    command.args(["server", "--give-up", "0.3", "--keep", kept.text(), "rec"]);
    let mut process = Process::start("the server", &mut command, None);
    process.wait_for_line("Running.", PATIENCE).unwrap();
    let server = Server::of(process, port);
    assert_eq!(get(&server, "a"), "one");
}

/// What others have is newer than the disk; what was fetched is kept.
#[cfg(feature = "broker")]
#[test]
fn others_have_it_before_the_disk() {
    use crate::support::process::Process;

    let kept = Kept::new();
    let broker = format!("server.mqtt.uri=mqtt://127.0.0.1:{}", free_port());
    let start = |args: &[&str]| {
        let port = free_port();
        let mut command = bare(None);
        command.arg("kv");
        for setting in [
            broker.as_str(),
            "server.mqtt.embedded=always",
            "server.bind_default.host=127.0.0.1",
            "server.keep.date=%Y-%m-%d",
        ] {
            command.args(["-C", setting]);
        }
        command.args(["-C", &format!("server.bind_default.port={port}"), "server"]);
        let mut process = Process::start(args[0], command.args(args), None);
        process.wait_for_line("Running.", PATIENCE).unwrap();
        Server::of(process, port)
    };
    let first = start(&["-i", "Testing", "one"]);
    let second = start(&["--keep", kept.text(), "two"]);
    assert_eq!(get(&second, ":"), "Testing");
    drop(second);
    set(&first, "a", "later");
    let second = start(&["--keep", kept.text(), "two"]);
    assert_eq!(get(&second, "a"), "later");
    drop((first, second));
    let alone = start(&["--give-up", "1", "--keep", kept.text(), "two"]);
    assert_eq!(get(&alone, "a"), "later");
    // and the other one, who has nothing, fetches it from there
    let other = start(&["one"]);
    assert_eq!(get(&other, "a"), "later");
}
