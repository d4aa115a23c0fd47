//! What the functions share: the ports that they alone use, their configuration and their counters.
//!
//! | need | module |
//! | --- | --- |
//! | state: one `DynamoDB` table | [`state`] |
//! | findings: an SNS topic | [`findings`] |
//! | mail: `SESv2` | [`mail`] |
//! | counters that `CloudWatch` reads from a log line | [`metrics`] |
//! | the configuration and the rules that lie in S3 | [`configuration`] |
//! | the SDK's clients, configured by the environment alone | [`clients`] |
//! | what every function that makes findings works with | [`detector`] |
//! | a function's environment, read once | [`environment`] |
//! | diagnostics of a function | [`telemetry`] |
//! | calls that take something from what watches, foretold and noted for its state's sake | [`tampering_calls`] |
//! | what its state shows | [`shown`] |
//!
//! It is apart from [`cloudvigil_aws`] because the command line has none of these needs, and their three SDKs take
//! longer to build than all of the command line's own code.

#![warn(missing_docs)]

pub mod clients;
pub mod configuration;
pub mod detector;
pub mod environment;
pub mod findings;
pub mod mail;
pub mod metrics;
pub mod shown;
pub mod state;
pub mod tampering_calls;
pub mod telemetry;

pub use configuration::Configuration;
pub use detector::Detector;
pub use environment::{Environment, EnvironmentError};
pub use findings::SnsFindings;
pub use mail::SesMailer;
pub use metrics::Counters;
pub use state::DynamoState;
