//! JSON: the mapping is stable, and reading is the inverse of writing.

use moat::path::PathElem;
use moat::text::json::{self, JsonError};
use moat::value::Value;
use num_bigint::BigInt;
use proptest::prelude::*;

use crate::values::any_value;

#[test]
fn each_kind_of_value_has_its_form() {
    let path = |text: &str| Value::Path(text.parse().unwrap());
    for (value, want) in [
        (Value::Nil, "null"),
        (true.into(), "true"),
        ((-1).into(), "-1"),
        (u64::MAX.into(), "18446744073709551615"),
        (
            Value::try_from(BigInt::from(1u128 << 64)).unwrap(),
            r#"{"$big":"18446744073709551616"}"#,
        ),
        (1.0.into(), "1.0"),
        ((-0.0).into(), "-0.0"),
        (1e16.into(), "1e+16"),
        (5e-324.into(), "5e-324"),
        (0.1.into(), "0.1"),
        (f64::NAN.into(), r#"{"$float":"nan"}"#),
        (f64::NEG_INFINITY.into(), r#"{"$float":"-inf"}"#),
        (
            "a\"\\\n\u{7f}\u{a0}é😀\u{e0001}".into(),
            "\"a\\\"\\\\\\n\\u007f\\u00a0é😀\\udb40\\udc01\"",
        ),
        (Value::Bytes(b"\0\x01".to_vec()), r#"{"$bin":"AAE="}"#),
        (path("a.b"), r#"{"$path":"a.b"}"#),
        (path(":"), r#"{"$path":":"}"#),
        (Value::List(vec![1.into(), Value::List(vec![])]), "[1,[]]"),
        (Value::Map(vec![]), "{}"),
        (
            Value::Map(vec![("b".into(), 1.into()), ("a".into(), 2.into())]),
            r#"{"b":1,"a":2}"#,
        ),
        (
            Value::Map(vec![(1.into(), "x".into()), ("$a".into(), Value::Nil)]),
            r#"{"$map":[[1,"x"],["$a",null]]}"#,
        ),
        (
            Value::Map(vec![("$path".into(), "a".into()), ("b".into(), path("c"))]),
            r#"{"$lit":{"$path":"a","b":{"$path":"c"}}}"#,
        ),
        (Value::NotGiven, r#"{"$ext":[4,"Xw=="]}"#),
        (Value::Ext(7, b"\t".to_vec()), r#"{"$ext":[7,"CQ=="]}"#),
        (
            Value::Path(vec![PathElem::Ext(7, [9].into())].into()),
            r#"{"$ext":[3,"1AcJ"]}"#,
        ),
    ] {
        assert_eq!(json::line(&value), want);
        let got = json::parse(want).unwrap();
        assert_eq!(format!("{got:?}"), format!("{value:?}"));
    }
}

#[test]
fn pretty_is_indented_by_two() {
    let text = r#"{"a":[1,{}],"b":{"$map":[[1,{"$path":"x"}]]},"c":[]}"#;
    let want = r#"{
  "a": [
    1,
    {}
  ],
  "b": {
    "$map": [
      [
        1,
        {"$path": "x"}
      ]
    ]
  },
  "c": []
}"#;
    assert_eq!(json::pretty(&json::parse(text).unwrap()), want);
}

#[test]
fn what_breaks_the_mapping_is_refused() {
    for (text, want) in [
        (
            r#"{"$foo": 1}"#,
            r#""$foo" stands for nothing: a map with such a key goes into {"$lit": …}"#,
        ),
        (
            r#"{"$path": "a", "b": 1}"#,
            r#""$path" stands for nothing: a map with such a key goes into {"$lit": …}"#,
        ),
        (r#"{"$path": 1}"#, "$path: expected a text"),
        (r#"{"$bin": "*"}"#, "$bin: expected a text in base 64"),
        (
            r#"{"$float": "1"}"#,
            r#"$float: expected "nan", "inf" or "-inf""#,
        ),
        (
            r#"{"$big": 1}"#,
            "$big: expected an integer of at most 4096 bits, as a text",
        ),
        (
            r#"{"$ext": [128, ""]}"#,
            r#"$ext: expected [CODE, "content in base 64"]"#,
        ),
        (
            r#"{"$ext": [5, ""]}"#,
            "$ext: extension type 5 is not accepted",
        ),
        (r#"{"$lit": []}"#, "$lit: expected a map"),
        (
            r#"{"$map": [[1]]}"#,
            "$map: expected pairs of key and value",
        ),
        (
            r#"{"$map": [[{}, 1]]}"#,
            "$map: a map as key of a map at offset 1",
        ),
        (
            r#"{"a": 1,}"#,
            "not JSON: trailing comma at line 1 column 9",
        ),
        ("1 2", "not JSON: trailing characters at line 1 column 3"),
    ] {
        assert_eq!(json::parse(text).unwrap_err().to_string(), want, "{text}");
    }
    assert!(matches!(
        json::parse(r#"{"$path": "a..b"}"#),
        Err(JsonError::Path(_))
    ));
    let digits = "9".repeat(1300);
    assert!(json::parse(&format!(r#"{{"$big": "{digits}"}}"#)).is_err());
    let deep = |n: usize| json::parse(&("[".repeat(n) + &"]".repeat(n)));
    assert!(deep(127).is_ok() && deep(128).is_err() && deep(100_000).is_err());
}

proptest! {
    #[test]
    fn what_is_written_reads_as_the_same(value in any_value()) {
        for text in [json::line(&value), json::pretty(&value)] {
            let got = json::parse(&text).unwrap();
            // an element that is a path prints as the equal tuple
            prop_assert_eq!(&json::line(&got), &json::line(&value));
            prop_assert_eq!(got.to_bytes().len(), value.to_bytes().len(), "{}", text);
        }
        prop_assert!(!json::line(&value).contains('\n'));
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = json::parse(&text);
    }
}
