//! `moat kv server`: its arguments, their checks, and the call that runs it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::config::{Actor, Backend, Kv, Listener, LogSync, OnLogError, Ssl};
use crate::event::{NodeName, Settings};
use crate::path::PathElem;
use crate::server::{self, Begin, Host, Load, Meeting, ServeError};
use crate::text;
use crate::value::Value;

use super::context::{Context, Verbosity};
use super::exit::{CliError, Exit};
use super::keep::keep;
use super::login::credentials;

/// What tells its progress even if nobody asks for it: a large state takes a
/// while to fetch.
const PROGRESS: &str = "moat::server::fetch";

/// Run a server
#[derive(Args)]
#[command(
    override_usage = "moat kv server [OPTIONS] [NAME] [NODE]...",
    after_help = "Examples:\n  \
        moat kv server -i Testing $(hostname)\n  \
        moat kv -C server.mqtt.uri=mqtt://your-server:1883 server $(hostname)\n  \
        moat kv server --wait-sync=60 two one\n  \
        moat kv server -l <(cat /var/lib/moat/*.dkv) $(hostname)\n  \
        moat kv -C server.backend=none server -e -i 42\n  \
        moat kv server -l old.state -s new.state $(hostname)\n  \
        moat kv server --keep /var/lib/moat/kv $(hostname)\n  \
        moat -c moat.cfg kv server --check"
)]
pub(super) struct ServerArgs {
    /// Start a new network whose root holds this value; "-" means null (also -I)
    #[arg(
        short,
        short_alias = 'I',
        long,
        value_name = "VALUE",
        allow_hyphen_values = true
    )]
    init: Option<String>,

    /// The value is an expression
    #[arg(short, long, requires = "init")]
    eval: bool,

    /// Load this file of state; repeat for several; "-" is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "init")]
    load: Vec<PathBuf>,

    /// The loaded files are complete: what they lack has been deleted
    #[arg(short, long, alias = "auth", conflicts_with = "force")]
    authoritative: bool,

    /// Write the state, then all changes, to this file
    #[arg(short, long, value_name = "FILE")]
    save: Option<PathBuf>,

    /// Write only changes to it
    #[arg(long, requires = "save")]
    incremental: bool,

    /// Write state files in this directory, the next one every 15 minutes; load the newest if nobody else has data
    #[arg(long, value_name = "DIR", conflicts_with = "save")]
    keep: Option<PathBuf>,

    /// Start a new network although there is one (-i), or load what can be read of damaged files (-l)
    #[arg(short, long)]
    force: bool,

    /// Serve clients when nothing is missing, or after that many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    wait_sync: Option<Option<f64>>,

    /// End with status 75 if no node with data has answered by then
    #[arg(long, value_name = "SECONDS")]
    give_up: Option<f64>,

    /// Check configuration and arguments, then exit
    #[arg(long)]
    check: bool,

    /// Name of this node; the host name if absent
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Nodes to fetch the data from; any that has them, if there is none
    #[arg(value_name = "NODE", conflicts_with_all = ["init", "load"])]
    nodes: Vec<String>,
}

/// Checks the arguments and runs the server until it is told to stop.
pub(super) fn run(ctx: &Context, args: &ServerArgs) -> Result<Exit, CliError> {
    let kv = &ctx.config.kv;
    let name = match &args.name {
        Some(name) => node_name(name, "NAME")?,
        None => node_name(&host_name()?, "NAME")?,
    };
    let root = root_value(args)?;
    let nodes = args.nodes.iter().map(|name| node_name(name, "NODE"));
    let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
    let give_up = seconds(args.give_up, "--give-up")?;
    let wait_sync = args.wait_sync.map(|limit| seconds(limit, "--wait-sync"));
    let wait_sync = wait_sync.transpose()?;
    let listen = listeners(kv)?;
    let auth = kv.conn.auth.as_ref().map(credentials).transpose()?;
    match kv.server.backend {
        Backend::None => {}
        Backend::Mqtt if cfg!(feature = "mqtt") => {}
        Backend::Mqtt => return Err(anyhow::anyhow!("this build does not speak MQTT").into()),
        Backend::Serf => {
            return Err(anyhow::anyhow!(
                "server.backend: this build does not speak to Serf: choose mqtt, or none"
            )
            .into());
        }
    }
    if args.authoritative && args.load.is_empty() && args.keep.is_none() {
        return Err(CliError::usage("'-a' needs '-l' or '--keep'."));
    }
    let save = save(args)?;
    let keep = args.keep.as_deref().map(|dir| rotation(dir, kv));
    let keep = keep.transpose()?;
    if args.check {
        return Ok(Exit::Success);
    }
    let begin = match root {
        Some(root) => Begin::First(root.to_bytes()),
        None if !args.load.is_empty() => Begin::Load(Load {
            files: args.load.clone(),
            authoritative: args.authoritative,
            force: args.force,
        }),
        None if kv.server.backend == Backend::None && keep.is_none() => {
            return Err(anyhow::Error::from(ServeError::Nothing).into());
        }
        None => Begin::Join(nodes),
    };
    let mut options = server::Options {
        force: args.force,
        wait_sync,
        give_up,
        ..options(kv, name, begin, listen)
    };
    options.ways.auth = auth;
    options.files.save = save;
    options.files.keep = keep;
    options.files.authoritative = args.authoritative;
    ctx.start_log_with(PROGRESS)?;
    let quiet = ctx.verbosity == Verbosity::Quiet;
    let out = ctx.out.clone();
    let running = move || {
        if !quiet {
            // who started the server may have gone away: it serves all the same
            let _ = out.line("Running.").and_then(|()| out.flush());
        }
    };
    let ended = server::run(options, running, ctx.reload_log(PROGRESS));
    match ended {
        Ok(()) => Ok(Exit::Success),
        Err(why @ ServeError::GaveUp(_)) => {
            ctx.out.note(&why.to_string());
            Ok(Exit::TryAgain)
        }
        Err(why) => Err(anyhow::Error::from(why).into()),
    }
}

