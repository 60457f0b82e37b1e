//! The recorded sessions of the original: what its server sent is read, and
//! what its client sent is written, by our protocol.

use std::collections::BTreeMap;

use moat::client::proto::{Delivery, Expect, Fields, Protocol, State};
use moat::client::{Error, Message};
use moat::msgpack;
use moat::path::{Path, PathRef};
use moat::value::Value;
use serde_json::Value as Json;

/// Sessions of the original's client; the others were made by hand and break
/// the rules that a client keeps.
const SESSIONS: [&str; 16] = [
    "01-connect",
    "02-set",
    "03-delete",
    "04-tree",
    "05-enum",
    "06-watch",
    "07-mirror",
    "08-delete-tree",
    "10-msg",
    "11-state",
    "12-internal",
    "14-auth-password",
    "15-acl",
    "16-type",
    "18-codec",
    "19-two-nodes",
];

fn messages(session: &str) -> Vec<Json> {
    let file = format!(
        "{}/tests/vectors/client/{session}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(file).unwrap();
    let session: Json = serde_json::from_str(&text).unwrap();
    session["messages"].as_array().unwrap().clone()
}

fn bytes(message: &Json) -> Option<Vec<u8>> {
    let hex = message["hex"].as_str()?;
    let digits = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    Some((0..hex.len()).step_by(2).map(digits).collect())
}

/// A recorded value; `None` if the record holds it only in part.
fn value(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => Value::Nil,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => n.into(),
            (None, Some(n)) => n.into(),
            (None, None) => n.as_f64()?.into(),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Value::List(items.iter().map(value).collect::<Option<_>>()?),
        Json::Object(pairs) => match pairs.iter().next() {
            Some((tag, content)) if tag.starts_with('$') => tagged(tag, content, json)?,
            _ => Value::Map(
                pairs
                    .iter()
                    .map(|(k, v)| Some((k.as_str().into(), value(v)?)))
                    .collect::<Option<_>>()?,
            ),
        },
    })
}

fn tagged(tag: &str, content: &Json, whole: &Json) -> Option<Value> {
    let unhex = |json: &Json| bytes(&serde_json::json!({ "hex": json }));
    Some(match tag {
        "$path" => Value::Path(path(content)?),
        "$bin" => Value::Bytes(unhex(content)?),
        "$map" => Value::Map(
            content
                .as_array()?
                .iter()
                .map(|pair| Some((value(&pair[0])?, value(&pair[1])?)))
                .collect::<Option<_>>()?,
        ),
        "$ext" => Value::Ext(
            i8::try_from(content.as_i64()?).ok()?,
            unhex(&whole["data"])?,
        ),
        "$float" => Value::Float(content.as_str()?.parse().ok()?),
        _ => return None,
    })
}

fn path(elements: &Json) -> Option<Path> {
    let mut encoded = Vec::new();
    for element in elements.as_array()? {
        value(element)?.encode(&mut encoded);
    }
    Path::decode(PathRef::new(&encoded)).ok()
}

#[test]
fn what_the_original_client_sends_is_packed_alike() {
    let mut packed = 0;
    for session in SESSIONS {
        for message in messages(session) {
            let (Some(hex), "c>s") = (bytes(&message), message["dir"].as_str().unwrap()) else {
                continue;
            };
            let Some(decoded) = value(&message["decoded"]) else {
                continue;
            };
            assert_eq!(decoded.to_bytes(), hex, "{session}: {message}");
            packed += 1;
        }
    }
    assert!(packed > 400, "{packed}");
}

/// What a request was answered with.
#[derive(Debug, Default)]
struct Answer {
    items: Vec<Message>,
    errors: Vec<String>,
    ended: bool,
}

/// A client that sends what the recorded one sent and takes what comes.
struct Replay {
    protocol: Protocol,
    expects: BTreeMap<u64, Expect>,
    answers: BTreeMap<u64, Answer>,
    greeted: bool,
    /// Messages of streams that the recorded client left to be stopped
    stopped: Vec<u64>,
    acks: Vec<(u64, u64)>,
    next: u64,
    /// That the server gave up, and why
    closed: Option<String>,
}

