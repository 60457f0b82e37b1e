//! Parts of a value by their path.
//!
//! Elements are keys of maps and indexes of lists (negative ones count from
//! the end). Setting creates the maps on the way and replaces what else stands
//! there; only lists stay lists.

use crate::path::PathElem;

use super::Value;

/// A list has no such item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a list of {len} has no item that element {at} of the path names")]
pub struct NoSuchItem {
    /// Which element of the path, counted from 1
    pub at: usize,
    /// How many items the list has
    pub len: usize,
}

impl Value {
    /// The part that `path` leads to.
    ///
    /// ```
    /// use moat::value::Value;
    ///
    /// let value = Value::List(vec![1.into(), 2.into()]);
    /// assert_eq!(value.get(&[moat::path::PathElem::Int(-1)]), Some(&2.into()));
    /// ```
    #[must_use]
    pub fn get(&self, path: &[PathElem]) -> Option<&Self> {
        path.iter().try_fold(self, |value, elem| match value {
            Self::Map(pairs) => {
                let key = Self::from(elem);
                // the last of equal keys is the one that counts
                pairs.iter().rfind(|(k, _)| *k == key).map(|(_, v)| v)
            }
            Self::List(items) => items.get(index(elem, items.len())?),
            _ => None,
        })
    }

    /// Sets the part that `path` leads to, creating the maps on the way.
    /// Whatever stands in the way and is neither map nor list becomes a map.
    ///
    /// # Errors
    /// An index that a list on the way does not have. Then nothing is set,
    /// but maps may have been created.
    pub fn set(&mut self, path: &[PathElem], new: Self) -> Result<(), NoSuchItem> {
        let mut value = self;
        for (i, elem) in path.iter().enumerate() {
            if let Self::List(items) = value {
                let len = items.len();
                let item = index(elem, len).and_then(|i| items.get_mut(i));
                value = item.ok_or_else(|| NoSuchItem {
                    at: i.saturating_add(1),
                    len,
                })?;
                continue;
            }
            if !matches!(value, Self::Map(_)) {
                *value = Self::Map(Vec::new());
            }
            let Self::Map(pairs) = value else {
                unreachable!("it was just made a map");
            };
            let key = Self::from(elem);
            let place = pairs.iter().rposition(|(k, _)| *k == key);
            let place = place.unwrap_or_else(|| {
                pairs.push((key, Self::Nil));
                pairs.len().saturating_sub(1)
            });
            value = match pairs.get_mut(place) {
                Some((_, value)) => value,
                None => unreachable!("the place was just found"),
            };
        }
        *value = new;
        Ok(())
    }

    /// Removes the part that `path` leads to, and returns it. The map or list
    /// that it was in stays, even if it is empty then. The empty path leads
    /// to the whole, of which `null` stays.
    pub fn remove(&mut self, path: &[PathElem]) -> Option<Self> {
        let Some((last, way)) = path.split_last() else {
            return Some(core::mem::replace(self, Self::Nil));
        };
        match self.get_mut(way)? {
            Self::Map(pairs) => {
                let key = Self::from(last);
                let place = pairs.iter().rposition(|(k, _)| *k == key)?;
                Some(pairs.remove(place).1)
            }
            Self::List(items) => {
                let place = index(last, items.len())?;
                (place < items.len()).then(|| items.remove(place))
            }
            _ => None,
        }
    }

    fn get_mut(&mut self, path: &[PathElem]) -> Option<&mut Self> {
        path.iter().try_fold(self, |value, elem| match value {
            Self::Map(pairs) => {
                let key = Self::from(elem);
                let place = pairs.iter().rposition(|(k, _)| *k == key)?;
                pairs.get_mut(place).map(|(_, value)| value)
            }
            Self::List(items) => {
                let place = index(elem, items.len())?;
                items.get_mut(place)
            }
            _ => None,
        })
    }
}

fn index(elem: &PathElem, len: usize) -> Option<usize> {
    match elem {
        PathElem::Int(n) if *n < 0 => len.checked_sub(usize::try_from(n.unsigned_abs()).ok()?),
        PathElem::Int(n) => usize::try_from(*n).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(keys: &[&str]) -> Vec<PathElem> {
        keys.iter().map(|k| PathElem::Str((*k).into())).collect()
    }

    fn map(pairs: &[(&str, Value)]) -> Value {
        Value::Map(
            pairs
                .iter()
                .map(|(k, v)| ((*k).into(), v.clone()))
                .collect(),
        )
    }

    #[test]
    fn setting_creates_the_maps_on_the_way() {
        let mut value = Value::Nil;
        value.set(&path(&["a", "b"]), 1.into()).unwrap();
        assert_eq!(value, map(&[("a", map(&[("b", 1.into())]))]));
        value.set(&path(&["a", "c"]), 2.into()).unwrap();
        assert_eq!(value.get(&path(&["a", "b"])), Some(&1.into()));
        assert_eq!(value.get(&path(&["a", "c"])), Some(&2.into()));
        assert_eq!(value.get(&path(&["a", "x", "y"])), None);
        assert_eq!(value.get(&[]), Some(&value));
    }

    #[test]
    fn a_scalar_in_the_way_becomes_a_map() {
        let mut value = map(&[("a", 2.into()), ("b", 3.into())]);
        value.set(&path(&["a", "b", "c"]), 1.into()).unwrap();
        let inner = map(&[("b", map(&[("c", 1.into())]))]);
        assert_eq!(value, map(&[("a", inner), ("b", 3.into())]));
        value.set(&[], "x".into()).unwrap();
        assert_eq!(value, "x".into());
    }

    #[test]
    fn keys_are_found_by_value() {
        let mut value = Value::Map(vec![(1.into(), "one".into())]);
        assert_eq!(value.get(&[PathElem::Float(1.0)]), Some(&"one".into()));
        value.set(&[PathElem::Bool(true)], "uno".into()).unwrap();
        assert_eq!(value, Value::Map(vec![(1.into(), "uno".into())]));
        assert_eq!(value.get(&path(&["1"])), None);
    }

    #[test]
    fn lists_are_indexed() {
        let mut value = map(&[("l", Value::List(vec![1.into(), 2.into()]))]);
        let at = |n| [PathElem::Str("l".into()), PathElem::Int(n)];
        value.set(&at(1), 3.into()).unwrap();
        value.set(&at(-2), 4.into()).unwrap();
        assert_eq!(
            value.get(&path(&["l"])),
            Some(&Value::List(vec![4.into(), 3.into()]))
        );
        let no = NoSuchItem { at: 2, len: 2 };
        assert_eq!(value.set(&at(2), 0.into()), Err(no));
        assert_eq!(value.set(&at(-3), 0.into()), Err(no));
        assert_eq!(value.set(&path(&["l", "x"]), 0.into()), Err(no));
        assert_eq!(value.remove(&at(0)), Some(4.into()));
        assert_eq!(value.remove(&at(1)), None);
        assert_eq!(value.get(&path(&["l"])), Some(&Value::List(vec![3.into()])));
    }

    #[test]
    fn removing_the_last_item_leaves_an_empty_map() {
        let mut value = map(&[("a", map(&[("b", 1.into())]))]);
        assert_eq!(value.remove(&path(&["a", "x"])), None);
        assert_eq!(value.remove(&path(&["a", "b"])), Some(1.into()));
        assert_eq!(value, map(&[("a", map(&[]))]));
        assert_eq!(value.remove(&path(&["a"])), Some(map(&[])));
        assert_eq!(value, map(&[]));
    }
}
