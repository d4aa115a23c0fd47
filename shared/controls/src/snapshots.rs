//! The controls as they were when they were last looked at, kept in the state, and what has become of them since.
//!
//! A part that worked and does so no more is lost. That is told when it is first seen, and each day anew for as long as
//! it lasts, up to a month: then it was meant so. What never worked is no loss, unless something relies on it. What could
//! not be looked at is as it was. Snapshots move by [`Compared::commit`], when the findings are safe: a look that dies
//! is repeated, and finds the same.
//!
//! | line's `type` | which |
//! | --- | --- |
//! | `control_lost` | parts of one kind in one `condition`: `lost` says what nobody sees, `undo` what to run |
//! | `control_returned` | parts that work again: `gained` says which |
//!
//! `summary` is the first of the sentences in one. The lines' fields stand in an order in which evidence that is cut keeps
//! what a reader needs.

use std::collections::{BTreeMap, BTreeSet};

use cloudvigil_core::ports::{Item, PortResult, StateStore};
use cloudvigil_trail::changes::summed_up;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::control::{Condition, Control, Part, Seen};
use crate::extent::Extent;

/// The state's partition of the controls of regions, and of keys; the sort key is the control's.
pub const CONTROLS: &str = "control#snapshot";
/// The state's partition of flow logs, of which there may be many.
pub const FLOW_LOGS: &str = "flow-log#snapshot";
/// The version of the snapshot's shape and of the inventory lines'.
const SCHEMA: u32 = 1;
/// How long a snapshot is kept after the control was last looked at.
const LIFETIME: SignedDuration = SignedDuration::from_hours(100 * 24);
/// How often an unchanged snapshot's lifetime is extended: not with every look, since a write costs more than a read.
const REFRESH: SignedDuration = SignedDuration::from_hours(24);
/// How often what is lost is told again.
const REMINDER: SignedDuration = SignedDuration::from_hours(24);
/// How many times. A key that is to be deleted waits no longer than this.
const REMINDERS: i64 = 30;

/// A part that does not work, and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loss {
    since: Timestamp,
    condition: Condition,
    lost: String,
    undo: Vec<String>,
}

/// What is known of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// As it last worked; one that never did: as it was last seen.
    pub part: Part,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
}

/// A control as it was when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    schema: u32,
    written: Timestamp,
    pub(crate) resource: Option<String>,
    pub(crate) parts: BTreeMap<String, Known>,
}

/// What has become of the controls since the last look.
#[derive(Debug, Default)]
pub struct Compared {
    /// The inventory lines of what is lost, still or anew, and of what has returned.
    pub lines: Vec<String>,
    /// How many parts are lost since this look.
    pub lost: u64,
    /// How many parts work again since this look.
    pub returned: u64,
    /// Snapshots that could not be read: these controls are taken as new.
    pub errors: Vec<String>,
    /// The keys of all controls of which something is known.
    pub known: BTreeSet<String>,
    partition: &'static str,
    writes: Vec<(String, Snapshot, Option<u64>)>,
}

/// The controls of regions as they were when they were last looked at, by their keys. A snapshot that cannot be read is
/// none: see [`compare`].
pub async fn known(state: &dyn StateStore) -> PortResult<BTreeMap<String, Snapshot>> {
    let read = |item: &Item| serde_json::from_slice::<Snapshot>(&item.body).ok().filter(|one| one.schema == SCHEMA);
    let items = state.query(CONTROLS).await?;
    Ok(items.into_iter().filter_map(|(key, item)| Some((key, read(&item)?))).collect())
}

/// Compares the controls that were `seen` with their snapshots in a partition of the state.
pub async fn compare(
    seen: &[Control],
    partition: &'static str,
    state: &dyn StateStore,
    now: Timestamp,
) -> PortResult<Compared> {
    let mut compared = Compared { partition, ..Compared::default() };
    let mut known = BTreeMap::new();
    for (key, item) in state.query(partition).await? {
        let snapshot = match serde_json::from_slice::<Snapshot>(&item.body) {
            Ok(snapshot) if snapshot.schema == SCHEMA => Some(snapshot),
            Ok(snapshot) => {
                let reads = format!("has the schema {}; this version reads {SCHEMA}", snapshot.schema);
                compared.errors.push(format!("the snapshot of {key} {reads}; it is taken as new"));
                None
            }
            Err(error) => {
                compared.errors.push(format!("the snapshot of {key} is unreadable ({error}); it is taken as new"));
                None
            }
        };
        compared.known.insert(key.clone());
        known.insert(key, (snapshot, item.version));
    }
    for control in seen {
        let (before, version) = known.remove(&control.key).unzip();
        compared.add(control, before.flatten(), version, now);
    }
    Ok(compared)
}

