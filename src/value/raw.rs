//! Encoded values, checked.

use crate::msgpack::{self, Fault};

use super::Value;

/// Why bytes cannot be stored as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RawError {
    /// More bytes than allowed.
    #[error("the value has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// How many there are
        size: usize,
        /// How many are allowed
        limit: usize,
    },
    /// The encoding is broken, or holds what may not be stored.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// One encoded value, checked: what a client may store.
///
/// Equality is that of the bytes; for equality of values see
/// [`same_value`](super::same_value).
#[derive(Clone, PartialEq, Eq)]
pub struct Raw(Box<[u8]>);

impl Raw {
    /// Checks that `bytes` are exactly one value that a client may store, of
    /// at most `limit` bytes, and copies them into a block of their own.
    ///
    /// # Errors
    /// Too many bytes; the first fault of the encoding.
    pub fn check(bytes: &[u8], limit: usize) -> Result<Self, RawError> {
        let size = bytes.len();
        if size > limit {
            return Err(RawError::TooLarge { size, limit });
        }
        msgpack::check(bytes)?;
        Ok(Self(bytes.into()))
    }

    /// The encoded bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The encoded bytes, given away.
    #[must_use]
    pub fn into_bytes(self) -> Box<[u8]> {
        self.0
    }

    /// The value.
    ///
    /// # Errors
    /// None for checked bytes, save for a fault of this program.
    pub fn decode(&self) -> Result<Value, Fault> {
        Value::decode(&self.0)
    }
}

impl AsRef<[u8]> for Raw {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Raw({:02x?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_encoded_bytes() {
        let text = b"\xa3abc";
        assert_eq!(Raw::check(text, 4).unwrap().bytes(), text);
        assert_eq!(
            Raw::check(text, 3),
            Err(RawError::TooLarge { size: 4, limit: 3 })
        );
    }

    #[test]
    fn what_cannot_be_stored_is_refused() {
        for (bytes, fault) in [
            (&b"\xc1"[..], Fault::Reserved(0)),
            (b"\xa2\xff\xfe", Fault::Utf8(0)),
            (b"\x81\x80\x01", Fault::MapInKey(1)),
            (b"\xc7\x06\x05\xa3foo\x01\x02", Fault::Ext(5)),
            (b"\xc7\x03\x04foo", Fault::Ext(4)),
            (b"\x01\x02", Fault::Trailing(1)),
        ] {
            assert_eq!(Raw::check(bytes, 100), Err(fault.into()), "{bytes:02x?}");
        }
    }
}
