//! What is looked at right after a call, and not only with the next poll: what the call was aimed at, so that who is told of
//! it hears within seconds what was lost and how to undo it.
//!
//! | call to | looked at |
//! | --- | --- |
//! | `CloudTrail`, that changes a trail | the trails of the region |
//! | `GuardDuty`, Config, Security Hub | the service's control in the region |
//! | KMS | the key, if a trail encrypts with it |
//! | S3 | the bucket, if a trail delivers to it |
//!
//! What fails is logged and left to the next poll: the call itself has its finding already.

use std::collections::BTreeSet;

use cloudvigil_aws::trails::{Trail, trails};
use cloudvigil_core::ports::PortResult;
use cloudvigil_lambda::Counters;
use cloudvigil_trail::snapshots;
use cloudvigil_trail::state::TrailState;
use serde_json::Value;

use crate::context::Context;
use crate::{trail_status, watched_services};

/// Calls by event source that change something of what is looked at.
const CALLS: [(&str, &[&str]); 6] = [
    (
        "cloudtrail.amazonaws.com",
        &[
            "CreateTrail",
            "DeleteTrail",
            "PutEventSelectors",
            "PutInsightSelectors",
            "StartLogging",
            "StopLogging",
            "UpdateTrail",
        ],
    ),
    ("guardduty.amazonaws.com", &["CreateDetector", "DeleteDetector", "UpdateDetector"]),
    (
        "config.amazonaws.com",
        &[
            "DeleteConfigurationRecorder",
            "DeleteDeliveryChannel",
            "DisassociateResourceTypes",
            "PutConfigurationRecorder",
            "PutDeliveryChannel",
            "StartConfigurationRecorder",
            "StopConfigurationRecorder",
        ],
    ),
    (
        "securityhub.amazonaws.com",
        &["BatchDisableStandards", "BatchEnableStandards", "DisableSecurityHub", "EnableSecurityHub"],
    ),
    (
        "kms.amazonaws.com",
        &["CancelKeyDeletion", "DeleteImportedKeyMaterial", "DisableKey", "EnableKey", "ScheduleKeyDeletion"],
    ),
    (
        "s3.amazonaws.com",
        &[
            "DeleteBucket",
            "DeleteBucketLifecycle",
            "DeleteBucketPolicy",
            "DeleteBucketPublicAccessBlock",
            "PutBucketLifecycle",
            "PutBucketLifecycleConfiguration",
            "PutBucketPolicy",
            "PutBucketPublicAccessBlock",
        ],
    ),
];

