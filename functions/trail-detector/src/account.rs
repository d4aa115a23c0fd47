//! For tests: an account with one trail, which a test changes while it is watched.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloudvigil_aws::trails::trails;
use cloudvigil_core::finding::Finding;
use cloudvigil_lambda::Counters;
use cloudvigil_stub::{Reply, Request, Stub};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::stage::Stage;
use crate::{handler, trail_status};

pub const ARN: &str = "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main";

/// An account with one trail, which a test changes while it is watched.
pub struct Account {
    trail: Arc<Mutex<Value>>,
    pub stage: Stage,
}

fn answer(request: &Request, trail: &Value) -> Reply {
    let operation = request.headers.lines().find_map(|line| line.split_once("CloudTrail_20131101."));
    match operation.map_or("", |(_, name)| name.trim()) {
        "DescribeTrails" if trail["there"] == false => Reply::json(&json!({"trailList": []})),
        "DescribeTrails" if trail["denied"] == true && request.headers.contains("/us-east-1/") => {
            Reply::error(400, "AccessDeniedException", "not in this region")
        }
        "DescribeTrails" => Reply::json(&json!({"trailList": [trail["configuration"]]})),
        "GetTrailStatus" if request.headers.contains("/eu-west-1/") => Reply::json(&trail["status"]),
        "GetTrailStatus" => Reply::json(&trail["elsewhere"]),
        "LookupEvents" => {
            let asked = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
            let name = &asked["LookupAttributes"][0]["AttributeValue"];
            let history = trail["history"].as_array().into_iter().flatten().filter(|event| event["eventName"] == *name);
            let events =
                history.map(|event| json!({"EventId": event["eventID"], "CloudTrailEvent": event.to_string()}));
            Reply::json(&json!({"Events": events.collect::<Vec<_>>()}))
        }
        "GetEventSelectors" => Reply::json(&trail["selectors"]),
        // The rest is not CloudTrail's: S3's, by the bucket's name, and GetCallerIdentity.
        _ if request.path.contains("location") => Reply::ok("<LocationConstraint>eu-west-1</LocationConstraint>"),
        _ if request.path.starts_with("/logs") => {
            let question = request.path.rsplit('?').next().unwrap_or_default();
            let answer = trail["bucket"]
                .as_object()
                .and_then(|bucket| bucket.iter().find(|(name, _)| question.starts_with(name.as_str())));
            answer.map_or_else(
                || Reply::status(403, "<Error><Code>AccessDenied</Code></Error>"),
                |(_, answer)| Reply::ok(answer.as_str().unwrap_or_default()),
            )
        }
        _ => Reply::ok(
            "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>111122223333</Account>\
             </GetCallerIdentityResult></GetCallerIdentityResponse>",
        ),
    }
}

impl Account {
    pub fn new() -> Self {
        let trail = Arc::new(Mutex::new(json!({
            "configuration": {"Name": "main", "TrailARN": ARN, "HomeRegion": "eu-west-1", "IsMultiRegionTrail": true,
                "S3BucketName": "logs", "LogFileValidationEnabled": true, "HasCustomEventSelectors": true},
            "status": {"IsLogging": true, "StartLoggingTime": 1_772_000_000},
            "elsewhere": {"IsLogging": true},
            "selectors": {"EventSelectors": [{"ReadWriteType": "All"}]},
            "bucket": {
                "policy": r#"{"Statement":[]}"#,
                "lifecycle": "<LifecycleConfiguration></LifecycleConfiguration>",
                "publicAccessBlock": "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>\
                    <IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy>\
                    <RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>",
            },
        })));
        let answers = Arc::clone(&trail);
        let stub = Stub::with(move |request| answer(request, &answers.lock().unwrap()));
        Self { trail, stage: Stage::on("2026-03-01T10:00:00Z", stub) }
    }

    pub fn set(&self, path: &str, value: Value) {
        let mut trail = self.trail.lock().unwrap();
        if let Some(there) = trail.pointer_mut(path) {
            *there = value;
        } else {
            trail[&path[1..]] = value;
        }
    }

    pub fn pass(&self, hours: i64) {
        let now = self.stage.now() + SignedDuration::from_hours(hours);
        self.stage.set(&now.to_string());
    }

    /// A poll's look. Returns what failed, and the findings that it made.
    pub async fn look(&self) -> (Vec<String>, Vec<Finding>) {
        let before = self.stage.findings.sorted();
        let regions = ["eu-west-1", "us-east-1"].map(str::to_owned);
        let seen = trails(&self.stage.context.detector.clients, &regions).await;
        let failures = trail_status::check(&seen, true, &self.stage.context, &mut Counters::default()).await;
        let new = self.stage.findings.sorted().into_iter().filter(|message| !before.contains(message));
        (failures, new.map(|message| message.finding).collect())
    }

    pub async fn titles(&self) -> Vec<String> {
        let (failures, findings) = self.look().await;
        assert!(failures.is_empty(), "{failures:?}");
        findings.into_iter().map(|finding| finding.title).collect()
    }

    /// What an event of `EventBridge` makes the function tell.
    pub async fn handle(&self, event: Value) -> Vec<Finding> {
        let before = self.stage.findings.sorted();
        handler::handle(event, Duration::from_secs(9), &self.stage.context).await.unwrap();
        let new = self.stage.findings.sorted().into_iter().filter(move |message| !before.contains(message));
        new.map(|message| message.finding).collect()
    }
}