impl Replay {
    fn new() -> Self {
        Self {
            protocol: Protocol::default(),
            expects: BTreeMap::new(),
            answers: BTreeMap::new(),
            greeted: false,
            stopped: Vec::new(),
            acks: Vec::new(),
            next: 1,
            closed: None,
        }
    }

    fn receive(&mut self, bytes: &[u8], chunk: usize) {
        for chunk in bytes.chunks(chunk) {
            self.protocol.handle_bytes(chunk);
            loop {
                let delivery = match self.protocol.poll_delivery() {
                    Ok(Some(delivery)) => delivery,
                    Ok(None) => break,
                    Err(error) => {
                        self.closed = Some(error.to_string());
                        return;
                    }
                };
                match delivery {
                    Delivery::Greeting(greeting) => {
                        assert_eq!(greeting.node.as_str(), "rec");
                        assert!(!self.greeted);
                        self.greeted = true;
                    }
                    Delivery::Started(..) => {}
                    Delivery::Message(seq, message) => {
                        if let Some(wseq) = message.wseq() {
                            self.protocol.taken(seq, wseq);
                        }
                        self.answers.entry(seq).or_default().items.push(message);
                    }
                    Delivery::Failed(seq, refusal) => {
                        let answer = self.answers.entry(seq).or_default();
                        answer.errors.push(refusal.text);
                    }
                    Delivery::End(seq) => {
                        let answer = self.answers.entry(seq).or_default();
                        assert!(!answer.ended, "two ends for {seq}");
                        answer.ended = true;
                    }
                }
            }
            self.flush();
        }
    }

    /// Looks for acknowledgements in what is to be sent.
    fn flush(&mut self) {
        let output = std::mem::take(self.protocol.output());
        let mut reader = msgpack::Reader::new(&output);
        while !reader.is_empty() {
            let sent = Value::decode(reader.object().unwrap()).unwrap();
            let number = |name| sent.field(name).and_then(Value::as_u64);
            if let (Some(seq), Some(ack)) = (number("seq"), number("ack")) {
                self.acks.push((seq, ack));
            }
        }
    }

    fn send(&mut self, decoded: &Json) {
        let Some(action) = decoded["action"].as_str() else {
            if decoded["seq"] == 0 {
                let window = u32::try_from(decoded["qlen"].as_u64().unwrap()).unwrap();
                self.protocol.hello(window);
            }
            return;
        };
        let seq = decoded["seq"].as_u64().unwrap();
        assert_eq!(seq, self.next, "requests are numbered without gaps");
        self.next += 1;
        if action == "stop" {
            let task = decoded["task"].as_u64().unwrap();
            let ended = self.answers.get(&task).is_some_and(|a| a.ended);
            if !ended && self.expects.get(&task) == Some(&Expect::Stream) {
                self.stopped.push(task);
                self.protocol.give_up(task);
                return;
            }
        }
        let mut fields = Fields::new();
        for (name, content) in decoded.as_object().unwrap() {
            if !matches!(name.as_str(), "action" | "seq")
                && let Some(content) = value(content)
            {
                fields.encoded(name, &content.to_bytes());
            }
        }
        let streams = match action {
            "delete_tree" => decoded["nchain"].as_i64().unwrap_or(0) != 0,
            _ => matches!(
                action,
                "get_tree"
                    | "get_tree_internal"
                    | "watch"
                    | "msg_monitor"
                    | "auth"
                    | "auth_list"
                    | "auth_set"
            ),
        };
        let expect = if streams {
            Expect::Stream
        } else {
            Expect::Reply
        };
        assert_eq!(self.protocol.request(action, &fields, expect), seq);
        self.expects.insert(seq, expect);
    }
}

/// A message that the original's server sent, with its whole path.
struct Sent {
    fields: BTreeMap<String, Json>,
    path: Option<Vec<Json>>,
}

