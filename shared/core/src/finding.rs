//! A finding: what is reported. One for each (rule, group, bucket).

mod json;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::correlate::Group;
pub use json::write_json;

/// The version of [`Message`]'s shape. A version reads its predecessor's.
pub const SCHEMA: u32 = 1;

/// How bad a finding is, in Sigma's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth keeping, not worth looking at by itself.
    Informational,
    /// Look at it some day.
    Low,
    /// Look at it today.
    Medium,
    /// Look at it now.
    High,
    /// Get up.
    Critical,
}

impl Level {
    /// Every level, lowest first.
    pub const ALL: [Self; 5] = [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The level below; the lowest has none and stays.
    #[must_use]
    pub fn lower(self) -> Self {
        match self {
            Self::Informational | Self::Low => Self::Informational,
            Self::Medium => Self::Low,
            Self::High => Self::Medium,
            Self::Critical => Self::High,
        }
    }

    /// Sigma's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is no level.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is no level; use informational, low, medium, high or critical")]
pub struct UnknownLevel(String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(word: &str) -> Result<Self, UnknownLevel> {
        Self::ALL.into_iter().find(|level| level.as_str() == word).ok_or_else(|| UnknownLevel(word.to_owned()))
    }
}

/// A log entry that a finding rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When it happened.
    pub time: Option<Timestamp>,
    /// Where it was read: a path, an `s3://` address, a log group and stream.
    pub source: String,
    /// Its number there, from 1.
    pub record: u64,
    /// The entry as it stood in the log, cut to [`Evidence::MAX_TEXT`] bytes. Hostile: escape it wherever it is shown.
    pub text: String,
    /// Where else the same record was read: what `source` is of the others, sorted, each once, the first
    /// [`Evidence::MAX_PLACES`] of them. Hostile: names of objects and log streams are given by whoever writes there.
    #[serde(default)]
    pub also_in: Vec<String>,
}

impl Evidence {
    /// The longest text that is kept, in bytes.
    pub const MAX_TEXT: usize = 2048;
    /// The most entries that a finding carries.
    pub const MAX_ENTRIES: usize = 10;
    /// The most other places that an entry names.
    pub const MAX_PLACES: usize = 8;

    /// One entry of two that are of the same record: the place that sorts first stands for it, and the others are named.
    /// However many are put together, and in whatever order, the outcome is the same.
    pub(crate) fn put_together(self, other: Self) -> Self {
        let (mut first, second) = if other.sorts_before(&self) { (other, self) } else { (self, other) };
        first.also_in.extend(second.also_in);
        first.also_in.push(second.source);
        first.also_in.retain(|place| *place != first.source);
        first.also_in.sort_unstable();
        first.also_in.dedup();
        first.also_in.truncate(Self::MAX_PLACES);
        first
    }

    /// Whether this and not the other stands for a record that was read in two places.
    pub(crate) fn sorts_before(&self, other: &Self) -> bool {
        (&self.source, self.record, &self.text) < (&other.source, other.record, &other.text)
    }

    /// Everywhere that the record was read, as people are told; `None` where that is one place alone.
    pub fn seen_by(&self) -> Option<impl Iterator<Item = &str>> {
        let places = || std::iter::once(&self.source).chain(&self.also_in).map(String::as_str);
        (!self.also_in.is_empty()).then(places)
    }
}

/// What is reported. The field order is that of the `json` output, whose keys are always there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A hash of rule, group and bucket: 32 hexadecimal digits, the same however the input was cut.
    pub id: String,
    /// 1 at first; one more each time that count, first or last time moved.
    pub revision: u64,
    /// The rule's id.
    pub rule: String,
    /// The rule's title; for tampering that was only attempted, `(failed)` follows it.
    pub title: String,
    /// The rule's level; for tampering that was only attempted, the one below.
    pub level: Level,
    /// How many occurrences it rests on.
    pub count: u64,
    /// The first occurrence.
    pub first_time: Option<Timestamp>,
    /// The last occurrence.
    pub last_time: Option<Timestamp>,
    /// What the occurrences have in common: field name to value.
    pub group: Group,
    /// The AWS account, and so on: what the evidence agrees on.
    pub account: Option<String>,
    /// The AWS region.
    pub region: Option<String>,
    /// Who did it.
    pub actor: Option<String>,
    /// Where it came from.
    pub source_address: Option<String>,
    /// What it was done to.
    pub resources: Vec<String>,
    /// At most [`Evidence::MAX_ENTRIES`] entries, by time, then hash.
    pub evidence: Vec<Evidence>,
    /// A hash of rule and group: the same for as long as the same thing goes on.
    pub dedup_key: String,
}

impl Finding {
    /// Whether it tells of tampering that was only attempted, as its title says.
    pub fn is_attempt(&self) -> bool {
        self.title
            .rsplit_once(" (")
            .is_some_and(|(_, said)| said.trim_end_matches(')').split(", ").any(|word| word == "failed"))
    }

    /// What tells it from other findings of its rule beyond who, from where and on what: an alert's signature, an
    /// exception's name.
    pub fn particulars(&self) -> impl Iterator<Item = &str> {
        // Ids of single records tell nobody anything.
        let told = ["eventID", "record"];
        let values = self.group.iter().filter(move |(name, _)| !told.contains(&name.as_str()));
        let values = values.filter_map(|(_, value)| value.as_deref());
        let shown = [&self.account, &self.region, &self.actor, &self.source_address];
        values.filter(move |value| {
            !shown.iter().any(|shown| shown.as_deref() == Some(value))
                && !self.resources.iter().any(|name| name == value)
        })
    }
}

/// What a reader needs to act on a finding: the rule's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guidance {
    /// What the rule finds.
    pub description: String,
    /// What happened, why it matters, what to check, how to undo it.
    pub runbook: String,
    /// When it is no cause for alarm.
    pub false_positives: Vec<String>,
    /// Where to read more.
    pub references: Vec<String>,
    /// ATT&CK tags and others.
    pub tags: Vec<String>,
}

/// A finding on its way to people: the body of what is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The shape's version, [`SCHEMA`].
    pub schema: u32,
    /// The finding.
    pub finding: Finding,
    /// The rule's words.
    pub guidance: Guidance,
}

/// The order in which a run tells of findings: by first time, then id, those without a time last.
pub type Order = (bool, Option<Timestamp>, [u8; 16]);

impl Finding {
    /// Its place in the [order](Order) of a run's findings.
    pub fn order(&self) -> Order {
        let id = u128::from_str_radix(&self.id, 16).unwrap_or_default();
        order(self.first_time, id.to_be_bytes())
    }
}

pub(crate) fn order(first_time: Option<Timestamp>, id: [u8; 16]) -> Order {
    (first_time.is_none(), first_time, id)
}
