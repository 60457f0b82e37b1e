//! Printing values: YAML as the tutorial shows it, or JSON.

use crate::client::Message;
use crate::path::{Path, PathElem};
use crate::text::{json, repr, yaml_out};
use crate::value::Value;

use super::context::Context;
use super::exit::CliError;

impl Context {
    /// Prints a value on its own.
    pub(crate) fn show(&self, value: &Value) -> Result<(), CliError> {
        if self.json {
            self.out.line(&json::line(value))
        } else {
            self.out.text(&yaml_out::print(value))
        }
    }

    /// Prints one of several records.
    pub(crate) fn show_record(&self, record: &Value) -> Result<(), CliError> {
        if self.json {
            self.out.line(&json::line(record))
        } else {
            self.out.text(&yaml_out::block(record))?;
            self.out.line("---")
        }
    }

    /// Prints an item of a list.
    pub(crate) fn show_item(&self, item: Value) -> Result<(), CliError> {
        if self.json {
            self.out.line(&json::line(&item))
        } else {
            self.out.text(&yaml_out::block(&Value::List(vec![item])))
        }
    }

    /// Prints a whole reply, with the fields that the protocol adds.
    pub(crate) fn show_reply(&self, reply: &Message) -> Result<(), CliError> {
        self.show(&decode_reply(reply)?)
    }

    /// Prints a value as it is: texts and bytes without quotes and line end,
    /// others as Python writes them.
    pub(crate) fn show_raw(&self, value: &Value) -> Result<(), CliError> {
        match value {
            Value::Bytes(bytes) => self.out.bytes(bytes),
            value => self.out.text(&plain(value)),
        }
    }
}

/// A value in running text: a text without quotes, others as Python's `str`
/// writes them.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Str(text) => text.clone(),
        Value::Path(path) => path.to_string(),
        value => repr::of_value(value),
    }
}

/// Decodes what the server has sent.
pub(super) fn decode(encoded: &[u8]) -> Result<Value, CliError> {
    Value::decode(encoded)
        .map_err(|fault| crate::client::Error::Value(fault.to_string()))
        .map_err(CliError::from)
}

/// Decodes a whole reply; what the protocol adds stands last.
pub(super) fn decode_reply(reply: &Message) -> Result<Value, CliError> {
    let mut reply = decode(reply.bytes())?;
    if let Value::Map(fields) = &mut reply {
        let added = |key: &Value| match key.as_str() {
            Some("tock") => 1,
            Some("seq") => 2,
            _ => 0,
        };
        fields.sort_by_key(|(key, _)| added(key));
    }
    Ok(reply)
}

/// A name as a key of a map.
pub(super) fn key(elem: &PathElem) -> Value {
    match elem {
        PathElem::Nil => Value::Nil,
        PathElem::Bool(b) => (*b).into(),
        PathElem::Int(n) => (*n).into(),
        PathElem::Uint(n) => (*n).into(),
        PathElem::Big(n) => n.clone().into(),
        PathElem::Float(x) => (*x).into(),
        PathElem::Str(text) => text.as_str().into(),
        PathElem::Bytes(bytes) => bytes.to_vec().into(),
        PathElem::Tuple(items) => Value::List(items.iter().map(key).collect()),
        PathElem::Path(path) => Value::List(path.iter().map(key).collect()),
        PathElem::Ext(code, content) => Value::Ext(*code, content.to_vec()),
    }
}

/// A map with text keys.
pub(super) fn map<'a>(pairs: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let pairs = pairs.into_iter();
    Value::Map(pairs.map(|(key, value)| (key.into(), value)).collect())
}

impl Context {
    /// A path within a record: JSON has its text, which other programs find
    /// easier to use.
    pub(super) fn path_field(&self, path: Path) -> Value {
        if self.json {
            path.to_string().into()
        } else {
            path.into()
        }
    }

    /// An entry as an item: in YAML a map from its path, in JSON a record of
    /// the form that `data update` reads.
    pub(super) fn item(&self, path: Path, shown: Shown) -> Value {
        if !self.json {
            let content = match shown {
                Shown::Value(value) => value,
                Shown::Fields(fields) => Value::Map(fields),
            };
            return Value::Map(vec![(path.into(), content)]);
        }
        let mut record = vec![("path".into(), self.path_field(path))];
        match shown {
            Shown::Value(value) => record.push(("value".into(), value)),
            Shown::Fields(fields) => record.extend(fields),
        }
        Value::Map(record)
    }
}

/// What is shown of an entry.
pub(super) enum Shown {
    /// Its value
    Value(Value),
    /// All that is known of it
    Fields(Vec<(Value, Value)>),
}
