//! The recorded sessions, replayed against the original that they show: it
//! must agree with them without any override. This proves the machinery that
//! our own server is judged by.

use crate::support::original::Original;
use crate::support::replay::{Overrides, play, session};
use crate::{Needs, Tests};

/// Sessions, and the lines whose content depends on who is faster: whether a
/// broadcast has come back from the broker yet.
const SESSIONS: [(&str, &[usize]); 13] = [
    ("01-connect", &[]),
    ("02-set", &[]),
    ("03-delete", &[]),
    ("04-tree", &[]),
    ("05-enum", &[]),
    ("06-watch", &[]),
    ("07-mirror", &[]),
    ("08-delete-tree", &[]),
    ("09-bad-requests", &[]),
    ("10-msg", &[]),
    ("11-state", &[40]),
    ("12-internal", &[]),
    ("17-root", &[]),
];

pub(crate) fn add(tests: &mut Tests, broker_port: u16) {
    for (name, volatile) in SESSIONS {
        tests.add(
            &format!("replay::original_{}", name.replace('-', "_")),
            Needs::Original,
            move || {
                let mut original = Original::start(broker_port, "rec").unwrap();
                let played = play(&session(name), original.port, &Overrides::none(), volatile);
                assert!(original.runs(), "the original's server has ended");
                if let Err(differences) = played {
                    panic!("{differences}");
                }
            },
        );
    }
}
