//! What a compiled rule needs, read off its condition.

use std::collections::{BTreeSet, HashMap};

use rsigma_eval::matcher::{ExpandPart, GroupMode};
use rsigma_eval::{CompiledDetection, CompiledDetectionItem, CompiledMatcher, CompiledRule};
use rsigma_parser::{ConditionExpr, Quantifier};

use crate::detect::tree::name_of;
use crate::record::LogSource;

/// The shortest literal that is worth a search.
const MIN_LITERAL: usize = 3;
/// A rule with more paths is evaluated on every record.
const MAX_PATHS: usize = 1024;
/// The fields that [`crate::enrich`] adds do not stand in the entry.
pub(super) const DERIVED: &str = "cloudvigil.";

/// A fact that holds, or another path of its rule does, wherever the rule matches.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Path {
    /// About the key of this number.
    Key(usize, About),
    /// The entry's text holds this, in ASCII lower case, whatever its case there.
    Literal(String),
}

/// What holds of a key's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum About {
    /// It is this, in lower case.
    Equal(String),
    /// It begins so, in lower case.
    Prefix(String),
    /// As a number it is within these bounds, both included.
    Range(f64, f64),
    /// There is one.
    Present,
}

impl Path {
    /// How much it leaves to be evaluated, in comparison: the less the better. `words`: literals come first.
    fn cost(&self, source: &LogSource, words: bool) -> (usize, usize) {
        let is_rare = |key: usize| source.keys.get(key).is_some_and(|key| source.rare.contains(key));
        match self {
            Self::Literal(_) if words => (0, 0),
            // A rare key's value tells as much as a word does.
            Self::Key(key, About::Equal(_)) if words && is_rare(*key) => (0, 1),
            Self::Key(key, About::Equal(_)) => (1, *key),
            Self::Key(key, About::Prefix(_)) => (2, *key),
            Self::Key(key, About::Range(..)) => (3, *key),
            Self::Key(key, About::Present) if is_rare(*key) => (4, *key),
            Self::Literal(_) => (5, 0),
            Self::Key(key, About::Present) => (6, *key),
        }
    }
}

impl Path {
    /// How long a literal is.
    fn length(&self) -> usize {
        match self {
            Self::Literal(text) => text.len(),
            Self::Key(..) => 0,
        }
    }
}

/// Alternatives, or `None` where nothing is known.
type Paths = Option<Vec<Path>>;

/// The paths of a rule by which it is found.
pub(super) fn paths(rule: &CompiledRule, source: &LogSource) -> Paths {
    read(rule, source, false)
}

/// Other paths of a rule, literals where it has any: one of these holds, too, wherever the rule matches. A rule that is
/// found by the name of a frequent call may ask for a word that is rare in it.
pub(super) fn words(rule: &CompiledRule, source: &LogSource) -> Paths {
    read(rule, source, true).filter(|paths| paths.iter().any(|path| matches!(path, Path::Literal(_))))
}

fn read(rule: &CompiledRule, source: &LogSource, words: bool) -> Paths {
    let reader = Reader { source, words };
    let any = any(rule.conditions.iter().map(|condition| reader.condition(condition, &rule.detections)));
    any.filter(|paths| paths.len() <= MAX_PATHS)
}

