//! What a call takes from a trail, by what it asked for and by the trail as it was when it was last looked at: so that who
//! is told of the call is told at once what nobody records any longer, and what to run.
//!
//! Calls: [StopLogging](https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_StopLogging.html), `DeleteTrail`,
//! `UpdateTrail`, `PutEventSelectors` and `PutInsightSelectors` of the same reference, as `CloudTrail` records them.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::changes::{Change, Kind, changes, gone, stopped};
use crate::state::TrailState;

/// Whether a name or ARN, as calls to the trail's home region give it, means this trail.
pub fn means(given: &str, trail: &TrailState) -> bool {
    given == trail.arn || given == trail.name
}

/// What a call takes from the trail that it names, one of those that were there `before`; `None` where it takes nothing, or
/// names none of them. `call` is `CloudTrail`'s event of a call that succeeded.
pub fn taken(call: &Value, before: &[TrailState], now: Timestamp) -> Option<Change> {
    let (request, region) = (&call["requestParameters"], call["awsRegion"].as_str()?);
    let given = ["name", "trailName"].into_iter().find_map(|name| request[name].as_str())?;
    // The trail of an organization has other accounts' calls too.
    let account = call["recipientAccountId"].as_str();
    let is_its = |owner: &Option<String>| account.zip(owner.as_deref()).is_none_or(|(account, owner)| account == owner);
    let before =
        before.iter().find(|trail| means(given, trail) && trail.home_region == region && is_its(&trail.account))?;
    let after = match call["eventName"].as_str()? {
        "StopLogging" => return Some(stopped(before, now)),
        "DeleteTrail" => return Some(gone(before, now)),
        "UpdateTrail" => updated(call, before),
        "PutEventSelectors" => TrailState { selectors: selectors(call), ..before.clone() },
        "PutInsightSelectors" => {
            let none = request["insightSelectors"].as_array().is_some_and(Vec::is_empty);
            TrailState { insights: !none, ..before.clone() }
        }
        _ => return None,
    };
    changes(before, &after, now).into_iter().find(|change| change.change == Kind::CoverageLost)
}

/// The trail after `UpdateTrail`. What the call leaves out stays as it was; the answer has the ARNs of what it names.
fn updated(call: &Value, before: &TrailState) -> TrailState {
    let (request, answer) = (&call["requestParameters"], &call["responseElements"]);
    let flag = |asked: &str, answered: &str, before: bool| {
        answer[answered].as_bool().or_else(|| request[asked].as_bool()).unwrap_or(before)
    };
    let text = |asked: &str, answered: &str, before: &Option<String>| match request[asked].as_str() {
        None => before.clone(),
        // An empty one takes it away.
        Some("") => None,
        Some(asked) => Some(answer[answered].as_str().unwrap_or(asked).to_owned()),
    };
    let same = |name: &str, before: &Option<String>| text(name, name, before);
    TrailState {
        multi_region: flag("isMultiRegionTrail", "isMultiRegionTrail", before.multi_region),
        organization: flag("isOrganizationTrail", "isOrganizationTrail", before.organization),
        global_services: flag("includeGlobalServiceEvents", "includeGlobalServiceEvents", before.global_services),
        log_file_validation: flag("enableLogFileValidation", "logFileValidationEnabled", before.log_file_validation),
        s3_bucket: same("s3BucketName", &before.s3_bucket),
        s3_prefix: same("s3KeyPrefix", &before.s3_prefix),
        log_group: same("cloudWatchLogsLogGroupArn", &before.log_group),
        log_role: same("cloudWatchLogsRoleArn", &before.log_role),
        sns_topic: text("snsTopicName", "snsTopicARN", &before.sns_topic),
        kms_key: same("kmsKeyId", &before.kms_key),
        ..before.clone()
    }
}

