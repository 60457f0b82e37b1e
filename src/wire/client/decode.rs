//! From a message's bytes to a checked request.

use crate::event::{
    ChainEnd, Event, FileJob, Handle, Links, MAX_COUNTER, NamedLink, NodeInfo, NodeName, Refused,
    Request, Space, StateWanted, Target, Tock, Write,
};
use crate::msgpack::{Fault, Head, Reader};
use crate::path;
use crate::wire::client::fields::{
    Fields, int, names, node_ticks, path_of, resume, text, tick, tick_sets, truth, type_name,
};
use crate::wire::client::usual::{self, Usual};
use crate::wire::frame::{Frame, FrameError, Splitter};

/// What a client's message is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Incoming<'a> {
    /// A new request
    Request(Handle, Request<'a>),
    /// A request that cannot be done as it stands; `stream` if its answer
    /// would be a stream
    Refused {
        /// Its number
        handle: Handle,
        /// Whether the answer has a stream's frame
        stream: bool,
        /// Why
        why: Refused,
    },
    /// The client's first message, if it has number 0: how many messages of
    /// a stream may be under way; 0: any number
    Hello(u32),
    /// A stream's messages up to this one have been taken.
    Ack(Handle, u64),
    /// Something for a stream that listens to nothing: ignored
    Ignored,
    /// No request: the text to answer, without a number
    Nonsense(String),
}

/// Turns what a client sends into requests.
#[derive(Debug)]
pub struct Inbox {
    splitter: Splitter,
    /// Whether the hello has come: the first message with number 0, whatever
    /// it says
    greeted: bool,
}

impl Inbox {
    /// Messages may have `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            splitter: Splitter::new(limit),
            greeted: false,
        }
    }

    /// The message that `bytes` begin with, if it is whole and one of those
    /// that most clients send most of the time. If not, ask for the
    /// [`next`](Self::next).
    #[inline]
    pub fn usual<'a>(&self, bytes: &'a [u8]) -> Option<Usual<'a>> {
        if self.splitter.is_inside() {
            return None;
        }
        usual::read(bytes).filter(|usual| usual.size() <= self.splitter.limit())
    }

    /// The message that `bytes` begin with, and its length; `None` if it is
    /// not complete: call again with these bytes and more.
    ///
    /// # Errors
    /// If no message can be found any more; the connection must end.
    pub fn next<'a>(
        &mut self,
        bytes: &'a [u8],
    ) -> Result<Option<(usize, Incoming<'a>)>, FrameError> {
        let mut fields = Fields::default();
        if !self.splitter.is_inside()
            && let Some(len) = fields.scan(bytes)
            && len <= self.splitter.limit()
        {
            return Ok(Some((len, self.message(&fields, None))));
        }
        let Some(Frame { len, fault }) = self.splitter.next(bytes)? else {
            return Ok(None);
        };
        let frame = bytes.get(..len).unwrap_or(bytes);
        let incoming = match Fields::find(frame) {
            Ok(Some(fields)) => self.message(&fields, fault),
            Ok(None) => Incoming::Nonsense(format!(
                "'{}' object has no attribute 'seq'",
                type_name(frame)
            )),
            Err(fault) => Incoming::Nonsense(fault.to_string()),
        };
        Ok(Some((len, incoming)))
    }

    #[inline]
    fn message<'a>(&mut self, fields: &Fields<'a>, fault: Option<Fault>) -> Incoming<'a> {
        let incoming = message(fields, !self.greeted, fault);
        self.greeted |= matches!(incoming, Incoming::Hello(_));
        incoming
    }
}

