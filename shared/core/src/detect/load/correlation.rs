//! Correlation rules: what they refer to, and the plan that they make.
//!
//! See <https://sigmahq.io/sigma-specification/specification/sigma-correlation-rules-specification.html>. Beyond it, as
//! pySigma and rsigma have them: `value_sum`, `value_avg`, `value_percentile` and `value_median`, and `window: tumbling`.

use std::collections::BTreeSet;

use rsigma_parser::{
    ConditionExpr, ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType, FieldAlias, Timespan,
    WindowMode,
};
use serde::{Deserialize, Serialize};

use super::header::{Header, header_of};
use super::{Loader, logic_hash};
use crate::correlate::plan::{Ask, Bound, Expression, MILLIONTHS, Measure, Micros, Node};
use crate::detect::{Cases, Leaf, Rule, ValueOf};

/// Correlations over correlations, at most this deep.
const MAX_CHAIN: usize = 8;
/// The most simple rules in a correlation, those of its chain included and each as often as it is named.
const MAX_LEAVES: usize = 256;
/// The longest timespan of a correlation, and the longest lateness, in seconds: 30 days, the life of state.
const MAX_TIMESPAN: u64 = 30 * 24 * 3600;
/// How long after its end an aligned window is still waited for, where the rule does not say: what S3 and `CloudTrail`
/// deliver late comes within the hour.
const LATENESS: Micros = 3600 * 1_000_000;

/// A correlation that waits until all rules are read.
pub(super) struct Waiting {
    pub file: String,
    pub rule: Definition,
    pub cases: Cases,
    /// What is wrong with it by itself.
    pub fault: Option<String>,
}

/// What a correlation says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::detect) struct Definition {
    pub(super) header: Header,
    kind: CorrelationType,
    rules: Vec<String>,
    group_by: Vec<String>,
    timespan: Timespan,
    window: WindowMode,
    condition: CorrelationCondition,
    /// Whether the rule itself has a condition; rsigma puts one in where it has none.
    has_condition: bool,
    aliases: Vec<FieldAlias>,
    generate: bool,
    /// As it is written; empty if it is not there.
    lateness: String,
}

impl Definition {
    pub(super) fn id(&self) -> Option<&str> {
        self.header.id.as_deref()
    }
}

impl Waiting {
    /// One that was read in a file.
    pub(super) fn read(file: &str, line: Option<usize>, rule: CorrelationRule, has_condition: bool) -> Self {
        let (header, cases, fault) = header_of!(&rule, line);
        let lateness = super::text(rule.custom_attributes.get("lateness"), "lateness");
        let fault = lateness.as_ref().err().cloned().or(fault);
        let mut rules = rule.rules;
        if let CorrelationCondition::Extended(condition) = &rule.condition
            && rules.is_empty()
        {
            add_named(condition, &mut rules);
        }
        let rule = Definition {
            header,
            kind: rule.correlation_type,
            rules,
            group_by: rule.group_by,
            timespan: rule.timespan,
            window: rule.window,
            condition: rule.condition,
            has_condition,
            aliases: rule.aliases,
            generate: rule.generate,
            lateness: lateness.unwrap_or_default(),
        };
        Self { file: file.to_owned(), rule, cases, fault }
    }
}

/// What a reference stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A simple rule, by its number in the catalogue.
    Simple(usize),
    /// A correlation, by its place among those that wait.
    Correlation(usize),
}

