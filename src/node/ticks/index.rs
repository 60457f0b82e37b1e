//! Which tick of a node belongs to which entry.

use std::collections::{BTreeMap, VecDeque};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::node::tree::Ix;

/// Ticks to entries, in pages: ticks come in order and leave at random.
///
/// The newest pages, in which nearly everything happens, stand side by side;
/// of the older ones, only those that are not empty are kept.
#[derive(Debug)]
pub(super) struct Index {
    /// Number of the first page of `recent`
    base: u64,
    recent: VecDeque<Page>,
    older: HashMap<u64, Page, FixedState>,
    /// How many of `older` each block of neighbouring pages has: the way
    /// through them in order
    blocks: BTreeMap<u64, u64>,
}

/// Pages of a block.
const BLOCK: u64 = 64;

/// Pages that stand side by side.
const RECENT: usize = 4096;

/// Sixty-four neighbouring ticks.
#[derive(Debug)]
enum Page {
    Few {
        len: u8,
        at: [u8; FEW],
        ix: [Ix; FEW],
    },
    Many {
        len: u8,
        ix: Box<[Ix; PAGE as usize]>,
    },
}

const PAGE: u64 = 64;
const FEW: usize = 3;
const NOBODY: Ix = Ix::from_number(u32::MAX);

impl Index {
    pub(super) const fn new(key: FixedState) -> Self {
        Self {
            base: 0,
            recent: VecDeque::new(),
            older: HashMap::with_hasher(key),
            blocks: BTreeMap::new(),
        }
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation)] // the remainder is below 64
    const fn split(tick: u64) -> (u64, u8) {
        (tick / PAGE, (tick % PAGE) as u8)
    }

    /// Where a page is among the recent ones, or would be.
    #[inline]
    fn place(&self, page: u64) -> Option<usize> {
        page.checked_sub(self.base)
            .and_then(|n| usize::try_from(n).ok())
    }

    #[inline]
    pub(super) fn get(&self, tick: u64) -> Option<Ix> {
        let (page, at) = Self::split(tick);
        match self.place(page).and_then(|n| self.recent.get(n)) {
            Some(page) => page.get(at),
            None => self.older.get(&page)?.get(at),
        }
    }

    #[inline]
    pub(super) fn insert(&mut self, tick: u64, ix: Ix) {
        let (page, at) = Self::split(tick);
        if let Some(page) = self.place(page).and_then(|n| self.recent.get_mut(n)) {
            page.insert(at, ix);
        } else {
            self.insert_elsewhere(page, at, ix);
        }
    }

    #[inline(never)] // once a page, or for old ticks
    fn insert_elsewhere(&mut self, page: u64, at: u8, ix: Ix) {
        if page >= self.base {
            self.reach(page);
            if let Some(page) = self.recent.back_mut() {
                page.insert(at, ix);
            }
        } else {
            let blocks = &mut self.blocks;
            let place = self.older.entry(page).or_insert_with(|| {
                *blocks.entry(page / BLOCK).or_default() += 1;
                Page::EMPTY
            });
            place.insert(at, ix);
        }
    }

    /// Makes a new page the last of the recent ones.
    fn reach(&mut self, page: u64) {
        let next = self.base + self.recent.len() as u64;
        if page - next >= RECENT as u64 {
            // a jump: nothing that is recent stays so
            while !self.recent.is_empty() {
                self.retire();
            }
            self.base = page;
        }
        while self.base + self.recent.len() as u64 <= page {
            if self.recent.len() == RECENT {
                self.retire();
            }
            self.recent.push_back(Page::EMPTY);
        }
    }

    /// The first of the recent pages is recent no more.
    fn retire(&mut self) {
        if let Some(page) = self.recent.pop_front() {
            if !page.is_empty() {
                self.older.insert(self.base, page);
                *self.blocks.entry(self.base / BLOCK).or_default() += 1;
            }
            self.base += 1;
        }
    }

    /// Removes a tick, if it is this entry's.
    #[inline]
    pub(super) fn remove(&mut self, tick: u64, ix: Ix) {
        let (page, at) = Self::split(tick);
        if let Some(page) = self.place(page).and_then(|n| self.recent.get_mut(n)) {
            page.remove(at, ix);
        } else {
            self.remove_older(page, at, ix);
        }
    }

    #[inline(never)]
    fn remove_older(&mut self, page: u64, at: u8, ix: Ix) {
        if let Some(p) = self.older.get_mut(&page)
            && p.remove(at, ix) == 0
        {
            self.older.remove(&page);
            if let Some(pages) = self.blocks.get_mut(&(page / BLOCK)) {
                *pages -= 1;
                if *pages == 0 {
                    self.blocks.remove(&(page / BLOCK));
                }
            }
        }
    }

    /// Shows all, ascending.
    pub(super) fn each(&self, mut f: impl FnMut(u64, Ix)) {
        self.each_from(0, |tick, ix| {
            f(tick, ix);
            true
        });
    }

    /// Shows those from `from` on, ascending, as long as `f` wants more.
    pub(super) fn each_from(&self, from: u64, mut f: impl FnMut(u64, Ix) -> bool) {
        let first = from / PAGE;
        let older = self
            .blocks
            .range(first / BLOCK..)
            .flat_map(|(block, _)| (0..BLOCK).map(move |n| block * BLOCK + n))
            .filter(|page| *page >= first)
            .filter_map(|page| Some((page, self.older.get(&page)?)));
        let start = first.max(self.base);
        let skipped = usize::try_from(start - self.base).unwrap_or(usize::MAX);
        let recent = self.recent.range(skipped.min(self.recent.len())..);
        let mut more = true;
        for (page, p) in older.chain((start..).zip(recent)) {
            p.list(|at, ix| {
                let tick = page * PAGE + u64::from(at);
                more = more && (tick < from || f(tick, ix));
            });
            if !more {
                return;
            }
        }
    }
}

