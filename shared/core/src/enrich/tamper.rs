//! What rules about tampering cannot say: whose resource a call is about, and what its policy or lifecycle would do.
//!
//! | field | on | value |
//! | --- | --- | --- |
//! | `cloudvigil.own_resource` | calls that change something | `true` where the resource is one of cloudvigil's own |
//! | `cloudvigil.log_resource` | the same, of buckets, log groups, streams, pipes, keys and roles | `true` where it keeps or delivers logs |
//! | `cloudvigil.expires_after_days` | a bucket's lifecycle | the fewest days after which it deletes objects |
//! | `cloudvigil.use_denied` | policies of buckets and keys | `true` where a statement refuses the services that write logs |
//! | `cloudvigil.service_may_write` | policies of buckets | `true` where a statement lets a service write |
//! | `cloudvigil.foreign_key` | a bucket's encryption | `true` where the key belongs to another account |

mod lifecycle;
mod own;
mod policy;
mod resources;

use serde_json::{Map, Value};

use self::own::Call;
pub use self::own::OwnResources;
use super::{elements, member};

/// See the module's table.
pub const OWN_RESOURCE: &str = "cloudvigil.own_resource";
/// See the module's table.
pub const LOG_RESOURCE: &str = "cloudvigil.log_resource";
/// See the module's table.
pub const EXPIRES_AFTER_DAYS: &str = "cloudvigil.expires_after_days";
/// See the module's table.
pub const USE_DENIED: &str = "cloudvigil.use_denied";
/// See the module's table.
pub const SERVICE_MAY_WRITE: &str = "cloudvigil.service_may_write";
/// See the module's table.
pub const FOREIGN_KEY: &str = "cloudvigil.foreign_key";

/// What a service needs to deliver log files into a bucket.
const WRITE_OBJECTS: [&str; 2] = ["s3:PutObject", "s3:GetBucketAcl"];
/// What a service needs to encrypt them.
const USE_KEY: [&str; 3] = ["kms:GenerateDataKey", "kms:Encrypt", "kms:Decrypt"];

/// Whether a bucket's policy, as an object or as its JSON text, lets the services write that deliver logs.
pub fn lets_services_write(policy: &Value) -> bool {
    let lets =
        |policy: &Value| policy::lets_a_service(policy, "s3:PutObject") && !policy::denies(policy, &WRITE_OBJECTS);
    policy::parsed(policy).is_some_and(|policy| lets(&policy))
}

/// Whether a call changes one of cloudvigil's own resources, or would have if it had not been refused: one that is known
/// to be, not one that only has the word in its name.
pub(super) fn changes_own(event: &Value, own: &OwnResources) -> bool {
    !is_read_only(event) && judge(event, own).known
}

fn is_read_only(event: &Value) -> bool {
    event.get("readOnly") == Some(&Value::Bool(true))
}

fn judge(event: &Value, own: &OwnResources) -> resources::Named {
    let source = event.get("eventSource").and_then(Value::as_str).unwrap_or_default();
    resources::judge(event, source, own)
}

/// Adds what there is to say about a `CloudTrail` event.
pub(super) fn enrich(event: &Value, own: &OwnResources, derived: &mut Map<String, Value>) {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    if is_read_only(event) {
        return;
    }
    let named = judge(event, own);
    let mut put = |name: &str, holds: bool| {
        if holds {
            derived.insert(name.to_owned(), Value::from(true));
        }
    };
    put(OWN_RESOURCE, named.own);
    put(LOG_RESOURCE, named.logs);
    let Some(parameters) = event.get("requestParameters").filter(|parameters| parameters.is_object()) else { return };
    match (text("eventSource"), text("eventName")) {
        ("s3.amazonaws.com", "PutBucketPolicy") => {
            if let Some(policy) = member(parameters, "bucketPolicy").and_then(policy::parsed) {
                put(USE_DENIED, policy::denies(&policy, &WRITE_OBJECTS));
                put(SERVICE_MAY_WRITE, policy::lets_a_service(&policy, "s3:PutObject"));
            }
        }
        ("kms.amazonaws.com", "PutKeyPolicy") => {
            if let Some(policy) = member(parameters, "policy").and_then(policy::parsed) {
                put(USE_DENIED, policy::denies(&policy, &USE_KEY));
            }
        }
        ("s3.amazonaws.com", "PutBucketEncryption") => put(FOREIGN_KEY, has_foreign_key(event, parameters)),
        ("s3.amazonaws.com", "PutBucketLifecycle") => {
            if let Some(days) = lifecycle::expires_after_days(parameters, text("eventTime")) {
                derived.insert(EXPIRES_AFTER_DAYS.to_owned(), Value::from(days));
            }
        }
        _ => {}
    }
}

/// Whether a bucket's default encryption names the key of an account that the bucket is not in.
fn has_foreign_key(event: &Value, parameters: &Value) -> bool {
    let Some(own) = event.get("recipientAccountId").and_then(Value::as_str) else { return false };
    let rules = member(parameters, "ServerSideEncryptionConfiguration").and_then(|all| member(all, "Rule"));
    let rules = rules.map(elements).unwrap_or_default().into_iter();
    let keys = rules.filter_map(|rule| {
        member(member(rule, "ApplyServerSideEncryptionByDefault")?, "KMSMasterKeyID").and_then(Value::as_str)
    });
    // An ARN's fifth part is the account; a mere id or alias is looked up in the caller's.
    keys.filter(|key| key.starts_with("arn:")).any(|key| key.split(':').nth(4).is_some_and(|account| account != own))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn derived(event: &Value) -> Value {
        let mut derived = Map::new();
        enrich(event, &OwnResources::default(), &mut derived);
        Value::Object(derived)
    }

    #[test]
    fn a_key_of_another_account_is_foreign() {
        let event = |key: &str| {
            json!({
                "eventSource": "s3.amazonaws.com", "eventName": "PutBucketEncryption", "recipientAccountId": "123456789012",
                "requestParameters": {"bucketName": "example-data", "ServerSideEncryptionConfiguration": {"Rule":
                    {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}}},
            })
        };
        assert_eq!(
            derived(&event("arn:aws:kms:eu-central-1:210987654321:key/a")),
            json!({"cloudvigil.foreign_key": true})
        );
        assert_eq!(derived(&event("arn:aws:kms:eu-central-1:123456789012:key/a")), json!({}));
        assert_eq!(derived(&event("alias/data")), json!({}));
    }

    #[test]
    fn what_only_reads_is_left_alone() {
        let event = json!({
            "eventSource": "lambda.amazonaws.com", "eventName": "GetFunction20150331v2", "readOnly": true,
            "requestParameters": {"functionName": "cloudvigil-notifier"},
        });
        assert_eq!(derived(&event), json!({}));
        assert!(!changes_own(&event, &OwnResources::new(["cloudvigil-*"]).unwrap()));
    }
}
