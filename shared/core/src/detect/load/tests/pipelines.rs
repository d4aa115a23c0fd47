//! What processing pipelines mean, and what of them is refused: nothing is passed over.

use serde_json::{Value, json};

use super::additions::matching;
use super::*;

/// Whether a rule of this detection matches a CloudTrail record after a pipeline of these transformations.
fn matches(transformations: &str, detection: &str, record: &Value) -> bool {
    let pipeline = format!("vars: {{users: [eve, 'ro*'], port: 22}}\ntransformations:\n{transformations}\n");
    let rule = format!("{}level: high\ntags: [attack.t1078]\n", simple("one", detection));
    let (catalogue, problems) = loaded(vec![file("names.yml", pipeline), file("rule.yml", rule)]);
    assert!(problems.is_empty(), "{transformations}\n{detection}\n{problems:?}");
    matching(&catalogue, record) == ["one"]
}

/// Whether a transformation that has these keys is done: one that renames the field `from` to `to`.
fn is_done(keys: &str) -> bool {
    let transformation = format!("  - {{type: field_name_mapping, mapping: {{from: to}}, {keys}}}");
    let of = |record: &Value| matches(&transformation, "{s: {from: x}, condition: s}", record);
    let done = of(&json!({"to": "x"}));
    assert_ne!(done, of(&json!({"from": "x"})), "{keys}");
    done
}

#[test]
fn conditions_on_rules_are_joined_and_negated() {
    let (aws, linux) = ("{type: logsource, product: aws}", "{type: logsource, product: linux}");
    for (keys, expected) in [
        (format!("rule_conditions: [{aws}]"), true),
        (format!("rule_conditions: [{linux}]"), false),
        (format!("rule_conditions: [{aws}], rule_cond_not: true"), false),
        (format!("rule_conditions: [{linux}], rule_cond_not: true"), true),
        (format!("rule_conditions: [{aws}, {linux}]"), false),
        (format!("rule_conditions: [{aws}, {linux}], rule_cond_op: and"), false),
        (format!("rule_conditions: [{aws}, {linux}], rule_cond_op: or"), true),
        (format!("rule_conditions: [{aws}, {linux}], rule_cond_op: or, rule_cond_not: true"), false),
        (format!("rule_conditions: {{a: {aws}, b: {linux}}}"), false),
        (format!("rule_conditions: {{a: {aws}, b: {linux}}}, rule_cond_expr: a and not b"), true),
        (format!("rule_conditions: {{a: {aws}, b: {linux}}}, rule_cond_expr: not (a or b)"), false),
        (format!("rule_conditions: {{a: {aws}, b: {linux}}}, rule_cond_expr: not (a or b), rule_cond_not: true"), true),
        // Without conditions there is nothing to negate.
        ("rule_cond_not: true".to_owned(), true),
        ("rule_conditions: [{type: tag, tag: attack.t1078}]".to_owned(), true),
        ("rule_conditions: [{type: rule_attribute, attribute: level, value: high}]".to_owned(), true),
        ("rule_conditions: [{type: rule_attribute, attribute: title, value: one, op: ne}]".to_owned(), false),
        ("rule_conditions: [{type: contains_field, field: from}]".to_owned(), true),
        ("rule_conditions: [{type: contains_detection_item, field: from, value: x}]".to_owned(), true),
        ("rule_conditions: [{type: contains_detection_item, field: from, value: y}]".to_owned(), false),
        ("rule_conditions: [{type: is_sigma_rule}]".to_owned(), true),
        ("rule_conditions: [{type: is_sigma_correlation_rule}]".to_owned(), false),
    ] {
        assert_eq!(is_done(&keys), expected, "{keys}");
    }
}

#[test]
fn conditions_on_field_names_are_joined_and_negated() {
    for (keys, expected) in [
        ("field_name_conditions: [{type: include_fields, fields: [from]}]", true),
        ("field_name_conditions: [{type: include_fields, fields: ['fr.*'], mode: re}]", true),
        // At the beginning, as Python's `match` has it.
        ("field_name_conditions: [{type: include_fields, fields: ['ro.*'], mode: re}]", false),
        ("field_name_conditions: [{type: exclude_fields, fields: ['fr.*'], mode: re}]", false),
        ("field_name_conditions: [{type: include_fields, fields: [from]}], field_name_cond_not: true", false),
        ("field_name_conditions: [{type: include_fields, fields: [from]}, {type: include_fields, fields: [x]}]", false),
        (
            "field_name_conditions: [{type: include_fields, fields: [from]}, {type: include_fields, fields: [x]}], field_name_cond_op: or",
            true,
        ),
        (
            "field_name_conditions: [{type: exclude_fields, fields: [from]}, {type: include_fields, fields: [x]}], field_name_cond_op: or",
            false,
        ),
        (
            "field_name_conditions: [{type: exclude_fields, fields: [from]}, {type: include_fields, fields: [x]}], field_name_cond_op: or, field_name_cond_not: true",
            true,
        ),
    ] {
        assert_eq!(is_done(keys), expected, "{keys}");
    }
}

