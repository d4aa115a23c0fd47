//! Calls that take something from what watches the account, as they are foretold and noted by whichever function saw one
//! first: so that what the state shows afterwards is told as theirs, and not a second time.
//!
//! A call's finding says what the call takes from a trail or a control, by comparison with how that was last seen; or what
//! the state has shown already, where that was told before the call was heard of. A note says where the call's finding lies;
//! what was told of it, and whether it was told at all, says the finding's mark alone.

use std::collections::BTreeSet;

use cloudvigil_controls::{calls as control_calls, snapshots as controls};
use cloudvigil_core::correlate::{Corroboration, Partition, SETTLED, SettleError, is_held_back, settled};
use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::finding::Finding;
use cloudvigil_core::pipeline::Report;
use cloudvigil_core::ports::{NewItem, PortResult, StateStore};
use cloudvigil_trail::{calls as trail_calls, snapshots as trails};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::shown;

/// Where what a call takes is known from, before anybody has looked.
pub const FORETOLD: &str = "the trail as it was last seen";
/// The same of a control.
pub const FORETOLD_OF_CONTROL: &str = "the control as it was last seen";
/// The state's partition of the notes; the sort key is the partition key of the call's finding.
const NOTES: &str = "trail#calls";
const SCHEMA: u32 = 1;
/// How long a call may be the reason of what the state shows.
pub(crate) const LIFETIME: SignedDuration = SignedDuration::from_hours(24);
/// Of how many calls of one object it is said what they take. A person makes a few.
const MOST: usize = 64;
/// How many marks are read at once.
const AT_ONCE: usize = 16;

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// A trail no longer logs.
    Stopped,
    /// A trail is gone.
    Gone,
    /// A trail records less than it did, or delivers elsewhere.
    Narrowed,
    /// A control, or a part of it, is off.
    Off,
}

/// The built-in rules whose findings are such calls, each of one call.
const RULES: [(&str, Effect); 10] = [
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
    // guardduty_deleted
    ("193d0500-f241-4348-800c-3ca1155bc426", Effect::Off),
    // guardduty_protection_reduced
    ("9bcae6d6-d79b-4e80-bbe2-2895a794792b", Effect::Off),
    // config_recorder_stopped
    ("3658b10d-3a35-48ad-acc8-bd6e3c54ba68", Effect::Off),
    // config_recorder_narrowed
    ("c333c226-693a-44ac-b700-ea96e738734c", Effect::Off),
    // securityhub_disabled
    ("84560a54-8e2e-4473-82ad-aa72a5cd4a45", Effect::Off),
];

/// What the calls do that a rule finds, if they take something from what watches.
pub fn effect_of(rule: &str) -> Option<Effect> {
    RULES.iter().find(|(id, _)| *id == rule).map(|(_, effect)| *effect)
}

/// Whether a rule finds such calls.
pub(crate) fn is_of_calls(rule: &str) -> bool {
    effect_of(rule).is_some()
}

#[derive(Serialize, Deserialize)]
struct Note {
    schema: u32,
    /// Whether something that the state showed was told as this call's.
    used: bool,
    /// Since when that was so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
}

/// A call that people were told of.
#[derive(Debug)]
pub struct TamperingCall {
    /// Its finding.
    pub finding: Finding,
    /// What it did.
    pub effect: Effect,
    /// Whether what it did was seen already.
    pub used: bool,
    /// Since when that was so.
    pub since: Option<Timestamp>,
    sort: String,
}

impl TamperingCall {
    /// Notes that what it did was seen, which is so since then: what the state shows later has another reason.
    pub async fn use_up(&self, since: Timestamp, state: &dyn StateStore, now: Timestamp) -> PortResult<()> {
        let NewItem { partition, sort, body, expires } = item(self.sort.clone(), Some(since), now);
        state.put(&partition, &sort, body, expires).await
    }
}

fn item(sort: String, used: Option<Timestamp>, now: Timestamp) -> NewItem {
    let note = Note { schema: SCHEMA, used: used.is_some(), since: used };
    // Serialising numbers and times does not fail.
    let body = serde_json::to_vec(&note).unwrap_or_default();
    NewItem { partition: NOTES.to_owned(), sort, body, expires: now.saturating_add(LIFETIME).unwrap_or(Timestamp::MAX) }
}

