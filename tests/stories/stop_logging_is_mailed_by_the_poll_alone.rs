//! Somebody stops the trail, and EventBridge delivers nothing: the poll of the event history finds it all the same,
//! on the third page, between throttled calls, and mails it once.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::{ACCOUNT, Emulator, REGION};
use crate::harness::history_stub::HistoryStub;
use crate::harness::story::Story;

/// Harmless changes that are newer than the one that matters: two full pages, and some.
const NEWER: i64 = 120;

pub fn story(story: &Story) -> Result<()> {
    let now = Timestamp::try_from(SystemTime::now())?.as_second();
    let mut events = vec![event(now - 600, "StopLogging", &json!({"name": "main"}))?];
    for number in 0..NEWER {
        events.push(event(now - 300 - number, "AddTags", &Value::Null)?);
    }
    let stub = HistoryStub::start(events)?;
    let emulator = Emulator::start(story, &[("AWS_ENDPOINT_URL_CLOUDTRAIL", &stub.endpoint())])?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[])?;
    cloudvigil.disable_rules()?;
    // At a call a second, a first poll over a week takes minutes.
    cloudvigil.set_variable("trail-detector", "LOOKUP_DAYS", "1")?;

    for _ in 0..2 {
        let poll = cloudvigil.invoke("trail-detector", &json!({"task": "poll"}))?;
        ensure!(poll.error.is_none(), "the poll failed: {} {}", poll.payload, poll.log);
    }
    let asked = stub.asked();
    ensure!(asked.throttled > 0 && asked.further_pages > 0, "the stub was asked too little to matter: {asked:?}");
    let is_it = |mail: &crate::harness::emulator::Mail| mail.text.contains("StopLogging");
    let mail = cloudvigil.mail(Duration::from_secs(20), "StopLogging", is_it)?;
    ensure!(mail.text.contains("mallory") && mail.text.contains("203.0.113.9"), "who and where:\n{}", mail.text);
    cloudvigil.settle()?;
    let mails = cloudvigil.mails(is_it)?;
    ensure!(mails.len() == 1, "mailed {} times, not once: {mails:?}", mails.len());
    Ok(())
}

/// A call of CloudTrail as CloudTrail records it.
fn event(seconds: i64, name: &str, parameters: &Value) -> Result<(i64, Value)> {
    let time = Timestamp::from_second(seconds).context("a time of today")?;
    let user = json!({
        "type": "IAMUser", "principalId": "AIDAEXAMPLEMALLORY00", "accountId": ACCOUNT, "userName": "mallory",
        "arn": format!("arn:aws:iam::{ACCOUNT}:user/mallory"), "accessKeyId": "AKIAEXAMPLEMALLORY00",
    });
    let event = json!({
        "eventVersion": "1.11", "userIdentity": user, "eventTime": time.to_string(),
        "eventSource": "cloudtrail.amazonaws.com", "eventName": name, "awsRegion": REGION,
        "sourceIPAddress": "203.0.113.9", "userAgent": "aws-cli/2.31.0", "requestParameters": parameters,
        "responseElements": null, "requestID": format!("req-{seconds}"), "readOnly": false,
        "eventID": format!("00000000-0000-4000-8000-{seconds:012}"), "eventType": "AwsApiCall",
        "managementEvent": true, "recipientAccountId": ACCOUNT, "eventCategory": "Management",
    });
    Ok((seconds, event))
}
