//! Listening and talking at the broker.
//!
//! The connection is the backend's. So that nobody takes it for a node, it
//! has a network of its own, a level below the real one where nobody looks:
//! whatever a node says by itself goes there.

use std::future::poll_fn;
use std::io::{self, BufRead as _, Read as _};
use std::time::Instant;

use crate::backend::mqtt::{Closing, MqttBackend, Options};
use crate::backend::{Backend as _, Input};
use crate::cli::context::{Context, Verbosity};
use crate::cli::data::dates::Dates;
use crate::cli::exit::{CliError, Exit};
use crate::cli::until_interrupt;
use crate::config::{Backend, Embedded};
use crate::event::{Effect, NodeName};
use crate::node::time::Timestamp;
use crate::path::{Path, PathElem};
use crate::text::{json, yaml_in};
use crate::value::Value;
use crate::wire::cluster::{Assembler, AssemblerLimits, Topic};

/// Longest message that is sent, in bytes of its text.
const LONGEST: u64 = 64 << 20;
/// What the level begins with that these commands are on.
const OWN_LEVEL: &str = "dump-";

/// `dump msg`
pub(super) async fn show(ctx: &Context, topic: &str) -> Result<Exit, CliError> {
    let root = root(ctx);
    let filter = levels(topic, &root)?;
    let (mut backend, closing) = start(ctx)?;
    backend.take(Effect::Subscribe(filter.clone()));
    connected(ctx, &mut backend).await?;
    if ctx.verbosity > Verbosity::Normal {
        ctx.out.note(&format!("watching {}", filter.join("/")));
    }
    let ended = until_interrupt(async {
        tokio::select! {
            ended = listen(ctx, &root, &mut backend) => ended,
            () = ctx.out.closed() => Ok(Exit::Success),
        }
    })
    .await;
    closing.close().await;
    ended
}

/// `dump post`
pub(super) async fn send(ctx: &Context, topic: &str) -> Result<Exit, CliError> {
    let root = root(ctx);
    let topic = levels(topic, &root)?;
    let (mut backend, closing) = start(ctx)?;
    connected(ctx, &mut backend).await?;
    let mut source = Source {
        input: io::stdin().lock(),
        lines: ctx.json,
        number: 0,
    };
    while let Some(message) = source.next()? {
        let (own, value) = unwrapped(message, &root)?;
        let topic = own.unwrap_or_else(|| topic.clone());
        if topic.iter().any(|level| level.contains(['+', '#'])) {
            return Err(anyhow::anyhow!("no message can be sent to {}", topic.join("/")).into());
        }
        let payload = value.to_bytes();
        backend.take(Effect::Send { topic, payload });
    }
    closing.close().await;
    Ok(Exit::Success)
}

/// The levels that the network's topics begin with.
fn root(ctx: &Context) -> Vec<String> {
    let root = &ctx.config.kv.server.root.0;
    root.iter().map(PathElem::level).collect()
}

/// A topic as it is typed.
fn levels(topic: &str, root: &[String]) -> Result<Vec<String>, CliError> {
    let below = |word: &str| {
        let mut levels = root.to_vec();
        levels.push(word.to_owned());
        levels
    };
    match topic.strip_prefix('+') {
        Some("") => Ok(below("#")),
        // `+.x` is a topic whose first level may be anything
        Some(word) if !word.contains('.') => Ok(below(word)),
        _ if topic == ":" => Ok(below(Topic::Update.word())),
        _ => {
            let path: Path = topic
                .parse()
                .map_err(|error| CliError::usage(format!("Invalid value for 'TOPIC': {error}")))?;
            Ok(path.iter().map(PathElem::level).collect())
        }
    }
}

