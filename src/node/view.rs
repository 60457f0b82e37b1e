//! What one session may see and do: every action reaches the tree through a
//! [`View`].
//!
//! A view knows the session's root, asks [`View::may`] before it shows or
//! changes an entry, and passes every value through [`View::encode`] on its
//! way out and `View::decode` on its way in. Without users there is
//! nothing to forbid and nothing to convert; the places where that will be
//! decided are these, and no other.

mod shape;

use std::borrow::Cow;

use crate::event::{
    Chain, ChainEnd, Expect, Links, MOST_MEMBERS, MemberInfo, Members, NamedLink, NodeName,
    Refused, Shared, Space, Tick, TickSet, Tock, Write,
};
use crate::node::Limits;
use crate::node::merge::{Exhausted, Replica};
use crate::node::survey::{Roll, Survey};
use crate::node::tree::Entry;

use crate::node::watch::{Delivery, LastPath, Shape};
use crate::path::{ElemError, PathRef, RawPath};
use crate::value::{self, Value};

pub use crate::node::tree::Ix;

/// What an action needs at an entry; the letters of an access rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letter {
    /// `r`: read the value
    Read,
    /// `w`: write where a value is
    Write,
    /// `c`: write where none is
    Create,
    /// `d`: delete
    Delete,
    /// `x`: pass through, and watch
    Pass,
    /// `n`: make a missing entry below this one
    New,
    /// `e`: list
    Enumerate,
}

/// Where the nodes that agree on deletions are listed, below `null`:
/// `actor del`.
const DELETERS: &[u8] = b"\xa5actor\xa3del";

/// Where `null` may stand in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// As first element: internal data
    First,
    /// Nowhere
    Never,
}

/// What a session's view keeps from request to request.
#[derive(Debug)]
pub struct ViewState {
    root: Ix,
    /// Entries that watching made
    made: usize,
    /// The client is on the node's own machine.
    local: bool,
}

impl ViewState {
    /// A session that sees everything.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            root: Ix::ROOT,
            made: 0,
            local: false,
        }
    }

    /// The client is on the node's own machine.
    pub const fn set_local(&mut self) {
        self.local = true;
    }

    /// Whether paths are relative to something else than the store's root.
    #[must_use]
    pub fn is_below(&self) -> bool {
        self.root != Ix::ROOT
    }

    /// Whether this entry is the session's root.
    #[must_use]
    pub fn is_root(&self, ix: Ix) -> bool {
        self.root == ix
    }

    /// Whether a change of the entry at the end of `way` (the places from
    /// below the store's root on) may be told to this session.
    #[must_use]
    pub const fn may_hear(&self, way: &[Ix]) -> bool {
        let _ = way;
        true
    }
}

impl Default for ViewState {
    fn default() -> Self {
        Self::new()
    }
}

/// An entry as an action shows it.
#[derive(Debug)]
pub struct Shown<'a> {
    /// Its encoded value, converted
    pub value: Option<Cow<'a, [u8]>>,
    /// Its chain, if it is wanted and there is one
    pub chain: Option<Chain<'a>>,
    /// Its tock
    pub tock: Tock,
}

/// A write that nothing forbids but, perhaps, the entry's present state.
#[derive(Debug)]
pub struct Admitted<'a> {
    /// The entry, if it exists
    pub found: Option<Ix>,
    /// The value in its stored form; `None` deletes
    pub value: Option<Cow<'a, [u8]>>,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The entry
    pub ix: Ix,
    /// Whether an event was made; not if `idem` found nothing to do
    pub event: bool,
    /// Whether the value is another one now
    pub changed: bool,
    /// Whether there was a value before
    pub had_value: bool,
}

/// One session's access to the store.
#[derive(Debug)]
pub struct View<'m> {
    replica: &'m mut Replica,
    state: &'m mut ViewState,
    limits: &'m Limits,
}

