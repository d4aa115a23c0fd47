//! The same log, however it is cut into objects, in whatever order they are analysed, some twice, some by a worker that
//! dies midway and is run again, several workers at once: the settled findings are those of one pass over the whole.
//!
//! Every kind of correlation is among the random rules. Where the input has an end, each worker takes all windows for
//! closed, and takes back what more input contradicts; where it has none, as in AWS, windows are closed by a clock that
//! goes on while objects arrive, and nothing is ever taken back.
//!
//! Records that have an id lie in several objects, as AWS tells of a call by several ways: they count once, and the finding
//! names every object in which it found them, in whatever order these came.

#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cloudvigil_core::correlate::{Closing, Held, SETTLED, Settler, settled};
use cloudvigil_core::detect::{Catalogue, RuleFile};
use cloudvigil_core::finding::{Evidence, Finding};
use cloudvigil_core::formats;
use cloudvigil_core::pipeline::{Options, Pipeline, Report};
use cloudvigil_core::ports::Clock;
use cloudvigil_local::{Collected, EmbeddedState};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// How many random cases each test runs: rules, a log, its cuts and a schedule.
const CASES: u32 = 40;
/// The first second of the logs: 2026-03-01T10:00:00Z.
const START: i64 = 1_772_359_200;
/// How many seconds a log spans: several buckets, and windows across their borders.
const SPAN: i64 = 14_400;

/// The rules that correlations are about.
const SIMPLE: &str = "
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
title: large
id: large
logsource: {service: cloudtrail}
detection: {a: {bytes|gte: 50}, condition: a}
---
title: many
id: many
correlation: {type: event_count, rules: [failed], group-by: [user], timespan: 40m, condition: {gte: 4}}
---
title: in
id: in
correlation: {type: temporal_ordered, rules: [many, accepted], group-by: [user], timespan: 90m}
";

/// Correlations of every kind; `<` stands for a timespan, `#` for a number.
const KINDS: [&str; 20] = [
    "type: event_count, rules: [failed, large], condition: {gte: #}",
    "type: event_count, rules: [failed], condition: {lt: #}",
    "type: event_count, rules: [failed, accepted], condition: {eq: #}",
    "type: event_count, rules: [failed], condition: {neq: #}",
    "type: event_count, rules: [failed, large], condition: {gt: 1, lte: #}",
    "type: event_count, rules: [failed], window: tumbling, condition: {gte: #}",
    "type: value_count, rules: [failed], condition: {field: name, gte: #}",
    "type: value_count, rules: [failed, accepted], condition: {field: [name, bytes], lte: #}",
    "type: value_sum, rules: [failed, large], condition: {field: bytes, gt: #0}",
    "type: value_sum, rules: [failed], condition: {field: bytes, lt: #0}",
    "type: value_avg, rules: [failed, accepted], condition: {field: bytes, gte: #0}",
    "type: value_median, rules: [failed], condition: {field: bytes, lt: #0}",
    "type: value_percentile, rules: [failed, large], condition: {field: bytes, percentile: 90, gte: #0}",
    "type: temporal, rules: [failed, accepted, large]",
    "type: temporal, rules: [failed, accepted, large], condition: {gte: 2}",
    "type: temporal, rules: [failed, accepted], condition: failed and not accepted",
    "type: temporal_ordered, rules: [large, failed, accepted]",
    "type: event_count, rules: [many], condition: {lte: #}",
    "type: temporal_ordered, rules: [few, accepted]",
    "type: event_count, rules: [few, distinct], condition: {gte: #}",
];

/// Correlations that others refer to; their timespans are short, so that chains may hold them.
const INNER: &str = "
title: few
id: few
generate: true
correlation: {type: event_count, rules: [failed], group-by: [user], timespan: 5m, condition: {lte: 2}}
---
title: distinct
id: distinct
correlation: {type: value_count, rules: [failed], group-by: [user], timespan: 8m, condition: {field: name, gte: 2}}
";

fn catalogue(rules: &[(usize, u32, u32)]) -> Catalogue {
    let mut text = format!("{SIMPLE}---{INNER}");
    for (number, (kind, minutes, count)) in rules.iter().enumerate() {
        let body = KINDS[*kind].replace('#', &count.to_string());
        let rule = format!(
            "---\ntitle: random-{number}\nid: random-{number}\nlateness: 10m\n\
             correlation: {{{body}, group-by: [user], timespan: {minutes}m}}\n"
        );
        text.push_str(&rule);
    }
    let file = RuleFile { name: "rules.yml".to_owned(), text: text.into() };
    let (catalogue, problems) = Catalogue::load(vec![file]);
    assert!(problems.is_empty(), "{problems:?}");
    catalogue
}

