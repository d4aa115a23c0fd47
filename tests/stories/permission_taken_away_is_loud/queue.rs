//! The two functions that live on queues. A message that was not dealt with stays, and comes again.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::table::Trial;
use super::{BUCKET, LIMIT, Trials, is_error, names};
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::{ACCOUNT, REGION};
use crate::harness::poll::poll_until;
use crate::harness::tap::{Copy, Tap};
use crate::stories::log_lines::{access_log_with_injection, gzipped};

/// A queue and where it puts what failed too often.
const OBJECTS: [&str; 2] = ["ObjectsQueue", "ObjectDeadLetters"];
const FINDINGS: [&str; 2] = ["FindingsQueue", "FindingDeadLetters"];

/// The log-analyzer.
pub fn log_analyzer(trials: &Trials<'_>) -> Result<()> {
    let mut number = 0;
    trials.each(|action, trial| {
        number += 1;
        let key = format!("without/{number}.log.gz");
        let log = gzipped(&access_log_with_injection(&format!("198.51.100.{number}"), "192.0.2.10"))?;
        let version = trials.cloudvigil.emulator.root.put_object(BUCKET, &key, &log)?;
        let version = match trial {
            Trial::Object => None,
            Trial::Version => Some(version.context("the bucket keeps no versions")?),
            other => bail!("the log-analyzer has no trial {other:?}"),
        };
        let found = trials.counted_so_far("Findings")?;
        message_is_kept(trials, action, OBJECTS, &created(&key, version.as_deref()), &key)?;
        poll_until(LIMIT, "the object is analysed after all", || {
            let analysed = !lies_in(trials.cloudvigil, OBJECTS, &key)? && trials.counted_so_far("Findings")? > found;
            Ok(analysed.then_some(()))
        })
    })
}

/// The notifier. `template` is a finding on its way, as [`finding`] gives it.
pub fn notifier(trials: &Trials<'_>, template: &Value) -> Result<()> {
    let mut number = 0;
    trials.each(|action, trial| {
        number += 1;
        match trial {
            Trial::Finding => {
                let address = format!("203.0.113.{number}");
                let body = another(template, &address, number)?;
                message_is_kept(trials, action, FINDINGS, &body, &address)?;
                trials.cloudvigil.mail(LIMIT, &address, |mail| mail.text.contains(&address))?;
                poll_until(LIMIT, "the finding is dealt with", || {
                    Ok((!lies_in(trials.cloudvigil, FINDINGS, &address)?).then_some(()))
                })
            }
            Trial::RollUp => {
                let roll_up = json!({"task": "roll_up"});
                trials.fails(action, &roll_up)?;
                trials.succeeds(&roll_up).map(|_| ())
            }
            Trial::Start => trials.starts_without_configuration(action, &json!({"task": "roll_up"})),
            other => bail!("the notifier has no trial {other:?}"),
        }
    })
}

/// Sends a message while the function lacks `action`: the log and the count of errors say so, and the message, known by
/// `mark`, is still there.
fn message_is_kept(trials: &Trials<'_>, action: &str, queues: [&str; 2], body: &str, mark: &str) -> Result<()> {
    let cloudvigil = trials.cloudvigil;
    let errors = trials.counted_so_far("Errors")?;
    trials.role.without(action, || {
        let url = cloudvigil.stack.id(queues[0])?;
        let sent = cloudvigil.emulator.root.sqs("SendMessage", &json!({"QueueUrl": url, "MessageBody": body}))?;
        let id = super::text(&sent["MessageId"], "the message's id")?;
        poll_until(LIMIT, "the log says why the message was not dealt with", || {
            let lines = cloudvigil.log(trials.function)?;
            let told = lines.iter().any(|line| is_error(line) && line.contains(id) && names(line, action));
            Ok(told.then_some(()))
        })
    })?;
    ensure!(trials.counted_so_far("Errors")? > errors, "the error was not counted");
    ensure!(lies_in(cloudvigil, queues, mark)?, "the message is gone");
    Ok(())
}

fn lies_in(cloudvigil: &Cloudvigil<'_>, queues: [&str; 2], mark: &str) -> Result<bool> {
    for queue in queues {
        if cloudvigil.queued(queue)?.iter().any(|message| message.body.contains(mark)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A bucket's event as EventBridge sends it
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>).
fn created(key: &str, version: Option<&str>) -> String {
    let mut object = json!({"key": key, "size": 1, "etag": "0", "sequencer": "0"});
    if let Some(version) = version {
        object["version-id"] = json!(version);
    }
    let detail = json!({
        "version": "0", "bucket": {"name": BUCKET}, "object": object, "request-id": "0", "requester": ACCOUNT,
        "source-ip-address": "203.0.113.9", "reason": "PutObject",
    });
    json!({
        "version": "0", "id": key, "detail-type": "Object Created", "source": "aws.s3", "account": ACCOUNT,
        "time": "2026-03-01T10:00:00Z", "region": REGION, "resources": [format!("arn:aws:s3:::{BUCKET}")],
        "detail": detail,
    })
    .to_string()
}

/// The address that [`finding`]'s finding is about.
const FOUND: &str = "198.51.100.200";

/// A finding of the log-analyzer on its way to the notifier.
pub fn finding(cloudvigil: &Cloudvigil<'_>) -> Result<Value> {
    fn is_it(copy: &Copy) -> bool {
        matches!(copy, Copy::Finding(body) if body.contains(FOUND))
    }
    let tap = Tap::open(cloudvigil)?;
    let root = &cloudvigil.emulator.root;
    root.put_object(BUCKET, "template.log.gz", &gzipped(&access_log_with_injection(FOUND, "192.0.2.10"))?)?;
    let message =
        json!({"QueueUrl": cloudvigil.stack.id(OBJECTS[0])?, "MessageBody": created("template.log.gz", None)});
    root.sqs("SendMessage", &message)?;
    let found = tap.copies(cloudvigil, &[is_it])?.into_iter().find(is_it);
    let Some(Copy::Finding(body)) = found else { bail!("no finding came") };
    serde_json::from_str(&body).context("read a finding")
}

/// The same finding about another address, with an id of its own.
fn another(template: &Value, address: &str, number: u32) -> Result<String> {
    let message = super::text(&template["Message"], "the envelope's message")?.replace(FOUND, address);
    let mut message: Value = serde_json::from_str(&message).context("read the finding")?;
    let id = super::text(&message["finding"]["id"], "the finding's id")?;
    let kept = id.len().saturating_sub(4);
    message["finding"]["id"] = json!(format!("{}{number:04}", &id[..kept]));
    let mut envelope = template.clone();
    envelope["Message"] = json!(message.to_string());
    Ok(envelope.to_string())
}
