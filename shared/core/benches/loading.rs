//! How long the rules take before the first record: opening the catalogue, and compiling the part of it that one log
//! source needs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark that cannot run says so")]

use cloudvigil_core::detect::{Catalogue, RuleFile};
use cloudvigil_core::formats::{Context, Parsed, by_name};
use cloudvigil_core::record::LogSource;
use divan::{Bencher, black_box};
use jiff::{Timestamp, tz::TimeZone};

/// The formats, each with a record.
const FORMATS: [(&str, &str); 6] = [
    ("cloudtrail", r#"{"eventVersion": "1.11", "eventSource": "s3.amazonaws.com", "eventName": "GetObject"}"#),
    (
        "inventory",
        r#"{"schema": 1, "service": "s3", "type": "bucket", "resource": "arn:aws:s3:::b", "since": "2026-03-01T10:00:00Z"}"#,
    ),
    ("access", r#"192.0.2.1 - - [01/Mar/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "curl/8.5.0""#),
    ("syslog", "Mar  1 10:00:00 bastion sshd[811]: Connection closed by 192.0.2.1 port 40022 [preauth]"),
    ("eve", r#"{"timestamp": "2026-03-01T10:00:00.000000+0000", "event_type": "alert", "alert": {"signature_id": 1}}"#),
    ("vpcflow", "2 123456789012 eni-0a1b2c3d 192.0.2.1 10.0.0.5 40022 22 6 5 300 1772359200 1772359260 REJECT OK"),
];

fn main() {
    divan::main();
}

/// The built-in catalogue, before any log source is met.
#[divan::bench]
fn open(bencher: Bencher<'_, '_>) {
    bencher.bench_local(Catalogue::built_in);
}

/// What is left to do when the first record of a log source comes.
#[divan::bench(args = FORMATS.map(|(format, _)| format))]
fn first_record(bencher: Bencher<'_, '_>, format: &str) {
    let source = log_source(format);
    bencher.with_inputs(|| Catalogue::built_in().0).bench_local_refs(|catalogue| catalogue.index(source));
}

/// The built-in rules and one of a user's, which may refer to any of them.
#[divan::bench]
fn with_a_users_rule(bencher: Bencher<'_, '_>) {
    let own = "title: own\nid: own\nlogsource: {service: cloudtrail}\ndetection: {s: {eventName: X}, condition: s}\n";
    let files = || {
        let mut files = Catalogue::built_in_files_without_tests();
        files.push(RuleFile::new("own.yml", own));
        files
    };
    bencher.with_inputs(files).bench_local_values(Catalogue::load);
}

fn log_source(format: &str) -> &'static LogSource {
    let context = Context { modified: Timestamp::UNIX_EPOCH, timezone: TimeZone::UTC };
    let (_, sample) = FORMATS.into_iter().find(|(name, _)| *name == format).unwrap();
    match by_name(format).unwrap().parser(&context).parse(black_box(sample)) {
        Parsed::Record(record) => record.log_source,
        other => panic!("{format}: {other:?}"),
    }
}
