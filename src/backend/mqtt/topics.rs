//! Clients' topics: which are possible, and what a filter matches.

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
}
