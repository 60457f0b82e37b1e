//! `moat util`: what scripts ask, without a server.

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::literal::{self, Integer, Literal};
use crate::path::{Path, PathElem};

use super::args::Global;
use super::context;
use super::exit::{CliError, Exit};
use super::out::Out;

/// Look at the configuration and at paths
#[derive(Args)]
#[command(after_help = "Examples:\n  \
        moat util cfg kv.conn.host\n  \
        moat util path -d a.b:3")]
pub(super) struct UtilArgs {
    #[command(subcommand)]
    command: Option<UtilCommand>,
}

#[derive(Subcommand)]
enum UtilCommand {
    /// Print items of the configuration
    Cfg(CfgArgs),
    /// Show what a path consists of, or write one
    Path(PathArgs),
}

/// Print items of the configuration
#[derive(Args)]
#[command(after_help = "Examples:\n  \
        moat util cfg kv.conn.host\n  \
        moat -c moat.cfg util cfg kv.server\n  \
        moat util cfg :")]
struct CfgArgs {
    /// Print nothing, instead of failing, if an item doesn't exist
    #[arg(short, long)]
    empty: bool,

    /// Print scalars as YAML too
    #[arg(short, long)]
    yaml: bool,

    /// The item, as a path; ":" for everything
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<Path>,
}

/// Show what a path consists of, or write one
#[derive(Args)]
#[command(
    override_usage = "moat util path -d PATH...\n       moat util path -e EXPR...",
    after_help = "Examples:\n  \
        moat util path -d a.b:3\n  \
        moat util path -e \"['a', 'b', 3]\""
)]
struct PathArgs {
    /// Print each path as the list of its elements
    #[arg(short, long, conflicts_with = "encode")]
    decode: bool,

    /// Evaluate a list of elements and print the path
    #[arg(short, long)]
    encode: bool,

    /// Paths, or an expression
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<String>,
}

pub(super) fn run(
    args: UtilArgs,
    global: &Global,
    names: &[String],
    out: &Out,
) -> Result<Exit, CliError> {
    match args.command {
        None => super::usage::help(names, out),
        Some(UtilCommand::Cfg(args)) => cfg(&args, global, out),
        Some(UtilCommand::Path(args)) => path(&args, out),
    }
}

fn cfg(args: &CfgArgs, global: &Global, out: &Out) -> Result<Exit, CliError> {
    let loaded = context::load(global, &[])?;
    for (n, key) in args.keys.iter().enumerate() {
        if n > 0 && args.yaml {
            out.line("---")?;
        }
        match loaded.get(key).map_err(CliError::setup)? {
            Some(value) => print_item(value, args.yaml, global.json, out)?,
            None if args.empty => {}
            None => {
                out.note(&format!("Unknown: {key}"));
                return Ok(Exit::Failure);
            }
        }
    }
    Ok(Exit::Success)
}

/// Prints an item; scalars as they are, so that a script can use them.
fn print_item(item: serde_json::Value, yaml: bool, json: bool, out: &Out) -> Result<(), CliError> {
    use serde_json::Value as Json;

    if json {
        let text = serde_json::to_string(&item).context("can't write JSON")?;
        return out.line(&text);
    }
    match item {
        Json::String(text) if !yaml => out.line(&text),
        Json::Number(number) if !yaml => out.line(&number.to_string()),
        Json::Bool(true) if !yaml => out.line("True"),
        Json::Bool(false) if !yaml => out.line("False"),
        Json::Object(map) if !yaml && map.len() == 1 && map.contains_key("$path") => {
            out.line(map.get("$path").and_then(Json::as_str).unwrap_or_default())
        }
        item => out.text(&serde_yaml::to_string(&tagged(item)).context("can't write YAML")?),
    }
}

