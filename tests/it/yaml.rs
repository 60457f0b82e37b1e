//! YAML: what is printed, against the recorded output of the original, and
//! what is read.

use moat::text::yaml_in::{self, YamlError};
use moat::text::yaml_out::{block, print};
use moat::text::{json, repr};
use moat::value::Value;
use num_bigint::BigInt;
use proptest::prelude::*;
use serde_json::Value as Json;

use crate::values::{any_text, any_value};

const VECTORS: &str = include_str!("../vectors/yaml.json");

/// A value as the vectors write it.
fn value(json: &Json) -> Value {
    let v = &json["v"];
    let text = || v.as_str().unwrap();
    let items = || v.as_array().unwrap().iter().map(value);
    match json["t"].as_str().unwrap() {
        "null" => Value::Nil,
        "bool" => Value::Bool(v.as_bool().unwrap()),
        "int" => Value::try_from(text().parse::<BigInt>().unwrap()).unwrap(),
        "float" => Value::Float(text().parse().unwrap()),
        "str" => Value::Str(text().to_owned()),
        "bytes" => {
            let digits = json["hex"].as_str().unwrap().as_bytes();
            let byte = |p: &[u8]| u8::from_str_radix(str::from_utf8(p).unwrap(), 16).unwrap();
            Value::Bytes(digits.chunks(2).map(byte).collect())
        }
        "list" | "tuple" => Value::List(items().collect()),
        "map" => {
            let pair = |p: &Json| (value(&p[0]), value(&p[1]));
            Value::Map(v.as_array().unwrap().iter().map(pair).collect())
        }
        "path" => {
            let mut encoded = Vec::new();
            items().for_each(|item| item.encode(&mut encoded));
            let path = moat::path::PathRef::new(&encoded);
            Value::Path(path.try_into().unwrap())
        }
        other => panic!("unknown type {other}"),
    }
}

#[test]
fn recorded_values_are_printed_to_the_letter() {
    let vectors: Json = serde_json::from_str(VECTORS).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 88);
    let mut free = 0;
    for case in cases {
        let value = value(&case["value"]);
        if case["port"] == "free" {
            // the recorded text is broken; what we print must be read
            free += 1;
            assert_eq!(yaml_in::parse(&print(&value)), Ok(value));
            continue;
        }
        let want = case.get("port_text").unwrap_or_else(|| &case["text"]);
        assert_eq!(print(&value), want.as_str().unwrap(), "{value:?}");
    }
    assert_eq!(free, 1);
}

