//! The account's trails, and whether each is alive: `CloudTrail` `DescribeTrails`, `GetTrailStatus`, `GetEventSelectors`
//! (<https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_GetTrailStatus.html>).
//!
//! A trail for all regions shows in every region, as a shadow of itself, and so does an organization's in every member
//! account: each is one trail, and its configuration is asked for once, in its home region, by its ARN. Its deliveries
//! are asked for in every region where it shows, since each speaks of its own alone. What may not be looked at is told by
//! a [`CouldNotLook`], and is never the same as a trail that does not log.

mod bucket;
mod selectors;

use std::collections::BTreeMap;
use std::error::Error;

use aws_sdk_cloudtrail::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_types::DateTime;
use cloudvigil_core::ports::{Failure, PortError};
use futures::StreamExt as _;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use self::bucket::{TrailBucket, bucket};
pub use self::selectors::{ManagementWrites, Selectors};
use crate::Clients;
use crate::error::{explain, port_error};
use crate::time::timestamp;

/// The version of the inventory line's shape.
const SCHEMA: u32 = 1;
/// How many calls are under way at once. `CloudTrail` allows ten a second and region for each of these operations.
const CONCURRENCY: usize = 8;

/// One trail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own, as CloudTrail has it")]
pub struct Trail {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// The region that it was created in, where alone it can be changed.
    pub home_region: String,
    /// The account that it belongs to: with an organization's trail, the management account.
    pub account: Option<String>,
    /// Whether it records every region.
    pub multi_region: bool,
    /// Whether it records every account of an organization.
    pub organization: bool,
    /// Whether it records services that belong to no region, such as IAM and STS.
    pub global_services: bool,
    /// Whether it records unusual activity, as `CloudTrail` Insights sees it.
    pub insights: bool,
    /// The bucket that it delivers to.
    pub s3_bucket: Option<String>,
    /// What stands before `AWSLogs/` in the keys of what it delivers.
    pub s3_prefix: Option<String>,
    /// The ARN of the log group that it delivers to.
    pub log_group: Option<String>,
    /// The ARN of the role by which it does.
    pub log_role: Option<String>,
    /// The ARN of the topic that is told of each delivery.
    pub sns_topic: Option<String>,
    /// The key that its log files are encrypted with; `None`: S3's own.
    pub kms_key: Option<String>,
    /// Whether its log files can be validated by digests.
    pub validation: bool,
    /// Whether it is alive, in its home region.
    pub status: Result<TrailStatus, CouldNotLook>,
    /// Whether it is alive in the other regions where it shows and that were asked.
    pub elsewhere: BTreeMap<String, Result<TrailStatus, CouldNotLook>>,
    /// Which events it records.
    pub selectors: Result<Selectors, CouldNotLook>,
}

/// Whether a trail is alive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrailStatus {
    /// Whether it is switched on.
    pub is_logging: bool,
    /// S3's error at the last delivery: `AccessDenied`, `NoSuchBucket`.
    pub latest_delivery_error: Option<String>,
    /// The last delivery of log files to the bucket.
    pub latest_delivery_time: Option<Timestamp>,
    /// S3's error at the last delivery of a digest.
    pub latest_digest_delivery_error: Option<String>,
    /// The last delivery of a digest.
    pub latest_digest_delivery_time: Option<Timestamp>,
    /// The error at the last delivery to the log group.
    pub latest_log_group_error: Option<String>,
    /// The last delivery to the log group.
    pub latest_log_group_time: Option<Timestamp>,
    /// When it was last switched on.
    pub started: Option<Timestamp>,
    /// When it was last switched off.
    pub stopped: Option<Timestamp>,
}

/// A look that was refused, or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {action}")]
pub struct CouldNotLook {
    /// What a caller can do about it.
    pub failure: Failure,
    /// The service's code: `AccessDenied`.
    pub code: String,
    /// The permission that the look takes: `cloudtrail:GetTrailStatus`.
    pub action: &'static str,
    /// The service's message.
    pub message: String,
}

impl CouldNotLook {
    /// A look that takes the permission `action`, and failed with `error`.
    pub fn new<E>(action: &'static str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let (failure, source) = explain(error);
        let code = source.code.strip_suffix("Exception").unwrap_or(&source.code).to_owned();
        Self { failure, code, action, message: source.message }
    }

    /// A look whose answer lacks what was asked for: as little as a denial does it mean "no".
    pub fn empty(action: &'static str, message: &str) -> Self {
        let code = "EmptyAnswer".to_owned();
        Self { failure: Failure::Permanent, code, action, message: message.to_owned() }
    }
}

/// What was seen of an account's trails.
#[derive(Debug, Default)]
pub struct Seen {
    /// Every trail that shows in one of the regions, by ARN.
    pub trails: Vec<Trail>,
    /// The regions that told their trails. A trail of another may be there all the same.
    pub regions: Vec<String>,
    /// The regions that did not, and why.
    pub errors: Vec<(String, PortError)>,
}

