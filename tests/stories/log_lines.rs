//! Lines of logs as servers write them, for the stories' objects and log groups.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{SignedDuration, Timestamp};

use crate::harness::clock::now;
use crate::harness::sigv4::encode;

/// A few seconds ago.
pub fn recently() -> Timestamp {
    now() - SignedDuration::from_secs(30)
}

/// A request in the combined format
/// (<https://httpd.apache.org/docs/2.4/logs.html#combined>); `query` is encoded here.
pub fn access_line(time: Timestamp, address: &str, path: &str, query: &str, status: u16) -> String {
    let stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000");
    format!(
        "{address} - - [{stamp}] \"GET {path}?q={} HTTP/1.1\" {status} 512 \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\"\n",
        encode(query, false)
    )
}

/// An access log: ordinary requests of `bystander` around one SQL injection by `attacker`.
pub fn access_log_with_injection(attacker: &str, bystander: &str) -> String {
    let time = recently();
    let attack = "1' UNION SELECT username, password FROM users WHERE '1'='1' -- ";
    let mut log = String::new();
    for number in 0..40 {
        log.push_str(&access_line(time, bystander, "/search", &format!("select shoes {number}"), 200));
        if number == 20 {
            log.push_str(&access_line(time, attacker, "/item", attack, 200));
        }
    }
    log
}

/// A failed login by password, as OpenSSH writes it through syslog
/// (<https://www.rfc-editor.org/rfc/rfc3164>).
pub fn failed_password(time: Timestamp, address: &str, port: u16) -> String {
    let stamp = time.strftime("%b %e %H:%M:%S");
    format!("{stamp} bastion sshd[2412]: Failed password for root from {address} port {port} ssh2")
}

/// `text`, compressed.
pub fn gzipped(text: &str) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).context("compress")?;
    encoder.finish().context("compress")
}
