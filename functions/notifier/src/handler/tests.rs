use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cloudvigil_core::ports::{Clock, Failure, Mail, Mailer, PortError, PortResult};
use cloudvigil_lambda::Environment;
use cloudvigil_local::EmbeddedState;
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::context::Config;

#[derive(Default)]
struct World {
    mails: Mutex<Vec<Mail>>,
    throttled: AtomicBool,
    hours: Mutex<i64>,
}

struct Ports(Arc<World>);

#[async_trait]
impl Mailer for Ports {
    async fn send(&self, mail: &Mail) -> PortResult<()> {
        if self.0.throttled.load(Ordering::Relaxed) {
            return Err(PortError::new(Failure::Transient, "send a mail", "throttled"));
        }
        self.0.mails.lock().unwrap().push(mail.clone());
        Ok(())
    }
}

impl Clock for Ports {
    fn now(&self) -> Timestamp {
        let start: Timestamp = "2026-11-22T07:15:00Z".parse().unwrap();
        start + SignedDuration::from_hours(*self.0.hours.lock().unwrap())
    }
}

fn context(world: &Arc<World>) -> Context {
    let environment = Environment::from([
        ("STATE_TABLE", "state"),
        ("SENDER", "vigil@example.com"),
        ("RECIPIENT", "security@example.org"),
        ("MAILS_PER_RULE_PER_HOUR", "1"),
    ]);
    let ports = || Arc::new(Ports(Arc::clone(world)));
    let state = Arc::new(EmbeddedState::in_memory(ports()).unwrap());
    Context::new(Config::read(&environment).unwrap(), state, ports(), ports())
}

fn finding(id: &str, level: &str) -> String {
    json!({
        "schema": 1,
        "finding": {
            "id": id, "revision": 1, "rule": "7f3c9d3e", "title": "CloudTrail logging was stopped", "level": level,
            "count": 1, "first_time": "2026-11-22T07:15:03Z", "last_time": "2026-11-22T07:15:03Z", "group": {},
            "account": "123456789012", "region": "eu-central-1", "actor": null, "source_address": null,
            "resources": [], "evidence": [], "dedup_key": "d"
        },
        "guidance": {"description": "", "runbook": "", "false_positives": [], "references": [], "tags": []}
    })
    .to_string()
}

fn batch(bodies: &[(&str, String)]) -> Value {
    let records: Vec<Value> = bodies.iter().map(|(id, body)| json!({"messageId": id, "body": body})).collect();
    json!({"Records": records})
}

fn failures(response: &Value) -> Vec<&str> {
    let failures = response["batchItemFailures"].as_array().unwrap();
    failures.iter().map(|failure| failure["itemIdentifier"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn findings_come_bare_or_in_an_envelope_and_a_bad_one_harms_no_other() {
    let world = Arc::new(World::default());
    let enveloped = json!({"Type": "Notification", "TopicArn": "t", "Message": finding("b", "low")}).to_string();
    let event = batch(&[
        ("1", "no JSON, secret=hunter2".to_owned()),
        ("2", finding("a", "critical")),
        ("3", json!({"Type": "SubscriptionConfirmation", "Message": "hello"}).to_string()),
        ("4", enveloped),
        ("5", finding("has spaces", "high")),
        ("6", finding("c", "critical").replace("\"schema\":1", "\"schema\":2")),
        ("7", String::new()),
    ]);
    let response = handle(event, &context(&world)).await.unwrap();
    assert_eq!(failures(&response), ["1", "3", "5", "6", "7"]);
    let mails = world.mails.lock().unwrap();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].subject, "[critical] CloudTrail logging was stopped in 123456789012 eu-central-1");
}

#[tokio::test]
async fn a_throttled_mail_comes_again_and_a_delivered_one_is_not_repeated() {
    let world = Arc::new(World::default());
    let context = context(&world);
    let event = batch(&[("1", finding("a", "high"))]);
    world.throttled.store(true, Ordering::Relaxed);
    assert_eq!(failures(&handle(event.clone(), &context).await.unwrap()), ["1"]);
    world.throttled.store(false, Ordering::Relaxed);
    for _ in 0..2 {
        assert!(failures(&handle(event.clone(), &context).await.unwrap()).is_empty());
    }
    assert_eq!(world.mails.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn tasks_send_what_waited_once_and_fail_if_they_cannot() {
    let world = Arc::new(World::default());
    let context = context(&world);
    let event = batch(&[("1", finding("a", "high")), ("2", finding("b", "high")), ("3", finding("c", "low"))]);
    assert!(failures(&handle(event, &context).await.unwrap()).is_empty());
    let (roll_up, digest) = (json!({"task": "roll_up"}), json!({"task": "digest"}));
    assert_eq!(handle(roll_up.clone(), &context).await.unwrap()["sent"], 0);
    *world.hours.lock().unwrap() = 24;
    world.throttled.store(true, Ordering::Relaxed);
    assert!(matches!(handle(roll_up.clone(), &context).await, Err(Failed::Task { failed: 1, sent: 0 })));
    world.throttled.store(false, Ordering::Relaxed);
    assert_eq!(handle(roll_up.clone(), &context).await.unwrap()["sent"], 1);
    assert_eq!(handle(roll_up, &context).await.unwrap()["sent"], 0);
    assert_eq!(handle(digest, &context).await.unwrap()["sent"], 1);
    let mails = world.mails.lock().unwrap();
    let subjects: Vec<&str> = mails.iter().map(|mail| mail.subject.as_str()).collect();
    assert_eq!(
        subjects[1..],
        [
            "[high] 1 more finding: CloudTrail logging was stopped since 07:00 UTC",
            "[digest] 2026-11-22: 1 finding of 1 rule"
        ]
    );
}

#[tokio::test]
async fn an_unknown_event_is_told_what_was_expected() {
    let context = context(&Arc::default());
    for event in [json!({}), json!({"task": "dance"}), json!({"Records": 7}), json!([1])] {
        let error = handle(event, &context).await.unwrap_err().to_string();
        assert!(error.contains("`Records`") && error.contains("roll_up"), "{error}");
    }
}

#[test]
fn an_error_never_quotes_the_body() {
    for body in ["secret=hunter2", r#"{"schema":"hunter2"}"#, r#"{"finding":"hunter2"}"#] {
        let error = parse(body).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
