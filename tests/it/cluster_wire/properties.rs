//! Any message comes back as it went; any bytes are survived.

use std::time::Duration;

use moat::event::{
    ChainEnd, Event, Hail, Info, MAX_COUNTER, Mark, NamedLink, NodeInfo, NodeName, PeerMessage,
    Say, Settings, Tick, TickSet, Tock, Turn, TurnValue, Update,
};
use moat::msgpack::write;
use moat::path::{Path, PathElem};
use moat::wire::cluster::{Topic, decode};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{assert_size, encoded, traffic};
use crate::values::{any_path, printable_value};

fn any_node() -> impl Strategy<Value = NodeName> {
    prop_oneof![4 => "[a-e]{1,3}", 1 => "[a-z]{24,40}", 1 => "\\PC{1,4}"]
        .prop_map(|name| NodeName::new(&name))
}

fn counter() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..300, 0..=MAX_COUNTER, Just(MAX_COUNTER)]
}

/// The path of an entry: `null` at most in front.
fn entry_path() -> impl Strategy<Value = Path> {
    (any::<bool>(), any_path()).prop_map(|(internal, path)| {
        let front = internal.then_some(PathElem::Nil);
        let rest = path.into_iter().filter(|e| !matches!(e, PathElem::Nil));
        front.into_iter().chain(rest).collect()
    })
}

fn any_chain() -> impl Strategy<Value = Vec<NamedLink>> {
    vec((any_node(), counter()), 1..20).prop_map(|links| {
        let mut chain: Vec<NamedLink> = Vec::new();
        for (node, tick) in links {
            if chain.iter().all(|link| link.node != node) {
                chain.push(NamedLink {
                    node,
                    tick: Tick(tick.max(1)),
                });
            }
        }
        chain
    })
}

fn any_update() -> impl Strategy<Value = Update> {
    (
        entry_path(),
        any_chain(),
        any::<bool>(),
        counter(),
        option::of(printable_value()),
        option::of((any_node(), option::of(counter().prop_map(Tick)))),
    )
        .prop_map(|(path, chain, start, tock, value, again)| Update {
            event: Event {
                path: path.encode(),
                chain,
                end: if start {
                    ChainEnd::Start
                } else {
                    ChainEnd::Cut
                },
                tock: Tock(tock),
                // what stands for no value is no value
                value: value.map(|value| value.to_bytes().into()),
            },
            again,
        })
}

fn any_sets() -> impl Strategy<Value = Option<Vec<(NodeName, TickSet)>>> {
    let range =
        (1..=MAX_COUNTER, 0_u64..5).prop_map(|(from, n)| from..=(from + n).min(MAX_COUNTER));
    let near = (1_u64..60, 0_u64..5).prop_map(|(from, n)| from..=from + n);
    let ranges = vec(prop_oneof![1 => range, 3 => near], 0..6);
    option::of(vec(
        (any_node(), ranges.prop_map(|r| r.into_iter().collect())),
        0..4,
    ))
}

fn any_hail() -> impl Strategy<Value = Hail> {
    (
        prop_oneof![Just(Say::Hello), Just(Say::Here), Just(Say::Gone)],
        any::<u64>(),
        vec(("[a-z.:0-9]{1,40}", 1_u16..), 0..4),
        option::of(any::<u64>()),
    )
        .prop_map(|(say, boot, addr, sum)| Hail {
            say,
            boot,
            addr,
            sum,
        })
}

fn any_info() -> impl Strategy<Value = Info> {
    let ticks = vec((any_node(), option::of(counter().prop_map(Tick))), 0..5);
    (
        (
            prop_oneof![3 => any_node(), 1 => Just(NodeName::default())],
            option::of(counter()),
            counter(),
        ),
        option::of(ticks),
        (any_sets(), any_sets(), any_sets()),
        option::of(vec(any_node(), 0..4)),
        option::of(any_hail()),
    )
        .prop_map(
            |((node, tick, tock), ticks, (known, deleted, missing), node_drop, hail)| Info {
                node,
                tick: tick.map(Tick),
                tock: Tock(tock),
                info: NodeInfo {
                    ticks,
                    known,
                    deleted,
                    missing,
                    node_drop,
                    ..NodeInfo::default()
                },
                hail,
            },
        )
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let time = prop_oneof![(1_u64..100).prop_map(|n| n * 1000), 1_000_u64..100_000];
    let small = || prop_oneof![0_u32..20, any::<u32>()];
    (
        time,
        any::<u64>(),
        small(),
        small(),
        small(),
        any::<u64>(),
        small(),
    )
        .prop_map(
            |(cycle, gap, nodes, splits, n_hosts, version, force_in)| Settings {
                cycle: Duration::from_millis(cycle),
                gap: Duration::from_millis(gap % (cycle / 3)),
                nodes,
                splits,
                n_hosts,
                version,
                force_in,
            },
        )
}

