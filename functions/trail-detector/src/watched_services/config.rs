//! Config's recorder and its delivery channel, of each of which a region has one
//! (<https://docs.aws.amazon.com/config/latest/APIReference/API_DescribeConfigurationRecorders.html>).
//!
//! Recorders that other services have made for themselves are not asked for: nobody but they can change them.

use std::collections::BTreeSet;

use aws_sdk_config::Client;
use aws_sdk_config::types::{
    ConfigurationRecorder, ConfigurationRecorderStatus, DeliveryChannel, RecorderStatus, RecordingStrategyType,
    ResourceType,
};
use cloudvigil_aws::trails::CouldNotLook;
use cloudvigil_controls::extent::Extent;
use cloudvigil_controls::services::config::{CHANNEL, RECORDER, SERVICE, TYPES};
use cloudvigil_controls::{Condition, Control, Part};
use cloudvigil_trail::gaps::partition;
use cloudvigil_trail::undo::quoted;
use serde_json::{Map, Value, json};

use super::look::Place;

/// Looks at the recorder of a region.
pub async fn look(client: &Client, place: &Place) -> Result<Control, CouldNotLook> {
    let mut control = Control::of_region(SERVICE, &place.account, &place.region);
    let recorders = client.describe_configuration_recorders().send().await;
    let recorders = recorders.map_err(|error| CouldNotLook::new("config:DescribeConfigurationRecorders", &error))?;
    place.pause().await;
    let recorder = recorders.configuration_recorders.unwrap_or_default().into_iter().next();
    match recorder.and_then(|recorder| Some((recorder.name.clone()?, recorder))) {
        None => control = control.without(RECORDER),
        Some((name, recorder)) => {
            let status = client.describe_configuration_recorder_status().configuration_recorder_names(&name).send();
            let status = status
                .await
                .map_err(|error| CouldNotLook::new("config:DescribeConfigurationRecorderStatus", &error))?;
            place.pause().await;
            let status = status.configuration_recorders_status.unwrap_or_default().into_iter().next();
            control = with_recorder(control, &name, &recorder, status.as_ref(), place);
        }
    }
    let channels = client.describe_delivery_channels().send().await;
    let channels = channels.map_err(|error| CouldNotLook::new("config:DescribeDeliveryChannels", &error))?;
    place.pause().await;
    Ok(match channels.delivery_channels.unwrap_or_default().first() {
        Some(channel) => control.with(CHANNEL, channel_part(channel, &place.region)),
        None => control.without(CHANNEL),
    })
}

fn with_recorder(
    control: Control,
    name: &str,
    recorder: &ConfigurationRecorder,
    status: Option<&ConfigurationRecorderStatus>,
    place: &Place,
) -> Control {
    let region = &place.region;
    let arn = recorder.arn.clone().unwrap_or_else(|| {
        format!("arn:{}:config:{region}:{}:configuration-recorder/{name}", partition(region), place.account)
    });
    let mut control = Control { resource: Some(arn), ..control };
    let put = put(name, recorder, region);
    let start = format!(
        "aws configservice start-configuration-recorder --region {} --configuration-recorder-name {}",
        quoted(region),
        quoted(name)
    );
    let part = |condition, reason: &str, undo: Vec<String>| Part {
        kind: RECORDER.to_owned(),
        condition,
        lost: format!("Config no longer records how resources in {region} are configured, and by whom: {reason}"),
        again: format!("Config records again how resources in {region} are configured"),
        undo,
        if_gone: None,
        if_off: None,
        relied_on: false,
        extent: None,
    };
    // Without a status nothing is known of it.
    if let Some(status) = status {
        let failed = status.last_status == Some(RecorderStatus::Failure);
        let stopped = part(Condition::Stopped, &format!("its recorder {name} is stopped"), vec![start.clone()]);
        let seen = if !status.recording {
            stopped
        } else if failed {
            let code = status.last_error_code.as_deref().unwrap_or("no reason is given");
            let channels = format!("aws configservice describe-delivery-channels --region {}", quoted(region));
            part(Condition::Failing, &format!("its recorder {name} fails ({code})"), vec![channels])
        } else {
            let working = part(Condition::Working, &format!("its recorder {name} is gone"), vec![put.clone(), start]);
            Part { if_off: Some((stopped.lost, stopped.undo)), ..working }
        };
        control = control.with(RECORDER, seen);
    }
    let types = Part {
        kind: TYPES.to_owned(),
        condition: Condition::Working,
        lost: format!("Config records fewer types of resource in {region} than it did"),
        again: format!("Config records all types of resource in {region} again that it did"),
        undo: vec![put],
        if_gone: None,
        if_off: None,
        relied_on: false,
        extent: Some(recorded_types(recorder)),
    };
    control.with(TYPES, types)
}

