//! The scheduled tasks: a mail for each rule and hour that went beyond its cap, and a mail for each day's lower findings.
//!
//! Both look back over days, so that a missed run is made up for, and both may run twice at once: a collection is
//! claimed by a lease, sent, and marked. A crash between the last two sends it twice; nothing loses it.

use jiff::{SignedDuration, Timestamp, ToSpan as _};

use crate::channels::Notice;
use crate::collection::{Batch, Collection};
use crate::deliver::{date_of, hour_of};
use crate::records::{self, COLLECTION_KEPT, LEASE, Lease, SCHEMA, Status};
use crate::summary::{Digest, Summary};
use crate::{Deliverer, Entry, Error};

/// How many ended hours a roll-up looks back.
const HOURS: i64 = 48;
/// How many finished days a digest looks back.
const DAYS: i32 = 7;

/// What a task did.
#[derive(Debug, Default)]
pub struct TaskReport {
    /// Mails sent.
    pub sent: u32,
    /// Collections that another run is at right now.
    pub held: u32,
    /// What failed. The next run tries it again.
    pub failed: Vec<Error>,
}

impl Deliverer {
    /// Sends the summaries of the hours that have ended, of the last 48. To be run a little after each hour.
    pub async fn roll_up(&self) -> TaskReport {
        let mut report = TaskReport::default();
        let this_hour = hour_of(self.clock.now());
        for back in (1..=HOURS).rev() {
            let hour = this_hour - SignedDuration::from_hours(back);
            let rules = match self.store.query(&self.summaries_of(hour)).await {
                Ok(rules) => rules,
                Err(error) => {
                    report.failed.push(error.into());
                    continue;
                }
            };
            for (rule, _) in rules {
                let collection = self.summary_of(hour, &rule);
                let sent = self.send(&collection, |entries| Notice::Summary(Summary { hour, entries })).await;
                report.count(sent);
            }
        }
        report
    }

    /// Sends the digests of the UTC days that have ended, of the last 7. A day without findings has none.
    pub async fn digest(&self) -> TaskReport {
        let mut report = TaskReport::default();
        let today = date_of(self.clock.now());
        for back in (1..=DAYS).rev() {
            let date = today.saturating_sub(back.days());
            let sent = self.send(&self.digest_of(date), |entries| Notice::Digest(Digest { date, entries })).await;
            report.count(sent);
        }
        report
    }

    async fn send(
        &self,
        collection: &Collection,
        notice: impl FnOnce(Vec<Entry>) -> Notice<'static>,
    ) -> Result<bool, Error> {
        let now = self.clock.now();
        let Some((batch, version)) =
            records::load::<Batch>(&*self.store, &collection.batches, &collection.batch).await?
        else {
            return Ok(false);
        };
        let held = |lease: Lease| Error::Held {
            what: format!("{} of {}", collection.batch, collection.batches),
            owner: lease.owner,
            until: lease.until,
        };
        match batch.status {
            Status::Done { .. } => return Ok(false),
            Status::Claimed(lease) if lease.until > now => return Err(held(lease)),
            Status::Claimed(_) | Status::Open => {}
        }
        let lease = Lease { owner: self.owner.clone(), until: now + LEASE };
        if !self.mark(collection, Status::Claimed(lease.clone()), now, Some(version)).await? {
            return Err(held(lease));
        }
        match self.send_claimed(collection, notice).await {
            Ok(sent) => {
                let done = Batch { schema: SCHEMA, status: Status::Done { at: self.clock.now() } };
                let body = records::encode(&done)?;
                self.store.put(&collection.batches, &collection.batch, body, now + COLLECTION_KEPT).await?;
                Ok(sent)
            }
            Err(error) => {
                // It stays closed; only the lease ends. If this fails too, the lease ends by itself.
                let _ = self.release(collection, lease).await;
                Err(error)
            }
        }
    }

    async fn send_claimed(
        &self,
        collection: &Collection,
        notice: impl FnOnce(Vec<Entry>) -> Notice<'static>,
    ) -> Result<bool, Error> {
        let mut entries = collection.take(&*self.store, self.clock.now()).await?;
        if entries.is_empty() {
            return Ok(false);
        }
        entries.sort_by(|a, b| (a.first_time, &a.id).cmp(&(b.first_time, &b.id)));
        self.channel.send(&notice(entries), self.clock.now()).await?;
        Ok(true)
    }