#[inline]
fn message<'a>(fields: &Fields<'a>, first: bool, fault: Option<Fault>) -> Incoming<'a> {
    let Some(seq) = fields.seq else {
        return Incoming::Nonsense("seq".to_owned());
    };
    let handle = match handle(seq) {
        Ok(handle) => handle,
        Err(words) => return Incoming::Nonsense(words),
    };
    if first && handle.bytes() == [0] {
        let window = fields.window().ok().flatten();
        return Incoming::Hello(window.unwrap_or(0));
    }
    if let Some(fault) = fault {
        return Incoming::Refused {
            handle,
            stream: false,
            why: Refused::Value(fault),
        };
    }
    let state = fields
        .state
        .and_then(|raw| Reader::new(raw).text().ok().flatten());
    let Some(action) = fields.action else {
        return match state {
            Some("ack") => match fields.get("ack").map(int) {
                Some(Ok(n)) => Incoming::Ack(handle, u64::try_from(n).unwrap_or(0)),
                _ => Incoming::Ignored,
            },
            Some("end") => Incoming::Ignored,
            _ if fields.get("error").is_some() => Incoming::Ignored,
            _ => Incoming::Refused {
                handle,
                stream: false,
                why: Refused::Missing("action"),
            },
        };
    };
    // the text's bytes: names of actions are compared as such
    let mut action = Reader::new(action);
    let action = match action.head() {
        Ok(Head::Str(_)) => action.rest(),
        _ => b"?",
    };
    let stream = matches!(
        action,
        b"get_tree" | b"get_tree_internal" | b"watch" | b"msg_monitor"
    );
    if state == Some("start") && !stream {
        let why = Refused::UnknownAction(shortened(action));
        return Incoming::Refused {
            handle,
            stream: false,
            why,
        };
    }
    match request(action, fields) {
        Ok(request) => Incoming::Request(handle, request),
        Err(why) => Incoming::Refused {
            handle,
            stream,
            why,
        },
    }
}

/// A request's number. Numbers that are equal are the same number, whatever
/// their encoding.
#[inline]
fn handle(seq: &[u8]) -> Result<Handle, String> {
    let canonical = match *seq {
        [0..=0x7f] | [0xcc, 0x80..=0xff] | [0xcd, 1..=0xff, _] => true,
        [0xce, a, b, _, _] => a | b != 0,
        _ => false,
    };
    if canonical {
        return Ok(Handle::new(seq));
    }
    let mut shortest = Vec::new();
    match path::normalise(seq, &mut shortest) {
        Ok(()) if shortest.len() <= 256 => Ok(Handle::new(&shortest)),
        Ok(()) => Err("a seq of more than 256 bytes".to_owned()),
        Err(why) => Err(why.to_string()),
    }
}

fn shortened(action: &[u8]) -> String {
    String::from_utf8_lossy(action).chars().take(64).collect()
}

#[inline]
fn request<'a>(action: &[u8], fields: &Fields<'a>) -> Result<Request<'a>, Refused> {
    use Space::{Internal, User};
    match action {
        b"get_value" => get(fields, User),
        b"set_value" => set(fields, User),
        b"get_internal" => get(fields, Internal),
        b"set_internal" => set(fields, Internal),
        b"delete_value" => delete(fields, User),
        b"delete_internal" => delete(fields, Internal),
        _ => other(action, fields),
    }
}

