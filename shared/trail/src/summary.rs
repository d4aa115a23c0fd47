//! What came of a chain, in numbers.

use jiff::Timestamp;
use serde::Serialize;

/// What came of a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The account that the digests speak of.
    pub account: String,
    /// The region that they speak of.
    pub region: String,
    /// The trail's name.
    pub trail: String,
    /// The trail's home region.
    pub home_region: String,
    /// Whether they are backfill digests.
    pub backfill: bool,
    /// The beginning of the first digest's time.
    pub from: Option<Timestamp>,
    /// The end of the last digest's time.
    pub to: Option<Timestamp>,
    /// What the digests are.
    pub digests: DigestCounts,
    /// What the log files are.
    pub log_files: LogFileCounts,
    /// Times between the two that no digest vouches for.
    pub gaps: Vec<Gap>,
}

/// Digests, by what they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DigestCounts {
    /// As they were delivered.
    pub valid: u64,
    /// Nobody knows: no signature, or none of the known keys'.
    pub unverified: u64,
    /// Not as they were delivered.
    pub invalid: u64,
    /// Not there.
    pub missing: u64,
    /// They could not be read.
    pub unreadable: u64,
}

/// Log files, by what they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LogFileCounts {
    /// As their digest says.
    pub valid: u64,
    /// Not as their digest says.
    pub changed: u64,
    /// Not there.
    pub missing: u64,
    /// They could not be read.
    pub unreadable: u64,
    /// Named by a digest that is not `CloudTrail`'s.
    pub unchecked: u64,
}

/// A time that no digest vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The end of the digest before.
    pub from: Timestamp,
    /// The beginning of the digest after.
    pub to: Timestamp,
}
