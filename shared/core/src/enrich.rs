//! What rules cannot compute, worked out before them, as fields that begin with `cloudvigil.`.
//!
//! | field | on | value |
//! | --- | --- | --- |
//! | `cloudvigil.uri_decoded` | web requests | the target, decoded up to three times, in lower case |
//! | `cloudvigil.web_attack` | web requests | `sql_injection`, `path_traversal`, `cross_site_scripting`, `command_injection`: those that fit |
//! | `cloudvigil.scanner` | web requests | the name of the scanner that the user agent names |
//! | `cloudvigil.open_to_world` | security groups | `true` where a rule lets half of the internet or more in |
//! | `cloudvigil.open_ports` | security groups | the administration and database ports that it lets in |
//! | `cloudvigil.policy_public` | bucket policies | `true` where a statement allows anyone |
//! | `cloudvigil.management_events` | event selectors | `all`, `read_only`, `write_only`, `partly_excluded`, `none` |
//! | `cloudvigil.own_resource` and others | calls that change something | see `tamper.rs` |
//! | `cloudvigil.error_kind` | application logs | an exception's type, `panic`, or `error` |
//!
//! What an access log's requests are up to is told by their parser, since rules are found by it ([`crate::record::LogSource::keys`]).
//!
//! A field is there only where it says something: nothing is ever `false` or empty.

mod errors;
mod memo;
mod networks;
mod patterns;
mod percent;
mod policies;
mod scanners;
mod selectors;
mod sql;
mod tamper;
mod web;

use serde_json::{Map, Value};

pub(crate) use self::memo::Memo;
pub use self::networks::{Exposure, exposure};
pub use self::policies::is_public;
pub use self::selectors::{Access, Others, Recording, Share, management_events};
pub(crate) use self::tamper::{
    EXPIRES_AFTER_DAYS, FOREIGN_KEY, LOG_RESOURCE, OWN_RESOURCE, SERVICE_MAY_WRITE, USE_DENIED,
};
pub use self::tamper::{OwnResources, lets_services_write};
pub(crate) use self::web::{Attacks, Header};
use crate::record::Record;

/// See the module's table.
pub const URI_DECODED: &str = "cloudvigil.uri_decoded";
/// See the module's table.
pub const WEB_ATTACK: &str = "cloudvigil.web_attack";
/// See the module's table.
pub const SCANNER: &str = "cloudvigil.scanner";
/// See the module's table.
pub const OPEN_TO_WORLD: &str = "cloudvigil.open_to_world";
/// See the module's table.
pub const OPEN_PORTS: &str = "cloudvigil.open_ports";
/// See the module's table.
pub const POLICY_PUBLIC: &str = "cloudvigil.policy_public";
/// See the module's table.
pub const MANAGEMENT_EVENTS: &str = "cloudvigil.management_events";
/// See the module's table.
pub const ERROR_KIND: &str = "cloudvigil.error_kind";

/// Where the inventory keeps what is judged here.
const INVENTORY_RULES: [&str; 4] = ["ingress", "ingress_rules", "ip_permissions", "ipPermissions"];
const INVENTORY_POLICIES: [&str; 2] = ["policy", "bucket_policy"];

/// Fills `record.derived`. Cheap on a record that has nothing to say; what takes time is worked out only if it is wanted,
/// by its name. `own` are resources that are known to be cloudvigil's.
pub fn enrich(record: &mut Record<'_>, own: &OwnResources, wants: impl Fn(&str) -> bool) {
    let (source, fields, derived) = (record.log_source, &record.fields, record.derived.get_or_insert_default());
    if source.categories.contains(&"webserver") {
        web::enrich(fields, wants, derived);
    } else if source.services.contains(&"cloudtrail") {
        cloudtrail(fields.tree(), own, derived);
    } else if source.categories.contains(&"inventory") {
        inventory(fields.tree(), derived);
    } else if source.categories.contains(&"application")
        && let Some(kind) = errors::kind(fields.tree())
    {
        derived.insert(ERROR_KIND.to_owned(), Value::from(kind));
    }
}

/// Whether a record is about a resource that is known to be cloudvigil's own: a call that changes it, or how it was found to be.
pub(crate) fn is_about_own(record: &Record<'_>, own: &OwnResources) -> bool {
    let source = record.log_source;
    if own.is_empty() {
        false
    } else if source.services.contains(&"cloudtrail") {
        tamper::changes_own(record.fields.tree(), own)
    } else if source.categories.contains(&"inventory") {
        record.fields.text("resource").is_some_and(|arn| own.has_arn(arn))
    } else {
        false
    }
}

fn cloudtrail(fields: &Value, own: &OwnResources, derived: &mut Map<String, Value>) {
    tamper::enrich(fields, own, derived);
    let Some(parameters) = fields.get("requestParameters").filter(|parameters| parameters.is_object()) else { return };
    match fields.get("eventName").and_then(Value::as_str) {
        Some("AuthorizeSecurityGroupIngress" | "ModifySecurityGroupRules") => put_exposure(parameters, derived),
        Some("PutBucketPolicy") => put_policy(parameters.get("bucketPolicy"), derived),
        Some("PutEventSelectors" | "UpdateEventDataStore") => put_selectors(parameters, derived),
        _ => {}
    }
}

fn inventory(fields: &Value, derived: &mut Map<String, Value>) {
    for rules in INVENTORY_RULES.iter().filter_map(|name| fields.get(*name)) {
        put_exposure(rules, derived);
    }
    for policy in INVENTORY_POLICIES.iter().filter_map(|name| fields.get(*name)) {
        put_policy(Some(policy), derived);
    }
    put_selectors(fields, derived);
}

fn put_exposure(rules: &Value, derived: &mut Map<String, Value>) {
    let exposure = exposure(rules);
    if exposure.open_to_world {
        derived.insert(OPEN_TO_WORLD.to_owned(), Value::from(true));
    }
    if !exposure.open_ports.is_empty() {
        derived.insert(OPEN_PORTS.to_owned(), Value::from(exposure.open_ports));
    }
}

fn put_policy(policy: Option<&Value>, derived: &mut Map<String, Value>) {
    if policy.is_some_and(is_public) {
        derived.insert(POLICY_PUBLIC.to_owned(), Value::from(true));
    }
}

fn put_selectors(parameters: &Value, derived: &mut Map<String, Value>) {
    if let Some(events) = management_events(parameters) {
        derived.insert(MANAGEMENT_EVENTS.to_owned(), Value::from(events));
    }
}

/// A member of a JSON object by its name, whatever its case: the same structure is written `fromPort`, `FromPort` and
/// `from_port` by the APIs, their events and the inventory.
fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    let object = value.as_object()?;
    object.get(name).or_else(|| object.iter().find(|(key, _)| same_name(key, name)).map(|(_, value)| value))
}

fn same_name(left: &str, right: &str) -> bool {
    let letters = |text| str::bytes(text).filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase());
    left.len().abs_diff(right.len()) <= 4 && letters(left).eq(letters(right))
}

/// The elements of a list, of `{"items": [...]}` or `{"item": ...}` around one, or the one element without a list:
/// events have each of these.
fn elements(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Null => Vec::new(),
        other => match member(other, "items").or_else(|| member(other, "item")) {
            Some(items) => elements(items),
            None => vec![other],
        },
    }
}

#[cfg(test)]
mod tests;
