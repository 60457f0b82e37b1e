//! Reading and deleting subtrees.

use crate::event::{Handle, Links, Message, Refused, Request, SessionId, Sink, Space, State, To};
use crate::node::Machine;
use crate::node::machine::{Origin, Parts, send_entry};
use crate::node::view::{Ix, Letter, Nulls, View};
use crate::node::watch::{Deletion, Kind, LastPath, Next, StreamIx, Subtree, Walk};
use crate::path::{PathRef, RawPath};

impl<K: Sink> Machine<K> {
    /// `get_tree`, `get_tree_internal`
    pub(in crate::node) fn get_tree(
        &mut self,
        id: SessionId,
        handle: &Handle,
        request: &Request<'_>,
    ) -> Result<(), Refused> {
        let Request::GetTree {
            space,
            path,
            links,
            depths,
            empty,
            markers,
            window,
        } = *request
        else {
            return Ok(());
        };
        let Some(Parts { view, .. }) = self.parts(id) else {
            return Ok(());
        };
        let top = view.must_find(space, path, Nulls::First)?;
        view.may(Letter::Enumerate, top)?;
        let subtree = Subtree {
            top,
            whole: path.is_empty() && space == Space::User,
            links,
            depths,
            empty,
            markers,
            numbered: false,
            live: false,
            resumed: None,
            walk: Some(Walk::new(Next::Entry(Vec::new()))),
            last: LastPath::default(),
        };
        self.add_stream(id, handle, Kind::Subtree(subtree))?;
        self.open(id, handle, window, None);
        Ok(())
    }

    /// A slice of a subtree's state. Returns how many entries it looked at
    /// and whether there is more.
    pub(in crate::node) fn walk(&mut self, stream: StreamIx, budget: usize) -> (usize, bool) {
        let mut path = RawPath::new();
        let mut below = Vec::new();
        let Some((running, Parts { mut view, sink })) = self.stream_parts(stream) else {
            return (0, false);
        };
        let handle = &running.handle;
        let Kind::Subtree(subtree) = &mut running.kind else {
            return (0, false);
        };
        let Some(mut walk) = subtree.walk.take() else {
            return (0, false);
        };
        let mut used = 0;
        loop {
            // the entry's way from the top, and whether it is shown in any case
            let (way, changed): (&[Ix], bool) = match &mut walk.next {
                Next::Nothing => break,
                Next::Entry(way) => (way, false),
                Next::Changed(list) => {
                    let Some(ix) = list.front() else { break };
                    below.clear();
                    if !view.way_below(subtree.top, *ix, &mut below) {
                        // not of this subtree
                        list.pop_front();
                        continue;
                    }
                    (&below, true)
                }
            };
            if used >= budget || !sink.room(handle) {
                subtree.walk = Some(walk);
                return (used, true);
            }
            used += 1;
            let ix = way.last().copied().unwrap_or(subtree.top);
            let visible = changed
                || subtree.empty
                || view.has_value(ix)
                || (subtree.markers && view.is_marker(ix));
            if visible && !walk.marked.remove(&ix) && subtree.depths.contain(depth(way)) {
                send_entry(&view, sink, handle, subtree, ix, way, &mut path);
            }
            match &mut walk.next {
                Next::Nothing => break,
                Next::Entry(way) => {
                    if !step(&view, subtree, way) {
                        walk.next = Next::Nothing;
                    }
                }
                Next::Changed(list) => {
                    list.pop_front();
                }
            }
        }
        if subtree.live {
            let state = State::UpToDate {
                at: view.at(),
                resumed: subtree.resumed,
            };
            let tock = view.next_tock();
            sink.send(To::Stream(handle), &Message::State(state), tock);
        } else {
            self.end_stream(stream);
        }
        (used, false)
    }

