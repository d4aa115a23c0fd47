use cloudvigil_aws::trails::TrailStatus;

use super::*;
use crate::account::{ARN, Account};
use crate::stage::Stage;

fn trail(delivery_error: Option<&str>, delivered: &str) -> Trail {
    let status = TrailStatus {
        is_logging: true,
        latest_delivery_error: delivery_error.map(str::to_owned),
        latest_delivery_time: delivered.parse().ok(),
        ..TrailStatus::default()
    };
    Trail {
        arn: "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main".to_owned(),
        home_region: "eu-west-1".to_owned(),
        status: Ok(status),
        ..crate::stage::trail()
    }
}

#[test]
fn a_look_that_is_denied_is_told_but_at_a_trail_of_the_organization() {
    let denied = |action| CouldNotLook {
        failure: Failure::Denied,
        code: "AccessDenied".to_owned(),
        action,
        message: "no".to_owned(),
    };
    let now = "2026-03-01T10:00:00Z";
    let no_status = Trail { status: Err(denied("cloudtrail:GetTrailStatus")), ..trail(None, now) };
    let no_selectors = Trail { selectors: Err(denied("cloudtrail:GetEventSelectors")), ..trail(None, now) };
    let told = |trail: &Trail| unforeseen(trail).map(|(_, look)| look.action).collect::<Vec<_>>();
    assert!(told(&trail(None, now)).is_empty());
    assert_eq!(told(&no_status), ["cloudtrail:GetTrailStatus"]);
    assert_eq!(told(&no_selectors), ["cloudtrail:GetEventSelectors"]);
    assert!(told(&Trail { organization: true, ..no_selectors }).is_empty());
}

#[tokio::test]
async fn a_failure_that_comes_back_after_a_recovery_is_a_new_one() {
    let stage = Stage::at("2026-03-01T10:00:00Z");
    let mut seen = Vec::new();
    for (now, error) in [
        ("2026-03-01T10:00:00Z", Some("AccessDenied")),
        ("2026-03-01T11:00:00Z", Some("AccessDenied")),
        ("2026-03-01T12:00:00Z", None),
        ("2026-03-01T13:00:00Z", None),
        ("2026-03-01T14:00:00Z", Some("AccessDenied")),
    ] {
        stage.set(now);
        seen.push(since(&trail(error, now), &stage.context).await.unwrap().to_string());
    }
    let throttled = CouldNotLook {
        failure: Failure::Transient,
        code: "Throttling".to_owned(),
        action: "cloudtrail:GetTrailStatus",
        message: "Rate exceeded".to_owned(),
    };
    let unseen = Trail { status: Err(throttled), ..trail(None, "2026-03-01T14:00:00Z") };
    stage.set("2026-03-01T15:00:00Z");
    assert_eq!(since(&unseen, &stage.context).await.unwrap().to_string(), "2026-03-01T14:00:00Z");
    let [first, second, healthy, still, again] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((first.as_str(), second), ("2026-03-01T10:00:00Z", first));
    assert_eq!((healthy.as_str(), still), ("2026-03-01T12:00:00Z", healthy));
    assert_eq!(again, "2026-03-01T14:00:00Z");
}

#[tokio::test]
async fn a_stopped_trail_is_told_once_a_day_and_so_is_its_return() {
    let account = Account::new();
    assert!(account.titles().await.is_empty());
    account.pass(1);
    let stopped = 1_772_362_800; // 11:00
    account.set("/status", json!({"IsLogging": false, "StartLoggingTime": 1_772_000_000, "StopLoggingTime": stopped}));
    let (_, findings) = account.look().await;
    let titles: Vec<&str> = findings.iter().map(|finding| finding.title.as_str()).collect();
    assert_eq!(titles, ["Regions are recorded by no trail", "Trail is not logging"]);
    let evidence = &findings[1].evidence[0].text;
    assert!(evidence.contains("Read and write events of all services are not recorded, in all regions"), "{evidence}");
    assert!(evidence.contains(&format!("aws cloudtrail start-logging --region eu-west-1 --name {ARN}")));
    let mut told = Vec::new();
    for hour in 1..=72 {
        account.pass(1);
        told.extend(account.titles().await.into_iter().map(|title| (hour, title)));
    }
    let daily = [24, 48, 72].map(|hour| (hour, "Trail is not logging".to_owned()));
    assert_eq!(told, daily);
    account.pass(1);
    account.set("/status", json!({"IsLogging": true, "StartLoggingTime": 1_772_622_000, "StopLoggingTime": stopped}));
    let (_, findings) = account.look().await;
    assert_eq!(findings[0].title, "Trail is back");
    let evidence = &findings[0].evidence[0].text;
    assert!(
        evidence.contains("Nothing was recorded from 2026-03-01 11:00:00 UTC to 2026-03-04 11:00:00 UTC"),
        "{evidence}"
    );
    account.pass(1);
    assert!(account.titles().await.is_empty());
}

