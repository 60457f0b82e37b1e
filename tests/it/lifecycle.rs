//! How a server starts and ends.

use std::net::{Ipv6Addr, TcpListener, TcpStream};

use rustix::process::Signal;
use serde_json::json;

use crate::support::conn::{Conn, Got};
use crate::support::moat::{Server, bare};
use crate::support::process::{Output, run};
use crate::support::{PATIENCE, free_port};

/// Runs `moat kv server` with a setup that must fail.
fn fails(port: u16, args: &[&str]) -> Output {
    let mut command = bare(None);
    command
        .args(["kv", "-C", "server.backend=none"])
        .args(["-C", &format!("server.bind_default.port={port}")])
        .arg("server")
        .args(args);
    run("the server", &mut command, None, PATIENCE).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn a_signal_ends_streams_and_then_the_server() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start();
        let mut conn = Conn::open(server.port);
        let watch = conn.ask(json!({"action": "watch", "path": ["a"], "fetch": true}));
        assert_eq!(conn.reply(watch)["state"], "start");
        assert_eq!(conn.reply(watch)["state"], "uptodate");
        // in flight: sent before the signal, so answered before the end
        let get = conn.ask(json!({"action": "get_value", "path": []}));
        assert_eq!(conn.reply(get)["value"], "Testing");
        server.process.signal(signal);
        let mut states = Vec::new();
        loop {
            match conn.next(PATIENCE) {
                Some(Got::Message(message)) => states.push(message["state"].clone()),
                Some(Got::End) => break,
                None => panic!("{signal:?}: the connection stays open"),
            }
        }
        assert_eq!(states, [json!("end")], "{signal:?}");
        let status = server
            .process
            .wait(PATIENCE)
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(status.code(), Some(0), "{signal:?}");
        assert_eq!(server.process.stdout(), "Running.\n");
    }
}

#[test]
fn a_taken_port_is_named() {
    let port = free_port();
    let _taken = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    let output = fails(port, &["-i", "Testing", "rec"]);
    assert_ne!(output.code(), 0);
    assert_eq!(output.stdout, "");
    assert!(
        output.stderr.contains(&port.to_string()),
        "{}",
        output.stderr
    );
}

#[test]
fn a_server_with_nothing_to_serve_says_so() {
    let output = fails(free_port(), &["rec"]);
    assert_eq!(output.code(), 1);
    assert!(
        output.stderr.contains("nothing to serve"),
        "{}",
        output.stderr
    );
    assert_eq!(output.stdout, "");
}

#[test]
fn both_families_of_the_loopback_are_served() {
    let server = Server::start();
    Conn::open(server.port);
    TcpStream::connect((Ipv6Addr::LOCALHOST, server.port)).expect("IPv6");
}

/// As `printf … | nc` does: what was asked is answered, trees of any size
/// included, and then the connection ends.
#[test]
fn who_stops_talking_is_still_answered() {
    const ENTRIES: u64 = 20_000;
    let mut server = Server::start();
    let mut writer = Conn::open(server.port);
    for n in 0..ENTRIES {
        let set = json!({
            "action": "set_value", "path": ["t", n], "value": "x".repeat(40), "nchain": 0
        });
        writer.ask(set);
    }
    assert_eq!(
        writer.request(json!({"action": "get_tock"})).get("error"),
        None
    );
    let mut conn = Conn::open(server.port);
    conn.ask(json!({"action": "get_tree", "path": ["t"]}));
    conn.ask(json!({"action": "watch", "path": ["t"], "fetch": false}));
    conn.finish();
    let heard = conn.until_closed("the whole tree");
    let values = heard.iter().filter(|m| m.get("value").is_some()).count() as u64;
    assert_eq!(values, ENTRIES);
    assert!(
        heard.iter().any(|m| m["state"] == "end"),
        "the tree is complete"
    );
    server.assert_alive();
}
