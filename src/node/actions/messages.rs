//! Messages of the broker, sent and heard by clients.

use crate::event::{Effect, Handle, Message, Refused, SessionId, Sink, To, Topic};
use crate::node::Machine;
use crate::node::machine::Output;
use crate::node::watch::Kind;

impl<K: Sink> Machine<K> {
    /// `msg_send`
    pub(in crate::node) fn msg_send(
        &mut self,
        id: SessionId,
        handle: &Handle,
        topic: Topic,
        payload: Vec<u8>,
    ) -> Result<(), Refused> {
        if payload.len() > self.limits.message {
            return Err(Refused::TooLarge(self.limits.message));
        }
        let Topic(topic) = self.full_topic(topic)?;
        self.push_output(Output::Carry(Effect::Send { topic, payload }));
        self.send(id, To::Request(handle), &Message::Done);
        Ok(())
    }

    /// `msg_monitor`
    pub(in crate::node) fn msg_monitor(
        &mut self,
        id: SessionId,
        handle: &Handle,
        topic: Topic,
        raw: bool,
        window: Option<u32>,
    ) -> Result<(), Refused> {
        let topic = self.full_topic(topic)?;
        let levels = topic.0.clone();
        self.add_stream(id, handle, Kind::Monitor { topic, raw })?;
        self.push_output(Output::Carry(Effect::Subscribe(levels)));
        self.open(id, handle, window, None);
        Ok(())
    }
}
