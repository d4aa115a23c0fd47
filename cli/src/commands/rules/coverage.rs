//! `cloudvigil rules coverage`: what the catalogue finds, and of a list of CloudTrail events, which it does not.
//!
//! An event is found if a rule matches a record that has nothing but the event's name, or if a rule's own tests show a
//! record of that name that it must match: rules that ask for more than the name (which parameters did the call have?)
//! are known by their tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cloudvigil_core::detect::{Catalogue, Rule};
use cloudvigil_core::formats;
use cloudvigil_core::pipeline::{Entry, Options, Pipeline};
use comfy_table::Cell;
use serde_json::{Value, json};

use crate::destination::Destination;
use crate::ending::Ending;
use crate::terminal::{self, Sheet};

/// An event's source and name.
type Event = (String, String);

/// Tells what the rules find. With a list, exit code 1 says that something on it is not found.
pub fn run(catalogue: &Catalogue, list: Option<&Path>) -> Result<Ending> {
    match list {
        None => techniques(catalogue),
        Some(path) => events(catalogue, &read(path)?),
    }
}

fn techniques(catalogue: &Catalogue) -> Result<Ending> {
    let mut found: BTreeMap<String, Vec<&Rule>> = BTreeMap::new();
    let mut untagged = 0;
    for rule in catalogue.rules() {
        let techniques: Vec<String> = rule
            .guidance
            .tags
            .iter()
            .filter_map(|tag| {
                tag.strip_prefix("attack.t").filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            })
            .map(|number| format!("T{number}"))
            .collect();
        untagged += usize::from(techniques.is_empty());
        for technique in techniques {
            found.entry(technique).or_default().push(rule);
        }
    }
    let mut sheet = Sheet::new(&["Technique", "Rules", "Highest level"], true);
    for (technique, rules) in &found {
        let highest = rules.iter().map(|rule| rule.level).max().map_or_else(|| Cell::new(""), terminal::level);
        sheet.row(vec![Cell::new(terminal::line(technique)), Cell::new(rules.len()), highest]);
    }
    let mut to = Destination::open(None)?;
    to.write(|writer| {
        write!(writer, "{sheet}")?;
        writeln!(
            writer,
            "{} rules, {} ATT&CK techniques, {untagged} rules without one",
            catalogue.rules().len(),
            found.len()
        )
    })?;
    to.flush()?;
    Ok(Ending::Done)
}

fn events(catalogue: &Catalogue, wanted: &BTreeSet<Event>) -> Result<Ending> {
    let tested = tested(catalogue);
    let probes = probed(catalogue, wanted)?;
    let missing: Vec<&Event> =
        wanted.iter().filter(|event| !tested.contains(*event) && !probes.contains(*event)).collect();
    let mut to = Destination::open(None)?;
    to.write(|writer| {
        for (source, name) in &missing {
            writeln!(writer, "not found: {}:{}", terminal::line(source), terminal::line(name))?;
        }
        writeln!(writer, "{} of {} events are found", wanted.len() - missing.len(), wanted.len())
    })?;
    to.flush()?;
    Ok(if missing.is_empty() { Ending::Done } else { Ending::Reached })
}

/// The events that rules match by name alone.
fn probed(catalogue: &Catalogue, wanted: &BTreeSet<Event>) -> Result<BTreeSet<Event>> {
    let format = formats::by_name("cloudtrail").context("this build does not know the format 'cloudtrail'")?;
    let records: Vec<Vec<u8>> = wanted
        .iter()
        .map(|(source, name)| {
            let event = json!({"eventVersion": "1.11", "eventSource": source, "eventName": name, "eventID": "probe"});
            event.to_string().into_bytes()
        })
        .collect();
    let pipeline = Pipeline::new(catalogue, Options { matches: true, ..Options::default() });
    let entries = records.iter().map(|bytes| Entry { key: None, time: None, bytes });
    let report = pipeline.entries("coverage", Some(format), entries);
    let matched: BTreeSet<u64> = report.matches.iter().map(|found| found.record).collect();
    Ok((1..).zip(wanted).filter(|(number, _)| matched.contains(number)).map(|(_, event)| event.clone()).collect())
}

/// The events that the rules' tests say must match.
fn tested(catalogue: &Catalogue) -> BTreeSet<Event> {
    let cases = catalogue.rules().iter().flat_map(|rule| &rule.cases.positive);
    let records = cases.flat_map(|case| case.record.iter().chain(&case.records));
    records.filter_map(event_of).collect()
}

fn event_of(record: &Value) -> Option<Event> {
    let text = |name: &str| record.get(name)?.as_str().map(str::to_owned);
    Some((text("eventSource")?, text("eventName")?))
}

/// The events of a list.
fn read(path: &Path) -> Result<BTreeSet<Event>> {
    let shown = path.display();
    let bytes = fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    let text = String::from_utf8(bytes).ok().with_context(|| format!("{shown} is not UTF-8"))?;
    let columns = |line: &str| -> Option<(usize, usize)> {
        let names: Vec<&str> = line.split(',').map(str::trim).collect();
        let at = |wanted: &[&str]| names.iter().position(|name| wanted.contains(name));
        Some((at(&["event_source", "eventSource"])?, at(&["event_name", "eventName", "cloudtrail_event_name"])?))
    };
    let first = text.lines().next().unwrap_or_default();
    let mut events = BTreeSet::new();
    if let Some((source, name)) = columns(first) {
        for row in csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes()).records() {
            let row = row.with_context(|| format!("{shown} is no CSV"))?;
            if let (Some(source), Some(name)) = (row.get(source), row.get(name)) {
                events.insert((source.trim().to_owned(), name.trim().to_owned()));
            }
        }
    } else {
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((source, name)) = line.split_once([':', ',', ' ', '\t']) else {
                bail!(
                    "{shown}, line {number}: '{}' is no event such as cloudtrail.amazonaws.com:StopLogging",
                    terminal::line(line)
                );
            };
            events.insert((source.trim().to_owned(), name.trim().to_owned()));
        }
    }
    if events.is_empty() {
        bail!("{shown} names no event");
    }
    Ok(events)
}
