//! The expressions of `vectors/eval.json`, by `literal` and as values.

use moat::literal::{self, Literal};
use moat::text;
use moat::value::Value;
use num_bigint::BigInt;
use proptest::prelude::*;
use serde_json::Value as Json;

/// Expressions on which a rule outweighs the recording: an integer from 2^64
/// on is stored as extension 2, up to 1,024 bits.
const OVERRIDES: [(&str, &str); 1] = [("18446744073709551616", "18446744073709551616")];

fn cases() -> Vec<Json> {
    let vectors: Json = serde_json::from_str(include_str!("../vectors/eval.json")).unwrap();
    vectors["cases"].as_array().unwrap().clone()
}

/// The text that a tagged value of the vectors stands for.
fn expected(tagged: &Json) -> Literal {
    let text = || tagged["v"].as_str().unwrap();
    let items = || tagged["v"].as_array().unwrap();
    match tagged["t"].as_str().unwrap() {
        "null" => Literal::None,
        "bool" => Literal::Bool(tagged["v"].as_bool().unwrap()),
        "int" => Literal::Int(text().parse().unwrap()),
        "float" => Literal::Float(text().parse().unwrap()),
        "str" => Literal::Str(text().to_owned()),
        "bytes" => Literal::Bytes(unhex(tagged["hex"].as_str().unwrap())),
        "tuple" => Literal::Tuple(items().iter().map(expected).collect()),
        "list" => Literal::List(items().iter().map(expected).collect()),
        "map" => Literal::Map(
            items()
                .iter()
                .map(|pair| (expected(&pair[0]), expected(&pair[1])))
                .collect(),
        ),
        other => panic!("unknown tag {other}"),
    }
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

/// A value and a literal, tuples and lists alike.
fn same(value: &Value, literal: &Literal) -> bool {
    match (value, literal) {
        (Value::Nil, Literal::None) => true,
        (Value::Bool(a), Literal::Bool(b)) => a == b,
        (Value::Int(a), Literal::Int(b)) => BigInt::from(*a) == *b,
        (Value::Uint(a), Literal::Int(b)) => BigInt::from(*a) == *b,
        (Value::Big(a), Literal::Int(b)) => BigInt::from(a.clone()) == *b,
        (Value::Float(a), Literal::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Str(a), Literal::Str(b)) => a == b,
        (Value::Bytes(a), Literal::Bytes(b)) => a == b,
        (Value::List(a), Literal::List(b) | Literal::Tuple(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Map(a), Literal::Map(b)) => {
            let mut pairs = a.iter().zip(b);
            a.len() == b.len() && pairs.all(|(a, b)| same(&a.0, &b.0) && same(&a.1, &b.1))
        }
        _ => false,
    }
}

#[test]
fn expressions_evaluate_as_recorded() {
    let cases = cases();
    assert_eq!(cases.len(), 107);
    let mut wrong = Vec::new();
    for case in &cases {
        let expr = case["expr"].as_str().unwrap();
        let port = &case["port"];
        let overriding = OVERRIDES.iter().find(|(text, _)| *text == expr);
        let want = match overriding {
            Some((_, want)) => {
                assert!(port["value"].is_null(), "{expr} needs no override");
                Some(Literal::Int(want.parse().unwrap()))
            }
            // `-` and `/` are words of the command line, no expressions
            None => (!port["value"].is_null()).then(|| expected(&port["value"])),
        };
        let got = text::eval::eval(expr);
        let right = match (&got, &want) {
            (Ok(value), Some(want)) => {
                same(value, want) && literal::eval(expr).as_ref() == Ok(want)
            }
            (Err(_), None) => true,
            _ => false,
        };
        if !right {
            wrong.push(format!("{expr}: {got:?}, not {want:?}"));
        }
        if let Err(e) = got {
            let line = e.to_string();
            assert!(!line.is_empty() && !line.contains('\n'), "{expr}: {line}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn operators_compute_like_python() {
    for (expr, want) in [
        ("-7 // 2, -7 % 2, 7 // -2, 7 % -2", "(-4, 1, -4, -1)"),
        ("-7.5 // 2, -7.5 % 2, 7.5 % -2", "(-4.0, 0.5, -0.5)"),
        (
            "2 ** -1, (-2) ** 3, -2 ** 2, 2 ** 3 ** 2",
            "(0.5, -8, -4, 512)",
        ),
        (
            "10 ** 400 / 10 ** 399, (2**64+1) / 3",
            "(10.0, 6.148914691236517e+18)",
        ),
        (
            "1 / 3, 10**30 / 7, -1 / 10**310",
            "(0.3333333333333333, 1.4285714285714285e+29, -1e-310)",
        ),
        (
            "True + True, True & False, True | 2, ~True",
            "(2, False, 3, -2)",
        ),
        ("-1 >> 1, -5 & 3, -5 | 3, 5 ^ -1", "(-1, 3, -5, -6)"),
        (
            "1 < 2 < 3, 1 < 3 < 2, 1 == True == 1.0",
            "(True, False, True)",
        ),
        ("2**53 + 1 == 2.0**53, 2**53 < 2.0**53 + 2", "(False, True)"),
        (
            "(1, 2) < (1, 3), [1] < [1, 0], 'a' < 'b'",
            "(True, True, True)",
        ),
        (
            "(1,) == [1], 'a' == b'a', None == 0",
            "(False, False, False)",
        ),
        ("1e999 - 1e999 == 1e999 - 1e999", "False"),
        (
            "1 or 1 // 0, 0 and 1 // 0, '' or [], not ''",
            "(1, 0, [], True)",
        ),
        (
            "'b' in 'abc', 98 in b'abc', True in b'\\x01', b'bc' in b'abc', 1 not in [1.0]",
            "(True, True, True, True, False)",
        ),
        ("'a' in {'a': 1}, {'a': 1, 'b': 2}['b']", "(True, 2)"),
        ("{1: 'a', True: 'b', 2: 'c', 1.0: 'd'}", "{1: 'd', 2: 'c'}"),
        ("{(1, 'a'): 1, (1.0, 'a'): 2}", "{(1, 'a'): 2}"),
        (
            "'abcde'[::-1], 'abcde'[-2:], 'abcde'[1:-1:2]",
            "('edcba', 'de', 'bd')",
        ),
        ("'äöü'[1], b'abc'[1], [1, 2, 3][-1]", "('ö', 98, 3)"),
        (
            "(1, 2, 3)[10:], (1, 2, 3)[:-10:-1], [0][0:1:2**70]",
            "((), (3, 2, 1), [0])",
        ),
        (
            "[1] + [2], (1,) + (2,), b'a' + b'b', 3 * [0], 'a' * -1",
            "([1, 2], (1, 2), b'ab', [0, 0, 0], '')",
        ),
        ("1 if '' else 2 if 0 else 3", "3"),
        (
            "0x_ff, 1_0.0_1, .5, 5., 1E3, 0B1",
            "(255, 10.01, 0.5, 5.0, 1000.0, 1)",
        ),
        (
            "rb'\\n', u'ä', R'\\x', b'\\x41' B'b', '\\N{BULLET}'",
            "(b'\\\\n', 'ä', '\\\\x', b'Ab', '•')",
        ),
        ("[1,\n 2, # two\n 3]", "[1, 2, 3]"),
        ("(((((1)))))", "1"),
    ] {
        match literal::eval(expr) {
            Ok(got) => assert_eq!(got.to_string(), want, "{expr}"),
            Err(e) => panic!("{expr}: {e}"),
        }
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    for expr in [
        "1 + None",
        "1 - 'a'",
        "'a' - 'b'",
        "1.0 | 1",
        "1 << 1.0",
        "1 << -1",
        "1 @ 1",
        "[1] * 1.5",
        "'a' * 'b'",
        "1 < None",
        "1 < 2 < 'a'",
        "{} < {}",
        "1 in 1",
        "1 in 'a'",
        "256 in b'a'",
        "1[0]",
        "None[0]",
        "(1,)['a']",
        "'a'[1]",
        "'a'[0:1:0]",
        "'a'['b':]",
        "{'a': 1}['b']",
        "{}[[]]",
        "{{}: 1}",
        "{([],): 1}",
        "0 ** -1",
        "0.0 ** -1",
        "(-8) ** 0.5",
        "1e200 ** 2",
        "1.0 % 0",
        "10 ** 400 * 1.0",
        "1 = 1",
        "1 := 2",
        "(1",
        "1)",
        "[1, 2",
        "{1: }",
        "'a",
        "'''a'",
        "\"",
        "\\",
        "$",
        "!1",
        "1 2",
        "1, ,",
        "0x",
        "1_",
        "1._5",
        "0777",
        "'a' b'b'",
        "b'ä'",
        "'\\x4'",
        "'\\N{nonsense}'",
        "*1",
        "**{}",
        "{**{}}",
        "{*()}",
        "(*(),)",
        "yield",
        "await 1",
        "lambda: 1",
        "not",
        "1 not 2",
        "in",
        "\u{0}",
        "1\u{a0}",
        "１",
    ] {
        assert!(
            literal::eval(expr).is_err(),
            "{expr}: {:?}",
            literal::eval(expr)
        );
    }
}

proptest! {
    #[test]
    fn any_text_gives_an_answer(text in any::<String>()) {
        let _ = text::eval::eval(&text);
    }

    #[test]
    fn any_mix_of_tokens_gives_an_answer(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "(", ")", "[", "]", "{", "}", ",", ":", "1", "0", "-1", "1e9", "99", "0x", "'a'", "b''",
                "'", "\"\"\"", "\\", "\n", "#", " ", "+", "-", "*", "**", "/", "//", "%", "<<", ">>",
                "&", "|", "^", "~", "<", "==", "=", ":=", "not ", " in ", " if ", " else ", " and ",
                " or ", "None", "True", "f'{", "...", ".", "j", "e", "@", "!", ";", "is", "\r", "ä",
            ]),
            0..60,
        ),
    ) {
        let _ = text::eval::eval(&tokens.concat());
    }

    #[test]
    fn what_is_printed_reads_as_the_same(literal in literal()) {
        let text = literal.to_string();
        prop_assert_eq!(literal::eval(&text), Ok(literal));
    }
}

/// Anything but NaN, infinities (which have no literal) and maps.
fn literal() -> impl Strategy<Value = Literal> {
    let leaf = prop_oneof![
        Just(Literal::None),
        any::<bool>().prop_map(Literal::Bool),
        any::<i128>().prop_map(|n| Literal::Int(n.into())),
        (prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO)
            .prop_map(Literal::Float),
        any::<String>().prop_map(Literal::Str),
        any::<Vec<u8>>().prop_map(Literal::Bytes),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let items = prop::collection::vec(inner, 0..6);
        prop_oneof![
            items.clone().prop_map(Literal::Tuple),
            items.prop_map(Literal::List),
        ]
    })
}
