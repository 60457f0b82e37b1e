//! The command line against what was recorded of the original's, and against
//! the tutorial.
//!
//! `tests/vectors/cli/README.md` tells the form of the records. A server of
//! ours stands in for the original's; commands that this build has not, and
//! server starts, are left out. What the port prints otherwise everywhere is
//! in [`port_form`]; where it differs at one step, `overrides.json` has the
//! step, the rule and what is expected instead. An override that equals the
//! record fails the test, and so does one that names no step.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use moat::text::{eval, json as value_json};
use moat::value::Value;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::support::moat::{Server, bare};
use crate::support::process::{Output, Process, run};
use crate::support::{PATIENCE, eventually, tests_path};

/// What one step did, or is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Result {
    stdout: String,
    stderr: Stderr,
    exit: Option<i64>,
}

/// What is known about stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stderr {
    /// All of it
    Is(String),
    /// Its last line
    Last(String),
    /// A usage error: first and last line
    Usage(String, String),
    /// A trace of the original, whose text says nothing
    Trace,
}

#[derive(Debug, Deserialize)]
struct Step {
    #[serde(default)]
    section: Option<String>,
    cmd: String,
    #[serde(default)]
    stdin: Option<String>,
    stdout: String,
    #[serde(default)]
    stderr: Option<String>,
    #[serde(default)]
    stderr_first_line: Option<String>,
    #[serde(default)]
    error: Option<String>,
    exit: Json,
}

#[derive(Debug, Deserialize)]
struct Override {
    step: usize,
    /// The rule of `docs/commands.md` that decides it
    rule: String,
    /// What is different
    why: String,
    stdout: Option<String>,
    stderr: Option<String>,
    exit: Option<i64>,
    /// The test that runs this step instead: it needs two programs at once
    elsewhere: Option<String>,
}

fn overrides() -> BTreeMap<String, Vec<Override>> {
    #[derive(Deserialize)]
    struct Cli {
        files: BTreeMap<String, Vec<Override>>,
    }
    #[derive(Deserialize)]
    struct Overrides {
        cli: Cli,
    }
    let text = std::fs::read_to_string(tests_path("vectors/overrides.json")).unwrap();
    let overrides: Overrides = serde_json::from_str(&text).unwrap();
    overrides.cli.files
}