/// The fields of [`crate::enrich`] that a rule asks for.
pub(super) fn derived_fields(rule: &CompiledRule, names: &mut BTreeSet<String>) {
    fn of_detection(detection: &CompiledDetection, names: &mut BTreeSet<String>) {
        match detection {
            CompiledDetection::AllOf(items) => {
                let fields = items.iter().filter_map(|item| item.field.as_deref().map(name_of));
                names.extend(fields.filter(|field| field.starts_with(DERIVED)).map(str::to_owned));
                for item in items {
                    of_matcher(&item.matcher, names);
                }
            }
            CompiledDetection::AnyOf(parts) | CompiledDetection::And(parts) => {
                for part in parts {
                    of_detection(part, names);
                }
            }
            CompiledDetection::Keywords(_) => {}
            CompiledDetection::ArrayMatch { field, body, .. } => {
                names.extend(Some(field).filter(|field| field.starts_with(DERIVED)).cloned());
                of_detection(body, names);
            }
            CompiledDetection::Conditional { named, .. } => {
                for part in named.values() {
                    of_detection(part, names);
                }
            }
        }
    }

    /// A value may be compared with another field's.
    fn of_matcher(matcher: &CompiledMatcher, names: &mut BTreeSet<String>) {
        match matcher {
            CompiledMatcher::FieldRef { field, .. } => names.extend([field.clone()]),
            CompiledMatcher::Expand { template, .. } => names.extend(template.iter().filter_map(|part| match part {
                ExpandPart::Placeholder(field) => Some(field.clone()),
                ExpandPart::Literal(_) => None,
            })),
            CompiledMatcher::Not(inner) | CompiledMatcher::TimestampPart { inner, .. } => of_matcher(inner, names),
            CompiledMatcher::AnyOf(matchers)
            | CompiledMatcher::AllOf(matchers)
            | CompiledMatcher::CaseInsensitiveGroup { children: matchers, .. } => {
                for matcher in matchers {
                    of_matcher(matcher, names);
                }
            }
            _ => {}
        }
    }

    for detection in rule.detections.values() {
        of_detection(detection, names);
    }
}

/// One of them holds: each one's paths are alternatives.
fn any(parts: impl Iterator<Item = Paths>) -> Paths {
    parts.collect::<Option<Vec<_>>>().map(|parts| parts.into_iter().flatten().collect())
}

/// What several bounds of one key come to together.
fn common_range(parts: &[Vec<Path>]) -> Option<Vec<Path>> {
    let mut ranges = parts.iter().filter_map(|part| match part.as_slice() {
        [Path::Key(key, About::Range(low, high))] => Some((*key, *low, *high)),
        _ => None,
    });
    let first = ranges.next()?;
    let (key, low, high) = ranges
        .filter(|(key, ..)| *key == first.0)
        .fold(first, |(key, low, high), (_, lower, higher)| (key, low.max(lower), high.min(higher)));
    Some(vec![Path::Key(key, About::Range(low, high))])
}

struct Reader<'s> {
    source: &'s LogSource,
    /// Literals come first.
    words: bool,
}

impl Reader<'_> {
    /// All of them hold: the paths of the best of them do.
    fn all(&self, parts: impl Iterator<Item = Paths>) -> Paths {
        let parts: Vec<Vec<Path>> = parts.flatten().collect();
        let range = common_range(&parts);
        let cost = |paths: &Vec<Path>| (paths.iter().map(|path| path.cost(self.source, self.words)).max(), paths.len());
        parts.into_iter().chain(range).min_by_key(cost)
    }

    fn condition(&self, condition: &ConditionExpr, detections: &HashMap<String, CompiledDetection>) -> Paths {
        match condition {
            ConditionExpr::And(parts) => self.all(parts.iter().map(|part| self.condition(part, detections))),
            ConditionExpr::Or(parts) => any(parts.iter().map(|part| self.condition(part, detections))),
            ConditionExpr::Not(_) => None,
            // A detection that is not there never matches.
            ConditionExpr::Identifier(name) => {
                detections.get(name).map_or_else(|| Some(Vec::new()), |detection| self.detection(detection))
            }
            ConditionExpr::Selector { quantifier, pattern } => {
                let selected = detections.iter().filter(|(name, _)| pattern.matches_detection_name(name));
                let parts = selected.map(|(_, detection)| self.detection(detection));
                match quantifier {
                    Quantifier::All => self.all(parts),
                    Quantifier::Count(0) => None,
                    Quantifier::Any | Quantifier::Count(_) => any(parts),
                }
            }
        }
    }

    fn detection(&self, detection: &CompiledDetection) -> Paths {
        match detection {
            CompiledDetection::AllOf(items) => self.all(items.iter().map(|item| self.item(item))),
            CompiledDetection::AnyOf(parts) => any(parts.iter().map(|part| self.detection(part))),
            CompiledDetection::And(parts) => self.all(parts.iter().map(|part| self.detection(part))),
            CompiledDetection::Keywords(matcher) => literals(matcher),
            CompiledDetection::ArrayMatch { .. } | CompiledDetection::Conditional { .. } => None,
        }
    }

    fn item(&self, item: &CompiledDetectionItem) -> Paths {
        let Some(field) = item.field.as_deref().map(name_of) else {
            return if item.exists.is_some() { None } else { literals(&item.matcher) };
        };
        let key = self.source.keys.iter().position(|key| *key == field);
        if let Some(there) = item.exists {
            return key.filter(|_| there).map(|key| vec![Path::Key(key, About::Present)]);
        }
        // Of the fields that are absent, only null itself matches, and what asks for no value at all.
        if matches!(item.matcher, CompiledMatcher::Null | CompiledMatcher::Not(_)) {
            return None;
        }
        let of_key = key.map(|key| {
            let known = about(&item.matcher).unwrap_or_else(|| vec![About::Present]);
            known.into_iter().map(|about| Path::Key(key, about)).collect()
        });
        if self.words && of_key.is_some() {
            return of_key;
        }
        let stands_in_text = !field.starts_with(DERIVED) && !self.source.words.contains(&field);
        let in_text = if stands_in_text { literals(&item.matcher) } else { None };
        self.all([of_key, in_text].into_iter())
    }
}