/// What should be delivered for each request, by a plain reading of the
/// record.
fn expected(record: &[&Json], seq: u64, expect: Expect) -> (Vec<Sent>, Vec<String>) {
    let mut items = Vec::new();
    let mut errors = Vec::new();
    let mut last: Vec<Json> = Vec::new();
    for message in record {
        let decoded = &message["decoded"];
        if decoded["seq"] != seq {
            continue;
        }
        let fields = decoded.as_object().unwrap();
        let elements = |path: &Json| match path.get("$path") {
            Some(elements) => elements.as_array().cloned(),
            None => path.as_array().cloned(),
        };
        let mut path = fields.get("path").and_then(elements);
        if let (Some(depth), Some(rest)) = (decoded["depth"].as_u64(), &path) {
            last.truncate(usize::try_from(depth).unwrap());
            last.extend_from_slice(rest);
            path = Some(last.clone());
        }
        let state = decoded["state"].as_str().unwrap_or("");
        match (fields.get("error"), fields.get("topic")) {
            (Some(error), None) => errors.push(error.as_str().unwrap().to_owned()),
            _ if state == "start" || state == "end" => {}
            _ => items.push(Sent {
                fields: fields.clone().into_iter().collect(),
                path,
            }),
        }
        // what follows the end is stray
        if expect == Expect::Reply || state == "end" {
            break;
        }
    }
    (items, errors)
}

fn assert_delivered(got: &Message, sent: &Sent, context: &str) {
    for (name, content) in &sent.fields {
        if matches!(name.as_str(), "path" | "depth") {
            continue;
        }
        let Some(content) = value(content) else {
            continue;
        };
        let field = got.field(name).map(|f| Value::decode(f).unwrap());
        assert_eq!(field, Some(content), "{context}: {name}");
    }
    if let Some(elements) = &sent.path {
        let want = path(&Json::Array(elements.clone())).unwrap();
        let got = Path::decode(got.path().unwrap()).unwrap();
        assert_eq!(got, want, "{context}");
    }
}

fn replay(session: &str, conn: u64, chunk: usize) -> usize {
    let record = messages(session);
    let record: Vec<&Json> = record
        .iter()
        .filter(|m| m["conn"].as_u64().unwrap_or(1) == conn)
        .collect();
    let mut client = Replay::new();
    let mut acks = Vec::new();
    for message in &record {
        let Some(bytes) = bytes(message) else {
            continue;
        };
        if message["dir"] == "s>c" {
            client.receive(&bytes, chunk);
            continue;
        }
        let decoded = &message["decoded"];
        if decoded["state"] == "ack" {
            let ack = (decoded["seq"].as_u64(), decoded["ack"].as_u64());
            acks.push((ack.0.unwrap(), ack.1.unwrap()));
        }
        client.send(decoded);
    }
    let received: Vec<&Json> = record
        .iter()
        .copied()
        .filter(|m| m["dir"] == "s>c" && m["hex"].is_string())
        .collect();
    let gave_up = received
        .iter()
        .find(|m| m["decoded"]["error"].is_string() && m["decoded"]["seq"].is_null())
        .map(|m| {
            format!(
                "connection closed: {}",
                m["decoded"]["error"].as_str().unwrap()
            )
        });
    assert_eq!(client.closed, gave_up, "{session}, {conn}");
    for (seq, expect) in &client.expects {
        let context = format!("{session}, connection {conn}, request {seq}");
        let (items, errors) = expected(&received, *seq, *expect);
        let empty = Answer::default();
        let got = client.answers.get(seq).unwrap_or(&empty);
        assert_eq!(got.errors, errors, "{context}");
        if client.stopped.contains(seq) {
            assert!(got.items.len() <= items.len(), "{context}");
        } else {
            assert_eq!(got.items.len(), items.len(), "{context}");
        }
        for (got, sent) in got.items.iter().zip(&items) {
            assert_delivered(got, sent, &context);
        }
    }
    // Both acknowledge the same messages of a stream; they may differ in
    // whether the last one comes before the stream is left.
    let left = |acks: &[(u64, u64)]| -> Vec<(u64, u64)> {
        let mut left: Vec<_> = acks.to_vec();
        left.retain(|(seq, _)| !client.stopped.contains(seq));
        left.sort_unstable();
        left
    };
    assert_eq!(left(&client.acks), left(&acks), "{session}, {conn}");
    client.expects.len()
}

