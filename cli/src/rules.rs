//! What a command goes by: the rules, built-in, the user's or both, and the configuration.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use cloudvigil_aws::{Clients, S3Objects};
use cloudvigil_core::config::Config;
use cloudvigil_core::detect::{Catalogue, Problem, RuleFile, idle};
use cloudvigil_core::pipeline::Options;
use cloudvigil_core::ports::{Clock, ObjectId, ObjectStore};
use cloudvigil_core::rule_files::{self, RuleFiles};
use cloudvigil_core::suppression::Suppressions;
use cloudvigil_local::Files;

use crate::arguments::RuleOptions;
use crate::{analysis, terminal};

/// The configuration, where none is named.
const DEFAULT_CONFIGURATION: &str = "cloudvigil.toml";
/// What an address in S3 begins with.
const S3: &str = "s3://";

/// The rules and the configuration.
pub struct Rules {
    /// The rules.
    pub catalogue: Catalogue,
    config: Config,
    has_built_in: bool,
}

impl Rules {
    /// Options of the pipeline, with what the configuration says of cloudvigil's own.
    pub fn options(&self, options: Options) -> Options {
        let own = self.config.own.clone();
        Options { own_resources: own.resources, deploying_roles: own.deploying_roles, ..options }
    }

    /// The suppressions. Those that do nothing, or nothing any more, are told.
    pub fn suppressions(&self, clock: &dyn Clock) -> &Suppressions {
        let suppressions = &self.config.suppressions;
        for expired in suppressions.expired(clock.now()) {
            terminal::warning(&format!("{}: expired at {}, and no longer holds", expired.told(), expired.expires));
        }
        // Without the built-in rules it may be about one of these.
        for useless in suppressions.without_rule(&self.catalogue).filter(|_| self.has_built_in) {
            terminal::warning(&format!("{}: there is no such rule", useless.told()));
        }
        suppressions
    }
}

/// Loads the rules that were asked for, the built-in ones without their tests. A malformed rule is told and left out; a
/// folder in which no rule loads is an error.
pub fn load(options: &RuleOptions) -> Result<Rules> {
    load_beside(Catalogue::built_in_files_without_tests, options)
}

/// Loads the rules that were asked for, with their tests.
pub fn load_with_tests(options: &RuleOptions) -> Result<Rules> {
    load_beside(Catalogue::built_in_files, options)
}

fn load_beside(built_in: fn() -> Vec<RuleFile>, options: &RuleOptions) -> Result<Rules> {
    let has_built_in = !options.no_default_rules;
    let mut files = if has_built_in { built_in() } else { Vec::new() };
    let mut given = Vec::new();
    for path in &options.rules {
        let (own, problems) = read(path)?;
        for problem in &problems {
            terminal::warning(&problem.to_string());
        }
        given.push((path, own.iter().map(|file| file.name.clone()).collect::<HashSet<_>>()));
        files.extend(own);
    }
    let config = configuration(options.configuration.as_deref())?;
    let (catalogue, problems) = Catalogue::load_with(files, &config.placeholders);
    for problem in &problems {
        let consequence = if problem.is_harmless { "" } else { "; this rule does not run" };
        terminal::warning(&format!("{problem}{consequence}"));
    }
    for (path, names) in given {
        let mut own = catalogue.rules().iter().filter(|rule| names.contains(&rule.file)).peekable();
        if own.peek().is_none() {
            bail!("--rules {}: no rule in it can be loaded", path.display());
        }
        if let Some(idle) = idle(own) {
            terminal::warning(&format!("--rules {}: {idle}", path.display()));
        }
    }
    if catalogue.rules().is_empty() {
        bail!("there are no rules to run: name some with --rules, or leave --no-default-rules out");
    }
    Ok(Rules { catalogue, config, has_built_in })
}

/// This configuration, or the one that lies here, or what holds without any.
pub fn configuration(path: Option<&Path>) -> Result<Config> {
    let here = Path::new(DEFAULT_CONFIGURATION);
    let Some(path) = path.or_else(|| here.exists().then_some(here)) else { return Ok(Config::default()) };
    let shown = path.display().to_string();
    let id = match shown.strip_prefix(S3).map(|rest| rest.split_once('/').unwrap_or((rest, ""))) {
        Some((bucket, key)) => object_id(&shown, bucket, key),
        None => object_id(&shown, "", &shown),
    };
    let text = analysis::runtime()?.block_on(rule_files::configuration(store_of(&shown).as_ref(), &id));
    let text = text.map_err(|error| error.source);
    let text =
        text.map_err(|why| anyhow::anyhow!("cannot read the configuration {shown}; name one with --config: {why}"))?;
    Ok(Config::parse(&shown, &text)?)
}

fn object_id(source: &str, bucket: &str, key: &str) -> ObjectId {
    ObjectId { source: source.to_owned(), bucket: bucket.to_owned(), key: key.to_owned(), version: None }
}

fn store_of(address: &str) -> Box<dyn ObjectStore> {
    if address.starts_with(S3) { Box::new(S3Objects::new(Arc::new(Clients::new()))) } else { Box::new(Files) }
}

/// The rule files of a folder or below a prefix of S3, or one file, by path; and those that could not be read.
pub fn read(path: &Path) -> Result<(Vec<RuleFile>, Vec<Problem>)> {
    let shown = path.display().to_string();
    let read = analysis::runtime()?.block_on(RuleFiles::read(store_of(&shown).as_ref(), &shown));
    let read = read.map_err(|error| anyhow::anyhow!(error.source));
    let RuleFiles { files, mut problems, errors } =
        read.with_context(|| format!("cannot read the rules in {shown}"))?;
    if !path.is_dir() && !shown.starts_with(S3) {
        // It was meant, and nothing else.
        if let Some(problem) = problems.first() {
            bail!("cannot read the rules in {problem}");
        }
    }
    problems.extend(errors.into_iter().map(|error| Problem {
        file: shown.clone(),
        reason: error.to_string(),
        ..Problem::default()
    }));
    Ok((files, problems))
}
