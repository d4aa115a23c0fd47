//! What an account has, as records: instances, security groups, networks and their flow logs, buckets and trails, each
//! one line of JSON.
//!
//! A line is two things at once, the structured security log line of the inventory scanner and the input of the
//! detection pipeline's `inventory` format:
//!
//! ```json
//! {"schema":1,"service":"ec2","type":"instance","resource":"arn:aws:ec2:eu-west-1:123456789012:instance/i-0abc",
//!  "account":"123456789012","region":"eu-west-1","since":"2026-03-01T10:00:00Z","state":"running", ...}
//! ```
//!
//! `since` is when this configuration was first seen; it is what keeps a finding's id the same from scan to scan.
//! Everything is collected once, into typed snapshots ([`snapshot`]); what follows from them (which ports does this
//! instance open to the internet?) is worked out without another call. What could not be looked at is a record of its
//! own, of type `collection`, and a `could_not_look` on the resource: it never looks like nothing found.
//!
//! | to add a collector | where |
//! | --- | --- |
//! | its calls | one file in `collect/` |
//! | its typed snapshot and what follows from it | one file in `snapshot/` |
//! | its registration | one line in `collect.rs` |

#![warn(missing_docs)]

pub mod collect;
pub mod failure;
pub mod history;
pub mod inventory;
#[cfg(test)]
mod memory;
pub mod resource;
pub mod snapshot;

pub use inventory::{Inventory, Summary, collect};
