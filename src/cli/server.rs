//! `moat kv server`: its arguments, their checks, and the call that runs it.

use anyhow::Context as _;
use clap::Args;

use crate::config::Config;
use crate::text;
use crate::value::Value;

use super::context::Context;
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

/// What a server is started with.
#[derive(Debug)]
pub(crate) struct Options {
    /// Its name
    pub(crate) name: String,
    /// The encoded value of the root of a new network
    pub(crate) root_value: Option<Vec<u8>>,
    /// Configuration
    pub(crate) config: Config,
}

/// Checks the arguments and runs the server until it is told to stop.
pub(super) fn run(ctx: &Context, args: &ServerArgs) -> Result<Exit, CliError> {
    let options = Options {
        name: node_name(args)?,
        root_value: root_value(args)?.map(|value| value.to_bytes()),
        config: ctx.config.clone(),
    };
    if args.check {
        return Ok(Exit::Success);
    }
    ctx.start_log()?;
    serve(options)
}

/// The one place where the server is called.
fn serve(_options: Options) -> Result<Exit, CliError> {
    Err(anyhow::anyhow!("not in this build").into())
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
