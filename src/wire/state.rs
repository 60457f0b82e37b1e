//! State files: what an original server or this one writes to disk, and
//! loads (cluster protocol, 12).
//!
//! A file is a sequence of maps, nothing else: no header, no end mark. The
//! first one is bookkeeping, then come entries and changes. Files may stand
//! one behind the other in one stream, and each of them may end torn where
//! the power failed; see [`Reader`] for how that is told from damage.

mod read;
mod record;
mod usual;
mod write;

pub use read::{Found, Reader};
pub use record::{Books, Flaw};
pub use write::Writer;

/// Bytes of the longest record that is read: a value may have 16 MiB where
/// servers are left as they come, and all else is short.
pub const MAX_RECORD: usize = 64 << 20;
