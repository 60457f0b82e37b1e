//! Reading the text form of a path.
//!
//! A name is read up to the next dot or colon; a colon begins an element of
//! another kind, except that `::`, `:.` and `:_` are characters of a name or
//! expression. Stricter than the original where that guesses: a dot before a
//! colon element, or text glued to `:t`, is an error.

use std::borrow::Cow;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use num_bigint::BigInt;

use super::{Path, PathElem, PathError, check};
use crate::literal::{EvalError, Integer, Literal, eval_within};

/// Longest text that is read: more than any path within the limits prints,
/// whatever is escaped.
const MAX_TEXT: usize = 1 << 20;

/// Why a text is no path. Positions are in bytes from its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Nothing at all.
    #[error("the empty text is no path: write : for the root")]
    Empty,
    /// A dot at the start or end, or after another one.
    #[error("no element at {0}: write :e for an empty text, :. for a dot")]
    EmptyElement(usize),
    /// A colon with nothing behind it.
    #[error("a lone colon at {0}: write :: for a colon")]
    LoneColon(usize),
    /// A colon element does not want a dot.
    #[error("a dot before a colon at {0}: leave it out, or write :: for a colon")]
    DotColon(usize),
    /// `:t`, `:f`, `:n` and `:e` stand alone.
    #[error("text directly after {code} at {at}: write a dot between them")]
    Glued {
        /// Where.
        at: usize,
        /// After which code.
        code: &'static str,
    },
    /// No such digits.
    #[error("the element at {at} is not {what}")]
    Digits {
        /// Where.
        at: usize,
        /// What its code promises.
        what: &'static str,
    },
    /// An expression that cannot be evaluated.
    #[error("element at {at}: {}{}", source.cause(), after_word(source))]
    Eval {
        /// Where.
        at: usize,
        /// Why.
        source: EvalError,
    },
    /// The result of an expression that no element can be.
    #[error("element at {at}: {what} cannot be part of a path")]
    Kind {
        /// Where.
        at: usize,
        /// What it is.
        what: &'static str,
    },
    /// The original's obsolete marks.
    #[error("element at {0}: marks (:m) are not supported")]
    Mark(usize),
    /// What elements without text form print as.
    #[error(":? at {0} stands for an element that has no text form")]
    Unprintable(usize),
    /// Beyond the limits of paths, or of what is read.
    #[error(transparent)]
    Limit(#[from] PathError),
}

fn after_word(error: &EvalError) -> &'static str {
    match error {
        EvalError::UnknownWord(_) => "; a text follows a dot, and :: is a colon",
        _ => "",
    }
}