/// JSON, and what the original prints for the same value.
const PRINTED: &[(&str, &str)] = &[
    // plain texts are folded at a single space beyond column 80
    (
        r#"{"k": "lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp"}"#,
        "k: lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp\n  lamp\n",
    ),
    (
        r##"{"k": "# lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp"}"##,
        "k: '# lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp\n  lamp'\n",
    ),
    (
        r#"[[["lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp  two lamp lamp"]]]"#,
        "- - - lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp  two\n      lamp lamp\n",
    ),
    // in double quotes, with a backslash at the end, and before a space
    (
        r#"{"k": "\tlamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp a  b"}"#,
        "k: \"\\tlamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp a\\\n  \\  b\"\n",
    ),
    (
        r#"{"k": "'lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp"}"#,
        "k: \"'lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp\"\n",
    ),
    (
        r#"{"k": "😀\t\u0000\u001b\u007f\u00ad\ufeff"}"#,
        "k: \"\\U0001F600\\t\\0\\e\\x7F\u{ad}\\uFEFF\"\n",
    ),
    // several lines
    (
        r#"[["a\n"], ["\n\n"], [" x\ny"], ["\tx\ny"], ["a\n\n b \nc"]]"#,
        "- - |\n    a\n- - |2+\n\n\n- - |2-\n     x\n    y\n- - |-\n    \tx\n    y\n- - |-\n    a\n\n     b \n    c\n",
    ),
    (
        r#"{"a": [{"b": ["x\n y"]}]}"#,
        "a:\n- b:\n  - |-\n    x\n     y\n",
    ),
    // keys
    (
        r#"{"l1\nl2": {"a": 1, "b": 2}}"#,
        "? |-\n  l1\n  l2\n: a: 1\n  b: 2\n",
    ),
    (
        r#"{"$map": [[["a", 1], {"x": [1]}]]}"#,
        "? - a\n  - 1\n: x:\n  - 1\n",
    ),
    (
        r#"{"$map": [[[["a"]], [[1], []]]]}"#,
        "? - - a\n: - - 1\n  - []\n",
    ),
    (r#"{"$map": [[{"$bin": ""}, 1]]}"#, "!bin '': 1\n"),
    // order of keys
    (
        r#"{"$map": [[2, 1], [true, 2], [1.5, 3]]}"#,
        "true: 2\n1.5: 3\n2: 1\n",
    ),
    (
        r#"{"$map": [["b", 1], [2, 2], ["a", 3]]}"#,
        "b: 1\n2: 2\na: 3\n",
    ),
    (
        r#"{"$map": [[[2, "x"], 1], [[1, 1], 2]]}"#,
        "? - 1\n  - 1\n: 2\n? - 2\n  - x\n: 1\n",
    ),
    // bytes
    (
        r#"[{"$bin": ""}, {"$bin": "YQA="}, {"$bin": "aXQncw=="}, {"$bin": "/wA="}]"#,
        "- !bin\n- !bin \"a\\0\"\n- !bin it's\n- !hex ff:00\n",
    ),
    // special only at the start, before a space, or after one
    (
        r##"[":", "a:", ":a", "a :b", "a: b", "?", "?a", "? a", "-", "-a", "- a", "--", "----", "....", "a#", "a #"]"##,
        "- ':'\n- 'a:'\n- :a\n- a :b\n- 'a: b'\n- '?'\n- ?a\n- '? a'\n- '-'\n- -a\n- '- a'\n- --\n- '----'\n- '....'\n- a#\n- 'a #'\n",
    ),
    (
        r#"["<<", "=", "<", "~", "a@", "a`", "a|", "a{", "a]", "a,", "@a", "[a"]"#,
        "- '<<'\n- '='\n- <\n- '~'\n- a@\n- a`\n- a|\n- a{\n- a]\n- a,\n- '@a'\n- '[a'\n",
    ),
    // what the original would read as a number or date
    (
        r#"["0_", "_0", "+_", "1:2", "1e", "1e1", ".1e1", ".1e+1", "0x_", "0xg", "0o8", "08"]"#,
        "- '0_'\n- _0\n- '+_'\n- 1:2\n- 1e\n- '1e1'\n- .1e1\n- '.1e+1'\n- '0x_'\n- 0xg\n- 0o8\n- '08'\n",
    ),
    (
        r#"["2020-1-1", "2020-1-1 1:00:00", "2020-01-01t10:00:00.1Z", "2020-01-01 10:00:00 -1:30", "2020-01-01 10:00"]"#,
        "- 2020-1-1\n- '2020-1-1 1:00:00'\n- '2020-01-01t10:00:00.1Z'\n- '2020-01-01 10:00:00 -1:30'\n- 2020-01-01 10:00\n",
    ),
    (
        r#"[".INF", "+.inf", ".iNF", "-.nan", "yes", "tRUE", "Null"]"#,
        "- '.INF'\n- '+.inf'\n- .iNF\n- -.nan\n- yes\n- tRUE\n- 'Null'\n",
    ),
];

#[test]
fn values_are_printed_as_the_original_does() {
    for (json, want) in PRINTED {
        let value = json::parse(json).unwrap();
        assert_eq!(block(&value), *want, "{json}");
        assert_eq!(yaml_in::parse(want), Ok(value), "{want}");
    }
}

#[test]
fn long_keys_and_long_bytes_have_a_form_of_their_own() {
    let key = |n| "x".repeat(n);
    let map = |key: Value| block(&Value::Map(vec![(key, 1.into())]));
    assert_eq!(map(key(122).into()), format!("{}: 1\n", key(122)));
    assert_eq!(map(key(123).into()), format!("? {}\n: 1\n", key(123)));
    let hex = ["ff"; 32].join(":");
    assert_eq!(
        map(Value::Bytes(vec![0xff; 32])),
        format!("!hex {hex}: 1\n")
    );
    let bytes = Value::Bytes(vec![0xff; 58]);
    let (line, rest) = ("/".repeat(76), "/w==");
    let binary = format!("!!binary |\n  {line}\n  {rest}\n");
    assert_eq!(map(bytes.clone()), format!("? {binary}: 1\n"));
    assert_eq!(block(&Value::List(vec![bytes])), format!("- {binary}"));
}

#[test]
fn where_the_original_prints_what_it_cannot_read_ours_is_read() {
    for (value, want) in [
        ("a\u{85}b\u{2028}c\u{2029}".into(), "\"a\\Nb\\Lc\\P\"\n"),
        ("a\n\x07b".into(), "\"a\\n\\ab\"\n"),
        ("a\rb\n".into(), "\"a\\rb\\n\"\n"),
        (Value::Map(vec![(Value::List(vec![]), 1.into())]), "[]: 1\n"),
        (Value::NotGiven, "!R _\n"),
        (Value::Ext(4, b"foo".to_vec()), "!R foo\n"),
        (Value::Ext(7, b"\t".to_vec()), "!ext 7 CQ==\n"),
        (Value::Ext(-1, vec![0; 4]), "!ext -1 AAAAAA==\n"),
        (
            Value::Path(vec![moat::path::PathElem::Ext(7, [9].into())].into()),
            "!ext 3 1AcJ\n",
        ),
    ] {
        assert_eq!(block(&value), want);
        assert_eq!(yaml_in::parse(want), Ok(value));
    }
    // recorded so, though it reads as a mere line end
    assert_eq!(
        block(&Value::List(vec!["a\r\nb".into()])),
        "- |-\n  a\r\n  b\n"
    );
}

#[test]
fn texts_are_read_by_the_rules_of_the_original() {
    for (text, want) in [
        ("", "null"),
        ("# nothing\n---\n...\n", "null"),
        (
            "[~, null, Null, NULL, nUll, '']",
            r#"[null, null, null, null, "nUll", ""]"#,
        ),
        (
            "[true, True, FALSE, yes, No, on, y]",
            r#"[true, true, false, "yes", "No", "on", "y"]"#,
        ),
        (
            "[1_000, +1, -0, 017, 0o17, 0x1F, -0b11]",
            "[1000, 1, 0, 17, 15, 31, -3]",
        ),
        (
            "[1., .5, -1e3, 1e+2, 1_0.5_0, .5e1]",
            r#"[1.0, 0.5, -1000.0, 100.0, 10.5, ".5e1"]"#,
        ),
        (
            "[.inf, -.INF, .NaN, 1e400]",
            r#"[{"$float": "inf"}, {"$float": "-inf"}, {"$float": "nan"}, {"$float": "inf"}]"#,
        ),
        (
            "[12:30, 2020-01-01, =, 1.2.3, '12']",
            r#"["12:30", "2020-01-01", "=", "1.2.3", "12"]"#,
        ),
        (
            "[18446744073709551615, 100000000000000000000]",
            r#"[18446744073709551615, {"$big": "100000000000000000000"}]"#,
        ),
        ("!!str 12", r#""12""#),
        ("! 12", r#""12""#),
        (
            "[!!int '12', !!float 1, !!bool true, !!null '']",
            "[12, 1.0, true, null]",
        ),
        ("!<tag:yaml.org,2002:str> 1", r#""1""#),
        ("!!seq [!!map {a: 1}]", r#"[{"a": 1}]"#),
        (
            "[!P a.b, !P ':', !P :1]",
            r#"[{"$path": "a.b"}, {"$path": ":"}, {"$path": ":1"}]"#,
        ),
        (
            "[!bin abc, !bin, !bin 12]",
            r#"[{"$bin": "YWJj"}, {"$bin": ""}, {"$bin": "MTI="}]"#,
        ),
        (
            "[!hex ff:00, !hex FF00, !hex '']",
            r#"[{"$bin": "/wA="}, {"$bin": "/wA="}, {"$bin": ""}]"#,
        ),
        ("!!binary |\n  YWJj\n  YWJj\n", r#"{"$bin": "YWJjYWJj"}"#),
        (
            "{1: a, null: b, [1, 2]: c}",
            r#"{"$map": [[1, "a"], [null, "b"], [[1, 2], "c"]]}"#,
        ),
        (
            "a: &x [1]\nb: *x\nc: [*x, *x]",
            r#"{"a": [1], "b": [1], "c": [[1], [1]]}"#,
        ),
        ("&k a: 1\nb: *k", r#"{"a": 1, "b": "a"}"#),
        ("a: &x 1\nb: &x 2\nc: *x", r#"{"a": 1, "b": 2, "c": 2}"#),
    ] {
        let got = yaml_in::parse(text).map(|value| json::line(&value));
        let want = json::line(&json::parse(want).unwrap());
        assert_eq!(got, Ok(want), "{text}");
    }
}

#[test]
fn what_is_refused_says_where_and_why() {
    let too_big = format!("a: -{}", u64::MAX);
    for (text, want) in [
        (
            "a: 1\nb: 2\na: 3",
            "line 3, column 1: the key is there already",
        ),
        (
            "{1: a, 1.0: b}",
            "line 1, column 8: the key is there already",
        ),
        ("? {a: 1}\n: 2", "line 1, column 3: a map as key of a map"),
        (
            "a: *b",
            "line 1, column 4: while parsing node, found unknown anchor",
        ),
        (
            "&a [*a]",
            "line 1, column 5: the alias refers to what it is part of",
        ),
        (
            "a: !foo 1",
            "line 1, column 4: the tag !foo is not read here",
        ),
        (
            "a: !!set {}",
            "line 1, column 4: the tag !!set is not read here",
        ),
        (
            "a: !env HOME",
            "line 1, column 4: the tag !env is not read here",
        ),
        ("!!int a", "line 1, column 1: this is no integer"),
        (
            "- !hex abc",
            "line 1, column 3: this is no text in hex digits",
        ),
        (
            "- !bin ä",
            "line 1, column 3: this is no ASCII text: use !hex or !!binary",
        ),
        (
            "- !!binary '*'",
            "line 1, column 3: this is no text in base 64",
        ),
        (
            "- !ext 5 AA==",
            "line 1, column 3: extension type 5 is not accepted",
        ),
        (&too_big, "line 1, column 4: an integer that no value holds"),
        (
            "<<: {a: 1}",
            "line 1, column 1: merge keys (<<) are not read: write the items out",
        ),
        ("a\n---\nb", "line 2, column 1: a second document"),
    ] {
        let error = yaml_in::parse(text).unwrap_err();
        assert_eq!(error.to_string(), want, "{text}");
    }
    for text in [
        "a: [",
        "a: b: c",
        "\"",
        "a:\n\t- b",
        "!P a..b",
        "%",
        "{a: 1, b",
        "\0",
    ] {
        let error: YamlError = yaml_in::parse(text).unwrap_err();
        assert!(error.line > 0 && error.column > 0, "{error:?}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn no_text_takes_more_than_its_share() {
    // each line ten times the one before
    let mut bomb = "- &a0 lol\n".to_owned();
    for i in 1..10 {
        let before = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb += &format!("- &a{i} [{before}]\n");
    }
    let error = yaml_in::parse(&bomb).unwrap_err().to_string();
    assert!(error.contains("aliases stand for more than"), "{error}");
    // nesting, on its own and by aliases
    for (deep, fits) in [(1024, true), (1025, false), (100_000, false)] {
        let block = "- ".repeat(deep) + "x";
        assert_eq!(yaml_in::parse(&block).is_ok(), fits, "{deep}");
    }
    for (deep, fits) in [(255, true), (256, false), (100_000, false)] {
        let flow = "[".repeat(deep) + &"]".repeat(deep);
        assert_eq!(yaml_in::parse(&flow).is_ok(), fits, "{deep}");
    }
    let mut nested = "- &a0 []\n".to_owned();
    for i in 1..12 {
        let (open, close) = ("[".repeat(100), "]".repeat(100));
        nested += &format!("- &a{i} {open}*a{}{close}\n", i - 1);
    }
    let error = yaml_in::parse(&nested).unwrap_err().to_string();
    assert!(error.contains("nested deeper than 1024 levels"), "{error}");
}

#[test]
fn the_deepest_values_are_printed_on_a_small_stack() {
    let deep = |unit: &[u8]| Value::decode(&[&unit.repeat(1024)[..], &[0xc0]].concat()).unwrap();
    #[allow(clippy::disallowed_methods)] // joined below; only here is the size set
    let thread = std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(move || {
            for value in [deep(b"\x91"), deep(b"\x81\xa1k")] {
                assert_eq!(yaml_in::parse(&block(&value)), Ok(value.clone()));
                assert!(repr::of_value(&value).len() > 1024);
                assert!(json::line(&value).contains("null"));
                assert!(json::pretty(&value).contains("null"));
            }
        });
    thread.unwrap().join().unwrap();
}

/// A value in a form that has the types, but not the order of maps, which
/// printing sorts.
fn without_order(value: &Value) -> String {
    match value {
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(without_order).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(pairs) => {
            let pair = |(k, v): &(Value, Value)| without_order(k) + ": " + &without_order(v);
            let mut pairs: Vec<_> = pairs.iter().map(pair).collect();
            pairs.sort();
            format!("{{{}}}", pairs.join(", "))
        }
        // an element that is a path prints as the equal tuple
        Value::Path(path) => format!("!P {path}"),
        other => format!("{other:?}"),
    }
}

fn has_crlf(value: &Value) -> bool {
    match value {
        Value::Str(text) => text.contains("\r\n"),
        Value::List(items) => items.iter().any(has_crlf),
        Value::Map(pairs) => pairs.iter().any(|(k, v)| has_crlf(k) || has_crlf(v)),
        _ => false,
    }
}

proptest! {
    #[test]
    fn what_is_printed_reads_as_the_same(value in any_value()) {
        prop_assume!(!has_crlf(&value));
        let text = block(&value);
        prop_assert!(text.ends_with('\n') && !text.ends_with("...\n"));
        let got = yaml_in::parse(&text);
        prop_assert!(got.is_ok(), "{:?}\n{}", got, text);
        prop_assert_eq!(without_order(&got.unwrap()), without_order(&value), "{}", text);
    }

    #[test]
    fn any_text_is_one_item_of_a_list(text in any_text(), tail in any_text()) {
        prop_assume!(!text.contains("\r\n") && !tail.contains("\r\n"));
        let value = Value::List(vec![text.into(), tail.into()]);
        prop_assert_eq!(yaml_in::parse(&block(&value)), Ok(value));
    }

    #[test]
    fn any_yaml_is_read_or_refused(text in "[-a1 \\n:,?&*!|>'\"%@\\[\\]{}#.~\\t]{0,40}") {
        let _ = yaml_in::parse(&text);
    }
}
