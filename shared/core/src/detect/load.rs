//! Sigma YAML to rules. What cannot be loaded is reported by file, line and reason; the others are loaded.

mod correlation;
mod documents;
mod header;
mod prepared;
mod simple;

use std::collections::BTreeMap;
use std::fmt;

pub(super) use documents::too_many_open;
pub(super) use prepared::{Prepared, read as read_prepared};
pub(super) use simple::names_something;

use rsigma_parser::{LogSource, SigmaCollection};
use serde::Serialize;
use sha2::{Digest, Sha256};
use yaml_serde::Value;

use self::correlation::Target;
use self::documents::Document;
use super::embedded::Embedded;
use super::filters::Filters;
use super::pipelines::Pipelines;
use super::placeholders::Placeholders;
use super::words::Words;
use super::{Cases, Catalogue, Rule};
use crate::finding::Guidance;
use crate::rule_files::too_long;

/// What conditions had behind a `|` in the first version of the specification.
const COUNTING: [&str; 6] = ["| count(", "| min(", "| max(", "| avg(", "| sum(", "| near "];

/// The most letters of a reason.
const MAX_REASON: usize = 400;

/// How what rsigma warns of begins, and what becomes of the rule.
const WARNINGS: [(&str, &str); 4] = [
    ("invalid level", "the rule runs as informational"),
    ("invalid status", "the rule runs without a status"),
    ("invalid sigma-version", "the rule runs as one of this version"),
    ("related", "the rule runs all the same"),
];

