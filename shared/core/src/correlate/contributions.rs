//! What the records of one object contribute, and what of it there is room for.

use std::collections::{BTreeMap, VecDeque};

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::contribution::Contribution;
use super::fold::is_hot;
use super::group::{self, BorrowedGroup};
use super::kept::{Teller, Told};
use super::packed::Packed;
use super::plan::{Micros, Node};
use super::set_aside::{MAX_SET_ASIDE, SetAside};
use super::stored::StoredContributions;
use super::{Bucket, Group, digest, finding_in};
use crate::detect::Catalogue;
use crate::finding::{Finding, Level};
use crate::record::Record;

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

/// To how many partitions one object contributes at most, those of critical rules apart, which have as many of their own.
/// An attack from a million addresses makes a partition of each; what it can make cloudvigil store is this.
pub(crate) const MAX_PARTITIONS: usize = 16_384;
/// How much evidence one object keeps for those of critical rules, and for all others: beyond it, each keeps a
/// few entries. A log of an attack by thousands is held in some tens of megabytes.
const MAX_KEPT: usize = 17 * 1024;

/// How many of the last partitions are remembered.
const RECENT: usize = 256;

/// What the records of one object contribute.
///
/// There is a budget for what one object makes cloudvigil store. Where it is used up, what is of a lower level gives way, and
/// what is no finding yet: of the lowest level that there is, what has waited longest for another contribution. Critical
/// rules have a budget of their own, and what goes beyond that is [set aside](SetAside) until the object ends, when it shows
/// what of it is a finding. What is given up is counted by rule.
#[derive(Debug, Default)]
pub struct Contributions {
    partitions: Vec<Place>,
    /// Where each partition is, by a hash of it.
    places: HashTable<usize>,
    /// Places of the last partitions, each where its group's [`BorrowedGroup::hint`] has it: attackers mostly take turns.
    recent: Vec<usize>,
    hashing: RandomState,
    /// How many are critical.
    critical: usize,
    /// What may give way, by level.
    waiting: BTreeMap<Level, Waiting>,
    set_aside: SetAside,
    given_up: BTreeMap<usize, u64>,
    room: Room,
    /// How much evidence all partitions hold, and the critical ones.
    kept: [usize; 2],
}

/// How much of one object there is room for.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// How many partitions, of critical rules and of others each.
    partitions: usize,
    /// How many bytes are set aside.
    set_aside: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { partitions: MAX_PARTITIONS, set_aside: MAX_SET_ASIDE }
    }
}

/// A partition and what is contributed to it.
#[derive(Debug)]
struct Place {
    partition: Partition,
    stored: StoredContributions,
    /// Whether it is of the critical ones' budget.
    is_critical: bool,
    /// Whether it gives way to none: one of its records is about cloudvigil's own resources.
    stays: bool,
}

/// The places of the partitions of a level.
#[derive(Debug, Default)]
struct Waiting {
    /// Those of which it is not known that they are findings, what has waited longest for another contribution first; with
    /// how much there was when they were looked at.
    open: VecDeque<(usize, usize)>,
    /// Those that are findings by what this object contributes alone, in the order in which they were.
    findings: Vec<usize>,
}

impl Waiting {
    /// Takes out what has waited longest for another contribution and is no finding yet.
    fn longest(&mut self, catalogue: &Catalogue, partitions: &[Place]) -> Option<usize> {
        while let Some((place, before)) = self.open.pop_front() {
            let Place { partition, stored, stays, .. } = &partitions[place];
            let now = stored.entries.len();
            if now > before {
                self.open.push_back((place, now));
            } else if !*stays && !is_hot(catalogue, partition.rule, partition.bucket, &[stored]) {
                return Some(place);
            } else if !*stays {
                self.findings.push(place);
            }
        }
        None
    }

    /// Takes out what was a finding last.
    fn last_finding(&mut self, partitions: &[Place]) -> Option<usize> {
        std::iter::from_fn(|| self.findings.pop()).find(|place| !partitions[*place].stays)
    }
}

/// What is nowhere.
const NOTHING: Partition = Partition { rule: usize::MAX, group: Group::new(), bucket: None };

