//! `data PATH set`: whole values and parts of them.
//!
//! A whole value is written without a look at what is there: the right to
//! write suffices. To change a part, the entry is read, changed and written
//! on the condition that nobody has changed it meanwhile; if somebody has,
//! this is repeated.

use std::fs::File;
use std::io::{self, Read};

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::client::{Client, Error, Message, Write};
use crate::event::{Links, NamedLink, NodeName, Tick};
use crate::path::{Path, PathElem};
use crate::text::{eval, json, yaml_in};
use crate::value::Value;

use super::get::links;
use super::unreadable;

/// Attempts to change a part while others change the entry.
const ATTEMPTS: usize = 10;
/// Greatest value that is read from a file, in bytes; servers take less.
const MAX_FILE: u64 = 64 << 20;

/// Write an entry, or parts of its value
#[derive(Args)]
#[command(
    override_usage = "moat kv data PATH set [OPTIONS]",
    after_help = "Examples:\n  \
        moat kv data one.two set -e : 42\n  \
        moat kv data lamp set -v name Kitchen -e level 0.7 -p at house.kitchen\n  \
        moat kv data lamp set -e level -\n  \
        moat kv data big set --from value.yaml"
)]
pub(super) struct SetArgs {
    /// Set the part at P (":" for all of it) to a text
    #[arg(short, long = "var", num_args = 2, value_names = ["P", "TEXT"], allow_hyphen_values = true)]
    var: Vec<String>,

    /// Set a part to what an expression yields; "-" deletes it
    #[arg(short, long, num_args = 2, value_names = ["P", "EXPR"], allow_hyphen_values = true)]
    eval: Vec<String>,

    /// Set a part to a path
    #[arg(short, long, num_args = 2, value_names = ["P", "PATH"], allow_hyphen_values = true)]
    path: Vec<String>,

    /// Read the whole value from a file ("-": standard input), YAML or JSON
    #[arg(long, value_name = "FILE")]
    from: Option<String>,

    /// With --from: the file's content itself is the value
    #[arg(short = 'R', long, requires = "from")]
    raw: bool,

    /// Only if this is the last change
    #[arg(short, long, num_args = 2, value_names = ["NODE", "TICK"])]
    last: Option<Vec<String>>,

    /// Only if there is no value
    #[arg(short, long)]
    new: bool,
}

/// A change of a part; without value it is removed.
struct Part {
    at: Path,
    value: Option<Value>,
}

/// What must be so for a write to be done.
enum Condition {
    None,
    New,
    Link(NamedLink),
}

pub(super) async fn run(ctx: &Context, path: &Path, args: &SetArgs) -> Result<Exit, CliError> {
    let condition = match (&args.last, args.new) {
        (None, false) => Condition::None,
        (None, true) => Condition::New,
        (Some(last), false) => Condition::Link(link(last)?),
        (Some(_), true) => {
            let wrong = "'new' and 'last' are mutually exclusive";
            return Err(CliError::usage(wrong));
        }
    };
    let parts = parts(args)?;
    let whole = parts.iter().filter(|part| part.at.is_empty()).count();
    match (parts.len(), whole) {
        (0, _) => return Err(CliError::usage("Nothing to set: use -v, -e, -p or --from")),
        (_, 0 | 1) => {}
        _ => return Err(CliError::usage("The whole value can be set only once")),
    }
    let client = ctx.connect().await?;
    let from_nothing = whole > 0 || matches!(condition, Condition::New);
    let reply = if from_nothing {
        let value = apply(None, &parts)?;
        write(ctx, &client, path, value.as_ref(), &condition)
            .await?
            .reply()
            .await?
    } else {
        change(ctx, &client, path, &parts, &condition).await?
    };
    if ctx.metadata {
        ctx.show_reply(&reply)?;
    }
    Ok(Exit::Success)
}

