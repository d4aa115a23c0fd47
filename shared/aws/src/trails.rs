//! The account's trails, and whether each is alive: `CloudTrail` `DescribeTrails`, `GetTrailStatus`, `GetEventSelectors`
//! (<https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_GetTrailStatus.html>).
//!
//! A trail for all regions shows in every region, as a shadow of itself, and so does an organization's in every member
//! account: each trail is asked about once, in its home region, by its ARN. What may not be looked at is told by a
//! [`CouldNotLook`], and is never the same as a trail that does not log.

use std::collections::BTreeMap;
use std::error::Error;

use aws_sdk_cloudtrail::operation::get_event_selectors::GetEventSelectorsOutput;
use aws_sdk_cloudtrail::types::{AdvancedEventSelector, AdvancedFieldSelector, EventSelector, ReadWriteType};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_types::DateTime;
use cloudvigil_core::ports::{Failure, PortError};
use futures::StreamExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Clients;
use crate::error::{explain, port_error};
use crate::time::timestamp;

/// The version of the inventory line's shape.
const SCHEMA: u32 = 1;
/// How many calls are under way at once. `CloudTrail` allows ten a second and region for each of these operations.
const CONCURRENCY: usize = 8;

/// One trail.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The bucket that it delivers to.
    pub s3_bucket: Option<String>,
    /// What stands before `AWSLogs/` in the keys of what it delivers.
    pub s3_prefix: Option<String>,
    /// The ARN of the log group that it delivers to.
    pub log_group: Option<String>,
    /// The key that its log files are encrypted with; `None`: S3's own.
    pub kms_key: Option<String>,
    /// Whether its log files can be validated by digests.
    pub validation: bool,
    /// Whether it is alive.
    pub status: Result<TrailStatus, CouldNotLook>,
    /// Whether it records the management events that change something.
    pub management_writes: Result<ManagementWrites, CouldNotLook>,
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

/// Which of the management events that change something a trail records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagementWrites {
    /// All of them.
    All,
    /// Some: sources or names are left out.
    Partly,
    /// None: the trail is on, and blind.
    None,
}

impl ManagementWrites {
    /// Its name in the inventory: `all`, `partly`, `none`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Partly => "partly",
            Self::None => "none",
        }
    }
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
    fn new<E>(action: &'static str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let (failure, source) = explain(error);
        let code = source.code.strip_suffix("Exception").unwrap_or(&source.code).to_owned();
        Self { failure, code, action, message: source.message }
    }
}

/// Every trail that records in one of `regions`, by ARN, and the regions that could not be asked.
pub async fn trails(clients: &Clients, regions: &[String]) -> (Vec<Trail>, Vec<PortError>) {
    let described: Vec<_> = futures::stream::iter(regions.iter().cloned())
        .map(|region| describe(clients, region))
        .buffered(CONCURRENCY)
        .collect()
        .await;
    let mut found = BTreeMap::new();
    let mut errors = Vec::new();
    for answer in described {
        match answer {
            Ok(trails) => found.extend(trails.into_iter().filter_map(|trail| Some((trail.trail_arn.clone()?, trail)))),
            Err(error) => errors.push(error),
        }
    }
    let trails = futures::stream::iter(found)
        .map(|(arn, trail)| look(clients, arn, trail))
        .buffered(CONCURRENCY)
        .collect()
        .await;
    (trails, errors)
}

async fn describe(clients: &Clients, region: String) -> Result<Vec<aws_sdk_cloudtrail::types::Trail>, PortError> {
    let client = clients.cloudtrail_in(&region).await;
    // With shadows: without them a member account does not see its organization's trails at all.
    let answer = client.describe_trails().include_shadow_trails(true).send().await;
    let answer = answer
        .map_err(|error| port_error(format!("list the trails in {region} (cloudtrail:DescribeTrails)"), &error))?;
    Ok(answer.trail_list.unwrap_or_default())
}

