//! Logging in at a server: who somebody is, and what is said to prove it.
//!
//! The methods are the original's (client protocol, 8). None of them
//! authenticates the server, and the key exchange hides a password from who
//! only listens: over a network that is not trusted, the connection must be.
//! Nothing here draws random numbers: they are handed in.

mod exchange;

use std::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub use exchange::{Exchange, ExchangeError, LENGTH, PRIVATE, seal};

/// Why a text does not say how to log in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// No such method is known.
    #[error("there is no login method '{0}': choose root, password or _test")]
    Method(String),
    /// A parameter is not `name=value`.
    #[error("'{0}' is no 'name=value'")]
    Parameter(String),
    /// The method needs this.
    #[error("login by '{method}' needs '{parameter}=…'")]
    Missing {
        /// The method
        method: &'static str,
        /// The parameter
        parameter: &'static str,
    },
    /// The method does not know this.
    #[error("login by '{method}' has no parameter '{parameter}'")]
    Unknown {
        /// The method
        method: &'static str,
        /// The parameter
        parameter: String,
    },
}

/// Who somebody is, and the proof.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// The only user of method `root`
    Root,
    /// A user of method `_test`, who proves nothing
    Test(String),
    /// A user of method `password`, and the password's digest
    Password(String, Zeroizing<[u8; 32]>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} {})", self.method(), self.user())
    }
}

impl Credentials {
    /// Reads `METHOD name=value…`, in which a value may be in quotes.
    ///
    /// # Errors
    /// If it is not of this form, or not what the method needs.
    pub fn parse(text: &str) -> Result<Self, AuthError> {
        let mut words = text.split_whitespace();
        let method = words.next().unwrap_or_default();
        let parameters = words.map(|word| {
            let (name, value) = word
                .split_once('=')
                .ok_or_else(|| AuthError::Parameter(word.to_owned()))?;
            Ok((name.to_owned(), value.to_owned()))
        });
        Self::new(method, parameters.collect::<Result<Vec<_>, _>>()?)
    }

    /// What a method and its parameters say.
    ///
    /// # Errors
    /// If there is no such method, or it needs other parameters.
    pub fn new(method: &str, parameters: Vec<(String, String)>) -> Result<Self, AuthError> {
        let (method, known): (&'static str, &[&'static str]) = match method {
            "root" => ("root", &[]),
            "_test" => ("_test", &["name"]),
            "password" => ("password", &["name", "password"]),
            other => return Err(AuthError::Method(other.to_owned())),
        };
        let mut found = [None, None];
        for (name, value) in parameters {
            let at = known.iter().position(|known| *known == name);
            match at.and_then(|at| found.get_mut(at)) {
                Some(slot) => *slot = Some(Zeroizing::new(value)),
                None => {
                    return Err(AuthError::Unknown {
                        method,
                        parameter: name,
                    });
                }
            }
        }
        let [name, password] = found;
        let need = |value: Option<Zeroizing<String>>, parameter| {
            value.ok_or(AuthError::Missing { method, parameter })
        };
        Ok(match method {
            "root" => Self::Root,
            "_test" => Self::Test(need(name, "name")?.to_string()),
            _ => {
                let name = need(name, "name")?.to_string();
                Self::Password(name, digest(&need(password, "password")?))
            }
        })
    }

    /// The method's name.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Test(_) => "_test",
            Self::Password(..) => "password",
        }
    }

    /// The user's name.
    #[must_use]
    pub fn user(&self) -> &str {
        match self {
            Self::Root => "*",
            Self::Test(name) | Self::Password(name, _) => name,
        }
    }
}

/// What of a password is sent and stored: its SHA-256.
#[must_use]
pub fn digest(password: &str) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(Sha256::digest(password.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_who_somebody_is() {
        assert_eq!(Credentials::parse("root"), Ok(Credentials::Root));
        let joe = || "joe".to_owned();
        assert_eq!(
            Credentials::parse("_test  name=joe"),
            Ok(Credentials::Test(joe()))
        );
        // digits are a password as any
        assert_eq!(
            Credentials::parse("password name=joe password=12=345"),
            Ok(Credentials::Password(joe(), digest("12=345")))
        );
    }

    #[test]
    fn what_it_does_not_say_is_told_without_the_password() {
        for (text, told) in [
            ("", "there is no login method ''"),
            ("magic", "there is no login method 'magic'"),
            ("_test", "needs 'name=…'"),
            ("password name=joe", "needs 'password=…'"),
            ("root name=joe", "has no parameter 'name'"),
            ("_test joe", "'joe' is no 'name=value'"),
        ] {
            let why = Credentials::parse(text).unwrap_err().to_string();
            assert!(why.contains(told), "{text}: {why}");
        }
        let credentials = Credentials::parse("password name=joe password=secret").unwrap();
        assert_eq!(format!("{credentials:?}"), "Credentials(password joe)");
    }
}
