use std::sync::{Arc, Mutex};

use cloudvigil_aws::trails::CouldNotLook;
use cloudvigil_core::finding::Finding;
use cloudvigil_core::pipeline::Entry;
use cloudvigil_core::ports::Failure;
use cloudvigil_stub::{Reply, Request, Stub};

use super::*;
use crate::stage::{Stage, trail};

const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/1";

/// What a region has. A test changes it while it is watched.
#[derive(Clone)]
struct Account {
    detector: &'static str,
    recording: bool,
    hub: bool,
    standard: bool,
    excluded: &'static [&'static str],
    key: &'static str,
    /// The region in which nothing may be looked at.
    closed: Option<&'static str>,
    /// The call to Config that the event history has.
    called: Option<&'static str>,
}

const ALL_ON: Account = Account {
    detector: "ENABLED",
    recording: true,
    hub: true,
    standard: true,
    excluded: &[],
    key: "Enabled",
    closed: None,
    called: None,
};

fn answer(request: &Request, account: &Account) -> Reply {
    let target = request.headers.lines().find_map(|line| line.strip_prefix("x-amz-target: "));
    let operation = target.and_then(|target| target.rsplit('.').next()).unwrap_or(&request.path);
    let operation = operation.trim().split('?').next().unwrap_or_default();
    if account.closed.is_some_and(|region| request.headers.contains(&format!("/{region}/"))) {
        return Reply::error(403, "AccessDeniedException", "an explicit deny in a service control policy");
    }
    match operation {
        "/" => Reply::ok(
            "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>111122223333</Account>\
             </GetCallerIdentityResult></GetCallerIdentityResponse>",
        ),
        "/detector" => Reply::json(&json!({"detectorIds": ["d1"]})),
        "/detector/d1" => Reply::json(&json!({"status": account.detector, "features": []})),
        "DescribeConfigurationRecorders" => {
            let group = json!({
                "recordingStrategy": {"useOnly": "EXCLUSION_BY_RESOURCE_TYPES"},
                "exclusionByResourceTypes": {"resourceTypes": account.excluded},
            });
            let recorder = json!({"name": "default", "roleARN": "r", "recordingGroup": group});
            Reply::json(&json!({"ConfigurationRecorders": [recorder]}))
        }
        "DescribeConfigurationRecorderStatus" => {
            Reply::json(&json!({"ConfigurationRecordersStatus": [{"name": "default", "recording": account.recording}]}))
        }
        "DescribeDeliveryChannels" => {
            Reply::json(&json!({"DeliveryChannels": [{"name": "default", "s3BucketName": "config-logs"}]}))
        }
        "/accounts" if account.hub => {
            Reply::json(&json!({"HubArn": "arn:aws:securityhub:eu-central-1:111122223333:hub/default"}))
        }
        "/standards/get" if account.standard => Reply::json(&json!({"StandardsSubscriptions": [{
            "StandardsArn": "arn:aws:securityhub:eu-central-1::standards/aws-foundational-security-best-practices/v/1.0.0",
            "StandardsInput": {}, "StandardsStatus": "READY", "StandardsSubscriptionArn": "s",
        }]})),
        "/standards/get" => Reply::json(&json!({"StandardsSubscriptions": []})),
        "/accounts" => Reply::error(401, "InvalidAccessException", "Account 1 is not subscribed to AWS Security Hub"),
        "LookupEvents" => {
            let asked = serde_json::from_slice::<serde_json::Value>(&request.body).unwrap_or_default();
            let called = account.called.filter(|name| asked["LookupAttributes"][0]["AttributeValue"] == *name);
            let event = called.map(|name| call(name, "2026-03-01T09:10:00Z", &json!({})));
            let event = event.map(|event| json!({"EventId": event["eventID"], "CloudTrailEvent": event.to_string()}));
            Reply::json(&json!({"Events": event.into_iter().collect::<Vec<_>>()}))
        }
        "DescribeKey" => Reply::json(&json!({"KeyMetadata": {"KeyId": "1", "KeyState": account.key}})),
        other => Reply::error(400, "Unexpected", other),
    }
}

struct Watch {
    stage: Stage,
    account: Arc<Mutex<Account>>,
    regions: Vec<String>,
    told: Mutex<usize>,
}

impl Watch {
    fn over(regions: &[&str]) -> Self {
        let account = Arc::new(Mutex::new(ALL_ON));
        let answering = Arc::clone(&account);
        let stub = Stub::with(move |request| answer(request, &answering.lock().unwrap()));
        let stage = Stage::on("2026-03-01T09:00:00Z", stub);
        let regions = regions.iter().map(|region| (*region).to_owned()).collect();
        Self { stage, account, regions, told: Mutex::new(0) }
    }

