//! Values: decoding and encoding, against recorded cases and by properties.

use moat::msgpack::{self, Fault, MAX_DEPTH};
use moat::path::{Path, PathElem};
use moat::text::repr;
use moat::value::{Raw, Value, same_type_and_value, same_value};
use num_bigint::BigInt;
use proptest::prelude::*;
use serde_json::Value as Json;

const VECTORS: &str = include_str!("../vectors/client/ext.json");

/// A value as the vectors write it; `None` for an integer that none holds.
fn value(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => Value::Nil,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::Int(n.as_i64().unwrap()),
        Json::String(text) => Value::Str(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(value).collect::<Option<_>>()?),
        Json::Object(map) => {
            let Some((key, inner)) = map.iter().next() else {
                return Some(Value::Map(Vec::new()));
            };
            match key.as_str() {
                "$int" => {
                    let n: BigInt = inner.as_str().unwrap().parse().unwrap();
                    Value::try_from(n).ok()?
                }
                "$float" => Value::Float(inner.as_str().unwrap().parse().unwrap()),
                "$bin" => Value::Bytes(hex(inner)),
                "$path" => Value::Path(path(inner.as_array().unwrap())),
                "$map" => Value::Map(pairs(inner)),
                "$proxy" if inner == "_" => Value::NotGiven,
                "$proxy" => Value::Ext(4, inner.as_str().unwrap().into()),
                "$ext" => {
                    let code = i8::try_from(inner.as_i64().unwrap()).unwrap();
                    Value::Ext(code, hex(&map["data"]))
                }
                "$repeat" => repeat(&inner[0], inner[1].as_u64().unwrap()),
                _ => {
                    let pair = |(k, v): (&String, _)| Some((k.as_str().into(), value(v)?));
                    Value::Map(map.iter().map(pair).collect::<Option<_>>()?)
                }
            }
        }
    })
}

fn pairs(json: &Json) -> Vec<(Value, Value)> {
    let pairs = json.as_array().unwrap();
    let pair = |p: &Json| (value(&p[0]).unwrap(), value(&p[1]).unwrap());
    pairs.iter().map(pair).collect()
}

/// `{"$repeat": [unit, count]}`; a few units have a meaning of their own.
fn repeat(unit: &Json, count: u64) -> Value {
    let n = usize::try_from(count).unwrap();
    if unit.get("$map").is_some() {
        let pair = |i| (Value::from(i), Value::Int(0));
        return Value::Map((0..count).map(pair).collect());
    }
    if let Some(elements) = unit.get("$path") {
        assert_eq!(elements, &serde_json::json!(["x*300"]));
        return Value::Path(vec![PathElem::Str("x".repeat(300).into())].into());
    }
    match value(unit).unwrap() {
        Value::Str(unit) => unit.repeat(n).into(),
        Value::Bytes(unit) => Value::Bytes(unit.repeat(n)),
        Value::List(unit) => Value::List(unit.iter().cycle().take(n).cloned().collect()),
        other => panic!("repeat {other:?}"),
    }
}

fn path(elements: &[Json]) -> Path {
    let list: Vec<_> = elements.iter().map(|e| value(e).unwrap()).collect();
    let encoded: Vec<u8> = list.iter().flat_map(Value::to_bytes).collect();
    let mut path = Vec::new();
    msgpack::write::ext(&mut path, msgpack::EXT_PATH, encoded.len());
    path.extend(encoded);
    match Value::decode(&path).unwrap() {
        Value::Path(path) => path,
        other => panic!("{other:?} is no path"),
    }
}

fn hex(json: &Json) -> Vec<u8> {
    let digits = json.as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Equal, and of the same types at any depth.
fn identical(a: &Value, b: &Value) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

#[test]
fn recorded_values_are_encoded_and_decoded_to_the_bit() {
    let vectors: Json = serde_json::from_str(VECTORS).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 102);
    for case in cases {
        let note = case.to_string();
        let note = &note[..note.len().min(200)];
        match case["kind"].as_str().unwrap() {
            "encode" => {
                let want = value(&case["value"]).unwrap();
                let bytes = want.to_bytes();
                match case.get("hex") {
                    Some(text) => assert_eq!(bytes, hex(text), "{note}"),
                    None => {
                        assert!(bytes.starts_with(&hex(&case["hex_start"])), "{note}");
                        assert_eq!(bytes.len() as u64, case["length"], "{note}");
                    }
                }
                assert!(identical(&Value::decode(&bytes).unwrap(), &want), "{note}");
                assert_eq!(Raw::check(&bytes, bytes.len()).unwrap().bytes(), bytes);
            }
            "refuse" => assert!(value(&case["value"]).is_none(), "{note}"),
            "decode" if case["value"].get("$timestamp").is_some() => {
                // kept as it is
                let bytes = hex(&case["hex"]);
                let value = Value::decode(&bytes).unwrap();
                assert!(matches!(value, Value::Ext(-1, _)), "{note}");
                assert_eq!(value.to_bytes(), bytes, "{note}");
            }
            "decode" => {
                let got = Value::decode(&hex(&case["hex"])).unwrap();
                assert!(identical(&got, &value(&case["value"]).unwrap()), "{note}");
            }
            "bad" => {
                let bytes = hex(&case["hex"]);
                assert!(Value::decode(&bytes).is_err(), "{note}");
                assert!(Raw::check(&bytes, 100).is_err(), "{note}");
            }
            other => panic!("unknown kind {other}"),
        }
    }
}

