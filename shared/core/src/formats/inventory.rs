//! What the inventory scanner saw: the configuration of one resource, as NDJSON.
//!
//! `{"schema":1,"service":"ec2","type":"security_group","resource":"arn:...","account":"...","region":"...",
//! "since":"<RFC 3339: when this configuration was first seen>", ...}`, and the fields of the type. The shape is ours;
//! the crate `cloudvigil-inventory` writes it.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::{Context, Format, Framing, Gate, Parsed, Parser, head, members, stamp};
use crate::record::{FactsOf, LogSource, Record};

/// The version of the shape.
const SCHEMA: &str = "schema";
/// The AWS service.
const SERVICE: &str = "service";
/// The kind of resource.
pub(crate) const TYPE: &str = "type";
/// Its ARN.
const RESOURCE: &str = "resource";
const ACCOUNT: &str = "account";
const REGION: &str = "region";
/// Since when it is configured as it is.
const SINCE: &str = "since";

const KNOWN_SCHEMA: u64 = 1;

macro_rules! log_source {
    ($name:ident, $service:literal) => {
        static $name: LogSource = LogSource {
            products: &["aws"],
            services: &[$service],
            categories: &["inventory"],
            group_by: &[RESOURCE],
            keys: &[],
            rare: &[],
            words: &[],
            aliases: &[],
        };
    };
}

log_source!(EC2, "ec2");
log_source!(S3, "s3");
// Not `cloudtrail`, which is the log source of CloudTrail's events.
log_source!(TRAIL, "trail");
log_source!(OTHERS, "inventory");

fn log_source(service: &str) -> &'static LogSource {
    match service {
        "ec2" => &EC2,
        "s3" => &S3,
        "cloudtrail" => &TRAIL,
        _ => &OTHERS,
    }
}

/// Those that a record may have.
pub(crate) const LOG_SOURCES: &[&LogSource] = &[&EC2, &S3, &TRAIL, &OTHERS];

/// The format `inventory`.
pub struct Inventory;

impl Format for Inventory {
    fn name(&self) -> &'static str {
        "inventory"
    }

    fn framing(&self) -> Framing {
        Framing::Json
    }

    fn recognises(&self, head: &[u8]) -> bool {
        let keys = [SCHEMA, RESOURCE, TYPE, SINCE];
        head::most_objects(head, &keys, |fields| keys.iter().all(|key| fields.contains_key(*key)))
    }

    fn parser(&self, _: &Context) -> Box<dyn Parser> {
        Box::new(InventoryParser)
    }

    fn facts<'r>(&self, record: &'r Record<'_>) -> FactsOf<'r> {
        let text = |name: &str| record.fields.text(name).map(Cow::Borrowed);
        FactsOf {
            account: text(ACCOUNT),
            region: text(REGION),
            actor: None,
            source_address: None,
            resources: text(RESOURCE).into_iter().collect(),
        }
    }
}

/// What was seen, by cloudvigil itself.
pub(crate) struct Seen<'s> {
    /// The service.
    pub(crate) service: &'s str,
    /// The kind of resource.
    pub(crate) kind: &'s str,
    /// The resource.
    pub(crate) resource: &'s str,
    /// Since when it is as it is.
    pub(crate) since: Timestamp,
    /// The fields of the kind, an object.
    pub(crate) more: Value,
}

/// The line that says it.
pub(crate) fn line(seen: &Seen<'_>) -> String {
    let mut line = Map::new();
    line.insert(SCHEMA.to_owned(), Value::from(KNOWN_SCHEMA));
    line.insert(SERVICE.to_owned(), Value::from(seen.service));
    line.insert(TYPE.to_owned(), Value::from(seen.kind));
    line.insert(RESOURCE.to_owned(), Value::from(seen.resource));
    line.insert(SINCE.to_owned(), Value::from(seen.since.to_string()));
    if let Value::Object(more) = &seen.more {
        line.extend(more.clone());
    }
    Value::Object(line).to_string()
}

