//! Calls that change a trail, as they are noted by whichever function saw one first: so that what the trail's state shows
//! afterwards is told as theirs, and not a second time.
//!
//! A note says where the call's finding lies, and nothing else: what was told of it, and whether it was told at all, says
//! the finding's mark alone.

use std::collections::BTreeSet;

use cloudvigil_core::correlate::{Partition, SETTLED, SettleError, is_held_back, settled};
use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::finding::Finding;
use cloudvigil_core::ports::{NewItem, PortResult, StateStore};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The state's partition of the notes; the sort key is the partition key of the call's finding.
const NOTES: &str = "trail#calls";
const SCHEMA: u32 = 1;
/// How long a call may be the reason of what the state shows.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// What a call does to a trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It no longer logs.
    Stopped,
    /// It is gone.
    Gone,
    /// It records less than it did, or delivers elsewhere.
    Narrowed,
}

/// The built-in rules whose findings are such calls, each of one call.
const RULES: [(&str, Effect); 5] = [
    // trail_logging_stopped
    ("185d9574-e73c-4350-84ef-2062fd15109f", Effect::Stopped),
    // trail_deleted
    ("5c70df2c-afae-4fee-8241-b16f38e1e039", Effect::Gone),
    // trail_narrowed
    ("3adf6ad9-8d92-4359-b555-9039bd1f2678", Effect::Narrowed),
    // trail_management_events_dropped
    ("c7068688-6dc9-44d7-85fd-e150ec17d2af", Effect::Narrowed),
    // trail_insights_reduced
    ("9ccaac52-2cdf-4f8f-a3bd-ee60adbf9f3c", Effect::Narrowed),
];

/// What the calls do that a rule finds, if they change a trail.
pub fn effect_of(rule: &str) -> Option<Effect> {
    RULES.iter().find(|(id, _)| *id == rule).map(|(_, effect)| *effect)
}

#[derive(Serialize, Deserialize)]
struct Note {
    schema: u32,
    /// Whether something that the state showed was told as this call's.
    used: bool,
}

/// A call that people were told of.
#[derive(Debug)]
pub struct TrailCall {
    /// Its finding.
    pub finding: Finding,
    /// What it did.
    pub effect: Effect,
    /// Whether what it did was seen already.
    pub used: bool,
    sort: String,
}

impl TrailCall {
    /// Notes that what it did was seen: what the state shows later has another reason.
    pub async fn use_up(&self, state: &dyn StateStore, now: Timestamp) -> PortResult<()> {
        let NewItem { partition, sort, body, expires } = item(self.sort.clone(), true, now);
        state.put(&partition, &sort, body, expires).await
    }
}

fn item(sort: String, used: bool, now: Timestamp) -> NewItem {
    // Serialising numbers does not fail.
    let body = serde_json::to_vec(&Note { schema: SCHEMA, used }).unwrap_or_default();
    NewItem { partition: NOTES.to_owned(), sort, body, expires: now.saturating_add(LIFETIME).unwrap_or(Timestamp::MAX) }
}

/// Notes calls, by where their findings lie. One that is noted already stays as it is.
pub(crate) async fn note(findings: Vec<String>, state: &dyn StateStore, now: Timestamp) -> PortResult<()> {
    for finding in findings {
        let NewItem { partition, sort, body, expires } = item(finding, false, now);
        state.put_if(&partition, &sort, body, expires, None).await?;
    }
    Ok(())
}

/// Where the findings of such calls lie, of those that an object touched.
pub(crate) fn findings_of(touched: &BTreeSet<Partition>, catalogue: &Catalogue) -> Vec<String> {
    let of_calls = touched.iter().filter(|partition| effect_of(&catalogue.rule(partition.rule).id).is_some());
    of_calls.map(|partition| partition.key(catalogue)).collect()
}

/// The calls of the last day that succeeded and that people were told of.
pub async fn told(state: &dyn StateStore) -> Result<Vec<TrailCall>, SettleError> {
    let mut calls = Vec::new();
    for (sort, item) in state.query(NOTES).await? {
        // What cannot be read explains nothing: what the state shows is then told by itself.
        let Ok(Note { schema: SCHEMA, used }) = serde_json::from_slice(&item.body) else { continue };
        let Some(mark) = state.get(&sort, SETTLED).await? else { continue };
        let Some(finding) = settled(&mark.body, &sort)? else { continue };
        let Some(effect) = effect_of(&finding.rule) else { continue };
        if is_held_back(&mark.body, &sort)? || finding.is_attempt() {
            continue;
        }
        calls.push(TrailCall { finding, effect, used, sort });
    }
    Ok(calls)
}
