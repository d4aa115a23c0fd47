//! `cloudvigil trail`: is every trail alive, what does none of them record, and who tampered with logging?

mod health;
mod history;
mod verify;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use cloudvigil_aws::Clients;
use cloudvigil_aws::regions::{Regions, enabled_regions};
use cloudvigil_aws::trails::{Seen, trails};
use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::finding::Message;
use cloudvigil_core::formats::{self, Format};
use cloudvigil_core::pipeline::{Entry, Options, Pipeline, SourceStats};
use cloudvigil_core::ports::{Clock, SystemClock};
use cloudvigil_local::EmbeddedState;
use cloudvigil_trail::changes::{Change, explain_stopped};
use cloudvigil_trail::gaps::{Gaps, gaps};
use cloudvigil_trail::snapshots::{Compared, compare};
use cloudvigil_trail::state::TrailState;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::analysis::{self, Finished, Run};
use crate::arguments::{FindingsOutput, TextOutput, Trail, TrailCommand};
use crate::destination::Destination;
use crate::ending::Ending;
use crate::findings::Findings;
use crate::{output, parallel, rules};

use self::history::{History, histories, tells_of_events};

/// Runs it.
pub fn run(arguments: &Trail) -> Result<Ending> {
    if let Some(TrailCommand::Verify(arguments)) = &arguments.command {
        return verify::run(arguments);
    }
    let rules = rules::load(&arguments.rules)?;
    let catalogue = &rules.catalogue;
    let events = format("cloudtrail")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let remembered =
        arguments.state.as_deref().map(|path| EmbeddedState::open(path, Arc::clone(&clock))).transpose()?;
    let runtime = analysis::runtime()?;
    let clients = Arc::new(Clients::new());
    let regions = match arguments.region.as_slice() {
        [] => runtime.block_on(enabled_regions(&clients))?,
        given => Regions { names: given.to_vec(), error: None },
    };

    // Whole seconds: the history knows no others.
    let to = Timestamp::from_second(clock.now().as_second()).unwrap_or_default();
    let from = to - SignedDuration::from_hours(24 * i64::from(arguments.days));
    let mut run =
        Run::new(catalogue, None, clock.as_ref(), runtime.handle()).suppressing(rules.suppressions(clock.as_ref()));
    if let Some(error) = &regions.error {
        run.failed(&format!("{error}; only {} was looked at", regions.names.join(", ")));
    }
    let pipeline = Pipeline::new(catalogue, rules.options(Options { modified: to, ..Options::default() }));
    let (found, seen) = runtime.block_on(async {
        let found = histories(&clients, &regions.names, catalogue, (from, to)).await;
        (found, trails(&clients, &regions.names).await)
    });
    for History { source, events: lines, errors } in found {
        if lines.is_empty() {
            run.take(Err(SourceStats { source, errors, ..SourceStats::default() }));
            continue;
        }
        let entries = lines.iter().map(|(id, event)| Entry { key: Some(id), time: None, bytes: event.as_bytes() });
        let mut report = pipeline.entries(&source, Some(events), entries);
        report.stats.errors.extend(errors);
        run.take(Ok(report));
    }

    let mut look = Look::of(seen);
    for (_, error) in &look.seen.errors {
        run.failed(error);
    }
    for trail in &look.seen.trails {
        // What a member may not know of its organization's trail is said where it is shown.
        for (region, error) in trail.failed_looks().filter(|(_, look)| !trail.is_foreseen(look)) {
            run.failed(&format!("trail {} in {region}: {error}: {}", trail.name, error.message));
        }
    }
    let compared = match &remembered {
        Some(remembered) => Some(runtime.block_on(compare(&look.states, &look.seen.regions, remembered, to))?),
        None => None,
    };
    for error in compared.iter().flat_map(|compared| &compared.errors) {
        run.failed(error);
    }
    look.is_first = compared.as_ref().is_some_and(|compared| compared.is_first);
    look.changes = compared.as_ref().map(|compared| compared.changes.clone());
    let lines = look.lines(runtime.block_on(account(&clients, &look, &regions, &mut run)).as_ref(), to);
    let entries = lines.iter().map(|line| Entry { key: None, time: None, bytes: line.as_bytes() });
    if !lines.is_empty() {
        run.take(Ok(pipeline.entries("trails", Some(format("inventory")?), entries)));
    }

    let mut finished = run.finish(arguments.min_level);
    let mut to = Destination::open(None)?;
    let written = match arguments.output {
        TextOutput::Json => write_json(&finished, &look, &mut to),
        TextOutput::Table => write_table(&finished, &look, arguments.days, catalogue, &mut to),
    };
    written.map_or_else(|error| finished.fail(&error), drop);
    if let (Some(compared), Some(remembered)) = (compared, &remembered) {
        remember(&compared, remembered, arguments.state.as_deref(), &runtime)
            .unwrap_or_else(|error| finished.fail(&error));
    }
    finished.tell();
    Ok(finished.ending(arguments.fail_on))
}

