//! The contributions of a partition to its finding.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use super::contributions::{KeptEvidence, Partition, StoredContributions};
use super::plan::{Micros, Node, Occurrence};
use super::{bucket_length, dedup_key, finding_id};
use crate::detect::Catalogue;
use crate::finding::{Evidence, Finding};

/// The most resources that a finding names.
pub(crate) const MAX_RESOURCES: usize = 20;

/// The finding of a partition, from everything that was contributed to it and to the bucket after it; `None` where the
/// rule's condition is not fulfilled. Its revision is 1.
pub fn finding_in(catalogue: &Catalogue, partition: &Partition, stored: &[StoredContributions]) -> Option<Finding> {
    let rule = catalogue.rule(partition.rule);
    let records = distinct(stored);
    let hot = hot_records(&rule.plan, partition, &records)?;
    let keys: HashSet<&str> = hot.iter().map(|record| record.key).collect();
    let evidence = chosen(stored, &keys);
    // What the entries agree on: a brute force against ten users was done by none of them.
    let known = |read: fn(&KeptEvidence) -> Option<&String>| {
        let mut values = evidence.iter().filter_map(|kept| read(kept));
        let first = values.next()?;
        values.all(|value| value == first).then(|| first.clone())
    };
    let mut resources: Vec<String> = Vec::new();
    for resource in evidence.iter().flat_map(|kept| &kept.facts.resources) {
        if resources.len() < MAX_RESOURCES && !resources.contains(resource) {
            resources.push(resource.clone());
        }
    }
    let time = |micros: Option<Micros>| micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
    Some(Finding {
        id: finding_id(&rule.id, &partition.group, partition.bucket),
        revision: 1,
        rule: rule.id.clone(),
        title: rule.title.clone(),
        level: rule.level,
        count: hot.iter().map(|record| u64::from(record.weight)).sum(),
        first_time: time(hot.iter().filter_map(|record| record.time).min()),
        last_time: time(hot.iter().filter_map(|record| record.time).max()),
        group: partition.group.clone(),
        account: known(|kept| kept.facts.account.as_ref()),
        region: known(|kept| kept.facts.region.as_ref()),
        actor: known(|kept| kept.facts.actor.as_ref()),
        source_address: known(|kept| kept.facts.source_address.as_ref()),
        resources,
        evidence: evidence.iter().map(|kept| kept.evidence.clone()).collect(),
        dedup_key: dedup_key(&rule.id, &partition.group),
    })
}

/// A record that contributed, counted once whatever number of objects it came in.
struct Contributor<'s> {
    key: &'s str,
    time: Option<Micros>,
    weight: u32,
    leaves: Vec<usize>,
}

fn distinct(stored: &[StoredContributions]) -> Vec<Contributor<'_>> {
    let mut records: BTreeMap<&str, Contributor<'_>> = BTreeMap::new();
    for entry in stored.iter().flat_map(|part| &part.entries) {
        let super::contributions::Contribution(time, key, leaf, weight) = entry;
        let record =
            records.entry(key).or_insert_with(|| Contributor { key, time: *time, weight: *weight, leaves: Vec::new() });
        // The same record may come with different times (a log event's, an entry's own): the earliest holds, so that
        // the order of arrival does not matter.
        record.time = match (record.time, *time) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        record.weight = record.weight.max(*weight);
        if !record.leaves.contains(leaf) {
            record.leaves.push(*leaf);
        }
    }
    records.into_values().collect()
}

/// The records within the hot windows that start in the partition's bucket; `None` if there is none.
fn hot_records<'r, 's>(
    plan: &Node,
    partition: &Partition,
    records: &'r [Contributor<'s>],
) -> Option<Vec<&'r Contributor<'s>>> {
    let Some(bucket) = partition.bucket else {
        // Without times there are no windows: a simple rule counts, a correlation says nothing.
        return (matches!(plan, Node::Leaf(_)) && !records.is_empty()).then(|| records.iter().collect());
    };
    let end = bucket + bucket_length(plan.timespan());
    let mut occurrences: Vec<Occurrence> = records
        .iter()
        .filter_map(|record| record.time.map(|time| (record, time)))
        .flat_map(|(record, time)| {
            record.leaves.iter().map(move |leaf| Occurrence { time, leaf: *leaf, weight: record.weight })
        })
        .collect();
    occurrences.sort_unstable();
    let hot: Vec<Micros> =
        plan.hot_starts(&occurrences).into_iter().filter(|start| (bucket..end).contains(start)).collect();
    let in_window = |time: Micros| {
        // The last window that starts at or before the time.
        let after = hot.partition_point(|start| *start <= time);
        after.checked_sub(1).is_some_and(|last| time - hot[last] <= plan.timespan())
    };
    let found: Vec<_> = records.iter().filter(|record| record.time.is_some_and(in_window)).collect();
    (!found.is_empty()).then_some(found)
}

/// At most [`Evidence::MAX_ENTRIES`] entries of these records, by time, then hash; each record once.
fn chosen<'s>(stored: &'s [StoredContributions], keys: &HashSet<&str>) -> Vec<&'s KeptEvidence> {
    let mut kept: HashMap<&str, &KeptEvidence> = HashMap::new();
    for evidence in stored.iter().flat_map(|part| &part.evidence) {
        if keys.contains(evidence.key.as_str()) {
            let best = kept.entry(&evidence.key).or_insert(evidence);
            // The same record read in two places: the place that sorts first stands for it.
            if (&evidence.evidence.source, evidence.evidence.record) < (&best.evidence.source, best.evidence.record) {
                *best = evidence;
            }
        }
    }
    let mut chosen: Vec<_> = kept.into_values().collect();
    chosen.sort_unstable_by(|one, other| (one.evidence.time, &one.key).cmp(&(other.evidence.time, &other.key)));
    chosen.truncate(Evidence::MAX_ENTRIES);
    chosen
}
