//! Fetching a node's whole state through its client port, from the joiner's
//! side: bytes in, entries and bookkeeping out.
//!
//! The dialogue is the original's: greeting, hello, `get_tree`,
//! `get_tree_internal`, `get_state`, one after the other. A peer that is of
//! this program's kind is asked for both trees at once, and for deletion
//! markers too. The bookkeeping is asked for after the trees in any case:
//! what happened while they were walked is in it, or it would show as holes.
//!
//! Nothing limits how far the peer may run ahead but TCP; where it numbers
//! its messages all the same, they are acknowledged. Records are decoded in
//! one pass, into memory that is used again.

mod login;
pub(in crate::wire) mod reply;
#[cfg(test)]
mod tests;

use crate::event::{ChainEnd, Event, Fetched, MAX_COUNTER, NodeInfo, NodeName, Refused, Tock};
use crate::msgpack::{Fault, Head, Reader, Walker, write};
use crate::path::{Path, PathRef, RawPath};
use crate::wire::client::{self, fields};
use crate::wire::frame::FrameError;

pub use login::Login;
use reply::{Flaw, Reply, uint};

/// What a greeting of this program's kind names if `markers` is understood.
pub(in crate::wire) const MARKERS: &str = "markers";

/// Why a peer's state cannot be had, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Where messages begin and end is unknown.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The first message is none that a server sends.
    #[error("it sends no greeting")]
    NoGreeting,
    /// Another node answers.
    #[error("node `{0}` answers there")]
    Other(NodeName),
    /// It has no state itself.
    #[error("it has no data yet")]
    NotReady,
    /// It wants to know who asks.
    #[error("it requires login (`{0}`): set 'conn.auth'")]
    Login(String),
    /// It wants to know that in another way.
    #[error("it requires login by `{0}`, and 'conn.auth' has `{1}`")]
    Method(String, &'static str),
    /// It does not accept who asks: its words
    #[error("it refuses the login: {0}")]
    NotLoggedIn(String),
    /// It answers with an error: its words
    #[error("it refuses: {0}")]
    Refused(String),
    /// A record that cannot be understood: which, and why
    #[error("record {number}{path} is malformed: {why}")]
    Record {
        /// Counted from 1
        number: u64,
        /// Where it belongs, if that could be read, in parentheses
        path: String,
        /// What is wrong with it
        why: String,
    },
    /// Its bookkeeping cannot be understood: why
    #[error("its state is malformed: {0}")]
    State(String),
}

/// How far the dialogue has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The peer is to greet.
    Greeting,
    /// It is to accept who asks.
    Login,
    /// Entries come.
    Trees,
    /// The bookkeeping comes.
    State,
    /// All has come, which is to be said.
    Complete,
    /// Nothing more is read.
    Over,
}

/// One of the two trees.
#[derive(Debug)]
struct Tree {
    action: &'static str,
    seq: u64,
    /// What its paths are below
    top: PathRef<'static>,
    /// The last path
    base: RawPath,
    asked: bool,
    ended: bool,
    /// The last message that was acknowledged
    acked: u64,
}

impl Tree {
    const fn new(action: &'static str, seq: u64, top: &'static [u8]) -> Self {
        Self {
            action,
            seq,
            top: PathRef::new(top),
            base: RawPath::new(),
            asked: false,
            ended: false,
            acked: 0,
        }
    }
}

// 1 is what the original's client library gives to its first request, which
// nothing here needs: so recorded dialogues compare.
const SEQ_STATE: u64 = 4;

/// A running dialogue with the peer.
#[derive(Debug)]
pub struct Joiner {
    me: NodeName,
    peer: NodeName,
    login: Option<Login>,
    walker: Walker,
    frame: usize,
    stage: Stage,
    trees: [Tree; 2],
    /// The peer takes both trees' requests at once, and knows of markers.
    markers: bool,
    /// How many messages may be taken before they are acknowledged
    ack_after: u64,
    event: Event,
    info: NodeInfo,
    tock: Tock,
    entries: u64,
    records: u64,
    output: Vec<u8>,
}

