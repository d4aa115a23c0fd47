//! Contributions into the state, and findings out of it.
//!
//! The order is what makes it exact: put all contributions of an object; read the partitions that it touched and their
//! neighbours, strongly consistent; publish what moved; mark it; only then acknowledge the object. A crash anywhere
//! repeats from the start, and every step may be repeated. A mark is written only if nobody else wrote it since it was
//! read, and it is read before the contributions: so a mark never falls behind what it was computed from.
//!
//! A rule whose condition is not monotone needs two things more. More contributions may take its finding away, so its
//! mark is written even where there is no finding, with how many records it was computed from: whoever computed from
//! fewer must not have the last word. And its windows must be closed. Where there is no end of input, time closes them,
//! some time after they end; for each window that something was contributed to, an item says so from when on it can be
//! settled, and [`Settler::settle_due`] takes these up. What comes later than that is still folded in, but what has
//! been published stands.
//!
//! The same record, read once more in another place, moves nothing. The mark alone is written anew then, so that it says by
//! how many ways the record was seen; nothing is published, and the revision stays.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::contribution::RecordKey;
use super::contributions::{Contributions, Partition, next_bucket, previous_bucket};
use super::fold::{Folded, Found, folded, put_together};
use super::plan::Micros;
use super::stored::StoredContributions;
use super::windows::{PENDING, Pending};
use crate::detect::{Catalogue, Rule};
use crate::finding::Finding;
use crate::ports::{Clock, Failure, FindingSink, Item, NewItem, PortError, StateStore};

/// The version of the stored shapes.
pub(super) const SCHEMA: u32 = 3;
/// The oldest that this version reads.
const OLDEST: u32 = SCHEMA - 1;
/// The sort key of a partition's mark.
const MARK: &str = "finding";
/// How long state lives after its last write.
const LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How many requests to the state are under way at once.
const AT_ONCE: usize = 16;
/// How often a mark is computed again because somebody else was faster.
const TRIES: usize = 50;

/// Why findings could not be settled. Nothing is lost: the same object, given again, settles them.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The state or the sink failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// An item of the state is not of a shape that this version reads.
    #[error("state item {partition} {sort}: {reason}")]
    Unreadable {
        /// Its partition key.
        partition: String,
        /// Its sort key.
        sort: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// When the aligned windows of rules that need them are closed, see [`super::plan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// All of them are: the input has an end, and it was read. More input may come in a later run, and is then folded in.
    EndOfInput,
    /// By the clock, the rule's lateness after their end. [`Settler::settle_due`] is to be called from time to time.
    WallClock,
}

/// What is known of a partition's finding.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    schema: u32,
    /// The revision that was published last.
    #[serde(default)]
    revision: u64,
    /// For conditions that are not monotone, how many records it was computed from.
    #[serde(default)]
    records: usize,
    /// For those where time closes windows, up to when they were closed.
    #[serde(default)]
    closed: Option<Micros>,
    /// The finding, if there is one.
    finding: Option<Finding>,
    /// The record that each entry of its evidence is of. A mark of before this was kept has none.
    #[serde(default)]
    shown: Vec<RecordKey>,
    /// Whether it was held back, as it is: nobody has been told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    held_back: bool,
}

/// What the contributions of a partition come to.
struct Outcome {
    /// How many different records there are.
    records: usize,
    /// The finding, if the condition is fulfilled.
    finding: Option<Finding>,
    /// The record that each entry of its evidence is of.
    shown: Vec<RecordKey>,
    /// Whether it tells of tampering with cloudvigil's own resources.
    own: bool,
}

impl Outcome {
    fn of(catalogue: &Catalogue, partition: &Partition, stored: &[&StoredContributions], closed: Micros) -> Self {
        let Folded { records, found, own } = folded(catalogue, partition, stored, closed);
        let shown = found.as_ref().map(Found::shown).unwrap_or_default();
        Self { records, finding: found.map(|found| found.finding(catalogue, partition)), shown, own }
    }
}

