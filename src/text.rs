//! The outer forms of values: what the command line reads and prints.

pub mod eval;
pub mod json;
pub mod repr;
pub mod yaml_in;
pub mod yaml_out;

use crate::path::Path;

/// A path's text, if that reads as the path again. Elements of unknown
/// extensions have no text, nor have integers that are too long.
fn path_text(path: &Path) -> Option<String> {
    let text = path.to_string();
    (text.parse().as_ref() == Ok(path)).then_some(text)
}
