//! Rules: loaded from Sigma YAML, compiled, matched against records; their own tests and their lint.
//!
//! This is the one module that names rsigma, which parses, compiles and matches a rule. What a match then counts
//! towards is [`crate::correlate`]'s work.

mod cases;
mod compiled;
mod dialect;
mod embedded;
mod event;
mod events;
mod fields;
mod filters;
mod index;
mod lint;
mod load;
mod pipelines;
mod placeholders;
mod tree;
mod values;
mod words;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

pub use cases::{Case, CaseFailure, Cases, Outcome, Run, run_case, run_cases};
pub use events::{EventName, EventQuery};
pub use index::{Answers, Found, Index};
pub use lint::{idle, lint};
pub use load::{Problem, RuleFile};
pub use placeholders::Placeholders;
pub use values::ValueOf;

use compiled::Compiled;
use event::RecordEvent;
use rsigma_eval::CompiledRule;
use rsigma_eval::compiler::eval_condition;
use words::Words;

use crate::correlate::plan::{Micros, Node};
use crate::finding::{self, Finding, Guidance, Level, Message};
use crate::record::{LogSource, Record};

/// The log source that a rule asks for; an absent dimension fits any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedLogSource {
    /// Sigma's `product`.
    pub product: Option<String>,
    /// Sigma's `service`.
    pub service: Option<String>,
    /// Sigma's `category`.
    pub category: Option<String>,
}

impl WantedLogSource {
    /// Whether records of this log source are among those asked for.
    pub fn fits(&self, source: &LogSource) -> bool {
        let fits = |wanted: &Option<String>, has: &[&str]| wanted.as_deref().is_none_or(|word| has.contains(&word));
        fits(&self.product, source.products)
            && fits(&self.service, source.services)
            && fits(&self.category, source.categories)
    }

    /// Whether there are records of it in any format: a rule that asks for another never runs.
    pub fn is_known(&self) -> bool {
        fields::unheard_of(self).is_none()
    }
}

impl fmt::Display for WantedLogSource {
    /// `aws/cloudtrail`: product, service and category, as far as they are named; `any` where none is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.product, &self.service, &self.category].into_iter().flatten();
        let parts: Vec<&str> = parts.map(String::as_str).collect();
        if parts.is_empty() { f.write_str("any") } else { f.write_str(&parts.join("/")) }
    }
}

/// A rule, simple or a correlation.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its id, unique in a catalogue.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its level; `informational` where the rule names none, as Sigma has it.
    pub level: Level,
    /// Whether it names its level.
    pub names_level: bool,
    /// ATT&CK tags and others.
    pub tags: Vec<String>,
    words: Words,
    /// Sigma's `status`, if it is there.
    pub status: Option<String>,
    /// The file that it came from, as it was named when it was loaded.
    pub file: String,
    /// The line in it where the rule says which one it is, from 1.
    pub line: Option<usize>,
    /// Its own tests.
    pub cases: Cases,
    /// A hash of its id and what it asks for (16 hexadecimal digits): state of another logic is never mixed in.
    pub logic: String,
    /// Whether its matches become findings of their own. A rule that only serves correlations has none.
    pub reports: bool,
    /// The fields that tell one finding from another; `None`: the log source's default.
    pub group_by: Option<Vec<String>>,
    /// What it asks of its contributions.
    pub plan: Node,
    /// How long after its end an aligned window of the plan is waited for, in microseconds.
    pub lateness: Micros,
    /// What it looks at, record by record, if it is a simple rule.
    pub detection: Option<Detection>,
    /// For a correlation, the simple rules that are its plan's leaves, in their order.
    pub leaves: Vec<Leaf>,
}

impl Rule {
    /// Its words for people.
    pub fn guidance(&self) -> &Guidance {
        self.words.of(&self.id)
    }

    /// A finding of it, with its words for people.
    pub(crate) fn message(&self, finding: Finding) -> Message {
        Message { schema: finding::SCHEMA, finding, guidance: self.guidance().clone() }
    }

