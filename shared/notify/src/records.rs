//! Items of the state: JSON with a `schema` number, leases, and the keys that they lie under.

use cloudvigil_core::ports::{Item, StateStore};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The version of the items' shape. A version reads its predecessor's.
pub(crate) const SCHEMA: u32 = 1;

/// How long a claim holds: longer than any one delivery takes, shorter than a message stays away before it comes again.
pub(crate) const LEASE: SignedDuration = SignedDuration::from_mins(2);

/// How long it is remembered what became of a finding: beyond the 14 days of a dead-letter queue.
pub(crate) const DELIVERY_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How long summaries, digests and the hours' ledgers are kept: beyond the days that the tasks look back.
pub(crate) const COLLECTION_KEPT: SignedDuration = SignedDuration::from_hours(14 * 24);

/// A claim: who works on it, and when others may take it over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub owner: String,
    pub until: Timestamp,
}

/// How far a piece of work is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Still being filled. Only a collection is ever open.
    Open,
    /// Somebody works on it, or died at it.
    Claimed(Lease),
    /// It is done for good.
    Done { at: Timestamp },
}

/// What lies at a key, with the version that a conditional write must name.
pub(crate) async fn load<T: DeserializeOwned>(
    store: &dyn StateStore,
    partition: &str,
    sort: &str,
) -> Result<Option<(T, u64)>, Error> {
    match store.get(partition, sort).await? {
        Some(item) => Ok(Some((decode(partition, sort, &item)?, item.version))),
        None => Ok(None),
    }
}

/// Reads an item; refuses one that a newer version wrote.
pub(crate) fn decode<T: DeserializeOwned>(partition: &str, sort: &str, item: &Item) -> Result<T, Error> {
    #[derive(Deserialize)]
    struct Versioned {
        schema: u32,
    }
    let unreadable = |reason: String| Error::State { partition: partition.to_owned(), sort: sort.to_owned(), reason };
    let Versioned { schema } = serde_json::from_slice(&item.body).map_err(|error| unreadable(error.to_string()))?;
    if schema > SCHEMA {
        return Err(unreadable(format!(
            "its schema is {schema}, this version reads up to {SCHEMA}; update cloudvigil"
        )));
    }
    serde_json::from_slice(&item.body).map_err(|error| unreadable(error.to_string()))
}

/// An item's body.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Compose(error.into()))
}

/// A value as a part of a key: `#` separates the parts, keys are short. Two values that differ only beyond the 200th
/// character, or in what is replaced, share their key.
pub(crate) fn key_part(value: &str) -> String {
    value.chars().take(200).map(|c| if c == '#' || c.is_control() { '_' } else { c }).collect()
}
