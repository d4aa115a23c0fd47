//! `cloudvigil trail verify`: are the log files still what CloudTrail delivered?

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use cloudvigil_aws::{Clients, ListedKeys, S3Objects};
use cloudvigil_core::formats::Format;
use cloudvigil_core::pipeline::{Entry, Options, Pipeline, SourceStats};
use cloudvigil_core::ports::{Clock, ObjectStore, PublicKeys, SystemClock};
use cloudvigil_local::Files;
use cloudvigil_trail::chain::{Listing, listing};
use cloudvigil_trail::unlisted::unlisted;
use cloudvigil_trail::{KeyRing, Places, Scope, Summary, Walk};
use comfy_table::Cell;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::format;
use crate::analysis::{self, Finished, Run};
use crate::arguments::{FindingsOutput, TextOutput, TrailVerify};
use crate::destination::Destination;
use crate::ending::Ending;
use crate::terminal::{self, Sheet};
use crate::{output, parallel, rules, times};

/// What an address in S3 begins with.
const S3: &str = "s3://";

/// Runs it.
pub fn run(arguments: &TrailVerify) -> Result<Ending> {
    // First everything that can be wrong with what was asked.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let scope = scope(arguments, clock.as_ref())?;
    let rules = rules::load(&arguments.rules)?;
    let catalogue = &rules.catalogue;
    let inventory = format("inventory")?;
    let clients = Arc::new(Clients::new());
    let keys = keys(&arguments.keys, &clients)?;
    let in_s3 = arguments.path.starts_with(S3);
    let store: Box<dyn ObjectStore> = if in_s3 { Box::new(S3Objects::new(clients)) } else { Box::new(Files) };
    let runtime = analysis::runtime()?;

    let options = rules.options(Options { modified: clock.now(), ..Options::default() });
    let pipeline = Pipeline::new(catalogue, options);
    let mut run =
        Run::new(catalogue, None, clock.as_ref(), runtime.handle()).suppressing(rules.suppressions(clock.as_ref()));
    let (objects, errors) = match runtime.block_on(store.list(&arguments.path)) {
        Ok(listed) => listed,
        Err(error) => (Vec::new(), vec![error]),
    };
    for error in &errors {
        run.failed(error);
    }
    let places = if in_s3 { Places::bucket(objects) } else { Places::folder(objects) };
    let listing = listing(&places);
    take_listing(&listing, &arguments.path, errors.is_empty(), &mut run);
    let take = |run: &mut Run<'_>, source: &str, records: &[Value], errors: Vec<String>| {
        take(run, &pipeline, inventory, source, records, errors);
    };
    take(&mut run, &arguments.path, &listing.missing(), Vec::new());

    let mut summaries = Vec::new();
    for chain in &listing.chains {
        let mut walk = Walk::new(store.as_ref(), keys.as_ref(), &places, chain, scope.clone());
        while let Some(step) = runtime.block_on(walk.step()) {
            take(&mut run, &step.source, &step.records, step.errors);
        }
        let summary = walk.summary().clone();
        let unproven = summary.digests.unverified;
        if unproven > 0 {
            run.failed(&format!("{}: {} could not be verified", name(&summary), digests(unproven)));
        }
        summaries.push(summary);
    }
    if !listing.chains.is_empty() && summaries.iter().all(|summary| summary.to.is_none()) {
        run.failed(&format!("{}: there is no digest of that time", arguments.path));
    }
    let walked: Vec<_> = listing.chains.iter().zip(&summaries).collect();
    take(&mut run, &arguments.path, &unlisted(&places, &walked), Vec::new());

    let mut finished = run.finish(arguments.min_level);
    let mut to = Destination::open(None)?;
    let written = match arguments.output {
        TextOutput::Json => write_json(&finished, &summaries, &mut to),
        TextOutput::Table => {
            let (shown, complete) = (to.is_shown(), finished.is_complete());
            to.write(|writer| checked(&summaries, shown, writer)).and_then(|_| {
                output::findings(
                    FindingsOutput::Table,
                    &finished.findings,
                    complete,
                    catalogue,
                    parallel::processors(),
                    &mut to,
                )
            })
        }
    };
    written.map_or_else(|error| finished.fail(&error), drop);
    finished.tell();
    Ok(finished.ending(arguments.fail_on))
}

fn scope(arguments: &TrailVerify, clock: &dyn Clock) -> Result<Scope> {
    let now = clock.now();
    let time = |option: &str, text: &Option<String>| {
        text.as_deref().map(|text| times::time(option, text, &TimeZone::UTC, now)).transpose()
    };
    let (since, until) = (time("--since", &arguments.since)?, time("--until", &arguments.until)?);
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        bail!("--since {since} is after --until {until}: no digest can be between them");
    }
    Ok(Scope { since, until, ..Scope::default() })
}

