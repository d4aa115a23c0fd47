//! The fields that rules name, and those that records have: a rule that asks for another never matches, and its author
//! cannot see why.
//!
//! Of `CloudTrail`'s JSON all is known that its specification fixes, of EVE's the top-level names; what is open (an
//! application's own JSON, the inventory, a call's parameters) may hold any.

mod declared;

use std::collections::BTreeSet;

use rsigma_parser::{ConditionExpr, Detection, DetectionItem, Detections, Modifier, Quantifier, SigmaValue};
use serde::{Deserialize, Serialize};

use self::declared::{DECLARED, Declared};
use super::WantedLogSource;
use crate::formats::{LOG_SOURCES, access};

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
    /// Whether the rule cannot match.
    pub(super) fn is_never(&self) -> bool {
        self.never && !self.fields.is_empty()
    }

    /// What is wrong, if anything is.
    pub(super) fn reason(&self) -> Option<String> {
        let names: Vec<String> = self.fields.iter().map(|name| format!("'{name}'")).collect();
        let no_field = if names.len() == 1 { "no field" } else { "none of the fields" };
        let (names, sources) = (names.join(", "), &self.log_sources);
        match (self.fields.is_empty(), self.never) {
            (true, _) => None,
            (false, true) => {
                Some(format!("this rule can never match, because records of {sources} have {no_field} {names}"))
            }
            (false, false) => {
                Some(format!("a part of this rule never matches, because records of {sources} have {no_field} {names}"))
            }
        }
    }
}

/// The fields that a rule of this log source asks for in vain. Of a log source that no record has nothing is said.
pub(super) fn unknown(detections: &Detections, wanted: &WantedLogSource) -> Unknown {
    let fitting = fitting(wanted);
    if fitting.is_empty() {
        return Unknown::default();
    }
    let has = |name: &str| fitting.iter().any(|declared| declared.answers(wanted, name));
    let fields: BTreeSet<String> = detections.named.values().flat_map(of).filter(|name| !has(name)).collect();
    if fields.is_empty() {
        return Unknown::default();
    }
    let asked = Asked { detections, unknown: &fields };
    let never = detections.conditions.iter().all(|condition| asked.never(condition));
    Unknown { fields, log_sources: names_of(&fitting), never }
}

/// What is wrong with a rule that looks for a path in the query of a request to a web server: whether a path is meant that
/// lies in a query, its author alone knows.
pub(super) fn path_in_query(detections: &Detections, wanted: &WantedLogSource) -> Option<String> {
    fn path(value: &SigmaValue) -> Option<&str> {
        match value {
            SigmaValue::String(text) => Some(text.original.as_str()),
            _ => None,
        }
        // A `?` stands for any character.
        .filter(|text| text.trim_start_matches(['*', '\\']).starts_with(['/', '?']))
    }
    fitting(wanted).iter().find(|declared| declared.log_sources == access::LOG_SOURCES)?;
    let asked = detections.named.values().flat_map(items).filter(|item| {
        item.field.name.as_deref() == Some(access::CS_URI_QUERY) && !item.field.has_modifier(Modifier::Re)
    });
    // All of its values, or it may well be a path within a query.
    let mut paths = asked.filter_map(|item| item.values.iter().map(path).collect::<Option<Vec<_>>>());
    let path = paths.find_map(|paths| paths.first().copied())?;
    Some(format!(
        "'cs-uri-query' is what follows a request's '?' alone: if '{path}' is to be found in a path, ask 'cs-uri-stem' \
         for it, or 'cs-uri', which is both"
    ))
}

/// The items of a selection, those within others included.
pub(super) fn items(detection: &Detection) -> Vec<&DetectionItem> {
    match detection {
        Detection::AllOf(items) => items.iter().collect(),
        Detection::AnyOf(parts) | Detection::And(parts) => parts.iter().flat_map(items).collect(),
        Detection::ArrayMatch { body, .. } => items(body),
        Detection::Conditional { named, .. } => named.values().flat_map(items).collect(),
        Detection::Keywords(_) => Vec::new(),
    }
}

/// What people know the log sources by that a rule asks for, if none of their records has this field. Of a log source that
/// no record has nothing is said.
pub(super) fn lacking(wanted: &WantedLogSource, field: &str) -> Option<String> {
    let fitting = fitting(wanted);
    (!fitting.is_empty() && !fitting.iter().any(|declared| declared.answers(wanted, field))).then(|| names_of(&fitting))
}

