//! What every invocation needs, built once.

use cloudvigil_lambda::{Detector, Environment, EnvironmentError};

/// The name under which this function counts.
pub const FUNCTION: &str = "trail-detector";
/// How far back `LookupEvents` can look, in days.
pub const HISTORY_DAYS: u32 = 90;

/// The function's ports and configuration.
pub struct Context {
    /// AWS, rules, state and findings.
    pub detector: Detector,
    /// How far back the first sweep looks, in days.
    pub lookup_days: u32,
}

impl Context {
    /// Reads the environment.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        const EXPECTS: &str = "the days of the first look back, 1 to 90";
        let lookup_days = environment.number("LOOKUP_DAYS", EXPECTS, 7)?;
        if !(1..=HISTORY_DAYS).contains(&lookup_days) {
            return Err(EnvironmentError::Malformed { name: "LOOKUP_DAYS", expects: EXPECTS });
        }
        Ok(Self { detector: Detector::from_environment(environment)?, lookup_days })
    }
}
