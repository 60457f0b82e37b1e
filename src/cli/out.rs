//! The one place that prints.
//!
//! Standard output is buffered and written when the buffer is full, on
//! [`Out::flush`] and at the end of the program; notes go to standard error
//! at once, after what stands in the buffer, so that a terminal shows both in
//! order. A clone writes to the same buffer.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::rc::Rc;

use tokio::io::Interest;
use tokio::net::unix::pipe;

use super::exit::CliError;

/// Enough for most answers to leave in one write.
const BUFFER: usize = 16 * 1024;

/// Standard output and error of the program.
#[derive(Clone)]
pub(crate) struct Out(Rc<RefCell<BufWriter<io::Stdout>>>);

impl Out {
    pub(super) fn stdout() -> Self {
        let stdout = BufWriter::with_capacity(BUFFER, io::stdout());
        Self(Rc::new(RefCell::new(stdout)))
    }

    /// Writes text as it stands, without adding a line end.
    ///
    /// # Errors
    /// If stdout can't be written, or nobody reads it any more.
    pub(crate) fn text(&self, text: &str) -> Result<(), CliError> {
        self.bytes(text.as_bytes())
    }

    /// Writes text and a line end.
    ///
    /// # Errors
    /// As for [`Out::text`].
    pub(crate) fn line(&self, text: &str) -> Result<(), CliError> {
        let mut stdout = self.0.borrow_mut();
        stdout.write_all(text.as_bytes())?;
        stdout.write_all(b"\n")?;
        Ok(())
    }

    /// Writes bytes as they stand.
    ///
    /// # Errors
    /// As for [`Out::text`].
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        self.0.borrow_mut().write_all(bytes)?;
        Ok(())
    }

    /// Hands everything written to the system: for a command that goes on
    /// after it has printed something.
    ///
    /// # Errors
    /// As for [`Out::text`].
    pub(crate) fn flush(&self) -> Result<(), CliError> {
        self.0.borrow_mut().flush()?;
        Ok(())
    }

    /// Prints a line on stderr, such as `No data at PATH`.
    pub(crate) fn note(&self, text: &str) {
        // If stdout is closed, the next write there reports it; nobody could
        // be told that stderr is.
        let _ = self.0.borrow_mut().flush();
        let mut line = String::with_capacity(text.len().saturating_add(1));
        line.push_str(text);
        line.push('\n');
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }

    /// Resolves when stdout is a pipe that nobody reads any more; writing
    /// would tell, but perhaps there is nothing to write for long.
    pub(crate) async fn closed(&self) {
        // not for files, which cannot be waited for
        if let Ok(stdout) = io::stdout().as_fd().try_clone_to_owned()
            // unchecked: it is not written to here, so it may block
            && let Ok(pipe) = pipe::Sender::from_file_unchecked(File::from(stdout))
            && pipe.ready(Interest::ERROR).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Whether stdout is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Whether notes go to a terminal, where progress can be shown.
    pub(crate) fn notes_to_terminal(&self) -> bool {
        io::stderr().is_terminal()
    }
}