/// The trails that show in `regions`.
pub async fn trails(clients: &Clients, regions: &[String]) -> Seen {
    let described: Vec<_> = futures::stream::iter(regions.iter().cloned())
        .map(|region| async move { (region.clone(), describe(clients, &region).await) })
        .buffered(CONCURRENCY)
        .collect()
        .await;
    let mut found = BTreeMap::new();
    let mut seen = Seen::default();
    for (region, answer) in described {
        match answer {
            Ok(trails) => {
                for trail in trails {
                    let Some(arn) = trail.trail_arn.clone() else { continue };
                    found.entry(arn).or_insert_with(|| (trail, Vec::new())).1.push(region.clone());
                }
                seen.regions.push(region);
            }
            Err(error) => seen.errors.push((region, error)),
        }
    }
    seen.trails = futures::stream::iter(found)
        .map(|(arn, (trail, shown_in))| look(clients, arn, trail, shown_in))
        .buffered(CONCURRENCY)
        .collect()
        .await;
    seen
}

async fn describe(clients: &Clients, region: &str) -> Result<Vec<aws_sdk_cloudtrail::types::Trail>, PortError> {
    let client = clients.cloudtrail_in(region).await;
    // With shadows: without them a member account does not see its organization's trails at all.
    let answer = client.describe_trails().include_shadow_trails(true).send().await;
    let answer = answer
        .map_err(|error| port_error(format!("list the trails in {region} (cloudtrail:DescribeTrails)"), &error))?;
    Ok(answer.trail_list.unwrap_or_default())
}

async fn look(clients: &Clients, arn: String, trail: aws_sdk_cloudtrail::types::Trail, shown_in: Vec<String>) -> Trail {
    // arn:aws:cloudtrail:REGION:ACCOUNT:trail/NAME
    let part = |n: usize| arn.split(':').nth(n).filter(|part| !part.is_empty()).map(ToOwned::to_owned);
    let account = part(4);
    let home_region = trail.home_region.or_else(|| part(3)).unwrap_or_default();
    let client = clients.cloudtrail_in(&home_region).await;
    let status = status(&client, &arn).await;
    // A member may not look at its organization's trail, here or elsewhere.
    let hidden =
        trail.is_organization_trail == Some(true) && status.as_ref().is_err_and(|look| look.failure == Failure::Denied);
    let elsewhere = shown_in.into_iter().filter(|region| *region != home_region && !hidden);
    let elsewhere = futures::stream::iter(elsewhere)
        .map(|region| {
            let arn = &arn;
            async move {
                let answer = self::status(&clients.cloudtrail_in(&region).await, arn).await;
                (region, answer)
            }
        })
        .buffered(CONCURRENCY)
        .collect()
        .await;
    let selectors = if trail.has_custom_event_selectors == Some(false) {
        Ok(Selectors::untouched())
    } else {
        let selectors = client.get_event_selectors().trail_name(&arn).send().await;
        selectors.map(|given| Selectors::of(&given)).map_err(|e| CouldNotLook::new("cloudtrail:GetEventSelectors", &e))
    };
    Trail {
        name: trail.name.unwrap_or_else(|| arn.rsplit('/').next().unwrap_or_default().to_owned()),
        home_region,
        account,
        multi_region: trail.is_multi_region_trail.unwrap_or_default(),
        organization: trail.is_organization_trail.unwrap_or_default(),
        // Unless it says otherwise, a trail has them.
        global_services: trail.include_global_service_events.unwrap_or(true),
        insights: trail.has_insight_selectors.unwrap_or_default(),
        s3_bucket: trail.s3_bucket_name,
        s3_prefix: trail.s3_key_prefix,
        log_group: trail.cloud_watch_logs_log_group_arn,
        log_role: trail.cloud_watch_logs_role_arn,
        sns_topic: trail.sns_topic_arn,
        kms_key: trail.kms_key_id,
        validation: trail.log_file_validation_enabled.unwrap_or_default(),
        status,
        elsewhere,
        selectors,
        arn,
    }
}

async fn status(client: &Client, arn: &str) -> Result<TrailStatus, CouldNotLook> {
    let status = client.get_trail_status().name(arn).send().await;
    status.map_err(|error| CouldNotLook::new("cloudtrail:GetTrailStatus", &error)).map(|status| {
        let error = |error: Option<String>| error.filter(|error| !error.is_empty());
        let time = |time: Option<DateTime>| time.as_ref().and_then(timestamp);
        TrailStatus {
            is_logging: status.is_logging.unwrap_or_default(),
            latest_delivery_error: error(status.latest_delivery_error),
            latest_delivery_time: time(status.latest_delivery_time),
            latest_digest_delivery_error: error(status.latest_digest_delivery_error),
            latest_digest_delivery_time: time(status.latest_digest_delivery_time),
            latest_log_group_error: error(status.latest_cloud_watch_logs_delivery_error),
            latest_log_group_time: time(status.latest_cloud_watch_logs_delivery_time),
            started: time(status.start_logging_time),
            stopped: time(status.stop_logging_time),
        }
    })
}