fn other<'a>(action: &[u8], fields: &Fields<'a>) -> Result<Request<'a>, Refused> {
    use Space::{Internal, User};
    Ok(match action {
        b"enum" | b"enumerate" => enumerate(fields, User)?,
        b"enum_internal" => enumerate(fields, Internal)?,
        b"get_tree" => tree(fields, User)?,
        b"get_tree_internal" => tree(fields, Internal)?,
        b"watch" => Request::Watch {
            path: fields.path()?,
            links: fields.links(Links::None)?,
            depths: fields.depths()?,
            fetch: fields.flag("fetch"),
            empty: fields.flag("empty"),
            resume: fields.get("resume").map_or(Ok(None), resume)?,
            numbered: fields.flag("numbered"),
            window: fields.window()?,
        },
        b"delete_tree" => Request::DeleteTree {
            path: fields.path()?,
            links: fields.links(Links::None)?,
        },
        b"root" => Request::Root(fields.path()?),
        b"stop" => {
            let mut task = Vec::new();
            path::normalise(fields.need("task")?, &mut task)
                .map_err(|why| Refused::Element(why.to_string()))?;
            Request::Stop(Handle::new(&task))
        }
        b"get_tock" => Request::GetTock,
        b"get_state" => Request::GetState(StateWanted {
            nodes: fields.flag("nodes"),
            known: fields.flag("known") || fields.flag("superseded"),
            present: fields.flag("present"),
            deleted: fields.flag("deleted"),
            missing: fields.flag("missing"),
            remote_missing: fields.flag("remote_missing"),
            node_drop: fields.flag("node_drop"),
            debug: fields.flag("debug"),
        }),
        b"get_members" => Request::Members,
        b"enum_node" => Request::EnumNode {
            node: text(fields.need("node")?)?,
            max: match fields.get("max") {
                None | Some([0xc0]) => 0,
                Some(raw) => u64::try_from(int(raw)?).unwrap_or(0),
            },
            current: fields.flag("current"),
        },
        b"kill_node" => Request::KillNode(text(fields.need("node")?)?),
        b"check_deleted" => Request::CheckDeleted(tick_sets(fields.need("nodes")?)?),
        b"fake_info" => Request::FakeInfo {
            info: Box::new(info(fields)?),
            send: false,
        },
        b"fake_info_send" => Request::FakeInfo {
            info: Box::new(info(fields)?),
            send: true,
        },
        b"update" => Request::Update(Box::new(event(fields)?)),
        b"log" => Request::File(match fields.get("path") {
            None | Some([0xc0]) => FileJob::Stop,
            Some(path) => FileJob::Log {
                path: text(path)?.to_owned(),
                full: fields.flag("fetch"),
            },
        }),
        b"save" => Request::File(FileJob::Save {
            path: text(fields.need("path")?)?.to_owned(),
            internal: fields.flag("full"),
        }),
        b"get_log" => Request::File(FileJob::Tell),
        b"msg_send" => Request::MsgSend {
            topic: fields.topic()?,
            payload: payload(fields)?,
        },
        b"msg_monitor" => Request::MsgMonitor {
            topic: fields.topic()?,
            raw: fields.flag("raw"),
            window: fields.window()?,
        },
        _ => return Err(Refused::UnknownAction(shortened(action))),
    })
}

#[inline]
fn get<'a>(fields: &Fields<'a>, space: Space) -> Result<Request<'a>, Refused> {
    let target = match fields.path {
        Some(raw) => Target::Path(path_of(raw)?),
        None => match fields.get("node") {
            Some(node) => Target::Event(text(node)?, tick(fields.need("tick")?)?),
            None => return Err(Refused::Missing("path")),
        },
    };
    Ok(Request::Get {
        space,
        target,
        links: fields.links(Links::None)?,
    })
}

#[inline]
fn set<'a>(fields: &Fields<'a>, space: Space) -> Result<Request<'a>, Refused> {
    if fields.value.is_none() {
        return Err(Refused::NoValue);
    }
    // "not given" as a value deletes
    let value = fields.value.filter(|value| *value != [0xd4, 0x04, b'_']);
    write(fields, space, value, fields.idem.is_some_and(truth))
}

fn delete<'a>(fields: &Fields<'a>, space: Space) -> Result<Request<'a>, Refused> {
    match fields.value {
        None | Some([0xd4, 0x04, b'_']) => write(fields, space, None, false),
        Some(_) => Err(Refused::ValueGiven),
    }
}

#[inline]
fn write<'a>(
    fields: &Fields<'a>,
    space: Space,
    value: Option<&'a [u8]>,
    idem: bool,
) -> Result<Request<'a>, Refused> {
    Ok(Request::Write(Write {
        space,
        path: fields.path()?,
        value,
        links: fields.links(Links::Newest(1))?,
        expect: fields.expect()?,
        prev: fields.prev,
        idem,
    }))
}