/// Loads the correlations: they may refer to rules of any file, and to one another.
pub(super) fn load(loader: &mut Loader<'_>) {
    let waiting = std::mem::take(&mut loader.correlations);
    for (place, each) in waiting.iter().enumerate() {
        let header = &each.rule.header;
        if let Some(name) = &header.name {
            loader.name(&each.file, header.line, header.shown(), name, Target::Correlation(place));
        }
    }
    let mut numbers: Vec<Option<usize>> = Vec::new();
    for each in &waiting {
        let number = compile(loader, each, &waiting).and_then(|rule| loader.add(rule));
        numbers.push(match number {
            Ok(number) => Some(number),
            Err(reason) => {
                let header = &each.rule.header;
                loader.problem(&each.file, header.line, Some(header.shown()), reason);
                None
            }
        });
    }
    // A rule that correlations refer to is silent by itself, unless one of them wants it to be reported too.
    let (mut silent, mut wanted) = (BTreeSet::new(), BTreeSet::new());
    for (each, _) in waiting.iter().zip(&numbers).filter(|(_, number)| number.is_some()) {
        for reference in &each.rule.rules {
            let number = match loader.resolve(&each.file, reference, &waiting) {
                Ok(Target::Simple(number)) => Some(number),
                Ok(Target::Correlation(place)) => numbers[place],
                Err(_) => None,
            };
            if each.rule.generate { &mut wanted } else { &mut silent }.extend(number);
        }
    }
    for number in silent.difference(&wanted) {
        loader.catalogue.rules[*number].reports = false;
    }
    for number in numbers.into_iter().flatten() {
        loader.catalogue.count(number);
    }
}

fn compile(loader: &Loader<'_>, each: &Waiting, waiting: &[Waiting]) -> Result<Rule, String> {
    let Waiting { file, rule, .. } = each;
    let mut planner = Planner { loader, waiting, leaves: Vec::new(), file, group_by: &rule.group_by };
    let plan = planner.plan(each, &mut Vec::new())?;
    let leaves = planner.leaves;
    aliases_name_rules(loader, rule, &leaves)?;
    if let Some(fault) = &each.fault {
        return Err(fault.clone());
    }
    let lateness = match rule.lateness.as_str() {
        "" => LATENESS,
        text => micros(&Timespan::parse(text).map_err(|error| format!("`lateness`: {error}"))?)?,
    };
    let parts: Vec<_> = leaves
        .iter()
        .map(|leaf| (&loader.catalogue.rules[leaf.rule].logic, &leaf.fields, format!("{:?}", leaf.value)))
        .collect();
    let logic = logic_hash(&(&rule.header.id, format!("{plan:?}"), parts))?;
    let group_by = Some(rule.group_by.clone());
    Ok(Rule { group_by, plan, lateness, leaves, ..rule.header.clone().rule(file, logic, each.cases.clone()) })
}

/// Each alias must be of rules that are correlated: one of another says nothing, and the group is empty for ever.
fn aliases_name_rules(loader: &Loader<'_>, rule: &Definition, leaves: &[Leaf]) -> Result<(), String> {
    let leaves: BTreeSet<usize> = leaves.iter().map(|leaf| leaf.rule).collect();
    let known: BTreeSet<String> =
        leaves.into_iter().flat_map(|number| loader.names_of(number)).chain(rule.rules.iter().cloned()).collect();
    let named = rule.aliases.iter().flat_map(|alias| alias.mapping.keys().map(move |name| (&alias.alias, name)));
    match named.into_iter().filter(|(_, name)| !known.contains(*name)).min() {
        Some((alias, name)) => Err(format!("its alias '{alias}' is of '{name}', which it does not correlate")),
        None => Ok(()),
    }
}

struct Planner<'l> {
    loader: &'l Loader<'l>,
    waiting: &'l [Waiting],
    leaves: Vec<Leaf>,
    file: &'l str,
    group_by: &'l [String],
}

