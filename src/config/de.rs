//! From items to typed sections: a serde deserializer that knows where each
//! item was written and which keys a section has.
//!
//! The target decides how a scalar's text is read. An unknown key in one of
//! our sections is an error that names the nearest known one; `kv` and the
//! top level also hold the sections of other products, which are collected
//! for `-v` instead. Null says nothing, so the default stays.

use std::cell::RefCell;
use std::slice::Iter;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer as _,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};

use crate::literal::{self, Literal};

use super::fault::{Fault, did_you_mean};
use super::item::{Entry, Item, Kind, Origin, Style};

/// Reads a section. What is to be told at `-v` is added to `notes`.
pub(super) fn read<T: DeserializeOwned>(
    item: &Item,
    notes: &RefCell<Vec<String>>,
) -> Result<T, Fault> {
    T::deserialize(Reader { item, notes })
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    item: &'a Item,
    notes: &'a RefCell<Vec<String>>,
}

impl<'a> Reader<'a> {
    const fn of(self, item: &'a Item) -> Self {
        Self {
            item,
            notes: self.notes,
        }
    }

    fn placed<T>(self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|fault| fault.at(&self.item.origin))
    }

    /// The keys of a section, `fields`, or of a map with any keys.
    fn visit_entries<'de, V: Visitor<'de>>(
        self,
        entries: &[Entry],
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.placed(visitor.visit_map(Entries {
            reader: self,
            entries: entries.iter(),
            fields,
            current: None,
        }))
    }

    /// Refuses or notes a key that the section `name` doesn't have.
    fn unknown(self, name: &str, fields: &[&str], entry: &Entry) -> Result<(), Fault> {
        let key = &entry.key;
        // Sections of other products may stand at the top and in `kv`; who
        // types an option means one that exists.
        let open = match (name, &entry.origin) {
            ("Config", Origin::Option(_)) => key == "mqtt",
            ("Config" | "Kv", _) => !matches!(entry.origin, Origin::Option(_)),
            _ => false,
        };
        if open {
            let note = format!("{}: section {key} is not used", entry.origin);
            self.notes.borrow_mut().push(note);
            return Ok(());
        }
        let near = did_you_mean(key, fields.iter().copied());
        Err(Fault::new(format!("unknown key {key}{near}")).at(&entry.origin))
    }
}

fn not_a_section(found: Unexpected<'_>) -> Fault {
    Fault::invalid_type(found, &"a section of keys")
}

/// A scalar without quotes: a number, a boolean, or else text.
fn visit_plain<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, Fault> {
    match text {
        "true" | "True" | "TRUE" => return visitor.visit_bool(true),
        "false" | "False" | "FALSE" => return visitor.visit_bool(false),
        _ => {}
    }
    let number = text
        .starts_with(|c: char| "+-.0123456789".contains(c))
        .then(|| literal::eval(text).ok())
        .flatten();
    match number {
        Some(Literal::Int(n)) => match i64::try_from(n) {
            Ok(n) => visitor.visit_i64(n),
            Err(_) => Err(Fault::new("the number is too large")),
        },
        Some(Literal::Float(x)) => visitor.visit_f64(x),
        _ => visitor.visit_str(text),
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if let Some(item) = self.item.evaluated() {
            return self.of(&item).deserialize_any(visitor);
        }
        match &self.item.kind {
            Kind::Null => self.placed(visitor.visit_unit()),
            Kind::Scalar(text, Style::Text) => self.placed(visitor.visit_str(text)),
            Kind::Scalar(text, Style::Plain | Style::Typed) => {
                self.placed(visit_plain(text, visitor))
            }
            Kind::Bytes(bytes) => self.placed(visitor.visit_bytes(bytes)),
            Kind::List(items) => self.placed(visitor.visit_seq(Items {
                reader: self,
                items: items.iter(),
                index: 0,
            })),
            Kind::Map(entries) => self.visit_entries(entries, None, visitor),
        }
    }

    /// A scalar's text as it stands, without the quotes of an expression.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let evaluated = self.item.evaluated().map(|item| item.kind);
        match (&self.item.kind, &evaluated) {
            (Kind::Scalar(..), Some(Kind::Scalar(text, Style::Text)))
            | (Kind::Scalar(text, _), _) => self.placed(visitor.visit_str(text)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    /// Empty text, as in `-C conn.auth=`, means "none".
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let none = match &self.item.kind {
            Kind::Null => true,
            Kind::Scalar(text, Style::Typed) => {
                matches!(text.as_str(), "" | "None" | "null" | "~")
            }
            _ => false,
        };
        if none {
            self.placed(visitor.visit_none())
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if let Some(item) = self.item.evaluated() {
            return self.of(&item).deserialize_struct(name, fields, visitor);
        }
        match &self.item.kind {
            Kind::Null => self.visit_entries(&[], Some(fields), visitor),
            Kind::Map(entries) => {
                for entry in entries {
                    if !fields.contains(&entry.key.as_str()) {
                        self.unknown(name, fields, entry)?;
                    }
                }
                self.visit_entries(entries, Some(fields), visitor)
            }
            // Not left to serde, which takes a list as the fields in order.
            Kind::Scalar(text, _) => self.placed(Err(not_a_section(Unexpected::Str(text)))),
            Kind::List(_) => self.placed(Err(not_a_section(Unexpected::Seq))),
            Kind::Bytes(bytes) => self.placed(Err(not_a_section(Unexpected::Bytes(bytes)))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let Kind::Scalar(text, _) = &self.item.kind else {
            return self.deserialize_any(visitor);
        };
        self.placed(if variants.contains(&text.as_str()) {
            visitor.visit_enum(Name(text))
        } else {
            let near = did_you_mean(text, variants.iter().copied());
            let known = variants.join(", ");
            Err(Fault::new(format!("{text} is not one of {known}{near}")))
        })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier
    }
}

/// A map's entries; of a section, those it knows.
struct Entries<'a> {
    reader: Reader<'a>,
    entries: Iter<'a, Entry>,
    fields: Option<&'static [&'static str]>,
    /// The entry whose key was handed out last.
    current: Option<&'a Entry>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let fields = self.fields;
        self.current = self.entries.by_ref().find(|entry| {
            let known = fields.is_none_or(|fields| fields.contains(&entry.key.as_str()));
            known && !matches!(entry.item.kind, Kind::Null)
        });
        let Some(entry) = self.current else {
            return Ok(None);
        };
        let key: StrDeserializer<'_, Fault> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let entry = self
            .current
            .take()
            .expect("invariant: serde asks for a key first");
        seed.deserialize(self.reader.of(&entry.item))
            .map_err(|fault| fault.at(&entry.item.origin).below(&entry.key))
    }
}

/// The items of a list.
struct Items<'a> {
    reader: Reader<'a>,
    items: Iter<'a, Item>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some(item) = self.items.next() else {
            return Ok(None);
        };
        let index = self.index.to_string();
        self.index = self.index.saturating_add(1);
        seed.deserialize(self.reader.of(item))
            .map(Some)
            .map_err(|fault| fault.at(&item.origin).below(&index))
    }
}

/// The name of a variant that holds nothing.
struct Name<'a>(&'a str);

impl<'de> EnumAccess<'de> for Name<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let name: StrDeserializer<'_, Fault> = self.0.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Name<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value, Fault> {
        Err(Fault::new(format!("{} takes no value", self.0)))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, Fault> {
        Err(Fault::new(format!("{} takes no value", self.0)))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Fault> {
        Err(Fault::new(format!("{} takes no value", self.0)))
    }
}
