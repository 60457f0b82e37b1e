//! State files: every one that was recorded with the original, cut, torn,
//! damaged and put one behind the other.

use std::fs;
use std::path::PathBuf;

use moat::event::{NodeName, Tick, Tock};
use moat::msgpack::EXT_BIG;
use moat::node::Limits;
use moat::node::journal::Change;
use moat::node::machine::{Machine, Seed};
use moat::node::tree::Ix;
use moat::wire::client::Outbox;
use moat::wire::state::{Found, Reader, Writer};
use num_bigint::BigUint;
use serde_json::{Value as Json, json};

use crate::support::json::{decode, hex, unhex};

const FILES: [&str; 16] = [
    "concat-full+incremental",
    "concat-full+log",
    "concat-full-with-deletions+state",
    "dest",
    "dest-incremental",
    "dump-init",
    "full",
    "full-with-deletions",
    "handmade-deletion-marked",
    "handmade-deletion-record",
    "handmade-info",
    "log-a-65s",
    "log-b-rotated",
    "log-c-rotated-full",
    "notfull",
    "truncated",
];

fn vectors(name: &str) -> (Vec<u8>, Json) {
    let path = |kind| {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        root.join(format!("tests/vectors/state/{name}.{kind}"))
    };
    let text = fs::read_to_string(path("json")).expect("a recording");
    let json = serde_json::from_str(&text).expect("the vectors are JSON");
    (fs::read(path("msgpack")).expect("a recording"), json)
}

/// What a reader told, in short.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    Event(Vec<u8>),
    Books(Option<Tock>),
    Strange,
    Torn(u64, u64),
    Damaged(u64, u64, String),
}

impl Told {
    fn is_record(&self) -> bool {
        matches!(self, Self::Event(_) | Self::Books(_) | Self::Strange)
    }
}

/// Reads bytes in pieces, and says what was told.
fn read(bytes: &[u8], piece: usize) -> Vec<Told> {
    let mut told = Vec::new();
    each(bytes, piece, |found| {
        told.push(match found {
            Found::Event(event) => {
                let mut out = Vec::new();
                Writer::new().change(&mut out, &Change::of(event));
                Told::Event(out)
            }
            Found::Books(books) => Told::Books(books.tock),
            Found::Strange(_) => Told::Strange,
            Found::Torn(span) => Told::Torn(span.start, span.end),
            Found::Damaged(span, why) => Told::Damaged(span.start, span.end, why.to_string()),
            other => panic!("{other:?}"),
        });
    });
    told
}

