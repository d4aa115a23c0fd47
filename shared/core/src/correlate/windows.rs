//! Aligned windows that wait to be closed by time: an item for each, until it was settled.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::contribution::Contribution;
use super::contributions::Partition;
use super::plan::Micros;
use super::stored::StoredContributions;
use super::{Bucket, Group, bucket_of, settle};
use crate::detect::Catalogue;

/// The partition key of these items in the state.
pub(super) const PENDING: &str = "windows";

/// A window that something was contributed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    schema: u32,
    /// From when on it can be settled, in microseconds since 1970.
    pub due: Micros,
    /// The rule's id.
    rule: String,
    group: Group,
    bucket: Bucket,
    /// Whether it was settled.
    #[serde(default)]
    pub done: bool,
}

impl Pending {
    /// The windows that contributions lie in, by sort key.
    pub(super) fn of(
        catalogue: &Catalogue,
        partition: &Partition,
        stored: &StoredContributions,
    ) -> BTreeMap<String, Self> {
        let rule = catalogue.rule(partition.rule);
        let mut windows = BTreeMap::new();
        if rule.plan.is_monotone() {
            return windows;
        }
        for Contribution { time, .. } in stored.entries.iter() {
            for (start, end) in time.iter().flat_map(|time| rule.plan.aligned_windows(*time)) {
                let partition = Partition { bucket: bucket_of(Some(start), rule.plan.timespan()), ..partition.clone() };
                let due = end.saturating_add(rule.lateness);
                let sort = format!("{due}#{}", partition.key(catalogue));
                windows.entry(sort).or_insert_with(|| Self {
                    schema: settle::SCHEMA,
                    due,
                    rule: rule.id.clone(),
                    group: partition.group,
                    bucket: partition.bucket,
                    done: false,
                });
            }
        }
        windows
    }

    /// The partition that the window lies in; `None` if the rule is gone or asks for something else by now.
    pub(super) fn partition(&self, catalogue: &Catalogue, sort: &str) -> Option<Partition> {
        let rule = catalogue.rules().iter().position(|rule| rule.id == self.rule)?;
        let partition = Partition { rule, group: self.group.clone(), bucket: self.bucket };
        (sort == format!("{}#{}", self.due, partition.key(catalogue))).then_some(partition)
    }
}
