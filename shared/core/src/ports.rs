//! What the core needs of the world, as traits named for the need. `cloudvigil-aws` and `cloudvigil-local` fulfil them.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::finding::{Finding, Message};

/// What a caller can do about a failed port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// What was asked for is not there.
    NotFound,
    /// It is there, or may be, and we may not look. Never to be taken for "nothing found".
    Denied,
    /// It may work later: throttling, time-outs, a broken connection.
    Transient,
    /// It will not work later: the request or the content is wrong.
    Permanent,
}

/// A port that failed: what was tried, on what, and why it did not work.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct PortError {
    /// What a caller can do about it.
    pub failure: Failure,
    /// What was tried, on what: `read s3://logs/a.gz`.
    pub what: String,
    /// Why it did not work.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl PortError {
    /// A failure of `what`.
    pub fn new(
        failure: Failure,
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { failure, what: what.into(), source: source.into() }
    }
}

/// What a port answers.
pub type PortResult<T> = Result<T, PortError>;

/// Where an object lies: an S3 object, a file, or the standard input.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    /// The name by which people know it, and by which outputs are sorted: a path, or `s3://bucket/key`.
    pub source: String,
    /// The bucket, or empty for files.
    pub bucket: String,
    /// The key, or the path to open.
    pub key: String,
    /// The object's version, where the caller knows which one is meant.
    pub version: Option<String>,
}

/// An object, opened.
pub struct Object {
    /// What tells this content of the object from an earlier one under the same name: a version id, an `ETag`, a
    /// fingerprint of the first line. Part of the keys by which records are counted.
    pub version: String,
    /// When it was last modified: the year of stamps without one follows from it.
    pub modified: Option<Timestamp>,
    /// Its stored size in bytes, where it is known.
    pub size: Option<u64>,
    /// What its writer stored beside it: S3's user-defined metadata, names in lower case without `x-amz-meta-`. Files
    /// have none.
    pub metadata: BTreeMap<String, String>,
    /// Its content as it is stored, compressed or not.
    pub content: Box<dyn Chunks>,
}

/// Content that arrives piece by piece.
#[async_trait]
pub trait Chunks: Send {
    /// The next piece, not empty; `None` at the end.
    async fn next(&mut self) -> PortResult<Option<Bytes>>;
}

/// Objects: S3, or files and folders.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// Every object below `root` (`s3://bucket/prefix`, a file, a folder), sorted by source. Pages are followed.
    /// What could not be listed is among the errors; the rest is listed all the same.
    async fn list(&self, root: &str) -> PortResult<(Vec<ObjectId>, Vec<PortError>)>;

    /// Opens one object for reading.
    async fn open(&self, id: &ObjectId) -> PortResult<Object>;

    /// A text that changes whenever an object below `root` is added, replaced or removed, if the store can tell without
    /// reading them.
    async fn fingerprint(&self, _root: &str) -> PortResult<Option<String>> {
        Ok(None)
    }
}

/// A public key that signatures of `CloudTrail`'s digest files are verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// By which a digest names it.
    pub fingerprint: String,
    /// The RSA key, DER: an `RSAPublicKey` (PKCS #1) or a `SubjectPublicKeyInfo` (X.509).
    pub der: Vec<u8>,
}

/// Where `CloudTrail`'s public keys come from: its `ListPublicKeys`, or a file.
#[async_trait]
pub trait PublicKeys: Send + Sync {
    /// The keys that signed a region's digests at some time between `from` and `to`, and maybe more.
    async fn between(&self, region: &str, from: Timestamp, to: Timestamp) -> PortResult<Vec<PublicKey>>;
}

/// A stored item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What was stored, at most 300 KiB.
    pub body: Vec<u8>,
    /// Goes up with every write of the item; what [`StateStore::put_if`] compares.
    pub version: u64,
}

/// An item to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewItem {
    /// The partition key.
    pub partition: String,
    /// The sort key.
    pub sort: String,
    /// What is to be stored, at most 300 KiB.
    pub body: Vec<u8>,
    /// From when on it is no longer seen.
    pub expires: Timestamp,
}

/// State: items under a partition key and a sort key, each with an expiry. One `DynamoDB` table, or one embedded file.
///
/// Reads are strongly consistent: what a `put` has acknowledged, every later `get` and `query` sees, from any process.
/// Expired items are never seen.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// One item.
    async fn get(&self, partition: &str, sort: &str) -> PortResult<Option<Item>>;

    /// Every item of a partition, by sort key. Pages are followed.
    async fn query(&self, partition: &str) -> PortResult<Vec<(String, Item)>>;

    /// Writes an item, whatever was there.
    async fn put(&self, partition: &str, sort: &str, body: Vec<u8>, expires: Timestamp) -> PortResult<()>;

    /// Writes items, whatever was there. After an error some may have been written and some not: write them all again.
    async fn put_all(&self, items: Vec<NewItem>) -> PortResult<()> {
        for item in items {
            self.put(&item.partition, &item.sort, item.body, item.expires).await?;
        }
        Ok(())
    }

    /// Writes an item if its version is still `expected` (`None`: if there is no item, or an expired one). `false`:
    /// somebody else was faster, nothing was written.
    async fn put_if(
        &self,
        partition: &str,
        sort: &str,
        body: Vec<u8>,
        expires: Timestamp,
        expected: Option<u64>,
    ) -> PortResult<bool>;

    /// Removes an item, if it is there.
    async fn delete(&self, partition: &str, sort: &str) -> PortResult<()>;
}

/// Where findings go: an SNS topic, or the list that the command line prints. Upserts by the finding's id.
#[async_trait]
pub trait FindingSink: Send + Sync {
    /// Publishes a finding. The same id comes again with a higher revision, and may come twice with the same one.
    async fn publish(&self, message: &Message) -> PortResult<()>;

    /// Whether nobody is to be told of a finding for now: it is kept, and published once this no longer holds and it is
    /// settled again. Tampering with cloudvigil's own resources is not asked about.
    fn holds_back(&self, _finding: &Finding) -> bool {
        false
    }
}

/// A mail, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The envelope's sender: a bare address.
    pub sender: String,
    /// The envelope's recipients: bare addresses.
    pub recipients: Vec<String>,
    /// The subject, as it stands in the message: for logs and file names.
    pub subject: String,
    /// The whole message, RFC 5322.
    pub message: Vec<u8>,
}

/// Who carries mail: `SESv2`, SMTP, or an outbox folder.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Hands over one mail.
    async fn send(&self, mail: &Mail) -> PortResult<()>;
}

/// What time it is.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    // The one place where the system is asked for the time.
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
