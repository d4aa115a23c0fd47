//! Findings in the Open Cybersecurity Schema Framework, at the boundary only.
//!
//! Schema 1.8.0: [Detection Finding 2004](https://schema.ocsf.io/1.8.0/classes/detection_finding) and
//! [Compliance Finding 2003](https://schema.ocsf.io/1.8.0/classes/compliance_finding). The subset that a finding fills;
//! times are milliseconds since 1970. What OCSF has no place for is in `unmapped`.

use serde::Serialize;

use crate::correlate::Group;
use crate::detect::{Catalogue, Rule};
use crate::finding::{Finding, Level, Message};

/// The schema's version.
pub const VERSION: &str = "1.8.0";

/// `category_uid` of findings.
const FINDINGS: u32 = 2;
/// The Sigma category of the inventory, whose findings are about how things are set up.
const INVENTORY: &str = "inventory";

/// What kind of finding it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Something happened.
    Detection,
    /// Something is not set up as it should be.
    Compliance,
}

impl Class {
    /// The class of a rule's findings. A rule that is not in the catalogue is taken for a detection.
    pub fn of(catalogue: &Catalogue, rule: &str) -> Self {
        let is_inventory = |rule: &Rule| {
            let source = rule.detection.as_ref().map(|detection| &detection.log_source);
            source.is_some_and(|source| source.category.as_deref() == Some(INVENTORY))
        };
        let Some(rule) = catalogue.by_id(rule) else { return Self::Detection };
        let by_leaves =
            !rule.leaves.is_empty() && rule.leaves.iter().all(|leaf| is_inventory(catalogue.rule(leaf.rule)));
        if is_inventory(rule) || by_leaves { Self::Compliance } else { Self::Detection }
    }

    fn uid(self) -> u32 {
        match self {
            Self::Detection => 2004,
            Self::Compliance => 2003,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Detection => "Detection Finding",
            Self::Compliance => "Compliance Finding",
        }
    }
}

/// A finding as an OCSF event.
#[derive(Debug, Serialize)]
pub struct Event<'a> {
    activity_id: u32,
    activity_name: &'static str,
    category_uid: u32,
    category_name: &'static str,
    class_uid: u32,
    class_name: &'static str,
    type_uid: u32,
    type_name: String,
    severity_id: u32,
    severity: &'static str,
    status_id: u32,
    status: &'static str,
    time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<i64>,
    count: u64,
    message: &'a str,
    metadata: Metadata<'a>,
    finding_info: FindingInfo<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compliance: Option<Compliance<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud: Option<Cloud<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<Resource<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evidences: Vec<Evidence<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remediation: Option<Remediation<'a>>,
    unmapped: Unmapped<'a>,
}

#[derive(Debug, Serialize)]
struct Metadata<'a> {
    version: &'static str,
    product: Product,
    uid: &'a str,
    event_code: &'a str,
    profiles: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Product {
    name: &'static str,
    vendor_name: &'static str,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct FindingInfo<'a> {
    uid: &'a str,
    title: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    desc: &'a str,
    analytic: Analytic<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_time: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attacks: Vec<Attack>,
}

#[derive(Debug, Serialize)]
struct Analytic<'a> {
    uid: &'a str,
    name: &'a str,
    type_id: u32,
    r#type: &'static str,
}

#[derive(Debug, Serialize)]
struct Attack {
    #[serde(skip_serializing_if = "Option::is_none")]
    technique: Option<Uid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_technique: Option<Uid>,
}

#[derive(Debug, Serialize)]
struct Uid {
    uid: String,
}

#[derive(Debug, Serialize)]
struct Compliance<'a> {
    control: &'a str,
    status_id: u32,
    status: &'static str,
}

#[derive(Debug, Serialize)]
struct Cloud<'a> {
    provider: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Account<'a>>,
}

#[derive(Debug, Serialize)]
struct Account<'a> {
    uid: &'a str,
    type_id: u32,
    r#type: &'static str,
}

#[derive(Debug, Serialize)]
struct Resource<'a> {
    uid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Evidence<'a> {
    data: Entry<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<Actor<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_endpoint: Option<Endpoint<'a>>,
}

/// A log entry: `data` is free-form JSON.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    source: &'a str,
    record: u64,
    time: Option<i64>,
    text: &'a str,
    also_in: &'a [String],
}

#[derive(Debug, Clone, Serialize)]
struct Actor<'a> {
    user: User<'a>,
}

#[derive(Debug, Clone, Serialize)]
struct User<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    name: &'a str,
}