fn start(ctx: &Context) -> Result<(MqttBackend, Closing), CliError> {
    let server = &ctx.config.kv.server;
    if server.backend != Backend::Mqtt {
        return Err(anyhow::anyhow!("server.backend: there is no broker to talk to").into());
    }
    let mut mqtt = server.mqtt.clone();
    mqtt.embedded = Embedded::Never;
    let mut root = root(ctx);
    root.push(format!("{OWN_LEVEL}{}", std::process::id()));
    let started = MqttBackend::start(Options {
        mqtt,
        root,
        node: NodeName::new("dump"),
        will: Vec::new(),
    })?;
    Ok(started)
}

/// Waits for the broker, as long as a client waits for a server.
async fn connected(ctx: &Context, backend: &mut MqttBackend) -> Result<(), CliError> {
    let limit = ctx.config.kv.conn.init_timeout.get();
    let up = async { while next(backend).await != Input::Up {} };
    let uri = &ctx.config.kv.server.mqtt.uri;
    tokio::time::timeout(limit, up).await.map_err(|_| {
        let (host, port) = (uri.host(), uri.port());
        anyhow::anyhow!("ConnectionError: cannot reach the broker at {host}:{port}")
    })?;
    Ok(())
}

async fn next(backend: &mut MqttBackend) -> Input {
    poll_fn(|cx| backend.poll(cx)).await
}

async fn listen(
    ctx: &Context,
    root: &[String],
    backend: &mut MqttBackend,
) -> Result<Exit, CliError> {
    let mut parts = Assembler::new(AssemblerLimits::default());
    let started = now();
    loop {
        match next(backend).await {
            Input::Message { topic, payload } => {
                let below = topic.strip_prefix(root);
                if below.is_some_and(|rest| rest.first().is_some_and(is_own)) {
                    continue;
                }
                let known = match below {
                    Some([word]) => Topic::from_word(word),
                    _ => None,
                };
                let whole = match known {
                    Some(known) => {
                        let passed = u64::try_from(started.elapsed().as_micros());
                        let now = Timestamp(passed.unwrap_or(u64::MAX));
                        parts.take(known, &payload, now)
                    }
                    None => Ok(Some(payload.as_slice().into())),
                };
                let value = match whole {
                    Ok(None) => continue,
                    Ok(Some(whole)) => Value::decode(&whole).map_err(|why| why.to_string()),
                    Err(why) => Err(why.to_string()),
                };
                let value = value.unwrap_or_else(|why| {
                    Value::Map(vec![
                        ("_error".into(), why.into()),
                        ("_raw".into(), payload.clone().into()),
                    ])
                });
                ctx.show_record(&shown(ctx, value, topic))?;
                ctx.out.flush()?;
            }
            Input::Down => ctx
                .out
                .note("The connection to the broker is lost; trying on."),
            Input::Gap => ctx.out.note("Some messages were not heard."),
            _ => {}
        }
    }
}

#[allow(clippy::ptr_arg)] // as an item of a slice is handed over
fn is_own(level: &String) -> bool {
    level.starts_with(OWN_LEVEL)
}

/// A message as a record.
fn shown(ctx: &Context, value: Value, topic: Vec<String>) -> Value {
    let mut fields = match value {
        Value::Map(fields) => fields,
        value => vec![("_data".into(), value)],
    };
    let topic: Path = topic.into_iter().map(PathElem::from).collect();
    fields.push(("_topic".into(), ctx.path_field(topic)));
    fields.push(("_timestamp".into(), Dates::stamp().1.into()));
    Value::Map(fields)
}

/// What is to be sent of a record, and where it says so.
fn unwrapped(record: Value, root: &[String]) -> Result<(Option<Vec<String>>, Value), CliError> {
    let Value::Map(mut fields) = record else {
        return Ok((None, record));
    };
    fields.retain(|(key, _)| key.as_str() != Some("_timestamp"));
    let at = fields
        .iter()
        .position(|(key, _)| key.as_str() == Some("_topic"));
    let topic = match at.map(|at| fields.remove(at).1) {
        None => None,
        Some(Value::Path(path)) => Some(path.iter().map(PathElem::level).collect()),
        Some(Value::Str(text)) => Some(levels(&text, root)?),
        Some(_) => return Err(anyhow::anyhow!("_topic: not a path").into()),
    };
    let value = match fields.as_slice() {
        [(key, _)] if key.as_str() == Some("_data") => fields.remove(0).1,
        _ => Value::Map(fields),
    };
    Ok((topic, value))
}

