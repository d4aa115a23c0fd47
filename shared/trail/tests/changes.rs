//! What became of a trail is told in words, with what to run, and once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic, also outside of its #[test] function")]

use std::sync::Arc;

use cloudvigil_core::ports::{StateStore, SystemClock};
use cloudvigil_local::EmbeddedState;
use cloudvigil_trail::changes::{Change, Kind, changes, explain_stopped};
use cloudvigil_trail::snapshots::compare;
use cloudvigil_trail::state::TrailState;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

const ARN: &str = "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main";

fn line() -> Value {
    json!({
        "schema": 1, "service": "cloudtrail", "type": "trail", "resource": ARN, "account": "111122223333",
        "region": "eu-west-1", "since": null, "name": "main", "home_region": "eu-west-1", "multi_region": true,
        "organization": false, "global_services": true, "insights": false, "management_writes": "all",
        "selectors": {"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": true,
            "DataResources": [], "ExcludeManagementEventSources": []}]},
        "log_file_validation": true, "kms_encrypted": false, "kms_key": null, "s3_bucket": "logs", "s3_prefix": null,
        "log_group": null, "log_role": null, "sns_topic": null, "is_logging": true,
        "latest_delivery_time": "2026-03-01T09:55:00Z", "started": "2026-01-01T00:00:00Z", "stopped": null,
        "could_not_look": null,
    })
}

fn with(changes: &[(&str, Value)]) -> TrailState {
    let mut line = line();
    for (name, value) in changes {
        line[name] = value.clone();
    }
    TrailState::of_line(&line).unwrap()
}

fn at(hour: i64) -> Timestamp {
    "2026-03-01T10:00:00Z".parse::<Timestamp>().unwrap() + hour.hours()
}

/// What is lost from one to the other, and the commands.
fn lost(before: &TrailState, after: &TrailState) -> (Vec<String>, Vec<String>) {
    match changes(before, after, at(0)).as_slice() {
        [] => (Vec::new(), Vec::new()),
        [change] => (change.lost.clone(), change.undo.clone()),
        several => panic!("{several:?}"),
    }
}

fn selectors(selectors: Value) -> TrailState {
    with(&[("selectors", selectors)])
}

fn basic(excluded: &[&str], access: &str, data: &Value) -> TrailState {
    selectors(json!({"EventSelectors": [{"ReadWriteType": access, "IncludeManagementEvents": true,
        "DataResources": data, "ExcludeManagementEventSources": excluded}]}))
}

