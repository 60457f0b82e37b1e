//! `dump init|show|convert|merge|diff|check`: state files without a server.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::support::PATIENCE;
use crate::support::moat::{Options, Server, bare};
use crate::support::process::{Output, run};

const FILES: [&str; 14] = [
    "concat-full+incremental",
    "concat-full+log",
    "concat-full-with-deletions+state",
    "dest",
    "dest-incremental",
    "full",
    "full-with-deletions",
    "handmade-deletion-marked",
    "handmade-deletion-record",
    "log-a-65s",
    "log-b-rotated",
    "log-c-rotated-full",
    "notfull",
    "truncated",
];

fn recorded(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(format!("tests/vectors/state/{name}.msgpack"));
    path.to_str().expect("a text").to_owned()
}

fn dump_with(args: &[&str], stdin: Option<&[u8]>) -> Output {
    let mut command = bare(None);
    let (json, args) = match args {
        ["--json", args @ ..] => (true, args),
        args => (false, args),
    };
    command
        .args(json.then_some("--json"))
        .args(["kv", "dump"])
        .args(args);
    run("moat kv dump", &mut command, stdin, PATIENCE).unwrap()
}

fn dump(args: &[&str]) -> Output {
    dump_with(args, None)
}

fn done(args: &[&str]) -> String {
    dump(args).ok().unwrap()
}

/// A folder for new files.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().expect("a directory"))
    }

    fn file(&self, name: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        path.to_str().expect("a text").to_owned()
    }
}

