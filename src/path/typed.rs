//! Paths in typed messages, by serde: in msgpack the extension, in formats
//! for people the text form. Lists of elements are not read: how each of
//! their elements is written, serde does not tell.

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Path, PathRef};
use crate::msgpack::EXT_PATH;

struct Bytes<B>(B);

impl Serialize for Bytes<&[u8]> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes<Vec<u8>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Content;
        impl Visitor<'_> for Content {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the content of an extension")
            }

            fn visit_bytes<E>(self, content: &[u8]) -> Result<Vec<u8>, E> {
                Ok(content.to_vec())
            }
        }
        deserializer.deserialize_bytes(Content).map(Self)
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        let encoded = self.encode();
        let ext = (EXT_PATH, Bytes(encoded.as_ref().bytes()));
        serializer.serialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, &ext)
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PathVisitor;
        impl<'de> Visitor<'de> for PathVisitor {
            type Value = Path;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a path")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Path, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, ext: D) -> Result<Path, D::Error> {
                ext.deserialize_tuple(2, self)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut ext: A) -> Result<Path, A::Error> {
                let code: Option<i8> = ext.next_element()?;
                if code != Some(EXT_PATH) {
                    return Err(A::Error::custom("an extension that is no path"));
                }
                let content: Option<Bytes<Vec<u8>>> = ext.next_element()?;
                let Some(Bytes(content)) = content else {
                    return Err(A::Error::missing_field("content"));
                };
                Path::decode(PathRef::new(&content)).map_err(A::Error::custom)
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(PathVisitor)
        } else {
            let name = rmp_serde::MSGPACK_EXT_STRUCT_NAME;
            deserializer.deserialize_newtype_struct(name, PathVisitor)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_the_extension() {
        for (text, encoded) in [
            (":", &b"\xc7\x00\x03"[..]),
            ("a", b"\xd5\x03\xa1a"),
            ("a:1", b"\xc7\x03\x03\xa1a\x01"),
        ] {
            let path: Path = text.parse().unwrap();
            assert_eq!(rmp_serde::to_vec(&path).unwrap(), encoded);
            assert_eq!(rmp_serde::from_slice::<Path>(encoded).unwrap(), path);
            assert_eq!(rmp_serde::from_read::<_, Path>(encoded).unwrap(), path);
        }
        for broken in [
            &b"\xd5\x02\xa1a"[..],
            b"\xd5\x03\xa2a",
            b"\xa1a",
            b"\x91\xa1a",
            b"",
        ] {
            assert!(
                rmp_serde::from_slice::<Path>(broken).is_err(),
                "{broken:02x?}"
            );
        }
    }

    #[test]
    fn people_read_the_text() {
        let path: Path = "a:1".parse().unwrap();
        assert_eq!(serde_json::to_string(&path).unwrap(), "\"a:1\"");
        assert_eq!(serde_json::from_str::<Path>("\"a:1\"").unwrap(), path);
        assert!(serde_json::from_str::<Path>("\"a:\"").is_err());
    }
}
