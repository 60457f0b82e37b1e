//! The joiner beside a peer that is written out here.

use super::*;
use crate::auth::Credentials;
use crate::event::{NamedLink, Tick};

fn joiner() -> Joiner {
    Joiner::new(&NodeName::new("me"), &NodeName::new("peer"), 1 << 20)
}

/// What came, in an owned form.
#[derive(Debug, Clone, PartialEq)]
enum Got {
    Entry(Event),
    State(NodeInfo, Tock),
    Done,
}

/// Takes everything that the bytes hold.
fn read(joiner: &mut Joiner, bytes: &[u8]) -> Result<Vec<Got>, FetchError> {
    let (mut got, mut at) = (Vec::new(), 0);
    loop {
        let (used, item) = joiner.next(&bytes[at..])?;
        at += used;
        got.push(match item {
            Some(Fetched::Entry(event)) => Got::Entry(event.clone()),
            Some(Fetched::State(info, tock)) => Got::State(info.clone(), tock),
            Some(Fetched::Done) => Got::Done,
            Some(Fetched::Failed(why)) => panic!("an error is returned: {why}"),
            None => {
                assert_eq!(at, bytes.len(), "all of it are whole messages");
                return Ok(got);
            }
        });
    }
}

const GREETING: &[u8] = b"\x84\xa3seq\x00\xa4node\xa4peer\xa4tick\x07\xa4tock\x20";
const OURS: &[u8] = b"\x85\xa3seq\x00\xa4node\xa4peer\xa4tick\x07\xa4tock\x20\
    \xa4moat\x82\xa7version\xa10\xa8features\x92\xa6resume\xa7markers";
const LINK: &[u8] = b"\x83\xa4node\xa1a\xa4tick\x05\xa4prev\xc0";

/// A record of the tree that was asked for under this number.
fn record(seq: u8, path: &[u8], depth: Option<u8>, chain: Option<&[u8]>) -> Vec<u8> {
    let mut out = vec![0x84 + u8::from(depth.is_some()) + u8::from(chain.is_some())];
    out.extend_from_slice(b"\xa5value\x2a\xa4tock\x09\xa4path");
    out.extend_from_slice(path);
    if let Some(depth) = depth {
        out.extend_from_slice(b"\xa5depth");
        out.push(depth);
    }
    if let Some(chain) = chain {
        out.extend_from_slice(b"\xa5chain");
        out.extend_from_slice(chain);
    }
    out.extend_from_slice(b"\xa3seq");
    out.push(seq);
    out
}

fn end(seq: u8, tock: u8) -> Vec<u8> {
    let mut out = b"\x83\xa5state\xa3end\xa3seq".to_vec();
    out.push(seq);
    out.extend_from_slice(b"\xa4tock");
    out.push(tock);
    out
}

/// A joiner that has been greeted, and has asked.
fn greeted(greeting: &[u8]) -> Joiner {
    let mut joiner = joiner();
    assert_eq!(read(&mut joiner, greeting), Ok(vec![]));
    joiner.sent();
    joiner
}

/// The one entry that the bytes lead to.
fn entry(joiner: &mut Joiner, bytes: &[u8]) -> Event {
    match read(joiner, bytes).as_deref() {
        Ok([Got::Entry(event)]) => event.clone(),
        other => panic!("one entry, not {other:?}"),
    }
}

fn path(event: &Event) -> String {
    Path::decode(event.path.as_ref()).unwrap().to_string()
}

fn actions(joiner: &Joiner) -> Vec<(String, bool)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some((reply, len)) = joiner
        .output()
        .get(at..)
        .filter(|rest| !rest.is_empty())
        .and_then(|rest| Reply::read(rest).unwrap())
    {
        at += len;
        let action = reply.get("action");
        let action = action.map_or("hello", |raw| Reader::new(raw).text().unwrap().unwrap());
        found.push((action.to_owned(), reply.get("markers").is_some()));
    }
    found
}

