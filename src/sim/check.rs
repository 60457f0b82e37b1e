//! What must be true of a network: always, and once it has healed.

use crate::event::{Event, NamedLink, NodeInfo, NodeName, Tick};
use crate::node::habits::Habit;
use crate::node::time::Timestamp;
use crate::path::RawPath;
use crate::sim::ledger::rank;
use crate::sim::plan::deleters_path;
use crate::sim::trace;
use crate::sim::world::{Node, World};

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the texts say it
pub enum Broken {
    #[error("{0} holds an event without a chain: {1}")]
    NoChain(NodeName, String),
    #[error("{0} holds an entry that nobody wrote: {1}")]
    NobodysPath(NodeName, String),
    #[error("{0} holds an event that nobody made: {1}")]
    NobodysEvent(NodeName, String),
    #[error("{0} holds another event of the same tick: {2} instead of {1}")]
    TwoContents(NodeName, String, String),
    #[error("{0} went back from {1} to {2}")]
    Backward(NodeName, String, String),
    #[error("{0} acknowledged a write and does not have it: {1}")]
    NotWritten(NodeName, String),
    #[error("{0} did a write although its condition was not met: {1}")]
    Accepted(NodeName, String),
    #[error("{0} refused a request for {1}: {2}")]
    Refused(NodeName, String, String),
    #[error("{0} shows another value than it holds: {1}")]
    ReadWrong(NodeName, String),
    #[error("{0} never came to serve clients")]
    NotServing(NodeName),
    #[error("{0} has events that nobody confirmed")]
    Outbox(NodeName),
    #[error("{0} holds {1}, which should be {2}")]
    Differs(NodeName, String, String),
    #[error("{0} lacks {1}")]
    Lacks(NodeName, String),
    #[error("{0} holds what is not there: {1}")]
    Revived(NodeName, String),
    #[error("chains differ: {0} has {1}, {2} has {3}")]
    Chains(NodeName, String, NodeName, String),
    #[error("ticks differ: {0} has{1}, {2} has{3}")]
    Ticks(NodeName, String, NodeName, String),
    #[error("{0} still misses{1}")]
    Missing(NodeName, String),
    #[error("{0} still has it that others miss{1}")]
    Reported(NodeName, String),
    #[error("a watch at {0} shows {1} as {2}, which is {3}")]
    Watch(NodeName, String, String, String),
    #[error("a watch at {0} did not get all of the tree")]
    WatchStuck(NodeName),
    #[error("sums differ although trees do not: {0} and {1}")]
    Sums(NodeName, NodeName),
    #[error("{0} has not forgotten {1}, although all deleters are there")]
    NotPurged(NodeName, String),
    #[error("{0} does not come to rest")]
    Restless(NodeName),
    #[error("not as it should be: {0}")]
    Astray(String),
    #[error("nothing happens any more")]
    NothingHappens,
}

/// What is wrong, and when it was seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("after {:.3} s: {what}", at.0 as f64 / 1e6)]
pub struct Failure {
    /// In simulated time
    pub at: Timestamp,
    /// What
    pub what: Broken,
}

/// Whether all nodes agree: what can be looked at often.
pub(super) fn agreed(world: &World) -> Result<(), Broken> {
    for node in &world.nodes {
        let Some(running) = &node.running else {
            continue;
        };
        if !running.serving {
            return Err(Broken::NotServing(node.name.clone()));
        }
        if node.habits.is_original() {
            continue;
        }
        for (key, _) in world.ledger.keys() {
            let wanted = world.ledger.wanted(key);
            if wanted.is_some_and(|made| world.ledger.is_twofold(made)) {
                continue;
            }
            let held = world.ledger.head(running.life, key);
            if let Some(wanted) = wanted
                && held.is_none_or(|held| world.ledger.rank(held) < world.ledger.rank(wanted))
            {
                let wanted = world.ledger.event(wanted);
                // see `trees`
                let value = world.ledger.value(running.life, key);
                if wanted.value.is_some() || value.is_some() {
                    return Err(Broken::Lacks(node.name.clone(), trace::event(wanted)));
                }
            }
        }
        if !running.host.is_outbox_empty() {
            return Err(Broken::Outbox(node.name.clone()));
        }
    }
    books(world)?;
    trees(world)?;
    // what a node of the original deletes may be forgotten before others know,
    // and if its file is old, it tells the others that they need nothing else
    let counts = &world.counts;
    let steady = !counts.deleters_named && !counts.originals_loaded;
    let compared = world.plan.habits.can_agree() && steady;
    if compared && let Some(what) = astray(world).pop() {
        return Err(Broken::Astray(what));
    }
    let mut sums = running(world).filter_map(|n| Some((&n.name, n.running.as_ref()?.host.sum())));
    if let Some((first, sum)) = sums.next()
        && let Some((other, _)) = sums.find(|(_, other)| *other != sum)
    {
        return Err(Broken::Sums(first.clone(), other.clone()));
    }
    Ok(())
}

