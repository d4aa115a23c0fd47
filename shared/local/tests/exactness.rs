//! The same log, however it is cut into objects, in whatever order they are analysed, some twice, some by a worker that
//! dies at any step of the state and is run again, several workers at once: the settled findings are those of one pass over the whole.
//!
//! Every kind of correlation is among the random rules. Where the input has an end, each worker takes all windows for
//! closed, and takes back what more input contradicts; where it has none, as in AWS, windows are closed by a clock that
//! goes on while objects arrive, and nothing is ever taken back.

#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod splitting;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cloudvigil_core::correlate::{Closing, Held, SETTLED, settled};
use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::finding::{Evidence, Finding};
use cloudvigil_core::ports::Clock;
use cloudvigil_local::EmbeddedState;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use splitting::{DEATHS, KINDS, START, Settled, Told, Work, Workers, cases, catalogue, compared, report};

/// How many random cases each test runs: rules, a log, its cuts and a schedule.
const CASES: u32 = 40;

/// What must be the same in whatever order the objects came: the evidence, and where else each entry was read, by id.
type Seen = BTreeMap<String, Vec<Evidence>>;

/// What a run that keeps no state comes to.
fn held(catalogue: &Catalogue, (objects, schedule): &(Vec<Vec<String>>, Vec<Work>)) -> Settled {
    let mut held = Held::default();
    for Work { object, .. } in schedule {
        held.take(catalogue, report(catalogue, *object, &objects[*object]).contributions);
    }
    let partitions = held.partitions(catalogue);
    let found = partitions
        .iter()
        .filter_map(|partition| Some(held.found(catalogue, partition, None)?.finding(catalogue, partition)));
    found.map(compared).collect()
}

/// What a state holds at the end; findings are settled after each `batch` objects of a worker.
fn run(
    catalogue: &Catalogue,
    (objects, schedule): &(Vec<Vec<String>>, Vec<Work>),
    closing: Closing,
    batch: usize,
) -> (Settled, Seen) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let clock = Arc::new(Told(AtomicI64::new(START)));
    let state = EmbeddedState::in_memory(Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    let workers = Workers { catalogue, state: &state, clock: &clock, closing, runtime: runtime.handle() };
    let published = workers.run(objects, schedule, batch);
    let marks = state.partitions("c#", SETTLED).unwrap();
    let findings: Vec<Finding> =
        marks.into_iter().filter_map(|(partition, item)| settled(&item.body, &partition).unwrap()).collect();
    let seen = findings.iter().map(|finding| (finding.id.clone(), finding.evidence.clone())).collect();
    let settled: Settled = findings.into_iter().map(compared).collect();
    // What was published last is what is settled, but for what an early worker had to take back.
    match closing {
        Closing::WallClock => assert_eq!(published, settled),
        Closing::EndOfInput => assert!(settled.keys().all(|id| published.contains_key(id))),
    }
    (settled, seen)
}

/// Random rules, a random log, its random cuts and schedule; what came of it must be what came of one pass.
fn is_exact(closing: Closing, seed: u8) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]));
    let found = Mutex::new((0, BTreeMap::<usize, usize>::new()));
    let several = AtomicUsize::new(0);
    runner
        .run(&cases(), |case| {
            let catalogue = catalogue(&case.rules);
            let (whole, _) = run(&catalogue, &case.whole(), closing, 1);
            {
                let mut found = found.lock().unwrap();
                found.0 += whole.len();
                for (kind, ..) in &case.rules {
                    *found.1.entry(*kind).or_default() += 1;
                }
            }
            let cut = case.cut();
            let in_order = (0..cut.0.len()).map(|object| Work { object, dies: None }).collect();
            let (counted, places) = run(&catalogue, &(cut.0.clone(), in_order), closing, cut.0.len());
            prop_assert_eq!(&counted, &whole);
            if closing == Closing::EndOfInput {
                prop_assert_eq!(&held(&catalogue, &cut), &whole);
            }
            let in_several = places.values().flatten().filter(|entry| !entry.also_in.is_empty()).count();
            several.fetch_add(in_several, Ordering::Relaxed);
            prop_assert_eq!(run(&catalogue, &cut, closing, 1), (whole, places));
            Ok(())
        })
        .unwrap();
    let (findings, kinds) = found.into_inner().unwrap();
    assert_eq!(kinds.len(), KINDS.len(), "every kind was there");
    let (several, deaths) = (several.into_inner(), DEATHS.load(Ordering::Relaxed));
    assert!(several > 200, "{several} entries that were read in several places show little");
    println!(
        "{CASES} cases, {findings} findings, {several} entries in several places, {} random rules, {deaths} deaths",
        kinds.values().sum::<usize>()
    );
    assert!(deaths > 100, "{deaths} deaths show little");
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
        let (whole, _) = run(&catalogue, &(vec![lines.clone()], vec![Work { object: 0, dies: None }]), closing, 1);
        let objects: Vec<Vec<String>> = lines.iter().map(|line| vec![line.clone()]).collect();
        // One in each batch of 250, at some step of the batch's.
        let dies = |object: usize| (object % 250 == 7).then_some(object * 3);
        let mut schedule: Vec<_> =
            (0..1_000).map(|object| Work { object: object * 333 % 1_000, dies: dies(object) }).collect();
        schedule.extend((0..1_000).step_by(10).map(|object| Work { object, dies: None }));
        assert_eq!(run(&catalogue, &(objects, schedule), closing, 250).0, whole, "{closing:?}");
        println!("1000 objects, {} findings, {closing:?}", whole.len());
    }
}
