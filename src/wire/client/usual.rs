//! The messages that a busy server gets: reading, setting and deleting one
//! entry, with no field but the common ones.
//!
//! They are found, checked and typed in one pass over their bytes. Whatever is
//! unusual about a message, be it incomplete, faulty or only rare, is no matter
//! of this file: then the answer is `None`, and the general way decides. What
//! both accept, they understand alike; a test compares them.

use crate::event::{Handle, Links, Request, Space, Target, Write};
use crate::msgpack;
use crate::path::{self, PathRef};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Get,
    Set,
    Delete,
}

/// A usual message.
#[derive(Debug, Clone, Copy)]
pub struct Usual<'a> {
    len: usize,
    seq: &'a [u8],
    action: Action,
    path: PathRef<'a>,
    value: Option<&'a [u8]>,
    links: Option<Links>,
}

impl<'a> Usual<'a> {
    /// Its length in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.len
    }

    /// The request's number.
    #[inline]
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.seq)
    }

    /// What it asks for.
    #[inline]
    #[must_use]
    pub fn request(&self) -> Request<'a> {
        if self.action == Action::Get {
            Request::Get {
                space: Space::User,
                target: Target::Path(self.path),
                links: self.links.unwrap_or(Links::None),
            }
        } else {
            Request::Write(Write {
                space: Space::User,
                path: self.path,
                value: self.value,
                links: self.links.unwrap_or(Links::Newest(1)),
                expect: None,
                prev: None,
                idem: false,
            })
        }
    }
}

/// The message that `bytes` begin with.
#[inline]
pub(super) fn read(bytes: &[u8]) -> Option<Usual<'_>> {
    let (marker, mut rest) = bytes.split_first()?;
    let fields = match marker {
        0x83..=0x85 => marker & 0xf,
        _ => return None,
    };
    let (mut seq, mut action, mut path) = (None, None, None);
    let (mut value, mut links) = (None, None);
    for _ in 0..fields {
        // each name is as long as its first byte says
        let item;
        match rest.first()? {
            0xa3 => {
                (item, rest) = number(rest.strip_prefix(b"\xa3seq")?)?;
                seq = Some(item);
            }
            0xa4 => {
                (item, rest) = elements(rest.strip_prefix(b"\xa4path")?)?;
                path = Some(PathRef::new(item));
            }
            0xa5 => {
                let after = rest.strip_prefix(b"\xa5value")?;
                (item, rest) = after.split_at_checked(msgpack::check_first(after).ok()?)?;
                value = Some(item);
            }
            0xa6 => match rest.strip_prefix(b"\xa6action") {
                Some(after) => {
                    let (found, after) = self::action(after)?;
                    (action, rest) = (Some(found), after);
                }
                None => {
                    let (found, after) = self::links(rest.strip_prefix(b"\xa6nchain")?)?;
                    (links, rest) = (Some(found), after);
                }
            },
            _ => return None,
        }
    }
    let action = action?;
    match (action, value) {
        (Action::Get, _) | (Action::Delete, None) => {}
        // "not given" as a value is rare
        (Action::Set, Some(value)) if !value.starts_with(&[0xd4]) => {}
        _ => return None,
    }
    Some(Usual {
        len: bytes.len() - rest.len(),
        seq: seq?,
        action,
        path: path?,
        value,
        links,
    })
}

/// A request's number in its shortest form; never 0, which may be a hello.
#[inline]
fn number(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = match *bytes {
        [0x01..=0x7f, ..] => 1,
        [0xcc, 0x80..=0xff, ..] => 2,
        [0xcd, 0x01..=0xff, ..] => 3,
        [0xce, a, b, ..] if a | b != 0 => 5,
        _ => return None,
    };
    bytes.split_at_checked(len)
}

/// The elements of a path, checked as such.
#[inline]
fn elements(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, after) = match bytes {
        [0xc7, len, 3, after @ ..] => (usize::from(*len), after),
        [0xd4, 3, after @ ..] => (1, after),
        [0xd5, 3, after @ ..] => (2, after),
        [0xd6, 3, after @ ..] => (4, after),
        [0xd7, 3, after @ ..] => (8, after),
        [0xd8, 3, after @ ..] => (16, after),
        _ => return None,
    };
    let (elements, after) = after.split_at_checked(len)?;
    path::check(PathRef::new(elements)).ok()?;
    Some((elements, after))
}

