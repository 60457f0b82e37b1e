//! `moat kv internal …`: a server's bookkeeping, and the tree below `null`.

mod deleter;
mod nodes;

use clap::{Args, Subcommand};

use crate::client::{Client, Entry, Fields};
use crate::event::{Links, NamedLink, NodeName, Tick};
use crate::path::{Path, PathElem};
use crate::value::Value;

use super::context::{Context, Verbosity};
use super::data::nested::{Nested, Nulls};
use super::exit::{CliError, Exit};
use super::log::described;
use super::show::{decode, map};

/// Look at a server's bookkeeping
#[derive(Args)]
#[command(
    override_usage = "moat kv internal COMMAND [ARGS]...",
    subcommand_value_name = "COMMAND",
    after_help = "Examples:\n  \
        moat kv internal nodes --watch\n  \
        moat kv internal state -a\n  \
        moat kv internal dump :\n  \
        moat kv internal deleter"
)]
pub(super) struct InternalArgs {
    #[command(subcommand)]
    command: InternalCommand,
}

#[derive(Subcommand)]
enum InternalCommand {
    /// Print the internal tree: users, rules, types
    Dump(DumpArgs),
    /// Show the nodes of the network as the server sees them
    Nodes(nodes::NodesArgs),
    /// Print what a server knows about events
    State(StateArgs),
    /// Repair what a server knows: dangerous
    Mark(MarkArgs),
    /// Show or change the list of nodes that confirm deletions
    Deleter(deleter::DeleterArgs),
    /// Print the entry that an event belongs to
    Get(GetArgs),
    /// List a node's events that are in use
    Enum(EnumArgs),
    /// Forget a node that has no entries
    Kill(KillArgs),
}

/// Print the internal tree: users, rules, types
#[derive(Args)]
#[command(
    override_usage = "moat kv internal dump PATH",
    after_help = "Examples:\n  moat kv internal dump :\n  moat kv internal dump auth"
)]
pub(super) struct DumpArgs {
    /// Where to begin; ":" for everything
    #[arg(value_name = "PATH")]
    path: Path,
}

/// Print what a server knows about events
#[derive(Args)]
#[command(
    override_usage = "moat kv internal state [OPTIONS]",
    after_help = "Examples:\n  moat kv internal state -a\n  moat kv internal state -m -r"
)]
#[allow(clippy::struct_excessive_bools)] // independent switches
struct StateArgs {
    /// Nodes and their last events
    #[arg(short, long)]
    nodes: bool,
    /// Events that deleted entries consist of
    #[arg(short, long)]
    deleted: bool,
    /// Events that are missing here
    #[arg(short, long)]
    missing: bool,
    /// Events that are missing elsewhere
    #[arg(short, long)]
    remote_missing: bool,
    /// Events that entries consist of
    #[arg(short, long)]
    present: bool,
    /// Events that others have replaced
    #[arg(short, long)]
    superseded: bool,
    /// The server's debugging information
    #[arg(short = 'D', long)]
    debug: bool,
    /// As -s
    #[arg(short, long, hide = true)]
    known: bool,
    /// All but -D
    #[arg(short, long)]
    all: bool,
}

/// Repair what a server knows: dangerous
#[derive(Args)]
#[command(
    override_usage = "moat kv internal mark [OPTIONS] NODE [N]...",
    after_help = "Examples:\n  \
        moat kv internal mark old 17 18\n  \
        moat kv internal mark -d old 4"
)]
struct MarkArgs {
    /// Mark events as deleted, not as superseded
    #[arg(short, long)]
    deleted: bool,
    /// The node that says so
    #[arg(short, long = "node", value_name = "NODE", default_value = "?")]
    source: String,
    /// Tell all servers
    #[arg(short, long)]
    broadcast: bool,
    /// Whose events; "" for all nodes that something is missing from
    #[arg(value_name = "NODE")]
    node: String,
    /// The events; all that are missing, if there is none
    #[arg(value_name = "N")]
    items: Vec<u64>,
}

/// Print the entry that an event belongs to
#[derive(Args)]
#[command(
    override_usage = "moat kv internal get NODE TICK",
    after_help = "Example:\n  moat kv internal get one 17"
)]
struct GetArgs {
    /// The node that made the event
    #[arg(value_name = "NODE")]
    node: String,
    /// Its number
    #[arg(value_name = "TICK")]
    tick: u64,
}

