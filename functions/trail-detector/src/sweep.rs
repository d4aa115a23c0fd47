//! The event history, region by region: what happened since the last sweep, whoever delivered it or not.
//!
//! `LookupEvents` lists the newest first, so time is cut into slices of a day, the oldest first, each read to its last
//! page for every question that the rules pose. A region's watermark moves by whole slices: a sweep that runs out of
//! time, or fails, goes on from there. Each sweep starts an hour before the watermark, since events arrive late; an event
//! that comes twice counts once.

use cloudvigil_aws::lookup::{Pace, lookup};
use cloudvigil_core::formats;
use cloudvigil_core::pipeline::Entry;
use cloudvigil_core::ports::PortResult;
use cloudvigil_lambda::Counters;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::context::{Context, HISTORY_DAYS};
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
/// How far back the history goes: what lies before it cannot be looked up any more.
const HISTORY: SignedDuration = SignedDuration::from_hours(24 * HISTORY_DAYS as i64);

#[derive(Debug, Serialize, Deserialize)]
struct Watermark {
    schema: u32,
    /// Everything before this was read to its end.
    until: Timestamp,
}

/// Sweeps the regions, until `deadline`. Returns what failed; the rest was done.
pub async fn sweep(regions: &[String], deadline: Instant, context: &Context, counters: &mut Counters) -> Vec<String> {
    let pace = Pace::default().deadline(deadline);
    let mut failures = Vec::new();
    let mut starts = Vec::new();
    for region in regions {
        match start(region, context).await {
            Ok((start, damage)) => {
                failures.extend(damage);
                starts.push((start, region));
            }
            Err(error) => failures.push(format!("sweep of {region}: {error}")),
        }
    }
    // Who waits longest comes first, so that a sweep that is cut short leaves out another region each time.
    starts.sort_unstable_by_key(|(start, _)| start.from);
    let swept = starts.into_iter().map(|(start, region)| {
        let pace = &pace;
        async move {
            let mut counters = Counters::default();
            let result = sweep_region(region, start, pace, context, &mut counters).await;
            (counters, result.err().map(|error| format!("sweep of {region}: {error}")))
        }
    });
    let swept: Vec<_> = futures::stream::iter(swept).buffer_unordered(REGIONS_AT_ONCE).collect().await;
    for (counted, failure) in swept {
        *counters += counted;
        failures.extend(failure);
    }
    failures
}

/// Where a region's sweep starts, and the version of the watermark that says so.
struct Start {
    from: Timestamp,
    version: Option<u64>,
}

/// Reads a region's watermark. An unreadable one is a failure that is told, and the region is swept as if for the first
/// time, which replaces it.
async fn start(region: &str, context: &Context) -> PortResult<(Start, Option<String>)> {
    let item = context.detector.state.get(WATERMARKS, region).await?;
    let now = context.detector.clock.now();
    let back = |by: SignedDuration| now.saturating_sub(by).unwrap_or(Timestamp::MIN);
    let first = back(SignedDuration::from_hours(24 * i64::from(context.lookup_days)));
    let Some(item) = item else { return Ok((Start { from: first, version: None }, None)) };
    let read = serde_json::from_slice::<Watermark>(&item.body).map_err(|error| error.to_string());
    let read = read.and_then(|watermark| match watermark.schema {
        SCHEMA => Ok(watermark.until),
        other => Err(format!("its schema is {other}; this version reads {SCHEMA}")),
    });
    let (from, damage) = match read {
        Ok(until) => (until.saturating_sub(OVERLAP).unwrap_or(Timestamp::MIN).max(back(HISTORY)), None),
        Err(reason) => {
            let days = context.lookup_days;
            (first, Some(format!("the watermark of {region} is unreadable, so {days} days are read again: {reason}")))
        }
    };
    Ok((Start { from, version: Some(item.version) }, damage))
}

