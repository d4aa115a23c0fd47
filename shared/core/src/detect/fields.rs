//! The fields that rules name, and those that records have: a rule that asks for another never matches, and its author
//! cannot see why.
//!
//! A format that is JSON of somebody else's (`CloudTrail`, EVE) is known by its top-level names; an open one (an
//! application's own JSON, the inventory) may have any.

use std::collections::BTreeSet;

use rsigma_parser::{ConditionExpr, Detection, DetectionItem, Detections, Modifier, Quantifier, SigmaValue};
use serde::{Deserialize, Serialize};

use super::WantedLogSource;
use super::event::DERIVED;
use crate::formats::{LOG_SOURCES, application};
use crate::record::LogSource;

/// The fields of a log source.
struct Declared {
    /// What people know it by.
    name: &'static str,
    log_source: LogSource,
    /// Its fields; of JSON the top-level names.
    fields: &'static [&'static str],
}

const fn log_source(
    products: &'static [&'static str],
    services: &'static [&'static str],
    categories: &'static [&'static str],
) -> LogSource {
    LogSource { products, services, categories, group_by: &[], keys: &[], rare: &[], words: &[] }
}

/// See the files of [`crate::formats`], which say where the names come from.
static DECLARED: [Declared; 5] = [
    Declared {
        name: "access logs",
        log_source: log_source(&["apache", "nginx"], &["access"], &["webserver"]),
        fields: &[
            "c-ip",
            "cs-username",
            "cs-method",
            "cs-uri",
            "cs-uri-stem",
            "cs-uri-query",
            "cs-version",
            "cs-host",
            "sc-status",
            "sc-bytes",
            "cs-referer",
            "cs-user-agent",
        ],
    },
    Declared {
        name: "syslog",
        log_source: log_source(
            &["linux"],
            &["sshd", "sudo", "auth", "cron", "clamav", "vsftpd", "guacamole", "syslog"],
            &[],
        ),
        fields: &[
            "host",
            "appname",
            "pid",
            "message",
            "facility",
            "severity",
            "event",
            "user",
            "src_ip",
            "src_port",
            "auth_method",
            "invalid_user",
            "target_user",
            "USER",
            "command",
        ],
    },
    Declared {
        name: "VPC flow logs",
        log_source: log_source(&["aws"], &["vpcflow"], &["firewall"]),
        fields: &[
            "version",
            "account-id",
            "interface-id",
            "srcaddr",
            "dstaddr",
            "srcport",
            "dstport",
            "protocol",
            "packets",
            "bytes",
            "start",
            "end",
            "action",
            "log-status",
            "vpc-id",
            "subnet-id",
            "instance-id",
            "tcp-flags",
            "type",
            "pkt-srcaddr",
            "pkt-dstaddr",
            "region",
            "az-id",
            "sublocation-type",
            "sublocation-id",
            "pkt-src-aws-service",
            "pkt-dst-aws-service",
            "flow-direction",
            "traffic-path",
            "src_ip",
            "src_port",
            "dst_ip",
            "dst_port",
        ],
    },
    Declared {
        name: "CloudTrail",
        log_source: log_source(&["aws"], &["cloudtrail"], &[]),
        // https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
        fields: &[
            "eventTime",
            "eventVersion",
            "userIdentity",
            "eventSource",
            "eventName",
            "awsRegion",
            "sourceIPAddress",
            "userAgent",
            "errorCode",
            "errorMessage",
            "requestParameters",
            "responseElements",
            "additionalEventData",
            "requestID",
            "eventID",
            "eventType",
            "apiVersion",
            "managementEvent",
            "readOnly",
            "resources",
            "recipientAccountId",
            "serviceEventDetails",
            "sharedEventID",
            "vpcEndpointId",
            "vpcEndpointAccountId",
            "eventCategory",
            "addendum",
            "sessionCredentialFromConsole",
            "eventContext",
            "edgeDeviceDetails",
            "tlsDetails",
            "insightDetails",
        ],
    },
    Declared {
        name: "Suricata's EVE",
        log_source: log_source(&["suricata"], &["eve", "alert"], &["ids", "network"]),
        // https://docs.suricata.io/en/latest/output/eve/eve-json-format.html
        fields: &[
            "timestamp",
            "flow_id",
            "in_iface",
            "event_type",
            "vlan",
            "src_ip",
            "src_port",
            "dest_ip",
            "dest_port",
            "proto",
            "icmp_type",
            "icmp_code",
            "response_icmp_type",
            "response_icmp_code",
            "app_proto",
            "app_proto_tc",
            "app_proto_ts",
            "app_proto_orig",
            "app_proto_expected",
            "direction",
            "pcap_cnt",
            "pcap_filename",
            "host",
            "sensor",
            "community_id",
            "tx_id",
            "tx_guessed",
            "parent_id",
            "pkt_src",
            "ip_v",
            "verdict",
            "metadata",
            "ether",
            "suricata_version",
            "capture_file",
            "alert",
            "anomaly",
            "http",
            "dns",
            "tls",
            "ssh",
            "smtp",
            "email",
            "ftp",
            "ftp_data",
            "tftp",
            "smb",
            "dcerpc",
            "rdp",
            "rfb",
            "sip",
            "snmp",
            "nfs",
            "rpc",
            "krb5",
            "ike",
            "dhcp",
            "modbus",
            "dnp3",
            "enip",
            "mqtt",
            "pgsql",
            "ldap",
            "quic",
            "websocket",
            "bittorrent_dht",
            "mdns",
            "arp",
            "pop3",
            "sdp",
            "fileinfo",
            "files",
            "flow",
            "netflow",
            "tcp",
            "tunnel",
            "drop",
            "stats",
            "http2",
            "payload",
            "payload_printable",
            "payload_length",
            "packet",
            "packet_info",
            "stream",
            "xff",
            "traffic",
            "template",
            "engine",
            "stats_interval",
        ],
    },
];

