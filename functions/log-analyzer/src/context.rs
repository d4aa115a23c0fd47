//! What every invocation needs, built once.

use std::sync::Arc;

use cloudvigil_aws::S3Objects;
use cloudvigil_core::formats::FORMATS;
use cloudvigil_core::pipeline::Options;
use cloudvigil_core::ports::ObjectStore;
use cloudvigil_core::silence::Ears;
use cloudvigil_lambda::{Detector, Environment, EnvironmentError};

use crate::refused::Refused;

const MIB: u64 = 1024 * 1024;

/// The function's ports and configuration.
pub struct Context {
    /// Rules, state and findings.
    pub detector: Detector,
    /// Where log objects lie.
    pub objects: Arc<dyn ObjectStore>,
    /// Log groups that cloudvigil writes itself.
    pub own_log_groups: Vec<String>,
    /// Places that cloudvigil writes itself, each `bucket/prefix`.
    pub own_prefixes: Vec<String>,
    /// What was refused for being cloudvigil's own.
    pub refused: Refused,
    /// What hears the sources, so that their silence is noticed.
    pub ears: Ears,
}

impl Context {
    /// Reads the environment.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        let limit = environment.number("MAX_OBJECT_MIB", "the most MiB of an object, decompressed", 1024_u64)?;
        let mut detector = Detector::from_environment(environment)?;
        detector.options.max_bytes = Some(limit.saturating_mul(MIB));
        Ok(Self {
            objects: Arc::new(S3Objects::new(Arc::clone(&detector.clients))),
            detector,
            own_log_groups: environment.list("OWN_LOG_GROUPS"),
            own_prefixes: environment.list("OWN_PREFIXES"),
            refused: Refused::default(),
            ears: Ears::default(),
        })
    }

    /// The options for logs of any format: what comes here says what it is by its content alone.
    pub fn options(&self) -> Options {
        Options { formats: FORMATS, ..self.detector.options.clone() }
    }
}
