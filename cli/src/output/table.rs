//! Findings for people.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use cloudvigil_core::finding::{Evidence, Finding, Level};
use comfy_table::{Cell, CellAlignment};

use crate::findings::Findings;
use crate::terminal::{self, Sheet};

/// How many findings stand in one table: how wide its columns are, only all of its rows say.
const ROWS: usize = 1000;
/// How many resources a row names.
const RESOURCES: usize = 2;
/// How many places a row names where its records were read.
const PLACES: usize = 4;
/// The longest text of a cell, in characters.
const CELL: usize = 80;
/// The digits of a rule's id that tell it from others well enough.
const RULE: usize = 8;

/// Findings, in the order given, and how many there are of each level.
///
/// `complete`: everything could be read. "Could not look" must never look like "nothing found".
pub fn findings(findings: &Findings<'_>, complete: bool, shown: bool, writer: &mut dyn Write) -> io::Result<()> {
    if findings.is_empty() {
        let why = if complete { "." } else { " in what could be read; see the errors for what could not." };
        return writeln!(writer, "No findings{why}");
    }
    let narrow = terminal::is_narrow(shown);
    let headings: &[&str] = if narrow {
        &["Level", "First seen (UTC)", "Count", "Finding", "Rule"]
    } else {
        &["Level", "First seen (UTC)", "Count", "Finding", "Who and from where", "What", "Rule"]
    };
    for told in findings.all().chunks(ROWS) {
        let mut sheet = Sheet::new(headings, shown);
        for told in told {
            sheet.row(row(&findings.finding(told), narrow));
        }
        sheet.whole(&[0, 1, 2, headings.len() - 1]);
        write!(writer, "{sheet}")?;
    }
    writeln!(writer, "{}. What to do about one: cloudvigil rules show RULE", counted(findings.levels()))
}

/// A row for a finding. `narrow`: with its texts in one cell.
fn row(finding: &Finding, narrow: bool) -> Vec<Cell> {
    let first_time =
        finding.first_time.map_or_else(|| "no time".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string());
    let mut row = vec![
        terminal::level(finding.level),
        Cell::new(first_time),
        Cell::new(finding.count).set_alignment(CellAlignment::Right),
    ];
    let texts = [title(finding), who(finding), what(finding)];
    if narrow {
        let said: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        row.push(Cell::new(said.join("\n")));
    } else {
        row.extend(texts.map(Cell::new));
    }
    row.push(Cell::new(terminal::short(&finding.rule.chars().take(RULE).collect::<String>(), RULE)));
    row
}

/// `12 findings: 1 critical, 11 low`.
pub fn counted(levels: impl Iterator<Item = Level>) -> String {
    let mut counts: BTreeMap<Level, usize> = BTreeMap::new();
    for level in levels {
        *counts.entry(level).or_default() += 1;
    }
    let total: usize = counts.values().sum();
    let each: Vec<String> = counts.iter().rev().map(|(level, count)| format!("{count} {level}")).collect();
    format!("{total} {}: {}", if total == 1 { "finding" } else { "findings" }, each.join(", "))
}

fn title(finding: &Finding) -> String {
    let particulars = finding.particulars().map(|value| terminal::short(value, CELL));
    let title = std::iter::once(terminal::short(&finding.title, CELL));
    let lines: Vec<String> = title.chain(particulars).chain(seen_by(finding)).collect();
    lines.join("\n")
}

/// All that saw the same records, where it was more than one.
fn seen_by(finding: &Finding) -> Vec<String> {
    let places: BTreeSet<&str> = finding.evidence.iter().filter_map(Evidence::seen_by).flatten().collect();
    let mut lines: Vec<String> = places.iter().take(PLACES).map(|place| terminal::short(place, CELL)).collect();
    if let Some(first) = lines.first_mut() {
        *first = format!("seen by: {first}");
    }
    if places.len() > PLACES {
        lines.push(format!("and {} more", places.len() - PLACES));
    }
    lines
}

fn who(finding: &Finding) -> String {
    let actor = finding.actor.as_deref().map(|actor| terminal::short(last_part(actor), CELL));
    let address = finding.source_address.as_deref().map(|address| terminal::short(address, CELL));
    match (actor, address) {
        (Some(actor), Some(address)) => format!("{actor}\n{address}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => String::new(),
    }
}

fn what(finding: &Finding) -> String {
    let mut lines: Vec<String> =
        finding.resources.iter().take(RESOURCES).map(|resource| terminal::short(last_part(resource), CELL)).collect();
    if finding.resources.len() > RESOURCES {
        lines.push(format!("and {} more", finding.resources.len() - RESOURCES));
    }
    let place: Vec<String> =
        [&finding.account, &finding.region].into_iter().flatten().map(|part| terminal::short(part, 20)).collect();
    if !place.is_empty() {
        lines.push(place.join(" "));
    }
    lines.join("\n")
}

/// An ARN without what the account and region columns say: `trail/main`.
fn last_part(name: &str) -> &str {
    if name.starts_with("arn:") {
        name.splitn(6, ':').nth(5).filter(|part| !part.is_empty()).unwrap_or(name)
    } else {
        name
    }
}
