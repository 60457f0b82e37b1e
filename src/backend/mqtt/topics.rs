//! Clients' topics: which are possible, what they match, and which of them
//! must be asked of the broker.

use std::collections::BTreeSet;

/// Longest topic, in bytes.
const LONGEST: usize = 65_535;

fn fits(levels: &[String]) -> bool {
    let length = levels.iter().map(|level| level.len().saturating_add(1));
    !levels.is_empty()
        && length.sum::<usize>() <= LONGEST
        && levels.iter().any(|level| !level.is_empty())
        && !levels.iter().any(|level| level.contains('\0'))
}

/// Whether messages can be sent to this topic. A broker would end the
/// connection of whoever tries it with another one.
pub(super) fn is_name(levels: &[String]) -> bool {
    fits(levels) && !levels.iter().any(|level| level.contains(['+', '#']))
}

/// Whether this is a filter: `+` stands for a level, `#` for all that follow.
pub(super) fn is_filter(levels: &[String]) -> bool {
    let is_level = |level: &String| level == "+" || !level.contains(['+', '#']);
    match levels.split_last() {
        Some((last, rest)) => {
            fits(levels) && rest.iter().all(is_level) && (last == "#" || is_level(last))
        }
        None => false,
    }
}

/// Whether a broker delivers messages on `topic` to who subscribes `filter`.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

fn has_wildcard(filter: &str) -> bool {
    filter.split('/').any(|level| matches!(level, "+" | "#"))
}

/// Whether who subscribes `wide` hears all that who subscribes `narrow` does.
fn covers(wide: &str, narrow: &str) -> bool {
    if narrow.starts_with('$') && wide.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = narrow.split('/');
    for wanted in wide.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some("#") => return false,
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// What clients want to hear, and what of it the broker knows. A broker may
/// send a message once for each subscription that it matches, so that those
/// are left out that another one covers.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    plain: BTreeSet<String>,
    /// Those with wildcards
    wide: BTreeSet<String>,
    /// Wide ones that the broker does not grant: they cover nothing.
    refused: BTreeSet<String>,
    subscribed: BTreeSet<String>,
}

/// What to tell the broker.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) subscribe: Vec<String>,
    pub(super) unsubscribe: Vec<String>,
}

impl Wanted {
    pub(super) fn add(&mut self, filter: String) {
        match has_wildcard(&filter) {
            true => self.wide.insert(filter),
            false => self.plain.insert(filter),
        };
    }

    pub(super) fn remove(&mut self, filter: &str) {
        self.plain.remove(filter);
        self.wide.remove(filter);
        self.refused.remove(filter);
    }

    /// The broker does not let us hear this.
    pub(super) fn refuse(&mut self, filter: String) {
        if self.wide.contains(&filter) {
            self.refused.insert(filter);
        }
    }

    /// Whether a client wants to hear what is said on this topic.
    pub(super) fn wants(&self, topic: &str) -> bool {
        self.plain.contains(topic) || self.wide.iter().any(|filter| matches(filter, topic))
    }

    /// Whether a client wants to hear this topic by its name alone, so that
    /// the broker is not asked for it if it is `known`.
    pub(super) fn names(&self, topic: &str) -> bool {
        let mut granted = self.wide.difference(&self.refused);
        self.plain.contains(topic) && !granted.any(|filter| matches(filter, topic))
    }

