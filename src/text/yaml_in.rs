//! Reading values from YAML.
//!
//! One document, by the rules of YAML 1.2 as the original reads them,
//! with its tags `!P`, `!bin` and `!hex`, and ours (see
//! [`yaml_out`](super::yaml_out)). What would be read with another meaning
//! than its author had in mind is an error: unknown tags, equal keys, merge
//! keys, integers beyond what a value holds, a second document.
//!
//! Everything is bounded: the text, the number of values, nesting (within
//! brackets and braces at 255 levels, by the parser), and what aliases copy.
//! Reading is iterative.

pub(super) mod resolve;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use crate::msgpack::{self, MAX_DEPTH};
use crate::path::{ElemError, Path};
use crate::value::{Value, key_bytes};

/// Longest text that is read, in bytes.
pub const MAX_TEXT: usize = 100 << 20;
/// Most values in a text, keys and containers included.
pub const MAX_VALUES: usize = 4_000_000;
/// Most that anchors and aliases copy, in bytes of memory.
pub const MAX_COPIED: usize = 16 << 20;

/// Why a text is no value: where, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    /// The line, counted from 1
    pub line: usize,
    /// The column, counted from 1
    pub column: usize,
    /// What is wrong
    pub problem: String,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.problem
        )
    }
}

impl std::error::Error for YamlError {}

impl From<ScanError> for YamlError {
    fn from(error: ScanError) -> Self {
        at(error.marker(), error.info())
    }
}

fn at(marker: &Marker, problem: impl fmt::Display) -> YamlError {
    YamlError {
        line: marker.line(),
        column: marker.col().saturating_add(1),
        problem: problem.to_string(),
    }
}

/// Reads one document. An empty text is `null`.
///
/// ```
/// use moat::text::yaml_in::parse;
/// use moat::value::Value;
///
/// let value = parse("lamps: [1, 0x10]\nat: !P hall.lamp\n")?;
/// assert_eq!(value.field("at"), Some(&Value::Path("hall.lamp".parse()?)));
/// assert_eq!(value.field("lamps"), Some(&Value::List(vec![1.into(), 16.into()])));
///
/// let error = parse("a: 1\na: 2\n").unwrap_err();
/// assert_eq!(error.to_string(), "line 2, column 1: the key is there already");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// What is no YAML, or none that is read here; the first such place.
pub fn parse(text: &str) -> Result<Value, YamlError> {
    if text.len() > MAX_TEXT {
        let problem = format_args!("the text is longer than {MAX_TEXT} bytes");
        return Err(at(&Marker::new(0, 1, 0), problem));
    }
    let mut reader = Reader::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event?;
        reader.event(event, &span.start)?;
    }
    Ok(reader.document.unwrap_or(Value::Nil))
}

/// A container whose values are being read.
struct Open {
    anchor: usize,
    place: Marker,
    items: Items,
}

enum Items {
    List(Vec<Value>),
    Map {
        pairs: Vec<(Value, Value)>,
        /// The key whose value is next
        key: Option<Value>,
        seen: BTreeSet<Vec<u8>>,
    },
}

/// A value that aliases refer to.
struct Anchored {
    value: Value,
    /// Bytes of memory, roughly
    size: usize,
    depth: usize,
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    document: Option<Value>,
    values: usize,
    copied: usize,
}

