use std::path::PathBuf;
use std::time::Duration;

use crate::event::{ChainEnd, Event, FileDone, NamedLink, NodeName, Tick, Tock};
use crate::node::time::Timestamp;
use crate::path::RawPath;

use super::*;

const WITHIN: Options = Options {
    sync: Sync::Within(Duration::from_secs(1)),
    refuse: true,
};

/// A log whose operations the test does itself.
struct Bench {
    log: Log,
    node: NodeName,
    now: Timestamp,
    tick: u64,
}

impl Bench {
    fn new(options: Options) -> Self {
        Self {
            log: Log::new(options),
            node: NodeName::new("me"),
            now: Timestamp(0),
            tick: 0,
        }
    }

    /// A log that has begun.
    fn begun(options: Options) -> Self {
        let mut bench = Self::new(options);
        bench.open("a", true);
        bench.tell_all();
        bench.do_all();
        assert!(bench.log.info(bench.now).path.is_some());
        bench.outcomes();
        bench
    }

    fn open(&mut self, path: &str, full: bool) {
        let (node, now) = (self.node.clone(), self.now);
        let stamp = stamp(&node);
        self.log.open(now, None, PathBuf::from(path), full, stamp);
    }

    fn tell_all(&mut self) {
        while self.log.wants().is_some() {
            self.log.told(self.now);
        }
    }

    fn change(&mut self) {
        self.tick += 1;
        let node = self.node.clone();
        let event = Event {
            path: RawPath::new(),
            chain: vec![NamedLink {
                node: node.clone(),
                tick: Tick(self.tick),
            }],
            end: ChainEnd::Start,
            tock: Tock(self.tick),
            value: Some(Box::from(&b"\x01"[..])),
        };
        self.log.change(&Change::of(&event), stamp(&node));
    }

    /// Writes what is to be written, if the disk lets us.
    fn turn(&mut self, result: Result<(), Trouble>) {
        while self.log.to_write().is_some() {
            self.log.wrote(self.now, Duration::ZERO, result.clone());
        }
        self.log.turn(self.now);
    }

    fn ops(&mut self) -> Vec<Op> {
        std::iter::from_fn(|| self.log.poll_op()).collect()
    }

    fn done(&mut self, op: &Op, result: Result<(), Trouble>) {
        let node = self.node.clone();
        self.log.handle_done(self.now, op, result, stamp(&node));
    }

    fn do_all(&mut self) {
        loop {
            let ops = self.ops();
            if ops.is_empty() {
                return;
            }
            for op in ops {
                self.done(&op, Ok(()));
            }
        }
    }

    fn wait_until(&mut self, seconds: f64) {
        self.now = Timestamp(0).after(Duration::from_secs_f64(seconds));
        let node = self.node.clone();
        if self.log.next_timeout().is_some_and(|due| due <= self.now) {
            self.log.handle_timeout(self.now, stamp(&node));
        }
    }

    fn outcomes(&mut self) -> Vec<Outcome> {
        std::iter::from_fn(|| self.log.poll_outcome()).collect()
    }
}

fn stamp(node: &NodeName) -> Stamp<'_> {
    Stamp {
        node,
        tick: Some(Tick(1)),
        tock: Tock(1),
        wall: 1.0,
    }
}

fn is_sync(op: &Op) -> bool {
    matches!(op, Op::Sync { .. })
}

#[test]
fn what_is_written_while_a_sync_takes_its_time_is_not_late() {
    let mut bench = Bench::begun(WITHIN);
    bench.change();
    bench.turn(Ok(()));
    assert!(bench.ops().is_empty());
    bench.wait_until(0.9);
    assert!(bench.ops().is_empty());
    bench.wait_until(1.0);
    let first = bench.ops();
    assert!(matches!(first.as_slice(), [op] if is_sync(op)), "{first:?}");
    bench.wait_until(1.2);
    bench.change();
    bench.turn(Ok(()));
    // a slow disk: one sync after the other, and no timer that turns in vain
    bench.wait_until(3.0);
    assert!(bench.ops().is_empty());
    assert_eq!(bench.log.next_timeout(), bench.log.books_due);
    assert_eq!(bench.log.durable(), 0);
    bench.done(&first[0], Ok(()));
    assert_eq!(bench.log.durable(), 1);
    let second = bench.ops();
    assert!(
        matches!(second.as_slice(), [op] if is_sync(op)),
        "{second:?}"
    );
    bench.done(&second[0], Ok(()));
    assert_eq!(bench.log.durable(), 2);
}

/// With the old log gone, a file of changes only would lack what happened
/// before it took over.
#[test]
fn a_file_of_changes_begins_anew_when_the_log_before_it_fails() {
    let mut bench = Bench::begun(WITHIN);
    bench.open("b", false);
    bench.tell_all();
    let begun = bench.ops();
    bench.change();
    bench.turn(Err(Trouble::new("no space")));
    let outcomes = bench.outcomes();
    assert!(matches!(
        outcomes.as_slice(),
        [Outcome::Fault(Some(_)), Outcome::Report(_)]
    ));
    for op in &begun {
        bench.done(op, Ok(()));
    }
    bench.tell_all();
    bench.do_all();
    let info = bench.log.info(bench.now);
    assert_eq!(info.path.as_deref(), Some("b"));
    assert_eq!((info.full, info.failed), (true, None));
    let outcomes = bench.outcomes();
    assert!(outcomes.contains(&Outcome::Fault(None)), "{outcomes:?}");
    // now that everything is in a file again, changes are enough
    bench.open("c", false);
    bench.tell_all();
    bench.do_all();
    let info = bench.log.info(bench.now);
    assert_eq!((info.path.as_deref(), info.full), (Some("c"), false));
}

/// What failed is tried again, less and less often, and nobody is told more
/// than once.
#[test]
fn a_failed_log_is_tried_again_quietly() {
    let mut bench = Bench::begun(WITHIN);
    bench.change();
    bench.turn(Err(Trouble::new("no space")));
    bench.outcomes();
    bench.do_all();
    let mut tries = 0;
    for second in 1..600 {
        bench.wait_until(f64::from(second));
        for op in bench.ops() {
            let is_create = matches!(op, Op::Create { .. });
            tries += i32::from(is_create);
            bench.done(
                &op,
                if is_create {
                    Err(Trouble::new("no space"))
                } else {
                    Ok(())
                },
            );
        }
        bench.change();
    }
    assert!((8..20).contains(&tries), "{tries}");
    assert_eq!(bench.outcomes(), []);
    let info = bench.log.info(bench.now);
    assert_eq!(info.unsaved, 599);
    // nobody waits for what cannot be
    assert_eq!(bench.log.safe(), bench.log.number());
}

#[test]
fn who_asks_for_too_many_files_is_told_so() {
    let mut bench = Bench::new(WITHIN);
    for n in 0..=JOBS {
        bench.open(&n.to_string(), true);
    }
    let node = bench.node.clone();
    let path = PathBuf::from("more");
    let token = FileToken::default();
    bench.log.save(bench.now, token, path, true, stamp(&node));
    let outcomes = bench.outcomes();
    let [Outcome::Answer(_, FileDone::Failed(fault))] = outcomes.as_slice() else {
        panic!("{outcomes:?}");
    };
    assert!(fault.why.contains("too many"), "{fault}");
}
