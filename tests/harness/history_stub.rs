//! A CloudTrail that a story writes: its event history pages by fifty, the newest first, and throttles now and then,
//! which the emulator's does not; it may be closed to everybody; and it tells the public keys of digests.
//!
//! It answers `LookupEvents`, `DescribeTrails`, `GetTrailStatus`, `GetEventSelectors` and `ListPublicKeys` in
//! `application/x-amz-json-1.1`; see <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/>. There is one trail,
//! `main`, which delivers to the bucket [`BUCKET`].

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::clock::now;
use super::emulator::{ACCOUNT, REGION};

/// The bucket of the trail.
pub const BUCKET: &str = "trail-logs";

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
    history_is_closed: AtomicBool,
    trail: Mutex<Trail>,
    keys: Mutex<Vec<Value>>,
    ended: AtomicBool,
}

/// The trail's status, in seconds.
#[derive(Clone, Copy)]
struct Trail {
    started: i64,
    /// When it was stopped, if it was.
    stopped: Option<i64>,
}

impl HistoryStub {
    /// Serves the history of the stack's region, given as CloudTrail events; every other region's is empty. The trail has
    /// been logging since a month ago.
    pub fn start(events: Vec<Value>) -> Result<Self> {
        let timed = |event: Value| {
            let time = event["eventTime"].as_str().context("an event has a time")?;
            Ok((time.parse::<Timestamp>()?.as_second(), event))
        };
        let mut events: Vec<(i64, Value)> = events.into_iter().map(timed).collect::<Result<_>>()?;
        events.sort_by_key(|(seconds, _)| std::cmp::Reverse(*seconds));
        let trail = Trail { started: now().as_second() - 30 * 86_400, stopped: None };
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
        let address = listener.local_addr().context("find a free port")?;
        let state = Arc::new(State {
            events,
            asked: Mutex::default(),
            history_is_closed: AtomicBool::new(false),
            trail: Mutex::new(trail),
            keys: Mutex::default(),
            ended: AtomicBool::new(false),
        });
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

    /// Refuses from now on to tell the history of any region.
    pub fn close_history(&self) {
        self.state.history_is_closed.store(true, Ordering::SeqCst);
    }

    /// Stops the trail, a minute ago.
    pub fn stop_trail(&self) {
        self.state.trail().stopped = Some(now().as_second() - 60);
    }

    /// Starts the trail again.
    pub fn start_trail(&self) {
        self.state.trail().started = now().as_second();
    }

    /// Tells of a public key, in DER as PKCS #1 has it.
    pub fn tell_key(&self, fingerprint: &str, der: &[u8]) {
        let key = json!({"Value": BASE64.encode(der), "Fingerprint": fingerprint, "ValidityStartTime": 0});
        self.state.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
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

    fn trail(&self) -> std::sync::MutexGuard<'_, Trail> {
        self.trail.lock().unwrap_or_else(PoisonError::into_inner)
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
        match operation {
            "LookupEvents" if self.history_is_closed.load(Ordering::SeqCst) => {
                let message = "a policy of the organization closes the event history";
                ("400 Bad Request", json!({"__type": "AccessDeniedException", "message": message}))
            }
            "LookupEvents" => self.lookup(region, request),
            "ListPublicKeys" => {
                let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
                ("200 OK", json!({"PublicKeyList": *keys}))
            }
            "DescribeTrails" => {
                let main = json!({
                    "Name": "main", "TrailARN": trail, "HomeRegion": REGION, "S3BucketName": BUCKET,
                    "IsMultiRegionTrail": true, "IsOrganizationTrail": false, "LogFileValidationEnabled": true,
                    "IncludeGlobalServiceEvents": true, "HasCustomEventSelectors": false,
                });
                ("200 OK", json!({"trailList": [main]}))
            }
            "GetTrailStatus" => {
                let Trail { started, stopped } = *self.trail();
                let is_logging = stopped.is_none_or(|stopped| stopped < started);
                let delivered = stopped.filter(|_| !is_logging).unwrap_or_else(|| now().as_second() - 60);
                let mut status =
                    json!({"IsLogging": is_logging, "LatestDeliveryTime": delivered, "StartLoggingTime": started});
                if let Some(stopped) = stopped {
                    status["StopLoggingTime"] = json!(stopped);
                }
                ("200 OK", status)
            }
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
