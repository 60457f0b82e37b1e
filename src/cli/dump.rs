//! `moat kv dump …`: tools that need no server.
//!
//! What servers tell each other passes through their broker: `msg` and `post`
//! are clients of the broker, not of a server. The others read and write state
//! files.

use clap::{Args, Subcommand};

use super::context::Context;
use super::exit::{CliError, Exit};

mod files;
#[cfg(feature = "mqtt")]
mod messages;
mod newest;

/// Tools that need no server
#[derive(Args)]
#[command(
    override_usage = "moat kv dump COMMAND [ARGS]...",
    subcommand_value_name = "COMMAND",
    after_help = "Examples:\n  \
        moat kv dump show first.state\n  \
        moat kv dump merge 0.dkv 1.dkv all.state\n  \
        moat kv dump msg :\n  \
        moat kv dump post my.topic <messages.yaml"
)]
pub(super) struct DumpArgs {
    #[command(subcommand)]
    command: DumpCommand,
}

#[derive(Subcommand)]
enum DumpCommand {
    /// Make a file from which a first server can start
    Init(files::InitArgs),
    /// Print the records of state files
    Show(files::ShowArgs),
    /// Make a state file of what 'dump show' prints
    Convert(files::ConvertArgs),
    /// Make one compact file of others, or of a part of them
    Merge(files::MergeArgs),
    /// Make one file of the newest ones that a server has rotated
    Newest(newest::NewestArgs),
    /// Show where two state files differ
    Diff(files::DiffArgs),
    /// Check state files, and repair them
    Check(files::CheckArgs),
    /// Print what passes through the broker
    Msg(MsgArgs),
    /// Send messages through the broker
    Post(PostArgs),
}

/// Print what passes through the broker
#[derive(Args)]
#[command(
    override_usage = "moat kv dump msg TOPIC",
    after_help = "\
TOPIC is ':' for the changes of the network, '+NAME' for another of its topics\n\
(ping, info, del), '+' for all of them; anything else is a topic as it is, with\n\
dots between its levels, of which '+' stands for any and '#' for all that follow.\n\
Long messages that travel in parts are shown as one.\n\n\
Examples:\n  \
        moat kv dump msg :\n  \
        moat kv dump msg +ping\n  \
        moat kv --json dump msg 'home.+.temperature' | jq ._data"
)]
struct MsgArgs {
    /// What to listen to
    #[arg(value_name = "TOPIC")]
    topic: String,
}

/// Send messages through the broker
#[derive(Args)]
#[command(
    override_usage = "moat kv dump post [OPTIONS] TOPIC",
    after_help = "\
Reads from standard input what 'dump msg' prints: YAML with '---' between the\n\
messages, with --json one message a line. A message's '_topic' goes before\n\
TOPIC, which is as for 'dump msg'; '_timestamp' is left out, and '_data' is sent\n\
instead of what is around it. A wrong message to a network's own topics can\n\
harm it.\n\n\
Examples:\n  \
        echo '{on: true}' | moat kv dump post home.lamp\n  \
        moat kv --json dump post home.lamp <messages"
)]
struct PostArgs {
    /// Where to send to
    #[arg(value_name = "TOPIC")]
    topic: String,
}

pub(super) async fn run(ctx: &Context, args: &DumpArgs) -> Result<Exit, CliError> {
    match &args.command {
        DumpCommand::Init(args) => files::init(args),
        DumpCommand::Show(args) => files::show(ctx, args),
        DumpCommand::Convert(args) => files::convert(ctx, args),
        DumpCommand::Merge(args) => files::merge(ctx, args),
        DumpCommand::Newest(args) => newest::run(ctx, args),
        DumpCommand::Diff(args) => files::diff(ctx, args),
        DumpCommand::Check(args) => files::check(ctx, args),
        DumpCommand::Msg(args) => listen(ctx, &args.topic).await,
        DumpCommand::Post(args) => post(ctx, &args.topic).await,
    }
}

#[cfg(feature = "mqtt")]
use messages::{send as post, show as listen};

#[cfg(not(feature = "mqtt"))]
async fn listen(ctx: &Context, topic: &str) -> Result<Exit, CliError> {
    post(ctx, topic).await
}

#[cfg(not(feature = "mqtt"))]
#[allow(clippy::unused_async)] // as the other one
async fn post(_ctx: &Context, topic: &str) -> Result<Exit, CliError> {
    Err(anyhow::anyhow!("this build does not speak MQTT: nothing is heard of {topic}").into())
}
