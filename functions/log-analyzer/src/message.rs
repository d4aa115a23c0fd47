//! What a queue message says of new objects.
//!
//! Two envelopes come: `EventBridge`'s `Object Created`
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>), whose keys are plain, and S3's own
//! notification (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>), whose keys
//! are URL-encoded with `+` for a space, and whose first message is a test. Either may come wrapped by SNS.

use cloudvigil_core::ports::ObjectId;
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// A message that names no object, and never will.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is no S3 event: {0}")]
pub struct NotAnEvent(&'static str);

/// The objects that a message's body names, each by itself; none for S3's test message.
pub fn objects(body: &str) -> Result<Vec<Result<ObjectId, NotAnEvent>>, NotAnEvent> {
    let value: Value = serde_json::from_str(body).map_err(|_| NotAnEvent("it is not JSON"))?;
    if let (Some("Notification"), Some(inner)) =
        (value["Type"].as_str(), value["Message"].as_str().filter(|_| value["TopicArn"].is_string()))
    {
        return objects(inner);
    }
    if value["Event"] == "s3:TestEvent" {
        return Ok(Vec::new());
    }
    if value["source"] == "aws.s3" && value["detail"].is_object() {
        let detail = &value["detail"];
        return Ok(vec![object(detail, "version-id", |key| Ok(key.to_owned()))]);
    }
    let records = value["Records"].as_array().ok_or(NotAnEvent("it has neither `detail` nor `Records`"))?;
    Ok(records.iter().map(|record| object(&record["s3"], "versionId", url_decoded)).collect())
}

fn object(
    event: &Value,
    version: &str,
    decode: impl Fn(&str) -> Result<String, NotAnEvent>,
) -> Result<ObjectId, NotAnEvent> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let bucket = text(&event["bucket"]["name"]).ok_or(NotAnEvent("the bucket's name is missing"))?;
    let key = event["object"]["key"].as_str().ok_or(NotAnEvent("the object's key is missing"))?;
    let key = decode(key)?;
    let version = text(&event["object"][version]).filter(|version| version != "null");
    Ok(ObjectId { source: format!("s3://{bucket}/{key}"), bucket, key, version })
}

fn url_decoded(key: &str) -> Result<String, NotAnEvent> {
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| NotAnEvent("the object's key is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(body: &str) -> Vec<(String, Option<String>)> {
        objects(body).unwrap().into_iter().map(Result::unwrap).map(|id| (id.source, id.version)).collect()
    }

    #[test]
    fn a_key_is_plain_from_eventbridge_and_encoded_from_s3() {
        let bridge = r#"{"version":"0","source":"aws.s3","detail-type":"Object Created","detail":{"bucket":{"name":"logs"},"object":{"key":"a b+c%20ü.gz","size":5,"version-id":"v1"}}}"#;
        assert_eq!(keys(bridge), [("s3://logs/a b+c%20ü.gz".to_owned(), Some("v1".to_owned()))]);
        let notification = r#"{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"logs"},"object":{"key":"a+b%2Bc%2520%C3%BC.gz"}}}]}"#;
        assert_eq!(keys(notification), [("s3://logs/a b+c%20ü.gz".to_owned(), None)]);
        let wrapped = serde_json::json!({"Type": "Notification", "TopicArn": "arn:x", "Message": notification});
        assert_eq!(keys(&wrapped.to_string()), keys(notification));
    }

    #[test]
    fn the_test_message_names_nothing() {
        assert_eq!(objects(r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"logs"}"#), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for body in [
            "",
            "{",
            "7",
            "{}",
            r#"{"Records":[{}]}"#,
            r#"{"source":"aws.s3","detail":{}}"#,
            r#"{"Records":[{"s3":{"bucket":{"name":"b"},"object":{"key":"%ff"}}}]}"#,
        ] {
            assert!(objects(body).is_err() || objects(body).unwrap()[0].is_err(), "{body}");
        }
    }
}
