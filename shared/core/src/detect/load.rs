//! Sigma YAML to rules. A malformed rule is reported by file and reason; the others are loaded.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use rsigma_eval::compile_rule;
use rsigma_parser::{
    ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType, Level as SigmaLevel, SigmaRule,
    WindowMode, parse_sigma_yaml,
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Cases, Catalogue, Detection, Leaf, Rule, Use, WantedLogSource, events};
use crate::correlate::plan::Node;
use crate::finding::{Guidance, Level};

/// The longest rule file in bytes.
const MAX_FILE: usize = 1024 * 1024;
/// Correlations over correlations, at most this deep.
const MAX_CHAIN: usize = 8;
/// The most simple rules in a correlation, those of its chain included and each as often as it is named.
const MAX_LEAVES: usize = 256;
/// The longest timespan of a correlation, in seconds: 30 days, the life of state.
const MAX_TIMESPAN: u64 = 30 * 24 * 3600;

/// A file of rules.
#[derive(Debug, Clone)]
pub struct RuleFile {
    /// Its path, for messages.
    pub name: String,
    /// Its content.
    pub text: Cow<'static, str>,
}

/// A rule that was not loaded, or not as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The rule's id or title, where that was readable.
    pub rule: Option<String>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file)?;
        if let Some(rule) = &self.rule {
            write!(f, "{rule}: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// A rule of ours from one of rsigma's, with what is its own. rsigma's two kinds of rule have the same metadata under
/// the same names, and no trait that says so.
macro_rules! described {
    ($rule:ident, $file:ident, $logic:ident, Rule { $($own:ident $(: $value:expr)?),+ $(,)? }) => {
        Rule {
            id: $rule.id.clone().unwrap_or_else(|| $logic.clone()),
            title: $rule.title.clone(),
            level: level($rule.level),
            guidance: Guidance {
                description: $rule.description.clone().unwrap_or_default(),
                runbook: text($rule.custom_attributes.get("runbook"), "runbook")?,
                false_positives: $rule.falsepositives.clone(),
                references: $rule.references.clone(),
                tags: $rule.tags.clone(),
            },
            status: $rule.status.map(|status| format!("{status:?}").to_lowercase()),
            file: $file.to_owned(),
            cases: Cases::from_yaml($rule.custom_attributes.get("tests"))?,
            logic: $logic,
            reports: true,
            $($own $(: $value)?),+
        }
    };
}

pub(super) fn load(files: Vec<RuleFile>) -> (Catalogue, Vec<Problem>) {
    let mut loader = Loader::default();
    for file in files {
        loader.file(&file);
    }
    loader.correlations();
    (loader.catalogue, loader.problems)
}

#[derive(Default)]
struct Loader {
    catalogue: Catalogue,
    problems: Vec<Problem>,
    /// Rules by their Sigma `name`, by which correlations may refer to them too.
    by_name: HashMap<String, usize>,
    waiting: Vec<(String, CorrelationRule)>,
}

impl Loader {
    fn problem(&mut self, file: &str, rule: Option<&str>, reason: impl Into<String>) {
        self.problems.push(Problem { file: file.to_owned(), rule: rule.map(str::to_owned), reason: reason.into() });
    }

    fn file(&mut self, file: &RuleFile) {
        if file.text.len() > MAX_FILE {
            let reason = format!("its {} bytes are more than the {MAX_FILE} of the longest rule file", file.text.len());
            return self.problem(&file.name, None, reason);
        }
        let collection = match parse_sigma_yaml(&file.text) {
            Ok(collection) => collection,
            Err(error) => return self.problem(&file.name, None, error.to_string()),
        };
        for error in &collection.errors {
            self.problem(&file.name, None, error);
        }
        if collection.rules.is_empty() && collection.correlations.is_empty() && collection.errors.is_empty() {
            self.problem(&file.name, None, "there is no rule in this file");
        }
        for filter in &collection.filters {
            self.problem(&file.name, Some(&filter.title), "filter documents are not supported");
        }
        for rule in collection.rules {
            if let Err(reason) = self.simple(&file.name, &rule) {
                self.problem(&file.name, Some(rule.id.as_deref().unwrap_or(&rule.title)), reason);
            }
        }
        self.waiting.extend(collection.correlations.into_iter().map(|rule| (file.name.clone(), rule)));
    }

    fn simple(&mut self, file: &str, rule: &SigmaRule) -> Result<(), String> {
        let compiled = compile_rule(rule).map_err(|error| error.to_string())?;
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
        let number = self.add(described!(
            rule,
            file,
            logic,
            Rule {
                group_by,
                plan: Node::Leaf(0),
                detection: Some(Detection { log_source, compiled, events }),
                leaves: Vec::new(),
            }
        ))?;
        if let Some(name) = &rule.name {
            self.by_name.insert(name.clone(), number);
        }
        Ok(())
    }

    fn add(&mut self, rule: Rule) -> Result<usize, String> {
        if let Some(other) = self.catalogue.by_id.get(&rule.id) {
            let file = &self.catalogue.rules[*other].file;
            return Err(format!("the id is taken by a rule in {file}; this one is not loaded"));
        }
        let number = self.catalogue.rules.len();
        self.catalogue.by_id.insert(rule.id.clone(), number);
        self.catalogue.rules.push(rule);
        self.catalogue.uses.push(Vec::new());
        Ok(number)
    }

    /// Correlations may refer to rules of any file, and to one another.
    fn correlations(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let mut loaded = Vec::new();
        for (file, rule) in &waiting {
            match self.correlation(file, rule, &waiting) {
                Ok(number) => loaded.push((number, rule.generate)),
                Err(reason) => self.problem(file, Some(rule.id.as_deref().unwrap_or(&rule.title)), reason),
            }
        }
        // A rule that a correlation counts is reported by itself only if the correlation says so.
        for (number, generate) in loaded {
            let leaves = self.catalogue.rules[number].leaves.clone();
            for (leaf, Leaf { rule, .. }) in leaves.iter().enumerate() {
                self.catalogue.uses[*rule].push(Use { correlation: number, leaf });
                if !generate {
                    self.catalogue.rules[*rule].reports = false;
                }
            }
        }
    }

    fn correlation(
        &mut self,
        file: &str,
        rule: &CorrelationRule,
        all: &[(String, CorrelationRule)],
    ) -> Result<usize, String> {
        let mut leaves = Vec::new();
        let plan = self.plan(rule, all, &rule.group_by, &mut leaves, 0)?;
        let parts: Vec<_> = leaves.iter().map(|leaf| (&self.catalogue.rules[leaf.rule].logic, &leaf.fields)).collect();
        let logic = logic_hash(&(&rule.id, format!("{plan:?}"), parts))?;
        self.add(described!(
            rule,
            file,
            logic,
            Rule { group_by: Some(rule.group_by.clone()), plan, detection: None, leaves }
        ))
    }

    fn plan(
        &self,
        rule: &CorrelationRule,
        all: &[(String, CorrelationRule)],
        group_by: &[String],
        leaves: &mut Vec<Leaf>,
        depth: usize,
    ) -> Result<Node, String> {
        if depth > MAX_CHAIN {
            return Err("the chain of correlations is too long, or refers to itself".to_owned());
        }
        if rule.window != WindowMode::Sliding {
            return Err("only sliding windows are supported".to_owned());
        }
        if rule.timespan.seconds > MAX_TIMESPAN {
            return Err(format!("the timespan {} is longer than 30 days", rule.timespan.original));
        }
        let timespan = i64::try_from(rule.timespan.seconds).unwrap_or_default() * 1_000_000;
        let mut of = Vec::new();
        for reference in &rule.rules {
            // A correlation that was loaded before is in the catalogue too, and no leaf.
            let is_simple = |number: &&usize| self.catalogue.rules[**number].detection.is_some();
            let simple = self.catalogue.by_id.get(reference).filter(is_simple).or_else(|| self.by_name.get(reference));
            if let Some(number) = simple {
                if leaves.len() >= MAX_LEAVES {
                    return Err(format!("it correlates more than {MAX_LEAVES} rules"));
                }
                let fields = group_by.iter().map(|name| aliased(rule, name, reference)).collect();
                leaves.push(Leaf { rule: *number, fields });
                of.push(Node::Leaf(leaves.len() - 1));
                continue;
            }
            let named = |other: &CorrelationRule| {
                other.id.as_ref() == Some(reference) || other.name.as_ref() == Some(reference)
            };
            let Some((_, inner)) = all.iter().find(|(_, other)| named(other)) else {
                return Err(format!("there is no rule '{reference}' to correlate"));
            };
            of.push(self.plan(inner, all, group_by, leaves, depth + 1)?);
        }
        match (&rule.correlation_type, &rule.condition) {
            (CorrelationType::EventCount, CorrelationCondition::Threshold { predicates, .. }) => {
                Ok(Node::EventCount { of, threshold: threshold(predicates)?, timespan })
            }
            (CorrelationType::Temporal, condition) if all_of(condition) => {
                Ok(Node::Temporal { of, ordered: false, timespan })
            }
            (CorrelationType::TemporalOrdered, condition) if all_of(condition) => {
                Ok(Node::Temporal { of, ordered: true, timespan })
            }
            (kind, _) => Err(format!("a correlation of type {kind:?} with this condition is not supported")),
        }
    }
}

/// The field that stands for a `group-by` name in a rule's records.
fn aliased(rule: &CorrelationRule, name: &str, reference: &str) -> String {
    let alias = rule.aliases.iter().find(|alias| alias.alias == name);
    alias.and_then(|alias| alias.mapping.get(reference)).cloned().unwrap_or_else(|| name.to_owned())
}

/// The smallest count that fulfils conditions of which all are lower bounds.
fn threshold(predicates: &[(ConditionOperator, u64)]) -> Result<u64, String> {
    let bounds = predicates.iter().map(|(operator, value)| match operator {
        ConditionOperator::Gte => Ok(*value),
        ConditionOperator::Gt => Ok(value.saturating_add(1)),
        other => Err(format!("a count with the operator {other:?} is not supported; use gt or gte")),
    });
    let bounds = bounds.collect::<Result<Vec<_>, _>>()?;
    bounds.into_iter().max().filter(|bound| *bound > 0).ok_or_else(|| "the count must be at least 1".to_owned())
}

/// A temporal correlation without a condition, or with a count that asks for every rule, wants all of them.
fn all_of(condition: &CorrelationCondition) -> bool {
    matches!(condition, CorrelationCondition::Threshold { predicates, .. }
        if predicates.iter().all(|(operator, value)| matches!(operator, ConditionOperator::Gte) && *value <= 1))
}

fn level(level: Option<SigmaLevel>) -> Level {
    match level {
        None | Some(SigmaLevel::Informational) => Level::Informational,
        Some(SigmaLevel::Low) => Level::Low,
        Some(SigmaLevel::Medium) => Level::Medium,
        Some(SigmaLevel::High) => Level::High,
        Some(SigmaLevel::Critical) => Level::Critical,
    }
}

fn text(value: Option<&yaml_serde::Value>, name: &str) -> Result<String, String> {
    match value {
        None => Ok(String::new()),
        Some(yaml_serde::Value::String(text)) => Ok(text.trim().to_owned()),
        Some(_) => Err(format!("`{name}` must be text")),
    }
}

/// 16 hexadecimal digits over the value's JSON, whose keys are sorted on the way.
fn logic_hash(logic: &impl Serialize) -> Result<String, String> {
    let value = serde_json::to_value(logic).map_err(|error| error.to_string())?;
    Ok(crate::correlate::hex(&Sha256::digest(value.to_string().as_bytes())[..8]))
}

#[cfg(test)]
mod tests;
