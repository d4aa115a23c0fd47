//! `cloudvigil trail`: who tampered with logging, and is every trail alive?

mod verify;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use cloudvigil_aws::Clients;
use cloudvigil_aws::lookup::{Pace, Questions, Reading, Tally};
use cloudvigil_aws::regions::{Regions, enabled_regions};
use cloudvigil_aws::trails::{Seen, Trail as TrailState, trails};
use cloudvigil_core::detect::Rule;
use cloudvigil_core::formats::{self, Format};
use cloudvigil_core::pipeline::{Entry, Options, Pipeline, SourceStats};
use cloudvigil_core::ports::{Clock, SystemClock};
use cloudvigil_local::EmbeddedState;
use comfy_table::Cell;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::analysis::{self, Finished, Run};
use crate::arguments::{FindingsOutput, TextOutput, Trail, TrailCommand};
use crate::destination::Destination;
use crate::ending::Ending;
use crate::terminal::{self, Sheet};
use crate::{output, rules};

/// Runs it.
pub fn run(arguments: &Trail) -> Result<Ending> {
    if let Some(TrailCommand::Verify(arguments)) = &arguments.command {
        return verify::run(arguments);
    }
    let catalogue = rules::load(&arguments.rules)?;
    let events = format("cloudtrail")?;
    let inventory = format("inventory")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let state = EmbeddedState::in_memory(Arc::clone(&clock))?;
    let runtime = analysis::runtime()?;
    let clients = Arc::new(Clients::new());
    let regions = match arguments.region.as_slice() {
        [] => runtime.block_on(enabled_regions(&clients))?,
        given => Regions { names: given.to_vec(), error: None },
    };

    // Whole seconds: the history knows no others.
    let to = Timestamp::from_second(clock.now().as_second()).unwrap_or_default();
    let from = to - SignedDuration::from_hours(24 * i64::from(arguments.days));
    let mut run = Run::new(&catalogue, &state, clock.as_ref(), runtime.handle(), true);
    if let Some(error) = &regions.error {
        run.failed(&format!("{error}; only {} was looked at", regions.names.join(", ")));
    }
    let pipeline = Pipeline::new(&catalogue, Options { modified: to, ..Options::default() });
    let (found, Seen { trails, errors, .. }) = runtime.block_on(async {
        // Regions have histories and quotas of their own: none waits for another.
        let mut tasks = tokio::task::JoinSet::new();
        let pace = Arc::new(Pace::default());
        let questions = Arc::new(Questions::of(&catalogue, Rule::is_about_tampering));
        for region in &regions.names {
            let (clients, pace, region) = (Arc::clone(&clients), Arc::clone(&pace), region.clone());
            let questions = Arc::clone(&questions);
            tasks.spawn(async move { history(&clients, region, &questions, (from, to), &pace).await });
        }
        let mut found = tasks.join_all().await;
        found.sort_by(|one, other| one.region.cmp(&other.region));
        (found, trails(&clients, &regions.names).await)
    });
    for History { region, events: lines, errors } in found {
        let name = format!("cloudtrail history of {region}");
        if lines.is_empty() {
            run.take(Err(SourceStats { source: name, errors, ..SourceStats::default() }));
            continue;
        }
        let entries = lines.iter().map(|(id, event)| Entry { key: Some(id), time: None, bytes: event.as_bytes() });
        let mut report = pipeline.entries(&name, Some(events), entries);
        report.stats.errors.extend(errors);
        run.take(Ok(report));
    }
    for (_, error) in &errors {
        run.failed(error);
    }
    let records: Vec<Value> = trails.iter().map(|trail| trail.to_inventory(None)).collect();
    for (trail, record) in trails.iter().zip(&records) {
        for (region, look) in trail.failed_looks() {
            run.failed(&format!("trail {} in {region}: {look}: {}", trail.name, look.message));
        }
        let line = record.to_string();
        let entry = Entry { key: Some(&trail.arn), time: None, bytes: line.as_bytes() };
        run.take(Ok(pipeline.entries("trails", Some(inventory), std::iter::once(entry))));
    }

    let mut finished = run.finish(arguments.min_level);
    let mut to = Destination::open(None)?;
    let written = match arguments.output {
        TextOutput::Json => write_json(&finished, &records, &regions.names, &mut to),
        TextOutput::Table => {
            let shown = to.is_shown();
            to.write(|writer| health(&trails, finished.is_complete(), shown, writer)).and_then(|_| {
                output::findings(FindingsOutput::Table, &finished.messages, finished.is_complete(), &catalogue, &mut to)
            })
        }
    };
    written.map_or_else(|error| finished.fail(&error), drop);
    finished.tell();
    Ok(finished.ending(arguments.fail_on))
}

