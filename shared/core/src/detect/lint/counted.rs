//! The fields by which matches are grouped, and whose values are counted: a record that does not have them counts with
//! strangers, or for nothing, and the rule's author cannot see why.

use std::collections::BTreeSet;

use crate::correlate::plan::{Ask, Expression, Node};
use crate::detect::{Catalogue, Leaf, Rule, ValueOf, fields};

/// What is wrong with what a rule groups by and counts.
pub(super) fn lacks(catalogue: &Catalogue, rule: &Rule) -> Vec<String> {
    let names = rule.group_by.as_deref().unwrap_or_default();
    let Some(detection) = &rule.detection else {
        let groups = names.iter().enumerate().flat_map(|(at, name)| groups(catalogue, rule, at, name));
        return groups.chain(counts_nothing(catalogue, rule)).collect();
    };
    let missing = |name: &String| Some(tells_nothing(name, name, &fields::lacking(&detection.log_source, name)?));
    names.iter().filter_map(missing).collect()
}

/// What is wrong with one of the names that a correlation groups by.
fn groups(catalogue: &Catalogue, rule: &Rule, at: usize, name: &str) -> Vec<String> {
    let missing: Vec<(&Rule, &str, String)> = rule
        .leaves
        .iter()
        .filter_map(|leaf| {
            let (counted, field) = (catalogue.rule(leaf.rule), leaf.fields.get(at)?);
            let sources = fields::lacking(&counted.detection.as_ref()?.log_source, field)?;
            Some((counted, field.as_str(), sources))
        })
        .collect();
    let told: BTreeSet<String> = if missing.len() == rule.leaves.len() {
        missing.iter().map(|(_, field, sources)| tells_nothing(name, field, sources)).collect()
    } else {
        let apart = |(counted, field, sources): &(&Rule, &str, String)| {
            let title = &counted.title;
            let missing = of_name(name, field);
            format!(
                "by '{name}' of `group-by`, matches of '{title}' are counted apart from all others, because records of {sources} have no {missing}"
            )
        };
        missing.iter().map(apart).collect()
    };
    told.into_iter().collect()
}

fn tells_nothing(name: &str, field: &str, sources: &str) -> String {
    format!("`group-by` tells nothing apart by '{name}', because records of {sources} have no {}", of_name(name, field))
}

/// The field; and the name, where that is an alias or what a pipeline maps.
fn of_name(name: &str, field: &str) -> String {
    if name == field { format!("field '{field}'") } else { format!("field '{field}', which '{name}' stands for") }
}

/// Whether a rule can never match: its log source has no records, or these not what it asks for or counts.
pub(in crate::detect) fn never_matches(catalogue: &Catalogue, rule: &Rule) -> bool {
    match &rule.detection {
        Some(detection) => detection.unknown.is_never() || !detection.log_source.is_known(),
        None => never_fulfilled(&rule.plan, &|leaf| {
            rule.leaves.get(leaf).is_some_and(|leaf| !lacks_of(catalogue, leaf).is_empty())
        }),
    }
}

/// What a correlation counts in vain.
fn counts_nothing(catalogue: &Catalogue, rule: &Rule) -> Option<String> {
    let told: BTreeSet<String> = rule.leaves.iter().flat_map(|leaf| lacks_of(catalogue, leaf)).collect();
    if told.is_empty() {
        return None;
    }
    let told = told.into_iter().collect::<Vec<_>>().join(", and ");
    Some(if never_matches(catalogue, rule) {
        format!("this rule can never match, because {told}")
    } else {
        format!("a part of this rule never matches, because {told}")
    })
}

/// Why a simple rule never contributes to a correlation.
fn lacks_of(catalogue: &Catalogue, leaf: &Leaf) -> Vec<String> {
    let counted = catalogue.rule(leaf.rule);
    let Some(detection) = &counted.detection else { return Vec::new() };
    if never_matches(catalogue, counted) {
        return vec![format!("'{}' never does", counted.title)];
    }
    let read = leaf.value.iter().flat_map(ValueOf::names);
    let missing = read.filter_map(|name| {
        let sources = fields::lacking(&detection.log_source, name)?;
        Some(format!("records of {sources} have no field '{name}', whose values it reads"))
    });
    missing.collect()
}

/// Whether a condition cannot hold where some leaves never contribute.
fn never_fulfilled(node: &Node, never: &dyn Fn(usize) -> bool) -> bool {
    let of_all: Vec<bool> = node.of().iter().map(|part| never_fulfilled(part, never)).collect();
    match node {
        Node::Leaf(leaf) => never(*leaf),
        Node::Temporal { at_least, .. } => of_all.iter().filter(|never| !**never).count() < *at_least,
        // A window in which nothing happened is never looked at.
        Node::Aligned { ask: Ask::Holds(expression), .. } => {
            of_all.iter().all(|never| *never) || !may_be(expression, true, &of_all)
        }
        Node::EventCount { .. } | Node::ValueCount { .. } | Node::ValueSum { .. } | Node::Aligned { .. } => {
            of_all.iter().all(|never| *never)
        }
    }
}

/// Whether an expression may come out so where some of its nodes never happen.
fn may_be(expression: &Expression, holds: bool, never: &[bool]) -> bool {
    let may_be = |part: &Expression| may_be(part, holds, never);
    match expression {
        Expression::Happened(place) => !holds || never.get(*place) == Some(&false),
        Expression::Not(part) => self::may_be(part, !holds, never),
        Expression::All(parts) if holds => parts.iter().all(may_be),
        Expression::Any(parts) if !holds => parts.iter().all(may_be),
        Expression::All(parts) | Expression::Any(parts) => parts.iter().any(may_be),
    }
}

#[cfg(test)]
mod tests;