impl FromStr for Path {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "" => return Err(ParseError::Empty),
            ":" => return Ok(Self::new()),
            _ if text.len() > MAX_TEXT => return Err(PathError::TooLong.into()),
            _ => {}
        }
        let mut parser = Parser { text, at: 0 };
        let mut path = Self::new();
        path.push(parser.first()?);
        while let Some(elem) = parser.next()? {
            if path.len() >= super::MAX_ELEMENTS {
                return Err(PathError::TooMany.into());
            }
            path.push(elem);
        }
        // what one text says may still be too long or too deep
        check(path.encode().as_ref())?;
        Ok(path)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    /// Whether a character of a name, written with a colon, comes next.
    fn at_escape(&self) -> bool {
        self.peek(0) == Some(b':') && matches!(self.peek(1), Some(b':' | b'.' | b'_'))
    }

    fn first(&mut self) -> Result<PathElem, ParseError> {
        if self.peek(0) == Some(b':') && !self.at_escape() {
            self.colon()
        } else {
            self.name()
        }
    }

    fn next(&mut self) -> Result<Option<PathElem>, ParseError> {
        match self.peek(0) {
            None => Ok(None),
            Some(b'.') => {
                self.at += 1;
                if self.peek(0) == Some(b':') && !self.at_escape() {
                    return Err(match self.peek(1) {
                        Some(_) => ParseError::DotColon(self.at),
                        None => ParseError::LoneColon(self.at),
                    });
                }
                self.name().map(Some)
            }
            Some(_) => self.colon().map(Some),
        }
    }

    fn name(&mut self) -> Result<PathElem, ParseError> {
        let at = self.at;
        let name = self.body();
        if name.is_empty() {
            return Err(ParseError::EmptyElement(at));
        }
        Ok(PathElem::Str(name.into()))
    }

    /// What is left of an element, unescaped.
    fn body(&mut self) -> Cow<'a, str> {
        let mut body = Cow::Borrowed("");
        loop {
            let rest = self.rest();
            let plain = rest.find([':', '.']).unwrap_or(rest.len());
            body += rest.get(..plain).unwrap_or("");
            self.at += plain;
            if !self.at_escape() {
                return body;
            }
            body += match self.peek(1) {
                Some(b':') => ":",
                Some(b'.') => ".",
                _ => " ",
            };
            self.at += 2;
        }
    }

    /// An element that begins with a colon, which comes next.
    fn colon(&mut self) -> Result<PathElem, ParseError> {
        let at = self.at;
        self.at += 1;
        let rest = self.rest();
        let word = rest.find([':', '.', '_']).unwrap_or(rest.len());
        let alone = match rest.get(..word) {
            Some("t") => Some((":t", PathElem::Bool(true))),
            Some("f") => Some((":f", PathElem::Bool(false))),
            Some("n") => Some((":n", PathElem::Nil)),
            Some("e") => Some((":e", PathElem::Str("".into()))),
            Some("?") => return Err(ParseError::Unprintable(at)),
            _ => None,
        };
        if let Some((code, elem)) = alone {
            self.at += 1;
            if self.at_escape() || self.peek(0) == Some(b'_') {
                return Err(ParseError::Glued { at: self.at, code });
            }
            return Ok(elem);
        }
        let Some(code) = self.peek(0) else {
            return Err(ParseError::LoneColon(at));
        };
        if code == b'm' {
            return Err(ParseError::Mark(at));
        }
        if !matches!(code, b'b' | b'x' | b'y' | b'v' | b's' | b'i') {
            return expression(at, &self.body());
        }
        self.at += 1;
        let body = self.body();
        let (elem, what) = match code {
            b'b' => (integer(&body, 2), "a binary integer"),
            b'x' => (integer(&body, 16), "a hexadecimal integer"),
            b'y' => (hex(&body), "bytes in hexadecimal"),
            b'v' => (body.is_ascii().then(|| body.as_bytes().into()), "ASCII"),
            b's' => (STANDARD.decode(&*body).ok().map(owned), "base64"),
            _ => return expression(at, &body),
        };
        elem.ok_or(ParseError::Digits { at, what })
    }
}

fn owned(bytes: Vec<u8>) -> PathElem {
    PathElem::Bytes(bytes.into())
}

/// An integer as Python's `int(text, radix)` reads it.
fn integer(text: &str, radix: u32) -> Option<PathElem> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let digits = match (radix, digits) {
        (16, [b'0', b'x' | b'X', digits @ ..]) | (2, [b'0', b'b' | b'B', digits @ ..]) => digits,
        _ => digits,
    };
    let clean = digits
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let single = !digits.windows(2).any(|pair| pair == b"__");
    let inside = digits.first() != Some(&b'_') && digits.last() != Some(&b'_');
    // with leading zeros; what is longer is too large to be stored
    let short = digits.len() <= 4096;
    if !clean || !single || !inside || !short {
        return None;
    }
    let n = BigInt::parse_bytes(digits, radix)?;
    Integer::try_from(if negative { -n } else { n })
        .ok()
        .map(Into::into)
}

/// Bytes as Python's `bytes.fromhex` reads them: blanks between are ignored.
fn hex(text: &str) -> Option<PathElem> {
    let mut out = Vec::with_capacity(text.len() / 2);
    for part in text.split_ascii_whitespace() {
        if part.len() % 2 != 0 {
            return None;
        }
        for pair in part.as_bytes().chunks(2) {
            let digit = |b: u8| char::from(b).to_digit(16);
            let [high, low] = *pair else { return None };
            out.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
        }
    }
    Some(owned(out))
}

fn expression(at: usize, text: &str) -> Result<PathElem, ParseError> {
    let literal = eval_within(text, MAX_TEXT).map_err(|source| ParseError::Eval { at, source })?;
    element(at, literal)
}

