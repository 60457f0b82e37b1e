//! State files on disk: reading what this program's servers, or the
//! original's, have written, and writing it anew.

mod load;
mod merge;
mod put;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::wire::state::{Flaw, Found, Reader};

pub use load::{Load, Loaded, load};
pub use merge::{Cut, Merged, Problem};
pub use put::NewFile;

/// Bytes that one read takes at most.
const PIECE: usize = 256 << 10;

/// Why a file cannot be used. Each says in one line what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be opened or read.
    #[error("{}: {why}", .path.display())]
    Read {
        /// The file
        path: PathBuf,
        /// The cause
        why: io::Error,
    },
    /// It has no byte.
    #[error("{}: it is empty: nothing to load", .path.display())]
    Empty {
        /// The file
        path: PathBuf,
    },
    /// It has no record.
    #[error("{}: it is no state file", .path.display())]
    NotAState {
        /// The file
        path: PathBuf,
    },
    /// Something in its middle cannot be read.
    #[error(
        "{}: damaged from byte {from} to {to} ({why}): --force takes what else can be read",
        .path.display()
    )]
    Damaged {
        /// The file
        path: PathBuf,
        /// The first damaged byte
        from: u64,
        /// The first byte behind the damage
        to: u64,
        /// What is wrong there
        why: Flaw,
    },
}

/// Reads a file, or standard input if it is named `-`, to its end, in pieces,
/// and gives each thing that is found to `take`, with how far it has been
/// read.
///
/// # Errors
/// If it cannot be read, and what `take` returns.
pub fn read<E: From<StoreError>>(
    path: &Path,
    mut take: impl FnMut(u64, Found<'_>) -> Result<(), E>,
) -> Result<u64, E> {
    let failed = |why| StoreError::Read {
        path: path.to_owned(),
        why,
    };
    let mut file: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()).into());
        }
        Box::new(file)
    };
    let mut reader = Reader::new();
    let mut piece = vec![0; PIECE];
    let mut read = 0;
    loop {
        let n = match file.read(&mut piece) {
            Ok(n) => n,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
            Err(why) => return Err(failed(why).into()),
        };
        match piece.get(..n) {
            None | Some([]) => reader.end(),
            Some(bytes) => reader.feed(bytes),
        }
        read += n as u64;
        while let Some(found) = reader.poll() {
            take(read, found)?;
        }
        if n == 0 {
            return Ok(read);
        }
    }
}
