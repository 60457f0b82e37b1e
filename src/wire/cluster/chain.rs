//! Chains, read without recursion and in one pass, however their links'
//! keys are ordered.

use std::collections::BTreeSet;

use crate::event::{ChainEnd, NamedLink, NodeName, Tick};
use crate::msgpack::{Head, Reader};
use crate::wire::cluster::fields::{counter, sender};
use crate::wire::cluster::{MAX_LINKS, Malformed};

/// What a link says of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Older {
    /// Nothing: it was left out
    #[default]
    Absent,
    /// There is none
    None,
    /// It follows
    Link,
}

/// A link as it is read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slot<'a> {
    pub(super) node: Option<&'a str>,
    pub(super) tick: Option<u64>,
    pub(super) older: Older,
    /// Pairs of its map still to be read
    left: usize,
}

impl<'a> Slot<'a> {
    /// Whether it says anything.
    const fn is_empty(&self) -> bool {
        self.node.is_none() && self.tick.is_none() && matches!(self.older, Older::Absent)
    }

    /// Takes one of a link's own fields; `false` if `key` is none.
    #[inline]
    pub(super) fn field(
        &mut self,
        key: Option<&[u8]>,
        reader: &mut Reader<'a>,
    ) -> Result<bool, Malformed> {
        match key {
            Some(b"node") => self.node = Some(sender(reader)?),
            Some(b"tick") => self.tick = counter(reader, "tick")?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Reads a link and all before it into `slots`, newest first, in place of
/// what was there. Says what was found instead of a link.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    slots: &mut Vec<Slot<'a>>,
) -> Result<Older, Malformed> {
    slots.clear();
    // where in the chain the map is that is being read
    let mut at = match open(reader, slots)? {
        Older::Link => 0,
        other => return Ok(other),
    };
    while let Some(slot) = slots.get_mut(at) {
        let Some(left) = slot.left.checked_sub(1) else {
            // this map is complete: go on in the one around it
            match at.checked_sub(1) {
                Some(outer) => at = outer,
                None => break,
            }
            continue;
        };
        slot.left = left;
        match reader.key()? {
            Some(b"prev") => {
                // of two keys of one name the last counts
                slots.truncate(at + 1);
                let older = open(reader, slots)?;
                if let Some(slot) = slots.get_mut(at) {
                    slot.older = older;
                }
                if older == Older::Link {
                    at += 1;
                }
            }
            other => {
                if !slot.field(other, reader)? {
                    reader.object()?;
                }
            }
        }
    }
    Ok(Older::Link)
}

/// Reads the head of a link's map, for which it adds a slot, or `null`.
fn open<'a>(reader: &mut Reader<'a>, slots: &mut Vec<Slot<'a>>) -> Result<Older, Malformed> {
    match reader.head()? {
        Head::Nil => Ok(Older::None),
        Head::Map(_) if slots.len() >= MAX_LINKS => Err(Malformed::ChainTooLong),
        Head::Map(left) => {
            slots.push(Slot {
                left,
                ..Slot::default()
            });
            Ok(Older::Link)
        }
        _ => Err(Malformed::NotAMap("a link of the chain")),
    }
}

/// The chain that these links are, newest first. A node's first mention
/// counts; links without a tick name no event and are left out.
pub(super) fn links(
    newest: Slot<'_>,
    older: &[Slot<'_>],
) -> Result<(Vec<NamedLink>, ChainEnd), Malformed> {
    // so few are compared one by one
    const FEW: usize = 16;
    let mut seen = BTreeSet::new();
    let mut chain: Vec<NamedLink> = Vec::with_capacity(older.len() + 1);
    let mut end = ChainEnd::Cut;
    for slot in std::iter::once(&newest).chain(older) {
        // the original's form of "no more is known"
        if !chain.is_empty() && slot.is_empty() {
            return Ok((chain, ChainEnd::Cut));
        }
        let node = slot.node.ok_or(Malformed::Missing("node"))?;
        if node.is_empty() {
            return Err(Malformed::Name);
        }
        end = match slot.older {
            Older::None => ChainEnd::Start,
            Older::Absent | Older::Link => ChainEnd::Cut,
        };
        let Some(tick) = slot.tick.filter(|tick| *tick > 0) else {
            if chain.is_empty() {
                return Err(Malformed::NoEvent);
            }
            continue;
        };
        let again = if older.len() < FEW {
            chain.iter().any(|link| link.node.as_str() == node)
        } else {
            !seen.insert(node)
        };
        if !again {
            chain.push(NamedLink {
                node: NodeName::new(node),
                tick: Tick(tick),
            });
        }
    }
    Ok((chain, end))
}