/// Which types a recorder records
/// (<https://docs.aws.amazon.com/config/latest/APIReference/API_RecordingGroup.html>).
fn recorded_types(recorder: &ConfigurationRecorder) -> Extent {
    // Unless it says otherwise, a recorder records them all.
    let Some(group) = &recorder.recording_group else { return Extent::All };
    let included = Extent::Only(names(group.resource_types()));
    let excluded = group.exclusion_by_resource_types().map(|excluded| names(excluded.resource_types()));
    match group.recording_strategy().and_then(|strategy| strategy.use_only()) {
        Some(RecordingStrategyType::AllSupportedResourceTypes) => Extent::All,
        Some(RecordingStrategyType::ExclusionByResourceTypes) => Extent::Except(excluded.unwrap_or_default()),
        Some(RecordingStrategyType::InclusionByResourceTypes) => included,
        // A group of before there were strategies.
        _ if group.all_supported => Extent::All,
        _ => included,
    }
}

fn names(types: &[ResourceType]) -> BTreeSet<String> {
    types.iter().map(|one| one.as_str().to_owned()).collect()
}

/// The command that makes a recorder what this one is.
fn put(name: &str, recorder: &ConfigurationRecorder, region: &str) -> String {
    let mut given = Map::new();
    given.insert("name".to_owned(), name.into());
    if let Some(role) = &recorder.role_arn {
        given.insert("roleARN".to_owned(), role.as_str().into());
    }
    let mut command = format!(
        "aws configservice put-configuration-recorder --region {} --configuration-recorder {}",
        quoted(region),
        quoted(&Value::Object(given).to_string())
    );
    if let Some(group) = &recorder.recording_group {
        let mut given = json!({
            "allSupported": group.all_supported, "includeGlobalResourceTypes": group.include_global_resource_types,
        });
        if !group.resource_types().is_empty() {
            given["resourceTypes"] = json!(names(group.resource_types()));
        }
        if let Some(excluded) = group.exclusion_by_resource_types().filter(|one| !one.resource_types().is_empty()) {
            given["exclusionByResourceTypes"] = json!({"resourceTypes": names(excluded.resource_types())});
        }
        if let Some(strategy) = group.recording_strategy().and_then(|strategy| strategy.use_only()) {
            given["recordingStrategy"] = json!({"useOnly": strategy.as_str()});
        }
        command.push_str(" --recording-group ");
        command.push_str(&quoted(&given.to_string()));
    }
    command
}

fn channel_part(channel: &DeliveryChannel, region: &str) -> Part {
    let fields = [
        ("name", &channel.name),
        ("s3BucketName", &channel.s3_bucket_name),
        ("s3KeyPrefix", &channel.s3_key_prefix),
        ("s3KmsKeyArn", &channel.s3_kms_key_arn),
        ("snsTopicARN", &channel.sns_topic_arn),
    ];
    let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.as_deref()?.into())));
    let mut given: Map<String, Value> = given.collect();
    if let Some(often) = channel.config_snapshot_delivery_properties().and_then(|often| often.delivery_frequency()) {
        given.insert("configSnapshotDeliveryProperties".to_owned(), json!({"deliveryFrequency": often.as_str()}));
    }
    let to = channel.s3_bucket_name.as_deref().map_or_else(String::new, |bucket| format!(" to the bucket {bucket}"));
    Part {
        kind: CHANNEL.to_owned(),
        condition: Condition::Working,
        lost: format!("What Config records in {region} is no longer delivered{to}: its delivery channel is gone"),
        again: format!("What Config records in {region} is delivered again{to}"),
        undo: vec![format!(
            "aws configservice put-delivery-channel --region {} --delivery-channel {}",
            quoted(region),
            quoted(&Value::Object(given).to_string())
        )],
        if_gone: None,
        if_off: None,
        relied_on: false,
        extent: None,
    }
}
