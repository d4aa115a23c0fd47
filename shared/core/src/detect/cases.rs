//! A rule's own tests: records that must match and records that must not, run through the same formats, enrichment,
//! matching and correlation as real input.
//!
//! Records of one service differ in little, so `tests` may have a `base` over which each record is laid, and a test may
//! be run for `each` of several values:
//!
//! ```yaml
//! tests:
//!   base: {eventSource: config.amazonaws.com, eventName: DeleteConfigRule, requestParameters: {configRuleName: mfa}}
//!   match:
//!     - name: removed
//!       each: {eventName: [DeleteConfigRule, DeleteRemediationConfiguration]}
//!       record: {}
//!     - name: refused
//!       record: {errorCode: AccessDenied, requestParameters: null}
//! ```
//!
//! What the configuration says of cloudvigil's own may be said of a test, with the level that its finding must have:
//!
//! ```yaml
//!     - name: one's own, removed by who deploys it
//!       own: {resources: [mfa], deploying_roles: ['arn:aws:iam::123456789012:role/Deployment']}
//!       level: high
//!       record: {}
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Catalogue, Rule};
use crate::config::OwnConfig;
use crate::finding::Level;
use crate::pipeline::{Entry, Options, Pipeline};

/// What a rule's `tests` hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    /// What every record that is an object has in common. A record's own members take the place of those of the same
    /// name, whole: a member that is an object is not merged, and `null` is a value like any other.
    #[serde(default)]
    pub base: Map<String, Value>,
    /// Must match.
    #[serde(default, rename = "match")]
    pub positive: Vec<Case>,
    /// Must not match.
    #[serde(default, rename = "no-match")]
    pub negative: Vec<Case>,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// One record: a line as it stands in a log, or an object for the formats that are JSON.
    #[serde(default)]
    pub record: Option<Value>,
    /// Several records, in the order of the log: for rules that count.
    #[serde(default)]
    pub records: Vec<Value>,
    /// What is cloudvigil's own, and who deploys it.
    #[serde(default)]
    pub own: OwnConfig,
    /// The level that its finding must have, if that is not left open.
    #[serde(default)]
    pub level: Option<Level>,
    /// The same test once for every value of a member (`eventName: [A, B]`); of two members, once for every pair.
    #[serde(default)]
    pub each: BTreeMap<String, Vec<Value>>,
}

/// One test as it is run: [`Cases::base`] and one of the values of [`Case::each`] laid into its records.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The test's name.
    pub case: String,
    /// Which of the values this is: `eventName DeleteTrail`; empty where the test has but one record.
    pub variant: String,
    /// Whether it must match.
    pub expected: bool,
    /// Its records.
    pub records: Vec<Value>,
    /// What is cloudvigil's own, and who deploys it.
    pub own: OwnConfig,
    /// The level that its finding must have.
    pub level: Option<Level>,
}

impl Run {
    /// Whether its records are calls to AWS that were denied: with an `errorCode`, and without parameters.
    pub fn is_denied(&self) -> bool {
        let denied = |record: &Value| {
            let text = record.get("errorCode").and_then(Value::as_str);
            text.is_some_and(|text| !text.is_empty()) && record.get("requestParameters").is_none_or(Value::is_null)
        };
        !self.records.is_empty() && self.records.iter().all(denied)
    }
}

/// What came of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the rule matched.
    pub matched: bool,
    /// The highest level of the rule's findings; `None` where there are none, as for a rule that only others count.
    pub level: Option<Level>,
    /// Whether any rule about tampering matched, this one or another.
    pub tampering: bool,
}

impl Cases {
    pub(super) fn from_yaml(value: Option<&yaml_serde::Value>) -> Result<Self, String> {
        let Some(value) = value else { return Ok(Self::default()) };
        yaml_serde::from_value(value.clone()).map_err(|error| format!("`tests`: {error}"))
    }

    /// The tests as they are run, those that must match first.
    pub fn runs(&self) -> Vec<Run> {
        let positive = self.positive.iter().map(|case| (case, true));
        let negative = self.negative.iter().map(|case| (case, false));
        positive.chain(negative).flat_map(|(case, expected)| self.runs_of(case, expected)).collect()
    }

