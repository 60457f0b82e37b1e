//! The tests' own reading and writing of messages, against every recorded
//! one: a replay is worth as much as the form it compares in.

use serde_json::Value;

use crate::support::json::{decode, encode};
use crate::support::replay::session;

const SESSIONS: [&str; 19] = [
    "01-connect",
    "02-set",
    "03-delete",
    "04-tree",
    "05-enum",
    "06-watch",
    "07-mirror",
    "08-delete-tree",
    "09-bad-requests",
    "10-msg",
    "11-state",
    "12-internal",
    "13-auth-test",
    "14-auth-password",
    "15-acl",
    "16-type",
    "17-root",
    "18-codec",
    "19-two-nodes",
];

/// Whether the recording leaves bytes out, or shows none because there is no
/// sound message.
fn abridged(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            fields.contains_key("$bin_start")
                || fields.contains_key("$invalid")
                || fields.values().any(abridged)
        }
        Value::Array(items) => items.iter().any(abridged),
        _ => false,
    }
}

#[test]
fn recorded_messages_decode_to_their_json_and_encode_to_their_bytes() {
    let mut seen = 0;
    for name in SESSIONS {
        let session = session(name);
        assert_eq!(session.name, name);
        for (bytes, decoded) in session.messages.iter().filter_map(|m| m.pair()) {
            if abridged(decoded) {
                continue;
            }
            seen += 1;
            let (came, length) = decode(&bytes).expect("a recorded message");
            assert_eq!(length, bytes.len(), "{name}: {decoded}");
            assert_eq!(came, *decoded, "{name}");
            assert_eq!(encode(decoded), bytes, "{name}: {decoded}");
        }
    }
    assert!(seen > 1_000, "only {seen} messages were compared");
}
