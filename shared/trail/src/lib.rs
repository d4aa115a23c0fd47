//! The health of `CloudTrail` itself: it records what it did, and what it delivered is still what lies in the bucket.
//!
//! **State.** A trail's configuration is compared with the one that was seen last, so that a change is found although no
//! event tells of it, and its finding says in words what is no longer recorded, and what to run to undo it.
//!
//! | need | module |
//! | --- | --- |
//! | a trail as it was seen | [`state`] |
//! | its bucket as it was seen | [`bucket`] |
//! | what it records, and what it does no more, in words | [`coverage`] |
//! | what to run to have it as it was | [`undo`] |
//! | what became of it, as lines that rules judge | [`changes`] |
//! | the trails as they were seen last | [`snapshots`] |
//! | what a call takes from one of them | [`calls`] |
//! | what all trails together leave out | [`gaps`] |
//!
//! **Digests.** Every hour `CloudTrail` writes a digest file for each trail and region: the hashes of the log files that
//! it delivered, the hash and the signature of the digest before, all of it signed
//! (<https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-custom-validation.html>). So whoever
//! changes or removes a log file has to change its digest, and cannot sign it; and a digest that is gone is named by the
//! next one.
//!
//! | need | module |
//! | --- | --- |
//! | which digests there are, by trail, account and region | [`chain`] |
//! | where a file lies that a digest names: in a bucket, or in a folder | [`places`] |
//! | a chain verified, digest by digest, oldest first | [`walk`] |
//! | what came of it, in numbers | [`summary`] |
//! | what has come into a bucket since the last look | [`watch`] |
//! | log files that no digest names | [`unlisted`] |
//! | public keys from a file | [`keys`] |
//!
//! Nothing here decides what is bad: each digest, and each file that is not as it was, becomes an inventory line (see
//! [`record`]), and rules decide. There is no I/O here but through the core's ports.

#![warn(missing_docs)]

pub mod bucket;
pub mod calls;
pub mod chain;
pub mod changes;
mod content;
pub mod coverage;
mod digest;
pub mod gaps;
pub mod keys;
mod name;
pub mod places;
pub mod record;
mod ring;
pub mod snapshots;
pub mod state;
pub mod summary;
pub mod undo;
pub mod unlisted;
pub mod walk;
pub mod watch;

pub use keys::KeyRing;
pub use name::DigestName;
pub use places::Places;
pub use summary::Summary;
pub use walk::{Scope, Walk};
