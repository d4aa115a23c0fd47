//! `cloudvigil rules coverage --list`: of a list of calls, those that the catalogue does not find.
//!
//! A call is covered by a rule of which its own tests, run through the pipeline, show that
//!
//! - the successful call matches, and its finding has the rule's level (the list's, if it has a column `severity`);
//! - the denied call (`errorCode`, and no parameters) matches, and its finding is one level lower;
//! - a harmless call of the same name matches no rule about tampering. That is not asked of a call that matches whatever
//!   its parameters, nor where the list's column `condition` says `any outcome`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cloudvigil_core::detect::{Catalogue, Rule, run_case};
use cloudvigil_core::finding::Level;
use cloudvigil_core::formats;
use cloudvigil_core::pipeline::{Entry, Options, Pipeline};
use serde_json::{Value, json};

use crate::destination::Destination;
use crate::ending::Ending;
use crate::terminal;

/// A call's event source and event name.
type Event = (String, String);

/// One call of a list.
struct Wanted {
    event: Event,
    level: Option<Level>,
    /// Whether it is harmful whatever its parameters, as the list has it.
    any_outcome: bool,
}

/// What is known of a rule and a call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    /// A test shows that the successful call matches.
    Succeeded,
    /// A test shows that the denied call matches, one level lower.
    Denied,
    /// A test shows a harmless call that matches no rule about tampering.
    Harmless,
    /// It matches by name, without any parameters.
    ByName,
}

/// Tells which calls of a list no rule covers. Exit code 1 says that there are any.
pub fn run(catalogue: &Catalogue, list: &Path) -> Result<Ending> {
    let wanted = &read(list)?;
    let mut shown: BTreeMap<Event, BTreeMap<usize, BTreeSet<Shown>>> = BTreeMap::new();
    let tested =
        catalogue.rules().iter().enumerate().flat_map(|(number, rule)| {
            tested(catalogue, rule).into_iter().map(move |(event, what)| (event, number, what))
        });
    let probed = probed(catalogue, wanted)?.into_iter().map(|(event, number)| (event, number, Shown::ByName));
    for (event, number, what) in tested.chain(probed) {
        shown.entry(event).or_default().entry(number).or_default().insert(what);
    }
    let nothing = BTreeMap::new();
    let missing: Vec<(&Event, String)> = wanted
        .iter()
        .filter_map(|wanted| {
            let rules = shown.get(&wanted.event).unwrap_or(&nothing);
            let rules: Vec<_> = rules.iter().map(|(number, shown)| (catalogue.rule(*number).level, shown)).collect();
            Some((&wanted.event, lacks(wanted, &rules)?))
        })
        .collect();
    let mut to = Destination::open(None)?;
    to.write(|writer| {
        for ((source, name), reason) in &missing {
            writeln!(writer, "not covered: {}:{}: {reason}", terminal::line(source), terminal::line(name))?;
        }
        writeln!(writer, "{} of {} calls are covered", wanted.len() - missing.len(), wanted.len())
    })?;
    to.flush()?;
    Ok(if missing.is_empty() { Ending::Done } else { Ending::Reached })
}

/// What keeps a call from being covered; `None`: nothing.
fn lacks(wanted: &Wanted, rules: &[(Level, &BTreeSet<Shown>)]) -> Option<String> {
    let succeeded: Vec<_> = rules.iter().filter(|(_, shown)| shown.contains(&Shown::Succeeded)).collect();
    if succeeded.is_empty() {
        return Some("no test shows that it matches".to_owned());
    }
    let at_level: Vec<_> =
        succeeded.iter().filter(|(level, _)| wanted.level.is_none_or(|wanted| wanted == *level)).collect();
    if let (true, Some(level)) = (at_level.is_empty(), wanted.level) {
        let levels: BTreeSet<&str> = succeeded.iter().map(|(level, _)| level.as_str()).collect();
        return Some(format!("it is {}, not {level}", levels.into_iter().collect::<Vec<_>>().join(" and ")));
    }
    let denied: Vec<_> = at_level.into_iter().filter(|(_, shown)| shown.contains(&Shown::Denied)).collect();
    if denied.is_empty() {
        return Some("no test shows that the denied call matches, one level lower".to_owned());
    }
    let judged = |shown: &BTreeSet<Shown>| {
        wanted.any_outcome || shown.contains(&Shown::ByName) || shown.contains(&Shown::Harmless)
    };
    (!denied.iter().any(|(_, shown)| judged(shown)))
        .then(|| "no test shows a harmless call that stays quiet".to_owned())
}

