//! The contributions of a partition to its finding.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use jiff::Timestamp;

use super::contribution::{Contribution, RecordKey};
use super::contributions::Partition;
use super::kept::{KeptEvidence, Order};
use super::plan::{Micros, Node, put_in_order};
use super::stored::StoredContributions;
use super::{Bucket, Ids, bucket_length, hex};
use crate::detect::{Catalogue, WantedLogSource};
use crate::finding::{self, Evidence, Finding, Level};

/// The most resources that a finding names.
pub(crate) const MAX_RESOURCES: usize = 20;

/// The finding of a partition, from everything that was contributed to it and to the bucket after it, when all of its
/// windows are closed; `None` where the rule's condition is not fulfilled. Its revision is 1.
pub fn finding_in(catalogue: &Catalogue, partition: &Partition, stored: &[&StoredContributions]) -> Option<Finding> {
    Some(folded(catalogue, partition, stored, Micros::MAX).found?.finding(catalogue, partition))
}

/// What contributions come to.
pub(super) struct Folded<'s> {
    /// How many different records there are.
    pub records: usize,
    /// The finding, if the condition is fulfilled.
    pub found: Option<Found<'s>>,
    /// Whether it tells of tampering with cloudvigil's own resources.
    pub own: bool,
}

/// A finding before its words are put together: what it is told apart and put in order by, and which entries it shows.
#[derive(Debug)]
pub struct Found<'s> {
    ids: Ids,
    level: Level,
    count: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    /// Whether all calls failed.
    failed: bool,
    /// Whether roles that deploy made all calls.
    deployment: bool,
    shown: Vec<ReadIn<'s>>,
}

/// Folds the contributions of a partition. Aligned windows that end after `closed` are not closed yet.
pub(super) fn folded<'s>(
    catalogue: &Catalogue,
    partition: &Partition,
    stored: &[&'s StoredContributions],
    closed: Micros,
) -> Folded<'s> {
    let plan = &catalogue.rule(partition.rule).plan;
    Distinct::of(plan, partition.bucket, stored).folded(catalogue, partition, stored, closed)
}

/// Whether contributions to a rule, by its number, make a finding of a bucket, when all of its windows are closed.
pub(super) fn is_hot(catalogue: &Catalogue, rule: usize, bucket: Bucket, stored: &[&StoredContributions]) -> bool {
    let plan = &catalogue.rule(rule).plan;
    Distinct::of(plan, bucket, stored).hot(plan, bucket, Micros::MAX).is_any()
}

/// The time up to which contributions matter to a bucket: no window that starts in it reaches further. Where windows are
/// closed, it counts what else there is.
fn latest(plan: &Node, bucket: Bucket) -> Micros {
    let start = bucket.filter(|_| plan.is_monotone());
    start.map_or(Micros::MAX, |start| start.saturating_add(bucket_length(plan.timespan())).saturating_add(plan.reach()))
}

/// The entries that the finding of a partition shows if no earlier ones are contributed, as long as a record has one time: as
/// many as it shows at all, which lie in windows that are hot. `None`: that is not known.
///
/// A window of the bucket before that reaches an entry reaches all earlier ones of this bucket, too: its finding shows no
/// later ones either.
pub(super) fn shown(plan: &Node, partition: &Partition, stored: &StoredContributions) -> Option<Vec<Order>> {
    if !plan.is_monotone() {
        return None;
    }
    let mut distinct = Distinct::of(plan, partition.bucket, &[stored]);
    let hot = distinct.hot(plan, partition.bucket, Micros::MAX);
    let is_hot = |kept: &&KeptEvidence| hot.has(kept.key);
    let mut shown: Vec<Order> = stored.evidence.iter().filter(is_hot).map(KeptEvidence::order).collect();
    // Of a record that was kept with different times, the last: it counts once, wherever it will stand.
    put_in_order(&mut shown, |(time, key)| (*key, Reverse(*time)));
    shown.dedup_by_key(|(_, key)| *key);
    put_in_order(&mut shown, |order| *order);
    shown.truncate(Evidence::MAX_ENTRIES);
    (shown.len() == Evidence::MAX_ENTRIES).then_some(shown)
}

