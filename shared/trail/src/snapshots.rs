//! The trails as they were when they were last looked at, kept in the state, and what has become of them since.
//!
//! An event tells of a change only if it arrives, and says of `UpdateTrail` only what was asked for. A comparison needs no
//! event, and says what the trail had before. Snapshots move by [`Compared::commit`], when the findings are safe: a look
//! that dies is repeated, and finds the same.

use std::collections::BTreeMap;

use cloudvigil_core::ports::{Item, PortResult, StateStore};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::changes::{Change, changes, gone, returned};
use crate::state::TrailState;

/// The state's partition of snapshots; the sort key is the trail's ARN.
const SNAPSHOTS: &str = "trail#snapshot";
const SCHEMA: u32 = 1;
/// How long a snapshot is kept after the trail was last seen; for one that is gone, how long its return is told.
const LIFETIME: SignedDuration = SignedDuration::from_hours(100 * 24);
/// How often an unchanged snapshot's lifetime is extended: not with every look, since a write costs more than a read.
const REFRESH: SignedDuration = SignedDuration::from_hours(24);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Snapshot {
    schema: u32,
    written: Timestamp,
    /// Whether it was gone.
    gone: bool,
    trail: TrailState,
}

/// What has become of the trails since the last look.
#[derive(Debug, Default)]
pub struct Compared {
    /// What has, in the order of the ARNs.
    pub changes: Vec<Change>,
    /// Whether nothing was known of any trail before.
    pub is_first: bool,
    /// Snapshots that could not be read: these trails are taken as new.
    pub errors: Vec<String>,
    writes: Vec<(Snapshot, Option<u64>)>,
}

/// The trails that were there when they were last looked at. A snapshot that cannot be read is none: see [`compare`].
pub async fn known(state: &dyn StateStore) -> PortResult<Vec<TrailState>> {
    let read = |item: Item| serde_json::from_slice::<Snapshot>(&item.body).ok();
    let snapshots = state.query(SNAPSHOTS).await?.into_iter().filter_map(|(_, item)| read(item));
    Ok(snapshots.filter(|one| one.schema == SCHEMA && !one.gone).map(|one| one.trail).collect())
}

/// Compares the trails that were `seen` with their snapshots. A trail that was not seen is gone if its home region is
/// among `regions`, those that told their trails; else nothing is known of it.
pub async fn compare(
    seen: &[TrailState],
    regions: &[String],
    state: &dyn StateStore,
    now: Timestamp,
) -> PortResult<Compared> {
    let mut compared = Compared::default();
    let mut known = BTreeMap::new();
    let mut versions = BTreeMap::new();
    let items = state.query(SNAPSHOTS).await?;
    compared.is_first = items.is_empty();
    for (arn, item) in items {
        versions.insert(arn.clone(), item.version);
        match serde_json::from_slice::<Snapshot>(&item.body) {
            Ok(snapshot) if snapshot.schema == SCHEMA => {
                known.insert(arn, snapshot);
            }
            Ok(snapshot) => compared.errors.push(format!(
                "the snapshot of {arn} has the schema {}; this version reads {SCHEMA}; the trail is taken as new",
                snapshot.schema
            )),
            Err(error) => {
                compared.errors.push(format!("the snapshot of {arn} is unreadable ({error}); it is taken as new"));
            }
        }
    }
    for trail in seen {
        let version = versions.get(&trail.arn).copied();
        let before = known.remove(&trail.arn);
        let after = before.as_ref().map_or_else(|| trail.clone(), |before| trail.clone().or_as_before(&before.trail));
        if let Some(before) = &before {
            if before.gone {
                compared.changes.push(returned(&after, now));
            }
            // One that was gone and is back may be less than it was.
            compared.changes.extend(changes(&before.trail, &after, now).into_iter().filter(|change| {
                !before.gone || !change.lost.is_empty() && change.change != crate::changes::Kind::Returned
            }));
        }
        compared.keep(
            before.as_ref(),
            Snapshot { schema: SCHEMA, written: now, gone: false, trail: after },
            version,
            now,
        );
    }
    for (arn, before) in known {
        if before.gone || !regions.contains(&before.trail.home_region) {
            continue;
        }
        compared.changes.push(gone(&before.trail, now));
        let after = Snapshot { written: now, gone: true, ..before };
        compared.writes.push((after, versions.get(&arn).copied()));
    }
    compared.changes.sort_by(|one, other| one.resource.cmp(&other.resource));
    Ok(compared)
}

impl Compared {
    fn keep(&mut self, before: Option<&Snapshot>, after: Snapshot, version: Option<u64>, now: Timestamp) {
        let is_fresh = before.is_some_and(|before| {
            let age = now.duration_since(before.written);
            !before.gone && before.trail == after.trail && age < REFRESH && age >= SignedDuration::ZERO
        });
        if !is_fresh {
            self.writes.push((after, version));
        }
    }

    /// Moves the snapshots: what was found is safe. One that somebody else has moved meanwhile stays as it is.
    pub async fn commit(&self, state: &dyn StateStore) -> PortResult<()> {
        for (snapshot, version) in &self.writes {
            let expires = snapshot.written.saturating_add(LIFETIME).unwrap_or(Timestamp::MAX);
            // Serialising texts, times and JSON does not fail; an empty body would read as one that was never written.
            let body = serde_json::to_vec(snapshot).unwrap_or_default();
            state.put_if(SNAPSHOTS, &snapshot.trail.arn, body, expires, *version).await?;
        }
        Ok(())
    }
}