fn format(name: &str) -> Result<&'static dyn Format> {
    formats::by_name(name).with_context(|| format!("this build does not know the format '{name}'"))
}

/// What a region's history has.
struct History {
    region: String,
    /// Ids and events, each once.
    events: Vec<(String, String)>,
    errors: Vec<String>,
}

async fn history(
    clients: &Clients,
    region: String,
    questions: &Questions,
    (from, to): (Timestamp, Timestamp),
    pace: &Pace,
) -> History {
    let client = clients.cloudtrail_in(&region).await;
    let mut reading = Reading::new(from, to, questions);
    let mut tally = Tally::default();
    let mut events = BTreeMap::new();
    let mut errors = Vec::new();
    loop {
        match reading.next_page(&client, questions, pace, &mut tally).await {
            Ok(Some(more)) => events.extend(more.into_iter().map(|event| (event.id, event.event))),
            Ok(None) => break,
            Err(stopped) => {
                errors.push(stopped.to_string());
                break;
            }
        }
    }
    if tally.incomplete > 0 {
        errors.push(format!("{} events came without an id or a record", tally.incomplete));
    }
    History { region, events: events.into_iter().collect(), errors }
}

fn write_json(finished: &Finished, trails: &[Value], regions: &[String], to: &mut Destination) -> Result<bool> {
    let findings: Vec<_> = finished.messages.iter().map(|message| &message.finding).collect();
    let document = json!({"regions": regions, "trails": trails, "findings": findings, "stats": finished.stats});
    Ok(to.write(|writer| output::json::value(&document, writer))? && to.flush()?)
}

/// A row for each trail.
fn health(trails: &[TrailState], complete: bool, shown: bool, writer: &mut dyn Write) -> std::io::Result<()> {
    if trails.is_empty() {
        let why = if complete { "There is no trail." } else { "No trail could be seen; see the errors." };
        return writeln!(writer, "{why}\n");
    }
    let mut sheet =
        Sheet::new(&["Trail", "Home region", "Regions", "Logging", "Last delivery (UTC)", "Writes recorded"], shown);
    for trail in trails {
        let unknown = |_| "could not look".to_owned();
        let (logging, delivery) = match &trail.status {
            Err(_) => ("could not look".to_owned(), "could not look".to_owned()),
            Ok(status) => {
                let time = status
                    .latest_delivery_time
                    .map_or_else(|| "never".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string());
                let error = status
                    .latest_delivery_error
                    .as_ref()
                    .map(|error| format!("\nfails: {}", terminal::short(error, 60)));
                (if status.is_logging { "yes" } else { "NO" }.to_owned(), time + &error.unwrap_or_default())
            }
        };
        sheet.row(vec![
            Cell::new(terminal::line(&trail.name)),
            Cell::new(terminal::line(&trail.home_region)),
            Cell::new(if trail.multi_region { "all" } else { "home" }),
            Cell::new(logging),
            Cell::new(delivery),
            Cell::new(trail.management_writes().map_or_else(unknown, |writes| writes.as_str().to_owned())),
        ]);
    }
    writeln!(writer, "{sheet}")
}