fn any_turn() -> impl Strategy<Value = Turn> {
    let value = || -> option::OptionStrategy<_> {
        option::of((counter(), counter()).prop_map(|pair| -> TurnValue { pair }))
    };
    let mark = (any::<u64>(), option::of(any::<u64>())).prop_map(|(boot, sum)| Mark { boot, sum });
    prop_oneof![
        any_node().prop_map(Turn::Init),
        (any_node(), any_settings()).prop_map(|(node, settings)| Turn::Vers(node, settings)),
        (any_node(), value(), vec(any_node(), 0..6), option::of(mark)).prop_map(
            |(node, value, history, mark)| Turn::Ping {
                node,
                value,
                history,
                mark
            }
        ),
        (value(), vec(any_node(), 1..6)).prop_map(|(value, history)| Turn::Hist { value, history }),
    ]
}

fn any_message() -> impl Strategy<Value = PeerMessage> {
    prop_oneof![
        3 => any_update().prop_map(PeerMessage::Update),
        2 => any_info().prop_map(PeerMessage::Info),
        1 => any_turn().prop_map(PeerMessage::Ping),
        1 => any_turn().prop_map(PeerMessage::Del),
    ]
}

/// Bytes that a message holds on the heap, at most.
fn footprint(message: &PeerMessage) -> usize {
    let name = |name: &NodeName| name.as_str().len();
    let names = |names: &Vec<NodeName>| {
        names.capacity() * size_of::<NodeName>() + names.iter().map(name).sum::<usize>()
    };
    match message {
        PeerMessage::Update(update) => {
            let event = &update.event;
            let links = event.chain.iter().map(|link| name(&link.node));
            event.path.as_ref().bytes().len()
                + event.chain.capacity() * size_of::<NamedLink>()
                + links.sum::<usize>()
                + event.value.as_ref().map_or(0, |value| value.len())
                + update.again.as_ref().map_or(0, |(sender, _)| name(sender))
        }
        PeerMessage::Info(Info {
            node, info, hail, ..
        }) => {
            // an interval takes two numbers and a flag, in blocks half full
            const INTERVAL: usize = 2 * 24;
            let sets = [&info.known, &info.missing, &info.deleted]
                .into_iter()
                .flatten();
            let sets = sets.map(|sets| {
                let inner = sets
                    .iter()
                    .map(|(n, set)| name(n) + set.intervals() * INTERVAL);
                sets.capacity() * size_of::<(NodeName, TickSet)>() + inner.sum::<usize>()
            });
            let ticks = info.ticks.as_ref().map_or(0, |ticks| {
                ticks.capacity() * size_of::<(NodeName, Option<Tick>)>()
                    + ticks.iter().map(|(n, _)| name(n)).sum::<usize>()
            });
            let addr = hail.as_ref().map_or(0, |hail| {
                hail.addr.capacity() * size_of::<(String, u16)>()
                    + hail.addr.iter().map(|(host, _)| host.len()).sum::<usize>()
            });
            name(node)
                + sets.sum::<usize>()
                + ticks
                + info.node_drop.as_ref().map_or(0, names)
                + addr
        }
        PeerMessage::Ping(turn) | PeerMessage::Del(turn) => match turn {
            Turn::Init(node) | Turn::Vers(node, _) => name(node),
            Turn::Ping { node, history, .. } => name(node) + names(history),
            Turn::Hist { history, .. } => names(history),
        },
    }
}

/// Reads bytes as a message of every topic: none may break anything, and
/// what is understood must come back as it was when it is passed on.
fn survived(bytes: &[u8]) {
    for topic in Topic::ALL {
        let Ok(message) = decode(topic, bytes) else {
            continue;
        };
        assert_eq!(Topic::of(&message), topic);
        let most = 64 * bytes.len() + 256;
        assert!(
            footprint(&message) <= most,
            "{} for {}",
            footprint(&message),
            bytes.len()
        );
        assert_eq!(decode(topic, &encoded(&message)), Ok(message));
    }
}