/// Changes parts of what is there.
async fn change(
    ctx: &Context,
    client: &Client,
    path: &Path,
    parts: &[Part],
    condition: &Condition,
) -> Result<Message, CliError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let old = client.get(path).links(Links::Newest(1)).await?;
        let value = apply(old.value()?, parts)?;
        let seen = match (condition, old.has_value(), &old.chain) {
            (Condition::Link(link), ..) => Condition::Link(link.clone()),
            (_, true, Some(chain)) => Condition::Link(chain.head().clone()),
            _ => Condition::New,
        };
        let reply = write(ctx, client, path, value.as_ref(), &seen).await?;
        match reply.reply().await {
            Err(Error::Server(refusal))
                if refusal.text.starts_with("ClientChainError")
                    && matches!(condition, Condition::None)
                    && attempts < ATTEMPTS => {}
            result => return Ok(result?),
        }
    }
}

/// Sends the write.
async fn write(
    ctx: &Context,
    client: &Client,
    path: &Path,
    value: Option<&Value>,
    condition: &Condition,
) -> Result<crate::client::Sent, CliError> {
    let write: Write<'_> = match value {
        Some(value) => client.set(path, value),
        None => client.delete(path),
    };
    let write = match condition {
        Condition::None => write,
        Condition::New => write.if_new(),
        Condition::Link(link) => write.if_link(link),
    };
    Ok(write.links(links(ctx)).send().await?)
}

/// The value after all changes; `None` deletes the entry.
fn apply(old: Option<Value>, parts: &[Part]) -> Result<Option<Value>, CliError> {
    let mut value = old;
    for Part { at, value: new } in parts {
        match new {
            _ if at.is_empty() => value.clone_from(new),
            None => {
                if let Some(value) = &mut value {
                    value.remove(at.elements());
                }
            }
            Some(new) => {
                let whole = value.get_or_insert_with(|| Value::Map(Vec::new()));
                let has_parts = match whole {
                    Value::Map(_) => true,
                    Value::List(_) => matches!(at.first(), Some(PathElem::Int(_))),
                    _ => false,
                };
                if !has_parts {
                    *whole = Value::Map(Vec::new());
                }
                let set = whole.set(at.elements(), new.clone());
                set.map_err(|error| anyhow::anyhow!("cannot set '{at}': {error}"))?;
            }
        }
    }
    Ok(value)
}

/// The changes in the order in which they are made: `--from`, all of `-v`,
/// all of `-e`, all of `-p`.
fn parts(args: &SetArgs) -> Result<Vec<Part>, CliError> {
    let mut parts = Vec::new();
    if let Some(file) = &args.from {
        parts.push(Part {
            at: Path::default(),
            value: Some(read_value(file, args.raw)?),
        });
    }
    for (option, pairs) in [
        ("'-v' / '--var'", &args.var),
        ("'-e' / '--eval'", &args.eval),
        ("'-p' / '--path'", &args.path),
    ] {
        let wrong = |why: String| CliError::usage(format!("Invalid value for {option}: {why}"));
        for pair in pairs.chunks(2) {
            let [at, text] = pair else { continue };
            let at: Path = at.parse().map_err(|e| wrong(format!("'{at}': {e}")))?;
            let value = match option.as_bytes().get(2) {
                Some(b'v') => Some(Value::Str(text.clone())),
                Some(b'e') if text == "-" => None,
                Some(b'e') if text == "/" => {
                    let wrong = "A slash value doesn't work here.";
                    return Err(CliError::usage(wrong));
                }
                Some(b'e') => Some(eval::eval(text).map_err(|e| wrong(e.to_string()))?),
                _ => {
                    let path: Path = text.parse().map_err(|e| wrong(format!("'{text}': {e}")))?;
                    Some(path.into())
                }
            };
            parts.push(Part { at, value });
        }
    }
    Ok(parts)
}

