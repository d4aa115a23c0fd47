//! The SDK's errors as the ports' failures.
//!
//! | what happened | failure |
//! | --- | --- |
//! | not authorised, no or expired credentials, a service that the account has not opted into, HTTP 401 and 403 | `Denied` |
//! | a bucket, object, table, topic or trail that is not there, HTTP 404 | `NotFound` |
//! | throttling (some services answer it with HTTP 400), time-outs, broken connections, HTTP 5xx | `Transient` |
//! | everything else: the request or the content is wrong | `Permanent` |
//!
//! The SDK has retried what can be retried (see [`crate::clients`]) before an error comes here.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use cloudvigil_core::ports::{Failure, PortError};

/// The longest message of a service that is passed on, in characters.
const MAX_MESSAGE: usize = 600;

/// What a service answered instead of a result, or why it could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct AwsError {
    /// The service's error code (`AccessDenied`), `HTTP 503` where there is none, or what kept the request from being
    /// answered (`time-out`, `no connection`, `no credentials`).
    pub code: String,
    /// The service's message, or the causes, outermost first. Never a body.
    pub message: String,
}

/// A failure of `what` (`read s3://logs/a.gz`) that the SDK reports as `error`.
pub fn port_error<E>(what: impl Into<String>, error: &SdkError<E>) -> PortError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let (failure, source) = explain(error);
    PortError::new(failure, what, source)
}

/// What a caller can do about `error`, and what it says.
pub fn explain<E>(error: &SdkError<E>) -> (Failure, AwsError)
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let unanswered =
        |failure, code: &str| (failure, AwsError { code: code.to_owned(), message: printable(causes(error)) });
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let code = answer.err().code().map_or_else(|| format!("HTTP {status}"), ToOwned::to_owned);
            let message = answer.err().message().filter(|message| !message.is_empty());
            let message = message.map_or_else(|| format!("the service answered HTTP {status}"), printable);
            (classify(&code, status), AwsError { code, message })
        }
        SdkError::ResponseError(answer) => {
            // An answer that cannot be read was cut off, or comes from something between us and the service.
            let status = answer.raw().status().as_u16();
            let failure = if status < 400 { Failure::Transient } else { classify("", status) };
            unanswered(failure, &format!("HTTP {status}"))
        }
        SdkError::TimeoutError(_) => unanswered(Failure::Transient, "time-out"),
        _ if no_credentials(error) => unanswered(Failure::Denied, "no credentials"),
        SdkError::DispatchFailure(failure) if !failure.is_user() => unanswered(Failure::Transient, "no connection"),
        _ => unanswered(Failure::Permanent, "invalid request"),
    }
}

/// What a caller can do about a service's error `code`, answered with HTTP `status`.
pub fn classify(code: &str, status: u16) -> Failure {
    // Codes come with a namespace in front (`com.amazonaws...#Code`) or an address behind (`Code:http://...`).
    let code = code.rsplit('#').next().unwrap_or(code);
    let code = code.split(':').next().unwrap_or(code);
    let name = code.strip_suffix("Exception").unwrap_or(code);
    match name {
        "Throttling"
        | "ThrottlingError"
        | "Throttled"
        | "ThrottledClient"
        | "RequestThrottled"
        | "RequestThrottledError"
        | "KMSThrottling"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "LimitExceeded"
        | "ProvisionedThroughputExceeded"
        | "TransactionInProgress"
        | "PriorRequestNotComplete"
        | "TransactionConflict"
        | "SlowDown"
        | "EC2Throttled"
        | "RequestTimeout"
        | "RequestTimedOut"
        | "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "InternalServiceError"
        | "ServiceUnavailable"
        | "Unavailable"
        | "OperationAborted"
        | "ConcurrentModification" => return Failure::Transient,
        "UnauthorizedOperation"
        | "Unauthorized"
        | "AuthorizationError"
        | "NotAuthorized"
        | "Forbidden"
        | "AllAccessDisabled"
        | "AuthFailure"
        | "OptInRequired"
        | "SubscriptionRequired"
        | "MissingAuthenticationToken"
        | "UnrecognizedClient"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "InvalidToken"
        | "ExpiredToken"
        | "SignatureDoesNotMatch"
        | "InvalidSignature"
        | "IncompleteSignature"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "KMSAccessDenied" => return Failure::Denied,
        // 403, and yet not for want of a permission: an archived object must be restored first.
        "InvalidObjectState" => return Failure::Permanent,
        _ => {}
    }
    if name.starts_with("AccessDenied") {
        Failure::Denied
    } else if name.starts_with("NoSuch") || name.ends_with("NotFound") {
        Failure::NotFound
    } else {
        match status {
            401 | 403 => Failure::Denied,
            404 => Failure::NotFound,
            408 | 429 | 500.. => Failure::Transient,
            _ => Failure::Permanent,
        }
    }
}

