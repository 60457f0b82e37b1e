//! State files on disk: reading what this program's servers, or the
//! original's, have written, and writing it anew.

pub mod keep;
mod load;
pub mod log;
mod merge;
mod put;
mod sum;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::event::Event;
use crate::wire::state::{Books, Flaw, Found, Reader};

pub use load::{Load, Loaded, load};
pub use merge::{Cut, Merged};
pub use put::NewFile;
pub use sum::{Checker, Checks, Mismatch, Sums, beside, take_closed};

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
    /// It is not what its checksums were taken of.
    #[error(
        "{}: bytes {} to {} {} {}: --force takes what can be read; delete {} if the file was \
         changed on purpose",
        .path.display(),
        .what.span().start,
        .what.span().end,
        .what.what(),
        name(.path),
        name(.path),
    )]
    Mismatch {
        /// The file
        path: PathBuf,
        /// Where, and how
        what: Mismatch,
    },
}

/// The side file's name, for messages.
fn name(path: &Path) -> String {
    let side = beside(path);
    let name = side.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// A record that says something.
#[derive(Debug)]
pub enum Record<'a> {
    /// An entry or a change. Its tock is 0 if it has none.
    Event(&'a Event),
    /// Bookkeeping
    Books(&'a Books),
}

/// Something that is wrong with a file, and does not keep the rest from being
/// read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file
    pub path: PathBuf,
    /// Where, in bytes
    pub at: u64,
    /// What
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, at, what } = self;
        write!(f, "{}: byte {at}: {what}", path.display())
    }
}

