//! A server's bookkeeping: which changes of whom it knows.

use crate::client::error::Error;
use crate::client::proto::{Fields, Message};
use crate::event::{NodeInfo, NodeName, StateWanted, Tick, TickSet, Tock};
use crate::msgpack::{Head, Reader};

/// A server's bookkeeping, as far as it was asked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeState {
    /// The server that answers
    pub node: NodeName,
    /// What it knows
    pub info: NodeInfo,
    /// Its logical time
    pub tock: Tock,
}

pub(super) fn fields(wanted: StateWanted) -> Fields {
    let mut fields = Fields::new();
    for (name, wanted) in [
        ("nodes", wanted.nodes),
        ("known", wanted.known),
        ("present", wanted.present),
        ("deleted", wanted.deleted),
        ("missing", wanted.missing),
        ("remote_missing", wanted.remote_missing),
        ("node_drop", wanted.node_drop),
        ("debug", wanted.debug),
    ] {
        if wanted {
            fields.bool(name, true);
        }
    }
    fields
}

impl NodeState {
    pub(super) fn of(message: &Message) -> Result<Self, Error> {
        let node = message.text("node").ok_or_else(malformed)?;
        let sets = |name| message.field(name).map(sets).transpose();
        Ok(Self {
            node: NodeName::new(node),
            info: NodeInfo {
                ticks: message.field("nodes").map(ticks).transpose()?,
                known: sets("known")?,
                present: sets("present")?,
                deleted: sets("deleted")?,
                missing: sets("missing")?,
                remote_missing: sets("remote_missing")?,
                node_drop: message.field("node_drop").map(names).transpose()?,
                debug: message.field("debug").is_some(),
            },
            tock: Tock(message.uint("tock").unwrap_or(0)),
        })
    }
}

fn malformed() -> Error {
    Error::Protocol("a malformed state".to_owned())
}

fn name(reader: &mut Reader<'_>) -> Result<NodeName, Error> {
    Ok(NodeName::new(reader.text()?.ok_or_else(malformed)?))
}

fn names(list: &[u8]) -> Result<Vec<NodeName>, Error> {
    let mut reader = Reader::new(list);
    let Head::Array(_) = reader.head()? else {
        return Err(malformed());
    };
    let mut names = Vec::new();
    while !reader.is_empty() {
        names.push(name(&mut reader)?);
    }
    Ok(names)
}

fn ticks(map: &[u8]) -> Result<Vec<(NodeName, Option<Tick>)>, Error> {
    let mut reader = Reader::new(map);
    let Head::Map(_) = reader.head()? else {
        return Err(malformed());
    };
    let mut ticks = Vec::new();
    while !reader.is_empty() {
        let node = name(&mut reader)?;
        ticks.push(match reader.head()? {
            Head::Nil => (node, None),
            Head::Uint(tick) => (node, Some(Tick(tick))),
            _ => return Err(malformed()),
        });
    }
    Ok(ticks)
}

fn sets(map: &[u8]) -> Result<Vec<(NodeName, TickSet)>, Error> {
    let mut reader = Reader::new(map);
    let Head::Map(_) = reader.head()? else {
        return Err(malformed());
    };
    let mut sets = Vec::new();
    while !reader.is_empty() {
        let node = name(&mut reader)?;
        let mut ranges = Reader::new(reader.object()?);
        let Head::Array(_) = ranges.head()? else {
            return Err(malformed());
        };
        let mut set = TickSet::new();
        while !ranges.is_empty() {
            // one tick, or a pair whose end does not count
            match ranges.head()? {
                Head::Uint(tick) => set.insert(tick),
                Head::Array(2) => {
                    let (from, end) = (uint(&mut ranges)?, uint(&mut ranges)?);
                    if let Some(last) = end.checked_sub(1) {
                        set.insert_range(from..=last);
                    }
                }
                _ => return Err(malformed()),
            }
        }
        sets.push((node, set));
    }
    Ok(sets)
}

fn uint(reader: &mut Reader<'_>) -> Result<u64, Error> {
    match reader.head()? {
        Head::Uint(n) => Ok(n),
        _ => Err(malformed()),
    }
}
