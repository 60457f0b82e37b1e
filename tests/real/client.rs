//! The original's Python client library. That its script expects the right
//! things is proven by the original's own server.

use crate::support::moat::Server;
use crate::support::original::{Original, script};
use crate::{Needs, Tests};

fn run(port: u16) {
    if let Err(said) = script("client.py", &[&port.to_string()], None) {
        panic!("{said}");
    }
}

pub(crate) fn add(tests: &mut Tests, broker_port: u16) {
    tests.add(
        "client::original_library_with_our_server",
        Needs::Python,
        || {
            let mut server = Server::start();
            run(server.port);
            server.assert_alive();
        },
    );
    tests.add(
        "client::original_library_with_the_original_server",
        Needs::Original,
        move || {
            let original = Original::start(broker_port, "rec").unwrap();
            run(original.port);
        },
    );
}
