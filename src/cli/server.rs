//! `moat kv server`: arguments and their checks.

use clap::Args;

use super::context::Context;
use super::exit::{CliError, Exit};

/// Run a server
#[derive(Args)]
#[command(after_help = "Examples:\n  \
        moat kv server -i Testing $(hostname)\n  \
        moat kv -C server.bind_default.host=0.0.0.0 server -e -i 42\n  \
        moat -c moat.cfg kv server --check")]
pub(super) struct ServerArgs {
    /// Start a new network whose root holds this value; "-" means null
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
pub(super) fn run(_ctx: &Context, args: ServerArgs) -> Result<Exit, CliError> {
    let _ = (args.init, args.eval, args.check, args.name);
    Err(CliError::from(anyhow::anyhow!("not in this build")))
}