/// Reads a state file, or standard input if it is named `-`: each record goes
/// to `take`, with how many bytes have been read, and whatever is left out
/// because it cannot be read to `tell`, as well as what does not match its
/// checksums, if it has some. Returns how many records there were.
///
/// # Errors
/// If it cannot be read, is no state file, or is damaged and not `force`; and
/// what `take` returns.
pub fn records<E: From<StoreError>>(
    path: &Path,
    force: bool,
    mut tell: impl FnMut(Problem),
    mut take: impl FnMut(u64, Record<'_>) -> Result<(), E>,
) -> Result<u64, E> {
    let mut count = 0;
    let mut problem = |at, what| {
        let path = path.to_owned();
        tell(Problem { path, at, what });
    };
    let mut checker = checker(path, force, &mut problem)?;
    let mut differs = Differs::default();
    let size = read(path, |read, seen| {
        let found = match seen {
            Seen::Found(found) => found,
            Seen::Bytes(bytes) => {
                let Some(checker) = &mut checker else {
                    return Ok(());
                };
                // before their records are looked at
                let mut each = |what| {
                    if !force {
                        let path = path.to_owned();
                        return Err(E::from(StoreError::Mismatch { path, what }));
                    }
                    differs.add(what, path, &mut problem);
                    Ok(())
                };
                checker.feed(bytes, &mut each)?;
                return match checker.end().filter(|_| bytes.is_empty()) {
                    Some(what) => each(what),
                    None => Ok(()),
                };
            }
        };
        match found {
            Found::Event(event) => {
                count += 1;
                take(read, Record::Event(event))?;
            }
            Found::Books(books) => {
                count += 1;
                take(read, Record::Books(books))?;
            }
            Found::Strange(span) => {
                problem(span.start, "a record that says nothing known".to_owned());
            }
            Found::Torn(span) => {
                let bytes = span.end - span.start;
                let what = format!("it ends in the middle of a record: {bytes} bytes left out");
                problem(span.start, what);
            }
            // blocks that had not reached the disk when the power failed may be
            // missing before others that had
            Found::Damaged(span, why)
                if checker.as_ref().is_some_and(|c| span.end > c.covers()) =>
            {
                let bytes = span.end - span.start;
                let what = format!("behind what was synced ({why}): {bytes} bytes left out");
                problem(span.start, what);
            }
            Found::Damaged(span, why) if force => {
                let bytes = span.end - span.start;
                problem(
                    span.start,
                    format!("damaged ({why}): {bytes} bytes left out"),
                );
            }
            Found::Damaged(span, why) => {
                return Err(E::from(StoreError::Damaged {
                    path: path.to_owned(),
                    from: span.start,
                    to: span.end,
                    why,
                }));
            }
        }
        Ok(())
    })?;
    differs.tell(path, &mut problem);
    match (size, count) {
        (0, _) => Err(StoreError::Empty { path: path.into() }.into()),
        (_, 0) => Err(StoreError::NotAState { path: path.into() }.into()),
        _ => Ok(count),
    }
}

/// Whether a file begins as a state file does, or is empty.
///
/// # Errors
/// If it cannot be read, or is no regular file.
pub fn begins_as_a_state(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut reader = Reader::new();
    let mut piece = vec![0; PIECE];
    let mut is_empty = true;
    loop {
        let n = file.read(&mut piece)?;
        is_empty &= n == 0;
        match piece.get(..n) {
            None | Some([]) => reader.end(),
            Some(bytes) => reader.feed(bytes),
        }
        match reader.poll() {
            Some(Found::Event(_) | Found::Books(_)) => return Ok(true),
            Some(_) => return Ok(false),
            None if n == 0 => return Ok(is_empty),
            None => {}
        }
    }
}

/// What checks a file, if it has checksums.
fn checker(
    path: &Path,
    force: bool,
    mut problem: impl FnMut(u64, String),
) -> Result<Option<Checker>, StoreError> {
    if path == Path::new("-") {
        return Ok(None);
    }
    let side = name(path);
    let checks = match Sums::read(path) {
        Ok(Some(checks)) => checks,
        Ok(None) => return Ok(None),
        Err(why) if force => {
            problem(0, format!("not checked: {side}: {why}"));
            return Ok(None);
        }
        Err(why) => {
            let path = beside(path);
            return Err(StoreError::Read { path, why });
        }
    };
    match checks.unreadable.as_slice() {
        [] => {}
        [0] => problem(0, format!("not checked: {side} is not understood")),
        [first, ..] => {
            let n = checks.unreadable.len();
            let what = format!("not all is checked: {n} bad lines in {side} from byte {first} on");
            problem(0, what);
        }
    }
    Ok(Some(Checker::new(checks)))
}

/// Blocks that do not match, several as one where they adjoin.
#[derive(Default)]
struct Differs(Option<Mismatch>);

impl Differs {
    fn add(&mut self, what: Mismatch, path: &Path, problem: impl FnMut(u64, String)) {
        let rest = match &mut self.0 {
            Some(last) => last.join(what),
            None => Some(what),
        };
        if let Some(what) = rest {
            self.tell(path, problem);
            self.0 = Some(what);
        }
    }

    fn tell(&mut self, path: &Path, mut problem: impl FnMut(u64, String)) {
        if let Some(what) = self.0.take() {
            let span = what.span();
            let bytes = span.end - span.start;
            let text = format!("{bytes} bytes {} {}", what.what(), name(path));
            problem(span.start, text);
        }
    }
}

/// What a file shows on the way through it.
enum Seen<'a> {
    /// Its next bytes; none at its end
    Bytes(&'a [u8]),
    /// What has been found in those before
    Found(Found<'a>),
}

/// Reads a file to its end, in pieces, and gives each thing that is found to
/// `take`, with how far it has been read.
///
/// # Errors
/// If it cannot be read, and what `take` returns.
fn read<E: From<StoreError>>(
    path: &Path,
    mut take: impl FnMut(u64, Seen<'_>) -> Result<(), E>,
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
        let bytes = piece.get(..n).unwrap_or_default();
        read += n as u64;
        take(read, Seen::Bytes(bytes))?;
        match bytes {
            [] => reader.end(),
            bytes => reader.feed(bytes),
        }
        while let Some(found) = reader.poll() {
            take(read, Seen::Found(found))?;
        }
        if n == 0 {
            return Ok(read);
        }
    }
}
