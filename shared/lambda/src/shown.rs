//! What the state of a trail or a control shows to be lost, and may be a call's doing.
//!
//! Whoever hears of a call tells it with what the state has shown already. For that, what the state showed before any call
//! was known is noted for a day.

use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::ports::{PortResult, StateStore};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tampering_calls::{Effect, LIFETIME, TamperingCall};

/// The state's partition of what was told by itself; the sort key is the resource's ARN and the rule's id.
const NOTES: &str = "trail#shown";
const SCHEMA: u32 = 1;
/// How far apart a call and what the trail's status says of it are at most.
const APART: SignedDuration = SignedDuration::from_mins(1);
/// How long before it was seen a call may have been made that is heard of later.
const LATE: SignedDuration = SignedDuration::from_hours(2);

/// What the state shows, and may be a call's doing.
#[derive(Debug)]
pub struct Shown {
    /// Its inventory line.
    pub line: String,
    effect: Effect,
    /// The rule that tells it where no call does.
    rule: &'static str,
    /// The calls that may have done it, of this service.
    calls: &'static [&'static str],
    service: String,
    /// The trail's ARN or the control's.
    resource: String,
    /// The trail's name. A control is the only one of its service in a region.
    name: Option<String>,
    /// The region in which alone it can be changed.
    region: String,
    account: Option<String>,
    /// What is no longer done.
    lost: Vec<String>,
    /// Since when; where nobody says, when it was first seen.
    since: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Note {
    schema: u32,
    source: String,
    line: String,
}

impl Shown {
    /// What an inventory line shows; `None` where no call that has a rule takes something like that, and for what is told
    /// again because it lasts, whoever did it.
    pub fn of_line(line: String, now: Timestamp) -> Option<Self> {
        let seen: Value = serde_json::from_str(&line).ok()?;
        let text = |name: &str| seen[name].as_str().map(str::to_owned);
        let time = |name: &str| seen[name].as_str()?.parse::<Timestamp>().ok();
        let sentences = |name: &str| seen[name].as_array().cloned().unwrap_or_default();
        let (effect, rule, calls, name, region, since) = match seen["type"].as_str()? {
            "trail_change" => {
                let (effect, rule, calls): (_, _, &[&str]) = match seen["change"].as_str()? {
                    // trail_gone
                    "gone" => (Effect::Gone, "71d550b2-5695-4da7-bffc-298f3e855e88", &["DeleteTrail"]),
                    // trail_coverage_lost
                    "coverage_lost" => (
                        Effect::Narrowed,
                        "b05c88ed-eb12-42c3-abd0-9f77fd658184",
                        &["UpdateTrail", "PutEventSelectors", "PutInsightSelectors"],
                    ),
                    _ => return None,
                };
                (effect, rule, calls, Some(text("trail")?), text("region")?, time("since")?)
            }
            "trail" => {
                let stopped = time("stopped").filter(|stopped| now.duration_since(*stopped) < LIFETIME)?;
                (seen["is_logging"] == false).then_some(())?;
                // trail_not_logging
                let rule = "6236a88e-755b-4606-89f2-258cf7456515";
                (Effect::Stopped, rule, &["StopLogging"] as &[_], Some(text("name")?), text("home_region")?, stopped)
            }
            "control_lost" => {
                let since = time("lost_since").filter(|lost_since| time("since") == Some(*lost_since))?;
                let [service, part, condition] = ["service", "part", "condition"].map(|name| seen[name].as_str());
                let (rule, calls) = of_control(service?, part?, condition?)?;
                (Effect::Off, rule, calls, None, text("region")?, since)
            }
            _ => return None,
        };
        // The state of a trail that is off says what is not recorded; the call's finding may not, and says enough.
        let lost = if effect == Effect::Stopped { Vec::new() } else { sentences("lost") };
        let lost = lost.iter().filter_map(|sentence| sentence.as_str().map(str::to_owned)).collect();
        let (service, resource, account) = (text("service")?, text("resource")?, text("account"));
        Some(Self { line, effect, rule, calls, service, resource, name, region, account, lost, since })
    }

