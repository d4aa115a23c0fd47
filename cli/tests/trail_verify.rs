//! `cloudvigil trail verify`: what it says of a folder, and how it ends.

#![allow(clippy::unwrap_used, reason = "a test may panic, also outside of its #[test] function")]

#[path = "../../shared/trail/tests/support/mod.rs"]
mod bucket;
mod support;

use std::fs;

use bucket::{Bucket, CLOUDTRAIL, MALLORY, Trail, hour};
use serde_json::{Value, json};
use support::{Folder, Ran, gzip};

/// A folder with the copy of a bucket below `logs`, and CloudTrail's keys. The sidecar of the newest digest alone is
/// needed: the others' signatures are in the digests after them.
fn copied(bucket: &Bucket, with_sidecar: bool) -> Folder {
    let folder = Folder::new();
    folder.write("keys.json", CLOUDTRAIL.printed());
    for (key, content) in &bucket.files {
        folder.write(&format!("logs/{key}"), content);
    }
    if with_sidecar && let Some((key, metadata)) = bucket.metadata.last_key_value() {
        folder.write(&format!("logs/{key}.metadata.json"), json!(metadata).to_string());
    }
    folder
}

fn verify(folder: &Folder, more: &[&str]) -> Ran {
    folder.run(&[&["trail", "verify", "logs", "--keys", "keys.json"], more].concat())
}

fn levels(ran: &Ran) -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let findings = document["findings"].as_array().unwrap().iter();
    findings.map(|finding| (text(finding, "level"), text(finding, "title"))).collect()
}

fn finding(level: &str, title: &str) -> (String, String) {
    (level.to_owned(), title.to_owned())
}

