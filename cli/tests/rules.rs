//! Rules of one's own: what may lie in their folder, and what is told of them.

#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::{Folder, RULE_ID, record, stop};

/// A rule that is about few stops of a trail in an hour.
const QUIET: &str = "
title: Stopped now and then
id: 0f3f2d9e-6a0b-4c1e-9f0e-3c1f6f8f7a02
level: low
correlation:
  type: event_count
  rules: [0f3f2d9e-6a0b-4c1e-9f0e-3c1f6f8f7a01]
  group-by: [awsRegion]
  timespan: 1h
  condition: {lt: 3}
generate: true
";

#[test]
fn a_scan_for_matches_tells_how_often_each_rule_would_have_fired() {
    let folder = Folder::new();
    folder.write("quiet.yml", QUIET).write("a.json", [stop(0), stop(1), stop(70)].join("\n"));
    let ran = folder.scan(&["--rules", "quiet.yml", "--output", "matches", "a.json"]);
    assert_eq!((ran.code, ran.matches().len()), (0, 3), "{}", ran.stderr);
    let told: Vec<Vec<&str>> = ran.stderr.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(told.iter().any(|words| words.starts_with(&["3", "3", "high"])), "{}", ran.stderr);
    // Two windows of an hour in one bucket of two: one finding.
    assert!(told.iter().any(|words| words.starts_with(&["1", "-", "low"])), "{}", ran.stderr);
    assert_eq!(ran.summary(), "3 records, 0 unparsed, 0 skipped, 0 errors");
    // Without rules of one's own nothing is tried.
    let ran = folder.run(&["scan", "--output", "matches", "a.json"]);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}

#[test]
fn a_later_scan_with_the_same_state_takes_back_what_it_contradicts() {
    let folder = Folder::new();
    folder.write("quiet.yml", QUIET).write("all.json", [stop(0), stop(1), stop(2), stop(200)].join("\n"));
    folder.write("1.json", [stop(0), stop(1)].join("\n")).write("2.json", [stop(200), stop(2)].join("\n"));
    let quiet = |state: &str, inputs: &[&str]| -> BTreeSet<String> {
        for input in inputs {
            let ran = folder.scan(&["--rules", "quiet.yml", "--state", state, input]);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
        }
        let ran = folder.run(&["findings", "--state", state, "--output", "json"]);
        let findings = ran.json().into_iter().filter(|finding| finding["rule"] != RULE_ID);
        findings.map(|finding| format!("{} {}", finding["id"], finding["count"])).collect()
    };
    let first = quiet("first.db", &["1.json"]);
    let whole = quiet("whole.db", &["all.json"]);
    assert_eq!((first.len(), whole.len()), (1, 1));
    assert!(first.is_disjoint(&whole), "three stops in the first hour are not few");
    assert_eq!(quiet("cut.db", &["1.json", "2.json"]), whole);
    assert_eq!(quiet("turned.db", &["2.json", "1.json", "2.json"]), whole);
}

#[test]
fn a_folder_of_rules_may_hold_filters_pipelines_and_placeholders() {
    let folder = Folder::new();
    let rule = "
title: By somebody
id: 0f3f2d9e-6a0b-4c1e-9f0e-3c1f6f8f7a03
level: high
logsource: {product: aws, service: cloudtrail}
detection:
  selection: {action: StopLogging, region|expand: '%ours%'}
  condition: selection
";
    let pipeline = "
name: names
transformations: [{type: field_name_mapping, mapping: {action: eventName, region: awsRegion}}]
";
    let filter = "
title: Not this address
logsource: {service: cloudtrail}
filter:
  rules: any
  selection: {sourceIPAddress: 198.51.100.1}
  condition: not selection
";
    folder.write("own/rule.yml", rule).write("own/names.yml", pipeline).write("own/filter.yml", filter);
    folder.write("cloudvigil.toml", "[placeholders]\nours = [\"eu-*\"]\n");
    let elsewhere = stop(1).replace("203.0.113.7", "198.51.100.1");
    folder.write("a.json", [stop(0), elsewhere, stop(2).replace("eu-west-1", "us-east-1")].join("\n"));
    let scan = ["scan", "--no-default-rules", "--rules", "own", "--output", "matches", "a.json"];
    let ran = folder.run(&scan);
    assert_eq!(ran.matches(), [("a.json".to_owned(), 1)], "{}", ran.stderr);
    // Without the placeholder's values the rule is told, by file and line, and there is none left to run.
    folder.write("cloudvigil.toml", "[mail]\nsender = \"a@example.com\"\n");
    let ran = folder.run(&scan);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("own/rule.yml:7: ") && ran.stderr.contains("'%ours%'"), "{}", ran.stderr);
}

