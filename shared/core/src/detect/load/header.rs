//! What a rule of any kind says of itself.

use rsigma_parser::{Level as SigmaLevel, Status};
use serde::{Deserialize, Serialize};

use crate::correlate::plan::Node;
use crate::detect::words::Words;
use crate::detect::{Cases, Rule};
use crate::finding::{Guidance, Level};

/// What a rule of any kind says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::detect) struct Header {
    pub id: Option<String>,
    pub title: String,
    /// Sigma's `name`.
    pub name: Option<String>,
    level: Level,
    /// Whether it names its level.
    names_level: bool,
    status: Option<String>,
    tags: Vec<String>,
    /// Not kept with what is prepared: its file has them.
    #[serde(skip)]
    pub words: Words,
    /// Where it stands in its file.
    pub line: Option<usize>,
}

/// The header of one of rsigma's rules, and its tests; where it is at fault, with what could be read, and why. rsigma's
/// two kinds of rule have the same metadata under the same names, but no type in common.
macro_rules! header_of {
    ($rule:expr, $line:expr) => {{
        let rule = $rule;
        let cases = $crate::detect::Cases::from_yaml(rule.custom_attributes.get("tests"));
        let (words, fault) = $crate::detect::load::header::words_of!(rule);
        let names = (rule.id.clone(), rule.title.clone(), rule.name.clone());
        let header = $crate::detect::load::header::Header::new(names, rule.level, rule.status, words, $line);
        let fault = fault.or(cases.as_ref().err().cloned());
        (header, cases.unwrap_or_default(), fault)
    }};
}
pub(super) use header_of;

/// The words for people of one of rsigma's rules; where they are at fault, with what could be read, and why.
macro_rules! words_of {
    ($rule:expr) => {{
        let rule = $rule;
        let runbook = $crate::detect::load::text(rule.custom_attributes.get("runbook"), "runbook");
        let words = $crate::finding::Guidance {
            description: rule.description.clone().unwrap_or_default(),
            runbook: runbook.clone().unwrap_or_default(),
            false_positives: rule.falsepositives.clone(),
            references: rule.references.clone(),
            tags: rule.tags.clone(),
        };
        (words, runbook.err())
    }};
}
pub(super) use words_of;

impl Header {
    pub(super) fn new(
        (id, title, name): (Option<String>, String, Option<String>),
        level: Option<SigmaLevel>,
        status: Option<Status>,
        words: Guidance,
        line: Option<usize>,
    ) -> Self {
        let names_level = level.is_some();
        let level = match level {
            None | Some(SigmaLevel::Informational) => Level::Informational,
            Some(SigmaLevel::Low) => Level::Low,
            Some(SigmaLevel::Medium) => Level::Medium,
            Some(SigmaLevel::High) => Level::High,
            Some(SigmaLevel::Critical) => Level::Critical,
        };
        let status = status.map(|status| format!("{status:?}").to_lowercase());
        Self { id, title, name, level, names_level, status, tags: words.tags.clone(), words: Words::Read(words), line }
    }

    /// What the rule is called where something is wrong with it.
    pub(super) fn shown(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.title)
    }

    /// The rule that says this of itself; what it looks for is still to be put in.
    pub(super) fn rule(self, file: &str, logic: String, cases: Cases) -> Rule {
        let Self { id, title, level, names_level, status, tags, words, line, .. } = self;
        Rule {
            id: id.unwrap_or_else(|| logic.clone()),
            title,
            level,
            names_level,
            tags,
            words,
            status,
            file: file.to_owned(),
            line,
            cases,
            logic,
            reports: true,
            group_by: None,
            plan: Node::Leaf(0),
            lateness: 0,
            detection: None,
            leaves: Vec::new(),
        }
    }
}
