//! Python's `%` on texts: `'%d' % 5`.

use num_bigint::{BigInt, Sign};
use num_traits::{FromPrimitive, ToPrimitive};

use super::ops::equal;
use super::{Budget, EvalError, Literal, number, sequence};

/// Most digits after the point, and greatest least length of an integer.
const MAX_PRECISION: usize = 1000;

/// Fills a template with values: a tuple's items, a map's, or one value.
pub(super) fn percent(
    template: &str,
    values: &Literal,
    budget: &mut Budget,
) -> Result<String, EvalError> {
    let mut values = Values {
        all: values,
        used: 0,
    };
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('%') {
        budget.take(before.len())?;
        out.push_str(before);
        let (spec, after) = Spec::read(after)?;
        rest = after;
        if spec.kind == '%' {
            out.push('%');
            continue;
        }
        let value = match spec.key {
            Some(key) => values.named(key)?,
            None => values.next()?,
        };
        let cost = sequence::size(value).saturating_add(spec.width);
        budget.take(cost)?;
        let text = spec.fill(value)?;
        budget.take(text.len())?;
        out.push_str(&text);
    }
    budget.take(rest.len())?;
    out.push_str(rest);
    values.finish()?;
    Ok(out)
}

fn operand(what: impl Into<String>) -> EvalError {
    EvalError::Operand(what.into())
}

struct Values<'a> {
    all: &'a Literal,
    used: usize,
}

impl<'a> Values<'a> {
    fn next(&mut self) -> Result<&'a Literal, EvalError> {
        let next = match self.all {
            Literal::Tuple(items) => items.get(self.used),
            one => (self.used == 0).then_some(one),
        };
        self.used += 1;
        next.ok_or_else(|| operand("fewer values than places in the text"))
    }

    fn named(&self, name: &str) -> Result<&'a Literal, EvalError> {
        let Literal::Map(pairs) = self.all else {
            return Err(operand("a text with named places needs a map"));
        };
        let name = Literal::Str(name.to_owned());
        let found = pairs.iter().find(|(key, _)| equal(key, &name));
        found
            .map(|(_, value)| value)
            .ok_or_else(|| EvalError::NoItem(name.to_string()))
    }

    fn finish(self) -> Result<(), EvalError> {
        let given = match self.all {
            Literal::Tuple(items) => items.len(),
            Literal::Map(_) => 0,
            _ => 1,
        };
        if self.used < given {
            return Err(operand("more values than places in the text"));
        }
        Ok(())
    }
}

/// One place: `%(key)#0- +WIDTH.PRECISIONkind`.
#[derive(Default)]
struct Spec<'a> {
    key: Option<&'a str>,
    alternate: bool,
    zero: bool,
    left: bool,
    space: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
    kind: char,
}

impl<'a> Spec<'a> {
    /// Reads what follows the `%`, and returns the text after it.
    fn read(text: &'a str) -> Result<(Self, &'a str), EvalError> {
        let mut spec = Self::default();
        let mut rest = text;
        if let Some(named) = rest.strip_prefix('(') {
            let (key, after) = named
                .split_once(')')
                .ok_or_else(|| operand("a place in the text lacks its `)`"))?;
            spec.key = Some(key);
            rest = after;
        }
        while let Some(flag) = rest.chars().next() {
            match flag {
                '#' => spec.alternate = true,
                '0' => spec.zero = true,
                '-' => spec.left = true,
                ' ' => spec.space = true,
                '+' => spec.plus = true,
                _ => break,
            }
            rest = rest.get(1..).unwrap_or("");
        }
        (spec.width, rest) = count(rest);
        if let Some(after) = rest.strip_prefix('.') {
            let (precision, after) = count(after);
            spec.precision = Some(precision);
            rest = after;
        }
        rest = rest.trim_start_matches(['h', 'l', 'L']);
        let mut chars = rest.chars();
        spec.kind = chars
            .next()
            .ok_or_else(|| operand("the text ends within a place"))?;
        Ok((spec, chars.as_str()))
    }

