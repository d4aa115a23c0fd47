//! What is added to rules from outside: filters, processing pipelines, placeholders.

use super::*;
use crate::formats;
use crate::pipeline::{Entry, Options, Pipeline};

/// The ids of the rules that match a CloudTrail record, in order.
pub(super) fn matching(catalogue: &Catalogue, record: &serde_json::Value) -> Vec<String> {
    let bytes = record.to_string().into_bytes();
    let entry = Entry { key: None, time: None, bytes: &bytes };
    let pipeline = Pipeline::new(catalogue, Options { matches: true, ..Options::default() });
    let report = pipeline.entries("test", formats::by_name("cloudtrail"), std::iter::once(entry));
    report.matches.iter().map(|found| catalogue.rule(found.rule).id.clone()).collect()
}

fn filter(rules: &str, detection: &str) -> String {
    format!("title: A filter\nlogsource: {{product: aws}}\nfilter:\n  rules: {rules}\n  {detection}\n")
}

#[test]
fn a_filter_takes_out_what_it_names_from_the_rules_that_it_names() {
    let rules = [
        simple("one", "{selection: {eventName: X}, condition: 1 of *}"),
        format!("name: second\n{}", simple("two", "{a: {eventName: X}, b: {eventName: Y}, condition: 1 of them}")),
        simple("three", "{selection: {eventName: X}, condition: selection}"),
    ]
    .join("---\n");
    let filter = filter("[one, second]", "selection: {user|startswith: adm_}\n  condition: not 1 of them");
    for files in [[&rules, &filter], [&filter, &rules]] {
        let files = files.iter().zip(["1.yml", "2.yml"]).map(|(text, name)| file(name, (*text).clone())).collect();
        let (catalogue, problems) = loaded(files);
        assert!(problems.is_empty(), "{problems:?}");
        let of = |user: &str| matching(&catalogue, &serde_json::json!({"eventName": "X", "user": user}));
        assert_eq!(of("adm_1"), ["three"]);
        assert_eq!(of("eve"), ["one", "three", "two"]);
        assert!(matching(&catalogue, &serde_json::json!({"eventName": "Z", "user": "eve"})).is_empty());
    }
}

#[test]
fn a_filter_spells_out_what_it_selects() {
    let filter = filter("[good]", "by_user_1: {user: adm}\n  by_user_2: {user: root}\n  condition: not 1 of *_user_*");
    let (catalogue, problems) = loaded(vec![file("good.yml", GOOD), file("filter.yml", filter)]);
    assert!(problems.is_empty(), "{problems:?}");
    let of = |user: &str| matching(&catalogue, &serde_json::json!({"eventName": "StopLogging", "user": user}));
    assert_eq!((of("adm").len(), of("root").len(), of("eve").len()), (0, 0, 1));
}

#[test]
fn a_filter_for_any_rule_keeps_to_its_log_source() {
    let text = [
        simple("cloudtrail", "{s: {eventName: X}, condition: s}"),
        simple("other", "{s: {eventName: X}, condition: s}").replace("product: aws, ", ""),
        filter("any", "own: {eventName: X}\n  condition: not own"),
    ]
    .join("---\n");
    let (catalogue, problems) = loaded(vec![file("all.yml", text)]);
    assert!(problems.is_empty(), "{problems:?}");
    // It asks for the product, and the second rule does not name one.
    assert_eq!(matching(&catalogue, &serde_json::json!({"eventName": "X"})), ["other"]);
}

#[test]
fn a_filter_that_does_nothing_is_told() {
    let detection = "own: {eventName: X}\n  condition: not own";
    for (text, names) in [
        (filter("[absent]", detection), "'absent'"),
        (filter("[good]", detection).replace("aws", "windows"), "another log source"),
        (filter("[good]", detection).replace("logsource: {product: aws}\n", ""), "`logsource`"),
        (filter("[]", detection), "`rules`"),
        (filter("[good]", "condition: not own"), ""),
        (filter("[good]", "own: {eventName|re: '('}\n  condition: not own"), "regex"),
        (filter("[good]", "own: {eventName|nonsense: X}\n  condition: not own"), "nonsense"),
        (filter("[good]", "own: {eventName: X}\n  condition: not other"), "other"),
    ] {
        let problem = problem(&text);
        assert!(problem.starts_with("bad.yml:") && problem.contains(names), "{text}: {problem}");
    }
}

const MAPPING: &str = "
name: our names
priority: 20
transformations:
  - type: field_name_mapping
    mapping: {action: eventName, who: user}
    rule_conditions: [{type: logsource, product: aws}]
  - type: add_condition
    conditions: {awsRegion: eu-west-1}
    rule_conditions: [{type: logsource, service: cloudtrail}]