#[test]
fn of_equal_keys_the_last_value_wins_at_the_first_place() {
    // {1: 1, "b": 2, 1.0: 3, true: 4}
    let few = b"\x84\x01\x01\xa1b\x02\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\x03\xc3\x04";
    let want = vec![(1.into(), 4.into()), ("b".into(), 2.into())];
    let got = Value::decode(few).unwrap();
    assert!(identical(&got, &Value::Map(want)), "{got:?}");
    // and so among many: 0..20, then again 0..20 as floats
    let mut many = vec![0xde, 0, 40];
    for i in 0..20i32 {
        Value::from(i).encode(&mut many);
        Value::from(i).encode(&mut many);
    }
    for i in 0..20i32 {
        Value::Float(i.into()).encode(&mut many);
        Value::from(i + 100).encode(&mut many);
    }
    let want = (0..20i32).map(|i| (i.into(), (i + 100).into())).collect();
    let got = Value::decode(&many).unwrap();
    assert!(identical(&got, &Value::Map(want)), "{got:?}");
}

#[test]
fn a_path_that_none_can_be_is_kept_unread() {
    for bytes in [
        &[&b"\xc7\x22\x03"[..], &[0x91; 33], &[0xc0]].concat()[..],
        // the element of the inner path is cut off
        b"\xd6\x03\xd5\x03\xa2a",
        &b"\xd4\x03\x80"[..],
        b"\xc7\x0a\x03\x91\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    ] {
        let value = Value::decode(bytes).unwrap();
        assert!(matches!(value, Value::Ext(3, _)), "{value:?}");
        assert_eq!(value.to_bytes(), bytes);
    }
}

/// The deepest of each kind of container, around `null`.
fn deepest() -> Vec<Vec<u8>> {
    let list = [&[0x91; MAX_DEPTH][..], &[0xc0]].concat();
    let map = [&b"\x81\xa1k".repeat(MAX_DEPTH)[..], &[0xc0]].concat();
    let mut in_key = [&[0x91; MAX_DEPTH - 1][..], &[0xc0]].concat();
    in_key.insert(0, 0x81);
    in_key.push(0xc0);
    vec![list, map, in_key]
}

#[test]
fn the_deepest_values_need_no_more_than_a_small_stack() {
    // half of what a thread has by default, in an unoptimised build too
    let run = || {
        for bytes in deepest() {
            let value = Value::decode(&bytes).unwrap();
            let copy = value.clone();
            assert_eq!(value, copy);
            assert_eq!(value.to_bytes(), bytes);
            assert!(same_value(&bytes, &bytes.clone()));
            assert!(same_type_and_value(&bytes, &value.to_bytes()));
            drop((value, copy));
            // one level more
            for outer in [&[0x91][..], b"\x81\x01"] {
                let deeper = [outer, &bytes].concat();
                assert_eq!(Value::decode(&deeper).unwrap_err(), Fault::Depth);
                assert_eq!(msgpack::check(&deeper), Err(Fault::Depth));
            }
        }
    };
    #[allow(clippy::disallowed_methods)] // joined below; only here is the size set
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(run);
    thread.unwrap().join().unwrap();
}

#[test]
fn a_declared_length_allocates_nothing() {
    for bytes in [
        &b"\xdd\xff\xff\xff\xff"[..],
        b"\xdf\xff\xff\xff\xff\x01",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x03",
    ] {
        assert_eq!(Value::decode(bytes).unwrap_err(), Fault::Incomplete);
    }
}

#[test]
fn structures_become_values_and_back() {
    #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    struct Lamp {
        name: String,
        level: Option<f64>,
        rooms: Vec<u8>,
    }
    let lamp = Lamp {
        name: "hall".into(),
        level: Some(0.5),
        rooms: vec![1, 200],
    };
    let value = Value::from_serialize(&lamp).unwrap();
    let rooms = Value::List(vec![1.into(), 200.into()]);
    let want = vec![
        ("name".into(), "hall".into()),
        ("level".into(), 0.5.into()),
        ("rooms".into(), rooms),
    ];
    assert_eq!(value, Value::Map(want));
    assert_eq!(value.to::<Lamp>().unwrap(), lamp);
    assert!(Value::Nil.to::<Lamp>().is_err());
    // paths and bytes keep their type
    #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    struct Link {
        to: Path,
    }
    let link = Link {
        to: "a.b:1".parse().unwrap(),
    };
    let value = Value::from_serialize(&link).unwrap();
    assert_eq!(value.field("to"), Some(&link.to.clone().into()));
    assert_eq!(value.to::<Link>().unwrap(), link);
    // nesting is bounded
    let deep = |n| Value::decode(&[&vec![0x91; n][..], &[0xc0]].concat()).unwrap();
    assert!(deep(100).to::<Json>().is_ok());
    assert!(deep(MAX_DEPTH).to::<Json>().is_err());
}