#[test]
fn each_setting_that_is_taken_away_is_told_with_its_command() {
    let on = with(&[
        ("organization", json!(true)),
        ("insights", json!(true)),
        ("log_group", json!("arn:aws:logs:eu-west-1:111122223333:log-group:trail:*")),
        ("log_role", json!("arn:aws:iam::111122223333:role/to-logs")),
        ("sns_topic", json!("arn:aws:sns:eu-west-1:111122223333:deliveries")),
        ("kms_key", json!("arn:aws:kms:eu-west-1:111122223333:key/k")),
        ("s3_prefix", json!("a b")),
    ]);
    let less = |name: &str, value: Value| {
        let mut line = serde_json::to_value(&on).unwrap();
        line[name] = value;
        line["type"] = json!("trail");
        lost(&on, &TrailState::of_line(&line).unwrap())
    };
    let update = |option: &str| format!("aws cloudtrail update-trail --region eu-west-1 --name {ARN} {option}");
    for (name, value, sentence, option) in [
        (
            "multi_region",
            json!(false),
            "Events of all regions but eu-west-1 are no longer recorded",
            "--is-multi-region-trail",
        ),
        (
            "organization",
            json!(false),
            "Events of the organization's other accounts are no longer recorded",
            "--is-organization-trail",
        ),
        (
            "global_services",
            json!(false),
            "Events of global services (IAM, STS, CloudFront) are no longer recorded",
            "--include-global-service-events",
        ),
        (
            "log_file_validation",
            json!(false),
            "Log files are no longer validated: if somebody changes or removes one, nothing shows it",
            "--enable-log-file-validation",
        ),
        (
            "log_group",
            Value::Null,
            "Events are no longer delivered to the log group arn:aws:logs:eu-west-1:111122223333:log-group:trail:*",
            "--cloud-watch-logs-log-group-arn 'arn:aws:logs:eu-west-1:111122223333:log-group:trail:*'",
        ),
        (
            "sns_topic",
            Value::Null,
            "Deliveries are no longer announced to the topic arn:aws:sns:eu-west-1:111122223333:deliveries",
            "--sns-topic-name arn:aws:sns:eu-west-1:111122223333:deliveries",
        ),
        (
            "kms_key",
            Value::Null,
            "Log files are no longer encrypted with the key arn:aws:kms:eu-west-1:111122223333:key/k",
            "--kms-key-id arn:aws:kms:eu-west-1:111122223333:key/k",
        ),
        (
            "kms_key",
            json!("arn:aws:kms:eu-west-1:444455556666:key/theirs"),
            "Log files are encrypted with the key arn:aws:kms:eu-west-1:444455556666:key/theirs instead of \
             arn:aws:kms:eu-west-1:111122223333:key/k",
            "--kms-key-id arn:aws:kms:eu-west-1:111122223333:key/k",
        ),
        ("s3_bucket", json!("theirs"), "Log files go to the bucket theirs instead of logs", "--s3-bucket-name logs"),
        ("s3_prefix", Value::Null, "Log files lie under no prefix instead of the prefix a b", "--s3-key-prefix 'a b'"),
    ] {
        assert_eq!(less(name, value), (vec![sentence.to_owned()], vec![update(option)]), "{name}");
    }
    let (insights, undo) = less("insights", json!(false));
    assert_eq!(insights, ["Insights events are no longer recorded, in all regions"]);
    assert!(undo[0].starts_with("aws cloudtrail put-insight-selectors --region eu-west-1 --trail-name arn:"));
}

#[test]
fn what_selectors_leave_out_is_told_service_by_service() {
    let all = basic(&[], "All", &json!([]));
    let no_kms = basic(&["kms.amazonaws.com"], "All", &json!([]));
    let (sentences, undo) = lost(&all, &no_kms);
    assert_eq!(sentences, ["Read and write events of KMS are no longer recorded, in all regions"]);
    assert_eq!(
        undo,
        [format!(
            "aws cloudtrail put-event-selectors --region eu-west-1 --trail-name {ARN} --event-selectors \
             '[{{\"DataResources\":[],\"ExcludeManagementEventSources\":[],\"IncludeManagementEvents\":true,\
             \"ReadWriteType\":\"All\"}}]'"
        )]
    );
    let both = basic(&["kms.amazonaws.com", "rdsdata.amazonaws.com"], "All", &json!([]));
    assert_eq!(
        lost(&all, &both).0,
        ["Read and write events of KMS and the RDS Data API are no longer recorded, in all regions"]
    );
    assert_eq!(
        lost(&no_kms, &both).0,
        ["Read and write events of the RDS Data API are no longer recorded, in all regions"]
    );
    let reads = basic(&[], "ReadOnly", &json!([]));
    assert_eq!(lost(&all, &reads).0, ["Write events of all services are no longer recorded, in all regions"]);
    // Half of it for each kind of call.
    let reads_but_kms = selectors(json!({"AdvancedEventSelectors": [
        {"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}, {"Field": "readOnly", "Equals": ["true"]}]},
        {"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}, {"Field": "readOnly", "Equals": ["false"]},
            {"Field": "eventSource", "NotEquals": ["kms.amazonaws.com"]}]},
    ]}));
    let (sentences, undo) = lost(&all, &reads_but_kms);
    assert_eq!(sentences, ["Write events of KMS are no longer recorded, in all regions"]);
    assert!(undo[0].contains("--event-selectors"));
    assert!(lost(&reads_but_kms, &reads).1[0].contains("--advanced-event-selectors '[{\"FieldSelectors\":"));
    let iam_alone = selectors(json!({"AdvancedEventSelectors": [{"FieldSelectors": [
        {"Field": "eventCategory", "Equals": ["Management"]}, {"Field": "eventSource", "Equals": ["iam.amazonaws.com"]},
    ]}]}));
    assert_eq!(
        lost(&all, &iam_alone).0,
        ["Read and write events of all services but iam.amazonaws.com are no longer recorded, in all regions"]
    );
    let home = with(&[("multi_region", json!(false))]);
    let mut home_reads = home.clone();
    home_reads.selectors = reads.selectors;
    assert_eq!(lost(&home, &home_reads).0, ["Write events of all services are no longer recorded, in eu-west-1"]);
    let nothing = selectors(json!({"EventSelectors": []}));
    assert_eq!(
        lost(&all, &nothing).0,
        ["Read and write events of all services are no longer recorded, in all regions"]
    );
}

