//! What one object contributes to one partition, and how much of it is kept to be shown.

use hashbrown::HashSet;
use serde::{Deserialize, Serialize};

use super::contribution::RecordKey;
use super::contributions::Partition;
use super::fold::shown;
use super::kept::{KeptEvidence, Order, Teller, Told};
use super::packed::Packed;
use super::plan::Node;
use crate::detect::Rule;
use crate::finding::Evidence;

/// How many bytes of contributions one stored item holds, before base64.
const PER_ITEM: usize = 144 * 1024;
/// How much evidence one object keeps for a partition: entries, and bytes of JSON.
const MAX_EVIDENCE: usize = 64;
const MAX_EVIDENCE_BYTES: usize = 100 * 1024;
/// How much it keeps for one in any case, however many there are.
const FEW_EVIDENCE: usize = 2;
/// How much evidence of several objects is held together for a partition.
const MAX_HELD_EVIDENCE: usize = 2 * MAX_EVIDENCE;
/// How many of the first entries are always kept: what a simple rule's finding shows.
const FIRST_EVIDENCE: usize = Evidence::MAX_ENTRIES;

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

impl StoredContributions {
    /// Contributions of which nothing can be shown.
    pub(super) fn of_entries(entries: Packed) -> Self {
        Self { entries, ..Self::default() }
    }

    /// Keeps what is told of a record if the rule's finding may show it, and says whether it is to be
    /// [looked for](Self::look_for_what_is_shown) what else it shows. `has_room`: more than a few entries may be kept.
    #[inline]
    pub(super) fn keep_of(
        &mut self,
        rule: &Rule,
        key: RecordKey,
        teller: &Teller<impl Fn() -> Told>,
        has_room: bool,
    ) -> bool {
        let has_room = has_room || self.evidence.len() < FEW_EVIDENCE;
        if matches!(rule.plan, Node::Leaf(_)) {
            self.keep_if_early(key, teller, has_room);
            return false;
        }
        has_room && self.keep(key, teller)
    }

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
    pub(super) fn look_for_what_is_shown(&mut self, rule: &Rule, partition: &Partition) {
        if self.evidence.len() >= FIRST_EVIDENCE && self.entries.len() >= 2 * self.looked_at {
            self.looked_at = self.entries.len();
            if let Some(shown) = shown(&rule.plan, partition, self) {
                self.last_shown = shown.last().copied();
                self.evidence.retain(|kept| Some(kept.order()) <= self.last_shown);
                // Thinning out leaves the first.
                self.evidence.sort_by_key(|kept| !shown.contains(&kept.order()));
            }
        }
        if self.evidence.len() == MAX_EVIDENCE {
            self.thin_out();
        }
    }

    /// Whether there are more entries than a finding shows.
    pub(super) fn is_crowded(&self) -> bool {
        self.evidence.len() > FIRST_EVIDENCE
    }

    /// Leaves the entries of these records, or the first ones where there are none of these.
    pub(super) fn leave(&mut self, shown: &HashSet<RecordKey>) {
        let is_shown = |kept: &KeptEvidence| shown.contains(&kept.key);
        if self.evidence.iter().any(is_shown) {
            self.evidence.retain(is_shown);
        } else {
            self.evidence.truncate(FIRST_EVIDENCE);
        }
        self.evidence.shrink_to_fit();
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
    pub(crate) fn into_items(mut self) -> impl Iterator<Item = Self> {
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
