//! Where `data update` gets its changes from.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};

use crate::cli::data::unreadable;
use crate::cli::exit::CliError;
use crate::msgpack::{EXT_PATH, Head, Reader, Walker};
use crate::path::{Path, PathElem, PathRef};
use crate::text::{json, yaml_in};
use crate::value::{Raw, Value};

/// Longest record, line or nested map, in bytes.
const MAX_RECORD: usize = 100 << 20;
/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// One entry's new value; without it the entry is deleted.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) path: Path,
    pub(super) value: Option<Raw>,
}

/// A file or pipe of changes.
pub(super) struct Source {
    name: String,
    input: BufReader<Box<dyn Read>>,
    form: Form,
    position: u64,
    size: Option<u64>,
    /// Number of the record or line
    number: u64,
}

enum Form {
    Records(Records),
    Lines,
    /// Changes of a nested map, last one first
    Nested(Vec<Change>),
}

impl Source {
    /// Opens a file and finds out what it is. `own` is the key at which a
    /// nested map has an entry's own value.
    pub(super) fn open(name: &str, own: Option<&str>) -> Result<Self, CliError> {
        let (input, size): (Box<dyn Read>, _) = if name == "-" {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(name).map_err(|error| unreadable(name, &error))?;
            let size = file
                .metadata()
                .ok()
                .filter(|m| m.is_file())
                .map(|m| m.len());
            (Box::new(file), size)
        };
        let mut source = Self {
            name: name.to_owned(),
            input: BufReader::with_capacity(CHUNK, input),
            form: Form::Lines,
            position: 0,
            size,
            number: 0,
        };
        let first = source.input.fill_buf();
        let first = first.map_err(|error| unreadable(name, &error))?.first();
        let is_record = matches!(first, Some(0x80..=0x8f | 0xde | 0xdf));
        source.form = match (is_record, own) {
            (true, None) => Form::Records(Records::default()),
            (true, Some(_)) => {
                let what = "is no nested map but records";
                return Err(anyhow::anyhow!("{name} {what}: leave -d out").into());
            }
            (false, None) => Form::Lines,
            (false, Some(own)) => Form::Nested(source.nested(own)?),
        };
        Ok(source)
    }

    /// Bytes that the file has, if that is known.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// Bytes that have been read.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next change; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Change>, CliError> {
        match &mut self.form {
            Form::Records(_) => self.record(),
            Form::Lines => self.line(),
            Form::Nested(changes) => Ok(changes.pop()),
        }
    }

    /// What went wrong, and where.
    fn wrong(&self, why: impl std::fmt::Display) -> CliError {
        let what = match self.form {
            Form::Lines => "line",
            _ => "record",
        };
        anyhow::anyhow!("{}: {what} {}: {why}", self.name, self.number).into()
    }

    fn line(&mut self) -> Result<Option<Change>, CliError> {
        loop {
            let mut line = Vec::new();
            let limit = u64::try_from(MAX_RECORD).unwrap_or(u64::MAX);
            let read = (&mut self.input).take(limit).read_until(b'\n', &mut line);
            let read = read.map_err(|error| unreadable(&self.name, &error))?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.position = self.position.saturating_add(read as u64);
            if read == MAX_RECORD {
                return Err(self.wrong(format!("longer than {MAX_RECORD} bytes")));
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            let text = std::str::from_utf8(&line).map_err(|e| self.wrong(e))?;
            let record = json::parse(text).map_err(|e| {
                let hint = "(a nested map needs -d KEY)";
                self.wrong(format!("{e} {hint}"))
            })?;
            return self.json_change(&record).map(Some);
        }
    }

    /// `{"path": "a.b", "value": …}`
    fn json_change(&self, record: &Value) -> Result<Change, CliError> {
        let path = match record.field("path") {
            Some(Value::Str(text)) => text.parse().map_err(|e| self.wrong(e))?,
            Some(Value::Path(path)) => path.clone(),
            _ => return Err(self.wrong("no map with a path")),
        };
        let value = record.field("value").map(|value| self.raw(value));
        Ok(Change {
            path,
            value: value.transpose()?,
        })
    }

    fn raw(&self, value: &Value) -> Result<Raw, CliError> {
        Raw::check(&value.to_bytes(), MAX_RECORD).map_err(|e| self.wrong(e))
    }

    fn record(&mut self) -> Result<Option<Change>, CliError> {
        loop {
            let Form::Records(records) = &mut self.form else {
                return Ok(None);
            };
            let frame = match records.next(&mut self.input) {
                Ok(frame) => frame,
                Err(why) => {
                    self.number += 1;
                    return Err(self.wrong(why));
                }
            };
            let Some(frame) = frame else {
                return Ok(None);
            };
            self.number += 1;
            self.position = self.position.saturating_add(frame.len() as u64);
            let change = match &mut self.form {
                Form::Records(records) => records.read(&frame),
                _ => Ok(None),
            };
            if let Some(change) = change.map_err(|why| self.wrong(why))? {
                return Ok(Some(change));
            }
        }
    }

    /// All changes of a nested map, last one first.
    fn nested(&mut self, own: &str) -> Result<Vec<Change>, CliError> {
        let mut text = String::new();
        let limit = u64::try_from(MAX_RECORD).unwrap_or(u64::MAX);
        let read = (&mut self.input).take(limit).read_to_string(&mut text);
        let read = read.map_err(|error| unreadable(&self.name, &error))?;
        if read == MAX_RECORD {
            return Err(anyhow::anyhow!("{}: more than {MAX_RECORD} bytes", self.name).into());
        }
        self.position = read as u64;
        let json = text
            .trim_start()
            .starts_with('{')
            .then(|| json::parse(&text));
        let tree = match json {
            Some(Ok(tree)) => tree,
            _ => yaml_in::parse(&text).map_err(|e| anyhow::anyhow!("{}: {e}", self.name))?,
        };
        let mut changes = Vec::new();
        self.flatten(&Path::default(), tree, own, &mut changes)?;
        changes.reverse();
        Ok(changes)
    }

    /// Nesting is bounded where the text is parsed.
    fn flatten(
        &self,
        path: &Path,
        tree: Value,
        own: &str,
        changes: &mut Vec<Change>,
    ) -> Result<(), CliError> {
        let Value::Map(pairs) = tree else {
            let why = format!("{}: {path}: no map with values at '{own}'", self.name);
            return Err(anyhow::anyhow!(why).into());
        };
        for (name, below) in pairs {
            if name.as_str() == Some(own) {
                changes.push(Change {
                    path: path.clone(),
                    value: Some(self.raw(&below)?),
                });
                continue;
            }
            let elem = PathElem::decode(&name.to_bytes())
                .map_err(|e| anyhow::anyhow!("{}: a name below {path}: {e}", self.name))?;
            let mut path = path.clone();
            path.push(elem);
            self.flatten(&path, below, own, changes)?;
        }
        Ok(())
    }
}