    /// A poll. Returns the findings that it published, and what it counted.
    async fn poll(&self, at: &str, account: Account) -> (Vec<Finding>, Counters) {
        self.stage.set(at);
        *self.account.lock().unwrap() = account;
        let trail = Trail { kms_key: Some(KEY.to_owned()), ..trail() };
        let mut counters = Counters::default();
        let failures = check(&[trail], &self.regions, &self.stage.context, &mut counters).await;
        assert!(failures.is_empty(), "{failures:?}");
        let mut findings: Vec<Finding> = self.stage.findings.sorted().into_iter().map(|one| one.finding).collect();
        findings.sort_by_key(|finding| finding.first_time);
        let mut told = self.told.lock().unwrap();
        let new = findings.split_off(*told);
        *told += new.len();
        (new, counters)
    }
}

fn titles(findings: &[Finding]) -> Vec<(&str, &str)> {
    let mut titles: Vec<_> = findings.iter().map(|one| (one.level.as_str(), one.title.as_str())).collect();
    titles.sort_unstable();
    titles
}

#[tokio::test]
async fn a_first_look_is_calm_and_what_goes_off_is_told_once_a_day_until_it_returns() {
    let watch = Watch::over(&["eu-central-1"]);
    assert!(watch.poll("2026-03-01T09:00:00Z", ALL_ON).await.0.is_empty());
    let off = Account { detector: "DISABLED", recording: false, hub: false, key: "Disabled", ..ALL_ON };
    let (findings, counters) = watch.poll("2026-03-01T10:00:00Z", off.clone()).await;
    assert_eq!(
        titles(&findings),
        [
            ("critical", "Config records no longer in a region"),
            ("critical", "Key of a trail cannot be used"),
            ("high", "GuardDuty is suspended in a region"),
            ("high", "Security Hub is off in a region"),
        ]
    );
    assert_eq!(counters.other["ControlsLost"], 4);
    let evidence = findings.iter().map(|finding| finding.evidence[0].text.clone()).collect::<Vec<_>>();
    assert!(evidence.iter().all(|excerpt| excerpt.contains("\"undo\":[\"aws ")), "{evidence:?}");
    assert!(watch.poll("2026-03-01T10:15:00Z", off.clone()).await.0.is_empty(), "the same day");
    assert_eq!(watch.poll("2026-03-02T10:15:00Z", off.clone()).await.0.len(), 4);
    let (findings, counters) = watch.poll("2026-03-02T11:00:00Z", ALL_ON).await;
    assert_eq!(titles(&findings), [("informational", "What watches the account is on again"); 4]);
    assert_eq!(counters.other["ControlsReturned"], 4);
    assert!(watch.poll("2026-03-02T11:15:00Z", ALL_ON).await.0.is_empty());
}

#[tokio::test]
async fn what_is_left_out_and_what_is_checked_no_more_is_told() {
    let watch = Watch::over(&["eu-central-1"]);
    watch.poll("2026-03-01T09:00:00Z", ALL_ON).await;
    let less = Account { standard: false, excluded: &["AWS::IAM::User"], ..ALL_ON };
    let (findings, _) = watch.poll("2026-03-01T10:00:00Z", less).await;
    assert_eq!(
        titles(&findings),
        [("high", "Config records fewer types of resource"), ("high", "Security Hub checks a standard no more"),]
    );
    let more = Account { standard: false, excluded: &["AWS::IAM::Role", "AWS::IAM::User"], ..ALL_ON };
    let (findings, _) = watch.poll("2026-03-01T10:15:00Z", more).await;
    assert_eq!(titles(&findings), [("high", "Config records fewer types of resource")], "within the same hour");
    assert_eq!(watch.poll("2026-03-01T11:00:00Z", ALL_ON).await.0.len(), 2);
}

