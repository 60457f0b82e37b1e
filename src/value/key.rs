//! Map keys in a form that is compared byte by byte.
//!
//! Two keys are one if Python says that they are equal: numbers by value,
//! lists and paths by their elements. [`key_bytes`] writes a key so that the
//! bytes are equal exactly then. Sorting these finds equal keys among many
//! without hashing, which a sender could make slow.

use num_bigint::BigUint;
use num_traits::FromPrimitive;

use crate::msgpack::{EXT_MARKED, EXT_PATH, Fault, Head, MAX_DEPTH, Reader};
use crate::path::{Elem, ElemError, same_elem};

const END: u8 = 0;
const NIL: u8 = 1;
const INT: u8 = 2;
const FLOAT: u8 = 3;
const STR: u8 = 4;
const BIN: u8 = 5;
const SEQ: u8 = 6;
const EXT: u8 = 7;

/// The comparable form of an encoded key.
///
/// # Errors
/// Maps, which cannot be keys; NaN, which equals no key, itself included;
/// broken encodings.
pub fn key_bytes(encoded: &[u8]) -> Result<Vec<u8>, ElemError> {
    let mut out = Vec::with_capacity(encoded.len().saturating_add(8));
    write(&mut Reader::new(encoded), &mut out, 0)?;
    Ok(out)
}

fn write(reader: &mut Reader<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), ElemError> {
    if depth > MAX_DEPTH {
        return Err(Fault::Depth.into());
    }
    let before = *reader;
    match reader.head()? {
        Head::Array(n) => {
            out.push(SEQ);
            for _ in 0..n {
                write(reader, out, depth + 1)?;
            }
            out.push(END);
        }
        Head::Ext(code @ (EXT_PATH | EXT_MARKED), n) => {
            out.push(SEQ);
            let mut elements = Reader::new(reader.take(n)?);
            if code == EXT_MARKED {
                elements.object()?;
            }
            while !elements.is_empty() {
                write(&mut elements, out, depth + 1)?;
            }
            out.push(END);
        }
        Head::Map(_) => return Err(ElemError::Map),
        _ => {
            *reader = before;
            scalar(Elem::read(reader.object()?)?, out);
        }
    }
    Ok(())
}

fn scalar(elem: Elem<'_>, out: &mut Vec<u8>) {
    match elem {
        Elem::Nil => out.push(NIL),
        Elem::Int(n) => int(out, n < 0, &n.unsigned_abs().to_be_bytes()),
        Elem::Big(digits) => int(out, false, digits),
        Elem::Float(x) => match BigUint::from_f64(x.abs()) {
            Some(n) if x.fract() == 0.0 => int(out, x < 0.0, &n.to_bytes_be()),
            _ => {
                out.push(FLOAT);
                out.extend_from_slice(&x.to_bits().to_be_bytes());
            }
        },
        Elem::Str(text) => sized(out, STR, text),
        Elem::Bin(bytes) => sized(out, BIN, bytes),
        // `write` has read these
        Elem::Seq(inner) => sized(out, SEQ, inner),
        Elem::Ext(code, content) => {
            out.push(EXT);
            sized(out, code.to_be_bytes()[0], content);
        }
    }
}

fn int(out: &mut Vec<u8>, negative: bool, digits: &[u8]) {
    let zeros = digits.iter().take_while(|b| **b == 0).count();
    out.push(INT);
    sized(
        out,
        negative.into(),
        digits.get(zeros..).unwrap_or_default(),
    );
}

fn sized(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&bytes.len().to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Which of `n` encoded keys were there before: pairs of the first such key
/// and a later one, in the order of the later ones.
pub(super) fn repeated<'a>(n: usize, key: impl Fn(usize) -> &'a [u8]) -> Vec<(usize, usize)> {
    // the usual few keys are compared without allocation
    const FEW: usize = 8;
    let mut again = Vec::new();
    if n <= FEW {
        for later in 1..n {
            let is_it = |first: &usize| same_elem(key(*first), key(later));
            if let Some(first) = (0..later).find(is_it) {
                again.push((first, later));
            }
        }
        return again;
    }
    let mut keys: Vec<(Vec<u8>, usize)> = (0..n)
        .filter_map(|i| Some((key_bytes(key(i)).ok()?, i)))
        .collect();
    keys.sort_unstable();
    let mut first: Option<&(Vec<u8>, usize)> = None;
    for this in &keys {
        match first {
            Some((bytes, first)) if *bytes == this.0 => again.push((*first, this.1)),
            _ => first = Some(this),
        }
    }
    again.sort_unstable_by_key(|(_, later)| *later);
    again
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::value::Value;

    fn elem() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Bool),
            (-3i64..3).prop_map(Value::Int),
            any::<i64>().prop_map(Value::Int),
            (-3i32..3).prop_map(|n| Value::Float(n.into())),
            any::<f64>().prop_map(Value::Float),
            (60i32..70).prop_map(|n| Value::Float(2f64.powi(n))),
            (60u32..70).prop_map(|n| BigUint::from(2u32).pow(n).into()),
            "[ab]{0,2}".prop_map(Value::Str),
            "[ab]{0,2}".prop_map(|s| Value::Bytes(s.into_bytes())),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop::collection::vec(inner, 0..3).prop_map(Value::List)
        })
    }

    proptest! {
        #[test]
        fn key_bytes_are_equal_exactly_if_the_keys_are(a in elem(), b in elem()) {
            let (a, b) = (a.to_bytes(), b.to_bytes());
            if let (Ok(x), Ok(y)) = (key_bytes(&a), key_bytes(&b)) {
                prop_assert_eq!(x == y, same_elem(&a, &b));
            }
        }

        #[test]
        fn many_keys_are_compared_like_few(keys in prop::collection::vec(elem(), 9..14)) {
            let keys: Vec<_> = keys.iter().map(Value::to_bytes).collect();
            let mut want = Vec::new();
            for later in 1..keys.len() {
                if let Some(first) = (0..later).find(|i| same_elem(&keys[*i], &keys[later])) {
                    want.push((first, later));
                }
            }
            prop_assert_eq!(repeated(keys.len(), |i| &keys[i]), want);
        }
    }
}
