//! A flood from more source addresses than the state has room for, which feeds a critical rule, too: what one object writes
//! stays within a budget, what gives way is of the lowest level, no critical finding is among it, and a finding says what was
//! given up.

#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use cloudvigil_core::correlate::{Closing, SETTLED, Settler, settled};
use cloudvigil_core::detect::{Catalogue, RuleFile};
use cloudvigil_core::finding::Finding;
use cloudvigil_core::formats;
use cloudvigil_core::pipeline::{Options, Pipeline};
use cloudvigil_core::ports::{Clock, StateStore as _};
use cloudvigil_local::{Collected, EmbeddedState};
use jiff::Timestamp;

/// How many addresses the flood comes from.
const ADDRESSES: u32 = 100_000;
/// The budget of one object, and the same again for critical rules.
const BUDGET: usize = 16_384;
/// How many addresses do what critical and high rules look for, after the flood has used up all there is.
const CRITICAL: u32 = 300;
const HIGH: u32 = 200;
/// As many probe again and again between all others, and find a way in at last.
const PATIENT: u32 = 5;
/// How often each does.
const PROBES: u32 = 8;

const RULES: &str = "
title: Probed
id: probed
level: low
logsource: {category: webserver}
detection: {selection: {sc-status: 404}, condition: selection}
---
title: Refused
id: refused
level: high
logsource: {category: webserver}
detection: {selection: {sc-status: 403}, condition: selection}
---
title: Debugged
id: debugged
level: critical
logsource: {category: webserver}
detection: {selection: {cs-method: DEBUG}, condition: selection}
---
title: Came back
id: came-back
level: critical
correlation: {type: event_count, rules: [debugged], group-by: [c-ip], timespan: 10m, generate: true, condition: {gte: 2}}
---
title: Probed often
name: often
correlation: {type: event_count, rules: [probed], group-by: [c-ip], timespan: 10m, generate: true, condition: {gte: 3}}
---
title: Let in
name: let-in
logsource: {category: webserver}
detection: {selection: {cs-method: POST, sc-status: 200}, condition: selection}
---
title: Found a way in
id: way-in
level: critical
correlation: {type: temporal_ordered, rules: [often, let-in], group-by: [c-ip], timespan: 1h}
";

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }
}

fn flood() -> String {
    let mut log = String::new();
    let mut line = |number: u32, method: &str, status: u16| {
        let [_, a, b, c] = number.to_be_bytes();
        writeln!(log, "10.{a}.{b}.{c} - - [01/Mar/2026:10:00:00 +0000] \"{method} / HTTP/1.1\" {status} 1").unwrap();
    };
    let patient = ADDRESSES..ADDRESSES + PATIENT;
    for number in 0..ADDRESSES {
        line(number, "GET", 404);
        if number % (ADDRESSES / PROBES) == 0 {
            patient.clone().for_each(|number| line(number, "GET", 404));
        }
    }
    patient.for_each(|number| line(number, "POST", 200));
    (0..CRITICAL).for_each(|number| (0..2).for_each(|_| line(number, "DEBUG", 200)));
    (0..HIGH).for_each(|number| line(number, "GET", 403));
    log
}

#[tokio::test]
async fn a_flood_of_addresses_takes_no_critical_finding_away() {
    let mut files = Catalogue::built_in_files_without_tests();
    files.retain(|file| file.name.ends_with("state_saturated.yml"));
    files.push(RuleFile::new("x.yml", RULES));
    let (catalogue, problems) = Catalogue::load(files);
    assert!(problems.is_empty(), "{problems:?}");
    let options = Options { format: formats::by_name("access"), ..Options::default() };
    let mut analysis = Pipeline::new(&catalogue, options).analysis("access.log", "object".to_owned(), None);
    analysis.push(flood().as_bytes());
    let report = analysis.finish();
    assert_eq!(report.stats.parsed, u64::from(ADDRESSES + PATIENT * (PROBES + 1) + 2 * CRITICAL + HIGH));
    let given_up: BTreeMap<&str, u64> =
        report.contributions.given_up().map(|(rule, count)| (catalogue.rule(rule).title.as_str(), count)).collect();

    let state = EmbeddedState::in_memory(Arc::new(Noon)).unwrap();
    let sink = Collected::new();
    let settler =
        Settler { catalogue: &catalogue, state: &state, sink: &sink, clock: &Noon, closing: Closing::EndOfInput };
    let touched = settler.put(&report.object, report.contributions).await.unwrap();
    let stored = state.partitions("c#", "o#object#00000").unwrap().len();
    let critical = usize::try_from(2 * CRITICAL).unwrap();
    assert_eq!(stored, touched.len());
    // The budget, that of critical rules beside it, and what says that something was given up.
    assert_eq!(stored, 2 * BUDGET + 1);

    settler.settle(&touched).await.unwrap();
    let marks = state.partitions("c#", SETTLED).unwrap();
    let findings: Vec<Finding> =
        marks.iter().filter_map(|(partition, item)| settled(&item.body, partition).unwrap()).collect();
    let mut by_title: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in &findings {
        *by_title.entry(&finding.title).or_default() += 1;
    }
    let count = |title: &str| by_title.get(title).copied().unwrap_or_default();
    assert_eq!((count("Debugged"), count("Came back")), (critical / 2, critical / 2), "{by_title:?}");
    assert_eq!(count("Found a way in"), usize::try_from(PATIENT).unwrap(), "{by_title:?}");
    let ways_in = || findings.iter().filter(|finding| finding.title == "Found a way in");
    assert!(ways_in().all(|finding| finding.count == u64::from(PROBES + 1)));
    assert!(ways_in().all(|finding| finding.evidence.iter().any(|shown| shown.text.contains("POST"))));
    assert_eq!(count("Refused"), usize::try_from(HIGH).unwrap(), "{by_title:?}");
    assert_eq!(count("Probed"), BUDGET - usize::try_from(HIGH).unwrap(), "{by_title:?}");

    // What was given up is told, with what it was of.
    let told = findings.iter().find(|finding| finding.title == "State saturated").unwrap();
    let evidence = &told.evidence[0].text;
    let total: u64 = given_up.values().sum();
    assert!(evidence.contains(&format!("\"given_up\":{total}")), "{evidence}");
    assert!(evidence.contains("\"rules\":[\"Probed\",\"Found a way in\"]"), "{evidence}");
    // Of the critical rule what strangers did who came once.
    let of_strangers = u64::from(ADDRESSES) - (BUDGET as u64 - u64::from(CRITICAL) * 2 - u64::from(PATIENT));
    assert_eq!(given_up["Found a way in"], of_strangers);
    assert!(state.query("windows").await.unwrap().is_empty());
    println!("{ADDRESSES} addresses, {stored} items, {total} given up");
}
