//! What the function is configured with, and what it works with.
//!
//! | variable | |
//! | --- | --- |
//! | `STATE_TABLE` | the `DynamoDB` table of the state: a name or an ARN |
//! | `FINDINGS_TOPIC_ARN` | the SNS topic that findings go to |
//! | `REGIONS` | optional: the regions to look at, with commas between; all enabled ones without it |

use std::sync::{Arc, LazyLock};

use anyhow::{Context as _, Result, bail};
use cloudvigil_aws::{Clients, DynamoState, SnsFindings};
use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::ports::{Clock, FindingSink, StateStore, SystemClock};

const STATE_TABLE: &str = "STATE_TABLE";
const FINDINGS_TOPIC_ARN: &str = "FINDINGS_TOPIC_ARN";
const REGIONS: &str = "REGIONS";

/// The function's configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    /// The table of the state.
    pub state_table: String,
    /// The topic that findings go to.
    pub findings_topic: String,
    /// The regions to look at; `None`: all that are enabled.
    pub regions: Option<Vec<String>>,
}

impl Config {
    /// Reads the configuration through `variable`, which knows the environment.
    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let given = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let state_table =
            given(STATE_TABLE).with_context(|| format!("{STATE_TABLE} is not set; it is the DynamoDB table's name"))?;
        let expected = "the ARN of the SNS topic that findings go to (arn:aws:sns:REGION:ACCOUNT:NAME)";
        let findings_topic =
            given(FINDINGS_TOPIC_ARN).with_context(|| format!("{FINDINGS_TOPIC_ARN} is not set; it is {expected}"))?;
        let parts: Vec<&str> = findings_topic.split(':').collect();
        if parts.len() != 6 || parts[0] != "arn" || parts[2] != "sns" {
            bail!("{FINDINGS_TOPIC_ARN} is '{findings_topic}', which is not {expected}");
        }
        let regions = given(REGIONS).map(|list| regions(&list)).transpose()?;
        Ok(Self { state_table, findings_topic, regions })
    }
}

fn regions(list: &str) -> Result<Vec<String>> {
    let mut names: Vec<String> = list.split(',').map(|name| name.trim().to_owned()).filter(|n| !n.is_empty()).collect();
    for name in &names {
        let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !plain || !name.contains('-') {
            bail!("{REGIONS} has '{name}', which is no region; it is a list such as eu-west-1,us-east-1");
        }
    }
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        bail!("{REGIONS} names no region; it is a list such as eu-west-1,us-east-1, or absent for all");
    }
    Ok(names)
}

/// What the function works with. Making it loads nothing: that waits for the first event.
pub struct Context {
    /// The configuration.
    pub config: Config,
    /// The account to look at.
    pub clients: Arc<Clients>,
    /// Snapshots and findings.
    pub state: Arc<dyn StateStore>,
    /// Where findings go.
    pub sink: Arc<dyn FindingSink>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The rules.
    pub catalogue: LazyLock<Catalogue>,
}

impl Context {
    /// The context that the environment describes.
    #[allow(clippy::disallowed_methods, reason = "the one place where the environment is read")]
    pub fn from_env() -> Result<Self> {
        let config = Config::read(|name| std::env::var(name).ok())?;
        let clients = Arc::new(Clients::new());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let state = DynamoState::new(Arc::clone(&clients), &config.state_table, Arc::clone(&clock));
        let sink = SnsFindings::new(Arc::clone(&clients), &config.findings_topic);
        Ok(Self {
            config,
            clients,
            state: Arc::new(state),
            sink: Arc::new(sink),
            clock,
            catalogue: LazyLock::new(rules),
        })
    }
}

/// The built-in rules.
pub fn rules() -> Catalogue {
    let (catalogue, problems) = Catalogue::built_in();
    for problem in problems {
        tracing::error!(?problem, "a rule was not loaded");
    }
    catalogue
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:findings";

    fn read(variables: &[(&str, &str)]) -> Result<Config> {
        Config::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_environment_becomes_a_configuration() {
        let config = read(&[(STATE_TABLE, "state"), (FINDINGS_TOPIC_ARN, TOPIC)]).unwrap();
        assert_eq!((config.state_table.as_str(), config.findings_topic.as_str()), ("state", TOPIC));
        assert_eq!(config.regions, None);
        let regions = (REGIONS, " us-east-1, eu-west-1,us-east-1 ");
        let config = read(&[(STATE_TABLE, "state"), (FINDINGS_TOPIC_ARN, TOPIC), regions]).unwrap();
        assert_eq!(config.regions.unwrap(), ["eu-west-1", "us-east-1"]);
        // A template sets an empty value where nothing was chosen.
        let config = read(&[(STATE_TABLE, "state"), (FINDINGS_TOPIC_ARN, TOPIC), (REGIONS, "")]).unwrap();
        assert_eq!(config.regions, None);
    }

    #[test]
    fn an_error_names_the_variable_and_what_it_expects() {
        let table = (STATE_TABLE, "state");
        let cases = [
            (vec![(FINDINGS_TOPIC_ARN, TOPIC)], STATE_TABLE, "table"),
            (vec![table], FINDINGS_TOPIC_ARN, "ARN"),
            (vec![table, (FINDINGS_TOPIC_ARN, "findings")], FINDINGS_TOPIC_ARN, "arn:aws:sns"),
            (vec![table, (FINDINGS_TOPIC_ARN, TOPIC), (REGIONS, "Ireland")], REGIONS, "eu-west-1"),
        ];
        for (variables, name, expected) in cases {
            let error = read(&variables).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(expected), "{error}");
        }
    }
}
