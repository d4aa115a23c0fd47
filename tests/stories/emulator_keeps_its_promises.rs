//! What the other stories take for granted of the emulator, and above all of `emulator/shim.py`: a trail in a
//! template, calls recorded as CloudTrail records them, and published to EventBridge while a trail logs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::harness::aws::Aws;
use crate::harness::emulator::{ACCOUNT, Emulator};
use crate::harness::poll::poll_until;
use crate::harness::sigv4::Credentials;
use crate::harness::stack::Stack;
use crate::harness::story::Story;

/// A trail that logs, and every published call in a queue.
const TEMPLATE: &str = r"
Resources:
  Trail:
    Type: AWS::CloudTrail::Trail
    Properties: {TrailName: main, S3BucketName: trail-logs, IsLogging: true, IsMultiRegionTrail: true}
  Calls: {Type: AWS::SQS::Queue}
  CallsPolicy:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Calls]
      PolicyDocument:
        Version: '2012-10-17'
        Statement:
          - {Effect: Allow, Principal: {Service: events.amazonaws.com}, Action: sqs:SendMessage, Resource: !GetAtt Calls.Arn}
  Published:
    Type: AWS::Events::Rule
    Properties:
      EventPattern: {detail-type: [AWS API Call via CloudTrail]}
      Targets: [{Id: calls, Arn: !GetAtt Calls.Arn}]
";

const LIMIT: Duration = Duration::from_secs(10);

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let root = &emulator.root;
    root.create_bucket("trail-logs")?;
    let stack = Stack::create(root, "promises", TEMPLATE, &[])?;
    let calls = stack.id("Calls")?;

    // A call is published with who, where and what, in CloudTrail's words.
    let mallory = emulator.user("mallory")?.calling_from("203.0.113.9");
    mallory.query("ec2", "CreateSecurityGroup", &[("GroupName", "open"), ("GroupDescription", "open")])?;
    let event = published(root, calls, "CreateSecurityGroup")?;
    ensure!(event["source"] == "aws.ec2", "the event's source: {event}");
    let detail = &event["detail"];
    ensure!(detail["userIdentity"]["type"] == "IAMUser", "who called: {detail}");
    ensure!(detail["userIdentity"]["arn"] == format!("arn:aws:iam::{ACCOUNT}:user/mallory"), "who called: {detail}");
    ensure!(detail["sourceIPAddress"] == "203.0.113.9", "where the call came from: {detail}");
    ensure!(detail["requestParameters"]["groupName"] == "open", "its parameters: {detail}");
    ensure!(detail["managementEvent"] == true && detail["eventCategory"] == "Management", "its category: {detail}");

    // The call that stops the last trail is published; what follows is in the event history alone.
    mallory.cloudtrail("StopLogging", &json!({"Name": "main"}))?;
    let event = published(root, calls, "StopLogging")?;
    ensure!(event["detail"]["requestParameters"]["name"] == "main", "its parameters: {event}");
    mallory.query("iam", "CreateUser", &[("UserName", "unseen")])?;
    let history = lookup(root, "CreateUser")?;
    let unseen = history.iter().any(|event| event["requestParameters"]["userName"] == "unseen");
    ensure!(unseen, "a call while no trail logs is missing in the event history: {history:?}");

    // A denied call is recorded too, without its parameters; and IAM is enforced at all.
    let nobody = key_of_a_user_without_rights(root)?;
    ensure!(nobody.cloudtrail("DeleteTrail", &json!({"Name": "main"})).is_err(), "IAM is not enforced");
    let denied = lookup(root, "DeleteTrail")?;
    let denied = denied.first().context("a denied call is missing in the event history")?;
    ensure!(denied["errorCode"] == "AccessDenied" && denied["requestParameters"].is_null(), "denied: {denied}");

    // Once a trail logs again, calls are published again. Nothing of the time between was.
    mallory.cloudtrail("StartLogging", &json!({"Name": "main"}))?;
    let between = drain_until(root, calls, "StartLogging")?;
    ensure!(between.is_empty(), "published while no trail logged: {between:?}");
    let status = root.cloudtrail("GetTrailStatus", &json!({"Name": "main"}))?;
    ensure!(status["IsLogging"] == true, "the trail's status: {status}");
    Ok(())
}

/// The published event of that name; others before it are passed over.
fn published(root: &Aws, queue: &str, name: &str) -> Result<Value> {
    poll_until(LIMIT, &format!("{name} is published"), || {
        Ok(receive(root, queue)?.into_iter().find(|event| event["detail"]["eventName"] == name))
    })
}

/// The names of the events before the one of that name.
fn drain_until(root: &Aws, queue: &str, name: &str) -> Result<Vec<String>> {
    let mut before = Vec::new();
    poll_until(LIMIT, &format!("{name} is published"), || {
        for event in receive(root, queue)? {
            match event["detail"]["eventName"].as_str().unwrap_or_default() {
                found if found == name => return Ok(Some(())),
                other => before.push(other.to_owned()),
            }
        }
        Ok(None)
    })?;
    Ok(before)
}

fn receive(root: &Aws, queue: &str) -> Result<Vec<Value>> {
    let received = root.sqs("ReceiveMessage", &json!({"QueueUrl": queue, "MaxNumberOfMessages": 1}))?;
    let mut events = Vec::new();
    for message in received["Messages"].as_array().into_iter().flatten() {
        root.sqs("DeleteMessage", &json!({"QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"]}))?;
        events.push(serde_json::from_str(message["Body"].as_str().unwrap_or_default()).context("read an event")?);
    }
    Ok(events)
}

/// The calls of that name in the event history, newest first.
fn lookup(root: &Aws, name: &str) -> Result<Vec<Value>> {
    let by_name = json!([{"AttributeKey": "EventName", "AttributeValue": name}]);
    let found = root.cloudtrail("LookupEvents", &json!({"LookupAttributes": by_name}))?;
    let events = found["Events"].as_array().into_iter().flatten();
    events
        .map(|event| {
            let text = event["CloudTrailEvent"].as_str().unwrap_or_default();
            serde_json::from_str(text).with_context(|| format!("read an event of the history: {event}"))
        })
        .collect()
}

fn key_of_a_user_without_rights(root: &Aws) -> Result<Aws> {
    root.query("iam", "CreateUser", &[("UserName", "nobody")])?;
    let key = root.query("iam", "CreateAccessKey", &[("UserName", "nobody")])?;
    let text = |tag| crate::harness::xml::text(&key, tag);
    Ok(root.with_credentials(Credentials { access_key: text("AccessKeyId"), secret: text("SecretAccessKey") }))
}
