//! The data commands where the recorded transcripts say nothing: what is new,
//! what several programs do at once, and what a server sees of a command.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use moat::msgpack::{self, write};
use moat::value::Value;
use rustix::process::Signal;

use crate::support::moat::{Options, Server, bare, kv, kv_command};
use crate::support::process::{Output, Process};
use crate::support::{PATIENCE, eventually, free_port};

/// Runs `moat kv …` and returns what it printed.
#[track_caller]
fn ok(server: &Server, args: &[&str]) -> String {
    fed(server, args, None)
}

#[track_caller]
fn fed(server: &Server, args: &[&str], stdin: Option<&[u8]>) -> String {
    let output = server.kv(args, stdin).unwrap();
    assert_eq!(output.stderr, "", "{args:?}");
    output.ok().unwrap_or_else(|e| panic!("{args:?}: {e}"))
}

/// Runs `moat kv …`, which must fail with that line and exit status.
#[track_caller]
fn fails(server: &Server, args: &[&str], stdin: Option<&[u8]>, exit: i32, line: &str) {
    let output = server.kv(args, stdin).unwrap();
    let last = output.stderr.lines().last();
    assert_eq!((last, output.code()), (Some(line), exit), "{args:?}");
    assert_eq!(output.stdout, "", "{args:?}");
}

fn monitor(port: u16, args: &[&str]) -> Process {
    let mut command = kv_command(port);
    command.args(["-v", "data"]).args(args);
    let monitor = Process::start("monitor", &mut command, None);
    eventually("the monitor watches", PATIENCE, || {
        monitor.stderr().contains("watching ").then_some(())
    })
    .unwrap();
    monitor
}

#[test]
fn json_goes_out_and_comes_in() {
    let server = Server::start();
    ok(
        &server,
        &["data", "a.b", "set", "-e", ":", "{'x': b'\\0', 1: 2}"],
    );
    ok(&server, &["data", "a", "set", "-p", ":", "q.r"]);
    assert_eq!(
        ok(&server, &["data", "a", "--json"]),
        "{\"$path\":\"q.r\"}\n"
    );
    let value = r#"{"$map":[["x",{"$bin":"AA=="}],[1,2]]}"#;
    let lines = format!(
        "{{\"path\":\":\",\"value\":{{\"$path\":\"q.r\"}}}}\n{{\"path\":\"b\",\"value\":{value}}}\n"
    );
    assert_eq!(ok(&server, &["data", "a", "get", "-r", "--json"]), lines);
    assert_eq!(ok(&server, &["data", "a", "export"]), lines);
    fed(&server, &["data", "c", "update"], Some(lines.as_bytes()));
    assert_eq!(ok(&server, &["data", "c", "export"]), lines);
    assert_eq!(
        ok(&server, &["data", "c", "list", "--json"]),
        "{\"path\":\"b\"}\n"
    );
    assert_eq!(
        ok(&server, &["data", "c", "get", "--json", "-rd_"]),
        format!("{{\"_\":{{\"$path\":\"q.r\"}},\"b\":{{\"_\":{value}}}}}\n")
    );
}

#[test]
fn json_has_all_that_is_known() {
    let server = Server::start();
    ok(&server, &["data", "a.b", "set", "-e", ":", "1"]);
    let json =
        |args: &[&str]| -> serde_json::Value { serde_json::from_str(&ok(&server, args)).unwrap() };
    let chain = serde_json::json!({"node": "rec", "tick": 2, "prev": null});
    let entry = json(&["-m", "data", "a", "get", "-r", "--json"]);
    assert_eq!(entry["path"], "b");
    assert_eq!((&entry["value"], &entry["chain"]), (&1.into(), &chain));
    let tick = json(&["-m", "-v", "internal", "enum", "rec", "--json", "-n", "1"]);
    assert_eq!(tick, serde_json::json!({"tick": 1, "path": ":"}));
    let deleted = json(&["-m", "data", "a", "delete", "-r", "--json"]);
    assert_eq!(
        (&deleted["path"], &deleted["old_value"]),
        (&"a.b".into(), &1.into())
    );

    let watching = monitor(server.port, &["m", "monitor", "--json"]);
    ok(&server, &["data", "m.x", "set", "-p", ":", "q"]);
    let line = eventually("the change", PATIENCE, || {
        watching.stdout().ends_with('\n').then(|| watching.stdout())
    });
    let change: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
    assert_eq!(change["path"], "m.x");
    assert_eq!(change["value"], serde_json::json!({"$path": "q"}));
    assert!(change["time"].is_f64() && change["_time"].is_string());
}

