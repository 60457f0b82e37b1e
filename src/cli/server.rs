//! `moat kv server`: its arguments, their checks, and the call that runs it.

use anyhow::Context as _;
use clap::Args;

use crate::config::{Actor, Backend, Kv, Listener, Ssl};
use crate::event::{NodeName, Settings};
use crate::path::PathElem;
use crate::server;
use crate::text;
use crate::value::Value;

use super::context::{Context, Verbosity};
use super::exit::{CliError, Exit};

/// Run a server
#[derive(Args)]
#[command(after_help = "Examples:\n  \
        moat kv server -i Testing $(hostname)\n  \
        moat kv -C server.bind_default.host=0.0.0.0 server -e -i 42\n  \
        moat -c moat.cfg kv server --check")]
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

    /// Check configuration and arguments, then exit
    #[arg(long)]
    check: bool,

    /// Name of this node; the host name if absent
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Checks the arguments and runs the server until it is told to stop.
pub(super) fn run(ctx: &Context, args: &ServerArgs) -> Result<Exit, CliError> {
    let name = node_name(args)?;
    let root = root_value(args)?;
    let options = options(&ctx.config.kv, &name, root.as_ref())?;
    if args.check {
        return Ok(Exit::Success);
    }
    let Some(options) = options else {
        return Err(anyhow::anyhow!("nothing to serve: start with -i VALUE").into());
    };
    ctx.start_log()?;
    let quiet = ctx.verbosity == Verbosity::Quiet;
    let out = ctx.out.clone();
    server::run(options, move || {
        if !quiet {
            // who started the server may have gone away: it serves all the same
            let _ = out.line("Running.").and_then(|()| out.flush());
        }
    })
    .map_err(anyhow::Error::from)?;
    Ok(Exit::Success)
}

/// What the server is to know; `None` without a value for its root.
fn options(kv: &Kv, name: &str, root: Option<&Value>) -> Result<Option<server::Options>, CliError> {
    let config = &kv.server;
    let mut listen = Vec::new();
    for Listener { host, port, ssl } in config.listeners() {
        if ssl != Ssl::default() {
            return Err(anyhow::anyhow!(
                "server.bind: this build does not offer TLS: take 'ssl' out to serve in the clear"
            )
            .into());
        }
        let host = match host {
            Some(host) => server::Host::Named(host),
            // only this machine's clients, as long as its network is local
            None if config.backend == Backend::None => server::Host::Loopback,
            None => server::Host::Any,
        };
        listen.push(server::Listen { host, port });
    }
    let begin = match root {
        Some(root) => server::Begin::First(root.to_bytes()),
        None if config.backend == Backend::None => return Ok(None),
        None => server::Begin::Join(Vec::new()),
    };
    let network = (config.backend == Backend::Mqtt).then(|| server::Network {
        mqtt: config.mqtt.clone(),
        ping: settings(&config.ping),
        delete: settings(&config.delete),
        links: usize::try_from(config.change.length).unwrap_or(usize::MAX),
        boot: server::boot(),
    });
    Ok(Some(server::Options {
        name: NodeName::new(name),
        begin,
        force: false,
        wait_sync: None,
        give_up: None,
        listen,
        network,
        ways: server::fetch::Ways {
            hostmap: kv.hostmap.clone(),
            domain: kv.domain.clone(),
            port: kv.conn.port,
            init_timeout: kv.conn.init_timeout.get(),
            frame: kv.conn.frame.get(),
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
    }))
}

/// The timing of a group of nodes that take turns.
fn settings(actor: &Actor) -> Settings {
    Settings {
        cycle: actor.cycle.get(),
        gap: actor.gap.get(),
        nodes: u32::try_from(actor.nodes).unwrap_or(0),
        splits: actor.splits,
        n_hosts: actor.n_hosts,
        version: u64::from(actor.version),
        force_in: 0,
    }
}

fn node_name(args: &ServerArgs) -> Result<String, CliError> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => rustix::system::uname()
            .nodename()
            .to_str()
            .context("the host name is no text: give a NAME")?
            .to_owned(),
    };
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(CliError::usage(
            "Invalid value for 'NAME': it must be a text.",
        ));
    }
    Ok(name)
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