/// The fields that a rule asks for and its log source does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unknown {
    /// Their names.
    fields: BTreeSet<String>,
    /// The log sources that the rule asks for.
    log_sources: String,
    /// Whether the rule cannot match because of that.
    never: bool,
}

impl Unknown {
    /// What is wrong, if anything is.
    pub(super) fn reason(&self) -> Option<String> {
        let names: Vec<String> = self.fields.iter().map(|name| format!("'{name}'")).collect();
        let (names, sources) = (names.join(", "), &self.log_sources);
        match (self.fields.is_empty(), self.never) {
            (true, _) => None,
            (false, true) => {
                Some(format!("this rule can never match, because records of {sources} have no field {names}"))
            }
            (false, false) => {
                Some(format!("a part of this rule never matches, because records of {sources} have no field {names}"))
            }
        }
    }
}

/// The fields that a rule of this log source asks for in vain. Of a log source that is not declared nothing is said.
pub(super) fn unknown(detections: &Detections, wanted: &WantedLogSource) -> Unknown {
    let fitting: Vec<&Declared> = DECLARED.iter().filter(|declared| wanted.fits(&declared.log_source)).collect();
    let named = [&wanted.product, &wanted.service, &wanted.category].into_iter().any(Option::is_some);
    // A rule that fits what is open, too, may find any field there.
    if fitting.is_empty() || !named || is_open(wanted) {
        return Unknown::default();
    }
    let has = |name: &str| {
        let top = name.split(['.', '[']).next().unwrap_or(name);
        name.starts_with(DERIVED)
            || fitting.iter().any(|declared| declared.fields.iter().any(|field| *field == name || *field == top))
    };
    let fields: BTreeSet<String> = detections.named.values().flat_map(of).filter(|name| !has(name)).collect();
    if fields.is_empty() {
        return Unknown::default();
    }
    let asked = Asked { detections, unknown: &fields };
    let never = detections.conditions.iter().all(|condition| asked.never(condition));
    let log_sources = fitting.iter().map(|declared| declared.name).collect::<Vec<_>>().join(", ");
    Unknown { fields, log_sources, never }
}

