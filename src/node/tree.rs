//! The tree of entries.
//!
//! All entries live in one arena; one hash table over (parent, element)
//! finds children, sibling links keep their order of insertion. That takes
//! a third of the memory of a map per level and three probes for a path of
//! three elements. The table is cut into many small ones, so that growth
//! never stalls a request for longer than one small table takes.
//!
//! Nothing here knows of events: `merge` decides what an entry holds.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use thin_vec::ThinVec;

use crate::event::{ChainEnd, Link, NodeIx, Tick, Tock};
use crate::msgpack::{Fault, Small, Words};
use crate::path::{self, ElemError, PathRef, RawPath};

/// An entry's place in the arena. May be reused once its entry is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ix(u32);

impl Ix {
    /// The root.
    pub const ROOT: Self = Self(0);
    const NONE: Self = Self(u32::MAX);

    const fn index(self) -> usize {
        self.0 as usize
    }

    fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }

    /// The place as a number, for indexes over entries.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The place that [`Ix::number`] told.
    #[must_use]
    pub const fn from_number(n: u32) -> Self {
        Self(n)
    }
}

/// Stands for "no chain" in an entry's head.
const NO_LINK: Link = Link::new(NodeIx(u32::MAX), Tick(0));

/// One entry: a line of the processor's cache, its value, long keys and long
/// chains apart.
#[derive(Debug)]
#[repr(align(64))]
pub struct Entry {
    parent: Ix,
    next: Ix,
    /// The child before; of the first child, the last one
    prev: Ix,
    first: Ix,
    head: Link,
    /// Its chain's place, if it has more than one link or is cut
    chain: u32,
    tock: Tock,
    value: Option<ThinVec<u8>>,
    key: Small,
}

const NO_CHAIN: u32 = u32::MAX;

impl Entry {
    const fn new(parent: Ix, key: Small, tock: Tock) -> Self {
        Self {
            parent,
            next: Ix::NONE,
            prev: Ix::NONE,
            first: Ix::NONE,
            head: NO_LINK,
            chain: NO_CHAIN,
            tock,
            value: None,
            key,
        }
    }

    /// The encoded value.
    #[inline]
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    /// The last change's tock; for an entry that never changed, its parent's
    /// when it was made.
    #[must_use]
    pub const fn tock(&self) -> Tock {
        self.tock
    }

    /// The last change.
    #[must_use]
    pub fn head(&self) -> Option<Link> {
        (self.head != NO_LINK).then_some(self.head)
    }

    /// The encoded element that names this entry below its parent.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.key.bytes()
    }

    /// The entry above; none for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Ix> {
        self.parent.some()
    }

    /// The first child.
    #[must_use]
    pub fn first_child(&self) -> Option<Ix> {
        self.first.some()
    }

    /// The next child of the same parent.
    #[must_use]
    pub fn next_sibling(&self) -> Option<Ix> {
        self.next.some()
    }

    /// Replaces the value; the old one is left in `old` if there was one.
    /// Values of equal length need no new memory.
    #[inline]
    pub fn replace_value(&mut self, value: Option<&[u8]>, old: &mut Vec<u8>) {
        old.clear();
        if old.capacity() > KEPT_ROOM {
            // one large value is no reason to keep its room
            old.shrink_to(KEPT_ROOM);
        }
        if let Some(present) = &mut self.value {
            old.extend_from_slice(present);
            if let Some(value) = value
                && present.len() == value.len()
            {
                present.copy_from_slice(value);
                return;
            }
        }
        self.set_value(value);
    }

    #[inline(never)] // takes and gives back memory
    fn set_value(&mut self, value: Option<&[u8]>) {
        self.value = value.map(|value| {
            let mut kept = ThinVec::with_capacity(value.len());
            kept.extend_from_slice(value);
            kept
        });
    }

    /// Sets the tock of a change.
    pub const fn set_tock(&mut self, tock: Tock) {
        self.tock = tock;
    }
}

/// Bytes that the buffer of a replaced value keeps.
const KEPT_ROOM: usize = 64 << 10;

/// A chain of more than one link, or a cut one.
#[derive(Debug)]
struct LongChain {
    links: Box<[Link]>,
    end: ChainEnd,
}