#[test]
fn recorded_replies_are_read_in_chunks_of_any_size() {
    let mut requests = 0;
    for session in SESSIONS {
        let connections = messages(session)
            .iter()
            .map(|m| m["conn"].as_u64().unwrap_or(1))
            .max()
            .unwrap();
        for conn in 1..=connections {
            for chunk in [1, 7, 4096] {
                requests += replay(session, conn, chunk);
            }
        }
    }
    assert!(requests > 1000, "{requests}");
}

#[test]
fn replies_that_nobody_waits_for_are_ignored() {
    // made by hand: numbers of all kinds, late and missing ones
    for session in ["09-bad-requests", "17-root"] {
        let mut protocol = Protocol::default();
        for message in messages(session) {
            if message["dir"] != "s>c" || message["conn"].as_u64().unwrap_or(1) != 1 {
                continue;
            }
            let Some(bytes) = bytes(&message) else {
                break;
            };
            protocol.handle_bytes(&bytes);
            match protocol.poll_delivery() {
                Ok(None | Some(Delivery::Greeting(_))) => {}
                Err(Error::Closed(why)) => {
                    assert_eq!(message["decoded"]["error"], why.as_str());
                    break;
                }
                other => panic!("{session}: {other:?}"),
            }
        }
    }
}

proptest::proptest! {
    /// Whatever comes after a greeting, cut, changed or mixed up: it is read
    /// or refused.
    #[test]
    fn no_bytes_do_any_harm(
        from in 0usize..400,
        cuts in proptest::collection::vec((0usize..300, 0u8..=255), 0..4),
        tail in proptest::collection::vec(0u8..=255, 0..40),
        chunk in 1usize..70,
    ) {
        use std::sync::LazyLock;
        static STREAM: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
            let all = ["04-tree", "06-watch", "09-bad-requests", "10-msg"].map(messages);
            let sent = all.iter().flatten().filter(|m| m["dir"] == "s>c");
            sent.filter_map(bytes).collect()
        });
        let messages = STREAM.iter().skip(from % STREAM.len()).take(8);
        let mut bytes = b"\x83\xa3seq\x00\xa4node\xa1n\xa4qlen\x0a".to_vec();
        let start = bytes.len();
        bytes.extend(messages.flatten());
        for (at, byte) in cuts {
            let at = start + at % (bytes.len() - start);
            bytes[at] = byte;
        }
        bytes.extend(tail);
        let mut protocol = Protocol::new(1 << 16);
        for expect in [Expect::Reply, Expect::Stream].repeat(10) {
            protocol.request("get_tree", &Fields::new(), expect);
        }
        'all: for chunk in bytes.chunks(chunk) {
            protocol.handle_bytes(chunk);
            loop {
                match protocol.poll_delivery() {
                    Ok(Some(Delivery::Message(seq, message))) => {
                        let _ = (message.path(), message.field("value"));
                        protocol.give_up(seq);
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'all,
                }
            }
        }
        proptest::prop_assert!(protocol.requests() <= 40);
    }
}

#[test]
fn states_are_told() {
    let mut protocol = Protocol::default();
    protocol.handle_bytes(b"\x83\xa3seq\x00\xa4node\xa1n\xa4qlen\x0a");
    let seq = protocol.request("watch", &Fields::new(), Expect::Stream);
    assert_eq!(seq, 1);
    protocol.handle_bytes(b"\x82\xa3seq\x01\xa5state\xa5start");
    protocol.handle_bytes(b"\x82\xa3seq\x01\xa5state\xa8uptodate");
    let mut states = Vec::new();
    while let Some(delivery) = protocol.poll_delivery().unwrap() {
        if let Delivery::Started(_, m) | Delivery::Message(_, m) = delivery {
            states.push(m.state());
        }
    }
    assert_eq!(states, [Some(State::Start), Some(State::UpToDate)]);
}
