//! `data PATH get`, also without the word.

use clap::Args;

use crate::cli::context::{Context, Verbosity};
use crate::cli::exit::{CliError, Exit};
use crate::cli::show::{Shown, decode, decode_reply, map};
use crate::client::Entry;
use crate::event::{Depths, Links};
use crate::path::Path;
use crate::value::Value;

use super::dates::Dates;
use super::nested::{Nested, Nulls};

/// Read an entry or a subtree
#[derive(Args, Default)]
#[command(
    override_usage = "moat kv data PATH get [OPTIONS]",
    after_help = "Examples:\n  \
        moat kv data one.two get\n  \
        moat kv data one get -rd_\n  \
        moat kv --json data one get -r"
)]
pub(super) struct GetArgs {
    /// Read everything below PATH
    #[arg(short, long)]
    recursive: bool,

    /// Print a tree as nested map, with values at this key
    #[arg(short = 'd', long = "as-dict", value_name = "KEY")]
    own: Option<String>,

    /// At most that many levels below PATH
    #[arg(
        short,
        long = "maxdepth",
        value_name = "N",
        allow_negative_numbers = true
    )]
    max: Option<i64>,

    /// At least that many levels below PATH
    #[arg(
        short = 'M',
        long = "mindepth",
        value_name = "N",
        allow_negative_numbers = true
    )]
    min: Option<i64>,

    /// Also print entries without a value
    #[arg(short, long)]
    empty: bool,

    /// Print text and bytes as they are; of a tree, only paths
    #[arg(short = 'R', long)]
    raw: bool,

    /// Show times as date, too
    #[arg(short = 'D', long = "add-date")]
    dates: bool,

    /// Fail if there is no value
    #[arg(long)]
    strict: bool,
}

pub(super) async fn run(ctx: &Context, path: &Path, args: &GetArgs) -> Result<Exit, CliError> {
    let dates = args.dates.then(Dates::now);
    if args.recursive {
        tree(ctx, path, args, dates.as_ref()).await
    } else {
        entry(ctx, path, args, dates.as_ref()).await
    }
}

async fn entry(
    ctx: &Context,
    path: &Path,
    args: &GetArgs,
    dates: Option<&Dates>,
) -> Result<Exit, CliError> {
    let client = ctx.connect().await?;
    let links = links(ctx);
    let reply = client.get(path).links(links).reply().await?;
    let missing = reply.field("value").is_none();
    let mut shown = if ctx.metadata {
        decode_reply(&reply)?
    } else if let Some(encoded) = reply.field("value") {
        decode(encoded)?
    } else {
        if ctx.verbosity > Verbosity::Quiet {
            ctx.out.note(&format!("No data at {path}"));
        }
        return Ok(absent(args));
    };
    if let Some(dates) = dates {
        date(&mut shown, ctx.metadata, dates);
    }
    if args.raw {
        ctx.show_raw(&shown)?;
    } else {
        ctx.show(&shown)?;
    }
    Ok(if missing { absent(args) } else { Exit::Success })
}

fn absent(args: &GetArgs) -> Exit {
    if args.strict {
        Exit::Failure
    } else {
        Exit::Success
    }
}

/// Dates the value, not what the reply says beside it.
fn date(shown: &mut Value, whole_reply: bool, dates: &Dates) {
    match shown {
        Value::Map(fields) if whole_reply => fields
            .iter_mut()
            .filter(|(key, _)| key.as_str() == Some("value"))
            .for_each(|(_, value)| dates.add(value)),
        value => dates.add(value),
    }
}

/// The links to ask for: one, if they are shown.
pub(super) fn links(ctx: &Context) -> Links {
    if ctx.metadata {
        Links::Newest(1)
    } else {
        Links::None
    }
}

/// The levels that `-M` and `-m` name.
pub(super) fn depths(min: Option<i64>, max: Option<i64>) -> Depths {
    let level = |n: i64| u32::try_from(n).ok();
    Depths {
        min: min.and_then(level).unwrap_or(0),
        max: max.and_then(level).unwrap_or(u32::MAX),
    }
}

async fn tree(
    ctx: &Context,
    path: &Path,
    args: &GetArgs,
    dates: Option<&Dates>,
) -> Result<Exit, CliError> {
    let client = ctx.connect().await?;
    let mut request = client
        .tree(path)
        .links(links(ctx))
        .depths(depths(args.min, args.max));
    if args.empty {
        request = request.empty();
    }
    let mut tree = request.await?;
    let mut nested = args.own.as_ref().map(|_| Nested::default());
    let mut found = false;
    while let Some(entry) = tree.next().await {
        let entry = entry?;
        found |= entry.has_value();
        if args.raw && nested.is_none() {
            show_path(ctx, entry.path)?;
            continue;
        }
        let shown = shown(ctx, &entry, dates)?;
        let shown = shown.or_else(|| args.empty.then_some(Shown::Value(Value::Nil)));
        match (&mut nested, shown) {
            (Some(nested), shown) => {
                let value = shown.map(|shown| match shown {
                    Shown::Value(value) => value,
                    Shown::Fields(fields) => Value::Map(fields),
                });
                nested.insert(&entry.path, value);
            }
            (None, Some(shown)) => ctx.show_item(ctx.item(entry.path, shown))?,
            (None, None) => {}
        }
    }
    if let (Some(nested), Some(own)) = (nested, &args.own) {
        let nulls = match args.max {
            None | Some(0) => Nulls::Keep,
            Some(_) => Nulls::Fold,
        };
        ctx.show(&nested.into_map(own, nulls)?)?;
    }
    Ok(if found { Exit::Success } else { absent(args) })
}

/// Prints only where an entry is.
pub(super) fn show_path(ctx: &Context, path: Path) -> Result<(), CliError> {
    if ctx.json {
        ctx.show_item(map([("path", ctx.path_field(path))]))
    } else {
        ctx.show_item(path.into())
    }
}

/// What is shown of an entry: its value, or all that is known of it.
fn shown(ctx: &Context, entry: &Entry, dates: Option<&Dates>) -> Result<Option<Shown>, CliError> {
    let mut value = entry.value()?;
    if let (Some(value), Some(dates)) = (&mut value, dates) {
        dates.add(value);
    }
    if !ctx.metadata {
        return Ok(value.map(Shown::Value));
    }
    let mut fields: Vec<(Value, Value)> = Vec::new();
    if let Some(value) = value {
        fields.push(("value".into(), value));
    }
    if let Some(chain) = &entry.chain {
        fields.push(("chain".into(), chain.to_value()));
    }
    fields.push(("tock".into(), entry.tock.0.into()));
    Ok(Some(Shown::Fields(fields)))
}