impl Mark {
    /// What is to be marked, and whether its finding is to be published; `None`: it stands as it is. `holds_back` says
    /// whether nobody is to be told of it.
    fn after(
        before: Option<&Self>,
        rule: &Rule,
        outcome: Outcome,
        closed: Option<Micros>,
        holds_back: impl Fn(&Finding) -> bool,
    ) -> Option<(Self, bool)> {
        let Outcome { records, mut finding, mut shown, own } = outcome;
        let is_monotone = rule.plan.is_monotone();
        let marked = before.and_then(|before| before.finding.as_ref());
        let revision = before.map_or(0, |before| before.revision.max(marked.map_or(0, |finding| finding.revision)));
        let moved = match (marked, &finding) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(marked), Some(finding)) => {
                let what = |finding: &Finding| (finding.count, finding.first_time, finding.last_time);
                what(marked) != what(finding)
            }
        };
        let was_held_back = before.is_some_and(|before| before.held_back);
        let is_new = |_: &&Finding| moved || was_held_back;
        let held_back = !own && finding.as_ref().filter(is_new).is_some_and(holds_back);
        // What was held back until now is as good as new.
        let released = was_held_back && !held_back && finding.is_some();
        // From less than before: contributions have expired, and the finding stands as it was.
        let stands = if is_monotone {
            let fewer = |finding: &Finding| marked.is_some_and(|marked| finding.count < marked.count);
            !moved && !released || finding.as_ref().is_some_and(fewer)
        } else {
            before.is_some_and(|before| {
                let same = records == before.records && !moved && !released && marked.is_some() == finding.is_some();
                records < before.records || same
            })
        };
        if stands {
            let seen = finding.and_then(|finding| before?.seen_in_more_places(&finding, &shown, is_monotone));
            return seen.map(|mark| (mark, false));
        }
        let told = (moved || released) && !held_back;
        let revision = revision + u64::from(moved || released);
        if let Some(finding) = &mut finding {
            finding.revision = revision;
            if let (Some(before), Some(marked)) = (before, marked) {
                // What has expired since takes no place away.
                let known = (before.shown.as_slice(), marked.evidence.as_slice());
                (shown, finding.evidence) = put_together((&shown, &finding.evidence), known, is_monotone);
            }
        }
        Some((Self { schema: SCHEMA, revision, records, closed, finding, shown, held_back }, told))
    }

    /// The same mark, if its finding's records were read in places that it does not name yet: that moves no finding, and
    /// yet it is to be known by how many ways it was seen.
    fn seen_in_more_places(&self, found: &Finding, shown: &[RecordKey], is_monotone: bool) -> Option<Self> {
        let marked = self.finding.as_ref()?;
        let now = (shown, found.evidence.as_slice());
        let (shown, evidence) = if self.shown.len() == marked.evidence.len() {
            put_together((&self.shown, &marked.evidence), now, is_monotone)
        } else if found.count == marked.count {
            // Of a mark of before it is not known which records its entries are of.
            (shown.to_vec(), found.evidence.clone())
        } else {
            return None;
        };
        (evidence != marked.evidence).then(|| Self {
            finding: Some(Finding { evidence, ..marked.clone() }),
            shown,
            ..*self
        })
    }
}

/// Marks that were read beforehand, see [`Settler::marks`].
#[derive(Debug, Default)]
pub struct Marks(BTreeMap<Partition, Read>);

impl Marks {
    /// Of so many partitions they are read beforehand; who touches more does not wait for one request.
    pub const MOST: usize = AT_ONCE;
}

/// A mark that was read, or that there is none.
#[derive(Debug)]
struct Read(Option<Item>);

/// Puts contributions into the state and publishes the findings that they move.
pub struct Settler<'s> {
    /// The rules.
    pub catalogue: &'s Catalogue,
    /// The state.
    pub state: &'s dyn StateStore,
    /// Where findings go.
    pub sink: &'s dyn FindingSink,
    /// The time, for the expiry of state.
    pub clock: &'s dyn Clock,
    /// When aligned windows are closed.
    pub closing: Closing,
}

