//! Findings that a sink holds back.

use super::*;
use crate::config::Config;
use crate::enrich::OwnResources;
use crate::suppression::{Suppressing, Suppressions};

const RULES: &str = "
title: Trail stopped
id: stopped
level: high
tags: [attack.t1562.008]
group-by: [sourceIPAddress]
logsource: {product: aws, service: cloudtrail}
detection: {selection: {eventName: StopLogging}, condition: selection}
---
title: Trail found stopped
id: found-stopped
level: high
tags: [attack.t1562.008]
logsource: {product: aws, category: inventory}
detection: {selection: {is_logging: false}, condition: selection}
";

/// Suppressions of the rules until 13:00.
fn until_one() -> Suppressions {
    let of = |rule: &str| {
        format!("[[suppressions]]\nrule = \"{rule}\"\nowner = \"o\"\nreason = \"r\"\nexpires = 2026-03-01T13:00:00Z\n")
    };
    Config::parse("c.toml", &(of("stopped") + &of("found-stopped"))).unwrap().suppressions
}

/// Settles one object with calls at these times, with the clock at `now`. Returns how many findings were held back.
fn settle(memory: &Memory, trail: &str, times: &str, now: &'static str) -> usize {
    let event = |time: &str| {
        format!(
            r#"{{"eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","requestParameters":{{"name":"{trail}"}},"sourceIPAddress":"203.0.113.9","eventID":"{time}","eventTime":"2026-03-01T{time}Z"}}"#
        )
    };
    settle_entries(memory, "cloudtrail", &times.split_whitespace().map(event).collect::<Vec<_>>(), now)
}

fn settle_entries(memory: &Memory, format: &str, entries: &[String], now: &'static str) -> usize {
    let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("r.yml", RULES)]);
    assert!(problems.is_empty(), "{problems:?}");
    let own_resources = OwnResources::new(["arn:aws:cloudtrail:*:*:trail/company"]).unwrap();
    let pipeline = Pipeline::new(&catalogue, Options { own_resources, ..Options::default() });
    let entries = entries.iter().map(|entry| Entry { key: None, time: None, bytes: entry.as_bytes() });
    let report = pipeline.entries("test", crate::formats::by_name(format), entries);
    let (suppressions, clock) = (until_one(), At(now));
    let sink = Suppressing::new(&memory.sink, &suppressions, &clock);
    let closing = Closing::WallClock;
    let settler = Settler { catalogue: &catalogue, state: memory, sink: &sink, clock: &clock, closing };
    let touched = settler.put(&report.object, report.contributions).now_or_never().unwrap().unwrap();
    settler.settle(&touched).now_or_never().unwrap().unwrap();
    sink.into_held().len()
}

#[test]
fn nobody_is_told_while_it_is_suppressed_and_somebody_is_once_it_is_seen_again_after() {
    let memory = Memory::default();
    assert_eq!(settle(&memory, "other", "10:00:00", "12:00:00"), 1);
    assert_eq!(settle(&memory, "other", "10:00:00", "12:30:00"), 1, "it is still held back");
    assert_eq!(settle(&memory, "other", "10:00:00 10:01:00", "12:59:59"), 1);
    assert!(published(&memory).is_empty());
    assert_eq!(marks(&memory).len(), 1, "it is known all the same");
    assert_eq!(settle(&memory, "other", "10:00:00 10:01:00", "13:00:00"), 0);
    assert_eq!(published(&memory), [finding(3, 2, "10:00:00", "10:01:00")]);
    assert_eq!(settle(&memory, "other", "10:00:00 10:01:00", "14:00:00"), 0);
    assert_eq!(published(&memory).len(), 1, "it was told");
}

#[test]
fn tampering_with_what_is_cloudvigils_own_is_never_held_back() {
    let memory = Memory::default();
    assert_eq!(settle(&memory, "other", "10:00:00", "12:00:00"), 1);
    assert_eq!(settle(&memory, "company", "10:00:30", "12:00:00"), 0);
    assert_eq!(published(&memory), [finding(2, 2, "10:00:00", "10:00:30")]);
}

#[test]
fn nor_is_how_it_was_found_to_be_and_that_raises_no_level() {
    let memory = Memory::default();
    let seen = |trail: &str| {
        format!(
            r#"{{"schema":1,"service":"cloudtrail","type":"trail","resource":"arn:aws:cloudtrail:eu-central-1:123456789012:trail/{trail}","since":"2026-03-01T10:00:00Z","is_logging":false}}"#
        )
    };
    assert_eq!(settle_entries(&memory, "inventory", &[seen("other"), seen("company")], "12:00:00"), 1);
    let told = memory.sink.0.lock().unwrap();
    let told: Vec<_> = told.iter().map(|finding| (finding.level, finding.resources.clone())).collect();
    let own = "arn:aws:cloudtrail:eu-central-1:123456789012:trail/company".to_owned();
    assert_eq!(told, [(crate::finding::Level::High, vec![own])]);
}