/// The link that `-l NODE TICK` names.
pub(super) fn link(last: &[String]) -> Result<NamedLink, CliError> {
    let [node, tick] = last else {
        return Err(CliError::usage(
            "Option '-l' / '--last' requires 2 arguments.",
        ));
    };
    let tick = tick.parse().map_err(|_| {
        let wrong = format!("'{tick}' is not a valid integer.");
        CliError::usage(format!("Invalid value for '-l' / '--last': {wrong}"))
    })?;
    Ok(NamedLink {
        node: NodeName::new(node),
        tick: Tick(tick),
    })
}

/// Reads a value from a file.
fn read_value(file: &str, raw: bool) -> Result<Value, CliError> {
    let failed = |error| unreadable(file, &error);
    let source: Box<dyn Read> = if file == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file).map_err(failed)?)
    };
    let mut bytes = Vec::new();
    let limit = MAX_FILE.saturating_add(1);
    source.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|n| n > MAX_FILE) {
        return Err(anyhow::anyhow!("{file}: more than {MAX_FILE} bytes").into());
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if raw => return Ok(Value::Bytes(error.into_bytes())),
        Err(_) => return Err(anyhow::anyhow!("{file}: no text (use -R for bytes)").into()),
    };
    if raw {
        return Ok(Value::Str(text));
    }
    // JSON has a form for what YAML has tags for
    if text.trim_start().starts_with(['{', '['])
        && let Ok(value) = json::parse(&text)
    {
        return Ok(value);
    }
    yaml_in::parse(&text).map_err(|error| anyhow::anyhow!("{file}: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply_json(old: &str, parts: &[(&str, Option<&str>)]) -> String {
        let parts: Vec<Part> = parts
            .iter()
            .map(|(at, value)| Part {
                at: at.parse().unwrap(),
                value: value.map(|value| json::parse(value).unwrap()),
            })
            .collect();
        let old = (!old.is_empty()).then(|| json::parse(old).unwrap());
        let new = apply(old, &parts).unwrap();
        new.map_or_else(|| "deleted".to_owned(), |new| json::line(&new))
    }

    #[test]
    fn parts_change_nothing_else() {
        let old = r#"{"a":{"b":1},"c":2}"#;
        let set = [("a.d", Some("3"))];
        assert_eq!(apply_json(old, &set), r#"{"a":{"b":1,"d":3},"c":2}"#);
        assert_eq!(apply_json(old, &[("a.b", None)]), r#"{"a":{},"c":2}"#);
        assert_eq!(apply_json(r#"{"x":1}"#, &[("x", None)]), "{}");
        assert_eq!(apply_json(old, &[("z", None)]), old);
    }

    #[test]
    fn what_is_in_the_way_becomes_a_map() {
        assert_eq!(apply_json("5", &[("a", Some("1"))]), r#"{"a":1}"#);
        assert_eq!(apply_json("[1,2]", &[("x", Some("1"))]), r#"{"x":1}"#);
        assert_eq!(apply_json("[1,2]", &[(":1", Some("3"))]), "[1,3]");
        let both = [("a", Some("2")), ("a.b.c", Some("1"))];
        assert_eq!(apply_json("", &both), r#"{"a":{"b":{"c":1}}}"#);
    }

    #[test]
    fn the_whole_can_be_replaced_or_deleted() {
        assert_eq!(apply_json("{}", &[(":", Some("1"))]), "1");
        assert_eq!(apply_json("{}", &[(":", None)]), "deleted");
        let both = [(":", Some(r#""x""#)), ("a", Some("1"))];
        assert_eq!(apply_json("", &both), r#"{"a":1}"#);
    }

    #[test]
    fn odd_names_of_parts_are_names() {
        let odd = [("a:1", Some("5")), (":n", Some("3")), ("x:e", Some("4"))];
        assert_eq!(
            apply_json("", &odd),
            r#"{"$map":[["a",{"$map":[[1,5]]}],[null,3],["x",{"":4}]]}"#
        );
    }
}
