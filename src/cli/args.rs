//! Every option and command, defined once.
//!
//! `-h` is `--host` after `kv` and no option of other commands, so only
//! `--help` is known everywhere. What a command takes is built when it is
//! typed ([`Lazy`]): a start shouldn't pay for the commands it doesn't run.
//!
//! To add a command: its `Args` type and `run` in a file of its own, a
//! variant of [`Named`] (or [`Command`]), a line in the match of `cli.rs`.

use std::path::PathBuf;

use clap::{ArgAction, ArgMatches, Args, FromArgMatches, Parser, Subcommand};

use super::context::Verbosity;
#[cfg(feature = "sim")]
use super::sim;
use super::{completion, data, dump, internal, log, man, ping, server, status, util};

/// A master-less distributed key-value store
#[derive(Parser)]
#[command(
    name = "moat",
    bin_name = "moat",
    version,
    disable_help_flag = true,
    disable_help_subcommand = true,
    disable_version_flag = true,
    override_usage = "moat [OPTIONS] COMMAND [ARGS]...",
    subcommand_value_name = "COMMAND",
    after_help = "Examples:\n  moat kv server -i Testing $(hostname)\n  moat kv data :"
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

impl Cli {
    /// How much is said, from the options before and after `kv`.
    pub(super) fn verbosity(&self) -> Verbosity {
        let kv = match &self.command {
            Some(Command::Kv(kv)) => Some(&kv.0.options.verbosity),
            _ => None,
        };
        self.global.verbosity.plus(kv)
    }
}

/// Options before the first command.
#[derive(Args)]
pub(super) struct Global {
    #[command(flatten)]
    pub(super) verbosity: Counts,

    /// Set one logger's level, e.g. moat.kv.server=DEBUG (repeatable)
    #[arg(short, long, value_name = "LOGGER=LEVEL")]
    pub(super) log: Vec<String>,

    /// Read this file instead of the usual ones (repeatable; later ones win)
    #[arg(short, long = "cfg", value_name = "FILE")]
    pub(super) cfg: Vec<PathBuf>,

    /// Override a configuration item; without "=", remove it (repeatable)
    #[arg(short = 'C', long, value_name = "KEY=VALUE")]
    pub(super) conf: Vec<String>,

    /// Override a configuration item by text
    #[arg(long, num_args = 2, value_names = ["KEY", "VALUE"], allow_hyphen_values = true)]
    pub(super) var: Vec<String>,

    /// Override a configuration item by an expression
    #[arg(short, long, num_args = 2, value_names = ["KEY", "EXPR"], allow_hyphen_values = true)]
    pub(super) eval: Vec<String>,

    /// Override a configuration item by a path
    #[arg(short, long, num_args = 2, value_names = ["KEY", "PATH"])]
    pub(super) path: Vec<String>,

    /// Print JSON instead of YAML
    #[arg(long, global = true)]
    pub(super) json: bool,

    /// Accepted for the original's sake: debugging of its loader
    #[arg(short = 'L', hide = true)]
    loader: bool,

    /// Accepted for the original's sake: small keys
    #[arg(short = 'D', hide = true)]
    debug: bool,

    /// Print help (also -h and -? before a command)
    #[arg(long, global = true, action = ArgAction::Help, display_order = 1000)]
    help: Option<bool>,

    #[arg(short = 'h', short_alias = '?', hide = true, action = ArgAction::Help)]
    short_help: Option<bool>,

    /// Print version
    #[arg(long, action = ArgAction::Version, display_order = 1001)]
    version: Option<bool>,
}

/// `-v` and `-q`, before and after `kv`.
#[derive(Args)]
pub(super) struct Counts {
    /// Say more (also -V; repeatable)
    #[arg(short, short_alias = 'V', long, action = ArgAction::Count)]
    verbose: u8,

    /// Say less (also -Q)
    #[arg(short, short_alias = 'Q', long, action = ArgAction::Count)]
    quiet: u8,
}

impl Counts {
    pub(super) fn plus(&self, other: Option<&Self>) -> Verbosity {
        let (verbose, quiet) = other.map_or((0, 0), |other| (other.verbose, other.quiet));
        Verbosity::from_counts(
            self.verbose.saturating_add(verbose),
            self.quiet.saturating_add(quiet),
        )
    }
}