#[test]
fn what_was_done_before_can_be_asked() {
    let after = |first: &str, condition: &str| {
        let transformations = format!(
            "  - {first}\n  - {{type: field_name_mapping, mapping: {{from: to}}, rule_conditions: [{condition}]}}"
        );
        matches(&transformations, "{s: {from: x}, condition: s}", &json!({"to": "x"}))
    };
    let state = "{type: set_state, key: k, val: 5}";
    assert!(after(state, "{type: processing_state, key: k, val: 5}"));
    assert!(!after(state, "{type: processing_state, key: k, val: 6}"));
    assert!(after(state, "{type: processing_state, key: k, val: 6, op: ne}"));
    assert!(!after(state, "{type: processing_state, key: other, val: 6, op: ne}"));
    let applied = "{type: processing_item_applied, processing_item_id: first}";
    assert!(after("{id: first, type: set_state, key: k, val: v}", applied));
    assert!(!after("{id: other, type: set_state, key: k, val: v}", applied));
    let nested = "{type: nest, items: [{id: first, type: set_state, key: k, val: v}]";
    assert!(after(&format!("{nested}}}"), applied));
    assert!(!after(&format!("{nested}, rule_conditions: [{{type: tag, tag: attack.t9}}]}}"), applied));
}

#[test]
fn pipelines_share_what_they_know() {
    let first = "priority: 1\nvars: {who: eve}\ntransformations: [{type: set_state, key: k, val: v}]\n";
    let second = "priority: 2\ntransformations:\n  - type: value_placeholders\n    rule_conditions: [{type: processing_state, key: k, val: v}]\n";
    let rule = simple("one", "{s: {user|expand: '%who%'}, condition: s}");
    let (catalogue, problems) = loaded(vec![file("a.yml", second), file("b.yml", first), file("rule.yml", rule)]);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(matching(&catalogue, &json!({"user": "eve"})), ["one"]);
}

#[test]
fn a_log_source_is_replaced_and_not_joined() {
    let pipeline = "transformations: [{type: change_logsource, category: webserver}]\n";
    let (catalogue, problems) = loaded(vec![file("names.yml", pipeline), file("rule.yml", GOOD)]);
    assert!(problems.is_empty(), "{problems:?}");
    let wanted = &catalogue.by_id("good").unwrap().detection.as_ref().unwrap().log_source;
    let told = [&wanted.product, &wanted.service, &wanted.category].map(|word| word.as_deref());
    assert_eq!(told, [None, None, Some("webserver")]);
}

