//! Values as Python's `repr` shows them, as the original's messages do:
//! `Data is 3.0 not 99 at a.b`.
//!
//! Read straight from the encoding, and only as far as the text goes: a
//! message is no longer than [`MAX`], however large the value is.

use std::fmt::{self, Write};

use num_bigint::BigUint;

use crate::literal::repr;
use crate::msgpack::{EXT_BIG, EXT_MARKED, EXT_PATH, EXT_PROXY, Fault, Head, MAX_DEPTH, Reader};
use crate::path::{Path, PathRef};
use crate::value::Value;

/// Most bytes of a text; `…` is appended to what would be longer.
pub const MAX: usize = 4096;

/// What the original prints for a value that is not there.
pub const NOT_GIVEN: &str = "<class 'moat.util.impl.NotGiven'>";

/// The `repr` of a value.
///
/// ```
/// use moat::text::repr::of_value;
/// use moat::value::Value;
///
/// let value = Value::List(vec![1.into(), "it's".into()]);
/// assert_eq!(of_value(&value), r#"(1, "it's")"#);
/// ```
#[must_use]
pub fn of_value(value: &Value) -> String {
    of_encoded(&value.to_bytes())
}

/// The `repr` of an encoded value. What is broken ends the text with `…`.
///
/// ```
/// use moat::text::repr::of_encoded;
///
/// assert_eq!(of_encoded(b"\x81\xa1a\xc3"), "{'a': True}");
/// ```
#[must_use]
pub fn of_encoded(encoded: &[u8]) -> String {
    let mut out = Bounded(String::new());
    if write(&mut Reader::new(encoded), &mut out, 0).is_err() {
        out.0.push('…');
    }
    out.0
}

/// A text that takes no more than [`MAX`] bytes.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX.saturating_sub(self.0.len());
        let fits = text.floor_char_boundary(room);
        self.0.push_str(text.get(..fits).unwrap_or_default());
        if fits < text.len() {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

impl From<Fault> for End {
    fn from(_: Fault) -> Self {
        Self
    }
}

impl From<fmt::Error> for End {
    fn from(_: fmt::Error) -> Self {
        Self
    }
}

/// The text is full, or the encoding broken.
struct End;

fn write(reader: &mut Reader<'_>, out: &mut Bounded, depth: usize) -> Result<(), End> {
    if depth > MAX_DEPTH {
        return Err(End);
    }
    let inner = depth.saturating_add(1);
    match reader.head()? {
        Head::Nil => out.write_str("None")?,
        Head::Bool(true) => out.write_str("True")?,
        Head::Bool(false) => out.write_str("False")?,
        Head::Uint(n) => write!(out, "{n}")?,
        Head::Neg(n) => write!(out, "{n}")?,
        Head::Float(x) => write!(out, "{}", repr::Float(x))?,
        Head::Str(n) => {
            let text = core::str::from_utf8(reader.take(n)?).map_err(|_| End)?;
            write!(out, "{}", repr::Text(text))?;
        }
        Head::Bin(n) => write!(out, "{}", repr::Bytes(reader.take(n)?))?,
        Head::Array(n) => {
            out.write_str("(")?;
            for i in 0..n {
                separate(out, i)?;
                write(reader, out, inner)?;
            }
            // one item would else be in mere brackets
            out.write_str(if n == 1 { ",)" } else { ")" })?;
        }
        Head::Map(n) => {
            out.write_str("{")?;
            for i in 0..n {
                separate(out, i)?;
                write(reader, out, inner)?;
                out.write_str(": ")?;
                write(reader, out, inner)?;
            }
            out.write_str("}")?;
        }
        Head::Ext(code, n) => extension(code, reader.take(n)?, out)?,
    }
    Ok(())
}

fn separate(out: &mut Bounded, i: usize) -> fmt::Result {
    out.write_str(if i > 0 { ", " } else { "" })
}

fn extension(code: i8, content: &[u8], out: &mut Bounded) -> Result<(), End> {
    match code {
        EXT_BIG if content.len() <= MAX => write!(out, "{}", BigUint::from_bytes_be(content))?,
        EXT_PATH | EXT_MARKED => {
            let mut elements = Reader::new(content);
            if code == EXT_MARKED {
                elements.object()?;
            }
            let path = Path::decode(PathRef::new(elements.rest())).map_err(|_| End)?;
            write!(out, "P({})", repr::Text(&path.to_string()))?;
        }
        EXT_PROXY if content == b"_" => out.write_str(NOT_GIVEN)?,
        EXT_PROXY => {
            let name = String::from_utf8_lossy(content);
            write!(out, "Proxy({})", repr::Text(&name))?;
        }
        _ => write!(out, "ExtType(code={code}, data={})", repr::Bytes(content))?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_like_python() {
        let list = |items: Vec<Value>| Value::List(items);
        for (value, want) in [
            (Value::Nil, "None"),
            (true.into(), "True"),
            ((-5).into(), "-5"),
            (Value::Uint(u64::MAX), "18446744073709551615"),
            (BigUint::from(2u8).pow(64).into(), "18446744073709551616"),
            (3.0.into(), "3.0"),
            (1e20.into(), "1e+20"),
            (f64::NAN.into(), "nan"),
            (f64::NEG_INFINITY.into(), "-inf"),
            ("a'b\n".into(), "\"a'b\\n\""),
            (Value::Bytes(b"a\xff".to_vec()), "b'a\\xff'"),
            (list(vec![]), "()"),
            (list(vec![1.into()]), "(1,)"),
            (
                list(vec![1.into(), list(vec![2.into(), 3.into()])]),
                "(1, (2, 3))",
            ),
            (Value::Map(vec![]), "{}"),
            (
                Value::Map(vec![("a".into(), 1.into()), (2.into(), Value::Nil)]),
                "{'a': 1, 2: None}",
            ),
            (Value::Path("a.b:1".parse().unwrap()), "P('a.b:1')"),
            (Value::Path(Path::new()), "P(':')"),
            (Value::NotGiven, "<class 'moat.util.impl.NotGiven'>"),
            (Value::Ext(4, b"foo".to_vec()), "Proxy('foo')"),
            (
                Value::Ext(7, b"\t".to_vec()),
                "ExtType(code=7, data=b'\\t')",
            ),
        ] {
            assert_eq!(of_value(&value), want);
        }
        assert_eq!(of_encoded(b"\xd6\x06\xa1m\xa1a"), "P('a')");
    }

    #[test]
    fn the_text_is_bounded_whatever_the_value() {
        let long = of_value(&"ä".repeat(MAX).into());
        assert!(long.starts_with("'ää") && long.ends_with("ä…"), "{long}");
        assert!(long.len() <= MAX + '…'.len_utf8());
        let wide = of_value(&Value::List(vec![Value::Nil; 100_000]));
        assert_eq!(wide.len(), MAX + '…'.len_utf8());
        let deep = of_encoded(&vec![0x91; 10_000]);
        assert_eq!(deep, "(".repeat(MAX_DEPTH + 1) + "…");
    }

    #[test]
    fn what_is_broken_is_cut_off() {
        assert_eq!(of_encoded(b"\x92\x01"), "(1, …");
        assert_eq!(of_encoded(b"\xdd\xff\xff\xff\xff\x01"), "(1, …");
        assert_eq!(of_encoded(b"\x92\x01\xa1\xff"), "(1, …");
        assert_eq!(of_encoded(b""), "…");
    }
}
