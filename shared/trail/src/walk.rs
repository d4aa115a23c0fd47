//! A chain, verified digest by digest, oldest first, with the next one always in sight: it holds the signature of the
//! one before.
//!
//! A signature is good if `CloudTrail`'s key says so, wherever it comes from: the object's metadata or the next digest,
//! signed or not. Where both are there, both must be good.

use cloudvigil_core::ports::{Failure, ObjectStore, PublicKeys};
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::chain::Chain;
use crate::content::{self, ContentError};
use crate::digest::{Digest, HASH_ALGORITHM, Loaded, LogFile, SIGNATURE_ALGORITHM, Trouble, load};
use crate::keys::is_signed;
use crate::name::{DigestName, file_name};
use crate::places::Places;
use crate::record::{self, DigestStatus, LogFileStatus, Place};
use crate::ring::Ring;
use crate::summary::{Gap, Summary};

/// How many log files are read at once.
const CONCURRENCY: usize = 16;

/// Which part of a chain is verified.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Digests that end after this.
    pub since: Option<Timestamp>,
    /// Digests that end no later than an hour after this: what was delivered before it may stand in the next digest.
    pub until: Option<Timestamp>,
    /// From when on every digest was listed; `None`: all were.
    pub listed_from: Option<Timestamp>,
    /// The digest that was verified last, some time ago: the first one must follow upon it.
    pub anchor: Option<Anchor>,
}

/// A digest that was looked at before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Its key.
    pub key: String,
    /// The end of its time.
    pub end: Timestamp,
}

/// What came of one digest and the log files that it names.
#[derive(Debug, Default)]
pub struct Step {
    /// The digest's name.
    pub source: String,
    /// Inventory lines: one for the digest, one for each break.
    pub records: Vec<Value>,
    /// What could not be looked at, and why.
    pub errors: Vec<String>,
    /// Whether some of that may be looked at later: throttling, a broken connection.
    pub transient: bool,
    /// The digest, for the next walk to begin at.
    pub anchor: Option<Anchor>,
}

/// A walk over a chain.
pub struct Walk<'a> {
    store: &'a dyn ObjectStore,
    keys: &'a dyn PublicKeys,
    places: &'a Places,
    chain: &'a Chain,
    scope: Scope,
    /// The next digest to be looked at, and the first one that is beyond the scope.
    next: usize,
    end: usize,
    ahead: Option<Loaded>,
    /// The one before the next.
    previous: Option<Anchor>,
    ring: Ring,
    summary: Summary,
}

impl<'a> Walk<'a> {
    /// A walk over the part of a chain that `scope` says.
    pub fn new(
        store: &'a dyn ObjectStore,
        keys: &'a dyn PublicKeys,
        places: &'a Places,
        chain: &'a Chain,
        scope: Scope,
    ) -> Self {
        let digests = &chain.digests;
        let since = scope.since.into_iter().chain(scope.anchor.as_ref().map(|anchor| anchor.end)).max();
        let next = since.map_or(0, |since| digests.partition_point(|(name, _)| name.end <= since));
        let until =
            scope.until.map(|until| until.saturating_add(SignedDuration::from_hours(1)).unwrap_or(Timestamp::MAX));
        let end = until.map_or(digests.len(), |until| digests.partition_point(|(name, _)| name.end <= until));
        let before = next.checked_sub(1).map(|before| &digests[before]);
        let previous = scope.anchor.clone();
        let previous = previous.or_else(|| before.map(|(name, id)| Anchor { key: id.source.clone(), end: name.end }));
        let summary = Summary {
            account: chain.account.clone(),
            region: chain.region.clone(),
            trail: chain.trail.clone(),
            home_region: chain.home_region.clone(),
            backfill: chain.backfill,
            ..Summary::default()
        };
        let ring = Ring::default();
        Self { store, keys, places, chain, scope, next, end, ahead: None, previous, ring, summary }
    }

    /// What came of the digests so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// How many digests are still to be looked at.
    pub fn left(&self) -> usize {
        self.end.saturating_sub(self.next)
    }

