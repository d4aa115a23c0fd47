//! Simple rules: filtered, mapped, filled in and compiled.

use rsigma_parser::{ConditionExpr, Detections, LogSource, SigmaRule, is_unsupported};
use serde::{Deserialize, Serialize};

use super::correlation::Target;
use super::documents::{self, Document};
use super::header::{Header, header_of};
use super::{Loader, RuleFile, logic_hash};
use crate::detect::compiled::{Compiled, Lowered};
use crate::detect::{Cases, Detection, Rule, WantedLogSource, dialect, events, fields, placeholders};

/// A simple rule that waits until all filters are read.
pub(super) enum Waiting {
    /// One of a file.
    Read { file: String, line: Option<usize>, document: Document, rule: Box<SigmaRule> },
    /// A built-in one, with its [`Lowered`] in JSON.
    Prepared { file: RuleFile, rule: Box<Simple>, lowered: &'static str },
}

/// All that is known of a simple rule but how its records are matched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::detect) struct Simple {
    pub(super) header: Header,
    log_source: LogSource,
    group_by: Option<Vec<String>>,
    logic: String,
    events: Vec<events::Wanted>,
    unknown: fields::Unknown,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    doubts: Vec<String>,
}

/// Loads the simple rules.
pub(super) fn load(loader: &mut Loader<'_>) {
    for waiting in std::mem::take(&mut loader.simple) {
        match waiting {
            Waiting::Read { file, line, document, rule } => load_read(loader, &file, line, &document, *rule),
            Waiting::Prepared { file, rule, lowered } => load_prepared(loader, &file, *rule, lowered),
        }
    }
    loader.problems.extend(loader.filters.unused());
}

fn load_read(loader: &mut Loader<'_>, file: &str, line: Option<usize>, document: &Document, rule: SigmaRule) {
    let (shown, name) = (rule.id.clone().unwrap_or_else(|| rule.title.clone()), rule.name.clone());
    let log_source = rule.logsource.clone();
    let compiled = lower(loader, file, line, rule)
        .and_then(|(rule, lowered, cases)| Ok(rule.rule(file, lowered.compile()?.into(), cases)));
    match compiled.and_then(|rule| loader.add(rule)) {
        Ok(number) => added(loader, number, file, line, &shown, name.as_deref(), log_source),
        Err(reason) => {
            let line = if reason.contains("the id is taken") { line } else { document.line_of(&reason) };
            loader.problem(file, line, Some(&shown), reason);
        }
    }
}

fn load_prepared(loader: &mut Loader<'_>, file: &RuleFile, rule: Simple, lowered: &'static str) {
    let Header { id, name, line, .. } = &rule.header;
    if loader.filters.has_for(id.as_deref(), name.as_deref(), &rule.log_source) {
        // It is another rule then, and made of the file.
        for document in documents::split(file.text()) {
            let rules = document.parse().map(|collection| collection.rules).unwrap_or_default();
            if let Some(filtered) = rules.into_iter().find(|other| other.id == *id) {
                return load_read(loader, &file.name, *line, &document, filtered);
            }
        }
    }
    let (shown, name, line) = (rule.header.shown().to_owned(), name.clone(), *line);
    let log_source = rule.log_source.clone();
    match loader.add(rule.rule(&file.name, Compiled::later(lowered), Cases::default())) {
        Ok(number) => added(loader, number, &file.name, line, &shown, name.as_deref(), log_source),
        Err(reason) => loader.problem(&file.name, line, Some(&shown), reason),
    }
}

/// Notes what correlations need of a rule that is in the catalogue.
fn added(
    loader: &mut Loader<'_>,
    number: usize,
    file: &str,
    line: Option<usize>,
    shown: &str,
    name: Option<&str>,
    log_source: LogSource,
) {
    loader.log_sources.push(log_source);
    if let Some(name) = name {
        loader.name(file, line, shown, name, Target::Simple(number));
    }
}

/// A rule, filtered, mapped and filled in; and its tests.
pub(super) fn lower(
    loader: &mut Loader<'_>,
    file: &str,
    line: Option<usize>,
    mut rule: SigmaRule,
) -> Result<(Simple, Lowered, Cases), String> {
    if is_unsupported(rule.sigma_version) {
        return Err("it asks for a later `sigma-version` than this build understands".to_owned());
    }
    dialect::spell_out(&mut rule.detection);
    names_something(&rule.detection)?;
    let mut doubts = unnamed(&rule.detection);
    let as_written = rule.logsource.clone();
    loader.pipelines.apply(file, &mut rule)?;
    loader.filters.apply(&mut rule);
    placeholders::fill(&mut rule.detection, loader.placeholders)?;
    let mut translated = rule.clone();
    dialect::translate(&mut translated.detection)?;
    let lowered = Lowered::of(&translated)?;
    let group_by = match rule.custom_attributes.get("group-by") {
        None => None,
        Some(value) => {
            let names = yaml_serde::from_value::<Vec<String>>(value.clone())
                .map_err(|_| "`group-by` must be a list of field names".to_owned())?;
            let names = names.iter().map(|name| loader.pipelines.field(file, &as_written, name));
            Some(names.collect::<Result<_, _>>()?)
        }
    };
    let wanted = wanted(&rule.logsource);
    let events = match wanted.service.as_deref() {
        Some("cloudtrail") => events::wanted(&rule.detection),
        _ => Vec::new(),
    };
    // The id is part of it: two rules that ask for the same thing have findings of their own.
    let own = rule.id.as_ref().unwrap_or(&rule.title);
    let logic = logic_hash(&(own, &rule.logsource, &rule.detection, &group_by))?;
    let unknown = fields::unknown(&rule.detection, &wanted);
    doubts.extend(fields::path_in_query(&rule.detection, &wanted));
    let (header, cases, fault) = header_of!(&rule, line);
    match fault {
        Some(fault) => Err(fault),
        None => Ok((
            Simple { header, log_source: rule.logsource, group_by, logic, events, unknown, doubts },
            lowered,
            cases,
        )),
    }
}

impl Simple {
    fn rule(self, file: &str, compiled: Compiled, cases: Cases) -> Rule {
        let Self { header, log_source, group_by, logic, events, unknown, doubts } = self;
        let detection = Detection { log_source: wanted(&log_source), compiled, events, unknown, doubts };
        Rule { group_by, detection: Some(detection), ..header.rule(file, logic, cases) }
    }
}

fn wanted(source: &LogSource) -> WantedLogSource {
    WantedLogSource {
        product: source.product.clone(),
        service: source.service.clone(),
        category: source.category.clone(),
    }
}

/// What is wrong with selections that no condition names, in their order.
fn unnamed(detections: &Detections) -> Vec<String> {
    fn is_named(condition: &ConditionExpr, name: &str) -> bool {
        match condition {
            ConditionExpr::And(parts) | ConditionExpr::Or(parts) => parts.iter().any(|part| is_named(part, name)),
            ConditionExpr::Not(part) => is_named(part, name),
            ConditionExpr::Identifier(named) => named == name,
            ConditionExpr::Selector { pattern, .. } => pattern.matches_detection_name(name),
        }
    }
    let is_unnamed = |name: &&String| !detections.conditions.iter().any(|condition| is_named(condition, name));
    let mut names: Vec<String> = detections.named.keys().filter(is_unnamed).cloned().collect();
    names.sort_unstable();
    names.iter().map(|name| format!("the condition does not name the selection '{name}'")).collect()
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
