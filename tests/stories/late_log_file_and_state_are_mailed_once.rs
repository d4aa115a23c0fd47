//! Somebody narrows the trail, deletes it and stops Config's recorder, and nothing comes by EventBridge. The trail's log file
//! is the first to tell: each call's mail says what it takes and how to undo it, so that the poll, which sees what they
//! have left, mails nothing of it again, and each call's finding names the state among what saw it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::calls::{ago, log_file_key};
use super::log_lines::gzipped;
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::{ACCOUNT, Emulator, Mail};
use crate::harness::story::Story;

const LIMIT: Duration = Duration::from_secs(30);

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let root = &emulator.root;
    root.create_event_bucket("logs")?;
    let config = |operation: &str, body: &Value| root.json("config", &format!("StarlingDoveService.{operation}"), body);
    let role = format!("arn:aws:iam::{ACCOUNT}:role/config");
    config("PutConfigurationRecorder", &json!({"ConfigurationRecorder": {"name": "default", "roleARN": role}}))?;
    config("PutDeliveryChannel", &json!({"DeliveryChannel": {"name": "default", "s3BucketName": "config-logs"}}))?;
    config("StartConfigurationRecorder", &json!({"ConfigurationRecorderName": "default"}))?;
    let parameters = [
        ("CreateTrail", "true"),
        ("LogBucket", "logs"),
        ("LogPrefix1", "AWSLogs/"),
        // What the story does to the stack is seen too, and holds no mail back for the next summary.
        ("MailsPerRulePerHour", "500"),
        ("MailsPerHour", "1000"),
    ];
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &parameters)?;
    cloudvigil.set_variable("trail-detector", "LOOKUP_DAYS", "1")?;
    // All is known as it was.
    cloudvigil.poll()?;
    cloudvigil.disable_rules()?;
    cloudvigil.enable_rule("LogObjects")?;

    let selectors = json!([{
        "ReadWriteType": "All", "IncludeManagementEvents": true, "ExcludeManagementEventSources": ["kms.amazonaws.com"],
    }]);
    let narrowed = ["no longer recorded", "aws cloudtrail put-event-selectors"];
    let gone = ["cloudvigil-trail is gone", "aws cloudtrail create-trail"];
    let stopped = ["its recorder default is stopped", "aws configservice start-configuration-recorder"];
    for (call, takes, state) in [
        ("PutEventSelectors", narrowed, "cloudtrail:DescribeTrails"),
        ("DeleteTrail", gone, "cloudtrail:DescribeTrails"),
        ("StopConfigurationRecorder", stopped, "detective controls"),
    ] {
        match call {
            "PutEventSelectors" => {
                root.cloudtrail(call, &json!({"TrailName": "cloudvigil-trail", "EventSelectors": selectors}))?
            }
            "DeleteTrail" => root.cloudtrail(call, &json!({"Name": "cloudvigil-trail"}))?,
            _ => config(call, &json!({"ConfigurationRecorderName": "default"}))?,
        };
        // CloudTrail writes the same event into the log file.
        let calls = json!({"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": call}]});
        let calls = root.cloudtrail("LookupEvents", &calls)?;
        let event = calls["Events"][0]["CloudTrailEvent"].as_str().context("the event history has the call")?;
        let event: Value = serde_json::from_str(event)?;
        let key = log_file_key(ago(0), call);
        root.put_object("logs", &key, &gzipped(&json!({"Records": [event]}).to_string())?)?;
        let is_it = |mail: &Mail| takes.iter().all(|words| mail.text.contains(words));
        let mail = cloudvigil.mail(LIMIT, call, is_it)?;
        ensure!(mail.text.contains(&key), "it is not by the log file:\n{}", mail.text);

        cloudvigil.poll()?;
        cloudvigil.settle()?;
        let mails = cloudvigil.mails(is_it)?;
        ensure!(mails.len() == 1, "{call} was mailed {} times, not once: {mails:?}", mails.len());
        let findings = cloudvigil.findings()?;
        let of_call = findings.iter().find(|finding| finding["group"]["eventID"] == event["eventID"]);
        let evidence = of_call.context("there is no finding of the call")?["evidence"].to_string();
        ensure!(evidence.contains(state), "the finding of {call} does not name the state: {evidence}");
    }
    Ok(())
}
