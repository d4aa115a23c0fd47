//! Records that contribute alike are folded as one, and come to the same.

use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::super::super::packed::Packed;
use super::*;
use crate::correlate::{Told, bucket_of};
use crate::record::Facts;

const RULES: &str = "
title: A
name: a
logsource: {product: linux, service: sshd}
detection: {selection: {event: failed}, condition: selection}
---
title: B
name: b
logsource: {product: linux, service: sshd}
detection: {selection: {event: accepted}, condition: selection}
---
title: Simple
id: simple
tags: [attack.t1562.008]
logsource: {product: linux, service: sshd}
detection: {selection: {event: other}, condition: selection}
---
title: Many
id: many
correlation: {type: event_count, rules: [a, b], group-by: [src_ip], timespan: 4s, condition: {gte: 12}}
---
title: One after the other
id: ordered
correlation: {type: temporal_ordered, rules: [a, b], group-by: [src_ip], timespan: 3s}
---
title: Few
id: few
correlation: {type: event_count, rules: [a], group-by: [src_ip], timespan: 4s, condition: {lte: 6}}
---
title: Values
id: values
correlation: {type: value_count, rules: [a], group-by: [src_ip], timespan: 4s, condition: {field: user, gte: 3}}
---
title: Sum
id: sum
correlation: {type: value_sum, rules: [a], group-by: [src_ip], timespan: 4s, condition: {field: bytes, gte: 1}}
---
title: Median
id: median
correlation: {type: value_median, rules: [a], group-by: [src_ip], timespan: 4s, condition: {field: bytes, lt: 1}}
";

/// What is folded of a list, in runs or one by one: all that a finding is made of.
fn told(folded: &Folded<'_>) -> String {
    let found = folded.found.as_ref().map(|found| {
        let Found { level, count, first, last, failed, deployment, .. } = found;
        format!("{level} {count} {first:?} {last:?} {failed} {deployment} {:?}", found.shown())
    });
    format!("{} {} {found:?}", folded.records, folded.own)
}

#[test]
fn records_that_contribute_alike_come_to_the_same_as_one_by_one() {
    let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("rules.yml", RULES)]);
    assert!(problems.is_empty(), "{problems:?}");
    let rules =
        ["simple", "many", "ordered", "few", "values", "sum", "median"].map(|id| catalogue.number_of(id).unwrap());
    let start = 1_772_359_200_000_000;
    let second =
        prop_oneof![12 => Just(0), 3 => Just(1), 2 => Just(-1), 1 => -2..9_i64].prop_map(|apart| apart * 1_000_000);
    let weight = prop_oneof![6 => Just(1_u32), 3 => 0..3_u32, 1 => Just(u32::MAX - 1)];
    let flags = prop::array::uniform3(0..100_u32);
    let value =
        prop::option::weighted(0.3, prop_oneof![3 => Just(0), 1 => 0..4_i128].prop_map(|value| value * 300_000));
    // Mostly of one leaf, mostly of a record that no other list has.
    let keys = prop_oneof![1 => Just(0), 60 => 1..3_u128];
    let one = (second, prop::bool::weighted(0.1), weight, flags, value, keys, prop::bool::weighted(0.8));
    let list = prop_oneof![prop::collection::vec(one.clone(), 0..8), prop::collection::vec(one, 0..60)];
    let lists = prop::collection::vec((list, 0..3_u128), 1..4);
    // How many of a hundred records have a flag: none, one here or there, all but one, all.
    let shares = prop::array::uniform3(prop_oneof![Just(0_u32), Just(5), Just(95), Just(100)]);
    let config = Config { cases: 3_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[35; 32]));
    let (in_runs, found) = (Cell::new(0), Cell::new(0));
    let outcome = runner.run(&(lists, shares, 0..rules.len(), any::<bool>()), |(lists, shares, rule, has_time)| {
        let rule = rules[rule];
        let plan = &catalogue.rule(rule).plan;
        let stored = lists.iter().map(|(list, object)| {
            let (mut time, mut key) = (start, RecordKey(object << 64));
            let mut stored = StoredContributions::of_entries(Packed::default());
            for (apart, other_leaf, weight, flags, value, keys, is_kept) in list {
                (time, key) = (time + apart, RecordKey(key.0 + keys));
                let leaf = usize::from(*other_leaf && !matches!(plan, Node::Leaf(_)));
                let [failed, own, deploying] = [0, 1, 2].map(|flag| flags[flag] < shares[flag]);
                let one_time = has_time.then_some(time);
                let one =
                    Contribution { time: one_time, key, leaf, weight: *weight, failed, own, deploying, value: *value };
                stored.entries.push(&one);
                if *is_kept {
                    let time = one_time.and_then(|time| Timestamp::from_microsecond(time).ok());
                    let told = Told::new(time, &"log".into(), 1, "", &Facts::default());
                    stored.evidence.push(KeptEvidence { key, told: Arc::new(told) });
                }
            }
            stored
        });
        let stored: Vec<StoredContributions> = stored.collect();
        let stored: Vec<&StoredContributions> = stored.iter().collect();
        let bucket = bucket_of(has_time.then_some(start), plan.timespan());
        let partition = Partition { rule, group: crate::correlate::Group::new(), bucket };
        let late = start + 2_000_000;
        for (closed, latest) in [(Micros::MAX, Micros::MAX), (start + 20_000_000, Micros::MAX), (Micros::MAX, late)] {
            let fold = |distinct: Distinct| told(&distinct.folded(&catalogue, &partition, &stored, closed));
            let expected = fold(Distinct::one_by_one(&stored, latest, MANY));
            prop_assert_eq!(fold(Distinct::one_by_one(&stored, latest, 3)), expected.clone());
            let any_time =
                bucket.filter(|_| matches!(plan, Node::Leaf(_))).map_or(0..0, |start| start..start + bucket_length(0));
            if let Some(distinct) = Distinct::in_runs(&stored, latest, &any_time) {
                in_runs.set(in_runs.get() + u32::from(!distinct.in_runs.is_empty()));
                found.set(found.get() + u32::from(!expected.contains("None")));
                prop_assert_eq!(fold(distinct), expected);
            }
        }
        Ok(())
    });
    outcome.unwrap();
    assert!(in_runs.get() > 300 && found.get() > 300, "{in_runs:?} in runs, {found:?} found");
}

#[test]
fn an_attack_of_millions_in_a_minute_is_folded_in_little_room() {
    let mut entries = Packed::default();
    for number in 0..100_000_u32 {
        let time = Some(1_772_359_200_000_000 + i64::from(number / 2_000) * 1_000_000);
        let key = RecordKey(u128::from(number) * 3);
        let one =
            Contribution { time, key, leaf: 0, weight: 1, failed: false, own: false, deploying: false, value: None };
        entries.push(&one);
    }
    let stored = StoredContributions::of_entries(entries);
    let folded = |plan| {
        let Distinct { contributions, records, .. } = Distinct::of(plan, Some(1_772_359_200_000_000), &[&stored]);
        (contributions.len(), records)
    };
    let counted = Node::EventCount { of: vec![Node::Leaf(0)], threshold: 5, timespan: 60_000_000 };
    assert_eq!(folded(&counted), (50, 100_000), "by its seconds");
    assert_eq!(folded(&Node::Leaf(0)), (2, 100_000), "from the first to the last");
}
