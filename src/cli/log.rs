//! `moat kv log …`: the state files that a server writes.

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::client::Fields;
use crate::event::LogInfo;
use crate::value::Value;

use super::context::Context;
use super::exit::{CliError, Exit};
use super::show::map;

mod rotate;

/// Have a server write its state and its changes to files
#[derive(Args)]
#[command(
    override_usage = "moat kv log COMMAND [ARGS]...",
    subcommand_value_name = "COMMAND",
    after_help = "Examples:\n  \
        moat kv log dest /var/lib/moat/kv/$(date +%Y%m%d).state\n  \
        moat kv log dest -i /var/lib/moat/kv/$(date +%Y%m%d-%H%M).state\n  \
        moat kv log save -f backup.state\n  \
        moat kv log rotate --dir /var/lib/moat/kv\n  \
        moat kv log list\n  \
        moat kv log stop"
)]
pub(super) struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Subcommand)]
enum LogCommand {
    /// Write the state to a file, then all changes
    Dest(DestArgs),
    /// Write the state to a file, once
    Save(SaveArgs),
    /// Go on in the next file of a directory of rotated ones
    Rotate(rotate::RotateArgs),
    /// Write no more changes
    Stop(StopArgs),
    /// Show which files are written
    List(ListArgs),
}

/// Write the state to a file, then all changes
///
/// The server opens the file: with its own rights, and relative to the
/// directory that it runs in. A file that was written to before is complete
/// when the new one is: nothing is missing between them.
#[derive(Args)]
#[command(
    override_usage = "moat kv log dest [OPTIONS] FILE",
    after_help = "Examples:\n  \
        moat kv log dest /var/lib/moat/kv/$(date +%Y%m%d).state\n  \
        moat kv log dest -i /var/lib/moat/kv/$(date +%Y%m%d-%H%M).state"
)]
struct DestArgs {
    /// Write only changes
    #[arg(short, long)]
    incremental: bool,
    /// Write the state only, as "log save -f"
    #[arg(short, long, conflicts_with = "incremental")]
    once: bool,
    /// The file, on the server's machine
    #[arg(value_name = "FILE")]
    file: String,
}

/// Write the state to a file, once
#[derive(Args)]
#[command(
    override_usage = "moat kv log save [OPTIONS] FILE",
    after_help = "Example:\n  moat kv log save -f backup.state"
)]
struct SaveArgs {
    /// Write internal data as well: users, rules, types
    #[arg(short, long)]
    full: bool,
    /// The file, on the server's machine
    #[arg(value_name = "FILE")]
    file: String,
}

/// Write no more changes
#[derive(Args)]
#[command(
    override_usage = "moat kv log stop",
    after_help = "Example:\n  moat kv log stop"
)]
struct StopArgs {}

/// Show which files are written
#[derive(Args)]
#[command(
    override_usage = "moat kv log list",
    after_help = "Examples:\n  moat kv log list\n  moat kv --json log list | jq .path"
)]
struct ListArgs {}

pub(super) async fn run(ctx: &Context, args: &LogArgs) -> Result<Exit, CliError> {
    let client = ctx.connect().await?;
    let mut fields = Fields::new();
    let (action, file) = match &args.command {
        LogCommand::List(ListArgs {}) => {
            let info = client.log_info().await?;
            let info = info.context("this server does not say what it writes")?;
            ctx.show(&described(&info))?;
            return Ok(Exit::Success);
        }
        LogCommand::Rotate(args) => {
            rotate::run(ctx, &client, args).await?;
            return Ok(Exit::Success);
        }
        LogCommand::Stop(StopArgs {}) => {
            fields.nil("path");
            ("log", None)
        }
        LogCommand::Dest(args) if !args.once => {
            fields.bool("fetch", !args.incremental);
            ("log", Some(&args.file))
        }
        LogCommand::Dest(DestArgs { file, .. }) => {
            fields.bool("full", true);
            ("save", Some(file))
        }
        LogCommand::Save(args) => {
            fields.bool("full", args.full);
            ("save", Some(&args.file))
        }
    };
    if let Some(file) = file {
        fields.str("path", file);
    }
    let reply = client.request(action, &fields).await?;
    if ctx.metadata {
        ctx.show_reply(&reply)?;
    } else if let (Some(file), Some(place)) = (file, reply.text("file")) {
        tell_place(ctx, file, place);
    }
    Ok(Exit::Success)
}

/// A name that is relative may mean something else to the server.
fn tell_place(ctx: &Context, file: &str, place: &str) {
    if !file.starts_with('/') {
        ctx.out.note(&format!("The file is {place}"));
    }
}

/// What is known of the files that a server writes; what does not apply is
/// left out.
pub(super) fn described(info: &LogInfo) -> Value {
    let LogInfo {
        path,
        full,
        since,
        changes,
        bytes,
        synced,
        next,
        waiting,
        failed,
        unsaved,
    } = info;
    let mut items: Vec<(&str, Value)> = Vec::new();
    if let Some(path) = path {
        items.push(("path", path.as_str().into()));
        if failed.is_none() {
            items.push(("full", (*full).into()));
            items.push(("since", Value::Float(since.as_secs_f64())));
            items.push(("changes", (*changes).into()));
            items.push(("bytes", (*bytes).into()));
            items.push(("synced", (*synced).into()));
        }
    }
    if let Some((why, since)) = failed {
        items.push(("failed", why.as_str().into()));
        items.push(("failed_since", Value::Float(since.as_secs_f64())));
        items.push(("unsaved", (*unsaved).into()));
    }
    if let Some(next) = next {
        items.push(("next", next.as_str().into()));
    }
    if *waiting > 0 {
        items.push(("waiting", (*waiting).into()));
    }
    map(items)
}
