//! Index, slice, membership, repetition of texts, bytes, tuples and lists,
//! and the keys of maps.

use std::cmp::Ordering;

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use super::number::Number;
use super::ops::equal;
use super::{Budget, EvalError, Literal};

/// What stands between the brackets of a slice.
pub(super) struct Bounds {
    pub(super) start: Option<i64>,
    pub(super) stop: Option<i64>,
    pub(super) step: Option<i64>,
}

impl Bounds {
    /// The positions chosen from a sequence of that length, in order.
    fn positions(&self, len: usize) -> Result<impl Iterator<Item = usize> + use<>, EvalError> {
        let step = self.step.unwrap_or(1);
        if step == 0 {
            return Err(EvalError::Operand("the step of a slice is zero".into()));
        }
        let len = i64::try_from(len).map_err(|_| EvalError::TooLarge)?;
        // where a walk in this direction can be at most
        let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
        let place = |bound: i64| {
            let from_start = if bound < 0 {
                bound.saturating_add(len)
            } else {
                bound
            };
            from_start.clamp(low, high)
        };
        let (first, last) = if step > 0 { (low, high) } else { (high, low) };
        let mut at = self.start.map_or(first, place);
        let stop = self.stop.map_or(last, place);
        Ok(std::iter::from_fn(move || {
            let inside = if step > 0 { at < stop } else { at > stop };
            let position = usize::try_from(at).ok().filter(|_| inside)?;
            at = at.saturating_add(step);
            Some(position)
        }))
    }
}

/// `value[start:stop:step]`
pub(super) fn slice(
    value: Literal,
    bounds: Bounds,
    budget: &mut Budget,
) -> Result<Literal, EvalError> {
    budget.take(size(&value))?;
    Ok(match value {
        Literal::Str(text) => {
            let chars: Vec<char> = text.chars().collect();
            let positions = bounds.positions(chars.len())?;
            Literal::Str(positions.filter_map(|i| chars.get(i)).collect())
        }
        Literal::Bytes(bytes) => {
            let positions = bounds.positions(bytes.len())?;
            Literal::Bytes(positions.filter_map(|i| bytes.get(i)).copied().collect())
        }
        Literal::Tuple(items) => Literal::Tuple(pick(&items, &bounds)?),
        Literal::List(items) => Literal::List(pick(&items, &bounds)?),
        other => {
            let what = format!("cannot take a slice of {}", other.kind());
            return Err(EvalError::Operand(what));
        }
    })
}

fn pick(items: &[Literal], bounds: &Bounds) -> Result<Vec<Literal>, EvalError> {
    let positions = bounds.positions(items.len())?;
    Ok(positions.filter_map(|i| items.get(i)).cloned().collect())
}

/// `value[index]`
pub(super) fn item(value: Literal, index: &Literal) -> Result<Literal, EvalError> {
    let missing = || EvalError::NoItem(index.to_string());
    match value {
        Literal::Map(pairs) => pairs
            .into_iter()
            .find(|(key, _)| equal(key, index))
            .map(|(_, value)| value)
            .ok_or_else(missing),
        Literal::Str(text) => {
            let at = place(index, text.chars().count())?;
            let c = text.chars().nth(at).ok_or_else(missing)?;
            Ok(Literal::Str(c.into()))
        }
        Literal::Bytes(bytes) => {
            let byte = bytes.get(place(index, bytes.len())?).ok_or_else(missing)?;
            Ok(Literal::Int(BigInt::from(*byte)))
        }
        Literal::Tuple(items) | Literal::List(items) => {
            let at = place(index, items.len())?;
            items.into_iter().nth(at).ok_or_else(missing)
        }
        other => {
            let what = format!("cannot take an item of {}", other.kind());
            Err(EvalError::Operand(what))
        }
    }
}

/// An index from the start; beyond the end if there is no such item.
fn place(index: &Literal, len: usize) -> Result<usize, EvalError> {
    let at = position(index)?;
    let at = match i64::try_from(len) {
        Ok(len) if at < 0 => at.saturating_add(len),
        _ => at,
    };
    Ok(usize::try_from(at).unwrap_or(usize::MAX))
}

/// An integer used as index; beyond 64 bits the nearest that fits.
pub(super) fn position(index: &Literal) -> Result<i64, EvalError> {
    match index {
        Literal::Bool(b) => Ok(i64::from(*b)),
        Literal::Int(n) => Ok(n.to_i64().unwrap_or_else(|| match n.sign() {
            num_bigint::Sign::Minus => i64::MIN,
            _ => i64::MAX,
        })),
        other => {
            let what = format!("{} cannot be an index", other.kind());
            Err(EvalError::Operand(what))
        }
    }
}

/// `sequence * count`
pub(super) fn repeat(
    value: Literal,
    count: &BigInt,
    budget: &mut Budget,
) -> Result<Literal, EvalError> {
    let empty = match &value {
        Literal::Str(s) => s.is_empty(),
        Literal::Bytes(b) => b.is_empty(),
        Literal::Tuple(v) | Literal::List(v) => v.is_empty(),
        _ => false,
    };
    let count = match count.sign() {
        num_bigint::Sign::Minus => 0,
        _ if empty => 0,
        _ => count.to_usize().ok_or(EvalError::TooLarge)?,
    };
    budget.take_times(size(&value), count)?;
    Ok(match value {
        Literal::Str(s) => Literal::Str(s.repeat(count)),
        Literal::Bytes(b) => Literal::Bytes(b.repeat(count)),
        Literal::Tuple(v) => Literal::Tuple(copies(&v, count)),
        Literal::List(v) => Literal::List(copies(&v, count)),
        other => other,
    })
}

