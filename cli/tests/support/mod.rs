//! A folder, the binary in it, and what came of it.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "clippy does not know that this is a test")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tempfile::TempDir;

/// The id of [`RULE`].
pub const RULE_ID: &str = "0f3f2d9e-6a0b-4c1e-9f0e-3c1f6f8f7a01";

/// A rule that every `CloudTrail` record with this event name matches, each a finding of its own.
pub const RULE: &str = "
title: A trail was stopped
id: 0f3f2d9e-6a0b-4c1e-9f0e-3c1f6f8f7a01
level: high
logsource: {product: aws, service: cloudtrail}
detection:
  selection: {eventName: StopLogging}
  condition: selection
";

/// What a run wrote, and how it ended.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The lines of the standard output as JSON.
    pub fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The last line of the standard error: the counters.
    pub fn summary(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }

    /// (source, record) of each match.
    pub fn matches(&self) -> Vec<(String, u64)> {
        let place = |line: &Value| (line["source"].as_str().unwrap().to_owned(), line["record"].as_u64().unwrap());
        self.json().iter().map(place).collect()
    }
}

/// A temporary folder with files, in which the binary runs.
pub struct Folder(TempDir);

impl Folder {
    /// An empty folder, but for `rule.yml`.
    pub fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("rule.yml", RULE);
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloudvigil"));
        command.args(arguments).current_dir(self.root());
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with_input(arguments, b"")
    }

    /// `scan` with `rule.yml` alone.
    pub fn scan(&self, arguments: &[&str]) -> Ran {
        self.run(&[&["scan", "--no-default-rules", "--rules", "rule.yml"], arguments].concat())
    }

    pub fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A `CloudTrail` record that [`RULE`] matches; `n` makes its id and its time, a minute apart.
pub fn stop(n: u32) -> String {
    record(n, "StopLogging")
}

/// A `CloudTrail` record.
pub fn record(n: u32, name: &str) -> String {
    let (hour, minute) = (n / 60, n % 60);
    format!(
        r#"{{"eventVersion":"1.11","eventTime":"2026-03-01T{hour:02}:{minute:02}:00Z","eventSource":"cloudtrail.amazonaws.com","eventName":"{name}","awsRegion":"eu-west-1","sourceIPAddress":"203.0.113.7","eventID":"{n:08x}-0000-4000-8000-000000000000"}}"#
    )
}

/// A gzip member.
pub fn gzip(content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content.as_ref()).unwrap();
    encoder.finish().unwrap()
}
