//! Patterns: `+` stands for exactly one element, `#` for one or more.
//!
//! `null` is matched by itself only. [`matches()`] is the rule, over whatever
//! elements are; topics of messages follow MQTT instead, where `#` stands
//! last and also for nothing at all.

use super::{Elem, Path, PathElem, PathRef, same_elem};
use crate::msgpack::Fault;

/// An element of a pattern that stands for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wildcard {
    /// `+`: exactly one element.
    One,
    /// `#`: one element or more.
    Many,
}

impl Wildcard {
    fn read(text: &str) -> Option<Self> {
        match text {
            "+" => Some(Self::One),
            "#" => Some(Self::Many),
            _ => None,
        }
    }
}

/// What a pattern can be made of.
pub trait Level {
    /// Which wildcard it is, as element of a pattern.
    fn wildcard(&self) -> Option<Wildcard>;
    /// Whether a wildcard may stand for it.
    fn is_wild(&self) -> bool;
    /// Whether it is the same element.
    fn is_same(&self, other: &Self) -> bool;
}

impl Level for PathElem {
    fn wildcard(&self) -> Option<Wildcard> {
        self.as_str().and_then(Wildcard::read)
    }

    fn is_wild(&self) -> bool {
        !matches!(self, Self::Nil)
    }

    fn is_same(&self, other: &Self) -> bool {
        self == other
    }
}

/// An encoded element.
impl Level for &[u8] {
    fn wildcard(&self) -> Option<Wildcard> {
        match Elem::read(self) {
            Ok(Elem::Str(b"+")) => Some(Wildcard::One),
            Ok(Elem::Str(b"#")) => Some(Wildcard::Many),
            _ => None,
        }
    }

    fn is_wild(&self) -> bool {
        *self != [0xc0]
    }

    fn is_same(&self, other: &Self) -> bool {
        same_elem(self, other)
    }
}

impl Level for &str {
    fn wildcard(&self) -> Option<Wildcard> {
        Wildcard::read(self)
    }

    fn is_wild(&self) -> bool {
        true
    }

    fn is_same(&self, other: &Self) -> bool {
        self == other
    }
}

/// Whether a pattern matches. Takes at most the product of both lengths in
/// steps, and no memory.
///
/// ```
/// use moat::path::matches;
///
/// assert!(matches(&["a", "+", "c"], &["a", "b", "c"]));
/// assert!(matches(&["a", "#"], &["a", "b", "c"]));
/// assert!(!matches(&["a", "#"], &["a"]));
/// ```
#[must_use]
pub fn matches<L: Level>(pattern: &[L], path: &[L]) -> bool {
    // The last `#` seen: the pattern behind it, and where its own elements
    // end. Only that one ever needs to take more: an earlier one would leave
    // less of the path to the same rest of the pattern.
    let mut many: Option<(&[L], &[L])> = None;
    let (mut pattern, mut path) = (pattern, path);
    loop {
        let step = match (pattern.split_first(), path.split_first()) {
            (None, None) => return true,
            (Some((p, after)), Some((e, rest))) => match p.wildcard() {
                Some(Wildcard::Many) if e.is_wild() => {
                    many = Some((after, rest));
                    Some((after, rest))
                }
                Some(Wildcard::One) if e.is_wild() => Some((after, rest)),
                Some(_) => None,
                None => p.is_same(e).then_some((after, rest)),
            },
            (Some(_), None) => return false,
            (None, Some(_)) => None,
        };
        let step = step.or_else(|| {
            // let the last `#` take one element more
            let (after, taken) = many?;
            let (e, rest) = taken.split_first()?;
            e.is_wild().then(|| {
                many = Some((after, rest));
                (after, rest)
            })
        });
        match step {
            Some(next) => (pattern, path) = next,
            None => return false,
        }
    }
}

/// [`matches()`], of encoded paths.
///
/// # Errors
/// Broken encodings.
pub fn matches_encoded(pattern: PathRef<'_>, path: PathRef<'_>) -> Result<bool, Fault> {
    let pattern: Vec<&[u8]> = pattern.elements().collect::<Result<_, _>>()?;
    let path: Vec<&[u8]> = path.elements().collect::<Result<_, _>>()?;
    Ok(matches(&pattern, &path))
}

