use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloudvigil_stub::{Reply, Request, Stub};
use serde_json::{Value, json};

use super::*;
use crate::stage::{Stage, trail};

const NOW: &str = "2026-03-31T12:00:00Z";

/// The history of some regions, as `LookupEvents` shows it: fifty at a time, the newest first.
#[derive(Default)]
struct History {
    /// By region, the newest first.
    events: BTreeMap<String, Vec<(i64, Value)>>,
    /// Regions that deny, and after how many calls more they do.
    denying: BTreeMap<String, usize>,
    calls: usize,
}

type Shared = Arc<Mutex<History>>;

impl History {
    fn add(&mut self, region: &str, id: &str, time: Timestamp, name: &str) {
        let event = json!({
            "eventVersion": "1.11", "eventID": id, "eventTime": time.to_string(), "eventName": name,
            "eventSource": "cloudtrail.amazonaws.com", "eventType": "AwsApiCall", "awsRegion": region,
            "readOnly": !name.starts_with("Stop"), "recipientAccountId": "111122223333", "managementEvent": true,
            "sourceIPAddress": "198.51.100.7", "requestParameters": {"name": "main"}, "responseElements": null,
            "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/mallory",
                "accountId": "111122223333", "userName": "mallory"},
        });
        let events = self.events.entry(region.to_owned()).or_default();
        events.push((time.as_second(), event));
        events.sort_by_key(|(second, _)| std::cmp::Reverse(*second));
    }

    fn answer(&mut self, request: &Request) -> Reply {
        self.calls += 1;
        // Credential=<key>/<day>/<region>/cloudtrail/aws4_request
        let credential = request.headers.split_once("Credential=").map_or("", |(_, credential)| credential);
        let region = credential.split('/').nth(2).unwrap_or_default();
        if let Some(left) = self.denying.get_mut(region) {
            if *left == 0 {
                return Reply::error(400, "AccessDeniedException", "no identity-based policy allows it");
            }
            *left -= 1;
        }
        let body = request.json();
        let second = |name: &str| body[name].as_i64().unwrap();
        let attribute = &body["LookupAttributes"][0];
        let asked = |event: &Value| match attribute["AttributeKey"].as_str().unwrap() {
            "ReadOnly" => event["readOnly"] == (attribute["AttributeValue"] == "true"),
            "EventName" => event["eventName"] == attribute["AttributeValue"],
            "EventSource" => event["eventSource"] == attribute["AttributeValue"],
            "Username" => event["userIdentity"]["userName"] == attribute["AttributeValue"],
            other => panic!("{other}"),
        };
        let start: usize = body["NextToken"].as_str().map_or(0, |token| token.parse().unwrap());
        let all = self.events.get(region).into_iter().flatten();
        let times = second("StartTime")..=second("EndTime");
        let all = all.filter(|(second, event)| times.contains(second) && asked(event));
        let page: Vec<Value> = all.skip(start).take(51).map(|(second, event)| {
            json!({"EventId": event["eventID"], "EventTime": second, "CloudTrailEvent": event.to_string()})
        }).collect();
        let next = (page.len() > 50).then(|| (start + 50).to_string());
        Reply::json(&json!({"Events": page[..page.len().min(50)], "NextToken": next}))
    }
}

fn stage(history: History) -> (Stage, Shared) {
    let history = Arc::new(Mutex::new(history));
    let shared = Arc::clone(&history);
    let stub = Stub::with(move |request| shared.lock().unwrap().answer(request));
    (Stage::on(NOW, stub), history)
}