    /// Looks at the next digest and its log files; `None` at the end.
    pub async fn step(&mut self) -> Option<Step> {
        if self.next >= self.end {
            return None;
        }
        let current = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.load(self.next).await?,
        };
        self.next += 1;
        let ahead = self.load(self.next).await;
        let mut step = Step { source: current.id.source.clone(), ..Step::default() };
        self.judge(&current, ahead.as_ref(), &mut step).await;
        let anchor = Anchor { key: current.id.source.clone(), end: current.name.end };
        step.anchor = Some(anchor.clone());
        self.previous = Some(anchor);
        self.ahead = ahead;
        Some(step)
    }

    async fn load(&self, index: usize) -> Option<Loaded> {
        let (name, id) = self.chain.digests.get(index)?;
        Some(load(self.store, self.places, id, name).await)
    }

    async fn judge(&mut self, current: &Loaded, ahead: Option<&Loaded>, step: &mut Step) {
        let end = current.name.end;
        self.summary.to = Some(end);
        let digest = match &current.content {
            Ok(digest) => digest,
            Err(trouble) => {
                self.summary.from = self.summary.from.or(Some(end));
                self.trouble(current, trouble, step);
                return;
            }
        };
        let start = digest.digest_start_time.parse().unwrap_or(end);
        self.summary.from = self.summary.from.or(Some(start));
        self.link(current, digest, start, step);
        let verdict = self.verdict(current, digest, ahead, step).await;
        match verdict.status {
            DigestStatus::Valid => self.summary.digests.valid += 1,
            DigestStatus::Unverified | DigestStatus::KeyUnknown => self.summary.digests.unverified += 1,
            _ => self.summary.digests.invalid += 1,
        }
        let said = ahead.and_then(|ahead| ahead.said_of(current));
        let more = json!({
            "digest_start": digest.digest_start_time,
            "digest_end": digest.digest_end_time,
            "fingerprint": digest.digest_public_key_fingerprint,
            "expected_hash": said.and_then(|said| said.previous_digest_hash_value.as_deref()),
            "actual_hash": current.hash,
            "log_files": digest.log_files.len(),
            "reason": verdict.reason,
        });
        let place = self.place(current, digest);
        // A key that is lacking is one thing for all digests that are signed with it, and not each one's.
        if !verdict.repeated {
            step.records.push(record::digest(self.chain, verdict.status, &place, end, more));
        }
        if verdict.vouches {
            self.log_files(current, digest, step).await;
        } else {
            self.summary.log_files.unchecked += digest.log_files.len() as u64;
        }
    }

    /// A digest that says nothing.
    fn trouble(&mut self, current: &Loaded, trouble: &Trouble, step: &mut Step) {
        let counts = &mut self.summary.digests;
        let (status, counter, reason) = match trouble {
            Trouble::Gone => (DigestStatus::Missing, &mut counts.missing, "it was there a moment ago".to_owned()),
            Trouble::Malformed(reason) => (DigestStatus::Malformed, &mut counts.invalid, reason.clone()),
            Trouble::Moved { bucket, key } => {
                (DigestStatus::Moved, &mut counts.invalid, format!("it says that it is s3://{bucket}/{key}"))
            }
            Trouble::Unreadable(error) => {
                step.errors.push(error.to_string());
                step.transient |= error.failure == Failure::Transient;
                (DigestStatus::Unreadable, &mut counts.unreadable, error.source.to_string())
            }
        };
        *counter += 1;
        let more = json!({"actual_hash": current.hash, "reason": reason});
        let place = Place::of(&current.id);
        step.records.push(record::digest(self.chain, status, &place, current.name.end, more));
    }

    /// Whether a digest follows upon the one before.
    fn link(&mut self, current: &Loaded, digest: &Digest, start: Timestamp, step: &mut Step) {
        let before = self.previous.as_ref();
        let Some(named) = digest.previous_digest_s3_object.as_deref() else {
            // Backfill digests come now and then; another one always begins anew when logging does.
            if let Some(before) = before
                && !self.chain.backfill
            {
                let gap = Gap { from: before.end, to: start };
                self.summary.gaps.push(gap);
                let more = json!({
                    "gap_start": gap.from,
                    "digest_start": gap.to,
                    "reason": "it names none before it, as after logging or validation was switched off and on again",
                });
                let place = self.place(current, digest);
                step.records.push(record::digest(self.chain, DigestStatus::Gap, &place, current.name.end, more));
            }
            return;
        };
        let is_before = before.is_some_and(|before| file_name(&before.key) == file_name(named));
        if is_before || self.is_listed(named) {
            return;
        }
        let name = DigestName::parse(named);
        let named_end = name.map_or(start, |name| name.end);
        if self.scope.listed_from.is_some_and(|from| named_end < from) {
            return;
        }
        let bucket = digest.previous_digest_s3_bucket.as_deref().unwrap_or(&digest.digest_s3_bucket);
        let elsewhere = bucket != digest.digest_s3_bucket;
        let (status, reason) = if elsewhere {
            (DigestStatus::BeginningMissing, "the chain goes on in another bucket")
        } else if before.is_none() {
            (DigestStatus::BeginningMissing, "it is before everything that is there")
        } else {
            (DigestStatus::Missing, "it is not there")
        };
        if let Some(before) = before {
            self.summary.gaps.push(Gap { from: before.end, to: start });
        }
        if status == DigestStatus::Missing {
            self.summary.digests.missing += 1;
        }
        let more = json!({
            "named_by": digest.digest_s3_object,
            "expected_hash": digest.previous_digest_hash_value,
            "gap_start": before.map(|before| before.end),
            "digest_start": start,
            "reason": reason,
        });
        let place = Place { bucket: Some(bucket), key: named };
        step.records.push(record::digest(self.chain, status, &place, named_end, more));
    }

    fn is_listed(&self, key: &str) -> bool {
        let Some(name) = DigestName::parse(key) else { return false };
        let digests = &self.chain.digests;
        let start = digests.partition_point(|(other, _)| other.end < name.end);
        let same = digests[start..].iter().take_while(|(other, _)| other.end == name.end);
        same.into_iter().any(|(_, id)| file_name(&id.source) == file_name(key))
    }

    /// Whether a digest is as it was delivered.
    async fn verdict(&mut self, current: &Loaded, digest: &Digest, ahead: Option<&Loaded>, step: &mut Step) -> Verdict {
        self.ring.ask(self.keys, self.chain, current, step).await;
        let hash = current.hash.as_deref().unwrap_or_default();
        let stored = current.signature.as_ref();
        let algorithms =
            [digest.digest_signature_algorithm.as_deref(), stored.and_then(|stored| stored.algorithm.as_deref())];
        // What the next digest says counts unless that one is known to be forged.
        let said = ahead.filter(|ahead| !self.ring.is_forged(ahead)).and_then(|ahead| ahead.said_of(current));
        let said_hash = said.and_then(|said| said.previous_digest_hash_value.as_deref());
        let differs = said_hash.is_some_and(|said| !said.eq_ignore_ascii_case(hash));
        let is_known = algorithms.into_iter().flatten().all(|algorithm| algorithm == SIGNATURE_ALGORITHM);
        let key = self.ring.keys.get(&digest.digest_public_key_fingerprint);
        let Some(key) = key.filter(|_| is_known) else {
            return if differs {
                Verdict::of(DigestStatus::Changed, "its content is not what the next digest says")
            } else if !is_known {
                Verdict::of(DigestStatus::KeyUnknown, "it is signed by an algorithm that is none of CloudTrail's")
            } else if self.ring.failed {
                let repeated = std::mem::replace(&mut self.ring.told, true);
                Verdict { repeated, ..Verdict::of(DigestStatus::Unverified, "the public keys could not be had") }
            } else {
                let fingerprint = digest.digest_public_key_fingerprint.clone();
                let repeated = !self.ring.unknown.insert(fingerprint);
                let reason =
                    "none of CloudTrail's public keys has its fingerprint, nor that of any after it with the same";
                Verdict { repeated, ..Verdict::of(DigestStatus::KeyUnknown, reason) }
            };
        };
        let text = digest.signed_text(hash);
        let stored = stored.map(|stored| is_signed(key, &text, &stored.signature));
        let said_signature = said.and_then(|said| said.previous_digest_signature.as_deref());
        let chained = said_signature.map(|signature| is_signed(key, &text, signature));
        match (stored, chained) {
            (Some(true), _) | (None, Some(true)) => {
                // The one ahead has said otherwise of a digest that is sound: that one is not.
                self.ring.refuted = (differs || chained == Some(false)).then(|| ahead.map(|a| a.id.clone())).flatten();
                Verdict::of(DigestStatus::Valid, None)
            }
            (Some(false), Some(true)) => Verdict {
                vouches: true,
                ..Verdict::of(DigestStatus::SignatureInvalid, "the signature that is stored with it is another one")
            },
            _ if differs => Verdict::of(DigestStatus::Changed, "its content is not what the next digest says"),
            (Some(false), _) => Verdict::of(DigestStatus::SignatureInvalid, "its signature is not one of its content"),
            (None, Some(false)) => Verdict::of(
                DigestStatus::SignatureInvalid,
                "the signature that the next digest has of it is not one of its content: one of the two was changed",
            ),
            (None, None) if self.places.have_metadata() => {
                Verdict::of(DigestStatus::SignatureInvalid, "the object has no signature in its metadata")
            }
            (None, None) if self.ring.refuted.take().is_some_and(|refuted| refuted == current.id) => {
                Verdict::of(DigestStatus::SignatureInvalid, "what it says of the digest before it is not true")
            }
            (None, None) if ahead.is_some_and(|ahead| self.passes_over(ahead, current)) => {
                Verdict::of(DigestStatus::SignatureInvalid, "the digest after it does not know it")
            }
            (None, None) => Verdict::of(
                DigestStatus::Unverified,
                "its signature is in the metadata of the object in S3, and in the digest after it",
            ),
        }
    }

    /// Whether a digest names another one before it than the one that lies there.
    fn passes_over(&self, ahead: &Loaded, current: &Loaded) -> bool {
        let named = ahead.content.as_ref().ok().and_then(|digest| digest.previous_digest_s3_object.as_deref());
        ahead.said_of(current).is_none() && named.is_some_and(|named| self.is_listed(named))
    }

    async fn log_files(&mut self, current: &Loaded, digest: &Digest, step: &mut Step) {
        let this: &Self = self;
        let mut looked = futures::stream::iter(&digest.log_files)
            .map(|file| async move { (file, this.log_file(current, digest, file).await) })
            .buffered(CONCURRENCY);
        let mut counts = self.summary.log_files;
        while let Some((file, looked)) = looked.next().await {
            let (status, actual, reason) = match looked {
                Looked::Valid => {
                    counts.valid += 1;
                    continue;
                }
                Looked::Missing => {
                    counts.missing += 1;
                    (LogFileStatus::Missing, None, "it is not there".to_owned())
                }
                Looked::Differs(actual) => {
                    counts.changed += 1;
                    (LogFileStatus::Changed, Some(actual), "its content is another one".to_owned())
                }
                Looked::Damaged(reason) => {
                    counts.changed += 1;
                    (LogFileStatus::Changed, None, reason)
                }
                Looked::Failed(error) => {
                    counts.unreadable += 1;
                    step.errors.push(error.to_string());
                    step.transient |= error.failure == Failure::Transient;
                    (LogFileStatus::Unreadable, None, error.source.to_string())
                }
            };
            let more = json!({
                "digest": digest.digest_s3_object,
                "expected_hash": file.hash_value,
                "actual_hash": actual,
                "reason": reason,
            });
            let place = Place { bucket: Some(&file.s3_bucket), key: &file.s3_object };
            step.records.push(record::log_file(self.chain, status, &place, current.name.end, more));
        }
        drop(looked);
        self.summary.log_files = counts;
    }

    async fn log_file(&self, current: &Loaded, digest: &Digest, file: &LogFile) -> Looked {
        let found = self.places.find(&current.id, &digest.digest_s3_bucket, &file.s3_bucket, &file.s3_object);
        let Some(id) = found else { return Looked::Missing };
        if file.hash_algorithm.as_deref().is_some_and(|algorithm| algorithm != HASH_ALGORITHM) {
            return Looked::Damaged("its digest names a hash that is none of CloudTrail's".to_owned());
        }
        match content::hash(self.store, &id).await {
            Ok(hash) if hash.eq_ignore_ascii_case(&file.hash_value) => Looked::Valid,
            Ok(hash) => Looked::Differs(hash),
            Err(ContentError::Port(error)) if error.failure == Failure::NotFound => Looked::Missing,
            Err(ContentError::Port(error)) => Looked::Failed(error),
            Err(error) => Looked::Damaged(error.to_string()),
        }
    }

    /// A digest's place in its bucket, also where it was found in a folder.
    fn place<'p>(&self, current: &'p Loaded, digest: &'p Digest) -> Place<'p> {
        if self.places.have_metadata() {
            Place::of(&current.id)
        } else {
            Place { bucket: Some(&digest.digest_s3_bucket), key: &digest.digest_s3_object }
        }
    }
}

impl Loaded {
    /// This digest, if it names `before` as the one before it.
    fn said_of(&self, before: &Loaded) -> Option<&Digest> {
        self.content.as_ref().ok().filter(|digest| digest.follows(&before.id))
    }
}

/// What is to be thought of a digest.
struct Verdict {
    status: DigestStatus,
    reason: Option<&'static str>,
    /// Whether what it says of log files may be `CloudTrail`'s word.
    vouches: bool,
    /// Whether the same was said of another digest already.
    repeated: bool,
}

impl Verdict {
    fn of(status: DigestStatus, reason: impl Into<Option<&'static str>>) -> Self {
        let vouches = matches!(status, DigestStatus::Valid | DigestStatus::Unverified | DigestStatus::KeyUnknown);
        Self { status, reason: reason.into(), vouches, repeated: false }
    }
}

/// What came of looking at a log file.
enum Looked {
    Valid,
    Missing,
    Differs(String),
    Damaged(String),
    Failed(cloudvigil_core::ports::PortError),
}
