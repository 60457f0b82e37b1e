//! The text form of a path. What is printed here, `parse` reads.
//!
//! Differs from the original in what that prints ambiguously: a tuple of one
//! element keeps its comma (`:1,`), the empty tuple is `:()`, infinity is
//! `:1e999`, an expression that would read as another code gets an `i`
//! (`:ib'ab',1`), and a path within a path prints as the equal tuple.

use std::fmt::{self, Display, Formatter, Write};

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use super::{Path, PathElem};
use crate::literal::repr;

impl Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_char(':');
        }
        for (i, elem) in self.iter().enumerate() {
            match elem {
                PathElem::Str(text) if text.is_empty() => f.write_str(":e")?,
                PathElem::Str(text) => {
                    if i > 0 {
                        f.write_char('.')?;
                    }
                    Escaped(f).write_str(text)?;
                }
                PathElem::Nil => f.write_str(":n")?,
                PathElem::Bool(true) => f.write_str(":t")?,
                PathElem::Bool(false) => f.write_str(":f")?,
                PathElem::Bytes(bytes) => match printable(bytes) {
                    Some(text) => {
                        f.write_str(":v")?;
                        Escaped(f).write_str(text)?;
                    }
                    None => write!(f, ":s{}", Base64Display::new(bytes, &STANDARD))?,
                },
                PathElem::Tuple(items) => tuple(f, items)?,
                PathElem::Path(path) => tuple(f, path.elements())?,
                PathElem::Int(_) | PathElem::Uint(_) | PathElem::Big(_) | PathElem::Float(_) => {
                    f.write_char(':')?;
                    write!(Escaped(f), "{}", Expr(elem))?;
                }
                PathElem::Ext(..) => f.write_str(":?")?,
            }
        }
        Ok(())
    }
}

/// Bytes as a text of printable ASCII, if they are that.
fn printable(bytes: &[u8]) -> Option<&str> {
    let text = core::str::from_utf8(bytes).ok()?;
    let is_printable = |b| matches!(b, b' '..=b'~');
    text.bytes().all(is_printable).then_some(text)
}

/// A tuple as an element of its own, where it needs no brackets.
fn tuple(f: &mut Formatter<'_>, items: &[PathElem]) -> fmt::Result {
    let code = match items.first() {
        None => return f.write_str(":()"),
        // the code of binary digits
        Some(PathElem::Bytes(_)) => ":i",
        Some(_) => ":",
    };
    f.write_str(code)?;
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_char(',')?;
        }
        write!(Escaped(f), "{}", Expr(item))?;
    }
    if items.len() == 1 {
        f.write_char(',')?;
    }
    Ok(())
}

/// An element as the expression that evaluates to it.
struct Expr<'a>(&'a PathElem);

impl Display for Expr<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            PathElem::Nil => f.write_str("None"),
            PathElem::Bool(true) => f.write_str("True"),
            PathElem::Bool(false) => f.write_str("False"),
            PathElem::Int(n) => write!(f, "{n}"),
            PathElem::Uint(n) => write!(f, "{n}"),
            PathElem::Big(n) => write!(f, "{n}"),
            // beyond every float, thus read as infinite
            PathElem::Float(f64::INFINITY) => f.write_str("1e999"),
            PathElem::Float(f64::NEG_INFINITY) => f.write_str("-1e999"),
            PathElem::Float(x) => repr::Float(*x).fmt(f),
            PathElem::Str(text) => repr::Text(text).fmt(f),
            PathElem::Bytes(bytes) => repr::Bytes(bytes).fmt(f),
            PathElem::Tuple(items) => bracketed(f, items),
            PathElem::Path(path) => bracketed(f, path.elements()),
            PathElem::Ext(..) => f.write_char('?'),
        }
    }
}

fn bracketed(f: &mut Formatter<'_>, items: &[PathElem]) -> fmt::Result {
    f.write_char('(')?;
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        Expr(item).fmt(f)?;
    }
    f.write_str(if items.len() == 1 { ",)" } else { ")" })
}

/// Escapes dots, colons and spaces on their way.
struct Escaped<'a, 'f>(&'a mut Formatter<'f>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find([':', '.', ' ']) {
            let (before, special) = rest.split_at(at);
            self.0.write_str(before)?;
            let escape = match special.as_bytes().first() {
                Some(b':') => "::",
                Some(b'.') => ":.",
                _ => ":_",
            };
            self.0.write_str(escape)?;
            rest = special.get(1..).unwrap_or("");
        }
        self.0.write_str(rest)
    }
}