impl<'s> Found<'s> {
    fn of(catalogue: &Catalogue, partition: &Partition, stored: &[&'s StoredContributions], hot: &Hot<'_>) -> Self {
        let rule = catalogue.rule(partition.rule);
        let occurred = || hot.records.iter().copied().filter(|record| record.weight > 0);
        // Where none has a time, these are none.
        let (mut count, mut first, mut last) = (0, Micros::MAX, Micros::MIN);
        for record in occurred() {
            count += u64::from(record.weight);
            if let Some(time) = record.time {
                (first, last) = (first.min(time), last.max(time));
            }
        }
        // Calls have a level of their own, and how things were found to be has not.
        let of_calls = |asked: &WantedLogSource| asked.category.as_deref() != Some("inventory");
        let judged = rule.is_about_tampering() && rule.detection.as_ref().is_some_and(|one| of_calls(&one.log_source));
        // The worst of them decides, so that the order in which they come does not matter.
        let level = judged.then(|| occurred().map(|record| record.level(rule.level)).max()).flatten();
        let of_all = |said_of: fn(&Contribution) -> bool| judged && occurred().all(said_of);
        let time = |micros: Micros| Timestamp::from_microsecond(micros).ok();
        Self {
            ids: Ids::of(&rule.id, &partition.group, partition.bucket),
            level: level.unwrap_or(rule.level),
            count,
            first: time(first),
            last: time(last),
            failed: of_all(|record| record.failed),
            deployment: of_all(|record| record.deploying),
            shown: chosen(stored, hot),
        }
    }

    /// Its level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Its place among findings.
    pub fn order(&self) -> finding::Order {
        finding::order(self.first, self.ids.id)
    }

    /// The record that each entry of the evidence is of.
    pub(super) fn shown(&self) -> Vec<RecordKey> {
        self.shown.iter().map(|read_in| read_in.best.key).collect()
    }

    /// The finding, which is that of this partition.
    pub fn finding(&self, catalogue: &Catalogue, partition: &Partition) -> Finding {
        let rule = catalogue.rule(partition.rule);
        let (mut facts, mut resources) = (Vec::with_capacity(self.shown.len()), Vec::new());
        for read_in in &self.shown {
            let (of_one, named) = read_in.best.told.said();
            facts.push(of_one);
            for resource in named {
                if resources.len() < MAX_RESOURCES && !resources.iter().any(|known| known == resource) {
                    resources.push(resource.to_owned());
                }
            }
        }
        // What the entries agree on: a brute force against ten users was done by none of them.
        let [account, region, actor, source_address] = [0, 1, 2, 3].map(|fact| {
            let mut values = facts.iter().filter_map(|of_one| of_one[fact]);
            let first = values.next()?;
            values.all(|value| value == first).then(|| first.to_owned())
        });
        let said = [("failed", self.failed), ("deployment", self.deployment)];
        let said: Vec<&str> = said.into_iter().filter(|(_, of_all)| *of_all).map(|(word, _)| word).collect();
        Finding {
            id: hex(&self.ids.id),
            revision: 1,
            rule: rule.id.clone(),
            title: if said.is_empty() { rule.title.clone() } else { format!("{} ({})", rule.title, said.join(", ")) },
            level: self.level,
            count: self.count,
            first_time: self.first,
            last_time: self.last,
            group: partition.group.clone(),
            account,
            region,
            actor,
            source_address,
            resources,
            evidence: self.shown.iter().map(ReadIn::evidence).collect(),
            dedup_key: hex(&self.ids.going_on),
        }
    }
}

impl Contribution {
    /// How bad it is by itself, under a rule about tampering of this level.
    fn level(&self, of_rule: Level) -> Level {
        let level = if self.own { Level::Critical } else { of_rule };
        let level = if self.failed { level.lower() } else { level };
        if self.deploying { level.lower() } else { level }
    }
}

/// What different records contribute, whatever number of objects each came in.
struct Distinct {
    /// One for each leaf of each record, in any order; those of one record say the same of it. One may stand for a **run** of
    /// records that came one after the other and contribute alike, with the weight of all and the last time: an attack may
    /// come to millions in an hour, whose log knows seconds.
    contributions: Vec<Contribution>,
    /// Records of which something is kept to be shown, each with the first of the run that it is in.
    in_runs: Vec<(RecordKey, RecordKey)>,
    /// How many records there are.
    records: usize,
}

/// How many contributions are unpacked before it is looked which are of one record.
const MANY: usize = 64 * 1024;
/// In how many parts keys may ascend that are known to be different.
const MAX_ASCENTS: usize = 1024;

impl Distinct {
    /// The records that matter to a bucket.
    fn of(plan: &Node, bucket: Bucket, stored: &[&StoredContributions]) -> Self {
        let latest = latest(plan, bucket);
        // Of a simple rule's records only the first time and the last are told.
        let any_time = bucket.filter(|_| matches!(plan, Node::Leaf(_)));
        let any_time = any_time.map_or(0..0, |start| start..start.saturating_add(bucket_length(0)));
        Self::in_runs(stored, latest, &any_time).unwrap_or_else(|| Self::one_by_one(stored, latest, MANY))
    }