    /// What to tell the broker for it to know what is wanted: all that is
    /// not covered, and is not `known` to it anyway.
    pub(super) fn settle(&mut self, known: impl Fn(&str) -> bool) -> Changes {
        let granted: Vec<&String> = self.wide.difference(&self.refused).collect();
        let is_covered = |filter: &str| {
            let by = |wide: &&String| wide.as_str() != filter && covers(wide, filter);
            granted.iter().any(by)
        };
        let wanted: BTreeSet<String> = self
            .plain
            .iter()
            .chain(&self.wide)
            .filter(|filter| !known(filter) && !is_covered(filter))
            .cloned()
            .collect();
        let changes = Changes {
            subscribe: wanted.difference(&self.subscribed).cloned().collect(),
            unsubscribe: self.subscribed.difference(&wanted).cloned().collect(),
        };
        self.subscribed = wanted;
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(topic: &str) -> Vec<String> {
        topic.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn filters_match_as_in_mqtt() {
        for (filter, topic) in [
            ("a/b", "a/b"),
            ("#", "a"),
            ("#", "a/b/c"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("+/b", "a/b"),
            ("+/b", "/b"),
            ("a/+/c", "a/b/c"),
            ("a//c", "a//c"),
            ("$SYS/#", "$SYS/x"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("a/b", "a"),
            ("a", "a/b"),
            ("a/+", "a"),
            ("a/+", "a/b/c"),
            ("+", "/b"),
            ("b/#", "a/b"),
            ("#", "$SYS/x"),
            ("+/x", "$SYS/x"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    #[test]
    fn what_a_broker_takes_for_an_attack_is_not_sent() {
        for good in ["a", "a/b", "/a", "a//b", "ä"] {
            assert!(is_name(&levels(good)) && is_filter(&levels(good)), "{good}");
        }
        for filter in ["+", "#", "a/+/b", "a/#", "+/+", "+/#"] {
            assert!(is_filter(&levels(filter)), "{filter}");
            assert!(!is_name(&levels(filter)), "{filter}");
        }
        for bad in ["", "#/a", "a#", "a+/b", "a/b#", "a\0", "++"] {
            assert!(
                !is_filter(&levels(bad)) && !is_name(&levels(bad)),
                "{bad:?}"
            );
        }
        assert!(!is_name(&[]) && !is_filter(&[]));
        assert!(!is_name(&["x".repeat(70_000)]));
    }

    #[test]
    fn a_filter_covers_what_it_hears_all_of() {
        for (wide, narrow) in [
            ("#", "a/#"),
            ("#", "+"),
            ("a/#", "a/+/c"),
            ("a/#", "a"),
            ("a/+", "a/b"),
            ("+/b", "+/b"),
        ] {
            assert!(covers(wide, narrow), "{wide} {narrow}");
        }
        for (wide, narrow) in [
            ("a/+", "a/#"),
            ("a/b", "a/+"),
            ("+", "#"),
            ("a/+", "+/b"),
            ("#", "$SYS/#"),
            ("a/+/#", "a/#"),
        ] {
            assert!(!covers(wide, narrow), "{wide} {narrow}");
        }
    }

    fn changes(subscribe: &[&str], unsubscribe: &[&str]) -> Changes {
        let owned = |list: &[&str]| list.iter().map(|&f| f.to_owned()).collect();
        Changes {
            subscribe: owned(subscribe),
            unsubscribe: owned(unsubscribe),
        }
    }

    #[test]
    fn the_broker_is_asked_for_what_nothing_covers() {
        let mut wanted = Wanted::default();
        let known = |filter: &str| filter == "net/info";
        for filter in ["a/b", "a/+", "c", "net/info"] {
            wanted.add(filter.to_owned());
        }
        assert_eq!(wanted.settle(known), changes(&["a/+", "c"], &[]));
        assert_eq!(wanted.settle(known), changes(&[], &[]));
        assert!(wanted.names("net/info") && !wanted.names("a/b") && !wanted.names("x"));
        wanted.add("#".to_owned());
        assert!(!wanted.names("net/info"), "it comes");
        assert_eq!(wanted.settle(known), changes(&["#"], &["a/+", "c"]));
        assert!(wanted.wants("x/y") && !wanted.wants("$SYS/x"));
        // who may not hear everything still hears the rest
        wanted.refuse("#".to_owned());
        assert!(wanted.names("net/info"));
        assert_eq!(wanted.settle(known), changes(&["a/+", "c"], &[]));
        wanted.remove("#");
        assert_eq!(wanted.settle(known), changes(&[], &["#"]));
        wanted.remove("a/+");
        assert_eq!(wanted.settle(known), changes(&["a/b"], &["a/+"]));
        assert!(wanted.wants("a/b") && wanted.wants("net/info") && !wanted.wants("x"));
    }
}
