//! What is told of the bookkeeping in slices.

use std::collections::BTreeMap;

use super::*;
use crate::event::{Section, StateWanted, TickSet};
use crate::msgpack::{Head, Reader};

const ALL: StateWanted = StateWanted {
    nodes: true,
    known: true,
    present: true,
    deleted: true,
    missing: true,
    remote_missing: true,
    node_drop: true,
    debug: true,
};

fn number(reader: &mut Reader<'_>) -> u64 {
    match reader.head() {
        Ok(Head::Uint(n)) => n,
        other => panic!("{other:?} is no number"),
    }
}

/// The nodes of a section, and the ticks of each.
fn sets(section: &Option<Section>) -> BTreeMap<String, TickSet> {
    let section = section.as_ref().expect("it was asked for");
    let mut reader = Reader::new(&section.pairs);
    let mut sets = BTreeMap::new();
    for _ in 0..section.count {
        let name = reader.text().unwrap().unwrap().to_owned();
        let Ok(Head::Array(n)) = reader.head() else {
            panic!("no list: {section:?}");
        };
        let mut set = TickSet::new();
        for _ in 0..n {
            let mut item = Reader::new(reader.object().unwrap());
            match item.head() {
                Ok(Head::Uint(tick)) => set.insert(tick),
                Ok(Head::Array(2)) => {
                    let (from, end) = (number(&mut item), number(&mut item));
                    assert!(from + 1 < end, "one tick is no pair");
                    set.insert_range(from..=end - 1);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(set.intervals(), n, "neighbours are one interval");
        assert!(!set.is_empty());
        assert!(sets.insert(name, set).is_none(), "told once");
    }
    assert!(reader.is_empty());
    sets
}

fn last_ticks(books: &Books) -> BTreeMap<String, u64> {
    let section = books.nodes.as_ref().expect("it was asked for");
    let mut reader = Reader::new(&section.pairs);
    let mut ticks = BTreeMap::new();
    for _ in 0..section.count {
        let name = reader.text().unwrap().unwrap().to_owned();
        let tick = match reader.head().unwrap() {
            Head::Uint(tick) => tick,
            Head::Nil => 0,
            other => panic!("{other:?}"),
        };
        assert!(ticks.insert(name, tick).is_none());
    }
    assert!(reader.is_empty());
    ticks
}

/// Each tick up to a node's last one is one thing.
fn assert_whole(books: &Books) {
    let none = TickSet::new();
    let all = [&books.known, &books.present, &books.missing].map(sets);
    let deleted = sets(&books.deleted);
    for (node, last) in last_ticks(books) {
        let of = all.each_ref().map(|sets| sets.get(&node).unwrap_or(&none));
        for tick in 1..=last {
            let n = of.iter().filter(|set| set.contains(tick)).count();
            assert_eq!(n, 1, "{node}'s tick {tick}: {of:?}");
        }
        let [_, present, _] = of;
        for tick in deleted.get(&node).unwrap_or(&none).ranges().flatten() {
            assert!(present.contains(tick));
        }
    }
}

/// Asserts that an answer given at rest is what the store says.
fn assert_present(books: &Books, node: &Node) {
    let state = node.machine.replica().state(ALL);
    let set = |sets: Option<Vec<(NodeName, TickSet)>>| -> BTreeMap<String, TickSet> {
        let sets = sets.expect("it was asked for").into_iter();
        sets.map(|(name, set)| (name.as_str().to_owned(), set))
            .collect()
    };
    assert_eq!(sets(&books.known), set(state.known));
    assert_eq!(sets(&books.present), set(state.present));
    assert_eq!(sets(&books.deleted), set(state.deleted));
    assert_eq!(sets(&books.missing), set(state.missing));
    assert_eq!(sets(&books.remote_missing), set(state.remote_missing));
    let ticks = state.ticks.expect("it was asked for").into_iter();
    let ticks = ticks.map(|(name, t)| (name.as_str().to_owned(), t.unwrap_or_default().0));
    assert_eq!(last_ticks(books), ticks.collect());
    assert_eq!(books.node_drop, state.node_drop);
    assert!(books.debug);
}

fn enum_node(node: &str, max: u64, current: bool) -> Request<'_> {
    Request::EnumNode { node, max, current }
}

/// The one answer that a session has had.
fn answer(node: &mut Node, session: SessionId) -> Heard {
    let mut heard = node.heard(session);
    assert_eq!(heard.len(), 1, "{heard:?}");
    heard.remove(0).1
}

fn books(node: &mut Node, session: SessionId) -> Books {
    match answer(node, session) {
        Heard::Books(books) => *books,
        other => panic!("{other:?}"),
    }
}

fn ticks(heard: Heard) -> Vec<u64> {
    let Heard::Ticks(count, bytes) = heard else {
        panic!("{heard:?}");
    };
    let mut reader = Reader::new(&bytes);
    let ticks: Vec<u64> = (0..count).map(|_| number(&mut reader)).collect();
    assert!(reader.is_empty());
    ticks
}

/// A node of so many entries, every second one of which is written twice.
fn filled(entries: u32) -> Node {
    let mut node = Node::new("a");
    for n in 0..entries {
        let key = n.to_string();
        let place = path(&["many", &key]);
        let writer = Request::Write(set(&place, b"\x01"));
        let session = node.session();
        for _ in 0..1 + n % 2 {
            node.ask(session, writer.clone());
        }
        node.machine.handle_disconnected(session);
    }
    node.outputs.clear();
    node
}

#[test]
fn a_large_state_holds_nobody_up() {
    const ENTRIES: u32 = 5000;
    const SLICE: usize = 64;
    let mut a = filled(ENTRIES);
    let (client, other) = (a.session(), a.session());
    let me = a.machine.node().0.clone();
    let requests = [Request::GetState(ALL), enum_node(me.as_str(), 0, false)];
    for request in requests {
        a.ask(client, request);
        assert_eq!(a.heard(client), [], "that is too much for one turn");
        let mut slices = 0;
        while a.heard_nothing(client) {
            assert!(a.machine.attend(client) || slices > 0);
            a.machine.advance(client, SLICE);
            slices += 1;
            let place = path(&["many", "7"]);
            assert_eq!(a.get(other, &place), Some(b"\x01".to_vec()));
            let place = path(&["new", &slices.to_string()]);
            a.ask(other, Request::Write(set(&place, b"\x01")));
            assert!(matches!(answer(&mut a, other), Heard::Changed { .. }));
            assert!(slices < 1000, "it comes to an end");
        }
        // a tick is a quarter of an entry, and one slice goes to the first turn
        assert!(
            slices >= ENTRIES as usize / 4 / SLICE - 4,
            "{slices} slices"
        );
        match answer(&mut a, client) {
            Heard::Books(books) => {
                assert_whole(&books);
                let last = last_ticks(&books)[me.as_str()];
                let present = &sets(&books.present)[me.as_str()];
                assert!(present.count() >= u64::from(ENTRIES) - 1 && present.contains(last));
            }
            heard => {
                let ticks = ticks(heard);
                assert!(ticks.len() >= ENTRIES as usize);
                assert!(ticks.is_sorted());
            }
        }
    }
}

#[test]
fn a_session_has_one_large_answer_in_the_making() {
    let mut a = filled(3000);
    let client = a.session();
    let handles: Vec<Handle> = (0..5)
        .map(|_| a.ask(client, Request::GetState(ALL)))
        .collect();
    let me = a.machine.node().0.clone();
    let roll = a.ask(client, enum_node(me.as_str(), 3, false));
    while a.heard_nothing(client) {
        a.machine.advance(client, 16);
        if a.heard_nothing(client) {
            assert_eq!(a.machine.streams.begun_surveys(), 1);
        }
    }
    // one of them can be stopped, and whoever is blocked waits
    a.ask(client, Request::Stop(handles[3].clone()));
    a.heard(client);
    a.machine.sink(client).unwrap().blocked = true;
    assert!(!a.machine.advance(client, 100_000));
    assert!(a.heard_nothing(client));
    a.machine.sink(client).unwrap().blocked = false;
    a.run(client);
    let heard = a.heard(client);
    let answered: Vec<&Handle> = heard.iter().map(|(handle, _)| handle).collect();
    assert_eq!(answered.len(), 4, "{answered:?}");
    assert!(answered.contains(&&roll) && !answered.contains(&&handles[3]));
    for (_, heard) in &heard {
        if let Heard::Books(books) = heard {
            assert_present(books, &a);
        }
    }
}

#[test]
fn who_asks_for_a_node_that_is_forgotten_meanwhile_is_told_so() {
    let mut a = Node::new("a");
    for n in 0..3000_u32 {
        a.machine.handle_event(&Event {
            path: path(&["k", &n.to_string()]),
            chain: vec![crate::event::NamedLink {
                node: NodeName::new("x"),
                tick: Tick(u64::from(n) + 1),
            }],
            end: crate::event::ChainEnd::Start,
            tock: Tock(5),
            value: Some(Box::new([1])),
        });
    }
    let (client, other) = (a.session(), a.session());
    a.ask(client, enum_node("x", 0, false));
    a.ask(other, Request::GetState(ALL));
    a.machine.advance(client, 16);
    a.machine.advance(other, 16);
    assert!(a.heard_nothing(client) && a.heard_nothing(other));
    // everything is overwritten, so that nothing keeps the name
    for n in 0..3000_u32 {
        let place = path(&["k", &n.to_string()]);
        let writer = a.session();
        a.ask(writer, Request::Write(set(&place, b"\x02")));
        a.machine.handle_disconnected(writer);
    }
    let killer = a.session();
    a.ask(killer, Request::KillNode("x"));
    a.run(client);
    let refused = Refused::NoNode(NodeName::new("x"));
    assert_eq!(answer(&mut a, client), Heard::Error(refused));
    a.run(other);
    let books = books(&mut a, other);
    assert_whole(&books);
    assert!(!last_ticks(&books).contains_key("x"));
}

proptest! {
    /// Whatever happens between two slices, each tick is one thing, and what
    /// is told at rest is true.
    #[test]
    fn no_tick_falls_between_two_slices(
        steps in prop::collection::vec((0u8..5, 0u8..3, 1u64..40, 0u8..12), 1..150),
    ) {
        let mut a = Node::new("a");
        let (client, writer) = (a.session(), a.session());
        let mut asked = false;
        for (step, node, tick, place) in steps {
            let name = NodeName::new(["b", "c", "d"][usize::from(node)]);
            let place = path(&[&place.to_string()]);
            match step {
                0 => {
                    let value = [b"\x01".as_slice(), b""][usize::from(node == 0)];
                    let value = Some(value).filter(|v| !v.is_empty());
                    a.ask(writer, Request::Write(Write { value, ..set(&place, b"") }));
                }
                1 => a.machine.handle_event(&Event {
                    path: place,
                    chain: vec![crate::event::NamedLink { node: name, tick: Tick(tick) }],
                    end: crate::event::ChainEnd::Start,
                    tock: Tock(tick),
                    value: Some(Box::new([1])),
                }),
                2 => {
                    let ticks = std::iter::once(tick..=tick + 3).collect();
                    let info = crate::event::NodeInfo {
                        known: Some(vec![(name, ticks)]),
                        ..crate::event::NodeInfo::default()
                    };
                    a.machine.handle_info(&info, Tock(1));
                }
                3 => {
                    let ticks = std::iter::once(tick..=tick + 5).collect();
                    let info = crate::event::NodeInfo {
                        ticks: Some(vec![(name.clone(), Some(Tick(tick)))]),
                        missing: Some(vec![(name, ticks)]),
                        ..crate::event::NodeInfo::default()
                    };
                    a.machine.handle_info(&info, Tock(1));
                }
                _ => {
                    // begun by hand: so little would be told at once
                    let mut survey = survey::Survey::new(ALL);
                    let slice = usize::from(node) + 1;
                    if !asked {
                        asked = true;
                        while survey.go_on(a.machine.replica(), slice).1 {}
                        assert_whole(survey.books());
                        assert_present(survey.books(), &a);
                        continue;
                    }
                    asked = false;
                    while survey.go_on(a.machine.replica(), slice).1 {
                        let value = [u8::try_from(tick).unwrap()];
                        a.ask(writer, Request::Write(set(&place, &value)));
                    }
                    assert_whole(survey.books());
                }
            }
        }
        a.ask(client, Request::GetState(ALL));
        a.run(client);
        let books = books(&mut a, client);
        assert_whole(&books);
        assert_present(&books, &a);
    }
}
