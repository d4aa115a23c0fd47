//! What is kept of a finding until its summary or digest is written: no more than that shows.

use cloudvigil_core::finding::{Level, Message};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::records::SCHEMA;

/// The longest value that is kept, in characters.
const LONGEST: usize = 160;

/// A finding, as a line of a summary or digest. Its values are raw: they are made visible and escaped when shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The version of the stored shape.
    pub(crate) schema: u32,
    /// Whether it belongs to the collection that it lies in.
    pub(crate) membership: Membership,
    /// The finding's id.
    pub id: String,
    /// The finding's revision that this was taken from.
    pub revision: u64,
    /// The rule's id.
    pub rule: String,
    /// The rule's title.
    pub title: String,
    /// The rule's level.
    pub level: Level,
    /// How many occurrences the finding rests on.
    pub count: u64,
    /// The first occurrence.
    pub first_time: Option<Timestamp>,
    /// The last occurrence.
    pub last_time: Option<Timestamp>,
    /// What the occurrences have in common, `field=value` joined by commas.
    pub group: String,
    /// The AWS account.
    pub account: Option<String>,
    /// The AWS region.
    pub region: Option<String>,
    /// Who did it.
    pub actor: Option<String>,
    /// Where it came from.
    pub source_address: Option<String>,
    /// The first resource that it was done to.
    pub resource: Option<String>,
    /// How many resources there are besides.
    pub more_resources: usize,
}

/// Whether an entry belongs to its collection. See [`crate::collection`] for who may change what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Membership {
    /// Written, and not yet known to be in time.
    Offered,
    /// It was in time: it belongs to it.
    Kept,
    /// The summary took it before its writer knew: it belongs to it.
    Taken,
    /// It came too late, and lies in a later collection.
    Moved,
}

impl Entry {
    /// What a summary or digest needs of a finding.
    pub(crate) fn new(message: &Message) -> Self {
        let finding = &message.finding;
        let group = finding.group.iter().map(|(field, value)| match value {
            Some(value) => format!("{}={}", cut(field), cut(value)),
            None => format!("{}=(none)", cut(field)),
        });
        Self {
            schema: SCHEMA,
            membership: Membership::Offered,
            id: finding.id.clone(),
            revision: finding.revision,
            rule: cut(&finding.rule),
            title: cut(&finding.title),
            level: finding.level,
            count: finding.count,
            first_time: finding.first_time,
            last_time: finding.last_time,
            group: cut(&group.take(8).collect::<Vec<_>>().join(", ")),
            account: finding.account.as_deref().map(cut),
            region: finding.region.as_deref().map(cut),
            actor: finding.actor.as_deref().map(cut),
            source_address: finding.source_address.as_deref().map(cut),
            resource: finding.resources.first().map(|resource| cut(resource)),
            more_resources: finding.resources.len().saturating_sub(1),
        }
    }
}

fn cut(value: &str) -> String {
    match value.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &value[..at]),
        None => value.to_owned(),
    }
}
