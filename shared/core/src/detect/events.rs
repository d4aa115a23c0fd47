//! Which `CloudTrail` events the rules ask for: what `EventBridge` must deliver, and what `LookupEvents` is asked.
//!
//! It is read off the rules' conditions, so a new rule is delivered and looked up without a second list. What cannot be
//! read off (a rule that names neither a call nor a service) is seen in log files alone, but for the root user's doings,
//! which `LookupEvents` can be asked for.

use std::collections::{BTreeMap, BTreeSet};

use rsigma_parser::{ConditionExpr, Detection, DetectionItem, Detections, Quantifier, SelectorPattern, SigmaValue};

use super::{Catalogue, Rule};

/// The most alternatives that are told apart in one rule; more are taken for "anything".
const MAX_ALTERNATIVES: usize = 256;

/// One alternative of what a rule asks for; `None`: anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    sources: Option<BTreeSet<String>>,
    names: Option<BTreeSet<String>>,
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

/// Services with so few changing calls that asking for all of them is cheaper than asking name by name.
const QUIET: [&str; 1] = ["cloudtrail.amazonaws.com"];

impl Catalogue {
    /// What `LookupEvents` must be asked for so that every one of `these` rules sees its events.
    pub fn event_queries(&self, these: impl Fn(&Rule) -> bool) -> BTreeSet<EventQuery> {
        let mut queries = BTreeSet::new();
        for wanted in self.wanted_events(these) {
            let quiet = |sources: &BTreeSet<String>| sources.iter().all(|source| QUIET.contains(&source.as_str()));
            match (&wanted.sources, &wanted.names) {
                (Some(sources), _) if quiet(sources) => queries.extend(sources.iter().cloned().map(EventQuery::Source)),
                (_, Some(names)) => queries.extend(names.iter().cloned().map(EventQuery::Name)),
                _ if wanted.root => {
                    queries.insert(EventQuery::Root);
                }
                (Some(sources), None) => queries.extend(sources.iter().cloned().map(EventQuery::Source)),
                (None, None) => {}
            }
        }
        queries
    }

    /// The calls that `EventBridge` must deliver, by service: every rule that names both is served in real time.
    pub fn event_names(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for wanted in self.wanted_events(|_| true) {
            if let (Some(sources), Some(wanted)) = (&wanted.sources, &wanted.names) {
                for source in sources {
                    names.entry(source.clone()).or_default().extend(wanted.iter().cloned());
                }
            }
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
            let parts = detections.named.iter().filter(|(name, _)| selects(pattern, name));
            let parts = parts.map(|(_, detection)| of_detection(detection));
            match quantifier {
                Quantifier::All => all(parts),
                Quantifier::Any | Quantifier::Count(_) => bounded(parts.flatten().collect()),
            }
        }
    }
}

fn selects(pattern: &SelectorPattern, name: &str) -> bool {
    match pattern {
        SelectorPattern::Them => !name.starts_with('_'),
        SelectorPattern::Pattern(pattern) => match pattern.split_once('*') {
            Some((start, end)) => name.starts_with(start) && name.ends_with(end),
            None => pattern == name,
        },
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
    // Only whole values can be asked for.
    let values: Option<BTreeSet<String>> = item
        .values
        .iter()
        .map(|value| match value {
            SigmaValue::String(text) if item.field.modifiers.is_empty() => text.as_plain(),
            _ => None,
        })
        .collect();
    let Some(values) = values.filter(|values| !values.is_empty()) else { return wanted };
    match item.field.name.as_deref() {
        Some("eventSource") => wanted.sources = Some(values),
        Some("eventName") => wanted.names = Some(values),
        Some("userIdentity.type") => wanted.root = values.iter().all(|value| value == "Root"),
        _ => {}
    }
    wanted
}

impl Wanted {
    fn and(&self, other: &Self) -> Self {
        let narrowed = |one: &Option<BTreeSet<String>>, two: &Option<BTreeSet<String>>| match (one, two) {
            (Some(one), Some(two)) => Some(one & two),
            (one, two) => one.clone().or_else(|| two.clone()),
        };
        Self {
            sources: narrowed(&self.sources, &other.sources),
            names: narrowed(&self.names, &other.names),
            root: self.root || other.root,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::RuleFile;

    fn catalogue(detection: &str) -> Catalogue {
        let text =
            format!("title: t\nid: x\nlogsource: {{product: aws, service: cloudtrail}}\ndetection: {detection}\n");
        let (catalogue, problems) = Catalogue::load(vec![RuleFile { name: "x.yml".to_owned(), text: text.into() }]);
        assert!(problems.is_empty(), "{problems:?}");
        catalogue
    }

    fn queries(detection: &str) -> Vec<EventQuery> {
        catalogue(detection).event_queries(|_| true).into_iter().collect()
    }

    #[test]
    fn quiet_services_are_asked_for_whole_and_others_by_name() {
        let tampering =
            "{a: {eventSource: cloudtrail.amazonaws.com, eventName: [StopLogging, DeleteTrail]}, condition: a}";
        assert_eq!(queries(tampering), [EventQuery::Source("cloudtrail.amazonaws.com".to_owned())]);
        let noisy = "{a: {eventSource: iam.amazonaws.com}, b: {eventName: CreateAccessKey}, c: {x: y}, condition: a and b and not c}";
        assert_eq!(queries(noisy), [EventQuery::Name("CreateAccessKey".to_owned())]);
        assert_eq!(queries("{a: {userIdentity.type: Root}, condition: a}"), [EventQuery::Root]);
        assert_eq!(queries("{a: {eventName|startswith: Put}, condition: a}"), []);
    }

    #[test]
    fn alternatives_are_all_asked_for() {
        let either = "{a: {eventSource: s3.amazonaws.com, eventName: A}, b: {eventSource: ec2.amazonaws.com, eventName: B}, condition: 1 of them}";
        let names = catalogue(either).event_names();
        let names: Vec<_> = names
            .iter()
            .flat_map(|(source, names)| names.iter().map(move |name| (source.as_str(), name.as_str())))
            .collect();
        assert_eq!(names, [("ec2.amazonaws.com", "B"), ("s3.amazonaws.com", "A")]);
    }
}
