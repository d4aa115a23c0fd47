use cloudvigil_stub::{Reply, Request, Stub};

use super::*;

const ARN: &str = "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main";

fn operation(request: &Request) -> &str {
    let headers = &request.headers;
    headers.lines().find_map(|line| line.split_once("CloudTrail_20131101.")).map_or("", |(_, name)| name.trim())
}

fn signed_for(request: &Request, region: &str) -> bool {
    request.headers.contains(&format!("/{region}/cloudtrail/"))
}

/// A multi-region trail at home in eu-west-1, as every region sees it.
fn described() -> Reply {
    Reply::json(&json!({"trailList": [{
        "Name": "main", "TrailARN": ARN, "HomeRegion": "eu-west-1", "IsMultiRegionTrail": true,
        "IsOrganizationTrail": false, "S3BucketName": "logs", "LogFileValidationEnabled": true,
        "HasCustomEventSelectors": false,
    }]}))
}

fn regions() -> Vec<String> {
    ["eu-west-1", "us-east-1"].map(ToOwned::to_owned).to_vec()
}

#[tokio::test]
async fn a_trail_is_one_and_its_deliveries_are_asked_for_in_each_region() {
    let stub = Stub::with(|request| match operation(request) {
        "DescribeTrails" => described(),
        "GetTrailStatus" => Reply::json(&json!({
            "IsLogging": true, "LatestDeliveryError": "AccessDenied", "LatestDeliveryTime": 1_772_359_200.5,
            "LatestDigestDeliveryTime": 1_772_359_200,
        })),
        other => Reply::error(400, "Unexpected", other),
    });
    let Seen { trails, errors, regions } = trails(&stub.clients(Clients::with_config), &regions()).await;
    assert!(errors.is_empty());
    assert_eq!(regions, self::regions());
    let status = trails[0].status.as_ref().unwrap();
    assert!(status.is_logging);
    assert_eq!(status.latest_delivery_time, "2026-03-01T10:00:00.5Z".parse().ok());
    let requests = stub.requests();
    // Its deliveries in each of the regions, which are asked by its ARN.
    assert_eq!((trails.len(), requests.len()), (1, 4));
    assert!(signed_for(&requests[2], "eu-west-1") && signed_for(&requests[3], "us-east-1"));
    assert!(requests[2..].iter().all(|request| request.json()["Name"] == ARN));
    let elsewhere: Vec<Value> = trails[0].regions_to_inventory(None).collect();
    assert_eq!(elsewhere.len(), 1);
    assert_eq!((&elsewhere[0]["type"], &elsewhere[0]["region"]), (&json!("trail_region"), &json!("us-east-1")));
    assert_eq!(
        (&elsewhere[0]["resource"], &elsewhere[0]["latest_delivery_error"]),
        (&json!(ARN), &json!("AccessDenied"))
    );

    let line = trails[0].to_inventory("2026-02-28T00:00:00Z".parse().ok());
    for (key, value) in [
        ("schema", json!(1)),
        ("service", json!("cloudtrail")),
        ("type", json!("trail")),
        ("resource", json!(ARN)),
        ("account", json!("111122223333")),
        ("region", json!("eu-west-1")),
        ("since", json!("2026-02-28T00:00:00Z")),
        ("is_logging", json!(true)),
        ("latest_delivery_error", json!("AccessDenied")),
        ("latest_digest_delivery_time", json!("2026-03-01T10:00:00Z")),
        ("management_writes", json!("all")),
        ("selectors", Selectors::untouched().as_value().clone()),
        ("global_services", json!(true)),
        ("kms_encrypted", json!(false)),
        ("log_group", Value::Null),
        ("could_not_look", Value::Null),
    ] {
        assert_eq!(line.get(key), Some(&value), "{key}");
    }
}

#[tokio::test]
async fn a_status_that_is_denied_is_not_a_trail_that_does_not_log() {
    let stub = Stub::with(|request| match operation(request) {
        "DescribeTrails" => described(),
        _ => Reply::error(400, "AccessDeniedException", "User is not authorized to perform: cloudtrail:GetTrailStatus"),
    });
    let Seen { trails, .. } = trails(&stub.clients(Clients::with_config), &regions()).await;
    assert_eq!(trails[0].status.as_ref().unwrap_err().failure, Failure::Denied);
    let line = trails[0].to_inventory(None);
    assert_eq!(line["is_logging"], Value::Null);
    assert_eq!(line["could_not_look"], "AccessDenied: cloudtrail:GetTrailStatus");
}

