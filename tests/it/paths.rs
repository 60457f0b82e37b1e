//! The paths of `vectors/paths.json`, and laws of paths: what is printed
//! reads as the same path, what is encoded decodes to it, and equality is the
//! same on both forms.

use std::hash::{BuildHasher, Hasher};

use moat::path::{
    MAX_ELEMENTS, ParseError, Path, PathElem, PathRef, RawPath, check, hash_elem, matches,
    normalise, same_elem,
};
use num_bigint::{BigInt, BigUint};
use proptest::prelude::*;
use serde_json::Value as Json;

use crate::eval::unhex;

/// The element that a tagged value of the vectors stands for; `None` if no
/// element can be that.
fn expected(tagged: &Json) -> Option<PathElem> {
    let text = || tagged["v"].as_str().unwrap();
    Some(match tagged["t"].as_str().unwrap() {
        "null" => PathElem::Nil,
        "bool" => PathElem::Bool(tagged["v"].as_bool().unwrap()),
        "int" => {
            let n: BigInt = text().parse().unwrap();
            match i64::try_from(&n) {
                Ok(n) => n.into(),
                Err(_) => BigUint::try_from(n).unwrap().into(),
            }
        }
        "float" => PathElem::Float(text().parse().unwrap()),
        "str" => text().into(),
        "bytes" => unhex(tagged["hex"].as_str().unwrap()).as_slice().into(),
        "tuple" => {
            let items = tagged["v"].as_array().unwrap();
            PathElem::Tuple(items.iter().map(expected).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

#[test]
fn texts_read_and_print_as_recorded() {
    let vectors: Json = serde_json::from_str(include_str!("../vectors/paths.json")).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 169);
    let mut wrong = Vec::new();
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let got = text.parse::<Path>();
        let refused = !case["error"].is_null() || case["port"] == "may reject";
        if refused {
            match got {
                Ok(path) => wrong.push(format!("{text}: {path:?} is no error")),
                Err(e) if e.to_string().contains('\n') => wrong.push(format!("{text}: {e}")),
                Err(_) => {}
            }
            continue;
        }
        let elements = case["elements"].as_array().unwrap();
        let want: Path = elements.iter().map(|e| expected(e).unwrap()).collect();
        let canonical = match &case["port_canonical"] {
            Json::Null => &case["canonical"],
            ours => ours,
        };
        match got {
            // the types too: `1` is not printed as `True`
            Ok(path) if format!("{path:?}") != format!("{want:?}") => {
                wrong.push(format!("{text}: {path:?}, not {want:?}"));
            }
            Ok(path) if path.to_string() != canonical.as_str().unwrap() => {
                wrong.push(format!("{text}: printed {path}, not {canonical}"));
            }
            Ok(_) => {}
            Err(e) => wrong.push(format!("{text}: {e}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn odd_elements_print_as_they_read() {
    let bytes = PathElem::from(&b"ab"[..]);
    for (elem, text) in [
        (PathElem::Float(f64::INFINITY), ":1e999"),
        (PathElem::Float(f64::NEG_INFINITY), ":-1e999"),
        (PathElem::Float(1e16), ":1e+16"),
        (PathElem::Float(-0.0), ":-0:.0"),
        (vec![bytes.clone(), 1.into()].into(), ":ib'ab',1"),
        (vec![PathElem::from(1), bytes].into(), ":1,b'ab'"),
        (vec![PathElem::Float(f64::INFINITY)].into(), ":1e999,"),
        (PathElem::Tuple(Vec::new()), ":()"),
        (Path::new().into(), ":()"),
        ((Path::from_iter(["a"]) / 1).into(), ":'a',1"),
        (
            vec![PathElem::Nil, true.into(), Path::from_iter(["x.y"]).into()].into(),
            ":None,True,('x:.y',)",
        ),
        (vec![PathElem::Tuple(Vec::new())].into(), ":(),"),
        (i64::MIN.into(), ":-9223372036854775808"),
        (u64::MAX.into(), ":18446744073709551615"),
        (PathElem::from(&b"\x7f"[..]), ":sfw=="),
    ] {
        let path = Path::new() / elem;
        assert_eq!(path.to_string(), text);
        assert_eq!(text.parse(), Ok(path));
    }
    let unknown = Path::from_iter(["a"]) / PathElem::Ext(7, Box::from(&b"x"[..])) / "b";
    assert_eq!(unknown.to_string(), "a:?.b");
    assert_eq!("a:?.b".parse::<Path>(), Err(ParseError::Unprintable(1)));
}

#[test]
fn long_texts_take_linear_time() {
    // seconds each, were it quadratic in any part
    for unit in [
        "::", ":.", ":_", ".", ":", ":1", ":1,", ":'", ":(", "a.", ":v::", ":t", ":1:.", ":e",
    ] {
        let text = unit.repeat(1_000_000 / unit.len());
        let _ = text.parse::<Path>();
        let _ = format!("a:'{text}'").parse::<Path>();
    }
}

/// Any element that is printable and not NaN.
fn elem() -> impl Strategy<Value = PathElem> {
    let leaf = prop_oneof![
        2 => Just(PathElem::Nil),
        2 => any::<bool>().prop_map(PathElem::Bool),
        4 => any::<i64>().prop_map(PathElem::Int),
        2 => (-3i64..3).prop_map(PathElem::Int),
        2 => any::<u64>().prop_map(PathElem::from),
        2 => any::<[u8; 32]>().prop_map(|b| BigUint::from_bytes_be(&b).into()),
        2 => (0u32..1024).prop_map(|n| (BigUint::from(1u8) << n).into()),
        4 => prop::num::f64::ANY
            .prop_filter("NaN", |x| !x.is_nan())
            .prop_map(PathElem::Float),
        4 => (-200i32..1000).prop_map(|n| PathElem::Float(2f64.powi(n))),
        2 => (-4i8..4).prop_map(|n| PathElem::Float(f64::from(n) / 2.0)),
        8 => any::<String>().prop_map(PathElem::from),
        4 => "[ab:._ '\"\\\\\\n+#,()?teb]{0,6}".prop_map(PathElem::from),
        4 => any::<Vec<u8>>().prop_map(|b| b.as_slice().into()),
        2 => "[a:._ ']{0,6}".prop_map(|s| s.as_bytes().into()),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let items = prop::collection::vec(inner, 0..5);
        prop_oneof![
            items.clone().prop_map(PathElem::Tuple),
            items.prop_map(|items| PathElem::Path(items.into())),
        ]
    })
}

fn path() -> impl Strategy<Value = Path> {
    prop::collection::vec(elem(), 0..8).prop_map(Path::from)
}

/// A few elements, so that equal ones are common.
fn small_path(levels: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(levels), 0..7)
}

/// What [`matches`] decides, from the definition.
fn matches_slowly(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["+", pattern @ ..], [_, path @ ..]) => matches_slowly(pattern, path),
        (["#", rest @ ..], [_, path @ ..]) => {
            matches_slowly(rest, path) || matches_slowly(pattern, path)
        }
        ([p, pattern @ ..], [e, path @ ..]) => p == e && matches_slowly(pattern, path),
        _ => false,
    }
}

/// The same element in another spelling, where there is one.
fn respelled(elem: &PathElem) -> PathElem {
    match elem {
        PathElem::Bool(b) => i64::from(*b).into(),
        PathElem::Int(0) => false.into(),
        PathElem::Int(1) => true.into(),
        PathElem::Int(n) if n.unsigned_abs() < 1 << 53 => PathElem::Float(*n as f64),
        PathElem::Big(n) if n.count_ones() == 1 && n.bits() <= 1024 => {
            PathElem::Float(2f64.powi(i32::try_from(n.bits() - 1).unwrap()))
        }
        PathElem::Tuple(items) => PathElem::Path(items.iter().map(respelled).collect()),
        PathElem::Path(path) => PathElem::Tuple(path.iter().map(respelled).collect()),
        other => other.clone(),
    }
}

fn encoded(elem: &PathElem) -> Vec<u8> {
    let mut out = Vec::new();
    elem.encode(&mut out);
    out
}

fn hash_encoded(bytes: &[u8]) -> u64 {
    let mut hasher = foldhash::fast::FixedState::with_seed(7).build_hasher();
    hash_elem(bytes, &mut hasher);
    hasher.finish()
}

proptest! {
    #[test]
    fn what_is_printed_reads_as_the_same(path in path()) {
        let text = path.to_string();
        let again: Path = text.parse().map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
        prop_assert_eq!(&again, &path);
        // the canonical form, too
        prop_assert_eq!(again.to_string(), text);
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same(path in path()) {
        let raw: RawPath = path.encode();
        prop_assert_eq!(check(raw.as_ref()), Ok(path.len()));
        let again = Path::decode(raw.as_ref()).unwrap();
        prop_assert_eq!(format!("{again:?}"), format!("{path:?}"));
        let mut shortest = Vec::new();
        for element in raw.as_ref().elements() {
            normalise(element.unwrap(), &mut shortest).unwrap();
        }
        prop_assert_eq!(raw.as_ref().bytes(), shortest);
    }

    #[test]
    fn equality_is_one(a in elem(), b in elem()) {
        let other = respelled(&a);
        prop_assert_eq!(&a, &other);
        for (a, b) in [(&a, &b), (&a, &a), (&a, &other), (&other, &b)] {
            let (x, y) = (encoded(a), encoded(b));
            prop_assert_eq!(a == b, same_elem(&x, &y), "{:?} {:?}", a, b);
            prop_assert_eq!(a == b, a.cmp(b).is_eq());
            prop_assert_eq!(a.cmp(b), b.cmp(a).reverse());
            if a == b {
                let hasher = foldhash::fast::FixedState::with_seed(7);
                prop_assert_eq!(hasher.hash_one(a), hasher.hash_one(b));
                prop_assert_eq!(hash_encoded(&x), hash_encoded(&y));
            }
        }
    }

    #[test]
    fn order_is_transitive(mut elems in prop::collection::vec(elem(), 3)) {
        elems.sort();
        prop_assert!(elems[0] <= elems[1] && elems[1] <= elems[2] && elems[0] <= elems[2]);
    }

    #[test]
    fn any_text_gives_an_answer(text in any::<String>()) {
        if let Ok(path) = text.parse::<Path>() {
            prop_assert_eq!(path.to_string().parse(), Ok(path));
        }
    }

    #[test]
    fn any_mix_of_codes_gives_an_answer(text in "[:._tfnexbyvsim?0-9aA ,()'\"+*-]{0,40}") {
        if let Ok(path) = text.parse::<Path>() {
            prop_assert!(path.len() <= MAX_ELEMENTS);
            prop_assert_eq!(path.to_string().parse(), Ok(path));
        }
    }

    #[test]
    fn any_bytes_give_an_answer(bytes in any::<Vec<u8>>()) {
        let path = PathRef::new(&bytes);
        match check(path) {
            Ok(count) => {
                let decoded = Path::decode(path).unwrap();
                prop_assert_eq!(count, decoded.len());
                for (elem, raw) in decoded.iter().zip(path.elements()) {
                    prop_assert!(same_elem(&encoded(elem), raw.unwrap()), "{:?}", elem);
                }
            }
            Err(e) => prop_assert_eq!(Path::decode(path), Err(e)),
        }
    }

    #[test]
    fn patterns_match_by_definition(
        pattern in small_path(&["a", "b", "+", "#"]),
        path in small_path(&["a", "b"]),
    ) {
        prop_assert_eq!(matches(&pattern, &path), matches_slowly(&pattern, &path));
    }
}
