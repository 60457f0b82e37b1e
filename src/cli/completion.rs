//! `moat completion SHELL`: commands, options and paths, completed by the
//! program itself.
//!
//! The script that a shell loads calls this program again with `COMPLETE`
//! set; [`answer`] serves that call. A start without it pays one look at the
//! environment. An argument that is a path asks a server for the children
//! that fit, by `#[arg(add = completion::paths(source))]`.

use std::ffi::{OsStr, OsString};

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;

use super::args::Cli;
use super::exit::{CliError, Exit};
use super::out::Out;

/// Set by the shell's script.
const VARIABLE: &str = "COMPLETE";

/// Print a script that completes commands and paths
#[derive(Args)]
#[command(after_help = "Examples:\n  \
        source <(moat completion bash)\n  \
        moat completion zsh >~/.zfunc/_moat\n  \
        moat completion fish >~/.config/fish/completions/moat.fish")]
pub(super) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script for the shell.
pub(super) fn run(args: &CompletionArgs, out: &Out) -> Result<Exit, CliError> {
    let shell = match args.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
    };
    let shells = Shells::builtins();
    let completer = shells
        .completer(shell)
        .expect("invariant: these three are built in");
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "moat", "moat", "moat", &mut script)?;
    out.bytes(&script)?;
    Ok(Exit::Success)
}

/// Answers a shell that wants to complete a line; `None` if none does.
pub(super) fn answer(args: &[OsString], _out: &Out) -> Option<Result<Exit, CliError>> {
    std::env::var_os(VARIABLE).filter(|shell| !shell.is_empty())?;
    let answered = CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .try_complete(args, None);
    Some(match answered {
        Ok(_) => Ok(Exit::Success),
        Err(error) => Err(CliError::failed(error)),
    })
}

/// A completer for an argument that is a path. `source` is given what is
/// typed so far and returns the paths that begin with it; if it can't reach
/// a server, none.
#[allow(dead_code)]
pub(crate) fn paths(source: fn(&str) -> Vec<String>) -> ArgValueCompleter {
    ArgValueCompleter::new(move |typed: &OsStr| {
        typed.to_str().map_or_else(Vec::new, |typed| {
            source(typed)
                .into_iter()
                .map(CompletionCandidate::new)
                .collect()
        })
    })
}
