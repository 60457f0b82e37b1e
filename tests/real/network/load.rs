//! Clients that write all the time, and keep account of what their server
//! has acknowledged.

#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout)] // tests keep their own time, and say what they saw

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::conn::{Conn, Got};
use crate::support::eventually;
use crate::support::network::Held;

/// Requests that are under way at once.
const BATCH: u64 = 8;
/// Pause between two batches: some hundred writes a second.
const PAUSE: Duration = Duration::from_millis(20);
/// Paths that all writers use, and paths of each alone.
const SHARED: u64 = 40;
const OWN: u64 = 200;

/// A write that a server has acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Acked {
    pub(super) path: String,
    /// None: a deletion
    pub(super) value: Option<Value>,
    /// Tock, node, tick
    pub(super) head: (u64, String, u64),
    pub(super) at: Instant,
}

/// A write of which nobody knows whether it was done.
#[derive(Debug, Clone)]
pub(super) struct Unsure {
    path: String,
    value: Option<Value>,
}

/// What a writer did.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    pub(super) acked: Vec<Acked>,
    unsure: Vec<Unsure>,
}

/// A client that writes until it is told to stop.
pub(super) struct Writer {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    account: Arc<Mutex<Account>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts one for the server at that port.
    pub(super) fn start(name: &str, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicUsize::new(0));
        let account = Arc::new(Mutex::new(Account::default()));
        let work = Work {
            port,
            name: name.to_owned(),
            dice: Dice::new(name),
            n: 0,
            stop: Arc::clone(&stop),
            done: Arc::clone(&done),
            account: Arc::clone(&account),
        };
        let thread = std::thread::spawn(move || work.run());
        Self {
            stop,
            done,
            account,
            thread: Some(thread),
        }
    }

    /// Waits until that many more of its writes have been acknowledged.
    pub(super) fn go_on(&self, more: usize) {
        let goal = self.done.load(Ordering::Relaxed) + more;
        let what = format!("{more} more writes");
        eventually(&what, Duration::from_secs(60), || {
            (self.done.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .unwrap_or_else(|e| panic!("{e}"));
    }

    /// Ends it; what it did.
    pub(super) fn stop(mut self) -> Account {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the writer got a wrong answer");
        }
        std::mem::take(&mut *self.account.lock().expect("the writer has ended"))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn new(name: &str) -> Self {
        let start = name.bytes().fold(0x9e37_79b9_7f4a_7c15, |n: u64, b| {
            n.rotate_left(9) ^ u64::from(b)
        });
        Self(start)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What the writer's thread has.
struct Work {
    port: u16,
    name: String,
    dice: Dice,
    n: u64,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    account: Arc<Mutex<Account>>,
}

impl Work {
    fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            // while the server is away there is nothing to do
            if let Some(mut conn) = Conn::try_open(self.port) {
                while !self.stop.load(Ordering::Relaxed) && self.batch(&mut conn) {
                    std::thread::sleep(PAUSE);
                }
            } else {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// One batch; false if the connection is gone.
    fn batch(&mut self, conn: &mut Conn) -> bool {
        let mut waiting: Vec<(u64, Unsure)> = (0..BATCH)
            .map(|_| {
                let (path, value) = self.next();
                let request = match &value {
                    Some(value) => {
                        json!({"action": "set_value", "path": path, "value": value, "nchain": 1})
                    }
                    None => json!({"action": "delete_value", "path": path, "nchain": 1}),
                };
                let path = path.to_string();
                (conn.ask(request), Unsure { path, value })
            })
            .collect();
        while !waiting.is_empty() {
            match conn.next(Duration::from_millis(100)) {
                Some(Got::Message(reply)) => {
                    let Some(at) = waiting.iter().position(|(seq, _)| reply["seq"] == *seq) else {
                        panic!("a reply to nothing: {reply}");
                    };
                    let (_, write) = waiting.remove(at);
                    self.acknowledged(write, &reply);
                }
                Some(Got::End) => {
                    let left = waiting.into_iter().map(|(_, write)| write);
                    self.account().unsure.extend(left);
                    return false;
                }
                // it may have been stopped for a while
                None => {}
            }
        }
        true
    }

    fn acknowledged(&self, write: Unsure, reply: &Value) {
        assert!(reply.get("error").is_none(), "{write:?}: {reply}");
        let (link, tock) = (&reply["chain"], reply["tock"].as_u64());
        if let (Some(node), Some(tick), Some(tock)) =
            (link["node"].as_str(), link["tick"].as_u64(), tock)
        {
            self.account().acked.push(Acked {
                path: write.path,
                value: write.value,
                head: (tock, node.to_owned(), tick),
                at: Instant::now(),
            });
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn account(&self) -> std::sync::MutexGuard<'_, Account> {
        self.account.lock().expect("nobody panics with it")
    }

    /// The next write: where, and what.
    fn next(&mut self) -> (Value, Option<Value>) {
        self.n += 1;
        let path = match self.dice.below(3) {
            0 => json!(["shared", self.dice.below(SHARED)]),
            _ => json!(["own", self.name, self.dice.below(OWN)]),
        };
        let value = match self.dice.below(20) {
            0..5 => None,
            5 => Some(json!({"by": self.name, "n": self.n, "long": "x".repeat(700)})),
            _ => Some(json!({"by": self.name, "n": self.n})),
        };
        (path, value)
    }
}

/// Checks that the network holds the latest of what was acknowledged; only
/// what `may_be_lost` says may be missing. Returns how many writes that
/// nobody has overwritten are.
pub(super) fn check(
    held: &Held,
    accounts: &[Account],
    may_be_lost: impl Fn(&Acked) -> bool,
) -> usize {
    use std::collections::BTreeMap;
    let mut by_path: BTreeMap<&str, Vec<&Acked>> = BTreeMap::new();
    let mut unsure: BTreeMap<&str, Vec<&Unsure>> = BTreeMap::new();
    for account in accounts {
        for write in &account.acked {
            by_path.entry(&write.path).or_default().push(write);
        }
        for write in &account.unsure {
            unsure.entry(&write.path).or_default().push(write);
        }
    }
    let mut lost = 0;
    for (path, mut writes) in by_path {
        let unsure = unsure.get(path).map(Vec::as_slice).unwrap_or_default();
        writes.sort_by(|a, b| b.head.cmp(&a.head));
        let entry = held.entries.get(path);
        // from the latest on, until one explains what is there
        let mut explained = false;
        for write in &writes {
            explained = match entry {
                Some(entry) if entry.head == write.head => {
                    assert_eq!(Some(&entry.value), write.value.as_ref(), "{path}");
                    true
                }
                // a later one than any that was acknowledged, or the winner
                // of a tie written once more
                Some(entry) if entry.head > write.head => {
                    let known = |value: Option<&Value>| value == Some(&entry.value);
                    assert!(
                        writes.iter().any(|w| known(w.value.as_ref()))
                            || unsure.iter().any(|u| known(u.value.as_ref())),
                        "nobody wrote {path}: {entry:?}"
                    );
                    true
                }
                Some(_) => false,
                None => write.value.is_none() || unsure.iter().any(|u| u.value.is_none()),
            };
            if explained {
                break;
            }
            assert!(
                may_be_lost(write),
                "lost: {write:?}; there is {entry:?}, {unsure:?}"
            );
            lost += 1;
        }
        assert!(
            explained || entry.is_none(),
            "older than all that was written: {path} {entry:?}"
        );
    }
    lost
}
