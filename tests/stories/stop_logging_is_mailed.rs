//! Somebody stops the trail. Within ten seconds there is a mail that says who, from where, when, and what to do.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::harness::cloudvigil::{Cloudvigil, RECIPIENT};
use crate::harness::emulator::{ACCOUNT, Emulator};
use crate::harness::story::Story;

const LIMIT: Duration = Duration::from_secs(10);

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[("CreateTrail", "true")])?;
    let mallory = emulator.user("mallory")?.calling_from("203.0.113.9");

    let start = Instant::now();
    mallory.cloudtrail("StopLogging", &json!({"Name": "cloudvigil-trail"}))?;
    let mail = cloudvigil.mail(LIMIT, "StopLogging", |mail| mail.subject.contains("Trail logging stopped"))?;
    eprintln!("StopLogging was mailed after {:.1?}", start.elapsed());

    ensure!(mail.to == [RECIPIENT], "whom it is to: {mail:?}");
    let arn = format!("arn:aws:iam::{ACCOUNT}:user/mallory");
    let event = &emulator.root.cloudtrail(
        "LookupEvents",
        &json!({"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "StopLogging"}]}),
    )?["Events"][0];
    let event: serde_json::Value = serde_json::from_str(event["CloudTrailEvent"].as_str().unwrap_or_default())?;
    // The minute is enough: how the time is written is for the mail to choose.
    let time = event["eventTime"].as_str().unwrap_or_default();
    let (day, minute) = (time.get(..10).unwrap_or("?"), time.get(11..16).unwrap_or("?"));
    for (what, expected) in [("who", arn.as_str()), ("where", "203.0.113.9"), ("day", day), ("minute", minute)] {
        ensure!(mail.text.contains(expected), "{what} ({expected}) is missing in the mail:\n{}", mail.text);
    }
    // The runbook says how to undo it.
    ensure!(mail.text.contains("StartLogging") || mail.text.contains("start-logging"), "no runbook:\n{}", mail.text);
    Ok(())
}
