//! What became of a trail since it was last looked at, as an inventory line that rules judge.
//!
//! | `change` | which |
//! | --- | --- |
//! | `coverage_lost` | it records less than it did, or delivers elsewhere: `lost` says what |
//! | `coverage_gained` | it records more: `gained` says what |
//! | `interrupted` | it was off for a while, and is on again |
//! | `gone` | it is there no more |
//! | `returned` | it is there again, or logs again |
//!
//! That a trail does not log is no change but a state, told for as long as it lasts: see [`crate::state`] and the line of
//! the type `trail`. `stopped` is what a call says beforehand, see [`crate::calls`]; no rule judges it. `lost` and `gained` are lists of sentences, `summary` is the first of them in one, `undo` the commands that
//! bring back what was lost; `before` and `after` hold the fields that differ. The line's fields stand in this order, so
//! that evidence that is cut keeps what a reader needs.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::bucket::{Difference, difference};
use crate::coverage::{gained, lost, unrecorded};
use crate::state::TrailState;
use crate::undo::{create, start, undo};

/// The version of the inventory line's shape.
const SCHEMA: u32 = 1;
/// How many sentences a summary has: it stands where there is room for a line or two.
const SUMMED_UP: usize = 3;

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It records less, or delivers elsewhere.
    CoverageLost,
    /// It records more.
    CoverageGained,
    /// It was off for a while.
    Interrupted,
    /// It is there no more.
    Gone,
    /// It is there again, or logs again.
    Returned,
    /// It is switched off by a call.
    Stopped,
}

/// A change, which serialises to its inventory line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    schema: u32,
    service: &'static str,
    #[serde(rename = "type")]
    line_type: &'static str,
    /// The trail's ARN.
    pub resource: String,
    account: Option<String>,
    region: String,
    since: Timestamp,
    /// What kind of change it is.
    pub change: Kind,
    /// The first sentences in one.
    pub summary: String,
    /// What is no longer done.
    pub lost: Vec<String>,
    /// What is done now.
    pub gained: Vec<String>,
    /// Commands that bring back what was lost.
    pub undo: Vec<String>,
    trail: String,
    before: Map<String, Value>,
    after: Map<String, Value>,
}

impl Change {
    fn new(trail: &TrailState, change: Kind, since: Timestamp) -> Self {
        Self {
            schema: SCHEMA,
            service: "cloudtrail",
            line_type: "trail_change",
            resource: trail.arn.clone(),
            account: trail.account.clone(),
            region: trail.home_region.clone(),
            since,
            change,
            summary: String::new(),
            lost: Vec::new(),
            gained: Vec::new(),
            undo: Vec::new(),
            trail: trail.name.clone(),
            before: Map::new(),
            after: Map::new(),
        }
    }

    fn summed_up(self) -> Self {
        let all: Vec<&str> = self.lost.iter().chain(&self.gained).map(String::as_str).collect();
        Self { summary: summed_up(&all), ..self }
    }

    /// The trail's name.
    pub fn trail(&self) -> &str {
        &self.trail
    }

