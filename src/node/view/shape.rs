//! What the original demands of entries among the internal data, so that
//! both kinds of nodes can live with them.

use crate::event::{Refused, Space};
use crate::msgpack::{self, EXT_PATH, Head, Reader};
use crate::path::{PathRef, RawPath};

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

/// Checks what would end the original's nodes, while some are in the
/// network: their types and codecs cannot be deleted, and a rule must name a
/// type that exists. `exists` tells whether an internal entry has a value.
pub(super) fn check_mixed(
    space: Space,
    path: PathRef<'_>,
    value: Option<&[u8]>,
    exists: impl FnOnce(PathRef<'_>) -> bool,
) -> Result<(), Refused> {
    let skip = usize::from(space == Space::User);
    if skip == 1 && path.bytes().first() != Some(&0xc0) {
        return Ok(());
    }
    let mut elements = path.elements().map_while(Result::ok).skip(skip);
    let first = elements.next().and_then(|e| Reader::new(e).text().ok()?);
    match (first, value) {
        (Some(kind @ ("codec" | "match" | "conv")), None) => Err(Refused::Shape(format!(
            "servers of the original are in this network, and would end if a '{kind}' entry is deleted"
        ))),
        (Some("match"), Some(value)) => {
            let mut of = RawPath::new();
            of.push_str("type");
            let named = named_path(value, "type", &mut of);
            if named && !exists(of.as_ref()) {
                return Err(Refused::Shape(
                    "servers of the original are in this network, and would end without this type"
                        .to_owned(),
                ));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Appends the path under `key` of a map to `out`; `false` if it is a text,
/// which only its reader understands.
fn named_path(value: &[u8], key: &str, out: &mut RawPath) -> bool {
    let mut reader = Reader::new(value);
    let Ok(Head::Map(_)) = reader.head() else {
        return false;
    };
    let named = msgpack::field(reader.rest(), key).map(PathRef::of);
    let Some(Ok(Some(path))) = named else {
        return false;
    };
    out.push(path.bytes());
    true
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

#[cfg(test)]
mod tests {
    use super::*;

    fn path(elements: &[&str]) -> RawPath {
        let mut path = RawPath::new();
        elements.iter().for_each(|e| path.push_str(e));
        path
    }

    #[test]
    fn beside_the_original_no_rule_goes_and_none_names_an_unknown_type() {
        let check = |elements: &[&str], value: Option<&[u8]>| {
            let exists = |of: PathRef<'_>| of == path(&["type", "int"]).as_ref();
            check_mixed(Space::Internal, path(elements).as_ref(), value, exists).is_ok()
        };
        for kind in ["codec", "match", "conv"] {
            assert!(!check(&[kind, "x"], None), "{kind}");
            assert!(check(&[kind, "x"], Some(b"\xc0")), "{kind}");
        }
        assert!(check(&["type", "x"], None));
        // {type: [int]} and {type: path of int}, then others
        assert!(check(&["match", "x"], Some(b"\x81\xa4type\x91\xa3int")));
        let as_path = b"\x81\xa4type\xd6\x03\xa3int";
        assert!(check(&["match", "x"], Some(as_path)));
        assert!(!check(&["match", "x"], Some(b"\x81\xa4type\x91\xa3str")));
        let outside = check_mixed(Space::User, path(&["codec"]).as_ref(), None, |_| false);
        assert_eq!(outside, Ok(()));
    }
}