/// An address, or the name of the AWS service that `CloudTrail` writes in its place.
#[derive(Debug, Clone, Serialize)]
struct Endpoint<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Remediation<'a> {
    desc: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    references: &'a [String],
}

#[derive(Debug, Serialize)]
struct Unmapped<'a> {
    revision: u64,
    group: &'a Group,
    dedup_key: &'a str,
}

/// A finding as OCSF has it.
pub fn event(message: &Message, class: Class) -> Event<'_> {
    let Message { finding, guidance, .. } = message;
    // A finding that grew is an update of the same one.
    let (activity_id, activity_name) = if finding.revision > 1 { (2, "Update") } else { (1, "Create") };
    let (severity_id, severity) = severity(finding.level);
    let first = finding.first_time.map(jiff::Timestamp::as_millisecond);
    let last = finding.last_time.map(jiff::Timestamp::as_millisecond);
    let cloud = cloud(finding);
    Event {
        activity_id,
        activity_name,
        category_uid: FINDINGS,
        category_name: "Findings",
        class_uid: class.uid(),
        class_name: class.name(),
        type_uid: class.uid() * 100 + activity_id,
        type_name: format!("{}: {activity_name}", class.name()),
        severity_id,
        severity,
        status_id: 1,
        status: "New",
        // Required: what has no time of its own happened at no known time, which OCSF writes as 0.
        time: last.or(first).unwrap_or_default(),
        start_time: first,
        end_time: last,
        count: finding.count,
        message: &finding.title,
        metadata: Metadata {
            version: VERSION,
            product: Product { name: "cloudvigil", vendor_name: "cloudvigil", version: env!("CARGO_PKG_VERSION") },
            uid: &finding.id,
            event_code: &finding.rule,
            profiles: if cloud.is_some() { vec!["cloud"] } else { Vec::new() },
        },
        finding_info: FindingInfo {
            uid: &finding.id,
            title: &finding.title,
            desc: guidance.description.trim(),
            analytic: Analytic { uid: &finding.rule, name: &finding.title, type_id: 1, r#type: "Rule" },
            first_seen_time: first,
            last_seen_time: last,
            attacks: guidance.tags.iter().filter_map(|tag| attack(tag)).collect(),
        },
        compliance: (class == Class::Compliance).then_some(Compliance {
            control: &finding.title,
            status_id: 3,
            status: "Fail",
        }),
        cloud,
        resources: finding.resources.iter().map(|uid| Resource { uid, region: finding.region.as_deref() }).collect(),
        evidences: evidences(finding),
        remediation: (!guidance.runbook.is_empty())
            .then_some(Remediation { desc: &guidance.runbook, references: &guidance.references }),
        unmapped: Unmapped { revision: finding.revision, group: &finding.group, dedup_key: &finding.dedup_key },
    }
}

fn severity(level: Level) -> (u32, &'static str) {
    match level {
        Level::Informational => (1, "Informational"),
        Level::Low => (2, "Low"),
        Level::Medium => (3, "Medium"),
        Level::High => (4, "High"),
        Level::Critical => (5, "Critical"),
    }
}

fn cloud(finding: &Finding) -> Option<Cloud<'_>> {
    let account = finding.account.as_deref().map(|uid| Account { uid, type_id: 10, r#type: "AWS Account" });
    let region = finding.region.as_deref();
    (account.is_some() || region.is_some()).then_some(Cloud { provider: "AWS", region, account })
}

fn evidences(finding: &Finding) -> Vec<Evidence<'_>> {
    let actor = finding.actor.as_deref().map(|actor| Actor {
        user: User { uid: actor.starts_with("arn:").then_some(actor), name: actor.rsplit('/').next().unwrap_or(actor) },
    });
    let endpoint = finding.source_address.as_deref().map(|address| {
        let is_ip = address.parse::<std::net::IpAddr>().is_ok();
        Endpoint { ip: is_ip.then_some(address), name: (!is_ip).then_some(address) }
    });
    let evidences = finding.evidence.iter().map(|entry| Evidence {
        data: Entry {
            source: &entry.source,
            record: entry.record,
            time: entry.time.map(jiff::Timestamp::as_millisecond),
            text: &entry.text,
            also_in: &entry.also_in,
        },
        actor: actor.clone(),
        src_endpoint: endpoint.clone(),
    });
    evidences.collect()
}

