//! What becomes of a finding, decided once and carried out at least once.

use std::sync::Arc;

use cloudvigil_core::finding::{self, Level, Message};
use cloudvigil_core::ports::{Clock, StateStore};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::channels::{Channel, Notice};
use crate::collection::{Collection, Offer};
use crate::entry::Entry;
use crate::ledger;
use crate::records::{self, DELIVERY_KEPT, LEASE, Lease, SCHEMA, Status};
use crate::{Error, records::key_part};

pub use crate::ledger::Limits;

/// From this level up a finding is mailed at once; below, it waits for the day's digest.
pub const AT_ONCE: Level = Level::High;

/// Delivers findings through one channel. Any number of them may work on the same state at the same time.
pub struct Deliverer {
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) channel: Arc<dyn Channel>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) owner: String,
}

/// What became of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was sent now.
    Sent,
    /// It is beyond the hour's cap and waits for the summary of its rule.
    InSummary,
    /// It is below [`AT_ONCE`] and waits for the day's digest.
    InDigest,
    /// It was dealt with before; a later revision is no reason for another mail.
    Known,
}

/// What is to become of a finding. Written down before anything is done, and changed only when a collection turns out
/// to be closed: whoever takes over does the same thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Plan {
    Send,
    Summary { hour: Timestamp },
    Digest { date: Date },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Delivery {
    schema: u32,
    plan: Plan,
    status: Status,
}

/// The sort key of a delivery.
const DELIVERY: &str = "delivery";

/// How many closed collections a finding may run into before its message goes back: more than the clocks of two
/// machines can differ by.
const MOVES: u32 = 3;

impl Deliverer {
    /// A deliverer over `store`. `owner` names this worker in the leases that it takes, for people who look.
    pub fn new(
        store: Arc<dyn StateStore>,
        channel: Arc<dyn Channel>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        owner: impl Into<String>,
    ) -> Self {
        Self { store, channel, clock, limits, owner: owner.into() }
    }

    /// Goes by other limits from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Deals with one finding: sends it, or keeps it for a summary or the digest.
    ///
    /// An error means that it is not known to be dealt with: the message must come again. A finding is sent twice only
    /// if a worker dies, or the state fails, between sending and writing that down.
    pub async fn deliver(&self, message: &Message) -> Result<Outcome, Error> {
        check(message)?;
        let id = &message.finding.id;
        let now = self.clock.now();
        let partition = self.delivery_partition(id);
        let found = records::load::<Delivery>(&*self.store, &partition, DELIVERY).await?;
        // A rule whose level was raised: what waits for a digest is now worth a mail.
        let found_version = found.as_ref().map(|(_, version)| *version);
        let plan = match found.map(|(delivery, _)| delivery) {
            Some(Delivery { status: Status::Claimed(lease), .. }) if lease.until > now => {
                return Err(Error::Held { what: format!("finding {id}"), owner: lease.owner, until: lease.until });
            }
            Some(Delivery { plan: Plan::Digest { .. }, .. }) | None if message.finding.level >= AT_ONCE => {
                self.plan(message, now).await?
            }
            None => self.plan(message, now).await?,
            Some(Delivery { plan, status: Status::Done { .. }, .. }) => {
                if let Some(collection) = self.collection(&plan, &message.finding.rule) {
                    collection.refresh(&*self.store, &Entry::new(message), now).await?;
                }
                return Ok(Outcome::Known);
            }
            Some(Delivery { plan, .. }) => plan,
        };

        let lease = Lease { owner: self.owner.clone(), until: now + LEASE };
        let claim = Delivery { schema: SCHEMA, plan, status: Status::Claimed(lease.clone()) };
        let body = records::encode(&claim)?;
        if !self.store.put_if(&partition, DELIVERY, body, now + DELIVERY_KEPT, found_version).await? {
            let owner = "a worker that was faster".to_owned();
            return Err(Error::Held { what: format!("finding {id}"), owner, until: lease.until });
        }
        match self.carry_out(message, claim.plan, &lease).await {
            Ok((plan, outcome)) => {
                let done = Delivery { schema: SCHEMA, plan, status: Status::Done { at: self.clock.now() } };
                // Whatever lease is there by now: it is sent, and that is what counts.
                self.store.put(&partition, DELIVERY, records::encode(&done)?, now + DELIVERY_KEPT).await?;
                Ok(outcome)
            }
            Err(error) => {
                // Lets the next attempt begin at once. If this fails too, it begins when the lease has run out.
                let _ = self.update_claim(&partition, &lease, None).await;
                Err(error)
            }
        }
    }