fn copies(items: &[Literal], count: usize) -> Vec<Literal> {
    let all = std::iter::repeat_n(items, count);
    all.flatten().cloned().collect()
}

/// `needle in haystack`
pub(super) fn contains(
    haystack: &Literal,
    needle: &Literal,
    budget: &mut Budget,
) -> Result<bool, EvalError> {
    match (haystack, needle) {
        (Literal::Str(all), Literal::Str(part)) => Ok(all.contains(part.as_str())),
        (Literal::Bytes(all), Literal::Bytes(part)) => {
            budget.take_times(all.len(), part.len())?;
            Ok(part.is_empty() || all.windows(part.len()).any(|w| w == part))
        }
        (Literal::Bytes(all), Literal::Bool(b)) => Ok(all.contains(&u8::from(*b))),
        (Literal::Bytes(all), Literal::Int(n)) => match n.to_u8() {
            Some(n) => Ok(all.contains(&n)),
            None => Err(EvalError::Operand(format!("{n} is no byte"))),
        },
        (Literal::Tuple(items) | Literal::List(items), _) => {
            Ok(items.iter().any(|i| equal(i, needle)))
        }
        (Literal::Map(pairs), _) => Ok(pairs.iter().any(|(key, _)| equal(key, needle))),
        _ => Err(EvalError::Operand(format!(
            "{} cannot be in {}",
            needle.kind(),
            haystack.kind()
        ))),
    }
}

/// What a value costs to build again.
pub(super) fn size(value: &Literal) -> usize {
    let inner = match value {
        Literal::None | Literal::Bool(_) | Literal::Float(_) => 0,
        Literal::Int(n) => usize::try_from(n.bits() / 8).unwrap_or(usize::MAX),
        Literal::Str(s) => s.len(),
        Literal::Bytes(b) => b.len(),
        Literal::Tuple(v) | Literal::List(v) => v.iter().map(size).sum(),
        Literal::Map(m) => m.iter().map(|(k, v)| size(k) + size(v)).sum(),
    };
    inner.saturating_add(Budget::ITEM)
}

/// A map of these pairs. Of equal keys the first stays, with the last value.
pub(super) fn map(pairs: Vec<(Literal, Literal)>) -> Result<Literal, EvalError> {
    for (key, _) in &pairs {
        check_key(key)?;
    }
    // the places of the keys, equal ones side by side, in their order
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    let key = |i: usize| pairs.get(i).map(|(key, _)| key);
    order.sort_by(|a, b| match (key(*a), key(*b)) {
        (Some(x), Some(y)) => by_key(x, y),
        _ => Ordering::Equal,
    });
    // where the value of each key goes
    let mut home: Vec<usize> = (0..pairs.len()).collect();
    for pair in order.windows(2) {
        if let [before, this] = *pair
            && let (Some(x), Some(y)) = (key(before), key(this))
            && by_key(x, y).is_eq()
            && let Some(first) = home.get(before).copied()
            && let Some(slot) = home.get_mut(this)
        {
            *slot = first;
        }
    }
    let mut out: Vec<Option<(Literal, Literal)>> = Vec::with_capacity(pairs.len());
    for ((key, value), home) in pairs.into_iter().zip(home) {
        match out.get_mut(home) {
            Some(Some(pair)) => {
                pair.1 = value;
                out.push(None);
            }
            _ => out.push(Some((key, value))),
        }
    }
    Ok(Literal::Map(out.into_iter().flatten().collect()))
}

fn check_key(key: &Literal) -> Result<(), EvalError> {
    match key {
        Literal::Tuple(items) => items.iter().try_for_each(check_key),
        Literal::List(_) | Literal::Map(_) => {
            let what = format!("{} cannot be a key of a map", key.kind());
            Err(EvalError::Operand(what))
        }
        _ => Ok(()),
    }
}

/// A total order of keys in which equal ones are equal.
fn by_key(a: &Literal, b: &Literal) -> Ordering {
    const fn rank(key: &Literal) -> u8 {
        match key {
            Literal::None => 0,
            Literal::Bool(_) | Literal::Int(_) | Literal::Float(_) => 1,
            Literal::Str(_) => 2,
            Literal::Bytes(_) => 3,
            Literal::Tuple(_) | Literal::List(_) | Literal::Map(_) => 4,
        }
    }
    match (a, b) {
        (Literal::Str(a), Literal::Str(b)) => a.cmp(b),
        (Literal::Bytes(a), Literal::Bytes(b)) => a.cmp(b),
        (Literal::Tuple(a), Literal::Tuple(b)) => {
            let differing = a.iter().zip(b).map(|(a, b)| by_key(a, b));
            differing
                .into_iter()
                .find(|o| o.is_ne())
                .unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ => match (Number::of(a), Number::of(b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => rank(a).cmp(&rank(b)),
        },
    }
}