#[test]
fn one_thing_after_the_other_is_asked_of_the_original() {
    let mut joiner = joiner();
    assert_eq!(read(&mut joiner, GREETING), Ok(vec![]));
    let asked = |action: &str| (action.to_owned(), false);
    assert_eq!(actions(&joiner), [asked("hello"), asked("get_tree")]);
    joiner.sent();
    assert_eq!(read(&mut joiner, &end(2, 40)), Ok(vec![]));
    assert_eq!(actions(&joiner), [asked("get_tree_internal")]);
    joiner.sent();
    assert_eq!(read(&mut joiner, &end(3, 41)), Ok(vec![]));
    assert_eq!(actions(&joiner), [asked("get_state")]);
    joiner.sent();
    // the greatest tock of all counts
    let state = b"\x83\xa3seq\x04\xa5nodes\x82\xa1a\x05\xa1b\xc0\xa4tock\x10";
    let info = NodeInfo {
        ticks: Some(vec![
            (NodeName::new("a"), Some(Tick(5))),
            (NodeName::new("b"), None),
        ]),
        ..NodeInfo::default()
    };
    let got = read(&mut joiner, state);
    assert_eq!(got, Ok(vec![Got::State(info, Tock(41)), Got::Done]));
    assert_eq!(read(&mut joiner, b"\xc1 whatever"), Ok(vec![]));
}

#[test]
fn both_trees_and_markers_are_asked_of_our_own() {
    let mut joiner = joiner();
    assert_eq!(read(&mut joiner, OURS), Ok(vec![]));
    let asked = |action: &str, markers| (action.to_owned(), markers);
    let want = [
        asked("hello", false),
        asked("get_tree", true),
        asked("get_tree_internal", true),
    ];
    assert_eq!(actions(&joiner), want);
    joiner.sent();
    // either may end first; the state is asked for when both have
    assert_eq!(read(&mut joiner, &end(3, 40)), Ok(vec![]));
    assert_eq!(actions(&joiner), []);
    assert_eq!(read(&mut joiner, &end(2, 40)), Ok(vec![]));
    assert_eq!(actions(&joiner), [asked("get_state", false)]);
}

#[test]
fn each_tree_has_its_own_last_path() {
    let mut joiner = greeted(OURS);
    let mut take =
        |seq, part: &[u8], depth| path(&entry(&mut joiner, &record(seq, part, depth, Some(LINK))));
    assert_eq!(take(2, b"\xc7\x04\x03\xa1a\xa1b", Some(0)), "a.b");
    assert_eq!(take(3, b"\x92\xa1x\xa1y", Some(0)), ":n.x.y");
    assert_eq!(take(2, b"\x91\xa1c", Some(1)), "a.c");
    assert_eq!(take(3, b"\x91\xa1z", Some(1)), ":n.x.z");
    // without depth it is whole, and nothing goes on from it
    assert_eq!(take(2, b"\x91\xa1q", None), "q");
    assert_eq!(take(2, b"\x91\x01", Some(2)), "a.c:1");
    // the path is the top's
    assert_eq!(take(2, b"\xc7\x00\x03", Some(0)), ":");
    assert_eq!(take(3, b"\x90", Some(0)), ":n");
}

