//! Buckets, and what lets the public in:
//! [GetBucketPolicyStatus](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketPolicyStatus.html),
//! [GetBucketAcl](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketAcl.html), and the switches of
//! [the bucket](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetPublicAccessBlock.html) and of
//! [the account](https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_GetPublicAccessBlock.html).

use std::error::Error;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types;
use aws_sdk_s3control::config::endpoint::{Endpoint, EndpointFuture, Params, ResolveEndpoint};
use cloudvigil_aws::Clients;
use cloudvigil_core::ports;
use futures::stream::{self, StreamExt};

use super::{Collected, Collector, Place};
use crate::failure::Failure;
use crate::snapshot::s3::{Bucket, PublicAccessBlock, Reachable, Seen};

/// How many buckets are looked at at once.
const PARALLEL: usize = 8;
/// How many buckets a page has. Asked for, because only pages name the buckets' regions.
const PAGE: i32 = 1000;
/// The groups that mean the public, by their addresses' ends
/// ([S3's predefined groups](https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html)).
const PUBLIC_GROUPS: [&str; 2] = ["AllUsers", "AuthenticatedUsers"];
/// The error that means that nothing is configured.
const NO_BLOCK: &str = "NoSuchPublicAccessBlockConfiguration";
const GROUP_ADDRESS: &str = "http://acs.amazonaws.com/groups/global/";

/// The collector of buckets.
pub struct S3;

#[async_trait]
impl Collector for S3 {
    fn name(&self) -> &'static str {
        "s3"
    }

    fn global(&self) -> bool {
        true
    }

    async fn collect(&self, clients: &Clients, place: &Place) -> Collected {
        let mut collected = Collected::default();
        let here = clients.s3_in(&place.region).await;
        let (listed, failure) = list(&here, &place.region).await;
        let listed_all = failure.is_none();
        collected.failures.extend(failure);
        if listed.is_empty() && !listed_all {
            return collected;
        }
        let account_block = account_block(clients, place).await;
        collected.failures.extend(account_block.as_ref().err().cloned());

        let mut homeless = false;
        let buckets = stream::iter(listed.into_iter().map(|(name, region)| {
            let (here, account_block) = (here.clone(), account_block.clone());
            // Boxed, for a bucket's calls together are a large future.
            async move { Box::pin(look(clients, place, &here, name, region, account_block)).await }
        }))
        .buffer_unordered(PARALLEL)
        .collect::<Vec<_>>()
        .await;
        for (bucket, unlocated) in buckets.into_iter().flatten() {
            homeless |= bucket.region.is_none();
            let mut resource = bucket.resource();
            if let Some(failure) = &unlocated {
                resource.note_unseen(&failure.why(), &[]);
            }
            collected.resources.push(resource);
            // A bucket that went away since the listing is no failure.
            if bucket.reachable != Ok(Reachable::NotFound) {
                let each = |failure: &Failure| Failure { affected: 1, ..failure.clone() };
                collected.failures.extend(unlocated.iter().chain(bucket.failures()).map(each));
            }
        }
        // A bucket whose region is unknown may be the very one that is missing elsewhere.
        if listed_all && !homeless {
            collected.complete.extend(place.regions.iter().map(|region| (region.clone(), "bucket")));
        }
        collected
    }
}

/// Every bucket with its region, where the listing names it; and what kept the listing from being complete.
async fn list(client: &Client, region: &str) -> (Vec<(String, Option<String>)>, Option<Failure>) {
    let mut buckets = Vec::new();
    let mut pages = client.list_buckets().max_buckets(PAGE).into_paginator().send();
    while let Some(page) = pages.next().await {
        match page {
            Ok(page) => {
                for bucket in page.buckets.unwrap_or_default() {
                    let region = bucket.bucket_region.filter(|region| !region.is_empty());
                    buckets.extend(bucket.name.map(|name| (name, region)));
                }
            }
            Err(error) => return (buckets, Some(Failure::of_call("s3:ListAllMyBuckets", region, &error))),
        }
    }
    (buckets, None)
}

/// Looks at one bucket; `None` for one that lies outside the scan. The failure is that of asking for its region.
async fn look(
    clients: &Clients,
    place: &Place,
    here: &Client,
    name: String,
    region: Option<String>,
    account_block: Seen<PublicAccessBlock>,
) -> Option<(Bucket, Option<Failure>)> {
    let (region, unlocated) = match region {
        Some(region) => (Some(region), None),
        None => match location(here, &name, &place.region).await {
            Ok(region) => (Some(region), None),
            Err(failure) => (None, Some(failure)),
        },
    };
    if region.as_ref().is_some_and(|region| !place.regions.contains(region)) {
        return None;
    }
    let client = match &region {
        Some(region) => clients.s3_in(region).await,
        None => here.clone(),
    };
    let asked = region.as_deref().unwrap_or(&place.region);
    let (block, policy_is_public, public_grants, reachable) = futures::join!(
        block(&client, &name, asked),
        policy_is_public(&client, &name, asked),
        public_grants(&client, &name, asked),
        reachable(&client, &name, asked),
    );
    let bucket = Bucket { name, region, block, account_block, policy_is_public, public_grants, reachable };
    Some((bucket, unlocated))
}

async fn location(client: &Client, bucket: &str, region: &str) -> Seen<String> {
    let answer = client.get_bucket_location().bucket(bucket).send().await;
    let answer = answer.map_err(|error| Failure::of_call("s3:GetBucketLocation", region, &error))?;
    Ok(match answer.location_constraint.as_ref().map_or("", types::BucketLocationConstraint::as_str) {
        "" => "us-east-1".to_owned(),
        "EU" => "eu-west-1".to_owned(),
        region => region.to_owned(),
    })
}

