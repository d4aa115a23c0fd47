//! The account's detective controls: what else watches it, beside its trails.
//!
//! A control is looked at and compared with what it was when it was last looked at, so that it is found to be off although
//! no event tells of it. Each consists of parts (a detector of `GuardDuty` and each of its features), and each part says
//! for itself what nobody sees when it does not work, and what to run to have it again; the comparison is one for all.
//!
//! | need | module |
//! | --- | --- |
//! | a control as it was seen | [`control`] |
//! | how much a part of it covers | [`extent`] |
//! | the controls as they were seen last, and what became of them, as lines that rules judge | [`snapshots`] |
//! | what a call takes from a control | [`calls`] |
//! | every control that a region has | [`look`] |
//! | `GuardDuty`'s detector and its features | [`guardduty`] |
//! | Config's recorder and its delivery channel | [`config`] |
//! | Security Hub and its standards | [`security_hub`] |
//! | the keys that trails encrypt log files with | [`keys`] |
//!
//! Flow logs are a control too; the inventory-scanner collects them. The SDKs of these services are big, and the command
//! line has no need of them, so it does not depend on this crate.

#![warn(missing_docs)]

pub mod calls;
pub mod config;
pub mod control;
pub mod extent;
pub mod guardduty;
pub mod keys;
pub mod look;
pub mod security_hub;
pub mod snapshots;

pub use control::{Condition, Control, Part, Seen};
