//! What the records of one object contribute, and how it is stored.

use std::collections::BTreeMap;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use super::contribution::{Contribution, RecordKey};
use super::fold::last_shown;
use super::group::{self, BorrowedGroup};
use super::kept::{KeptEvidence, Order, Teller, Told};
use super::packed::Packed;
use super::plan::{Micros, Node};
use super::{Bucket, Group, digest, finding_in};
use crate::detect::{Catalogue, Rule};
use crate::finding::{Evidence, Finding, Level};
use crate::record::Record;

/// How many bytes of contributions one stored item holds, before base64.
const PER_ITEM: usize = 144 * 1024;
/// How much evidence one object keeps for a partition: entries, and bytes of JSON.
const MAX_EVIDENCE: usize = 64;
const MAX_EVIDENCE_BYTES: usize = 100 * 1024;
/// How much evidence one object keeps for all partitions together: beyond it, each keeps a few entries. A log of an
/// attack by thousands is held in some tens of megabytes.
const MAX_KEPT: usize = 32 * 1024;
const FEW_EVIDENCE: usize = 2;
/// How much evidence of several objects is held together for a partition.
const MAX_HELD_EVIDENCE: usize = 2 * MAX_EVIDENCE;
/// How many of the first entries are always kept: what a simple rule's finding shows.
const FIRST_EVIDENCE: usize = Evidence::MAX_ENTRIES;

/// Where contributions meet: what one finding is computed from, but for those of the next bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The rule's number in the catalogue.
    pub rule: usize,
    /// What the contributions have in common.
    pub group: Group,
    /// Their bucket.
    pub bucket: Bucket,
}

impl Partition {
    /// As a [`BorrowedGroup`] of the same values is hashed.
    fn hash(&self, hashing: &RandomState) -> u64 {
        group::hash(hashing, self.rule, self.bucket, self.group.values().map(Option::as_deref))
    }

    /// The partition key in the state: the rule's logic, the group, the bucket.
    pub fn key(&self, catalogue: &Catalogue) -> String {
        let logic = &catalogue.rule(self.rule).logic;
        let group = digest(&[&super::group_text(&self.group)]);
        match self.bucket {
            Some(start) => format!("c#{logic}#{group}#{start}"),
            None => format!("c#{logic}#{group}#none"),
        }
    }
}

/// What one object, or a part of it, contributes to one partition: the body of a stored item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredContributions {
    /// The shape's version.
    pub(super) schema: u32,
    pub(super) entries: Packed,
    pub(super) evidence: Vec<KeptEvidence>,
    /// How often the evidence was thinned out.
    #[serde(skip)]
    thinned: u32,
    /// The last entry that the finding shows in any case: no later one is kept.
    #[serde(skip)]
    last_shown: Option<Order>,
    /// How much was contributed when that was looked for.
    #[serde(skip)]
    looked_at: usize,
}

/// To how many partitions one object contributes at most, those of critical rules apart, which have as many of their own.
/// An attack from a million addresses makes a partition of each; what it can make cloudvigil store is this.
pub(crate) const MAX_PARTITIONS: usize = 16_384;

/// How many of the last partitions are remembered.
const RECENT: usize = 256;

/// What the records of one object contribute.
///
/// Beyond [`MAX_PARTITIONS`] something is given up: of the lowest level that has any, the partition that came last. So a
/// lower level gives way to a higher one, and nothing to another object's. What is given up is counted by rule.
#[derive(Debug, Default)]
pub struct Contributions {
    partitions: Vec<(Partition, StoredContributions)>,
    /// Where each partition is, by a hash of it.
    places: HashTable<usize>,
    /// Places of the last partitions, each where its group's [`BorrowedGroup::hint`] has it: attackers mostly take turns.
    recent: Vec<usize>,
    hashing: RandomState,
    /// The partitions of each level, in the order in which they came.
    by_level: BTreeMap<Level, Vec<usize>>,
    given_up: BTreeMap<usize, u64>,
    /// What is allowed beyond the budget.
    beyond: usize,
    /// How much evidence all partitions hold.
    kept: usize,
}

/// Whether a record is a call to AWS that was refused or failed: `CloudTrail` gives such an `errorCode`.
pub(crate) fn is_failed_call(record: &Record<'_>) -> bool {
    record.log_source.services.contains(&"cloudtrail") && record.fields.text("errorCode").is_some()
}

