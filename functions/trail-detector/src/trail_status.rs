//! The trails' status: a trail that does not log is found although no event ever says so.

use cloudvigil_aws::trails::{CouldNotLook, Trail};
use cloudvigil_core::formats;
use cloudvigil_core::pipeline::Entry;
use cloudvigil_core::ports::{Failure, PortResult};
use cloudvigil_lambda::Counters;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::Context;
use crate::handler::{Failed, conclude};

/// The state's partition of when a trail was first seen as it is, where AWS does not say; the sort key is its ARN.
const FIRST_SEEN: &str = "trail-detector#first-seen";
const SCHEMA: u32 = 1;
/// How long that is remembered after the trail was last seen.
const LIFETIME: SignedDuration = SignedDuration::from_hours(100 * 24);

#[derive(Serialize, Deserialize)]
struct FirstSeen {
    schema: u32,
    since: Timestamp,
    /// How it was then, and is still.
    condition: Value,
}

/// Checks whether each trail is alive. Returns what failed; the rest was done.
pub async fn check(trails: &[Trail], context: &Context, counters: &mut Counters) -> Vec<String> {
    let mut failures = Vec::new();
    let mut lines = Vec::new();
    for trail in trails {
        failures.extend(unforeseen(trail).map(|look| format!("{}: {look}", trail.arn)));
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

/// The looks at a trail that failed.
fn failed_looks(trail: &Trail) -> impl Iterator<Item = &CouldNotLook> {
    [trail.status.as_ref().err(), trail.management_writes.as_ref().err()].into_iter().flatten()
}

/// Those that should not have. An organization's trail belongs to another account, whose members may not look at it.
fn unforeseen(trail: &Trail) -> impl Iterator<Item = &CouldNotLook> {
    failed_looks(trail).filter(|look| !(look.failure == Failure::Denied && trail.organization))
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

/// Since when a trail is as it is: the same from poll to poll, so that one stop is one finding, and another after the
/// trail has changed, so that a stop after a recovery is a finding of its own.
async fn since(trail: &Trail, context: &Context) -> PortResult<Timestamp> {
    let state = context.detector.state.as_ref();
    let now = context.detector.clock.now();
    let seen = state.get(FIRST_SEEN, &trail.arn).await?;
    let seen: Option<FirstSeen> = seen.and_then(|item| serde_json::from_slice(&item.body).ok());
    if failed_looks(trail).any(|look| look.failure == Failure::Transient) {
        // How it is could not be seen this time, which says nothing of a change.
        return Ok(trail.since().or(seen.map(|seen| seen.since)).unwrap_or(now));
    }
    let condition = condition(trail);
    let seen = seen.filter(|seen| seen.schema == SCHEMA && seen.condition == condition);
    let first = FirstSeen { schema: SCHEMA, since: seen.map_or(now, |seen| seen.since), condition };
    let expires = now.saturating_add(LIFETIME).unwrap_or(Timestamp::MAX);
    // Serialising texts, numbers and JSON does not fail; an empty body would read as one that was never written.
    let body = serde_json::to_vec(&first).unwrap_or_default();
    state.put(FIRST_SEEN, &trail.arn, body, expires).await?;
    Ok(trail.since().unwrap_or(first.since))
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
mod tests {
    use std::sync::{Arc, Mutex};

    use cloudvigil_aws::Clients;
    use cloudvigil_aws::trails::{ManagementWrites, TrailStatus};
    use cloudvigil_core::ports::Clock;
    use cloudvigil_lambda::Detector;
    use cloudvigil_local::{Collected, EmbeddedState};

    use super::*;

    /// A clock that stands until it is set.
    struct Set(Mutex<Timestamp>);

    impl Clock for Set {
        fn now(&self) -> Timestamp {
            *self.0.lock().unwrap()
        }
    }

    fn trail(delivery_error: Option<&str>, delivered: &str) -> Trail {
        let status = TrailStatus {
            is_logging: true,
            latest_delivery_error: delivery_error.map(str::to_owned),
            latest_delivery_time: delivered.parse().ok(),
            ..TrailStatus::default()
        };
        Trail {
            arn: "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main".to_owned(),
            name: "main".to_owned(),
            home_region: "eu-west-1".to_owned(),
            account: Some("111122223333".to_owned()),
            multi_region: true,
            organization: false,
            s3_bucket: Some("logs".to_owned()),
            s3_prefix: None,
            log_group: None,
            kms_key: None,
            validation: true,
            status: Ok(status),
            management_writes: Ok(ManagementWrites::All),
        }
    }

    #[test]
    fn a_look_that_is_denied_is_told_but_at_a_trail_of_the_organization() {
        let denied = |action| CouldNotLook {
            failure: Failure::Denied,
            code: "AccessDenied".to_owned(),
            action,
            message: "no".to_owned(),
        };
        let now = "2026-03-01T10:00:00Z";
        let no_status = Trail { status: Err(denied("cloudtrail:GetTrailStatus")), ..trail(None, now) };
        let no_selectors = Trail { management_writes: Err(denied("cloudtrail:GetEventSelectors")), ..trail(None, now) };
        let told = |trail: &Trail| unforeseen(trail).map(|look| look.action).collect::<Vec<_>>();
        assert!(told(&trail(None, now)).is_empty());
        assert_eq!(told(&no_status), ["cloudtrail:GetTrailStatus"]);
        assert_eq!(told(&no_selectors), ["cloudtrail:GetEventSelectors"]);
        assert!(told(&Trail { organization: true, ..no_selectors }).is_empty());
    }

    #[tokio::test]
    async fn a_failure_that_comes_back_after_a_recovery_is_a_new_one() {
        let clock = Arc::new(Set(Mutex::new(Timestamp::UNIX_EPOCH)));
        let state = Arc::new(EmbeddedState::in_memory(clock.clone()).unwrap());
        let detector =
            Detector::new(Arc::new(Clients::new()), state, Arc::new(Collected::new()), Arc::clone(&clock) as _);
        let context = Context::for_test(detector);
        let mut seen = Vec::new();
        for (now, error) in [
            ("2026-03-01T10:00:00Z", Some("AccessDenied")),
            ("2026-03-01T11:00:00Z", Some("AccessDenied")),
            ("2026-03-01T12:00:00Z", None),
            ("2026-03-01T13:00:00Z", None),
            ("2026-03-01T14:00:00Z", Some("AccessDenied")),
        ] {
            *clock.0.lock().unwrap() = now.parse().unwrap();
            seen.push(since(&trail(error, now), &context).await.unwrap().to_string());
        }
        let throttled = CouldNotLook {
            failure: Failure::Transient,
            code: "Throttling".to_owned(),
            action: "cloudtrail:GetTrailStatus",
            message: "Rate exceeded".to_owned(),
        };
        let unseen = Trail { status: Err(throttled), ..trail(None, "2026-03-01T14:00:00Z") };
        *clock.0.lock().unwrap() = "2026-03-01T15:00:00Z".parse().unwrap();
        assert_eq!(since(&unseen, &context).await.unwrap().to_string(), "2026-03-01T14:00:00Z");
        let [first, second, healthy, still, again] = seen.as_slice() else { panic!("{seen:?}") };
        assert_eq!((first.as_str(), second), ("2026-03-01T10:00:00Z", first));
        assert_eq!((healthy.as_str(), still), ("2026-03-01T12:00:00Z", healthy));
        assert_eq!(again, "2026-03-01T14:00:00Z");
    }
}