/// Whether an MQTT topic filter matches a topic, both split into levels:
/// there `#` is the last level and stands for any number of levels, none
/// included, and no wildcard at the start stands for a level that begins
/// with `$`.
///
/// ```
/// use moat::path::matches_topic;
///
/// assert!(matches_topic(&["a", "#"], &["a"]));
/// assert!(!matches_topic(&["#"], &["$SYS", "uptime"]));
/// ```
#[must_use]
pub fn matches_topic(filter: &[&str], topic: &[&str]) -> bool {
    let system = topic.first().is_some_and(|level| level.starts_with('$'));
    if system && matches!(filter.first(), Some(&("+" | "#"))) {
        return false;
    }
    let mut topic = topic.iter();
    let mut filter = filter.iter();
    while let Some(level) = filter.next() {
        if *level == "#" {
            return filter.next().is_none();
        }
        match topic.next() {
            Some(this) if *level == "+" || level == this => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

impl Path {
    /// Whether this path, as a pattern, matches another one.
    #[must_use]
    pub fn matches(&self, path: &Self) -> bool {
        matches(self.elements(), path.elements())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_match(pattern: &str, path: &str, want: bool) {
        let (pattern, path): (Path, Path) = (pattern.parse().unwrap(), path.parse().unwrap());
        assert_eq!(pattern.matches(&path), want, "{pattern} {path}");
        let encoded = matches_encoded(pattern.encode().as_ref(), path.encode().as_ref());
        assert_eq!(encoded, Ok(want), "{pattern} {path}");
    }

    #[test]
    fn wildcards_stand_for_elements() {
        for (pattern, path, want) in [
            (":", ":", true),
            ("a", "a", true),
            ("a", "b", false),
            ("a", "a.b", false),
            ("a.b", "a", false),
            ("+", "a", true),
            ("+", ":", false),
            ("+", "a.b", false),
            ("#", ":", false),
            ("#", "a", true),
            ("#", "a.b.c", true),
            ("a.#", "a", false),
            ("a.#.c", "a.b.c", true),
            ("a.#.c", "a.c", false),
            ("a.#.c", "a.c.c", true),
            ("a.#.c", "a.b.c.d.c", true),
            ("a.#.c", "a.b.c.d", false),
            ("#.b.#", "a.b.b.c", true),
            ("#.b.#", "b.b", false),
            ("#.#", "a", false),
            ("#.#", "a.b", true),
            ("#.+.b", "a.a.c.b", true),
            ("a:1", "a:t", true),
            ("a.+", "a:1", true),
            // null stands for itself
            (":n.a", ":n.a", true),
            ("#", ":n.a", false),
            ("+.a", ":n.a", false),
            (":n.#", ":n.a.b", true),
            ("a.#", "a.b:n", false),
            ("#:n.#", "a:n.b", true),
            // not as text of a path
            ("a:v#", "a:v#", true),
            ("a:v+", "a.b", false),
        ] {
            assert_match(pattern, path, want);
        }
    }

    #[test]
    fn many_wildcards_stay_cheap() {
        let mut pattern = vec!["#"; 300];
        pattern.push("b");
        assert!(!matches(&pattern, &["a"; 1000]));
    }

    #[test]
    fn topics_match_as_in_mqtt() {
        for (filter, topic, want) in [
            ("a/b", "a/b", true),
            ("a/+", "a/b", true),
            ("a/+", "a", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "a/b", true),
            ("+/b", "a/b", true),
            ("+", "a/b", false),
            ("a/#/c", "a/b/c", false),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/a", true),
        ] {
            let filter_levels: Vec<&str> = filter.split('/').collect();
            let topic_levels: Vec<&str> = topic.split('/').collect();
            assert_eq!(
                matches_topic(&filter_levels, &topic_levels),
                want,
                "{filter} {topic}"
            );
        }
    }
}