impl Page {
    const EMPTY: Self = Self::Few {
        len: 0,
        at: [0; FEW],
        ix: [NOBODY; FEW],
    };

    const fn is_empty(&self) -> bool {
        matches!(self, Self::Few { len: 0, .. })
    }

    #[inline]
    fn get(&self, at: u8) -> Option<Ix> {
        match self {
            Self::Few { len, at: ats, ix } => ats
                .iter()
                .zip(ix)
                .take(usize::from(*len))
                .find(|(a, _)| **a == at)
                .map(|(_, ix)| *ix),
            Self::Many { ix, .. } => ix.get(usize::from(at)).copied().filter(|ix| *ix != NOBODY),
        }
    }

    #[inline]
    fn insert(&mut self, at: u8, new: Ix) {
        match self {
            Self::Few { len, at: ats, ix } => {
                let n = usize::from(*len);
                if let Some((_, ix)) = ats
                    .iter()
                    .zip(ix.iter_mut())
                    .take(n)
                    .find(|(a, _)| **a == at)
                {
                    *ix = new;
                } else if let (Some(a), Some(i)) = (ats.get_mut(n), ix.get_mut(n)) {
                    (*a, *i) = (at, new);
                    *len += 1;
                } else {
                    self.grow();
                    self.insert(at, new);
                }
            }
            Self::Many { len, ix } => {
                if let Some(slot) = ix.get_mut(usize::from(at)) {
                    *len += u8::from(*slot == NOBODY);
                    *slot = new;
                }
            }
        }
    }

    /// Returns how many are left.
    #[inline]
    fn remove(&mut self, at: u8, of: Ix) -> u8 {
        match self {
            Self::Few { len, at: ats, ix } => {
                let n = usize::from(*len);
                let mut all = ats.iter().zip(ix.iter()).take(n);
                if let Some(found) = all.position(|(a, ix)| (*a, *ix) == (at, of)) {
                    ats.swap(found, n - 1);
                    ix.swap(found, n - 1);
                    *len -= 1;
                }
                *len
            }
            Self::Many { len, ix } => {
                if let Some(slot) = ix.get_mut(usize::from(at))
                    && *slot == of
                {
                    *slot = NOBODY;
                    *len -= 1;
                }
                let left = *len;
                // one below the number at which it grew, so that a page does
                // not change its form with every write
                if usize::from(left) < FEW {
                    self.shrink();
                }
                left
            }
        }
    }

    #[inline(never)]
    fn grow(&mut self) {
        let (mut len, mut many) = (0, Box::new([NOBODY; PAGE as usize]));
        self.list(|at, ix| {
            if let Some(slot) = many.get_mut(usize::from(at)) {
                (*slot, len) = (ix, len + 1);
            }
        });
        *self = Self::Many { len, ix: many };
    }

    #[inline(never)]
    fn shrink(&mut self) {
        let mut few = Self::EMPTY;
        self.list(|at, ix| few.insert(at, ix));
        *self = few;
    }

    /// Shows all, ascending.
    fn list(&self, mut f: impl FnMut(u8, Ix)) {
        match self {
            Self::Few { len, at, ix } => {
                let mut few = [(u8::MAX, NOBODY); FEW];
                let n = usize::from(*len);
                for (slot, (at, ix)) in few.iter_mut().zip(at.iter().zip(ix)).take(n) {
                    *slot = (*at, *ix);
                }
                few.sort_unstable_by_key(|(at, _)| *at);
                few.into_iter().take(n).for_each(|(at, ix)| f(at, ix));
            }
            Self::Many { ix, .. } => {
                for (at, ix) in (0u8..).zip(ix.iter()).filter(|(_, ix)| **ix != NOBODY) {
                    f(at, *ix);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Near and far ones, so that pages retire one by one and all at once.
    fn tick() -> impl Strategy<Value = u64> {
        let far = RECENT as u64 * PAGE;
        prop_oneof![
            0u64..300,
            far - 100..far + 100,
            3 * far..3 * far + 300,
            Just(1 << 62)
        ]
    }

    proptest! {
        #[test]
        fn pages_are_a_map(
            ops in prop::collection::vec((tick(), any::<bool>(), 0u32..3), 0..400),
            parts in prop::collection::vec((tick(), 1usize..50), 0..10),
        ) {
            let mut index = Index::new(FixedState::with_seed(1));
            let mut model = BTreeMap::new();
            for (tick, add, ix) in ops {
                let ix = Ix::from_number(ix);
                if add {
                    index.insert(tick, ix);
                    model.insert(tick, ix);
                } else {
                    index.remove(tick, ix);
                    if model.get(&tick) == Some(&ix) {
                        model.remove(&tick);
                    }
                }
                prop_assert_eq!(index.get(tick), model.get(&tick).copied());
            }
            let all: Vec<(u64, Ix)> = model.into_iter().collect();
            let mut list = Vec::new();
            index.each(|tick, ix| list.push((tick, ix)));
            prop_assert_eq!(&list, &all);
            // from everywhere on, as many as are wanted
            for (from, most) in parts {
                let mut list = Vec::new();
                index.each_from(from, |tick, ix| {
                    list.push((tick, ix));
                    list.len() < most
                });
                let some = all.iter().filter(|(tick, _)| *tick >= from).take(most);
                prop_assert_eq!(list, some.copied().collect::<Vec<_>>());
            }
        }
    }
}