#[test]
fn an_export_is_read_back_in_each_form() {
    let server = Server::start();
    let odd = "{'a': [1, -2.5, None, True], 'b': b'\\xff', 'c': 2**70, 'ü': ''}";
    ok(&server, &["data", "from", "set", "-e", ":", odd]);
    ok(
        &server,
        &["data", "from:1:'t',2.x", "set", "-v", ":", "two\nlines\n"],
    );
    let exported = ok(&server, &["data", "from", "export"]);

    fed(
        &server,
        &["data", "json", "update"],
        Some(exported.as_bytes()),
    );
    assert_eq!(ok(&server, &["data", "json", "export"]), exported);

    let mut command = kv_command(server.port);
    let raw = command.args(["data", "from", "export", "--raw"]);
    let raw = raw.output().unwrap().stdout;
    fed(&server, &["data", "raw", "update"], Some(&raw));
    assert_eq!(ok(&server, &["data", "raw", "export"]), exported);

    let yaml = ok(&server, &["data", "from", "get", "-rd", "_v"]);
    fed(
        &server,
        &["data", "yaml", "update", "-d", "_v"],
        Some(yaml.as_bytes()),
    );
    assert_eq!(ok(&server, &["data", "yaml", "export"]), exported);
}

#[test]
fn updates_come_from_state_records() {
    let mut file = Vec::new();
    let mut record = |fields: &[(&str, &[u8])]| {
        write::map(&mut file, fields.len());
        for (name, content) in fields {
            write::str(&mut file, name);
            file.extend_from_slice(content);
        }
    };
    let value = |value: Value| value.to_bytes();
    let path = |text: &str| Value::Path(text.parse().unwrap()).to_bytes();
    let info = value(Value::Map(vec![("node".into(), "x".into())]));
    record(&[("info", &info)]);
    // a whole path, one that shares an element, a list, a deletion
    record(&[
        ("path", &path("a.b")),
        ("depth", b"\x00"),
        ("value", b"\x01"),
    ]);
    record(&[("path", &path("c")), ("depth", b"\x01"), ("value", b"\x02")]);
    let list = value(Value::List(vec!["d".into()]));
    record(&[("path", &list), ("value", b"\x03"), ("tock", b"\x09")]);
    record(&[("path", &path("gone"))]);
    record(&[("path", &path(":n.acl")), ("value", b"\x04")]);

    let server = Server::start();
    ok(&server, &["data", "in.gone", "set", "-e", ":", "7"]);
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("some.state");
    std::fs::write(&name, &file).unwrap();
    let update = ["data", "in", "update", "-i", name.to_str().unwrap()];
    let output = server.kv(&update, None).unwrap();
    assert_eq!(
        output.stderr,
        "1 internal entries left out: they belong to the root\n"
    );
    let list = "- !P a.b: 1\n- !P a.c: 2\n- !P d: 3\n";
    assert_eq!(ok(&server, &["data", "in", "get", "-r"]), list);

    // a torn end is reported, what stands before it is done
    file.truncate(file.len() - 1);
    let line = "-: record 6: the file ends within it";
    fails(&server, &["data", "torn", "update"], Some(&file), 1, line);
    assert_eq!(ok(&server, &["data", "torn.a.b"]), "1\n");
}