/// What an object is analysed to; the object's name is its number.
fn report(catalogue: &Catalogue, number: usize, lines: &[String]) -> Report {
    let options = Options { format: formats::by_name("cloudtrail"), ..Options::default() };
    let object = format!("object-{number}");
    let mut analysis = Pipeline::new(catalogue, options).analysis(&object.clone(), object, None);
    analysis.push(lines.join("\n").as_bytes());
    analysis.finish()
}

/// What must be the same however the log is cut: count, first and last time, by id.
type Settled = BTreeMap<String, (u64, Option<Timestamp>, Option<Timestamp>)>;

/// What must be the same in whatever order the objects came: the evidence, and where else each entry was read, by id.
type Seen = BTreeMap<String, Vec<Evidence>>;

/// The findings that a state holds.
fn findings(state: &EmbeddedState) -> Vec<Finding> {
    let marks = state.partitions("c#", SETTLED).unwrap();
    marks.into_iter().filter_map(|(partition, item)| settled(&item.body, &partition).unwrap()).collect()
}

fn moved(findings: impl IntoIterator<Item = Finding>) -> Settled {
    let what = |finding: Finding| (finding.id, (finding.count, finding.first_time, finding.last_time));
    findings.into_iter().map(what).collect()
}

/// How an object is worked off.
#[derive(Debug, Clone, Copy)]
struct Work {
    object: usize,
    /// The worker dies between putting and settling; somebody runs it again later.
    dies: bool,
}

/// Time as the test wants it, in seconds since 1970.
struct Told(AtomicI64);