/// List a node's events that are in use
#[derive(Args)]
#[command(
    override_usage = "moat kv internal enum [OPTIONS] NODE",
    after_help = "Examples:\n  \
        moat kv internal enum one\n  \
        moat -v kv internal enum -n 10 -c one"
)]
struct EnumArgs {
    /// At most that many
    #[arg(short, long = "num", value_name = "N", default_value_t = 0)]
    num: u64,
    /// Only those that are an entry's last change
    #[arg(short, long)]
    current: bool,
    /// Write the entries that the node has changed last anew, from here
    #[arg(short = 'C', long)]
    copy: bool,
    /// The node that made the events
    #[arg(value_name = "NODE")]
    node: String,
}

/// Forget a node that has no entries
#[derive(Args)]
#[command(
    override_usage = "moat kv internal kill NODE",
    after_help = "Example:\n  moat kv internal kill old"
)]
struct KillArgs {
    /// The node to forget
    #[arg(value_name = "NODE")]
    node: String,
}

pub(super) async fn run(ctx: &Context, args: &InternalArgs) -> Result<Exit, CliError> {
    match &args.command {
        InternalCommand::Dump(args) => dump(ctx, args).await,
        InternalCommand::Nodes(args) => nodes::run(ctx, args).await,
        InternalCommand::State(args) => state(ctx, args).await,
        InternalCommand::Mark(args) => mark(ctx, args).await,
        InternalCommand::Deleter(args) => deleter::run(ctx, args).await,
        InternalCommand::Get(args) => get(ctx, args).await,
        InternalCommand::Enum(args) => list(ctx, args).await,
        InternalCommand::Kill(args) => kill(ctx, args).await,
    }
}

pub(super) async fn dump(ctx: &Context, args: &DumpArgs) -> Result<Exit, CliError> {
    let client = ctx.connect().await?;
    let mut tree = client.tree(&args.path).internal().await?;
    let mut nested = Nested::default();
    let whole = args.path.is_empty();
    // the tree as it stands in the store: below null
    let top: Path = whole.then_some(PathElem::Nil).into_iter().collect();
    while let Some(entry) = tree.next().await {
        let entry = entry?;
        nested.insert(&top.join(&entry.path), entry.value()?);
    }
    ctx.show(&nested.into_map("_", Nulls::Keep)?)?;
    Ok(Exit::Success)
}

async fn state(ctx: &Context, args: &StateArgs) -> Result<Exit, CliError> {
    let mut fields = Fields::new();
    for (name, wanted) in [
        ("nodes", args.nodes || args.all),
        ("deleted", args.deleted || args.all),
        ("missing", args.missing || args.all),
        ("remote_missing", args.remote_missing || args.all),
        ("present", args.present || args.all),
        ("superseded", args.superseded || args.known || args.all),
        ("debug", args.debug),
    ] {
        if wanted {
            fields.bool(name, true);
        }
    }
    show_state(ctx, &ctx.connect().await?, &fields).await
}

/// Prints the bookkeeping. Events that are known are called by their newer
/// name.
async fn show_state(ctx: &Context, client: &Client, fields: &Fields) -> Result<Exit, CliError> {
    let reply = client.request("get_state", fields).await?;
    let mut state = decode(reply.bytes())?;
    if let Value::Map(fields) = &mut state {
        for (name, _) in fields.iter_mut() {
            if name.as_str() == Some("known") {
                *name = "superseded".into();
            }
        }
        // where no file is written, none is shown, as by the original
        if let Some(info) = client.log_info().await?
            && info.path.is_some()
        {
            fields.push(("log".into(), described(&info)));
        }
    }
    ctx.show(&state)?;
    Ok(Exit::Success)
}

