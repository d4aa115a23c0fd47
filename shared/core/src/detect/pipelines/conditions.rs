//! When a transformation is done: conditions on the rule, and on the items and field names in it.

use std::collections::BTreeSet;

use regex::Regex;
use rsigma_eval::pipeline::conditions::FieldMatcher;
use rsigma_eval::pipeline::{DetectionItemCondition, FieldNameCondition};
use rsigma_parser::{ConditionExpr, SigmaRule, SigmaValue, parse_condition};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use yaml_serde::Value;

use super::apply::State;
use super::form::read_typed;
use crate::detect::fields::items;

/// What every transformation may have.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct General {
    id: Option<String>,
    rule_conditions: Value,
    rule_cond_expr: Option<String>,
    rule_cond_op: Option<Op>,
    rule_cond_not: bool,
    detection_item_conditions: Value,
    detection_item_cond_expr: Option<String>,
    detection_item_cond_op: Option<Op>,
    detection_item_cond_not: bool,
    field_name_conditions: Value,
    field_name_cond_expr: Option<String>,
    field_name_cond_op: Option<Op>,
    field_name_cond_not: bool,
}

/// Whether a key is one of [`General`]'s, or would be.
pub(super) fn is_general(key: &str) -> bool {
    key == "id" || ["rule_cond", "detection_item_cond", "field_name_cond"].iter().any(|start| key.starts_with(start))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    And,
    Or,
}

/// Conditions on a rule.
#[derive(Debug, Clone, Default)]
pub(super) struct ForRule {
    conditions: Vec<(String, RuleCondition)>,
    link: Link,
    is_negated: bool,
}

/// What several conditions come to.
#[derive(Debug, Clone, Default)]
enum Link {
    #[default]
    All,
    Any,
    Expression(ConditionExpr),
}

/// Conditions on items and on field names, as rsigma asks them: all of them.
#[derive(Debug, Clone, Default)]
pub(super) struct ForItems {
    pub(super) items: Vec<DetectionItemCondition>,
    pub(super) fields: Vec<FieldNameCondition>,
    /// Whether the fields must not be so.
    pub(super) not_fields: bool,
}

impl ForItems {
    pub(super) fn has_items(&self) -> bool {
        !self.items.is_empty()
    }

