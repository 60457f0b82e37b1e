//! What a refusal is called on the wire: the one table of the original's
//! error names. Programs look for these texts, and the command line shows
//! them, so class, quotes and words stay.
//!
//! `etype` and `info` are this server's addition: a short word and, where
//! there is more to know, a map.

use crate::event::{FileFault, NamedLink, Refused};
use crate::literal::repr::Text;
use crate::msgpack::{Fault, write};
use crate::path::{Path, RawPath};
use crate::text::repr;

/// The text of `error`.
#[must_use]
pub fn text(why: &Refused) -> String {
    match why {
        Refused::NoValue => client("Call 'delete_value' if you want to clear the value"),
        Refused::ValueGiven => client("A deleted entry can't have a value"),
        Refused::Prev { have, want, path } => {
            let have = match have {
                Some(have) => repr::of_encoded(have),
                None => repr::NOT_GIVEN.to_owned(),
            };
            client(&format!(
                "Data is {have} not {} at {}",
                repr::of_encoded(want),
                at(path)
            ))
        }
        Refused::Exists(path) => chain(&format!("Entry already exists at {}", at(path))),
        Refused::IsNew(path) => chain(&format!("Entry is new at {}", at(path))),
        Refused::ChainDiffers { have, want, path } => chain(&format!(
            "Chain is {} not {} for {}",
            links(have),
            links(std::slice::from_ref(want)),
            at(path)
        )),
        Refused::DeleteRoot => client("You can't delete the root node"),
        Refused::NoPath(path) => format!("KeyError(P({}))", quoted(&at(path))),
        Refused::NoNode(node) => format!("KeyError({})", quoted(node.as_str())),
        Refused::NoTick(tick) => format!("KeyError({})", tick.0),
        Refused::NullElement => class("ValueError", "Null path element"),
        Refused::Element(why) | Refused::BadValue(why) | Refused::Shape(why) => {
            class("ValueError", why)
        }
        Refused::PathTooLong => class("ValueError", "the path is too long"),
        Refused::NoData => class("ValueError", "This node can't have data."),
        Refused::AclNotText => class("ValueError", "ACL is not a string"),
        Refused::CannotAdd(name, entry) => class(
            "ValueError",
            &format!(
                "Cannot add {name} to <ActorRoot::n.{entry} =<class 'moat.util.impl.NotGiven'>>"
            ),
        ),
        Refused::NodeInUse(node, tick) => {
            class("ServerError", &format!("Node {node} has entry {}", tick.0))
        }
        Refused::Missing(field) => format!("AttributeError('{field}')"),
        Refused::WrongType(what) => class("TypeError", what),
        Refused::BothPayloads => "AssertionError()".to_owned(),
        Refused::EmptyTopic => class("IndexError", "tuple index out of range"),
        Refused::UnknownAction(action) => {
            class("ServerError", &format!("Unknown action: {action}"))
        }
        Refused::Busy => class("ServerError", "This number belongs to a running request"),
        Refused::Value(fault @ Fault::Utf8(_)) => class("UnicodeDecodeError", &fault.to_string()),
        Refused::Value(fault) => class("ValueError", &fault.to_string()),
        Refused::TooLarge(limit) => class(
            "ValueError",
            &format!("the value is larger than {limit} bytes"),
        ),
        Refused::TooMany(what) => class("RuntimeError", &format!("too many {what}")),
        Refused::Overflow => class("RuntimeError", "Aborted. Queue filled?"),
        Refused::Check(words) => client(words),
        Refused::CheckFailed(why) => class("RuntimeError", why),
        Refused::Access(letter, rule) => format!("ACLError({rule}, '{letter}')"),
        Refused::NotLocal => class(
            "PermissionError",
            "only a client on the server's own machine may have files written",
        ),
        Refused::File(fault) => file(fault),
        Refused::Log(why) => class("LogError", why),
        Refused::Exhausted => class("RuntimeError", "the counters of this node are used up"),
        Refused::Ending => class("RuntimeError", "the server ends"),
    }
}

