//! The event history, region by region: what happened since the last sweep, whoever delivered it or not.
//!
//! `LookupEvents` lists the newest first, so time is cut into slices of a day, the oldest first, each read to its last
//! page for every question that the rules pose. A region's watermark moves by whole slices: a sweep that runs out of
//! time, or fails, goes on from there. Each sweep starts an hour before the watermark, since events arrive late; an event
//! that comes twice counts once.

use std::time::Duration;

use cloudvigil_aws::Counters;
use cloudvigil_aws::lookup::{LookupQuery, Pace, lookup};
use cloudvigil_core::detect::EventQuery;
use cloudvigil_core::formats;
use cloudvigil_core::pipeline::Entry;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::context::Context;
use crate::handler::{Failed, conclude};

/// The state's partition of the watermarks; the sort key is the region.
const WATERMARKS: &str = "trail-detector#watermark";
const SCHEMA: u32 = 1;
/// How far a sweep reaches back behind its watermark. Events are in the history within about 15 minutes.
const OVERLAP: SignedDuration = SignedDuration::from_hours(1);
/// The longest stretch that is read before the watermark moves.
const SLICE: SignedDuration = SignedDuration::from_hours(24);
/// How long a watermark is kept: longer than the history itself.
const LIFETIME: SignedDuration = SignedDuration::from_hours(100 * 24);
/// How many regions are read at once.
const REGIONS_AT_ONCE: usize = 8;
/// What is kept of the invocation's time to settle what was read and to end in order.
const RESERVE: Duration = Duration::from_secs(15);

#[derive(Debug, Serialize, Deserialize)]
struct Watermark {
    schema: u32,
    /// Everything before this was read to its end.
    until: Timestamp,
}

/// Sweeps the regions, within `left`. Returns what failed; the rest was done.
pub async fn sweep(regions: &[String], left: Duration, context: &Context, counters: &mut Counters) -> Vec<String> {
    let deadline = Instant::now() + left.saturating_sub(RESERVE);
    let pace = Pace::default().deadline(deadline);
    let swept = regions.iter().map(|region| {
        let pace = &pace;
        async move {
            let mut counters = Counters::default();
            let result = sweep_region(region, pace, deadline, context, &mut counters).await;
            (counters, result.err().map(|error| format!("sweep of {region}: {error}")))
        }
    });
    let swept: Vec<_> = futures::stream::iter(swept).buffer_unordered(REGIONS_AT_ONCE).collect().await;
    let mut failures = Vec::new();
    for (counted, failure) in swept {
        *counters += counted;
        failures.extend(failure);
    }
    failures
}

async fn sweep_region(
    region: &str,
    pace: &Pace,
    deadline: Instant,
    context: &Context,
    counters: &mut Counters,
) -> Result<(), Failed> {
    let detector = &context.detector;
    let now = detector.clock.now();
    let first = now - SignedDuration::from_hours(24 * i64::from(context.lookup_days));
    let item = detector.state.get(WATERMARKS, region).await?;
    let watermark: Option<Watermark> = item.as_ref().and_then(|item| serde_json::from_slice(&item.body).ok());
    let mut from = watermark.map_or(first, |watermark| (watermark.until - OVERLAP).max(first));
    let mut version = item.map(|item| item.version);
    let client = detector.clients.cloudtrail_in(region).await;
    while from < now {
        let to = (from + SLICE).min(now);
        for query in detector.catalogue().event_queries() {
            let mut events = Vec::new();
            let looked = lookup(&client, &asked(query), from, to, pace, &mut |event| events.push(event)).await;
            counters.count("LookupPages", looked.pages);
            counters.count("LookupRetries", looked.retries);
            let entries = events.iter().map(|event| Entry { key: None, time: None, bytes: event.event.as_bytes() });
            let source = format!("cloudtrail:LookupEvents:{region}");
            if !events.is_empty() {
                let report = detector.pipeline().entries(&source, formats::by_name("cloudtrail"), entries);
                conclude(report, context, counters).await?;
            }
            match looked.error {
                // The rest is the next sweep's.
                Some(_) if Instant::now() >= deadline => {
                    counters.count("SweepsCutShort", 1);
                    return Ok(());
                }
                Some(error) => return Err(error.into()),
                None => {}
            }
        }
        let body = serde_json::to_vec(&Watermark { schema: SCHEMA, until: to }).unwrap_or_default();
        let expires = now + LIFETIME;
        if !detector.state.put_if(WATERMARKS, region, body, expires, version).await? {
            // Another sweep of this region is under way, and keeps the watermark.
            return Ok(());
        }
        version = detector.state.get(WATERMARKS, region).await?.map(|item| item.version);
        from = to;
    }
    Ok(())
}

fn asked(query: EventQuery) -> LookupQuery {
    match query {
        EventQuery::Source(source) => LookupQuery::EventSource(source),
        EventQuery::Name(name) => LookupQuery::EventName(name),
        EventQuery::Root => LookupQuery::Username("root".to_owned()),
    }
}
