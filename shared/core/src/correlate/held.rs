//! The contributions of a run that keeps no state, held in memory: the same findings as by way of the state.

use std::borrow::Cow;

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::contributions::{Contributions, Partition, next_bucket, previous_bucket};
use super::fold::{Folded, Found, folded};
use super::plan::{Micros, Node};
use super::stored::StoredContributions;
use crate::detect::Catalogue;
use crate::finding::Finding;

/// What the objects of a run contribute, whose input has an end.
#[derive(Debug, Default)]
pub struct Held(HashMap<Partition, StoredContributions, RandomState>);

impl Held {
    /// Takes what an object contributes. The same object again changes nothing.
    pub fn take(&mut self, catalogue: &Catalogue, contributions: Contributions) {
        for (partition, stored) in contributions.into_partitions() {
            let is_simple = matches!(catalogue.rule(partition.rule).plan, Node::Leaf(_));
            match self.0.entry(partition) {
                Entry::Vacant(place) => drop(place.insert(stored)),
                Entry::Occupied(mut place) => place.get_mut().absorb(stored, is_simple),
            }
        }
    }

    /// The partitions that may have a finding, each once, in any order.
    pub fn partitions<'h>(&'h self, catalogue: &Catalogue) -> Vec<Cow<'h, Partition>> {
        // A window that starts in the bucket before may hold nothing but what is in this one.
        let before = self.0.keys().filter(|partition| !catalogue.rule(partition.rule).plan.is_monotone());
        let before = before.filter_map(|partition| previous_bucket(catalogue, partition));
        let before = before.filter(|partition| !self.0.contains_key(partition)).map(Cow::Owned);
        self.0.keys().map(Cow::Borrowed).chain(before).collect()
    }

    /// The finding of a partition, if there is one and it is not held back, where anything may be; nothing holds back
    /// tampering with cloudvigil's own resources.
    pub fn found(
        &self,
        catalogue: &Catalogue,
        partition: &Partition,
        holds_back: Option<&dyn Fn(&Finding) -> bool>,
    ) -> Option<Found<'_>> {
        let next = next_bucket(catalogue, partition).and_then(|next| self.0.get(&next));
        let stored: Vec<_> = self.0.get(partition).into_iter().chain(next).collect();
        let Folded { found, own, .. } = folded(catalogue, partition, &stored, Micros::MAX);
        let is_told = |holds_back: &dyn Fn(&Finding) -> bool, found: &Found<'_>| {
            own || !holds_back(&found.finding(catalogue, partition))
        };
        found.filter(|found| holds_back.is_none_or(|holds_back| is_told(holds_back, found)))
    }
}