    /// The records up to a time; `None`, if it is not plain that no record comes twice. `any_time`: those in between may be
    /// of one run whose times ascend, if there is one before it.
    fn in_runs(stored: &[&StoredContributions], latest: Micros, any_time: &Range<Micros>) -> Option<Self> {
        let all: usize = stored.iter().map(|part| part.entries.len()).sum();
        let mut contributions: Vec<Contribution> = Vec::with_capacity(all.min(4 * MAX_ASCENTS));
        let mut kept: Vec<RecordKey> = stored.iter().flat_map(|part| &part.evidence).map(|kept| kept.key).collect();
        kept.sort_unstable();
        let (mut in_runs, mut records) = (Vec::new(), 0);
        let mut ascents: Vec<(RecordKey, RecordKey)> = Vec::new();
        for one in stored.iter().flat_map(|part| part.entries.until(latest)) {
            if contributions.last() == Some(&one) {
                // The same record once more.
                continue;
            }
            records += 1;
            // Those of an object mostly come in the order of their keys, and mostly each record comes once.
            if let Some((_, last)) = ascents.last_mut()
                && *last < one.key
            {
                *last = one.key;
                let follows = matches!(contributions.as_slice(), [.., earlier, before]
                    if earlier.is_followed_by(before, any_time) && before.is_followed_by(&one, any_time));
                if let Some(before) = contributions.last_mut()
                    && (before.is_like(&one) || follows)
                    && let Some(weight) = before.weight.checked_add(one.weight)
                {
                    (before.weight, before.time) = (weight, one.time);
                    if kept.binary_search(&one.key).is_ok() {
                        in_runs.push((one.key, before.key));
                    }
                    continue;
                }
            } else if ascents.len() < MAX_ASCENTS {
                ascents.push((one.key, one.key));
            } else {
                return None;
            }
            contributions.push(one);
        }
        ascents.sort_unstable();
        in_runs.sort_unstable();
        let are_apart = ascents.is_sorted_by(|(_, last), (first, _)| last < first);
        are_apart.then_some(Self { contributions, in_runs, records })
    }

    /// The same, whatever comes in whatever order. `many`: with so many it is looked which are of one record, for the same
    /// ones may come again and again.
    fn one_by_one(stored: &[&StoredContributions], latest: Micros, mut many: usize) -> Self {
        let all: usize = stored.iter().map(|part| part.entries.len()).sum();
        let mut contributions = Vec::with_capacity(all.min(many));
        for one in stored.iter().flat_map(|part| part.entries.until(latest)) {
            if contributions.len() == many {
                put_together_records(&mut contributions);
                many = many.max(2 * contributions.len());
            }
            contributions.push(one);
        }
        let records = put_together_records(&mut contributions);
        Self { contributions, in_runs: Vec::new(), records }
    }