/// Texts that are likely to need care, and any others.
pub(crate) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{0,8}",
        "[ a:#'\"\\\\\n\t.,\\-]{0,12}",
        "[-+0-9._exob:]{0,6}",
        "([a-z]{1,9} ){8,20}[a-z]{0,3}",
        any::<String>(),
    ]
}

fn any_scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-200i64..200).prop_map(Value::Int),
        (1u64 << 63..).prop_map(Value::Uint),
        prop::collection::vec(any::<u8>(), 9..40)
            .prop_map(|bytes| num_bigint::BigUint::from_bytes_be(&bytes).into()),
        any::<f64>().prop_map(Value::Float),
        prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-0.0), Just(1e16)]
            .prop_map(Value::Float),
        any_text().prop_map(Value::Str),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        "[ -~]{0,8}".prop_map(|text| Value::Bytes(text.into())),
    ]
}

fn any_elem() -> impl Strategy<Value = PathElem> {
    let leaf = any_scalar().prop_map(|value| match value {
        Value::Nil => PathElem::Nil,
        Value::Bool(b) => PathElem::Bool(b),
        Value::Int(n) => PathElem::Int(n),
        Value::Uint(n) => PathElem::Uint(n),
        Value::Float(x) if x.is_nan() => PathElem::Float(0.5),
        Value::Float(x) => PathElem::Float(x),
        Value::Bytes(bytes) => PathElem::Bytes(bytes.into()),
        Value::Str(text) => PathElem::Str(text.into()),
        _ => PathElem::Str("x".into()),
    });
    leaf.prop_recursive(2, 4, 3, |inner| {
        prop::collection::vec(inner, 0..3).prop_map(PathElem::Tuple)
    })
}

pub(crate) fn any_path() -> impl Strategy<Value = Path> {
    prop::collection::vec(any_elem(), 0..4).prop_map(Path::from)
}

/// Values that have a text form: all but unknown extensions.
pub(crate) fn printable_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![8 => any_scalar(), 1 => any_path().prop_map(Value::Path)];
    let key = leaf.clone();
    leaf.prop_recursive(4, 24, 6, move |inner| {
        let tuple = prop::collection::vec(key.clone(), 0..3).prop_map(Value::List);
        let keys = prop_oneof![4 => any_text().prop_map(Value::Str), 2 => key.clone(), 1 => tuple];
        let pairs = prop::collection::vec((keys, inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Value::List),
            pairs.prop_map(|mut pairs| {
                let mut seen: Vec<Value> = Vec::new();
                pairs.retain(|(key, _)| {
                    let new = !seen.contains(key);
                    seen.push(key.clone());
                    new
                });
                Value::Map(pairs)
            }),
        ]
    })
}

/// Any value at all.
pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => printable_value(),
        1 => Just(Value::NotGiven),
        1 => (7i8.., prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(code, content)| Value::List(vec![Value::Ext(code, content)])),
        1 => Just(Value::Ext(-1, vec![0x5e, 0x0d, 0x5f, 0x2d])),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_the_same(value in any_value()) {
        let bytes = value.to_bytes();
        let got = Value::decode(&bytes).unwrap();
        prop_assert!(identical(&got, &value), "{got:?}");
        let raw = Raw::check(&bytes, bytes.len()).unwrap();
        prop_assert_eq!(raw.bytes(), &bytes[..]);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let decoded = Value::decode(&bytes);
        prop_assert!(repr::of_encoded(&bytes).len() <= repr::MAX + '…'.len_utf8());
        if msgpack::check(&bytes).is_ok() {
            prop_assert!(decoded.is_ok());
        }
        if let Ok(value) = decoded {
            // the shortest form of the same
            let short = value.to_bytes();
            prop_assert!(short.len() <= bytes.len());
            prop_assert!(identical(&Value::decode(&short).unwrap(), &value));
        }
    }

    #[test]
    fn any_bytes_are_compared(
        a in prop::collection::vec(any::<u8>(), 0..24),
        b in prop::collection::vec(any::<u8>(), 0..24),
    ) {
        prop_assert_eq!(same_value(&a, &b), same_value(&b, &a));
        // what is decoded equals its shortest form, unless NaN is in it
        if let Ok(value) = Value::decode(&a)
            && !format!("{value:?}").contains("NaN")
            && msgpack::check(&a).is_ok()
        {
            prop_assert!(same_value(&a, &value.to_bytes()));
        }
    }

    #[test]
    fn equality_is_symmetric_and_that_of_the_bytes(a in any_value(), b in any_value()) {
        prop_assert_eq!(a == b, b == a);
        prop_assert_eq!(a == b, same_value(&a.to_bytes(), &b.to_bytes()));
    }
}
