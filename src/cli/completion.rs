//! `moat completion SHELL`: commands, options and paths, completed by the
//! program itself.
//!
//! The script that a shell loads calls this program again with `COMPLETE`
//! set; [`answer`] serves that call. A start without it pays one look at the
//! environment. An argument that is a path asks a server for the children
//! that fit, by `#[arg(add = completion::paths(source))]`.

use std::ffi::{OsStr, OsString};

use clap::{Args, CommandFactory as _, FromArgMatches as _, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;

use super::args::{Cli, Global, KvOptions};
use super::context::Context;
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
pub(super) fn answer(args: &[OsString]) -> Option<Result<Exit, CliError>> {
    std::env::var_os(VARIABLE).filter(|shell| !shell.is_empty())?;
    let answered = CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .try_complete(args, None);
    Some(match answered {
        Ok(_) => Ok(Exit::Success),
        Err(error) => Err(CliError::failed(error)),
    })
}

/// A completer for an argument that is a path. `source` is given the options
/// of the line (server, login, configuration) and what is typed so far; it
/// returns the paths that begin with it, and none if it can't reach a server.
pub(crate) fn paths(source: fn(&Context, &str) -> Vec<String>) -> ArgValueCompleter {
    ArgValueCompleter::new(move |typed: &OsStr| {
        let found = typed
            .to_str()
            .zip(context_of_line(std::env::args_os()))
            .map(|(typed, ctx)| source(&ctx, typed));
        let found = found.into_iter().flatten();
        found.map(CompletionCandidate::new).collect()
    })
}

/// The options of the unfinished line that the shell passes after `--`.
fn context_of_line(args: impl Iterator<Item = OsString>) -> Option<Context> {
    let line = args.skip_while(|arg| arg != "--").skip(1);
    let matches = Cli::command()
        .ignore_errors(true)
        .try_get_matches_from(line)
        .ok()?;
    let global = Global::from_arg_matches(&matches).ok()?;
    let kv = KvOptions::from_arg_matches(matches.subcommand_matches("kv")?).ok()?;
    Context::new(&global, &kv, Out::stdout()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_line_tells_which_server_to_ask() {
        let line = "moat -- moat -C conn.name=me kv -h there -p 17 server";
        let ctx = context_of_line(line.split(' ').map(OsString::from)).unwrap();
        assert_eq!(ctx.config.kv.conn.host, "there");
        assert_eq!(ctx.config.kv.conn.port, 17);
        assert_eq!(ctx.config.kv.conn.name.as_deref(), Some("me"));
        let line = "moat -- moat kv -p";
        assert!(context_of_line(line.split(' ').map(OsString::from)).is_some());
        assert!(context_of_line(["moat".into()].into_iter()).is_none());
    }
}
