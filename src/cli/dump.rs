//! `moat kv dump …`: tools that need no server.
//!
//! What servers tell each other passes through their broker; these commands
//! are clients of the broker, not of a server.

use clap::{Args, Subcommand};

use super::context::Context;
use super::exit::{CliError, Exit};

#[cfg(feature = "mqtt")]
mod messages;

/// Tools that need no server
#[derive(Args)]
#[command(
    override_usage = "moat kv dump COMMAND [ARGS]...",
    subcommand_value_name = "COMMAND",
    after_help = "Examples:\n  \
        moat kv dump msg :\n  \
        moat kv dump msg +\n  \
        moat kv dump post my.topic <messages.yaml"
)]
pub(super) struct DumpArgs {
    #[command(subcommand)]
    command: DumpCommand,
}

#[derive(Subcommand)]
enum DumpCommand {
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

#[cfg(feature = "mqtt")]
pub(super) async fn run(ctx: &Context, args: &DumpArgs) -> Result<Exit, CliError> {
    match &args.command {
        DumpCommand::Msg(args) => messages::show(ctx, &args.topic).await,
        DumpCommand::Post(args) => messages::send(ctx, &args.topic).await,
    }
}

#[cfg(not(feature = "mqtt"))]
#[allow(clippy::unused_async)] // as the other one
pub(super) async fn run(_ctx: &Context, args: &DumpArgs) -> Result<Exit, CliError> {
    let (DumpCommand::Msg(MsgArgs { topic }) | DumpCommand::Post(PostArgs { topic })) =
        &args.command;
    Err(anyhow::anyhow!("this build does not speak MQTT: nothing is heard of {topic}").into())
}
