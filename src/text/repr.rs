//! Python's `repr` of values, as the original's error texts show it.

use crate::literal::repr::Text;

/// A text in Python's quotes.
#[must_use]
pub fn str(text: &str) -> String {
    Text(text).to_string()
}

/// An encoded value.
#[must_use]
pub fn encoded(bytes: &[u8]) -> String {
    format!("{:?}", crate::value::Value::decode(bytes))
}
