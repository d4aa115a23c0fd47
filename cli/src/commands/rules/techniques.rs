//! `cloudvigil rules coverage`: which ATT&CK techniques and which log sources the rules are about, as tables and as a
//! layer of ATT&CK Navigator.
//!
//! Techniques are those of the version that this build knows. One that it has replaced counts as what took its place, as
//! rules of the community name it; one that it does not have is told, and counts for nothing. Nor does a rule that can
//! never match.
//!
//! The layer's format: <https://github.com/mitre-attack/attack-navigator/blob/master/layers/spec/v4.5/layerformat.md>.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use cloudvigil_core::attack::{self, Standing};
use cloudvigil_core::detect::{Catalogue, Problem, Rule};
use cloudvigil_core::finding::Level;
use comfy_table::Cell;
use serde_json::{Value, json};

use super::{log_sources, number};
use crate::destination::Destination;
use crate::ending::Ending;
use crate::terminal::{self, Sheet};

/// Tells which techniques and log sources the rules are about; writes a layer, if one is asked for.
pub fn run(catalogue: &Catalogue, layer: Option<&Path>) -> Result<Ending> {
    let mut by_technique: BTreeMap<String, Vec<&Rule>> = BTreeMap::new();
    let mut by_log_source: BTreeMap<String, Vec<&Rule>> = BTreeMap::new();
    let (mut untagged, mut idle) = (0, 0);
    for rule in catalogue.rules() {
        if catalogue.never_matches(rule) {
            idle += 1;
            continue;
        }
        let techniques = techniques(rule);
        untagged += usize::from(techniques.is_empty());
        for technique in techniques {
            by_technique.entry(technique).or_default().push(rule);
        }
        for log_source in log_sources(catalogue, rule) {
            by_log_source.entry(log_source).or_default().push(rule);
        }
    }
    if let Some(path) = layer {
        let mut to = Destination::open(Some(path))?;
        to.write(|writer| {
            serde_json::to_writer_pretty(&mut *writer, &layer_of(&by_technique))?;
            writeln!(writer)
        })?;
        to.flush()?;
    }
    let rest = match idle {
        0 => String::new(),
        idle => format!("; {} can never match and cover nothing: see `rules lint`", number(idle, "rule")),
    };
    let (techniques, log_sources) = (sheet("Technique", &by_technique), sheet("Log source", &by_log_source));
    let mut to = Destination::open(None)?;
    to.write(|writer| {
        writeln!(writer, "{techniques}")?;
        write!(writer, "{log_sources}")?;
        writeln!(
            writer,
            "{}, {} of ATT&CK {}, {}, {} without a technique{rest}",
            number(catalogue.rules().len(), "rule"),
            number(by_technique.len(), "technique"),
            attack::version(),
            number(by_log_source.len(), "log source"),
            number(untagged, "rule"),
        )
    })?;
    to.flush()?;
    Ok(Ending::Done)
}

fn sheet(heading: &str, covered: &BTreeMap<String, Vec<&Rule>>) -> Sheet {
    let mut sheet = Sheet::new(&[heading, "Rules", "Highest level"], true);
    for (name, rules) in covered {
        let highest = highest(rules).map_or_else(|| Cell::new(""), terminal::level);
        sheet.row(vec![Cell::new(terminal::line(name)), Cell::new(rules.len()), highest]);
    }
    sheet
}

fn highest(rules: &[&Rule]) -> Option<Level> {
    rules.iter().map(|rule| rule.level).max()
}

/// The techniques that a rule is about; what it names beside them is told.
fn techniques(rule: &Rule) -> BTreeSet<String> {
    let mut techniques = BTreeSet::new();
    for tag in &rule.tags {
        let Some(id) = technique(tag) else { continue };
        match attack::standing(&id) {
            Standing::Current => {
                techniques.insert(id);
            }
            Standing::Replaced(names) => techniques.extend(names.into_iter().map(str::to_owned)),
            Standing::Withdrawn | Standing::Unknown => {
                let (file, line) = (rule.file.clone(), rule.line);
                let reason =
                    format!("the tag '{tag}' is not counted: ATT&CK {} has no technique {id}", attack::version());
                let problem = Problem { file, line, rule: Some(rule.id.clone()), reason, is_harmless: true };
                terminal::warning(&problem.to_string());
            }
        }
    }
    techniques
}

/// The technique that a tag names, as ATT&CK writes it.
fn technique(tag: &str) -> Option<String> {
    let tag = tag.to_ascii_lowercase();
    let number = tag.strip_prefix("attack.t")?;
    number.starts_with(|c: char| c.is_ascii_digit()).then(|| format!("T{number}"))
}

/// The techniques as a layer. A technique's score is how many rules are about it.
fn layer_of(by_technique: &BTreeMap<String, Vec<&Rule>>) -> Value {
    let techniques: Vec<Value> = by_technique
        .iter()
        .map(|(technique, rules)| {
            let mut titles: Vec<&str> = rules.iter().map(|rule| rule.title.as_str()).collect();
            titles.sort_unstable();
            let highest = highest(rules).map(|level| level.to_string()).unwrap_or_default();
            json!({
                "techniqueID": technique,
                "score": rules.len(),
                "comment": titles.join("\n"),
                "enabled": true,
                "metadata": [{"name": "highest level", "value": highest}],
                "showSubtechniques": technique.contains('.'),
            })
        })
        .collect();
    let version = attack::version().split('.').next();
    let most = by_technique.values().map(Vec::len).max().unwrap_or(1);
    json!({
        "name": "cloudvigil",
        "versions": {"attack": version, "navigator": "5.1.0", "layer": "4.5"},
        "domain": "enterprise-attack",
        "description": "What the rules of cloudvigil are about; the score is the number of rules",
        "techniques": techniques,
        "gradient": {"colors": ["#ffffff", "#66b1ff"], "minValue": 0, "maxValue": most},
        "sorting": 3,
        "hideDisabled": false,
    })
}