impl<'l> Planner<'l> {
    /// The plan of a correlation; `chain` are those that refer to it, the outermost first, with what they call it.
    fn plan(&mut self, each: &'l Waiting, chain: &mut Vec<(&'l Definition, &'l str)>) -> Result<Node, String> {
        let rule = &each.rule;
        if chain.iter().any(|(outer, _)| std::ptr::eq(*outer, rule)) {
            return Err("it refers to itself".to_owned());
        }
        if chain.len() > MAX_CHAIN {
            return Err(format!("its chain is longer than {MAX_CHAIN} correlations"));
        }
        if rule.rules.is_empty() {
            return Err("it names no rules to correlate".to_owned());
        }
        let timespan = micros(&rule.timespan)?;
        if timespan == 0 {
            return Err("its timespan is 0".to_owned());
        }
        let value = value_of(rule)?;
        let mut of = Vec::new();
        for reference in &rule.rules {
            let node = match self.loader.resolve(&each.file, reference, self.waiting)? {
                Target::Simple(number) => self.leaf(number, rule, reference, value.as_ref(), chain)?,
                Target::Correlation(place) => {
                    let inner = &self.waiting[place];
                    if value.is_some() {
                        let kind = rule.kind.as_str();
                        return Err(format!(
                            "a {kind} reads values of records, and '{reference}' is a correlation, which has none"
                        ));
                    }
                    chain.push((rule, reference));
                    let node = self.plan(inner, chain).map_err(|reason| format!("'{reference}': {reason}"))?;
                    chain.pop();
                    if matches!(node, Node::Aligned { .. }) && node.timespan() > timespan {
                        return Err(format!("it can never match: '{reference}' asks for more than its timespan"));
                    }
                    node
                }
            };
            of.push(node);
        }
        node(each, of, timespan)
    }

    fn leaf(
        &mut self,
        number: usize,
        rule: &Definition,
        reference: &str,
        value: Option<&ValueOf>,
        chain: &[(&Definition, &str)],
    ) -> Result<Node, String> {
        if self.leaves.len() >= MAX_LEAVES {
            return Err(format!("it correlates more than {MAX_LEAVES} rules"));
        }
        let names = self.loader.names_of(number);
        let aliased = |name: &String| -> String {
            // The nearest correlation that has an alias for it knows best.
            let near = std::iter::once((rule, reference)).chain(chain.iter().rev().copied());
            let mut fields = near.filter_map(|(rule, reference)| {
                let alias = rule.aliases.iter().find(|alias| alias.alias == *name)?;
                names.iter().map(String::as_str).chain([reference]).find_map(|name| alias.mapping.get(name))
            });
            fields.next().unwrap_or(name).clone()
        };
        let (pipelines, log_source) = (&self.loader.pipelines, &self.loader.log_sources[number]);
        let field = |name: &String| pipelines.field(self.file, log_source, &aliased(name));
        let fields = self.group_by.iter().map(field).collect::<Result<_, _>>()?;
        let value = match value {
            None => None,
            Some(ValueOf::Distinct(names)) => {
                Some(ValueOf::Distinct(names.iter().map(field).collect::<Result<_, _>>()?))
            }
            Some(ValueOf::Number(name)) => Some(ValueOf::Number(field(name)?)),
        };
        self.leaves.push(Leaf { rule: number, fields, value });
        Ok(Node::Leaf(self.leaves.len() - 1))
    }
}

/// What a correlation reads of its records.
fn value_of(rule: &Definition) -> Result<Option<ValueOf>, String> {
    use CorrelationType::{EventCount, Temporal, TemporalOrdered, ValueCount};
    let kind = rule.kind;
    let field = match &rule.condition {
        CorrelationCondition::Threshold { field, .. } => field.as_deref().unwrap_or_default(),
        CorrelationCondition::Extended(_) => &[],
    };
    match (kind, field) {
        (EventCount | Temporal | TemporalOrdered, _) => Ok(None),
        (_, []) => Err(format!("a {} must name its `field` in the condition", kind.as_str())),
        (ValueCount, names) => Ok(Some(ValueOf::Distinct(names.to_vec()))),
        (_, [name]) => Ok(Some(ValueOf::Number(name.clone()))),
        (_, _) => Err(format!("a {} reads one `field`", kind.as_str())),
    }
}

