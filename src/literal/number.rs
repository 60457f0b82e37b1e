//! Numbers by their value, whatever their type, and arithmetic on them.
//!
//! Python's rules: `True` is 1, an integer equals the float of the same
//! value exactly (not after rounding), `//` rounds down, `%` has the sign of
//! the divisor, `/` is correctly rounded.

use std::cmp::Ordering;

use num_bigint::{BigInt, Sign};
use num_traits::{FromPrimitive, Signed, ToPrimitive, Zero};

use super::ops::Binary;
use super::{EvalError, Literal};

/// Most bits of an integer within an evaluation.
const MAX_BITS: u64 = 4096;

/// A number by its value: equal numbers are equal here, and hash and order
/// alike, whatever type they came from. NaN equals itself and comes last.
#[derive(Debug, Clone)]
pub enum Number {
    /// An integer, or the float of an integer, below 2^120
    Int(i128),
    /// An integer, or the float of an integer, from 2^120 on
    Big(BigInt),
    /// Any other float
    Float(f64),
}

impl Number {
    /// Everything below, of either sign, is an [`Number::Int`].
    const SMALL: i128 = 1 << 120;

    pub(super) fn of(literal: &Literal) -> Option<Self> {
        match literal {
            Literal::Bool(b) => Some(Self::Int(i128::from(*b))),
            Literal::Int(n) => Some(Self::from(n.clone())),
            Literal::Float(x) => Some(Self::from(*x)),
            _ => None,
        }
    }
}

impl From<BigInt> for Number {
    fn from(n: BigInt) -> Self {
        match n.to_i128() {
            Some(n) if -Self::SMALL < n && n < Self::SMALL => Self::Int(n),
            _ => Self::Big(n),
        }
    }
}

impl From<f64> for Number {
    fn from(x: f64) -> Self {
        if x.is_finite() && x.fract() == 0.0 {
            BigInt::from_f64(x).map_or(Self::Float(x), Self::from)
        } else {
            Self::Float(x)
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Big(a), Self::Big(b)) => a.cmp(b),
            (Self::Int(_), Self::Big(b)) if b.is_negative() => Ordering::Greater,
            (Self::Int(_), Self::Big(_)) => Ordering::Less,
            (Self::Float(a), Self::Float(b)) => match a.partial_cmp(b) {
                Some(order) => order,
                None => a.is_nan().cmp(&b.is_nan()),
            },
            (Self::Float(x), Self::Int(n)) => against(*x, &BigInt::from(*n)),
            (Self::Float(x), Self::Big(n)) => against(*x, n),
            (Self::Big(_), Self::Int(_)) | (_, Self::Float(_)) => other.cmp(self).reverse(),
        }
    }
}