impl Clock for Told {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// What a run that keeps no state comes to.
fn held(catalogue: &Catalogue, objects: &[Vec<String>], schedule: &[Work]) -> Settled {
    let mut held = Held::default();
    for Work { object, .. } in schedule {
        held.take(catalogue, report(catalogue, *object, &objects[*object]).contributions);
    }
    let findings = held.findings(catalogue);
    findings.map(|finding| (finding.id, (finding.count, finding.first_time, finding.last_time))).collect()
}

/// Works off objects on two threads, in the given order. While objects arrive the clock stands still, so none is late. By the clock, each step of work takes a minute, from the time
/// when the last record was written: so windows close while objects still arrive that are not late for them.
fn run(catalogue: &Catalogue, objects: &[Vec<String>], schedule: &[Work], closing: Closing) -> (Settled, Seen) {
    run_in_batches(catalogue, objects, schedule, closing, 1)
}

/// The same; findings are settled after each `batch` objects of a worker.
fn run_in_batches(
    catalogue: &Catalogue,
    objects: &[Vec<String>],
    schedule: &[Work],
    closing: Closing,
    batch: usize,
) -> (Settled, Seen) {
    let clock = Arc::new(Told(AtomicI64::new(START)));
    let state = EmbeddedState::in_memory(Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    let sink = Collected::new();
    let settler = Settler { catalogue, state: &state, sink: &sink, clock: clock.as_ref(), closing };
    let work = |part: &[Work]| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for batch in part.chunks(batch) {
                let mut touched = BTreeSet::new();
                for Work { object, dies } in batch {
                    let report = report(catalogue, *object, &objects[*object]);
                    let own = settler.put(&report.object, report.contributions).await.unwrap();
                    touched.extend(own.into_iter().filter(|_| !dies));
                }
                settler.settle(&touched).await.unwrap();
                settler.settle_due().await.unwrap();
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
    if closing == Closing::WallClock {
        // Hour by hour, two schedules at once settle what time has closed.
        for hour in 1..=8 {
            clock.0.store(START + hour * 3600, Ordering::SeqCst);
            let tick = || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(settler.settle_due()).unwrap();
            };
            std::thread::scope(|scope| {
                scope.spawn(tick);
                scope.spawn(tick);
            });
        }
    }
    let findings = findings(&state);
    let settled = moved(findings.clone());
    let seen = findings.into_iter().map(|finding| (finding.id, finding.evidence)).collect();
    // What was published last is what is settled, but for what an early worker had to take back.
    let published = moved(sink.into_sorted().into_iter().map(|message| message.finding));
    match closing {
        Closing::WallClock => assert_eq!(published, settled),
        Closing::EndOfInput => assert!(settled.keys().all(|id| published.contains_key(id))),
    }
    (settled, seen)
}

/// Random rules, a random log, its random cuts and schedule; what came of it must be what came of one pass.
fn is_exact(closing: Closing, seed: u8) {
    let names = prop::sample::select(vec!["single", "failed", "failed", "failed", "accepted", "other"]);
    let record = (0..SPAN, names, 0..3_u8, any::<bool>(), 0..4_u8, prop::option::of(0..80_u8));
    let rules = prop::collection::vec((0..KINDS.len(), 6..70_u32, 1..5_u32), 1..5);
    let input = (prop::collection::vec(record, 1..60), rules, any::<u64>());
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]));
    let found = Mutex::new((0, BTreeMap::<usize, usize>::new()));
    let several = AtomicUsize::new(0);
    runner
        .run(&input, |(records, rules, seed)| {
            let catalogue = catalogue(&rules);
            let lines: Vec<String> = records
                .iter()
                .enumerate()
                .map(|(number, (second, event, user, with_id, name, bytes))| {
                    let time = Timestamp::from_second(START + second).unwrap();
                    let id = if *with_id { format!(r#","eventID":"id-{number}""#) } else { String::new() };
                    let bytes = bytes.map(|bytes| format!(r#","bytes":{bytes}"#)).unwrap_or_default();
                    format!(
                        r#"{{"eventName":"{event}","eventTime":"{time}","user":"user-{user}","name":"{name}"{bytes}{id}}}"#
                    )
                })
                .collect();
            let (whole, _) = run(&catalogue, std::slice::from_ref(&lines), &[Work { object: 0, dies: false }], closing);
            {
                let mut found = found.lock().unwrap();
                found.0 += whole.len();
                for (kind, ..) in &rules {
                    *found.1.entry(*kind).or_default() += 1;
                }
            }
            let mut random = seed | 1;
            let mut next = |below: usize| {
                // xorshift: the schedule follows from the seed alone.
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                usize::try_from(random >> 33).unwrap() % below
            };
            let mut objects = vec![Vec::new(); 1 + next(lines.len())];
            for (line, (.., with_id, _, _)) in lines.into_iter().zip(&records) {
                for _ in 0..if *with_id { 1 + next(2) } else { 1 } {
                    let object = next(objects.len());
                    objects[object].push(line.clone());
                }
            }
            let in_order: Vec<Work> = (0..objects.len()).map(|object| Work { object, dies: false }).collect();
            let (counted, places) = run_in_batches(&catalogue, &objects, &in_order, closing, objects.len());
            prop_assert_eq!(&counted, &whole);
            let mut schedule: Vec<Work> =
                (0..objects.len()).map(|object| Work { object, dies: next(4) == 0 }).collect();
            for _ in 0..next(4) {
                schedule.push(Work { object: next(objects.len()), dies: next(4) == 0 });
            }
            for at in (1..schedule.len()).rev() {
                schedule.swap(at, next(at + 1));
            }
            if closing == Closing::EndOfInput {
                prop_assert_eq!(&held(&catalogue, &objects, &schedule), &whole);
            }
            several.fetch_add(places.values().flatten().filter(|entry| !entry.also_in.is_empty()).count(), Ordering::Relaxed);
            prop_assert_eq!(run(&catalogue, &objects, &schedule, closing), (whole, places));
            Ok(())
        })
        .unwrap();
    let (findings, kinds) = found.into_inner().unwrap();
    assert_eq!(kinds.len(), KINDS.len(), "every kind was there");
    let several = several.into_inner();
    assert!(several > 200, "{several} entries that were read in several places show little");
    println!(
        "{CASES} cases, {findings} findings, {several} entries in several places, {} random rules",
        kinds.values().sum::<usize>()
    );
    assert!(findings > 500, "{findings} findings show little");
}

#[test]
fn however_the_log_is_cut_the_findings_are_those_of_one_pass() {
    is_exact(Closing::EndOfInput, 11);
}

#[test]
fn where_time_closes_windows_nothing_is_published_that_is_taken_back() {
    is_exact(Closing::WallClock, 12);
}

#[test]
fn one_log_in_a_thousand_objects_is_one_log() {
    let rules: Vec<_> = (0..KINDS.len()).step_by(3).map(|kind| (kind, 30, 3)).collect();
    let catalogue = catalogue(&rules);
    let names = ["single", "failed", "failed", "accepted"];
    let lines: Vec<String> = (0..1_000_usize)
        .map(|number| {
            let time = Timestamp::from_second(START + i64::try_from(number * 7_919 % 14_400).unwrap()).unwrap();
            let (event, user, name, bytes) = (names[number % 4], number % 5, number % 7, number * 31 % 80);
            format!(
                r#"{{"eventName":"{event}","eventTime":"{time}","user":"user-{user}","name":"{name}","bytes":{bytes}}}"#
            )
        })
        .collect();
    for closing in [Closing::EndOfInput, Closing::WallClock] {
        let (whole, _) = run(&catalogue, std::slice::from_ref(&lines), &[Work { object: 0, dies: false }], closing);
        let objects: Vec<_> = lines.iter().map(|line| vec![line.clone()]).collect();
        let mut schedule: Vec<_> =
            (0..1_000).map(|object| Work { object: object * 333 % 1_000, dies: object % 25 == 0 }).collect();
        schedule.extend((0..1_000).step_by(10).map(|object| Work { object, dies: false }));
        let (found, _) = run_in_batches(&catalogue, &objects, &schedule, closing, 250);
        assert_eq!(found, whole, "{closing:?}");
        println!("1000 objects, {} findings, {closing:?}", whole.len());
    }
}
