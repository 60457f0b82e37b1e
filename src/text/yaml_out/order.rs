//! The order of a map's keys: sorted, if Python would not refuse to compare
//! them.

use std::cmp::Ordering;

use num_bigint::BigInt;
use num_traits::FromPrimitive;

use crate::path::PathElem;
use crate::value::Value;

/// The pairs by key; as they stand if two keys are of types that have no
/// order between them, like numbers and texts.
pub(super) fn sorted(pairs: &[(Value, Value)]) -> Vec<(&Value, &Value)> {
    let as_stored = || pairs.iter().map(|(k, v)| (k, v)).collect();
    if pairs.len() < 2 {
        return as_stored();
    }
    let mut keys: Vec<(Key<'_>, &(Value, Value))> = pairs
        .iter()
        .map(|pair| (Key::from(&pair.0), pair))
        .collect();
    keys.sort_by(|(a, _), (b, _)| a.cmp(b).0);
    // neighbours in the order that covers all types: if these can be compared,
    // all can
    let refused = keys.windows(2).any(|two| match two {
        [(a, _), (b, _)] => a.cmp(b).1 == Comparable::No,
        _ => false,
    });
    if refused {
        return as_stored();
    }
    keys.into_iter().map(|(_, (k, v))| (k, v)).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparable {
    Yes,
    No,
}

/// A key, as far as its order goes.
enum Key<'a> {
    Nil,
    Int(BigInt),
    Float(f64),
    Str(&'a str),
    Bytes(&'a [u8]),
    Seq(Vec<Self>),
    Ext(i8, &'a [u8]),
    /// Maps and "not given", which are no keys
    Other,
}

impl<'a> From<&'a Value> for Key<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Nil => Self::Nil,
            Value::Bool(b) => Self::Int(BigInt::from(u8::from(*b))),
            Value::Int(n) => Self::Int(BigInt::from(*n)),
            Value::Uint(n) => Self::Int(BigInt::from(*n)),
            Value::Big(n) => Self::Int(n.clone().into()),
            Value::Float(x) => Self::float(*x),
            Value::Str(text) => Self::Str(text),
            Value::Bytes(bytes) => Self::Bytes(bytes),
            Value::List(items) => Self::Seq(items.iter().map(Self::from).collect()),
            Value::Path(path) => Self::Seq(path.elements().iter().map(Self::from).collect()),
            Value::Ext(code, content) => Self::Ext(*code, content),
            Value::NotGiven | Value::Map(_) => Self::Other,
        }
    }
}

impl<'a> From<&'a PathElem> for Key<'a> {
    fn from(elem: &'a PathElem) -> Self {
        match elem {
            PathElem::Nil => Self::Nil,
            PathElem::Bool(b) => Self::Int(BigInt::from(u8::from(*b))),
            PathElem::Int(n) => Self::Int(BigInt::from(*n)),
            PathElem::Uint(n) => Self::Int(BigInt::from(*n)),
            PathElem::Big(n) => Self::Int(n.clone().into()),
            PathElem::Float(x) => Self::float(*x),
            PathElem::Str(text) => Self::Str(text),
            PathElem::Bytes(bytes) => Self::Bytes(bytes),
            PathElem::Tuple(items) => Self::Seq(items.iter().map(Self::from).collect()),
            PathElem::Path(path) => Self::Seq(path.elements().iter().map(Self::from).collect()),
            PathElem::Ext(code, content) => Self::Ext(*code, content),
        }
    }
}

impl Key<'_> {
    /// Both zeros are one, and so is every NaN: else the order were none.
    fn float(x: f64) -> Self {
        Self::Float(if x.is_nan() { f64::NAN } else { x + 0.0 })
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Nil => 0,
            Self::Int(_) | Self::Float(_) => 1,
            Self::Str(_) => 2,
            Self::Bytes(_) => 3,
            Self::Seq(_) => 4,
            Self::Ext(..) => 5,
            Self::Other => 6,
        }
    }

    /// A total order, and whether Python has it too.
    fn cmp(&self, other: &Self) -> (Ordering, Comparable) {
        let order = match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Int(a), Self::Float(b)) => int_float(a, *b),
            (Self::Float(a), Self::Int(b)) => int_float(b, *a).reverse(),
            (Self::Str(a), Self::Str(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Ext(m, a), Self::Ext(n, b)) => (m, a).cmp(&(n, b)),
            (Self::Seq(a), Self::Seq(b)) => {
                // the first items that differ decide, and must be comparable
                let mut pairs = a.iter().zip(b).map(|(a, b)| a.cmp(b));
                return match pairs.find(|(order, _)| order.is_ne()) {
                    Some(decided) => decided,
                    None => (a.len().cmp(&b.len()), Comparable::Yes),
                };
            }
            (a, b) => {
                let order = a.rank().cmp(&b.rank());
                let comparable = match order {
                    Ordering::Equal => Comparable::Yes,
                    _ => Comparable::No,
                };
                return (order, comparable);
            }
        };
        (order, Comparable::Yes)
    }
}

fn int_float(n: &BigInt, x: f64) -> Ordering {
    match BigInt::from_f64(x.floor()) {
        Some(floor) => n.cmp(&floor).then(if x.fract() == 0.0 {
            Ordering::Equal
        } else {
            Ordering::Less
        }),
        // infinite, or NaN, which goes last
        None if x < 0.0 => Ordering::Greater,
        None => Ordering::Less,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(keys: Vec<Value>) -> Vec<Value> {
        let pairs: Vec<_> = keys.into_iter().map(|k| (k, Value::Nil)).collect();
        sorted(&pairs).into_iter().map(|(k, _)| k.clone()).collect()
    }

    #[test]
    fn numbers_are_sorted_by_value_whatever_their_type() {
        let keys = vec![
            Value::Float(f64::INFINITY),
            2.into(),
            Value::Float(1.5),
            true.into(),
            Value::Uint(u64::MAX),
            Value::Float(-0.5),
            Value::Float(f64::NEG_INFINITY),
            (-1).into(),
        ];
        let want = [
            Value::Float(f64::NEG_INFINITY),
            (-1).into(),
            Value::Float(-0.5),
            true.into(),
            Value::Float(1.5),
            2.into(),
            Value::Uint(u64::MAX),
            Value::Float(f64::INFINITY),
        ];
        assert_eq!(order(keys), want);
    }

    #[test]
    fn keys_without_an_order_stay_as_they_are() {
        for keys in [
            vec![Value::from("b"), 1.into(), "a".into()],
            vec![Value::Nil, 1.into()],
            vec!["b".into(), Value::Bytes(b"a".to_vec())],
            vec![
                Value::List(vec![2.into(), "x".into()]),
                Value::List(vec![2.into(), 1.into()]),
            ],
        ] {
            assert_eq!(order(keys.clone()), keys);
        }
        // what differs first decides
        let two = Value::List(vec![2.into(), "x".into()]);
        let one = Value::List(vec![1.into(), 1.into()]);
        assert_eq!(order(vec![two.clone(), one.clone()]), [one, two]);
    }
}
