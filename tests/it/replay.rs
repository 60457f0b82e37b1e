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
