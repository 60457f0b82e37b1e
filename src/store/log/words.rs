//! What a log is told to do, and what it says is to be done.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::event::{FileDone, FileFault};
use crate::node::FileToken;
use crate::store::log::FileId;

/// When what was written is made to outlive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// When the system likes, and when a file ends
    Never,
    /// So long after it was written, at the latest
    Within(Duration),
    /// Before it is acknowledged
    Always,
}

/// Something to be done to a file. Each is answered by [`handle_done`](super::Log::handle_done),
/// in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Create it under a temporary name.
    Create {
        /// The file
        file: FileId,
        /// The name that it is to have
        path: PathBuf,
    },
    /// Append bytes.
    Append {
        /// The file
        file: FileId,
        /// The bytes
        bytes: Vec<u8>,
    },
    /// Make what was written durable.
    Sync {
        /// The file
        file: FileId,
        /// What its side file is to say when that is done
        mark: Vec<u8>,
    },
    /// It is complete: make it durable and give it its name.
    Finish {
        /// The file
        file: FileId,
        /// What its side file is to say when that is done
        mark: Vec<u8>,
    },
    /// Make it durable. Nothing more will be done to it.
    Close {
        /// The file
        file: FileId,
        /// What its side file is to say when that is done
        mark: Vec<u8>,
    },
    /// Cut off what was written last, as far as that can be done, and leave
    /// it.
    Abandon {
        /// The file
        file: FileId,
        /// Bytes that are whole records
        len: u64,
    },
    /// Remove it: it has no name yet.
    Remove {
        /// The file
        file: FileId,
    },
}

impl Op {
    /// Which file it is about.
    #[must_use]
    pub const fn file(&self) -> FileId {
        match self {
            Self::Create { file, .. }
            | Self::Append { file, .. }
            | Self::Sync { file, .. }
            | Self::Finish { file, .. }
            | Self::Close { file, .. }
            | Self::Abandon { file, .. }
            | Self::Remove { file } => *file,
        }
    }
}

/// What else is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Tell who asked.
    Answer(FileToken, FileDone),
    /// Writes cannot be logged, for this reason, or can be again.
    Fault(Option<String>),
    /// Tell the operator.
    Report(Report),
}

/// What an operator may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Changes go to this file from now on.
    Begun(PathBuf),
    /// Changes are not written any more.
    Ended(PathBuf),
    /// Changes cannot be written to this file.
    Failed(PathBuf, String),
    /// A new file cannot be written.
    NotBegun(PathBuf, String),
    /// They can again: everything is in this file.
    Whole(PathBuf),
    /// A write took so long that they go on in the background.
    Slow(PathBuf, Duration),
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Begun(path) => write!(f, "changes are written to {}", path.display()),
            Self::Ended(path) => write!(f, "changes are no longer written to {}", path.display()),
            Self::Failed(path, why) => write!(
                f,
                "{}: changes cannot be written: {why}; a new file is tried until it can be",
                path.display()
            ),
            Self::NotBegun(path, why) => {
                write!(f, "{}: the file cannot be written: {why}", path.display())
            }
            Self::Whole(path) => {
                write!(f, "{}: written anew with everything in it", path.display())
            }
            Self::Slow(path, time) => write!(
                f,
                "{}: a write took {} ms: the disk is slow, replies wait for it",
                path.display(),
                time.as_millis()
            ),
        }
    }
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The cause, in words
    pub words: String,
    /// Its number, if it is the system's
    pub errno: Option<i32>,
}

impl Trouble {
    /// A cause that is not the system's.
    #[must_use]
    pub fn new(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            errno: None,
        }
    }

    /// The same as what went wrong with a file.
    #[must_use]
    pub fn about(&self, path: &Path) -> FileFault {
        FileFault {
            path: path.to_string_lossy().into_owned(),
            why: self.words.clone(),
            errno: self.errno,
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words)
    }
}

impl From<io::Error> for Trouble {
    fn from(why: io::Error) -> Self {
        let text = why.to_string();
        let words = match text.rsplit_once(" (os error ") {
            Some((words, _)) => words.to_owned(),
            None => text,
        };
        Self {
            words,
            errno: why.raw_os_error(),
        }
    }
}

/// What a log does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// When changes are made durable
    pub sync: Sync,
    /// Whether writes are refused while they cannot be logged
    pub refuse: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: Sync::Within(Duration::from_secs(1)),
            refuse: false,
        }
    }
}
