//! Real data: the ISO tables of countries, subdivisions, currencies,
//! languages and scripts, more than 13,000 records. They go in through one
//! program and are read back with the other.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::moat::Server;
use crate::support::original::{SLOWLY, script};
use crate::support::process::run;
use crate::{Needs, Tests};

/// The records by path, from lines `{"path": …, "value": …}`.
fn records(lines: &str) -> BTreeMap<String, Value> {
    let records: BTreeMap<String, Value> = lines
        .lines()
        .map(|line| {
            let mut line: Value =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            let path = line["path"].as_str().expect("a path as text").to_owned();
            (path, line["value"].take())
        })
        .collect();
    assert!(records.len() > 13_000, "only {} records", records.len());
    records
}

/// `moat kv data PATH …`, which may take long here.
fn data(server: &Server, args: &[&str], stdin: Option<&[u8]>) -> String {
    let mut command = crate::support::moat::kv_command(server.port);
    command.arg("data").args(args);
    let done = run("moat kv data", &mut command, stdin, SLOWLY);
    match done.and_then(|output| output.ok()) {
        Ok(stdout) => stdout,
        Err(e) => panic!("moat kv data {}: {e}", args.join(" ")),
    }
}

fn python(args: &[&str]) -> String {
    script("tables.py", args, None).unwrap_or_else(|e| panic!("tables.py {}: {e}", args.join(" ")))
}

pub(crate) fn add(tests: &mut Tests) {
    tests.add(
        "data::in_by_our_update_out_by_the_original",
        Needs::Tables,
        || {
            let server = Server::start();
            let lines = python(&["lines", ":"]);
            data(
                &server,
                &["iso", "update", "-i", "-"],
                Some(lines.as_bytes()),
            );
            python(&["check", &server.port.to_string(), "iso"]);
        },
    );
    tests.add(
        "data::in_by_the_original_out_by_our_export",
        Needs::Tables,
        || {
            let server = Server::start();
            python(&["write", &server.port.to_string(), "iso"]);
            let exported = records(&data(&server, &["iso", "export"], None));
            assert!(
                exported == records(&python(&["lines", ":"])),
                "export differs"
            );
        },
    );
    tests.add(
        "data::export_is_the_inverse_of_update",
        Needs::Tables,
        || {
            let server = Server::start();
            let lines = python(&["lines", ":"]);
            data(
                &server,
                &["one", "update", "-i", "-"],
                Some(lines.as_bytes()),
            );
            let exported = data(&server, &["one", "export"], None);
            assert!(records(&exported) == records(&lines), "export differs");
            data(
                &server,
                &["two", "update", "-i", "-"],
                Some(exported.as_bytes()),
            );
            assert!(
                data(&server, &["two", "export"], None) == exported,
                "not the inverse"
            );
            // msgpack likewise, byte for byte
            let dir = tempfile::tempdir().expect("temporary directory");
            let file = dir.path().join("tables");
            let file = file.to_str().expect("a path of text");
            let raw = export_raw(&server, "two", file);
            data(&server, &["three", "update", "-i", file], None);
            assert!(export_raw(&server, "three", file) == raw, "not the inverse");
        },
    );
}

/// What `export --raw` prints, also left in a file.
fn export_raw(server: &Server, path: &str, file: &str) -> Vec<u8> {
    let mut command = std::process::Command::new("sh");
    let script = r#"exec "$0" kv -h 127.0.0.1 -p "$1" data "$2" export --raw >"$3""#;
    command
        .args(["-c", script])
        .arg(crate::support::moat::program())
        .args([&server.port.to_string(), path, file]);
    let done = run("moat kv data export --raw", &mut command, None, SLOWLY);
    done.and_then(|output| output.ok())
        .unwrap_or_else(|e| panic!("export --raw: {e}"));
    std::fs::read(file).expect("the exported file")
}
