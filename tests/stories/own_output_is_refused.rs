//! cloudvigil is fed with what it writes and does itself. The template refuses its own log groups; where somebody
//! subscribes one by hand, its events are refused and counted, and nothing follows from them. So are its roles' own
//! calls; tampering with logs in its name is still mailed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::log_lines::{failed_password, gzipped, recently};
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::{ACCOUNT, Emulator, REGION};
use crate::harness::story::Story;

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let own_group = "/cloudvigil/cloudvigil/log-analyzer";
    let refused = Cloudvigil::deploy(story, &emulator, &[("LogGroup1", own_group)]);
    let reason = refused.err().context("the template takes one of cloudvigil's own log groups as a source")?;
    ensure!(format!("{reason:#}").contains("LogGroup1"), "the template refuses something else: {reason:#}");

    let emulator = Emulator::start(story, &[])?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[])?;
    // An attack in cloudvigil's own log, as its findings quote attacks.
    let time = recently();
    let events: Vec<Value> = (0..25_u16)
        .map(|number| {
            let message = failed_password(time, "198.51.100.51", number);
            json!({"id": format!("{number:056}"), "timestamp": time.as_millisecond(), "message": message})
        })
        .collect();
    let data = json!({
        "messageType": "DATA_MESSAGE", "owner": ACCOUNT, "logGroup": own_group, "logStream": "2026/03/01/[$LATEST]1",
        "subscriptionFilters": ["by-hand"], "logEvents": events,
    });
    let delivery = json!({"awslogs": {"data": BASE64.encode(gzipped(&data.to_string())?)}});
    let invocation = cloudvigil.invoke("log-analyzer", &delivery)?;
    ensure!(invocation.error.is_none(), "a refusal is no failure: {} {}", invocation.payload, invocation.log);
    ensure!(refusals(&cloudvigil, "log-analyzer")? == 25, "the refused events were not counted: {}", invocation.log);
    // Telling it again would be the next delivery: the loop ends here.
    let again = cloudvigil.invoke("log-analyzer", &delivery)?;
    ensure!(!again.log.contains("_aws") && !again.log.contains("WARN"), "the loop feeds itself: {}", again.log);

    // The notifier's role creates an access key, and then stops a trail.
    let role = cloudvigil.stack.id("NotifierRole")?;
    let call = |source, name, parameters| {
        let invocation = cloudvigil.invoke("trail-detector", &call_of_role(role, source, name, &parameters))?;
        ensure!(invocation.error.is_none(), "{name} failed: {} {}", invocation.payload, invocation.log);
        Ok(())
    };
    call("iam", "CreateAccessKey", json!({"userName": "somebody"}))?;
    ensure!(refusals(&cloudvigil, "trail-detector")? == 1, "the access key was not refused and counted");
    call("cloudtrail", "StopLogging", json!({"name": "main"}))?;
    cloudvigil.mail(Duration::from_secs(30), "the tampering", |mail| mail.text.contains("StopLogging"))?;
    cloudvigil.settle()?;
    let others = cloudvigil.mails(|mail| !mail.text.contains("StopLogging"))?;
    ensure!(others.is_empty(), "cloudvigil's own output was mailed: {others:?}");
    Ok(())
}

/// What a function counted as refused so far: the metric `Refused` in its log.
fn refusals(cloudvigil: &Cloudvigil<'_>, function: &str) -> Result<u64> {
    let lines = cloudvigil.log(function)?;
    let metrics = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(metrics.filter(|line| line["_aws"].is_object()).filter_map(|line| line["Refused"].as_u64()).sum())
}

/// A call in a function's role, as EventBridge delivers it.
fn call_of_role(role: &str, source: &str, name: &str, parameters: &Value) -> Value {
    let time = recently().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let issuer = json!({
        "type": "Role", "principalId": "AROAEXAMPLENOTIFIER0", "accountId": ACCOUNT, "userName": role,
        "arn": format!("arn:aws:iam::{ACCOUNT}:role/{role}"),
    });
    let user = json!({
        "type": "AssumedRole", "principalId": "AROAEXAMPLENOTIFIER0:cloudvigil-notifier", "accountId": ACCOUNT,
        "arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/cloudvigil-notifier"),
        "accessKeyId": "ASIAEXAMPLENOTIFIER0", "sessionContext": {"sessionIssuer": issuer},
    });
    let detail = json!({
        "eventVersion": "1.11", "userIdentity": user, "eventTime": time,
        "eventSource": format!("{source}.amazonaws.com"), "eventName": name, "awsRegion": REGION,
        "sourceIPAddress": "203.0.113.9", "userAgent": "aws-sdk-rust", "requestParameters": parameters,
        "responseElements": null, "requestID": format!("request-{name}"), "eventID": format!("event-{name}"),
        "readOnly": false, "eventType": "AwsApiCall", "managementEvent": true, "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
    });
    json!({
        "version": "0", "id": format!("envelope-{name}"), "detail-type": "AWS API Call via CloudTrail",
        "source": format!("aws.{source}"), "account": ACCOUNT, "time": time, "region": REGION, "resources": [],
        "detail": detail,
    })
}
