//! What a machine that stands for a node of the original does to its entries
//! ([`node::habits`](crate::node::habits)): it cuts off more than was deleted.

use crate::event::{Link, Sink};
use crate::node::Machine;
use crate::node::habits::{Habit, Habits};
use crate::node::machine::Origin;
use crate::node::tree::Ix;

impl<K: Sink> Machine<K> {
    /// Has this machine stand for a node of the original, with these of its
    /// habits. To be said before it has or hears anything.
    #[cfg(feature = "sim")]
    pub const fn set_habits(&mut self, habits: Habits) {
        self.replica.set_habits(habits);
    }

    fn habits(&self) -> Habits {
        self.replica.habits()
    }

    /// Cuts off the entries of ticks that somebody called deleted.
    pub(super) fn cut_as_original(&mut self) {
        if !self.habits().has(Habit::DeletedKills) {
            return;
        }
        while let Some(ix) = self.replica.next_cut() {
            self.cut(ix);
        }
    }

    /// Forgets a deletion that has been agreed upon.
    pub(super) fn purge_deletion(&mut self, ix: Ix, link: Link) {
        if !self.habits().has(Habit::PurgeKills) {
            return self.purge(ix, link);
        }
        if let Some(ix) = self.replica.holder(link) {
            self.cut(ix);
        }
    }

    /// An event of this node has come from outside, and changed something.
    pub(super) fn tell_own_again(&mut self, ix: Ix) {
        if let Some(cluster) = &mut self.cluster
            && cluster.habits().has(Habit::Echo)
        {
            cluster.tell_own_again(&self.replica, ix);
        }
    }

    /// Removes an entry with all below it, and those above it that are left
    /// without children, whatever they hold. Nobody is told but who watches.
    fn cut(&mut self, ix: Ix) {
        let tree = self.replica.tree();
        let mut top = ix;
        while let Some(parent) = tree.get(top).parent() {
            let alone =
                tree.get(parent).first_child() == Some(top) && tree.last_child(parent) == Some(top);
            if !alone || tree.get(parent).parent().is_none() {
                break;
            }
            top = parent;
        }
        let mut gone = Vec::new();
        // of the root, only the value goes
        let whole = tree.get(ix).parent().is_some();
        let mut at = Some(top);
        while let Some(ix) = at {
            gone.push(ix);
            at = tree.following(top, ix, true).filter(|_| whole);
        }
        for ix in &gone {
            if self.replica.empty(*ix) {
                self.changed(*ix, Origin::Elsewhere);
            }
        }
        for ix in gone.into_iter().rev() {
            if let Some(head) = self.replica.tree().get(ix).head() {
                self.purge(ix, head);
            }
        }
    }
}
