//! Writing a file so that it is there as a whole, or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is being written under a name ending in `.tmp`, and gets its
/// own when it is complete.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
    temporary: PathBuf,
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
            done: false,
        })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Those of the system.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// The file is complete: it is on the disk, and replaces what had its
    /// name.
    ///
    /// # Errors
    /// Those of the system; what had the name is still there then.
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
        fs::rename(&self.temporary, &self.path)?;
        self.done = true;
        // the new name, too, outlives a power cut
        let directory = self.path.parent().filter(|d| !d.as_os_str().is_empty());
        File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
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