/// What a call was aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'e> {
    /// A trail of this region.
    Trails(&'e str),
    /// What a service, by its prefix in ARNs, has in a region.
    Service(&'static str, &'e str),
    /// A key, by the call.
    Key(&'e Value),
    /// A bucket, by its name.
    Bucket(&'e str),
}

/// What a call was aimed at, if it succeeded and is one of those that are followed by a look. `call` is `CloudTrail`'s event.
pub fn target(call: &Value) -> Option<Target<'_>> {
    let (source, name) = (call["eventSource"].as_str()?, call["eventName"].as_str()?);
    let (source, names) = CALLS.iter().find(|(one, _)| *one == source)?;
    if !names.contains(&name) || !call["errorCode"].is_null() {
        return None;
    }
    let region = call["awsRegion"].as_str()?;
    Some(match source.split_once('.').map_or(*source, |(service, _)| service) {
        "cloudtrail" => Target::Trails(region),
        "kms" => Target::Key(call),
        "s3" => Target::Bucket(call["requestParameters"]["bucketName"].as_str()?),
        service => Target::Service(service, region),
    })
}

/// Looks at what a call was aimed at.
pub async fn look(target: Target<'_>, context: &Context, counters: &mut Counters) {
    let failures = match target {
        Target::Trails(region) => trail_status::look_at_once(region, false, context, counters).await,
        Target::Service(service, region) => watched_services::look_at_once(service, region, context, counters).await,
        Target::Key(call) => {
            with_trails(
                context,
                |trail| trail.kms_key.as_deref().is_some_and(|key| names_key(call, key)),
                async |seen| watched_services::look_at_keys(&seen, context, counters).await,
            )
            .await
        }
        Target::Bucket(bucket) => of_bucket(bucket, context, counters).await,
    };
    counters.count("LooksAfterCallsFailed", failures.len() as u64);
    for failure in failures {
        tracing::warn!(failure, "what a call took away is left to the next poll");
    }
}

/// The home regions of the trails, as they were last seen, of which this holds.
async fn homes(context: &Context, is_it: impl Fn(&TrailState) -> bool) -> PortResult<BTreeSet<String>> {
    let known = snapshots::known(context.detector.state.as_ref()).await?;
    Ok(known.into_iter().filter(is_it).map(|trail| trail.home_region).collect())
}

async fn with_trails(
    context: &Context,
    is_it: impl Fn(&TrailState) -> bool,
    look: impl AsyncFnOnce(Vec<Trail>) -> Vec<String>,
) -> Vec<String> {
    let homes = match homes(context, is_it).await {
        Ok(homes) if homes.is_empty() => return Vec::new(),
        Ok(homes) => homes.into_iter().collect::<Vec<_>>(),
        Err(error) => return vec![error.to_string()],
    };
    let seen = trails(&context.detector.clients, &homes).await;
    let mut failures: Vec<String> = seen.errors.iter().map(|(_, error)| error.to_string()).collect();
    failures.extend(look(seen.trails).await);
    failures
}

async fn of_bucket(bucket: &str, context: &Context, counters: &mut Counters) -> Vec<String> {
    let homes = match homes(context, |trail| trail.s3_bucket.as_deref() == Some(bucket)).await {
        Ok(homes) => homes,
        Err(error) => return vec![error.to_string()],
    };
    let mut failures = Vec::new();
    for region in homes {
        failures.extend(trail_status::look_at_once(&region, true, context, counters).await);
    }
    failures
}

/// Whether a call to KMS was about this key, an ARN: it names it by its ARN or by its id, and `CloudTrail` adds the ARN.
fn names_key(call: &Value, key: &str) -> bool {
    let resources = call["resources"].as_array().into_iter().flatten();
    let id = key.rsplit('/').next().unwrap_or(key);
    resources.map(|resource| &resource["ARN"]).any(|arn| arn == key)
        || call["requestParameters"]["keyId"].as_str().is_some_and(|given| given == key || given == id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_followed_by_a_look_at_what_it_was_aimed_at() {
        let call = |source: &str, name: &str| {
            json!({"eventSource": format!("{source}.amazonaws.com"), "eventName": name, "awsRegion": "eu-west-1",
                   "requestParameters": {"bucketName": "logs", "keyId": "1"}})
        };
        let stop = call("config", "StopConfigurationRecorder");
        assert_eq!(target(&stop), Some(Target::Service("config", "eu-west-1")));
        assert_eq!(target(&call("cloudtrail", "StopLogging")), Some(Target::Trails("eu-west-1")));
        assert_eq!(target(&call("s3", "PutBucketPolicy")), Some(Target::Bucket("logs")));
        let disable = call("kms", "DisableKey");
        assert_eq!(target(&disable), Some(Target::Key(&disable)));
        let mut denied = stop.clone();
        denied["errorCode"] = json!("AccessDenied");
        assert_eq!(target(&denied), None, "it took nothing");
        assert_eq!(target(&call("cloudtrail", "DescribeTrails")), None);
        assert_eq!(target(&call("iam", "DeleteRole")), None);
    }

    #[test]
    fn a_key_is_known_by_its_arn_and_by_its_id() {
        let key = "arn:aws:kms:eu-west-1:111122223333:key/1";
        assert!(names_key(&json!({"requestParameters": {"keyId": "1"}}), key));
        assert!(names_key(&json!({"requestParameters": {"keyId": key}}), key));
        assert!(names_key(&json!({"requestParameters": null, "resources": [{"ARN": key}]}), key));
        assert!(!names_key(&json!({"requestParameters": {"keyId": "11"}, "resources": []}), key));
    }
}
