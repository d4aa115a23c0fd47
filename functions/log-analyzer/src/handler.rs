//! One invocation: a batch of queue messages, or a delivery of log events.
//!
//! A message whose objects were all analysed to their end is done. One that failed goes back to the queue, and after the
//! queue's last try to its dead-letter queue: what may succeed later (throttling, a broken connection) and what never
//! will (no S3 event, a damaged object) alike, so that nothing is lost in silence. Findings made before the damage are
//! kept. A delivery of log events fails as a whole, and Lambda repeats it.

use aws_lambda_events::event::cloudwatch_logs::LogsEvent;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use cloudvigil_core::correlate::SettleError;
use cloudvigil_core::pipeline::{Damage, Pipeline, Report};
use cloudvigil_core::ports::{ObjectId, PortError};
use cloudvigil_core::silence::Source;
use cloudvigil_lambda::Counters;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::context::Context;
use crate::message::{self, NotAnEvent};
use crate::subscription::{self, Delivery};

/// Why an invocation, or a part of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The event is none that this function takes.
    #[error(
        "the event is neither a batch of queue messages (`Records`) nor a log subscription's delivery (`awslogs`): {0}"
    )]
    Unexpected(String),
    /// A queue message names no object.
    #[error(transparent)]
    Message(#[from] NotAnEvent),
    /// An object could not be read.
    #[error(transparent)]
    Object(#[from] PortError),
    /// An object was not analysed to its end.
    #[error("{source_name}: {damage}")]
    Damaged {
        /// The object.
        source_name: String,
        /// What is wrong with it.
        damage: String,
    },
    /// Findings could not be settled.
    #[error(transparent)]
    Settle(#[from] SettleError),
}

/// Handles one event. What was done is counted whether it fails or not.
pub async fn handle(event: Value, context: &Context) -> Result<Value, Failed> {
    let mut counters = Counters::default();
    let result = dispatch(event, context, &mut counters).await;
    counters.errors += u64::from(result.is_err());
    // Whatever is written here comes back if the function's own log group is subscribed to it. A delivery of nothing
    // else is therefore told at once and then once in a while: that ends the loop.
    let own = counters == Counters { refused: counters.refused, ..Counters::default() };
    let now = context.detector.clock.now();
    counters.refused = context.refused.told(counters.refused, own, now);
    if own && counters.refused == 0 {
        return result;
    }
    if counters.refused > 0 {
        tracing::warn!(
            refused = counters.refused,
            "cloudvigil is fed with what it writes itself; end that subscription"
        );
    }
    counters.emit(&context.detector.function, context.detector.clock.as_ref());
    result
}

async fn dispatch(event: Value, context: &Context, counters: &mut Counters) -> Result<Value, Failed> {
    let unexpected = |error: serde_json::Error| Failed::Unexpected(error.to_string());
    if event.get("awslogs").is_some() {
        // The payload's own reader borrows from the text.
        let event: LogsEvent = serde_json::from_str(&event.to_string()).map_err(unexpected)?;
        match subscription::analyse(&event.aws_logs.data, context) {
            Delivery::Analysed(report) => {
                if let Some((source, at)) = subscription::heard(&event.aws_logs.data) {
                    hear(&source, at, context).await;
                }
                conclude(*report, context, counters).await?;
            }
            Delivery::Own(events) => counters.refused += events,
            Delivery::Control => {}
        }
        return Ok(Value::Null);
    }
    if event.get("Records").is_none() {
        return Err(Failed::Unexpected("it has neither".to_owned()));
    }
    let batch: SqsEvent = serde_json::from_value(event).map_err(unexpected)?;
    let mut response = SqsBatchResponse::default();
    for message in batch.records {
        let id = message.message_id.clone().unwrap_or_default();
        if let Err(error) = take(&message, context, counters).await {
            tracing::error!(message_id = id, error = %error, "a message was not worked off");
            counters.errors += 1;
            response.add_failure(id);
        }
    }
    Ok(json!(response))
}

/// Analyses the objects that a message names: all of them, whatever becomes of one.
async fn take(message: &SqsMessage, context: &Context, counters: &mut Counters) -> Result<(), Failed> {
    let mut failed = None;
    for named in message::objects(message.body.as_deref().unwrap_or_default())? {
        let outcome = match named {
            Ok(id) => analyse(&id, context, counters).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = outcome
            && let Some(earlier) = failed.replace(error)
        {
            tracing::error!(error = %earlier, "an object was not analysed");
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn analyse(id: &ObjectId, context: &Context, counters: &mut Counters) -> Result<(), Failed> {
    let place = format!("{}/{}", id.bucket, id.key);
    if context.own_prefixes.iter().any(|own| place.starts_with(own.as_str())) {
        counters.refused += 1;
        return Ok(());
    }
    // The console makes a folder by an empty object of its name.
    if id.key.ends_with('/') {
        counters.count("Folders", 1);
        return Ok(());
    }
    let report =
        Pipeline::new(context.detector.catalogue(), context.options()).object(context.objects.as_ref(), id).await?;
    hear(&Source::of_object(&id.bucket, &id.key), context.detector.clock.now(), context).await;
    conclude(report, context, counters).await
}

/// Notes that a source was heard. If that fails, the records themselves are worth more: it is logged, and the next object
/// or delivery says it again.
async fn hear(source: &Source, at: Timestamp, context: &Context) {
    let detector = &context.detector;
    if let Err(error) = context.ears.hear(source, at, detector.state.as_ref(), detector.clock.now()).await {
        tracing::warn!(%source, %error, "it could not be noted that a source was heard");
    }
}

/// Settles what a report contributes, then says what was wrong with its source.
async fn conclude(report: Report, context: &Context, counters: &mut Counters) -> Result<(), Failed> {
    let source_name = report.stats.source.clone();
    for damage in context.detector.conclude(report, counters).await? {
        match damage {
            // An empty object says nothing, and will not say more later.
            Damage::NoRecord => counters.count("EmptyObjects", 1),
            damage => return Err(Failed::Damaged { source_name, damage: damage.to_string() }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
