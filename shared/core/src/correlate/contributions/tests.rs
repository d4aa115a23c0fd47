use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::super::contribution::RecordKey;
use super::super::{bucket_of, held::Held};
use super::*;
use crate::detect::RuleFile;
use crate::record::Facts;

/// Of the correlations' two leaves, failures are the first and logins the second.
const RULES: &str = "
title: Failure
name: failure
logsource: {product: linux, service: sshd}
detection: {selection: {event: failed}, condition: selection}
---
title: Login
name: login
logsource: {product: linux, service: sshd}
detection: {selection: {event: accepted}, condition: selection}
---
title: Guessed
name: guessed
correlation: {type: event_count, rules: [failure], group-by: [src_ip], timespan: 10m, condition: {gte: 3}}
---
title: Let in
id: let-in
level: critical
correlation: {type: temporal_ordered, rules: [guessed, login], group-by: [src_ip], timespan: 1h}
---
title: Quiet
id: quiet
level: critical
correlation: {type: event_count, rules: [failure], group-by: [src_ip], timespan: 30m, condition: {eq: 2}}
---
title: Guessing
id: guessing
level: high
correlation: {type: event_count, rules: [failure], group-by: [src_ip], timespan: 10m, condition: {gte: 3}}
---
title: Any failure
id: any
level: low
logsource: {product: linux, service: sshd}
detection: {selection: {event: failed}, condition: selection}
---
title: Root
id: root
level: critical
logsource: {product: linux, service: sshd}
detection: {selection: {user: root}, condition: selection}
";

fn catalogue() -> Catalogue {
    let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("rules.yml", RULES)]);
    assert!(problems.is_empty(), "{problems:?}");
    catalogue
}

/// What somebody did, and when.
#[derive(Debug, Clone, Copy)]
struct Deed {
    rule: &'static str,
    leaf: usize,
    address: u32,
    second: i64,
}

fn deed(rule: &'static str, leaf: usize, address: u32, second: i64) -> Deed {
    Deed { rule, leaf, address, second }
}

fn failure(address: u32, second: i64) -> Deed {
    deed("let-in", 0, address, second)
}

fn login(address: u32, second: i64) -> Deed {
    deed("let-in", 1, address, second)
}

/// What an object of these contributes that has so much room.
fn contributed(catalogue: &Catalogue, deeds: &[Deed], room: Room) -> Contributions {
    let mut contributions = Contributions { room, ..Contributions::default() };
    for (position, deed) in (0..).zip(deeds) {
        let rule = catalogue.number_of(deed.rule).unwrap();
        let time = deed.second * 1_000_000;
        let key = RecordKey::of(&["object"]).at(position);
        let teller = Teller::new(jiff::Timestamp::from_microsecond(time).ok(), || {
            Told::new(None, &Arc::from("log"), position, &format!("record {position}"), &Facts::default())
        });
        let (time, weight) = (Some(time), 1);
        let new = Contribution {
            time,
            key,
            leaf: deed.leaf,
            weight,
            failed: false,
            own: false,
            deploying: false,
            value: None,
        };
        let address = format!("10.0.{}.{}", deed.address / 256, deed.address % 256);
        let group = BorrowedGroup::new(std::iter::once(("src_ip", Some(Cow::from(address)))));
        let bucket = bucket_of(time, catalogue.rule(rule).plan.timespan());
        contributions.add(catalogue, rule, &group, bucket, &new, &teller);
    }
    contributions.take_back(catalogue);
    contributions
}

/// The findings, without what they show.
fn found(
    catalogue: &Catalogue,
    contributions: Contributions,
) -> BTreeSet<(String, u64, Group, [Option<jiff::Timestamp>; 2])> {
    let mut held = Held::default();
    held.take(catalogue, contributions);
    let findings = held.partitions(catalogue);
    let findings = findings.iter().filter_map(|partition| {
        let found = held.found(catalogue, partition, None)?;
        Some(found.finding(catalogue, partition))
    });
    findings.map(|one| (one.id, one.count, one.group, [one.first_time, one.last_time])).collect()
}