async fn mark(ctx: &Context, args: &MarkArgs) -> Result<Exit, CliError> {
    if args.node.is_empty() && !args.items.is_empty() {
        return Err(CliError::usage("You can't do that with an empty node"));
    }
    let client = ctx.connect().await?;
    let events = if args.items.is_empty() {
        missing(&client, &args.node).await?
    } else {
        let items = args.items.iter().map(|n| (*n).into()).collect();
        map([(args.node.as_str(), Value::List(items))])
    };
    let kind = if args.deleted {
        "deleted"
    } else {
        "superseded"
    };
    let mut fields = Fields::new();
    fields.encoded(kind, &events.to_bytes());
    fields.str("node", &args.source);
    client.request("fake_info", &fields).await?;
    if args.broadcast {
        client.request("fake_info_send", &fields).await?;
    }
    let mut wanted = Fields::new();
    wanted.bool(kind, true);
    show_state(ctx, &client, &wanted).await
}

/// What is missing of a node, or of all.
async fn missing(client: &Client, node: &str) -> Result<Value, CliError> {
    let mut wanted = Fields::new();
    wanted.bool("missing", true);
    let reply = client.request("get_state", &wanted).await?;
    let missing = decode(reply.field("missing").unwrap_or(&[0x80]))?;
    if node.is_empty() {
        return Ok(missing);
    }
    match missing.field(node) {
        Some(events) => Ok(map([(node, events.clone())])),
        None => Err(anyhow::anyhow!("nothing is missing from {node:?}").into()),
    }
}

async fn get(ctx: &Context, args: &GetArgs) -> Result<Exit, CliError> {
    let client = ctx.connect().await?;
    let link = NamedLink {
        node: NodeName::new(&args.node),
        tick: Tick(args.tick),
    };
    let reply = client
        .get_by_event(&link)
        .links(Links::Newest(99))
        .reply()
        .await?;
    if ctx.metadata {
        ctx.show_reply(&reply)?;
    } else if let Some(value) = reply.field("value") {
        ctx.show(&decode(value)?)?;
    } else if ctx.verbosity > Verbosity::Quiet {
        ctx.out.note("The entry has been deleted");
    }
    Ok(Exit::Success)
}

async fn list(ctx: &Context, args: &EnumArgs) -> Result<Exit, CliError> {
    let client = ctx.connect().await?;
    let mut fields = Fields::new();
    fields.str("node", &args.node);
    fields.uint("max", args.num);
    fields.bool("current", args.current);
    let reply = client.request("enum_node", &fields).await?;
    let verbose = ctx.verbosity > Verbosity::Normal;
    if ctx.metadata && !args.copy && !verbose {
        ctx.show_reply(&reply)?;
        return Ok(Exit::Success);
    }
    let Value::List(ticks) = decode(reply.field("result").unwrap_or(&[0x90]))? else {
        return Ok(Exit::Success);
    };
    for tick in ticks.iter().filter_map(Value::as_u64) {
        if !(args.copy || verbose) {
            ctx.out.line(&tick.to_string())?;
            continue;
        }
        let link = NamedLink {
            node: NodeName::new(&args.node),
            tick: Tick(tick),
        };
        let entry = client.get_by_event(&link).links(Links::Newest(3)).await?;
        if verbose && ctx.json {
            let path = ctx.path_field(entry.path.clone());
            ctx.show(&map([("tick", tick.into()), ("path", path)]))?;
        } else if verbose {
            ctx.out.line(&format!("{tick} {}", entry.path))?;
        } else {
            ctx.out.line(&tick.to_string())?;
        }
        if args.copy {
            copy(&client, &entry, &args.node).await?;
        }
    }
    Ok(Exit::Success)
}

/// Writes an entry again as it is, if the node has changed it last.
async fn copy(client: &Client, entry: &Entry, node: &str) -> Result<(), CliError> {
    let chain = entry.chain.as_ref();
    let Some(chain) = chain.filter(|chain| chain.head().node.as_str() == node) else {
        return Ok(());
    };
    let write = match entry.value()? {
        Some(value) => client.set(&entry.path, &value),
        None => client.delete(&entry.path),
    };
    write.if_chain(Some(chain)).await?;
    Ok(())
}

async fn kill(ctx: &Context, args: &KillArgs) -> Result<Exit, CliError> {
    let client = ctx.connect().await?;
    let mut fields = Fields::new();
    fields.str("node", &args.node);
    let reply = client.request("kill_node", &fields).await?;
    if ctx.metadata {
        ctx.show_reply(&reply)?;
    }
    Ok(Exit::Success)
}
