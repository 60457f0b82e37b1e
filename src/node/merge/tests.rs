use super::*;

fn replica(name: &str) -> Replica {
    Replica::new(&NodeName::new(name), 1, 7)
}

fn path(name: &str) -> RawPath {
    let mut path = RawPath::new();
    path.push_str(name);
    path
}

fn write(r: &mut Replica, name: &str, value: Option<&[u8]>) -> Event {
    let ix = r.ensure(Ix::ROOT, path(name).as_ref()).unwrap();
    r.write(ix, value).unwrap();
    r.event(ix)
}

fn value<'a>(r: &'a Replica, name: &str) -> Option<&'a [u8]> {
    let ix = r.tree().resolve(Ix::ROOT, path(name).as_ref()).unwrap()?;
    r.tree().get(ix).value()
}

fn superseded(r: &Replica, name: &str) -> TickSet {
    r.nodes()
        .get(r.nodes().find(name).unwrap())
        .unwrap()
        .superseded()
}

/// The original ends its start with the first rule whose type it does not
/// know, and warns of the first converter without codec.
#[test]
fn what_rules_name_stands_before_them() {
    let orders = [
        ["match", "conv", "x", "type", "codec"],
        ["codec", "conv", "x", "match", "type"],
        ["type", "match", "codec", "conv", "x"],
    ];
    for sections in orders {
        // as a client writes them, and as they come from another node
        let (mut here, mut there) = (replica("a"), replica("b"));
        for name in sections {
            let mut path = RawPath::new();
            path.push_nil();
            path.push_str(name);
            path.push_str("entry");
            let ix = here.ensure(Ix::ROOT, path.as_ref()).unwrap();
            here.write(ix, Some(b"\x80")).unwrap();
            there.apply(&here.event(ix)).unwrap();
        }
        for replica in [here, there] {
            let mut order = Vec::new();
            let mut at = replica.tree().get(replica.internal()).first_child();
            while let Some(ix) = at {
                order.push(replica.tree().get(ix).key()[1..].to_vec());
                at = replica.tree().get(ix).next_sibling();
            }
            let place = |name: &str| order.iter().position(|n| n == name.as_bytes()).unwrap();
            assert_eq!(order.len(), 5);
            assert!(place("type") < place("match"), "{sections:?}");
            assert!(place("codec") < place("conv"), "{sections:?}");
        }
    }
}

#[test]
fn a_successor_is_applied_and_supersedes() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let first = write(&mut a, "x", Some(b"\x01"));
    b.apply(&first).unwrap();
    let second = write(&mut b, "x", Some(b"\x02"));
    assert_eq!(second.chain.len(), 2, "built on the other's event");
    assert!(matches!(a.apply(&second), Ok(Applied::Changed(_))));
    assert_eq!(value(&a, "x"), Some(&b"\x02"[..]));
    let third = write(&mut a, "x", Some(b"\x03"));
    b.apply(&third).unwrap();
    assert_eq!(superseded(&b, "a"), TickSet::from_iter([1..=1]));
    assert_eq!(b.apply(&second), Ok(Applied::Ignored));
    assert_eq!(value(&b, "x"), Some(&b"\x03"[..]));
}

#[test]
fn a_tie_ends_the_same_everywhere() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let from_a = write(&mut a, "x", Some(b"\x0a"));
    let from_b = write(&mut b, "x", Some(b"\x0b"));
    assert_eq!(from_a.tock, from_b.tock);
    a.apply(&from_b).unwrap();
    b.apply(&from_a).unwrap();
    assert_eq!(value(&a, "x"), Some(&b"\x0b"[..]));
    assert_eq!(value(&b, "x"), Some(&b"\x0b"[..]));
    assert_eq!(superseded(&a, "a"), superseded(&b, "a"));
}

/// A node that started again did not know the tocks of its earlier run.
/// Its later tick won over the greater tock, so that of three events each
/// won over another one.
#[test]
fn of_any_events_one_wins_in_every_order() {
    let link = |node: &str, tick| NamedLink {
        node: NodeName::new(node),
        tick: Tick(tick),
    };
    let event = |chain: &[NamedLink], tock, value| Event {
        path: path("x"),
        chain: chain.to_vec(),
        end: ChainEnd::Start,
        tock: Tock(tock),
        value: Some(Box::new([value])),
    };
    let events = [
        event(&[link("a", 5)], 100, 1),
        event(&[link("a", 1_000_005)], 50, 2),
        event(&[link("b", 3)], 70, 3),
        // built upon what the later run wrote
        event(&[link("c", 1), link("a", 1_000_005)], 60, 4),
    ];
    let mut orders: Vec<Vec<usize>> = vec![Vec::new()];
    for n in 0..events.len() {
        orders = orders
            .iter()
            .flat_map(|order| {
                (0..=n).map(move |at| {
                    let mut order = order.clone();
                    order.insert(at, n);
                    order
                })
            })
            .collect();
    }
    assert_eq!(orders.len(), 24);
    for order in orders {
        let mut r = replica("x");
        for n in &order {
            r.apply(&events[*n]).unwrap();
        }
        assert_eq!(value(&r, "x"), Some(&[1][..]), "{order:?}");
        assert!(superseded(&r, "b").contains(3), "{order:?}");
    }
}