/// Each transformation, a rule's detection, and records that it then matches and does not match.
#[test]
fn transformations_do_as_in_pysigma() {
    let rename = "  - {type: field_name_mapping, mapping: {a: [x, y], b: z}}";
    let case = |transformation: &str, detection: &str, records: [Value; 2]| {
        let [yes, no] = records;
        assert!(matches(transformation, detection, &yes), "{transformation}: {detection} should match {yes}");
        assert!(!matches(transformation, detection, &no), "{transformation}: {detection} should not match {no}");
    };
    case(rename, "{s: {a: 1}, condition: s}", [json!({"y": 1}), json!({"a": 1})]);
    // The fields that values name, too.
    case(rename, "{s: {c|fieldref: b}, condition: s}", [json!({"c": 1, "z": 1}), json!({"c": 1, "b": 1})]);
    case(rename, "{s: {c|fieldref|startswith: a}, condition: s}", [json!({"c": "12", "y": "1"}), json!({"c": 1})]);
    let prefix = "  - {type: field_name_prefix_mapping, mapping: {win.: w.}}";
    case(prefix, "{s: {win.x: 1}, condition: s}", [json!({"w.x": 1}), json!({"win.x": 1})]);
    let suffix = "  - {type: field_name_suffix, suffix: .raw}";
    case(suffix, "{s: {a|contains: b}, condition: s}", [json!({"a.raw": "abc"}), json!({"a": "abc"})]);
    let add = "  - {type: add_condition, conditions: {a|startswith: b, c: [1, 2]}}";
    case(add, "{s: {x: 1}, condition: 1 of *}", [json!({"x": 1, "a": "bc", "c": 2}), json!({"a": "bc", "c": 2})]);
    let without = "  - {type: add_condition, conditions: {a|re: '^b'}, negated: true}";
    case(without, "{s: {x: 1}, condition: s}", [json!({"x": 1}), json!({"x": 1, "a": "bc"})]);
    // Values are what modifiers make of them: `contains` is a `*` on both sides.
    let map = "  - {type: map_string, mapping: {'*b*': [c, d], e: f}}";
    case(map, "{s: {a|contains: b}, condition: s}", [json!({"a": "d"}), json!({"a": "abc"})]);
    case(map, "{s: {a: [e, g]}, condition: s}", [json!({"a": "f"}), json!({"a": "e"})]);
    case(map, r"{s: {a|endswith: '\'}, condition: s}", [json!({"a": r"b\"}), json!({"a": r"b\c"})]);
    let set = "  - {type: set_value, value: v, field_name_conditions: [{type: include_fields, fields: [a]}]}";
    case(
        set,
        "{s: {a|contains: b}, t: [word], condition: s and t}",
        [json!({"a": "v", "c": "a word"}), json!({"a": "xvx"})],
    );
    let string = "  - {type: set_value, value: 5, force_type: str}";
    case(string, "{s: {a: b}, condition: s}", [json!({"a": "5"}), json!({"a": "b"})]);
    let replace = r"  - {type: replace_string, regex: '^C:(\w+)', replacement: 'D$\1'}";
    case(replace, "{s: {a: 'C:users*'}, condition: s}", [json!({"a": "D$users/x"}), json!({"a": "C:users"})]);
    let drop =
        "  - type: drop_detection_item\n    detection_item_conditions: [{type: match_string, cond: any, pattern: 'x'}]";
    case(drop, "{s: {a: x, b: y}, condition: s}", [json!({"b": "y"}), json!({"a": "x"})]);
    case(drop, "{s: {a: ax, b: y}, condition: s}", [json!({"a": "ax", "b": "y"}), json!({"b": "y"})]);
    let kept = format!("{drop}\n    detection_item_cond_not: true");
    case(&kept, "{s: {a: x, b: y}, condition: s}", [json!({"a": "x"}), json!({"b": "y"})]);
    case(
        "  - {type: value_placeholders}",
        "{s: {a|expand: 'x%users%'}, condition: s}",
        [json!({"a": "xroot"}), json!({"a": "x"})],
    );
    case(
        "  - {type: value_placeholders}",
        "{s: {a|expand: '%port%'}, condition: s}",
        [json!({"a": 22}), json!({"a": 2})],
    );
    // No other value has placeholders.
    let any = "  - {type: wildcard_placeholders}";
    case(any, "{s: {a|expand: 'x%who%'}, condition: s}", [json!({"a": "xyz"}), json!({"a": "yz"})]);
    case(any, "{s: {a|contains: '%2e%2e%2f'}, condition: s}", [json!({"a": "/%2e%2e%2fx"}), json!({"a": "2e"})]);
    let upper = "  - {type: case, method: upper}";
    case(upper, "{s: {a|cased: b}, condition: s}", [json!({"a": "B"}), json!({"a": "b"})]);
    case("  - {type: regex}", "{s: {a: 'b.*'}, condition: s}", [json!({"a": "B.c"}), json!({"a": "bc"})]);
}

#[test]
fn a_rule_that_a_pipeline_refuses_is_told() {
    let pipeline = "transformations:\n  - type: detection_item_failure\n    message: no x here\n    detection_item_conditions: [{type: match_string, cond: any, pattern: x}]\n";
    for (value, expected) in [("x", 1), ("y", 0)] {
        let rule = simple("one", &format!("{{s: {{a: {value}}}, condition: s}}"));
        let (_, problems) = loaded(vec![file("names.yml", pipeline), file("rule.yml", rule)]);
        assert_eq!(
            problems.iter().filter(|problem| problem.reason.contains("no x here")).count(),
            expected,
            "{problems:?}"
        );
        assert_eq!(problems.len(), expected, "{problems:?}");
    }
}

#[test]
fn what_is_not_understood_is_refused_with_its_line() {
    for (text, names) in [
        ("{type: field_name_mapping, mapping: {a: b}, rule_cond_nto: true}", "rule_cond_nto"),
        ("{type: field_name_mapping, mapping: {a: b}, rule_cond_op: xor}", "xor"),
        ("{type: field_name_mapping, mapping: {a: b}, rule_cond_expression: x}", "rule_cond_expression"),
        ("{type: field_name_mapping, mapping: {a: b}, rule_cond_expr: x}", "rule_cond_expr"),
        ("{type: field_name_mapping, mapping: {a: []}}", "'a' stands for nothing"),
        (
            "{type: field_name_mapping, mapping: {a: b}, detection_item_conditions: [{type: is_null, cond: any}]}",
            "detection_item_conditions",
        ),
        ("{type: field_name_mapping, mapping: {a: b}, field_name_cond_expr: x}", "field_name_cond_expr"),
        (
            "{type: field_name_mapping, mapping: {a: b}, field_name_conditions: [{type: include_fields, fields: [a], match_type: re}]}",
            "match_type",
        ),
        (
            "{type: field_name_mapping, mapping: {a: b}, field_name_conditions: [{type: include_fields, fields: ['('], mode: re}]}",
            "regex",
        ),
        ("{type: field_name_prefix_mapping, mapping: {a: b, aa: c}}", "'aa'"),
        ("{type: field_name_transform, prefix: x}", "field_name_transform"),
        ("{type: set_state, key: k, value: v}", "value"),
        (
            "{type: set_state, key: k, val: v, field_name_conditions: [{type: include_fields, fields: [a]}]}",
            "field_name_conditions",
        ),
        (
            "{type: drop_detection_item, detection_item_conditions: [{type: match_string, pattern: x, cond: all}]}",
            "cond: all",
        ),
        (
            "{type: drop_detection_item, detection_item_conditions: [{type: match_value, value: x, cond: any}]}",
            "match_value",
        ),
        ("{type: add_condition, conditions: {a: $product}, template: true}", "template"),
        ("{type: add_condition, conditions: {a|nonsense: b}}", "nonsense"),
        ("{type: case, method: snake_case}", "snake_case"),
        ("{type: regex, method: plain}", "plain"),
        ("{type: replace_string, regex: '(', replacement: x}", "regex"),
        ("{type: replace_string, regex: x, replacement: 'a*', skip_special: true}", "skip_special"),
        ("{type: value_placeholders, include: [a]}", "include"),
        ("{type: hashes_fields, valid_hash_algos: [MD5]}", "hashes_fields"),
        ("{type: convert_type, target_type: str}", "convert_type"),
        ("{type: nest, items: [{type: dance}]}", "dance"),
        ("{type: nest, steps: []}", "steps"),
        ("{type: change_logsource, produkt: aws}", "produkt"),
    ] {
        let pipeline = format!("name: n\ntransformations:\n  - {{type: field_name_prefix, prefix: y.}}\n  - {text}\n");
        let told = problems(&pipeline);
        assert_eq!(told.len(), 1, "{text}: {told:?}");
        assert!(told[0].is_harmless && told[0].reason.contains(names), "{text}: {told:?}");
        assert!(told[0].reason.starts_with("this processing pipeline is not applied"), "{text}: {told:?}");
        assert_eq!(told[0].line, Some(4), "{text}: {told:?}");
    }
    let told = problems("transformations: [{type: regex}, {include: x}]\n");
    assert!(told[0].reason.ends_with("missing field `type`, in transformation 2 ('')"), "{told:?}");
    for (text, names) in [
        ("postprocessing: [{type: simple_template, template: x}]", "postprocessing"),
        ("finalizers: [{type: concat}]", "finalizers"),
        ("sources: []", "sources"),
        ("vars: {a: {b: c}}", "'a'"),
        ("priority: high", "priority"),
    ] {
        let told = problems(&format!("name: n\n{text}\ntransformations: []\n"));
        assert_eq!((told.len(), told[0].line), (1, Some(2)), "{text}: {told:?}");
        assert!(told[0].reason.contains(names), "{text}: {told:?}");
    }
    assert_eq!(problems("name: n\nallowed_backends: [splunk]\npostprocessing: []\ntransformations: []\n"), []);
}
