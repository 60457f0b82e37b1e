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
            numbered: false,
            live: false,
            resumed: None,
            walk: Some(Walk::new(Next::Entry(top, 0))),
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
        let mut way = Vec::new();
        let Some((running, Parts { mut view, sink })) = self.stream_parts(stream) else {
            return (0, false);
        };
        let handle = &running.handle;
        let Kind::Subtree(subtree) = &mut running.kind else {
            return (0, false);
        };
        let mut used = 0;
        while let Some((ix, depth)) = next_entry(&view, subtree) {
            if used >= budget || !sink.room(handle) {
                put_back(subtree, ix, depth);
                return (used, true);
            }
            used += 1;
            let changed = matches!(
                &subtree.walk,
                Some(Walk {
                    next: Next::Changed(_),
                    ..
                })
            );
            let visible = changed || subtree.empty || view.has_value(ix);
            let again = subtree.walk.as_mut().is_some_and(|w| w.unmark(ix));
            if visible && !again && subtree.depths.contain(depth) {
                way.clear();
                view.way(subtree.top, ix, &mut way);
                send_entry(&view, sink, handle, subtree, ix, &way, &mut path);
            }
            step(&view, subtree, ix, depth);
        }
        subtree.walk = None;
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

/// The entry that a walk is at, and its depth; skips what is gone from the
/// subtree.
fn next_entry(view: &View<'_>, subtree: &mut Subtree) -> Option<(Ix, u32)> {
    match &mut subtree.walk.as_mut()?.next {
        Next::Nothing => None,
        Next::Entry(ix, depth) => Some((*ix, *depth)),
        Next::Changed(list) => {
            while let Some(ix) = list.pop_front() {
                if let Some(depth) = view.depth_below(subtree.top, ix) {
                    return Some((ix, depth));
                }
            }
            None
        }
    }
}

fn put_back(subtree: &mut Subtree, ix: Ix, _depth: u32) {
    if let Some(Walk {
        next: Next::Changed(list),
        ..
    }) = &mut subtree.walk
    {
        list.push_front(ix);
    }
}

/// Moves a walk on from the entry that it has visited.
fn step(view: &View<'_>, subtree: &mut Subtree, ix: Ix, depth: u32) {
    let into = depth < subtree.depths.max;
    let Some(walk) = &mut subtree.walk else {
        return;
    };
    if let Next::Entry(..) = walk.next {
        let mut next = view.following(subtree.top, ix, into);
        // internal data belong to the root's tree only if all is asked for
        if let Some(n) = next.filter(|n| view.is_internal(*n) && !subtree.empty) {
            next = view.following(subtree.top, n, false);
        }
        walk.next = match next {
            None => Next::Nothing,
            Some(next) => {
                let depth = match view.parent(next) {
                    Some(parent) if parent == ix => depth + 1,
                    _ => view.depth_below(subtree.top, next).unwrap_or(0),
                };
                Next::Entry(next, depth)
            }
        };
    }
}