/// The first command.
#[derive(Subcommand)]
pub(super) enum Command {
    /// The key-value store
    Kv(Lazy<Kv>),
    /// Look at the configuration and at paths
    Util(Lazy<util::UtilArgs>),
    /// Print a script that completes commands and paths
    Completion(Lazy<completion::CompletionArgs>),
    /// Write manual pages
    Man(Lazy<man::ManArgs>),
}

/// The key-value store
#[derive(Args)]
#[command(
    override_usage = "moat kv [OPTIONS] COMMAND [ARGS]...",
    subcommand_value_name = "COMMAND",
    after_help = "Examples:\n  \
        moat kv server -i Testing $(hostname)\n  \
        moat kv -h server.example -a \"password name=joe password?=Code\" data :"
)]
pub(super) struct Kv {
    #[command(flatten)]
    pub(super) options: KvOptions,
    #[command(subcommand)]
    pub(super) command: Option<Box<KvCommand>>,
}

/// Options between `kv` and its command.
#[derive(Args)]
pub(super) struct KvOptions {
    /// Talk to the server on this host
    #[arg(short = 'h', long)]
    pub(super) host: Option<String>,

    /// Talk to the server at this port
    #[arg(short, long, value_name = "N")]
    pub(super) port: Option<u16>,

    /// Log in: "METHOD name=value…", or "=FILE"
    #[arg(short, long, value_name = "SPEC")]
    pub(super) auth: Option<String>,

    /// Print the whole reply (value, chain, tock, seq) instead of the value
    #[arg(short, long)]
    pub(super) metadata: bool,

    /// Override a configuration item; without "=", remove it (repeatable)
    #[arg(id = "kv_conf", short = 'C', long = "conf", value_name = "KEY=VALUE")]
    pub(super) conf: Vec<String>,

    #[command(flatten)]
    pub(super) verbosity: Counts,
}

/// What follows `kv`: a command, or the word `client`, which changes nothing.
#[derive(Subcommand)]
pub(super) enum KvCommand {
    #[command(flatten)]
    Named(Named),
    #[command(hide = true)]
    Client(Client),
}

impl KvCommand {
    /// The command itself.
    pub(super) fn named(self) -> Named {
        match self {
            Self::Named(named) | Self::Client(Client(named)) => named,
        }
    }
}

/// The commands of the key-value store.
#[derive(Subcommand)]
pub(super) enum Named {
    /// Run a server
    Server(Lazy<server::ServerArgs>),
    /// Read and change data
    Data(Lazy<data::DataArgs>),
    /// Look at a server's bookkeeping
    Internal(Lazy<internal::InternalArgs>),
    /// Have a server write its state and its changes to files
    Log(Lazy<log::LogArgs>),
    /// Tools that need no server
    Dump(Lazy<dump::DumpArgs>),
    /// Ask whether a server answers
    Ping(Lazy<ping::PingArgs>),
    /// Show how a server is; fails if it misses events
    Status(Lazy<status::StatusArgs>),
    /// Simulate networks with faults, and check what comes of them
    #[cfg(feature = "sim")]
    Sim(Lazy<sim::SimArgs>),
}

/// `moat kv client COMMAND`, an older spelling of `moat kv COMMAND`.
pub(super) struct Client(Named);

impl Args for Client {
    fn augment_args(cmd: clap::Command) -> clap::Command {
        cmd.defer(|cmd| {
            Named::augment_subcommands(cmd)
                .subcommand_required(true)
                .subcommand_value_name("COMMAND")
        })
    }

    fn augment_args_for_update(cmd: clap::Command) -> clap::Command {
        Self::augment_args(cmd)
    }
}

impl FromArgMatches for Client {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Named::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        Named::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// Arguments of a command that are built only when the command is typed.
pub(super) struct Lazy<T>(pub(super) T);

impl<T: Args> Args for Lazy<T> {
    fn augment_args(cmd: clap::Command) -> clap::Command {
        cmd.defer(T::augment_args)
    }

    fn augment_args_for_update(cmd: clap::Command) -> clap::Command {
        cmd.defer(T::augment_args_for_update)
    }
}

impl<T: Args> FromArgMatches for Lazy<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Every command is built, conflicting options would panic.
    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string);
            let name = command.get_name();
            if name != "client" {
                assert!(help.is_some_and(|h| h.contains("Example")), "{name}");
            }
            command.get_subcommands().for_each(check);
        }
        let mut cli = Cli::command();
        cli.build();
        check(&cli);
    }
}
