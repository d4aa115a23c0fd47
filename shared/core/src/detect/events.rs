//! Which `CloudTrail` events the rules ask for: what `EventBridge` must deliver, and what `LookupEvents` is asked.
//!
//! It is read off the rules' conditions, so a new rule is delivered and looked up without a second list. What cannot be
//! read off (a rule that names neither a call nor a service) is seen in log files alone, but for the root user's doings,
//! which `LookupEvents` can be asked for.
//!
//! `LookupEvents` can be asked in two ways, which cost differently: question by question
//! ([`Catalogue::event_queries`]), or for everything that changes something and for the little that the rules want
//! besides ([`Catalogue::event_queries_beside_changes`]).

use std::collections::{BTreeMap, BTreeSet};

use rsigma_parser::{ConditionExpr, Detection, DetectionItem, Detections, Modifier, Quantifier, SigmaValue};
use serde::{Deserialize, Serialize};

use super::{Catalogue, Rule};

/// The most alternatives that are told apart in one rule; more are taken for "anything".
const MAX_ALTERNATIVES: usize = 256;

/// The name of a call, or how it begins: Lambda's carry a date and a version (`DeleteFunction20150331`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EventName {
    /// The name.
    Exact(String),
    /// How it begins.
    Prefix(String),
}

impl EventName {
    /// Whether a call of this name is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }

    /// Whether every call that is meant is known to change something.
    fn changes(&self) -> bool {
        let (Self::Exact(name) | Self::Prefix(name)) = self;
        CHANGES.iter().any(|verb| name.starts_with(verb))
    }

    fn exact(&self) -> Option<String> {
        match self {
            Self::Exact(name) => Some(name.clone()),
            Self::Prefix(_) => None,
        }
    }

    /// Whether every call that the other means is meant by this one.
    fn covers(&self, other: &Self) -> bool {
        match other {
            Self::Exact(name) => self.matches(name),
            Self::Prefix(prefix) => matches!(self, Self::Prefix(own) if prefix.starts_with(own.as_str())),
        }
    }
}

/// One alternative of what a rule asks for; `None`: anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    sources: Option<BTreeSet<String>>,
    names: Option<BTreeSet<EventName>>,
    root: bool,
}

/// A question for `LookupEvents`, which takes one attribute at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventQuery {
    /// All events of a service: for services that few call.
    Source(String),
    /// All calls of a name: for services that many call.
    Name(String),
    /// All that the root user did.
    Root,
}

/// Services with so few calls that asking for all of them is cheaper than asking name by name. `CloudTrail` is none of
/// them: whoever asks for its event history fills it.
const QUIET: [&str; 19] = [
    "access-analyzer.amazonaws.com",
    "account.amazonaws.com",
    "auditmanager.amazonaws.com",
    "config.amazonaws.com",
    "detective.amazonaws.com",
    "guardduty.amazonaws.com",
    "inspector2.amazonaws.com",
    "macie2.amazonaws.com",
    "network-firewall.amazonaws.com",
    "notifications.amazonaws.com",
    "oam.amazonaws.com",
    "observabilityadmin.amazonaws.com",
    "pipes.amazonaws.com",
    "route53resolver.amazonaws.com",
    "scheduler.amazonaws.com",
    "securityhub.amazonaws.com",
    "securitylake.amazonaws.com",
    "vpc-lattice.amazonaws.com",
    "wafv2.amazonaws.com",
];

/// How the names of calls begin that change something, so that `CloudTrail` records them with `readOnly: false`. Of
/// other names it is not known.
const CHANGES: [&str; 45] = [
    "Accept",
    "Add",
    "Archive",
    "Associate",
    "Attach",
    "Authorize",
    "BatchDelete",
    "BatchDisable",
    "BatchEnable",
    "BatchPut",
    "BatchUpdate",
    "Cancel",
    "ConsoleLogin",
    "Create",
    "Decline",
    "Delete",
    "Deregister",
    "Detach",
    "Disable",
    "Disassociate",
    "Enable",
    "Import",
    "Invite",
    "Leave",
    "Modify",
    "Purge",
    "Put",
    "Reboot",
    "Register",
    "Remove",
    "Replace",
    "Reset",
    "Retire",
    "Revoke",
    "Run",
    "Schedule",
    "Set",
    "StartLogging",
    "Stop",
    "Subscribe",
    "Tag",
    "Terminate",
    "Unsubscribe",
    "Untag",
    "Update",
];