/// An object that messages are made of, or nearly.
fn any_piece() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        Just(b"\xc0".to_vec()),
        Just(b"\xc3".to_vec()),
        Just(b"\xd4\x04_".to_vec()),
        Just(b"\xa0".to_vec()),
        "[ab]{1,2}".prop_map(|text| pack(|out| write::str(out, &text))),
        sample_word().prop_map(|word| pack(|out| write::str(out, word))),
        prop_oneof![0_u64..20, any::<u64>()].prop_map(|n| pack(|out| write::uint(out, n))),
        (0_u32..40).prop_map(|n| pack(|out| write::float(out, f64::from(n) / 4.0))),
        entry_path().prop_map(|path| pack(|out| {
            write::ext(out, 3, path.encode().as_ref().bytes().len());
            out.extend_from_slice(path.encode().as_ref().bytes());
        })),
        Just(b"\xdf\xff\xff\xff\xff".to_vec()),
        vec(any::<u8>(), 1..4),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(|items| pack(|out| {
                write::array(out, items.len());
                out.extend(items.concat());
            })),
            any_pairs(inner),
        ]
    })
}

fn pack(put: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out);
    out
}

fn sample_word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "node",
        "tick",
        "prev",
        "path",
        "value",
        "new_value",
        "tock",
        "chain",
        "ticks",
        "missing",
        "known",
        "superseded",
        "deleted",
        "node_drop",
        "moat",
        "t",
        "history",
        "cycle",
        "gap",
        "init",
        "vers",
        "ping",
        "hist",
        "hello",
        "boot",
        "addr",
        "sum",
        "_p0",
    ])
}

type Pairs = Vec<(&'static str, Vec<u8>)>;

fn put_pairs(out: &mut Vec<u8>, pairs: &Pairs) {
    for (key, item) in pairs {
        write::str(out, key);
        out.extend_from_slice(item);
    }
}

fn any_pairs(item: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    vec((sample_word(), item), 0..8).prop_map(|pairs: Pairs| {
        pack(|out| {
            write::map(out, pairs.len());
            put_pairs(out, &pairs);
        })
    })
}

/// A change to bytes: where, how, and with what.
type Change = (prop::sample::Index, u8, u8);

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for (at, how, byte) in changes {
        let at = at.index(bytes.len() + 1);
        match how % 5 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, *byte),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 if at < bytes.len() => bytes[at] ^= 1 << (byte % 8),
            _ if at < bytes.len() => bytes[at] = *byte,
            _ => bytes.push(*byte),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn messages_come_back_as_they_went(message in any_message()) {
        let bytes = encoded(&message);
        if let PeerMessage::Update(update) = &message {
            assert_size(update, bytes.len());
        }
        let topic = Topic::of(&message);
        prop_assert_eq!(decode(topic, &bytes), Ok(message));
        survived(&bytes);
        // no beginning of a message is one
        for end in 0..bytes.len().min(200) {
            let cut = decode(topic, &bytes[..end]);
            prop_assert!(cut.is_err(), "{} of {}", end, bytes.len());
        }
    }

    #[test]
    fn damaged_messages_are_survived(
        message in any_message(),
        changes in vec(any::<Change>(), 1..6),
    ) {
        survived(&changed(encoded(&message), &changes));
    }

    #[test]
    fn nearly_messages_are_survived(bytes in any_pairs(any_piece())) {
        survived(&bytes);
    }

    /// Further keys, some of them for the second time.
    #[test]
    fn messages_with_more_in_them_are_survived(
        message in any_message(),
        pairs in vec((sample_word(), any_piece()), 1..5),
    ) {
        let mut bytes = encoded(&message);
        // the head of a short map says how many pairs there are
        bytes[0] += u8::try_from(pairs.len()).unwrap();
        assert!(matches!(bytes[0], 0x80..=0x8f));
        put_pairs(&mut bytes, &pairs);
        survived(&bytes);
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..80)) {
        survived(&bytes);
    }
}

#[test]
fn recorded_messages_with_one_byte_changed_are_survived() {
    for recorded in traffic().into_iter().step_by(29) {
        for at in 0..recorded.bytes.len().min(120) {
            for byte in [0x00, 0x80, 0x90, 0xa0, 0xc0, 0xc1, 0xc7, 0xdf, 0xff] {
                let mut bytes = recorded.bytes.clone();
                bytes[at] = byte;
                survived(&bytes);
            }
        }
    }
}