/// Where messages to send come from.
struct Source<R> {
    input: R,
    /// One a line, as JSON
    lines: bool,
    number: u64,
}

impl<R: io::BufRead> Source<R> {
    fn next(&mut self) -> Result<Option<Value>, CliError> {
        loop {
            let mut text = String::new();
            let more = self.text(&mut text)?;
            if !text.trim().is_empty() {
                self.number += 1;
                let parsed = match self.lines {
                    true => json::parse(text.trim()).map_err(|e| e.to_string()),
                    false => yaml_in::parse(&text).map_err(|e| e.to_string()),
                };
                let wrong = |why| anyhow::anyhow!("message {}: {why}", self.number);
                return Ok(Some(parsed.map_err(wrong)?));
            }
            if !more {
                return Ok(None);
            }
        }
    }

    /// The text of one message. Returns whether there may be another one.
    fn text(&mut self, text: &mut String) -> Result<bool, CliError> {
        let mut input = self.input.by_ref().take(LONGEST);
        loop {
            let from = text.len();
            if input.read_line(text)? == 0 {
                if input.limit() == 0 {
                    return Err(anyhow::anyhow!("a message of more than {LONGEST} bytes").into());
                }
                return Ok(false);
            }
            let line = text.get(from..).unwrap_or_default().trim_end();
            if line == "---" {
                text.truncate(from);
                return Ok(true);
            }
            if self.lines {
                return Ok(true);
            }
        }
    }
}

#[allow(clippy::disallowed_methods)] // a command measures real time
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(levels: &[&str]) -> Vec<String> {
        levels.iter().map(|level| (*level).to_owned()).collect()
    }

    #[test]
    fn topics_are_typed_as_with_the_original() {
        let root = words(&["moat", "kv"]);
        for (typed, want) in [
            (":", &["moat", "kv", "update"][..]),
            ("+", &["moat", "kv", "#"]),
            ("+ping", &["moat", "kv", "ping"]),
            ("a.b", &["a", "b"]),
            ("a.+.#", &["a", "+", "#"]),
            ("+.b", &["+", "b"]),
            ("a:1", &["a", "1"]),
        ] {
            assert_eq!(levels(typed, &root).unwrap(), want, "{typed}");
        }
        assert!(levels("a..b", &root).is_err());
    }

    #[test]
    fn what_msg_prints_is_what_post_sends() {
        let root = words(&["r"]);
        let text = "a: 1\n_topic: !P x.y\n_timestamp: now\n---\n_data: 5\n---\n---\n[1, 2]\n";
        let mut source = Source {
            input: text.as_bytes(),
            lines: false,
            number: 0,
        };
        let mut sent = Vec::new();
        while let Some(message) = source.next().unwrap() {
            sent.push(unwrapped(message, &root).unwrap());
        }
        let one = Value::Map(vec![("a".into(), 1_u64.into())]);
        let list = Value::List(vec![1_u64.into(), 2_u64.into()]);
        let want = [
            (Some(words(&["x", "y"])), one),
            (None, 5_u64.into()),
            (None, list),
        ];
        assert_eq!(sent, want);

        let mut source = Source {
            input: &b"{\"a\":1,\"_topic\":\"+ping\"}\n\n{\n"[..],
            lines: true,
            number: 0,
        };
        let message = source.next().unwrap().unwrap();
        let (topic, _) = unwrapped(message, &root).unwrap();
        assert_eq!(topic, Some(words(&["r", "ping"])));
        assert!(source.next().is_err());
    }
}
