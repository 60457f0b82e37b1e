//! The thread that does to files what may take long. It does one thing after
//! the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};

use tokio::sync::mpsc as channel;

use crate::event::FileFault;
use crate::store::log::{FileId, Op, Trouble};
use crate::store::{self, NewFile};

/// What became of an operation.
#[derive(Debug)]
pub(super) struct Done {
    /// The operation, without the bytes that were appended
    pub(super) op: Op,
    pub(super) result: Result<(), Trouble>,
}

/// The way to that thread.
#[derive(Debug)]
pub(super) struct Disk {
    /// There is none before there is something to do.
    thread: Option<(mpsc::Sender<Op>, channel::UnboundedReceiver<Answer>)>,
    /// Files that have their name, which the node writes to itself
    files: BTreeMap<FileId, Arc<File>>,
}

#[derive(Debug)]
struct Answer {
    done: Done,
    file: Option<Arc<File>>,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self {
            thread: None,
            files: BTreeMap::new(),
        }
    }

    /// Has something done.
    pub(super) fn submit(&mut self, op: Op) {
        if matches!(
            op,
            Op::Close { .. } | Op::Abandon { .. } | Op::Remove { .. }
        ) {
            self.files.remove(&op.file());
        }
        if self.thread.is_none() {
            self.thread = start();
        }
        let sent = self.thread.as_ref().map(|(ops, _)| ops.send(op));
        if !matches!(sent, Some(Ok(()))) {
            tracing::error!("no thread can be started to write files");
        }
    }

    /// What has been done.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Done> {
        let Some((_, answers)) = &mut self.thread else {
            return Poll::Pending;
        };
        match answers.poll_recv(cx) {
            Poll::Ready(Some(Answer { done, file })) => {
                if let Some(file) = file {
                    self.files.insert(done.op.file(), file);
                }
                Poll::Ready(done)
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Writes to a file here and now.
    pub(super) fn write(&self, file: FileId, bytes: &[u8]) -> Result<(), Trouble> {
        let Some(file) = self.files.get(&file) else {
            return Err(gone().into());
        };
        (&**file).write_all(bytes)?;
        Ok(())
    }
}

type Thread = (mpsc::Sender<Op>, channel::UnboundedReceiver<Answer>);

fn start() -> Option<Thread> {
    let (ops, jobs) = mpsc::channel();
    let (answers, done) = channel::unbounded_channel();
    let work = move || {
        let mut worker = Worker::default();
        for op in jobs {
            let (result, file) = match worker.perform(&op) {
                Ok(file) => (Ok(()), file),
                Err(why) => (Err(why), None),
            };
            let op = match op {
                Op::Append { file, .. } => {
                    let bytes = Vec::new();
                    Op::Append { file, bytes }
                }
                op => op,
            };
            let done = Done { op, result };
            // nobody to tell: the server ends
            let _ = answers.send(Answer { done, file });
        }
    };
    let thread = std::thread::Builder::new().name("disk".to_owned());
    thread.spawn(work).ok().map(|_| (ops, done))
}

/// The files that are written.
#[derive(Default)]
struct Worker {
    files: BTreeMap<FileId, Writing>,
    /// Files of which not all could be written: the rest is not to be either
    broken: BTreeSet<FileId>,
}

enum Writing {
    /// It has no name yet.
    New(Box<NewFile>),
    /// It has; with its side file, if there is one.
    Named(Arc<File>, Option<Side>),
}

impl Writing {
    fn file(&self) -> &File {
        match self {
            Self::New(file) => file.file(),
            Self::Named(file, _) => file,
        }
    }
}

impl Worker {
    /// Does one thing. Returns the file if it has got its name.
    fn perform(&mut self, op: &Op) -> Result<Option<Arc<File>>, Trouble> {
        let file = op.file();
        let is_end = matches!(op, Op::Abandon { .. } | Op::Remove { .. });
        if self.broken.contains(&file) && !is_end {
            return Err(gone().into());
        }
        let done = self.try_to(op);
        match &done {
            Err(_) => _ = self.broken.insert(file),
            Ok(_) if is_end => _ = self.broken.remove(&file),
            Ok(_) => {}
        }
        Ok(done?)
    }

    fn try_to(&mut self, op: &Op) -> io::Result<Option<Arc<File>>> {
        let id = op.file();
        match op {
            Op::Create { path, .. } => {
                must_be_ours(path)?;
                let file = NewFile::create(path)?;
                self.files.insert(id, Writing::New(Box::new(file)));
            }
            Op::Append { bytes, .. } => self.find(id)?.write_all(bytes)?,
            Op::Sync { mark, .. } => {
                self.find(id)?.sync_data()?;
                if let Some(Writing::Named(_, side)) = self.files.get_mut(&id) {
                    append(side, mark);
                }
            }
            Op::Finish { mark, .. } => {
                let Some(Writing::New(mut new)) = self.files.remove(&id) else {
                    return Err(gone());
                };
                new.name()?;
                let file = Arc::new(new.file().try_clone()?);
                let side = Side::create(new.path(), mark);
                self.files
                    .insert(id, Writing::Named(Arc::clone(&file), side));
                return Ok(Some(file));
            }
            Op::Close { mark, .. } => {
                let file = self.files.remove(&id).ok_or_else(gone)?;
                file.file().sync_all()?;
                if let Writing::Named(_, mut side) = file {
                    append(&mut side, mark);
                    if let Some(Err(why)) = side.map(|side| side.0.file().sync_all()) {
                        tracing::debug!(%why, "checksums may be lost");
                    }
                }
            }
            Op::Abandon { len, .. } => {
                if let Some(file) = self.files.remove(&id) {
                    // a torn record at the end is no harm: this is tidier
                    let cut = file.file().set_len(*len);
                    if let Err(why) = cut.and_then(|()| file.file().sync_all()) {
                        tracing::debug!(%why, "a file is left as it is");
                    }
                }
            }
            Op::Remove { .. } => {
                self.files.remove(&id);
            }
        }
        Ok(None)
    }

    fn find(&self, id: FileId) -> io::Result<&File> {
        self.files.get(&id).map(Writing::file).ok_or_else(gone)
    }
}

/// A file of checksums. The file that they are of is as good without.
struct Side(NewFile);

impl Side {
    fn create(path: &Path, mark: &[u8]) -> Option<Self> {
        let create = || {
            let mut side = NewFile::create(&store::beside(path))?;
            side.put(mark)?;
            side.name()?;
            Ok(Self(side))
        };
        match create() {
            Ok(side) => Some(side),
            Err(why) => {
                let why: io::Error = why;
                tracing::warn!("{}: no checksums: {why}", path.display());
                None
            }
        }
    }
}

/// Adds to a side file what is sure by now. Where that fails, the rest is not
/// covered.
fn append(side: &mut Option<Side>, mark: &[u8]) {
    let put = side.as_mut().map(|side| side.0.put(mark));
    if let Some(Err(why)) = put {
        tracing::warn!("no more checksums are written: {why}");
        *side = None;
    }
}

fn gone() -> io::Error {
    io::Error::other("the file is not open")
}

/// A file is replaced only if it was a state file, or empty.
fn must_be_ours(path: &Path) -> io::Result<()> {
    let is_ours = match store::begins_as_a_state(path) {
        Ok(is_ours) => is_ours,
        Err(why) if why.kind() == io::ErrorKind::NotFound => true,
        Err(why) => return Err(why),
    };
    if is_ours {
        return Ok(());
    }
    Err(io::Error::other(
        "there is a file of another kind: choose another name",
    ))
}

/// Where a file is that whoever starts the server names. Whether it can be
/// created is found out now, and not when the first change is to go into it.
///
/// # Errors
/// If it may not, or cannot, be written.
pub fn probe(path: &Path) -> Result<PathBuf, FileFault> {
    let text = path.to_str().unwrap_or_default();
    let path = place(text, None)?;
    let failed = |why: io::Error| Trouble::from(why).about(&path);
    must_be_ours(&path).map_err(failed)?;
    NewFile::create(&path).map_err(failed)?;
    Ok(path)
}

/// Where a file is that a client names.
///
/// # Errors
/// If it may not be written.
pub(super) fn place(path: &str, allowed: Option<&[PathBuf]>) -> Result<PathBuf, FileFault> {
    let named = Path::new(path);
    if path.is_empty() || path.contains('\0') || path.ends_with('/') {
        return Err(Trouble::new("the name of a file is needed").about(named));
    }
    let path = std::path::absolute(named).map_err(|why| Trouble::from(why).about(named))?;
    let extension = path.extension().and_then(|e| e.to_str());
    if matches!(extension, Some("tmp" | "sum")) {
        let words = "names that end in .tmp and .sum have a meaning: choose another one";
        return Err(Trouble::new(words).about(&path));
    }
    let Some(allowed) = allowed else {
        return Ok(path);
    };
    let directory = path.parent().unwrap_or_else(|| Path::new("/"));
    let directory = directory
        .canonicalize()
        .map_err(|why| Trouble::from(why).about(&path))?;
    let is_inside = |dir: &PathBuf| {
        dir.canonicalize()
            .is_ok_and(|dir| directory.starts_with(dir))
    };
    if allowed.iter().any(is_inside) {
        return Ok(path);
    }
    let words = "the server writes files only below its 'server.log.dirs'";
    Err(Trouble::new(words).about(&path))
}
