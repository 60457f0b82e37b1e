//! The command line as a whole: the real program, in a clean environment.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

/// The program in a home of its own, without any configuration.
fn moat(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moat"));
    command
        .args(args)
        .env_clear()
        .env("MOAT_CONFIG", "")
        .env("COLUMNS", "80")
        .stdin(Stdio::null());
    command
}

struct Ran {
    stdout: String,
    stderr: String,
    exit: Option<i32>,
}

fn ran(command: &mut Command) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    Ran {
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
        exit: status.code(),
    }
}

fn run(args: &[&str]) -> Ran {
    ran(&mut moat(args))
}

/// The words of a command, which hold no quotes here.
fn words(command: &str) -> Vec<&str> {
    command.split(' ').skip(1).collect()
}

#[track_caller]
fn assert_usage_error(args: &[&str], usage: &str, error: &str) {
    let ran = run(args);
    let command: Vec<_> = usage
        .split(' ')
        .take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    let try_help = format!("Try '{} --help' for help.", command.join(" "));
    assert_eq!(
        ran.stderr,
        format!("Usage: {usage}\n{try_help}\n\nError: {error}\n"),
        "{args:?}"
    );
    assert_eq!(ran.stdout, "", "{args:?}");
    assert_eq!(ran.exit, Some(2), "{args:?}");
}

const MOAT: &str = "moat [OPTIONS] COMMAND [ARGS]...";
const KV: &str = "moat kv [OPTIONS] COMMAND [ARGS]...";

/// The recorded transcript, as far as it needs neither a server nor a client
/// command: usage errors say the same, help goes to stdout. `(command, ours)`:
/// where the port decides otherwise, the line that it prints.
#[test]
fn transcript_of_the_originals_command_line() {
    const OTHERWISE: &[(&str, &str)] = &[
        // The original ends with a traceback.
        ("moat kv", "help"),
        ("moat kv --help", "help"),
        // Known here.
        ("moat --version", "moat"),
        ("moat util cfg kv.conn.host", "localhost"),
    ];
    let text = include_str!("../vectors/cli/13-cli.json");
    let steps: Vec<Json> = serde_json::from_str(text).unwrap();
    let mut compared = 0;
    for step in &steps {
        let command = step["cmd"].as_str().unwrap();
        let args = words(command);
        let of_frame = match args.as_slice() {
            [] | ["kv"] | ["kv", "--help" | "nosuch" | "server", ..] => true,
            ["kv", ..] => false,
            [first, ..] if first.starts_with('-') => !args.contains(&"kv"),
            _ => true,
        };
        if !of_frame {
            continue;
        }
        compared += 1;
        let ran = run(&args);
        let otherwise = OTHERWISE
            .iter()
            .find(|(c, _)| *c == command)
            .map(|(_, o)| *o);
        let recorded = step["stdout"].as_str().unwrap();
        match otherwise {
            Some("help") => assert!(ran.stdout.contains("Usage: moat"), "{command}"),
            Some(line) => assert!(ran.stdout.starts_with(line), "{command}: {}", ran.stdout),
            None if recorded.starts_with("(help text") => {
                assert!(ran.stdout.contains("Usage: moat"), "{command}");
            }
            None => assert_eq!(ran.stdout, recorded, "{command}"),
        }
        match (otherwise, step["error"].as_str()) {
            (None, Some(error)) => {
                assert_eq!(ran.stderr.lines().last(), Some(error), "{command}");
                let usage = step["stderr_first_line"].as_str();
                assert_eq!(ran.stderr.lines().next(), usage, "{command}");
                assert_eq!(ran.exit, Some(2), "{command}");
            }
            _ => assert_eq!(ran.exit, Some(0), "{command}: {}", ran.stderr),
        }
    }
    assert!(compared >= 12, "only {compared} steps were compared");
}

