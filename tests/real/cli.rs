//! Both command lines with both servers: whichever server a command talks
//! to, it prints the same.

use rustix::process::Signal;

use crate::support::PATIENCE;
use crate::support::moat::{self, Server};
use crate::support::original::{self, Original};
use crate::support::process::{Output, Process};
use crate::{Needs, Tests};

/// Commands that both know, in the order they are run.
const COMMON: &[&[&str]] = &[
    &["data", ":"],
    &["data", "one.two", "set", "-e", ":", "123"],
    &["data", "one.two"],
    &["data", "one.two.four", "set", "-e", ":", "1234"],
    &[
        "data", "one.five", "set", "-v", "one", "XXX", "-e", "two", "2",
    ],
    &["data", "one.five"],
    &["data", "one.five", "set", "-e", "one", "1"],
    &["data", "one.five"],
    &["data", "one", "get", "-rd_"],
    &["data", "one", "get", "-r"],
    &["data", "one", "get", "-r", "-m", "1"],
    &["data", "one", "get", "-r", "-M", "2"],
    &["data", "one", "list"],
    &["data", "one", "list", "-d_"],
    &["data", "one.nix"],
    &["data", "one.two", "delete"],
    &["data", "one.two"],
    &["data", "one.two", "get", "-r"],
    &["data", "one.nix", "get", "-r"],
    &["data", "t:1:t", "set", "-p", ":", "a.b"],
    &["data", "t:1:t"],
    &["data", "k.bytes", "set", "-e", ":", "b'abc'"],
    &["data", "k.bytes"],
    &["data", "k.tuple", "set", "-e", ":", "(1,'a',(2.5,None))"],
    &["data", "k.tuple"],
    &["data", "k.big", "set", "-e", ":", "18446744073709551615"],
    &["data", "k.big"],
    &["data", "k", "get", "-rd_"],
    &["data", "one.four", "delete", "-p", "1", "-e"],
    &["internal", "state", "-n"],
    &["internal", "state", "-k", "-p", "-s", "-m"],
    &["internal", "enum", "rec"],
    &["internal", "get", "rec", "1"],
    &["internal", "get", "rec", "99"],
    &["internal", "dump", ":"],
    &["data", "one", "delete", "-r"],
    &["data", "one", "get", "-r"],
    &["-m", "data", "k.tuple"],
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

fn agree(
    commands: &[&[&str]],
    with_ours: impl Fn(&[&str]) -> Output,
    with_original: impl Fn(&[&str]) -> Output,
) {
    let mut differences = Vec::new();
    for args in commands {
        let (ours, original) = (result(&with_ours(args)), result(&with_original(args)));
        if ours != original {
            differences.push(format!(
                "{}\n  our server      {ours:?}\n  original server {original:?}",
                args.join(" ")
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
        agree(COMMON, run(server.port), run(original.port));
    });
    tests.add(
        "cli::the_originals_with_either_server",
        Needs::Original,
        move || {
            let original = Original::start(broker_port, "rec").unwrap();
            let server = Server::start();
            let run = |port| move |args: &[&str]| original::kv(port, args).unwrap();
            agree(COMMON, run(server.port), run(original.port));
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