    pub(super) fn has_fields(&self) -> bool {
        !self.fields.is_empty()
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum RuleCondition {
    Logsource {
        category: Option<String>,
        product: Option<String>,
        service: Option<String>,
    },
    ContainsDetectionItem {
        field: String,
        value: Value,
    },
    ContainsField {
        field: String,
    },
    ProcessingItemApplied {
        processing_item_id: String,
    },
    ProcessingState {
        key: String,
        val: Value,
        #[serde(default)]
        op: Equal,
    },
    IsSigmaRule {},
    IsSigmaCorrelationRule {},
    RuleAttribute {
        attribute: Attribute,
        value: String,
        #[serde(default)]
        op: Equal,
    },
    Tag {
        tag: String,
    },
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Equal {
    #[default]
    Eq,
    Ne,
}

impl Equal {
    fn holds(self, is_equal: bool) -> bool {
        is_equal == matches!(self, Self::Eq)
    }
}

/// The attributes that are texts.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Attribute {
    Title,
    Id,
    Name,
    Author,
    Description,
    License,
    Taxonomy,
    Level,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ItemCondition {
    MatchString {
        cond: Count,
        pattern: String,
        #[serde(default)]
        negate: bool,
    },
    IsNull {
        cond: Count,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Count {
    Any,
    All,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum FieldCondition {
    IncludeFields {
        fields: Vec<String>,
        #[serde(default)]
        mode: Mode,
    },
    ExcludeFields {
        fields: Vec<String>,
        #[serde(default)]
        mode: Mode,
    },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Plain,
    Re,
}

impl General {
    /// The transformation's id, and when it is done.
    pub(super) fn conditions(self) -> Result<(Option<String>, ForRule, ForItems), String> {
        let rules = for_rule(self.rule_conditions, self.rule_cond_expr, self.rule_cond_op, self.rule_cond_not)?;
        for (key, expression) in [
            ("detection_item_cond_expr", &self.detection_item_cond_expr),
            ("field_name_cond_expr", &self.field_name_cond_expr),
        ] {
            if expression.is_some() {
                return Err(format!("`{key}` is not understood"));
            }
        }
        let items = for_items(
            listed(self.detection_item_conditions)?,
            self.detection_item_cond_op,
            self.detection_item_cond_not,
        )?;
        let (fields, not_fields) =
            for_fields(listed(self.field_name_conditions)?, self.field_name_cond_op, self.field_name_cond_not)?;
        Ok((self.id, rules, ForItems { items, fields, not_fields }))
    }
}

/// Conditions, which stand in a list or each under a name.
fn named<T: DeserializeOwned>(conditions: Value) -> Result<Vec<(String, T)>, String> {
    match conditions {
        Value::Null => Ok(Vec::new()),
        Value::Sequence(list) => list.into_iter().map(|one| Ok((String::new(), read_typed(one)?))).collect(),
        Value::Mapping(map) => {
            let one = |(name, one): (Value, Value)| {
                let name = name.as_str().ok_or("the name of a condition is no text")?.to_owned();
                Ok((name, read_typed(one)?))
            };
            map.into_iter().map(one).collect()
        }
        _ => Err("conditions must be a list, or each have a name".to_owned()),
    }
}

fn listed<T: DeserializeOwned>(conditions: Value) -> Result<Vec<T>, String> {
    Ok(named(conditions)?.into_iter().map(|(_, condition)| condition).collect())
}

fn for_rule(
    conditions: Value,
    expression: Option<String>,
    op: Option<Op>,
    is_negated: bool,
) -> Result<ForRule, String> {
    let is_named = matches!(conditions, Value::Mapping(_));
    let conditions: Vec<(String, RuleCondition)> = named(conditions)?;
    let link = match (expression, op) {
        (None, None | Some(Op::And)) => Link::All,
        (None, Some(Op::Or)) => Link::Any,
        (Some(_), Some(_)) => return Err("`rule_cond_expr` and `rule_cond_op` exclude one another".to_owned()),
        (Some(_), None) if !is_named => {
            return Err("`rule_cond_expr` wants `rule_conditions` that have names".to_owned());
        }
        (Some(expression), None) => {
            let parsed = parse_condition(&expression).map_err(|error| error.to_string())?;
            let mut asked = BTreeSet::new();
            names_in(&parsed, &mut asked)?;
            let known: BTreeSet<&str> = conditions.iter().map(|(name, _)| name.as_str()).collect();
            if let Some(name) = asked.symmetric_difference(&known).next() {
                return Err(format!("`rule_cond_expr` and `rule_conditions` do not both have '{name}'"));
            }
            Link::Expression(parsed)
        }
    };
    Ok(ForRule { conditions, link, is_negated })
}

fn names_in<'e>(expression: &'e ConditionExpr, names: &mut BTreeSet<&'e str>) -> Result<(), String> {
    match expression {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => parts.iter().try_for_each(|part| names_in(part, names)),
        ConditionExpr::Not(part) => names_in(part, names),
        ConditionExpr::Identifier(name) => {
            names.insert(name);
            Ok(())
        }
        ConditionExpr::Selector { .. } => Err("`rule_cond_expr` names conditions one by one".to_owned()),
    }
}

/// The conditions on items that rsigma can ask: of any value whether it is so, or of none.
fn for_items(
    conditions: Vec<ItemCondition>,
    op: Option<Op>,
    is_negated: bool,
) -> Result<Vec<DetectionItemCondition>, String> {
    let is_single = conditions.len() < 2;
    if !is_single && (op == Some(Op::Or) || is_negated) {
        return Err("`detection_item_cond_op: or` and `detection_item_cond_not` want a single condition".to_owned());
    }
    // All of them not is none of them; that one of them is not, or that all are, rsigma does not ask.
    let negated = |cond, is_not| match (cond, is_not) {
        (Count::Any, false) => Ok(is_negated),
        (Count::All, true) => Ok(!is_negated),
        (Count::Any, true) | (Count::All, false) => {
            Err("`cond: all` wants `negate: true`, and `cond: any` does not".to_owned())
        }
    };
    let one = |condition| {
        Ok(match condition {
            ItemCondition::MatchString { cond, pattern, negate } => {
                DetectionItemCondition::MatchString { regex: anchored(&pattern)?, negate: negated(cond, negate)? }
            }
            ItemCondition::IsNull { cond } => DetectionItemCondition::IsNull { negate: negated(cond, false)? },
        })
    };
    conditions.into_iter().map(one).collect()
}

/// The conditions on field names as all of them, or as not all of them.
fn for_fields(
    conditions: Vec<FieldCondition>,
    op: Option<Op>,
    is_negated: bool,
) -> Result<(Vec<FieldNameCondition>, bool), String> {
    let asked = |condition: FieldCondition, negated: bool| -> Result<FieldNameCondition, String> {
        let (fields, mode, is_included) = match condition {
            FieldCondition::IncludeFields { fields, mode } => (fields, mode, true),
            FieldCondition::ExcludeFields { fields, mode } => (fields, mode, false),
        };
        let matcher = match mode {
            Mode::Plain => FieldMatcher::Plain(fields),
            Mode::Re => FieldMatcher::Regex(fields.iter().map(|field| anchored(field)).collect::<Result<_, _>>()?),
        };
        Ok(if is_included == negated {
            FieldNameCondition::ExcludeFields { matcher }
        } else {
            FieldNameCondition::IncludeFields { matcher }
        })
    };
    // One of several is so where not all of them are not.
    let is_any = op == Some(Op::Or) && !conditions.is_empty();
    let conditions = conditions.into_iter().map(|condition| asked(condition, is_any)).collect::<Result<_, _>>()?;
    Ok((conditions, is_any != is_negated))
}

/// Python's `match` wants it at the beginning.
fn anchored(pattern: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{pattern})")).map_err(|error| format!("'{pattern}': {error}"))
}

impl ForRule {
    /// Whether a rule is one of those.
    pub(super) fn hold(&self, rule: &SigmaRule, state: &State) -> bool {
        let holds = |condition: &RuleCondition| condition.holds(rule, state);
        let all = match &self.link {
            _ if self.conditions.is_empty() => return true,
            Link::All => self.conditions.iter().all(|(_, condition)| holds(condition)),
            Link::Any => self.conditions.iter().any(|(_, condition)| holds(condition)),
            Link::Expression(expression) => is_true(expression, &|name| {
                self.conditions.iter().any(|(own, condition)| own == name && holds(condition))
            }),
        };
        all != self.is_negated
    }
}

fn is_true(expression: &ConditionExpr, holds: &dyn Fn(&str) -> bool) -> bool {
    match expression {
        ConditionExpr::And(parts) => parts.iter().all(|part| is_true(part, holds)),
        ConditionExpr::Or(parts) => parts.iter().any(|part| is_true(part, holds)),
        ConditionExpr::Not(part) => !is_true(part, holds),
        ConditionExpr::Identifier(name) => holds(name),
        ConditionExpr::Selector { .. } => false,
    }
}

impl RuleCondition {
    fn holds(&self, rule: &SigmaRule, state: &State) -> bool {
        let mut items = rule.detection.named.values().flat_map(items);
        match self {
            Self::Logsource { category, product, service } => {
                let is_it = |wanted: &Option<String>, own: &Option<String>| wanted.is_none() || wanted == own;
                let own = &rule.logsource;
                is_it(category, &own.category) && is_it(product, &own.product) && is_it(service, &own.service)
            }
            Self::ContainsDetectionItem { field, value } => {
                let value = SigmaValue::from_yaml(value);
                items.any(|item| {
                    item.field.name.as_ref() == Some(field) && item.values.iter().any(|own| is_equal(own, &value))
                })
            }
            Self::ContainsField { field } => items.any(|item| item.field.name.as_ref() == Some(field)),
            Self::ProcessingItemApplied { processing_item_id } => state.applied.contains(processing_item_id),
            Self::ProcessingState { key, val, op } => state.values.get(key).is_some_and(|value| op.holds(value == val)),
            Self::IsSigmaRule {} => true,
            Self::IsSigmaCorrelationRule {} => false,
            Self::RuleAttribute { attribute, value, op } => {
                attribute.of(rule).is_some_and(|own| op.holds(own == value))
            }
            Self::Tag { tag } => rule.tags.contains(tag),
        }
    }
}

impl Attribute {
    fn of(self, rule: &SigmaRule) -> Option<&str> {
        match self {
            Self::Title => Some(&rule.title),
            Self::Id => rule.id.as_deref(),
            Self::Name => rule.name.as_deref(),
            Self::Author => rule.author.as_deref(),
            Self::Description => rule.description.as_deref(),
            Self::License => rule.license.as_deref(),
            Self::Taxonomy => rule.taxonomy.as_deref(),
            Self::Level => rule.level.map(|level| level.as_str()),
        }
    }
}

fn is_equal(one: &SigmaValue, other: &SigmaValue) -> bool {
    match (one, other) {
        (SigmaValue::String(one), SigmaValue::String(other)) => one.parts == other.parts,
        (one, other) => one == other,
    }
}
