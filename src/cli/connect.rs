//! How commands reach a server, and what its errors look like.
//!
//! The client library passes a server's words on as they come; here they get
//! the form in which the tutorial shows them, whoever the server is.

use crate::client::{Client, Error, Options, Refusal};
use crate::config::Ssl;
use crate::value::Value;

use super::context::Context;
use super::exit::CliError;

impl Context {
    /// Where the server is.
    pub(crate) fn server(&self) -> Result<Options, CliError> {
        let conn = &self.config.kv.conn;
        if conn.ssl != Ssl::default() {
            return Err(anyhow::anyhow!(
                "kv.conn.ssl: this build does not offer TLS: take 'ssl' out to connect in the clear"
            )
            .into());
        }
        let options = Options::new(conn.host.clone(), conn.port);
        Ok(options.connect_timeout(conn.init_timeout.get()).eager())
    }

    /// Connects to the server.
    pub(crate) async fn connect(&self) -> Result<Client, CliError> {
        Ok(Client::connect(self.server()?).await?)
    }
}

/// An error of the client library as one line.
#[derive(Debug, thiserror::Error)]
#[error("{line}")]
struct Failure {
    line: String,
    #[source]
    source: Error,
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        Self::failed(Failure {
            line: line(&error),
            source: error,
        })
    }
}

/// The line that is shown for an error.
pub(super) fn line(error: &Error) -> String {
    let name = error.name();
    match error {
        Error::Server(refusal) => match file(refusal) {
            Some(file) => format!("{name}: {}: {file}", refusal.text),
            None => format!("{name}: {}", unwrapped(&refusal.text)),
        },
        Error::Connect { .. } => {
            format!("{name}: {error} (is a server running there? else choose one by -h and -p)")
        }
        _ => format!("{name}: {error}"),
    }
}

/// The file that an error is about, where its text does not say so.
fn file(refusal: &Refusal) -> Option<String> {
    let info = refusal.info.as_deref().and_then(|i| Value::decode(i).ok());
    let path = info.as_ref()?.field("path")?.as_str()?;
    let is_log = refusal.etype.as_deref() == Some("log");
    (is_log && !refusal.text.contains(path)).then(|| path.to_owned())
}

/// What the original says about an error in a script: the script's own error
/// stands as a text in one of the server's.
fn unwrapped(text: &str) -> &str {
    let inner = text
        .strip_prefix("ClientError(\"")
        .and_then(|text| text.strip_suffix("\")"));
    match inner {
        Some(inner) if is_error(inner) && !inner.contains('\\') => inner,
        _ => text,
    }
}

/// Whether a text is an error in Python's form, as `KeyError('x')`.
fn is_error(text: &str) -> bool {
    text.split_once('(').is_some_and(|(name, rest)| {
        rest.ends_with(')')
            && name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.chars().all(|c| c.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_scripts_are_unwrapped() {
        assert_eq!(
            unwrapped("ClientError(\"ValueError('not a percentage')\")"),
            "ValueError('not a percentage')"
        );
        for own in [
            "ClientError(\"You can't delete the root node\")",
            "ClientError('This type does not exist')",
            "ClientError(\"Data is 1.5 not '1.5' at v.fl\")",
            "KeyError(P('nope'))",
        ] {
            assert_eq!(unwrapped(own), own);
        }
    }
}