/// Records of msgpack, one after the other.
#[derive(Default)]
struct Records {
    unread: Vec<u8>,
    walker: Walker,
    /// The last path; others are given by how much they share with it
    last: Vec<PathElem>,
}

impl Records {
    /// The next whole record.
    fn next(&mut self, input: &mut impl io::BufRead) -> Result<Option<Vec<u8>>, String> {
        loop {
            let end = self
                .walker
                .advance(&self.unread)
                .map_err(|e| e.to_string())?;
            if let Some(end) = end {
                let rest = self.unread.split_off(end);
                return Ok(Some(std::mem::replace(&mut self.unread, rest)));
            }
            let chunk = input.fill_buf().map_err(|e| e.to_string())?;
            if chunk.is_empty() {
                let torn = !self.unread.is_empty();
                return match torn {
                    true => Err("the file ends within it".to_owned()),
                    false => Ok(None),
                };
            }
            if self.unread.len() > MAX_RECORD {
                return Err(format!("longer than {MAX_RECORD} bytes"));
            }
            self.unread.extend_from_slice(chunk);
            let read = chunk.len();
            input.consume(read);
        }
    }

    /// The change that a record stands for; others, such as a file's head,
    /// stand for none.
    fn read(&mut self, frame: &[u8]) -> Result<Option<Change>, String> {
        let (mut path, mut depth, mut value) = (None, None, None);
        let mut reader = Reader::new(frame);
        let fault = |e: crate::msgpack::Fault| e.to_string();
        let Head::Map(pairs) = reader.head().map_err(fault)? else {
            return Err("no map".to_owned());
        };
        for _ in 0..pairs {
            let key = reader.text().map_err(fault)?;
            if key.is_none() {
                reader.object().map_err(fault)?;
            }
            let content = reader.object().map_err(fault)?;
            match key {
                Some("path") => path = Some(content),
                Some("depth") => depth = Some(content),
                Some("value") => value = Some(content),
                _ => {}
            }
        }
        let Some(path) = path else {
            return Ok(None);
        };
        let rest = decode_path(path)?;
        if let Some(depth) = depth {
            let depth = match Reader::new(depth).head() {
                Ok(Head::Uint(depth)) => usize::try_from(depth).ok(),
                _ => None,
            };
            let shared = depth.filter(|depth| *depth <= self.last.len());
            let shared = shared.ok_or("a depth that the path before has not")?;
            self.last.truncate(shared);
            self.last.extend(rest);
        } else {
            self.last = rest;
        }
        let value = value.map(|value| Raw::check(value, MAX_RECORD));
        Ok(Some(Change {
            path: self.last.clone().into(),
            value: value.transpose().map_err(|e| e.to_string())?,
        }))
    }
}

/// A path in either form: of its own, or a list.
fn decode_path(object: &[u8]) -> Result<Vec<PathElem>, String> {
    let mut reader = Reader::new(object);
    let elements = match reader.head().map_err(|e| e.to_string())? {
        Head::Ext(EXT_PATH, _) | Head::Array(_) => PathRef::new(reader.rest()),
        _ => return Err("a path that is none".to_owned()),
    };
    let path = Path::decode(elements).map_err(|e| e.to_string())?;
    Ok(path.into())
}
