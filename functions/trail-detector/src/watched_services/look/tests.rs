use std::collections::BTreeMap;

use cloudvigil_aws::trails::{Selectors, TrailStatus};
use cloudvigil_controls::extent::Extent;
use cloudvigil_controls::{Condition, Part, Seen};
use cloudvigil_core::ports::Failure;
use cloudvigil_stub::{Reply, Request, Stub};
use serde_json::{Value, json};

use super::*;

const ACCOUNT: &str = "111122223333";
const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/1";

/// What a request asks for: `config DescribeDeliveryChannels`, `guardduty /detector`.
fn asked(request: &Request) -> String {
    let headers = request.headers.to_ascii_lowercase();
    let scope = headers.split("credential=").nth(1).unwrap_or_default();
    let service = scope.split('/').nth(3).unwrap_or_default().to_owned();
    let target = request.headers.lines().find_map(|line| line.strip_prefix("x-amz-target: "));
    let operation = target.and_then(|target| target.rsplit('.').next()).map(str::trim);
    let path = request.path.split('?').next().unwrap_or_default();
    format!("{service} {}", operation.unwrap_or(path))
}

/// A region in which all is on, but for what `change` answers.
fn stub(change: impl Fn(&str, &Request) -> Option<Reply> + Send + 'static) -> Stub {
    Stub::with(move |request| {
        let asked = asked(request);
        if let Some(reply) = change(&asked, request) {
            return reply;
        }
        match asked.as_str() {
            "guardduty /detector" => Reply::json(&json!({"detectorIds": ["d1"]})),
            "guardduty /detector/d1" => Reply::json(&detector("ENABLED", "ENABLED")),
            "config DescribeConfigurationRecorders" => Reply::json(&recorders(true)),
            "config DescribeConfigurationRecorderStatus" => Reply::json(&recording(true)),
            "config DescribeDeliveryChannels" => {
                Reply::json(&json!({"DeliveryChannels": [{"name": "default", "s3BucketName": "config-logs"}]}))
            }
            "securityhub /accounts" => {
                Reply::json(&json!({"HubArn": "arn:aws:securityhub:eu-west-1:111122223333:hub/default"}))
            }
            "securityhub /standards/get" if request.body.windows(9).any(|part| part == b"NextToken") => {
                Reply::json(&json!({"StandardsSubscriptions": [standard(CIS, "READY")]}))
            }
            "securityhub /standards/get" => {
                let first = standard(FSBP, "INCOMPLETE");
                Reply::json(&json!({"StandardsSubscriptions": [first], "NextToken": "2"}))
            }
            "kms DescribeKey" => Reply::json(&key("Enabled")),
            _ => Reply::error(400, "Unexpected", &asked),
        }
    })
}

const FSBP: &str = "arn:aws:securityhub:eu-west-1::standards/aws-foundational-security-best-practices/v/1.0.0";
const CIS: &str = "arn:aws:securityhub:::ruleset/cis-aws-foundations-benchmark/v/1.2.0";

fn standard(arn: &str, status: &str) -> Value {
    json!({"StandardsArn": arn, "StandardsInput": {}, "StandardsStatus": status, "StandardsSubscriptionArn": "subscription"})
}

fn detector(status: &str, feature: &str) -> Value {
    json!({
        "status": status, "serviceRole": "role", "createdAt": "2026-01-01T00:00:00.000Z",
        "features": [
            {"name": "CLOUD_TRAIL", "status": "ENABLED"},
            {"name": "S3_DATA_EVENTS", "status": feature},
            {"name": "RUNTIME_MONITORING", "status": "ENABLED", "additionalConfiguration": [
                {"name": "EC2_AGENT_MANAGEMENT", "status": feature},
            ]},
        ],
    })
}

fn recorders(every_type: bool) -> Value {
    let group = if every_type {
        json!({"allSupported": true, "includeGlobalResourceTypes": true})
    } else {
        json!({"allSupported": false, "includeGlobalResourceTypes": false, "resourceTypes": ["AWS::EC2::Volume"],
               "recordingStrategy": {"useOnly": "INCLUSION_BY_RESOURCE_TYPES"}})
    };
    json!({"ConfigurationRecorders": [
        {"name": "default", "roleARN": "arn:aws:iam::111122223333:role/config", "recordingGroup": group},
    ]})
}

