//! A client that does everything right, and what it notices while others do
//! not: its answers stay correct and do not take much longer than before.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::conn::Conn;

/// Rounds that tell how long an answer takes when all is calm.
const CALM: usize = 300;
/// How many times longer the median answer may take beside an attack. Other
/// tests share the processors; a server that is held up is slower by far
/// more.
const SLOWER: u32 = 50;
/// What a machine that does many other things may make of any round.
const BUSY: Duration = Duration::from_millis(100);

/// Writes and reads in turn, and checks every answer.
pub(crate) struct Good {
    conn: Conn,
    /// Nobody else writes here.
    name: String,
    n: u64,
}

impl Good {
    pub(crate) fn connect(port: u16) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        Self {
            conn: Conn::open(port),
            name: format!("client {}", COUNT.fetch_add(1, Ordering::Relaxed)),
            n: 0,
        }
    }

    /// One write and one read; how long both took.
    pub(crate) fn round(&mut self) -> Duration {
        self.n += 1;
        let value = json!(["good", self.n]);
        let start = Instant::now();
        let path = ["good", self.name.as_str()];
        self.conn.set(&path, value.clone());
        let read = self.conn.get(&path);
        let took = start.elapsed();
        assert_eq!(read, Some(value), "the good client's own value");
        took
    }

    /// The median of its rounds, with `step` before each.
    pub(crate) fn rounds(&mut self, count: usize, mut step: impl FnMut(usize)) -> Duration {
        let times = (0..count).map(|n| {
            step(n);
            self.round()
        });
        Self::median(times.collect())
    }

    /// The median of its rounds when nobody disturbs.
    pub(crate) fn calm(&mut self) -> Duration {
        self.rounds(CALM, |_| ())
    }

    fn median(mut times: Vec<Duration>) -> Duration {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }
}

/// Sets the flag also when what it guards panics.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a round takes now must be of the order of what it took before.
pub(crate) fn assert_not_slower(calm: Duration, now: Duration) {
    assert!(
        now <= (calm * SLOWER).max(BUSY),
        "the good client's median round took {calm:?} before, {now:?} beside the attack"
    );
}

/// Runs `attack` while a good client keeps working on the same server.
pub(crate) fn beside<T>(port: u16, attack: impl FnOnce() -> T) -> T {
    let mut good = Good::connect(port);
    let calm = good.calm();
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let working = threads.spawn(|| {
            let mut times = Vec::new();
            while !over.load(Ordering::Relaxed) || times.len() < 10 {
                times.push(good.round());
            }
            times
        });
        let raise = Raise(&over);
        let result = attack();
        drop(raise);
        let times = working.join().expect("the good client got wrong answers");
        assert_not_slower(calm, Good::median(times));
        result
    })
}
