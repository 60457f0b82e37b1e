//! Message by message: what the original takes, and what nobody should.

use moat::event::{
    ChainEnd, Hail, Info, MAX_COUNTER, Mark, NamedLink, NodeInfo, PeerMessage, Say, Settings, Tick,
    Tock, Turn, Update,
};
use moat::msgpack::{Fault, write};
use moat::path::{ElemError, PathError};
use moat::wire::cluster::{
    MAX_INTERVALS, MAX_LINKS, MAX_LINKS_WRITTEN, MAX_NAME, MAX_NAMES, MAX_NODES, Malformed, Topic,
    decode,
};
use serde_json::{Value as Json, json};

use super::{encoded, node, set};
use crate::support::json::encode as pack;

/// The update that this is, encoded.
fn update(json: &Json) -> Result<Update, Malformed> {
    match decode(Topic::Update, &pack(json))? {
        PeerMessage::Update(update) => Ok(update),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_original_takes_is_taken() {
    let path = json!({"$path": ["a", 1]});
    let plain = json!({"node": "n", "tick": 7, "prev": null, "path": path, "value": 5, "tock": 9});
    let want = update(&plain).expect("the plain form");
    assert_eq!(
        want.event.chain,
        [NamedLink {
            node: node("n"),
            tick: Tick(7)
        }]
    );
    assert_eq!(
        (want.event.end, want.event.tock),
        (ChainEnd::Start, Tock(9))
    );
    assert_eq!(want.event.value.as_deref(), Some(&[5][..]));
    assert_eq!(want.event.path.as_ref().bytes(), b"\xa1a\x01");
    assert_eq!(want.again, None);

    let same = [
        json!({"tock": 9, "value": 5, "path": path, "prev": null, "tick": 7, "node": "n"}),
        json!({"node": "n", "tick": 7, "prev": null, "path": ["a", 1], "value": 5, "tock": 9}),
        json!({"node": "n", "tick": 7, "prev": null, "path": path, "value": 5, "tock": 9,
            "depth": 3, "sig": {"a": [1]}, "moat": true}),
        json!({"node": "n", "tick": 7, "prev": null, "path": path, "old_value": 1, "new_value": 5, "tock": 9}),
        // `value` goes before its other name
        json!({"node": "n", "tick": 7, "prev": null, "path": path, "value": 5, "new_value": 6, "tock": 9}),
        json!({"$map": [[5, {"x": 1}], ["node", "n"], ["tick", 7], ["prev", null], ["path", path],
            [null, null], ["value", 5], ["tock", 9]]}),
        // of equal keys the last counts
        json!({"$map": [["prev", {"node": "x", "tick": 1}], ["tock", 1], ["value", 0], ["node", "n"],
            ["tick", 7], ["prev", null], ["path", path], ["value", 5], ["tock", 9]]}),
    ];
    for form in same {
        assert_eq!(update(&form).as_ref(), Ok(&want), "{form}");
    }
    for gone in [
        json!({"node": "n", "tick": 7, "prev": null, "path": path, "tock": 9}),
        json!({"node": "n", "tick": 7, "prev": null, "path": path, "tock": 9, "value": {"$ext": 4, "data": "5f"}}),
        json!({"node": "n", "tick": 7, "prev": null, "path": path, "tock": 9,
            "new_value": {"$ext": 4, "data": "5f"}, "old_value": 1}),
    ] {
        assert_eq!(
            update(&gone).expect("a deletion").event.value,
            None,
            "{gone}"
        );
    }
    let null =
        json!({"node": "n", "tick": 7, "prev": null, "path": path, "value": null, "tock": 9});
    assert_eq!(
        update(&null).unwrap().event.value.as_deref(),
        Some(&[0xc0][..])
    );
    let cut = json!({"node": "n", "tick": 7, "path": path, "value": 5, "tock": 9});
    assert_eq!(update(&cut).unwrap().event.end, ChainEnd::Cut);
}

#[test]
fn chains_are_read_whatever_their_form() {
    let chain = |json: Json| {
        let again = json!({"chain": json, "tock": 3, "path": [], "node": "s", "tick": null});
        let update = update(&again)?;
        assert_eq!(update.again, Some((node("s"), None)));
        let links = update.event.chain.iter();
        let links: Vec<_> = links
            .map(|l| (l.node.as_str().to_owned(), l.tick.0))
            .collect();
        Ok((links, update.event.end))
    };
    let links = |links: &[(&str, u64)], end| {
        let links = links.iter().map(|(n, t)| ((*n).to_owned(), *t)).collect();
        Ok::<_, Malformed>((links, end))
    };
    let (start, cut) = (ChainEnd::Start, ChainEnd::Cut);
    let cases = [
        (
            json!({"node": "a", "tick": 1, "prev": null}),
            links(&[("a", 1)], start),
        ),
        (json!({"node": "a", "tick": 1}), links(&[("a", 1)], cut)),
        (
            json!({"prev": {"prev": {"tick": 3, "node": "c", "x": [1]}, "node": "b", "tick": 2}, "tick": 1, "node": "a"}),
            links(&[("a", 1), ("b", 2), ("c", 3)], cut),
        ),
        // the first mention of a node counts
        (
            json!({"node": "a", "tick": 5, "prev": {"node": "b", "tick": 2, "prev":
                {"node": "a", "tick": 4, "prev": {"node": "b", "tick": 9, "prev": null}}}}),
            links(&[("a", 5), ("b", 2)], start),
        ),
        // of two keys of one name the last counts
        (
            json!({"$map": [["node", "a"], ["prev", {"node": "b", "tick": 2, "prev": {"node": "c", "tick": 3}}],
                ["tick", 1], ["prev", {"$map": [["node", "d"], ["tick", 8], ["tick", 4], ["prev", null]]}]]}),
            links(&[("a", 1), ("d", 4)], start),
        ),
        (
            json!({"$map": [["node", "a"], ["prev", {"node": "b", "tick": 2}], ["tick", 1], ["prev", null]]}),
            links(&[("a", 1)], start),
        ),
        // a link without tick is no event
        (
            json!({"node": "a", "tick": 5, "prev": {"node": "b", "tick": null, "prev": {"node": "c", "tick": 1, "prev": null}}}),
            links(&[("a", 5), ("c", 1)], start),
        ),
        (
            json!({"node": "a", "tick": 5, "prev": {}}),
            links(&[("a", 5)], cut),
        ),
        (
            json!({"node": "a", "tick": null, "prev": null}),
            Err(Malformed::NoEvent),
        ),
        (
            json!({"node": "a", "tick": 0, "prev": null}),
            Err(Malformed::NoEvent),
        ),
        (json!({"node": "a"}), Err(Malformed::NoEvent)),
        (json!({"tick": 5}), Err(Malformed::Missing("node"))),
        (json!({}), Err(Malformed::Missing("node"))),
        (
            json!({"node": "a", "tick": 1, "prev": {"tick": 1}}),
            Err(Malformed::Missing("node")),
        ),
        (json!({"node": "", "tick": 1}), Err(Malformed::Name)),
        (json!({"node": 5, "tick": 1}), Err(Malformed::Type("node"))),
        (
            json!({"node": "a", "tick": 1.0}),
            Err(Malformed::Type("tick")),
        ),
        (
            json!({"node": "a", "tick": -1}),
            Err(Malformed::Counter("tick")),
        ),
        (
            json!({"node": "a", "tick": 1, "prev": [1]}),
            Err(Malformed::NotAMap("a link of the chain")),
        ),
        (json!(null), Err(Malformed::NotAMap("chain"))),
        (json!("a"), Err(Malformed::NotAMap("a link of the chain"))),
    ];
    for (json, want) in cases {
        assert_eq!(chain(json.clone()), want, "{json}");
    }
}

/// An update whose chain has that many links, all of other nodes, each with
/// its keys in an order that makes reading go back.
fn long_chain(links: usize) -> Vec<u8> {
    let mut out = b"\x84\xa4path\x90\xa4tock\x01".to_vec();
    for _ in 1..links {
        out.extend_from_slice(b"\xa4prev\x83");
    }
    out.extend_from_slice(b"\xa4prev\xc0");
    for n in 0..links {
        let name = format!("n{n}");
        write::str(&mut out, "node");
        write::str(&mut out, &name);
        out.extend_from_slice(b"\xa4tick\x01");
    }
    // the top has two keys more than a link
    out[0] = 0x85;
    out
}

#[test]
fn long_chains_are_bounded_and_take_no_recursion() {
    let read = |n| decode(Topic::Update, &long_chain(n));
    let PeerMessage::Update(update) = read(MAX_LINKS).expect("as long as may be") else {
        panic!("no update");
    };
    assert_eq!(update.event.chain.len(), MAX_LINKS);
    assert_eq!(
        update.event.chain[0].node,
        node(&format!("n{}", MAX_LINKS - 1))
    );
    assert_eq!(read(MAX_LINKS + 2), Err(Malformed::ChainTooLong));
    assert_eq!(read(100_000), Err(Malformed::ChainTooLong));
    // what is written the original can read
    let PeerMessage::Update(cut) = decode(
        Topic::Update,
        &encoded(&PeerMessage::Update(update.clone())),
    )
    .unwrap() else {
        panic!("no update");
    };
    assert_eq!(cut.event.end, ChainEnd::Cut);
    assert_eq!(cut.event.chain, update.event.chain[..MAX_LINKS_WRITTEN]);
    // nesting elsewhere is bounded, too
    let mut deep = b"\x81\xa1x".to_vec();
    deep.resize(100_000, 0x91);
    for topic in Topic::ALL {
        assert_eq!(decode(topic, &deep), Err(Fault::Depth.into()), "{topic:?}");
    }
}

#[test]
fn updates_that_cannot_be_are_refused_with_the_reason() {
    let with = |key: &str, value: Json| {
        let mut json =
            json!({"node": "n", "tick": 7, "prev": null, "path": ["a"], "value": 5, "tock": 9});
        json[key] = value;
        update(&json).expect_err("it is refused")
    };
    let without = |key: &str| {
        let mut json =
            json!({"node": "n", "tick": 7, "prev": null, "path": ["a"], "value": 5, "tock": 9});
        json.as_object_mut().unwrap().shift_remove(key);
        update(&json).expect_err("it is refused")
    };
    assert_eq!(without("path"), Malformed::Missing("path"));
    assert_eq!(without("tock"), Malformed::Missing("tock"));
    assert_eq!(without("node"), Malformed::Missing("node"));
    assert_eq!(without("tick"), Malformed::NoEvent);
    assert_eq!(with("tock", json!(null)), Malformed::Type("tock"));
    assert_eq!(
        with("tock", json!(MAX_COUNTER + 1)),
        Malformed::Counter("tock")
    );
    assert_eq!(with("tick", json!(u64::MAX)), Malformed::Counter("tick"));
    assert_eq!(
        with("node", json!("x".repeat(MAX_NAME + 1))),
        Malformed::Name
    );
    assert_eq!(with("path", json!("a")), Malformed::Type("path"));
    assert_eq!(with("path", json!(null)), Malformed::Type("path"));
    assert_eq!(with("path", json!(["a", null])), Malformed::InnerNull);
    assert_eq!(
        with("path", json!({"$path": ["a", null]})),
        Malformed::InnerNull
    );
    assert_eq!(
        with("path", json!(["a", {"x": 1}])),
        Malformed::Path(ElemError::Map.into())
    );
    assert_eq!(
        with("path", json!([{"$float": "nan"}])),
        Malformed::Path(ElemError::Nan.into())
    );
    let many = json!(vec![0; 2000]);
    assert_eq!(with("path", many), Malformed::Path(PathError::TooMany));
    let raw = |bytes: &[u8]| decode(Topic::Update, bytes).expect_err("it is refused");
    assert_eq!(raw(b""), Fault::Incomplete.into());
    assert_eq!(raw(b"\xc1"), Fault::Reserved(0).into());
    assert_eq!(raw(b"\x90"), Malformed::NotAMap("the message"));
    assert_eq!(raw(b"\x80"), Malformed::Missing("node"));
    assert_eq!(raw(b"\xdf\xff\xff\xff\xff"), Fault::Incomplete.into());
    let mut trailing = pack(&json!({"node": "n", "tick": 1, "path": [], "tock": 1}));
    assert!(decode(Topic::Update, &trailing).is_ok());
    trailing.push(0xc0);
    assert_eq!(raw(&trailing), Fault::Trailing(1).into());
    // a path's extension whose last element reaches beyond its end
    let beyond = b"\x84\xa4node\xa1n\xa4tick\x01\xa4tock\x01\xa4path\xd5\x03\xa3a";
    assert_eq!(raw(beyond), Malformed::Path(Fault::Incomplete.into()));
    assert_eq!(
        raw(b"\x84\xa4node\xa1\xff\xa4tick\x01\xa4tock\x01\xa4path\x90"),
        Fault::Utf8(7).into()
    );
}

#[test]
fn values_that_clients_may_not_store_pass_through() {
    for value in [
        &b"\x81\x81\x01\x02\x03"[..],
        b"\xc7\x06\x05\xa3foo\x01\x02",
        b"\xd4\x04x",
        b"\xa2\xff\xfe",
        b"\xcd\x00\x01",
        b"\xc7\x05\x2aabcde",
    ] {
        let mut bytes = b"\x85\xa4node\xa1n\xa4tick\x01\xa4tock\x01\xa4path\x90\xa5value".to_vec();
        bytes.extend_from_slice(value);
        let message = decode(Topic::Update, &bytes).expect("a sound value");
        let PeerMessage::Update(update) = &message else {
            panic!("{message:?}");
        };
        assert_eq!(update.event.value.as_deref(), Some(value));
        let again = encoded(&message);
        assert!(again.windows(value.len()).any(|w| w == value));
        assert_eq!(decode(Topic::Update, &again), Ok(message));
    }
}

fn info(json: &Json) -> Result<Info, Malformed> {
    match decode(Topic::Info, &pack(json))? {
        PeerMessage::Info(info) => Ok(info),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lists_of_ticks_are_put_in_order() {
    let read = |ranges: Json| {
        let json = json!({"node": "s", "tick": 1, "tock": 1, "missing": {"n": ranges}});
        let mut sets = info(&json)?.info.missing.expect("it is there");
        assert_eq!(sets.len(), 1);
        Ok(sets.remove(0).1)
    };
    let good = [
        (json!([]), set(&[])),
        (json!([1, [3, 6]]), set(&[(1, 1), (3, 5)])),
        (json!([[3, 6], 1]), set(&[(1, 1), (3, 5)])),
        (json!([[3, 6], [5, 9], 9, 4]), set(&[(3, 9)])),
        (json!([1, 2, 3]), set(&[(1, 3)])),
        // empty, reversed, and what begins before the first tick
        (json!([[5, 5], [7, 4], 0, [0, 1]]), set(&[])),
        (json!([[1, 4], [5, 5], [5, 3], 4]), set(&[(1, 4)])),
        (json!([[0, 3]]), set(&[(1, 2)])),
        (json!([MAX_COUNTER]), set(&[(MAX_COUNTER, MAX_COUNTER)])),
        (json!([[1, MAX_COUNTER + 1]]), set(&[(1, MAX_COUNTER)])),
    ];
    for (ranges, want) in good {
        assert_eq!(read(ranges.clone()), Ok(want), "{ranges}");
    }
    let bad = [
        (json!([[1, 2, 3]]), Malformed::Ticks),
        (json!([[1]]), Malformed::Ticks),
        (json!([[]]), Malformed::Ticks),
        (json!(["a"]), Malformed::Ticks),
        (json!([1.0]), Malformed::Ticks),
        (json!([null]), Malformed::Ticks),
        (json!([[1, null]]), Malformed::Ticks),
        (json!([[1, [2]]]), Malformed::Ticks),
        (json!([-1]), Malformed::Counter("missing")),
        (json!([MAX_COUNTER + 1]), Malformed::Counter("missing")),
        (json!([[1, MAX_COUNTER + 2]]), Malformed::Counter("missing")),
        (json!({}), Malformed::Type("missing")),
        (json!(null), Malformed::Type("missing")),
    ];
    for (ranges, want) in bad {
        assert_eq!(read(ranges.clone()), Err(want), "{ranges}");
    }
    // canonical when written, whatever was read
    let json =
        json!({"node": "s", "tick": 1, "tock": 1, "missing": {"n": [[8, 9], 2, [3, 4], [6, 8]]}});
    let again = encoded(&PeerMessage::Info(info(&json).unwrap()));
    let want = json!({"missing": {"n": [[2, 4], [6, 9]]}, "tock": 1, "node": "s", "tick": 1});
    assert_eq!(again, pack(&want));
}

#[test]
fn infos_are_read_as_the_original_reads_them() {
    let bare = Info {
        node: node("s"),
        ..Info::default()
    };
    for json in [
        json!({"node": "s"}),
        json!({"node": "s", "tick": null, "tock": null}),
        json!({"node": "s", "tock": 0, "ticks": null, "missing": null, "known": null,
            "superseded": null, "deleted": null, "node_drop": null, "moat": null}),
        json!({"node": "s", "seq": 1, "present": {"x": [1]}, "remote_missing": 5, "debug": {}}),
    ] {
        assert_eq!(info(&json), Ok(bare.clone()), "{json}");
    }
    let full = json!({"ticks": {"a": 1, "b": null}, "missing": {}, "known": {"a": [1]},
        "deleted": {"b": [[2, 5]]}, "node_drop": ["x", "y"], "tock": 5, "node": "s", "tick": 0});
    let want = Info {
        node: node("s"),
        tick: Some(Tick(0)),
        tock: Tock(5),
        info: NodeInfo {
            ticks: Some(vec![(node("a"), Some(Tick(1))), (node("b"), None)]),
            missing: Some(vec![]),
            known: Some(vec![(node("a"), set(&[(1, 1)]))]),
            deleted: Some(vec![(node("b"), set(&[(2, 4)]))]),
            node_drop: Some(vec![node("x"), node("y")]),
            ..NodeInfo::default()
        },
        hail: None,
    };
    assert_eq!(info(&full), Ok(want.clone()));
    assert_eq!(encoded(&PeerMessage::Info(want)), pack(&full));
    // the newer name goes before the older one
    let both = json!({"node": "s", "known": {"a": [1]}, "superseded": {"a": [2]}});
    let known = info(&both).unwrap().info.known;
    assert_eq!(known, Some(vec![(node("a"), set(&[(2, 2)]))]));

    for (json, want) in [
        (json!({"tock": 1}), Malformed::Missing("node")),
        (json!({"node": null}), Malformed::Type("node")),
        (json!([1]), Malformed::NotAMap("the message")),
        (json!({"node": "s", "tick": "x"}), Malformed::Type("tick")),
        (json!({"node": "s", "tock": -1}), Malformed::Counter("tock")),
        (
            json!({"node": "s", "tick": MAX_COUNTER + 1}),
            Malformed::Counter("tick"),
        ),
        (
            json!({"node": "s", "ticks": [1]}),
            Malformed::NotAMap("ticks"),
        ),
        (
            json!({"node": "s", "ticks": {"a": "b"}}),
            Malformed::Type("ticks"),
        ),
        (json!({"node": "s", "ticks": {"": 1}}), Malformed::Name),
        (
            json!({"node": "s", "ticks": {"$map": [[1, 1]]}}),
            Malformed::Type("node"),
        ),
        (
            json!({"node": "s", "known": 5}),
            Malformed::NotAMap("known"),
        ),
        (
            json!({"node": "s", "node_drop": "x"}),
            Malformed::Type("node_drop"),
        ),
        (
            json!({"node": "s", "node_drop": [5]}),
            Malformed::Type("node"),
        ),
        (
            json!({"node": "s", "node_drop": vec!["x"; MAX_NAMES + 1]}),
            Malformed::TooMany("node_drop"),
        ),
    ] {
        assert_eq!(info(&json), Err(want), "{json}");
    }
    let mut many = b"\x82\xa4node\xa1s\xa5ticks".to_vec();
    write::map(&mut many, MAX_NODES + 1);
    many.extend_from_slice(&b"\xa1a\x01".repeat(MAX_NODES + 1));
    let too_many = Err(Malformed::TooMany("ticks"));
    assert_eq!(decode(Topic::Info, &many), too_many);
    // all sets of a message together are bounded
    let sets = |out: &mut Vec<u8>, name, ticks| {
        write::str(out, name);
        out.extend_from_slice(b"\x81\xa1a");
        write::array(out, ticks);
        out.resize(out.len() + ticks, 1);
    };
    let both = |known, missing| {
        let mut bytes = b"\x83\xa4node\xa1s".to_vec();
        sets(&mut bytes, "known", known);
        sets(&mut bytes, "missing", missing);
        decode(Topic::Info, &bytes)
    };
    assert!(both(5, 6).is_ok());
    let too_many = Err(Malformed::TooMany("missing"));
    assert_eq!(both(5, MAX_INTERVALS - 4), too_many);
}

#[test]
fn what_our_own_nodes_add_is_read_or_ignored() {
    let hail = |json: Json| {
        info(&json!({"node": "s", "moat": json}))
            .expect("sound")
            .hail
    };
    let full = Hail {
        say: Say::Hello,
        boot: u64::MAX,
        addr: vec![("a.example".to_owned(), 27_586), ("::1".to_owned(), 1)],
        sum: Some(5),
    };
    let json = json!({"hello": true, "boot": u64::MAX,
        "addr": [["a.example", 27_586], ["::1", 1]], "sum": 5});
    assert_eq!(hail(json.clone()), Some(full.clone()));
    let message = PeerMessage::Info(Info {
        node: node("s"),
        hail: Some(full),
        ..Info::default()
    });
    let want = json!({"tock": 0, "node": "s", "tick": null, "moat": json});
    assert_eq!(encoded(&message), pack(&want));

    let short = |say| Hail {
        say,
        boot: 7,
        addr: vec![],
        sum: None,
    };
    assert_eq!(
        hail(json!({"here": true, "boot": 7, "features": [1]})),
        Some(short(Say::Here))
    );
    assert_eq!(
        hail(json!({"boot": 7, "gone": true})),
        Some(short(Say::Gone))
    );
    // addresses that are none are left out
    let odd = json!([
        ["", 1],
        ["h", 0],
        ["h", 65_536],
        ["h"],
        5,
        ["h", "p"],
        [1, 1],
        ["h".repeat(256), 1],
        ["h", 2]
    ]);
    let got = hail(json!({"here": true, "boot": 7, "addr": odd})).expect("a hail");
    assert_eq!(got.addr, [("h".to_owned(), 2)]);
    let many = hail(json!({"here": true, "boot": 7, "addr": vec![json!(["h", 1]); 100]}));
    assert_eq!(many.expect("a hail").addr.len(), 16);
    for odd in [
        json!(5),
        json!({"boot": 7}),
        json!({"hello": false, "boot": 7}),
        json!({"hello": true}),
        json!({"hello": true, "boot": "x"}),
        json!({"hello": true, "boot": -1}),
    ] {
        assert_eq!(hail(odd.clone()), None, "{odd}");
    }

    let mark = |json: Json| {
        let json = json!({"t": "ping", "node": "a", "value": null, "history": ["a"], "moat": json});
        match decode(Topic::Ping, &pack(&json)) {
            Ok(PeerMessage::Ping(Turn::Ping { mark, .. })) => mark,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        mark(json!({"boot": 3, "sum": 4})),
        Some(Mark {
            boot: 3,
            sum: Some(4)
        })
    );
    assert_eq!(mark(json!({"boot": 3})), Some(Mark { boot: 3, sum: None }));
    assert_eq!(mark(json!({"sum": 3})), None);
    assert_eq!(mark(json!([3])), None);
}

fn turn(topic: Topic, json: &Json) -> Result<Turn, Malformed> {
    match decode(topic, &pack(json))? {
        PeerMessage::Ping(turn) | PeerMessage::Del(turn) => Ok(turn),
        other => panic!("{other:?}"),
    }
}

#[test]
fn turns_are_read_as_the_original_reads_them() {
    let ping = |value| Turn::Ping {
        node: node("a"),
        value,
        history: vec![node("a"), node("b")],
        mark: None,
    };
    let history = json!(["a", "b"]);
    for (json, want) in [
        (
            json!({"t": "init", "node": "a", "x": 1}),
            Turn::Init(node("a")),
        ),
        (
            json!({"t": "ping", "node": "a", "value": [5, 2], "history": history, "sig": [1]}),
            ping(Some((5, 2))),
        ),
        (
            json!({"t": "ping", "node": "a", "value": null, "history": history}),
            ping(None),
        ),
        (
            json!({"history": history, "node": "a", "t": "ping"}),
            ping(None),
        ),
        // what this says of a sender means nothing
        (
            json!({"t": "hist", "node": 5, "value": [5, 2], "history": history, "moat": {"boot": 1}}),
            Turn::Hist {
                value: Some((5, 2)),
                history: vec![node("a"), node("b")],
            },
        ),
    ] {
        for topic in [Topic::Ping, Topic::Del] {
            assert_eq!(turn(topic, &json), Ok(want.clone()), "{json}");
        }
    }
    let alone = json!({"t": "ping", "node": "a"});
    let Ok(Turn::Ping { history, .. }) = turn(Topic::Ping, &alone) else {
        panic!("no ping");
    };
    assert_eq!(history, []);

    for (json, want) in [
        (json!({}), Malformed::Missing("t")),
        (json!([]), Malformed::NotAMap("the message")),
        (json!({"t": 5}), Malformed::Type("t")),
        (json!({"t": "pong", "node": "a"}), Malformed::Kind),
        (json!({"t": "init"}), Malformed::Missing("node")),
        (json!({"t": "init", "node": ""}), Malformed::Name),
        (
            json!({"t": "ping", "node": "a", "value": 5}),
            Malformed::Type("value"),
        ),
        (
            json!({"t": "ping", "node": "a", "value": [5]}),
            Malformed::Type("value"),
        ),
        (
            json!({"t": "ping", "node": "a", "value": [5, 2, 1]}),
            Malformed::Type("value"),
        ),
        (
            json!({"t": "ping", "node": "a", "value": [5, null]}),
            Malformed::Type("value"),
        ),
        (
            json!({"t": "ping", "node": "a", "value": [5, MAX_COUNTER + 1]}),
            Malformed::Counter("value"),
        ),
        (
            json!({"t": "ping", "node": "a", "history": {}}),
            Malformed::Type("history"),
        ),
        (
            json!({"t": "ping", "node": "a", "history": ["a", ""]}),
            Malformed::Name,
        ),
        (
            json!({"t": "hist", "value": null}),
            Malformed::Missing("history"),
        ),
        (
            json!({"t": "hist", "value": null, "history": []}),
            Malformed::Missing("history"),
        ),
    ] {
        assert_eq!(turn(Topic::Ping, &json), Err(want), "{json}");
    }
}

#[test]
fn settings_come_with_integers_and_floats() {
    let read = |topic, cycle: Json, gap: Json| {
        let json = json!({"t": "vers", "node": "a", "cycle": cycle, "gap": gap});
        match turn(topic, &json)? {
            Turn::Vers(_, settings) => Ok(settings),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(Topic::Ping, json!(10), json!(2.0)), Ok(Settings::PING));
    let late = Settings {
        version: 0,
        ..Settings::DELETE
    };
    assert_eq!(read(Topic::Del, json!(100.0), json!(10)), Ok(late));
    let halves = read(Topic::Ping, json!(4.5), json!(0.25)).expect("possible");
    assert_eq!(
        (halves.cycle.as_millis(), halves.gap.as_millis()),
        (4500, 250)
    );
    for (cycle, gap, want) in [
        (json!(0.9), json!(0.1), Malformed::Timing),
        (json!(5), json!(2), Malformed::Timing),
        (json!(1e19), json!(1e19), Malformed::Timing),
        (json!(-1), json!(0), Malformed::Range("cycle")),
        (json!(10), json!(-1.0), Malformed::Range("gap")),
        (json!(1e300), json!(2), Malformed::Range("cycle")),
        (
            json!({"$float": "nan"}),
            json!(2),
            Malformed::Range("cycle"),
        ),
        (json!(10), json!({"$float": "inf"}), Malformed::Range("gap")),
        (json!("10"), json!(2), Malformed::Type("cycle")),
        (json!(10), json!(null), Malformed::Type("gap")),
    ] {
        assert_eq!(
            read(Topic::Ping, cycle.clone(), gap.clone()),
            Err(want),
            "{cycle} {gap}"
        );
    }
    let full = json!({"t": "vers", "node": "a", "cycle": 2, "gap": 0.6, "nodes": 7, "splits": 3,
        "n_hosts": 2, "version": u64::MAX, "force_in": 1});
    let turn_ = turn(Topic::Del, &full).expect("possible");
    assert_eq!(encoded(&PeerMessage::Del(turn_)), pack(&full));
    let json = json!({"t": "vers", "node": "a", "cycle": 2, "gap": 0.6, "nodes": 1_u64 << 32});
    assert_eq!(turn(Topic::Del, &json), Err(Malformed::Range("nodes")));
    let json = json!({"t": "vers", "node": "a", "gap": 0.6});
    assert_eq!(turn(Topic::Del, &json), Err(Malformed::Missing("cycle")));
}