/// What is wrong with a log source that no record has: a rule that asks for it never runs.
pub(super) fn unheard_of(wanted: &WantedLogSource) -> Option<String> {
    if LOG_SOURCES.iter().copied().flatten().any(|source| wanted.fits(source)) {
        return None;
    }
    let named = [("product", &wanted.product), ("service", &wanted.service), ("category", &wanted.category)];
    let named = named.iter().filter_map(|(name, word)| Some(format!("{name} '{}'", word.as_deref()?)));
    Some(format!("this rule can never match, because no record is of {}", named.collect::<Vec<_>>().join(", ")))
}

/// Whether a rule may be about a log source whose records have any fields.
fn is_open(wanted: &WantedLogSource) -> bool {
    let open = [
        log_source(application::PRODUCTS, application::SERVICES, &["application"]),
        log_source(&["aws"], &[], &["inventory"]),
    ];
    open.iter().any(|open| wanted.fits(open))
}

/// The fields that a selection names.
pub(super) fn of(detection: &Detection) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    add(detection, &mut names);
    names
}

fn add(detection: &Detection, names: &mut BTreeSet<String>) {
    match detection {
        Detection::AllOf(items) => {
            for item in items {
                names.extend(item.field.name.clone());
                if item.field.has_modifier(Modifier::FieldRef) {
                    names.extend(item.values.iter().filter_map(|value| match value {
                        SigmaValue::String(name) => Some(name.original.clone()),
                        _ => None,
                    }));
                }
            }
        }
        Detection::AnyOf(parts) | Detection::And(parts) => parts.iter().for_each(|part| add(part, names)),
        // What is within is named from there on.
        Detection::ArrayMatch { field, .. } => {
            names.insert(field.clone());
        }
        Detection::Conditional { named, .. } => named.values().for_each(|part| add(part, names)),
        Detection::Keywords(_) => {}
    }
}

/// A rule whose unknown fields are absent from every record.
struct Asked<'r> {
    detections: &'r Detections,
    unknown: &'r BTreeSet<String>,
}

impl Asked<'_> {
    /// Whether a condition cannot hold.
    fn never(&self, condition: &ConditionExpr) -> bool {
        match condition {
            ConditionExpr::And(parts) => parts.iter().any(|part| self.never(part)),
            ConditionExpr::Or(parts) => parts.iter().all(|part| self.never(part)),
            // What must not be there may well be absent.
            ConditionExpr::Not(_) => false,
            ConditionExpr::Identifier(name) => {
                self.detections.named.get(name).is_some_and(|selection| self.never_selects(selection))
            }
            ConditionExpr::Selector { quantifier, pattern } => {
                let mut selected =
                    self.detections.named.iter().filter(|(name, _)| pattern.matches_detection_name(name));
                match quantifier {
                    Quantifier::All => selected.any(|(_, selection)| self.never_selects(selection)),
                    Quantifier::Any => selected.all(|(_, selection)| self.never_selects(selection)),
                    Quantifier::Count(count) => {
                        (selected.filter(|(_, selection)| !self.never_selects(selection)).count() as u64) < *count
                    }
                }
            }
        }
    }

    fn never_selects(&self, selection: &Detection) -> bool {
        match selection {
            Detection::AllOf(items) => items.iter().any(|item| self.never_matches(item)),
            Detection::AnyOf(parts) => parts.iter().all(|part| self.never_selects(part)),
            Detection::And(parts) => parts.iter().any(|part| self.never_selects(part)),
            Detection::ArrayMatch { field, .. } => self.unknown.contains(field),
            Detection::Keywords(_) | Detection::Conditional { .. } => false,
        }
    }

    fn never_matches(&self, item: &DetectionItem) -> bool {
        let is_unknown = |name: &String| self.unknown.contains(name);
        item.field.name.as_ref().is_some_and(is_unknown) && !holds_of_absent(item)
    }
}

