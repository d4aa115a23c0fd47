use std::borrow::Cow;

use super::*;

const GOOD: &str = "
title: A good rule
id: good
name: good_name
logsource: {product: aws, service: cloudtrail}
detection: {selection: {eventName: StopLogging}, condition: selection}
";

fn file(name: &str, text: impl Into<Cow<'static, str>>) -> RuleFile {
    RuleFile { name: name.to_owned(), text: text.into() }
}

/// Loads a file between two good ones, which must be loaded whatever is in it. Returns what was said of it.
fn problems(text: &str) -> Vec<Problem> {
    let after = GOOD.replace("good", "after");
    let (catalogue, problems) =
        load(vec![file("good.yml", GOOD), file("bad.yml", text.to_owned()), file("after.yml", after)]);
    let mut ids: Vec<_> = catalogue.rules().iter().map(|rule| rule.id.as_str()).collect();
    ids.retain(|id| ["good", "after"].contains(id));
    assert_eq!(ids, ["good", "after"], "the others are loaded: {text}");
    assert!(problems.iter().all(|problem| problem.file == "bad.yml"), "{problems:?}");
    problems
}

/// The one problem of a file none of whose rules can be loaded.
fn problem(text: &str) -> String {
    let problems = problems(text);
    let [problem] = problems.as_slice() else { panic!("{text}: {problems:?}") };
    problem.to_string()
}

fn simple(id: &str, detection: &str) -> String {
    format!("title: {id}\nid: {id}\nlogsource: {{product: aws, service: cloudtrail}}\ndetection: {detection}\n")
}

fn correlation(id: &str, correlation: &str) -> String {
    format!("title: {id}\nid: {id}\nlevel: high\ncorrelation: {correlation}\n")
}

#[test]
fn a_malformed_rule_is_named_with_its_file_and_what_is_wrong() {
    let sound = "{selection: {eventName: X}, condition: selection}";
    for (text, names) in [
        ("title: [".to_owned(), ""),
        (String::new(), ""),
        ("just words".to_owned(), ""),
        (simple("bad", "{selection: {eventName|nonsense: X}, condition: selection}"), "nonsense"),
        (simple("bad", "{selection: {eventName: X}, condition: selektion}"), "selektion"),
        (simple("bad", "{selection: {eventName: X}, condition: selection and}"), ""),
        (simple("bad", "{selection: {eventName|re: '('}, condition: selection}"), ""),
        (simple("bad", "{selection: {eventName: X}}"), "condition"),
        (simple("good", sound), "good.yml"),
        (format!("{}group-by: eventName\n", simple("bad", sound)), "`group-by`"),
        (format!("{}runbook: [a]\n", simple("bad", sound)), "`runbook`"),
        (format!("{}tests: {{matches: []}}\n", simple("bad", sound)), "`tests`"),
    ] {
        let problem = problem(&text);
        assert!(problem.starts_with("bad.yml: ") && problem.contains(names), "{text}: {problem}");
    }
}

#[test]
fn a_correlation_that_cannot_be_kept_exact_is_refused() {
    for (text, names) in [
        ("{type: event_count, rules: [absent], timespan: 5m, condition: {gte: 5}}", "'absent'"),
        ("{type: event_count, rules: [bad], timespan: 5m, condition: {gte: 5}}", "refers to itself"),
        ("{type: event_count, rules: [good], timespan: 5m, condition: {lt: 5}}", "gt or gte"),
        ("{type: event_count, rules: [good], timespan: 5m, condition: {gte: 0}}", "at least 1"),
        ("{type: event_count, rules: [good], timespan: 31d, condition: {gte: 5}}", "30 days"),
        ("{type: event_count, rules: [good], timespan: 99999999999999999d, condition: {gte: 5}}", ""),
        ("{type: value_avg, rules: [good], timespan: 5m, condition: {gte: 5, field: a}}", "not supported"),
        ("{type: dance, rules: [good], timespan: 5m, condition: {gte: 5}}", ""),
    ] {
        let problem = problem(&correlation("bad", text));
        assert!(problem.contains(names), "{text}: {problem}");
    }
}

#[test]
fn a_chain_that_multiplies_its_rules_is_refused() {
    let names = |part: usize| vec![format!("part-{part}"); 8].join(", ");
    let mut text = correlation("part-0", "{type: event_count, rules: [good], timespan: 5m, condition: {gte: 1}}");
    for part in 1..8 {
        let rules = names(part - 1);
        let body = format!("{{type: event_count, rules: [{rules}], timespan: 5m, condition: {{gte: 1}}}}");
        text = format!("{text}---\n{}", correlation(&format!("part-{part}"), &body));
    }
    let problems = problems(&text);
    assert_eq!(problems.len(), 5, "{problems:?}");
    assert!(problems.iter().all(|problem| problem.reason.contains("more than 256")), "{problems:?}");
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let long = format!("{GOOD}# {}", "x".repeat(MAX_FILE));
    let problem = problem(&long);
    assert!(problem.contains("1048576"), "{problem}");
}

#[test]
fn a_correlation_refers_to_rules_and_correlations_by_id_or_name_wherever_they_stand() {
    let count =
        "{type: event_count, rules: [good_name], group-by: [userIdentity.arn], timespan: 5m, condition: {gte: 5}}";
    let outer = "{type: temporal_ordered, rules: [count, good], group-by: [userIdentity.arn], timespan: 1h}";
    for files in [[("count", count), ("outer", outer)], [("outer", outer), ("count", count)]] {
        let mut loaded: Vec<_> = files.iter().map(|(id, text)| file(id, correlation(id, text))).collect();
        loaded.push(file("good.yml", GOOD));
        let (catalogue, problems) = load(loaded);
        assert!(problems.is_empty(), "{problems:?}");
        let plan = &catalogue.by_id("outer").unwrap().plan;
        let Node::Temporal { of, ordered: true, .. } = plan else { panic!("{plan:?}") };
        assert!(matches!(of.as_slice(), [Node::EventCount { threshold: 5, .. }, Node::Leaf(1)]), "{of:?}");
        assert!(!catalogue.by_id("good").unwrap().reports, "it speaks through the correlations");
    }
}

#[test]
fn two_rules_that_ask_for_the_same_thing_have_state_of_their_own() {
    let other = GOOD.replace("id: good", "id: other").replace("name: good_name", "level: high");
    let (catalogue, problems) = load(vec![file("good.yml", GOOD), file("other.yml", other)]);
    assert!(problems.is_empty(), "{problems:?}");
    assert_ne!(catalogue.by_id("good").unwrap().logic, catalogue.by_id("other").unwrap().logic);
}
