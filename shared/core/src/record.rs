//! A record: one normalised entry of a log, an inventory or a trail, whatever it came from.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use smallvec::SmallVec;

use crate::fields::Fields;

/// The Sigma log sources that a record answers to.
///
/// A log can go by several names (an access log in the combined format may be Apache's or nginx's), so each
/// dimension is a list. A rule's `logsource` fits when each dimension that it names is among them; see the
/// [log source specification](https://sigmahq.io/sigma-specification/specification/sigma-rules-specification.html).
#[derive(Debug, PartialEq, Eq)]
pub struct LogSource {
    /// Sigma's `product`.
    pub products: &'static [&'static str],
    /// Sigma's `service`.
    pub services: &'static [&'static str],
    /// Sigma's `category`.
    pub categories: &'static [&'static str],
    /// The fields that tell one finding from another where a rule says nothing of it. Empty: each record is a
    /// finding of its own, told apart by its [`Record::id`] or, without one, by its content.
    pub group_by: &'static [&'static str],
    /// The fields that a parser knows before it takes an entry apart, by which most entries can be told to match no
    /// rule; those that tell the most come first. See [`crate::formats::Gate`].
    pub keys: &'static [&'static str],
    /// Those of the keys that few entries have.
    pub rare: &'static [&'static str],
    /// The fields that hold words of ours, which do not stand in the entry.
    pub words: &'static [&'static str],
    /// Other names by which rules may ask for a field, and where it may be: the first of these that is there has it.
    /// Nothing is made of them before a rule asks.
    pub aliases: &'static [(&'static str, &'static [&'static str])],
}

impl LogSource {
    /// Where a field may be that a record does not have by this name.
    pub(crate) fn other_paths(&self, name: &str) -> &'static [&'static str] {
        self.aliases.iter().find(|(alias, _)| *alias == name).map_or(&[], |(_, paths)| *paths)
    }
}

/// One entry, with its fields as rules see them.
#[derive(Debug)]
pub struct Record<'a> {
    /// What kind of log it is from.
    pub log_source: &'static LogSource,
    /// When it happened; `None` where the entry has no time or an invalid one.
    pub time: Option<Timestamp>,
    /// The id that the entry carries itself (a CloudTrail `eventID`), by which it is the same entry whatever way
    /// it came. `None`: the entry is known by its object and position.
    pub id: Option<String>,
    /// The fields, under the names of the Sigma taxonomy.
    pub fields: Fields<'a>,
    /// What rules cannot compute, worked out by [`crate::enrich`]: fields whose names begin with `cloudvigil.`. Kept
    /// apart from `fields`, so that a keyword search sees the entry alone. Of most records there is nothing.
    pub derived: Option<Map<String, Value>>,
    /// How many occurrences the entry stands for: 1, but for syslog's `message repeated N times`.
    pub occurrences: u32,
    /// The entry as it stood in the log, invalid UTF-8 replaced.
    pub raw: Cow<'a, str>,
}

/// Who, where and on what: what a finding says of a record beyond the rule's own fields. Of a record at hand the texts are
/// mostly its own: [`FactsOf`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts<S = String> {
    /// The AWS account, 12 digits.
    pub account: Option<S>,
    /// The AWS region.
    pub region: Option<S>,
    /// Who did it: an ARN or a user name.
    pub actor: Option<S>,
    /// The address that it came from (or the service's name, as CloudTrail writes it).
    pub source_address: Option<S>,
    /// What it was done to: ARNs, host names, paths. Mostly one.
    pub resources: SmallVec<[S; 1]>,
}

/// What a finding says of this record.
pub type FactsOf<'r> = Facts<Cow<'r, str>>;
