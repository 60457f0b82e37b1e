//! Printing values as YAML, to the letter as the original's printer does.
//!
//! [`print()`] is for a value on its own: a lone text, number or boolean has a
//! form of its own. [`block`] is always YAML. Lists stand at the column of
//! their key, keys are sorted if Python can compare them, long texts are
//! folded at column 80.
//!
//! Differs from the original where its output would not be read back as what
//! it was: line separators other than `\n`, and control characters in texts of
//! several lines, go into double quotes (but for `\r\n`, where the recorded
//! outputs have `|`); an empty list as a key stays on its line. No `...` ends
//! a document. Tags of our own, for what the original cannot print: `!R NAME`
//! for named objects (`!R _` is "not given"), `!ext CODE BASE64`.

mod order;
mod scalar;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::literal::repr;
use crate::msgpack::{EXT_PATH, EXT_PROXY};
use crate::value::Value;

use scalar::{Scalar, Tag};

/// Prints a value on its own, with a line end.
///
/// ```
/// use moat::text::yaml_out::print;
/// use moat::value::Value;
///
/// assert_eq!(print(&"Testing".into()), "\"Testing\"\n");
/// assert_eq!(print(&true.into()), "True\n");
/// assert_eq!(print(&Value::List(vec![1.into(), "on".into()])), "- 1\n- on\n");
/// ```
#[must_use]
pub fn print(value: &Value) -> String {
    let mut text = match value {
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Float(x) => repr::Float(*x).to_string(),
        Value::Str(text) => super::json::quoted(text),
        Value::Bytes(bytes) => repr::Bytes(bytes).to_string(),
        _ => return block(value),
    };
    text.push('\n');
    text
}

/// Prints a value as YAML, with a line end: for records and their parts.
///
/// ```
/// use moat::text::yaml_out::block;
/// use moat::value::Value;
///
/// assert_eq!(block(&Value::Map(vec![("a".into(), true.into())])), "a: true\n");
/// assert_eq!(block(&"12".into()), "'12'\n");
/// ```
#[must_use]
pub fn block(value: &Value) -> String {
    let mut printer = Printer::default();
    printer.value(value, 0, Place::Root);
    printer.fresh_line();
    printer.out
}

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is the document.
    Root,
    /// After a list's dash.
    Item,
    /// After a simple key and its colon.
    Field,
    /// After `?`, or the `:` on a line of its own.
    Complex,
}

/// What has been printed, and how wide the last line is.
#[derive(Default)]
struct Printer {
    out: String,
    column: usize,
}

impl Printer {
    /// Writes text without line breaks.
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column = self.column.saturating_add(text.chars().count());
    }

    fn newline(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    fn fresh_line(&mut self) {
        if self.column > 0 {
            self.newline();
        }
    }

    fn pad(&mut self, indent: usize) {
        for _ in 0..indent {
            self.out.push(' ');
        }
        self.column = self.column.saturating_add(indent);
    }

    /// Breaks the line within a text.
    fn fold(&mut self, indent: usize) {
        self.newline();
        self.pad(indent);
    }

    /// Begins an entry of a container at this indentation: on a line of its
    /// own, but for the first one after a dash, `?` or `:`.
    fn entry(&mut self, indent: usize, same_line: bool) {
        if same_line {
            self.put(" ");
        } else {
            self.fresh_line();
            self.pad(indent);
        }
    }

    /// Prints a value; `indent` is that of the container it is in.
    fn value(&mut self, value: &Value, indent: usize, place: Place) {
        match value {
            Value::List(items) if !items.is_empty() => {
                let indent = match place {
                    Place::Root | Place::Field => indent,
                    Place::Item | Place::Complex => indent.saturating_add(2),
                };
                let mut same_line = matches!(place, Place::Item | Place::Complex);
                for item in items {
                    self.entry(indent, same_line);
                    same_line = false;
                    self.put("-");
                    self.value(item, indent, Place::Item);
                }
            }
            Value::Map(pairs) if !pairs.is_empty() => {
                let indent = match place {
                    Place::Root => indent,
                    _ => indent.saturating_add(2),
                };
                let mut same_line = matches!(place, Place::Item | Place::Complex);
                for (key, value) in order::sorted(pairs) {
                    self.entry(indent, same_line);
                    same_line = false;
                    self.pair(key, value, indent);
                }
            }
            _ => {
                let indent = match place {
                    Place::Root => indent,
                    _ => indent.saturating_add(2),
                };
                self.scalar(&scalar(value), indent, place);
            }
        }
    }

    fn pair(&mut self, key: &Value, value: &Value, indent: usize) {
        let simple = match key {
            Value::List(items) if !items.is_empty() => None,
            Value::Map(pairs) if !pairs.is_empty() => None,
            _ => Some(scalar(key)).filter(Scalar::is_simple_key),
        };
        if let Some(key) = simple {
            self.key(&key);
            self.put(":");
            self.value(value, indent, Place::Field);
        } else {
            self.put("?");
            self.value(key, indent, Place::Complex);
            self.entry(indent, false);
            self.put(":");
            self.value(value, indent, Place::Complex);
        }
    }
}

