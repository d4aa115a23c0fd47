//! A log in pieces: random rules, a random log, its random cuts and a schedule by which workers take the pieces up.
//!
//! Shared by the tests of every state store: see `shared/local/tests/exactness.rs`.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use async_trait::async_trait;
use cloudvigil_core::correlate::{Closing, SettleError, Settler};
use cloudvigil_core::detect::{Catalogue, RuleFile};
use cloudvigil_core::finding::Finding;
use cloudvigil_core::formats;
use cloudvigil_core::pipeline::{Options, Pipeline, Report};
use cloudvigil_core::ports::{Clock, Failure, Item, PortError, PortResult, StateStore};
use cloudvigil_local::Collected;
use jiff::Timestamp;
use proptest::prelude::*;
use tokio::runtime::Handle;

/// The first second of the logs: 2026-03-01T10:00:00Z.
pub const START: i64 = 1_772_359_200;
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
pub const KINDS: [&str; 20] = [
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

/// The rules above, and random ones: their kind, timespan in minutes and number.
pub fn catalogue(rules: &[(usize, u32, u32)]) -> Catalogue {
    let mut text = format!("{SIMPLE}---{INNER}");
    for (number, (kind, minutes, count)) in rules.iter().enumerate() {
        let body = KINDS[*kind].replace('#', &count.to_string());
        let rule = format!(
            "---\ntitle: random-{number}\nid: random-{number}\nlateness: 10m\n\
             correlation: {{{body}, group-by: [user], timespan: {minutes}m}}\n"
        );
        text.push_str(&rule);
    }
    let file = RuleFile::new("rules.yml", text);
    let (catalogue, problems) = Catalogue::load(vec![file]);
    assert!(problems.is_empty(), "{problems:?}");
    catalogue
}

/// What an object is analysed to; the object's name is its number.
pub fn report(catalogue: &Catalogue, number: usize, lines: &[String]) -> Report {
    let options = Options { format: formats::by_name("cloudtrail"), ..Options::default() };
    let object = format!("object-{number}");
    let mut analysis = Pipeline::new(catalogue, options).analysis(&object.clone(), object, None);
    analysis.push(lines.join("\n").as_bytes());
    analysis.finish()
}

/// How an object is worked off.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Its number.
    pub object: usize,
    /// After how many steps of the state its worker dies, if it gets that far; somebody runs it again later.
    pub dies: Option<usize>,
}

/// How many workers have died.
pub static DEATHS: AtomicUsize = AtomicUsize::new(0);

/// A state as a worker sees it that dies after some steps: the next one fails and every one after it. Every other worker
/// dies before the answer to a step that was carried out.
struct Mortal<'s> {
    state: &'s dyn StateStore,
    /// How many steps are left, if they are counted.
    left: Option<AtomicUsize>,
    loses_answer: bool,
}

impl<'s> Mortal<'s> {
    fn new(state: &'s dyn StateStore, dies: Option<usize>) -> Self {
        let loses_answer = dies.is_some_and(|steps| steps % 2 == 1);
        Self { state, left: dies.map(AtomicUsize::new), loses_answer }
    }

    async fn step<T>(&self, step: impl Future<Output = PortResult<T>>) -> PortResult<T> {
        let Some(left) = &self.left else { return step.await };
        let died = || PortError::new(Failure::Transient, "go on", "the worker died");
        match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Err(_) => Err(died()),
            Ok(1) if self.loses_answer => step.await.and(Err(died())),
            Ok(_) => step.await,
        }
    }

    fn is_dead(&self) -> bool {
        self.left.as_ref().is_some_and(|left| left.load(Ordering::SeqCst) == 0)
    }
}

#[async_trait]
impl StateStore for Mortal<'_> {
    async fn get(&self, partition: &str, sort: &str) -> PortResult<Option<Item>> {
        self.step(self.state.get(partition, sort)).await
    }

    async fn query(&self, partition: &str) -> PortResult<Vec<(String, Item)>> {
        self.step(self.state.query(partition)).await
    }

    async fn put(&self, partition: &str, sort: &str, body: Vec<u8>, expires: Timestamp) -> PortResult<()> {
        self.step(self.state.put(partition, sort, body, expires)).await
    }

    async fn put_if(
        &self,
        partition: &str,
        sort: &str,
        body: Vec<u8>,
        expires: Timestamp,
        expected: Option<u64>,
    ) -> PortResult<bool> {
        self.step(self.state.put_if(partition, sort, body, expires, expected)).await
    }

    async fn delete(&self, partition: &str, sort: &str) -> PortResult<()> {
        self.step(self.state.delete(partition, sort)).await
    }
}

/// Time as the test wants it, in seconds since 1970.
pub struct Told(pub AtomicI64);

impl Clock for Told {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// What is compared of findings, by id: the count, the first and the last time.
pub type Settled = BTreeMap<String, (u64, Option<Timestamp>, Option<Timestamp>)>;

/// What is compared of a finding.
pub fn compared(finding: Finding) -> (String, (u64, Option<Timestamp>, Option<Timestamp>)) {
    (finding.id, (finding.count, finding.first_time, finding.last_time))
}

/// What works off objects: on which state, by which rules and clock.
pub struct Workers<'s> {
    pub catalogue: &'s Catalogue,
    pub state: &'s dyn StateStore,
    pub clock: &'s Told,
    pub closing: Closing,
    pub runtime: &'s Handle,
}

