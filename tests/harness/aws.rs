//! A client for the emulated AWS: plain HTTP, signed, one method for each of AWS's protocols.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Request;

use super::clock::now;
use super::sigv4::{self, Credentials, canonical_query, encode};

/// The longest answer that is read: a function's log, a list of mails.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// As long as a function may run, and a little more.
const LONGEST_CALL: Duration = Duration::from_secs(920);

/// A principal's view of the emulated AWS.
#[derive(Debug, Clone)]
pub struct Aws {
    agent: Agent,
    host: String,
    region: String,
    credentials: Credentials,
    source_address: Option<String>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers of interest: `X-Amz-Function-Error`, `X-Amz-Log-Result`.
    pub headers: ureq::http::HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` where it is empty.
    pub fn json(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", self.text()))
    }

    /// Itself, if it is a success.
    fn success(self, what: &str) -> Result<Self> {
        ensure!(self.status < 300, "{what} was answered with {}: {}", self.status, shortened(&self.text()));
        Ok(self)
    }
}

/// The beginning and the end: some answers repeat the request.
fn shortened(text: &str) -> String {
    const PART: usize = 700;
    let letters = text.chars().count();
    if letters <= 2 * PART {
        return text.to_owned();
    }
    let (begin, end): (String, String) =
        (text.chars().take(PART).collect(), text.chars().skip(letters - PART).collect());
    format!("{begin} [...] {end}")
}

/// What came of an invocation.
#[derive(Debug)]
pub struct Invocation {
    /// The function's answer, or its error.
    pub payload: Value,
    /// Whether it failed: `Unhandled`.
    pub error: Option<String>,
    /// The end of its log, 4 KB.
    pub log: String,
}

impl Aws {
    /// A client at `endpoint` (`http://127.0.0.1:1234`).
    pub fn new(endpoint: &str, region: &str, credentials: Credentials) -> Self {
        let config =
            Agent::config_builder().http_status_as_error(false).proxy(None).timeout_global(Some(LONGEST_CALL)).build();
        Self {
            agent: config.into(),
            host: endpoint.trim_start_matches("http://").to_owned(),
            region: region.to_owned(),
            credentials,
            source_address: None,
        }
    }

    /// The same, as another principal.
    pub fn with_credentials(&self, credentials: Credentials) -> Self {
        Self { credentials, ..self.clone() }
    }

    /// The same, calling from `address` as far as CloudTrail knows.
    pub fn calling_from(&self, address: &str) -> Self {
        Self { source_address: Some(address.to_owned()), ..self.clone() }
    }