fn regions(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn swept_until(stage: &Stage, regions: &[String], deadline: Instant) -> (Vec<String>, Counters) {
    let mut counters = Counters::default();
    let failures = sweep(regions, &[trail()], deadline, &stage.context, &mut counters).await;
    (failures, counters)
}

async fn swept(stage: &Stage, regions: &[String]) -> (Vec<String>, Counters) {
    swept_until(stage, regions, Instant::now() + Duration::from_mins(1)).await
}

/// The events that there is a finding about, by id.
fn found(stage: &Stage) -> BTreeSet<String> {
    let messages = stage.findings.sorted();
    let texts = messages.iter().flat_map(|message| &message.finding.evidence).map(|evidence| &evidence.text);
    let events = texts.map(|text| serde_json::from_str::<Value>(text).unwrap());
    events.filter_map(|event| Some(event["eventID"].as_str()?.to_owned())).collect()
}

fn hours_ago(hours: i64) -> Timestamp {
    NOW.parse::<Timestamp>().unwrap() - SignedDuration::from_hours(hours)
}

#[tokio::test]
async fn the_first_sweep_sees_a_week_of_every_region_and_the_next_one_the_last_hour() {
    let names: Vec<String> = (0..17).map(|number| format!("eu-north-{number}")).collect();
    let mut history = History::default();
    for name in &names {
        for day in 0..7 {
            history.add(name, &format!("{name}/{day}"), hours_ago(1 + 24 * day), "StopLogging");
        }
        history.add(name, &format!("{name}/old"), hours_ago(24 * 8), "StopLogging");
        history.add(name, &format!("{name}/harmless"), hours_ago(3), "DescribeTrails");
    }
    let (stage, history) = stage(history);
    let (failures, _) = swept(&stage, &names).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(found(&stage).len(), 17 * 7);
    // A question about changes and one about the root user, for each slice of a day.
    assert_eq!(std::mem::take(&mut history.lock().unwrap().calls), 17 * 7 * 2);

    stage.set("2026-03-31T12:15:00Z");
    history.lock().unwrap().add("eu-north-3", "late", hours_ago(0) - SignedDuration::from_mins(50), "StopLogging");
    swept(&stage, &names).await;
    assert_eq!(found(&stage).len(), 17 * 7 + 1);
    assert_eq!(history.lock().unwrap().calls, 17 * 2);
}

#[tokio::test]
async fn however_much_there_is_every_sweep_gets_further() {
    let mut history = History::default();
    for number in 0..700 {
        let time = hours_ago(2) - SignedDuration::from_secs(number);
        history.add("us-east-1", &format!("{number}"), time, "StopLogging");
    }
    let (stage, history) = stage(history);
    let all = regions(&["us-east-1"]);
    let (mut before, mut sweeps) = (0, 0);
    loop {
        // Three pages, and then the sweep is ended by a denial.
        history.lock().unwrap().denying.insert("us-east-1".to_owned(), 3);
        let (failures, _) = swept(&stage, &all).await;
        sweeps += 1;
        if failures.is_empty() {
            break;
        }
        assert!(sweeps < 30, "after {sweeps} sweeps {before} events were found");
        let now = found(&stage).len();
        assert!(now > before || sweeps <= 6, "sweep {sweeps} found nothing beyond {before}");
        before = now;
    }
    assert_eq!(found(&stage).len(), 700);
    assert!(stage.findings.sorted().iter().all(|message| message.finding.count == 1));
}

#[tokio::test]
async fn a_sweep_without_time_leaves_the_rest_to_the_next() {
    let mut history = History::default();
    for number in 0..200 {
        history.add("us-east-1", &format!("{number}"), hours_ago(2) - SignedDuration::from_secs(number), "StopLogging");
    }
    let (mut stage, _) = stage(history);
    stage.context.lookup_interval = Duration::from_millis(20);
    let all = regions(&["us-east-1"]);
    let mut cut_short = 0;
    for _ in 0..200 {
        let (failures, counters) = swept_until(&stage, &all, Instant::now() + Duration::from_millis(50)).await;
        assert!(failures.is_empty(), "{failures:?}");
        match counters.other.get("SweepsCutShort") {
            Some(count) => cut_short += count,
            None => break,
        }
    }
    assert!(cut_short > 1);
    assert_eq!(found(&stage).len(), 200);
}

#[tokio::test]
async fn a_region_that_fails_hides_no_other() {
    let mut history = History::default();
    history.add("eu-west-1", "one", hours_ago(2), "StopLogging");
    history.add("eu-west-3", "three", hours_ago(2), "StopLogging");
    history.denying.insert("eu-west-2".to_owned(), 0);
    let (stage, _) = stage(history);
    let (failures, counters) = swept(&stage, &regions(&["eu-west-1", "eu-west-2", "eu-west-3"])).await;
    assert_eq!(found(&stage), BTreeSet::from(["one".to_owned(), "three".to_owned()]));
    let [failure] = failures.as_slice() else { panic!("{failures:?}") };
    assert!(failure.starts_with("sweep of eu-west-2") && failure.contains("AccessDenied"), "{failure}");
    assert_eq!(counters.other["SweepsFailed"], 1);
}

#[tokio::test]
async fn one_sweep_at_a_time() {
    let mut history = History::default();
    history.add("us-east-1", "one", hours_ago(2), "StopLogging");
    let (stage, history) = stage(history);
    let lease = Lease::take(SWEEP, stage.now() + SignedDuration::from_mins(10), &stage.context).await.unwrap().unwrap();
    let (failures, counters) = swept(&stage, &regions(&["us-east-1"])).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!((history.lock().unwrap().calls, counters.other["SweepsOverlapped"]), (0, 1));
    lease.release(&stage.context).await.unwrap();
    for _ in 0..2 {
        swept(&stage, &regions(&["us-east-1"])).await;
    }
    assert_eq!(found(&stage).len(), 1);
}

#[tokio::test]
async fn an_event_that_eventbridge_did_not_bring_is_a_finding_of_its_own_but_not_in_the_first_sweep() {
    let mut history = History::default();
    history.add("us-east-1", "before", hours_ago(2), "StopLogging");
    let (stage, history) = stage(history);
    let all = regions(&["us-east-1"]);
    let alone = |stage: &Stage| {
        let of_rule =
            |message: &cloudvigil_core::finding::Message| message.finding.title.contains("event history alone");
        stage
            .findings
            .sorted()
            .iter()
            .filter(|message| of_rule(message))
            .map(|message| message.finding.count)
            .sum::<u64>()
    };
    swept(&stage, &all).await;
    assert_eq!(alone(&stage), 0);
    let later = |minutes| hours_ago(0) + SignedDuration::from_mins(minutes);
    history.lock().unwrap().add("us-east-1", "absent", later(5), "StopLogging");
    history.lock().unwrap().add("us-east-1", "came", later(6), "StopLogging");
    let came = json!({"eventID": "came", "awsRegion": "us-east-1"});
    crate::delivery::note(&came, &stage.context).await.unwrap();
    for (now, expected) in [("2026-03-31T12:15:00Z", 0), ("2026-03-31T12:45:00Z", 1), ("2026-03-31T13:00:00Z", 1)] {
        stage.set(now);
        let (failures, _) = swept(&stage, &all).await;
        assert!(failures.is_empty(), "{failures:?}");
        assert_eq!(alone(&stage), expected, "{now}");
    }
    assert!(found(&stage).is_superset(&BTreeSet::from(["absent".to_owned(), "came".to_owned()])));
}
