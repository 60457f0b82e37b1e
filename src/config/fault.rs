//! What is wrong with a configuration: where, in which key, why.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::de::{Expected, Unexpected};

use crate::literal::repr;

use super::item::Origin;

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("can't read configuration file {}: {source}", path.display())]
    File {
        /// The file
        path: PathBuf,
        /// Why
        source: io::Error,
    },
    /// A file or option says something that can't be.
    #[error(transparent)]
    Content(#[from] Fault),
}

/// What is wrong, with place and key as far as they are known.
#[derive(Debug)]
pub struct Fault {
    origin: Option<Origin>,
    /// The keys that lead to it, outermost first.
    keys: Vec<String>,
    what: String,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self {
            origin: None,
            keys: Vec::new(),
            what: what.into(),
        }
    }

    /// Adds the place, unless a more exact one is known.
    pub(super) fn at(mut self, origin: &Origin) -> Self {
        self.origin.get_or_insert_with(|| origin.clone());
        self
    }

    /// Adds the key that leads to it.
    pub(super) fn below(mut self, key: &str) -> Self {
        self.keys.insert(0, key.to_owned());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if !self.keys.is_empty() {
            write!(f, "{}: ", self.keys.join("."))?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(text.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(b) => b.to_string(),
            Unexpected::Signed(n) => n.to_string(),
            Unexpected::Float(x) => repr::Float(x).to_string(),
            Unexpected::Str(text) => repr::Text(text).to_string(),
            Unexpected::Bytes(_) => "a binary".to_owned(),
            Unexpected::Unit => "nothing".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Map => "a map".to_owned(),
            other => other.to_string(),
        };
        Self::new(format!("{found} is not {}", in_words(expected)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(_len: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("this is not {}", in_words(expected)))
    }
}

/// What Rust calls the expected type, for people.
fn in_words(expected: &dyn Expected) -> String {
    let expected = expected.to_string();
    let words = match expected.as_str() {
        "u16" => "a number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number from 0 on",
        "i32" | "i64" => "a whole number",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" => "a text",
        "a sequence" => "a list",
        "a tuple of size 2" => "[HOST, PORT]",
        "a map" => "a map of names",
        other => other,
    };
    words.to_owned()
}

/// `; did you mean X?` with the known word that is nearest, if one is near.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(nearness, _)| *nearness > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| format!("; did you mean {candidate}?"))
        .unwrap_or_default()
}
