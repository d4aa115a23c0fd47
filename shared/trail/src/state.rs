//! A trail as it was seen: what of its inventory line says which events it records and where they go.

use cloudvigil_core::enrich::Recording;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bucket::BucketState;

/// A trail. It is read from the trail's inventory line, whose names its fields have; what could not be looked at is
/// `None` where the line has null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own, as CloudTrail has it")]
pub struct TrailState {
    /// Its ARN.
    #[serde(rename = "resource")]
    pub arn: String,
    /// The account that it belongs to.
    #[serde(default)]
    pub account: Option<String>,
    /// Its name.
    pub name: String,
    /// The region where alone it can be changed.
    pub home_region: String,
    /// Whether it records every region.
    pub multi_region: bool,
    /// Whether it records every account of an organization.
    pub organization: bool,
    /// Whether it records services that belong to no region.
    pub global_services: bool,
    /// Whether it records Insights events.
    pub insights: bool,
    /// Whether its log files can be validated by digests.
    pub log_file_validation: bool,
    /// The bucket that it delivers to.
    #[serde(default)]
    pub s3_bucket: Option<String>,
    /// What stands before `AWSLogs/` in its keys.
    #[serde(default)]
    pub s3_prefix: Option<String>,
    /// The ARN of the log group that it delivers to.
    #[serde(default)]
    pub log_group: Option<String>,
    /// The ARN of the role by which it does.
    #[serde(default)]
    pub log_role: Option<String>,
    /// The ARN of the topic that is told of deliveries.
    #[serde(default)]
    pub sns_topic: Option<String>,
    /// The key that its log files are encrypted with.
    #[serde(default)]
    pub kms_key: Option<String>,
    /// Whether it is switched on.
    #[serde(default)]
    pub is_logging: Option<bool>,
    /// When it was last switched on.
    #[serde(default)]
    pub started: Option<Timestamp>,
    /// When it was last switched off.
    #[serde(default)]
    pub stopped: Option<Timestamp>,
    /// Its bucket, if that was looked at.
    #[serde(default)]
    pub bucket: Option<BucketState>,
    /// `{"EventSelectors": [...]}` or `{"AdvancedEventSelectors": [...]}`.
    #[serde(default)]
    pub selectors: Option<Value>,
}

impl TrailState {
    /// Reads an inventory line of the type `trail`; `None` if it is none.
    pub fn of_line(line: &Value) -> Option<Self> {
        (line["type"] == "trail").then(|| Self::deserialize(line).ok()).flatten()
    }

    /// Which events it records, if its selectors could be looked at.
    pub fn recording(&self) -> Option<Recording> {
        Recording::of(self.selectors.as_ref()?)
    }

    /// With what could not be looked at now, and was seen `before`.
    #[must_use]
    pub fn or_as_before(self, before: &Self) -> Self {
        let seen = self.is_logging.is_some();
        let status = |now, before| if seen { now } else { before };
        // Of another bucket nothing was known before.
        let bucket_before = before.bucket.as_ref().filter(|_| before.s3_bucket == self.s3_bucket);
        let bucket = match (self.bucket, bucket_before) {
            (Some(now), Some(before)) => Some(now.or_as_before(before)),
            (now, before) => now.or_else(|| before.cloned()),
        };
        Self {
            is_logging: self.is_logging.or(before.is_logging),
            started: status(self.started, before.started),
            stopped: status(self.stopped, before.stopped),
            selectors: self.selectors.or_else(|| before.selectors.clone()),
            bucket,
            ..self
        }
    }

    /// Where it records, for the end of a sentence.
    pub(crate) fn place(&self) -> String {
        if self.multi_region { "in all regions".to_owned() } else { format!("in {}", self.home_region) }
    }
}
