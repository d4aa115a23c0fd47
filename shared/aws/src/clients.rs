//! The SDK's clients, each made on first use.
//!
//! Making them all takes longer than everything else that a function does before it first polls its runtime, and most
//! invocations need two or three. So nothing is loaded here until somebody asks, not even the configuration.
//!
//! On a terminal the SDK reads the environment and the profile files itself, `AWS_ENDPOINT_URL` and
//! `AWS_ENDPOINT_URL_<SERVICE>` included. A function has its configuration in its environment alone, and comes with it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_types::service_config::ServiceConfigKey;
use cloudvigil_core::ports::{Failure, PortError, PortResult};
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

/// How long a connection may take to come about.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a service may take to begin its answer.
pub const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// How long one attempt may take, up to the answer's headers: a body that is streamed has as long as it keeps flowing.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an operation may take with all its attempts.
pub const OPERATION_TIMEOUT: Duration = Duration::from_mins(1);
/// How often a call is tried: throttling, time-outs, broken connections and HTTP 5xx are tried again, with exponential
/// backoff and jitter; nothing else is.
pub const MAX_ATTEMPTS: u32 = 4;

/// What all clients speak through. By default each makes one of its own, like this one, and reads the trusted certificates
/// for it: that is much of what a function's first requests take, and memory for every client of every region.
pub fn https() -> SharedHttpClient {
    // The builder's own `build_https` makes the same, but without the proxy that the environment names.
    aws_smithy_http_client::Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    })
}

/// Clients of one kind, one a region.
struct PerRegion<C>(Mutex<HashMap<String, C>>);

impl<C: Clone> PerRegion<C> {
    fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    fn get(&self, region: &str, make: impl FnOnce() -> C) -> C {
        // A panic elsewhere cannot leave the map half-written: an insertion is all that ever happens to it.
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(region) {
            return client.clone();
        }
        clients.entry(region.to_owned()).or_insert_with(make).clone()
    }
}

/// Loads the SDK's configuration.
///
/// It is a value, so that a program that comes with its configuration has none of what reads profile files in it.
type Load = fn() -> BoxFuture<'static, SdkConfig>;

/// The SDK's configuration and clients, made on first use and kept. Shared as `Arc<Clients>`; making one costs nothing.
///
/// Clients are cheap to clone. Those of the current region come without a region's name.
pub struct Clients {
    load: Load,
    config: OnceCell<SdkConfig>,
    account_id: OnceCell<String>,
    account: OnceCell<aws_sdk_account::Client>,
    s3: OnceCell<aws_sdk_s3::Client>,
    cloudtrail_in: PerRegion<aws_sdk_cloudtrail::Client>,
    s3_in: PerRegion<aws_sdk_s3::Client>,
}

impl Default for Clients {
    fn default() -> Self {
        Self::new()
    }
}

impl Clients {
    /// Clients configured by the environment and the profile files, in the SDK's usual order. Reads none of them yet.
    pub fn new() -> Self {
        Self::loaded_by(|| {
            let loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
            Box::pin(loader.http_client(https()).timeout_config(timeouts()).retry_config(retries()).load())
        })
    }

    fn loaded_by(load: Load) -> Self {
        Self {
            load,
            config: OnceCell::new(),
            account_id: OnceCell::new(),
            account: OnceCell::new(),
            s3: OnceCell::new(),
            cloudtrail_in: PerRegion::new(),
            s3_in: PerRegion::new(),
        }
    }

    /// Clients configured by `config` and nothing else.
    pub fn with_config(config: SdkConfig) -> Self {
        let never_asked = || -> BoxFuture<'static, SdkConfig> { Box::pin(async { SdkConfig::builder().build() }) };
        Self { config: OnceCell::new_with(Some(config)), ..Self::loaded_by(never_asked) }
    }

    /// The configuration, loaded on first use.
    pub async fn config(&self) -> &SdkConfig {
        self.config.get_or_init(self.load).await
    }

    /// The configuration for another region: for clients that are not kept here, because one place alone uses them.
    pub async fn config_in(&self, region: &str) -> SdkConfig {
        self.config().await.to_builder().region(Region::new(region.to_owned())).build()
    }

