//! Rules: their answers, their errors and where those are, and CEL's own interpreter as the oracle.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use ambit_flow::{
    Context, MAX_DEPTH, MAX_STEPS, MAX_TESTS, MAX_TEXT, Place, Rule, RuleErrorKind, Type, ValueRef,
};
use ambit_mem::{Arena, Budget, Bytes, Priority};
use cel::Program;
use proptest::prelude::*;
use serde_json::json;
use support::account;

/// A context with a value of every sort.
fn context() -> Context {
    let mut context = Context::new(&account());
    let fields = json!({
        "a": 7, "b": -3, "zero": 0, "f": 2.5, "g": -0.5, "t": "grey", "u": "grëy stone",
        "yes": true, "no": false, "none": null, "list": [1, 2, 3, 2], "words": ["a", "grey"],
        "map": { "x": 1, "deep": { "y": [10, { "z": "end" }] } }, "nothing": [],
        "large": u64::MAX, "list2": [1, 2.0, 3, 2],
    });
    context.set_fields(&fields).unwrap();
    context.set("vector", &[0.5_f32, 1.5][..]).unwrap();
    context.set("raw", &b"\x00\xff"[..]).unwrap();
    context
}

fn answer(text: &str) -> Result<serde_json::Value, (Place, RuleErrorKind)> {
    let (context, arena) = (context(), Arena::new(&account()).unwrap());
    let rule = Rule::parse(text).map_err(|error| (error.place, error.kind))?;
    rule.answer(&context, &arena).map(ValueRef::to_json).map_err(|error| (error.place, error.kind))
}

#[test]
fn every_operator_and_function_has_its_answer() {
    for (text, expected) in [
        ("1 + 2 * 3 - 4 / 3 % 2", json!(6)),
        ("-7 / 2", json!(-3)),
        ("-7 % 3", json!(-1)),
        ("a * 0.5", json!(3.5)),
        ("7.0 / 2", json!(3.5)),
        ("-f", json!(-2.5)),
        ("'re' + \"d\"", json!("red")),
        ("t + ' ' + t", json!("grey grey")),
        ("a == 7.0 && f == 2.5 && list == list2", json!(true)),
        ("t == 'grey' ? 'yes' : 'no'", json!("yes")),
        ("a != b || zero > 1", json!(true)),
        ("!(a < b) && a >= 7 && b <= -3", json!(true)),
        ("'b' > 'a' && false < true", json!(true)),
        ("none == null && a != null", json!(true)),
        ("2 in list && !(9 in list) && 'grey' in words && 'x' in map", json!(true)),
        ("a in [1, 7, 9]", json!(true)),
        ("[1, 2] == [1, 2] && [1] != [1, 2]", json!(true)),
        ("list[1] + map.x + map['x']", json!(4)),
        ("map.deep.y[1].z", json!("end")),
        ("has(map.deep) && !has(map.no) && !has(unset.x)", json!(true)),
        ("size(list) + list.size() + size(t) + u.size() + size(map) + size(nothing)", json!(24)),
        ("size(raw) == 2 && size(vector) == 2 && vector[1] == 1.5", json!(true)),
        ("u.contains('ëy') && u.startsWith('gr') && u.endsWith('one')", json!(true)),
        ("int('12') + int(2.9) + int(-2.9) + int(3u)", json!(15)),
        ("double('1.5') + double(2)", json!(3.5)),
        ("string(b) + string(yes) + string(f) + string(t) + string(3u)", json!("-3true2.5grey3")),
        ("string(1.5e300) + string(-9223372036854775807)", json!("1.5e300-9223372036854775807")),
        ("list.all(x, x > 0) && !list.all(x, x > 1)", json!(true)),
        ("list.exists(x, x == 3) && !nothing.exists(x, true)", json!(true)),
        ("list.exists_one(x, x == 3) && !list.exists_one(x, x == 2)", json!(true)),
        ("vector.exists(x, x > 1.0) && [a, b].exists(x, x < 0)", json!(true)),
        ("map.all(k, size(k) < 5)", json!(true)),
        ("words.exists(w, list.exists(x, size(w) == x + 1))", json!(true)),
        // A name inside a test hides one of the context.
        ("list.exists(a, a == 3)", json!(true)),
        ("5u % 3u + 1u", json!(3)),
        ("large > a && large == 18446744073709551615u", json!(false)),
        ("9223372036854775807 > 9223372036854775806.0", json!(false)),
        ("true ? 1 : 1 / zero", json!(1)),
        ("false && 1 / zero > 0", json!(false)),
        ("1 / zero > 0 && false", json!(false)),
        ("1 / zero > 0 || true", json!(true)),
        ("[0, 1].exists(x, 1 / x > 0)", json!(true)),
        ("list", json!([1, 2, 3, 2])),
        ("vector", json!([0.5, 1.5])),
    ] {
        assert_eq!(answer(text), Ok(expected), "{text}");
    }
}