/// The formats whose records a rule of this log source gets.
fn fitting(wanted: &WantedLogSource) -> Vec<&'static Declared> {
    DECLARED.iter().filter(|declared| declared.fits(wanted)).collect()
}

fn names_of(formats: &[&Declared]) -> String {
    formats.iter().map(|declared| declared.name).collect::<Vec<_>>().join(", ")
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
    use serde_json::Value;

    use super::{DECLARED, WantedLogSource, unheard_of};
    use crate::detect::{Catalogue, RuleFile};
    use crate::formats::{self, Parsed};
    use crate::pipeline::Options;

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
            ["", "", "dns"],
            ["", "dns", "network"],
            ["apache", "error", ""],
        ] {
            assert_eq!(reason(known), None, "{known:?}");
        }
        for wrong in [
            ["windows", "", ""],
            ["AWS", "CloudTrail", ""],
            ["aws", "cloudtrail", "management"],
            ["linux", "cloudtrail", ""],
            ["suricata", "alert", "webserver"],
            ["zeek", "dns", ""],
            ["", "connection", "network"],
        ] {
            let reason = reason(wrong).unwrap_or_else(|| panic!("{wrong:?}"));
            assert!(wrong.iter().all(|word| reason.contains(word)), "{reason}");
        }
    }

    #[test]
    fn a_rule_that_asks_for_what_is_not_there_is_told_whether_it_can_match() {
        for (log_source, detection) in [
            ("category: webserver", "{s: {cs-method: GET, cloudvigil.web_attack: x}, condition: s}"),
            ("service: cloudtrail", "{s: {userIdentity.sessionContext.sessionIssuer.arn: x}, condition: s}"),
            ("service: cloudtrail", "{s: {requestParameters.anything.at.all: x}, condition: s}"),
            ("product: aws, category: inventory", "{s: {anything: x}, condition: s}"),
            ("category: dns", "{s: {query: x, record_type: A, answer: y, src_ip: z}, condition: s}"),
            ("product: suricata", "{s: {vars.flowbits.is_proto_irc: true}, condition: s}"),
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

    #[test]
    fn a_path_that_is_looked_for_in_the_query_is_told() {
        let doubts = |log_source: &str, selection: &str| {
            let text =
                format!("title: t\nid: t\nlogsource: {{{log_source}}}\ndetection: {{s: {selection}, condition: s}}\n");
            let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("t.yml", text)]);
            assert!(problems.is_empty(), "{problems:?}");
            catalogue.by_id("t").unwrap().detection.as_ref().unwrap().doubts.concat()
        };
        let web = "category: webserver";
        for selection in [
            "{cs-uri-query|contains: /cgi-bin/}",
            "{cs-uri-query|endswith: [/mgmt/tm/util/bash, /x]}",
            "{cs-method: POST, cs-uri-query: '*/remote/*'}",
            r"[{c-ip: x}, {cs-uri-query|startswith: '\?doAs='}]",
        ] {
            let told = doubts(web, selection);
            assert!(told.contains("'cs-uri-stem'"), "{selection}: {told}");
        }
        for (log_source, selection) in [
            (web, "{cs-uri-query|contains: '../'}"),
            (web, "{cs-uri-query|contains: [/etc/passwd, 'union select']}"),
            (web, "{cs-uri|contains: /cgi-bin/}"),
            (web, "{cs-uri-query|re: /cgi-bin/}"),
            (web, "{cs-uri-query: null}"),
            ("category: proxy", "{cs-uri-query|contains: /cgi-bin/}"),
        ] {
            assert_eq!(doubts(log_source, selection), "", "{selection}");
        }
        let reason = reason(web, "{s: {Image: x, User: y}, condition: s}").unwrap();
        assert!(reason.ends_with("have none of the fields 'Image', 'User'"), "{reason}");
    }

    #[test]
    fn a_misspelt_part_of_a_path_is_told_and_what_aws_leaves_open_is_not() {
        let cloudtrail = DECLARED.iter().find(|declared| declared.name == "CloudTrail").unwrap();
        for known in [
            "userIdentity",
            "userIdentity.sessionContext",
            "userIdentity.sessionContext.attributes.mfaAuthenticated",
            "userIdentity.sessionContext.webIdFederationData.attributes.accounts.google.com:aud",
            "userIdentity.inScopeOf.credentialsIssuedToVersion",
            "resources.ARN",
            "resources[0].ARN",
            "resources[].accountId",
            "responseElements.credentials.accessKeyId",
            "tlsDetails.clientProvidedHostHeader",
            "cloudvigil.own_resource",
        ] {
            assert!(cloudtrail.has(known), "{known}");
        }
        for unknown in [
            "userIdentity.usrName",
            "userIdentity.sessionContext.sessionIssuer.name",
            "userIdentity.type.name",
            "useridentity.type",
            "resources.Arn",
            "requestParameter.bucketName",
            "tlsDetails.version",
            "cloudvigil.own_resources",
            "cloudvigil.web_attack",
            "",
        ] {
            assert!(!cloudtrail.has(unknown), "{unknown}");
        }
    }

    #[test]
    fn a_name_of_the_taxonomy_is_known_where_records_answer_to_it() {
        for (log_source, is_known) in
            [("category: dns", true), ("category: network", true), ("product: suricata, category: ids", false)]
        {
            let reason = reason(log_source, "{s: {query: x}, condition: s}");
            assert_eq!(reason.is_none(), is_known, "{log_source}: {reason:?}");
        }
        let reason = reason("category: dns", "{s: {QueryName: x}, condition: s}").unwrap();
        assert!(reason.contains("never match") && reason.contains("'QueryName'"), "{reason}");
    }

    #[test]
    fn derived_fields_are_known_by_the_log_source_that_has_them() {
        for (log_source, field, is_known) in [
            ("category: webserver", "cloudvigil.web_attack", true),
            ("category: webserver", "cloudvigil.web_atack", false),
            ("category: webserver", "cloudvigil.open_ports", false),
            ("category: application", "cloudvigil.error_kind", true),
            ("category: application", "cloudvigil.error", false),
            ("product: aws, service: s3, category: inventory", "cloudvigil.policy_public", true),
        ] {
            let reason = reason(log_source, &format!("{{s: {{{field}: x}}, condition: s}}"));
            assert_eq!(reason.is_none(), is_known, "{field} of {log_source}: {reason:?}");
        }
    }

    /// The paths to all values in a record that are no objects.
    fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                paths(value, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, found);
            }),
            Value::Array(items) => items.iter().for_each(|item| paths(item, path, found)),
            _ => found.push(path.to_owned()),
        }
    }

    #[test]
    fn every_field_of_the_fixtures_is_known() {
        for (format, text) in [
            ("eve", include_str!("../formats/fixtures/eve/basic.ndjson")),
            ("access", include_str!("../formats/fixtures/access/basic.log")),
            ("syslog", include_str!("../formats/fixtures/syslog/basic.log")),
            ("vpcflow", include_str!("../formats/fixtures/vpcflow/basic.log")),
        ] {
            let mut parser = formats::by_name(format).unwrap().parser(&Options::default().context());
            let mut read = 0;
            for line in text.lines() {
                let Parsed::Record(record) = parser.parse(line) else { continue };
                let mut found = Vec::new();
                paths(record.fields.tree(), "", &mut found);
                let declared = DECLARED.iter().find(|one| one.log_sources.contains(&record.log_source)).unwrap();
                read += found.len();
                assert!(found.iter().all(|path| declared.has(path)), "{found:?}");
            }
            assert!(read > 0, "{format}");
        }
    }

    #[test]
    fn every_field_of_the_calls_in_the_rules_tests_is_known() {
        let (catalogue, _) = Catalogue::load(Catalogue::built_in_files());
        let cloudtrail = DECLARED.iter().find(|declared| declared.name == "CloudTrail").unwrap();
        let of_calls = |record: &&Value| record.get("eventSource").is_some();
        let mut found = Vec::new();
        for run in catalogue.rules().iter().flat_map(|rule| rule.cases.runs()) {
            run.records.iter().filter(of_calls).for_each(|record| paths(record, "", &mut found));
        }
        assert!(found.len() > 1000);
        found.retain(|path| !cloudtrail.has(path));
        assert_eq!(found, [""; 0]);
    }
}
