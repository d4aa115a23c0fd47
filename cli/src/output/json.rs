//! One JSON value a line: findings, findings as OCSF, matches.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Write};

use cloudvigil_core::detect::{Catalogue, Rule};
use cloudvigil_core::finding::{Level, write_json};
use cloudvigil_core::ocsf;
use cloudvigil_core::pipeline::Report;
use serde::Serialize;

use crate::findings::{Findings, Told};
use crate::parallel;

/// How many findings a thread writes at a time, and how often each does so before the text is handed on: what is
/// written waits in memory.
const FINDINGS: usize = 16;
const BLOCKS: usize = 16;

/// Findings, in the order given, written by so many threads.
pub fn findings(findings: &Findings<'_>, jobs: usize, writer: &mut dyn Write) -> io::Result<()> {
    for told in findings.all().chunks(jobs.max(1) * BLOCKS * FINDINGS) {
        let lines = |block: &[Told<'_>]| -> io::Result<Vec<u8>> {
            let mut lines = Vec::new();
            for told in block {
                findings.finding(told).write_json(&mut lines)?;
                lines.push(b'\n');
            }
            Ok(lines)
        };
        for lines in parallel::blocks(jobs, told, FINDINGS, lines) {
            writer.write_all(&lines?)?;
        }
    }
    Ok(())
}

/// Findings as OCSF events.
pub fn ocsf(findings: &Findings<'_>, catalogue: &Catalogue, writer: &mut dyn Write) -> io::Result<()> {
    findings.messages().try_for_each(|message| {
        let class = ocsf::Class::of(catalogue, &message.finding.rule);
        value(&ocsf::event(&message, class), writer)
    })
}

/// What a match's line says of the rule. The key order is the contract's.
#[derive(Serialize)]
struct RuleOfMatch<'a> {
    rule: &'a str,
    title: &'a str,
    level: Level,
}

/// The matches of one source, which are sorted by record and rule already. There may be millions of them, so what all of a
/// rule have in common is written once.
pub fn matches(report: &Report, catalogue: &Catalogue, min_level: Level, writer: &mut dyn Write) -> io::Result<()> {
    let mut source = Vec::new();
    write_json(&report.stats.source, &mut source)?;
    let mut rules: HashMap<usize, Option<Vec<u8>>> = HashMap::new();
    let mut line = Vec::new();
    for found in report.matches.iter() {
        let of_rule = match rules.entry(found.rule) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(of_rule(catalogue.rule(found.rule), min_level)?),
        };
        let Some(of_rule) = of_rule else { continue };
        line.clear();
        line.extend_from_slice(br#"{"source":"#);
        line.extend_from_slice(&source);
        write!(line, r#","record":{},"#, found.record)?;
        line.extend_from_slice(of_rule);
        match found.time {
            Some(time) => writeln!(line, r#","time":"{time}"}}"#)?,
            None => line.extend_from_slice(b",\"time\":null}\n"),
        }
        writer.write_all(&line)?;
    }
    Ok(())
}

/// The members of a match's line that are about the rule; `None` for one of too low a level.
fn of_rule(rule: &Rule, min_level: Level) -> io::Result<Option<Vec<u8>>> {
    if rule.level < min_level {
        return Ok(None);
    }
    let mut members = Vec::new();
    write_json(&RuleOfMatch { rule: &rule.id, title: &rule.title, level: rule.level }, &mut members)?;
    // Without the braces.
    members.pop();
    members.remove(0);
    Ok(Some(members))
}

/// A value and a line's end.
pub fn value(value: &impl Serialize, writer: &mut dyn Write) -> io::Result<()> {
    let mut line = Vec::new();
    write_json(value, &mut line)?;
    line.push(b'\n');
    writer.write_all(&line)
}
