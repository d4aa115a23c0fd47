//! One invocation: a batch of findings from the queue, or a scheduled task.
//!
//! A finding that was not dealt with goes back to the queue, and after the queue's last try to its dead-letter queue:
//! what may succeed later (throttling, another worker's lease) and what never will (no finding, an unknown schema)
//! alike, so that nothing is lost in silence. A task that failed in part fails after it has done the rest.

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use cloudvigil_core::finding::Message;
use cloudvigil_lambda::Counters;
use cloudvigil_notify::{Outcome, TaskReport};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::context::Context;

/// Why an invocation, or a part of it, failed. No text of a message's body stands in it.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The event is none that this function takes.
    #[error("the event is neither a batch of queue messages (`Records`) nor a task (`task`: `roll_up` or `digest`)")]
    Unexpected,
    /// A queue message holds no finding.
    #[error("the message holds no finding: {0} at line {1}, column {2}")]
    NoFinding(&'static str, usize, usize),
    /// A finding was not dealt with.
    #[error(transparent)]
    Notify(#[from] cloudvigil_notify::Error),
    /// Some of a task's mails were not sent.
    #[error("{failed} of the task's mails were not sent ({sent} were); its next run sends them")]
    Task {
        /// How many.
        failed: usize,
        /// How many were sent.
        sent: u32,
    },
}

/// Handles one event. What was done is counted whether it fails or not.
pub async fn handle(event: Value, context: &Context) -> Result<Value, Failed> {
    let mut counters = Counters::default();
    let result = dispatch(event, context, &mut counters).await;
    counters.errors += u64::from(result.is_err());
    counters.emit(&context.function, context.clock.as_ref());
    result
}

async fn dispatch(event: Value, context: &Context, counters: &mut Counters) -> Result<Value, Failed> {
    match event.get("task").and_then(Value::as_str) {
        Some("roll_up") => return conclude("Summaries", &context.deliverer.roll_up().await, counters),
        Some("digest") => return conclude("Digests", &context.deliverer.digest().await, counters),
        _ => {}
    }
    if event.get("Records").is_none() {
        return Err(Failed::Unexpected);
    }
    let batch: SqsEvent = serde_json::from_value(event).map_err(|_| Failed::Unexpected)?;
    let mut response = SqsBatchResponse::default();
    for message in batch.records {
        counters.records_in += 1;
        if let Err(error) = deliver(&message, context, counters).await {
            let id = message.message_id.unwrap_or_default();
            tracing::error!(message_id = id, error = %error, "a finding was not dealt with");
            counters.errors += 1;
            response.add_failure(id);
        }
    }
    Ok(json!(response))
}

async fn deliver(message: &SqsMessage, context: &Context, counters: &mut Counters) -> Result<(), Failed> {
    let message = match parse(message.body.as_deref().unwrap_or_default()) {
        Ok(message) => message,
        Err(error) => {
            counters.unparsed += 1;
            return Err(error);
        }
    };
    counters.parsed += 1;
    let outcome = context.deliverer.deliver(&message).await?;
    let name = match outcome {
        Outcome::Sent => "Mails",
        Outcome::InSummary => "KeptForSummary",
        Outcome::InDigest => "KeptForDigest",
        Outcome::Known => "AlreadyKnown",
    };
    counters.count(name, 1);
    Ok(())
}

/// Takes the finding out of a message's body: bare, or in SNS's envelope
/// (<https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>).
fn parse(body: &str) -> Result<Message, Failed> {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(rename = "Type")]
        kind: String,
        #[serde(rename = "Message")]
        message: String,
    }
    let text = match serde_json::from_str::<Envelope>(body) {
        Ok(envelope) if envelope.kind == "Notification" => envelope.message,
        _ => body.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| {
        // The error's own text may quote the message.
        let kind = match error.classify() {
            serde_json::error::Category::Data => "other JSON than a finding's",
            serde_json::error::Category::Io | serde_json::error::Category::Syntax => "no JSON",
            serde_json::error::Category::Eof => "JSON that ends early",
        };
        Failed::NoFinding(kind, error.line(), error.column())
    })
}

fn conclude(name: &str, report: &TaskReport, counters: &mut Counters) -> Result<Value, Failed> {
    for error in &report.failed {
        tracing::error!(error = %error, "a mail of the task was not sent");
    }
    counters.count(name, report.sent.into());
    if report.failed.is_empty() {
        Ok(json!({"sent": report.sent, "held": report.held}))
    } else {
        Err(Failed::Task { failed: report.failed.len(), sent: report.sent })
    }
}

#[cfg(test)]
mod tests;