// Recurses no deeper than the brackets of the text.
fn element(at: usize, literal: Literal) -> Result<PathElem, ParseError> {
    Ok(match literal {
        Literal::None => PathElem::Nil,
        Literal::Bool(b) => PathElem::Bool(b),
        Literal::Int(n) => Integer::try_from(n)
            .map_err(|source| ParseError::Eval { at, source })?
            .into(),
        Literal::Float(x) if x.is_nan() => return Err(ParseError::Kind { at, what: "NaN" }),
        Literal::Float(x) => PathElem::Float(x),
        Literal::Str(text) => text.into(),
        Literal::Bytes(bytes) => owned(bytes),
        Literal::Tuple(items) => {
            let items: Result<Vec<_>, _> = items.into_iter().map(|i| element(at, i)).collect();
            items?.into()
        }
        other @ (Literal::List(_) | Literal::Map(_)) => {
            let what = other.kind();
            return Err(ParseError::Kind { at, what });
        }
    })
}

impl From<Integer> for PathElem {
    fn from(n: Integer) -> Self {
        match n {
            Integer::Int(n) => Self::Int(n),
            Integer::Uint(n) => Self::Uint(n),
            Integer::Big(n) => Self::Big(n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_refused(text: &str, want: &str) {
        match text.parse::<Path>() {
            Ok(path) => panic!("{text}: {path:?}"),
            Err(e) => assert_eq!(e.to_string(), want, "{text}"),
        }
    }

    #[test]
    fn errors_say_where_and_the_way_out() {
        assert_refused("", "the empty text is no path: write : for the root");
        let dot = "write :e for an empty text, :. for a dot";
        assert_refused(".a", &format!("no element at 0: {dot}"));
        assert_refused("a..b", &format!("no element at 2: {dot}"));
        assert_refused("a.", &format!("no element at 2: {dot}"));
        assert_refused("a:t.", &format!("no element at 4: {dot}"));
        assert_refused("a:", "a lone colon at 1: write :: for a colon");
        assert_refused(
            "a.:1",
            "a dot before a colon at 2: leave it out, or write :: for a colon",
        );
        assert_refused(
            "a:t_",
            "text directly after :t at 3: write a dot between them",
        );
        assert_refused(
            "a:t::b",
            "text directly after :t at 3: write a dot between them",
        );
        assert_refused(
            "a:tb",
            "element at 1: unknown word tb; a text follows a dot, and :: is a colon",
        );
        assert_refused("a:xg", "the element at 1 is not a hexadecimal integer");
        assert_refused("a:[1]", "element at 1: a list cannot be part of a path");
        assert_refused(
            "a:1e999-1e999",
            "element at 1: NaN cannot be part of a path",
        );
        assert_refused("a:mfoo", "element at 1: marks (:m) are not supported");
        assert_refused(":?", ":? at 0 stands for an element that has no text form");
        assert_refused(":1/0", "element at 0: division by zero");
    }

    #[test]
    fn digits_are_read_as_python_does() {
        let elem = |text: &str| text.parse::<Path>().ok().and_then(|mut p| p.pop());
        assert_eq!(elem(":x-ff"), Some(PathElem::Int(-255)));
        assert_eq!(elem(":x0xff"), Some(PathElem::Int(255)));
        assert_eq!(elem(":xf_f"), Some(PathElem::Int(255)));
        assert_eq!(elem(":b0b1_1"), Some(PathElem::Int(3)));
        assert_eq!(elem(":x8000000000000000"), Some(PathElem::Uint(1 << 63)));
        assert_eq!(elem(":yab:_CD"), Some(PathElem::from(&b"\xab\xcd"[..])));
        for text in [
            ":xf__f", ":x_f", ":xf_", ":x--1", ":x-+1", ":yabc", ":ya b", ":sAA", ":s!",
        ] {
            assert_eq!(elem(text), None, "{text}");
        }
    }

    #[test]
    fn limits_hold() {
        let many = vec!["a"; super::super::MAX_ELEMENTS];
        assert!(many.join(".").parse::<Path>().is_ok());
        assert_eq!(
            format!("{}.a", many.join(".")).parse::<Path>(),
            Err(PathError::TooMany.into())
        );
        for text in [
            ":'a'*70000".to_owned(),
            "a".repeat(70_000),
            "a".repeat(2_000_000),
        ] {
            assert_eq!(text.parse::<Path>(), Err(PathError::TooLong.into()));
        }
        let nested = |n| format!(":{}{}", "(".repeat(n), ",)".repeat(n).replacen(',', "", 1));
        assert!(nested(32).parse::<Path>().is_ok());
        assert_eq!(nested(33).parse::<Path>(), Err(PathError::TooDeep.into()));
    }
}
