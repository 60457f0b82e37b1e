//! Values as JSON, for other programs.
//!
//! What JSON has is written as JSON; everything else as a map of one key that
//! begins with `$`:
//!
//! | value | JSON |
//! |---|---|
//! | path | `{"$path": "a.b"}` |
//! | bytes | `{"$bin": "AAE="}`, base 64 |
//! | map whose keys are not all texts | `{"$map": [[KEY, VALUE], …]}` |
//! | float that is no number | `{"$float": "nan"}`, `inf`, `-inf` |
//! | integer from 2^64 on | `{"$big": "18446744073709551616"}` |
//! | other extensions | `{"$ext": [7, "CQ=="]}`, code and content; "not given" is `[4, "Xw=="]` |
//! | map with a text key that begins with `$` | `{"$lit": {"$key": …}}` |
//!
//! This mapping is stable, and reading is the inverse of writing. Floats
//! always have a point or an exponent. Nesting is read up to 127 levels of
//! JSON; what is beyond is refused.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use num_bigint::BigInt;
use serde_json::Value as Json;

use crate::literal::repr;
use crate::msgpack::{self, EXT_PATH, EXT_PROXY, Fault};
use crate::path::ParseError;
use crate::value::Value;

/// Why a text is no value. The messages are complete: there is no source
/// below them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// It is no JSON.
    #[error("not JSON: {0}")]
    Syntax(serde_json::Error),
    /// A key that begins with `$`, and is none of ours or not alone.
    #[error("{0:?} stands for nothing: a map with such a key goes into {{\"$lit\": …}}")]
    Key(String),
    /// What stands below one of our keys is not what it must be.
    #[error("{key}: expected {expected}")]
    Content {
        /// The key
        key: &'static str,
        /// What stands below it
        expected: &'static str,
    },
    /// A path that cannot be read.
    #[error("$path: {0}")]
    Path(ParseError),
    /// An extension or a map that is broken or refused.
    #[error("{key}: {fault}")]
    Refused {
        /// The key
        key: &'static str,
        /// What is wrong
        fault: Fault,
    },
}

/// A value on one line, without a line end.
///
/// ```
/// use moat::text::json;
/// use moat::value::Value;
///
/// let value = Value::Path("a.b".parse()?);
/// assert_eq!(json::line(&value), r#"{"$path":"a.b"}"#);
/// assert_eq!(json::parse(&json::line(&value))?, value);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn line(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut Layout::Line, &mut out);
    out
}

/// A value on several lines, indented by two, without a line end.
#[must_use]
pub fn pretty(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut Layout::Pretty { indent: 0 }, &mut out);
    out
}

/// A text in double quotes, with JSON's escapes for all that is not
/// printable.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    write_str(text, &mut out);
    out
}

/// Reads one value.
///
/// # Errors
/// What is no JSON, or breaks the rules for keys that begin with `$`.
pub fn parse(text: &str) -> Result<Value, JsonError> {
    value(serde_json::from_str(text).map_err(JsonError::Syntax)?)
}

/// Where lines end.
enum Layout {
    Line,
    Pretty { indent: usize },
}

impl Layout {
    fn colon(&self) -> &'static str {
        match self {
            Self::Line => ":",
            Self::Pretty { .. } => ": ",
        }
    }

    fn open(&mut self, bracket: char, out: &mut String) {
        out.push(bracket);
        if let Self::Pretty { indent } = self {
            *indent = indent.saturating_add(2);
        }
    }

    /// Begins an item.
    fn item(&self, i: usize, out: &mut String) {
        if i > 0 {
            out.push(',');
        }
        self.line_end(out);
    }

    fn close(&mut self, items: usize, bracket: char, out: &mut String) {
        if let Self::Pretty { indent } = self {
            *indent = indent.saturating_sub(2);
        }
        if items > 0 {
            self.line_end(out);
        }
        out.push(bracket);
    }

    fn line_end(&self, out: &mut String) {
        if let Self::Pretty { indent } = self {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', *indent));
        }
    }
}