fn format(name: &str) -> Result<&'static dyn Format> {
    formats::by_name(name).with_context(|| format!("this build does not know the format '{name}'"))
}

/// What was seen of the trails, and what follows from it.
struct Look {
    seen: Seen,
    states: Vec<TrailState>,
    gaps: Gaps,
    /// What has become of them since the last time, if that is remembered.
    changes: Option<Vec<Change>>,
    /// Whether nothing was remembered before.
    is_first: bool,
}

impl Look {
    fn of(seen: Seen) -> Self {
        let states: Vec<TrailState> =
            seen.trails.iter().filter_map(|trail| TrailState::of_line(&trail.to_inventory(None))).collect();
        let gaps = gaps(&states, &seen.regions);
        Self { seen, states, gaps, changes: None, is_first: false }
    }

    /// The trails' own inventory lines.
    fn records(&self) -> Vec<Value> {
        let record = |trail: &cloudvigil_aws::trails::Trail| {
            let mut line = trail.to_inventory(trail.since());
            explain_stopped(&mut line);
            line
        };
        self.seen.trails.iter().map(record).collect()
    }

    /// Everything that rules judge: the trails, their other regions, their changes, the account.
    fn lines(&self, account: Option<&(String, String)>, now: Timestamp) -> Vec<String> {
        let mut lines: Vec<String> = self.records().iter().map(ToString::to_string).collect();
        let others = self.seen.trails.iter().flat_map(|trail| trail.regions_to_inventory(None));
        lines.extend(others.map(|line| line.to_string()));
        lines.extend(self.changes.iter().flatten().map(Change::to_line));
        if let Some((account, region)) = account {
            let line = self.gaps.to_inventory(account, region, &self.seen.regions, Some(now));
            lines.extend(line.map(|line| line.to_string()));
        }
        lines
    }
}

/// The account and its region, if something is to be said of the account as a whole: only if all of it was looked at.
async fn account(clients: &Clients, look: &Look, regions: &Regions, run: &mut Run<'_>) -> Option<(String, String)> {
    let is_whole = regions.error.is_none() && look.seen.errors.is_empty();
    if !is_whole || !look.gaps.no_trail && look.gaps.regions.is_empty() {
        return None;
    }
    match (clients.account_id().await, clients.region().await) {
        (Ok(account), Ok(region)) => Some((account, region)),
        (Err(error), _) | (_, Err(error)) => {
            run.failed(&error);
            None
        }
    }
}

/// Keeps how the trails are now, for the next time: what was found has been shown.
fn remember(
    compared: &Compared,
    state: &EmbeddedState,
    file: Option<&Path>,
    runtime: &tokio::runtime::Runtime,
) -> Result<()> {
    let written = runtime.block_on(compared.commit(state));
    written.with_context(|| format!("cannot remember the trails in {}", file.unwrap_or(Path::new("?")).display()))
}

fn write_json(finished: &Finished<'_>, look: &Look, to: &mut Destination) -> Result<bool> {
    let findings: Vec<_> = finished.findings.iter().collect();
    let failed: Vec<&String> = look.seen.errors.iter().map(|(region, _)| region).collect();
    let elsewhere: Vec<Value> = look.seen.trails.iter().flat_map(|trail| trail.regions_to_inventory(None)).collect();
    let document = json!({
        "regions": look.seen.regions,
        "regions_not_looked_at": failed,
        "trails": look.records(),
        "trail_regions": elsewhere,
        "not_covered": look.gaps.sentences,
        "changes": look.changes,
        "findings": findings,
        "stats": finished.stats,
    });
    Ok(to.write(|writer| output::json::value(&document, writer))? && to.flush()?)
}

fn write_table(
    finished: &Finished<'_>,
    look: &Look,
    days: u16,
    catalogue: &Catalogue,
    to: &mut Destination,
) -> Result<bool> {
    let all = finished.findings.messages().map(Cow::into_owned);
    let (events, states): (Vec<Message>, Vec<Message>) = all.partition(tells_of_events);
    let [events, states] = [events, states].map(|messages| Findings::of(catalogue, messages));
    let (shown, complete) = (to.is_shown(), finished.is_complete());
    let mut going = to.write(|writer| {
        health::trails(&look.seen, shown, writer)?;
        health::gaps(&look.gaps, &look.states, &look.seen, writer)?;
        if let Some(changes) = &look.changes {
            health::changes(changes, look.is_first, writer)?;
        }
        health::heading("FINDINGS ABOUT THE TRAILS", writer)
    })?;
    going = going && output::findings(FindingsOutput::Table, &states, complete, catalogue, parallel::processors(), to)?;
    let last = if days == 1 { "THE LAST DAY".to_owned() } else { format!("THE LAST {days} DAYS") };
    going = going && to.write(|writer| health::heading(&format!("\nTAMPERING WITH LOGGING, {last}"), writer))?;
    Ok(going && output::findings(FindingsOutput::Table, &events, complete, catalogue, parallel::processors(), to)?)
}
