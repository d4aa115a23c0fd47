//! What every invocation needs, built once.

use std::sync::{Arc, OnceLock};

use cloudvigil_aws::{Clients, DynamoState, Environment, EnvironmentError, SnsFindings};
use cloudvigil_core::correlate::Settler;
use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::pipeline::Options;
use cloudvigil_core::ports::{Clock, FindingSink, StateStore, SystemClock};

/// The name under which this function counts.
pub const FUNCTION: &str = "trail-detector";

/// The function's ports and configuration.
pub struct Context {
    /// AWS, for the event history and the trails' status.
    pub clients: Arc<Clients>,
    /// Contributions, marks and watermarks.
    pub state: Arc<dyn StateStore>,
    /// Where findings go.
    pub sink: Arc<dyn FindingSink>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How events are analysed.
    pub options: Options,
    /// How far back the first sweep looks, in days; the history goes back 90.
    pub lookup_days: u32,
    catalogue: OnceLock<Catalogue>,
}

impl Context {
    /// Reads the environment. Clients are made and rules are compiled on first use.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        const DAYS: &str = "the days of the first look back, 1 to 90";
        let table = environment.required("STATE_TABLE", "the name of the DynamoDB table that holds the state")?;
        let topic = environment.required("FINDINGS_TOPIC_ARN", "the ARN of the SNS topic of findings")?;
        let lookup_days = environment.number("LOOKUP_DAYS", DAYS, 7_u32)?;
        if !(1..=90).contains(&lookup_days) {
            return Err(EnvironmentError::Malformed { name: "LOOKUP_DAYS", expects: DAYS });
        }
        let clients = Arc::new(Clients::new());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Self {
            state: Arc::new(DynamoState::new(Arc::clone(&clients), table, Arc::clone(&clock))),
            sink: Arc::new(SnsFindings::new(Arc::clone(&clients), topic)),
            clients,
            clock,
            options: Options { own_roles: environment.list("OWN_ROLES"), ..Options::default() },
            lookup_days,
            catalogue: OnceLock::new(),
        })
    }

    /// The rules.
    pub fn catalogue(&self) -> &Catalogue {
        self.catalogue.get_or_init(|| Catalogue::built_in().0)
    }

    /// What puts contributions into the state and publishes findings.
    pub fn settler(&self) -> Settler<'_> {
        Settler {
            catalogue: self.catalogue(),
            state: self.state.as_ref(),
            sink: self.sink.as_ref(),
            clock: self.clock.as_ref(),
        }
    }

    #[cfg(test)]
    pub fn for_tests(clients: Clients, state: Arc<dyn StateStore>, sink: Arc<dyn FindingSink>) -> Self {
        Self {
            clients: Arc::new(clients),
            state,
            sink,
            clock: Arc::new(SystemClock),
            options: Options::default(),
            lookup_days: 7,
            catalogue: OnceLock::new(),
        }
    }
}