#[test]
fn what_an_update_cannot_read_is_told() {
    let server = Server::start();
    let update = ["data", "u", "update"];
    for (input, line) in [
        (
            &b"{\"path\": \"a\", \"value\": 1}\n{\"path\": \"..\"}\n"[..],
            "-: line 2: ",
        ),
        (b"[1]\n", "-: line 1: no map with a path"),
        (b"\x81\xa4path\x07", "-: record 1: a path that is none"),
        (
            b"\x82\xa4path\x91\xa1x\xa5depth\x02",
            "-: record 1: a depth that",
        ),
        (b"\x81\xc1", "-: record 1: invalid byte"),
    ] {
        let output = server.kv(&update, Some(input)).unwrap();
        assert_eq!(output.code(), 1);
        assert!(output.stderr.starts_with(line), "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1);
    }
    fails(
        &server,
        &["data", "u", "update", "-d", "_"],
        Some(b"a: 5\n"),
        1,
        "-: a: no map with values at '_'",
    );
}

#[test]
fn a_value_comes_from_a_file() {
    let server = Server::start();
    fed(
        &server,
        &["data", "a", "set", "--from", "-"],
        Some(b"x: !P b.c\n"),
    );
    assert_eq!(ok(&server, &["data", "a"]), "x: !P b.c\n");
    fed(
        &server,
        &["data", "a", "set", "--from", "-"],
        Some(b"{\"y\": {\"$bin\": \"AA==\"}}"),
    );
    assert_eq!(ok(&server, &["data", "a"]), "y: !bin \"\\0\"\n");
    fed(
        &server,
        &["data", "a", "set", "--from", "-", "-R"],
        Some(b"as it\nis"),
    );
    assert_eq!(ok(&server, &["data", "a", "get", "-R"]), "as it\nis");
    fed(
        &server,
        &["data", "a", "set", "--from", "-", "-R"],
        Some(b"\xff\x00"),
    );
    assert_eq!(ok(&server, &["data", "a"]), "b'\\xff\\x00'\n");
    let missing = ["data", "a", "set", "--from", "/nonexistent"];
    let line = "cannot read /nonexistent: No such file or directory";
    fails(&server, &missing, None, 1, line);
}

#[test]
fn nothing_there_is_an_error_only_if_asked() {
    let server = Server::start();
    for (args, exit) in [
        (&["data", "nix"][..], 0),
        (&["data", "nix", "get"], 0),
        (&["data", "nix", "get", "--strict"], 1),
    ] {
        let output = server.kv(args, None).unwrap();
        assert_eq!((output.code(), output.stdout.as_str()), (exit, ""));
        assert_eq!(output.stderr, "No data at nix\n");
    }
    let quiet = server
        .kv(&["-q", "data", "nix", "get", "--strict"], None)
        .unwrap();
    assert_eq!((quiet.code(), quiet.stderr.as_str()), (1, ""));
    ok(&server, &["data", ":", "get", "--strict"]);
}

#[test]
fn only_what_holds_data_is_listed() {
    let server = Server::start();
    for path in ["a.b.c", "a.d", "gone.x", ".moat.kv.x"] {
        let path = path.replace(".moat", ":.moat");
        ok(&server, &["data", &path, "set", "-e", ":", "1"]);
    }
    ok(&server, &["data", "gone.x", "delete"]);
    let listed = ok(&server, &["data", ":", "list"]);
    assert_eq!(listed, "- !P a\n- !P :.moat\n");
    let listed = ok(&server, &["data", ":", "list", "-m", "2"]);
    assert_eq!(
        listed,
        "- !P a\n- !P a.b\n- !P a.d\n- !P :.moat\n- !P :.moat.kv\n"
    );
    ok(&server, &["data", ":.moat.kv.x", "delete"]);
    assert_eq!(ok(&server, &["data", ":", "list"]), "- !P a\n");
}

#[test]
fn a_monitor_ends_as_it_should() {
    let server = Server::start();
    // interrupted
    let mut watching = monitor(server.port, &["m", "monitor"]);
    watching.signal(Signal::INT);
    assert_eq!(watching.output(PATIENCE).unwrap().code(), 130);

    // nobody reads any more
    let mut command = kv_command(server.port);
    command.args(["data", "m", "monitor", "-s", "-p"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    ok(&server, &["data", "m.x", "set", "-v", ":", "first"]);
    let mut output = child.stdout.take().unwrap();
    let mut line = [0; 8];
    output.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"x first\n");
    drop(output);
    let ended = eventually("the monitor ends", PATIENCE, || child.try_wait().unwrap());
    assert_eq!(ended.unwrap().code(), Some(0));
}

#[test]
fn a_monitor_skips_what_it_is_told_to() {
    let server = Server::start();
    let watching = monitor(server.port, &["m", "monitor", "-p", "-i", "a.b", "-i", "c"]);
    for path in ["m.a.b", "m.a.b.x", "m.c", "m.a", "m.cc"] {
        ok(&server, &["data", path, "set", "-v", ":", "new"]);
    }
    let printed = eventually("the last change", PATIENCE, || {
        let stdout = watching.stdout();
        stdout.contains("cc new").then_some(stdout)
    });
    assert_eq!(printed.unwrap(), "a new\ncc new\n");
}

#[test]
fn a_monitor_outlives_the_server() {
    let port = free_port();
    let options = Options::default().with(&format!("server.bind_default.port={port}"));
    let mut server = Server::with(&options);
    server.port = port;
    let mut watching = monitor(port, &["m", "monitor", "-p", "-s"]);
    ok(&server, &["data", "m.a", "set", "-v", ":", "one"]);
    watching.wait_for_line("a one", PATIENCE).unwrap();
    server.process.signal(Signal::KILL);
    server.process.wait(PATIENCE).unwrap();

    let mut again = Server::with(&options);
    again.port = port;
    eventually("the monitor is back", PATIENCE, || {
        ok(&again, &["data", "m.b", "set", "-v", ":", "two"]);
        watching.stdout().contains("b two").then_some(())
    })
    .unwrap();
    let said = watching.stderr();
    assert!(said.contains("; connecting again\n"), "{said}");
    assert!(said.contains("changes may have been missed\n"), "{said}");
    watching.signal(Signal::INT);
    assert_eq!(watching.output(PATIENCE).unwrap().code(), 130);
}

/// A server that is played by the test: notes what it is asked for and says
/// that it is done.
#[allow(
    clippy::disallowed_methods,
    reason = "the server has to answer while the command runs"
)]
fn requests_of(args: &[&str]) -> (Output, Vec<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let played = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let greeting = Value::Map(vec![
            ("seq".into(), 0.into()),
            ("node".into(), "n".into()),
            ("qlen".into(), 10.into()),
        ]);
        stream.write_all(&greeting.to_bytes()).unwrap();
        answer(&mut stream)
    });
    let output = kv(port, args, None).unwrap();
    (output, played.join().unwrap())
}