/// What was foretold of calls: where the findings of those lie that did what the state has shown already, and since when
/// that is so.
pub(crate) type Explained = Vec<(String, Timestamp)>;

/// Adds to what calls contribute what they take from what watches, so that their findings say so: of those that nobody was
/// told of yet, for the state may have moved since.
pub(crate) async fn foretell(
    report: &mut Report,
    catalogue: &Catalogue,
    state: &dyn StateStore,
    now: Timestamp,
) -> PortResult<Explained> {
    let calls = std::mem::take(&mut report.whole);
    let calls = calls.into_iter().filter_map(|(partition, text)| Some((partition, succeeded(&text)?)));
    let calls: Vec<(Partition, Value)> = calls.take(MOST).collect();
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let marks = stream::iter(&calls).map(|(partition, _)| async move {
        let key = partition.key(catalogue);
        let is_told = state.get(&key, SETTLED).await?.is_some();
        PortResult::Ok((key, is_told))
    });
    let (keys, shown, trails, controls) = futures::try_join!(
        marks.buffered(AT_ONCE).try_collect::<Vec<_>>(),
        shown::noted(state, now),
        trails::known(state),
        controls::known(state)
    )?;
    let mut explained = Vec::new();
    for ((partition, call), (key, is_told)) in calls.iter().zip(keys) {
        if is_told {
            continue;
        }
        let effect = effect_of(&catalogue.rule(partition.rule).id);
        let contributions = &mut report.contributions;
        let mut add = |resource: &str, source: &str, text: &str| {
            Corroboration { resource, source, text, seen: now }.add_to(contributions, |one| one == partition);
        };
        if let Some((source, shown)) =
            shown.iter().find(|(_, shown)| Some(shown.effect()) == effect && shown.is_of(call))
        {
            add(shown.resource(), source, &shown.line);
            explained.push((key, shown.since()));
        } else if let Some(change) = trail_calls::taken(call, &trails, now) {
            add(&change.resource, FORETOLD, &change.to_line());
        } else if let Some(taken) = control_calls::taken(call, &controls, now) {
            add(&taken.resource, FORETOLD_OF_CONTROL, &taken.line);
        }
    }
    Ok(explained)
}

/// The event of a call that succeeded, also within `EventBridge`'s envelope.
fn succeeded(text: &str) -> Option<Value> {
    let mut event: Value = serde_json::from_str(text).ok()?;
    if event["detail"].is_object() {
        event = event["detail"].take();
    }
    event["errorCode"].is_null().then_some(event)
}

/// Notes calls, by where their findings lie. One that is noted already stays as it is.
pub(crate) async fn note(
    findings: Vec<String>,
    explained: &Explained,
    state: &dyn StateStore,
    now: Timestamp,
) -> PortResult<()> {
    for finding in findings {
        let used = explained.iter().find(|(one, _)| *one == finding).map(|(_, since)| *since);
        let NewItem { partition, sort, body, expires } = item(finding, used, now);
        state.put_if(&partition, &sort, body, expires, None).await?;
    }
    Ok(())
}

/// Where the findings of such calls lie, of those that an object touched.
pub(crate) fn findings_of(touched: &BTreeSet<Partition>, catalogue: &Catalogue) -> Vec<String> {
    let of_calls = touched.iter().filter(|partition| is_of_calls(&catalogue.rule(partition.rule).id));
    of_calls.map(|partition| partition.key(catalogue)).collect()
}

/// The calls of the last day that succeeded and that people were told of.
pub async fn told(state: &dyn StateStore) -> Result<Vec<TamperingCall>, SettleError> {
    let mut calls = Vec::new();
    for (sort, item) in state.query(NOTES).await? {
        // What cannot be read explains nothing: what the state shows is then told by itself.
        let Ok(Note { schema: SCHEMA, used, since }) = serde_json::from_slice(&item.body) else { continue };
        let Some(mark) = state.get(&sort, SETTLED).await? else { continue };
        let Some(finding) = settled(&mark.body, &sort)? else { continue };
        let Some(effect) = effect_of(&finding.rule) else { continue };
        if is_held_back(&mark.body, &sort)? || finding.is_attempt() {
            continue;
        }
        calls.push(TamperingCall { finding, effect, used, since, sort });
    }
    Ok(calls)
}
