//! The same log, however it is cut into objects, in whatever order they are analysed, some twice, some by a worker that
//! dies midway and is run again, several workers at once: the settled findings are those of one pass over the whole.

#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use cloudvigil_core::correlate::{SETTLED, Settler, settled};
use cloudvigil_core::detect::{Catalogue, RuleFile};
use cloudvigil_core::formats;
use cloudvigil_core::pipeline::{Options, Pipeline, Report};
use cloudvigil_core::ports::SystemClock;
use cloudvigil_local::{Collected, EmbeddedState};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const RULES: &str = "
title: each
id: each
logsource: {service: cloudtrail}
detection: {a: {eventName: single}, condition: a}
group-by: [user]
---
title: failed
id: failed
logsource: {service: cloudtrail}
detection: {a: {eventName: failed}, condition: a}
---
title: accepted
id: accepted
logsource: {service: cloudtrail}
detection: {a: {eventName: accepted}, condition: a}
---
title: many
id: many
correlation: {type: event_count, rules: [failed], group-by: [user], timespan: 40m, condition: {gte: 4}}
---
title: in
id: in
correlation: {type: temporal_ordered, rules: [many, accepted], group-by: [user], timespan: 90m}
";

fn catalogue() -> Catalogue {
    let file = RuleFile { name: "rules.yml".to_owned(), text: RULES.into() };
    let (catalogue, problems) = Catalogue::load(vec![file]);
    assert!(problems.is_empty(), "{problems:?}");
    catalogue
}

/// What an object is analysed to; the object's name is its number.
fn report(catalogue: &Catalogue, number: usize, lines: &[String]) -> Report {
    let options = Options { format: formats::by_name("cloudtrail"), ..Options::default() };
    let mut analysis = Pipeline::new(catalogue, options).analysis("log", format!("object-{number}"), None);
    analysis.push(lines.join("\n").as_bytes());
    analysis.finish()
}

type Settled = BTreeMap<String, (u64, Option<Timestamp>, Option<Timestamp>)>;

/// The findings that a state holds, by id.
fn findings(state: &EmbeddedState) -> Settled {
    let marks = state.partitions("c#", SETTLED).unwrap();
    let findings = marks.into_iter().map(|(partition, item)| settled(&item.body, &partition).unwrap());
    findings.map(|finding| (finding.id, (finding.count, finding.first_time, finding.last_time))).collect()
}

/// How an object is worked off.
#[derive(Debug, Clone, Copy)]
struct Work {
    object: usize,
    /// The worker dies between putting and settling; somebody runs it again later.
    dies: bool,
}

/// Works off objects on two threads, in the given order.
fn run(catalogue: &Catalogue, objects: &[Vec<String>], schedule: &[Work]) -> Settled {
    let state = EmbeddedState::in_memory(Arc::new(SystemClock)).unwrap();
    let sink = Collected::new();
    let settler = Settler { catalogue, state: &state, sink: &sink, clock: &SystemClock };
    let work = |part: &[Work]| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for Work { object, dies } in part {
                let report = report(catalogue, *object, &objects[*object]);
                let touched = settler.put(&report.object, report.contributions).await.unwrap();
                if !dies {
                    settler.settle(&touched).await.unwrap();
                }
            }
        });
    };
    let again: Vec<Work> = schedule.iter().filter(|work| work.dies).map(|work| Work { dies: false, ..*work }).collect();
    let (one, two) = schedule.split_at(schedule.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| work(one));
        scope.spawn(|| work(two));
    });
    work(&again);
    // What was published last is what is settled.
    let published: Settled = sink
        .into_sorted()
        .into_iter()
        .map(|message| message.finding)
        .map(|finding| (finding.id, (finding.count, finding.first_time, finding.last_time)))
        .collect();
    let settled = findings(&state);
    assert_eq!(published, settled);
    settled
}

#[test]
fn however_the_log_is_cut_the_findings_are_those_of_one_pass() {
    let catalogue = catalogue();
    let names = prop::sample::select(vec!["single", "failed", "failed", "failed", "accepted", "other"]);
    let record = (0..14_400_i64, names, 0..3_u8, any::<bool>());
    let input = (prop::collection::vec(record, 1..60), any::<u64>());
    let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]));
    runner
        .run(&input, |(records, seed)| {
            // Times are seconds over four hours: several buckets, and windows across their borders.
            let lines: Vec<String> = records
                .iter()
                .enumerate()
                .map(|(number, (second, name, user, with_id))| {
                    let time = Timestamp::from_second(1_772_359_200 + second).unwrap();
                    let id = if *with_id { format!(r#","eventID":"id-{number}""#) } else { String::new() };
                    format!(r#"{{"eventName":"{name}","eventTime":"{time}","user":"user-{user}"{id}}}"#)
                })
                .collect();
            let whole = run(&catalogue, std::slice::from_ref(&lines), &[Work { object: 0, dies: false }]);
            let mut random = seed | 1;
            let mut next = |below: usize| {
                // xorshift: the schedule follows from the seed alone.
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                usize::try_from(random >> 33).unwrap() % below
            };
            let mut objects = vec![Vec::new(); 1 + next(lines.len())];
            for line in lines {
                let object = next(objects.len());
                objects[object].push(line);
            }
            let mut schedule: Vec<Work> =
                (0..objects.len()).map(|object| Work { object, dies: next(4) == 0 }).collect();
            for _ in 0..next(4) {
                schedule.push(Work { object: next(objects.len()), dies: next(4) == 0 });
            }
            for at in (1..schedule.len()).rev() {
                schedule.swap(at, next(at + 1));
            }
            prop_assert_eq!(run(&catalogue, &objects, &schedule), whole);
            Ok(())
        })
        .unwrap();
}