fn answer(stream: &mut TcpStream) -> Vec<Value> {
    let mut requests = Vec::new();
    let mut input = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        while let Ok(len) = msgpack::skip(&input)
            && len > 0
            && len <= input.len()
        {
            let request = Value::decode(&input[..len]).unwrap();
            input.drain(..len);
            let reply = Value::Map(vec![
                ("seq".into(), request.field("seq").unwrap().clone()),
                ("changed".into(), true.into()),
                ("value".into(), 5.into()),
            ]);
            requests.push(request);
            stream.write_all(&reply.to_bytes()).unwrap();
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return requests,
            Ok(n) => input.extend_from_slice(&chunk[..n]),
        }
    }
}

fn actions(requests: &[Value]) -> Vec<&str> {
    let actions = requests.iter().map(|r| r.field("action"));
    actions.map(|a| a.unwrap().as_str().unwrap()).collect()
}

#[test]
fn a_command_asks_for_what_it_needs() {
    // who may only write a value can write it
    let (output, requests) = requests_of(&["data", "a", "set", "-e", ":", "1", "-v", "x", "y"]);
    assert_eq!(output.code(), 0, "{}", output.stderr);
    assert_eq!(actions(&requests), ["set_value"]);
    let (_, requests) = requests_of(&["data", "a", "set", "-n", "-v", "x", "y"]);
    assert_eq!(actions(&requests), ["set_value"]);
    assert_eq!(requests[0].field("chain"), Some(&Value::Nil));
    let (_, requests) = requests_of(&["data", "a", "set", "-v", "x", "y"]);
    assert_eq!(actions(&requests), ["get_value", "set_value"]);
    let (_, requests) = requests_of(&["data", "a", "set", "-e", ":", "-"]);
    assert_eq!(actions(&requests), ["delete_value"]);
    let (output, requests) = requests_of(&["data", "a"]);
    assert_eq!(
        (output.stdout.as_str(), actions(&requests)),
        ("5\n", vec!["get_value"])
    );
}

