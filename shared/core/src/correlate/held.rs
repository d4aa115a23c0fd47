//! The contributions of a run that keeps no state, held in memory: the same findings as by way of the state.

use std::borrow::Cow;

use hashbrown::HashSet;

use super::contribution::RecordKey;
use super::contributions::{Contributions, Partition, next_bucket, previous_bucket};
use super::fold::{Folded, Found, folded};
use super::plan::Micros;
use crate::detect::Catalogue;
use crate::finding::Finding;

/// How much evidence of several objects is held before some of what no finding shows so far is left out.
const MAX_EVIDENCE: usize = 128 * 1024;

/// What the objects of a run contribute, whose input has an end.
#[derive(Debug)]
pub struct Held {
    contributions: Contributions,
    /// How many entries came as evidence, but for those that were left out.
    evidence: usize,
    /// How many there may be before some are left out.
    room: usize,
}

impl Default for Held {
    fn default() -> Self {
        Self { contributions: Contributions::default(), evidence: 0, room: MAX_EVIDENCE }
    }
}

impl Held {
    /// Takes what an object contributes. The same object again changes nothing.
    pub fn take(&mut self, catalogue: &Catalogue, contributions: Contributions) {
        // One object has a budget of its own.
        let is_first = self.contributions.is_empty();
        self.evidence += contributions.evidence();
        self.contributions.absorb(catalogue, contributions);
        if self.evidence > self.room && !is_first {
            self.leave_what_is_shown(catalogue);
            self.evidence = self.contributions.evidence();
            self.room = self.room.max(2 * self.evidence);
        }
    }

    /// Leaves out what no finding shows so far where there is more than one finding shows.
    fn leave_what_is_shown(&mut self, catalogue: &Catalogue) {
        let crowded = self.contributions.iter().filter(|(_, stored)| stored.is_crowded());
        // A window of the bucket before may reach into this one.
        let those = crowded.flat_map(|(partition, _)| [Some(partition.clone()), previous_bucket(catalogue, partition)]);
        let found = those.flatten().filter_map(|partition| self.found(catalogue, &partition, None));
        let shown: HashSet<RecordKey> = found.flat_map(|found| found.shown()).collect();
        let crowded = self.contributions.partitions_mut().filter(|(_, stored)| stored.is_crowded());
        crowded.for_each(|(_, stored)| stored.leave(&shown));
    }

    /// The partitions that may have a finding, each once, in any order.
    pub fn partitions<'h>(&'h self, catalogue: &Catalogue) -> Vec<Cow<'h, Partition>> {
        // A window that starts in the bucket before may hold nothing but what is in this one.
        let own = || self.contributions.iter().map(|(partition, _)| partition);
        let before = own().filter(|partition| !catalogue.rule(partition.rule).plan.is_monotone());
        let before = before.filter_map(|partition| previous_bucket(catalogue, partition));
        let before = before.filter(|partition| self.contributions.of(partition).is_none()).map(Cow::Owned);
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
        let next = next_bucket(catalogue, partition).and_then(|next| self.contributions.of(&next));
        let stored: Vec<_> = self.contributions.of(partition).into_iter().chain(next).collect();
        let Folded { found, own, .. } = folded(catalogue, partition, &stored, Micros::MAX);
        let is_told = |holds_back: &dyn Fn(&Finding) -> bool, found: &Found<'_>| {
            own || !holds_back(&found.finding(catalogue, partition))
        };
        found.filter(|found| holds_back.is_none_or(|holds_back| is_told(holds_back, found)))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::detect::RuleFile;
    use crate::formats;
    use crate::pipeline::{Options, Pipeline};

    const RULES: &str = "
title: Attempt
name: attempt
logsource: {product: linux, service: sshd}
detection: {selection: {event: failed_password}, condition: selection}
---
title: Guessed
id: guessed
correlation: {type: event_count, rules: [attempt], group-by: [src_ip], timespan: 1h, condition: {gte: 40}}
---
title: Rare
id: rare
correlation: {type: event_count, rules: [attempt], group-by: [src_ip], timespan: 1h, condition: {lt: 5}}
---
title: Root
id: root
logsource: {product: linux, service: sshd}
detection: {selection: {user: root}, condition: selection}
group-by: [src_ip]
";

    /// Two minutes of a log: thirty strangers fail once, another twice in an hour, an attacker all the time, and one more
    /// from shortly before a bucket's end on, so often that only with that is it a finding.
    fn log(minute: u32) -> String {
        let mut log = String::new();
        let mut fails = |second: u32, address: &str| {
            let (hour, minute, second) = (10 + minute / 60, minute % 60, second % 60);
            // What another rule's finding shows as well stays anyway.
            let user = if address == "203.0.113.10" { "bob" } else { "root" };
            let _ = writeln!(
                log,
                "2026-03-01T{hour}:{minute:02}:{second:02}Z host sshd[7]: Failed password for {user} from {address} port 1024 ssh2"
            );
        };
        (0..30).for_each(|stranger| fails(stranger, &format!("198.51.100.{stranger}")));
        (0..10).for_each(|again| fails(30 + again, "203.0.113.9"));
        (0..2 * u32::from((112..=150).contains(&minute))).for_each(|again| fails(45 + again, "203.0.113.10"));
        (0..u32::from(minute.is_multiple_of(30))).for_each(|_| fails(50, "203.0.113.11"));
        log
    }

    fn findings(catalogue: &Catalogue, held: &Held) -> Vec<String> {
        let found = |partition: Cow<'_, Partition>| {
            Some(held.found(catalogue, &partition, None)?.finding(catalogue, &partition))
        };
        let findings = held.partitions(catalogue).into_iter().filter_map(found);
        let mut told: Vec<String> = findings.map(|finding| serde_json::to_string(&finding).unwrap()).collect();
        told.sort_unstable();
        told
    }

    #[test]
    fn evidence_that_no_finding_shows_gives_way_and_findings_are_the_same() {
        let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("rules.yml", RULES)]);
        assert!(problems.is_empty(), "{problems:?}");
        let options = Options { format: formats::by_name("syslog"), ..Options::default() };
        let pipeline = Pipeline::new(&catalogue, options);
        let contributions = |minute: u32| {
            let mut analysis = pipeline.analysis(&format!("{minute:03}.log"), format!("object {minute}"), None);
            assert!(analysis.push(log(minute).as_bytes()));
            analysis.finish().contributions
        };
        let minutes = || (0..240).step_by(2);
        // Backwards, what a finding will show is not what comes first: there, all is known when it is looked.
        let backwards: Vec<u32> = minutes().rev().collect();
        for (minutes, room) in [(minutes().collect(), 50), (backwards, MAX_EVIDENCE)] {
            let [mut plenty, mut little] = [MAX_EVIDENCE, room].map(|room| Held { room, ..Held::default() });
            for minute in minutes {
                plenty.take(&catalogue, contributions(minute));
                little.take(&catalogue, contributions(minute));
            }
            little.leave_what_is_shown(&catalogue);
            let found = findings(&catalogue, &plenty);
            let of = |rule: &str| found.iter().filter(|told| told.contains(&format!("\"rule\":\"{rule}\""))).count();
            assert!(of("guessed") >= 3 && of("rare") >= 2 && of("root") > 60, "{found:#?}");
            assert_eq!(findings(&catalogue, &little), found);
            let [plenty, little] = [plenty, little].map(|held| held.contributions.evidence());
            assert!(little * 2 < plenty, "{little} of {plenty} entries");
        }
    }
}
