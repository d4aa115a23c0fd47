//! The hour's ledger: which findings got a mail of their own, and so how many more may.
//!
//! One item an hour, with the ids. A finding that asks twice has its place already, so a crash or a repeat uses up
//! nothing, and the rule's cap and the total are decided in one conditional write.

use cloudvigil_core::finding::{Finding, Level};
use cloudvigil_core::ports::StateStore;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::records::{self, COLLECTION_KEPT, SCHEMA};

/// How often a conditional write is tried before the message is sent back to its queue.
const ATTEMPTS: u32 = 20;

/// How many mails go out in an hour. A finding beyond waits for the summary of its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Mails for one rule.
    pub per_rule: u32,
    /// Mails for all rules together, at most [`Limits::MOST`].
    pub total: u32,
    /// How many of `total` only critical findings may use.
    pub kept_for_critical: u32,
}

impl Limits {
    /// The most that `total` can be: the ledger is one item.
    pub const MOST: u32 = 1000;
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_rule: 10, total: 60, kept_for_critical: 20 }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Ledger {
    schema: u32,
    mails: Vec<Place>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Place {
    id: String,
    rule: String,
}

/// Whether the finding gets a mail of its own this hour. Asking again gives the same answer once it is yes.
pub(crate) async fn reserve(
    store: &dyn StateStore,
    partition: &str,
    limits: Limits,
    finding: &Finding,
    now: Timestamp,
) -> Result<bool, Error> {
    let rule = records::key_part(&finding.rule);
    for _ in 0..ATTEMPTS {
        let (mut ledger, version) = match records::load::<Ledger>(store, partition, "ledger").await? {
            Some((ledger, version)) => (ledger, Some(version)),
            None => (Ledger { schema: SCHEMA, mails: Vec::new() }, None),
        };
        if ledger.mails.iter().any(|place| place.id == finding.id) {
            return Ok(true);
        }
        let total = limits.total.min(Limits::MOST);
        let allowed = match finding.level {
            Level::Critical => total,
            _ => total.saturating_sub(limits.kept_for_critical),
        };
        let of_rule = ledger.mails.iter().filter(|place| place.rule == rule).count();
        if of_rule >= limits.per_rule as usize || ledger.mails.len() >= allowed as usize {
            return Ok(false);
        }
        ledger.mails.push(Place { id: finding.id.clone(), rule: rule.clone() });
        if store.put_if(partition, "ledger", records::encode(&ledger)?, now + COLLECTION_KEPT, version).await? {
            return Ok(true);
        }
    }
    Err(Error::Contended { what: format!("the ledger {partition}"), attempts: ATTEMPTS })
}
