use std::sync::Arc;

use cloudvigil_aws::Clients;
use cloudvigil_core::detect::{Catalogue, RuleFile};
use cloudvigil_core::ports::Clock;
use cloudvigil_lambda::Detector;
use cloudvigil_local::{Collected, EmbeddedState};
use jiff::Timestamp;
use serde_json::json;

use super::*;

struct At(&'static str);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0.parse().unwrap()
    }
}

const RULE: &str = "
title: Administration port open to the internet
id: 3c1f0f7e-52c5-4b5c-9d3e-0d4f0a7c9b11
status: test
level: high
logsource: {product: aws, service: ec2, category: inventory}
detection:
  selection: {type: instance, open_admin_ports: 22}
  condition: selection
";

fn context(sink: &Arc<Collected>) -> Context {
    let clock: Arc<dyn Clock> = Arc::new(At("2026-03-01T12:00:00Z"));
    let state = Arc::new(EmbeddedState::in_memory(Arc::clone(&clock)).unwrap());
    let file = RuleFile::new("admin_port_open.yml", RULE);
    let (catalogue, problems) = Catalogue::load(vec![file]);
    assert!(problems.is_empty(), "{problems:?}");
    let detector = Detector::new(Arc::new(Clients::new()), state, sink.clone(), clock).with_catalogue(catalogue);
    Context { detector, regions: Vec::new() }
}

fn instance(id: &str, since: &str, ports: &[u16]) -> Value {
    json!({
        "schema": 1, "service": "ec2", "type": "instance", "account": "123456789012", "region": "eu-west-1",
        "resource": format!("arn:aws:ec2:eu-west-1:123456789012:instance/{id}"), "since": since,
        "open_admin_ports": ports,
    })
}

async fn findings(context: &Context, records: &[Value]) -> u64 {
    let mut counters = Counters::default();
    detect(records, "123456789012", context, &mut counters).await.unwrap();
    assert_eq!(counters.records_in, records.len() as u64);
    assert_eq!(counters.records_in, counters.parsed + counters.unparsed + counters.skipped);
    counters.findings
}

#[tokio::test]
async fn an_exposure_is_published_once_however_often_it_is_seen() {
    let sink = Arc::new(Collected::new());
    let context = context(&sink);
    let open = instance("i-1", "2026-03-01T10:00:00Z", &[22]);
    let closed = instance("i-2", "2026-03-01T10:00:00Z", &[]);
    assert_eq!(findings(&context, &[open.clone(), closed.clone()]).await, 1);
    assert_eq!(findings(&context, &[open.clone(), closed]).await, 0);
    // Something else in the account changes: the first exposure is still the same.
    let other = instance("i-2", "2026-03-01T11:00:00Z", &[22]);
    assert_eq!(findings(&context, &[open, other]).await, 1);
    let published = sink.sorted();
    assert_eq!(published.len(), 2);
    assert!(published.iter().all(|message| message.finding.count == 1 && message.finding.revision == 1));
    assert_eq!(published[0].finding.resources, ["arn:aws:ec2:eu-west-1:123456789012:instance/i-1"]);
    assert_eq!(published[0].finding.first_time, Some("2026-03-01T10:00:00Z".parse().unwrap()));
}

#[tokio::test]
async fn the_same_exposure_after_a_change_is_a_new_finding() {
    let sink = Arc::new(Collected::new());
    let context = context(&sink);
    findings(&context, &[instance("i-1", "2026-03-01T10:00:00Z", &[22])]).await;
    assert_eq!(findings(&context, &[instance("i-1", "2026-03-01T15:00:00Z", &[22])]).await, 1);
    assert_eq!(sink.sorted().len(), 2);
}

#[tokio::test]
async fn an_event_that_is_neither_is_refused_and_says_what_is_expected() {
    let context = context(&Arc::new(Collected::new()));
    for event in [json!({}), json!({"task": "sweep"}), json!({"source": "aws.s3"}), json!([1]), json!(null)] {
        let error = handle(event, &context).await.unwrap_err().to_string();
        assert!(error.contains("\"task\":\"scan\"") && error.contains("scheduled"), "{error}");
    }
}

#[test]
fn schedules_of_both_kinds_ask_for_a_scan() {
    for source in ["aws.events", "aws.scheduler"] {
        assert!(asks_for_a_scan(&json!({"source": source, "detail-type": "Scheduled Event", "detail": {}})));
    }
    assert!(asks_for_a_scan(&json!({"task": "scan"})));
    assert!(!asks_for_a_scan(&json!({"source": "aws.ec2", "detail-type": "Scheduled Event"})));
}

fn network(flow_logs: &[&str]) -> Vec<Value> {
    let arn = |kind: &str, id: &str| format!("arn:aws:ec2:eu-west-1:123456789012:{kind}/{id}");
    let frame = |kind: &str, resource: String| {
        json!({
            "schema": 1, "service": "ec2", "type": kind, "resource": resource, "account": "123456789012",
            "region": "eu-west-1", "since": "2026-03-01T10:00:00Z",
        })
    };
    let mut vpc = frame("vpc", arn("vpc", "vpc-1"));
    (vpc["network"], vpc["flow_logs"]) = (json!("vpc-1"), json!(flow_logs));
    let log = |id: &&str| {
        let mut log = frame("flow_log", arn("vpc-flow-log", id));
        (log["flow_log"], log["recorded"], log["traffic_type"]) = (json!(id), json!("vpc-1"), json!("ALL"));
        (log["destination_type"], log["destination"]) = (json!("s3"), json!("arn:aws:s3:::flows"));
        log
    };
    std::iter::once(vpc).chain(flow_logs.iter().map(log)).collect()
}

#[tokio::test]
async fn a_flow_log_that_vanished_is_told_and_so_is_the_one_that_takes_its_place() {
    let sink = Arc::new(Collected::new());
    let mut context = context(&sink);
    let built_in_rules = Detector::new(
        Arc::clone(&context.detector.clients),
        Arc::clone(&context.detector.state),
        sink.clone(),
        Arc::clone(&context.detector.clock),
    );
    context.detector = built_in_rules;
    let mut counters = Counters::default();
    for logs in [&[][..], &["fl-1"], &["fl-2"], &[], &[], &["fl-3"]] {
        compare_flow_logs(&network(logs), "123456789012", &context, &mut counters).await.unwrap();
    }
    let published = sink.sorted();
    let mut told: Vec<(&str, &str)> =
        published.iter().map(|one| (one.finding.level.as_str(), one.finding.title.as_str())).collect();
    told.sort_unstable();
    assert_eq!(told, [("high", "Flow log is gone"), ("informational", "What watches the account is on again")]);
    let gone = published.iter().find(|one| one.finding.title == "Flow log is gone").unwrap();
    assert_eq!(gone.finding.resources, ["arn:aws:ec2:eu-west-1:123456789012:vpc/vpc-1"]);
    assert_eq!((counters.other["FlowLogsLost"], counters.other["FlowLogsReturned"]), (1, 1));
}
