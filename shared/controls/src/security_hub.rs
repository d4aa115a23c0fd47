//! Security Hub, which a region has or has not
//! (<https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_DescribeHub.html>).

use aws_sdk_securityhub::Client;
use aws_sdk_securityhub::error::ProvideErrorMetadata as _;
use cloudvigil_aws::trails::CouldNotLook;
use cloudvigil_trail::undo::quoted;

use crate::control::{Condition, Control, Part};
use crate::look::Place;

/// Its prefix in ARNs.
pub const SERVICE: &str = "securityhub";
const HUB: &str = "hub";
const LOOK: &str = "securityhub:DescribeHub";

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
    let part = Part {
        kind: HUB.to_owned(),
        condition: Condition::Working,
        lost: format!("Security Hub is off in {region}: findings are no longer gathered there, and nothing is checked"),
        again: format!("Security Hub is on again in {region}"),
        undo: vec![format!("aws securityhub enable-security-hub --region {}", quoted(region))],
        if_gone: None,
        relied_on: false,
    };
    Ok(Control { resource: Some(arn), ..control }.with(HUB, part))
}