    /// Its endpoint, for an SDK.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.host)
    }

    /// The address of an object, as `CloudFormation` is given it.
    pub fn object_url(&self, bucket: &str, key: &str) -> String {
        format!("http://{}/{bucket}/{}", self.host, encode(key, true))
    }

    /// One of the emulator's own pages, unsigned.
    pub fn get(&self, path: &str) -> Result<Answer> {
        let request = Request::get(format!("http://{}{path}", self.host)).body(Vec::new())?;
        self.send(request)
    }

    /// A call of the query protocol (`CloudFormation`, EC2, IAM, SNS, STS); the answer is XML.
    pub fn query(&self, service: &str, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
        let version = match service {
            "cloudformation" => "2010-05-15",
            "ec2" => "2016-11-15",
            "iam" => "2010-05-08",
            "sns" => "2010-03-31",
            "sts" => "2011-06-15",
            other => bail!("the query protocol's version of {other} is not known here"),
        };
        let mut pairs = vec![("Action".to_owned(), action.to_owned()), ("Version".to_owned(), version.to_owned())];
        pairs.extend(parameters.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let body = canonical_query(&pairs);
        let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let answer = self.call(service, "POST", "/", &[], &headers, body.as_bytes())?;
        Ok(answer.success(&format!("{service} {action}"))?.text())
    }

    /// A call of the JSON protocol; `target` is the service's prefix and the operation.
    pub fn json(&self, service: &str, target: &str, body: &Value) -> Result<Value> {
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
        let answer = self.call(service, "POST", "/", &[], &headers, body.to_string().as_bytes())?;
        answer.success(target)?.json()
    }

    /// A call of DynamoDB.
    pub fn dynamodb(&self, operation: &str, body: &Value) -> Result<Value> {
        self.json("dynamodb", &format!("DynamoDB_20120810.{operation}"), body)
    }

    /// A call of CloudTrail.
    pub fn cloudtrail(&self, operation: &str, body: &Value) -> Result<Value> {
        self.json("cloudtrail", &format!("CloudTrail_20131101.{operation}"), body)
    }

    /// A call of CloudWatch Logs.
    pub fn logs(&self, operation: &str, body: &Value) -> Result<Value> {
        self.json("logs", &format!("Logs_20140328.{operation}"), body)
    }

    /// A call of SQS.
    pub fn sqs(&self, operation: &str, body: &Value) -> Result<Value> {
        self.json("sqs", &format!("AmazonSQS.{operation}"), body)
    }

    /// A call of EventBridge.
    pub fn events(&self, operation: &str, body: &Value) -> Result<Value> {
        self.json("events", &format!("AWSEvents.{operation}"), body)
    }

    /// A call of a REST service with a JSON body.
    pub fn rest(&self, service: &str, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("content-type", "application/json")];
        let answer = self.call(service, method, path, &[], &headers, body.as_bytes())?;
        answer.success(&format!("{service} {method} {path}"))?.json()
    }

    /// Creates a bucket.
    pub fn create_bucket(&self, bucket: &str) -> Result<()> {
        let answer = self.call("s3", "PUT", &format!("/{bucket}"), &[], &[], &[])?;
        answer.success(&format!("create bucket {bucket}")).map(|_| ())
    }

    /// Creates a bucket that keeps every version of its objects.
    pub fn create_versioned_bucket(&self, bucket: &str) -> Result<()> {
        self.create_bucket(bucket)?;
        let body = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status>\
                    </VersioningConfiguration>";
        let query = [("versioning".to_owned(), String::new())];
        let answer = self.call("s3", "PUT", &format!("/{bucket}"), &query, &[], body.as_bytes())?;
        answer.success(&format!("let {bucket} keep versions")).map(|_| ())
    }

    /// Creates a bucket that sends its events to EventBridge.
    pub fn create_event_bucket(&self, bucket: &str) -> Result<()> {
        self.create_bucket(bucket)?;
        let body = "<NotificationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                    <EventBridgeConfiguration/></NotificationConfiguration>";
        let query = [("notification".to_owned(), String::new())];
        let answer = self.call("s3", "PUT", &format!("/{bucket}"), &query, &[], body.as_bytes())?;
        answer.success(&format!("let {bucket} send its events")).map(|_| ())
    }

    /// Writes an object, and returns its version where the bucket keeps versions. The key is given as it is, not
    /// encoded.
    pub fn put_object(&self, bucket: &str, key: &str, body: &[u8]) -> Result<Option<String>> {
        self.put_object_with(bucket, key, body, &[])
    }

    /// Writes an object with headers of its own: `x-amz-meta-...`.
    pub fn put_object_with(
        &self,
        bucket: &str,
        key: &str,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Result<Option<String>> {
        let path = format!("/{bucket}/{}", encode(key, true));
        let answer = self.call("s3", "PUT", &path, &[], headers, body)?;
        let answer = answer.success(&format!("put s3://{bucket}/{key}"))?;
        Ok(answer.headers.get("x-amz-version-id").and_then(|id| id.to_str().ok()).map(str::to_owned))
    }

    /// Deletes an object.
    pub fn delete_object(&self, bucket: &str, key: &str) -> Result<()> {
        let path = format!("/{bucket}/{}", encode(key, true));
        let answer = self.call("s3", "DELETE", &path, &[], &[], &[])?;
        answer.success(&format!("delete s3://{bucket}/{key}")).map(|_| ())
    }

    /// Invokes a function and waits for its answer.
    pub fn invoke(&self, function: &str, payload: &Value) -> Result<Invocation> {
        let path = format!("/2015-03-31/functions/{function}/invocations");
        let headers = [("content-type", "application/json"), ("x-amz-log-type", "Tail")];
        let answer = self.call("lambda", "POST", &path, &[], &headers, payload.to_string().as_bytes())?;
        let answer = answer.success(&format!("invoke {function}"))?;
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let log = header("x-amz-log-result").map(|log| BASE64.decode(log)).transpose().context("decode the log")?;
        Ok(Invocation {
            payload: answer.json()?,
            error: header("x-amz-function-error"),
            log: log.map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default(),
        })
    }

    /// Hands an event to a function and waits for nothing, as EventBridge does.
    pub fn invoke_later(&self, function: &str, payload: &Value) -> Result<()> {
        let path = format!("/2015-03-31/functions/{function}/invocations");
        let headers = [("content-type", "application/json"), ("x-amz-invocation-type", "Event")];
        let answer = self.call("lambda", "POST", &path, &[], &headers, payload.to_string().as_bytes())?;
        answer.success(&format!("invoke {function}")).map(|_| ())
    }

    /// Everything in a log group, one line each, oldest first.
    pub fn log_lines(&self, group: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut token = Value::Null;
        loop {
            let mut body = json!({"logGroupName": group, "limit": 10_000});
            if !token.is_null() {
                body["nextToken"] = token;
            }
            let answer = self.logs("FilterLogEvents", &body)?;
            let events = answer["events"].as_array().into_iter().flatten();
            lines.extend(events.filter_map(|event| event["message"].as_str().map(str::to_owned)));
            token = answer["nextToken"].clone();
            if token.is_null() {
                return Ok(lines);
            }
        }
    }

    /// A signed request. `path` is encoded once.
    pub fn call(
        &self,
        service: &str,
        method: &str,
        path: &str,
        query: &[(String, String)],
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        let date = now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let authorization = sigv4::authorization(
            &self.credentials,
            &sigv4::Request { service, region: &self.region, method, path, query, host: &self.host, date: &date, body },
        );
        let separator = if query.is_empty() { "" } else { "?" };
        let uri = format!("http://{}{path}{separator}{}", self.host, canonical_query(query));
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("x-amz-date", &date)
            .header("authorization", authorization);
        if service == "s3" {
            request = request.header("x-amz-content-sha256", sigv4::UNSIGNED);
        }
        if let Some(address) = &self.source_address {
            request = request.header("x-forwarded-for", address);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.to_vec())?)
    }

    fn send(&self, request: Request<Vec<u8>>) -> Result<Answer> {
        let what = format!("{} {}", request.method(), request.uri());
        let mut response = self.agent.run(request).with_context(|| what.clone())?;
        let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().with_context(|| what)?;
        Ok(Answer { status: response.status().as_u16(), headers: response.headers().clone(), body })
    }
}
