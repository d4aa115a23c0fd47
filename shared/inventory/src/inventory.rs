//! A scan: every collector in every region, dated, as records.

use std::collections::BTreeMap;

use cloudvigil_aws::Clients;
use cloudvigil_aws::regions::Regions;
use cloudvigil_core::ports::{Clock, PortError, StateStore};
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::collect::{COLLECTORS, Collected, Collector, Place};
use crate::failure::{Failure, merged};
use crate::history::{self, Change, Dating};

/// How many collectors are at work at once.
const PARALLEL: usize = 8;

/// What a scan saw.
#[derive(Debug)]
pub struct Inventory {
    /// The records, sorted by ARN: one for each resource, and one for each thing that could not be looked at.
    pub records: Vec<Value>,
    /// What they come to.
    pub summary: Summary,
    /// Where the state could not be read or written. If there is any, `since` cannot be relied on, and findings made
    /// of these records would look new.
    pub state_errors: Vec<PortError>,
}

/// The numbers of a scan.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// When it began.
    pub started: Timestamp,
    /// The account, 12 digits.
    pub account: String,
    /// The regions that were asked.
    pub regions: Vec<String>,
    /// Resources by region (`unknown` where it could not be found out), then type. `collection` is not among them.
    pub resources: BTreeMap<String, BTreeMap<String, Counts>>,
    /// What could not be looked at.
    pub failures: Vec<Failure>,
}

/// The numbers of one type in one region, or of all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Resources seen: `new` + `changed` + `unchanged`.
    pub seen: u64,
    /// Seen for the first time.
    pub new: u64,
    /// Set up differently than at the last scan.
    pub changed: u64,
    /// As they were.
    pub unchanged: u64,
    /// There at the last scan, and gone.
    pub removed: u64,
}

impl Summary {
    /// The numbers of all types in all regions.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.resources.values().flat_map(BTreeMap::values) {
            total.seen += counts.seen;
            total.new += counts.new;
            total.changed += counts.changed;
            total.unchanged += counts.unchanged;
            total.removed += counts.removed;
        }
        total
    }

    fn counts(&mut self, region: &str, kind: &str) -> &mut Counts {
        self.resources.entry(region.to_owned()).or_default().entry(kind.to_owned()).or_default()
    }
}

impl Inventory {
    /// The records as NDJSON: the input of the pipeline's `inventory` format.
    pub fn ndjson(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for record in &self.records {
            lines.extend_from_slice(record.to_string().as_bytes());
            lines.push(b'\n');
        }
        lines
    }
}

/// Looks at everything that `account` has in `regions`, and dates it by the snapshots in `state`.
///
/// Never fails as a whole: what could not be looked at is among the records and in the summary, regions that could not
/// be listed included ([`enabled_regions`](cloudvigil_aws::regions::enabled_regions) says so in [`Regions::error`]).
pub async fn collect(
    clients: &Clients,
    regions: &Regions,
    account: &str,
    state: &dyn StateStore,
    clock: &dyn Clock,
) -> Inventory {
    // Whole seconds: `since` is for people too.
    let started = Timestamp::from_second(clock.now().as_second()).unwrap_or_default();
    let names = regions.names.as_slice();
    // A global service is asked from where we are, or else from the first region of the scan.
    let here = match clients.region().await {
        Ok(region) => region,
        Err(_) => names.first().cloned().unwrap_or_else(|| "us-east-1".to_owned()),
    };
    let place =
        |region: &str| Place { account: account.to_owned(), region: region.to_owned(), regions: names.to_vec() };
    let mut jobs: Vec<(&dyn Collector, Place)> = Vec::new();
    for collector in COLLECTORS {
        if collector.global() {
            jobs.push((collector, place(&here)));
        } else {
            jobs.extend(names.iter().map(|region| (collector, place(region))));
        }
    }
    let mut collected: Vec<Collected> = stream::iter(jobs.into_iter().map(|(collector, place)| async move {
        let collected = collector.collect(clients, &place).await;
        tracing::debug!(
            collector = collector.name(),
            region = place.region,
            resources = collected.resources.len(),
            failures = collected.failures.len(),
            "collected"
        );
        collected
    }))
    .buffer_unordered(PARALLEL)
    .collect()
    .await;
    if let Some(error) = &regions.error {
        let failure = Failure::of_port("account:ListRegions", &here, error);
        collected.push(Collected { failures: vec![failure], ..Collected::default() });
    }
    let summary = Summary { started, account: account.to_owned(), regions: names.to_vec(), ..Summary::default() };
    settle(summary, collected, &here, state).await
}

/// Dates what was collected and counts it.
async fn settle(mut summary: Summary, collected: Vec<Collected>, here: &str, state: &dyn StateStore) -> Inventory {
    let account = summary.account.clone();
    let mut resources = Vec::new();
    let mut failures = Vec::new();
    // Failures are resources in this: one that is there no more is "removed".
    let mut complete: Vec<history::Scope> =
        summary.regions.iter().map(|region| (region.clone(), "collection")).collect();
    complete.push((here.to_owned(), "collection"));
    for part in collected {
        resources.extend(part.resources);
        complete.extend(part.complete);
        failures.extend(part.failures);
    }
    summary.failures = merged(failures);
    for failure in &summary.failures {
        tracing::warn!(
            region = failure.region,
            action = failure.action,
            code = failure.code,
            detail = failure.detail,
            affected = failure.affected,
            "could not look"
        );
        resources.push(failure.resource(&account));
    }
    resources.sort_by(|a, b| a.arn.cmp(&b.arn));
    complete.sort();
    complete.dedup();

    let Dating { dated, removed, errors } = history::date(state, &account, resources, &complete, summary.started).await;
    let mut records = Vec::with_capacity(dated.len());
    for item in &dated {
        let since = item.resource.since.unwrap_or(item.since);
        records.push(item.resource.record(&account, since));
        if item.resource.kind == "collection" {
            continue;
        }
        let counts = summary.counts(item.resource.region.as_deref().unwrap_or("unknown"), item.resource.kind);
        counts.seen += 1;
        match &item.change {
            Change::New => counts.new += 1,
            Change::Changed(_) => counts.changed += 1,
            Change::Unchanged => counts.unchanged += 1,
        }
    }
    for (region, kind, _) in removed.iter().filter(|(_, kind, _)| kind != "collection") {
        summary.counts(region, kind).removed += 1;
    }
    Inventory { records, summary, state_errors: errors }
}

#[cfg(test)]
#[path = "inventory_tests.rs"]
mod tests;