/// Whether an item holds of a field that is absent.
fn holds_of_absent(item: &DetectionItem) -> bool {
    let has = |modifier| item.field.has_modifier(modifier);
    let is_negated = has(Modifier::Neq);
    if has(Modifier::Exists) {
        return item.values.contains(&SigmaValue::Bool(is_negated));
    }
    let is_null = |value: &SigmaValue| matches!(value, SigmaValue::Null);
    let holds = if has(Modifier::All) || item.values.is_empty() {
        item.values.iter().all(is_null)
    } else {
        item.values.iter().any(is_null)
    };
    holds != is_negated
}

#[cfg(test)]
mod tests {
    use super::{WantedLogSource, unheard_of};
    use crate::detect::{Catalogue, RuleFile};

    fn reason(log_source: &str, detection: &str) -> Option<String> {
        let text = format!("title: t\nid: t\nlogsource: {{{log_source}}}\ndetection: {detection}\n");
        let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("t.yml", text)]);
        assert!(problems.is_empty(), "{problems:?}");
        catalogue.by_id("t").unwrap().detection.as_ref().unwrap().unknown.reason()
    }

    #[test]
    fn a_log_source_that_no_record_has_is_told() {
        let reason = |[product, service, category]: [&str; 3]| {
            let word = |word: &str| Some(word.to_owned()).filter(|word| !word.is_empty());
            unheard_of(&WantedLogSource { product: word(product), service: word(service), category: word(category) })
        };
        for known in [
            ["", "", ""],
            ["aws", "cloudtrail", ""],
            ["aws", "s3", "inventory"],
            ["", "", "webserver"],
            ["linux", "clamav", ""],
            ["", "alert", "ids"],
        ] {
            assert_eq!(reason(known), None, "{known:?}");
        }
        for wrong in [
            ["windows", "", ""],
            ["AWS", "CloudTrail", ""],
            ["aws", "cloudtrail", "management"],
            ["linux", "cloudtrail", ""],
            ["suricata", "alert", "webserver"],
        ] {
            let reason = reason(wrong).unwrap_or_else(|| panic!("{wrong:?}"));
            assert!(wrong.iter().all(|word| reason.contains(word)), "{reason}");
        }
    }

    #[test]
    fn a_rule_that_asks_for_what_is_not_there_is_told_whether_it_can_match() {
        for (log_source, detection) in [
            ("category: webserver", "{s: {cs-method: GET, cloudvigil.web_attack: x}, condition: s}"),
            ("service: cloudtrail", "{s: {userIdentity.sessionContext.issuer: x}, condition: s}"),
            ("product: linux, service: sshd", "{s: {event: accepted}, condition: s}"),
            ("product: windows", "{s: {CommandLine: x}, condition: s}"),
            ("category: application", "{s: {anything: x}, condition: s}"),
            ("category: webserver", "{s: [word], condition: s}"),
        ] {
            assert_eq!(reason(log_source, detection), None, "{detection}");
        }
        for (detection, never) in [
            ("{s: {Image: x}, condition: s}", true),
            ("{s: {Image: x}, t: {c-ip: x}, condition: s and t}", true),
            ("{s: {Image: x}, t: {c-ip: x}, condition: all of them}", true),
            ("{s: [{Image: x}, {c-ip: x}], condition: s}", false),
            ("{s: {Image: x}, t: {c-ip: x}, condition: 1 of them}", false),
            ("{s: {Image: x}, t: {c-ip: x}, condition: t and not s}", false),
            ("{s: {Image: null}, condition: s}", false),
            ("{s: {Image|neq: x}, condition: s}", false),
            ("{s: {Image|neq: [x, null]}, condition: s}", true),
            ("{s: {Image|exists: false}, condition: s}", false),
            ("{s: {Image|exists: true}, condition: s}", true),
            ("{s: {c-ip|fieldref: Image}, condition: s}", false),
        ] {
            let reason = reason("category: webserver", detection).unwrap();
            assert!(reason.contains("'Image'") && reason.contains("access logs"), "{reason}");
            assert_eq!(reason.contains("can never match"), never, "{detection}: {reason}");
        }
    }
}