impl Joiner {
    /// Asks node `peer` for node `me`, reading messages of at most `frame`
    /// bytes.
    #[must_use]
    pub fn new(me: &NodeName, peer: &NodeName, frame: usize) -> Self {
        Self {
            me: me.clone(),
            peer: peer.clone(),
            login: None,
            walker: Walker::new(),
            frame,
            stage: Stage::Greeting,
            trees: [
                Tree::new("get_tree", 2, &[]),
                Tree::new("get_tree_internal", 3, &[0xc0]),
            ],
            markers: false,
            ack_after: 0,
            event: Event {
                path: RawPath::new(),
                chain: Vec::new(),
                end: ChainEnd::Start,
                tock: Tock(0),
                value: None,
            },
            info: NodeInfo::default(),
            tock: Tock(0),
            entries: 0,
            records: 0,
            output: Vec::new(),
        }
    }

    /// Logs in, if the peer asks for it.
    #[must_use]
    pub fn with_login(mut self, login: Option<Login>) -> Self {
        self.login = login;
        self
    }

    /// Reads on in what the peer has sent: how many bytes were used, and what
    /// came of them; nothing if the rest, which must be given again with what
    /// follows, is no whole message. After [`Fetched::Done`] nothing comes.
    ///
    /// # Errors
    /// If the peer's state cannot be had; nothing comes any more then.
    #[inline]
    pub fn next(&mut self, bytes: &[u8]) -> Result<(usize, Option<Fetched<'_>>), FetchError> {
        match self.step(bytes) {
            Ok((used, Step::Wait)) => Ok((used, None)),
            Ok((used, Step::Entry)) => Ok((used, Some(Fetched::Entry(&self.event)))),
            Ok((used, Step::State)) => Ok((used, Some(Fetched::State(&self.info, self.tock)))),
            Ok((used, Step::Done)) => Ok((used, Some(Fetched::Done))),
            Err(why) => {
                self.stage = Stage::Over;
                Err(why)
            }
        }
    }

    /// What is to be sent to the peer.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// That has been sent.
    pub fn sent(&mut self) {
        self.output.clear();
    }

    /// Whether the peer has greeted.
    #[must_use]
    pub fn is_greeted(&self) -> bool {
        self.stage != Stage::Greeting
    }

    /// How many entries have come.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    #[inline]
    fn step(&mut self, bytes: &[u8]) -> Result<(usize, Step), FetchError> {
        let mut used = 0;
        loop {
            match self.stage {
                Stage::Over => return Ok((bytes.len(), Step::Wait)),
                Stage::Complete => {
                    self.stage = Stage::Over;
                    return Ok((used, Step::Done));
                }
                Stage::Greeting | Stage::Login | Stage::Trees | Stage::State => {}
            }
            let rest = bytes.get(used..).unwrap_or(&[]);
            let Some((reply, len)) = self.message(rest)? else {
                return Ok((used, Step::Wait));
            };
            used += len;
            match self.take(&reply)? {
                Step::Wait => {}
                step => return Ok((used, step)),
            }
        }
    }