fn recording(is_on: bool) -> Value {
    json!({"ConfigurationRecordersStatus": [{"name": "default", "recording": is_on, "lastStatus": "SUCCESS"}]})
}

fn key(state: &str) -> Value {
    json!({"KeyMetadata": {"KeyId": "1", "Arn": KEY, "KeyState": state, "DeletionDate": 1_775_000_000}})
}

fn trail(organization: bool) -> Trail {
    Trail {
        arn: "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main".to_owned(),
        name: "main".to_owned(),
        home_region: "eu-west-1".to_owned(),
        account: Some(ACCOUNT.to_owned()),
        multi_region: true,
        organization,
        global_services: true,
        insights: false,
        s3_bucket: Some("logs".to_owned()),
        s3_prefix: None,
        log_group: None,
        log_role: None,
        sns_topic: None,
        kms_key: Some(KEY.to_owned()),
        validation: true,
        status: Ok(TrailStatus { is_logging: true, ..TrailStatus::default() }),
        elsewhere: BTreeMap::new(),
        selectors: Ok(Selectors::untouched()),
    }
}

async fn looked(stub: &Stub, regions: &[&str], trails: &[Trail]) -> Looked {
    let regions: Vec<String> = regions.iter().map(|region| (*region).to_owned()).collect();
    let clients = stub.clients(Clients::with_config);
    look(&clients, ACCOUNT, &regions, trails, Duration::ZERO).await
}

fn there<'l>(looked: &'l Looked, key: &str, part: &str) -> &'l Part {
    let control = looked.controls.iter().find(|control| control.key == key).unwrap();
    match &control.parts[part] {
        Seen::There(part) => part,
        Seen::Gone => panic!("{part} of {key} is gone"),
    }
}

fn is_gone(looked: &Looked, key: &str, part: &str) -> bool {
    let control = looked.controls.iter().find(|control| control.key == key);
    control.is_some_and(|control| control.parts.get(part) == Some(&Seen::Gone))
}

#[tokio::test]
async fn all_that_works_says_what_its_end_would_mean_and_how_to_have_it_again() {
    let stub = stub(|_, _| None);
    let looked = looked(&stub, &["eu-west-1"], &[trail(false)]).await;
    assert!(looked.failed.is_empty(), "{:?}", looked.failed);
    let parts = looked.controls.iter().flat_map(|control| &control.parts);
    let parts: Vec<(&str, &Part)> = parts
        .map(|(name, seen)| match seen {
            Seen::There(part) => (name.as_str(), part.as_ref()),
            Seen::Gone => panic!("{name} is gone"),
        })
        .collect();
    let names: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "detector",
            "feature CLOUD_TRAIL",
            "feature RUNTIME_MONITORING",
            "feature RUNTIME_MONITORING EC2_AGENT_MANAGEMENT",
            "feature S3_DATA_EVENTS",
            "delivery_channel",
            "recorder",
            "resource_types",
            "hub",
            &format!("standard {CIS}"),
            &format!("standard {FSBP}"),
            "key",
        ]
    );
    assert!(parts.iter().all(|(_, part)| part.condition == Condition::Working));
    let undo = |key, part| there(&looked, key, part).undo.clone();
    assert_eq!(
        undo("guardduty eu-west-1", "detector"),
        [concat!(
            "aws guardduty create-detector --region eu-west-1 --enable --features '[",
            r#"{"Name":"S3_DATA_EVENTS","Status":"ENABLED"},"#,
            r#"{"AdditionalConfiguration":[{"Name":"EC2_AGENT_MANAGEMENT","Status":"ENABLED"}],"#,
            r#""Name":"RUNTIME_MONITORING","Status":"ENABLED"}]'"#
        )]
    );
    assert_eq!(
        undo("config eu-west-1", "recorder"),
        [
            concat!(
                "aws configservice put-configuration-recorder --region eu-west-1 --configuration-recorder ",
                r#"'{"name":"default","roleARN":"arn:aws:iam::111122223333:role/config"}' --recording-group "#,
                r#"'{"allSupported":true,"includeGlobalResourceTypes":true}'"#
            ),
            "aws configservice start-configuration-recorder --region eu-west-1 --configuration-recorder-name default",
        ]
    );
    assert_eq!(
        undo("config eu-west-1", "delivery_channel"),
        [concat!(
            "aws configservice put-delivery-channel --region eu-west-1 --delivery-channel ",
            r#"'{"name":"default","s3BucketName":"config-logs"}'"#
        )]
    );
    let enable = |standards: &[&str]| {
        let requests: Vec<Value> = standards.iter().map(|standard| json!({"StandardsArn": standard})).collect();
        let command = "aws securityhub batch-enable-standards --region eu-west-1 --standards-subscription-requests";
        format!("{command} '{}'", json!(requests))
    };
    let hub = "aws securityhub enable-security-hub --region eu-west-1".to_owned();
    assert_eq!(undo("securityhub eu-west-1", "hub"), [hub, enable(&[CIS, FSBP])]);
    let cis = there(&looked, "securityhub eu-west-1", &format!("standard {CIS}"));
    assert_eq!(cis.undo, [enable(&[CIS])]);
    assert_eq!(
        cis.lost,
        "Security Hub no longer checks the standard cis-aws-foundations-benchmark/v/1.2.0 in eu-west-1"
    );
    let arns: Vec<_> = looked.controls.iter().map(|control| control.resource.as_deref().unwrap()).collect();
    assert_eq!(
        arns,
        [
            "arn:aws:guardduty:eu-west-1:111122223333:detector/d1",
            "arn:aws:config:eu-west-1:111122223333:configuration-recorder/default",
            "arn:aws:securityhub:eu-west-1:111122223333:hub/default",
            KEY,
        ]
    );
}