async fn block(client: &Client, bucket: &str, region: &str) -> Seen<PublicAccessBlock> {
    const ACTION: &str = "s3:GetBucketPublicAccessBlock";
    let answer = client.get_public_access_block().bucket(bucket).send().await;
    let block = match answer {
        Ok(answer) => answer.public_access_block_configuration.ok_or_else(|| empty(ACTION, region))?,
        Err(error) if code(&error) == Some(NO_BLOCK) => {
            return Ok(PublicAccessBlock::default());
        }
        Err(error) => return Err(Failure::of_call(ACTION, region, &error)),
    };
    Ok(switches(
        block.block_public_acls,
        block.ignore_public_acls,
        block.block_public_policy,
        block.restrict_public_buckets,
    ))
}

async fn account_block(clients: &Clients, place: &Place) -> Seen<PublicAccessBlock> {
    const ACTION: &str = "s3:GetAccountPublicAccessBlock";
    let config = clients.config_in(&place.region).await;
    let mut builder = aws_sdk_s3control::config::Builder::from(&config);
    if let Some(url) = config.endpoint_url() {
        builder = builder.endpoint_resolver(Fixed(url.to_owned()));
    }
    let client = aws_sdk_s3control::Client::from_conf(builder.build());
    let answer = client.get_public_access_block().account_id(&place.account).send().await;
    let block = match answer {
        Ok(answer) => answer.public_access_block_configuration.ok_or_else(|| empty(ACTION, &place.region))?,
        Err(error) if code(&error) == Some(NO_BLOCK) || says(&error, NO_BLOCK) => {
            return Ok(PublicAccessBlock::default());
        }
        Err(error) => return Err(Failure::of_call(ACTION, &place.region, &error)),
    };
    Ok(switches(
        block.block_public_acls,
        block.ignore_public_acls,
        block.block_public_policy,
        block.restrict_public_buckets,
    ))
}

fn switches(
    block_acls: Option<bool>,
    ignore_acls: Option<bool>,
    block_policy: Option<bool>,
    restrict: Option<bool>,
) -> PublicAccessBlock {
    PublicAccessBlock {
        block_public_acls: block_acls.unwrap_or_default(),
        ignore_public_acls: ignore_acls.unwrap_or_default(),
        block_public_policy: block_policy.unwrap_or_default(),
        restrict_public_buckets: restrict.unwrap_or_default(),
    }
}

async fn policy_is_public(client: &Client, bucket: &str, region: &str) -> Seen<bool> {
    const ACTION: &str = "s3:GetBucketPolicyStatus";
    match client.get_bucket_policy_status().bucket(bucket).send().await {
        Ok(answer) => answer.policy_status.and_then(|status| status.is_public).ok_or_else(|| empty(ACTION, region)),
        Err(error) if code(&error) == Some("NoSuchBucketPolicy") => Ok(false),
        Err(error) => Err(Failure::of_call(ACTION, region, &error)),
    }
}

async fn public_grants(client: &Client, bucket: &str, region: &str) -> Seen<Vec<String>> {
    let answer = client.get_bucket_acl().bucket(bucket).send().await;
    let answer = answer.map_err(|error| Failure::of_call("s3:GetBucketAcl", region, &error))?;
    let mut grants: Vec<String> = answer
        .grants
        .unwrap_or_default()
        .into_iter()
        .filter_map(|grant| {
            let group = grant.grantee?.uri?;
            let group = group.strip_prefix(GROUP_ADDRESS).filter(|group| PUBLIC_GROUPS.contains(group))?.to_owned();
            Some(format!("{group}:{}", grant.permission.as_ref().map_or("", types::Permission::as_str)))
        })
        .collect();
    grants.sort();
    Ok(grants)
}

/// HEAD has no body, so the status is all there is. A denial is a look that failed: whether the bucket's policy closes
/// it or our role lacks the permission cannot be told apart.
async fn reachable(client: &Client, bucket: &str, region: &str) -> Seen<Reachable> {
    match client.head_bucket().bucket(bucket).send().await {
        Ok(_) => Ok(Reachable::Ok),
        Err(error) => match error.raw_response().map(|response| response.status().as_u16()) {
            Some(404) => Ok(Reachable::NotFound),
            _ => Err(Failure::of_call("s3:ListBucket", region, &error)),
        },
    }
}

fn code<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// Whether an error's body has this code in S3's own shape. S3 Control wraps its errors, which stores that merely speak
/// its protocol forget, and the SDK then sees no code.
fn says<E>(error: &SdkError<E>, code: &str) -> bool {
    let body = error.raw_response().and_then(|response| response.body().bytes()).map(String::from_utf8_lossy);
    body.is_some_and(|body| body.contains(&format!("<Code>{code}</Code>")))
}

/// An answer without an answer in it, as stores that merely speak S3 give: as little as a denial does it mean "no".
fn empty(action: &'static str, region: &str) -> Failure {
    Failure::new(action, region, "EmptyAnswer", "the service answered without a value", ports::Failure::Permanent)
}

/// One address for every account. The SDK puts the account's id before the host's name, which no address of one's own
/// (an emulator's, say) has.
#[derive(Debug)]
struct Fixed(String);

impl ResolveEndpoint for Fixed {
    fn resolve_endpoint<'a>(&'a self, _params: &'a Params) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(Endpoint::builder().url(self.0.clone()).build()))
    }
}
