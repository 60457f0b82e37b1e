//! Between decoded paths, which callers use, and encoded ones.

use crate::client::error::Error;
use crate::msgpack::{EXT_PATH, Head, Reader, write};
use crate::path::{Path, PathElem, PathRef, RawPath};
use crate::value::Value;

pub(super) fn encode(path: &Path) -> RawPath {
    let object = Value::Path(path.clone()).to_bytes();
    let mut reader = Reader::new(&object);
    // what follows the head are the elements
    match reader.head() {
        Ok(Head::Ext(..)) => PathRef::new(reader.rest()).to_owned(),
        _ => RawPath::new(),
    }
}

pub(super) fn decode(path: PathRef<'_>) -> Result<Path, Error> {
    let mut object = Vec::new();
    write::ext(&mut object, EXT_PATH, path.bytes().len());
    object.extend_from_slice(path.bytes());
    match Value::decode(&object) {
        Ok(Value::Path(path)) => Ok(path),
        _ => Err(Error::Protocol("a path that is none".to_owned())),
    }
}

pub(super) fn decode_elem(element: &[u8]) -> Result<PathElem, Error> {
    let path = decode(PathRef::new(element))?;
    path.elements()
        .first()
        .cloned()
        .ok_or_else(|| Error::Protocol("a name that is none".to_owned()))
}