/// The word of `etype`. The original's client knows `chain` and `conn`.
#[must_use]
pub const fn kind(why: &Refused) -> &'static str {
    match why {
        Refused::Exists(_) | Refused::IsNew(_) | Refused::ChainDiffers { .. } => "chain",
        Refused::Prev { .. } => "prev",
        Refused::NoPath(_) | Refused::NoNode(_) | Refused::NoTick(_) => "missing",
        Refused::NodeInUse(..) | Refused::Busy => "busy",
        Refused::UnknownAction(_) => "action",
        Refused::TooLarge(_) | Refused::TooMany(_) | Refused::PathTooLong => "limit",
        Refused::Overflow => "overflow",
        Refused::Check(_) => "check",
        Refused::CheckFailed(_) => "later",
        Refused::Access(..) | Refused::NotLocal => "access",
        Refused::File(_) | Refused::Log(_) => "log",
        Refused::Exhausted | Refused::Ending => "server",
        Refused::NoValue
        | Refused::ValueGiven
        | Refused::DeleteRoot
        | Refused::NullElement
        | Refused::Element(_)
        | Refused::BadValue(_)
        | Refused::Shape(_)
        | Refused::NoData
        | Refused::AclNotText
        | Refused::CannotAdd(..)
        | Refused::Missing(_)
        | Refused::WrongType(_)
        | Refused::BothPayloads
        | Refused::EmptyTopic
        | Refused::Value(_) => "request",
    }
}

/// The map of `info`, encoded, where there is more to know.
pub(super) fn info(why: &Refused) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut path = |name: &str, path: &RawPath, items: usize| {
        write::map(&mut out, items);
        write::str(&mut out, name);
        write::ext(
            &mut out,
            crate::msgpack::EXT_PATH,
            path.as_ref().bytes().len(),
        );
        out.extend_from_slice(path.as_ref().bytes());
    };
    match why {
        Refused::Exists(at) | Refused::IsNew(at) | Refused::NoPath(at) => path("path", at, 1),
        Refused::Prev { have, path: at, .. } => match have {
            None => path("path", at, 1),
            Some(have) => {
                path("path", at, 2);
                write::str(&mut out, "value");
                out.extend_from_slice(have);
            }
        },
        Refused::ChainDiffers { have, path: at, .. } => {
            path("path", at, 2);
            write::str(&mut out, "chain");
            write::array(&mut out, have.len());
            for link in have {
                write::array(&mut out, 2);
                write::str(&mut out, link.node.as_str());
                write::uint(&mut out, link.tick.0);
            }
        }
        Refused::File(fault) if !fault.path.is_empty() => {
            write::map(&mut out, 1);
            write::str(&mut out, "path");
            write::str(&mut out, &fault.path);
        }
        Refused::TooLarge(limit) => {
            write::map(&mut out, 1);
            write::str(&mut out, "limit");
            write::uint(&mut out, *limit as u64);
        }
        _ => return None,
    }
    Some(out)
}

/// A text in Python's quotes.
fn quoted(text: &str) -> String {
    Text(text).to_string()
}

fn class(name: &str, words: &str) -> String {
    format!("{name}({})", quoted(words))
}

/// What the original says of the system's errors; others are this server's.
fn file(fault: &FileFault) -> String {
    let Some(number) = fault.errno else {
        return class("LogError", &fault.to_string());
    };
    let name = match number {
        1 | 13 => "PermissionError",
        2 => "FileNotFoundError",
        17 => "FileExistsError",
        20 => "NotADirectoryError",
        21 => "IsADirectoryError",
        _ => "OSError",
    };
    format!("{name}({number}, {})", quoted(&fault.why))
}

fn client(words: &str) -> String {
    class("ClientError", words)
}

fn chain(words: &str) -> String {
    class("ClientChainError", words)
}

fn at(path: &RawPath) -> String {
    // a path that cannot be decoded was refused long before
    Path::decode(path.as_ref()).map_or_else(|_| ":?".to_owned(), |path| path.to_string())
}

/// All links, then the first tick: as the original shows a chain.
fn links(chain: &[NamedLink]) -> String {
    use std::fmt::Write;
    let mut text = String::from("<NodeEvent");
    for link in chain {
        let _ = write!(text, " {}:{}", link.node, link.tick.0);
    }
    if let Some(first) = chain.first() {
        let _ = write!(text, " ({},)", first.tick.0);
    }
    text.push('>');
    text
}
