//! The keys that trails encrypt their log files with
//! (<https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html>). A trail whose key cannot be used delivers
//! nothing, and what it has delivered cannot be read: so a key that does not work is told at the first look.

use std::collections::BTreeMap;

use aws_sdk_kms::Client;
use aws_sdk_kms::types::KeyState;
use cloudvigil_aws::Clients;
use cloudvigil_aws::trails::{CouldNotLook, Trail};
use cloudvigil_controls::{Condition, Control, Part};
use cloudvigil_core::ports::Failure;
use cloudvigil_trail::undo::quoted;
use jiff::Timestamp;

use super::look::{Failed, Place};

/// KMS's prefix in ARNs.
pub const SERVICE: &str = "kms";
const KEY: &str = "key";
const LOOK: &str = "kms:DescribeKey";

/// Looks at the key of each trail.
pub async fn look(clients: &Clients, trails: &[Trail], place: &impl Fn(&str) -> Place) -> (Vec<Control>, Vec<Failed>) {
    let mut of_keys: BTreeMap<&str, Vec<&Trail>> = BTreeMap::new();
    for trail in trails {
        if let Some(key) = trail.kms_key.as_deref() {
            of_keys.entry(key).or_default().push(trail);
        }
    }
    let (mut controls, mut failed) = (Vec::new(), Vec::new());
    for (arn, trails) in of_keys {
        // arn:aws:kms:REGION:ACCOUNT:key/ID
        let part = |n: usize| arn.split(':').nth(n).filter(|part| !part.is_empty());
        let home = trails.first().map_or("", |trail| trail.home_region.as_str());
        let region = part(3).unwrap_or(home);
        let place = place(region);
        let client = Client::new(&clients.config_in(region).await);
        match key(&client, arn, &trails, region).await {
            Ok(None) => {}
            Ok(Some(seen)) => {
                let account = part(4).unwrap_or(&place.account);
                controls.push(Control::of_resource(SERVICE, account, region, arn).with(KEY, seen));
            }
            Err(look) => {
                let is_foreseen = trails.iter().all(|trail| trail.is_foreseen(&look));
                failed.push(Failed { service: SERVICE, region: region.to_owned(), look, is_foreseen });
            }
        }
        place.pause().await;
    }
    (controls, failed)
}

/// A key as it is; `None` where it is about to be something.
async fn key(client: &Client, arn: &str, trails: &[&Trail], region: &str) -> Result<Option<Part>, CouldNotLook> {
    let names: Vec<&str> = trails.iter().map(|trail| trail.name.as_str()).collect();
    let of = format!("the trail{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", "));
    let given = format!("--region {} --key-id {}", quoted(region), quoted(arn));
    let enable = format!("aws kms enable-key {given}");
    let part = |condition, lost: String, undo| {
        let again = format!("The key of {of} can be used again");
        Part {
            kind: KEY.to_owned(),
            condition,
            lost,
            again,
            undo,
            if_gone: None,
            if_off: None,
            relied_on: true,
            extent: None,
        }
    };
    let unusable = format!("Log files of {of} can be neither written nor read");
    let metadata = match client.describe_key().key_id(arn).send().await.map(|answer| answer.key_metadata) {
        Ok(metadata) => metadata,
        Err(error) => {
            let look = CouldNotLook::new(LOOK, &error);
            if look.failure != Failure::NotFound {
                return Err(look);
            }
            let without = trails.iter().map(|trail| {
                let (region, arn) = (quoted(&trail.home_region), quoted(&trail.arn));
                format!("aws cloudtrail update-trail --region {region} --name {arn} --kms-key-id ''")
            });
            let lost = format!("{unusable}, those from before never again: their key is gone");
            return Ok(Some(part(Condition::Gone, lost, without.collect())));
        }
    };
    let state = metadata.as_ref().and_then(|metadata| metadata.key_state.as_ref());
    Ok(Some(match state {
        Some(KeyState::Enabled | KeyState::Updating) => {
            part(Condition::Working, format!("{unusable}: their key is gone"), Vec::new())
        }
        Some(KeyState::Disabled) => {
            part(Condition::Disabled, format!("{unusable}: their key is disabled"), vec![enable])
        }
        Some(state @ (KeyState::PendingDeletion | KeyState::PendingReplicaDeletion)) => {
            let date = metadata.as_ref().and_then(|metadata| metadata.deletion_date.as_ref());
            let date = date.and_then(|date| Timestamp::from_second(date.secs()).ok());
            let shown = match date {
                Some(date) => format!("on {}", date.strftime("%Y-%m-%d %H:%M UTC")),
                None if *state == KeyState::PendingReplicaDeletion => "when its replicas are gone".to_owned(),
                None => "soon".to_owned(),
            };
            let lost = format!("{unusable}, and never again after their key is deleted, {shown}");
            part(Condition::PendingDeletion, lost, vec![format!("aws kms cancel-key-deletion {given}"), enable])
        }
        Some(state @ (KeyState::Unavailable | KeyState::PendingImport)) => {
            let lost = format!("{unusable}: the state of their key is {}", state.as_str());
            part(Condition::Unusable, lost, vec![format!("aws kms describe-key {given}")])
        }
        _ => return Ok(None),
    }))
}
