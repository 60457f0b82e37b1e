//! Long messages: cut as the original cuts them, joined however they come.

use std::borrow::Cow;
use std::time::Duration;

use moat::event::NodeName;
use moat::msgpack::{Fault, write};
use moat::node::time::Timestamp;
use moat::wire::cluster::{
    Assembler, AssemblerLimits, DEFAULT_LIMIT, MAX_NAME, PartError, Splitter, Topic,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{node, traffic};
use crate::support::json::{decode, encode as pack, hex, unhex};

const START: Timestamp = Timestamp(1_000_000);

fn later(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

fn assembler() -> Assembler {
    Assembler::new(AssemblerLimits::default())
}

fn cut(splitter: &mut Splitter, message: &[u8]) -> Vec<Vec<u8>> {
    let parts = splitter.split(message);
    let expected = parts.len();
    let parts: Vec<_> = parts.map(Cow::into_owned).collect();
    assert_eq!(parts.len(), expected);
    parts
}

/// A message of about that many bytes.
fn message(len: usize, letter: &str) -> Vec<u8> {
    pack(&json!({"node": "alpha", "tick": 1, "value": letter.repeat(len)}))
}

/// A part, made by hand.
fn part(sender: &str, seq: u64, number: i64, bytes: &[u8]) -> Vec<u8> {
    let mut out = b"\x81\xa3_p0\x94".to_vec();
    write::str(&mut out, sender);
    write::uint(&mut out, seq);
    write::int(&mut out, number);
    write::bin(&mut out, bytes);
    out
}

/// Takes one after the other; the messages that come of them.
fn take(assembler: &mut Assembler, parts: &[Vec<u8>], now: Timestamp) -> Vec<Vec<u8>> {
    let take = |part: &Vec<u8>| {
        let whole = assembler
            .take(Topic::Update, part, now)
            .expect("a sound part");
        whole.map(Cow::into_owned)
    };
    parts.iter().filter_map(take).collect()
}

#[test]
fn parts_are_cut_as_the_original_cuts_them() {
    let recorded: Vec<Vec<u8>> = traffic()
        .into_iter()
        .filter(|r| r.json.get("_p0").is_some())
        .map(|r| r.bytes)
        .collect();
    assert_eq!(recorded.len(), 3);
    let whole = take(&mut assembler(), &recorded, START);
    assert_eq!(whole.len(), 1);
    // the original's limit and first number
    let mut splitter = Splitter::new(node("alpha"), 450, 1);
    let parts = cut(&mut splitter, &whole[0]);
    let shown = |parts: &[Vec<u8>]| parts.iter().map(|p| hex(p)).collect::<Vec<_>>();
    assert_eq!(shown(&parts), shown(&recorded));
    // the next message has the next number
    let next = cut(&mut splitter, &whole[0]);
    assert_eq!(&next[0][..13], b"\x81\xa3_p0\x94\xa5alpha\x02");
}

#[test]
fn short_messages_stay_whole() {
    let mut splitter = Splitter::new(node("alpha"), 450, 7);
    let short = message(400, "z");
    let mut parts = splitter.split(&short);
    assert!(matches!(parts.next(), Some(Cow::Borrowed(bytes)) if bytes == short));
    assert_eq!(parts.next(), None);
    let mut assembler = assembler();
    let whole = assembler.take(Topic::Update, &short, START).unwrap();
    assert!(matches!(whole, Some(Cow::Borrowed(bytes)) if bytes == short));
    // only long ones are counted
    assert_eq!(
        decode(&cut(&mut splitter, &message(500, "z"))[0])
            .unwrap()
            .0["_p0"][1],
        7
    );
    // as long as the limit is not too long
    let exact = message(DEFAULT_LIMIT - message(0, "z").len() - 2, "z");
    assert_eq!(exact.len(), DEFAULT_LIMIT);
    let mut splitter = Splitter::new(node("alpha"), DEFAULT_LIMIT, u32::MAX);
    assert_eq!(cut(&mut splitter, &exact), [exact]);
    // numbers begin anew far from those that a restarted original uses
    for want in [u32::MAX, 1 << 16] {
        let parts = cut(&mut splitter, &message(100_000, "z"));
        assert_eq!(parts.len(), 2);
        assert_eq!(decode(&parts[0]).unwrap().0["_p0"][1], want);
    }
}

/// What the original makes of messages that look like parts.
#[test]
fn messages_with_the_mark_of_parts_come_through() {
    for (plain, escaped) in [
        ("82a16101a35f7030a178", "83a16101a35f7030a0a35f7031a178"),
        (
            "83a35f703007a35f703108a16202",
            "84a35f7030a0a35f703107a16202a35f703208",
        ),
        ("82a35f7030a0a1639101", "83a35f7030a0a1639101a35f7031a0"),
        // a number with a gap before it, or of another form, is no part's
        (
            "83a35f703007a35f703308a45f70303109",
            "84a35f7030a0a35f703107a35f703308a45f70303109",
        ),
        // without the mark itself nothing changes
        ("81a35f703103", "81a35f703103"),
    ] {
        let (plain, escaped) = (unhex(plain), unhex(escaped));
        let json = |bytes: &[u8]| decode(bytes).expect("a message").0;
        let sent = cut(&mut Splitter::new(node("a"), 100, 1), &plain);
        assert_eq!(sent.len(), 1);
        assert_eq!(json(&sent[0]), json(&escaped));
        for topic in [Topic::Update, Topic::Info] {
            for form in [&sent[0], &escaped] {
                let whole = assembler()
                    .take(topic, form, START)
                    .unwrap()
                    .expect("it is whole");
                assert_eq!(json(&whole), json(&plain));
            }
        }
    }
    // on the other topics there are no parts
    let mark = unhex("82a16101a35f7030a178");
    for topic in [Topic::Ping, Topic::Del] {
        assert_eq!(
            assembler().take(topic, &mark, START),
            Ok(Some(mark.as_slice().into()))
        );
    }
    // long ones are marked within their parts
    let long = pack(&json!({"_p0": "x".repeat(1000), "_p1": [1], "y": 2}));
    let parts = cut(&mut Splitter::new(node("a"), 450, 1), &long);
    assert_eq!(parts.len(), 3);
    let whole = take(&mut assembler(), &parts, START);
    assert_eq!(decode(&whole[0]), decode(&long));
    assert_eq!(whole.len(), 1);
}

#[test]
fn parts_that_are_none_are_refused_and_harm_nothing() {
    let mut assembler = assembler();
    let whole = message(1000, "z");
    let good = cut(&mut Splitter::new(node("alpha"), 450, 9), &whole);
    assert_eq!(assembler.take(Topic::Update, &good[0], START), Ok(None));
    let kept = assembler.kept();
    let form = |json: Json| (pack(&json!({ "_p0": json })), PartError::Form);
    let bin = json!({"$bin": "00"});
    for (bytes, want) in [
        form(json!(null)),
        form(json!("x")),
        form(json!({})),
        form(json!(["alpha", 9, 1])),
        form(json!(["alpha", 9, 1, bin, 5])),
        form(json!([5, 9, 1, bin])),
        form(json!(["alpha", "9", 1, bin])),
        form(json!(["alpha", 9, 0, bin])),
        form(json!(["alpha", 9, 1.0, bin])),
        form(json!(["alpha", 9, i64::MIN, bin])),
        form(json!(["alpha", 9, u64::MAX, bin])),
        form(json!(["alpha", 9, 1_000_000_000, bin])),
        form(json!(["alpha", 9, 2, {"$bin": ""}])),
        form(json!(["alpha", 9, 2, "text"])),
        form(json!(["x".repeat(MAX_NAME + 1), 9, 1, bin])),
        (b"\xc1".to_vec(), Fault::Reserved(0).into()),
        (
            [part("alpha", 9, 2, b"x"), vec![0xc0]].concat(),
            Fault::Trailing(1).into(),
        ),
        (b"".to_vec(), Fault::Incomplete.into()),
        (
            b"\x81\xa3_p0\x94\xa5alpha\x09\x02\xc6\xff\xff\xff\xff".to_vec(),
            Fault::Incomplete.into(),
        ),
        (vec![0x91; 5000], Fault::Incomplete.into()),
    ] {
        let got = assembler.take(Topic::Update, &bytes, START);
        // what is no map is no part: it is for the decoder to refuse
        if bytes[..].first() == Some(&0x91) {
            assert_eq!(got, Ok(Some(bytes.as_slice().into())));
            continue;
        }
        assert_eq!(got, Err(want), "{}", hex(&bytes));
        assert_eq!((assembler.waiting(), assembler.kept()), (1, kept));
    }
    assert_eq!(take(&mut assembler, &good[1..], START), [whole]);
    assert_eq!(
        (assembler.waiting(), assembler.kept(), assembler.given_up()),
        (0, 0, 0)
    );
}

#[test]
fn messages_wait_a_minute_for_their_next_part() {
    let whole = message(1000, "z");
    let parts = cut(&mut Splitter::new(node("alpha"), 450, 9), &whole);
    let mut slow = assembler();
    assert_eq!(take(&mut slow, &parts[..1], START), Vec::<Vec<u8>>::new());
    assert_eq!(
        take(&mut slow, &parts[1..2], later(59)),
        Vec::<Vec<u8>>::new()
    );
    slow.expire(later(100));
    assert_eq!(slow.waiting(), 1);
    assert_eq!(
        take(&mut slow, &parts[2..], later(118)),
        std::slice::from_ref(&whole)
    );

    let mut late = assembler();
    take(&mut late, &parts[..2], START);
    assert_eq!(
        take(&mut late, &parts[2..], later(60)),
        Vec::<Vec<u8>>::new()
    );
    assert_eq!((late.waiting(), late.given_up()), (1, 1));
    // all of them, once more
    assert_eq!(take(&mut late, &parts[..2], later(61)), [whole]);
    assert_eq!((late.waiting(), late.kept()), (0, 0));
    // without any other part: when the owner looks
    take(&mut late, &parts[..1], later(200));
    late.expire(later(259));
    assert_eq!(late.waiting(), 1);
    late.expire(later(260));
    assert_eq!((late.waiting(), late.kept(), late.given_up()), (0, 0, 2));
}

#[test]
fn a_number_that_is_used_again_begins_a_new_message() {
    let (old, new) = (message(1000, "o"), message(1000, "n"));
    let cut = |message: &[u8]| cut(&mut Splitter::new(node("alpha"), 450, 1), message);
    let (old, parts) = (cut(&old), cut(&new));
    // other bytes under the same number
    for kept in 1..3 {
        let mut assembler = assembler();
        take(&mut assembler, &old[..kept], START);
        assert_eq!(
            take(&mut assembler, &parts, START),
            std::slice::from_ref(&new),
            "{kept}"
        );
        assert_eq!((assembler.waiting(), assembler.given_up()), (0, 1));
    }
    // another end, or parts behind it
    let whole = b"\x92\x01\x02".to_vec();
    let of = |number: i64, bytes: &[u8]| part("a", 1, number, bytes);
    for before in [
        vec![of(-2, b"\x05")],
        vec![of(4, b"\x05")],
        vec![of(-4, b"\x05")],
        vec![of(-1, b"\x05")],
    ] {
        let mut assembler = assembler();
        if before == [of(-1, b"\x05")] {
            // complete at once
            assert_eq!(take(&mut assembler, &before, START), [b"\x05"]);
        } else {
            take(&mut assembler, &before, START);
        }
        let parts = [of(-3, b"\x02"), of(2, b"\x01"), of(1, b"\x92")];
        assert_eq!(
            take(&mut assembler, &parts, START),
            std::slice::from_ref(&whole)
        );
        assert_eq!(assembler.waiting(), 0);
    }
    // senders and topics are told apart
    let mut assembler = assembler();
    let (a, b) = (part("a", 1, 1, b"\x92\x01"), part("a", 1, -2, b"\x07"));
    assert_eq!(assembler.take(Topic::Update, &a, START), Ok(None));
    assert_eq!(assembler.take(Topic::Info, &b, START), Ok(None));
    assert_eq!(
        assembler.take(Topic::Update, &part("b", 1, -2, b"\x08"), START),
        Ok(None)
    );
    assert_eq!(take(&mut assembler, &[b], START), [b"\x92\x01\x07"]);
    assert_eq!(assembler.waiting(), 2);
}

#[test]
fn what_is_kept_is_bounded() {
    let limits = AssemblerLimits {
        sender_bytes: 1000,
        total_bytes: 1700,
        sender_messages: 3,
        total_messages: 5,
        ..AssemblerLimits::default()
    };
    let mut small = Assembler::new(limits);
    let mut at = START;
    let mut add = |assembler: &mut Assembler, sender: &str, seq, number, bytes: usize| {
        at = at.after(Duration::from_millis(1));
        let part = part(sender, seq, number, &vec![7; bytes]);
        let got = assembler.take(Topic::Update, &part, at);
        assert!(assembler.kept() <= limits.total_bytes);
        assert!(assembler.waiting() <= limits.total_messages);
        got.map(|whole| whole.map(|w| w.len()))
    };
    // one message that is too long goes, and with it what was there of it
    for number in 1..=3 {
        assert_eq!(add(&mut small, "a", 1, number, 200), Ok(None));
    }
    assert_eq!(add(&mut small, "a", 1, 4, 200), Err(PartError::TooLong));
    assert_eq!((small.waiting(), small.kept(), small.given_up()), (0, 0, 1));
    assert_eq!(add(&mut small, "a", 1, 5, 5000), Err(PartError::TooLong));
    // many small parts count for more than their bytes
    let parts = (1..100).take_while(|n| add(&mut small, "a", 2, *n, 1).is_ok());
    assert!(parts.count() < 20);
    // a sender's oldest message makes room for its newest, by number and bytes
    for seq in 10..14 {
        assert_eq!(add(&mut small, "a", seq, 1, 10), Ok(None));
    }
    assert_eq!(small.waiting(), 3);
    assert_eq!(
        add(&mut small, "a", 10, -2, 10),
        Ok(None),
        "its beginning is gone"
    );
    assert_eq!(add(&mut small, "a", 13, -2, 10), Ok(Some(20)));
    assert_eq!(add(&mut small, "a", 14, 1, 900), Ok(None));
    assert_eq!(small.waiting(), 1);
    // all together: the oldest goes, whosever it is
    assert_eq!(add(&mut small, "b", 1, 1, 600), Ok(None));
    assert_eq!(add(&mut small, "c", 1, 1, 200), Ok(None));
    assert_eq!(small.waiting(), 2);
    assert_eq!(
        add(&mut small, "a", 14, -2, 1),
        Ok(None),
        "its beginning is gone"
    );
    for n in 0..50 {
        assert_eq!(add(&mut small, &format!("s{n}"), 1, 1, 10), Ok(None));
    }
    assert_eq!(small.waiting(), limits.total_messages);
    assert_eq!(add(&mut small, "s49", 1, -2, 10), Ok(Some(20)));
    assert_eq!(add(&mut small, "s40", 1, -2, 10), Ok(None));
    // nothing fits
    let none = AssemblerLimits {
        sender_messages: 0,
        ..limits
    };
    assert_eq!(
        add(&mut Assembler::new(none), "a", 1, 1, 1),
        Err(PartError::TooLong)
    );
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-zé]{1,12}", 1 => "[a-z]{100,300}"]
}

fn any_seq() -> impl Strategy<Value = u32> {
    prop_oneof![1u32..300, any::<u32>()]
}

proptest! {
    /// No part is longer than the limit, whatever name and number.
    #[test]
    fn parts_keep_the_limit(
        name in any_name(),
        limit in prop_oneof![100_usize..2_000, 65_000_usize..70_000],
        len in 0_usize..200_000,
        seq in any_seq(),
    ) {
        let limit = limit.max(2 * (name.len() + 32));
        let whole = message(len, "z");
        let mut splitter = Splitter::new(NodeName::new(&name), limit, seq);
        let parts = cut(&mut splitter, &whole);
        for part in &parts {
            prop_assert!(part.len() <= limit, "{} > {limit}", part.len());
        }
        // nor are there more than twice as many as there must be
        prop_assert!(parts.len() <= 2 * whole.len().div_ceil(limit));
        prop_assert_eq!(take(&mut assembler(), &parts, START), [whole]);
    }

    /// Parts of several messages, mixed and repeated, become these messages.
    #[test]
    fn parts_come_in_any_order_and_more_than_once(
        lens in prop::collection::vec(450_usize..4_000, 1..4),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        shuffle in any::<u64>(),
    ) {
        let mut splitters = [
            Splitter::new(node("alpha"), 450, 1),
            Splitter::new(node("beta"), 300, 1),
        ];
        let mut wholes = Vec::new();
        let mut parts = Vec::new();
        for (n, len) in lens.iter().enumerate() {
            let whole = message(*len, ["x", "y", "z"][n]);
            parts.push(cut(&mut splitters[n % 2], &whole));
            wholes.push(whole);
        }
        // a beginning in any order, with repetitions, then all in some order
        let all: Vec<Vec<u8>> = parts.concat();
        let mut sent: Vec<Vec<u8>> = order.iter().map(|at| at.get(&all).clone()).collect();
        let mut rest = all.clone();
        rest.sort_by_key(|part| {
            part.iter().fold(shuffle | 1, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
        });
        sent.extend(rest);
        let mut assembler = assembler();
        let got = take(&mut assembler, &sent, START);
        for whole in &wholes {
            prop_assert!(got.contains(whole));
        }
        for whole in &got {
            prop_assert!(wholes.contains(whole));
        }
        // repetitions never mix, nor count as faults
        prop_assert_eq!(assembler.given_up(), 0);
    }

    /// Whatever comes, nothing breaks, and only so much is kept.
    #[test]
    fn any_parts_are_survived(
        parts in prop::collection::vec(
            ("[ab]?", 0_u64..3, -4_i64..5, prop::collection::vec(any::<u8>(), 0..3)),
            0..60,
        ),
        noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5),
    ) {
        let limits = AssemblerLimits { sender_bytes: 300, total_bytes: 400, ..Default::default() };
        let mut assembler = Assembler::new(limits);
        let parts = parts.iter().map(|(sender, seq, n, bytes)| part(sender, *seq, *n, bytes));
        for (n, payload) in parts.chain(noise).enumerate() {
            let now = later(n as u64);
            let (before, got) = (assembler.waiting(), assembler.take(Topic::Info, &payload, now));
            prop_assert!(assembler.kept() <= 400);
            prop_assert!(assembler.waiting() <= before + 1);
            if let Ok(Some(whole)) = got {
                prop_assert!(whole.len() <= 400.max(payload.len()));
            }
        }
        assembler.expire(later(1000));
        prop_assert_eq!((assembler.waiting(), assembler.kept()), (0, 0));
    }
}
