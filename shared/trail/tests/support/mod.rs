//! A trail's bucket as `CloudTrail` would have filled it, signed with a key of our own.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "clippy does not know that this is a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::LazyLock;
use std::sync::Mutex;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use cloudvigil_core::ports::{Chunks, Failure, Object, ObjectId, ObjectStore, PortError, PortResult};
use cloudvigil_trail::chain::listing;
use cloudvigil_trail::unlisted::unlisted;
use cloudvigil_trail::{KeyRing, Places, Scope, Summary, Walk};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

pub const ACCOUNT: &str = "111122223333";
pub const REGION: &str = "eu-west-1";
pub const BUCKET: &str = "trail-logs";

/// The key of `CloudTrail`, and the one of somebody else. To make one takes a while.
pub static CLOUDTRAIL: LazyLock<Signer> = LazyLock::new(|| Signer::new("c10d"));
pub static MALLORY: LazyLock<Signer> = LazyLock::new(|| Signer::new("ba0d"));

pub struct Signer {
    pair: KeyPair,
    pub fingerprint: String,
}

impl Signer {
    fn new(fingerprint: &str) -> Self {
        Self { pair: KeyPair::generate(KeySize::Rsa2048).unwrap(), fingerprint: fingerprint.to_owned() }
    }

    /// Somebody who gives another's fingerprint as theirs.
    pub fn clone_as(one: &Self, fingerprint: &str) -> Self {
        let private: Pkcs8V1Der<'_> = one.pair.as_der().unwrap();
        let pair = KeyPair::from_pkcs8(private.as_ref()).unwrap();
        Self { pair, fingerprint: fingerprint.to_owned() }
    }

    pub fn sign(&self, text: &str) -> String {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        hex(&signature)
    }

    /// What `aws cloudtrail list-public-keys` prints.
    pub fn printed(&self) -> String {
        let value = BASE64_STANDARD.encode(self.pair.public_key());
        json!({"PublicKeyList": [{
            "Value": value, "ValidityStartTime": "2026-02-01T00:00:00+00:00",
            "ValidityEndTime": "2026-04-01T00:00:00+00:00", "Fingerprint": self.fingerprint,
        }]})
        .to_string()
    }

    pub fn ring(&self) -> KeyRing {
        let mut ring = KeyRing::default();
        ring.add(self.printed().as_bytes()).unwrap();
        ring
    }
}

pub fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A digest that was delivered.
#[derive(Clone)]
pub struct Delivered {
    pub key: String,
    hash: String,
    signature: String,
}

/// A trail in one region of one account.
#[derive(Clone)]
pub struct Trail {
    pub account: String,
    pub region: String,
    pub name: String,
    pub prefix: String,
}

impl Default for Trail {
    fn default() -> Self {
        Self { account: ACCOUNT.to_owned(), region: REGION.to_owned(), name: "main".to_owned(), prefix: String::new() }
    }
}

/// What a digest is made of beyond its trail.
pub struct Hour<'a> {
    pub end: Timestamp,
    pub previous: Option<&'a Delivered>,
    /// Keys and contents.
    pub log_files: Vec<(String, Vec<u8>)>,
    pub backfill: bool,
    pub signer: &'a Signer,
}

/// A bucket: objects, and the metadata of those that have some.
#[derive(Clone, Default)]
pub struct Bucket {
    pub files: BTreeMap<String, Vec<u8>>,
    pub metadata: BTreeMap<String, BTreeMap<String, String>>,
}

pub fn hour(n: i64) -> Timestamp {
    "2026-03-01T00:01:31Z".parse::<Timestamp>().unwrap() + n.hours()
}

impl Trail {
    fn folder(&self, kind: &str, time: Timestamp) -> String {
        let Self { account, region, prefix, .. } = self;
        format!("{prefix}AWSLogs/{account}/{kind}/{region}/{}", time.strftime("%Y/%m/%d"))
    }

    pub fn digest_key(&self, end: Timestamp, backfill: bool) -> String {
        let Self { account, region, name, .. } = self;
        let late = if backfill { "_backfill" } else { "" };
        let (folder, end) = (self.folder("CloudTrail-Digest", end), end.strftime("%Y%m%dT%H%M%SZ"));
        format!("{folder}/{account}_CloudTrail-Digest_{region}_{name}_eu-west-1_{end}{late}.json.gz")
    }

    pub fn log_key(&self, time: Timestamp, unique: &str) -> String {
        let Self { account, region, .. } = self;
        let folder = self.folder("CloudTrail", time);
        format!("{folder}/{account}_CloudTrail_{region}_{}_{unique}.json.gz", time.strftime("%Y%m%dT%H%MZ"))
    }

