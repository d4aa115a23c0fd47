//! Copies of what goes through the stack, to be delivered again: the bucket's events, the calls that CloudTrail
//! publishes, and the findings on their way to the notifier.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::cloudvigil::Cloudvigil;
use super::poll::poll_until;
use super::stack::Stack;

const TEMPLATE: &str = r"
Parameters: {Topic: {Type: String}}
Resources:
  Copies: {Type: AWS::SQS::Queue}
  CopiesPolicy:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Copies]
      PolicyDocument:
        Version: '2012-10-17'
        Statement:
          - {Effect: Allow, Principal: {Service: [events.amazonaws.com, sns.amazonaws.com]}, Action: sqs:SendMessage, Resource: !GetAtt Copies.Arn}
  Events:
    Type: AWS::Events::Rule
    Properties:
      EventPattern: {source: [{prefix: aws.}]}
      Targets: [{Id: copies, Arn: !GetAtt Copies.Arn}]
  Findings:
    Type: AWS::SNS::Subscription
    Properties: {TopicArn: !Ref Topic, Protocol: sqs, Endpoint: !GetAtt Copies.Arn}
";

/// Copies of what goes through a stack.
pub struct Tap {
    queue: String,
}

/// One copy.
#[derive(Debug, Clone)]
pub enum Copy {
    /// A bucket's event, as EventBridge sends it to the queue of objects.
    Object(String),
    /// An API call, as EventBridge sends it to the trail-detector.
    Call(Value),
    /// A finding in SNS's envelope, as it lies in the queue of findings.
    Finding(String),
}

impl Tap {
    /// Taps a stack. What went through before is not seen.
    pub fn open(cloudvigil: &Cloudvigil<'_>) -> Result<Self> {
        let topic = cloudvigil.stack.id("FindingsTopic")?;
        let stack = Stack::create(&cloudvigil.emulator.root, "tap", TEMPLATE, &[("Topic", topic)])?;
        Ok(Self { queue: stack.id("Copies")?.to_owned() })
    }

    /// Everything up to now: it is read until each of `wanted` has been seen.
    pub fn copies(&self, cloudvigil: &Cloudvigil<'_>, wanted: &[fn(&Copy) -> bool]) -> Result<Vec<Copy>> {
        let root = &cloudvigil.emulator.root;
        let (mut copies, mut seen) = (Vec::new(), BTreeSet::new());
        poll_until(Duration::from_secs(20), "copies of what goes through the stack", || {
            let received = root.sqs("ReceiveMessage", &json!({"QueueUrl": self.queue, "MaxNumberOfMessages": 10}))?;
            for message in received["Messages"].as_array().into_iter().flatten() {
                if !seen.insert(message["MessageId"].to_string()) {
                    continue;
                }
                let body = message["Body"].as_str().unwrap_or_default().to_owned();
                let value: Value = serde_json::from_str(&body).with_context(|| format!("no JSON: {body}"))?;
                copies.push(match value["detail-type"].as_str() {
                    Some("Object Created") => Copy::Object(body),
                    Some(_) => Copy::Call(value),
                    None => Copy::Finding(body),
                });
            }
            Ok(wanted.iter().all(|wanted| copies.iter().any(wanted)).then_some(()))
        })?;
        Ok(copies)
    }

    /// When the first copy with this text in it was sent, to the millisecond.
    pub fn sent(&self, cloudvigil: &Cloudvigil<'_>, text: &str) -> Result<Timestamp> {
        let receive = json!({"QueueUrl": self.queue, "MaxNumberOfMessages": 10, "AttributeNames": ["SentTimestamp"]});
        poll_until(Duration::from_secs(20), &format!("a copy with {text} in it"), || {
            let received = cloudvigil.emulator.root.sqs("ReceiveMessage", &receive)?;
            let messages = received["Messages"].as_array().into_iter().flatten();
            let mut fitting =
                messages.filter(|message| message["Body"].as_str().is_some_and(|body| body.contains(text)));
            let Some(message) = fitting.next() else { return Ok(None) };
            let millis = message["Attributes"]["SentTimestamp"].as_str().unwrap_or_default();
            let millis = millis.parse().with_context(|| format!("no time: {message}"))?;
            Ok(Some(Timestamp::from_millisecond(millis)?))
        })
    }
}