/// How many tables the index is cut into.
const SHARDS: usize = 128;

/// All entries of a store.
#[derive(Debug)]
pub struct Tree {
    entries: Vec<Entry>,
    free: Ix,
    chains: Vec<Option<LongChain>>,
    free_chains: Vec<u32>,
    len: usize,
    index: Box<[HashTable<u32>; SHARDS]>,
    secret: Secret,
    recent: Recent,
}

/// The parent of the entry that was asked for last: what comes from files and
/// peers has the order of the tree, and neighbours share it.
#[derive(Debug)]
struct Recent {
    ix: Ix,
    /// Its path, as it was spelled
    path: Vec<u8>,
}

impl Tree {
    /// A tree that holds nothing but its root. `key` keeps others from
    /// choosing names that collide; no order depends on it.
    #[must_use]
    pub fn new(key: u64) -> Self {
        let root = Entry::new(Ix::NONE, Small::new(&[]), Tock(0));
        Self {
            entries: vec![root],
            free: Ix::NONE,
            chains: Vec::new(),
            free_chains: Vec::new(),
            len: 1,
            index: Box::new([const { HashTable::new() }; SHARDS]),
            secret: Secret::new(key),
            recent: Recent {
                ix: Ix::ROOT,
                path: Vec::new(),
            },
        }
    }

    /// Makes room for so many more entries at once. Growing bit by bit looks
    /// at each of them anew, one after the other, wherever it is in memory.
    pub fn reserve(&mut self, entries: usize) {
        self.entries.reserve(entries);
        let (entries, secret, each) = (&self.entries, self.secret, entries / SHARDS);
        for table in self.index.iter_mut() {
            // they differ by some percent
            table.reserve(each + each / 8, |n| secret.hash_entry(entries, *n));
        }
    }

