//! The recorded sessions of the original's clients, replayed against our
//! server. What may differ, and by which decision, stands in
//! `tests/vectors/overrides.json`.

use crate::support::moat::Server;
use crate::support::replay::{Overrides, play, session};

fn replay(name: &str) {
    let mut server = Server::start();
    let played = play(&session(name), server.port, &Overrides::of_the_port(), &[]);
    server.assert_alive();
    if let Err(differences) = played {
        panic!("{differences}");
    }
}

#[test]
fn overrides_differ_from_what_was_recorded() {
    // reading them checks them
    let _ = Overrides::of_the_port();
}

macro_rules! replays {
    ($($test:ident $session:literal)*) => {$(
        #[test]
        fn $test() {
            replay($session);
        }
    )*};
}

replays! {
    connect "01-connect"
    set "02-set"
    delete "03-delete"
    tree "04-tree"
    enumerate "05-enum"
    watch "06-watch"
    mirror "07-mirror"
    delete_tree "08-delete-tree"
    bad_requests "09-bad-requests"
    messages "10-msg"
    state "11-state"
    internal "12-internal"
    root "17-root"
}

/// The comparison itself: what it lets pass and what it does not.
mod comparison {
    use serde_json::{Value, json};

    use crate::support::replay::{Overrides, Ticks};

    fn differ(recorded: &Value, came: &Value, ticks: &mut Ticks) -> Option<String> {
        Overrides::of_the_port().difference(recorded, came, ticks)
    }

    #[test]
    fn ignores_what_varies_and_what_only_this_server_sends() {
        let recorded = json!({"state": "uptodate", "seq": 1, "tock": 5});
        let came = json!({"state": "uptodate", "seq": 1, "tock": 9, "at": [1, 2]});
        assert_eq!(differ(&recorded, &came, &mut Ticks::exact()), None);
        let recorded = json!({"error": "X at 0x7f3a, 'tock': 12}", "seq": 1});
        let came = json!({"error": "X at 0x1, 'tock': 3}", "seq": 1});
        assert_eq!(differ(&recorded, &came, &mut Ticks::exact()), None);
    }

    #[test]
    fn finds_missing_changed_and_additional_keys() {
        let recorded = json!({"value": 1, "seq": 1});
        let cases = [
            (json!({"seq": 1}), "value is missing"),
            (json!({"value": 1.0, "seq": 1}), "value differs"),
            (
                json!({"value": 1, "seq": 1, "depth": 0}),
                "depth should not be there",
            ),
        ];
        for (came, why) in cases {
            let found = differ(&recorded, &came, &mut Ticks::exact());
            assert_eq!(found.as_deref(), Some(why), "{came}");
        }
        let path = json!({"path": {"$path": []}, "seq": 1});
        let list = json!({"path": [], "seq": 1});
        assert!(differ(&path, &list, &mut Ticks::exact()).is_some());
    }

    #[test]
    fn maps_ticks_only_where_they_shift_and_only_in_order() {
        let message = |tick: u64| json!({"chain": {"node": "n", "tick": tick, "prev": null}});
        assert!(differ(&message(10), &message(6), &mut Ticks::exact()).is_some());
        let mut ticks = Ticks::new(true);
        assert_eq!(differ(&message(10), &message(6), &mut ticks), None);
        assert_eq!(differ(&message(12), &message(8), &mut ticks), None);
        // once mapped it stays so, and none overtakes another
        assert!(differ(&message(10), &message(7), &mut ticks).is_some());
        assert!(differ(&message(11), &message(9), &mut ticks).is_some());
    }
}