#[tokio::test]
async fn what_is_off_says_so_in_words() {
    let stub = stub(|asked, _| match asked {
        "guardduty /detector/d1" => Some(Reply::json(&detector("ENABLED", "DISABLED"))),
        "config DescribeConfigurationRecorders" => Some(Reply::json(&recorders(false))),
        "config DescribeConfigurationRecorderStatus" => Some(Reply::json(&recording(false))),
        "config DescribeDeliveryChannels" => Some(Reply::json(&json!({"DeliveryChannels": []}))),
        "kms DescribeKey" => Some(Reply::json(&key("PendingDeletion"))),
        _ => None,
    });
    let looked = looked(&stub, &["eu-west-1"], &[trail(false)]).await;
    assert!(looked.failed.is_empty(), "{:?}", looked.failed);
    let feature = there(&looked, "guardduty eu-west-1", "feature S3_DATA_EVENTS");
    assert_eq!(feature.condition, Condition::Disabled);
    assert_eq!(
        feature.lost,
        "GuardDuty no longer watches what is done with objects in S3 (S3_DATA_EVENTS) in eu-west-1"
    );
    assert_eq!(
        feature.undo,
        [concat!(
            "aws guardduty update-detector --region eu-west-1 --detector-id d1 --features ",
            r#"'[{"Name":"S3_DATA_EVENTS","Status":"ENABLED"}]'"#
        )]
    );
    let more = there(&looked, "guardduty eu-west-1", "feature RUNTIME_MONITORING EC2_AGENT_MANAGEMENT");
    assert_eq!(more.condition, Condition::Disabled);
    assert!(more.undo[0].contains(r#"[{"Name":"EC2_AGENT_MANAGEMENT","Status":"ENABLED"}]"#), "{:?}", more.undo);
    let recorder = there(&looked, "config eu-west-1", "recorder");
    assert_eq!(recorder.condition, Condition::Stopped);
    assert!(recorder.lost.ends_with("its recorder default is stopped"), "{}", recorder.lost);
    assert!(is_gone(&looked, "config eu-west-1", "delivery_channel"));
    let types = there(&looked, "config eu-west-1", "resource_types");
    assert_eq!(types.extent, Some(Extent::Only(["AWS::EC2::Volume".to_owned()].into())));
    let key = there(&looked, &format!("kms eu-west-1 {KEY}"), "key");
    assert_eq!((key.condition, key.relied_on), (Condition::PendingDeletion, true));
    assert_eq!(
        key.lost,
        "Log files of the trail main can be neither written nor read, and never again after their key is deleted, on \
         2026-03-31 23:33 UTC"
    );
    assert_eq!(
        key.undo,
        [
            format!("aws kms cancel-key-deletion --region eu-west-1 --key-id {KEY}"),
            format!("aws kms enable-key --region eu-west-1 --key-id {KEY}"),
        ]
    );
}

#[tokio::test]
async fn what_is_not_there_is_told_from_what_may_not_be_looked_at() {
    let nothing = stub(|asked, _| match asked {
        "guardduty /detector" => Some(Reply::json(&json!({"detectorIds": []}))),
        "config DescribeConfigurationRecorders" => Some(Reply::json(&json!({"ConfigurationRecorders": []}))),
        "securityhub /accounts" => Some(Reply::error(
            401,
            "InvalidAccessException",
            "Account 111122223333 is not subscribed to AWS Security Hub",
        )),
        "kms DescribeKey" => Some(Reply::error(400, "NotFoundException", "Key does not exist")),
        _ => None,
    });
    let seen = looked(&nothing, &["eu-west-1"], &[trail(false)]).await;
    assert!(seen.failed.is_empty(), "{:?}", seen.failed);
    assert!(is_gone(&seen, "guardduty eu-west-1", "detector"));
    assert!(is_gone(&seen, "config eu-west-1", "recorder"));
    assert!(is_gone(&seen, "securityhub eu-west-1", "hub"));
    assert_eq!(there(&seen, &format!("kms eu-west-1 {KEY}"), "key").condition, Condition::Gone);

    let denied = stub(|asked, _| {
        let hub = "The account does not have permission to perform this action";
        Some(match asked {
            "securityhub /accounts" => Reply::error(401, "InvalidAccessException", hub),
            _ => Reply::error(403, "AccessDeniedException", "denied by a service control policy"),
        })
    });
    let seen = looked(&denied, &["eu-west-1"], &[trail(false)]).await;
    assert!(seen.controls.is_empty(), "{:?}", seen.controls);
    let actions: Vec<&str> = seen.failed.iter().map(|failed| failed.look.action).collect();
    assert_eq!(
        actions,
        [
            "guardduty:ListDetectors",
            "config:DescribeConfigurationRecorders",
            "securityhub:DescribeHub",
            "kms:DescribeKey"
        ]
    );
    assert!(seen.failed.iter().all(|failed| failed.look.failure == Failure::Denied && !failed.is_foreseen));
    let organization = looked(&denied, &[], &[trail(true)]).await;
    assert!(organization.failed[0].is_foreseen);
}

#[tokio::test]
async fn a_feature_that_took_anothers_place_is_no_loss() {
    for (eks, all, expected) in [
        ("ENABLED", "DISABLED", &["EKS_RUNTIME_MONITORING", "RUNTIME_MONITORING"][..]),
        ("DISABLED", "ENABLED", &["RUNTIME_MONITORING"]),
        ("DISABLED", "DISABLED", &["EKS_RUNTIME_MONITORING", "RUNTIME_MONITORING"]),
    ] {
        let features = json!([
            {"name": "EKS_RUNTIME_MONITORING", "status": eks}, {"name": "RUNTIME_MONITORING", "status": all},
        ]);
        let answer = json!({"status": "ENABLED", "features": features});
        let stub = stub(move |asked, _| (asked == "guardduty /detector/d1").then(|| Reply::json(&answer)));
        let looked = looked(&stub, &["eu-west-1"], &[]).await;
        let control = looked.controls.iter().find(|control| control.service == "guardduty").unwrap();
        let features: Vec<&str> = control.parts.keys().filter_map(|name| name.strip_prefix("feature ")).collect();
        assert_eq!(features, expected);
        // No request may name both.
        let undo = &there(&looked, "guardduty eu-west-1", "detector").undo[0];
        assert_eq!(undo.matches("RUNTIME_MONITORING").count(), 1, "{undo}");
    }
}

#[tokio::test]
async fn a_region_that_answers_nothing_hides_no_other() {
    let stub = stub(|asked, request| {
        let is_closed = request.headers.contains("/eu-west-1/") && asked != "kms DescribeKey";
        is_closed.then(|| Reply::error(400, "ThrottlingException", "slow down"))
    });
    let looked = looked(&stub, &["eu-west-1", "us-east-1"], &[]).await;
    let keys: Vec<&str> = looked.controls.iter().map(|control| control.key.as_str()).collect();
    assert_eq!(keys, ["guardduty us-east-1", "config us-east-1", "securityhub us-east-1"]);
    assert_eq!(looked.failed.len(), 3);
    assert!(looked.failed.iter().all(|failed| failed.region == "eu-west-1" && failed.look.is_transient()));
}

#[tokio::test]
async fn a_detector_on_the_second_page_is_found() {
    let stub = stub(|asked, request| {
        (asked == "guardduty /detector" && !request.path.contains("nextToken"))
            .then(|| Reply::json(&json!({"detectorIds": [], "nextToken": "2"})))
    });
    let looked = looked(&stub, &["eu-west-1"], &[]).await;
    assert_eq!(there(&looked, "guardduty eu-west-1", "detector").condition, Condition::Working);
}

#[tokio::test]
async fn an_answer_without_an_answer_is_not_off() {
    let stub = stub(|asked, _| match asked {
        "guardduty /detector/d1" | "securityhub /accounts" => Some(Reply::json(&json!({}))),
        "config DescribeConfigurationRecorderStatus" => Some(Reply::json(&json!({"ConfigurationRecordersStatus": []}))),
        _ => None,
    });
    let looked = looked(&stub, &["eu-west-1"], &[]).await;
    let codes: Vec<&str> = looked.failed.iter().map(|failed| failed.look.code.as_str()).collect();
    assert_eq!(codes, ["EmptyAnswer", "EmptyAnswer"]);
    let config = looked.controls.iter().find(|control| control.service == "config").unwrap();
    assert!(!config.parts.contains_key("recorder"), "nothing is known of it");
}

#[tokio::test]
async fn which_types_are_recorded_is_read_off_every_kind_of_group() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    for (group, expected) in [
        (Value::Null, Extent::All),
        (json!({"allSupported": true}), Extent::All),
        (json!({"recordingStrategy": {"useOnly": "ALL_SUPPORTED_RESOURCE_TYPES"}}), Extent::All),
        (
            json!({"allSupported": false, "resourceTypes": ["AWS::EC2::Volume"]}),
            Extent::Only(set(&["AWS::EC2::Volume"])),
        ),
        (
            json!({"recordingStrategy": {"useOnly": "EXCLUSION_BY_RESOURCE_TYPES"},
                   "exclusionByResourceTypes": {"resourceTypes": ["AWS::IAM::User", "AWS::IAM::Role"]}}),
            Extent::Except(set(&["AWS::IAM::Role", "AWS::IAM::User"])),
        ),
    ] {
        let answer = json!({"ConfigurationRecorders": [{"name": "default", "recordingGroup": group}]});
        let stub =
            stub(move |asked, _| (asked == "config DescribeConfigurationRecorders").then(|| Reply::json(&answer)));
        let looked = looked(&stub, &["eu-west-1"], &[]).await;
        assert_eq!(there(&looked, "config eu-west-1", "resource_types").extent, Some(expected), "{group}");
    }
}

#[tokio::test]
async fn a_standard_that_is_being_disabled_is_gone_and_one_alone_is_looked_at() {
    let stub = stub(|asked, _| {
        let standards = json!({"StandardsSubscriptions": [standard(FSBP, "FAILED"), standard(CIS, "DELETING")]});
        (asked == "securityhub /standards/get").then(|| Reply::json(&standards))
    });
    let clients = stub.clients(Clients::with_config);
    let looked = look_at(&clients, ACCOUNT, "securityhub", "eu-west-1", Duration::ZERO).await;
    let [hub] = looked.controls.as_slice() else { panic!("{:?}", looked.controls) };
    let names: Vec<&str> = hub.parts.keys().map(String::as_str).collect();
    assert_eq!(names, ["hub", &format!("standard {FSBP}")]);
    assert_eq!(there(&looked, "securityhub eu-west-1", names[1]).condition, Condition::Failing);
}
