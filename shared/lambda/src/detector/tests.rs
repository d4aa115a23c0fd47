use cloudvigil_core::formats;
use cloudvigil_core::pipeline::Entry;
use cloudvigil_local::{Collected, EmbeddedState};
use jiff::{SignedDuration, Timestamp};
use std::sync::Mutex;

use super::*;
use crate::configuration::tests::Bucket;

const RULE: &str = "
title: Stopped
id: stopped
level: high
tags: [attack.t1685]
logsource: {product: aws, service: cloudtrail}
detection: {selection: {eventName: StopLogging, recipientAccountId|expand: '%ours%'}, condition: selection}
";

/// A clock that is set.
struct Hand(Mutex<Timestamp>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

impl Hand {
    fn forward(&self, minutes: i64) {
        *self.0.lock().unwrap() += SignedDuration::from_mins(minutes);
    }
}

struct Stage {
    bucket: Arc<Bucket>,
    clock: Arc<Hand>,
    sink: Arc<Collected>,
    detector: Detector,
}

impl Stage {
    /// A detector of the stack `secmon` in account 1, with a configuration in a bucket.
    fn new(document: &str, rule: &str) -> Self {
        let bucket = Arc::new(Bucket::default());
        bucket.put("cloudvigil.toml", document);
        bucket.put("rules/own.yml", rule);
        let clock = Arc::new(Hand(Mutex::new("2026-03-31T12:00:00Z".parse().unwrap())));
        let sink = Arc::new(Collected::new());
        let state = Arc::new(EmbeddedState::in_memory(Arc::clone(&clock) as Arc<dyn Clock>).unwrap());
        let environment = Environment::from([
            ("CONFIGURATION_BUCKET", "b"),
            ("CONFIGURATION_KEY", "cloudvigil.toml"),
            ("RULES_PREFIX", "rules/"),
        ]);
        let configuration = Configuration::from_environment(&environment, Arc::clone(&bucket) as _);
        let mut detector = Detector::new(Arc::new(Clients::new()), state, sink.clone(), clock.clone());
        detector.stack.resources = OwnResources::new(["arn:aws:*:*:1:secmon-*"]).unwrap();
        Self { detector: detector.configured(configuration), bucket, clock, sink }
    }

    /// One stop of a trail. Returns the counters.
    async fn stop(&self, id: &str, trail: &str) -> Counters {
        let event = format!(
            r#"{{"eventID":"{id}","eventTime":"2026-03-31T11:00:00Z","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","awsRegion":"eu-central-1","recipientAccountId":"1","requestParameters":{{"name":"{trail}"}}}}"#
        );
        let entry = Entry { key: None, time: None, bytes: event.as_bytes() };
        let report = self.detector.pipeline().entries("test", formats::by_name("cloudtrail"), std::iter::once(entry));
        let mut counters = Counters::default();
        self.detector.conclude(report, &mut counters).await.unwrap();
        counters
    }

    /// Rule and level of what was published.
    fn published(&self) -> Vec<(String, String)> {
        let found = self.sink.sorted();
        let own = found.into_iter().map(|message| message.finding).filter(|finding| finding.rule == "stopped");
        let mut told: Vec<_> = own.map(|finding| (finding.title, finding.level.to_string())).collect();
        told.sort();
        told
    }
}

fn pair(title: &str, level: &str) -> (String, String) {
    (title.to_owned(), level.to_owned())
}

#[tokio::test]
async fn rules_of_the_bucket_run_beside_the_built_in_ones_and_a_bad_one_hides_none() {
    let mut stage = Stage::new("[placeholders]\nours = [\"1\"]\n", RULE);
    stage.bucket.put("rules/bad.yml", "title: x\ndetection: {selection: {a|nonsense: 1}, condition: selection}\n");
    let built_in = stage.detector.catalogue().rules().len();
    stage.detector.refresh().await;
    assert_eq!(stage.detector.catalogue().rules().len(), built_in + 1);
    let own: Vec<_> =
        stage.detector.catalogue().rules().iter().filter(|rule| !stage.detector.is_built_in(rule)).collect();
    assert_eq!(own.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(), ["stopped"]);
    assert_eq!(stage.detector.problems.len(), 1);
    assert!(stage.detector.problems[0].starts_with("s3://b/rules/bad.yml"), "{:?}", stage.detector.problems);
    stage.stop("1", "company").await;
    stage.stop("2", "secmon-trail").await;
    assert_eq!(stage.published(), [pair("Stopped", "critical"), pair("Stopped", "high")]);
}

#[tokio::test]
async fn a_configuration_that_is_lost_leaves_what_there_was() {
    let mut stage = Stage::new("[own]\nresources = [\"company\"]\n[placeholders]\nours = [\"1\"]\n", RULE);
    stage.detector.refresh().await;
    let rules = stage.detector.catalogue().rules().len();
    stage.bucket.close();
    stage.clock.forward(10);
    stage.detector.refresh().await;
    assert_eq!(stage.detector.catalogue().rules().len(), rules);
    stage.stop("1", "company").await;
    assert_eq!(stage.published(), [pair("Stopped", "critical")]);

    // Where there was nothing yet, the built-in rules run.
    let mut stage = Stage::new("", RULE);
    stage.bucket.close();
    stage.detector.refresh().await;
    assert_eq!(stage.detector.catalogue().rules().len(), rules - 1);
}

#[tokio::test]
async fn a_suppressed_finding_is_counted_and_told_once_it_is_seen_again_after_the_expiry() {
    let suppression = "[[suppressions]]\nrule = \"stopped\"\nowner = \"o\"\nreason = \"r\"\nexpires = 2026-03-31\n";
    let mut stage = Stage::new(&format!("[placeholders]\nours = [\"1\"]\n{suppression}"), RULE);
    stage.detector.refresh().await;
    let counters = stage.stop("1", "company").await;
    assert_eq!((counters.other.get("Suppressed"), stage.published().len()), (Some(&1), 0));
    stage.stop("2", "secmon-trail").await;
    assert_eq!(stage.published(), [pair("Stopped", "critical")], "the stack's own trail");
    stage.clock.forward(12 * 60);
    stage.detector.refresh().await;
    assert_eq!(stage.detector.told.len(), 1, "that it has expired is told");
    stage.clock.forward(5);
    stage.detector.refresh().await;
    assert_eq!(stage.detector.told.len(), 1, "once");
    stage.stop("1", "company").await;
    assert_eq!(stage.published().len(), 2);
}
