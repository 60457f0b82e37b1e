//! The untyped form of a configuration: maps, lists and scalars that remember
//! where they were written.
//!
//! A scalar keeps its text; what type it is, the place it is read into
//! decides (`de.rs`). So `port: "27586"`, `-C conn.port=27586` and
//! `MOAT_PORT=27586` are one thing, and a name may look like a number.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::literal::{self, Literal, repr};

use super::fault::Fault;

/// Deepest nesting of maps and lists.
pub(super) const MAX_DEPTH: usize = 32;

/// Who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A file, with line and column.
    File(Arc<PathBuf>, usize, usize),
    /// An environment variable.
    Variable(&'static str),
    /// An option of the command line, such as `-C kv.conn.port=1`.
    Option(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file, line, column) => {
                write!(f, "{}:{line}:{column}", file.display())
            }
            Self::Variable(name) => f.write_str(name),
            Self::Option(option) => f.write_str(option),
        }
    }
}

/// One item of a configuration.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) origin: Origin,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Says nothing: what is below it, or the default, stays.
    Null,
    Scalar(String, Style),
    Bytes(Vec<u8>),
    List(Vec<Item>),
    Map(Vec<Entry>),
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Without quotes, in YAML: may be a number or a boolean.
    Plain,
    /// Quoted, or a path: text.
    Text,
    /// Given with `-C` or a variable: an expression, or else text.
    Typed,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Where the key stands.
    pub(super) origin: Origin,
    pub(super) item: Item,
}