    /// The current region: the function's own, or the one that the environment or the profile names.
    pub async fn region(&self) -> PortResult<String> {
        self.config().await.region().map(ToString::to_string).ok_or_else(|| {
            PortError::new(
                Failure::Permanent,
                "find the current region",
                "none is set: set AWS_REGION, or one in the profile",
            )
        })
    }

    /// The id of the account that the credentials belong to, 12 digits. Asked once: STS `GetCallerIdentity`, which
    /// needs no permission.
    pub async fn account_id(&self) -> PortResult<String> {
        self.account_id.get_or_try_init(|| crate::regions::caller_account(self)).await.cloned()
    }

    /// Account Management.
    pub async fn account(&self) -> &aws_sdk_account::Client {
        self.account.get_or_init(|| async { aws_sdk_account::Client::new(self.config().await) }).await
    }

    /// S3 in the current region.
    pub async fn s3(&self) -> &aws_sdk_s3::Client {
        self.s3.get_or_init(|| async { s3_client(self.config().await) }).await
    }

    /// S3 in a region: a bucket answers in its own alone.
    pub async fn s3_in(&self, region: &str) -> aws_sdk_s3::Client {
        let config = self.config_in(region).await;
        self.s3_in.get(region, || s3_client(&config))
    }

    /// `CloudTrail` in a region: each region has its own event history.
    pub async fn cloudtrail_in(&self, region: &str) -> aws_sdk_cloudtrail::Client {
        let config = self.config_in(region).await;
        self.cloudtrail_in.get(region, || aws_sdk_cloudtrail::Client::new(&config))
    }
}

/// How calls are tried again: see [`MAX_ATTEMPTS`].
pub fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS)
}

/// How long calls may take: see [`CONNECT_TIMEOUT`] and those after it.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

fn s3_client(config: &SdkConfig) -> aws_sdk_s3::Client {
    // Whatever stands behind an endpoint of one's own, an emulator or a store that speaks S3, rarely has a DNS name for
    // every bucket: the bucket goes into the path there.
    let path_style = has_own_endpoint(config, "S3");
    aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(config).force_path_style(path_style).build())
}

/// Whether `service` (the SDK's service id) is asked at an endpoint that the environment, the profile or the caller
/// has set, in the order in which the SDK itself looks.
fn has_own_endpoint(config: &SdkConfig, service: &str) -> bool {
    let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    let for_service = key.ok().and_then(|key| config.service_config()?.load_config(key));
    for_service.is_some() || config.endpoint_url().is_some()
}

#[cfg(test)]
mod tests {
    use cloudvigil_stub::{Reply, Stub};

    use super::*;

    #[tokio::test]
    async fn a_client_is_made_once_for_a_region() {
        let stub = Stub::answering([]);
        let clients = stub.clients(Clients::with_config);
        let _ = clients.cloudtrail_in("eu-west-1").await;
        let _ = clients.cloudtrail_in("eu-west-1").await;
        let _ = clients.cloudtrail_in("us-east-1").await;
        assert_eq!(clients.cloudtrail_in.0.lock().unwrap().len(), 2);
        let region = clients.cloudtrail_in("eu-west-1").await.config().region().map(ToString::to_string);
        assert_eq!(region.as_deref(), Some("eu-west-1"));
        assert_eq!(clients.region().await.unwrap(), "us-east-1");
    }

    #[tokio::test]
    async fn an_endpoint_of_ones_own_has_the_bucket_in_the_path() {
        let stub = Stub::answering([Reply::ok("<ListBucketResult></ListBucketResult>")]);
        stub.clients(Clients::with_config).s3().await.list_objects_v2().bucket("logs").send().await.unwrap();
        assert!(stub.requests()[0].path.starts_with("/logs/?") || stub.requests()[0].path.starts_with("/logs?"));
    }

    #[test]
    fn without_one_the_sdk_chooses() {
        let config = SdkConfig::builder().region(Region::new("us-east-1")).build();
        assert!(!has_own_endpoint(&config, "S3"));
    }

    #[tokio::test]
    async fn no_region_is_an_error_that_says_what_to_set() {
        let error = Clients::with_config(SdkConfig::builder().build()).region().await.unwrap_err();
        assert!(error.to_string().contains("AWS_REGION"));
    }
}
