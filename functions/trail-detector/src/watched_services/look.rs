//! Every control that a region has, asked for at a pace: the quotas of these services are low, and shared with people who
//! respond.
//!
//! A look that fails is never a control that is off: it is a [`Failed`], and the control is as it was. Throttling,
//! time-outs and HTTP 5xx are tried again by the SDK (see [`cloudvigil_aws::clients`]).

use std::time::Duration;

use cloudvigil_aws::Clients;
use cloudvigil_aws::trails::{CouldNotLook, Trail};
use cloudvigil_controls::Control;
use cloudvigil_controls::services;
use futures::StreamExt as _;

use super::{config, guardduty, keys, security_hub};

/// How many regions are asked at once.
const CONCURRENCY: usize = 4;
/// What a region is asked for, in this order.
const SERVICES: [&str; 3] = [services::guardduty::SERVICE, services::config::SERVICE, services::security_hub::SERVICE];

/// Where to look.
#[derive(Debug, Clone)]
pub struct Place {
    /// The account, 12 digits.
    pub account: String,
    /// The region.
    pub region: String,
    /// The time between two calls to the region.
    pub interval: Duration,
}

impl Place {
    /// Waits until the next call may be made.
    pub async fn pause(&self) {
        tokio::time::sleep(self.interval).await;
    }
}

/// A control that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The service's prefix in ARNs.
    pub service: &'static str,
    /// The region that was asked.
    pub region: String,
    /// Why.
    pub look: CouldNotLook,
    /// Whether it had to fail: another account's key, which an organization's trail uses.
    pub is_foreseen: bool,
}

/// What was seen of the controls.
#[derive(Debug, Default)]
pub struct Looked {
    /// The controls that could be looked at.
    pub controls: Vec<Control>,
    /// The others.
    pub failed: Vec<Failed>,
}

/// Looks at the controls of `account` in `regions`, and at the keys of its `trails`. A region is asked call by call, each
/// `interval` after the one before.
pub async fn look(
    clients: &Clients,
    account: &str,
    regions: &[String],
    trails: &[Trail],
    interval: Duration,
) -> Looked {
    let place = |region: &str| Place { account: account.to_owned(), region: region.to_owned(), interval };
    let of_regions = futures::stream::iter(regions.iter().map(|region| place(region)))
        // Boxed, for a region's calls together are a large future.
        .map(|place| async move { Box::pin(look_in(clients, &place)).await })
        .buffered(CONCURRENCY)
        .collect::<Vec<_>>()
        .await;
    let mut looked = Looked::default();
    let of_keys = Box::pin(look_at_keys_of(clients, account, trails, interval)).await;
    for Looked { controls, failed } in of_regions.into_iter().chain([of_keys]) {
        looked.controls.extend(controls);
        looked.failed.extend(failed);
    }
    looked
}

/// Looks at one service's control in a region, by the service's prefix in ARNs.
pub async fn look_at(clients: &Clients, account: &str, service: &str, region: &str, interval: Duration) -> Looked {
    let place = Place { account: account.to_owned(), region: region.to_owned(), interval };
    let Some(service) = SERVICES.into_iter().find(|one| *one == service) else { return Looked::default() };
    let mut looked = Looked::default();
    looked.add(service, &place, look_at_service(clients, service, &place).await);
    looked
}

/// Looks at the keys of trails.
pub async fn look_at_keys_of(clients: &Clients, account: &str, trails: &[Trail], interval: Duration) -> Looked {
    let place = |region: &str| Place { account: account.to_owned(), region: region.to_owned(), interval };
    let (controls, failed) = keys::look(clients, trails, &place).await;
    Looked { controls, failed }
}

impl Looked {
    fn add(&mut self, service: &'static str, place: &Place, looked: Result<Control, CouldNotLook>) {
        match looked {
            Ok(control) => self.controls.push(control),
            Err(look) => {
                self.failed.push(Failed { service, region: place.region.clone(), look, is_foreseen: false });
            }
        }
    }
}

async fn look_in(clients: &Clients, place: &Place) -> Looked {
    let mut looked = Looked::default();
    for service in SERVICES {
        looked.add(service, place, look_at_service(clients, service, place).await);
    }
    looked
}

async fn look_at_service(clients: &Clients, service: &str, place: &Place) -> Result<Control, CouldNotLook> {
    let config = &clients.config_in(&place.region).await;
    match service {
        services::guardduty::SERVICE => Box::pin(guardduty::look(&aws_sdk_guardduty::Client::new(config), place)).await,
        services::config::SERVICE => Box::pin(config::look(&aws_sdk_config::Client::new(config), place)).await,
        _ => Box::pin(security_hub::look(&aws_sdk_securityhub::Client::new(config), place)).await,
    }
}

#[cfg(test)]
mod tests;