    fn runs_of(&self, case: &Case, expected: bool) -> Vec<Run> {
        let mut variants = vec![Map::new()];
        for (member, values) in &case.each {
            let with = |variant: &Map<String, Value>, value: &Value| {
                let mut variant = variant.clone();
                variant.insert(member.clone(), value.clone());
                variant
            };
            variants = variants.iter().flat_map(|variant| values.iter().map(|value| with(variant, value))).collect();
        }
        let run = |variant: Map<String, Value>| {
            let laid = |record: &Value| match record {
                Value::Object(own) => {
                    let mut whole = self.base.clone();
                    whole.extend(own.clone().into_iter().chain(variant.clone()));
                    Value::Object(whole)
                }
                line => line.clone(),
            };
            let shown = |(member, value): (&String, &Value)| match value {
                Value::String(text) => format!("{member} {text}"),
                other => format!("{member} {other}"),
            };
            Run {
                case: case.name.clone(),
                variant: variant.iter().map(shown).collect::<Vec<_>>().join(", "),
                expected,
                records: case.record.iter().chain(&case.records).map(laid).collect(),
                own: case.own.clone(),
                level: case.level,
            }
        };
        variants.into_iter().map(run).collect()
    }
}

/// A test that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseFailure {
    /// The rule's id.
    pub rule: String,
    /// The test's name.
    pub case: String,
    /// What was expected and what came instead.
    pub reason: String,
}

/// Runs a rule's tests. Returns how many ran, and those that did not hold.
pub fn run_cases(catalogue: &Catalogue, rule: &Rule) -> (usize, Vec<CaseFailure>) {
    // A correlation that only serves others is not followed in the whole catalogue.
    let alone = (!rule.reports && !rule.leaves.is_empty()).then(|| catalogue.alone(rule));
    let (catalogue, rule) = match &alone {
        Some(alone) => (alone, alone.rules().last().unwrap_or(rule)),
        None => (catalogue, rule),
    };
    let mut failures = Vec::new();
    let runs = rule.cases.runs();
    for run in &runs {
        let reason = match run_case(catalogue, rule, run) {
            Ok(outcome) if outcome.matched == run.expected => {
                let Some(wanted) = run.level.filter(|wanted| outcome.level != Some(*wanted)) else { continue };
                let level = outcome.level.map_or("none", Level::as_str);
                format!("its finding's level is {level} and must be {wanted}")
            }
            Ok(Outcome { matched: true, .. }) => "it matched and must not".to_owned(),
            Ok(Outcome { matched: false, .. }) => "it did not match and must".to_owned(),
            Err(reason) => reason,
        };
        let reason = if run.variant.is_empty() { reason } else { format!("with {}: {reason}", run.variant) };
        failures.push(CaseFailure { rule: rule.id.clone(), case: run.case.clone(), reason });
    }
    // A test without a value to run it for shows nothing.
    let cases = rule.cases.positive.iter().chain(&rule.cases.negative);
    for case in cases.filter(|case| case.each.values().any(Vec::is_empty)) {
        let reason = "`each` names no value".to_owned();
        failures.push(CaseFailure { rule: rule.id.clone(), case: case.name.clone(), reason });
    }
    (runs.len(), failures)
}

/// Runs one test through the pipeline; an error says why its records cannot be read.
pub fn run_case(catalogue: &Catalogue, rule: &Rule, run: &Run) -> Result<Outcome, String> {
    let records: Vec<Vec<u8>> = run.records.iter().map(as_logged).collect();
    if records.is_empty() {
        return Err("the test has neither `record` nor `records`".to_owned());
    }
    let format = crate::formats::FORMATS.iter().copied().find(|format| fits(catalogue, rule, *format, &records));
    let Some(format) = format else {
        return Err("no format reads these records as the log source that the rule asks for".to_owned());
    };
    let OwnConfig { resources: own_resources, deploying_roles } = run.own.clone();
    let options = Options { matches: true, own_resources, deploying_roles, ..Options::default() };
    let pipeline = Pipeline::new(catalogue, options);
    let entries = records.iter().map(|record| Entry { key: None, time: None, bytes: record });
    let report = pipeline.entries("test", Some(format), entries);
    if report.stats.unparsed > 0 {
        return Err(format!("{} of its records cannot be parsed as {}", report.stats.unparsed, format.name()));
    }
    let own = |number: usize| catalogue.rule(number).id == rule.id;
    let partitions = report.contributions.iter().map(|(partition, _)| partition).filter(|at| own(at.rule));
    let level = partitions.filter_map(|at| report.contributions.finding(catalogue, at)).map(|found| found.level).max();
    // A simple rule that only others count has matches and no findings.
    let hit = report.matches.iter().any(|hit| own(hit.rule));
    let tampering = report.matches.iter().any(|hit| catalogue.rule(hit.rule).is_about_tampering());
    Ok(Outcome { matched: if rule.leaves.is_empty() { hit } else { level.is_some() }, level, tampering })
}

