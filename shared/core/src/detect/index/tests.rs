//! The index changes no result: random rules on random records, with it and without.

use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rsigma_eval::{CompiledRule, Engine};
use serde_json::Value;

use super::exact::Exact;
use super::paths::{Path, derived_fields, paths};
use crate::detect::tree::Tree;
use crate::detect::{Catalogue, RuleFile};
use crate::enrich::{OwnResources, enrich};
use crate::formats::{Format, Framing, Open, Parsed, by_name};
use crate::pipeline::{Entry, Options, Pipeline};

const CASES: u32 = 1_000;

fn runner(seed: u8) -> TestRunner {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]))
}

/// A detection item: a field, its modifiers, and values in YAML.
fn item(fields: &'static [&'static str], values: &'static [&'static str]) -> impl Strategy<Value = String> {
    let modifiers = vec![
        "",
        "",
        "",
        "|contains",
        "|startswith",
        "|endswith",
        "|contains|all",
        "|re",
        "|cased",
        "|contains|cased",
        "|exists",
        "|gte",
        "|lt",
        "|startswith|cased",
        "|neq",
        "|contains|neq",
        "|base64offset|contains",
    ];
    (select(fields), select(modifiers), vec(select(values), 1..4)).prop_map(|(field, modifiers, values)| {
        let values = match modifiers {
            "|exists" => (values.len() % 2 == 0).to_string(),
            "|gte" | "|lt" => [403, 5, 1][values.len() % 3].to_string(),
            "|re" => format!("'{}'", values[0].trim_matches(['\'', '*']).replace(['(', '[', '\\'], ".")),
            _ => format!("[{}]", values.join(", ")),
        };
        format!("'{field}{modifiers}': {values}")
    })
}

/// The detection of a rule: three selections, and a condition over them.
fn detection(fields: &'static [&'static str], values: &'static [&'static str]) -> impl Strategy<Value = String> {
    let map = move || {
        vec(item(fields, values), 1..3).prop_map(|mut items| {
            items.sort();
            items.dedup_by(|one, other| one.split(':').next() == other.split(':').next());
            format!("{{{}}}", items.join(", "))
        })
    };
    let list = move || vec(map(), 1..3).prop_map(|maps| format!("[{}]", maps.join(", ")));
    let keywords = move || {
        vec(select(values), 1..3).prop_map(|values| {
            let texts: Vec<_> = values.into_iter().filter(|value| value.starts_with('\'')).collect();
            format!("[{}, 'nowhere']", if texts.is_empty() { "'never'".to_owned() } else { texts.join(", ") })
        })
    };
    let selection = move || prop_oneof![4 => map(), 2 => list(), 1 => keywords()];
    let conditions = vec![
        "a",
        "a and b",
        "a or b",
        "not a",
        "a and not b",
        "(a or b) and c",
        "1 of them",
        "all of them",
        "1 of a*",
        "not 1 of them",
        "2 of them",
        "a or not (b and c)",
    ];
    (selection(), selection(), selection(), select(conditions))
        .prop_map(|(a, b, c, condition)| format!("{{a: {a}, b: {b}, c: {c}, condition: {condition}}}"))
}

/// Rules of these detections. Some are none by Sigma's rules; the others count.
fn rules(source: &str, detections: &[String]) -> String {
    let rule = |(number, detection): (usize, &String)| {
        format!("title: r{number}\nid: r{number}\nlogsource: {{{source}}}\ndetection: {detection}\n")
    };
    detections.iter().enumerate().map(rule).collect::<Vec<_>>().join("---\n")
}

/// Which rules match each entry, by way of the index.
fn indexed(catalogue: &Catalogue, format: &'static dyn Format, entries: &[String]) -> Vec<Vec<String>> {
    let pipeline = Pipeline::new(catalogue, Options { matches: true, ..Options::default() });
    let report = pipeline.entries(
        "test",
        Some(format),
        entries.iter().map(|entry| Entry { key: None, time: None, bytes: entry.as_bytes() }),
    );
    let mut found = vec![Vec::new(); entries.len()];
    for hit in report.matches.iter() {
        found[usize::try_from(hit.record - 1).unwrap()].push(catalogue.rule(hit.rule).id.clone());
    }
    for rules in &mut found {
        rules.sort();
    }
    found
}