/// The keys of the files, or, without any, those that `CloudTrail` tells of.
#[allow(clippy::disallowed_methods, reason = "a file of keys is small, and the user's own")]
fn keys(files: &[PathBuf], clients: &Arc<Clients>) -> Result<Box<dyn PublicKeys>> {
    if files.is_empty() {
        return Ok(Box::new(ListedKeys::new(Arc::clone(clients))));
    }
    let mut ring = KeyRing::default();
    for file in files {
        let what = || format!("--keys {}", file.display());
        ring.add(&fs::read(file).with_context(what)?).with_context(what)?;
    }
    Ok(Box::new(ring))
}

/// What is wrong with the listing itself.
fn take_listing(listing: &Listing, path: &str, complete: bool, run: &mut Run<'_>) {
    for stray in &listing.strays {
        run.failed(&format!("{}: it lies among the digests, and has no digest's name", stray.source));
    }
    if listing.chains.is_empty() && complete {
        run.failed(&format!(
            "{path}: there is no digest in it (…/AWSLogs/ACCOUNT/CloudTrail-Digest/REGION/…/*.json.gz); is validation \
             on? aws cloudtrail update-trail --name TRAIL --enable-log-file-validation"
        ));
    }
}

/// Takes up inventory lines, and what could not be looked at.
fn take(
    run: &mut Run<'_>,
    pipeline: &Pipeline<'_>,
    inventory: &'static dyn Format,
    source: &str,
    records: &[Value],
    errors: Vec<String>,
) {
    if records.is_empty() {
        if !errors.is_empty() {
            run.take(Err(SourceStats { source: source.to_owned(), errors, ..SourceStats::default() }));
        }
        return;
    }
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    let entries = lines.iter().map(|line| Entry { key: None, time: None, bytes: line.as_bytes() });
    let mut report = pipeline.entries(source, Some(inventory), entries);
    report.stats.errors.extend(errors);
    run.take(Ok(report));
}

fn write_json(finished: &Finished<'_>, summaries: &[Summary], to: &mut Destination) -> Result<bool> {
    let findings: Vec<_> = finished.findings.iter().collect();
    let document = json!({"chains": summaries, "findings": findings, "stats": finished.stats});
    Ok(to.write(|writer| output::json::value(&document, writer))? && to.flush()?)
}

/// A row for each chain.
fn checked(summaries: &[Summary], shown: bool, writer: &mut dyn Write) -> io::Result<()> {
    if summaries.is_empty() {
        return writeln!(writer, "No digest could be found; see the errors.\n");
    }
    let mut sheet = Sheet::new(
        &["Account", "Region", "Trail", "From (UTC)", "To (UTC)", "Digests", "Log files", "Gaps (UTC)"],
        shown,
    );
    for summary in summaries {
        let Summary { digests, log_files, .. } = summary;
        let digests = [
            ("valid", digests.valid),
            ("unverified", digests.unverified),
            ("INVALID", digests.invalid),
            ("MISSING", digests.missing),
            ("unreadable", digests.unreadable),
        ];
        let log_files = [
            ("valid", log_files.valid),
            ("CHANGED", log_files.changed),
            ("MISSING", log_files.missing),
            ("unreadable", log_files.unreadable),
            ("not checked", log_files.unchecked),
        ];
        let late = if summary.backfill { "\n(backfill)" } else { "" };
        let gaps = summary.gaps.iter().map(|gap| format!("{} – {}", stamp(Some(gap.from)), stamp(Some(gap.to))));
        sheet.row(vec![
            Cell::new(terminal::line(&summary.account)),
            Cell::new(terminal::line(&summary.region)),
            Cell::new(format!("{}{late}", terminal::line(&summary.trail))),
            Cell::new(stamp(summary.from)),
            Cell::new(stamp(summary.to)),
            Cell::new(counts(&digests)),
            Cell::new(counts(&log_files)),
            Cell::new(gaps.collect::<Vec<_>>().join("\n")),
        ]);
    }
    sheet.whole(&[0, 1, 5, 6]);
    writeln!(writer, "{sheet}")
}

/// The counts that are not zero, one a line.
fn counts(counts: &[(&str, u64)]) -> String {
    let lines: Vec<_> =
        counts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}")).collect();
    if lines.is_empty() { "none".to_owned() } else { lines.join("\n") }
}

fn stamp(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "–".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

fn name(summary: &Summary) -> String {
    let late = if summary.backfill { " (backfill)" } else { "" };
    format!("trail {} in {} of {}{late}", summary.trail, summary.region, summary.account)
}

fn digests(count: u64) -> String {
    if count == 1 { "1 digest".to_owned() } else { format!("{count} digests") }
}
