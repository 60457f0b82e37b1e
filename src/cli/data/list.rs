//! `data PATH list`: the names below an entry.
//!
//! Servers make nodes without a value for their own purposes. Such a node is
//! listed only if there is a value below it, which is asked for where the
//! listing itself does not show it; all these questions are under way at
//! once.

use clap::Args;
use tokio::task::JoinSet;

use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::client::{Client, Entry, Error};
use crate::path::{Path, PathElem};
use crate::value::Value;

use super::get::{depths, show_path};
use super::nested::{Nested, Nulls};

/// Questions under way at once.
const PROBES: usize = 256;

/// List the names below an entry
#[derive(Args)]
#[command(
    override_usage = "moat kv data PATH list [OPTIONS]",
    after_help = "Examples:\n  \
        moat kv data one list\n  \
        moat kv data : list -m 2\n  \
        moat kv data one list -d_"
)]
pub(super) struct ListArgs {
    /// Print a nested map, with values at this key
    #[arg(short = 'd', long = "as-dict", value_name = "KEY")]
    own: Option<String>,

    /// At most that many levels below PATH
    #[arg(
        short,
        long = "maxdepth",
        value_name = "N",
        default_value_t = 1,
        allow_negative_numbers = true
    )]
    max: i64,

    /// At least that many levels below PATH
    #[arg(
        short = 'M',
        long = "mindepth",
        value_name = "N",
        default_value_t = 1,
        allow_negative_numbers = true
    )]
    min: i64,
}

pub(super) async fn run(ctx: &Context, path: &Path, args: &ListArgs) -> Result<Exit, CliError> {
    let client = ctx.connect().await?;
    let depths = depths(Some(args.min), Some(args.max));
    let mut tree = client.tree(path).depths(depths).empty().await?;
    let mut entries = Vec::new();
    while let Some(entry) = tree.next().await {
        let entry = entry?;
        // what is below null belongs to the server
        let internal = path.is_empty() && entry.path.first() == Some(&PathElem::Nil);
        if !internal {
            entries.push(entry);
        }
    }
    let entries = with_values(&client, path, entries).await?;
    match &args.own {
        Some(own) => {
            let mut nested = Nested::default();
            for entry in entries {
                nested.insert(&entry.path, Some(entry.value()?.unwrap_or(Value::Nil)));
            }
            let nulls = match args.max {
                0 => Nulls::Keep,
                _ => Nulls::Fold,
            };
            ctx.show(&nested.into_map(own, nulls)?)?;
        }
        None => {
            for entry in entries {
                show_path(ctx, entry.path)?;
            }
        }
    }
    Ok(Exit::Success)
}

/// Those that have a value, or one below them; parents stand before their
/// children.
async fn with_values(
    client: &Client,
    base: &Path,
    entries: Vec<Entry>,
) -> Result<Vec<Entry>, Error> {
    let mut kept = vec![false; entries.len()];
    let mut probes = JoinSet::new();
    // backwards: an entry's descendants stand behind it, up to its next sibling
    let mut shown_below: Option<&Path> = None;
    let keep = |place: usize, kept: &mut Vec<bool>| {
        if let Some(kept) = kept.get_mut(place) {
            *kept = true;
        }
    };
    for (place, entry) in entries.iter().enumerate().rev() {
        let known = shown_below.is_some_and(|below| below.starts_with(&entry.path));
        if known || entry.has_value() {
            keep(place, &mut kept);
            shown_below = Some(&entry.path);
            continue;
        }
        if probes.len() >= PROBES
            && let Some(Ok(probed)) = probes.join_next().await
        {
            let (place, found): (usize, bool) = probed?;
            if found {
                keep(place, &mut kept);
            }
        }
        let client = client.clone();
        let path = base.join(&entry.path);
        probes.spawn(async move { Ok::<_, Error>((place, has_values(&client, &path).await?)) });
    }
    while let Some(Ok(probed)) = probes.join_next().await {
        let (place, found) = probed?;
        if found {
            keep(place, &mut kept);
        }
    }
    let both = entries.into_iter().zip(kept);
    Ok(both
        .filter_map(|(entry, kept)| kept.then_some(entry))
        .collect())
}

/// Whether there is a value at or below the path.
async fn has_values(client: &Client, path: &Path) -> Result<bool, Error> {
    let mut tree = client.tree(path).await?;
    match tree.next().await {
        Some(Ok(_)) => Ok(true),
        // it may be gone meanwhile
        None | Some(Err(Error::Server(_))) => Ok(false),
        Some(Err(error)) => Err(error),
    }
}
