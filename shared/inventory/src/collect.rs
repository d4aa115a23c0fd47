//! Collectors: each asks one service and makes typed snapshots of the answers.
//!
//! A collector follows every page. Throttling, time-outs and HTTP 5xx are retried by the SDK (see
//! [`cloudvigil_aws::clients`]); what fails for good is a [`Failure`] beside the results, and never ends the scan.

use async_trait::async_trait;
use cloudvigil_aws::Clients;

use crate::failure::Failure;
use crate::history::Scope;
use crate::resource::Resource;

mod cloudtrail;
mod ec2;
mod flow_logs;
mod s3;

/// Every collector. A new one is one line here.
pub const COLLECTORS: [&dyn Collector; 4] = [&ec2::Ec2, &flow_logs::FlowLogs, &s3::S3, &cloudtrail::CloudTrail];

/// Where a collector looks.
#[derive(Debug, Clone)]
pub struct Place {
    /// The account, 12 digits.
    pub account: String,
    /// The region to ask; for a collector of a global service, the current one.
    pub region: String,
    /// Every region of the scan. What lies in others is left alone.
    pub regions: Vec<String>,
}

/// What a collector found.
#[derive(Debug, Default)]
pub struct Collected {
    /// The resources.
    pub resources: Vec<Resource>,
    /// The regions and types of which every resource is among them.
    pub complete: Vec<Scope>,
    /// What could not be looked at.
    pub failures: Vec<Failure>,
}

/// Asks one service what an account has.
#[async_trait]
pub trait Collector: Send + Sync {
    /// Its name: the service's prefix in ARNs.
    fn name(&self) -> &'static str;

    /// Whether it is asked once for the whole account, not once a region.
    fn global(&self) -> bool {
        false
    }

    /// Looks.
    async fn collect(&self, clients: &Clients, place: &Place) -> Collected;
}
