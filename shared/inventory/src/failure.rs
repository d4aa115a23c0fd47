//! What could not be looked at, and why.

use std::error::Error;

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use cloudvigil_aws::error::{AwsError, explain};
use cloudvigil_core::ports::{self, PortError};
use serde::Serialize;

use crate::resource::{Resource, partition};

/// A call that got no answer. Written as a record of type `collection`, one for each collector, region, permission and
/// reason, however many resources it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The service that was asked.
    pub service: &'static str,
    /// The region that was asked.
    pub region: String,
    /// The IAM action that the call needs: `ec2:DescribeInstances`.
    pub action: &'static str,
    /// The reason, short and the same each time: `AccessDenied`, `Throttling`, `no connection`.
    pub code: String,
    /// What the service said, for the log.
    pub detail: String,
    /// How many resources could not be looked at; 0 where even their number is unknown.
    pub affected: u64,
}

impl Failure {
    /// `AccessDenied: ec2:DescribeInstances`.
    pub fn why(&self) -> String {
        format!("{}: {}", self.code, self.action)
    }

    /// A call to `action` that failed with `error`.
    pub fn of_call<E>(action: &'static str, region: &str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let (failure, said) = explain(error);
        Self::new(action, region, &said.code, said.message, failure)
    }

    /// A call to `action` that failed as a port.
    pub fn of_port(action: &'static str, region: &str, error: &PortError) -> Self {
        let (code, detail) = match error.source.downcast_ref::<AwsError>() {
            Some(said) => (said.code.as_str(), said.message.clone()),
            None => ("failed", error.source.to_string()),
        };
        Self::new(action, region, code, detail, error.failure)
    }

    /// A call to `action` that failed with `code`, for the reason `detail`.
    pub fn new(
        action: &'static str,
        region: &str,
        code: &str,
        detail: impl Into<String>,
        failure: ports::Failure,
    ) -> Self {
        // Each service has a name of its own for a missing permission. Rules and readers need one.
        let not_authorised =
            ["AccessDenied", "Unauthorized", "NotAuthorized", "AuthorizationError", "Forbidden", "HTTP 403"]
                .iter()
                .any(|name| code.starts_with(name));
        let code = if failure == ports::Failure::Denied && not_authorised { "AccessDenied" } else { code };
        let service = action.split_once(':').map_or(action, |(service, _)| service);
        Self { service, region: region.to_owned(), action, code: code.to_owned(), detail: detail.into(), affected: 0 }
    }

    /// The failure as a resource of its own.
    pub fn resource(&self, account: &str) -> Resource {
        let operation = self.action.split_once(':').map_or(self.action, |(_, operation)| operation);
        let arn = format!(
            "arn:{}:{}:{}:{account}:collection/{operation}",
            partition(&self.region),
            self.service,
            self.region
        );
        let mut resource = Resource::new(self.service, "collection", arn, Some(&self.region))
            .with("action", self.action)
            .with("code", self.code.as_str())
            .with("affected", self.affected);
        resource.volatile = &["affected"];
        resource.could_not_look.push(self.why());
        resource
    }
}

/// The same failures, each once, with the number of resources that each concerns, sorted.
pub fn merged(failures: Vec<Failure>) -> Vec<Failure> {
    let mut merged: Vec<Failure> = Vec::new();
    for failure in failures {
        let same =
            |known: &&mut Failure| (known.region.as_str(), known.action) == (failure.region.as_str(), failure.action);
        match merged.iter_mut().find(same) {
            Some(known) => {
                known.affected += failure.affected;
                // One record a region and action: the least reason by name, so that it does not depend on the order.
                if failure.code < known.code {
                    known.code = failure.code;
                    known.detail = failure.detail;
                }
            }
            None => merged.push(failure),
        }
    }
    merged.sort_by(|a, b| (a.action, &a.region).cmp(&(b.action, &b.region)));
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudvigil_core::ports::Failure as Kind;

    #[test]
    fn every_name_of_a_missing_permission_is_access_denied() {
        for code in ["UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "HTTP 403"] {
            let failure = Failure::new("ec2:DescribeInstances", "eu-west-1", code, "", Kind::Denied);
            assert_eq!(failure.why(), "AccessDenied: ec2:DescribeInstances", "{code}");
        }
        let failure = Failure::new("ec2:DescribeInstances", "eu-west-1", "OptInRequired", "", Kind::Denied);
        assert_eq!(failure.why(), "OptInRequired: ec2:DescribeInstances");
    }

    #[test]
    fn the_same_failure_on_many_buckets_is_one_record() {
        let denied = |region| {
            let failure = Failure::new("s3:GetBucketAcl", region, "AccessDenied", "", Kind::Denied);
            Failure { affected: 1, ..failure }
        };
        let failures = merged(vec![denied("us-east-1"), denied("eu-west-1"), denied("us-east-1")]);
        assert_eq!(
            failures.iter().map(|f| (f.region.as_str(), f.affected)).collect::<Vec<_>>(),
            [("eu-west-1", 1), ("us-east-1", 2)]
        );
        let record = failures[1].resource("123456789012").record("123456789012", jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(record["type"], "collection");
        assert_eq!(record["resource"], "arn:aws:s3:us-east-1:123456789012:collection/GetBucketAcl");
        assert_eq!(record["could_not_look"], "AccessDenied: s3:GetBucketAcl");
        assert_eq!(record["affected"], 2);
    }
}