fn each(bytes: &[u8], piece: usize, mut f: impl FnMut(Found<'_>)) {
    let mut reader = Reader::new();
    for piece in bytes.chunks(piece) {
        reader.feed(piece);
        while let Some(found) = reader.poll() {
            f(found);
        }
    }
    reader.end();
    while let Some(found) = reader.poll() {
        f(found);
    }
}

fn machine() -> Machine<Outbox> {
    let seed = Seed { hash: 1, run: 1 };
    Machine::new(&NodeName::new("ann"), Vec::new(), Limits::default(), seed)
}

fn load(bytes: &[u8]) -> Machine<Outbox> {
    let mut machine = machine();
    each(bytes, 4096, |found| match found {
        Found::Event(event) => machine.handle_loaded(event),
        Found::Books(books) => machine.handle_info(&books.info, books.tock.unwrap_or_default()),
        _ => {}
    });
    machine
}

/// An object in the recordings' form, which has a word for big integers.
fn shown(object: &[u8]) -> Json {
    fn big(json: Json) -> Json {
        match json {
            Json::Object(map) if map.get("$ext") == Some(&json!(EXT_BIG)) => {
                let bytes = unhex(map["data"].as_str().expect("hex"));
                json!({"$big": BigUint::from_bytes_be(&bytes).to_string()})
            }
            Json::Object(map) => map.into_iter().map(|(k, v)| (k, big(v))).collect(),
            Json::Array(list) => list.into_iter().map(big).collect(),
            other => other,
        }
    }
    big(decode(object).expect("a sound object").0)
}

/// The entries with values, in the form of the recordings, sorted.
fn tree(machine: &Machine<Outbox>) -> Vec<String> {
    let replica = machine.replica();
    let mut entries = Vec::new();
    let mut next = Some(Ix::ROOT);
    while let Some(ix) = next {
        next = replica.tree().following(Ix::ROOT, ix, true);
        let event = replica.event(ix);
        if let Some(value) = &event.value {
            let elements = event.path.as_ref().elements();
            let elements = elements.map(|e| shown(e.expect("sound")));
            let chain = event.chain.iter();
            let entry = json!({
                "path": elements.collect::<Vec<_>>(),
                "value": shown(value),
                "chain": chain.map(|l| json!([l.node.as_str(), l.tick.0])).collect::<Vec<_>>(),
                "tock": event.tock.0,
            });
            entries.push(entry.to_string());
        }
    }
    entries.sort();
    entries
}

fn wanted(json: &Json) -> Vec<String> {
    let list = json["tree"].as_array().expect("a tree");
    let mut entries: Vec<String> = list.iter().map(Json::to_string).collect();
    entries.sort();
    entries
}

#[test]
fn the_originals_files_load_as_they_were_meant() {
    for name in FILES {
        let (bytes, json) = vectors(name);
        let machine = load(&bytes);
        assert_eq!(tree(&machine), wanted(&json), "{name}");
        let own = json["own_tick_if_ann"].as_u64().map(Tick);
        assert_eq!(machine.node().1, own, "{name}");
        for (node, tick) in json["nodes"].as_object().expect("nodes") {
            let nodes = machine.replica().nodes();
            let known = nodes.find(node).and_then(|ix| nodes.get(ix));
            let known = known.and_then(|known| known.tick());
            assert_eq!(known, tick.as_u64().map(Tick), "{name}: {node}");
        }
    }
}

/// Whole records of a file: where they begin, and their bytes.
fn records<'a>(bytes: &'a [u8], json: &Json) -> Vec<(usize, &'a [u8])> {
    let number = |json: &Json| usize::try_from(json.as_u64().expect("a number")).unwrap();
    let list = json["records"].as_array().expect("records");
    list.iter()
        .map(|r| {
            (
                number(&r["at"]),
                &bytes[number(&r["at"])..][..number(&r["len"])],
            )
        })
        .collect()
}

#[test]
fn records_are_written_as_the_original_writes_them() {
    // `dump init` has an order of its own
    let by_servers = |name: &&&str| !name.starts_with("handmade") && **name != "dump-init";
    for name in FILES.iter().filter(by_servers) {
        let (bytes, json) = vectors(name);
        let mut records = records(&bytes, &json).into_iter();
        let mut writer = Writer::new();
        each(&bytes, 4096, |found| {
            let (at, record) = match found {
                Found::Torn(_) => return,
                _ => records.next().expect("a record"),
            };
            // a file of its own, behind another one
            if record.starts_with(b"\x85\xa5nodes") && at > 0 && name.starts_with("concat") {
                let next = &json["records"].as_array().unwrap();
                let next = next.iter().find(|r| r["at"].as_u64() > Some(at as u64));
                if next.is_some_and(|r| r["rec"]["depth"] == json!(0)) {
                    writer = Writer::new();
                }
            }
            let mut out = Vec::new();
            match found {
                Found::Books(books) => writer.books(&mut out, books),
                Found::Event(event) if record.windows(6).any(|w| w == b"\xa5chain") => {
                    writer.entry(&mut out, event);
                }
                Found::Event(event) => {
                    writer.change(&mut out, &Change::of(event));
                    // ours say that there is no value, where the original
                    // loses the deletion
                    if event.value.is_none() {
                        let place = out.windows(9).position(|w| w == b"\xa5value\xd4\x04_");
                        let place = place.expect("no value");
                        out.drain(place..place + 9);
                        out[0] -= 1;
                    }
                }
                other => panic!("{name} at {at}: {other:?}"),
            }
            assert_eq!(hex(&out), hex(record), "{name} at {at}");
        });
        assert!(records.next().is_none(), "{name}");
    }
}

#[test]
fn pieces_of_any_size_say_the_same() {
    for name in FILES {
        let (bytes, _) = vectors(name);
        let whole = read(&bytes, usize::MAX);
        for piece in [1, 7, 64] {
            assert_eq!(read(&bytes, piece), whole, "{name} by {piece}");
        }
    }
}