impl Contributions {
    /// Adds one to the partition of a rule, which has this number, a group and a bucket. What the finding says of the record
    /// is worked out only where it is kept.
    pub(crate) fn add(
        &mut self,
        (number, rule): (usize, &Rule),
        group: &BorrowedGroup<'_>,
        bucket: Bucket,
        new: &Contribution,
        teller: &Teller<impl Fn() -> Told>,
    ) {
        let is_it = |place: &usize| {
            let known = self.partitions.get(*place).map(|(known, _)| known);
            known.is_some_and(|known| known.rule == number && known.bucket == bucket && group.is(&known.group))
        };
        let recent = group.hint(number) % RECENT;
        let place = if let Some(place) = self.recent.get(recent).copied().filter(is_it) {
            place
        } else {
            let hash = group.hash(&self.hashing, number, bucket);
            let known = self.places.find(hash, is_it).copied();
            let Some(place) = known.or_else(|| self.room_for(rule.level)) else {
                *self.given_up.entry(number).or_default() += 1;
                return;
            };
            if known.is_none() {
                self.partitions[place].0 = Partition { rule: number, group: group.to_group(), bucket };
                let (partitions, hashing) = (&self.partitions, &self.hashing);
                self.places.insert_unique(hash, place, |place| partitions[*place].0.hash(hashing));
                self.by_level.entry(rule.level).or_default().push(place);
            }
            self.recent.resize(RECENT, 0);
            self.recent[recent] = place;
            place
        };
        let (partition, stored) = &mut self.partitions[place];
        let before = stored.evidence.len();
        let has_room = self.kept < MAX_KEPT || before < FEW_EVIDENCE;
        let is_kept = match rule.plan {
            Node::Leaf(_) => {
                stored.keep_if_early(new.key, teller, has_room);
                false
            }
            _ => has_room && stored.keep(new.key, teller),
        };
        stored.entries.push(new);
        if is_kept {
            stored.look_for_what_is_shown(rule, partition);
        }
        self.kept = self.kept + stored.evidence.len() - before;
    }

    /// An empty place for a new partition of this level; `None` where only higher levels could give way.
    fn room_for(&mut self, level: Level) -> Option<usize> {
        let critical = self.by_level.get(&Level::Critical).map_or(0, Vec::len);
        let used = if level == Level::Critical { critical } else { self.partitions.len() - critical };
        if used < MAX_PARTITIONS + self.beyond {
            self.partitions
                .push((Partition { rule: 0, group: Group::new(), bucket: None }, StoredContributions::default()));
            return Some(self.partitions.len() - 1);
        }
        let mut lower = self.by_level.iter_mut().filter(|(lowest, places)| **lowest < level && !places.is_empty());
        let place = lower.next().filter(|_| level < Level::Critical)?.1.pop()?;
        let (partition, stored) = &mut self.partitions[place];
        *self.given_up.entry(partition.rule).or_default() += stored.entries.len() as u64;
        self.kept -= stored.evidence.len();
        *stored = StoredContributions::default();
        if let Ok(known) = self.places.find_entry(partition.hash(&self.hashing), |known| *known == place) {
            known.remove();
        }
        Some(place)
    }

    /// Makes room for so many more partitions of each kind: those that say what was given up.
    pub(crate) fn allow_beyond(&mut self, partitions: usize) {
        self.beyond = partitions;
    }

    /// The rules of which something was given up, by number, and how many contributions.
    pub fn given_up(&self) -> impl Iterator<Item = (usize, u64)> {
        self.given_up.iter().map(|(rule, count)| (*rule, *count))
    }

    /// The partitions and what this object contributes to each.
    pub fn iter(&self) -> impl Iterator<Item = (&Partition, &StoredContributions)> {
        self.partitions.iter().map(|(partition, stored)| (partition, stored))
    }

    /// The partitions and what goes into each.
    pub(super) fn into_partitions(self) -> impl Iterator<Item = (Partition, StoredContributions)> {
        self.partitions.into_iter().filter(|(_, stored)| stored.entries.len() > 0)
    }

    /// The partitions, to add something to what this object contributes to each.
    pub(super) fn partitions_mut(&mut self) -> impl Iterator<Item = (&Partition, &mut StoredContributions)> {
        self.partitions.iter_mut().map(|(partition, stored)| (&*partition, stored))
    }

    /// Those to one partition.
    pub(super) fn of_one(partition: Partition, stored: StoredContributions) -> Self {
        Self { partitions: vec![(partition, stored)], ..Self::default() }
    }

    /// Leaves out what would be told of a rule, by its number.
    pub fn leave_out(&mut self, rule: usize) {
        for (_, stored) in self.partitions.iter_mut().filter(|(partition, _)| partition.rule == rule) {
            *stored = StoredContributions::default();
        }
    }

    /// Whether nothing matched.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Whether these contributions alone make a finding of a partition.
    pub fn is_hot(&self, catalogue: &Catalogue, partition: &Partition) -> bool {
        self.finding(catalogue, partition).is_some()
    }

    /// The finding that these contributions alone make of a partition.
    pub fn finding(&self, catalogue: &Catalogue, partition: &Partition) -> Option<Finding> {
        let next = next_bucket(catalogue, partition);
        let stored: Vec<_> = [Some(partition), next.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|wanted| Some(self.iter().find(|(partition, _)| *partition == wanted)?.1))
            .collect();
        finding_in(catalogue, partition, &stored)
    }
}