#[test]
fn usage_errors_have_one_form() {
    assert_usage_error(
        &["--verbos"],
        MOAT,
        "No such option: --verbos Did you mean --verbose?",
    );
    assert_usage_error(
        &["kv", "serve"],
        KV,
        "No such command 'serve'. Did you mean server?",
    );
    assert_usage_error(
        &["-e", "a"],
        MOAT,
        "Option '-e' / '--eval' requires 2 arguments.",
    );
    assert_usage_error(
        &["kv", "-h"],
        KV,
        "Option '-h' / '--host' requires an argument.",
    );
    assert_usage_error(
        &["kv", "-p", "xx", "server"],
        KV,
        "Invalid value for '-p' / '--port': 'xx' is not a valid integer.",
    );
    assert_usage_error(
        &["kv", "server", "-i", "x", "a", "b"],
        "moat kv server [OPTIONS] [NAME] [NODE]...",
        "'--init' can't be used with 'NODE'.",
    );
    assert_usage_error(
        &["kv", "server", "-h"],
        "moat kv server [OPTIONS] [NAME] [NODE]...",
        "No such option: -h",
    );
    assert_usage_error(
        &["kv", "internal", "deleter", "--auto", "-d"],
        "moat kv internal deleter [OPTIONS] [NODE]...",
        "'--auto' can't be used with '--delete'.",
    );
    assert_usage_error(
        &["-c", "/nonexistent", "kv", "server", "--check"],
        MOAT,
        "Invalid value for '-c' / '--cfg': Path '/nonexistent' does not exist.",
    );
    assert_usage_error(
        &["completion", "tcsh"],
        "moat completion [OPTIONS] <SHELL>",
        "Invalid value for 'SHELL': 'tcsh' is not one of bash, zsh, fish. Did you mean zsh?",
    );
    assert_usage_error(
        &["-l", "x=LOUD", "kv", "server", "--check"],
        MOAT,
        "Invalid value for '-l' / '--log': 'x=LOUD' is not LOGGER=LEVEL, LEVEL being one of \
         ERROR, WARNING, INFO, DEBUG, TRACE, OFF.",
    );
}

#[test]
fn the_word_client_and_the_name_kv_change_nothing() {
    let dir = TempDir::new().unwrap();
    let kv = dir.path().join("kv");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_moat"), &kv).unwrap();
    let kv_alone = |args: &[&str]| {
        let mut command = Command::new(&kv);
        ran(command.args(args).env_clear().env("MOAT_CONFIG", ""))
    };
    let check = ["server", "--check", "x"];
    assert_eq!(kv_alone(&check).exit, Some(0));
    assert_eq!(kv_alone(&["client", "server", "--check"]).exit, Some(0));
    assert_eq!(
        kv_alone(&["-C", "conn.port=1", "server", "--check"]).exit,
        Some(0)
    );
    assert_eq!(
        run(&["kv", "client", "server", "--check", "x"]).exit,
        Some(0)
    );
    let refused = kv_alone(&["nosuch"]);
    assert!(
        refused.stderr.starts_with(&format!("Usage: {KV}\n")),
        "{}",
        refused.stderr
    );
    let refused = run(&["kv", "client", "nosuch"]);
    assert!(
        refused
            .stderr
            .ends_with("Error: No such command 'nosuch'.\n")
    );
    assert_eq!(refused.exit, Some(2));
}

#[test]
fn options_are_known_where_they_are_documented() {
    let before_kv: &[&[&str]] = &[
        &["-v"],
        &["-vv"],
        &["--verbose"],
        &["-V"],
        &["-q"],
        &["-Q"],
        &["--quiet"],
        &["-l", "moat.kv.server=DEBUG"],
        &["--log", "moat.kv=ERROR"],
        &["-L"],
        &["-D"],
        &["-C", "kv.conn.port=1"],
        &["--conf", "server.root=x"],
        &["-e", "conn.port", "1+1"],
        &["-p", "server.root", "a.b"],
        &["--var", "conn.name", "-x"],
        &["--json"],
    ];
    for options in before_kv {
        let mut args = options.to_vec();
        args.extend(["kv", "server", "--check", "x"]);
        let ran = run(&args);
        assert_eq!(
            (ran.exit, ran.stdout.as_str()),
            (Some(0), ""),
            "{args:?}: {}",
            ran.stderr
        );
    }
    let after_kv: &[&[&str]] = &[
        &["-h", "h"],
        &["--host", "h"],
        &["-p", "1"],
        &["--port", "1"],
        &["-a", "_test name=joe"],
        &["--auth", "password name=joe password=secret"],
        &["-m"],
        &["--metadata"],
        &["-C", "server.mqtt.uri=mqtt://your-server:1883"],
        &["-C", "kv.server.mqtt.uri=mqtt://your-server:1883"],
        &["-C", "connect.auth=_test name=joe"],
        &["-v"],
        &["-V"],
        &["-q"],
        &["-Q"],
    ];
    for options in after_kv {
        let mut args = vec!["kv"];
        args.extend(options.iter());
        args.extend(["server", "--check", "x"]);
        let ran = run(&args);
        assert_eq!(
            (ran.exit, ran.stdout.as_str()),
            (Some(0), ""),
            "{args:?}: {}",
            ran.stderr
        );
    }
}

