//! Plain literals read by hand: nearly every `-e` and path element is one,
//! and a command should not set up a parser for it.

use num_bigint::BigInt;

use super::Literal;

/// Reads a plain integer, float, quoted text, `True`, `False` or `None`.
/// `None` leaves the text to the parser.
pub(super) fn literal(text: &str) -> Option<Literal> {
    match text {
        "True" => return Some(Literal::Bool(true)),
        "False" => return Some(Literal::Bool(false)),
        "None" => return Some(Literal::None),
        _ => {}
    }
    match text.bytes().next()? {
        quote @ (b'\'' | b'"') => quoted(text, quote),
        b'-' | b'0'..=b'9' => number(text),
        _ => None,
    }
}

fn quoted(text: &str, quote: u8) -> Option<Literal> {
    let quote = char::from(quote);
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let plain = |c| c != quote && c != '\\' && c != '\n' && c != '\r';
    inner
        .chars()
        .all(plain)
        .then(|| Literal::Str(inner.to_owned()))
}

/// The longest integer that surely fits 64 bits.
const DIGITS: usize = 18;

fn number(text: &str) -> Option<Literal> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if digits(unsigned) {
        let octal_looking = unsigned.len() > 1 && unsigned.starts_with('0');
        if octal_looking || unsigned.len() > DIGITS {
            return None;
        }
        return text
            .parse::<i64>()
            .ok()
            .map(|n| Literal::Int(BigInt::from(n)));
    }
    let (whole, fraction) = unsigned.split_once('.')?;
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    text.parse().ok().map(Literal::Float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::literal::{scan, walk};

    #[test]
    fn agrees_with_the_parser() {
        for text in [
            "0",
            "-0",
            "1",
            "-12",
            "123456789012345678",
            "1.5",
            "-0.0",
            "007.5",
            "''",
            "\"it's\"",
            "'ä'",
            "True",
            "False",
            "None",
        ] {
            scan::check(text).unwrap();
            let (fast, slow) = (literal(text), walk::eval(text));
            assert_eq!(fast, slow.clone().ok(), "{text}: {slow:?}");
        }
    }

    #[test]
    fn leaves_the_rest_to_the_parser() {
        for text in [
            "01",
            "1_0",
            "1e3",
            "1.",
            ".5",
            "--1",
            "-",
            "'a' 'b'",
            "'a\\n'",
            "'''a'''",
            "'a",
            "b'a'",
            "1234567890123456789",
            "'a\nb'",
            "true",
            "1 2",
            "0x10",
            "'a'\"b'",
            "'",
        ] {
            assert_eq!(literal(text), None, "{text}");
        }
    }
}