    /// Decides by level and by what was sent this hour.
    async fn plan(&self, message: &Message, now: Timestamp) -> Result<Plan, Error> {
        if message.finding.level < AT_ONCE {
            return Ok(Plan::Digest { date: date_of(now) });
        }
        let hour = hour_of(now);
        let partition = format!("notify#{}#mails#{hour}", self.channel.name());
        if ledger::reserve(&*self.store, &partition, self.limits, &message.finding, now).await? {
            Ok(Plan::Send)
        } else {
            Ok(Plan::Summary { hour })
        }
    }

    async fn carry_out(&self, message: &Message, mut plan: Plan, lease: &Lease) -> Result<(Plan, Outcome), Error> {
        let rule = &message.finding.rule;
        for _ in 0..=MOVES {
            let Some(collection) = self.collection(&plan, rule) else {
                self.channel.send(&Notice::Finding(message), self.clock.now()).await?;
                return Ok((plan, Outcome::Sent));
            };
            let now = self.clock.now();
            if collection.offer(&*self.store, &Entry::new(message), now).await? == Offer::Member {
                let outcome = if matches!(plan, Plan::Digest { .. }) { Outcome::InDigest } else { Outcome::InSummary };
                return Ok((plan, outcome));
            }
            // Too late for that hour or day. Where it goes instead is written down before it goes there.
            plan = Self::later(&plan, now);
            self.update_claim(&self.delivery_partition(&message.finding.id), lease, Some(&plan)).await?;
        }
        Err(Error::Contended { what: format!("the collection of finding {}", message.finding.id), attempts: MOVES })
    }

    /// The collection after a closed one: the present hour or day, or the next if clocks differ.
    fn later(plan: &Plan, now: Timestamp) -> Plan {
        match plan {
            Plan::Send => Plan::Send,
            Plan::Summary { hour } => {
                Plan::Summary { hour: hour_of(now).max(*hour + jiff::SignedDuration::from_hours(1)) }
            }
            Plan::Digest { date } => {
                Plan::Digest { date: date_of(now).max(date.saturating_add(jiff::Span::new().days(1))) }
            }
        }
    }

    /// Changes a claim that is still ours: to a new plan, or (`None`) to one that others may take over at once.
    async fn update_claim(&self, partition: &str, lease: &Lease, plan: Option<&Plan>) -> Result<(), Error> {
        let now = self.clock.now();
        let lost = || Error::Held {
            what: format!("the delivery {partition}"),
            owner: "a worker that took it over".to_owned(),
            until: now + LEASE,
        };
        let (delivery, version) =
            records::load::<Delivery>(&*self.store, partition, DELIVERY).await?.ok_or_else(lost)?;
        if delivery.status != Status::Claimed(lease.clone()) {
            return Err(lost());
        }
        let changed = match plan {
            Some(plan) => Delivery { plan: plan.clone(), ..delivery },
            None => Delivery { status: Status::Claimed(Lease { owner: lease.owner.clone(), until: now }), ..delivery },
        };
        let body = records::encode(&changed)?;
        if self.store.put_if(partition, DELIVERY, body, now + DELIVERY_KEPT, Some(version)).await? {
            Ok(())
        } else {
            Err(lost())
        }
    }

    fn delivery_partition(&self, id: &str) -> String {
        format!("notify#{}#finding#{id}", self.channel.name())
    }

    fn collection(&self, plan: &Plan, rule: &str) -> Option<Collection> {
        match plan {
            Plan::Send => None,
            Plan::Summary { hour } => Some(self.summary_of(*hour, &key_part(rule))),
            Plan::Digest { date } => Some(self.digest_of(*date)),
        }
    }

    /// The findings of a rule (as it stands in keys) beyond the cap of an hour.
    pub(crate) fn summary_of(&self, hour: Timestamp, rule: &str) -> Collection {
        Collection {
            entries: format!("notify#{}#summary#{hour}#{rule}", self.channel.name()),
            batches: self.summaries_of(hour),
            batch: rule.to_owned(),
        }
    }

    /// The partition that says which rules have a summary in an hour.
    pub(crate) fn summaries_of(&self, hour: Timestamp) -> String {
        format!("notify#{}#summaries#{hour}", self.channel.name())
    }

    /// The lower findings of a UTC day.
    pub(crate) fn digest_of(&self, date: Date) -> Collection {
        Collection {
            entries: format!("notify#{}#digest#{date}", self.channel.name()),
            batches: format!("notify#{}#digests", self.channel.name()),
            batch: date.to_string(),
        }
    }
}

