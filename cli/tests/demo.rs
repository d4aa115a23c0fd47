//! What somebody sees first: `demo`, `rules`, `notify test`.

mod support;

use std::fs;

use support::Folder;

#[test]
fn the_demo_writes_findings_a_report_and_mails_and_is_the_same_each_time() {
    let folder = Folder::new();
    let first = folder.run(&["demo"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert!(first.summary().ends_with(" records, 0 unparsed, 1 skipped, 0 errors"), "{}", first.stderr);
    assert!(
        first.stdout.contains("critical") && first.stdout.contains("cloudvigil-demo/report.html"),
        "{}",
        first.stdout
    );
    let mails = || {
        let entries = fs::read_dir(folder.path("cloudvigil-demo/outbox")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let written = mails();
    assert!(!written.is_empty() && written.iter().all(|name| name.starts_with("20260301T120000Z-")), "{written:?}");
    let page = folder.read("cloudvigil-demo/report.html");
    assert!(page.contains("<html") && !page.contains("<script"));
    folder.write("cloudvigil-demo/outbox/mine.eml", "kept");
    let second = folder.run(&["demo"]);
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(mails().len(), written.len() + 1, "earlier mails of the demo make place, others stay");
    assert_eq!(folder.read("cloudvigil-demo/report.html"), page);
}

#[test]
fn the_built_in_rules_pass_their_own_tests_and_can_be_read() {
    let folder = Folder::new();
    let ran = folder.run(&["rules", "test"]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    let list = folder.run(&["rules", "list", "--output", "json"]).json();
    assert!(!list.is_empty());
    let id = list[0]["id"].as_str().unwrap();
    let shown = folder.run(&["rules", "show", &id[..8]]).stdout;
    assert!(shown.contains(id) && shown.contains("Runbook"), "{shown}");
    assert_eq!(folder.run(&["rules", "show", "no-such-rule"]).code, 2);
    assert_eq!(folder.run(&["rules", "coverage"]).code, 0);
}

#[test]
fn a_rule_whose_test_fails_is_named_by_file_rule_and_test() {
    let folder = Folder::new();
    let rule = |name: &str| {
        format!(
            "{}\ntests:\n  match:\n    - name: stopped\n      record: {{eventSource: cloudtrail.amazonaws.com, eventName: {name}}}\n",
            support::RULE
        )
    };
    folder.write("good/rule.yml", rule("StopLogging")).write("bad/rule.yml", rule("StartLogging"));
    let good = folder.run(&["rules", "test", "good"]);
    assert_eq!((good.code, good.stdout.as_str()), (0, "1 rule, 1 test, 0 problems\n"));
    let bad = folder.run(&["rules", "test", "bad"]);
    assert_eq!(bad.code, 1);
    for word in ["bad/rule.yml", support::RULE_ID, "stopped", "1 rule, 1 test, 1 problem"] {
        assert!(bad.stdout.contains(word), "{word}: {}", bad.stdout);
    }
    assert_eq!(folder.run(&["rules", "lint", "good"]).code, 1, "it has no runbook");
    assert_eq!(folder.run(&["rules", "test", "missing"]).code, 2);
}

/// A rule for stopped trails and narrowed ones.
const TAMPERING: &str = "
title: A trail was changed
id: 0f3f2d9e-6a0b-4c1e-9f0e-3c1f6f8f7a02
level: high
tags: [attack.t1562.008]
logsource: {product: aws, service: cloudtrail}
detection:
  stopped: {eventSource: cloudtrail.amazonaws.com, eventName: StopLogging}
  changed: {eventSource: cloudtrail.amazonaws.com, eventName: UpdateTrail}
  narrowed: {requestParameters.isMultiRegionTrail: false}
  denied: {errorCode|exists: true, requestParameters: null}
  condition: stopped or changed and (narrowed or denied)
tests:
  base: {eventSource: cloudtrail.amazonaws.com, eventName: UpdateTrail}
  match:
    - {name: succeeded, record: {requestParameters: {isMultiRegionTrail: false}}}
    - {name: stopped, record: {eventName: StopLogging}}
    - name: denied
      each: {eventName: [StopLogging, UpdateTrail]}
      record: {errorCode: AccessDenied, requestParameters: null}
";

#[test]
fn coverage_of_a_list_names_what_the_tests_do_not_show() {
    let folder = Folder::new();
    let stop = "cloudtrail.amazonaws.com,StopLogging";
    let update = "cloudtrail.amazonaws.com,UpdateTrail";
    folder
        .write(
            "list.txt",
            "# what matters\ncloudtrail.amazonaws.com:StopLogging\ncloudtrail.amazonaws.com:StartLogging\n",
        )
        .write("list.csv", format!("event_source,event_name,why\n{stop},\"a, b\"\n"))
        .write("update.csv", format!("event_source,event_name\n{update}\n"))
        .write("levels.csv", format!("event_source,event_name,condition,severity\n{update},any outcome,critical\n"))
        .write("level.csv", format!("event_source,event_name,condition,severity\n{update},any outcome,high\n"))
        .write("tampering.yml", TAMPERING);
    let of = |rule, list| {
        let ran = folder.run(&["rules", "coverage", "--no-default-rules", "--rules", rule, "--list", list]);
        (ran.code, ran.stdout)
    };
    let (code, told) = of("tampering.yml", "list.txt");
    assert_eq!(code, 1);
    assert_eq!(
        told,
        "not covered: cloudtrail.amazonaws.com:StartLogging: no test shows that it matches\n1 of 2 calls are covered\n"
    );
    assert_eq!(of("tampering.yml", "list.csv"), (0, "1 of 1 calls are covered\n".to_owned()));
    assert_eq!(of("tampering.yml", "level.csv").0, 0);
    let not_covered = |list| of("tampering.yml", list).1.lines().next().unwrap().to_owned();
    assert!(not_covered("levels.csv").ends_with("UpdateTrail: it is high, not critical"));
    assert!(not_covered("update.csv").ends_with("no test shows a harmless call that stays quiet"));
    let harmless = "  no-match:\n    - {name: widened, record: {requestParameters: {isMultiRegionTrail: true}}}\n";
    folder.write("harmless.yml", format!("{TAMPERING}{harmless}"));
    assert_eq!(of("harmless.yml", "update.csv").0, 0);
    // The denied call matches, but no finding is lower: the rule is not about tampering.
    folder.write("other.yml", TAMPERING.replace("t1562.008", "t1078"));
    assert!(of("other.yml", "list.csv").1.contains("the denied call matches, one level lower"));
    assert!(of("rule.yml", "list.csv").1.contains("no test shows that it matches"), "it has no tests");
}

#[test]
fn a_test_message_goes_through_the_configured_channel() {
    let folder = Folder::new();
    folder.write(
        "cloudvigil.toml",
        "[mail]\nsender = \"cloudvigil@example.com\"\nrecipients = [\"ops@example.com\"]\noutbox = \"out\"\n",
    );
    let ran = folder.run(&["notify", "test"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let mail = fs::read_dir(folder.path("out")).unwrap().next().unwrap().unwrap().path();
    let mail = fs::read_to_string(mail).unwrap();
    assert!(mail.contains("To: <ops@example.com>") && mail.contains("nothing has happened"), "{mail}");
    folder.write("wrong.toml", "[mail]\nsender = \"a@example.com\"\nrecipients = [\"b@example.com\"]\nsmpt = \"x\"\n");
    let ran = folder.run(&["notify", "test", "--config", "wrong.toml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("wrong.toml, line 4, key 'smpt'"), "{}", ran.stderr);
    assert_eq!(folder.run(&["notify", "test", "--config", "missing.toml"]).code, 2);
}