/// What a matcher says of the value that it matches, as alternatives.
fn about(matcher: &CompiledMatcher) -> Option<Vec<About>> {
    Some(match matcher {
        CompiledMatcher::Exact { value, .. } => vec![About::Equal(value.to_lowercase())],
        CompiledMatcher::StartsWith { value, .. } => vec![About::Prefix(value.to_lowercase())],
        CompiledMatcher::NumericEq(number) => vec![About::Range(number - f64::EPSILON, number + f64::EPSILON)],
        CompiledMatcher::NumericGt(number) | CompiledMatcher::NumericGte(number) => {
            vec![About::Range(*number, f64::INFINITY)]
        }
        CompiledMatcher::NumericLt(number) | CompiledMatcher::NumericLte(number) => {
            vec![About::Range(f64::NEG_INFINITY, *number)]
        }
        CompiledMatcher::AnyOf(matchers)
        | CompiledMatcher::CaseInsensitiveGroup { children: matchers, mode: GroupMode::Any } => {
            matchers.iter().map(about).collect::<Option<Vec<_>>>()?.into_iter().flatten().collect()
        }
        CompiledMatcher::AllOf(matchers)
        | CompiledMatcher::CaseInsensitiveGroup { children: matchers, mode: GroupMode::All } => {
            matchers.iter().find_map(about)?
        }
        _ => return None,
    })
}

/// The literals of which one stands in a text that a matcher matches.
fn literals(matcher: &CompiledMatcher) -> Paths {
    match matcher {
        CompiledMatcher::Exact { value, .. }
        | CompiledMatcher::Contains { value, .. }
        | CompiledMatcher::StartsWith { value, .. }
        | CompiledMatcher::EndsWith { value, .. } => literal(value).map(|literal| vec![Path::Literal(literal)]),
        CompiledMatcher::AhoCorasickSet { needles, .. } => {
            needles.iter().map(|needle| literal(needle).map(Path::Literal)).collect()
        }
        CompiledMatcher::AnyOf(matchers)
        | CompiledMatcher::CaseInsensitiveGroup { children: matchers, mode: GroupMode::Any } => {
            any(matchers.iter().map(literals))
        }
        CompiledMatcher::AllOf(matchers)
        | CompiledMatcher::CaseInsensitiveGroup { children: matchers, mode: GroupMode::All } => {
            // The longest of them is the rarest, as far as that can be told.
            let known = matchers.iter().filter_map(literals);
            known.max_by_key(|paths| paths.iter().map(Path::length).min())
        }
        _ => None,
    }
}

/// The longest part of a text that stands in an entry as it is: JSON writes quotes, backslashes, slashes and control
/// characters in other ways. It holds a letter: a number is compared in its usual form, however it is written.
fn literal(text: &str) -> Option<String> {
    let parts = text
        .split(|letter: char| !letter.is_ascii() || letter.is_ascii_control() || matches!(letter, '"' | '\\' | '/'));
    // Nearly every object has a truth value.
    let is_rare = |part: &&str| !part.eq_ignore_ascii_case("true") && !part.eq_ignore_ascii_case("false");
    let usable = parts
        .filter(|part| part.len() >= MIN_LITERAL && part.bytes().any(|byte| byte.is_ascii_alphabetic()))
        .filter(is_rare);
    usable.max_by_key(|part| part.len()).map(str::to_ascii_lowercase)
}