    fn folded<'s>(
        mut self,
        catalogue: &Catalogue,
        partition: &Partition,
        stored: &[&'s StoredContributions],
        closed: Micros,
    ) -> Folded<'s> {
        let records = self.records;
        let hot = self.hot(&catalogue.rule(partition.rule).plan, partition.bucket, closed);
        let hot = Some(hot).filter(Hot::is_any);
        let own = hot.iter().flat_map(|hot| &hot.records).any(|record| record.own);
        Folded { records, found: hot.map(|hot| Found::of(catalogue, partition, stored, &hot)), own }
    }

    /// The records within the hot windows that start in a bucket.
    fn hot(&mut self, plan: &Node, bucket: Bucket, closed: Micros) -> Hot<'_> {
        Hot { records: hot_records(plan, bucket, &mut self.contributions, closed), in_runs: &self.in_runs }
    }
}

impl Contribution {
    /// Whether another record contributes the same no earlier, and both are occurrences within some time.
    fn is_followed_by(&self, other: &Self, within: &Range<Micros>) -> bool {
        let is_within = |one: &&Self| one.weight > 0 && one.time.is_some_and(|time| within.contains(&time));
        [self, other].iter().all(is_within)
            && self.time <= other.time
            && self.is_like(&Self { time: self.time, ..*other })
    }

    /// Whether another record contributes the same at the same time.
    fn is_like(&self, other: &Self) -> bool {
        *self == Self { key: self.key, weight: self.weight, ..*other }
    }
}

/// The records within hot windows.
struct Hot<'c> {
    /// By key; one contribution of each, or of each run.
    records: Vec<&'c Contribution>,
    in_runs: &'c [(RecordKey, RecordKey)],
}

impl Hot<'_> {
    /// Whether there are any. What only bears out is nothing by itself.
    fn is_any(&self) -> bool {
        self.records.iter().any(|record| record.weight > 0)
    }

    /// Whether a record is one of them, of which something is kept to be shown.
    fn has(&self, key: RecordKey) -> bool {
        let in_run = self.in_runs.binary_search_by_key(&key, |(record, _)| *record);
        let stands_for_it = in_run.map_or(key, |at| self.in_runs[at].1);
        self.records.binary_search_by_key(&stands_for_it, |record| record.key).is_ok()
    }
}

/// Leaves one contribution for each leaf of each record; returns how many records there are.
fn put_together_records(contributions: &mut Vec<Contribution>) -> usize {
    let mut keys: Vec<RecordKey> = contributions.iter().map(|one| one.key).collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.len() < contributions.len() {
        // The least of a leaf's values holds, so that the order of arrival does not matter.
        put_in_order(contributions, |one| (one.key, one.leaf, one.value.unwrap_or_default()));
        contributions.chunk_by_mut(|one, next| one.key == next.key).for_each(agree);
        contributions.dedup_by_key(|one| (one.key, one.leaf));
    }
    keys.len()
}

/// Has all that one record contributes say the same of it, in whatever order it came.
fn agree(record: &mut [Contribution]) {
    // It may come with different times (a log event's, an entry's own): the earliest holds.
    let time = record.iter().filter_map(|one| one.time).min();
    let weight = record.iter().map(|one| one.weight).max().unwrap_or_default();
    let failed = record.iter().all(|one| one.failed);
    // Who read it before the configuration named the resource, or the role, knew less.
    let own = record.iter().any(|one| one.own);
    let deploying = record.iter().all(|one| one.deploying);
    for one in record {
        *one = Contribution { time, weight, failed, own, deploying, ..*one };
    }
}

