//! Operators on literals.

use std::cmp::Ordering;

use num_bigint::BigInt;

use super::number::{self, Number};
use super::{Budget, EvalError, Literal, format, sequence};

/// An operator on one operand; `not` is the walk's own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unary {
    Plus,
    Minus,
    Invert,
}

/// An operator on two operands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
    Shl,
    Shr,
    Or,
    Xor,
    And,
}

impl Binary {
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::FloorDiv => "//",
            Self::Mod => "%",
            Self::Pow => "**",
            Self::Shl => "<<",
            Self::Shr => ">>",
            Self::Or => "|",
            Self::Xor => "^",
            Self::And => "&",
        }
    }
}

/// A comparison.
#[derive(Debug, Clone, Copy)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
}

/// An integer from its digits.
pub(super) fn integer(digits: &[u8], radix: u32) -> Result<BigInt, EvalError> {
    number::digits(digits, radix)
}

pub(super) fn unary(op: Unary, operand: Literal) -> Result<Literal, EvalError> {
    match (op, operand) {
        (Unary::Plus, Literal::Bool(b)) => Ok(Literal::Int(BigInt::from(b))),
        (Unary::Minus, Literal::Bool(b)) => Ok(Literal::Int(-BigInt::from(b))),
        (Unary::Invert, Literal::Bool(b)) => Ok(Literal::Int(!BigInt::from(b))),
        (Unary::Plus, n @ (Literal::Int(_) | Literal::Float(_))) => Ok(n),
        (Unary::Minus, Literal::Int(n)) => Ok(Literal::Int(-n)),
        (Unary::Minus, Literal::Float(x)) => Ok(Literal::Float(-x)),
        (Unary::Invert, Literal::Int(n)) => number::int(!n),
        (op, other) => {
            let sign = match op {
                Unary::Plus => "+",
                Unary::Minus => "-",
                Unary::Invert => "~",
            };
            let what = format!("cannot compute {sign} of {}", other.kind());
            Err(EvalError::Operand(what))
        }
    }
}

pub(super) fn binary(
    op: Binary,
    left: Literal,
    right: Literal,
    budget: &mut Budget,
) -> Result<Literal, EvalError> {
    use Literal::{Bool, Bytes, Float, Int, List, Str, Tuple};
    match (op, left, right) {
        (Binary::Or, Bool(a), Bool(b)) => Ok(Bool(a | b)),
        (Binary::Xor, Bool(a), Bool(b)) => Ok(Bool(a ^ b)),
        (Binary::And, Bool(a), Bool(b)) => Ok(Bool(a & b)),
        (op, Bool(a), b @ (Bool(_) | Int(_) | Float(_))) => {
            binary(op, Int(BigInt::from(a)), b, budget)
        }
        (op, a @ (Int(_) | Float(_)), Bool(b)) => binary(op, a, Int(BigInt::from(b)), budget),
        (op, Int(a), Int(b)) => number::integers(op, &a, &b),
        (op, Float(a), Float(b)) => number::floats(op, a, b),
        (op, Int(a), Float(b)) if takes_floats(op) => number::floats(op, number::to_float(&a)?, b),
        (op, Float(a), Int(b)) if takes_floats(op) => number::floats(op, a, number::to_float(&b)?),

        (Binary::Add, Str(mut a), Str(b)) => {
            budget.take(a.len().saturating_add(b.len()))?;
            a.push_str(&b);
            Ok(Str(a))
        }
        (Binary::Add, Bytes(mut a), Bytes(b)) => {
            budget.take(a.len().saturating_add(b.len()))?;
            a.extend(b);
            Ok(Bytes(a))
        }
        (Binary::Add, Tuple(a), Tuple(b)) => joined(a, b, budget).map(Tuple),
        (Binary::Add, List(a), List(b)) => joined(a, b, budget).map(List),
        (Binary::Mul, a @ (Str(_) | Bytes(_) | Tuple(_) | List(_)), Int(n))
        | (Binary::Mul, Int(n), a @ (Str(_) | Bytes(_) | Tuple(_) | List(_))) => {
            sequence::repeat(a, &n, budget)
        }
        (Binary::Mul, a @ (Str(_) | Bytes(_) | Tuple(_) | List(_)), Bool(n))
        | (Binary::Mul, Bool(n), a @ (Str(_) | Bytes(_) | Tuple(_) | List(_))) => {
            sequence::repeat(a, &BigInt::from(n), budget)
        }
        (Binary::Mod, Str(template), values) => {
            format::percent(&template, &values, budget).map(Str)
        }
        (op, a, b) => Err(EvalError::Operand(format!(
            "cannot compute {} {} {}",
            a.kind(),
            op.sign(),
            b.kind()
        ))),
    }
}

