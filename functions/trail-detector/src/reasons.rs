//! What the state of trails and controls shows, and the calls that are the reason of it: a stopped trail is one mail, whether
//! the call, the state or both say so.
//!
//! A call's finding says beforehand what the call takes (see [`tampering_calls`]). What the state shows afterwards is then an
//! entry more of that finding's evidence, and no finding of its own. But that only where nothing is kept from anybody: the
//! call succeeded, its finding was told and is no less severe, and its mail said all that the state has to say. Everything
//! else is told by itself, and so is what the state shows before any call is known.

use cloudvigil_aws::lookup::{LookupEvent, LookupQuery, Pace, Stopped, newest, source_of};
use cloudvigil_controls::{calls, snapshots};
use cloudvigil_core::correlate::{Corroboration, SETTLED};
use cloudvigil_core::formats::cloudtrail::CloudTrail;
use cloudvigil_core::formats::inventory::Inventory;
use cloudvigil_core::pipeline::{Entry, Report};
use cloudvigil_core::ports::PortResult;
use cloudvigil_lambda::Counters;
use cloudvigil_lambda::shown::Shown;
use cloudvigil_lambda::tampering_calls::{self, Effect, TamperingCall, effect_of};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use crate::context::Context;
use crate::handler::{Failed, conclude, pipeline};
use crate::trail_status::analyse;

/// How far back the event history is asked for a call: it knows one after some minutes, and a poll may be an hour apart.
const ASKED_BACK: SignedDuration = SignedDuration::from_hours(2);
/// How long the history may take to answer. What the state shows does not wait for it.
const ASKED_FOR: std::time::Duration = std::time::Duration::from_secs(10);

fn corroboration<'s>(shown: &'s Shown, source: &'s str, context: &Context) -> Corroboration<'s> {
    Corroboration { resource: shown.resource(), source, text: &shown.line, seen: context.detector.clock.now() }
}

fn is_of_call(rule: usize, context: &Context) -> bool {
    effect_of(&context.detector.catalogue().rule(rule).id).is_some()
}

/// Tells what the state shows: with the calls that did it where these are known, else by itself. `asks`: the event history
/// is asked for calls that are not known.
pub async fn tell(
    source: &str,
    shown: Vec<Shown>,
    asks: bool,
    context: &Context,
    counters: &mut Counters,
) -> Result<(), Failed> {
    if shown.is_empty() {
        return Ok(());
    }
    let mut calls = known(context).await;
    let catalogue = context.detector.catalogue();
    let is_unknown = |shown: &&Shown| shown.reasons(&calls, catalogue).is_empty();
    let unknown: Vec<&Shown> = shown.iter().filter(is_unknown).collect();
    if asks && ask(source, &unknown, context, counters).await {
        calls = known(context).await;
    }
    let reasons = |shown: &Shown| shown.reasons(&calls, catalogue);
    let (alone, explained): (Vec<&Shown>, Vec<&Shown>) = shown.iter().partition(|shown| reasons(shown).is_empty());
    let lines: Vec<String> = alone.iter().map(|shown| shown.line.clone()).collect();
    analyse(source, &lines, context, counters).await?;
    for shown in alone {
        // Nobody waits for the note to be told.
        shown.note(source, context.detector.state.as_ref(), context.detector.clock.now()).await?;
    }
    for shown in explained {
        let entry = Entry { key: None, time: None, bytes: shown.line.as_bytes() };
        let mut report = context.detector.pipeline().entries(source, Some(&Inventory), std::iter::once(entry));
        // Other rules may have something to say of it.
        if let Some(rule) = context.detector.catalogue().number_of(shown.rule()) {
            report.contributions.leave_out(rule);
        }
        conclude(report, context, counters).await?;
        for call in reasons(shown) {
            with_call(source, shown, call, context, counters).await?;
        }
        counters.count("ToldWithCall", 1);
    }
    Ok(())
}

/// Names the state among what saw a call.
async fn with_call(
    source: &str,
    shown: &Shown,
    call: &TamperingCall,
    context: &Context,
    counters: &mut Counters,
) -> Result<(), Failed> {
    let is_named = |entry: &cloudvigil_core::finding::Evidence| {
        std::iter::once(&entry.source).chain(&entry.also_in).any(|place| place == source)
    };
    if !call.finding.evidence.iter().any(is_named) {
        context.detector.corroborate(&call.finding, corroboration(shown, source, context), counters).await?;
    }
    if !call.used {
        call.use_up(shown.since(), context.detector.state.as_ref(), context.detector.clock.now()).await?;
    }
    Ok(())
}