const PLENTY: Room = Room { partitions: MAX_PARTITIONS, set_aside: MAX_SET_ASIDE };

/// Strangers by the thousand fail once each, and somebody who is not in a hurry fails between them until he is let in.
fn patient_one_in_a_flood(strangers: u32, every: u32) -> Vec<Deed> {
    let flood = (0..strangers).flat_map(|number| {
        let patient = (number % every == every - 1).then(|| failure(65_000, 60));
        [failure(number, 0)].into_iter().chain(patient)
    });
    flood.chain([login(65_000, 61)]).collect()
}

#[test]
fn who_is_let_in_is_found_however_many_others_fail_before_and_between() {
    let catalogue = catalogue();
    let deeds = patient_one_in_a_flood(2_000, 100);
    let all = found(&catalogue, contributed(&catalogue, &deeds, PLENTY));
    assert_eq!(all.len(), 1);
    let room = Room { partitions: 16, ..PLENTY };
    let little = contributed(&catalogue, &deeds, room);
    assert_eq!(little.iter().count(), 16);
    let given_up: Vec<_> = little.given_up().collect();
    assert_eq!(given_up, [(catalogue.number_of("let-in").unwrap(), 2_000 - 15)]);
    assert_eq!(found(&catalogue, little), all);
}

/// What is set aside has a limit, too. Who fails most is the last to be forgotten.
#[test]
fn who_fails_often_is_remembered_longest_where_even_what_is_set_aside_is_too_much() {
    let catalogue = catalogue();
    let deeds = patient_one_in_a_flood(5_000, 50);
    let all = found(&catalogue, contributed(&catalogue, &deeds, PLENTY));
    let little = contributed(&catalogue, &deeds, Room { partitions: 16, set_aside: 32 * 1024 });
    assert_eq!(little.given_up().map(|(_, count)| count).sum::<u64>(), 5_000 - 15);
    let found = found(&catalogue, little);
    let counted = |found: &BTreeSet<(_, u64, Group, _)>| found.iter().map(|(_, count, ..)| *count).collect::<Vec<_>>();
    assert_eq!((counted(&found), counted(&all)), (vec![101], vec![101]));
}

#[test]
fn findings_of_one_rule_by_the_thousand_hide_no_other_rules() {
    let catalogue = catalogue();
    let roots = (0..1_000).map(|number| deed("root", 0, number, 0));
    let guesses = (0..4).flat_map(|number| {
        let failures = (0..3).map(move |second| failure(number, second));
        failures.chain([login(number, 9)])
    });
    let deeds: Vec<Deed> = roots.chain(guesses).collect();
    let little = contributed(&catalogue, &deeds, Room { partitions: 16, ..PLENTY });
    let of = |rule: &str| {
        let number = catalogue.number_of(rule).unwrap();
        little.iter().filter(|(partition, _)| partition.rule == number).count()
    };
    assert_eq!([of("let-in"), of("root")], [4, 12]);
}

/// Nothing is set aside of other rules; but what is no finding gives way to what may become one, once all that is of a lower
/// level has.
#[test]
fn of_other_rules_strangers_give_way_to_newcomers_and_findings_of_their_level_do_not() {
    let catalogue = catalogue();
    let of_one = |address: u32| (0..3).map(move |second| deed("guessing", 0, address, second));
    let lowest = (0..8).map(|address| deed("any", 0, address, 0));
    let strangers = (100..2_100).map(|address| deed("guessing", 0, address, 0));
    let deeds: Vec<Deed> = lowest.chain(of_one(0)).chain(strangers).chain(of_one(1)).collect();
    let little = contributed(&catalogue, &deeds, Room { partitions: 16, ..PLENTY });
    let given_up: BTreeMap<&str, u64> =
        little.given_up().map(|(rule, count)| (catalogue.rule(rule).id.as_str(), count)).collect();
    assert_eq!(given_up, BTreeMap::from([("any", 8), ("guessing", 2_000 - 14)]));
    let counts: Vec<u64> = found(&catalogue, little).into_iter().map(|(_, count, ..)| count).collect();
    assert_eq!(counts, [3, 3]);
}