#[test]
fn chains_and_values_are_what_the_record_says_whatever_was_before() {
    let mut joiner = greeted(GREETING);
    let link = |node: &str, tick| NamedLink {
        node: NodeName::new(node),
        tick: Tick(tick),
    };
    let long = b"\x83\xa4node\xa1a\xa4tick\x05\xa4prev\
        \x83\xa4node\xa1b\xa4tick\x06\xa4prev\x82\xa4node\xa1c\xa4tick\x07";
    let event = entry(&mut joiner, &record(2, b"\x90", Some(0), Some(long)));
    assert_eq!(event.chain, [link("a", 5), link("b", 6), link("c", 7)]);
    assert_eq!(event.end, ChainEnd::Cut);
    assert_eq!(event.tock, Tock(9));
    assert_eq!(event.value.as_deref(), Some(&b"\x2a"[..]));

    // no value, or "not given", is a deletion
    for value in [&b"\xa1v\x2a"[..], b"\xa5value\xd4\x04_"] {
        let mut marker =
            b"\x86\xa3seq\x02\xa4path\x91\xa1a\xa5depth\x00\xa4tock\x0a\xa5chain".to_vec();
        marker.extend_from_slice(b"\x83\xa4prev\xc0\xa4tick\xcd\x01\x00\xa4node\xa1b");
        marker.extend_from_slice(value);
        let event = entry(&mut joiner, &marker);
        assert_eq!(event.chain, [link("b", 256)]);
        assert_eq!((event.end, event.value), (ChainEnd::Start, None));
    }

    // an entry that nothing happened to is none, but its path counts
    let way = b"\x85\xa3seq\x02\xa4path\x92\xa1w\xa1x\xa5depth\x00\xa4tock\x0a\xa5chain\xc0";
    assert_eq!(read(&mut joiner, way), Ok(vec![]));
    let below = record(2, b"\x91\xa1y", Some(1), Some(LINK));
    assert_eq!(path(&entry(&mut joiner, &below)), "w.y");
    assert_eq!(joiner.entries(), 4);
}

#[test]
fn who_cannot_be_fetched_from_is_told_at_the_greeting() {
    let with = |more: &[u8]| {
        let mut greeting = b"\x84\xa3seq\x00\xa4node\xa4peer".to_vec();
        greeting.extend_from_slice(more);
        let mut joiner = joiner();
        let result = read(&mut joiner, &greeting);
        assert_eq!(read(&mut joiner, b"\xc1"), Ok(vec![]), "it is over");
        result
    };
    let login = with(b"\xa4tick\x01\xa4auth\x91\xa8password");
    assert_eq!(login, Err(FetchError::Login("password".to_owned())));
    assert_eq!(with(b"\xa4tick\xc0\xa4tock\x01"), Err(FetchError::NotReady));
    assert_eq!(with(b"\xa1a\x01\xa1b\x01"), Err(FetchError::NotReady));
    assert_eq!(
        with(b"\xa4node\xa5other\xa4tick\x01"),
        Err(FetchError::Other(NodeName::new("other")))
    );
    assert_eq!(
        with(b"\xa3seq\x01\xa4tick\x01"),
        Err(FetchError::NoGreeting)
    );
    let mut joiner = joiner();
    assert_eq!(read(&mut joiner, b"SSH-2.0"), Err(FetchError::NoGreeting));
    // no method is in use, though one is set up
    let mut greeting = GREETING.to_vec();
    greeting[0] += 1;
    greeting.extend_from_slice(b"\xa4auth\x92\xc0\xa8password");
    greeted(&greeting);
}

/// The dialogue of the original's client, as it was recorded.
#[test]
fn a_password_is_proved_as_the_original_proves_it() {
    let text = include_str!("../../../tests/vectors/client/crypto.json");
    let vectors: serde_json::Value = serde_json::from_str(text).expect("the vectors are JSON");
    let vector = &vectors["exchanges"][0];
    let bytes = |name: &str| -> Vec<u8> {
        let text = vector[name].as_str().expect("hex");
        let pairs = (0..text.len()).step_by(2);
        pairs
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
            .collect()
    };
    let credentials = Credentials::parse("password name=joe password=test123").unwrap();
    let private = bytes("client_private").try_into().expect("a private key");
    let nonce = bytes("nonce").try_into().expect("a nonce");
    let login = Login::new(credentials, private, nonce);
    let mut joiner = joiner().with_login(Some(login));

    let mut greeting = GREETING.to_vec();
    greeting[0] += 1;
    greeting.extend_from_slice(b"\xa4auth\x91\xa8password");
    assert_eq!(read(&mut joiner, &greeting), Ok(vec![]));
    let mut wanted = b"\x81\xa3seq\x00".to_vec();
    wanted.extend(b"\x84\xa6pubkey\xc5\x01\x00");
    wanted.extend(bytes("client_public"));
    wanted.extend(b"\xa6length\xcd\x04\x00\xa6action\xaediffie_hellman\xa3seq\x05");
    assert_eq!(joiner.output(), wanted);
    joiner.sent();

    let mut reply = b"\x83\xa6pubkey\xc5\x01\x00".to_vec();
    reply.extend(bytes("server_public"));
    reply.extend(b"\xa3seq\x05\xa4tock\x09");
    assert_eq!(read(&mut joiner, &reply), Ok(vec![]));
    let mut wanted = b"\x85\xa3typ\xa8password\xa5ident\xa3joe\xa8password\xc4\x48".to_vec();
    wanted.extend(bytes("box"));
    wanted.extend(b"\xa6action\xa4auth\xa3seq\x06");
    assert_eq!(joiner.output(), wanted);
    joiner.sent();

    // it asks for nothing before it is accepted
    let start = b"\x83\xa3seq\x06\xa5state\xa5start\xa4tock\x0a";
    assert_eq!(read(&mut joiner, start), Ok(vec![]));
    assert_eq!(joiner.output(), b"");
    let end = b"\x83\xa3seq\x06\xa5state\xa3end\xa4tock\x0b";
    assert_eq!(read(&mut joiner, end), Ok(vec![]));
    assert!(joiner.output().windows(8).any(|w| w == b"get_tree"));
}