fn as_logged(record: &Value) -> Vec<u8> {
    match record {
        Value::String(line) => line.trim_end_matches('\n').as_bytes().to_vec(),
        other => other.to_string().into_bytes(),
    }
}

/// Whether a format reads at least one of the records as what the rule, or a rule that it counts, asks for.
fn fits(catalogue: &Catalogue, rule: &Rule, format: &dyn crate::formats::Format, records: &[Vec<u8>]) -> bool {
    let counted = rule.leaves.iter().filter_map(|leaf| catalogue.rule(leaf.rule).detection.as_ref());
    let wanted: Vec<_> = rule.detection.iter().chain(counted).map(|detection| &detection.log_source).collect();
    let mut parser = format.parser(&Options::default().context());
    records.iter().any(|record| match parser.parse(&String::from_utf8_lossy(record)) {
        crate::formats::Parsed::Record(record) => wanted.iter().any(|wanted| wanted.fits(record.log_source)),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::detect::RuleFile;

    fn runs(tests: Value) -> Vec<Run> {
        serde_json::from_value::<Cases>(tests).unwrap().runs()
    }

    #[test]
    fn a_record_is_laid_over_the_base_member_by_member() {
        let runs = runs(json!({
            "base": {"a": {"x": 1, "y": 2}, "b": 1},
            "match": [{"name": "null stays", "record": {"a": null}}, {"name": "whole", "record": {"a": {"x": 3}}}],
            "no-match": [{"name": "a line", "records": ["text", {}]}],
        }));
        let records: Vec<_> = runs.iter().flat_map(|run| run.records.clone()).collect();
        let base = json!({"a": {"x": 1, "y": 2}, "b": 1});
        assert_eq!(records, [json!({"a": null, "b": 1}), json!({"a": {"x": 3}, "b": 1}), json!("text"), base]);
        assert_eq!(runs.iter().map(|run| run.expected).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn a_test_is_run_for_each_value() {
        let runs = runs(json!({
            "base": {"name": "x"},
            "match": [{"name": "all", "each": {"name": ["A", "B"], "n": [1, 2]}, "record": {"c": 0}}],
        }));
        let variants: Vec<_> = runs.iter().map(|run| run.variant.as_str()).collect();
        assert_eq!(variants, ["n 1, name A", "n 1, name B", "n 2, name A", "n 2, name B"]);
        assert_eq!(runs[3].records, [json!({"name": "B", "n": 2, "c": 0})]);
    }

    #[test]
    fn a_variant_that_fails_is_named_and_no_value_is_a_failure() {
        let rule = "
title: Deleted
id: deleted
logsource: {product: aws, service: cloudtrail}
detection: {selection: {eventName: [A, B]}, condition: selection}
tests:
  match:
    - {name: all, each: {eventName: [A, B, C]}, record: {eventSource: x}}
    - {name: none, each: {eventName: []}, record: {eventSource: x}}
";
        let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("r.yml", rule)]);
        assert!(problems.is_empty(), "{problems:?}");
        let (ran, failures) = run_cases(&catalogue, catalogue.by_id("deleted").unwrap());
        let told: Vec<_> = failures.iter().map(|failure| failure.reason.as_str()).collect();
        assert_eq!(ran, 3);
        assert_eq!(told, ["with eventName C: it did not match and must", "`each` names no value"]);
    }

    #[test]
    fn a_finding_of_another_level_is_a_failure() {
        let rule = "
title: Deleted
id: deleted
level: low
tags: [attack.t1685]
logsource: {product: aws, service: cloudtrail}
detection: {selection: {eventName: DeleteTrail}, condition: selection}
tests:
  base: {eventSource: cloudtrail.amazonaws.com, eventName: DeleteTrail, requestParameters: {name: main}}
  match:
    - {name: own, own: {resources: [main]}, level: critical, record: {}}
    - {name: others, own: {resources: [other]}, level: critical, record: {}}
";
        let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("r.yml", rule)]);
        assert!(problems.is_empty(), "{problems:?}");
        let (_, failures) = run_cases(&catalogue, catalogue.by_id("deleted").unwrap());
        let told: Vec<_> = failures.iter().map(|failure| (failure.case.as_str(), failure.reason.as_str())).collect();
        assert_eq!(told, [("others", "its finding's level is low and must be critical")]);
    }
}
