//! Paths that a stream sends shortened: each message says how many elements
//! its path shares with the one before, and the others.

use crate::client::error::Error;
use crate::client::proto::message::{Message, elements};
use crate::msgpack::{Head, Reader};
use crate::path::{PathRef, RawPath};

/// The last path of one stream.
#[derive(Debug, Default)]
pub(super) struct Shortened {
    bytes: Vec<u8>,
    /// Where each element ends in `bytes`
    ends: Vec<usize>,
}

impl Shortened {
    /// The whole path of a message, if it was sent shortened. It is relative
    /// to the path asked for.
    pub(super) fn complete(&mut self, message: &Message) -> Result<Option<RawPath>, Error> {
        let (Some(depth), Some(path)) = (message.field("depth"), message.field("path")) else {
            return Ok(None);
        };
        let Head::Uint(depth) = Reader::new(depth).head()? else {
            return Ok(None);
        };
        let Some(rest) = elements(path)? else {
            return Ok(None);
        };
        let depth = usize::try_from(depth).unwrap_or(usize::MAX);
        if depth > self.ends.len() {
            return Err(Error::Protocol(format!(
                "a path that shares {depth} elements with one of {}",
                self.ends.len()
            )));
        }
        self.ends.truncate(depth);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
        // an incomplete last element is dropped, as the original does
        for element in rest.elements().map_while(Result::ok) {
            self.bytes.extend_from_slice(element);
            self.ends.push(self.bytes.len());
        }
        Ok(Some(PathRef::new(&self.bytes).to_owned()))
    }
}
