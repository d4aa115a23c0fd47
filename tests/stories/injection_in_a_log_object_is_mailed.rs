//! An access log arrives in the log bucket, under a key that needs every kind of encoding. The SQL injection in it is
//! mailed; the bystander's requests are not.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::log_lines::{access_log_with_injection, gzipped};
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::Emulator;
use crate::harness::story::Story;

const KEY: &str = "web/2026 03/접속 기록+ä&=%20.log.gz";

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    emulator.root.create_event_bucket("logs")?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[("LogBucket", "logs"), ("LogPrefix1", "web/")])?;

    let log = access_log_with_injection("198.51.100.7", "192.0.2.10");
    emulator.root.put_object("logs", KEY, &gzipped(&log)?)?;
    let mail = cloudvigil.mail(Duration::from_secs(30), "the injection", |mail| mail.text.contains("198.51.100.7"))?;
    ensure!(mail.subject.to_lowercase().contains("sql"), "the subject says nothing of SQL: {}", mail.subject);
    ensure!(mail.text.contains("접속 기록+ä&=%20.log.gz"), "the object is missing in the mail:\n{}", mail.text);

    cloudvigil.settle()?;
    let others = cloudvigil.mails(|mail| mail.text.contains("192.0.2.10"))?;
    ensure!(others.is_empty(), "ordinary requests were mailed: {others:?}");
    ensure!(cloudvigil.queued("ObjectDeadLetters")?.is_empty(), "the object ended in the dead-letter queue");
    Ok(())
}
