//! Somebody stops the trail, and EventBridge delivers nothing: the poll of the event history, which its schedule starts,
//! finds it all the same, on the third page, between throttled calls, and mails it once.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::calls::{ADDRESS, ago, call};
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::Emulator;
use crate::harness::history_stub::HistoryStub;
use crate::harness::story::Story;

/// Harmless changes that are newer than the one that matters: two full pages, and some.
const NEWER: i64 = 120;

/// The longest that the schedule lets its first poll wait, and the poll takes.
const FIRST_POLL: Duration = Duration::from_mins(3);

pub fn story(story: &Story) -> Result<()> {
    let stopped = ago(30);
    let mut events = vec![call(stopped, "stop", "StopLogging", &json!({"name": "main"}))];
    for number in 0..NEWER {
        events.push(call(ago(5 + number / 10), &format!("harmless-{number}"), "AddTags", &Value::Null));
    }
    let stub = HistoryStub::start(events)?;
    let emulator = Emulator::start(story, &[("AWS_ENDPOINT_URL_CLOUDTRAIL", &stub.endpoint())])?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[("PollSchedule", "rate(1 minute)")])?;
    cloudvigil.disable_rules()?;
    // At a call a second, a first poll over a week takes minutes.
    cloudvigil.set_variable("trail-detector", "LOOKUP_DAYS", "1")?;

    let is_it = |mail: &crate::harness::emulator::Mail| mail.text.contains("StopLogging");
    let mail = cloudvigil.mail(FIRST_POLL, "StopLogging", is_it)?;
    let asked = stub.asked();
    ensure!(asked.throttled > 0 && asked.further_pages > 0, "the stub was asked too little to matter: {asked:?}");
    let minute = stopped.strftime("%Y-%m-%d %H:%M").to_string();
    for (what, expected) in [("who", "mallory"), ("where", ADDRESS), ("when", &minute), ("runbook", "start-logging")] {
        ensure!(mail.text.contains(expected), "{what} ({expected}) is missing in the mail:\n{}", mail.text);
    }
    cloudvigil.poll()?;
    cloudvigil.settle()?;
    let mails = cloudvigil.mails(is_it)?;
    ensure!(mails.len() == 1, "mailed {} times, not once: {mails:?}", mails.len());
    Ok(())
}
