//! What keeps a trail's log files safe in their bucket: its policy, its lifecycle, and the block of public access
//! (<https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-s3-bucket-policy-for-cloudtrail.html>).

use std::error::Error;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{BucketLocationConstraint, ExpirationStatus, LifecycleRule, PublicAccessBlockConfiguration};
use cloudvigil_core::ports::Failure;
use serde_json::{Value, json};

use super::CouldNotLook;
use crate::Clients;

/// A trail's bucket. What could not be looked at is why it could not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailBucket {
    /// Its policy, JSON as it was put; `None`: it has none.
    pub policy: Result<Option<String>, CouldNotLook>,
    /// The fewest days after which an enabled rule deletes what is current; `None`: none does.
    pub expires_after_days: Result<Option<i32>, CouldNotLook>,
    /// Whether public access is blocked in all four ways.
    pub public_access_blocked: Result<bool, CouldNotLook>,
}

/// Looks at a bucket, wherever it is. `None`: there is none of that name.
pub async fn bucket(clients: &Clients, name: &str) -> Result<Option<TrailBucket>, CouldNotLook> {
    let here = match clients.s3().await.get_bucket_location().bucket(name).send().await {
        Ok(answer) => answer.location_constraint,
        Err(error) if code(&error) == Some("NoSuchBucket") => return Ok(None),
        Err(error) => return Err(CouldNotLook::new("s3:GetBucketLocation", &error)),
    };
    let region = match here.as_ref().map_or("", BucketLocationConstraint::as_str) {
        "" => "us-east-1",
        "EU" => "eu-west-1",
        region => region,
    };
    let client = clients.s3_in(region).await;
    let (policy, expires_after_days, public_access_blocked) =
        futures::join!(policy(&client, name), expires_after_days(&client, name), is_blocked(&client, name));
    Ok(Some(TrailBucket { policy, expires_after_days, public_access_blocked }))
}

async fn policy(client: &Client, bucket: &str) -> Result<Option<String>, CouldNotLook> {
    match client.get_bucket_policy().bucket(bucket).send().await {
        Ok(answer) => Ok(answer.policy.filter(|policy| !policy.is_empty())),
        Err(error) if code(&error) == Some("NoSuchBucketPolicy") => Ok(None),
        Err(error) => Err(CouldNotLook::new("s3:GetBucketPolicy", &error)),
    }
}

async fn expires_after_days(client: &Client, bucket: &str) -> Result<Option<i32>, CouldNotLook> {
    match client.get_bucket_lifecycle_configuration().bucket(bucket).send().await {
        Ok(answer) => Ok(answer.rules().iter().filter_map(days).min()),
        Err(error) if code(&error) == Some("NoSuchLifecycleConfiguration") => Ok(None),
        Err(error) => Err(CouldNotLook::new("s3:GetLifecycleConfiguration", &error)),
    }
}

/// After how many days a rule deletes what is current. A date is taken as at once: nobody deletes logs by the calendar.
fn days(rule: &LifecycleRule) -> Option<i32> {
    if rule.status() != &ExpirationStatus::Enabled {
        return None;
    }
    let expiration = rule.expiration()?;
    expiration.days().or_else(|| expiration.date().map(|_| 0))
}

async fn is_blocked(client: &Client, bucket: &str) -> Result<bool, CouldNotLook> {
    let all = |block: PublicAccessBlockConfiguration| {
        [block.block_public_acls, block.ignore_public_acls, block.block_public_policy, block.restrict_public_buckets]
            .into_iter()
            .all(|switch| switch == Some(true))
    };
    match client.get_public_access_block().bucket(bucket).send().await {
        Ok(answer) => Ok(answer.public_access_block_configuration.is_some_and(all)),
        Err(error) if code(&error) == Some("NoSuchPublicAccessBlockConfiguration") => Ok(false),
        Err(error) => Err(CouldNotLook::new("s3:GetBucketPublicAccessBlock", &error)),
    }
}

fn code<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

impl TrailBucket {
    /// As the member `bucket` of the trail's inventory line: what could not be looked at is not there, and a policy or an
    /// expiry that the bucket does not have is null.
    pub fn to_inventory(&self) -> Value {
        let mut bucket = json!({});
        if let Ok(policy) = &self.policy {
            bucket["policy"] = json!(policy);
        }
        if let Ok(days) = self.expires_after_days {
            bucket["expires_after_days"] = json!(days);
        }
        if let Ok(blocked) = self.public_access_blocked {
            bucket["public_access_blocked"] = json!(blocked);
        }
        bucket
    }

    /// The looks that failed.
    pub fn failed_looks(&self) -> impl Iterator<Item = &CouldNotLook> {
        let Self { policy, expires_after_days, public_access_blocked } = self;
        [policy.as_ref().err(), expires_after_days.as_ref().err(), public_access_blocked.as_ref().err()]
            .into_iter()
            .flatten()
    }
}

impl CouldNotLook {
    /// Whether it may succeed the next time.
    pub fn is_transient(&self) -> bool {
        self.failure == Failure::Transient
    }
}

#[cfg(test)]
mod tests {
    use cloudvigil_stub::{Reply, Request, Stub};

    use super::*;

    fn error(status: u16, code: &str) -> Reply {
        Reply::status(status, format!("<Error><Code>{code}</Code><Message>no</Message></Error>"))
    }

    fn answer(request: &Request) -> Reply {
        let path = request.path.as_str();
        if path.contains("location") {
            Reply::ok("<LocationConstraint>eu-west-1</LocationConstraint>")
        } else if path.contains("lifecycle") {
            Reply::ok(
                "<LifecycleConfiguration><Rule><ID>a</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>\
                 <Expiration><Days>400</Days></Expiration></Rule><Rule><ID>b</ID><Status>Disabled</Status><Filter>\
                 <Prefix></Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>",
            )
        } else if path.contains("publicAccessBlock") {
            error(404, "NoSuchPublicAccessBlockConfiguration")
        } else {
            error(403, "AccessDenied")
        }
    }

    #[tokio::test]
    async fn what_is_not_configured_is_told_from_what_may_not_be_looked_at() {
        let stub = Stub::with(answer);
        let found = bucket(&stub.clients(Clients::with_config), "logs").await.unwrap().unwrap();
        assert_eq!((&found.expires_after_days, &found.public_access_blocked), (&Ok(Some(400)), &Ok(false)));
        assert_eq!(found.failed_looks().map(|look| look.action).collect::<Vec<_>>(), ["s3:GetBucketPolicy"]);
        assert_eq!(found.to_inventory(), json!({"expires_after_days": 400, "public_access_blocked": false}));
    }

    #[tokio::test]
    async fn a_bucket_that_is_gone_is_no_failure() {
        let stub = Stub::with(|_| error(404, "NoSuchBucket"));
        assert_eq!(bucket(&stub.clients(Clients::with_config), "logs").await, Ok(None));
        let stub = Stub::with(|_| error(403, "AccessDenied"));
        let look = bucket(&stub.clients(Clients::with_config), "logs").await.unwrap_err();
        assert_eq!((look.action, look.is_transient()), ("s3:GetBucketLocation", false));
    }
}