    /// What such a call does.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// The rule that tells it where no call does, by its id.
    pub fn rule(&self) -> &'static str {
        self.rule
    }

    /// The calls that may have done it.
    pub fn calls(&self) -> &'static [&'static str] {
        self.calls
    }

    /// The trail's ARN or the control's.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The region in which alone it can be changed.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Since when it is so; where nobody says, when it was first seen.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// What is no longer done, in words.
    pub fn lost(&self) -> &[String] {
        &self.lost
    }

    /// Whether a call of this time may have done it, that was made no longer before it was seen.
    fn is_then(&self, time: Timestamp, before: SignedDuration) -> bool {
        let after = self.since.duration_since(time);
        let before = if self.effect == Effect::Stopped { APART } else { before };
        after >= -APART && after <= before
    }

    fn is_named(&self, named: &str) -> bool {
        self.name.as_deref().is_none_or(|name| named == name || named == self.resource)
    }

    fn is_accounts(&self, account: Option<&str>) -> bool {
        self.account.as_deref().zip(account).is_none_or(|(one, other)| one == other)
    }

    /// Whether a call may have done it. `call` is `CloudTrail`'s event of a call that succeeded.
    pub fn is_of(&self, call: &Value) -> bool {
        let text = |name: &str| call[name].as_str();
        let request = &call["requestParameters"];
        let named = ["name", "trailName"].into_iter().find_map(|name| request[name].as_str()).unwrap_or_default();
        let source = text("eventSource").and_then(|source| source.split('.').next());
        let time = text("eventTime").and_then(|time| time.parse().ok());
        call["errorCode"].is_null()
            && source == Some(self.service.as_str())
            && text("eventName").is_some_and(|name| self.calls.contains(&name))
            && text("awsRegion") == Some(self.region.as_str())
            && self.is_accounts(text("recipientAccountId"))
            && self.is_named(named)
            && time.is_some_and(|time| self.is_then(time, LATE))
    }

    /// The calls that are the reason of all of it; none, if something of it was not told, or would be told less severely.
    pub fn reasons<'c>(&self, calls: &'c [TamperingCall], catalogue: &Catalogue) -> Vec<&'c TamperingCall> {
        let level = catalogue.by_id(self.rule).map(|rule| rule.level);
        let is_one = |call: &&TamperingCall| {
            let TamperingCall { finding, effect, used, since, .. } = call;
            // What lasts is looked at again and again, and what was taken from a trail once.
            let is_free = match self.effect {
                Effect::Stopped => true,
                Effect::Off => !used || *since == Some(self.since),
                Effect::Gone | Effect::Narrowed => !used,
            };
            let is_named = || match self.name {
                Some(_) => finding.resources.iter().any(|named| self.is_named(named)),
                None => self.told_by(call).iter().any(|told| self.lost.contains(told)),
            };
            *effect == self.effect
                && is_free
                && level.is_some_and(|level| finding.level >= level)
                && finding.region.as_deref() == Some(self.region.as_str())
                && self.is_accounts(finding.account.as_deref())
                && finding.first_time.is_some_and(|time| self.is_then(time, LIFETIME))
                && is_named()
        };
        let reasons: Vec<&TamperingCall> = calls.iter().filter(is_one).collect();
        let told: Vec<String> = reasons.iter().flat_map(|call| self.told_by(call)).collect();
        let all_told = self.lost.iter().all(|lost| told.contains(lost));
        if all_told { reasons } else { Vec::new() }
    }

    /// What a call's finding says that is lost of this.
    fn told_by(&self, call: &TamperingCall) -> Vec<String> {
        let lines = call.finding.evidence.iter().filter_map(|entry| serde_json::from_str::<Value>(&entry.text).ok());
        let lines = lines.filter(|line| line["resource"] == self.resource.as_str());
        let lost = lines.flat_map(|line| line["lost"].as_array().cloned().unwrap_or_default());
        lost.filter_map(|sentence| sentence.as_str().map(str::to_owned)).collect()
    }

    /// Notes that it was told by itself, for calls that are heard of later.
    pub async fn note(&self, source: &str, state: &dyn StateStore, now: Timestamp) -> PortResult<()> {
        let note = Note { schema: SCHEMA, source: source.to_owned(), line: self.line.clone() };
        // Serialising texts does not fail; an empty body would read as one that was never written.
        let body = serde_json::to_vec(&note).unwrap_or_default();
        let expires = now.saturating_add(LIFETIME).unwrap_or(Timestamp::MAX);
        state.put(NOTES, &format!("{}#{}", self.resource, self.rule), body, expires).await
    }
}

/// The rule that tells of a control's part in a condition, and the calls that may have done it.
fn of_control(service: &str, part: &str, condition: &str) -> Option<(&'static str, &'static [&'static str])> {
    Some(match (service, part, condition) {
        // guardduty_gone
        ("guardduty", "detector", "gone") => ("68ee1f0a-38b1-46d8-af6c-19d3c195e5ff", &["DeleteDetector"]),
        // guardduty_suspended
        ("guardduty", "detector", "disabled") => ("3f466214-1bee-4b6d-9ba5-e59175576517", &["UpdateDetector"]),
        // guardduty_feature_off
        ("guardduty", "feature", "disabled") => ("93399187-dd1a-46f4-bf6a-9ef62aa9cb43", &["UpdateDetector"]),
        // config_recorder_off
        ("config", "recorder", "stopped") => ("26cdc07d-bed7-404f-8641-26aeb372b1d4", &["StopConfigurationRecorder"]),
        ("config", "recorder", "gone") => ("26cdc07d-bed7-404f-8641-26aeb372b1d4", &["DeleteConfigurationRecorder"]),
        // config_delivery_channel_gone
        ("config", "delivery_channel", "gone") => ("1f67d730-9df9-48db-8d13-9f31bf6ce41d", &["DeleteDeliveryChannel"]),
        // config_types_narrowed
        ("config", "resource_types", "narrowed") => {
            ("7c21b8b0-2d59-4dbb-8c5d-31878b3bfa8b", &["PutConfigurationRecorder", "DisassociateResourceTypes"])
        }
        // security_hub_off
        ("securityhub", "hub", "gone") => ("ca696c18-027e-4cda-a052-6babea1025ab", &["DisableSecurityHub"]),
        // security_hub_standard_off
        ("securityhub", "standard", "gone") => ("d596771f-d8e7-5ccb-acc2-264a70bcfb8c", &["BatchDisableStandards"]),
        _ => return None,
    })
}

/// What was told by itself within the last day, and where it was read.
pub(crate) async fn noted(state: &dyn StateStore, now: Timestamp) -> PortResult<Vec<(String, Shown)>> {
    let notes = state.query(NOTES).await?;
    // What cannot be read bears nothing out.
    let notes = notes.into_iter().filter_map(|(_, item)| serde_json::from_slice::<Note>(&item.body).ok());
    let notes = notes.filter(|note| note.schema == SCHEMA);
    Ok(notes.filter_map(|note| Some((note.source, Shown::of_line(note.line, now)?))).collect())
}
