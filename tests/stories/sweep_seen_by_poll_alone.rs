//! Somebody disables the rules of EventBridge and deletes a trail, while another one logs: the poll sees it, and says
//! besides that EventBridge has not brought it. It does not say so of what happened before the stack was there, nor of what
//! may still come.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::{ACCOUNT, Emulator, Mail, REGION};
use crate::harness::history_stub::HistoryStub;
use crate::harness::story::Story;

pub fn story(story: &Story) -> Result<()> {
    let now = Timestamp::try_from(SystemTime::now())?;
    let ago = |minutes: i64| now - SignedDuration::from_mins(minutes);
    // One from before the stack was there, one that EventBridge should have brought, and one that it still may.
    let events = [(300, "before"), (40, "absent"), (10, "recent")].map(|(minutes, id)| event(ago(minutes), id));
    let stub = HistoryStub::start(events.into())?;
    let emulator = Emulator::start(story, &[("AWS_ENDPOINT_URL_CLOUDTRAIL", &stub.endpoint())])?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[])?;
    cloudvigil.disable_rules()?;
    cloudvigil.set_variable("trail-detector", "LOOKUP_DAYS", "1")?;
    // As if the first poll had been three hours ago.
    let since = json!({"schema": 1, "since": ago(180).to_string(), "last": ago(5).to_string()});
    let expires = (now + SignedDuration::from_hours(24)).as_second();
    let item = json!({
        "pk": {"S": "trail-detector#delivering"}, "sk": {"S": REGION}, "version": {"N": "1"},
        "ttl": {"N": expires.to_string()}, "body": {"B": STANDARD.encode(since.to_string())},
    });
    let table = cloudvigil.stack.id("StateTable")?;
    emulator.root.json("dynamodb", "DynamoDB_20120810.PutItem", &json!({"TableName": table, "Item": item}))?;

    for _ in 0..2 {
        let poll = cloudvigil.invoke("trail-detector", &json!({"task": "poll"}))?;
        ensure!(poll.error.is_none(), "the poll failed: {} {}", poll.payload, poll.log);
    }
    let is_it = |mail: &Mail| mail.text.contains("event history alone");
    let mail = cloudvigil.mail(Duration::from_secs(20), "seen by the poll alone", is_it)?;
    ensure!(mail.text.contains("absent"), "which event:\n{}", mail.text);
    ensure!(!["event/before", "event/recent"].iter().any(|one| mail.text.contains(one)), "too much:\n{}", mail.text);
    cloudvigil.settle()?;
    let mails = cloudvigil.mails(is_it)?;
    ensure!(mails.len() == 1, "mailed {} times, not once: {mails:?}", mails.len());
    let log = cloudvigil.log("trail-detector")?;
    let mut summary = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let summary = summary.rfind(|line| line["message"] == "the event history was swept");
    let summary = summary.context("the sweep says what it did")?;
    ensure!(summary["regions_failed"] == "{}" && summary["events_seen_by_poll_alone"] == 1, "{summary}");
    Ok(())
}

/// A call that a rule looks for, as CloudTrail records it.
fn event(time: Timestamp, id: &str) -> (i64, Value) {
    let user = json!({
        "type": "IAMUser", "principalId": "AIDAEXAMPLEMALLORY00", "accountId": ACCOUNT, "userName": "mallory",
        "arn": format!("arn:aws:iam::{ACCOUNT}:user/mallory"), "accessKeyId": "AKIAEXAMPLEMALLORY00",
    });
    let seconds = time.as_second();
    let event = json!({
        "eventVersion": "1.11", "userIdentity": user, "eventSource": "cloudtrail.amazonaws.com",
        "eventTime": Timestamp::from_second(seconds).unwrap_or(time).to_string(), "eventName": "DeleteTrail",
        "awsRegion": REGION, "sourceIPAddress": "203.0.113.9", "userAgent": "aws-cli/2.31.0",
        "requestParameters": {"name": "old"}, "responseElements": null, "requestID": format!("req-{id}"),
        "eventID": id, "readOnly": false, "eventType": "AwsApiCall", "managementEvent": true,
        "recipientAccountId": ACCOUNT, "eventCategory": "Management",
    });
    (seconds, event)
}
