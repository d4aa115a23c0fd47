//! Nothing comes by EventBridge, and nobody asks for the event history: the log group that the trail writes to is enough to
//! mail who stopped it, once.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::calls::{ADDRESS, ago, call};
use crate::harness::clock::now;
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::{ACCOUNT, Emulator, REGION};
use crate::harness::story::Story;

const GROUP: &str = "aws-cloudtrail-logs";

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let root = &emulator.root;
    let stream = format!("{ACCOUNT}_CloudTrail_{REGION}");
    root.logs("CreateLogGroup", &json!({"logGroupName": GROUP}))?;
    root.logs("CreateLogStream", &json!({"logGroupName": GROUP, "logStreamName": stream}))?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[("LogGroup1", GROUP)])?;

    let mut records = vec![call(ago(3), "harmless", "AddTags", &Value::Null)];
    records.push(call(ago(2), "stop", "StopLogging", &json!({"name": "main"})));
    let now = now().as_millisecond();
    let events: Vec<Value> =
        records.iter().map(|record| json!({"timestamp": now, "message": record.to_string()})).collect();
    // CloudTrail writes what it is not sure to have written again, as other log events.
    for _ in 0..2 {
        root.logs("PutLogEvents", &json!({"logGroupName": GROUP, "logStreamName": stream, "logEvents": events}))?;
    }
    let mail = cloudvigil.mail(Duration::from_secs(30), "StopLogging", |mail| mail.text.contains("StopLogging"))?;
    for expected in ["mallory", ADDRESS, &format!("log group {GROUP}, stream {stream}")] {
        ensure!(mail.text.contains(expected), "{expected} is missing in the mail:\n{}", mail.text);
    }
    cloudvigil.settle()?;
    let mails = emulator.mails()?;
    ensure!(mails.len() == 1, "mailed {} times, not once: {mails:?}", mails.len());
    Ok(())
}
