//! One JSON value a line: findings, findings as OCSF, matches.

use std::io::{self, Write};

use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::finding::{Level, write_json};
use cloudvigil_core::ocsf;
use cloudvigil_core::pipeline::Report;
use jiff::Timestamp;
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

/// The key order is the contract's.
#[derive(Serialize)]
struct MatchLine<'a> {
    source: &'a str,
    record: u64,
    rule: &'a str,
    title: &'a str,
    level: Level,
    time: Option<Timestamp>,
}

/// The matches of one source, which are sorted by record and rule already.
pub fn matches(report: &Report, catalogue: &Catalogue, min_level: Level, writer: &mut dyn Write) -> io::Result<()> {
    for found in &report.matches {
        let rule = catalogue.rule(found.rule);
        if rule.level < min_level {
            continue;
        }
        let line = MatchLine {
            source: &report.stats.source,
            record: found.record,
            rule: &rule.id,
            title: &rule.title,
            level: rule.level,
            time: found.time,
        };
        value(&line, writer)?;
    }
    Ok(())
}

/// A value and a line's end.
pub fn value(value: &impl Serialize, writer: &mut dyn Write) -> io::Result<()> {
    let mut line = Vec::new();
    write_json(value, &mut line)?;
    line.push(b'\n');
    writer.write_all(&line)
}
