//! What people see of the trails: how each is, what none of them records, and what has changed.

use std::io::{self, Write};

use cloudvigil_aws::trails::{Seen, Trail, TrailStatus};
use cloudvigil_trail::changes::Change;
use cloudvigil_trail::gaps::Gaps;
use cloudvigil_trail::state::TrailState;
use comfy_table::Cell;
use jiff::Timestamp;

use crate::terminal::{self, Sheet};

/// The longest text of a line, in characters: a command is whole, or of no use.
const LINE: usize = 4096;
const UNSEEN: &str = "could not look";

/// A heading of a section.
pub fn heading(text: &str, writer: &mut dyn Write) -> io::Result<()> {
    writeln!(writer, "{text}\n")
}

/// A row for each trail, and a line for each other region in which one is not well.
pub fn trails(seen: &Seen, shown: bool, writer: &mut dyn Write) -> io::Result<()> {
    heading("TRAILS", writer)?;
    if seen.trails.is_empty() {
        let why = if seen.errors.is_empty() { "There is no trail." } else { "No trail could be seen; see the errors." };
        return writeln!(writer, "{why}\n");
    }
    let headings =
        ["Trail", "Home region", "Records", "Logging", "Last delivery (UTC)", "Write events", "Validated", "Bucket"];
    let mut sheet = Sheet::new(&headings, shown);
    for trail in &seen.trails {
        let (logging, delivery) = match &trail.status {
            Err(_) => (UNSEEN.to_owned(), UNSEEN.to_owned()),
            Ok(status) => (logging(status), delivery(status)),
        };
        let recorded = trail.management_writes().map_or(UNSEEN, |writes| writes.as_str());
        sheet.row(vec![
            Cell::new(terminal::line(&trail.name)),
            Cell::new(terminal::line(&trail.home_region)),
            Cell::new(reach(trail)),
            Cell::new(logging),
            Cell::new(delivery),
            Cell::new(recorded),
            Cell::new(if trail.validation { "yes" } else { "NO" }),
            Cell::new(terminal::short(trail.s3_bucket.as_deref().unwrap_or("none"), 63)),
        ]);
    }
    writeln!(writer, "{sheet}")?;
    let mut others = seen.trails.iter().flat_map(elsewhere).peekable();
    if others.peek().is_some() {
        for line in others {
            writeln!(writer, "  {line}")?;
        }
        writeln!(writer)?;
    }
    Ok(())
}

fn reach(trail: &Trail) -> String {
    let regions = if trail.multi_region { "all regions" } else { "its region" };
    let accounts = if trail.organization { "\nthe organization" } else { "" };
    format!("{regions}{accounts}")
}

fn logging(status: &TrailStatus) -> String {
    match (status.is_logging, status.stopped) {
        (true, _) => "yes".to_owned(),
        (false, Some(stopped)) => format!("NO\nsince {}", time(stopped)),
        (false, None) => "NO".to_owned(),
    }
}

fn delivery(status: &TrailStatus) -> String {
    let last = status.latest_delivery_time.map_or_else(|| "never".to_owned(), time);
    let failures = [
        ("log files", &status.latest_delivery_error),
        ("digests", &status.latest_digest_delivery_error),
        ("log group", &status.latest_log_group_error),
    ];
    let failures = failures.into_iter().filter_map(|(what, error)| Some((what, error.as_ref()?)));
    failures.fold(last, |said, (what, error)| format!("{said}\n{what} FAIL: {}", terminal::short(error, 40)))
}

/// What is not well with a trail in other regions.
fn elsewhere(trail: &Trail) -> Vec<String> {
    let not_well = trail.elsewhere.iter().filter_map(|(region, status)| match status {
        Err(look) => Some((region, format!("{UNSEEN}: {look}"))),
        Ok(status) => {
            let error = status.latest_delivery_error.as_ref()?;
            Some((region, format!("cannot deliver: {}", terminal::short(error, 60))))
        }
    });
    let line = |(region, what): (&String, String)| {
        format!("{} in {}: {what}", terminal::line(&trail.name), terminal::line(region))
    };
    not_well.map(line).collect()
}

/// What no trail records, and where nobody could look.
pub fn gaps(gaps: &Gaps, states: &[TrailState], seen: &Seen, writer: &mut dyn Write) -> io::Result<()> {
    heading("NOT COVERED", writer)?;
    let mut lines: Vec<String> = gaps.sentences.iter().map(|sentence| terminal::short(sentence, LINE)).collect();
    lines.extend(seen.errors.iter().map(|(region, _)| format!("{region}: could not look; see the errors")));
    lines.extend(seen.trails.iter().filter_map(hidden));
    if lines.is_empty() {
        let count = seen.regions.len();
        let regions = if count == 1 { "the region that was" } else { "all regions that were" };
        return writeln!(writer, "Nothing: every management event of {regions} asked is recorded, and validated.\n");
    }
    for line in lines {
        writeln!(writer, "  - {line}")?;
    }
    for trail in states.iter().filter(|trail| trail.is_logging == Some(false)) {
        let command = cloudvigil_trail::undo::start(trail);
        writeln!(writer, "    To switch {} on:\n      {}", terminal::line(&trail.name), terminal::line(&command))?;
    }
    writeln!(writer)
}

/// What is not known of a trail.
fn hidden(trail: &Trail) -> Option<String> {
    let looks = [trail.status.as_ref().err(), trail.selectors.as_ref().err()];
    let mut looks = looks.into_iter().flatten().peekable();
    looks.peek()?;
    let why = if looks.all(|look| trail.is_foreseen(look)) {
        "may be looked at by the organization's management account alone"
    } else {
        "could not be looked at; see the errors"
    };
    Some(format!("What the trail {} records {why}: it is taken as everything", terminal::line(&trail.name)))
}

/// What has become of the trails since the last time, and what to run. `is_first`: there was no last time.
pub fn changes(changes: &[Change], is_first: bool, writer: &mut dyn Write) -> io::Result<()> {
    heading("CHANGED SINCE THE LAST TIME", writer)?;
    if is_first {
        return writeln!(writer, "This is the first time; the trails are remembered for the next.\n");
    }
    if changes.is_empty() {
        return writeln!(writer, "Nothing.\n");
    }
    for change in changes {
        for sentence in change.lost.iter().chain(&change.gained) {
            writeln!(writer, "  - {}: {}", terminal::line(change.trail()), terminal::short(sentence, LINE))?;
        }
        if !change.undo.is_empty() {
            writeln!(writer, "    To undo it:")?;
        }
        for command in &change.undo {
            writeln!(writer, "      {}", terminal::line(command))?;
        }
    }
    writeln!(writer)
}

fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