/// What a file holds that is loaded, less the bookkeeping: its entries as one
/// line each, sorted.
fn held(file: &str) -> Vec<String> {
    let folder = Folder::new();
    let merged = folder.file("merged");
    done(&["merge", file, &merged]);
    let shown = done(&["--json", "show", "-e", &merged]);
    let mut lines: Vec<String> = shown.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn values(lines: &[String]) -> Vec<(Json, Json)> {
    let lines = lines
        .iter()
        .map(|line| serde_json::from_str::<Json>(line).unwrap());
    let lines = lines.filter(|record| record.get("value").is_some());
    lines
        .map(|record| (record["path"].clone(), record["value"].clone()))
        .collect()
}

#[test]
fn what_is_shown_can_be_made_a_file_again() {
    let folder = Folder::new();
    for name in FILES {
        let file = recorded(name);
        for json in [&[][..], &["--json"]] {
            let new = folder.file("new");
            let shown = done(&[json, &["show", &file]].concat());
            let convert = [json, &["convert", "-", &new]].concat();
            dump_with(&convert, Some(shown.as_bytes())).ok().unwrap();
            assert_eq!(done(&[json, &["show", &new]].concat()), shown, "{name}");
            assert_eq!(held(&new), held(&file), "{name}");
        }
    }
}

#[test]
fn a_record_looks_like_this() {
    let shown = done(&["show", "-p", "l.one", &recorded("handmade-deletion-marked")]);
    assert!(shown.starts_with("deleted: {}\nknown:"), "{shown}");
    let shown = done(&["show", "-e", &recorded("log-b-rotated")]);
    let first = shown.split("---\n").next().unwrap();
    assert_eq!(
        first,
        "chain:\n  node: ann\n  prev: null\n  tick: 6\npath: !P x.three\ntock: 44\nvalue: 3\n"
    );
}

#[test]
fn files_become_one_in_any_order() {
    let folder = Folder::new();
    let (full, more) = (recorded("full"), recorded("dest-incremental"));
    let both = recorded("concat-full+incremental");
    for files in [[&full, &more], [&more, &full]] {
        let new = folder.file("new");
        assert_eq!(done(&["merge", files[0], files[1], &new]), "");
        assert_eq!(held(&new), held(&both));
        let again = folder.file("again");
        done(&["merge", &new, &new, &both, &again]);
        assert_eq!(done(&["diff", &new, &again]), "");
        assert!(!Path::new(&folder.file("new.tmp")).exists());
    }
    // and it is a file as any other
    let server = Server::with(&Options::begun("ann", &["-l", &folder.file("new")]));
    let got = server
        .kv(&["data", "l.one", "get", "--json"], None)
        .unwrap();
    assert_eq!(got.ok().unwrap(), "\"recreated by bob\"\n");
    let got = server.kv(&["data", "a.b.c"], None).unwrap();
    assert_eq!(got.stderr, "No data at a.b.c\n", "deletions are kept");
}

#[test]
fn the_tree_as_it_was() {
    let folder = Folder::new();
    let new = folder.file("new");
    let log = recorded("concat-full+incremental");
    done(&["merge", "--at-tock", "105", &log, &new]);
    assert_eq!(values(&held(&new)), values(&held(&recorded("full"))));
    done(&["merge", "--at-tock", "1000", &log, &new]);
    assert_eq!(held(&new), held(&log));
    let refused = dump(&["merge", "--at", "1700000000", &log, &new]);
    assert_eq!(refused.code(), 1);
    assert!(
        refused.stderr.contains("no file tells the time"),
        "{}",
        refused.stderr
    );
}

/// Our logs say when: what follows a later time is left out.
#[test]
fn the_tree_as_it_was_at_a_time() {
    let folder = Folder::new();
    let (text, file, new) = (folder.file("text"), folder.file("file"), folder.file("new"));
    let books = |tick: u64, time: f64| {
        json!({"nodes": {"ann": tick}, "node": "ann", "tock": tick, "time": time}).to_string()
    };
    let change = |tick: u64| {
        json!({
            "path": "a", "value": tick, "tock": tick,
            "chain": {"node": "ann", "tick": tick, "prev": null}
        })
        .to_string()
    };
    let lines = [
        books(1, 1000.0),
        change(1),
        books(2, 1001.5),
        change(2),
        books(3, 1003.0),
        change(3),
    ];
    fs::write(&text, lines.join("\n")).unwrap();
    done(&["--json", "convert", &text, &file]);
    for (at, value) in [("1000", 1), ("1002.9", 2), ("1003", 3), ("99999", 3)] {
        done(&["merge", "--at", at, &file, &new]);
        assert_eq!(values(&held(&new)), [(json!("a"), json!(value))], "at {at}");
    }
}

#[test]
fn a_part_is_cut_out() {
    let folder = Folder::new();
    let new = folder.file("new");
    done(&["merge", "-p", "v.path", &recorded("full"), &new]);
    let wanted = (json!("v.path"), json!({"$path": "x:1"}));
    assert_eq!(values(&held(&new)), [wanted]);
}

#[test]
fn files_are_compared_by_what_they_hold() {
    let (old, new) = (recorded("full"), recorded("concat-full+log"));
    let differ = dump(&["--json", "diff", &old, &new]);
    assert_eq!((differ.code(), differ.stderr.as_str()), (1, ""));
    let lines: Vec<Json> = differ
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let of = |path: &str| lines.iter().find(|l| l["path"] == path);
    let gone = of("a.b.c").unwrap_or_else(|| panic!("{lines:?}"));
    assert_eq!((gone.get("new"), gone["old"].is_array()), (None, true));
    let came = of("l.one").unwrap();
    assert_eq!(
        (came.get("old"), &came["new"]),
        (None, &json!("recreated by bob"))
    );
    assert!(of("a.b").is_none(), "it is the same");
    let same = dump(&["diff", &new, &new]);
    assert_eq!((same.code(), same.stdout.as_str()), (0, ""));
    let differ = dump(&["diff", "-p", "l.one", &old, &new]);
    assert_eq!(differ.stdout, "- new: recreated by bob\n  path: !P l.one\n");
}

#[test]
fn what_is_wrong_is_found_and_left_out() {
    let folder = Folder::new();
    let good = dump(&["check", &recorded("full")]);
    assert_eq!((good.code(), good.stderr.as_str()), (0, ""));
    assert_eq!(good.stdout, "22 records, 21 entries, 0 changes missing\n");

    let mut bytes = fs::read(recorded("full")).unwrap();
    let at = bytes.windows(9).position(|w| w == b"ann again").unwrap();
    bytes[at - 1] = 0xc1;
    bytes.truncate(bytes.len() - 3);
    let (damaged, new) = (folder.file("damaged"), folder.file("new"));
    fs::write(&damaged, bytes).unwrap();
    let bad = dump(&["check", "--repair", &new, &damaged]);
    assert_eq!(bad.code(), 1);
    let lines: Vec<&str> = bad.stderr.lines().collect();
    assert!(lines[0].contains("damaged"), "{lines:?}");
    assert!(
        lines.last().unwrap().contains("in the middle of a record"),
        "{lines:?}"
    );
    assert_eq!(dump(&["check", &new]).code(), 0);
    let had = held(&recorded("full"));
    let has = held(&new);
    assert!(
        has.len() > 15 && has.iter().all(|line| had.contains(line)),
        "{has:?}"
    );

    let refused = dump(&["merge", &damaged, &new]);
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    let told = done(&["--json", "check", &recorded("notfull")]);
    let told: Json = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["problems"], told["missing"].as_u64()),
        (&json!([]), Some(2))
    );
}

#[test]
fn a_first_file_is_made_once() {
    let folder = Folder::new();
    let first = folder.file("first.state");
    assert_eq!(done(&["init", "rec", &first]), "");
    let server = Server::with(&Options::begun("rec", &["-l", &first]));
    let got = server.kv(&["data", ":"], None).unwrap();
    assert_eq!(got.ok().unwrap(), "\"Initial data\"\n");
    let refused = dump(&["init", "rec", &first]);
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains("exists"), "{}", refused.stderr);
}

#[test]
fn what_is_wrong_with_a_text_is_told_with_its_line() {
    let folder = Folder::new();
    let new = folder.file("new");
    for (text, why) in [
        ("{\"path\": \"a\"}\n", "neither an entry nor bookkeeping"),
        ("{\"path\": 1, \"chain\": {}}\n", "neither an entry"),
        ("nonsense\n", "not JSON"),
    ] {
        let refused = dump_with(&["--json", "convert", "-", &new], Some(text.as_bytes()));
        assert_eq!(refused.code(), 1, "{text}");
        assert!(refused.stderr.contains("line 1"), "{}", refused.stderr);
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
        assert!(!Path::new(&new).exists() && !Path::new(&format!("{new}.tmp")).exists());
    }
}