impl Settler<'_> {
    /// Puts what an object contributes. `object` names it, version and all; the same object again changes nothing.
    pub async fn put(&self, object: &str, contributions: Contributions) -> Result<BTreeSet<Partition>, SettleError> {
        let expires = self.expiry();
        let mut touched = BTreeSet::new();
        let mut items = Vec::new();
        for (partition, stored) in contributions.into_partitions() {
            let key = partition.key(self.catalogue);
            if self.closing == Closing::WallClock {
                for (sort, pending) in Pending::of(self.catalogue, &partition, &stored) {
                    let body = encoded(&pending, PENDING, &sort)?;
                    items.push(NewItem { partition: PENDING.to_owned(), sort, body, expires });
                }
            }
            for (chunk, item) in stored.into_items().enumerate() {
                let sort = format!("o#{object}#{chunk:05}");
                let body = encoded(&item, &key, &sort)?;
                items.push(NewItem { partition: key.clone(), sort, body, expires });
            }
            touched.insert(partition);
        }
        self.state.put_all(items).await?;
        Ok(touched)
    }

    /// The marks of the partitions that an object touches, if they are no more than [`Marks::MOST`]: they may be read
    /// while its contributions are put, which saves whoever waits for the finding the time of a request. A mark has to be
    /// read before contributions are, and how long before does not matter: one that somebody else has written meanwhile is
    /// read again.
    pub async fn marks(&self, touched: &BTreeSet<Partition>) -> Result<Marks, SettleError> {
        if touched.len() > Marks::MOST {
            return Ok(Marks::default());
        }
        let marks = self.affected(touched).into_iter().map(|partition| async move {
            let marked = self.state.get(&partition.key(self.catalogue), MARK).await?;
            Ok::<_, SettleError>((partition, Read(marked)))
        });
        Ok(Marks(stream::iter(marks).buffer_unordered(AT_ONCE).try_collect().await?))
    }

    /// The partitions whose findings may have moved.
    fn affected(&self, touched: &BTreeSet<Partition>) -> BTreeSet<Partition> {
        let before = touched.iter().filter_map(|partition| previous_bucket(self.catalogue, partition));
        touched.iter().cloned().chain(before).collect()
    }

    /// Publishes what moved in the touched partitions. Returns how many findings were published.
    pub async fn settle(&self, touched: &BTreeSet<Partition>) -> Result<usize, SettleError> {
        self.settle_from(touched, Marks::default()).await
    }

    /// The same, with marks that were read before.
    pub async fn settle_from(&self, touched: &BTreeSet<Partition>, mut marks: Marks) -> Result<usize, SettleError> {
        let settled = self.affected(touched).into_iter().map(|partition| {
            let marked = marks.0.remove(&partition);
            async move { self.settle_one(&partition, marked).await }
        });
        let published: Vec<bool> = stream::iter(settled).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(published.into_iter().filter(|published| *published).count())
    }

    /// Publishes what moved because time has closed windows. Returns how many findings were published. Costs nothing
    /// where no rule needs it.
    pub async fn settle_due(&self) -> Result<usize, SettleError> {
        if self.catalogue.rules().iter().all(|rule| rule.plan.is_monotone()) {
            return Ok(0);
        }
        let now = self.clock.now().as_microsecond();
        let mut published = 0;
        for (sort, item) in self.state.query(PENDING).await? {
            let mut pending: Pending = decoded(&item.body, PENDING, &sort)?;
            if pending.done || pending.due > now {
                continue;
            }
            if let Some(partition) = pending.partition(self.catalogue, &sort) {
                published += self.settle(&BTreeSet::from([partition])).await?;
            }
            // Who contributed in the meantime has written the item anew, and it stays.
            pending.done = true;
            let body = encoded(&pending, PENDING, &sort)?;
            self.state.put_if(PENDING, &sort, body, self.expiry(), Some(item.version)).await?;
        }
        Ok(published)
    }

    /// Up to when windows are closed for a rule, if it is time that closes them.
    fn closed(&self, rule: &Rule) -> Option<Micros> {
        let by_clock = self.closing == Closing::WallClock && !rule.plan.is_monotone();
        by_clock.then(|| self.clock.now().as_microsecond().saturating_sub(rule.lateness))
    }

    /// `read`: the partition's mark, if it was read already.
    async fn settle_one(&self, partition: &Partition, mut read: Option<Read>) -> Result<bool, SettleError> {
        let rule = self.catalogue.rule(partition.rule);
        let key = partition.key(self.catalogue);
        for _ in 0..TRIES {
            let marked = match read.take() {
                Some(Read(marked)) => marked,
                None => self.state.get(&key, MARK).await?,
            };
            let version = marked.as_ref().map(|item| item.version);
            let before: Option<Mark> = marked.map(|item| decoded(&item.body, &key, MARK)).transpose()?;
            let mut stored = self.contributions(&key).await?;
            if let Some(next) = next_bucket(self.catalogue, partition) {
                stored.extend(self.contributions(&next.key(self.catalogue)).await?);
            }
            let stored: Vec<&StoredContributions> = stored.iter().collect();
            // What somebody with a faster clock has seen closed is closed.
            let closed = self.closed(rule).max(before.as_ref().and_then(|before| before.closed));
            let outcome = Outcome::of(self.catalogue, partition, &stored, closed.unwrap_or(Micros::MAX));
            let holds_back = |finding: &Finding| self.sink.holds_back(finding);
            let Some((mark, told)) = Mark::after(before.as_ref(), rule, outcome, closed, holds_back) else {
                return Ok(false);
            };
            if let Some(finding) = mark.finding.clone().filter(|_| told) {
                self.sink.publish(&rule.message(finding)).await?;
            }
            let body = encoded(&mark, &key, MARK)?;
            if self.state.put_if(&key, MARK, body, self.expiry(), version).await? {
                return Ok(told);
            }
        }
        let reason = format!("{TRIES} others were faster");
        Err(PortError::new(Failure::Transient, format!("mark the finding of {key}"), reason).into())
    }

    async fn contributions(&self, key: &str) -> Result<Vec<StoredContributions>, SettleError> {
        let items = self.state.query(key).await?;
        let contributions = items.into_iter().filter(|(sort, _)| sort.starts_with("o#"));
        contributions.map(|(sort, item)| decoded(&item.body, key, &sort)).collect()
    }

    fn expiry(&self) -> Timestamp {
        self.clock.now().saturating_add(LIFETIME).unwrap_or(Timestamp::MAX)
    }
}