    /// Whether it finds tampering with logging, detection or the guard rails around them, by its ATT&CK technique: such
    /// rules look at what cloudvigil's own roles do, too, and at calls that failed.
    pub fn is_about_tampering(&self) -> bool {
        self.tags.iter().any(|tag| TAMPERING.iter().any(|technique| tag.starts_with(technique)))
    }
}

/// Impair Defenses, by its parts for tools and for cloud logs (since 2026: T1685), unwatched regions, and the hierarchy
/// of accounts.
const TAMPERING: [&str; 5] = ["attack.t1562.001", "attack.t1562.008", "attack.t1685", "attack.t1535", "attack.t1666"];

/// A simple rule's part that looks at one record.
#[derive(Debug, Clone)]
pub struct Detection {
    /// The log source that it asks for.
    pub log_source: WantedLogSource,
    compiled: Compiled,
    /// For `CloudTrail` rules, which events they ask for.
    events: Vec<events::Wanted>,
    /// The fields that it asks for and its log source does not have.
    unknown: fields::Unknown,
    /// What its author may not have meant.
    doubts: Vec<String>,
}

/// A simple rule within a correlation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The simple rule's number in the catalogue.
    pub rule: usize,
    /// The field to read for each of the correlation's `group_by` names, in their order.
    pub fields: Vec<String>,
    /// What is read of its records, for correlations that look at values.
    pub value: Option<ValueOf>,
}

/// What a simple rule's match counts towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// The correlation's number in the catalogue.
    pub correlation: usize,
    /// The number of the leaf in it.
    pub leaf: usize,
    /// Whether a record has the same group there as in the use before, if there is one.
    pub same_group: bool,
}

/// Every rule, ready to be matched.
#[derive(Debug, Default)]
pub struct Catalogue {
    rules: Vec<Rule>,
    by_id: HashMap<String, usize>,
    /// For each rule, the correlations that count it.
    uses: Vec<Vec<Use>>,
    /// The indexes of the log sources that were met.
    indexes: RwLock<Vec<(&'static LogSource, Arc<Index>)>>,
}

impl Catalogue {
    /// The built-in rules, without their tests. These see to it that none is malformed.
    pub fn built_in() -> (Self, Vec<Problem>) {
        Self::load(Self::built_in_files_without_tests())
    }

    /// The built-in rules' files.
    pub fn built_in_files() -> Vec<RuleFile> {
        embedded::whole()
    }

    /// The built-in rules' files without the rules' own tests: less than half to read before the first record.
    pub fn built_in_files_without_tests() -> Vec<RuleFile> {
        embedded::without_tests()
    }

    /// Loads rules. A malformed rule is among the problems, by file, line and reason; the others are loaded.
    pub fn load(files: Vec<RuleFile>) -> (Self, Vec<Problem>) {
        Self::load_with(files, &Placeholders::default())
    }

    /// Loads rules; what the configuration has for placeholders is filled in.
    #[allow(clippy::needless_pass_by_value, reason = "files are loaded once")]
    pub fn load_with(files: Vec<RuleFile>, placeholders: &Placeholders) -> (Self, Vec<Problem>) {
        load::load(&files, placeholders)
    }

    /// Notes for its leaves that a correlation counts them, if it reports anything.
    fn count(&mut self, correlation: usize) {
        if !self.rules[correlation].reports {
            return;
        }
        let group_by = |number: usize| self.rules[number].group_by.as_deref().unwrap_or_default();
        for (leaf, Leaf { rule, fields, .. }) in self.rules[correlation].leaves.iter().enumerate() {
            let same_group = self.uses[*rule].last().is_some_and(|before| {
                group_by(before.correlation) == group_by(correlation)
                    && self.rules[before.correlation].leaves[before.leaf].fields == *fields
            });
            self.uses[*rule].push(Use { correlation, leaf, same_group });
        }
    }