#[inline]
fn action(bytes: &[u8]) -> Option<(Action, &[u8])> {
    if let Some(after) = bytes.strip_prefix(b"\xa9get_value") {
        Some((Action::Get, after))
    } else if let Some(after) = bytes.strip_prefix(b"\xa9set_value") {
        Some((Action::Set, after))
    } else {
        let after = bytes.strip_prefix(b"\xacdelete_value")?;
        Some((Action::Delete, after))
    }
}

#[inline]
fn links(bytes: &[u8]) -> Option<(Links, &[u8])> {
    let (n, after) = bytes.split_first()?;
    let links = match n {
        0 => Links::None,
        1..=0x7f => Links::Newest(u32::from(*n)),
        0xe0.. => Links::All,
        _ => return None,
    };
    Some((links, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::client::{Inbox, Incoming};

    #[test]
    fn what_is_usual_is_read() {
        let usual: [&[u8]; 4] = [
            b"\x83\xa4path\xc7\x00\x03\xa6action\xa9get_value\xa3seq\x01",
            b"\x84\xa4path\xd6\x03\xa1a\xa1b\xa6nchain\x00\xa6action\xa9get_value\xa3seq\xcc\x80",
            b"\x84\xa4path\xd5\x03\xa1a\xa5value\x92\x01\x80\xa6action\xa9set_value\xa3seq\x01",
            b"\x83\xa3seq\xcd\x01\x00\xa6action\xacdelete_value\xa4path\xd5\x03\xa1a",
        ];
        for message in usual {
            let len = read(message).map(|usual| usual.size());
            assert_eq!(len, Some(message.len()), "{}", message.escape_ascii());
        }
    }

    fn field() -> impl Strategy<Value = Vec<u8>> {
        let fields: [&[u8]; 34] = [
            b"\xa3seq\x00",
            b"\xa3seq\x01",
            b"\xa3seq\xcc\x80",
            b"\xa3seq\xcc\x01",
            b"\xa3seq\xcd\x01\x00",
            b"\xa3seq\xce\x00\x01\x00\x00",
            b"\xa3seq\xce\x00\x00\x01\x00",
            b"\xa3seq\xff",
            b"\xd9\x03seq\x02",
            b"\xa4path\xd5\x03\xa1a",
            b"\xa4path\xd6\x03\xa1a\xa1b",
            b"\xa4path\xc7\x03\x03\xa2\xc3\xa4",
            b"\xa4path\xc7\x03\x03\xa2\xc3\xc3",
            b"\xa4path\xc7\x03\x03\xa1a\xa1",
            b"\xa4path\xc7\x05\x03\xca\x7f\xc0\x00\x00",
            b"\xa4path\xc7\x06\x06\xa1m\xa1a\xa1b",
            b"\xa4path\x91\xa1a",
            b"\xa4path\xa1a",
            b"\xa5value\xa1x",
            b"\xa5value\xa1\xff",
            b"\xa5value\xd4\x04_",
            b"\xa5value\x81\x80\x01",
            b"\xa5value\xc4\x02ab",
            b"\xa6action\xa9get_value",
            b"\xa6action\xa9set_value",
            b"\xa6action\xacdelete_value",
            b"\xa6action\xacget_internal",
            b"\xa6nchain\x00",
            b"\xa6nchain\x03",
            b"\xa6nchain\xff",
            b"\xa6nchain\xcd\x01\x00",
            b"\xa6nchain\xc0",
            b"\xa4idem\xc3",
            b"\xa5state\xa5start",
        ];
        prop::sample::select(fields.map(<[u8]>::to_vec).to_vec())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        /// What is read here is what the general way reads.
        #[test]
        fn the_general_way_agrees(
            fields in prop::collection::vec(field(), 2..6),
            more in 0..2u8,
            cut in prop::option::of(0..60usize),
        ) {
            let count = u8::try_from(fields.len()).unwrap() + more;
            let mut message = vec![0x80 | count];
            message.extend(fields.concat());
            message.truncate(cut.unwrap_or(message.len()));
            message.extend(b"\x80");
            if let Some(usual) = read(&message) {
                let general = Inbox::new(1000).next(&message);
                let request = Incoming::Request(usual.handle(), usual.request());
                prop_assert_eq!(general, Ok(Some((usual.size(), request))));
            }
        }
    }
}