/// The power fails while a record is written: all before it are read.
#[test]
fn a_file_may_be_cut_anywhere() {
    for name in ["dest", "full-with-deletions", "log-a-65s"] {
        let (bytes, json) = vectors(name);
        let whole = read(&bytes, 4096);
        let ends: Vec<usize> = records(&bytes, &json)
            .iter()
            .map(|(at, r)| at + r.len())
            .collect();
        for cut in 0..bytes.len() {
            let told = read(&bytes[..cut], 4096);
            let complete = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(told[..complete], whole[..complete], "{name} cut at {cut}");
            let begin = complete.checked_sub(1).map_or(0, |n| ends[n]);
            let rest: Vec<Told> = match begin == cut {
                true => Vec::new(),
                false => vec![Told::Torn(begin as u64, cut as u64)],
            };
            assert_eq!(told[complete..], rest, "{name} cut at {cut}");
        }
    }
}

/// And another file follows: that one is read as if it stood alone, and of
/// the torn one no record is lost or invented.
#[test]
fn a_torn_file_may_be_followed_by_another_one() {
    let (first, json) = vectors("dest");
    let (second, _) = vectors("log-a-65s");
    let whole = read(&first, 4096);
    let follows = read(&second, 4096);
    let ends: Vec<usize> = records(&first, &json)
        .iter()
        .map(|(at, r)| at + r.len())
        .collect();
    for cut in 1..first.len() {
        let mut bytes = first[..cut].to_vec();
        bytes.extend_from_slice(&second);
        let complete = ends.iter().filter(|end| **end <= cut).count();
        let begin = complete.checked_sub(1).map_or(0, |n| ends[n]);
        for piece in [4096, 11] {
            let told = read(&bytes, piece);
            let (records, rest): (Vec<Told>, Vec<Told>) =
                told.into_iter().partition(Told::is_record);
            assert_eq!(records[..complete], whole[..complete], "cut at {cut}");
            assert_eq!(records[complete..], follows, "cut at {cut}");
            let torn = Told::Torn(begin as u64, cut as u64);
            let torn = (begin < cut).then_some(torn);
            assert_eq!(rest, torn.into_iter().collect::<Vec<_>>(), "cut at {cut}");
        }
    }
}

#[test]
fn damage_is_told_and_what_follows_is_read() {
    let (bytes, json) = vectors("full");
    let whole = read(&bytes, 4096);
    let records = records(&bytes, &json);
    // a record of depth 0 follows, so that all behind the damage have places
    let at = records
        .iter()
        .position(|(_, r)| r.windows(4).any(|w| w == b"\xa1a\xa5d"));
    let at = at.expect("the entry `a`");
    let (begin, record) = records[at - 1];
    for broken in [0xc1, 0x00] {
        let mut bytes = bytes.clone();
        bytes[begin..begin + record.len()].fill(broken);
        for piece in [4096, 5] {
            let mut told = read(&bytes, piece);
            let damage = told.remove(at - 1);
            let end = (begin + record.len()) as u64;
            assert!(
                matches!(&damage, Told::Damaged(from, to, _) if (*from, *to) == (begin as u64, end)),
                "{damage:?}"
            );
            let mut rest = whole.clone();
            rest.remove(at - 1);
            assert_eq!(told, rest);
        }
    }
}

/// What a block that never reached the disk looks like.
#[test]
fn zeros_at_the_end_are_a_torn_end() {
    let (mut bytes, _) = vectors("full");
    let whole = read(&bytes, 4096);
    let end = bytes.len() as u64;
    bytes.extend_from_slice(&[0; 1000]);
    let mut told = read(&bytes, 4096);
    assert_eq!(told.pop(), Some(Told::Torn(end, end + 1000)));
    assert_eq!(told, whole);
}

#[test]
fn what_is_no_state_file_holds_no_record() {
    for bytes in [
        &b""[..],
        b"#!/bin/sh\nexit 0\n",
        &[0x91, 0x01],
        &[0xff; 5000],
    ] {
        let told = read(bytes, 4096);
        assert!(!told.iter().any(Told::is_record), "{told:?}");
    }
}

/// A bit that flips is told of, or changes one record, or nothing; it never
/// moves an entry to another place.
#[test]
fn a_flipped_bit_harms_one_record_at_most() {
    let (bytes, json) = vectors("dest");
    let whole = read(&bytes, 4096);
    let records = records(&bytes, &json);
    // all bits of some bytes, some bits of all
    for bit in (0..bytes.len() * 8).step_by(5) {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let told = read(&bytes, 4096);
        let hit = records.iter().rposition(|(at, _)| *at <= bit / 8).unwrap();
        assert_eq!(told[..hit], whole[..hit], "bit {bit}");
    }
}