#[test]
fn an_error_says_where_and_what() {
    let kind = |text: &str| answer(text).unwrap_err();
    let text = |text: &str| {
        let (place, kind) = answer(text).unwrap_err();
        format!("{}:{} {kind}", place.line, place.column)
    };
    assert_eq!(text("a + lits"), "1:5 nothing is set under 'lits'; is 'list' meant?");
    assert_eq!(text("yes &&\n  t"), "2:3 a truth value is needed, this is text");
    assert_eq!(text("1 +\n  (2 - t)"), "2:6 int - text");
    assert_eq!(text("map.deep.yy"), "1:9 the map has no 'yy'; is 'y' meant?");
    assert_eq!(text("a.x"), "1:2 '.x' of int");
    assert_eq!(text("list[4]"), "1:5 no such place in a list of 4");
    assert_eq!(text("list[-1]"), "1:5 no such place in a list of 4");
    assert_eq!(text("list['a']"), "1:5 list[text]");
    assert_eq!(text("1 / zero"), "1:3 division by zero");
    assert_eq!(text("1 % zero"), "1:3 division by zero");
    assert_eq!(text("9223372036854775807 + 1"), "1:21 the number does not fit in 64 bits");
    assert_eq!(text("3u - 4u"), "1:4 the number does not fit in 64 bits");
    assert_eq!(text("int(1e300)"), "1:4 the number does not fit in 64 bits");
    assert_eq!(text("int('x')"), "1:4 the text is no whole number");
    assert_eq!(text("a < t"), "1:3 int and text have no order");
    assert_eq!(text("5.5 % 2.0"), "1:5 double % double");
    assert_eq!(text("1 in 2"), "1:3 an element in int");
    assert_eq!(text("a.all(x, true)"), "1:6 the elements of int");
    assert_eq!(text("[1, 2]"), "1:1 a list that is written in a rule cannot be its answer");
    assert!(matches!(kind("list.exists_one(x, 1 / (x - 1) > 0)").1, RuleErrorKind::Arithmetic(_)));
}

