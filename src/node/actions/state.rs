//! The node's bookkeeping: ticks, nodes, what peers said.

use crate::event::{
    Event, Handle, Message, NodeInfo, NodeName, Refused, SessionId, Sink, StateWanted, Tick,
    TickSet, To,
};
use crate::node::Machine;
use crate::node::machine::Parts;

impl<K: Sink> Machine<K> {
    /// `get_state`
    pub(in crate::node) fn get_state(
        &mut self,
        id: SessionId,
        handle: &Handle,
        wanted: StateWanted,
    ) -> Result<(), Refused> {
        let Some(Parts { mut view, sink }) = self.parts(id) else {
            return Ok(());
        };
        let info = view.state(wanted);
        let tock = view.next_tock();
        let (node, _) = view.node();
        sink.send(
            To::Request(handle),
            &Message::Info { node, info: &info },
            tock,
        );
        Ok(())
    }

    /// `enum_node`
    pub(in crate::node) fn enum_node(
        &mut self,
        id: SessionId,
        handle: &Handle,
        node: &str,
        max: u64,
        current: bool,
    ) -> Result<(), Refused> {
        let Some(Parts { mut view, sink }) = self.parts(id) else {
            return Ok(());
        };
        let mut ticks = view.ticks_of(node, current)?;
        if max > 0 {
            ticks.truncate(usize::try_from(max).unwrap_or(usize::MAX));
        }
        let tock = view.next_tock();
        sink.send(To::Request(handle), &Message::Ticks(&ticks), tock);
        Ok(())
    }

    /// `kill_node`
    pub(in crate::node) fn kill_node(
        &mut self,
        id: SessionId,
        handle: &Handle,
        node: &str,
    ) -> Result<(), Refused> {
        let Some(Parts { mut view, .. }) = self.parts(id) else {
            return Ok(());
        };
        view.kill(node)?;
        self.inform(NodeInfo {
            node_drop: Some(vec![NodeName::new(node)]),
            ..NodeInfo::default()
        });
        self.send(id, To::Request(handle), &Message::Done);
        Ok(())
    }

    /// `check_deleted`
    pub(in crate::node) fn check_deleted(
        &mut self,
        id: SessionId,
        handle: &Handle,
        asked: &[(NodeName, TickSet)],
    ) -> Result<(), Refused> {
        let Some(Parts { view, .. }) = self.parts(id) else {
            return Ok(());
        };
        let deleted = view.deleted_among(asked);
        if !deleted.is_empty() {
            self.inform(NodeInfo {
                deleted: Some(deleted),
                ..NodeInfo::default()
            });
        }
        self.send(id, To::Request(handle), &Message::Done);
        Ok(())
    }

    /// `fake_info`, `fake_info_send`
    pub(in crate::node) fn fake_info(
        &mut self,
        id: SessionId,
        handle: &Handle,
        info: NodeInfo,
        send: bool,
    ) -> Result<(), Refused> {
        let Some(Parts { view, .. }) = self.parts(id) else {
            return Ok(());
        };
        view.may_administer()?;
        if send {
            self.inform(info.clone());
        }
        // what is broadcast comes back to its sender as well
        let tock = self.replica_tock();
        self.handle_info(&info, tock);
        self.send(id, To::Request(handle), &Message::Done);
        Ok(())
    }

    /// `update`
    pub(in crate::node) fn update(
        &mut self,
        id: SessionId,
        handle: &Handle,
        event: &Event,
    ) -> Result<(), Refused> {
        let Some(Parts { view, .. }) = self.parts(id) else {
            return Ok(());
        };
        view.may_administer()?;
        if event.chain.iter().any(|l| l.tick == Tick(0)) {
            return Err(Refused::BadValue("a tick is 1 or more".to_owned()));
        }
        self.handle_event(event);
        self.send(id, To::Request(handle), &Message::Truth(true));
        Ok(())
    }
}
