//! Whether the log files are still what CloudTrail delivered: the digests that have come since the last poll, and the log
//! files that they name.
//!
//! Only buckets that the function may read are verified, which the environment names. An organization's trail is left to
//! `cloudvigil trail verify`: its digests lie under the organization's id, which no trail tells.

use cloudvigil_aws::trails::Trail;
use cloudvigil_core::formats::inventory::Inventory;
use cloudvigil_core::pipeline::Entry;
use cloudvigil_lambda::Counters;
use cloudvigil_trail::watch::{Delivery, Found, Watch};
use futures::StreamExt as _;
use jiff::SignedDuration;
use serde_json::Value;
use tokio::time::Instant;

use crate::context::Context;
use crate::handler::{Failed, conclude};

/// How far the first look goes back.
const FIRST_LOOK: SignedDuration = SignedDuration::from_hours(24);
/// How many regions are looked at once.
const CONCURRENCY: usize = 8;

/// Verifies what the trails have delivered, until `deadline`. Returns what failed; the rest was done.
pub async fn verify(
    trails: &[Trail],
    regions: &[String],
    deadline: Instant,
    context: &Context,
    counters: &mut Counters,
) -> Vec<String> {
    let detector = &context.detector;
    let watch = Watch {
        store: context.objects.as_ref(),
        keys: context.keys.as_ref(),
        state: detector.state.as_ref(),
        clock: detector.clock.as_ref(),
        first_look: FIRST_LOOK,
    };
    let watch = &watch;
    let goes_on = move || Instant::now() < deadline;
    let mut looks = futures::stream::iter(deliveries(trails, regions, &context.verified_buckets))
        .map(|delivery| async move {
            let found = watch.look(&delivery, &goes_on).await;
            (delivery.name(), found)
        })
        .buffer_unordered(CONCURRENCY);
    let mut failures = Vec::new();
    while let Some((name, found)) = looks.next().await {
        let failed = |error: &dyn std::fmt::Display| format!("digests of {name}: {error}");
        match found {
            Ok(found) => {
                failures.extend(found.errors.iter().map(|error| failed(error)));
                if let Err(error) = keep(&name, &found, context, counters).await {
                    failures.push(failed(&error));
                }
            }
            Err(error) => failures.push(failed(&error)),
        }
    }
    failures
}

/// Publishes what was found, and then moves the mark.
async fn keep(name: &str, found: &Found, context: &Context, counters: &mut Counters) -> Result<(), Failed> {
    let (digests, log_files) = (found.digests, found.log_files);
    counters.count("DigestsValid", digests.valid);
    counters.count("DigestsNotValid", digests.unverified + digests.invalid + digests.missing + digests.unreadable);
    counters.count("LogFilesValid", log_files.valid);
    counters.count("LogFilesNotValid", log_files.changed + log_files.missing + log_files.unreadable);
    counters.count("VerificationsCutShort", found.cut_short.into());
    if !found.records.is_empty() {
        let lines: Vec<String> = found.records.iter().map(Value::to_string).collect();
        let entries = lines.iter().map(|line| Entry { key: None, time: None, bytes: line.as_bytes() });
        let source = format!("digests of {name}");
        let report = context.detector.pipeline().entries(&source, Some(&Inventory), entries);
        conclude(report, context, counters).await?;
    }
    found.commit(context.detector.state.as_ref(), context.detector.clock.as_ref()).await?;
    Ok(())
}

/// Where the trails deliver, one for each region.
fn deliveries(trails: &[Trail], regions: &[String], buckets: &[String]) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for trail in trails.iter().filter(|trail| trail.validation && !trail.organization) {
        let bucket = trail.s3_bucket.as_ref().filter(|bucket| buckets.contains(bucket));
        let (Some(bucket), Some(account)) = (bucket, &trail.account) else { continue };
        let home = std::slice::from_ref(&trail.home_region);
        for region in if trail.multi_region { regions } else { home } {
            deliveries.push(Delivery {
                account: account.clone(),
                region: region.clone(),
                trail: trail.name.clone(),
                home_region: trail.home_region.clone(),
                bucket: bucket.clone(),
                prefix: trail.s3_prefix.clone().unwrap_or_default(),
            });
        }
    }
    deliveries
}

