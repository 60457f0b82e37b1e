//! Conflicts that the original's nodes may decide otherwise, and what it takes
//! for them to decide alike.

use crate::event::Link;
use crate::node::merge::Replica;
use crate::node::time::Timestamp;
use crate::node::tree::Ix;

use super::members::Kind;
use super::{Act, Cluster};

/// A decision that the original's nodes may not have made alike.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tie {
    pub(super) due: Timestamp,
    ix: Ix,
    head: Link,
}

/// Ties that are remembered.
const TIES: usize = 1024;

impl Cluster {
    /// A change has been measured with another, and the original may decide
    /// otherwise on the two.
    pub fn contested(&mut self, replica: &Replica, ix: Ix) {
        // nodes of this program decide alike
        if !self.members.has_original(self.now, self.patience()) {
            return;
        }
        if let Some(head) = replica.tree().get(ix).head() {
            if self.ties.len() >= TIES {
                self.ties.pop_front();
            }
            let due = self.now.after(self.gap());
            self.ties.push_back(Tie { due, ix, head });
        }
    }

    /// Rewrites what won although the original's nodes may have decided
    /// otherwise, so that they follow.
    pub(super) fn settle_ties(&mut self, replica: &Replica) {
        while let Some(tie) = self.ties.front().copied().filter(|t| t.due <= self.now) {
            self.ties.pop_front();
            if replica.tree().get(tie.ix).head() != Some(tie.head) || !self.may_publish() {
                continue;
            }
            let winner = replica.nodes().name(tie.head.node());
            let mine = *winner == self.me;
            let theirs = self.members.kind(winner) == Kind::Original;
            // for a node of the original the first of ours in the history acts
            let first = self.ping.history().iter();
            let first = first
                .filter(|n| **n == self.me || self.members.kind(n) == Kind::Ours)
                .min_by_key(|n| n.as_str());
            if mine || (theirs && first == Some(&self.me)) {
                self.acts.push_back(Act::Rewrite(tie.ix));
            }
        }
    }
}