/// The original decides by the tick whatever is of one node.
#[test]
fn what_the_original_may_decide_otherwise_is_told() {
    let mut r = replica("x");
    let event = |tick, tock| Event {
        path: path("x"),
        chain: vec![NamedLink {
            node: NodeName::new("a"),
            tick: Tick(tick),
        }],
        end: ChainEnd::Start,
        tock: Tock(tock),
        value: Some(Box::new([1])),
    };
    r.apply(&event(5, 100)).unwrap();
    r.apply(&event(6, 101)).unwrap();
    assert!(!r.was_contested(), "it follows");
    r.apply(&event(4, 99)).unwrap();
    assert!(!r.was_contested(), "it is stale");
    assert!(matches!(r.apply(&event(9, 50)), Ok(Applied::Lost(_))));
    assert!(r.was_contested(), "later by its tick alone");
    assert!(matches!(r.apply(&event(3, 200)), Ok(Applied::Changed(_))));
    assert!(r.was_contested(), "later by its tock alone");
}

#[test]
fn a_later_deletion_wins_over_a_concurrent_write() {
    let (mut a, mut b, mut c) = (replica("a"), replica("b"), replica("c"));
    let start = write(&mut a, "x", Some(b"\x01"));
    b.apply(&start).unwrap();
    let set = write(&mut a, "x", Some(b"\x02"));
    b.saw_tock(Tock(100));
    let deletion = write(&mut b, "x", None);
    c.apply(&deletion).unwrap();
    assert!(matches!(c.apply(&set), Ok(Applied::Lost(_))));
    a.apply(&deletion).unwrap();
    assert_eq!((value(&a, "x"), value(&c, "x")), (None, None));
}

#[test]
fn a_re_creation_starts_a_new_chain() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let set = write(&mut a, "x", Some(b"\x01"));
    b.apply(&set).unwrap();
    b.apply(&write(&mut a, "x", None)).unwrap();
    let again = write(&mut b, "x", Some(b"\x02"));
    assert_eq!(again.chain.len(), 1);
    assert_eq!(again.end, ChainEnd::Start);
    assert_eq!(superseded(&b, "a"), TickSet::from_iter([1..=2]));
}

#[test]
fn a_cut_chain_is_completed_by_the_longer_one() {
    let (mut a, mut b, mut c) = (replica("a"), replica("b"), replica("c"));
    b.apply(&write(&mut a, "x", Some(b"\x01"))).unwrap();
    let whole = write(&mut b, "x", Some(b"\x02"));
    let mut cut = whole.clone();
    cut.chain.truncate(1);
    cut.end = ChainEnd::Cut;
    c.apply(&cut).unwrap();
    assert!(c.nodes().find("a").is_none());
    c.apply(&whole).unwrap();
    let a_known = c.nodes().get(c.nodes().find("a").unwrap()).unwrap();
    assert!(a_known.missing().is_empty() && a_known.entry(Tick(1)).is_some());
}

#[test]
fn changes_can_be_asked_for_again() {
    let mut a = replica("a");
    write(&mut a, "x", Some(b"\x01"));
    let (run, n) = a.at();
    write(&mut a, "y", Some(b"\x01"));
    write(&mut a, "z", Some(b"\x01"));
    write(&mut a, "y", Some(b"\x02"));
    let paths: Vec<RawPath> = a
        .changed_since(run, n)
        .unwrap()
        .into_iter()
        .map(|ix| a.path(ix))
        .collect();
    assert_eq!(paths, [path("z"), path("y")]);
    assert_eq!(a.changed_since(run, n + 3), Some(vec![]));
    assert_eq!(a.changed_since(run, n + 4), None, "from the future");
    assert_eq!(a.changed_since(run + 1, n), None, "another run");
}

#[test]
fn the_last_tick_is_refused() {
    let mut a = replica("a");
    a.saw_tock(Tock(MAX_COUNTER + 1));
    assert_eq!(a.write(Ix::ROOT, None), Err(Exhausted));
    assert_eq!(a.tick(), None);
}

#[test]
fn a_node_that_owns_an_entry_stays() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    b.apply(&write(&mut a, "x", Some(b"\x01"))).unwrap();
    let node = b.nodes().find("a").unwrap();
    assert_eq!(b.drop_node(node), Err(Tick(1)));
    let mine = write(&mut b, "x", Some(b"\x02"));
    assert_eq!(mine.chain.len(), 2);
    assert_eq!(b.drop_node(node), Ok(()));
    let ix = b.ensure(Ix::ROOT, path("x").as_ref()).unwrap();
    assert_eq!(b.event(ix).chain.len(), 1);
}
