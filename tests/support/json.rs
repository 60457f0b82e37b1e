//! Messages as JSON, in the form that the recorded sessions use: msgpack's
//! own types as they are, and `{"$path": […]}`, `{"$bin": hex}`,
//! `{"$map": [[k, v]…]}` for maps whose keys are not all text,
//! `{"$ext": code, "data": hex}`, `{"$float": "nan"}`.
//!
//! Decoding reads with the server's own reader; that it says what the bytes
//! say is checked against every recorded message (`tests/it/vectors.rs`).

use moat::msgpack::{EXT_PATH, Head, Reader, write};
use serde_json::{Map, Value, json};

/// The object that the bytes begin with, and its length.
///
/// # Errors
/// If they begin with none.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Value, usize), String> {
    let mut reader = Reader::new(bytes);
    let value = object(&mut reader)?;
    Ok((value, reader.position()))
}

fn fault(e: moat::msgpack::Fault) -> String {
    e.to_string()
}

fn object(reader: &mut Reader<'_>) -> Result<Value, String> {
    let value = match reader.head().map_err(fault)? {
        Head::Nil => Value::Null,
        Head::Bool(b) => json!(b),
        Head::Uint(n) => json!(n),
        Head::Neg(n) => json!(n),
        Head::Float(x) if x.is_nan() => json!({"$float": "nan"}),
        Head::Float(x) if x.is_infinite() => {
            json!({"$float": if x > 0.0 { "inf" } else { "-inf" }})
        }
        Head::Float(x) => json!(x),
        Head::Str(n) => {
            let bytes = reader.take(n).map_err(fault)?;
            let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
            json!(text)
        }
        Head::Bin(n) => json!({"$bin": hex(reader.take(n).map_err(fault)?)}),
        Head::Array(n) => {
            let mut items = Vec::new();
            for _ in 0..n {
                items.push(object(reader)?);
            }
            Value::Array(items)
        }
        Head::Map(n) => map(reader, n)?,
        Head::Ext(EXT_PATH, n) => {
            let mut inner = Reader::new(reader.take(n).map_err(fault)?);
            let mut elements = Vec::new();
            while !inner.is_empty() {
                elements.push(object(&mut inner)?);
            }
            json!({ "$path": elements })
        }
        Head::Ext(code, n) => json!({"$ext": code, "data": hex(reader.take(n).map_err(fault)?)}),
    };
    Ok(value)
}

fn map(reader: &mut Reader<'_>, n: usize) -> Result<Value, String> {
    let mut pairs = Vec::new();
    for _ in 0..n {
        let key = object(reader)?;
        pairs.push((key, object(reader)?));
    }
    if pairs.iter().all(|(key, _)| key.is_string()) {
        let texts = pairs
            .into_iter()
            .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value)));
        Ok(Value::Object(texts.collect()))
    } else {
        let pairs: Vec<_> = pairs.into_iter().map(|(k, v)| json!([k, v])).collect();
        Ok(json!({ "$map": pairs }))
    }
}

/// The bytes of an object, in the shortest form.
pub(crate) fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, value);
    out
}

fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => write::nil(out),
        Value::Bool(b) => write::bool(out, *b),
        Value::Number(n) => {
            if let Some(n) = n.as_u64() {
                write::uint(out, n);
            } else if let Some(n) = n.as_i64() {
                write::int(out, n);
            } else {
                write::float(out, n.as_f64().expect("a number of JSON"));
            }
        }
        Value::String(text) => write::str(out, text),
        Value::Array(items) => {
            write::array(out, items.len());
            items.iter().for_each(|item| put(out, item));
        }
        Value::Object(fields) => match tagged(fields) {
            Some(bytes) => out.extend_from_slice(&bytes),
            None => {
                write::map(out, fields.len());
                for (key, value) in fields {
                    write::str(out, key);
                    put(out, value);
                }
            }
        },
    }
}

/// The bytes of what JSON has no form for.
fn tagged(fields: &Map<String, Value>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    if let Some(elements) = fields.get("$path") {
        let mut inner = Vec::new();
        for element in elements.as_array()? {
            put(&mut inner, element);
        }
        write::ext(&mut out, EXT_PATH, inner.len());
        out.extend_from_slice(&inner);
    } else if let Some(bytes) = fields.get("$bin") {
        write::bin(&mut out, &unhex(bytes.as_str()?));
    } else if let Some(pairs) = fields.get("$map") {
        let pairs = pairs.as_array()?;
        write::map(&mut out, pairs.len());
        for pair in pairs {
            pair.as_array()?.iter().for_each(|half| put(&mut out, half));
        }
    } else if let Some(code) = fields.get("$ext") {
        let data = unhex(fields.get("data")?.as_str()?);
        let code = i8::try_from(code.as_i64()?).ok()?;
        write::ext(&mut out, code, data.len());
        out.extend_from_slice(&data);
    } else if let Some(float) = fields.get("$float") {
        let x = match float.as_str()? {
            "inf" => f64::INFINITY,
            "-inf" => f64::NEG_INFINITY,
            _ => f64::NAN,
        };
        write::float(&mut out, x);
    } else {
        return None;
    }
    Some(out)
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes from hexadecimal digits.
pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "odd number of hex digits");
    (0..digits.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&digits[i..i + 2], 16).expect("hexadecimal digits"))
        .collect()
}
