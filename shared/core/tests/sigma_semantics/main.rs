//! What Sigma's modifiers, values and conditions mean, as small rules beside records that they match and do not match.
//!
//! See <https://sigmahq.io/sigma-specification/specification/sigma-appendix-modifiers.html> and
//! <https://sigmahq.io/sigma-specification/specification/sigma-rules-specification.html>.

#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod keywords;
mod taxonomy;
mod written;

use cloudvigil_core::detect::{Catalogue, RuleFile};
use cloudvigil_core::formats;
use cloudvigil_core::pipeline::{Entry, Options, Pipeline};
use serde_json::{Value, json};

fn catalogue(detection: &str, log_source: &str) -> Catalogue {
    let text = format!("title: t\nid: t\nlogsource: {{{log_source}}}\ndetection:\n{detection}\n");
    let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("t.yml", text.clone())]);
    assert!(problems.is_empty(), "{text}\n{problems:?}");
    catalogue
}

fn is_match(catalogue: &Catalogue, format: &str, record: &[u8]) -> bool {
    let pipeline = Pipeline::new(catalogue, Options { matches: true, ..Options::default() });
    let entry = Entry { key: None, time: None, bytes: record };
    let report = pipeline.entries("test", formats::by_name(format), std::iter::once(entry));
    assert_eq!(report.stats.parsed, 1, "{}", String::from_utf8_lossy(record));
    !report.matches.is_empty()
}

/// A rule's selection over JSON records: those that it matches, and those that it does not.
struct Meaning {
    /// Lines of the detection; without a `condition` it is `s`.
    detection: &'static str,
    matches: Vec<Value>,
    others: Vec<Value>,
}

fn meaning(detection: &'static str, matches: Vec<Value>, others: Vec<Value>) -> Meaning {
    Meaning { detection, matches, others }
}

