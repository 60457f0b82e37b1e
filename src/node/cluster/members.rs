//! Who else is there: what each node that was heard said of itself.
//!
//! Nobody is declared dead for being silent: most nodes never have a turn.
//! What is here serves to find somebody to fetch from, to notice a second
//! server of one name, and to show an operator who was heard when.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::NodeName;
use crate::node::time::Timestamp;

/// Members that are remembered.
const MOST: usize = 4096;

/// What kind of program a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// It has not said.
    #[default]
    Unknown,
    /// This one
    Ours,
    /// The original
    Original,
}

/// What is known of a node that was heard.
#[derive(Debug, Clone, Default)]
pub struct Member {
    /// When it was heard last
    pub heard: Timestamp,
    /// What it runs
    pub kind: Kind,
    /// Tells its runs apart
    pub boot: Option<u64>,
    /// Where its clients connect
    pub addr: Vec<(String, u16)>,
    /// It has data.
    pub data: bool,
    /// It was seen without data: it has them from this network.
    pub newcomer: bool,
    /// It said that it goes, or its broker did.
    pub gone: bool,
    /// The sum over what it held when it said so
    pub sum: Option<u64>,
    /// Whether this node held the same then
    pub same: bool,
}

/// The nodes that were heard.
#[derive(Debug, Default)]
pub struct Members(BTreeMap<NodeName, Member>);

impl Members {
    /// A node was heard now.
    pub(super) fn heard(&mut self, now: Timestamp, name: &NodeName) -> &mut Member {
        if self.0.len() >= MOST && !self.0.contains_key(name) {
            let oldest = self.0.iter().min_by_key(|(_, m)| m.heard);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.0.remove(&oldest);
            }
        }
        let member = self.0.entry(name.clone()).or_default();
        member.heard = now;
        member.gone = false;
        member
    }

    /// What is known of a node.
    #[must_use]
    pub fn get(&self, name: &NodeName) -> Option<&Member> {
        self.0.get(name)
    }

    /// What a node runs.
    #[must_use]
    pub fn kind(&self, name: &NodeName) -> Kind {
        self.0.get(name).map_or(Kind::Unknown, |m| m.kind)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeName, &Member)> {
        self.0.iter()
    }

    /// Whether a node of the original was heard lately.
    #[must_use]
    pub fn has_original(&self, now: Timestamp, lately: Duration) -> bool {
        self.0
            .values()
            .any(|m| m.kind == Kind::Original && now.since(m.heard) <= lately)
    }

    /// Whether a node was heard lately that has not said that it runs this
    /// program.
    #[must_use]
    pub fn may_have_original(&self, now: Timestamp, lately: Duration) -> bool {
        self.0
            .values()
            .any(|m| m.kind != Kind::Ours && now.since(m.heard) <= lately)
    }

    /// Whether a node was heard lately, and did not say that it goes.
    #[must_use]
    pub fn is_here(&self, name: &NodeName, now: Timestamp, lately: Duration) -> bool {
        self.0
            .get(name)
            .is_some_and(|m| !m.gone && now.since(m.heard) <= lately)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_names_push_out_the_oldest() {
        let mut members = Members::default();
        for n in 0..u64::try_from(MOST).unwrap() + 100 {
            members.heard(Timestamp(n), &NodeName::new(&format!("n{n}")));
            members.heard(Timestamp(n), &NodeName::new("real"));
        }
        assert_eq!(members.iter().count(), MOST);
        assert!(members.get(&NodeName::new("real")).is_some());
        assert!(members.get(&NodeName::new("n0")).is_none());
    }
}
