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
//! | what services and parts are called | [`services`] |
//!
//! The trail-detector looks at `GuardDuty`, Config, Security Hub and the trails' keys, and the inventory-scanner at flow
//! logs, which are a control too. No SDK is needed here: every function that hears of a call says what it takes.

#![warn(missing_docs)]

pub mod calls;
pub mod control;
pub mod extent;
pub mod services;
pub mod snapshots;

pub use control::{Condition, Control, Part, Seen};