async fn sweep_region(
    region: &str,
    Start { mut from, mut version }: Start,
    pace: &Pace,
    context: &Context,
    counters: &mut Counters,
) -> Result<(), Failed> {
    let detector = &context.detector;
    let now = detector.clock.now();
    let client = detector.clients.cloudtrail_in(region).await;
    while from < now {
        let to = from.saturating_add(SLICE).unwrap_or(Timestamp::MAX).min(now);
        for query in detector.catalogue().event_queries(|_| true) {
            let mut events = Vec::new();
            let looked = lookup(&client, &query.into(), from, to, pace, &mut |event| events.push(event)).await;
            counters.count("LookupPages", looked.pages);
            counters.count("LookupRetries", looked.retries);
            counters.count("LookupIncomplete", looked.incomplete);
            let entries = events.iter().map(|event| Entry { key: None, time: None, bytes: event.event.as_bytes() });
            let source = format!("cloudtrail:LookupEvents:{region}");
            if !events.is_empty() {
                let report = detector.pipeline().entries(&source, formats::by_name("cloudtrail"), entries);
                conclude(report, context, counters).await?;
            }
            match looked.error {
                // The rest is the next sweep's.
                Some(_) if looked.cut_short => {
                    counters.count("SweepsCutShort", 1);
                    return Ok(());
                }
                Some(error) => return Err(error.into()),
                None => {}
            }
        }
        let body = serde_json::to_vec(&Watermark { schema: SCHEMA, until: to }).unwrap_or_default();
        let expires = now.saturating_add(LIFETIME).unwrap_or(Timestamp::MAX);
        if !detector.state.put_if(WATERMARKS, region, body, expires, version).await? {
            // Another sweep of this region is under way, and keeps the watermark.
            return Ok(());
        }
        version = detector.state.get(WATERMARKS, region).await?.map(|item| item.version);
        from = to;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cloudvigil_aws::Clients;
    use cloudvigil_core::ports::Clock;
    use cloudvigil_lambda::Detector;
    use cloudvigil_local::{Collected, EmbeddedState};

    use super::*;

    struct At(&'static str);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            self.0.parse().unwrap()
        }
    }

    /// Where a sweep on 31 March 2026 starts that finds this in the state.
    async fn started(watermark: Option<&str>) -> (String, Option<String>) {
        let clock: Arc<dyn Clock> = Arc::new(At("2026-03-31T12:00:00Z"));
        let state = Arc::new(EmbeddedState::in_memory(Arc::clone(&clock)).unwrap());
        let detector = Detector::new(Arc::new(Clients::new()), state, Arc::new(Collected::new()), clock);
        let context = Context::for_test(detector);
        if let Some(body) = watermark {
            let body = body.as_bytes().to_vec();
            context.detector.state.put(WATERMARKS, "eu-west-1", body, Timestamp::MAX).await.unwrap();
        }
        let (start, damage) = start("eu-west-1", &context).await.unwrap();
        assert_eq!(start.version.is_some(), watermark.is_some());
        (start.from.to_string(), damage)
    }

    #[tokio::test]
    async fn a_region_that_was_not_swept_for_long_is_read_from_its_watermark() {
        assert_eq!(started(None).await, ("2026-03-24T12:00:00Z".to_owned(), None));
        for (until, from) in [
            ("2026-03-31T11:00:00Z", "2026-03-31T10:00:00Z"),
            // Longer ago than the first look back, and still within the history.
            ("2026-03-01T11:00:00Z", "2026-03-01T10:00:00Z"),
            // Older than the history.
            ("2025-01-01T00:00:00Z", "2025-12-31T12:00:00Z"),
            ("-009999-01-02T01:59:59Z", "2025-12-31T12:00:00Z"),
        ] {
            let watermark = format!(r#"{{"schema":1,"until":"{until}"}}"#);
            assert_eq!(started(Some(&watermark)).await, (from.to_owned(), None), "{until}");
        }
    }

    #[tokio::test]
    async fn an_unreadable_watermark_is_told_and_the_region_is_read_as_if_for_the_first_time() {
        for watermark in ["", "{}", r#"{"schema":2,"until":"2026-03-31T11:00:00Z"}"#] {
            let (from, damage) = started(Some(watermark)).await;
            assert_eq!(from, "2026-03-24T12:00:00Z");
            assert!(damage.is_some_and(|damage| damage.contains("eu-west-1")), "{watermark}");
        }
    }
}
