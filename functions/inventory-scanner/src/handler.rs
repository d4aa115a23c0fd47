//! One scan: collect, write the log, run the rules, publish.
//!
//! What could not be looked at does not end the scan: it is a record like any other, so that rules make findings of it,
//! and the result names it. A failure of the state, the topic or the account's identity is an error: the invocation is
//! retried by Lambda, then goes to the dead-letter queue. Every step may be repeated.

use std::collections::BTreeSet;
use std::io::{self, Write};

use anyhow::{Context as _, Result, bail};
use cloudvigil_aws::regions::{Regions, enabled_regions};
use cloudvigil_controls::snapshots;
use cloudvigil_core::formats::inventory::Inventory;
use cloudvigil_core::pipeline::Entry;
use cloudvigil_inventory::collect;
use cloudvigil_inventory::inventory::Counts;
use cloudvigil_lambda::metrics::Counters;
use serde::Serialize;
use serde_json::Value;

use crate::context::Context;
use crate::flow_logs;

/// What a scan came to: the invocation's result.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The account, 12 digits.
    pub account: String,
    /// How many regions were looked at.
    pub regions: usize,
    /// Resources.
    pub resources: Counts,
    /// What could not be looked at, by region: `eu-west-1 AccessDenied: ec2:DescribeInstances`.
    pub could_not_look: Vec<String>,
    /// How many findings were published: new ones, and those that moved.
    pub findings: u64,
}

/// Handles `{"task":"scan"}` or a scheduled event. The counters are written in every case.
pub async fn handle(event: Value, context: &Context) -> Result<Outcome> {
    let mut counters = Counters::default();
    let outcome = scan(&event, context, &mut counters).await;
    match &outcome {
        Ok(outcome) => tracing::info!(
            account = outcome.account,
            regions = outcome.regions,
            resources = outcome.resources.seen,
            new = outcome.resources.new,
            changed = outcome.resources.changed,
            removed = outcome.resources.removed,
            could_not_look = outcome.could_not_look.len(),
            findings = outcome.findings,
            "scanned"
        ),
        Err(_) => counters.errors += 1,
    }
    counters.emit(&context.detector.function, context.detector.clock.as_ref());
    outcome
}

async fn scan(event: &Value, context: &Context, counters: &mut Counters) -> Result<Outcome> {
    if !asks_for_a_scan(event) {
        bail!("the event is neither {{\"task\":\"scan\"}} nor a scheduled event of EventBridge; nothing was done");
    }
    let detector = &context.detector;
    let clients = detector.clients.as_ref();
    let account = clients.account_id().await?;
    let regions = match context.regions.as_slice() {
        [] => enabled_regions(clients).await?,
        names => Regions { names: names.to_vec(), error: None },
    };
    let inventory = collect(clients, &regions, &account, detector.state.as_ref(), detector.clock.as_ref()).await;
    let total = inventory.summary.total();
    for (name, value) in [
        ("Resources", total.seen),
        ("ResourcesNew", total.new),
        ("ResourcesChanged", total.changed),
        ("ResourcesRemoved", total.removed),
        ("CouldNotLook", inventory.summary.failures.len() as u64),
    ] {
        counters.count(name, value);
    }
    counters.errors += inventory.summary.failures.len() as u64;
    write_log(&inventory.ndjson()).context("write the inventory to the standard output")?;

    if let Some(error) = inventory.state_errors.first() {
        let number = inventory.state_errors.len();
        // Findings of these records would look new, and every exposure would be mailed again.
        bail!(
            "since when things are as they are is not known ({number} failures of the state), so no rule was run: {error}"
        );
    }
    detect(&inventory.records, &account, context, counters).await?;
    compare_flow_logs(&inventory.records, &account, context, counters).await?;
    let could_not_look =
        inventory.summary.failures.iter().map(|failure| format!("{} {}", failure.region, failure.why()));
    Ok(Outcome {
        regions: regions.names.len(),
        resources: total,
        could_not_look: could_not_look.collect(),
        findings: counters.findings,
        account,
    })
}

/// `EventBridge` rules and the Scheduler both send the same kind of event.
fn asks_for_a_scan(event: &Value) -> bool {
    let scheduled = matches!(event["source"].as_str(), Some("aws.events" | "aws.scheduler"))
        && event["detail-type"] == "Scheduled Event";
    scheduled || event["task"] == "scan"
}

/// One line for each record, which Lambda sends to `CloudWatch` Logs.
fn write_log(lines: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(lines)?;
    stdout.flush()
}

/// Compares the flow logs with those that the last scan saw, and makes records of what became of them.
async fn compare_flow_logs(records: &[Value], account: &str, context: &Context, counters: &mut Counters) -> Result<()> {
    let (state, now) = (context.detector.state.as_ref(), context.detector.clock.now());
    let controls = flow_logs::controls(records, account);
    let compared = snapshots::compare(&controls, snapshots::FLOW_LOGS, state, now).await?;
    for error in &compared.errors {
        tracing::error!(error, "a snapshot of flow logs was not read");
        counters.errors += 1;
    }
    counters.count("FlowLogsLost", compared.lost);
    counters.count("FlowLogsReturned", compared.returned);
    let changes: Vec<Value> = compared.lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for line in &compared.lines {
        write_log(format!("{line}\n").as_bytes()).context("write what became of flow logs to the standard output")?;
    }
    detect(&changes, account, context, counters).await?;
    // What was found is safe.
    Ok(compared.commit(state).await?)
}

/// Runs the rules over the records, and publishes what is new.
async fn detect(records: &[Value], account: &str, context: &Context, counters: &mut Counters) -> Result<()> {
    let detector = &context.detector;
    let source = format!("inventory/{account}");
    let mut touched = BTreeSet::new();
    for record in records {
        // Each record is an object of its own, known by what it is of and since when: the next scan of the same
        // configuration brings the same object, whatever else has changed in the account.
        let key = format!("{}@{}", record["resource"].as_str().unwrap_or_default(), record["since"]);
        let line = record.to_string();
        let entry = Entry { key: Some(&key), time: None, bytes: line.as_bytes() };
        let report = detector.pipeline().entries(&source, Some(&Inventory), std::iter::once(entry));
        touched.extend(detector.put(report, counters).await?.0);
    }
    Ok(detector.settle(&touched, counters).await?)
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