impl Workers<'_> {
    /// Works off objects on two threads, in the given order; findings are settled after each `batch` objects of a
    /// worker. While objects arrive the clock stands still, so none is late; then it closes all windows, hour by hour.
    /// Returns what was published last of each finding.
    pub fn run(&self, objects: &[Vec<String>], schedule: &[Work], batch: usize) -> Settled {
        let sink = Collected::new();
        let (catalogue, state, clock) = (self.catalogue, self.state, self.clock);
        let work = |part: &[Work]| {
            let mut again = Vec::new();
            for batch in part.chunks(batch) {
                let mortal = Mortal::new(state, batch.iter().find_map(|work| work.dies));
                let settler = Settler { catalogue, state: &mortal, sink: &sink, clock, closing: self.closing };
                if let Err(error) = self.runtime.block_on(worked_off(&settler, objects, batch)) {
                    assert!(mortal.is_dead(), "{error}");
                    DEATHS.fetch_add(1, Ordering::Relaxed);
                    again.extend(batch.iter().map(|work| Work { dies: None, ..*work }));
                }
            }
            again
        };
        let (one, two) = schedule.split_at(schedule.len() / 2);
        let again = std::thread::scope(|scope| {
            let workers = [scope.spawn(|| work(one)), scope.spawn(|| work(two))];
            workers.map(|worker| worker.join().unwrap()).concat()
        });
        assert!(work(&again).is_empty(), "who runs again does not die");
        let settler = Settler { catalogue, state, sink: &sink, clock, closing: self.closing };
        if self.closing == Closing::WallClock {
            // Two schedules at once settle what time has closed.
            for hour in 1..=8 {
                clock.0.store(START + hour * 3600, Ordering::SeqCst);
                let tick = || self.runtime.block_on(settler.settle_due()).unwrap();
                std::thread::scope(|scope| {
                    scope.spawn(tick);
                    scope.spawn(tick);
                });
            }
        }
        sink.into_sorted().into_iter().map(|message| compared(message.finding)).collect()
    }
}

/// Puts what a batch of objects contributes, and settles what it touches.
async fn worked_off(settler: &Settler<'_>, objects: &[Vec<String>], batch: &[Work]) -> Result<(), SettleError> {
    let mut touched = BTreeSet::new();
    for Work { object, .. } in batch {
        let report = report(settler.catalogue, *object, &objects[*object]);
        touched.extend(settler.put(&report.object, report.contributions).await?);
    }
    settler.settle(&touched).await?;
    settler.settle_due().await?;
    Ok(())
}

/// A random case: the lines of a log, the kinds of random rules, and a seed for the cuts.
#[derive(Debug, Clone)]
pub struct Case {
    pub lines: Vec<String>,
    pub rules: Vec<(usize, u32, u32)>,
    seed: u64,
}

/// Random cases.
pub fn cases() -> impl Strategy<Value = Case> {
    let names = prop::sample::select(vec!["single", "failed", "failed", "failed", "accepted", "other"]);
    let record = (0..SPAN, names, 0..3_u8, any::<bool>(), 0..4_u8, prop::option::of(0..80_u8));
    let rules = prop::collection::vec((0..KINDS.len(), 6..70_u32, 1..5_u32), 1..5);
    (prop::collection::vec(record, 1..60), rules, any::<u64>()).prop_map(|(records, rules, seed)| {
        let lines = records.into_iter().enumerate().map(|(number, (second, event, user, with_id, name, bytes))| {
            let time = Timestamp::from_second(START + second).unwrap();
            let id = if with_id { format!(r#","eventID":"id-{number}""#) } else { String::new() };
            let bytes = bytes.map(|bytes| format!(r#","bytes":{bytes}"#)).unwrap_or_default();
            format!(r#"{{"eventName":"{event}","eventTime":"{time}","user":"user-{user}","name":"{name}"{bytes}{id}}}"#)
        });
        Case { lines: lines.collect(), rules, seed }
    })
}

impl Case {
    /// The log as one object, taken up once.
    pub fn whole(&self) -> (Vec<Vec<String>>, Vec<Work>) {
        (vec![self.lines.clone()], vec![Work { object: 0, dies: None }])
    }

    /// The log cut into objects, with some events that have an id in two of them, and the order in which they are taken
    /// up, some of them twice, some by a worker that dies.
    pub fn cut(&self) -> (Vec<Vec<String>>, Vec<Work>) {
        let mut random = self.seed | 1;
        let mut next = |below: usize| {
            // xorshift: the schedule follows from the seed alone.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random >> 33).unwrap() % below
        };
        let mut objects = vec![Vec::new(); 1 + next(self.lines.len())];
        for line in &self.lines {
            let copies = if line.contains("eventID") { 1 + next(2) } else { 1 };
            for _ in 0..copies {
                let object = next(objects.len());
                objects[object].push(line.clone());
            }
        }
        let again: Vec<usize> = (0..next(4)).map(|_| next(objects.len())).collect();
        let work = |object| Work { object, dies: (next(3) == 0).then(|| next(30)) };
        let mut schedule: Vec<Work> = (0..objects.len()).chain(again).map(work).collect();
        for at in (1..schedule.len()).rev() {
            schedule.swap(at, next(at + 1));
        }
        (objects, schedule)
    }
}
