//! A simulated client's end of its session: keeps what it is told until the
//! client reads it.

use std::collections::{BTreeSet, VecDeque};

use crate::event::{Handle, Message, NodeName, Refused, Sink, State, Tick, To, Tock};
use crate::path::RawPath;
use crate::sim::plant::Plant;

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// An entry's value and last change
    Entry(Option<Box<[u8]>>, Option<(NodeName, Tick)>),
    /// A write is done; the entry's last change
    Changed(Option<(NodeName, Tick)>),
    Refused(Refused),
    Other,
}

/// A message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    Start,
    /// An entry: path below the top, value, tock
    Node(RawPath, Option<Box<[u8]>>, Tock),
    /// Run and number, and whether a wish to resume was honoured
    UpToDate((u64, u64), Option<bool>),
    /// The stream failed: with run and number, if it may be resumed
    Failed(Refused, Option<(u64, u64)>),
    End,
}

impl Note {
    /// About what it takes on the wire.
    fn size(&self) -> usize {
        match self {
            Self::Node(path, value, _) => {
                24 + path.as_ref().bytes().len() + value.as_ref().map_or(0, |v| v.len())
            }
            _ => 16,
        }
    }
}

/// What a client has been told and not read.
#[derive(Debug, Default)]
pub(super) struct Ear {
    replies: VecDeque<(Handle, Reply)>,
    notes: VecDeque<(Handle, Note)>,
    waiting: usize,
    /// The last path of the stream: its bytes, and where elements end
    last: (Vec<u8>, Vec<usize>),
    /// A planted fault: changes of what a walk has passed get lost. The
    /// paths sent since the stream began.
    gap: Option<BTreeSet<RawPath>>,
    /// A planted fault: a change is put before the one that waits.
    swaps: bool,
    walking: bool,
}

/// Notes that may wait before a walk pauses.
const WINDOW: usize = 12;

impl Ear {
    /// Nothing told yet.
    pub(super) fn new(plant: Option<Plant>) -> Self {
        Self {
            gap: (plant == Some(Plant::WatchGap)).then(BTreeSet::new),
            swaps: plant == Some(Plant::WatchOrder),
            ..Self::default()
        }
    }

    /// The reply to a request, if it has come.
    pub(super) fn reply(&mut self, to: &Handle) -> Option<Reply> {
        let at = self.replies.iter().position(|(handle, _)| handle == to)?;
        self.replies.remove(at).map(|(_, reply)| reply)
    }

    /// The next message of a stream.
    pub(super) fn note(&mut self) -> Option<(Handle, Note)> {
        let note = self.notes.pop_front()?;
        self.waiting = self.waiting.saturating_sub(note.1.size());
        Some(note)
    }

    /// Whether a stream has something to be read.
    pub(super) fn has_notes(&self) -> bool {
        !self.notes.is_empty()
    }

    /// Forgets replies that nobody waits for.
    pub(super) fn clear_replies(&mut self) {
        self.replies.clear();
    }

    fn path(&mut self, depth: u32, path: crate::path::PathRef<'_>) -> RawPath {
        let (bytes, ends) = &mut self.last;
        ends.truncate(depth as usize);
        bytes.truncate(ends.last().copied().unwrap_or(0));
        for element in path.elements().map_while(Result::ok) {
            bytes.extend_from_slice(element);
            ends.push(bytes.len());
        }
        let mut full = RawPath::new();
        full.push(bytes);
        full
    }
}

fn head(message: &Message<'_>) -> Option<(NodeName, Tick)> {
    let chain = match message {
        Message::Entry { chain, .. } => chain.flatten(),
        Message::Changed { chain, .. } => *chain,
        _ => None,
    }?;
    let link = chain.links.first()?;
    let name = chain.names.get(link.node().0 as usize)?;
    Some((name.clone(), link.tick()))
}

const fn is_node(note: &(Handle, Note)) -> bool {
    matches!(note.1, Note::Node(..))
}

impl Sink for Ear {
    fn send(&mut self, to: To<'_>, message: &Message<'_>, _tock: Tock) {
        let handle = match to {
            To::Request(handle) => {
                let reply = match message {
                    Message::Greeting { .. } => return,
                    Message::Entry { value, .. } => {
                        Reply::Entry(value.map(Into::into), head(message))
                    }
                    Message::Changed { .. } => Reply::Changed(head(message)),
                    Message::Error { why, .. } => Reply::Refused((*why).clone()),
                    _ => Reply::Other,
                };
                self.replies.push_back((handle.clone(), reply));
                return;
            }
            To::Stream(handle) => handle,
        };
        let note = match message {
            Message::State(State::Start { .. }) => Note::Start,
            Message::State(State::UpToDate { at, resumed }) => {
                self.walking = false;
                Note::UpToDate(*at, *resumed)
            }
            Message::State(State::End) => Note::End,
            Message::Node {
                value,
                depth,
                path,
                tock,
                ..
            } => {
                let path = self.path(*depth, *path);
                if self.walking
                    && let Some(sent) = &mut self.gap
                    && !sent.insert(path.clone())
                {
                    return;
                }
                Note::Node(path, value.map(Into::into), *tock)
            }
            Message::Error { why, at } => Note::Failed((*why).clone(), *at),
            _ => return,
        };
        self.waiting += note.size();
        let note = (handle.clone(), note);
        match self.notes.pop_back() {
            Some(last) if self.swaps && is_node(&last) && is_node(&note) => {
                self.notes.push_back(note);
                self.notes.push_back(last);
            }
            last => {
                self.notes.extend(last);
                self.notes.push_back(note);
            }
        }
    }

    fn open(&mut self, _stream: &Handle, _window: Option<u32>) {
        self.last = Default::default();
        self.walking = true;
        if let Some(sent) = &mut self.gap {
            sent.clear();
        }
    }

    fn close(&mut self, _stream: &Handle) {}

    fn room(&self, _stream: &Handle) -> bool {
        self.notes.len() < WINDOW
    }

    fn waiting(&self) -> usize {
        self.waiting
    }
}
