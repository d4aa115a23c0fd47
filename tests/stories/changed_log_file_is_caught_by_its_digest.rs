//! A trail delivers log files and signed digests of them
//! (<https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html>).
//! Somebody takes an event out of a log file. The poll compares the file with its digest and mails it once; the files that
//! are as they were delivered are not mailed.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::calls::{ago, call, log_file_key};
use super::log_lines::gzipped;
use crate::harness::aws::Aws;
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::{ACCOUNT, Emulator, Mail, REGION};
use crate::harness::history_stub::{BUCKET, HistoryStub};
use crate::harness::sigv4::hex;
use crate::harness::story::Story;

const FINGERPRINT: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

pub fn story(story: &Story) -> Result<()> {
    let cloudtrail = KeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow!("no key was made"))?;
    let stub = HistoryStub::start(Vec::new())?;
    stub.tell_key(FINGERPRINT, cloudtrail.public_key().as_ref());
    let emulator = Emulator::start(story, &[("AWS_ENDPOINT_URL_CLOUDTRAIL", &stub.endpoint())])?;
    let root = &emulator.root;
    root.create_event_bucket(BUCKET)?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[("LogBucket", BUCKET), ("LogPrefix1", "AWSLogs/")])?;
    cloudvigil.set_variable("trail-detector", "LOOKUP_DAYS", "1")?;

    // Two hours, as CloudTrail delivered them.
    let mut last = None;
    for hours in [4, 3] {
        let hour = Hour::ending(ago(hours * 60), "2f4Gh6Jk8Lm0Np2Q")?;
        root.put_object(BUCKET, &hour.log_file, &gzipped(&log_file(&hour.records))?)?;
        last = Some(hour.deliver_digest(root, &cloudtrail, last.as_ref())?);
    }
    cloudvigil.poll()?;
    cloudvigil.settle()?;
    let calm = emulator.mails()?;
    ensure!(calm.is_empty(), "what is as it was delivered was mailed: {calm:?}");
    let log = cloudvigil.log("trail-detector")?.concat();
    ensure!(log.contains("\"DigestsValid\":2") && log.contains("\"LogFilesValid\":2"), "not verified: {log}");

    // The next hour's log file has lost an event.
    let hour = Hour::ending(ago(2 * 60), "7Rs9Tu1Vw3Xy5Za7")?;
    root.put_object(BUCKET, &hour.log_file, &gzipped(&log_file(&hour.records[1..]))?)?;
    hour.deliver_digest(root, &cloudtrail, last.as_ref())?;
    for _ in 0..2 {
        cloudvigil.poll()?;
    }
    let is_it = |mail: &Mail| mail.subject.contains("CloudTrail log file was changed");
    let mail = cloudvigil.mail(Duration::from_secs(20), "the changed log file", is_it)?;
    ensure!(mail.text.contains(&hour.log_file), "which file:\n{}", mail.text);
    cloudvigil.settle()?;
    let mails = emulator.mails()?;
    ensure!(mails.len() == 1, "mailed {} times, not once: {mails:?}", mails.len());
    Ok(())
}

/// An hour of a trail: one log file, and the digest that names it.
struct Hour {
    end: Timestamp,
    log_file: String,
    records: Vec<Value>,
}

/// A digest that was delivered, as the next one names it.
struct Delivered {
    key: String,
    hash: String,
    signature: String,
}

impl Hour {
    fn ending(end: Timestamp, unique: &str) -> Result<Self> {
        let end = Timestamp::from_second(end.as_second())?;
        let time = end - SignedDuration::from_mins(20);
        // Nothing that a rule looks for: the digest alone shows that one is missing.
        let record = |number| call(time, &format!("event-{unique}-{number}"), "AddTags", &Value::Null);
        Ok(Self { end, log_file: log_file_key(time, unique), records: (1..=3).map(record).collect() })
    }

    /// Writes the digest of the log file as it was, and its signature as the object's metadata.
    fn deliver_digest(&self, root: &Aws, key: &KeyPair, previous: Option<&Delivered>) -> Result<Delivered> {
        let (day, end) = (self.end.strftime("%Y/%m/%d"), self.end.strftime("%Y%m%dT%H%M%SZ"));
        let name = format!("{ACCOUNT}_CloudTrail-Digest_{REGION}_main_{REGION}_{end}.json.gz");
        let path = format!("AWSLogs/{ACCOUNT}/CloudTrail-Digest/{REGION}/{day}/{name}");
        let of_previous = |read: fn(&Delivered) -> &String| previous.map(|previous| read(previous).clone());
        let signed_before = of_previous(|previous| &previous.signature);
        let begin = self.end - SignedDuration::from_hours(1);
        let content = json!({
            "awsAccountId": ACCOUNT, "digestStartTime": begin, "digestEndTime": self.end, "digestS3Bucket": BUCKET,
            "digestS3Object": path, "digestPublicKeyFingerprint": FINGERPRINT,
            "digestSignatureAlgorithm": "SHA256withRSA", "newestEventTime": self.end, "oldestEventTime": begin,
            "previousDigestS3Bucket": previous.map(|_| BUCKET),
            "previousDigestS3Object": of_previous(|previous| &previous.key),
            "previousDigestHashValue": of_previous(|previous| &previous.hash),
            "previousDigestHashAlgorithm": previous.map(|_| "SHA-256"),
            "previousDigestSignature": signed_before,
            "logFiles": [{
                "s3Bucket": BUCKET, "s3Object": self.log_file, "hashValue": hash(&log_file(&self.records)),
                "hashAlgorithm": "SHA-256", "newestEventTime": self.end, "oldestEventTime": begin,
            }],
        });
        let content = content.to_string();
        let hash = hash(&content);
        let text = format!("{}\n{BUCKET}/{path}\n{hash}\n{}", self.end, signed_before.as_deref().unwrap_or("null"));
        let mut signature = vec![0; key.public_modulus_len()];
        let signed = key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature);
        signed.map_err(|_| anyhow!("the digest was not signed"))?;
        let signature = hex(&signature);
        let metadata =
            [("x-amz-meta-signature", signature.as_str()), ("x-amz-meta-signature-algorithm", "SHA256withRSA")];
        root.put_object_with(BUCKET, &path, &gzipped(&content)?, &metadata)?;
        Ok(Delivered { key: path, hash, signature })
    }
}

fn log_file(records: &[Value]) -> String {
    json!({"Records": records}).to_string()
}

fn hash(content: &str) -> String {
    hex(&Sha256::digest(content))
}
