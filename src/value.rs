//! Values: anything that msgpack carries.
//!
//! [`Value`] is the decoded form that programs, the command line and scripts
//! look into; [`Raw`] is what the tree keeps and the wire carries: checked,
//! encoded bytes, given back as they came.

use num_bigint::BigUint;

use crate::path::Path;

/// A decoded value.
#[derive(Debug, Clone)]
pub enum Value {
    /// `null`
    Nil,
    /// A boolean
    Bool(bool),
    /// An integer below 2^63
    Int(i64),
    /// An integer from 2^63 on
    Uint(u64),
    /// An integer from 2^64 on
    Big(BigUint),
    /// A float
    Float(f64),
    /// Text
    Str(String),
    /// Bytes
    Bytes(Vec<u8>),
    /// A list or tuple: one type on the wire
    List(Vec<Value>),
    /// A map, in its order
    Map(Vec<(Value, Value)>),
    /// A path
    Path(Path),
    /// "Not given": as value of a write it deletes
    NotGiven,
    /// Any other extension: its code and content
    Ext(i8, Vec<u8>),
}

/// One encoded value, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw(Box<[u8]>);

/// Whether two encoded values are equal.
#[must_use]
pub fn same_value(a: &[u8], b: &[u8]) -> bool {
    a == b
}

/// Whether two encoded values are of one type, and equal.
#[must_use]
pub fn same_type_and_value(a: &[u8], b: &[u8]) -> bool {
    a == b
}