/// Compares a float that is no integer with an integer.
fn against(x: f64, n: &BigInt) -> Ordering {
    match BigInt::from_f64(x.floor()) {
        Some(below) if below < *n => Ordering::Less,
        Some(_) => Ordering::Greater,
        None if x < 0.0 => Ordering::Less,
        None => Ordering::Greater,
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

impl std::hash::Hash for Number {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self {
            Self::Int(n) => n.hash(state),
            Self::Big(n) => n.hash(state),
            Self::Float(x) if x.is_nan() => f64::NAN.to_bits().hash(state),
            Self::Float(x) => x.to_bits().hash(state),
        }
    }
}

/// An integer from an expression, if it is not too long to go on with.
pub(super) fn int(n: BigInt) -> Result<Literal, EvalError> {
    if n.bits() > MAX_BITS {
        return Err(EvalError::TooLarge);
    }
    Ok(Literal::Int(n))
}

/// The digits of an integer as it is written, sign and prefix apart.
pub(super) fn digits(digits: &[u8], radix: u32) -> Result<BigInt, EvalError> {
    let zeros = digits.iter().take_while(|b| matches!(b, b'0' | b'_'));
    let digits = digits.get(zeros.count()..).unwrap_or(&[]);
    if digits.is_empty() {
        return Ok(BigInt::zero());
    }
    // each digit but the first holds at least so many bits; underscores may
    // stand between any two of them
    let bits = u64::from(radix.ilog2());
    let least = u64::try_from(digits.len() / 2).unwrap_or(u64::MAX);
    if least.saturating_mul(bits) > MAX_BITS {
        return Err(EvalError::TooLarge);
    }
    let n = BigInt::parse_bytes(digits, radix).ok_or_else(|| EvalError::Syntax {
        at: 0,
        what: "not an integer".into(),
    })?;
    if n.bits() > MAX_BITS {
        return Err(EvalError::TooLarge);
    }
    Ok(n)
}

/// An integer as a float.
pub(super) fn to_float(n: &BigInt) -> Result<f64, EvalError> {
    n.to_f64()
        .filter(|x| x.is_finite())
        .ok_or(EvalError::FloatRange)
}

/// An operator on two integers.
pub(super) fn integers(op: Binary, a: &BigInt, b: &BigInt) -> Result<Literal, EvalError> {
    match op {
        Binary::Add => int(a + b),
        Binary::Sub => int(a - b),
        Binary::Mul => int(a * b),
        Binary::Div => quotient(a, b).map(Literal::Float),
        Binary::FloorDiv => int(div_mod(a, b)?.0),
        Binary::Mod => int(div_mod(a, b)?.1),
        Binary::Pow if b.is_negative() => floats(op, to_float(a)?, to_float(b)?),
        Binary::Pow => power(a, b),
        Binary::Shl | Binary::Shr => shift(op, a, b),
        Binary::Or => int(a | b),
        Binary::Xor => int(a ^ b),
        Binary::And => int(a & b),
    }
}

fn div_mod(a: &BigInt, b: &BigInt) -> Result<(BigInt, BigInt), EvalError> {
    if b.is_zero() {
        return Err(EvalError::ZeroDivision);
    }
    let (quotient, rest) = (a / b, a % b);
    if !rest.is_zero() && rest.is_negative() != b.is_negative() {
        Ok((quotient - 1, rest + b))
    } else {
        Ok((quotient, rest))
    }
}

/// `a / b`, rounded once.
fn quotient(a: &BigInt, b: &BigInt) -> Result<f64, EvalError> {
    /// Integers up to here are exact as floats.
    const EXACT: u64 = 53;
    if b.is_zero() {
        return Err(EvalError::ZeroDivision);
    }
    if a.bits() <= EXACT && b.bits() <= EXACT {
        return Ok(to_float(a)? / to_float(b)?);
    }
    // a quotient of 66 bits or more, its last bit telling of any rest, rounds
    // as the true one does
    let missing = (b.bits() + 66).saturating_sub(a.bits());
    let scaled = a.magnitude() << missing;
    let mut whole = &scaled / b.magnitude();
    if &whole * b.magnitude() != scaled {
        whole.set_bit(0, true);
    }
    let mut x = whole.to_f64().unwrap_or(f64::INFINITY);
    if !x.is_finite() {
        return Err(EvalError::FloatRange);
    }
    let mut missing = i32::try_from(missing).map_err(|_| EvalError::FloatRange)?;
    while missing > 0 {
        // a power of two within the range of floats
        let step = missing.min(1000);
        x /= 2f64.powi(step);
        missing -= step;
    }
    let negative = a.is_negative() != b.is_negative();
    Ok(if negative { -x } else { x })
}

fn power(a: &BigInt, b: &BigInt) -> Result<Literal, EvalError> {
    let one = BigInt::from(1);
    if b.is_zero() {
        return Ok(Literal::Int(one));
    }
    if a.magnitude() <= one.magnitude() {
        // 0 and 1 stay; -1 does if the exponent is odd
        let stays = a.sign() != Sign::Minus || b.bit(0);
        return Ok(Literal::Int(if stays { a.clone() } else { one }));
    }
    let exponent = b.to_u32().ok_or(EvalError::TooLarge)?;
    if (a.bits() - 1).saturating_mul(u64::from(exponent)) > MAX_BITS {
        return Err(EvalError::TooLarge);
    }
    int(a.pow(exponent))
}

fn shift(op: Binary, a: &BigInt, b: &BigInt) -> Result<Literal, EvalError> {
    if b.is_negative() {
        return Err(EvalError::Operand("cannot shift by less than zero".into()));
    }
    let by = b.to_u64();
    match op {
        Binary::Shr => Ok(Literal::Int(match by {
            Some(by) if by <= MAX_BITS => a >> by,
            // nothing remains but the sign
            _ if a.is_negative() => BigInt::from(-1),
            _ => BigInt::zero(),
        })),
        _ if a.is_zero() => Ok(Literal::Int(BigInt::zero())),
        _ => match by {
            Some(by) if by <= MAX_BITS => int(a << by),
            _ => Err(EvalError::TooLarge),
        },
    }
}

/// An operator on two floats.
pub(super) fn floats(op: Binary, a: f64, b: f64) -> Result<Literal, EvalError> {
    let zero = b == 0.0;
    let x = match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div | Binary::FloorDiv | Binary::Mod if zero => {
            return Err(EvalError::ZeroDivision);
        }
        Binary::Div => a / b,
        Binary::FloorDiv => float_div_mod(a, b).0,
        Binary::Mod => float_div_mod(a, b).1,
        Binary::Pow => return float_power(a, b).map(Literal::Float),
        Binary::Shl | Binary::Shr | Binary::Or | Binary::Xor | Binary::And => {
            return Err(EvalError::Operand(format!(
                "cannot compute a float {} a float",
                op.sign()
            )));
        }
    };
    Ok(Literal::Float(x))
}

