//! How a command ends: exit statuses and the one line an error becomes.
//!
//! An interrupt (Ctrl-C) needs no code: the signal's default action ends a
//! client command, which shells show as 130. A command that must clean up
//! first returns [`Exit::Interrupted`]. A closed stdout (`… | head`) ends a
//! command quietly and with success.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use super::context::Verbosity;
use super::out::Out;
use super::usage;

/// The exit statuses of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Success = 0,
    /// The command, or the server on its behalf, failed.
    Failure = 1,
    /// The command line or the configuration can't be used.
    Usage = 2,
    /// What was waited for has not come: it may later.
    TryAgain = 75,
    /// Ended by Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct CliError {
    kind: Kind,
    /// The commands as typed, for the usage line.
    names: Option<Vec<String>>,
    verbosity: Verbosity,
}

#[derive(Debug)]
enum Kind {
    /// The command line is wrong: usage and the error, status 2.
    Usage(String),
    /// A usage error that is already in its final form.
    Rendered(String),
    /// The configuration is wrong: one line, status 2.
    Setup(anyhow::Error),
    /// Something failed: one line, status 1.
    Failed(anyhow::Error),
    /// Nobody reads stdout any more.
    ClosedPipe,
}

impl CliError {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            names: None,
            verbosity: Verbosity::default(),
        }
    }

    /// The arguments don't go together, or one can't be read (status 2).
    /// The text begins with a capital letter.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Kind::Usage(text.into()))
    }

    pub(super) fn rendered(text: String) -> Self {
        Self::new(Kind::Rendered(text))
    }

    /// The error's text is the whole line that is shown, as in
    /// `ServerError: KeyError('x')` (status 1).
    pub(crate) fn failed(error: impl Error + Send + Sync + 'static) -> Self {
        Self::new(Kind::Failed(error.into()))
    }

    /// The configuration can't be used (status 2).
    pub(crate) fn setup(error: impl Error + Send + Sync + 'static) -> Self {
        Self::new(Kind::Setup(error.into()))
    }

    /// A usage error in the options of the program itself.
    pub(super) fn of_program(mut self) -> Self {
        self.names = Some(Vec::new());
        self
    }

    /// What is wrong, as one line for a log.
    pub(super) fn line(&self) -> String {
        match &self.kind {
            Kind::Usage(text) | Kind::Rendered(text) => one_line(text),
            Kind::Setup(cause) | Kind::Failed(cause) => one_line(&cause.to_string()),
            Kind::ClosedPipe => "nobody reads it".to_owned(),
        }
    }

    /// Adds what is known about the command line.
    pub(super) fn at(mut self, names: &[String], verbosity: Verbosity) -> Self {
        self.names.get_or_insert_with(|| names.to_vec());
        self.verbosity = verbosity;
        self
    }
}

/// The text of the chain is the line shown; a context put in front of it
/// with `anyhow` says what was being done.
impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Kind::Failed(error))
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::new(match error.kind() {
            io::ErrorKind::BrokenPipe => Kind::ClosedPipe,
            _ => Kind::Failed(error.into()),
        })
    }
}

/// Flushes the output, prints the error if there is one.
pub(super) fn report(result: Result<Exit, CliError>, out: &Out) -> ExitCode {
    let flushed = out.flush();
    let error = match (result, flushed) {
        (Ok(exit), Ok(())) => return exit.into(),
        (Err(error), _) | (Ok(_), Err(error)) => error,
    };
    let exit = match &error.kind {
        Kind::Usage(text) => {
            out.note(&usage::text(
                error.names.as_deref().unwrap_or_default(),
                text,
            ));
            Exit::Usage
        }
        Kind::Rendered(text) => {
            out.note(text);
            Exit::Usage
        }
        Kind::Setup(cause) => {
            out.note(&format!("Error: {}", one_line(&cause.to_string())));
            note_causes(cause, error.verbosity, out);
            Exit::Usage
        }
        Kind::Failed(cause) => {
            out.note(&one_line(&cause.to_string()));
            note_causes(cause, error.verbosity, out);
            Exit::Failure
        }
        Kind::ClosedPipe => Exit::Success,
    };
    exit.into()
}

/// At `-vv`: what led to the error.
fn note_causes(error: &anyhow::Error, verbosity: Verbosity, out: &Out) {
    if verbosity >= Verbosity::Debug {
        for cause in error.chain().skip(1) {
            out.note(&format!("  because: {}", one_line(&cause.to_string())));
        }
    }
}

/// Whatever a server or a file put into an error, it stays on one line and
/// sends nothing to the terminal.
fn one_line(text: &str) -> String {
    text.trim_end()
        .chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_without_control_characters() {
        assert_eq!(one_line("a\nb\x1b[31mc\n"), "a\\nb\\u{1b}[31mc");
        assert_eq!(one_line("grüße 'x' \"y\""), "grüße 'x' \"y\"");
    }

    #[test]
    fn a_closed_pipe_is_told_from_other_failures() {
        let closed = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(closed.kind, Kind::ClosedPipe));
        let full = CliError::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(matches!(full.kind, Kind::Failed(_)));
    }
}
