//! What a plain scalar is: YAML 1.2 as the original reads it.
//!
//! `yes`, `off` and `12:30` are text; digits may have underscores; `017` is
//! seventeen, `0o17` fifteen. Dates are text here, though the original reads
//! them as dates, which it then cannot send.

use num_bigint::{BigInt, Sign};

use crate::value::Value;

/// The value of a plain scalar; `None` if it is text.
pub(super) fn plain(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Some(Value::Nil),
        "true" | "True" | "TRUE" => Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => Some(Value::Bool(false)),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => {
            float(text).map(Value::Float).or_else(|| int(text))
        }
        _ => None,
    }
}

/// Whether the original takes a plain scalar for text. The empty text is
/// none.
pub(in crate::text) fn is_text(text: &str) -> bool {
    !(matches!(text, "=" | "<<") || plain(text).is_some() || is_number(text) || is_date(text))
}

/// Whether a plain scalar is an integer, but beyond what a value holds.
pub(super) fn is_beyond(text: &str) -> bool {
    is_number(text) && int(text).is_none() && text.contains(|c: char| c.is_ascii_hexdigit())
}

/// The integer that a text is, by the rules of plain scalars.
pub(super) fn int(text: &str) -> Option<Value> {
    let (sign, rest) = sign(text);
    let (radix, digits) = match rest.as_bytes() {
        [b'0', b'x', ..] => (16, rest.get(2..)?),
        [b'0', b'o', ..] => (8, rest.get(2..)?),
        [b'0', b'b', ..] => (2, rest.get(2..)?),
        _ => (10, rest),
    };
    if !digits.chars().all(|c| c == '_' || c.is_digit(radix)) {
        return None;
    }
    // all digits are one byte each; few need another buffer
    let digits: Vec<u8> = digits.bytes().filter(|b| *b != b'_').collect();
    // ~ 4,096 bits: more are no value, and would take long to read
    const MAX_DIGITS: usize = 4200;
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return None;
    }
    let n = BigInt::parse_bytes(&digits, radix)?;
    let n = if sign == Sign::Minus { -n } else { n };
    Value::try_from(n).ok()
}

/// The float that a text is, by the rules of plain scalars.
pub(super) fn float(text: &str) -> Option<f64> {
    let (sign, rest) = sign(text);
    let x = match rest {
        ".inf" | ".Inf" | ".INF" => f64::INFINITY,
        ".nan" | ".NaN" | ".NAN" if rest == text => f64::NAN,
        _ if is_float(text) => {
            let digits: String = rest.chars().filter(|c| *c != '_').collect();
            digits.parse().ok()?
        }
        _ => return None,
    };
    Some(if sign == Sign::Minus { -x } else { x })
}

fn sign(text: &str) -> (Sign, &str) {
    match text.as_bytes() {
        [b'-', ..] => (Sign::Minus, text.get(1..).unwrap_or_default()),
        [b'+', ..] => (Sign::Plus, text.get(1..).unwrap_or_default()),
        _ => (Sign::Plus, text),
    }
}

/// Digits and underscores, then what is left.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '_'));
    text.split_at(end.unwrap_or(text.len()))
}

fn is_float(text: &str) -> bool {
    let (_, rest) = sign(text);
    let (whole, rest) = digits(rest);
    if !(whole.is_empty() || whole.starts_with(|c: char| c.is_ascii_digit())) {
        return false;
    }
    let (fraction, exponent) = match rest.strip_prefix('.') {
        Some(rest) => {
            let (fraction, rest) = digits(rest);
            (Some(fraction), rest)
        }
        None => (None, rest),
    };
    match (whole, fraction) {
        ("", None | Some("")) => return false,
        (_, None) if exponent.is_empty() => return false,
        _ => {}
    }
    let Some(exponent) = exponent.strip_prefix(['e', 'E']) else {
        return exponent.is_empty();
    };
    let unsigned = exponent.strip_prefix(['+', '-']);
    // without digits before the point the exponent needs a sign
    let unsigned = match unsigned {
        None if whole.is_empty() => return false,
        None => exponent,
        Some(digits) => digits,
    };
    !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit())
}

/// Whether the original tries to read a number, even one that has no digits
/// or more than we take.
fn is_number(text: &str) -> bool {
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return false;
    }
    let (_, rest) = sign(text);
    let all = |digits: &str, radix| {
        !digits.is_empty() && digits.chars().all(|c| c == '_' || c.is_digit(radix))
    };
    let prefixed = |prefix, radix| rest.strip_prefix(prefix).is_some_and(|d| all(d, radix));
    is_float(text) || all(rest, 10) || prefixed("0x", 16) || prefixed("0o", 8) || prefixed("0b", 2)
}

/// `2020-01-01`, or with a time: the original reads a date.
fn is_date(text: &str) -> bool {
    /// Takes between `least` and `most` digits off the front.
    fn take<'a>(text: &mut &'a str, least: usize, most: usize) -> Option<&'a str> {
        let n = text
            .bytes()
            .take_while(u8::is_ascii_digit)
            .count()
            .min(most);
        let (digits, rest) = text.split_at_checked(n)?;
        *text = rest;
        (n >= least).then_some(digits)
    }
    fn skip(text: &mut &str, c: char) -> Option<()> {
        *text = text.strip_prefix(c)?;
        Some(())
    }
    fn date(mut text: &str) -> Option<()> {
        let blank = |text: &mut &str| {
            let rest = text.trim_start_matches([' ', '\t']);
            let any = rest.len() < text.len();
            *text = rest;
            any
        };
        let text = &mut text;
        take(text, 4, 4)?;
        skip(text, '-')?;
        let month = take(text, 1, 2)?;
        skip(text, '-')?;
        let day = take(text, 1, 2)?;
        if text.is_empty() {
            return (month.len() == 2 && day.len() == 2).then_some(());
        }
        if skip(text, 'T').is_none() && skip(text, 't').is_none() && !blank(text) {
            return None;
        }
        take(text, 1, 2)?;
        skip(text, ':')?;
        take(text, 2, 2)?;
        skip(text, ':')?;
        take(text, 2, 2)?;
        if skip(text, '.').is_some() {
            take(text, 0, usize::MAX)?;
        }
        if text.is_empty() {
            return Some(());
        }
        blank(text);
        if skip(text, 'Z').is_none() {
            *text = text.strip_prefix(['+', '-'])?;
            take(text, 1, 2)?;
            if skip(text, ':').is_some() {
                take(text, 2, 2)?;
            }
        }
        text.is_empty().then_some(())
    }
    date(text).is_some()
}