/// A step from an item to one below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Item {
    pub(super) const fn new(kind: Kind, origin: Origin) -> Self {
        Self { kind, origin }
    }

    pub(super) fn typed(text: impl Into<String>, origin: Origin) -> Self {
        Self::new(Kind::Scalar(text.into(), Style::Typed), origin)
    }

    /// The value of an expression. Its depth is bounded by the reader of
    /// expressions.
    pub(super) fn from_literal(literal: Literal, origin: Origin) -> Self {
        let kind = match literal {
            Literal::None => Kind::Null,
            Literal::Bool(b) => Kind::Scalar(b.to_string(), Style::Plain),
            Literal::Int(n) => Kind::Scalar(n.to_string(), Style::Plain),
            Literal::Float(x) => Kind::Scalar(repr::Float(x).to_string(), Style::Plain),
            Literal::Str(text) => Kind::Scalar(text, Style::Text),
            Literal::Bytes(bytes) => Kind::Bytes(bytes),
            Literal::Tuple(items) | Literal::List(items) => Kind::List(
                items
                    .into_iter()
                    .map(|item| Self::from_literal(item, origin.clone()))
                    .collect(),
            ),
            Literal::Map(pairs) => Kind::Map(
                pairs
                    .into_iter()
                    .map(|(key, value)| Entry {
                        key: match key {
                            Literal::Str(text) => text,
                            other => other.to_string(),
                        },
                        origin: origin.clone(),
                        item: Self::from_literal(value, origin.clone()),
                    })
                    .collect(),
            ),
        };
        Self::new(kind, origin)
    }

    /// What `-C` or a variable says, if it is an expression.
    pub(super) fn evaluated(&self) -> Option<Self> {
        let Kind::Scalar(text, Style::Typed) = &self.kind else {
            return None;
        };
        let value = literal::eval(text).ok()?;
        Some(Self::from_literal(value, self.origin.clone()))
    }

    /// Turns an expression for a list or map into one, so that its parts can
    /// be reached.
    fn evaluate(&mut self) {
        if let Some(item) = self.evaluated()
            && matches!(item.kind, Kind::List(_) | Kind::Map(_))
        {
            self.kind = item.kind;
        }
    }

    /// Lays a stronger configuration over this one: maps by key, lists by
    /// index, anything else is replaced; null changes nothing. Both are at
    /// most [`MAX_DEPTH`] deep.
    pub(super) fn merge(&mut self, over: Self) {
        match (&mut self.kind, over.kind) {
            (_, Kind::Null) => {}
            (Kind::Map(entries), Kind::Map(over)) => {
                for entry in over {
                    match entries.iter_mut().find(|e| e.key == entry.key) {
                        Some(known) => known.item.merge(entry.item),
                        None => entries.push(entry),
                    }
                }
            }
            (Kind::List(items), Kind::List(over)) => {
                let mut over = over.into_iter();
                for (item, over) in items.iter_mut().zip(&mut over) {
                    item.merge(over);
                }
                items.extend(over);
            }
            (kind, over_kind) => {
                *kind = over_kind;
                self.origin = over.origin;
            }
        }
    }

    /// Finds an item below this one.
    pub(super) fn get(&self, steps: &[Step]) -> Option<&Self> {
        steps.iter().try_fold(self, |item, step| match &item.kind {
            Kind::Map(entries) => {
                let key = step.as_key();
                entries.iter().find(|e| e.key == key).map(|e| &e.item)
            }
            Kind::List(items) => items.get(step.as_index()?),
            Kind::Null | Kind::Scalar(..) | Kind::Bytes(_) => None,
        })
    }

    /// Puts `value` below this item, over what is there.
    ///
    /// # Errors
    /// If an index leaves a gap in a list.
    pub(super) fn set(&mut self, steps: &[Step], value: Self) -> Result<(), Fault> {
        let Some((step, below)) = steps.split_first() else {
            self.merge(value);
            return Ok(());
        };
        let origin = value.origin.clone();
        self.evaluate();
        if !matches!(self.kind, Kind::Map(_) | Kind::List(_)) {
            self.kind = match step {
                Step::Key(_) => Kind::Map(Vec::new()),
                Step::Index(_) => Kind::List(Vec::new()),
            };
            self.origin = origin.clone();
        }
        let empty = || Self::new(Kind::Null, origin.clone());
        let child = match &mut self.kind {
            Kind::Map(entries) => {
                let key = step.as_key();
                let at = entries.iter().position(|e| e.key == key);
                let at = at.unwrap_or_else(|| {
                    entries.push(Entry {
                        key,
                        origin: origin.clone(),
                        item: empty(),
                    });
                    entries.len().saturating_sub(1)
                });
                entries.get_mut(at).map(|entry| &mut entry.item)
            }
            Kind::List(items) => step.as_index().and_then(|at| {
                if at == items.len() {
                    items.push(empty());
                }
                items.get_mut(at)
            }),
            Kind::Null | Kind::Scalar(..) | Kind::Bytes(_) => None,
        };
        match child {
            Some(child) => child.set(below, value),
            None => Err(Fault::new(format!("there is no item {step} in a list")).at(&origin)),
        }
    }

    /// Removes an item below this one, if it is there.
    pub(super) fn remove(&mut self, steps: &[Step]) {
        let Some((step, below)) = steps.split_first() else {
            self.kind = Kind::Null;
            return;
        };
        self.evaluate();
        match &mut self.kind {
            Kind::Map(entries) => {
                let key = step.as_key();
                if below.is_empty() {
                    entries.retain(|e| e.key != key);
                } else if let Some(entry) = entries.iter_mut().find(|e| e.key == key) {
                    entry.item.remove(below);
                }
            }
            Kind::List(items) => {
                let Some(at) = step.as_index().filter(|at| *at < items.len()) else {
                    return;
                };
                if below.is_empty() {
                    items.remove(at);
                } else if let Some(item) = items.get_mut(at) {
                    item.remove(below);
                }
            }
            Kind::Null | Kind::Scalar(..) | Kind::Bytes(_) => {}
        }
    }
}

impl Step {
    fn as_key(&self) -> String {
        self.to_string()
    }

    const fn as_index(&self) -> Option<usize> {
        match self {
            Self::Index(at) => Some(*at),
            Self::Key(_) => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(key),
            Self::Index(at) => write!(f, "{at}"),
        }
    }
}
