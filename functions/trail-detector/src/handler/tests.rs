use std::sync::Arc;

use cloudvigil_aws::Clients;
use cloudvigil_core::ports::SystemClock;
use cloudvigil_lambda::Detector;
use cloudvigil_local::{Collected, EmbeddedState};
use cloudvigil_stub::{Reply, Stub};
use serde_json::json;

use super::*;

fn stage() -> (Context, Arc<Collected>, Stub) {
    let findings = Arc::new(Collected::new());
    let state = Arc::new(EmbeddedState::in_memory(Arc::new(SystemClock)).unwrap());
    // An account without trails.
    let stub = Stub::with(|_| Reply::json(&json!({"trailList": []})));
    let clients = stub.clients(Clients::with_config);
    let detector = Detector::new(clients, state, findings.clone(), Arc::new(SystemClock));
    (Context::for_test(detector), findings, stub)
}

fn stop_logging(id: &str, role: Option<&str>) -> Value {
    let session = role.map(|role| json!({"sessionIssuer": {"type": "Role", "arn": role}}));
    json!({
        "version": "0", "id": "event-1", "detail-type": "AWS API Call via CloudTrail", "source": "aws.cloudtrail",
        "account": "123456789012", "region": "eu-central-1",
        "detail": {
            "eventVersion": "1.11", "eventID": id, "eventTime": "2026-03-01T10:00:00Z",
            "eventSource": "cloudtrail.amazonaws.com", "eventName": "StopLogging", "awsRegion": "eu-central-1",
            "sourceIPAddress": "198.51.100.7", "recipientAccountId": "123456789012",
            "userIdentity": {"type": "AssumedRole", "arn": "arn:aws:sts::123456789012:assumed-role/ops/mallory",
                "accountId": "123456789012", "sessionContext": session},
            "requestParameters": {"name": "main"}, "responseElements": null, "managementEvent": true,
        },
    })
}

#[tokio::test]
async fn stop_logging_is_a_critical_finding_that_says_who_and_where() {
    let (context, findings, _stub) = stage();
    let event = stop_logging("11111111-1111-1111-1111-111111111111", None);
    handle(event.clone(), Duration::from_secs(9), &context).await.unwrap();
    handle(event, Duration::from_secs(9), &context).await.unwrap();
    let messages = findings.sorted();
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    let finding = &message.finding;
    assert_eq!((finding.level.as_str(), finding.count, finding.revision), ("critical", 1, 1));
    assert_eq!(finding.actor.as_deref(), Some("arn:aws:sts::123456789012:assumed-role/ops/mallory"));
    assert_eq!(finding.region.as_deref(), Some("eu-central-1"));
    assert!(!message.guidance.runbook.is_empty());
    // By this the poll knows that EventBridge brought it.
    let state = &context.detector.state;
    let came = state.get("trail-detector#delivered", "11111111-1111-1111-1111-111111111111").await.unwrap();
    assert!(came.is_some());
}

#[tokio::test]
async fn tampering_by_its_own_role_is_seen_all_the_same() {
    let (mut context, findings, _stub) = stage();
    let own = "arn:aws:iam::123456789012:role/cloudvigil-notifier";
    context.detector.options.own_roles = vec![own.to_owned()];
    let event = stop_logging("22222222-2222-2222-2222-222222222222", Some(own));
    handle(event, Duration::from_secs(9), &context).await.unwrap();
    assert_eq!(findings.sorted().len(), 1);
}

#[tokio::test]
async fn another_event_is_an_error_and_never_a_crash() {
    let (context, findings, _stub) = stage();
    for event in [json!(null), json!({}), json!({"task": "dance"}), json!({"detail": 7}), json!({"detail": {"a": 1}})] {
        assert!(handle(event, Duration::ZERO, &context).await.is_err());
    }
    assert!(findings.sorted().is_empty());
}