impl Place {
    fn new(partition: Partition, is_critical: bool) -> Self {
        Self { partition, stored: StoredContributions::default(), is_critical, stays: false }
    }
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
        catalogue: &Catalogue,
        number: usize,
        group: &BorrowedGroup<'_>,
        bucket: Bucket,
        new: &Contribution,
        teller: &Teller<impl Fn() -> Told>,
    ) {
        let is_it = |place: &usize| {
            let known = self.partitions.get(*place).map(|known| &known.partition);
            known.is_some_and(|known| known.rule == number && known.bucket == bucket && group.is(&known.group))
        };
        let rule = catalogue.rule(number);
        let recent = group.hint(number) % RECENT;
        let place = if let Some(place) = self.recent.get(recent).copied().filter(is_it) {
            place
        } else {
            let hash = group.hash(&self.hashing, number, bucket);
            let known = self.places.find(hash, is_it).copied();
            let Some(place) = known.or_else(|| self.find_room(catalogue, (number, group, bucket), new, hash)) else {
                return;
            };
            self.recent.resize(RECENT, 0);
            self.recent[recent] = place;
            place
        };
        let Place { partition, stored, is_critical, stays } = &mut self.partitions[place];
        *stays |= new.own;
        let kept = &mut self.kept[usize::from(*is_critical)];
        let before = stored.evidence.len();
        let is_kept = stored.keep_of(rule, new.key, teller, *kept < MAX_KEPT);
        stored.entries.push(new);
        if is_kept {
            stored.look_for_what_is_shown(rule, partition);
        }
        *kept = *kept + stored.evidence.len() - before;
    }

    /// A place for a new partition; `None` where there is none for its first contribution, which is then taken care of.
    #[inline(never)]
    fn find_room(
        &mut self,
        catalogue: &Catalogue,
        (rule, group, bucket): (usize, &BorrowedGroup<'_>, Bucket),
        new: &Contribution,
        hash: u64,
    ) -> Option<usize> {
        let level = if new.own { Level::Critical } else { catalogue.rule(rule).level };
        let is_critical = level == Level::Critical;
        let used = if is_critical { self.critical } else { self.partitions.len() - self.critical };
        let partition = || Partition { rule, group: group.to_group(), bucket };
        let place =
            if used < self.room.partitions { Some(self.partitions.len()) } else { self.make_way(catalogue, level) };
        let Some(place) = place else {
            if is_critical {
                self.set_aside(catalogue, &partition(), &Packed::of_one(new));
            } else {
                self.count_as_given_up([(rule, 1)]);
            }
            return None;
        };
        let taken = Place::new(partition(), is_critical);
        if let Some(empty) = self.partitions.get_mut(place) {
            *empty = taken;
        } else {
            self.partitions.push(taken);
            self.critical += usize::from(is_critical);
        }
        self.remember(place, hash);
        self.waiting.entry(level).or_default().open.push_back((place, 1));
        Some(place)
    }

    fn remember(&mut self, place: usize, hash: u64) {
        let (partitions, hashing) = (&self.partitions, &self.hashing);
        self.places.insert_unique(hash, place, |place| partitions[*place].partition.hash(hashing));
    }

    /// Empties a place for a new partition of a level: of what is of a lower level, or else is no finding yet, what is of the
    /// lowest and has waited longest. `None`: what there is stays.
    fn make_way(&mut self, catalogue: &Catalogue, level: Level) -> Option<usize> {
        let is_critical = level == Level::Critical;
        let mut levels = self.waiting.iter_mut().filter(|(of, _)| **of == level || **of < level && !is_critical);
        let place = levels.find_map(|(of, waiting)| {
            let longest = waiting.longest(catalogue, &self.partitions);
            longest.or_else(|| if *of < level { waiting.last_finding(&self.partitions) } else { None })
        })?;
        let (partition, stored) = self.empty(place);
        if is_critical {
            self.set_aside(catalogue, &partition, &stored.entries);
        } else {
            self.count_as_given_up([(partition.rule, stored.entries.len() as u64)]);
        }
        Some(place)
    }

    /// Takes out what is in a place.
    fn empty(&mut self, place: usize) -> (Partition, StoredContributions) {
        let emptied = &mut self.partitions[place];
        let Place { partition, stored, is_critical, .. } = std::mem::replace(emptied, Place::new(NOTHING, false));
        self.kept[usize::from(is_critical)] -= stored.evidence.len();
        if let Ok(known) = self.places.find_entry(partition.hash(&self.hashing), |known| *known == place) {
            known.remove();
        }
        (partition, stored)
    }

    fn set_aside(&mut self, catalogue: &Catalogue, partition: &Partition, entries: &Packed) {
        self.set_aside.push(partition, entries);
        if self.set_aside.size() > self.room.set_aside {
            let ranked = self.set_aside.ranked(catalogue, &self.critical_places());
            let given_up = self.set_aside.keep_first(&ranked, self.room.set_aside / 2);
            self.count_as_given_up(given_up);
        }
    }

    fn count_as_given_up(&mut self, given_up: impl IntoIterator<Item = (usize, u64)>) {
        for (rule, count) in given_up {
            *self.given_up.entry(rule).or_default() += count;
        }
    }

    fn critical_places(&self) -> Vec<(usize, &Partition, &StoredContributions)> {
        let places = self.partitions.iter().enumerate().filter(|(_, place)| place.is_critical);
        places.map(|(number, place)| (number, &place.partition, &place.stored)).collect()
    }

    /// Decides which critical partitions are stored, now that all is known: of those that have a place and those that were
    /// set aside, the first in rank.
    pub(crate) fn take_back(&mut self, catalogue: &Catalogue) {
        if self.set_aside.size() == 0 {
            return;
        }
        let ranked = self.set_aside.ranked(catalogue, &self.critical_places());
        let set_aside = std::mem::take(&mut self.set_aside);
        let (mut free, mut without_place) = (Vec::new(), Vec::new());
        for (rank, (candidate, parts)) in ranked.iter().enumerate() {
            if rank >= self.room.partitions {
                self.count_as_given_up([(candidate.rule(), candidate.contributions())]);
                if let Some(place) = candidate.place() {
                    self.empty(place);
                    free.push(place);
                }
                continue;
            }
            let mut entries = set_aside.entries(parts);
            if let Some(place) = candidate.place() {
                let stored = &mut self.partitions[place].stored;
                entries.append(&stored.entries);
                stored.entries = entries;
            } else {
                without_place.extend(parts.first().map(|part| (set_aside.partition(*part), entries)));
            }
        }
        // Nothing is set aside before all places are taken: as many have become free as are wanted.
        for ((partition, entries), place) in without_place.into_iter().zip(free) {
            let hash = partition.hash(&self.hashing);
            let stored = StoredContributions::of_entries(entries);
            self.partitions[place] = Place { stored, ..Place::new(partition, true) };
            self.remember(place, hash);
        }
    }

    /// Makes room for so many more partitions of each kind: those that say what was given up.
    pub(crate) fn allow_beyond(&mut self, partitions: usize) {
        self.room.partitions += partitions;
    }

    /// The rules of which something was given up, by number, and how many contributions.
    pub fn given_up(&self) -> impl Iterator<Item = (usize, u64)> {
        self.given_up.iter().map(|(rule, count)| (*rule, *count))
    }

    /// The partitions and what this object contributes to each.
    pub fn iter(&self) -> impl Iterator<Item = (&Partition, &StoredContributions)> {
        self.partitions.iter().map(|place| (&place.partition, &place.stored))
    }

    /// The partitions and what goes into each.
    pub(crate) fn into_partitions(self) -> impl Iterator<Item = (Partition, StoredContributions)> {
        let places = self.partitions.into_iter().filter(|place| place.stored.entries.len() > 0);
        places.map(|place| (place.partition, place.stored))
    }

    /// The partitions, to add something to what this object contributes to each.
    pub(super) fn partitions_mut(&mut self) -> impl Iterator<Item = (&Partition, &mut StoredContributions)> {
        self.partitions.iter_mut().map(|place| (&place.partition, &mut place.stored))
    }

    /// Those to one partition.
    pub(super) fn of_one(partition: Partition, stored: StoredContributions) -> Self {
        let mut one = Self::default();
        one.push(partition, stored);
        one
    }

    fn push(&mut self, partition: Partition, stored: StoredContributions) {
        let hash = partition.hash(&self.hashing);
        self.partitions.push(Place { stored, ..Place::new(partition, false) });
        self.remember(self.partitions.len() - 1, hash);
    }

    /// What goes to a partition.
    pub(super) fn of(&self, partition: &Partition) -> Option<&StoredContributions> {
        let place = self.place_of(partition)?;
        Some(&self.partitions[place].stored)
    }

    fn place_of(&self, partition: &Partition) -> Option<usize> {
        let is_it = |place: &usize| self.partitions[*place].partition == *partition;
        self.places.find(partition.hash(&self.hashing), is_it).copied()
    }

    /// Takes up what another object contributes, or this one again, for which there is room in any case.
    pub(super) fn absorb(&mut self, catalogue: &Catalogue, mut other: Self) {
        // In a large file there are tens of thousands, each with room for as much again.
        other.partitions.iter_mut().for_each(|place| place.stored.entries.shrink());
        if self.is_empty() {
            *self = other;
            return;
        }
        for (partition, stored) in other.into_partitions() {
            if let Some(place) = self.place_of(&partition) {
                let is_simple = matches!(catalogue.rule(partition.rule).plan, Node::Leaf(_));
                self.partitions[place].stored.absorb(stored, is_simple);
            } else {
                self.push(partition, stored);
            }
        }
    }

    /// How many entries are kept as evidence.
    pub(super) fn evidence(&self) -> usize {
        self.partitions.iter().map(|place| place.stored.evidence.len()).sum()
    }

    /// Leaves out what would be told of a rule, by its number.
    pub fn leave_out(&mut self, rule: usize) {
        for place in self.partitions.iter_mut().filter(|place| place.partition.rule == rule) {
            place.stored = StoredContributions::default();
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
        let stored: Vec<_> =
            [Some(partition), next.as_ref()].into_iter().flatten().filter_map(|wanted| self.of(wanted)).collect();
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
    let bucket = shifted_bucket(&catalogue.rule(partition.rule).plan, partition.bucket, by)?;
    Some(Partition { bucket: Some(bucket), ..partition.clone() })
}

/// The start of the bucket that is so many after one, where a window may reach from one into another.
pub(super) fn shifted_bucket(plan: &Node, bucket: Bucket, by: Micros) -> Option<Micros> {
    let timespan = plan.timespan();
    Some(bucket.filter(|_| timespan > 0)? + by * super::bucket_length(timespan))
}

#[cfg(test)]
mod tests;
