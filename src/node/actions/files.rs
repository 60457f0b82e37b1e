//! State files that the node writes: the shell does it, the node asks and
//! answers.

use crate::event::{FileDone, FileJob, Handle, Message, Refused, SessionId, Sink, To};
use crate::node::Machine;
use crate::node::machine::{Output, Parts};

/// Names a [`FileJob`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileToken(u64);

impl<K: Sink> Machine<K> {
    /// Says that this session's client is on the node's own machine.
    pub fn set_local(&mut self, id: SessionId) {
        if let Some(session) = self.session(id) {
            session.view.set_local();
        }
    }

    /// A name for what the shell wants by itself.
    pub const fn file_token(&mut self) -> FileToken {
        let token = FileToken(self.next_token);
        self.next_token += 1;
        token
    }

    /// `log`, `save`, `get_log`
    pub(in crate::node) fn file(
        &mut self,
        id: SessionId,
        handle: &Handle,
        job: FileJob,
    ) -> Result<(), Refused> {
        let Some(Parts { view, .. }) = self.parts(id) else {
            return Ok(());
        };
        if job == FileJob::Tell {
            view.may_administer()?;
        } else {
            view.may_have_files()?;
        }
        let token = self.file_token();
        self.files.insert(token, (id, handle.clone()));
        self.push_output(Output::File { token, job });
        Ok(())
    }

    /// What came of an [`Output::File`].
    pub fn handle_filed(&mut self, token: FileToken, done: &FileDone) {
        let Some((id, handle)) = self.files.remove(&token) else {
            // who asked is gone
            return;
        };
        match done {
            FileDone::Done(path) => {
                let path = path.as_deref();
                self.send(id, To::Request(&handle), &Message::Filed { path });
            }
            FileDone::Failed(why) => {
                self.refuse(id, &handle, false, &Refused::File(why.clone()));
            }
            FileDone::Told(info) => {
                self.send(id, To::Request(&handle), &Message::Log(info));
            }
        }
        self.announce(id);
    }

    /// Says that changes cannot be written to a file, or that they can
    /// again. While they cannot, writes are refused with this reason.
    pub fn set_log_fault(&mut self, why: Option<String>) {
        self.log_fault = why;
    }

    /// Whether a change of a client can be logged, or need not be.
    pub(in crate::node) fn may_log(&self) -> Result<(), Refused> {
        match &self.log_fault {
            None => Ok(()),
            Some(why) => Err(Refused::Log(why.clone())),
        }
    }
}
