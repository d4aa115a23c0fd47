//! Trails, and whether each is alive; see [`cloudvigil_aws::trails`], which asks.

use async_trait::async_trait;
use cloudvigil_aws::Clients;
use cloudvigil_aws::trails::{CouldNotLook, Seen, Trail, trails};
use serde_json::Value;

use super::{Collected, Collector, Place};
use crate::failure::Failure;
use crate::resource::Resource;

/// What every record has, or has of its own: not particular to a trail.
const COMMON: [&str; 8] = ["schema", "service", "type", "resource", "account", "region", "since", "could_not_look"];
/// What moves by itself while a trail is alive.
const VOLATILE: &[&str] = &["latest_delivery_time", "latest_digest_delivery_time", "latest_log_group_time"];
/// What `GetTrailStatus` says.
const STATUS: [&str; 9] = [
    "is_logging",
    "latest_delivery_error",
    "latest_delivery_time",
    "latest_digest_delivery_error",
    "latest_digest_delivery_time",
    "latest_log_group_error",
    "latest_log_group_time",
    "started",
    "stopped",
];

/// The collector of trails.
pub struct CloudTrail;

#[async_trait]
impl Collector for CloudTrail {
    fn name(&self) -> &'static str {
        "cloudtrail"
    }

    // A trail for all regions shows in each of them, and is one trail.
    fn global(&self) -> bool {
        true
    }

    async fn collect(&self, clients: &Clients, place: &Place) -> Collected {
        let Seen { trails, errors, .. } = trails(clients, &place.regions).await;
        let mut collected = Collected::default();
        if errors.is_empty() {
            collected.complete.extend(place.regions.iter().map(|region| (region.clone(), "trail")));
        }
        let unlisted = |(region, error): &(String, _)| Failure::of_port("cloudtrail:DescribeTrails", region, error);
        collected.failures.extend(errors.iter().map(unlisted));
        for trail in &trails {
            collected.failures.extend(unseen(trail).map(|(failure, _)| Failure { affected: 1, ..failure }));
            collected.resources.push(resource(trail));
        }
        collected
    }
}

fn resource(trail: &Trail) -> Resource {
    let mut resource = Resource::new("cloudtrail", "trail", trail.arn.clone(), Some(&trail.home_region));
    if let Value::Object(fields) = trail.to_inventory(None) {
        resource.fields.extend(fields.into_iter().filter(|(name, _)| !COMMON.contains(&name.as_str())));
    }
    resource.volatile = VOLATILE;
    // As the trail-detector has it, so that a stopped trail that both see is one finding.
    resource.since = trail.since();
    for (failure, fields) in unseen(trail) {
        resource.note_unseen(&failure.why(), fields);
    }
    // With an organization's trail, the management account.
    resource.with("owner_account", trail.account.clone())
}

/// What could not be looked at of a trail at home, and the fields that are missing for it.
fn unseen(trail: &Trail) -> impl Iterator<Item = (Failure, &'static [&'static str])> {
    let failure = |blind: &CouldNotLook| {
        Failure::new(blind.action, &trail.home_region, &blind.code, blind.message.as_str(), blind.failure)
    };
    let status = trail.status.as_ref().err().map(|blind| (failure(blind), STATUS.as_slice()));
    let selectors = trail.selectors.as_ref().err();
    let selectors = selectors.map(|blind| (failure(blind), ["management_writes", "selectors"].as_slice()));
    status.into_iter().chain(selectors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudvigil_aws::trails::{Selectors, TrailStatus};
    use cloudvigil_core::ports::Failure as Kind;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn trail() -> Trail {
        Trail {
            arn: "arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit".to_owned(),
            name: "audit".to_owned(),
            home_region: "eu-west-1".to_owned(),
            account: Some("111122223333".to_owned()),
            multi_region: true,
            organization: true,
            global_services: true,
            insights: false,
            s3_bucket: Some("logs".to_owned()),
            s3_prefix: None,
            log_group: None,
            log_role: None,
            sns_topic: None,
            kms_key: None,
            validation: true,
            status: Ok(TrailStatus { is_logging: true, ..TrailStatus::default() }),
            elsewhere: BTreeMap::new(),
            selectors: Ok(Selectors::untouched()),
        }
    }

    #[test]
    fn a_trail_is_a_record_of_the_account_that_sees_it() {
        let record = resource(&trail()).record("123456789012", "2026-03-01T10:00:00Z".parse().unwrap());
        assert_eq!((&record["type"], &record["region"]), (&json!("trail"), &json!("eu-west-1")));
        assert_eq!((&record["account"], &record["owner_account"]), (&json!("123456789012"), &json!("111122223333")));
        assert_eq!((&record["is_logging"], &record["management_writes"]), (&json!(true), &json!("all")));
        assert_eq!(record["since"], "2026-03-01T10:00:00Z");
        assert!(record.get("could_not_look").is_none());
    }

    #[test]
    fn a_status_that_may_not_be_looked_at_is_not_a_trail_that_is_off() {
        let denied = CouldNotLook {
            failure: Kind::Denied,
            code: "AccessDenied".to_owned(),
            action: "cloudtrail:GetTrailStatus",
            message: "no".to_owned(),
        };
        let blind = resource(&Trail { status: Err(denied), ..trail() });
        assert_eq!(blind.fields["is_logging"], Value::Null);
        assert!(blind.unseen.contains(&"is_logging"));
        assert_eq!(blind.could_not_look, ["AccessDenied: cloudtrail:GetTrailStatus"]);
    }
}
