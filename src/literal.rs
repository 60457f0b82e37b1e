//! Literals: the one expression reader, for `-e` and for the evaluated
//! elements of paths.
//!
//! [`eval`] reads what Python calls a literal, and simple expressions over
//! literals: arithmetic, comparisons, `and`/`or`/`not`, `in`, `if`/`else`,
//! index and slice, containers. Names, calls, attributes and comprehensions do
//! not exist here, so nothing that it reads can act.
//!
//! The rule it keeps: whatever the text, the time and memory spent are
//! bounded. Length and nesting are checked before the parser (which recurses)
//! sees the text; every operator checks the size of its result before it
//! builds it. Differs from the original, whose `-e` has neither lists nor maps
//! but does have f-strings, methods and integers without bound.

mod fast;
mod format;
mod number;
mod ops;
pub mod repr;
mod scan;
mod sequence;
mod walk;

use std::borrow::Cow;
use std::fmt;

use num_bigint::{BigInt, BigUint};

pub use number::Number;

/// Longest text that [`eval`] reads, in bytes.
pub const MAX_TEXT: usize = 64 << 10;
/// Deepest nesting of brackets that [`eval`] reads.
pub const MAX_BRACKETS: usize = 64;
/// Most bits of an integer that can be stored from an expression.
pub const MAX_INT_BITS: u64 = 1024;

/// What an expression evaluates to.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `None`
    None,
    /// `True`, `False`
    Bool(bool),
    /// An integer of at most 4,096 bits; what can be stored is less, see
    /// [`Integer`]
    Int(BigInt),
    /// A float; may be infinite or NaN
    Float(f64),
    /// Text
    Str(String),
    /// Bytes
    Bytes(Vec<u8>),
    /// `(a, b)`
    Tuple(Vec<Self>),
    /// `[a, b]`
    List(Vec<Self>),
    /// `{k: v}`; the keys differ, and hold neither lists nor maps
    Map(Vec<(Self, Self)>),
}

/// Reads an expression.
///
/// ```
/// use moat::literal::{Literal, eval};
///
/// assert_eq!(eval("40 + 2")?, Literal::Int(42.into()));
/// assert_eq!(eval("'a' * 3")?, Literal::Str("aaa".into()));
/// assert!(eval("9**9**9").is_err()); // at once
/// assert_eq!(
///     eval("foo").unwrap_err().to_string(),
///     "unknown word foo: quote it or use -v",
/// );
/// # Ok::<(), moat::literal::EvalError>(())
/// ```
///
/// # Errors
/// Whatever is no such expression, and results beyond the limits.
pub fn eval(text: &str) -> Result<Literal, EvalError> {
    eval_within(text, MAX_TEXT)
}

/// [`eval`], for callers whose texts are bounded otherwise.
pub(crate) fn eval_within(text: &str, longest: usize) -> Result<Literal, EvalError> {
    if text.len() > longest {
        return Err(EvalError::TooLong(longest));
    }
    const BLANKS: [char; 5] = [' ', '\t', '\n', '\r', '\x0c'];
    let whole = text.trim_end_matches(BLANKS);
    let text = whole.trim_start_matches(BLANKS);
    if text.is_empty() {
        return Err(EvalError::Empty);
    }
    if let Some(literal) = fast::literal(text) {
        return Ok(literal);
    }
    scan::check(text)
        .and_then(|()| walk::eval(text))
        .map_err(|error| match error {
            EvalError::Syntax { at, what } => EvalError::Syntax {
                at: at + (whole.len() - text.len()),
                what,
            },
            other => other,
        })
}

impl Literal {
    /// What its type is called in messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Str(_) => "a text",
            Self::Bytes(_) => "bytes",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// Whether `if` takes it for true.
    fn truth(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(b) => *b,
            Self::Int(n) => n.sign() != num_bigint::Sign::NoSign,
            Self::Float(x) => *x != 0.0,
            Self::Str(s) => !s.is_empty(),
            Self::Bytes(b) => !b.is_empty(),
            Self::Tuple(v) | Self::List(v) => !v.is_empty(),
            Self::Map(m) => !m.is_empty(),
        }
    }
}