/// The partition of the bucket after this one; windows that start here may reach into it.
pub(super) fn next_bucket(catalogue: &Catalogue, partition: &Partition) -> Option<Partition> {
    shifted(catalogue, partition, 1)
}

/// The partition of the bucket before this one; its windows may reach into this.
pub(super) fn previous_bucket(catalogue: &Catalogue, partition: &Partition) -> Option<Partition> {
    shifted(catalogue, partition, -1)
}

fn shifted(catalogue: &Catalogue, partition: &Partition, by: Micros) -> Option<Partition> {
    let timespan = catalogue.rule(partition.rule).plan.timespan();
    let bucket = partition.bucket.filter(|_| timespan > 0)? + by * super::bucket_length(timespan);
    Some(Partition { bucket: Some(bucket), ..partition.clone() })
}

impl StoredContributions {
    /// Keeps an entry, unless it is known not to be shown, and says whether it did. Which ones lie in hot windows is mostly
    /// not known yet, so those that are kept are spread over all that came: each time the evidence is thinned out, every
    /// second one is left of those to come, too.
    fn keep(&mut self, key: RecordKey, teller: &Teller<impl Fn() -> Told>) -> bool {
        let is_one_of_a_stride = self.entries.len().trailing_zeros() >= self.thinned;
        let is_kept = is_one_of_a_stride && self.last_shown.is_none_or(|last| (teller.time, key) < last);
        if is_kept {
            self.evidence.push(KeptEvidence { key, told: teller.told() });
        }
        is_kept
    }

    /// Looks whether what is kept is all that the finding will show of this object: once that may be, and then whenever twice
    /// as much has been contributed.
    fn look_for_what_is_shown(&mut self, rule: &Rule, partition: &Partition) {
        if self.evidence.len() >= FIRST_EVIDENCE && self.entries.len() >= 2 * self.looked_at {
            self.looked_at = self.entries.len();
            if let Some(last) = last_shown(&rule.plan, partition, self) {
                self.evidence.retain(|kept| kept.order() <= last);
                self.last_shown = Some(last);
            }
        }
        if self.evidence.len() == MAX_EVIDENCE {
            self.thin_out();
        }
    }

    /// Keeps an entry if it is among the first, which are all that a simple rule's finding shows.
    fn keep_if_early(&mut self, key: RecordKey, teller: &Teller<impl Fn() -> Told>, has_room: bool) {
        let is_full = self.evidence.len() >= FIRST_EVIDENCE || !has_room;
        let order: Order = (teller.time, key);
        if is_full && self.evidence.last().is_none_or(|last| last.order() <= order) {
            return;
        }
        let place = self.evidence.partition_point(|kept| kept.order() <= order);
        self.evidence.insert(place, KeptEvidence { key, told: teller.told() });
        if is_full {
            self.evidence.pop();
        }
    }

    /// Drops every second entry of evidence, but for the first ones.
    fn thin_out(&mut self) {
        let mut number = 0;
        self.evidence.retain(|_| {
            number += 1;
            number <= FIRST_EVIDENCE || number % 2 == 0
        });
        self.thinned += 1;
    }

    /// Bytes of JSON.
    fn evidence_size(&self) -> usize {
        let size = |kept| serde_json::to_string(kept).map_or(MAX_EVIDENCE_BYTES, |text| text.len());
        self.evidence.iter().map(size).sum()
    }

    /// Takes up what another object contributes to the same partition, or this one again. `first`: no more evidence is
    /// ever asked for than the first entries.
    pub(super) fn absorb(&mut self, other: Self, first: bool) {
        if self.entries.len() == 0 {
            *self = other;
            return;
        }
        self.entries.append(&other.entries);
        self.evidence.extend(other.evidence);
        if self.evidence.len() > MAX_HELD_EVIDENCE {
            self.evidence.sort_by_key(KeptEvidence::order);
            if first {
                self.evidence.truncate(FIRST_EVIDENCE);
            } else {
                self.thin_out();
            }
        }
    }

    /// The bodies of the items that hold this: each well under the state's limit.
    pub(super) fn into_items(mut self) -> impl Iterator<Item = Self> {
        while self.evidence_size() > MAX_EVIDENCE_BYTES {
            let before = self.evidence.len();
            self.thin_out();
            if self.evidence.len() == before {
                self.evidence.pop();
            }
        }
        let mut evidence = Some(self.evidence);
        self.entries.split(PER_ITEM).into_iter().map(move |entries| Self {
            schema: super::settle::SCHEMA,
            entries,
            evidence: evidence.take().unwrap_or_default(),
            ..Self::default()
        })
    }
}
