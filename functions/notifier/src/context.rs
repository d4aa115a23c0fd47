//! What every invocation needs, built once.
//!
//! | variable | |
//! | --- | --- |
//! | `STATE_TABLE` | the `DynamoDB` table of the state |
//! | `SENDER` | the address that mails are from, verified in SES |
//! | `RECIPIENT` | the addresses that they go to, with commas between |
//! | `SES_REGION` | optional: the region where the sender is verified; the function's own without it |
//! | `MAILS_PER_RULE_PER_HOUR`, `MAILS_PER_HOUR`, `MAILS_KEPT_FOR_CRITICAL` | optional: the limits, 10, 60 and 20 without them |

use std::sync::Arc;

use cloudvigil_aws::Clients;
use cloudvigil_core::ports::{Clock, Mailer, StateStore, SystemClock};
use cloudvigil_lambda::{DynamoState, Environment, EnvironmentError, SesMailer};
use cloudvigil_notify::channels::email::{Email, Envelope};
use cloudvigil_notify::{Deliverer, Limits};

/// The name under which this function counts.
pub const FUNCTION: &str = "notifier";

/// The function's ports and configuration.
pub struct Context {
    /// Decides what becomes of a finding, and sends it.
    pub deliverer: Deliverer,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What the environment says.
#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    /// The table of the state.
    pub state_table: String,
    /// Who writes to whom.
    pub envelope: Envelope,
    /// The region where the sender is verified; `None`: the function's own.
    pub ses_region: Option<String>,
    /// How many mails go out in an hour.
    pub limits: Limits,
    /// This worker's name in leases.
    pub owner: String,
}

impl Config {
    /// Reads the environment.
    pub fn read(environment: &Environment) -> Result<Self, EnvironmentError> {
        const SENDER: (&str, &str) =
            ("SENDER", "a bare e-mail address that SES may send from, such as vigil@example.com");
        const RECIPIENT: (&str, &str) = ("RECIPIENT", "one or more bare e-mail addresses, with commas between");
        const PER_RULE: (&str, &str) = ("MAILS_PER_RULE_PER_HOUR", "a number of mails, from 1 to 1000");
        const TOTAL: (&str, &str) = ("MAILS_PER_HOUR", "a number of mails, from 1 to 1000");
        const KEPT: (&str, &str) = ("MAILS_KEPT_FOR_CRITICAL", "a number of mails, less than MAILS_PER_HOUR");
        let malformed = |(name, expects)| EnvironmentError::Malformed { name, expects };

        let state_table = environment.required("STATE_TABLE", "the name of the DynamoDB table of the state")?;
        let sender = environment.required(SENDER.0, SENDER.1)?.parse().map_err(|_| malformed(SENDER))?;
        environment.required(RECIPIENT.0, RECIPIENT.1)?;
        let recipients =
            environment.list(RECIPIENT.0).iter().map(|address| address.parse()).collect::<Result<Vec<_>, _>>();
        let recipients = recipients.ok().filter(|some| !some.is_empty()).ok_or(malformed(RECIPIENT))?;

        let defaults = Limits::default();
        let per_rule = environment.number(PER_RULE.0, PER_RULE.1, defaults.per_rule)?;
        let total = environment.number(TOTAL.0, TOTAL.1, defaults.total)?;
        // Where only the total is lowered, the share follows.
        let kept_for_critical = environment.number(KEPT.0, KEPT.1, defaults.kept_for_critical.min(total / 3))?;
        for (value, variable) in [(per_rule, PER_RULE), (total, TOTAL)] {
            if !(1..=Limits::MOST).contains(&value) {
                return Err(malformed(variable));
            }
        }
        if kept_for_critical >= total {
            return Err(malformed(KEPT));
        }
        Ok(Self {
            state_table: state_table.to_owned(),
            envelope: Envelope { sender, recipients },
            ses_region: environment.optional("SES_REGION").map(str::to_owned),
            limits: Limits { per_rule, total, kept_for_critical },
            owner: environment.optional("AWS_LAMBDA_LOG_STREAM_NAME").unwrap_or(FUNCTION).to_owned(),
        })
    }
}

impl Context {
    /// Reads the environment; calls nothing yet.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        let config = Config::read(environment)?;
        let clients = Arc::new(Clients::new());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let state = DynamoState::new(Arc::clone(&clients), &config.state_table, Arc::clone(&clock));
        let mailer = SesMailer::new(clients, config.ses_region.clone());
        Ok(Self::new(config, Arc::new(state), Arc::new(mailer), clock))
    }

    /// A context over any ports.
    pub fn new(config: Config, state: Arc<dyn StateStore>, mailer: Arc<dyn Mailer>, clock: Arc<dyn Clock>) -> Self {
        let channel = Arc::new(Email::new(mailer, config.envelope));
        Self { deliverer: Deliverer::new(state, channel, Arc::clone(&clock), config.limits, config.owner), clock }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: [(&str, &str); 3] =
        [("STATE_TABLE", "state"), ("SENDER", "vigil@example.com"), ("RECIPIENT", "a@example.org, b@example.org")];

    fn read(name: &str, value: &str) -> Result<Config, EnvironmentError> {
        let [table, sender, recipient] = NEEDED.map(|(n, v)| (n, if n == name { value } else { v }));
        let other = if NEEDED.iter().any(|(n, _)| *n == name) { ("UNUSED", "") } else { (name, value) };
        Config::read(&Environment::from([table, sender, recipient, other]))
    }

    #[test]
    fn everything_but_three_variables_has_a_default() {
        let config = read("SES_REGION", "").unwrap();
        assert_eq!(config.limits, Limits { per_rule: 10, total: 60, kept_for_critical: 20 });
        assert_eq!(config.envelope.recipients.len(), 2);
        assert_eq!(config.ses_region, None);
        assert_eq!(read("MAILS_PER_HOUR", "6").unwrap().limits.kept_for_critical, 2);
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        for (name, value) in [
            ("STATE_TABLE", ""),
            ("SENDER", ""),
            ("SENDER", "nobody"),
            ("SENDER", "a@example.com\r\nBcc: b@example.com"),
            ("RECIPIENT", ""),
            ("RECIPIENT", ","),
            ("RECIPIENT", "a@example.org; b@example.org"),
            ("MAILS_PER_RULE_PER_HOUR", "0"),
            ("MAILS_PER_HOUR", "many"),
            ("MAILS_PER_HOUR", "1001"),
            ("MAILS_KEPT_FOR_CRITICAL", "60"),
        ] {
            let error = read(name, value).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("must hold"), "{name}={value}: {error}");
        }
    }
}
