//! `GuardDuty`'s detector, of which a region has one, and its features
//! (<https://docs.aws.amazon.com/guardduty/latest/APIReference/API_GetDetector.html>).

use aws_sdk_guardduty::Client;
use aws_sdk_guardduty::types::{DetectorStatus, FeatureStatus};
use cloudvigil_aws::trails::CouldNotLook;
use cloudvigil_controls::services::guardduty::{DETECTOR, SERVICE};
use cloudvigil_controls::{Condition, Control, Part};
use cloudvigil_trail::gaps::partition;
use cloudvigil_trail::undo::quoted;
use serde_json::{Value, json};

use super::look::Place;

/// What took [`ONLY_EKS`]'s place; a detector has one of the two on, and no request may name both.
const RUNTIME: &str = "RUNTIME_MONITORING";
const ONLY_EKS: &str = "EKS_RUNTIME_MONITORING";

/// Looks at the detector of a region.
pub async fn look(client: &Client, place: &Place) -> Result<Control, CouldNotLook> {
    let control = Control::of_region(SERVICE, &place.account, &place.region);
    let mut token = None;
    let id = loop {
        let page = client.list_detectors().set_next_token(token).send().await;
        let page = page.map_err(|error| CouldNotLook::new("guardduty:ListDetectors", &error))?;
        place.pause().await;
        token = page.next_token.filter(|token| !token.is_empty());
        match (page.detector_ids.unwrap_or_default().into_iter().next(), &token) {
            (Some(id), _) => break id,
            (None, Some(_)) => {}
            (None, None) => return Ok(control.without(DETECTOR)),
        }
    };
    let detector = client.get_detector().detector_id(&id).send().await;
    let detector = detector.map_err(|error| CouldNotLook::new("guardduty:GetDetector", &error))?;
    place.pause().await;

    let region = &place.region;
    let arn = format!("arn:{}:guardduty:{region}:{}:detector/{id}", partition(region), place.account);
    let mut control = Control { resource: Some(arn), ..control };
    let mut features: Vec<Feature> = detector.features.unwrap_or_default().into_iter().flat_map(features).collect();
    // What took its place watches it too.
    let is_superseded = is_on(&features, RUNTIME);
    features.retain(|feature| feature.name != ONLY_EKS || !is_superseded);
    let update = format!("aws guardduty update-detector --region {} --detector-id {}", quoted(region), quoted(&id));
    let is_enabled = match detector.status {
        Some(DetectorStatus::Enabled) => true,
        Some(DetectorStatus::Disabled) => false,
        _ => return Err(CouldNotLook::empty("guardduty:GetDetector", "the answer has no status that is known")),
    };
    let again = format!("GuardDuty looks for threats in {region} again");
    let part = |condition, lost: &str, undo| Part {
        kind: DETECTOR.to_owned(),
        condition,
        lost: format!("GuardDuty no longer looks for threats in {region}: {lost}"),
        again: again.clone(),
        undo: vec![undo],
        if_gone: None,
        if_off: None,
        relied_on: false,
        extent: None,
    };
    let suspended = part(Condition::Disabled, "its detector is suspended", format!("{update} --enable"));
    if !is_enabled {
        // What its features would do is not known.
        return Ok(control.with(DETECTOR, suspended));
    }
    let gone = "its detector is gone, and all its findings with it";
    let working = part(Condition::Working, gone, create(region, &features));
    control = control.with(DETECTOR, Part { if_off: Some((suspended.lost, suspended.undo)), ..working });
    for feature in features {
        let (name, given) = (feature.full_name(), feature.configuration("ENABLED"));
        let watched = feature.watched();
        let part = Part {
            kind: "feature".to_owned(),
            condition: if feature.is_on { Condition::Working } else { Condition::Disabled },
            lost: format!("GuardDuty no longer watches {watched} in {region}"),
            again: format!("GuardDuty watches {watched} in {region} again"),
            undo: vec![format!("{update} --features {}", quoted(&json!([given]).to_string()))],
            if_gone: None,
            if_off: None,
            relied_on: false,
            extent: None,
        };
        control = control.with(format!("feature {name}"), part);
    }
    Ok(control)
}