/// `attack.t1562.008`: technique T1562, sub-technique T1562.008.
fn attack(tag: &str) -> Option<Attack> {
    let number = tag.strip_prefix("attack.t").filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))?;
    let (technique, sub) = number.split_once('.').map_or((number, None), |(technique, _)| (technique, Some(number)));
    Some(Attack {
        technique: Some(Uid { uid: format!("T{technique}") }),
        sub_technique: sub.map(|number| Uid { uid: format!("T{number}") }),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::finding::{self, Guidance};

    fn message() -> Message {
        let time = "2026-03-01T10:00:00Z".parse().ok();
        let finding = Finding {
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            revision: 1,
            rule: "rule".to_owned(),
            title: "A trail was stopped".to_owned(),
            level: Level::Critical,
            count: 2,
            first_time: time,
            last_time: "2026-03-01T10:05:00Z".parse().ok(),
            group: [("eventID".to_owned(), Some("e".to_owned()))].into_iter().collect(),
            account: Some("123456789012".to_owned()),
            region: Some("eu-west-1".to_owned()),
            actor: Some("arn:aws:iam::123456789012:user/alice".to_owned()),
            source_address: Some("203.0.113.7".to_owned()),
            resources: vec!["arn:aws:cloudtrail:eu-west-1:123456789012:trail/main".to_owned()],
            evidence: vec![finding::Evidence {
                time,
                source: "a.json".to_owned(),
                record: 3,
                text: "{}".to_owned(),
                also_in: vec!["b.json".to_owned()],
            }],
            dedup_key: "d".to_owned(),
        };
        let guidance = Guidance {
            runbook: "Start it again.".to_owned(),
            tags: vec!["attack.t1562.008".to_owned(), "attack.defense-impairment".to_owned()],
            ..Guidance::default()
        };
        Message { schema: finding::SCHEMA, finding, guidance }
    }

    /// The attributes that schema 1.8.0 requires of both classes, and of the objects within.
    fn assert_required(event: &Value) {
        let required = [
            "/activity_id",
            "/category_uid",
            "/class_uid",
            "/type_uid",
            "/severity_id",
            "/time",
            "/metadata/version",
            "/metadata/product/name",
            "/finding_info/uid",
            "/finding_info/analytic/type_id",
        ];
        for pointer in required {
            assert!(event.pointer(pointer).is_some_and(|value| !value.is_null()), "{pointer} of {event}");
        }
        assert_eq!(
            event["type_uid"],
            json!(event["class_uid"].as_u64().unwrap() * 100 + event["activity_id"].as_u64().unwrap())
        );
    }

    #[test]
    fn a_detection_has_what_the_schema_requires() {
        let event = serde_json::to_value(event(&message(), Class::Detection)).unwrap();
        assert_required(&event);
        assert_eq!(
            (&event["class_uid"], &event["type_uid"], &event["severity_id"]),
            (&json!(2004), &json!(200_401), &json!(5))
        );
        assert_eq!(event["time"], json!(1_772_359_500_000_i64));
        assert_eq!(
            event["cloud"],
            json!({"provider": "AWS", "region": "eu-west-1", "account": {"uid": "123456789012", "type_id": 10, "type": "AWS Account"}})
        );
        assert_eq!(event["metadata"]["profiles"], json!(["cloud"]));
        assert_eq!(
            event["finding_info"]["attacks"],
            json!([{"technique": {"uid": "T1562"}, "sub_technique": {"uid": "T1562.008"}}])
        );
        assert_eq!(event["evidences"][0]["src_endpoint"], json!({"ip": "203.0.113.7"}));
        assert_eq!(event["evidences"][0]["data"]["also_in"], json!(["b.json"]));
        assert_eq!(event.get("compliance"), None);
    }

    #[test]
    fn a_compliance_finding_says_what_failed() {
        let mut message = message();
        message.finding.revision = 3;
        let event = serde_json::to_value(event(&message, Class::Compliance)).unwrap();
        assert_required(&event);
        assert_eq!(
            (&event["class_uid"], &event["activity_id"], &event["type_uid"]),
            (&json!(2003), &json!(2), &json!(200_302))
        );
        assert_eq!(event["compliance"], json!({"control": "A trail was stopped", "status_id": 3, "status": "Fail"}));
    }

    #[test]
    fn without_cloud_or_times_the_event_is_still_whole() {
        let mut message = message();
        let finding = &mut message.finding;
        (finding.account, finding.region, finding.first_time, finding.last_time) = (None, None, None, None);
        finding.source_address = Some("cloudtrail.amazonaws.com".to_owned());
        let event = serde_json::to_value(event(&message, Class::Detection)).unwrap();
        assert_required(&event);
        assert_eq!((event.get("cloud"), &event["metadata"]["profiles"]), (None, &json!([])));
        assert_eq!(event["evidences"][0]["src_endpoint"], json!({"name": "cloudtrail.amazonaws.com"}));
    }
}