impl<'m> View<'m> {
    pub(super) const fn new(
        replica: &'m mut Replica,
        state: &'m mut ViewState,
        limits: &'m Limits,
    ) -> Self {
        Self {
            replica,
            state,
            limits,
        }
    }

    /// Whether this session may do that at that entry.
    ///
    /// # Errors
    /// [`Refused::Access`] if a rule forbids it.
    #[inline]
    #[allow(clippy::unused_self)] // a session without user may do everything
    pub const fn may(&self, letter: Letter, at: Ix) -> Result<(), Refused> {
        let (_, _) = (letter, at);
        Ok(())
    }

    /// A stored value in this session's form.
    #[inline]
    #[allow(clippy::unused_self)] // a session without user has no converter
    pub const fn encode<'a>(&self, at: Ix, value: &'a [u8]) -> Cow<'a, [u8]> {
        let _ = at;
        Cow::Borrowed(value)
    }

    /// A value of this session in the stored form. `path` is below `from`.
    #[inline]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)] // as `encode`
    const fn decode<'a>(
        &self,
        from: Ix,
        path: PathRef<'_>,
        value: &'a [u8],
    ) -> Result<Cow<'a, [u8]>, Refused> {
        let (_, _) = (from, path);
        Ok(Cow::Borrowed(value))
    }

    fn top(&self, space: Space) -> Ix {
        match space {
            Space::User => self.state.root,
            Space::Internal => self.replica.internal(),
        }
    }

    /// Whether paths are relative to something else than the store's root.
    #[must_use]
    pub fn is_below(&self) -> bool {
        self.state.is_below()
    }

    /// A fresh tock.
    #[inline]
    pub const fn next_tock(&mut self) -> Tock {
        self.replica.next_tock()
    }

    /// This node's name and last tick.
    #[must_use]
    pub fn node(&self) -> (&NodeName, Option<Tick>) {
        (self.replica.name(), self.replica.tick())
    }

    /// The entry at a path.
    ///
    /// # Errors
    /// If the path is none, or the session may not go there.
    #[inline]
    pub fn find(
        &self,
        space: Space,
        path: PathRef<'_>,
        nulls: Nulls,
    ) -> Result<Option<Ix>, Refused> {
        // `null` is looked for in the whole path, before anything is missed
        let mut null_ok = nulls == Nulls::First && space == Space::User && !self.state.is_below();
        let mut at = self.top(space);
        let mut elements = path.elements();
        while let Some(element) = elements.next() {
            let element = element.map_err(Refused::Value)?;
            if element == [0xc0] && !null_ok {
                return Err(Refused::NullElement);
            }
            null_ok = false;
            match self.replica.tree().child(at, element) {
                Some(child) => {
                    self.may(Letter::Pass, at)?;
                    at = child;
                }
                None if elements.any(|e| e == Ok(&[0xc0][..])) => {
                    return Err(Refused::NullElement);
                }
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The entry at a path, which must exist.
    ///
    /// # Errors
    /// As [`View::find`], and [`Refused::NoPath`].
    pub fn must_find(&self, space: Space, path: PathRef<'_>, nulls: Nulls) -> Result<Ix, Refused> {
        self.find(space, path, nulls)?
            .ok_or_else(|| Refused::NoPath(path.to_owned()))
    }

    /// The entry at a path, made if it is missing: valueless, without event.
    /// For watches, which existing programs rely on to do this.
    ///
    /// # Errors
    /// As [`View::find`], and if this session has made too many.
    pub fn make(&mut self, space: Space, path: PathRef<'_>) -> Result<Ix, Refused> {
        if let Some(ix) = self.find(space, path, Nulls::First)? {
            return Ok(ix);
        }
        let made = self.state.made + path.len();
        if made > self.limits.made_by_watching {
            return Err(Refused::TooMany("entries that watches made"));
        }
        let top = self.top(space);
        let ix = self.replica.ensure(top, path).map_err(element)?;
        self.state.made = made;
        Ok(ix)
    }

    /// The entry whose chain holds an event.
    ///
    /// # Errors
    /// If there is no such node or tick, or the session may not read there.
    pub fn find_event(&self, node: &str, tick: Tick) -> Result<Ix, Refused> {
        let known = self.known(node)?;
        let ix = known.entry(tick).ok_or(Refused::NoTick(tick))?;
        if self.relative(ix).is_none() {
            return Err(Refused::NoTick(tick));
        }
        self.may(Letter::Read, ix)?;
        Ok(ix)
    }

    fn known(&self, node: &str) -> Result<&super::ticks::Known, Refused> {
        let nodes = self.replica.nodes();
        let known = nodes.find(node).and_then(|ix| nodes.get(ix));
        known.ok_or_else(|| Refused::NoNode(NodeName::new(node)))
    }

    /// An entry's path as this session sees it; `None` if it is not below
    /// the session's root.
    #[must_use]
    pub fn relative(&self, ix: Ix) -> Option<RawPath> {
        let tree = self.replica.tree();
        let mut at = ix;
        while at != self.state.root {
            at = tree.get(at).parent()?;
        }
        Some(tree.path(self.state.root, ix))
    }

    /// An entry, to be shown.
    #[inline]
    #[must_use]
    pub fn show(&self, ix: Ix, links: Links) -> Shown<'_> {
        let entry = self.replica.tree().get(ix);
        Shown {
            value: entry.value().map(|value| self.encode(ix, value)),
            chain: self.chain(ix, links),
            tock: entry.tock(),
        }
    }

    #[inline]
    fn chain(&self, ix: Ix, links: Links) -> Option<Chain<'_>> {
        let wanted = match links {
            Links::None => return None,
            Links::Newest(n) => n as usize,
            Links::All => usize::MAX,
        };
        let names = self.replica.nodes().names();
        let (all, end) = self.replica.tree().chain(ix);
        if all.is_empty() {
            return None;
        }
        match all.get(..wanted) {
            Some(some) if some.len() < all.len() => Some(Chain {
                links: some,
                end: ChainEnd::Cut,
                names,
            }),
            _ => Some(Chain {
                links: all,
                end,
                names,
            }),
        }
    }

    /// Turns the way to an entry into elements shared with the last path of
    /// the stream, and the others, which go to `out`.
    pub fn shorten(&self, last: &mut LastPath, way: &[Ix], out: &mut RawPath) -> (u32, u32) {
        last.shorten(self.replica.tree(), way, out)
    }

    /// The path for the next message about a change, and what the last one
    /// left.
    #[inline]
    pub fn deliver<'d>(
        &self,
        delivery: &'d mut Delivery,
        shape: Shape,
        way: &[Ix],
    ) -> (&'d RawPath, &'d Shared) {
        delivery.next(shape, self.replica.tree(), way)
    }

    /// This run, and the number of the last change.
    #[must_use]
    pub const fn at(&self) -> (u64, u64) {
        self.replica.at()
    }

    /// The present tock.
    #[must_use]
    pub const fn tock(&self) -> Tock {
        self.replica.tock()
    }

    /// Appends the places on the way from below `top` down to `ix`.
    pub fn way(&self, top: Ix, ix: Ix, out: &mut Vec<Ix>) {
        self.replica.tree().way(top, ix, out);
    }

    /// The entry after `ix` in a walk of the subtree `top`, parents first.
    #[must_use]
    pub fn following(&self, top: Ix, ix: Ix, into: bool) -> Option<Ix> {
        self.replica.tree().following(top, ix, into)
    }

    /// Whether this is where internal data begin.
    #[must_use]
    pub fn is_internal(&self, ix: Ix) -> bool {
        ix == self.replica.internal()
    }

    /// Appends the way from below `top` down to `ix`; false if it is not
    /// below it, or belongs to the internal data and `top` does not.
    pub fn way_below(&self, top: Ix, ix: Ix, out: &mut Vec<Ix>) -> bool {
        let mut at = ix;
        while at != top {
            match self.replica.tree().get(at).parent() {
                Some(parent) if !self.is_internal(at) => at = parent,
                _ => return false,
            }
        }
        self.way(top, ix, out);
        true
    }

    /// The entries changed after change `number` of run `run`, if that is
    /// known.
    #[must_use]
    pub fn changed_since(&self, run: u64, number: u64) -> Option<Vec<Ix>> {
        self.replica.changed_since(run, number)
    }

    /// Whether this session may act on the node itself.
    ///
    /// # Errors
    /// [`Refused::Access`] if a rule forbids it.
    #[allow(clippy::unused_self)] // a session without user may do everything
    pub const fn may_administer(&self) -> Result<(), Refused> {
        Ok(())
    }

    /// Whether this session may have the node write files, with the rights
    /// of the node's own user.
    ///
    /// # Errors
    /// [`Refused::NotLocal`] for a client on another machine.
    pub const fn may_have_files(&self) -> Result<(), Refused> {
        if self.state.local {
            Ok(())
        } else {
            Err(Refused::NotLocal)
        }
    }

    /// Goes on with an answer about the bookkeeping, for about as long as a
    /// walk of `budget` entries takes. Returns how much of that was used, and
    /// whether there is more.
    pub fn survey(&self, survey: &mut Survey, budget: usize) -> (usize, bool) {
        survey.go_on(self.replica, budget)
    }

    /// The same with a list of a node's ticks.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn roll(&self, roll: &mut Roll, budget: usize) -> Result<(usize, bool), Refused> {
        self.may_administer()?;
        let done = roll.go_on(self.replica, budget);
        done.ok_or_else(|| Refused::NoNode(roll.node().clone()))
    }

    /// Completes what was heard of the nodes, best known first, by what the
    /// books say: their ticks, the nodes that only these know, and whom
    /// deletions depend on. Leaves as many as an answer lists.
    ///
    /// # Errors
    /// If this session may not look.
    pub fn complete(&self, members: &mut Members) -> Result<(), Refused> {
        self.may_administer()?;
        let books = self.replica.nodes();
        let mut heard: Vec<NodeName> = members.nodes.iter().map(|m| m.name.clone()).collect();
        heard.sort_unstable();
        for (_, name, _) in books.iter() {
            if heard.binary_search(name).is_err() {
                members.nodes.push(MemberInfo {
                    name: name.clone(),
                    ..MemberInfo::default()
                });
            }
        }
        let more = members.nodes.len().saturating_sub(MOST_MEMBERS);
        members.more = u64::try_from(more).unwrap_or(u64::MAX);
        members.nodes.truncate(MOST_MEMBERS);
        members
            .nodes
            .sort_by(|a, b| (!a.own, &a.name).cmp(&(!b.own, &b.name)));
        for member in &mut members.nodes {
            let known = books
                .find(member.name.as_str())
                .and_then(|ix| books.get(ix));
            if let Some(known) = known {
                member.tick = known.tick();
                member.missing = known.missing().count();
                member.reported = known.reported().count();
            }
        }
        members.deleters.group = self.deleters();
        Ok(())
    }

    /// The nodes that agree on deletions, as `:null actor del` names them.
    fn deleters(&self) -> Vec<(NodeName, bool)> {
        let path = PathRef::new(DELETERS);
        let Ok(Some(ix)) = self.find(Space::Internal, path, Nulls::Never) else {
            return Vec::new();
        };
        let value = self.replica.tree().get(ix).value();
        let Some(value) = value.and_then(|value| Value::decode(value).ok()) else {
            return Vec::new();
        };
        // an older form has the list alone
        let nodes = match &value {
            Value::List(nodes) => Some(nodes),
            map => match map.field("nodes") {
                Some(Value::List(nodes)) => Some(nodes),
                _ => None,
            },
        };
        let names = nodes.into_iter().flatten().filter_map(Value::as_str);
        let names = names.map(|name| (NodeName::new(name), false));
        names.take(MOST_MEMBERS).collect()
    }

    /// Forgets a node.
    ///
    /// # Errors
    /// If there is no such node, or an entry's last change is its.
    pub fn kill(&mut self, node: &str) -> Result<(), Refused> {
        self.may_administer()?;
        let name = NodeName::new(node);
        let Some(ix) = self.replica.nodes().find(node) else {
            return Err(Refused::NoNode(name));
        };
        self.replica
            .drop_node(ix)
            .map_err(|tick| Refused::NodeInUse(name, tick))
    }

    /// Which of these ticks belong to deleted entries, or to none any more.
    #[must_use]
    pub fn deleted_among(&self, asked: &[(NodeName, TickSet)]) -> Vec<(NodeName, TickSet)> {
        self.replica.deleted_among(asked)
    }

    /// Whether an entry has a value.
    #[must_use]
    pub fn has_value(&self, ix: Ix) -> bool {
        self.replica.tree().get(ix).value().is_some()
    }

    /// Whether an entry had a value and was deleted.
    #[must_use]
    pub fn is_marker(&self, ix: Ix) -> bool {
        let entry = self.replica.tree().get(ix);
        entry.value().is_none() && entry.head().is_some()
    }

    /// An entry's last tock.
    #[must_use]
    pub fn tock_of(&self, ix: Ix) -> Tock {
        self.replica.tree().get(ix).tock()
    }

    /// The encoded element that names an entry.
    #[must_use]
    pub fn key(&self, ix: Ix) -> &[u8] {
        self.replica.tree().get(ix).key()
    }

    /// The first child of an entry.
    #[must_use]
    pub fn first_child(&self, ix: Ix) -> Option<Ix> {
        self.replica.tree().get(ix).first_child()
    }

    /// The child after this one.
    #[must_use]
    pub fn next_sibling(&self, ix: Ix) -> Option<Ix> {
        self.replica.tree().get(ix).next_sibling()
    }

    /// Makes an entry this session's root; made if it is missing.
    ///
    /// # Errors
    /// As [`View::make`]; the root cannot be among the internal data.
    pub fn descend(&mut self, path: PathRef<'_>) -> Result<Ix, Refused> {
        if path.elements().next() == Some(Ok(&[0xc0])) {
            return Err(Refused::NullElement);
        }
        let ix = self.make(Space::User, path)?;
        self.state.root = ix;
        Ok(ix)
    }

    /// What would be written, before anything is: whether the write is
    /// allowed, and the value in its stored form.
    ///
    /// # Errors
    /// Everything but what depends on the entry's present state.
    #[inline]
    pub fn admit<'a>(&self, write: &Write<'a>) -> Result<Admitted<'a>, Refused> {
        let found = self.find(write.space, write.path, Nulls::First)?;
        let top = self.top(write.space);
        let letter = match (write.value, found) {
            (None, _) => Letter::Delete,
            (Some(_), Some(ix)) if self.has_value(ix) => Letter::Write,
            _ => Letter::Create,
        };
        self.may(letter, found.unwrap_or(top))?;
        let value = match write.value {
            None => None,
            Some(value) if value.len() > self.limits.value => {
                return Err(Refused::TooLarge(self.limits.value));
            }
            Some(value) => Some(self.decode(top, write.path, value)?),
        };
        self.check_shape(write.space, write.path, value.as_deref())?;
        Ok(Admitted { found, value })
    }

    /// What internal entries must look like, and what nodes of the original
    /// must not be shown.
    #[inline]
    fn check_shape(
        &self,
        space: Space,
        path: PathRef<'_>,
        value: Option<&[u8]>,
    ) -> Result<(), Refused> {
        shape::check(space, path, value)?;
        if !self.replica.is_mixed() {
            return Ok(());
        }
        let tree = self.replica.tree();
        shape::check_mixed(space, path, value, |path| {
            let found = tree.resolve(self.replica.internal(), path);
            matches!(found, Ok(Some(ix)) if tree.get(ix).value().is_some())
        })
    }

    /// A path as it is from the store's root on.
    #[must_use]
    pub fn full_path(&self, space: Space, path: PathRef<'_>) -> RawPath {
        let mut full = self.replica.path(self.top(space));
        full.push(path.bytes());
        full
    }

    /// The last change of an entry, to tell later whether it changed again.
    #[must_use]
    pub fn head(&self, ix: Option<Ix>) -> Option<NamedLink> {
        let head = self.replica.tree().get(ix?).head()?;
        self.replica.named(&[head]).pop()
    }

    /// A write or deletion. The value that it replaces is in
    /// [`View::old_value`] afterwards.
    ///
    /// # Errors
    /// If it is refused; nothing has changed then.
    #[inline]
    pub fn write(&mut self, write: &Write<'_>) -> Result<Written, Refused> {
        let Admitted { found, value } = self.admit(write)?;
        let entry = found.map(|ix| self.replica.tree().get(ix));
        let stored = entry.and_then(Entry::value);
        let had_value = stored.is_some();
        if write.idem
            && let (Some(ix), Some(old), Some(new)) = (found, stored, value.as_deref())
            && value::same_type_and_value(old, new)
        {
            return Ok(Written {
                ix,
                event: false,
                changed: false,
                had_value,
            });
        }
        if let Some(want) = write.prev {
            let have = found.and_then(|ix| stored.map(|v| self.encode(ix, v)));
            if !have
                .as_deref()
                .is_some_and(|have| value::same_value(have, want))
            {
                return Err(Refused::Prev {
                    have: have.map(|v| v.as_ref().into()),
                    want: want.into(),
                    path: write.path.to_owned(),
                });
            }
        }
        match write.expect {
            None => {}
            Some(Expect::New) if had_value => return Err(Refused::Exists(write.path.to_owned())),
            Some(Expect::New) => {}
            Some(Expect::Link(node, tick)) => {
                let Some(ix) = found.filter(|_| had_value) else {
                    return Err(Refused::IsNew(write.path.to_owned()));
                };
                let (chain, _) = self.replica.tree().chain(ix);
                let have = self.replica.named(chain);
                let same = |l: &NamedLink| l.node.as_str() == node && l.tick == tick;
                if !have.first().is_some_and(same) {
                    let want = NamedLink {
                        node: NodeName::new(node),
                        tick,
                    };
                    return Err(Refused::ChainDiffers {
                        have,
                        want,
                        path: write.path.to_owned(),
                    });
                }
            }
        }
        let changed = match (stored, value.as_deref()) {
            (None, None) => false,
            (Some(old), Some(new)) => !value::same_value(old, new),
            _ => true,
        };
        let ix = match found {
            Some(ix) => ix,
            None => {
                let top = self.top(write.space);
                self.replica.ensure(top, write.path).map_err(element)?
            }
        };
        self.replica
            .write(ix, value.as_deref())
            .map_err(|Exhausted| Refused::Exhausted)?;
        Ok(Written {
            ix,
            event: true,
            changed,
            had_value,
        })
    }

    /// Deletes one entry's value, as part of a recursive deletion.
    ///
    /// # Errors
    /// If it is refused; nothing has changed then.
    pub fn clear(&mut self, ix: Ix) -> Result<(), Refused> {
        self.may(Letter::Delete, ix)?;
        if self.replica.is_mixed() {
            self.check_shape(Space::User, self.replica.path(ix).as_ref(), None)?;
        }
        self.replica
            .write(ix, None)
            .map_err(|Exhausted| Refused::Exhausted)
    }

    /// The value that the last write of this turn replaced, in this
    /// session's form.
    #[must_use]
    pub fn old_value(&self, ix: Ix) -> Cow<'_, [u8]> {
        self.encode(ix, self.replica.old_value())
    }
}

fn element(error: ElemError) -> Refused {
    match error {
        ElemError::Encoding(fault) => Refused::Value(fault),
        other => Refused::Element(other.to_string()),
    }
}
