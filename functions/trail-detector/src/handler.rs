//! One invocation: an event from `EventBridge`, or the schedule's poll.
//!
//! An event whose analysis fails is an error, and Lambda repeats it. A poll does all that it can (a region that fails
//! hides no other), and is an error at the end if anything failed, so that the schedule's retries and alarms see it;
//! what it found until then is published, and only what was read to its end is not read again.

use std::time::Duration;

use cloudvigil_aws::regions::enabled_regions;
use cloudvigil_aws::trails::trails;
use cloudvigil_core::correlate::SettleError;
use cloudvigil_core::formats::cloudtrail::CloudTrail;
use cloudvigil_core::pipeline::{Entry, Options, Pipeline, Report};
use cloudvigil_core::ports::PortError;
use cloudvigil_lambda::Counters;
use serde_json::Value;
use tokio::time::Instant;

use crate::aftermath;
use crate::context::Context;
use crate::{delivery, integrity, silence, sweep, trail_status, watched_services};

/// What is kept of the invocation's time to settle what was read and to end in order.
const RESERVE: Duration = Duration::from_secs(15);

/// Why an invocation failed.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The event is none that this function takes.
    #[error("the event is neither CloudTrail's by way of EventBridge (`detail`) nor {{\"task\":\"poll\"}}")]
    Unexpected,
    /// The event's detail is no `CloudTrail` event.
    #[error("the event's detail is no CloudTrail event")]
    NoCloudTrailEvent,
    /// Findings could not be settled.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// AWS could not be asked.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Parts of a poll failed; each was logged by itself.
    #[error("{0} parts of the poll failed; see the log lines before this one. The first was: {1}")]
    Poll(usize, String),
}

/// Handles one event, with `left` until the invocation ends. What was done is counted whether it fails or not.
pub async fn handle(event: Value, left: Duration, context: &Context) -> Result<(), Failed> {
    let mut counters = Counters::default();
    let result = dispatch(&event, left, context, &mut counters).await;
    counters.errors += u64::from(result.is_err());
    counters.emit(&context.detector.function, context.detector.clock.as_ref());
    result
}

async fn dispatch(event: &Value, left: Duration, context: &Context, counters: &mut Counters) -> Result<(), Failed> {
    if event["task"] == "poll" {
        return poll(left, context, counters).await;
    }
    if !event["detail"].is_object() {
        return Err(Failed::Unexpected);
    }
    let bytes = event.to_string().into_bytes();
    let entry = Entry { key: None, time: None, bytes: &bytes };
    let source = came_by(event);
    let report = pipeline(context).entries(&source, Some(&CloudTrail), std::iter::once(entry));
    // An event that the pipeline left in its envelope is none of CloudTrail's.
    if !event["detail"]["eventName"].is_string() {
        return Err(Failed::NoCloudTrailEvent);
    }
    let (call, matched) = (&event["detail"], !report.matches.is_empty());
    let target = aftermath::target(call);
    conclude(report, context, counters).await?;
    // Nobody waits for the note to be told; if it fails, the event is repeated.
    if matched {
        delivery::note(call, context).await?;
    }
    if let Some(target) = target {
        Box::pin(aftermath::look(target, context, counters)).await;
    }
    Ok(())
}

async fn poll(left: Duration, context: &Context, counters: &mut Counters) -> Result<(), Failed> {
    // The regions and the trails take of the same time.
    let deadline = Instant::now() + left.saturating_sub(RESERVE);
    let mut failures = Vec::new();
    let regions = enabled_regions(&context.detector.clients).await?;
    failures.extend(regions.error.as_ref().map(ToString::to_string));
    let seen = trails(&context.detector.clients, &regions.names).await;
    // Boxed, for all that it asks makes it a large future.
    failures.extend(Box::pin(trail_status::check(&seen, regions.error.is_none(), context, counters)).await);
    failures.extend(Box::pin(watched_services::check(&seen.trails, &regions.names, context, counters)).await);
    failures.extend(silence::check(&seen.trails, context, counters).await);
    // The history can wait for the next poll; so can digests, but they are few.
    let share = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 3;
    failures.extend(integrity::verify(&seen.trails, &regions.names, share, context, counters).await);
    failures.extend(sweep::sweep(&regions.names, &seen.trails, deadline, context, counters).await);
    for failure in &failures {
        tracing::error!(failure, "a part of the poll failed");
    }
    match failures.first() {
        None => Ok(()),
        Some(first) => Err(Failed::Poll(failures.len(), first.clone())),
    }
}

/// The way by which an event came, as the finding names it. Another region's came by way of that region's bus.
fn came_by(event: &Value) -> String {
    match event["region"].as_str().filter(|region| !region.is_empty()) {
        Some(region) => format!("EventBridge of {region}"),
        None => "EventBridge".to_owned(),
    }
}

/// The pipeline for events, which also tells which of them matched.
pub fn pipeline(context: &Context) -> Pipeline<'_> {
    let detector = &context.detector;
    Pipeline::new(detector.catalogue(), Options { matches: true, ..detector.options.clone() })
}

/// Settles what a report contributes; what was wrong with its source is logged and counted.
pub async fn conclude(report: Report, context: &Context, counters: &mut Counters) -> Result<(), Failed> {
    let source = report.stats.source.clone();
    for damage in context.detector.conclude(report, counters).await? {
        tracing::error!(source, %damage, "a source was damaged");
        counters.errors += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
