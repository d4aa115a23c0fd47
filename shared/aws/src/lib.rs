//! The core's ports on AWS, and what more than one function needs to know of an account.
//!
//! | need | module |
//! | --- | --- |
//! | objects: S3 | [`objects`] |
//! | state: one `DynamoDB` table | [`state`] |
//! | findings: an SNS topic | [`findings`] |
//! | mail: `SESv2` | [`mail`] |
//! | the account's trails, and whether they are alive | [`trails`] |
//! | the account's event history | [`lookup`] |
//! | its regions and its id | [`regions`] |
//! | counters that `CloudWatch` reads from a log line | [`metrics`] |
//! | what every function that makes findings works with | [`detector`] |
//! | a function's environment, read once | [`environment`] |
//! | diagnostics of a function | [`telemetry`] |
//!
//! Everything shares one [`clients::Clients`], which does nothing until it is first asked: a function polls its runtime
//! before any of it is loaded. Failures are [`cloudvigil_core::ports::PortError`]s; [`error`] says which is which.

#![warn(missing_docs)]

pub mod clients;
pub mod detector;
pub mod environment;
pub mod error;
pub mod findings;
pub mod lookup;
pub mod mail;
pub mod metrics;
pub mod objects;
pub mod regions;
pub mod state;
pub mod telemetry;
mod time;
pub mod trails;

#[cfg(test)]
mod stub;

pub use clients::Clients;
pub use detector::Detector;
pub use environment::{Environment, EnvironmentError};
pub use findings::SnsFindings;
pub use mail::SesMailer;
pub use metrics::Counters;
pub use objects::S3Objects;
pub use state::DynamoState;
