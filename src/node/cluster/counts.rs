//! How many events of which nodes, in as many words as fit into a line of a
//! log: a stranger can invent as many nodes as he likes.

use std::fmt;

use crate::event::{NodeName, TickSet};

/// Nodes that a report names; the others are counted.
pub(super) const NAMED: usize = 3;

/// Numbers of events, by node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// The first nodes
    named: Vec<(NodeName, u64)>,
    /// How many others there are
    others: u64,
    /// How many events of these
    rest: u64,
}

impl Counts {
    /// Counts the ticks of some nodes.
    pub(super) fn of<'a>(sets: impl Iterator<Item = (&'a NodeName, &'a TickSet)>) -> Self {
        let mut counts = Self::default();
        for (name, set) in sets {
            if counts.named.len() < NAMED {
                counts.named.push((name.clone(), set.count()));
            } else {
                counts.others += 1;
                counts.rest = counts.rest.saturating_add(set.count());
            }
        }
        counts
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.named.len() - usize::from(self.others == 0 && !self.named.is_empty());
        for (at, (name, n)) in self.named.iter().enumerate() {
            let before = match at {
                0 => "",
                _ if at == last => " and ",
                _ => ", ",
            };
            let what = if at == 0 { " change(s)" } else { "" };
            write!(f, "{before}{n}{what} of '{name}'")?;
        }
        match self.others {
            0 => Ok(()),
            others => write!(f, " and {} of {others} more node(s)", self.rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(nodes: u64) -> String {
        let sets: Vec<(NodeName, TickSet)> = (1..=nodes)
            .map(|n| {
                let name = NodeName::new(&format!("n{n}"));
                (name, std::iter::once(1..=n).collect())
            })
            .collect();
        Counts::of(sets.iter().map(|(name, set)| (name, set))).to_string()
    }

    #[test]
    fn a_few_nodes_are_named_and_the_others_counted() {
        assert_eq!(shown(1), "1 change(s) of 'n1'");
        assert_eq!(shown(2), "1 change(s) of 'n1' and 2 of 'n2'");
        assert_eq!(shown(3), "1 change(s) of 'n1', 2 of 'n2' and 3 of 'n3'");
        assert_eq!(
            shown(5),
            "1 change(s) of 'n1', 2 of 'n2', 3 of 'n3' and 9 of 2 more node(s)"
        );
    }
}
