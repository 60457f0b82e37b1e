//! A8 and A9: resident bytes per entry, and reading the whole tree, beside
//! Redis with the same keys and values.
//!
//! Bytes per entry are the growth of the resident memory, at rest, from an
//! empty server on. Redis is read with SCAN in steps of 1,000 and one MGET a
//! step, sent together with the next SCAN so that it never waits.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::Plan;
use crate::lane::{Lane, fill};
use crate::report::{Report, Target, number, progress};
use crate::server::{Server, Tools};
use crate::stats::Spread;
use crate::wire::{self, Peer};

const SIZES: [(u32, f64); 2] = [(100_000, 1.5), (1_000_000, 1.05)];

/// Measures A8 and A9, as far as they are wanted.
pub(crate) fn run(tools: &Tools, plan: &Plan, report: &mut Report) -> Result<()> {
    for (entries, target) in SIZES {
        let whole = plan.wants("A9") && entries == 1_000_000;
        if !plan.wants("A8") && !whole {
            continue;
        }
        progress(&format!("memory of {entries} entries"));
        let (Some(ours), Some(redis)) = (
            plan.start(tools, Peer::Moat, report),
            plan.start(tools, Peer::Redis, report),
        ) else {
            return Ok(());
        };
        let [a, b] = [grown(&ours, entries)?, grown(&redis, entries)?];
        report.raw(format!(
            "{entries} entries: moat {}, redis {} bytes each",
            number(a),
            number(b)
        ));
        if plan.wants("A8") {
            report.ratio(
                "A8",
                format!("{entries} entries, bytes each / redis"),
                Target::AtMost(target),
                Spread::of([a / b]),
            );
        }
        if whole {
            whole_tree(plan, report, &ours, &redis, entries)?;
        }
    }
    Ok(())
}

/// Resident bytes for each of `entries` new entries.
pub(crate) fn grown(server: &Server, entries: u32) -> Result<f64> {
    server.settle()?;
    let before = server.resident()?;
    fill(server.peer, server.addr, entries)?;
    server.settle()?;
    Ok((server.resident()? - before) / f64::from(entries))
}

fn whole_tree(
    plan: &Plan,
    report: &mut Report,
    ours: &Server,
    redis: &Server,
    entries: u32,
) -> Result<()> {
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        progress(&format!("whole tree, round {}", round + 1));
        fast.push(f64::from(entries) / read_tree(ours, entries)?);
        slow.push(f64::from(entries) / read_scan(redis, entries)?);
    }
    report.ratio(
        "A9",
        format!("{entries} entries, rate / redis SCAN + MGET"),
        Target::AtLeast(10.0),
        Spread::of_ratios(&fast, &slow),
    );
    report.ratio(
        "A9",
        "million entries a second".to_owned(),
        Target::AtLeast(5.0),
        Spread::of(fast.iter().map(|rate| rate / 1e6)),
    );
    if let (Some(a), Some(b)) = (Spread::of(fast), Spread::of(slow)) {
        report.raw(format!(
            "whole tree: moat {:.2} M, redis {:.2} M entries/s",
            a.median / 1e6,
            b.median / 1e6
        ));
    }
    Ok(())
}

/// Seconds that `get_tree` of everything takes.
fn read_tree(server: &Server, entries: u32) -> Result<f64> {
    let mut lane = Lane::connect(server.peer, server.addr)?;
    let begin = Instant::now();
    lane.send(&wire::moat_path_request("get_tree", &[], 1))?;
    let mut got = 0_u32;
    loop {
        lane.receive()?;
        while let Some(message) = lane.next()? {
            // an entry, with its value, is longer than the frame's messages
            if message.len() >= 45 {
                got += 1;
                continue;
            }
            match wire::field(message, "state")? {
                Some(b"\xa3end") => {
                    // the root may have a value too
                    ensure!(
                        got == entries || got == entries + 1,
                        "get_tree sent {got} of {entries} entries"
                    );
                    return Ok(begin.elapsed().as_secs_f64());
                }
                Some(_) => {}
                None => got += 1,
            }
        }
    }
}

/// Seconds that SCAN and MGET of everything take.
fn read_scan(server: &Server, entries: u32) -> Result<f64> {
    let mut lane = Lane::connect(server.peer, server.addr)?;
    let begin = Instant::now();
    let mut got = 0;
    let mut request = Vec::new();
    wire::resp(&mut request, &["SCAN", "0", "COUNT", "1000"]);
    let mut asked = false;
    loop {
        lane.send(&request)?;
        if asked {
            got += wire::resp_texts(&lane.message()?)?.len();
        }
        let reply = lane.message()?;
        let texts = wire::resp_texts(&reply)?;
        let (cursor, keys) = texts.split_first().context("a reply to SCAN")?;
        let cursor = std::str::from_utf8(cursor)?;
        let keys = keys.iter().map(|k| std::str::from_utf8(k));
        let mut words = vec!["MGET"];
        words.extend(keys.collect::<Result<Vec<_>, _>>()?);
        request.clear();
        asked = words.len() > 1;
        if asked {
            wire::resp(&mut request, &words);
        }
        if cursor == "0" {
            if asked {
                got += wire::resp_texts(&lane.ask(&request)?)?.len();
            }
            break;
        }
        wire::resp(&mut request, &["SCAN", cursor, "COUNT", "1000"]);
    }
    // SCAN may tell of a key twice while the table grows, never of too few
    ensure!(
        got >= entries as usize,
        "SCAN found {got} of {entries} keys"
    );
    Ok(begin.elapsed().as_secs_f64())
}
