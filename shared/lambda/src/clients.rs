//! The SDK's clients in a function.
//!
//! Lambda puts a function's region and credentials into its environment
//! (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>). The SDK's usual search through profile
//! files, the metadata service and single sign-on would find nothing beyond it, and is left out of the binary.

use std::collections::HashMap;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_types::sdk_config::SharedCredentialsProvider;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use cloudvigil_aws::Clients;
use cloudvigil_aws::clients::{https, retries, timeouts};

use crate::Environment;

/// What all variables begin with that name an endpoint.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";

/// The clients of a function with this environment: its `AWS_REGION`, the credentials of its role, and as elsewhere in
/// the SDK `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_<SERVICE>`, `AWS_USE_FIPS_ENDPOINT` and `AWS_USE_DUALSTACK_ENDPOINT`
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html>).
pub fn configured(environment: &Environment) -> Clients {
    Clients::with_config(config(environment))
}

fn config(environment: &Environment) -> SdkConfig {
    let is_true = |name| environment.optional(name).map(|value| value.eq_ignore_ascii_case("true"));
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .http_client(https())
        .timeout_config(timeouts())
        .retry_config(retries())
        .region(environment.optional("AWS_REGION").map(|region| Region::new(region.to_owned())))
        .service_config(Endpoints::of(environment));
    config.set_endpoint_url(environment.optional(ENDPOINT).map(str::to_owned));
    config.set_use_fips(is_true("AWS_USE_FIPS_ENDPOINT"));
    config.set_use_dual_stack(is_true("AWS_USE_DUALSTACK_ENDPOINT"));
    config.build()
}

/// The endpoints of single services, by variable.
#[derive(Debug)]
struct Endpoints(HashMap<String, String>);

impl Endpoints {
    fn of(environment: &Environment) -> Self {
        Self(environment.beginning_with(ENDPOINT).map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_uppercase().replace([' ', '-'], "_");
        self.0.get(&format!("{}_{service}", key.env())).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(config: &SdkConfig, service: &str) -> Option<String> {
        let key =
            ServiceConfigKey::builder().service_id(service).env(ENDPOINT).profile("endpoint_url").build().unwrap();
        config.service_config().unwrap().load_config(key)
    }

    #[test]
    fn a_function_is_configured_by_its_environment() {
        let config = config(&Environment::from([
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
            ("AWS_ENDPOINT_URL_CONFIG_SERVICE", "http://127.0.0.1:4567"),
            ("AWS_USE_FIPS_ENDPOINT", "true"),
        ]));
        assert_eq!(config.region().map(Region::as_ref), Some("eu-west-1"));
        assert_eq!(config.endpoint_url(), Some("http://127.0.0.1:4566"));
        assert_eq!(endpoint(&config, "Config Service").as_deref(), Some("http://127.0.0.1:4567"));
        assert_eq!(endpoint(&config, "S3"), None, "it is asked where all are");
        assert_eq!((config.use_fips(), config.use_dual_stack()), (Some(true), None));
    }

    #[test]
    fn what_is_not_set_is_left_to_the_sdk() {
        let config = config(&Environment::default());
        assert_eq!((config.region(), config.endpoint_url(), config.use_fips()), (None, None, None));
        assert!(config.credentials_provider().is_some() && config.retry_config().is_some());
    }
}
