//! A resource as it was seen, and the record that is written of it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The version of the record's shape.
pub const SCHEMA: u32 = 1;

/// One resource, with what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// The service's prefix in ARNs: `ec2`.
    pub service: &'static str,
    /// The record's `type`: `instance`.
    pub kind: &'static str,
    /// The resource's ARN.
    pub arn: String,
    /// Its region; `None` where it could not be found out.
    pub region: Option<String>,
    /// What is particular to its type, flat, under names in `snake_case`. Every resource of a type has the same fields;
    /// lists are sorted, so that the same configuration always looks the same.
    pub fields: Map<String, Value>,
    /// The fields that say how it goes, not how it is set up: they change without anybody changing anything, and do
    /// not count as a change.
    pub volatile: &'static [&'static str],
    /// Since when it is as it is, where AWS itself says so; else that follows from the snapshots.
    pub since: Option<Timestamp>,
    /// The fields that could not be looked at this time, in full or in part.
    pub unseen: Vec<&'static str>,
    /// Why: `AccessDenied: s3:GetBucketAcl`.
    pub could_not_look: Vec<String>,
}

impl Resource {
    /// A resource of which nothing is known yet.
    pub fn new(service: &'static str, kind: &'static str, arn: String, region: Option<&str>) -> Self {
        Self {
            service,
            kind,
            arn,
            region: region.map(ToOwned::to_owned),
            fields: Map::new(),
            volatile: &[],
            since: None,
            unseen: Vec::new(),
            could_not_look: Vec::new(),
        }
    }

    /// Sets a field.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    /// Notes that `fields` could not be looked at, and why.
    pub fn note_unseen(&mut self, why: &str, fields: &[&'static str]) {
        if !self.could_not_look.iter().any(|known| known == why) {
            self.could_not_look.push(why.to_owned());
        }
        self.unseen.extend(fields);
    }

    /// The record, as this configuration has stood since `since`.
    pub fn record(&self, account: &str, since: Timestamp) -> Value {
        let mut record = self.fields.clone();
        if !self.could_not_look.is_empty() {
            record.insert("could_not_look".to_owned(), self.could_not_look.join("; ").into());
        }
        // Last, so that no field of a type can take the place of one that every record has.
        for (name, value) in [
            ("schema", json!(SCHEMA)),
            ("service", json!(self.service)),
            ("type", json!(self.kind)),
            ("resource", json!(self.arn)),
            ("account", json!(account)),
            ("region", json!(self.region)),
            ("since", json!(since)),
        ] {
            record.insert(name.to_owned(), value);
        }
        Value::Object(record)
    }
}

/// The partition of ARNs that a region belongs to.
pub fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_carries_what_every_record_has_and_what_is_its_own() {
        let since = "2026-03-01T10:00:00Z".parse().unwrap();
        let mut resource = Resource::new("s3", "bucket", "arn:aws:s3:::logs".to_owned(), Some("eu-west-1"))
            .with("name", "logs")
            .with("account", "not the account");
        resource.note_unseen("AccessDenied: s3:GetBucketAcl", &["acl_public"]);
        resource.note_unseen("AccessDenied: s3:GetBucketAcl", &["public"]);
        assert_eq!(
            resource.record("123456789012", since),
            json!({
                "schema": 1, "service": "s3", "type": "bucket", "resource": "arn:aws:s3:::logs",
                "account": "123456789012", "region": "eu-west-1", "since": "2026-03-01T10:00:00Z",
                "name": "logs", "could_not_look": "AccessDenied: s3:GetBucketAcl",
            })
        );
    }

    #[test]
    fn regions_of_other_partitions_have_other_arns() {
        assert_eq!(partition("eu-west-1"), "aws");
        assert_eq!(partition("cn-north-1"), "aws-cn");
        assert_eq!(partition("us-gov-west-1"), "aws-us-gov");
    }
}
