//! Since when a configuration has stood: this scan's resources against the snapshots that the last one left.
//!
//! A snapshot is one item of the [`StateStore`]: partition `inventory#<account>#<region>#<type>`, sort key the ARN, body
//!
//! ```json
//! {"schema":1,"since":"2026-03-01T10:00:00Z","written":"2026-03-02T10:00:00Z","fields":{"state":"5f70bf18a0860070"}}
//! ```
//!
//! with a hash for each field, so that a field that could not be looked at is told from one that has changed: a call
//! that is throttled once must not make every exposure look new. A field that the snapshot does not know (it was
//! written by an earlier version) is no change either.

use std::collections::BTreeMap;

use cloudvigil_core::ports::{PortError, StateStore};
use futures::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::resource::Resource;

/// The version of the snapshot's shape.
const SCHEMA: u32 = 1;
/// How long a snapshot outlives the last scan that saw its resource.
const LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How often an unchanged snapshot's lifetime is extended: not with every scan, since a write costs more than a read.
const REFRESH: SignedDuration = SignedDuration::from_hours(24);
/// How many requests to the state store are under way at once.
const PARALLEL: usize = 16;

/// What the last scan saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    schema: u32,
    /// When this configuration was first seen.
    pub since: Timestamp,
    /// When this was written.
    written: Timestamp,
    /// A hash of each field's value; `None` for one that has never been seen.
    fields: BTreeMap<String, Option<String>>,
}

/// What has become of a resource since the last scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    New,
    /// These fields differ.
    Changed(Vec<String>),
    /// As it was.
    Unchanged,
}

/// What `resource` is, held against what was known `before`.
pub fn compare(before: Option<&Snapshot>, resource: &Resource, now: Timestamp) -> (Snapshot, Change) {
    let empty = BTreeMap::new();
    let known = before.map_or(&empty, |snapshot| &snapshot.fields);
    let mut fields = BTreeMap::new();
    let mut changed = Vec::new();
    for (name, value) in &resource.fields {
        if resource.volatile.contains(&name.as_str()) {
            continue;
        }
        if resource.unseen.contains(&name.as_str()) {
            fields.insert(name.clone(), known.get(name).cloned().flatten());
            continue;
        }
        let hash = Some(hash(value));
        if known.get(name).is_some_and(|earlier| *earlier != hash) {
            changed.push(name.clone());
        }
        fields.insert(name.clone(), hash);
    }
    let (since, change) = match before {
        None => (now, Change::New),
        Some(_) if !changed.is_empty() => (now, Change::Changed(changed)),
        Some(snapshot) => (snapshot.since, Change::Unchanged),
    };
    (Snapshot { schema: SCHEMA, since, written: now, fields }, change)
}

fn hash(value: &Value) -> String {
    let digest = Sha256::digest(value.to_string().as_bytes());
    let start = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{start:016x}")
}

/// A resource and what became of it.
#[derive(Debug)]
pub struct Dated {
    /// The resource.
    pub resource: Resource,
    /// When its configuration was first seen.
    pub since: Timestamp,
    /// What became of it.
    pub change: Change,
}

/// All resources of a scan, dated, and what is there no more.
#[derive(Debug, Default)]
pub struct Dating {
    /// The resources, in the order given.
    pub dated: Vec<Dated>,
    /// Region, type and ARN of what the last scan saw and this one did not.
    pub removed: Vec<(String, String, String)>,
    /// Where the state could not be read or written. `since` cannot be relied on then: what could not be read is dated
    /// now.
    pub errors: Vec<PortError>,
}

/// A region and a type.
pub type Scope = (String, &'static str);

/// Dates `resources`, and keeps their snapshots for the next scan. `complete` are the regions and types of which
/// everything was seen: what is missing there is gone, and its snapshot with it; elsewhere snapshots stay.
pub async fn date(
    state: &dyn StateStore,
    account: &str,
    resources: Vec<Resource>,
    complete: &[Scope],
    now: Timestamp,
) -> Dating {
    let mut scopes: Vec<Scope> = resources.iter().map(scope).chain(complete.iter().cloned()).collect();
    scopes.sort();
    scopes.dedup();

    let mut dating = Dating::default();
    let mut known: BTreeMap<Scope, BTreeMap<String, Snapshot>> = BTreeMap::new();
    let mut unread: Vec<Scope> = Vec::new();
    let mut reads = stream::iter(scopes.into_iter().map(|scope| async move {
        let items = state.query(&partition_key(account, &scope)).await;
        (scope, items)
    }))
    .buffer_unordered(PARALLEL);
    while let Some((scope, items)) = reads.next().await {
        match items {
            Ok(items) => {
                let snapshots =
                    items.into_iter().filter_map(|(arn, item)| Some((arn.clone(), parse(&arn, &item.body)?)));
                known.insert(scope, snapshots.collect());
            }
            Err(error) => {
                dating.errors.push(error);
                unread.push(scope);
            }
        }
    }
    drop(reads);

    let mut writes = Vec::new();
    for resource in resources {
        let scope = scope(&resource);
        let before = known.get_mut(&scope).and_then(|snapshots| snapshots.remove(&resource.arn));
        let (snapshot, change) = compare(before.as_ref(), &resource, now);
        let fresh = before.is_some_and(|before| {
            let age = now.duration_since(before.written);
            before.fields == snapshot.fields && age < REFRESH && age >= SignedDuration::ZERO
        });
        // What could not be read is not overwritten either: the next scan may read it.
        if !fresh && !unread.contains(&scope) {
            writes.push((scope, resource.arn.clone(), Some(snapshot.clone())));
        }
        dating.dated.push(Dated { resource, since: snapshot.since, change });
    }
    for (scope, left) in known.into_iter().filter(|(scope, _)| complete.contains(scope)) {
        for arn in left.into_keys() {
            dating.removed.push((scope.0.clone(), scope.1.to_owned(), arn.clone()));
            writes.push((scope.clone(), arn, None));
        }
    }
    dating.errors.extend(write(state, account, writes, now).await);
    dating
}

async fn write(
    state: &dyn StateStore,
    account: &str,
    writes: Vec<(Scope, String, Option<Snapshot>)>,
    now: Timestamp,
) -> Vec<PortError> {
    let expires = now + LIFETIME;
    stream::iter(writes.into_iter().map(|(scope, arn, snapshot)| async move {
        let partition = partition_key(account, &scope);
        match snapshot {
            Some(snapshot) => {
                let body = serde_json::to_vec(&snapshot).unwrap_or_default();
                state.put(&partition, &arn, body, expires).await
            }
            None => state.delete(&partition, &arn).await,
        }
    }))
    .buffer_unordered(PARALLEL)
    .filter_map(|result| async move { result.err() })
    .collect()
    .await
}

fn scope(resource: &Resource) -> Scope {
    (resource.region.clone().unwrap_or_else(|| "unknown".to_owned()), resource.kind)
}

fn partition_key(account: &str, (region, kind): &Scope) -> String {
    format!("inventory#{account}#{region}#{kind}")
}

fn parse(arn: &str, body: &[u8]) -> Option<Snapshot> {
    match serde_json::from_slice::<Snapshot>(body) {
        Ok(snapshot) if snapshot.schema == SCHEMA => Some(snapshot),
        Ok(snapshot) => {
            tracing::warn!(resource = arn, schema = snapshot.schema, "snapshot of an unknown version, taken as absent");
            None
        }
        Err(error) => {
            tracing::warn!(resource = arn, %error, "snapshot cannot be read, taken as absent");
            None
        }
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