#[test]
fn data_events_that_are_dropped_are_told_with_their_resources() {
    let objects = |values: &[&str]| json!([{"Type": "AWS::S3::Object", "Values": values}]);
    let all = basic(&[], "All", &objects(&["arn:aws:s3:::"]));
    let two = basic(&[], "All", &objects(&["arn:aws:s3:::pay/", "arn:aws:s3:::logs/"]));
    let one = basic(&[], "All", &objects(&["arn:aws:s3:::logs/"]));
    let none = basic(&[], "All", &json!([]));
    assert_eq!(lost(&all, &none).0, ["Data events of S3 objects are no longer recorded, in all regions"]);
    assert_eq!(
        lost(&two, &one).0,
        [
            "Data events of S3 objects where resources.ARN starts with arn:aws:s3:::pay/ are no longer recorded, in all regions"
        ]
    );
    assert_eq!(
        lost(&all, &one).0,
        [
            "Data events of S3 objects other than where resources.ARN starts with arn:aws:s3:::logs/ are no longer recorded, in all regions"
        ]
    );
    // The same in the other kind of selectors, or more of it, is no loss.
    let advanced = selectors(json!({"AdvancedEventSelectors": [
        {"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}]},
        {"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Data"]},
            {"Field": "resources.type", "Equals": ["AWS::S3::Object"]},
            {"Field": "resources.ARN", "StartsWith": ["arn:aws:s3:::logs/", "arn:aws:s3:::p"]}]},
    ]}));
    assert!(lost(&two, &advanced).0.is_empty());
    assert!(lost(&one, &all).0.is_empty());
    let writes = basic(&[], "WriteOnly", &objects(&["arn:aws:s3:::"]));
    assert!(
        lost(&all, &writes)
            .0
            .contains(&"Read data events of S3 objects are no longer recorded, in all regions".to_owned())
    );
}

#[test]
fn what_comes_back_is_a_gain() {
    let less = with(&[("multi_region", json!(false)), ("log_file_validation", json!(false))]);
    let found = changes(&less, &with(&[]), at(0));
    let [change] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((change.change, change.undo.len()), (Kind::CoverageGained, 0));
    assert_eq!(change.summary, "Events of all regions but eu-west-1 are recorded now; Log files are validated now");
}

#[test]
fn a_stop_between_two_looks_is_an_interruption() {
    let before = with(&[]);
    let after = with(&[("stopped", json!("2026-03-01T09:00:00Z")), ("started", json!("2026-03-01T09:10:00Z"))]);
    let found = changes(&before, &after, at(0));
    let [change] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(change.change, Kind::Interrupted);
    assert_eq!(change.lost, ["Nothing was recorded from 2026-03-01 09:00:00 UTC to 2026-03-01 09:10:00 UTC"]);
    assert!(changes(&after, &after, at(1)).is_empty());
    // It was told when it logged again.
    let stopped = with(&[("is_logging", json!(false)), ("stopped", json!("2026-03-01T09:00:00Z"))]);
    assert!(changes(&before, &stopped, at(0)).is_empty(), "the state itself tells of a trail that is off");
    let found = changes(&stopped, &after, at(0));
    let [change] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((change.change, change.gained[0].as_str()), (Kind::Returned, "The trail main logs again"));
}

#[test]
fn a_trail_that_is_off_says_what_nobody_records() {
    let mut line = line();
    explain_stopped(&mut line);
    assert!(line.get("lost").is_none());
    line["is_logging"] = json!(false);
    explain_stopped(&mut line);
    assert_eq!(line["lost"], json!(["Read and write events of all services are not recorded, in all regions"]));
    assert_eq!(line["undo"], json!([format!("aws cloudtrail start-logging --region eu-west-1 --name {ARN}")]));
}