    async fn release(&self, collection: &Collection, lease: Lease) -> Result<(), Error> {
        let found = records::load::<Batch>(&*self.store, &collection.batches, &collection.batch).await?;
        let now = self.clock.now();
        if let Some((Batch { status: Status::Claimed(current), .. }, version)) = found
            && current == lease
        {
            self.mark(collection, Status::Claimed(Lease { until: now, ..lease }), now, Some(version)).await?;
        }
        Ok(())
    }

    async fn mark(
        &self,
        collection: &Collection,
        status: Status,
        now: Timestamp,
        expected: Option<u64>,
    ) -> Result<bool, Error> {
        let body = records::encode(&Batch { schema: SCHEMA, status })?;
        Ok(self.store.put_if(&collection.batches, &collection.batch, body, now + COLLECTION_KEPT, expected).await?)
    }
}

impl TaskReport {
    fn count(&mut self, sent: Result<bool, Error>) {
        match sent {
            Ok(sent) => self.sent += u32::from(sent),
            Err(Error::Held { .. }) => self.held += 1,
            Err(error) => self.failed.push(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::atomic::Ordering;

    use cloudvigil_core::finding::{Level, Message};

    use super::*;
    use crate::testing::{Arrived, Dice, World, block_on, finding, step};
    use crate::{Limits, Outcome};

    fn deliverer(world: &World) -> Deliverer {
        world.limited("worker", Limits { per_rule: 1, total: 4, kept_for_critical: 1 })
    }

    #[test]
    fn one_summary_for_each_rule_and_hour_after_the_hour_whatever_runs_were_missed() {
        let world = World::new();
        let deliverer = deliverer(&world);
        for id in ["a1", "a2", "a3"] {
            block_on(deliverer.deliver(&finding(id, "a", Level::High))).unwrap();
        }
        assert_eq!(block_on(deliverer.roll_up()).sent, 0, "the hour has not ended");
        world.clock.advance(40 * 60);
        let report = block_on(deliverer.roll_up());
        assert_eq!((report.sent, report.failed.len()), (1, 0));
        assert_eq!(block_on(deliverer.roll_up()).sent, 0);
        let summary =
            Arrived::Summary("2026-11-22T07:00:00Z".to_owned(), "a".to_owned(), vec!["a2".to_owned(), "a3".to_owned()]);
        assert_eq!(world.wire.all()[1..], [summary]);
    }

    #[test]
    fn one_digest_for_each_day_and_none_for_an_empty_one() {
        let world = World::new();
        let deliverer = deliverer(&world);
        for (id, level) in [("x", Level::Medium), ("y", Level::Informational)] {
            assert_eq!(block_on(deliverer.deliver(&finding(id, "r", level))).unwrap(), Outcome::InDigest);
        }
        assert_eq!(block_on(deliverer.digest()).sent, 0, "the day has not ended");
        world.clock.advance(3 * 24 * 60);
        assert_eq!(block_on(deliverer.digest()).sent, 1);
        assert_eq!(block_on(deliverer.digest()).sent, 0);
        let ids = vec!["x".to_owned(), "y".to_owned()];
        assert_eq!(world.wire.all(), [Arrived::Digest("2026-11-22".to_owned(), ids)]);
    }

    #[test]
    fn a_summary_that_could_not_be_sent_is_sent_by_the_next_run() {
        let world = World::new();
        let deliverer = deliverer(&world);
        for id in ["a1", "a2"] {
            block_on(deliverer.deliver(&finding(id, "a", Level::High))).unwrap();
        }
        world.clock.advance(60);
        world.wire.failures.store(1, Ordering::Relaxed);
        let report = block_on(deliverer.roll_up());
        assert_eq!((report.sent, report.failed.len()), (0, 1));
        assert!(report.failed[0].is_retryable());
        assert_eq!(block_on(deliverer.roll_up()).sent, 1);
    }

    /// What a task of the simulation is.
    #[derive(Clone)]
    enum Job {
        Deliver(Box<Message>),
        Task,
    }

    type Running<'a> = (Job, Pin<Box<dyn Future<Output = bool> + 'a>>);

    /// Workers and tasks run at once in random order, are killed at random points, mails fail, messages come twice, the
    /// clock jumps: every finding of `high` and above is mailed or in exactly one summary, every other in exactly one
    /// digest.
    #[test]
    fn whatever_the_schedule_nothing_is_lost_and_nothing_stands_in_two_mails() {
        let mut late = 0;
        for seed in 1..=400 {
            let world = World::new();
            let deliverer = deliverer(&world);
            let mut dice = Dice(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
            let mut waiting: Vec<Message> = (0..24)
                .map(|n| {
                    let level = [Level::Critical, Level::High, Level::High, Level::Low][dice.below(4)];
                    finding(&format!("f{n}"), ["r1", "r2", "r3"][dice.below(3)], level)
                })
                .collect();
            let all = waiting.clone();
            let again: Vec<Message> = (0..6).map(|_| all[dice.below(all.len())].clone()).collect();
            waiting.extend(again);

            let mut running: Vec<Running<'_>> = Vec::new();
            for _ in 0..4000 {
                match dice.below(40) {
                    0..=2 if !waiting.is_empty() && running.len() < 6 => {
                        let message = waiting.swap_remove(dice.below(waiting.len()));
                        let (job, deliverer) = (Job::Deliver(Box::new(message.clone())), &deliverer);
                        running.push((job, Box::pin(async move { deliverer.deliver(&message).await.is_ok() })));
                    }
                    3 if running.len() < 6 => {
                        let (digest, deliverer) = (dice.below(3) == 0, &deliverer);
                        running.push((
                            Job::Task,
                            Box::pin(async move {
                                if digest {
                                    deliverer.digest().await
                                } else {
                                    deliverer.roll_up().await
                                };
                                true
                            }),
                        ));
                    }
                    4 if !running.is_empty() && dice.below(3) == 0 => {
                        if let (Job::Deliver(message), _) = running.swap_remove(dice.below(running.len())) {
                            waiting.push(*message);
                        }
                    }
                    5 if dice.below(3) == 0 => world.clock.advance(i64::try_from(dice.below(25)).unwrap()),
                    6 if dice.below(8) == 0 => world.wire.failures.store(1, Ordering::Relaxed),
                    _ if !running.is_empty() => {
                        let at = dice.below(running.len());
                        if let Some(done) = step(&mut running[at].1) {
                            match running.swap_remove(at) {
                                (Job::Deliver(message), _) if !done => waiting.push(*message),
                                _ => {}
                            }
                        }
                    }
                    _ => {}
                }
            }
            // The end: the queue comes again until it is empty, and the tasks run on.
            waiting.extend(running.into_iter().filter_map(|(job, _)| match job {
                Job::Deliver(message) => Some(*message),
                Job::Task => None,
            }));
            world.wire.failures.store(0, Ordering::Relaxed);
            for _ in 0..5 {
                world.clock.advance(3);
                waiting.retain(|message| block_on(deliverer.deliver(message)).is_err());
            }
            assert!(waiting.is_empty(), "seed {seed}");
            world.clock.advance(24 * 60);
            for _ in 0..2 {
                world.clock.advance(3);
                for report in [block_on(deliverer.roll_up()), block_on(deliverer.digest())] {
                    assert!(report.failed.is_empty(), "seed {seed}: {:?}", report.failed);
                }
            }

            // The same mail twice is one mail; for summaries and digests the last one counts.
            let mut mails: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
            for arrived in world.wire.all() {
                let (key, ids) = match arrived {
                    Arrived::Finding(id) => (("finding".to_owned(), id.clone()), vec![id]),
                    Arrived::Summary(hour, rule, ids) => ((hour, rule), ids),
                    Arrived::Digest(date, ids) => ((date, "digest".to_owned()), ids),
                };
                mails.insert(key, ids.into_iter().collect());
            }
            for message in &all {
                let id = &message.finding.id;
                let held: Vec<_> = mails.iter().filter(|(_, ids)| ids.contains(id)).map(|(key, _)| key).collect();
                assert_eq!(held.len(), 1, "seed {seed}, {id}: {held:?}");
                assert_eq!(held[0].1 == "digest", message.finding.level < Level::High, "seed {seed}, {id}: {held:?}");
            }
            late += world.store.count(|body| body.contains(r#""membership":"moved""#));
        }
        assert!(late > 0, "the simulation never met a closed collection");
    }
}