const EVENT_FIELDS: &[&str] = &[
    "eventName",
    "eventSource",
    "userIdentity.type",
    "errorCode",
    "requestParameters.name",
    "responseElements",
    "userAgent",
];
const EVENT_VALUES: &[&str] = &[
    "'StopLogging'",
    "'stop*'",
    "'Root'",
    "'root'",
    "'K'",
    "'aws/cli'",
    "''",
    "null",
    "5",
    "true",
    "'say \"it\"'",
    "'main'",
    "'*ain'",
];

const EVENT_NAMES: &[&str] = &[
    "eventName",
    "eventName",
    "eventN\\u0061me",
    "eventSource",
    "userIdentity",
    "userIdentity",
    "userIdentity.type",
    "type",
    "errorCode",
    "requestParameters",
    "requestParameters.name",
    "userAgent",
    "eventname",
    "detail",
];

const ALERT_FIELDS: &[&str] =
    &["event_type", "alert.type", "alert.name", "alert.severity", "alert.category", "alert.category", "src_ip"];
const ALERT_VALUES: &[&str] =
    &["'StopLogging'", "'stop*'", "'Root'", "'root'", "'K'", "''", "null", "5", "403", "true", "'alert'", "'main'"];
const ALERT_NAMES: &[&str] = &[
    "alert",
    "alert",
    "alert",
    "al\\u0065rt",
    "alert.severity",
    "alert.category",
    "alert.x",
    "severity",
    "category",
    "src_ip",
    "timestamp",
    "event_typ\\u0065",
];

