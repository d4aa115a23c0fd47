//! Calls of CloudTrail by mallory, as CloudTrail records them
//! (<https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>).

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::harness::clock::now;
use crate::harness::emulator::{ACCOUNT, REGION};

/// Where mallory calls from.
pub const ADDRESS: &str = "203.0.113.9";

/// So many minutes ago.
pub fn ago(minutes: i64) -> Timestamp {
    now() - SignedDuration::from_mins(minutes)
}

/// A call; `id` becomes its `eventID`.
pub fn call(time: Timestamp, id: &str, name: &str, parameters: &Value) -> Value {
    let user = json!({
        "type": "IAMUser", "principalId": "AIDAEXAMPLEMALLORY00", "accountId": ACCOUNT, "userName": "mallory",
        "arn": format!("arn:aws:iam::{ACCOUNT}:user/mallory"), "accessKeyId": "AKIAEXAMPLEMALLORY00",
    });
    json!({
        "eventVersion": "1.11", "userIdentity": user, "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "eventSource": "cloudtrail.amazonaws.com", "eventName": name, "awsRegion": REGION,
        "sourceIPAddress": ADDRESS, "userAgent": "aws-cli/2.31.0", "requestParameters": parameters,
        "responseElements": null, "requestID": format!("request-{id}"), "eventID": id, "readOnly": false,
        "eventType": "AwsApiCall", "managementEvent": true, "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
    })
}

/// A call as EventBridge delivers it
/// (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html>).
pub fn by_event_bridge(call: &Value) -> Value {
    json!({
        "version": "0", "id": format!("envelope-{}", call["eventID"].as_str().unwrap_or_default()),
        "detail-type": "AWS API Call via CloudTrail", "source": "aws.cloudtrail", "account": ACCOUNT,
        "time": call["eventTime"], "region": REGION, "resources": [], "detail": call,
    })
}

/// The key under which CloudTrail delivers a log file of these minutes.
pub fn log_file_key(time: Timestamp, unique: &str) -> String {
    let (day, minute) = (time.strftime("%Y/%m/%d"), time.strftime("%Y%m%dT%H%MZ"));
    format!("AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/{day}/{ACCOUNT}_CloudTrail_{REGION}_{minute}_{unique}.json.gz")
}
