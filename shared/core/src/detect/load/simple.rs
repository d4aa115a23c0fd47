//! Simple rules: filtered, mapped, filled in and compiled.

use rsigma_eval::compile_rule;
use rsigma_parser::{ConditionExpr, Detections, SigmaRule, is_unsupported};

use super::correlation::Target;
use super::documents::Document;
use super::{Loader, logic_hash};
use crate::correlate::plan::Node;
use crate::detect::{Detection, Rule, WantedLogSource, dialect, events, fields, placeholders};

/// A simple rule that waits until all filters are read.
pub(super) struct Waiting {
    pub file: String,
    pub line: Option<usize>,
    pub document: Document,
    pub rule: SigmaRule,
}

/// Loads the simple rules.
pub(super) fn load(loader: &mut Loader<'_>) {
    for Waiting { file, line, document, rule } in std::mem::take(&mut loader.simple) {
        let (id, name) = (rule.id.clone().unwrap_or_else(|| rule.title.clone()), rule.name.clone());
        let log_source = rule.logsource.clone();
        match compile(loader, &file, rule).and_then(|rule| loader.add(rule)) {
            Ok(number) => {
                loader.log_sources.push(log_source);
                if let Some(name) = &name {
                    loader.name(&file, line, &id, name, Target::Simple(number));
                }
            }
            Err(reason) => {
                let line = if reason.contains("the id is taken") { line } else { document.line_of(&reason) };
                loader.problem(&file, line, Some(&id), reason);
            }
        }
    }
    loader.problems.extend(loader.filters.unused());
}

fn compile(loader: &mut Loader<'_>, file: &str, mut rule: SigmaRule) -> Result<Rule, String> {
    if is_unsupported(rule.sigma_version) {
        return Err("it asks for a later `sigma-version` than this build understands".to_owned());
    }
    names_something(&rule.detection)?;
    loader.pipelines.apply(file, &mut rule)?;
    loader.filters.apply(&mut rule);
    placeholders::fill(&mut rule.detection, loader.placeholders)?;
    let mut translated = rule.clone();
    dialect::translate(&mut translated.detection);
    let compiled = compile_rule(&translated).map_err(|error| error.to_string())?;
    let group_by = match rule.custom_attributes.get("group-by") {
        None => None,
        Some(value) => Some(
            yaml_serde::from_value::<Vec<String>>(value.clone())
                .map_err(|_| "`group-by` must be a list of field names".to_owned())?,
        ),
    };
    let source = &rule.logsource;
    let log_source = WantedLogSource {
        product: source.product.clone(),
        service: source.service.clone(),
        category: source.category.clone(),
    };
    let events = match log_source.service.as_deref() {
        Some("cloudtrail") => events::wanted(&rule.detection),
        _ => Vec::new(),
    };
    // The id is part of it: two rules that ask for the same thing have findings of their own.
    let logic = logic_hash(&(&rule.id, &rule.logsource, &rule.detection, &group_by))?;
    let unknown = fields::unknown(&rule.detection, &log_source);
    rule_of!(
        rule,
        file,
        logic,
        Rule {
            group_by,
            plan: Node::Leaf(0),
            lateness: 0,
            detection: Some(Detection { log_source, compiled, events, unknown }),
            leaves: Vec::new(),
        }
    )
}

/// Every part of the conditions must stand for something: one that does not is false for ever, or true for ever.
pub(in crate::detect) fn names_something(detections: &Detections) -> Result<(), String> {
    fn check(condition: &ConditionExpr, detections: &Detections) -> Result<(), String> {
        match condition {
            ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
                parts.iter().try_for_each(|part| check(part, detections))
            }
            ConditionExpr::Not(part) => check(part, detections),
            ConditionExpr::Identifier(name) => known(detections.named.contains_key(name), name),
            ConditionExpr::Selector { pattern, .. } => {
                let selects = detections.named.keys().any(|name| pattern.matches_detection_name(name));
                known(selects, &pattern.to_string())
            }
        }
    }
    fn known(is_known: bool, name: &str) -> Result<(), String> {
        let reason = || format!("the condition names '{name}', and there is no such selection");
        is_known.then_some(()).ok_or_else(reason)
    }
    detections.conditions.iter().try_for_each(|condition| check(condition, detections))
}
