//! `moat kv data PATH …`: reading, writing and watching entries.
//!
//! The path stands before the command, which may be left out. Whatever stands
//! there is a path, also if it is the name of a command.

pub(super) mod dates;
mod delete;
mod export;
mod get;
mod list;
mod monitor;
pub(super) mod nested;
mod set;
mod update;

use std::ffi::OsString;

use clap::{Args, Subcommand};

use crate::path::{Path, PathElem};

use super::complete;
use super::completion;
use super::context::Context;
use super::exit::{CliError, Exit};
use super::internal;

/// Read and change data
#[derive(Args)]
#[command(
    override_usage = "moat kv data PATH [COMMAND] [ARGS]...",
    subcommand_value_name = "COMMAND",
    after_help = "Examples:\n  \
        moat kv data :\n  \
        moat kv data one.two set -e : 123\n  \
        moat kv data one get -rd_\n  \
        moat kv data one monitor"
)]
pub(super) struct DataArgs {
    /// The entry, such as one.two:3; ":" is the root
    #[arg(value_name = "PATH", add = completion::paths(complete::children))]
    path: Path,

    #[command(subcommand)]
    command: Option<DataCommand>,
}

#[derive(Subcommand)]
enum DataCommand {
    /// Read an entry or a subtree (done if there is no command)
    Get(get::GetArgs),
    /// List the names below an entry
    List(list::ListArgs),
    /// Write an entry, or parts of its value
    Set(set::SetArgs),
    /// Delete an entry or a subtree
    Delete(delete::DeleteArgs),
    /// Show changes as they happen
    Monitor(monitor::MonitorArgs),
    /// Write many entries from a file
    Update(update::UpdateArgs),
    /// Print a subtree for `data update`
    Export(export::ExportArgs),
    /// `data internal dump PATH`: an older spelling of `internal dump PATH`
    #[command(hide = true)]
    Dump(internal::DumpArgs),
}

/// The names of the commands.
const COMMANDS: [&str; 8] = [
    "get", "list", "set", "delete", "monitor", "update", "export", "dump",
];

pub(super) async fn run(ctx: &Context, args: &DataArgs) -> Result<Exit, CliError> {
    let path = &args.path;
    match &args.command {
        None => get::run(ctx, path, &get::GetArgs::default()).await,
        Some(DataCommand::Get(args)) => get::run(ctx, path, args).await,
        Some(DataCommand::List(args)) => list::run(ctx, path, args).await,
        Some(DataCommand::Set(args)) => set::run(ctx, path, args).await,
        Some(DataCommand::Delete(args)) => delete::run(ctx, path, args).await,
        Some(DataCommand::Monitor(args)) => monitor::run(ctx, path, args).await,
        Some(DataCommand::Update(args)) => update::run(ctx, path, args).await,
        Some(DataCommand::Export(args)) => export::run(ctx, path, args).await,
        Some(DataCommand::Dump(args)) if is_internal(path) => internal::dump(ctx, args).await,
        Some(DataCommand::Dump(_)) => Err(CliError::usage("No such command 'dump'.")),
    }
}

/// A file that cannot be read, on one line.
fn unreadable(file: &str, error: &std::io::Error) -> CliError {
    let error = error.to_string();
    // the number says nothing to people
    let why = error.split(" (os error").next().unwrap_or_default();
    anyhow::anyhow!("cannot read {file}: {why}").into()
}

fn is_internal(path: &Path) -> bool {
    matches!(path.elements(), [PathElem::Str(name)] if name == "internal")
}

/// Lets the word after `data` be a path even if a command has that name:
/// `data get` becomes `data :'get'`, which is the same entry.
pub(super) fn with_plain_path(mut args: Vec<OsString>) -> Vec<OsString> {
    let after = |args: &[OsString], from: usize, word: &str| {
        let rest = args.get(from..)?;
        Some(from + rest.iter().position(|a| a == word)? + 1)
    };
    let place = after(&args, 1, "kv").and_then(|kv| after(&args, kv, "data"));
    if let Some(word) = place.and_then(|place| args.get_mut(place))
        && let Some(name) = word.to_str()
        && COMMANDS.contains(&name)
    {
        *word = format!(":'{name}'").into();
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_have_the_name_of_a_command() {
        let plain = |line: &str| {
            let args = line.split(' ').map(OsString::from).collect();
            let args = with_plain_path(args);
            let words: Vec<_> = args.iter().map(|a| a.to_str().unwrap()).collect();
            words.join(" ")
        };
        assert_eq!(plain("moat kv data get"), "moat kv data :'get'");
        assert_eq!(
            plain("moat kv data set set -v : x"),
            "moat kv data :'set' set -v : x"
        );
        for same in [
            "moat kv data one get",
            "moat kv data data get",
            "moat kv internal get x 1",
            "moat -c data kv data : list",
        ] {
            assert_eq!(plain(same), same);
        }
        let quoted: Path = ":'get'".parse().unwrap();
        assert_eq!(quoted, "get".parse().unwrap());
    }

    #[test]
    fn all_commands_are_known() {
        let command = DataCommand::augment_subcommands(clap::Command::new("data"));
        let names: Vec<_> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        assert_eq!(names, COMMANDS);
    }
}
