//! What else watches the account: `GuardDuty`, Config, Security Hub, and the keys of trails. One that is off is found
//! although no event ever says so.
//!
//! Where a look is refused, that is a part of the inventory that is not known, and told as such once; a look that failed
//! for now is a failure of the poll. Neither is ever taken for a service that is off.

mod config;
mod guardduty;
mod keys;
mod look;
mod security_hub;

use std::collections::{BTreeMap, BTreeSet};

use cloudvigil_aws::trails::Trail;
use cloudvigil_controls::control::region_key;
use cloudvigil_controls::snapshots;
use cloudvigil_core::ports::PortResult;
use cloudvigil_lambda::Counters;
use cloudvigil_lambda::shown::Shown;
use cloudvigil_trail::gaps::partition;
use jiff::Timestamp;
use serde_json::json;

use self::look::{Failed, Looked, look, look_at, look_at_keys_of};
use crate::context::Context;
use crate::reasons;
use crate::trail_status::{analyse, first_seen};

/// The code of a service that could not be reached at all.
const UNREACHABLE: &str = "no connection";
/// Where it shows what has become of them.
const CONTROLS: &str = "detective controls";

/// Looks at the controls of the regions, and tells what has become of them. Returns what failed; the rest was done.
pub async fn check(trails: &[Trail], regions: &[String], context: &Context, counters: &mut Counters) -> Vec<String> {
    let look =
        async |account: &str| look(&context.detector.clients, account, regions, trails, context.control_interval).await;
    tell(look, true, context, counters).await
}

/// Looks at one service's control in a region, after a call that has changed it. Returns what failed.
pub async fn look_at_once(service: &str, region: &str, context: &Context, counters: &mut Counters) -> Vec<String> {
    let look = async |account: &str| {
        look_at(&context.detector.clients, account, service, region, context.control_interval).await
    };
    tell(look, false, context, counters).await
}

/// Looks at the keys of trails, after a call that has changed one. Returns what failed.
pub async fn look_at_keys(trails: &[Trail], context: &Context, counters: &mut Counters) -> Vec<String> {
    let look = async |account: &str| {
        look_at_keys_of(&context.detector.clients, account, trails, context.control_interval).await
    };
    tell(look, false, context, counters).await
}

/// Tells what has become of the controls that a look at an account sees. `asks`: the event history is asked who did it.
async fn tell(
    look: impl AsyncFnOnce(&str) -> Looked,
    asks: bool,
    context: &Context,
    counters: &mut Counters,
) -> Vec<String> {
    let detector = &context.detector;
    let account = match detector.clients.account_id().await {
        Ok(account) => account,
        Err(error) => return vec![error.to_string()],
    };
    let Looked { controls, failed } = look(&account).await;
    let (state, now) = (detector.state.as_ref(), detector.clock.now());
    let compared = match snapshots::compare(&controls, snapshots::CONTROLS, state, now).await {
        Ok(compared) => compared,
        Err(error) => return vec![error.to_string()],
    };
    let mut failures = compared.errors.clone();
    counters.count("Controls", controls.len() as u64);
    counters.count("ControlsLost", compared.lost);
    counters.count("ControlsReturned", compared.returned);
    let (mut lines, mut shown) = (Vec::new(), Vec::new());
    for line in &compared.lines {
        match Shown::of_line(line.clone(), now) {
            Some(lost) => shown.push(lost),
            None => lines.push(line.clone()),
        }
    }
    let told = match analyse(CONTROLS, &lines, context, counters).await {
        Ok(()) => Box::pin(reasons::tell(CONTROLS, shown, asks, context, counters)).await,
        Err(error) => Err(error),
    };
    match told {
        // What was found is safe.
        Ok(()) => failures.extend(compared.commit(state).await.err().map(|error| error.to_string())),
        Err(error) => failures.push(error.to_string()),
    }
    failures.extend(not_looked(&account, &failed, &compared.known, context, counters).await);
    failures
}

/// Counts what could not be looked at, and tells what may not. Returns what should not have failed.
async fn not_looked(
    account: &str,
    failed: &[Failed],
    known: &BTreeSet<String>,
    context: &Context,
    counters: &mut Counters,
) -> Vec<String> {
    let mut failures = Vec::new();
    let mut refused: BTreeMap<(&str, &str, &str), BTreeSet<&str>> = BTreeMap::new();
    for Failed { service, region, look, is_foreseen } in failed {
        // Not every region has every service: where none has ever answered, none is missed.
        if look.code == UNREACHABLE && !known.contains(&region_key(service, region)) {
            tracing::info!(service, region, message = look.message, "no such service answers in this region");
            counters.count("ControlsUnavailable", 1);
            continue;
        }
        counters.count("ControlsNotLooked", 1);
        if look.is_transient() {
            failures.push(format!("{service} in {region}: {look}: {}", look.message));
        } else if !is_foreseen {
            tracing::warn!(service, region, %look, message = look.message, "a control could not be looked at");
            refused.entry((service, look.action, &look.code)).or_default().insert(region);
        }
    }
    let mut lines = Vec::new();
    for ((service, action, code), regions) in refused {
        match refusal(account, service, action, code, &regions, context).await {
            Ok(line) => lines.push(line),
            Err(error) => failures.push(error.to_string()),
        }
    }
    let told = analyse("detective controls that were not looked at", &lines, context, counters).await;
    failures.extend(told.err().map(|error| error.to_string()));
    failures
}

/// A look that was refused, as the inventory's line of a collection: one for all regions, since it is mostly one policy
/// that refuses them.
async fn refusal(
    account: &str,
    service: &str,
    action: &str,
    code: &str,
    regions: &BTreeSet<&str>,
    context: &Context,
) -> PortResult<String> {
    let here = context.detector.clients.region().await?;
    let operation = action.split_once(':').map_or(action, |(_, operation)| operation);
    let resource = format!("arn:{}:{service}::{account}:collection/{operation}#{code}", partition(&here));
    let line = |since: Option<Timestamp>| {
        json!({
            "schema": 1, "service": service, "type": "collection", "resource": resource, "account": account,
            "region": here, "regions": regions, "since": since, "action": action, "code": code,
            "affected": regions.len(), "could_not_look": format!("{code}: {action}"),
        })
    };
    let since = first_seen(&resource, line(None), context).await?;
    Ok(line(Some(since)).to_string())
}

#[cfg(test)]
mod tests;
