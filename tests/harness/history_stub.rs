//! A CloudTrail that a story writes: its event history pages by fifty, the newest first, and throttles now and then,
//! which the emulator's does not.
//!
//! It answers `LookupEvents`, `DescribeTrails`, `GetTrailStatus` and `GetEventSelectors` in
//! `application/x-amz-json-1.1`; see <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/>.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::emulator::{ACCOUNT, REGION};

/// The most events of a page, as on AWS.
const PAGE: usize = 50;
/// Every so many calls of `LookupEvents`, one is throttled.
const THROTTLE_EVERY: usize = 5;

/// What was asked so far.
#[derive(Debug, Default, Clone)]
pub struct Asked {
    /// Calls of `LookupEvents`, throttled ones included.
    pub lookups: usize,
    /// Those that were throttled.
    pub throttled: usize,
    /// Those that asked for a further page.
    pub further_pages: usize,
}

/// The server. It ends when it is dropped.
pub struct HistoryStub {
    address: SocketAddr,
    state: Arc<State>,
    server: Option<JoinHandle<()>>,
}

struct State {
    /// CloudTrail events, the newest first, and each one's time in seconds.
    events: Vec<(i64, Value)>,
    asked: Mutex<Asked>,
    ended: AtomicBool,
}

impl HistoryStub {
    /// Serves the history of the stack's region, given as CloudTrail events with the seconds of their `eventTime`;
    /// every other region's is empty.
    pub fn start(mut events: Vec<(i64, Value)>) -> Result<Self> {
        events.sort_by_key(|(seconds, _)| std::cmp::Reverse(*seconds));
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
        let address = listener.local_addr().context("find a free port")?;
        let state = Arc::new(State { events, asked: Mutex::default(), ended: AtomicBool::new(false) });
        let shared = Arc::clone(&state);
        let server = thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    if let Err(error) = stream.map_err(Into::into).and_then(|stream| shared.serve(stream)) {
                        eprintln!("the CloudTrail stub could not answer: {error:#}");
                    }
                });
            }
        });
        Ok(Self { address, state, server: Some(server) })
    }

    /// For `AWS_ENDPOINT_URL_CLOUDTRAIL`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked so far.
    pub fn asked(&self) -> Asked {
        self.state.asked().clone()
    }
}

impl Drop for HistoryStub {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        // Wakes the server, so that it sees the end.
        TcpStream::connect(self.address).ok();
        if let Some(server) = self.server.take() {
            server.join().ok();
        }
    }
}

impl State {
    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request and closes the connection.
    fn serve(&self, stream: TcpStream) -> Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut operation, mut region, mut length) = (String::new(), String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line == "\r\n" {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            match name.to_ascii_lowercase().as_str() {
                "x-amz-target" => value.trim().rsplit('.').next().unwrap_or_default().clone_into(&mut operation),
                "content-length" => length = value.trim().parse()?,
                // Credential=<key>/<day>/<region>/cloudtrail/aws4_request
                "authorization" => value.split('/').nth(2).unwrap_or_default().clone_into(&mut region),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let request = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let (status, answer) = self.answer(&operation, &region, &request);
        let answer = answer.to_string();
        let mut stream = stream;
        write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{answer}",
            answer.len()
        )?;
        stream.flush()?;
        Ok(())
    }

    fn answer(&self, operation: &str, region: &str, request: &Value) -> (&'static str, Value) {
        let trail = format!("arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/main");
        let newest = self.events.first().map_or(0, |(seconds, _)| *seconds);
        match operation {
            "LookupEvents" => self.lookup(region, request),
            "DescribeTrails" => {
                let main = json!({
                    "Name": "main", "TrailARN": trail, "HomeRegion": REGION, "S3BucketName": "trail-logs",
                    "IsMultiRegionTrail": true, "IsOrganizationTrail": false, "LogFileValidationEnabled": true,
                    "IncludeGlobalServiceEvents": true, "HasCustomEventSelectors": false,
                });
                ("200 OK", json!({"trailList": [main]}))
            }
            "GetTrailStatus" => (
                "200 OK",
                json!({"IsLogging": true, "LatestDeliveryTime": newest, "StartLoggingTime": newest - 86_400}),
            ),
            "GetEventSelectors" => {
                let all = json!({"ReadWriteType": "All", "IncludeManagementEvents": true, "DataResources": []});
                ("200 OK", json!({"TrailARN": trail, "EventSelectors": [all]}))
            }
            other => {
                let message = format!("the stub knows no {other}");
                ("400 Bad Request", json!({"__type": "UnknownOperationException", "message": message}))
            }
        }
    }

    fn lookup(&self, region: &str, request: &Value) -> (&'static str, Value) {
        let token = request["NextToken"].as_str();
        {
            let mut asked = self.asked();
            asked.lookups += 1;
            if asked.lookups.is_multiple_of(THROTTLE_EVERY) {
                asked.throttled += 1;
                return ("400 Bad Request", json!({"__type": "ThrottlingException", "message": "Rate exceeded"}));
            }
            asked.further_pages += usize::from(token.is_some());
        }
        let attribute = &request["LookupAttributes"][0];
        let asked_for = |event: &Value| match (&attribute["AttributeKey"], &attribute["AttributeValue"]) {
            (Value::String(key), value) if key == "EventSource" => event["eventSource"] == *value,
            (Value::String(key), value) if key == "EventName" => event["eventName"] == *value,
            (Value::String(key), value) if key == "ReadOnly" => event["readOnly"] == (value == "true"),
            (Value::String(key), value) if key == "Username" => event["userIdentity"]["userName"] == *value,
            _ => attribute.is_null(),
        };
        // Times come as seconds, with a fraction; whole seconds are what is compared.
        let bound = |name: &str, otherwise: f64| request[name].as_f64().unwrap_or(otherwise);
        let (from, to) = (bound("StartTime", f64::MIN), bound("EndTime", f64::MAX));
        let in_time = |seconds: i64| {
            let seconds =
                jiff::Timestamp::from_second(seconds).map_or(0.0, |time| time.duration_since(EPOCH).as_secs_f64());
            from <= seconds && seconds <= to
        };
        let start: usize = token.and_then(|token| token.parse().ok()).unwrap_or_default();
        let mut found: Vec<Value> = Vec::new();
        if region == REGION {
            let fits = self.events.iter().filter(|(seconds, event)| in_time(*seconds) && asked_for(event));
            found.extend(fits.skip(start).take(PAGE + 1).map(|(seconds, event)| summary(*seconds, event)));
        }
        let more = found.len() > PAGE;
        found.truncate(PAGE);
        let mut answer = json!({"Events": found});
        if more {
            answer["NextToken"] = json!((start + PAGE).to_string());
        }
        ("200 OK", answer)
    }
}

const EPOCH: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

/// An event as `LookupEvents` lists it: a few members, and the event itself as text.
fn summary(seconds: i64, event: &Value) -> Value {
    json!({
        "EventId": event["eventID"], "EventName": event["eventName"], "EventSource": event["eventSource"],
        "EventTime": seconds, "ReadOnly": event["readOnly"].to_string(), "Resources": [],
        "Username": event["userIdentity"]["userName"], "CloudTrailEvent": event.to_string(),
    })
}
