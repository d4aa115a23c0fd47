//! Somebody stops the trail, and every way tells of it: EventBridge, the event history, the trail's log file, its log group,
//! and the trail's own state. There is one mail, which says what is no longer recorded and how to undo it, and one finding,
//! which names all that saw it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::calls::{ADDRESS, ago, log_file_key};
use super::log_lines::gzipped;
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::{Emulator, REGION};
use crate::harness::poll::poll_until;
use crate::harness::story::Story;

const GROUP: &str = "aws-cloudtrail-logs";
const LIMIT: Duration = Duration::from_secs(30);

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let root = &emulator.root;
    root.create_event_bucket("logs")?;
    root.logs("CreateLogGroup", &json!({"logGroupName": GROUP}))?;
    root.logs("CreateLogStream", &json!({"logGroupName": GROUP, "logStreamName": "trail"}))?;
    let cloudvigil = Cloudvigil::deploy(
        story,
        &emulator,
        &[("CreateTrail", "true"), ("LogBucket", "logs"), ("LogPrefix1", "AWSLogs/"), ("LogGroup1", GROUP)],
    )?;
    cloudvigil.set_variable("trail-detector", "LOOKUP_DAYS", "1")?;
    // The trail is known as it was.
    cloudvigil.poll()?;

    let mallory = emulator.user("mallory")?.calling_from(ADDRESS);
    mallory.cloudtrail("StopLogging", &json!({"Name": "cloudvigil-trail"}))?;
    let mail = cloudvigil.mail(LIMIT, "the call", |mail| mail.subject.contains("Trail logging stopped"))?;
    for expected in ["mallory", ADDRESS, "are not recorded, in all regions", "aws cloudtrail start-logging --region"] {
        ensure!(mail.text.contains(expected), "{expected} is missing in the mail:\n{}", mail.text);
    }

    // CloudTrail writes the same event everywhere.
    let stops = json!({"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "StopLogging"}]});
    let stops = root.cloudtrail("LookupEvents", &stops)?;
    let event = stops["Events"][0]["CloudTrailEvent"].as_str().context("the event history has the call")?.to_owned();
    let event: Value = serde_json::from_str(&event)?;
    let key = log_file_key(ago(0), "aB3xY9kLmN0pQrSt");
    root.put_object("logs", &key, &gzipped(&json!({"Records": [event]}).to_string())?)?;
    let log_event = json!({"timestamp": ago(0).as_millisecond(), "message": event.to_string()});
    root.logs("PutLogEvents", &json!({"logGroupName": GROUP, "logStreamName": "trail", "logEvents": [log_event]}))?;
    cloudvigil.poll()?;

    let expected: BTreeSet<String> = [
        format!("EventBridge of {REGION}"),
        format!("CloudTrail event history of {REGION}"),
        format!("s3://logs/{key}"),
        format!("log group {GROUP}, stream trail"),
        "cloudtrail:GetTrailStatus".to_owned(),
        "the trail as it was last seen".to_owned(),
    ]
    .into();
    let id = &event["eventID"];
    let finding = poll_until(LIMIT, "the finding names all that saw the call", || {
        let findings = cloudvigil.findings()?;
        let of_call = findings.into_iter().find(|finding| finding["group"]["eventID"] == *id);
        let of_call = of_call.context("there is no finding of the call")?;
        Ok(Some(of_call).filter(|finding| ways(finding) == expected))
    })?;
    ensure!(finding["count"] == 1 && finding["revision"] == 1, "one record, however often it was seen: {finding}");

    cloudvigil.settle()?;
    // That the stack was deployed, and a function changed for this story, is seen too.
    let mails = cloudvigil.mails(|mail| mail.subject.contains("] Trail ") || mail.text.contains("does not log"))?;
    ensure!(mails.len() == 1, "mailed {} times, not once: {mails:?}", mails.len());
    Ok(())
}

/// All that saw what a finding rests on.
fn ways(finding: &Value) -> BTreeSet<String> {
    let entries = finding["evidence"].as_array().into_iter().flatten();
    let ways = entries.flat_map(|entry| entry["also_in"].as_array().into_iter().flatten().chain([&entry["source"]]));
    ways.filter_map(|way| way.as_str().map(str::to_owned)).collect()
}