/// The rules that are documented.
fn rules() -> Vec<String> {
    let text = std::fs::read_to_string(tests_path("../docs/commands.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    let names = rows.filter_map(|row| row.split_once(" |"));
    names.map(|(name, _)| name.to_owned()).collect()
}

fn steps(file: &str) -> Vec<Step> {
    let file = tests_path("vectors/cli").join(format!("{file}.json"));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// The words of a line, as a shell sees them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' => words.extend(word.take()),
            '\'' => word
                .get_or_insert_default()
                .extend(chars.by_ref().take_while(|c| *c != '\'')),
            '$' if chars.peek() == Some(&'\'') => {
                chars.next();
                let inner: String = chars.by_ref().take_while(|c| *c != '\'').collect();
                let inner = inner.replace("\\n", "\n").replace("\\t", "\t");
                word.get_or_insert_default().push_str(&inner);
            }
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    let escaped = c == '\\' && matches!(chars.peek(), Some('"' | '\\' | '$'));
                    word.extend(if escaped { chars.next() } else { Some(c) });
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What the port prints otherwise wherever it occurs: a lone text stands in
/// double quotes, and no `...` follows a lone `null` or path.
fn port_form(stdout: &str) -> String {
    if let Some(alone) = stdout.strip_suffix("\n...\n") {
        return format!("{alone}\n");
    }
    let quoted = stdout.starts_with(['\'', '"']) && stdout.lines().count() == 1;
    match eval::eval(stdout.trim_end_matches('\n')) {
        Ok(text @ Value::Str(_)) if quoted => format!("{}\n", value_json::line(&text)),
        _ => stdout.to_owned(),
    }
}

/// What a trace of the original becomes: its last error, on one line.
fn one_line(error: &str) -> Option<String> {
    let said = error.strip_prefix("moat.kv.exceptions.")?;
    Some(format!("{said}\n"))
}

fn recorded(step: &Step) -> Result {
    if is_monitored(&step.cmd) {
        // interrupted without a word
        return Result {
            stdout: step.stdout.clone(),
            stderr: Stderr::Is(String::new()),
            exit: None,
        };
    }
    let exit = step.exit.as_i64();
    let usage = (exit, &step.stderr_first_line, &step.error);
    let stderr = if let Some(stderr) = &step.stderr {
        Stderr::Is(stderr.clone())
    } else if let (Some(2), Some(first), Some(error)) = usage {
        Stderr::Usage(first.clone(), error.clone())
    } else if let Some(line) = step.error.as_deref().and_then(one_line) {
        Stderr::Is(line)
    } else if step.stderr_first_line.is_some() {
        Stderr::Trace
    } else {
        Stderr::Is(String::new())
    };
    Result {
        stdout: port_form(&step.stdout),
        stderr,
        exit,
    }
}

/// What stands for something that varies, and the characters of that.
type Placeholder = (&'static str, fn(char) -> bool);

const PLACEHOLDERS: [Placeholder; 7] = [
    ("<tock>", |c| c.is_ascii_digit()),
    ("<tick>", |c| c.is_ascii_digit()),
    ("<seq>", |c| c.is_ascii_digit()),
    ("<wseq>", |c| c.is_ascii_digit()),
    ("<time>", |c| c.is_ascii_digit() || c == '.'),
    ("<datetime>", |c| c.is_ascii_digit() || "-: .".contains(c)),
    ("<clock>", |c| c.is_ascii_digit() || ":.".contains(c)),
];

/// Whether a text is as expected, placeholders filled in.
fn fits(got: &str, want: &str) -> bool {
    let first = PLACEHOLDERS
        .iter()
        .filter_map(|(mark, class)| Some((want.find(mark)?, mark.len(), class)))
        .min_by_key(|(at, ..)| *at);
    let Some((at, len, class)) = first else {
        return got == want;
    };
    let (before, after) = (&want[..at], &want[at + len..]);
    let Some(got) = got.strip_prefix(before) else {
        return false;
    };
    let filled = got.len() - got.trim_start_matches(class).len();
    // what varies may end where the same kind of character goes on
    filled > 0 && (1..=filled).rev().any(|n| fits(&got[n..], after))
}

fn agrees(got: &Output, want: &Result) -> bool {
    let last = got.stderr.lines().last().unwrap_or_default();
    let stderr = match &want.stderr {
        Stderr::Is(text) => fits(&got.stderr, text),
        Stderr::Last(line) => fits(last, line),
        Stderr::Usage(first, error) => {
            got.stderr.lines().next() == Some(first) && fits(last, error)
        }
        Stderr::Trace => false,
    };
    stderr
        && fits(&got.stdout, &want.stdout)
        && want.exit.is_none_or(|exit| exit == i64::from(got.code()))
}

/// Commands below `kv` that this build has.
const COMMANDS: [&str; 5] = ["data", "internal", "log", "ping", "status"];

/// Whether this build can run the step by itself.
fn is_ours(words: &[String]) -> bool {
    let is_command = |word: &&String| {
        COMMANDS.contains(&word.as_str())
            || [
                "server", "auth", "acl", "code", "job", "type", "codec", "dump",
            ]
            .contains(&word.as_str())
    };
    let kv = words.iter().position(|word| word == "kv");
    let command = kv.and_then(|kv| words[kv..].iter().find(is_command));
    words.first().is_some_and(|word| word == "moat")
        && command.is_some_and(|command| COMMANDS.contains(&command.as_str()))
}

fn with_names(text: &str, dir: &std::path::Path) -> String {
    let dir = dir.to_str().unwrap();
    text.replace("$(hostname)", "rec")
        .replace("$HOST", "rec")
        .replace("$PWD", dir)
        .replace("$TMP", dir)
}

#[allow(clippy::disallowed_methods, reason = "a recorded step stores the time")]
fn seconds_now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs().to_string()
}

/// Whether two programs run at once: a monitor and what it is to see.
fn is_monitored(line: &str) -> bool {
    line.contains(" monitor") && line.contains('&')
}

/// Runs a step; `None` if this build cannot.
fn play(server: &Server, dir: &std::path::Path, step: &Step) -> Option<Output> {
    let line = with_names(&step.cmd, dir).replace("<time>", &seconds_now());
    if is_monitored(&line) {
        return Some(play_monitor(server, dir, &line, &step.stdout));
    }
    let words = words(&line);
    if !is_ours(&words) {
        return None;
    }
    let mut command = bare(Some(dir));
    command
        .env("MOAT_HOST", "127.0.0.1")
        .env("MOAT_PORT", server.port.to_string())
        .args(&words[1..]);
    let stdin = step.stdin.as_deref().map(str::as_bytes);
    Some(run(&line, &mut command, stdin, PATIENCE).unwrap_or_else(|e| panic!("{e}")))
}

/// Runs a line that changes entries, `( …; … ) &`, while a monitor watches
/// them. Where the line waits for some seconds, this waits until the monitor
/// watches, and then until it has printed what it should.
fn play_monitor(server: &Server, dir: &std::path::Path, line: &str, want: &str) -> Output {
    let command = |text: &str| {
        let mut words = words(text);
        let moat = words.iter().position(|word| word == "moat").unwrap();
        let mut command = bare(Some(dir));
        command
            .env("MOAT_HOST", "127.0.0.1")
            .env("MOAT_PORT", server.port.to_string())
            .args(words.split_off(moat + 1));
        command
    };
    let (changes, rest) = match line.strip_prefix('(').and_then(|l| l.split_once(')')) {
        Some((changes, rest)) => (changes, rest),
        None => ("", line),
    };
    let watching = rest
        .split(['&', ';'])
        .find(|part| part.contains(" monitor"));
    let watching = watching.unwrap().replacen("moat", "moat -v", 1);
    let mut monitor = Process::start(line, &mut command(watching.trim()), None);
    eventually("the monitor watches", PATIENCE, || {
        monitor.stderr().contains("watching ").then_some(())
    })
    .unwrap();
    for change in changes.split(';').filter(|part| part.contains("moat")) {
        run(change, &mut command(change.trim()), None, PATIENCE).unwrap();
    }
    let printed = eventually("the monitor prints", PATIENCE, || {
        let ended = !monitor.runs();
        (ended || fits(&monitor.stdout(), want)).then_some(())
    });
    monitor.signal(Signal::INT);
    let mut output = monitor.output(PATIENCE).unwrap();
    // the record has the shell's status, and what `-v` says is ours
    let silent = output.stderr.lines().all(|l| l.starts_with("watching "));
    if printed.is_ok() && silent && matches!(output.code(), 0 | 130) {
        output.stderr.clear();
        output.status = ExitStatus::default();
    }
    output
}

/// Runs files one after the other with one server, whose root has that value; returns how many steps
/// were run.
fn transcripts(root: &str, files: &[&str]) -> usize {
    let mut all = overrides();
    let server = Server::start();
    if root != "Testing" {
        let set = ["data", ":", "set", "-v", ":", root];
        server.kv(&set, None).unwrap().ok().unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let rules = rules();
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in files {
        let mut overrides = all.remove(*file).unwrap_or_default();
        for (number, step) in steps(file).iter().enumerate() {
            let special = overrides.iter().position(|o| o.step == number);
            let special = special.map(|at| overrides.remove(at));
            if special.as_ref().is_some_and(|o| o.elsewhere.is_some()) {
                continue;
            }
            let Some(got) = play(&server, dir.path(), step) else {
                assert!(special.is_none(), "{file} {number} is not run");
                continue;
            };
            count += 1;
            let mut want = recorded(step);
            if let Some(special) = special {
                let without = want.clone();
                want.stdout = special.stdout.unwrap_or(want.stdout);
                want.exit = special.exit.or(want.exit);
                want.stderr = special.stderr.map_or(want.stderr, |text| {
                    if text.contains('\n') || text.is_empty() {
                        Stderr::Is(text)
                    } else {
                        Stderr::Last(text)
                    }
                });
                assert_ne!(
                    want, without,
                    "{file} {number}: no difference ({})",
                    special.why
                );
                assert!(
                    rules.contains(&special.rule),
                    "{file} {number}: no such rule"
                );
                assert!(!special.why.is_empty(), "{file} {number}: why?");
            }
            want.stdout = with_names(&want.stdout, dir.path());
            for text in [&mut want.stderr] {
                match text {
                    Stderr::Is(text) | Stderr::Last(text) | Stderr::Usage(_, text) => {
                        *text = with_names(text, dir.path());
                    }
                    Stderr::Trace => {}
                }
            }
            if !agrees(&got, &want) {
                wrong.push(format!(
                    "{file} {number}: {}\n  want {want:?}\n  got  {:?} {:?} {}",
                    step.cmd,
                    got.stdout,
                    got.stderr,
                    got.code()
                ));
            }
        }
        assert!(overrides.is_empty(), "{file}: no such steps: {overrides:?}");
    }
    assert!(
        wrong.is_empty(),
        "{} steps:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    count
}

#[test]
fn data() {
    assert!(transcripts("Testing", &["01-data"]) > 100);
}

#[test]
fn dates_and_internal_state() {
    // recorded in this order with one server
    assert!(transcripts("Testing", &["03-data-more", "02-internal"]) > 20);
}

#[test]
fn deletions_and_updates() {
    assert!(transcripts("Testing", &["14-delete-update"]) > 25);
}

#[test]
fn newer_tools_of_the_original() {
    assert!(transcripts("Root", &["15-pinned"]) > 10);
    assert!(transcripts("Root", &["16-pinned-paths"]) > 25);
    assert!(transcripts("Root", &["17-pinned-set"]) > 25);
}

#[test]
fn the_tutorial() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let mut count = 0;
    for step in steps("tutorial-expected") {
        if !matches!(step.section.as_deref(), Some("start" | "data")) {
            continue;
        }
        let Some(got) = play(&server, dir.path(), &step) else {
            continue;
        };
        assert_eq!(got.stdout, step.stdout, "{}", step.cmd);
        assert_eq!(Some(got.stderr), step.stderr, "{}", step.cmd);
        assert_eq!(
            step.exit,
            i64::from(got.status.code().unwrap()),
            "{}",
            step.cmd
        );
        count += 1;
    }
    assert_eq!(count, 11);
}

#[test]
fn words_are_those_of_a_shell() {
    assert_eq!(
        words("a  'b c' \"d \\\" e\" $'f\\ng'h ''"),
        ["a", "b c", "d \" e", "f\ngh", ""]
    );
    assert!(fits("tick: 12\nx 3", "tick: <tick>\nx <tock>"));
    assert!(!fits("tick: \n", "tick: <tick>\n"));
    assert!(!fits("tick: 1\n", "tick: <tick>"));
}
