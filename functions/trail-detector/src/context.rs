//! What every invocation needs, built once.

use std::sync::Arc;
use std::time::Duration;

use cloudvigil_aws::{ListedKeys, S3Objects};
use cloudvigil_core::ports::{ObjectStore, PublicKeys};
use cloudvigil_core::silence::Ears;
use cloudvigil_lambda::{Detector, Environment, EnvironmentError};
use jiff::SignedDuration;

/// How far back `LookupEvents` can look, in days.
pub const HISTORY_DAYS: u32 = 90;
/// How often the event history of a region is asked: the quota of two calls a second is shared with people who respond.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(1);
/// How often a region's controls are asked: `GuardDuty` and Config allow few calls a second, shared alike.
const CONTROL_INTERVAL: Duration = Duration::from_millis(250);

/// How often it is written that a trail delivered. A region with a trail is polled in vain a thousand times before it
/// falls silent.
const HEARD_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// The function's ports and configuration.
pub struct Context {
    /// AWS, rules, state and findings.
    pub detector: Detector,
    /// How far back the first sweep looks, in days.
    pub lookup_days: u32,
    /// The time between two questions to a region's history.
    pub lookup_interval: Duration,
    /// The time between two questions to a region's controls.
    pub control_interval: Duration,
    /// The buckets whose log files are verified: those that may be read.
    pub verified_buckets: Vec<String>,
    /// The shortest silence of a log source that is told.
    pub silence_floor: SignedDuration,
    /// What hears the trails' deliveries.
    pub ears: Ears,
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
        let hours = environment.number("SILENCE_HOURS", "the hours of the shortest silence that is told", 24_u32)?;
        let silence_floor = SignedDuration::from_hours(hours.into());
        Ok(Self { lookup_days, verified_buckets, silence_floor, ..Self::on(detector) })
    }

    /// A context that verifies no bucket.
    fn on(detector: Detector) -> Self {
        let objects = Arc::new(S3Objects::new(Arc::clone(&detector.clients)));
        let keys = Arc::new(ListedKeys::new(Arc::clone(&detector.clients)));
        let (lookup_interval, control_interval) = (LOOKUP_INTERVAL, CONTROL_INTERVAL);
        let silence_floor = SignedDuration::from_hours(24);
        let ears = Ears::with_spacing(HEARD_EVERY);
        let verified_buckets = Vec::new();
        Self {
            detector,
            lookup_days: 7,
            lookup_interval,
            control_interval,
            verified_buckets,
            silence_floor,
            ears,
            objects,
            keys,
        }
    }

    /// A context for tests.
    #[cfg(test)]
    pub fn for_test(detector: Detector) -> Self {
        Self::on(detector)
    }
}
