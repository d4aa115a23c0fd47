//! The trails' status: a trail that does not log is found although no event ever says so.

use cloudvigil_aws::Counters;
use cloudvigil_aws::trails::{Trail, trails};
use cloudvigil_core::formats;
use cloudvigil_core::pipeline::Entry;
use cloudvigil_core::ports::{Failure, PortResult};
use jiff::{SignedDuration, Timestamp};

use crate::context::Context;
use crate::handler::{Failed, conclude};

/// The state's partition of when a trail was first seen as it is, where AWS does not say; the sort key is its ARN.
const FIRST_SEEN: &str = "trail-detector#first-seen";
/// How long that is remembered after it was last asked for.
const LIFETIME: SignedDuration = SignedDuration::from_hours(100 * 24);

/// Checks every trail that records in one of `regions`. Returns what failed; the rest was done.
pub async fn check(regions: &[String], context: &Context, counters: &mut Counters) -> Vec<String> {
    let (trails, errors) = trails(&context.detector.clients, regions).await;
    let mut failures: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let mut lines = Vec::new();
    for trail in &trails {
        // An organization's trail belongs to another account, whose members may not ask for its status.
        if let Err(error) = &trail.status
            && !(error.failure == Failure::Denied && trail.organization)
        {
            failures.push(format!("{}: {error}", trail.arn));
        }
        match since(trail, context).await {
            Ok(since) => lines.push(trail.to_inventory(Some(since)).to_string()),
            Err(error) => failures.push(error.to_string()),
        }
    }
    counters.count("Trails", lines.len() as u64);
    if let Err(error) = analyse(&lines, context, counters).await {
        failures.push(error.to_string());
    }
    failures
}

async fn analyse(lines: &[String], context: &Context, counters: &mut Counters) -> Result<(), Failed> {
    if lines.is_empty() {
        return Ok(());
    }
    let entries = lines.iter().map(|line| Entry { key: None, time: None, bytes: line.as_bytes() });
    let report =
        context.detector.pipeline().entries("cloudtrail:GetTrailStatus", formats::by_name("inventory"), entries);
    conclude(report, context, counters).await
}

/// Since when a trail is as it is: the same from poll to poll, so that one stop is one finding.
async fn since(trail: &Trail, context: &Context) -> PortResult<Timestamp> {
    if let Some(since) = trail.since() {
        return Ok(since);
    }
    let now = context.detector.clock.now();
    let expires = now + LIFETIME;
    if context.detector.state.put_if(FIRST_SEEN, &trail.arn, now.to_string().into_bytes(), expires, None).await? {
        return Ok(now);
    }
    let seen = context.detector.state.get(FIRST_SEEN, &trail.arn).await?;
    let seen = seen.and_then(|item| String::from_utf8(item.body).ok()?.parse().ok());
    Ok(seen.unwrap_or(now))
}