#[tokio::test]
async fn one_regions_failure_hides_no_others_findings() {
    let account = Account::new();
    account.look().await;
    account.set("/denied", json!(true));
    account.set("/configuration/LogFileValidationEnabled", json!(false));
    let (failures, findings) = account.look().await;
    assert!(failures.len() == 1 && failures[0].contains("us-east-1"), "{failures:?}");
    assert_eq!(findings[0].title, "Trail records less than it did");
    // What was not looked at is not gone, and no account is without a trail because one region did not tell its own.
    account.set("/there", json!(false));
    account.set("/denied", json!(false));
    let titles = account.titles().await;
    assert_eq!(titles, ["Account has no trail", "Trail is gone"]);
    account.pass(48);
    assert!(account.titles().await.is_empty(), "as long as nothing changes, they are told once");
}

#[tokio::test]
async fn a_region_that_cannot_deliver_is_told_and_a_quiet_one_is_not() {
    let account = Account::new();
    account.set("/elsewhere", json!({"IsLogging": true, "LatestDeliveryTime": 1_700_000_000}));
    assert!(account.titles().await.is_empty());
    account.pass(1);
    account.set("/elsewhere", json!({"IsLogging": true, "LatestDeliveryError": "AccessDenied"}));
    let (_, findings) = account.look().await;
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.title.as_str(), finding.region.as_deref()), ("Trail cannot deliver", Some("us-east-1")));
}

#[tokio::test]
async fn a_trail_that_delivers_no_more_in_a_region_is_told_once_and_so_is_its_return() {
    let account = Account::new();
    let mut told = Vec::new();
    for hour in 1..=100 {
        account.pass(1);
        let delivered = match hour {
            // Every hour, then for two days nothing.
            41..90 => 40,
            hour => hour,
        };
        let seconds = 1_772_359_200 + delivered * 3600;
        account.set("/elsewhere", json!({"IsLogging": true, "LatestDeliveryTime": seconds}));
        let seen =
            trails(&account.stage.context.detector.clients, &["eu-west-1", "us-east-1"].map(str::to_owned)).await;
        let before = account.stage.findings.sorted();
        let failures = crate::silence::check(&seen.trails, &account.stage.context, &mut Counters::default()).await;
        assert!(failures.is_empty(), "{failures:?}");
        let new = account.stage.findings.sorted().into_iter().filter(|message| !before.contains(message));
        told.extend(new.map(|message| (hour, message.finding.title, message.finding.region)));
    }
    let region = Some("us-east-1".to_owned());
    assert_eq!(
        told,
        [
            (65, "Log source fell silent".to_owned(), region.clone()),
            (90, "Log source is heard again".to_owned(), region),
        ]
    );
}

#[tokio::test]
async fn what_keeps_log_files_safe_is_compared_and_what_may_not_be_looked_at_is_told_once() {
    let account = Account::new();
    assert!(account.titles().await.is_empty());
    let lifecycle = "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>\
                     <Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>";
    account.set("/bucket/lifecycle", json!(lifecycle));
    let (failures, findings) = account.look().await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(
        findings[0].group.get("summary").and_then(Option::as_deref),
        Some("What lies in the bucket logs is deleted after 1 day instead of never")
    );
    account.set("/bucket", json!({}));
    account.pass(1);
    let titles = account.titles().await;
    assert_eq!(titles, ["Part of the inventory could not be looked at"; 3]);
    account.pass(1);
    assert!(account.titles().await.is_empty());
}

#[tokio::test]
async fn a_call_that_changes_a_trails_bucket_is_followed_by_what_it_changed() {
    let account = Account::new();
    account.look().await;
    let lifecycle = "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>\
                     <Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>";
    account.set("/bucket/lifecycle", json!(lifecycle));
    let call = |bucket: &str, id: &str| {
        json!({"source": "aws.s3", "detail-type": "AWS API Call via CloudTrail", "detail": {
            "eventVersion": "1.11", "eventID": id, "eventTime": "2026-03-01T10:00:00Z",
            "eventSource": "s3.amazonaws.com", "eventName": "PutBucketLifecycle", "awsRegion": "eu-west-1",
            "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/mallory"},
            "requestParameters": {"bucketName": bucket}, "managementEvent": true,
        }})
    };
    assert!(account.handle(call("other", "1")).await.is_empty());
    let findings = account.handle(call("logs", "2")).await;
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(
        finding.group.get("summary").and_then(Option::as_deref),
        Some("What lies in the bucket logs is deleted after 1 day instead of never")
    );
}