    fn fill(&self, value: &Literal) -> Result<String, EvalError> {
        match self.kind {
            's' => match value {
                Literal::Str(text) => Ok(self.text(text)),
                other => Ok(self.text(&other.to_string())),
            },
            'r' => Ok(self.text(&value.to_string())),
            'c' => self.character(value),
            'd' | 'i' | 'u' => self.integer(&whole(value)?, 10, ""),
            'x' => self.integer(&exact(value)?, 16, "0x"),
            'X' => Ok(self.integer(&exact(value)?, 16, "0x")?.to_uppercase()),
            'o' => self.integer(&exact(value)?, 8, "0o"),
            'e' | 'f' | 'g' => self.float(float(value)?, self.kind),
            'E' | 'F' | 'G' => {
                let text = self.float(float(value)?, self.kind.to_ascii_lowercase())?;
                Ok(text.to_uppercase())
            }
            other => Err(operand(format!("unknown place %{other} in the text"))),
        }
    }

    fn text(&self, text: &str) -> String {
        let cut = self.precision.and_then(|n| text.char_indices().nth(n));
        let text = cut.and_then(|(at, _)| text.get(..at)).unwrap_or(text);
        self.pad("", text, false)
    }

    fn character(&self, value: &Literal) -> Result<String, EvalError> {
        let c = match value {
            Literal::Str(text) => {
                let mut chars = text.chars();
                chars.next().filter(|_| chars.as_str().is_empty())
            }
            Literal::Int(n) => n.to_u32().and_then(char::from_u32),
            _ => None,
        };
        let c = c.ok_or_else(|| operand(format!("{value} is no character")))?;
        Ok(self.pad("", c.encode_utf8(&mut [0; 4]), false))
    }

    fn integer(&self, n: &BigInt, radix: u32, prefix: &str) -> Result<String, EvalError> {
        let digits = n.magnitude().to_str_radix(radix);
        let least = self.precision.unwrap_or(0);
        if least > MAX_PRECISION {
            return Err(EvalError::TooLarge);
        }
        let digits = format!("{digits:0>least$}");
        let prefix = if self.alternate { prefix } else { "" };
        let sign = self.sign(n.sign() == Sign::Minus);
        Ok(self.pad(&format!("{sign}{prefix}"), &digits, true))
    }

    fn float(&self, x: f64, kind: char) -> Result<String, EvalError> {
        let precision = self.precision.unwrap_or(6);
        if precision > MAX_PRECISION {
            return Err(EvalError::TooLarge);
        }
        let sign = self.sign(x.is_sign_negative() && !x.is_nan());
        let x = x.abs();
        if x.is_nan() {
            return Ok(self.pad(sign, "nan", false));
        }
        if x.is_infinite() {
            return Ok(self.pad(sign, "inf", false));
        }
        let digits = match kind {
            'f' => format!("{x:.precision$}"),
            'e' => scientific(x, precision).0,
            _ => self.general(x, precision.max(1)),
        };
        Ok(self.pad(sign, &digits, true))
    }

    /// `%g`: whichever is shorter, without the zeros at the end.
    fn general(&self, x: f64, precision: usize) -> String {
        let (text, exponent) = scientific(x, precision - 1);
        let fixed = i32::try_from(precision)
            .ok()
            .filter(|p| (-4..*p).contains(&exponent))
            .and_then(|p| usize::try_from(p - 1 - exponent).ok());
        let (digits, tail) = match (fixed, text.split_once('e')) {
            (Some(places), _) => (format!("{x:.places$}"), String::new()),
            (None, Some((digits, tail))) => (digits.to_owned(), format!("e{tail}")),
            (None, None) => (text, String::new()),
        };
        if self.alternate || !digits.contains('.') {
            return digits + &tail;
        }
        digits
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned()
            + &tail
    }

