//! What processing pipelines do to a rule. rsigma changes the items; what it does otherwise than pySigma is done here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rsigma_eval::PipelineState;
use rsigma_eval::pipeline::Transformation;
use rsigma_parser::{
    ConditionExpr, Detection, DetectionItem, Detections, LogSource, Modifier, SigmaRule, SigmaString, SigmaValue,
};
use yaml_serde::Value;

use super::conditions::{ForItems, ForRule};
use super::{SELECTION, empty};
use crate::detect::placeholders::{self, Placeholders};
use crate::detect::{dialect, fields, filters};

/// A pipeline.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    pub(super) priority: i64,
    /// What its placeholders stand for.
    pub(super) vars: Placeholders,
    pub(super) items: Vec<Item>,
}

/// A transformation, and when it is done.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) id: Option<String>,
    pub(super) rules: ForRule,
    pub(super) items: ForItems,
    pub(super) change: Change,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    /// Fields get other names.
    Names(Transformation),
    /// Items get other values, or are dropped.
    Items(Transformation),
    Condition {
        selection: Detection,
        is_negated: bool,
    },
    LogSource(LogSource),
    Attribute(String, Value),
    State(String, Value),
    Failure(String),
    /// Placeholders get the values of the pipeline's `vars`...
    Placeholders,
    /// ...or stand for anything.
    AnyPlaceholders,
    Nest(Vec<Item>),
    /// Of the fields that are shown nothing depends here.
    Shown,
}

/// What pipelines know of the rule on their way.
#[derive(Default)]
pub(super) struct State {
    /// The ids of the transformations that were done.
    pub(super) applied: BTreeSet<String>,
    pub(super) values: BTreeMap<String, Value>,
    vars: Placeholders,
}

/// Applies pipelines to a rule, as one: they share what they know, as pySigma's do.
pub(super) fn apply(pipelines: &[&Pipeline], rule: &mut SigmaRule) -> Result<(), String> {
    if pipelines.is_empty() {
        return Ok(());
    }
    // Where pySigma begins with a pipeline, modifiers have been worked into the values.
    dialect::write_out(&mut rule.detection);
    let vars = pipelines.iter().flat_map(|pipeline| pipeline.vars.clone()).collect();
    let mut state = State { vars, ..State::default() };
    pipelines.iter().try_for_each(|pipeline| apply_items(&pipeline.items, rule, &mut state))
}

fn apply_items(items: &[Item], rule: &mut SigmaRule, state: &mut State) -> Result<(), String> {
    for item in items {
        if item.rules.hold(rule, state) {
            item.change(rule, state)?;
            state.applied.extend(item.id.clone());
        }
    }
    Ok(())
}

impl Item {
    fn change(&self, rule: &mut SigmaRule, state: &mut State) -> Result<(), String> {
        match &self.change {
            Change::Names(transformation) => {
                let name = |name: &str| self.renamed(transformation, name);
                rule.detection.named.values_mut().try_for_each(|detection| rename_within(detection, &name))?;
                self.transform(transformation, rule)
            }
            Change::Items(transformation) => self.transform(transformation, rule),
            Change::Condition { selection, is_negated } => {
                add_condition(rule, selection, *is_negated);
                Ok(())
            }
            Change::LogSource(log_source) => {
                rule.logsource = log_source.clone();
                Ok(())
            }
            Change::Attribute(name, value) => {
                rule.custom_attributes.insert(name.clone(), value.clone());
                Ok(())
            }
            Change::State(key, value) => {
                state.values.insert(key.clone(), value.clone());
                Ok(())
            }
            Change::Failure(message) => Err(format!("a processing pipeline refuses it: {message}")),
            Change::Placeholders => placeholders::fill(&mut rule.detection, &state.vars),
            Change::AnyPlaceholders => placeholders::fill_with_anything(&mut rule.detection),
            Change::Nest(items) => apply_items(items, rule, state),
            Change::Shown => Ok(()),
        }
    }

    fn transform(&self, transformation: &Transformation, rule: &mut SigmaRule) -> Result<(), String> {
        let ForItems { items, fields, not_fields } = &self.items;
        let done = transformation.apply(rule, &mut PipelineState::default(), items, fields, *not_fields);
        done.map(|_| ()).map_err(|error| error.to_string())
    }

    /// What a field is called afterwards.
    fn renamed(&self, transformation: &Transformation, name: &str) -> Result<Vec<String>, String> {
        let mut rule = empty(name)?;
        self.transform(transformation, &mut rule)?;
        Ok(rule.detection.named.get(SELECTION).map(fields::of).unwrap_or_default().into_iter().collect())
    }
}

/// Gives the fields that values name, and lists whose members are looked at, their other names: rsigma leaves them.
fn rename_within(
    detection: &mut Detection,
    renamed: &dyn Fn(&str) -> Result<Vec<String>, String>,
) -> Result<(), String> {
    match detection {
        Detection::AllOf(items) => {
            for item in items.iter_mut().filter(|item| item.field.has_modifier(Modifier::FieldRef)) {
                rename_values(item, renamed)?;
            }
            Ok(())
        }
        Detection::AnyOf(parts) | Detection::And(parts) => {
            parts.iter_mut().try_for_each(|part| rename_within(part, renamed))
        }
        Detection::ArrayMatch { field, body, .. } => {
            match renamed(field)?.as_slice() {
                [name] => field.clone_from(name),
                _ => return Err(format!("a list has one name, and a processing pipeline has several for '{field}'")),
            }
            rename_within(body, renamed)
        }
        Detection::Conditional { named, .. } => named.values_mut().try_for_each(|part| rename_within(part, renamed)),
        Detection::Keywords(_) => Ok(()),
    }
}

fn rename_values(
    item: &mut DetectionItem,
    renamed: &dyn Fn(&str) -> Result<Vec<String>, String>,
) -> Result<(), String> {
    let mut values = Vec::new();
    for value in std::mem::take(&mut item.values) {
        match &value {
            SigmaValue::String(text) => {
                let names = renamed(&text.as_plain().unwrap_or_else(|| text.original.clone()))?;
                values.extend(names.iter().map(|name| SigmaValue::String(SigmaString::from_raw(name))));
            }
            _ => values.push(value),
        }
    }
    item.values = values;
    Ok(())
}

/// Joins a selection to each condition with `and`.
fn add_condition(rule: &mut SigmaRule, selection: &Detection, is_negated: bool) {
    const NAME: &str = "added";
    let added = ConditionExpr::Identifier(NAME.to_owned());
    let added = Detections {
        named: HashMap::from([(NAME.to_owned(), selection.clone())]),
        conditions: vec![if is_negated { ConditionExpr::Not(Box::new(added)) } else { added }],
        condition_strings: Vec::new(),
        timeframe: None,
    };
    let prefix = format!("__pipeline_{}_", rule.detection.named.len());
    filters::join(&mut rule.detection, &added, &prefix);
}