/// What nodes of the original hold otherwise than ours.
fn astray(world: &World) -> Vec<String> {
    let mut lines = Vec::new();
    for node in &world.nodes {
        let Some(running) = node.running.as_ref().filter(|_| node.habits.is_original()) else {
            continue;
        };
        for (key, _) in world.ledger.keys() {
            let made = world.ledger.wanted(key);
            let wanted = made.map(|made| world.ledger.event(made));
            let wanted = wanted.filter(|e| e.value.is_some());
            let held = world.ledger.value(running.life, key);
            // who fetches as the original does is not told of deletions
            let unmarked = wanted.is_none() && !running.founded;
            // what ours have given up, or never heard of, it does not tell
            let head = world.ledger.head(running.life, key);
            let ahead = head.map(|made| world.ledger.rank(made)) > wanted.map(rank);
            let differs = wanted.map(|e| &e.value) != held.map(|e| &e.value);
            // it was told to need it no more, because of what is lost since
            let surpassed = made.is_some_and(|made| world.ledger.is_surpassed(made));
            let told = surpassed && !running.founded;
            if differs && !unmarked && !ahead && !told {
                let shown =
                    |e: Option<&Event>| e.map_or_else(|| "nothing".to_owned(), trace::event);
                let (held, wanted) = (shown(held), shown(wanted));
                lines.push(format!("{} holds {held}, and ours {wanted}", node.name));
            }
        }
    }
    lines
}

/// Everything that must be true in the end.
pub(super) fn all(world: &mut World) -> Result<(), Broken> {
    agreed(world)?;
    let lines = astray(world);
    world.counts.astray = lines.len() as u64;
    for line in &lines {
        world.trace.line(world.now, |out| out.push_str(line));
    }
    purged(world)?;
    watches(world)
}

/// Deletions are forgotten, if time was given for it and all deleters are
/// there.
fn purged(world: &World) -> Result<(), Broken> {
    let named = world
        .ledger
        .key(&deleters_path())
        .and_then(|key| world.ledger.wanted(key));
    let all_run = world.nodes.iter().all(|n| n.running.is_some());
    if world.counts.originals_delete || !world.plan.purge || !all_run || named.is_none() {
        return Ok(());
    }
    for node in running(world) {
        let events = node.running.as_ref().map(|r| r.host.events());
        let mut marks = events.into_iter().flatten().filter(|e| e.value.is_none());
        if let Some(mark) = marks.next() {
            return Err(Broken::NotPurged(node.name.clone(), trace::event(&mark)));
        }
    }
    Ok(())
}

/// The nodes of ours that run.
fn running(world: &World) -> impl Iterator<Item = &Node> {
    let nodes = world.nodes.iter();
    nodes.filter(|n| n.running.is_some() && !n.habits.is_original())
}

