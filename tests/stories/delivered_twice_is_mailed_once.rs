//! AWS delivers at least once: every object's event, every API call, every delivery of log events and every finding
//! comes three times. Each thing that happened is mailed once all the same.

use std::time::Duration;

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::log_lines::{access_log_with_injection, failed_password, gzipped, recently};
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::{ACCOUNT, Emulator};
use crate::harness::story::Story;
use crate::harness::tap::{Copy, Tap};

const LIMIT: Duration = Duration::from_secs(30);

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let root = &emulator.root;
    root.create_event_bucket("logs")?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[("CreateTrail", "true"), ("LogBucket", "logs")])?;
    let tap = Tap::open(&cloudvigil)?;

    // What happens, by the words that its mail has: an object, a call, a delivery of log events. That the trail no longer
    // logs is a finding of its own, which speaks of the call too.
    let happened = ["198.51.100.41", "Trail logging stopped", "198.51.100.42"];
    root.put_object("logs", "web.log.gz", &gzipped(&access_log_with_injection("198.51.100.41", "192.0.2.10"))?)?;
    emulator.user("mallory")?.cloudtrail("StopLogging", &json!({"Name": "cloudvigil-trail"}))?;
    let delivery = subscription_delivery("198.51.100.42")?;
    invoke(&cloudvigil, "log-analyzer", &delivery)?;
    for words in happened {
        cloudvigil.mail(LIMIT, words, |mail| mail.text.contains(words))?;
    }
    cloudvigil.settle()?;

    let is_stop = |copy: &Copy| matches!(copy, Copy::Call(call) if call["detail"]["eventName"] == "StopLogging");
    let is_object = |copy: &Copy| matches!(copy, Copy::Object(_));
    let is_finding = |copy: &Copy| matches!(copy, Copy::Finding(_));
    let copies = tap.copies(&cloudvigil, &[is_stop, is_object, is_finding])?;
    for _ in 0..2 {
        invoke(&cloudvigil, "log-analyzer", &delivery)?;
        for copy in &copies {
            match copy {
                Copy::Object(body) => send(&cloudvigil, "ObjectsQueue", body)?,
                Copy::Call(call) => invoke(&cloudvigil, "trail-detector", call)?,
                Copy::Finding(body) => send(&cloudvigil, "FindingsQueue", body)?,
            }
        }
    }
    cloudvigil.settle()?;
    for words in happened {
        let mails = cloudvigil.mails(|mail| mail.text.contains(words))?;
        ensure!(mails.len() == 1, "{words} was mailed {} times, not once: {mails:?}", mails.len());
    }
    for queue in ["ObjectDeadLetters", "FindingDeadLetters", "InvocationDeadLetters"] {
        let dead = cloudvigil.queued(queue)?;
        ensure!(dead.is_empty(), "{queue} is not empty: {dead:?}");
    }
    Ok(())
}

fn send(cloudvigil: &Cloudvigil<'_>, queue: &str, body: &str) -> Result<()> {
    let message = json!({"QueueUrl": cloudvigil.stack.id(queue)?, "MessageBody": body});
    cloudvigil.emulator.root.sqs("SendMessage", &message).map(|_| ())
}

fn invoke(cloudvigil: &Cloudvigil<'_>, function: &str, event: &Value) -> Result<()> {
    let invocation = cloudvigil.invoke(function, event)?;
    ensure!(invocation.error.is_none(), "{function} failed: {} {}", invocation.payload, invocation.log);
    Ok(())
}

/// A brute force as a subscription delivers it
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html#LambdaFunctionExample>).
fn subscription_delivery(attacker: &str) -> Result<Value> {
    let time = recently();
    let events: Vec<Value> = (0..25_u16)
        .map(|number| {
            let message = failed_password(time, attacker, 40_000 + number);
            json!({"id": format!("{number:056}"), "timestamp": time.as_millisecond(), "message": message})
        })
        .collect();
    let data = json!({
        "messageType": "DATA_MESSAGE", "owner": ACCOUNT, "logGroup": "/var/log/auth", "logStream": "bastion",
        "subscriptionFilters": ["all"], "logEvents": events,
    });
    Ok(json!({"awslogs": {"data": BASE64.encode(gzipped(&data.to_string())?)}}))
}
