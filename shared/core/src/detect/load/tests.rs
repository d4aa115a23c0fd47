use super::*;
use crate::correlate::plan::{Ask, Bound, Expression, Measure, Node};

mod additions;
mod pipelines;

const GOOD: &str = "
title: A good rule
id: good
name: good_name
logsource: {product: aws, service: cloudtrail}
detection: {selection: {eventName: StopLogging}, condition: selection}
";

fn file(name: &str, text: impl Into<String>) -> RuleFile {
    RuleFile::new(name, text)
}

/// Loads files without placeholders.
pub(super) fn loaded(files: Vec<RuleFile>) -> (Catalogue, Vec<Problem>) {
    Catalogue::load(files)
}

/// Loads a file between two good ones, which must be loaded whatever is in it. Returns what was said of it.
fn problems(text: &str) -> Vec<Problem> {
    let after = GOOD.replace("good", "after");
    let (catalogue, problems) =
        loaded(vec![file("good.yml", GOOD), file("bad.yml", text.to_owned()), file("after.yml", after)]);
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
fn a_malformed_rule_is_named_with_its_file_line_and_what_is_wrong() {
    let sound = "{selection: {eventName: X}, condition: selection}";
    for (text, line, names) in [
        ("title: [".to_owned(), ":2", ""),
        (String::new(), "", ""),
        ("just words".to_owned(), ":1", ""),
        (simple("bad", "{selection: {eventName|nonsense: X}, condition: selection}"), ":4", "nonsense"),
        (simple("bad", "{selection: {eventName: X}, condition: selektion}"), ":4", "selektion"),
        (simple("bad", "{selection: {eventName: X}, condition: selection and 1 of filter_*}"), ":4", "filter_*"),
        (simple("bad", "{_hidden: {eventName: X}, condition: 1 of them}"), ":4", "them"),
        (simple("bad", "{selection: {eventName: X}, condition: selection and}"), ":4", ""),
        (
            simple("bad", "{selection: {eventName: X}, condition: selection | count() by y > 2}"),
            ":4",
            "write a correlation",
        ),
        (simple("bad", "{selection: {eventName|re: '('}, condition: selection}"), ":4", ""),
        (simple("bad", "{a: {sourceIPAddress|cidr: 10.0.0.0/99}, condition: a}"), ":4", "CIDR"),
        (simple("bad", "{a: {x|gt: many}, condition: a}"), ":4", "many"),
        (simple("bad", "{a: {x|gte|hour: 3}, condition: a}"), ":4", "|hour"),
        ("# nothing\n---\n---\n".to_owned(), "", "there is no rule"),
        (simple("bad", "{selection: {eventName: X}}"), ":1", "condition"),
        (simple("good", sound), ":2", "good.yml"),
        (format!("sigma-version: 4\n{}", simple("bad", sound)), ":1", "sigma-version"),
        (format!("{}group-by: eventName\n", simple("bad", sound)), ":5", "`group-by`"),
        (format!("{}runbook: [a]\n", simple("bad", sound)), ":5", "`runbook`"),
        (format!("{}tests: {{matches: []}}\n", simple("bad", sound)), ":5", "`tests`"),
    ] {
        let problem = problem(&text);
        assert!(problem.starts_with(&format!("bad.yml{line}: ")) && problem.contains(names), "{text}: {problem}");
    }
}

#[test]
fn a_rule_with_an_odd_word_runs_and_says_as_what() {
    let sound = simple("odd", "{selection: {eventName: X}, condition: selection}");
    for (key, line, becomes) in [
        ("level: severe", 5, "informational"),
        ("level: High", 5, "informational"),
        ("status: ready", 5, "without a status"),
        ("related: [7]", 1, "runs all the same"),
    ] {
        let (catalogue, problems) = loaded(vec![file("odd.yml", format!("{sound}{key}\n"))]);
        assert!(catalogue.by_id("odd").is_some(), "{key}");
        let [problem] = problems.as_slice() else { panic!("{key}: {problems:?}") };
        assert!(problem.is_harmless && problem.line == Some(line) && problem.reason.contains(becomes), "{problem}");
    }
}

#[test]
fn a_long_condition_is_not_told_whole() {
    let text = simple("bad", &format!("{{a: {{x: y}}, condition: '{}'}}", "a ".repeat(2_000)));
    let problem = problem(&text);
    assert!(problem.starts_with("bad.yml:") && problem.len() < 600, "{problem}");
}

#[test]
fn a_condition_takes_neither_all_time_nor_all_of_the_stack() {
    let rule = |condition: &str| simple("bad", &format!("{{a: {{x: y}}, condition: {condition}}}"));
    let not = |times| "not ".repeat(times) + "a";
    let brackets = |times| "(".repeat(times) + "a" + &")".repeat(times);
    for (condition, names) in [
        (not(20_000), "longer"),
        (not(1_000), "`not`"),
        (not(500).replace(' ', "\n      "), "`not`"),
        (brackets(1_000), "brackets"),
        ("not (".repeat(100) + "a" + &")".repeat(100), "brackets"),
        (format!("{}a", "a or ".repeat(5_000)), "longer"),
        (format!("[{}a]", "a or a, ".repeat(5_000)), "longer"),
    ] {
        let problem = problem(&rule(&condition));
        assert!(problem.starts_with("bad.yml:4: the condition") && problem.contains(names), "{problem}");
    }
    let long_elsewhere = format!("{}description: {}", rule(&not(9)), "((((".repeat(5_000));
    assert!(problem(&long_elsewhere).contains("`not`"));
    let filter =
        format!("title: f\nlogsource: {{product: aws}}\nfilter: {{rules: any, a: {{x: y}}, condition: {}}}", not(99));
    assert!(problem(&filter).starts_with("bad.yml:3: the condition"));
    for sound in [not(3), brackets(20), format!("{}a", "a and not a or ".repeat(300))] {
        assert_eq!(problems(&rule(&sound)), []);
    }
    assert_eq!(problems(&format!("{}description: {}", rule("a"), "not (".repeat(5_000))), []);
}

#[test]
fn a_file_is_read_however_an_editor_begins_and_ends_its_lines() {
    let text = simple("x", "{selection: {eventName: X}, condition: selection}");
    for written in [format!("\u{feff}{text}"), text.replace('\n', "\r\n"), format!("\u{feff}---\r\n{text}")] {
        let (catalogue, problems) = loaded(vec![file("x.yml", written.clone())]);
        assert!(problems.is_empty() && catalogue.by_id("x").is_some(), "{written:?}: {problems:?}");
    }
}

#[test]
fn two_rules_without_an_id_are_told_apart_by_their_titles() {
    let rule = |title: &str| simple(title, "{s: {eventName: X}, condition: s}").replace(&format!("id: {title}\n"), "");
    let (catalogue, problems) = loaded(vec![file("x.yml", format!("{}---\n{}", rule("one"), rule("other")))]);
    assert!(problems.is_empty() && catalogue.rules().len() == 2, "{problems:?}");
}

#[test]
fn an_id_that_is_no_text_is_told_and_the_rule_runs_without_it() {
    let rule = simple("seven", "{s: {eventName: X}, condition: s}").replace("id: seven", "id: 7");
    let (catalogue, problems) = loaded(vec![file("x.yml", rule)]);
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(problem.is_harmless && problem.line == Some(2) && problem.reason.contains("quotes"), "{problem}");
    let rule = &catalogue.rules()[0];
    assert!(rule.id != "7" && rule.title == "seven" && rule.line == Some(2), "{rule:?}");
}

#[test]
fn what_is_wrong_with_one_document_is_told_with_its_line_and_the_others_are_loaded() {
    let sound = "{selection: {eventName: X}, condition: selection}";
    let unknown = "{selection: {eventName|nonsense: X}, condition: selection}";
    let text = format!(
        "# ours\n---\n{}---\n{}---\ntitle: [\n---\n{}",
        simple("one", sound),
        simple("two", unknown),
        simple("three", sound)
    );
    let (catalogue, problems) = loaded(vec![file("bad.yml", text)]);
    let ids: Vec<_> = catalogue.rules().iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["one", "three"]);
    let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [Some(11), Some(14)], "{problems:?}");
}