#[test]
fn a_text_that_is_no_rule_says_where() {
    for (text, line, column, part) in [
        ("", 1, 1, "the end"),
        ("1 +", 1, 4, "the end"),
        ("income >== 3", 1, 10, "token recognition error"),
        ("a &&\n  b ~ c", 2, 5, "token recognition error"),
        ("ëë ? 1", 1, 1, "token recognition error"),
        ("sise(a)", 1, 5, "no function 'sise'; is 'size' meant?"),
        ("frobnicate(a, b)", 1, 11, "there are size, contains"),
        ("a.size(b)", 1, 7, "size(x) or x.size()"),
        ("contains(a, b)", 1, 9, "x.contains(y)"),
        ("list.map(x, x + 1)", 1, 9, "a rule makes no lists"),
        ("list.filter(x, x > 1)", 1, 12, "a rule makes no lists"),
        ("{'a': 1}", 1, 1, "maps and messages"),
        ("b'a' == b'a'", 1, 1, "bytes"),
        ("list.all(1, true)", 1, 10, "simple name"),
    ] {
        let error = Rule::parse(text).unwrap_err();
        assert_eq!((error.place.line, error.place.column), (line, column), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn length_depth_and_tests_have_limits() {
    for (len, fits) in [(MAX_TEXT - 1, true), (MAX_TEXT, true), (MAX_TEXT + 1, false)] {
        assert_eq!(Rule::parse(&format!("'{}'", "x".repeat(len - 2))).is_ok(), fits);
    }
    // A chain of n additions is n + 1 operations deep.
    for (deep, fits) in [(MAX_DEPTH - 1, true), (MAX_DEPTH, true), (MAX_DEPTH + 1, false)] {
        let rule = Rule::parse(&format!("1{}", "+1".repeat(deep - 1)));
        assert_eq!(rule.is_ok(), fits, "{deep}");
        if let Err(error) = rule {
            assert!(error.to_string().contains("more than 96 deep"), "{error}");
        }
    }
    for (tests, fits) in [(MAX_TESTS - 1, true), (MAX_TESTS, true), (MAX_TESTS + 1, false)] {
        let text = format!("{}true{}", "[1].all(x, ".repeat(tests), ")".repeat(tests));
        assert_eq!(Rule::parse(&text).is_ok(), fits, "{tests}");
    }
}

#[test]
fn no_text_overflows_the_stack() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("!", ""),
        ("-", ""),
        ("{1:", "}"),
        ("f(", ")"),
        ("true?1:", ""),
        ("1+", ""),
        ("a.all(x,", ")"),
        ("r'\\' ((", ""),
        ("\"(", ""),
        ("a.", ""),
    ] {
        for times in [90, 100, 400, MAX_TEXT / (open.len() + close.len()) - 1] {
            let text = format!("{}1{}", open.repeat(times), close.repeat(times));
            // Either way it comes back, on a thread as small as they get.
            let thread = std::thread::Builder::new().stack_size(64 << 10);
            let parsed = thread.spawn(move || Rule::parse(&text).is_ok()).unwrap();
            parsed.join().unwrap();
        }
    }
}

#[test]
fn a_rule_that_takes_too_long_has_no_answer() {
    let (account, mut context) = (account(), context());
    let arena = Arena::new(&account).unwrap();
    // Five operations for each pair.
    let rule = Rule::parse("n.all(x, n.all(y, x + y >= 0))").unwrap();
    for (len, fits) in [(100, true), (440, true), (460, false), (10_000, false)] {
        let numbers: Vec<u32> = (0..len).collect();
        context.put("n", json!(numbers)).unwrap();
        match rule.holds(&context, &arena) {
            Ok(holds) => assert!(holds && fits, "{len}"),
            Err(error) => {
                assert!(!fits && error.kind == RuleErrorKind::TooLong, "{len}: {error}");
            }
        }
    }
    assert_eq!(MAX_STEPS, 1_000_000);
}

#[test]
fn what_a_rule_joins_is_held_to_the_budget() {
    let budget = Budget::new(Bytes::kib(64));
    let account = budget.account("flow", Priority::Write);
    let mut context = Context::new(&account);
    context.set("t", &"x".repeat(10_000)).unwrap();
    let arena = Arena::new(&account).unwrap();
    assert!(Rule::parse("t + t").unwrap().answer(&context, &arena).is_ok());
    let error = Rule::parse("t+t+t+t+t").unwrap().answer(&context, &arena).unwrap_err();
    assert!(matches!(error.kind, RuleErrorKind::OverBudget(_)), "{error}");
}

#[test]
fn a_rule_knows_its_keys_and_what_its_text_says_of_its_answer() {
    let rule = Rule::parse("b > a.b && list.all(x, x > b) && has(c.d)").unwrap();
    let keys: Vec<String> = rule.keys().iter().map(|key| key.name().to_owned()).collect();
    assert_eq!(keys, ["a", "b", "c", "list"]);
    assert_eq!(rule.answer_type(), Type::Bool);
    assert_eq!(Rule::parse("'a'").unwrap().answer_type(), Type::Text);
    assert_eq!(Rule::parse("a + 1").unwrap().answer_type(), Type::Any);
}

/// Texts of whole numbers, floats, texts and truth values, over the names of the oracle's context.
fn ints() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("zero".to_owned()),
        (-9_i64..10).prop_map(|n| format!("({n})")),
        Just("9223372036854775807".to_owned()),
        (0_usize..6).prop_map(|n| format!("list[{n}]")),
        Just("map.x".to_owned()),
        Just("size(t)".to_owned()),
        Just("u.size()".to_owned()),
        Just("size(list)".to_owned()),
    ];
    leaf.prop_recursive(3, 16, 2, |inner| {
        let pair =
            (inner.clone(), inner.clone(), prop::sample::select(vec!["+", "-", "*", "/", "%"]));
        prop_oneof![
            pair.prop_map(|(l, r, sign)| format!("({l} {sign} {r})")),
            inner.prop_map(|of| format!("-({of})")),
        ]
    })
}

