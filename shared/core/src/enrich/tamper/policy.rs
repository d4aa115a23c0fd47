//! Whether a resource's policy keeps the services away that deliver logs.
//!
//! Grammar: [IAM JSON policy elements](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html).

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::super::{elements, member};
use crate::wildcards::fits_in_any_case;

/// A policy, given as an object or as its JSON text.
pub(super) fn parsed(policy: &Value) -> Option<Cow<'_, Value>> {
    match policy {
        Value::String(text) => serde_json::from_str(text).ok().map(Cow::Owned),
        other => Some(Cow::Borrowed(other)),
    }
}

/// Whether a statement refuses one of the `actions` to everybody or to a service, on no condition.
///
/// Statements with a condition are left out: refusing what comes without TLS, or from outside of the organization, is
/// good practice and keeps no log service away.
pub(super) fn denies(policy: &Value, actions: &[&str]) -> bool {
    statements(policy, "Deny").any(|statement| {
        let unconditional = member(statement, "Condition").is_none_or(|all| all.as_object().is_none_or(Map::is_empty));
        unconditional && meets_services(statement, true) && actions.iter().any(|action| covers(statement, action))
    })
}

/// Whether a statement allows a service the action, on whatever condition.
pub(super) fn lets_a_service(policy: &Value, action: &str) -> bool {
    statements(policy, "Allow").any(|statement| meets_services(statement, false) && covers(statement, action))
}

fn statements<'p>(policy: &'p Value, effect: &'p str) -> impl Iterator<Item = &'p Value> {
    let all = member(policy, "Statement").map(elements).unwrap_or_default().into_iter();
    all.filter(move |statement| member(statement, "Effect").and_then(Value::as_str) == Some(effect))
}

/// Whether the statement is about services, or also about everybody.
fn meets_services(statement: &Value, or_everybody: bool) -> bool {
    let Some(principal) = member(statement, "Principal") else {
        // All but somebody, services included.
        return or_everybody && member(statement, "NotPrincipal").is_some();
    };
    let everybody = principal.as_str() == Some("*")
        || member(principal, "AWS").map(elements).unwrap_or_default().into_iter().any(|one| one.as_str() == Some("*"));
    member(principal, "Service").is_some() || or_everybody && everybody
}

fn covers(statement: &Value, action: &str) -> bool {
    let any = |name: &str| {
        let patterns = member(statement, name).map(elements);
        patterns.map(|all| all.into_iter().filter_map(Value::as_str).any(|pattern| fits_in_any_case(pattern, action)))
    };
    any("Action").or_else(|| any("NotAction").map(|left_out| !left_out)).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WRITE: [&str; 2] = ["s3:PutObject", "s3:GetBucketAcl"];

    fn refuses(statement: &Value) -> bool {
        denies(&json!({"Version": "2012-10-17", "Statement": statement}), &WRITE)
    }

    #[test]
    fn refusing_everybody_or_the_service_is_a_denial() {
        for statement in [
            json!({"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "*"}),
            json!([{"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": ["s3:Get*", "s3:*"], "Resource": "*"}]),
            json!({"Effect": "Deny", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": "*", "Resource": "*"}),
            json!({"Effect": "Deny", "NotPrincipal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "s3:Put*", "Resource": "*"}),
            json!({"Effect": "Deny", "Principal": "*", "NotAction": "s3:GetObject", "Resource": "*", "Condition": {}}),
        ] {
            assert!(refuses(&statement), "{statement}");
        }
    }

    #[test]
    fn good_practice_is_none() {
        for statement in [
            json!({"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}),
            json!({"Effect": "Deny", "Principal": "*", "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutBucketPolicy"], "Resource": "*"}),
            json!({"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::123456789012:user/mallory"}, "Action": "s3:*", "Resource": "*"}),
            json!({"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": "*"}),
        ] {
            assert!(!refuses(&statement), "{statement}");
        }
    }

    #[test]
    fn a_service_that_may_write_is_seen() {
        let policy = json!({"Statement": [{"Effect": "Allow", "Principal": {"Service": ["config.amazonaws.com"]}, "Action": "s3:PutObject*"}]});
        assert!(lets_a_service(&policy, "s3:PutObject"));
        assert!(!lets_a_service(&policy, "s3:GetBucketAcl"));
        let people = json!({"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "s3:PutObject"}]});
        assert!(!lets_a_service(&people, "s3:PutObject"));
    }

    #[test]
    fn text_is_a_policy_too_and_nonsense_is_none() {
        let text = json!(r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "kms:*"}}"#);
        assert!(parsed(&text).is_some_and(|policy| denies(&policy, &["kms:Decrypt"])));
        assert!(parsed(&json!("no policy")).is_none());
        assert!(!denies(&json!({"Statement": "Deny"}), &WRITE));
    }
}