/// A file of rules.
#[derive(Debug, Clone)]
pub struct RuleFile {
    /// Its path, for messages.
    pub name: String,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    /// A user's.
    Text(String),
    /// A built-in file's, as it stands.
    Whole(&'static str),
    /// A built-in file's, without the rules' tests. Told apart here, and not by a value, so that a binary that never asks
    /// for the tests does not hold them.
    WithoutTests(&'static Embedded),
}

impl RuleFile {
    /// A user's file: its path, for messages, and its content.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let mut text = text.into();
        // Some editors begin a file with one, and rsigma takes it for a document.
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Self { name: name.into(), content: Content::Text(text) }
    }

    pub(super) fn whole(name: &str, text: &'static str) -> Self {
        Self { name: name.to_owned(), content: Content::Whole(text) }
    }

    pub(super) fn without_tests(name: &str, file: &'static Embedded) -> Self {
        Self { name: name.to_owned(), content: Content::WithoutTests(file) }
    }

    /// Its content.
    pub fn text(&self) -> &str {
        match &self.content {
            Content::Text(text) => text,
            Content::Whole(text) => text,
            Content::WithoutTests(file) => file.without_tests(),
        }
    }

    /// Whether it is one of the built-in ones: of the name alone a user's file may be, too.
    pub(super) fn is_built_in(&self) -> bool {
        matches!(self.content, Content::Whole(_) | Content::WithoutTests(_))
    }
}

/// What was not loaded, or not as it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line in it, from 1, where that is known.
    pub line: Option<usize>,
    /// The rule's id or title, where that was readable.
    pub rule: Option<String>,
    /// What is wrong.
    pub reason: String,
    /// Whether nothing is left out for it: a rule runs all the same, or it is of no rule.
    pub is_harmless: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if let Some(rule) = &self.rule {
            write!(f, "{rule}: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// Loads rules; `placeholders` are what `|expand` fills in.
pub(super) fn load(files: &[RuleFile], placeholders: &Placeholders) -> (Catalogue, Vec<Problem>) {
    let mut loader = Loader::new(files, placeholders);
    for file in files {
        loader.file(file);
    }
    simple::load(&mut loader);
    correlation::load(&mut loader);
    (loader.catalogue, loader.problems)
}

/// What is being loaded.
struct Loader<'p> {
    catalogue: Catalogue,
    problems: Vec<Problem>,
    placeholders: &'p Placeholders,
    pipelines: Pipelines,
    filters: Filters,
    /// Simple rules, which wait until all filters are read.
    simple: Vec<simple::Waiting>,
    /// Correlations, which wait until all simple rules are loaded.
    correlations: Vec<correlation::Waiting>,
    /// What the simple rules' log sources are called before any pipeline changes them, by the rules' numbers.
    log_sources: Vec<LogSource>,
    /// Rules by their Sigma `name`, by which correlations and filters may refer to them too: the file and the rule.
    names: BTreeMap<String, Vec<(String, Target)>>,
}

impl<'p> Loader<'p> {
    fn new(files: &[RuleFile], placeholders: &'p Placeholders) -> Self {
        let (pipelines, problems) = Pipelines::among(files);
        Self {
            catalogue: Catalogue::default(),
            problems,
            placeholders,
            pipelines,
            filters: Filters::default(),
            simple: Vec::new(),
            correlations: Vec::new(),
            log_sources: Vec::new(),
            names: BTreeMap::new(),
        }
    }

    fn problem(&mut self, file: &str, line: Option<usize>, rule: Option<&str>, reason: impl AsRef<str>) {
        let (file, rule, told) = (file.to_owned(), rule.map(str::to_owned), reason.as_ref());
        let mut reason = plain(told);
        if let Some(place) = reason.strip_prefix("Condition parse error at 1:") {
            reason = of_condition(place);
            // The condition itself stands in what was told.
            let has = |words: &[&str]| words.iter().any(|word| told.contains(word));
            if has(&COUNTING) {
                reason
                    .push_str("; conditions no longer count since version 2 of the specification: write a correlation");
            } else if has(&[" AND ", " OR ", "NOT "]) {
                reason.push_str("; `and`, `or` and `not` are written in small letters");
            }
        }
        self.problems.push(Problem { file, line, rule, reason, is_harmless: false });
    }

    /// A problem for which no rule is left out.
    fn harmless(&mut self, file: &str, line: Option<usize>, rule: Option<&str>, reason: impl AsRef<str>) {
        self.problem(file, line, rule, reason);
        if let Some(problem) = self.problems.last_mut() {
            problem.is_harmless = true;
        }
    }

    fn file(&mut self, file: &RuleFile) {
        if let Content::WithoutTests(own) = file.content
            && let Some(rules) = own.prepared()
        {
            return rules.into_iter().for_each(|(rule, lowered)| self.prepared(file, own, rule, lowered));
        }
        if let Some((line, reason)) = too_long(file.text().as_bytes()) {
            return self.problem(&file.name, Some(line), None, reason);
        }
        if !self.pipelines.has(&file.name) {
            self.read(file);
        }
    }

    fn read(&mut self, file: &RuleFile) {
        let mut rules = 0;
        let before = self.problems.len();
        for document in documents::split(file.text()) {
            match document.parse() {
                Ok(collection) => {
                    rules += collection.len();
                    self.document(&file.name, &document, collection);
                }
                Err((line, reason)) => self.problem(&file.name, line, None, reason),
            }
        }
        if rules == 0 && self.problems.len() == before {
            self.problem(&file.name, None, None, "there is no rule in this file");
        }
    }

    fn document(&mut self, file: &str, document: &Document, collection: SigmaCollection) {
        for error in &collection.errors {
            let line = document.line_of(error);
            match WARNINGS.iter().find(|(start, _)| error.starts_with(start)) {
                Some((_, becomes)) => self.harmless(file, line, None, format!("{error}; {becomes}")),
                None => self.problem(file, line, None, error),
            }
        }
        let ids = collection.rules.iter().map(|rule| (&rule.id, &rule.title));
        let ids = ids.chain(collection.correlations.iter().map(|rule| (&rule.id, &rule.title)));
        for (_, title) in ids.filter(|(id, _)| id.is_none()) {
            if let Some(line) = document.line_of_id() {
                let reason = "the id is no text, and is left out: put a UUID there, or quotes around it";
                self.harmless(file, Some(line), Some(title), reason);
            }
        }
        let needs_value = collection.filters.len() + collection.correlations.len() > 0;
        let value = if needs_value { document.value() } else { Value::Null };
        for rule in &collection.filters {
            let place = document.line_of_rule();
            let filter = self.pipelines.for_filter(file, rule);
            if let Err(reason) = filter.and_then(|filter| self.filters.add(filter, &value, file, place)) {
                let line = document.line_of(&reason);
                self.harmless(file, line, Some(&rule.title), format!("this filter is not applied: {reason}"));
            }
        }
        for rule in collection.rules {
            let line = document.line_of_rule();
            let (file, document) = (file.to_owned(), document.clone());
            self.simple.push(simple::Waiting::Read { file, line, document, rule: Box::new(rule) });
        }
        for rule in collection.correlations {
            let has_condition = value.get("correlation").is_some_and(|own| own.get("condition").is_some());
            self.correlations.push(correlation::Waiting::read(file, document.line_of_rule(), rule, has_condition));
        }
    }

    /// A rule that was read before.
    fn prepared(&mut self, file: &RuleFile, own: &'static Embedded, rule: Prepared, lowered: &'static str) {
        match rule {
            Prepared::Simple(mut rule) => {
                rule.header.words = Words::later(own);
                let (file, rule) = (file.clone(), Box::new(rule));
                self.simple.push(simple::Waiting::Prepared { file, rule, lowered });
            }
            Prepared::Correlation(mut rule) => {
                rule.header.words = Words::later(own);
                let (file, cases) = (file.name.clone(), Cases::default());
                self.correlations.push(correlation::Waiting { file, rule, cases, fault: None });
            }
        }
    }

    fn add(&mut self, rule: Rule) -> Result<usize, String> {
        if let Some(other) = self.catalogue.by_id.get(&rule.id) {
            let file = &self.catalogue.rules[*other].file;
            return Err(format!("the id is taken by a rule in {file}; this one is not loaded"));
        }
        let number = self.catalogue.rules.len();
        self.catalogue.by_id.insert(rule.id.clone(), number);
        self.catalogue.rules.push(rule);
        self.catalogue.uses.push(Vec::new());
        Ok(number)
    }

    /// Notes a rule's name. A name is unique at least in its file; elsewhere it may be taken, and is then no reference.
    fn name(&mut self, file: &str, line: Option<usize>, rule: &str, name: &str, target: Target) {
        let taken = self.names.entry(name.to_owned()).or_default();
        let other = taken.first().map(|(file, _)| file.clone());
        taken.push((file.to_owned(), target));
        if let Some(other) = other {
            let reason = format!("the name '{name}' is taken by a rule in {other}: from other files, refer to the id");
            self.harmless(file, line, Some(rule), reason);
        }
    }

    /// What a simple rule is called: its id and its name.
    fn names_of(&self, number: usize) -> Vec<String> {
        let is_it =
            |targets: &Vec<(String, Target)>| targets.iter().any(|(_, target)| *target == Target::Simple(number));
        let names = self.names.iter().filter(|(_, targets)| is_it(targets)).map(|(name, _)| name.clone());
        std::iter::once(self.catalogue.rules[number].id.clone()).chain(names).collect()
    }

    /// What a reference in a file stands for: an id, a name in the same file, or a name that only one rule has.
    fn resolve(&self, file: &str, reference: &str, waiting: &[correlation::Waiting]) -> Result<Target, String> {
        // A correlation that was loaded before is in the catalogue too, and no leaf.
        let simple = self.catalogue.by_id.get(reference).copied();
        let simple = simple.filter(|number| self.catalogue.rules[*number].detection.is_some());
        if let Some(number) = simple {
            return Ok(Target::Simple(number));
        }
        if let Some(place) = waiting.iter().position(|other| other.rule.id() == Some(reference)) {
            return Ok(Target::Correlation(place));
        }
        let named = self.names.get(reference).map(Vec::as_slice).unwrap_or_default();
        match (named.iter().find(|(other, _)| other == file), named) {
            (Some((_, target)), _) | (None, [(_, target)]) => Ok(*target),
            (None, []) => Err(format!("there is no rule '{reference}', or it was not loaded")),
            (None, several) => Err(format!("{} rules have the name '{reference}': refer to the id", several.len())),
        }
    }
}

/// Where a condition cannot be read, and what could stand there, without the names that its parser has for it.
fn of_condition(place: &str) -> String {
    let (character, expected) = place.split_once(": expected ").unwrap_or((place, ""));
    let mut words: Vec<&str> = expected.split([',', ' ']).filter(|word| !word.is_empty() && *word != "or").collect();
    for word in &mut words {
        *word = match *word {
            "EOI" => "its end",
            "and_op" => "`and`",
            "or_op" => "`or`",
            "not_op" => "`not`",
            "of_kw_inner" => "`of`",
            "quantifier" => "`1 of`, `all of`",
            "ident" | "expr" => "a selection's name",
            "selector_target" => "`them` or names such as `selection*`",
            other => other,
        };
    }
    words.sort_unstable();
    format!("the condition cannot be read from its character {character} on, where there could be {}", words.join(", "))
}

/// A reason in one line of a length that can be read. The parser of conditions draws pictures of several lines, in which
/// the whole condition stands.
pub(super) fn plain(reason: &str) -> String {
    // rsigma says so of all that has no words of its own.
    let reason = reason.strip_prefix("invalid modifier combination: ").unwrap_or(reason);
    let lines = reason.lines().map(|line| line.split("-->").next().unwrap_or_default().trim());
    let is_picture = |line: &str| {
        line.is_empty()
            || line.starts_with('|')
            || line.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with(" |")
    };
    let said = lines.filter(|line| !is_picture(line)).map(|line| line.trim_start_matches("= "));
    let mut plain = said.collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = plain.char_indices().nth(MAX_REASON) {
        plain.truncate(end);
        plain.push('…');
    }
    plain
}

/// The line of a file that a reason speaks of, where that can be known.
pub(super) fn line_of(text: &str, reason: &str) -> Option<usize> {
    documents::split(text).first()?.line_of(reason)
}

/// The words for people of the rule with this id in a file.
pub(super) fn guidance(text: &str, id: &str) -> Option<Guidance> {
    let is_it = |other: &Option<String>| other.as_deref() == Some(id);
    documents::split(text).iter().find_map(|document| {
        let SigmaCollection { rules, correlations, .. } = document.parse().ok()?;
        let simple = rules.iter().find(|rule| is_it(&rule.id)).map(|rule| header::words_of!(rule).0);
        simple.or_else(|| correlations.iter().find(|rule| is_it(&rule.id)).map(|rule| header::words_of!(rule).0))
    })
}

fn text(value: Option<&Value>, name: &str) -> Result<String, String> {
    match value {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.trim().to_owned()),
        Some(_) => Err(format!("`{name}` must be text")),
    }
}

/// 16 hexadecimal digits over the value's JSON, whose keys are sorted on the way.
fn logic_hash(logic: &impl Serialize) -> Result<String, String> {
    let value = serde_json::to_value(logic).map_err(|error| error.to_string())?;
    Ok(crate::correlate::hex(&Sha256::digest(value.to_string().as_bytes())[..8]))
}

#[cfg(test)]
mod tests;
