//! The network as this node sees it, for an operator.

use crate::event::{Handle, Message, Refused, SessionId, Sink, To};
use crate::node::Machine;
use crate::node::machine::Parts;

impl<K: Sink> Machine<K> {
    /// `get_members`
    pub(in crate::node) fn members(
        &mut self,
        id: SessionId,
        handle: &Handle,
    ) -> Result<(), Refused> {
        let mut members = self.look_around();
        let Some(Parts { view, .. }) = self.parts(id) else {
            return Ok(());
        };
        view.complete(&mut members)?;
        self.note_deleters(&mut members);
        self.send(id, To::Request(handle), &Message::Members(&members));
        Ok(())
    }
}
