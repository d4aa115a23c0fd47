//! Failed logins arrive in a subscribed log group. The brute force is mailed once, with its count.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::log_lines::{failed_password, recently};
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::Emulator;
use crate::harness::story::Story;

const GROUP: &str = "/var/log/auth";
const ATTEMPTS: u16 = 25;

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let root = &emulator.root;
    root.logs("CreateLogGroup", &json!({"logGroupName": GROUP}))?;
    root.logs("CreateLogStream", &json!({"logGroupName": GROUP, "logStreamName": "bastion"}))?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[("LogGroup1", GROUP)])?;

    let time = recently();
    let event = |message: String| json!({"timestamp": time.as_millisecond(), "message": message});
    let mut events: Vec<Value> =
        (0..ATTEMPTS).map(|attempt| event(failed_password(time, "198.51.100.23", 40_000 + attempt))).collect();
    // Somebody who mistypes twice is no brute force.
    events.extend((0..2).map(|attempt| event(failed_password(time, "192.0.2.10", 50_000 + attempt))));
    root.logs("PutLogEvents", &json!({"logGroupName": GROUP, "logStreamName": "bastion", "logEvents": events}))?;

    let is_it = |mail: &crate::harness::emulator::Mail| mail.text.contains("198.51.100.23");
    let mail = cloudvigil.mail(Duration::from_secs(30), "the brute force", is_it)?;
    let count = ATTEMPTS.to_string();
    ensure!(mail.subject.contains(&count), "the count ({count}) is missing in the subject: {}", mail.subject);
    cloudvigil.settle()?;
    let mails = cloudvigil.mails(is_it)?;
    ensure!(mails.len() == 1, "mailed {} times, not once: {mails:?}", mails.len());
    let others = cloudvigil.mails(|mail| mail.text.contains("192.0.2.10"))?;
    ensure!(others.is_empty(), "two failed logins were mailed: {others:?}");
    Ok(())
}