fn float_div_mod(a: f64, b: f64) -> (f64, f64) {
    let mut rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest == 0.0 {
        rest = rest.abs().copysign(b);
    } else if (b < 0.0) != (rest < 0.0) {
        rest += b;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return (0f64.copysign(a / b), rest);
    }
    let floor = quotient.floor();
    // the division may have come out just below a whole number
    let whole = if quotient - floor > 0.5 {
        floor + 1.0
    } else {
        floor
    };
    (whole, rest)
}

fn float_power(a: f64, b: f64) -> Result<f64, EvalError> {
    if a == 0.0 && b < 0.0 {
        return Err(EvalError::ZeroDivision);
    }
    if a < 0.0 && a.is_finite() && b.is_finite() && b.fract() != 0.0 {
        return Err(EvalError::Unavailable("a complex number"));
    }
    let x = a.powf(b);
    if x.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(EvalError::FloatRange);
    }
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_equal_numbers() {
        let pairs = [
            (Number::from(BigInt::from(1)), Number::from(1.0)),
            (Number::from(BigInt::from(0)), Number::from(-0.0)),
            (
                Number::from(BigInt::from(1) << 119),
                Number::from(2f64.powi(119)),
            ),
            (
                Number::from(BigInt::from(1) << 120),
                Number::from(2f64.powi(120)),
            ),
            (
                Number::from(BigInt::from(1) << 900),
                Number::from(2f64.powi(900)),
            ),
        ];
        for (a, b) in pairs {
            assert_eq!(a, b);
        }
        // equal only after rounding
        let odd = (1i64 << 53) + 1;
        assert_ne!(
            Number::from(BigInt::from(odd)),
            Number::from(9_007_199_254_740_992.0)
        );
    }

    #[test]
    fn numbers_are_in_order() {
        let big = |bits: u32| Number::from(BigInt::from(1) << bits);
        let ordered = [
            Number::from(f64::NEG_INFINITY),
            Number::from(-2f64.powi(130)),
            Number::from(-1.5),
            Number::from(-1.0),
            Number::from(0.5),
            Number::from(1.0),
            Number::from(1.5),
            Number::from(BigInt::from(2)),
            big(119),
            big(120),
            Number::from(2f64.powi(125)),
            big(130),
            Number::from(f64::INFINITY),
            Number::from(f64::NAN),
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{a:?} {b:?}");
            }
        }
    }
}
