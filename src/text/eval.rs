//! `-e`: an expression becomes a [`Value`].
//!
//! The reader itself is [`literal`]. Here stands what a value
//! may be: integers from -2^63 to 1,024 bits. Tuples become lists, which is
//! what they are on the wire.

use crate::literal::{self, EvalError, Integer, Literal};
use crate::value::Value;

/// Reads an expression as a value.
///
/// ```
/// use moat::{text::eval::eval, value::Value};
///
/// assert!(matches!(eval("6 * 7")?, Value::Int(42)));
/// assert!(eval("-2**64").is_err());
/// # Ok::<(), moat::literal::EvalError>(())
/// ```
///
/// # Errors
/// What is no expression (see [`literal::eval`]), and what cannot be stored.
pub fn eval(text: &str) -> Result<Value, EvalError> {
    value(literal::eval(text)?)
}

// Recursion is bounded: a literal nests no deeper than its text's brackets.
fn value(literal: Literal) -> Result<Value, EvalError> {
    Ok(match literal {
        Literal::None => Value::Nil,
        Literal::Bool(b) => Value::Bool(b),
        Literal::Int(n) => match Integer::try_from(n)? {
            Integer::Int(n) => Value::Int(n),
            Integer::Uint(n) => Value::Uint(n),
            Integer::Big(n) => Value::Big(n),
        },
        Literal::Float(x) => Value::Float(x),
        Literal::Str(text) => Value::Str(text),
        Literal::Bytes(bytes) => Value::Bytes(bytes),
        Literal::Tuple(items) | Literal::List(items) => {
            let items: Result<_, _> = items.into_iter().map(value).collect();
            Value::List(items?)
        }
        Literal::Map(pairs) => {
            let pairs: Result<_, _> = pairs
                .into_iter()
                .map(|(k, v)| Ok((value(k)?, value(v)?)))
                .collect();
            Value::Map(pairs?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_bounded_at_any_depth() {
        assert_eq!(eval("[{1: -2**63 - 1}]").unwrap_err(), EvalError::IntTooLow);
        assert_eq!(eval("{(2**1024,): 1}").unwrap_err(), EvalError::IntTooBig);
        assert!(matches!(eval("2**1024 - 1"), Ok(Value::Big(n)) if n.bits() == 1024));
        assert!(matches!(eval("2**64 - 1"), Ok(Value::Uint(u64::MAX))));
        assert!(matches!(eval("-2**63"), Ok(Value::Int(i64::MIN))));
    }
}
