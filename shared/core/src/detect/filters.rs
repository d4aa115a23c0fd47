//! Sigma filters: conditions that are added to rules without touching them.
//!
//! A filter's condition is joined to each condition of the rules that it names with `and`, as pySigma does it: a filter
//! that takes something out says `not selection`. See
//! <https://sigmahq.io/sigma-specification/specification/sigma-filters-specification.html>.

use rsigma_parser::{
    ConditionExpr, Detections, FilterRule, FilterRuleTarget, LogSource, Quantifier, SelectorPattern, SigmaRule,
};
use yaml_serde::Value;

use super::Problem;
use super::load::names_something;

/// All filters of a catalogue.
#[derive(Default)]
pub(super) struct Filters {
    filters: Vec<Filter>,
}

struct Filter {
    file: String,
    line: Option<usize>,
    title: String,
    log_source: LogSource,
    /// The ids and names of rules; `None`: any rule.
    rules: Option<Vec<Reference>>,
    detection: Detections,
}

struct Reference {
    name: String,
    /// Whether a rule was found, and whether its log source was fit.
    found: bool,
    fits: bool,
}

impl Filters {
    /// Adds a filter; `document` is the same one as it stands in the file, at this line.
    pub(super) fn add(
        &mut self,
        filter: FilterRule,
        document: &Value,
        file: &str,
        line: Option<usize>,
    ) -> Result<(), String> {
        let rules = match filter.rules {
            // rsigma takes a filter that names no rules for one of all rules, and it would silence everything.
            FilterRuleTarget::Any => {
                let rules = document.get("filter").and_then(|filter| filter.get("rules")).and_then(Value::as_str);
                if !rules.is_some_and(|rules| rules.eq_ignore_ascii_case("any")) {
                    return Err("a filter must name its `rules`, or say `rules: any`".to_owned());
                }
                None
            }
            FilterRuleTarget::Specific(names) => {
                Some(names.into_iter().map(|name| Reference { name, found: false, fits: false }).collect())
            }
        };
        names_something(&filter.detection)?;
        let log_source = filter.logsource.ok_or("a filter must have a `logsource`")?;
        let (file, title) = (file.to_owned(), filter.title);
        self.filters.push(Filter { file, line, title, log_source, rules, detection: filter.detection });
        Ok(())
    }

    /// Adds to a rule the conditions of the filters that are for it.
    pub(super) fn apply(&mut self, rule: &mut SigmaRule) {
        for (number, filter) in self.filters.iter_mut().enumerate() {
            if filter.is_for(rule.id.as_deref(), rule.name.as_deref(), &rule.logsource) {
                join(&mut rule.detection, &filter.detection, &format!("__filter_{number}_"));
            }
        }
    }

    /// Whether there is one for the rule of this id, name and log source.
    pub(super) fn has_for(&mut self, id: Option<&str>, name: Option<&str>, log_source: &LogSource) -> bool {
        self.filters.iter_mut().any(|filter| filter.is_for(id, name, log_source))
    }

    /// The filters that name rules that are not there, or that they do not fit.
    pub(super) fn unused(&self) -> Vec<Problem> {
        let mut unused = Vec::new();
        for filter in &self.filters {
            for Reference { name, found, fits } in filter.rules.iter().flatten() {
                let reason = match (found, fits) {
                    (true, true) => continue,
                    (true, false) => format!("the rule '{name}' has another log source than this filter"),
                    (false, _) => format!("there is no rule '{name}' to filter, or it was not loaded"),
                };
                let (file, rule) = (filter.file.clone(), Some(filter.title.clone()));
                unused.push(Problem { file, line: filter.line, rule, reason, is_harmless: true });
            }
        }
        unused
    }
}

impl Filter {
    fn is_for(&mut self, id: Option<&str>, name: Option<&str>, theirs: &LogSource) -> bool {
        let asked = |own: &Option<String>, theirs: &Option<String>| own.is_none() || own == theirs;
        let own = &self.log_source;
        let fits = asked(&own.product, &theirs.product)
            && asked(&own.service, &theirs.service)
            && asked(&own.category, &theirs.category);
        let Some(references) = &mut self.rules else { return fits };
        let mut named = false;
        for reference in references {
            let reference_name = Some(reference.name.as_str());
            if id == reference_name || name == reference_name {
                reference.found = true;
                reference.fits |= fits;
                named = true;
            }
        }
        named && fits
    }
}

/// Joins a filter's detection to a rule's; its selections are taken over under names that begin with `prefix`.
pub(super) fn join(rule: &mut Detections, filter: &Detections, prefix: &str) {
    let own = |condition: &ConditionExpr| resolved(condition, rule, "");
    let mut conditions: Vec<ConditionExpr> = rule.conditions.iter().map(own).collect();
    let added: Vec<_> = filter.conditions.iter().map(|condition| resolved(condition, filter, prefix)).collect();
    for condition in &mut conditions {
        let before = std::mem::replace(condition, ConditionExpr::And(Vec::new()));
        *condition = ConditionExpr::And(vec![before, ConditionExpr::Or(added.clone())]);
    }
    rule.conditions = conditions;
    for (name, detection) in &filter.named {
        rule.named.insert(format!("{prefix}{name}"), detection.clone());
    }
}

/// A condition in which each selector is spelt out: it must not select what is added later.
fn resolved(condition: &ConditionExpr, detections: &Detections, prefix: &str) -> ConditionExpr {
    let all = |parts: &[ConditionExpr]| parts.iter().map(|part| resolved(part, detections, prefix)).collect();
    match condition {
        ConditionExpr::And(parts) => ConditionExpr::And(all(parts)),
        ConditionExpr::Or(parts) => ConditionExpr::Or(all(parts)),
        ConditionExpr::Not(part) => ConditionExpr::Not(Box::new(resolved(part, detections, prefix))),
        ConditionExpr::Identifier(name) => ConditionExpr::Identifier(format!("{prefix}{name}")),
        ConditionExpr::Selector { quantifier, pattern } => {
            let mut names: Vec<&String> =
                detections.named.keys().filter(|name| pattern.matches_detection_name(name)).collect();
            names.sort();
            let parts = names.into_iter().map(|name| ConditionExpr::Identifier(format!("{prefix}{name}"))).collect();
            match quantifier {
                Quantifier::Any | Quantifier::Count(1) => ConditionExpr::Or(parts),
                Quantifier::All => ConditionExpr::And(parts),
                // `2 of` has no other form. A prefix keeps it to the filter's own; `them` leaves out what begins with `_`.
                Quantifier::Count(_) if prefix.is_empty() => condition.clone(),
                Quantifier::Count(_) => {
                    let pattern = match pattern {
                        SelectorPattern::Them => format!("{prefix}*"),
                        SelectorPattern::Pattern(pattern) => format!("{prefix}{pattern}"),
                    };
                    ConditionExpr::Selector {
                        quantifier: quantifier.clone(),
                        pattern: SelectorPattern::Pattern(pattern),
                    }
                }
            }
        }
    }
}
