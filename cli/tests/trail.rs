//! `cloudvigil trail`: what it says of an account's trails, and how it ends.

#![allow(clippy::unwrap_used, reason = "a test may panic, also outside of its #[test] function")]

mod support;

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use cloudvigil_stub::{Reply, Request, Stub};
use serde_json::{Value, json};
use support::{Folder, Ran, record};

const ARN: &str = "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main";

/// A rule about tampering, and one about what trails lose.
const RULES: [(&str, &str); 2] = [
    (
        "rules/stopped.yml",
        "
title: A trail was stopped
id: 0f3f2d9e-6a0b-4c1e-9f0e-3c1f6f8f7a01
level: critical
tags: [attack.t1562.008]
logsource: {product: aws, service: cloudtrail}
detection:
  selection: {eventSource: cloudtrail.amazonaws.com, eventName: StopLogging}
  condition: selection
",
    ),
    (
        "rules/lost.yml",
        "
title: A trail lost something
id: 0f3f2d9e-6a0b-4c1e-9f0e-3c1f6f8f7a02
level: high
logsource: {product: aws, service: trail, category: inventory}
group-by: [resource, summary]
detection:
  selection: {type: trail_change, change: coverage_lost}
  condition: selection
",
    ),
];

fn answer(request: &Request, selectors: &Value) -> Reply {
    let denied = || Reply::error(400, "AccessDeniedException", "a policy of the organization closes this region");
    let operation = request.headers.lines().find_map(|line| line.split_once("CloudTrail_20131101."));
    match operation.map_or("", |(_, name)| name.trim()) {
        "DescribeTrails" if request.headers.contains("/us-east-1/") => denied(),
        "DescribeTrails" => Reply::json(&json!({"trailList": [{
            "Name": "main", "TrailARN": ARN, "HomeRegion": "eu-west-1", "IsMultiRegionTrail": true,
            "S3BucketName": "logs", "LogFileValidationEnabled": true, "HasCustomEventSelectors": true,
        }]})),
        "GetTrailStatus" => Reply::json(&json!({"IsLogging": true, "LatestDeliveryTime": 1_772_359_200})),
        "GetEventSelectors" => Reply::json(&json!({"EventSelectors": [selectors]})),
        "LookupEvents" if request.headers.contains("/eu-west-1/") => {
            let event = record(1, "StopLogging");
            Reply::json(&json!({"Events": [{"EventId": "1", "CloudTrailEvent": event}]}))
        }
        "LookupEvents" => Reply::json(&json!({"Events": []})),
        _ => denied(),
    }
}

fn run(folder: &Folder, stub: &Stub, arguments: &[&str]) -> Ran {
    let all = ["trail", "--no-default-rules", "--rules", "rules", "--state", "trails.db"];
    let mut command = folder.command(&[&all, arguments].concat());
    command.env("AWS_ENDPOINT_URL", stub.endpoint()).env("AWS_REGION", "eu-west-1");
    command.env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE").env("AWS_SECRET_ACCESS_KEY", "secret");
    let output = command.stdin(Stdio::null()).output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn it_tells_health_gaps_changes_and_who_tampered() {
    let selectors = Arc::new(Mutex::new(json!({"ReadWriteType": "All"})));
    let served = Arc::clone(&selectors);
    let stub = Stub::with(move |request| answer(request, &served.lock().unwrap()));
    let folder = Folder::new();
    for (name, rule) in RULES {
        folder.write(name, rule);
    }
    let regions = ["--region", "eu-west-1", "--region", "us-east-1"];
    let first = run(&folder, &stub, &regions);
    assert!(first.stdout.contains("This is the first time"), "{}", first.stdout);

    *selectors.lock().unwrap() =
        json!({"ReadWriteType": "All", "ExcludeManagementEventSources": ["kms.amazonaws.com"]});
    let second = run(&folder, &stub, &regions);
    // One region that could not be looked at is told, and hides nothing of the other.
    assert_eq!(second.code, 3);
    assert!(second.stderr.contains("us-east-1") && second.stderr.contains("AccessDenied"), "{}", second.stderr);
    let sections: Vec<&str> = second.stdout.lines().filter(|line| *line == line.to_uppercase()).collect();
    let order: Vec<&str> = sections.into_iter().filter(|line| line.len() > 5 && line.is_ascii()).collect();
    assert_eq!(
        order,
        [
            "TRAILS",
            "NOT COVERED",
            "CHANGED SINCE THE LAST TIME",
            "FINDINGS ABOUT THE TRAILS",
            "TAMPERING WITH LOGGING, THE LAST 7 DAYS"
        ]
    );
    for told in [
        "Read and write events of KMS are recorded by no trail in eu-west-1",
        "us-east-1: could not look",
        "main: Read and write events of KMS are no longer recorded, in all regions",
        "aws cloudtrail put-event-selectors --region eu-west-1 --trail-name arn:aws:cloudtrail:eu-west-1:111122223333:trail/main",
        "A trail lost something",
        "A trail was stopped",
        "203.0.113.7",
    ] {
        assert!(second.stdout.contains(told), "{told} is missing in:\n{}", second.stdout);
    }

    let third = run(&folder, &stub, &["--region", "eu-west-1", "--output", "json"]);
    let document: Value = serde_json::from_str(&third.stdout).unwrap();
    assert_eq!((third.code, &document["changes"]), (0, &json!([])), "what was told is not told again");
    assert_eq!(document["not_covered"][0], "Read and write events of KMS are recorded by no trail in eu-west-1");
    assert_eq!(document["findings"].as_array().unwrap().len(), 1, "{}", third.stdout);
}