/// The records within the hot windows that start in a bucket, by key: one contribution of each.
fn hot_records<'c>(
    plan: &Node,
    bucket: Bucket,
    contributions: &'c mut [Contribution],
    closed: Micros,
) -> Vec<&'c Contribution> {
    let mut found: Vec<&Contribution> = Vec::with_capacity(contributions.len());
    let end = |bucket: Micros| bucket.saturating_add(bucket_length(plan.timespan()));
    match (plan, bucket) {
        // Without times there are no windows: a simple rule counts, a correlation says nothing.
        (Node::Leaf(_), None) => found.extend(contributions.iter()),
        (_, None) => {}
        (Node::Leaf(_), Some(bucket)) => {
            let bucket = bucket..end(bucket);
            found.extend(contributions.iter().filter(|one| one.time.is_some_and(|time| bucket.contains(&time))));
        }
        (_, Some(bucket)) => {
            put_in_order(contributions, |one| (one.time, one.weight, one.key));
            let starts = plan.hot_starts(contributions, closed);
            let [from, to] = [bucket, end(bucket)].map(|bound| starts.partition_point(|start| *start < bound));
            let mut starts = &starts[from..to];
            let (mut latest, reach) = (None, plan.reach());
            found.extend(contributions.iter().filter(|one| {
                let Some(time) = one.time else { return false };
                while let [start, later @ ..] = starts
                    && *start <= time
                {
                    (latest, starts) = (Some(*start), later);
                }
                latest.is_some_and(|start| time - start <= reach)
            }));
        }
    }
    // Mostly they come so, and each for one leaf.
    if !found.is_sorted_by(|one, next| one.key.0 < next.key.0) {
        found.sort_by_key(|one| one.key);
        found.dedup_by_key(|one| one.key);
    }
    found
}

/// What was kept of one record, wherever it was read.
#[derive(Debug)]
struct ReadIn<'s> {
    /// The place that stands for it.
    best: &'s KeptEvidence,
    others: Vec<&'s KeptEvidence>,
}

impl<'s> ReadIn<'s> {
    /// What was kept of one record, which is not nothing.
    fn of(kept: &[&'s KeptEvidence]) -> Option<Self> {
        let mut kept = kept.iter().copied();
        let mut read_in = Self { best: kept.next()?, others: Vec::new() };
        for one in kept {
            let is_better = one.told.sorts_before(&read_in.best.told);
            read_in.others.push(if is_better { std::mem::replace(&mut read_in.best, one) } else { one });
        }
        Some(read_in)
    }

    fn evidence(&self) -> Evidence {
        let others = self.others.iter().map(|other| other.told.evidence());
        others.fold(self.best.told.evidence(), Evidence::put_together)
    }
}

/// At most [`Evidence::MAX_ENTRIES`] entries of these records: by time, then hash; each record once.
fn chosen<'s>(stored: &[&'s StoredContributions], records: &Hot<'_>) -> Vec<ReadIn<'s>> {
    let mut kept: Vec<&KeptEvidence> = Vec::with_capacity(stored.iter().map(|part| part.evidence.len()).sum());
    kept.extend(stored.iter().flat_map(|part| &part.evidence).filter(|one| records.has(one.key)));
    put_in_order(&mut kept, |one| one.key);
    let mut by_record: Vec<ReadIn<'s>> = Vec::with_capacity(kept.len());
    by_record.extend(kept.chunk_by(|one, next| one.key == next.key).filter_map(ReadIn::of));
    put_in_order(&mut by_record, |read_in| read_in.best.order());
    by_record.truncate(Evidence::MAX_ENTRIES);
    by_record
}

/// The evidence of one finding by its records, put together from what was known of it before and what is known now: each
/// record's places are those of both. `more`: records that only the second knows are taken up too.
pub(super) fn put_together(
    known: (&[RecordKey], &[Evidence]),
    other: (&[RecordKey], &[Evidence]),
    more: bool,
) -> (Vec<RecordKey>, Vec<Evidence>) {
    let entries = |(keys, evidence): (&[RecordKey], &[Evidence])| -> Vec<(RecordKey, Evidence)> {
        keys.iter().copied().zip(evidence.iter().cloned()).collect()
    };
    let mut all: BTreeMap<RecordKey, Evidence> = entries(known).into_iter().collect();
    for (key, entry) in entries(other) {
        match all.remove(&key) {
            Some(known) => drop(all.insert(key, known.put_together(entry))),
            None if more => drop(all.insert(key, entry)),
            None => {}
        }
    }
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_by_key(|(key, entry)| (entry.time, *key));
    all.truncate(Evidence::MAX_ENTRIES);
    all.into_iter().unzip()
}

#[cfg(test)]
mod tests;