fn node(each: &Waiting, of: Vec<Node>, timespan: Micros) -> Result<Node, String> {
    let rule = &each.rule;
    let tumbling = match rule.window {
        WindowMode::Sliding => false,
        WindowMode::Tumbling => true,
        WindowMode::Session => return Err("windows of the kind 'session' are not supported".to_owned()),
    };
    let kind = rule.kind;
    let (predicates, percentile) = match &rule.condition {
        CorrelationCondition::Extended(expression) => return temporal(each, of, timespan, tumbling, expression),
        CorrelationCondition::Threshold { predicates, percentile, .. } => (predicates, *percentile),
    };
    // `-1` comes as a number beyond any that can be meant.
    if predicates.iter().any(|(_, value)| i64::try_from(*value).is_err()) {
        return Err("the numbers of its condition must be 0 to 9223372036854775807".to_owned());
    }
    let all = |of: Vec<Node>, ordered| Node::Temporal { at_least: of.len(), of, ordered, timespan };
    let at_least = if tumbling { None } else { lower_bound(predicates) };
    let measure = match (kind, at_least) {
        (CorrelationType::TemporalOrdered, _) => {
            let asks_for_all = lower_bound(predicates) == u64::try_from(of.len()).ok();
            if tumbling || (rule.has_condition && !asks_for_all) {
                return Err("a temporal_ordered correlation asks for all of its rules, in a sliding window".to_owned());
            }
            return Ok(all(of, true));
        }
        (CorrelationType::Temporal, _) if !rule.has_condition && !tumbling => return Ok(all(of, false)),
        (CorrelationType::Temporal, _) if !rule.has_condition => {
            let bounds = vec![Bound::AtLeast(of.len() as u64)];
            return Ok(Node::Aligned { of, ask: Ask::Number { measure: Measure::Nodes, bounds }, timespan });
        }
        (
            CorrelationType::Temporal
            | CorrelationType::EventCount
            | CorrelationType::ValueCount
            | CorrelationType::ValueSum,
            Some(0),
        ) => return Err("the count or sum must be at least 1: 0 always holds".to_owned()),
        (CorrelationType::Temporal, Some(threshold)) if threshold <= of.len() as u64 => {
            let at_least = usize::try_from(threshold).unwrap_or(usize::MAX);
            return Ok(Node::Temporal { of, at_least, ordered: false, timespan });
        }
        (CorrelationType::Temporal, Some(_)) => {
            return Err(format!("it can never match: it names no more than {} rules", of.len()));
        }
        (CorrelationType::EventCount, Some(threshold)) => return Ok(Node::EventCount { of, threshold, timespan }),
        (CorrelationType::ValueCount, Some(threshold)) => return Ok(Node::ValueCount { of, threshold, timespan }),
        (CorrelationType::ValueSum, Some(_)) => {
            let bounds = predicates.iter().map(|(operator, value)| {
                // More than 5 is at least the millionth after it.
                i128::from(*value) * MILLIONTHS + i128::from(*operator == ConditionOperator::Gt)
            });
            return Ok(Node::ValueSum { of, threshold: bounds.max().unwrap_or(1), timespan });
        }
        (CorrelationType::Temporal, None) => Measure::Nodes,
        (CorrelationType::EventCount, None) => Measure::Events,
        (CorrelationType::ValueCount, None) => Measure::Distinct,
        (CorrelationType::ValueSum, None) => Measure::Sum,
        (CorrelationType::ValueAvg, _) => Measure::Average,
        (CorrelationType::ValueMedian, _) => Measure::Percentile(50),
        (CorrelationType::ValuePercentile, _) => {
            let percent = u8::try_from(percentile.unwrap_or(50)).ok().filter(|percent| *percent <= 100);
            Measure::Percentile(percent.ok_or("the `percentile` must be 0 to 100")?)
        }
    };
    let bounds = predicates.iter().map(|(operator, value)| bound(*operator, *value)).collect();
    Ok(Node::Aligned { of, ask: Ask::Number { measure, bounds }, timespan })
}

/// A temporal correlation whose condition is an expression over its rules.
fn temporal(
    each: &Waiting,
    of: Vec<Node>,
    timespan: Micros,
    tumbling: bool,
    condition: &ConditionExpr,
) -> Result<Node, String> {
    let rules = &each.rule.rules;
    let expression = expression(condition, rules)?;
    match each.rule.kind {
        CorrelationType::Temporal if !tumbling && is_monotone(&expression) => Ok(nodes_of(&expression, &of, timespan)),
        CorrelationType::Temporal => Ok(Node::Aligned { of, ask: Ask::Holds(expression), timespan }),
        CorrelationType::TemporalOrdered => {
            let Expression::All(parts) = &expression else { return Err(not_all()) };
            let all = (0..of.len()).all(|place| parts.contains(&Expression::Happened(place)));
            if !all || tumbling || !parts.iter().all(|part| matches!(part, Expression::Happened(_))) {
                return Err(not_all());
            }
            Ok(Node::Temporal { at_least: of.len(), of, ordered: true, timespan })
        }
        kind => Err(format!("a {} takes a number for its condition, not an expression", kind.as_str())),
    }
}

