//! `data PATH delete`.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::show::{decode, map};
use crate::event::Links;
use crate::path::Path;
use crate::text::eval;
use crate::value::Value;

use super::get::links;
use super::set::link;

/// Delete an entry or a subtree
#[derive(Args)]
#[command(
    override_usage = "moat kv data PATH delete [OPTIONS]",
    after_help = "Examples:\n  \
        moat kv data one.two delete\n  \
        moat kv data one.two delete -e -p 42\n  \
        moat kv -m data one delete -r"
)]
pub(super) struct DeleteArgs {
    /// Only if this is the value (better use -l)
    #[arg(short, long, value_name = "VALUE", allow_hyphen_values = true)]
    prev: Option<String>,

    /// The value of -p is an expression
    #[arg(short, long)]
    eval: bool,

    /// Only if this is the last change
    #[arg(short, long, num_args = 2, value_names = ["NODE", "TICK"])]
    last: Option<Vec<String>>,

    /// Delete everything below PATH, too
    #[arg(short, long)]
    recursive: bool,

    /// Delete from the internal tree: dangerous
    #[arg(long)]
    internal: bool,
}

pub(super) async fn run(ctx: &Context, path: &Path, args: &DeleteArgs) -> Result<Exit, CliError> {
    let prev = match (&args.prev, args.eval) {
        (None, false) => None,
        (None, true) => {
            let need = "You need to add a value that can be evaluated";
            return Err(CliError::usage(need));
        }
        (Some(text), false) => Some(Value::Str(text.clone())),
        (Some(text), true) => Some(eval::eval(text).map_err(|error| {
            CliError::usage(format!("Invalid value for '-p' / '--prev': {error}"))
        })?),
    };
    let last = args.last.as_deref().map(link).transpose()?;
    if args.recursive {
        if prev.is_some() || last.is_some() {
            let wrong = "You can't use a prev value when deleting recursively.";
            return Err(CliError::usage(wrong));
        }
        if args.internal {
            let wrong = "'internal' and 'recursive' are mutually exclusive";
            return Err(CliError::usage(wrong));
        }
        return tree(ctx, path).await;
    }
    let client = ctx.connect().await?;
    let mut delete = client.delete(path).links(links(ctx));
    if let Some(prev) = &prev {
        delete = delete.if_value(prev);
    }
    if let Some(last) = &last {
        delete = delete.if_link(last);
    }
    if args.internal {
        delete = delete.internal();
    }
    let reply = delete.send().await?.reply().await?;
    if ctx.metadata {
        ctx.show_reply(&reply)?;
    }
    Ok(Exit::Success)
}

async fn tree(ctx: &Context, path: &Path) -> Result<Exit, CliError> {
    let client = ctx.connect().await?;
    if !ctx.metadata {
        client.delete_tree(path).await?;
        return Ok(Exit::Success);
    }
    let mut deleted = client.delete_tree(path).entries(Links::Newest(1)).await?;
    while let Some(entry) = deleted.next().await {
        let entry = entry?;
        let mut record = map([
            ("path", ctx.path_field(path.join(&entry.path))),
            ("tock", entry.tock.0.into()),
        ]);
        if let Value::Map(fields) = &mut record {
            if let Some(chain) = &entry.chain {
                fields.push(("chain".into(), chain.to_value()));
            }
            if let Some(prev) = &entry.prev {
                fields.push(("old_value".into(), decode(prev)?));
            }
        }
        ctx.show_record(&record)?;
    }
    Ok(Exit::Success)
}
