//! Rules that ask for nothing but whole values, bounds and the presence of keys: the keys decide them, as rsigma would.

use std::collections::HashMap;

use rsigma_eval::matcher::GroupMode;
use rsigma_eval::{CompiledDetection, CompiledDetectionItem, CompiledMatcher, CompiledRule};
use rsigma_parser::ConditionExpr;

use super::{as_float, folded};
use crate::formats::Key;
use crate::record::LogSource;

/// What a rule asks of keys: all that it asks.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Exact {
    Key(usize, Asked),
    Not(Box<Exact>),
    All(Vec<Exact>),
    Any(Vec<Exact>),
}

/// What is asked of one key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    /// One of these texts, whatever its case; they are in lower case and ASCII.
    Text(Vec<String>),
    /// A number that is...
    Number(Bound),
    /// Whether there is a value.
    Presence(bool),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    Equal(f64),
    Above(f64),
    AtLeast(f64),
    Below(f64),
    AtMost(f64),
}

impl Exact {
    /// What a rule asks for, if it is nothing else.
    pub(super) fn of(rule: &CompiledRule, source: &LogSource) -> Option<Self> {
        let [condition] = rule.conditions.as_slice() else { return None };
        Self::of_condition(condition, &rule.detections, source)
    }

    fn of_condition(
        condition: &ConditionExpr,
        detections: &HashMap<String, CompiledDetection>,
        source: &LogSource,
    ) -> Option<Self> {
        let each = |parts: &[ConditionExpr]| {
            parts.iter().map(|part| Self::of_condition(part, detections, source)).collect::<Option<Vec<_>>>()
        };
        match condition {
            ConditionExpr::And(parts) => each(parts).map(Self::all),
            ConditionExpr::Or(parts) => each(parts).map(Self::Any),
            ConditionExpr::Not(part) => {
                Self::of_condition(part, detections, source).map(|part| Self::Not(Box::new(part)))
            }
            ConditionExpr::Identifier(name) => Self::of_detection(detections.get(name)?, source),
            ConditionExpr::Selector { .. } => None,
        }
    }

    fn of_detection(detection: &CompiledDetection, source: &LogSource) -> Option<Self> {
        let each = |parts: &[CompiledDetection]| {
            parts.iter().map(|part| Self::of_detection(part, source)).collect::<Option<Vec<_>>>()
        };
        match detection {
            CompiledDetection::AllOf(items) => {
                items.iter().map(|item| Self::of_item(item, source)).collect::<Option<_>>().map(Self::all)
            }
            CompiledDetection::AnyOf(parts) => each(parts).map(Self::Any),
            CompiledDetection::And(parts) => each(parts).map(Self::all),
            CompiledDetection::Keywords(_)
            | CompiledDetection::ArrayMatch { .. }
            | CompiledDetection::Conditional { .. } => None,
        }
    }

    fn of_item(item: &CompiledDetectionItem, source: &LogSource) -> Option<Self> {
        let CompiledDetectionItem { field: Some(field), matcher, exists, .. } = item else { return None };
        let key = source.keys.iter().position(|key| key == field)?;
        match exists {
            Some(there) => Some(Self::Key(key, Asked::Presence(*there))),
            None => Self::of_matcher(key, matcher),
        }
    }

    fn of_matcher(key: usize, matcher: &CompiledMatcher) -> Option<Self> {
        let number = |bound| Some(Self::Key(key, Asked::Number(bound)));
        match matcher {
            CompiledMatcher::Exact { .. } => Some(Self::Key(key, Asked::Text(vec![whole_text(matcher)?]))),
            CompiledMatcher::NumericEq(value) => number(Bound::Equal(*value)),
            CompiledMatcher::NumericGt(bound) => number(Bound::Above(*bound)),
            CompiledMatcher::NumericGte(bound) => number(Bound::AtLeast(*bound)),
            CompiledMatcher::NumericLt(bound) => number(Bound::Below(*bound)),
            CompiledMatcher::NumericLte(bound) => number(Bound::AtMost(*bound)),
            CompiledMatcher::AnyOf(matchers)
            | CompiledMatcher::CaseInsensitiveGroup { children: matchers, mode: GroupMode::Any } => {
                match matchers.iter().map(whole_text).collect() {
                    Some(values) => Some(Self::Key(key, Asked::Text(values))),
                    None => {
                        matchers.iter().map(|part| Self::of_matcher(key, part)).collect::<Option<_>>().map(Self::Any)
                    }
                }
            }
            _ => None,
        }
    }

    fn all(mut parts: Vec<Self>) -> Self {
        match (parts.len(), parts.pop()) {
            (1, Some(part)) => part,
            (_, last) => {
                parts.extend(last);
                Self::All(parts)
            }
        }
    }

    /// The key and its values, if that is all.
    pub(super) fn values_alone(&self) -> Option<(usize, &[String])> {
        match self {
            Self::Key(key, Asked::Text(values)) => Some((*key, values)),
            _ => None,
        }
    }

    /// Whether these keys are what is asked for; `None`: that is for rsigma to say. `room` is for a value in lower case.
    pub(super) fn holds(&self, keys: &[Key<'_>], room: &mut String) -> Option<bool> {
        match self {
            Self::Key(key, asked) => asked.holds(*keys.get(*key)?, room),
            Self::Not(part) => part.holds(keys, room).map(|holds| !holds),
            Self::All(parts) => decided_by(false, parts, keys, room),
            Self::Any(parts) => decided_by(true, parts, keys, room),
        }
    }
}

/// One part that is so decides the whole; where none is, the whole is not so.
fn decided_by(so: bool, parts: &[Exact], keys: &[Key<'_>], room: &mut String) -> Option<bool> {
    let mut sure = true;
    for part in parts {
        match part.holds(keys, room) {
            Some(holds) if holds == so => return Some(so),
            Some(_) => {}
            None => sure = false,
        }
    }
    sure.then_some(!so)
}

impl Asked {
    fn holds(&self, key: Key<'_>, room: &mut String) -> Option<bool> {
        match (self, key) {
            (_, Key::Any) => None,
            (Self::Presence(there), key) => Some((key != Key::Absent) == *there),
            (_, Key::Absent) => Some(false),
            (Self::Text(values), Key::Text(text)) if text.is_ascii() => {
                let lower = folded(text, room);
                Some(values.iter().any(|value| value == lower))
            }
            (Self::Number(bound), Key::Number(number)) => Some(bound.holds(as_float(number))),
            // A text may be read as a number, and a number be written as a text.
            (_, Key::Text(_) | Key::Number(_)) => None,
        }
    }
}

impl Bound {
    fn holds(self, number: f64) -> bool {
        match self {
            Self::Equal(value) => (number - value).abs() < f64::EPSILON,
            Self::Above(bound) => number > bound,
            Self::AtLeast(bound) => number >= bound,
            Self::Below(bound) => number < bound,
            Self::AtMost(bound) => number <= bound,
        }
    }
}

/// The whole text that a matcher asks for, whatever its case.
fn whole_text(matcher: &CompiledMatcher) -> Option<String> {
    match matcher {
        CompiledMatcher::Exact { value, case_insensitive: true } if value.is_ascii() => Some(value.clone()),
        _ => None,
    }
}
