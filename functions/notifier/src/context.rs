//! What every invocation needs, built once.
//!
//! | variable | |
//! | --- | --- |
//! | `STATE_TABLE` | the `DynamoDB` table of the state |
//! | `SENDER` | the address that mails are from, verified in SES |
//! | `RECIPIENT` | the addresses that they go to, with commas between |
//! | `SES_REGION` | optional: the region where the sender is verified; the function's own without it |
//! | `MAILS_PER_RULE_PER_HOUR`, `MAILS_PER_HOUR`, `MAILS_KEPT_FOR_CRITICAL` | optional: the limits, 10, 60 and 20 without them |
//! | `CONFIGURATION_BUCKET`, `CONFIGURATION_KEY` | optional: the document whose `[notify]` comes before these limits |

use std::sync::Arc;

use cloudvigil_aws::S3Objects;
use cloudvigil_core::config::NotifyConfig;
use cloudvigil_core::ports::{Clock, Mailer, StateStore, SystemClock};
use cloudvigil_lambda::configuration::PROBLEMS;
use cloudvigil_lambda::{Configuration, Counters, DynamoState, Environment, EnvironmentError, SesMailer, clients};
use cloudvigil_notify::channels::email::{Email, Envelope};
use cloudvigil_notify::{Deliverer, Limits};

/// The function's ports and configuration.
pub struct Context {
    /// Decides what becomes of a finding, and sends it.
    pub deliverer: Deliverer,
    /// The name under which the function counts.
    pub function: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The limits of the environment.
    limits: Limits,
    configuration: Option<Configuration>,
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
    /// The name under which the function counts.
    pub function: String,
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
            function: environment.function_name().to_owned(),
            owner: environment
                .optional("AWS_LAMBDA_LOG_STREAM_NAME")
                .unwrap_or_else(|| environment.function_name())
                .to_owned(),
        })
    }
}

impl Context {
    /// Reads the environment; calls nothing yet.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        let config = Config::read(environment)?;
        let clients = Arc::new(clients::configured(environment));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let state = DynamoState::new(Arc::clone(&clients), &config.state_table, Arc::clone(&clock));
        let mailer = SesMailer::new(Arc::clone(&clients), config.ses_region.clone());
        let context = Self::new(config, Arc::new(state), Arc::new(mailer), clock);
        let configuration = Configuration::document_alone(environment, Arc::new(S3Objects::new(clients)));
        Ok(Self { configuration: Some(configuration), ..context })
    }

    /// Reads the document again, if it is time to. What fails changes nothing, is told and counted.
    pub async fn refresh(&mut self) {
        let Some(configuration) = &mut self.configuration else { return };
        let Some(news) = configuration.read(self.clock.now()).await else { return };
        let mut failures = news.failures;
        if news.document_changed {
            match limits(self.limits, configuration.config().notify) {
                Some(limits) => self.deliverer.set_limits(limits),
                None => failures.push("[notify]: mails_kept_for_critical must be less than mails_per_hour".to_owned()),
            }
        }
        for failure in &failures {
            tracing::error!(failure, "the configuration was not read; what was read before holds");
        }
        if !failures.is_empty() {
            let mut counters = Counters::default();
            counters.count(PROBLEMS, failures.len() as u64);
            counters.emit(&self.function, self.clock.as_ref());
        }
    }

    /// A context over any ports.
    pub fn new(config: Config, state: Arc<dyn StateStore>, mailer: Arc<dyn Mailer>, clock: Arc<dyn Clock>) -> Self {
        let channel = Arc::new(Email::new(mailer, config.envelope));
        let deliverer = Deliverer::new(state, channel, Arc::clone(&clock), config.limits, config.owner);
        Self { deliverer, function: config.function, clock, limits: config.limits, configuration: None }
    }
}

/// The limits of the environment, but for those that the document names; `None` where they do not go together.
fn limits(of_environment: Limits, asked: NotifyConfig) -> Option<Limits> {
    let total = asked.mails_per_hour.unwrap_or(of_environment.total);
    // Where only the total is lowered, the share follows.
    let share = of_environment.kept_for_critical;
    let share = if share < total { share } else { total / 3 };
    let kept_for_critical = asked.mails_kept_for_critical.unwrap_or(share);
    let per_rule = asked.mails_per_rule_per_hour.unwrap_or(of_environment.per_rule);
    (kept_for_critical < total).then_some(Limits { per_rule, total, kept_for_critical })
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
    fn the_document_comes_before_the_environment() {
        let environment = Limits { per_rule: 5, total: 60, kept_for_critical: 20 };
        let asked = |per_rule, total, kept| {
            let (mails_per_rule_per_hour, mails_per_hour, mails_kept_for_critical) = (per_rule, total, kept);
            limits(environment, NotifyConfig { mails_per_rule_per_hour, mails_per_hour, mails_kept_for_critical })
        };
        assert_eq!(asked(None, None, None), Some(environment));
        assert_eq!(asked(Some(2), None, Some(0)), Some(Limits { per_rule: 2, total: 60, kept_for_critical: 0 }));
        assert_eq!(asked(None, Some(6), None), Some(Limits { per_rule: 5, total: 6, kept_for_critical: 2 }));
        assert_eq!(asked(None, None, Some(60)), None, "nothing would be left for the others");
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