impl Compared {
    fn add(&mut self, control: &Control, before: Option<Snapshot>, version: Option<u64>, now: Timestamp) {
        let known = before.as_ref().map_or_else(BTreeMap::new, |before| before.parts.clone());
        let resource = control.resource.clone().or_else(|| before.as_ref()?.resource.clone());
        let Looked { parts, named, lost, returned } = look(control, known, now);
        self.lost += lost;
        self.returned += returned.len() as u64;
        if parts.is_empty() && before.is_none() {
            return;
        }
        let place = (control.service, control.account.as_str(), control.region.as_str());
        let line = Line::of(place, resource.as_deref().unwrap_or(&control.key), now);
        for ((part, condition, since), losses) in told(&parts, &named, now) {
            let lost: Vec<&str> = losses.iter().map(|loss| loss.lost.as_str()).collect();
            let undo = losses.iter().flat_map(|loss| &loss.undo).map(String::as_str).collect();
            let lost_since = losses.iter().map(|loss| loss.since).min();
            let (part, condition, summary) = (Some(part), Some(condition), summed_up(&lost));
            let lost = Line { since, part, condition, summary, lost, undo, lost_since, ..line.clone() };
            self.lines.push(lost.to_json());
        }
        if !returned.is_empty() {
            let gained: Vec<&str> = returned.iter().map(String::as_str).collect();
            let returned = Line { kind: "control_returned", summary: summed_up(&gained), gained, ..line };
            self.lines.push(returned.to_json());
        }
        let after = Snapshot { schema: SCHEMA, written: now, resource, parts };
        let is_fresh = before.is_some_and(|before| {
            let age = now.duration_since(before.written);
            age < REFRESH && age >= SignedDuration::ZERO && Snapshot { written: now, ..before } == after
        });
        if !is_fresh {
            self.writes.push((control.key.clone(), after, version));
        }
    }

    /// Moves the snapshots: what was found is safe. One that somebody else has moved meanwhile stays as it is.
    pub async fn commit(&self, state: &dyn StateStore) -> PortResult<()> {
        for (key, snapshot, version) in &self.writes {
            let expires = snapshot.written.saturating_add(LIFETIME).unwrap_or(Timestamp::MAX);
            // Serialising texts and times does not fail; an empty body would read as one that was never written.
            let body = serde_json::to_vec(snapshot).unwrap_or_default();
            state.put_if(self.partition, key, body, expires, *version).await?;
        }
        Ok(())
    }
}

/// An inventory line.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line<'l> {
    pub schema: u32,
    pub service: &'l str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub resource: &'l str,
    pub account: &'l str,
    pub region: &'l str,
    pub since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    pub summary: String,
    pub lost: Vec<&'l str>,
    pub gained: Vec<&'l str>,
    pub undo: Vec<&'l str>,
    /// When it was first seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_since: Option<Timestamp>,
}

