//! Completing paths: what a server has below the path that is being typed.
//!
//! Quick and quiet: a server that does not answer at once completes nothing.

use std::time::Duration;

use crate::client::{Client, Options};
use crate::event::Depths;
use crate::path::{Path, PathElem};

use super::context::Context;

/// Time that a person at a shell waits.
const LIMIT: Duration = Duration::from_millis(800);
/// Names that are offered at most.
const MOST: usize = 1000;

/// The paths that begin with `typed`.
pub(super) fn children(ctx: &Context, typed: &str) -> Vec<String> {
    let Ok(server) = ctx.server() else {
        return Vec::new();
    };
    super::block_on(async {
        let found = tokio::time::timeout(LIMIT, ask(server, typed));
        Ok(found.await.ok().flatten().unwrap_or_default())
    })
    .unwrap_or_default()
}

async fn ask(options: Options, typed: &str) -> Option<Vec<String>> {
    let base = base(typed);
    let client = Client::connect(options).await.ok()?;
    let level = Depths { min: 1, max: 1 };
    let mut tree = client.tree(&base).depths(level).empty().await.ok()?;
    let mut found = Vec::new();
    while let Some(Ok(entry)) = tree.next().await {
        let internal = base.is_empty() && entry.path.first() == Some(&PathElem::Nil);
        let path = base.join(&entry.path).to_string();
        if !internal && path.starts_with(typed) {
            found.push(path);
        }
        if found.len() >= MOST {
            break;
        }
    }
    Some(found)
}

/// The path that what is typed goes on from: all before the last separator.
fn base(typed: &str) -> Path {
    let bytes = typed.as_bytes();
    let is_separator = |at: usize| match bytes.get(at) {
        Some(b'.') => at.checked_sub(1).and_then(|before| bytes.get(before)) != Some(&b':'),
        Some(b':') => !matches!(bytes.get(at.saturating_add(1)), Some(b'.' | b':' | b'_')),
        _ => false,
    };
    let separators = (0..bytes.len()).rev().filter(|at| is_separator(*at));
    separators
        .filter_map(|at| typed.get(..at)?.parse().ok())
        .next()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completion_goes_on_from_the_last_separator() {
        for (typed, want) in [
            ("", ":"),
            ("o", ":"),
            (":", ":"),
            ("one.", "one"),
            ("one.tw", "one"),
            ("one.two.th", "one.two"),
            ("one:", "one"),
            ("one:1", "one"),
            ("sp:_a", ":"),
            ("a.b:.c", "a"),
        ] {
            assert_eq!(base(typed), want.parse().unwrap(), "{typed}");
        }
    }
}
