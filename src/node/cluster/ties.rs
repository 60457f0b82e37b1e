//! Conflicts that the original's nodes may decide otherwise, and what it takes
//! for them to decide alike.

use crate::event::{Link, NodeName};
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
    /// Its node had time to settle it.
    late: bool,
}

/// Ties that are remembered.
const TIES: usize = 1024;

/// Cycles for which a node of the original counts as here although nothing was
/// heard of it. One that has no turn and no clients that write is silent for
/// as long as it runs, and says nothing when it ends.
const SILENT: u32 = 360;

/// Cycles within which every node of this program says that it is here.
const SAYS_HERE: u32 = 7;

impl Cluster {
    /// A change has been measured with another, and the original may decide
    /// otherwise on the two.
    pub fn contested(&mut self, replica: &Replica, ix: Ix) {
        // nodes of this program decide alike
        let lately = self.cycle() * SILENT;
        if self.is_original() || !self.members.may_have_original(self.now, lately) {
            return;
        }
        if let Some(head) = replica.tree().get(ix).head() {
            if self.ties.len() >= TIES {
                self.ties.pop_front();
            }
            let due = self.now.after(self.gap());
            let late = false;
            self.ties.push_back(Tie {
                due,
                ix,
                head,
                late,
            });
        }
    }

    /// Rewrites what won although the original's nodes may have decided
    /// otherwise, so that they follow. Its own node does; if that is none of
    /// this program, or has not heard of the tie, the first one that is here.
    pub(super) fn settle_ties(&mut self, replica: &Replica) {
        let now = self.now;
        while let Some(n) = self.ties.iter().position(|tie| tie.due <= now)
            && let Some(tie) = self.ties.remove(n)
        {
            if replica.tree().get(tie.ix).head() != Some(tie.head) {
                continue;
            }
            let winner = replica.nodes().name(tie.head.node());
            let mine = *winner == self.me;
            let again = if self.may_publish() {
                let theirs = self.members.kind(winner) != Kind::Ours;
                let first = *self.first_of_ours() == self.me;
                if mine || (first && (theirs || tie.late)) {
                    self.acts.push_back(Act::Rewrite(tie.ix));
                }
                first && !mine && !theirs && !tie.late
            } else {
                // nobody would hear of it
                true
            };
            if again {
                let due = self.now.after(self.gap() * 2);
                let late = self.may_publish();
                self.ties.push_back(Tie { due, late, ..tie });
            }
        }
    }

    /// The first by name of the nodes of this program that are here.
    fn first_of_ours(&self) -> &NodeName {
        let lately = self.cycle() * SAYS_HERE;
        let is_here = |name: &NodeName| self.members.is_here(name, self.now, lately);
        let others = self.members.iter();
        let others = others.filter(|(name, member)| member.kind == Kind::Ours && is_here(name));
        let names = others.map(|(name, _)| name);
        names
            .chain([&self.me])
            .min_by_key(|n| n.as_str())
            .unwrap_or(&self.me)
    }
}