#[test]
fn lint_names_a_field_that_the_log_source_does_not_have() {
    let folder = Folder::new();
    let rule = "
title: Typed wrong
id: 0f3f2d9e-6a0b-4c1e-9f0e-3c1f6f8f7a04
logsource: {category: webserver}
detection: {selection: {cs-url: /a}, condition: selection}
";
    folder.write("own.yml", rule);
    let ran = folder.run(&["rules", "lint", "own.yml"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stdout.contains("can never match, because records of access logs have no field 'cs-url'"),
        "{}",
        ran.stdout
    );
}

#[test]
fn coverage_tells_log_sources_and_writes_a_layer_for_navigator() {
    let folder = Folder::new();
    let ran = folder.run(&["rules", "coverage", "--layer", "layer.json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("aws/cloudtrail") && ran.stdout.contains("T1685.002"), "{}", ran.stdout);
    let layer: Value = serde_json::from_str(&folder.read("layer.json")).unwrap();
    assert_eq!((&layer["versions"]["layer"], &layer["domain"]), (&"4.5".into(), &"enterprise-attack".into()));
    let techniques = layer["techniques"].as_array().unwrap();
    let is_counted = |technique: &Value| technique["score"].as_u64() > Some(0) && technique["techniqueID"].is_string();
    assert!(techniques.len() > 10 && techniques.iter().all(is_counted));
    let list = folder.write("list.txt", record(0, "x")).path("list.txt");
    let ran = folder.run(&["rules", "coverage", "--layer", "l.json", "--list", list.to_str().unwrap()]);
    assert_eq!(ran.code, 2, "one or the other");
}

#[test]
fn coverage_counts_the_techniques_that_there_are() {
    let folder = Folder::new();
    let rule = |number: u32, tag: &str| {
        format!(
            "title: Rule {number}\nid: 0f3f2d9e-6a0b-4c1e-9f0e-3c1f6f8f7b0{number}\ntags: [{tag}]\nlogsource: {{category: webserver}}\ndetection: {{s: {{c-ip: x}}, condition: s}}\n"
        )
    };
    for (number, tag) in [
        (1, "attack.t9999"),
        (2, "attack.t1562.008"),
        (3, "attack.t1685.002"),
        (4, "attack.t1064"),
        (5, "attack.g0020"),
    ] {
        folder.write(&format!("own/{number}.yml"), rule(number, tag));
    }
    let ran = folder.run(&["rules", "coverage", "--no-default-rules", "--rules", "own", "--layer", "layer.json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stdout.contains("5 rules, 1 technique of ATT&CK")
            && ran.stdout.ends_with(", 1 log source, 3 rules without a technique\n"),
        "{}",
        ran.stdout
    );
    assert!(!ran.stdout.contains("T9999") && !ran.stdout.contains("T1562") && !ran.stdout.contains("T1064"));
    let layer: Value = serde_json::from_str(&folder.read("layer.json")).unwrap();
    // What has been replaced counts as what took its place.
    assert_eq!(layer["techniques"].as_array().unwrap().len(), 1);
    assert_eq!(layer["techniques"][0]["techniqueID"], "T1685.002");
    assert_eq!(layer["techniques"][0]["score"], 2);
    for told in ["own/1.yml:2: ", "'attack.t9999' is not counted", "own/4.yml:2: ", "has no technique T1064"] {
        assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
    }
    assert_eq!(ran.stderr.lines().count(), 2, "{}", ran.stderr);
}

#[test]
fn rules_of_log_sources_that_no_record_is_of_are_told_together() {
    let folder = Folder::new();
    let rule = |number: u32, log_source: &str| {
        format!(
            "title: Rule {number}\nid: 0f3f2d9e-6a0b-4c1e-9f0e-3c1f6f8f7b0{number}\nlogsource: {{{log_source}}}\ndetection: {{s: {{a: x}}, condition: s}}\n"
        )
    };
    for (number, log_source) in [
        (1, "product: azure, service: signinlogs"),
        (2, "product: windows, category: process_creation"),
        (3, "product: windows, category: process_creation"),
        (4, "product: aws, service: cloudtrail"),
    ] {
        folder.write(&format!("own/{number}.yml"), rule(number, log_source));
    }
    folder.write("a.json", stop(0));
    let told = "--rules own: 3 of 4 rules never run, because no record is of their log source: windows/process_creation (2), azure/signinlogs (1)";
    let coverage = ["rules", "coverage", "--no-default-rules", "--rules", "own"];
    for arguments in [["scan", "--rules", "own", "a.json"].as_slice(), &["rules", "list", "--rules", "own"], &coverage]
    {
        let ran = folder.run(arguments);
        assert_eq!(ran.stderr.matches(told).count(), 1, "{}", ran.stderr);
    }
    // What never runs covers nothing; nor does a rule about a field that is not there.
    let ran = folder.run(&coverage);
    assert!(!ran.stdout.contains("windows") && !ran.stdout.contains("aws/cloudtrail"), "{}", ran.stdout);
    assert!(ran.stdout.contains("; 4 rules can never match and cover nothing"), "{}", ran.stdout);
    // Of the built-in rules each has its records.
    let ran = folder.run(&["rules", "list"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let ran = folder.run(&["rules", "lint", "own"]);
    let never = "own/1.yml:2: 0f3f2d9e-6a0b-4c1e-9f0e-3c1f6f8f7b01: this rule can never match, because no record is of product 'azure', service 'signinlogs'";
    assert!(ran.stdout.contains(never), "{}", ran.stdout);
}

#[test]
fn a_file_that_is_too_long_is_named_with_the_line_at_which_it_is() {
    let folder = Folder::new();
    folder.write("own/long.yml", "title: x\n".repeat(10 << 20 >> 3)).write("a.json", stop(0));
    let line = "own/long.yml:116509: it has more than 1048576 bytes, the most that is read";
    let ran = folder.run(&["rules", "lint", "own"]);
    assert!(ran.code == 1 && ran.stdout.starts_with(line), "{}{}", ran.stdout, ran.stderr);
    let ran = folder.run(&["scan", "--rules", "own/long.yml", "a.json"]);
    assert!(ran.code == 2 && ran.stderr.contains(line), "{}", ran.stderr);
}
