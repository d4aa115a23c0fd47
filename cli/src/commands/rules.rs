//! `cloudvigil rules`.

mod coverage;
mod show;
mod techniques;

use std::path::Path;

use anyhow::{Result, bail};
use cloudvigil_core::detect::{Catalogue, Placeholders, Problem, Rule, RuleFile, lint, run_cases};
use comfy_table::Cell;
use serde_json::json;

use crate::arguments::{Rules, TextOutput};
use crate::destination::Destination;
use crate::ending::Ending;
use crate::output::json;
use crate::rules;
use crate::terminal::{self, Sheet};

/// Runs it.
pub fn run(arguments: Rules) -> Result<Ending> {
    match arguments {
        Rules::List { output, rules } => list(&rules::load(&rules)?.catalogue, output),
        Rules::Show { id, rules } => show::run(&rules::load(&rules)?.catalogue, &id),
        Rules::Lint { dir } => check(dir.as_deref(), Check::Lint),
        Rules::Test { dir } => check(dir.as_deref(), Check::Test),
        Rules::Coverage { list: None, layer, rules } => {
            techniques::run(&rules::load(&rules)?.catalogue, layer.as_deref())
        }
        Rules::Coverage { list: Some(list), rules, .. } => {
            coverage::run(&rules::load_with_tests(&rules)?.catalogue, &list)
        }
    }
}

fn list(catalogue: &Catalogue, output: TextOutput) -> Result<Ending> {
    let mut sorted: Vec<&Rule> = catalogue.rules().iter().collect();
    sorted.sort_by(|one, other| (other.level, &one.title).cmp(&(one.level, &other.title)));
    let mut to = Destination::open(None)?;
    match output {
        TextOutput::Table => {
            let narrow = terminal::is_narrow(to.is_shown());
            let headings: &[&str] = if narrow {
                &["Level", "Title and id", "Log source"]
            } else {
                &["Level", "Title", "Id", "Log source", "One finding for each"]
            };
            let mut sheet = Sheet::new(headings, to.is_shown());
            for rule in &sorted {
                let (title, id) = (terminal::line(&rule.title), terminal::line(&rule.id));
                let source = Cell::new(terminal::line(&log_source(catalogue, rule)));
                sheet.row(if narrow {
                    vec![terminal::level(rule.level), Cell::new(format!("{title}\n{id}")), source]
                } else {
                    let group = Cell::new(terminal::line(&group(rule)));
                    vec![terminal::level(rule.level), Cell::new(title), Cell::new(id), source, group]
                });
            }
            sheet.whole(if narrow { &[0] } else { &[0, 2] });
            to.write(|writer| writeln!(writer, "{sheet}{} rules", sorted.len()))?;
        }
        TextOutput::Json => {
            for rule in &sorted {
                let line = json!({
                    "id": rule.id,
                    "title": rule.title,
                    "level": rule.level,
                    "log_source": log_source(catalogue, rule),
                    "group_by": rule.group_by,
                    "reports": rule.reports,
                    "status": rule.status,
                    "tags": rule.tags,
                    "file": rule.file,
                });
                to.write(|writer| json::value(&line, writer))?;
            }
        }
    }
    to.flush()?;
    Ok(Ending::Done)
}

/// The log sources that a rule asks for, as one text; for a correlation, those of the rules that it counts.
fn log_source(catalogue: &Catalogue, rule: &Rule) -> String {
    log_sources(catalogue, rule).join(", ")
}

fn log_sources(catalogue: &Catalogue, rule: &Rule) -> Vec<String> {
    let of = |rule: &Rule| rule.detection.as_ref().map(|detection| detection.log_source.to_string());
    let mut all: Vec<String> =
        of(rule).into_iter().chain(rule.leaves.iter().filter_map(|leaf| of(catalogue.rule(leaf.rule)))).collect();
    all.sort();
    all.dedup();
    all
}

/// What tells a rule's findings apart.
fn group(rule: &Rule) -> String {
    match &rule.group_by {
        _ if !rule.reports => "none: counted by other rules".to_owned(),
        None => "default".to_owned(),
        Some(names) if names.is_empty() => "bucket of time".to_owned(),
        Some(names) => names.join(", "),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    Lint,
    Test,
}

/// Lints or tests the rules of a folder, or the built-in ones.
fn check(dir: Option<&Path>, check: Check) -> Result<Ending> {
    let (files, mut problems) = match dir {
        Some(dir) => rules::read(dir)?,
        None => (Catalogue::built_in_files(), Vec::new()),
    };
    if files.is_empty() && problems.is_empty() {
        bail!(
            "there is no rule file in {}",
            dir.map_or_else(|| "this build".to_owned(), |dir| dir.display().to_string())
        );
    }
    let (catalogue, unloaded) = load_beside_built_in(files, dir.is_some(), &rules::configuration(None)?.placeholders);
    problems.extend(unloaded.problems);
    let mut ran = 0;
    for rule in unloaded.numbers.iter().map(|number| catalogue.rule(*number)) {
        if check == Check::Test {
            let (cases, failures) = run_cases(&catalogue, rule);
            ran += cases;
            problems.extend(failures.into_iter().map(|failure| Problem {
                file: rule.file.clone(),
                rule: Some(failure.rule),
                reason: format!("test '{}': {}", failure.case, failure.reason),
                ..Problem::default()
            }));
        }
    }
    if check == Check::Lint {
        let names: std::collections::HashSet<&str> =
            unloaded.numbers.iter().map(|number| catalogue.rule(*number).file.as_str()).collect();
        problems.extend(lint(&catalogue).into_iter().filter(|problem| names.contains(problem.file.as_str())));
    }
    let mut to = Destination::open(None)?;
    for problem in &problems {
        to.write(|writer| writeln!(writer, "{}", terminal::line(&problem.to_string())))?;
    }
    let (rules, found) = (unloaded.numbers.len(), problems.len());
    to.write(|writer| match check {
        Check::Lint => writeln!(writer, "{}, {}", number(rules, "rule"), number(found, "problem")),
        Check::Test => {
            writeln!(writer, "{}, {}, {}", number(rules, "rule"), number(ran, "test"), number(found, "problem"))
        }
    })?;
    to.flush()?;
    Ok(if problems.is_empty() { Ending::Done } else { Ending::Reached })
}

struct Loaded {
    numbers: Vec<usize>,
    problems: Vec<Problem>,
}

/// `1 rule`, `2 rules`.
fn number(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// Loads rules. Those of a user may count built-in rules, so these are there too; where an id is taken by both, the
/// user's rule is the one that is looked at.
fn load_beside_built_in(files: Vec<RuleFile>, with_built_in: bool, placeholders: &Placeholders) -> (Catalogue, Loaded) {
    let names: std::collections::HashSet<String> = files.iter().map(|file| file.name.clone()).collect();
    let own = |name: &str| names.contains(name);
    let mut all = files;
    if with_built_in {
        all.extend(Catalogue::built_in_files());
    }
    let (catalogue, problems) = Catalogue::load_with(all, placeholders);
    let numbers = (0..catalogue.rules().len()).filter(|number| own(&catalogue.rule(*number).file)).collect();
    let problems = problems.into_iter().filter(|problem| own(&problem.file)).collect();
    (catalogue, Loaded { numbers, problems })
}
