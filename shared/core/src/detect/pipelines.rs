//! Processing pipelines in pySigma's form: field names and log sources of user rules, mapped to those of the records.
//!
//! A pipeline is a YAML file among the rules that has `transformations`. It holds for the rules, correlations and filters
//! of its folder and of the folders in it; several hold by their `priority`, the lowest first. See
//! <https://sigmahq-pysigma.readthedocs.io/en/latest/Processing_Pipelines.html>.
//!
//! rsigma passes over keys that it does not know, and does some of what it knows otherwise than pySigma. So a pipeline is
//! read here ([`form`]), and what cannot be done as pySigma does it is refused: no pipeline is applied in part.

mod apply;
mod conditions;
mod form;

use std::collections::HashSet;

use rsigma_parser::{Detection, Detections, FilterRule, LogSource, SigmaRule, parse_sigma_yaml};
use yaml_serde::Value;

use super::load::{line_of, plain, too_many_open};
use super::{Problem, RuleFile, dialect, fields};

/// All pipelines among the rule files.
#[derive(Default)]
pub(super) struct Pipelines {
    /// The files that are pipelines, sound or not.
    files: HashSet<String>,
    /// By priority, then file: the folder that each holds for.
    by_folder: Vec<(String, apply::Pipeline)>,
    /// The built-in rules' files, which no pipeline of a user's holds for.
    built_in: HashSet<String>,
}

impl Pipelines {
    /// Finds the pipelines among files.
    pub(super) fn among(files: &[RuleFile]) -> (Self, Vec<Problem>) {
        let mut pipelines = Self::default();
        let mut problems = Vec::new();
        for file in files.iter().filter(|file| !file.is_built_in() && is_pipeline(file.text())) {
            pipelines.files.insert(file.name.clone());
            match form::parse(file.text()) {
                Ok(pipeline) => pipelines.by_folder.push((folder(&file.name).to_owned(), pipeline)),
                Err(reason) => {
                    let line = line_of(file.text(), &reason);
                    let reason = format!("this processing pipeline is not applied: {}", plain(&reason));
                    let file = file.name.clone();
                    problems.push(Problem { file, line, reason, is_harmless: true, ..Problem::default() });
                }
            }
        }
        pipelines.by_folder.sort_by_key(|(_, pipeline)| pipeline.priority);
        if !pipelines.by_folder.is_empty() {
            let built_in = files.iter().filter(|file| file.is_built_in());
            pipelines.built_in = built_in.map(|file| file.name.clone()).collect();
        }
        (pipelines, problems)
    }

    /// Whether a file is a pipeline.
    pub(super) fn has(&self, file: &str) -> bool {
        self.files.contains(file)
    }

    /// Applies to a rule the pipelines that hold for its file.
    pub(super) fn apply(&self, file: &str, rule: &mut SigmaRule) -> Result<(), String> {
        apply::apply(&self.of(file), rule)
    }

    /// What a field is called in records of this log source, where a correlation of this file names it so.
    pub(super) fn field(&self, file: &str, log_source: &LogSource, name: &str) -> Result<String, String> {
        let pipelines = self.of(file);
        if pipelines.is_empty() {
            return Ok(name.to_owned());
        }
        // Pipelines know rules: the name goes through them as a rule's field.
        let rule = mapped(&pipelines, empty(name)?.detection, log_source.clone())?;
        let names = rule.detection.named.get(SELECTION).map(fields::of).unwrap_or_default();
        Ok(names.into_iter().next().unwrap_or_else(|| name.to_owned()))
    }

    /// A filter, with the pipelines that hold for its file applied. An error: no rule can be made of it.
    pub(super) fn for_filter(&self, file: &str, filter: &FilterRule) -> Result<FilterRule, String> {
        let mut filter = filter.clone();
        dialect::spell_out(&mut filter.detection);
        let rule = mapped(&self.of(file), filter.detection, filter.logsource.clone().unwrap_or_default())?;
        let mut translated = rule.clone();
        dialect::translate(&mut translated.detection)?;
        rsigma_eval::compile_rule(&translated).map_err(|error| error.to_string())?;
        filter.detection = rule.detection;
        filter.logsource = filter.logsource.map(|_| rule.logsource);
        Ok(filter)
    }

    /// The pipelines that hold for a file.
    fn of(&self, file: &str) -> Vec<&apply::Pipeline> {
        if self.built_in.contains(file) {
            return Vec::new();
        }
        let place = folder(file);
        let holds = |own: &str| {
            own.is_empty() || place.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.by_folder.iter().filter(|(own, _)| holds(own)).map(|(_, pipeline)| pipeline).collect()
    }
}

/// The one selection of [`empty`].
const SELECTION: &str = "selection";

/// A rule that says nothing but of this field.
fn empty(field: &str) -> Result<SigmaRule, String> {
    let text = "title: empty\nlogsource: {}\ndetection: {selection: {field: value}, condition: selection}\n";
    let collection = parse_sigma_yaml(text).map_err(|error| error.to_string())?;
    let mut rule = collection.rules.into_iter().next().ok_or("no rule can be made of it")?;
    if let Some(Detection::AllOf(items)) = rule.detection.named.get_mut(SELECTION) {
        for item in items {
            item.field.name = Some(field.to_owned());
        }
    }
    Ok(rule)
}

/// A rule of this detection and log source, after these pipelines.
fn mapped(pipelines: &[&apply::Pipeline], detection: Detections, logsource: LogSource) -> Result<SigmaRule, String> {
    let mut rule = SigmaRule { detection, logsource, ..empty("field")? };
    apply::apply(pipelines, &mut rule)?;
    Ok(rule)
}

/// The folder of a file, without a `/` at its end.
fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn is_pipeline(text: &str) -> bool {
    // Rules are many and pipelines few: only what may be one is parsed for it.
    let may_be = text.lines().any(|line| line.trim_start_matches(['{', '"', '\'', ' ']).starts_with("transformations"));
    may_be
        && too_many_open(text).is_none()
        && yaml_serde::from_str::<Value>(text).is_ok_and(|value| value.get("transformations").is_some())
}
