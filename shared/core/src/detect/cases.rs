//! A rule's own tests: records that must match and records that must not, run through the same formats, enrichment,
//! matching and correlation as real input.

use serde::Deserialize;
use serde_json::Value;

use super::{Catalogue, Rule};
use crate::pipeline::{Entry, Options, Pipeline};

/// What a rule's `tests` hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
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
}

impl Cases {
    pub(super) fn from_yaml(value: Option<&yaml_serde::Value>) -> Result<Self, String> {
        let Some(value) = value else { return Ok(Self::default()) };
        yaml_serde::from_value(value.clone()).map_err(|error| format!("`tests`: {error}"))
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
    let positive = rule.cases.positive.iter().map(|case| (case, true));
    let negative = rule.cases.negative.iter().map(|case| (case, false));
    let mut failures = Vec::new();
    let mut ran = 0;
    for (case, expected) in positive.chain(negative) {
        ran += 1;
        let reason = match found(catalogue, rule, case) {
            Ok(found) if found == expected => continue,
            Ok(true) => "it matched and must not".to_owned(),
            Ok(false) => "it did not match and must".to_owned(),
            Err(reason) => reason,
        };
        failures.push(CaseFailure { rule: rule.id.clone(), case: case.name.clone(), reason });
    }
    (ran, failures)
}

/// Whether the rule reports anything for a test's records.
fn found(catalogue: &Catalogue, rule: &Rule, case: &Case) -> Result<bool, String> {
    let records: Vec<Vec<u8>> = case.record.iter().chain(&case.records).map(as_logged).collect();
    if records.is_empty() {
        return Err("the test has neither `record` nor `records`".to_owned());
    }
    let format = crate::formats::FORMATS.iter().copied().find(|format| fits(catalogue, rule, *format, &records));
    let Some(format) = format else {
        return Err("no format reads these records as the log source that the rule asks for".to_owned());
    };
    let pipeline = Pipeline::new(catalogue, Options { matches: true, ..Options::default() });
    let entries = records.iter().map(|record| Entry { key: None, time: None, bytes: record });
    let report = pipeline.entries("test", Some(format), entries);
    if report.stats.unparsed > 0 {
        return Err(format!("{} of its records cannot be parsed as {}", report.stats.unparsed, format.name()));
    }
    if rule.leaves.is_empty() {
        return Ok(report.matches.iter().any(|hit| catalogue.rule(hit.rule).id == rule.id));
    }
    Ok(report.contributions.iter().any(|(partition, _)| {
        catalogue.rule(partition.rule).id == rule.id && report.contributions.is_hot(catalogue, partition)
    }))
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
    records.iter().any(|record| match parser.parse(record) {
        crate::formats::Parsed::Record(record) => wanted.iter().any(|wanted| wanted.fits(record.log_source)),
        _ => false,
    })
}
