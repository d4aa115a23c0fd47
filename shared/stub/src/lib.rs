//! For tests: an AWS service on 127.0.0.1 that answers what it was told to, in order, and remembers what it was asked.

#![warn(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a stub that cannot go on must fail the test that uses it"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

/// One answer.
#[derive(Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// How many bytes of the body are sent before the connection breaks; `None`: all of them.
    cut: Option<usize>,
}

impl Reply {
    /// HTTP 200 with this body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200, body)
    }

    /// A JSON service's result.
    pub fn json(body: &serde_json::Value) -> Self {
        Self::ok(body.to_string()).header("content-type", "application/x-amz-json-1.1")
    }

    /// This body with an HTTP status.
    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: None }
    }

    /// A JSON service's error.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"__type": code, "message": message});
        Self::status(status, body.to_string()).header("x-amzn-errortype", code)
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Breaks the connection after so many bytes of the body.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }
}

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `POST`.
    pub method: String,
    /// With the query.
    pub path: String,
    /// One a line, each with its line end.
    pub headers: String,
    /// As it came.
    pub body: Vec<u8>,
}

impl Request {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The service. Ends with the test.
pub struct Stub {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Stub {
    /// A service with these answers; when they are used up, it answers HTTP 500.
    pub fn answering(replies: impl IntoIterator<Item = Reply>) -> Self {
        let mut replies = replies.into_iter().collect::<Vec<_>>().into_iter();
        Self::with(move |_| replies.next().unwrap_or_else(|| Reply::error(500, "StubExhausted", "no answer left")))
    }

    /// A service that answers by what it is asked.
    pub fn with(mut answer: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read(&stream) else { continue };
                if request.method == "STOP" {
                    return;
                }
                let reply = answer(&request);
                seen.lock().unwrap().push(request);
                write(&mut stream, &reply);
            }
        });
        Self { address, requests }
    }

    /// Clients that ask this service, for everything, without the SDK's retries: made by `with_config`, because a type
    /// of theirs named here would be another than that of the crate whose own tests these are.
    pub fn clients<C>(&self, with_config: impl FnOnce(SdkConfig) -> C) -> Arc<C> {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(RetryConfig::disabled())
            .endpoint_url(format!("http://{}", self.address))
            .build();
        Arc::new(with_config(config))
    }

    /// Its address, for a process that is told of it by `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        if let Ok(mut stream) = TcpStream::connect(self.address) {
            let _ = stream.write_all(b"STOP / HTTP/1.1\r\n\r\n");
        }
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (method, path) = line.split_once(' ')?;
    let path = path.rsplit_once(' ')?.0;
    let mut headers = String::new();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        headers.push_str(&header);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method: method.to_owned(), path: path.to_owned(), headers, body })
}

fn write(stream: &mut TcpStream, reply: &Reply) {
    let mut head =
        format!("HTTP/1.1 {} Stub\r\nconnection: close\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
    for (name, value) in &reply.headers {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    let body = reply.cut.map_or(&reply.body[..], |cut| &reply.body[..cut]);
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}
