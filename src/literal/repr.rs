//! Python's `repr` of floats, texts and bytes.
//!
//! Paths print evaluated elements with it, and `text` whole values. Each type
//! here wraps what it prints and is used through [`Display`].

use std::fmt::{self, Display, Write};

/// A float: the shortest digits that read as the same number.
///
/// ```
/// use moat::literal::repr::Float;
///
/// assert_eq!(Float(0.1).to_string(), "0.1");
/// assert_eq!(Float(1e16).to_string(), "1e+16");
/// assert_eq!(Float(f64::INFINITY).to_string(), "inf");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Float(pub f64);

impl Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = self.0;
        if x.is_nan() {
            return f.write_str("nan");
        }
        if x.is_infinite() {
            return f.write_str(if x > 0.0 { "inf" } else { "-inf" });
        }
        if x == 0.0 || (1e-4..1e16).contains(&x.abs()) {
            // Debug has the ".0" of whole numbers
            let whole = if x.fract() == 0.0 { ".0" } else { "" };
            return write!(f, "{x}{whole}");
        }
        let text = format!("{x:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        write!(f, "{digits}e{sign}{exponent:0>2}")
    }
}

/// A text, in the quotes that need less escaping.
///
/// ```
/// use moat::literal::repr::Text;
///
/// assert_eq!(Text("a\n").to_string(), r"'a\n'");
/// assert_eq!(Text("it's").to_string(), r#""it's""#);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Text<'a>(pub &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = quote(self.0.as_bytes());
        f.write_char(quote)?;
        for c in self.0.chars() {
            match c {
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\\' => f.write_str("\\\\")?,
                c if c == quote => write!(f, "\\{c}")?,
                ' '..='~' => f.write_char(c)?,
                c if printable(c) => f.write_char(c)?,
                c => match u32::from(c) {
                    n @ 0..=0xff => write!(f, "\\x{n:02x}")?,
                    n @ 0x100..=0xffff => write!(f, "\\u{n:04x}")?,
                    n => write!(f, "\\U{n:08x}")?,
                },
            }
        }
        f.write_char(quote)
    }
}

/// Bytes: `b'…'`.
///
/// ```
/// use moat::literal::repr::Bytes;
///
/// assert_eq!(Bytes(b"a\x00\xff").to_string(), r"b'a\x00\xff'");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = quote(self.0);
        write!(f, "b{quote}")?;
        for b in self.0 {
            match b {
                b'\n' => f.write_str("\\n")?,
                b'\r' => f.write_str("\\r")?,
                b'\t' => f.write_str("\\t")?,
                b'\\' => f.write_str("\\\\")?,
                b if char::from(*b) == quote => write!(f, "\\{quote}")?,
                b' '..=b'~' => f.write_char(char::from(*b))?,
                b => write!(f, "\\x{b:02x}")?,
            }
        }
        f.write_char(quote)
    }
}

/// Items with commas between.
pub(super) fn list(f: &mut fmt::Formatter<'_>, items: &[impl Display]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

fn quote(text: &[u8]) -> char {
    if text.contains(&b'\'') && !text.contains(&b'"') {
        '"'
    } else {
        '\''
    }
}

/// Whether a character beyond ASCII stands for itself: neither control,
/// format, private, unassigned nor a separator.
pub(crate) fn printable(c: char) -> bool {
    // `str::escape_debug` applies this very rule to all but the first
    // character of a text, which may not be a combining one either
    let mut text = [0; 5];
    text[0] = b'a';
    let len = c.encode_utf8(&mut text[1..]).len();
    let text = core::str::from_utf8(&text[..=len]).unwrap_or_default();
    text.escape_debug().nth(1) == Some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_printed_like_python() {
        for (x, want) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (1000.0, "1000.0"),
            (0.0001, "0.0001"),
            (0.000_099_9, "9.99e-05"),
            (1e-5, "1e-05"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (-1.25e300, "-1.25e+300"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (1.0 / 3.0, "0.3333333333333333"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(Float(x).to_string(), want);
        }
    }

    #[test]
    fn texts_are_printed_like_python() {
        for (text, want) in [
            ("", "''"),
            ("it's", "\"it's\""),
            ("it's \"x\"", "'it\\'s \"x\"'"),
            ("\"", "'\"'"),
            ("\\\0\x1b\x7f", "'\\\\\\x00\\x1b\\x7f'"),
            ("ä日e\u{301}", "'ä日e\u{301}'"),
            ("\u{301}", "'\u{301}'"),
            ("\u{a0}\u{ad}\u{2028}\u{feff}", "'\\xa0\\xad\\u2028\\ufeff'"),
            ("\u{e000}\u{10ffff}", "'\\ue000\\U0010ffff'"),
            ("😀", "'😀'"),
        ] {
            assert_eq!(Text(text).to_string(), want);
        }
        assert_eq!(Bytes(b"it's\t\x80").to_string(), "b\"it's\\t\\x80\"");
    }
}
