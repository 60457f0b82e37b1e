//! Writing a file so that it is there as a whole, or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::store::sum::{Sums, beside};

/// A file that is being written under a name ending in `.tmp`, and gets its
/// own when it is complete. Checksums that were beside an older file of that
/// name go away with it.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
    temporary: PathBuf,
    sums: Option<Sums>,
    done: bool,
}

impl NewFile {
    /// Begins to write what is to be `path`.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        let temporary = path.with_file_name(name);
        Ok(Self {
            file: File::create(&temporary)?,
            path: path.to_owned(),
            temporary,
            sums: None,
            done: false,
        })
    }

    /// Begins to write what is to be `path`, and gets new checksums.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn with_sums(path: &Path) -> io::Result<Self> {
        let mut file = Self::create(path)?;
        file.sums = Some(Sums::new());
        Ok(file)
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Those of the system.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(sums) = &mut self.sums {
            sums.update(bytes);
        }
        self.file.write_all(bytes)
    }

    /// The file is complete: it is on the disk, and replaces what had its
    /// name.
    ///
    /// # Errors
    /// Those of the system; what had the name is still there then, perhaps
    /// without its checksums.
    pub fn finish(mut self) -> io::Result<()> {
        self.name()
    }

    /// The same with a file that is still written to: what is there is on the
    /// disk and has its name.
    ///
    /// # Errors
    /// Those of the system; what had the name is still there then.
    pub fn name(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        // first, so that they never stand beside another file than theirs
        match fs::remove_file(beside(&self.path)) {
            Ok(()) => self.sync_names()?,
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(why),
        }
        fs::rename(&self.temporary, &self.path)?;
        self.done = true;
        self.sync_names()?;
        match self.sums.take() {
            None => Ok(()),
            Some(mut sums) => {
                let mut side = Self::create(&beside(&self.path))?;
                side.put(&sums.mark())?;
                side.finish()
            }
        }
    }

    /// The names in the directory, too, outlive a power cut.
    fn sync_names(&self) -> io::Result<()> {
        let directory = self.path.parent().filter(|d| !d.as_os_str().is_empty());
        File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }

    /// The name it has, or is to have.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file itself.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.done {
            // nobody needs half of it; that it stays is no harm either
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_does_not_get_the_checksums_of_the_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.state");
        fs::write(&path, "old").unwrap();
        fs::write(beside(&path), "old").unwrap();
        let mut file = NewFile::create(&path).unwrap();
        file.put(b"new").unwrap();
        drop(file);
        assert_eq!(fs::read(beside(&path)).unwrap(), b"old", "not finished");
        let mut file = NewFile::create(&path).unwrap();
        file.put(b"new").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let names = || fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names(), 1);
        let mut file = NewFile::with_sums(&path).unwrap();
        file.put(b"newer").unwrap();
        file.finish().unwrap();
        let mut sums = Sums::new();
        sums.update(b"newer");
        assert_eq!(fs::read(beside(&path)).unwrap(), sums.mark());
        assert_eq!(names(), 2);
    }
}