/// A JSON object as hostile as JSON allows: names and values escaped, of odd cases, doubled, nested, spaced.
fn event(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let name = select(names);
    let leaf = select(
        &[
            "\"StopLogging\"",
            "\"stoplogging\"",
            "\"Stop\\u004cogging\"",
            "\"xStopLogging\"",
            "\"Root\"",
            "\"ROOT\"",
            "\"\u{212a}\"",
            "\"K\"",
            "\"k\"",
            "\"\\u212a\"",
            "null",
            "5",
            "5.0",
            "403",
            "true",
            "\"\"",
            "\"aws\\/cli\"",
            "\"aws/cli\"",
            "\"say \\\"it\\\"\"",
            "\"main\"",
            "-1",
            "1e999",
            "\"\\ud83d\"",
            "\"403\"",
            "[]",
            "{}",
        ][..],
    )
    .prop_map(str::to_owned);
    let inner = &["type", "name", "ty\\u0070e", "x", "severity", "category", "sever\\u0069ty"];
    let inner = (select(&inner[..if names == ALERT_NAMES { 7 } else { 4 }]), leaf.clone());
    let object = vec(inner, 0..4).prop_map(|members| {
        let members: Vec<_> = members.into_iter().map(|(name, value)| format!("\"{name}\" :\t{value}")).collect();
        format!("{{{}}}", members.join(" , "))
    });
    let value = prop_oneof![
        5 => leaf.clone(),
        2 => object.clone(),
        1 => vec(prop_oneof![leaf, object], 0..3).prop_map(|values| format!("[{}]", values.join(","))),
    ];
    vec((name, value, select(&["", " ", "\n\t"][..])), 0..7).prop_map(|members| {
        let members: Vec<_> = members
            .into_iter()
            .map(|(name, value, space)| format!("{space}\"{name}\"{space}:{space}{value}{space}"))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

#[test]
fn json_is_matched_as_rsigma_matches_its_tree() {
    let input = (vec(detection(EVENT_FIELDS, EVENT_VALUES), 1..6), vec(event(EVENT_NAMES), 1..6));
    json_is_matched(11, "cloudtrail", "product: aws, service: cloudtrail", input);
}

#[test]
fn alerts_are_matched_as_rsigma_matches_their_trees() {
    let alert = event(ALERT_NAMES).prop_map(|event| match event.strip_prefix("{}") {
        Some(_) => r#"{"event_type":"alert"}"#.to_owned(),
        None => event.replacen('{', r#"{"event_type":"alert","#, 1),
    });
    let input = (vec(detection(ALERT_FIELDS, ALERT_VALUES), 1..6), vec(alert, 1..6));
    json_is_matched(14, "eve", "product: suricata, service: eve", input);
}

fn json_is_matched(seed: u8, format: &str, source: &str, input: impl Strategy<Value = (Vec<String>, Vec<String>)>) {
    let format = by_name(format).unwrap();
    let (matched, unmatched) = (Cell::new(0), Cell::new(0));
    runner(seed)
        .run(&input, |(detections, events)| {
            let text = rules(source, &detections);
            let (catalogue, _) = Catalogue::load(vec![RuleFile::new("x.yml", text.clone())]);
            let mut engine = Engine::new();
            engine.extend_compiled_rules(catalogue.rules().iter().filter_map(|rule| {
                let compiled = rule.detection.as_ref()?.compiled.get().clone();
                Some(CompiledRule { id: Some(rule.id.clone()), ..compiled })
            }));
            let expected: Vec<Vec<String>> = events
                .iter()
                .map(|event| {
                    let tree: Value = crate::formats::tree_of(event);
                    if format.name() == "eve" && !tree["event_type"].is_string() {
                        return Vec::new();
                    }
                    let mut ids: Vec<_> =
                        engine.evaluate(&Tree::new(&tree)).into_iter().filter_map(|hit| hit.header.rule_id).collect();
                    ids.sort();
                    ids
                })
                .collect();
            matched.set(matched.get() + expected.iter().map(Vec::len).sum::<usize>());
            unmatched.set(unmatched.get() + expected.iter().filter(|ids| ids.is_empty()).count());
            prop_assert_eq!(indexed(&catalogue, format, &events), expected, "{}", text);
            Ok(())
        })
        .unwrap();
    let (matched, unmatched) = (matched.get(), unmatched.get());
    assert!(
        matched > 1_000 && unmatched > 1_000,
        "{matched} matches, {unmatched} records without one: not a test of both"
    );
}

/// Every rule evaluated on every record, as if there were no index.
fn unindexed(catalogue: &Catalogue, format: &'static dyn Format, entries: &[String]) -> Vec<Vec<String>> {
    let mut parser = format.parser(&Options::default().context());
    let matches = |entry: &String| match parser.parse_if(entry, &mut Open) {
        Parsed::Record(mut record) => {
            enrich(&mut record, &OwnResources::default(), |_| true);
            let candidates = catalogue.candidates(record.log_source);
            let hits = catalogue.matches(&candidates, &record, format.framing() == Framing::Lines);
            let mut ids: Vec<_> = hits.map(|hit| catalogue.rule(hit).id.clone()).collect();
            ids.sort();
            ids
        }
        _ => Vec::new(),
    };
    entries.iter().map(matches).collect()
}

const LINE_FIELDS: &[&str] = &[
    "event",
    "user",
    "src_ip",
    "message",
    "facility",
    "action",
    "dst_port",
    "sc-status",
    "cs-uri-query",
    "cs-user-agent",
    "cloudvigil.web_attack",
    "cloudvigil.scanner",
    "cloudvigil.uri_decoded",
    "invalid_user",
    "level",
];
const LINE_VALUES: &[&str] = &[
    "'failed_password'",
    "'Accepted'",
    "'accepted'",
    "'REJECT'",
    "'reject'",
    "'root'",
    "'203.0.113.9'",
    "'404'",
    "404",
    "22",
    "'sqlmap'",
    "'sql_injection'",
    "'union'",
    "'UNION select'",
    "null",
    "true",
    "'auth'",
    "'password for'",
    "'ERROR'",
    "'K'",
];
/// Formats, the log source that rules ask for, and lines to alter.
const LINES: [(&str, &str, &[&str]); 4] = [
    (
        "syslog",
        "product: linux",
        &[
            "Mar  1 10:00:00 web-1 sshd[1]: Failed password for invalid user root from 203.0.113.9 port 40122 ssh2",
            "<38>Mar  1 10:00:00 web-1 sshd[1]: Accepted password for \u{212a}root from 203.0.113.9 port 40122 ssh2",
            "Mar  1 10:00:00 web-1 sudo: root : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh",
            "Mar  1 10:00:00 web-1 cron[2]: ERROR Accepted password for",
        ],
    ),
    (
        "vpcflow",
        "product: aws, service: vpcflow",
        &[
            "2 123456789012 eni-1 203.0.113.9 192.0.2.1 40000 22 6 1 44 1772359200 1772359260 REJECT OK",
            "2 123456789012 eni-1 203.0.113.9 192.0.2.1 40000 404 6 1 44 1772359200 1772359260 ACCEPT OK",
            "2 123456789012 eni-1 - - - - - - - 1772359200 1772359260 - NODATA",
        ],
    ),
    (
        "access",
        "category: webserver",
        &[
            r#"203.0.113.9 - root [01/Mar/2026:10:00:00 +0000] "GET /a?q=1%27%20UNION%20select%201-- HTTP/1.1" 404 1 "-" "sqlmap/1.9""#,
            r#"203.0.113.9 - - [01/Mar/2026:10:00:00 +0000] "GET /a?q=union HTTP/1.1" 200 1 "-" "Mozilla""#,
            r#"203.0.113.9 - - [01/Mar/2026:10:00:00 +0000] "GET / HTTP/1.1" 503 1 "${jndi:ldap://x}" "K""#,
        ],
    ),
    (
        "application",
        "category: application",
        &[
            "2026-03-01T10:00:00Z ERROR password for root",
            r#"{"level":"error","message":"r\u006fot union","user":"root"}"#,
        ],
    ),
];

/// The fields that parsers know before they take a line apart.
const LINE_KEYS: &[&str] =
    &["event", "action", "sc-status", "sc-status", "cloudvigil.web_attack", "cloudvigil.scanner"];

#[test]
fn lines_are_matched_as_without_the_index() {
    lines_are_matched(12, LINE_FIELDS);
}

#[test]
fn rules_that_the_keys_decide_match_as_without_the_index() {
    lines_are_matched(13, LINE_KEYS);
}

fn lines_are_matched(seed: u8, fields: &'static [&'static str]) {
    let altered = (0..4_usize, vec((any::<usize>(), select(&b"KkR0 \xe2\"'%[]:-4"[..])), 0..3));
    let input = (0..LINES.len(), vec(detection(fields, LINE_VALUES), 1..6), vec(altered, 1..12));
    let (matched, unmatched) = (Cell::new(0), Cell::new(0));
    runner(seed)
        .run(&input, |(which, detections, changes)| {
            let (format, source, lines) = LINES[which];
            let entries: Vec<String> = changes
                .into_iter()
                .map(|(line, changes)| {
                    let mut line = lines[line % lines.len()].as_bytes().to_vec();
                    for (at, byte) in changes {
                        let at = at % line.len();
                        line[at] = byte;
                    }
                    String::from_utf8_lossy(&line).into_owned()
                })
                .collect();
            let text = rules(source, &detections);
            let (catalogue, _) = Catalogue::load(vec![RuleFile::new("x.yml", text.clone())]);
            let format = by_name(format).unwrap();
            let expected = unindexed(&catalogue, format, &entries);
            matched.set(matched.get() + expected.iter().map(Vec::len).sum::<usize>());
            unmatched.set(unmatched.get() + expected.iter().filter(|ids| ids.is_empty()).count());
            prop_assert_eq!(indexed(&catalogue, format, &entries), expected, "{}\n{:?}", text, entries);
            Ok(())
        })
        .unwrap();
    let (matched, unmatched) = (matched.get(), unmatched.get());
    assert!(
        matched > 1_000 && unmatched > 1_000,
        "{matched} matches, {unmatched} records without one: not a test of both"
    );
}

#[test]
fn a_rule_whose_regular_expressions_are_still_to_be_compiled_has_the_same_paths() {
    let mut parser = by_name("cloudtrail").unwrap().parser(&Options::default().context());
    let Parsed::Record(record) = parser.parse("{}") else { panic!("every object is a record") };
    let shown = |rule: &CompiledRule| {
        let paths = paths(rule, record.log_source);
        // Selections come in no order.
        let sorted = |paths: Vec<Path>| paths.iter().map(|path| format!("{path:?}")).collect::<BTreeSet<_>>();
        let mut derived = BTreeSet::new();
        derived_fields(rule, &mut derived);
        (paths.map(sorted), Exact::of(rule, record.log_source), derived)
    };
    let mut apart = 0;
    let (outlined, _) = Catalogue::built_in();
    let (compiled, _) = Catalogue::built_in();
    for (one, other) in outlined.rules().iter().zip(compiled.rules()) {
        let (Some(one), Some(other)) = (&one.detection, &other.detection) else { continue };
        let (outline, whole) = (one.compiled.outline(), other.compiled.get());
        assert_eq!(shown(outline), shown(whole));
        apart += usize::from(!one.compiled.is_whole());
    }
    assert!(apart > 0, "no rule has a regular expression");
}