#[tokio::test]
async fn a_region_that_cannot_be_asked_is_told_of() {
    let stub = Stub::with(|request| match operation(request) {
        "DescribeTrails" if signed_for(request, "us-east-1") => Reply::error(400, "ThrottlingException", "slow"),
        "DescribeTrails" => Reply::json(&json!({"trailList": []})),
        other => Reply::error(400, "Unexpected", other),
    });
    let Seen { trails, errors, regions } = trails(&stub.clients(Clients::with_config), &regions()).await;
    assert!(trails.is_empty());
    assert_eq!((errors.len(), errors[0].1.failure), (1, Failure::Transient));
    assert_eq!((errors[0].0.as_str(), regions), ("us-east-1", vec!["eu-west-1".to_owned()]));
    assert!(errors[0].1.to_string().contains("us-east-1"));
}

#[tokio::test]
async fn selectors_say_whether_a_trail_is_blind() {
    let field = |field: &str, operator: &str, value: &str| json!({"Field": field, operator: [value]});
    let management = || field("eventCategory", "Equals", "Management");
    let cases = [
        (json!({"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": true}]}), "all"),
        (json!({"EventSelectors": [{"ReadWriteType": "ReadOnly", "IncludeManagementEvents": true}]}), "none"),
        (json!({"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": false}]}), "none"),
        (
            json!({"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": true,
                   "ExcludeManagementEventSources": ["kms.amazonaws.com"]}]}),
            "partly",
        ),
        (json!({"AdvancedEventSelectors": [{"FieldSelectors": [management()]}]}), "all"),
        (
            json!({"AdvancedEventSelectors": [{"FieldSelectors": [management(), field("readOnly", "Equals", "false")]}]}),
            "all",
        ),
        (
            json!({"AdvancedEventSelectors": [{"FieldSelectors": [management(), field("readOnly", "Equals", "true")]}]}),
            "none",
        ),
        (
            json!({"AdvancedEventSelectors": [{"FieldSelectors":
                   [management(), field("eventSource", "NotEquals", "iam.amazonaws.com")]}]}),
            "partly",
        ),
        (json!({"AdvancedEventSelectors": [{"FieldSelectors": [field("eventCategory", "Equals", "Data")]}]}), "none"),
        (json!({"EventSelectors": []}), "none"),
    ];
    for (selectors, expected) in cases {
        let answer = selectors.clone();
        let stub = Stub::answering([Reply::json(&answer)]);
        let client = stub.clients(Clients::with_config).cloudtrail_in("eu-west-1").await;
        let output = client.get_event_selectors().trail_name(ARN).send().await.unwrap();
        assert_eq!(Selectors::of(&output).management_writes().as_str(), expected, "{selectors}");
    }
}

#[tokio::test]
async fn selectors_go_back_as_they_came() {
    for selectors in [
        json!({"EventSelectors": [{
            "ReadWriteType": "WriteOnly", "IncludeManagementEvents": false,
            "DataResources": [{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3:::logs/"]}],
            "ExcludeManagementEventSources": ["kms.amazonaws.com"],
        }]}),
        json!({"AdvancedEventSelectors": [{"Name": "data", "FieldSelectors": [
            {"Field": "eventCategory", "Equals": ["Data"]},
            {"Field": "resources.ARN", "NotStartsWith": ["arn:aws:s3:::logs/"], "NotEndsWith": [".tmp"]},
        ]}]}),
    ] {
        let stub = Stub::answering([Reply::json(&selectors)]);
        let client = stub.clients(Clients::with_config).cloudtrail_in("eu-west-1").await;
        let output = client.get_event_selectors().trail_name(ARN).send().await.unwrap();
        assert_eq!(*Selectors::of(&output).as_value(), selectors);
    }
}

#[tokio::test]
async fn an_organizations_trail_that_a_member_may_not_look_at_is_asked_about_once() {
    let stub = Stub::with(|request| match operation(request) {
        "DescribeTrails" => Reply::json(&json!({"trailList": [{
            "Name": "main", "TrailARN": ARN, "HomeRegion": "eu-west-1", "IsMultiRegionTrail": true,
            "IsOrganizationTrail": true, "HasCustomEventSelectors": true,
        }]})),
        _ => Reply::error(400, "AccessDeniedException", "not yours"),
    });
    let Seen { trails, errors, .. } = trails(&stub.clients(Clients::with_config), &regions()).await;
    assert!(errors.is_empty() && trails[0].elsewhere.is_empty());
    let looks: Vec<&str> = trails[0].failed_looks().map(|(_, look)| look.action).collect();
    assert_eq!(looks, ["cloudtrail:GetTrailStatus", "cloudtrail:GetEventSelectors"]);
}
