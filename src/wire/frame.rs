//! Where one message ends and the next begins, in a stream of msgpack
//! objects without any frame around them.

use crate::msgpack::{self, Fault, Walker};

/// Why a connection cannot go on: where the next message begins is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The bytes are no msgpack.
    #[error(transparent)]
    Encoding(Fault),
    /// A message longer than the limit.
    #[error("a message of more than {0} bytes")]
    TooLong(usize),
}

/// A whole message at the beginning of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Its length
    pub len: usize,
    /// Why it is not acceptable although its end is known
    pub fault: Option<Fault>,
}

/// Cuts a stream of bytes into messages.
#[derive(Debug)]
pub struct Splitter {
    walker: Walker,
    limit: usize,
}

impl Splitter {
    /// Messages may have `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            walker: Walker::new(),
            limit,
        }
    }

    /// Greatest length of a message, in bytes.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Whether a message has begun and not ended.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.walker.is_inside()
    }

    /// The message that `bytes` begin with, or `None` if it is not complete:
    /// call again with these bytes and more. What has been looked at is not
    /// looked at again.
    ///
    /// # Errors
    /// If no message can be found any more; the connection must end.
    #[inline]
    pub fn next(&mut self, bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        if !self.walker.is_inside()
            && let Ok(len) = msgpack::check_first(bytes)
        {
            return self.frame(len, None);
        }
        self.resume(bytes)
    }

    fn resume(&mut self, bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
        match self.walker.advance(bytes) {
            Err(fault) => Err(FrameError::Encoding(fault)),
            Ok(Some(len)) => {
                let frame = bytes.get(..len).unwrap_or(bytes);
                self.frame(len, msgpack::check(frame).err())
            }
            Ok(None) if bytes.len() > self.limit => Err(FrameError::TooLong(self.limit)),
            Ok(None) => Ok(None),
        }
    }

    #[inline]
    const fn frame(&self, len: usize, fault: Option<Fault>) -> Result<Option<Frame>, FrameError> {
        if len > self.limit {
            return Err(FrameError::TooLong(self.limit));
        }
        Ok(Some(Frame { len, fault }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_in_pieces_of_any_size() {
        let stream = b"\x81\xa1a\x01\x82\xa1b\x92\x01\x02\xa1c\xc4\x03xyz\xc0";
        for piece in 1..stream.len() {
            let (mut splitter, mut held, mut lens) = (Splitter::new(100), Vec::new(), Vec::new());
            for chunk in stream.chunks(piece) {
                held.extend_from_slice(chunk);
                while let Some(frame) = splitter.next(&held).unwrap() {
                    lens.push(frame.len);
                    held.drain(..frame.len);
                }
            }
            assert_eq!(lens, [4, 13, 1], "in pieces of {piece}");
        }
    }

    #[test]
    fn what_cannot_be_stored_is_told_from_what_ends_the_connection() {
        let mut splitter = Splitter::new(100);
        assert_eq!(
            splitter.next(b"\x81\xa1a\xa1\xff\x01"),
            Ok(Some(Frame {
                len: 5,
                fault: Some(Fault::Utf8(3))
            }))
        );
        assert_eq!(
            splitter.next(b"\xc1"),
            Err(FrameError::Encoding(Fault::Reserved(0)))
        );
    }

    #[test]
    fn the_limit_counts_before_the_message_is_complete() {
        let mut splitter = Splitter::new(10);
        let mut bytes = b"\xc5\xff\xff".to_vec();
        assert_eq!(splitter.next(&bytes), Ok(None));
        bytes.resize(11, 0);
        assert_eq!(splitter.next(&bytes), Err(FrameError::TooLong(10)));
        assert_eq!(
            Splitter::new(10).next(&[0x90; 10]),
            Ok(Some(Frame {
                len: 1,
                fault: None
            }))
        );
    }
}