#[test]
fn the_line_keeps_what_a_reader_needs_when_it_is_cut() {
    let data = |count: usize| {
        let values: Vec<String> = (0..count).map(|number| format!("arn:aws:s3:::bucket-{number}/")).collect();
        basic(&[], "All", &json!([{"Type": "AWS::S3::Object", "Values": values}]))
    };
    let found = changes(&data(200), &basic(&["kms.amazonaws.com"], "All", &json!([])), at(0));
    let line = found[0].to_line();
    assert!(line.starts_with(r#"{"schema":1,"service":"cloudtrail","type":"trail_change","resource":"#), "{line}");
    assert!(line[..1000].contains("Read and write events of KMS are no longer recorded, in all regions"));
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["lost"].as_array().unwrap().len(), 201);
}

struct Looks {
    state: EmbeddedState,
    hour: i64,
}

impl Looks {
    fn new() -> Self {
        Self { state: EmbeddedState::in_memory(Arc::new(SystemClock)).unwrap(), hour: 0 }
    }

    /// A look an hour after the last one.
    async fn look(&mut self, seen: &[TrailState], regions: &[&str]) -> Vec<Change> {
        self.hour += 1;
        let regions: Vec<String> = regions.iter().map(|region| (*region).to_owned()).collect();
        // Far from now, so that nothing expires.
        let now = Timestamp::MAX - 10_000.hours() + self.hour.hours();
        let compared = compare(seen, &regions, &self.state, now).await.unwrap();
        assert!(compared.errors.is_empty());
        let again = compare(seen, &regions, &self.state, now).await.unwrap();
        assert_eq!(again.changes, compared.changes, "until it is committed, it is found again");
        compared.commit(&self.state).await.unwrap();
        let after = compare(seen, &regions, &self.state, now).await.unwrap();
        assert!(after.changes.is_empty(), "{:?}", after.changes);
        compared.changes
    }
}

fn kinds(changes: &[Change]) -> Vec<Kind> {
    changes.iter().map(|change| change.change).collect()
}

#[tokio::test]
async fn a_trail_is_gone_only_if_its_home_region_was_asked() {
    let mut looks = Looks::new();
    let trail = with(&[]);
    assert!(looks.look(std::slice::from_ref(&trail), &["eu-west-1"]).await.is_empty(), "nothing is known before");
    assert!(looks.look(&[], &["us-east-1"]).await.is_empty());
    let gone = looks.look(&[], &["eu-west-1", "us-east-1"]).await;
    assert_eq!(kinds(&gone), [Kind::Gone]);
    assert_eq!(
        gone[0].lost,
        ["The trail main is gone", "Read and write events of all services are not recorded, in all regions"]
    );
    assert_eq!(
        gone[0].undo,
        [
            "aws cloudtrail create-trail --region eu-west-1 --name main --s3-bucket-name logs --is-multi-region-trail \
             --enable-log-file-validation"
                .to_owned(),
            format!("aws cloudtrail start-logging --region eu-west-1 --name {ARN}"),
        ]
    );
    assert!(looks.look(&[], &["eu-west-1"]).await.is_empty(), "once");
    let weaker = with(&[("multi_region", json!(false))]);
    let back = looks.look(&[weaker], &["eu-west-1"]).await;
    assert_eq!(kinds(&back), [Kind::Returned, Kind::CoverageLost]);
}

#[tokio::test]
async fn what_cannot_be_looked_at_for_once_is_as_it_was() {
    let mut looks = Looks::new();
    looks.look(&[basic(&["kms.amazonaws.com"], "All", &json!([]))], &[]).await;
    let blind = with(&[("selectors", Value::Null), ("is_logging", Value::Null), ("started", Value::Null)]);
    assert!(looks.look(&[blind], &[]).await.is_empty());
    assert!(looks.look(&[basic(&["kms.amazonaws.com"], "All", &json!([]))], &[]).await.is_empty());
    let change = looks.look(&[basic(&[], "ReadOnly", &json!([]))], &[]).await;
    assert_eq!(change[0].lost, ["Write events of all services but KMS are no longer recorded, in all regions"]);
    assert_eq!(change[0].gained, ["Read events of KMS are recorded now, in all regions"]);
}

#[tokio::test]
async fn an_unreadable_snapshot_is_told_and_replaced() {
    let state = EmbeddedState::in_memory(Arc::new(SystemClock)).unwrap();
    let now = Timestamp::MAX - 10.hours();
    for body in ["", "{}", r#"{"schema":2}"#] {
        state.put("trail#snapshot", ARN, body.as_bytes().to_vec(), Timestamp::MAX).await.unwrap();
        let compared = compare(&[with(&[])], &[], &state, now).await.unwrap();
        assert_eq!((compared.errors.len(), compared.changes.len()), (1, 0), "{body}");
        compared.commit(&state).await.unwrap();
        assert!(compare(&[with(&[])], &[], &state, now).await.unwrap().errors.is_empty());
    }
}

#[test]
fn what_keeps_the_log_files_safe_in_their_bucket_is_compared_too() {
    let policy = |effect: &str| {
        json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": "s3:PutObject",
                "Resource": "arn:aws:s3:::logs/AWSLogs/*"},
            {"Effect": effect, "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::logs/*"},
        ]})
    };
    let bucket = |bucket: &Value| with(&[("bucket", bucket.clone())]);
    let safe =
        json!({"policy": policy("Allow").to_string(), "expires_after_days": null, "public_access_blocked": true});
    let before = bucket(&safe);
    let with_one = |name: &str, value: Value| {
        let mut changed = safe.clone();
        changed[name] = value;
        lost(&before, &bucket(&changed))
    };
    let (sentences, undo) = with_one("policy", json!(policy("Deny").to_string()));
    assert_eq!(sentences, ["The policy of the bucket logs no longer lets CloudTrail write"]);
    assert!(undo[0].starts_with("aws s3api put-bucket-policy --bucket logs --policy '{\"Statement\""), "{undo:?}");
    let pretty = serde_json::to_string_pretty(&policy("Allow")).unwrap();
    assert!(with_one("policy", json!(pretty)).0.is_empty(), "written anew, it says the same");
    assert_eq!(
        with_one("expires_after_days", json!(1)),
        (
            vec!["What lies in the bucket logs is deleted after 1 day instead of never".to_owned()],
            vec!["aws s3api delete-bucket-lifecycle --bucket logs".to_owned()],
        )
    );
    let (sentences, undo) = with_one("public_access_blocked", json!(false));
    assert_eq!(sentences, ["Public access to the bucket logs is no longer blocked"]);
    assert!(undo[0].contains("--public-access-block-configuration BlockPublicAcls=true,"));
    let gone = bucket(&json!({"gone": true}));
    let (sentences, undo) = lost(&before, &gone);
    assert_eq!(sentences, ["The bucket logs is gone, and with it what was delivered"]);
    assert_eq!(undo.len(), 2);
    let open = bucket(&json!({"policy": null, "expires_after_days": 1, "public_access_blocked": false}));
    let back = changes(&open, &before, at(0));
    assert_eq!((back.len(), back[0].change, back[0].gained.len()), (1, Kind::CoverageGained, 3));
}

#[tokio::test]
async fn a_bucket_that_may_not_be_looked_at_is_as_it_was() {
    let mut looks = Looks::new();
    let bucket = |bucket: Value| with(&[("bucket", bucket)]);
    looks.look(&[bucket(json!({"expires_after_days": 400, "public_access_blocked": true}))], &[]).await;
    assert!(looks.look(&[with(&[])], &[]).await.is_empty());
    assert!(looks.look(&[bucket(json!({"policy": null}))], &[]).await.is_empty(), "a first look at something");
    let change = looks.look(&[bucket(json!({"expires_after_days": 30, "policy": null}))], &[]).await;
    assert_eq!(change[0].lost, ["What lies in the bucket logs is deleted after 30 days instead of after 400 days"]);
    let elsewhere = with(&[("s3_bucket", json!("other")), ("bucket", json!({"public_access_blocked": false}))]);
    let change = looks.look(&[elsewhere], &[]).await;
    assert_eq!(change[0].lost, ["Log files go to the bucket other instead of logs"]);
}