async fn look(clients: &Clients, arn: String, trail: aws_sdk_cloudtrail::types::Trail) -> Trail {
    // arn:aws:cloudtrail:REGION:ACCOUNT:trail/NAME
    let part = |n: usize| arn.split(':').nth(n).filter(|part| !part.is_empty()).map(ToOwned::to_owned);
    let account = part(4);
    let home_region = trail.home_region.or_else(|| part(3)).unwrap_or_default();
    let client = clients.cloudtrail_in(&home_region).await;
    let status = client.get_trail_status().name(&arn).send().await;
    let status = status.map_err(|error| CouldNotLook::new("cloudtrail:GetTrailStatus", &error)).map(|status| {
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
    });
    let management_writes = if trail.has_custom_event_selectors == Some(false) {
        // A trail whose selectors nobody has touched records every management event.
        Ok(ManagementWrites::All)
    } else {
        let selectors = client.get_event_selectors().trail_name(&arn).send().await;
        selectors
            .map(|selectors| management_writes(&selectors))
            .map_err(|error| CouldNotLook::new("cloudtrail:GetEventSelectors", &error))
    };
    Trail {
        name: trail.name.unwrap_or_else(|| arn.rsplit('/').next().unwrap_or_default().to_owned()),
        home_region,
        account,
        multi_region: trail.is_multi_region_trail.unwrap_or_default(),
        organization: trail.is_organization_trail.unwrap_or_default(),
        s3_bucket: trail.s3_bucket_name,
        s3_prefix: trail.s3_key_prefix,
        log_group: trail.cloud_watch_logs_log_group_arn,
        kms_key: trail.kms_key_id,
        validation: trail.log_file_validation_enabled.unwrap_or_default(),
        status,
        management_writes,
        arn,
    }
}

fn management_writes(selectors: &GetEventSelectorsOutput) -> ManagementWrites {
    let basic = selectors.event_selectors().iter().map(basic_writes);
    let advanced = selectors.advanced_event_selectors().iter().map(advanced_writes);
    // Selectors add up: an event is recorded if any one takes it.
    basic.chain(advanced).fold(ManagementWrites::None, |sum, one| match (sum, one) {
        (ManagementWrites::All, _) | (_, ManagementWrites::All) => ManagementWrites::All,
        (ManagementWrites::Partly, _) | (_, ManagementWrites::Partly) => ManagementWrites::Partly,
        _ => ManagementWrites::None,
    })
}

fn basic_writes(selector: &EventSelector) -> ManagementWrites {
    let management = selector.include_management_events() != Some(false);
    if !management || selector.read_write_type() == Some(&ReadWriteType::ReadOnly) {
        ManagementWrites::None
    } else if selector.exclude_management_event_sources().is_empty() {
        ManagementWrites::All
    } else {
        ManagementWrites::Partly
    }
}

fn advanced_writes(selector: &AdvancedEventSelector) -> ManagementWrites {
    let fields = selector.field_selectors();
    let has = |values: &[String], value: &str| values.iter().any(|one| one == value);
    let takes = |field: &AdvancedFieldSelector, value: &str| {
        (field.equals().is_empty() || has(field.equals(), value)) && !has(field.not_equals(), value)
    };
    let management = fields.iter().any(|f| f.field() == "eventCategory" && has(f.equals(), "Management"));
    let read_only = fields.iter().any(|f| f.field() == "readOnly" && !takes(f, "false"));
    if !management || read_only {
        ManagementWrites::None
    } else if fields.iter().all(|field| matches!(field.field(), "eventCategory" | "readOnly")) {
        ManagementWrites::All
    } else {
        ManagementWrites::Partly
    }
}

impl Trail {
    /// Since when it does not log, if it does not and AWS says since when: the same however often it is asked, so that
    /// one stop is one finding.
    pub fn since(&self) -> Option<Timestamp> {
        self.status.as_ref().ok().filter(|status| !status.is_logging)?.stopped
    }