const fn takes_floats(op: Binary) -> bool {
    !matches!(
        op,
        Binary::Shl | Binary::Shr | Binary::Or | Binary::Xor | Binary::And
    )
}

fn joined(
    mut a: Vec<Literal>,
    b: Vec<Literal>,
    budget: &mut Budget,
) -> Result<Vec<Literal>, EvalError> {
    budget.take_times(Budget::ITEM, a.len().saturating_add(b.len()))?;
    a.extend(b);
    Ok(a)
}

pub(super) fn compare(
    op: Compare,
    left: &Literal,
    right: &Literal,
    budget: &mut Budget,
) -> Result<bool, EvalError> {
    Ok(match op {
        Compare::Equal => equal(left, right),
        Compare::NotEqual => !equal(left, right),
        Compare::In => sequence::contains(right, left, budget)?,
        Compare::NotIn => !sequence::contains(right, left, budget)?,
        Compare::Less => order(left, right)?.is_some_and(Ordering::is_lt),
        Compare::LessEqual => order(left, right)?.is_some_and(Ordering::is_le),
        Compare::Greater => order(left, right)?.is_some_and(Ordering::is_gt),
        Compare::GreaterEqual => order(left, right)?.is_some_and(Ordering::is_ge),
    })
}

/// `==`
pub(super) fn equal(a: &Literal, b: &Literal) -> bool {
    match (a, b) {
        (Literal::None, Literal::None) => true,
        (Literal::Str(a), Literal::Str(b)) => a == b,
        (Literal::Bytes(a), Literal::Bytes(b)) => a == b,
        (Literal::Tuple(a), Literal::Tuple(b)) | (Literal::List(a), Literal::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Literal::Map(a), Literal::Map(b)) => {
            let same = |(key, value): &(Literal, Literal)| {
                let other = b.iter().find(|(k, _)| equal(k, key));
                other.is_some_and(|(_, v)| equal(v, value))
            };
            a.len() == b.len() && a.iter().all(same)
        }
        (a, b) => numeric(a, b).is_some_and(|order| order == Some(Ordering::Equal)),
    }
}

/// The order of two numbers, if both are: none of NaN.
fn numeric(a: &Literal, b: &Literal) -> Option<Option<Ordering>> {
    let nan = |x: &Literal| matches!(x, Literal::Float(x) if x.is_nan());
    let (x, y) = (Number::of(a)?, Number::of(b)?);
    Some((!nan(a) && !nan(b)).then(|| x.cmp(&y)))
}

fn order(a: &Literal, b: &Literal) -> Result<Option<Ordering>, EvalError> {
    match (a, b) {
        (Literal::Str(a), Literal::Str(b)) => Ok(Some(a.cmp(b))),
        (Literal::Bytes(a), Literal::Bytes(b)) => Ok(Some(a.cmp(b))),
        (Literal::Tuple(a), Literal::Tuple(b)) | (Literal::List(a), Literal::List(b)) => {
            match a.iter().zip(b).find(|(a, b)| !equal(a, b)) {
                Some((a, b)) => order(a, b),
                None => Ok(Some(a.len().cmp(&b.len()))),
            }
        }
        (a, b) => numeric(a, b).ok_or_else(|| {
            let what = format!("cannot compare {} and {}", a.kind(), b.kind());
            EvalError::Operand(what)
        }),
    }
}