    /// Two log files of an hour.
    pub fn log_files(&self, end: Timestamp) -> Vec<(String, Vec<u8>)> {
        let file = |n: i64| {
            let time = end - (20 * n).minutes();
            let event = json!({"eventVersion": "1.11", "eventTime": time, "eventName": "DescribeTrails", "n": n});
            let unique = format!("{}Unique{n}", self.name);
            (self.log_key(time, &unique), json!({"Records": [event]}).to_string().into_bytes())
        };
        vec![file(2), file(1)]
    }

    /// The digest's content, and the text that is signed.
    pub fn digest(&self, of: &Hour<'_>) -> (Vec<u8>, String) {
        let key = self.digest_key(of.end, of.backfill);
        let log_files: Vec<Value> = of
            .log_files
            .iter()
            .map(|(key, content)| {
                json!({
                    "s3Bucket": BUCKET, "s3Object": key, "hashValue": hex(digest(&SHA256, content).as_ref()),
                    "hashAlgorithm": "SHA-256", "newestEventTime": of.end, "oldestEventTime": of.end - 1.hours(),
                })
            })
            .collect();
        let previous = of.previous;
        let content = json!({
            "awsAccountId": self.account,
            "digestStartTime": of.end - 1.hours(),
            "digestEndTime": of.end,
            "digestS3Bucket": BUCKET,
            "digestS3Object": key,
            "digestPublicKeyFingerprint": of.signer.fingerprint,
            "digestSignatureAlgorithm": "SHA256withRSA",
            "newestEventTime": of.end,
            "oldestEventTime": of.end - 1.hours(),
            "previousDigestS3Bucket": previous.map(|_| BUCKET),
            "previousDigestS3Object": previous.map(|previous| &previous.key),
            "previousDigestHashValue": previous.map(|previous| &previous.hash),
            "previousDigestHashAlgorithm": previous.map(|_| "SHA-256"),
            "previousDigestSignature": previous.map(|previous| &previous.signature),
            "logFiles": log_files,
        });
        let content = content.to_string().into_bytes();
        let hash = hex(digest(&SHA256, &content).as_ref());
        let signature = previous.map_or("null", |previous| &previous.signature);
        let text = format!("{}\n{BUCKET}/{key}\n{hash}\n{signature}", of.end);
        (content, text)
    }
}

impl Bucket {
    /// Delivers log files and their digest.
    pub fn deliver(&mut self, trail: &Trail, of: &Hour<'_>) -> Delivered {
        for (key, content) in &of.log_files {
            self.files.insert(key.clone(), gzip(content));
        }
        let (content, text) = trail.digest(of);
        let key = trail.digest_key(of.end, of.backfill);
        let signature = of.signer.sign(&text);
        let mut metadata = BTreeMap::from([
            ("signature".to_owned(), signature.clone()),
            ("signature-algorithm".to_owned(), "SHA256withRSA".to_owned()),
        ]);
        if of.backfill {
            metadata.insert("backfill-generation-timestamp".to_owned(), (of.end + 5.hours()).to_string());
        }
        self.metadata.insert(key.clone(), metadata);
        self.files.insert(key.clone(), gzip(&content));
        Delivered { key, hash: hex(digest(&SHA256, &content).as_ref()), signature }
    }

    /// Delivers hours one after the other.
    pub fn deliver_hours(
        &mut self,
        trail: &Trail,
        hours: std::ops::Range<i64>,
        mut previous: Option<Delivered>,
    ) -> Vec<Delivered> {
        let mut delivered = Vec::new();
        for n in hours {
            let of = Hour {
                end: hour(n),
                previous: previous.as_ref(),
                log_files: trail.log_files(hour(n)),
                backfill: false,
                signer: &CLOUDTRAIL,
            };
            let digest = self.deliver(trail, &of);
            delivered.push(digest.clone());
            previous = Some(digest);
        }
        delivered
    }

    /// A bucket with some hours of one trail, from its beginning.
    pub fn with_hours(hours: i64) -> (Self, Vec<Delivered>) {
        let mut bucket = Self::default();
        let delivered = bucket.deliver_hours(&Trail::default(), 1..hours + 1, None);
        (bucket, delivered)
    }

    pub fn change(&mut self, key: &str, change: impl Fn(&mut Vec<u8>)) {
        change(self.files.get_mut(key).unwrap());
    }

    pub fn remove(&mut self, key: &str) {
        self.files.remove(key).unwrap();
        self.metadata.remove(key);
    }

