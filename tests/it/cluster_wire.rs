//! What nodes say to each other: against every recorded message, and message
//! by message where the original was not recorded.

use std::borrow::Cow;

use moat::event::{
    ChainEnd, Info, MAX_COUNTER, NamedLink, NodeInfo, NodeName, PeerMessage, Tick, TickSet, Tock,
    Update,
};
use moat::msgpack::{Fault, write};
use moat::node::time::Timestamp;
use moat::path::{ElemError, PathError};
use moat::wire::cluster::{
    Assembler, AssemblerLimits, MAX_LINKS, MAX_LINKS_WRITTEN, MAX_NAME, Malformed, Topic, decode,
    encode, update_size,
};
use serde_json::{Value as Json, json};

use crate::support::json::{encode as pack, hex, unhex};

const RECORDINGS: [(&str, &str); 8] = [
    ("join3", include_str!("../vectors/cluster/join3.json")),
    (
        "kill-rejoin",
        include_str!("../vectors/cluster/kill-rejoin.json"),
    ),
    (
        "split-heal",
        include_str!("../vectors/cluster/split-heal.json"),
    ),
    (
        "pair-split",
        include_str!("../vectors/cluster/pair-split.json"),
    ),
    ("suspend", include_str!("../vectors/cluster/suspend.json")),
    (
        "delete-purge",
        include_str!("../vectors/cluster/delete-purge.json"),
    ),
    (
        "default-timing",
        include_str!("../vectors/cluster/default-timing.json"),
    ),
    ("six", include_str!("../vectors/cluster/six.json")),
];

/// A payload as it was recorded.
struct Recorded {
    place: String,
    topic: Topic,
    bytes: Vec<u8>,
    json: Json,
}

/// All that the recorded servers said, in order.
fn traffic() -> Vec<Recorded> {
    let mut all = Vec::new();
    for (name, text) in RECORDINGS {
        let file: Json = serde_json::from_str(text).expect("the vectors are JSON");
        for line in file["traffic"].as_array().expect("traffic") {
            let topic = line["topic"].as_str().expect("a topic");
            // clients' messages are not below the root
            let Some(word) = topic.strip_prefix("moat/kv/") else {
                continue;
            };
            all.push(Recorded {
                place: format!("{name} at {}", line["t"]),
                topic: Topic::from_word(word).unwrap_or_else(|| panic!("topic {topic}")),
                bytes: unhex(line["hex"].as_str().expect("hex")),
                json: line["msg"].clone(),
            });
        }
    }
    all
}

fn encoded(message: &PeerMessage) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(encode(message, &mut out), Topic::of(message));
    out
}

fn node(name: &str) -> NodeName {
    NodeName::new(name)
}

fn set(ranges: &[(u64, u64)]) -> TickSet {
    ranges.iter().map(|(from, last)| *from..=*last).collect()
}

#[test]
fn recorded_messages_are_written_as_they_were() {
    let mut assembler = Assembler::new(AssemblerLimits::default());
    let (mut seen, mut by_a_tool, mut joined) = (0, 0, 0);
    for Recorded {
        place,
        topic,
        bytes,
        json,
    } in traffic()
    {
        let Some(whole) = assembler
            .take(topic, &bytes, Timestamp(0))
            .unwrap_or_else(|why| panic!("{place}: {why}"))
        else {
            continue;
        };
        joined += usize::from(matches!(whole, Cow::Owned(_)));
        let message = decode(topic, &whole).unwrap_or_else(|why| panic!("{place}: {why}: {json}"));
        let again = encoded(&message);
        assert_eq!(decode(topic, &again).as_ref(), Ok(&message), "{place}");
        if json.get("action").is_some() {
            // a tool's request, passed on with all its fields
            by_a_tool += 1;
            continue;
        }
        seen += 1;
        assert_eq!(hex(&again), hex(&whole), "{place}: {json}");
        if let PeerMessage::Update(update) = &message {
            assert_size(update, again.len());
        }
    }
    assert_eq!((by_a_tool, joined), (1, 1));
    assert!(seen > 350, "only {seen} messages");
    assert_eq!((assembler.waiting(), assembler.given_up()), (0, 0));
}

fn assert_size(update: &Update, len: usize) {
    let size = update_size(update);
    let slack = 24 + 12 * update.event.chain.len();
    assert!(
        (len..=len + slack).contains(&size),
        "{size} for {len}: {update:?}"
    );
}

#[test]
fn a_tools_message_says_what_its_other_name_says() {
    let json = json!({"seq": 1, "action": "fake_info_send",
        "superseded": {"ghost": [7, [9, 12]]}, "node": "", "tick": 0, "tock": 27});
    let recorded = traffic()
        .into_iter()
        .find(|r| r.json == json)
        .expect("it is recorded");
    let info = Info {
        node: node(""),
        tick: Some(Tick(0)),
        tock: Tock(27),
        info: NodeInfo {
            known: Some(vec![(node("ghost"), set(&[(7, 7), (9, 11)]))]),
            ..NodeInfo::default()
        },
        hail: None,
    };
    assert_eq!(
        decode(recorded.topic, &recorded.bytes),
        Ok(PeerMessage::Info(info.clone()))
    );
    let ours = json!({"known": {"ghost": [7, [9, 12]]}, "tock": 27, "node": "", "tick": 0});
    assert_eq!(encoded(&PeerMessage::Info(info)), pack(&ours));
}

/// The events of the recorded histories, as the original would send them.
#[test]
fn events_of_histories_are_read_and_written() {
    let text = include_str!("../vectors/cluster/merge.json");
    let scenarios: Json = serde_json::from_str(text).expect("the vectors are JSON");
    let mut seen = 0;
    for scenario in scenarios.as_array().expect("scenarios") {
        for event in scenario["events"].as_array().expect("events") {
            let mut event = event.clone();
            event["path"] = json!({"$path": event["path"]});
            let bytes = pack(&event);
            let message = decode(Topic::Update, &bytes).unwrap_or_else(|e| panic!("{event}: {e}"));
            assert_eq!(hex(&encoded(&message)), hex(&bytes), "{event}");
            let PeerMessage::Update(update) = &message else {
                panic!("{message:?}");
            };
            assert_eq!(update.event.value.is_none(), event.get("value").is_none());
            assert_size(update, bytes.len());
            seen += 1;
        }
    }
    assert!(seen > 1_000, "only {seen} events");
}

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
