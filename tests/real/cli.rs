//! Both command lines with both servers: whichever server a command talks
//! to, it prints the same.

use rustix::process::Signal;

use crate::support::PATIENCE;
use crate::support::moat::{self, Server};
use crate::support::original::{self, Original};
use crate::support::process::{Output, Process};
use crate::{Needs, Tests};

/// What a command prints.
enum Prints {
    /// Both command lines the same
    Both(&'static str),
    /// Ours, and the original's
    Each(&'static str, &'static str),
    /// Something that is only compared between the servers
    Any,
}

use Prints::{Any, Both, Each};

/// Commands that both know, in the order they are run.
const COMMON: &[(&[&str], Prints)] = &[
    (&["data", ":"], Each("\"Testing\"\n", "'Testing'\n")),
    (&["data", "one.two", "set", "-e", ":", "123"], Both("")),
    (&["data", "one.two"], Both("123\n")),
    (
        &["data", "one.two.four", "set", "-e", ":", "1234"],
        Both(""),
    ),
    (
        &[
            "data", "one.five", "set", "-v", "one", "XXX", "-e", "two", "2",
        ],
        Both(""),
    ),
    (&["data", "one.five"], Both("one: XXX\ntwo: 2\n")),
    (&["data", "one.five", "set", "-e", "one", "1"], Both("")),
    (&["data", "one.five"], Both("one: 1\ntwo: 2\n")),
    (
        &["data", "one", "get", "-rd_"],
        Both("five:\n  _:\n    one: 1\n    two: 2\ntwo:\n  _: 123\n  four:\n    _: 1234\n"),
    ),
    (
        &["data", "one", "get", "-r"],
        Both("- !P two: 123\n- !P two.four: 1234\n- !P five:\n    one: 1\n    two: 2\n"),
    ),
    (
        &["data", "one", "get", "-r", "-m", "1"],
        Both("- !P two: 123\n- !P five:\n    one: 1\n    two: 2\n"),
    ),
    (
        &["data", "one", "get", "-r", "-M", "2"],
        Both("- !P two.four: 1234\n"),
    ),
    (&["data", "one", "list"], Both("- !P two\n- !P five\n")),
    (
        &["data", "one", "list", "-d_"],
        Both("five:\n  _:\n    one: 1\n    two: 2\ntwo:\n  _: 123\n"),
    ),
    (&["data", "one.nix"], Both("")),
    (&["data", "one.two", "delete"], Both("")),
    (&["data", "one.two"], Both("")),
    (&["data", "one.two", "get", "-r"], Both("- !P four: 1234\n")),
    (&["data", "nowhere", "get", "-r"], Both("")),
    (&["data", "t:1:t", "set", "-p", ":", "a.b"], Both("")),
    (&["data", "t:1:t"], Each("!P a.b\n", "!P a.b\n...\n")),
    (&["data", "k.bytes", "set", "-e", ":", "b'abc'"], Both("")),
    (&["data", "k.bytes"], Both("b'abc'\n")),
    (
        &["data", "k.tuple", "set", "-e", ":", "(1,'a',(2.5,None))"],
        Both(""),
    ),
    (&["data", "k.tuple"], Both("- 1\n- a\n- - 2.5\n  - null\n")),
    (
        &["data", "k.big", "set", "-e", ":", "18446744073709551615"],
        Both(""),
    ),
    (&["data", "k.big"], Both("18446744073709551615\n")),
    (&["data", "k", "get", "-rd_"], Any),
    (&["data", "one.four", "delete", "-p", "1", "-e"], Both("")),
    (&["internal", "state", "-n"], Any),
    (&["internal", "state", "-k", "-p", "-s", "-m"], Any),
    (&["internal", "enum", "rec"], Any),
    (
        &["internal", "get", "rec", "1"],
        Each("\"Testing\"\n", "'Testing'\n"),
    ),
    (&["internal", "get", "rec", "99"], Both("")),
    (&["internal", "dump", ":"], Both("{}\n")),
    (&["data", "one", "delete", "-r"], Both("")),
    (&["data", "one", "get", "-r"], Any),
    (&["-m", "data", "k.tuple"], Any),
];

/// Without what differs from run to run: counters and the names of the
/// modules that errors come from.
fn settled(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let counter = ["tock:", "seq:"].iter().any(|c| line.starts_with(c));
        match counter {
            true => line.split(':').next().unwrap_or_default(),
            false => line,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Exit code, output, and the last line of errors.
fn result(output: &Output) -> (i32, String, String) {
    let last = output.stderr.lines().last().unwrap_or_default();
    (output.code(), settled(&output.stdout), last.to_owned())
}

/// Runs the commands with both servers; `expected` picks what must be
/// printed.
fn agree(
    expected: impl Fn(&Prints) -> Option<&'static str>,
    with_ours: impl Fn(&[&str]) -> Output,
    with_original: impl Fn(&[&str]) -> Output,
) {
    let mut differences = Vec::new();
    for (args, prints) in COMMON {
        let (ours, original) = (result(&with_ours(args)), result(&with_original(args)));
        let wrong = expected(prints).is_some_and(|text| ours.1 != settled(text));
        if ours != original || wrong {
            differences.push(format!(
                "{}\n  our server      {ours:?}\n  original server {original:?}\n  expected {:?}",
                args.join(" "),
                expected(prints)
            ));
        }
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

/// Our `monitor` with a server: it prints a change as it comes and ends
/// cleanly when interrupted.
fn monitors(port: u16) {
    let mut command = moat::kv_command(port);
    command.args(["data", "watched", "monitor", "-s"]);
    let mut monitor = Process::start("moat kv data monitor", &mut command, None);
    monitor.wait_for_line("state: uptodate", PATIENCE).unwrap();
    for (n, value) in ["first", "second"].iter().enumerate() {
        let path = format!("watched.x{n}");
        let set = moat::kv(port, &["data", &path, "set", "-v", ":", value], None).unwrap();
        assert_eq!(set.ok(), Ok(String::new()), "set {path}");
        monitor
            .wait_for_line(&format!("value: {value}"), PATIENCE)
            .unwrap();
    }
    monitor.signal(Signal::INT);
    let output = monitor.output(PATIENCE).unwrap();
    assert_eq!((output.code(), output.stderr.as_str()), (130, ""));
}

pub(crate) fn add(tests: &mut Tests, broker_port: u16) {
    tests.add("cli::ours_with_either_server", Needs::Original, move || {
        let original = Original::start(broker_port, "rec").unwrap();
        let server = Server::start();
        let run = |port| move |args: &[&str]| moat::kv(port, args, None).unwrap();
        let expected = |prints: &Prints| match prints {
            Both(text) | Each(text, _) => Some(*text),
            Any => None,
        };
        agree(expected, run(server.port), run(original.port));
    });
    tests.add(
        "cli::the_originals_with_either_server",
        Needs::Original,
        move || {
            let original = Original::start(broker_port, "rec").unwrap();
            let server = Server::start();
            let run = |port| move |args: &[&str]| original::kv(port, args).unwrap();
            let expected = |prints: &Prints| match prints {
                Both(text) | Each(_, text) => Some(*text),
                Any => None,
            };
            agree(expected, run(server.port), run(original.port));
        },
    );
    tests.add(
        "cli::our_monitor_with_the_original_server",
        Needs::Original,
        move || {
            let original = Original::start(broker_port, "rec").unwrap();
            monitors(original.port);
        },
    );
    tests.add("cli::our_monitor_with_our_server", Needs::Nothing, || {
        let server = Server::start();
        monitors(server.port);
    });
}
