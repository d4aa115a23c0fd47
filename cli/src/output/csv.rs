//! Findings for spreadsheets (RFC 4180, <https://www.rfc-editor.org/rfc/rfc4180>).
//!
//! Logged text is hostile here in a way of its own: a cell that begins with `=`, `+`, `-`, `@`, a tab or a line break is
//! a formula to a spreadsheet (<https://owasp.org/www-community/attacks/CSV_Injection>). Such cells get an apostrophe in
//! front, and every cell is quoted, so that a semicolon, which separates cells in some countries, begins no new one.

use std::io::{self, Write};

use csv::{QuoteStyle, WriterBuilder};
use jiff::Timestamp;

use crate::findings::Findings;
use crate::terminal;

const HEADINGS: [&str; 16] = [
    "id",
    "revision",
    "rule",
    "title",
    "level",
    "count",
    "first_time",
    "last_time",
    "group",
    "account",
    "region",
    "actor",
    "source_address",
    "resources",
    "evidence",
    "dedup_key",
];

/// Findings, in the order given, under a line of headings.
pub fn findings(findings: &Findings<'_>, writer: &mut dyn Write) -> io::Result<()> {
    let mut rows = WriterBuilder::new().quote_style(QuoteStyle::Always).from_writer(writer);
    rows.write_record(HEADINGS)?;
    for finding in findings.iter() {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        let text = |text: &Option<String>| text.as_deref().map(cell).unwrap_or_default();
        let group =
            finding.group.iter().map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or_default()));
        let evidence = finding.evidence.iter().map(|entry| {
            let others = entry.also_in.join(", ");
            let others = if others.is_empty() { others } else { format!(" (also in {others})") };
            format!("{}:{}{others}", entry.source, entry.record)
        });
        rows.write_record([
            cell(&finding.id),
            finding.revision.to_string(),
            cell(&finding.rule),
            cell(&finding.title),
            finding.level.to_string(),
            finding.count.to_string(),
            time(finding.first_time),
            time(finding.last_time),
            cell(&group.collect::<Vec<_>>().join("; ")),
            text(&finding.account),
            text(&finding.region),
            text(&finding.actor),
            text(&finding.source_address),
            cell(&finding.resources.join("; ")),
            cell(&evidence.collect::<Vec<_>>().join("; ")),
            cell(&finding.dedup_key),
        ])?;
    }
    rows.flush()
}

/// A text as a cell that is text to every spreadsheet.
fn cell(text: &str) -> String {
    let shown = terminal::line(text);
    let formula = |first: char| matches!(first, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '\t' | '\r' | '\n');
    // What stood first before control characters were written out, and after blanks, counts too.
    let begins = |text: &str| text.trim_start().starts_with(formula) || text.starts_with(formula);
    if begins(text) || begins(&shown) { format!("'{shown}") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n=1", "＝1"] {
            assert!(cell(text).starts_with('\''), "{text:?}");
        }
        for text in ["GET /?a=1", "203.0.113.7", "", "user@example.com"] {
            assert_eq!(cell(text), text);
        }
    }
}
