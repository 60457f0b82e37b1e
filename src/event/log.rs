//! State files that a node writes while it runs, as clients ask for them and
//! are told of them.

use std::time::Duration;

/// What a client wants of the files that the node writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileJob {
    /// Write all changes from now on to this file.
    Log {
        /// The file, as the client named it
        path: String,
        /// Everything there is comes first.
        full: bool,
    },
    /// Write no more changes.
    Stop,
    /// Write what there is now to this file.
    Save {
        /// The file, as the client named it
        path: String,
        /// Internal data as well
        internal: bool,
    },
    /// Tell which files are written.
    Tell,
}

/// What came of a [`FileJob`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileDone {
    /// It is done; where the file is that was written, if one was
    Done(Option<String>),
    /// It is not.
    Failed(FileFault),
    /// The files that are written
    Told(Box<LogInfo>),
}

/// Why a file cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFault {
    /// Which file, as far as that is known
    pub path: String,
    /// The cause, in words
    pub why: String,
    /// Its number, if it is the system's
    pub errno: Option<i32>,
}

impl std::fmt::Display for FileFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, why, .. } = self;
        match path.is_empty() {
            true => write!(f, "{why}"),
            false => write!(f, "{path}: {why}"),
        }
    }
}

/// The files that a node writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogInfo {
    /// The file that takes all changes, if there is one
    pub path: Option<String>,
    /// Whether it began with everything there was
    pub full: bool,
    /// How long it has been doing so
    pub since: Duration,
    /// Changes in it
    pub changes: u64,
    /// Its length in bytes
    pub bytes: u64,
    /// Bytes of it that are on the disk for sure
    pub synced: u64,
    /// The file that is being begun, if one is
    pub next: Option<String>,
    /// Files that are to be written after that
    pub waiting: u64,
    /// Why changes cannot be written, and for how long that has been so
    pub failed: Option<(String, Duration)>,
    /// Changes that are in no file for that reason
    pub unsaved: u64,
}