#[test]
fn who_is_not_accepted_is_told_why() {
    let begin = |credentials: &str, method: &[u8]| {
        let credentials = Credentials::parse(credentials).unwrap();
        let login = Login::new(credentials, [7; 136], [7; 24]);
        let mut joiner = joiner().with_login(Some(login));
        let mut greeting = GREETING.to_vec();
        greeting[0] += 1;
        greeting.extend_from_slice(b"\xa4auth\x91");
        greeting.extend_from_slice(method);
        read(&mut joiner, &greeting).map(|_| joiner)
    };
    let joe = "password name=joe password=test123";
    assert_eq!(
        begin("root", b"\xa8password").unwrap_err(),
        FetchError::Method("password".to_owned(), "root")
    );
    let refused = |mut joiner: Joiner, reply: &[u8]| read(&mut joiner, reply).unwrap_err();
    let joiner = begin("root", b"\xa4root").unwrap();
    let no = b"\x83\xa3seq\x06\xa4tock\x01\xa5error\xa4no!!";
    assert_eq!(
        refused(joiner, no),
        FetchError::NotLoggedIn("no!!".to_owned())
    );
    for key in [&b"\xc4\x01\x02"[..], b"\xc4\x00", b"\x07", b"\xa1x"] {
        let joiner = begin(joe, b"\xa8password").unwrap();
        let mut reply = b"\x82\xa3seq\x05\xa6pubkey".to_vec();
        reply.extend_from_slice(key);
        let why = refused(joiner, &reply).to_string();
        assert!(why.contains("public key"), "{why}");
    }
    // nobody who needs no login is told who this is
    let credentials = Credentials::parse(joe).unwrap();
    let login = Login::new(credentials, [7; 136], [7; 24]);
    let mut joiner = self::joiner().with_login(Some(login));
    assert_eq!(read(&mut joiner, GREETING), Ok(vec![]));
    assert!(joiner.output().windows(8).any(|w| w == b"get_tree"));
}