    /// The trail's home region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The inventory line.
    pub fn to_line(&self) -> String {
        // Serialising texts, times and JSON does not fail; an empty line is none.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The first sentences in one, and how many more there are.
pub fn summed_up(sentences: &[&str]) -> String {
    let mut summary = sentences.iter().take(SUMMED_UP).copied().collect::<Vec<_>>().join("; ");
    if sentences.len() > SUMMED_UP {
        // Writing to a string does not fail.
        let _ = write!(summary, "; and {} more", sentences.len() - SUMMED_UP);
    }
    summary
}

/// What became of a trail that was there `before` and is there `now`: what could not be looked at is as it was.
pub fn changes(before: &TrailState, after: &TrailState, now: Timestamp) -> Vec<Change> {
    let mut changes = Vec::new();
    match (before.is_logging, after.is_logging) {
        (Some(false), Some(true)) => changes.push(logs_again(before, after, now)),
        (Some(true), Some(true)) => changes.extend(interruption(before, after)),
        _ => {}
    }
    let mut lost = lost(before, after);
    let mut gained = gained(before, after);
    let of_bucket = of_bucket(before, after);
    lost.extend(of_bucket.lost);
    gained.extend(of_bucket.gained);
    let change = match (lost.is_empty(), gained.is_empty()) {
        (true, true) => return changes,
        (true, false) => Kind::CoverageGained,
        (false, _) => Kind::CoverageLost,
    };
    let change = Change { lost, gained, ..Change::new(after, change, now) };
    // What was lost by switching it off is told by the state itself.
    let still_on = TrailState { is_logging: before.is_logging, ..after.clone() };
    let mut undo = if change.lost.is_empty() { Vec::new() } else { undo(before, &still_on) };
    undo.extend(of_bucket.undo);
    let (before, after) = differing(before, after);
    changes.push(Change { undo, before, after, ..change }.summed_up());
    changes
}

/// What became of the trail's bucket, if it is the same one.
fn of_bucket(before: &TrailState, after: &TrailState) -> Difference {
    match (&after.s3_bucket, &before.bucket, &after.bucket) {
        (Some(name), Some(had), Some(has)) if before.s3_bucket == after.s3_bucket => difference(name, had, has),
        _ => Difference::default(),
    }
}

/// A trail that was there `before`, and is gone.
pub fn gone(before: &TrailState, now: Timestamp) -> Change {
    // One that was off recorded nothing.
    let lost = if before.is_logging == Some(false) { Vec::new() } else { unrecorded(before) };
    let lost = std::iter::once(format!("The trail {} is gone", before.name)).chain(lost).collect();
    Change { lost, undo: create(before), ..Change::new(before, Kind::Gone, now) }.summed_up()
}

/// A trail that was gone, and is there again.
pub fn returned(after: &TrailState, now: Timestamp) -> Change {
    let gained = vec![format!("The trail {} is there again", after.name)];
    Change { gained, ..Change::new(after, Kind::Returned, now) }.summed_up()
}

/// A trail as it was `before` a call that switches it off.
pub(crate) fn stopped(before: &TrailState, now: Timestamp) -> Change {
    // One that was off recorded nothing.
    let lost = if before.is_logging == Some(false) { Vec::new() } else { unrecorded(before) };
    Change { lost, undo: vec![start(before)], ..Change::new(before, Kind::Stopped, now) }.summed_up()
}

fn logs_again(before: &TrailState, after: &TrailState, now: Timestamp) -> Change {
    let again = format!("The trail {} logs again", after.name);
    let lost = before.stopped.map(|stopped| nothing_recorded(stopped, after.started));
    let change = Change::new(after, Kind::Returned, after.started.unwrap_or(now));
    Change { gained: vec![again], lost: lost.into_iter().collect(), ..change }.summed_up()
}

/// A trail that was on when it was last looked at, and is on, and was off in between.
fn interruption(before: &TrailState, after: &TrailState) -> Option<Change> {
    let stopped = after.stopped.filter(|stopped| before.stopped != Some(*stopped))?;
    // A stop from before the start that was known already is nothing new.
    if before.started.is_some_and(|started| stopped < started) {
        return None;
    }
    let lost = vec![nothing_recorded(stopped, after.started)];
    Some(Change { lost, ..Change::new(after, Kind::Interrupted, stopped) }.summed_up())
}

fn nothing_recorded(from: Timestamp, to: Option<Timestamp>) -> String {
    let shown = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    match to.filter(|to| *to >= from) {
        Some(to) => format!("Nothing was recorded from {} to {}", shown(from), shown(to)),
        None => format!("Nothing was recorded from {} on", shown(from)),
    }
}

/// Adds to the inventory line of a trail that does not log what nobody records meanwhile, and what to run.
pub fn explain_stopped(line: &mut Value) {
    let Some(trail) = TrailState::of_line(line).filter(|trail| trail.is_logging == Some(false)) else { return };
    if let Some(fields) = line.as_object_mut() {
        fields.insert("lost".to_owned(), unrecorded(&trail).into());
        fields.insert("undo".to_owned(), vec![start(&trail)].into());
    }
}

/// The fields in which they differ, but those that move by themselves.
fn differing(before: &TrailState, after: &TrailState) -> (Map<String, Value>, Map<String, Value>) {
    let fields = |trail| match serde_json::to_value(trail) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let (mut before, mut after) = (fields(before), fields(after));
    let same: Vec<String> = before
        .iter()
        .filter(|(name, value)| {
            matches!(name.as_str(), "is_logging" | "started" | "stopped") || after.get(*name) == Some(value)
        })
        .map(|(name, _)| name.clone())
        .collect();
    for name in same {
        before.remove(&name);
        after.remove(&name);
    }
    (before, after)
}