/// Whether the request was never sent because nobody had credentials for it.
fn no_credentials(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|cause| {
        matches!(
            cause.downcast_ref::<CredentialsError>(),
            Some(CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_))
        )
    })
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause| (**cause).source())
}

/// Every cause of `error`, outermost first, each said once.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut told: Vec<String> = Vec::new();
    for cause in chain(error) {
        let cause = cause.to_string();
        if !told.iter().any(|earlier| earlier.contains(&cause)) {
            told.push(cause);
        }
    }
    told.join(": ")
}

/// `message` without control characters, of a bounded length: services quote their input in it.
fn printable(message: impl AsRef<str>) -> String {
    let message = message.as_ref();
    let mut kept: String =
        message.chars().take(MAX_MESSAGE).map(|char| if char.is_control() { ' ' } else { char }).collect();
    if message.chars().nth(MAX_MESSAGE).is_some() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use aws_config::retry::RetryConfig;
    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};

    use super::*;

    #[test]
    fn throttling_is_transient_whatever_status_it_comes_with() {
        for code in [
            "ThrottlingException",
            "Throttling",
            "TooManyRequestsException",
            "RequestLimitExceeded",
            "SlowDown",
            "ProvisionedThroughputExceededException",
            "com.amazonaws.dynamodb.v20120810#ThrottlingException",
            "ThrottlingException:http://internal.amazon.com/coral/com.amazon.coral.availability/",
        ] {
            assert_eq!(classify(code, 400), Failure::Transient, "{code}");
        }
    }

    #[test]
    fn denial_is_never_taken_for_absence() {
        for code in ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"] {
            assert_eq!(classify(code, 400), Failure::Denied, "{code}");
        }
        assert_eq!(classify("Whatever", 403), Failure::Denied);
        for code in ["NoSuchKey", "NoSuchBucket", "NotFound", "ResourceNotFoundException", "TrailNotFoundException"] {
            assert_eq!(classify(code, 400), Failure::NotFound, "{code}");
        }
    }

    #[test]
    fn the_rest_goes_by_status() {
        assert_eq!(classify("HTTP 503", 503), Failure::Transient);
        assert_eq!(classify("HTTP 404", 404), Failure::NotFound);
        assert_eq!(classify("ValidationException", 400), Failure::Permanent);
        assert_eq!(classify("InvalidObjectState", 403), Failure::Permanent);
    }

    #[test]
    fn messages_lose_control_characters_and_length() {
        assert_eq!(printable("a\u{1b}[31mb\r\nc"), "a [31mb  c");
        assert_eq!(printable("x".repeat(5000)).chars().count(), MAX_MESSAGE + 1);
    }

    #[derive(Debug)]
    struct Nobody;

    impl ProvideCredentials for Nobody {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("nobody is logged in")))
        }
    }

    async fn ask_with(config: aws_types::sdk_config::Builder) -> PortError {
        let config = config.behavior_version(BehaviorVersion::v2026_01_12()).region(Region::new("us-east-1"));
        let config = config.retry_config(RetryConfig::disabled()).build();
        let answer = aws_sdk_account::Client::new(&config).list_regions().send().await;
        port_error("list regions", &answer.unwrap_err())
    }

    #[tokio::test]
    async fn without_credentials_we_may_not_look() {
        let nobody = SharedCredentialsProvider::new(Nobody);
        let error = ask_with(SdkConfig::builder().credentials_provider(nobody)).await;
        assert_eq!(error.failure, Failure::Denied);
        assert!(error.to_string().starts_with("list regions: no credentials: "), "{error}");
        assert!(error.to_string().contains("nobody is logged in"), "{error}");
    }

    #[tokio::test]
    async fn a_service_that_cannot_be_reached_may_be_later() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let somebody = SharedCredentialsProvider::new(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"));
        let config = SdkConfig::builder().credentials_provider(somebody);
        let error = ask_with(config.endpoint_url(format!("http://127.0.0.1:{port}"))).await;
        assert_eq!(error.failure, Failure::Transient);
        assert!(error.to_string().starts_with("list regions: no connection: "), "{error}");
    }
}
