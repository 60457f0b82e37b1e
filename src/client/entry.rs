//! What the server tells about entries.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::chain::Chain;
use crate::client::error::Error;
use crate::client::proto::Message;
use crate::event::Tock;
use crate::path::Path;
use crate::value::Value;

/// Nesting that a value may have to become a Rust type.
const MAX_TYPED_DEPTH: usize = 128;

/// An entry as the server shows it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Entry {
    /// Where it is. In trees and watches this is relative to the path asked
    /// for.
    pub path: Path,
    /// Which changes led to this state, if the request asked for that; `None`
    /// also if there is no such entry
    pub chain: Option<Chain>,
    /// The network's logical time of the last change; a fresh one if there is
    /// no such entry
    pub tock: Tock,
    encoded: Option<Box<[u8]>>,
}

impl Entry {
    /// Whether it has a value; `null` is one.
    #[must_use]
    pub fn has_value(&self) -> bool {
        self.encoded.is_some()
    }

    /// The value as it was stored, encoded.
    #[must_use]
    pub fn encoded(&self) -> Option<&[u8]> {
        self.encoded.as_deref()
    }

    /// The value, decoded.
    ///
    /// # Errors
    /// [`Error::Value`] if it cannot be decoded, which the server should have
    /// refused.
    pub fn value(&self) -> Result<Option<Value>, Error> {
        self.encoded().map(decode).transpose()
    }

    /// The value as a Rust type; maps become structs by their keys.
    ///
    /// # Errors
    /// [`Error::Value`] if it does not fit.
    pub fn value_as<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.encoded().map(typed).transpose()
    }

    pub(super) fn of(message: &Message, path: Path) -> Result<Self, Error> {
        Ok(Self {
            path,
            chain: chain(message)?,
            tock: Tock(message.uint("tock").unwrap_or(0)),
            encoded: message.field("value").map(Into::into),
        })
    }

    /// An entry of a stream, which carries its path.
    pub(super) fn in_stream(message: &Message) -> Result<Self, Error> {
        Self::of(message, path(message)?)
    }
}

/// What a write has done.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Written {
    /// Whether the value is another one now
    pub changed: bool,
    /// The value before, encoded; not shown if the write said what it must be
    pub prev: Option<Box<[u8]>>,
    /// The entry's new chain, if the request asked for it
    pub chain: Option<Chain>,
    /// The entry's new tock
    pub tock: Tock,
}

impl Written {
    pub(super) fn of(message: &Message) -> Result<Self, Error> {
        Ok(Self {
            changed: message.bool("changed").unwrap_or(false),
            prev: message.field("prev").map(Into::into),
            chain: chain(message)?,
            tock: Tock(message.uint("tock").unwrap_or(0)),
        })
    }
}

/// An entry that a recursive deletion has deleted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Deleted {
    /// Where it was, relative to the path asked for
    pub path: Path,
    /// The value it had, encoded
    pub prev: Option<Box<[u8]>>,
    /// Its chain, that begins with the deletion
    pub chain: Option<Chain>,
    /// Its new tock
    pub tock: Tock,
}

impl Deleted {
    pub(super) fn of(message: &Message) -> Result<Self, Error> {
        Ok(Self {
            path: path(message)?,
            prev: message.field("old_value").map(Into::into),
            // the message itself is a link, its other fields beside it
            chain: match message.field("node") {
                Some(_) => Chain::decode(message.bytes())?,
                None => None,
            },
            tock: Tock(message.uint("tock").unwrap_or(0)),
        })
    }
}

pub(super) fn path(message: &Message) -> Result<Path, Error> {
    let path = message
        .path()
        .ok_or_else(|| Error::Protocol("an entry without path".to_owned()))?;
    Ok(Path::decode(path)?)
}

fn chain(message: &Message) -> Result<Option<Chain>, Error> {
    match message.field("chain") {
        Some(chain) => Chain::decode(chain),
        None => Ok(None),
    }
}

/// Decodes a value that the server has sent.
pub(super) fn decode(encoded: &[u8]) -> Result<Value, Error> {
    Value::decode(encoded).map_err(|e| Error::Value(e.to_string()))
}

fn typed<T: DeserializeOwned>(encoded: &[u8]) -> Result<T, Error> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(encoded);
    reader.set_max_depth(MAX_TYPED_DEPTH);
    T::deserialize(&mut reader).map_err(|e| Error::Value(e.to_string()))
}

/// Encodes a Rust value; structs become maps by their fields' names.
pub(super) fn encode_typed<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    rmp_serde::to_vec_named(value).map_err(|e| Error::Value(e.to_string()))
}