#[test]
fn help_needs_nothing_and_shows_an_example() {
    for command in [
        "moat --help",
        "moat -h",
        "moat -?",
        "moat",
        "moat kv",
        "moat kv --help",
        "moat kv server --help",
        "moat kv client server --help",
        "moat util",
        "moat util --help",
        "moat util cfg --help",
        "moat util path --help",
        "moat completion --help",
        "moat man --help",
    ] {
        // A broken configuration is no obstacle.
        let ran = ran(moat(&words(command)).env("MOAT_CONFIG", "/nonexistent"));
        assert!(ran.stdout.contains("Usage: moat"), "{command}");
        assert!(ran.stdout.contains("Example"), "{command}");
        assert_eq!((ran.exit, ran.stderr.as_str()), (Some(0), ""), "{command}");
    }
}

#[test]
fn version_is_printed() {
    let ran = run(&["--version"]);
    assert_eq!(ran.stdout, format!("moat {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_server_is_told_what_its_arguments_lack() {
    let check = |args: &[&str]| {
        let mut all = vec!["kv", "server", "--check"];
        all.extend(args);
        run(&all)
    };
    for args in [
        &["-i", "Testing"][..],
        &["-I", "Testing"],
        &["--init", "-"],
        &["-e", "-i", "{'a': [1]}"],
        &["-e", "-i", "-5"],
        &["-i", "-v", "name"],
        &["name"],
        &["name", "other", "third"],
        &["-f", "-i", "x"],
        &["--wait-sync", "name", "other"],
        &["--wait-sync=2.5", "--give-up", "30", "name"],
        &[],
    ] {
        let ran = check(args);
        assert_eq!((ran.exit, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
    for (args, error) in [
        (&["-e"][..], "Error: Missing option '--init'."),
        (
            &["-e", "-i", "foo"],
            "Error: Invalid value for '-i' / '--init': unknown word foo: quote it or use -v",
        ),
        (&[""], "Error: Invalid value for 'NAME': it must be a text."),
        (
            &["a", ""],
            "Error: Invalid value for 'NODE': it must be a text.",
        ),
        (
            &["--wait-sync=-1"],
            "Error: Invalid value for '--wait-sync': cannot convert float seconds to Duration: \
             value is negative.",
        ),
        (
            &["--give-up", "x"],
            "Error: Invalid value for '--give-up': 'x': invalid float literal.",
        ),
    ] {
        let ran = check(args);
        assert_eq!(
            (ran.exit, ran.stderr.lines().last()),
            (Some(2), Some(error)),
            "{args:?}"
        );
    }
}

#[test]
fn a_wrong_configuration_is_one_line() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("moat.cfg");
    std::fs::write(&file, "kv:\n  conn:\n    hots: x\n").unwrap();
    let file = file.to_str().unwrap();
    let ran = run(&["-c", file, "kv", "server", "--check"]);
    let error = format!("Error: {file}:3:5: kv.conn: unknown key hots; did you mean host?\n");
    assert_eq!((ran.exit, ran.stderr), (Some(2), error));
    let ran = run(&["kv", "-C", "server.mqtt.uri=nowhere", "server", "--check"]);
    let error = "Error: -C server.mqtt.uri: kv.server.mqtt.uri: \
                 a broker is mqtt://HOST:PORT (or mqtts, ws, wss)\n";
    assert_eq!((ran.exit, ran.stderr.as_str()), (Some(2), error));
}

#[test]
fn configuration_is_found_in_the_home_and_shown() {
    let home = TempDir::new().unwrap();
    std::fs::create_dir(home.path().join("config")).unwrap();
    let text = "kv: {connect: {host: there}, server: {root: !P a.b}}\nmqtt: {x: 1}\n";
    std::fs::write(home.path().join("config/moat.cfg"), text).unwrap();
    let run = |args: &[&str]| {
        let mut command = moat(args);
        ran(command.env_remove("MOAT_CONFIG").env("HOME", home.path()))
    };
    assert_eq!(run(&["util", "cfg", "kv.conn.host"]).stdout, "there\n");
    assert_eq!(run(&["util", "cfg", "kv.server.root"]).stdout, "a.b\n");
    assert_eq!(
        run(&["util", "cfg", "kv.paranoia", "kv.conn.port"]).stdout,
        "False\n27586\n"
    );
    assert_eq!(
        run(&["util", "cfg", "-y", "kv.server.root"]).stdout,
        "!P a.b\n"
    );
    assert_eq!(
        run(&["--json", "util", "cfg", "kv.server.root"]).stdout,
        "{\"$path\":\"a.b\"}\n"
    );
    assert_eq!(
        run(&["util", "cfg", "kv.server.change"]).stdout,
        "length: 5\n"
    );
    assert_eq!(
        run(&["-C", "conn.host=x", "util", "cfg", "kv.conn.host"]).stdout,
        "x\n"
    );
    let absent = run(&["util", "cfg", "kv.nosuch"]);
    assert_eq!(
        (absent.exit, absent.stderr.as_str()),
        (Some(1), "Unknown: kv.nosuch\n")
    );
    assert_eq!(run(&["util", "cfg", "-e", "kv.nosuch"]).exit, Some(0));
    let told = run(&["-v", "kv", "server", "--check"]).stderr;
    assert!(
        told.contains("moat.cfg:2:1: section mqtt is not used"),
        "{told}"
    );
}

#[test]
fn paths_are_taken_apart_and_put_together() {
    assert_eq!(
        run(&["util", "path", "-d", "a.b:3", ":n:t.::x", ":1:.5:v00"]).stdout,
        "['a', 'b', 3]\n[None, True, ':x']\n[1.5, b'00']\n"
    );
    assert_eq!(
        run(&["util", "path", "-e", "['a', 'b', 3]"]).stdout,
        "a.b:3\n"
    );
    assert_eq!(
        run(&["util", "path", "-e", "'a',", "(1,2)"]).stdout,
        "a:1,2\n"
    );
    assert_usage_error(
        &["util", "path", "-d", "-e", "x"],
        "moat util path -d PATH...\n       moat util path -e EXPR...",
        "'--decode' can't be used with '--encode'.",
    );
}

#[test]
fn a_log_line_has_the_documented_form() {
    let stderr = run(&[
        "-l",
        "moat.kv.config=INFO",
        "-c",
        "/dev/null",
        "kv",
        "server",
        "--check",
    ])
    .stderr;
    let line = stderr.lines().next().unwrap();
    let (clock, rest) = line.split_at(12);
    let shape: String = clock
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "00:00:00.000");
    assert_eq!(rest, " INFO:moat.kv.config:configuration from /dev/null");
    // Nothing is logged unless asked for, and not with -q.
    assert_eq!(
        run(&["-c", "/dev/null", "kv", "server", "--check"]).stderr,
        ""
    );
    assert_eq!(
        run(&["-qv", "-c", "/dev/null", "kv", "server", "--check"]).stderr,
        ""
    );
}

#[test]
fn nobody_reading_is_no_error() {
    let mut child = moat(&["man"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    // Both ends are possible: the pipe may break before or after the text is written.
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"");
}

#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = moat(&["util", "cfg", ":"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn completion_knows_commands_and_options() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completion", shell]);
        assert!(script.stdout.contains("COMPLETE"), "{shell}");
        assert_eq!(script.exit, Some(0), "{shell}");
    }
    let complete = |line: &[&str]| {
        let mut args = vec!["--"];
        args.extend(line);
        let index = (line.len() - 1).to_string();
        let mut command = moat(&args);
        ran(command
            .env("COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", index))
        .stdout
    };
    assert_eq!(complete(&["moat", "k"]), "kv");
    assert_eq!(complete(&["moat", "kv", "ser"]), "server");
    assert_eq!(complete(&["moat", "kv", "client", "ser"]), "server");
    assert_eq!(complete(&["moat", "kv", "server", "--ini"]), "--init");
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let dir = TempDir::new().unwrap();
    let ran = run(&["man", dir.path().to_str().unwrap()]);
    assert_eq!((ran.exit, ran.stderr.as_str()), (Some(0), ""));
    for page in ["moat.1", "moat-kv.1", "moat-kv-server.1", "moat-util-cfg.1"] {
        let text = std::fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(
            text.contains(".SH SYNOPSIS") && text.contains("Example"),
            "{page}"
        );
    }
    assert!(!Path::exists(&dir.path().join("moat-kv-client.1")));
    assert!(run(&["man"]).stdout.contains(".TH moat 1"));
    let absent = run(&["man", "/nonexistent/man1"]);
    assert_eq!(absent.exit, Some(1));
    assert_eq!(
        absent.stderr,
        "can't write manual pages to /nonexistent/man1\n"
    );
    let explained = run(&["-vv", "man", "/nonexistent/man1"]);
    assert!(
        explained.stderr.contains("\n  because: No such file"),
        "{}",
        explained.stderr
    );
}
