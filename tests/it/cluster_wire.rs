//! What nodes say to each other: against every recorded message, and message
//! by message where the original was not recorded.

mod messages;
mod parts;
mod properties;

use std::borrow::Cow;

use moat::event::{
    ChainEnd, Event, Info, NamedLink, NodeInfo, NodeName, PeerMessage, Tick, TickSet, Tock, Update,
};
use moat::node::time::Timestamp;
use moat::path::RawPath;
use moat::wire::cluster::{Assembler, AssemblerLimits, Topic, decode, encode, update_size};
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

/// The bound was one byte off where a node without a tick sends again.
#[test]
fn the_smallest_update_is_no_smaller_than_it_may_be() {
    let mut path = RawPath::new();
    path.push(&[0x90]);
    let update = Update {
        event: Event {
            path,
            chain: vec![NamedLink {
                node: NodeName::new("a"),
                tick: Tick(1),
            }],
            end: ChainEnd::Cut,
            tock: Tock(0),
            value: None,
        },
        again: Some((NodeName::new("a"), None)),
    };
    let len = encoded(&PeerMessage::Update(update.clone())).len();
    assert_size(&update, len);
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
