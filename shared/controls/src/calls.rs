//! What a call takes from a control, by what it asked for and by the control as it was when it was last looked at: so that
//! who is told of the call is told at once what nobody sees any longer, and what to run.
//!
//! Calls: [DeleteDetector](https://docs.aws.amazon.com/guardduty/latest/APIReference/API_DeleteDetector.html) and
//! `UpdateDetector` of `GuardDuty`;
//! [StopConfigurationRecorder](https://docs.aws.amazon.com/config/latest/APIReference/API_StopConfigurationRecorder.html),
//! `DeleteConfigurationRecorder`, `DeleteDeliveryChannel`, `PutConfigurationRecorder` and `DisassociateResourceTypes` of
//! Config; [DisableSecurityHub](https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_DisableSecurityHub.html) and
//! `BatchDisableStandards` of Security Hub, as `CloudTrail` records them.

use std::collections::{BTreeMap, BTreeSet};

use cloudvigil_trail::changes::summed_up;
use jiff::Timestamp;
use serde_json::Value;

use crate::control::{Condition, Part, region_key};
use crate::extent::Extent;
use crate::services::{config, guardduty, security_hub};
use crate::snapshots::{Line, Snapshot, without};

/// What a call takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The control's ARN.
    pub resource: String,
    /// The inventory line of what is lost, as the next look will make it.
    pub line: String,
}

/// How parts are after a call.
enum After {
    /// They are not there.
    Gone,
    /// They are there, and do nothing.
    Off(Condition),
    /// They cover this.
    Covers(Extent),
}

/// What a call takes from the control of its region, one of those that were there `before`; `None` where it takes nothing
/// that worked. `call` is `CloudTrail`'s event of a call that succeeded.
pub fn taken(call: &Value, before: &BTreeMap<String, Snapshot>, now: Timestamp) -> Option<Taken> {
    let (region, account) = (call["awsRegion"].as_str()?, call["recipientAccountId"].as_str());
    let service = call["eventSource"].as_str()?.strip_suffix(".amazonaws.com")?;
    let snapshot = before.get(&region_key(service, region))?;
    let resource = snapshot.resource.as_deref()?;
    // arn:aws:guardduty:REGION:ACCOUNT:detector/ID. The trail of an organization has other accounts' calls too.
    let owner = resource.split(':').nth(4)?;
    if account.is_some_and(|account| account != owner) {
        return None;
    }
    let (names, after) = asked(service, call, resource, snapshot)?;
    let mut lost: BTreeMap<&str, (String, &[String])> = BTreeMap::new();
    let mut kind = None;
    for name in &names {
        let Some((name, known)) = snapshot.parts.get_key_value(name) else { continue };
        if known.loss.is_some() || known.part.condition != Condition::Working {
            continue;
        }
        kind = Some(known.part.kind.as_str());
        lost.extend(loss(&known.part, &after).map(|loss| (name.as_str(), loss)));
    }
    let condition = match after {
        After::Gone => Condition::Gone,
        After::Off(condition) => condition,
        After::Covers(_) => Condition::Narrowed,
    };
    let sentences: Vec<&str> = lost.values().map(|(sentence, _)| sentence.as_str()).collect();
    if sentences.is_empty() {
        return None;
    }
    let line = Line {
        part: kind,
        condition: Some(condition),
        summary: summed_up(&sentences),
        lost: sentences,
        undo: lost.values().flat_map(|(_, undo)| undo.iter()).map(String::as_str).collect(),
        lost_since: Some(now),
        ..Line::of((service, owner, region), resource, now)
    };
    Some(Taken { resource: resource.to_owned(), line: line.to_json() })
}

/// What is lost with a part, and what to run.
fn loss<'p>(part: &'p Part, after: &After) -> Option<(String, &'p [String])> {
    Some(match (after, &part.if_off) {
        (After::Off(_), Some((lost, undo))) => (lost.clone(), undo),
        (After::Gone | After::Off(_), _) => (part.lost.clone(), &part.undo),
        (After::Covers(now), _) => (without(part, part.extent.as_ref()?, now)?, &part.undo),
    })
}

