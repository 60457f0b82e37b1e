//! The network as a server sees it.

use crate::client::error::Error;
use crate::client::proto::Message;
use crate::event::{Deleters, MOST_MEMBERS, MemberInfo, MemberKind, Members, NodeName, Tick, Tock};
use crate::msgpack::{Head, Reader};

/// Reads the answer to `get_members`.
pub(super) fn decode(message: &Message) -> Result<Members, Error> {
    let node = message.text("node").ok_or_else(malformed)?;
    let flag = |name| message.bool(name).unwrap_or(false);
    let deleters = message.field("deleters").map(deleters).transpose()?;
    Ok(Members {
        node: NodeName::new(node),
        nodes: list(message.field("nodes"), member)?,
        more: message.uint("more").unwrap_or(0),
        up: flag("up"),
        outbox: message.uint("outbox").unwrap_or(0),
        history: list(message.field("history"), name)?,
        split: flag("split"),
        deleters: deleters.unwrap_or_default(),
    })
}

fn malformed() -> Error {
    Error::Protocol("a malformed list of nodes".to_owned())
}

/// The items of a list; none if it is not there.
fn list<T>(list: Option<&[u8]>, item: impl Fn(&[u8]) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    let Some(list) = list else {
        return Ok(Vec::new());
    };
    let mut reader = Reader::new(list);
    let Head::Array(_) = reader.head()? else {
        return Err(malformed());
    };
    let mut items = Vec::new();
    while !reader.is_empty() && items.len() < MOST_MEMBERS {
        items.push(item(reader.object()?)?);
    }
    Ok(items)
}

fn name(item: &[u8]) -> Result<NodeName, Error> {
    let text = Reader::new(item).text()?.ok_or_else(malformed)?;
    Ok(NodeName::new(text))
}

fn member(item: &[u8]) -> Result<MemberInfo, Error> {
    let member = Message::decode(item).map_err(|_| malformed())?;
    let kind = member.text("kind").unwrap_or_default();
    let flag = |name| member.bool(name).unwrap_or(false);
    let count = |name| member.uint(name).unwrap_or(0);
    Ok(MemberInfo {
        name: NodeName::new(member.text("name").ok_or_else(malformed)?),
        kind: MemberKind::ALL
            .into_iter()
            .find(|known| known.word() == kind)
            .unwrap_or_default(),
        own: flag("self"),
        ready: member.bool("ready"),
        tick: member.uint("tick").map(Tick),
        missing: count("missing"),
        reported: count("reported"),
        heard: member.seconds("heard"),
        here: flag("here"),
        gone: flag("gone"),
        addr: list(member.field("addr"), address)?,
        same: member.bool("same"),
    })
}

fn address(item: &[u8]) -> Result<(String, u16), Error> {
    let mut reader = Reader::new(item);
    let Head::Array(2) = reader.head()? else {
        return Err(malformed());
    };
    let host = reader.text()?.ok_or_else(malformed)?;
    let port = match reader.head()? {
        Head::Uint(port) => u16::try_from(port).map_err(|_| malformed())?,
        _ => return Err(malformed()),
    };
    Ok((host.to_owned(), port))
}

fn deleters(map: &[u8]) -> Result<Deleters, Error> {
    let deleters = Message::decode(map).map_err(|_| malformed())?;
    let mut group = Vec::new();
    if let Some(nodes) = deleters.field("nodes") {
        let mut reader = Reader::new(nodes);
        let Head::Map(_) = reader.head()? else {
            return Err(malformed());
        };
        while !reader.is_empty() && group.len() < MOST_MEMBERS {
            let name = name(reader.object()?)?;
            group.push((name, reader.head()? == Head::Bool(true)));
        }
    }
    Ok(Deleters {
        group,
        marks: deleters.uint("marks"),
        oldest: deleters.uint("oldest").map(Tock),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::{Handle, Message as Sent, Sink, To};
    use crate::wire::client::{Outbox, Windows};

    fn members() -> Members {
        let one = MemberInfo {
            name: NodeName::new("one"),
            kind: MemberKind::Ours,
            own: true,
            ready: Some(true),
            tick: Some(Tick(17)),
            here: true,
            addr: vec![("one.example".to_owned(), 27586), ("::1".to_owned(), 1)],
            ..MemberInfo::default()
        };
        let two = MemberInfo {
            name: NodeName::new("two"),
            kind: MemberKind::Original,
            missing: 3,
            reported: 1 << 40,
            heard: Some(Duration::from_millis(1500)),
            gone: true,
            same: Some(false),
            ..MemberInfo::default()
        };
        Members {
            node: NodeName::new("one"),
            nodes: vec![one, two],
            more: 7,
            up: true,
            outbox: 4,
            history: vec![NodeName::new("two"), NodeName::new("one")],
            split: true,
            deleters: Deleters {
                group: vec![(NodeName::new("one"), true), (NodeName::new("two"), false)],
                marks: Some(5),
                oldest: Some(Tock(99)),
            },
        }
    }

    #[test]
    fn what_the_server_sends_is_what_arrives() {
        for members in [members(), Members::default()] {
            let mut outbox = Outbox::new(Windows { most: 10 });
            let handle = Handle::new(&[1]);
            outbox.send(To::Request(&handle), &Sent::Members(&members), Tock(1));
            let message = Message::decode(outbox.bytes()).unwrap();
            assert_eq!(decode(&message).unwrap(), members);
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        // {node: "a", nodes: [1]} and {node: "a", nodes: {}}
        for bytes in [
            &b"\x82\xa4node\xa1a\xa5nodes\x91\x01"[..],
            b"\x82\xa4node\xa1a\xa5nodes\x80",
            b"\x81\xa5nodes\x90",
        ] {
            let message = Message::decode(bytes).unwrap();
            assert!(decode(&message).is_err(), "{bytes:?}");
        }
    }
}