impl Reader {
    fn event(&mut self, event: Event<'_>, place: &Marker) -> Result<(), YamlError> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.document.is_some() => {
                Err(at(place, "a second document"))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain;
                if is_plain && tag.is_none() && text == "<<" && self.expects_key() {
                    return Err(at(
                        place,
                        "merge keys (<<) are not read: write the items out",
                    ));
                }
                let value = scalar(text, is_plain, tag.as_deref()).map_err(|p| at(place, p))?;
                self.complete(value, anchor, place)
            }
            Event::SequenceStart(anchor, tag) => {
                container(tag.as_deref(), "seq").map_err(|p| at(place, p))?;
                self.open(anchor, Items::List(Vec::new()), place)
            }
            Event::MappingStart(anchor, tag) => {
                container(tag.as_deref(), "map").map_err(|p| at(place, p))?;
                let items = Items::Map {
                    pairs: Vec::new(),
                    key: None,
                    seen: BTreeSet::new(),
                };
                self.open(anchor, items, place)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else {
                    return Err(at(place, "an end without a beginning"));
                };
                let value = match open.items {
                    Items::List(items) => Value::List(items),
                    Items::Map { pairs, .. } => Value::Map(pairs),
                };
                self.complete(value, open.anchor, &open.place)
            }
            Event::Alias(anchor) => self.alias(anchor, place),
        }
    }

    fn expects_key(&self) -> bool {
        let items = self.open.last().map(|open| &open.items);
        matches!(items, Some(Items::Map { key: None, .. }))
    }

    fn open(&mut self, anchor: usize, items: Items, place: &Marker) -> Result<(), YamlError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(at(
                place,
                format_args!("nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        let place = *place;
        self.open.push(Open {
            anchor,
            place,
            items,
        });
        Ok(())
    }

    /// Takes a complete value, which has this anchor if it is not 0.
    fn complete(&mut self, value: Value, anchor: usize, place: &Marker) -> Result<(), YamlError> {
        if anchor != 0 {
            let (size, depth) = measure(&value);
            self.copy(size, place)?;
            let value = value.clone();
            self.anchors.insert(anchor, Anchored { value, size, depth });
        }
        self.add(value, place)
    }

    fn alias(&mut self, anchor: usize, place: &Marker) -> Result<(), YamlError> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(at(place, "the alias refers to what it is part of"));
        };
        if self.open.len().saturating_add(anchored.depth) > MAX_DEPTH {
            return Err(at(
                place,
                format_args!("nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        let size = anchored.size;
        self.copy(size, place)?;
        let value = self.anchors.get(&anchor).map(|a| a.value.clone());
        self.add(value.unwrap_or(Value::Nil), place)
    }

    /// Accounts for a copy.
    fn copy(&mut self, size: usize, place: &Marker) -> Result<(), YamlError> {
        self.copied = self.copied.saturating_add(size);
        if self.copied > MAX_COPIED {
            let problem = format_args!("aliases stand for more than {MAX_COPIED} bytes");
            return Err(at(place, problem));
        }
        Ok(())
    }

    /// Puts a value where it belongs.
    fn add(&mut self, value: Value, place: &Marker) -> Result<(), YamlError> {
        self.values = self.values.saturating_add(1);
        if self.values > MAX_VALUES {
            return Err(at(place, format_args!("more than {MAX_VALUES} values")));
        }
        let Some(open) = self.open.last_mut() else {
            self.document = Some(value);
            return Ok(());
        };
        match &mut open.items {
            Items::List(items) => items.push(value),
            Items::Map { pairs, key, seen } => match key.take() {
                Some(key) => pairs.push((key, value)),
                None => {
                    match key_bytes(&value.to_bytes()) {
                        Ok(bytes) => {
                            if !seen.insert(bytes) {
                                return Err(at(place, "the key is there already"));
                            }
                        }
                        // equals no other key
                        Err(ElemError::Nan) => {}
                        Err(ElemError::Map) => return Err(at(place, "a map as key of a map")),
                        Err(error @ ElemError::Encoding(_)) => return Err(at(place, error)),
                    }
                    *key = Some(value);
                }
            },
        }
        Ok(())
    }
}

/// Memory, roughly, and nesting of a value.
fn measure(value: &Value) -> (usize, usize) {
    let own = size_of::<Value>();
    let all = |items: &mut dyn Iterator<Item = &Value>| {
        let (size, depth) = items.map(measure).fold((own, 0), |(size, depth), item| {
            (size.saturating_add(item.0), depth.max(item.1))
        });
        (size, depth.saturating_add(1))
    };
    match value {
        Value::Str(text) => (own.saturating_add(text.len()), 0),
        Value::Bytes(bytes) | Value::Ext(_, bytes) => (own.saturating_add(bytes.len()), 0),
        Value::List(items) => all(&mut items.iter()),
        Value::Map(pairs) => all(&mut pairs.iter().flat_map(|(k, v)| [k, v])),
        Value::Path(path) => (own.saturating_add(path.encode().as_ref().bytes().len()), 0),
        _ => (own, 0),
    }
}

/// Whether a list or map may have this tag.
fn container(tag: Option<&Tag>, kind: &str) -> Result<(), String> {
    match tag {
        None => Ok(()),
        Some(tag) if name(tag) == Name::Core(kind) || name(tag) == Name::Own("") => Ok(()),
        Some(tag) => Err(unknown(tag)),
    }
}

/// A tag without what is before its name.
#[derive(PartialEq, Eq)]
enum Name<'a> {
    /// `!!str`
    Core(&'a str),
    /// `!P`
    Own(&'a str),
    Other,
}

fn name(tag: &Tag) -> Name<'_> {
    const CORE: &str = "tag:yaml.org,2002:";
    match (tag.handle.as_str(), tag.suffix.as_str()) {
        (CORE, name) => Name::Core(name),
        ("!", name) => Name::Own(name),
        ("", full) => match (full.strip_prefix(CORE), full.strip_prefix('!')) {
            (Some(name), _) => Name::Core(name),
            (None, Some(name)) => Name::Own(name),
            (None, None) => Name::Other,
        },
        _ => Name::Other,
    }
}

fn unknown(tag: &Tag) -> String {
    match name(tag) {
        Name::Core(name) => format!("the tag !!{name} is not read here"),
        Name::Own(name) => format!("the tag !{name} is not read here"),
        Name::Other => format!("the tag {}{} is not read here", tag.handle, tag.suffix),
    }
}

/// The value of a scalar.
fn scalar(text: Cow<'_, str>, is_plain: bool, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return match resolve::plain(&text) {
            Some(value) if is_plain => Ok(value),
            None if is_plain && resolve::is_beyond(&text) => {
                Err("an integer that no value holds".to_owned())
            }
            _ => Ok(Value::Str(text.into_owned())),
        };
    };
    let wrong = |what: &str| format!("this is no {what}");
    match name(tag) {
        Name::Core("str") | Name::Own("") => Ok(Value::Str(text.into_owned())),
        Name::Core("null") => match resolve::plain(&text) {
            Some(Value::Nil) => Ok(Value::Nil),
            _ => Err(wrong("null")),
        },
        Name::Core("bool") => match resolve::plain(&text) {
            Some(value @ Value::Bool(_)) => Ok(value),
            _ => Err(wrong("boolean")),
        },
        Name::Core("int") => resolve::int(&text).ok_or_else(|| wrong("integer")),
        Name::Core("float") => {
            let float = resolve::float(&text);
            let int = || resolve::int(&text).and_then(|n| n.to::<f64>().ok());
            float
                .or_else(int)
                .map(Value::Float)
                .ok_or_else(|| wrong("float"))
        }
        Name::Core("binary") => {
            let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
            let bytes = BASE64.decode(digits);
            bytes
                .map(Value::Bytes)
                .map_err(|_| wrong("text in base 64"))
        }
        Name::Own("P") => {
            let path: Result<Path, _> = text.parse();
            path.map(Value::Path)
                .map_err(|error| format!("!P: {error}"))
        }
        Name::Own("bin") if text.is_ascii() => Ok(Value::Bytes(text.into_owned().into_bytes())),
        Name::Own("bin") => Err(wrong("ASCII text: use !hex or !!binary")),
        Name::Own("hex") => hex(&text).ok_or_else(|| wrong("text in hex digits")),
        Name::Own("R") => extension(msgpack::EXT_PROXY, text.as_bytes()),
        Name::Own("ext") => {
            let parts = text.split_once(' ').and_then(|(code, content)| {
                Some((code.parse().ok()?, BASE64.decode(content).ok()?))
            });
            let (code, content) = parts.ok_or_else(|| wrong("code and text in base 64"))?;
            extension(code, &content)
        }
        _ => Err(unknown(tag)),
    }
}

fn extension(code: i8, content: &[u8]) -> Result<Value, String> {
    let mut encoded = Vec::new();
    msgpack::write::ext(&mut encoded, code, content.len());
    encoded.extend_from_slice(content);
    Value::decode(&encoded).map_err(|fault| fault.to_string())
}

/// Bytes in hex, with or without colons and blanks between.
fn hex(text: &str) -> Option<Value> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !matches!(c, ':' | ' ' | '\n'))
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    rest.is_empty().then_some(Value::Bytes(bytes))
}
