//! Chains: which changes an entry has seen.

use crate::client::error::Error;
use crate::event::{ChainEnd, NamedLink, NodeName, Tick};
use crate::msgpack::{Head, Reader, write};
use crate::value::Value;

/// The changes that led to an entry's present state, newest first: at least
/// one, and each server at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    head: NamedLink,
    older: Vec<NamedLink>,
    end: ChainEnd,
}

impl Chain {
    /// The newest change.
    #[must_use]
    pub fn head(&self) -> &NamedLink {
        &self.head
    }

    /// All changes that the server has shown, newest first.
    pub fn links(&self) -> impl Iterator<Item = &NamedLink> {
        std::iter::once(&self.head).chain(&self.older)
    }

    /// Whether the server has shown the whole chain, or cut it off where the
    /// request's `nchain` said.
    #[must_use]
    pub fn end(&self) -> ChainEnd {
        self.end
    }

    /// Whether an entry with this chain has seen that change, or a later one
    /// of the same server; `None` if the part that is shown cannot tell.
    ///
    /// # Examples
    /// ```
    /// # fn example(entry: &moat::client::Entry, mine: &moat::client::Chain) {
    /// // has my write arrived in what I see here?
    /// let arrived = entry.chain.as_ref().and_then(|seen| seen.includes(mine.head()));
    /// # }
    /// ```
    #[must_use]
    pub fn includes(&self, link: &NamedLink) -> Option<bool> {
        match self.links().find(|l| l.node == link.node) {
            Some(mine) => Some(mine.tick >= link.tick),
            None if self.end == ChainEnd::Start => Some(false),
            None => None,
        }
    }

    /// The chain as the protocol writes it: each link a map, with the older
    /// ones at `prev`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut prev = match self.end {
            ChainEnd::Start => Some(Value::Nil),
            ChainEnd::Cut => None,
        };
        for link in self.links().collect::<Vec<_>>().into_iter().rev() {
            let mut fields = vec![
                ("node".into(), link.node.as_str().into()),
                ("tick".into(), link.tick.0.into()),
            ];
            fields.extend(prev.take().map(|prev| ("prev".into(), prev)));
            prev = Some(Value::Map(fields));
        }
        // there is at least one link
        prev.unwrap_or(Value::Nil)
    }

    /// Reads a chain; `None` is that of an entry that has never been set.
    pub(super) fn decode(object: &[u8]) -> Result<Option<Self>, Error> {
        let mut links = Vec::new();
        let mut next = object;
        let end = loop {
            let mut reader = Reader::new(next);
            let pairs = match reader.head()? {
                Head::Nil => break ChainEnd::Start,
                Head::Map(pairs) => pairs,
                _ => return Err(malformed()),
            };
            let (mut node, mut tick, mut prev) = (None, None, None);
            for _ in 0..pairs {
                let key = reader.text()?.ok_or_else(malformed)?;
                let content = reader.object()?;
                match key {
                    "node" => node = Reader::new(content).text()?,
                    "tick" => tick = Some(Reader::new(content).head()?),
                    "prev" => prev = Some(content),
                    _ => {}
                }
            }
            let (Some(node), Some(Head::Uint(tick))) = (node, tick) else {
                return Err(malformed());
            };
            links.push(NamedLink {
                node: NodeName::new(node),
                tick: Tick(tick),
            });
            match prev {
                Some(older) => next = older,
                None => break ChainEnd::Cut,
            }
        };
        let mut links = links.into_iter();
        Ok(links.next().map(|head| Self {
            head,
            older: links.collect(),
            end,
        }))
    }
}

fn malformed() -> Error {
    Error::Protocol("a malformed chain".to_owned())
}

/// Writes a chain of one link: what a write compares the entry's with.
pub(super) fn write_link(out: &mut Vec<u8>, link: &NamedLink) {
    write::map(out, 2);
    write::str(out, "node");
    write::str(out, link.node.as_str());
    write::str(out, "tick");
    write::uint(out, link.tick.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(node: &str, tick: u64) -> NamedLink {
        NamedLink {
            node: NodeName::new(node),
            tick: Tick(tick),
        }
    }

    #[test]
    fn whole_and_cut_chains_are_told_apart() {
        let cut = b"\x83\xa4node\xa1A\xa4tick\x09\xa4prev\x82\xa4node\xa1B\xa4tick\x04";
        let chain = Chain::decode(cut).unwrap().unwrap();
        assert_eq!(chain.head(), &link("A", 9));
        assert_eq!(chain.links().count(), 2);
        assert_eq!(chain.to_value().to_bytes(), cut);
        assert_eq!(chain.end(), ChainEnd::Cut);

        let whole = b"\x83\xa4node\xa1A\xa4tick\x09\xa4prev\xc0";
        let chain = Chain::decode(whole).unwrap().unwrap();
        assert_eq!(chain.end(), ChainEnd::Start);
        assert_eq!(chain.to_value().to_bytes(), whole);

        assert_eq!(Chain::decode(b"\xc0").unwrap(), None);
        assert!(Chain::decode(b"\x80").is_err());
        assert!(Chain::decode(b"\x83\xa4node\xa1A\xa4tick\x09\xa4prev\x01").is_err());
    }

    #[test]
    fn a_chain_knows_what_it_includes() {
        let cut = b"\x82\xa4node\xa1A\xa4tick\x09";
        let chain = Chain::decode(cut).unwrap().unwrap();
        assert_eq!(chain.includes(&link("A", 9)), Some(true));
        assert_eq!(chain.includes(&link("A", 10)), Some(false));
        assert_eq!(chain.includes(&link("B", 1)), None);
        let whole = b"\x83\xa4node\xa1A\xa4tick\x09\xa4prev\xc0";
        let chain = Chain::decode(whole).unwrap().unwrap();
        assert_eq!(chain.includes(&link("B", 1)), Some(false));
    }
}