#[test]
fn no_server_is_one_line() {
    let port = free_port();
    let output = kv(port, &["data", ":"], None).unwrap();
    assert_eq!(output.code(), 1);
    assert_eq!(
        output.stderr,
        format!(
            "ConnectionError: cannot reach 127.0.0.1:{port}: connection refused \
             (is a server running there? else choose one by -h and -p)\n"
        )
    );
}

#[test]
fn a_script_can_wait_for_a_server() {
    let port = free_port();
    let output = kv(port, &["ping"], None).unwrap();
    assert_eq!(output.code(), 1);

    let mut command = kv_command(port);
    command.args(["ping", "--wait", "20"]);
    let mut waiting = Process::start("ping", &mut command, None);
    let options = Options::default().with(&format!("server.bind_default.port={port}"));
    let _server = Server::with(&options);
    let status = waiting.wait(PATIENCE).unwrap();
    assert!(status.success(), "{}", waiting.stderr());
    assert!(waiting.stdout().starts_with("rec answers in "));

    let output = kv(port, &["status", "--json"], None).unwrap();
    let status: serde_json::Value = serde_json::from_str(&output.ok().unwrap()).unwrap();
    assert_eq!(status["node"], "rec");
    assert_eq!(status["complete"], true);
    assert_eq!(status["nodes"]["rec"], 1);
}

#[test]
fn parts_are_set_while_others_set_parts() {
    let server = Server::start();
    ok(&server, &["data", "shared", "set", "-e", ":", "{}"]);
    let mut writers: Vec<_> = (0..4)
        .map(|n| {
            let mut command = kv_command(server.port);
            let part = format!("p{n}");
            command.args(["data", "shared", "set", "-e", &part, "1"]);
            command.spawn().unwrap()
        })
        .collect();
    for writer in &mut writers {
        assert!(writer.wait().unwrap().success());
    }
    let all = "p0: 1\np1: 1\np2: 1\np3: 1\n";
    assert_eq!(ok(&server, &["data", "shared"]), all);
}

/// What a shell offers for the last word of a line.
fn completed(server: &Server, line: &[&str]) -> Vec<String> {
    let mut command: Command = bare(None);
    command
        .env("COMPLETE", "bash")
        .env("_CLAP_IFS", "\n")
        .env("_CLAP_COMPLETE_INDEX", (line.len() - 1).to_string())
        .env("MOAT_HOST", "127.0.0.1")
        .env("MOAT_PORT", server.port.to_string())
        .arg("--")
        .args(line);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn paths_are_completed_from_the_server() {
    let server = Server::start();
    for path in ["house.kitchen.lamp", "house.kitchen.oven", "horse", "b"] {
        ok(&server, &["data", path, "set", "-e", ":", "1"]);
    }
    let paths = |typed: &str| completed(&server, &["moat", "kv", "data", typed]);
    assert_eq!(paths("ho"), ["house", "horse"]);
    assert_eq!(paths("house.k"), ["house.kitchen"]);
    assert_eq!(
        paths("house.kitchen."),
        ["house.kitchen.lamp", "house.kitchen.oven"]
    );
    assert!(paths("nix.").is_empty());
}