/// Checks a table, and names every line that does not hold.
fn check(table: Vec<Meaning>) {
    let mut wrong = Vec::new();
    for Meaning { detection, matches, others } in table {
        let condition = if detection.contains("condition:") { "" } else { "\n  condition: s" };
        let detection = detection.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
        let catalogue = catalogue(&format!("{detection}{condition}"), "service: cloudtrail");
        let expected = matches.iter().map(|record| (record, true)).chain(others.iter().map(|record| (record, false)));
        for (record, expected) in expected {
            if is_match(&catalogue, "cloudtrail", record.to_string().as_bytes()) != expected {
                wrong.push(format!("{detection}{record}: should{} match", if expected { "" } else { " not" }));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Why rules with these detections are refused, by the line of `s`.
fn refused(detection: &str) -> String {
    let text =
        format!("title: t\nid: t\nlogsource: {{service: cloudtrail}}\ndetection:\n  condition: s\n  {detection}\n");
    let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("t.yml", text)]);
    assert!(catalogue.rules().is_empty(), "{detection}");
    let told: Vec<_> = problems.iter().map(|problem| (problem.line, problem.is_harmless)).collect();
    assert_eq!(told, [(Some(6), false)], "{detection}: {problems:?}");
    problems.into_iter().map(|problem| problem.reason).collect()
}

/// A record with one field.
fn f(value: impl Into<Value>) -> Value {
    json!({ "f": value.into() })
}

#[test]
fn plain_values_ignore_case_and_know_wildcards() {
    check(vec![
        meaning("s: {f: Value}", vec![f("Value"), f("vALUE")], vec![f("Value2"), f(""), json!({"g": "Value"})]),
        meaning("s: {f: 'a*c'}", vec![f("ac"), f("aXXc"), f("A\nC")], vec![f("acd"), f("bac")]),
        meaning("s: {f: 'a?c'}", vec![f("abc"), f("aßc")], vec![f("ac"), f("abbc")]),
        meaning(r"s: {f: 'a\*c'}", vec![f("a*c")], vec![f("abc")]),
        meaning(r"s: {f: 'a\\*'}", vec![f(r"a\b")], vec![f("ab"), f("a*")]),
        meaning(r"s: {f: 'a\b'}", vec![f(r"a\b")], vec![f("ab")]),
        meaning("s: {f: Straße}", vec![f("straße")], vec![f("strasse")]),
        meaning("s: {f: [one, two]}", vec![f("one"), f("two")], vec![f("three")]),
        meaning("s: {f: ''}", vec![f("")], vec![f("x"), json!({}), f(Value::Null)]),
        meaning("s: {f: '*'}", vec![f("x"), f("")], vec![json!({})]),
        meaning("s: {f: '*bc'}", vec![f("a\nBC")], vec![f("bcd")]),
        meaning("s: {f: 'ab*'}", vec![f("ABc\nd")], vec![f("xab")]),
        meaning("s: {f: '*b*'}", vec![f("abc"), f("b")], vec![f("ac")]),
    ]);
}

#[test]
fn numbers_and_booleans_are_values() {
    check(vec![
        meaning("s: {f: 5}", vec![f(5), f("5"), f(5.0)], vec![f(50), f("05x"), f(true)]),
        meaning("s: {f: '5'}", vec![f(5), f("5")], vec![f(50)]),
        meaning("s: {f: -1.5}", vec![f(-1.5)], vec![f(1.5)]),
        meaning("s: {f: true}", vec![f(true), f("true")], vec![f(false), f("x")]),
        meaning("s: {f: 'false'}", vec![f(false), f("False")], vec![f(true), json!({})]),
        meaning("s: {f: true}", vec![], vec![f("yes"), f("1"), f(1)]),
        meaning("s: {f: [false, 0]}", vec![f("FALSE"), f(0), f("0")], vec![f("no"), f("")]),
        // One more than a float can tell from its neighbour.
        meaning("s: {f: 9007199254740993}", vec![f(9_007_199_254_740_993_i64)], vec![f(9_007_199_254_740_992_i64)]),
    ]);
}

#[test]
fn null_is_an_absent_field() {
    check(vec![
        meaning("s: {f: null}", vec![json!({}), f(Value::Null)], vec![f(""), f(0), f("null")]),
        meaning("s: {f: [null, x]}", vec![json!({}), f("x")], vec![f("y")]),
        meaning("s: {f: []}", vec![json!({}), f(Value::Null)], vec![f("x")]),
        meaning("s: {f: x}\nn: {g: null}\ncondition: s and not n", vec![json!({"f": "x", "g": 1})], vec![f("x")]),
    ]);
}

#[test]
fn string_modifiers_say_where_the_value_is() {
    check(vec![
        meaning("s: {f|contains: bc}", vec![f("aBCd"), f("bc")], vec![f("b c")]),
        meaning("s: {f|startswith: ab}", vec![f("ABc")], vec![f("xab")]),
        meaning("s: {f|endswith: bc}", vec![f("aBC")], vec![f("bcx")]),
        meaning("s: {f|contains: [x, y]}", vec![f("1x"), f("y1")], vec![f("z")]),
        meaning("s: {f|contains|all: [x, y]}", vec![f("y and x")], vec![f("x"), f("y")]),
        meaning("s: {f|all: ['*x*', '*y*']}", vec![f("y and x")], vec![f("x")]),
        meaning("s: {f|contains: 'a*c'}", vec![f("xxabcxx")], vec![f("ab")]),
        meaning("s: {f|startswith: 'a?c'}", vec![f("abcd")], vec![f("xabc")]),
        meaning("s: {f|endswith: 'a?c'}", vec![f("xabc")], vec![f("abcx")]),
        meaning("s: {f|contains: 5}", vec![f("x5"), f(152)], vec![f(123)]),
        meaning("s: {f|contains: ['a*c', x]}", vec![f("1a\nc1"), f("1x1")], vec![f("ab")]),
        meaning("s: {f|contains|all: ['a*c', x, y]}", vec![f("x abc y")], vec![f("abc x"), f("ac y")]),
        meaning("s: {f|startswith: ['a*', b]}", vec![f("ax"), f("bx")], vec![f("xa")]),
        meaning("s: {f|endswith: '*c'}", vec![f("xc")], vec![f("cx")]),
        meaning("s: {f|neq: ['a*c', x]}", vec![f("ab")], vec![f("abc"), f("x")]),
        meaning("s: {f|contains|all|neq: ['a*c', x, y]}", vec![f("abc xz"), f("xy"), f("z")], vec![f("x abc y")]),
        meaning(r"s: {f|contains: 'a.(b*'}", vec![f("xa.(bx")], vec![f("axb")]),
        meaning(r"s: {f: '\\*\\x'}", vec![f(r"\\host\x")], vec![f("host")]),
        meaning("s: {f|cased: Value}", vec![f("Value")], vec![f("value")]),
        meaning("s: {f|contains|cased: BC}", vec![f("aBCd")], vec![f("abcd")]),
        meaning("s: {f|startswith|cased: 'A*c'}", vec![f("AxxcD")], vec![f("axxcD")]),
    ]);
}

#[test]
fn regular_expressions_mind_case_unless_told() {
    check(vec![
        meaning("s: {f|re: 'a.c'}", vec![f("xabcx")], vec![f("aBC"), f("a\nc")]),
        meaning("s: {f|re: '^a+$'}", vec![f("aaa")], vec![f("aab"), f("b\naaa")]),
        meaning("s: {f|re|i: 'a.c'}", vec![f("ABC")], vec![f("ac")]),
        meaning("s: {f|re|m: '^b$'}", vec![f("a\nb\nc")], vec![f("ab")]),
        meaning("s: {f|re|s: 'a.c'}", vec![f("a\nc")], vec![f("ac")]),
        meaning("s: {f|re|i|m|s: '^B.C$'}", vec![f("a\nb\nc\nd")], vec![f("a")]),
        meaning("s: {f|re: ['^x', 'y$']}", vec![f("x1"), f("1y")], vec![f("1x1")]),
        meaning(r"s: {f|re: '\d{3}'}", vec![f("a123"), f(4567)], vec![f("12")]),
    ]);
}

#[test]
fn networks_hold_addresses() {
    check(vec![
        meaning("s: {f|cidr: 10.0.0.0/8}", vec![f("10.1.2.3")], vec![f("11.1.2.3"), f("10.1.2"), f("x")]),
        meaning("s: {f|cidr: 2001:db8::/32}", vec![f("2001:DB8::1")], vec![f("2001:db9::1"), f("10.0.0.1")]),
        meaning("s: {f|cidr: [10.0.0.0/8, 192.168.0.0/16]}", vec![f("192.168.1.1")], vec![f("172.16.0.1")]),
        // An address is the network of it alone, and a mask may be written as one.
        meaning("s: {f|cidr: 10.0.0.1}", vec![f("10.0.0.1")], vec![f("10.0.0.2"), f("10.0.0.10"), f("x")]),
        meaning(
            "s: {f|cidr: ['2001:db8::1', 10.0.0.1]}",
            vec![f("2001:DB8:0::1"), f("10.0.0.1")],
            vec![f("2001:db8::2")],
        ),
        meaning("s: {f|cidr: 10.0.0.0/255.255.0.0}", vec![f("10.0.9.1")], vec![f("10.1.0.1")]),
        meaning("s: {f|cidr|neq: 10.0.0.1}", vec![f("10.0.0.2")], vec![f("10.0.0.1")]),
    ]);
    for wrong in ["10.0.0", "10.0.0.256", "10.0.0.0/33", "10.0.0.0/255.0.255.0", "10.0.0.*", "host", "''", "5"] {
        let reason = refused(&format!("s: {{f|cidr: {wrong}}}"));
        assert!(reason.contains("CIDR"), "{wrong}: {reason}");
    }
}

#[test]
fn fields_may_have_to_exist_or_be_like_others() {
    check(vec![
        // Whether it is there, not what its value is.
        meaning("s: {f|exists: true}", vec![f("x"), f(""), f(0), f(Value::Null)], vec![json!({"g": 1})]),
        meaning("s: {f|exists: false}", vec![json!({"g": 1})], vec![f("x"), f(""), f(Value::Null)]),
        meaning(
            "s: {f.g|exists: true}",
            vec![f(json!({"g": null})), f(json!([{"h": 1}, {"g": 1}])), json!({"f.g": null})],
            vec![f(Value::Null), f(json!({"h": 1})), json!({"g": 1})],
        ),
        meaning(
            "s: [{f|exists: true}, {g|exists: true}]",
            vec![f(Value::Null), json!({"g": 1})],
            vec![json!({"h": 1})],
        ),
        meaning("s: {f|exists: false}\nt: {g|exists: true}\ncondition: s and t", vec![json!({"g": 1})], vec![f(1)]),
        meaning("s: {f|fieldref: g}", vec![json!({"f": "a", "g": "A"})], vec![json!({"f": "a", "g": "b"}), f("a")]),
        meaning(
            "s: {f|fieldref|contains: g}",
            vec![json!({"f": "xax", "g": "a"})],
            vec![json!({"f": "a", "g": "xax"}), f("a")],
        ),
        meaning(
            "s: {f|fieldref|startswith: g}",
            vec![json!({"f": "ax", "g": "a"})],
            vec![json!({"f": "xa", "g": "a"})],
        ),
        meaning("s: {f|fieldref|endswith: g}", vec![json!({"f": "xa", "g": "a"})], vec![json!({"f": "ax", "g": "a"})]),
        meaning("s: {f|fieldref|neq: g}", vec![json!({"f": "a", "g": "b"})], vec![json!({"f": "a", "g": "a"})]),
        // Null is no value: it is not equal to another field's, no more than a field that is not there.
        meaning(
            "s: {f|fieldref: g}",
            vec![json!({"f": 1, "g": 1}), json!({"f": "", "g": ""})],
            vec![json!({"f": null, "g": null}), json!({"f": null}), json!({"g": null}), json!({"g": 1}), json!({})],
        ),
        meaning(
            "s: {f.a|fieldref: g.b.c}",
            vec![json!({"f": {"a": "x"}, "g": {"b": {"c": "X"}}}), json!({"f.a": "x", "g": {"b.c": "x"}})],
            vec![json!({"f": {"a": null}, "g": {"b": {"c": null}}}), json!({"f": {"a": "x"}, "g": {"b": null}})],
        ),
    ]);
}

#[test]
fn that_a_field_exists_is_true_or_false() {
    for wrong in ["'False'", "0", "[true, false]", "null", "maybe"] {
        assert!(refused(&format!("s: {{f|exists: {wrong}}}")).contains("true or false"), "{wrong}");
    }
}

#[test]
fn numbers_are_compared() {
    check(vec![
        meaning("s: {f|gt: 5}", vec![f(6), f("6"), f(5.5)], vec![f(5), f("x"), json!({})]),
        meaning("s: {f|gte: 5}", vec![f(5)], vec![f(4)]),
        meaning("s: {f|lt: 5}", vec![f(4), f(-1)], vec![f(5), json!({})]),
        meaning("s: {f|lte: 5}", vec![f(5)], vec![f(6)]),
        meaning("s: {f|gte: 5}\nt: {f|lt: 9}\ncondition: s and t", vec![f(5), f(8)], vec![f(4), f(9)]),
        meaning("s: {f|neq: 5}", vec![f(6)], vec![f(5), f("5")]),
        meaning("s: {f|neq: value}", vec![f("other")], vec![f("VALUE")]),
        meaning("s: {f|neq: [a, b]}", vec![f("c")], vec![f("a"), f("b")]),
    ]);
}

#[test]
fn what_must_not_be_equal_may_be_absent() {
    let none = || json!({"h": 1});
    check(vec![
        meaning("s: {f|neq: value}", vec![none(), f(Value::Null), f("other")], vec![f("VALUE")]),
        meaning("s: {f|neq: 5}", vec![none(), f(Value::Null), f("x")], vec![f(5)]),
        meaning("s: {f|neq: [a, 'b*']}", vec![none(), f("c")], vec![f("A"), f("bc")]),
        meaning("s: {f|contains|neq: b}", vec![none(), f("c")], vec![f("abc"), f(json!({"g": ["xbx"]}))]),
        meaning("s: {f|contains|all|neq: [a, b]}", vec![none(), f("a"), f("b")], vec![f("ab")]),
        meaning("s: {f|re|neq: '^a'}", vec![none(), f("b")], vec![f("ab")]),
        meaning("s: {f|gt|neq: 5}", vec![none(), f(5)], vec![f(6)]),
        meaning("s: {a.b|neq: x}", vec![none(), json!({"a": {}}), json!({"a": "x"})], vec![json!({"a": {"b": "X"}})]),
        // Absent is null, and null is what this must not be.
        meaning("s: {f|neq: null}", vec![f("x"), f("")], vec![none(), f(Value::Null)]),
        meaning("s: {f|neq: [null, x]}", vec![f("y")], vec![none(), f("x")]),
        meaning("s: {f|neq: []}", vec![f("y")], vec![none()]),
        meaning("s: {f|exists|neq: true}", vec![none()], vec![f("x"), f(Value::Null)]),
        meaning("s: {f|fieldref|neq: g}", vec![none(), f("a"), json!({"g": "a"})], vec![json!({"f": "a", "g": "a"})]),
        meaning("s: {f|fieldref|startswith|neq: g}", vec![none(), f("a")], vec![json!({"f": "ab", "g": "a"})]),
        meaning(
            "s: {h: 1, f|neq: a}\nn: {f|neq: b}\ncondition: s and not n",
            vec![json!({"h": 1, "f": "b"})],
            vec![none()],
        ),
        // The name of a call is one of the fields that are looked at first.
        meaning(
            "s: {eventName|neq: StopLogging}",
            vec![none(), json!({"eventName": "x"})],
            vec![json!({"eventName": "StopLogging"})],
        ),
    ]);
    let line = b"Mar  1 10:00:00 web01 sshd[17]: Server listening on 0.0.0.0 port 22.";
    for (field, expected) in [("user", true), ("cloudvigil.x", true), ("appname", false)] {
        let catalogue =
            catalogue(&format!("  s: {{{field}|neq: sshd}}\n  condition: s"), "product: linux, service: sshd");
        assert_eq!(is_match(&catalogue, "syslog", line), expected, "{field}");
    }
}

#[test]
fn parts_of_times_are_numbers() {
    let at = |time: &str| f(time);
    check(vec![
        meaning("s: {f|hour: 22}", vec![at("2026-03-01T22:05:00Z")], vec![at("2026-03-01T21:05:00Z"), at("x")]),
        meaning("s: {f|minute: 5}", vec![at("2026-03-01T22:05:00Z")], vec![at("2026-03-01T22:50:00Z")]),
        meaning("s: {f|day: 1}", vec![at("2026-03-01T22:05:00Z")], vec![at("2026-03-11T22:05:00Z")]),
        meaning("s: {f|month: 3}", vec![at("2026-03-01T22:05:00Z")], vec![at("2026-01-03T22:05:00Z")]),
        meaning("s: {f|year: 2026}", vec![at("2026-03-01T22:05:00Z")], vec![at("2025-03-01T22:05:00Z")]),
        meaning("s: {f|week: 9}", vec![at("2026-03-01T22:05:00Z")], vec![at("2026-03-02T22:05:00Z")]),
    ]);
}

#[test]
fn a_list_matches_if_one_of_its_members_does() {
    check(vec![
        meaning("s: {f: b}", vec![f(json!(["a", "b"]))], vec![f(json!(["a", "c"])), f(json!([]))]),
        meaning("s: {f|contains: b}", vec![f(json!(["a", "xbx"]))], vec![f(json!(["a"]))]),
        meaning("s: {f|gte: 5}", vec![f(json!([1, 7]))], vec![f(json!([1, 2]))]),
        meaning("s: {f|cidr: 10.0.0.0/8}", vec![f(json!(["x", "10.0.0.1"]))], vec![f(json!(["11.0.0.1"]))]),
        meaning("s: {f.g: b}", vec![f(json!([{"g": "a"}, {"g": "b"}]))], vec![f(json!([{"g": "a"}]))]),
        meaning("s: {f.g|re: '^b$'}", vec![f(json!([{"g": ["a", "b"]}]))], vec![f(json!([{"g": "ab"}]))]),
    ]);
}

#[test]
fn a_dot_leads_into_an_object_or_is_part_of_a_name() {
    check(vec![
        meaning("s: {a.b.c: x}", vec![json!({"a": {"b": {"c": "x"}}}), json!({"a.b.c": "x"})], vec![json!({"a": "x"})]),
        meaning(
            "s: {a.b: null}",
            vec![json!({"a": {}}), json!({}), json!({"a": {"b": null}})],
            vec![json!({"a": {"b": 1}})],
        ),
        // The dot may be in the name of any of them.
        meaning(
            "s: {a.b.c: x}",
            vec![json!({"a": {"b.c": "x"}}), json!({"a.b": {"c": "x"}}), json!({"a": [{"b.c": "y"}, {"b.c": "x"}]})],
            vec![json!({"a": {"b.c": "y"}}), json!({"a": {"b": {"d": "x"}}}), json!({"b.c": "x"})],
        ),
        meaning(
            "s: {a.b.com:aud|contains: x}",
            vec![json!({"a": {"b.com:aud": "1x1"}})],
            vec![json!({"a": {"b": "x"}}), json!({"b.com:aud": "x"})],
        ),
        meaning(
            "s: {a.b|exists: false}",
            vec![json!({"a": {"c": 1}})],
            vec![json!({"a": {"b": 1}}), json!({"a.b": 1})],
        ),
    ]);
}

#[test]
fn a_word_is_looked_for_in_all_of_an_object() {
    let within = |value: &str| f(json!({"g": [{"h": value}]}));
    check(vec![
        meaning(
            "s: {f|contains: Suspended}",
            vec![f(json!({"g": {"status": "Suspended"}})), f(json!([{"g": ["x", "suspended"]}]))],
            vec![f(json!({"Suspended": "x"})), f(json!({})), json!({"g": "Suspended"})],
        ),
        meaning(
            "s: {f|contains|all: ['\"Allow\"', '\"s3:Get\"']}",
            vec![f(json!({"name": "x", "document": r#"{"Effect": "Allow", "Action": "s3:Get"}"#}))],
            vec![f(json!({"document": r#"{"Effect": "Allow"}"#}))],
        ),
        meaning("s: {f: '*word*'}", vec![within("a WORD b"), f("word")], vec![within("a wor d")]),
        meaning("s: {f: '*a?c*'}", vec![within("xabcx")], vec![within("xacx")]),
        meaning("s: {f|contains: 'a*c'}", vec![within("xabbcx")], vec![within("cabb")]),
        meaning("s: {f|contains|cased: Word}", vec![within("aWordb")], vec![within("aword")]),
        meaning("s: {f|re: 'a.c$'}", vec![within("xabc"), f("abc")], vec![within("abcx")]),
        meaning("s: {f|re|i: word}", vec![within("a WORD")], vec![f(json!({"word": 1}))]),
        meaning("s: {f|base64|contains: foo}", vec![within("xxZm9v")], vec![within("foo")]),
        meaning("s: {f: '*'}", vec![f(json!({"g": "x"}))], vec![json!({"g": 1})]),
        meaning("s: {f|contains: '*'}", vec![f(json!({"g": "x"}))], vec![json!({"g": 1})]),
        meaning("s: {f: null}", vec![f(Value::Null)], vec![f(json!({})), f(json!({"g": null}))]),
        meaning("s: {f|exists: true}", vec![f(json!({}))], vec![json!({"g": {}})]),
        // The name of a call is one of the fields that are looked at first.
        meaning(
            "s: {eventName|contains: logging}",
            vec![json!({"eventName": {"x": "StopLogging"}}), json!({"eventName": ["StopLogging"]})],
            vec![json!({"eventName": {"StopLogging": "x"}})],
        ),
    ]);
}

#[test]
fn an_object_is_equal_to_no_text() {
    let object = || f(json!({"x": "Success"}));
    check(vec![
        meaning(
            "s: {f: Success}",
            vec![f("success"), f(json!(["Success"]))],
            vec![object(), f(json!([{"x": "Success"}]))],
        ),
        meaning("s: {f: [Success, Failure]}", vec![f("Failure")], vec![object()]),
        meaning("s: {f: 'Succ*'}", vec![f("Success")], vec![object()]),
        meaning("s: {f|endswith: cess}", vec![f("Success")], vec![object()]),
        meaning("s: {f|gte: 5}", vec![f(5)], vec![f(json!({"x": 5}))]),
        meaning("s: {f: true}", vec![f(true)], vec![f(json!({"x": true}))]),
        meaning("s: {f|cidr: 10.0.0.0/8}", vec![f("10.0.0.1")], vec![f(json!({"x": "10.0.0.1"}))]),
        meaning("s: {f|neq: Success}", vec![f("x"), object()], vec![f("success")]),
        meaning(
            "s: {eventName: StopLogging}",
            vec![json!({"eventName": "StopLogging"}), json!({"eventName": ["x", "StopLogging"]})],
            vec![json!({"eventName": {"x": "StopLogging"}}), json!({"eventName": [{"x": "StopLogging"}]})],
        ),
        meaning(
            "s: {userIdentity.type: Root}",
            vec![json!({"userIdentity": {"type": "Root"}}), json!({"userIdentity": [{"type": "Root"}]})],
            vec![json!({"userIdentity": {"type": {"type": "Root"}}}), json!({"userIdentity": "Root"})],
        ),
    ]);
}

#[test]
fn a_map_is_all_of_its_items_and_a_list_any_of_its_maps() {
    check(vec![
        meaning("s: {f: x, g: y}", vec![json!({"f": "x", "g": "y"})], vec![json!({"f": "x"}), json!({"g": "y"})]),
        meaning("s: [{f: x}, {g: y}]", vec![json!({"f": "x"}), json!({"g": "y"})], vec![json!({"f": "y"})]),
    ]);
}

#[test]
fn conditions_join_selections() {
    let both = || json!({"f": "x", "g": "y"});
    let (x, y) = (|| json!({"f": "x"}), || json!({"g": "y"}));
    let none = || json!({"h": 1});
    check(vec![
        meaning("a: {f: x}\nb: {g: y}\ncondition: a and b", vec![both()], vec![x(), y()]),
        meaning("a: {f: x}\nb: {g: y}\ncondition: a or b", vec![both(), x(), y()], vec![none()]),
        meaning("a: {f: x}\nb: {g: y}\ncondition: a and not b", vec![x()], vec![both(), y()]),
        meaning("a: {f: x}\nb: {g: y}\ncondition: not (a or b)", vec![none()], vec![both(), x(), y()]),
        meaning("a: {f: x}\nb: {g: y}\nc: {h: 1}\ncondition: a or b and c", vec![x()], vec![y()]),
        meaning("a: {f: x}\nb: {g: y}\nc: {h: 1}\ncondition: (a or b) and c", vec![], vec![x(), y(), none()]),
        meaning("a_1: {f: x}\na_2: {g: y}\ncondition: 1 of a_*", vec![x(), y()], vec![none()]),
        meaning("a_1: {f: x}\na_2: {g: y}\ncondition: any of a_*", vec![x(), y()], vec![none()]),
        meaning("a_1: {f: x}\na_2: {g: y}\nb: {h: 1}\ncondition: all of a_*", vec![both()], vec![x(), y(), none()]),
        meaning("a: {f: x}\nb: {g: y}\ncondition: all of them", vec![both()], vec![x(), y()]),
        meaning("a: {f: x}\n_b: {g: y}\ncondition: 1 of them", vec![x()], vec![y()]),
        // What begins with `_` is selected by what begins so, too.
        meaning("a_x: {f: x}\n_b_x: {g: y}\ncondition: 1 of *_x", vec![x()], vec![y()]),
        meaning("a: {f: x}\n_b: {g: y}\ncondition: all of *", vec![x()], vec![y()]),
        meaning("a: {f: x}\n_b: {g: y}\ncondition: 1 of _*", vec![y()], vec![x()]),
        meaning("a: {f: x}\nb: {g: y}\nc: {h: 1}\ncondition: 2 of them", vec![both()], vec![x(), none()]),
        meaning("a: {f: x}\nn_1: {g: y}\nn_2: {h: 1}\ncondition: a and not 1 of n_*", vec![x()], vec![both(), none()]),
        meaning("a: {f: x}\nb: {g: y}\ncondition: [a, b]", vec![x(), y()], vec![none()]),
        // A name may hold a `*` anywhere, and more than one.
        meaning("a_in_1: {f: x}\nb_in_2: {g: y}\nc: {h: 1}\ncondition: 1 of *_in_*", vec![x(), y()], vec![none()]),
        meaning("a_in_1: {f: x}\nb_in_2: {g: y}\nc: {h: 1}\ncondition: all of *_in_*", vec![both()], vec![x(), y()]),
        meaning("s_a_x: {f: x}\ns_b_x: {g: y}\nn: {h: 1}\ncondition: 1 of s_*_x", vec![x(), y()], vec![none()]),
        meaning("a_n_1: {f: x}\na_n_2: {g: y}\ncondition: not 1 of *n*", vec![none()], vec![x(), y()]),
        meaning("a: {f: x}\nb: {g: y}\ncondition: not a and b", vec![y()], vec![both(), x(), none()]),
        meaning("a: {f: x}\nb: {g: y}\ncondition: not a or b", vec![y(), both(), none()], vec![x()]),
    ]);
}