#[cfg(test)]
#[path = "../../../shared/trail/tests/support/mod.rs"]
mod bucket;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use cloudvigil_aws::Clients;
    use cloudvigil_aws::trails::{Selectors, TrailStatus};
    use cloudvigil_core::ports::Clock;
    use cloudvigil_lambda::Detector;
    use cloudvigil_local::{Collected, EmbeddedState};
    use jiff::{Timestamp, ToSpan as _};

    use super::bucket::{ACCOUNT, BUCKET, Bucket, CLOUDTRAIL, REGION, Store, View, hour};
    use super::*;

    struct At(Timestamp);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    fn trail() -> Trail {
        Trail {
            arn: format!("arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/main"),
            name: "main".to_owned(),
            home_region: REGION.to_owned(),
            account: Some(ACCOUNT.to_owned()),
            multi_region: true,
            organization: false,
            global_services: true,
            insights: false,
            s3_bucket: Some(BUCKET.to_owned()),
            s3_prefix: None,
            log_group: None,
            log_role: None,
            sns_topic: None,
            kms_key: None,
            validation: true,
            status: Ok(TrailStatus::default()),
            elsewhere: BTreeMap::new(),
            selectors: Ok(Selectors::untouched()),
        }
    }

    fn regions() -> Vec<String> {
        [REGION, "us-east-1"].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn a_log_file_that_was_removed_is_a_critical_finding_once() {
        let (mut bucket, _) = Bucket::with_hours(5);
        bucket.remove(&bucket.log_keys()[6].clone());
        let clock: Arc<dyn Clock> = Arc::new(At(hour(5) + 20.minutes()));
        let state = Arc::new(EmbeddedState::in_memory(Arc::clone(&clock)).unwrap());
        let findings = Arc::new(Collected::new());
        let detector = Detector::new(Arc::new(Clients::new()), state, findings.clone(), clock);
        let mut context = Context::for_test(detector);
        context.verified_buckets = vec![BUCKET.to_owned()];
        context.objects = Arc::new(Store::new(&bucket, View::Bucket));
        context.keys = Arc::new(CLOUDTRAIL.ring());
        let deadline = Instant::now() + Duration::from_mins(1);
        for _ in 0..2 {
            let failures = verify(&[trail()], &regions(), deadline, &context, &mut Counters::default()).await;
            assert!(failures.is_empty(), "{failures:?}");
        }
        let messages = findings.sorted();
        let [message] = messages.as_slice() else { panic!("{messages:?}") };
        let finding = &message.finding;
        assert_eq!((finding.level.as_str(), finding.count, finding.revision), ("critical", 1, 1));
        assert_eq!(finding.title, "CloudTrail log file is missing");
        assert_eq!((finding.account.as_deref(), finding.region.as_deref()), (Some(ACCOUNT), Some(REGION)));
    }

    #[test]
    fn only_validated_trails_of_readable_buckets_are_verified() {
        let regions = regions();
        let verified = |trail: Trail, buckets: &[&str]| {
            let buckets: Vec<String> = buckets.iter().map(|bucket| (*bucket).to_owned()).collect();
            deliveries(&[trail], &regions, &buckets).into_iter().map(|delivery| delivery.region).collect::<Vec<_>>()
        };
        assert_eq!(verified(trail(), &[BUCKET]), regions);
        assert_eq!(verified(Trail { multi_region: false, ..trail() }, &[BUCKET]), [REGION]);
        assert!(verified(trail(), &["other"]).is_empty());
        assert!(verified(trail(), &[]).is_empty());
        assert!(verified(Trail { validation: false, ..trail() }, &[BUCKET]).is_empty());
        assert!(verified(Trail { organization: true, ..trail() }, &[BUCKET]).is_empty());
    }
}
