//! Writes that wait for a check outside the machine.
//!
//! A [`Guard`] says which writes need one. Such a write changes nothing and
//! takes no tick until the verdict; it then runs from the start, and the
//! verdict counts only if neither the entry nor the rules have changed
//! meanwhile. Later writes of the same session to the same path wait for it,
//! everything else overtakes. Events of other nodes never wait.

use std::collections::VecDeque;
use std::time::Duration;

use crate::event::{Expect, Handle, Links, NamedLink, NodeName, SessionId, Space, Tick, Write};
use crate::node::time::Timestamp;
use crate::path::{PathRef, RawPath};

/// How long a verdict may take.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How often a write is checked again because something changed.
pub const ATTEMPTS: u8 = 3;
/// Waiting writes a session may have.
pub const PER_SESSION: usize = 64;

/// Names one check that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What is to be checked: the rule is the guard's own number for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question(pub u64);

/// The answer to a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The value is good.
    Pass,
    /// It is not, in the check's own words.
    Fail(String),
}

/// Decides which writes need a check.
pub trait Guard: std::fmt::Debug {
    /// Changes whenever the rules do.
    fn version(&self) -> u64;

    /// The check that a value needs, if any. `path` is from the store's
    /// root on.
    fn question(&self, path: PathRef<'_>, value: &[u8]) -> Option<Question>;
}

/// A write that owns what it needs.
#[derive(Debug, Clone)]
pub struct OwnedWrite {
    space: Space,
    path: RawPath,
    value: Option<Box<[u8]>>,
    links: Links,
    expect: Option<Option<NamedLink>>,
    prev: Option<Box<[u8]>>,
    idem: bool,
}

impl From<&Write<'_>> for OwnedWrite {
    fn from(w: &Write<'_>) -> Self {
        Self {
            space: w.space,
            path: w.path.to_owned(),
            value: w.value.map(Into::into),
            links: w.links,
            expect: w.expect.map(|e| match e {
                Expect::New => None,
                Expect::Link(node, tick) => Some(NamedLink {
                    node: NodeName::new(node),
                    tick,
                }),
            }),
            prev: w.prev.map(Into::into),
            idem: w.idem,
        }
    }
}

impl OwnedWrite {
    /// The write itself.
    #[must_use]
    pub fn as_write(&self) -> Write<'_> {
        Write {
            space: self.space,
            path: self.path.as_ref(),
            value: self.value.as_deref(),
            links: self.links,
            expect: self.expect.as_ref().map(|e| match e {
                None => Expect::New,
                Some(NamedLink { node, tick }) => Expect::Link(node.as_str(), Tick(tick.0)),
            }),
            prev: self.prev.as_deref(),
            idem: self.idem,
        }
    }
}

/// A write that waits for its verdict, or behind one that does.
#[derive(Debug)]
pub struct Waiting {
    /// Whose it is
    pub session: SessionId,
    /// Its number there
    pub handle: Handle,
    /// What it does
    pub write: OwnedWrite,
    /// The check under way; `None` if it waits behind another write
    pub check: Option<Check>,
}

/// A check under way.
#[derive(Debug)]
pub struct Check {
    /// Its name
    pub token: Token,
    /// The entry's last change when it began
    pub head: Option<NamedLink>,
    /// The rules' version when it began
    pub version: u64,
    /// How many there were before it
    pub attempt: u8,
    /// When it is given up
    pub until: Timestamp,
}

/// All waiting writes, in the order in which they came.
#[derive(Debug, Default)]
pub struct Suspended(VecDeque<Waiting>);

impl Suspended {
    /// Whether nothing waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many writes of a session wait.
    #[must_use]
    pub fn of(&self, session: SessionId) -> usize {
        self.0.iter().filter(|w| w.session == session).count()
    }

    /// Whether a write of this session to this path waits.
    #[must_use]
    pub fn blocks(&self, session: SessionId, write: &Write<'_>) -> bool {
        self.0
            .iter()
            .any(|w| w.session == session && same_place(&w.write.as_write(), write))
    }

    /// Adds a write.
    pub fn push(&mut self, waiting: Waiting) {
        self.0.push_back(waiting);
    }

    /// Adds a write that comes before all that wait.
    pub fn push_first(&mut self, waiting: Waiting) {
        self.0.push_front(waiting);
    }

    /// Takes out the write that a verdict is for.
    pub fn take(&mut self, token: Token) -> Option<Waiting> {
        let is = |w: &Waiting| w.check.as_ref().is_some_and(|c| c.token == token);
        self.0.iter().position(is).and_then(|n| self.0.remove(n))
    }

    /// Takes out the first write that waits behind this one.
    pub fn take_behind(&mut self, session: SessionId, write: &Write<'_>) -> Option<Waiting> {
        let is = |w: &Waiting| w.session == session && same_place(&w.write.as_write(), write);
        let n = self.0.iter().position(is)?;
        // it may have become the first one itself
        self.0.get(n).filter(|w| w.check.is_none())?;
        self.0.remove(n)
    }

    /// Takes out the write with this number.
    pub fn take_handle(&mut self, session: SessionId, handle: &Handle) -> Option<Waiting> {
        let is = |w: &Waiting| w.session == session && w.handle == *handle;
        self.0.iter().position(is).and_then(|n| self.0.remove(n))
    }

    /// Takes out one write whose patience is over.
    pub fn take_expired(&mut self, now: Timestamp) -> Option<Waiting> {
        let is = |w: &Waiting| w.check.as_ref().is_some_and(|c| c.until <= now);
        self.0.iter().position(is).and_then(|n| self.0.remove(n))
    }

    /// Drops all writes of a session.
    pub fn forget(&mut self, session: SessionId) {
        self.0.retain(|w| w.session != session);
    }

    /// When the next one is to be given up.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.0
            .iter()
            .filter_map(|w| w.check.as_ref().map(|c| c.until))
            .min()
    }
}

fn same_place(a: &Write<'_>, b: &Write<'_>) -> bool {
    let (mut x, mut y) = (a.path.elements(), b.path.elements());
    a.space == b.space
        && loop {
            match (x.next(), y.next()) {
                (None, None) => break true,
                (Some(Ok(x)), Some(Ok(y))) if crate::path::same_elem(x, y) => {}
                _ => break false,
            }
        }
}