#[tokio::test]
async fn a_call_is_followed_by_a_look_at_what_it_changed() {
    let watch = Watch::over(&["eu-central-1"]);
    watch.poll("2026-03-01T09:00:00Z", ALL_ON).await;
    *watch.account.lock().unwrap() = Account { recording: false, hub: false, ..ALL_ON };
    let call = json!({"source": "aws.config", "detail-type": "AWS API Call via CloudTrail", "detail": {
        "eventVersion": "1.11", "eventID": "1", "eventTime": "2026-03-01T09:00:00Z",
        "eventSource": "config.amazonaws.com", "eventName": "StopConfigurationRecorder", "awsRegion": "eu-central-1",
        "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/mallory"},
        "requestParameters": {"configurationRecorderName": "default"}, "managementEvent": true,
    }});
    crate::handler::handle(call, std::time::Duration::from_secs(9), &watch.stage.context).await.unwrap();
    let findings: Vec<Finding> = watch.stage.findings.sorted().into_iter().map(|message| message.finding).collect();
    assert_eq!(
        titles(&findings),
        [("critical", "AWS Config recorder stopped")],
        "what was seen is its doing, and of what the call was not about, nothing is said yet"
    );
    let taken = &findings[0].evidence[1].text;
    for expected in ["its recorder default is stopped", "aws configservice start-configuration-recorder --region"] {
        assert!(taken.contains(expected), "{expected} is missing: {taken}");
    }
    let off = Account { recording: false, ..ALL_ON };
    assert!(watch.poll("2026-03-01T10:00:00Z", off.clone()).await.0.len() == 1, "that was the call's");
    assert!(watch.poll("2026-03-01T11:00:00Z", off.clone()).await.0.is_empty());
    let (findings, _) = watch.poll("2026-03-02T09:00:00Z", off).await;
    assert_eq!(titles(&findings), [("critical", "Config records no longer in a region")], "as long as it lasts");
}

/// A call to Config at this time, as a log file brings it.
fn call(name: &str, time: &str, changes: &serde_json::Value) -> serde_json::Value {
    let mut call = json!({
        "eventVersion": "1.11", "eventID": format!("{name} {time}"), "eventTime": time,
        "eventSource": "config.amazonaws.com", "eventName": name, "awsRegion": "eu-central-1",
        "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/mallory"},
        "requestParameters": {"configurationRecorderName": "default"}, "managementEvent": true,
    });
    call.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    call
}

