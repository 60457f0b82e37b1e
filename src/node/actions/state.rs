//! The node's bookkeeping: ticks, nodes, what peers said.

use crate::event::{
    Books, Event, Handle, Message, NodeInfo, NodeName, Refused, SessionId, Sink, StateWanted, Tick,
    TickSet, To,
};
use crate::node::Machine;
use crate::node::machine::Parts;
use crate::node::survey::{Roll, Survey};
use crate::node::watch::{Kind, StreamIx};

/// Entries in whose time most answers about the bookkeeping are complete.
const AT_ONCE: usize = 256;

impl<K: Sink> Machine<K> {
    /// `get_state`
    pub(in crate::node) fn get_state(
        &mut self,
        id: SessionId,
        handle: &Handle,
        wanted: StateWanted,
    ) -> Result<(), Refused> {
        let mut survey = Survey::new(wanted);
        if self.may_survey(id) {
            let Some(Parts { view, .. }) = self.parts(id) else {
                return Ok(());
            };
            let (_, more) = view.survey(&mut survey, AT_ONCE);
            if !more {
                self.send_books(id, handle, survey.books());
                return Ok(());
            }
        }
        self.add_survey(id, handle, Kind::State(Box::new(survey)))
    }

    /// A slice of an answer to `get_state`; the reply, if it is the last one.
    pub(in crate::node) fn survey_some(
        &mut self,
        stream: StreamIx,
        budget: usize,
    ) -> (usize, bool) {
        let Some((running, Parts { view, .. })) = self.stream_parts(stream) else {
            return (0, false);
        };
        let Kind::State(survey) = &mut running.kind else {
            return (0, false);
        };
        let (used, more) = view.survey(survey, budget);
        if !more
            && let Some(stream) = self.forget_stream(stream)
            && let Kind::State(survey) = stream.kind
        {
            self.send_books(stream.session, &stream.handle, survey.books());
        }
        (used, more)
    }

    fn send_books(&mut self, id: SessionId, handle: &Handle, books: &Books) {
        if let Some(Parts { mut view, sink }) = self.parts(id) {
            let tock = view.next_tock();
            let (node, _) = view.node();
            sink.send(To::Request(handle), &Message::Info { node, books }, tock);
        }
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
        let mut roll = Roll::new(node, max, current);
        if self.may_survey(id) {
            let Some(Parts { view, .. }) = self.parts(id) else {
                return Ok(());
            };
            let (_, more) = view.roll(&mut roll, AT_ONCE)?;
            if !more {
                self.send_roll(id, handle, &roll);
                return Ok(());
            }
        }
        self.add_survey(id, handle, Kind::Ticks(Box::new(roll)))
    }

    /// A slice of an answer to `enum_node`; the reply, if it is the last one.
    pub(in crate::node) fn roll_some(&mut self, stream: StreamIx, budget: usize) -> (usize, bool) {
        let Some((running, Parts { view, .. })) = self.stream_parts(stream) else {
            return (0, false);
        };
        let Kind::Ticks(roll) = &mut running.kind else {
            return (0, false);
        };
        let done = view.roll(roll, budget);
        if let Ok((used, true)) = done {
            return (used, true);
        }
        if let Some(stream) = self.forget_stream(stream)
            && let Kind::Ticks(roll) = &stream.kind
        {
            match done {
                Ok(_) => self.send_roll(stream.session, &stream.handle, roll),
                // the node has been forgotten meanwhile
                Err(why) => self.refuse(stream.session, &stream.handle, false, &why),
            }
        }
        (1, false)
    }

    fn send_roll(&mut self, id: SessionId, handle: &Handle, roll: &Roll) {
        let (count, ticks) = roll.found();
        self.send(id, To::Request(handle), &Message::Ticks { count, ticks });
    }

    /// Whether no survey of this session is at work.
    fn may_survey(&mut self, id: SessionId) -> bool {
        self.session(id).is_some_and(|s| s.survey.is_none())
    }

    /// Registers what could not be answered at once.
    fn add_survey(&mut self, id: SessionId, handle: &Handle, kind: Kind) -> Result<(), Refused> {
        let stream = self.add_stream(id, handle, kind)?;
        if let Some(session) = self.session(id) {
            session.survey.get_or_insert(stream);
        }
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
