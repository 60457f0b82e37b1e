//! YAML files, read into items with line and column.
//!
//! The tags are the original's: `!P` a path, `!bin` and `!hex` bytes,
//! `!env NAME` the content of an environment variable. Size, depth and the
//! number of nodes, aliases included, are bounded.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::Environment;
use super::fault::Fault;
use super::item::{Entry, Item, Kind, MAX_DEPTH, Origin, Style};

/// Most nodes of one file, counting what aliases repeat.
const MAX_NODES: usize = 100_000;

/// Reads the one document of a file; an empty file says nothing.
pub(super) fn read(
    text: &str,
    file: &Arc<PathBuf>,
    environment: &Environment<'_>,
) -> Result<Item, Fault> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        file,
        environment,
        anchors: Vec::new(),
        nodes: 0,
    };
    let mut document = None;
    loop {
        let (event, origin) = reader.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            _ if document.is_some() => {
                return Err(Fault::new("a configuration is one document").at(&origin));
            }
            event => document = Some(reader.item(event, origin, 0)?),
        }
    }
    let start = Origin::File(Arc::clone(file), 1, 1);
    Ok(document.unwrap_or_else(|| Item::new(Kind::Null, start)))
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    file: &'a Arc<PathBuf>,
    environment: &'a Environment<'a>,
    /// Finished nodes that have an anchor, by the parser's number for it,
    /// with the number of nodes they hold.
    anchors: Vec<(usize, Item, usize)>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Origin), Fault> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, self.origin(span))),
            Some(Err(error)) => {
                let at = Span::empty(*error.marker());
                Err(Fault::new(format!("this is no YAML: {}", error.info())).at(&self.origin(at)))
            }
            None => Ok((Event::StreamEnd, Origin::File(Arc::clone(self.file), 1, 1))),
        }
    }

    fn origin(&self, span: Span) -> Origin {
        let column = span.start.col().saturating_add(1);
        Origin::File(Arc::clone(self.file), span.start.line(), column)
    }

    /// Reads the node that `event` begins.
    fn item(&mut self, event: Event<'a>, origin: Origin, depth: usize) -> Result<Item, Fault> {
        let before = self.nodes;
        self.count(1, &origin)?;
        if depth > MAX_DEPTH {
            let what = format!("nested deeper than {MAX_DEPTH}");
            return Err(Fault::new(what).at(&origin));
        }
        let depth = depth.saturating_add(1);
        let (kind, anchor) = match event {
            Event::Alias(number) => {
                let found = self.anchors.iter().find(|(n, ..)| *n == number);
                let Some((_, item, nodes)) = found.cloned() else {
                    return Err(Fault::new("an alias within what it names").at(&origin));
                };
                self.count(nodes, &origin)?;
                return Ok(item);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let kind = self
                    .scalar(&text, style, tag.as_deref())
                    .map_err(|fault| fault.at(&origin))?;
                (kind, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                no_tag(tag.as_deref(), "seq").map_err(|fault| fault.at(&origin))?;
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                no_tag(tag.as_deref(), "map").map_err(|fault| fault.at(&origin))?;
                (self.map(depth)?, anchor)
            }
            _ => return Err(Fault::new("this is no YAML").at(&origin)),
        };
        let item = Item::new(kind, origin);
        if anchor != 0 {
            let nodes = self.nodes.saturating_sub(before);
            self.anchors.push((anchor, item.clone(), nodes));
        }
        Ok(item)
    }

    fn count(&mut self, nodes: usize, origin: &Origin) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(Fault::new(format!("more than {MAX_NODES} items")).at(origin));
        }
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<Kind, Fault> {
        let mut items = Vec::new();
        loop {
            let (event, origin) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Kind::List(items));
            }
            items.push(self.item(event, origin, depth)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Kind, Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, origin) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Kind::Map(entries));
            }
            let key = match self.item(event, origin.clone(), depth)?.kind {
                Kind::Scalar(text, _) => text,
                Kind::Null => "null".to_owned(),
                Kind::Bytes(_) | Kind::List(_) | Kind::Map(_) => {
                    return Err(Fault::new("a key must be a text").at(&origin));
                }
            };
            if entries.iter().any(|e| e.key == key) {
                return Err(Fault::new(format!("{key} is there twice")).at(&origin));
            }
            let (event, value_origin) = self.next()?;
            let item = self.item(event, value_origin, depth)?;
            entries.push(Entry { key, origin, item });
        }
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Kind, Fault> {
        let plain = style == ScalarStyle::Plain;
        let text_kind = |style| Ok(Kind::Scalar(text.to_owned(), style));
        let Some(tag) = tag else {
            return match text {
                "" | "~" | "null" | "Null" | "NULL" if plain => Ok(Kind::Null),
                _ if plain => text_kind(Style::Plain),
                _ => text_kind(Style::Text),
            };
        };
        let core = tag.is_yaml_core_schema();
        match tag.suffix.as_str() {
            "P" if !core => text_kind(Style::Text),
            "bin" if !core => Ok(Kind::Bytes(text.as_bytes().to_vec())),
            "hex" if !core => hex(text).map(Kind::Bytes),
            "env" if !core => {
                let content = self.environment.get(text).ok_or_else(|| {
                    Fault::new(format!("the environment variable {text} is not set"))
                })?;
                Ok(Kind::Scalar(content, Style::Typed))
            }
            "str" if core => text_kind(Style::Text),
            "null" if core => Ok(Kind::Null),
            "bool" | "int" | "float" if core => text_kind(Style::Plain),
            "binary" if core => {
                let digits: String = text.split_whitespace().collect();
                let bytes = STANDARD.decode(digits);
                bytes
                    .map(Kind::Bytes)
                    .map_err(|error| Fault::new(format!("this is no base64: {error}")))
            }
            _ => Err(unknown_tag(tag)),
        }
    }
}

fn no_tag(tag: Option<&Tag>, own: &str) -> Result<(), Fault> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == own) => Err(unknown_tag(tag)),
        _ => Ok(()),
    }
}

fn unknown_tag(tag: &Tag) -> Fault {
    Fault::new(format!(
        "unknown tag {tag}; !P, !bin, !hex and !env are known"
    ))
}

/// `aa:bb` or `aabb`.
fn hex(text: &str) -> Result<Vec<u8>, Fault> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|b| *b != b':' && !b.is_ascii_whitespace())
        .collect();
    let nibble = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|n| u8::try_from(n).ok())
    };
    let pairs = digits.chunks(2).map(|pair| match *pair {
        [high, low] => Some((nibble(high)? << 4) | nibble(low)?),
        _ => None,
    });
    let bytes: Option<Vec<u8>> = pairs.collect();
    bytes.ok_or_else(|| Fault::new("these are no hex digits"))
}
