//! What the trails' state shows, and the calls that are the reason of it: a stopped trail is one mail, whether the call, the
//! state or both say so.
//!
//! A call's finding says beforehand what the call takes from the trail ([`foretell`]). What the state shows afterwards is then
//! an entry more of that finding's evidence, and no finding of its own. But that only where nothing is kept from anybody: the
//! call succeeded, its finding was told and is no less severe, and its mail said all that the state has to say. Everything
//! else is told by itself, and so is what the state shows before any call is known.

use cloudvigil_aws::lookup::{LookupEvent, LookupQuery, Pace, Stopped, newest, source_of};
use cloudvigil_core::correlate::{Corroboration, SETTLED};
use cloudvigil_core::formats;
use cloudvigil_core::pipeline::{Entry, Report};
use cloudvigil_core::ports::PortResult;
use cloudvigil_lambda::Counters;
use cloudvigil_lambda::trail_calls::{self, Effect, TrailCall, effect_of};
use cloudvigil_trail::calls::taken;
use cloudvigil_trail::changes::{Change, Kind};
use cloudvigil_trail::snapshots;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use crate::context::Context;
use crate::handler::{Failed, conclude, pipeline};
use crate::trail_status::analyse;

/// Where what a call takes from a trail is known from, before anybody has looked.
const FORETOLD: &str = "the trail as it was last seen";
/// How far apart a call and what the trail's status says of it are at most.
const APART: SignedDuration = SignedDuration::from_mins(1);
/// How far back the event history is asked for a call: it knows one after some minutes, and a poll may be an hour apart.
const ASKED_BACK: SignedDuration = SignedDuration::from_hours(2);
/// How long the history may take to answer. What the state shows does not wait for it.
const ASKED_FOR: std::time::Duration = std::time::Duration::from_secs(10);

/// What the state shows, and may be a call's doing.
pub struct Shown {
    /// Its inventory line.
    pub line: String,
    /// What such a call does.
    effect: Effect,
    /// The trail's ARN, its name and its home region.
    arn: String,
    name: String,
    region: String,
    /// What is no longer done.
    lost: Vec<String>,
    /// When the trail was stopped.
    stopped: Option<Timestamp>,
}

impl Shown {
    /// What has become of a trail; `None` where no call that has a rule takes something from it like that.
    pub fn of_change(change: &Change) -> Option<Self> {
        let effect = match change.change {
            Kind::Gone => Effect::Gone,
            Kind::CoverageLost => Effect::Narrowed,
            _ => return None,
        };
        Some(Self {
            line: change.to_line(),
            effect,
            arn: change.resource.clone(),
            name: change.trail().to_owned(),
            region: change.region().to_owned(),
            lost: change.lost.clone(),
            stopped: None,
        })
    }

    /// A trail that does not log, by its inventory line. One that was stopped more than a day ago is told again each day,
    /// whoever stopped it.
    pub fn of_trail(line: &Value, now: Timestamp) -> Option<Self> {
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let stopped: Timestamp = line["stopped"].as_str()?.parse().ok()?;
        let is_new = now.duration_since(stopped) < SignedDuration::from_hours(24);
        (is_new && line["is_logging"] == false).then_some(())?;
        let (arn, name, region) = (text("resource")?, text("name")?, text("home_region")?);
        let line = line.to_string();
        Some(Self { line, effect: Effect::Stopped, arn, name, region, lost: Vec::new(), stopped: Some(stopped) })
    }

    /// The rule that tells it where no call does.
    fn rule(&self) -> &'static str {
        match self.effect {
            // trail_not_logging
            Effect::Stopped => "6236a88e-755b-4606-89f2-258cf7456515",
            // trail_gone
            Effect::Gone => "71d550b2-5695-4da7-bffc-298f3e855e88",
            // trail_coverage_lost
            Effect::Narrowed => "b05c88ed-eb12-42c3-abd0-9f77fd658184",
        }
    }

    /// The calls that may have done it.
    fn calls(&self) -> &'static [&'static str] {
        match self.effect {
            Effect::Stopped => &["StopLogging"],
            Effect::Gone => &["DeleteTrail"],
            Effect::Narrowed => &["UpdateTrail", "PutEventSelectors", "PutInsightSelectors"],
        }
    }

    /// Whether a call to this region, that named this, at this time, may have done it.
    fn may_be_of(&self, region: Option<&str>, named: &str, time: Option<Timestamp>) -> bool {
        let is_then =
            self.stopped.is_none_or(|stopped| time.is_some_and(|time| time.duration_since(stopped).abs() <= APART));
        region == Some(self.region.as_str()) && (named == self.arn || named == self.name) && is_then
    }

    /// The calls that are the reason of all of it; none, if something of it was not told.
    fn reasons<'c>(&self, calls: &'c [TrailCall], context: &Context) -> Vec<&'c TrailCall> {
        let level = context.detector.catalogue().by_id(self.rule()).map(|rule| rule.level);
        let is_one = |call: &&TrailCall| {
            let TrailCall { finding, effect, used, .. } = call;
            // A trail that is off is looked at again and again, and what was taken from it once.
            let is_free = !used || self.effect == Effect::Stopped;
            let named = || finding.resources.iter();
            let (region, time) = (finding.region.as_deref(), finding.first_time);
            *effect == self.effect
                && is_free
                && level.is_some_and(|level| finding.level >= level)
                && named().any(|named| self.may_be_of(region, named, time))
        };
        let reasons: Vec<&TrailCall> = calls.iter().filter(is_one).collect();
        let told: Vec<String> = reasons.iter().flat_map(|call| self.told_by(call)).collect();
        let all_told = self.lost.iter().all(|lost| told.contains(lost));
        if all_told { reasons } else { Vec::new() }
    }

    /// What a call's finding says that is lost of this trail.
    fn told_by(&self, call: &TrailCall) -> Vec<String> {
        let lines = call.finding.evidence.iter().filter_map(|entry| serde_json::from_str::<Value>(&entry.text).ok());
        let lines = lines.filter(|line| line["resource"] == self.arn.as_str());
        let lost = lines.flat_map(|line| line["lost"].as_array().cloned().unwrap_or_default());
        lost.filter_map(|sentence| sentence.as_str().map(str::to_owned)).collect()
    }

    fn corroboration<'s>(&'s self, source: &'s str, context: &Context) -> Corroboration<'s> {
        Corroboration { resource: &self.arn, source, text: &self.line, seen: context.detector.clock.now() }
    }
}

