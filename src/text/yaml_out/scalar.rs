//! Scalars: which style one has, and where its lines are broken.

use std::borrow::Cow;

use super::{Place, Printer};
use crate::text::yaml_in::resolve;

/// Text beyond this column is folded at the next opportunity.
const WIDTH: usize = 80;
/// Characters of a key and its tag, from which on it needs a `?`.
const LONG_KEY: usize = 128;

/// What a scalar is. Tags that a reader finds by itself are not written, but
/// count when a key's length is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Null,
    Bool,
    Int,
    Float,
    Str,
    List,
    Map,
    /// A tag that is written
    Named(&'static str),
}

impl Tag {
    const fn width(self) -> usize {
        match self {
            Self::Null | Self::Bool => "!!null".len(),
            Self::Int | Self::Str | Self::List | Self::Map => "!!str".len(),
            Self::Float => "!!float".len(),
            Self::Named(tag) => tag.len(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

pub(super) struct Scalar<'a> {
    text: Cow<'a, str>,
    tag: Tag,
    style: Style,
}

impl<'a> Scalar<'a> {
    /// One whose text says what it is.
    pub(super) fn plain(text: impl Into<Cow<'a, str>>, tag: Tag) -> Self {
        Self {
            text: text.into(),
            tag,
            style: Style::Plain,
        }
    }

    /// A text, in the first style that reads as this very text.
    pub(super) fn text(text: &'a str) -> Self {
        let style = if text.contains('\n') {
            if fits_literal(text) {
                Style::Literal
            } else {
                Style::Double
            }
        } else if resolve::is_text(text) {
            style(text)
        } else {
            // what would be a number, or the like; also the empty text
            Style::Single
        };
        Self {
            text: text.into(),
            tag: Tag::Str,
            style,
        }
    }

    /// One that has a tag, so that nobody takes it for a number.
    pub(super) fn tagged(text: impl Into<Cow<'a, str>>, tag: Tag) -> Self {
        let text = text.into();
        let style = if text.contains('\n') {
            Style::Double
        } else {
            style(&text)
        };
        Self { text, tag, style }
    }

    /// One that has a tag, line by line.
    pub(super) fn literal(text: impl Into<Cow<'a, str>>, tag: Tag) -> Self {
        Self {
            text: text.into(),
            tag,
            style: Style::Literal,
        }
    }

    /// Whether it can be a key without `?`.
    pub(super) fn is_simple_key(&self) -> bool {
        let length = self.text.chars().count().saturating_add(self.tag.width());
        length < LONG_KEY && !self.text.contains('\n')
    }
}

/// The style of a text of one line that may stand plain if its characters
/// allow.
fn style(text: &str) -> Style {
    if !text.chars().all(fits_line) {
        Style::Double
    } else if fits_plain(text) {
        Style::Plain
    } else if text.contains('\'') {
        Style::Double
    } else {
        Style::Single
    }
}

/// Whether a character may stand for itself.
fn fits_line(c: char) -> bool {
    matches!(c,
        ' '..='~'
        | '\u{a0}'..='\u{2027}'
        | '\u{202a}'..='\u{d7ff}'
        | '\u{e000}'..='\u{fefe}'
        | '\u{ff00}'..='\u{fffd}'
        | '\u{10000}'..)
}

/// Whether a reader could not tell by how much the lines are indented.
fn needs_digit(text: &str) -> bool {
    text.starts_with([' ', '\n'])
}

/// Whether `|` keeps the text.
fn fits_literal(text: &str) -> bool {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let fits = match c {
            '\n' | '\t' => true,
            // as recorded, though a reader sees "\n"
            '\r' => chars.peek() == Some(&'\n'),
            c => fits_line(c),
        };
        if !fits {
            return false;
        }
    }
    true
}

/// Whether a reader takes these characters, without quotes, for this text.
/// Those that are special anywhere have been looked at.
fn fits_plain(text: &str) -> bool {
    let mut chars = text.chars();
    let (first, second) = (chars.next(), chars.next());
    let alone = matches!(second, None | Some(' '));
    let begins_well = match first {
        None => true,
        Some(
            ' ' | '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"'
            | '%' | '@' | '`',
        ) => false,
        Some('?' | ':' | '-') => !alone,
        Some(_) => true,
    };
    begins_well
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.starts_with("---")
        && !text.starts_with("...")
}

impl Printer {
    /// Writes a scalar as a key.
    pub(super) fn key(&mut self, scalar: &Scalar<'_>) {
        if let Tag::Named(tag) = scalar.tag {
            self.put(tag);
            self.put(" ");
        }
        match scalar.style {
            Style::Plain if scalar.text.is_empty() => self.put("''"),
            Style::Plain => self.put(&scalar.text),
            Style::Single => self.quoted(&scalar.text, 0, Fold::Never),
            Style::Double | Style::Literal => self.double(&scalar.text, 0, Fold::Never),
        }
    }

    /// Writes a scalar where a value stands; its further lines are indented
    /// so far.
    pub(super) fn scalar(&mut self, scalar: &Scalar<'_>, indent: usize, place: Place) {
        let mut space = place != Place::Root;
        if let Tag::Named(tag) = scalar.tag {
            self.space(space);
            self.put(tag);
            space = true;
        }
        if scalar.style == Style::Plain && scalar.text.is_empty() {
            return;
        }
        self.space(space);
        // at the start of a line of the document, some texts would end it
        let fold = match place {
            Place::Root => Fold::Never,
            _ => Fold::Long,
        };
        match scalar.style {
            Style::Plain => self.words(&scalar.text, indent, fold),
            Style::Single => self.quoted(&scalar.text, indent, fold),
            Style::Double => self.double(&scalar.text, indent, fold),
            Style::Literal if place != Place::Root => self.literal(&scalar.text, indent),
            // readers disagree on how far a `2` indents here
            Style::Literal if needs_digit(&scalar.text) => self.double(&scalar.text, indent, fold),
            Style::Literal => self.literal(&scalar.text, indent.saturating_add(2)),
        }
    }

    fn space(&mut self, wanted: bool) {
        if wanted {
            self.put(" ");
        }
    }

    /// Writes words, breaking the line at single spaces inside.
    fn words(&mut self, text: &str, indent: usize, fold: Fold) {
        let mut rest = text;
        while !rest.is_empty() {
            let word = rest.find(' ').unwrap_or(rest.len());
            let (word, after) = rest.split_at(word);
            self.put(word);
            let at_start = rest.len() == text.len() && word.is_empty();
            rest = after.trim_start_matches(' ');
            let spaces = after.len().saturating_sub(rest.len());
            let inside = !at_start && !rest.is_empty();
            if spaces == 1 && inside && self.column > WIDTH && fold == Fold::Long {
                self.fold(indent);
            } else {
                self.pad(spaces);
            }
        }
    }

    /// Writes in single quotes; such a text has none itself.
    fn quoted(&mut self, text: &str, indent: usize, fold: Fold) {
        self.put("'");
        self.words(text, indent, fold);
        self.put("'");
    }

    /// Writes in double quotes, breaking long lines with a backslash.
    fn double(&mut self, text: &str, indent: usize, fold: Fold) {
        self.put("\"");
        // what has been looked at but not been written
        let mut run = String::new();
        let mut width = 0_usize;
        let mut chars = text.chars().enumerate().peekable();
        while let Some((i, c)) = chars.next() {
            let stands = matches!(c, ' '..='~' | '\u{a0}'..='\u{fffd}') && {
                !matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}' | '\u{feff}')
            };
            // before a character that stands for itself, or after an escape
            let mut column = self.column.saturating_add(width);
            let mut may_break = c == ' ' || width == 0;
            if !stands {
                self.put(&core::mem::take(&mut run));
                width = 0;
                self.escape(c);
                // an escaped character is as if one less had been written
                column = self.column.saturating_sub(1);
                may_break = true;
            }
            let inside = i > 0 && chars.peek().is_some();
            if may_break && inside && column > WIDTH && fold == Fold::Long {
                self.put(&core::mem::take(&mut run));
                width = 0;
                self.put("\\");
                self.fold(indent);
                let next = if stands {
                    Some(c)
                } else {
                    chars.peek().map(|(_, c)| *c)
                };
                if next == Some(' ') {
                    self.put("\\");
                }
            }
            if stands {
                run.push(c);
                width = width.saturating_add(1);
            }
        }
        self.put(&run);
        self.put("\"");
    }

    fn escape(&mut self, c: char) {
        let short = match c {
            '\0' => "\\0",
            '\x07' => "\\a",
            '\x08' => "\\b",
            '\t' => "\\t",
            '\n' => "\\n",
            '\x0b' => "\\v",
            '\x0c' => "\\f",
            '\r' => "\\r",
            '\x1b' => "\\e",
            '"' => "\\\"",
            '\\' => "\\\\",
            '\u{85}' => "\\N",
            '\u{2028}' => "\\L",
            '\u{2029}' => "\\P",
            _ => {
                return match u32::from(c) {
                    n @ ..=0xff => self.put(&format!("\\x{n:02X}")),
                    n @ ..=0xffff => self.put(&format!("\\u{n:04X}")),
                    n => self.put(&format!("\\U{n:08X}")),
                };
            }
        };
        self.put(short);
    }

    /// Writes line by line.
    fn literal(&mut self, text: &str, indent: usize) {
        self.put("|");
        if needs_digit(text) {
            self.put("2");
        }
        match text.strip_suffix('\n') {
            None => self.put("-"),
            Some(before) if before.is_empty() || before.ends_with('\n') => self.put("+"),
            Some(_) => {}
        }
        self.newline();
        for line in text.split_inclusive('\n') {
            let line = line.strip_suffix('\n').unwrap_or(line);
            if !line.is_empty() {
                self.pad(indent);
                self.put(line);
            }
            self.newline();
        }
    }
}

/// Whether long lines are broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fold {
    Long,
    Never,
}
