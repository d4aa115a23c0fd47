use std::collections::BTreeSet;

use cloudvigil_core::correlate::settled;
use cloudvigil_core::finding::{Finding, Level};
use cloudvigil_lambda::tampering_calls::FORETOLD;
use serde_json::json;

use super::*;
use crate::account::{ARN, Account};

/// The time of every call here, 2026-03-01T10:00:00Z, as `CloudTrail` tells a trail's times.
const AT: i64 = 1_772_359_200;

fn call(name: &str, id: &str, changes: &Value) -> Value {
    let mut call = json!({
        "eventVersion": "1.11", "eventID": id, "eventTime": "2026-03-01T10:00:00Z",
        "eventSource": "cloudtrail.amazonaws.com", "eventName": name, "awsRegion": "eu-west-1",
        "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/mallory"},
        "requestParameters": {"name": "main", "trailName": "main", "eventSelectors": [
            {"readWriteType": "All", "includeManagementEvents": true,
                "excludeManagementEventSources": ["kms.amazonaws.com"]},
        ]},
        "managementEvent": true,
    });
    call.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    call
}

fn by_event_bridge(call: &Value) -> Value {
    json!({"source": "aws.cloudtrail", "detail-type": "AWS API Call via CloudTrail", "region": "eu-west-1", "detail": call})
}

async fn watched() -> Account {
    let account = Account::new();
    account.look().await;
    account
}

fn stop(account: &Account) {
    account.set("/status", json!({"IsLogging": false, "StartLoggingTime": 1_772_000_000, "StopLoggingTime": AT}));
}

fn leave_out_kms(account: &Account) {
    let selector = json!({"ReadWriteType": "All", "ExcludeManagementEventSources": ["kms.amazonaws.com"]});
    account.set("/selectors", json!({"EventSelectors": [selector]}));
}

/// What a log file that brings a call makes the log-analyzer tell, which settles as every function does.
async fn by_log_file(account: &Account, call: &Value) -> Vec<Finding> {
    let before = account.stage.findings.sorted();
    let bytes = call.to_string();
    let entry = Entry { key: None, time: None, bytes: bytes.as_bytes() };
    let detector = &account.stage.context.detector;
    let report = detector.pipeline().entries("s3://logs/a.json.gz", Some(&CloudTrail), std::iter::once(entry));
    detector.conclude(report, &mut Counters::default()).await.unwrap();
    let new = account.stage.findings.sorted().into_iter().filter(|message| !before.contains(message));
    new.map(|message| message.finding).collect()
}

/// The findings' titles, by the alphabet.
fn titles(findings: &[Finding]) -> Vec<&str> {
    let titles: BTreeSet<&str> = findings.iter().map(|finding| finding.title.as_str()).collect();
    titles.into_iter().collect()
}

/// A finding as it lies in the state: what it says after it was told is not told again.
async fn settled_now(account: &Account, finding: &Finding) -> Finding {
    let calls = account.stage.context.detector.state.query("trail#calls").await.unwrap();
    for (key, _) in calls {
        let mark = account.stage.context.detector.state.get(&key, SETTLED).await.unwrap().unwrap();
        let found = settled(&mark.body, &key).unwrap().unwrap();
        if found.id == finding.id {
            return found;
        }
    }
    panic!("no note leads to it: {finding:?}");
}

fn places(finding: &Finding) -> BTreeSet<&str> {
    let entries = finding.evidence.iter();
    entries.flat_map(|entry| std::iter::once(&entry.source).chain(&entry.also_in)).map(String::as_str).collect()
}

/// What is told within the next hours, poll by poll, but of regions without a trail, which is another matter.
async fn told_within(account: &Account, hours: i64) -> Vec<(i64, String)> {
    let mut told = Vec::new();
    for hour in 1..=hours {
        account.pass(1);
        let titles = account.titles().await.into_iter().filter(|title| !title.contains("no trail"));
        told.extend(titles.map(|title| (hour, title)));
    }
    told
}