/// Paths get their tag.
fn tagged(item: serde_json::Value) -> serde_yaml::Value {
    use serde_json::Value as Json;
    use serde_yaml::Value as Yaml;
    use serde_yaml::value::{Tag, TaggedValue};

    match item {
        Json::Object(map) => match map.get("$path") {
            Some(Json::String(path)) => Yaml::Tagged(Box::new(TaggedValue {
                tag: Tag::new("P"),
                value: Yaml::String(path.clone()),
            })),
            _ => Yaml::Mapping(
                map.into_iter()
                    .map(|(k, v)| (k.into(), tagged(v)))
                    .collect(),
            ),
        },
        Json::Array(items) => Yaml::Sequence(items.into_iter().map(tagged).collect()),
        Json::String(text) => Yaml::String(text),
        Json::Bool(b) => Yaml::Bool(b),
        Json::Null => Yaml::Null,
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(n), _) => Yaml::Number(n.into()),
            (None, Some(x)) => Yaml::Number(x.into()),
            (None, None) => Yaml::String(number.to_string()),
        },
    }
}

fn path(args: &PathArgs, out: &Out) -> Result<Exit, CliError> {
    if args.decode {
        for text in &args.texts {
            let path: Path = text
                .parse()
                .map_err(|error| CliError::usage(format!("{text}: {error}")))?;
            out.line(&elements(&path).to_string())?;
        }
        return Ok(Exit::Success);
    }
    if !args.encode {
        return Err(CliError::usage("Need -e or -d option."));
    }
    let expression = args.texts.join(" ");
    let path: Path = match literal::eval(&expression) {
        Ok(Literal::List(items) | Literal::Tuple(items)) => to_elements(items)?.into(),
        Ok(other) => to_elements(vec![other])?.into(),
        // As in the original: words that are no expression are the elements.
        Err(error) => {
            out.note(&format!("SyntaxError: {error}"));
            args.texts.iter().map(String::as_str).collect()
        }
    };
    out.line(&path.to_string())?;
    Ok(Exit::Success)
}

/// The elements as Python writes them.
fn elements(path: &Path) -> Literal {
    Literal::List(path.iter().map(to_literal).collect())
}

// Both recurse no deeper than a path may nest.
fn to_literal(element: &PathElem) -> Literal {
    match element {
        PathElem::Nil => Literal::None,
        PathElem::Bool(b) => Literal::Bool(*b),
        PathElem::Int(n) => Literal::Int((*n).into()),
        PathElem::Uint(n) => Literal::Int((*n).into()),
        PathElem::Big(n) => Literal::Int(n.clone().into()),
        PathElem::Float(x) => Literal::Float(*x),
        PathElem::Str(text) => Literal::Str(text.to_string()),
        PathElem::Bytes(bytes) | PathElem::Ext(_, bytes) => Literal::Bytes(bytes.to_vec()),
        PathElem::Tuple(items) => Literal::Tuple(items.iter().map(to_literal).collect()),
        PathElem::Path(path) => Literal::Tuple(path.iter().map(to_literal).collect()),
    }
}

fn to_element(literal: Literal) -> Result<PathElem, CliError> {
    Ok(match literal {
        Literal::None => PathElem::Nil,
        Literal::Bool(b) => PathElem::Bool(b),
        Literal::Int(n) => Integer::try_from(n)
            .map_err(|error| CliError::usage(error.to_string()))?
            .into(),
        Literal::Float(x) if !x.is_nan() => PathElem::Float(x),
        Literal::Str(text) => text.into(),
        Literal::Bytes(bytes) => PathElem::Bytes(bytes.into()),
        Literal::Tuple(items) => to_elements(items)?.into(),
        other => {
            let what = format!("{} can't be part of a path.", other.kind());
            return Err(CliError::usage(what));
        }
    })
}

fn to_elements(literals: Vec<Literal>) -> Result<Vec<PathElem>, CliError> {
    literals.into_iter().map(to_element).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_its_elements_are_inverse() {
        for text in ["a.b:3", ":", ":n:t:1:.5", ":v00.x", ":(1,'a')"] {
            let path: Path = text.parse().unwrap();
            let Literal::List(literals) = elements(&path) else {
                panic!("elements are a list");
            };
            assert_eq!(Path::from(to_elements(literals).unwrap()), path, "{text}");
        }
    }
}