impl Trail {
    /// Since when it does not log, if it does not and AWS says since when: the same however often it is asked, so that
    /// one stop is one finding.
    pub fn since(&self) -> Option<Timestamp> {
        self.status.as_ref().ok().filter(|status| !status.is_logging)?.stopped
    }

    /// Which of the management events that change something it records.
    pub fn management_writes(&self) -> Result<ManagementWrites, &CouldNotLook> {
        self.selectors.as_ref().map(Selectors::management_writes)
    }

    /// The looks that failed, in all regions.
    pub fn failed_looks(&self) -> impl Iterator<Item = (&str, &CouldNotLook)> {
        let home = [self.status.as_ref().err(), self.selectors.as_ref().err()].into_iter().flatten();
        let home = home.map(|look| (self.home_region.as_str(), look));
        let others =
            self.elsewhere.iter().filter_map(|(region, status)| Some((region.as_str(), status.as_ref().err()?)));
        home.chain(others)
    }

    /// Whether a look had to fail: an organization's trail belongs to another account, whose members may not look at it.
    pub fn is_foreseen(&self, look: &CouldNotLook) -> bool {
        look.failure == Failure::Denied && self.organization
    }

    /// The trail as an inventory line, which rules check. `since`: since when it is known to be as it is.
    ///
    /// What could not be looked at is null, and `could_not_look` says why: the looks that failed, with commas between.
    /// Times are RFC 3339. `selectors` is what `GetEventSelectors` answers, without the ARN.
    pub fn to_inventory(&self, since: Option<Timestamp>) -> Value {
        let failed = [self.status.as_ref().err(), self.selectors.as_ref().err()].into_iter().flatten();
        let own = json!({
            "name": self.name,
            "home_region": self.home_region,
            "multi_region": self.multi_region,
            "organization": self.organization,
            "global_services": self.global_services,
            "insights": self.insights,
            "management_writes": self.management_writes().ok().map(ManagementWrites::as_str),
            "selectors": self.selectors.as_ref().ok().map(Selectors::as_value),
            "log_file_validation": self.validation,
            "kms_encrypted": self.kms_key.is_some(),
            "kms_key": self.kms_key,
            "s3_bucket": self.s3_bucket,
            "s3_prefix": self.s3_prefix,
            "log_group": self.log_group,
            "log_role": self.log_role,
            "sns_topic": self.sns_topic,
        });
        let status = status_fields(self.status.as_ref().ok());
        joined([own, status, self.frame("trail", &self.home_region, since, failed)])
    }

    /// What each other region says of the trail's deliveries there, as inventory lines of the type `trail_region`, whose
    /// resource is the trail's ARN.
    pub fn regions_to_inventory(&self, since: Option<Timestamp>) -> impl Iterator<Item = Value> {
        self.elsewhere.iter().map(move |(region, status)| {
            let own = json!({"name": self.name, "home_region": self.home_region, "s3_bucket": self.s3_bucket});
            let frame = self.frame("trail_region", region, since, status.as_ref().err().into_iter());
            joined([own, status_fields(status.as_ref().ok()), frame])
        })
    }

    /// What lines of both kinds have.
    fn frame<'l>(
        &self,
        kind: &str,
        region: &str,
        since: Option<Timestamp>,
        failed: impl Iterator<Item = &'l CouldNotLook>,
    ) -> Value {
        let failed: Vec<String> = failed.map(ToString::to_string).collect();
        json!({
            "schema": SCHEMA,
            "service": "cloudtrail",
            "type": kind,
            "resource": self.arn,
            "account": self.account,
            "region": region,
            "since": since,
            "could_not_look": (!failed.is_empty()).then(|| failed.join(", ")),
        })
    }
}

/// What is known of a trail's life, null where it could not be looked at.
fn status_fields(status: Option<&TrailStatus>) -> Value {
    json!({
        "is_logging": status.map(|status| status.is_logging),
        "latest_delivery_error": status.and_then(|status| status.latest_delivery_error.as_deref()),
        "latest_delivery_time": status.and_then(|status| status.latest_delivery_time),
        "latest_digest_delivery_error": status.and_then(|status| status.latest_digest_delivery_error.as_deref()),
        "latest_digest_delivery_time": status.and_then(|status| status.latest_digest_delivery_time),
        "latest_log_group_error": status.and_then(|status| status.latest_log_group_error.as_deref()),
        "latest_log_group_time": status.and_then(|status| status.latest_log_group_time),
        "started": status.and_then(|status| status.started),
        "stopped": status.and_then(|status| status.stopped),
    })
}

fn joined(parts: [Value; 3]) -> Value {
    let mut all = Map::new();
    for part in parts {
        if let Value::Object(part) = part {
            all.extend(part);
        }
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests;
