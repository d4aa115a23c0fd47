//! The trails' state: one that does not log, or that records less than it did, is found although no event ever says so.
//!
//! Each poll looks at all trails; a call that tampers with one makes this look at the trails of its region at once, see
//! [`crate::aftermath`].

use std::collections::{BTreeMap, BTreeSet};

use cloudvigil_aws::trails::{CouldNotLook, Seen, Trail, TrailStatus, bucket, trails};
use cloudvigil_controls::snapshots::daily;
use cloudvigil_core::formats::inventory::Inventory;
use cloudvigil_core::pipeline::Entry;
use cloudvigil_core::ports::{Failure, PortResult};
use cloudvigil_lambda::Counters;
use cloudvigil_lambda::shown::Shown;
use cloudvigil_trail::changes::explain_stopped;
use cloudvigil_trail::gaps::gaps;
use cloudvigil_trail::snapshots;
use cloudvigil_trail::state::TrailState;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::context::Context;
use crate::handler::{Failed, conclude};
use crate::reasons;

/// The state's partition of when something was first seen as it is, where AWS does not say; the sort key is its ARN.
const FIRST_SEEN: &str = "trail-detector#first-seen";
const SCHEMA: u32 = 1;
/// How long that is remembered after it was last seen.
const LIFETIME: SignedDuration = SignedDuration::from_hours(100 * 24);
/// What shows whether a trail logs, and what it is set to do.
const STATUS: &str = "cloudtrail:GetTrailStatus";
const CONFIGURATION: &str = "cloudtrail:DescribeTrails";

/// Buckets by name, as trails' lines have them.
type Buckets = BTreeMap<String, Value>;

#[derive(Serialize, Deserialize)]
struct FirstSeen {
    schema: u32,
    since: Timestamp,
    /// How it was then, and is still.
    condition: Value,
}

/// Checks whether each trail is alive, records what it did, and whether something is recorded by none: that only if
/// `everywhere` was looked. Returns what failed; the rest was done.
pub async fn check(seen: &Seen, everywhere: bool, context: &Context, counters: &mut Counters) -> Vec<String> {
    let mut failures: Vec<String> = seen.errors.iter().map(|(_, error)| error.to_string()).collect();
    counters.count("RegionsNotLooked", seen.errors.len() as u64);
    let (buckets, failed) = buckets(&seen.trails, context, counters).await;
    failures.extend(failed);
    failures.extend(compare(seen, &buckets, true, context, counters).await);
    let (mut lines, mut stopped) = (Vec::new(), Vec::new());
    for trail in &seen.trails {
        let hidden = failed_looks(trail).filter(|look| trail.is_foreseen(look)).count();
        counters.count("TrailLooksRefused", hidden as u64);
        failures.extend(unforeseen(trail).map(|(region, look)| format!("{} in {region}: {look}", trail.arn)));
        match (own_line(trail, context).await, region_lines(trail, context).await) {
            (Ok(own), Ok(regions)) => {
                match Shown::of_line(own.to_string(), context.detector.clock.now()) {
                    Some(shown) => stopped.push(shown),
                    None => lines.push(own.to_string()),
                }
                lines.extend(regions);
            }
            (Err(error), _) | (_, Err(error)) => failures.push(error.to_string()),
        }
    }
    counters.count("Trails", seen.trails.len() as u64);
    // A region that did not tell its trails may be the home of one that reaches all of them.
    if everywhere && seen.errors.is_empty() {
        match without_trail(seen, context).await {
            Ok(line) => lines.extend(line),
            Err(error) => failures.push(error.to_string()),
        }
    }
    for told in [
        analyse(STATUS, &lines, context, counters).await,
        Box::pin(reasons::tell(STATUS, stopped, true, context, counters)).await,
    ] {
        failures.extend(told.err().map(|error| error.to_string()));
    }
    failures
}

/// A trail's own line.
async fn own_line(trail: &Trail, context: &Context) -> PortResult<Value> {
    let since = since(trail, context).await?;
    let dead = |status: &TrailStatus| !status.is_logging || status.latest_delivery_error.is_some();
    let is_dead = trail.status.as_ref().is_ok_and(dead);
    let since = if is_dead { daily(since, context.detector.clock.now()) } else { since };
    let mut line = trail.to_inventory(Some(since));
    explain_stopped(&mut line);
    Ok(line)
}