    /// A catalogue of this correlation alone, with what it counts, in which it reports what it finds.
    fn alone(&self, correlation: &Rule) -> Self {
        let mut alone = Self::default();
        let mut rule = Rule { reports: true, ..correlation.clone() };
        for leaf in &mut rule.leaves {
            let counted = &self.rules[leaf.rule];
            leaf.rule = *alone.by_id.entry(counted.id.clone()).or_insert(alone.rules.len());
            if leaf.rule == alone.rules.len() {
                alone.rules.push(Rule { reports: false, ..counted.clone() });
                alone.uses.push(Vec::new());
            }
        }
        alone.rules.push(rule);
        alone.uses.push(Vec::new());
        alone.count(alone.rules.len() - 1);
        alone
    }

    /// The rules, in the order in which they were loaded.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// A rule by its number, as [`Self::candidates`] and others name it.
    ///
    /// # Panics
    /// If the number is not this catalogue's.
    pub fn rule(&self, number: usize) -> &Rule {
        &self.rules[number]
    }

    /// A rule by its id.
    pub fn by_id(&self, id: &str) -> Option<&Rule> {
        self.by_id.get(id).map(|number| &self.rules[*number])
    }

    /// A rule's number, by its id.
    pub fn number_of(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// Whether a rule of this catalogue can never match, because no record has what it asks for or counts: [`lint`] says
    /// what that is.
    pub fn never_matches(&self, rule: &Rule) -> bool {
        lint::never_matches(self, rule)
    }

    /// The correlations that count a rule's matches.
    pub fn uses(&self, number: usize) -> &[Use] {
        &self.uses[number]
    }

    /// The fields by which the findings of a simple rule, and of the correlations that count it, are told apart, or whose
    /// values they look at.
    fn grouped_by(&self, number: usize) -> impl Iterator<Item = &str> {
        let own = self.rules[number].group_by.iter().flatten();
        let counted = self.uses(number).iter().flat_map(|used| {
            let leaf = &self.rules[used.correlation].leaves[used.leaf];
            leaf.fields.iter().chain(leaf.value.iter().flat_map(ValueOf::names))
        });
        own.chain(counted).map(String::as_str)
    }

    /// The numbers of the simple rules that ask for this log source.
    pub fn candidates(&self, source: &LogSource) -> Vec<usize> {
        let fits = |rule: &Rule| rule.detection.as_ref().is_some_and(|detection| detection.log_source.fits(source));
        (0..self.rules.len()).filter(|number| fits(&self.rules[*number])).collect()
    }

    /// Which of the rules a record of this log source can match: made when it is first asked for.
    pub fn index(&self, source: &'static LogSource) -> Arc<Index> {
        let find = |indexes: &Vec<(&'static LogSource, Arc<Index>)>| {
            let found = indexes.iter().find(|(known, _)| std::ptr::eq(*known, source));
            found.map(|(_, index)| Arc::clone(index))
        };
        if let Some(index) = find(&self.indexes.read().unwrap_or_else(PoisonError::into_inner)) {
            return index;
        }
        let index = Arc::new(Index::new(self, source));
        let mut indexes = self.indexes.write().unwrap_or_else(PoisonError::into_inner);
        find(&indexes).unwrap_or_else(|| {
            indexes.push((source, Arc::clone(&index)));
            index
        })
    }

    /// Which of `candidates` match a record. `plain`: keywords are looked for in the entry's text, not in its fields.
    pub fn matches<'c>(
        &'c self,
        candidates: &'c [usize],
        record: &'c Record<'_>,
        plain: bool,
    ) -> impl Iterator<Item = usize> + 'c {
        let event = RecordEvent::new(record, plain);
        let mut selections = Vec::new();
        candidates.iter().copied().filter(move |number| {
            self.rules[*number].detection.as_ref().is_some_and(|detection| {
                let CompiledRule { conditions, detections, .. } = detection.compiled.get();
                selections.clear();
                conditions.iter().any(|condition| eval_condition(condition, detections, &event, &mut selections))
            })
        })
    }
}

/// A record's field as the text by which findings are grouped; `None` where it is absent or null.
pub fn field_text<'r>(record: &'r Record<'_>, name: &str) -> Option<Cow<'r, str>> {
    event::text(record, name)
}
