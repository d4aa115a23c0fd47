//! A digest file: read, parsed, and found to be where it says that it is
//! (<https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html>).

use cloudvigil_core::ports::{Failure, Object, ObjectId, ObjectStore, PortError};
use jiff::Timestamp;
use serde::Deserialize;

use crate::content::{self, ContentError};
use crate::name::{DigestName, file_name};
use crate::places::Places;

/// The longest digest, decompressed. An hour with a hundred thousand log files has one of about 40 MiB.
const MAX_DIGEST: usize = 128 * 1024 * 1024;
/// The longest file that stands beside a digest for its metadata.
const MAX_SIDECAR: usize = 64 * 1024;
/// The one algorithm of signatures that there is.
pub(crate) const SIGNATURE_ALGORITHM: &str = "SHA256withRSA";
/// The one algorithm of hashes that there is.
pub(crate) const HASH_ALGORITHM: &str = "SHA-256";

/// What a digest file says. Names are `CloudTrail`'s.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names, reason = "the names are CloudTrail's")]
pub(crate) struct Digest {
    pub digest_start_time: String,
    pub digest_end_time: String,
    pub digest_s3_bucket: String,
    pub digest_s3_object: String,
    pub digest_public_key_fingerprint: String,
    pub digest_signature_algorithm: Option<String>,
    /// The digest before; null in the first one after logging or validation was switched on.
    pub previous_digest_s3_bucket: Option<String>,
    pub previous_digest_s3_object: Option<String>,
    pub previous_digest_hash_value: Option<String>,
    pub previous_digest_signature: Option<String>,
    pub log_files: Vec<LogFile>,
}

/// What a digest says of a log file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogFile {
    pub s3_bucket: String,
    pub s3_object: String,
    pub hash_value: String,
    pub hash_algorithm: Option<String>,
}

impl Digest {
    /// Whether it names `other` as the digest before it. By the last part of the key: in a folder there is no more.
    pub fn follows(&self, other: &ObjectId) -> bool {
        self.previous_digest_s3_object.as_deref().is_some_and(|key| file_name(key) == file_name(&other.source))
    }

    /// The text that its signature is of. `hash` is that of the digest file's content.
    pub fn signed_text(&self, hash: &str) -> String {
        format!(
            "{}\n{}/{}\n{hash}\n{}",
            self.digest_end_time,
            self.digest_s3_bucket,
            self.digest_s3_object,
            // CloudTrail writes Java's null.
            self.previous_digest_signature.as_deref().unwrap_or("null"),
        )
    }
}

/// The signature that was stored beside a digest: in the object's metadata, or in a file of its own in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredSignature {
    /// In hexadecimal.
    pub signature: String,
    pub algorithm: Option<String>,
}

/// A digest that there is, as far as it could be read.
pub(crate) struct Loaded {
    pub id: ObjectId,
    pub name: DigestName,
    /// The hash of its content, where that could be read.
    pub hash: Option<String>,
    pub content: Result<Digest, Trouble>,
    pub signature: Option<StoredSignature>,
    /// When it was signed, as far as it is known: a backfill digest long after the time that it covers.
    pub signed: Timestamp,
}

/// Why a digest says nothing.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It was listed, and is not there.
    Gone,
    /// It could not be read.
    Unreadable(PortError),
    /// It is no digest.
    Malformed(String),
    /// It says that it is another one.
    Moved { bucket: String, key: String },
}

/// Reads a digest, and the signature that is stored beside it.
pub(crate) async fn load(store: &dyn ObjectStore, places: &Places, id: &ObjectId, name: &DigestName) -> Loaded {
    let mut loaded = Loaded {
        id: id.clone(),
        name: name.clone(),
        hash: None,
        content: Err(Trouble::Gone),
        signature: None,
        signed: name.end,
    };
    let mut object = match store.open(id).await {
        Ok(object) => object,
        Err(error) if error.failure == Failure::NotFound => return loaded,
        Err(error) => return Loaded { content: Err(Trouble::Unreadable(error)), ..loaded },
    };
    match stored_signature(store, places, id, &object).await {
        Ok(signature) => loaded.signature = signature,
        Err(error) => return Loaded { content: Err(Trouble::Unreadable(error)), ..loaded },
    }
    if name.backfill {
        let generated = object.metadata.get("backfill-generation-timestamp").and_then(|time| time.parse().ok());
        loaded.signed = generated.or(object.modified).unwrap_or(name.end);
    }
    let content = match content::read(&mut object, MAX_DIGEST).await {
        Ok(content) => content,
        Err(ContentError::Port(error)) => return Loaded { content: Err(Trouble::Unreadable(error)), ..loaded },
        Err(error) => return Loaded { content: Err(Trouble::Malformed(error.to_string())), ..loaded },
    };
    loaded.hash = Some(content::sha256(&content));
    loaded.content = parse(&content, id, places);
    loaded
}

fn parse(content: &[u8], id: &ObjectId, places: &Places) -> Result<Digest, Trouble> {
    // Never the parser's own words: they would repeat what the file says.
    let digest: Digest = serde_json::from_slice(content).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Trouble::Malformed(format!("it is not the JSON of a digest: see line {line}, column {column}"))
    })?;
    for (name, time) in [("digestStartTime", &digest.digest_start_time), ("digestEndTime", &digest.digest_end_time)] {
        if time.parse::<Timestamp>().is_err() {
            return Err(Trouble::Malformed(format!("its {name} is no time")));
        }
    }
    if places.is_at(id, &digest.digest_s3_object) {
        Ok(digest)
    } else {
        Err(Trouble::Moved { bucket: digest.digest_s3_bucket, key: digest.digest_s3_object })
    }
}

async fn stored_signature(
    store: &dyn ObjectStore,
    places: &Places,
    id: &ObjectId,
    object: &Object,
) -> Result<Option<StoredSignature>, PortError> {
    /// The shape of a sidecar, and of the metadata that it stands for.
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Sidecar {
        signature: String,
        signature_algorithm: Option<String>,
    }

    let metadata = |name: &str| object.metadata.get(name).cloned();
    if let Some(signature) = metadata("signature") {
        return Ok(Some(StoredSignature { signature, algorithm: metadata("signature-algorithm") }));
    }
    let Some(sidecar) = places.sidecar(id) else { return Ok(None) };
    let mut sidecar = store.open(sidecar).await?;
    let content = match content::read(&mut sidecar, MAX_SIDECAR).await {
        Ok(content) => content,
        Err(ContentError::Port(error)) => return Err(error),
        Err(_) => Vec::new(),
    };
    // What is there and says nothing is a signature that is wrong, not one that is missing.
    let read: Option<Sidecar> = serde_json::from_slice(&content).ok();
    let read = read.map(|read| StoredSignature { signature: read.signature, algorithm: read.signature_algorithm });
    Ok(Some(read.unwrap_or(StoredSignature { signature: String::new(), algorithm: None })))
}