fn floats() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("f".to_owned()),
        Just("g".to_owned()),
        Just("0.0".to_owned()),
        Just("1.5e10".to_owned()),
        ints().prop_map(|of| format!("double({of})")),
    ];
    // No division by zero: CEL refuses to order what is no number, where here no order holds.
    let signs = prop::sample::select(vec!["+", "-", "*"]);
    leaf.prop_recursive(2, 8, 2, move |inner| {
        let pair = (inner.clone(), inner.clone(), signs.clone());
        prop_oneof![
            pair.prop_map(|(l, r, sign)| format!("({l} {sign} {r})")),
            inner.prop_map(|of| format!("({of} / 2.5)")),
        ]
    })
}

fn texts() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("t".to_owned()),
        Just("u".to_owned()),
        Just("'grey'".to_owned()),
        Just("''".to_owned()),
        Just("words[1]".to_owned()),
        Just("map.deep.y[1].z".to_owned()),
        ints().prop_map(|of| format!("string({of})")),
    ];
    leaf.prop_recursive(2, 4, 2, |inner| {
        (inner.clone(), inner).prop_map(|(l, r)| format!("({l} + {r})"))
    })
}

fn bools() -> impl Strategy<Value = String> {
    let order = || prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]);
    let word = prop::sample::select(vec!["contains", "startsWith", "endsWith"]);
    let each = prop::sample::select(vec!["all", "exists", "exists_one"]);
    let leaf = prop_oneof![
        Just("yes".to_owned()),
        Just("no".to_owned()),
        Just("has(map.x)".to_owned()),
        Just("has(map.no)".to_owned()),
        (ints(), order(), ints()).prop_map(|(l, o, r)| format!("{l} {o} {r}")),
        (floats(), order(), floats()).prop_map(|(l, o, r)| format!("{l} {o} {r}")),
        (texts(), order(), texts()).prop_map(|(l, o, r)| format!("{l} {o} {r}")),
        (texts(), word, texts()).prop_map(|(l, w, r)| format!("{l}.{w}({r})")),
        (ints(), ints()).prop_map(|(l, r)| format!("{l} in [1, {r}, 3]")),
        ints().prop_map(|of| format!("{of} in list")),
        (each, order(), ints()).prop_map(|(e, o, r)| format!("list.{e}(x, x {o} {r})")),
        texts().prop_map(|of| format!("{of} in words")),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("({l} && {r})")),
            (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("({l} || {r})")),
            inner.clone().prop_map(|of| format!("!({of})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(t, l, r)| format!("({t} ? {l} : {r})")),
        ]
    })
}

/// A whole number is an int, which CEL's own conversion makes an unsigned one of.
fn to_cel(json: &serde_json::Value) -> cel::Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => cel::Value::Null,
        Json::Bool(value) => cel::Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => cel::Value::Int(whole),
            None => cel::Value::Float(number.as_f64().unwrap()),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(list) => list.iter().map(to_cel).collect::<Vec<_>>().into(),
        Json::Object(map) => {
            let map = map.iter().map(|(key, value)| (key.clone(), to_cel(value)));
            map.collect::<std::collections::HashMap<_, _>>().into()
        }
    }
}

/// The answer of CEL's own interpreter over the same values; an error is `None`.
fn oracle(text: &str) -> Option<serde_json::Value> {
    let mut cel = cel::Context::default();
    for (key, value) in context().iter() {
        if let ValueRef::Bytes(_) | ValueRef::Floats(_) = value {
            continue;
        }
        cel.add_variable_from_value(key, to_cel(&value.to_json()));
    }
    match Program::compile(text).unwrap().execute(&cel).ok()? {
        cel::Value::Int(value) => Some(value.into()),
        cel::Value::Float(value) => Some(value.into()),
        cel::Value::Bool(value) => Some(value.into()),
        cel::Value::String(value) => Some(value.as_str().into()),
        other => panic!("{text}: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn answers_are_those_of_cel(
        text in prop_oneof![4 => bools(), 1 => ints(), 1 => floats(), 1 => texts()],
    ) {
        match (oracle(&text), answer(&text)) {
            (Some(expected), Ok(found)) => prop_assert_eq!(expected, found, "{}", text),
            (None, Err(_)) => {}
            // What is deeper than we bear is refused, not answered.
            (_, Err((_, RuleErrorKind::Syntax(message)))) => prop_assert!(message.contains("deep")),
            (expected, found) => prop_assert!(false, "{text}: {expected:?} {found:?}"),
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[-a-z0-9 .,()\\[\\]{}'\"!?:<>=&|+*/%\\\\ë\n]{0,60}") {
        let _ = Rule::parse(&text);
    }
}