fn scalar(value: &Value) -> Scalar<'_> {
    match value {
        Value::Nil => Scalar::plain("null", Tag::Null),
        Value::Bool(true) => Scalar::plain("true", Tag::Bool),
        Value::Bool(false) => Scalar::plain("false", Tag::Bool),
        Value::Int(n) => Scalar::plain(n.to_string(), Tag::Int),
        Value::Uint(n) => Scalar::plain(n.to_string(), Tag::Int),
        Value::Big(n) => Scalar::plain(n.to_string(), Tag::Int),
        Value::Float(x) if x.is_nan() => Scalar::plain(".nan", Tag::Float),
        Value::Float(x) if x.is_infinite() => {
            Scalar::plain(if *x > 0.0 { ".inf" } else { "-.inf" }, Tag::Float)
        }
        Value::Float(x) => Scalar::plain(repr::Float(*x).to_string(), Tag::Float),
        Value::Str(text) => Scalar::text(text),
        Value::Bytes(bytes) => binary(bytes),
        // only empty ones come here
        Value::List(_) => Scalar::plain("[]", Tag::List),
        Value::Map(_) => Scalar::plain("{}", Tag::Map),
        Value::Path(path) => match super::path_text(path) {
            Some(text) => Scalar::tagged(text, Tag::Named("!P")),
            None => extension(EXT_PATH, path.encode().as_ref().bytes()),
        },
        Value::NotGiven => Scalar::tagged("_", Tag::Named("!R")),
        Value::Ext(code, content) => match core::str::from_utf8(content) {
            Ok(name) if *code == EXT_PROXY => Scalar::tagged(name, Tag::Named("!R")),
            _ => extension(*code, content),
        },
    }
}

fn extension<'a>(code: i8, content: &[u8]) -> Scalar<'a> {
    let text = format!("{code} {}", BASE64.encode(content));
    Scalar::tagged(text, Tag::Named("!ext"))
}

/// ASCII as it is, a few other bytes in hex, many in base 64.
fn binary(bytes: &[u8]) -> Scalar<'_> {
    const SHORT: usize = 32;
    const LINE: usize = 57; // bytes, which make 76 characters
    if bytes.is_ascii()
        && let Ok(text) = core::str::from_utf8(bytes)
    {
        return Scalar::tagged(text, Tag::Named("!bin"));
    }
    if bytes.len() <= SHORT {
        let hex: Vec<_> = bytes.iter().map(|b| format!("{b:02x}")).collect();
        return Scalar::tagged(hex.join(":"), Tag::Named("!hex"));
    }
    let lines = bytes.chunks(LINE).map(|line| BASE64.encode(line) + "\n");
    Scalar::literal(lines.collect::<String>(), Tag::Named("!!binary"))
}