struct InventoryParser;

impl Parser for InventoryParser {
    fn parse_if<'a>(&'a mut self, frame: &'a str, gate: &mut dyn Gate) -> Parsed<'a> {
        let fields = match members(frame) {
            Ok(fields) => fields,
            Err(reason) => return Parsed::Unparsed(reason),
        };
        match fields.get(SCHEMA) {
            None => return Parsed::Unparsed("no schema"),
            Some(schema) if schema.as_u64() != Some(KNOWN_SCHEMA) => return Parsed::Unparsed("unknown version"),
            Some(_) => {}
        }
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let (Some(service), Some(_), Some(resource)) = (text(SERVICE), text(TYPE), text(RESOURCE)) else {
            return Parsed::Unparsed("no service, type or resource");
        };
        if !gate.admits(log_source(service), &[], frame) {
            return Parsed::Unwatched;
        }
        let since = text(SINCE);
        Parsed::Record(Record {
            log_source: log_source(service),
            time: since.and_then(|since| stamp::iso_whole(since, &TimeZone::UTC)),
            // The same configuration counts once, however often it was seen.
            id: since.map(|since| format!("{resource}@{since}")),
            fields: fields.into(),
            derived: None,
            occurrences: 1,
            raw: Cow::Borrowed(frame),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::trial::{context, lines, no_bytes_make_it_panic};

    const BASIC: &[u8] = include_bytes!("fixtures/inventory/basic.ndjson");

    #[test]
    fn each_service_has_its_log_source() {
        let mut parser = Inventory.parser(&context());
        let services: Vec<&str> = lines(BASIC)
            .map(|line| match parser.parse(&line) {
                Parsed::Record(record) => {
                    assert!(record.time.is_some());
                    record.log_source.services[0]
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(services, ["ec2", "s3", "trail", "inventory"]);
        assert!(Inventory.recognises(BASIC) && Inventory.recognises(&BASIC[..200]));
    }

    #[test]
    fn the_same_state_has_the_same_id_and_a_new_one_another() {
        let state = |since: &str| {
            let frame =
                format!(r#"{{"schema":1,"service":"s3","type":"bucket","resource":"arn:b","since":"{since}"}}"#);
            match Inventory.parser(&context()).parse(&frame) {
                Parsed::Record(record) => record.id,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(state("2026-03-01T10:00:00Z"), state("2026-03-01T10:00:00Z"));
        assert_ne!(state("2026-03-01T10:00:00Z"), state("2026-03-01T11:00:00Z"));
    }

    #[test]
    fn who_and_where() {
        let line = lines(BASIC).next().unwrap();
        let mut parser = Inventory.parser(&context());
        let Parsed::Record(record) = parser.parse(&line) else { panic!("not parsed") };
        let facts = Inventory.facts(&record);
        assert_eq!((facts.account.as_deref(), facts.region.as_deref()), (Some("123456789012"), Some("eu-central-1")));
        assert_eq!(facts.resources.as_slice(), ["arn:aws:ec2:eu-central-1:123456789012:security-group/sg-0123"]);
    }

    #[test]
    fn malformed_and_unknown_versions_are_unparsed() {
        let mut parser = Inventory.parser(&context());
        for frame in include_str!("fixtures/inventory/malformed.ndjson").lines() {
            assert!(matches!(parser.parse(frame), Parsed::Unparsed(_)), "{frame}");
        }
        let newer = include_str!("fixtures/inventory/unknown_version.ndjson");
        assert!(matches!(parser.parse(newer), Parsed::Unparsed("unknown version")));
        assert!(!Inventory.recognises(include_bytes!("fixtures/eve/basic.ndjson")));
        assert!(!Inventory.recognises(include_bytes!("fixtures/unrelated.txt")));
    }

    #[test]
    fn no_bytes_make_the_parser_panic() {
        no_bytes_make_it_panic(&Inventory, BASIC);
    }
}