#[test]
fn a_regular_expression_takes_linear_time_or_is_refused() {
    let (catalogue, problems) = loaded(vec![file("re.yml", simple("slow", "{a: {x|re: '^(a+)+$'}, condition: a}"))]);
    assert!(problems.is_empty(), "{problems:?}");
    let record = serde_json::json!({"x": format!("{}!", "a".repeat(50_000))}).to_string();
    let pipeline = crate::pipeline::Pipeline::new(&catalogue, crate::pipeline::Options::default());
    let entry = crate::pipeline::Entry { key: None, time: None, bytes: record.as_bytes() };
    let report = pipeline.entries("test", crate::formats::by_name("cloudtrail"), std::iter::once(entry));
    assert!(report.contributions.is_empty() && report.stats.parsed == 1);
    let huge = simple("bad", "{a: {x|re: '((a{1000}){1000}){1000}'}, condition: a}");
    assert!(problem(&huge).contains("bad.yml:"), "too large to be compiled");
    let lookaround = simple("bad", "{a: {x|re: '(?=a)b'}, condition: a}");
    assert!(problem(&lookaround).contains("look-around"));
}

#[test]
fn brackets_by_the_ten_thousand_are_refused_before_they_are_read() {
    for nested in ["[".repeat(100_000), "{a: ".repeat(100_000)] {
        let problem = problem(&format!("title: deep\nid: deep\na: {nested}"));
        assert!(problem.starts_with("bad.yml:3: more than 4096 brackets"), "{problem}");
    }
    let pipeline = problem(&format!("name: deep\ntransformations: {}", "[".repeat(100_000)));
    assert!(pipeline.starts_with("bad.yml:2: more than 4096 brackets"), "{pipeline}");
    let (_, problems) = loaded(vec![file(
        "many.yml",
        simple("many", &format!("{{a: {{x: [{}b]}}, condition: a}}", "'[}', ".repeat(9000))),
    )]);
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn a_condition_that_cannot_be_read_is_told_in_words_of_its_own() {
    for (condition, words) in [
        ("a and", "from its character 6 on, where there could be"),
        ("a AND a", "`and`, `or` and `not` are written in small letters"),
        ("a | count() by x > 5", "write a correlation"),
        ("1 of", "`them`"),
    ] {
        let (_, problems) =
            loaded(vec![file("bad.yml", simple("bad", &format!("{{a: {{x: y}}, condition: '{condition}'}}")))]);
        let [problem] = &problems[..] else { panic!("{condition}: {problems:?}") };
        assert!(problem.reason.contains(words) && !problem.reason.contains("_op"), "{condition}: {problem}");
        assert_eq!(problem.line, Some(4), "{condition}: {problem}");
    }
}

#[test]
fn a_correlation_that_says_nothing_is_refused() {
    for (text, names) in [
        ("{type: event_count, rules: [absent], timespan: 5m, condition: {gte: 5}}", "'absent'"),
        ("{type: event_count, rules: [], timespan: 5m, condition: {gte: 5}}", "names no rules"),
        ("{type: event_count, rules: [bad], timespan: 5m, condition: {gte: 5}}", "refers to itself"),
        ("{type: event_count, rules: [good], timespan: 5m, condition: {gte: 0}}", "at least 1"),
        ("{type: event_count, rules: [good], timespan: 5m, condition: {gte: -3}}", "must be 0"),
        ("{type: event_count, rules: [good], timespan: 5m, condition: {gte: many}}", ""),
        ("{type: event_count, rules: [good], timespan: 5m, condition: good}", "not an expression"),
        ("{type: event_count, rules: [good], timespan: 5m}", ""),
        ("{type: event_count, rules: [good], timespan: 31d, condition: {gte: 5}}", "30 days"),
        ("{type: event_count, rules: [good], timespan: 0s, condition: {gte: 5}}", ""),
        ("{type: event_count, rules: [good], timespan: 99999999999999999d, condition: {gte: 5}}", ""),
        ("{type: value_count, rules: [good], timespan: 5m, condition: {gte: 5}}", "`field`"),
        ("{type: value_sum, rules: [good], timespan: 5m, condition: {gte: 5, field: [a, b]}}", "one `field`"),
        ("{type: value_percentile, rules: [good], timespan: 5m, condition: {gt: 5, field: a, percentile: 101}}", "100"),
        (
            "{type: value_count, rules: [inner], timespan: 5m, condition: {gte: 5, field: a}}",
            "'inner' is a correlation",
        ),
        ("{type: temporal, rules: [good, after], timespan: 5m, condition: {gte: 3}}", "never match"),
        ("{type: temporal, rules: [good, after], timespan: 5m, condition: good and other}", "'other'"),
        ("{type: temporal_ordered, rules: [good, after], timespan: 5m, condition: good or after}", "all of its rules"),
        ("{type: temporal_ordered, rules: [good, after], timespan: 5m, condition: {gte: 1}}", "all of its rules"),
        ("{type: temporal, rules: [quiet, good], timespan: 5m}", "never match: 'quiet'"),
        (
            "{type: temporal, rules: [good, after], timespan: 5m, group-by: [a], aliases: {a: {good: x, other: y}}}",
            "alias 'a' is of 'other'",
        ),
        ("{type: event_count, rules: [good], timespan: 5m, window: session, gap: 1m, condition: {gte: 5}}", "session"),
        ("{type: dance, rules: [good], timespan: 5m, condition: {gte: 5}}", ""),
    ] {
        let inner = correlation("inner", "{type: event_count, rules: [good], timespan: 5m, condition: {gte: 5}}");
        let quiet = correlation("quiet", "{type: event_count, rules: [good], timespan: 1h, condition: {lt: 5}}");
        let problem = problem(&format!("{inner}---\n{quiet}---\n{}", correlation("bad", text)));
        assert!(problem.contains(names), "{text}: {problem}");
    }
}

/// The plan of a correlation over the rules `a` and `b`, which have these ids and names.
fn plan(text: &str) -> Node {
    let rule = |id: &str| format!("name: {id}_name\n{}", simple(id, "{s: {eventName: X}, condition: s}"));
    let text = format!("{}---\n{}---\n{}", rule("a"), rule("b"), correlation("c", text));
    let (catalogue, problems) = loaded(vec![file("c.yml", text)]);
    assert!(problems.is_empty(), "{problems:?}");
    catalogue.by_id("c").unwrap().plan.clone()
}

#[test]
fn an_expression_alone_names_the_rules_to_correlate() {
    let named = |rules: &str| {
        let own = format!("{{type: temporal, {rules}timespan: 5m, condition: two or one and two}}");
        let [one, two] = ["one", "two"].map(|name| {
            format!("name: {name}\n{}", simple(&format!("{name}-id"), "{s: {eventName: X}, condition: s}"))
        });
        let (catalogue, problems) = loaded(vec![file("c.yml", [one, two, correlation("c", &own)].join("---\n"))]);
        assert!(problems.is_empty(), "{problems:?}");
        let rule = catalogue.by_id("c").unwrap();
        let leaves = rule.leaves.iter().map(|leaf| catalogue.rule(leaf.rule).id.clone()).collect::<Vec<_>>();
        (format!("{:?}", rule.plan), leaves)
    };
    assert_eq!(named(""), named("rules: [two, one], "));
    assert_eq!(named("").1, ["two-id", "one-id"]);
}

#[test]
fn every_kind_of_condition_becomes_a_plan() {
    let timespan = 300_000_000;
    let of = || vec![Node::Leaf(0), Node::Leaf(1)];
    let number = |measure, bounds: &[Bound]| {
        let ask = Ask::Number { measure, bounds: bounds.to_vec() };
        Node::Aligned { of: of(), ask, timespan }
    };
    let happened = Expression::Happened;
    for (text, expected) in [
        ("event_count, condition: {gt: 2}", Node::EventCount { of: of(), threshold: 3, timespan }),
        ("event_count, condition: {gte: 2, gt: 4}", Node::EventCount { of: of(), threshold: 5, timespan }),
        ("event_count, condition: {lt: 2}", number(Measure::Events, &[Bound::Less(2)])),
        ("event_count, condition: {eq: 0}", number(Measure::Events, &[Bound::Equal(0)])),
        ("event_count, condition: {gte: 2, lte: 4}", number(Measure::Events, &[Bound::AtMost(4), Bound::AtLeast(2)])),
        ("event_count, window: tumbling, condition: {gte: 2}", number(Measure::Events, &[Bound::AtLeast(2)])),
        ("value_count, condition: {field: x, gte: 2}", Node::ValueCount { of: of(), threshold: 2, timespan }),
        ("value_count, condition: {field: x, neq: 2}", number(Measure::Distinct, &[Bound::Other(2)])),
        ("value_sum, condition: {field: x, gt: 2}", Node::ValueSum { of: of(), threshold: 2_000_001, timespan }),
        ("value_sum, condition: {field: x, lte: 2}", number(Measure::Sum, &[Bound::AtMost(2)])),
        ("value_avg, condition: {field: x, gte: 2}", number(Measure::Average, &[Bound::AtLeast(2)])),
        ("value_median, condition: {field: x, gte: 2}", number(Measure::Percentile(50), &[Bound::AtLeast(2)])),
        (
            "value_percentile, condition: {field: x, percentile: 95, gt: 2}",
            number(Measure::Percentile(95), &[Bound::More(2)]),
        ),
        ("temporal", Node::Temporal { of: of(), at_least: 2, ordered: false, timespan }),
        ("temporal_ordered", Node::Temporal { of: of(), at_least: 2, ordered: true, timespan }),
        ("temporal, condition: {gte: 1}", Node::Temporal { of: of(), at_least: 1, ordered: false, timespan }),
        ("temporal, condition: {eq: 1}", number(Measure::Nodes, &[Bound::Equal(1)])),
        ("temporal, condition: a or b", Node::Temporal { of: of(), at_least: 1, ordered: false, timespan }),
        ("temporal_ordered, condition: a and b", Node::Temporal { of: of(), at_least: 2, ordered: true, timespan }),
        (
            "temporal, condition: a and not b",
            Node::Aligned {
                of: of(),
                ask: Ask::Holds(Expression::All(vec![happened(0), Expression::Not(Box::new(happened(1)))])),
                timespan,
            },
        ),
    ] {
        assert_eq!(plan(&format!("{{type: {text}, rules: [a, b], timespan: 5m}}")), expected, "{text}");
    }
}

#[test]
fn aliases_name_the_field_of_each_rule_by_its_id_or_name_through_the_whole_chain() {
    let rule = |id: &str| format!("name: {id}_name\n{}", simple(id, "{s: {eventName: X}, condition: s}"));
    let inner = "{type: value_count, rules: [a_name, b], group-by: [who], timespan: 5m, condition: {field: what, gte: 2}, aliases: {what: {a: first, b_name: second}}}";
    let outer = "{type: temporal, rules: [inner, b], group-by: [who, where], timespan: 1h, aliases: {who: {inner: user, b: account}}}";
    let text = [rule("a"), rule("b"), correlation("inner", inner), correlation("outer", outer)].join("---\n");
    let (catalogue, problems) = loaded(vec![file("c.yml", text)]);
    assert!(problems.is_empty(), "{problems:?}");
    let distinct = |name: &str| Some(crate::detect::ValueOf::Distinct(vec![name.to_owned()]));
    let leaves = &catalogue.by_id("outer").unwrap().leaves;
    let found: Vec<_> = leaves.iter().map(|leaf| (leaf.fields.join(" "), leaf.value.clone())).collect();
    // For the rules of the inner correlation, what the outer one says of it holds, unless it names the rule itself.
    let expected = [
        ("user where".to_owned(), distinct("first")),
        ("account where".to_owned(), distinct("second")),
        ("account where".to_owned(), None),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_chain_is_silent_but_for_its_end_unless_it_says_otherwise() {
    let reporting = |inner_generates: bool, outer_generates: bool| -> Vec<String> {
        let count = "{type: event_count, rules: [good], group-by: [a], timespan: 5m, condition: {gte: 5}}";
        let outer = "{type: temporal, rules: [count, other], group-by: [a], timespan: 5m}";
        let generate = |is: bool| if is { "generate: true\n" } else { "" };
        let text = [
            simple("other", "{s: {eventName: X}, condition: s}"),
            format!("{}{}", correlation("count", count), generate(inner_generates)),
            format!("{}{}", correlation("outer", outer), generate(outer_generates)),
        ]
        .join("---\n");
        let (catalogue, problems) = loaded(vec![file("good.yml", GOOD), file("chain.yml", text)]);
        assert!(problems.is_empty(), "{problems:?}");
        let counted = catalogue.rules().iter().position(|rule| rule.id == "good").unwrap();
        // What is silent is not followed either.
        assert_eq!(catalogue.uses(counted).len(), 1 + usize::from(catalogue.by_id("count").unwrap().reports));
        catalogue.rules().iter().filter(|rule| rule.reports).map(|rule| rule.id.clone()).collect()
    };
    assert_eq!(reporting(false, false), ["outer"]);
    assert_eq!(reporting(true, false), ["good", "outer"]);
    assert_eq!(reporting(false, true), ["other", "count", "outer"]);
}

#[test]
fn rules_of_a_correlation_that_was_not_loaded_report_by_themselves() {
    let broken = correlation("bad", "{type: temporal, rules: [good, absent], timespan: 5m}");
    let (catalogue, problems) = loaded(vec![file("good.yml", GOOD), file("bad.yml", broken)]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(catalogue.by_id("good").unwrap().reports);
}

#[test]
fn a_name_that_two_rules_have_is_told_and_is_no_reference_from_elsewhere() {
    let named = |id: &str| format!("name: twice\n{}", simple(id, "{s: {eventName: X}, condition: s}"));
    let count = |id: &str| correlation(id, "{type: event_count, rules: [twice], timespan: 5m, condition: {gte: 5}}");
    let own = format!("{}---\n{}", named("two"), count("own"));
    let (catalogue, problems) =
        loaded(vec![file("one.yml", named("one")), file("two.yml", own), file("else.yml", count("else"))]);
    let reasons: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons[0].starts_with("two.yml:3: two: ") && reasons[0].contains("one.yml"), "{reasons:?}");
    assert!(reasons[1].starts_with("else.yml:2: else: ") && reasons[1].contains("2 rules"), "{reasons:?}");
    // Within a file its own name is meant.
    let leaf = catalogue.by_id("own").unwrap().leaves[0].rule;
    assert_eq!(catalogue.rule(leaf).id, "two");
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
    let long = format!("{GOOD}# {}", "x".repeat(crate::rule_files::MAX_FILE));
    let problem = problem(&long);
    assert!(problem.starts_with("bad.yml:7: ") && problem.contains("1048576"), "{problem}");
}

#[test]
fn a_correlation_refers_to_rules_and_correlations_by_id_or_name_wherever_they_stand() {
    let count =
        "{type: event_count, rules: [good_name], group-by: [userIdentity.arn], timespan: 5m, condition: {gte: 5}}";
    let outer = "{type: temporal_ordered, rules: [count, good], group-by: [userIdentity.arn], timespan: 1h}";
    for files in [[("count", count), ("outer", outer)], [("outer", outer), ("count", count)]] {
        let mut files: Vec<_> = files.iter().map(|(id, text)| file(id, correlation(id, text))).collect();
        files.push(file("good.yml", GOOD));
        let (catalogue, problems) = loaded(files);
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
    let (catalogue, problems) = loaded(vec![file("good.yml", GOOD), file("other.yml", other)]);
    assert!(problems.is_empty(), "{problems:?}");
    assert_ne!(catalogue.by_id("good").unwrap().logic, catalogue.by_id("other").unwrap().logic);
}