/// The selectors that `PutEventSelectors` sets, under the names that a trail's line has them by: one kind replaces the
/// other.
fn selectors(call: &Value) -> Option<Value> {
    [("eventSelectors", "EventSelectors"), ("advancedEventSelectors", "AdvancedEventSelectors")].into_iter().find_map(
        |(name, member)| {
            let given = &call["requestParameters"][name];
            given.as_array().is_some_and(|list| !list.is_empty()).then(|| json!({member: given}))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:cloudtrail:eu-central-1:123456789012:trail/main";

    fn trail() -> TrailState {
        TrailState::of_line(&json!({
            "type": "trail", "resource": ARN, "account": "123456789012", "name": "main", "home_region": "eu-central-1",
            "multi_region": true, "organization": false, "global_services": true, "insights": true,
            "log_file_validation": true, "s3_bucket": "example-trail-logs", "is_logging": true,
            "sns_topic": "arn:aws:sns:eu-central-1:123456789012:deliveries",
            "selectors": {"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": true}]},
        }))
        .unwrap()
    }

    fn call(name: &str, request: &Value, answer: &Value) -> Value {
        json!({"eventName": name, "awsRegion": "eu-central-1", "requestParameters": request, "responseElements": answer})
    }

    fn lost(call: &Value) -> Vec<String> {
        taken(call, &[trail()], Timestamp::UNIX_EPOCH).map(|change| change.lost).unwrap_or_default()
    }

    #[test]
    fn what_is_lost_is_said_by_the_call_and_the_trail_as_it_was() {
        for (name, request, answer, expected) in [
            (
                "StopLogging",
                json!({"name": ARN}),
                Value::Null,
                "Read and write events of all services are not recorded, in all regions",
            ),
            ("DeleteTrail", json!({"name": "main"}), Value::Null, "The trail main is gone"),
            (
                "UpdateTrail",
                json!({"name": "main", "isMultiRegionTrail": false}),
                json!({"isMultiRegionTrail": false, "includeGlobalServiceEvents": true, "logFileValidationEnabled": true}),
                "Events of all regions but eu-central-1 are no longer recorded",
            ),
            (
                "UpdateTrail",
                json!({"name": "main", "snsTopicName": ""}),
                json!({}),
                "Deliveries are no longer announced to the topic arn:aws:sns:eu-central-1:123456789012:deliveries",
            ),
            (
                "UpdateTrail",
                json!({"name": "main", "kmsKeyId": "alias/a"}),
                json!({"kmsKeyId": "arn:aws:kms:eu-central-1:210987654321:key/a"}),
                "Log files are encrypted with a key of another account, arn:aws:kms:eu-central-1:210987654321:key/a",
            ),
            (
                "PutEventSelectors",
                json!({"trailName": ARN, "eventSelectors": [{"readWriteType": "All", "includeManagementEvents": true,
                    "excludeManagementEventSources": ["kms.amazonaws.com"]}]}),
                json!({}),
                "Read and write events of KMS are no longer recorded, in all regions",
            ),
            (
                "PutInsightSelectors",
                json!({"trailName": "main", "insightSelectors": []}),
                json!({}),
                "Insights events are no longer recorded, in all regions",
            ),
        ] {
            let call = call(name, &request, &answer);
            assert_eq!(lost(&call).first().map(String::as_str), Some(expected), "{call}");
        }
    }

    #[test]
    fn what_takes_nothing_is_not_spoken_of() {
        let null = Value::Null;
        for (why, call) in [
            ("a field that is left out stays", call("UpdateTrail", &json!({"name": "main"}), &json!({"name": "main"}))),
            ("another trail", call("StopLogging", &json!({"name": "other"}), &null)),
            ("no name", call("StopLogging", &null, &null)),
            ("it gives", call("StartLogging", &json!({"name": "main"}), &null)),
        ] {
            assert_eq!(lost(&call), Vec::<String>::new(), "{why}");
        }
        let mut elsewhere = call("StopLogging", &json!({"name": "main"}), &null);
        elsewhere["awsRegion"] = json!("us-east-1");
        assert_eq!(lost(&elsewhere), Vec::<String>::new(), "a trail of the same name in another region");
        let mut of_member = call("StopLogging", &json!({"name": "main"}), &null);
        of_member["recipientAccountId"] = json!("210987654321");
        assert_eq!(lost(&of_member), Vec::<String>::new(), "a trail of the same name of another account");
    }

    #[test]
    fn what_is_said_beforehand_is_what_the_comparison_says_afterwards() {
        let call = call(
            "PutEventSelectors",
            &json!({"trailName": "main", "eventSelectors": [{"readWriteType": "ReadOnly", "includeManagementEvents": true}]}),
            &Value::Null,
        );
        let selectors = json!({"EventSelectors": [{"ReadWriteType": "ReadOnly", "IncludeManagementEvents": true,
            "DataResources": [], "ExcludeManagementEventSources": []}]});
        let after = TrailState { selectors: Some(selectors), ..trail() };
        assert_eq!(lost(&call), changes(&trail(), &after, Timestamp::UNIX_EPOCH)[0].lost);
    }
}
