//! What the command line shows of the network, with one server alone, and
//! what a server wants to know before it is one of a network.

use std::io::Write as _;
use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::support::moat::{Server, bare, kv, kv_command};
use crate::support::process::{Output, Process, run};
use crate::support::{PATIENCE, eventually};

fn server(config: &[&str], args: &[&str]) -> Output {
    let mut command = bare(None);
    command.arg("kv");
    for setting in config {
        command.args(["-C", setting]);
    }
    command.arg("server").args(args);
    run("the server", &mut command, None, PATIENCE).unwrap()
}

#[test]
fn a_server_alone_lists_itself() {
    let server = Server::start();
    let shown = server.kv(&["internal", "nodes"], None).unwrap();
    let shown = shown.ok().unwrap();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].trim_start().starts_with("NODE "), "{shown}");
    assert!(lines[1].starts_with("*  rec   moat"), "{shown}");
    assert_eq!(lines[2], "There is no way to other nodes.");
    assert_eq!(lines.len(), 3);

    let told = kv(server.port, &["internal", "nodes", "--json"], None).unwrap();
    let told: Json = serde_json::from_str(&told.ok().unwrap()).unwrap();
    let node = &told["nodes"][0];
    assert_eq!((&told["node"], &told["up"]), (&json!("rec"), &json!(false)));
    assert_eq!(
        (&node["name"], &node["self"]),
        (&json!("rec"), &json!(true))
    );
    assert_eq!((&node["kind"], &node["tick"]), (&json!("moat"), &json!(1)));
    assert_eq!((&node["heard"], &node["same"]), (&Json::Null, &Json::Null));
}

#[test]
fn a_change_is_a_line_in_a_pipe() {
    let server = Server::start();
    let mut command = kv_command(server.port);
    command.args(["internal", "nodes", "--watch"]);
    let mut watch = Process::start("nodes --watch", &mut command, None);
    let line = |n: usize| {
        let line = eventually("a line", PATIENCE, || {
            watch.stdout().lines().nth(n).map(str::to_owned)
        });
        serde_json::from_str::<Json>(&line.unwrap()).unwrap()
    };
    assert_eq!(line(0)["nodes"][0]["tick"], 1);
    let set = server.kv(&["data", "a", "set", "-v", ":", "x"], None);
    set.unwrap().ok().unwrap();
    assert_eq!(line(1)["nodes"][0]["tick"], 2);
    watch.signal(Signal::INT);
    let ended = watch.output(PATIENCE).unwrap();
    assert_eq!((ended.code(), ended.stderr.as_str()), (130, ""));
    assert_eq!(ended.stdout.lines().count(), 2, "{}", ended.stdout);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the thread is joined")]
fn a_server_without_the_list_is_told_in_a_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let original = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let greeting = json!({"seq": 0, "node": "old", "tick": 1, "tock": 1, "qlen": 10});
        let bytes = rmp_serde::to_vec_named(&greeting).unwrap();
        client.write_all(&bytes).unwrap();
        // until the client goes
        let _ = std::io::copy(&mut client, &mut std::io::sink());
    });
    let ended = kv(port, &["internal", "nodes"], None).unwrap();
    let text = "the server has no list of nodes: the original's servers have none\n";
    assert_eq!((ended.code(), ended.stderr.as_str()), (1, text));
    original.join().unwrap();
}

#[test]
fn deleters_that_are_away_are_named() {
    let server = Server::start();
    let deleter = |args: &[&str]| {
        let mut all = vec!["internal", "deleter"];
        all.extend(args);
        let ended = server.kv(&all, None).unwrap();
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        ended
    };
    assert_eq!(deleter(&[]).stderr, "", "nobody is expected to be there");
    let shown = deleter(&["gone", "rec"]);
    assert!(
        shown
            .stdout
            .contains("value:\n  nodes:\n  - gone\n  - rec\n")
    );
    assert!(
        shown.stderr.starts_with("Deleters that are away: gone"),
        "{}",
        shown.stderr
    );
    assert_eq!(deleter(&[]).stderr, shown.stderr);
    // this node is there
    let auto = deleter(&["--auto"]);
    assert!(auto.stdout.contains("value:\n  nodes:\n  - rec\n"));
    assert!(!auto.stdout.contains("gone"));
    assert_eq!(auto.stderr, "");
}

#[test]
fn a_backend_that_is_not_there_is_named() {
    let ended = server(&["server.backend=serf"], &["-i", "x", "a"]);
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("Serf"), "{}", ended.stderr);
    let ended = server(&["server.backend=none"], &["a", "b"]);
    assert_eq!(ended.code(), 1);
    assert_eq!(
        ended.stderr,
        "nothing to serve: start with -i VALUE or -l FILE\n"
    );
}

#[cfg(feature = "mqtt")]
#[test]
fn nobody_is_waited_for_longer_than_wanted() {
    let port = crate::support::free_port();
    let settings = [
        format!("server.mqtt.uri=mqtt://127.0.0.1:{port}"),
        format!("server.bind_default.port={}", crate::support::free_port()),
        "server.bind_default.host=127.0.0.1".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let ended = server(&settings, &["--give-up", "0.3", "a"]);
    assert_eq!(ended.code(), 75, "{}", ended.stderr);
    let last = ended.stderr.lines().last();
    assert_eq!(last, Some("no node with data answered within 300ms"));
    assert_eq!(ended.stdout, "");
}

#[cfg(feature = "mqtt")]
#[test]
fn a_broker_that_is_not_there_is_named() {
    let port = crate::support::free_port();
    let uri = format!("server.mqtt.uri=mqtt://127.0.0.1:{port}");
    for command in ["msg", "post"] {
        let mut moat = bare(None);
        let config = ["-C", &uri, "-C", "conn.init_timeout=0.2"];
        moat.arg("kv").args(config).args(["dump", command, ":"]);
        let ended = run(command, &mut moat, Some(b""), PATIENCE).unwrap();
        assert_eq!(ended.code(), 1, "{}", ended.stderr);
        let text = format!("ConnectionError: cannot reach the broker at 127.0.0.1:{port}\n");
        assert_eq!(ended.stderr, text);
    }
    let mut moat = bare(None);
    moat.args(["kv", "-C", "server.backend=none", "dump", "msg", ":"]);
    let ended = run("dump", &mut moat, None, PATIENCE).unwrap();
    assert_eq!(ended.code(), 1);
    assert_eq!(
        ended.stderr,
        "server.backend: there is no broker to talk to\n"
    );
}