impl Catalogue {
    /// What `LookupEvents` must be asked for so that every one of `these` rules sees its events.
    pub fn event_queries(&self, these: impl Fn(&Rule) -> bool) -> BTreeSet<EventQuery> {
        let wanted: Vec<&Wanted> = self.wanted_events(these).collect();
        // What is asked for whole need not be asked for by name.
        let whole: BTreeSet<&String> = wanted.iter().filter_map(|wanted| wanted.whole()).flatten().collect();
        let mut queries: BTreeSet<EventQuery> =
            whole.iter().map(|source| EventQuery::Source((*source).clone())).collect();
        for wanted in wanted {
            let is_asked = wanted.sources.as_ref().is_some_and(|sources| sources.iter().all(|one| whole.contains(one)));
            match &wanted.names {
                _ if is_asked => {}
                Some(names) => queries.extend(names.iter().filter_map(EventName::exact).map(EventQuery::Name)),
                None if wanted.root => {
                    queries.insert(EventQuery::Root);
                }
                None => {}
            }
        }
        queries
    }

    /// What `LookupEvents` must be asked for besides all events that change something, so that every one of `these` rules
    /// sees its events: calls that may change nothing, and the root user's.
    ///
    /// Of a service that a rule names without any call, only what changes something is seen.
    pub fn event_queries_beside_changes(&self, these: impl Fn(&Rule) -> bool) -> BTreeSet<EventQuery> {
        let mut queries = BTreeSet::new();
        for wanted in self.wanted_events(these) {
            match &wanted.names {
                None if wanted.root => {
                    queries.insert(EventQuery::Root);
                }
                None => {}
                Some(names) => {
                    for name in names.iter().filter(|name| !name.changes()) {
                        match (name, &wanted.sources) {
                            (EventName::Exact(name), _) => queries.extend([EventQuery::Name(name.clone())]),
                            (EventName::Prefix(_), Some(sources)) => {
                                queries.extend(sources.iter().cloned().map(EventQuery::Source));
                            }
                            (EventName::Prefix(_), None) => {}
                        }
                    }
                }
            }
        }
        queries
    }

    /// The calls that `EventBridge` must deliver for `these` rules, by service: every one of them that names both is served
    /// in real time. No name is covered by another.
    pub fn event_names(&self, these: impl Fn(&Rule) -> bool) -> BTreeMap<String, BTreeSet<EventName>> {
        let mut names: BTreeMap<String, BTreeSet<EventName>> = BTreeMap::new();
        for wanted in self.wanted_events(these) {
            if let (Some(sources), Some(wanted)) = (&wanted.sources, &wanted.names) {
                for source in sources {
                    names.entry(source.clone()).or_default().extend(wanted.iter().cloned());
                }
            }
        }
        for names in names.values_mut() {
            let all = names.clone();
            names.retain(|name| !all.iter().any(|other| other != name && other.covers(name)));
        }
        names
    }

    fn wanted_events(&self, these: impl Fn(&Rule) -> bool) -> impl Iterator<Item = &Wanted> {
        let rules = self.rules.iter().filter(move |rule| these(rule));
        rules.filter_map(|rule| rule.detection.as_ref()).flat_map(|detection| &detection.events)
    }
}

/// The alternatives of a rule's conditions.
pub(super) fn wanted(detections: &Detections) -> Vec<Wanted> {
    bounded(detections.conditions.iter().flat_map(|condition| of_condition(condition, detections)).collect())
}

fn bounded(alternatives: Vec<Wanted>) -> Vec<Wanted> {
    if alternatives.len() > MAX_ALTERNATIVES { vec![Wanted::default()] } else { alternatives }
}