/// What other regions say of a trail.
async fn region_lines(trail: &Trail, context: &Context) -> PortResult<Vec<String>> {
    let seen = |(region, status): (&String, &Result<TrailStatus, CouldNotLook>)| {
        Some((region.clone(), status.as_ref().ok()?.latest_delivery_error.clone()?.into()))
    };
    let failing: serde_json::Map<String, Value> = trail.elsewhere.iter().filter_map(seen).collect();
    // That nothing fails is kept too: the next failure is a new one.
    let since = first_seen(&format!("{}#regions", trail.arn), failing.into(), context).await?;
    let since = daily(since, context.detector.clock.now());
    Ok(trail.regions_to_inventory(Some(since)).map(|line| line.to_string()).collect())
}

/// Looks at the trails of a region after a call that has changed one, and at their buckets if one of those was changed.
/// Returns what failed.
pub async fn look_at_once(region: &str, with_buckets: bool, context: &Context, counters: &mut Counters) -> Vec<String> {
    let mut seen = trails(&context.detector.clients, &[region.to_owned()]).await;
    // Of others only shadows show here.
    seen.trails.retain(|trail| trail.home_region == region);
    let mut failures: Vec<String> = seen.errors.iter().map(|(_, error)| error.to_string()).collect();
    let mut of_trails = Buckets::new();
    if with_buckets {
        let (found, failed) = buckets(&seen.trails, context, counters).await;
        of_trails = found;
        failures.extend(failed);
    }
    failures.extend(compare(&seen, &of_trails, false, context, counters).await);
    for trail in seen.trails.iter().filter(|trail| trail.status.as_ref().is_ok_and(|status| !status.is_logging)) {
        let told = match own_line(trail, context).await {
            Ok(line) => match Shown::of_line(line.to_string(), context.detector.clock.now()) {
                Some(shown) => reasons::tell(STATUS, vec![shown], false, context, counters).await,
                None => analyse(STATUS, &[line.to_string()], context, counters).await,
            },
            Err(error) => Err(error.into()),
        };
        failures.extend(told.err().map(|error| error.to_string()));
    }
    failures
}

/// The buckets that trails deliver to, by name, as members of the trails' lines; and what failed. A bucket that may not be
/// looked at, as it is another account's, is told as a part of the inventory that is not known.
async fn buckets(trails: &[Trail], context: &Context, counters: &mut Counters) -> (Buckets, Vec<String>) {
    let (mut found, mut lines, mut failures) = (Buckets::new(), Vec::new(), Vec::new());
    let names: BTreeSet<&str> = trails.iter().filter_map(|trail| trail.s3_bucket.as_deref()).collect();
    for name in names {
        let looks: Vec<CouldNotLook> = match Box::pin(bucket(&context.detector.clients, name)).await {
            Ok(Some(bucket)) => {
                found.insert(name.to_owned(), bucket.to_inventory());
                bucket.failed_looks().cloned().collect()
            }
            Ok(None) => {
                found.insert(name.to_owned(), json!({"gone": true}));
                Vec::new()
            }
            Err(look) => vec![look],
        };
        for look in looks {
            counters.count("TrailBucketsNotLooked", 1);
            if look.is_transient() {
                failures.push(format!("bucket {name}: {look}: {}", look.message));
                continue;
            }
            match not_looked(name, &look, context).await {
                Ok(line) => lines.push(line),
                Err(error) => failures.push(error.to_string()),
            }
        }
    }
    let told = analyse("trail buckets", &lines, context, counters).await;
    failures.extend(told.err().map(|error| error.to_string()));
    (found, failures)
}

/// A look at a bucket that failed, as the inventory's line of a collection.
async fn not_looked(bucket: &str, look: &CouldNotLook, context: &Context) -> PortResult<String> {
    let resource = format!("arn:aws:s3:::{bucket}#{}", look.action);
    let line = |since: Option<Timestamp>| {
        json!({
            "schema": 1, "service": "s3", "type": "collection", "resource": resource, "since": since,
            "action": look.action, "code": look.code, "affected": 1, "could_not_look": look.to_string(),
        })
    };
    let since = first_seen(&resource, line(None), context).await?;
    Ok(line(Some(since)).to_string())
}

/// Compares trails with what they were. Returns what failed.
async fn compare(
    seen: &Seen,
    buckets: &Buckets,
    asks: bool,
    context: &Context,
    counters: &mut Counters,
) -> Vec<String> {
    let detector = &context.detector;
    let (state, now) = (detector.state.as_ref(), detector.clock.now());
    let mut failures = Vec::new();
    let compared = match snapshots::compare(&states(seen, buckets), &seen.regions, state, now).await {
        Ok(compared) => compared,
        Err(error) => return vec![error.to_string()],
    };
    failures.extend(compared.errors.iter().cloned());
    counters.count("TrailChanges", compared.changes.len() as u64);
    let (mut lines, mut shown) = (Vec::new(), Vec::new());
    for change in &compared.changes {
        match Shown::of_line(change.to_line(), now) {
            Some(change) => shown.push(change),
            None => lines.push(change.to_line()),
        }
    }
    let told = match analyse(CONFIGURATION, &lines, context, counters).await {
        Ok(()) => Box::pin(reasons::tell(CONFIGURATION, shown, asks, context, counters)).await,
        Err(error) => Err(error),
    };
    match told {
        // What was found is safe.
        Ok(()) => failures.extend(compared.commit(state).await.err().map(|error| error.to_string())),
        Err(error) => failures.push(error.to_string()),
    }
    failures
}

