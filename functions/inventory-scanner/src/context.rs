//! What every invocation needs, built once.

use cloudvigil_lambda::{Detector, Environment, EnvironmentError};

/// The function's ports and configuration.
pub struct Context {
    /// AWS, rules, state and findings.
    pub detector: Detector,
    /// The regions to look at; none named: all that are enabled.
    pub regions: Vec<String>,
}

impl Context {
    /// Reads the environment.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        let regions = environment.list("REGIONS");
        let plausible = |name: &String| {
            name.contains('-') && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        if !regions.iter().all(plausible) {
            let expects = "regions with commas between, such as eu-west-1,us-east-1, or nothing for all";
            return Err(EnvironmentError::Malformed { name: "REGIONS", expects });
        }
        Ok(Self { detector: Detector::from_environment(environment)?, regions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_that_is_none_is_named_as_what_is_wrong() {
        let table = ("STATE_TABLE", "state");
        let topic = ("FINDINGS_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:findings");
        let read = |regions| Context::from_environment(&Environment::from([table, topic, ("REGIONS", regions)]));
        assert_eq!(read(" us-east-1, eu-west-1 ").unwrap().regions, ["us-east-1", "eu-west-1"]);
        assert!(read("").unwrap().regions.is_empty());
        assert!(read("Ireland").err().unwrap().to_string().contains("REGIONS"));
    }
}