    /// The message that the bytes begin with, and its length.
    #[inline]
    fn message<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(Reply<'a>, usize)>, FetchError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        if !self.walker.is_inside() {
            match Reply::read(bytes) {
                Ok(found) => return self.whole(found),
                Err(Fault::Incomplete) => {}
                Err(fault) => return Err(FrameError::Encoding(fault).into()),
            }
        }
        // what has been looked at is not looked at again
        match self.walker.advance(bytes).map_err(FrameError::Encoding)? {
            Some(len) => {
                let found = Reply::read(bytes.get(..len).unwrap_or(bytes));
                self.whole(found.map_err(FrameError::Encoding)?)
            }
            None if bytes.len() > self.frame => Err(FrameError::TooLong(self.frame).into()),
            None => Ok(None),
        }
    }

    #[inline]
    fn whole<'a>(
        &self,
        found: Option<(Reply<'a>, usize)>,
    ) -> Result<Option<(Reply<'a>, usize)>, FetchError> {
        match found {
            Some((_, len)) if len > self.frame => Err(FrameError::TooLong(self.frame).into()),
            Some(found) => Ok(Some(found)),
            None if self.stage == Stage::Greeting => Err(FetchError::NoGreeting),
            None => Err(FetchError::Refused("a message that is no map".to_owned())),
        }
    }

    #[inline]
    fn take(&mut self, reply: &Reply<'_>) -> Result<Step, FetchError> {
        let seq = uint(reply.seq);
        if self.stage == Stage::Trees
            && reply.is_record()
            && let Some(tree) = self.trees.iter_mut().find(|tree| Some(tree.seq) == seq)
            && tree.asked
            && !tree.ended
        {
            self.records += 1;
            if let Some(number) = uint(reply.wseq)
                && number.saturating_sub(tree.acked) > self.ack_after
            {
                tree.acked = number;
                acknowledge(&mut self.output, tree.seq, number);
            }
            return match reply.event(tree.top, &mut tree.base, &mut self.event) {
                Ok(true) => {
                    self.entries += 1;
                    self.tock = self.tock.max(self.event.tock);
                    Ok(Step::Entry)
                }
                Ok(false) => Ok(Step::Wait),
                Err(why) => Err(self.malformed(&why)),
            };
        }
        self.take_other(reply, seq)
    }

    fn malformed(&self, why: &Flaw) -> FetchError {
        let path = Path::decode(self.event.path.as_ref());
        // the path is read first: if that fails, it is not this record's
        let about_path = matches!(
            why,
            Flaw::Path(_) | Flaw::Missing("path") | Flaw::Wrong("path" | "depth") | Flaw::Depth
        );
        FetchError::Record {
            number: self.records,
            path: match path {
                Ok(path) if !about_path => format!(" ({path})"),
                _ => String::new(),
            },
            why: why.to_string(),
        }
    }

    /// Whatever is no record.
    fn take_other(&mut self, reply: &Reply<'_>, seq: Option<u64>) -> Result<Step, FetchError> {
        let mine = self.trees.iter().any(|tree| Some(tree.seq) == seq) || seq == Some(SEQ_STATE);
        let mine = (mine || reply.seq.is_none()) && self.stage != Stage::Login;
        if let Some(error) = reply.error.filter(|_| mine) {
            let words = Reader::new(error).text().ok().flatten();
            return Err(FetchError::Refused(words.unwrap_or("an error").to_owned()));
        }
        match self.stage {
            Stage::Greeting => self.greeted(reply, seq)?,
            Stage::Login => {
                if let Some(login) = &mut self.login
                    && login.hear(reply, seq, &mut self.output)?
                {
                    self.stage = Stage::Trees;
                    self.ask();
                }
            }
            Stage::Trees => {
                let ended = reply.state == Some(b"\xa3end");
                if let Some(tree) = self.trees.iter_mut().find(|tree| Some(tree.seq) == seq)
                    && ended
                {
                    tree.ended = true;
                    self.saw(reply);
                    self.ask();
                }
            }
            Stage::State if seq == Some(SEQ_STATE) => {
                self.saw(reply);
                self.info = info(reply).map_err(|why| FetchError::State(client::text(&why)))?;
                self.stage = Stage::Complete;
                return Ok(Step::State);
            }
            Stage::State | Stage::Complete | Stage::Over => {}
        }
        Ok(Step::Wait)
    }

    fn saw(&mut self, reply: &Reply<'_>) {
        if let Some(n) = uint(reply.tock).filter(|n| *n <= MAX_COUNTER) {
            self.tock = self.tock.max(Tock(n));
        }
    }

    fn greeted(&mut self, greeting: &Reply<'_>, seq: Option<u64>) -> Result<(), FetchError> {
        let node = greeting.get("node").map(|raw| Reader::new(raw).text());
        let (Some(0), Some(Ok(Some(node)))) = (seq, node) else {
            return Err(FetchError::NoGreeting);
        };
        if node != self.peer.as_str() {
            return Err(FetchError::Other(NodeName::new(node)));
        }
        let method = greeting.get("auth").and_then(login);
        if let Some(method) = method
            && self.login.is_none()
        {
            return Err(FetchError::Login(method.to_owned()));
        }
        if uint(greeting.get("tick")).is_none() {
            return Err(FetchError::NotReady);
        }
        self.saw(greeting);
        self.markers = greeting.get("moat").is_some_and(knows_markers);
        self.ack_after = uint(greeting.get("qlen")).unwrap_or(0) / 3;
        // no window: nothing is numbered then
        write::map(&mut self.output, 1);
        field(&mut self.output, "seq", 0);
        if let (Some(method), Some(login)) = (method, &mut self.login) {
            self.stage = Stage::Login;
            return login.begin(method, &mut self.output);
        }
        self.stage = Stage::Trees;
        self.ask();
        Ok(())
    }

    /// Asks for what is next.
    fn ask(&mut self) {
        for tree in self.trees.iter_mut().filter(|tree| !tree.ended) {
            if !tree.asked {
                tree.asked = true;
                let out = &mut self.output;
                write::map(out, 5 + usize::from(self.markers));
                write::str(out, "from_server");
                write::str(out, self.me.as_str());
                write::str(out, "nchain");
                write::int(out, -1);
                write::str(out, "path");
                write::array(out, 0);
                if self.markers {
                    write::str(out, MARKERS);
                    write::bool(out, true);
                }
                write::str(out, "action");
                write::str(out, tree.action);
                field(out, "seq", tree.seq);
            }
            // others are asked for one thing after the other
            if !self.markers {
                return;
            }
        }
        if self.trees.iter().all(|tree| tree.ended) {
            self.stage = Stage::State;
            let out = &mut self.output;
            write::map(out, 6);
            write::str(out, "nodes");
            write::bool(out, true);
            write::str(out, "from_server");
            write::str(out, self.me.as_str());
            write::str(out, "known");
            write::bool(out, true);
            write::str(out, "deleted");
            write::bool(out, true);
            write::str(out, "action");
            write::str(out, "get_state");
            field(out, "seq", SEQ_STATE);
        }
    }
}