/// What is shown is of who came last: a finding that comes about in a flood says how.
#[test]
fn a_finding_in_a_flood_shows_its_own_records() {
    let catalogue = catalogue();
    let mut deeds: Vec<Deed> = (0..2_000).map(|number| failure(number, 0)).collect();
    deeds.extend((0..4).map(|second| failure(65_000, second)));
    deeds.push(login(65_000, 5));
    deeds.extend((2_000..4_000).map(|number| failure(number, 0)));
    let little = contributed(&catalogue, &deeds, Room { partitions: 16, ..PLENTY });
    let hot: Vec<Finding> = little.iter().filter_map(|(partition, _)| little.finding(&catalogue, partition)).collect();
    let shown: Vec<&str> = hot.iter().flat_map(|finding| &finding.evidence).map(|one| one.text.as_str()).collect();
    assert_eq!(shown, ["record 2000", "record 2001", "record 2002", "record 2003", "record 2004"]);
}

/// As long as there are no more findings than there is room for, room changes none, wherever buckets end.
#[test]
fn little_room_takes_no_finding_away() {
    let catalogue = catalogue();
    let kind = prop_oneof![6 => Just(("let-in", 0)), 1 => Just(("let-in", 1)), 2 => Just(("quiet", 0))];
    let deed = (kind, 0..60_u32, 0..20_000_i64);
    let deeds = prop::collection::vec(
        deed.prop_map(|((rule, leaf), address, second)| self::deed(rule, leaf, address, second)),
        0..400,
    );
    // Some do much within a short time, so that something comes of it.
    let busy = prop::collection::vec((0..60_u32, 6_000..8_000_i64), 0..6);
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[23; 32]));
    let (compared, narrow) = (Cell::new(0), Cell::new(0));
    let outcome = runner.run(&(deeds, busy, any::<prop::sample::Index>()), |(mut deeds, busy, at)| {
        for (address, second) in busy {
            let of_one = [
                failure(address, second),
                failure(address, second + 1),
                failure(address, second + 2),
                login(address, second + 600),
            ];
            for one in of_one {
                deeds.insert(at.index(deeds.len() + 1), one);
            }
        }
        let plenty = contributed(&catalogue, &deeds, PLENTY);
        prop_assert_eq!(plenty.given_up().count(), 0);
        let total: usize = plenty.iter().map(|(_, stored)| stored.entries.len()).sum();
        let partitions = plenty.iter().count();
        let all = found(&catalogue, plenty);
        // Each may need the bucket after its own.
        let room = Room { partitions: (2 * all.len()).max(1), ..PLENTY };
        let little = contributed(&catalogue, &deeds, room);
        let stored: usize = little.iter().map(|(_, stored)| stored.entries.len()).sum();
        let given_up: u64 = little.given_up().map(|(_, count)| count).sum();
        prop_assert_eq!(stored as u64 + given_up, total as u64);
        prop_assert_eq!(little.iter().count(), partitions.min(room.partitions));
        let of_little = found(&catalogue, little);
        prop_assert!(all.is_subset(&of_little), "{:?}", all.difference(&of_little));
        compared.set(compared.get() + all.len());
        narrow.set(narrow.get() + usize::from(partitions > room.partitions));
        Ok(())
    });
    outcome.unwrap();
    let (compared, narrow) = (compared.get(), narrow.get());
    assert!(compared > 1_000 && narrow > 400, "{compared} findings, {narrow} cases with too little room");
}