";

#[test]
fn a_processing_pipeline_holds_for_the_rules_of_its_folder() {
    let rule = |id: &str| simple(id, "{s: {action: X}, condition: s}");
    let count = "{type: event_count, rules: [mapped], group-by: [who], timespan: 5m, condition: {gte: 1}}";
    let filter = filter("[mapped]", "own: {who: root}\n  condition: not own");
    let files = vec![
        file("own/deep/mapped.yml", rule("mapped")),
        file("own/count.yml", format!("{}generate: true\n", correlation("count", count))),
        file("own/names.yml", MAPPING),
        file("own/filter.yml", filter),
        file("owned/other.yml", rule("other")),
    ];
    let (catalogue, problems) = loaded(files);
    assert!(problems.is_empty(), "{problems:?}");
    let record = |user: &str, region: &str| serde_json::json!({"eventName": "X", "user": user, "awsRegion": region});
    assert_eq!(matching(&catalogue, &record("eve", "eu-west-1")), ["mapped"]);
    assert!(matching(&catalogue, &record("eve", "us-east-1")).is_empty(), "a condition was added");
    assert!(matching(&catalogue, &record("root", "eu-west-1")).is_empty(), "the filter's fields are mapped too");
    assert_eq!(catalogue.by_id("count").unwrap().leaves[0].fields, ["user"]);
}

#[test]
fn pipelines_follow_one_another_by_priority_and_leave_built_in_rules_alone() {
    let first = "name: first\npriority: 1\ntransformations: [{type: field_name_prefix, prefix: one.}]\n";
    let second = "name: second\npriority: 2\ntransformations: [{type: field_name_prefix, prefix: two.}]\n";
    // The logic of a rule is a hash of what it asks for.
    let logic = |catalogue: &Catalogue| -> Vec<String> {
        let built_in = catalogue.rules().iter().filter(|rule| rule.id != "own");
        built_in.map(|rule| rule.logic.clone()).collect()
    };
    for built_in in [Catalogue::built_in_files(), Catalogue::built_in_files_without_tests()] {
        let mut files = vec![
            file("b.yml", first),
            file("a.yml", second),
            file("rule.yml", simple("own", "{s: {action: X}, condition: s}")),
        ];
        files.extend(built_in);
        let (catalogue, problems) = loaded(files);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(matching(&catalogue, &serde_json::json!({"two.one.action": "X"})), ["own"]);
        assert_eq!(logic(&catalogue), logic(&Catalogue::built_in().0));
    }
}

#[test]
fn a_pipeline_that_cannot_be_read_is_told() {
    for (text, names) in [("transformations: [{type: dance}]\n", "dance"), ("transformations: {}\n", "")] {
        let problem = problem(text);
        assert!(problem.contains("processing pipeline") && problem.contains(names), "{text}: {problem}");
    }
}

#[test]
fn placeholders_are_filled_from_the_configuration() {
    let rule = |id: &str, detection: &str| simple(id, &format!("{{s: {{{detection}}}, condition: s}}"));
    let text = [
        rule("whole", "user|expand: '%administrators%'"),
        rule("part", "user|contains|expand: 'x%administrators%'"),
        rule("several", "user|expand: ['%administrators%', guest]"),
        rule("plain", "user: '%administrators%'"),
    ]
    .join("---\n");
    let known = Placeholders::from([("administrators".to_owned(), vec!["ann".to_owned(), "b*".to_owned()])]);
    let (catalogue, problems) = load(&[file("own.yml", text.clone())], &known);
    assert!(problems.is_empty(), "{problems:?}");
    let of = |user: &str| matching(&catalogue, &serde_json::json!({"user": user}));
    assert_eq!(of("ann"), ["several", "whole"]);
    assert_eq!(of("bob"), ["several", "whole"], "wildcards count as in rules");
    assert_eq!(of("xxanna"), ["part"]);
    assert_eq!(of("guest"), ["several"]);
    assert_eq!(of("%administrators%"), ["plain"]);
    assert!(of("eve").is_empty());
    // Without values such a rule cannot be loaded; the others can.
    let (catalogue, problems) = loaded(vec![file("own.yml", text)]);
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems.iter().all(|problem| problem.reason.contains("'%administrators%'") && problem.line.is_some()));
    assert_eq!(catalogue.rules().len(), 1);
    // Whoever gives one a value need not come back for the next.
    let detection = "{s: {user|expand: '%administrators%'}, t: {user|expand: '%guests%'}, condition: s or t}";
    let (_, problems) = loaded(vec![file("own.yml", simple("two", detection))]);
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(["'%administrators%'", "'%guests%'"].iter().all(|name| problem.reason.contains(name)), "{problem:?}");
}
