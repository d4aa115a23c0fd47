//! cloudvigil is fed with what it writes and does itself. The template refuses its own log groups; where somebody
//! subscribes one by hand, its events are refused and counted, and nothing follows from them. So are objects under a
//! prefix of its own in a bucket that it watches, and its roles' own calls; tampering with logs in its name is still
//! mailed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::log_lines::{access_log_with_injection, failed_password, gzipped, recently};
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::{ACCOUNT, Emulator, REGION};
use crate::harness::poll::poll_until;
use crate::harness::story::Story;

const LIMIT: Duration = Duration::from_secs(30);
/// How long nothing is written where nothing feeds itself.
const QUIET: Duration = Duration::from_secs(1);
/// Lines of the attack.
const ATTEMPTS: u16 = 25;

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let own_group = "/cloudvigil/cloudvigil/log-analyzer";
    let refused = Cloudvigil::deploy(story, &emulator, &[("LogGroup1", own_group)]);
    let reason = refused.err().context("the template takes one of cloudvigil's own log groups as a source")?;
    ensure!(format!("{reason:#}").contains("LogGroup1"), "the template refuses something else: {reason:#}");

    let emulator = Emulator::start(story, &[])?;
    let root = &emulator.root;
    root.create_event_bucket("logs")?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[("LogBucket", "logs")])?;
    // Somebody subscribes it by hand, and there is an attack in it, as findings quote attacks.
    let function = root.rest("lambda", "GET", "/2015-03-31/functions/cloudvigil-log-analyzer", &Value::Null)?;
    let destination = &function["Configuration"]["FunctionArn"];
    let by_hand = json!({
        "logGroupName": own_group, "filterName": "by-hand", "filterPattern": "", "destinationArn": destination,
    });
    root.logs("PutSubscriptionFilter", &by_hand)?;
    root.logs("CreateLogStream", &json!({"logGroupName": own_group, "logStreamName": "by-hand"}))?;
    let time = recently();
    let attempts: Vec<Value> = (0..ATTEMPTS)
        .map(
            |port| json!({"timestamp": time.as_millisecond(), "message": failed_password(time, "198.51.100.51", port)}),
        )
        .collect();
    let attack = json!({"logGroupName": own_group, "logStreamName": "by-hand", "logEvents": attempts});
    root.logs("PutLogEvents", &attack)?;
    poll_until(LIMIT, "the refused events are counted", || {
        Ok((refusals(&cloudvigil, "log-analyzer")? >= u64::from(ATTEMPTS)).then_some(()))
    })?;
    // That it refused them is told in its log, and so the next delivery. There the loop ends.
    let (mut lines, mut since) = (0, Instant::now());
    poll_until(LIMIT, "the log is quiet", || {
        let now = cloudvigil.log("log-analyzer")?.len();
        if now != lines {
            (lines, since) = (now, Instant::now());
        }
        Ok((since.elapsed() > QUIET).then_some(()))
    })?;
    let written = lines - usize::from(ATTEMPTS);
    ensure!(written <= 4, "the loop fed itself for a while: {:?}", cloudvigil.log("log-analyzer")?);
    // What came back meanwhile is counted with the next thing that is done.
    poll_until(LIMIT, "what came back is counted", || {
        let invocation = cloudvigil.invoke("log-analyzer", &delivery_of_another_group()?)?;
        ensure!(invocation.error.is_none(), "a delivery failed: {} {}", invocation.payload, invocation.log);
        Ok((refusals(&cloudvigil, "log-analyzer")? > u64::from(ATTEMPTS)).then_some(()))
    })?;

    // An attack lies where it would write itself, in the bucket that it watches; the template names no such place so far.
    root.logs("DeleteSubscriptionFilter", &json!({"logGroupName": own_group, "filterName": "by-hand"}))?;
    cloudvigil.settle()?;
    cloudvigil.set_variable("log-analyzer", "OWN_PREFIXES", "logs/cloudvigil/")?;
    let before = refusals(&cloudvigil, "log-analyzer")?;
    let attack = gzipped(&access_log_with_injection("198.51.100.52", "192.0.2.10"))?;
    root.put_object("logs", "cloudvigil/findings.log.gz", &attack)?;
    poll_until(LIMIT, "the object of its own is counted", || {
        Ok((refusals(&cloudvigil, "log-analyzer")? > before).then_some(()))
    })?;
    cloudvigil.settle()?;
    let refused = refusals(&cloudvigil, "log-analyzer")? - before;
    ensure!(refused == 1, "one object was refused {refused} times");

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

/// A line that means nothing to any rule.
fn delivery_of_another_group() -> Result<Value> {
    let event = json!({"id": "0".repeat(56), "timestamp": recently().as_millisecond(), "message": "INFO ready"});
    let data = json!({
        "messageType": "DATA_MESSAGE", "owner": ACCOUNT, "logGroup": "/apps/shop", "logStream": "one",
        "subscriptionFilters": ["all"], "logEvents": [event],
    });
    Ok(json!({"awslogs": {"data": BASE64.encode(gzipped(&data.to_string())?)}}))
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
