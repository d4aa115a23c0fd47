//! How soon a bucket's lifecycle deletes objects.
//!
//! Shape: [LifecycleConfiguration](https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html),
//! as `CloudTrail` turns its XML into JSON: one `Rule` is an object, several are a list.

use jiff::Timestamp;
use serde_json::Value;

use super::super::{elements, member};

const SECONDS_A_DAY: i64 = 24 * 3600;

/// The fewest days after which an enabled rule deletes an object's current version; `None` where none does.
///
/// A date counts from the event's time, and one that has passed is 0 days. Expiry of old versions and of delete markers
/// is housekeeping: the objects stay.
pub(super) fn expires_after_days(parameters: &Value, event_time: &str) -> Option<i64> {
    let rules = member(member(parameters, "LifecycleConfiguration")?, "Rule").map(elements).unwrap_or_default();
    let enabled = rules.into_iter().filter(|rule| member(rule, "Status").and_then(Value::as_str) == Some("Enabled"));
    let days = enabled.filter_map(|rule| {
        let expiration = member(rule, "Expiration")?;
        match member(expiration, "Days") {
            Some(days) => days.as_i64().or_else(|| days.as_str()?.trim().parse().ok()),
            None => days_until(member(expiration, "Date")?.as_str()?, event_time),
        }
    });
    days.min()
}

fn days_until(date: &str, event_time: &str) -> Option<i64> {
    let instant = |text: &str| text.parse::<Timestamp>().ok().map(Timestamp::as_second);
    let at = instant(date).or_else(|| instant(&format!("{date}T00:00:00Z")))?;
    Some((at - instant(event_time)?).div_euclid(SECONDS_A_DAY).max(0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn days(rule: &Value) -> Option<i64> {
        expires_after_days(&json!({"LifecycleConfiguration": {"Rule": rule}}), "2026-03-01T10:00:00Z")
    }

    #[test]
    fn the_soonest_of_the_enabled_rules_counts() {
        assert_eq!(days(&json!({"Status": "Enabled", "Expiration": {"Days": 1}})), Some(1));
        let rules = json!([
            {"Status": "Enabled", "Expiration": {"Days": "400"}},
            {"Status": "Enabled", "Expiration": {"Days": 30}, "Filter": {"Prefix": "AWSLogs/"}},
            {"Status": "Disabled", "Expiration": {"Days": 1}},
        ]);
        assert_eq!(days(&rules), Some(30));
    }

    #[test]
    fn a_date_counts_from_the_event() {
        assert_eq!(days(&json!({"Status": "Enabled", "Expiration": {"Date": "2026-03-11T10:00:00Z"}})), Some(10));
        assert_eq!(days(&json!({"Status": "Enabled", "Expiration": {"Date": "2026-03-03"}})), Some(1));
        assert_eq!(days(&json!({"Status": "Enabled", "Expiration": {"Date": "2020-01-01T00:00:00Z"}})), Some(0));
        assert_eq!(days(&json!({"Status": "Enabled", "Expiration": {"Date": "soon"}})), None);
    }

    #[test]
    fn housekeeping_deletes_nothing_that_is_current() {
        let rules = json!([
            {"Status": "Enabled", "NoncurrentVersionExpiration": {"NoncurrentDays": 1}},
            {"Status": "Enabled", "Expiration": {"ExpiredObjectDeleteMarker": true}},
            {"Status": "Enabled", "Transition": {"Days": 30, "StorageClass": "GLACIER"}},
            {"Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
        ]);
        assert_eq!(days(&rules), None);
        assert_eq!(expires_after_days(&json!({"LifecycleConfiguration": ""}), "2026-03-01T10:00:00Z"), None);
    }
}