#[test]
fn a_malformed_record_is_named() {
    let why = |bytes: &[u8]| match read(&mut greeted(GREETING), bytes) {
        Err(why) => why.to_string(),
        Ok(got) => panic!("not refused: {got:?}"),
    };
    let chain = |chain| why(&record(2, b"\x91\xa1a", Some(0), chain));
    assert_eq!(chain(None), "record 1 (a) is malformed: it has no `chain`");
    let wrong = "record 1 (a) is malformed: its `chain` is not what it must be";
    for link in [
        &b"\x07"[..],
        b"\x81\xa4node\xa1a",
        b"\x82\xa4node\x01\xa4tick\x01",
        b"\x82\xa4node\xa1a\xa4tick\x00",
        b"\x82\xa4node\xa1a\xa4tick\xcf\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x83\xa4node\xa1a\xa4tick\x01\xa4prev\x01",
    ] {
        assert_eq!(chain(Some(link)), wrong, "{link:02x?}");
    }
    let twice = b"\x83\xa4node\xa1a\xa4tick\x02\xa4prev\x83\xa4node\xa1a\xa4tick\x01\xa4prev\xc0";
    assert!(chain(Some(twice)).contains("names a node twice"));
    let at = |part: &[u8], depth| why(&record(2, part, depth, Some(LINK)));
    assert_eq!(
        at(b"\x91\xa1a", Some(1)),
        "record 1 is malformed: its path goes on from a longer one than the last"
    );
    assert!(at(b"\x92\xa1a\xc0", Some(0)).contains("`null` within its path"));
    assert!(at(b"\x91\x80", Some(0)).contains("a map cannot be part of a path"));
    assert!(at(b"\xa1a", Some(0)).contains("its `path` is not"));
    assert!(at(b"\xd4\x03\xc1", Some(0)).contains("0xc1"));
    assert!(at(b"\xd5\x03\xa2a", Some(0)).contains("incomplete"));
    let mut huge = vec![0xdc, 0x04, 0x01];
    huge.extend([1; 1025]);
    assert!(at(&huge, Some(0)).contains("more than 1024 elements"));
    assert!(why(b"\x84\xa3seq\x02\xa4path\x90\xa5depth\x00\xa5value\x01").contains("`tock`"));
}

#[test]
fn paths_that_go_on_for_ever_end() {
    let mut joiner = greeted(GREETING);
    for depth in 0..255 {
        let next = record(2, b"\x91\xa1a", Some(0), Some(LINK));
        let mut long = next.clone();
        // a depth of one byte that grows, in its longer form
        let at = next.windows(6).position(|w| w == b"\xa5depth").unwrap() + 6;
        long.splice(at..=at, [0xcc, depth]);
        entry(&mut joiner, &long);
    }
    let name = vec![b'x'; 60_000];
    let mut part = b"\x91\xc5\xea\x60".to_vec();
    part.extend_from_slice(&name);
    for depth in [0, 1] {
        let got = read(&mut joiner, &record(2, &part, Some(depth), Some(LINK)));
        assert_eq!(got.is_ok(), depth == 0, "64 KiB are the limit");
    }
}

#[test]
fn what_the_peer_refuses_is_its_own_words() {
    let error = b"\x83\xa3seq\x02\xa4tock\x01\xa5error\xa4no!!";
    let refused = Err(FetchError::Refused("no!!".to_owned()));
    assert_eq!(read(&mut greeted(GREETING), error), refused);
    // one that belongs to nothing that was asked is not for us
    let other = b"\x83\xa3seq\x09\xa4tock\x01\xa5error\xa4no!!";
    assert_eq!(read(&mut greeted(GREETING), other), Ok(vec![]));
    let complaint = b"\x81\xa5error\xa4no!!";
    assert_eq!(read(&mut greeted(GREETING), complaint), refused);
}

#[test]
fn a_message_may_come_byte_by_byte_and_has_a_limit() {
    let mut joiner = Joiner::new(&NodeName::new("me"), &NodeName::new("peer"), 1000);
    let mut stream = GREETING.to_vec();
    stream.extend(record(2, b"\x91\xa1a", Some(0), Some(LINK)));
    let (mut start, mut entries) = (0, 0);
    for end in 0..=stream.len() {
        let (used, item) = joiner.next(&stream[start..end]).unwrap();
        start += used;
        entries += usize::from(item.is_some());
    }
    assert_eq!((start, entries), (stream.len(), 1));
    let mut large = b"\x83\xa3seq\x02\xa4path\x90\xa5value\xc6\x7f\x00\x00\x00".to_vec();
    assert_eq!(joiner.next(&large).unwrap().0, 0);
    large.resize(1001, 0);
    assert_eq!(
        joiner.next(&large).unwrap_err(),
        FetchError::Frame(FrameError::TooLong(1000))
    );
}
