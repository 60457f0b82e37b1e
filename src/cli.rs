//! The command line: one file a command.
//!
//! `args` defines every option once; help, completion and manual pages are
//! made from it. A command is a clap `Args` type and a
//! `run(&Context, args) -> Result<Exit, CliError>`, which the match in
//! `run_kv` calls. The rules:
//!
//! - `out` prints, nothing else does.
//! - A command pays for what it uses: the configuration is read, a runtime
//!   built and a log set up only where the command needs it, and the options
//!   of a command are built only when that command is typed.
//! - Every error ends as one line on stderr and an exit status (`exit`).

mod args;
mod complete;
mod completion;
mod connect;
mod context;
mod data;
mod dump;
mod exit;
mod internal;
mod keep;
mod log;
mod logging;
mod login;
mod man;
mod out;
mod ping;
mod server;
mod show;
#[cfg(feature = "sim")]
mod sim;
mod status;
mod usage;
mod util;

use std::ffi::OsString;
use std::future::Future;
use std::path::Path;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use args::{Cli, Command, Kv};
use context::Context;
use exit::{CliError, Exit};
use out::Out;

/// Runs the program with its arguments, the first being its own name.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let out = Out::stdout();
    let args = data::with_plain_path(with_kv_from_program_name(args));
    let result = match completion::answer(&args) {
        Some(answered) => answered,
        None => parse_and_run(args, &out),
    };
    exit::report(result, &out)
}

/// `kv …` is `moat kv …`: the program may be linked under that name.
fn with_kv_from_program_name(mut args: Vec<OsString>) -> Vec<OsString> {
    let is_kv = args
        .first()
        .is_some_and(|name| Path::new(name).file_name().is_some_and(|n| n == "kv"));
    if is_kv {
        args.insert(1, "kv".into());
    }
    args
}

fn parse_and_run(args: Vec<OsString>, out: &Out) -> Result<Exit, CliError> {
    let mut matches = match Cli::command().try_get_matches_from(&args) {
        Ok(matches) => matches,
        Err(error) => return usage::answer(&error, &args, out),
    };
    let names = command_names(&matches);
    let cli = match Cli::from_arg_matches_mut(&mut matches) {
        Ok(cli) => cli,
        Err(error) => return usage::answer(&error, &args, out),
    };
    let verbosity = cli.verbosity();
    run(cli, &names, out).map_err(|error| error.at(&names, verbosity))
}

/// The commands as typed: `["kv", "data"]`.
fn command_names(mut matches: &ArgMatches) -> Vec<String> {
    let mut names = Vec::new();
    while let Some((name, below)) = matches.subcommand() {
        names.push(name.to_owned());
        matches = below;
    }
    names
}

fn run(cli: Cli, names: &[String], out: &Out) -> Result<Exit, CliError> {
    let Cli {
        global, command, ..
    } = cli;
    match command {
        None => usage::help(names, out),
        Some(Command::Kv(kv)) => {
            let Kv { options, command } = kv.0;
            let Some(command) = command.map(|command| command.named()) else {
                return usage::help(names, out);
            };
            let ctx = Context::new(&global, &options, out.clone())?;
            run_kv(&ctx, command)
        }
        Some(Command::Util(args)) => util::run(args.0, &global, names, out),
        Some(Command::Completion(args)) => completion::run(&args.0, out),
        Some(Command::Man(args)) => man::run(&args.0, out),
    }
}

/// The commands below `kv`. Each that talks to a server is one line here,
/// `block_on(name::run(ctx, args.0))`, and one variant of [`args::Named`].
fn run_kv(ctx: &Context, command: args::Named) -> Result<Exit, CliError> {
    match command {
        args::Named::Server(args) => server::run(ctx, &args.0),
        args::Named::Data(args) => block_on(data::run(ctx, &args.0)),
        args::Named::Internal(args) => block_on(internal::run(ctx, &args.0)),
        args::Named::Dump(args) => block_on(dump::run(ctx, &args.0)),
        args::Named::Ping(args) => block_on(ping::run(ctx, &args.0)),
        args::Named::Log(args) => block_on(log::run(ctx, &args.0)),
        args::Named::Status(args) => block_on(status::run(ctx, &args.0)),
        #[cfg(feature = "sim")]
        args::Named::Sim(args) => sim::run(ctx, &args.0),
    }
}

/// Runs a client command: one thread, built only now.
fn block_on<T>(command: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?
        .block_on(command)
}

/// Runs a command that goes on until Ctrl-C, such as `monitor`.
async fn until_interrupt(
    command: impl Future<Output = Result<Exit, CliError>>,
) -> Result<Exit, CliError> {
    tokio::select! {
        result = command => result,
        interrupt = tokio::signal::ctrl_c() => {
            interrupt?;
            Ok(Exit::Interrupted)
        }
    }
}
