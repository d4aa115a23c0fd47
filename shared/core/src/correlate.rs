//! Contributions to findings, exact however the input is cut.
//!
//! A record that matches a rule contributes to the rule's findings: to those of its group, in the bucket of its time.
//! Contributions are stored under the object that they came from, so that writing them twice changes nothing; a
//! finding is computed from all contributions that are there, so that whoever writes last sees everything; and it is
//! published when it moved. [`Settler`] does the last two for the partitions that an object touched.
//!
//! Conditions that more contributions only ever fulfil slide: a window may start anywhere, and is hot at once. All others
//! ask UTC-aligned windows that are closed: by the end of the input, or by time, the rule's lateness after their end.
//! [`plan`] says which are which.

mod contribution;
mod contributions;
mod corroboration;
mod fold;
mod group;
mod held;
mod kept;
mod packed;
pub mod plan;
mod set_aside;
mod settle;
mod stored;
mod windows;

use contribution::Texts;
pub(crate) use contribution::{Contribution, RecordKey, hash_of};
pub use contributions::{Contributions, Partition};
pub(crate) use contributions::{MAX_PARTITIONS, is_failed_call};
pub use corroboration::Corroboration;
pub(crate) use fold::MAX_RESOURCES;
pub use fold::{Found, finding_in};
pub(crate) use group::BorrowedGroup;
pub use held::Held;
pub(crate) use kept::{MAX_VALUE, Teller, Told};
pub use settle::{Closing, Marks, SETTLED, SettleError, Settler, is_held_back, settled};
pub use stored::StoredContributions;

use litemap::LiteMap;
use plan::Micros;

/// What the occurrences of a finding have in common: field name to value. Mostly there is one, and there are many groups.
pub type Group = LiteMap<String, Option<String>>;

/// The start of a bucket in microseconds since 1970; `None`: the occurrences have no time.
pub type Bucket = Option<Micros>;

const HOUR: Micros = 3600 * 1_000_000;

/// The length of the buckets of a rule with this timespan.
pub fn bucket_length(timespan: Micros) -> Micros {
    HOUR.max(timespan.saturating_mul(2))
}

/// The bucket that a time falls into.
pub fn bucket_of(time: Option<Micros>, timespan: Micros) -> Bucket {
    time.map(|time| time - time.rem_euclid(bucket_length(timespan)))
}

/// What the finding of a rule, a group and a bucket is known by.
#[derive(Debug, Clone, Copy)]
struct Ids {
    /// Its id.
    id: [u8; 16],
    /// What stays the same while the same thing goes on, from bucket to bucket.
    going_on: [u8; 16],
}

impl Ids {
    fn of(rule: &str, group: &Group, bucket: Bucket) -> Self {
        let going_on = Texts::of(&[rule, &group_text(group)]);
        let bucket = bucket.map_or_else(|| "none".to_owned(), |start| start.to_string());
        Self { id: going_on.clone().and(&bucket).hash(), going_on: going_on.hash() }
    }
}

fn group_text(group: &Group) -> String {
    // JSON, so that no value can be mistaken for another's end.
    serde_json::to_string(group).unwrap_or_default()
}

/// 32 hexadecimal digits over texts, each told apart from the next by its length.
pub(crate) fn digest(parts: &[&str]) -> String {
    hex(&hash_of(parts))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half & 15)]);
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        digits.push(digit(byte >> 4));
        digits.push(digit(*byte));
    }
    digits
}