impl Watch {
    async fn log_file(&self, call: &serde_json::Value) {
        let bytes = call.to_string();
        let entry = Entry { key: None, time: None, bytes: bytes.as_bytes() };
        let detector = &self.stage.context.detector;
        let format = cloudvigil_core::formats::by_name("cloudtrail");
        let report = detector.pipeline().entries("s3://logs/a.json.gz", format, std::iter::once(entry));
        detector.conclude(report, &mut Counters::default()).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_log_file_tells_first_is_told_once_and_what_it_does_not_is_told() {
    let stopped = Account { recording: false, ..ALL_ON };
    let hub_off = json!({"eventSource": "securityhub.amazonaws.com", "requestParameters": null});
    for (why, call, changes, after, expected) in [
        (
            "it did it",
            "StopConfigurationRecorder",
            json!({}),
            stopped.clone(),
            vec![("critical", "AWS Config recorder stopped")],
        ),
        (
            "it did more",
            "StopConfigurationRecorder",
            json!({}),
            Account { hub: false, ..stopped.clone() },
            vec![("critical", "AWS Config recorder stopped"), ("high", "Security Hub is off in a region")],
        ),
        (
            "another part",
            "DeleteDeliveryChannel",
            json!({}),
            stopped.clone(),
            vec![("critical", "AWS Config recorder stopped"), ("critical", "Config records no longer in a region")],
        ),
        (
            "another region",
            "StopConfigurationRecorder",
            json!({"awsRegion": "eu-west-1"}),
            stopped.clone(),
            vec![("critical", "AWS Config recorder stopped"), ("critical", "Config records no longer in a region")],
        ),
        (
            "another account",
            "StopConfigurationRecorder",
            json!({"recipientAccountId": "210987654321"}),
            stopped,
            vec![("critical", "AWS Config recorder stopped"), ("critical", "Config records no longer in a region")],
        ),
        (
            "the hub",
            "DisableSecurityHub",
            hub_off,
            Account { hub: false, ..ALL_ON },
            vec![("high", "Security Hub switched off")],
        ),
    ] {
        let watch = Watch::over(&["eu-central-1"]);
        watch.poll("2026-03-01T09:00:00Z", ALL_ON).await;
        watch.log_file(&self::call(call, "2026-03-01T09:10:00Z", &changes)).await;
        let (findings, _) = watch.poll("2026-03-01T09:15:00Z", after.clone()).await;
        assert_eq!(titles(&findings), expected, "{why}");
        assert!(watch.poll("2026-03-01T09:30:00Z", after).await.0.is_empty(), "{why}");
    }
}

#[tokio::test]
async fn a_poll_that_sees_both_tells_them_together() {
    let stopped = Account { recording: false, ..ALL_ON };
    for (called, expected) in [
        ("StopConfigurationRecorder", "AWS Config recorder stopped"),
        ("DeleteDeliveryChannel", "Config records no longer in a region"),
    ] {
        let watch = Watch::over(&["eu-central-1"]);
        watch.poll("2026-03-01T09:00:00Z", ALL_ON).await;
        let after = Account { called: Some(called), ..stopped.clone() };
        let (findings, _) = watch.poll("2026-03-01T09:15:00Z", after.clone()).await;
        assert_eq!(titles(&findings), [("critical", expected)], "{called}");
        assert!(watch.poll("2026-03-01T09:30:00Z", after).await.0.is_empty(), "{called}");
        if called == "StopConfigurationRecorder" {
            let sources: BTreeSet<&str> = findings[0].evidence.iter().map(|one| one.source.as_str()).collect();
            assert_eq!(sources, ["CloudTrail event history of eu-central-1", CONTROLS].into());
        }
    }
}

#[tokio::test]
async fn a_call_explains_what_it_did_and_not_what_is_done_again() {
    let watch = Watch::over(&["eu-central-1"]);
    watch.poll("2026-03-01T09:00:00Z", ALL_ON).await;
    watch.log_file(&call("StopConfigurationRecorder", "2026-03-01T09:10:00Z", &json!({}))).await;
    let stopped = Account { recording: false, ..ALL_ON };
    assert_eq!(watch.poll("2026-03-01T09:15:00Z", stopped.clone()).await.0.len(), 1);
    let (findings, _) = watch.poll("2026-03-01T09:30:00Z", ALL_ON).await;
    assert_eq!(titles(&findings), [("informational", "What watches the account is on again")]);
    let (findings, _) = watch.poll("2026-03-01T09:45:00Z", stopped).await;
    assert_eq!(titles(&findings), [("critical", "Config records no longer in a region")], "nothing saw that call");

    // It is heard of after the state was told.
    watch.log_file(&call("StopConfigurationRecorder", "2026-03-01T09:40:00Z", &json!({}))).await;
    let all = watch.stage.findings.sorted();
    let of_call = all.iter().map(|one| &one.finding).find(|one| {
        one.title == "AWS Config recorder stopped" && one.first_time == "2026-03-01T09:40:00Z".parse().ok()
    });
    assert_eq!(of_call.unwrap().evidence[1].source, CONTROLS, "it names the state: {of_call:?}");
}

#[tokio::test]
async fn a_region_that_is_closed_is_told_once_and_its_controls_are_not_off() {
    let watch = Watch::over(&["eu-central-1", "eu-west-1"]);
    watch.poll("2026-03-01T09:00:00Z", ALL_ON).await;
    let closed = Account { closed: Some("eu-west-1"), hub: false, ..ALL_ON };
    let (findings, counters) = watch.poll("2026-03-01T10:00:00Z", closed.clone()).await;
    assert_eq!(
        titles(&findings),
        [
            ("high", "Security Hub is off in a region"),
            ("low", "Part of the inventory could not be looked at"),
            ("low", "Part of the inventory could not be looked at"),
            ("low", "Part of the inventory could not be looked at"),
        ]
    );
    let hub = findings.iter().find(|finding| finding.title == "Security Hub is off in a region").unwrap();
    assert_eq!(hub.region.as_deref(), Some("eu-central-1"));
    assert_eq!((counters.other["ControlsNotLooked"], counters.other["Controls"]), (3, 4));
    assert!(watch.poll("2026-03-01T11:00:00Z", closed).await.0.is_empty());
}

#[tokio::test]
async fn a_region_without_the_service_is_counted_and_one_that_had_it_is_missed() {
    let stage = Stage::at("2026-03-01T09:00:00Z");
    let unreachable = |region: &str| Failed {
        service: "securityhub",
        region: region.to_owned(),
        look: CouldNotLook {
            failure: Failure::Transient,
            code: UNREACHABLE.to_owned(),
            action: "securityhub:DescribeHub",
            message: "dns error".to_owned(),
        },
        is_foreseen: false,
    };
    let known = BTreeSet::from([region_key("securityhub", "eu-west-1")]);
    let mut counters = Counters::default();
    let failed = [unreachable("eu-west-1"), unreachable("mx-central-1")];
    let failures = not_looked("111122223333", &failed, &known, &stage.context, &mut counters).await;
    assert_eq!(failures, ["securityhub in eu-west-1: no connection: securityhub:DescribeHub: dns error"]);
    assert_eq!((counters.other["ControlsUnavailable"], counters.other["ControlsNotLooked"]), (1, 1));
}
