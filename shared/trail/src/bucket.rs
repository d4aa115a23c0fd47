//! A trail's bucket as it was seen, and what has become of what keeps the log files safe in it.

use cloudvigil_core::enrich::lets_services_write;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::undo::quoted;

/// A bucket, as the member `bucket` of a trail's inventory line. What could not be looked at is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketState {
    /// Whether there is none of that name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// Its policy's JSON; null: it has none.
    #[serde(default, deserialize_with = "seen", skip_serializing_if = "Option::is_none")]
    pub policy: Option<Option<String>>,
    /// The fewest days after which something deletes what is current; null: nothing does.
    #[serde(default, deserialize_with = "seen", skip_serializing_if = "Option::is_none")]
    pub expires_after_days: Option<Option<i64>>,
    /// Whether public access is blocked in all ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_access_blocked: Option<bool>,
}

/// A member that is there, be it null.
fn seen<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

impl BucketState {
    /// With what could not be looked at now, and was seen `before`.
    #[must_use]
    pub fn or_as_before(self, before: &Self) -> Self {
        if self.gone {
            return self;
        }
        Self {
            gone: false,
            policy: self.policy.or_else(|| before.policy.clone()),
            expires_after_days: self.expires_after_days.or(before.expires_after_days),
            public_access_blocked: self.public_access_blocked.or(before.public_access_blocked),
        }
    }
}

/// What became of a bucket between two looks: sentences, and the commands that bring back what was lost.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    pub lost: Vec<String>,
    pub gained: Vec<String>,
    pub undo: Vec<String>,
}

/// What became of the bucket `name`.
pub(crate) fn difference(name: &str, before: &BucketState, after: &BucketState) -> Difference {
    let mut found = Difference::default();
    let bucket = quoted(name);
    match (before.gone, after.gone) {
        (true, true) => return found,
        (false, true) => {
            found.lost.push(format!("The bucket {name} is gone, and with it what was delivered"));
            found.undo.push(format!("aws s3api create-bucket --bucket {bucket}"));
            found.undo.extend(before.policy.iter().flatten().map(|policy| put_policy(&bucket, policy)));
            return found;
        }
        (true, false) => found.gained.push(format!("The bucket {name} is there again")),
        (false, false) => {}
    }
    if let (Some(had), Some(has)) = (&before.policy, &after.policy)
        && meaning(had.as_deref()) != meaning(has.as_deref())
    {
        let lets = |policy: &Option<String>| policy.as_deref().is_some_and(lets_cloudtrail_write);
        match (lets(had), lets(has)) {
            (false, true) => found.gained.push(format!("The policy of the bucket {name} lets CloudTrail write now")),
            (true, false) => {
                found.lost.push(format!("The policy of the bucket {name} no longer lets CloudTrail write"));
            }
            _ => found
                .lost
                .push(format!("The bucket {name} has another policy: other people may read or delete log files")),
        }
        if found.gained.is_empty() {
            found.undo.push(match had {
                Some(policy) => put_policy(&bucket, policy),
                None => format!("aws s3api delete-bucket-policy --bucket {bucket}"),
            });
        }
    }
    if let (Some(had), Some(has)) = (before.expires_after_days, after.expires_after_days)
        && had != has
    {
        let shown = |days: Option<i64>| match days {
            None => "never".to_owned(),
            Some(1) => "after 1 day".to_owned(),
            Some(days) => format!("after {days} days"),
        };
        let sentence = format!("What lies in the bucket {name} is deleted {} instead of {}", shown(has), shown(had));
        if has.unwrap_or(i64::MAX) < had.unwrap_or(i64::MAX) {
            found.lost.push(sentence);
            found.undo.push(match had {
                None => format!("aws s3api delete-bucket-lifecycle --bucket {bucket}"),
                // The rules that it had are not kept; what it has is where to begin.
                Some(_) => format!("aws s3api get-bucket-lifecycle-configuration --bucket {bucket}"),
            });
        } else {
            found.gained.push(sentence);
        }
    }
    match (before.public_access_blocked, after.public_access_blocked) {
        (Some(true), Some(false)) => {
            found.lost.push(format!("Public access to the bucket {name} is no longer blocked"));
            let all = "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true";
            let block = "aws s3api put-public-access-block";
            found.undo.push(format!("{block} --bucket {bucket} --public-access-block-configuration {all}"));
        }
        (Some(false), Some(true)) => found.gained.push(format!("Public access to the bucket {name} is blocked now")),
        _ => {}
    }
    found
}

fn put_policy(bucket: &str, policy: &str) -> String {
    format!("aws s3api put-bucket-policy --bucket {bucket} --policy {}", quoted(policy))
}

/// What a policy says, so that one that was only written anew is the same.
fn meaning(policy: Option<&str>) -> Option<Value> {
    policy.map(|policy| serde_json::from_str(policy).unwrap_or_else(|_| Value::from(policy)))
}

fn lets_cloudtrail_write(policy: &str) -> bool {
    lets_services_write(&Value::from(policy))
}
