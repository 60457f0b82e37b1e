//! `data PATH export`: a subtree in a form that `data update` reads.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::show::map;
use crate::msgpack::{EXT_PATH, write};
use crate::path::Path;
use crate::text::json;

/// Print a subtree for `data update`
#[derive(Args)]
#[command(
    override_usage = "moat kv data PATH export [OPTIONS]",
    after_help = "Examples:\n  \
        moat kv data one export >one.jsonl\n  \
        moat kv data one export --raw >one.msgpack\n  \
        moat kv data one export | moat kv -h other.example data one update -i -"
)]
pub(super) struct ExportArgs {
    /// Records as msgpack, instead of JSON lines
    #[arg(short = 'R', long)]
    raw: bool,
}

pub(super) async fn run(ctx: &Context, path: &Path, args: &ExportArgs) -> Result<Exit, CliError> {
    let client = ctx.connect().await?;
    let mut tree = client.tree(path).await?;
    while let Some(entry) = tree.next().await {
        let entry = entry?;
        let Some(encoded) = entry.encoded() else {
            continue;
        };
        if args.raw {
            let path = entry.path.encode();
            let elements = path.as_ref();
            let mut record = Vec::with_capacity(encoded.len().saturating_add(64));
            write::map(&mut record, 2);
            write::str(&mut record, "path");
            write::ext(&mut record, EXT_PATH, elements.bytes().len());
            record.extend_from_slice(elements.bytes());
            write::str(&mut record, "value");
            record.extend_from_slice(encoded);
            ctx.out.bytes(&record)?;
        } else if let Some(value) = entry.value()? {
            let path = entry.path.to_string().into();
            let record = map([("path", path), ("value", value)]);
            ctx.out.line(&json::line(&record))?;
        }
    }
    Ok(Exit::Success)
}
