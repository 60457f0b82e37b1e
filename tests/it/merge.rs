//! The update rule against 210 histories that the original's own classes
//! were driven through, each in several orders.
//!
//! Where the original's outcome depends on the order, or two events of one
//! time met, it diverges; ours is the `winner` of the recording then, in
//! every order.

use std::collections::BTreeMap;

use moat::event::{ChainEnd, Event, NamedLink, NodeName, StateWanted, Tick, Tock};
use moat::node::merge::Replica;
use moat::node::tree::Ix;
use moat::path::{Path, PathElem, RawPath};
use moat::value::Value;
use serde_json::Value as Json;

fn scenarios() -> Vec<Json> {
    let text = include_str!("../vectors/cluster/merge.json");
    serde_json::from_str(text).expect("the vectors are JSON")
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn flag(scenario: &Json, name: &str) -> bool {
    scenario[name]
        .as_bool()
        .unwrap_or_else(|| panic!("{name} in {}", scenario["id"]))
}

fn path(json: &Json) -> RawPath {
    let elem = |e: &Json| match e {
        Json::Null => PathElem::Nil,
        Json::Number(n) => PathElem::from(n.as_i64().expect("an integer")),
        _ => PathElem::from(e.as_str().expect("a text")),
    };
    Path::from_iter(list(json).iter().map(elem)).encode()
}

fn encoded(json: &Json) -> Box<[u8]> {
    Value::from_serialize(json)
        .expect("JSON is a value")
        .to_bytes()
        .into()
}

fn event(json: &Json) -> Event {
    let (mut chain, mut link) = (Vec::new(), json);
    let end = loop {
        let node = NodeName::new(link["node"].as_str().expect("a node"));
        chain.push(NamedLink {
            node,
            tick: Tick(link["tick"].as_u64().expect("a tick")),
        });
        match link.get("prev") {
            None => break ChainEnd::Cut,
            Some(Json::Null) => break ChainEnd::Start,
            Some(older) => link = older,
        }
    };
    let tock = Tock(json["tock"].as_u64().expect("a tock"));
    Event {
        path: path(&json["path"]),
        chain,
        end,
        tock,
        value: json.get("value").map(encoded),
    }
}

fn entry(replica: &Replica, at: &Json) -> Option<Event> {
    let ix = replica
        .tree()
        .resolve(Ix::ROOT, path(at).as_ref())
        .expect("a sound path")?;
    Some(replica.event(ix))
}

/// `[["node", tick], …]`
fn links(event: &Event) -> Json {
    event
        .chain
        .iter()
        .map(|l| serde_json::json!([l.node.as_str(), l.tick.0]))
        .collect()
}

type Sets = BTreeMap<String, Vec<u64>>;

fn sets(of: Option<Vec<(NodeName, moat::event::TickSet)>>) -> Sets {
    let ticks = |set: moat::event::TickSet| set.ranges().flatten().collect();
    of.unwrap_or_default()
        .into_iter()
        .map(|(n, set)| (n.as_str().to_owned(), ticks(set)))
        .collect()
}

/// A recorded list of ticks and of half-open pairs.
fn recorded(json: &Json) -> Vec<u64> {
    let mut all = Vec::new();
    for item in list(json) {
        match list(item) {
            [from, end] => all.extend(from.as_u64().unwrap()..end.as_u64().unwrap()),
            _ => all.push(item.as_u64().unwrap()),
        }
    }
    all
}

fn subset(small: &[u64], large: &[u64]) -> bool {
    small.iter().all(|tick| large.contains(tick))
}

#[test]
fn every_order_ends_with_the_winner() {
    let (mut runs, mut as_recorded, mut books) = (0, 0, 0);
    for scenario in scenarios() {
        let id = &scenario["id"];
        let events: Vec<Event> = list(&scenario["events"]).iter().map(event).collect();
        let diverges = flag(&scenario, "value_depends_on_order") || flag(&scenario, "tie");
        let all = list(&scenario["runs"]);
        for run in all {
            runs += 1;
            let mut replica = Replica::new(&NodeName::new("observer"), 1, 1);
            for n in list(&run["order"]) {
                let n = usize::try_from(n.as_u64().expect("a number")).expect("small");
                replica.apply(&events[n]).expect("a sound path");
            }
            let how = format!("scenario {id}, {}", run["how"]);
            for winner in list(&scenario["winner"]) {
                let here = entry(&replica, &winner["path"]);
                let head = here
                    .as_ref()
                    .map(|e| links(e)[0].clone())
                    .unwrap_or_default();
                assert_eq!(head, winner["head"], "{how}: head of {}", winner["path"]);
                let value = here.and_then(|e| e.value);
                assert_eq!(
                    value,
                    winner.get("value").map(encoded),
                    "{how}: {}",
                    winner["path"]
                );
            }
            let outcome = match run["same_as"].as_u64() {
                None => run,
                Some(k) => &all[usize::try_from(k).expect("small")],
            };
            if !diverges {
                as_recorded += 1;
                compare_entries(&scenario, &replica, outcome, &how);
            }
            if !diverges && run["how"] == "as written" {
                books += 1;
                compare_ticks(&replica, &outcome["nodes"], &how);
            }
        }
    }
    assert!(
        runs > 600 && as_recorded > 400 && books > 100,
        "{runs} {as_recorded} {books}"
    );
}

fn compare_entries(scenario: &Json, replica: &Replica, outcome: &Json, how: &str) {
    for want in list(&outcome["entries"]) {
        let at = &want["path"];
        let here = entry(replica, at);
        if want.get("absent").is_some() {
            assert!(
                here.is_none_or(|e| e.value.is_none()),
                "{how}: {at} is there"
            );
            continue;
        }
        let here = here.unwrap_or_else(|| panic!("{how}: {at} is missing"));
        assert_eq!(
            here.value,
            want.get("value").map(encoded),
            "{how}: value of {at}"
        );
        assert_eq!(
            here.tock.0,
            want["tock"].as_u64().expect("a tock"),
            "{how}: tock of {at}"
        );
        if !flag(scenario, "chain_depends_on_order") && !flag(scenario, "ends_of_chains_cut") {
            let chain = if want["chain"].is_null() {
                Json::Array(vec![])
            } else {
                want["chain"].clone()
            };
            assert_eq!(links(&here), chain, "{how}: chain of {at}");
        }
    }
}

/// We may know more than the original: fewer ticks missing, more superseded;
/// and a tick in the chain of an entry with a value is not deleted.
fn compare_ticks(replica: &Replica, nodes: &Json, how: &str) {
    let wanted = StateWanted {
        nodes: true,
        known: true,
        present: true,
        deleted: true,
        missing: true,
        ..StateWanted::default()
    };
    let state = replica.state(wanted);
    let ticks: BTreeMap<&str, u64> = state
        .ticks
        .iter()
        .flatten()
        .filter_map(|(node, tick)| tick.map(|t| (node.as_str(), t.0)))
        .collect();
    let [known, present] = [sets(state.known.clone()), sets(state.present.clone())];
    let [deleted, missing] = [sets(state.deleted.clone()), sets(state.missing.clone())];
    let of = |sets: &Sets, node: &str| sets.get(node).cloned().unwrap_or_default();
    for (node, want) in nodes.as_object().expect("a map of nodes") {
        let at = format!("{how}: node {node}");
        assert_eq!(
            ticks.get(node.as_str()).copied(),
            want["tick"].as_u64(),
            "{at}: tick"
        );
        assert!(
            subset(&of(&missing, node), &recorded(&want["missing"])),
            "{at}: missing"
        );
        let superseded = recorded(&want["superseded"]);
        assert!(subset(&superseded, &of(&known, node)), "{at}: superseded");
        assert!(
            subset(&of(&present, node), &recorded(&want["present"])),
            "{at}: present"
        );
        assert!(
            subset(&of(&deleted, node), &recorded(&want["deleted"])),
            "{at}: deleted"
        );
    }
}