    /// The keys of the log files.
    pub fn log_keys(&self) -> Vec<String> {
        self.files.keys().filter(|key| key.contains("/CloudTrail/")).cloned().collect()
    }
}

/// How a bucket is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// In S3.
    Bucket,
    /// As a folder, with the metadata files.
    Folder,
    /// As a folder without them.
    FolderWithoutMetadata,
}

/// A bucket as a store. What was opened is remembered.
pub struct Store {
    view: View,
    bucket: Bucket,
    /// Sources that fail, and how.
    pub failing: BTreeMap<String, Failure>,
    pub opened: Mutex<BTreeSet<String>>,
}

impl Store {
    pub fn new(bucket: &Bucket, view: View) -> Self {
        let mut bucket = bucket.clone();
        if view == View::Folder {
            for (key, metadata) in &bucket.metadata {
                let sidecar = json!(metadata).to_string();
                bucket.files.insert(format!("{key}.metadata.json"), sidecar.into_bytes());
            }
        }
        Self { view, bucket, failing: BTreeMap::new(), opened: Mutex::default() }
    }
}

#[async_trait]
impl ObjectStore for Store {
    async fn list(&self, root: &str) -> PortResult<(Vec<ObjectId>, Vec<PortError>)> {
        let id = |key: &String| match self.view {
            View::Bucket => ObjectId {
                source: format!("s3://{BUCKET}/{key}"),
                bucket: BUCKET.to_owned(),
                key: key.clone(),
                version: None,
            },
            _ => ObjectId { source: key.clone(), bucket: String::new(), key: key.clone(), version: None },
        };
        Ok((self.bucket.files.keys().map(id).filter(|id| id.source.starts_with(root)).collect(), Vec::new()))
    }

    async fn open(&self, id: &ObjectId) -> PortResult<Object> {
        self.opened.lock().unwrap().insert(id.source.clone());
        let failed = |failure| PortError::new(failure, format!("read {}", id.source), "as the test wants it");
        if let Some(failure) = self.failing.get(&id.source) {
            return Err(failed(*failure));
        }
        let content = self.bucket.files.get(&id.key).ok_or_else(|| failed(Failure::NotFound))?;
        let metadata = self.bucket.metadata.get(&id.key).filter(|_| self.view == View::Bucket);
        Ok(Object {
            version: "1".to_owned(),
            modified: None,
            size: None,
            metadata: metadata.cloned().unwrap_or_default(),
            // In pieces, as it comes over the network.
            content: Box::new(Pieces(content.chunks(100).map(Bytes::copy_from_slice).collect::<Vec<_>>().into_iter())),
        })
    }
}

struct Pieces(std::vec::IntoIter<Bytes>);

#[async_trait]
impl Chunks for Pieces {
    async fn next(&mut self) -> PortResult<Option<Bytes>> {
        Ok(self.0.next())
    }
}

/// What a verification came to.
#[derive(Debug, Default)]
pub struct Verified {
    pub records: Vec<Value>,
    pub errors: Vec<String>,
    pub summaries: Vec<Summary>,
}

impl Verified {
    /// (type, status, the object's name) of every break.
    pub fn breaks(&self) -> Vec<(&str, &str, &str)> {
        let broken = self.records.iter().filter(|record| record["status"] != "valid");
        let broken = broken.map(|record| {
            let key = record["s3_object"].as_str().unwrap();
            let kind = record["type"].as_str().unwrap().trim_start_matches("trail_");
            (kind, record["status"].as_str().unwrap(), key)
        });
        broken.collect()
    }
}

/// Verifies everything that a bucket holds, with the keys of `CloudTrail`.
pub async fn verify(bucket: &Bucket, view: View) -> Verified {
    verify_in(&Store::new(bucket, view), view, &CLOUDTRAIL.ring(), &Scope::default()).await
}

pub async fn verify_in(store: &Store, view: View, keys: &KeyRing, scope: &Scope) -> Verified {
    let (objects, _) = store.list("").await.unwrap();
    let places = if view == View::Bucket { Places::bucket(objects) } else { Places::folder(objects) };
    let listing = listing(&places);
    let mut verified = Verified { records: listing.missing(), ..Verified::default() };
    for chain in &listing.chains {
        let mut walk = Walk::new(store, keys, &places, chain, scope.clone());
        while let Some(step) = walk.step().await {
            verified.records.extend(step.records);
            verified.errors.extend(step.errors);
        }
        verified.summaries.push(walk.summary().clone());
    }
    let walked: Vec<_> = listing.chains.iter().zip(&verified.summaries).collect();
    let more = unlisted(&places, &walked);
    verified.records.extend(more);
    verified
}