impl<'l> Line<'l> {
    /// One of a control, by its service, account and region, that says nothing yet.
    pub fn of((service, account, region): (&'l str, &'l str, &'l str), resource: &'l str, now: Timestamp) -> Self {
        Self {
            schema: SCHEMA,
            service,
            kind: "control_lost",
            resource,
            account,
            region,
            since: now,
            part: None,
            condition: None,
            summary: String::new(),
            lost: Vec::new(),
            gained: Vec::new(),
            undo: Vec::new(),
            lost_since: None,
        }
    }

    pub fn to_json(&self) -> String {
        // Serialising texts and times does not fail; an empty line is none.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The losses to be told now, by the kind of part, its condition and the time under which it is told.
fn told<'k>(
    parts: &'k BTreeMap<String, Known>,
    named: &BTreeSet<String>,
    now: Timestamp,
) -> BTreeMap<(&'k str, Condition, Timestamp), Vec<&'k Loss>> {
    let mut losses: BTreeMap<_, Vec<&Loss>> = BTreeMap::new();
    for (_, known) in parts.iter().filter(|(name, _)| named.contains(*name)) {
        if let Some(loss) = &known.loss
            && let Some(since) = reminded(loss.since, now)
        {
            losses.entry((known.part.kind.as_str(), loss.condition, since)).or_default().push(loss);
        }
    }
    losses
}

/// What a look makes of what was known.
struct Looked {
    parts: BTreeMap<String, Known>,
    /// The names of the parts that the look speaks of.
    named: BTreeSet<String>,
    lost: u64,
    returned: Vec<String>,
}

fn look(control: &Control, mut known: BTreeMap<String, Known>, now: Timestamp) -> Looked {
    let mut found = Looked { parts: BTreeMap::new(), named: BTreeSet::new(), lost: 0, returned: Vec::new() };
    let is_named = |known: &Known| control.is_complete || control.complete_kind == Some(known.part.kind.as_str());
    let unnamed = known.iter().filter(|(name, known)| is_named(known) && !control.parts.contains_key(*name));
    let unnamed: Vec<String> = unnamed.map(|(name, _)| name.clone()).collect();
    let gone = unnamed.into_iter().map(|name| (name, &Seen::Gone));
    let named = control.parts.iter().map(|(name, seen)| (name.clone(), seen));
    for (name, seen) in named.chain(gone.collect::<Vec<_>>()) {
        let before = known.remove(&name);
        let had = before.as_ref().and_then(|before| before.loss.clone());
        let after = match seen {
            Seen::There(part) if let Some(narrowed) = narrowed(before.as_ref(), part, now) => Some(narrowed),
            Seen::There(part) if part.condition == Condition::Working => {
                found.returned.extend(had.is_some().then(|| part.again.clone()));
                Some(Known { part: Part::clone(part), loss: None })
            }
            Seen::There(part) => Some(broken(before, part, now)),
            Seen::Gone => before.and_then(|before| vanished(before, now)),
        };
        if let Some(after) = after {
            let is_news = after.loss.as_ref().is_some_and(|loss| had.is_none_or(|had| had.since != loss.since));
            found.lost += u64::from(is_news);
            found.named.insert(name.clone());
            found.parts.insert(name, after);
        }
    }
    // What the look does not speak of.
    found.parts.extend(known);
    found
}

/// A part that is there and does not work.
fn broken(before: Option<Known>, part: &Part, now: Timestamp) -> Known {
    let loss = |since| Loss { since, condition: part.condition, lost: part.lost.clone(), undo: part.undo.clone() };
    match before {
        None => Known { part: part.clone(), loss: part.relied_on.then(|| loss(now)) },
        Some(Known { part: worked, loss: Some(had) }) => {
            let since = if had.condition == part.condition { had.since } else { now };
            Known { part: worked, loss: Some(loss(since)) }
        }
        Some(Known { part: worked, loss: None }) if worked.condition == Condition::Working => {
            Known { part: worked, loss: Some(loss(now)) }
        }
        Some(_) => Known { part: part.clone(), loss: None },
    }
}

/// A part that works, and covers less than it did. It has to cover that again, and what it covers now, to have lost
/// nothing; after a month in which it was told each day, it was meant so.
fn narrowed(before: Option<&Known>, part: &Part, now: Timestamp) -> Option<Known> {
    let (before, extent) = (before?, part.extent.as_ref().filter(|_| part.condition == Condition::Working)?);
    let covered = match (&before.part.extent, before.part.condition) {
        (Some(covered), _) => covered,
        // As it was kept when only what covers everything was a part that works.
        (None, Condition::Working) => &Extent::All,
        (None, _) => return None,
    };
    let lost = without(part, covered, extent)?;
    let same = before.loss.as_ref().filter(|known| known.lost == lost);
    let since = same.map_or(now, |known| known.since);
    if reminded(since, now).is_none() {
        return Some(Known { part: part.clone(), loss: None });
    }
    let narrowed = Loss { since, condition: Condition::Narrowed, lost, undo: before.part.undo.clone() };
    let part = Part { extent: Some(covered.or(extent)), ..before.part.clone() };
    Some(Known { part, loss: Some(narrowed) })
}

/// The sentence of a part that covers less than it did; `None` if it does not.
pub(crate) fn without(part: &Part, before: &Extent, now: &Extent) -> Option<String> {
    Some(format!("{}: without {}", part.lost, before.missing_in(now)?))
}

/// A part that was there; `None` if it never worked, for then nothing is lost.
fn vanished(before: Known, now: Timestamp) -> Option<Known> {
    let since = match &before.loss {
        Some(loss) if loss.condition == Condition::Gone => return Some(before),
        Some(_) => now,
        None if before.part.condition == Condition::Working => now,
        None => return None,
    };
    let Part { lost, undo, if_gone, .. } = before.part.clone();
    let (lost, undo) = if_gone.unwrap_or((lost, undo));
    Some(Known { loss: Some(Loss { since, condition: Condition::Gone, lost, undo }), ..before })
}

/// The time under which a loss is told: since when it is so, and then each day anew, which makes it another finding.
/// `None` when it has been told often enough.
fn reminded(since: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let days = daily(since, now).duration_since(since).as_secs() / REMINDER.as_secs();
    (days <= REMINDERS).then(|| daily(since, now))
}

/// The time under which something that lasts is told at most once a day: since when it is so, moved by whole days.
pub fn daily(since: Timestamp, now: Timestamp) -> Timestamp {
    let days = now.duration_since(since).as_secs().max(0) / REMINDER.as_secs();
    since.saturating_add(SignedDuration::from_secs(days * REMINDER.as_secs())).unwrap_or(since)
}

#[cfg(test)]
mod tests;
