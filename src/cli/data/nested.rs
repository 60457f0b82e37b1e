//! Entries as one nested map: each entry's children by their names, its own
//! value by a key that the user has chosen.
//!
//! Recursion is as deep as paths are long, which is bounded where they are
//! decoded.

use std::collections::BTreeMap;

use crate::cli::exit::CliError;
use crate::cli::show::key;
use crate::path::{Path, PathElem};
use crate::value::Value;

/// What becomes of a value that is `null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Nulls {
    /// It is shown as any other.
    Keep,
    /// An entry that is nothing else is shown as `null` itself; beside
    /// children it is left out.
    Fold,
}

/// An entry and those below it.
#[derive(Debug, Default)]
pub(in crate::cli) struct Nested {
    value: Option<Value>,
    children: Vec<(PathElem, Self)>,
    places: BTreeMap<PathElem, usize>,
}

impl Nested {
    /// Puts an entry's value where it belongs.
    pub(in crate::cli) fn insert(&mut self, path: &Path, value: Option<Value>) {
        let mut at = self;
        for elem in path {
            let next = at.children.len();
            let place = *at.places.entry(elem.clone()).or_insert(next);
            if place == next {
                at.children.push((elem.clone(), Self::default()));
            }
            let Some((_, child)) = at.children.get_mut(place) else {
                unreachable!("places are those of children");
            };
            at = child;
        }
        at.value = value;
    }

    /// The map, with each entry's own value at the key `own`.
    ///
    /// # Errors
    /// If an entry with a value has a child of that name.
    pub(in crate::cli) fn into_map(self, own: &str, nulls: Nulls) -> Result<Value, CliError> {
        let mut value = self.value;
        if nulls == Nulls::Fold && matches!(value, Some(Value::Nil)) {
            if self.children.is_empty() {
                return Ok(Value::Nil);
            }
            value = None;
        }
        let mut pairs = Vec::with_capacity(self.children.len().saturating_add(1));
        if let Some(value) = value {
            if self.places.contains_key(&PathElem::from(own)) {
                let clash = "an entry with a value has a child of that name";
                return Err(anyhow::anyhow!("-d {own}: {clash}: choose another key").into());
            }
            pairs.push((own.into(), value));
        }
        for (name, child) in self.children {
            pairs.push((key(&name), child.into_map(own, nulls)?));
        }
        Ok(Value::Map(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::json;

    fn nested(entries: &[(&str, Option<Value>)]) -> Nested {
        let mut nested = Nested::default();
        for (path, value) in entries {
            nested.insert(&path.parse().unwrap(), value.clone());
        }
        nested
    }

    fn shown(nested: Nested, nulls: Nulls) -> String {
        json::line(&nested.into_map("_", nulls).unwrap())
    }

    #[test]
    fn values_stand_beside_children() {
        let entries = [
            ("a", Some(1.into())),
            ("a.b", Some(2.into())),
            ("c.d", None),
        ];
        assert_eq!(
            shown(nested(&entries), Nulls::Keep),
            r#"{"a":{"_":1,"b":{"_":2}},"c":{"d":{}}}"#
        );
        assert_eq!(shown(Nested::default(), Nulls::Keep), "{}");
    }

    #[test]
    fn nulls_are_folded_where_asked() {
        let null = Some(Value::Nil);
        let entries = [(":", null.clone()), ("a", null.clone()), ("a.b", null)];
        assert_eq!(
            shown(nested(&entries), Nulls::Keep),
            r#"{"_":null,"a":{"_":null,"b":{"_":null}}}"#
        );
        assert_eq!(shown(nested(&entries), Nulls::Fold), r#"{"a":{"b":null}}"#);
    }

    #[test]
    fn a_child_of_the_keys_name_is_no_value() {
        let entries = [("a", Some(1.into())), ("a._", Some(2.into()))];
        assert!(nested(&entries).into_map("_", Nulls::Keep).is_err());
        let entries = [("a._", Some(2.into()))];
        assert!(nested(&entries).into_map("_", Nulls::Keep).is_ok());
    }
}