/// The sort key under which a partition's settled finding lies.
pub const SETTLED: &str = MARK;

/// A settled finding from its stored body; `None` where contributions have taken it away again, or there never was one.
pub fn settled(body: &[u8], partition: &str) -> Result<Option<Finding>, SettleError> {
    decoded::<Mark>(body, partition, MARK).map(|mark| mark.finding)
}

/// Whether a settled finding was held back, by its stored body: nobody has been told of it as it is.
pub fn is_held_back(body: &[u8], partition: &str) -> Result<bool, SettleError> {
    decoded::<Mark>(body, partition, MARK).map(|mark| mark.held_back)
}

fn encoded(item: &impl Serialize, partition: &str, sort: &str) -> Result<Vec<u8>, SettleError> {
    serde_json::to_vec(item).map_err(|error| unreadable(partition, sort, error.to_string()))
}

fn decoded<T: for<'de> Deserialize<'de>>(body: &[u8], partition: &str, sort: &str) -> Result<T, SettleError> {
    #[derive(Deserialize)]
    struct Versioned {
        schema: u32,
    }
    let versioned = serde_json::from_slice::<Versioned>(body);
    match versioned {
        Ok(Versioned { schema: OLDEST..=SCHEMA }) => {
            serde_json::from_slice(body).map_err(|error| unreadable(partition, sort, error.to_string()))
        }
        Ok(Versioned { schema }) => {
            let reason = format!("its schema is {schema}; this version reads {OLDEST} to {SCHEMA}");
            Err(unreadable(partition, sort, reason))
        }
        Err(error) => Err(unreadable(partition, sort, error.to_string())),
    }
}

fn unreadable(partition: &str, sort: &str, reason: String) -> SettleError {
    SettleError::Unreadable { partition: partition.to_owned(), sort: sort.to_owned(), reason }
}

#[cfg(test)]
mod tests;
