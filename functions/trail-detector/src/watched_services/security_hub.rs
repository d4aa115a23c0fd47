//! Security Hub, which a region has or has not, and the standards that it checks
//! (<https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_DescribeHub.html>,
//! <https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_GetEnabledStandards.html>).

use aws_sdk_securityhub::Client;
use aws_sdk_securityhub::error::ProvideErrorMetadata as _;
use aws_sdk_securityhub::types::{StandardsStatus, StandardsSubscription};
use cloudvigil_aws::trails::CouldNotLook;
use cloudvigil_controls::services::security_hub::{HUB, SERVICE, STANDARD};
use cloudvigil_controls::{Condition, Control, Part};
use cloudvigil_trail::undo::quoted;
use serde_json::{Value, json};

use super::look::Place;

const LOOK: &str = "securityhub:DescribeHub";
const LOOK_AT_STANDARDS: &str = "securityhub:GetEnabledStandards";

/// Looks at the hub of a region.
pub async fn look(client: &Client, place: &Place) -> Result<Control, CouldNotLook> {
    let region = &place.region;
    let control = Control::of_region(SERVICE, &place.account, region);
    let answer = client.describe_hub().send().await;
    place.pause().await;
    let arn = match answer {
        Ok(hub) => hub.hub_arn,
        // The same code tells of an account that may not ask.
        Err(error)
            if error.code() == Some("InvalidAccessException")
                && error.message().is_some_and(|message| message.contains("not subscribed")) =>
        {
            return Ok(control.without(HUB));
        }
        Err(error) => return Err(CouldNotLook::new(LOOK, &error)),
    };
    let Some(arn) = arn else {
        return Err(CouldNotLook::empty(LOOK, "the answer names no hub"));
    };
    let mut control = Control { resource: Some(arn), complete_kind: Some(STANDARD), ..control };
    let mut enabled = Vec::new();
    for subscription in standards(client, place).await? {
        let (Some(standard), Some(status)) = (subscription.standards_arn, subscription.standards_status) else {
            continue;
        };
        let condition = match status {
            // It is as good as gone.
            StandardsStatus::Deleting => continue,
            StandardsStatus::Failed => Condition::Failing,
            _ => Condition::Working,
        };
        control = control.with(format!("{STANDARD} {standard}"), standard_part(&standard, condition, region));
        enabled.push(standard);
    }
    let mut undo = vec![format!("aws securityhub enable-security-hub --region {}", quoted(region))];
    if !enabled.is_empty() {
        enabled.sort_unstable();
        undo.push(enable(&enabled, region));
    }
    let part = Part {
        kind: HUB.to_owned(),
        condition: Condition::Working,
        lost: format!("Security Hub is off in {region}: findings are no longer gathered there, and nothing is checked"),
        again: format!("Security Hub is on again in {region}"),
        undo,
        if_gone: None,
        if_off: None,
        relied_on: false,
        extent: None,
    };
    Ok(control.with(HUB, part))
}

/// The standards that a region's hub is subscribed to.
async fn standards(client: &Client, place: &Place) -> Result<Vec<StandardsSubscription>, CouldNotLook> {
    let (mut all, mut token) = (Vec::new(), None);
    loop {
        let page = client.get_enabled_standards().set_next_token(token).send().await;
        let page = page.map_err(|error| CouldNotLook::new(LOOK_AT_STANDARDS, &error))?;
        place.pause().await;
        all.extend(page.standards_subscriptions.unwrap_or_default());
        token = page.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(all);
        }
    }
}

fn standard_part(standard: &str, condition: Condition, region: &str) -> Part {
    let name = name(standard);
    let failing = if condition == Condition::Failing { ": it could not be enabled" } else { "" };
    Part {
        kind: STANDARD.to_owned(),
        condition,
        lost: format!("Security Hub no longer checks the standard {name} in {region}{failing}"),
        again: format!("Security Hub checks the standard {name} in {region} again"),
        undo: vec![enable(&[standard.to_owned()], region)],
        if_gone: None,
        if_off: None,
        relied_on: false,
        extent: None,
    }
}

fn enable(standards: &[String], region: &str) -> String {
    let requests: Vec<Value> = standards.iter().map(|standard| json!({"StandardsArn": standard})).collect();
    format!(
        "aws securityhub batch-enable-standards --region {} --standards-subscription-requests {}",
        quoted(region),
        quoted(&json!(requests).to_string())
    )
}

/// What people call a standard: `cis-aws-foundations-benchmark/v/1.4.0` of
/// `arn:aws:securityhub:us-east-1::standards/cis-aws-foundations-benchmark/v/1.4.0`. The oldest one is a `ruleset/`.
fn name(standard: &str) -> &str {
    standard.split_once('/').map_or(standard, |(_, name)| name)
}