fn not_all() -> String {
    "a temporal_ordered correlation asks for all of its rules: join them all with `and`".to_owned()
}

/// Adds the rules that an expression names, in its order: a correlation that has one may leave its `rules` out.
fn add_named(condition: &ConditionExpr, rules: &mut Vec<String>) {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => parts.iter().for_each(|part| add_named(part, rules)),
        ConditionExpr::Not(part) => add_named(part, rules),
        ConditionExpr::Identifier(name) if !rules.contains(name) => rules.push(name.clone()),
        ConditionExpr::Identifier(_) | ConditionExpr::Selector { .. } => {}
    }
}

fn expression(condition: &ConditionExpr, rules: &[String]) -> Result<Expression, String> {
    let all = |parts: &[ConditionExpr]| parts.iter().map(|part| expression(part, rules)).collect::<Result<Vec<_>, _>>();
    Ok(match condition {
        ConditionExpr::And(parts) => Expression::All(all(parts)?),
        ConditionExpr::Or(parts) => Expression::Any(all(parts)?),
        ConditionExpr::Not(part) => Expression::Not(Box::new(expression(part, rules)?)),
        ConditionExpr::Identifier(name) => {
            let place = rules.iter().position(|rule| rule == name);
            Expression::Happened(place.ok_or_else(|| format!("its condition names '{name}', and its `rules` do not"))?)
        }
        ConditionExpr::Selector { .. } => return Err("`1 of` and `all of` have no meaning in its condition".to_owned()),
    })
}

fn is_monotone(expression: &Expression) -> bool {
    match expression {
        Expression::Happened(_) => true,
        Expression::All(parts) | Expression::Any(parts) => parts.iter().all(is_monotone),
        Expression::Not(_) => false,
    }
}

fn nodes_of(expression: &Expression, of: &[Node], timespan: Micros) -> Node {
    let nodes = |parts: &[Expression]| parts.iter().map(|part| nodes_of(part, of, timespan)).collect::<Vec<_>>();
    match expression {
        Expression::Happened(place) => of[*place].clone(),
        Expression::All(parts) => Node::Temporal { of: nodes(parts), at_least: parts.len(), ordered: false, timespan },
        Expression::Any(parts) => Node::Temporal { of: nodes(parts), at_least: 1, ordered: false, timespan },
        // Not asked of expressions that have one.
        Expression::Not(part) => nodes_of(part, of, timespan),
    }
}

/// The smallest number that fulfils conditions of which all are lower bounds; `None` if one is not.
fn lower_bound(predicates: &[(ConditionOperator, u64)]) -> Option<u64> {
    let bounds: Option<Vec<u64>> = predicates
        .iter()
        .map(|(operator, value)| match operator {
            ConditionOperator::Gte => Some(*value),
            ConditionOperator::Gt => value.checked_add(1),
            _ => None,
        })
        .collect();
    bounds?.into_iter().max()
}

fn bound(operator: ConditionOperator, value: u64) -> Bound {
    match operator {
        ConditionOperator::Lt => Bound::Less(value),
        ConditionOperator::Lte => Bound::AtMost(value),
        ConditionOperator::Gt => Bound::More(value),
        ConditionOperator::Gte => Bound::AtLeast(value),
        ConditionOperator::Eq => Bound::Equal(value),
        ConditionOperator::Neq => Bound::Other(value),
    }
}

fn micros(timespan: &Timespan) -> Result<Micros, String> {
    if timespan.seconds > MAX_TIMESPAN {
        return Err(format!("the timespan {} is longer than 30 days", timespan.original));
    }
    Ok(i64::try_from(timespan.seconds).unwrap_or_default() * 1_000_000)
}
