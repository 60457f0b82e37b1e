//! Usage errors and help, in the form that users of the original know:
//!
//! ```text
//! Usage: moat kv [OPTIONS] COMMAND [ARGS]...
//! Try 'moat kv --help' for help.
//!
//! Error: No such command 'nosuch'.
//! ```

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory as _};

use super::args::Cli;
use super::exit::{CliError, Exit};
use super::out::Out;

/// Help and version are printed, anything else is a usage error.
pub(super) fn answer(error: &clap::Error, args: &[OsString], out: &Out) -> Result<Exit, CliError> {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            out.text(&error.render().to_string())?;
            Ok(Exit::Success)
        }
        _ => {
            let names: Vec<&OsStr> = args.iter().skip(1).map(OsString::as_os_str).collect();
            let argument = strings(error, ContextKind::InvalidArg);
            let option = argument.first().map(|name| bare(name));
            Err(CliError::rendered(with_command(
                &names,
                option,
                |command| {
                    let usage = match error.get(ContextKind::Usage) {
                        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
                        _ => command.render_usage().to_string(),
                    };
                    form(&usage, &message(error, command))
                },
            )))
        }
    }
}

/// Prints the help of the command with these names.
pub(super) fn help(names: &[String], out: &Out) -> Result<Exit, CliError> {
    let help = with_command(names, None, |command| command.render_help().to_string());
    out.text(&help)?;
    Ok(Exit::Success)
}

/// The text of a usage error of the command with these names.
pub(super) fn text(names: &[String], message: &str) -> String {
    let usage = with_command(names, None, |command| command.render_usage().to_string());
    form(&usage, message)
}

/// Finds the command that `words` name; those that name none, such as options
/// and their values, are skipped. A command that has the option `of` ends the
/// search: what follows is not to blame.
fn with_command<T>(
    words: &[impl AsRef<OsStr>],
    of: Option<&str>,
    f: impl FnOnce(&mut Command) -> T,
) -> T {
    let mut root = Cli::command();
    root.build();
    let mut command = &mut root;
    for word in words {
        if of.is_some_and(|option| long_option(command, option).is_some()) {
            break;
        }
        if command.find_subcommand(word).is_some() {
            command = command
                .find_subcommand_mut(word)
                .expect("invariant: it was found above");
        }
    }
    f(command)
}

/// The option with this long name, `--port`.
fn long_option<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    let long = name.strip_prefix("--")?;
    command.get_arguments().find(|a| a.get_long() == Some(long))
}

fn form(usage: &str, message: &str) -> String {
    let usage = usage.trim_end();
    let usage = usage.strip_prefix("Usage:").map_or(usage, str::trim_start);
    let command: Vec<&str> = usage
        .split_whitespace()
        .take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    let command = command.join(" ");
    format!("Usage: {usage}\nTry '{command} --help' for help.\n\nError: {message}")
}

/// What is wrong, in one sentence.
fn message(error: &clap::Error, command: &Command) -> String {
    let argument = strings(error, ContextKind::InvalidArg);
    let value = strings(error, ContextKind::InvalidValue).concat();
    let name = argument.first().map_or("", |name| bare(name));
    let spelled = spelled(command, name);
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = strings(error, ContextKind::InvalidSubcommand).concat();
            let near = did_you_mean(error, ContextKind::SuggestedSubcommand);
            format!("No such command '{word}'.{near}")
        }
        ErrorKind::UnknownArgument if name.starts_with('-') => {
            let near = did_you_mean(error, ContextKind::SuggestedArg);
            format!("No such option: {name}{near}")
        }
        ErrorKind::UnknownArgument => {
            format!("Got unexpected extra argument ({})", argument.concat())
        }
        ErrorKind::MissingSubcommand => "Missing command.".to_owned(),
        ErrorKind::MissingRequiredArgument => {
            let names: Vec<_> = argument.iter().map(|n| format!("'{}'", bare(n))).collect();
            let what = if name.starts_with('-') {
                "option"
            } else {
                "argument"
            };
            format!("Missing {what} {}.", names.join(", "))
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            format!("Option {spelled} requires an argument.")
        }
        ErrorKind::WrongNumberOfValues | ErrorKind::TooFewValues => {
            let wanted = [ContextKind::ExpectedNumValues, ContextKind::MinValues]
                .into_iter()
                .find_map(|kind| match error.get(kind) {
                    Some(ContextValue::Number(n)) => Some(*n),
                    _ => None,
                });
            match wanted {
                Some(n) => format!("Option {spelled} requires {n} arguments."),
                None => format!("Option {spelled} requires more arguments."),
            }
        }
        ErrorKind::InvalidValue => {
            let valid = strings(error, ContextKind::ValidValue);
            let near = did_you_mean(error, ContextKind::SuggestedValue);
            format!(
                "Invalid value for {spelled}: '{value}' is not one of {}.{near}",
                valid.join(", ")
            )
        }
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map(ToString::to_string);
            match why.as_deref() {
                None | Some("invalid digit found in string") => {
                    format!("Invalid value for {spelled}: '{value}' is not a valid integer.")
                }
                Some(why) => format!("Invalid value for {spelled}: '{value}': {why}."),
            }
        }
        ErrorKind::ArgumentConflict => {
            let other = strings(error, ContextKind::PriorArg);
            let other: Vec<_> = other.iter().map(|n| format!("'{}'", bare(n))).collect();
            match other.as_slice() {
                [same] if *same == format!("'{name}'") => {
                    format!("Option '{name}' can't be repeated.")
                }
                _ => format!("'{name}' can't be used with {}.", other.join(", ")),
            }
        }
        _ => first_line(&error.to_string()),
    }
}

/// An option by both its names: `'-p' / '--port'`.
fn spelled(command: &Command, name: &str) -> String {
    match long_option(command, name).and_then(Arg::get_short) {
        Some(short) => format!("'-{short}' / '{name}'"),
        None => format!("'{name}'"),
    }
}

/// The texts clap keeps about an error.
fn strings(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// `--port <N>` → `--port`, `<PATH>` → `PATH`, `[NAME]...` → `NAME`.
fn bare(argument: &str) -> &str {
    let first = argument.split_whitespace().next().unwrap_or(argument);
    first
        .trim_end_matches("...")
        .trim_matches(['<', '>', '[', ']'])
}

fn did_you_mean(error: &clap::Error, kind: ContextKind) -> String {
    strings(error, kind)
        .first()
        .map(|near| format!(" Did you mean {near}?"))
        .unwrap_or_default()
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
