//! What the end-to-end tests share: processes that die with their test, free
//! ports, waiting for a condition, raw client connections and the replay of
//! recorded sessions.
//!
//! Rules: a test never sleeps in the hope that something has happened
//! meanwhile, it waits for the thing itself ([`eventually`]); a failed test
//! shows what its processes said; nothing outlives the test that started it.

#![allow(
    dead_code,
    reason = "compiled into both test binaries, of which each uses a part"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests measure and limit the real time that programs take"
)]

pub(crate) mod conn;
pub(crate) mod good;
pub(crate) mod hosts;
pub(crate) mod join;
pub(crate) mod json;
pub(crate) mod moat;
pub(crate) mod network;
pub(crate) mod original;
pub(crate) mod process;
pub(crate) mod replay;

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How long a test waits for something that takes milliseconds when all is
/// well. Generous: the machine may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The file or directory of that name below `tests`.
pub(crate) fn tests_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// Waits until `look` finds something, and returns it.
///
/// # Errors
/// If it has found nothing when the time is up.
pub(crate) fn eventually<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() >= end {
            return Err(format!("not within {limit:?}: {what}"));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// A port on which nobody listens now, neither on IPv4 nor on IPv6.
///
/// Ports are taken from below the range that the system gives to outgoing
/// connections, each once per test process, so that only a stranger can take
/// one before the server under test does; starting a server tries another
/// port then.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 18_000;
    const COUNT: u16 = 14_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id().wrapping_mul(271) % u32::from(COUNT))
        .expect("less than a u16");
    for _ in 0..COUNT {
        let n = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start.wrapping_add(n)) % COUNT;
        let v4 = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port));
        let v6_free = match v6 {
            Ok(_) => true,
            // the wildcard of IPv4 excludes nobody there; a system without
            // IPv6 has nothing to exclude
            Err(e) => e.kind() != std::io::ErrorKind::AddrInUse,
        };
        if v4.is_ok() && v6_free {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}