#[tokio::test]
async fn a_stopped_trail_is_told_with_the_call_and_then_once_a_day() {
    let account = watched().await;
    stop(&account);
    let findings = account.handle(by_event_bridge(&call("StopLogging", "1", &json!({})))).await;
    assert_eq!(titles(&findings), ["Trail logging stopped"]);
    let [call, taken] = findings[0].evidence.as_slice() else { panic!("{:?}", findings[0].evidence) };
    assert!(call.text.contains("StopLogging"), "the call comes first: {call:?}");
    for expected in [
        "Read and write events of all services are not recorded, in all regions",
        &format!("aws cloudtrail start-logging --region eu-west-1 --name {ARN}"),
    ] {
        assert!(taken.text.contains(expected), "{expected} is missing: {taken:?}");
    }
    assert_eq!((findings[0].count, findings[0].actor.is_some()), (1, true));
    assert_eq!(told_within(&account, 23).await, []);
    let finding = settled_now(&account, &findings[0]).await;
    assert_eq!((finding.revision, finding.count), (1, 1));
    assert_eq!(places(&finding), ["EventBridge of eu-west-1", FORETOLD, "cloudtrail:GetTrailStatus"].into());
    let daily = [1, 25].map(|hour| (hour, "Trail is not logging".to_owned()));
    assert_eq!(told_within(&account, 48).await, daily, "and it is told for as long as it lasts");
}

#[tokio::test]
async fn what_a_call_takes_is_told_with_it_and_not_again() {
    let account = watched().await;
    leave_out_kms(&account);
    let findings = account.handle(by_event_bridge(&call("PutEventSelectors", "1", &json!({})))).await;
    assert_eq!(titles(&findings), ["Trail records fewer management events"]);
    let taken = &findings[0].evidence[1].text;
    assert!(taken.contains("Read and write events of KMS are no longer recorded, in all regions"), "{taken}");
    assert!(taken.contains("aws cloudtrail put-event-selectors"), "how to undo it: {taken}");

    account.set("/there", json!(false));
    let findings = account.handle(by_event_bridge(&call("DeleteTrail", "2", &json!({})))).await;
    assert_eq!(titles(&findings), ["Trail deleted"]);
    let taken = &findings[0].evidence[1].text;
    assert!(taken.contains("aws cloudtrail create-trail --region eu-west-1 --name main"), "{taken}");
    assert_eq!(told_within(&account, 3).await, []);
}

#[tokio::test]
async fn what_no_call_has_told_is_told_by_the_state() {
    let account = watched().await;
    let findings = account.handle(by_event_bridge(&call("PutEventSelectors", "1", &json!({})))).await;
    assert_eq!(titles(&findings), ["Trail records fewer management events"], "the trail does not show it yet");
    leave_out_kms(&account);
    account.set("/configuration/LogFileValidationEnabled", json!(false));
    let told = account.titles().await;
    assert_eq!(told, ["Trail records less than it did"], "more was taken than the call says");

    // It is given back, and the same is taken again, by nobody whom anything saw.
    let again = watched().await;
    leave_out_kms(&again);
    again.handle(by_event_bridge(&call("PutEventSelectors", "2", &json!({})))).await;
    again.set("/selectors", json!({"EventSelectors": [{"ReadWriteType": "All"}]}));
    assert_eq!(again.titles().await, ["Trail records more than it did"]);
    leave_out_kms(&again);
    assert_eq!(again.titles().await, ["Trail records less than it did"], "the first call is not the reason");
}

#[tokio::test]
async fn a_call_that_is_no_reason_hides_nothing() {
    for (why, changes) in [
        (
            "it was refused",
            json!({"errorCode": "AccessDenied", "requestParameters": null,
            "errorMessage": format!("not authorized to perform: cloudtrail:StopLogging on resource: {ARN} because")}),
        ),
        ("it was about another trail", json!({"requestParameters": {"name": "other"}})),
        ("it was made in another region", json!({"awsRegion": "us-east-1"})),
        ("it was made at another time", json!({"eventTime": "2026-03-01T09:50:00Z"})),
    ] {
        let account = watched().await;
        stop(&account);
        let mut told = titles(&account.handle(by_event_bridge(&call("StopLogging", "1", &changes))).await).join(", ");
        told += &account.titles().await.join(", ");
        assert!(told.contains("Trail is not logging"), "{why}: {told}");
    }
    let mut account = watched().await;
    stop(&account);
    let role = "arn:aws:iam::111122223333:role/deployment";
    account.stage.context.detector.options.deploying_roles = vec![role.to_owned()];
    let by_role = json!({"userIdentity": {"type": "AssumedRole", "sessionContext": {"sessionIssuer": {"arn": role}}}});
    let findings = account.handle(by_event_bridge(&call("StopLogging", "1", &by_role))).await;
    let levels: BTreeSet<Level> = findings.iter().map(|finding| finding.level).collect();
    assert_eq!(
        levels,
        [Level::High, Level::Critical].into(),
        "what is worse than the call is told by itself: {findings:?}"
    );
}