    /// Number of entries, valueless ones included.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.len
    }

    /// An entry. Places come from this tree and are dropped everywhere
    /// before their entry is removed.
    #[inline]
    #[must_use]
    #[allow(clippy::indexing_slicing)] // see above
    pub fn get(&self, ix: Ix) -> &Entry {
        &self.entries[ix.index()]
    }

    /// An entry, to change it.
    #[inline]
    #[allow(clippy::indexing_slicing)] // as in `get`
    pub fn get_mut(&mut self, ix: Ix) -> &mut Entry {
        &mut self.entries[ix.index()]
    }

    /// The child that an encoded element names.
    #[inline(always)] // its callers are the loops over paths
    #[must_use]
    #[allow(clippy::indexing_slicing)] // a shard's number is below SHARDS
    pub fn child(&self, parent: Ix, element: &[u8]) -> Option<Ix> {
        let Some(name) = path::short_text(element) else {
            return self.child_by_any(parent, element);
        };
        let hash = self.secret.hash_short(parent, name);
        let found = self.index[shard(hash)].find(hash, |n| {
            let entry = self.get(Ix(*n));
            entry.parent == parent && entry.key.words() == Some(name)
        });
        found.map(|n| Ix(*n))
    }

    #[inline(never)] // nearly all names are short texts
    #[allow(clippy::indexing_slicing)] // as in `child`
    fn child_by_any(&self, parent: Ix, element: &[u8]) -> Option<Ix> {
        let hash = self.secret.hash(parent, element);
        let found = self.index[shard(hash)].find(hash, |n| {
            let entry = self.get(Ix(*n));
            entry.parent == parent && path::same_elem(entry.key.bytes(), element)
        });
        found.map(|n| Ix(*n))
    }

    /// The entry at `path` below `from`.
    ///
    /// # Errors
    /// If the path's encoding is broken.
    #[inline]
    pub fn resolve(&self, from: Ix, path: PathRef<'_>) -> Result<Option<Ix>, Fault> {
        let mut at = from;
        for element in path.elements() {
            match self.child(at, element?) {
                Some(child) => at = child,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The entry at `path` below `from`, made if it is missing: valueless,
    /// with its parent's tock.
    ///
    /// # Errors
    /// If an element cannot name an entry; entries above it have been made
    /// then, so check paths first.
    pub fn ensure(&mut self, from: Ix, path: PathRef<'_>) -> Result<Ix, ElemError> {
        let bytes = path.bytes();
        let (mut at, mut rest) = (from, bytes);
        if from == Ix::ROOT
            && let Some(after) = bytes.strip_prefix(self.recent.path.as_slice())
        {
            // no element's encoding begins another one's
            (at, rest) = (self.recent.ix, after);
        }
        let mut reached = bytes.len() - rest.len();
        let (mut parent, mut above) = (at, reached);
        for element in PathRef::new(rest).elements() {
            let element = element?;
            (parent, above) = (at, reached);
            at = self.ensure_child(at, element)?;
            reached += element.len();
        }
        if from == Ix::ROOT && parent != self.recent.ix {
            self.recent.ix = parent;
            self.recent.path.clear();
            let path = bytes.get(..above).unwrap_or_default();
            self.recent.path.extend_from_slice(path);
        }
        Ok(at)
    }

    /// The child that an encoded element names, made if it is missing.
    ///
    /// # Errors
    /// If the element cannot name an entry.
    pub fn ensure_child(&mut self, parent: Ix, element: &[u8]) -> Result<Ix, ElemError> {
        if let Some(ix) = self.child(parent, element) {
            return Ok(ix);
        }
        if let (Some(0xa0..=0xbf), Some(name)) = (element.first(), path::short_text(element)) {
            // such a text is in its shortest form
            crate::msgpack::check(element)?;
            let hash = self.secret.hash_short(parent, name);
            return Ok(self.add(parent, Small::new(element), hash));
        }
        let mut key = Vec::with_capacity(element.len());
        path::normalise(element, &mut key)?;
        let hash = self.secret.hash(parent, &key);
        Ok(self.add(parent, Small::new(&key), hash))
    }

    /// Makes a child that is not there.
    #[allow(clippy::indexing_slicing)] // a shard's number is below SHARDS
    fn add(&mut self, parent: Ix, key: Small, hash: u64) -> Ix {
        let tock = self.get(parent).tock;
        let ix = self.place(Entry::new(parent, key, tock));
        match self.get(parent).first.some() {
            Some(first) => {
                let last = std::mem::replace(&mut self.get_mut(first).prev, ix);
                self.get_mut(last).next = ix;
                self.get_mut(ix).prev = last;
            }
            None => {
                self.get_mut(parent).first = ix;
                self.get_mut(ix).prev = ix;
            }
        }
        let (entries, secret) = (&self.entries, self.secret);
        self.index[shard(hash)].insert_unique(hash, ix.0, |n| secret.hash_entry(entries, *n));
        self.len += 1;
        ix
    }

    /// The child of an entry that is the last one in order.
    #[must_use]
    pub fn last_child(&self, parent: Ix) -> Option<Ix> {
        let first = self.get(parent).first.some()?;
        Some(self.get(first).prev)
    }

    /// Moves the last child of an entry to before another one of its
    /// children.
    pub fn move_last_before(&mut self, parent: Ix, other: Ix) {
        let first = self.get(parent).first;
        let Some(last) = self.last_child(parent).filter(|last| *last != other) else {
            return;
        };
        let (new_last, before) = (self.get(last).prev, self.get(other).prev);
        self.get_mut(new_last).next = Ix::NONE;
        self.get_mut(last).next = other;
        self.get_mut(other).prev = last;
        // the first one's `prev` is the last one
        if other == first {
            self.get_mut(parent).first = last;
            self.get_mut(last).prev = new_last;
        } else {
            self.get_mut(before).next = last;
            self.get_mut(last).prev = before;
            self.get_mut(first).prev = new_last;
        }
    }

    fn place(&mut self, entry: Entry) -> Ix {
        match self.free.some() {
            Some(ix) => {
                let slot = self.get_mut(ix);
                let next = slot.next;
                *slot = entry;
                self.free = next;
                ix
            }
            None => {
                let n = u32::try_from(self.entries.len())
                    .ok()
                    .filter(|n| *n < u32::MAX);
                let ix =
                    Ix(n.expect("invariant: memory ends before four thousand million entries"));
                self.entries.push(entry);
                ix
            }
        }
    }

    /// The changes that an entry's present state is built on, newest first.
    #[inline]
    #[must_use]
    pub fn chain(&self, ix: Ix) -> (&[Link], ChainEnd) {
        let entry = self.get(ix);
        match self
            .chains
            .get(entry.chain as usize)
            .and_then(Option::as_ref)
        {
            Some(long) => (&long.links, long.end),
            None if entry.head == NO_LINK => (&[], ChainEnd::Start),
            None => (std::slice::from_ref(&entry.head), ChainEnd::Start),
        }
    }

    /// Replaces an entry's chain.
    #[inline]
    pub fn set_chain(&mut self, ix: Ix, links: &[Link], end: ChainEnd) {
        let place = self.get(ix).chain;
        let entry = self.get_mut(ix);
        entry.head = links.first().copied().unwrap_or(NO_LINK);
        let long = links.len() > 1 || (end == ChainEnd::Cut && !links.is_empty());
        if place != NO_CHAIN || long {
            let links = links.into();
            self.set_long_chain(ix, long.then_some(LongChain { links, end }));
        }
    }

    #[inline(never)] // nearly all chains have one link
    fn set_long_chain(&mut self, ix: Ix, long: Option<LongChain>) {
        let place = self.get(ix).chain;
        let place = match (place, &long) {
            (NO_CHAIN, _) => self.free_chains.pop().unwrap_or_else(|| {
                self.chains.push(None);
                let n = u32::try_from(self.chains.len() - 1);
                n.expect("invariant: there are not more chains than entries")
            }),
            (place, Some(_)) => place,
            (place, None) => {
                self.free_chains.push(place);
                place
            }
        };
        self.get_mut(ix).chain = if long.is_some() { place } else { NO_CHAIN };
        if let Some(slot) = self.chains.get_mut(place as usize) {
            *slot = long;
        }
    }

    /// Whether an entry could be removed: no value, no chain, no children,
    /// and not the root.
    #[must_use]
    pub fn is_bare(&self, ix: Ix) -> bool {
        let entry = self.get(ix);
        ix != Ix::ROOT && entry.value.is_none() && entry.head == NO_LINK && entry.first == Ix::NONE
    }

    /// Removes a bare entry; does nothing to others. Nobody may hold its
    /// place any more.
    #[allow(clippy::indexing_slicing)] // a shard's number is below SHARDS
    pub fn remove(&mut self, ix: Ix) {
        if !self.is_bare(ix) {
            return;
        }
        if ix == self.recent.ix {
            // an entry above it has it as a child, and stays
            self.recent.ix = Ix::ROOT;
            self.recent.path.clear();
        }
        let entry = self.get(ix);
        let (parent, next, prev) = (entry.parent, entry.next, entry.prev);
        let hash = self.secret.hash(parent, entry.key.bytes());
        if let Ok(found) = self.index[shard(hash)].find_entry(hash, |n| *n == ix.0) {
            found.remove();
        }
        let first = self.get(parent).first;
        if first == ix {
            self.get_mut(parent).first = next;
        } else {
            self.get_mut(prev).next = next;
        }
        // the neighbour behind, or the first one, which knows the last
        match next.some() {
            Some(next) => self.get_mut(next).prev = prev,
            None if first != ix => self.get_mut(first).prev = prev,
            None => {}
        }
        let mut gone = Entry::new(Ix::NONE, Small::new(&[]), Tock(0));
        gone.next = self.free;
        *self.get_mut(ix) = gone;
        self.free = ix;
        self.len -= 1;
    }

    /// Appends to `out` the places on the way from below `top` down to `ix`,
    /// `ix` last. Empty if `ix` is `top`.
    pub fn way(&self, top: Ix, ix: Ix, out: &mut Vec<Ix>) {
        let start = out.len();
        let mut at = ix;
        while at != top {
            out.push(at);
            match self.get(at).parent() {
                Some(parent) => at = parent,
                None => break,
            }
        }
        if let Some(way) = out.get_mut(start..) {
            way.reverse();
        }
    }

    /// The path of `ix` below `top`.
    #[must_use]
    pub fn path(&self, top: Ix, ix: Ix) -> RawPath {
        let mut way = Vec::new();
        self.way(top, ix, &mut way);
        let mut path = RawPath::new();
        for at in way {
            path.push(self.get(at).key());
        }
        path
    }

    /// The entry that follows `ix` in a walk of the subtree `top`, parents
    /// first; `into` says whether to visit the children of `ix`.
    #[must_use]
    pub fn following(&self, top: Ix, ix: Ix, into: bool) -> Option<Ix> {
        if into && let Some(child) = self.get(ix).first_child() {
            return Some(child);
        }
        let mut at = ix;
        while at != top {
            let entry = self.get(at);
            if let Some(next) = entry.next_sibling() {
                return Some(next);
            }
            at = entry.parent()?;
        }
        None
    }
}

/// What keeps others from choosing names whose hashes are equal.
#[derive(Debug, Clone, Copy)]
struct Secret {
    seed: u64,
    low: u64,
    high: u64,
    /// Odd, so that parents stay distinct
    parent: u64,
}

impl Secret {
    fn new(seed: u64) -> Self {
        let hash = FixedState::with_seed(seed);
        Self {
            seed,
            low: hash.hash_one(0),
            high: hash.hash_one(1),
            parent: hash.hash_one(2) | 1,
        }
    }

    #[inline]
    fn hash(&self, parent: Ix, element: &[u8]) -> u64 {
        if let Some(name) = path::short_text(element) {
            return self.hash_short(parent, name);
        }
        let seed = self.seed ^ self.spread(parent);
        let mut hasher = FixedState::with_seed(seed).build_hasher();
        path::hash_elem(element, &mut hasher);
        hasher.finish()
    }

    /// That of an entry which has its place.
    #[inline]
    #[allow(clippy::indexing_slicing)] // see `Tree::get`
    fn hash_entry(&self, entries: &[Entry], n: u32) -> u64 {
        let entry = &entries[Ix(n).index()];
        self.hash(entry.parent, entry.key.bytes())
    }

    /// One multiplication of secret factors, as the general hasher does for
    /// so few bytes, without its ways for more of them.
    #[inline]
    fn hash_short(&self, parent: Ix, name: Words) -> u64 {
        let a = u128::from(name.low ^ self.low);
        let b = u128::from(name.high ^ self.high ^ self.spread(parent));
        #[allow(clippy::cast_possible_truncation)] // both halves are taken
        let (low, high) = ((a * b) as u64, ((a * b) >> 64) as u64);
        low ^ high
    }

    #[inline]
    fn spread(&self, parent: Ix) -> u64 {
        u64::from(parent.0).wrapping_mul(self.parent)
    }
}

#[inline]
const fn shard(hash: u64) -> usize {
    // the tables themselves use the lowest and the highest bits
    ((hash >> 40) as usize) % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(elements: &[&str]) -> RawPath {
        let mut path = RawPath::new();
        for element in elements {
            path.push_str(element);
        }
        path
    }

    fn names(tree: &Tree, parent: Ix) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        let mut at = tree.get(parent).first_child();
        while let Some(ix) = at {
            names.push(tree.get(ix).key().to_vec());
            at = tree.get(ix).next_sibling();
        }
        names
    }

    #[test]
    fn an_entry_takes_one_line_of_the_cache() {
        assert_eq!(size_of::<Entry>(), 64);
    }

    #[test]
    fn the_last_child_goes_wherever_it_is_put() {
        let child = |tree: &mut Tree, name: u8| tree.ensure_child(Ix::ROOT, &[0xa1, name]).unwrap();
        let order = |tree: &Tree| -> String {
            let names = names(tree, Ix::ROOT).into_iter();
            names.map(|name| char::from(name[1])).collect()
        };
        for (before, moved) in [(b'a', "cab"), (b'b', "acb"), (b'c', "abc")] {
            let mut tree = Tree::new(1);
            let all = [b'a', b'b', b'c'].map(|name| child(&mut tree, name));
            let other = child(&mut tree, before);
            tree.move_last_before(Ix::ROOT, other);
            assert_eq!(order(&tree), moved);
            // and the order can be added to and taken from
            child(&mut tree, b'd');
            assert_eq!(order(&tree), format!("{moved}d"));
            for (ix, name) in all.into_iter().zip("abc".chars()) {
                tree.remove(ix);
                assert!(!order(&tree).contains(name));
            }
            child(&mut tree, b'e');
            assert_eq!(order(&tree), "de");
        }
        let mut tree = Tree::new(1);
        let [a, _] = [b'a', b'b'].map(|name| child(&mut tree, name));
        tree.move_last_before(Ix::ROOT, a);
        assert_eq!(order(&tree), "ba");
        child(&mut tree, b'c');
        assert_eq!(order(&tree), "bac");
    }

    #[test]
    fn long_chains_have_a_place_as_long_as_they_are_long() {
        let mut tree = Tree::new(1);
        let a = tree.ensure_child(Ix::ROOT, b"\xa1a").unwrap();
        let b = tree.ensure_child(Ix::ROOT, b"\xa1b").unwrap();
        let link = |n| Link::new(NodeIx(0), Tick(n));
        let long = [link(2), link(1)];
        tree.set_chain(a, &long, ChainEnd::Cut);
        assert_eq!(tree.chain(a), (&long[..], ChainEnd::Cut));
        assert_eq!(tree.get(a).head(), Some(link(2)));
        tree.set_chain(b, &long[..1], ChainEnd::Start);
        assert_eq!(tree.chain(b), (&long[..1], ChainEnd::Start));
        tree.set_chain(a, &long[..1], ChainEnd::Start);
        assert_eq!(tree.chain(a), (&long[..1], ChainEnd::Start));
        tree.set_chain(b, &long, ChainEnd::Start);
        assert_eq!(tree.chains.len(), 1, "the place is used again");
        assert_eq!(tree.chain(b), (&long[..], ChainEnd::Start));
        tree.set_chain(b, &[], ChainEnd::Start);
        assert_eq!(tree.chain(b), (&[][..], ChainEnd::Start));
    }

    #[test]
    fn what_was_made_is_found() {
        let mut tree = Tree::new(1);
        let ix = tree
            .ensure(Ix::ROOT, path(&["a", "b", "c"]).as_ref())
            .unwrap();
        assert_eq!(tree.count(), 4);
        assert_eq!(
            tree.resolve(Ix::ROOT, path(&["a", "b", "c"]).as_ref()),
            Ok(Some(ix))
        );
        assert_eq!(tree.resolve(Ix::ROOT, path(&["a", "c"]).as_ref()), Ok(None));
        assert_eq!(tree.path(Ix::ROOT, ix), path(&["a", "b", "c"]));
        let a = tree
            .resolve(Ix::ROOT, path(&["a"]).as_ref())
            .unwrap()
            .unwrap();
        assert_eq!(tree.path(a, ix), path(&["b", "c"]));
    }

    #[test]
    fn neighbours_are_found_from_their_parent_as_long_as_it_is_there() {
        let mut tree = Tree::new(1);
        let ensure = |tree: &mut Tree, elements: &[&str]| {
            tree.ensure(Ix::ROOT, path(elements).as_ref()).unwrap()
        };
        let c = ensure(&mut tree, &["a", "b", "c"]);
        let b = ensure(&mut tree, &["a", "b"]);
        assert_eq!(tree.get(c).parent(), Some(b));
        let d = ensure(&mut tree, &["a", "b", "d"]);
        assert_eq!(tree.get(d).parent(), Some(b));
        // a name that begins like the parent's is another one
        let other = ensure(&mut tree, &["a", "bb"]);
        assert_eq!(tree.path(Ix::ROOT, other), path(&["a", "bb"]));
        let again = ensure(&mut tree, &["a", "b", "c"]);
        assert_eq!(again, c);
        assert_eq!(ensure(&mut tree, &[]), Ix::ROOT);
        // the parent goes, and its place becomes another entry's
        for gone in [c, d, b] {
            tree.remove(gone);
        }
        let x = ensure(&mut tree, &["x"]);
        assert_eq!(x, b, "the place is used again");
        let c = ensure(&mut tree, &["a", "b", "c"]);
        assert_eq!(tree.path(Ix::ROOT, c), path(&["a", "b", "c"]));
        assert_eq!(tree.count(), 1 + 5);
    }

    #[test]
    fn the_first_spelling_stays() {
        let mut tree = Tree::new(1);
        let one = tree.ensure_child(Ix::ROOT, b"\x01").unwrap();
        assert_eq!(tree.ensure_child(Ix::ROOT, b"\xc3"), Ok(one));
        assert_eq!(tree.get(one).key(), b"\x01");
    }

    #[test]
    fn removal_keeps_the_order_of_the_others() {
        let mut tree = Tree::new(1);
        for name in [b"\xa1a", b"\xa1b", b"\xa1c"] {
            tree.ensure_child(Ix::ROOT, name).unwrap();
        }
        let b = tree.child(Ix::ROOT, b"\xa1b").unwrap();
        tree.remove(b);
        assert_eq!(names(&tree, Ix::ROOT), [b"\xa1a", b"\xa1c"]);
        assert_eq!(tree.child(Ix::ROOT, b"\xa1b"), None);
        let d = tree.ensure_child(Ix::ROOT, b"\xa1d").unwrap();
        assert_eq!(d, b, "the place is used again");
        assert_eq!(names(&tree, Ix::ROOT), [b"\xa1a", b"\xa1c", b"\xa1d"]);
        // an entry with children stays
        tree.ensure_child(d, b"\xa1x").unwrap();
        tree.remove(d);
        assert_eq!(tree.child(Ix::ROOT, b"\xa1d"), Some(d));
    }

    #[test]
    fn a_walk_visits_parents_before_children_in_order() {
        let mut tree = Tree::new(1);
        for p in [&["a", "b"][..], &["a", "c"], &["d"], &["a", "b", "e"]] {
            tree.ensure(Ix::ROOT, path(p).as_ref()).unwrap();
        }
        let mut seen = Vec::new();
        let mut at = Some(Ix::ROOT);
        while let Some(ix) = at {
            seen.push(tree.path(Ix::ROOT, ix));
            at = tree.following(Ix::ROOT, ix, true);
        }
        let want: [&[&str]; 6] = [
            &[],
            &["a"],
            &["a", "b"],
            &["a", "b", "e"],
            &["a", "c"],
            &["d"],
        ];
        assert_eq!(seen, want.map(path));
        let a = tree
            .resolve(Ix::ROOT, path(&["a"]).as_ref())
            .unwrap()
            .unwrap();
        assert_eq!(
            tree.following(a, a, false),
            None,
            "a walk stays below its top"
        );
    }

    #[test]
    fn short_names_are_spread_over_the_tables() {
        for key in [0, 1, u64::MAX] {
            let secret = Secret::new(key);
            // the bits that choose the table, the place in it, and the tag
            let parts = [|h: u64| shard(h) as u64, |h| h & 0xfff, |h| h >> 57];
            for part in parts {
                let mut hits = std::collections::BTreeMap::new();
                for n in 0..4096u32 {
                    let name = format!("{n:06}");
                    let mut element = Vec::new();
                    crate::msgpack::write::str(&mut element, &name);
                    let by_name = secret.hash(Ix::ROOT, &element);
                    let by_parent = secret.hash(Ix(n), b"\xa1a");
                    for hash in [by_name, by_parent] {
                        *hits.entry(part(hash)).or_insert(0) += 1;
                    }
                }
                let most = hits.values().max().copied().unwrap_or(0);
                let mean = 8192 / hits.len();
                assert!(hits.len() > 120, "{} places", hits.len());
                assert!(most < 2 * mean + 12, "{most} in one place, {mean} in most");
            }
        }
    }

    #[test]
    fn names_that_differ_do_not_meet() {
        let mut tree = Tree::new(3);
        for n in 0..10_000u64 {
            if n == 700 {
                tree.reserve(5000);
            }
            let mut key = Vec::new();
            crate::msgpack::write::uint(&mut key, n);
            let ix = tree.ensure_child(Ix::ROOT, &key).unwrap();
            tree.get_mut(ix).set_tock(Tock(n));
        }
        for n in 0..10_000u64 {
            let mut key = Vec::new();
            crate::msgpack::write::uint(&mut key, n);
            let ix = tree.child(Ix::ROOT, &key).unwrap();
            assert_eq!(tree.get(ix).tock(), Tock(n));
        }
    }
}