fn of_condition(condition: &ConditionExpr, detections: &Detections) -> Vec<Wanted> {
    match condition {
        ConditionExpr::And(parts) => all(parts.iter().map(|part| of_condition(part, detections))),
        ConditionExpr::Or(parts) => bounded(parts.iter().flat_map(|part| of_condition(part, detections)).collect()),
        // What must not be narrows nothing that could be told beforehand.
        ConditionExpr::Not(_) => vec![Wanted::default()],
        ConditionExpr::Identifier(name) => {
            detections.named.get(name).map_or_else(|| vec![Wanted::default()], of_detection)
        }
        ConditionExpr::Selector { quantifier, pattern } => {
            let parts = detections.named.iter().filter(|(name, _)| pattern.matches_detection_name(name));
            let parts = parts.map(|(_, detection)| of_detection(detection));
            match quantifier {
                Quantifier::All => all(parts),
                Quantifier::Any | Quantifier::Count(_) => bounded(parts.flatten().collect()),
            }
        }
    }
}

/// Every part at once: each combination of their alternatives.
fn all(parts: impl Iterator<Item = Vec<Wanted>>) -> Vec<Wanted> {
    parts.fold(vec![Wanted::default()], |sofar, part| {
        let both = |one: &Wanted| part.iter().map(|other| one.and(other)).collect::<Vec<_>>();
        bounded(sofar.iter().flat_map(both).collect())
    })
}

fn of_detection(detection: &Detection) -> Vec<Wanted> {
    match detection {
        Detection::AllOf(items) => {
            vec![items.iter().fold(Wanted::default(), |wanted, item| wanted.and(&of_item(item)))]
        }
        Detection::AnyOf(parts) => bounded(parts.iter().flat_map(of_detection).collect()),
        Detection::And(parts) => all(parts.iter().map(of_detection)),
        Detection::Keywords(_) | Detection::ArrayMatch { .. } | Detection::Conditional { .. } => {
            vec![Wanted::default()]
        }
    }
}

fn of_item(item: &DetectionItem) -> Wanted {
    let mut wanted = Wanted::default();
    // Only whole values can be asked for, and of names how they begin.
    let begins = match item.field.modifiers.as_slice() {
        [] => false,
        [Modifier::StartsWith] => true,
        _ => return wanted,
    };
    let values: Option<BTreeSet<String>> = item
        .values
        .iter()
        .map(|value| match value {
            SigmaValue::String(text) => text.as_plain(),
            _ => None,
        })
        .collect();
    let Some(values) = values.filter(|values| !values.is_empty()) else { return wanted };
    match item.field.name.as_deref() {
        Some("eventName") => {
            let kind = if begins { EventName::Prefix } else { EventName::Exact };
            wanted.names = Some(values.into_iter().map(kind).collect());
        }
        Some("eventSource") if !begins => wanted.sources = Some(values),
        Some("userIdentity.type") if !begins => wanted.root = values.iter().all(|value| value == "Root"),
        _ => {}
    }
    wanted
}

impl Wanted {
    /// The services that must be asked for whole: quiet ones, and those of which no name is known in full, for
    /// `LookupEvents` knows no prefixes.
    fn whole(&self) -> Option<&BTreeSet<String>> {
        let sources = self.sources.as_ref()?;
        let quiet = sources.iter().all(|source| QUIET.contains(&source.as_str()));
        let by_name = match &self.names {
            Some(names) => names.iter().all(|name| matches!(name, EventName::Exact(_))),
            None => self.root,
        };
        (quiet || !by_name).then_some(sources)
    }