/// Refuses what could not be kept apart in the state, or what a newer version wrote.
fn check(message: &Message) -> Result<(), Error> {
    if message.schema > finding::SCHEMA {
        return Err(Error::Malformed(format!(
            "its schema is {}, this version reads up to {}; update the notifier",
            message.schema,
            finding::SCHEMA
        )));
    }
    let id = &message.finding.id;
    let fits = (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !fits {
        return Err(Error::Malformed("its id is not 1 to 128 letters, digits, '-' or '_'".to_owned()));
    }
    if message.finding.rule.is_empty() {
        return Err(Error::Malformed("its rule is empty".to_owned()));
    }
    Ok(())
}

/// The UTC hour that a time lies in.
pub(crate) fn hour_of(time: Timestamp) -> Timestamp {
    let seconds = time.as_second();
    Timestamp::from_second(seconds - seconds.rem_euclid(3600)).unwrap_or(Timestamp::MIN)
}

/// The UTC day that a time lies in.
pub(crate) fn date_of(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::testing::{Arrived, World, block_on, finding, message, step};

    #[test]
    fn a_finding_is_mailed_once_and_its_later_revisions_not_at_all() {
        let world = World::new();
        let deliverer = world.deliverer("a");
        let mut message = message("f1");
        assert_eq!(block_on(deliverer.deliver(&message)).unwrap(), Outcome::Sent);
        message.finding.revision = 2;
        message.finding.count = 7;
        world.clock.advance(60);
        assert_eq!(block_on(deliverer.deliver(&message)).unwrap(), Outcome::Known);
        assert_eq!(world.wire.all(), [Arrived::Finding("f1".to_owned())]);
    }

    #[test]
    fn of_two_workers_at_once_one_mails_and_the_other_comes_again() {
        // Every interleaving of two workers' first steps.
        for schedule in 0..1_usize << 12 {
            let world = World::new();
            let (a, b) = (world.deliverer("a"), world.deliverer("b"));
            let message = message("f1");
            let mut tasks = [Some(Box::pin(a.deliver(&message)) as _), Some(Box::pin(b.deliver(&message)) as _)];
            let mut ends = Vec::new();
            for turn in 0_usize.. {
                let Some(at) = [(schedule >> turn.min(63)) & 1, 0, 1].into_iter().find(|at| tasks[*at].is_some())
                else {
                    break;
                };
                if let Some(end) = tasks[at].as_mut().and_then(step) {
                    tasks[at] = None;
                    ends.push(end);
                }
            }
            assert_eq!(world.wire.all().len(), 1, "schedule {schedule:b}");
            let sent = ends.iter().filter(|end| matches!(end, Ok(Outcome::Sent))).count();
            let others = ends
                .iter()
                .filter(|end| matches!(end, Ok(Outcome::Known)) || end.as_ref().is_err_and(Error::is_retryable))
                .count();
            assert_eq!((sent, others), (1, 1), "schedule {schedule:b}: {ends:?}");
        }
    }

    #[test]
    fn a_live_lease_is_respected_and_an_expired_one_taken_over() {
        let world = World::new();
        let message = message("f1");
        let dying = world.deliverer("dying");
        {
            let mut task = Box::pin(dying.deliver(&message)) as _;
            // Up to the lease, and not to the mail.
            while world.store.items("notify#wire#finding#f1").is_empty() {
                assert!(step(&mut task).is_none());
            }
        }
        let heir = world.deliverer("heir");
        world.clock.advance(1);
        let error = block_on(heir.deliver(&message)).unwrap_err();
        assert!(matches!(&error, Error::Held { owner, .. } if owner == "dying") && error.is_retryable());
        assert!(world.wire.all().is_empty());
        world.clock.advance(2);
        assert_eq!(block_on(heir.deliver(&message)).unwrap(), Outcome::Sent);
        assert_eq!(world.wire.all().len(), 1);
    }

    #[test]
    fn a_worker_killed_at_any_step_never_loses_the_mail() {
        let mut duplicates = 0;
        for lifetime in 0.. {
            let world = World::new();
            let message = message("f1");
            let dying = world.deliverer("dying");
            let mut task = Box::pin(dying.deliver(&message)) as _;
            let ended = (0..lifetime).any(|_| step(&mut task).is_some());
            drop(task);
            if ended {
                break;
            }
            world.clock.advance(3);
            block_on(world.deliverer("heir").deliver(&message)).unwrap();
            let mails = world.wire.all().len();
            assert!((1..=2).contains(&mails), "killed after {lifetime} steps: {mails} mails");
            duplicates += mails - 1;
        }
        assert!(duplicates > 0, "a crash between sending and marking sends twice");
    }

    #[test]
    fn a_throttled_mail_is_tried_again_without_waiting_for_the_lease() {
        let world = World::new();
        let deliverer = world.deliverer("a");
        world.wire.failures.store(1, Ordering::Relaxed);
        let error = block_on(deliverer.deliver(&message("f1"))).unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert_eq!(block_on(deliverer.deliver(&message("f1"))).unwrap(), Outcome::Sent);
    }

    #[test]
    fn beyond_its_cap_a_rule_waits_for_the_summary_until_the_next_hour() {
        let world = World::new();
        let deliverer = world.limited("a", Limits { per_rule: 2, ..Limits::default() });
        let deliver = |id: &str, rule: &str| block_on(deliverer.deliver(&finding(id, rule, Level::High))).unwrap();
        assert_eq!(["1", "2", "3"].map(|id| deliver(id, "noisy")), [Outcome::Sent, Outcome::Sent, Outcome::InSummary]);
        assert_eq!(deliver("4", "quiet"), Outcome::Sent);
        world.clock.advance(60);
        assert_eq!(deliver("5", "noisy"), Outcome::Sent);
        assert_eq!(deliver("3", "noisy"), Outcome::Known);
    }

    #[test]
    fn a_share_of_the_total_is_kept_for_critical() {
        let world = World::new();
        let deliverer = world.limited("a", Limits { per_rule: 100, total: 6, kept_for_critical: 2 });
        let sent = |level, ids: std::ops::Range<u32>| {
            ids.filter(|id| {
                let message = finding(&format!("{level}-{id}"), &format!("rule-{id}"), level);
                block_on(deliverer.deliver(&message)).unwrap() == Outcome::Sent
            })
            .count()
        };
        assert_eq!(sent(Level::High, 0..10), 4);
        assert_eq!(sent(Level::Critical, 0..10), 2);
        world.clock.advance(60);
        assert_eq!(sent(Level::Critical, 10..20), 6, "critical may use all of it");
        assert_eq!(sent(Level::High, 10..20), 0);
    }

    #[test]
    fn lower_findings_wait_and_a_raised_level_does_not() {
        let world = World::new();
        let deliverer = world.deliverer("a");
        assert_eq!(block_on(deliverer.deliver(&finding("f1", "r", Level::Medium))).unwrap(), Outcome::InDigest);
        assert!(world.wire.all().is_empty());
        assert_eq!(block_on(deliverer.deliver(&finding("f1", "r", Level::High))).unwrap(), Outcome::Sent);
    }

    #[test]
    fn what_waits_shows_its_latest_revision_and_is_small() {
        let world = World::new();
        let deliverer = world.deliverer("a");
        let mut message = crate::testing::hostile();
        message.finding.level = Level::Low;
        block_on(deliverer.deliver(&message)).unwrap();
        message.finding.revision = 5;
        message.finding.count = 900;
        assert_eq!(block_on(deliverer.deliver(&message)).unwrap(), Outcome::Known);
        let entries = world.store.items("notify#wire#digest#2026-11-22");
        let entry: Entry = serde_json::from_slice(&entries[0].1.body).unwrap();
        assert_eq!((entries.len(), entry.count), (1, 900));
        assert!(world.store.largest() < 8 * 1024, "{} bytes", world.store.largest());
    }

    #[test]
    fn messages_that_never_will_work_are_refused() {
        let world = World::new();
        let deliverer = world.deliverer("a");
        let mut newer = message("f1");
        newer.schema = finding::SCHEMA + 1;
        for message in [message(""), message("a#b"), message("a\nb"), finding("f1", "", Level::High), newer] {
            let error = block_on(deliverer.deliver(&message)).unwrap_err();
            assert!(matches!(error, Error::Malformed(_)) && !error.is_retryable(), "{error}");
        }
        assert!(world.wire.all().is_empty());
    }

    #[test]
    fn state_of_a_newer_version_is_left_alone() {
        let world = World::new();
        let body = br#"{"schema":99,"whatever":true}"#.to_vec();
        block_on(world.store.put("notify#wire#finding#f1", DELIVERY, body, world.clock.now())).unwrap();
        let error = block_on(world.deliverer("a").deliver(&message("f1"))).unwrap_err();
        assert!(error.to_string().contains("schema is 99"), "{error}");
    }
}
