//! Digests and log files as inventory lines, which rules check.
//!
//! | `type` | `status` | which |
//! | --- | --- | --- |
//! | `trail_digest` | `valid` | signed, and what the next one says of it |
//! | | `unverified` | nobody knows its signature, or the keys could not be had |
//! | | `key_unknown` | signed with a key, or by an algorithm, that is none of CloudTrail's |
//! | | `changed` | its content is not what the next digest says |
//! | | `signature_invalid` | its signature is not of it, or gone |
//! | | `moved` | it says that it is another one |
//! | | `malformed` | it is no digest |
//! | | `unreadable` | it could not be read |
//! | | `missing` | the next one names it, and it is not there |
//! | | `beginning_missing` | the first one there is names it, and it is not there |
//! | | `gap` | the chain begins anew: from `gap_start` to `digest_start` no digest vouches for anything |
//! | `trail_log_file` | `changed`, `missing`, `unreadable` | a log file that a digest names |
//! | `trail_log_files` | `unlisted` | `count` log files of a time for which there are digests, and in none of them |
//!
//! `resource` is the object's ARN (the path, where the bucket is not known), `since` the end of the digest's time, so
//! that the same break is the same finding however often it is looked at. `reason` says more in words.

use cloudvigil_core::ports::ObjectId;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::chain::Chain;
use crate::gaps::partition;

/// The version of the inventory line's shape.
const SCHEMA: u32 = 1;

/// What is known of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DigestStatus {
    Valid,
    Unverified,
    KeyUnknown,
    Changed,
    SignatureInvalid,
    Moved,
    Malformed,
    Unreadable,
    Missing,
    BeginningMissing,
    Gap,
}

impl DigestStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Unverified => "unverified",
            Self::KeyUnknown => "key_unknown",
            Self::Changed => "changed",
            Self::SignatureInvalid => "signature_invalid",
            Self::Moved => "moved",
            Self::Malformed => "malformed",
            Self::Unreadable => "unreadable",
            Self::Missing => "missing",
            Self::BeginningMissing => "beginning_missing",
            Self::Gap => "gap",
        }
    }
}

/// What is known of a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFileStatus {
    Changed,
    Missing,
    Unreadable,
}

impl LogFileStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Where something lies, or would lie.
pub(crate) struct Place<'p> {
    pub bucket: Option<&'p str>,
    pub key: &'p str,
}

impl<'p> Place<'p> {
    /// An object's own place.
    pub fn of(id: &'p ObjectId) -> Self {
        if id.bucket.is_empty() {
            Self { bucket: None, key: &id.source }
        } else {
            Self { bucket: Some(&id.bucket), key: &id.key }
        }
    }

    fn resource(&self, region: &str) -> String {
        let partition = partition(region);
        self.bucket.map_or_else(|| self.key.to_owned(), |bucket| format!("arn:{partition}:s3:::{bucket}/{}", self.key))
    }
}

/// What every line has.
fn line(chain: &Chain, kind: &str, status: &str, place: &Place<'_>, since: Timestamp, more: Value) -> Value {
    let mut line = json!({
        "schema": SCHEMA,
        "service": "cloudtrail",
        "type": kind,
        "resource": place.resource(&chain.region),
        "account": chain.account,
        "region": chain.region,
        "since": since,
        "status": status,
        "trail": chain.trail,
        "home_region": chain.home_region,
        "backfill": chain.backfill,
        "s3_bucket": place.bucket,
        "s3_object": place.key,
    });
    if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
        line.extend(more);
    }
    line
}

/// A digest.
pub(crate) fn digest(chain: &Chain, status: DigestStatus, place: &Place<'_>, since: Timestamp, more: Value) -> Value {
    line(chain, "trail_digest", status.as_str(), place, since, more)
}

/// A log file.
pub(crate) fn log_file(
    chain: &Chain,
    status: LogFileStatus,
    place: &Place<'_>,
    since: Timestamp,
    more: Value,
) -> Value {
    line(chain, "trail_log_file", status.as_str(), place, since, more)
}

/// Log files that no digest names, the first of which lies at `place`.
pub(crate) fn unlisted(chain: &Chain, place: &Place<'_>, since: Timestamp, count: u64, examples: &[String]) -> Value {
    line(chain, "trail_log_files", "unlisted", place, since, json!({"count": count, "examples": examples}))
}