/// What a message led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Wait,
    Entry,
    State,
    Done,
}

fn field(out: &mut Vec<u8>, name: &str, n: u64) {
    write::str(out, name);
    write::uint(out, n);
}

fn acknowledge(out: &mut Vec<u8>, seq: u64, number: u64) {
    write::map(out, 3);
    field(out, "seq", seq);
    write::str(out, "state");
    write::str(out, "ack");
    field(out, "ack", number);
}

/// The method by which a greeting's `auth` wants a login: the first of the
/// list, if that is not `null`.
fn login(methods: &[u8]) -> Option<&str> {
    let mut reader = Reader::new(methods);
    match reader.head() {
        Ok(Head::Array(1..)) => reader.text().ok().flatten(),
        _ => None,
    }
}

/// Whether a greeting's `moat` says that deletion markers can be asked for.
fn knows_markers(moat: &[u8]) -> bool {
    let Ok(Some((moat, _))) = Reply::read(moat) else {
        return false;
    };
    let features = moat.get("features").map(fields::names);
    features.is_some_and(|names| names.is_ok_and(|n| n.iter().any(|n| n.as_str() == MARKERS)))
}

/// The reply to `get_state`.
fn info(reply: &Reply<'_>) -> Result<NodeInfo, Refused> {
    let sets = |name| reply.get(name).map(fields::tick_sets).transpose();
    Ok(NodeInfo {
        ticks: reply.get("nodes").map(fields::node_ticks).transpose()?,
        known: match sets("known")? {
            Some(sets) => Some(sets),
            None => sets("superseded")?,
        },
        deleted: sets("deleted")?,
        ..NodeInfo::default()
    })
}