    const fn sign(&self, negative: bool) -> &'static str {
        if negative {
            "-"
        } else if self.plus {
            "+"
        } else if self.space {
            " "
        } else {
            ""
        }
    }

    fn pad(&self, sign: &str, text: &str, zeros: bool) -> String {
        let len = sign.len().saturating_add(text.chars().count());
        let missing = self.width.saturating_sub(len);
        if self.left {
            format!("{sign}{text}{}", " ".repeat(missing))
        } else if self.zero && zeros {
            format!("{sign}{}{text}", "0".repeat(missing))
        } else {
            format!("{}{sign}{text}", " ".repeat(missing))
        }
    }
}

/// Digits at the start of a text as a number; none are zero.
fn count(text: &str) -> (usize, &str) {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = text.strip_suffix(rest).unwrap_or("");
    let n = digits.bytes().fold(0usize, |n, b| {
        n.saturating_mul(10).saturating_add(usize::from(b - b'0'))
    });
    (n, rest)
}

/// `1.5e+03`, and the exponent.
fn scientific(x: f64, precision: usize) -> (String, i32) {
    let text = format!("{x:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    let shown = format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    (shown, exponent)
}

fn whole(value: &Literal) -> Result<BigInt, EvalError> {
    match value {
        Literal::Float(x) => {
            BigInt::from_f64(x.trunc()).ok_or_else(|| operand(format!("{value} is no integer")))
        }
        other => exact(other),
    }
}

fn exact(value: &Literal) -> Result<BigInt, EvalError> {
    match value {
        Literal::Bool(b) => Ok(BigInt::from(*b)),
        Literal::Int(n) => Ok(n.clone()),
        other => Err(operand(format!("{} is no integer", other.kind()))),
    }
}

fn float(value: &Literal) -> Result<f64, EvalError> {
    match value {
        Literal::Bool(b) => Ok(f64::from(u8::from(*b))),
        Literal::Int(n) => number::to_float(n),
        Literal::Float(x) => Ok(*x),
        other => Err(operand(format!("{} is no number", other.kind()))),
    }
}

#[cfg(test)]
mod tests {
    use crate::literal::eval;

    #[test]
    fn texts_are_filled_like_python() {
        for (text, want) in [
            ("'%d' % 5", "'5'"),
            ("'%s=%r' % ('a', 'b')", "\"a='b'\""),
            ("'%s' % None", "'None'"),
            ("'%s' % {'a': 1}", "\"{'a': 1}\""),
            ("'%(a)s %(b)05d' % {'a': 1, 'b': -2}", "'1 -0002'"),
            ("'%5s|%-5s|%.2s' % ('a', 'b', 'äöü')", "'    a|b    |äö'"),
            ("'%x %X %#x %o' % (255, 255, 255, 8)", "'ff FF 0xff 10'"),
            (
                "'%.3f %e %g %g' % (1.5, 1500, 1e-5, 0.5)",
                "'1.500 1.500000e+03 1e-05 0.5'",
            ),
            ("'%g %g' % (1e6, 123456)", "'1e+06 123456'"),
            ("'%+d % d %d' % (1, 2, True)", "'+1  2 1'"),
            ("'%d%%' % 1.9", "'1%'"),
            ("'%c%c' % ('a', 98)", "'ab'"),
            ("'%08.3f' % -1.5", "'-001.500'"),
            ("'%.3d' % 5", "'005'"),
            ("'%s' % (1e999,)", "'inf'"),
        ] {
            assert_eq!(eval(text).map(|v| v.to_string()), Ok(want.into()), "{text}");
        }
    }

    #[test]
    fn values_and_places_must_fit() {
        for text in [
            "'%d' % ()",
            "'%d' % (1, 2)",
            "'a' % 1",
            "'%(a)d' % 1",
            "'%(b)d' % {'a': 1}",
            "'%d' % 'a'",
            "'%' % 1",
            "'%(a' % {}",
            "'%q' % 1",
            "'%c' % 'ab'",
            "'%*d' % (3, 4)",
            "'%d' % 1e999",
        ] {
            assert!(eval(text).is_err(), "{text}");
        }
    }
}