fn enumerate<'a>(fields: &Fields<'a>, space: Space) -> Result<Request<'a>, Refused> {
    let (with_data, empty) = (fields.flag("with_data"), fields.flag("empty"));
    Ok(Request::Enum {
        space,
        path: fields.path()?,
        with_data,
        empty,
    })
}

fn tree<'a>(fields: &Fields<'a>, space: Space) -> Result<Request<'a>, Refused> {
    Ok(Request::GetTree {
        space,
        path: fields.path()?,
        links: fields.links(Links::None)?,
        depths: fields.depths()?,
        empty: fields.flag("empty"),
        markers: fields.flag("markers"),
        window: fields.window()?,
    })
}

/// A message's payload: an object's encoding, or bytes as they are.
fn payload(fields: &Fields<'_>) -> Result<Vec<u8>, Refused> {
    match (fields.get("data"), fields.get("raw")) {
        (Some(_), Some(_)) => Err(Refused::BothPayloads),
        (Some(data), None) => Ok(data.to_vec()),
        (None, None) => Err(Refused::Missing("data")),
        (None, Some(raw)) => {
            let mut reader = Reader::new(raw);
            match reader.head() {
                Ok(Head::Bin(_) | Head::Str(_)) => Ok(reader.rest().to_vec()),
                _ => Err(Refused::WrongType(format!(
                    "'{}' object is not bytes",
                    type_name(raw)
                ))),
            }
        }
    }
}

/// What nodes tell each other of their ticks. `superseded` goes before its
/// other name `known`.
fn info(fields: &Fields<'_>) -> Result<NodeInfo, Refused> {
    let sets = |name| fields.get(name).map(tick_sets).transpose();
    Ok(NodeInfo {
        ticks: fields.get("ticks").map(node_ticks).transpose()?,
        known: match sets("superseded")? {
            Some(sets) => Some(sets),
            None => sets("known")?,
        },
        deleted: sets("deleted")?,
        missing: sets("missing")?,
        node_drop: fields.get("node_drop").map(names).transpose()?,
        ..NodeInfo::default()
    })
}

/// A change in either form that nodes send: a fresh one is itself the top
/// link of its chain, a repeated one has it under `chain`.
fn event(fields: &Fields<'_>) -> Result<Event, Refused> {
    let path = fields.path()?;
    if path::has_inner_null(path) {
        return Err(Refused::NullElement);
    }
    let tock = match Reader::new(fields.need("tock")?).head() {
        Ok(Head::Uint(n)) if n <= MAX_COUNTER => Tock(n),
        _ => return Err(Refused::BadValue("a tock is between 0 and 2^62".to_owned())),
    };
    let value = fields.value.or_else(|| fields.get("new_value"));
    let value = value
        .filter(|value| *value != [0xd4, 0x04, b'_'])
        .map(Into::into);
    let (chain, end) = match fields.chain {
        Some(raw) => match Fields::find(raw).map_err(Refused::Value)? {
            Some(link) => links(link)?,
            None => {
                let what = format!("'{}' object is not a chain", type_name(raw));
                return Err(Refused::WrongType(what));
            }
        },
        None => links(*fields)?,
    };
    Ok(Event {
        path: path.to_owned(),
        chain,
        end,
        tock,
        value,
    })
}

/// A chain, from its newest link on.
fn links(mut link: Fields<'_>) -> Result<(Vec<NamedLink>, ChainEnd), Refused> {
    let mut chain = Vec::new();
    loop {
        let node = NodeName::new(text(link.need("node")?)?);
        chain.push(NamedLink {
            node,
            tick: tick(link.need("tick")?)?,
        });
        match link.prev {
            None => return Ok((chain, ChainEnd::Cut)),
            Some([0xc0]) => return Ok((chain, ChainEnd::Start)),
            Some(raw) => match Fields::find(raw).map_err(Refused::Value)? {
                Some(older) => link = older,
                None => {
                    let what = format!("'{}' object is not a chain", type_name(raw));
                    return Err(Refused::WrongType(what));
                }
            },
        }
    }
}