/// Adds to what a call contributes what it takes from a trail, so that its finding says so. What fails is logged: the call
/// is told all the same.
pub async fn foretell(call: &Value, report: &mut Report, context: &Context) {
    let now = context.detector.clock.now();
    let before = match snapshots::known(context.detector.state.as_ref()).await {
        Ok(before) => before,
        Err(error) => return tracing::warn!(%error, "what a call takes from a trail is not known beforehand"),
    };
    if let Some(change) = taken(call, &before, now) {
        let (resource, text) = (change.resource.as_str(), change.to_line());
        let foretold = Corroboration { resource, source: FORETOLD, text: &text, seen: now };
        foretold.add_to(&mut report.contributions, |rule| is_of_call(rule, context));
    }
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
    let is_unknown = |shown: &&Shown| shown.reasons(&calls, context).is_empty();
    let unknown: Vec<&Shown> = shown.iter().filter(is_unknown).collect();
    if asks && ask(source, &unknown, context, counters).await {
        calls = known(context).await;
    }
    let reasons = |shown: &Shown| shown.reasons(&calls, context);
    let (alone, explained): (Vec<&Shown>, Vec<&Shown>) = shown.iter().partition(|shown| reasons(shown).is_empty());
    let lines: Vec<String> = alone.iter().map(|shown| shown.line.clone()).collect();
    analyse(source, &lines, context, counters).await?;
    for shown in explained {
        let entry = Entry { key: None, time: None, bytes: shown.line.as_bytes() };
        let mut report =
            context.detector.pipeline().entries(source, formats::by_name("inventory"), std::iter::once(entry));
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
    call: &TrailCall,
    context: &Context,
    counters: &mut Counters,
) -> Result<(), Failed> {
    let is_named = |entry: &cloudvigil_core::finding::Evidence| {
        std::iter::once(&entry.source).chain(&entry.also_in).any(|place| place == source)
    };
    if !call.finding.evidence.iter().any(is_named) {
        context.detector.corroborate(&call.finding, shown.corroboration(source, context), counters).await?;
    }
    if !call.used {
        call.use_up(context.detector.state.as_ref(), context.detector.clock.now()).await?;
    }
    Ok(())
}

/// The calls that were told of. If that cannot be found out there are none, and what the state shows is told by itself.
async fn known(context: &Context) -> Vec<TrailCall> {
    trail_calls::told(context.detector.state.as_ref()).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the calls that change trails are not known; what the trails' state shows is told by itself");
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
    for shown in shown.iter().filter(|shown| shown.stopped.is_none_or(|stopped| stopped >= from)) {
        let client = context.detector.clients.cloudtrail_in(&shown.region).await;
        for name in shown.calls() {
            let query = LookupQuery::EventName((*name).to_owned());
            let events = match newest(&client, &query, (from, now), &pace).await {
                Ok(events) => events,
                Err(Stopped::CutShort(error) | Stopped::Failed(error)) => {
                    tracing::warn!(%error, "who changed a trail is left to the sweep of the event history");
                    return found;
                }
            };
            for event in events {
                match tell_call(source, shown, &event, context, counters).await {
                    Ok(told) => found |= told,
                    Err(error) => tracing::warn!(%error, "a call that changed a trail is left to the sweep"),
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
    let request = &call["requestParameters"];
    let named = ["name", "trailName"].into_iter().find_map(|name| request[name].as_str()).unwrap_or_default();
    let time = call["eventTime"].as_str().and_then(|time| time.parse().ok());
    if !call["errorCode"].is_null() || !shown.may_be_of(call["awsRegion"].as_str(), named, time) {
        return Ok(false);
    }
    let entry = Entry { key: Some(id), time: None, bytes: event.as_bytes() };
    let came_by = source_of(&shown.region);
    let mut report = pipeline(context).entries(&came_by, formats::by_name("cloudtrail"), std::iter::once(entry));
    if !is_new(&report, context).await? {
        return Ok(false);
    }
    shown.corroboration(source, context).add_to(&mut report.contributions, |rule| is_of_call(rule, context));
    conclude(report, context, counters).await?;
    Ok(true)
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