    /// `delete_tree`
    pub(in crate::node) fn delete_tree(
        &mut self,
        id: SessionId,
        handle: &Handle,
        path: PathRef<'_>,
        links: Links,
    ) -> Result<(), Refused> {
        self.may_log()?;
        let Some(Parts { view, .. }) = self.parts(id) else {
            return Ok(());
        };
        // neither the root nor all internal data at once
        if path.is_empty() || path.bytes() == [0xc0] {
            return Err(Refused::DeleteRoot);
        }
        let found = view.find(Space::User, path, Nulls::First)?;
        let since = view.tock();
        if let Some(top) = found {
            view.may(Letter::Delete, top)?;
        }
        let last = LastPath::default();
        let top = found.unwrap_or(Ix::ROOT);
        let deletion = Deletion {
            top,
            next: found,
            since,
            links,
            count: 0,
            last,
        };
        let stream = self.add_stream(id, handle, Kind::Delete(deletion))?;
        if links != Links::None {
            self.send(
                id,
                To::Stream(handle),
                &Message::State(State::Start { at: None }),
            );
        }
        // most are small: they are answered at once
        self.delete_some(stream, 64);
        Ok(())
    }

    /// A slice of a recursive deletion.
    pub(in crate::node) fn delete_some(
        &mut self,
        stream: StreamIx,
        budget: usize,
    ) -> (usize, bool) {
        let mut path = RawPath::new();
        let mut way = Vec::new();
        let mut used = 0;
        if let Err(why) = self.may_log() {
            if let Some(running) = self.forget_stream(stream) {
                self.refuse(running.session, &running.handle, false, &why);
            }
            return (used, false);
        }
        loop {
            let Some((running, Parts { mut view, sink })) = self.stream_parts(stream) else {
                return (used, false);
            };
            let handle = &running.handle;
            let Kind::Delete(deletion) = &mut running.kind else {
                return (used, false);
            };
            let Some(ix) = deletion.next else { break };
            if used >= budget || !sink.room(handle) {
                return (used, true);
            }
            used += 1;
            deletion.next = view.following(deletion.top, ix, true);
            // what was written since the deletion began is not meant by it
            if !view.has_value(ix) || view.tock_of(ix) > deletion.since {
                continue;
            }
            if let Err(why) = view.clear(ix) {
                if why == Refused::Exhausted {
                    let (id, handle) = (running.session, handle.clone());
                    self.forget_stream(stream);
                    self.refuse(id, &handle, false, &why);
                    return (used, false);
                }
                continue;
            }
            deletion.count += 1;
            if deletion.links != Links::None {
                way.clear();
                view.way(deletion.top, ix, &mut way);
                let (depth, count) = view.shorten(&mut deletion.last, &way, &mut path);
                let old = view.old_value(ix);
                let shown = view.show(ix, deletion.links);
                if let Some(chain) = shown.chain {
                    let (prev, tock) = (Some(old.as_ref()), shown.tock);
                    let path = path.as_ref();
                    let message = Message::Deleted {
                        chain,
                        prev,
                        tock,
                        depth,
                        path,
                        count,
                    };
                    sink.send(To::Stream(handle), &message, tock);
                }
            }
            self.changed(ix, Origin::Here);
        }
        if let Some((running, Parts { mut view, sink })) = self.stream_parts(stream)
            && let Kind::Delete(deletion) = &running.kind
            && deletion.links == Links::None
        {
            let tock = view.next_tock();
            sink.send(
                To::Request(&running.handle),
                &Message::Count(deletion.count),
                tock,
            );
        }
        self.end_stream(stream);
        (used, false)
    }
}

fn depth(way: &[Ix]) -> u32 {
    // paths are bounded far below 2^32 elements
    u32::try_from(way.len()).unwrap_or(u32::MAX)
}

/// Moves a walk on from the entry that `way` leads to, parents first; false
/// if that was the last one.
fn step(view: &View<'_>, subtree: &Subtree, way: &mut Vec<Ix>) -> bool {
    let ix = way.last().copied().unwrap_or(subtree.top);
    // internal data belong to the root's tree only if all is asked for
    let shown = |ix: &Ix| subtree.empty || !view.is_internal(*ix);
    let skip = |ix: Option<Ix>| match ix {
        Some(ix) if !shown(&ix) => view.next_sibling(ix),
        other => other,
    };
    if depth(way) < subtree.depths.max
        && let Some(child) = skip(view.first_child(ix))
    {
        way.push(child);
        return true;
    }
    while let Some(at) = way.pop() {
        if let Some(next) = skip(view.next_sibling(at)) {
            way.push(next);
            return true;
        }
    }
    false
}
