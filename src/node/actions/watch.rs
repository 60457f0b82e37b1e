//! Watching subtrees, and ending what runs.

use crate::event::{Handle, Message, Refused, Request, SessionId, Sink, Space, To};
use crate::node::Machine;
use crate::node::machine::Parts;
use crate::node::view::Letter;
use crate::node::watch::{Kind, LastPath, Next, Stream, Subtree, Walk};

impl<K: Sink> Machine<K> {
    /// `watch`
    pub(in crate::node) fn watch(
        &mut self,
        id: SessionId,
        handle: &Handle,
        request: &Request<'_>,
    ) -> Result<(), Refused> {
        let Request::Watch {
            path,
            links,
            depths,
            fetch,
            empty,
            resume,
            numbered,
            window,
        } = *request
        else {
            return Ok(());
        };
        let Some(Parts { mut view, .. }) = self.parts(id) else {
            return Ok(());
        };
        let top = view.make(Space::User, path)?;
        view.may(Letter::Pass, top)?;
        let at = view.at();
        let missed = resume.and_then(|(run, number)| view.changed_since(run, number));
        let resumed = resume.map(|_| missed.is_some());
        let next = match missed {
            Some(missed) => Some(Next::Changed(missed.into())),
            None => (fetch || resume.is_some()).then(|| Next::Entry(Vec::new())),
        };
        let subtree = Subtree {
            top,
            whole: path.is_empty(),
            links,
            depths,
            empty,
            markers: false,
            numbered,
            live: true,
            resumed,
            walk: next.map(Walk::new),
            last: LastPath::default(),
        };
        self.add_stream(id, handle, Kind::Subtree(subtree))?;
        self.open(id, handle, window, Some(at));
        Ok(())
    }

    /// `stop`
    pub(in crate::node) fn stop(
        &mut self,
        id: SessionId,
        handle: &Handle,
        task: &Handle,
    ) -> Result<(), Refused> {
        let stream = self.session(id).and_then(|s| s.streams.get(task).copied());
        let waiting = self.suspended.take_handle(id, task);
        let found = stream.is_some() || waiting.is_some();
        if let Some(waiting) = waiting {
            self.refuse(id, &waiting.handle, false, &Refused::CheckFailed("stopped"));
        }
        self.send(id, To::Request(handle), &Message::Truth(found));
        if let Some(ix) = stream {
            // a request with one reply gets it: it was stopped
            let framed = self.streams.get(ix).is_some_and(Stream::is_framed);
            if !framed {
                self.forget_stream(ix);
                self.refuse(id, task, false, &Refused::CheckFailed("stopped"));
            } else {
                self.end_stream(ix);
            }
        }
        Ok(())
    }
}