/// The calls that were told of. If that cannot be found out there are none, and what the state shows is told by itself.
async fn known(context: &Context) -> Vec<TamperingCall> {
    tampering_calls::told(context.detector.state.as_ref()).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the calls that take something from what watches are not known; what its state shows is told by itself");
        Vec::new()
    })
}

/// Asks the event history for the calls that did what the state shows, and tells of those that nobody has seen yet, with
/// what they did. Returns whether there are any. What fails is logged: what the state shows is then told by itself, and the
/// sweep finds the calls.
async fn ask(source: &str, shown: &[&Shown], context: &Context, counters: &mut Counters) -> bool {
    let now = context.detector.clock.now();
    let from = now.saturating_sub(ASKED_BACK).unwrap_or(Timestamp::MIN);
    let pace = Pace::default().interval(context.lookup_interval).deadline(Instant::now() + ASKED_FOR);
    let mut found = false;
    for shown in shown.iter().filter(|shown| shown.since() >= from) {
        let client = context.detector.clients.cloudtrail_in(shown.region()).await;
        for name in shown.calls() {
            let query = LookupQuery::EventName((*name).to_owned());
            let events = match newest(&client, &query, (from, now), &pace).await {
                Ok(events) => events,
                Err(Stopped::CutShort(error) | Stopped::Failed(error)) => {
                    tracing::warn!(%error, "who changed what watches is left to the sweep of the event history");
                    return found;
                }
            };
            for event in events {
                match tell_call(source, shown, &event, context, counters).await {
                    Ok(told) => found |= told,
                    Err(error) => tracing::warn!(%error, "a call that changed what watches is left to the sweep"),
                }
            }
        }
    }
    found
}

/// Tells of a call with what it did, if it may have done it and was not told of before.
async fn tell_call(
    source: &str,
    shown: &Shown,
    LookupEvent { id, event }: &LookupEvent,
    context: &Context,
    counters: &mut Counters,
) -> Result<bool, Failed> {
    let Ok(call) = serde_json::from_str::<Value>(event) else { return Ok(false) };
    if !shown.is_of(&call) || !takes(&call, shown, context).await? {
        return Ok(false);
    }
    let entry = Entry { key: Some(id), time: None, bytes: event.as_bytes() };
    let came_by = source_of(shown.region());
    let mut report = pipeline(context).entries(&came_by, Some(&CloudTrail), std::iter::once(entry));
    if !is_new(&report, context).await? {
        return Ok(false);
    }
    corroboration(shown, source, context)
        .add_to(&mut report.contributions, |partition| is_of_call(partition.rule, context));
    // What it took is seen already, and need not be foretold.
    report.whole.clear();
    conclude(report, context, counters).await?;
    Ok(true)
}

/// Whether a call takes something of what a control's state shows to be lost. A trail's is known by the trail that the call
/// names.
async fn takes(call: &Value, shown: &Shown, context: &Context) -> PortResult<bool> {
    if shown.effect() != Effect::Off {
        return Ok(true);
    }
    // As it was before this look, which is kept when what it shows was told.
    let before = snapshots::known(context.detector.state.as_ref()).await?;
    let Some(taken) = calls::taken(call, &before, context.detector.clock.now()) else { return Ok(false) };
    let line: Value = serde_json::from_str(&taken.line).unwrap_or_default();
    let lost = line["lost"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(taken.resource == shown.resource() && lost.into_iter().any(|lost| shown.lost().iter().any(|one| one == lost)))
}

/// Whether a call contributes to findings of such calls, and nobody was told of any: else its mail has left without what
/// the state shows now.
async fn is_new(report: &Report, context: &Context) -> PortResult<bool> {
    let catalogue = context.detector.catalogue();
    let partitions = report.contributions.iter().map(|(partition, _)| partition);
    let of_calls: Vec<_> = partitions.filter(|partition| is_of_call(partition.rule, context)).collect();
    for partition in &of_calls {
        if context.detector.state.get(&partition.key(catalogue), SETTLED).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(!of_calls.is_empty())
}

#[cfg(test)]
mod tests;
