//! Nothing comes by EventBridge, and nobody asks for the event history: the log file that the trail delivers into the log
//! bucket is enough to mail who stopped it, once.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::calls::{ADDRESS, ago, call, log_file_key};
use super::log_lines::gzipped;
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::Emulator;
use crate::harness::story::Story;

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    emulator.root.create_event_bucket("logs")?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[("LogBucket", "logs"), ("LogPrefix1", "AWSLogs/")])?;

    let mut records = vec![call(ago(6), "stop", "StopLogging", &json!({"name": "main"}))];
    for number in 0..50 {
        records.push(call(ago(7), &format!("harmless-{number}"), "AddTags", &Value::Null));
    }
    let key = log_file_key(ago(1), "aB3xY9kLmN0pQrSt");
    let file = gzipped(&json!({"Records": records}).to_string())?;
    // CloudTrail may deliver a file twice.
    for _ in 0..2 {
        emulator.root.put_object("logs", &key, &file)?;
    }
    let mail = cloudvigil.mail(Duration::from_secs(30), "StopLogging", |mail| mail.text.contains("StopLogging"))?;
    for expected in ["mallory", ADDRESS, &format!("s3://logs/{key}")] {
        ensure!(mail.text.contains(expected), "{expected} is missing in the mail:\n{}", mail.text);
    }
    cloudvigil.settle()?;
    let mails = emulator.mails()?;
    ensure!(mails.len() == 1, "mailed {} times, not once: {mails:?}", mails.len());
    ensure!(cloudvigil.queued("ObjectDeadLetters")?.is_empty(), "the log file ended in the dead-letter queue");
    Ok(())
}
