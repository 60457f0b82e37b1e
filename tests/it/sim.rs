//! Simulated networks: they heal, the same seed is the same history, and
//! planted bugs are seen.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use moat::sim::plant::Plant;
use moat::sim::{EVENTS, Outcome, Settings, run};

/// Lets histories happen on all processors, until one fails. Returns how
/// many happened, and the first that failed.
fn find(count: u64, settings: impl Fn(u64) -> Settings + Sync) -> (u64, Option<(u64, Outcome)>) {
    let next = AtomicU64::new(0);
    let failed = Mutex::new(None);
    let jobs = std::thread::available_parallelism().map_or(1, Into::into);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count || failed.lock().expect("no panic").is_some() {
                        return;
                    }
                    let outcome = run(&settings(n));
                    if outcome.failure.is_some() {
                        *failed.lock().expect("no panic") = Some((n, outcome));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic");
    (next.into_inner().min(count), failed)
}

/// How many histories: enough for every day, or for a machine that has time.
fn histories() -> u64 {
    let is_set = |name| std::env::var_os(name).is_some();
    if is_set("MOAT_TEST_LONG") {
        10_000
    } else if is_set("MOAT_TEST_REQUIRE") {
        2000
    } else {
        200
    }
}

#[test]
fn networks_heal() {
    let (_, failed) = find(histories(), Settings::new);
    if let Some((seed, Outcome { failure, .. })) = failed {
        let failure = failure.expect("it failed");
        panic!("seed {seed}: {failure}\n  moat kv sim --seed {seed} --trace");
    }
}

/// The history of a seed with nodes of the original.
fn mixed(seed: u64) -> Settings {
    Settings {
        mixed: true,
        ..Settings::new(seed)
    }
}

#[test]
fn networks_with_nodes_of_the_original_heal() {
    let (_, failed) = find(histories(), mixed);
    if let Some((seed, Outcome { failure, .. })) = failed {
        let failure = failure.expect("it failed");
        panic!("seed {seed}: {failure}\n  moat kv sim --mixed --seed {seed} --trace");
    }
}

#[test]
fn seeds_that_failed_once_do_not_fail_again() {
    let lines = include_str!("../sim_seeds.txt").lines();
    let seeds: Vec<(bool, u64)> = lines
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let seed = line.split_whitespace().next().expect("a seed first");
            let (is_mixed, seed) = match seed.strip_prefix("mixed:") {
                Some(seed) => (true, seed),
                None => (false, seed),
            };
            (is_mixed, seed.parse().expect("a number"))
        })
        .collect();
    assert!(!seeds.is_empty());
    for (is_mixed, seed) in seeds {
        let outcome = run(&Settings {
            mixed: is_mixed,
            ..Settings::new(seed)
        });
        assert_eq!(outcome.failure, None, "seed {seed}");
    }
}

#[test]
fn a_seed_is_one_history_whatever_the_hash_key() {
    for settings in (0..20).map(Settings::new).chain((0..10).map(mixed)) {
        let seed = settings.seed;
        let traced = |hash| {
            run(&Settings {
                hash,
                trace: true,
                ..settings.clone()
            })
        };
        let (a, b) = (traced(1), traced(0x0123_4567_89ab_cdef));
        let happened = a.counts.inputs + a.counts.acts;
        assert!(happened >= EVENTS.into(), "seed {seed}: {happened}");
        assert!(a == b, "seed {seed} differs with the hash key");
    }
}

#[test]
fn planted_bugs_are_found() {
    for (plant, name) in Plant::ALL {
        let (count, failed) = find(1000, |seed| Settings {
            plant: Some(plant),
            mixed: plant.needs_originals(),
            ..Settings::new(seed)
        });
        assert!(failed.is_some(), "{name} not found in {count} histories");
    }
}