#[tokio::test]
async fn a_poll_that_sees_both_tells_them_together() {
    let account = watched().await;
    stop(&account);
    account.set("/history", json!([call("StopLogging", "1", &json!({}))]));
    account.pass(1);
    let (failures, findings) = account.look().await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(titles(&findings), ["Regions are recorded by no trail", "Trail logging stopped"]);
    let expected = ["CloudTrail event history of eu-west-1", "cloudtrail:GetTrailStatus"];
    let call = findings.iter().find(|finding| finding.actor.is_some()).unwrap();
    assert_eq!(places(call), expected.into());
    assert_eq!(told_within(&account, 22).await, []);
}

#[tokio::test]
async fn a_call_that_is_heard_of_later_says_who_did_it() {
    let account = watched().await;
    stop(&account);
    account.pass(1);
    let told = account.titles().await;
    assert!(told.contains(&"Trail is not logging".to_owned()), "nobody waits for the call: {told:?}");
    let findings = account.handle(by_event_bridge(&call("StopLogging", "1", &json!({})))).await;
    assert_eq!(titles(&findings), ["Trail logging stopped"]);
    let finding = settled_now(&account, &findings[0]).await;
    assert!(places(&finding).contains("cloudtrail:GetTrailStatus"), "it is related: {:?}", finding.evidence);
}

#[tokio::test]
async fn a_call_that_a_late_log_file_brings_first_is_told_with_what_it_took_and_once() {
    // More than evidence has room for.
    let agent = json!({"userAgent": "x".repeat(3000)});
    let account = watched().await;
    leave_out_kms(&account);
    let findings = by_log_file(&account, &call("PutEventSelectors", "1", &agent)).await;
    assert_eq!(titles(&findings), ["Trail records fewer management events"]);
    let taken = &findings[0].evidence[1];
    assert!(taken.text.contains("Read and write events of KMS are no longer recorded, in all regions"), "{taken:?}");
    assert_eq!(taken.source, FORETOLD);
    assert_eq!(told_within(&account, 3).await, []);
    let finding = settled_now(&account, &findings[0]).await;
    assert_eq!(places(&finding), ["s3://logs/a.json.gz", FORETOLD, "cloudtrail:DescribeTrails"].into());

    let of_member = json!({"recipientAccountId": "210987654321"});
    let findings = by_log_file(&account, &call("DeleteTrail", "2", &of_member)).await;
    assert_eq!(findings[0].evidence.len(), 1, "it was the trail of another account: {findings:?}");
    account.set("/there", json!(false));
    let time = account.stage.now().to_string();
    let findings = by_log_file(&account, &call("DeleteTrail", "3", &json!({"eventTime": time}))).await;
    assert_eq!(titles(&findings), ["Trail deleted"]);
    assert!(findings[0].evidence[1].text.contains("aws cloudtrail create-trail"), "{findings:?}");
    assert_eq!(told_within(&account, 3).await, []);
}

#[tokio::test]
async fn a_call_that_a_log_file_brings_after_the_state_says_what_that_showed() {
    let account = watched().await;
    leave_out_kms(&account);
    account.pass(1);
    assert_eq!(account.titles().await, ["Trail records less than it did"], "nobody waits for the call");
    let time = json!({"eventTime": account.stage.now().to_string()});
    let findings = by_log_file(&account, &call("PutEventSelectors", "1", &time)).await;
    assert_eq!(titles(&findings), ["Trail records fewer management events"]);
    let [_, state] = findings[0].evidence.as_slice() else { panic!("{:?}", findings[0].evidence) };
    assert_eq!(state.source, "cloudtrail:DescribeTrails");
    assert!(state.text.contains("Read and write events of KMS are no longer recorded"), "{state:?}");

    // It is the reason of what was seen, and of nothing that is seen later.
    account.set("/selectors", json!({"EventSelectors": [{"ReadWriteType": "All"}]}));
    assert_eq!(account.titles().await, ["Trail records more than it did"]);
    account.pass(1);
    leave_out_kms(&account);
    assert_eq!(account.titles().await, ["Trail records less than it did"]);
    let other = json!({"eventTime": account.stage.now().to_string(), "requestParameters": {"trailName": "other"}});
    let findings = by_log_file(&account, &call("PutInsightSelectors", "2", &other)).await;
    assert!(findings.iter().all(|finding| finding.evidence.len() == 1), "another trail's: {findings:?}");
}
