use std::collections::BTreeMap;

use cloudvigil_core::ports::Clock;
use cloudvigil_local::EmbeddedState;
use serde_json::json;

use super::*;
use crate::control::Control;
use crate::snapshots::{CONTROLS, compare, known};

struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

const REGION: &str = "eu-west-1";
const ACCOUNT: &str = "111122223333";
const STANDARD: &str = "arn:aws:securityhub:eu-west-1::standards/cis-aws-foundations-benchmark/v/1.4.0";

fn part(kind: &str, lost: &str, condition: Condition) -> Part {
    Part {
        kind: kind.to_owned(),
        condition,
        lost: lost.to_owned(),
        again: format!("not {lost}"),
        undo: vec![format!("mend: {lost}")],
        if_gone: None,
        if_off: None,
        relied_on: false,
        extent: None,
    }
}

fn working(kind: &str, lost: &str) -> Part {
    part(kind, lost, Condition::Working)
}

fn off(name: &str) -> (String, Vec<String>) {
    (format!("{name} is off"), vec![format!("mend: {name} is off")])
}

fn control(service: &'static str, id: &str) -> Control {
    let resource = Some(format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{id}"));
    Control { resource, ..Control::of_region(service, ACCOUNT, REGION) }
}

fn types(extent: Extent) -> Part {
    Part { extent: Some(extent), ..working("resource_types", "fewer types") }
}

fn only(names: &str) -> Extent {
    Extent::Only(names.split(' ').map(str::to_owned).collect())
}

fn guardduty() -> Control {
    control("guardduty", "detector/d1")
        .with("detector", Part { if_off: Some(off("detector")), ..working("detector", "no detector") })
        .with("feature S3_DATA_EVENTS", working("feature", "no S3"))
        .with("feature RUNTIME_MONITORING", working("feature", "no runtime"))
        .with("feature RUNTIME_MONITORING EKS_ADDON_MANAGEMENT", working("feature", "no add-on"))
        .with("feature LAMBDA_NETWORK_LOGS", part("feature", "no Lambda", Condition::Disabled))
}

fn config() -> Control {
    control("config", "configuration-recorder/default")
        .with("recorder", Part { if_off: Some(off("recorder")), ..working("recorder", "no recorder") })
        .with("resource_types", types(only("AWS::EC2::VPC AWS::IAM::Role AWS::S3::Bucket")))
        .with("delivery_channel", working("delivery_channel", "no channel"))
}

fn security_hub() -> Control {
    control("securityhub", "hub/default")
        .with("hub", working("hub", "no hub"))
        .with(format!("standard {STANDARD}"), working("standard", "no standard"))
}

/// The controls as they are kept.
async fn seen(controls: &[Control]) -> (EmbeddedState, BTreeMap<String, Snapshot>) {
    let state = EmbeddedState::in_memory(std::sync::Arc::new(Standing)).unwrap();
    let now = Standing.now();
    compare(controls, CONTROLS, &state, now).await.unwrap().commit(&state).await.unwrap();
    let known = known(&state).await.unwrap();
    (state, known)
}

fn call(service: &str, name: &str, request: &Value) -> Value {
    json!({"eventSource": format!("{service}.amazonaws.com"), "eventName": name, "awsRegion": REGION,
           "recipientAccountId": ACCOUNT, "requestParameters": request})
}

#[tokio::test]
async fn what_is_said_beforehand_is_what_the_comparison_says_afterwards() {
    let of = |control: Control, name: &str, part: Part| control.with(name, part);
    let disabled = |control: Control, name: &str, lost: &str| {
        control.with(format!("feature {name}"), part("feature", lost, Condition::Disabled))
    };
    let suspended = part("detector", "detector is off", Condition::Disabled);
    let stopped = part("recorder", "recorder is off", Condition::Stopped);
    let runtime_off = json!({"detectorId": "d1", "features": [{"name": "RUNTIME_MONITORING", "status": "DISABLED"}]});
    let without_runtime = disabled(
        disabled(guardduty(), "RUNTIME_MONITORING", "no runtime"),
        "RUNTIME_MONITORING EKS_ADDON_MANAGEMENT",
        "no add-on",
    );
    let add_on_off = json!({"detectorId": "d1", "features": [{"name": "RUNTIME_MONITORING", "status": "ENABLED",
        "additionalConfiguration": [{"name": "EKS_ADDON_MANAGEMENT", "status": "DISABLED"}]}]});
    let roles = json!({"configurationRecorder": {"name": "default", "recordingGroup": {"allSupported": false,
        "resourceTypes": ["AWS::IAM::Role"]}}});
    let but_roles = json!({"resourceTypes": ["AWS::IAM::Role"]});
    let subscription =
        format!("arn:aws:securityhub:{REGION}:{ACCOUNT}:subscription/cis-aws-foundations-benchmark/v/1.4.0");
    for (service, name, request, before, after) in [
        ("guardduty", "DeleteDetector", json!({"detectorId": "d1"}), guardduty(), guardduty().without("detector")),
        (
            "guardduty",
            "UpdateDetector",
            json!({"detectorId": "d1", "enable": false}),
            guardduty(),
            of(guardduty(), "detector", suspended),
        ),
        (
            "guardduty",
            "UpdateDetector",
            json!({"detectorId": "d1", "dataSources": {"s3Logs": {"enable": false}}}),
            guardduty(),
            disabled(guardduty(), "S3_DATA_EVENTS", "no S3"),
        ),
        ("guardduty", "UpdateDetector", runtime_off, guardduty(), without_runtime),
        (
            "guardduty",
            "UpdateDetector",
            add_on_off,
            guardduty(),
            disabled(guardduty(), "RUNTIME_MONITORING EKS_ADDON_MANAGEMENT", "no add-on"),
        ),
        ("config", "StopConfigurationRecorder", json!({}), config(), of(config(), "recorder", stopped)),
        ("config", "DeleteConfigurationRecorder", json!({}), config(), config().without("recorder")),
        ("config", "DeleteDeliveryChannel", json!({}), config(), config().without("delivery_channel")),
        (
            "config",
            "PutConfigurationRecorder",
            roles,
            config(),
            of(config(), "resource_types", types(only("AWS::IAM::Role"))),
        ),
        (
            "config",
            "DisassociateResourceTypes",
            but_roles,
            config(),
            of(config(), "resource_types", types(only("AWS::EC2::VPC AWS::S3::Bucket"))),
        ),
        ("securityhub", "DisableSecurityHub", Value::Null, security_hub(), security_hub().without("hub")),
        (
            "securityhub",
            "BatchDisableStandards",
            json!({"standardsSubscriptionArns": [subscription]}),
            security_hub(),
            security_hub().without(format!("standard {STANDARD}")),
        ),
    ] {
        let (state, known) = seen(&[before]).await;
        let now = Standing.now();
        let afterwards = compare(&[after], CONTROLS, &state, now).await.unwrap().lines;
        let taken = taken(&call(service, name, &request), &known, now);
        let taken = taken.unwrap_or_else(|| panic!("{name} {request} takes nothing"));
        assert_eq!([taken.line.as_str()], afterwards.as_slice(), "{name} {request}");
        assert!(taken.line.contains(&taken.resource));
    }
}

#[tokio::test]
async fn what_takes_nothing_is_not_spoken_of() {
    let (_, known) = seen(&[guardduty(), config(), security_hub()]).await;
    let all = json!({"configurationRecorder": {"recordingGroup": {"allSupported": true}}});
    let lambda = json!({"features": [{"name": "LAMBDA_NETWORK_LOGS", "status": "DISABLED"}]});
    let on = json!({"features": [{"name": "S3_DATA_EVENTS", "status": "ENABLED"}]});
    let mut elsewhere = call("config", "StopConfigurationRecorder", &Value::Null);
    elsewhere["awsRegion"] = json!("us-east-1");
    let mut of_member = call("config", "StopConfigurationRecorder", &Value::Null);
    of_member["recipientAccountId"] = json!("210987654321");
    for (why, call) in [
        ("another detector", call("guardduty", "DeleteDetector", &json!({"detectorId": "d2"}))),
        ("it never worked", call("guardduty", "UpdateDetector", &lambda)),
        ("it gives", call("guardduty", "UpdateDetector", &on)),
        ("all types", call("config", "PutConfigurationRecorder", &all)),
        ("another service", call("sagemaker", "DeleteDetector", &Value::Null)),
        (
            "another standard",
            call("securityhub", "BatchDisableStandards", &json!({"standardsSubscriptionArns": ["a/b"]})),
        ),
        ("another region", elsewhere),
        ("a member of the organization", of_member),
    ] {
        assert_eq!(taken(&call, &known, Standing.now()), None, "{why}");
    }
}