    fn and(&self, other: &Self) -> Self {
        let sources = match (&self.sources, &other.sources) {
            (Some(one), Some(two)) => Some(one & two),
            (one, two) => one.clone().or_else(|| two.clone()),
        };
        let names = match (&self.names, &other.names) {
            (Some(one), Some(two)) => {
                let within = |names: &BTreeSet<EventName>, others: &BTreeSet<EventName>| {
                    let covered = names.iter().filter(|name| others.iter().any(|other| other.covers(name)));
                    covered.cloned().collect::<BTreeSet<_>>()
                };
                Some(&within(one, two) | &within(two, one))
            }
            (one, two) => one.clone().or_else(|| two.clone()),
        };
        Self { sources, names, root: self.root || other.root }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::RuleFile;

    fn catalogue(detection: &str) -> Catalogue {
        let text =
            format!("title: t\nid: x\nlogsource: {{product: aws, service: cloudtrail}}\ndetection: {detection}\n");
        let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("x.yml", text)]);
        assert!(problems.is_empty(), "{problems:?}");
        catalogue
    }

    fn queries(detection: &str) -> Vec<EventQuery> {
        catalogue(detection).event_queries(|_| true).into_iter().collect()
    }

    #[test]
    fn quiet_services_are_asked_for_whole_and_others_by_name() {
        let quiet =
            "{a: {eventSource: guardduty.amazonaws.com, eventName: [DeleteDetector, CreateFilter]}, condition: a}";
        assert_eq!(queries(quiet), [EventQuery::Source("guardduty.amazonaws.com".to_owned())]);
        let noisy = "{a: {eventSource: iam.amazonaws.com}, b: {eventName: CreateAccessKey}, c: {x: y}, condition: a and b and not c}";
        assert_eq!(queries(noisy), [EventQuery::Name("CreateAccessKey".to_owned())]);
        assert_eq!(queries("{a: {userIdentity.type: Root}, condition: a}"), [EventQuery::Root]);
        assert_eq!(queries("{a: {eventName|startswith: Put}, condition: a}"), []);
        assert_eq!(queries("{a: {eventName|contains: Put}, condition: a}"), []);
    }

    #[test]
    fn beside_all_changes_only_what_may_change_nothing_is_asked_for() {
        let beside = |detection: &str| {
            catalogue(detection).event_queries_beside_changes(|_| true).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(beside("{a: {eventSource: guardduty.amazonaws.com, eventName: DeleteDetector}, condition: a}"), []);
        let secret = "{a: {eventSource: secretsmanager.amazonaws.com, eventName: [GetSecretValue, PutSecretValue]}, condition: a}";
        assert_eq!(beside(secret), [EventQuery::Name("GetSecretValue".to_owned())]);
        let prefix = "{a: {eventSource: lambda.amazonaws.com, eventName|startswith: [GetFunction, DeleteFunction]}, condition: a}";
        assert_eq!(beside(prefix), [EventQuery::Source("lambda.amazonaws.com".to_owned())]);
        assert_eq!(beside("{a: {userIdentity.type: Root}, condition: a}"), [EventQuery::Root]);
        assert_eq!(beside("{a: {userIdentity.type: Root, eventName: DeleteTrail}, condition: a}"), []);
    }

    #[test]
    fn the_built_in_rules_want_little_beside_changes() {
        let (catalogue, problems) = Catalogue::built_in();
        assert!(problems.is_empty(), "{problems:?}");
        let beside = catalogue.event_queries_beside_changes(|_| true);
        // Each costs a call for every region and poll: a name that is here although it changes something lacks its verb.
        assert_eq!(beside.into_iter().collect::<Vec<_>>(), [EventQuery::Root]);
    }

    #[test]
    fn alternatives_are_all_asked_for() {
        let either = "{a: {eventSource: s3.amazonaws.com, eventName: A}, b: {eventSource: ec2.amazonaws.com, eventName: B}, condition: 1 of them}";
        assert_eq!(names(either), ["ec2.amazonaws.com B", "s3.amazonaws.com A"]);
    }

    /// What is asked for as `source name`, a prefix with `...` behind it.
    fn names(detection: &str) -> Vec<String> {
        let names = catalogue(detection).event_names(|_| true);
        let shown = |name: &EventName| match name {
            EventName::Exact(name) => name.clone(),
            EventName::Prefix(prefix) => format!("{prefix}..."),
        };
        names
            .iter()
            .flat_map(|(source, names)| names.iter().map(move |name| format!("{source} {}", shown(name))))
            .collect()
    }

    #[test]
    fn names_that_carry_versions_are_asked_for_by_how_they_begin() {
        let versions = "{a: {eventSource: lambda.amazonaws.com, eventName|startswith: DeleteFunction}, b: {eventName: [DeleteFunction20150331, Invoke]}, condition: a}";
        assert_eq!(names(versions), ["lambda.amazonaws.com DeleteFunction..."]);
        assert_eq!(queries(versions), [EventQuery::Source("lambda.amazonaws.com".to_owned())]);
        let both = versions.replace("condition: a", "condition: a and b");
        assert_eq!(names(&both), ["lambda.amazonaws.com DeleteFunction20150331"]);
        let either = versions.replace("b: {", "b: {eventSource: lambda.amazonaws.com, ");
        let either = either.replace("condition: a", "condition: a or b");
        assert_eq!(names(&either), ["lambda.amazonaws.com Invoke", "lambda.amazonaws.com DeleteFunction..."]);
    }
}