/// The file that is written from the start.
fn save(args: &ServerArgs) -> Result<Option<(PathBuf, bool)>, CliError> {
    let Some(path) = &args.save else {
        return Ok(None);
    };
    let path = server::place(path).map_err(|why| anyhow::anyhow!("cannot write {why}"))?;
    Ok(Some((path, !args.incremental)))
}

/// The directory of rotated files, which must be there.
fn rotation(dir: &Path, kv: &Kv) -> Result<server::Rotation, CliError> {
    let dir = std::path::absolute(dir).with_context(|| dir.display().to_string())?;
    let keep = keep(dir, None, &kv.server.keep)?;
    keep.sets()?;
    Ok(server::Rotation {
        keep,
        // none would be one after the other
        period: kv.server.keep.period.get().max(Duration::from_secs(1)),
    })
}

/// Where clients connect, as far as the configuration says.
fn listeners(kv: &Kv) -> Result<Vec<Listener>, CliError> {
    let all: Vec<Listener> = kv.server.listeners().collect();
    if all.iter().any(|listener| listener.ssl != Ssl::default()) {
        return Err(anyhow::anyhow!(
            "server.bind: this build does not offer TLS: take 'ssl' out to serve in the clear"
        )
        .into());
    }
    Ok(all)
}

/// What the configuration says of a server.
fn options(kv: &Kv, name: NodeName, begin: Begin, listen: Vec<Listener>) -> server::Options {
    let config = &kv.server;
    let network = (config.backend == Backend::Mqtt).then(|| server::Network {
        mqtt: config.mqtt.clone(),
        ping: settings(&config.ping),
        delete: settings(&config.delete),
        links: usize::try_from(config.change.length).unwrap_or(usize::MAX),
        boot: server::boot(),
    });
    let meeting = match &network {
        None => Meeting::Nowhere,
        Some(network) => Meeting::look(&network.mqtt),
    };
    let listen = listen.into_iter().map(|Listener { host, port, .. }| {
        let host = host.map_or_else(|| meeting.host(), Host::Named);
        server::Listen { host, port }
    });
    server::Options {
        name,
        begin,
        force: false,
        wait_sync: None,
        give_up: None,
        files: server::Files {
            log: server::log::Options {
                sync: match config.log.sync {
                    LogSync::Never => server::log::Sync::Never,
                    LogSync::Within(time) => server::log::Sync::Within(time.get()),
                    LogSync::Always => server::log::Sync::Always,
                },
                refuse: config.log.on_error == OnLogError::Refuse,
            },
            dirs: config.log.dirs.clone(),
            ..server::Files::default()
        },
        listen: listen.collect(),
        network,
        ways: server::fetch::Ways {
            hostmap: kv
                .hostmap
                .iter()
                .map(|(name, place)| (name.clone(), (place.0.clone(), place.1)))
                .collect(),
            domain: kv.domain.clone(),
            port: kv.conn.port,
            init_timeout: kv.conn.init_timeout.get(),
            frame: kv.conn.frame.get(),
            auth: None,
        },
        root_topic: config.root.0.iter().map(PathElem::level).collect(),
        buffer: config.buffer,
        frame: config.frame.get(),
        limits: server::Limits {
            value: config.value.get(),
            message: config.value.get(),
            watch_buffer: config.watch.buffer.get(),
            ..server::Limits::default()
        },
    }
}

/// The timing of a group of nodes that take turns.
fn settings(actor: &Actor) -> Settings {
    Settings {
        cycle: actor.cycle.get(),
        gap: actor.gap.get(),
        // all that are there
        nodes: u32::try_from(actor.nodes).unwrap_or(0),
        splits: actor.splits,
        n_hosts: actor.n_hosts,
        version: u64::from(actor.version),
        force_in: 0,
    }
}

fn host_name() -> Result<String, CliError> {
    let name = rustix::system::uname();
    let name = name.nodename().to_str();
    Ok(name
        .context("the host name is no text: give a NAME")?
        .to_owned())
}

fn node_name(name: &str, argument: &str) -> Result<NodeName, CliError> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(CliError::usage(format!(
            "Invalid value for '{argument}': it must be a text."
        )));
    }
    Ok(NodeName::new(name))
}

fn seconds(number: Option<f64>, option: &str) -> Result<Option<Duration>, CliError> {
    number
        .map(|seconds| {
            Duration::try_from_secs_f64(seconds)
                .map_err(|e| CliError::usage(format!("Invalid value for '{option}': {e}.")))
        })
        .transpose()
}

/// The value of the root of a new network, if there is to be one.
fn root_value(args: &ServerArgs) -> Result<Option<Value>, CliError> {
    match args.init.as_deref() {
        None => Ok(None),
        Some("-") => Ok(Some(Value::Nil)),
        Some(expression) if args.eval => text::eval::eval(expression).map(Some).map_err(|error| {
            CliError::usage(format!("Invalid value for '-i' / '--init': {error}"))
        }),
        Some(text) => Ok(Some(Value::Str(text.to_owned()))),
    }
}
