//! What every invocation needs, built once.

use std::sync::Arc;
use std::time::Duration;

use cloudvigil_aws::{ListedKeys, S3Objects};
use cloudvigil_core::ports::{ObjectStore, PublicKeys};
use cloudvigil_lambda::{Detector, Environment, EnvironmentError};

/// The name under which this function counts.
pub const FUNCTION: &str = "trail-detector";
/// How far back `LookupEvents` can look, in days.
pub const HISTORY_DAYS: u32 = 90;
/// How often the event history of a region is asked: the quota of two calls a second is shared with people who respond.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(1);

/// The function's ports and configuration.
pub struct Context {
    /// AWS, rules, state and findings.
    pub detector: Detector,
    /// How far back the first sweep looks, in days.
    pub lookup_days: u32,
    /// The time between two questions to a region's history.
    pub lookup_interval: Duration,
    /// The buckets whose log files are verified: those that may be read.
    pub verified_buckets: Vec<String>,
    /// The buckets.
    pub objects: Arc<dyn ObjectStore>,
    /// CloudTrail's public keys.
    pub keys: Arc<dyn PublicKeys>,
}

impl Context {
    /// Reads the environment.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        const EXPECTS: &str = "the days of the first look back, 1 to 90";
        let lookup_days = environment.number("LOOKUP_DAYS", EXPECTS, 7)?;
        if !(1..=HISTORY_DAYS).contains(&lookup_days) {
            return Err(EnvironmentError::Malformed { name: "LOOKUP_DAYS", expects: EXPECTS });
        }
        let detector = Detector::from_environment(environment)?;
        let verified_buckets = environment.list("VERIFIED_BUCKETS");
        Ok(Self { lookup_days, verified_buckets, ..Self::on(detector) })
    }

    /// A context that verifies no bucket.
    fn on(detector: Detector) -> Self {
        let objects = Arc::new(S3Objects::new(Arc::clone(&detector.clients)));
        let keys = Arc::new(ListedKeys::new(Arc::clone(&detector.clients)));
        let lookup_interval = LOOKUP_INTERVAL;
        Self { detector, lookup_days: 7, lookup_interval, verified_buckets: Vec::new(), objects, keys }
    }

    /// A context for tests.
    #[cfg(test)]
    pub fn for_test(detector: Detector) -> Self {
        Self::on(detector)
    }
}