fn write(value: &Value, layout: &mut Layout, out: &mut String) {
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(n) => put(out, n),
        Value::Uint(n) => put(out, n),
        Value::Big(n) => marked("$big", &n.to_string(), layout, out),
        Value::Float(x) if x.is_finite() => put(out, repr::Float(*x)),
        Value::Float(x) => marked("$float", &repr::Float(*x).to_string(), layout, out),
        Value::Str(text) => write_str(text, out),
        Value::Bytes(bytes) => marked("$bin", &BASE64.encode(bytes), layout, out),
        Value::List(items) => {
            layout.open('[', out);
            for (i, item) in items.iter().enumerate() {
                layout.item(i, out);
                write(item, layout, out);
            }
            layout.close(items.len(), ']', out);
        }
        Value::Map(pairs) => map(pairs, layout, out),
        Value::Path(path) => match super::path_text(path) {
            Some(text) => marked("$path", &text, layout, out),
            None => extension(EXT_PATH, path.encode().as_ref().bytes(), layout, out),
        },
        Value::NotGiven => extension(EXT_PROXY, b"_", layout, out),
        Value::Ext(code, content) => extension(*code, content, layout, out),
    }
}

fn put(out: &mut String, number: impl std::fmt::Display) {
    // writing to a text cannot fail
    let _ = write!(out, "{number}");
}

fn map(pairs: &[(Value, Value)], layout: &mut Layout, out: &mut String) {
    let texts = || pairs.iter().map(|(key, _)| key.as_str());
    if texts().any(|key| key.is_none()) {
        wrap("$map", layout, out, |layout, out| {
            layout.open('[', out);
            for (i, (key, value)) in pairs.iter().enumerate() {
                layout.item(i, out);
                layout.open('[', out);
                layout.item(0, out);
                write(key, layout, out);
                layout.item(1, out);
                write(value, layout, out);
                layout.close(2, ']', out);
            }
            layout.close(pairs.len(), ']', out);
        });
    } else if texts().flatten().any(|key| key.starts_with('$')) {
        wrap("$lit", layout, out, |layout, out| {
            fields(pairs, layout, out)
        });
    } else {
        fields(pairs, layout, out);
    }
}

fn fields(pairs: &[(Value, Value)], layout: &mut Layout, out: &mut String) {
    layout.open('{', out);
    for (i, (key, value)) in pairs.iter().enumerate() {
        layout.item(i, out);
        write_str(key.as_str().unwrap_or_default(), out);
        out.push_str(layout.colon());
        write(value, layout, out);
    }
    layout.close(pairs.len(), '}', out);
}

/// Writes a map of one key.
fn wrap(
    key: &str,
    layout: &mut Layout,
    out: &mut String,
    content: impl FnOnce(&mut Layout, &mut String),
) {
    layout.open('{', out);
    layout.item(0, out);
    write_str(key, out);
    out.push_str(layout.colon());
    content(layout, out);
    layout.close(1, '}', out);
}

/// Writes a map of one key and a text, on one line.
fn marked(key: &str, text: &str, layout: &Layout, out: &mut String) {
    out.push('{');
    write_str(key, out);
    out.push_str(layout.colon());
    write_str(text, out);
    out.push('}');
}

fn extension(code: i8, content: &[u8], layout: &Layout, out: &mut String) {
    let content = BASE64.encode(content);
    out.push_str("{\"$ext\"");
    out.push_str(layout.colon());
    put(out, format_args!("[{code},\"{content}\"]"));
    out.push('}');
}

