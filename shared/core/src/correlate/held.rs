//! The contributions of a run that keeps no state, held in memory: the same findings as by way of the state.

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::contributions::{Contributions, Partition, StoredContributions, next_bucket, previous_bucket};
use super::fold::{Folded, folded};
use super::plan::{Micros, Node};
use crate::detect::Catalogue;
use crate::finding::{Finding, Message};

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

    /// The findings' messages, in any order, without those that are held back; nothing holds back tampering with
    /// cloudvigil's own resources.
    pub fn messages<'h>(
        &'h self,
        catalogue: &'h Catalogue,
        holds_back: impl Fn(&Finding) -> bool + 'h,
    ) -> impl Iterator<Item = Message> + 'h {
        // A window that starts in the bucket before may hold nothing but what is in this one.
        let before = self.0.keys().filter(|partition| !catalogue.rule(partition.rule).plan.is_monotone());
        let before = before.filter_map(|partition| previous_bucket(catalogue, partition));
        let before = before.filter(|partition| !self.0.contains_key(partition));
        let own = self.0.iter().map(|(partition, stored)| (partition.clone(), Some(stored)));
        own.chain(before.map(|partition| (partition, None))).filter_map(move |(partition, stored)| {
            let next = next_bucket(catalogue, &partition).and_then(|next| self.0.get(&next));
            let stored: Vec<_> = stored.into_iter().chain(next).collect();
            let Folded { finding, own, .. } = folded(catalogue, &partition, &stored, Micros::MAX);
            let told = finding.filter(|finding| own || !holds_back(finding))?;
            Some(catalogue.rule(partition.rule).message(told))
        })
    }
}