/// The command that creates a detector with the features that this one had.
fn create(region: &str, features: &[Feature]) -> String {
    // An additional configuration comes with its feature.
    let of = |feature: &Feature| {
        let more = features.iter().filter(|more| more.name == feature.name);
        let more: Vec<Value> = more.filter_map(Feature::additional_configuration).collect();
        let mut given = json!({"Name": feature.name, "Status": feature.status()});
        if !more.is_empty() {
            given["AdditionalConfiguration"] = more.into();
        }
        given
    };
    let other = if is_on(features, ONLY_EKS) { RUNTIME } else { ONLY_EKS };
    // What every detector has cannot be asked for.
    let chosen = features.iter().filter(|one| one.additional.is_none() && !one.is_foundational() && one.name != other);
    let features: Vec<Value> = chosen.map(of).collect();
    let create = format!("aws guardduty create-detector --region {} --enable", quoted(region));
    if features.is_empty() { create } else { format!("{create} --features {}", quoted(&json!(features).to_string())) }
}

/// Whether a feature is on.
fn is_on(features: &[Feature], name: &str) -> bool {
    features.iter().any(|feature| feature.additional.is_none() && feature.name == name && feature.is_on)
}

/// A feature, or an additional configuration of one.
struct Feature {
    name: String,
    additional: Option<String>,
    is_on: bool,
    /// Whether its feature is on: an additional configuration can be set only together with it.
    of_is_on: bool,
}

fn features(seen: aws_sdk_guardduty::types::DetectorFeatureConfigurationResult) -> Vec<Feature> {
    // What neither is on nor off is not known.
    let is_on = |status: Option<&FeatureStatus>| match status {
        Some(FeatureStatus::Enabled) => Some(true),
        Some(FeatureStatus::Disabled) => Some(false),
        _ => None,
    };
    let name = seen.name.as_ref().map(|name| name.as_str().to_owned());
    let Some((name, of_is_on)) = name.zip(is_on(seen.status.as_ref())) else { return Vec::new() };
    let more = seen.additional_configuration.unwrap_or_default().into_iter().filter_map(|more| {
        let additional = Some(more.name.as_ref()?.as_str().to_owned());
        Some(Feature { name: name.clone(), additional, is_on: is_on(more.status.as_ref())?, of_is_on })
    });
    let more: Vec<Feature> = more.collect();
    std::iter::once(Feature { name, additional: None, is_on: of_is_on, of_is_on }).chain(more).collect()
}

impl Feature {
    fn full_name(&self) -> String {
        match &self.additional {
            None => self.name.clone(),
            Some(additional) => format!("{} {additional}", self.name),
        }
    }

    fn status(&self) -> &'static str {
        if self.is_on { "ENABLED" } else { "DISABLED" }
    }

    fn is_foundational(&self) -> bool {
        matches!(self.name.as_str(), "CLOUD_TRAIL" | "DNS_LOGS" | "FLOW_LOGS")
    }

    fn additional_configuration(&self) -> Option<Value> {
        Some(json!({"Name": self.additional.as_ref()?, "Status": self.status()}))
    }

    /// As `UpdateDetector` takes it.
    fn configuration(&self, status: &str) -> Value {
        match &self.additional {
            None => json!({"Name": self.name, "Status": status}),
            Some(additional) => json!({
                "Name": self.name, "Status": if self.of_is_on { "ENABLED" } else { "DISABLED" },
                "AdditionalConfiguration": [{"Name": additional, "Status": status}],
            }),
        }
    }

    /// What it watches, for a sentence.
    fn watched(&self) -> String {
        let words = match self.name.as_str() {
            "S3_DATA_EVENTS" => "what is done with objects in S3",
            "EKS_AUDIT_LOGS" => "the audit logs of EKS clusters",
            "EBS_MALWARE_PROTECTION" => "volumes for malware",
            "RDS_LOGIN_EVENTS" => "logins to databases",
            "LAMBDA_NETWORK_LOGS" => "the network traffic of Lambda functions",
            RUNTIME | ONLY_EKS => "what runs on instances and in containers",
            "CLOUD_TRAIL" => "the API calls that CloudTrail records",
            "DNS_LOGS" => "DNS queries",
            "FLOW_LOGS" => "the network traffic of instances",
            _ => return format!("what its feature {} is for", self.full_name()),
        };
        format!("{words} ({})", self.full_name())
    }
}