/// The parts that a call is about, by their names, and how they are after it. All are of one kind.
fn asked(service: &str, call: &Value, resource: &str, snapshot: &Snapshot) -> Option<(Vec<String>, After)> {
    let (name, request) = (call["eventName"].as_str()?, &call["requestParameters"]);
    let one = |name: &str| vec![name.to_owned()];
    Some(match (service, name) {
        (guardduty::SERVICE, "DeleteDetector" | "UpdateDetector")
            if request["detectorId"].as_str().is_some_and(|id| !resource.ends_with(&format!("/{id}"))) =>
        {
            return None;
        }
        (guardduty::SERVICE, "DeleteDetector") => (one(guardduty::DETECTOR), After::Gone),
        (guardduty::SERVICE, "UpdateDetector") if request["enable"] == false => {
            (one(guardduty::DETECTOR), After::Off(Condition::Disabled))
        }
        (guardduty::SERVICE, "UpdateDetector") => (features_off(request, snapshot), After::Off(Condition::Disabled)),
        (config::SERVICE, "StopConfigurationRecorder") => (one(config::RECORDER), After::Off(Condition::Stopped)),
        (config::SERVICE, "DeleteConfigurationRecorder") => (one(config::RECORDER), After::Gone),
        (config::SERVICE, "DeleteDeliveryChannel") => (one(config::CHANNEL), After::Gone),
        (config::SERVICE, "PutConfigurationRecorder") => {
            (one(config::TYPES), After::Covers(recorded(&request["configurationRecorder"]["recordingGroup"])))
        }
        (config::SERVICE, "DisassociateResourceTypes") => {
            let before = snapshot.parts.get(config::TYPES)?.part.extent.as_ref()?;
            (one(config::TYPES), After::Covers(before.but(&texts(&request["resourceTypes"]))))
        }
        (security_hub::SERVICE, "DisableSecurityHub") => (one(security_hub::HUB), After::Gone),
        (security_hub::SERVICE, "BatchDisableStandards") => (standards(request, snapshot), After::Gone),
        _ => return None,
    })
}

/// The features that `UpdateDetector` switches off. What is added to a feature is off with it.
fn features_off(request: &Value, snapshot: &Snapshot) -> Vec<String> {
    let is_off = |one: &&Value| one["status"] == "DISABLED";
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let mut off: BTreeSet<String> = BTreeSet::new();
    for feature in list(&request["features"]) {
        let Some(name) = feature["name"].as_str() else { continue };
        if is_off(&&feature) {
            off.insert(name.to_owned());
        }
        let more = list(&feature["additionalConfiguration"]);
        off.extend(more.iter().filter(is_off).filter_map(|more| Some(format!("{name} {}", more["name"].as_str()?))));
    }
    // As features were called before there were any.
    let sources = &request["dataSources"];
    let malware = &sources["malwareProtection"]["scanEc2InstanceWithFindings"]["ebsVolumes"];
    for (feature, asked) in [
        ("S3_DATA_EVENTS", &sources["s3Logs"]["enable"]),
        ("EKS_AUDIT_LOGS", &sources["kubernetes"]["auditLogs"]["enable"]),
        ("EBS_MALWARE_PROTECTION", malware),
    ] {
        off.extend((*asked == false).then(|| feature.to_owned()));
    }
    let is_asked = |part: &&String| {
        let name = part.strip_prefix("feature ").unwrap_or_default();
        off.contains(name) || name.split_once(' ').is_some_and(|(of, _)| off.contains(of))
    };
    snapshot.parts.keys().filter(is_asked).cloned().collect()
}

/// Which types a recorder records, as a call sets it.
fn recorded(group: &Value) -> Extent {
    let included = || Extent::Only(texts(&group["resourceTypes"]));
    match group["recordingStrategy"]["useOnly"].as_str() {
        _ if group.is_null() => Extent::All,
        Some("ALL_SUPPORTED_RESOURCE_TYPES") => Extent::All,
        Some("EXCLUSION_BY_RESOURCE_TYPES") => {
            Extent::Except(texts(&group["exclusionByResourceTypes"]["resourceTypes"]))
        }
        Some("INCLUSION_BY_RESOURCE_TYPES") => included(),
        _ if group["allSupported"] == true => Extent::All,
        _ => included(),
    }
}

/// The standards whose subscriptions are ended: `arn:aws:securityhub:REGION:ACCOUNT:subscription/NAME` is the one of
/// `arn:aws:securityhub:REGION::standards/NAME`.
fn standards(request: &Value, snapshot: &Snapshot) -> Vec<String> {
    let name = |arn: &str| arn.split_once('/').map(|(_, name)| name.to_owned());
    let given = ["standardsSubscriptionArns", "StandardsSubscriptionArns"].map(|member| texts(&request[member]));
    let given: BTreeSet<String> = given.iter().flatten().filter_map(|arn| name(arn)).collect();
    let is_one = |part: &&String| {
        let standard = part.strip_prefix(security_hub::STANDARD).and_then(|arn| name(arn.trim_start()));
        standard.is_some_and(|standard| given.contains(&standard))
    };
    snapshot.parts.keys().filter(is_one).cloned().collect()
}

fn texts(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests;
