use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use cloudvigil_aws::Clients;
use cloudvigil_core::ports::{Chunks, Clock, Failure, Item, Object, ObjectStore, PortResult, StateStore, SystemClock};
use cloudvigil_core::silence::{Ears, listen};
use cloudvigil_lambda::Detector;
use cloudvigil_local::{Collected, EmbeddedState};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::SignedDuration;

use super::*;

const INJECTION: &str = r#"203.0.113.9 - - [01/Mar/2026:10:00:00 +0000] "GET /items?id=1%27%20UNION%20SELECT%20password%20FROM%20users-- HTTP/1.1" 200 512 "-" "curl/8.0""#;

/// Objects in memory; a key that is not there is not found.
#[derive(Default)]
struct Objects(HashMap<&'static str, Vec<u8>>);

struct Once(Option<Bytes>);

#[async_trait]
impl Chunks for Once {
    async fn next(&mut self) -> PortResult<Option<Bytes>> {
        Ok(self.0.take())
    }
}

#[async_trait]
impl ObjectStore for Objects {
    async fn list(&self, _: &str) -> PortResult<(Vec<ObjectId>, Vec<PortError>)> {
        Ok((Vec::new(), Vec::new()))
    }

    async fn open(&self, id: &ObjectId) -> PortResult<Object> {
        let bytes = self.0.get(id.key.as_str());
        let bytes = bytes.ok_or_else(|| PortError::new(Failure::NotFound, &id.source, "no such key"))?.clone();
        let content = Box::new(Once(Some(Bytes::from(bytes))));
        Ok(Object { version: "1".to_owned(), modified: None, size: None, metadata: BTreeMap::new(), content })
    }
}

struct Stage {
    context: Context,
    findings: Arc<Collected>,
}

fn stage(objects: &[(&'static str, Vec<u8>)]) -> Stage {
    stage_on(Arc::new(EmbeddedState::in_memory(Arc::new(SystemClock)).unwrap()), objects)
}

fn stage_on(state: Arc<dyn StateStore>, objects: &[(&'static str, Vec<u8>)]) -> Stage {
    let findings = Arc::new(Collected::new());
    let mut detector = Detector::new(Arc::new(Clients::new()), state, findings.clone(), Arc::new(SystemClock));
    detector.options.max_bytes = Some(1024 * 1024);
    let context = Context {
        detector,
        objects: Arc::new(Objects(objects.iter().cloned().collect())),
        own_log_groups: vec!["/cloudvigil/test/notifier".to_owned()],
        own_prefixes: vec!["logs/cloudvigil/".to_owned()],
        refused: crate::refused::Refused::default(),
        ears: Ears::default(),
    };
    Stage { context, findings }
}

/// A state that is throttled: so many calls about contributions and findings fail before it answers.
struct Throttled {
    state: EmbeddedState,
    writes: AtomicUsize,
    reads: AtomicUsize,
}

impl Throttled {
    fn answers(left: &AtomicUsize, partition: &str) -> PortResult<()> {
        if !partition.starts_with("c#") {
            return Ok(());
        }
        match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Err(PortError::new(Failure::Transient, "ask the state", "ThrottlingException: slow down")),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl StateStore for Throttled {
    async fn get(&self, partition: &str, sort: &str) -> PortResult<Option<Item>> {
        Self::answers(&self.reads, partition)?;
        self.state.get(partition, sort).await
    }

    async fn query(&self, partition: &str) -> PortResult<Vec<(String, Item)>> {
        Self::answers(&self.reads, partition)?;
        self.state.query(partition).await
    }

    async fn put(&self, partition: &str, sort: &str, body: Vec<u8>, expires: Timestamp) -> PortResult<()> {
        Self::answers(&self.writes, partition)?;
        self.state.put(partition, sort, body, expires).await
    }

    async fn put_if(
        &self,
        partition: &str,
        sort: &str,
        body: Vec<u8>,
        expires: Timestamp,
        expected: Option<u64>,
    ) -> PortResult<bool> {
        self.state.put_if(partition, sort, body, expires, expected).await
    }

    async fn delete(&self, partition: &str, sort: &str) -> PortResult<()> {
        self.state.delete(partition, sort).await
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn batch(keys: &[&str]) -> Value {
    let message = |key: &&str| {
        let body = json!({"source": "aws.s3", "detail-type": "Object Created",
            "detail": {"bucket": {"name": "logs"}, "object": {"key": key}}});
        json!({"messageId": key, "eventSource": "aws:sqs", "body": body.to_string()})
    };
    json!({"Records": keys.iter().map(message).collect::<Vec<_>>()})
}

fn delivery(log_group: &str, lines: &[&str]) -> Value {
    let events: Vec<_> = lines
        .iter()
        .enumerate()
        .map(|(number, line)| json!({"id": format!("{number}"), "timestamp": 1_772_359_200_000_i64, "message": line}))
        .collect();
    let data = json!({"messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": log_group,
        "logStream": "host-1", "subscriptionFilters": ["all"], "logEvents": events});
    json!({"awslogs": {"data": BASE64_STANDARD.encode(gzip(&data.to_string()))}})
}

fn failed(response: &Value) -> Vec<&str> {
    response["batchItemFailures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["itemIdentifier"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_damaged_object_fails_alone_and_what_was_found_in_it_is_kept() {
    let long = format!("{INJECTION}\n").repeat(50);
    let cut = gzip(&long);
    let cut = cut[..cut.len() - 9].to_vec();
    let stage = stage(&[("good.gz", gzip(INJECTION)), ("cut.gz", cut), ("folder/", Vec::new())]);
    let event = batch(&["cut.gz", "good.gz", "absent.gz", "folder/"]);
    let response = handle(event, &stage.context).await.unwrap();
    assert_eq!(failed(&response), ["cut.gz", "absent.gz"]);
    let findings = stage.findings.sorted();
    let injection = findings.iter().find(|message| message.finding.title.contains("SQL injection")).unwrap();
    assert!(injection.finding.count > 1, "the damaged object's records count too");
}

#[tokio::test]
async fn the_same_batch_again_publishes_nothing_new() {
    let stage = stage(&[("good.gz", gzip(INJECTION))]);
    handle(batch(&["good.gz"]), &stage.context).await.unwrap();
    let first = stage.findings.sorted();
    assert!(!first.is_empty());
    handle(batch(&["good.gz", "good.gz"]), &stage.context).await.unwrap();
    assert_eq!(stage.findings.sorted(), first);
}

#[tokio::test]
async fn what_the_state_did_not_take_comes_again_and_is_found_then() {
    let calm = stage(&[("good.gz", gzip(INJECTION))]);
    handle(batch(&["good.gz"]), &calm.context).await.unwrap();
    for (writes, reads) in [(1, 0), (0, 1)] {
        let state = EmbeddedState::in_memory(Arc::new(SystemClock)).unwrap();
        let state = Throttled { state, writes: AtomicUsize::new(writes), reads: AtomicUsize::new(reads) };
        let slow = stage_on(Arc::new(state), &[("good.gz", gzip(INJECTION))]);
        let response = handle(batch(&["good.gz"]), &slow.context).await.unwrap();
        assert_eq!(failed(&response), ["good.gz"], "it goes back to the queue");
        let response = handle(batch(&["good.gz"]), &slow.context).await.unwrap();
        assert_eq!(failed(&response), [""; 0]);
        let ids = |stage: &Stage| stage.findings.sorted().into_iter().map(|found| found.finding.id).collect::<Vec<_>>();
        assert_eq!(ids(&slow), ids(&calm));
    }
}

#[tokio::test]
async fn a_message_that_is_no_s3_event_fails_and_the_test_message_does_not() {
    let stage = stage(&[]);
    let event = json!({"Records": [
        {"messageId": "1", "body": "hello"},
        {"messageId": "2", "body": "{\"Event\":\"s3:TestEvent\"}"},
        {"messageId": "3"},
    ]});
    assert_eq!(failed(&handle(event, &stage.context).await.unwrap()), ["1", "3"]);
}

#[tokio::test]
async fn a_record_that_names_no_object_costs_its_message_and_no_object_beside_it() {
    let stage = stage(&[("good.gz", gzip(INJECTION))]);
    let named = |key: &str| json!({"s3": {"bucket": {"name": "logs"}, "object": {"key": key}}});
    let nameless = json!({"s3": {"bucket": {"name": "logs"}, "object": {"key": 7}}});
    let body = json!({"Records": [nameless, null, named("good.gz"), named("%ff")]});
    let event = json!({"Records": [{"messageId": "odd", "body": body.to_string()}]});
    assert_eq!(failed(&handle(event, &stage.context).await.unwrap()), ["odd"]);
    assert!(!stage.findings.sorted().is_empty(), "the good object was analysed");
}

#[tokio::test]
async fn its_own_output_is_no_source() {
    let stage = stage(&[("cloudvigil/out.gz", gzip(INJECTION))]);
    let response = handle(batch(&["cloudvigil/out.gz"]), &stage.context).await.unwrap();
    assert!(failed(&response).is_empty());
    handle(delivery("/cloudvigil/test/notifier", &[INJECTION]), &stage.context).await.unwrap();
    assert!(stage.findings.sorted().is_empty());
}

#[tokio::test]
async fn log_events_of_a_subscription_are_counted_by_their_ids() {
    let stage = stage(&[]);
    let line = |second: u32| {
        format!(
            "2026-03-01T10:00:{second:02}+00:00 host-1 sshd[7]: Failed password for root from 203.0.113.9 port 4711 ssh2"
        )
    };
    let lines: Vec<String> = (0..6).map(line).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let event = delivery("/servers/auth", &lines);
    handle(event.clone(), &stage.context).await.unwrap();
    handle(event, &stage.context).await.unwrap();
    let findings = stage.findings.sorted();
    let brute_force: Vec<_> = findings.iter().filter(|message| message.finding.count == 6).collect();
    assert_eq!(brute_force.len(), 1);
    assert_eq!(brute_force[0].finding.revision, 1);
}

#[tokio::test]
async fn an_event_of_another_kind_is_an_error_that_says_what_was_expected() {
    let stage = stage(&[]);
    let data = |bytes: &[u8]| json!({"awslogs": {"data": BASE64_STANDARD.encode(bytes)}});
    let cut = gzip(&"{\"messageType\":\"DATA_MESSAGE\"".repeat(9));
    let events = [
        json!({}),
        json!(7),
        json!({"Records": 7}),
        json!({"Records": [null]}),
        json!({"awslogs": null}),
        json!({"awslogs": {"data": "!"}}),
        data(b"no gzip"),
        data(&cut[..cut.len() - 9]),
        data(&gzip("no JSON")),
        data(&gzip("{\"messageType\":7}")),
    ];
    for event in events {
        let error = handle(event, &stage.context).await.unwrap_err().to_string();
        assert!(error.contains("`awslogs`"), "{error}");
    }
}

/// A clock that a test moves.
struct Moved(Mutex<Timestamp>);

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

#[tokio::test]
async fn a_log_group_and_a_prefix_that_bring_nothing_any_more_are_missed() {
    let clock = Arc::new(Moved(Mutex::new("2026-03-01T10:00:00Z".parse().unwrap())));
    let store = Arc::new(EmbeddedState::in_memory(clock.clone()).unwrap());
    let mut stage = stage(&[("web/2026/03/01/a.gz", gzip(INJECTION)), ("web/2026/03/02/b.gz", gzip(INJECTION))]);
    let findings = Arc::clone(&stage.findings);
    stage.context.detector =
        Detector::new(Arc::new(Clients::new()), store.clone(), findings, Arc::clone(&clock) as Arc<dyn Clock>);
    for minute in 0..30 * 60 {
        // Every minute for thirty hours, the events of a moment ago; a prefix of which each day has its own folder.
        *clock.0.lock().unwrap() += SignedDuration::from_mins(1);
        if minute % 10 == 0 {
            let mut event = delivery("/servers/auth", &["hello"]);
            let data = json!({"messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": "/servers/auth",
                "logStream": "host-1", "subscriptionFilters": ["all"], "logEvents":
                [{"id": minute.to_string(), "timestamp": clock.now().as_millisecond() - 2000, "message": "hello"}]});
            event["awslogs"]["data"] = json!(BASE64_STANDARD.encode(gzip(&data.to_string())));
            handle(event, &stage.context).await.unwrap();
            let key = if minute < 900 { "web/2026/03/01/a.gz" } else { "web/2026/03/02/b.gz" };
            handle(batch(&[key]), &stage.context).await.unwrap();
        }
    }
    let floor = SignedDuration::from_hours(2);
    let news = async || listen(store.as_ref(), floor, clock.now()).await.unwrap();
    assert_eq!((news().await.sources, news().await.lines.len()), (2, 0));
    *clock.0.lock().unwrap() += SignedDuration::from_hours(3);
    let silent = news().await;
    let names: Vec<_> = silent.lines.iter().map(|line| (&line["type"], &line["resource"], &line["source"])).collect();
    let kind = json!("source_silent");
    assert_eq!(
        names,
        [
            (&kind, &json!("/servers/auth"), &json!("log_group")),
            (&kind, &json!("s3://logs/web"), &json!("bucket_prefix")),
        ]
    );
    assert_eq!((&silent.lines[0]["usual_gap"], &silent.lines[0]["account"]), (&json!("10m"), &json!("123456789012")));
}
