//! What a request says.

use crate::msgpack::{EXT_PATH, write};
use crate::path::PathRef;

/// The fields of a request, encoded as they are added.
///
/// ```
/// use moat::client::Fields;
///
/// let mut fields = Fields::new();
/// fields.bool("nodes", true).bool("missing", true);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Fields {
    count: usize,
    bytes: Vec<u8>,
    window: Option<u64>,
}

impl Fields {
    /// No fields yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn key(&mut self, name: &str) -> &mut Vec<u8> {
        self.count += 1;
        write::str(&mut self.bytes, name);
        &mut self.bytes
    }

    /// Adds a field whose content is encoded already.
    pub fn encoded(&mut self, name: &str, object: &[u8]) -> &mut Self {
        self.key(name).extend_from_slice(object);
        self
    }

    /// Adds a field that is `null`.
    pub fn nil(&mut self, name: &str) -> &mut Self {
        write::nil(self.key(name));
        self
    }

    /// Adds a truth value.
    pub fn bool(&mut self, name: &str, truth: bool) -> &mut Self {
        write::bool(self.key(name), truth);
        self
    }

    /// Adds a number.
    pub fn uint(&mut self, name: &str, number: u64) -> &mut Self {
        write::uint(self.key(name), number);
        self
    }

    /// Adds a number that may be negative.
    pub fn int(&mut self, name: &str, number: i64) -> &mut Self {
        write::int(self.key(name), number);
        self
    }

    /// Adds a text.
    pub fn str(&mut self, name: &str, text: &str) -> &mut Self {
        write::str(self.key(name), text);
        self
    }

    /// Adds bytes.
    pub fn bin(&mut self, name: &str, bytes: &[u8]) -> &mut Self {
        write::bin(self.key(name), bytes);
        self
    }

    /// Adds a list of texts.
    pub fn texts<S: AsRef<str>>(&mut self, name: &str, texts: &[S]) -> &mut Self {
        let out = self.key(name);
        write::array(out, texts.len());
        for text in texts {
            write::str(out, text.as_ref());
        }
        self
    }

    /// Adds a path.
    pub fn path(&mut self, name: &str, path: PathRef<'_>) -> &mut Self {
        let out = self.key(name);
        write::ext(out, EXT_PATH, path.bytes().len());
        out.extend_from_slice(path.bytes());
        self
    }

    /// Asks for flow control on this request's stream: at most `window`
    /// messages under way unacknowledged. The original cannot work with 1 to
    /// 3.
    pub fn qlen(&mut self, window: u32) -> &mut Self {
        self.window = Some(u64::from(window));
        self.uint("qlen", u64::from(window))
    }

    pub(super) fn window(&self) -> Option<u64> {
        self.window
    }

    /// Writes the whole request.
    pub(super) fn write_request(&self, out: &mut Vec<u8>, action: &str, seq: u64) {
        write::map(out, self.count + 2);
        out.extend_from_slice(&self.bytes);
        write::str(out, "action");
        write::str(out, action);
        write::str(out, "seq");
        write::uint(out, seq);
    }
}