/// Ticks are the same everywhere, and nothing is missing.
fn books(world: &World) -> Result<(), Broken> {
    type Ticks = Vec<(NodeName, Option<Tick>)>;
    let mut first: Option<(&NodeName, Ticks)> = None;
    for node in running(world) {
        let Some(host) = node.running.as_ref().map(|r| &r.host) else {
            continue;
        };
        let books = host.books();
        let name = &node.name;
        if books.missing.as_ref().is_some_and(|m| !m.is_empty()) {
            let shown = trace::info(&NodeInfo {
                missing: books.missing,
                ..NodeInfo::default()
            });
            return Err(Broken::Missing(name.clone(), shown));
        }
        if books.remote_missing.as_ref().is_some_and(|m| !m.is_empty()) {
            let shown = trace::info(&NodeInfo {
                remote_missing: books.remote_missing,
                ..NodeInfo::default()
            });
            return Err(Broken::Reported(name.clone(), shown));
        }
        let mut ticks = books.ticks.unwrap_or_default();
        // a name without any tick is no different from one never heard of
        ticks.retain(|(_, tick)| tick.unwrap_or_default() > Tick(0));
        ticks.sort_unstable();
        match &first {
            None => first = Some((name, ticks)),
            Some((other, others)) if *others != ticks => {
                let shown = |ticks: Ticks| {
                    trace::info(&NodeInfo {
                        ticks: Some(ticks),
                        ..NodeInfo::default()
                    })
                };
                return Err(Broken::Ticks(
                    (*other).clone(),
                    shown(others.clone()),
                    name.clone(),
                    shown(ticks),
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The trees are the same, and each is what it must be.
///
/// Of an entry that is deleted, a node may hold nothing, because the deletion
/// has been forgotten, or another deletion: it may have been told that nobody
/// is interested in the later one. Which one it is decides nothing but about
/// older values, and if such a one comes the sums differ.
fn trees(world: &World) -> Result<(), Broken> {
    let count = world.ledger.keys().count();
    let mut chains: Vec<Option<(&NodeName, Event)>> = vec![None; count];
    for node in running(world) {
        let Some(host) = node.running.as_ref().map(|r| &r.host) else {
            continue;
        };
        let name = &node.name;
        let mut there = vec![false; count];
        for event in host.events() {
            let Some(key) = world.ledger.key(&event.path) else {
                return Err(Broken::NobodysPath(name.clone(), trace::event(&event)));
            };
            let Some(wanted) = world
                .ledger
                .wanted(key)
                .map(|made| world.ledger.event(made))
            else {
                return Err(Broken::Revived(name.clone(), trace::event(&event)));
            };
            let made = world.ledger.wanted(key);
            let twofold = made.is_some_and(|made| world.ledger.is_twofold(made));
            if twofold || (event.value.is_none() && wanted.value.is_none()) {
                continue;
            }
            if rank(&event) != rank(wanted) || event.value != wanted.value {
                let (held, wanted) = (trace::event(&event), trace::event(wanted));
                return Err(Broken::Differs(name.clone(), held, wanted));
            }
            there[key.0] = true;
            match &chains[key.0] {
                Some((other, theirs)) if !prefix(&theirs.chain, &event.chain) => {
                    let (a, b) = (trace::event(theirs), trace::event(&event));
                    return Err(Broken::Chains((*other).clone(), a, name.clone(), b));
                }
                Some(_) => {}
                None => chains[key.0] = Some((name, event)),
            }
        }
        for (key, _) in world.ledger.keys() {
            let made = world.ledger.wanted(key);
            let made = made.filter(|made| !world.ledger.is_twofold(*made));
            let wanted = made.map(|made| world.ledger.event(made));
            if let Some(wanted) = wanted.filter(|e| e.value.is_some() && !there[key.0]) {
                return Err(Broken::Lacks(name.clone(), trace::event(wanted)));
            }
        }
    }
    Ok(())
}

fn prefix(a: &[NamedLink], b: &[NamedLink]) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b)
}

/// Every watch shows what its node holds.
fn watches(world: &World) -> Result<(), Broken> {
    for client in &world.clients {
        let (Some((n, life, _)), Some(watch)) = (client.session, &client.watch) else {
            continue;
        };
        let node = &world.nodes[n];
        // who resumes a watch is not told of what was cut off meanwhile
        let cuts = node.habits.has(Habit::DeletedKills) || node.habits.has(Habit::PurgeKills);
        if node.life() != Some(life) || cuts {
            continue;
        }
        if !watch.complete {
            return Err(Broken::WatchStuck(node.name.clone()));
        }
        let covered = world.ledger.keys().filter(|(_, path)| watch.covers(path));
        for (key, path) in covered {
            let held = world.ledger.value(life, key);
            let shown = watch.copy.get(path);
            let shown_value = shown.and_then(|(value, _)| value.as_deref());
            let value = held.and_then(|event| event.value.as_deref());
            let tocks = held.is_none_or(|e| shown.is_some_and(|(_, tock)| *tock == e.tock));
            if shown_value != value || !tocks {
                return Err(wrong(node, path, shown_value, value));
            }
        }
    }
    Ok(())
}

fn wrong(node: &Node, path: &RawPath, shown: Option<&[u8]>, held: Option<&[u8]>) -> Broken {
    let text =
        |value: Option<&[u8]>| value.map_or_else(|| "nothing".to_owned(), |v| format!("{v:02x?}"));
    let path = trace::path(path.as_ref());
    Broken::Watch(node.name.clone(), path, text(shown), text(held))
}
