//! Whether a bucket's policy lets everyone in.
//!
//! The meaning of "public" follows
//! [S3's own](https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status):
//! a statement that allows any principal, unless a condition narrows it to fixed values.

use std::borrow::Cow;

use serde_json::Value;

use super::{elements, networks};

/// Condition keys that tie a request to somebody or somewhere.
const NARROWING_KEYS: [&str; 15] = [
    "aws:sourceip",
    "aws:vpcsourceip",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:sourcearn",
    "aws:sourceaccount",
    "aws:sourceorgid",
    "aws:sourceowner",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:userid",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
];

/// Operators that demand one of the given values. Their negations demand nearly nothing, and with `IfExists` or
/// `ForAllValues` a request without the key passes.
const NARROWING_OPERATORS: [&str; 6] =
    ["stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress"];
const ANY_VALUE: &str = "foranyvalue:";

/// Whether a policy, as an object or as its JSON text, has a statement that allows everyone.
pub fn is_public(policy: &Value) -> bool {
    let policy = match policy {
        Value::String(text) => match serde_json::from_str(text) {
            Ok(parsed) => Cow::Owned(parsed),
            Err(_) => return false,
        },
        other => Cow::Borrowed(other),
    };
    policy.get("Statement").map(elements).unwrap_or_default().into_iter().any(allows_everyone)
}

fn allows_everyone(statement: &Value) -> bool {
    let allows = statement.get("Effect").and_then(Value::as_str) == Some("Allow");
    // All but somebody is everybody else.
    let everyone = statement.get("NotPrincipal").is_some() || statement.get("Principal").is_some_and(is_everyone);
    allows && everyone && !statement.get("Condition").is_some_and(narrows)
}

fn is_everyone(principal: &Value) -> bool {
    match principal {
        Value::String(name) => name == "*",
        Value::Object(kinds) => {
            let aws = kinds.get("AWS").map(elements).unwrap_or_default();
            aws.into_iter().any(|name| name.as_str() == Some("*"))
        }
        _ => false,
    }
}

/// Conditions must all hold, so that one that narrows is enough.
fn narrows(conditions: &Value) -> bool {
    let operators = conditions.as_object().into_iter().flatten();
    operators.filter_map(|(operator, keys)| Some((operator, keys.as_object()?))).any(|(operator, keys)| {
        let operator = operator.to_ascii_lowercase();
        let operator = operator.strip_prefix(ANY_VALUE).unwrap_or(&operator);
        NARROWING_OPERATORS.contains(&operator)
            && keys.iter().any(|(key, values)| {
                NARROWING_KEYS.contains(&key.to_ascii_lowercase().as_str()) && fixed(operator, values)
            })
    })
}

/// Whether each of the values, one of which must be met, leaves somebody out.
fn fixed(operator: &str, values: &Value) -> bool {
    let values = elements(values);
    if operator == "ipaddress" {
        let all = values.iter().filter_map(|value| networks::network(value.as_str()?));
        return !networks::covers_half(all);
    }
    let open = |value: &&Value| {
        let pattern = value.as_str().unwrap_or("*");
        operator.ends_with("like") && pattern.chars().all(|letter| matches!(letter, '*' | ':' | '?'))
            || operator.starts_with("arn") && pattern.starts_with("arn:*:*:*:*")
    };
    !values.iter().any(open)
}
