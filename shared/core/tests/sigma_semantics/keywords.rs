//! Keywords: what is looked for in all of a record.

use serde_json::json;

use super::{catalogue, check, f, is_match, meaning, refused};

#[test]
fn keywords_are_looked_for_in_every_value_of_a_record() {
    check(vec![
        meaning(
            "s: [one, two]",
            vec![f("x ONE y"), json!({"a": {"b": ["two"]}})],
            vec![f("on e"), json!({"one": "x"})],
        ),
        meaning("s: {'|all': [one, two]}", vec![json!({"a": "one", "b": "two"})], vec![f("one")]),
        meaning("s: {'|all': [one, 22]}", vec![json!({"a": "one", "b": 22})], vec![f("one"), f(22)]),
        meaning("s: {'|contains': [one]}", vec![f("x one y")], vec![f("on e")]),
        meaning("s: {'|contains|all': [one, two]}", vec![json!({"a": "xonex", "b": "xtwox"})], vec![f("one")]),
        meaning("s: ['a*c']", vec![f("xabbcx"), f("xa\nbcx")], vec![f("ab")]),
        meaning(
            "s: ['a*c', word, 22]",
            vec![f("xabcx"), f("a WORD"), f(22)],
            vec![f("ab"), json!({"a": "b", "b": "c"})],
        ),
        meaning("s: {'|all': ['a?c', word]}", vec![json!({"a": "xa\ncx", "b": "a word"})], vec![f("abc"), f("word")]),
        // A keyword is looked for anywhere, unless it is said where.
        meaning("s: {'|cased': [Word]}", vec![f("a Word b"), f("Word")], vec![f("a word b")]),
        meaning("s: {'|cased': ['W*d', 22]}", vec![f("a Word b"), f(1223)], vec![f("a word b")]),
        meaning("s: {'|cased|all': [One, Two]}", vec![json!({"a": "xOnex", "b": "Two"})], vec![f("One"), f("one Two")]),
        meaning("s: {'|startswith': ['a*c', 2]}", vec![f("abcd"), f(22)], vec![f("xabc"), f("12")]),
        meaning("s: {'|endswith|cased': Word}", vec![f("a Word")], vec![f("a word"), f("Words")]),
        meaning("s: {'|re': 'a.c'}", vec![f("xabcx")], vec![f("xABCx")]),
        meaning("s: ['*']", vec![f("x"), f(1)], vec![]),
        // A number stands in the entry as its digits do, and so does a truth value.
        meaning("s: [4625, word]", vec![f(4625), f("event 4625"), f("a word")], vec![f(462), f("46 25")]),
        meaning("s: ['4625']", vec![f(4625), f(json!([{"a": 14625}]))], vec![f(5)]),
        meaning("s: ['true']", vec![f(true)], vec![f(false)]),
        meaning("s: ['x']\nn: ['y']\ncondition: s and not n", vec![f("x")], vec![f("xy")]),
    ]);
}

#[test]
fn keywords_are_texts() {
    for (modifier, value) in
        [("neq", "word"), ("exists", "true"), ("cidr", "10.0.0.0/8"), ("gt", "5"), ("fieldref", "f")]
    {
        let reason = refused(&format!("s: {{'|{modifier}': {value}}}"));
        assert!(reason.contains(&format!("|{modifier} says nothing")), "{reason}");
    }
    assert!(refused("s: [word, null]").contains("keyword: null"));
}

#[test]
fn keywords_are_looked_for_in_the_text_of_a_plain_line() {
    let line = b"Mar  1 10:00:00 web01 sshd[17]: Failed password for root from 203.0.113.9 port 22 ssh2";
    for (detection, expected) in [
        ("  s: [22]\n  condition: s", true),
        ("  s: {'|contains|all': ['Failed', 22]}\n  condition: s", true),
        ("  s: ['Failed password', nothing]\n  condition: s", true),
        ("  s: ['sshd[17]: FAILED']\n  condition: s", true),
        ("  s: {'|all': ['Failed', '203.0.113.9']}\n  condition: s", true),
        ("  s: {'|all': ['Failed', 'Accepted']}\n  condition: s", false),
        ("  s: ['Failed*from*ssh2']\n  condition: s", true),
        ("  s: ['Accepted']\n  condition: s", false),
        ("  s: {'|cased': 'Failed password'}\n  condition: s", true),
        ("  s: {'|cased': 'failed password'}\n  condition: s", false),
        ("  s: {'|windash': 'sshd[17]: '}\n  condition: s", true),
    ] {
        let catalogue = catalogue(detection, "product: linux, service: sshd");
        assert_eq!(is_match(&catalogue, "syslog", line), expected, "{detection}");
    }
}
