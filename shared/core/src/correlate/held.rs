//! The contributions of a run that keeps no state, held in memory: the same findings as by way of the state.

use std::borrow::Cow;

use super::contributions::{Contributions, Partition, next_bucket, previous_bucket};
use super::fold::{Folded, Found, folded};
use super::plan::Micros;
use crate::detect::Catalogue;
use crate::finding::Finding;

/// What the objects of a run contribute, whose input has an end.
#[derive(Debug, Default)]
pub struct Held(Contributions);

impl Held {
    /// Takes what an object contributes. The same object again changes nothing.
    pub fn take(&mut self, catalogue: &Catalogue, contributions: Contributions) {
        self.0.absorb(catalogue, contributions);
    }

    /// The partitions that may have a finding, each once, in any order.
    pub fn partitions<'h>(&'h self, catalogue: &Catalogue) -> Vec<Cow<'h, Partition>> {
        // A window that starts in the bucket before may hold nothing but what is in this one.
        let own = || self.0.iter().map(|(partition, _)| partition);
        let before = own().filter(|partition| !catalogue.rule(partition.rule).plan.is_monotone());
        let before = before.filter_map(|partition| previous_bucket(catalogue, partition));
        let before = before.filter(|partition| self.0.of(partition).is_none()).map(Cow::Owned);
        own().map(Cow::Borrowed).chain(before).collect()
    }

    /// The finding of a partition, if there is one and it is not held back, where anything may be; nothing holds back
    /// tampering with cloudvigil's own resources.
    pub fn found(
        &self,
        catalogue: &Catalogue,
        partition: &Partition,
        holds_back: Option<&dyn Fn(&Finding) -> bool>,
    ) -> Option<Found<'_>> {
        let next = next_bucket(catalogue, partition).and_then(|next| self.0.of(&next));
        let stored: Vec<_> = self.0.of(partition).into_iter().chain(next).collect();
        let Folded { found, own, .. } = folded(catalogue, partition, &stored, Micros::MAX);
        let is_told = |holds_back: &dyn Fn(&Finding) -> bool, found: &Found<'_>| {
            own || !holds_back(&found.finding(catalogue, partition))
        };
        found.filter(|found| holds_back.is_none_or(|holds_back| is_told(holds_back, found)))
    }
}