#[test]
fn what_was_checked_is_said_and_sound_files_end_with_0() {
    let (bucket, _) = Bucket::with_hours(4);
    let folder = copied(&bucket, true);
    let ran = verify(&folder, &["--fail-on", "informational"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for word in
        ["111122223333", "eu-west-1", "main", "2026-03-01 00:01:31", "2026-03-01 04:01:31", "4 valid", "8 valid"]
    {
        assert!(ran.stdout.contains(word), "{word}: {}", ran.stdout);
    }
    assert!(ran.stdout.contains("No findings."), "{}", ran.stdout);
    assert_eq!(ran.summary(), "4 records, 0 unparsed, 0 skipped, 0 errors");
    let document: Value = serde_json::from_str(&verify(&folder, &["--output", "json"]).stdout).unwrap();
    assert_eq!(
        document["chains"][0]["digests"],
        json!({"valid": 4, "unverified": 0, "invalid": 0, "missing": 0, "unreadable": 0})
    );
    assert_eq!(document["chains"][0]["log_files"]["valid"], 8);
    // A part of the copy says the same of that part.
    fs::rename(folder.path("logs"), folder.path("all")).unwrap();
    fs::rename(folder.path("all/AWSLogs/111122223333"), folder.path("logs")).unwrap();
    assert_eq!(verify(&folder, &["--fail-on", "informational"]).code, 0);
}

#[test]
fn without_the_metadata_the_newest_digest_is_not_verified_which_ends_with_3() {
    let (bucket, _) = Bucket::with_hours(4);
    let folder = copied(&bucket, false);
    let ran = verify(&folder, &["--output", "json"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("1 digest could not be verified"), "{}", ran.stderr);
    assert_eq!(levels(&ran), [finding("informational", "CloudTrail digest file could not be verified")]);
    // Up to an hour before, the next digest has the signature.
    assert_eq!(verify(&folder, &["--until", &hour(2).to_string()]).code, 0);
}

#[test]
fn every_break_is_a_finding() {
    let (mut bucket, digests) = Bucket::with_hours(8);
    let logs = bucket.log_keys();
    bucket.change(&logs[0], |content| *content = gzip("other"));
    bucket.remove(&logs[2]);
    bucket.remove(&logs[3]);
    bucket.remove(&digests[4].key);
    let folder = copied(&bucket, true);
    let ran = verify(&folder, &["--output", "json", "--fail-on", "high"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let expected = [
        finding("critical", "CloudTrail log file was changed"),
        finding("critical", "CloudTrail log file is missing"),
        // Its signature was in the digest that is gone.
        finding("informational", "CloudTrail digest file could not be verified"),
        finding("high", "CloudTrail digest file is missing"),
    ];
    assert_eq!(levels(&ran), expected);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let missing = &document["findings"][1];
    assert_eq!(
        (&missing["count"], &missing["account"], &missing["region"]),
        (&json!(2), &json!("111122223333"), &json!("eu-west-1"))
    );
    assert_eq!(missing["resources"].as_array().unwrap().len(), 2);
    assert_eq!(document["chains"][0]["gaps"], json!([{"from": hour(4), "to": hour(5)}]));
    assert_eq!(verify(&folder, &[]).code, 3, "one digest could not be verified");
}

#[test]
fn keys_that_are_not_cloudtrails_verify_nothing() {
    let (bucket, _) = Bucket::with_hours(2);
    let folder = copied(&bucket, true);
    folder.write("keys.json", MALLORY.printed());
    let ran = verify(&folder, &["--output", "json"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("2 digests could not be verified"), "{}", ran.stderr);
    let expected = [finding("high", "CloudTrail digest file is signed with an unknown key")];
    assert_eq!(levels(&ran), expected, "one for all");
    // With the keys of both, each in a document of its own, all is well.
    folder.write("keys.json", format!("{}\n{}", MALLORY.printed(), CLOUDTRAIL.printed()));
    assert_eq!(verify(&folder, &[]).code, 0);
}

#[test]
fn wrong_usage_ends_with_2() {
    let (bucket, _) = Bucket::with_hours(1);
    let folder = copied(&bucket, true);
    folder.write("no-keys.json", "{}").write("empty.json", r#"{"PublicKeyList": []}"#);
    for arguments in [
        &["trail", "verify"][..],
        &["trail", "verify", "logs", "--keys", "missing.json"],
        &["trail", "verify", "logs", "--keys", "no-keys.json"],
        &["trail", "verify", "logs", "--keys", "empty.json"],
        &["trail", "verify", "logs", "--keys", "keys.json", "--since", "yesterday"],
        &["trail", "verify", "logs", "--keys", "keys.json", "--since", "2026-03-02", "--until", "2026-03-01"],
        &["trail", "--days", "3", "verify", "logs"],
    ] {
        let ran = folder.run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn where_no_digest_is_nothing_was_verified() {
    let folder = Folder::new();
    folder.write("keys.json", CLOUDTRAIL.printed()).write("logs/readme.txt", "none here");
    let ran = verify(&folder, &[]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("there is no digest in it"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("No findings."), "{}", ran.stdout);
    assert_eq!(folder.run(&["trail", "verify", "nowhere", "--keys", "keys.json"]).code, 3);
    // A digest under a name that is none is not passed over in silence.
    let (bucket, digests) = Bucket::with_hours(2);
    let folder = copied(&bucket, true);
    let renamed = digests[1].key.replace("T020131Z", "");
    fs::rename(folder.path(&format!("logs/{}", digests[1].key)), folder.path(&format!("logs/{renamed}"))).unwrap();
    let ran = verify(&folder, &[]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("no digest's name"), "{}", ran.stderr);
}

#[test]
fn hostile_names_are_shown_harmless() {
    let (mut bucket, digests) = Bucket::with_hours(1);
    let trail = Trail::default();
    let of = bucket::Hour {
        end: hour(2),
        previous: Some(&digests[0]),
        log_files: vec![("../../\u{1b}[31m\u{202e}etc/passwd".to_owned(), b"x".to_vec())],
        backfill: false,
        signer: &CLOUDTRAIL,
    };
    bucket.deliver(&trail, &of);
    bucket.files.retain(|key, _| key.starts_with("AWSLogs/"));
    let folder = copied(&bucket, true);
    for output in ["table", "json"] {
        let ran = verify(&folder, &["--output", output]);
        let all = ran.stdout + &ran.stderr;
        assert!(all.contains("passwd") && !all.contains(['\u{1b}', '\u{202e}']), "{all}");
    }
}
