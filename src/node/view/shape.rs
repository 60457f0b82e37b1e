//! What the original demands of entries among the internal data, so that
//! both kinds of nodes can live with them.

use crate::event::{Refused, Space};
use crate::msgpack::{EXT_PATH, Head, Reader};
use crate::path::PathRef;

/// Checks a write's value (`None`: a deletion) against its place.
#[inline]
pub(super) fn check(space: Space, path: PathRef<'_>, value: Option<&[u8]>) -> Result<(), Refused> {
    // `null` is one byte
    if space == Space::User && path.bytes().first() != Some(&0xc0) {
        return Ok(());
    }
    check_internal(path, usize::from(space == Space::User), value)
}

/// As [`check`]; the path below the internal data begins behind `skip`
/// elements.
fn check_internal(path: PathRef<'_>, skip: usize, value: Option<&[u8]>) -> Result<(), Refused> {
    let mut elements = path.elements().map_while(Result::ok).skip(skip);
    let text = |e: &[u8]| Reader::new(e).text().ok().flatten().map(str::to_owned);
    let Some(first) = elements.next().and_then(text) else {
        return Ok(());
    };
    let second = elements.next();
    let third = elements.next();
    match (first.as_str(), second, value) {
        ("type" | "match" | "codec" | "conv" | "acl", None, _) => Err(Refused::NoData),
        ("conv", Some(_), _) if third.is_none() => Err(Refused::NoData),
        ("acl", Some(_), Some(value)) => match Reader::new(value).head() {
            Ok(Head::Str(_)) => Ok(()),
            _ => Err(Refused::AclNotText),
        },
        ("match", Some(_), Some(value)) => has_path(value, "type"),
        ("conv", Some(_), Some(value)) => has_path(value, "codec"),
        ("actor", None, Some(_)) => Ok(()),
        ("actor", Some(name), _) => {
            let name = text(name).unwrap_or_default();
            if name != "del" {
                Err(Refused::CannotAdd(name, "actor".to_owned()))
            } else if third.is_some() {
                Err(Refused::CannotAdd(String::new(), "actor.del".to_owned()))
            } else if value.is_some_and(|v| !matches!(Reader::new(v).head(), Ok(Head::Map(_)))) {
                Err(Refused::Shape(
                    "a map with 'nodes' is needed here".to_owned(),
                ))
            } else {
                Ok(())
            }
        }
        _ => Ok(()),
    }
}

/// Rules name what they apply: a map with a path, or its text, under
/// `key`.
fn has_path(value: &[u8], key: &'static str) -> Result<(), Refused> {
    let wrong = || Refused::Shape(format!("a map with '{key}' is needed here"));
    let mut reader = Reader::new(value);
    let Ok(Head::Map(n)) = reader.head() else {
        return Err(wrong());
    };
    for _ in 0..n {
        let name = reader.object().map_err(Refused::Value)?;
        let item = reader.object().map_err(Refused::Value)?;
        if Reader::new(name).text() == Ok(Some(key)) {
            return match Reader::new(item).head() {
                Ok(Head::Str(_) | Head::Array(_) | Head::Ext(EXT_PATH, _)) => Ok(()),
                _ => Err(wrong()),
            };
        }
    }
    Err(wrong())
}
