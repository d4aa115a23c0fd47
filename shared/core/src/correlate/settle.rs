//! Contributions into the state, and findings out of it.
//!
//! The order is what makes it exact: put all contributions of an object; read the partitions that it touched and their
//! neighbours, strongly consistent; publish what moved; mark it; only then acknowledge the object. A crash anywhere
//! repeats from the start, and every step may be repeated. A mark is written only if nobody else wrote it since it was
//! read, and it is read before the contributions: so a mark never falls behind what it was computed from.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::contributions::{Contributions, Partition, StoredContributions, next_bucket, previous_bucket};
use super::finding_in;
use crate::detect::Catalogue;
use crate::finding::{self, Finding, Message};
use crate::ports::{Clock, Failure, FindingSink, NewItem, PortError, StateStore};

/// The version of the stored shapes.
pub(super) const SCHEMA: u32 = 1;
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

/// What was last published of a partition's finding.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    schema: u32,
    finding: Finding,
}

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
}

impl Settler<'_> {
    /// Puts what an object contributes. `object` names it, version and all; the same object again changes nothing.
    pub async fn put(&self, object: &str, contributions: Contributions) -> Result<BTreeSet<Partition>, SettleError> {
        let expires = self.expiry();
        let mut touched = BTreeSet::new();
        let mut items = Vec::new();
        for (partition, stored) in contributions.into_partitions() {
            let key = partition.key(self.catalogue);
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

    /// Publishes what moved in the touched partitions. Returns how many findings were published.
    pub async fn settle(&self, touched: &BTreeSet<Partition>) -> Result<usize, SettleError> {
        let before = touched.iter().filter_map(|partition| previous_bucket(self.catalogue, partition));
        let affected: BTreeSet<Partition> = touched.iter().cloned().chain(before).collect();
        let settled = affected.into_iter().map(|partition| async move { self.settle_one(&partition).await });
        let published: Vec<bool> = stream::iter(settled).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(published.into_iter().filter(|published| *published).count())
    }

    async fn settle_one(&self, partition: &Partition) -> Result<bool, SettleError> {
        let key = partition.key(self.catalogue);
        for _ in 0..TRIES {
            let marked = self.state.get(&key, MARK).await?;
            let version = marked.as_ref().map(|item| item.version);
            let mark: Option<Mark> = marked.map(|item| decoded(&item.body, &key, MARK)).transpose()?;
            let mut stored = self.contributions(&key).await?;
            if let Some(next) = next_bucket(self.catalogue, partition) {
                stored.extend(self.contributions(&next.key(self.catalogue)).await?);
            }
            let Some(mut finding) = finding_in(self.catalogue, partition, &stored) else { return Ok(false) };
            if let Some(Mark { finding: before, .. }) = mark {
                let moved = |finding: &Finding| (finding.count, finding.first_time, finding.last_time);
                // Fewer than before: contributions have expired, and the finding stands as it was.
                if moved(&before) == moved(&finding) || finding.count < before.count {
                    return Ok(false);
                }
                finding.revision = before.revision + 1;
            }
            let guidance = self.catalogue.rule(partition.rule).guidance.clone();
            let message = Message { schema: finding::SCHEMA, finding, guidance };
            self.sink.publish(&message).await?;
            let body = encoded(&Mark { schema: SCHEMA, finding: message.finding }, &key, MARK)?;
            if self.state.put_if(&key, MARK, body, self.expiry(), version).await? {
                return Ok(true);
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

/// A settled finding from its stored body.
pub fn settled(body: &[u8], partition: &str) -> Result<Finding, SettleError> {
    decoded::<Mark>(body, partition, MARK).map(|mark| mark.finding)
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
        Ok(Versioned { schema: SCHEMA }) => {
            serde_json::from_slice(body).map_err(|error| unreadable(partition, sort, error.to_string()))
        }
        Ok(Versioned { schema }) => {
            Err(unreadable(partition, sort, format!("its schema is {schema}; this version reads {SCHEMA}")))
        }
        Err(error) => Err(unreadable(partition, sort, error.to_string())),
    }
}

fn unreadable(partition: &str, sort: &str, reason: String) -> SettleError {
    SettleError::Unreadable { partition: partition.to_owned(), sort: sort.to_owned(), reason }
}

#[cfg(test)]
mod tests;