fn write_str(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            c if repr::printable(c) => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    put(out, format_args!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
}

// The parser has bounded the nesting.
fn value(json: Json) -> Result<Value, JsonError> {
    Ok(match json {
        Json::Null => Value::Nil,
        Json::Bool(b) => Value::Bool(b),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => Value::Int(n),
            (None, Some(n)) => Value::Uint(n),
            // a float, in this set-up of the parser
            (None, None) => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Str(text),
        Json::Array(items) => list(items)?,
        Json::Object(mut fields) => {
            let ours = fields.keys().find(|key| key.starts_with('$')).cloned();
            match ours {
                None => literal(fields)?,
                Some(key) if fields.len() > 1 => return Err(JsonError::Key(key)),
                Some(key) => {
                    let content = fields.remove(&key).unwrap_or_default();
                    special(key, content)?
                }
            }
        }
    })
}

fn list(items: Vec<Json>) -> Result<Value, JsonError> {
    Ok(Value::List(
        items.into_iter().map(value).collect::<Result<_, _>>()?,
    ))
}

fn literal(fields: serde_json::Map<String, Json>) -> Result<Value, JsonError> {
    let pair = |(key, json)| Ok((Value::Str(key), value(json)?));
    let pairs = fields.into_iter().map(pair);
    Ok(Value::Map(pairs.collect::<Result<_, JsonError>>()?))
}

fn special(key: String, content: Json) -> Result<Value, JsonError> {
    let no = |key, expected| JsonError::Content { key, expected };
    Ok(match (key.as_str(), content) {
        ("$path", Json::String(text)) => Value::Path(text.parse().map_err(JsonError::Path)?),
        ("$path", _) => return Err(no("$path", "a text")),
        ("$bin", content) => {
            Value::Bytes(base64(&content).ok_or_else(|| no("$bin", "a text in base 64"))?)
        }
        ("$float", Json::String(text)) if text == "nan" => f64::NAN.into(),
        ("$float", Json::String(text)) if text == "inf" => f64::INFINITY.into(),
        ("$float", Json::String(text)) if text == "-inf" => f64::NEG_INFINITY.into(),
        ("$float", _) => return Err(no("$float", "\"nan\", \"inf\" or \"-inf\"")),
        ("$big", content) => {
            // 4,096 bits are 1,234 digits
            let digits = content.as_str().filter(|text| text.len() <= 1300);
            let n = digits.and_then(|text| text.parse::<BigInt>().ok());
            let value = n.and_then(|n| Value::try_from(n).ok());
            value.ok_or_else(|| no("$big", "an integer of at most 4096 bits, as a text"))?
        }
        ("$ext", content) => {
            let expected = || no("$ext", "[CODE, \"content in base 64\"]");
            let Json::Array(parts) = content else {
                return Err(expected());
            };
            let [code, content] = parts.as_slice() else {
                return Err(expected());
            };
            let code = code.as_i64().and_then(|code| i8::try_from(code).ok());
            let code = code.ok_or_else(expected)?;
            let content = base64(content).ok_or_else(expected)?;
            let mut encoded = Vec::new();
            msgpack::write::ext(&mut encoded, code, content.len());
            encoded.extend(content);
            checked("$ext", &encoded)?
        }
        ("$lit", Json::Object(fields)) => literal(fields)?,
        ("$lit", _) => return Err(no("$lit", "a map")),
        ("$map", Json::Array(pairs)) => {
            let pair = |pair| match pair {
                Json::Array(pair) => match <[Json; 2]>::try_from(pair) {
                    Ok([key, json]) => Ok((value(key)?, value(json)?)),
                    Err(_) => Err(no("$map", "pairs of key and value")),
                },
                _ => Err(no("$map", "pairs of key and value")),
            };
            let map = Value::Map(pairs.into_iter().map(pair).collect::<Result<_, _>>()?);
            // so that keys are checked, and of equal ones the last wins
            checked("$map", &map.to_bytes())?
        }
        ("$map", _) => return Err(no("$map", "pairs of key and value")),
        _ => return Err(JsonError::Key(key)),
    })
}

fn checked(key: &'static str, encoded: &[u8]) -> Result<Value, JsonError> {
    Value::decode(encoded).map_err(|fault| JsonError::Refused { key, fault })
}

fn base64(json: &Json) -> Option<Vec<u8>> {
    BASE64.decode(json.as_str()?).ok()
}