/// Prints as Python's `repr` does.
impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Int(n) => write!(f, "{n}"),
            Self::Float(x) => repr::Float(*x).fmt(f),
            Self::Str(s) => repr::Text(s).fmt(f),
            Self::Bytes(b) => repr::Bytes(b).fmt(f),
            Self::Tuple(items) if items.len() == 1 => {
                f.write_str("(")?;
                repr::list(f, items)?;
                f.write_str(",)")
            }
            Self::Tuple(items) => {
                f.write_str("(")?;
                repr::list(f, items)?;
                f.write_str(")")
            }
            Self::List(items) => {
                f.write_str("[")?;
                repr::list(f, items)?;
                f.write_str("]")
            }
            Self::Map(pairs) => {
                f.write_str("{")?;
                for (i, (key, value)) in pairs.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{key}: {value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

/// An integer that can be stored, in the smallest form that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integer {
    /// Below 2^63
    Int(i64),
    /// From 2^63 on
    Uint(u64),
    /// From 2^64 on, at most [`MAX_INT_BITS`] long
    Big(BigUint),
}

impl TryFrom<BigInt> for Integer {
    type Error = EvalError;

    fn try_from(n: BigInt) -> Result<Self, EvalError> {
        if let Ok(n) = i64::try_from(&n) {
            return Ok(Self::Int(n));
        }
        let n = BigUint::try_from(n).map_err(|_| EvalError::IntTooLow)?;
        if let Ok(n) = u64::try_from(&n) {
            return Ok(Self::Uint(n));
        }
        if n.bits() > MAX_INT_BITS {
            return Err(EvalError::IntTooBig);
        }
        Ok(Self::Big(n))
    }
}

/// Why a text cannot be evaluated.
///
/// As a message: what is wrong and, for users of `-e`, the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvalError {
    /// There is nothing but blanks.
    Empty,
    /// The text is longer than so many bytes.
    TooLong(usize),
    /// Brackets within brackets, or too many operators in a row.
    TooDeep,
    /// A bare word.
    UnknownWord(String),
    /// Something that looks like a call.
    Call(String),
    /// Python that is not evaluated here.
    Unavailable(&'static str),
    /// No Python at all.
    Syntax {
        /// Where, in bytes from the start.
        at: usize,
        /// What the parser says.
        what: String,
    },
    /// An operator does not take such operands.
    Operand(String),
    /// Division by zero, and zero to a negative power.
    ZeroDivision,
    /// No such item.
    NoItem(String),
    /// The result, or a part of it, would be too large.
    TooLarge,
    /// A float operation left the range of floats.
    FloatRange,
    /// An integer of more than [`MAX_INT_BITS`] bits.
    IntTooBig,
    /// An integer below -2^63.
    IntTooLow,
    /// Half of a UTF-16 pair.
    Surrogate(String),
}

impl EvalError {
    /// What is wrong, for readers that offer another way out.
    pub(crate) fn cause(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::Empty => "nothing to evaluate",
            Self::TooLong(n) => return format!("the expression is longer than {n} bytes").into(),
            Self::TooDeep => "the expression is nested too deeply",
            Self::UnknownWord(word) => return format!("unknown word {word}").into(),
            Self::Call(name) => {
                return format!("cannot call {name}: there are no functions here").into();
            }
            Self::Unavailable(what) => return format!("{what} cannot be evaluated here").into(),
            Self::Syntax { at, what } => {
                return format!("cannot read the expression at {at}: {what}").into();
            }
            Self::Operand(what) => what,
            Self::ZeroDivision => "division by zero",
            Self::NoItem(index) => return format!("no item {index}").into(),
            Self::TooLarge => "the result is too large",
            Self::FloatRange => "the result is too large for a float",
            Self::IntTooBig => {
                return format!("an integer of more than {MAX_INT_BITS} bits").into();
            }
            Self::IntTooLow => "an integer below -2^63",
            Self::Surrogate(digits) => {
                return format!("\\u{digits} is no character but half of a pair").into();
            }
        })
    }

    const fn way_out(&self) -> &'static str {
        match self {
            Self::Empty => ": write '' for an empty text",
            Self::TooLong(_) => ": use -v, or read it from a file",
            Self::UnknownWord(_) => ": quote it or use -v",
            Self::Call(_) => "; quote it or use -v",
            Self::Unavailable(_) => ": write the value itself, or use -v for text",
            Self::Syntax { .. } => "; use -v for text",
            Self::IntTooBig | Self::IntTooLow => ": store it as a text",
            Self::Surrogate(_) => ": write \\U and eight digits",
            Self::TooDeep
            | Self::Operand(_)
            | Self::ZeroDivision
            | Self::NoItem(_)
            | Self::TooLarge
            | Self::FloatRange => "",
        }
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause())?;
        f.write_str(self.way_out())
    }
}