fn states(seen: &Seen, buckets: &Buckets) -> Vec<TrailState> {
    let state = |trail: &Trail| {
        let mut line = trail.to_inventory(None);
        if let Some(bucket) = trail.s3_bucket.as_ref().and_then(|name| buckets.get(name)) {
            line["bucket"] = bucket.clone();
        }
        TrailState::of_line(&line)
    };
    seen.trails.iter().filter_map(state).collect()
}

/// The account's own line, if it has no trail, or regions without one.
async fn without_trail(seen: &Seen, context: &Context) -> PortResult<Option<String>> {
    let gaps = gaps(&states(seen, &Buckets::new()), &seen.regions);
    if !gaps.no_trail && gaps.regions.is_empty() {
        return Ok(None);
    }
    let clients = &context.detector.clients;
    let (account, region) = (clients.account_id().await?, clients.region().await?);
    let line = |since| gaps.to_inventory(&account, &region, &seen.regions, since);
    let Some(condition) = line(None) else { return Ok(None) };
    let since = first_seen(&account, condition, context).await?;
    Ok(line(Some(since)).map(|line| line.to_string()))
}

/// The looks at a trail that failed.
fn failed_looks(trail: &Trail) -> impl Iterator<Item = &CouldNotLook> {
    trail.failed_looks().map(|(_, look)| look)
}

/// Those that should not have.
fn unforeseen(trail: &Trail) -> impl Iterator<Item = (&str, &CouldNotLook)> {
    trail.failed_looks().filter(|(_, look)| !trail.is_foreseen(look))
}

/// Analyses inventory lines, and settles what they contribute.
pub async fn analyse(source: &str, lines: &[String], context: &Context, counters: &mut Counters) -> Result<(), Failed> {
    if lines.is_empty() {
        return Ok(());
    }
    let entries = lines.iter().map(|line| Entry { key: None, time: None, bytes: line.as_bytes() });
    let report = context.detector.pipeline().entries(source, Some(&Inventory), entries);
    conclude(report, context, counters).await
}

/// Since when a trail is as it is: the same from poll to poll, so that one stop is one finding, and another after the
/// trail has changed, so that a stop after a recovery is a finding of its own.
async fn since(trail: &Trail, context: &Context) -> PortResult<Timestamp> {
    if failed_looks(trail).any(|look| look.failure == Failure::Transient) {
        // How it is could not be seen this time, which says nothing of a change.
        let seen = read(&trail.arn, context).await?.map(|seen| seen.since);
        return Ok(trail.since().or(seen).unwrap_or_else(|| context.detector.clock.now()));
    }
    let first = first_seen(&trail.arn, condition(trail), context).await?;
    Ok(trail.since().unwrap_or(first))
}

async fn read(resource: &str, context: &Context) -> PortResult<Option<FirstSeen>> {
    let seen = context.detector.state.get(FIRST_SEEN, resource).await?;
    Ok(seen.and_then(|item| serde_json::from_slice(&item.body).ok()))
}

/// Since when something is in a condition, which is kept for the next poll.
pub async fn first_seen(resource: &str, condition: Value, context: &Context) -> PortResult<Timestamp> {
    let now = context.detector.clock.now();
    let seen = read(resource, context).await?;
    let seen = seen.filter(|seen| seen.schema == SCHEMA && seen.condition == condition);
    let first = FirstSeen { schema: SCHEMA, since: seen.map_or(now, |seen| seen.since), condition };
    let expires = now.saturating_add(LIFETIME).unwrap_or(Timestamp::MAX);
    // Serialising texts, numbers and JSON does not fail; an empty body would read as one that was never written.
    let body = serde_json::to_vec(&first).unwrap_or_default();
    context.detector.state.put(FIRST_SEEN, resource, body, expires).await?;
    Ok(first.since)
}

/// The trail without the times of its deliveries, which move although nothing has changed.
fn condition(trail: &Trail) -> Value {
    let mut condition = trail.to_inventory(None);
    if let Some(fields) = condition.as_object_mut() {
        fields.retain(|name, _| !(name.starts_with("latest_") && name.ends_with("_time")));
    }
    condition
}

#[cfg(test)]
mod tests;
