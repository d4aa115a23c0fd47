//! A bucket that fills while somebody looks at it from time to time.

#![allow(clippy::unwrap_used, reason = "a test may panic, also outside of its #[test] function")]

mod support;

use std::sync::{Arc, Mutex};

use cloudvigil_core::ports::{Clock, Failure};
use cloudvigil_local::EmbeddedState;
use cloudvigil_trail::watch::{Delivery, Found, Watch};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use support::{ACCOUNT, BUCKET, Bucket, CLOUDTRAIL, Delivered, Hour, REGION, Store, Trail, View, hour};

struct Set(Mutex<Timestamp>);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A bucket, and who looks at it.
struct Scene {
    bucket: Bucket,
    delivered: Vec<Delivered>,
    clock: Arc<Set>,
    state: EmbeddedState,
    failing: Vec<(String, Failure)>,
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(Set(Mutex::new(hour(0))));
        let state = EmbeddedState::in_memory(clock.clone()).unwrap();
        Self { bucket: Bucket::default(), delivered: Vec::new(), clock, state, failing: Vec::new() }
    }

    /// Hours pass, with their deliveries.
    fn pass(&mut self, to: i64) {
        let from = i64::try_from(self.delivered.len()).unwrap() + 1;
        let more = self.bucket.deliver_hours(&Trail::default(), from..to + 1, self.delivered.last().cloned());
        self.delivered.extend(more);
        self.set(to);
    }

    fn set(&self, to: i64) {
        *self.clock.0.lock().unwrap() = hour(to) + 20.minutes();
    }

    async fn look_for(&self, digests: usize) -> Found {
        let mut store = Store::new(&self.bucket, View::Bucket);
        store.failing.extend(self.failing.iter().map(|(key, failure)| (format!("s3://{BUCKET}/{key}"), *failure)));
        let keys = CLOUDTRAIL.ring();
        let watch = Watch {
            store: &store,
            keys: &keys,
            state: &self.state,
            clock: self.clock.as_ref(),
            first_look: SignedDuration::from_hours(24),
        };
        let delivery = Delivery {
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            trail: "main".to_owned(),
            home_region: "eu-west-1".to_owned(),
            bucket: BUCKET.to_owned(),
            prefix: String::new(),
        };
        let asked = Mutex::new(0);
        // Once before anything is listed.
        let goes_on = || {
            *asked.lock().unwrap() += 1;
            *asked.lock().unwrap() <= digests.saturating_add(1)
        };
        watch.look(&delivery, &goes_on).await.unwrap()
    }

    /// Looks, and keeps what was found.
    async fn look(&self) -> Found {
        let found = self.look_for(usize::MAX).await;
        found.commit(&self.state, self.clock.as_ref()).await.unwrap();
        found
    }
}

fn breaks(found: &Found) -> Vec<(&str, &str)> {
    let broken = found.records.iter().filter(|record| record["status"] != "valid");
    broken.map(|record| (record["type"].as_str().unwrap(), record["status"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn each_digest_is_verified_once_soon_after_it_came() {
    let mut scene = Scene::new();
    scene.pass(40);
    let first = scene.look().await;
    assert_eq!((first.digests.valid, breaks(&first)), (24, vec![]), "a day back, and no more");
    assert_eq!(scene.look().await.records.len(), 0);
    scene.pass(43);
    let second = scene.look().await;
    assert_eq!((second.digests.valid, second.log_files.valid, breaks(&second)), (3, 6, vec![]));
}

#[tokio::test]
async fn what_is_wrong_is_found_at_the_next_look() {
    let mut scene = Scene::new();
    scene.pass(5);
    scene.look().await;
    scene.pass(8);
    let log = scene.bucket.log_keys().last().unwrap().clone();
    scene.bucket.remove(&log);
    scene.bucket.remove(&scene.delivered[5].key.clone());
    let found = scene.look().await;
    assert_eq!(breaks(&found), [("trail_digest", "missing"), ("trail_log_file", "missing")]);
}

#[tokio::test]
async fn a_digest_that_went_before_anybody_saw_it_is_missed_by_the_next_also_over_midnight() {
    let mut scene = Scene::new();
    scene.pass(22);
    scene.look().await;
    scene.pass(25);
    for n in [22, 23, 24] {
        scene.bucket.remove(&scene.delivered[n].key.clone());
    }
    assert_eq!(scene.look().await.records.len(), 0, "nobody names them yet");
    scene.pass(26);
    let found = scene.look().await;
    assert_eq!(breaks(&found), [("trail_digest", "missing")]);
    assert_eq!(found.records[0]["gap_start"], hour(22).to_string());
    assert_eq!(found.records[0]["digest_start"], hour(25).to_string());
}

#[tokio::test]
async fn a_look_whose_findings_were_not_kept_is_repeated() {
    let mut scene = Scene::new();
    scene.pass(4);
    let lost = scene.look_for(usize::MAX).await;
    let again = scene.look().await;
    assert_eq!(lost.records, again.records);
    assert_eq!(again.digests.valid, 4);
}

#[tokio::test]
async fn a_look_without_time_goes_on_where_it_was() {
    let mut scene = Scene::new();
    scene.pass(6);
    let mut valid = 0;
    for _ in 0..3 {
        let found = scene.look_for(2).await;
        assert_eq!(breaks(&found), []);
        found.commit(&scene.state, scene.clock.as_ref()).await.unwrap();
        valid += found.digests.valid;
    }
    assert_eq!(valid, 6);
}

#[tokio::test]
async fn what_fails_for_now_is_looked_at_again_and_what_fails_for_good_is_told() {
    let mut scene = Scene::new();
    scene.pass(6);
    let log = scene.bucket.log_keys()[4].clone();
    scene.failing = vec![(log.clone(), Failure::Transient)];
    let found = scene.look().await;
    assert_eq!((found.errors.len(), breaks(&found)), (1, vec![]));
    scene.failing = vec![(log, Failure::Denied)];
    let found = scene.look().await;
    assert_eq!((found.digests.valid, breaks(&found)), (4, vec![("trail_log_file", "unreadable")]));
    assert_eq!(scene.look().await.records.len(), 0, "not told twice");
}

#[tokio::test]
async fn logging_switched_off_between_two_looks_is_a_gap() {
    let mut scene = Scene::new();
    scene.pass(3);
    scene.look().await;
    scene.bucket.deliver_hours(&Trail::default(), 10..12, None);
    scene.set(11);
    let found = scene.look().await;
    assert_eq!(breaks(&found), [("trail_digest", "gap")]);
    assert_eq!(found.records[0]["gap_start"], hour(3).to_string());
}

#[tokio::test]
async fn backfill_digests_come_late_and_are_seen() {
    let mut scene = Scene::new();
    scene.pass(6);
    scene.look().await;
    let trail = Trail::default();
    let late = vec![(trail.log_key(hour(2), "late"), b"{}".to_vec())];
    let of = Hour { end: hour(2), previous: None, log_files: late.clone(), backfill: true, signer: &CLOUDTRAIL };
    scene.bucket.deliver(&trail, &of);
    scene.bucket.remove(&late[0].0);
    scene.pass(7);
    assert_eq!(breaks(&scene.look().await), [("trail_log_file", "missing")]);
}
