//! What every invocation needs, built once.

use std::sync::{Arc, OnceLock};

use cloudvigil_aws::{Clients, DynamoState, Environment, EnvironmentError, S3Objects, SnsFindings};
use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::pipeline::Options;
use cloudvigil_core::ports::{Clock, FindingSink, ObjectStore, StateStore, SystemClock};

/// The name under which this function counts.
pub const FUNCTION: &str = "log-analyzer";

/// The function's ports and configuration.
pub struct Context {
    /// Where log objects lie.
    pub objects: Arc<dyn ObjectStore>,
    /// Contributions and marks.
    pub state: Arc<dyn StateStore>,
    /// Where findings go.
    pub sink: Arc<dyn FindingSink>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How objects are analysed.
    pub options: Options,
    /// Log groups that cloudvigil writes itself.
    pub own_log_groups: Vec<String>,
    /// Places that cloudvigil writes itself, each `bucket/prefix`.
    pub own_prefixes: Vec<String>,
    catalogue: OnceLock<Catalogue>,
}

impl Context {
    /// Reads the environment. Clients are made and rules are compiled on first use.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        const MIB: u64 = 1024 * 1024;
        let limit = environment.number("MAX_OBJECT_MIB", "the most MiB of an object, decompressed", 1024_u64)?;
        let table = environment.required("STATE_TABLE", "the name of the DynamoDB table that holds the state")?;
        let topic = environment.required("FINDINGS_TOPIC_ARN", "the ARN of the SNS topic of findings")?;
        let clients = Arc::new(Clients::new());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Self {
            objects: Arc::new(S3Objects::new(Arc::clone(&clients))),
            state: Arc::new(DynamoState::new(Arc::clone(&clients), table, Arc::clone(&clock))),
            sink: Arc::new(SnsFindings::new(clients, topic)),
            clock,
            options: Options {
                max_bytes: Some(limit.saturating_mul(MIB)),
                own_roles: environment.list("OWN_ROLES"),
                ..Options::default()
            },
            own_log_groups: environment.list("OWN_LOG_GROUPS"),
            own_prefixes: environment.list("OWN_PREFIXES"),
            catalogue: OnceLock::new(),
        })
    }

    /// The rules.
    pub fn catalogue(&self) -> &Catalogue {
        self.catalogue.get_or_init(|| Catalogue::built_in().0)
    }

    #[cfg(test)]
    pub fn for_tests(objects: Arc<dyn ObjectStore>, state: Arc<dyn StateStore>, sink: Arc<dyn FindingSink>) -> Self {
        Self {
            objects,
            state,
            sink,
            clock: Arc::new(SystemClock),
            options: Options { max_bytes: Some(1024 * 1024), ..Options::default() },
            own_log_groups: vec!["/cloudvigil/test/notifier".to_owned()],
            own_prefixes: vec!["logs/cloudvigil/".to_owned()],
            catalogue: OnceLock::new(),
        }
    }
}