impl std::error::Error for EvalError {}

/// What may still be built: bounds the time and the memory of one evaluation.
struct Budget(usize);

impl Budget {
    /// Slightly more than the largest value that a server stores.
    const START: usize = 8 << 20;
    /// What an item costs beyond the bytes it holds.
    const ITEM: usize = 16;

    fn take(&mut self, cost: usize) -> Result<(), EvalError> {
        self.0 = self.0.checked_sub(cost).ok_or(EvalError::TooLarge)?;
        Ok(())
    }

    /// Pays for `count` times so many bytes and items.
    fn take_times(&mut self, cost: usize, count: usize) -> Result<(), EvalError> {
        self.take(cost.saturating_mul(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_eval(text: &str, want: &str) {
        match eval(text) {
            Ok(got) => assert_eq!(got.to_string(), want, "{text}"),
            Err(e) => panic!("{text}: {e}"),
        }
    }

    #[track_caller]
    fn assert_refused(text: &str, want: &str) {
        match eval(text) {
            Ok(got) => panic!("{text}: {got}"),
            Err(e) => assert_eq!(e.to_string(), want, "{text}"),
        }
    }

    #[test]
    fn huge_results_are_refused_at_once() {
        let large = EvalError::TooLarge.to_string();
        for text in [
            "9**9**9",
            "(-9)**9**9",
            "'a'*10**9",
            "10**9*b'a'",
            "1<<10**9",
            "1<<2**100",
            "[[0]*1000]*1000",
            "((0,)*10**5,)*10**5",
            "'%1000000000d' % 5",
            "'%.1000000000f' % 5",
            "[0]*10**7",
            "2**4097",
            "(2**4000)*(2**4000)",
        ] {
            assert_refused(text, &large);
        }
        assert_eval("0**9**9 + 1**9**9", "1");
        assert_eval("0<<10**9", "0");
        assert_eval("[] * 10**9", "[]");
        assert_eval("1>>10**9", "0");
        assert_eval("-1>>10**9", "-1");
    }

    #[test]
    fn long_integers_are_refused_before_they_are_read() {
        let large = EvalError::TooLarge.to_string();
        assert_refused(&"9".repeat(60_000), &large);
        assert_refused(&format!("-{}", "9".repeat(60_000)), &large);
        assert_refused(&format!("0x{}", "f".repeat(60_000)), &large);
        assert_eval(&format!("0x{}f", "0".repeat(60_000)), "15");
    }

    #[test]
    fn nesting_is_refused_before_it_is_parsed() {
        for (text, fits) in [
            ("(", 64),
            ("[", 64),
            ("{1:", 64),
            ("-", 200),
            ("not ", 200),
            ("1+", 200),
            ("1**", 100),
            ("1 if 1 else ", 100),
            ("1if 1else ", 100),
            ("1 and ", 200),
            ("1 < ", 200),
        ] {
            let closing = match text {
                "(" => ")",
                "[" => "]",
                "{1:" => "}",
                _ => "",
            };
            let deep = |n| format!("{}1{}", text.repeat(n), closing.repeat(n));
            assert!(eval(&deep(fits)).is_ok(), "{text} {:?}", eval(&deep(fits)));
            let many = 60_000 / text.len() / 2;
            assert_refused(&deep(many), "the expression is nested too deeply");
        }
        let deep = format!("(1,){}", "[0:1]".repeat(5000));
        assert_refused(&deep, "the expression is nested too deeply");
    }

    #[test]
    fn the_deepest_that_passes_fits_the_stack() {
        // a thread of 1 MiB: half of what threads usually have, and this is
        // the build that needs most
        let deepest = || {
            for (open, n, close) in [
                ("[---", 64, "]"),
                ("{1:---", 64, "}"),
                ("1[1:---", 51, "]"),
                ("(1 if 1 else ", 64, ")"),
                ("(1 or not ", 64, ")"),
                ("(1<-1 or [1][", 32, "])"),
                ("not ", 256, ""),
                ("1**", 128, ""),
            ] {
                let text = format!("{}1{}", open.repeat(n), close.repeat(n));
                assert_ne!(eval(&text), Err(EvalError::TooDeep), "{text}");
            }
        };
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        thread.spawn(deepest).unwrap().join().unwrap();
    }

    #[test]
    fn siblings_do_not_count_as_nesting() {
        let many = format!("[{}]", "-1 + 2, ".repeat(5000));
        let Ok(Literal::List(items)) = eval(&many) else {
            panic!("{:?}", eval(&many));
        };
        assert_eq!(items.len(), 5000);
        assert!(eval(&format!("{{{}}}", "(1, -2): [3], ".repeat(4000))).is_ok());
    }

    #[test]
    fn errors_say_the_way_out() {
        assert_refused("foo", "unknown word foo: quote it or use -v");
        assert_refused("[1, ä]", "unknown word ä: quote it or use -v");
        assert_refused(
            "max(1)",
            "cannot call max: there are no functions here; quote it or use -v",
        );
        for (text, what) in [
            ("'a'.upper()", "an attribute or method"),
            ("f'{1}'", "an f-string"),
            ("1j", "a complex number"),
            ("...", "an ellipsis"),
            ("{1,2}", "a set"),
            ("(1)(2)", "a call"),
            ("[*(1,2)]", "a star"),
            ("1 is 1", "`is`"),
        ] {
            let want = format!(
                "{what} cannot be evaluated here: write the value itself, or use -v for text"
            );
            assert_refused(text, &want);
        }
        assert_refused(
            "1 +",
            "cannot read the expression at 3: expected an expression; use -v for text",
        );
        assert_refused(
            "\n  1 +\n",
            "cannot read the expression at 6: expected an expression; use -v for text",
        );
        assert_refused("1 + 'a'", "cannot compute an integer + a text");
        assert_refused("1 < 'a'", "cannot compare an integer and a text");
        assert_refused("-'a'", "cannot compute - of a text");
        assert_refused("{[1]: 2}", "a list cannot be a key of a map");
        assert_refused("1 // 0", "division by zero");
        assert_refused("(1,2)[2]", "no item 2");
        assert_refused(
            r"'\ud83d\ude00'",
            "\\ud83d is no character but half of a pair: write \\U and eight digits",
        );
    }

    #[test]
    fn a_long_word_is_cut_short() {
        let EvalError::UnknownWord(word) = eval(&"ä".repeat(30_000)).unwrap_err() else {
            panic!("no unknown word");
        };
        assert!(word.chars().count() <= 41, "{word}");
    }

    #[test]
    fn integers_to_store_are_bounded() {
        let stored = |text: &str| match eval(text) {
            Ok(Literal::Int(n)) => Integer::try_from(n),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(stored("-2**63"), Ok(Integer::Int(i64::MIN)));
        assert_eq!(stored("-2**63-1"), Err(EvalError::IntTooLow));
        assert_eq!(stored("2**64-1"), Ok(Integer::Uint(u64::MAX)));
        assert!(matches!(stored("2**64"), Ok(Integer::Big(_))));
        assert!(matches!(stored("2**1024-1"), Ok(Integer::Big(_))));
        assert_eq!(stored("2**1024"), Err(EvalError::IntTooBig));
    }
}
