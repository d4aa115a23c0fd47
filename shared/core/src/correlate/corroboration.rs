//! What bears a finding out and is no occurrence of it: the state in which a call left the thing that it was aimed at.
//!
//! It becomes an entry of the finding's evidence, so that the finding names all that saw what happened and says what it
//! came to; it is not counted, and moves neither time nor level. Whoever hears of it later than the finding was published is
//! told nothing anew.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::contribution::{Contribution, RecordKey};
use super::contributions::{Contributions, Partition};
use super::kept::{KeptEvidence, Told};
use super::plan::Node;
use super::stored::StoredContributions;
use super::{bucket_of, digest};
use crate::detect::Catalogue;
use crate::finding::Finding;
use crate::record::FactsOf;

/// What bears findings of simple rules out.
#[derive(Debug, Clone, Copy)]
pub struct Corroboration<'c> {
    /// What it is about, an ARN: one finding has one entry for each.
    pub resource: &'c str,
    /// Where it was read.
    pub source: &'c str,
    /// What was read, of which as much is kept as of any entry.
    pub text: &'c str,
    /// When it was looked at. It follows what it bears out.
    pub seen: Timestamp,
}

impl Corroboration<'_> {
    /// Adds it to what an object contributes to findings of simple rules, by where these lie.
    pub fn add_to(&self, contributions: &mut Contributions, is_borne_out: impl Fn(&Partition) -> bool) {
        for (partition, stored) in contributions.partitions_mut() {
            let Some(first) = stored.evidence.first().filter(|_| is_borne_out(partition)) else { continue };
            // The same as the occurrence's: by whom and on what it was done, it says nothing new of.
            let told = Arc::clone(&first.told);
            self.push(stored, first.order().0, &told.facts());
        }
    }

    /// What it contributes to a finding that is there already, and the name of the object that does; `None` if there is no
    /// such rule, or if its findings are not of single records.
    pub fn of(&self, finding: &Finding, catalogue: &Catalogue) -> Option<(String, Contributions)> {
        let rule = catalogue.number_of(&finding.rule)?;
        if !matches!(catalogue.rule(rule).plan, Node::Leaf(_)) {
            return None;
        }
        let bucket = bucket_of(finding.first_time.map(Timestamp::as_microsecond), 0);
        let partition = Partition { rule, group: finding.group.clone(), bucket };
        let facts = FactsOf {
            account: finding.account.as_deref().map(Cow::Borrowed),
            region: finding.region.as_deref().map(Cow::Borrowed),
            actor: finding.actor.as_deref().map(Cow::Borrowed),
            source_address: finding.source_address.as_deref().map(Cow::Borrowed),
            resources: finding.resources.iter().map(|resource| Cow::Borrowed(resource.as_str())).collect(),
        };
        let mut stored = StoredContributions::default();
        self.push(&mut stored, finding.first_time, &facts);
        let object = digest(&["corroboration", self.source, self.resource, &finding.id]);
        Some((object, Contributions::of_one(partition, stored)))
    }

    fn push(&self, stored: &mut StoredContributions, time: Option<Timestamp>, facts: &FactsOf<'_>) {
        let key = RecordKey::of(&["corroboration", self.resource]);
        // After the occurrence, so that this comes first among the evidence.
        let next = |time: Timestamp| time.saturating_add(SignedDuration::from_micros(1)).unwrap_or(time);
        let seen = time.map_or(self.seen, |time| next(time).max(self.seen));
        let told = Told::new(Some(seen), &Arc::from(self.source), 1, self.text, facts);
        stored.evidence.push(KeptEvidence { key, told: Arc::new(told) });
        stored.entries.push(&Contribution {
            time: time.map(Timestamp::as_microsecond),
            key,
            leaf: 0,
            weight: 0,
            failed: false,
            own: false,
            deploying: false,
            value: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::finding_in;
    use crate::detect::RuleFile;
    use crate::pipeline::{Entry, Options, Pipeline};

    const RULE: &str = "
title: Trail stopped
id: stopped
level: high
tags: [attack.t1562.008]
logsource: {product: aws, service: cloudtrail}
detection: {selection: {eventName: StopLogging}, condition: selection}
";

    const STATE: Corroboration<'_> = Corroboration {
        resource: "arn:aws:cloudtrail:eu-central-1:123456789012:trail/main",
        source: "cloudtrail:GetTrailStatus",
        text: "it is off",
        seen: Timestamp::UNIX_EPOCH,
    };

    #[test]
    fn it_is_named_and_neither_counted_nor_a_finding_by_itself() {
        let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("rule.yml", RULE)]);
        assert!(problems.is_empty(), "{problems:?}");
        let event = br#"{"eventName":"StopLogging","eventTime":"2026-03-01T10:00:00Z","eventID":"1","errorCode":"AccessDenied"}"#;
        let entry = Entry { key: None, time: None, bytes: event };
        let format = crate::formats::by_name("cloudtrail");
        let mut report = Pipeline::new(&catalogue, Options::default()).entries("test", format, std::iter::once(entry));
        STATE.add_to(&mut report.contributions, |_| true);
        let (partition, stored) = report.contributions.iter().next().unwrap();
        let finding = finding_in(&catalogue, partition, &[stored]).unwrap();
        assert_eq!((finding.title.as_str(), finding.count), ("Trail stopped (failed)", 1));
        assert_eq!(finding.first_time, finding.last_time);
        let sources: Vec<&str> = finding.evidence.iter().map(|entry| entry.source.as_str()).collect();
        assert_eq!(sources, ["test", STATE.source], "what happened comes first");

        let (object, later) = STATE.of(&finding, &catalogue).unwrap();
        assert_eq!(object, STATE.of(&finding, &catalogue).unwrap().0, "the same object again");
        let (same, alone) = later.iter().next().unwrap();
        assert_eq!(same, partition);
        assert_eq!(finding_in(&catalogue, same, &[alone]), None, "nothing happened that it could bear out");
    }

    #[test]
    fn what_is_left_out_contributes_nothing() {
        let (catalogue, _) = Catalogue::load(vec![RuleFile::new("rule.yml", RULE)]);
        let event = br#"{"eventName":"StopLogging","eventTime":"2026-03-01T10:00:00Z","eventID":"1"}"#;
        let entry = Entry { key: None, time: None, bytes: event };
        let format = crate::formats::by_name("cloudtrail");
        let mut report = Pipeline::new(&catalogue, Options::default()).entries("test", format, std::iter::once(entry));
        report.contributions.leave_out(catalogue.number_of("stopped").unwrap());
        assert_eq!(report.contributions.into_partitions().count(), 0);
    }
}
