use super::*;
use crate::detect::RuleFile;
use crate::enrich::OwnResources;
use crate::pipeline::{Entry, Options, Pipeline};

mod runs;

const RULES: &str = "
title: Trail stopped
id: stopped
level: critical
tags: [attack.t1562.008]
group-by: [sourceIPAddress]
logsource: {product: aws, service: cloudtrail}
detection: {selection: {eventName: StopLogging}, condition: selection}
---
title: Key created
id: created
level: critical
tags: [attack.t1098]
group-by: [sourceIPAddress]
logsource: {product: aws, service: cloudtrail}
detection: {selection: {eventName: StopLogging}, condition: selection}
---
title: Refused
name: refused
tags: [attack.t1562.008]
logsource: {product: aws, service: cloudtrail}
detection: {selection: {errorCode|exists: true}, condition: selection}
---
title: Refused twice
id: twice
level: high
tags: [attack.t1562.008]
correlation: {type: event_count, rules: [refused], group-by: [sourceIPAddress], timespan: 10m, condition: {gte: 2}}
";

/// Title and level of the findings of a rule, from calls of which some failed, by way of the state.
fn found(rule: &str, failed: &[bool]) -> Vec<(String, Level)> {
    let file = RuleFile::new("rules.yml", RULES);
    let (catalogue, problems) = Catalogue::load(vec![file]);
    assert!(problems.is_empty(), "{problems:?}");
    let event = |(number, failed): (usize, &bool)| {
        let error = if *failed { r#","errorCode":"AccessDenied""# } else { "" };
        format!(
            r#"{{"eventName":"StopLogging","sourceIPAddress":"203.0.113.9","eventTime":"2026-03-01T10:00:0{number}Z","eventID":"{number}"{error}}}"#
        )
    };
    let events: Vec<String> = failed.iter().enumerate().map(event).collect();
    let entries = events.iter().map(|event| Entry { key: None, time: None, bytes: event.as_bytes() });
    let report =
        Pipeline::new(&catalogue, Options::default()).entries("test", crate::formats::by_name("cloudtrail"), entries);
    let stored = |(partition, stored): (Partition, StoredContributions)| {
        let items = stored.into_items().map(|item| serde_json::to_vec(&item).unwrap());
        let read: Vec<StoredContributions> = items.map(|body| serde_json::from_slice(&body).unwrap()).collect();
        finding_in(&catalogue, &partition, &read.iter().collect::<Vec<_>>())
    };
    let findings = report.contributions.into_partitions().filter_map(stored);
    findings.filter(|finding| finding.rule == rule).map(|finding| (finding.title, finding.level)).collect()
}

#[test]
fn tampering_that_was_only_attempted_is_one_level_lower() {
    let level = |failed: &[bool]| found("stopped", failed);
    assert_eq!(level(&[false]), [("Trail stopped".to_owned(), Level::Critical)]);
    assert_eq!(level(&[true, true]), [("Trail stopped (failed)".to_owned(), Level::High)]);
    assert_eq!(level(&[true, false]), [("Trail stopped".to_owned(), Level::Critical)], "the second one succeeded");
}

/// Title and level of the finding of a rule about tampering, of level high, from calls each said in letters: `o` against
/// a resource of cloudvigil's own, `f` failed, `d` by the deploying role. Every order of them must come to the same.
fn judged(calls: &[&str]) -> (String, Level) {
    let rules = RULES.replacen("level: critical", "level: high", 1);
    let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("r.yml", rules)]);
    assert!(problems.is_empty(), "{problems:?}");
    let pipeline = Pipeline::new(
        &catalogue,
        Options {
            own_resources: OwnResources::new(["arn:aws:cloudtrail:*:*:trail/company"]).unwrap(),
            deploying_roles: vec!["arn:aws:iam::1:role/Deploy".to_owned()],
            ..Options::default()
        },
    );
    let event = |(number, said): (usize, &&str)| {
        let (trail, error, role) = (
            if said.contains('o') { "company" } else { "other" },
            if said.contains('f') { "\"AccessDenied\"" } else { "null" },
            if said.contains('d') { "Deploy" } else { "Deploy2" },
        );
        format!(
            r#"{{"eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","requestParameters":{{"name":"{trail}"}},"errorCode":{error},"sourceIPAddress":"203.0.113.9","eventTime":"2026-03-01T10:00:0{number}Z","eventID":"{number}","userIdentity":{{"sessionContext":{{"sessionIssuer":{{"arn":"arn:aws:iam::1:role/{role}"}}}}}}}}"#
        )
    };
    // Each call is an object of its own.
    let objects = calls.iter().enumerate().map(event).map(|event| {
        let entry = Entry { key: None, time: None, bytes: event.as_bytes() };
        let report = pipeline.entries("test", crate::formats::by_name("cloudtrail"), std::iter::once(entry));
        let (at, stored) = report.contributions.into_partitions().find(|(at, _)| at.rule == 0).unwrap();
        let bodies = stored.into_items().map(|item| serde_json::to_vec(&item).unwrap());
        (at, bodies.map(|body| serde_json::from_slice(&body).unwrap()).collect())
    });
    let objects: Vec<(Partition, Vec<StoredContributions>)> = objects.collect();
    let orders = (0..calls.len()).flat_map(|first| {
        let rotated = objects.iter().cycle().skip(first).take(calls.len());
        [rotated.clone().collect::<Vec<_>>(), rotated.collect::<Vec<_>>().into_iter().rev().collect()]
    });
    let mut outcomes: Vec<(String, Level)> = orders
        .map(|order| {
            let stored: Vec<_> = order.iter().flat_map(|(_, stored)| stored.iter().cloned()).collect();
            let finding = finding_in(&catalogue, &order[0].0, &stored.iter().collect::<Vec<_>>()).unwrap();
            (finding.title, finding.level)
        })
        .collect();
    outcomes.dedup();
    assert_eq!(outcomes.len(), 1, "{calls:?}: the order matters");
    outcomes.remove(0)
}

#[test]
fn ones_own_is_critical_and_denied_or_deployed_is_one_lower() {
    let plain = |level| ("Trail stopped".to_owned(), level);
    let said = |word: &str, level| (format!("Trail stopped ({word})"), level);
    for (calls, expected) in [
        (&["-"] as &[&str], plain(Level::High)),
        (&["o"], plain(Level::Critical)),
        (&["f"], said("failed", Level::Medium)),
        (&["of"], said("failed", Level::High)),
        (&["d"], said("deployment", Level::Medium)),
        (&["od"], said("deployment", Level::High)),
        (&["ofd"], said("failed, deployment", Level::Medium)),
        (&["d", "-"], plain(Level::High)),
        (&["od", "-"], plain(Level::High)),
        (&["o", "-", "fd"], plain(Level::Critical)),
        (&["od", "o", "d"], plain(Level::Critical)),
        (&["of", "-", "d"], plain(Level::High)),
        (&["fd", "f"], said("failed", Level::Medium)),
    ] {
        assert_eq!(judged(calls), expected, "{calls:?}");
    }
}

#[test]
fn other_rules_and_correlations_keep_their_level() {
    assert_eq!(found("created", &[true]), [("Key created".to_owned(), Level::Critical)]);
    assert_eq!(found("twice", &[true, true]), [("Refused twice".to_owned(), Level::High)]);
}
