//! The rules that a command runs: the built-in ones, the user's, or both.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cloudvigil_core::config::Config;
use cloudvigil_core::detect::{Catalogue, Placeholders, Problem, RuleFile};
use walkdir::WalkDir;

use crate::arguments::RuleOptions;
use crate::terminal;

/// The configuration, where none is named.
const DEFAULT_CONFIGURATION: &str = "cloudvigil.toml";

/// Loads the rules that were asked for, the built-in ones without their tests. A malformed rule is told and left out; a
/// folder in which no rule loads is an error.
pub fn load(options: &RuleOptions) -> Result<Catalogue> {
    load_beside(Catalogue::built_in_files_without_tests, options)
}

/// Loads the rules that were asked for, with their tests.
pub fn load_with_tests(options: &RuleOptions) -> Result<Catalogue> {
    load_beside(Catalogue::built_in_files, options)
}

fn load_beside(built_in: fn() -> Vec<RuleFile>, options: &RuleOptions) -> Result<Catalogue> {
    let mut files = if options.no_default_rules { Vec::new() } else { built_in() };
    let mut given = Vec::new();
    for path in &options.rules {
        let (own, problems) = read(path)?;
        for problem in &problems {
            terminal::warning(&problem.to_string());
        }
        given.push((path, own.iter().map(|file| file.name.clone()).collect::<HashSet<_>>()));
        files.extend(own);
    }
    let (catalogue, problems) = Catalogue::load_with(files, &placeholders(options.configuration.as_deref())?);
    for problem in &problems {
        terminal::warning(&format!("{problem}; this rule does not run"));
    }
    for (path, names) in given {
        if !catalogue.rules().iter().any(|rule| names.contains(&rule.file)) {
            bail!("--rules {}: no rule in it can be loaded", path.display());
        }
    }
    if catalogue.rules().is_empty() {
        bail!("there are no rules to run: name some with --rules, or leave --no-default-rules out");
    }
    Ok(catalogue)
}

/// What placeholders in rules stand for, by this configuration, or the one that lies here.
pub fn placeholders(configuration: Option<&Path>) -> Result<Placeholders> {
    let here = Path::new(DEFAULT_CONFIGURATION);
    let Some(path) = configuration.or_else(|| here.exists().then_some(here)) else { return Ok(Placeholders::new()) };
    let shown = path.display().to_string();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the configuration {shown}"))?;
    Ok(Config::placeholders(&shown, &text)?)
}

/// The rule files of a folder, or one file, by path; and those that could not be read.
pub fn read(path: &Path) -> Result<(Vec<RuleFile>, Vec<Problem>)> {
    let shown = path.display();
    let metadata = fs::metadata(path).with_context(|| format!("cannot read the rules in {shown}"))?;
    if !metadata.is_dir() {
        let file = file(path).with_context(|| format!("cannot read the rules in {shown}"))?;
        return Ok((vec![file], Vec::new()));
    }
    fs::read_dir(path).with_context(|| format!("cannot read the rules in {shown}"))?;
    let mut files = Vec::new();
    let mut problems = Vec::new();
    let mut problem = |path: &Path, reason: String| {
        problems.push(Problem { file: path.display().to_string(), reason, ..Problem::default() });
    };
    for entry in WalkDir::new(path).follow_links(true).sort_by_file_name() {
        match entry {
            Ok(entry) if entry.file_type().is_file() && is_rule_file(entry.path()) => match file(entry.path()) {
                Ok(file) => files.push(file),
                Err(error) => problem(entry.path(), format!("{error:#}")),
            },
            Ok(_) => {}
            Err(error) => problem(error.path().unwrap_or(path), error.to_string()),
        }
    }
    Ok((files, problems))
}

fn is_rule_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml")
}

fn file(path: &Path) -> Result<RuleFile> {
    let bytes = fs::read(path)?;
    let text = String::from_utf8(bytes).ok().context("it is not UTF-8")?;
    Ok(RuleFile { name: path.display().to_string(), text: Cow::Owned(text) })
}