    /// The trail as an inventory line, which rules check. `since`: since when it is known to be as it is.
    ///
    /// What could not be looked at is null, and `could_not_look` says why: the looks that failed, with commas between.
    /// Times are RFC 3339.
    pub fn to_inventory(&self, since: Option<Timestamp>) -> Value {
        let status = self.status.as_ref().ok();
        let failed: Vec<_> = [self.status.as_ref().err(), self.management_writes.as_ref().err()]
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        json!({
            "schema": SCHEMA,
            "service": "cloudtrail",
            "type": "trail",
            "resource": self.arn,
            "account": self.account,
            "region": self.home_region,
            "since": since,
            "name": self.name,
            "home_region": self.home_region,
            "multi_region": self.multi_region,
            "organization": self.organization,
            "is_logging": status.map(|status| status.is_logging),
            "latest_delivery_error": status.and_then(|status| status.latest_delivery_error.as_deref()),
            "latest_delivery_time": status.and_then(|status| status.latest_delivery_time),
            "latest_digest_delivery_error": status.and_then(|status| status.latest_digest_delivery_error.as_deref()),
            "latest_digest_delivery_time": status.and_then(|status| status.latest_digest_delivery_time),
            "latest_log_group_error": status.and_then(|status| status.latest_log_group_error.as_deref()),
            "latest_log_group_time": status.and_then(|status| status.latest_log_group_time),
            "started": status.and_then(|status| status.started),
            "stopped": status.and_then(|status| status.stopped),
            "management_writes": self.management_writes.as_ref().ok().map(|writes| writes.as_str()),
            "log_file_validation": self.validation,
            "kms_encrypted": self.kms_key.is_some(),
            "kms_key": self.kms_key,
            "s3_bucket": self.s3_bucket,
            "log_group": self.log_group,
            "could_not_look": (!failed.is_empty()).then(|| failed.join(", ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use cloudvigil_stub::{Reply, Request, Stub};

    use super::*;

    const ARN: &str = "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main";

    fn operation(request: &Request) -> &str {
        let headers = &request.headers;
        headers.lines().find_map(|line| line.split_once("CloudTrail_20131101.")).map_or("", |(_, name)| name.trim())
    }

    fn signed_for(request: &Request, region: &str) -> bool {
        request.headers.contains(&format!("/{region}/cloudtrail/"))
    }

    /// A multi-region trail at home in eu-west-1, as every region sees it.
    fn described() -> Reply {
        Reply::json(&json!({"trailList": [{
            "Name": "main", "TrailARN": ARN, "HomeRegion": "eu-west-1", "IsMultiRegionTrail": true,
            "IsOrganizationTrail": false, "S3BucketName": "logs", "LogFileValidationEnabled": true,
            "HasCustomEventSelectors": false,
        }]}))
    }

    fn regions() -> Vec<String> {
        ["eu-west-1", "us-east-1"].map(ToOwned::to_owned).to_vec()
    }

    #[tokio::test]
    async fn a_trail_is_asked_about_once_and_at_home() {
        let stub = Stub::with(|request| match operation(request) {
            "DescribeTrails" => described(),
            "GetTrailStatus" => Reply::json(&json!({
                "IsLogging": true, "LatestDeliveryError": "AccessDenied", "LatestDeliveryTime": 1_772_359_200.5,
                "LatestDigestDeliveryTime": 1_772_359_200,
            })),
            other => Reply::error(400, "Unexpected", other),
        });
        let (trails, errors) = trails(&stub.clients(Clients::with_config), &regions()).await;
        assert!(errors.is_empty());
        let status = trails[0].status.as_ref().unwrap();
        assert!(status.is_logging);
        assert_eq!(status.latest_delivery_time, "2026-03-01T10:00:00.5Z".parse().ok());
        let requests = stub.requests();
        assert_eq!((trails.len(), requests.len()), (1, 3));
        assert!(signed_for(&requests[2], "eu-west-1"));
        assert_eq!(requests[2].json()["Name"], ARN);

        let line = trails[0].to_inventory("2026-02-28T00:00:00Z".parse().ok());
        for (key, value) in [
            ("schema", json!(1)),
            ("service", json!("cloudtrail")),
            ("type", json!("trail")),
            ("resource", json!(ARN)),
            ("account", json!("111122223333")),
            ("region", json!("eu-west-1")),
            ("since", json!("2026-02-28T00:00:00Z")),
            ("is_logging", json!(true)),
            ("latest_delivery_error", json!("AccessDenied")),
            ("latest_digest_delivery_time", json!("2026-03-01T10:00:00Z")),
            ("management_writes", json!("all")),
            ("kms_encrypted", json!(false)),
            ("log_group", Value::Null),
            ("could_not_look", Value::Null),
        ] {
            assert_eq!(line.get(key), Some(&value), "{key}");
        }
    }

    #[tokio::test]
    async fn a_status_that_is_denied_is_not_a_trail_that_does_not_log() {
        let stub = Stub::with(|request| match operation(request) {
            "DescribeTrails" => described(),
            _ => Reply::error(
                400,
                "AccessDeniedException",
                "User is not authorized to perform: cloudtrail:GetTrailStatus",
            ),
        });
        let (trails, _) = trails(&stub.clients(Clients::with_config), &regions()).await;
        assert_eq!(trails[0].status.as_ref().unwrap_err().failure, Failure::Denied);
        let line = trails[0].to_inventory(None);
        assert_eq!(line["is_logging"], Value::Null);
        assert_eq!(line["could_not_look"], "AccessDenied: cloudtrail:GetTrailStatus");
    }

    #[tokio::test]
    async fn a_region_that_cannot_be_asked_is_told_of() {
        let stub = Stub::with(|request| match operation(request) {
            "DescribeTrails" if signed_for(request, "us-east-1") => Reply::error(400, "ThrottlingException", "slow"),
            "DescribeTrails" => Reply::json(&json!({"trailList": []})),
            other => Reply::error(400, "Unexpected", other),
        });
        let (trails, errors) = trails(&stub.clients(Clients::with_config), &regions()).await;
        assert!(trails.is_empty());
        assert_eq!((errors.len(), errors[0].failure), (1, Failure::Transient));
        assert!(errors[0].to_string().contains("us-east-1"));
    }

    #[tokio::test]
    async fn selectors_say_whether_a_trail_is_blind() {
        let field = |field: &str, operator: &str, value: &str| json!({"Field": field, operator: [value]});
        let management = || field("eventCategory", "Equals", "Management");
        let cases = [
            (json!({"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": true}]}), "all"),
            (json!({"EventSelectors": [{"ReadWriteType": "ReadOnly", "IncludeManagementEvents": true}]}), "none"),
            (json!({"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": false}]}), "none"),
            (
                json!({"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": true,
                       "ExcludeManagementEventSources": ["kms.amazonaws.com"]}]}),
                "partly",
            ),
            (json!({"AdvancedEventSelectors": [{"FieldSelectors": [management()]}]}), "all"),
            (
                json!({"AdvancedEventSelectors": [{"FieldSelectors": [management(), field("readOnly", "Equals", "false")]}]}),
                "all",
            ),
            (
                json!({"AdvancedEventSelectors": [{"FieldSelectors": [management(), field("readOnly", "Equals", "true")]}]}),
                "none",
            ),
            (
                json!({"AdvancedEventSelectors": [{"FieldSelectors":
                       [management(), field("eventSource", "NotEquals", "iam.amazonaws.com")]}]}),
                "partly",
            ),
            (
                json!({"AdvancedEventSelectors": [{"FieldSelectors": [field("eventCategory", "Equals", "Data")]}]}),
                "none",
            ),
            (json!({"EventSelectors": []}), "none"),
        ];
        for (selectors, expected) in cases {
            let answer = selectors.clone();
            let stub = Stub::answering([Reply::json(&answer)]);
            let client = stub.clients(Clients::with_config).cloudtrail_in("eu-west-1").await;
            let output = client.get_event_selectors().trail_name(ARN).send().await.unwrap();
            assert_eq!(management_writes(&output).as_str(), expected, "{selectors}");
        }
    }
}