/// Runs a rule's tests, and tells what they show of the calls in them. A correlation counts calls and judges none.
fn tested(catalogue: &Catalogue, rule: &Rule) -> Vec<(Event, Shown)> {
    let mut all = Vec::new();
    for run in rule.cases.runs() {
        let Ok(outcome) = run_case(catalogue, rule, &run) else { continue };
        if rule.detection.is_none() || outcome.matched != run.expected {
            continue;
        }
        let failed = run.records.iter().any(|record| record.get("errorCode").is_some());
        let shown = match outcome.level {
            Some(level) if run.expected && !failed && level == rule.level => Shown::Succeeded,
            Some(level) if run.expected && run.is_denied() && level == rule.level.lower() => Shown::Denied,
            _ if !run.expected && !failed && !outcome.tampering => Shown::Harmless,
            _ => continue,
        };
        all.extend(run.records.iter().filter_map(event_of).map(|event| (event, shown)));
    }
    all
}

/// The calls that match without any parameters, and the rules that they match.
fn probed(catalogue: &Catalogue, wanted: &[Wanted]) -> Result<Vec<(Event, usize)>> {
    let format = formats::by_name("cloudtrail").context("this build does not know the format 'cloudtrail'")?;
    let records: Vec<Vec<u8>> = wanted
        .iter()
        .map(|Wanted { event: (source, name), .. }| {
            let event = json!({"eventVersion": "1.11", "eventSource": source, "eventName": name, "eventID": "probe"});
            event.to_string().into_bytes()
        })
        .collect();
    let pipeline = Pipeline::new(catalogue, Options { matches: true, ..Options::default() });
    let entries = records.iter().map(|bytes| Entry { key: None, time: None, bytes });
    let report = pipeline.entries("coverage", Some(format), entries);
    let matched = report.matches.iter().filter_map(|found| {
        let wanted = wanted.get(usize::try_from(found.record).ok()?.checked_sub(1)?)?;
        Some((wanted.event.clone(), found.rule))
    });
    Ok(matched.collect())
}

fn event_of(record: &Value) -> Option<Event> {
    let text = |name: &str| record.get(name)?.as_str().map(str::to_owned);
    Some((text("eventSource")?, text("eventName")?))
}

/// The calls of a list.
fn read(path: &Path) -> Result<Vec<Wanted>> {
    let shown = path.display();
    let bytes = fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    let text = String::from_utf8(bytes).ok().with_context(|| format!("{shown} is not UTF-8"))?;
    let first: Vec<&str> = text.lines().next().unwrap_or_default().split(',').map(str::trim).collect();
    let column = |wanted: &[&str]| first.iter().position(|name| wanted.contains(name));
    let source = column(&["event_source", "eventSource"]);
    let name = column(&["event_name", "eventName", "cloudtrail_event_name"]);
    let (condition, severity) = (column(&["condition"]), column(&["severity", "level"]));
    let mut calls = Vec::new();
    if let (Some(source), Some(name)) = (source, name) {
        for row in csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes()).records() {
            let row = row.with_context(|| format!("{shown} is no CSV"))?;
            let cell = |column: usize| row.get(column).map(str::trim).filter(|cell| !cell.is_empty());
            let (Some(source), Some(name)) = (cell(source), cell(name)) else { continue };
            let level = severity.and_then(cell).map(str::parse::<Level>).transpose();
            calls.push(Wanted {
                event: (source.to_owned(), name.to_owned()),
                level: level.with_context(|| format!("{shown}, {source}:{name}"))?,
                any_outcome: condition.and_then(cell) == Some("any outcome"),
            });
        }
    } else {
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((source, name)) = line.split_once([':', ',', ' ', '\t']) else {
                bail!(
                    "{shown}, line {number}: '{}' is no call such as cloudtrail.amazonaws.com:StopLogging",
                    terminal::line(line)
                );
            };
            let event = (source.trim().to_owned(), name.trim().to_owned());
            calls.push(Wanted { event, level: None, any_outcome: false });
        }
    }
    if calls.is_empty() {
        bail!("{shown} names no call");
    }
    Ok(calls)
}
